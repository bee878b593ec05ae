package expand_test

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"

	"postern/expand"
)

// parts makes a mail with those parts.
func parts(kind string, each ...string) string {
	return "From: a@example.com\nSubject: s\nMIME-Version: 1.0\nContent-Type: " + kind + "; boundary=\"=_b\"\n\npreamble\n--=_b\n" + strings.Join(each, "\n--=_b\n") + "\n--=_b--\nepilogue\n"
}

func TestRule47PicturesAndAttachmentsAreByteIdentical(t *testing.T) {
	picture := "Content-Type: image/png; name=\"image001.png\"\nContent-Transfer-Encoding: base64\nContent-ID: <image001.png@01DB>\n\n" +
		"iVBORw0KGgoAAAANSUhEUgAA\nAAEAAAABCAYAAAAfFcSJ\n   odd but {{Name}} ours=="
	notes := "Content-Type: text/plain; charset=ks_c_5601-1987; name=notes.txt\nContent-Disposition: attachment; filename=notes.txt\nContent-Transfer-Encoding: quoted-printable\n\n{{Nmae}} =B1=E8 stays=\n as it is  "
	forwarded := "Content-Type: message/rfc822\n\nSubject: {{Name}}\nContent-Type: multipart/mixed; boundary=none\n\n{{Name"
	raw := parts("multipart/mixed", "Content-Type: text/plain\n\nHi {{Name}} {{Unsubscribe}}", picture, notes, forwarded)
	got := string(compileRender(t, raw, "민").Bytes())
	for _, p := range []string{picture, notes, forwarded} {
		wantIn(t, "part", got, "\r\n--=_b\r\n"+strings.ReplaceAll(p, "\n", "\r\n")+"\r\n--=_b")
	}
	wantIn(t, "around the parts", got, "\r\n\r\npreamble\r\n--=_b\r\n", "\r\n--=_b--\r\nepilogue\r\n")
}

func TestAnAttachmentThatCannotTravelIsEncodedAndStaysTheSame(t *testing.T) {
	octets := "\xff\xfe\x00binary \xb1\xe8" + strings.Repeat("x", 2000) + "\r\n\r\n"
	in := input(t, parts("multipart/mixed", "\nhello {{Name}}", "Content-Type: application/x-data\nContent-Transfer-Encoding: binary\nContent-MD5: xx\nContent-Disposition: attachment; filename=가격.dat\n\nOCTETS"))
	in.Raw = bytes.Replace(in.Raw, []byte("OCTETS"), []byte(octets), 1)
	c, err := expand.Compile(in)
	if err != nil {
		t.Fatal(err)
	}
	r := receive(t, c.Render(copyTo(c, "a@b.example", nil), "T").Bytes())
	checkWire(t, r.raw)
	want(t, "file", r.files["attachment"], octets)
	wantNone(t, "copy", string(r.raw), "Content-MD5")
}

func TestNestedAlternativesAreCompiledAndStructureStays(t *testing.T) {
	alternative := "Content-Type: multipart/alternative; boundary=\"=_b2\"\n\n--=_b2\nContent-Type: text/plain\n\nHi {{Name}}\n--=_b2\nContent-Type: text/html\n\n<p>Hi {{Name}}\n--=_b2--\n"
	r := render(t, parts("multipart/related; type=\"multipart/alternative\"", alternative, "Content-Type: image/gif\nContent-ID: <x@y>\n\nGIF89a"), "민")
	wantIn(t, "text", r.text, "Hi 민\r\n", "To stop receiving it: "+theLink)
	wantIn(t, "html", r.html, "<p>Hi 민", "href=\""+theLink+"\"")
	want(t, "picture", r.files["image/gif"], "GIF89a")
}

func TestTheFooterComesOnceInTheLanguageOfTheList(t *testing.T) {
	raw := parts("multipart/alternative", "Content-Type: text/plain\n\nhello", "Content-Type: text/html\n\n<html><body><p>hello</p></body></html>")
	for language, words := range map[string]string{"en": "unsubscribe</a>", "ko": "수신거부</a>", "": "unsubscribe</a>"} {
		in := input(t, raw)
		in.List.Language = language
		c, err := expand.Compile(in)
		if err != nil {
			t.Fatal(err)
		}
		r := receive(t, c.Render(copyTo(c, "a@b.example", nil), "TOKEN_7").Bytes())
		wantIn(t, language, r.html, "<p>hello</p><p style=", words, theLink, "a@b.example", "</p>\r\n</body></html>")
		wantIn(t, language, r.text, "hello\r\n\r\n--------\r\n", theLink)
		if strings.Count(r.html, theLink) != 1 || strings.Count(r.text, theLink) != 1 {
			t.Errorf("%s: the link does not stand once", language)
		}
	}
}

