package expand_test

import (
	"encoding/base64"
	"fmt"
	"html"
	"strings"
	"testing"

	"golang.org/x/text/encoding/korean"

	"postern/expand"
	"postern/mail"
)

func TestRule39WordSplitsAPlaceholder(t *testing.T) {
	for in, out := range map[string]string{
		`<p>{{Name}}</p>`: `<p>민</p>`,
		`<p>{{na<span class=SpellE>me</span>}}!</p>`:                                    `<p>민<span class=SpellE></span>!</p>`,
		`<p><b>{</b><i>{Na</i>me<u>}}</u></p>`:                                          `<p><b></b><i>민</i><u></u></p>`,
		`<p>{{<o:p></o:p>Name<!-- a comment -->}}</p>`:                                  `<p><o:p></o:p>민<!-- a comment --></p>`,
		`<p>{{&nbsp;Name&nbsp;}}</p>`:                                                   `<p>민</p>`,
		`<p>&#123;&#x7B;Name&#125;&rcub;</p>`:                                           `<p>민</p>`,
		`<p>｛｛이름｝｝</p>`:                                                                 `<p>민</p>`,
		`<p>｛{성함}｝</p>`:                                                                 `<p>민</p>`,
		"<p>{{\r\n  Na\r\nme }}</p>":                                                    `<p>민</p>`,
		"<p>{{Na\u200bme\u00ad}}\ufeff</p>":                                             "<p>민\ufeff</p>",
		`<p>{{Na<![if !supportEmptyParas]>me<![endif]>}}</p>`:                           `<p>민<![if !supportEmptyParas]><![endif]></p>`,
		`<p>{{<a name="_GoBack"></a><span lang=EN-US>NAME</span>｜<b>손&nbsp;님</b>}}</p>`: `<p><a name="_GoBack"></a><span lang=EN-US>민</span><b></b></p>`,
		`<p>{{Na<img alt="{{Name}}">me}}</p>`:                                           `<p>민<img alt="민"></p>`,
		`<p>a { b } {{Name}}} }} {x}</p>`:                                               `<p>a { b } 민} }} {x}</p>`,
		`<p title='{{Name}}'>x</p>`:                                                     `<p title='민'>x</p>`,
		`<img alt={{Name}} src=x>`:                                                      `<img alt="민" src=x>`,
		`<title>{{Name}}</title>`:                                                       `<title>민</title>`,
		`<style>{{Name}}</style><script>{{Name}}{{</script><!-- {{Nmae}} {{ -->`:        `<style>{{Name}}</style><script>{{Name}}{{</script><!-- {{Nmae}} {{ -->`,
		`<!--[if mso]><p>{{Name}}</p><![endif]-->`:                                      `<!--[if mso]><p>민</p><![endif]-->`,
		`<td data-x="{{">{{Name}}</td`:                                                  `<td data-x="{{">민</td`,
		`1 < 2 && {{Name}} <`:                                                           `1 < 2 && 민 <`,
	} {
		r := render(t, htmlMail(in), "민")
		got, _, _ := strings.Cut(r.html, "\r\n<p><a ")
		want(t, in, got, out)
		checkWire(t, r.raw)
	}
}

func TestRule40ASoftBreakInside(t *testing.T) {
	for _, in := range []string{"{{Na=\nme}}", "{=\n{Name}=\n}", "=7B=7BName=7D=7D", "{{=\n   Name}}"} {
		r := render(t, "From: a@example.com\nSubject: s\nContent-Transfer-Encoding: quoted-printable\n\n"+in+" {{Unsubscribe}}\n", "민")
		want(t, in, r.text, "민 "+theLink+"\r\n")
	}
}

func TestRule40AHardBreakInsideText(t *testing.T) {
	r := render(t, textMail("Dear {{Name|valued\ncustomer}},"), "")
	want(t, "text", r.text, "Dear valued customer,\r\n"+theLink+"\r\n")
	wantIn(t, "an empty line ends a placeholder", refused(t, textMail("Dear {{Name\n\n}}")), "not closed")
}

