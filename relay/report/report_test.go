package report_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	netmail "net/mail"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postern/mail"
	"postern/relay"
	"postern/relay/notice"
	"postern/relay/report"
	"postern/spool"
)

const sender = mail.Address("erp@example.com")

// gateway is a spool with a Reporter that runs on it, in a bubble of fake time.
type gateway struct {
	t testing.TB
	s *spool.Spool

	mu      sync.Mutex
	lanes   []relay.LaneStatus
	kind    notice.Kind
	trouble string
	direct  []string
}

// run lets fn play on a gateway whose Reporter works.
func run(t *testing.T, edit func(*report.Config), fn func(*testing.T, *gateway)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s, err := spool.Open(t.TempDir(), spool.Options{LaneOf: func(m *mail.Message) string { return string(m.Notice) }})
		if err != nil {
			t.Fatal(err)
		}
		g := &gateway{t: t, s: s, lanes: []relay.LaneStatus{{Name: "main", State: "running"}, {Name: "other", State: "running"}}}
		cfg := report.Config{
			Spool: s, Hostname: "mail.example.com", Location: time.UTC, From: "postmaster@example.com", Language: "en",
			Operator: "admin@example.com", GiveUp: 48 * time.Hour,
			Ours: func(a mail.Address) bool { return a == "promo@lists.example.com" },
			Lanes: func() []relay.LaneStatus {
				g.mu.Lock()
				defer g.mu.Unlock()
				return append([]relay.LaneStatus(nil), g.lanes...)
			},
			Trouble: func() (notice.Kind, string) { g.mu.Lock(); defer g.mu.Unlock(); return g.kind, g.trouble },
			Direct: func(_ context.Context, to mail.Address, raw []byte) error {
				g.mu.Lock()
				defer g.mu.Unlock()
				g.direct = append(g.direct, string(to)+": "+subjectOf(t, raw))
				return nil
			},
		}
		if edit != nil {
			edit(&cfg)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			report.New(cfg).Run(ctx)
		}()
		t.Cleanup(func() {
			stop()
			<-ended
			if problems, err := s.Check(context.Background(), nil); err != nil || len(problems) > 0 {
				t.Error(problems, err)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		fn(t, g)
	})
}

func pass(d time.Duration) { <-time.After(d); synctest.Wait() }

// accept puts a mail to n people into the spool.
func (g *gateway) accept(m mail.Message, n int) mail.ID {
	g.t.Helper()
	b, err := g.s.NewBody()
	if err != nil {
		g.t.Fatal(err)
	}
	defer b.Discard()
	_, _ = io.WriteString(b, "Received: from scanner\r\nSubject: order\r\nMessage-ID: <1@erp.example.com>\r\n\r\nsecret body\r\n")
	m.ID, m.State, m.AcceptedAt, m.Subject = mail.NewID(time.Now()), mail.Sending, time.Now(), "order"
	if m.From == "" {
		m.From = sender
	}
	var cs []mail.Copy
	for i := range n {
		cs = append(cs, mail.Copy{To: mail.Address(fmt.Sprintf("user%d@example.net", i))})
	}
	if err := g.s.Accept(g.t.Context(), b, []spool.Accepted{{Message: m, Copies: cs}}); err != nil {
		g.t.Fatal(err)
	}
	return m.ID
}

// settle ends attempts of n copies in the given state; the others wait for an hour.
func (g *gateway) settle(n int, state mail.State) { g.settleOn("", n, state) }

func (g *gateway) settleOn(lane string, n int, state mail.State) {
	g.t.Helper()
	claims, err := g.s.Claim(g.t.Context(), lane, n, time.Now())
	if err != nil || len(claims) != n {
		g.t.Fatalf("%d claimed, want %d (%v)", len(claims), n, err)
	}
	for _, c := range claims {
		r := spool.Result{State: state, At: time.Now(), Due: time.Now().Add(time.Hour), Spent: true, Error: "550 5.1.1 no such user"}
		if err := g.s.Settle(g.t.Context(), c, r); err != nil {
			g.t.Fatal(err)
		}
	}
}

// notices are those of one kind, oldest first.
func (g *gateway) notices(kind mail.Notice) (list []spool.Summary) {
	g.t.Helper()
	all, err := g.s.Messages("", 1000)
	if err != nil {
		g.t.Fatal(err)
	}
	for _, m := range all {
		if m.Notice == kind {
			list = append([]spool.Summary{m}, list...)
		}
	}
	return list
}

func (g *gateway) body(id mail.ID) string {
	g.t.Helper()
	f, err := g.s.OpenBody(id)
	if err != nil {
		g.t.Fatal(err)
	}
	defer f.Close()
	raw, err := io.ReadAll(f)
	if err != nil {
		g.t.Fatal(err)
	}
	return string(raw)
}

func subjectOf(t testing.TB, raw []byte) string {
	m, err := netmail.ReadMessage(strings.NewReader(string(raw)))
	if err != nil {
		t.Fatal(err)
	}
	return m.Header.Get("Subject")
}

func TestASenderIsToldOfAFailureAtOnce(t *testing.T) {
	run(t, nil, func(t *testing.T, g *gateway) {
		id := g.accept(mail.Message{}, 1)
		g.settle(1, mail.CopyFailed)
		pass(2 * time.Second)
		list := g.notices(mail.NoticeFailed)
		if len(list) != 1 {
			t.Fatalf("%d notices", len(list))
		}
		n := list[0]
		if n.From != "" || n.HeaderFrom != "postmaster@example.com" || n.Priority != mail.Transactional || n.About != id || n.Counts[mail.Queued] != 1 {
			t.Errorf("%+v", n)
		}
		if c, err := g.s.CopyTo(n.ID, sender); err != nil || c.State != mail.Queued {
			t.Errorf("%+v %v", c, err)
		}
		body := g.body(n.ID)
		for _, want := range []string{"To: erp@example.com", "Auto-Submitted: auto-replied", "report-type=delivery-status", "Final-Recipient: rfc822; user0@example.net",
			"Diagnostic-Code: smtp; 550 5.1.1 no such user", "In-Reply-To: <1@erp.example.com>", "Received: from scanner"} {
			if !strings.Contains(body, want) {
				t.Errorf("%q is missing in\n%s", want, body)
			}
		}
		if strings.Contains(body, "secret body") {
			t.Error("the mail's body went back")
		}
		pass(3 * time.Hour)
		if n := len(g.notices(mail.NoticeFailed)); n != 1 {
			t.Errorf("%d notices in the end", n)
		}
	})
}

func TestOneNoticeAnHourForAMailWithACount(t *testing.T) {
	run(t, nil, func(t *testing.T, g *gateway) {
		g.accept(mail.Message{}, 10)
		g.settle(3, mail.CopyFailed)
		pass(20 * time.Second)
		if n := g.notices(mail.NoticeFailed); len(n) != 0 {
			t.Fatal("told before the others had their chance")
		}
		pass(25 * time.Second)
		if n := g.notices(mail.NoticeFailed); len(n) != 1 || strings.Count(g.body(n[0].ID), "Final-Recipient:") != 3 {
			t.Fatalf("%d notices", len(n))
		}
		g.settle(4, mail.CopyFailed) // one after the other
		pass(30 * time.Minute)
		g.settle(3, mail.CopyFailed)
		pass(20 * time.Minute)
		if n := g.notices(mail.NoticeFailed); len(n) != 1 {
			t.Fatalf("%d notices within the hour", len(n))
		}
		pass(11 * time.Minute)
		n := g.notices(mail.NoticeFailed)
		if len(n) != 2 || strings.Count(g.body(n[1].ID), "Final-Recipient:") != 7 {
			t.Fatalf("%d notices after the hour, the last:\n%s", len(n), g.body(n[len(n)-1].ID))
		}
	})
}

func TestTwoMailsOfOneSenderAreToldApart(t *testing.T) {
	run(t, nil, func(t *testing.T, g *gateway) {
		a, b := g.accept(mail.Message{}, 1), g.accept(mail.Message{}, 1)
		g.settle(2, mail.CopyFailed)
		pass(2 * time.Second)
		list := g.notices(mail.NoticeFailed)
		if len(list) != 2 || list[0].About == list[1].About || list[0].About != a && list[0].About != b {
			t.Errorf("%+v", list)
		}
	})
}

func TestTheLanguageIsTheSendersOrTheLists(t *testing.T) {
	list := &mail.ListPolicy{ID: "promo", Name: "프로모션", Address: "promo@lists.example.com", Language: "ko"}
	for name, c := range map[string]struct {
		m    mail.Message
		want string
	}{
		"of the configuration": {mail.Message{}, "not delivered"},
		"of the account":       {mail.Message{Language: "ko"}, "=?utf-8?"},
		"of the list":          {mail.Message{Language: "en", List: list}, "=?utf-8?"},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, nil, func(t *testing.T, g *gateway) {
				g.accept(c.m, 1)
				g.settle(1, mail.CopyFailed)
				pass(2 * time.Second)
				n := g.notices(mail.NoticeFailed)
				if len(n) != 1 {
					t.Fatalf("%d notices", len(n))
				}
				if got := subjectOf(t, []byte(g.body(n[0].ID))); !strings.Contains(strings.ToLower(got), c.want) {
					t.Errorf("the subject is %q", got)
				}
			})
		})
	}
}

