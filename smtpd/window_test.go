package smtpd_test

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"postern/mail"
	"postern/smtpd"
)

// limited is a network beyond loopback with limits, and its client in a bubble
// where time is free.
func limited(t *testing.T, perMinute, perDay int, in *intake, f func(t *testing.T, c *client, p *pipes)) {
	change := func(c *smtpd.Config) {
		c.Intake, c.ReadTimeout = in, 48*time.Hour
		c.Networks = []smtpd.Network{{CIDR: netip.MustParsePrefix("192.0.2.0/24"), SendAs: []string{"*"}, Relay: true, PerMinute: perMinute, PerDay: perDay}}
	}
	overPipes(t, change, func(t *testing.T, p *pipes) { f(t, greeted(t, p, "192.0.2.1:1000"), p) })
}

func greeted(t *testing.T, p *pipes, from string) *client {
	t.Helper()
	c := use(t, p.dial(from))
	_ = c.conn.SetDeadline(time.Time{})
	c.want("220")
	c.do("EHLO x", "250")
	return c
}

// mailTo sends one mail; want is the last reply.
func (c *client) mailTo(n int, want string) {
	c.t.Helper()
	c.do("MAIL FROM:<a@example.com>", "250")
	for range n {
		c.do("RCPT TO:<b@example.net>", "250")
	}
	c.do("DATA", "354")
	c.send("x: y\r\n.\r\n")
	c.want(want)
}

func pass(d time.Duration) { <-time.After(d) }

// rcpt asks once, in a transaction of its own.
func (c *client) rcpt(want string) {
	c.t.Helper()
	c.do("MAIL FROM:<a@example.com>", "250")
	c.do("RCPT TO:<b@example.net>", want)
	c.do("RSET", "250")
}

// In any 60 seconds no more than the limit, and all of it: a bucket that fills
// drop by drop would let nearly twice as many through.
func TestALimitHoldsInEveryMinute(t *testing.T) {
	limited(t, 3, 0, &intake{}, func(t *testing.T, c *client, _ *pipes) {
		c.mailTo(2, "250")
		pass(30 * time.Second)
		c.mailTo(1, "250")
		c.rcpt("450 4.7.1 network 192.0.2.0/24 may send to 3 recipients a minute (per_minute) and has done so; the next is taken again in 31 seconds")
		pass(29 * time.Second)
		c.rcpt("450")
		pass(3 * time.Second)
		c.mailTo(2, "250")
		c.rcpt("450")
		pass(30 * time.Second)
		c.mailTo(1, "250")
		c.rcpt("450")
		pass(time.Hour)
		c.mailTo(3, "250")
		c.rcpt("450")
	})
}

func TestALimitHoldsInEveryDay(t *testing.T) {
	limited(t, 0, 4, &intake{}, func(t *testing.T, c *client, _ *pipes) {
		c.mailTo(3, "250")
		pass(13 * time.Hour)
		c.mailTo(1, "250")
		c.rcpt("450 4.7.1 network 192.0.2.0/24 may send to 4 recipients a day (per_day) and has done so; the next is taken again in 12 hours")
		pass(10*time.Hour + 50*time.Minute)
		c.rcpt("450 4.7.1 network 192.0.2.0/24 may send to 4 recipients a day (per_day) and has done so; the next is taken again in 11 minutes")
		pass(11 * time.Minute)
		c.mailTo(3, "250")
		c.rcpt("450")
	})
}

// A limit of a network is for all its clients together.
func TestALimitOfANetworkIsShared(t *testing.T) {
	limited(t, 2, 0, &intake{}, func(t *testing.T, c *client, p *pipes) {
		other := greeted(t, p, "192.0.2.99:7")
		c.mailTo(1, "250")
		other.mailTo(1, "250")
		c.rcpt("450")
		other.rcpt("450")
	})
}

// What ends without an accepted mail costs nothing: RSET, a new EHLO, a refusal
// at DATA, a lost connection, a chunk that never comes.
func TestARefusedMailCostsNothing(t *testing.T) {
	no := errors.New("no")
	in := &intake{refusals: map[string]error{"unknown": mail.Refuse(550, "5.1.1", "unknown")}}
	limited(t, 2, 0, in, func(t *testing.T, c *client, p *pipes) {
		begin := func(c *client) {
			t.Helper()
			c.do("MAIL FROM:<a@example.com>", "250")
			c.do("RCPT TO:<b@example.net>", "250")
			c.do("RCPT TO:<unknown@example.net>", "550")
			c.do("RCPT TO:<c@example.net>", "250")
			c.do("RCPT TO:<d@example.net>", "450")
		}
		begin(c)
		c.do("RSET", "250")
		begin(c)
		c.do("EHLO again", "250")
		in.onAccept = func(_ context.Context, r io.Reader) error { _, _ = io.Copy(io.Discard, r); return no }
		begin(c)
		c.do("DATA", "354")
		c.send("x: y\r\n.\r\n")
		c.want("451")
		begin(c)
		c.send("BDAT 6 LAST\r\nx: y\r\n")
		c.want("451")
		cut := greeted(t, p, "192.0.2.3:1")
		begin(cut)
		cut.do("BDAT 6\r\nx: y", "250")
		cut.do("RSET", "250")
		in.onAccept = nil
		gone := greeted(t, p, "192.0.2.2:1")
		begin(gone)
		gone.conn.Close()
		gone = greeted(t, p, "192.0.2.2:2")
		for refused := true; refused; pass(time.Millisecond) { // until the server has noticed
			gone.do("MAIL FROM:<a@example.com>", "250")
			gone.send("RCPT TO:<b@example.net>\r\n")
			refused = strings.HasPrefix(gone.reply(), "450")
			gone.do("RSET", "250")
		}
		begin(gone)
		gone.do("DATA", "354")
		gone.conn.Close()
		pass(2 * time.Second)
		begin(c)
		c.do("DATA", "354")
		c.send("x: y\r\n.\r\n")
		c.want("250")
		c.rcpt("450")
	})
}

// Before a restart is before a restart: what was spent counts on, as long as it
// would have.
func TestWhatWasSpentBeforeTheStartCounts(t *testing.T) {
	change := func(c *smtpd.Config) {
		c.ReadTimeout = 48 * time.Hour
		c.Networks = []smtpd.Network{{CIDR: netip.MustParsePrefix("192.0.2.0/24"), SendAs: []string{"*"}, Relay: true, PerMinute: 100, PerDay: 10}}
	}
	spent := func(s *smtpd.Server, now time.Time) {
		s.Spent("network 192.0.2.0/24", now.Add(-23*time.Hour), 4)
		s.Spent("network 192.0.2.0/24", now.Add(-25*time.Hour), 100)
		s.Spent("network 192.0.2.0/24", now.Add(-300*time.Hour), 100)
		s.Spent("network 192.0.2.0/24", now.Add(-time.Hour), 5)
		s.Spent("nobody at all", now, 5)
	}
	overPipesAfter(t, change, spent, func(t *testing.T, p *pipes) {
		c := greeted(t, p, "192.0.2.1:1000")
		c.mailTo(1, "250")
		c.rcpt("450 4.7.1 network 192.0.2.0/24 may send to 10 recipients a day (per_day) and has done so; the next is taken again in 61 minutes")
		pass(61 * time.Minute)
		c.mailTo(4, "250")
		c.rcpt("450")
	})
}
