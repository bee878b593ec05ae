package smarthost

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// pending says whether there is something to read on a connection on which nothing is
// owed to us, or it has been closed. It reads nothing.
func pending(c net.Conn) bool {
	s, ok := c.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return false
	}
	found := false
	err = raw.Control(func(fd uintptr) {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN | unix.POLLRDHUP}}
		n, err := unix.Poll(p, 0)
		found = err == nil && n > 0
	})
	return found || err != nil
}
