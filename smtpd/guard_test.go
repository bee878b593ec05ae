package smtpd_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"postern/smtpd"
)

// guarded runs f against a server whose clients come from anywhere and wait for
// free.
func guarded(t *testing.T, f func(t *testing.T, g *guessing)) {
	change := func(c *smtpd.Config) {
		c.Listeners[0].InsecureAuth, c.AuthDelay, c.MaxAuthFailures = true, 0, 0 // the defaults
		c.ReadTimeout = 24 * time.Hour
	}
	overPipes(t, change, func(t *testing.T, p *pipes) { f(t, &guessing{t: t, p: p}) })
}

// guessing is clients that try passwords, each on a connection of its own.
type guessing struct {
	t *testing.T
	p *pipes
	n int
}

const (
	marketer = "marketer@example.com"
	right    = "correct horse"
)

// try logs in once and returns the reply and how long it took.
func (g *guessing) try(from, name, password string) (string, time.Duration) {
	g.t.Helper()
	g.n++
	c := greeted(g.t, g.p, fmt.Sprintf("%s:%d", from, 1024+g.n%60000))
	began := time.Now()
	c.send("AUTH PLAIN " + base64.StdEncoding.EncodeToString([]byte("\x00"+name+"\x00"+password)) + "\r\n")
	reply := c.reply()
	took := time.Since(began)
	c.conn.Close()
	return reply, took
}

func (g *guessing) want(prefix, from, name, password string) {
	g.t.Helper()
	if got, _ := g.try(from, name, password); !strings.HasPrefix(got, prefix) {
		g.t.Fatalf("%s as %s: got %q, want %q", from, name, got, prefix)
	}
}

// wrong tries so many different wrong passwords.
func (g *guessing) wrong(n int, from, name string) {
	g.t.Helper()
	for range n {
		g.want("535 5.7.8 user name or password is wrong", from, name, fmt.Sprint("guess ", g.n))
	}
}

func TestAnAddressThatGuessesIsShutOut(t *testing.T) {
	guarded(t, func(t *testing.T, g *guessing) {
		for i := range 20 { // whatever names it tries
			g.wrong(1, "192.0.2.7", fmt.Sprintf("name%d@example.com", i))
		}
		g.want("454 4.7.0 too many wrong passwords from 192.0.2.7: log in again after 15 minutes", "192.0.2.7", marketer, right)
		if _, took := g.try("192.0.2.7", marketer, "x"); took != 0 {
			t.Errorf("who is shut out was answered after %s, not at once", took)
		}
		g.want("235", "192.0.2.8", marketer, right)
		pass(14 * time.Minute)
		g.want("454 4.7.0 too many wrong passwords from 192.0.2.7: log in again after 30 seconds", "192.0.2.7", marketer, right)
		pass(time.Minute)
		g.want("235", "192.0.2.7", marketer, right)
	})
}

// An IPv6 host usually has a /64 of addresses to guess from.
func TestAnIPv6HostIsShutOutWithItsWholeNet(t *testing.T) {
	guarded(t, func(t *testing.T, g *guessing) {
		for i := range 20 {
			g.wrong(1, fmt.Sprintf("[2001:db8::%d]", i), fmt.Sprint(i))
		}
		g.want("454 4.7.0 too many wrong passwords from 2001:db8::/64:", "[2001:db8::ffff:1]", marketer, right)
		g.want("235", "[2001:db8:0:1::1]", marketer, right)
	})
}

// The same for a name that exists and for one that does not: nobody learns which.
func TestANameThatIsGuessedIsShutOut(t *testing.T) {
	for _, name := range []string{marketer, "nobody@example.com", "locked@example.com"} {
		t.Run(name, func(t *testing.T) {
			guarded(t, func(t *testing.T, g *guessing) {
				var delays []time.Duration
				for i := range 20 {
					reply, took := g.try(fmt.Sprintf("198.51.100.%d", i), name, fmt.Sprint("guess", i))
					if reply != "535 5.7.8 user name or password is wrong" {
						t.Fatal(reply)
					}
					delays = append(delays, took)
				}
				if got := fmt.Sprint(delays[:7], delays[19]); got != "[1s 2s 4s 8s 16s 30s 30s] 30s" {
					t.Errorf("the answers took %v", got)
				}
				g.want("454 4.7.0 too many wrong passwords for "+strings.ToUpper(name)+": log in again after 15 minutes", "192.0.2.9", strings.ToUpper(name), right)
				g.want("235", "192.0.2.9", "relay@example.com", "battery staple")
			})
		})
	}
}

