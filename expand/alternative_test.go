package expand_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	eml "github.com/emersion/go-message"
	"pgregory.net/rapid"

	"postern/expand"
)

// shape writes the structure of a mail: its multiparts by subtype, its leaves by
// type, and of texts the first word.
func shape(t testing.TB, raw []byte) string {
	t.Helper()
	e, err := eml.Read(bytes.NewReader(raw))
	if err != nil && !eml.IsUnknownCharset(err) {
		t.Fatalf("a mail reader refuses the copy: %v\n%s", err, raw)
	}
	return shapeOf(t, e)
}

func shapeOf(t testing.TB, e *eml.Entity) string {
	kind, _, err := e.Header.ContentType()
	if err != nil {
		t.Fatal(err)
	}
	mr := e.MultipartReader()
	if mr == nil {
		b, err := io.ReadAll(e.Body)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimPrefix(strings.TrimPrefix(kind, "text/"), "image/")
		if words := strings.FieldsFunc(string(b), func(r rune) bool { return strings.ContainsRune(" <>/.\r\n", r) }); kind == "text/plain" && len(words) > 0 {
			return name + ":" + words[0]
		}
		return name
	}
	var all []string
	for {
		p, err := mr.NextPart()
		if err == io.EOF {
			return strings.TrimPrefix(kind, "multipart/") + "[" + strings.Join(all, " ") + "]"
		}
		if err != nil {
			t.Fatalf("a mail reader refuses the copy: %v", err)
		}
		all = append(all, shapeOf(t, p))
	}
}

// nested is a part with parts.
func nested(kind, boundary string, each ...string) string {
	return "Content-Type: " + kind + "; boundary=\"" + boundary + "\"\n\n--" + boundary + "\n" + strings.Join(each, "\n--"+boundary+"\n") + "\n--" + boundary + "--\n"
}

func TestEachShownHTMLHasATextBesideIt(t *testing.T) {
	const (
		text = "Content-Type: text/plain\n\nown"
		page = "Content-Type: text/html; charset=utf-8\n\n<p>one {{Unsubscribe}}</p>"
		more = "Content-Type: text/html\n\n<p>two</p>"
		gap  = "Content-Type: text/html\n\n<html><body><br></body></html>"
		amp  = "Content-Type: text/x-amp-html\n\n<p>amp</p>"
		gif  = "Content-Type: image/gif\nContent-ID: <x@y>\n\nGIF89a"
		pdf  = "Content-Type: application/pdf\nContent-Disposition: attachment; filename=x.pdf\n\n%PDF"
		file = "Content-Type: text/html; name=x.html\nContent-Disposition: attachment; filename=x.html\n\n<p>file</p>"
	)
	for name, tc := range map[string]struct{ mail, want string }{
		"html":                        {"From: a@example.com\n" + page, "alternative[plain:one html]"},
		"text":                        {"From: a@example.com\n" + text, "plain:own"},
		"both":                        {parts("multipart/alternative", text, page), "alternative[plain:own html]"},
		"html only, as alternatives":  {parts("multipart/alternative", page), "alternative[plain:one html]"},
		"AMP":                         {parts("multipart/alternative", amp, page), "alternative[plain:one x-amp-html html]"},
		"AMP and text":                {parts("multipart/alternative", text, amp, page), "alternative[plain:own x-amp-html html]"},
		"an empty text":               {parts("multipart/alternative", "Content-Type: text/plain; charset=us-ascii; format=flowed\n\n \n\n", page), "alternative[plain:one html]"},
		"an empty text, empty html":   {parts("multipart/mixed", nested("multipart/alternative", "=_i", "\n", gap), page), "mixed[alternative[plain html] alternative[plain:one html]]"},
		"related":                     {parts("multipart/related; type=\"text/html\"; start=\"<r@x>\"", gif, "Content-ID: <r@x>\n"+page), "alternative[plain:one related[gif html]]"},
		"related in mixed":            {parts("multipart/mixed", nested("multipart/related", "=_i", page, gif), pdf), "mixed[alternative[plain:one related[html gif]] application/pdf]"},
		"related in alternative":      {parts("multipart/alternative", nested("multipart/related", "=_i", page, gif)), "alternative[plain:one related[html gif]]"},
		"alternative in related":      {parts("multipart/related", nested("multipart/alternative", "=_i", page), gif), "related[alternative[plain:one html] gif]"},
		"html and a file":             {parts("multipart/mixed", page, pdf), "mixed[alternative[plain:one html] application/pdf]"},
		"html around a file":          {parts("multipart/mixed", page, pdf, more), "mixed[alternative[plain:one html] application/pdf alternative[plain:two html]]"},
		"html around a file, nothing": {parts("multipart/mixed", page, pdf, gap), "mixed[alternative[plain:one html] application/pdf html]"},
		"Apple Mail":                  {parts("multipart/alternative", text, nested("multipart/mixed", "=_i", page, pdf, more)), "alternative[plain:own mixed[html application/pdf html]]"},
		"Apple Mail without text":     {parts("multipart/alternative", nested("multipart/mixed", "=_i", page, pdf, more)), "alternative[plain:one mixed[html application/pdf html]]"},
		"a text before":               {parts("multipart/mixed", text, page), "mixed[plain:own alternative[plain:one html]]"},
		"an HTML file":                {parts("multipart/mixed", text, file), "mixed[plain:own html]"},
		"html and an HTML file":       {parts("multipart/mixed", page, file), "mixed[alternative[plain:one html] html]"},
		"a forwarded mail":            {parts("multipart/mixed", text, "Content-Type: message/rfc822\n\nSubject: x\n"+page), "mixed[plain:own message/rfc822]"},
		"a picture, footer joins":     {"From: a@example.com\nContent-Type: text/html\n\n<img src=\"cid:x\">", "alternative[plain:-------- html]"},
		"no word, no footer":          {parts("multipart/mixed", "Content-Type: text/html\n\n<img src=\"cid:x\">", page), "mixed[html alternative[plain:one html]]"},
		"a charset nobody knows":      {"From: a@example.com\nContent-Type: text/html; charset=x-klingon\n\n<p>x", "html"},
	} {
		got := compileRender(t, tc.mail, "민").Bytes()
		checkWire(t, got)
		want(t, name, shape(t, got), tc.want)
	}
}

