package smarthost_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/mail"
	"postern/relay/smarthost"
)

func TestOrderOfTheHosts(t *testing.T) {
	const a, b, c = "a.example:25", "b.example:25", "c.example:25"
	start := time.Now()
	s := sender(t, a, func(cfg *smarthost.Config) { cfg.Fallback = []string{b, c} })
	after := func(d time.Duration, probe bool, want ...string) {
		t.Helper()
		if got, asked := smarthost.Order(s, start.Add(d)); !slices.Equal(got, want) || asked != probe {
			t.Errorf("after %v: %v, probe %v; want %v, probe %v", d, got, asked, want, probe)
		}
	}
	after(0, false, a, b, c)
	smarthost.Rest(s, a, start)
	after(time.Second, false, b, c, a)
	smarthost.Rest(s, b, start.Add(10*time.Second))
	after(10*time.Second, false, c, a, b)
	smarthost.Rest(s, c, start.Add(20*time.Second))
	after(20*time.Second, false, a, b, c) // all rest, and a mail is still tried
	after(time.Minute-1, false, a, b, c)
	after(time.Minute, true, a, b, c)  // a has rested: one Send asks it,
	after(time.Minute, false, a, b, c) // and no other waits for it meanwhile
	smarthost.Works(s, b)
	after(time.Minute+time.Second, false, b, a, c)
	after(2*time.Minute-1, false, b, c, a) // c has rested too, but b is better: nobody is sent to ask it
	after(2*time.Minute, true, a, b, c)
	after(2*time.Minute, false, b, c, a)
	smarthost.Works(s, a)
	after(2*time.Minute, false, a, b, c)

	one := sender(t, a)
	smarthost.Rest(one, a, start)
	if got, probe := smarthost.Order(one, start.Add(time.Minute)); len(got) != 1 || probe {
		t.Errorf("a host alone: %v, %v", got, probe)
	}
}

// closedPort is where nobody listens.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	return l.Addr().String()
}

func with(fallback ...string) func(*smarthost.Config) {
	return func(c *smarthost.Config) { c.Fallback = fallback }
}

func TestFallbackIsUsedUntilTheFirstHasRested(t *testing.T) {
	a := startUpstream(t, "S: 421 4.3.2 not now\nEOF", hello+accept+accept)
	b := startUpstream(t, hello+accept+accept+"EOF")
	s := sender(t, a.addr(), with(b.addr()))
	sent := func(n, conns, fallback int) {
		t.Helper()
		if _, err := s.Send(context.Background(), copyTo("b@example.net", "x\r\n")); err != nil {
			t.Fatalf("mail %d: %v", n, err)
		}
		if a.connections() != conns || b.connections() != fallback {
			t.Errorf("mail %d: %d connections to the first host, %d to the other; want %d and %d", n, a.connections(), b.connections(), conns, fallback)
		}
	}
	sent(1, 1, 1) // refused there, sent here
	sent(2, 1, 1) // over the kept connection, without asking the first
	smarthost.Rest(s, a.addr(), time.Now().Add(-time.Minute))
	sent(3, 2, 1) // its rest is over
	sent(4, 2, 1) // and it works
	if resting := smarthost.Resting(s); len(resting) > 0 {
		t.Errorf("%v rest", resting)
	}
}

