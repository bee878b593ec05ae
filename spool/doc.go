// Package spool keeps messages and copies on disk.
package spool
