package expand

import (
	"cmp"
	"fmt"
	"html"
	"net/url"
	"regexp"
	"strings"

	"postern/mail"
)

// contents are what a mail says and what it carries, for a template.
type contents struct {
	shown    []saying
	related  []*part // pictures that the HTML shows
	attached []*part
}

// saying is a text of the mail, in one form or in two.
type saying struct {
	plain, page *part // the other is nil where the author sent one
}

// contentsOf takes a mail apart. Of alternatives the HTML counts and the text; an AMP
// part has no place in a template.
func contentsOf(root *part) (*contents, error) {
	got := &contents{}
	if err := got.take(root); err != nil {
		return nil, err
	}
	return got, nil
}

func (got *contents) take(p *part) error {
	switch {
	case p.kind == "multipart/alternative":
		return got.choose(p)
	case p.kind == "multipart/related" && len(p.children) > 0:
		root := p.root()
		for _, child := range p.children {
			if child != root {
				got.related = append(got.related, child)
			}
		}
		return got.take(root)
	case len(p.children) > 0:
		for _, child := range p.children {
			if err := got.take(child); err != nil {
				return err
			}
		}
		return nil
	case p.kind == ampHTML:
		return nil
	case !p.isText():
		got.attached = append(got.attached, p)
		return nil
	}
	if err := p.read(); err != nil {
		return err
	}
	if p.isHTML() {
		got.shown = append(got.shown, saying{page: p})
	} else {
		got.shown = append(got.shown, saying{plain: p})
	}
	return nil
}

// choose takes the text and the richest form of alternatives. Files that programs put
// among them go along.
func (got *contents) choose(p *part) error {
	var plain *part
	best, files := -1, len(got.attached)
	for i, child := range p.children {
		switch {
		case child.kind == "text/plain" && child.isText():
			plain = child
		case len(child.children) > 0 || child.kind == "text/html" && child.isText():
			best = i
		case child.attached || !strings.HasPrefix(child.kind, "text/"):
			got.attached = append(got.attached, child)
		}
	}
	if best < 0 && plain == nil {
		if len(p.children) == 0 || len(got.attached) > files {
			return nil
		}
		return mail.Refuse(554, "5.6.0", "the mail has its text neither as plain text nor as HTML, and so it cannot be put into a template; send it as one of those")
	}
	if plain != nil {
		if err := plain.read(); err != nil {
			return err
		}
	}
	if best < 0 {
		got.shown = append(got.shown, saying{plain: plain})
		return nil
	}
	before := len(got.shown)
	if err := got.take(p.children[best]); err != nil {
		return err
	}
	for i := before; i < len(got.shown); i++ { // the text is that of all of them
		if got.shown[i].page != nil && plain != nil && !showsNothing(plain.text.src) {
			got.shown[i].plain, plain = plain, nil
		}
	}
	if plain != nil && len(got.shown) == before { // the richest form is files alone
		got.shown = append(got.shown, saying{plain: plain})
	}
	return nil
}

// read is decode of a part that must be readable.
func (p *part) read() error {
	if p.text == nil {
		if err := p.decode(); err != nil {
			return err
		}
	}
	if p.text == nil {
		return mail.Refuse(554, "5.6.0", "%s cannot be read, and so not be put into a template; send it as UTF-8", p.where())
	}
	return nil
}

// says tells whether the author wrote anything.
func (got *contents) says() bool {
	for _, s := range got.shown {
		if s.plain != nil && !showsNothing(s.plain.text.src) {
			return true
		}
		if s.page == nil {
			continue
		}
		if text, ok := readHTML(s.page.text.src, ""); !ok || !showsNothing(text) {
			return true
		}
	}
	return len(got.related) > 0
}

// bodyHTML is the inside of the mail's pages, their style sheets and namespaces.
func (got *contents) bodyHTML() (body, styles, spaces string, err error) {
	var all strings.Builder
	sheets := map[string]string{} // class by style sheet
	for _, s := range got.shown {
		if s.page == nil {
			all.WriteString(paragraphs(s.plain.text))
			continue
		}
		class := fmt.Sprintf("mail-text-%d", len(sheets)+1)
		in, err := insideOf(s.page.text.src, class, s.page.where())
		if err != nil {
			return "", "", "", err
		}
		switch known := sheets[in.css]; {
		case in.css == "":
			class = ""
		case known != "":
			class = known // the same sheet again
		default:
			sheets[in.css], styles = class, styles+in.sheets
		}
		spaces = cmp.Or(spaces, in.spaces)
		all.WriteString(in.framed(class))
	}
	return all.String(), styles, spaces, nil
}

