package expand

import (
	"cmp"
	"html"
	"iter"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	xhtml "golang.org/x/net/html"

	"postern/mail"
)

// edit puts pieces in the place of a stretch of the source.
type edit struct {
	start, end int
	pieces     []piece
}

// apply makes the edits of s, which do not overlap.
func apply(s string, edits []edit) []piece {
	slices.SortStableFunc(edits, func(a, b edit) int { return cmp.Compare(a.start, b.start) })
	var out []piece
	at := 0
	for _, e := range edits {
		if e.start > at {
			out = append(out, piece{text: s[at:e.start]})
		}
		out = append(out, e.pieces...)
		at = max(at, e.end)
	}
	if at < len(s) {
		out = append(out, piece{text: s[at:]})
	}
	return out
}

// edits resolves what f has found: the value stands where the name starts, so that
// it looks as the name did; the other characters go, and the tags between them
// stay, so that they balance.
func (c *compiler) edits(f *finder, as form) ([]edit, error) {
	if err := f.finish(); err != nil && !c.inspector.takes(f.at, err) {
		return nil, err
	}
	if err := checkForeign(f.seen.String(), f.where, c.in.Vocabulary); err != nil && !c.inspector.takes(-1, err) {
		return nil, err
	}
	var edits []edit
	for _, p := range f.found {
		inText := as == asHTML && !f.attribute
		if as == asText {
			p.name = 0 // nothing stands between the characters of text
		}
		how := as
		switch {
		case as == asText && p.inURL:
			how = asURL
		case as == asURL && p.first && c.isLink(p.inner):
			how = asHTML
		case as == asURL && p.first && len(p.scheme) == 0:
			how = asLink
		}
		link := c.link
		if c.wrapping != nil {
			c.wrapping.inline = f.attribute || p.tagless
		}
		put, err := c.fill(p.inner, f.where, how)
		if c.inspector.meets(p.glyphs[0].start, p.inner, err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if put.keep {
			continue
		}
		c.link = c.link && !p.tagless || link
		if put.slot != nil && put.slot.Field <= slotLink && len(p.scheme) > 0 {
			for _, around := range append(p.scheme, p.slash...) {
				edits = append(edits, edit{around.start, around.end, nil})
			}
		}
		for i, g := range p.glyphs {
			e := edit{start: g.start, end: g.end}
			if i == p.name {
				e.pieces = []piece{put}
				if inText && !p.linked && !p.tagless && put.slot != nil && put.slot.Field <= slotLink { // else there is nothing to click on
					e.pieces = []piece{{text: `<a href="`}, put, {text: `">`}, put, {text: `</a>`}}
				}
			}
			edits = append(edits, e)
		}
	}
	return edits, nil
}

// htmlPieces compiles HTML. Only text, and the attributes of links and captions,
// hold placeholders; scripts, styles and comments are left alone, but for what
// Outlook shows of conditional ones. A charset that the HTML names becomes utf-8.
func (c *compiler) htmlPieces(t *text, where string) ([]piece, error) {
	edits, err := c.htmlEdits(t.src, 0, len(t.src), where)
	return apply(t.src, edits), err
}

// htmlEdits compiles the HTML from octet from to octet to.
func (c *compiler) htmlEdits(src string, from, to int, where string) ([]edit, error) {
	f := &finder{where: where}
	f.seen.Grow((to - from) / 2)
	var edits []edit
	err := eachToken(src[from:to], func(k token) error {
		k.start, k.end = k.start+from, k.end+from
		switch {
		case k.kind == xhtml.TextToken && !k.hidden:
			for g := range glyphs(src[k.start:k.end], k.start) {
				if f.feed(g); f.err != nil && c.inspector == nil {
					return f.err
				}
			}
		case k.hidden:
		case k.kind == xhtml.CommentToken:
			e, err := c.conditional(src, k, where)
			edits = append(edits, e...)
			return err
		case k.kind == xhtml.StartTagToken || k.kind == xhtml.SelfClosingTagToken:
			f.linked = f.linked || k.name == "a" && hasHref(src[k.start:k.end])
			f.tagless = isTagless(k.name)
			e, err := c.tag(src, k, where)
			if err != nil {
				return err
			}
			edits = append(edits, e...)
			fallthrough
		case k.kind == xhtml.EndTagToken:
			if isBlock(k.name) {
				f.stop()
			}
			if k.kind == xhtml.EndTagToken {
				f.linked, f.tagless = f.linked && k.name != "a", false
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	found, err := c.edits(f, asHTML)
	return append(edits, found...), err
}

// forOutlook is a conditional comment, which Outlook for Windows shows and nobody
// else: newsletters put their buttons there.
var forOutlook = regexp.MustCompile(`(?is)^<!--\[if\s[^\]]*\]>(.*)<!\[endif\]-->$`)

// conditional compiles the inside of a conditional comment. An unsubscribe link
// there is not one that every reader sees.
func (c *compiler) conditional(src string, k token, where string) ([]edit, error) {
	m := forOutlook.FindStringSubmatchIndex(src[k.start:k.end])
	if m == nil {
		return nil, nil
	}
	link := c.link
	if c.wrapping != nil {
		c.wrapping.comment = true
		defer func() { c.wrapping.comment = false }()
	}
	edits, err := c.htmlEdits(src, k.start+m[2], k.start+m[3], where)
	c.link = link
	return edits, err
}

// token is a stretch of HTML.
type token struct {
	kind       xhtml.TokenType
	name       string // of a tag, lower case
	hidden     bool   // of a script or style, or in a template, whose braces are a script's
	start, end int
}

// eachToken calls f for each token of s; the stretches follow on each other.
func eachToken(s string, f func(token) error) error {
	z := xhtml.NewTokenizer(strings.NewReader(s))
	hidden, templates := false, 0
	for at := 0; ; {
		k := token{kind: z.Next(), start: at, hidden: hidden || templates > 0}
		if k.kind == xhtml.ErrorToken {
			return nil
		}
		at += len(z.Raw())
		if k.end = at; k.kind == xhtml.StartTagToken || k.kind == xhtml.EndTagToken || k.kind == xhtml.SelfClosingTagToken {
			name, _ := z.TagName()
			if k.name = string(name); oneOf(k.name, []string{"noscript", "noframes", "noembed", "iframe"}) {
				z.NextIsNotRawText() // readers without scripts and frames show tags there, and a value must fit them
			}
			hidden = k.kind != xhtml.EndTagToken && (k.name == "script" || k.name == "style")
			if k.name == "template" {
				templates = max(0, templates+map[xhtml.TokenType]int{xhtml.StartTagToken: 1, xhtml.EndTagToken: -1}[k.kind])
			}
		}
		if err := f(k); err != nil {
			return err
		}
	}
}

// isBlock names the elements that end a line, and so a placeholder.
func isBlock(name string) bool {
	switch name {
	case "address", "article", "aside", "blockquote", "body", "br", "caption", "center", "dd", "div", "dl", "dt", "fieldset",
		"figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "head", "header", "hr", "html", "li", "main", "nav",
		"ol", "option", "p", "pre", "section", "select", "table", "tbody", "td", "textarea", "tfoot", "th", "thead", "title", "tr", "ul":
		return true
	}
	return false
}

// isTagless names the elements in which a tag is read as it stands, or not at all.
func isTagless(name string) bool { return name == "title" || name == "textarea" || name == "option" }

// entity is a character reference; the semicolon may be missing.
var entity = regexp.MustCompile(`^&(#0*[0-9]{1,8};?|#[xX]0*[0-9a-fA-F]{1,6};?|[A-Za-z][A-Za-z0-9]{1,31};?)`)

// glyphs are the characters of HTML text that starts at octet base of the source.
func glyphs(s string, base int) iter.Seq[glyph] {
	return func(yield func(glyph) bool) {
		for i := 0; i < len(s); {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r == '&' {
				if ref := entity.FindString(s[i:min(len(s), i+40)]); ref != "" {
					if v := html.UnescapeString(ref); utf8.RuneCountInString(v) == 1 {
						r, _ = utf8.DecodeRuneInString(v)
						size = len(ref)
					}
				}
			}
			if !yield(glyph{r, base + i, base + i + size}) {
				return
			}
			i += size
		}
	}
}

// tag compiles the attributes of a start tag.
func (c *compiler) tag(src string, k token, where string) ([]edit, error) {
	var edits []edit
	for _, a := range attributes(src[k.start:k.end], k.start) {
		value := src[a.start:a.end]
		var e []edit
		var err error
		link := c.link
		switch {
		case k.name == "meta" && (a.name == "content" || a.name == "charset"):
			e = mendCharset(value, a)
		case oneOf(a.name, links()):
			e, err = c.attribute(value, a.start, where+", in a link", linkForm(value))
		case oneOf(a.name, captions()):
			e, err = c.attribute(value, a.start, where+", in a picture's text", asHTML)
		}
		if err != nil {
			return nil, err
		}
		c.link = link || c.link && opens(k.name, a.name)
		if len(e) > 0 && !a.quoted {
			quote := []piece{{text: `"`}}
			e = slices.Concat([]edit{{a.start, a.start, quote}}, e, []edit{{a.end, a.end, quote}})
		}
		edits = append(edits, e...)
	}
	return edits, nil
}

// opens says whether a reader can open the address in an attribute.
func opens(tag, attribute string) bool {
	return strings.HasSuffix(attribute, "href") && tag != "link" && tag != "base" || strings.Contains(attribute, "action")
}

func hasHref(tag string) bool {
	return slices.ContainsFunc(attributes(tag, 0), func(a attribute) bool { return a.name == "href" })
}

// links are the attributes that hold an address, captions those that people read.
func links() []string {
	return []string{"href", "src", "background", "action", "poster", "srcset", "xlink:href", "formaction", "action-xhr"}
}

func captions() []string {
	return []string{"alt", "title", "aria-label", "summary", "placeholder", "value", "label"}
}

func linkForm(value string) form {
	if hasPrefixFold(strings.TrimSpace(value), "mailto:") {
		return asMailto
	}
	return asURL
}

// maxAttribute is the longest attribute that is searched, in octets. Pictures that
// stand in the HTML itself are longer, links are not.
const maxAttribute = 16 << 10

// attribute compiles one attribute's value, which starts at octet at.
func (c *compiler) attribute(value string, at int, where string, as form) ([]edit, error) {
	if len(value) > maxAttribute {
		if strings.Contains(value, "{{") {
			return nil, mail.Refuse(550, "5.6.0", "in %s: a placeholder stands in an attribute of more than %d octets; write a shorter one", where, maxAttribute)
		}
		return nil, nil
	}
	gs, marks := slices.Collect(glyphs(value, at)), "{|"
	if as != asHTML {
		gs, marks = percentDecoded(gs), "{|%<«" // a % that encodes nothing is another program's
	}
	if !slices.ContainsFunc(gs, func(g glyph) bool { return strings.ContainsRune(marks, narrow(g.r)) }) {
		return nil, nil
	}
	f := &finder{where: where, attribute: true}
	for _, g := range gs {
		f.feed(g)
	}
	edits, err := c.edits(f, as)
	if err == nil && len(edits) > 0 && as == asURL && isScript(value) {
		return nil, mail.Refuse(550, "5.6.0", "in %s: a placeholder stands in a script, where a value could do anything; write the address of a page (https://…)", where)
	}
	if i := slices.IndexFunc(f.found, func(p found) bool { return c.isLink(p.inner) }); err == nil && i >= 0 && isMadeUp(value) && c.wrapping == nil {
		put, err := c.fill(f.found[i].inner, where, asHTML)
		return []edit{{at, at + len(value), []piece{put}}}, err
	}
	return edits, err
}

// isScript knows the addresses of which the percent-encoding is undone before they
// are run or shown as a page of their own.
func isScript(address string) bool {
	for _, scheme := range []string{"javascript:", "vbscript:", "data:"} {
		if hasPrefixFold(strings.TrimSpace(address), scheme) {
			return true
		}
	}
	return false
}

// isMadeUp knows the addresses that Word and Apple Mail make of one without a
// scheme, as {{Unsubscribe}} is one: they lead nowhere outside the author's machine.
func isMadeUp(address string) bool {
	for _, scheme := range []string{"file:", "applewebdata:", "x-webdoc:", "about:", "http:///"} {
		if hasPrefixFold(strings.TrimSpace(address), scheme) {
			return true
		}
	}
	return false
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

// percentDecoded joins the glyphs of percent-encoded characters.
func percentDecoded(gs []glyph) []glyph {
	out := make([]glyph, 0, len(gs))
	for i := 0; i < len(gs); {
		var octets []byte
		for j := i; j+2 < len(gs) && gs[j].r == '%' && len(octets) < utf8.UTFMax; j += 3 {
			hi, lo := unhexRune(gs[j+1].r), unhexRune(gs[j+2].r)
			if hi < 0 || lo < 0 {
				break
			}
			octets = append(octets, byte(hi<<4|lo))
		}
		r, size := utf8.DecodeRune(octets)
		if len(octets) == 0 || r == utf8.RuneError {
			out = append(out, gs[i])
			i++
			continue
		}
		out = append(out, glyph{r, gs[i].start, gs[i+3*size-1].end})
		i += 3 * size
	}
	return out
}

func unhexRune(r rune) int {
	if r >= utf8.RuneSelf {
		return -1
	}
	return unhex(byte(r))
}

var metaCharset = regexp.MustCompile(`(?i)charset\s*=\s*["']?([^\s;"'>]+)`)

func mendCharset(value string, a attribute) []edit {
	if a.name == "charset" {
		return []edit{{a.start, a.end, []piece{{text: "utf-8"}}}}
	}
	if m := metaCharset.FindStringSubmatchIndex(value); m != nil {
		return []edit{{a.start + m[2], a.start + m[3], []piece{{text: "utf-8"}}}}
	}
	return nil
}

// attribute is one of a tag; start and end are of its value in the source, without
// quotes.
type attribute struct {
	name       string
	start, end int
	quoted     bool
}

// attributes reads those of a raw tag as HTML's tokenizer does.
func attributes(tag string, base int) []attribute {
	var all []attribute
	i := 1 + strings.IndexFunc(tag[1:], func(r rune) bool { return isSpaceOr(r, "/>") })
	for i > 0 && i < len(tag) {
		i += skip(tag[i:], " \t\r\n\f/")
		if i >= len(tag) || tag[i] == '>' {
			break
		}
		n := 1 + until(tag[i+1:], "/>=")
		a := attribute{name: strings.ToLower(tag[i : i+n])}
		i += n
		j := i + skip(tag[i:], " \t\r\n\f")
		if j >= len(tag) || tag[j] != '=' {
			continue
		}
		i = j + 1 + skip(tag[j+1:], " \t\r\n\f")
		if i >= len(tag) {
			break
		}
		if q := tag[i]; q == '"' || q == '\'' {
			end := strings.IndexByte(tag[i+1:], q)
			if end < 0 {
				break
			}
			a.start, a.end, a.quoted = i+1, i+1+end, true
			i = a.end + 1
		} else {
			a.start, a.end = i, i+until(tag[i:], ">")
			i = a.end
		}
		a.start, a.end = a.start+base, a.end+base
		all = append(all, a)
	}
	return all
}

func isSpaceOr(r rune, marks string) bool {
	return unicode.IsSpace(r) || strings.ContainsRune(marks, r)
}

func skip(s, set string) int { return len(s) - len(strings.TrimLeft(s, set)) }

// until is how much of s stands before a blank or one of marks.
func until(s, marks string) int {
	if i := strings.IndexFunc(s, func(r rune) bool { return r < utf8.RuneSelf && isSpaceOr(r, marks) }); i >= 0 {
		return i
	}
	return len(s)
}

var bodyTag = regexp.MustCompile(`(?i)<body`)

// htmlCharset is what the HTML says of itself, for a part whose type names none.
func htmlCharset(b []byte) string {
	head := b[:min(len(b), 4096)]
	if at := bodyTag.FindIndex(head); at != nil {
		head = head[:at[0]]
	}
	if m := metaCharset.FindSubmatch(head); m != nil {
		return string(m[1])
	}
	return ""
}

// bodyEnd is where a paragraph can be put last: before the last </body>, else
// before the last </html>, else at the end; there too where a gateway on the way has
// put words behind them.
func bodyEnd(s string) int {
	body, root, words := -1, -1, -1
	_ = eachToken(s, func(k token) error {
		switch {
		case k.kind == xhtml.EndTagToken && k.name == "body":
			body = k.start
		case k.kind == xhtml.EndTagToken && k.name == "html":
			root = k.start
		case k.kind == xhtml.TextToken && !k.hidden && strings.TrimSpace(s[k.start:k.end]) != "":
			words = k.start
		}
		return nil
	})
	switch {
	case words > max(body, root):
		return len(s)
	case body >= 0:
		return body
	case root >= 0:
		return root
	}
	return len(s)
}

// centred is what newsletters put their page into.
var centred = regexp.MustCompile(`(?is)<(?:center\b|(?:table|td|div)\b[^>]*(?:align\s*=\s*["']?center|margin:\s*0(?:px)?\s+auto))`)
