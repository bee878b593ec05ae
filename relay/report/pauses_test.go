package report_test

import (
	"fmt"
	"io"
	"mime/quotedprintable"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/mail"
	"postern/relay/report"
	"postern/spool"
)

var promo = &mail.ListPolicy{ID: "promo", Name: "Promotions", Address: "promo@lists.example.com", Language: "en", Owner: "owner@example.com"}

// text is a notice as people read it.
func (g *gateway) text(id mail.ID) string {
	g.t.Helper()
	header, body, _ := strings.Cut(g.body(id), "\r\n\r\n")
	b, err := io.ReadAll(quotedprintable.NewReader(strings.NewReader(body)))
	if err != nil {
		g.t.Fatal(err)
	}
	return header + "\r\n\r\n" + string(b)
}

// stop pauses a message as the gateway does.
func (g *gateway) stop(id mail.ID, kind mail.StopKind) {
	g.t.Helper()
	stopped, err := g.s.Stop(g.t.Context(), id, mail.Stop{Kind: kind, At: time.Now()}, "554 5.7.1 “not verified”")
	if err != nil || !stopped {
		g.t.Fatal(stopped, err)
	}
}

// readers are the addresses of a notice's copies.
func (g *gateway) readers(id mail.ID) (to []string) {
	g.t.Helper()
	copies, err := g.s.Copies(id, 0, 100)
	if err != nil {
		g.t.Fatal(err)
	}
	for _, c := range copies {
		to = append(to, string(c.To))
	}
	return to
}

func TestAPauseOfTheGatewayIsToldToAllWhomItConcerns(t *testing.T) {
	ours := func(c *report.Config) {
		c.Ours = func(a mail.Address) bool { return a.Domain() == "lists.example.com" }
	}
	noOwner := *promo
	noOwner.Owner = ""
	for name, c := range map[string]struct {
		m    mail.Message
		edit func(*report.Config)
		want []string
	}{
		"sender, owner and operator":      {mail.Message{List: promo}, nil, []string{"erp@example.com", "owner@example.com", "admin@example.com"}},
		"ordinary mail has no owner":      {mail.Message{}, nil, []string{"erp@example.com", "admin@example.com"}},
		"nor has every list":              {mail.Message{List: &noOwner}, nil, []string{"erp@example.com", "admin@example.com"}},
		"nor is there always an operator": {mail.Message{}, func(c *report.Config) { c.Operator = "" }, []string{"erp@example.com"}},
		"who is two of them is told once": {mail.Message{From: "Owner@example.com", List: promo}, nil, []string{"Owner@example.com", "admin@example.com"}},
		"an address of ours is not told":  {mail.Message{From: "news@lists.example.com", List: promo}, ours, []string{"owner@example.com", "admin@example.com"}},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, c.edit, func(t *testing.T, g *gateway) {
				id := g.accept(c.m, 3)
				pass(time.Minute)
				g.stop(id, mail.StopRefused)
				pass(20 * time.Second)
				if n := g.notices(mail.NoticePaused); len(n) != 0 {
					t.Fatal("told before others could stop for the same reason")
				}
				pass(25 * time.Second)
				list := g.notices(mail.NoticePaused)
				if len(list) != 1 {
					t.Fatalf("%d notices", len(list))
				}
				n, text := list[0], g.text(list[0].ID)
				if got := g.readers(n.ID); !slices.Equal(got, c.want) {
					t.Errorf("told are %v, want %v", got, c.want)
				}
				if n.From != "" || n.Priority != mail.Transactional || n.About != id {
					t.Errorf("%+v", n)
				}
				auto, cc := "Auto-Submitted: auto-replied", "Cc: "+strings.Join(c.want[1:], ",\r\n ")
				if strings.Contains(name, "ours") {
					auto = "Auto-Submitted: auto-generated"
				}
				if len(c.want) == 1 {
					cc = "Subject: "
				}
				for _, want := range []string{"To: " + c.want[0] + "\r\n", cc, auto, "X-Auto-Response-Suppress:", "`postern queue resume " + string(id) + "`", "“554 5.7.1 “not verified””"} {
					if !strings.Contains(text, want) {
						t.Errorf("%q is missing in\n%s", want, text)
					}
				}
				pass(12 * time.Hour)
				if n := append(g.notices(mail.NoticePaused), g.notices(mail.NoticeDelayed)...); len(n) != 1 {
					t.Errorf("%d notices in the end", len(n))
				}
			})
		})
	}
}

func TestAPauseWithoutASenderIsToldToTheOperator(t *testing.T) {
	run(t, nil, func(t *testing.T, g *gateway) {
		id := g.acceptFrom("", mail.Message{})
		g.stop(id, mail.StopUnmade)
		pass(time.Minute)
		n := g.notices(mail.NoticePaused)
		if len(n) != 1 || !slices.Equal(g.readers(n[0].ID), []string{"admin@example.com"}) || !strings.Contains(g.text(n[0].ID), "Auto-Submitted: auto-generated") {
			t.Errorf("%+v", n)
		}
	})
}