func TestNoNoticeMakesAnother(t *testing.T) {
	run(t, func(c *report.Config) { c.Envelope = "postmaster@example.com" }, func(t *testing.T, g *gateway) {
		g.accept(mail.Message{}, 1)
		g.settle(1, mail.CopyFailed)
		pass(2 * time.Second)
		g.settleOn(string(mail.NoticeFailed), 1, mail.CopyFailed) // the notice itself
		pass(24 * time.Hour)
		if n := g.notices(mail.NoticeFailed); len(n) != 1 || n[0].From != "postmaster@example.com" {
			t.Errorf("%d notices: %+v", len(n), n)
		}
	})
}

func TestAnAutomaticAddressIsToldNothing(t *testing.T) {
	run(t, nil, func(t *testing.T, g *gateway) {
		g.accept(mail.Message{From: "promo@lists.example.com"}, 1)
		g.settle(1, mail.CopyFailed)
		g.accept(mail.Message{From: "promo@lists.example.com"}, 1)
		pass(5 * time.Hour)
		if n := append(g.notices(mail.NoticeFailed), g.notices(mail.NoticeDelayed)...); len(n) != 0 {
			t.Errorf("%+v", n)
		}
		if list, err := g.s.Untold("", 10); err != nil || len(list) != 0 {
			t.Errorf("still to be told: %+v %v", list, err)
		}
	})
}

