package notice_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"postern/mail"
	"postern/relay/notice"
)

// campaign is a mail to a list, as all its readers are told of it.
func campaign(language string) notice.About {
	a := about("가을 세일 안내")
	if language == "en" {
		a.Subject = "Autumn sale"
	}
	a.From, a.List = "marketer@example.com", "Promotions <promo@lists.example.com>"
	return a
}

func counts(of map[mail.State]int) (c mail.Counts) {
	for s, n := range of {
		c[s] = n
	}
	return c
}

// pauses are one of each kind.
func pauses(language string) map[string]notice.Pause {
	a := campaign(language)
	came := mail.Outcomes{}
	came[mail.Delivered], came[mail.Bounced] = 1100, 84
	reported := came
	reported[mail.Bounced], reported[mail.Complained] = 0, 5
	both := came
	both[mail.Complained] = 2
	order := about("Invoice 4711")
	order.From = a.From
	const bounced = "paused to protect the reputation of your domain: 84 of 1240 copies have bounced, which is more than 5 %"
	return map[string]notice.Pause{
		"refused": {About: order, Kind: mail.StopRefused, At: at.Add(-time.Minute), Until: at.Add(14 * time.Minute), Counts: counts(map[mail.State]int{mail.Queued: 3}),
			Words: "verify the identity in SES, or ask Amazon for production access if the account is in the sandbox: Email address is not verified."},
		"refused-first": {About: a, Kind: mail.StopRefused, At: at.Add(-time.Minute), Counts: counts(map[mail.State]int{mail.Queued: 11990, mail.CopyFailed: 10}),
			Words: "the first copies were all refused in the same words: “552 5.7.0 This message was blocked because of its attachment”"},
		"unmade": {About: a, Kind: mail.StopUnmade, At: at.Add(-time.Minute), Counts: counts(map[mail.State]int{mail.Queued: 500}), Growing: true,
			Words: "this copy could not be made: open data/dkim.pem: permission denied"},
		"bounces": {About: a, Kind: mail.StopBounces, At: at.Add(-time.Minute), Counts: counts(map[mail.State]int{mail.Queued: 10700, mail.Deferred: 60, mail.Sent: 1200, mail.CopyFailed: 40}),
			Outcomes: came, Words: bounced},
		"complaints": {About: a, Kind: mail.StopBounces, At: at.Add(-time.Minute), Counts: counts(map[mail.State]int{mail.Queued: 10760, mail.Sent: 1240}), Outcomes: reported,
			Words: "5 recipients of 1240 have called this mail spam, which is more than 0.3 %"},
		"both": {About: a, Kind: mail.StopBounces, At: at.Add(-time.Minute), Counts: counts(map[mail.State]int{mail.Queued: 10760, mail.Sent: 1240}), Outcomes: both, Words: bounced},
	}
}

// others are n more mails.
func others(n int) (all []notice.About) {
	for i := range n {
		all = append(all, notice.About{ID: mail.ID(fmt.Sprintf("01JBV2A6R800000000000M%04d", i)), Subject: fmt.Sprintf("Invoice %d", 4712+i)})
	}
	return all
}

func forecast(language string) notice.Forecast {
	return notice.Forecast{About: campaign(language), Waiting: 90000, Today: 40000, Until: at.Add(31 * time.Hour), Counts: counts(map[mail.State]int{mail.Queued: 90000, mail.Sent: 10000})}
}

func complaints(language string) []notice.Complaints {
	a, b := campaign(language), campaign(language)
	a.List, b.List, b.ID, b.Subject, b.AcceptedAt = "", "", "01JBT0000000000000000MA1L2", "Summer sale", at.Add(-70*time.Hour)
	return []notice.Complaints{
		{About: b, Sent: 11800, Total: 9, New: 1, All: []notice.Complaint{{To: "lee@example.org", At: at.Add(-50 * time.Minute)}}},
		{About: a, Sent: 12000, Total: 2, New: 2, All: []notice.Complaint{{To: "min@example.net", At: at.Add(-20 * time.Minute), Words: "abuse"}, {To: "kim@example.net", At: at.Add(-10 * time.Minute)}}},
	}
}

const promotions = "Promotions <promo@lists.example.com>"

// decisions are the notices that ask people for one.
func decisions(l notice.Letter, add func(string, []byte)) {
	all := pauses(l.Language)
	l.Cc = []mail.Address{"owner@example.com", "operator@example.com"}
	for _, name := range []string{"refused-first", "unmade", "bounces", "complaints", "both"} {
		add("paused-"+name, notice.Paused(l, all[name], nil))
	}
	add("paused-refused", notice.Paused(l, all["refused"], others(1)))
	add("paused-refused-999", notice.Paused(l, all["refused"], others(999)))
	l.Cc = l.Cc[:1]
	add("slow-one", notice.Slow(l, forecast(l.Language), nil))
	add("slow-some", notice.Slow(l, forecast(l.Language), others(2)))
	l.To, l.Cc = "owner@example.com", nil
	add("complaints-some", notice.Complained(l, promotions, complaints(l.Language)))
	add("complaints-one", notice.Complained(l, promotions, complaints(l.Language)[:1]))
}