// Of alternatives a reader sees one; of other parts all.
func TestEveryReaderIsShownTheLinkAndNobodyTwice(t *testing.T) {
	const plain, linked = "Content-Type: text/plain\n\nhello", "Content-Type: text/plain\n\n{{Unsubscribe}}"
	const page, linkedPage = "Content-Type: text/html\n\n<p>hello</p>", "Content-Type: text/html\n\n<a href=\"http://{{Unsubscribe}}\">x</a>"
	mixed := func(all ...string) string { return strings.ReplaceAll(parts("multipart/mixed", all...), "=_b", "=_c") }
	for name, tc := range map[string]struct {
		raw        string
		text, html int // links, of which a footer's
		footers    int
	}{
		"neither":                {parts("multipart/alternative", plain, page), 1, 1, 2},
		"both":                   {parts("multipart/alternative", linked, linkedPage), 1, 1, 0},
		"the text":               {parts("multipart/alternative", linked, page), 1, 1, 1},
		"the HTML":               {parts("multipart/alternative", plain, linkedPage), 1, 1, 1},
		"HTML alone":             {"From: a@example.com\n" + linkedPage, 1, 1, 0},
		"a part before the last": {mixed(linked, page), 2, 0, 0},
		"no part of two":         {mixed(plain, page), 1, 1, 2},
	} {
		c := compile(t, tc.raw)
		r := receive(t, c.Render(copyTo(c, "a@b.example", nil), "TOKEN_7").Bytes())
		if name == "a part before the last" {
			tc.text = strings.Count(r.text, theLink) // the page has a text of its own
		}
		if text, html := strings.Count(r.text, theLink), strings.Count(r.html, theLink); text != tc.text || html != tc.html {
			t.Errorf("%s: %d links in text, %d in HTML:\n%s", name, text, html, r.raw)
		}
		if n := strings.Count(r.text, "--------") + strings.Count(r.html, "To stop receiving it"); n != tc.footers {
			t.Errorf("%s: %d footers:\n%s", name, n, r.raw)
		}
	}
}

func TestTheFooterStandsAtTheEndOfTheMail(t *testing.T) {
	r := render(t, parts("multipart/mixed", "\nfirst", "Content-Type: image/gif\n\nGIF", "\nlast", "Content-Disposition: attachment\n\nfile"), "x")
	if strings.Index(r.text, "To stop") < strings.Index(r.text, "last") {
		t.Errorf("text is %q", r.text)
	}
	want(t, "file", r.files["attachment"], "file")
	r = render(t, "From: a@example.com\nSubject: s\nContent-Type: text/html\n\n<p>x", "x")
	wantIn(t, "html without a body element", r.html, "<p>x<p style=")
	r = render(t, "From: a@example.com\nSubject: s\nContent-Type: application/pdf\n\n%PDF", "x")
	want(t, "a mail without text", r.files["application/pdf"], "%PDF")
}

func TestFormatFlowedStaysRight(t *testing.T) {
	r := render(t, "From: a@example.com\nSubject: s\nContent-Type: text/plain; charset=euc-kr; format=flowed; delsp=yes\n\n{{Name}}\nHi {{Na \nme}}, a long \nline \n> quoted\n{{Unsubscribe}}\n", "> not a quote")
	want(t, "text", r.text, " > not a quote\r\nHi > not a quote, a long \r\nline \r\n> quoted\r\n "+theLink+"\r\n")
	_, params, _ := r.header.ContentType()
	if params["format"] != "flowed" || params["delsp"] != "yes" || params["charset"] != "utf-8" {
		t.Errorf("parameters are %v", params)
	}
}

