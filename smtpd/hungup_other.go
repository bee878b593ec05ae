//go:build !linux

package smtpd

import "net"

// hungUp needs a system that tells of a closed connection without a read.
func hungUp(net.Conn) bool { return false }
