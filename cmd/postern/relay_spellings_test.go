package main_test

import (
	"fmt"
	"io"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// spelling is a way to write RCPT's path so that a careless server takes mail for
// victim@example.org.
type spelling struct {
	path string
	// plain: behind the spelling is an ordinary address, which somebody with the
	// right to relay may well write to.
	plain bool
}

// spellings reach for victim@example.org, by way of our own domain or directly.
func spellings() []spelling {
	return []spelling{
		{"<victim@example.org>", true},
		{"victim@example.org", true},
		{" <victim@example.org>", true},
		{"<Victim@EXAMPLE.ORG>", true},
		{`<"victim"@example.org>`, true},
		{"<@lists.example.com:victim@example.org>", true}, // RFC 5321 appendix C: the route is dropped
		{"<@lists.example.com,@gw.example.com:victim@example.org>", true},
		{"@lists.example.com:victim@example.org", true},
		{"<victim@example。org>", true}, // an ideographic full stop is a dot (RFC 5895)
		{"<victim@ｅｘａｍｐｌｅ.org>", true},
		{"<victim@xn--example-.org>", false},
		{"<victim%example.org@lists.example.com>", false},
		{"<victim%example.org@LISTS.EXAMPLE.COM>", false},
		{"<victim%example.org@gw.example.com>", false},
		{"<victim%example.org@localhost>", false},
		{"<victim%example.org@[127.0.0.1]>", false},
		{"<victim%example.org%gw.example.com@lists.example.com>", false},
		{`<"victim%example.org"@lists.example.com>`, false},
		{"<victim%40example.org@lists.example.com>", false},
		{"<victim%40example.org>", false},
		{"<victim=40example.org@lists.example.com>", false},
		{"<example.org!victim@lists.example.com>", false},
		{"<example.org!victim>", false},
		{"<gw.example.com!example.org!victim@lists.example.com>", false},
		{`<"example.org!victim"@lists.example.com>`, false},
		{`<"victim@example.org"@lists.example.com>`, false},
		{`<"victim@example.org"@gw.example.com>`, false},
		{`<"victim@example.org">`, false},
		{`<"victim\@example.org"@lists.example.com>`, false},
		{`<victim\@example.org@lists.example.com>`, false},
		{`<"<victim@example.org>"@lists.example.com>`, false},
		{"<victim@example.org@lists.example.com>", false},
		{"<victim@@example.org>", false},
		{"<victim@example.org@>", false},
		{"<@victim@example.org>", false},
		{"<@example.org:victim>", false},
		{"<@lists.example.com:victim%example.org@gw.example.com>", false},
		{`<@lists.example.com:"victim@example.org"@gw.example.com>`, false},
		{"<@@lists.example.com:victim%example.org@lists.example.com>", false},
		{"<victim@example.org.>", false},
		{"<victim@.example.org>", false},
		{"<victim@example..org>", false},
		{"<.victim%example.org@lists.example.com>", false},
		{"<victim@[192.0.2.1]>", false},
		{"<victim@[127.0.0.1]>", false},
		{"<victim@[IPv6:::1]>", false},
		{"<victim@[IPv6:2001:db8::1]>", false},
		{"<victim@[example.org]>", false},
		{"<victim@3221225985>", true}, // 192.0.2.1 as a number is a name with one label
		{"<victim＠example.org>", false},
		{"<victim＠example.org@lists.example.com>", false},
		{"<victim％example.org@lists.example.com>", false},
		{"<victim﹫example.org@lists.example.com>", false},
		{"<victim@example.org\x00@lists.example.com>", false},
		{"<victim@example.org\x00.lists.example.com>", false},
		{"<victim\x00@example.org>", false},
		{"<victim @example.org>", false},
		{"<victim@ example.org>", false},
		{"<victim@example.org lists.example.com>", false},
		{"<victim@example.org(lists.example.com)>", false},
		{"<(x)victim@example.org>", false},
		{"<victim(x)@example.org>", false},
		{"<victim@example.org\t>", false},
		{"<victim\t@example.org>", false},
		{"<victim@example.org\r>", false},
		{"<promo@lists.example.com,victim@example.org>", false},
		{"<promo@lists.example.com>,<victim@example.org>", false},
		{"<promo@lists.example.com;victim@example.org>", false},
		{"<unsubscribe@lists.example.com>,<victim@example.org>", false},
		{"<unsubscribe@lists.example.com> <victim@example.org>", false},
		{"<unsubscribe@lists.example.com@example.org>", false},
		{"<unsubscribe%lists.example.com@example.org>", false},
		{"<unsubscribe@lists.example.com>\rRCPT TO:<victim@example.org>", false},
		{"<<victim@example.org>>", false},
		{"Victim <victim@example.org>", false},
		{"<mailto:victim@example.org>", false},
		{"<victim@example.org> ORCPT=rfc822;unsubscribe@lists.example.com", false},
		{"<|/bin/sh@lists.example.com>", false},
		{"<webmaster>", false},
		{"<victim>", false},
		{"<>", false},
		{"", false},
	}
}

// speaker is one connection of a client.
type speaker struct {
	t *testing.T
	*textproto.Conn
}

// speaker connects from an address and hears the greeting.
func (s *stage) speaker(t *testing.T, listener, from string) *speaker {
	t.Helper()
	c, err := s.dial(listener, from)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	t.Cleanup(func() { _ = c.Close() })
	k := &speaker{t, textproto.NewConn(c)}
	k.hear("the greeting")
	return k
}

func (k *speaker) hear(what string) (code int, text string) {
	k.t.Helper()
	code, text, err := k.ReadResponse(0)
	if err != nil {
		k.t.Fatalf("after %q: %v", what, err)
	}
	return code, fmt.Sprintf("%d %s", code, text)
}

// say sends a line and gives the reply.
func (k *speaker) say(line string) (code int, text string) {
	k.t.Helper()
	if _, err := k.W.WriteString(line + "\r\n"); err != nil {
		k.t.Fatal(err)
	}
	if err := k.W.Flush(); err != nil {
		k.t.Fatal(err)
	}
	return k.hear(line)
}

// must wants the reply to begin so.
func (k *speaker) must(line, want string) {
	k.t.Helper()
	if _, got := k.say(line); !strings.HasPrefix(got, want) {
		k.t.Fatalf("%q was answered %q, want %s", line, got, want)
	}
}

// refused wants a line to be refused, and no mail to be open behind it.
func (k *speaker) refused(line string) {
	k.t.Helper()
	if code, got := k.say(line); code < 400 {
		k.t.Errorf("%q was answered %q", line, got)
	}
	if code, got := k.say("DATA"); code < 400 {
		k.t.Fatalf("%q, and then DATA, was answered %q", line, got)
	}
}

// TestNoSpellingRelays: whoever has no right to relay reaches nobody, and nobody
// at all goes by a route in disguise. Nothing of it is kept or leaves.
func TestNoSpellingRelays(t *testing.T) {
	t.Parallel()
	s := openStage(t)
	for _, who := range []struct {
		name, from, auth string
		sender           string
		mayRelay         bool
	}{
		{"stranger", "127.0.5.9", "", "stranger@elsewhere.example", false},
		{"stranger who says he is ours", "127.0.5.9", "", "marketer@example.com", false},
		{"account without relay", "127.0.5.10", "AUTH PLAIN AG1hcmtldGVyQGV4YW1wbGUuY29tAGNvcnJlY3QgaG9yc2U=", "marketer@example.com", false},
		{"network without relay", "127.0.6.1", "", "marketer@example.com", false},
		{"network with relay", "127.0.0.1", "", "marketer@example.com", true},
	} {
		t.Run(who.name, func(t *testing.T) {
			k := s.speaker(t, "insecure", who.from)
			k.must("EHLO client.example.com", "250")
			if who.auth != "" {
				k.must(who.auth, "235")
			}
			for _, sp := range spellings() {
				if sp.plain && who.mayRelay {
					continue
				}
				k.must("MAIL FROM:<"+who.sender+">", "250")
				k.refused("RCPT TO:" + sp.path)
				k.must("RSET", "250")
			}
		})
	}
	s.nothingHappened(t)
	k := s.speaker(t, "", "127.0.0.1")
	k.must("EHLO client.example.com", "250")
	k.must("MAIL FROM:<marketer@example.com>", "250")
	k.must("RCPT TO:<victim@example.org>", "250")
	k.must("DATA", "354")
	k.must("From: marketer@example.com\r\n\r\nx\r\n.", "250")
	if err := s.queueIs([]string{"people=1"}); err != nil {
		t.Errorf("who may relay: %v", err)
	}
}

// TestNoTrickMakesAStrangerSomebody: what a stranger says of himself, before or
// beside RCPT, gives him nothing.
func TestNoTrickMakesAStrangerSomebody(t *testing.T) {
	t.Parallel()
	s := openStage(t)
	for name, lines := range map[string][]string{
		"our name":               {"EHLO gw.example.com", "MAIL FROM:<marketer@example.com>"},
		"localhost":              {"EHLO localhost", "MAIL FROM:<marketer@localhost>"},
		"loopback":               {"EHLO [127.0.0.1]", "MAIL FROM:<marketer@example.com>"},
		"the null sender":        {"HELO x", "MAIL FROM:<>"},
		"the list's address":     {"HELO x", "MAIL FROM:<promo@lists.example.com>"},
		"a trusted AUTH":         {"EHLO x", "MAIL FROM:<marketer@example.com> AUTH=<marketer@example.com>"},
		"another trusted AUTH":   {"EHLO x", "MAIL FROM:<marketer@example.com> AUTH=marketer@example.com"},
		"a wrong password":       {"EHLO x", "AUTH PLAIN AG1hcmtldGVyQGV4YW1wbGUuY29tAHdyb25n", "MAIL FROM:<marketer@example.com>"},
		"AUTH taken back":        {"EHLO x", "AUTH LOGIN", "*", "MAIL FROM:<marketer@example.com>"},
		"AUTH EXTERNAL":          {"EHLO x", "AUTH EXTERNAL bWFya2V0ZXJAZXhhbXBsZS5jb20=", "MAIL FROM:<marketer@example.com>"},
		"AUTH ANONYMOUS":         {"EHLO x", "AUTH ANONYMOUS eA==", "MAIL FROM:<marketer@example.com>"},
		"no password":            {"EHLO x", "AUTH PLAIN AHJlbGF5QGV4YW1wbGUuY29tAA==", "MAIL FROM:<relay@example.com>"},
		"XCLIENT":                {"EHLO x", "XCLIENT ADDR=127.0.0.1 LOGIN=relay@example.com", "MAIL FROM:<relay@example.com>"},
		"XFORWARD":               {"EHLO x", "XFORWARD ADDR=127.0.0.1", "MAIL FROM:<relay@example.com>"},
		"a PROXY header":         {"PROXY TCP4 127.0.0.1 127.0.0.1 40000 25", "EHLO x", "MAIL FROM:<relay@example.com>"},
		"SIZE":                   {"EHLO x", "MAIL FROM:<relay@example.com> SIZE=0"},
		"a second MAIL":          {"EHLO x", "MAIL FROM:<relay@example.com>", "MAIL FROM:<marketer@example.com>"},
		"a public recipient":     {"EHLO x", "MAIL FROM:<relay@example.com>", "RCPT TO:<unsubscribe@lists.example.com>"},
		"STARTTLS not completed": {"EHLO x", "STARTTLS", "MAIL FROM:<relay@example.com>"},
		"ETRN":                   {"EHLO x", "ETRN example.org", "MAIL FROM:<relay@example.com>"},
		"a sender with a route":  {"EHLO x", "MAIL FROM:<@gw.example.com:relay@example.com>"},
		"a sender that is long":  {"EHLO x", "MAIL FROM:<" + strings.Repeat("x", 1000) + "@example.com>", "MAIL FROM:<relay@example.com>"},
	} {
		t.Run(name, func(t *testing.T) {
			k := s.speaker(t, "insecure", "127.0.5.11")
			for _, line := range lines {
				k.say(line)
			}
			if code, got := k.say("RCPT TO:<victim@example.org>"); code < 400 {
				t.Errorf("RCPT was answered %q", got)
			}
			if code, got := k.say("RCPT TO:<promo@lists.example.com>"); code < 400 {
				t.Errorf("RCPT for a list was answered %q", got)
			}
			if code, _ := k.say("DATA"); code == 354 { // of a public recipient: its mail goes nowhere else
				k.refused("From: relay@example.com\r\nTo: victim@example.org\r\nBcc: victim@example.org\r\n\r\nx\r\n.")
			}
		})
	}
	t.Run("a PROXY header of v2", func(t *testing.T) { // ends with QUIT for who does not know it
		k := s.speaker(t, "insecure", "127.0.5.11")
		if code, got := k.say("\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\x7f\x00\x00\x01\x7f\x00\x00\x01\x9c\x40\x00\x19"); code < 400 {
			t.Errorf("answered %q", got)
		}
		if rest, err := io.ReadAll(k.R); strings.Contains(string(rest), "\n250") {
			t.Errorf("after it: %q, %v", rest, err)
		}
	})
	s.nothingHappened(t)
}

// TestNobodyLearnsWhoIsHere: VRFY, EXPN and a stranger's RCPT answer alike for
// what is here and what is not.
func TestNobodyLearnsWhoIsHere(t *testing.T) {
	t.Parallel()
	s := openStage(t)
	k := s.speaker(t, "", "127.0.5.9")
	k.must("EHLO x", "250")
	for _, command := range []string{"VRFY %s", "EXPN %s", "VRFY <%s@lists.example.com>", "EXPN <%s@lists.example.com>"} {
		_, known := k.say(fmt.Sprintf(command, "promo"))
		if _, unknown := k.say(fmt.Sprintf(command, "nobody")); known != unknown || strings.Contains(known, "promo") {
			t.Errorf("%s: %q and %q", command, known, unknown)
		}
	}
	k.must("MAIL FROM:<stranger@elsewhere.example>", "250")
	_, known := k.say("RCPT TO:<promo@lists.example.com>")
	if _, unknown := k.say("RCPT TO:<nobody@lists.example.com>"); known != unknown || !strings.HasPrefix(known, "5") {
		t.Errorf("RCPT: %q and %q", known, unknown)
	}
}

// nothingHappened wants neither a message, nor a body on disk, nor a mail that has
// left.
func (s *stage) nothingHappened(t *testing.T) {
	t.Helper()
	if err := s.queueIs([]string{"none"}); err != nil {
		t.Error(err)
	}
	files, err := os.ReadDir(filepath.Join(s.dir, "data", "bodies"))
	if err != nil || len(files) > 0 {
		t.Errorf("in the folder of bodies: %v, %v", files, err)
	}
}
