package smarthost_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"postern/mail"
	"postern/relay/smarthost"
)

// received undoes RFC 5321 §4.5.2 and asks that the mail ends where it should.
func received(t rapid.TB, wire []byte) []byte {
	t.Helper()
	var out []byte
	for rest := wire; ; {
		line, more, ok := bytes.Cut(rest, []byte("\r\n"))
		if !ok {
			t.Fatalf("the wire ends without a final dot: %q", wire)
		}
		if string(line) == "." {
			if len(more) > 0 {
				t.Fatalf("the mail ends early: %q follows", more)
			}
			return out
		}
		out = append(append(out, bytes.TrimPrefix(line, []byte("."))...), "\r\n"...)
		rest = more
	}
}

func TestDotsArriveAsTheyWere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.SliceOf(rapid.SampledFrom([]string{".", "..", "\r\n", "\r\n.", "\r\n.\r\n", "a", "x.y", " "}))
		c := mail.Content{Header: []byte("Subject: x\r\n" + rapid.SampledFrom([]string{"", ".odd: field\r\n", " .\r\n"}).Draw(t, "header"))}
		body := strings.Join(text.Draw(t, "body"), "")
		for rest := body; rest != ""; {
			n := rapid.IntRange(0, len(rest)).Draw(t, "cut")
			c.Body = append(c.Body, []byte(rest[:n]))
			rest = rest[n:]
		}
		want := string(c.Bytes())
		if !strings.HasSuffix(want, "\r\n") {
			want += "\r\n"
		}
		wire, size := smarthost.Wire(c)
		if got := received(t, wire); string(got) != want {
			t.Fatalf("got  %q\nwant %q\nwire %q", got, want, wire)
		}
		if int64(len(wire)) != size {
			t.Fatalf("size %d of %d octets", size, len(wire))
		}
	})
}

// A bare LF breaks Content's promise; it must still not end the mail early at an
// upstream that takes it as the end of a line.
func TestBareNewlineDoesNotSmuggle(t *testing.T) {
	wire, _ := smarthost.Wire(mail.Content{Header: []byte("Subject: x\r\n"), Body: [][]byte{[]byte("a\n.\nMAIL FROM:<x@y>\n"), []byte(".\r\nb\r")}})
	if lax := strings.ReplaceAll(strings.ReplaceAll(string(wire), "\r\n", "\n"), "\r", "\n"); strings.Count(lax, "\n.\n") != 1 || !strings.HasSuffix(lax, "\n.\n") {
		t.Errorf("an upstream that takes LF as the end of a line sees the mail end early: %q", wire)
	}
}

func FuzzReply(f *testing.F) {
	for _, s := range []string{
		"250 ok\r\n", "250-a\r\n250 b\r\n", "550-5.1.1 a\r\n550 5.1.1 b\r\n", "250\r\n", "250-\r\n250\r\n", "25", "999 x\r\n",
		"250-a\r\n251 b\r\n", "220 \x00\x1b[31m\xff\r\n", "421 4.3.2 \xe2\x80\xae\r\n", strings.Repeat("250-x\r\n", 200), "250 " + strings.Repeat("x", 5000) + "\r\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		code, text, lines, err := smarthost.ReadReply(strings.NewReader(in))
		if err != nil {
			return
		}
		if code < 200 || code > 599 || len(lines) == 0 || len(text) > 2000 {
			t.Errorf("%q: code %d, %d lines, %d octets of text", in, code, len(lines), len(text))
		}
		for _, r := range text {
			if r < ' ' || r == 0x7f || r == 0x202e {
				t.Errorf("%q: %q is in the text", in, r)
			}
		}
		if e := smarthost.Refusal(code, text); e.Public == "" || e.Code != code {
			t.Errorf("%q: %+v", in, e)
		}
	})
}

func TestWordsOfARefusal(t *testing.T) {
	for _, c := range []struct{ in, enhanced, public string }{
		{"550 5.1.1 No such user\r\n", "5.1.1", "No such user"},
		{"550-5.1.1 The account that you\r\n550-5.1.1 tried to reach\r\n550 5.1.1 is gone. - gsmtp\r\n", "5.1.1", "The account that you tried to reach is gone. - gsmtp"},
		{"550-no\r\n550 5.1.1 user\r\n", "", "no 5.1.1 user"},
		{"550 4.1.1 of another class\r\n", "", "4.1.1 of another class"},
		{"550 5.1.1\r\n", "5.1.1", "the upstream gave no reason"},
		{"550\r\n", "", "the upstream gave no reason"},
		{"550 5.1234.1 x\r\n", "", "5.1234.1 x"},
		{"550 bell\x07 and \xff\r\n", "", "bell  and ?"},
	} {
		code, text, _, err := smarthost.ReadReply(strings.NewReader(c.in))
		if err != nil {
			t.Fatal(err)
		}
		var e *mail.Error
		if !errors.As(error(smarthost.Refusal(code, text)), &e) || e.Enhanced != c.enhanced || e.Public != c.public {
			t.Errorf("%q: %q %q", c.in, e.Enhanced, e.Public)
		}
	}
}
