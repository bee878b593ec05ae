package smtpd_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"postern/mail"
	"postern/smtpd"
)

// open makes two services public, with bounds: small@ and large@example.org.
func open(c *smtpd.Config) {
	small := &smtpd.Service{Name: "small", MaxBytes: 2000, PerClient: 3, PerMinute: 5}
	large := &smtpd.Service{Name: "large", MaxBytes: 50000, PerClient: 3, PerMinute: 5}
	c.Public = func(_ *mail.Submitter, _, to mail.Address) *smtpd.Service {
		return map[string]*smtpd.Service{"small@example.org": small, "large@example.org": large}[to.Key()]
	}
	c.ReadTimeout = time.Hour
}

func octets(n int) string {
	return strings.Repeat(strings.Repeat("x", 98)+"\r\n", n/100)
}

// A mail has the smallest bound of its recipients: by the size that MAIL announces
// it is that recipient alone who is refused, by its octets all of it.
func TestAServiceBoundsTheSizeOfItsMail(t *testing.T) {
	in := &intake{}
	overPipes(t, func(c *smtpd.Config) { open(c); c.Intake = in }, func(t *testing.T, p *pipes) {
		c := greeted(t, p, "198.51.100.1:1000")
		c.do("MAIL FROM:<a@example.net> SIZE=2001", "250")
		c.do("RCPT TO:<small@example.org>", "552 5.3.4 mail to small@example.org may have 2000 octets, and this one is larger")
		c.do("RCPT TO:<large@example.org>", "250")
		c.do("DATA", "354")
		c.send(octets(50000) + ".\r\n")
		c.want("250")
		c.do("MAIL FROM:<a@example.net> SIZE=50001", "250")
		c.do("RCPT TO:<large@example.org>", "552 5.3.4 mail to large@example.org")
		c.do("RSET", "250")
		c.do("MAIL FROM:<a@example.net>", "250")
		c.do("RCPT TO:<large@example.org>", "250")
		c.do("RCPT TO:<small@example.org>", "250")
		c.do("RCPT TO:<large@example.org>", "250")
		c.do("DATA", "354")
		c.send(octets(2100) + ".\r\n")
		c.want("552 5.3.4 mail to small@example.org may have 2000 octets, and this one is larger")
		c.do("MAIL FROM:<a@example.net>", "250") // a bound ends with its mail
		c.do("RCPT TO:<small@example.org>", "250")
		c.do("DATA", "354")
		c.send(octets(2000) + ".\r\n")
		c.want("250")
		pass(2 * time.Minute)
		c.do("MAIL FROM:<a@example.net>", "250")
		c.do("RCPT TO:<small@example.org>", "250")
		c.send("BDAT 2100 LAST\r\n" + octets(2100))
		c.want("552 5.3.4 mail to small@example.org")
	})
	if n := len(in.taken()); n != 2 {
		t.Errorf("%d mails were taken", n)
	}
}

// The intake never sees more than the bound, whatever else the client sends.
func TestWhatIsBeyondTheBoundIsNotHandedOn(t *testing.T) {
	seen := make(chan int64, 1)
	in := &intake{onAccept: func(_ context.Context, body io.Reader) error {
		n, err := io.Copy(io.Discard, body)
		seen <- n
		return err
	}}
	overPipes(t, func(c *smtpd.Config) { open(c); c.Intake, c.MaxMessageBytes = in, 64<<20 }, func(t *testing.T, p *pipes) {
		c := greeted(t, p, "198.51.100.1:1000")
		c.do("MAIL FROM:<a@example.net>", "250")
		c.do("RCPT TO:<small@example.org>", "250")
		c.do("DATA", "354")
		c.send(octets(5<<20) + ".\r\n")
		c.want("552 5.3.4")
		if n := <-seen; n > 2000+500 { // our Received field
			t.Errorf("the intake was given %d octets", n)
		}
	})
}