func TestRule41ASubjectPlaceholderSplitAcrossEncodedWords(t *testing.T) {
	word := func(charset string, b []byte) string {
		return "=?" + charset + "?B?" + base64.StdEncoding.EncodeToString(b) + "?="
	}
	kr, _ := korean.EUCKR.NewEncoder().Bytes([]byte("{{이름|고객}}님께"))
	for name, tc := range map[string]struct{ in, out string }{
		"plain":           {"Hi {{Name}}, hello", "Hi 민, hello"},
		"utf-8":           {word("utf-8", []byte("안녕 {{Na")) + "\n " + word("UTF-8", []byte("me}}님")), "안녕 민님"},
		"half characters": {word("ks_c_5601-1987", kr[:3]) + "\n\t" + word("ks_c_5601-1987", kr[3:9]) + " " + word("ks_c_5601-1987", kr[9:]), "민님께"},
		"Q":               {"=?utf-8?Q?{{Na?= =?utf-8?q?me}}_x=21?=", "민 x!"},
		"mixed":           {"{{Na" + "=?utf-8?B?bWU=?=" + "}} x", "민 x"},
		"raw UTF-8":       {"안녕 {{Name}}", "안녕 민"},
		"raw EUC-KR":      {"\xbe\xc8\xb3\xe7 {{Name}}", "안녕 민"},
		"language":        {"=?utf-8*ko?B?" + base64.StdEncoding.EncodeToString([]byte("{{Name}}")) + "?=", "민"},
		"unknown charset": {"=?x-klingon?B?AAAA?= {{Name}}", "=?x-klingon?B?AAAA?= 민"},
		"folded":          {"Hello\n {{Na\n me}}", "Hello 민"},
	} {
		r := render(t, "From: a@example.com\nSubject: "+tc.in+"\n\nx\n", "민")
		if name == "unknown charset" {
			checkWire(t, r.raw)
			continue
		}
		want(t, name, r.subject(t), tc.out)
	}
	want(t, "Subject()", compile(t, "From: a@example.com\nSubject: =?utf-8?Q?{{Na?= =?utf-8?q?me|x}}?=\n\nx\n").Subject(), "{{Name|x}}")
}

func TestRule42KoreanArrivesIntact(t *testing.T) {
	const korea = "똠방각하 펲시콜라, 한국어 {{이름}}님"
	euc, err := korean.EUCKR.NewEncoder().String(korea)
	if err != nil {
		t.Fatal(err)
	}
	plain, _ := korean.EUCKR.NewEncoder().Bytes([]byte("한국어"))
	iso := "\x1b$)C\x0e" + strings.Map(func(r rune) rune { return r & 0x7f }, latin1(plain)) + "\x0f {{Name}}"
	for name, tc := range map[string]struct{ charset, body, out string }{
		"utf-8":          {"utf-8", korea, "똠방각하 펲시콜라, 한국어 민님"},
		"ks_c_5601-1987": {"ks_c_5601-1987", euc, "똠방각하 펲시콜라, 한국어 민님"},
		"euc-kr":         {"EUC-KR", euc, "똠방각하 펲시콜라, 한국어 민님"},
		"cp949":          {"cp949", euc, "똠방각하 펲시콜라, 한국어 민님"},
		"uhc":            {"uhc", euc, "똠방각하 펲시콜라, 한국어 민님"},
		"ms949":          {"ms949", euc, "똠방각하 펲시콜라, 한국어 민님"},
		"x-windows-949":  {"x-windows-949", euc, "똠방각하 펲시콜라, 한국어 민님"},
		"no charset":     {"us-ascii", euc, "똠방각하 펲시콜라, 한국어 민님"},
		"iso-2022-kr":    {"iso-2022-kr", iso, "한국어 민"},
	} {
		for _, coding := range []string{"8bit", "base64"} {
			body := tc.body
			if coding == "base64" {
				body = base64.StdEncoding.EncodeToString([]byte(body))
			}
			r := render(t, fmt.Sprintf("From: a@example.com\nSubject: s\nContent-Type: text/plain; charset=%s\nContent-Transfer-Encoding: %s\n\n%s\n", tc.charset, coding, body), "민")
			wantIn(t, name+" "+coding, r.text, tc.out)
			r = render(t, fmt.Sprintf("From: a@example.com\nSubject: s\nContent-Type: text/html; charset=%s\nContent-Transfer-Encoding: %s\n\n%s\n", tc.charset, coding, body), "민")
			wantIn(t, name+" "+coding, r.html, tc.out)
			checkWire(t, r.raw)
		}
	}
}

// latin1 makes each octet a character.
func latin1(b []byte) string {
	var s strings.Builder
	for _, c := range b {
		s.WriteRune(rune(c))
	}
	return s.String()
}