func TestALateMailIsToldOnceAndTheOthersAreCounted(t *testing.T) {
	run(t, nil, func(t *testing.T, g *gateway) {
		first := g.accept(mail.Message{}, 2)
		pass(time.Second) // ids of the same millisecond have no order
		for range 4 {
			g.accept(mail.Message{}, 1)
		}
		g.accept(mail.Message{From: "php@example.com"}, 1)
		pass(4*time.Hour - time.Minute)
		if n := g.notices(mail.NoticeDelayed); len(n) != 0 {
			t.Fatal("warned too early")
		}
		pass(2 * time.Minute)
		n := g.notices(mail.NoticeDelayed)
		if len(n) != 2 {
			t.Fatalf("%d warnings", len(n))
		}
		if n[0].About != first {
			n[0], n[1] = n[1], n[0] // which of two senders is warned first is nobody's concern
		}
		body := g.body(n[0].ID)
		if n[0].About != first || !strings.Contains(body, "Action: delayed") || strings.Count(body, "Final-Recipient:") != 2 || !strings.Contains(body, "Will-Retry-Until:") {
			t.Errorf("about %s\n%s", n[0].About, body)
		}
		if !strings.Contains(body, "\n4 more") {
			t.Errorf("the four others are not counted in\n%s", body)
		}
		pass(24 * time.Hour)
		if n := g.notices(mail.NoticeDelayed); len(n) != 2 {
			t.Errorf("%d warnings after a day", len(n))
		}
	})
}

