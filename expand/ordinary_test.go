package expand_test

import (
	"errors"
	"strings"
	"testing"

	"postern/expand"
	"postern/mail"
)

func relay(t *testing.T, in expand.Input) (expand.Relayed, string) {
	t.Helper()
	r, err := expand.Ordinary(in)
	if err != nil {
		t.Fatalf("refused: %v", err)
	}
	return r, strings.ReplaceAll(string(r.Bytes()), "\r\n", "\n")
}

func TestRule25RelayedMailKeepsHeaderAndBody(t *testing.T) {
	body := "8-bit \xb1\xe8, {{Name}}, long " + strings.Repeat("x", 2000) + "\n.\n"
	in := input(t, "Received: from x by y; now\nX-SES-CONFIGURATION-SET: theirs\nDKIM-Signature: v=1;\n b=x\nReturn-Path: <x@y>\nSUBJECT : =?euc-kr?B?seg=?=\n  folded\nFrom: =?utf-8?q?x?= <erp@example.com>\nBcc: secret@example.com\nResent-Bcc: s@example.com\nTo: a@b.example\nPrecedence: bulk\n\n"+body)
	c, got := relay(t, in)
	want(t, "mail", got, "Received: from x by y; now\nSUBJECT : =?euc-kr?B?seg=?=\n  folded\nFrom: =?utf-8?q?x?= <erp@example.com>\nTo: a@b.example\nPrecedence: bulk\n"+
		"Date: Sun, 22 Nov 2026 09:30:00 +0900\nMessage-ID: <01JZ5V7Q8R9S0T1V2W3X4Y5Z6A@mail.example.com>\n\n"+body)
	want(t, "Subject", c.Subject, "김  folded")
	want(t, "From", string(c.From), "erp@example.com")
}

func TestRule25DateAndMessageIDAreAddedOnlyWhenMissing(t *testing.T) {
	raw := "From: a@example.com\nDate: yesterday\nmessage-id: <x@y>\n\nbody\n"
	_, got := relay(t, input(t, raw))
	want(t, "mail", got, raw)
	_, got = relay(t, input(t, "From: a@example.com\nno field: at all\n"))
	wantIn(t, "a header without an end", got, "From: a@example.com\nDate: ", "\n\nno field: at all\n")
	_, got = relay(t, input(t, "From: a@example.com\n"))
	wantIn(t, "a mail without a body", got, "From: a@example.com\nDate: ", "@mail.example.com>\n\n")
}

func TestAScannersFromIsRewritten(t *testing.T) {
	for name, tc := range map[string]struct{ in, from, reply string }{
		"rewritten":      {"From: \"Scanner 1\" <scan@printer.local>\n", "From: Scanner 1 <devices@example.com>\n", "Reply-To: Scanner 1 <scan@printer.local>\n"},
		"has a Reply-To": {"From: scan@printer.local\nReply-To: x@y.example\n", "From: devices@example.com\n", "Reply-To: x@y.example\n"},
		"none":           {"Subject: scan\n", "From: devices@example.com\n", ""},
		"two":            {"From: a@b.example\nFrom: c@d.example\n", "From: devices@example.com\n", ""},
		"its own":        {"From: Devices@EXAMPLE.com\n", "From: Devices@EXAMPLE.com\n", ""},
	} {
		in := input(t, tc.in+"\nx\n")
		in.RewriteFrom = "devices@example.com"
		c, got := relay(t, in)
		wantIn(t, name, got, tc.from, tc.reply)
		if strings.Count(got, "From: ") != 1 || strings.Count(got, "Reply-To: ") > 1 || tc.reply == "" && strings.Contains(got, "Reply-To") {
			t.Errorf("%s: %s", name, got)
		}
		want(t, name, c.From.Key(), "devices@example.com")
	}
}

func TestAFromThatNobodyCanCheckIsNotRelayed(t *testing.T) {
	for _, raw := range []string{"Subject: x\n\nx\n", "From: a@b.example\nFrom: c@d.example\n\nx\n", "From: a@b.example, c@d.example\n\nx\n", "From: x\n\nx\n"} {
		_, err := expand.Ordinary(input(t, raw))
		var e *mail.Error
		if !errors.As(err, &e) || e.Code != 554 || e.Class != mail.Permanent {
			t.Errorf("%q: %v", raw, err)
		}
	}
}
