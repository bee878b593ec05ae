package expand_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"postern/expand"
	"postern/internal/peer"
	"postern/mail"
)

var dot = []byte("GIF89a\x01\x00\x01\x00\x80\x00\x00\xff\x00\x00\x00\x00\x00!\xf9\x04\x00\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;")

// newsletter is a template as a shop has it.
func newsletter() *expand.Template {
	return &expand.Template{
		ID: "winter", Purpose: "the winter newsletter",
		HTML: "<!doctype html>\n<html lang=ko><head><meta charset=\"euc-kr\"><title>{{Subject}}</title><style>.foot{color:#666}</style></head>\n" +
			"<body><img src=\"{{image:logo.gif}}\" alt=\"{{List}}\"><h1>{{Subject}}</h1><div class=main>{{Body}}</div>\n" +
			"<img src='{{image:logo.gif}}'><a href=\"https://shop.example/?s={{Subject}}&amp;n={{Name}}\">가게</a><p class=foot>{{Name|고객}}님, {{Point|0}}점 <a href=\"{{Unsubscribe}}\">수신거부</a></p></body></html>\n",
		Text:   "== {{Subject}} ==\n\n{{Body}}\n\n{{Name|고객}}님: {{Unsubscribe}}\n",
		Images: []expand.Image{{Name: "logo.gif", Type: "image/gif", Data: dot, URL: "https://cdn.example/logo.gif"}, {Name: "spare.gif", Type: "image/gif", Data: dot}},
	}
}

func wrapped(t *testing.T, tpl *expand.Template, raw string) (*received, *expand.Compiled) {
	t.Helper()
	in := input(t, raw)
	in.Template = tpl
	c, err := expand.Compile(in)
	if err != nil {
		t.Fatalf("refused: %v", err)
	}
	got := c.Render(copyTo(c, "min@example.net", map[string]string{"Name": "민 <b>", "Point": "7"}), "TOKEN_7").Bytes()
	checkWire(t, got)
	return receive(t, got), c
}

func TestATemplateWrapsTextAndHTML(t *testing.T) {
	r, _ := wrapped(t, newsletter(), strings.Replace(parts("multipart/alternative", "Content-Type: text/plain\n\nHello {{Name}},\n\nbye.",
		"Content-Type: text/html; charset=utf-8\n\n<html><head><style>p.MsoNormal{margin:0}</style></head><body lang=KO style='word-wrap:\"x\"'><p class=MsoNormal>Hello {{na<b>me</b>}}.</p></body></html>"),
		"Subject: s", "Subject: A \"new\" {{Name}} & more", 1))
	want(t, "Subject", r.subject(t), `A "new" 민 <b> & more`)
	text := strings.ReplaceAll(r.text, "\r\n", "\n")
	want(t, "text", text, "== A \"new\" 민 <b> & more ==\n\nHello 민 <b>,\n\nbye.\n\n민 <b>님: "+theLink+"\n")
	wantIn(t, "html", r.html,
		`<meta charset="utf-8"><title>A &#34;new&#34; 민 &lt;b&gt; &amp; more</title><style>`, `.mail-text-1 p.MsoNormal{margin:0}`, `<style>.foot{color:#666}</style></head>`,
		`<h1>A &#34;new&#34; 민 &lt;b&gt; &amp; more</h1><div class=main><div class="mail-text-1" lang="KO" style="word-wrap:&quot;x&quot;"><p class=MsoNormal>Hello 민 &lt;b&gt;<b></b>.</p></div></div>`,
		`?s=A%20%22new%22%20%EB%AF%BC%20%3Cb%3E%20%26%20more&amp;n=%EB%AF%BC%20%3Cb%3E"`, `민 &lt;b&gt;님, 7점 <a href="`+theLink+`">`)
	if n := strings.Count(string(r.raw), "Content-ID:"); n != 1 || r.files["image/gif"] != string(dot) {
		t.Errorf("%d pictures, %q", n, r.files)
	}
	wantNone(t, "a footer", r.html+r.text, "To stop receiving it")
}

