package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	bolterrors "go.etcd.io/bbolt/errors"

	"postern/spool"
)

// makeDataDir makes data_dir where it is missing, and refuses one whose spool
// belongs to another user: root could open it, and would leave files in it that
// the gateway cannot.
func makeDataDir(dir string, uid int) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return dataProblem(dir, err)
	}
	info, err := os.Stat(filepath.Join(dir, "spool.db"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return dataProblem(dir, err)
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); ok && int(owner.Uid) != uid {
		name := "number " + strconv.Itoa(int(owner.Uid))
		if u, err := user.LookupId(strconv.Itoa(int(owner.Uid))); err == nil {
			name = u.Username
		}
		return fmt.Errorf("data_dir: what is in %s belongs to the user %s: run this as that user, or choose another data_dir", dir, name)
	}
	return nil
}

// dataProblem is why data_dir cannot be used, and what to do.
func dataProblem(dir string, err error) error {
	switch {
	case errors.Is(err, spool.ErrLocked), errors.Is(err, bolterrors.ErrTimeout):
		return fmt.Errorf("data_dir: another gateway or command is using %s: stop it, or give this one a data_dir of its own (%w)", dir, err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("data_dir: this user may not write all of %s: run this as the user that it belongs to, or choose another data_dir (%w)", dir, err)
	case errors.Is(err, syscall.ENOTDIR):
		return fmt.Errorf("data_dir: %s is no folder: choose another (%w)", dir, err)
	case errors.Is(err, syscall.ENOSPC):
		return fmt.Errorf("data_dir: the disk of %s is full: make room (%w)", dir, err)
	}
	return err
}

// listenProblem is why nothing listens at an address, and what to do.
func listenProblem(key, address string, err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Addr != nil {
		address = op.Addr.String()
	}
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%s: another program listens on %s: stop it, or choose another port", key, address)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("%s: this machine has no such address as %s: choose one that it has", key, address)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s: this user may not listen on %s: choose a port from 1024 on, or give the program the capability CAP_NET_BIND_SERVICE", key, address)
	}
	return fmt.Errorf("%s: %w", key, err)
}