func TestTheFieldsAboutTheContentStayWithIt(t *testing.T) {
	raw := "From: a@example.com\nSubject: s\nContent-Type: text/html; charset=ks_c_5601-1987\nContent-Language: ko\nX-Mailer: x\n" +
		"Content-Transfer-Encoding: base64\nContent-ID: <c@x>\nContent-MD5: none\nMIME-Version: 1.0\n\nPHA+sNa8sTwvcD4=\n"
	got := string(compileRender(t, raw, "민").Bytes())
	head, body, _ := strings.Cut(got, "\r\n\r\n")
	wantIn(t, "header", head, "MIME-Version: 1.0\r\nContent-Type: multipart/alternative;\r\n boundary=\"=_text1_"+string(messageID)+"_0\"")
	wantNone(t, "header", head, "content-language", "content-id", "content-transfer-encoding", "x-mailer")
	wantIn(t, "body", body, "Content-Language: ko\r\nContent-ID: <c@x>\r\nContent-Type: text/html; charset=utf-8\r\n")
	wantNone(t, "body", body, "x-mailer", "subject", "content-md5", "mime-version")

	got = string(compileRender(t, parts("multipart/related;\n type=\"text/html\"; start=\"<r@x>\"", "Content-ID: <r@x>\nContent-Type: text/html\n\n<p>x {{Unsubscribe}}"), "민").Bytes())
	_, body, _ = strings.Cut(got, "\r\n\r\n")
	wantIn(t, "body", body, "\r\nContent-Type: multipart/related;\r\n type=\"text/html\"; start=\"<r@x>\"; boundary=\"=_b\"\r\n\r\npreamble\r\n--=_b\r\n")
	if again := string(compileRender(t, parts("multipart/related;\n type=\"text/html\"; start=\"<r@x>\"", "Content-ID: <r@x>\nContent-Type: text/html\n\n<p>x {{Unsubscribe}}"), "민").Bytes()); again != got {
		t.Error("the same mail compiles to other octets")
	}
}

