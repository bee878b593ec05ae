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
	Address  string   // host:port
	Fallback []string // host:port each, of the same account: tried in this order when Address cannot be used
	TLS      string   // "none", "starttls" (required, never tried and left out) or "implicit"
	Username string   // "": no AUTH
	Password string
	Hostname string // our name in EHLO; "localhost" when empty
	MaxConns int    // connections at once, to all hosts together; 10

	DialTimeout    time.Duration // TCP and TLS; 30 s
	CommandTimeout time.Duration // a command until its whole reply; 5 min (RFC 5321 §4.5.3.2)
	DataTimeout    time.Duration // writing the mail, and again for the final reply; 10 min (RFC 5321 §4.5.3.2.6)
	IdleTimeout    time.Duration // a connection that nobody needs is closed after it; 1 min

	TLSConfig *tls.Config // nil: the system's authorities, TLS 1.2 and later; ServerName defaults to the host that is dialled
	Log       *slog.Logger
}

// Sender keeps connections to one upstream.
type Sender struct {
	cfg    Config
	hosts  hosts
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
	hosts, problems := hostsOf(&cfg)
	if err := errors.Join(append(problems, check(&cfg)...)...); err != nil {
		return nil, err
	}
	return &Sender{cfg: cfg, hosts: hosts, places: make(chan struct{}, cfg.MaxConns)}, nil
}

func hostsOf(cfg *Config) (all hosts, problems []error) {
	named := map[string]bool{}
	for i, addr := range append([]string{cfg.Address}, cfg.Fallback...) {
		what := "address"
		if i > 0 {
			what = "fallback"
		}
		name, port, err := net.SplitHostPort(addr)
		switch {
		case err != nil || name == "" || port == "":
			problems = append(problems, fmt.Errorf("%s %q is not host:port, such as \"smtp.example.com:587\"", what, addr))
		case named[addr]:
			problems = append(problems, fmt.Errorf("%s %q is there twice", what, addr))
		}
		named[addr] = true
		t := cfg.TLSConfig
		if t == nil {
			t = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		if t = t.Clone(); t.ServerName == "" {
			t.ServerName = name
		}
		all = append(all, &host{addr: addr, tls: t})
	}
	return all, problems
}

// check fills in the defaults.
func check(cfg *Config) (problems []error) {
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
	return problems
}

// Idempotent is false: the upstream takes the same mail twice.
func (s *Sender) Idempotent() bool { return false }

// EightBit is true until an upstream did not offer 8BITMIME (RFC 6152). From then
// on it is false: behind one name there may be several servers.
func (s *Sender) EightBit() bool { return !s.sevenBit.Load() }

// LongLines is false: a line of SMTP has at most 998 octets (RFC 5321 §4.5.3.1.6).
// Some servers refuse longer ones, others fold them and so break signatures.
func (s *Sender) LongLines() bool { return false }

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
	for fresh := false; ; {
		c, kept, err := s.connection(ctx, fresh)
		if err != nil {
			return relay.Receipt{}, err
		}
		r, end, err := s.sendOn(ctx, c, env)
		switch {
		case ctx.Err() != nil:
			return r, err
		case end.noChunks: // once for each host: it is not given BDAT again
		case kept && end.stale:
			fresh = true
		default:
			return r, err
		}
	}
}

// patience is how many mails in a row may be refused on one session before it is
// ended. Upstreams take it for somebody who guesses addresses: postfix answers each
// refusal after the tenth a second late, and ends the session with 421 after the
// twentieth (smtpd_soft_error_limit, smtpd_hard_error_limit), for which its host would
// rest. A mail that is accepted sets both their count and ours to nothing.
const patience = 8

// sendOn runs one transaction and keeps or ends the connection after it.
func (s *Sender) sendOn(ctx context.Context, c *conn, env *envelope) (relay.Receipt, ending, error) {
	stop := c.watch(ctx)
	r, err := c.transaction(env)
	if c.refusals++; err == nil {
		c.refusals = 0
	}
	end, h := c.end, c.host // once it is kept, the connection may be another Send's
	switch kept := stop() && c.usable && c.r.Buffered() == 0; {
	case !kept:
		c.nc.Close()
	case c.refusals >= patience:
		c.quit()
	default:
		s.keep(c)
	}
	if end.down {
		s.failed(h, err)
	}
	return r, end, err
}
