package relay

import (
	"maps"
	"slices"
	"time"

	"postern/mail"
	"postern/spool"
)

// What the tests see of decisions and gates.

type Attempt = attempt

var (
	Decide  = decide
	NewGate = newGate
)

func (s Schedule) Wait(spent int, jitter float64) time.Duration { return s.wait(spent, jitter) }

func (g *gate) Allow(n int, now time.Time) (int, time.Time) {
	room, next := g.allow(spool.Room{All: n, Bulk: n}, now)
	return room.All, next
}
func (g *gate) Begin(n int, now time.Time) { g.begin(n, n, now) }
func (g *gate) Rate() float64              { return g.rate }
func (g *gate) End(class mail.Class, reached bool, reason string, after time.Duration, now time.Time) bool {
	return g.end(&pass{bulk: 1}, ending{class: class, reached: reached, reason: reason, after: after}, now)
}

// Pass is an attempt on its way through a gate.
type Pass = pass

// Claim begins attempts as far as the gate allows of so many bulk, or transactional, ones.
func (g *gate) Claim(bulk bool, free int) []*Pass {
	now := time.Now()
	room := spool.Room{All: free, Bulk: free}
	if room, _ = g.allow(room, now); bulk {
		room.All = min(room.All, room.Bulk)
	}
	passes := make([]*Pass, max(0, room.All))
	for i := range passes {
		passes[i] = new(Pass)
		if bulk {
			passes[i].bulk = 1
		}
	}
	if len(passes) > 0 {
		g.begin(len(passes), len(passes)*passes[0].bulk, now)
	}
	return passes
}

func (g *gate) Await(p *Pass, halted <-chan struct{}) bool { return g.await(p, halted) }

// Done ends an attempt that upstream has answered.
func (g *gate) Done(p *Pass, class mail.Class) {
	g.answered(p)
	g.end(p, ending{class: class, reached: class == mail.Temporary, counts: class == mail.Temporary}, time.Now())
}

func (g *gate) Nudged() <-chan struct{} { return g.nudge }

// Ledger is what is left of a quota.
type Ledger = quota

// NewLedger has an answer from now, and what the lane has sent how long ago.
func NewLedger(a Account, reserve float64, now time.Time, sent map[time.Duration]int) *Ledger {
	q := &Ledger{reserve: reserve}
	for _, ago := range slices.Backward(slices.Sorted(maps.Keys(sent))) {
		for range sent[ago] {
			q.count(now.Add(-ago))
		}
	}
	q.learn(a, q.total, now)
	return q
}

func (q *quota) Out(before, copies int, now time.Time) (int, time.Time) {
	return q.out(before, copies, now)
}
func (q *quota) Left(now time.Time) (all, bulk float64) { return q.left(now), q.bulkLeft(now) }
