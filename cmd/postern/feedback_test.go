package main_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"postern/internal/peer"
	"postern/relay/ses/sesfake"
)

// bounceOf is a report of a mail server about a copy (RFC 3464).
func bounceOf(to, status, words, more string) string {
	return fmt.Sprintf(`From: MAILER-DAEMON@mx.example.net
To: x
Subject: Undelivered Mail
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="b"

--b
Content-Type: text/plain

It did not work.

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.net

Final-Recipient: rfc822; %s
Action: failed
Status: %s
Diagnostic-Code: smtp; %s

--b
Content-Type: text/rfc822-headers

Subject: Hello
%s
--b--
`, to, status, words, more)
}

// complaintOf is a complaint (RFC 5965) about a mail with this header.
func complaintOf(header string) string {
	return "From: fbl@isp.example\nSubject: FW: Hello\nMIME-Version: 1.0\n" +
		"Content-Type: multipart/report; report-type=feedback-report; boundary=\"b\"\n\n--b\nContent-Type: text/plain\n\nSpam.\n\n--b\n" +
		"Content-Type: message/feedback-report\n\nFeedback-Type: abuse\nUser-Agent: FBL/1.0\nVersion: 1\n\n--b\nContent-Type: message/rfc822\n\n" + header + "\n\nbody\n--b--\n"
}

// report sends a report as mail servers do: from nobody.
func (g *gateway) report(to, text string) error {
	c, err := smtp.Dial(g.addr)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.SendMail("", []string{to}, strings.NewReader(strings.ReplaceAll(text, "\n", "\r\n")))
}

// suppressed are the addresses that get nothing, with the kind of each.
func (g *gateway) suppressed() map[string]string {
	g.t.Helper()
	var list []struct{ Address, Kind string }
	if err := json.Unmarshal([]byte(g.run("suppress", "list", "--json")), &list); err != nil {
		g.t.Fatal(err)
	}
	m := map[string]string{}
	for _, s := range list {
		m[s.Address] = s.Kind
	}
	return m
}

// A copy of a list bears a return path of our own. What comes back there proves which copy
// it is about, and only then has an effect.
func TestABounceByMailSuppressesWhoItIsAbout(t *testing.T) {
	r := startRecorder(t)
	g := newGateway(t, smtpLane(r.addr))
	g.users(4)
	g.serve()
	g.mustSubmit("promo@lists.example.com", hello)
	id := g.settled("done")[0].ID
	r.mu.Lock()
	from := map[string]string{}
	mails := map[string]string{}
	for i := range 4 {
		to := fmt.Sprintf("user%04d@example.net", i)
		from[to], mails[to] = r.from[to], string(r.mails[to])
	}
	r.mu.Unlock()
	path := regexp.MustCompile(`^bounces\+[a-z0-9]{26}-[0-9a-z]+-[a-z2-7]{16}@lists\.example\.com$`)
	for to, f := range from {
		if !path.MatchString(f) {
			t.Errorf("the return path for %s is %q", to, f)
		}
	}

	// Somebody who had a copy knows their own code, and nobody else's.
	own := from["user0000@example.net"]
	forged := strings.Replace(own, regexp.MustCompile(`-([0-9a-z]+)-`).FindStringSubmatch(own)[1], "4", 1)
	noMark := own[:strings.LastIndex(own, "-")] + "@lists.example.com"
	tag := regexp.MustCompile(`(?m)^Message-ID: <([^@>]+)@`).FindStringSubmatch(mails["user0003@example.net"])[1]
	for name, to := range map[string]string{"another copy's number": forged, "no mark": noMark, "made up": "bounces+" + strings.ToLower(tag) + "-aaaaaaaaaaaaaaaa@lists.example.com"} {
		_ = g.report(to, bounceOf("user0003@example.net", "5.1.1", "550 5.1.1 no such user", "Message-ID: <"+tag+"@gw.example.com>\n"))
		if s := g.suppressed(); len(s) != 0 {
			t.Fatalf("%s: a forged report suppresses %v", name, s)
		}
	}

	// What is genuine counts, by the code or by the unsubscribe link of the returned mail.
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(g.report(own, bounceOf("forwarded@elsewhere.example", "5.1.1", "550 5.1.1 no such user", "")))
	must(g.report(strings.ToUpper(from["user0001@example.net"]), bounceOf("user0001@example.net", "5.7.1", "550 5.7.1 blocked as spam", "")))
	header, _, _ := strings.Cut(strings.ReplaceAll(mails["user0002@example.net"], "\r\n", "\n"), "\n\n")
	must(g.report("bounces+fbl@lists.example.com", complaintOf(header)))
	if s := g.suppressed(); len(s) != 2 || s["user0000@example.net"] != "bounce" || s["user0002@example.net"] != "complaint" {
		t.Fatalf("suppressed are %v", s)
	}
	if out := g.run("queue", "show", id, "--outcome", "bounced"); !strings.Contains(out, "user0000@example.net") || !strings.Contains(out, "user0001@example.net") ||
		strings.Contains(out, "user0003@example.net") {
		t.Error(out)
	}
	g.wait("the directory knows", func() (string, bool) {
		out := g.run("users", "show", "user0002@example.net", "--json") + g.run("users", "show", "user0000@example.net", "--json")
		return out, strings.Contains(out, `"SubscriptionStatus": false`) && strings.Contains(out, "bounced 20") && strings.Contains(out, "no such user")
	})

	// The next message, and ordinary mail, reach neither.
	g.mustSubmit("promo@lists.example.com", strings.Replace(hello, "Subject: ", "Subject: again ", 1))
	g.mustSubmit("user0000@example.net", "From: erp@example.com\nTo: user0000@example.net\nSubject: order\n\nx\n")
	g.settled("done")
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.to["user0000@example.net"] != 1 || r.to["user0002@example.net"] != 1 || r.to["user0001@example.net"] != 2 || r.to["user0003@example.net"] != 2 {
		t.Errorf("%v", r.to)
	}
	g.stop()
}