// hostileDecisions holds the same for what must not get through.
func hostileDecisions() []fixture {
	l, a, r := hostile()
	l.Cc = []mail.Address{r[0].To, r[3].To, "민@예시.한국", "ok@example.com"}
	a.From = l.To
	var c mail.Counts
	c[mail.Queued], c[mail.CopyFailed] = -5, 1<<62
	evil := []notice.Complaints{{About: a, Sent: -1, Total: -1, New: -1, All: []notice.Complaint{{To: r[0].To, Words: r[2].Words, At: r[3].At}}}, {About: a, New: 1 << 40}}
	return []fixture{
		{"hostile-paused", notice.Paused(l, notice.Pause{About: a, Kind: mail.StopKind(r[0].To), Words: r[2].Words, At: r[3].At, Until: r[3].Until, Counts: c}, []notice.About{a, a})},
		{"hostile-slow", notice.Slow(l, notice.Forecast{About: a, Waiting: -1, Today: 1 << 40, Until: r[3].Until, Counts: c}, []notice.About{a})},
		{"hostile-complaints", notice.Complained(l, a.List, evil)},
	}
}

// TestAPauseSaysWhatHappenedWhyAndWhatToDo, with commands that can be copied.
func TestAPauseSaysWhatHappenedWhyAndWhatToDo(t *testing.T) {
	const id = "01JBV2A6R8000000000000MA1L"
	for name, c := range map[string]struct{ want, not []string }{
		"refused":       {[]string{"refuses it, whoever", "tried again by itself on 4 November 2026, 14:17", "`postern queue resume " + id + "`", "Waiting: 3", "not verified"}, []string{"--failed", "--outcome", "does not go on by itself"}},
		"refused-first": {[]string{"does not go on by itself", "(10 recipients): `postern queue retry " + id + " --failed`", "`postern queue cancel " + id + "`", "`postern queue show " + id + "`"}, []string{"--outcome"}},
		"unmade":        {[]string{"cannot be made", "permission denied", "Recipients so far: 500", "--eml ADDRESS`"}, []string{"--failed", "--outcome"}},
		"bounces":       {[]string{"comes back as undeliverable", "Sent: 1,200", "Waiting: 10,760", "Came back as undeliverable: 84 (6.77 %)", "`postern queue show " + id + " --outcome bounced`", "come from", "suppressed"}, []string{"--failed", "--outcome complained"}},
		"complaints":    {[]string{"report it as spam", "Reported as spam: 5", "`postern queue show " + id + " --outcome complained`"}, []string{"comes back as undeliverable", "--outcome bounced"}},
		"both":          {[]string{"comes back as undeliverable or is reported as spam"}, nil},
	} {
		m := read(t, notice.Paused(letter("en"), pauses("en")[name], nil))
		for _, want := range c.want {
			if !strings.Contains(m.text, want) {
				t.Errorf("%s does not say %q:\n%s", name, want, m.text)
			}
		}
		for _, not := range c.not {
			if strings.Contains(m.text, not) {
				t.Errorf("%s says %q:\n%s", name, not, m.text)
			}
		}
	}
}

// TestANoticeNamesAllItsReaders and is an answer to the sender alone.
func TestANoticeNamesAllItsReaders(t *testing.T) {
	l := letter("en")
	l.Cc = []mail.Address{"owner@example.com", "it@example.com"}
	p := pauses("en")["bounces"]
	m := read(t, notice.Paused(l, p, nil))
	if to, err := m.header.AddressList("Cc"); err != nil || len(to) != 2 || to[1].Address != "it@example.com" {
		t.Errorf("Cc is %v, %v", to, err)
	}
	if m.header.Get("Auto-Submitted") != "auto-replied" || m.header.Get("In-Reply-To") != "<orig-1@shop.example.com>" {
		t.Error(m.header)
	}
	l.To, l.Cc = "owner@example.com", nil
	m = read(t, notice.Paused(l, p, nil))
	if m.header.Get("Auto-Submitted") != "auto-generated" || m.header.Get("In-Reply-To") != "" || m.header.Get("Cc") != "" {
		t.Error("to somebody else it is an answer:", m.header)
	}
}

func TestFurtherMailsAreNamedUpToABound(t *testing.T) {
	m := read(t, notice.Paused(letter("en"), pauses("en")["refused"], others(999)))
	for _, want := range []string{"999 more mails", "Invoice 4721\n", "and 989 more: `postern queue list`"} {
		if !strings.Contains(m.text, want) {
			t.Errorf("%q is missing in\n%s", want, m.text)
		}
	}
	if strings.Contains(m.text, "Invoice 4722") {
		t.Error("all of them are named")
	}
}

func TestASlowMailIsCounted(t *testing.T) {
	m := read(t, notice.Slow(letter("en"), forecast("en"), nil))
	for _, want := range []string{"Recipients: 100,000", "Sent so far: 10,000", "Can still be sent now: 40,000", "Have to wait: 50,000", "5 November 2026, 21:03", "postern queue cancel 01JBV2A6R8000000000000MA1L", "larger quota"} {
		if !strings.Contains(m.text, want) {
			t.Errorf("%q is missing in\n%s", want, m.text)
		}
	}
}

func TestComplaintsAreNamedUpToABound(t *testing.T) {
	all := complaints("en")
	for i := range 500 {
		all[0].All = append(all[0].All, notice.Complaint{To: mail.Address(fmt.Sprintf("u%d@example.net", i)), At: at})
	}
	all[0].New = 700
	m := read(t, notice.Complained(letter("en"), promotions, all))
	if n := strings.Count(m.text, "@example.net, "); n != 99 {
		t.Errorf("%d are named beside the first", n)
	}
	for _, want := range []string{"702 recipients have reported", "and 600 more: `postern queue show 01JBT0000000000000000MA1L2 --outcome complained`", "and 2 more", "9 (0.08 %)", "taken off all lists"} {
		if !strings.Contains(m.text, want) {
			t.Errorf("%q is missing in\n%s", want, m.text)
		}
	}
	if m.subject != "Reported as spam by 702 recipients: Promotions" {
		t.Error(m.subject)
	}
}
