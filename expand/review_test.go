package expand_test

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"postern/expand"
)

// reviewOf gives what is said of a mail, code by code.
func reviewOf(t testing.TB, in expand.Input) ([]string, map[string]expand.Warning) {
	t.Helper()
	c, err := expand.Compile(in)
	if err != nil {
		t.Fatalf("refused: %v", err)
	}
	var codes []string
	by := map[string]expand.Warning{}
	for _, w := range expand.Review(in, c) {
		if _, twice := by[w.Code]; twice {
			t.Errorf("%s comes twice", w.Code)
		}
		if w.Text == w.Code || strings.Contains(w.Text, "%!") {
			t.Errorf("%s has no text: %q", w.Code, w.Text)
		}
		codes, by[w.Code] = append(codes, w.Code), w
	}
	return codes, by
}

// page is a mail with the same few words as HTML and as text, and text and HTML of
// the caller; both show the unsubscribe link.
func page(html string) string {
	return mixed("<p>Dear {{Name|friend}}, the winter coats are here.</p>"+html, "Dear {{Name|friend}}, the winter coats are here.")
}

func mixed(html, text string, more ...string) string {
	alternative := "Content-Type: multipart/alternative; boundary=alt\n\n--alt\nContent-Type: text/plain; charset=utf-8\n\n" + text + "\n{{Unsubscribe}}\n" +
		"--alt\nContent-Type: text/html; charset=utf-8\n\n<html><body>" + html + "<p><a href=\"{{Unsubscribe}}\">unsubscribe</a></p></body></html>\n--alt--\n"
	return parts("multipart/mixed", append([]string{alternative}, more...)...)
}

// titled is a mail with another Subject than s.
func titled(subject, raw string) string {
	return strings.Replace(raw, "Subject: s\n", "Subject: "+subject+"\n", 1)
}

func picture(id string, octets int) string {
	return "Content-Type: image/png; name=\"" + id + ".png\"\nContent-Transfer-Encoding: base64\nContent-ID: <" + id + ">\n\n" +
		strings.Repeat("AAAA", octets/3) + "\n"
}

func TestReviewOfAMailInWhichNothingIsOdd(t *testing.T) {
	for name, raw := range map[string]string{
		"a page": titled("Hello {{Name|friend}}", mixed(`<h1 title="for {{Name|you}}">Winter [new]</h1><p>{see} the [1] list, [Date] today, [Unsubscribe]</p>
<p class=MsoNormal><del>298,000</del> 228,000</p><a name=top></a><a href="#top">up</a><a href="tel:0212345678">call</a><a href="mailto:shop@example.com?subject=Hi">shop@example.com</a>
<a href="https://www.example.com/a?n={{Name|you}}">shop.example.com/coats</a> <a href="https://example.com">www.example.com</a> <a href="https://xn--bj0bj06e.example/">https://한글.example</a> <a href="https://x.example/">index.html</a>
<img src="cid:coat" alt=""><img src="https://x.example/{{Email}}.png" alt=x><img src="https://x.example/t.gif" width=1 height=1>
<a href="{{Shop|https://shop.example.com}}">shop</a><style>p{margin:0}</style><!-- a note {Name} -->`, "Winter [new]\n{see} the [1] list today, up, call, shop.example.com, https://www.example.com", picture("coat", 3000))),
		"a text":                titled("Sale! Sale!", textMail("Hello {{Name|friend}},\n> quoted by us\nFrom: Seoul\nTo: Jeju\nsee https://example.com/a.")),
		"only a Re":             titled("Regarding ABC and DEF", textMail("x")),
		"Word's marks":          page(`<p class="MsoNormal">{<span class=SpellE>not</span> a field}</p><style>p.MsoCommentText{margin:0}</style>`),
		"Korean":                titled("=?utf-8?B?"+"6rKo7Jq4IOy9lO2KuA==?=", page(`<p>[공지] {{이름|고객}}님께</p>`)),
		"braces that are meant": textMail("Write {{\"{{\"}}Name}} in two braces, and {{\"}}\"}}."),
		"a link of Word's":      mixed(`<p><a href="file:///C:/Users/kim/{{Unsubscribe}}">stop</a></p>`, "stop"),
		"Outlook alone":         page(`<!--[if mso]><v:rect href="https://example.com/"><v:imagedata src="https://example.com/a.png"/></v:rect><![endif]-->`),
	} {
		t.Run(name, func(t *testing.T) {
			if codes, by := reviewOf(t, input(t, raw)); len(codes) > 0 {
				t.Errorf("got %v", by)
			}
		})
	}
}

