package expand_test

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"postern/expand"
	"postern/mail"
)

// shop advertises; its name wants escaping in HTML.
func shop() mail.Identity {
	return mail.Identity{Company: `가게 <"A & B">`, Address: "서울특별시 중구 세종대로 110", Phone: "02-120", Email: "help@shop.example"}
}

// advertising is a mail to a list for advertising.
func advertising(t testing.TB, raw string) expand.Input {
	in := input(t, raw)
	in.List.Advertising, in.List.Identity = true, shop()
	return in
}

// advertised is the copy for 민 of a mail to a list for advertising.
func advertised(t testing.TB, raw string) *received {
	t.Helper()
	c, err := expand.Compile(advertising(t, raw))
	if err != nil {
		t.Fatalf("refused: %v", err)
	}
	return receive(t, c.Render(copyTo(c, "min@example.net", map[string]string{"Name": "민"}), "TOKEN_7").Bytes())
}

// about is a mail with this Subject.
func about(subject string) string {
	return "From: a@example.com\nSubject: =?utf-8?B?" + base64.StdEncoding.EncodeToString([]byte(subject)) + "?=\n\nx\n"
}

func TestRule59TheSubjectBeginsWithOneLabel(t *testing.T) {
	for in, out := range map[string]string{
		"":               "(광고)",
		"세일":             "(광고) 세일",
		"(광고) 세일":        "(광고) 세일",
		"(광고)세일":         "(광고) 세일",
		"(광고)  세일":       "(광고) 세일",
		"(광고)":           "(광고)",
		" (광고) ":         "(광고)",
		"Sale":           "(광고) Sale",
		"광고주 여러분께":       "(광고) 광고주 여러분께",
		"광고 없는 세상":       "(광고) 광고 없는 세상",
		"(광고 없는 세상) 이야기": "(광고) (광고 없는 세상) 이야기",
		"(광고주 여러분) 안녕":   "(광고) (광고주 여러분) 안녕",
		"[광고문의] 답":       "(광고) [광고문의] 답",
		"광고학 개론: 새 책":    "(광고) 광고학 개론: 새 책",
		"광고":             "(광고) 광고",
		"(광곡) 노래":        "(광고) (광곡) 노래",
		"(AD&D) 게임":      "(광고) (AD&D) 게임",
		"AD: sale":       "(광고) AD: sale",
		"(address) x":    "(광고) (address) x",
		"세일 (광고)":        "(광고) 세일 (광고)", // the law is about where it begins

		"(광 고) 세일":                                 "(광고) 세일",
		"(광.고) 세일":                                 "(광고) 세일",
		"(광*고) 세일":                                 "(광고) 세일",
		"(광ㆍ고) 세일":                                 "(광고) 세일",
		"(광·고) 세일":                                 "(광고) 세일",
		"(광∙고) 세일":                                 "(광고) 세일",
		"(광♥고) 세일":                                 "(광고) 세일",
		"(광　고) 세일":                                 "(광고) 세일",
		"(*광고*) 세일":                                "(광고) 세일",
		"( 광고 ) 세일":                                "(광고) 세일",
		"( (광고) ) 세일":                              "(광고) 세일",
		"[광고] 세일":                                  "(광고) 세일",
		"<광고> 세일":                                  "(광고) 세일",
		"<<광고>> 세일":                                "(광고) 세일",
		"{광고} 세일":                                  "(광고) 세일",
		"（광고） 세일":                                  "(광고) 세일",
		"【광고】 세일":                                  "(광고) 세일",
		"〔광고〕세일":                                   "(광고) 세일",
		"[(광고)] 세일":                                "(광고) 세일",
		"[광고]: 세일":                                 "(광고) 세일",
		"광고) 세일":                                   "(광고) 세일",
		"광고] 세일":                                   "(광고) 세일",
		"(광고 세일":                                   "(광고) 세일",
		"(광고":                                      "(광고)",
		"광고: 세일":                                   "(광고) 세일",
		"광고： 세일":                                   "(광고) 세일",
		"광고 : 세일":                                  "(광고) 세일",
		"(廣告) 세일":                                  "(광고) 세일",
		"(広告) 세일":                                  "(광고) 세일",
		"(AD) 세일":                                  "(광고) 세일",
		"[ad] 세일":                                  "(광고) 세일",
		"(A.D.) 세일":                                "(광고) 세일",
		"（ＡＤ） 세일":                                  "(광고) 세일",
		"[ADV] 세일":                                 "(광고) 세일",
		"(Advertisement) Sale":                     "(광고) Sale",
		"(광고/AD) 세일":                               "(광고) 세일",
		"(광\u200b고) 세일":                            "(광고) 세일",
		"(\u00ad광\u2060\ufe0f고) x":                 "(광고) x",
		"\u3164(광\u3164고) x":                       "(광고) x",
		"(광\u0332고\u0332) x":                       "(광고) x",
		"(광고)(광고) 세일":                              "(광고) 세일",
		"(광고) (광 고) [AD] 세일":                       "(광고) 세일",
		"(광고광고) 세일":                                "(광고) 세일",
		"\u200b(광고) 세일":                            "(광고) 세일",
		norm.NFD.String("(광고)") + " x":             "(광고) x",
		"(ㄱㅗㅏㅇㄱㅗ) x":                               "(광고) x",
		"(과ㅇ고) x":                                  "(광고) x",
		"(\uffa1\uffcc\uffc2\uffb7\uffa1\uffcc) x": "(광고) x",
		"(\uffa1\uffca\uffb7\uffa1\uffcc) x":       "(광고) (\uffa1\uffca\uffb7\uffa1\uffcc) x", // another vowel

		"Re: 세일":              "(광고) Re: 세일",
		"Re: (광고) 세일":         "(광고) Re: 세일",
		"Re:(광고)세일":           "(광고) Re:세일",
		"FW: [광고] 세일":         "(광고) FW: 세일",
		"[FW] (광고) 세일":        "(광고) [FW] 세일",
		"Re[2]: (광 고) 세일":     "(광고) Re[2]: 세일",
		"전달: (광고) 세일":         "(광고) 전달: 세일",
		"회신：회신: 광고) 세일":       "(광고) 회신：회신: 세일",
		"(광고) Re: (광고) 세일":    "(광고) Re: 세일",
		"(광고) [Shop] (AD) 세일": "(광고) [Shop] 세일",
		"[가게] (광고) 세일":        "(광고) [가게] 세일",
		"(주)가게 (광고)":          "(광고) (주)가게 (광고)",
		"★(광고)★ 세일":           "(광고) ★★ 세일",
		"❤️ (광고) 세일":          "(광고) ❤️ 세일",
		"★★★ 세일":              "(광고) ★★★ 세일",
		"👨‍👩‍👧 모두":            "(광고) 👨‍👩‍👧 모두",

		"{{Name}}님 세일":         "(광고) 민님 세일",
		"(광고){{Name}}님":        "(광고) 민님",
		"Re: {{Name}} (광고)":    "(광고) Re: 민 (광고)",
		"(광{{Name}}고) 세일":      "(광고) (광민고) 세일",
		"(광{{Gender}}고) 세일":    "(광고) 세일", // an empty value, and so no second label
		"{{Gender|(광고)}} 세일":   "(광고) 세일",
		"{{Shop}} 세일":          "(광고) 세일", // a value that is a label
		"{{Gender}}{{Gender}}": "(광고)",
	} {
		c, err := expand.Compile(advertising(t, about(in)))
		if err != nil {
			t.Errorf("%q is refused: %v", in, err)
			continue
		}
		r := receive(t, c.Render(copyTo(c, "min@example.net", map[string]string{"Name": "민", "Shop": "[광 고]"}), "T").Bytes())
		want(t, in, r.subject(t), out)
		if !strings.HasPrefix(c.Subject(), "(광고)") {
			t.Errorf("%q: people see %q in the queue", in, c.Subject())
		}
	}
}