func TestRule42TheHTMLSaysUTF8(t *testing.T) {
	for in, out := range map[string]string{
		`<meta http-equiv=Content-Type content="text/html; charset=ks_c_5601-1987">`: `<meta http-equiv=Content-Type content="text/html; charset=utf-8">`,
		`<META CHARSET="euc-kr">`:        `<META CHARSET="utf-8">`,
		`<meta charset=euc-kr />`:        `<meta charset="utf-8" />`,
		`<meta name=author content="x">`: `<meta name=author content="x">`,
	} {
		r := render(t, "From: a@example.com\nSubject: s\nContent-Type: text/html; charset=euc-kr\n\n"+in+"\xb1\xe8 {{Name}}\n", "민")
		wantIn(t, "html", r.html, out+"김 민")
		wantIn(t, "type", string(r.raw), "Content-Type: text/html; charset=utf-8\r\n")
	}
	r := render(t, "From: a@example.com\nSubject: s\nContent-Type: text/html\n\n<meta charset=windows-1252>caf\xe9 {{Name}}\n", "민")
	wantIn(t, "the charset that only the HTML names", r.html, "café 민")
}

func TestRule43ValuesAreEscapedForWhereTheyStand(t *testing.T) {
	const nasty = `<b>&"'</b> =3D $1 %s`
	want(t, "text", render(t, textMail("{{Name}}"), nasty).text, nasty+"\r\n"+theLink+"\r\n")
	r := render(t, htmlMail(`<p alt="{{Name}}">{{Name}}</p><img alt='{{Name}}'>`), nasty)
	escaped := `&lt;b&gt;&amp;&#34;&#39;&lt;/b&gt; =3D $1 %s`
	wantIn(t, "html", r.html, `<p alt="`+escaped+`">`+escaped+`</p><img alt='`+escaped+`'>`)
}

func TestRule44AnEmptyValueShowsTheFallback(t *testing.T) {
	for _, empty := range []string{"", " ", "\u00a0\t"} {
		r := render(t, "From: a@example.com\nSubject: {{Name|고객}}님\n\n{{Name | <고객> }}! {{Name|}}{{Unsubscribe}}\n", empty)
		want(t, "text", r.text, "<고객>! "+theLink+"\r\n")
		want(t, "Subject", r.subject(t), "고객님")
		wantIn(t, "html", render(t, htmlMail("<p>{{Name|A &amp; <b>B</b>}}</p>"), empty).html, "<p>A &amp; B<b></b></p>")
	}
	c := compile(t, textMail("{{Name|x}} {{Gender}} {{점수|0}} {{ gender | y }}"))
	want(t, "fields", fmt.Sprint(c.Fields(), c.Required()), "[Name Gender Point] [false true false]")
	want(t, "the name of To needs none", fmt.Sprint(compile(t, textMail("x")).Required()), "[false]")
}

