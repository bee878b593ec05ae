package notice_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"postern/mail"
	"postern/relay/notice"
)

// TestWhatServersSayInPlainWords is the table of causes: the heading of the
// English text and the Status for programs.
func TestWhatServersSayInPlainWords(t *testing.T) {
	const (
		gone, closed, full, domain   = "The address does not exist", "The mailbox is closed for now", "The mailbox is full", "The part after the @ takes no mail"
		spam, unproven, much, grey   = "The mail was refused by a spam filter or a rule", "The receiving server cannot tell that the mail is really from you", "The receiving server takes no more mail from us for now", "The receiving server asks to come back later"
		reach, out, supp, letters    = "The recipient's mail server cannot be reached", "Our outgoing mail service has trouble", "The address is on the list of those who get nothing", "The address has letters that cannot be sent"
		pass, sender, content, large = "A mail server on the way did not let the mail pass", "Your sender address was refused", "The content of the mail was refused", "The mail is too large"
		own, circle, tries, unsure   = "The receiving server has trouble of its own", "The mail goes round in a circle", "No try to deliver the mail succeeded", "It is not known whether the mail arrived"
		other, waits, written        = "The mail could not be handed over", "The mail waits to be sent", "The address is not written correctly"
	)
	for _, c := range []struct{ words, heading, status string }{
		{"550 5.1.1 x", gone, "5.1.1"}, {"550-5.1.1 The email account that you tried to reach does not exist.", gone, "5.1.1"}, {"5.1.1 x", gone, "5.1.1"},
		{"550 User unknown", gone, "5.1.1"}, {"550 5.4.1 Recipient address rejected: Access denied.", gone, "5.4.1"}, {"550 5.7.1 No such user!", gone, "5.7.1"},
		{"550 5.2.1 The email account that you tried to reach is disabled", closed, "5.2.1"}, {"554 This account has been suspended", closed, "5.2.1"},
		{"552 5.2.2 x", full, "5.2.2"}, {"452 4.2.2 x", full, "4.2.2"}, {"552 x", full, "5.2.2"}, {"550 Mailbox full", full, "5.2.2"},
		{"550 5.1.2 x", domain, "5.1.2"}, {"556 5.1.10 null MX", domain, "5.1.10"}, {"550 Host not found", domain, "5.1.2"}, {"556 no", domain, "5.1.2"},
		{"553 x", written, "5.1.3"},
		{"552 5.3.4 x", large, "5.3.4"}, {"554 Message too large", large, "5.3.4"}, {"the copy is too large for Amazon SES, HTTP 413: Request Entity Too Large", large, "5.3.4"},
		{"550 5.7.1 x", spam, "5.7.1"}, {"554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org", spam, "5.7.1"}, {"554 rejected as spam", spam, "5.7.1"},
		{"550 5.7.26 x", unproven, "5.7.26"}, {"550 5.7.1 rejected by DMARC policy", unproven, "5.7.1"}, {"550 SPF check failed", unproven, "5.7.1"},
		{"421 4.7.28 x", much, "4.7.28"}, {"450 4.2.1 The user you are trying to contact is receiving mail at a rate that prevents", much, "4.2.1"}, {"452 4.5.3 Too many recipients", much, "4.5.3"},
		{"450 4.7.1 Greylisting in effect", grey, "4.7.1"}, {"451 graylisted", grey, "4.7.1"}, {"450 4.2.0 See http://postgrey.example/", grey, "4.2.0"},
		{"451 4.4.1 x", reach, "4.4.1"}, {"dial tcp: connection refused", reach, "4.4.1"},
		{"smtp.example.com:587 cannot be reached: x", out, "4.4.1"}, {"Amazon SES cannot be reached, nothing was sent: x", out, "4.4.1"},
		{"nothing was sent: sending was stopped", out, "4.4.1"}, {"the connection to smtp.example.com:25 was lost before the mail was sent: EOF", out, "4.4.1"},
		{"Amazon SES asks to go slower: Maximum sending rate exceeded.", out, "4.4.1"},
		{"Address is on the suppression list", supp, "5.7.1"}, {"553 5.6.7 x", letters, "5.6.7"},
		{"554 5.7.1 Relay access denied", pass, "5.7.1"}, {"535 5.7.8 x", pass, "5.7.8"}, {"530 Authentication required", pass, "5.7.1"},
		{"550 5.1.8 x", sender, "5.1.8"}, {"550 Sender address rejected: not owned by user", sender, "5.1.8"}, {"Email address is not verified.", sender, "5.1.8"},
		{"552 5.7.0 Our system detected an illegal attachment", content, "5.7.0"}, {"554 5.6.0 x", content, "5.6.0"}, {"554 virus found", content, "5.6.0"},
		{"451 4.3.0 x", own, "4.3.0"}, {"421 x", own, "4.3.0"}, {"450 x", own, "4.3.0"}, {"554 5.4.6 x", circle, "5.4.6"},
		{"the mail was handed to smtp.example.com:25 and the line broke; it may have been sent", unsure, "4.4.2"},
		{"554 x", other, "5.0.0"}, {"503 x", other, "5.5.1"}, {"x", other, "5.0.0"}, {"550", other, "5.0.0"}, {"450 5.1.1 x", gone, "4.1.1"}, {"550 4.2.2 x", full, "5.2.2"},
		{"5501 x", other, "5.0.0"}, {"550 5.1234.1 x", other, "5.0.0"}, {"250 2.0.0 fine", other, "5.0.0"},
		{"550 <spam.dmarc@example.net> no", other, "5.0.0"}, // its own address misleads nobody
		{"550 5.0.0 Please despise us", other, "5.0.0"},
		{"", tries, "4.4.7"}, {" \r\n ", tries, "4.4.7"},
	} {
		r := recipient("spam.dmarc@example.net", c.words)
		m := read(t, notice.Failed(letter("en"), about("x"), []notice.Recipient{r}, notice.Totals{Recipients: 1}))
		if !strings.Contains(m.text, "\n\n"+c.heading+"\n\n") {
			t.Errorf("%q is not %q but\n%s", c.words, c.heading, m.text)
		}
		if !strings.Contains(m.status, "\nStatus: "+c.status+"\n") {
			t.Errorf("%q is not %s but\n%s", c.words, c.status, m.status)
		}
		if m = read(t, notice.Delayed(letter("en"), about("x"), []notice.Recipient{r}, notice.Totals{Recipients: 1}, 0)); !strings.Contains(m.status, "\nStatus: 4.") {
			t.Errorf("%q, delayed, is\n%s", c.words, m.status)
		}
	}
	m := read(t, notice.Delayed(letter("en"), about("x"), []notice.Recipient{{To: "min@example.net"}}, notice.Totals{Recipients: 1}, 0))
	if !strings.Contains(m.text, waits) {
		t.Errorf("a copy that was never tried:\n%s", m.text)
	}
}

