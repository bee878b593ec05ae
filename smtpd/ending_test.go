package smtpd_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"postern/smtpd"
)

// TestHalfAMailIsNeverTaken: the client goes away within DATA or within a chunk,
// with and without a word.
func TestHalfAMailIsNeverTaken(t *testing.T) {
	id := newIdentity(t)
	type leave func(*client)
	fin := func(c *client) { _ = rawConn(c).CloseWrite() }
	goodbye := func(c *client) { _ = c.conn.(*tls.Conn).CloseWrite() } // close_notify, no FIN
	for _, tt := range []struct {
		name, tls, send string
		leave           leave
	}{
		{"DATA, FIN", "none", "DATA\r\nSubject: x\r\n\r\nhalf", fin},
		{"DATA, FIN after a dot", "none", "DATA\r\nSubject: x\r\n\r\nhalf\r\n.", fin},
		{"BDAT, FIN", "none", "BDAT 100 LAST\r\nSubject: x\r\n\r\nhalf", fin},
		{"BDAT, FIN between chunks", "none", "BDAT 4\r\nhalf", fin},
		{"DATA, TLS, good-bye", "starttls", "DATA\r\nSubject: x\r\n\r\nhalf", goodbye},
		{"BDAT, TLS, good-bye", "starttls", "BDAT 100 LAST\r\nSubject: x\r\n\r\nhalf", goodbye},
		{"BDAT, TLS, FIN", "starttls", "BDAT 100 LAST\r\nSubject: x\r\n\r\nhalf", fin},
		{"BDAT, implicit TLS, good-bye", "implicit", "BDAT 100 LAST\r\nSubject: x\r\n\r\nhalf", goodbye},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := &intake{}
			conf := config(t, in)
			conf.Listeners[0].TLS, conf.GetCertificate = tt.tls, id.get
			s := start(t, conf)
			c := dialTLS(t, s, tt.tls, id)
			c.do("MAIL FROM:<a@example.com>", "250")
			c.do("RCPT TO:<b@example.net>", "250")
			c.send(tt.send)
			tt.leave(c)
			_, _ = io.Copy(io.Discard, c.r) // until the server has closed
			if err := s.Shutdown(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := in.taken(); len(got) > 0 {
				t.Errorf("taken: %+v", got)
			}
		})
	}
}

func rawConn(c *client) *net.TCPConn {
	if tc, ok := c.conn.(*tls.Conn); ok {
		return tc.NetConn().(*net.TCPConn)
	}
	return c.conn.(*net.TCPConn)
}

// dialTLS connects as the listener wants it and says EHLO.
func dialTLS(t testing.TB, s *smtpd.Server, mode string, id identity) *client {
	t.Helper()
	c := dial(t, s.Addrs()[0], "")
	if mode == "implicit" {
		c.startTLS(id)
	}
	c.want("220")
	if mode == "starttls" {
		c.do("EHLO x", "250")
		c.do("STARTTLS", "220")
		c.startTLS(id)
	}
	c.do("EHLO x", "250")
	return c
}

// TestAWholeChunkIsTakenThoughMoreIsPipelined: the next mail, QUIT, and the
// client's good-bye, all before the first reply. Exim does so.
func TestAWholeChunkIsTakenThoughMoreIsPipelined(t *testing.T) {
	id := newIdentity(t)
	for _, mode := range []string{"none", "starttls", "implicit"} {
		for _, lines := range []int{3, 1000} {
			t.Run(fmt.Sprintf("%s, %d lines", mode, lines), func(t *testing.T) {
				in := &intake{}
				conf := config(t, in)
				conf.Listeners[0].TLS, conf.GetCertificate = mode, id.get
				c := dialTLS(t, start(t, conf), mode, id)
				text := strings.Repeat("0123456789abcd\r\n", lines)
				mail := fmt.Sprintf("MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.net>\r\nBDAT 16\r\n%sBDAT %d LAST\r\n%s", text[:16], len(text)-16, text[16:])
				c.send(mail + mail + "QUIT\r\n")
				if tc, ok := c.conn.(*tls.Conn); ok {
					_ = tc.CloseWrite()
				}
				_ = rawConn(c).CloseWrite()
				for range 2 {
					c.want("250")
					c.want("250")
					c.want("250 2.0.0 Continue")
					c.want("250 2.0.0 queued")
				}
				c.want("221")
				if got := in.taken(); len(got) != 2 || afterTrace(t, got[0]) != text || afterTrace(t, got[1]) != text {
					t.Errorf("%d mails were taken, or not as they were sent", len(got))
				}
			})
		}
	}
}