func TestAnOvertakenWarningIsMoot(t *testing.T) {
	run(t, nil, func(t *testing.T, g *gateway) {
		id := g.accept(mail.Message{}, 1)
		r := report.New(report.Config{Spool: g.s})
		warning := &mail.Message{Notice: mail.NoticeDelayed, About: id}
		if _, moot := r.Moot(warning); moot {
			t.Error("moot while the mail waits")
		}
		g.settle(1, mail.Sent)
		if why, moot := r.Moot(warning); !moot || why == "" {
			t.Error("not moot when it was sent")
		}
		if _, moot := r.Moot(&mail.Message{Notice: mail.NoticeFailed, About: id}); moot {
			t.Error("a failure is never moot")
		}
	})
}

func (g *gateway) lane(i int, state string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lanes[i].State, g.lanes[i].Reason, g.lanes[i].Class = state, "", 0
	if state == "paused" {
		g.lanes[i].Reason, g.lanes[i].Class = "connection refused", mail.Unreachable
	}
}

func TestTheOperatorIsToldOfALaneThatStaysPaused(t *testing.T) {
	run(t, nil, func(t *testing.T, g *gateway) {
		g.lane(0, "paused")
		pass(time.Minute)
		g.lane(0, "running")
		pass(time.Minute)
		if n := g.notices(mail.NoticeOperator); len(n) != 0 {
			t.Fatal("told of a minute's pause")
		}
		g.lane(0, "paused")
		pass(3 * time.Minute)
		n := g.notices(mail.NoticeOperator)
		if len(n) != 1 {
			t.Fatalf("%d mails", len(n))
		}
		if body := g.body(n[0].ID); n[0].Lane != "other" || !strings.Contains(body, "To: admin@example.com") || !strings.Contains(body, "main") {
			t.Errorf("through lane %q\n%s", n[0].Lane, body)
		}
		pass(5 * time.Hour)
		g.lane(0, "running")
		pass(time.Minute)
		if n := g.notices(mail.NoticeOperator); len(n) != 2 || n[1].Lane != "" {
			t.Fatalf("%d mails in all: %+v", len(n), n)
		}
	})
}

func TestARefusedAccountIsToldAtOnce(t *testing.T) {
	for _, class := range []mail.Class{mail.AccountWide, mail.QuotaSpent} {
		run(t, nil, func(t *testing.T, g *gateway) {
			g.lane(1, "paused")
			g.mu.Lock()
			g.lanes[1].Class = class
			g.mu.Unlock()
			pass(15 * time.Second)
			if n := g.notices(mail.NoticeOperator); len(n) != 1 || !strings.Contains(g.body(n[0].ID), "other") {
				t.Errorf("%s: %d mails", class, len(n))
			}
		})
	}
}

func TestTheOperatorIsToldAtMostOnceAnHourOfALane(t *testing.T) {
	run(t, nil, func(t *testing.T, g *gateway) {
		for range 6 {
			g.lane(0, "paused")
			pass(5 * time.Minute)
			g.lane(0, "running")
			pass(5 * time.Minute)
		}
		if n := g.notices(mail.NoticeOperator); len(n) != 2 { // paused, runs
			t.Errorf("%d mails within an hour", len(n))
		}
	})
}

func (g *gateway) disk(kind notice.Kind, words string) (told []string) {
	g.mu.Lock()
	g.kind, g.trouble = kind, words
	g.mu.Unlock()
	pass(30 * time.Second)
	g.mu.Lock()
	defer g.mu.Unlock()
	told, g.direct = g.direct, nil
	return told
}

func TestTroubleOfTheDiskIsToldPastTheSpool(t *testing.T) {
	run(t, nil, func(t *testing.T, g *gateway) {
		for i, step := range []struct {
			kind  notice.Kind
			words string
			told  string // "" nothing
		}{
			{notice.DiskLow, "only 200 MB left", "The disk is filling up"},
			{notice.DiskLow, "only 190 MB left", ""},
			{notice.DiskFull, "no space left", "The disk is full"}, // it gets worse
			{notice.DiskLow, "only 20 MB left", ""},
			{0, "", "The disk has room again"},
			{notice.DiskLow, "only 200 MB left", ""}, // within the hour
			{0, "", ""},
			{notice.SpoolBroken, "fdatasync: input/output error", "The spool cannot be written"},
		} {
			told := g.disk(step.kind, step.words)
			if step.told == "" && len(told) > 0 || step.told != "" && (len(told) != 1 || !strings.HasPrefix(told[0], "admin@example.com: "+step.told)) {
				t.Errorf("step %d: %q, want %q", i, told, step.told)
			}
		}
		if n := g.notices(mail.NoticeOperator); len(n) != 0 {
			t.Errorf("%d went through the spool", len(n))
		}
	})
}

