package main_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	postern "postern/cmd/postern"
	"postern/spool"
)

func TestDataDirThatCannotBeUsedIsNamedWithAdvice(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "spool.db")
	if err := postern.MakeDataDir(dir, os.Getuid()+1); err != nil {
		t.Errorf("an empty folder: %v", err)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := postern.MakeDataDir(dir, os.Getuid()); err != nil {
		t.Errorf("our own folder: %v", err)
	}
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"of another user": {postern.MakeDataDir(dir, os.Getuid()+1), "run this as that user, or choose another data_dir"},
		"a file":          {postern.MakeDataDir(file, os.Getuid()), "is no folder: choose another"},
		"below a file":    {postern.MakeDataDir(filepath.Join(file, "x"), os.Getuid()), "is no folder: choose another"},
		"not ours": {postern.DataProblem(dir, &fs.PathError{Op: "mkdir", Path: dir, Err: syscall.EACCES}),
			"run this as the user that it belongs to"},
		"in use": {postern.DataProblem(dir, fmt.Errorf("x: %w", spool.ErrLocked)), "stop it, or give this one a data_dir of its own"},
	} {
		if c.err == nil || !strings.HasPrefix(c.err.Error(), "data_dir: ") || !strings.Contains(c.err.Error(), c.want) || strings.Contains(c.err.Error(), "\n") {
			t.Errorf("%s: %v", name, c.err)
		}
	}
}

func TestAddressThatCannotBeListenedOnIsNamedWithAdvice(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = net.Listen("tcp", l.Addr().String())
	err = postern.ListenProblem("admin.listen", l.Addr().String(), err)
	if want := "admin.listen: another program listens on " + l.Addr().String() + ": stop it, or choose another port"; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	if got := postern.ListenProblem("k", "x", errors.New("odd")); got.Error() != "k: odd" {
		t.Error(got)
	}
}
