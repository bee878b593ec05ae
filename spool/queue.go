package spool

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"postern/mail"
)

// Summary is a message with its counts.
type Summary struct {
	mail.Message
	Counts   mail.Counts
	Outcomes mail.Outcomes // of its copies, as far as events have come
}

// Tally is what has come of the message so far.
func (s *Summary) Tally() mail.Tally { return tallyOf(s.Counts, s.Outcomes) }

func tallyOf(c mail.Counts, o mail.Outcomes) mail.Tally {
	return mail.Tally{Answered: c[mail.Sent] + c[mail.CopyFailed], Bounced: o[mail.Bounced], Complained: o[mail.Complained]}
}

// Refused is why an operator's command does not fit the message's state.
type Refused struct{ Sentence string }

func (r *Refused) Error() string { return r.Sentence }

func refuse(format string, a ...any) error { return &Refused{fmt.Sprintf(format, a...)} }

// Messages lists up to limit messages, newest first, older than before ("" for
// the newest).
func (s *Spool) Messages(before mail.ID, limit int) ([]Summary, error) {
	var list []Summary
	err := s.view(func(t *txn) error {
		c := t.messages.Cursor()
		k, v := c.Last()
		if before != "" {
			key := before.Bytes()
			c.Seek(key[:])
			k, v = c.Prev()
		}
		for ; k != nil && len(list) < limit; k, v = c.Prev() {
			var sum Summary
			if err := json.Unmarshal(v, &sum.Message); err != nil {
				return fmt.Errorf("the row of message %s is damaged: %w", mail.IDFromBytes([16]byte(k)), err)
			}
			sum.Counts, sum.Outcomes = decodeCounts(t.counts.Get(k))
			list = append(list, sum)
		}
		return nil
	})
	return list, err
}

// Message finds one message; ErrNotFound.
func (s *Spool) Message(id mail.ID) (Summary, error) {
	var sum Summary
	err := s.view(func(t *txn) error {
		e, err := t.stored(id)
		if err == nil {
			sum = e.summary()
		}
		return err
	})
	return sum, err
}

// Copies lists up to limit copies of a message in order of Seq, after the given
// one (0 for the first). A copy with a begun attempt is InFlight.
func (s *Spool) Copies(id mail.ID, after uint32, limit int) ([]mail.Copy, error) {
	var list []mail.Copy
	err := s.view(func(t *txn) error {
		if _, err := t.stored(id); err != nil {
			return err
		}
		key := id.Bytes()
		c := t.copies.Cursor()
		for k, v := c.Seek(copyKey(id, after+1)); len(list) < limit && bytes.HasPrefix(k, key[:]); k, v = c.Next() {
			cp, err := t.shown(k, v)
			if err != nil {
				return err
			}
			list = append(list, cp)
		}
		return nil
	})
	return list, err
}

// Copy finds the message's copy with a number; ErrNotFound.
func (s *Spool) Copy(id mail.ID, seq uint32) (mail.Copy, error) {
	var c mail.Copy
	err := s.view(func(t *txn) (err error) {
		k := copyKey(id, seq)
		c, err = t.shown(k, t.copies.Get(k))
		return err
	})
	return c, err
}

// CopyTo finds the message's copy for an address; ErrNotFound.
func (s *Spool) CopyTo(id mail.ID, to mail.Address) (mail.Copy, error) {
	var c mail.Copy
	err := s.view(func(t *txn) error {
		v := t.address.Get(addressKey(to.Key(), id))
		if v == nil {
			return ErrNotFound
		}
		k := copyKey(id, binary.BigEndian.Uint32(v))
		var err error
		c, err = t.shown(k, t.copies.Get(k))
		return err
	})
	return c, err
}

// ByUpstream finds the copy to which upstream gave this id; ErrNotFound.
func (s *Spool) ByUpstream(id string) (mail.Copy, error) {
	var c mail.Copy
	err := s.view(func(t *txn) error {
		k := t.upstream.Get([]byte(id))
		if k == nil {
			return ErrNotFound
		}
		var err error
		c, err = t.shown(k, t.copies.Get(k))
		return err
	})
	return c, err
}

// OpenCopies is how many copies in all are not settled.
func (s *Spool) OpenCopies() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.open
}