// TestTheWordsOfTheServerStayWhole: every word of a long answer is in the text and
// in the Diagnostic-Code, where folding is all that is done to it.
func TestTheWordsOfTheServerStayWhole(t *testing.T) {
	words := "550 5.7.1 " + strings.Repeat("one two three four, ", 50) + "five"
	m := read(t, notice.Failed(letter("en"), about("x"), []notice.Recipient{recipient("min@example.net", words)}, notice.Totals{Recipients: 1}))
	if !strings.Contains(m.text, "“"+words+"”") {
		t.Error("the text has other words:", m.text)
	}
	if !strings.Contains(strings.ReplaceAll(m.status, "\n ", " "), "\nDiagnostic-Code: smtp; "+words+"\n") {
		t.Error("the status has other words:", m.status)
	}
	m = read(t, notice.Failed(letter("en"), about("x"), []notice.Recipient{recipient("min@example.net", "our own words")}, notice.Totals{Recipients: 1}))
	if !strings.Contains(m.status, "\nDiagnostic-Code: x-postern; our own words\n") || !strings.Contains(m.text, "Reported: “our own words”") {
		t.Error("our own words pass for a server's:", m.status, m.text)
	}
}

func TestAddressesInTheDeliveryStatus(t *testing.T) {
	for to, want := range map[mail.Address]string{
		"min@Example.NET":         "rfc822; min@example.net",
		"min@예시.한국":               "rfc822; min@xn--vv4b11d.xn--3e0b707e",
		`"min kim"@example.net`:   `rfc822; "min kim"@example.net`,
		"민+a=b@예시.한국":             `utf-8; \x{BBFC}\x{2B}a\x{3D}b@xn--vv4b11d.xn--3e0b707e`,
		`"민 kim\""@example.net`:   `utf-8; "\x{BBFC}\x{20}kim\x{5C}""@example.net`,
		"😀@example.net":           `utf-8; \x{1F600}@example.net`,
		"no address\r\nAction: x": `x-unknown; no address Action: x`,
		"x@[\x01]":                `x-unknown; x@[ ]`,
	} {
		m := read(t, notice.Failed(letter("en"), about("x"), []notice.Recipient{recipient(string(to), "550 no")}, notice.Totals{}))
		if !strings.Contains(m.status, "\nFinal-Recipient: "+want+"\n") {
			t.Errorf("%s is not %s but\n%s", to, want, m.status)
		}
	}
}

