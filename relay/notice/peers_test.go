package notice_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/internal/peer"
	"postern/mail"
	"postern/relay/notice"
)

// bySomebody is a notice as a reader sees it that is not ours. Python fills all,
// mailparser what it has.
type bySomebody struct {
	Subject, Kind, Report, Auto, Answers, To, From, ID, Text string
	Names, Parts, Headers, Defects, Files                    []string
	Groups                                                   [][][2]string
}

// readers lets Python's email package and mailparser read mails.
func readers(t *testing.T, mails []fixture) (python, node []bySomebody) {
	t.Helper()
	dir := t.TempDir()
	var paths []string
	for i, m := range mails {
		p := filepath.Join(dir, fmt.Sprintf("%05d.eml", i))
		if err := os.WriteFile(p, m.mail, 0o600); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, p)
	}
	names := filepath.Join(dir, "names")
	if err := os.WriteFile(names, []byte(strings.Join(paths, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	js := exec.Command(peer.Command(t, "node"), "testdata/read.js", names)
	js.Env = append(os.Environ(), "MAILPARSER="+filepath.Join(peer.NodeModules(t), "mailparser"))
	for cmd, all := range map[*exec.Cmd]*[]bySomebody{exec.Command(peer.Python, "testdata/read.py", names): &python, js: &node} {
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v", cmd, err)
		}
		if err := json.Unmarshal(out, all); err != nil {
			t.Fatal(err)
		}
		if len(*all) != len(mails) {
			t.Fatalf("%s read %d of %d mails", cmd, len(*all), len(mails))
		}
	}
	return python, node
}

// TestOthersReadWhatWeWrote: every golden notice, and hundreds from hostile input,
// read the same to net/mail, Python and mailparser.
func TestOthersReadWhatWeWrote(t *testing.T) {
	mails := append(fixtures(), mutations(500)...)
	dumped, _ := filepath.Glob(filepath.Join(*dump, "*.eml")) // without -dump: none
	for _, p := range dumped {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		mails = append(mails, fixture{p, b})
	}
	python, node := readers(t, mails)
	for i, m := range mails {
		ours, py, js := read(t, m.mail), python[i], node[i]
		fail := func(format string, a ...any) {
			t.Helper()
			t.Errorf("%s: %s\n%s", m.name, fmt.Sprintf(format, a...), m.mail[:min(len(m.mail), 1500)])
		}
		if problem := wire(m.mail); problem != "" {
			fail("%s", problem)
		}
		if py.Subject != ours.subject || js.Subject != ours.subject {
			fail("the subject is\n%q, to Python\n%q, to mailparser\n%q", ours.subject, py.Subject, js.Subject)
		}
		if py.Text != ours.text {
			fail("the text is\n%q, to Python\n%q", ours.text, py.Text)
		}
		// mailparser appends the other text parts.
		if !strings.HasPrefix(trimmed(js.Text), trimmed(ours.text)) {
			fail("the text is\n%q, to mailparser\n%q", trimmed(ours.text), trimmed(js.Text))
		}
		if !slices.Equal(py.Parts, ours.kinds) {
			fail("the parts are %v, to Python %v", ours.kinds, py.Parts)
		}
		if len(py.Defects) > 0 {
			fail("Python finds defects: %v", py.Defects)
		}
		for _, name := range py.Names {
			if !isOurs(name) {
				fail("Python sees the field %s", name)
			}
		}
		for _, name := range js.Names {
			if !isOurs(name) {
				fail("mailparser sees the field %s", name)
			}
		}
	}
}

// trimmed is what mailparser does to text: blanks at line ends and of its own.
func trimmed(s string) string {
	rows := strings.Split(strings.TrimSpace(strings.ReplaceAll(s, "\r", "")), "\n")
	for i, r := range rows {
		rows[i] = strings.TrimRight(r, " ")
	}
	return strings.Join(rows, "\n")
}

// TestPythonReadsTheDeliveryStatus looks into the part that programs read.
func TestPythonReadsTheDeliveryStatus(t *testing.T) {
	python, _ := readers(t, fixtures())
	for i, f := range fixtures() {
		p := python[i]
		if strings.HasPrefix(f.name, "hostile") {
			continue
		}
		if !strings.HasPrefix(f.name, "failed") && !strings.HasPrefix(f.name, "delayed") {
			want := "auto-generated"
			if strings.HasPrefix(f.name, "paused") || strings.HasPrefix(f.name, "slow") {
				want = "auto-replied"
			}
			if p.Auto != want || p.Report != "" && p.Kind == "multipart/report" {
				t.Errorf("%s is %s, %s", f.name, p.Auto, p.Kind)
			}
			continue
		}
		if p.Kind != "multipart/report" || p.Report != "delivery-status" || p.Auto != "auto-replied" || p.Parts[1] != "message/delivery-status" {
			t.Errorf("%s: %s, report-type %q, %s, %v", f.name, p.Kind, p.Report, p.Auto, p.Parts)
		}
		if i := slices.Index(p.Headers, "Bcc"); i >= 0 || len(p.Parts) == 3 && len(p.Headers) != 5 {
			t.Errorf("%s: the original's header has %v", f.name, p.Headers)
		}
		if len(p.Groups) < 2 || p.Groups[0][0] != [2]string{"Reporting-MTA", "dns; mail.example.com"} {
			t.Fatalf("%s: the groups are %v", f.name, p.Groups)
		}
		for _, g := range p.Groups[1:] {
			var names []string
			for _, field := range g {
				names = append(names, field[0])
			}
			if !slices.Equal(names[:3], []string{"Final-Recipient", "Action", "Status"}) {
				t.Errorf("%s: a group has %v", f.name, names)
			}
			action, status := g[1][1], g[2][1]
			if want := strings.SplitN(f.name, "-", 2)[0]; action != want || action == "delayed" && status[0] != '4' {
				t.Errorf("%s: %s %s", f.name, action, status)
			}
		}
	}
	i := slices.IndexFunc(fixtures(), func(f fixture) bool { return f.name == "failed-200.en" })
	if n := len(python[i].Groups); n != 201 {
		t.Errorf("200 recipients make %d groups", n)
	}
	want := [][2]string{{"Final-Recipient", "rfc822; user001@example.net"}, {"Action", "failed"}, {"Status", "4.2.2"},
		{"Diagnostic-Code", "smtp; 452 4.2.2 <user001@example.net> The mailbox is over quota"}, {"Last-Attempt-Date", "Wed, 04 Nov 2026 14:02:00 +0900"}}
	if got := python[i].Groups[2]; !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

// mutations are notices of what chance puts together from evil parts.
func mutations(n int) (all []fixture) {
	r := rand.New(rand.NewPCG(1, 2))
	evil := []string{"", "a", "min@example.net", "민", "\r\n", "\n", "\r", "\x00", "\u202e", "\u200d", "\u2028", "\xff", "=?utf-8?B?7Yq5?=", "=?x?Q?", "--", "=_", ":", "Bcc: a@b", "<a@b>", "\"", "\\",
		"550 ", "5.1.1 ", "450-", "4.7.1", "\t", "  ", strings.Repeat("x", 1100), strings.Repeat("가 ", 200), "@", "[", "]", "example.com", "👨‍👩‍👧", "�", "\ufeff", "\u00a0", "\u0085", "%s", "Subject: ", "Message-ID: ", " ", "."}
	some := func() string {
		var b strings.Builder
		for range r.IntN(8) {
			b.WriteString(evil[r.IntN(len(evil))])
		}
		return b.String()
	}
	for i := range n {
		l := notice.Letter{ID: mail.ID(some()), Hostname: some(), From: mail.Address(some()), To: mail.Address(some()), Date: time.Unix(r.Int64N(4e9), 0).UTC(), Language: []string{"ko", "en"}[i%2]}
		a := notice.About{ID: mail.ID(some()), Subject: some() + some(), AcceptedAt: at, Header: []byte(some() + "\r\n" + some() + some()), List: some()}
		var to []notice.Recipient
		for range r.IntN(6) {
			to = append(to, notice.Recipient{To: mail.Address(some()), Words: some(), At: at, Until: at, Attempts: r.IntN(3)})
		}
		totals := notice.Totals{Recipients: r.IntN(9), Reached: r.IntN(9), Failed: r.IntN(9), Waiting: r.IntN(9)}
		var m []byte
		if i%7 == 0 {
			l.Cc = []mail.Address{mail.Address(some()), mail.Address(some())}
			a.From = l.To
		}
		switch i % 7 {
		case 0:
			m = notice.Failed(l, a, to, totals)
		case 1:
			m = notice.Delayed(l, a, to, totals, r.IntN(3))
		case 2:
			m = notice.Operator(l, notice.Event{Kind: notice.Kind(r.IntN(8)), Lane: some(), Words: some(), Class: mail.Class(r.IntN(9)), ByHand: r.IntN(2) == 0, Remedy: some()})
		case 3:
			kinds := []mail.StopKind{mail.StopRefused, mail.StopUnmade, mail.StopBounces, "other"}
			m = notice.Paused(l, notice.Pause{About: a, Kind: kinds[r.IntN(4)], Words: some(), At: at, Growing: i%2 == 0}, []notice.About{a}[:r.IntN(2)])
		case 4:
			m = notice.Slow(l, notice.Forecast{About: a, Waiting: r.IntN(9), Today: r.IntN(9), Until: at}, []notice.About{a}[:r.IntN(2)])
		case 5:
			m = notice.Complained(l, some(), []notice.Complaints{{About: a, Sent: r.IntN(9), New: r.IntN(4), All: []notice.Complaint{{To: mail.Address(some()), Words: some(), At: at}}}})
		default:
			m = notice.Postmaster(l, mail.Address(some()), some(), []byte("Subject: "+some()+"\r\n"+some()+"\r\n\r\n"+some()))
		}
		all = append(all, fixture{fmt.Sprintf("mutation %d", i), m})
	}
	return all
}
