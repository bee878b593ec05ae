package expand

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// alternatives gives each HTML that the reader is shown a text that says the same,
// where its author sent none. It comes after the texts are compiled, so that both
// hold the same placeholders. HTML of which no text can be made stays alone.
func (c *compiler) alternatives(root *part) {
	a := alternator{c: c, footed: linkless(root), boundaries: boundaries(root)}
	if c.in.List.Advertising {
		a.footed = footed(root)
	}
	if w := a.visit(root); w != root {
		inner := *root
		inner.header, inner.head = contentFields(root)
		w.children[len(w.children)-1] = &inner
		*root = *w
	}
}

// alternator walks a mail's parts.
type alternator struct {
	c          *compiler
	footed     []*part // where the footer will stand
	boundaries []string
	made       int // multiparts
}

// visit gives what stands in the place of p: p itself, or a new multipart around
// it.
func (a *alternator) visit(p *part) *part {
	switch {
	case isShownHTML(p):
		return a.wrap(p, p)
	case p.kind == "multipart/alternative":
		a.complete(p)
	case p.kind == "multipart/related" && len(p.children) > 0:
		root := p.root()
		if isShownHTML(root) {
			return a.wrap(p, root)
		}
		p.children[slices.Index(p.children, root)] = a.visit(root)
	default:
		for i, child := range p.children {
			p.children[i] = a.visit(child)
		}
	}
	return p
}

// isShownHTML says whether p is HTML of the mail itself that could be read.
func isShownHTML(p *part) bool { return p.kind == "text/html" && p.text != nil }

// complete puts a text first into a multipart/alternative that has none, or an
// empty one. Where more than one HTML is shown there the text is of all.
func (a *alternator) complete(p *part) {
	var shown []*part
	blank := -1
	for i, child := range p.children {
		switch plain := plainOf(child); {
		case plain == child && child.text != nil && showsNothing(child.text.src):
			blank = i
		case plain != nil:
			return
		}
		shown = append(shown, shownHTML(child)...)
	}
	text := a.text(shown)
	switch {
	case text == nil || blank >= 0 && text.text.src == "":
	case blank >= 0:
		p.children[blank] = text
	default:
		p.children = slices.Insert(p.children, 0, text)
		p.gaps = slices.Insert(p.gaps, 1, []byte("\r\n--"+p.params["boundary"]+"\r\n"))
	}
}

// plainOf finds a text/plain that is shown in p, or nil.
func plainOf(p *part) *part {
	if p.kind == "text/plain" && (p.text != nil || len(p.children) == 0 && !p.attached) {
		return p
	}
	for _, child := range p.children {
		if found := plainOf(child); found != nil {
			return found
		}
	}
	return nil
}

// shownHTML are the HTML parts that are shown in p, in order.
func shownHTML(p *part) []*part {
	switch {
	case isShownHTML(p):
		return []*part{p}
	case p.kind == "multipart/related" && len(p.children) > 0:
		return shownHTML(p.root())
	}
	var all []*part
	for _, child := range p.children {
		all = append(all, shownHTML(child)...)
	}
	return all
}

func showsNothing(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return !unicode.IsSpace(r) && !invisible(r) }) < 0
}

// wrap makes a multipart/alternative of p with the text of shown, which p shows.
func (a *alternator) wrap(p, shown *part) *part {
	text := a.text([]*part{shown})
	if text == nil {
		return p
	}
	a.made++
	b := a.c.boundary(fmt.Sprintf("text%d", a.made), text.text.src)
	whole := multipart("alternative", b, text, p)
	whole.number = p.number
	return whole
}

func boundaries(p *part) []string {
	var all []string
	if len(p.children) > 0 {
		all = append(all, p.params["boundary"])
	}
	for _, child := range p.children {
		all = append(all, boundaries(child)...)
	}
	return all
}

// contentFields is the header of a part that was a mail: of the mail's fields those
// that are about its content.
func contentFields(p *part) (header, []byte) {
	var h header
	var head []byte
	for _, f := range p.header {
		if oneOf(f.name, topFields()) {
			h, head = append(h, f), append(head, f.raw...)
		}
	}
	return h, append(head, "\r\n"...)
}

// text makes the text part for HTML parts, compiled like one that the author wrote;
// nil where that cannot be. One without a word is made only where the unsubscribe
// paragraph joins it.
func (a *alternator) text(shown []*part) *part {
	c := a.c
	var all []string
	for _, p := range shown {
		s, ok := c.readable(p.text)
		if !ok {
			return nil
		}
		if s != "" {
			all = append(all, s)
		}
	}
	footed := slices.ContainsFunc(shown, func(p *part) bool { return slices.Contains(a.footed, p) })
	if len(shown) == 0 || len(all) == 0 && !footed {
		return nil
	}
	src := lines(strings.Join(all, "\n\n"))
	if src != "" {
		src += "\r\n"
	}
	for _, b := range a.boundaries {
		if strings.Contains(src, "--"+b) {
			return nil
		}
	}
	raw := []byte("Content-Type: text/plain; charset=utf-8\r\n\r\n")
	h, _, _ := readHeader(raw)
	p := &part{
		number: shown[0].number, kind: "text/plain", params: map[string]string{"charset": "utf-8"}, header: h, head: raw,
		body: []byte(src), text: &text{src: src},
	}
	fills := c.fills
	if err := c.compileText(p); err != nil || c.fills > maxPlaceholders-spare {
		c.fills = fills
		return nil
	}
	return p
}

