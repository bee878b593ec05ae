package expand_test

import (
	"strings"
	"testing"
)

// seenText and seenHTML are a mail's text without what textMail and htmlMail add.
func seenText(t *testing.T, written, name string) string {
	t.Helper()
	return strings.TrimSuffix(render(t, textMail(written), name).text, "\r\n"+theLink+"\r\n")
}

func seenHTML(t *testing.T, written, name string) string {
	t.Helper()
	return strings.TrimSuffix(render(t, htmlMail(written), name).html, "\r\n<p><a href=\""+theLink+"\">"+theLink+"</a></p>\r\n")
}

// The forms in which mail clients write an address that a person typed as
// {{Unsubscribe}}.
func TestTheUnsubscribeLinkOfAnyClientWorks(t *testing.T) {
	for _, in := range []string{
		"{{Unsubscribe}}", "http://{{Unsubscribe}}", "http://%7b%7bUnsubscribe%7d%7d", "https://%7B%7Bunsubscribe%7D%7D/",
		"HTTP://{{unsubscribe}}/", "%7B%7BUnsubscribe%7D%7D", `file:///C:\Users\kim\AppData\Local\Temp\%7b%7bUnsubscribe%7d%7d`,
		"applewebdata://3F-1/%7B%7BUnsubscribe%7D%7D", "x-webdoc://3F-1/%7B%7Bunsubscribe%7D%7D", "http:///%7B%7BUnsubscribe%7D%7D",
	} {
		want(t, in, seenHTML(t, `<a title="x" href="`+in+`">leave</a>`, "민"), `<a title="x" href="`+theLink+`">leave</a>`)
		if strings.HasPrefix(in, "file:") {
			continue
		}
		want(t, in+" in text", seenText(t, "Leave: <"+in+">", "민"), "Leave: <"+theLink+">")
		want(t, in+" ends a text", seenText(t, "Leave: "+in, "민"), "Leave: "+theLink)
	}
	want(t, "as a part", seenText(t, "https://s.example/?u=%7b%7bUnsubscribe%7d%7d&x", "민"),
		"https://s.example/?u=https%3A%2F%2Fmail.example.com%2Fu%2FTOKEN_7&x")
}

// Who writes the bare placeholder into HTML wants something that can be clicked.
func TestABareLinkInHTMLCanBeClicked(t *testing.T) {
	for in, out := range map[string]string{
		"<p>Leave: {{Unsubscribe}}</p>":                   `<p>Leave: <a href="` + theLink + `">` + theLink + `</a></p>`,
		"<p><b>{{</b>Preferences}}.</p>":                  `<p><b></b><a href="https://mail.example.com/p/TOKEN_7">https://mail.example.com/p/TOKEN_7</a>.</p>`,
		`<a href="https://x.example">{{Unsubscribe}}</a>`: `<a href="https://x.example">` + theLink + `</a>`,
		`<a name=top>{{Unsubscribe}}</a>`:                 `<a name=top><a href="` + theLink + `">` + theLink + `</a></a>`,
		`<img title="{{Unsubscribe}}">`:                   `<img title="` + theLink + `">`,
	} {
		want(t, in, seenHTML(t, in, "민"), out)
	}
}

// A value in an address is encoded in text as it is in HTML: both lead to the same
// place. Behind the address it is verbatim.
func TestRule49AnAddressInTextHoldsAnEncodedValue(t *testing.T) {
	for in, out := range map[string]string{
		"https://s.example/?m={{Email}}&n={{Name}}#{{Point}} {{Name}}":   "https://s.example/?m=min%40example.net&n=%EB%AF%BC%20A#1%2C200 민 A",
		"<http://s.example/{{Name}}> {{Name}}":                           "<http://s.example/%EB%AF%BC%20A> 민 A",
		"https://s.example/가을 {{Name}}":                                  "https://s.example/가을 민 A",
		"https://s.example에서 {{Name}}":                                   "https://s.example에서 민 A",
		"https://s.example\n{{Name}}":                                    "https://s.example\r\n민 A",
		"(https://s.example){{Name}}님, (https://s.example/(a)/{{Name}})": "(https://s.example)민 A님, (https://s.example/(a)/%EB%AF%BC%20A)",
		"mailto:a@b.example?subject={{Name}} a://{{Name}}":               "mailto:a@b.example?subject=민 A a://%EB%AF%BC%20A",
	} {
		want(t, in, seenText(t, in, "민 A"), out)
	}
	wantIn(t, "a value in HTML's text", render(t, htmlMail("<p>https://s.example/?n={{Name}}</p>"), "민 A").html, "?n=민 A<")
}

func TestAPlaceholderThatWasEncodedTwiceIsRefused(t *testing.T) {
	for _, raw := range []string{
		htmlMail(`<a href="https://s.example/?m=%257B%257BEmail%257D%257D">x</a>`), textMail("https://s.example/?m=%257b%257bemail%257d%257d"),
		htmlMail(`<p>https://s.example/?m=%7B%7BEmail%7D%7D</p>`),
	} {
		wantIn(t, raw, refused(t, raw), "was encoded by another program", "type {{Email}} anew")
	}
}

func TestAConditionalCommentMayBeWrapped(t *testing.T) {
	wantIn(t, "html", render(t, htmlMail("<!--[if\r\nmso]>{{Name}}<![endif]-->"), "민").html, "]>민<!")
}

func TestTheLinkOfOnePersonIsSentToNobody(t *testing.T) {
	for _, raw := range []string{
		textMail("> To stop receiving it: https://mail.example.com/u/AbC_123"), htmlMail(`<a href="https://mail.example.com/p/AbC">x</a>`),
		htmlMail(`<a href="https://nam02.safelinks.protection.outlook.com/?url=https%3A%2F%2Fmail.example.com%2Fu%2FAbC&amp;data=1">x</a>`),
	} {
		wantIn(t, raw, refused(t, raw), "holds the unsubscribe link of one person", "write {{Unsubscribe}}")
	}
	compile(t, textMail("https://mail.example.com/ and https://mail.example.com/used"))
}

// Mail clients mark in text what is bold, underlined or italic in HTML.
func TestAMarkedNameIsAName(t *testing.T) {
	for _, in := range []string{"{{*Name*}}", "{{*이름*|고객님}}", "{{_Name_}}", "{{/이름/}}", "{{ *_Name_* }}", "{{Name*}}"} {
		want(t, in, seenText(t, in, "민"), "민")
	}
	for _, in := range []string{"{{/Name}}", "{{**}}", "{{/if/}}"} {
		refused(t, textMail(in))
	}
}

func TestAPlaceholderThatWasWrappedInAQuotation(t *testing.T) {
	want(t, "a value", seenText(t, "> {{이\n> 름}}", "민"), "> 민")
	want(t, "a fallback", seenText(t, "> {{Shop|강남점 \n>> 근처}}", "민"), "> 강남점 근처")
}

// Letters whose small form has more octets than the capital one.
func TestPlaceholdersStandBehindLettersThatGrow(t *testing.T) {
	want(t, "text", seenText(t, "https://x.example/%7B%7BName%7C"+strings.Repeat("Ⱥ", 20)+"%7D%7D", ""), "https://x.example/"+strings.Repeat("%C8%BA", 20))
	r := render(t, "From: a@example.com\nContent-Type: text/html\nContent-Transfer-Encoding: 8bit\n\n<p>"+strings.Repeat("\xd8\xc8\xba", 500)+"<body>{{Name}}", "민")
	wantIn(t, "html", r.html, "민")
}
