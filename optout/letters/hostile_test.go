package letters_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"postern/mail"
	"postern/optout/letters"
)

func evil() []string {
	return []string{"", "a", "민", "가나다라", "\r\n", "\n", "\r", "\x00", "\u202e", "\u200d", "\u2028", "\xff", "=?utf-8?B?7Yq5?=", "=?x?Q?", "--", ":", "Bcc: a@b", "<a@b>", "\"", "\\", "\t", "  ",
		strings.Repeat("x", 1100), strings.Repeat("가 ", 200), "@", ",", ";", "(", "example.com", "👨‍👩‍👧", "\ufeff", "\u00a0", "\u0085", "%s", "Subject: ", "{{.Email}}", "https://", "mailto:", ">", "\r\nBcc: x@y\r\n\r\n"}
}

// addresses that are such, however odd.
func oddAddresses() []mail.Address {
	return []mail.Address{"min@example.net", `"a b"@example.net`, `"a\"b"@example.net`, "o'hara+tag@example.net", "min@예시.한국", "min@[192.0.2.1]", "!#$%&'*+/=?^_`{|}~-@ex.com",
		mail.Address(strings.Repeat("a", 64) + "@" + strings.Repeat("b", 60) + "." + strings.Repeat("c", 60) + "." + strings.Repeat("d", 60) + ".kr")}
}

// composed is a letter of what pick gives.
func composed(t testing.TB, texts *letters.Texts, n int, some func() string, to mail.Address) []byte {
	choices := []letters.Choice{{Name: some(), Date: some(), Time: some()}, {Name: some()}}
	d := letters.Data{Company: some(), Address: some(), Phone: some(), Contact: some(), Email: some(), Masked: some(), Date: some(), List: some(),
		Left: choices, Agreed: choices, Preferences: some(), Link: some(), Days: some(), Until: some()}
	names := []letters.Name{letters.Left, letters.Agreed, letters.Changed, letters.Confirm, letters.Reminder}
	l := letters.Letter{ID: mail.ID(some()), Hostname: some(), From: "news@shop.example", Name: some(), ReplyTo: mail.Address(some()), To: to,
		Date: time.Unix(int64(n)*1e7, 0).UTC(), Leave: letters.Unsubscribe{Page: some(), Mailto: some()}}
	l.Subject, l.Text = texts.Render(names[n%len(names)], []string{"ko", "en"}[n%2], d)
	return bytesOf(t, l)
}

// hostile are letters of what chance puts together from evil parts.
func hostile(t testing.TB, n int) (all []fixture) {
	r := rand.New(rand.NewPCG(1, 2))
	texts := builtIn(t)
	some := func() string {
		var b strings.Builder
		for range r.IntN(6) {
			b.WriteString(evil()[r.IntN(len(evil()))])
		}
		return b.String()
	}
	for i := range n {
		odd := oddAddresses()
		all = append(all, fixture{fmt.Sprintf("hostile %d", i), composed(t, texts, i, some, odd[i%len(odd)])})
	}
	return all
}

// TestEveryLetterIsFitToTravel: 7-bit, folded, each field once, whatever names and
// addresses there are.
func TestEveryLetterIsFitToTravel(t *testing.T) {
	texts := builtIn(t)
	rapid.Check(t, func(r *rapid.T) {
		word := rapid.OneOf(rapid.SampledFrom(evil()), rapid.String(), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }))
		some := func() string { return strings.Join(rapid.SliceOfN(word, 0, 4).Draw(r, "some"), "") }
		to := rapid.SampledFrom(oddAddresses()).Draw(r, "to")
		b := composed(t, texts, rapid.IntRange(0, 400).Draw(r, "n"), some, to)
		if problem := wire(b); problem != "" {
			r.Fatalf("%s in\n%s", problem, b)
		}
		s, err := reading(b)
		if err != nil {
			r.Fatalf("%v in\n%s", err, b)
		}
		if mail.Address(quoted(s.to.Address)).Key() != to.Key() {
			r.Fatalf("to %s, and not to %s", s.to.Address, to)
		}
		if strings.ContainsAny(s.subject+s.from.Name, "\r\n\u202e") || strings.ContainsAny(s.text, "\r\u202e\x00") {
			r.Fatalf("what must not be shown is in\n%q\n%q", s.subject, s.text)
		}
	})
}

// quoted gives an address its quotes back, which net/mail takes off.
func quoted(s string) string {
	at := strings.LastIndexByte(s, '@')
	if at > 0 && strings.ContainsAny(s[:at], " \"") && s[0] != '"' {
		return `"` + strings.ReplaceAll(s[:at], `"`, `\"`) + `"` + s[at:]
	}
	return s
}

func TestAnAddressThatAHeaderCannotCarryIsNotWrittenTo(t *testing.T) {
	for _, to := range []mail.Address{"", "민지@example.net", "min@example.net\r\nBcc: x@example.net", "min", "\"\x80\"@example.net", `"=?utf-8?q?x?="@example.net`} {
		l := letters.Letter{ID: "1", Hostname: "localhost", From: "news@shop.example", To: to, Date: at, Subject: "x", Text: "x\n"}
		if b, err := l.Bytes(); err == nil {
			t.Errorf("%q is written to:\n%s", to, b)
		}
		l.From, l.To = l.To, "min@example.net"
		if b, err := l.Bytes(); err == nil {
			t.Errorf("%q writes:\n%s", to, b)
		}
	}
}

// TestALinkThatIsNoneIsNotShown, so that nothing a value holds becomes one.
func TestALinkThatIsNoneIsNotShown(t *testing.T) {
	d := shop()
	for _, s := range []string{"javascript:alert(1)", "https://x y", "https://x\r\nBcc: y", "//x"} {
		d.Link = s
		if _, text := builtIn(t).Render(letters.Confirm, "ko", d); strings.Contains(text, s) {
			t.Errorf("%q is shown in\n%s", s, text)
		}
	}
}

func TestAnswersGoToTheCompanyUnlessItWritesItself(t *testing.T) {
	l := letters.Letter{ID: "1", Hostname: "localhost", From: "news@shop.example", ReplyTo: "help@shop.example", To: "min@example.net", Date: at, Subject: "x", Text: "x\n"}
	if got := read(t, bytesOf(t, l)).header.Get("Reply-To"); got != "help@shop.example" {
		t.Error(got)
	}
	l.ReplyTo = "News@shop.example"
	if got := read(t, bytesOf(t, l)).header.Get("Reply-To"); got != "" {
		t.Error(got)
	}
}
