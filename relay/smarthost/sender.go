package smarthost

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"postern/mail"
	"postern/relay"
)

// Config is a lane's way to its upstream. Zero durations and a zero MaxConns
// take the defaults that are named here.
type Config struct {
	Address  string // host:port
	TLS      string // "none", "starttls" (required, never tried and left out) or "implicit"
	Username string // "": no AUTH
	Password string
	Hostname string // our name in EHLO; "localhost" when empty
	MaxConns int    // connections at once; 10

	DialTimeout    time.Duration // TCP and TLS; 30 s
	CommandTimeout time.Duration // a command until its whole reply; 5 min (RFC 5321 §4.5.3.2)
	DataTimeout    time.Duration // writing the mail, and again for the final reply; 10 min (RFC 5321 §4.5.3.2.6)
	IdleTimeout    time.Duration // a connection that nobody needs is closed after it; 1 min

	TLSConfig *tls.Config // nil: the system's authorities, TLS 1.2 and later; ServerName defaults to the host
	Log       *slog.Logger
}

// Sender keeps connections to one upstream.
type Sender struct {
	cfg    Config
	host   string
	places chan struct{} // one for each connection in use

	sevenBit atomic.Bool // an upstream does not offer 8BITMIME

	mu     sync.Mutex
	idle   []*conn // the last one used comes first again
	reaper *time.Timer
	closed bool
}

var _ relay.Sender = (*Sender)(nil)

// New checks the configuration; it does not dial. Its error joins every problem.
func New(cfg Config) (*Sender, error) {
	host, err := check(&cfg)
	if err != nil {
		return nil, err
	}
	t := cfg.TLSConfig
	if t == nil {
		t = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	t = t.Clone()
	if t.ServerName == "" {
		t.ServerName = host
	}
	cfg.TLSConfig = t
	return &Sender{cfg: cfg, host: host, places: make(chan struct{}, cfg.MaxConns)}, nil
}

func check(cfg *Config) (host string, err error) {
	var problems []error
	host, port, err := net.SplitHostPort(cfg.Address)
	if err != nil || host == "" || port == "" {
		problems = append(problems, fmt.Errorf("address %q is not host:port, such as \"smtp.example.com:587\"", cfg.Address))
	}
	switch cfg.TLS {
	case "none", "starttls", "implicit":
	default:
		problems = append(problems, fmt.Errorf("tls %q is unknown: none, starttls or implicit", cfg.TLS))
	}
	if cfg.Password != "" && cfg.Username == "" {
		problems = append(problems, errors.New("there is a password but no username"))
	}
	if strings.ContainsAny(cfg.Hostname, " \r\n\t") {
		problems = append(problems, fmt.Errorf("hostname %q is not a host name", cfg.Hostname))
	}
	if cfg.MaxConns < 0 {
		problems = append(problems, errors.New("the number of connections is negative"))
	}
	if cfg.Hostname == "" {
		cfg.Hostname = "localhost"
	}
	if cfg.MaxConns == 0 {
		cfg.MaxConns = 10
	}
	for _, d := range []struct {
		value *time.Duration
		usual time.Duration
	}{{&cfg.DialTimeout, 30 * time.Second}, {&cfg.CommandTimeout, 5 * time.Minute}, {&cfg.DataTimeout, 10 * time.Minute}, {&cfg.IdleTimeout, time.Minute}} {
		if *d.value <= 0 {
			*d.value = d.usual
		}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return host, errors.Join(problems...)
}

// Idempotent is false: the upstream takes the same mail twice.
func (s *Sender) Idempotent() bool { return false }

// EightBit is true until an upstream did not offer 8BITMIME (RFC 6152). From then
// on it is false: behind one name there may be several servers.
func (s *Sender) EightBit() bool { return !s.sevenBit.Load() }

// Send hands d to the upstream. When ctx ends, the connection is given up at
// once and the error says what is known at that point.
func (s *Sender) Send(ctx context.Context, d *relay.Delivery) (relay.Receipt, error) {
	env, err := newEnvelope(d)
	if err != nil {
		return relay.Receipt{}, err
	}
	select {
	case s.places <- struct{}{}:
		defer func() { <-s.places }()
	case <-ctx.Done():
		return relay.Receipt{}, &mail.Error{Class: mail.Unreachable, Public: "nothing was sent: sending was stopped while the copy waited for a connection", Err: ctx.Err()}
	}
	c, kept, err := s.connection(ctx)
	if err != nil {
		return relay.Receipt{}, err
	}
	r, stale, err := s.sendOn(ctx, c, env)
	if kept && stale && ctx.Err() == nil {
		if c, err = s.dial(ctx); err != nil {
			return relay.Receipt{}, err
		}
		r, _, err = s.sendOn(ctx, c, env)
	}
	return r, err
}

// sendOn runs one transaction and keeps or closes the connection after it. Stale
// says that it failed because the session had ended before it.
func (s *Sender) sendOn(ctx context.Context, c *conn, env *envelope) (r relay.Receipt, stale bool, err error) {
	stop := c.watch(ctx)
	r, err = c.transaction(env)
	stale = c.stale // from here on the connection may be another Send's
	if stop() && c.usable && c.r.Buffered() == 0 {
		s.keep(c)
	} else {
		c.nc.Close()
	}
	return r, stale, err
}

// connection takes a kept connection or makes one.
func (s *Sender) connection(ctx context.Context) (c *conn, kept bool, err error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, false, &mail.Error{Class: mail.Unreachable, Public: "nothing was sent: the way out is closed, the program is ending", Err: net.ErrClosed}
	}
	if n := len(s.idle); n > 0 {
		c, s.idle[n-1], s.idle = s.idle[n-1], nil, s.idle[:n-1]
	}
	s.mu.Unlock()
	if c != nil {
		return c, true, nil
	}
	c, err = s.dial(ctx)
	return c, false, err
}

func (s *Sender) keep(c *conn) {
	c.idleSince = time.Now()
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
	old := append([]*conn(nil), s.idle[:n]...)
	s.idle = append(s.idle[:0], s.idle[n:]...)
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
