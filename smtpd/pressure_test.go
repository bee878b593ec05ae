package smtpd_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/mail"
	"postern/smtpd"
)

// crowded has three places, for clients of 192.0.2.0/24 that may relay.
func crowded(c *smtpd.Config) {
	c.MaxConnections, c.ReadTimeout = 3, 5*time.Minute
	c.Networks = []smtpd.Network{{CIDR: netip.MustParsePrefix("192.0.2.0/24"), SendAs: []string{"*@example.com"}, Relay: true}}
}

// guest connects without a deadline of its own: the bubble's time runs far.
func guest(t *testing.T, p *pipes, n int) *client {
	c := use(t, p.dial(fmt.Sprintf("192.0.2.%d:1000", n)))
	_ = c.conn.SetDeadline(time.Time{})
	return c
}

// TestTheLongestIdleSessionMakesRoom, when all places are taken and it has been
// idle for more than ten seconds; it is told so.
func TestTheLongestIdleSessionMakesRoom(t *testing.T) {
	overPipes(t, crowded, func(t *testing.T, p *pipes) {
		oldest, older, busy := guest(t, p, 1), guest(t, p, 2), guest(t, p, 3)
		oldest.want("220")
		busy.want("220")
		busy.do("EHLO x", "250")
		begin(busy)
		pass(time.Second)
		older.want("220")
		older.do("EHLO x", "250")
		pass(time.Second)
		oldest.do("EHLO x", "250") // now older is the one that waits longest
		pass(8 * time.Second)
		early := guest(t, p, 4)
		early.want("421 4.3.2 too many connections")
		early.ends()
		pass(2 * time.Second)
		fresh := guest(t, p, 5)
		older.want("421 4.4.2 gw.example.com needs this place for another client")
		older.ends()
		fresh.want("220")
		pass(2 * time.Second)
		second := guest(t, p, 6)
		oldest.want("421 4.4.2")
		oldest.ends()
		second.want("220")
		third := guest(t, p, 7) // fresh and second are not idle for long, busy is busy
		third.want("421 4.3.2")
		third.ends()
		fresh.do("QUIT", "221")
		fresh.ends()
		guest(t, p, 8).want("220") // each place was given away once
		over := guest(t, p, 9)
		over.want("421 4.3.2")
		over.ends()
		busy.send("x: y\r\n.\r\n")
		busy.want("250")
	})
}

// TestOctetsNowAndThenAreIdle: what drips is not a command.
func TestOctetsNowAndThenAreIdle(t *testing.T) {
	change := func(c *smtpd.Config) { crowded(c); c.MaxConnections = 1 }
	overPipes(t, change, func(t *testing.T, p *pipes) {
		drip := guest(t, p, 1)
		drip.want("220")
		for range 11 {
			drip.send("N")
			pass(time.Second)
		}
		fresh := guest(t, p, 2)
		drip.want("421 4.4.2")
		drip.ends()
		fresh.want("220")
	})
}

// TestAHandshakeMakesRoomToo, without a word: there is nobody yet to read it.
func TestAHandshakeMakesRoomToo(t *testing.T) {
	id := newIdentity(t)
	for _, mode := range []string{"implicit", "starttls"} {
		t.Run(mode, func(t *testing.T) {
			change := func(c *smtpd.Config) {
				crowded(c)
				c.MaxConnections, c.Listeners[0].TLS, c.GetCertificate = 1, mode, id.get
			}
			overPipes(t, change, func(t *testing.T, p *pipes) {
				slow := guest(t, p, 1)
				if mode == "starttls" {
					slow.want("220")
					slow.do("EHLO x", "250")
					slow.do("STARTTLS", "220")
				}
				slow.send("\x16\x03\x01")
				pass(11 * time.Second)
				fresh := guest(t, p, 2)
				slow.ends()
				if mode == "starttls" {
					fresh.want("220")
				} else {
					tls.Client(fresh.conn, &tls.Config{InsecureSkipVerify: true}).Handshake()
				}
				fresh.conn.Close()
			})
		})
	}
}

// TestAnOpenTransactionHoldsAPlaceForAWhile: while no mail arrives it is left
// alone for one read timeout, however busily the client says NOOP.
func TestAnOpenTransactionHoldsAPlaceForAWhile(t *testing.T) {
	change := func(c *smtpd.Config) { crowded(c); c.MaxConnections = 1 }
	overPipes(t, change, func(t *testing.T, p *pipes) {
		c := guest(t, p, 1)
		c.want("220")
		c.do("EHLO x", "250")
		c.do("MAIL FROM:<a@example.com>", "250")
		for range 9 {
			pass(30 * time.Second)
			c.do("NOOP", "250")
		}
		guest(t, p, 2).want("421 4.3.2")
		for range 2 {
			pass(30 * time.Second)
			c.do("NOOP", "250")
		}
		fresh := guest(t, p, 3)
		c.want("421 4.4.2")
		c.ends()
		fresh.want("220")
	})
}