func TestHostsThatCannotBeUsed(t *testing.T) {
	server, pool := certificate(t)
	expired, _ := certificate(t, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
	other, _ := certificate(t, func(c *x509.Certificate) { c.IPAddresses, c.DNSNames = nil, []string{"other.example"} })
	strange, _ := certificate(t)
	for _, known := range []*tls.Config{expired, other} {
		pool.AddCert(known.Certificates[0].Leaf)
	}
	plain := "S: 220 up\nC: EHLO *\nS: 250-up\nS: 250 STARTTLS\nC: STARTTLS\n"
	offer := "S: 220 up\nC: EHLO *\nS: 250-up\nS: 250 AUTH PLAIN\nC: AUTH PLAIN *\n"
	for _, c := range []struct {
		name, mode, script string
		server             *tls.Config
		login              bool
		want               want
		stays              bool // no other host is asked
	}{
		{name: "421 greeting", script: "S: 421 4.7.0 too many connections\nEOF", want: failed(mail.Unreachable, 421, "4.7.0", "too many connections")},
		{name: "450 greeting", script: "S: 450 too many connections\nEOF", want: failed(mail.Throttled, 450, "", "too many connections")},
		{name: "554 greeting", script: "S: 554 no service\nEOF", want: failed(mail.Unreachable, 554, "", "no service")},
		{name: "lost at the greeting", script: "EOF", want: failed(mail.Unreachable, 0, "", "does not greet")},
		{name: "421 at EHLO", script: "S: 220 up\nC: EHLO *\nS: 421 busy\nEOF", want: failed(mail.Unreachable, 421, "", "busy")},
		{name: "451 at EHLO", script: "S: 220 up\nC: EHLO *\nS: 451 4.3.0 later\n", want: failed(mail.Unreachable, 451, "4.3.0", "later")},
		{name: "lost at EHLO", script: "S: 220 up\nC: EHLO *\nRST", want: failed(mail.Unreachable, 0, "", "lost at EHLO")},
		{name: "421 at AUTH", login: true, script: offer + "S: 421 4.7.0 later\nEOF", want: failed(mail.Unreachable, 421, "4.7.0", "later")},
		{name: "454 at AUTH", login: true, script: offer + "S: 454 4.7.0 Temporary authentication failure\n", want: failed(mail.Unreachable, 454, "4.7.0", "Temporary authentication failure")},
		{name: "lost at AUTH", login: true, script: offer + "EOF", want: failed(mail.Unreachable, 0, "", "lost at login")},
		{name: "535 at AUTH", login: true, script: offer + "S: 535 5.7.8 no\n", want: failed(mail.AccountWide, 535, "5.7.8", "refuses the login"), stays: true},
		{name: "the quota is the account's", script: "S: 454 Throttling failure: Daily message quota exceeded\n", want: failed(mail.QuotaSpent, 454, "", "quota"), stays: true},

		{name: "no STARTTLS", mode: "starttls", script: "S: 220 up\nC: EHLO *\nS: 250 up\n", want: failed(mail.Unreachable, 0, "", "does not offer STARTTLS")},
		{name: "421 at STARTTLS", mode: "starttls", script: plain + "S: 421 4.3.2 later\nEOF", want: failed(mail.Unreachable, 421, "4.3.2", "later")},
		{name: "STARTTLS refused", mode: "starttls", script: plain + "S: 454 4.7.0 TLS not available\n", want: failed(mail.Unreachable, 454, "4.7.0", "TLS not available")},
		{name: "lost at STARTTLS", mode: "starttls", script: plain + "EOF", want: failed(mail.Unreachable, 0, "", "lost at STARTTLS")},
		{name: "handshake reset", mode: "starttls", script: plain + "S: 220 go\nTAKE\nRST", want: failed(mail.Unreachable, 0, "", "TLS with")},
		{name: "handshake reset, implicit", mode: "implicit", script: "TAKE\nRST", want: failed(mail.Unreachable, 0, "", "TLS with")},
		{name: "expired", mode: "starttls", script: plain + "S: 220 go\nTLS\n", server: expired, want: failed(mail.Unreachable, 0, "", "expired")},
		{name: "expired, implicit", mode: "implicit", script: "TLS\n", server: expired, want: failed(mail.Unreachable, 0, "", "expired")},
		{name: "another name", mode: "starttls", script: plain + "S: 220 go\nTLS\n", server: other, want: failed(mail.Unreachable, 0, "", "cannot validate certificate for 127.0.0.1")},
		{name: "a stranger's certificate", mode: "implicit", script: "TLS\n", server: strange, want: failed(mail.Unreachable, 0, "", "certificate that cannot be trusted")},
	} {
		if c.mode == "" {
			c.mode = "none"
		}
		use := func(cfg *smarthost.Config) {
			cfg.TLS, cfg.TLSConfig = c.mode, &tls.Config{RootCAs: pool}
			if c.login {
				cfg.Username, cfg.Password = "user", "secret"
			}
		}
		t.Run(c.name+", alone", func(t *testing.T) {
			a := startTLSUpstream(t, c.server, c.script)
			_, err := sender(t, a.addr(), use).Send(context.Background(), copyTo("b@example.net", "x\r\n"))
			c.want.check(t, 1, err)
			if err == nil || !strings.Contains(err.Error(), a.addr()) {
				t.Errorf("%v does not name the host", err)
			}
		})
		t.Run(c.name+", and another", func(t *testing.T) {
			auth := ""
			if c.login {
				auth = "C: AUTH PLAIN *\nS: 235 ok\n"
			}
			works := "S: 220 up\nC: EHLO *\nS: 250-up\nS: 250-PIPELINING\nS: 250 AUTH PLAIN\n" + auth + accept
			switch c.mode {
			case "implicit":
				works = "TLS\n" + works
			case "starttls":
				works = plain + "S: 220 go\nTLS\nC: EHLO *\nS: 250-up\nS: 250 PIPELINING\n" + accept
			}
			a, b := startTLSUpstream(t, c.server, c.script), startTLSUpstream(t, server, works)
			s := sender(t, a.addr(), use, with(b.addr()))
			_, err := s.Send(context.Background(), copyTo("b@example.net", "x\r\n"))
			if c.stays {
				c.want.check(t, 1, err)
				if b.connections() > 0 || len(smarthost.Resting(s)) > 0 {
					t.Error("another host was asked")
				}
				return
			}
			if err != nil || b.connections() != 1 || !slices.Equal(smarthost.Resting(s), []string{a.addr()}) {
				t.Errorf("%v; %d connections to the other, %v rest", err, b.connections(), smarthost.Resting(s))
			}
		})
	}
}

func TestErrorNamesEveryHost(t *testing.T) {
	a, b := startUpstream(t, "S: 421 4.7.0 busy\nEOF"), closedPort(t)
	s := sender(t, a.addr(), with(b, "no-such-host.invalid:25"))
	_, err := s.Send(context.Background(), copyTo("b@example.net", "x\r\n"))
	failed(mail.Unreachable, 0, "", a.addr()+" refuses connections: busy (421 4.7.0); "+b+" cannot be reached: connection refused; no-such-host.invalid:25 cannot be reached: its name does not resolve").check(t, 1, err)
	if len(smarthost.Resting(s)) != 3 {
		t.Errorf("only %v rest", smarthost.Resting(s))
	}

	login := startUpstream(t, "S: 220 up\nC: EHLO *\nS: 250-up\nS: 250 AUTH PLAIN\nC: AUTH PLAIN *\nS: 535 5.7.8 no\n")
	s = sender(t, b, with(login.addr(), "no-such-host.invalid:25"), func(c *smarthost.Config) { c.Username, c.Password = "user", "secret" })
	_, err = s.Send(context.Background(), copyTo("b@example.net", "x\r\n"))
	failed(mail.AccountWide, 535, "5.7.8", login.addr()+" refuses the login of user: no; asked before it: "+b+" cannot be reached").check(t, 2, err)
}

// What an upstream says during a mail sends the next dial elsewhere, and never the
// same mail in the same Send: only a host that was not usable at all is passed by.
func TestHostThatFailsWithinAMail(t *testing.T) {
	data := hello + begin
	step := helloPlain + "C: MAIL *\n"
	for _, c := range []struct {
		name, script string
		want         want
		rests        bool
	}{
		{"421 at MAIL", data + "S: 421 4.3.2 busy\nEOF", failed(mail.Unreachable, 421, "4.3.2", "says: busy"), true},
		{"421 at MAIL, step by step", step + "S: 421 busy\nEOF", failed(mail.Unreachable, 421, "", "busy"), true},
		{"421 at RCPT", data + "S: 250 ok\nS: 421 busy\nEOF", failed(mail.Unreachable, 421, "", "busy"), true},
		{"421 at DATA", data + "S: 250 ok\nS: 250 ok\nS: 421 busy\nEOF", failed(mail.Unreachable, 421, "", "busy"), true},
		{"421 at DATA, step by step", step + "S: 250 ok\nC: RCPT *\nS: 250 ok\nC: DATA\nS: 421 busy\nEOF", failed(mail.Unreachable, 421, "", "busy"), true},
		{"421 after the dot", data + "S: 250 ok\nS: 250 ok\nS: 354 go\nGOT\nS: 421 4.3.2 going down\nEOF", failed(mail.Unreachable, 421, "4.3.2", "going down"), true},
		{"421 to BDAT", helloChunks + refusing + "S: 421 4.3.2 going down\nSILENT", failed(mail.Unreachable, 421, "4.3.2", "going down"), true},
		{"421 after the last chunk", helloChunks + announced + "BDAT\nS: 421 4.3.2 going down\nEOF", failed(mail.Unreachable, 421, "4.3.2", "going down"), true},
		{"lost at MAIL", data + "EOF", failed(mail.Unreachable, 0, "", "lost before"), true},
		{"full at MAIL", data + "S: 452 4.3.1 full\nS: 503 x\nS: 503 x\n", failed(mail.Unreachable, 452, "4.3.1", "full"), true},
		{"lost after MAIL", data + "S: 250 ok\nEOF", failed(mail.Unreachable, 0, "", "lost before"), false},
		{"cut after the dot", data + "S: 250 ok\nS: 250 ok\nS: 354 go\nGOT\nEOF", failed(mail.Uncertain, 0, "", "may have been sent"), false},
		{"too fast", data + "S: 450 4.7.1 too much mail\nS: 503 x\nS: 503 x\n", failed(mail.Throttled, 450, "4.7.1", "says: too much mail"), false},
		{"refused", data + "S: 550 no\nS: 503 x\nS: 503 x\n", failed(mail.Permanent, 550, "", "no"), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := startUpstream(t, c.script), startUpstream(t, hello+accept)
			s := sender(t, a.addr(), with(b.addr()))
			_, err := s.Send(context.Background(), copyTo("b@example.net", "x\r\n"))
			c.want.check(t, 1, err)
			if b.connections() > 0 {
				t.Error("the other host was asked in the same Send")
			}
			if rests := len(smarthost.Resting(s)) > 0; rests != c.rests {
				t.Fatalf("the host rests: %v, want %v", rests, c.rests)
			}
			if !c.rests {
				return
			}
			if _, err := s.Send(context.Background(), copyTo("b@example.net", "x\r\n")); err != nil || b.connections() != 1 {
				t.Errorf("the next mail: %v, %d connections to the other host", err, b.connections())
			}
		})
	}
}

