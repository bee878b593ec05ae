package notice_test

import (
	"fmt"
	"strings"
	"time"

	"postern/mail"
	"postern/relay/notice"
)

// seoul is where the times are shown.
var seoul = time.FixedZone("KST", 9*60*60)

// at is when the golden notices are written.
var at = time.Date(2026, 11, 4, 14, 3, 0, 0, seoul)

func letter(language string) notice.Letter {
	return notice.Letter{ID: "01JBV9C3W0000000000000N0TE", Hostname: "mail.example.com", From: "postmaster@example.com",
		To: "marketer@example.com", Date: at, Language: language}
}

func about(subject string) notice.About {
	return notice.About{ID: "01JBV2A6R8000000000000MA1L", Subject: subject, AcceptedAt: at.Add(-2 * time.Hour).UTC(), Header: []byte(
		"Received: from [192.0.2.7] by mail.example.com;\r\n Wed, 04 Nov 2026 12:03:00 +0900\r\nFrom: Kim <marketer@example.com>\r\n" +
			"To: min@example.net\r\nBcc: secret@example.net\r\nSubject: Autumn sale\r\nMessage-ID: <orig-1@shop.example.com>\r\n\r\n")}
}

func recipient(to, words string) notice.Recipient {
	return notice.Recipient{To: mail.Address(to), Words: words, At: at.Add(-time.Minute), Attempts: 1}
}

func tried(to, words string, attempts int) notice.Recipient {
	r := recipient(to, words)
	r.Attempts, r.Until = attempts, at.Add(5*24*time.Hour-2*time.Hour)
	return r
}

// crowd is 200 recipients whom three causes befell, each answered by name.
func crowd() (all []notice.Recipient) {
	for i := range 200 {
		to := fmt.Sprintf("user%03d@example.net", i)
		switch {
		case i%4 == 1:
			all = append(all, tried(to, "452 4.2.2 <"+to+"> The mailbox is over quota", 4))
		case i%10 == 2:
			all = append(all, recipient(to, "550 5.7.1 Message from [192.0.2.25] blocked, see https://example.net/bl"))
		default:
			all = append(all, recipient(to, "550 5.1.1 <"+to+">: Recipient address rejected: User unknown in virtual mailbox table"))
		}
	}
	return all
}

// hostile holds what must not get through, in every place that takes strings.
func hostile() (notice.Letter, notice.About, []notice.Recipient) {
	const evil = "Hi\r\nBcc: evil@example.com\r\n\r\n--=_01_0\x00\x1b[31m \u202egpj.exe \xff\xfe=?utf-8?Q?x?= %s %d"
	l := letter("en")
	l.ID, l.Hostname, l.From, l.To = "\r\nX-Evil: 1", "mail\r\nX-Evil: 1", "a@b\r\nX-Evil: 1", evil
	a := notice.About{ID: evil, Subject: evil + strings.Repeat("가", 5000), List: evil, AcceptedAt: time.Unix(1<<60, 0),
		Header: []byte("Subject: " + strings.Repeat("민", 2000) + "\nX-Evil: 1\rX: 2\n no field\nBCC : secret@example.net\n and more of it\n: x\nMessage-ID: <a@b>\r\n\tX-Evil: 1\nTo: y\n \t\nX-After: z\n\nbody")}
	return l, a, []notice.Recipient{
		{To: evil, Words: "550 5.1.1 " + evil}, {To: "x@[\x01\u202e]", Words: evil}, {To: "", Words: strings.Repeat("x", 5000) + strings.Repeat(" 나", 3000)},
		{To: mail.Address(strings.Repeat("y", 100000)), Words: "5.1.1", Attempts: -1, At: time.Unix(-1<<60, 0), Until: time.Unix(1<<60, 0)},
		{To: "ok@example.com", Words: "550\r\n\r\n"},
	}
}

// fixture is a notice whose exact octets are kept.
type fixture struct {
	name string
	mail []byte
}

