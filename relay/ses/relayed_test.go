package ses_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/mail"
	"postern/relay"
	"postern/relay/ses"
	"postern/relay/ses/sesfake"
	"postern/spool"
)

// sending is a message of a list on its way through the real spool, the real relay and
// the real sender. Retries and what is uncertain wait for an hour, so that a test sees
// what became of the first attempts.
type sending struct {
	t     *testing.T
	spool *spool.Spool
	relay *relay.Relay
	id    mail.ID
}

func sendThrough(t *testing.T, endpoint string, copies int) *sending {
	t.Helper()
	s, err := spool.Open(t.TempDir(), spool.Options{LaneOf: func(*mail.Message) string { return "lane" }})
	if err != nil {
		t.Fatal(err)
	}
	r, err := relay.New(relay.Config{
		Spool: s,
		// One at a time: the script's first answer is the first copy's.
		Lanes: []relay.LaneConfig{{Name: "lane", Driver: "ses", Concurrency: 1,
			Sender: sender(t, endpoint, func(c *ses.Config) { c.Timeout, c.ConfigurationSet = 500*time.Millisecond, "events" })}},
		Render: func(_ *mail.Message, c *mail.Copy) (mail.Content, error) {
			return mail.Content{Header: []byte("From: a@example.com\r\nTo: " + string(c.To) + "\r\nSubject: x\r\n"), Body: [][]byte{[]byte("hello\r\n")}}, nil
		},
		Blocked:  func(mail.Address, string) (mail.State, string, bool) { return 0, "", false },
		Lists:    relay.Schedule{Interval: time.Hour, Backoff: 2, Retries: 3},
		Unknowns: relay.Unknowns{Resend: true, Wait: time.Hour},
	})
	if err != nil {
		t.Fatal(err)
	}
	g := &sending{t: t, spool: s, relay: r}
	t.Cleanup(g.close)
	g.submit(copies)
	r.Start()
	return g
}

func (g *sending) close() {
	if err := g.relay.Stop(context.Background()); err != nil {
		g.t.Error(err)
	}
	if problems, err := g.spool.Check(context.Background(), nil); err != nil || len(problems) > 0 {
		g.t.Error(problems, err)
	}
	if err := g.spool.Close(); err != nil {
		g.t.Error(err)
	}
}

func (g *sending) submit(copies int) {
	g.t.Helper()
	b, err := g.spool.NewBody()
	if err != nil {
		g.t.Fatal(err)
	}
	defer b.Discard()
	if _, err := b.Write([]byte("x")); err != nil {
		g.t.Fatal(err)
	}
	m := mail.Message{ID: mail.NewID(time.Now()), State: mail.Sending, AcceptedAt: time.Now(), Priority: mail.Bulk, List: &mail.ListPolicy{ID: "promo"}}
	var cs []mail.Copy
	for i := range copies {
		cs = append(cs, mail.Copy{To: mail.Address(fmt.Sprintf("user%d@example.net", i))})
	}
	if err := g.spool.Accept(g.t.Context(), b, []spool.Accepted{{Message: m, Copies: cs}}); err != nil {
		g.t.Fatal(err)
	}
	g.id = m.ID
}

// until asks until something is so; what it says last is shown when it never is.
func (g *sending) until(what string, is func() (string, bool)) {
	g.t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	for {
		last, yes := is()
		if yes {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			g.t.Fatalf("not %s in time: %s", what, last)
		}
	}
}

func (g *sending) message() spool.Summary {
	g.t.Helper()
	m, err := g.spool.Message(g.id)
	if err != nil {
		g.t.Fatal(err)
	}
	return m
}

func (g *sending) copies() []mail.Copy {
	g.t.Helper()
	cs, err := g.spool.Copies(g.id, 0, 100)
	if err != nil {
		g.t.Fatal(err)
	}
	return cs
}

