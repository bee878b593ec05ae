package smtpd_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"

	"postern/mail"
	"postern/smtpd"
)

// begin opens a transaction and wants 354.
func begin(c *client) {
	c.t.Helper()
	c.do("MAIL FROM:<a@example.com>", "250")
	c.do("RCPT TO:<b@example.net>", "250")
	c.do("DATA", "354")
}

// hello connects to a plain listener and says EHLO.
func hello(t testing.TB, s *smtpd.Server) *client {
	t.Helper()
	c := dial(t, s.Addrs()[0], "")
	c.want("220")
	c.do("EHLO x", "250")
	return c
}

// afterTrace is the mail below our own Received field.
func afterTrace(t testing.TB, m submitted) string {
	t.Helper()
	rest := m.Body
	for first := true; first || strings.HasPrefix(rest, "\t"); first = false {
		_, after, ok := strings.Cut(rest, "\r\n")
		if !ok {
			t.Fatalf("no Received field on top of %q", m.Body)
		}
		rest = after
	}
	return rest
}

// TestNothingButCRLFDotCRLFEndsData is rules 17 and 18. Each mail goes on with a
// smuggled transaction behind a false end, and ends with a true one.
func TestNothingButCRLFDotCRLFEndsData(t *testing.T) {
	const smuggled = "MAIL FROM:<evil@example.com>\r\nRCPT TO:<victim@example.net>\r\nDATA\r\nX: y\r\n"
	for _, tt := range []struct {
		name, falseEnd string
		mended         string // what the false end becomes
	}{
		{"LF dot LF", "\n.\n", "\r\n.\r\n"},
		{"LF dot CRLF", "\n.\r\n", "\r\n.\r\n"},
		{"CR dot CR", "\r.\r", "\r\n.\r\n"},
		{"CR dot CRLF", "\r.\r\n", "\r\n.\r\n"},
		{"CRLF dot LF", "\r\n.\n", "\r\n\r\n"}, // the dot is stuffing
		{"LF dot CR", "\n.\r", "\r\n.\r\n"},
		{"LF dot CR LF LF", "\n.\r\n\n", "\r\n.\r\n\r\n"},
		{"NUL before the dot", "\r\n\x00.\r\n", "\r\n .\r\n"},
		{"NUL after the dot", "\r\n.\x00\r\n", "\r\n \r\n"},
		{"CR CR LF dot LF", "\r\r\n.\n", "\r\n\r\n"},
		{"CR CR LF dot CR dot", "\r\r\n.\r.", "\r\n\r\n."},
		{"CR CR LF dot dot", "\r\r\n..\r\n", "\r\n.\r\n"},
		{"CR CR CR CR CR", "\r\r\r\r\r", "\r\n\r\n\r\n\r\n\r\n"},
		{"CR CR CR LF", "\r\r\r\n", "\r\n\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, mode := range []string{"normalise", "reject"} {
				in := &intake{}
				conf := config(t, in)
				conf.Listeners[0].BareNewline = mode
				c := hello(t, start(t, conf))
				begin(c)
				c.send("Subject: x\r\n\r\ntext" + tt.falseEnd + smuggled + ".\r\n")
				if mode == "reject" {
					c.want("554 5.6.0 the mail ")
				} else {
					c.want("250 2.0.0 queued")
				}
				c.do("NOOP", "250")
				got := in.taken()
				if mode == "reject" {
					if len(got) != 0 {
						t.Fatalf("taken: %+v", got)
					}
					continue
				}
				if len(got) != 1 {
					t.Fatalf("%d mails were taken", len(got))
				}
				if want := "Subject: x\r\n\r\ntext" + tt.mended + smuggled; afterTrace(t, got[0]) != want {
					t.Errorf("got  %q\nwant %q", afterTrace(t, got[0]), want)
				}
			}
		})
	}
}