// Upstreams end sessions on which nothing is said. That is no reason to leave them.
func TestEndOfAKeptSession(t *testing.T) {
	for _, c := range []struct {
		name, script string
		rests        bool
	}{
		{"closed", hello + accept + "EOF", false},
		{"421 for idling", hello + accept + begin + "S: 421 4.4.2 mx.example Error: timeout exceeded\nEOF", false},
		{"421 for idling, in words", hello + accept + begin + "S: 421 Timeout waiting for data from client.\nEOF", false},
		{"421 for going down", hello + accept + begin + "S: 421 4.3.2 shutting down\nEOF", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := startUpstream(t, c.script, hello+accept), startUpstream(t, hello+accept)
			s := sender(t, a.addr(), with(b.addr()))
			for range 2 {
				if _, err := s.Send(context.Background(), copyTo("b@example.net", "x\r\n")); err != nil {
					t.Fatal(err)
				}
			}
			if want := map[bool]int{false: 0, true: 1}[c.rests]; b.connections() != want {
				t.Errorf("%d connections to the other host, want %d", b.connections(), want)
			}
		})
	}
}

// A session from before the rest of its host does not show that the host is back.
func TestRestedHostIsDialled(t *testing.T) {
	a, b := startUpstream(t, hello+accept, hello+accept), startUpstream(t)
	s := sender(t, a.addr(), with(b.addr()))
	for range 2 {
		if _, err := s.Send(context.Background(), copyTo("b@example.net", "x\r\n")); err != nil {
			t.Fatal(err)
		}
		smarthost.Rest(s, a.addr(), time.Now().Add(-time.Minute))
	}
	if a.connections() != 2 {
		t.Errorf("%d connections", a.connections())
	}
}

