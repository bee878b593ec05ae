package spool

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"

	"postern/mail"
)

// chunk is how many copies one transaction of a long change touches. Each of them may
// stand on a page of its own, which the transaction holds in memory until it ends.
const chunk = 1000

// Expanding lists the messages that want their expander, oldest first: those
// that are not expanded, and held ones that are being released.
func (s *Spool) Expanding() ([]mail.Message, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var ms []mail.Message
	for id := range s.wanting {
		ms = append(ms, *s.live[id].msg)
	}
	sortMessages(ms)
	return ms, nil
}

// AddCopies stores a page of a message's copies together with the directory's
// checkpoint after it. Whoever has a copy of the message, or of one of its
// siblings, gets no second one, so that a repeated page changes nothing. A copy
// whose State is zero is queued; Skipped and other settled states are kept.
func (s *Spool) AddCopies(ctx context.Context, id mail.ID, copies []mail.Copy, checkpoint []byte) error {
	now := time.Now()
	for len(copies) > chunk { // rows first, the checkpoint with the last of them
		if err := s.addChunk(ctx, id, copies[:chunk], nil, now); err != nil {
			return err
		}
		copies = copies[chunk:]
	}
	return s.addChunk(ctx, id, copies, checkpoint, now)
}

func (s *Spool) addChunk(ctx context.Context, id mail.ID, copies []mail.Copy, checkpoint []byte, now time.Time) error {
	err := s.update(ctx, func(t *txn) error {
		e, err := t.entry(id)
		if err != nil {
			return err
		}
		if e.msg.State != mail.Expanding && e.msg.State != mail.Paused {
			return fmt.Errorf("message %s is %s and takes no more copies", id, e.msg.State)
		}
		added, err := t.addCopies(id, copies, now)
		if err != nil || checkpoint == nil && added == 0 {
			return err
		}
		m, _, err := t.edit(id)
		if checkpoint != nil && err == nil {
			m.Checkpoint = checkpoint
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("store copies of %s: %w", id, err)
	}
	return nil
}

func (t *txn) addCopies(id mail.ID, copies []mail.Copy, now time.Time) (added int, err error) {
	e, err := t.entry(id)
	if err != nil {
		return 0, err
	}
	for i := range copies {
		c := copies[i]
		addr := c.Key()
		if t.hasCopy(e.msg, addr) {
			continue
		}
		c.Message, c.Seq, c.At = id, uint32(e.counts.Total())+1, now
		if c.State == mail.Queued && c.Due.IsZero() {
			c.Due = now
		}
		if err := t.address.Put(addressKey(addr, id), binary.BigEndian.AppendUint32(nil, c.Seq)); err != nil {
			return added, err
		}
		if err := t.put(&c); err != nil {
			return added, err
		}
		e.counts[c.State]++
		e.changed = true
		added++
	}
	return added, nil
}

func (t *txn) hasCopy(m *mail.Message, addr string) bool {
	if t.address.Get(addressKey(addr, m.ID)) != nil {
		return true
	}
	for _, sibling := range m.Siblings {
		if t.address.Get(addressKey(addr, sibling)) != nil {
			return true
		}
	}
	return false
}

// Expanded says that the last page is stored: the message goes on to next
// (Sending, Held, Done or Failed; the last two only without open copies). A paused
// one stays paused unless it is held.
func (s *Spool) Expanded(ctx context.Context, id mail.ID, next mail.MessageState, reason string) error {
	return s.update(ctx, func(t *txn) error {
		m, e, err := t.edit(id)
		if err != nil {
			return err
		}
		if m.Expanded || m.State != mail.Expanding && m.State != mail.Paused {
			return fmt.Errorf("message %s is %s and not expanding", id, m.State)
		}
		if n := e.counts.Open(); n > 0 && (next == mail.Done || next == mail.Failed) {
			return fmt.Errorf("message %s cannot become %s: %d of its copies are not settled", id, next, n)
		}
		m.Expanded, m.Checkpoint = true, nil
		if m.State == mail.Paused && next == mail.Sending {
			return nil
		}
		m.State, m.Reason = next, reason
		return nil
	})
}

// Explain sets the words that say why a message waits for its expander; ""
// removes them. A paused message keeps the words of its pause.
func (s *Spool) Explain(ctx context.Context, id mail.ID, reason string) error {
	return s.change(ctx, id, func(m *mail.Message) error {
		if !wantsExpander(m) {
			return fmt.Errorf("message %s is %s and waits for no expander", id, m.State)
		}
		if m.State != mail.Paused {
			m.Reason = reason
		}
		return nil
	})
}

// Revise rewrites State and Values of copies of a held message that is being
// released. through is the Seq up to which the release has come; it is kept in
// the message's Checkpoint, four octets big-endian.
func (s *Spool) Revise(ctx context.Context, id mail.ID, revised []mail.Copy, through uint32) error {
	now := time.Now()
	return s.update(ctx, func(t *txn) error {
		m, _, err := t.edit(id)
		if err != nil {
			return err
		}
		if m.State != mail.Held || !m.Releasing {
			return fmt.Errorf("message %s is not being released", id)
		}
		for i := range revised {
			c, err := t.copy(id, revised[i].Seq)
			if err != nil {
				return err
			}
			if c.State != mail.Queued && c.State != mail.Skipped {
				continue
			}
			from := c.State
			c.Values, c.LastError = revised[i].Values, revised[i].LastError
			if err := t.move(c, from, revised[i].State, now, now); err != nil {
				return err
			}
		}
		m.Checkpoint = binary.BigEndian.AppendUint32(nil, through)
		return nil
	})
}

// Released sends a held message on its way.
func (s *Spool) Released(ctx context.Context, id mail.ID) error {
	return s.change(ctx, id, func(m *mail.Message) error {
		if m.State != mail.Held || !m.Releasing {
			return fmt.Errorf("message %s is not being released", id)
		}
		m.State, m.Reason, m.Releasing, m.Checkpoint = mail.Sending, "", false, nil
		return nil
	})
}

// change edits a message's row.
func (s *Spool) change(ctx context.Context, id mail.ID, fn func(*mail.Message) error) error {
	return s.update(ctx, func(t *txn) error {
		m, _, err := t.edit(id)
		if err != nil {
			return err
		}
		return fn(m)
	})
}

// copy reads a copy's row; a claimed one is still in the state it was claimed in.
func (t *txn) copy(id mail.ID, seq uint32) (*mail.Copy, error) {
	b := t.copies.Get(copyKey(id, seq))
	if b == nil {
		return nil, ErrNotFound
	}
	c, err := decodeCopy(id, seq, b)
	return &c, err
}

// put writes a new copy's row and its place in the due index.
func (t *txn) put(c *mail.Copy) error {
	if err := t.copies.Put(copyKey(c.Message, c.Seq), encodeCopy(c)); err != nil {
		return err
	}
	if waits(c) {
		return t.due.Put(dueKey(c.Message, c.Due, c.Seq), nil)
	}
	return nil
}

// waits says whether a copy in this state belongs into the due index.
func waits(c *mail.Copy) bool {
	return !c.State.Settled() && c.State != mail.InFlight && !c.Due.IsZero()
}

// move takes a copy from one state to another, with its counts and its place in
// the due index. A copy in flight has none.
func (t *txn) move(c *mail.Copy, from, to mail.State, due, now time.Time) error {
	e, err := t.entry(c.Message)
	if err != nil {
		return err
	}
	if from != mail.InFlight && !c.Due.IsZero() {
		if err := t.due.Delete(dueKey(c.Message, c.Due, c.Seq)); err != nil {
			return err
		}
	}
	if to.Settled() {
		due = time.Time{}
	}
	c.State, c.Due, c.At = to, due, now
	e.count(from, to, 1)
	if err := t.untell(e.msg, c, from); err != nil {
		return err
	}
	return t.put(c)
}

// nextDue is when the message's earliest copy is due; zero when none waits.
func (t *txn) nextDue(id mail.ID) time.Time {
	key := id.Bytes()
	k, _ := t.due.Cursor().Seek(key[:])
	if len(k) != 28 || [16]byte(k[:16]) != key {
		return time.Time{}
	}
	return time.UnixMilli(int64(binary.BigEndian.Uint64(k[16:])))
}

func timeBytes(t time.Time) []byte {
	return binary.BigEndian.AppendUint64(nil, uint64(t.UnixMilli()))
}

// prefix calls fn for every key that begins with p, in order, until fn says stop.
func prefix(b *bolt.Bucket, p []byte, fn func(k, v []byte) (more bool, err error)) error {
	c := b.Cursor()
	for k, v := c.Seek(p); len(k) >= len(p) && string(k[:len(p)]) == string(p); k, v = c.Next() {
		if more, err := fn(k, v); err != nil || !more {
			return err
		}
	}
	return nil
}
