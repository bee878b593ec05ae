package maildir

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"postern/mail"
	"postern/relay"
)

// leftover is how old a file in tmp must be before [New] removes it: the 36
// hours of the Maildir convention (https://cr.yp.to/proto/maildir.html).
const leftover = 36 * time.Hour

// Sender writes copies into one maildir.
type Sender struct {
	tmp, new string
	files    atomic.Uint64 // tells the temporary names of this process apart
	dir      *os.File      // new, open for sync
	sync     *group
	closed   atomic.Bool
}

var _ relay.Sender = (*Sender)(nil)

// New makes path with its folders new, cur and tmp where they are missing, and
// clears away what a crash left in tmp long ago.
func New(path string) (*Sender, error) {
	for _, d := range []string{"new", "cur", "tmp"} {
		if err := os.MkdirAll(filepath.Join(path, d), 0o750); err != nil {
			return nil, fmt.Errorf("maildir %s cannot be made: %w", path, err)
		}
	}
	if err := syncDir(path); err != nil {
		return nil, fmt.Errorf("maildir %s: %w", path, err)
	}
	s := &Sender{tmp: filepath.Join(path, "tmp"), new: filepath.Join(path, "new")}
	if err := clearOld(s.tmp, time.Now().Add(-leftover)); err != nil {
		return nil, fmt.Errorf("maildir %s: %w", path, err)
	}
	dir, err := os.Open(s.new)
	if err != nil {
		return nil, fmt.Errorf("maildir %s: %w", path, err)
	}
	s.dir = dir
	s.sync = newGroup(dir.Sync)
	return s, nil
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

func clearOld(dir string, before time.Time) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() || info.ModTime().After(before) {
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Idempotent is true: the same copy has the same file name.
func (s *Sender) Idempotent() bool { return true }

// EightBit is true: a file holds any octets.
func (s *Sender) EightBit() bool { return true }

// LongLines is true for the same reason.
func (s *Sender) LongLines() bool { return true }

// Close ends the sender. Call it when no Send is at work.
func (s *Sender) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	return s.dir.Close()
}

// Send writes d's bytes. The receipt's ID is the file's name. Every error is of
// class [mail.Unreachable]: the disk is at fault, not the copy. The context is
// asked before the write begins; a write that has begun is finished.
func (s *Sender) Send(ctx context.Context, d *relay.Delivery) (relay.Receipt, error) {
	if err := ctx.Err(); err != nil {
		return relay.Receipt{}, &mail.Error{Class: mail.Unreachable, Public: "the copy was not written: sending was stopped", Err: err}
	}
	if s.closed.Load() {
		return relay.Receipt{}, &mail.Error{Class: mail.Unreachable, Public: "the copy was not written: the maildir is closed", Err: os.ErrClosed}
	}
	name := fileName(d.Tag)
	if err := s.store(name, d.Content); err != nil {
		return relay.Receipt{}, unreachable(err)
	}
	return relay.Receipt{ID: name, Text: "written to new/" + name}, nil
}

// fileName is the tag itself, which is [A-Za-z0-9_-]; a tag that is not, or that
// is too long for a file, becomes its hash.
func fileName(tag string) string {
	ok := tag != "" && len(tag) <= 200
	for i := 0; ok && i < len(tag); i++ {
		c := tag[i]
		ok = 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_'
	}
	if ok {
		return tag
	}
	sum := sha256.Sum256([]byte(tag))
	return hex.EncodeToString(sum[:])
}

func (s *Sender) store(name string, c mail.Content) error {
	tmp := filepath.Join(s.tmp, name+"."+strconv.Itoa(os.Getpid())+"."+strconv.FormatUint(s.files.Add(1), 36))
	if err := writeFile(tmp, c); err != nil {
		os.Remove(tmp) // it may not exist, and what stays is cleared at a later start
		return err
	}
	if err := os.Rename(tmp, filepath.Join(s.new, name)); err != nil {
		os.Remove(tmp)
		return err
	}
	return s.sync.run()
}

func writeFile(path string, c mail.Content) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o640)
	if err != nil {
		return err
	}
	// One write: a file has no writev in Go, and a call for each segment costs
	// more than joining them.
	_, err = f.Write(c.Bytes())
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return err
}

// unreachable says in words what the disk's error is. The path stays out of the
// public text.
func unreachable(err error) *mail.Error {
	text := "the maildir cannot be written"
	switch {
	case errors.Is(err, syscall.ENOSPC):
		text = "the maildir's disk is full: make room, sending then goes on by itself"
	case errors.Is(err, syscall.EDQUOT):
		text = "the maildir's owner is over the disk quota: make room, sending then goes on by itself"
	case errors.Is(err, syscall.EROFS):
		text = "the maildir's disk is read-only: look into the system's log for a disk error, or mount it for writing"
	case errors.Is(err, os.ErrPermission):
		text = "the maildir's folders do not allow writing: give them to the user that Postern runs as"
	case errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		text = "the maildir's folders are gone: make new, cur and tmp again, or restart"
	case errors.Is(err, syscall.EIO):
		text = "the maildir's disk reports an error: look into the system's log"
	}
	return &mail.Error{Class: mail.Unreachable, Public: text, Err: err}
}