func TestServerNameIsThatOfTheHost(t *testing.T) {
	ip, pool := certificate(t)
	name, _ := certificate(t, func(c *x509.Certificate) { c.IPAddresses, c.DNSNames = nil, []string{"localhost"} })
	pool.AddCert(name.Certificates[0].Leaf)
	b := startTLSUpstream(t, name, "TLS\n"+hello+accept)
	_, bPort, err := net.SplitHostPort(b.addr())
	if err != nil {
		t.Fatal(err)
	}
	a := startTLSUpstream(t, ip, "TLS\nS: 421 later\nEOF", "TLS\n")
	s := sender(t, a.addr(), with("localhost:"+bPort), func(c *smarthost.Config) { c.TLS, c.TLSConfig = "implicit", &tls.Config{RootCAs: pool} })
	if _, err := s.Send(context.Background(), copyTo("b@example.net", "x\r\n")); err != nil || b.connections() != 1 {
		t.Errorf("%v, %d connections", err, b.connections())
	}

	// A name that is configured is asked of every host.
	s = sender(t, a.addr(), func(c *smarthost.Config) {
		c.TLS, c.TLSConfig = "implicit", &tls.Config{RootCAs: pool, ServerName: "mail.example"}
	})
	_, err = s.Send(context.Background(), copyTo("b@example.net", "x\r\n"))
	failed(mail.Unreachable, 0, "", "certificate that cannot be trusted").check(t, 2, err)
}

