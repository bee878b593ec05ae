package expand

import (
	"embed"
	"strings"
)

// footers hold the paragraph that goes under a mail which nowhere shows the
// unsubscribe link, by language and kind of text. They are compiled with the mail.
//
//go:embed footer
var footers embed.FS

func footerText(language, kind string) (string, error) {
	if language != "ko" {
		language = "en"
	}
	b, err := footers.ReadFile("footer/" + language + "." + kind)
	return lines(string(b)), err
}

// footed are the parts that the reader sees at the end of the mail: of
// alternatives all, else the last that has text.
func footed(p *part) []*part {
	switch {
	case p.text != nil:
		return []*part{p}
	case p.kind == "multipart/alternative":
		var all []*part
		for _, child := range p.children {
			all = append(all, footed(child)...)
		}
		return all
	case p.kind == "multipart/related":
		return footed(p.root())
	}
	for i := len(p.children) - 1; i >= 0; i-- {
		if parts := footed(p.children[i]); len(parts) > 0 {
			return parts
		}
	}
	return nil
}

// root is the part that a multipart/related shows (RFC 2387 §3.2).
func (p *part) root() *part {
	for _, child := range p.children {
		if start := p.params["start"]; start != "" && child.header.text("Content-ID") == start {
			return child
		}
	}
	return p.children[0]
}

// addFooter puts the unsubscribe paragraph into the text of p.
func (c *compiler) addFooter(p *part) error {
	kind := "txt"
	if p.text.html {
		kind = "html"
	}
	footer, err := footerText(c.in.List.Language, kind)
	if err != nil {
		return err
	}
	t := p.text
	if t.html {
		at := bodyEnd(t.src)
		t.src = t.src[:at] + footer + t.src[at:]
		return nil
	}
	if t.src = strings.TrimRight(t.src, "\r\n"); t.src != "" {
		t.src += "\r\n"
	}
	t.src += footer
	return nil
}
