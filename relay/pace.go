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

// allowance is how much a turn may be put off, in the mean, because the copy before it
// by a window was slow to arrive. It bounds what that costs: a hundredth of the rate.
const allowance = 10 * time.Millisecond

// pace spaces the hand-overs of a lane with a rate evenly: so many within any window,
// and a step between two. It knows no clock.
//
// An answer tells when the server has counted a copy at the latest: the quickest answer
// ever seen is what the way there and back takes, and what is longer may have been
// spent on the way. The window of such a copy begins as much later.
type pace struct {
	next    time.Time     // the step's next turn
	taken   []time.Time   // when the windows of the last hand-overs begin, in the order of their turns
	first   int           // how many turns were before taken[0]; they are numbered from 1
	fastest time.Duration // an answer has come, lately
	spare   time.Duration // of the allowance
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
	p.spare = min(p.spare+allowance, time.Duration(n)*allowance)
	for len(p.taken) > 0 && now.Sub(p.taken[0]) > 2*within {
		p.taken = p.taken[1:]
		p.first++
	}
	p.taken = append(p.taken, now)
	return p.first + len(p.taken)
}

// index finds a turn in taken; negative: it is long ago, or was none.
func (p *pace) index(number int) int { return number - p.first - 1 }

// late notes that the copy of a turn was handed over somewhat later.
func (p *pace) late(number int, now time.Time) {
	if i := p.index(number); i >= 0 {
		p.taken[i] = now
	}
}

// answered notes how long after its hand-over the answer about a copy came.
func (p *pace) answered(number int, now time.Time) {
	i := p.index(number)
	if i < 0 {
		return
	}
	took := now.Sub(p.taken[i])
	if p.fastest == 0 || took < p.fastest {
		p.fastest = took
	}
	p.fastest += (took - p.fastest) / 1000 // the way may become longer
	slow := min(took-p.fastest-(window-time.Second), p.spare)
	if slow > 0 {
		p.spare -= slow
		p.taken[i] = p.taken[i].Add(slow)
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
}

// pass is one attempt's way through the gate.
type pass struct {
	bulk   int  // 1 for a copy that may not use the reserve
	handed bool // it had its turn
	waited bool // for it
	turn   int  // the number of its turn; 0: the lane has no rate
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
		if may {
			g.pace.late(p.turn, time.Now())
		}
		return may
	case <-halted:
		g.mu.Lock()
		defer g.mu.Unlock()
		g.withdraw(w)
		return false
	}
}

// answered takes that upstream has answered about a copy.
func (g *gate) answered(p *pass) {
	if p.turn == 0 {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.pace.answered(p.turn, time.Now())
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
		w.pass.turn = 0
		if g.rate > 0 {
			w.pass.turn = g.pace.take(g.rate, now)
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