func TestTheNewBoundaryStandsNowhereInTheMail(t *testing.T) {
	taken := "=_text1_" + string(messageID) + "_0"
	for _, page := range []string{"<p>" + taken + "\n--" + taken + "--\n</p>", "<p>x</p><!--\n--" + taken + "\n-->", "<p>&#61;" + taken[1:]} {
		r := render(t, "From: a@example.com\nContent-Type: text/html\n\n"+page, "민")
		wantIn(t, "copy", string(r.raw), "boundary=\"=_text1_"+string(messageID)+"_1\"")
	}

	own := parts("multipart/alternative", "Content-Type: text/html\n\n<pre>--=_b--</pre><p>{{Unsubscribe}}")
	want(t, "a text that holds the boundary of its client is not made", shape(t, compileRender(t, own, "민").Bytes()), "alternative[html]")
}

func TestRule48TheMadeTextHoldsTheValuesOfTheHTML(t *testing.T) {
	for name, tc := range map[string]struct{ html, text string }{
		"split":               {`<p>{{na<span class=SpellE>me</span>}}님</p>`, "민 A&B님"},
		"in a link":           {`<a href="https://x.example/?n=%7b%7bName%7d%7d&amp;e={{Email}}">shop</a>`, "shop: https://x.example/?n=%EB%AF%BC%20A%26B&e=min%40example.net"},
		"unsubscribe":         {`<p>To leave, <a href="http://{{Unsubscribe}}">click</a>.</p>`, "To leave, click (" + theLink + ")."},
		"both the same":       {`<a href="{{Unsubscribe}}">{{Unsubscribe}}</a>`, theLink},
		"preferences":         {`<a href="{{Preferences}}">choose</a>`, "choose: https://mail.example.com/p/TOKEN_7"},
		"mailto":              {`<a href="mailto:{{Email}}?subject={{Name}}">{{Email}}</a>`, "min@example.net"},
		"alt":                 {`<img src="cid:x" alt="{{Name}}님">`, "민 A&B님"},
		"list and date":       {`<p>{{List}}, {{Date}}</p>`, "Promotions, 22 November 2026"},
		"a fallback":          {`<p>{{Gender|a "b" &lt;c&gt; | 'd'}}</p>`, `a "b" <c> | 'd'`},
		"in full width":       {`<p>｛｛Gender｜손 님｝｝</p>`, "손 님"},
		"a fallback, encoded": {`<a href="https://x.example/?g={{Gender|손 님&quot;&gt;}}">x</a>`, "x: https://x.example/?g=%EC%86%90%20%EB%8B%98%22%3E"},
		"an empty fallback":   {`<p>[{{Gender|}}]</p>`, "[]"},
		"literal braces":      {`<p>Write {{"{{"}}Name}} or {{“{{Name}}”}}</p>`, "Write {{Name}} or {{Name}}"},
		"percent signs":       {`<p>%7B%7BNobody%7D%7D, %7b%7B and 50%</p>`, "%7B%7BNobody%7D%7D, %7b%7B and 50%"},
		"braces that meet":    {`<p>{<span style="display:none">x</span>{Name}} {&shy;</p>`, "{{Name}} {"},
		"a brace before":      {`<p>{{"{"}}<b>{{Name}}</b>}</p>`, "{민 A&B}"},
		"what is hidden":      {`<div style="display:none">{{Name}}</div><p>x</p>`, "x"},
		"for Outlook":         {`<!--[if mso]><p>{{Name}}</p><![endif]--><p>x</p>`, "x"},
		"like a token":        {`<p>xslot0z {{Name}} xslot</p>`, "xslot0z 민 A&B xslot"},
	} {
		c := compile(t, "From: a@example.com\nContent-Type: text/html; charset=utf-8\n\n"+tc.html+"<!-- --><p></p>\n")
		got := receive(t, c.Render(copyTo(c, "min@example.net", map[string]string{"Name": "민 A&B"}), "TOKEN_7").Bytes())
		text, _, _ := strings.Cut(got.text, "\r\n\r\n--------\r\n")
		want(t, name, strings.TrimRight(text, "\r\n"), tc.text)
	}
}