// The bounds hold for a network with rights too, and not beside the services.
func TestAServiceBoundsItsRate(t *testing.T) {
	change := func(c *smtpd.Config) {
		open(c)
		c.Networks = []smtpd.Network{{CIDR: netip.MustParsePrefix("192.0.2.0/24"), SendAs: []string{"*"}, Relay: true}}
	}
	overPipes(t, change, func(t *testing.T, p *pipes) {
		c := greeted(t, p, "192.0.2.1:1000")
		ask := func(c *client, to, want string) {
			t.Helper()
			c.do("MAIL FROM:<a@example.com>", "250")
			c.do("RCPT TO:<"+to+">", want)
			c.do("RSET", "250") // what is taken back has been asked for all the same
		}
		for range 3 {
			ask(c, "small@example.org", "250")
		}
		ask(c, "small@example.org", "450 4.7.1 small@example.org takes 3 mails a minute from one client, and has taken them from 192.0.2.1; send the next in ")
		ask(c, "large@example.org", "250")
		ask(c, "b@example.net", "250")
		ask(greeted(t, p, "192.0.2.1:1001"), "small@example.org", "450")
		six := greeted(t, p, "[2001:db8::1]:1000")
		ask(six, "small@example.org", "250")
		ask(greeted(t, p, "[2001:db8::2]:1000"), "small@example.org", "250")
		ask(greeted(t, p, "[2001:db8:1::2]:1000"), "small@example.org", "450 4.7.1 small@example.org takes 5 mails a minute from all clients together, and has taken them; send yours again in ")
		pass(time.Minute + 20*time.Second)
		ask(c, "small@example.org", "250")
		ask(six, "small@example.org", "250")
	})
}

// A recipient that the intake refuses costs nothing.
func TestARefusedRecipientOfAServiceIsNotCounted(t *testing.T) {
	in := &intake{refusals: map[string]error{"small": mail.Refuse(550, "5.1.1", "not now")}}
	overPipes(t, func(c *smtpd.Config) { open(c); c.Intake = in }, func(t *testing.T, p *pipes) {
		c := greeted(t, p, "198.51.100.1:1000")
		c.do("MAIL FROM:<a@example.net>", "250")
		for range 10 {
			c.do("RCPT TO:<small@example.org>", "550 5.1.1")
		}
	})
}

// At given times: in no minute more than the bound, the whole of it again after a
// minute and a slot, one client does not use up what is another's, and of however
// many clients no more are remembered than can count.
func TestVisitsAtGivenTimes(t *testing.T) {
	begin := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	svc := &smtpd.Service{Name: "x", PerClient: 60, PerMinute: 600}
	v := smtpd.NewServices()
	var taken []time.Time
	for i := range 400 { // a visit each second
		now := begin.Add(time.Duration(i) * time.Second / 2)
		err := v.Take(svc, "192.0.2.1", now)
		if err == nil {
			taken = append(taken, now)
		}
		var e *mail.Error
		if err != nil && (!errors.As(err, &e) || e.RetryAfter <= 0 || e.RetryAfter > 70*time.Second) {
			t.Fatalf("refused with %v", err)
		}
		recent := 0
		for _, at := range taken {
			if now.Sub(at) < time.Minute {
				recent++
			}
		}
		if recent > 60 {
			t.Fatalf("at %s %d visits within a minute", now, recent)
		}
	}
	if len(taken) < 150 {
		t.Errorf("%d visits of 400 were taken in 200 seconds", len(taken))
	}
	later := begin.Add(time.Hour)
	n := 0
	for i := range 5000 {
		if v.Take(svc, fmt.Sprintf("198.51.%d.%d", i/250, i%250), later) == nil {
			n++
		}
	}
	if n != 600 || v.Remembered(svc) > 600 {
		t.Errorf("%d of 5000 clients were taken and %d are remembered, of 600", n, v.Remembered(svc))
	}
	if err := v.Take(svc, "192.0.2.1", later.Add(71*time.Second)); err != nil {
		t.Errorf("after a minute and a slot: %v", err)
	}
}
