package expand_test

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"postern/expand"
	"postern/mail"
)

// identity is what shop shows, as text and as HTML.
func identity(html bool) []string {
	company := `가게 <"A & B">`
	if html {
		company = `가게 &lt;&#34;A &amp; B&#34;&gt;`
	}
	return []string{company, "서울특별시 중구 세종대로 110", "02-120", "help@shop.example", theLink, "수신", "거부", "nsubscribe"}
}

func TestRule60EveryTextShowsWhoSendsItAndHowToRefuse(t *testing.T) {
	text, html := "Content-Type: text/plain\n\nhello", "Content-Type: text/html\n\n<html><body><div class=WordSection1><p>hello</p></div></body></html>"
	shown := "Content-Type: text/plain\n\nleave: {{Unsubscribe}}"
	nested := "Content-Type: multipart/alternative; boundary=\"=_b2\"\n\n--=_b2\n" + text + "\n--=_b2\n" + html + "\n--=_b2--\n"
	for name, raw := range map[string]string{
		"alternatives":            parts("multipart/alternative", text, html),
		"with the link already":   parts("multipart/alternative", shown, html),
		"pictures and attachment": parts("multipart/mixed", "Content-Type: multipart/related; boundary=\"=_b3\"\n\n--=_b3\n"+nested+"\n--=_b3\nContent-Type: image/gif\n\nGIF\n--=_b3--\n", "Content-Type: application/pdf\n\n%PDF"),
		"euc-kr":                  parts("multipart/alternative", "Content-Type: text/plain; charset=ks_c_5601-1987\n\n\xb1\xe8", strings.Replace(html, "hello", "\xb1\xe8", 1)),
	} {
		for _, language := range []string{"ko", "en", "fr"} {
			in := advertising(t, raw)
			in.List.Language = language
			c, err := expand.Compile(in)
			if err != nil {
				t.Errorf("%s is refused: %v", name, err)
				continue
			}
			r := receive(t, c.Render(copyTo(c, "min@example.net", nil), "TOKEN_7").Bytes())
			checkWire(t, r.raw)
			wantIn(t, name+", text", r.text, append(identity(false), "\r\n\r\n--------\r\n")...)
			wantIn(t, name+", HTML", r.html, append(identity(true), "</p></div></body></html>", `href="mailto:help@shop.example"`)...)
			wantNone(t, name, r.text+r.html, "{{", "To stop receiving it, <a", "더 이상 받지 않으시려면: ")
			if n := strings.Count(r.text, "02-120") + strings.Count(r.html, "02-120"); n != 2 {
				t.Errorf("%s: the phone number stands %d times", name, n)
			}
		}
	}
	amp := advertised(t, parts("multipart/alternative", text, "Content-Type: text/x-amp-html\n\n<!doctype html><html amp4email><body><p>hello</p></body></html>", html)).files["text/x-amp-html"]
	wantIn(t, "AMP", amp, append(identity(true), "</p></div></body></html>")...)
	wantIn(t, "text alone", advertised(t, "From: a@example.com\n\nhello\n").text, identity(false)...)
	wantIn(t, "HTML alone", advertised(t, "From: a@example.com\n"+html).html, identity(true)...)
	wantNone(t, "another list", render(t, parts("multipart/alternative", text, html), "").text, "Company", "02-120")
}

