package relay

import (
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
