// Package relay takes copies out of the spool and hands them upstream.
package relay