func TestATextWithoutPlaceholdersStaysAsItIs(t *testing.T) {
	plain := "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\n" + base64.StdEncoding.EncodeToString([]byte("김"))
	raw := parts("multipart/mixed", plain, "Content-Type: text/plain; charset=x-klingon\n\nnuqneH", "Content-Type: text/html\n\n{{Unsubscribe}}")
	got := string(compileRender(t, raw, "x").Bytes())
	wantIn(t, "copy", got, "--=_b\r\n"+strings.ReplaceAll(plain, "\n", "\r\n")+"\r\n--=_b\r\nContent-Type: text/plain; charset=x-klingon\r\n\r\nnuqneH\r\n--=_b")
}

func TestLinesOfATextAreAtMost76(t *testing.T) {
	long := strings.Repeat("가나다 ", 500) + strings.Repeat("x", 3000) + " \t\n.\nFrom here = there\n" + strings.Repeat("y", 75) + " \n"
	r := render(t, textMail(long+"{{Name}}"), strings.Repeat("이름", 300))
	_, body, _ := strings.Cut(string(r.raw), "\r\n\r\n")
	for line := range strings.SplitSeq(body, "\r\n") {
		if len(line) > 76 {
			t.Errorf("%d octets: %s", len(line), line)
		}
	}
	want(t, "text", r.text, strings.ReplaceAll(long, "\n", "\r\n")+strings.Repeat("이름", 300)+"\r\n"+theLink+"\r\n")
}

func TestBareLineEndsAreMended(t *testing.T) {
	in := input(t, "")
	in.Raw = []byte("From: a@example.com\nSubject: s\rContent-Type: text/plain\r\n\none {{Name}}\rtwo\n")
	c, err := expand.Compile(in)
	if err != nil {
		t.Fatal(err)
	}
	r := receive(t, c.Render(copyTo(c, "a@b.example", map[string]string{"Name": "x\ry\nz"}), "T").Bytes())
	checkWire(t, r.raw)
	wantIn(t, "text", r.text, "one x\r\ny\r\nz\r\ntwo\r\n")
}

func TestARenderedCopySharesTheBody(t *testing.T) {
	in := input(t, parts("multipart/mixed", "\nHi {{Name}} {{Unsubscribe}}", "Content-Type: image/png\n\n"+strings.Repeat(strings.Repeat("A", 76)+"\n", 10000)))
	c, err := expand.Compile(in)
	if err != nil {
		t.Fatal(err)
	}
	cp := copyTo(c, "a@b.example", map[string]string{"Name": "민"})
	a, b := c.Render(cp, "T"), c.Render(cp, "T")
	last := len(a.Body) - 1
	if &a.Body[last][0] != &b.Body[last][0] || cap(a.Body[last]) != len(a.Body[last]) {
		t.Error("two copies do not share the picture, or could write into it")
	}
	if octets := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			c.Render(cp, "T")
		}
	}).AllocedBytesPerOp(); octets > 16<<10 {
		t.Errorf("rendering a copy of 770 KB allocates %d octets", octets)
	}
}

func TestASloppyTypeIsMendedSoThatAllReadersAgree(t *testing.T) {
	r := render(t, "From: a@example.com\nSubject: s\nContent-Type: multipart/mixed; boundary=\"=_b\"; boundary=other; name=a b\n\n--=_b\n\nHi {{Name}}\n--=_b--\n", "민")
	wantIn(t, "text", r.text, "Hi 민")
	wantIn(t, "an odd type is text", render(t, "From: a@example.com\nContent-Type: multipart/\x01x; boundary=b\n\nHi {{Name}}\n", "민").text, "Hi 민")
}

// A gateway on the way puts its words behind the end of the page, and a newsletter
// its page into the middle.
func TestTheFooterStandsWhereTheReaderLooksForIt(t *testing.T) {
	page := func(html string) string {
		html = render(t, "From: a@example.com\nSubject: s\nContent-Type: text/html; charset=utf-8\n\n"+html, "x").html
		return strings.ReplaceAll(html, "\r\n", "")
	}
	got := page("<html><body><p>hello</p></body></html>\nScanned by a gateway")
	wantIn(t, "a trailer", got, "Scanned by a gateway<p style=")
	got = page("<html><body><table align=center><tr><td>hello</table></body></html>")
	wantIn(t, "a newsletter", got, `</table><div align="center" style="padding:0 16px"><p style=`, "</p></div></body></html>")
	got = page("<html><body><p align=center>hello</p></body></html>")
	wantIn(t, "a centred paragraph", got, "hello</p><p style=")
}

