package expand_test

import (
	"encoding/base64"
	"os"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"postern/expand"
)

const endOfTemplate = `<p id="end">THE END</p>`

// inTemplate is what the template makes of a mail.
func inTemplate(t *testing.T, page, raw string) *received {
	t.Helper()
	r, _ := wrapped(t, &expand.Template{ID: "t", HTML: page, Images: newsletter().Images}, raw)
	return r
}

// pageMail is a mail of HTML alone.
func pageMail(body string) string {
	return "From: shop@example.com\nSubject: s\nContent-Type: text/html; charset=utf-8\n\n" + body
}

func TestAMailDoesNotBreakOutOfItsPlace(t *testing.T) {
	const template = "<html><body><table><tr><td><div>{{Body}}</div></td><td>beside {{Unsubscribe}}</td></tr></table>" + endOfTemplate + "</body></html>"
	for name, body := range map[string]string{
		"end tags too many":               "words</div></td></tr></table></body></html>",
		"tags left open":                  "<div><table><tr><td><b><span>words",
		"formats left open":               "<b><font color=red><a href=x>words",
		"a cell":                          "<td>words</td><tr><td>more",
		"a comment left open":             "words<!-- not closed",
		"a comment for Outlook":           "words<!--[if mso]><table><![endif]--><!--[if mso]></table>",
		"a tag cut off":                   `words<a href="https://x.example/`,
		"an attribute left open":          `words<img alt="not closed>`,
		"a sheet left open":               "words<style>p{",
		"a script left open":              "words<script>'</div>",
		"a textarea left open":            "words<textarea></div>",
		"a title left open":               "words<title>a",
		"plaintext":                       "words<plaintext>",
		"a select left open":              "words<select><option>a",
		"two pages":                       "<html><body>first</body></html><html><head><title>no</title><style>p{}</style></head><body>words</body></html>",
		"words behind the page":           "<html><body>first</body></html><p>words</p>",
		"a frameset":                      "words<frameset>",
		"misnested formats":               "<b><i>words</b></i><a><div></a>",
		"a form in a form":                "<form>words<form></form>",
		"svg":                             "<svg><div>words<foreignObject>",
		"a paragraph open":                "<p>words",
		"a body within":                   "words<body onload=x bgcolor=red><html lang=x>",
		"tags that close what is outside": "</table>words</p></center></html>",
	} {
		t.Run(name, func(t *testing.T) {
			r := inTemplate(t, template, pageMail(body))
			wantIn(t, "html", r.html, "words", theLink)
			report(t, swallowed(bySomebody{HTMLs: []string{r.html}}))
			if strings.Contains(r.html, "<b>") && !strings.Contains(r.html, "</b>") {
				t.Errorf("the template becomes bold:\n%s", r.html)
			}
			if doc := cells(t, r.html); doc != 2 {
				t.Errorf("the template's row has %d cells:\n%s", doc, r.html)
			}
			wantNone(t, "html", r.html, "bgcolor=red", "<title>no", "To stop receiving it")
		})
	}
}

// A mail whose tags fit stands in the template as its author wrote it.
func TestAMailThatFitsIsNotWrittenAnew(t *testing.T) {
	const page = `<P CLASS=x>a &amp b<BR>c<![if !vml]><img src=x.png><![endif]><!--[if mso]><i>y</i><![endif]--></p><o:p></o:p>`
	wantIn(t, "html", inTemplate(t, "<div>{{Body}}</div>{{Unsubscribe}}", pageMail(page)).html, "<div>"+page+"</div>")
	wantIn(t, "mended", inTemplate(t, "<div>{{Body}}</div>{{Unsubscribe}}", pageMail("</div>"+page)).html, `<![if !vml]><img src="x.png"/><![endif]><!--[if mso]><i>y</i><![endif]-->`)
}