func TestWhatIsAnsweredIsNamedWhereItIsSane(t *testing.T) {
	for header, want := range map[string]string{
		"Message-ID: <a@b.example>\r\n":                         "<a@b.example>",
		"message-id:\r\n <a@b.example>\r\n":                     "<a@b.example>",
		"Message-ID: <a@b.example>\nMessage-ID: <c@d.example>":  "",
		"Message-ID: a@b.example\r\n":                           "",
		"Message-ID: <a@b>, <c@d>\r\n":                          "",
		"Message-ID: <a b@c>\r\n":                               "",
		"Message-ID: <a@b\r\n X-Evil: 1>\r\n":                   "",
		"Message-ID: <민@b>\r\n":                                 "",
		"Message-ID: <" + strings.Repeat("a", 300) + "@b>\r\n":  "",
		"Subject: x\r\n\r\nMessage-ID: <a@b.example>\r\n":       "",
		"Subject: x\r\n Message-ID: <folded@b.example>\r\n":     "",
		"Message-ID: <a@b.example>\rMessage-ID: <evil@x>\r\n":   "",
		"X-Message-ID: <a@b.example>\r\nMessage-ID:   \r\n\r\n": "",
	} {
		a := about("x")
		a.Header = []byte(header)
		m := read(t, notice.Failed(letter("en"), a, nil, notice.Totals{}))
		if got := m.header.Get("In-Reply-To"); got != want || m.header.Get("References") != want {
			t.Errorf("%q: %q, want %q", header, got, want)
		}
	}
}

func TestTheOriginalsHeaderIsRepeatedWithoutBcc(t *testing.T) {
	a := about("x")
	a.Header = []byte("From: a@example.com\nBCC: one@example.net,\n\ttwo@example.net\nbcc : three@example.net\nResent-Bcc: four@example.net\nX-Long: " + strings.Repeat("y", 40<<10) +
		"\nX: 1\rBcc: five@example.net\nSubject: 가을\n\nBcc: six@example.net\n")
	m := read(t, notice.Failed(letter("en"), a, nil, notice.Totals{}))
	if want := "From: a@example.com\nX: 1 Bcc: five@example.net\nSubject: 가을\n"; m.original != want {
		t.Errorf("got  %q\nwant %q", m.original, want)
	}
	a.Header = nil
	if m = read(t, notice.Failed(letter("en"), a, nil, notice.Totals{})); len(m.kinds) != 2 {
		t.Errorf("without a header: %v", m.kinds)
	}
	a.Header = []byte(strings.Repeat("X-Field: 0123456789\r\n", 10000))
	if m = read(t, notice.Failed(letter("en"), a, nil, notice.Totals{})); len(m.original) > 32<<10 || len(m.original) < 30<<10 {
		t.Errorf("the header is cut to %d octets", len(m.original))
	}
}

// TestManyFailuresReadWell: 200 recipients are three groups, each explained once,
// and all named; who is not listed is counted.
func TestManyFailuresReadWell(t *testing.T) {
	m := read(t, notice.Failed(letter("en"), about("Autumn sale"), crowd(), notice.Totals{Recipients: 12000, Reached: 11700, Failed: 250, Waiting: 50}))
	first := strings.SplitN(m.text, "\n", 2)[0]
	for _, want := range []string{"1. The address does not exist (130 recipients)\n\nThe", "2. The mailbox is full (50 recipients)\n\nThe", "3. The mail was refused by a spam filter or a rule (20 recipients)\n\nThe",
		"sent to 11,700 recipients", "still being tried for 50 recipients", "The first 200 of these 250 addresses"} {
		if strings.Count(m.text, want) != 1 {
			t.Errorf("%q is there %d times", want, strings.Count(m.text, want))
		}
	}
	if !strings.Contains(first, "250 of its 12,000 recipients") {
		t.Error("the first line is", first)
	}
	for _, r := range crowd() {
		if !strings.Contains(m.text, "\n    "+string(r.To)+"\n") {
			t.Errorf("%s is not named", r.To)
		}
	}
	if n := strings.Count(m.text, "User unknown in virtual mailbox table"); n != 1 {
		t.Errorf("an answer that all got is quoted %d times", n)
	}
}