func TestRule60AdvertisingThatCannotShowItIsRefusedInWords(t *testing.T) {
	text := "Content-Type: text/plain\n\nhello {{Unsubscribe}}"
	for name, tt := range map[string]struct{ raw, want string }{
		"only a PDF":           {"From: a@example.com\nContent-Type: application/pdf\n\n%PDF", "this one has no text that could: write a few words above the attachment"},
		"only an attachment":   {"From: a@example.com\nContent-Disposition: attachment\n\nx", "this one has no text that could"},
		"an unknown charset":   {"From: a@example.com\nContent-Type: text/plain; charset=x-klingon\n\nnuqneH", "this one has no text that could"},
		"one such alternative": {parts("multipart/alternative", "Content-Type: text/plain; charset=x-klingon\n\nnuqneH", text), "the text part (1), which some readers see instead of the other texts, cannot"},
		"another kind of text": {parts("multipart/alternative", text, "Content-Type: text/enriched\n\n<p>x"), "part 2 (text/enriched), which some readers see instead"},
		"deep below": {parts("multipart/mixed", "Content-Type: multipart/alternative; boundary=\"=_b2\"\n\n--=_b2\n"+text+
			"\n--=_b2\nContent-Type: multipart/related; boundary=\"=_b3\"\n\n--=_b3\nContent-Type: image/gif\n\nGIF\n--=_b3--\n--=_b2--\n"), "part 1.2 (multipart/related), which some readers"},
		"an open comment": {"From: a@example.com\nContent-Type: text/html\n\n<p>hello <!-- never closed", "the mail ends inside a comment, a script or a style that is not closed"},
		"an open style":   {"From: a@example.com\nContent-Type: text/html\n\n<p>hello {{Unsubscribe}}<style>p {", "ends inside a comment"},
	} {
		_, err := expand.Compile(advertising(t, tt.raw))
		if e, ok := err.(*mail.Error); !ok || e.Class != mail.Permanent || e.Code != 554 || !strings.Contains(e.Public, tt.want) {
			t.Errorf("%s: %v\nwant %s", name, err, tt.want)
		}
		if _, err := expand.Compile(input(t, tt.raw)); err != nil {
			t.Errorf("%s: another list refuses it: %v", name, err)
		}
	}
}

func TestRule60AMissingIdentityRefusesTheMail(t *testing.T) {
	in := advertising(t, textMail("hello"))
	in.List.Identity.Company, in.List.Identity.Phone, in.List.Identity.Email = "", " ", ""
	_, err := expand.Compile(in)
	if e, ok := err.(*mail.Error); !ok || e.Class != mail.Permanent || e.Code != 554 || e.Enhanced != "5.3.5" ||
		!strings.Contains(e.Public, "the list promo") || !strings.Contains(e.Public, "fill in company, phone, email of [list.identity]") {
		t.Errorf("%v", err)
	}
}

func TestTheIdentityIsKnownInFootersAlone(t *testing.T) {
	for _, raw := range []string{textMail("{{List.Company}}"), htmlMail("<p>{{List.Company}}"), about("{{List.Phone}}")} {
		if _, err := expand.Compile(advertising(t, raw)); err == nil {
			t.Errorf("taken: %s", raw)
		}
	}
}

// TestFootersAreReadable holds the contrast of WCAG 2.1 §1.4.3 on white, the ground
// of mail, for every colour in the built-in footers.
func TestFootersAreReadable(t *testing.T) {
	luminance := func(colour string) float64 {
		sum := 0.0
		for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
			n, err := strconv.ParseUint(colour[2*i:2*i+2], 16, 8)
			if err != nil {
				t.Fatal(err)
			}
			c := float64(n) / 255
			if c <= 0.04045 {
				sum += weight * c / 12.92
			} else {
				sum += weight * math.Pow((c+0.055)/1.055, 2.4)
			}
		}
		return sum
	}
	colours := 0
	for _, name := range expand.FooterNames() {
		text, err := expand.BuiltInFooter(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`[^-]color:#([0-9a-f]{6})`).FindAllStringSubmatch(string(text), -1) {
			colours++
			if contrast := 1.05 / (luminance(m[1]) + 0.05); contrast < 4.5 {
				t.Errorf("%s: #%s on white has a contrast of %.2f, want 4.5", name, m[1], contrast)
			}
		}
	}
	if colours < 6 {
		t.Errorf("only %d colours were found", colours)
	}
}