func TestAStyleSheetOfAMailHoldsForTheMailAlone(t *testing.T) {
	for css, wanted := range map[string]string{
		"P {margin:0}": ".mail-text-1 P{margin:0}",
		"<!-- p.MsoNormal, li.MsoNormal {mso-style-name:\"a;}b\"; margin:0cm} -->": ".mail-text-1 p.MsoNormal, .mail-text-1 li.MsoNormal{mso-style-name:\"a;}b\"; margin:0cm}",
		"body{color:red} body.x > p{a:b} html body td{c:d} bodyx{e:f}":             ".mail-text-1{color:red}\n.mail-text-1.x > p{a:b}\n.mail-text-1 td{c:d}\n.mail-text-1 bodyx{e:f}",
		"/* a{} */@import url(x;y.css); a:not(b,c) , d /* } */ {e:f}":              ".mail-text-1 a:not(b,c), .mail-text-1 d{e:f}",
		"@media (max-width:600px) { p{a:b} .c{d:e} } x{y:z}":                       "@media (max-width:600px){\n.mail-text-1 p{a:b}\n.mail-text-1 .c{d:e}\n}\n.mail-text-1 x{y:z}",
		"@font-face{font-family:\"맑은 고딕\"} @page WordSection1 {size:1cm}":          "@font-face{font-family:\"맑은 고딕\"}\n@page WordSection1{size:1cm}",
		"p{a:b":        ".mail-text-1 p{a:b}",
		"} p{a:b}":     ".mail-text-1 p{a:b}",
		"p{a:{b:c}":    ".mail-text-1 p{a:{b:c}}",
		"p{a:'b\n} q{": ".mail-text-1 p{a:'b\n}\n.mail-text-1 q{}",
		`a\,b{c:d}`:    `.mail-text-1 a\,b{c:d}`,
	} {
		r := inTemplate(t, "<html><head><style>.foot{a:b}</style></head><body>{{Body}}{{Unsubscribe}}</body></html>", pageMail("<head><style>"+css+"</style></head><p>words</p>"))
		wantIn(t, css, strings.ReplaceAll(r.html, "\r\n", "\n"), "<style>\n"+wanted+"\n</style>\n<style>.foot{a:b}</style>", `<div class="mail-text-1"><p>words</p></div>`)
	}
	twice := parts("multipart/mixed", "Content-Type: text/html\n\n<style>p{a:b}</style><p>one</p>", "Content-Type: text/html\n\n<style>p{a:b}</style><p>two</p>", "Content-Type: text/html\n\n<style>p{c:d}</style><p>three</p>")
	r := inTemplate(t, "{{Body}}{{Unsubscribe}}", twice)
	if n := strings.Count(r.html, "<style>"); n != 2 {
		t.Errorf("%d style sheets of two:\n%s", n, r.html)
	}
	wantIn(t, "html", r.html, ".mail-text-1 p{a:b}", ".mail-text-2 p{c:d}", `<div class="mail-text-1"><p>two</p></div><div class="mail-text-2"><p>three</p></div>`)
}

func TestTheLookOfAMailsPage(t *testing.T) {
	for body, wanted := range map[string]string{
		`<body lang=KO dir="rtl" style='margin:0;font-family:"굴림"'>`: `<div lang="KO" dir="rtl" style="margin:0;font-family:&quot;굴림&quot;">words</div>`,
		`<body bgcolor="#FFFFFF" text="#000000">`:                    `<i>words</i>`,
		`<body bgcolor="#ffeecc" text=navy background="x.png">`:      `<div style="background-color:#ffeecc;color:navy;">words</div>`,
		`<body bgcolor='red;position:fixed'>`:                        `<i>words</i>`,
	} {
		wantIn(t, body, inTemplate(t, "<i>{{Body}}</i>{{Unsubscribe}}", pageMail("<html>"+body+"words</body></html>")).html, wanted)
	}
	vml := pageMail(`<html xmlns:v="urn:schemas-microsoft-com:vml" xmlns:o='urn:schemas-microsoft-com:office:office' xmlns="http://www.w3.org/TR/REC-html40"><body><!--[if gte vml 1]><v:shape><v:imagedata src="cid:a@b"/></v:shape><![endif]-->words</body></html>`)
	const spaces = ` xmlns:v="urn:schemas-microsoft-com:vml" xmlns:o="urn:schemas-microsoft-com:office:office">`
	wantIn(t, "VML", inTemplate(t, "<!doctype html><html lang=ko><head></head><body>{{Body}}{{Unsubscribe}}</body></html>", vml).html, "<html lang=ko"+spaces)
	wantIn(t, "VML", inTemplate(t, "{{Body}}{{Unsubscribe}}", vml).html, "<html"+spaces)
	wantIn(t, "VML", inTemplate(t, "<html xmlns:v='x'><body>{{Body}}{{Unsubscribe}}</body></html>", vml).html, "<html xmlns:v='x'><body>")
}

