package spool

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"postern/mail"
)

// smallBody is the largest ordinary mail, in octets, that is kept in spool.db
// with its rows: one sync makes both durable, and concurrent submissions share it.
// A file of its own would cost several. Larger values would fragment bbolt's free
// pages, and its file never shrinks.
const smallBody = 16 << 10

// Body is a message on its way in: in memory while it is small, then a file with
// a passing name. It becomes a message's body by Accept, or disappears by Discard.
type Body struct {
	s     *Spool
	small []byte           // all of it, until it outgrows memory
	whole *[smallBody]byte // backing of small
	ended bool
	f     *os.File
	w     *bufio.Writer // to f
	size  int64
}

// NewBody begins a body. An error means that the spool cannot be written.
func (s *Spool) NewBody() (*Body, error) {
	if err := s.Broken(); err != nil {
		return nil, err
	}
	whole, _ := s.buffers.Get().(*[smallBody]byte)
	if whole == nil {
		whole = new([smallBody]byte)
	}
	s.incoming.Add(1)
	return &Body{s: s, small: whole[:0], whole: whole}, nil
}

// Write appends to the body. A body that outgrows memory begins its file, which
// may fail as writing does.
func (b *Body) Write(p []byte) (int, error) {
	if b.f == nil && len(b.small)+len(p) <= smallBody {
		b.small = append(b.small, p...)
		b.size += int64(len(p))
		return len(p), nil
	}
	if err := b.spill(); err != nil {
		return 0, err
	}
	b.giveBack() // but not in spill: who offers a small body may still read its Bytes
	n, err := b.w.Write(p)
	b.size += int64(n)
	return n, b.s.noteFull(err)
}

// spill writes a body that is in memory to a file; one that has a file stays there.
func (b *Body) spill() error {
	if b.f != nil {
		return nil
	}
	f, err := os.CreateTemp(filepath.Join(b.s.dir, bodiesDir), tmpPrefix)
	if err != nil {
		return fmt.Errorf("begin a body file: %w", err)
	}
	b.f, b.w = f, bufio.NewWriterSize(f, 64<<10)
	_, err = b.w.Write(b.small)
	return err
}

// Size is the number of octets written so far.
func (b *Body) Size() int64 { return b.size }

// Reader gives all that was written, for reading from any offset until the next
// Write, Discard, or Accept that takes it. After an Accept that does not, the body
// is what it was and may be offered again.
func (b *Body) Reader() (io.ReaderAt, error) {
	if b.f == nil {
		return bytes.NewReader(b.small), nil
	}
	return b.f, b.w.Flush()
}

// Bytes gives all that was written, in memory, until the next Write, Discard, or
// Accept that takes it. It must not be changed.
func (b *Body) Bytes() ([]byte, error) {
	if b.f == nil {
		return b.small, nil
	}
	if err := b.w.Flush(); err != nil {
		return nil, err
	}
	raw := make([]byte, b.size)
	_, err := io.ReadFull(io.NewSectionReader(b.f, 0, b.size), raw)
	return raw, err
}

// Discard ends the body and removes its file. After Accept has taken it, and after
// Discard, it does nothing.
func (b *Body) Discard() {
	if b.ended {
		return
	}
	b.ended = true
	b.s.incoming.Add(-1)
	b.giveBack()
	if b.f != nil {
		b.f.Close()
		os.Remove(b.f.Name())
	}
}

func (b *Body) giveBack() {
	if b.whole != nil {
		b.s.buffers.Put(b.whole)
	}
	b.small, b.whole = nil, nil
}

// keepsRow says whether the body goes into spool.db with the rows of its message:
// a small one, of one ordinary message.
func (b *Body) keepsRow(msgs []Accepted) bool {
	return b.f == nil && len(msgs) == 1 && msgs[0].Message.List == nil && msgs[0].Compiled == nil
}