// acceptFrom is accept for a sender who may be nobody.
func (g *gateway) acceptFrom(from mail.Address, m mail.Message) mail.ID {
	g.t.Helper()
	b, err := g.s.NewBody()
	if err != nil {
		g.t.Fatal(err)
	}
	defer b.Discard()
	_, _ = io.WriteString(b, "Subject: x\r\n\r\nx\r\n")
	m.ID, m.From, m.State, m.AcceptedAt = mail.NewID(time.Now()), from, mail.Sending, time.Now()
	if err := g.s.Accept(g.t.Context(), b, []spool.Accepted{{Message: m, Copies: []mail.Copy{{To: "user@example.net"}}}}); err != nil {
		g.t.Fatal(err)
	}
	return m.ID
}

// TestNobodyIsToldOfAPausedNotice: it would be paused too.
func TestNobodyIsToldOfAPausedNotice(t *testing.T) {
	run(t, nil, func(t *testing.T, g *gateway) {
		g.stop(g.accept(mail.Message{}, 1), mail.StopRefused)
		pass(time.Minute)
		n := g.notices(mail.NoticePaused)
		if len(n) != 1 {
			t.Fatalf("%d notices", len(n))
		}
		g.stop(n[0].ID, mail.StopRefused)
		pass(24 * time.Hour)
		if n := g.notices(mail.NoticePaused); len(n) != 1 {
			t.Errorf("%d notices in the end", len(n))
		}
		if left := g.s.Stopped(); len(left) != 0 {
			t.Errorf("%d are still to be told", len(left))
		}
	})
}

func TestManyPausedMailsMakeOneNotice(t *testing.T) {
	run(t, nil, func(t *testing.T, g *gateway) {
		const n = 2500 // more than one commit marks
		b, err := g.s.NewBody()
		if err != nil {
			t.Fatal(err)
		}
		var all []spool.Accepted
		for range n {
			m := mail.Message{ID: mail.NewID(time.Now()), State: mail.Sending, From: sender, AcceptedAt: time.Now()}
			all = append(all, spool.Accepted{Message: m, Copies: []mail.Copy{{To: "user@example.net"}}})
		}
		if err := g.s.Accept(t.Context(), b, all); err != nil {
			t.Fatal(err)
		}
		for _, a := range all {
			g.stop(a.Message.ID, mail.StopRefused)
		}
		pass(24 * time.Hour)
		list := g.notices(mail.NoticePaused)
		if len(list) != 1 || !strings.Contains(g.text(list[0].ID), " 2,499 more mails") {
			t.Fatalf("%d notices, the last\n%s", len(list), g.text(list[len(list)-1].ID))
		}
	})
}

func TestASenderIsToldOfPausesAtMostOnceAnHour(t *testing.T) {
	run(t, nil, func(t *testing.T, g *gateway) {
		told := func(want int) {
			t.Helper()
			if n := g.notices(mail.NoticePaused); len(n) != want {
				t.Fatalf("%d notices, want %d", len(n), want)
			}
		}
		for i := range 5 {
			g.stop(g.accept(mail.Message{}, 1), mail.StopRefused)
			if i == 0 {
				pass(time.Minute)
			}
		}
		g.stop(g.accept(mail.Message{}, 1), mail.StopUnmade) // another matter
		g.stop(g.accept(mail.Message{From: "php@example.com"}, 1), mail.StopRefused)
		pass(time.Minute)
		told(3)
		pass(50 * time.Minute)
		told(3)
		pass(10 * time.Minute)
		told(4)
		n := g.notices(mail.NoticePaused)
		if !strings.Contains(g.text(n[3].ID), "The same goes for 3 more mails") {
			t.Error(g.text(n[3].ID))
		}
	})
}

// TestManySendersDoNotFloodTheOperator, who is told at most ten times an hour of what
// a thousand senders are told.
func TestManySendersDoNotFloodTheOperator(t *testing.T) {
	run(t, nil, func(t *testing.T, g *gateway) {
		for i := range 30 {
			g.stop(g.accept(mail.Message{From: mail.Address(fmt.Sprintf("s%d@example.com", i))}, 1), mail.StopRefused)
		}
		pass(5 * time.Minute)
		copied := 0
		list := g.notices(mail.NoticePaused)
		for _, n := range list {
			copied += len(g.readers(n.ID)) - 1
		}
		if len(list) != 30 || copied != 10 {
			t.Errorf("%d notices, %d of them to the operator", len(list), copied)
		}
	})
}

func (g *gateway) foresee(id mail.ID, f *mail.Forecast) {
	g.t.Helper()
	if err := g.s.Foresee(g.t.Context(), id, f, "quota"); err != nil {
		g.t.Fatal(err)
	}
}

