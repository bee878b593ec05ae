package spool

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"

	"postern/mail"
)

// Check reads everything and names what does not add up: bbolt's own pages,
// counts against rows, every index against the rows it points to and back,
// bodies that are missing. progress may be nil; it is told copies read and the
// number expected.
func (s *Spool) Check(ctx context.Context, progress func(done, total int)) ([]string, error) {
	c := &checker{progress: progress}
	if err := c.pages(s.db); err != nil {
		return nil, err
	}
	err := s.view(func(t *txn) error {
		return errors.Join(c.messages(ctx, s, t), c.indexes(ctx, t))
	})
	for _, id := range c.bodiless { // unless retention was faster
		if _, gone := s.Message(id); gone == nil {
			c.problem("message %s: its body is missing", id)
		}
	}
	if err != nil {
		return c.problems, fmt.Errorf("check the spool: %w", err)
	}
	return c.problems, nil
}

// maxProblems bounds what Check reports; more would not be read.
const maxProblems = 1000

type checker struct {
	problems      []string
	bodiless      []mail.ID
	progress      func(done, total int)
	seen, dues    int
	claims, addrs int
	kept          int // bodies in spool.db
	untold        int
	complaints    int
	total         int
}

func (c *checker) problem(format string, a ...any) {
	if len(c.problems) < maxProblems {
		c.problems = append(c.problems, fmt.Sprintf(format, a...))
	}
}

// pages lets bbolt check its file. That needs the list of free pages, which only
// a writer may look at: commits wait for the time of one read of the file.
func (c *checker) pages(db *bolt.DB) error {
	tx, err := db.Begin(true)
	if err != nil {
		return ErrClosed
	}
	for err := range tx.Check() {
		c.problem("the file itself: %v", err)
	}
	return tx.Rollback()
}

// messages checks each message and, with it, its copies.
func (c *checker) messages(ctx context.Context, s *Spool, t *txn) error {
	err := t.counts.ForEach(func(_, v []byte) error {
		n, _ := decodeCounts(v)
		c.total += n.Total()
		return nil
	})
	if err != nil {
		return err
	}
	return t.messages.ForEach(func(k, v []byte) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		id := mail.IDFromBytes([16]byte(k))
		var m mail.Message
		if err := json.Unmarshal(v, &m); err != nil {
			c.problem("message %s: its row cannot be read: %v", id, err)
			return nil
		}
		if t.bodies.Get(k) != nil {
			c.kept++
		} else if _, err := os.Stat(s.path(id, ".eml")); err != nil {
			c.bodiless = append(c.bodiless, id)
		}
		counts, outcomes := c.copies(t, id)
		if stored, come := decodeCounts(t.counts.Get(k)); stored != counts || come != outcomes {
			c.problem("message %s: the counts say %v %v and the copies %v %v", id, stored, come, counts, outcomes)
		}
		e := &change{msg: &m, counts: counts}
		if active := t.active.Get(k) != nil; active == finished(e) {
			c.problem("message %s is %s, and the list of unfinished messages says otherwise", id, m.State)
		}
		return nil
	})
}

func (c *checker) copies(t *txn, id mail.ID) (counts mail.Counts, outcomes mail.Outcomes) {
	key := id.Bytes()
	cur := t.copies.Cursor()
	for k, v := cur.Seek(key[:]); bytes.HasPrefix(k, key[:]); k, v = cur.Next() {
		_, seq := splitKey(k)
		cp, err := decodeCopy(id, seq, v)
		if err != nil {
			c.problem("%v", err)
			continue
		}
		state := cp.State
		claimed := t.claims.Get(k) != nil
		if claimed {
			c.claims++
			state = mail.InFlight
		}
		counts[state]++
		if cp.Outcome != mail.NoOutcome {
			outcomes[cp.Outcome]++
		}
		if t.complaints.Get(k) != nil {
			if c.complaints++; cp.Outcome != mail.Complained {
				c.problem("message %s copy %d (%s) is %q, and listed among the complaints that are to be told", id, seq, cp.To, cp.Outcome)
			}
		}
		if a := t.address.Get(addressKey(cp.Key(), id)); len(a) != 4 || binary.BigEndian.Uint32(a) != seq {
			c.problem("message %s copy %d (%s) is not in the index by address", id, seq, cp.To)
		}
		listed := !cp.Due.IsZero() && t.due.Get(dueKey(id, cp.Due, seq)) != nil
		if want := waits(&cp) && !claimed; want != listed {
			c.problem("message %s copy %d (%s) is %s, and the index by due time says otherwise", id, seq, cp.To, state)
		}
		if listed {
			c.dues++
		}
		if t.untold.Get(k) != nil {
			c.untold++
			if (!tellable(cp.State) || claimed) && cp.Outcome < mail.SoftBounced {
				c.problem("message %s copy %d (%s) is %s, and listed among the failures that are to be told", id, seq, cp.To, state)
			}
		}
		if c.seen++; c.progress != nil && c.seen%5000 == 0 {
			c.progress(c.seen, c.total)
		}
	}
	return counts, outcomes
}

