package smtpd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"

	"postern/mail"
	"postern/smtpd/dialogue"
)

// Intake is who decides about recipients and takes mail. Its methods are called
// from many goroutines, at most one of them per session at a time. What is not
// a *mail.Error, and a panic, becomes 451 for the client.
type Intake interface {
	// Check decides one recipient at RCPT; nil or *mail.Error.
	Check(ctx context.Context, sub *mail.Submitter, from, to mail.Address) error
	// Accept takes custody of the mail, or refuses it with a *mail.Error. body is
	// the mail with CRLF line ends and our Received field on top. It must be read
	// to io.EOF: any other error of body means that the mail is refused already,
	// and must not be kept. The id is in the 250.
	Accept(ctx context.Context, sub *mail.Submitter, env mail.Envelope, body io.Reader) (mail.ID, error)
}

// Server is SMTP in: New, Listen, Serve, Shutdown, in this order, once each.
type Server struct {
	conf     Config
	accounts *accounts
	quotas   quotas
	services *services
	guard    *guard
	gate     *gate
	sessions *dialogue.Recorder
	ctx      context.Context // ends when busy sessions are cut
	cancel   context.CancelFunc
	stop     chan struct{} // closed when Shutdown begins

	mu        sync.Mutex
	changed   *sync.Cond // conns or receiving have shrunk
	listeners []*listener
	conns     map[*conn]struct{}
	receiving int // Data calls that run; those of BDAT outlive their connection
	stopping  bool
	cut       bool // nothing more begins
}

// New checks the configuration and names everything wrong with it at once.
func New(c Config) (*Server, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if c.AuthDelay == 0 {
		c.AuthDelay = defaultAuthDelay
	}
	if c.MaxAuthFailures == 0 {
		c.MaxAuthFailures = defaultAuthFailures
	}
	s := &Server{conf: c, accounts: newAccounts(c.Accounts), quotas: newQuotas(&c), services: newServices(), guard: newGuard(), sessions: dialogue.NewRecorder(), stop: make(chan struct{}), conns: map[*conn]struct{}{},
		gate: &gate{max: c.MaxConnections, maxPerIP: c.MaxConnectionsPerIP, by: map[netip.Prefix]int{}}}
	s.changed = sync.NewCond(&s.mu)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

// Listen opens every listener, or none.
func (s *Server) Listen() error {
	var open []*listener
	for _, lc := range s.conf.Listeners {
		l := &listener{Listener: lc.Socket, srv: s, conf: lc, tls: tlsConfig(lc, &s.conf)}
		if l.Listener == nil {
			sock, err := net.Listen("tcp", lc.Address)
			if err != nil {
				for _, o := range open {
					_ = o.Close()
				}
				return fmt.Errorf("open the SMTP listener %s: %w", lc.Address, err)
			}
			l.Listener = sock
		}
		open = append(open, l)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listeners = open
	return nil
}

// Addrs are the listeners' addresses in the order of Config.Listeners, with the
// ports that were really taken.
func (s *Server) Addrs() []net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	addrs := make([]net.Addr, len(s.listeners))
	for i, l := range s.listeners {
		addrs[i] = l.Addr()
	}
	return addrs
}

// Sessions remembers the last sessions of each client, and why they failed.
func (s *Server) Sessions() *dialogue.Recorder { return s.sessions }

// Serve answers clients until Shutdown, and then returns nil. The first
// listener that fails ends it with an error; Shutdown is still needed then.
func (s *Server) Serve() error {
	s.mu.Lock()
	listeners := s.listeners
	s.mu.Unlock()
	ended := make(chan error, len(listeners))
	for _, l := range listeners {
		go func() { ended <- l.serve() }()
	}
	for range listeners {
		if err := <-ended; err != nil && !s.isStopping() {
			return fmt.Errorf("accept SMTP clients: %w", err)
		}
	}
	return nil
}

// Shutdown closes the listeners, tells idle sessions 421 and waits for open
// transactions until ctx ends; those left are cut. It returns when nothing runs
// any more, so that what the Intake needs can be closed after it: an Accept that
// does not heed its context holds it up. The error says how many were cut.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	if s.stopping {
		s.mu.Unlock()
		return errors.New("smtpd: Shutdown was called twice")
	}
	s.stopping = true
	close(s.stop)
	conns, listeners := s.openConns(), s.listeners
	s.mu.Unlock()
	for _, l := range listeners {
		_ = l.Close()
	}
	for _, c := range conns {
		c.wake()
	}
	cut := s.drain(ctx)
	for _, c := range cut {
		_ = c.Close()
	}
	s.cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.receiving > 0 {
		s.changed.Wait()
	}
	if len(cut) > 0 {
		return fmt.Errorf("%d SMTP sessions were cut at the end of the grace period: %w", len(cut), ctx.Err())
	}
	return nil
}

// drain waits until no session is left or ctx ends, and returns what is left.
func (s *Server) drain(ctx context.Context) []*conn {
	stop := context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.changed.Broadcast()
	})
	defer stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.conns)+s.receiving > 0 && ctx.Err() == nil {
		s.changed.Wait()
	}
	s.cut = true
	return s.openConns()
}

func (s *Server) openConns() []*conn {
	all := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		all = append(all, c)
	}
	return all
}

func (s *Server) isStopping() bool {
	select {
	case <-s.stop:
		return true
	default:
		return false
	}
}

// begin and end frame the receiving of a mail.
func (s *Server) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cut {
		return false
	}
	s.receiving++
	return true
}

func (s *Server) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.receiving--
	s.changed.Broadcast()
}

// admit counts a connection in, or says why not. Until forget it is one that
// Shutdown waits for. Behind a proxy the client is not known yet: see meet.
func (s *Server) admit(c *conn) *mail.Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		return mail.Later(421, "4.3.2", "%s is shutting down; try again in a minute", s.conf.Hostname)
	}
	if !c.announced {
		if refusal := s.gate.meet(c); refusal != nil {
			return refusal
		}
	}
	if s.gate.full() && !s.makeRoom() {
		s.gate.leave(c)
		return mail.Later(421, "4.3.2", "too many connections are open here; try again in a minute")
	}
	s.gate.place(c)
	s.conns[c] = struct{}{}
	return nil
}

// meet counts the client that a proxy has announced.
func (s *Server) meet(c *conn) *mail.Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.gate.meet(c)
}

func (s *Server) forget(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gate.leave(c)
	delete(s.conns, c)
	s.changed.Broadcast()
}
