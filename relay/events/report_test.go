package events_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	"postern/mail"
	"postern/relay/events"
)

const id = "01KBQ7ZJ3N8R5T9V2W4X6Y8Z0A-1@gw.example.com"

func read(t testing.TB, file string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func crlf(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

// TestReports as mail systems write them, with either line end.
func TestReports(t *testing.T) {
	kim := events.Recipient{Final: "kim@example.net", Action: "failed"}
	with := func(change func(*events.Recipient)) []events.Recipient {
		r := kim
		change(&r)
		return []events.Recipient{r}
	}
	for file, want := range map[string]events.Report{
		"postfix.eml": {Reporter: "mx.example.net", MessageID: id, ID: "20261123000005.4Tq0aB1x2yz@mx.example.net", ReturnPath: "bounces+x@lists.example.com",
			ListUnsubscribe: "<https://lists.example.com/u/v1.k1.AbC-dEf_123>, <mailto:unsubscribe@lists.example.com?subject=v1.k1.AbC-dEf_123>", Copy: "01KBQ7ZJ3N8R5T9V2W4X6Y8Z0A-1", Recipients: with(func(r *events.Recipient) {
				r.Original, r.Status, r.RemoteMTA = "kim@example.net", "5.1.1", "store.example.net"
				r.Diagnostic = "550 5.1.1 <kim@example.net>: Recipient address rejected: User unknown in virtual mailbox table"
			})},
		"exim.eml": {Reporter: "mail.example.net", MessageID: id, ID: "E1vMabc-000000001ab-0xyz@mail.example.net", ReturnPath: "bounces+x@lists.example.com", Recipients: with(func(r *events.Recipient) { r.Status = "5.0.0" })},
		"exchange.eml": {Reporter: "EX01.example.net", MessageID: id, ID: "f1e2d3c4-b5a6-4978-8899-aabbccddeeff@EX01.example.net", Recipients: with(func(r *events.Recipient) {
			r.Original, r.Final, r.Status = "kim@example.net", "KIM@example.net", "5.1.10"
			r.Diagnostic = "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup"
		})},
		"gmail.eml": {Reporter: "googlemail.com", MessageID: id, ID: "65a1b2c3.050a0220.abc12.0def.GMR@mx.google.com", Recipients: with(func(r *events.Recipient) {
			r.Action, r.Status = "delayed", "4.4.1"
			r.Diagnostic = "The recipient server did not accept our requests to connect. [store.example.net. 198.51.100.7: timed out]"
		})},
		"arf.eml": {Complaint: "abuse", Reporter: "ExampleFBL/1.0", MessageID: id, ID: "433689.81121.example@fbl.example.net"},
		"wrapped.eml": {Reporter: "filter.example.net", MessageID: id, Recipients: []events.Recipient{
			{Final: "lee@example.net", Action: "failed", Status: "4.2.2"},
			{Final: "kim@other.example", Original: "kim@example.net", Action: "failed", Status: "5.7.1", Diagnostic: "554 policy"},
			{Action: "delivered", Status: "2.0.0"},
		}},
	} {
		t.Run(file, func(t *testing.T) {
			for _, text := range []string{read(t, file), crlf(read(t, file))} {
				got, err := events.ParseReport(iotest.OneByteReader(strings.NewReader(text)))
				if err != nil || !reflect.DeepEqual(got, want) {
					t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
				}
			}
		})
	}
}

func TestARecipientIsKnownByEitherAddress(t *testing.T) {
	r := events.Recipient{Final: "Kim@Other.example", Original: "kim@example.net"}
	for a, want := range map[mail.Address]bool{"kim@other.example": true, "KIM@example.net": true, "lee@example.net": false, "": false} {
		if r.Is(a) != want {
			t.Errorf("%q: %v", a, !want)
		}
	}
	if none := (&events.Recipient{}); none.Is("") {
		t.Error("nobody is somebody")
	}
}

// TestWhatIsNoReport, however much of one it holds.
func TestWhatIsNoReport(t *testing.T) {
	dsn := read(t, "postfix.eml")
	for name, text := range map[string]string{
		"nothing":                 "",
		"a mail":                  "From: kim@example.net\nSubject: Undelivered Mail\n\nFinal-Recipient: rfc822; kim@example.net\nAction: failed\n",
		"a forwarded report":      "Content-Type: message/rfc822\n\n" + dsn,
		"a report as a part":      "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/rfc822\n\n" + dsn + "\n--b--\n",
		"an empty report":         "Content-Type: message/delivery-status\n\n\n",
		"words about a report":    "Content-Type: multipart/report; boundary=b\n\n--b\nContent-Type: text/plain\n\nReporting-MTA: dns; x\n\n--b--\n",
		"a boundary that is none": "Content-Type: multipart/report; boundary=\"\"\n\n--\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; x\n",
		"too deep": strings.Join([]string{"Content-Type: multipart/mixed; boundary=a\n\n--a", "Content-Type: multipart/mixed; boundary=b\n\n--b",
			"Content-Type: multipart/mixed; boundary=c\n\n--c", "Content-Type: multipart/mixed; boundary=d\n\n--d",
			"Content-Type: message/delivery-status\n\nReporting-MTA: dns; x\n"}, "\n"),
		"too many parts": "Content-Type: multipart/mixed; boundary=b\n\n" + strings.Repeat("--b\n\nx\n", 200) + "--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; x\n",
		"a read receipt": "Content-Type: multipart/report; report-type=disposition-notification; boundary=b\n\n--b\nContent-Type: message/disposition-notification\n\nFinal-Recipient: rfc822; kim@example.net\n--b--\n",
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := events.ParseReport(strings.NewReader(text)); !errors.Is(err, events.ErrNoReport) {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

// TestAnErrorOfReadingIsNoVerdict about the mail.
func TestAnErrorOfReadingIsNoVerdict(t *testing.T) {
	broken := errors.New("the disk is gone")
	r := io.MultiReader(strings.NewReader(read(t, "postfix.eml")[:1500]), iotest.ErrReader(broken))
	if got, err := events.ParseReport(r); !errors.Is(err, broken) {
		t.Errorf("got %+v, %v", got, err)
	}
}

// TestAReportIsBounded in everything that a stranger may make long, and what it
// says can stand in a log.
func TestAReportIsBounded(t *testing.T) {
	var b strings.Builder
	b.WriteString("Content-Type: message/delivery-status\n\nReporting-MTA: dns; \x1b[31mmx\u202e" + strings.Repeat("y", 10000) + "\n\n")
	for i := range 500 {
		fmt.Fprintf(&b, "Final-Recipient: rfc822; kim%d@example.net\nStatus: 9.1.1\nAction: failed\n\n", i)
	}
	r, err := events.ParseReport(strings.NewReader(b.String()))
	if err != nil || len(r.Recipients) != events.MaxRecipients || len(r.Reporter) > events.MaxText || strings.ContainsAny(r.Reporter, "\x1b\u202e") {
		t.Errorf("%d recipients, reporter %q, %v", len(r.Recipients), r.Reporter, err)
	}
	if r.Recipients[0].Status != "" {
		t.Errorf("status %q", r.Recipients[0].Status)
	}
	for name, text := range map[string]io.Reader{
		"a header without end": io.LimitReader(endless("X: "+strings.Repeat("y", 60)+"\n"), 1<<30),
		"a line without end":   io.LimitReader(endless("x"), 1<<30),
		"a field without end":  io.MultiReader(strings.NewReader("X: y\n"), io.LimitReader(endless(" "+strings.Repeat("y", 60)+"\n"), 1<<30)),
		"parts without end":    io.MultiReader(strings.NewReader("Content-Type: multipart/mixed; boundary=b\n\n"), io.LimitReader(endless("--b\n\n"+strings.Repeat("x", 60)+"\n"), 1<<30)),
		"a status without end": io.MultiReader(strings.NewReader("Content-Type: message/delivery-status\n\n"), io.LimitReader(endless(strings.Repeat("z", 60)+"\n"), 1<<30)),
	} {
		t.Run(name, func(t *testing.T) {
			counted := &counter{r: text}
			if r, err := events.ParseReport(counted); !errors.Is(err, events.ErrNoReport) || counted.n > events.MaxSize {
				t.Errorf("%+v, %v after %d octets", r, err, counted.n)
			}
		})
	}
}

// endless repeats its octets.
type endless string

func (e endless) Read(p []byte) (int, error) {
	if len(p) < len(e) {
		return copy(p, strings.Repeat("\n", len(p))), nil
	}
	n := 0
	for n+len(e) <= len(p) {
		n += copy(p[n:], e)
	}
	return n, nil
}

type counter struct {
	r io.Reader
	n int
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += n
	return n, err
}

// FuzzParseReport: whatever a stranger sends there is no panic, and what is found
// is within its bounds and shows nothing that a log must not hold.
func FuzzParseReport(f *testing.F) {
	files, err := filepath.Glob("testdata/*.eml")
	if err != nil || len(files) < 6 {
		f.Fatal(files, err)
	}
	for _, file := range files {
		f.Add([]byte(read(f, filepath.Base(file))))
		f.Add([]byte(crlf(read(f, filepath.Base(file)))))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := events.ParseReport(strings.NewReader(string(raw)))
		if err != nil {
			if !errors.Is(err, events.ErrNoReport) {
				t.Fatal(err)
			}
			return
		}
		texts := []string{r.Complaint, r.Reporter, r.ID, r.MessageID, r.Copy}
		if len(r.ListUnsubscribe) > events.MaxLinks {
			t.Errorf("%d octets of List-Unsubscribe", len(r.ListUnsubscribe))
		}
		if all := r.Events(); len(all) > events.MaxRecipients {
			t.Errorf("%d events", len(all))
		}
		if len(r.Recipients) > events.MaxRecipients {
			t.Errorf("%d recipients", len(r.Recipients))
		}
		for _, one := range r.Recipients {
			texts = append(texts, one.Action, one.Status, one.Diagnostic, one.RemoteMTA)
			for _, a := range []mail.Address{one.Final, one.Original} {
				if _, err := mail.ParseAddress(string(a)); a != "" && err != nil {
					t.Errorf("address %q: %v", a, err)
				}
			}
		}
		for _, s := range texts {
			if len(s) > events.MaxText || strings.ContainsAny(s, "\r\n\x00\x1b\u202e") {
				t.Errorf("text %q", s)
			}
		}
	})
}
