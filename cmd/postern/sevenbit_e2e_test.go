package main_test

import (
	"bytes"
	"strings"
	"testing"
)

const eightBitMail = `To: somebody@example.org
Message-ID: <eight@example.com>
MIME-Version: 1.0
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit

안녕하세요, 가격 = 100원
.
끝 
`

// submitEightBit relays the mail and gives what went out, as Python reads it.
func submitEightBit(t *testing.T, g *gateway, text string, out func() [][]byte) (raw []byte) {
	t.Helper()
	g.mustSubmit("somebody@example.org", text)
	g.settled("done")
	mails := out()
	if len(mails) != 1 {
		t.Fatalf("%d mails went out", len(mails))
	}
	p := g.read(mails)[0] // signed validly, too
	if p.Subject != "안녕하세요" || p.From != "marketer@example.com" || strings.ReplaceAll(p.Text, "\r\n", "\n") != "안녕하세요, 가격 = 100원\n.\n끝 \n" {
		t.Errorf("Python reads %+v", p)
	}
	return mails[0]
}

func TestEightBitMailIsEncodedForSESBeforeItIsSigned(t *testing.T) {
	g, fake := sesGateway(t, 1, "")
	raw := submitEightBit(t, g, "From: 마케터 <marketer@example.com>\nSubject: 안녕하세요\n"+eightBitMail, func() (all [][]byte) {
		for _, m := range fake.Mails() {
			all = append(all, m.Raw)
		}
		return all
	})
	for i, c := range raw {
		if c >= 0x80 || c == 0 {
			t.Fatalf("not 7-bit at %d: %.60q", i, raw[i:])
		}
	}
	if coding := header(raw, "Content-Transfer-Encoding"); coding != "quoted-printable" {
		t.Errorf("Content-Transfer-Encoding: %s", coding)
	}
	g.stop()
}

func TestEightBitMailStaysAsItIsWhereItCan(t *testing.T) {
	g := newGateway(t, maildirLane)
	g.serve()
	raw := submitEightBit(t, g, "From: marketer@example.com\nSubject: =?utf-8?B?7JWI64WV7ZWY7IS47JqU?=\n"+eightBitMail, g.outbox)
	_, want, _ := strings.Cut(strings.ReplaceAll(eightBitMail, "\n", "\r\n"), "\r\n\r\n")
	if _, body, _ := bytes.Cut(raw, []byte("\r\n\r\n")); string(body) != want {
		t.Errorf("the body is %q", body)
	}
	g.stop()
}