func TestReviewOfRealMails(t *testing.T) {
	for path, want := range map[string][]string{
		sample:                     nil,
		"testdata/outlook.eml":     {"no-fallback", "attachment", "footer-added"},
		"testdata/erp.eml":         {"no-fallback", "footer-added"},
		"testdata/applemail.eml":   {"no-fallback", "attachment"},
		"testdata/thunderbird.eml": {"footer-added"},
	} {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		in := input(t, "")
		in.Raw, in.List.Language = raw, "ko"
		codes, by := reviewOf(t, in)
		if !slices.Equal(codes, want) {
			t.Errorf("%s: %v", path, by)
		}
	}
}

// oddMail is a mail and what must be said of it.
type oddMail struct {
	code, raw string
	about     string // in the text
}

func oddMails() []oddMail {
	with := func(html string) string { return mixed("<p>Hi</p>"+html, "Hi") }
	link := func(href string) string { return with(`<a href="` + href + `">here</a>`) }
	img := func(src string) string { return with(`<img alt=x src="` + src + `">`) }
	return []oddMail{
		{"no-fallback", titled("Hi {{Name}}", textMail("{{Point}} x")), "{{Name}}, {{Point}}"},
		{"quoted-fallback", textMail(`{{Name|"friend"}}`), `{{Name|"friend"}}`},
		{"quoted-fallback", titled("s {{Name|“고객”}}", textMail("x")), `“고객”`},
		{"single-marks", titled("Hi {Name}", textMail("x")), "{Name}"},
		{"single-marks", textMail("Hi [이름],"), "[이름]"},
		{"single-marks", textMail("Hi {Name} and { Point }"), "{Name}, { Point }"},
		{"single-marks", with("<p>{<b>이</b>름}님</p>"), "{이름}"},
		{"single-marks", with("<p>｛이름｝님</p>"), "{이름}"},
		{"single-marks", with("<p>［이름］님, {Na&#8203;me}</p>"), "[이름], {Name}"},
		{"single-marks", link("https://example.com/?n=%7BName%7D"), "{Name}"},
		{"not-filled", with("<!-- for {{Name}} -->"), "{{Name}}"},
		{"not-filled", with("<style>p:after{content:'{{Name}}'}</style>"), "{{Name}}"},
		{"not-filled", with("<script>x='{{Point}}'</script>"), "{{Point}}"},
		{"not-filled", with("<p data-x='{{Name}}'>x</p>"), "{{Name}}"},
		{"not-filled", with("<p data-x='https://x.example/%7b%7bEmail%7d%7d.png'>x</p>"), "{{Email}}"},
		{"not-filled", strings.Replace(textMail("x"), "shop@example.com", "\"{{Shop}}\" <shop@example.com>", 1), "{{Shop}}"},
		{"not-filled", mixed("<p>Hi</p>", "Hi", "Content-Type: text/csv; name=\"{{Name}}.csv\"\nContent-Disposition: attachment\n\nx"), "{{Name}}"},
		{"stray-braces", textMail("Hi {{Name|you}}}}, there"), "}}, there"},
		{"stray-braces", with("<p>Hi Name}} there</p>"), "Name}} there"},
		{"no-subject", titled("", textMail("x")), ""},
		{"long-subject", titled("Winter coats for {{Name|friend}}, and all that you will ever want to wear", textMail("x")), "64 characters"},
		{"capitals-in-subject", titled("WINTER COATS 50% OFF", textMail("x")), ""},
		{"exclamation-marks", titled("Winter coats!!!", textMail("x")), ""},
		{"exclamation-marks", titled("=?utf-8?Q?=EA=B2=A8=EC=9A=B8=EF=BC=81=EF=BC=81=EF=BC=81?=", textMail("x")), ""},
		{"reply-subject", titled("Re: Winter", textMail("x")), "Re: Winter"},
		{"reply-subject", titled("FW:Winter", textMail("x")), "FW:Winter"},
		{"reply-subject", titled("[External] Winter", textMail("x")), "[External]"},
		{"reply-subject", titled("=?utf-8?B?W+2ajOyLoF0g6rKo7Jq4?=", textMail("x")), "[회신]"},
		{"empty-link", link("#"), ""},
		{"empty-link", link("javascript:void(0)"), ""},
		{"no-scheme", link("www.example.com/a"), "www.example.com/a"},
		{"no-scheme", link("//example.com/a"), "//example.com/a"},
		{"no-scheme", link("shop.example.com:8080/a"), "shop.example.com:8080"},
		{"no-scheme", img("images/a.png"), "images/a.png"},
		{"file-link", link("file:///C:/a.pdf"), "file:///C:/a.pdf"},
		{"file-link", link(`\\server\share\a.pdf`), `\\server`},
		{"file-link", link(`C:\a.pdf`), `C:\a.pdf`},
		{"private-link", link("http://localhost:3000/"), "localhost"},
		{"private-link", link("http://192.168.0.7/a"), "192.168.0.7"},
		{"private-link", link("http://127.0.0.1:8080/a"), "127.0.0.1"},
		{"private-link", link("https://[fd00::1]/a"), "fd00::1"},
		{"private-link", link("https://intranet/a"), "https://intranet/a"},
		{"private-link", link("https://me@wiki.corp:8443/a"), "wiki.corp"},
		{"private-link", img("https://cdn.internal/a.png"), "cdn.internal"},
		{"private-link", textMail("see http://10.0.0.1/x."), "http://10.0.0.1/x"},
		{"rewritten-link", link("https://kor01.safelinks.protection.outlook.com/?url=https%3A%2F%2Fexample.com%2F"), "safelinks"},
		{"rewritten-link", with(`<a href="https://kor01.safelinks.protection.outlook.com/?url=x">https://example.com</a>`), "safelinks"},
		{"shortener", link("https://bit.ly/3abc"), "bit.ly"},
		{"shortener", link("https://me@BIT.ly./3abc"), "BIT.ly"},
		{"mismatched-link", with(`<a href="https://click.example.org/x">https://shop.example.com</a>`), "click.example.org"},
		{"mismatched-link", with(`<a href="https://click.example.org/x"><b>www.shop.com</b>/sale</a>`), "www.shop.com/sale"},
		{"mismatched-link", with(`<a href="https://click.example.org/x">www.&#8203;shop.com</a>`), "www.shop.com"},
		{"missing-picture", img("cid:nowhere@x"), "nowhere@x"},
		{"file-picture", img("file:///C:/a.png"), "C:/a.png"},
		{"http-picture", img("http://x.example/a.png"), "http://x.example/a.png"},
		{"data-picture", img("data:image/png;base64," + strings.Repeat("A", 20<<10)), ""},
		{"data-picture", img("data:image/png;base64,AA"), ""},
		{"no-alt", with(`<img src="https://x.example/img/coat.png?x=1">`), "coat.png"},
		{"large-picture", mixed(`<p>Hi</p><img alt=x src="cid:coat">`, "Hi", picture("coat", 1200<<10)), "coat.png (1.2 MB)"},
		{"clipped-by-gmail", with("<p>" + strings.Repeat("<b></b>\n", 15<<10) + "</p>"), "136 KB"},
		{"large-copy", mixed("<p>Hi</p>", "Hi", picture("coat", 9<<20)), "12.3 MB"},
		{"attachment", mixed("<p>Hi</p>", "Hi", "Content-Type: application/pdf; name=coats.pdf\nContent-Disposition: attachment\n\nx"), "coats.pdf (1 KB)"},
		{"attachment", mixed("<p>Hi</p>", "Hi", "Content-Type: text/csv; name=\"\xb0\xa1.csv\"\nContent-Disposition: attachment\n\nx"), "가.csv"},
		{"no-alt", with(`<img src="https://x.example/seen/?id=1">`), "https://x.example/seen/"},
		{"attachment", mixed("<p>Hi</p>", "Hi", picture("coat", 3000)), "coat.png"},
		{"quoted-mail", with(`<div class="gmail_quote gmail_x">x</div>`), ""},
		{"quoted-mail", with(`<blockquote type="cite">x</blockquote>`), ""},
		{"quoted-mail", with(`<div id=divRplyFwdMsg>x</div>`), ""},
		{"quoted-mail", with("<p><b>From:</b> Kim &lt;kim@example.com&gt;<br><b>Sent:</b> Monday<br>To: x</p>"), ""},
		{"quoted-mail", with("<p><b>From: </b>kim@example.com</p><p><b>To: </b>x</p>"), ""},
		{"quoted-mail", with("<p><b>보낸 사람:</b> 김<br><b>보낸 날짜:</b> 월요일</p>"), ""},
		{"quoted-mail", textMail("Hi\n\n-----Original Message-----\nFrom: x"), ""},
		{"quoted-mail", textMail("Hi\n\nOn Mon, 23 Nov 2026, Kim wrote:\n> x"), ""},
		{"quoted-mail", textMail("Hi\n\n2026년 11월 23일 (월) 김민수님이 작성:\n> x"), ""},
		{"quoted-mail", textMail("Hi\n\n> when do they come?\n> and which?\n>> the coats"), ""},
		{"tracked-changes", with(`<p>for <del cite="mailto:Kim" datetime="2026-11-20T10:00">ten</del></p>`), ""},
		{"tracked-changes", with(`<p>for <span class=msoIns>ten</span></p>`), ""},
		{"word-comments", with(`<p class=MsoCommentText>ask the boss</p>`), ""},
		{"text-differs", mixed("<p>The winter coats are here, and all of them cost half until the end of this week only</p>", "This is an HTML mail."), ""},
		{"text-made", htmlMail("<p>Hi</p>"), ""},
		{"no-text", parts("multipart/mixed", "Content-Type: text/html\n\n<p>Hi --=_b {{Unsubscribe}}</p>"), ""},
		{"footer-added", "From: a@example.com\nSubject: s\n\nHi\n", ""},
		{"footer-added", "From: a@example.com\nSubject: s\nContent-Type: text/html\n\nHi<!--[if mso]><a href=\"{{Unsubscribe}}\">x</a><![endif]-->\n", ""},
	}
}