func TestATemplateWrapsWhateverAMailIs(t *testing.T) {
	const png = "Content-Type: image/png\nContent-ID: <a@b>\nContent-Transfer-Encoding: base64\n\niVBORw0KGgo="
	const pdf = "Content-Type: application/pdf; name=a.pdf\nContent-Disposition: attachment; filename=a.pdf\n\n%PDF"
	inner := func(kind string, all ...string) string {
		_, rest, _ := strings.Cut(strings.ReplaceAll(parts(kind, all...), "=_b", "=_"+kind[10:12]), "Content-Type")
		return "Content-Type" + rest
	}
	page := "Content-Type: text/html; charset=utf-8\n\n<p>Page {{Name}} <img src=cid:a@b></p>"
	for name, tc := range map[string]struct {
		raw, html, text string
		files           []string
	}{
		"plain text":                {textMail("One & <two>\n{{Name}}\n\nthree"), "<p>One &amp; &lt;two&gt;<br>\r\n민 &lt;b&gt;</p>\r\n<p style=\"word-wrap:break-word\">three<br>\r\n" + theLink[:0], "One & <two>\r\n민 <b>\r\n\r\nthree", nil},
		"addresses":                 {textMail("See https://shop.example/?n={{Name}}. Or <http://%7b%7bUnsubscribe%7d%7d/>, {{Na\nme}}"), "See <a href=\"https://shop.example/?n=%EB%AF%BC%20%3Cb%3E\">https://shop.example/?n=민 &lt;b&gt;</a>. Or &lt;<a href=\"" + theLink + "\">" + theLink + "</a>&gt;, 민 &lt;b&gt;", "Or <" + theLink + ">, 민 <b>", nil},
		"HTML alone":                {htmlMail("<p>Page {{Name}}</p>"), "<p>Page 민 &lt;b&gt;</p>", "Page 민 <b>", nil},
		"pictures":                  {"From: a@example.com\n" + inner("multipart/related", page, png), "<p>Page 민 &lt;b&gt; <img src=cid:a@b></p>", "Page 민 <b>", []string{"image/png"}},
		"a file":                    {"From: a@example.com\n" + inner("multipart/mixed", inner("multipart/related", inner("multipart/alternative", "\n\nText {{Name}}", page), png), pdf), "<p>Page 민 &lt;b&gt; <img src=cid:a@b></p>", "Text 민 <b>", []string{"image/png", "attachment"}},
		"a file in between":         {"From: a@example.com\n" + inner("multipart/mixed", page, pdf, "Content-Type: text/html\n\n<p>End</p>"), "<img src=cid:a@b></p><p>End</p>", "Page 민 <b>\r\n\r\nEnd", []string{"attachment"}},
		"a file among alternatives": {"From: a@example.com\n" + inner("multipart/alternative", "\n\nText {{Name}}", page, pdf), "<p>Page 민 &lt;b&gt; <img", "Text 민 <b>", []string{"attachment"}},
		"alternatives of files":     {"From: a@example.com\n" + inner("multipart/alternative", "\n\nText {{Name}}", inner("multipart/mixed", pdf, png)), "<p>Text 민 &lt;b&gt;</p>", "Text 민 <b>", []string{"attachment", "image/png"}},
		"nothing":                   {"From: a@example.com\nSubject: only this\n\n\n", "<div class=main></div>", "== only this ==", nil},
	} {
		r, _ := wrapped(t, newsletter(), tc.raw)
		wantIn(t, name+" html", r.html, tc.html, "<h1>")
		wantIn(t, name+" text", r.text, tc.text, "== ")
		for _, f := range tc.files {
			if r.files[f] == "" {
				t.Errorf("%s: %s is lost:\n%s", name, f, r.raw)
			}
		}
	}
}

// TestATemplateOfTextAloneLosesNoFile: programs put files among the pictures of a page.
func TestATemplateOfTextAloneLosesNoFile(t *testing.T) {
	tpl := newsletter()
	tpl.HTML = ""
	r, _ := wrapped(t, tpl, parts("multipart/related", "Content-Type: text/html\n\n<p>Page <img src=cid:a@b></p>",
		"Content-Type: image/png\nContent-ID: <a@b>\nContent-Transfer-Encoding: base64\n\niVBORw0KGgo=",
		"Content-Type: application/pdf\nContent-Disposition: attachment; filename=a.pdf\n\n%PDF"))
	if r.files["attachment"] == "" || r.files["image/png"] == "" || !strings.Contains(r.text, "Page") {
		t.Errorf("a file is lost:\n%s", r.raw)
	}
}

