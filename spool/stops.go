package spool

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"time"

	"postern/mail"
)

// again is how long nobody is told anew of a pause that comes again by itself.
const again = 24 * time.Hour

// Stop pauses a message for the gateway itself, with the words for people. A message
// that is not being expanded or sent stays as it is. It says whether the message was
// stopped now.
func (s *Spool) Stop(ctx context.Context, id mail.ID, stop mail.Stop, reason string) (stopped bool, err error) {
	err = s.update(ctx, func(t *txn) error {
		stopped = false
		e, err := t.entry(id)
		if err != nil || e.msg.State != mail.Sending && e.msg.State != mail.Expanding {
			return err
		}
		m, _, err := t.edit(id)
		if err != nil {
			return err
		}
		if last := m.Stopped; last != nil && last.Kind == stop.Kind && stop.At.Sub(last.ToldAt) < again {
			stop.ToldAt = last.ToldAt
		}
		m.State, m.Reason, m.Stopped, stopped = mail.Paused, reason, &stop, true
		t.telling = true
		return nil
	})
	return stopped, err
}

// ResumeDue sets those messages going again whose Stop was for a time that is over,
// and gives their ids.
func (s *Spool) ResumeDue(ctx context.Context, now time.Time) ([]mail.ID, error) {
	var ids []mail.ID
	for _, sum := range s.unfinished(func(m *mail.Message) bool { return stoppedUntil(m, now) }) {
		ids = append(ids, sum.ID)
	}
	if len(ids) == 0 {
		return nil, nil
	}
	err := s.update(ctx, func(t *txn) error {
		for _, id := range ids {
			e, err := t.entry(id)
			if err != nil || !stoppedUntil(e.msg, now) {
				continue
			}
			m, _, err := t.edit(id)
			if err != nil {
				return err
			}
			m.Reason = ""
			if m.State = mail.Expanding; m.Expanded {
				m.State = mail.Sending
			}
		}
		return nil
	})
	return ids, err
}

func stoppedUntil(m *mail.Message, now time.Time) bool {
	return m.State == mail.Paused && m.Stopped != nil && !m.Stopped.Until.IsZero() && !now.Before(m.Stopped.Until)
}

// Stopped lists the messages that the gateway has paused and whose people have not
// been told, oldest first.
func (s *Spool) Stopped() []Summary {
	return s.unfinished(func(m *mail.Message) bool {
		return m.State == mail.Paused && m.Stopped != nil && m.Stopped.ToldAt.IsZero()
	})
}

// Slow lists the messages whose sender has not been told that they will not be out
// today, oldest first.
func (s *Spool) Slow() []Summary {
	return s.unfinished(func(m *mail.Message) bool { return m.Forecast != nil && m.Forecast.ToldAt.IsZero() })
}

// Waiting is a message that has copies to be sent, or will have: what is small of it,
// because there may be very many.
type Waiting struct {
	*mail.Message // shared: read only
	Counts        mail.Counts
}

// Unsent lists the messages that have copies to be sent, or will have, oldest first.
func (s *Spool) Unsent() []Waiting {
	s.mu.RLock()
	var list []Waiting
	for _, e := range s.live {
		if unsent(e.msg) {
			list = append(list, Waiting{e.msg, e.counts})
		}
	}
	s.mu.RUnlock()
	slices.SortFunc(list, func(a, b Waiting) int { return strings.Compare(string(a.ID), string(b.ID)) })
	return list
}

func unsent(m *mail.Message) bool {
	return m.State == mail.Sending || m.State == mail.Expanding || m.State == mail.Paused
}

func (s *Spool) unfinished(which func(*mail.Message) bool) []Summary {
	s.mu.RLock()
	var list []Summary
	for _, e := range s.live {
		if which(e.msg) {
			list = append(list, Summary{*e.msg, e.counts, e.outcomes})
		}
	}
	s.mu.RUnlock()
	slices.SortFunc(list, func(a, b Summary) int { return strings.Compare(string(a.ID), string(b.ID)) })
	return list
}

// Foresee notes that a message will not be out today, or, with nil, that this is no
// longer so. reason are the words for people; a message that is paused keeps those of
// its pause. Of one that has ended meanwhile nothing is foreseen.
func (s *Spool) Foresee(ctx context.Context, id mail.ID, f *mail.Forecast, reason string) error {
	return s.change(ctx, id, func(m *mail.Message) error {
		if !unsent(m) {
			return nil
		}
		if f != nil && m.Forecast != nil && f.ToldAt.IsZero() { // told is told
			told := *f
			told.ToldAt = m.Forecast.ToldAt
			f = &told
		}
		m.Forecast = f
		if m.State == mail.Sending || m.State == mail.Expanding {
			m.Reason = reason
		}
		return nil
	})
}

// Lane reads what SetLane has kept under a lane's name; nil for nothing.
func (s *Spool) Lane(name string) (row []byte, err error) {
	err = s.view(func(t *txn) error {
		row = bytes.Clone(t.lanes.Get([]byte(name)))
		return nil
	})
	return row, err
}

// SetLane keeps a row about a lane, whatever it holds, durably when it returns. edit is
// given the row as it is, nil for none, and may be called more than once.
func (s *Spool) SetLane(ctx context.Context, name string, edit func(row []byte) ([]byte, error)) error {
	return s.update(ctx, func(t *txn) error {
		row, err := edit(bytes.Clone(t.lanes.Get([]byte(name))))
		if err != nil {
			return err
		}
		return t.lanes.Put([]byte(name), row)
	})
}

// Complaints lists up to limit messages with complaints that the owner of their list has
// yet to be told of, after the given one, and how many of these they have.
func (s *Spool) Complaints(after mail.ID, limit int) (list []Untold, err error) {
	err = s.view(func(t *txn) error {
		list, err = t.listed(t.complaints, after, limit)
		return err
	})
	return list, err
}

// ComplaintCopies gives the copies of a message about whose complaints the owner of its
// list has yet to be told: up to limit of them, and the numbers of all.
func (s *Spool) ComplaintCopies(id mail.ID, limit int) (copies []mail.Copy, seqs []uint32, err error) {
	err = s.view(func(t *txn) error {
		copies, seqs, err = t.listedCopies(t.complaints, id, limit)
		return err
	})
	return copies, seqs, err
}