// indexes looks for entries that no row answers to.
func (c *checker) indexes(ctx context.Context, t *txn) error {
	copies := 0
	for _, b := range []struct {
		name   string
		bucket *bolt.Bucket
		n      *int
		want   *int
	}{
		{"bodies", t.bodies, new(int), &c.kept},
		{"copies", t.copies, &copies, &c.seen},
		{"address", t.address, &c.addrs, &c.seen},
		{"due", t.due, new(int), &c.dues},
		{"claims", t.claims, new(int), &c.claims},
		{"untold", t.untold, new(int), &c.untold},
		{"complaints", t.complaints, new(int), &c.complaints},
	} {
		err := b.bucket.ForEach(func(_, _ []byte) error {
			*b.n++
			return ctx.Err()
		})
		if err != nil {
			return err
		}
		if *b.n != *b.want {
			c.problem("index %s has %d entries, and %d belong to messages and their copies", b.name, *b.n, *b.want)
		}
	}
	if c.progress != nil {
		c.progress(c.seen, c.total)
	}
	return nil
}

// Backup writes a tar of the spool as it is now: spool.db and the body files of
// the messages in it. Sending goes on meanwhile, and what retention drops stays on disk
// until the backup has ended.
func (s *Spool) Backup(ctx context.Context, w io.Writer) error {
	s.mu.Lock()
	s.backups++
	s.mu.Unlock()
	defer s.endBackup()
	out := tar.NewWriter(w)
	err := s.view(func(t *txn) error {
		h := &tar.Header{Name: dbName, Mode: 0o600, Size: t.tx.Size(), ModTime: time.Now()}
		if err := out.WriteHeader(h); err != nil {
			return err
		}
		if _, err := t.tx.WriteTo(out); err != nil {
			return err
		}
		return t.messages.ForEach(func(k, _ []byte) error {
			if t.bodies.Get(k) != nil {
				return ctx.Err()
			}
			id := mail.IDFromBytes([16]byte(k))
			return errors.Join(ctx.Err(), s.backupFile(out, id, ".eml"), s.backupFile(out, id, ".copy"))
		})
	})
	if err != nil {
		return fmt.Errorf("back up the spool: %w", err)
	}
	return out.Close()
}

func (s *Spool) endBackup() {
	s.mu.Lock()
	var doomed []mail.ID
	if s.backups--; s.backups == 0 {
		doomed, s.doomed = s.doomed, nil
	}
	s.mu.Unlock()
	for _, id := range doomed {
		s.unlink(id)
	}
}

func (s *Spool) backupFile(out *tar.Writer, id mail.ID, ext string) error {
	f, err := os.Open(s.path(id, ext))
	if ext == ".copy" && errors.Is(err, fs.ErrNotExist) {
		return nil // ordinary mail has none
	}
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	h := &tar.Header{Name: bodiesDir + "/" + string(id) + ext, Mode: 0o600, Size: info.Size(), ModTime: info.ModTime()}
	if err := out.WriteHeader(h); err != nil {
		return err
	}
	_, err = io.Copy(out, f)
	return err
}

// Expire drops messages that were finished before a time, with their copies and
// bodies, and returns how many.
func (s *Spool) Expire(ctx context.Context, before time.Time) (int, error) {
	if err := s.update(ctx, func(t *txn) error { return t.forgetRepeats(before) }); err != nil {
		return 0, fmt.Errorf("drop old fingerprints: %w", err)
	}
	n := 0
	for more := true; more; {
		var gone []mail.ID
		err := s.update(ctx, func(t *txn) (err error) {
			gone, more, err = t.dropOldest(before)
			return err
		})
		if err != nil {
			return n, fmt.Errorf("drop old messages: %w", err)
		}
		for _, id := range gone {
			s.removeFiles(id)
		}
		n += len(gone)
	}
	return n, nil
}

// forgetRepeats drops the fingerprints of submissions that were accepted before.
func (t *txn) forgetRepeats(before time.Time) error {
	var old [][]byte
	err := t.repeats.ForEach(func(k, v []byte) error {
		if len(v) != 24 || int64(binary.BigEndian.Uint64(v[16:])) < before.UnixMilli() {
			old = append(old, append([]byte(nil), k...))
		}
		return nil
	})
	for _, k := range old {
		err = errors.Join(err, t.repeats.Delete(k))
	}
	return err
}