// footers writes files into a folder of their own.
func footers(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// lists are one for advertising, one with a part of an identity and one without.
func lists() []mail.ListPolicy {
	return []mail.ListPolicy{
		{ID: "promo", Language: "ko", Advertising: true, Identity: shop()},
		{ID: "news", Language: "ko", Identity: mail.Identity{Company: "가게"}},
		{ID: "letters", Language: "en"},
	}
}

func TestAFileTakesThePlaceOfTheBuiltInFooter(t *testing.T) {
	in := input(t, parts("multipart/alternative", "\nhello", "Content-Type: text/html\n\n<body><p>hello</p></body>"))
	dir := footers(t, map[string]string{
		"en.txt":           "\xef\xbb\xbf\n-- {{List}} of {{ list.COMPANY ｜ nobody & co}}, {{Shop|no shop}}: {{Unsubscribe}}\n",
		"advertising.html": "<p>{{Li<b>st.Com</b>pany}}, <a href=\"mailto:{{List.Email}}\">{{List.Email}}</a>, {{List.Phone}}, {{List.Address}}, <a href='{{Unsubscribe}}'>수신거부</a></p>",
		".DS_Store":        "\x00",
		"en.txt~":          "{{Nmae}}",
	})
	f, err := expand.LoadFooters(dir, in.Vocabulary, lists())
	if err != nil {
		t.Fatal(err)
	}
	in.Footers = f
	read := func() *received {
		t.Helper()
		c, err := expand.Compile(in)
		if err != nil {
			t.Fatal(err)
		}
		return receive(t, c.Render(copyTo(c, "min@example.net", nil), "TOKEN_7").Bytes())
	}
	r := read()
	want(t, "text", r.text, "hello\r\n\r\n-- Promotions of nobody & co, no shop: "+theLink+"\r\n")
	wantIn(t, "the other form", r.html, "<p>hello</p><p style=", "unsubscribe</a>")
	in.List.Identity.Company = " The\r\nShop "
	wantIn(t, "with a company", read().text, "-- Promotions of The Shop, no shop: ")
	in.List.Advertising, in.List.Identity = true, shop()
	r = read()
	wantIn(t, "advertising", r.html, `<p>hello</p><p>가게 &lt;&#34;A &amp; B&#34;&gt;<b></b>, <a href="mailto:help@shop.example">help@shop.example</a>, 02-120, 서울`)
	wantIn(t, "advertising, the other form", r.text, identity(false)...)
}

func TestAFooterThatIsWrongStopsTheStartInWords(t *testing.T) {
	const whole = "{{List.Company}} {{List.Address}} {{List.Phone}} {{List.Email}}"
	for _, tt := range []struct{ name, text, want string }{
		{"ko.htm", "x", "this is the name of no footer; they are called advertising.html, advertising.txt, en.html, en.txt, ko.html, ko.txt: rename the file, or move it away"},
		{"KO.txt", "{{Unsubscribe}}", "this is the name of no footer"},
		{"ko.txt", "{{Nmae}} {{Unsubscribe}}", "in the footer: {{Nmae}} is not a field; did you mean {{Name}}?"},
		{"ko.txt", "{{List.Fax}} {{Unsubscribe}}", "in the footer: {{List.Fax}} is not a field, and no field has a name like it; of a list there are {{List.Company}}, {{List.Address}}, {{List.Phone}}, {{List.Email}}"},
		{"ko.txt", "{{Unsubscribe", "in the footer: a placeholder is not closed"},
		{"ko.txt", "", "a reader does not see {{Unsubscribe}} in it"},
		{"ko.txt", "goodbye", "write {{Unsubscribe}} where the link belongs"},
		{"ko.html", "<!-- {{Unsubscribe}} -->", "a reader does not see {{Unsubscribe}} in it"},
		{"ko.html", "<!--[if mso]>{{Unsubscribe}}<![endif]-->", "a reader does not see {{Unsubscribe}} in it"},
		{"ko.html", "<html><body>{{Unsubscribe}}</body></html>", "it is a whole page: keep only what stands between <body> and </body>"},
		{"ko.html", "<p>{{Unsubscribe}}</p></BODY >", "it is a whole page"},
		{"ko.txt", "\xb1\xe8 {{Unsubscribe}}", "it is not UTF-8: save it as UTF-8"},
		{"ko.txt", "{\x00{\x00U\x00", "it holds control characters: save it as plain text in UTF-8"},
		{"ko.txt", strings.Repeat("x", 65<<10), "it has more than 64 KB"},
		{"ko.txt", whole + "{{Unsubscribe}}", "there is nothing to show for {{List.Address}} of the list news and {{List.Phone}} of the list news and {{List.Email}} of the list news: fill in the list's [list.identity], or write what stands instead, as in {{List.Company|our shop}}"},
		{"en.html", "{{List.Company}}{{Unsubscribe}}", "there is nothing to show for {{List.Company}} of the list letters: "},
		{"advertising.txt", "{{Unsubscribe}} {{List.Company}} {{List.Phone}}", "a reader does not see {{List.Address}}, {{List.Email}} in it, and advertising must show"},
		{"advertising.html", "{{Unsubscribe}}<!-- " + whole + " -->", "a reader does not see {{List.Company}}, {{List.Address}}, {{List.Phone}}, {{List.Email}} in it"},
		{"advertising.txt", whole, "a reader does not see {{Unsubscribe}} in it"},
	} {
		dir := footers(t, map[string]string{tt.name: tt.text})
		_, err := expand.LoadFooters(dir, input(t, "").Vocabulary, lists())
		if says := fmt.Sprint(err); !strings.HasPrefix(says, "templates.footers: "+filepath.Join(dir, tt.name)+": ") || !strings.Contains(says, tt.want) {
			t.Errorf("%s with %.60q:\n got %s\nwant %s", tt.name, tt.text, says, tt.want)
		}
	}
	for name, fit := range map[string]string{
		"ko.txt":          "{{List.Company}} {{List.Phone|-}} {{List.Email|}} {{Unsubscribe}}",
		"en.html":         "<p>{{Name|friend}}, {{Shop|shop}}, {{List.Company|our shop}} <a href=\"{{Unsubscribe}}\">",
		"advertising.txt": whole + " {{Unsubscribe}} {{Email}} {{List}} {{Date}}",
	} {
		if _, err := expand.LoadFooters(footers(t, map[string]string{name: fit}), input(t, "").Vocabulary, lists()); err != nil {
			t.Errorf("%s with %q: %v", name, fit, err)
		}
	}
}

func TestEveryProblemOfTheFootersIsNamedAtOnce(t *testing.T) {
	dir := footers(t, map[string]string{"ko.htm": "", "en.txt": "", "ko.txt": "{{Unsubscribe}}"})
	if err := os.Mkdir(filepath.Join(dir, "en.html"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := expand.LoadFooters(dir, input(t, "").Vocabulary, lists())
	if says := fmt.Sprint(err); strings.Count(says, "\n") != 2 || !strings.Contains(says, "en.html: it is not a file") {
		t.Errorf("%s", says)
	}
	absent := filepath.Join(dir, "absent")
	_, err = expand.LoadFooters(absent, input(t, "").Vocabulary, lists())
	want(t, "no folder", fmt.Sprint(err), "templates.footers: cannot read the folder "+absent+": no such file or directory; `postern footers "+absent+"` makes it")
}

// TestTheBuiltInFootersAreAsStrictAsFilesMustBe.
func TestTheBuiltInFootersAreAsStrictAsFilesMustBe(t *testing.T) {
	files := map[string]string{}
	for _, name := range expand.FooterNames() {
		b, err := expand.BuiltInFooter(name)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = string(b)
	}
	if _, err := expand.LoadFooters(footers(t, files), input(t, "").Vocabulary, lists()); err != nil {
		t.Error(err)
	}
	if built, _ := filepath.Glob("footer/*"); len(built) != len(files) {
		t.Errorf("the folder footer holds %v", built)
	}
}
