package spool

import (
	"context"
	"errors"
	"fmt"
	"time"

	"postern/mail"
)

// Observation is what an event says of a copy: at the least that upstream has
// accepted it, because events tell of nothing else.
type Observation struct {
	Message    mail.ID
	Seq        uint32
	UpstreamID string       // "": the event does not say
	Outcome    mail.Outcome // NoOutcome: no more than that it was accepted
	Words      string       // the receiving server's, for people
	At         time.Time    // when it happened, as the event says
	Uncounted  bool         // a bounce that no breaker counts
}

// Observed is a copy after an observation.
type Observed struct {
	Copy    mail.Copy
	Message Summary
	Raised  bool // this observation has raised the outcome: the first that says so
	Counts  bool // and the breakers are to count that
	Settled bool // whether upstream had accepted the copy was not known until now
}

// Observe notes what events say, in one commit, and returns when it is on disk. What
// it returns goes in step with what it was given; nil stands for a copy that the spool
// does not hold, or that was never tried. A copy whose attempt's result is not known
// is sent from now on, and so is one that is under way if its attempt ends in anything
// but a success. The same observation again changes nothing.
func (s *Spool) Observe(ctx context.Context, all []Observation) ([]*Observed, error) {
	var seen []*Observed
	err := s.update(ctx, func(t *txn) error {
		seen = make([]*Observed, len(all)) // may run more than once
		for i := range all {
			o, err := t.observe(&all[i])
			if err != nil && !errors.Is(err, ErrNotFound) {
				return err
			}
			seen[i] = o
		}
		for _, o := range seen { // the counts when all are noted
			if o != nil {
				e, err := t.entry(o.Copy.Message)
				if err != nil {
					return err
				}
				o.Message = e.summary()
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("note what became of copies: %w", err)
	}
	return seen, nil
}

func (t *txn) observe(o *Observation) (*Observed, error) {
	e, err := t.entry(o.Message)
	if err != nil {
		return nil, err
	}
	c, err := t.copy(o.Message, o.Seq)
	if err != nil {
		return nil, err
	}
	key := copyKey(o.Message, o.Seq)
	underWay := t.claims.Get(key) != nil
	if c.Claims == 0 && !underWay {
		return nil, ErrNotFound
	}
	out, had := &Observed{}, c.Outcome
	if c.UpstreamID == "" && o.UpstreamID != "" {
		c.UpstreamID = clip(o.UpstreamID)
		if err := t.upstream.Put([]byte(c.UpstreamID), key); err != nil {
			return nil, err
		}
	}
	if o.Outcome > c.Outcome {
		if err := t.outside(c, o, underWay); err != nil {
			return nil, err
		}
		out.Counts = !o.Uncounted
		e.raise(c.Outcome, o.Outcome)
		c.Outcome, c.OutcomeAt, c.OutcomeWords, out.Raised = o.Outcome, o.At, clip(o.Words), true
		if err := t.complain(e.msg, c); err != nil {
			return nil, err
		}
	}
	switch from := c.State; {
	case underWay, from == mail.Sent:
		err = t.copies.Put(key, encodeCopy(c))
	default:
		out.Settled, c.LastError = from == mail.Unknown, ""
		err = t.move(c, from, mail.Sent, time.Time{}, time.Now())
	}
	if had < mail.SoftBounced && (c.Outcome == mail.SoftBounced || c.Outcome == mail.Bounced) {
		err = errors.Join(err, t.cameBack(e.msg, c))
	}
	out.Copy = *c
	return out, err
}

// cameBack lists a copy of ordinary mail that upstream had taken and that has bounced, for
// good or because upstream has given up, for its sender: no other bounce reaches them where upstream writes a return path of
// its own.
func (t *txn) cameBack(m *mail.Message, c *mail.Copy) error {
	if m.List != nil || !m.Answerable() {
		return nil
	}
	t.telling = true
	return t.untold.Put(copyKey(c.Message, c.Seq), timeBytes(time.Now()))
}

// accepted says that an event has told of a copy, so that upstream must have
// accepted it.
func accepted(c *mail.Copy) bool { return c.UpstreamID != "" || c.Outcome != mail.NoOutcome }

// outside keeps an outcome that the breaker is not to count in Message.Counted.
func (t *txn) outside(c *mail.Copy, o *Observation, underWay bool) error {
	if !underWay && !c.At.After(t.entries[c.Message].msg.CountedAt) {
		return t.recount(c, c.State, o.Outcome)
	}
	if !o.Uncounted || o.Outcome != mail.Bounced {
		return nil
	}
	m, _, err := t.edit(c.Message)
	if err == nil {
		m.Counted.Bounced++
	}
	return err
}

// recount keeps Message.Counted in step with what becomes of a copy that was answered
// before its message was resumed: what comes late is not held against the copies that
// were sent since.
func (t *txn) recount(c *mail.Copy, to mail.State, outcome mail.Outcome) error {
	e, err := t.entry(c.Message)
	if err != nil || c.At.After(e.msg.CountedAt) || c.State != mail.Sent && c.State != mail.CopyFailed {
		return err
	}
	one := func(s mail.State, o mail.Outcome) mail.Tally {
		var counts mail.Counts
		var outcomes mail.Outcomes
		counts[s]++
		if o != mail.NoOutcome {
			outcomes[o]++
		}
		return tallyOf(counts, outcomes)
	}
	was, is := one(c.State, c.Outcome), one(to, outcome)
	if was == is {
		return nil
	}
	m, _, err := t.edit(c.Message)
	if err == nil {
		m.Counted = m.Counted.Less(was).Plus(is)
	}
	return err
}

// unlearn forgets what is known of a copy that is to be sent anew.
func (t *txn) unlearn(c *mail.Copy) error {
	e, err := t.entry(c.Message)
	if err != nil {
		return err
	}
	e.raise(c.Outcome, mail.NoOutcome)
	err = t.complaints.Delete(copyKey(c.Message, c.Seq))
	if c.UpstreamID != "" {
		err = errors.Join(err, t.upstream.Delete([]byte(c.UpstreamID)))
	}
	c.UpstreamID, c.Outcome, c.OutcomeAt, c.OutcomeWords = "", mail.NoOutcome, time.Time{}, ""
	return err
}

// complain lists a complaint for the owner of the list, where there is one.
func (t *txn) complain(m *mail.Message, c *mail.Copy) error {
	if c.Outcome != mail.Complained || m.List == nil || m.List.Owner == "" {
		return nil
	}
	t.telling = true
	return t.complaints.Put(copyKey(c.Message, c.Seq), timeBytes(time.Now()))
}