// keep makes the body durable as a file, under the names of all its messages.
func (s *Spool) keep(b *Body, msgs []Accepted) error {
	if err := b.spill(); err != nil {
		return err
	}
	if err := b.w.Flush(); err != nil {
		return err
	}
	if err := b.f.Sync(); err != nil {
		return s.fail(err)
	}
	tmp := b.f.Name()
	for i := range msgs {
		m := &msgs[i]
		if m.Compiled != nil {
			if err := s.writeFile(s.path(m.Message.ID, ".copy"), m.Compiled); err != nil {
				return err
			}
		}
		if err := os.Link(tmp, s.path(m.Message.ID, ".eml")); err != nil {
			return err
		}
	}
	return s.judgeSync(s.bodies.sync())
}

// judgeSync tells a directory that could not be opened, because there are too many
// open files, from one whose sync has failed.
func (s *Spool) judgeSync(err error) error {
	var p *fs.PathError
	if err == nil || errors.As(err, &p) && p.Op == "open" {
		return err
	}
	return s.fail(err)
}

func (s *Spool) writeFile(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Sync(); err != nil {
		return errors.Join(s.fail(err), f.Close())
	}
	return f.Close()
}

func (s *Spool) path(id mail.ID, ext string) string {
	return filepath.Join(s.dir, bodiesDir, string(id)+ext)
}

// removeFiles drops what belongs to a message that has no row any more; while a
// backup runs, which may have its row, at the end of that.
func (s *Spool) removeFiles(id mail.ID) {
	s.mu.Lock()
	if s.backups > 0 {
		s.doomed = append(s.doomed, id)
		s.mu.Unlock()
		return
	}
	s.mu.Unlock()
	s.unlink(id)
}

// removeRefused drops the files of a submission that was not taken, but never
// those of a message that was taken before under the same id.
func (s *Spool) removeRefused(msgs []Accepted) {
	for _, m := range msgs {
		if _, err := s.Message(m.Message.ID); errors.Is(err, ErrNotFound) {
			s.unlink(m.Message.ID)
		}
	}
}

func (s *Spool) unlink(id mail.ID) {
	for _, ext := range []string{".eml", ".copy"} {
		if err := os.Remove(s.path(id, ext)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.log.Warn("a body file could not be removed", "message", id, "error", err)
		}
	}
}