func TestWithoutAnOperatorNobodyIsTold(t *testing.T) {
	run(t, func(c *report.Config) { c.Operator = "" }, func(t *testing.T, g *gateway) {
		g.lane(0, "paused")
		told := g.disk(notice.DiskFull, "full")
		pass(time.Hour)
		if len(g.notices(mail.NoticeOperator)) != 0 || len(told) != 0 || len(g.direct) != 0 {
			t.Error("somebody was told")
		}
	})
}

func TestManyLateMailsMakeOneWarning(t *testing.T) {
	run(t, nil, func(t *testing.T, g *gateway) {
		const n = 4500
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
		pass(24 * time.Hour)
		list := g.notices(mail.NoticeDelayed)
		if len(list) != 1 || !strings.Contains(g.body(list[0].ID), "\n4,499 more") {
			t.Fatalf("%d warnings, the last\n%s", len(list), g.body(list[len(list)-1].ID))
		}
	})
}

func TestAnUncertainMailAboutTheDiskIsNotRepeated(t *testing.T) {
	var mu sync.Mutex
	tries := 0
	run(t, func(c *report.Config) {
		c.Direct = func(context.Context, mail.Address, []byte) error {
			mu.Lock()
			defer mu.Unlock()
			tries++
			if tries%2 == 1 {
				return &mail.Error{Class: mail.Unreachable, Public: "connection refused"}
			}
			return &mail.Error{Class: mail.Uncertain, Public: "no answer came"}
		}
	}, func(t *testing.T, g *gateway) {
		g.disk(notice.DiskFull, "full")
		pass(30 * time.Minute)
		mu.Lock()
		first := tries
		mu.Unlock()
		g.disk(0, "")
		pass(30 * time.Minute)
		mu.Lock()
		defer mu.Unlock()
		if first != 2 || tries != 4 { // refused, then uncertain; and the same when it is over
			t.Errorf("%d tries while it was full, %d in all", first, tries)
		}
	})
}

// TestANoticeThatCannotBeMadeKeepsNoOther: composing it panics.
func TestANoticeThatCannotBeMadeKeepsNoOther(t *testing.T) {
	run(t, func(c *report.Config) {
		c.Sent = func(m *mail.Message) (mail.Content, error) {
			if m.From == "odd@example.com" {
				panic("odd")
			}
			return mail.Content{Header: []byte("Subject: order\r\n")}, nil
		}
	}, func(t *testing.T, g *gateway) {
		g.accept(mail.Message{From: "odd@example.com"}, 1)
		pass(time.Second)
		g.accept(mail.Message{}, 1)
		g.settle(2, mail.CopyFailed)
		pass(time.Minute)
		if n := g.notices(mail.NoticeFailed); len(n) != 1 {
			t.Errorf("%d notices", len(n))
		}
	})
}

func TestMailForThePostmasterWaitsBehindAllOtherAndIsBounded(t *testing.T) {
	run(t, nil, func(t *testing.T, g *gateway) {
		r := report.New(report.Config{Spool: g.s, Hostname: "mail.example.com", Location: time.UTC, From: "postmaster@example.com", Postmaster: "admin@example.com"})
		var err error
		n := 0
		for ; n < 200 && err == nil; n++ {
			err = r.ToPostmaster(t.Context(), "stranger@example.net", "192.0.2.1:25", []byte("Subject: x\r\n\r\nx\r\n"))
		}
		var e *mail.Error
		if !errors.As(err, &e) || e.Code != 452 || n != 101 {
			t.Errorf("the %dth got %v", n, err)
		}
		if m := g.notices(mail.NoticePostmaster)[0]; m.Priority != mail.Bulk {
			t.Errorf("it goes as %s", m.Priority)
		}
	})
}