func TestAMailWhoseTextNobodyHereReadsIsNotPutIntoATemplate(t *testing.T) {
	in := input(t, parts("multipart/alternative", "Content-Type: text/enriched\n\nwords", "Content-Type: text/enriched\n\nwords"))
	in.Template = newsletter()
	if _, err := expand.Compile(in); err == nil || !strings.Contains(err.Error(), "neither as plain text nor as HTML") {
		t.Errorf("its text is lost: %v", err)
	}
}

// TestStyleSheetsOfAMailStandBehindTheDoctype also where a template has neither head
// nor body.
func TestStyleSheetsOfAMailStandBehindTheDoctype(t *testing.T) {
	for name, page := range map[string]string{"doctype": "<!doctype html><p>x</p>{{Body}}", "html": "<!doctype html><html><p>x</p>{{Body}}</html>", "nothing": "<p>x</p>{{Body}}"} {
		tpl := newsletter()
		tpl.HTML = page
		r, _ := wrapped(t, tpl, htmlMail("<html xmlns:v=\"urn:v\"><head><style>p{margin:0}</style></head><body><p>Hi</p><v:rect></v:rect></body></html>"))
		top := strings.TrimSuffix(strings.TrimSuffix(page, "<p>x</p>{{Body}}"), "<p>x</p>{{Body}}</html>")
		top = strings.TrimSuffix(top, "<html>") + `<html xmlns:v="urn:v"><style>`
		if !strings.HasPrefix(r.html, top) || strings.Count(r.html, "<html") != 1 {
			t.Errorf("%s: %s", name, r.html)
		}
	}
}