// OpenBody opens a message as it was received; ErrNotFound.
func (s *Spool) OpenBody(id mail.ID) (io.ReadCloser, error) {
	var small []byte
	err := s.view(func(t *txn) error {
		key := id.Bytes()
		small = bytes.Clone(t.bodies.Get(key[:]))
		return nil
	})
	if err != nil {
		return nil, err
	}
	if small != nil {
		return io.NopCloser(bytes.NewReader(small)), nil
	}
	f, err := os.Open(s.path(id, ".eml"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Compiled reads what Accept was given to keep beside the body.
func (s *Spool) Compiled(id mail.ID) ([]byte, error) {
	b, err := os.ReadFile(s.path(id, ".copy"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotFound
	}
	return b, err
}

// removeOrphans drops files whose message was never committed: a crash between
// the file and the row, so no client was told 250.
func (s *Spool) removeOrphans() error {
	dir, err := os.ReadDir(filepath.Join(s.dir, bodiesDir))
	if err != nil {
		return err
	}
	tx, err := s.db.Begin(false)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	messages := tx.Bucket(bMessages)
	for _, f := range dir {
		name, _, _ := strings.Cut(f.Name(), ".")
		if id, err := mail.ParseID(name); err == nil {
			if key := id.Bytes(); messages.Get(key[:]) != nil {
				continue
			}
		} else if !strings.HasPrefix(f.Name(), tmpPrefix) {
			continue // not ours
		}
		if err := os.Remove(filepath.Join(s.dir, bodiesDir, f.Name())); err != nil {
			return err
		}
		s.log.Info("removed a body file that was never accepted", "file", f.Name())
	}
	return nil
}

// dirSyncer shares directory syncs: whoever comes while one is under way waits
// for the next, which serves all who came meanwhile.
type dirSyncer struct {
	path string
	mu   sync.Mutex
	next *dirSync
}

type dirSync struct {
	once sync.Once
	err  error
}

func newDirSyncer(path string) *dirSyncer { return &dirSyncer{path: path, next: new(dirSync)} }

func (d *dirSyncer) sync() error {
	d.mu.Lock()
	mine := d.next
	d.mu.Unlock()
	mine.once.Do(func() {
		d.mu.Lock() // those who come from here on belong to the next sync
		d.next = new(dirSync)
		d.mu.Unlock()
		mine.err = syncDir(d.path)
	})
	return mine.err
}

// syncNames makes the names of a spool's files durable, and its own.
func syncNames(dir string) error {
	if err := syncDir(dir); err != nil {
		return err
	}
	err := syncDir(filepath.Dir(filepath.Clean(dir)))
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EINVAL) { // not ours, or on what cannot sync
		return nil
	}
	return err
}

func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// Accepted is one message of a submission, with what goes on disk beside it.
type Accepted struct {
	Message  mail.Message
	Compiled []byte      // for the renderer, with the body; nil for none
	Copies   []mail.Copy // those that are known at once (ordinary mail)
	// Repeat is the submission's fingerprint, "" for none: when a message with the
	// same one was accepted after RepeatSince, Accept takes nothing and returns
	// *Repeated.
	Repeat      string
	RepeatSince time.Time
	// Tells, for a notice, is what its reader is told: it counts as told from the
	// commit on in which the notice itself is taken.
	Tells []Telling
}

// Repeated says that the submission is in the spool already.
type Repeated struct{ ID mail.ID }

func (r *Repeated) Error() string {
	return "the submission is in the spool already, as " + string(r.ID)
}

// Accept takes a submission into custody: when it returns nil, the body and all
// messages with their copies are on disk, and a client may be told 250. On an
// error nothing was taken. ErrBroken or a full disk are answered with 452.
func (s *Spool) Accept(ctx context.Context, b *Body, msgs []Accepted) error {
	if err := s.Broken(); err != nil {
		return err
	}
	var row []byte // the body, when it is kept with the rows
	var err error
	if b.keepsRow(msgs) {
		row = b.small
	} else {
		err = s.noteFull(s.keep(b, msgs))
	}
	if err == nil {
		err = s.submit(ctx, &request{fn: func(t *txn) error { return t.accept(msgs, row) }, done: make(chan error, 1), mail: true})
	}
	if err != nil && s.Broken() == nil { // when broken the rows may be on disk
		s.removeRefused(msgs)
	}
	if err != nil {
		return fmt.Errorf("spool a submission: %w", err)
	}
	s.full.Store(nil)
	b.Discard()
	return nil
}

// accept stores the rows of a submission; row is the body, nil when it is a file.
func (t *txn) accept(msgs []Accepted, row []byte) error {
	for i := range msgs {
		for n := range msgs[i].Tells {
			if err := t.tells(&msgs[i].Tells[n]); err != nil {
				return err
			}
		}
		m := msgs[i].Message
		if len(msgs[i].Copies) > 0 {
			m.Expanded = true
		}
		key := m.ID.Bytes()
		if t.messages.Get(key[:]) != nil {
			return fmt.Errorf("message %s is in the spool already", m.ID)
		}
		if row != nil {
			if err := t.bodies.Put(key[:], row); err != nil {
				return err
			}
		}
		t.entries[m.ID] = &change{msg: &m, edited: true, changed: true}
		if _, err := t.addCopies(m.ID, msgs[i].Copies, m.AcceptedAt); err != nil {
			return err
		}
		if err := t.remember(&msgs[i]); err != nil {
			return err
		}
	}
	return nil
}

// remember stores a submission's fingerprint, unless it is a repetition.
func (t *txn) remember(a *Accepted) error {
	if a.Repeat == "" {
		return nil
	}
	v := t.repeats.Get([]byte(a.Repeat))
	if len(v) == 24 && int64(binary.BigEndian.Uint64(v[16:])) >= a.RepeatSince.UnixMilli() {
		return &Repeated{mail.IDFromBytes([16]byte(v[:16]))}
	}
	key := a.Message.ID.Bytes()
	return t.repeats.Put([]byte(a.Repeat), append(key[:], timeBytes(a.Message.AcceptedAt)...))
}