// A guesser anywhere, next door included, does not shut out who has logged in
// well from there; their own failures do.
func TestWhoHasLoggedInIsNotShutOutByOthers(t *testing.T) {
	guarded(t, func(t *testing.T, g *guessing) {
		g.want("235", "192.0.2.1", marketer, right)
		for i := range 40 {
			_, _ = g.try(fmt.Sprintf("198.51.100.%d", i), marketer, fmt.Sprint("guess", i))
		}
		for i := range 40 { // the same office
			_, _ = g.try("192.0.2.1", "scanner@example.com", fmt.Sprint("guess", i))
		}
		g.want("454 4.7.0 too many wrong passwords from 192.0.2.1", "192.0.2.1", "relay@example.com", "battery staple")
		g.want("454 4.7.0 too many wrong passwords for "+marketer, "192.0.2.2", marketer, right)
		g.want("235", "192.0.2.1", marketer, right)
		if _, took := g.try("192.0.2.1", marketer, "a slip"); took != time.Second {
			t.Errorf("a slip was answered after %s, as if the others' failures were theirs", took)
		}
		g.wrong(19, "192.0.2.1", marketer)
		g.want("454 4.7.0 too many wrong passwords for "+marketer+" from 192.0.2.1: log in again after 15 minutes", "192.0.2.1", marketer, right)
		pass(15 * time.Minute)
		g.want("235", "192.0.2.1", marketer, right)
		// A good log-in is a new beginning.
		g.wrong(19, "192.0.2.1", marketer)
		g.want("235", "192.0.2.1", marketer, right)
		g.wrong(19, "192.0.2.1", marketer)
		g.want("235", "192.0.2.1", marketer, right)
	})
}

// A device with a stale password tries the same for ever.
func TestTheSameWrongPasswordCountsOnce(t *testing.T) {
	guarded(t, func(t *testing.T, g *guessing) {
		for range 60 {
			if reply, took := g.try("192.0.2.1", marketer, "of last year"); !strings.HasPrefix(reply, "535") || took != time.Second {
				t.Fatalf("%q after %s", reply, took)
			}
			pass(10 * time.Second)
		}
		g.wrong(19, "192.0.2.1", marketer) // the stale one is forgotten by now
		g.want("235", "192.0.2.1", "relay@example.com", "battery staple")
		g.want("535", "198.51.100.1", marketer, "of last year") // from elsewhere it is another's
		g.want("454 4.7.0 too many wrong passwords for "+marketer, "192.0.2.1", marketer, right)
	})
}

func TestFailuresAreForgottenAfterAQuarter(t *testing.T) {
	guarded(t, func(t *testing.T, g *guessing) {
		for range 5 {
			g.wrong(19, "192.0.2.1", marketer)
			pass(15 * time.Minute)
		}
		if _, took := g.try("192.0.2.1", marketer, "x"); took != time.Second {
			t.Errorf("the first failure after a pause was answered after %s", took)
		}
	})
}

// However many addresses guess, the memory is that of some thousands; who is
// guessed most lately is remembered.
func TestTheGuardForgetsTheOldest(t *testing.T) {
	g := smtpd.NewGuard()
	now := time.Now()
	for i := range 20 {
		g.Failed("192.0.2.1", "a", fmt.Sprint(i), now)
	}
	if g.Check("192.0.2.1", "b", now) == nil {
		t.Fatal("20 failures shut nobody out")
	}
	for i := range smtpd.GuardEntries - 1 {
		g.Failed(fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255), fmt.Sprint(i), "x", now)
	}
	if g.Check("192.0.2.1", "b", now) == nil || g.Entries() > 4*smtpd.GuardEntries {
		t.Errorf("%d entries; the address is forgotten too early", g.Entries())
	}
	for i := range smtpd.GuardEntries {
		g.Failed(fmt.Sprintf("11.%d.%d.%d", i>>16, i>>8&255, i&255), fmt.Sprint(i), "y", now)
	}
	if g.Check("192.0.2.1", "b", now) != nil || g.Entries() != 3*smtpd.GuardEntries {
		t.Errorf("%d entries, want the latest %d of each kind", g.Entries(), smtpd.GuardEntries)
	}
}

