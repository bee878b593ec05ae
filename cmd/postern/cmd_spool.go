package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
)

type spoolCmd struct {
	Check   spoolCheckCmd   `cmd:"" help:"Read the whole spool and name what is damaged."`
	Compact spoolCompactCmd `cmd:"" help:"Give the spool's free space back to the disk; the gateway must not run."`
	Backup  spoolBackupCmd  `cmd:"" help:"Write a consistent copy of the spool, also while the gateway runs."`
}

func (spoolCmd) Help() string {
	return `Examples:

  postern spool check
  postern spool backup /backup/spool.tar`
}

type spoolCheckCmd struct{}

func (spoolCheckCmd) Help() string {
	return `Works while the gateway runs and while it does not. The exit code is 1 when anything is damaged.

Example:

  postern spool check`
}

func (spoolCheckCmd) Run(s *session) error {
	conn, _, err := s.control()
	if err != nil {
		return err
	}
	defer conn.Close()
	shown := newProgress(s.stderr)
	var last struct {
		Done     bool     `json:"done"`
		Total    int      `json:"total"`
		Checked  int      `json:"checked"`
		Problems []string `json:"problems"`
	}
	err = conn.Lines(s.ctx, http.MethodPost, "/api/spool/check", "", nil, func(line json.RawMessage) error {
		if err := json.Unmarshal(line, &last); err != nil {
			return fmt.Errorf("the gateway's answer cannot be read: %w", err)
		}
		if !last.Done {
			shown.show("checked %d of %d", last.Checked, last.Total)
		}
		return nil
	})
	shown.end()
	if err != nil {
		return err
	}
	if !last.Done {
		return errors.New("the check broke off before its end")
	}
	for _, p := range last.Problems {
		fmt.Fprintln(s.stdout, clean(p))
	}
	if n := len(last.Problems); n > 0 {
		return fmt.Errorf("the spool has %d %s: stop the gateway, and restore the last backup or keep the folder for analysis", n, plural(n, "problem", "problems"))
	}
	_, err = fmt.Fprintln(s.stdout, "The spool is whole.")
	return err
}

type spoolCompactCmd struct{}

func (spoolCompactCmd) Help() string {
	return `Example:

  postern spool compact`
}

func (spoolCompactCmd) Run(s *session) error {
	conn, _, err := s.control()
	if err != nil {
		return err
	}
	defer conn.Close()
	var sizes struct {
		Before int64 `json:"before"` // octets
		After  int64 `json:"after"`
	}
	if err := conn.Call(s.ctx, http.MethodPost, "/api/spool/compact", nil, &sizes); err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.stdout, "Compacted: %s before, %s now.\n", bytesText(sizes.Before), bytesText(sizes.After))
	return err
}

type spoolBackupCmd struct {
	File string `arg:"" help:"The tar to write; - is stdout. An existing file is never overwritten."`
}

func (spoolBackupCmd) Help() string {
	return `The tar is complete, or there is none. It holds the spool alone: keep copies of the rest of data_dir too.

Examples:

  postern spool backup /backup/spool.tar
  postern spool backup - | ssh backup 'cat > spool.tar'`
}

func (c spoolBackupCmd) Run(s *session) error {
	conn, _, err := s.control()
	if err != nil {
		return err
	}
	defer conn.Close()
	tar, err := conn.Request(s.ctx, http.MethodGet, "/api/spool/backup", "", nil)
	if err != nil {
		return err
	}
	defer tar.Close()
	if c.File == "-" {
		if _, err := io.Copy(s.stdout, tar); err != nil {
			return fmt.Errorf("the backup broke off and is of no use: %w", err)
		}
		return nil
	}
	n, err := saveWhole(c.File, tar)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.stdout, "%s: %s\n", c.File, bytesText(n))
	return err
}

// saveWhole writes a new file that is either complete and on disk, or absent.
func saveWhole(path string, from io.Reader) (int64, error) {
	if _, err := os.Lstat(path); err == nil {
		return 0, fmt.Errorf("%s exists and is not overwritten: choose another file, or move it away", path)
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".part-*") // mode 0600
	if err != nil {
		return 0, fmt.Errorf("cannot write %s: %w", path, plainPathError(err))
	}
	defer os.Remove(f.Name())
	n, err := io.Copy(f, from)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return 0, fmt.Errorf("%s was not written, because it broke off: %w", path, err)
	}
	// Link, unlike Rename, refuses what came into being meanwhile.
	if err := os.Link(f.Name(), path); err != nil {
		return 0, fmt.Errorf("cannot put %s in its place: %w", path, err)
	}
	return n, nil
}

func bytesText(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1f KB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d bytes", n)
}

type adminCmd struct {
	Login adminLoginCmd `cmd:"" help:"Print a link that logs in once."`
}

func (adminCmd) Help() string {
	return `Example:

  postern admin login`
}

type adminLoginCmd struct{}

func (adminLoginCmd) Help() string {
	return `The link works once and for a few minutes, and needs a running gateway. It is the way in while no [[admin.user]] has a password_hash.

Example:

  postern admin login`
}

func (adminLoginCmd) Run(s *session) error {
	conn, _, err := s.control()
	if err != nil {
		return err
	}
	defer conn.Close()
	var link struct {
		URL string `json:"url"`
	}
	if err := conn.Call(s.ctx, http.MethodPost, "/api/login-link", nil, &link); err != nil {
		return err
	}
	_, err = fmt.Fprintln(s.stdout, link.URL)
	return err
}