// dropOldest drops messages that ended before a time, the first that ended first,
// until about a chunk of rows is gone. more says that there may be others.
func (t *txn) dropOldest(before time.Time) (gone []mail.ID, more bool, err error) {
	for rows := 0; rows < chunk; {
		key, _ := t.finished.Cursor().First()
		if len(key) != 24 || int64(binary.BigEndian.Uint64(key)) >= before.UnixMilli() {
			return gone, false, nil
		}
		id, key := mail.IDFromBytes([16]byte(key[8:])), bytes.Clone(key)
		copies, dropped, err := t.drop(id, key)
		if err != nil {
			return nil, false, fmt.Errorf("message %s: %w", id, err)
		}
		if dropped {
			gone = append(gone, id)
		}
		rows += copies + messageRows
	}
	return gone, true, nil
}

// messageRows is about how many rows a message has beside those of its copies.
const messageRows = 8

// drop removes a chunk of a message's copies, and the message with the last of them.
// A message that is no longer finished as key says, because somebody has queued
// copies of it again, keeps what it has.
func (t *txn) drop(id mail.ID, key []byte) (copies int, dropped bool, err error) {
	e, err := t.entry(id)
	if errors.Is(err, ErrNotFound) || err == nil && (!finished(e) || !bytes.Equal(finishedKey(e.msg), key)) {
		return 0, false, t.finished.Delete(key)
	}
	if err != nil {
		return 0, false, err
	}
	if keeps, err := t.keepUntold(id, key); keeps || err != nil {
		return 0, false, err
	}
	page, err := t.page(id, 0)
	if err != nil {
		return 0, false, err
	}
	for i := range page {
		if err := t.forget(e, &page[i]); err != nil {
			return 0, false, err
		}
	}
	if len(page) == chunk {
		return len(page), false, nil
	}
	return len(page), true, t.removeMessage(id, e)
}

// keepUntold lets the retention of a message begin anew while its sender has yet to be
// told of failures, or the list's owner of complaints, which are told up to an hour late.
func (t *txn) keepUntold(id mail.ID, finished []byte) (keeps bool, err error) {
	key := id.Bytes()
	failed, _ := t.untold.Cursor().Seek(key[:])
	complained, _ := t.complaints.Cursor().Seek(key[:])
	if !bytes.HasPrefix(failed, key[:]) && !bytes.HasPrefix(complained, key[:]) {
		return false, nil
	}
	m, _, err := t.edit(id)
	if err != nil {
		return false, err
	}
	m.DoneAt = time.Now()
	return true, t.finished.Delete(finished)
}

func (t *txn) forget(e *change, c *mail.Copy) error {
	e.counts[c.State]--
	e.raise(c.Outcome, mail.NoOutcome)
	e.changed = true
	key := copyKey(c.Message, c.Seq)
	err := errors.Join(t.copies.Delete(key), t.untold.Delete(key), t.complaints.Delete(key), t.address.Delete(addressKey(c.Key(), c.Message)))
	if c.UpstreamID != "" {
		err = errors.Join(err, t.upstream.Delete([]byte(c.UpstreamID)))
	}
	return err
}

func (t *txn) removeMessage(id mail.ID, e *change) error {
	e.gone, e.changed = true, true
	key := id.Bytes()
	return errors.Join(t.messages.Delete(key[:]), t.bodies.Delete(key[:]), t.counts.Delete(key[:]), t.active.Delete(key[:]),
		t.finished.Delete(finishedKey(e.msg)))
}

// Compact rewrites spool.db in dir without the free space in it; bbolt files
// never shrink by themselves. No process may have the spool open (ErrLocked).
// It returns the size before and after, in octets.
func Compact(dir string) (before, after int64, err error) {
	path := filepath.Join(dir, dbName)
	src, err := openDB(path)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	if err := removeHalf(dir); err != nil {
		return 0, 0, err
	}
	tmp := path + halfName
	dst, err := openDB(tmp)
	if err != nil {
		return 0, 0, err
	}
	dst.AllocSize = 1 << 16 // the default would leave up to 16 MB of room
	if err := bolt.Compact(dst, src, 16<<20); err != nil {
		return 0, 0, errors.Join(fmt.Errorf("compact the spool: %w", err), dst.Close(), os.Remove(tmp))
	}
	if err := errors.Join(dst.Sync(), dst.Close()); err != nil {
		return 0, 0, err
	}
	if before, after, err = size(path), size(tmp), os.Rename(tmp, path); err != nil {
		return 0, 0, err
	}
	return before, after, syncDir(dir)
}

// halfName follows dbName while a compaction writes.
const halfName = ".compact"

// removeHalf removes what a compaction has left that was cut short. The caller
// holds the spool's lock.
func removeHalf(dir string) error {
	err := os.Remove(filepath.Join(dir, dbName+halfName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func size(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}