func TestReviewSaysWhatIsOdd(t *testing.T) {
	for i, m := range oddMails() {
		t.Run(fmt.Sprintf("%s %d", m.code, i), func(t *testing.T) {
			codes, by := reviewOf(t, input(t, m.raw))
			w, ok := by[m.code]
			if !ok || !strings.Contains(w.Text, m.about) {
				t.Errorf("want %q; got %v", m.about, by)
			}
			allowed := []string{m.code}
			switch { // what goes with it of need
			case m.code == "large-copy", strings.Contains(m.raw, "text/csv"):
				allowed = append(allowed, "attachment")
			case strings.Contains(m.raw, "Content-Type: text/html\n\nHi"):
				allowed = append(allowed, "text-made")
			}
			for _, c := range codes {
				if !slices.Contains(allowed, c) {
					t.Errorf("and it says %v", by[c])
				}
			}
			in := input(t, m.raw)
			in.List.Language = "ko"
			if _, ko := reviewOf(t, in); !regexp.MustCompile(`[가-힣]`).MatchString(ko[m.code].Text) || ko[m.code].Text == w.Text {
				t.Errorf("in Korean: %q", ko[m.code].Text)
			}
		})
	}
}

func TestReviewSaysWhatBecomesOfMissingValues(t *testing.T) {
	for missing, words := range map[string]string{"hold": "the whole mail is held", "skip": "gets no copy"} {
		in := input(t, titled("Hi {{Name}}", textMail("x")))
		in.List.Missing = missing
		if _, by := reviewOf(t, in); !strings.Contains(by["no-fallback"].Text, words) {
			t.Errorf("%s: %v", missing, by)
		}
	}
}