// Amazon's events, by SQS: suppression, the breaker, the directory, and the words for those
// who must act. (The list's owner hears of complaints five minutes later, all in one.)
func TestEventsOfSESHaveTheirEffect(t *testing.T) {
	const users = 60
	queues := peer.StartFauxqs(t)
	queue := queues.Queue(t, "events", nil)
	fake := &sesfake.Fake{}
	feed := &sesfake.Feed{Queue: queue, Twice: 3, Fate: func(m sesfake.Mail) []sesfake.Event {
		now := time.Now()
		all := []sesfake.Event{m.SendEvent(now)}
		switch to := m.To[0]; {
		case to < "user0021@" && strings.HasPrefix(to, "user"):
			all = append(all, m.BounceEvent(now, sesfake.Bounce{Type: "Permanent", SubType: "General", Status: "5.1.1", Diagnostic: "smtp; 550 5.1.1 user unknown"}))
		case to == "user0030@example.net":
			all = append(all, m.DeliveryEvent(now), m.ComplaintEvent(now, "abuse"))
		default:
			all = append(all, m.DeliveryEvent(now))
		}
		return all
	}}
	fake.OnAccept(feed.Hear)
	server := httptest.NewServer(fake)
	t.Cleanup(server.Close)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- feed.Run(ctx) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	g := newGateway(t, fmt.Sprintf("[notices]\nfrom = \"postmaster@example.com\"\noperator = \"ops@example.com\"\nlanguage = \"en\"\n"+
		"[[list]]\nid = \"owned\"\naddress = \"owned@lists.example.com\"\nowner = \"owner@example.com\"\nlanguage = \"en\"\n"+
		"[[lane]]\nname = \"out\"\ndriver = \"ses\"\n[lane.ses]\nregion = \"ap-northeast-2\"\nendpoint = %q\nevents_queue = %q\n", server.URL, queue))
	g.users(users)
	g.serve()
	g.mustSubmit("owned@lists.example.com", hello)

	var m message
	g.wait("the events", func() (string, bool) {
		for _, s := range g.messages() {
			if s.List == "owned" {
				m = s
			}
		}
		s := g.suppressed()
		return fmt.Sprint(m, len(s)), len(s) == 22
	})
	if s := g.suppressed(); s["user0000@example.net"] != "bounce" || s["user0030@example.net"] != "complaint" {
		t.Errorf("%v", s)
	}
	if out := g.run("queue", "show", m.ID); !strings.Contains(out, "21 bounced, 1 complained") {
		t.Error(out)
	}
	if out := g.run("lane", "list"); !strings.Contains(out, "bulk mail waits to protect the account") || !strings.Contains(out, "postern lane resume out") {
		t.Error(out)
	}
	told := func(to, words string) {
		t.Helper()
		g.wait("a notice to "+to, func() (string, bool) {
			var all []string
			for _, m := range fake.Mails() {
				if m.To[0] == to {
					all = append(all, string(m.Raw))
				}
			}
			text := strings.ReplaceAll(strings.Join(all, "\n"), "=\r\n", "")
			return text, strings.Contains(text, words)
		})
	}
	told("ops@example.com", "postern lane resume out")
	if out := g.run("users", "show", "user0030@example.net", "--json"); !strings.Contains(out, `"SubscriptionStatus": false`) {
		t.Error(out)
	}
	g.wait("the queue is empty", func() (string, bool) { // events are deleted after they had their effect
		n := queues.Left(t, queue)
		return fmt.Sprint(n), n == 0
	})
	g.stop()
}
