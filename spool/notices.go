package spool

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"postern/mail"
)

// Telling is what a notice tells its reader, and of which messages.
type Telling struct {
	Kind   mail.Notice // NoticeFailed, NoticeDelayed, NoticePaused, NoticeSlow or NoticeComplaints
	About  []mail.ID   // one where Copies tells of some
	Copies []uint32    // for NoticeFailed and NoticeComplaints: those of About[0]
	Seen   time.Time   // and when they were looked up: what fails anew after it is told anew
	At     time.Time
}

// Untold is a message some of whose copies have failed without its sender having
// been told.
type Untold struct {
	Summary
	Since time.Time // when one of these copies failed
}

// TellWake signals when there may be something to tell a sender.
func (s *Spool) TellWake() <-chan struct{} { return s.tell }

// Untold lists up to limit messages with failures that are still to be told, in
// order of their ids, after the given one ("" for the first).
func (s *Spool) Untold(after mail.ID, limit int) (list []Untold, err error) {
	err = s.view(func(t *txn) error {
		list, err = t.listed(t.untold, after, limit)
		return err
	})
	return list, err
}

// listed reads the messages that an index of copies names.
func (t *txn) listed(index *bolt.Bucket, after mail.ID, limit int) (list []Untold, err error) {
	c := index.Cursor()
	k, v := c.First()
	if after != "" {
		k, v = c.Seek(lastOf(after))
	}
	for k != nil && len(list) < limit {
		id, _ := splitKey(k)
		e, err := t.stored(id)
		if err != nil {
			return nil, err
		}
		list = append(list, Untold{e.summary(), time.UnixMilli(int64(binary.BigEndian.Uint64(v)))})
		k, v = c.Seek(lastOf(id))
	}
	return list, nil
}

// lastOf is above every key of a message's copies and below those of the next one.
func lastOf(id mail.ID) []byte { return append(copyKey(id, ^uint32(0)), 0) }

// UntoldCopies gives the failures of a message that are still to be told: up to
// limit of the copies, and the numbers of all.
func (s *Spool) UntoldCopies(id mail.ID, limit int) (copies []mail.Copy, seqs []uint32, err error) {
	err = s.view(func(t *txn) error {
		copies, seqs, err = t.listedCopies(t.untold, id, limit)
		return err
	})
	return copies, seqs, err
}

// listedCopies reads those copies of a message that an index names.
func (t *txn) listedCopies(index *bolt.Bucket, id mail.ID, limit int) (copies []mail.Copy, seqs []uint32, err error) {
	key := id.Bytes()
	err = prefix(index, key[:], func(k, _ []byte) (bool, error) {
		_, seq := splitKey(k)
		seqs = append(seqs, seq)
		if len(copies) < limit {
			c, err := t.shown(k, t.copies.Get(k))
			if err != nil {
				return false, err
			}
			copies = append(copies, c)
		}
		return true, nil
	})
	return copies, seqs, err
}

// Late is a message that has waited for long.
type Late struct {
	ID   mail.ID
	From mail.Address
}

// Late lists, oldest first, the messages that were accepted before a time and are
// still being expanded, or sent or paused with copies that are not settled. Those
// whose sender was warned already, or cannot be told anything, are left out; so are
// held ones, which wait for their sender or an approver.
func (s *Spool) Late(before time.Time) []Late {
	s.mu.RLock()
	var late []Late
	for id, e := range s.live {
		m := e.msg
		if m.AcceptedAt.Before(before) && m.WarnedAt.IsZero() && m.Answerable() &&
			(m.State == mail.Expanding || (m.State == mail.Sending || m.State == mail.Paused) && e.counts.Open() > 0) {
			late = append(late, Late{id, m.From})
		}
	}
	s.mu.RUnlock()
	slices.SortFunc(late, func(a, b Late) int { return cmp.Compare(a.ID, b.ID) })
	return late
}

// Unfinished is how many notices of a kind are not finished.
func (s *Spool) Unfinished(kind mail.Notice) (n int) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, e := range s.live {
		if e.msg.Notice == kind {
			n++
		}
	}
	return n
}

// tellable says whether the sender of ordinary mail wants to know that a copy
// ended so. Of a list they are told of failures alone: whoever has unsubscribed or
// is suppressed is as they should be.
func tellable(s mail.State) bool { return s == mail.CopyFailed || s == mail.Suppressed }

// untell keeps the list of what is to be told when a copy changes its state.
func (t *txn) untell(m *mail.Message, c *mail.Copy, from mail.State) error {
	key := copyKey(c.Message, c.Seq)
	switch {
	case c.State == mail.CopyFailed, c.State == mail.Suppressed && m.List == nil:
		if !m.Answerable() {
			return nil
		}
		t.telling = true
		return t.untold.Put(key, timeBytes(c.At))
	case tellable(from):
		return t.untold.Delete(key)
	}
	return nil
}

// tells marks what a notice tells as told. A message that is gone meanwhile needs
// no mark.
func (t *txn) tells(tells *Telling) error {
	for _, id := range tells.About {
		m, _, err := t.edit(id)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		switch tells.Kind {
		case mail.NoticeDelayed:
			m.WarnedAt = tells.At
		case mail.NoticePaused:
			if m.Stopped != nil {
				stop := *m.Stopped
				stop.ToldAt = tells.At
				m.Stopped = &stop
			}
			m.WarnedAt = tells.At // that it is late is no news any more
		case mail.NoticeSlow:
			if m.Forecast != nil {
				f := *m.Forecast
				f.ToldAt = tells.At
				m.Forecast = &f
			}
			m.WarnedAt = tells.At
		case mail.NoticeComplaints:
			err = t.unlist(t.complaints, id, tells)
		default:
			m.ToldAt = tells.At
			err = t.unlist(t.untold, id, tells)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// unlist takes off an index what is told, but not what came anew since it was seen.
func (t *txn) unlist(index *bolt.Bucket, id mail.ID, tells *Telling) error {
	for _, seq := range tells.Copies {
		key := copyKey(id, seq)
		if v := index.Get(key); v == nil || int64(binary.BigEndian.Uint64(v)) > tells.Seen.UnixMilli() {
			continue
		}
		if err := index.Delete(key); err != nil {
			return err
		}
	}
	return nil
}

// Told marks as told what nobody can be told.
func (s *Spool) Told(ctx context.Context, t Telling) error {
	return s.update(ctx, func(tx *txn) error { return tx.tells(&t) })
}

// Trouble is what keeps mail from being stored: the spool is broken, or its last
// commit found the disk full; nil when neither is so.
func (s *Spool) Trouble() error {
	if err := s.Broken(); err != nil {
		return err
	}
	if p := s.full.Load(); p != nil {
		return *p
	}
	return nil
}