// drip sends what each minute until the connection ends.
func drip(c *client, what string) (ended <-chan struct{}) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			pass(time.Minute)
			if _, err := io.WriteString(c.conn, what); err != nil {
				return
			}
		}
	}()
	return done
}

// TestADrippingMailIsCut, though each octet comes in time: 1 KiB, or the end,
// must come within each read timeout.
func TestADrippingMailIsCut(t *testing.T) {
	for _, tt := range []struct{ name, command, drop, want string }{
		{"DATA", "DATA\r\n", "x", "421 4.4.2 gw.example.com has not taken the mail"},
		{"DATA, whole lines", "DATA\r\n", "x: y\r\n", "421 4.4.2 gw.example.com has not taken the mail"},
		{"DATA, refused already", "DATA\r\n", "x\n", "421 4.4.2 gw.example.com has not taken the mail"},
		{"BDAT, one chunk", "BDAT 1000 LAST\r\n", "x", "421 4.4.2 gw.example.com has not taken the mail"},
		{"BDAT, many chunks", "", "BDAT 1\r\nx", "421 4.4.2 gw.example.com has not taken the mail"},
		{"BDAT, NOOPs between", "BDAT 1\r\nx", "NOOP\r\n", "421 4.4.2 gw.example.com has not taken the mail"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := &intake{}
			change := func(c *smtpd.Config) { crowded(c); c.Intake = in; c.Listeners[0].BareNewline = "reject" }
			overPipes(t, change, func(t *testing.T, p *pipes) {
				c := guest(t, p, 1)
				c.want("220")
				c.do("EHLO x", "250")
				c.do("MAIL FROM:<a@example.com>", "250")
				c.do("RCPT TO:<b@example.net>", "250")
				began := time.Now()
				c.send(tt.command)
				dripped := drip(c, tt.drop)
				r := c.reply()
				for strings.HasPrefix(r, "2") || strings.HasPrefix(r, "354") {
					r = c.reply()
				}
				if d := time.Since(began); !strings.HasPrefix(r, tt.want) || d > 6*time.Minute+2*time.Second {
					t.Errorf("%q after %s", r, d)
				}
				c.ends()
				c.conn.Close()
				<-dripped
			})
			if len(in.taken()) > 0 {
				t.Error("half a mail was taken")
			}
		})
	}
}

// TestADrippingCommandIsCut: its line has one read timeout in all.
func TestADrippingCommandIsCut(t *testing.T) {
	overPipes(t, crowded, func(t *testing.T, p *pipes) {
		c := guest(t, p, 1)
		c.want("220")
		began := time.Now()
		dripped := drip(c, "N")
		c.want("421 4.4.2")
		if d := time.Since(began); d != 5*time.Minute {
			t.Errorf("cut after %s", d)
		}
		c.ends()
		c.conn.Close()
		<-dripped
	})
}

// TestASlowIntakeIsNotTheClientsFault: a mail that is there is taken, though the
// disk made it wait for longer than the read timeout.
func TestASlowIntakeIsNotTheClientsFault(t *testing.T) {
	for _, command := range []string{"DATA\r\n", "BDAT 4097 LAST\r\n"} {
		in := &intake{onAccept: func(context.Context, io.Reader) error { pass(time.Hour); return nil }}
		change := func(c *smtpd.Config) { crowded(c); c.Intake = in }
		overPipes(t, change, func(t *testing.T, p *pipes) {
			c := guest(t, p, 1)
			c.want("220")
			c.do("EHLO x", "250")
			c.do("MAIL FROM:<a@example.com>", "250")
			c.do("RCPT TO:<b@example.net>", "250")
			c.send(command)
			mail := strings.Repeat("x", 4095) + "\r\n"
			if command[0] == 'D' {
				c.want("354")
				mail += ".\r\n"
			}
			go func() { _, _ = io.WriteString(c.conn, mail) }()
			c.want("250 2.0.0 queued")
		})
	}
}

// TestAHandshakeAfterSTARTTLSHasADeadlineOfItsOwn, and when it fails the session
// ends: not a word in the clear, and nothing is heard in the clear.
func TestAHandshakeAfterSTARTTLSHasADeadlineOfItsOwn(t *testing.T) {
	id := newIdentity(t)
	for name, send := range map[string]string{"silence": "", "half a hello": "\x16\x03\x01", "commands": "EHLO x\r\nMAIL FROM:<a@example.com>\r\n"} {
		t.Run(name, func(t *testing.T) {
			change := func(c *smtpd.Config) { crowded(c); c.Listeners[0].TLS, c.GetCertificate = "starttls", id.get }
			overPipes(t, change, func(t *testing.T, p *pipes) {
				c := guest(t, p, 1)
				c.want("220")
				c.do("EHLO x", "250")
				c.do("STARTTLS", "220")
				began := time.Now()
				go func() { _, _ = io.WriteString(c.conn, send) }()
				rest, _ := io.ReadAll(c.r)
				if len(rest) > 0 && (rest[0] != 0x15 || strings.Contains(string(rest), "550")) { // an alert (RFC 8446 §6)
					t.Errorf("got %q, want a TLS alert or nothing", rest)
				}
				if d := time.Since(began); d > 30*time.Second || name != "commands" && d < 30*time.Second {
					t.Errorf("it ended after %s", d)
				}
			})
		})
	}
}