// bodyText is the mail's text, as source; where the author sent HTML alone it is
// made from that.
func (c *compiler) bodyText(got *contents) (string, error) {
	var all []string
	for _, s := range got.shown {
		if s.plain != nil {
			all = append(all, strings.TrimSpace(s.plain.text.unflowed()))
			continue
		}
		fills := c.fills
		t := &text{src: s.page.text.src, html: true, changed: true}
		pieces, err := c.htmlPieces(t, s.page.where())
		if err != nil {
			return "", err
		}
		t.pieces, c.fills = pieces, fills
		if text, ok := c.readable(t); ok {
			all = append(all, lines(text))
		}
	}
	return strings.Join(all, "\r\n\r\n"), nil
}

// paragraphs makes HTML of plain text: an empty line begins a paragraph.
func paragraphs(t *text) string {
	src := t.unflowed()
	src = wrappedName.ReplaceAllStringFunc(src, func(p string) string { return strings.Join(strings.Fields(p), " ") })
	var out strings.Builder
	for block := range strings.SplitSeq(strings.TrimSpace(src), "\r\n\r\n") {
		if block = strings.Trim(block, "\r\n"); block != "" {
			tag := "<p>"
			if longWord.MatchString(block) { // on a telephone it would make the page wider
				tag = `<p style="word-wrap:break-word">`
			}
			out.WriteString(tag + strings.ReplaceAll(withLinks(block), "\r\n", "<br>\r\n") + "</p>\r\n")
		}
	}
	return out.String()
}

// unflowed joins the lines of format=flowed (RFC 3676 §4), as a template's own text
// does not have it.
func (t *text) unflowed() string {
	if !t.flowed {
		return t.src
	}
	var out strings.Builder
	open, depth := false, 0
	for line := range strings.SplitSeq(t.src, "\r\n") {
		words := strings.TrimLeft(line, ">")
		quotes := len(line) - len(words)
		mark := line[:quotes]
		if stuffed := strings.TrimPrefix(words, " "); stuffed != words { // space-stuffing
			if words = stuffed; quotes > 0 {
				mark += " "
			}
		}
		if open = open && quotes == depth && words != "-- "; !open && out.Len() > 0 {
			out.WriteString("\r\n")
		}
		if !open {
			out.WriteString(mark)
		}
		open, depth = strings.HasSuffix(words, " ") && words != "-- ", quotes
		if open && t.delsp {
			words = words[:len(words)-1]
		}
		out.WriteString(words)
	}
	return out.String()
}

var (
	// wrappedName is a placeholder in text, where a line may end in it.
	wrappedName = regexp.MustCompile(`[{｛]{2}[^{}｛｝]*[}｝]{2}`)
	longWord    = regexp.MustCompile(`(?i)\S{40}|://|unsubscribe|preferences`)
	linkInText  = regexp.MustCompile(`(?i)https?://[^\s<>"]*[^\s<>".,;:!?)\]'”’]`)
	// inAddress is what a mail program makes of a placeholder in an address.
	inAddress = regexp.MustCompile(`(?i)%7b%7b([^\s<>"]*?)%7d%7d`)
)

// withLinks escapes text and makes links of its web addresses.
func withLinks(s string) string {
	var out strings.Builder
	at := 0
	for _, m := range linkInText.FindAllStringIndex(s, -1) {
		address := s[m[0]:m[1]]
		shown := inAddress.ReplaceAllStringFunc(address, func(p string) string {
			inner, err := url.PathUnescape(p)
			if err != nil {
				return p
			}
			return inner
		})
		if link := strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(shown, "http://"), "https://"), "/"); wrappedName.FindString(link) == link {
			shown = link // all of it is a placeholder
		}
		out.WriteString(html.EscapeString(s[at:m[0]]) + `<a href="` + html.EscapeString(address) + `">` + html.EscapeString(shown) + "</a>")
		at = m[1]
	}
	return out.String() + html.EscapeString(s[at:])
}