func TestRule45AnUnknownPlaceholderIsRefusedByName(t *testing.T) {
	for raw, why := range map[string]string{
		textMail("Hi {{Nmae}}"):                    "in the mail: {{Nmae}} is not a field; did you mean {{Name}}?",
		htmlMail("<p>{{<b>이룸</b>}}</p>"):           "{{이룸}} is not a field; did you mean {{이름}}?",
		htmlMail(`<a href="x?%7B%7BPoimt%7D%7D">`): "{{Poimt}} is not a field; did you mean {{Point}}?",
		textMail("<https://x/?%7b%7bPoimt%7d%7d>"): "did you mean {{Point}}?",
		"Subject: {{Unsubscibe}}\n" + textMail(""): "in the Subject: {{Unsubscibe}} is not a field; did you mean {{Unsubscribe}}?",
		textMail("{{CouponCode}}"):                 "{{CouponCode}} is not a field, and no field has a name like it",
		textMail("{{}}"):                           "{{}} names no field",
		textMail("{{ | x }}"):                      "{{}} names no field",
		textMail("{{ .Name }}"):                    "{{.Name}} is another program's placeholder; write {{Name}}",
		textMail("{{#if Name}}"):                   "another program's placeholder",
		textMail("{{{Name}}}"):                     "two braces",
		textMail("Hi *|FNAME|*"):                   "*|FNAME|* is another program's placeholder; write {{Name}}",
		textMail("Hi *|FNAME:손님|* *|X|*"):          "write {{Name}}",
		textMail("*|EMAIL|*"):                      "*|EMAIL|* is another program's placeholder; write {{Email}}",
		textMail("*|UNSUB|*"):                      "write {{Unsubscribe}}",
		textMail("*|UPDATE_PROFILE|*"):             "write {{Preferences}}",
		textMail("*|COUPON|*"):                     "write {{Name}}, or {{Name|friend}}",
		textMail("{{contact.firstname}}"):          "{{contact.firstname}} is another program's placeholder; write {{Name}}",
		textMail("{{ subscriber.point }}"):         "write {{Point}}",
		textMail("{{first_name}}"):                 "write {{Name}}",
		textMail("{{Name | default: \"friend\"}}"): "{{Name | default: \"friend\"}} is another program's placeholder; write {{Name|friend}}",
		textMail("{{else}}"):                       "there are no conditions here",
		textMail("$%name%$ %%name%%"):              "$%name%$ is another program's placeholder; write {{Name}}",
		textMail("#{이름}님"):                         "#{이름} is another program's placeholder; write {{Name}}",
		textMail("${point}"):                       "write {{Point}}",
		textMail("Hi %name%"):                      "%name% is another program's placeholder; write {{Name}}",
		textMail("Hi <<이름>>"):                      "<<이름>> is another program's placeholder; write {{Name}}",
		htmlMail("Hi &lt;&lt;Name&gt;&gt;"):        "<<Name>> is another program's placeholder",
		textMail("Hi «Name»"):                      "«Name» is another program's placeholder",
		textMail("«한글 이름» «E»«이름»"):                "«이름» is another program's placeholder",
		textMail("*|이름|*님"):                        "*|이름|* is another program's placeholder; write {{Name}}",
		textMail("Dear customer {{Name}, hello"):   "a placeholder is not closed near “Dear customer {{Name}, hello",
		htmlMail("<p>Dear {{Name</p><p>}}</p>"):    "not closed near “Dear {{Name”",
		textMail("{{Name {{Name}}"):                "not closed",
		textMail("{{" + strings.Repeat("x", 400)):  "not closed",
	} {
		wantIn(t, raw, refused(t, raw), "550 5.6.0", why)
	}
	compile(t, textMail("100 % sure % of <<that>> *| and %20name%20 { Name } [[Name]]"))
	compile(t, textMail("Le champ « Email » et « Name ». *|공지|* **|제목|** *|*|* a << Email << b"))
}

// Word turns the quotation marks around a literal into others.
func TestWhatStandsInQuotationMarksIsShownAsItIs(t *testing.T) {
	for in, out := range map[string]string{
		`{{"{{"}}Name{{"}}"}}`:        `{{Name}}`,
		`{{“{{”}}Name{{“}}”}}`:        `{{Name}}`,
		`{{ "{{Name}}" }} {{Name}}`:   `{{Name}} 민`,
		`{{'{{Name|x}} & co'}}`:       `{{Name|x}} & co`,
		`{{‘{’}} {{"}"}}`:             `{ }`,
		`｛｛"｛｛이름｝｝"｝｝`:                `｛｛이름｝｝`,
		`{{"Name"}} {{“이름”}}`:         `민 민`,
		`{{Name|“friend”}} {{'Name}}`: `민 민`,
	} {
		want(t, in, render(t, textMail(in), "민").text, out+"\r\n"+theLink+"\r\n")
		r := render(t, htmlMail("<p>"+html.EscapeString(in)+"</p>"), "민")
		wantIn(t, in, r.html, "<p>"+html.EscapeString(out)+"</p>")
		want(t, in+" in the Subject", render(t, "From: a@example.com\nSubject: "+in+"\n\nx\n", "민").subject(t), out)
	}
	want(t, "in Word", render(t, htmlMail(`<p>{{<span class=SpellE>“{{</span>”}}x{{&quot;}}&quot;}}</p>`), "민").html[:len(`<p><span class=SpellE>{{</span>x}}</p>`)], `<p><span class=SpellE>{{</span>x}}</p>`)
	for _, open := range []string{`{{"{{`, `{{"{{Name`, `{{"}}`, `{{"`} {
		wantIn(t, open, refused(t, textMail(open)), "not closed")
	}
}

func TestTheLinkToThePreferences(t *testing.T) {
	r := render(t, textMail("{{Preferences}}"), "민")
	want(t, "text", r.text, "https://mail.example.com/p/TOKEN_7\r\n"+theLink+"\r\n")
	wantIn(t, "html", render(t, htmlMail(`<a href="{{ preferences }}">x</a>`), "민").html, `<a href="https://mail.example.com/p/TOKEN_7">`)
}