func TestReviewNamesAFewPlacesAndCountsTheOthers(t *testing.T) {
	html := ""
	for i := range 5 {
		html += fmt.Sprintf(`<a href="https://bit.ly/%d">x</a><a href="https://bit.ly/%d">again</a>`, i, i)
	}
	_, by := reviewOf(t, input(t, titled("x", page(html))))
	if got := by["shortener"].Text; !strings.HasSuffix(got, ": https://bit.ly/0, https://bit.ly/1, https://bit.ly/2 (and 2 more)") {
		t.Error(got)
	}
}

// Every code is written down for those who read it, and every one has a mail that
// gets it.
func TestEveryWarningIsInTheManual(t *testing.T) {
	manual, err := os.ReadFile("../docs/writing.md")
	if err != nil {
		t.Fatal(err)
	}
	played := map[string]bool{}
	for _, m := range oddMails() {
		played[m.code] = true
	}
	for _, code := range expand.WarningCodes() {
		if !strings.Contains(string(manual), "| `"+code+"` |") {
			t.Errorf("docs/writing.md has no row for %s", code)
		}
		if !played[code] {
			t.Errorf("no test gets %s", code)
		}
	}
}

func TestFallbacksAreThoseOfOneFieldEachOnce(t *testing.T) {
	c := compile(t, titled("{{Name|you}}", textMail("{{Name|friend}} {{Name|you}} {{Point|0}} {{Name}}")))
	if got := c.Fallbacks("Name"); !slices.Equal(got, []string{"you", "friend"}) {
		t.Errorf("of Name: %q", got)
	}
	if got := c.Fallbacks("Gender"); got != nil {
		t.Errorf("of Gender: %q", got)
	}
}

// FuzzReview holds for any mail that is taken: a review ends, in sentences that move
// no cursor, each code once.
func FuzzReview(f *testing.F) {
	for _, m := range oddMails() {
		if len(m.raw) < 10<<10 {
			f.Add([]byte(strings.ReplaceAll(m.raw, "\n", "\r\n")))
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		in := input(t, "")
		in.Raw = raw
		c, err := expand.Compile(in)
		if err != nil {
			return
		}
		seen := map[string]bool{}
		for _, w := range expand.Review(in, c) {
			if seen[w.Code] || strings.ContainsAny(w.Text, "\r\n\x00\x1b") || len(w.Text) > 2000 {
				t.Fatal(errors.New(w.Code + ": " + w.Text))
			}
			seen[w.Code] = true
		}
	})
}
