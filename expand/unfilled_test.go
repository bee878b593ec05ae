package expand_test

import (
	"encoding/base64"
	"strings"
	"testing"
)

const threeWays = plainHead + "Content-Type: multipart/alternative; boundary=b\n\n--b\n\nHi {{Name}}\n--b\nContent-Type: KIND; charset=utf-8\n\n" +
	"<b>Hi {{Name}}</b>\n--b\nContent-Type: text/html\n\n<p>Hi {{Name}}</p>\n--b--\n"

// A watch shows text/watch-html, and nothing else of the mail.
func TestWhatAWatchShowsIsPersonal(t *testing.T) {
	got := render(t, strings.Replace(threeWays, "KIND", "text/watch-html", 1), "<민>").files["text/watch-html"]
	wantIn(t, "the part", got, "<b>Hi &lt;민&gt;</b>", theLink)
}

func TestNoReaderSeesAPlaceholderInATextThatIsNotFilled(t *testing.T) {
	for _, kind := range []string{"text/enriched", "text/x-web-markdown"} {
		raw := strings.Replace(threeWays, "KIND", kind, 1)
		wantIn(t, kind, refused(t, raw), "part 2 ("+kind+") holds a placeholder", "leave it out")
		compile(t, strings.Replace(raw, "<b>Hi {{Name}}</b>", "<b>Hi</b>", 1))
		compile(t, strings.Replace(raw, "charset=utf-8", "name=a.txt", 1))
	}
	wantIn(t, "a mail", refused(t, plainHead+"Content-Type: text/markdown\n\nHi {{Name}}\n"), "only plain text and HTML are filled in")
}

func TestWhatCannotBeReadAndHoldsAPlaceholderIsRefused(t *testing.T) {
	wide := strings.ReplaceAll("Hi {{Name}}", "", "\x00\x00\x00")
	wantIn(t, "a text", refused(t, plainHead+"Content-Type: text/plain; charset=utf-32\nContent-Transfer-Encoding: base64\n\n"+
		base64.StdEncoding.EncodeToString([]byte(wide))+"\n"), "utf-32", "send it as UTF-8")
}

// A link that no reader can click on is none.
func TestAPictureIsNoWayOut(t *testing.T) {
	const page = plainHead + "Content-Type: text/html\n\n"
	for _, html := range []string{
		`<p>x</p><img src="https://t.example/?u={{Unsubscribe}}" alt="a">`, `<p>x</p><img src="a.png" alt="{{Unsubscribe}}">`,
		`<p title="{{Unsubscribe}}">x</p>`, `<link rel="help" href="{{Unsubscribe}}"><p>x</p>`,
	} {
		wantIn(t, html, render(t, page+html, "민").html, `<a href="`+theLink+`"`)
	}
	for _, html := range []string{`<a href="{{Unsubscribe}}" title="t">x</a>`, `<form action="{{Unsubscribe}}" method="post"><button>x</button></form>`} {
		want(t, html, render(t, page+html, "민").html, strings.Replace(html, "{{Unsubscribe}}", theLink, 1))
	}
}

// Text in base64 is kept in three ways, of which a copy has one.
func TestTheSizeOfACopyIsThatOfOne(t *testing.T) {
	c := compile(t, textMail("{{Name}} "+strings.Repeat("안녕하세요 고객님\n", 10_000)))
	copied := c.Render(copyTo(c, "min@example.net", nil), "t").Bytes()
	if size := c.Size(); size > len(copied)+100 || size < len(copied)-1000 {
		t.Errorf("Size is %d, and a copy has %d octets", size, len(copied))
	}
}