func TestRule46AValueIsNotExpandedAgain(t *testing.T) {
	const trick = "{{email}} {{Unsubscribe}} =?utf-8?q?x?="
	r := render(t, "From: a@example.com\nSubject: {{Name}}\nMIME-Version: 1.0\nContent-Type: multipart/alternative; boundary=b\n\n--b\n\n{{Name}}\n--b\nContent-Type: text/html\n\n<a href=\"{{Name}}\">{{Name}}</a>\n--b--\n", trick)
	wantIn(t, "text", r.text, trick)
	wantIn(t, "html", r.html, ">"+trick+"<", `href="%7B%7Bemail%7D%7D`)
	want(t, "Subject", r.subject(t), trick)
	checkWire(t, r.raw)
}

func TestRule48TextAndHTMLCarryTheSameValue(t *testing.T) {
	for _, name := range []string{"민", " 김 민지 ", "A & B", "two\nlines", strings.Repeat("긴", 100), "trailing=", "tab\tin"} {
		r := render(t, "From: a@example.com\nSubject: s\nMIME-Version: 1.0\nContent-Type: multipart/alternative; boundary=b\n\n--b\n\n[{{Name}}]\n--b\nContent-Type: text/html\n\n<p>[{{Name}}]</p>\n--b--\n", name)
		shown := strings.ReplaceAll(strings.TrimSpace(name), "\n", "\r\n")
		wantIn(t, "text", r.text, "["+shown+"]\r\n")
		wantIn(t, "html", r.html, "<p>["+strings.ReplaceAll(shown, "&", "&amp;")+"]</p>")
	}
}

func TestRule49PlaceholdersInLinks(t *testing.T) {
	for in, out := range map[string]string{
		`<a href="https://s.example/?n={{Name}}&amp;p={{Point}}">`:       `<a href="https://s.example/?n=%EB%AF%BC%20%26%20%3Cb%3E&amp;p=1%2C200">`,
		`<a href="https://s.example/?n=%7B%7bName%7c%EA%B3%A0%7d%7D#x">`: `<a href="https://s.example/?n=%EB%AF%BC%20%26%20%3Cb%3E#x">`,
		`<a href="https://s.example/%7b%7b%EC%9D%B4%EB%A6%84%7d%7d">`:    `<a href="https://s.example/%EB%AF%BC%20%26%20%3Cb%3E">`,
		`<a href='{{Unsubscribe}}'>`:                                     `<a href='` + theLink + `'>`,
		`<a href="http://{{Unsubscribe}}">`:                              `<a href="` + theLink + `">`,
		`<a href="http://%7b%7bunsubscribe%7d%7d/">`:                     `<a href="` + theLink + `">`,
		`<a href="https://{{Preferences}}/">`:                            `<a href="https://mail.example.com/p/TOKEN_7">`,
		`<a href="http://{{Unsubscribe}}/?x">`:                           `<a href="` + theLink + `/?x">`,
		`<a href={{Unsubscribe}}>`:                                       `<a href="` + theLink + `">`,
		`<a href="https://s.example/?u={{Unsubscribe}}">`:                `<a href="https://s.example/?u=https%3A%2F%2Fmail.example.com%2Fu%2FTOKEN_7">`,
		`<a href="mailto:{{Email}}?subject={{Name}}">`:                   `<a href="mailto:min@example.net?subject=%EB%AF%BC%20%26%20%3Cb%3E">`,
		`<a href="{{Name}}">`:                                            `<a href="%EB%AF%BC%20%26%20%3Cb%3E">`,
		`<a href="100%25%zz{{Email}}">`:                                  `<a href="100%25%zzmin%40example.net">`,
	} {
		r := render(t, htmlMail(in+"x</a>"), "민 & <b>")
		got, _, _ := strings.Cut(r.html, "x</a>")
		want(t, in, got, out)
	}
	r := render(t, textMail("Shop <https://s.example/?n=%7b%7bName%7d%7d> <http://{{Unsubscribe}}/>"), "민")
	want(t, "text", r.text, "Shop <https://s.example/?n=%EB%AF%BC> <"+theLink+">\r\n"+theLink+"\r\n")
}

