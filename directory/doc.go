// Package directory knows who may get mail, and why not.
package directory
