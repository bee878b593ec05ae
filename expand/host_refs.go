package expand

import (
	"html"
	"net/url"
	"regexp"
	"slices"
	"strings"

	xhtml "golang.org/x/net/html"
)

// look finds what refers to the pictures. In the HTML that is shown addresses can be
// made links; what else can show a picture (a page that is attached, a style sheet,
// an SVG) keeps those that it mentions. Text that calls a picture by its name, as
// Outlook's does, shows none, and a mail inside the mail has its own.
func (h *hosting) look(p *part) {
	for _, child := range p.children {
		h.look(child)
	}
	switch {
	case len(p.children) > 0 || p.kind == "text/plain":
	case p.text != nil:
		h.page(p.text, 0, len(p.text.src))
	case strings.HasPrefix(p.kind, "text/") || strings.HasSuffix(p.kind, "xml"):
		octets, err := decodeTransfer(p.coding, p.body)
		if err != nil {
			octets = p.body
		}
		h.keep(string(octets))
	}
}

// page looks at HTML from octet from to octet to.
func (h *hosting) page(t *text, from, to int) {
	at := from
	_ = eachToken(t.src[from:to], func(k token) error {
		k.start, k.end = k.start+from, k.end+from
		at = k.end
		stretch := t.src[k.start:k.end]
		switch {
		case k.hidden:
			h.keep(stretch)
		case k.kind == xhtml.TextToken:
			if strings.Contains(stretch, "<") { // <noscript> and its like, whose inside some readers show
				h.keep(stretch)
			}
		case k.kind == xhtml.CommentToken:
			h.comment(t, k)
		case k.kind == xhtml.StartTagToken || k.kind == xhtml.SelfClosingTagToken:
			for _, a := range attributes(stretch, k.start) {
				h.attribute(t, a)
			}
		}
		return nil
	})
	h.keep(t.src[at:to]) // a tag that is cut off
}

// comment looks into what Outlook shows of comments.
func (h *hosting) comment(t *text, k token) {
	stretch := t.src[k.start:k.end]
	if m := forOutlook.FindStringSubmatchIndex(stretch); m != nil {
		h.page(t, k.start+m[2], k.start+m[3])
	} else if strings.HasPrefix(stretch, "<!--[if") {
		h.keep(stretch)
	}
}

// pictures are the attributes by which a reader sees one; VML's v:imagedata and
// v:fill have src as well.
func pictures() []string { return []string{"src", "background", "poster"} }

// attribute looks at one attribute. An address that is a picture's becomes a link
// wherever it stands (Word repeats it in o:href, Outlook on the web in originalsrc).
func (h *hosting) attribute(t *text, a attribute) {
	value := t.src[a.start:a.end]
	switch {
	case oneOf(a.name, captions()):
		return
	case a.name == "style" && a.quoted:
		h.style(t, a)
		return
	}
	p := h.named(html.UnescapeString(value))
	if p == nil {
		h.keep(value)
		return
	}
	as := inAttribute
	if !a.quoted {
		as = withQuotes
	}
	p.refs = append(p.refs, reference{t, a.start, a.end, as})
	p.shown = p.shown || oneOf(a.name, pictures())
}

// styleURL finds url() in CSS; the address is one of the groups.
var styleURL = regexp.MustCompile(`(?i)\burl\(\s*(?:"([^"]*)"|'([^']*)'|([^"'()\s]*))\s*\)`)

// style looks at the CSS of a style attribute.
func (h *hosting) style(t *text, a attribute) {
	var css strings.Builder
	var at []int // where each octet of css stands in the source
	for g := range glyphs(t.src[a.start:a.end], a.start) {
		n, _ := css.WriteRune(g.r)
		at = append(at, slices.Repeat([]int{g.start}, n)...)
	}
	at = append(at, a.end)
	s, done := css.String(), 0
	for _, m := range styleURL.FindAllStringSubmatchIndex(s, -1) {
		for i := 2; i < len(m); i += 2 {
			if m[i] < 0 {
				continue
			}
			if p := h.named(s[m[i]:m[i+1]]); p != nil {
				p.refs = append(p.refs, reference{t, at[m[i]], at[m[i+1]], inStyle})
				p.shown = true
				h.keep(s[done:m[i]])
				done = m[i+1]
			}
		}
	}
	h.keep(s[done:])
}

// named is the picture that a whole cid address names (RFC 2392): the id of the part,
// percent-encoded or as programs without that care write it; nil for none.
func (h *hosting) named(address string) *picture {
	address = strings.TrimSpace(strings.Map(dropBreak, address))
	if !hasPrefixFold(address, "cid:") {
		return nil
	}
	ids := []string{foldID(address[len("cid:"):])}
	if id, err := url.PathUnescape(address[len("cid:"):]); err == nil {
		ids = append(ids, foldID(id))
	}
	for _, id := range ids {
		if i := slices.IndexFunc(h.pictures, func(p *picture) bool { return p.id == id }); i >= 0 {
			return h.pictures[i]
		}
	}
	return nil
}

// dropBreak leaves out what readers leave out of addresses.
func dropBreak(r rune) rune {
	if r == '\r' || r == '\n' || r == '\t' {
		return -1
	}
	return r
}

// keep has the pictures stay that s mentions, however it is written: rather one too
// many than one that is missing.
func (h *hosting) keep(s string) {
	if !strings.Contains(strings.ToLower(s), "cid") {
		return
	}
	plain := strings.ToLower(strings.Map(func(r rune) rune {
		if strings.ContainsRune(`<>\`, r) {
			return -1
		}
		return dropBreak(r)
	}, html.UnescapeString(s)))
	var decoded strings.Builder
	for _, g := range percentDecoded(slices.Collect(glyphs(plain, 0))) {
		if g.r != '<' && g.r != '>' {
			decoded.WriteRune(g.r)
		}
	}
	for _, p := range h.pictures {
		mark := "cid:" + p.id
		p.stays = p.stays || strings.Contains(plain, mark) || strings.Contains(strings.ToLower(decoded.String()), mark)
	}
}