// Pause stops a message for a person: nothing of it is claimed until Resume. Attempts that
// have begun end as they end.
func (s *Spool) Pause(ctx context.Context, id mail.ID, reason string) error {
	return s.change(ctx, id, func(m *mail.Message) error {
		switch m.State {
		case mail.Sending, mail.Expanding:
			m.State, m.Reason = mail.Paused, reason
			m.Stopped = nil // one that the gateway made before: nothing resumes a person's pause by itself
			return nil
		case mail.Paused:
			if m.Stopped == nil || m.Stopped.Until.IsZero() {
				return refuse("message %s is paused already", id)
			}
			m.Reason, m.Stopped = reason, nil // the gateway would have resumed it
			return nil
		}
		return refuse("message %s is %s; only a message that is being expanded or sent can be paused", id, m.State)
	})
}

// Resume sets a paused message going again, or begins the release of a held one:
// its recipients are asked for once more (see Expanding) and then it is sent.
func (s *Spool) Resume(ctx context.Context, id mail.ID) error {
	return s.update(ctx, func(t *txn) error {
		m, e, err := t.edit(id)
		if err != nil {
			return err
		}
		switch {
		case m.State == mail.Held && !m.Releasing:
			m.Releasing, m.Checkpoint, m.Reason = true, nil, "being released: the directory is asked again who is subscribed"
		case m.State == mail.Held:
			return refuse("message %s is being released already", id)
		case m.State == mail.Paused && m.Expanded:
			m.State, m.Reason = mail.Sending, ""
		case m.State == mail.Paused:
			m.State, m.Reason = mail.Expanding, ""
		default:
			return refuse("message %s is %s; only a held or paused message can be resumed", id, m.State)
		}
		m.Counted, m.CountedAt = tallyOf(e.counts, e.outcomes), time.Now()
		m.Stopped = nil // when it stops again, that is news
		return nil
	})
}

// Cancel ends a message: its copies that are not settled become cancelled. Those
// that are being sent at this moment end as they end. Once begun it goes on to its
// end, whatever becomes of ctx; what a full disk cut short, another Cancel ends.
func (s *Spool) Cancel(ctx context.Context, id mail.ID, reason string) error {
	err := s.update(ctx, func(t *txn) error {
		m, e, err := t.edit(id)
		if err != nil {
			return err
		}
		if finished(e) || m.State == mail.Done || m.State == mail.Failed {
			return refuse("message %s is %s; there is nothing left to cancel", id, m.State)
		}
		m.State, m.Reason, m.Expanded, m.Releasing, m.Forecast = mail.Cancelled, reason, true, false, nil
		return nil
	})
	if err != nil {
		return err
	}
	return s.cancelCopies(context.WithoutCancel(ctx), id)
}

// cancelCopies settles what waits of a cancelled message.
func (s *Spool) cancelCopies(ctx context.Context, id mail.ID) error {
	_, err := s.sweep(ctx, id, func(t *txn, c *mail.Copy) (bool, error) {
		if c.State.Settled() || c.State == mail.InFlight {
			return false, nil
		}
		now := time.Now()
		return true, t.move(c, c.State, mail.CopyCancelled, now, now)
	})
	return err
}

// finishCancelled goes on where a crash cut a Cancel short.
func (s *Spool) finishCancelled() error {
	s.mu.RLock()
	var ids []mail.ID
	for id, e := range s.live {
		if e.msg.State == mail.Cancelled {
			ids = append(ids, id)
		}
	}
	s.mu.RUnlock()
	for _, id := range ids {
		if err := s.cancelCopies(context.Background(), id); err != nil {
			return err
		}
	}
	return nil
}

// Retry queues again those who missed the message: its failed copies and those
// whose result stays unknown; or only the copy for the address to, which may
// also be cancelled, suppressed or unsubscribed. It returns how many.
func (s *Spool) Retry(ctx context.Context, id mail.ID, to mail.Address) (int, error) {
	if to != "" {
		if err := s.update(ctx, func(t *txn) error { return t.retryOne(id, to) }); err != nil {
			return 0, err
		}
		return 1, nil
	}
	return s.requeueThose(ctx, id, func(c *mail.Copy) bool {
		return c.State == mail.CopyFailed || c.State == mail.Unknown && c.Due.IsZero()
	})
}

// RetryFailed queues the failed copies of a message again, and not those whose result
// stays unknown, which may have been sent.
func (s *Spool) RetryFailed(ctx context.Context, id mail.ID) (int, error) {
	return s.requeueThose(ctx, id, func(c *mail.Copy) bool { return c.State == mail.CopyFailed })
}

func (s *Spool) requeueThose(ctx context.Context, id mail.ID, which func(*mail.Copy) bool) (int, error) {
	return s.sweep(ctx, id, func(t *txn, c *mail.Copy) (bool, error) {
		if !which(c) {
			return false, nil
		}
		return true, t.requeue(c)
	})
}