// outcome is what an answer to the first of three copies makes of things.
type outcome struct {
	copy     mail.State // of the first copy
	attempts int
	others   mail.State // of the other two
	lane     string     // its state
	class    mail.Class // of its pause
	message  mail.MessageState
	taken    int // what SES has accepted
}

// What was sent, what costs an attempt, what stops a lane and what stops a message.
func passes() outcome { return outcome{mail.Sent, 1, mail.Sent, "running", 0, mail.Done, 3} }

func slows() outcome { return outcome{mail.Sent, 1, mail.Sent, "slowed", 0, mail.Done, 3} }

func retries() outcome {
	return outcome{mail.Deferred, 1, mail.Sent, "running", 0, mail.Sending, 2}
}

func fails() outcome { return outcome{mail.CopyFailed, 1, mail.Sent, "running", 0, mail.Done, 2} }

func uncertain(taken int) outcome {
	return outcome{mail.Unknown, 1, mail.Sent, "running", 0, mail.Sending, 2 + taken}
}

func stopsLane(class mail.Class) outcome {
	return outcome{mail.Queued, 0, mail.Queued, "paused", class, mail.Sending, 0}
}

func stopsMessage() outcome {
	return outcome{mail.Queued, 0, mail.Queued, "running", 0, mail.Paused, 0}
}

// TestWhatEachErrorOfSESDoes is the table of errors, from the answer to what becomes of
// copy, attempts, lane and message; and then that nobody is left out, nor sent to
// twice, when the reason is gone.
func TestWhatEachErrorOfSESDoes(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer sesfake.Answer
		want   outcome
		says   string // of the pause, or else the copy
	}{
		{"no error", sesfake.Accept(), passes(), ""},
		{"TooManyRequestsException, rate", sesfake.RateExceeded(), slows(), ""},
		{"ThrottlingException, rate", sesfake.Throttling(), slows(), ""},
		{"TooManyRequestsException, quota", sesfake.QuotaExceeded(), stopsLane(mail.QuotaSpent), "Daily message quota exceeded."},
		{"LimitExceededException", sesfake.LimitExceeded(), retries(), "too many instances"},
		{"AccountSuspendedException", sesfake.AccountSuspended(), stopsLane(mail.AccountWide), "permanently restricted"},
		{"SendingPausedException", sesfake.SendingPaused(), stopsLane(mail.AccountWide), "Sending paused for this account"},
		{"MailFromDomainNotVerifiedException", sesfake.MailFromDomainNotVerified(), stopsMessage(), "MX record"},
		{"NotFoundException", sesfake.NoConfigurationSet("events"), stopsMessage(), "Configuration set <events> does not exist."},
		{"MessageRejected, identity", sesfake.NotVerified("ap-northeast-2", "a@example.com"), stopsMessage(), "AP-NORTHEAST-2: a@example.com"},
		{"MessageRejected, the copy", sesfake.MessageRejected("Transaction failed: virus"), fails(), "Transaction failed: virus"},
		{"BadRequestException", sesfake.BadRequest("Illegal filename 'a.exe'."), fails(), "Illegal filename 'a.exe'."},
		{"ExpiredTokenException", sesfake.ExpiredToken(), stopsLane(mail.AccountWide), "is expired"},
		{"AccessDeniedException", sesfake.AccessDenied(), stopsLane(mail.AccountWide), "is not authorized to perform: ses:SendEmail"},
		{"SignatureDoesNotMatch", sesfake.BadSignature(), stopsLane(mail.AccountWide), "does not match the signature"},
		{"UnrecognizedClientException", sesfake.UnknownKey(), stopsLane(mail.AccountWide), "is invalid"},
		{"500 after it took the copy", sesfake.FailAfterAccept(500), uncertain(1), "may have been sent"},
		{"503 after it took the copy", sesfake.FailAfterAccept(503), uncertain(1), "may have been sent"},
		{"502 of a proxy", sesfake.Garble(502, "<html>bad gateway</html>"), uncertain(0), "may have been sent"},
		{"200 that cannot be read", sesfake.Garble(200, "<html>hello</html>"), uncertain(1), "probably sent"},
		{"reset after it took the copy", sesfake.ResetAfterAccept(), uncertain(1), "may have been sent"},
		{"silence after it took the copy", sesfake.SilentAfterAccept(), uncertain(1), "no answer in time"},
		{"an answer that comes too late", sesfake.Accept().After(time.Minute), uncertain(1), "no answer in time"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, url := fake(t, c.answer)
			g := sendThrough(t, url, 3)
			g.becomes(c.want, c.says)
			if n := f.Count().Accepted; n != c.want.taken {
				t.Errorf("SES has %d, want %d", n, c.want.taken)
			}
			g.mend(c.want)
			g.allSent(f, c.want)
		})
	}
}