func TestRule59HoldsInEveryLanguageAndOnlyForAdvertising(t *testing.T) {
	for _, language := range []string{"ko", "en", ""} {
		in := advertising(t, about("[광고] {{Name}}님"))
		in.List.Language = language
		c, err := expand.Compile(in)
		if err != nil {
			t.Fatal(err)
		}
		want(t, "in the queue", c.Subject(), "(광고) {{Name}}님")
		b, err := c.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		if c, err = expand.Load(b); err != nil {
			t.Fatal(err)
		}
		want(t, "stored and loaded", receive(t, c.Render(copyTo(c, "a@b.example", map[string]string{"Name": "(광고)"}), "T").Bytes()).subject(t), "(광고) 님")
	}
	want(t, "another list", render(t, about("[광고] x"), "").subject(t), "[광고] x")
	want(t, "a mail without Subject", advertised(t, "From: a@example.com\n\nx\n").subject(t), "(광고)")
}

// FuzzSubjectOfAdvertising holds for any Subject: one label at the front, one blank
// behind it, and none behind that; a Subject that is right stays as it is.
func FuzzSubjectOfAdvertising(f *testing.F) {
	for _, s := range []string{"", "세일", "(광 고) 세일", "Re: [광고]★(AD) x", "(광(광고)고)", "{{Name}}(광고)", "⑴(광고⑴", "((((광고))))", "-(광고)광고: x", "[광고", "｛｛Name｝｝ {{\"{{\"}}", "(광고…) x"} {
		f.Add(s, "민")
	}
	f.Fuzz(func(t *testing.T, subject, name string) {
		c, err := expand.Compile(advertising(t, about(subject)))
		var refusal *mail.Error
		if errors.As(err, &refusal) && refusal.Code >= 500 {
			return // a placeholder that is none
		}
		if err != nil {
			t.Fatal(err)
		}
		got := receive(t, c.Render(copyTo(c, "a@b.example", map[string]string{"Name": name}), "T").Bytes()).subject(t)
		rest, ok := strings.CutPrefix(got, "(광고)")
		if !ok {
			t.Fatalf("%q gives %q", subject, got)
		}
		if bare, ok := strings.CutPrefix(rest, " "); rest != "" && (!ok || bare == "" || strings.TrimLeftFunc(bare, unicode.IsSpace) != bare) {
			t.Fatalf("%q gives %q: one blank behind the label", subject, got)
		}
		plain := strings.Map(func(r rune) rune {
			if unicode.IsSpace(r) || unicode.In(r, unicode.Cf, unicode.M) {
				return -1
			}
			return r
		}, norm.NFKC.String(rest))
		for _, label := range []string{"(광고)", "[광고]", "<광고>", "광고:", "(ad)"} {
			if strings.HasPrefix(strings.ToLower(plain), label) {
				t.Fatalf("%q gives %q: a second label", subject, got)
			}
		}
		if c, err = expand.Compile(advertising(t, about(got))); err != nil {
			return // values that look like placeholders
		}
		if again := receive(t, c.Render(copyTo(c, "a@b.example", nil), "T").Bytes()).subject(t); again != got && !strings.Contains(got, "{{") {
			t.Fatalf("%q gives %q and that %q", subject, got, again)
		}
	})
}