// TestUnknownUsersCostAsMuch: whoever is refused, the work is the same, also where
// hashes of several costs are in use; twice the cost less one is half the work.
func TestUnknownUsersCostAsMuch(t *testing.T) {
	dear, err := bcrypt.GenerateFromPassword([]byte(right), bcrypt.MinCost+3)
	if err != nil {
		t.Fatal(err)
	}
	conf := config(t, &intake{})
	conf.Listeners[0].InsecureAuth = true
	conf.Accounts = append(conf.Accounts, smtpd.Account{Username: "dear@example.com", PasswordHash: string(dear)})
	work := 0
	s := startAfter(t, conf, func(s *smtpd.Server) {
		s.OnCompare(func(cost int, err error) {
			work += 1 << cost
			if err != nil && !errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) {
				t.Errorf("a comparison did not take place: %v", err)
			}
		})
	})
	for _, name := range []string{marketer, "dear@example.com", "locked@example.com", "nobody@example.com", ""} {
		work = 0
		c := hello(t, s)
		c.do("AUTH PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00"+name+"\x00wrong")), "535 5.7.8 user name or password is wrong")
		if want := 1 << (bcrypt.MinCost + 3); work != want {
			t.Errorf("%q was refused with %d units of work, want %d", name, work, want)
		}
		c.do("QUIT", "221")
	}
	work = 0
	c := hello(t, s)
	c.do("AUTH PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00"+marketer+"\x00"+right)), "235")
	if work != 1<<bcrypt.MinCost {
		t.Errorf("a good password took %d units of work", work)
	}
}

// A client that leaves during its pause leaves its place to another, and a client
// that closes only what it sends with gets no answer early.
func TestWhoLeavesDoesNotWait(t *testing.T) {
	for _, half := range []bool{false, true} {
		conf := config(t, &intake{})
		conf.Listeners[0].InsecureAuth, conf.MaxConnections, conf.AuthDelay = true, 1, time.Hour
		s := start(t, conf)
		c := hello(t, s)
		c.send("AUTH PLAIN AHgAeA==\r\n")
		if half {
			if err := c.conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			c.ends()
		} else {
			c.conn.Close()
		}
		again := time.NewTicker(50 * time.Millisecond)
		defer again.Stop()
		late := time.After(20 * time.Second) // the pause has 30
		for free := false; !free; {
			select {
			case <-again.C:
			case <-late:
				t.Fatal("the place was not given up")
			}
			next := dial(t, s.Addrs()[0], "")
			free = strings.HasPrefix(next.reply(), "220")
			next.conn.Close()
		}
	}
}

func TestOddAuthExchanges(t *testing.T) {
	conf := config(t, &intake{})
	conf.Listeners[0].InsecureAuth = true
	s := start(t, conf)
	b64 := base64.StdEncoding.EncodeToString
	for _, tt := range []struct {
		name string
		say  []string // command and the reply to it, in turn
	}{
		{"LOGIN with an empty initial response", []string{"AUTH LOGIN =", "334 VXNlcm5hbWU6", b64([]byte(marketer)), "334 UGFzc3dvcmQ6", b64([]byte(right)), "235"}},
		{"LOGIN with an empty name", []string{"AUTH LOGIN", "334 VXNlcm5hbWU6", "", "334 UGFzc3dvcmQ6", "", "535"}},
		{"LOGIN cancelled at the password", []string{"AUTH LOGIN", "334", b64([]byte(marketer)), "334", "*", "501", "AUTH LOGIN", "334 VXNlcm5hbWU6"}},
		{"PLAIN with an empty initial response", []string{"AUTH PLAIN =", "501 5.5.2"}},
		{"PLAIN for oneself", []string{"AUTH PLAIN " + b64([]byte("MARKETER@example.com\x00"+marketer+"\x00"+right)), "235"}},
		{"PLAIN for somebody else", []string{"AUTH PLAIN " + b64([]byte("relay@example.com\x00"+marketer+"\x00"+right)), "535 5.7.8 nobody may act for another user here"}},
		{"PLAIN with one part too many", []string{"AUTH PLAIN " + b64([]byte("\x00a\x00b\x00c")), "501 5.5.2"}},
		{"no base64", []string{"AUTH PLAIN !!!", "454", "NOOP", "250"}},
		{"another mechanism", []string{"AUTH CRAM-MD5", "504 5.5.4 CRAM-MD5 is not known here"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := hello(t, s)
			for i := 0; i < len(tt.say); i += 2 {
				c.do(tt.say[i], tt.say[i+1])
			}
			c.conn.Close()
		})
	}
}