// spare is how many placeholders are left for footers.
const spare = 100

// readable is the text of an HTML text, as source: with placeholders for its slots.
func (c *compiler) readable(t *text) (string, bool) {
	pieces := t.pieces
	if !t.changed {
		pieces = []piece{{text: t.src}}
	}
	mark := "xslot"
	for slices.ContainsFunc(pieces, func(p piece) bool { return strings.Contains(p.text, mark) }) {
		if mark += "x"; len(mark) > maxMark {
			return "", false // somebody tries it on
		}
	}
	s := slotted{c: c, mark: mark, numbers: map[string]int{}}
	for _, p := range pieces {
		if !s.add(p) {
			return "", false
		}
	}
	text, ok := readHTML(s.html.String(), mark)
	return s.source(text), ok
}

// maxMark is the longest mark that is tried, in octets.
const maxMark = 16

// slotted writes pieces of HTML as one text in which a token stands for each slot,
// and the tokens as placeholders again.
type slotted struct {
	c       *compiler
	mark    string // begins each token; stands nowhere else
	html    strings.Builder
	numbers map[string]int // placeholders and their tokens
	sources []string       // the placeholders
}

func (s *slotted) add(p piece) bool {
	if p.slot == nil {
		s.html.WriteString(p.text)
		return true
	}
	source, ok := s.c.placeholder(*p.slot)
	if !ok {
		return false
	}
	n, known := s.numbers[source]
	if !known {
		n = len(s.sources)
		s.numbers[source], s.sources = n, append(s.sources, source)
	}
	s.html.WriteString(s.mark + strconv.Itoa(n) + "z")
	return true
}

// placeholder writes a slot as a placeholder of a text. It always has a fallback,
// be it an empty one: the HTML has said already where a value is required.
func (c *compiler) placeholder(s slot) (string, bool) {
	name := ""
	switch {
	case s.Field >= 0:
		name = c.out.Fields[s.Field]
	case s.Field == slotEmail:
		name = FieldEmail
	case s.Field == slotLink:
		name = FieldUnsubscribe
	case s.Field == slotPrefs:
		name = FieldPreferences
	default:
		return "", false
	}
	inner := name + "|" + s.Fallback
	if s.As == asURL {
		if p := "%7B%7B" + string(appendPercent(nil, inner, "")) + "%7D%7D"; percentPlaceholder(p) == len(p) {
			return p, true
		}
	}
	return "{{" + inner + "}}", true
}

// source puts the placeholders back and makes sure that nothing else looks like
// one.
func (s *slotted) source(text string) string {
	var out strings.Builder
	for text != "" {
		fixed, rest, found := strings.Cut(text, s.mark)
		number, after, ok := strings.Cut(rest, "z")
		n, err := strconv.Atoi(number)
		if found = found && ok && err == nil && n < len(s.sources); !found {
			writeLiteral(&out, text, false)
			break
		}
		writeLiteral(&out, fixed, strings.HasPrefix(s.sources[n], "{"))
		out.WriteString(s.sources[n])
		text = after
	}
	return out.String()
}

// writeLiteral writes text of which no reader of placeholders takes any for one.
// before: a brace follows.
func writeLiteral(out *strings.Builder, text string, before bool) {
	for text != "" {
		i := strings.IndexAny(text, "{｛%")
		if i < 0 {
			break
		}
		out.WriteString(text[:i])
		n := braces(text[i:], before)
		if percentPlaceholder(text[i:]) > 0 {
			n = len("%7B%7B")
		}
		if text = text[i:]; n > 0 {
			out.WriteString(`{{"` + text[:n] + `"}}`)
			text = text[n:]
			continue
		}
		_, n = utf8.DecodeRuneInString(text)
		out.WriteString(text[:n])
		text = text[n:]
	}
	out.WriteString(text)
}

// braces is the length of the opening braces at the start of s, if they are more
// than one or, at its end, a placeholder follows.
func braces(s string, before bool) int {
	rest := strings.TrimLeftFunc(s, func(r rune) bool { return narrow(r) == '{' || invisible(r) })
	n := len(s) - len(rest)
	if n > len("{") && strings.IndexFunc(s[1:n], func(r rune) bool { return narrow(r) == '{' }) >= 0 || n > 0 && rest == "" && before {
		return n
	}
	return 0
}
