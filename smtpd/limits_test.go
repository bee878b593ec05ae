package smtpd_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postern/mail"
	"postern/smtpd"
)

func TestConnectionsAreCounted(t *testing.T) {
	conf := config(t, &intake{})
	conf.MaxConnections, conf.MaxConnectionsPerIP = 3, 2
	s := start(t, conf)
	first, second := hello(t, s), hello(t, s)
	third := dial(t, s.Addrs()[0], "")
	third.want("421 4.7.0 too many connections from your address")
	third.ends()
	other := dial(t, s.Addrs()[0], "127.0.0.2")
	other.want("220")
	full := dial(t, s.Addrs()[0], "127.0.0.3")
	full.want("421 4.3.2 too many connections are open here")
	full.ends()
	// A place is free again once the server has closed.
	second.do("QUIT", "221")
	second.ends()
	again := dial(t, s.Addrs()[0], "127.0.0.4")
	again.want("220")
	first.do("NOOP", "250")
}

// pipes is a listener whose clients come from any address.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return address("192.0.2.25:25") }

func (p *pipes) dial(from string) net.Conn {
	ours, theirs := net.Pipe()
	p.conns <- addressed{theirs, from}
	return ours
}

type addressed struct {
	net.Conn
	from string
}

func (a addressed) RemoteAddr() net.Addr { return address(a.from) }
func (a addressed) LocalAddr() net.Addr  { return address("192.0.2.25:25") }

type address string

func (address) Network() string  { return "tcp" }
func (a address) String() string { return string(a) }

// overPipes runs f against a server in a bubble of synctest, where time is free.
func overPipes(t *testing.T, change func(*smtpd.Config), f func(t *testing.T, p *pipes)) {
	overPipesAfter(t, change, func(*smtpd.Server, time.Time) {}, f)
}

// overPipesAfter is overPipes with something done to the server before it serves.
func overPipesAfter(t *testing.T, change func(*smtpd.Config), first func(s *smtpd.Server, now time.Time), f func(t *testing.T, p *pipes)) {
	synctest.Test(t, func(t *testing.T) {
		conf := config(t, &intake{})
		p := newPipes()
		conf.Listeners[0].Socket = p
		change(&conf)
		startAfter(t, conf, func(s *smtpd.Server) { first(s, time.Now()) })
		f(t, p)
	})
}

// TestIPv6ClientsAreCountedByTheir64.
func TestIPv6ClientsAreCountedByTheir64(t *testing.T) {
	overPipes(t, func(c *smtpd.Config) { c.MaxConnectionsPerIP = 1 }, func(t *testing.T, p *pipes) {
		use(t, p.dial("[2001:db8::1]:1000")).want("220")
		use(t, p.dial("[2001:db8::ffff:2]:1000")).want("421 4.7.0")
		use(t, p.dial("[2001:db8:0:1::1]:1000")).want("220")
		use(t, p.dial("192.0.2.1:1000")).want("220")
		use(t, p.dial("[::ffff:192.0.2.1]:1000")).want("421 4.7.0")
	})
}

// TestBadPasswordsSlowTheClientDown is rule 24.
func TestBadPasswordsSlowTheClientDown(t *testing.T) {
	change := func(c *smtpd.Config) {
		c.Listeners[0].InsecureAuth, c.AuthDelay, c.MaxAuthFailures = true, 0, 0 // the defaults
		c.ReadTimeout = time.Hour
	}
	overPipes(t, change, func(t *testing.T, p *pipes) {
		c := use(t, p.dial("192.0.2.1:1000"))
		_ = c.conn.SetDeadline(time.Time{})
		c.want("220")
		c.do("EHLO x", "250")
		for i, want := range []string{"535", "535", "535", "535", "421 4.7.0"} {
			began := time.Now()
			c.do("AUTH PLAIN AHgAeA==", want)
			if d := time.Since(began); d != time.Second<<i {
				t.Errorf("failure %d was answered after %s", i+1, d)
			}
		}
		c.ends()
	})
}

// kib is the header field that keeps a slow mail alive: 1 KiB.
var kib = "X: " + strings.Repeat("y", 1<<10-5) + "\r\n"

// TestSilence: 421 after the read timeout, in a command, in DATA, in BDAT; a
// mail that keeps coming may take longer than that in all.
func TestSilence(t *testing.T) {
	change := func(c *smtpd.Config) {
		c.ReadTimeout = 5 * time.Minute
		c.Networks = append(c.Networks, smtpd.Network{CIDR: netip.MustParsePrefix("192.0.2.0/24"), SendAs: []string{"*"}, Relay: true})
	}
	for _, tt := range []struct{ name, send, want string }{
		{"command", "", "421 4.4.2"},
		{"DATA", "DATA\r\nSubject: x\r\n", "421 4.4.2 gw.example.com has not taken the mail"},
		{"BDAT", "BDAT 100 LAST\r\nSubject: x\r\n", "421 4.4.2 gw.example.com has not taken the mail"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			overPipes(t, change, func(t *testing.T, p *pipes) {
				c := use(t, p.dial("192.0.2.1:1000"))
				_ = c.conn.SetDeadline(time.Time{})
				c.want("220")
				c.do("EHLO x", "250")
				c.do("MAIL FROM:<a@example.com>", "250")
				c.do("RCPT TO:<b@example.net>", "250")
				if tt.name == "DATA" {
					c.do("DATA", "354")
					for range 10 {
						<-time.After(4 * time.Minute)
						c.send(kib)
					}
				} else {
					c.send(tt.send)
				}
				began := time.Now()
				c.want(tt.want)
				if d := time.Since(began); d < 5*time.Minute || d > 5*time.Minute+2*time.Second {
					t.Errorf("answered after %s", d)
				}
				c.conn.Close()
			})
		})
	}
}