// TestShutdownInAHandshake waits for nobody.
func TestShutdownInAHandshake(t *testing.T) {
	id := newIdentity(t)
	change := func(c *smtpd.Config) { crowded(c); c.Listeners[0].TLS, c.GetCertificate = "starttls", id.get }
	synctest.Test(t, func(t *testing.T) {
		conf := config(t, &intake{})
		p := newPipes()
		conf.Listeners[0].Socket = p
		change(&conf)
		s := start(t, conf)
		c := guest(t, p, 1)
		c.want("220")
		c.do("EHLO x", "250")
		c.do("STARTTLS", "220")
		synctest.Wait()
		began := time.Now()
		if err := s.Shutdown(t.Context()); err != nil || time.Since(began) != 0 {
			t.Errorf("Shutdown took %s and says %v", time.Since(began), err)
		}
		c.ends()
	})
}

// TestACommandHasAnEnd: who sends a line without one is cut before it fills the
// memory, in TLS too.
func TestACommandHasAnEnd(t *testing.T) {
	id := newIdentity(t)
	for _, mode := range []string{"none", "starttls", "implicit"} {
		t.Run(mode, func(t *testing.T) {
			conf := config(t, &intake{})
			conf.Listeners[0].TLS, conf.GetCertificate = mode, id.get
			c := dialTLS(t, start(t, conf), mode, id)
			conn := c.conn
			go func() {
				for range 100 {
					if _, err := io.WriteString(conn, strings.Repeat("x", 1<<10)); err != nil {
						return
					}
				}
			}()
			c.want("500 5.5.2 gw.example.com takes no command so long")
		})
	}
}

// TestNothingElseIsTakenForACommand: neither many at once nor what is drained of a
// mail that was refused.
func TestNothingElseIsTakenForACommand(t *testing.T) {
	in := &intake{refusals: map[string]error{"unknown": mail.Refuse(550, "5.1.1", "unknown")},
		onAccept: func(context.Context, io.Reader) error { return mail.Later(452, "4.3.1", "full") }}
	c := hello(t, start(t, config(t, in)))
	go func() { _, _ = io.WriteString(c.conn, strings.Repeat("NOOP\r\n", 20000)) }()
	for range 20000 {
		c.want("250")
	}
	chunk := strings.Repeat("0123456789abcde\n", 16<<10)
	size := fmt.Sprint(len(chunk))
	c.send("MAIL FROM:<a@example.com>\r\nRCPT TO:<unknown@example.net>\r\nBDAT " + size + " LAST\r\n" + chunk)
	c.want("250")
	c.want("550")
	c.want("502")
	c.do("RSET", "250")
	c.send("MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.net>\r\nBDAT 4000000\r\n")
	c.want("250")
	c.want("250")
	c.want("552")
	c.send(strings.Repeat("0123456789abcd\r\n", 250000))
	c.do("NOOP", "250")
	for _, end := range []string{"BDAT " + size + " LAST\r\n" + chunk, "DATA\r\n" + chunk + "\r\n.\r\n"} {
		c.do("MAIL FROM:<a@example.com>", "250")
		c.do("RCPT TO:<b@example.net>", "250")
		c.send(end)
		if end[0] == 'D' {
			c.want("354")
		}
		c.want("452 4.3.1 full")
		c.do("NOOP", "250")
	}
	in.onAccept = nil
	c.send("MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.net>\r\nBDAT " + size + "\r\n" + chunk + "BDAT " + size + " LAST\r\n" + chunk)
	c.want("250")
	c.want("250")
	c.want("250 2.0.0 Continue")
	c.want("250 2.0.0 queued")
}

// TestAClientThatTakesNoRepliesIsCut after the write timeout, however much it sends.
func TestAClientThatTakesNoRepliesIsCut(t *testing.T) {
	overPipes(t, crowded, func(t *testing.T, p *pipes) {
		c := guest(t, p, 1)
		c.want("220")
		began := time.Now()
		for {
			if _, err := io.WriteString(c.conn, "NOOP\r\n"); err != nil {
				break
			}
		}
		if d := time.Since(began); d != time.Minute {
			t.Errorf("cut after %s", d)
		}
	})
}