func TestWhatAHostCannotDoIsItsOwn(t *testing.T) {
	a := startUpstream(t, helloChunks+refusing+"S: 502 no\nSILENT", "EOF")
	b := startUpstream(t, helloChunks+chunked)
	s := sender(t, a.addr(), with(b.addr()))
	// The first refuses BDAT and then the new session too; the other is still given BDAT.
	if _, err := s.Send(context.Background(), copyTo("b@example.net", "x\r\n")); err != nil {
		t.Error(err)
	}
	if a.connections() != 2 || len(b.received()) != 1 {
		t.Errorf("%d connections to the first, %d mails at the other", a.connections(), len(b.received()))
	}
}

func TestStoppedSendAsksNoOtherHost(t *testing.T) {
	a, b := startUpstream(t, "TELL\nSILENT"), startUpstream(t)
	s := sender(t, a.addr(), with(b.addr()))
	ctx, cancel := context.WithCancel(context.Background())
	go func() { <-a.told; cancel() }()
	_, err := s.Send(ctx, copyTo("b@example.net", "x\r\n"))
	failed(mail.Unreachable, 0, "", "sending was stopped").check(t, 1, err)
	if b.connections() > 0 || len(smarthost.Resting(s)) > 0 {
		t.Errorf("%d connections to the other, %v rest", b.connections(), smarthost.Resting(s))
	}
}