// The reader of a copy knows the boundaries of the next mail no more than this one,
// but a value should not even be able to guess them.
func TestAValueIsNoBoundary(t *testing.T) {
	raw := parts("multipart/alternative", "Content-Type: text/plain; charset=utf-8\n\n{{Name}}{{Name}}\nx{{Name}}--=_b {{Name|}}--=_b--\n{{Unsubscribe}}", "Content-Type: text/html\n\n<p>{{Name}}</p>{{Unsubscribe}}")
	for _, name := range []string{"--=_b", "--=_b--", "\r\n--=_b--\r\n", "-", ""} {
		r := render(t, raw, name)
		if n := strings.Count(string(r.raw), "\r\n--=_b"); n != 3 {
			t.Errorf("%q: %d boundaries in\n%s", name, n, r.raw)
		}
	}
}

// Some programs name the very text of the mail as if it were a file.
func TestANamedTextThatReadersShowIsFilled(t *testing.T) {
	html, text := "Content-Type: text/html; name=body.html\n\n<p>{{Name}}</p>", "Content-Type: text/plain; name=body.txt\nContent-Disposition: inline; filename=body.txt\n\n{{Name}}"
	for name, raw := range map[string]string{
		"the whole mail": plainHead + html,
		"alternatives":   parts("multipart/alternative", text, html),
		"with pictures":  parts("multipart/related", html, "Content-Type: image/png; name=a.png\nContent-ID: <a>\n\nx"),
	} {
		r := render(t, raw, "민")
		wantIn(t, name, r.html, "<p>민</p>", theLink)
		wantNone(t, name, r.html+r.text, "{{")
	}
	r := render(t, parts("multipart/mixed", "\nhello", text), "민")
	wantIn(t, "a file stays one", r.text, "{{Name}}")
}

// What some readers show in the place of HTML is filled too, or refused.
func TestNoAlternativeShowsABarePlaceholder(t *testing.T) {
	watch := "Content-Type: text/watch-html\n\n<b>{{Name}}</b>"
	r := render(t, parts("multipart/alternative", "\nx", watch, "Content-Type: text/html\n\n<p>x</p>"), "민")
	wantIn(t, "Apple Watch", r.files["text/watch-html"], "<b>민</b>")
	enriched := "Content-Type: text/enriched\nContent-Transfer-Encoding: quoted-printable\n\n<bold>{=\n{Name}}</bold>"
	wantIn(t, "enriched", refused(t, parts("multipart/alternative", "\nx", enriched)), "part 2 (text/enriched) holds a placeholder")
	compile(t, parts("multipart/alternative", "\nx", "Content-Type: text/enriched\n\n<bold>x</bold>"))
}

// A multipart/related whose start is written without brackets, or which begins with
// a picture, has its footer all the same.
func TestARelatedMailShowsItsHTML(t *testing.T) {
	picture := "Content-Type: image/png\nContent-ID: <i>\n\nx"
	html := "Content-Type: text/html\nContent-ID: <h>\n\n<p>{{Name}}</p>"
	for _, kind := range []string{"multipart/related; start=h", "multipart/related", `multipart/related; start="<h>"`, `multipart/related; start="<none>"`} {
		r := render(t, parts(kind, picture, html), "민")
		wantIn(t, kind, r.html, "<p>민</p>", theLink)
		wantIn(t, kind, r.text, "민", theLink)
	}
}

func TestAMultipartSaysNothingOldOfItsParts(t *testing.T) {
	inner := "Content-Type: multipart/alternative; boundary=a\nContent-MD5: Q2hlY2s=\nContent-Length: 77\nContent-Transfer-Encoding: 8bit\nX-Kept: yes\n\n--a\n\n한글 {{Name}} {{Unsubscribe}}\n--a--"
	got := string(compileRender(t, parts("multipart/mixed", inner), "민").Bytes())
	wantNone(t, "copy", got, "Content-MD5", "Content-Length", "8bit")
	wantIn(t, "copy", got, "X-Kept: yes\r\n\r\n--a\r\n")
}