func TestMoreThanAThousandRecipientsAreCut(t *testing.T) {
	var all []notice.Recipient
	for i := range 1500 {
		all = append(all, recipient(fmt.Sprintf("u%d@example.net", i), "550 5.1.1 no"))
	}
	m := read(t, notice.Failed(letter("en"), about("x"), all, notice.Totals{Recipients: 1500, Failed: 1500}))
	if n := strings.Count(m.status, "Final-Recipient"); n != 1000 || !strings.Contains(m.text, "The first 1,000 of these 1,500 addresses") {
		t.Errorf("%d recipients in the status", n)
	}
}

// TestDelaysKeepPeopleCalm: nothing to do, do not send again, until when.
func TestDelaysKeepPeopleCalm(t *testing.T) {
	two := []notice.Recipient{tried("min@example.net", "450 4.2.0 Greylisted", 3), tried("kim@example.net", "450 4.2.0 Greylisted", 3)}
	m := read(t, notice.Delayed(letter("en"), about("x"), two, notice.Totals{Recipients: 2, Waiting: 2}, 0))
	for _, want := range []string{"You need not do anything.", "do not send it again", "until 9 November 2026, 12:03"} {
		if !strings.Contains(m.text, want) {
			t.Errorf("%q is missing in\n%s", want, m.text)
		}
	}
	if strings.Contains(m.text, "What you can do") || strings.Contains(m.text, "more of your mails") {
		t.Error("there is nothing to do, and no other mail:", m.text)
	}
	if strings.Count(m.status, "\nWill-Retry-Until: Mon, 09 Nov 2026 12:03:00 +0900\n") != 2 {
		t.Error(m.status)
	}
	two[1].Until = time.Time{}
	m = read(t, notice.Delayed(letter("en"), about("x"), two, notice.Totals{Recipients: 2, Waiting: 2}, 1))
	if strings.Contains(m.text, "9 November") || !strings.Contains(m.text, "One more of your mails") {
		t.Error("an end that is not known of all is promised:", m.text)
	}
}

// TestAStrangersMailIsAttachedAsItCame, as message/rfc822 where 7 bits can carry it.
func TestAStrangersMailIsAttachedAsItCame(t *testing.T) {
	long := strings.Repeat("y", 1500)
	for raw, kind := range map[string]string{
		"Subject: x\r\n\r\nhello\r\n":                              "message/rfc822",
		"Subject: x\r\n folded\r\nTo: y\r\n\r\n":                   "message/rfc822",
		"Subject: x\n\nhello\n":                                    "application/octet-stream",
		"Subject: x\r\n\r\ncaf\xe9\r\n":                            "application/octet-stream",
		"Subject: x\r\n\r\n" + long + "\r\n":                       "application/octet-stream",
		"Subject: x\r\n\r\n" + long[:998] + "\r\n":                 "message/rfc822",
		"Subject: x\r\n\r\n" + long[:999] + "\r\n":                 "application/octet-stream",
		"no header\r\n\r\nhello\r\n":                               "application/octet-stream",
		"Subject: x\r\n \r\nX: y\r\n\r\nhello\r\n":                 "application/octet-stream",
		"Subject: x\r\n\r\nno line end":                            "message/rfc822",
		"Subject: x\r\n\r\nNUL \x00\r\n":                           "application/octet-stream",
		"":                                                         "application/octet-stream",
		"Subject: x\r\n\r\n--=_01JBV9C3W0000000000000N0TE_0--\r\n": "message/rfc822",
	} {
		b := notice.Postmaster(letter("en"), "lee@example.org", "192.0.2.1:25", []byte(raw))
		if problem := wire(b); problem != "" {
			t.Errorf("%q: %s", raw, problem)
		}
		m := read(t, b)
		if len(m.kinds) != 2 || m.kinds[1] != kind {
			t.Errorf("%.40q is attached as %v, want %s", raw, m.kinds, kind)
		}
		if want := strings.ReplaceAll(raw, "\r\n", "\n"); m.original != want {
			t.Errorf("%.40q arrives as %.40q", want, m.original)
		}
	}
}

func TestAHugeMailToPostmasterIsCut(t *testing.T) {
	raw := append([]byte("Subject: x\r\n\r\n"), bytes.Repeat([]byte("0123456789abcdef\r\n"), 1<<19)...)
	m := read(t, notice.Postmaster(letter("en"), "lee@example.org", "192.0.2.1:25", raw))
	if len(m.original) > 5<<20 || !strings.Contains(m.text, "the attachment is its beginning") {
		t.Errorf("%d octets are attached, and the text says\n%s", len(m.original), m.text)
	}
}