func fixtures() (all []fixture) {
	for _, language := range []string{"en", "ko"} {
		l := letter(language)
		add := func(name string, mail []byte) { all = append(all, fixture{name + "." + language, mail}) }
		failures(l, add)
		delays(l, add)
		decisions(l, add)
		events(l, add)
		l.To = "operator@example.com"
		add("postmaster", notice.Postmaster(l, "lee@example.org", "198.51.100.4:2525",
			[]byte("From: lee@example.org\r\nTo: postmaster@example.com\r\nSubject: =?euc-kr?B?vsiz58fPvLy/5A==?=\r\n\r\nYour server sends me spam.\r\n")))
		add("postmaster-8bit", notice.Postmaster(l, "", "198.51.100.4", []byte("Subject: Réponse\nFrom: <>\n\nlong "+strings.Repeat("é", 2000)+"\n")))
	}
	l, a, r := hostile()
	all = append(all, hostileDecisions()...)
	return append(all, fixture{"hostile-failed", notice.Failed(l, a, r, notice.Totals{Recipients: -5})},
		fixture{"hostile-delayed", notice.Delayed(l, a, r, notice.Totals{}, -1)},
		fixture{"hostile-operator", notice.Operator(l, notice.Event{Kind: 99, Class: 99, Lane: a.Subject, Words: a.Subject})},
		fixture{"hostile-postmaster", notice.Postmaster(l, l.To, string(l.To), []byte("Subject: =?utf-8?B?DQpCY2M6IGV2aWxAZXhhbXBsZS5jb20=?=\r\n\r\n--=_XEvil1_0--\r\n"))})
}

func failures(l notice.Letter, add func(string, []byte)) {
	sale := about("가을 세일 안내")
	if l.Language == "en" {
		sale.Subject = "Autumn sale"
	}
	add("failed-one", notice.Failed(l, sale, []notice.Recipient{recipient("min@example.net", "550 5.1.1 <min@example.net>: No such user here")},
		notice.Totals{Recipients: 1, Failed: 1}))
	sale.List = "Promotions <promo@lists.example.com>"
	add("failed-200", notice.Failed(l, sale, crowd(), notice.Totals{Recipients: 12000, Reached: 11790, Failed: 200, Waiting: 10}))
	add("failed-capped", notice.Failed(l, sale, crowd()[:2], notice.Totals{Recipients: 1000, Reached: 660, Failed: 340}))
	sale.List = ""
	add("failed-every-cause", notice.Failed(l, sale, causes(), notice.Totals{Recipients: len(causes()), Failed: len(causes())}))
	long := about(strings.TrimSpace(strings.Repeat("겨울맞이 특별 할인 행사를 ", 20)))
	long.Header = nil
	add("failed-long-subject", notice.Failed(l, long, []notice.Recipient{tried("min@한국.example", "", 31), recipient("민수+a@예시.한국",
		"553 5.6.7 민수+a@예시.한국 cannot be reached: the part before the @ has letters beyond ASCII, which the way out (no SMTPUTF8) cannot carry")},
		notice.Totals{Recipients: 4, Reached: 2, Failed: 2}))
}

// causes has a recipient for every cause that is told apart.
func causes() (all []notice.Recipient) {
	for i, words := range []string{
		"550 5.1.1 No such user here", "550 5.2.1 This mailbox is inactive", "452-4.2.2 The recipient's inbox is out of storage space", "550 5.1.2 Domain not found",
		"501 5.1.3 Bad recipient address syntax", "552 5.3.4 Message size exceeds fixed limit", "Address is on the suppression list for your account",
		"553 5.6.7 the part before the @ has letters beyond ASCII", "550 5.7.1 Our system has detected that this message is likely unsolicited mail",
		"550 5.7.26 This mail has been blocked because the sender is unauthenticated", "421 4.7.28 unusual rate of mail", "450 4.2.0 Recipient address rejected: Greylisted, see http://example.org",
		"451 4.4.1 Connection timed out", "smtp.example.com:587 cannot be reached: connection refused", "554 5.7.1 Relay access denied", "550 5.1.8 Sender address rejected: Domain not found",
		"552 5.7.0 This message was blocked because its attachment may be a virus", "451 4.3.0 Internal server error", "554 5.4.6 Too many hops", "the mail was handed to smtp.example.com:587 and no answer came; it may have been sent",
		"554 No thank you", "", "",
	} {
		all = append(all, recipient(fmt.Sprintf("r%02d@example.net", i), words))
	}
	all[len(all)-1].Attempts = 0
	return all
}