func TestWhereBodySubjectAndPicturesMayStand(t *testing.T) {
	for html, why := range map[string]string{
		`{{Body}}<img alt="{{Body}}">`:                          "{{Body}} stands in an address, a title or another attribute",
		`<title>{{Body}}</title>{{Body}}`:                       "{{Body}} stands in an address, a title or another attribute",
		`<!--[if mso]>{{Body}}<![endif]-->{{Body}}`:             "{{Body}} stands in a comment for Outlook",
		`{{Body}}<img data-src="{{image:logo.gif}}">`:           "{{image:logo.gif}} stands in the attribute data-src",
		`{{Body}}<p style=background:url({{image:logo.gif}})>`:  "stands in the attribute style",
		`{{Body}}<style>p:after{content:"{{Subject}}"}</style>`: "{{Subject}} stands in a style or a script",
		`{{Body}}<script>x="{{ body }}"</script>`:               "{{ body }} stands in a style or a script",
		`{{Body}}<p style="background:url({{image:no.gif}})">`:  `there is no picture "no.gif"`,
	} {
		in := input(t, textMail("x"))
		in.Template = &expand.Template{ID: "t", HTML: html, Images: newsletter().Images}
		if _, err := expand.Compile(in); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v", html, err)
		}
		if problems := expand.CheckTemplate(in.Template, in.Vocabulary); len(problems) != 1 {
			t.Errorf("%s: %v", html, problems)
		}
	}
	in := input(t, textMail("x"))
	in.Template = &expand.Template{ID: "t", HTML: "<p>{{Subject}}</p>", Text: "{{Body}}"}
	if _, err := expand.Compile(in); err == nil || !strings.Contains(err.Error(), "has no {{Body}}") {
		t.Errorf("a template with {{Body}} in its text alone: %v", err)
	}
}

func TestPicturesOfATemplateWhereverTheyStand(t *testing.T) {
	const named = "로고 1.gif"
	tpl := &expand.Template{ID: "t", Images: []expand.Image{{Name: named, Type: "image/gif", Data: dot, URL: "https://cdn.example/a(1).gif?a=1&b=2"}},
		HTML: `<html><head><style>td{background:url("{{image:` + named + `}}")}</style></head><body background="{{image:` + named + `}}">` +
			`<img srcset="{{image:` + named + `}} 1x, {{image:%EB%A1%9C%EA%B3%A0%201.gif}} 2x"><p style="background:url('{{image:` + named + `}}')">` +
			`<!--[if mso]><v:fill src="{{image:` + named + `}}"/><![endif]-->{{Body}}{{Unsubscribe}}` +
			// macOS takes letters apart, and a browser writes them in percent
			`<img src="{{ image : 로고 1.gif }}"></body></html>`}
	r, _ := wrapped(t, tpl, textMail("x"))
	const cid = "cid:d2437ddf45aa84303d14.template@mail.example.com"
	wantIn(t, "html", r.html, `td{background:url("`+cid+`")}`, `background="`+cid+`"`, `srcset="`+cid+` 1x, `+cid+` 2x"`, `style="background:url('`+cid+`')"`, `<v:fill src="`+cid+`"/>`, `<img src="`+cid+`"></body>`)
	if n := strings.Count(string(r.raw), "\r\nContent-ID:"); n != 1 {
		t.Errorf("%d pictures", n)
	}
	wantIn(t, "the picture's part", string(r.raw), "filename*=utf-8''%EB%A1%9C%EA%B3%A0%201.gif")
	in := input(t, textMail("x"))
	in.Template, in.LinkImages = tpl, true
	c, err := expand.Compile(in)
	if err != nil {
		t.Fatal(err)
	}
	r = receive(t, c.Render(copyTo(c, "a@b.example", nil), "T").Bytes())
	wantIn(t, "linked", r.html, `td{background:url("https://cdn.example/a%281%29.gif?a=1&b=2")}`, `background="https://cdn.example/a(1).gif?a=1&amp;b=2"`, `style="background:url('https://cdn.example/a%281%29.gif?a=1&amp;b=2')"`)
}

