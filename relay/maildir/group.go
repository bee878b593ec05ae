package maildir

import "sync"

// group lets callers that come while a sync is at work share the next one, since
// one sync of a directory covers every rename before it.
type group struct {
	do   func() error
	mu   sync.Mutex
	next *round        // gathers callers until its sync begins
	busy chan struct{} // of one place, taken during a sync
}

type round struct {
	done chan struct{}
	err  error
}

func newGroup(do func() error) *group {
	return &group{do: do, busy: make(chan struct{}, 1)}
}

// run returns after a sync that began after run was called.
func (g *group) run() error {
	g.mu.Lock()
	r := g.next
	if r != nil {
		g.mu.Unlock()
		<-r.done
		return r.err
	}
	r = &round{done: make(chan struct{})}
	g.next = r
	g.mu.Unlock()

	g.busy <- struct{}{}
	defer func() { <-g.busy }()
	g.mu.Lock()
	g.next = nil // who comes from here on may have renamed after the sync began
	g.mu.Unlock()
	r.err = g.do()
	close(r.done)
	return r.err
}
