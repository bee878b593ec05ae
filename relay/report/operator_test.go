package report_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"postern/mail"
	"postern/relay"
	"postern/relay/report"
)

// change edits a lane as the operator's mails see it.
func (g *gateway) change(i int, edit func(*relay.LaneStatus)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	edit(&g.lanes[i])
}

func TestALaneThatHoldsBulkMailIsToldAtOnce(t *testing.T) {
	run(t, nil, func(t *testing.T, g *gateway) {
		g.change(0, func(l *relay.LaneStatus) { l.BulkHeld = "within a day 612 of 11000 copies have bounced" })
		pass(15 * time.Second)
		n := g.notices(mail.NoticeOperator)
		if len(n) != 1 || n[0].Lane != "" {
			t.Fatalf("%d mails: %+v", len(n), n)
		}
		body := g.text(n[0].ID)
		for _, want := range []string{"612 of 11000", "postern lane resume main", "postern queue list"} {
			if !strings.Contains(body, want) {
				t.Errorf("%q is missing in\n%s", want, body)
			}
		}
		pass(5 * time.Hour)
		g.change(0, func(l *relay.LaneStatus) { l.BulkHeld = "" })
		pass(time.Minute)
		if n := g.notices(mail.NoticeOperator); len(n) != 1 {
			t.Errorf("%d mails when somebody has resumed it", len(n))
		}
		g.change(0, func(l *relay.LaneStatus) { l.BulkHeld = "again" })
		pass(time.Minute)
		if n := g.notices(mail.NoticeOperator); len(n) != 2 {
			t.Errorf("%d mails when it is held again", len(n))
		}
	})
}

func TestALanePausedByHandAlarmsNobodyForADay(t *testing.T) {
	run(t, nil, func(t *testing.T, g *gateway) {
		g.change(0, func(l *relay.LaneStatus) { l.State, l.Reason, l.ByHand = "paused", "moving house", true })
		pass(23 * time.Hour)
		if n := g.notices(mail.NoticeOperator); len(n) != 0 {
			t.Fatal("whoever paused it was told of it")
		}
		pass(2 * time.Hour)
		n := g.notices(mail.NoticeOperator)
		if len(n) != 1 || !strings.Contains(g.text(n[0].ID), "by hand, and it still is") {
			t.Fatalf("%d mails after a day", len(n))
		}
		pass(72 * time.Hour)
		if n := g.notices(mail.NoticeOperator); len(n) != 1 {
			t.Errorf("%d mails in the end", len(n))
		}
	})
}

// TestALanesRemedyIsTheAdviceWhereItIsExact, and not where the notice knows more.
func TestALanesRemedyIsTheAdviceWhereItIsExact(t *testing.T) {
	for exact, want := range map[bool]string{true: "What you should do: renew the key.", false: "What you should do: check the account."} {
		run(t, nil, func(t *testing.T, g *gateway) {
			g.change(0, func(l *relay.LaneStatus) {
				l.State, l.Reason, l.Class, l.Remedy, l.Exact = "paused", "refused", mail.AccountWide, "renew the key.", exact
			})
			pass(15 * time.Second)
			n := g.notices(mail.NoticeOperator)
			if len(n) != 1 || !strings.Contains(g.text(n[0].ID), want) {
				t.Errorf("%d mails, without %q", len(n), want)
			}
		})
	}
}

func TestTheOperatorIsToldOnceThatTheSyncIsBehind(t *testing.T) {
	var mu sync.Mutex
	var words string
	say := func(w string) { mu.Lock(); defer mu.Unlock(); words = w }
	since := time.Date(2026, 11, 26, 5, 0, 0, 0, time.UTC)
	ours := func(c *report.Config) {
		c.Sync = func() (string, time.Time) { mu.Lock(); defer mu.Unlock(); return words, since }
	}
	run(t, ours, func(t *testing.T, g *gateway) {
		pass(time.Hour)
		for i, step := range []struct{ words, told string }{
			{"MySQL does not answer", "The sync from MySQL is behind"},
			{"MySQL refuses the password", ""},
			{"", "The sync from MySQL works again"},
			{"", ""},
		} {
			before := len(g.notices(mail.NoticeOperator))
			say(step.words)
			pass(2 * time.Hour)
			told := g.notices(mail.NoticeOperator)
			if len(told)-before != min(1, len(step.told)) {
				t.Fatalf("step %d: %d notices", i, len(told)-before)
			}
			if text := g.body(told[len(told)-1].ID); !strings.Contains(text, "Subject: "+step.told) ||
				step.told != "" && step.words != "" && (!strings.Contains(text, step.words) || !strings.Contains(text, "26 November 2026, 05:00")) {
				t.Errorf("step %d: %s", i, text)
			}
		}
	})
}