// Who sends a copy on has the template's picture in the mail already.
func TestAPictureThatTheMailHasAlreadyIsNotAttachedTwice(t *testing.T) {
	const id = "d2437ddf45aa84303d14.template@mail.example.com"
	raw := parts("multipart/related", "Content-Type: text/html\n\n<p>words <img src=\"cid:"+id+"\"></p>", "Content-Type: image/gif\nContent-ID: <"+id+">\nContent-Transfer-Encoding: base64\n\nR0lGODlhAQABAIAAAP8AAAAAACH5BAAAAAAALAAAAAABAAEAAAICRAEAOw==")
	if r, _ := wrapped(t, newsletter(), raw); strings.Count(string(r.raw), "\r\nContent-ID:") != 1 {
		t.Errorf("the copy is\n%s", r.raw)
	}
}

func TestSubjectsInATemplate(t *testing.T) {
	const html = `<title>{{Subject}}</title><img alt="{{Subject}}"><a href="https://x.example/?s={{Subject}}" title='{{Subject}}'>{{Subject}}</a>{{Body}}{{Unsubscribe}}`
	for subject, wanted := range map[string][]string{
		`"Winter" & <b>`:          {`<title>&#34;Winter&#34; &amp; &lt;b&gt;</title>`, `alt="&#34;Winter&#34; &amp; &lt;b&gt;"`, `?s=%22Winter%22%20%26%20%3Cb%3E"`, `>&#34;Winter&#34; &amp; &lt;b&gt;</a>`},
		`It's {{Name|"you"}}`:     {`<title>It&#39;s 민 &lt;b&gt;</title>`, `alt="It&#39;s 민 &lt;b&gt;"`, `?s=It%27s%20%EB%AF%BC%20%3Cb%3E"`, `title='It&#39;s 민 &lt;b&gt;'`},
		`Write {{"{{Name}}"}} so`: {`<title>Write {{Name}} so</title>`, `alt="Write {{Name}} so"`, `>Write {{Name}} so</a>`},
		`100 % {x} 50%25 } &amp;`: {`<title>100 % {x} 50%25 } &amp;amp;</title>`, `?s=100%20%25%20%7Bx%7D%2050%2525%20%7D%20%26amp%3B"`},
	} {
		r, _ := wrapped(t, &expand.Template{ID: "t", HTML: html}, "From: a@example.com\nSubject: "+subject+"\n\nwords {{\"{{Name}}\"}} {\n")
		wantIn(t, subject, r.html, append(wanted, "<p>words {{Name}} {</p>")...)
		if before, after, _ := strings.Cut(r.subject(t), "{{"); after == "" && strings.Contains(wanted[0], "{{") {
			t.Errorf("Subject %q", before)
		}
	}
}

// A text that bears a name is the mail's words, not a file, where there is nothing
// else to show.
func TestANamedTextIsTheMailsText(t *testing.T) {
	raw := parts("multipart/alternative", "Content-Type: text/plain; name=a.txt\n\nwords", "Content-Type: text/html; name=a.html\n\n<p>page</p>")
	r, _ := wrapped(t, newsletter(), raw)
	wantIn(t, "html", r.html, "<div class=main><p>page</p></div>")
	wantIn(t, "text", r.text, "words")
}

func TestFlowedTextIsJoinedInATemplate(t *testing.T) {
	for params, wanted := range map[string][2]string{
		"":          {"one two\nthree\n\n> four five\n>> six\n-- \nseven", "one two<br>\nthree</p>\n<p>&gt; four five<br>\n&gt;&gt; six<br>\n-- <br>\nseven"},
		"delsp=yes": {"onetwo\nthree\n\n> fourfive\n>> six\n-- \nseven", "onetwo<br>\nthree</p>"},
	} {
		raw := "From: a@example.com\nSubject: s\nContent-Type: text/plain; charset=utf-8; format=flowed; " + params + "\n\none \ntwo\n three\n\n> four \n> five\n>> six\n-- \nseven\n"
		r, _ := wrapped(t, newsletter(), raw)
		wantIn(t, params+" text", strings.ReplaceAll(r.text, "\r\n", "\n"), wanted[0])
		wantIn(t, params+" html", strings.ReplaceAll(r.html, "\r\n", "\n"), wanted[1])
	}
}

