package relay

import (
	"math"
	"sync"
	"time"

	"postern/mail"
)

// LaneConfig is an upstream account and how it is used.
type LaneConfig struct {
	Name        string
	Driver      string // for people
	Sender      Sender
	Concurrency int     // attempts at the same time, at least 1
	Rate        float64 // copies a second; 0: no limit
	// Reserve is the share of Concurrency that bulk mail leaves free, 0 to 1: at least
	// one place where it is not 0, and never all.
	Reserve float64
}

// reserved is how many places bulk mail leaves free.
func (c *LaneConfig) reserved() int {
	return min(int(math.Ceil(c.Reserve*float64(c.Concurrency))), c.Concurrency-1)
}

// LaneStatus is a lane as an administrator sees it.
type LaneStatus struct {
	Name     string     `json:"name"`
	Driver   string     `json:"driver"`
	State    string     `json:"state"`               // running, slowed, paused
	Reason   string     `json:"reason,omitempty"`    // of the pause, in words
	Remedy   string     `json:"remedy,omitempty"`    // what a person can do about it
	Class    mail.Class `json:"-"`                   // of the pause: Unreachable, AccountWide, QuotaSpent or Uncertain
	ByHand   bool       `json:"by_hand,omitempty"`   // somebody paused it, and it stays so until somebody resumes it
	BulkHeld string     `json:"bulk_held,omitempty"` // why bulk mail alone waits, until somebody resumes the lane
	Until    time.Time  `json:"until,omitzero"`      // when a paused lane is tried again
	Rate     float64    `json:"rate,omitempty"`      // copies a second it may send now; 0: no limit
	InFlight int        `json:"in_flight"`
}

// How long a lane pauses before one copy tries it again: doubling from first to
// longest while the reason stays.
const (
	firstPause   = time.Second
	longestPause = time.Minute
	accountPause = 5 * time.Minute  // an account that upstream refuses
	quotaPause   = 15 * time.Minute // a rolling day frees quota all the time
)

// unknownInARow is how many Uncertain results, none else between them, pause a
// lane: each leaves a copy that may have to be sent twice.
const unknownInARow = 20

// gate is a lane's state: whether it may send, and how fast. Its methods take
// the time, so that it can be tested without any passing.
type gate struct {
	mu       sync.Mutex
	limit    float64 // the configured copies a second; 0: none
	rate     float64 // what is allowed now; 0: no limit
	next     time.Time
	sent     int // within the second that began at `second`
	before   int // within the second before that
	second   time.Time
	eased    time.Time // when rate was last changed
	paused   bool
	probes   int        // since the pause began
	class    mail.Class // of the pause
	until    time.Time
	reason   string
	pause    time.Duration // the last one, for doubling
	inFlight int
	unknown  int // Uncertain results since upstream was last reached

	byHand   string // why somebody paused the lane; "": nobody did
	bulkHeld string // why bulk mail waits; "": it does not
}

func newGate(limit float64) *gate { return &gate{limit: limit, rate: limit} }

