package smarthost

import (
	"context"
	"net"
	"slices"
	"sync"
	"time"

	"postern/mail"
)

// connection takes a kept connection or makes one, at the first host that can be
// used. Fresh asks for one that no mail has gone over.
//
// A kept connection to a later host is used while the earlier hosts rest, and no
// longer: when an earlier one is back, nobody takes the kept ones of the later
// and the reaper ends them.
func (s *Sender) connection(ctx context.Context, fresh bool) (c *conn, kept bool, err error) {
	s.mu.Lock()
	closed := s.closed
	tried, probe := s.hosts.order(time.Now())
	s.mu.Unlock()
	if closed {
		return nil, false, &mail.Error{Class: mail.Unreachable, Public: "nothing was sent: the way out is closed, the program is ending", Err: net.ErrClosed}
	}
	var failures []error
	for i, h := range tried {
		// Only a dial shows that a host is back: a session from before its rest does not.
		if asked := probe && i == 0; !fresh && !asked {
			if c = s.inStep(h); c != nil {
				return c, true, nil
			}
		}
		c, err = s.dial(ctx, h)
		if err == nil {
			s.working(h)
			return c, false, nil
		}
		failures = append(failures, err)
		if ctx.Err() != nil || !elsewhere(err) {
			break
		}
		s.failed(h, err)
	}
	return nil, false, noHost(failures)
}

// inStep is a kept connection to h on which the upstream has said nothing since; nil
// without one. Whoever says more than it was asked would be one answer ahead, and the
// answer to RCPT would pass for the one to the mail. One that has hung up is found
// here too.
func (s *Sender) inStep(h *host) *conn {
	for {
		c := s.takeIdle(h)
		if c == nil || !pending(c.raw) {
			return c
		}
		c.nc.Close()
	}
}

// takeIdle is the kept connection to h that was used last; nil without one.
func (s *Sender) takeIdle(h *host) *conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, c := range slices.Backward(s.idle) {
		if c.host == h {
			s.idle = slices.Delete(s.idle, i, i+1)
			return c
		}
	}
	return nil
}

// failed lets a host rest. With one host that means nothing.
func (s *Sender) failed(h *host, why error) {
	if len(s.hosts) == 1 {
		return
	}
	s.mu.Lock()
	h.until = time.Now().Add(rest)
	s.mu.Unlock()
	s.cfg.Log.Warn("upstream host rests", "address", h.addr, "for", rest, "reason", words(why))
}

func (s *Sender) working(h *host) {
	s.mu.Lock()
	rested := !h.until.IsZero()
	h.until = time.Time{}
	s.mu.Unlock()
	if rested {
		s.cfg.Log.Info("upstream host works again", "address", h.addr)
	}
}

func (s *Sender) keep(c *conn) {
	c.idleSince, c.used = time.Now(), true
	s.mu.Lock()
	closed := s.closed
	if !closed {
		s.idle = append(s.idle, c)
		if s.reaper == nil {
			s.reaper = time.AfterFunc(s.cfg.IdleTimeout, s.reap)
		}
	}
	s.mu.Unlock()
	if closed {
		c.quit()
	}
}

// reap closes the connections that nobody needed for IdleTimeout, and comes back
// while there are others.
func (s *Sender) reap() {
	limit := time.Now().Add(-s.cfg.IdleTimeout)
	s.mu.Lock()
	n := 0
	for n < len(s.idle) && !s.idle[n].idleSince.After(limit) {
		n++
	}
	old := slices.Clone(s.idle[:n])
	s.idle = slices.Delete(s.idle, 0, n)
	switch {
	case s.closed:
	case len(s.idle) == 0:
		s.reaper = nil
	default:
		s.reaper.Reset(s.idle[0].idleSince.Sub(limit))
	}
	s.mu.Unlock()
	quitAll(old)
}

// Close says QUIT on the kept connections and closes them. A Send that is at
// work finishes (its context ends it sooner) and closes its own connection.
func (s *Sender) Close() error {
	s.mu.Lock()
	idle := s.idle
	s.idle, s.closed = nil, true
	if s.reaper != nil {
		s.reaper.Stop()
	}
	s.mu.Unlock()
	quitAll(idle)
	return nil
}

func quitAll(conns []*conn) {
	var wg sync.WaitGroup
	for _, c := range conns {
		wg.Go(c.quit)
	}
	wg.Wait()
}
