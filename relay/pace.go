package relay

import (
	"time"
)

// window is the time in which a lane hands over no more copies than its rate allows in
// a second. It is a little longer than a second because a server counts when a copy
// arrives, which is not when it was handed over.
const window = 1010 * time.Millisecond

// credit is how much of the time in which turns were missed is caught up, so that a
// timer that is a millisecond late costs no turn.
const credit = 20 * time.Millisecond

// pace spaces the hand-overs of a lane with a rate evenly: so many within any window,
// and a step between two. It knows no clock.
type pace struct {
	next  time.Time   // the step's next turn
	taken []time.Time // the last hand-overs, in the order of their turns
	first int         // the number of taken[0]
}

// bounds are how many copies a rate lets go within how long.
func bounds(rate float64) (n int, within time.Duration) {
	if rate < 1 {
		return 1, time.Duration(float64(window) / rate)
	}
	return int(rate + 1e-9), window
}

// rouse forgets what was missed when nobody wanted a turn: no burst follows.
func (p *pace) rouse(now time.Time) {
	if now.Sub(p.next) > credit {
		p.next = now
	}
}

// at is when the next turn is, possibly past.
func (p *pace) at(rate float64) time.Time {
	n, within := bounds(rate)
	if len(p.taken) < n {
		return p.next
	}
	return later(p.next, p.taken[len(p.taken)-n].Add(within))
}

// take takes the turn and gives its number.
func (p *pace) take(rate float64, now time.Time) (number int) {
	n, within := bounds(rate)
	p.next = later(p.next, now.Add(-credit)).Add(within / time.Duration(n))
	for len(p.taken) > 0 && now.Sub(p.taken[0]) > 2*within {
		p.taken = p.taken[1:]
		p.first++
	}
	p.taken = append(p.taken, now)
	return p.first + len(p.taken) - 1
}

// late notes that the copy of a turn was handed over somewhat later.
func (p *pace) late(number int, now time.Time) {
	if i := number - p.first; i >= 0 {
		p.taken[i] = now
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// waiter is a worker with a copy that is ready, waiting for its turn.
type waiter struct {
	pass *pass
	told chan bool // whether the copy may go, once
	turn int       // its number; -1: the lane has no rate any more
}

// pass is one attempt's way through the gate.
type pass struct {
	bulk   int  // 1 for a copy that may not use the reserve
	handed bool // it had its turn
	waited bool // for it
}

// await waits until the copy may be handed over and says whether it may. It may not
// when the lane stops meanwhile, or halted is closed: then nothing has been sent.
// Transactional copies have their turn before bulk ones. A lane without a rate lets
// every copy pass at once.
func (g *gate) await(p *pass, halted <-chan struct{}) bool {
	g.mu.Lock()
	if g.closed(p) {
		g.mu.Unlock()
		return false
	}
	if g.rate <= 0 && g.idle() {
		g.hand(p)
		g.mu.Unlock()
		return true
	}
	now := time.Now()
	if g.idle() {
		g.pace.rouse(now)
	}
	w := &waiter{pass: p, told: make(chan bool, 1)}
	g.queue[p.bulk] = append(g.queue[p.bulk], w)
	g.pump(now)
	g.mu.Unlock()
	select {
	case may := <-w.told: // at once
		return may
	default:
		p.waited = true
	}
	select {
	case may := <-w.told:
		g.mu.Lock()
		defer g.mu.Unlock()
		if may && w.turn >= 0 {
			g.pace.late(w.turn, time.Now())
		}
		return may
	case <-halted:
		g.mu.Lock()
		defer g.mu.Unlock()
		g.withdraw(w)
		return false
	}
}

// idle says that nobody waits for a turn.
func (g *gate) idle() bool { return len(g.queue[0])+len(g.queue[1]) == 0 }

// closed says that the lane has stopped since the claim, or bulk has. A probe passes.
func (g *gate) closed(p *pass) bool {
	return g.byHand != "" || g.paused && !g.probing || p.bulk == 1 && g.bulkHeld != ""
}

// hand lets a copy go.
func (g *gate) hand(p *pass) {
	if p.handed { // before, in the same attempt
		return
	}
	p.handed = true
	if g.ahead[p.bulk]--; g.rate > 0 && 2*g.ahead[p.bulk] <= g.lookahead() {
		signalTo(g.nudge) // the next may be made ready
	}
}

// lookahead is how many copies of either kind are claimed ahead of their turn: those
// of the next tenth of a second, so that little bulk mail is ahead of what is urgent.
func (g *gate) lookahead() int { return max(1, int(g.rate/10)) }

// pump gives turns to those who wait for them, as many as there are now.
func (g *gate) pump(now time.Time) {
	g.dismiss()
	g.ease(now)
	for !g.idle() {
		if g.rate > 0 {
			if at := later(g.pace.at(g.rate), g.notBefore); at.After(now) {
				g.wakeAt(at, now)
				return
			}
		}
		kind := 0
		if len(g.queue[0]) == 0 {
			kind = 1
		}
		w := g.queue[kind][0]
		g.queue[kind] = g.queue[kind][1:]
		w.turn = -1
		if g.rate > 0 {
			w.turn = g.pace.take(g.rate, now)
		}
		g.hand(w.pass)
		w.told <- true
	}
}

// dismiss sends away those who wait for a turn that will not come.
func (g *gate) dismiss() {
	for kind, waiting := range g.queue {
		kept := waiting[:0]
		for _, w := range waiting {
			if g.closed(w.pass) {
				w.told <- false
				continue
			}
			kept = append(kept, w)
		}
		clear(waiting[len(kept):])
		g.queue[kind] = kept
	}
}

// withdraw takes a waiter out of the queue, if it still waits.
func (g *gate) withdraw(w *waiter) {
	for kind, waiting := range g.queue {
		for i := range waiting {
			if waiting[i] == w {
				g.queue[kind] = append(waiting[:i:i], waiting[i+1:]...)
				return
			}
		}
	}
}

func (g *gate) wakeAt(at, now time.Time) {
	if g.timer == nil {
		g.timer = time.AfterFunc(at.Sub(now), g.wake)
		return
	}
	g.timer.Reset(at.Sub(now))
}

func (g *gate) wake() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.pump(time.Now())
}

func signalTo(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