// TestTheSubjectOfAStrangerIsDecoded also from the charsets of Korea.
func TestTheSubjectOfAStrangerIsDecoded(t *testing.T) {
	for field, want := range map[string]string{
		"=?ks_c_5601-1987?B?vsiz58fPvLy/5A==?=":             "안녕하세요",
		"=?utf-8?B?7JWI64WV?=\r\n =?utf-8?B?7ZWY7IS47JqU?=": "안녕하세요",
		"=?who-knows?B?AAAA?=":                              "=?who-knows?B?AAAA?=",
		"=?utf-8?B?DQpCY2M6IHg=?=":                          "Bcc: x",
	} {
		m := read(t, notice.Postmaster(letter("en"), "", "", []byte("To: x\r\nSubject: "+field+"\r\n\r\n")))
		if m.subject != "Mail to postmaster: "+want {
			t.Errorf("%q is %q", field, m.subject)
		}
	}
}

// TestTotalsNeverContradictTheList, whatever the caller counted.
func TestTotalsNeverContradictTheList(t *testing.T) {
	two := []notice.Recipient{recipient("min@example.net", "550 no"), recipient("kim@example.net", "550 no")}
	for total, want := range map[notice.Totals]string{
		{}: "any of its 2 recipients",
		{Recipients: -1, Reached: -2, Failed: -3, Waiting: -4}: "any of its 2 recipients",
		{Recipients: 1, Failed: 1}:                             "any of its 2 recipients",
		{Recipients: 3, Reached: 5}:                            "2 of its 7 recipients",
		{Recipients: 10, Reached: 3, Failed: 2, Waiting: 1}:    "2 of its 10 recipients",
	} {
		if m := read(t, notice.Failed(letter("en"), about("x"), two, total)); !strings.Contains(m.text, want) {
			t.Errorf("%+v: %q is not in\n%s", total, want, m.text)
		}
	}
}

// TestEveryEventSaysWhatToDo, and what is over says that there is nothing to.
func TestEveryEventSaysWhatToDo(t *testing.T) {
	for kind, want := range map[notice.Kind][]string{
		notice.LanePaused:  {"What Postern does by itself", "What you should do", "postern queue list", "12,345", "“550 no”"},
		notice.LaneRuns:    {"nothing to do"},
		notice.LaneHeld:    {"What Postern does by itself", "What you should do", "Transactional mail goes on", "postern lane resume ses", "postern queue list", "--outcome bounced", "“550 no”"},
		notice.DiskFull:    {"What Postern does by itself", "What you should do: make room"},
		notice.DiskHasRoom: {"nothing to do"},
		notice.SpoolBroken: {"What Postern does by itself", "Restart Postern", "postern spool check"},
		notice.DiskLow:     {"still accepted"},
		notice.SyncLate:    {"What Postern does by itself", "What you should do", "postern sync status", "“550 no”"},
		notice.SyncAgain:   {"nothing to do"},
	} {
		m := read(t, notice.Operator(letter("en"), notice.Event{Kind: kind, Lane: "ses", Words: "550 no", Since: at, Waiting: 12345}))
		for _, w := range want {
			if !strings.Contains(m.text, w) {
				t.Errorf("%d does not say %q:\n%s", kind, w, m.text)
			}
		}
		if m.header.Get("Auto-Submitted") != "auto-generated" || len(m.kinds) != 1 {
			t.Error(m.header, m.kinds)
		}
	}
}

// TestMegabytesCostLittle: what is not shown is not looked at either.
func TestMegabytesCostLittle(t *testing.T) {
	big := strings.Repeat("가\r\n", 4<<20/5)
	l := letter("en")
	l.ID, l.Hostname, l.From, l.To = mail.ID(big), big, mail.Address(big), mail.Address(big)
	r := []notice.Recipient{{To: mail.Address(big), Words: big}, {To: mail.Address(big), Words: big}, {To: mail.Address(big), Words: big}, {To: mail.Address(big), Words: big}}
	a := notice.About{ID: mail.ID(big), Subject: big, List: big, Header: []byte("X: " + big)}
	for _, b := range [][]byte{notice.Failed(l, a, r, notice.Totals{}), notice.Delayed(l, a, r, notice.Totals{}, 1), notice.Operator(l, notice.Event{Lane: big, Words: big, Remedy: big}),
		notice.Paused(l, notice.Pause{About: a, Words: big}, []notice.About{a, a}), notice.Slow(l, notice.Forecast{About: a}, []notice.About{a, a}),
		notice.Complained(l, big, []notice.Complaints{{About: a, All: []notice.Complaint{{To: mail.Address(big), Words: big}}}})} {
		if len(b) > 256<<10 { // of 4 MB
			t.Errorf("a notice of %d octets", len(b))
		}
		if problem := wire(b); problem != "" {
			t.Error(problem)
		}
	}
}