func TestAMadeTextAsksForNoValueMore(t *testing.T) {
	page := "<p>{{Name|}} {{Gender|x}} {{Shop}} {{Shop|y}} {{Point|0}}</p>"
	made := compile(t, "From: a@example.com\nContent-Type: text/html\n\n"+page)
	sent := compile(t, parts("multipart/alternative", "Content-Type: text/plain\n\nown", "Content-Type: text/html\n\n"+page))
	if !reflect.DeepEqual(made.Fields(), sent.Fields()) || !reflect.DeepEqual(made.Required(), sent.Required()) {
		t.Errorf("with a made text %v %v, without %v %v", made.Fields(), made.Required(), sent.Fields(), sent.Required())
	}
	want(t, "required", fmt.Sprint(made.Required()), "[false false true false]")
}

func TestOfManyPlaceholdersNoTextIsMade(t *testing.T) {
	raw := "From: a@example.com\nContent-Type: text/html\n\n" + strings.Repeat("<p>{{Name}}", 2460) // and the footer's
	want(t, "shape", shape(t, compileRender(t, raw, "x").Bytes()), "html")
}

// TestTheTextsOfPages reads each testdata/plain/x.html and holds x.txt, which a
// person has read.
func TestTheTextsOfPages(t *testing.T) {
	pages, err := filepath.Glob("testdata/plain/*.html")
	if err != nil || len(pages) < 10 {
		t.Fatalf("%d pages: %v", len(pages), err)
	}
	for _, path := range pages {
		t.Run(filepath.Base(path), func(t *testing.T) {
			html, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			r := render(t, "From: a@example.com\nSubject: s\nContent-Type: text/html; charset=utf-8\n\n"+string(html), "민")
			checkWire(t, r.raw)
			got, golden := strings.ReplaceAll(r.text, "\r\n", "\n"), strings.TrimSuffix(path, ".html")+".txt"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			wanted, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			want(t, "text (after a look at the change: go test ./expand -run Pages -update)", got, string(wanted))
		})
	}
}

// textOf compiles a page and gives the text that was made, if one was.
func textOf(t testing.TB, html string) (string, bool) {
	t.Helper()
	in := input(t, "From: a@example.com\nContent-Type: text/html; charset=utf-8\n\n")
	in.Raw = append(in.Raw, html...)
	c, err := expand.Compile(in)
	if err != nil {
		return "", false
	}
	raw := c.Render(copyTo(c, "min@example.net", map[string]string{"Name": "민"}), "TOKEN_7").Bytes()
	checkWire(t, raw)
	r := receive(t, raw)
	if kind, _, _ := r.header.ContentType(); kind != "multipart/alternative" {
		return "", false
	}
	text, _, _ := strings.Cut(r.text, "--------\r\nThis mail was sent")
	return strings.TrimRight(text, "\r\n"), true
}

func TestHostileHTMLIsBoundedAndStillSent(t *testing.T) {
	big := strings.Repeat("x", 2<<20)
	for name, page := range map[string]string{
		"deep":              strings.Repeat("<div>", 20_000) + "x",
		"deep lists":        strings.Repeat("<ul><li>", 20_000) + "x",
		"deep tables":       strings.Repeat("<table><tr><td>", 60) + strings.Repeat("x<br>", 20_000),
		"deep quotes":       strings.Repeat("<blockquote>", 200) + strings.Repeat("x<br>", 20_000),
		"many end tags":     strings.Repeat("x</div></b></a></td>", 10_000),
		"many open":         strings.Repeat("<span>", 250) + strings.Repeat("<p>x</q>", 10_000),
		"many rows":         "<table>" + strings.Repeat("<tr>x<td>", 10_000),
		"many links":        strings.Repeat("<a href=https://x.example/>x", 20_000),
		"a long text":       big,
		"a long attribute":  "<a href='https://x.example/" + big + "'>x</a>",
		"long comments":     "<!--" + big + "-->x",
		"many comments":     strings.Repeat("x<!-- -->", 20_000),
		"many blanks":       strings.Repeat("<br>", 10_000) + "x",
		"an open tag":       "x<p " + big,
		"many style sheets": strings.Repeat("<style>p.MsoNormal {", 20_000) + "x",
	} {
		began := time.Now()
		text, made := textOf(t, page)
		t.Logf("%s: %d octets in %v, made: %v", name, len(text), time.Since(began).Round(time.Millisecond), made)
		if len(text) > 3<<20 {
			t.Errorf("%s: the text has %d octets", name, len(text))
		}
		if made && (strings.HasPrefix(name, "deep") && name != "deep tables" || name == "a long text") {
			t.Errorf("%s: a text was made", name)
		}
	}
}

