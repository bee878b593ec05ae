package relay

import (
	"container/heap"
	"time"
)

// window is the time in which a lane hands over no more copies than its rate allows in
// a second. It is a little longer than a second because a server counts when a copy
// arrives, which is not when it was handed over.
const window = 1010 * time.Millisecond

// credit is how much of the time in which turns were missed is caught up, or half a
// step if that is more, so that a timer that is a millisecond late costs no turn.
const credit = 20 * time.Millisecond

// allowance is how much longer the window of a copy may be, in the mean, because it was
// slow to arrive. It bounds what that costs: half a hundredth of the rate.
const allowance = 5 * time.Millisecond

// pace spaces the hand-overs of a lane with a rate evenly: so many within any window,
// and a step between two. It knows no clock.
//
// An answer tells when the server has counted a copy at the latest: the quickest answer
// ever seen is what the way there and back takes, and what is longer may have been
// spent on the way. The window of such a copy is as much longer.
type pace struct {
	next    time.Time     // the step's next turn
	within  turns         // those whose window has not passed
	fastest time.Duration // an answer has come, lately
	spare   time.Duration // of the allowance
}

// turn is one hand-over.
type turn struct {
	at, until time.Time // its window
	index     int       // in pace.within; -1: the window has passed
}

// bounds are how many copies a rate lets go within how long.
func bounds(rate float64) (n int, within time.Duration) {
	if rate < 1 {
		return 1, time.Duration(float64(window) / rate)
	}
	return int(rate + 1e-9), window
}

// missed is the earliest time from which turns are caught up.
func missed(rate float64, now time.Time) time.Time {
	return now.Add(-max(credit, step(rate)/2))
}

func step(rate float64) time.Duration {
	n, within := bounds(rate)
	return within / time.Duration(n)
}

// rouse forgets what was missed when nobody wanted a turn: no burst follows.
func (p *pace) rouse(rate float64, now time.Time) {
	if p.next.Before(missed(rate, now)) {
		p.next = now
	}
}

// at is when the next turn is, possibly past. It may be later still when asked then.
func (p *pace) at(rate float64, now time.Time) time.Time {
	for len(p.within) > 0 && !p.within[0].until.After(now) {
		heap.Pop(&p.within)
	}
	if n, _ := bounds(rate); len(p.within) >= n {
		return later(p.next, p.within[0].until)
	}
	return p.next
}

// take takes the turn.
func (p *pace) take(rate float64, now time.Time) *turn {
	n, within := bounds(rate)
	p.next = later(p.next, missed(rate, now)).Add(step(rate))
	p.spare = min(p.spare+allowance, time.Duration(n)*allowance)
	t := &turn{at: now, until: now.Add(within)}
	heap.Push(&p.within, t)
	return t
}

// late notes that a copy was handed over somewhat after its turn.
func (p *pace) late(t *turn, now time.Time) {
	p.lengthen(t, now.Sub(t.at))
	t.at = now
}

// answered notes when the answer about a copy came.
func (p *pace) answered(t *turn, now time.Time) {
	took := now.Sub(t.at)
	if p.fastest == 0 || took < p.fastest {
		p.fastest = took
	}
	p.fastest += min(took-p.fastest, p.fastest) / 1000 // the way may become longer
	if slow := min(took-p.fastest-(window-time.Second)/2, p.spare); slow > 0 {
		p.spare -= slow
		p.lengthen(t, slow)
	}
}

func (p *pace) lengthen(t *turn, d time.Duration) {
	t.until = t.until.Add(d)
	if t.index >= 0 {
		heap.Fix(&p.within, t.index)
	}
}

// turns orders by the end of their windows (container/heap).
type turns []*turn

func (h turns) Len() int           { return len(h) }
func (h turns) Less(i, j int) bool { return h[i].until.Before(h[j].until) }
func (h turns) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push and Pop are for container/heap.
func (h *turns) Push(x any) {
	t := x.(*turn)
	t.index = len(*h)
	*h = append(*h, t)
}

func (h *turns) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	t.index = -1
	*h = old[:len(old)-1]
	return t
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
	bulk   int   // 1 for a copy that may not use the reserve
	handed bool  // it had its turn
	waited bool  // for it
	turn   *turn // nil: the lane has no rate
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
		g.pace.rouse(g.rate, now)
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
		if may && p.turn != nil {
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
	if p.turn == nil {
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
	if g.ahead[p.bulk]--; g.rate > 0 {
		if n := g.lookahead(); g.ahead[p.bulk] <= n-max(1, n/4) { // not each of many by itself
			signalTo(g.nudge)
		}
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
			if at := later(g.pace.at(g.rate, now), g.notBefore); at.After(now) {
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
		w.pass.turn = nil
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