// TestCRCRLFDotCRLFEndsDataAndTheSession: it contains CRLF.CRLF, so the client
// waits for an answer; what it pipelined behind is not heard.
func TestCRCRLFDotCRLFEndsDataAndTheSession(t *testing.T) {
	for mode, want := range map[string]string{"normalise": "250 2.0.0 queued", "reject": "554 5.6.0 the mail has a bare CR"} {
		t.Run(mode, func(t *testing.T) {
			in := &intake{}
			conf := config(t, in)
			conf.Listeners[0].BareNewline = mode
			c := hello(t, start(t, conf))
			begin(c)
			c.send("Subject: x\r\r\n\r\r\n.stuffed\r\r\n..\r\r\n.\r\nMAIL FROM:<evil@example.com>\r\n")
			c.want(want)
			_, _ = io.Copy(io.Discard, c.r) // the end, or a reset because of what was not read
			if got := in.taken(); mode == "normalise" && (len(got) != 1 || afterTrace(t, got[0]) != "Subject: x\r\n\r\nstuffed\r\n.\r\n") {
				t.Errorf("taken: %+v", got)
			} else if mode == "reject" && len(got) > 0 {
				t.Errorf("taken: %+v", got)
			}
		})
	}
}

// TestACleanMailIsNotChanged, in either mode and by either command, with long
// lines and 8-bit octets in it.
func TestACleanMailIsNotChanged(t *testing.T) {
	long := strings.Repeat("값", 60000) // 180,000 octets
	text := "Subject: =?x?=\r\nX: " + long + "\r\n\r\nline\r\n.one dot\r\n..two\r\n\r\n\xff\xfe\r\n" + strings.Repeat("0123456789abcdef\r\n", 10000)
	for _, mode := range []string{"normalise", "reject"} {
		for _, command := range []string{"DATA", "BDAT"} {
			t.Run(mode+" "+command, func(t *testing.T) {
				in := &intake{}
				conf := config(t, in)
				conf.Listeners[0].BareNewline = mode
				c := hello(t, start(t, conf))
				if command == "DATA" {
					begin(c)
					c.send(strings.ReplaceAll("\r\n"+text, "\r\n.", "\r\n..")[2:] + ".\r\n")
				} else {
					c.do("MAIL FROM:<a@example.com>", "250")
					c.do("RCPT TO:<b@example.net>", "250")
					c.send(fmt.Sprintf("BDAT 7\r\n%sBDAT %d LAST\r\n%s", text[:7], len(text)-7, text[7:]))
					c.want("250")
				}
				c.want("250 2.0.0 queued")
				if got := in.taken(); len(got) != 1 || afterTrace(t, got[0]) != text {
					t.Error("the mail was changed")
				}
			})
		}
	}
}

func TestALineWithoutEndIsRefused(t *testing.T) {
	in := &intake{}
	c := hello(t, start(t, config(t, in)))
	begin(c)
	go func() { _, _ = c.conn.Write(bytes.Repeat([]byte("x"), 300<<10)) }()
	c.want("554 5.6.0 a line of the mail is longer than 262144 octets")
	if len(in.taken()) > 0 {
		t.Error("it was taken")
	}
}

// TestAMailRefusedEarlyIsReadToItsEnd: the session goes on after the refusal.
func TestAMailRefusedEarlyIsReadToItsEnd(t *testing.T) {
	in := &intake{onAccept: func(_ context.Context, body io.Reader) error {
		_, _ = io.CopyN(io.Discard, body, 10)
		return mail.Refuse(554, "5.6.0", "{{nmae}} is no field; did you mean {{이름}}?\r\n250 forged")
	}}
	c := hello(t, start(t, config(t, in)))
	for range 2 {
		begin(c)
		c.send(strings.Repeat("0123456789abcdef\r\n", 20000) + ".\r\n")
		if got := c.want("554 5.6.0"); got != "554 5.6.0 {{nmae}} is no field; did you mean {{이름}}? 250 forged" {
			t.Errorf("reply %q", got)
		}
	}
	c.do("MAIL FROM:<a@example.com>", "250")
	c.do("RCPT TO:<b@example.net>", "250")
	c.send("BDAT 20000 LAST\r\n" + strings.Repeat("0123456789abcdef\r\n", 2000)[:20000])
	c.want("554 5.6.0")
	c.do("NOOP", "250")
}
