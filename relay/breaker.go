package relay

import (
	"context"
	"fmt"
	"sync"
	"time"

	"postern/mail"
	"postern/spool"
)

// Breaker is when so much comes back that sending on would harm: the bounces, or the
// complaints, are more than so many and more than this share of the copies that
// upstream has answered. A rate of 0 switches a half of it off. A message that passes
// them is paused. So is the bulk mail of a lane that passes them with the copies of a
// rolling day, whatever its messages: the provider of the account judges it by the same rates
// (Amazon SES reviews an account at 5 % bounces or 0.1 % complaints).
type Breaker struct {
	BounceRate    float64
	BouncesMin    int
	ComplaintRate float64
	ComplaintsMin int
}

// trips says, in words, why sending is to stop; "" when it is not.
func (b Breaker) trips(t mail.Tally) string {
	passes := func(n, atLeast int, rate float64) bool {
		return rate > 0 && n >= max(atLeast, 1) && float64(n) > rate*float64(t.Answered)
	}
	switch {
	case passes(t.Bounced, b.BouncesMin, b.BounceRate):
		return fmt.Sprintf("%d of %d copies have bounced, which is more than %s", t.Bounced, t.Answered, percent(b.BounceRate))
	case passes(t.Complained, b.ComplaintsMin, b.ComplaintRate):
		return fmt.Sprintf("%d recipients of %d have called this mail spam, which is more than %s", t.Complained, t.Answered, percent(b.ComplaintRate))
	}
	return ""
}

func percent(rate float64) string { return fmt.Sprintf("%.3g %%", 100*rate) }

// Observed lets the breaker see what came of copies: every observation, in the order
// in which the spool has noted them.
func (r *Relay) Observed(ctx context.Context, all []*spool.Observed) {
	for _, o := range all {
		if o == nil {
			continue
		}
		var t mail.Tally
		if o.Settled {
			t.Answered = 1
		}
		if o.Counts && o.Copy.Outcome == mail.Bounced {
			t.Bounced = 1
		}
		if o.Counts && o.Copy.Outcome == mail.Complained {
			t.Complained = 1
		}
		if t != (mail.Tally{}) {
			r.judge(ctx, o, t)
		}
	}
}

// answered counts the attempts that upstream has answered.
func (l *lane) answered(ended []spool.Settled) {
	now := time.Now()
	for i := range ended {
		if r := &ended[i].Result; r.State == mail.Sent || r.State == mail.CopyFailed {
			l.rolling.add(mail.Tally{Answered: 1}, r.At, now)
		}
	}
}

// judge counts what came of one copy of a message and stops what passes the rates.
func (r *Relay) judge(ctx context.Context, o *spool.Observed, t mail.Tally) {
	now, m := time.Now(), &o.Message
	if why := r.cfg.Breaker.trips(m.Tally().Less(m.Counted)); why != "" && m.List != nil && (t.Bounced > 0 || t.Complained > 0) {
		stop := mail.Stop{Kind: mail.StopBounces, At: now}
		reason := "paused to protect the reputation of your domain: " + why +
			"; look at what has come back (`postern queue show " + string(m.ID) + "`), then resume the message or cancel it"
		if stopped, err := r.cfg.Spool.Stop(context.WithoutCancel(ctx), m.ID, stop, reason); stopped {
			r.cfg.Log.Error("message paused", "message", m.ID, "reason", reason)
		} else if err != nil {
			r.cfg.Log.Error("a message could not be paused", "message", m.ID, "reason", reason, "error", err)
		}
	}
	l := r.laneOf(&m.Message)
	if l == nil || m.Notice != "" {
		return
	}
	sent := o.Copy.At
	if o.Copy.State != mail.Sent { // its attempt has not ended yet
		sent = now
	}
	day := l.rolling.add(t, sent, now)
	why := r.cfg.Breaker.trips(day)
	if why == "" || l.gate.holdsBulk() {
		return
	}
	reason := "bulk mail waits to protect the account: within a day " + why +
		"; find out which messages that was about (`postern queue list`), and then run `postern lane resume " + l.Name + "`"
	if err := r.holdBulk(context.WithoutCancel(ctx), l.Name, reason); err != nil {
		r.cfg.Log.Error("the bulk mail of a lane could not be stopped", "lane", l.Name, "reason", reason, "error", err)
		return
	}
	r.cfg.Log.Error("lane holds bulk mail", "lane", l.Name, "reason", reason)
}

// laneOf is the lane that a message goes through now.
func (r *Relay) laneOf(m *mail.Message) *lane {
	name := m.Lane
	if r.cfg.LaneOf != nil {
		name = r.cfg.LaneOf(m)
	}
	if l := r.lane(name); l != nil {
		return l
	}
	return r.lanes[0]
}

// rolling counts what has come of the copies that a lane has sent within the last day,
// by the hour in which they were sent: a bounce or a complaint that comes days later must
// not be held against the few copies of today. It is its own lock.
type rolling struct {
	mu      sync.Mutex
	hours   []hourTally // oldest first
	since   time.Time   // somebody has resumed the lane: what was sent before does not count
	changed bool        // since it was last written down
}

type hourTally struct {
	Hour  time.Time  `json:"hour"`
	Tally mail.Tally `json:"tally"`
}

const day = 24 * time.Hour

// add counts what came of a copy that was sent at that time, if its hour counts, and says
// what the last day makes.
func (r *rolling) add(t mail.Tally, sent, now time.Time) (sum mail.Tally) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.hours) > 0 && now.Sub(r.hours[0].Hour) > day {
		r.hours = r.hours[1:]
	}
	if tally := r.of(sent.UTC().Truncate(time.Hour), t.Answered > 0); tally != nil && !sent.Before(r.since) {
		*tally = tally.Plus(t)
		r.changed = true
	}
	for _, h := range r.hours {
		sum = sum.Plus(h.Tally)
	}
	return sum
}

// of is the tally of an hour; nil when nothing is known of the copies that it sent.
func (r *rolling) of(hour time.Time, answered bool) *mail.Tally {
	for i := range r.hours {
		if r.hours[i].Hour.Equal(hour) {
			return &r.hours[i].Tally
		}
	}
	n := len(r.hours)
	switch {
	case !answered:
		return nil
	case n == 0 || r.hours[n-1].Hour.Before(hour):
		r.hours = append(r.hours, hourTally{Hour: hour})
		n++
	}
	return &r.hours[n-1].Tally // also when the clock was turned back
}

func (r *rolling) set(hours []hourTally, since time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hours, r.since, r.changed = hours, since, false
}

// news gives what is to be written down; nil when nothing has changed.
func (r *rolling) news() []hourTally {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.changed {
		return nil
	}
	r.changed = false
	return append([]hourTally(nil), r.hours...)
}