// allow says for how many of n copies there is room now, and if none, when to ask
// again. A paused lane lets one copy through when its time has come: the probe. Each
// second probe is a bulk copy where there is one: if it was a transactional one
// that paused the lane, it would be the first choice for ever.
func (g *gate) allow(n int, now time.Time) (room int, bulkFirst bool, next time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.byHand != "" {
		return 0, false, time.Time{} // until the dispatcher is nudged
	}
	if g.paused {
		if now.Before(g.until) || g.inFlight > 0 {
			return 0, false, later(g.until, now.Add(firstPause/10))
		}
		n, bulkFirst = 1, g.probes%2 == 1
	}
	if g.rate <= 0 {
		return n, bulkFirst, time.Time{}
	}
	g.ease(now)
	if g.next.After(now) {
		return 0, false, g.next
	}
	step := max(time.Duration(float64(time.Second)/g.rate), 1)
	if now.Sub(g.next) > 100*time.Millisecond { // no burst after idling
		g.next = now.Add(-100 * time.Millisecond)
	}
	n = min(n, int(now.Sub(g.next)/step)+1)
	return n, bulkFirst, time.Time{}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// begin counts claimed copies.
func (g *gate) begin(n int, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inFlight += n
	if g.paused {
		g.probes++
	}
	if g.rate > 0 {
		g.next = g.next.Add(time.Duration(float64(n) * float64(time.Second) / g.rate))
	}
	if d := now.Sub(g.second); d >= time.Second {
		g.second, g.before, g.sent = now, g.sent, 0
		if d >= 2*time.Second {
			g.before = 0
		}
	}
	g.sent += n
}

// end takes an attempt's class: nil-like Temporary and Permanent mean that the
// lane works when upstream was reached; an Uncertain one tells nothing, but so
// many in a row pause the lane, and one of a probe keeps the next one away for a
// while. It says whether the lane has just stopped or started.
func (g *gate) end(class mail.Class, reached bool, reason string, after time.Duration, now time.Time) (changed bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inFlight--
	switch class {
	case mail.Throttled:
		g.slow(after, now)
		return false
	case mail.QuotaSpent:
		return g.stop(class, reason, max(after, quotaPause), now)
	case mail.AccountWide:
		return g.stop(class, reason, max(after, accountPause), now)
	case mail.Unreachable:
		return g.stop(class, reason, max(after, min(2*g.pause, longestPause), firstPause), now)
	case mail.Uncertain:
		if g.unknown++; g.paused || g.unknown >= unknownInARow {
			return g.stop(class, "upstream gives no clear answer any more: "+reason, max(min(2*g.pause, longestPause), firstPause), now)
		}
	}
	if reached {
		g.unknown = 0
	}
	if reached && g.paused {
		g.paused, g.probes, g.reason, g.pause, g.until = false, 0, "", 0, time.Time{}
		return true
	}
	return false
}

func (g *gate) stop(class mail.Class, reason string, d time.Duration, now time.Time) (changed bool) {
	changed = !g.paused
	if g.paused && now.Before(g.until) { // one of those that began before the stop
		return false
	}
	g.paused, g.class, g.reason, g.pause, g.until = true, class, reason, d, now.Add(d)
	return changed
}

// slow lowers the rate by a third, at most four times a second; without a rate
// it begins at half of what this second saw or the one before.
func (g *gate) slow(after time.Duration, now time.Time) {
	if now.Sub(g.eased) >= 250*time.Millisecond {
		if g.rate <= 0 {
			g.rate = max(1, float64(max(g.sent, g.before))/2)
		} else {
			g.rate = max(0.1, g.rate*2/3)
		}
		g.eased = now
	}
	g.next = now.Add(max(after, 100*time.Millisecond))
}

// freeRate is the rate, in copies a second, from which on a lowered one is taken
// off a lane that has no limit: it is more than one lane sends.
const freeRate = 10000

// ease raises a lowered rate by a twentieth of a copy a second, or 5 %, each
// second without a throttle, up to the configured limit; without one, until the
// rate bounds nothing any more.
func (g *gate) ease(now time.Time) {
	if g.rate == g.limit || now.Sub(g.eased) < time.Second {
		return
	}
	g.rate += max(0.05, g.rate/20)
	g.eased = now
	switch {
	case g.limit > 0:
		g.rate = min(g.rate, g.limit)
	case g.rate >= freeRate:
		g.rate = 0
	}
}

func (g *gate) status(s *LaneStatus, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	s.State, s.Rate, s.InFlight, s.BulkHeld = "running", g.rate, g.inFlight, g.bulkHeld
	switch {
	case g.byHand != "":
		s.State, s.Reason, s.ByHand = "paused", g.byHand, true
	case g.paused:
		s.State, s.Class, s.Reason, s.Until = "paused", g.class, g.reason, g.until
	case g.rate != g.limit:
		s.State, s.Reason = "slowed", "upstream said that copies come too fast"
	}
}
