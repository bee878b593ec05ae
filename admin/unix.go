package admin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"
)

// ErrInUse is returned by ListenControl when a gateway has the socket already.
var ErrInUse = errors.New("another postern is running with this data directory")

// maxSocketPath is the longest path a Unix socket can have (unix(7)), in bytes.
const maxSocketPath = 107

// ListenControl listens on a Unix socket (0600) for the API without a login.
// Only root and the user that the gateway runs as may connect: the kernel says
// who does (SO_PEERCRED, unix(7)). Of two gateways that start at once one gets
// ErrInUse; a socket that a killed one left behind is replaced. A file that is
// no socket is never removed.
func ListenControl(path string) (net.Listener, error) {
	l, err := listenControl(path)
	if err != nil {
		return nil, fmt.Errorf("open the control socket: %w", err)
	}
	return l, nil
}

func listenControl(path string) (net.Listener, error) {
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("%s is too long for a socket (%d bytes at most): choose a shorter data_dir", path, maxSocketPath)
	}
	// The lock decides the race between two starters, and it dies with its
	// process; the socket alone would look stale to both.
	lock, err := lockFile(path + ".lock")
	if err != nil {
		return nil, err
	}
	if err := removeStale(path); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close(), lock.Close())
	}
	return &controlListener{UnixListener: l.(*net.UnixListener), lock: lock}, nil
}

func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = ErrInUse
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// removeStale removes a socket on which nobody answers.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%s is in the way and is no socket: move it", path)
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		return errors.Join(ErrInUse, c.Close())
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("whether anybody answers at the old socket is unknown: %w", err)
	}
	return os.Remove(path)
}

// controlListener takes connections of our own user and of root only.
type controlListener struct {
	*net.UnixListener
	lock *os.File
	once sync.Once
	err  error
}

func (l *controlListener) Accept() (net.Conn, error) {
	for {
		c, err := l.AcceptUnix()
		if err != nil {
			return nil, err
		}
		uid, err := peerUID(c)
		if err == nil && mayControl(uid, os.Getuid()) {
			return c, nil
		}
		c.Close()
	}
}

// Close removes the socket first, and the lock after it.
func (l *controlListener) Close() error {
	l.once.Do(func() { l.err = errors.Join(l.UnixListener.Close(), l.lock.Close()) })
	return l.err
}

func mayControl(peer uint32, own int) bool { return peer == 0 || int(peer) == own }

func peerUID(c *net.UnixConn) (uint32, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *syscall.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) {
		cred, credErr = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	})
	if err = errors.Join(err, credErr); err != nil {
		return 0, err
	}
	return cred.Uid, nil
}

// ControlTransport reaches the API of the running gateway through its socket,
// whatever host the URL names. When no gateway listens, RoundTrip's error
// satisfies errors.Is with fs.ErrNotExist (no socket) or syscall.ECONNREFUSED (a
// stale one).
func ControlTransport(path string) *http.Transport {
	return &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", path)
		},
		DisableKeepAlives: true,
	}
}

// NewServer is an HTTP server for the pages or the control socket. Its deadlines
// hold for everything but what streams; it does not limit the time of those.
func NewServer(addr string, h http.Handler) *http.Server {
	return &http.Server{
		Addr:              addr,
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       time.Minute,
		WriteTimeout:      2 * time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
	}
}
