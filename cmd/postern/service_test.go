package main_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"testing"

	postern "postern/cmd/postern"
	"postern/mail"
)

// serviceConfig has the list domain lists.example.com, people at example.com, and
// the host gw.example.net; its postmaster's mail goes to the operator.
func serviceConfig(t *testing.T, more string) *postern.Config {
	t.Helper()
	t.Chdir(t.TempDir()) // which the desk's files are relative to
	writeKey(t, "dkim.pem")
	cfg, err := postern.ParseConfig(`hostname = "GW.example.net"
` + working + `
[[smtp.listener]]
address = "127.0.0.1:0"
[[list]]
id = "promo"
address = "promo@lists.example.com"
[[list]]
id = "odd"
address = "postmaster@odd.example.com"
[[dkim]]
domain = "example.com"
key_file = "dkim.pem"
[optout]
mailto = "leave@out.example.com"
[notices]
from = "gateway@Example.com"
` + more)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

const operator = "operator = \"boss@example.org\"\n"

// services opens a desk; what it forwards and logs is kept.
func services(t *testing.T, cfg *postern.Config, refusal error) (desk postern.Desk, forwarded *[]string, log *bytes.Buffer) {
	t.Helper()
	forwarded, log = new([]string), new(bytes.Buffer)
	desk, err := postern.OpenServices(cfg, slog.New(slog.NewTextHandler(log, nil)), func(_ context.Context, _ *mail.Submitter, from mail.Address, raw []byte) error {
		*forwarded = append(*forwarded, string(from)+" "+string(raw))
		return refusal
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := desk.Close(); err != nil {
			t.Error(err)
		}
	})
	return desk, forwarded, log
}

func aStranger() *mail.Submitter {
	return &mail.Submitter{Name: "nobody", Remote: "198.51.100.1:1000", Priority: mail.Bulk}
}

func aRelay() *mail.Submitter {
	return &mail.Submitter{Name: "network 127.0.0.0/8", Loopback: true, Relay: true, SendAs: []string{"*@example.com"}, Lists: []string{"*"}}
}

// TestServiceAddresses is every kind of address, its near misses, and the
// postmaster of people's domains, who is a service for strangers alone.
func TestServiceAddresses(t *testing.T) {
	cfg := serviceConfig(t, "")
	lists := aRelay()
	lists.Relay = false
	rewritten := aRelay()
	rewritten.RewriteFrom = "devices@example.com"
	const me, other = mail.Address("me@example.com"), mail.Address("kim@elsewhere.example")
	for _, tt := range []struct {
		sub      *mail.Submitter
		from, to mail.Address
		want     string
	}{
		{aStranger(), other, "leave@out.example.com", "unsubscribe "},
		{aRelay(), me, "Leave@OUT.example.com", "unsubscribe "},
		{aStranger(), "", "leave@lists.example.com", " "},
		{aStranger(), "", "bounces+Ab_1-c@lists.example.com", "bounces ab_1-c"},
		{aStranger(), "", "BOUNCES+x@out.example.com", "bounces x"},
		{aStranger(), "", "bounces+x@gw.EXAMPLE.net", "bounces x"},
		{aRelay(), me, "bounces+x@example.com", "bounces x"},
		{aStranger(), "", `"bounces+x"@example.com`, "bounces x"},
		{aStranger(), "", "release+x@lists.example.com", "release x"},
		{aStranger(), "", "release+x@example.net", " "}, // the domain above the host is not ours
		{aStranger(), "", "release+x@x.lists.example.com", " "},
		{aStranger(), "", "bounces+x@lists.example.com.evil.example", " "},
		{aStranger(), "", "bounces@lists.example.com", " "},
		{aStranger(), "", "bounces+@lists.example.com", " "},
		{aStranger(), "", "bounces+a+b@lists.example.com", " "},
		{aStranger(), "", "bounces+a.b@lists.example.com", " "},
		{aStranger(), "", "release+a%b@lists.example.com", " "},
		{aStranger(), "", `"bounces+a b"@lists.example.com`, " "},
		{aStranger(), "", "bounces+ä@lists.example.com", " "},
		{aStranger(), other, "PostMaster@lists.example.com", "postmaster "},
		{aStranger(), "", "postmaster@gw.example.net", "postmaster "},
		{aStranger(), other, "postmaster+x@lists.example.com", " "},
		{aStranger(), other, "postmasters@lists.example.com", " "},
		{aStranger(), other, "postmaster@elsewhere.example", " "},
		{aStranger(), other, "postmaster@odd.example.com", " "}, // a list
		{aStranger(), other, "bounces+x@odd.example.com", "bounces x"},
		{aStranger(), other, "postmaster@example.com", "postmaster "},
		{aStranger(), me, "postmaster@example.com", "postmaster "},
		{aRelay(), me, "postmaster@example.com", " "},
		{aRelay(), "", "postmaster@EXAMPLE.com", " "},
		{aRelay(), other, "postmaster@example.com", "postmaster "}, // brought for a stranger
		{rewritten, other, "postmaster@example.com", " "},
		{lists, me, "postmaster@example.com", "postmaster "},
		{aRelay(), me, "postmaster@lists.example.com", "postmaster "},
	} {
		if kind, code := postern.ServiceOf(cfg, tt.sub, tt.from, tt.to); kind+" "+code != tt.want {
			t.Errorf("%s from %q to %s is %q %q, want %q", tt.sub.Name, tt.from, tt.to, kind, code, tt.want)
		}
	}
}

func TestServiceBounds(t *testing.T) {
	cfg := serviceConfig(t, "")
	small := serviceConfig(t, "[smtp]\nmax_message_bytes = 3000000\n")
	for kind, want := range map[string][2]int64{"unsubscribe": {262144, 262144}, "bounces": {10485760, 3000000}, "release": {5242880, 3000000}, "postmaster": {262144, 262144}} {
		a, b := postern.ServiceBound(cfg, kind), postern.ServiceBound(small, kind)
		if a.MaxBytes != want[0] || b.MaxBytes != want[1] || a.Name != kind || a.PerClient != map[bool]int{true: 5, false: 60}[kind == "postmaster"] || a.PerMinute != 4*a.PerClient && a.PerMinute != 10*a.PerClient {
			t.Errorf("%s: %+v and %+v", kind, a, b)
		}
	}
	if postern.ServiceBound(cfg, "") != nil {
		t.Error("what is no service has bounds")
	}
}

// aboutUs is a mail to the postmaster.
const aboutUs = trace + "From: Kim <kim@elsewhere.example>\r\nTo: postmaster@lists.example.com\r\nSubject: Your mail\r\n\r\nStop it.\r\n"

func TestMailToThePostmasterIsForwarded(t *testing.T) {
	desk, forwarded, _ := services(t, serviceConfig(t, operator), nil)
	both := []mail.Address{"postmaster@lists.example.com", "Postmaster@gw.example.net"}
	for _, from := range []mail.Address{"kim@elsewhere.example", ""} {
		for _, to := range both {
			if err := desk.Check(t.Context(), aStranger(), from, to); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := desk.Accept(t.Context(), aStranger(), mail.Envelope{From: from, Recipients: both}, strings.NewReader(aboutUs)); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"kim@elsewhere.example " + aboutUs} // once a mail; what has the empty sender is a bounce
	if fmt.Sprintf("%q", *forwarded) != fmt.Sprintf("%q", want) {
		t.Errorf("forwarded were %q", *forwarded)
	}
}

// TestMailInACircleIsNotForwarded: it is taken, nobody gets it, and the log says why.
func TestMailInACircleIsNotForwarded(t *testing.T) {
	desk, forwarded, log := services(t, serviceConfig(t, operator), nil)
	accept := func(header string) error {
		_, err := desk.Accept(t.Context(), aStranger(), mail.Envelope{From: "kim@elsewhere.example", Recipients: []mail.Address{"postmaster@lists.example.com"}}, strings.NewReader(trace+header+strings.TrimPrefix(aboutUs, trace)))
		return err
	}
	for header, why := range map[string]string{
		"Auto-Submitted: auto-replied\r\n":                       "Auto-Submitted",
		"auto-submitted: Auto-Generated; x=y\r\n":                "Auto-Submitted",
		"Auto-Submitted: no\r\nAuto-Submitted: auto-replied\r\n": "Auto-Submitted",
		"X-Postern-Copy: 01KBQ7ZJ3N8R5T9V2W4X6Y8Z0A-1\r\n":       "X-Postern-Copy",
		strings.Repeat("Received: from a by b\r\n", 50):          "Received",
		"From: \"The Gateway\" <Gateway@example.com>\r\n":        "notice",
		"From: gateway@example.com (\r\n":                        "notice",
	} {
		log.Reset()
		if err := accept(header); err != nil {
			t.Errorf("%q: %v", header, err)
		}
		if len(*forwarded) > 0 || !strings.Contains(log.String(), "was taken and not forwarded") || !strings.Contains(log.String(), why) {
			t.Errorf("%q: %d forwarded, and the log says %s", header, len(*forwarded), log)
		}
	}
	for _, header := range []string{"Auto-Submitted: No (a person)\r\n", "Reply-To: gateway@example.com\r\n", "X-From: gateway@example.com\r\n", strings.Repeat("Received: from a by b\r\n", 49)} {
		*forwarded = nil
		if err := accept(header); err != nil || len(*forwarded) != 1 {
			t.Errorf("%.40q: %v, %d forwarded", header, err, len(*forwarded))
		}
	}
}

func TestThePostmasterIsAPerson(t *testing.T) {
	cfg := serviceConfig(t, "")
	cfg.Notices.From = "release+no-person@lists.example.com"
	none, _, _ := services(t, cfg, nil)
	wantRefusal(t, none.Check(t.Context(), aStranger(), "", "postmaster@lists.example.com"), "550 5.1.1 nobody reads the mail to postmaster@lists.example.com: the administrator of this gateway has to set notices.operator to the address of a person")
	fallback, forwarded, _ := services(t, serviceConfig(t, ""), nil) // whoever reads notices.from
	if _, err := fallback.Accept(t.Context(), aStranger(), mail.Envelope{From: "kim@elsewhere.example", Recipients: []mail.Address{"postmaster@lists.example.com"}}, strings.NewReader(aboutUs)); err != nil || len(*forwarded) != 1 {
		t.Errorf("without an operator: %v, %d forwarded", err, len(*forwarded))
	}
	unable, err := postern.OpenServices(serviceConfig(t, operator), slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer unable.Close()
	wantRefusal(t, unable.Check(t.Context(), aStranger(), "", "postmaster@lists.example.com"), "550 5.1.1 mail to postmaster@lists.example.com cannot be forwarded")
	_, err = unable.Accept(t.Context(), aStranger(), mail.Envelope{Recipients: []mail.Address{"postmaster@lists.example.com"}}, strings.NewReader(aboutUs))
	wantRefusal(t, err, "550 5.1.1 mail to postmaster@lists.example.com cannot be forwarded")
}

func wantRefusal(t *testing.T, err error, want string) {
	t.Helper()
	var e *mail.Error
	if !errors.As(err, &e) || !strings.HasPrefix(e.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

// TestARefusalIsForTheWholeSubmission: nothing is forwarded of a mail that a list
// refuses, nothing is kept of one that a service refuses or cannot do, and one that
// nobody refuses goes to all.
func TestARefusalIsForTheWholeSubmission(t *testing.T) {
	later := mail.Later(452, "4.3.1", "the disk of this gateway is full")
	for name, tt := range map[string]struct {
		to        []mail.Address
		header    string
		refusal   error // of forward
		want      string
		forwarded int
		kept      int
	}{
		"all":                     {[]mail.Address{"postmaster@lists.example.com", "promo@lists.example.com", "x@example.org"}, "", nil, "", 1, 2},
		"the list refuses":        {[]mail.Address{"postmaster@lists.example.com", "promo@lists.example.com"}, "Precedence: bulk\r\n", nil, "550 5.7.1", 0, 0},
		"a release":               {[]mail.Address{"postmaster@lists.example.com", "release+a@lists.example.com", "x@example.org"}, "", nil, "550 5.3.3 this version takes no release by mail: have an administrator run `postern queue resume ID`", 0, 0},
		"a code that is missing":  {[]mail.Address{"x@example.org", "postmaster@lists.example.com", "leave@out.example.com"}, "", nil, "550 5.6.0 this address only takes the unsubscribe mail", 0, 0},
		"no report":               {[]mail.Address{"bounces+x@lists.example.com", "postmaster@lists.example.com", "x@example.org"}, "", nil, "550 5.1.1 this address only takes reports", 0, 0},
		"the notice is not taken": {[]mail.Address{"postmaster@lists.example.com", "x@example.org"}, "", later, "452 4.3.1", 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			desk, forwarded, _ := services(t, serviceConfig(t, operator), tt.refusal)
			text := trace + tt.header + strings.ReplaceAll(strings.TrimPrefix(aboutUs, trace), "kim@elsewhere.example", "me@example.com")
			_, err := desk.Accept(t.Context(), aRelay(), mail.Envelope{From: "me@example.com", Recipients: tt.to}, strings.NewReader(text))
			if tt.want != "" {
				wantRefusal(t, err, tt.want)
			} else if err != nil {
				t.Error(err)
			}
			kept, err := desk.Spool.Messages("", 10)
			if err != nil || len(kept) != tt.kept || len(*forwarded) != tt.forwarded {
				t.Errorf("%d messages are kept (%v), %d forwarded", len(kept), err, len(*forwarded))
			}
		})
	}
}

// TestAReportFindsItsCopy by the code of the address, by the copy's Message-ID, or
// by the message's with the recipient; and no other copy. It changes nothing, because
// none of these is a proof.
func TestAReportFindsItsCopy(t *testing.T) {
	reports, err := filepath.Abs("../../relay/events/testdata")
	if err != nil {
		t.Fatal(err)
	}
	desk, _, log := services(t, serviceConfig(t, ""), nil)
	_, err = desk.Accept(t.Context(), aRelay(), mail.Envelope{From: "me@example.com", Recipients: []mail.Address{"kim@example.net", "lee@example.net"}},
		strings.NewReader(trace+"From: me@example.com\r\nSubject: Hi\r\n\r\nHi\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	kept, err := desk.Spool.Messages("", 10)
	if err != nil || len(kept) != 1 {
		t.Fatal(kept, err)
	}
	copies, err := desk.Spool.Copies(kept[0].ID, 0, 10)
	if err != nil || len(copies) != 2 {
		t.Fatal(copies, err)
	}
	kim, lee, message := copies[0].Tag(), copies[1].Tag(), string(kept[0].ID)
	if copies[0].To != "kim@example.net" {
		kim, lee = lee, kim
	}
	const unknown = "01KBQ7ZJ3N8R5T9V2W4X6Y8Z0A-1"
	for _, tt := range []struct {
		name, file, code, id, want string
	}{
		{"by the code", "postfix.eml", kim, "x", "proves nothing and changes nothing\" message=" + message},
		{"by the code in lower case", "exim.eml", strings.ToLower(kim), "x", "status=5.0.0 action=failed"},
		{"by the Message-ID", "exchange.eml", "x", kim, "status=5.1.10 action=failed"},
		{"by the message's id and the recipient", "postfix.eml", "x", message, "to=kim@example.net status=5.1.1"},
		{"one recipient of several", "wrapped.eml", kim, "x", "to=kim@example.net status=5.7.1 action=failed"},
		{"another of them", "wrapped.eml", lee, "x", "to=lee@example.net status=4.2.2 action=failed"},
		{"a delay", "gmail.eml", kim, "x", "status=4.4.1 action=delayed"},
		{"a complaint by the code", "arf.eml", kim, "x", "complaint=abuse"},
		{"a complaint by the Message-ID", "arf.eml", "x", lee, "to=lee@example.net"},
		{"about another recipient", "postfix.eml", lee, "x", ""},
		{"about another recipient, by the Message-ID", "postfix.eml", "x", lee, ""},
		{"by a code that is wrong, and a Message-ID that is right", "postfix.eml", unknown, kim, ""},
		{"about a mail that was never here", "postfix.eml", "x", unknown, ""},
		{"about a message that was never here", "postfix.eml", "x", strings.TrimSuffix(unknown, "-1"), ""},
		{"about a copy that there never was", "postfix.eml", message + "-9", "x", ""},
		{"about a copy without a number", "postfix.eml", message + "-0", "x", ""},
		{"about nothing", "postfix.eml", "x", "x", ""},
		{"a complaint about a message of several", "arf.eml", "x", message, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			raw, err := os.ReadFile(filepath.Join(reports, tt.file))
			if err != nil {
				t.Fatal(err)
			}
			text := strings.ReplaceAll(strings.ReplaceAll(string(raw), unknown+"@gw.example.com", tt.id+"@gw.example.com"), "\n", "\r\n")
			log.Reset()
			_, err = desk.Accept(t.Context(), aStranger(), mail.Envelope{Recipients: []mail.Address{mail.Address("bounces+" + tt.code + "@lists.example.com")}}, strings.NewReader(trace+text))
			if tt.want == "" {
				wantRefusal(t, err, "550 5.1.1 this address only takes reports about mail that this gateway has sent")
			} else if err != nil || !strings.Contains(log.String(), tt.want) {
				t.Errorf("got %v, and the log says %s", err, log)
			}
			if again, err := desk.Spool.Messages("", 10); err != nil || fmt.Sprint(again) != fmt.Sprint(kept) {
				t.Errorf("the spool is %v now (%v)", again, err)
			}
		})
	}
}

// TestAStrangersLargeMailIsCutOff for every service, and leaves nothing behind.
func TestAStrangersLargeMailIsCutOff(t *testing.T) {
	cfg := serviceConfig(t, operator)
	desk, forwarded, _ := services(t, cfg, nil)
	if err := desk.SMTP.Listen(); err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- desk.SMTP.Serve() }()
	defer func() {
		if err := errors.Join(desk.SMTP.Shutdown(t.Context()), <-served); err != nil {
			t.Error(err)
		}
	}()
	const chunk = 40 << 20
	lines := strings.Repeat(strings.Repeat("x", 1022)+"\r\n", 64)
	for kind, to := range map[string]string{"unsubscribe": "leave@out.example.com", "bounces": "bounces+x@lists.example.com",
		"release": "release+x@lists.example.com", "postmaster": "postmaster@lists.example.com"} {
		t.Run(kind, func(t *testing.T) {
			conn, err := net.Dial("tcp", desk.SMTP.Addrs()[0].String())
			if err != nil {
				t.Fatal(err)
			}
			k := &speaker{t, textproto.NewConn(conn)}
			defer k.Close()
			k.hear("the greeting")
			bound := postern.ServiceBound(cfg, kind).MaxBytes
			over := fmt.Sprintf("552 5.3.4 mail to %s may have %d octets, and this one is larger", to, bound)
			k.must("EHLO stranger.example", "250")
			k.must("MAIL FROM:<stranger@elsewhere.example>", "250")
			k.must("RCPT TO:<"+to+">", "250")
			fmt.Fprintf(k.W, "BDAT %d LAST\r\n", chunk)
			for range chunk/len(lines) - 1 {
				if _, err := k.W.WriteString(lines); err != nil {
					t.Fatal(err)
				}
			}
			if held := bodyOctets(t, cfg.DataDir); held > bound+4<<10 {
				t.Errorf("%d octets are on the disk", held)
			}
			k.must(strings.TrimSuffix(lines, "\r\n"), over)
			if held := bodyOctets(t, cfg.DataDir); held > 0 || len(*forwarded) > 0 {
				t.Errorf("%d octets are left on the disk, and %d mails were forwarded", held, len(*forwarded))
			}
			k.must("MAIL FROM:<> SIZE=40000000", "250")
			k.must("RCPT TO:<"+to+">", over)
		})
	}
}

// bodyOctets is how much lies in the spool's folder of bodies.
func bodyOctets(t *testing.T, dataDir string) (n int64) {
	t.Helper()
	files, err := os.ReadDir(filepath.Join(dataDir, "bodies"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if info, err := f.Info(); err == nil {
			n += info.Size()
		}
	}
	return n
}