// TestShutdownTellsIdleClients, in the clear, in TLS, and before EHLO; one in the
// middle of a TLS handshake is just closed.
func TestShutdownTellsIdleClients(t *testing.T) {
	id := newIdentity(t)
	conf := config(t, &intake{})
	conf.GetCertificate = id.get
	plain := conf.Listeners[0]
	plain.TLS = "starttls"
	implicit := plain
	implicit.TLS = "implicit"
	conf.Listeners = []smtpd.Listener{plain, implicit}
	s := start(t, conf)
	greeted := dial(t, s.Addrs()[0], "")
	greeted.want("220")
	helloed := hello(t, s)
	upgraded := dialTLS(t, s, "starttls", id)
	silent := dial(t, s.Addrs()[1], "")
	between := hello(t, s)
	begin(between)
	between.send("Subject: x\r\n\r\n.\r\n")
	between.want("250")

	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*client{greeted, helloed, upgraded, between} {
		c.want("421 4.3.2 gw.example.com is shutting down")
		c.ends()
	}
	silent.ends()
	if _, err := net.Dial("tcp", s.Addrs()[0].String()); err == nil {
		t.Error("the listener is still open")
	}
	if err := s.Shutdown(t.Context()); err == nil {
		t.Error("a second Shutdown says nothing")
	}
}

// TestShutdownWaitsForAMailThatArrives and tells that client afterwards.
func TestShutdownWaitsForAMailThatArrives(t *testing.T) {
	in := &intake{arriving: make(chan struct{}, 1)}
	s := start(t, config(t, in))
	idle, busy := hello(t, s), hello(t, s)
	begin(busy)
	busy.send("Subject: x\r\n\r\n")
	<-in.arriving
	down := make(chan error, 1)
	go func() { down <- s.Shutdown(context.Background()) }()
	idle.want("421")
	idle.ends()
	busy.send("text\r\n.\r\n")
	busy.want("250 2.0.0 queued")
	busy.want("421 4.3.2")
	busy.ends()
	if err := <-down; err != nil {
		t.Fatal(err)
	}
	if n := len(in.taken()); n != 1 {
		t.Errorf("%d mails were taken", n)
	}
}

// TestShutdownCutsWhatIsBusyTooLong, also within BDAT, and waits for the intake.
func TestShutdownCutsWhatIsBusyTooLong(t *testing.T) {
	for _, command := range []string{"DATA\r\n", "BDAT 10\r\n0123456789", "BDAT 10\r\n01234"} {
		t.Run(command, func(t *testing.T) {
			in := &intake{arriving: make(chan struct{}, 1)}
			s := start(t, config(t, in))
			c := hello(t, s)
			c.do("MAIL FROM:<a@example.com>", "250")
			c.do("RCPT TO:<b@example.net>", "250")
			c.send(command)
			<-in.arriving
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			err := s.Shutdown(ctx)
			if err == nil || !strings.HasPrefix(err.Error(), "1 SMTP sessions were cut") {
				t.Errorf("Shutdown says %v", err)
			}
			if len(in.taken()) > 0 {
				t.Error("half a mail was taken")
			}
		})
	}
}

// TestShutdownEndsTheWaitAfterAWrongPassword.
func TestShutdownEndsTheWaitAfterAWrongPassword(t *testing.T) {
	conf := config(t, &intake{})
	conf.Listeners[0].InsecureAuth = true
	conf.AuthDelay = time.Hour
	logged := make(signal, 1)
	conf.Log = slog.New(slog.NewTextHandler(logged, nil))
	s := start(t, conf)
	c := hello(t, s)
	c.do("AUTH LOGIN", "334")
	c.send("eA==\r\n")
	c.want("334")
	c.send("eA==\r\n")
	<-logged // the failure; the pause comes after it
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.want("535")
	c.want("421 4.3.2")
	c.ends()
}

// signal gets a value for a log line.
type signal chan struct{}

func (s signal) Write(p []byte) (int, error) {
	select {
	case s <- struct{}{}:
	default:
	}
	return len(p), nil
}