// becomes waits until copies, lane and message are as they should be.
func (g *sending) becomes(want outcome, says string) {
	g.t.Helper()
	g.until(fmt.Sprintf("%+v", want), func() (string, bool) {
		m, cs, lane := g.message(), g.copies(), g.relay.Lanes()[0]
		got := outcome{cs[0].State, cs[0].Attempts, cs[1].State, lane.State, lane.Class, m.State, want.taken}
		if cs[2].State != cs[1].State {
			got.others = cs[2].State
		}
		words := cs[0].LastError
		switch {
		case want.lane == "paused":
			words = lane.Reason
		case want.message == mail.Paused:
			words = m.Reason
		}
		return fmt.Sprintf("%+v, %q", got, words), got == want && strings.Contains(words, says) && lane.InFlight == 0
	})
}

// mend is what a person does, or an event, when the reason is gone.
func (g *sending) mend(was outcome) {
	g.t.Helper()
	var err error
	switch {
	case was.lane == "paused":
		err = g.relay.ResumeLane(g.t.Context(), "lane")
	case was.message == mail.Paused:
		err = g.spool.Resume(g.t.Context(), g.id)
	case was.copy == mail.Unknown && was.taken == 3: // its event comes
		_, err = g.spool.Observe(g.t.Context(), []spool.Observation{{Message: g.id, Seq: g.copies()[0].Seq, UpstreamID: "0100fake", At: time.Now()}})
	case was.copy == mail.Unknown, was.copy == mail.CopyFailed:
		_, err = g.spool.Retry(g.t.Context(), g.id, g.copies()[0].To)
	}
	if err != nil {
		g.t.Fatal(err)
	}
}

func (g *sending) allSent(f *sesfake.Fake, was outcome) {
	g.t.Helper()
	if was.copy == mail.Deferred {
		return // for an hour
	}
	g.until("all sent", func() (string, bool) {
		m := g.message()
		return fmt.Sprint(m.State, m.Counts), m.State == mail.Done && m.Counts[mail.Sent] == 3
	})
	var got []string
	for _, m := range f.Mails() {
		got = append(got, m.To...)
	}
	slices.Sort(got)
	if want := []string{"user0@example.net", "user1@example.net", "user2@example.net"}; !slices.Equal(got, want) {
		g.t.Errorf("SES has mails to %q", got)
	}
}

// TestWhatIsRefusedOfEveryCopyStopsTheMessage: the first ten, and nobody else.
func TestWhatIsRefusedOfEveryCopyStopsTheMessage(t *testing.T) {
	f, url := fake(t, slices.Repeat([]sesfake.Answer{sesfake.BadRequest("Illegal filename 'a.exe'.")}, 20)...)
	g := sendThrough(t, url, 20)
	g.until("paused", func() (string, bool) {
		m := g.message()
		return fmt.Sprint(m.State, m.Counts), m.State == mail.Paused && m.Counts[mail.InFlight] == 0
	})
	if m := g.message(); m.Counts[mail.CopyFailed] != 10 || m.Counts[mail.Queued] != 10 || f.Requests() != 10 || !strings.Contains(m.Reason, "Illegal filename 'a.exe'.") {
		t.Errorf("%v after %d requests: %s", m.Counts, f.Requests(), m.Reason)
	}
}