func TestTheMailsSubjectAndBodyWinOverAUsersAttributes(t *testing.T) {
	in := input(t, textMail("my words"))
	fields, err := expand.NewFields(map[string]expand.FieldDef{"Name": {}, "Point": {}, "Body": {}, "Subject": {}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	in.Vocabulary, in.Template = fields, newsletter()
	c, err := expand.Compile(in)
	if err != nil {
		t.Fatal(err)
	}
	r := receive(t, c.Render(copyTo(c, "a@b.example", map[string]string{"Body": "WRONG", "Subject": "WRONG"}), "T").Bytes())
	wantIn(t, "html", r.html, "<h1>s</h1>", "my words")
	wantNone(t, "copy", r.html+r.text, "WRONG")
}

func TestTheSubjectOfATemplate(t *testing.T) {
	for name, tc := range map[string]struct{ template, mail, want string }{
		"the mail's":          {"", "Hello {{Name}}", "Hello 민 <b>"},
		"none in the mail":    {"News for {{Name}}", "", "News for 민 <b>"},
		"of its own":          {"News", "Hello", "Hello"},
		"around the mail's":   {"[Shop] {{Subject}}", "Hello {{Name}}", "[Shop] Hello 민 <b>"},
		"no subject anywhere": {"", "", ""},
	} {
		tpl := newsletter()
		tpl.Subject = tc.template
		r, c := wrapped(t, tpl, "From: a@example.com\nSubject: "+tc.mail+"\n\nx\n")
		want(t, name, r.subject(t), tc.want)
		if strings.Contains(tc.want, "Shop") {
			want(t, "shown", c.Subject(), "[Shop] Hello {{Name}}")
		}
	}
}

func TestATemplateWithoutATextOfItsOwnGetsOneMade(t *testing.T) {
	tpl := newsletter()
	tpl.Text = ""
	r, _ := wrapped(t, tpl, textMail("my words {{Name}}"))
	wantIn(t, "text", r.text, "my words 민 <b>", "민 <b>님, 7점", theLink)
	tpl = newsletter()
	tpl.HTML = ""
	r, _ = wrapped(t, tpl, htmlMail("<p>my <b>words</b> {{Name}}</p>"))
	wantIn(t, "text", r.text, "== s ==", "my words 민 <b>")
	want(t, "html", r.html, "")
}

func TestPicturesOfATemplateCanBeLinked(t *testing.T) {
	in := input(t, textMail("x"))
	in.Template, in.LinkImages = newsletter(), true
	c, err := expand.Compile(in)
	if err != nil {
		t.Fatal(err)
	}
	r := receive(t, c.Render(copyTo(c, "a@b.example", nil), "T").Bytes())
	wantIn(t, "html", r.html, `<img src="https://cdn.example/logo.gif" alt="Promotions">`)
	wantNone(t, "copy", string(r.raw), "image/gif")
}

func TestWhatATemplateMayNotHold(t *testing.T) {
	for source, why := range map[string]string{
		"{{Body}}{{#if Name}}x{{/if}}":             "{{#if Name}} is another program's placeholder; there are no conditions here",
		"{{Body}}{{> header}}":                     "{{> header}} is another program's placeholder",
		"{{{Body}}}":                               "{{{ does not start a placeholder",
		"{{Body}}{{Nmae}}":                         "in the template winter: {{Nmae}} is not a field; did you mean {{Name}}?",
		"{{Body}}<img src=\"{{image:lego.gif}}\">": `there is no picture "lego.gif"; the template has logo.gif, spare.gif`,
		"{{Body}}{{image:logo.gif}}":               "stands outside of an address",
		`<a href="{{Body}}">x</a>`:                 "{{Body}} stands in an address",
		"{{Body}} *|FNAME|*":                       "another program's placeholder",
	} {
		tpl := newsletter()
		tpl.HTML = "<p>" + source + "</p>"
		in := input(t, textMail("x"))
		problems := expand.CheckTemplate(tpl, in.Vocabulary)
		if len(problems) != 1 {
			t.Errorf("%s: %v", source, problems)
			continue
		}
		wantIn(t, source, problems[0].Error(), why)
		in.Template = tpl
		_, err := expand.Compile(in)
		if err == nil {
			t.Errorf("%s: a mail is taken", source)
			continue
		}
		wantIn(t, source+" at DATA", err.Error(), why)
	}
	if problems := expand.CheckTemplate(newsletter(), input(t, "").Vocabulary); problems != nil {
		t.Errorf("a good template: %v", problems)
	}
	tpl := newsletter()
	tpl.HTML, tpl.Text = "<p>{{Subject}}</p>", ""
	in := input(t, textMail("my words"))
	in.Template = tpl
	if _, err := expand.Compile(in); err == nil || !strings.Contains(err.Error(), "no {{Body}}, so what you wrote would be lost") {
		t.Errorf("without {{Body}}: %v", err)
	}
	wrapped(t, tpl, "From: a@example.com\nSubject: s\n\n\n")
}

// Every mail of the collection comes out in the template, and Python finds no defect.
func TestEveryMailFitsIntoATemplate(t *testing.T) {
	dir := t.TempDir()
	for _, path := range originals(t) {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		in := input(t, "")
		in.Raw, in.List.Language, in.Template = raw, "ko", newsletter()
		c, err := expand.Compile(in)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		b, _ := c.MarshalBinary()
		if c, err = expand.Load(b); err != nil {
			t.Fatal(err)
		}
		got := c.Render(copyTo(c, "min@example.net", map[string]string{"Name": "민"}), "TOKEN_7").Bytes()
		checkWire(t, got)
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(path)), got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	all, _ := filepath.Glob(filepath.Join(dir, "*.eml"))
	for i, r := range somebodyReads(t, exec.Command(peer.Python, "testdata/agree.py"), all) {
		if len(r.Defects) > 0 || len(r.HTMLs) != 1 || !strings.Contains(r.HTMLs[0], "<div class=main>") || !strings.Contains(r.HTMLs[0], "수신거부") {
			t.Errorf("%s: %v, %d pages", filepath.Base(all[i]), r.Defects, len(r.HTMLs))
		}
	}
}

func FuzzWrap(f *testing.F) {
	for _, path := range originals(f) {
		raw, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw, newsletter().HTML, newsletter().Text)
	}
	f.Add([]byte("From: a@b\r\n\r\nx"), "{{Body}}</body>{{Subject}}<body>", "{{Body}}")
	f.Fuzz(func(t *testing.T, raw []byte, html, text string) {
		in := input(t, "")
		tpl := newsletter()
		in.Raw, tpl.HTML, tpl.Text = raw, html, text
		in.Template = tpl
		_ = expand.CheckTemplate(tpl, in.Vocabulary)
		c, err := expand.Compile(in)
		if err != nil {
			var e *mail.Error
			if !errors.As(err, &e) {
				t.Fatalf("refused without a sentence: %v", err)
			}
			return
		}
		got := c.Render(copyTo(c, "a@b.example", map[string]string{"Name": "민"}), "T").Bytes()
		checkWire(t, got)
		if !bytes.Contains(got, []byte("\r\n\r\n")) {
			t.Fatal("no body")
		}
	})
}
