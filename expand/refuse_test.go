package expand_test

import (
	"fmt"
	"strings"
	"testing"
)

func TestRule10AutoSubmittedIsNotExpanded(t *testing.T) {
	for _, v := range []string{"auto-replied", "auto-generated", "Auto-Replied; owner-email=\"a@b\"", "(a comment) auto-notified (x)", "yes"} {
		wantIn(t, v, refused(t, "Auto-Submitted: "+v+"\n"+textMail("x")), "550 5.7.1", "machine")
	}
	for _, v := range []string{"no", "No (written by hand)", "no; x=y"} {
		compile(t, "Auto-Submitted: "+v+"\n"+textMail("x"))
	}
}

func TestRule11BulkAndSuppressAllAreNotExpanded(t *testing.T) {
	for _, f := range []string{"Precedence: bulk", "Precedence: LIST", "precedence:junk (x)", "X-Auto-Response-Suppress: All", "X-Auto-Response-Suppress: DR, all"} {
		wantIn(t, f, refused(t, f+"\n"+textMail("x")), "550 5.7.1")
	}
	for _, f := range []string{"Precedence: first-class", "X-Auto-Response-Suppress: OOF, AutoReply"} {
		compile(t, f+"\n"+textMail("x"))
	}
}

func TestRule12OurOwnCopyIsNotExpanded(t *testing.T) {
	own := string(compile(t, textMail("x")).Render(copyTo(compile(t, textMail("x")), "a@b.example", nil), "T").Bytes())
	own = strings.ReplaceAll(own, "\r\n", "\n")
	wantIn(t, "a copy come back", refused(t, "Received: from x by y; now\n"+own), "550 5.7.1", "copy")
	wantIn(t, "without its mark", refused(t, strings.Replace(own, "X-Postern-Copy", "X-Was-Copy", 1)), "550 5.7.1", "List-Id")
	wantIn(t, "hops", refused(t, strings.Repeat("Received: from x by y; now\n", 51)+textMail("x")), "550 5.4.6", "loop")
	compile(t, strings.Repeat("Received: from x by y; now\n", 50)+textMail("x"))
	compile(t, "List-Id: <news.elsewhere.example>\n"+textMail("x"))
}

func TestRule13ReportsAreNotExpanded(t *testing.T) {
	for _, kind := range []string{"delivery-status", "disposition-notification", "feedback-report"} {
		raw := "From: x@example.com\nContent-Type: multipart/report; report-type=" + kind + "; boundary=b\n\n--b\n\nx\n--b--\n"
		wantIn(t, kind, refused(t, raw), "550 5.7.1", "report")
	}
}

func TestRule14WhatCannotBeChangedIsRefusedWithAdvice(t *testing.T) {
	nested := func(part string) string {
		return "From: x@example.com\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nhello {{Name}}\n--b\n" + part + "\n--b--\n"
	}
	signed := "Content-Type: multipart/signed; protocol=\"%s\"; boundary=c\n\n--c\n\nx\n--c\nContent-Type: application/pkcs7-signature\n\nx\n--c--\n"
	for name, tc := range map[string]struct{ raw, why, advice string }{
		"S/MIME signed":    {"From: x@example.com\n" + strings.Replace(signed, "%s", "application/pkcs7-signature", 1), "S/MIME", "signature off"},
		"nested S/MIME":    {nested(strings.Replace(signed, "%s", "application/x-pkcs7-signature", 1)), "S/MIME", "signature off"},
		"PGP signed":       {"From: x@example.com\n" + strings.Replace(signed, "%s", "application/pgp-signature", 1), "PGP", "signature off"},
		"encrypted":        {"From: x@example.com\nContent-Type: multipart/encrypted; boundary=c\n\n--c\n\nx\n--c--\n", "encrypted", "encryption off"},
		"S/MIME encrypted": {"From: x@example.com\nContent-Type: application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m\n\nAAAA\n", "S/MIME", "switch"},
		"S/MIME by name":   {nested("Content-Type: application/octet-stream; name=\"SMIME.p7m\"\n\nAAAA"), "S/MIME", "switch"},
		"winmail.dat":      {nested("Content-Type: application/ms-tnef; name=winmail.dat\n\nAAAA"), "rich text", "HTML"},
		"named winmail":    {nested("Content-Type: application/octet-stream; name=WINMAIL.DAT\n\nAAAA"), "rich text", "HTML"},
		"meeting":          {nested("Content-Type: text/calendar; method=REQUEST\n\nBEGIN:VCALENDAR"), "meeting request", ".ics"},
		"meeting by class": {"Content-Class: urn:content-classes:calendarmessage\n" + textMail("x"), "meeting request", ".ics"},
		"recall":           {"Content-Class: urn:content-classes:recallmessage\n" + textMail("x"), "recall", "cancelled"},
		"inline PGP":       {textMail("-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nx"), "PGP", "off"},
	} {
		t.Run(name, func(t *testing.T) { wantIn(t, name, refused(t, tc.raw), "554 5.6.0", tc.why, tc.advice) })
	}
	compile(t, nested("Content-Type: text/calendar; name=party.ics\nContent-Disposition: attachment; filename=party.ics\n\nBEGIN:VCALENDAR"))
}

func TestBrokenMailIsRefusedInWords(t *testing.T) {
	deep := "\nx"
	for i := range 25 {
		deep = fmt.Sprintf("Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n%s\n--b%d--\n", i, i, deep, i)
	}
	deep = "From: x@example.com\n" + deep
	for name, tc := range map[string]struct{ raw, why string }{
		"no From":             {"Subject: x\n\nx\n", "one From field"},
		"two From":            {"From: a@example.com\nFrom: b@example.com\n\nx\n", "this one has 2"},
		"two mailboxes":       {"From: a@example.com, b@example.com\n\nx\n", "one address in From"},
		"unreadable From":     {"From: nobody\n\nx\n", "cannot be read"},
		"endless Subject":     {"From: a@example.com\nSubject: " + strings.Repeat("x", 9000) + "\n\nx\n", "shorter"},
		"endless From":        {"From: " + strings.Repeat("a@example.com, ", 2000) + "\n\nx\n", "cannot be read"},
		"no boundary":         {"From: a@example.com\nContent-Type: multipart/mixed\n\nx\n", "boundary"},
		"cut off":             {"From: a@example.com\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n", "cut off"},
		"no parts":            {"From: a@example.com\nContent-Type: multipart/mixed; boundary=b\n\n--b--\n", "without any part"},
		"no header field":     {"From: a@example.com\nhello\n\nx\n", `"hello"`},
		"deep":                {deep, "nested"},
		"many fields":         {"From: a@example.com\n" + strings.Repeat("X: y\n", 1001) + "\nx\n", "too long"},
		"8-bit attached mail": {"From: a@example.com\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/rfc822\n\nSubject: x\n\n한글\n--b--\n", "attach"},
		"unknown charset":     {"From: a@example.com\nContent-Type: text/plain; charset=x-klingon\n\n{{Name}}\n", "x-klingon"},
		"unknown coding":      {"From: a@example.com\nContent-Type: text/plain\nContent-Transfer-Encoding: x-uuencode\n\n{{Name}}\n", "x-uuencode"},
	} {
		t.Run(name, func(t *testing.T) { wantIn(t, name, refused(t, tc.raw), tc.why) })
	}
}