// TestThePropertiesOfAMadeText holds for simple HTML: every word is there, in
// order, on lines that nobody broke.
func TestThePropertiesOfAMadeText(t *testing.T) {
	word := rapid.StringMatching(`[a-zA-Z가-힣0-9_*#]{1,12}`)
	rapid.Check(t, func(rt *rapid.T) {
		var page strings.Builder
		var words []string
		for range rapid.IntRange(1, 30).Draw(rt, "n") {
			w := word.Draw(rt, "word")
			words = append(words, w)
			fmt.Fprintf(&page, rapid.SampledFrom([]string{
				"<p>%s</p>", "<div>%s</div>\n", "%s<br>", " <b>%s</b> ", "<ul><li>%s</li></ul>", "<h2>%s", "<table><tr><td>%s</table>", "<img alt=\"%s\">",
				"<blockquote>%s</blockquote>", "<pre>%s</pre>", " <a href=\"https://x.example/\">%s</a> ", "<table><tr><td><p>%s<td>", "&nbsp;%s ",
			}).Draw(rt, "shape"), w)
		}
		text, made := textOf(t, page.String())
		if !made {
			rt.Fatalf("no text of %q", page.String())
		}
		rest := text
		for _, w := range words {
			i := strings.Index(rest, w)
			if i < 0 {
				rt.Fatalf("%q is missing, or not in order, in\n%s\nof\n%s", w, text, page.String())
			}
			rest = rest[i+len(w):]
		}
		if strings.Contains(text, "\r\n\r\n\r\n") || strings.Contains(text, " \r\n") {
			rt.Fatalf("blank lines or blanks in %q", text)
		}
	})
}

// FuzzTextOf holds for any HTML: the mail is refused as HTML or compiled, the text
// is UTF-8 and bounded, and no tag and no placeholder of ours stays in it.
func FuzzTextOf(f *testing.F) {
	pages, err := filepath.Glob("testdata/plain/*.html")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range pages {
		b, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(b))
	}
	for _, s := range []string{"{{Name}}{{{\"{\"}}", "<a href={{Name|x}}>%7b%7b", "<p>｛<b>{</b>\u200b{{Email}}", "<table><td><li><tr><ol start=-1>x</table>", "<pre>\n a\n", "<a href=mailto:%zz>x", "xslot0zz{{Name}}xslot", "<!--[if x]>{{Name}}<![endif]-->", "<span style=mso-list:Ignore>", "\xff<p>\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, html string) {
		text, made := textOf(t, html)
		if !utf8.ValidString(text) {
			t.Fatalf("not UTF-8: %q", text)
		}
		if len(text) > 64*len(html)+(2<<20) {
			t.Fatalf("%d octets of %d", len(text), len(html))
		}
		if made && strings.Contains(text, "\r\n\r\n\r\n") && !strings.Contains(html, "{") && !strings.Contains(html, "｛") {
			t.Fatalf("blank lines in %q", text)
		}
	})
}

// BenchmarkCompileHTMLOnly100KB compiles what Word writes, with a placeholder in
// each twentieth row.
func BenchmarkCompileHTMLOnly100KB(b *testing.B) {
	const row = `<tr><td width=200 style='border:solid #BFBFBF 1.0pt'><p class=MsoNormal><span lang=EN-US style='font-size:11.0pt'>Coat</span>님께<o:p></o:p></p></td><td><a href="https://shop.example.com/?e=1">가게</a></td></tr>` + "\r\n"
	rows := strings.Repeat(row, 19) + strings.Replace(row, "Coat", "{{<span class=SpellE>Na</span>me|고객}}", 1)
	in := input(b, "From: a@example.com\nContent-Type: text/html; charset=utf-8\n\n")
	in.Raw = append(in.Raw, "<html><body><table>"+strings.Repeat(rows, 100_000/len(rows))+"</table></body></html>\r\n"...)
	b.ReportAllocs()
	b.SetBytes(int64(len(in.Raw)))
	for b.Loop() {
		if _, err := expand.Compile(in); err != nil {
			b.Fatal(err)
		}
	}
}
