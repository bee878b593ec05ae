package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
)

const controlName = "control.sock"

// ListenControl opens the control socket of a data directory: mode 0600, and
// only this process's own user and root are served. The caller holds the lock
// of the data directory, so a socket that is there already is a stale one.
func ListenControl(dataDir string) (net.Listener, error) {
	dir, err := openSocketDir(dataDir)
	if err != nil {
		return nil, fmt.Errorf("cannot open the control socket: %w", err)
	}
	defer dir.close()
	// Bound beside its place and moved there only with its mode set: nobody ever
	// sees a wider one, and the stale one is replaced in one step.
	fresh := filepath.Join(dataDir, controlName+".new")
	if err := os.Remove(fresh); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("cannot open the control socket: %w", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: dir.path(controlName + ".new"), Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("cannot open the control socket in %s: %w", dataDir, err)
	}
	l.SetUnlinkOnClose(false) // its name changes below
	place := filepath.Join(dataDir, controlName)
	if err := errors.Join(os.Chmod(fresh, 0o600), os.Rename(fresh, place)); err != nil {
		return nil, fmt.Errorf("cannot open the control socket: %w", errors.Join(err, l.Close(), os.Remove(fresh)))
	}
	return &controlListener{UnixListener: l, place: place}, nil
}

type controlListener struct {
	*net.UnixListener
	place string
}

func (l *controlListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.AcceptUnix()
		if err != nil {
			return nil, err
		}
		if uid, err := peerUser(conn); err == nil && (uid == 0 || int(uid) == os.Geteuid()) {
			return conn, nil
		}
		conn.Close()
	}
}

// Close stops listening and removes the socket, before the lock is given up.
func (l *controlListener) Close() error {
	err := os.Remove(l.place)
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, l.UnixListener.Close())
}

// peerUser is the user id of the process at the other end.
func peerUser(conn *net.UnixConn) (uid uint32, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var credentials *syscall.Ucred
	controlErr := raw.Control(func(fd uintptr) {
		credentials, err = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	})
	if err = errors.Join(controlErr, err); err != nil {
		return 0, err
	}
	return credentials.Uid, nil
}

func dialControl(ctx context.Context, dataDir string) (net.Conn, error) {
	dir, err := openSocketDir(dataDir)
	if err != nil {
		return nil, err
	}
	defer dir.close()
	return (&net.Dialer{}).DialContext(ctx, "unix", dir.path(controlName))
}

// socketDir gives short names to the files of a folder: the kernel takes at most
// 107 octets for a socket's path (unix(7)), and data_dir may be deep.
type socketDir struct {
	name string
	open *os.File // nil: the name is short enough
}

func openSocketDir(name string) (socketDir, error) {
	if len(name)+len("/"+controlName+".new") < 108 || runtime.GOOS != "linux" {
		return socketDir{name: name}, nil
	}
	f, err := os.Open(name)
	return socketDir{name: name, open: f}, err
}

func (d socketDir) path(file string) string {
	if d.open != nil {
		return fmt.Sprintf("/proc/self/fd/%d/%s", d.open.Fd(), file)
	}
	return filepath.Join(d.name, file)
}

func (d socketDir) close() {
	if d.open != nil {
		d.open.Close()
	}
}
