package main_test

import (
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"postern/mail"
	"postern/relay/ses"
	"postern/relay/ses/sesfake"
)

// sesGateway is the program with SES as its way out, played by a fake.
func sesGateway(t *testing.T, users int, more string) (*gateway, *sesfake.Fake) {
	t.Helper()
	fake := &sesfake.Fake{}
	server := httptest.NewServer(fake)
	t.Cleanup(server.Close)
	g := newGateway(t, more+fmt.Sprintf("\n[[lane]]\nname = \"out\"\ndriver = \"ses\"\n[lane.ses]\nregion = \"ap-northeast-2\"\nendpoint = %q\nconfiguration_set = \"events\"\n", server.URL))
	g.users(users)
	g.serve()
	return g, fake
}

// many repeats an answer.
func many(n int, a sesfake.Answer) []sesfake.Answer { return slices.Repeat([]sesfake.Answer{a}, n) }

// once wants each user to have one mail, and returns them.
func once(t *testing.T, fake *sesfake.Fake, users int) []sesfake.Mail {
	t.Helper()
	got := map[string]int{}
	for _, m := range fake.Mails() {
		if len(m.To) != 1 || len(m.Cc)+len(m.Bcc) != 0 {
			t.Errorf("Destination To %v, Cc %v, Bcc %v", m.To, m.Cc, m.Bcc)
			continue
		}
		got[m.To[0]]++
	}
	for to, n := range got {
		if n != 1 {
			t.Errorf("%s got %d", to, n)
		}
	}
	if len(got) != users {
		t.Errorf("%d of %d got a mail", len(got), users)
	}
	return fake.Mails()
}

func TestSESGetsEveryCopyOnce(t *testing.T) {
	const users = 500
	g, fake := sesGateway(t, users, "")
	g.mustSubmit("promo@lists.example.com", hello)
	g.settled("done")
	mails := once(t, fake, users)
	s := g.show(g.messages()[0].ID)
	raws, ids := make([][]byte, len(mails)), map[string]bool{}
	for i, m := range mails {
		raws[i] = m.Raw
		id, _, err := mail.ParseTag(m.Tags[ses.TagName])
		if err != nil || string(id) != s.ID || ids[m.Tags[ses.TagName]] || len(m.Tags) != 1 {
			t.Errorf("tags %v of message %s: %v", m.Tags, s.ID, err)
		}
		ids[m.Tags[ses.TagName]] = true
		if m.ConfigurationSet != "events" || m.ClickTracking != "DISABLED" || m.OpenTracking != "DISABLED" {
			t.Errorf("%s: configuration set %q, tracking %q %q", m.To, m.ConfigurationSet, m.ClickTracking, m.OpenTracking)
		}
		if c := s.row(t, m.To[0]); c.UpstreamID != m.ID || c.Attempts != 1 {
			t.Errorf("%+v, and SES answered %s", c, m.ID)
		}
	}
	for i, p := range g.read(raws) {
		if p.To[0] != mails[i].To[0] {
			t.Errorf("To says %s, Destination %s", p.To[0], mails[i].To[0])
		}
	}
	g.stop()
}

// Throttles spend no attempt, lose nothing, double nothing.
func TestSESThrottlesMidway(t *testing.T) {
	const users, throttles = 500, 15
	g, fake := sesGateway(t, users, "")
	fake.Then(slices.Concat(many(200, sesfake.Accept()), many(throttles, sesfake.RateExceeded()))...)
	g.mustSubmit("promo@lists.example.com", hello)
	g.settled("done")
	once(t, fake, users)
	for _, c := range g.show(g.messages()[0].ID).Recipients {
		if c.Attempts != 1 || c.State != "sent" || c.LastError != "" {
			t.Errorf("%+v", c)
		}
	}
	if n := fake.Requests(); n != users+throttles {
		t.Errorf("%d requests for %d copies and %d throttles", n, users, throttles)
	}
	g.stop()
}

// What concerns the account pauses the lane, and says why where people look. A
// restart tries at once.
func TestSESRefusesTheAccount(t *testing.T) {
	const users = 40
	for name, c := range map[string]struct {
		answer sesfake.Answer
		want   string
	}{
		"quota":      {sesfake.QuotaExceeded(), "Daily message quota exceeded"},
		"credential": {sesfake.ExpiredToken(), "security token included in the request is expired"},
		"suspended":  {sesfake.AccountSuspended(), "permanently restricted"},
	} {
		t.Run(name, func(t *testing.T) {
			g, fake := sesGateway(t, users, "")
			fake.Then(slices.Concat(many(5, sesfake.Accept()), many(users, c.answer))...)
			g.mustSubmit("promo@lists.example.com", hello)
			g.laneSays(c.want)
			m := g.messages()[0]
			if m.State != "sending" && m.State != "expanding" || m.Copies["failed"] != 0 {
				t.Errorf("%s %v", m.State, m.Copies)
			}
			if out := g.run("queue", "show", m.ID); !strings.Contains(out, c.want) {
				t.Errorf("queue show does not say why nothing goes: %s", out)
			}
			g.stop()
			fake.Clear()
			g.serve()
			g.settled("done")
			once(t, fake, users)
			for _, c := range g.show(m.ID).Recipients {
				if c.Attempts != 1 {
					t.Errorf("%+v", c)
				}
			}
			g.stop()
		})
	}
}