func TestRule49AFieldMayHoldAWholeLink(t *testing.T) {
	c := compile(t, htmlMail(`<a href="{{Shop}}">x</a>`))
	for value, href := range map[string]string{
		"https://s.example/a b?x=1&y=\"한\"": "https://s.example/a%20b?x=1&amp;y=%22%ED%95%9C%22",
		"javascript:alert(1)":               "javascript%3Aalert%281%29",
	} {
		r := receive(t, c.Render(copyTo(c, "a@b.example", map[string]string{"Shop": value}), "T").Bytes())
		wantIn(t, value, r.html, `<a href="`+href+`">`)
	}
}

func TestRule49NoOtherHeaderFieldHasPlaceholders(t *testing.T) {
	r := render(t, "From: \"{{Name}}\" <a@example.com>\nReply-To: {{Name}} <b@example.com>\nSubject: s\n\nx\n", "민")
	wantIn(t, "From", r.header.Get("From"), "{{Name}}")
	wantIn(t, "Reply-To", r.header.Get("Reply-To"), "{{Name}}")
}

func TestBuiltInFields(t *testing.T) {
	in := input(t, textMail("{{email}}, {{List}}, {{DATE}}"))
	for language, date := range map[string]string{"en": "22 November 2026", "ko": "2026년 11월 22일"} {
		in.List.Language = language
		c, err := expand.Compile(in)
		if err != nil {
			t.Fatal(err)
		}
		r := receive(t, c.Render(copyTo(c, "Min@example.net", nil), "TOKEN_7").Bytes())
		want(t, language, r.text, "Min@example.net, Promotions, "+date+"\r\n"+theLink+"\r\n")
		want(t, "fields", strings.Join(c.Fields(), " "), "Name")
	}
}

func TestAShortRowRendersWithFallbacks(t *testing.T) {
	c := compile(t, textMail("{{Name|you}}{{Gender}}"))
	r := receive(t, c.Render(&mail.Copy{To: "a@b.example"}, "TOKEN_7").Bytes())
	want(t, "text", r.text, "you\r\n"+theLink+"\r\n")
}

// In an AMP part the braces within a template are the template's own.
func TestAnAMPPartIsPersonalisedToo(t *testing.T) {
	raw := parts("multipart/alternative", "\n\n{{Name}}", "Content-Type: text/x-amp-html; charset=utf-8\n\n<!doctype html><html ⚡4email><body><p>{{Name}}</p><amp-list><template type=\"amp-mustache\">{{Nmae}} <b title=\"{{#x}}\">{{</b></template></amp-list><p>{{Point}}</p></body></html>", "Content-Type: text/html\n\n<p>{{Name}}</p>")
	r := render(t, raw, "민")
	amp := r.files["text/x-amp-html"]
	wantIn(t, "AMP", amp, "<p>민</p><amp-list><template type=\"amp-mustache\">{{Nmae}} <b title=\"{{#x}}\">{{</b></template></amp-list><p>1,200</p>", theLink)
	checkWire(t, r.raw)
}

// What nobody here wrote for this copy still leaves as UTF-8.
func TestRule42EveryTextLeavesAsUTF8(t *testing.T) {
	kr, _ := korean.EUCKR.NewEncoder().String("안녕")
	raw := parts("multipart/mixed", "Content-Type: text/html; charset=ks_c_5601-1987\nContent-Transfer-Encoding: base64\n\n"+base64.StdEncoding.EncodeToString([]byte("<meta charset=euc-kr><p>"+kr+"</p>")),
		"\n\n{{Unsubscribe}}", "Content-Type: text/plain; charset=ks_c_5601-1987\nContent-Disposition: attachment\nContent-Transfer-Encoding: base64\n\n"+base64.StdEncoding.EncodeToString([]byte(kr)))
	r := render(t, raw, "민")
	want(t, "html", r.html, `<meta charset="utf-8"><p>안녕</p>`)
	if n := strings.Count(string(r.raw), "ks_c_5601-1987"); n != 1 {
		t.Errorf("an attachment keeps its charset, and nothing else: %d", n)
	}
}

func TestPlaceholdersInOtherAttributes(t *testing.T) {
	r := render(t, htmlMail(`<td background="https://x.example/{{Name}}.png" aria-label="{{Name}}" style="x:{{">`), "a b")
	wantIn(t, "html", r.html, `<td background="https://x.example/a%20b.png" aria-label="a b" style="x:{{">`)
}
