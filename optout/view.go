package optout

import (
	"bytes"
	"fmt"
	"html/template"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/net/html"

	"postern/mail"
)

// view is what a page's template sees.
type view struct {
	Page             string // the page's name
	Lang             string // "ko" or "en"
	Title            string
	Style            template.CSS
	Other, OtherName string   // the other language, where a link may lead to it; "" where not
	Preferences      string   // where the preferences are, relative; "" when nobody can go there
	Lists            []row    // what may be chosen, is so now, or is confirmed
	Undo             []row    // the choice that takes back what was done; nil: nothing to take back
	Notes            []string // what a reader must know before all else
	Again            bool     // there is a button that tries the same again

	lead    string // the key of the leading text, when it is not "lead"
	section string // of the texts
	texts   texts  // of the language
	fill    func(string) string
}

// row is one list on a page.
type row struct {
	Number  int
	ID      string
	Name    string
	On, Was bool     // is ticked; is received, as the reader was shown
	Status  string   // how it stands, on the page after a choice
	Notes   []string // in small letters
}

// T is a text of the page's section, with what it asks for filled in. An unknown
// key is an error, which shows when the templates are loaded.
func (v *view) T(key string) (string, error) {
	if key == "lead" && v.lead != "" {
		key = v.lead
	}
	text, ok := v.texts[v.section][key]
	if !ok {
		return "", fmt.Errorf("there is no text %q in [%s]", key, v.section)
	}
	return v.fill(text), nil
}

func (v *view) text(key string) string { return v.fill(v.texts[v.section][key]) }

// dated is a text that asks for {date}.
func (v *view) dated(key string, at time.Time) string {
	return strings.ReplaceAll(v.text(key), "{date}", day(v.Lang, at))
}

// newView is a page with its language, its texts and its title.
func (t *Templates) newView(page, section, lang, list string, user mail.Address) *view {
	v := &view{Page: page, Lang: lang, Style: t.style, section: section, texts: t.texts[lang]}
	if list == "" {
		list = v.texts[sectionWords]["nameless"]
	}
	v.fill = strings.NewReplacer("{list}", list, "{who}", mask(user)).Replace
	v.Title = v.text("title")
	return v
}

// render gives a whole page.
func (t *Templates) render(v *view) ([]byte, error) {
	var b bytes.Buffer
	if err := t.pages[v.Page].Execute(&b, v); err != nil {
		return nil, plainTemplate(err)
	}
	return b.Bytes(), nil
}

// setHeaders allows our one style sheet and our forms, and nothing else. The
// address of the page is a capability, so it goes into no Referer and no cache.
func (t *Templates) setHeaders(h http.Header) {
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src "+t.hash+"; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Robots-Tag", "noindex, nofollow")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Vary", "Accept-Language")
}

// maxWording bounds what is kept of a page, in octets.
const maxWording = 2000

// wording is what a reader was shown, as plain text: the button that they pressed,
// then the page with its boxes as they stood.
func (t *Templates) wording(v *view, pressed string) string {
	page, err := t.render(v)
	if err != nil {
		return ""
	}
	text := "[" + v.Lang + "] pressed: " + v.text(pressed) + "\n" + plain(page)
	if len(text) <= maxWording {
		return text
	}
	text = text[:maxWording-len("…")]
	for !utf8.ValidString(text) {
		text = text[:len(text)-1]
	}
	return text + "…"
}

// plain is the text of a page's <main>, a line for each block.
func plain(page []byte) string {
	doc, err := html.Parse(bytes.NewReader(page))
	if err != nil {
		return ""
	}
	var b strings.Builder
	var walk func(n *html.Node, in bool)
	walk = func(n *html.Node, in bool) {
		switch {
		case n.Type == html.TextNode && in:
			b.WriteString(n.Data)
		case n.Type == html.ElementNode && n.Data == "main":
			in = true
		case n.Type == html.ElementNode && n.Data == "input" && attribute(n, "type") == "checkbox":
			b.WriteString(map[bool]string{true: "[x] ", false: "[ ] "}[hasAttribute(n, "checked")])
		}
		button := n.Type == html.ElementNode && n.Data == "button"
		if button {
			b.WriteString("\n(")
		}
		for c := range n.ChildNodes() {
			walk(c, in)
		}
		if button {
			b.WriteString(")")
		}
		if n.Type == html.ElementNode && (button || n.Data == "p" || n.Data == "h1" || n.Data == "li" || n.Data == "label" || n.Data == "legend") {
			b.WriteString("\n")
		}
	}
	walk(doc, false)
	var lines []string
	for line := range strings.Lines(b.String()) {
		if line = strings.Join(strings.Fields(line), " "); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}

func attribute(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

func hasAttribute(n *html.Node, key string) bool {
	for _, a := range n.Attr {
		if a.Key == key {
			return true
		}
	}
	return false
}

// mask shows enough of an address for its owner to know it, and not enough for
// whoever was forwarded the mail: "m•••@example.com".
func mask(a mail.Address) string {
	_, n := utf8.DecodeRuneInString(a.Local())
	if n == len(a.Local()) {
		n = 0
	}
	return a.Local()[:n] + "•••@" + a.Domain()
}

// day writes a date for people.
func day(lang string, t time.Time) string {
	if lang == "ko" {
		return t.Format("2006년 1월 2일")
	}
	return t.Format("2 January 2006")
}