func TestAMailThatWillNotBeOutTodayIsToldOnce(t *testing.T) {
	run(t, nil, func(t *testing.T, g *gateway) {
		id := g.accept(mail.Message{List: promo}, 3)
		f := func() *mail.Forecast {
			return &mail.Forecast{At: time.Now(), Copies: 3, Today: 1, Until: time.Now().Add(30 * time.Hour)}
		}
		g.foresee(id, f())
		pass(time.Minute)
		list := g.notices(mail.NoticeSlow)
		if len(list) != 1 || !slices.Equal(g.readers(list[0].ID), []string{"erp@example.com", "owner@example.com"}) || list[0].About != id {
			t.Fatalf("%+v", list)
		}
		if body := g.text(list[0].ID); !strings.Contains(body, "Have to wait: 2") || !strings.Contains(body, "Auto-Submitted: auto-replied") {
			t.Error(body)
		}
		g.foresee(id, f())
		pass(12 * time.Hour)
		if n := append(g.notices(mail.NoticeSlow), g.notices(mail.NoticeDelayed)...); len(n) != 1 {
			t.Errorf("%d notices in the end", len(n))
		}
		r := report.New(report.Config{Spool: g.s})
		warning := &mail.Message{Notice: mail.NoticeSlow, About: id}
		if _, moot := r.Moot(warning); moot {
			t.Error("moot while it is true")
		}
		g.foresee(id, nil)
		if why, moot := r.Moot(warning); !moot || why == "" {
			t.Error("not moot when it will be out today")
		}
	})
}

func TestASlowMailThatIsPausedIsToldAsPaused(t *testing.T) {
	run(t, nil, func(t *testing.T, g *gateway) {
		id := g.accept(mail.Message{List: promo}, 3)
		g.foresee(id, &mail.Forecast{At: time.Now(), Copies: 3, Today: 1})
		g.stop(id, mail.StopBounces)
		pass(time.Minute)
		if p, s := len(g.notices(mail.NoticePaused)), len(g.notices(mail.NoticeSlow)); p != 1 || s != 0 {
			t.Errorf("told as paused %d times, as slow %d times", p, s)
		}
	})
}

// complain has a recipient report a message of which all copies were sent.
func (g *gateway) complain(id mail.ID, seq uint32) {
	g.t.Helper()
	seen, err := g.s.Observe(g.t.Context(), []spool.Observation{{Message: id, Seq: seq, Outcome: mail.Complained, Words: "abuse", At: time.Now()}})
	if err != nil || seen[0] == nil {
		g.t.Fatal(seen, err)
	}
}

func TestTheOwnerIsToldOfComplaintsOnceAnHour(t *testing.T) {
	run(t, nil, func(t *testing.T, g *gateway) {
		other := *promo
		other.ID, other.Owner = "news", "news@example.com"
		a := g.accept(mail.Message{List: promo}, 5)
		pass(time.Second)
		b := g.accept(mail.Message{List: promo}, 5)
		c := g.accept(mail.Message{List: &other}, 1)
		g.settle(10, mail.Sent)
		g.settle(1, mail.Sent)
		g.complain(a, 1)
		pass(4 * time.Minute)
		g.complain(a, 2)
		g.complain(b, 3)
		g.complain(c, 1)
		pass(30 * time.Second)
		if n := g.notices(mail.NoticeComplaints); len(n) != 0 {
			t.Fatal("told before more could come")
		}
		pass(time.Minute)
		list := g.notices(mail.NoticeComplaints)
		if len(list) != 1 || !slices.Equal(g.readers(list[0].ID), []string{"owner@example.com"}) {
			t.Fatalf("%+v", list)
		}
		body := g.text(list[0].ID)
		for _, want := range []string{"Subject: Reported as spam by 3 recipients: Promotions", "Auto-Submitted: auto-generated", "user0@example.net, ", "user1@example.net, ", "user2@example.net, ", "Reported as spam so far: 2 (40.00 %)"} {
			if !strings.Contains(body, want) {
				t.Errorf("%q is missing in\n%s", want, body)
			}
		}
		g.complain(b, 4)
		pass(50 * time.Minute)
		if n := g.notices(mail.NoticeComplaints); len(n) != 2 || g.readers(n[1].ID)[0] != "news@example.com" { // of the other list
			t.Fatalf("%d notices within the hour", len(n))
		}
		pass(12 * time.Minute)
		n := g.notices(mail.NoticeComplaints)
		if len(n) != 3 || !strings.Contains(g.text(n[2].ID), "one recipient") || n[2].About != b {
			t.Fatalf("%d notices after the hour", len(n))
		}
		pass(12 * time.Hour)
		if n := g.notices(mail.NoticeComplaints); len(n) != 3 {
			t.Errorf("%d notices in the end", len(n))
		}
	})
}

func TestComplaintsAboutAListOfAMachineAreToldToNobody(t *testing.T) {
	run(t, func(c *report.Config) { c.Ours = func(a mail.Address) bool { return a == promo.Owner } }, func(t *testing.T, g *gateway) {
		id := g.accept(mail.Message{List: promo}, 1)
		g.settle(1, mail.Sent)
		g.complain(id, 1)
		pass(10 * time.Minute)
		left, err := g.s.Complaints("", 10)
		if n := g.notices(mail.NoticeComplaints); len(n) != 0 || len(left) != 0 || err != nil {
			t.Errorf("%d notices, %d to be told, %v", len(n), len(left), err)
		}
	})
}