// A copy whose outcome nobody knows is sent again after the wait, or held.
func TestSESFailsAfterItTookTheCopy(t *testing.T) {
	const users = 10
	unsure := []sesfake.Answer{sesfake.Accept(), sesfake.FailAfterAccept(500), sesfake.ResetAfterAccept(), sesfake.Garble(503, "<html>bad gateway</html>")}
	t.Run("resend", func(t *testing.T) {
		g, fake := sesGateway(t, users, "[relay]\nuncertain_wait = \"1s\"\n")
		fake.Then(unsure...)
		g.mustSubmit("promo@lists.example.com", hello)
		g.settled("done")
		if m := g.messages()[0]; m.Copies["sent"] != users {
			t.Errorf("%v", m.Copies)
		}
		got, tags := map[string]int{}, map[string]string{}
		for _, m := range fake.Mails() {
			got[m.To[0]]++
			if tag := m.Tags[ses.TagName]; tags[m.To[0]] != "" && tags[m.To[0]] != tag {
				t.Errorf("two attempts with two tags: %s, %s", tags[m.To[0]], tag)
			}
			tags[m.To[0]] = m.Tags[ses.TagName]
		}
		if len(got) != users || len(fake.Mails()) != users+2 || fake.Requests() != users+3 {
			t.Errorf("%d people, %d mails, %d requests", len(got), len(fake.Mails()), fake.Requests())
		}
		g.stop()
	})
	t.Run("hold", func(t *testing.T) {
		g, fake := sesGateway(t, users, "[relay]\nuncertain = \"hold\"\n")
		fake.Then(unsure...)
		g.mustSubmit("promo@lists.example.com", hello)
		var m message
		g.wait("all tried", func() (string, bool) {
			m = g.messages()[0]
			return fmt.Sprint(m.Copies), m.Copies["sent"]+m.Copies["uncertain"] == users
		})
		if m.Copies["uncertain"] != 3 || m.State != "sending" {
			t.Errorf("%s %v", m.State, m.Copies)
		}
		var states []string
		for _, c := range g.show(m.ID).Recipients {
			if c.State == "uncertain" {
				states = append(states, c.LastError)
			}
		}
		for _, s := range states {
			if !strings.Contains(s, "may have been sent") {
				t.Errorf("an uncertain copy says %q", s)
			}
		}
		if n := fake.Requests(); n != users {
			t.Errorf("%d requests", n)
		}
		if out := g.run("queue", "retry", m.ID); !strings.Contains(out, "3 copies") {
			t.Error(out)
		}
		g.settled("done")
		g.stop()
	})
}

func TestSESRejectsACopy(t *testing.T) {
	const users = 10
	g, fake := sesGateway(t, users, "")
	fake.Then(sesfake.Accept(), sesfake.MessageRejected("Email address contains a virus."))
	g.mustSubmit("promo@lists.example.com", hello)
	g.settled("done")
	m := g.messages()[0]
	if m.Copies["sent"] != users-1 || m.Copies["failed"] != 1 || fake.Requests() != users {
		t.Errorf("%v, %d requests", m.Copies, fake.Requests())
	}
	for _, c := range g.show(m.ID).Recipients {
		if c.State == "failed" && (c.LastError != "Email address contains a virus." || c.Attempts != 1) {
			t.Errorf("%+v", c)
		}
	}
	g.stop()
}

// An unverified From concerns every copy of the message, and no other message.
func TestSESDoesNotKnowTheSender(t *testing.T) {
	const users, concurrency = 30, 10
	g, fake := sesGateway(t, users, "")
	fake.Then(many(users, sesfake.NotVerified("ap-northeast-2", "marketer@example.com"))...)
	g.mustSubmit("promo@lists.example.com", hello)
	g.settled("paused")
	m := g.messages()[0]
	for _, want := range []string{"verify the identity in SES", "marketer@example.com"} {
		if !strings.Contains(m.Reason, want) {
			t.Errorf("paused because %q, want %q", m.Reason, want)
		}
	}
	g.wait("nothing under way", func() (string, bool) {
		m = g.messages()[0]
		return fmt.Sprint(m.Copies), m.Copies["sending"] == 0
	})
	if n := fake.Requests(); n > concurrency {
		t.Errorf("%d requests before the message paused", n)
	}
	fake.Clear()
	g.mustSubmit("somebody@example.org", strings.ReplaceAll(hello, "{{Name}}", "you"))
	g.wait("the other is done", func() (string, bool) {
		list := g.messages()
		return fmt.Sprint(list), list[0].State == "paused" && len(list) == 2 && list[1].State == "done"
	})
	g.run("queue", "resume", m.ID)
	g.settled("done")
	once(t, fake, users+1)
	for _, c := range g.show(m.ID).Recipients {
		if c.Attempts != 1 {
			t.Errorf("%+v", c)
		}
	}
	g.stop()
}

// SIGTERM twice in the middle: what has begun ends, nothing is sent twice.
func TestSESAndSIGTERM(t *testing.T) {
	const users = 300
	g, fake := sesGateway(t, users, "")
	g.mustSubmit("promo@lists.example.com", hello)
	for i := range 2 {
		g.wait("under way", func() (string, bool) { n := len(fake.Mails()); return fmt.Sprint(n), n > 50*(i+1) })
		g.stop()
		g.serve()
	}
	g.settled("done")
	mails := once(t, fake, users)
	tags := map[string]bool{}
	for _, m := range mails {
		tags[m.Tags[ses.TagName]] = true
	}
	if len(tags) != users {
		t.Errorf("%d tags", len(tags))
	}
	g.stop()
}