// TestWhereSESIsNotReachedNothingWasSent, and so nothing is spent and nothing uncertain.
func TestWhereSESIsNotReachedNothingWasSent(t *testing.T) {
	for name, c := range map[string]struct {
		endpoint func(t *testing.T, f *sesfake.Fake) string
		says     string
	}{
		"refused connection": {func(t *testing.T, _ *sesfake.Fake) string {
			l := listen(t)
			l.Close()
			return "http://" + l.Addr().String()
		}, "connection refused"},
		"a name that does not resolve": {func(*testing.T, *sesfake.Fake) string { return "http://no-such-host.invalid" }, "does not resolve"},
		"a certificate that nobody trusts": {func(t *testing.T, f *sesfake.Fake) string {
			srv := httptest.NewUnstartedServer(f)
			srv.Config.ErrorLog = log.New(io.Discard, "", 0) // it says that clients break off
			srv.StartTLS()
			t.Cleanup(srv.Close)
			return srv.URL
		}, "certificate signed by unknown authority"},
		"a handshake that is cut": {func(t *testing.T, _ *sesfake.Fake) string {
			l := listen(t)
			done := make(chan struct{})
			go func() { sesfake.HangUp(l); close(done) }()
			t.Cleanup(func() { l.Close(); <-done })
			return "https://" + l.Addr().String()
		}, "cannot be reached"},
	} {
		t.Run(name, func(t *testing.T) {
			f := &sesfake.Fake{}
			g := sendThrough(t, c.endpoint(t, f), 3)
			g.becomes(stopsLane(mail.Unreachable), c.says)
			if n := f.Count().Requests; n != 0 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestAnAccountsTroublesEndWhenTheyAreOver: each as a state of the account and not as
// single answers, one after the other.
func TestAnAccountsTroublesEndWhenTheyAreOver(t *testing.T) {
	for name, c := range map[string]struct {
		begin, end func(*sesfake.Fake)
		want       outcome
	}{
		"quota": {func(f *sesfake.Fake) { f.Quota(1, time.Hour) }, func(f *sesfake.Fake) { f.Quota(0, 0) },
			outcome{mail.Sent, 1, mail.Queued, "paused", mail.QuotaSpent, mail.Sending, 1}},
		"credential": {func(f *sesfake.Fake) { f.SetCredentialExpired(true) }, func(f *sesfake.Fake) { f.SetCredentialExpired(false) },
			stopsLane(mail.AccountWide)},
		"identity": {func(f *sesfake.Fake) { f.Verify("ap-northeast-2", "example.org") }, func(f *sesfake.Fake) { f.Verify("ap-northeast-2", "example.com") },
			stopsMessage()},
	} {
		t.Run(name, func(t *testing.T) {
			f, url := fake(t)
			c.begin(f)
			g := sendThrough(t, url, 3)
			g.becomes(c.want, "")
			c.end(f)
			g.mend(c.want)
			g.allSent(f, c.want)
			for _, copied := range g.copies() {
				if copied.Attempts != 1 {
					t.Errorf("%+v", copied)
				}
			}
		})
	}
}

// TestARateLimitIsKeptWithoutLoss: many copies, few a second.
func TestARateLimitIsKeptWithoutLoss(t *testing.T) {
	f, url := fake(t)
	f.RateLimit(40, 10)
	g := sendThrough(t, url, 60)
	g.until("all sent", func() (string, bool) { m := g.message(); return fmt.Sprint(m.Counts), m.State == mail.Done })
	if c := f.Count(); c.Accepted != 60 || c.Throttled == 0 || c.Requests != 60+c.Throttled {
		t.Errorf("%+v", c)
	}
	for _, c := range g.copies() {
		if c.State != mail.Sent || c.Attempts != 1 {
			t.Errorf("%+v", c)
		}
	}
}
