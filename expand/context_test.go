package expand_test

import (
	"strings"
	"testing"
)

// hostile tries to leave every place where a value may stand.
const hostile = `x" onload='a' onerror=a>&--><script>`

const (
	hostileHTML = `x&#34; onload=&#39;a&#39; onerror=a&gt;&amp;--&gt;&lt;script&gt;`
	hostileURL  = `x%22%20onload%3D%27a%27%20onerror%3Da%3E%26--%3E%3Cscript%3E`
)

// Readers without scripts and frames show tags in these elements.
func TestAValueFitsTheTagsThatFewReadersShow(t *testing.T) {
	for _, name := range []string{"noscript", "NOSCRIPT", "noframes", "noembed", "iframe"} {
		in := "<" + name + "><img alt={{Name}}><a href='{{Name}}'>{{Name}}</a></" + name + "> {{Name}}"
		out := "<" + name + `><img alt="` + hostileHTML + `"><a href='` + hostileURL + "'>" + hostileHTML + "</a></" + name + "> " + hostileHTML
		want(t, name, seenHTML(t, in, hostile), out)
	}
	for in, out := range map[string]string{
		`<!--[if mso]><v:rect href={{Name}} alt='{{Name}}'>{{Name}}<![endif]-->`: `<!--[if mso]><v:rect href="` + hostileURL + `" alt='` + hostileHTML + `'>` + hostileHTML + `<![endif]-->`,
		`<textarea>{{Name}}</textarea>`:                                          `<textarea>` + hostileHTML + `</textarea>`,
		`<input type=submit value={{Name}}>`:                                     `<input type=submit value="` + hostileHTML + `">`,
		`<option label='{{Name}}'>`:                                              `<option label='` + hostileHTML + `'>`,
		`<img srcset="https://x.example/{{Name}}.png 2x">`:                       `<img srcset="https://x.example/` + hostileURL + `.png 2x">`,
		`<form action-xhr="https://x.example/{{Name}}">`:                         `<form action-xhr="https://x.example/` + hostileURL + `">`,
		`<svg><a xlink:href={{Name}}>x</a></svg>`:                                `<svg><a xlink:href="` + hostileURL + `">x</a></svg>`,
		`<p>&#x0000007B;&#0000000123;Name}}</p>`:                                 `<p>` + hostileHTML + `</p>`,
	} {
		want(t, in, seenHTML(t, in, hostile), out)
	}
}

// The encoding of such an address is undone before it is run.
func TestNoValueStandsInAScript(t *testing.T) {
	for _, in := range []string{"javascript:f('{{Name}}')", " JavaScript:{{Name}}", "vbscript:{{Name}}", "data:text/html,{{Name}}"} {
		wantIn(t, in, refused(t, htmlMail(`<a href="`+in+`">x</a>`)), "in a link: a placeholder stands in a script")
	}
	compile(t, htmlMail(`<a href="javascript:void(0)">x</a><img src="data:image/png;base64,AAAA">`))
}

// A link that nobody can click on is none, and no tag stands where none is read.
func TestALinkThatCannotBeClickedIsNoUnsubscribeLink(t *testing.T) {
	for in, out := range map[string]string{
		`<title>{{Unsubscribe}}</title>`:       `<title>` + theLink + `</title>`,
		`<textarea>{{Unsubscribe}}</textarea>`: `<textarea>` + theLink + `</textarea>`,
		`<img alt="{{Unsubscribe}}">`:          `<img alt="` + theLink + `">`,
		`<img src="{{Unsubscribe}}">`:          `<img src="` + theLink + `">`,
	} {
		r := render(t, plainHead+"Content-Type: text/html\n\n"+in+"<p>hello</p>\n", "민")
		wantIn(t, in, r.html, out+"<p>hello</p>", "To stop receiving it")
	}
	for _, in := range []string{`<a href="{{Unsubscribe}}">x</a>`, `<map><area href="{{Unsubscribe}}"></map>`, `<form action="{{Unsubscribe}}"><input type=submit></form>`} {
		r := render(t, plainHead+"Content-Type: text/html\n\n"+in+"<p>hello</p>\n", "민")
		wantNone(t, in, r.html, "To stop receiving it")
	}
}

// In an address a % that encodes nothing, and angle brackets, are another program's.
func TestAnotherProgramsPlaceholderInALinkIsRefused(t *testing.T) {
	for _, in := range []string{"%unsubscribe%", "%%unsubscribe_url%%", "https://x.example/?e=%Email%", "&lt;&lt;Unsubscribe&gt;&gt;", "«Unsubscribe»"} {
		wantIn(t, in, refused(t, htmlMail(`<a href="`+in+`">x</a>`)), "in a link", "is another program's placeholder")
	}
	for _, in := range []string{"https://x.example/?q=%20Name%20", "https://x.example/100%/a%zz?b=%EC%9D%B4%EB%A6%84", strings.Repeat("%25", 10)} {
		compile(t, htmlMail(`<a href="`+in+`">x</a>`))
	}
}