// cells counts those of the first row that a browser would show.
func cells(t *testing.T, page string) (n int) {
	t.Helper()
	doc, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	for d := range doc.Descendants() {
		if d.Data == "tr" && d.Type == html.ElementNode {
			for c := range d.ChildNodes() {
				n += map[bool]int{true: 1}[c.Data == "td"]
			}
			return n
		}
	}
	return 0
}

func TestAWidePictureFitsIntoATemplate(t *testing.T) {
	const fit = "max-width:100%;height:auto"
	for img, wanted := range map[string]string{
		`<img width=1200 height=800 style='width:12.5in;height:8.33in' src=x>`: `<img width=1200 height=800 style='width:12.5in;height:8.33in;` + fit + `' src=x>`,
		`<IMG WIDTH="640px" src=x>`:                                  `<IMG style="` + fit + `" WIDTH="640px" src=x>`,
		`<img style="width:420px; max-width:900px;" src=x>`:          `<img style="width:420px; max-width:900px;` + fit + `" src=x>`,
		`<img width="600" style="width:100%;max-width:600px" src=x>`: "",
		`<img width="600" style="max-width:600px" src=x>`:            "",
		`<img width=1 height=400 src=x>`:                             "",
		`<img width=50% style="" src=x>`:                             "",
		`<img width=900 style=width:9in src=x>`:                      "",
		`<img width=900 style=" " src=x>`:                            `<img width=900 style="` + fit + `" src=x>`,
	} {
		if wanted == "" {
			wanted = img
		}
		wantIn(t, img, inTemplate(t, "{{Body}}{{Unsubscribe}}", pageMail(img)).html, wanted)
	}
}

// What nobody should read is refused before a browser's way of reading it costs
// gigabytes; as a mail of its own it goes.
func TestTagsThatAreTangledAreRefusedInATemplate(t *testing.T) {
	var formats strings.Builder
	for i := range 300 {
		formats.WriteString("<b id=" + strings.Repeat("x", i) + ">")
	}
	for name, body := range map[string]string{"formats left open": formats.String() + strings.Repeat("<p>x", 100_000), "too deep": strings.Repeat("<div>", 1000) + "x"} {
		in := input(t, htmlMail(strings.ReplaceAll(body, ">", ">\n")))
		if _, err := expand.Compile(in); err != nil {
			t.Errorf("%s: refused as it is: %v", name, err)
		}
		in.Template = newsletter()
		if _, err := expand.Compile(in); err == nil || !strings.Contains(err.Error(), "its tags are nested too deep") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzInTemplate: whatever HTML a mail holds, the template around it stays whole.
func FuzzInTemplate(f *testing.F) {
	for _, body := range []string{"</div></td></tr></table>words", "<table><td><b>x", "<!-- x", "<style>p{", "<svg><style><!--</style>", "<math><mi><p>x", "<template><td>", "<![CDATA[x", "<select><td>", "<textarea>", "{{Name}}</p>"} {
		f.Add(body)
	}
	for _, path := range originals(f) {
		raw, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		if _, page, ok := strings.Cut(string(raw), "<body"); ok {
			f.Add("<body" + page)
		}
	}
	const template = "<!doctype html><html><head></head><body><table><tr><td><div>{{Body}}</div></td><td>beside {{Unsubscribe}}</td></tr></table>" + endOfTemplate + "</body></html>"
	f.Fuzz(func(t *testing.T, body string) {
		in := input(t, "")
		in.Raw = []byte("From: a@example.com\r\nSubject: s\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.StdEncoding.EncodeToString([]byte(body)))
		in.Template = &expand.Template{ID: "t", HTML: template, Text: "{{Body}}{{Unsubscribe}}"}
		c, err := expand.Compile(in)
		if err != nil {
			return
		}
		r := receive(t, c.Render(copyTo(c, "a@b.example", map[string]string{"Name": "민"}), "TOKEN_7").Bytes())
		report(t, swallowed(bySomebody{HTMLs: []string{r.html}}))
		if n := cells(t, r.html); n != 2 {
			t.Errorf("the template's row has %d cells:\n%s", n, r.html)
		}
		if !strings.Contains(r.html, "<td>beside <a href=\""+theLink) {
			t.Errorf("the link of the template is gone:\n%s", r.html)
		}
	})
}