func delays(l notice.Letter, add func(string, []byte)) {
	a := about("Invoice 4711")
	add("delayed-one", notice.Delayed(l, a, []notice.Recipient{tried("min@example.net", "450 4.2.0 <min@example.net>: Recipient address rejected: Greylisted", 5)},
		notice.Totals{Recipients: 1, Waiting: 1}, 0))
	unknown := tried("kim@example.org", "the connection to smtp.example.com:587 was lost before the mail was sent: EOF", 2)
	unknown.Until = time.Time{}
	add("delayed-some", notice.Delayed(l, a, []notice.Recipient{tried("min@example.net", "451 4.4.1 [example.net] connection timed out", 5), unknown},
		notice.Totals{Recipients: 10, Reached: 8, Waiting: 2}, 3))
}

func events(l notice.Letter, add func(string, []byte)) {
	e := notice.Event{Lane: "ses", Since: at.Add(-10 * time.Minute), Until: at.Add(5 * time.Minute), Waiting: 1234}
	for _, class := range []mail.Class{mail.AccountWide, mail.QuotaSpent, mail.Unreachable, mail.Uncertain, mail.Temporary} {
		e.Class, e.Words = class, map[mail.Class]string{
			mail.AccountWide: "Amazon refuses the credentials: The security token included in the request is invalid.",
			mail.QuotaSpent:  "Amazon SES's quota for 24 hours is used up: Daily message quota exceeded.",
			mail.Unreachable: "Amazon SES cannot be reached, nothing was sent: the name email.ap-northeast-2.amazonaws.com does not resolve",
			mail.Uncertain:   "upstream gives no clear answer any more: Amazon SES did not answer after it had the copy (no answer in time); it may have been sent",
		}[class]
		add("operator-lane-"+class.String(), notice.Operator(l, e))
	}
	e.Class, e.Remedy = mail.AccountWide, "run `aws login` on this machine: the credentials have expired."
	add("operator-lane-remedy", notice.Operator(l, e))
	e = notice.Event{Lane: "ses", ByHand: true, Words: "moving to another account", Since: at.Add(-24 * time.Hour), Waiting: 1234}
	add("operator-lane-by-hand", notice.Operator(l, e))
	e = notice.Event{Kind: notice.LaneHeld, Lane: "ses", Since: at.Add(-time.Minute), Waiting: 10760,
		Words: "bulk mail waits to protect the account: within a day 612 of 11000 copies have bounced, which is more than 5 %"}
	add("operator-lane-held", notice.Operator(l, e))
	e = notice.Event{Lane: "ses", Since: at.Add(-10 * time.Minute), Waiting: 1234}
	e.Kind, e.Words, e.Until = notice.LaneRuns, "", at
	add("operator-lane-runs", notice.Operator(l, e))
	e = notice.Event{Kind: notice.SyncLate, Since: at.Add(-4 * time.Hour), Words: "MySQL at db.example.com:3306 does not answer"}
	add("operator-sync-late", notice.Operator(l, e))
	e = notice.Event{Kind: notice.SyncAgain, Since: at.Add(-4 * time.Hour), Until: at}
	add("operator-sync-again", notice.Operator(l, e))
	names := [...]string{notice.DiskFull: "disk-full", notice.DiskHasRoom: "disk-room", notice.SpoolBroken: "spool-broken", notice.DiskLow: "disk-low"}
	for _, kind := range []notice.Kind{notice.DiskFull, notice.DiskHasRoom, notice.SpoolBroken, notice.DiskLow} {
		e = notice.Event{Kind: kind, Since: at.Add(-10 * time.Minute)}
		switch kind {
		case notice.DiskFull:
			e.Words = "no space left on device"
		case notice.SpoolBroken:
			e.Words = "fdatasync: input/output error"
		default:
			e.Until = at
		}
		add("operator-"+names[kind], notice.Operator(l, e))
	}
}