func (t *txn) retryOne(id mail.ID, to mail.Address) error {
	v := t.address.Get(addressKey(to.Key(), id))
	if v == nil {
		return ErrNotFound
	}
	k := copyKey(id, binary.BigEndian.Uint32(v))
	c, err := t.shown(k, t.copies.Get(k))
	switch {
	case err != nil:
		return err
	case c.State == mail.Sent:
		return refuse("the copy for %s was sent already; a second one would be a double", to)
	case !c.State.Settled() && c.State != mail.Unknown:
		return refuse("the copy for %s is %s and needs no retry", to, c.State)
	case c.State == mail.Skipped: // its values are still missing: it would go out with a hole
		return refuse("the copy for %s was skipped (%s); a retry would send it as it is: mend the user in the directory and submit the mail again to them", to, c.LastError)
	}
	return t.requeue(&c)
}

// requeue queues a copy as if it had never been tried, and makes its message
// active again when that was finished: both in one commit, because nobody looks
// for open copies of a finished message.
func (t *txn) requeue(c *mail.Copy) error {
	now := time.Now()
	c.Attempts = 0
	if err := errors.Join(t.recount(c, mail.Queued, mail.NoOutcome), t.unlearn(c)); err != nil {
		return err
	}
	if err := t.move(c, c.State, mail.Queued, now, now); err != nil {
		return err
	}
	m, e, err := t.edit(c.Message)
	if err != nil {
		return err
	}
	if m.State == mail.Done || m.State == mail.Cancelled || m.State == mail.Failed {
		if err := t.finished.Delete(finishedKey(m)); err != nil {
			return err
		}
		m.State, m.Reason, m.DoneAt = mail.Sending, "", time.Time{}
		e.was = false
	}
	return nil
}

// sweep calls fn for every copy of a message, a chunk of copies a transaction,
// and counts those that fn changed. It may be repeated after a crash.
func (s *Spool) sweep(ctx context.Context, id mail.ID, fn func(*txn, *mail.Copy) (bool, error)) (int, error) {
	total, after, more := 0, uint32(0), true
	for more {
		var n int
		var last uint32
		err := s.update(ctx, func(t *txn) error {
			n, last, more = 0, after, false
			if _, err := t.entry(id); err != nil {
				return err
			}
			page, err := t.page(id, after)
			if err != nil {
				return err
			}
			for i := range page {
				changed, err := fn(t, &page[i])
				if err != nil {
					return err
				}
				if changed {
					n++
				}
				last = page[i].Seq
			}
			more = len(page) == chunk
			return nil
		})
		if err != nil {
			return total, err
		}
		total, after = total+n, last
	}
	return total, nil
}

func (t *txn) page(id mail.ID, after uint32) ([]mail.Copy, error) {
	key := id.Bytes()
	var page []mail.Copy
	c := t.copies.Cursor()
	for k, v := c.Seek(copyKey(id, after+1)); len(page) < chunk && bytes.HasPrefix(k, key[:]); k, v = c.Next() {
		cp, err := t.shown(k, v)
		if err != nil {
			return nil, err
		}
		page = append(page, cp)
	}
	return page, nil
}

// shown decodes a row as people see it: with a begun attempt it is InFlight.
func (t *txn) shown(k, v []byte) (mail.Copy, error) {
	if v == nil {
		return mail.Copy{}, ErrNotFound
	}
	id, seq := splitKey(k)
	c, err := decodeCopy(id, seq, v)
	if claim := t.claims.Get(k); claim != nil {
		c.State, c.Due = mail.InFlight, time.Time{}
		c.At = time.UnixMilli(int64(binary.BigEndian.Uint64(claim[4:])))
	}
	return c, err
}

// stored reads a message from the transaction itself, not from what is live.
func (t *txn) stored(id mail.ID) (*change, error) {
	key := id.Bytes()
	b := t.messages.Get(key[:])
	if b == nil {
		return nil, ErrNotFound
	}
	m := new(mail.Message)
	if err := json.Unmarshal(b, m); err != nil {
		return nil, fmt.Errorf("the row of message %s is damaged: %w", id, err)
	}
	e := &change{msg: m, was: t.active.Get(key[:]) != nil}
	e.counts, e.outcomes = decodeCounts(t.counts.Get(key[:]))
	return e, nil
}

// view runs fn in a read transaction.
func (s *Spool) view(fn func(*txn) error) error {
	tx, err := s.db.Begin(false)
	if err != nil {
		return ErrClosed
	}
	defer func() { _ = tx.Rollback() }()
	return fn(newTxn(s, tx))
}

func sortMessages(ms []mail.Message) {
	slices.SortFunc(ms, func(a, b mail.Message) int { return cmp.Compare(a.ID, b.ID) })
}