// TestASlowMailIsTaken, though it takes longer than any timeout, in TLS too.
func TestASlowMailIsTaken(t *testing.T) {
	for _, mode := range []string{"none", "implicit"} {
		t.Run(mode, func(t *testing.T) {
			in := &intake{}
			change := func(c *smtpd.Config) {
				c.ReadTimeout, c.Intake, c.Listeners[0].TLS = 5*time.Minute, in, mode
				c.Networks[0].CIDR = netip.MustParsePrefix("192.0.2.0/24")
				c.GetCertificate = newIdentity(t).get
			}
			overPipes(t, change, func(t *testing.T, p *pipes) {
				conn := p.dial("192.0.2.1:1000")
				if mode == "implicit" {
					conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) // what it is called is not the matter here
				}
				c := use(t, conn)
				_ = conn.SetDeadline(time.Time{})
				c.want("220")
				c.do("EHLO x", "250")
				begin(c)
				for range 10 {
					c.send(kib)
					<-time.After(4 * time.Minute)
				}
				c.send(".\r\n")
				c.want("250 2.0.0 queued")
				if got := afterTrace(t, in.taken()[0]); got != strings.Repeat(kib, 10) {
					t.Errorf("taken: %q", got)
				}
				conn.Close()
			})
		})
	}
}

// TestManyClientsAtOnce, each its own mails.
func TestManyClientsAtOnce(t *testing.T) {
	in := &intake{}
	s := start(t, config(t, in))
	var all sync.WaitGroup
	for i := range 20 {
		c := hello(t, s)
		all.Go(func() {
			for n := range 10 {
				c.send(fmt.Sprintf("MAIL FROM:<a@example.com>\r\nRCPT TO:<b%d@example.net>\r\nDATA\r\n", i))
				for range 3 {
					_ = c.reply()
				}
				c.send(fmt.Sprintf("X: %d\r\n\r\n%s\r\n.\r\n", n, strings.Repeat(fmt.Sprint(i), 40000)))
				if r := c.reply(); !strings.HasPrefix(r, "250 2.0.0 queued") {
					t.Error(r)
				}
			}
		})
	}
	all.Wait()
	seen := map[string]bool{}
	for _, m := range in.taken() {
		i := strings.TrimPrefix(m.Env.Recipients[0].Local(), "b")
		head, text, _ := strings.Cut(afterTrace(t, m), "\r\n\r\n")
		seen[i+" "+head] = true
		if text != strings.Repeat(i, 40000)+"\r\n" {
			t.Errorf("the mail of client %s was mixed up", i)
		}
	}
	if len(seen) != 200 || len(in.taken()) != 200 {
		t.Errorf("%d mails, %d different, want 200", len(in.taken()), len(seen))
	}
}

// TestTheSubmitterSaysWhoItIs, not loopback because the listener is not.
func TestTheSubmitterSaysWhoItIs(t *testing.T) {
	in := &intake{}
	change := func(c *smtpd.Config) {
		c.Intake = in
		c.Networks = []smtpd.Network{{CIDR: netip.MustParsePrefix("127.0.0.0/8"), SendAs: []string{"*@example.com"}, Relay: true, RewriteFrom: "dev@example.com"}}
	}
	overPipes(t, change, func(t *testing.T, p *pipes) {
		c := use(t, p.dial("127.0.0.1:1000"))
		_ = c.conn.SetDeadline(time.Time{})
		c.want("220")
		c.do("HELO printer", "250")
		begin(c)
		c.send("x: y\r\n.\r\n")
		c.want("250")
		c.do("QUIT", "221")
	})
	sub := in.taken()[0].Sub
	if sub.Session == "" {
		t.Error("no session id")
	}
	sub.Session = ""
	want := mail.Submitter{Name: "network 127.0.0.0/8", Remote: "127.0.0.1:1000", Helo: "printer", SendAs: []string{"*@example.com"}, Relay: true,
		Priority: mail.Transactional, RewriteFrom: "dev@example.com"}
	if fmt.Sprint(sub) != fmt.Sprint(want) {
		t.Errorf("got  %+v\nwant %+v", sub, want)
	}
}

// TestReplies holds what a client is told for what the intake says.
func TestReplies(t *testing.T) {
	bug := errors.New("open /var/lib/secret: permission denied")
	for _, tt := range []struct {
		name string
		err  error
		want string
	}{
		{"permanent", mail.Refuse(550, "5.1.1", "no such list"), "550 5.1.1 no such list"},
		{"permanent without code", &mail.Error{Class: mail.Permanent, Public: "no"}, "554 5.0.0 no"},
		{"permanent with a temporary code", &mail.Error{Class: mail.Permanent, Code: 451, Enhanced: "4.1.1", Public: "no"}, "554 5.0.0 no"},
		{"temporary", mail.Later(452, "4.3.1", "full"), "452 4.3.1 full"},
		{"temporary without code", &mail.Error{Public: "later", Err: bug}, "451 4.0.0 later"},
		{"temporary with a permanent code", &mail.Error{Code: 550, Enhanced: "5.1.1", Public: "later"}, "451 4.0.0 later"},
		{"another class", &mail.Error{Class: mail.AccountWide, Code: 550, Public: "later"}, "451 4.0.0 later"},
		{"wrapped", fmt.Errorf("check: %w", mail.Refuse(550, "5.1.1", "no such list")), "550 5.1.1 no such list"},
		{"anything else", bug, "451 4.3.0 the gateway could not do this now and has not taken the mail; try again later"},
		{"odd enhanced code", mail.Refuse(550, "5.x", "no"), "550 5.0.0 no"},
		{"no text", mail.Refuse(550, "5.1.1", ""), "550 5.1.1 refused"},
		{"lines", mail.Refuse(550, "5.1.1", "a\r\n250 b\x00\u0085c"), "550 5.1.1 a 250 b c"},
		{"long", mail.Refuse(550, "5.1.1", "%s", strings.Repeat("가", 300)), "550 5.1.1 " + strings.Repeat("가", 160) + "..."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := &intake{refusals: map[string]error{"x": tt.err}}
			c := hello(t, start(t, config(t, in)))
			c.do("MAIL FROM:<a@example.com>", "250")
			if got := c.do("RCPT TO:<x@example.net>", ""); got != tt.want {
				t.Errorf("RCPT: got %q, want %q", got, tt.want)
			}
			c.do("RSET", "250")
			in.onAccept = func(context.Context, io.Reader) error { return tt.err }
			begin(c)
			if got := c.do(".", ""); got != tt.want {
				t.Errorf("DATA: got %q, want %q", got, tt.want)
			}
			c.do("NOOP", "250")
		})
	}
}

func TestAPanicOfTheIntakeIs451(t *testing.T) {
	out := &logs{}
	in := &intake{onAccept: func(context.Context, io.Reader) error { panic("a bug in Accept") }}
	conf := config(t, in)
	conf.Log = slog.New(slog.NewTextHandler(out, nil))
	c := hello(t, start(t, conf))
	for _, end := range []string{"DATA\r\nx\r\n.\r\n", "BDAT 1 LAST\r\nx"} {
		c.do("MAIL FROM:<a@example.com>", "250")
		c.do("RCPT TO:<b@example.net>", "250")
		c.send(end)
		if end[0] == 'D' {
			c.want("354")
		}
		c.want("451 4.3.0")
	}
	if !strings.Contains(out.String(), "a bug in Accept") {
		t.Error("the log does not tell of the panic")
	}
}

// TestOneLineForEachMail, taken or refused, without its body and without passwords.
func TestOneLineForEachMail(t *testing.T) {
	out := &logs{}
	conf := config(t, &intake{refusals: map[string]error{"full": mail.Later(452, "4.3.1", "full")}})
	conf.Log = slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	conf.Listeners[0].InsecureAuth = true
	c := hello(t, start(t, conf))
	c.do("AUTH PLAIN AHJlbGF5QGV4YW1wbGUuY29tAHdyb25n", "535")
	c.do("AUTH PLAIN AHJlbGF5QGV4YW1wbGUuY29tAGJhdHRlcnkgc3RhcGxl", "235")
	c.do("MAIL FROM:<a@elsewhere.example>", "550")
	c.do("MAIL FROM:<a@example.com>", "250")
	c.do("RCPT TO:<full@example.net>", "452")
	c.do("RCPT TO:<b@example.net>", "250")
	c.do("DATA", "354")
	c.send("Subject: secret subject\r\n\r\nsecret text\r\n.\r\n")
	c.want("250")
	log := out.String()
	for want, n := range map[string]int{"mail accepted": 1, "mail refused": 2, "authentication failed": 1, "secret": 0, "wrong": 0, "staple": 0, "AHJl": 0} {
		if got := strings.Count(log, want); got != n {
			t.Errorf("%q is in the log %d times, want %d:\n%s", want, got, n, log)
		}
	}
}

// TestAnAccountsRecipientsAreCounted: three a minute.
func TestAnAccountsRecipientsAreCounted(t *testing.T) {
	conf := config(t, &intake{})
	conf.Listeners[0].InsecureAuth = true
	c := hello(t, start(t, conf))
	c.do("AUTH PLAIN AHJlbGF5QGV4YW1wbGUuY29tAGJhdHRlcnkgc3RhcGxl", "235")
	c.do("MAIL FROM:<a@example.com>", "250")
	for _, want := range []string{"250", "250", "250", "450 4.7.1 relay@example.com may send to 3 recipients a minute"} {
		c.do("RCPT TO:<b@example.net>", want)
	}
}
