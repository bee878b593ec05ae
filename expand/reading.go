package expand

import (
	"errors"
	"html"
	"strconv"
	"strings"
	"unicode"

	xhtml "golang.org/x/net/html"
)

// The limits of HTML of which a text is made. What mail programs write stays far
// below them; a mail beyond them goes without a text alternative.
const (
	maxOpen    = 256     // elements within each other
	maxTags    = 500_000 // start tags
	maxReading = 1 << 20 // octets of text
)

var errTooMuch = errors.New("HTML beyond the limits")

// reading turns HTML into the text that its reader sees, in one pass over the
// tokens and without a tree, so that the work grows with the length of the HTML and
// no faster.
type reading struct {
	src    string
	mark   string // what begins a URL of which only a placeholder is known; "" for none
	snug   bool   // the style sheet leaves no gap between Word's paragraphs
	open   []element
	blocks []block // within each other; the first is the whole text
	tags   int
	size   int // octets of text
	failed bool
}

// element is an open one; what it says holds up to its end.
type element struct {
	name   string
	hidden bool
	pre    bool   // blanks are shown as they are
	gap    int    // line ends before and behind it
	own    bool   // its text is a block of its own
	bullet bool   // what Word draws before an item of a list
	level  int    // of Word's lists
	item   int    // of an ol: the next number
	href   string // of a link
	from   int    // where a link's text begins in the block
}

// readHTML gives the text of src, with LF line ends. mark begins the tokens that
// stand for placeholders. Not ok: src is beyond the limits.
func readHTML(src, mark string) (text string, ok bool) {
	defer func() {
		if recover() != nil {
			text, ok = "", false // better no text than no mail
		}
	}()
	r := &reading{src: src, mark: mark, blocks: make([]block, 1)}
	if m := wordNormal.FindStringSubmatch(src); m != nil {
		r.snug = isSnug(strings.ToLower(m[1]))
	}
	err := eachToken(src, func(k token) error {
		if r.token(k); r.failed {
			return errTooMuch
		}
		return nil
	})
	r.closeDown(0)
	return r.blocks[0].finish(), err == nil && !r.failed
}

func (r *reading) token(k token) {
	switch k.kind {
	case xhtml.TextToken:
		if !k.hidden && !r.top().hidden {
			r.text(html.UnescapeString(r.src[k.start:k.end]))
		}
	case xhtml.StartTagToken, xhtml.SelfClosingTagToken:
		if r.tags++; r.tags > maxTags || len(r.open) > maxOpen {
			r.failed = true
			return
		}
		r.implied(k.name)
		attrs := r.attributes(k)
		if isVoid(k.name) || k.kind == xhtml.SelfClosingTagToken && strings.Contains(k.name, ":") {
			r.void(k.name, attrs)
			return
		}
		r.start(k.name, attrs)
	case xhtml.EndTagToken:
		r.end(k.name)
	}
}

// top is the innermost open element.
func (r *reading) top() element {
	if n := len(r.open); n > 0 {
		return r.open[n-1]
	}
	return element{}
}

func (r *reading) block() *block { return &r.blocks[len(r.blocks)-1] }

// attributes are those of a tag that have a value, style in lower case. Of very
// long ones nothing is wanted here, nor of most tags.
func (r *reading) attributes(k token) map[string]string {
	raw := r.src[k.start:k.end]
	if !isTold(k.name) && !strings.Contains(raw, "style") && !strings.Contains(raw, "STYLE") {
		return nil
	}
	all := map[string]string{}
	for _, a := range attributes(raw, k.start) {
		if _, twice := all[a.name]; !twice && a.end-a.start <= maxAttribute {
			all[a.name] = html.UnescapeString(r.src[a.start:a.end])
		}
	}
	all["style"] = strings.ToLower(all["style"])
	return all
}

func (r *reading) start(name string, attrs map[string]string) {
	outer, style := r.top(), attrs["style"]
	e := element{name: name, level: outer.level, pre: outer.pre || name == "pre" || says(style, "white-space", keepsBlanks)}
	if e.hidden = outer.hidden || neverShown(name) || isUnseen(style); e.hidden {
		r.open = append(r.open, e)
		return
	}
	e.gap, e.own = gapAround(name), ownsBlock(name)
	switch name {
	case "p":
		e.gap, e.level = r.paragraph(attrs["class"], style), wordLevel(style)
	case "ul":
		if r.within("li", "td") >= 0 {
			e.gap = 1
		}
	case "ol":
		if r.within("li", "td") >= 0 {
			e.gap = 1
		}
		n, err := strconv.Atoi(attrs["start"])
		if e.item = n; err != nil || n < 0 || n > 1<<20 {
			e.item = 1
		}
	case "a":
		e.href = r.address(attrs["href"])
	case "span":
		e.bullet = says(style, "mso-list", wordBullet)
		e.own = e.bullet
	}
	if e.gap > 0 {
		r.block().owe(e.gap)
	}
	if e.own {
		r.blocks = append(r.blocks, block{})
	}
	e.from = len(r.block().text)
	r.open = append(r.open, e)
}

// paragraph is the gap around a p: one line end where it has no margin, as Word's
// have not.
func (r *reading) paragraph(class, style string) int {
	if isSnug(style) || strings.HasPrefix(class, "MsoList") || r.snug && strings.HasPrefix(class, "Mso") {
		return 1
	}
	return 2
}

// void takes an element without content.
func (r *reading) void(name string, attrs map[string]string) {
	if r.top().hidden || isUnseen(attrs["style"]) {
		return
	}
	b := r.block()
	switch name {
	case "br":
		b.lineBreak()
	case "hr":
		b.owe(2)
		r.text("--------")
		b.owe(2)
	case "img", "input":
		if name == "img" || strings.EqualFold(attrs["type"], "image") {
			b.blank = true
			r.text(attrs["alt"])
			b.blank = true
		}
	case "area": // a piece of a picture that is a link
		b.owe(1)
		from := len(b.text)
		r.text(attrs["alt"])
		b.link(from, r.address(attrs["href"]))
		b.owe(1)
	}
}

// end closes the element that an end tag means; one that means none is passed over.
func (r *reading) end(name string) {
	stop := "td"
	switch name {
	case "table", "body", "html":
		stop = ""
	case "td", "th", "tr", "tbody", "thead", "tfoot", "caption":
		stop = "table"
	}
	if i := r.within(name, stop); i >= 0 {
		r.closeDown(i)
	}
}

// implied closes what a start tag ends (HTML §13.1.2.4).
func (r *reading) implied(name string) {
	switch name {
	case "li":
		r.closeNearest("li", "list")
	case "dt", "dd":
		r.closeNearest("dt", "list")
		r.closeNearest("dd", "list")
	case "tbody", "thead", "tfoot", "tr":
		r.closeNearest("tr", "table")
	case "td", "th":
		r.closeNearest("td", "tr")
		r.closeNearest("th", "tr")
	case "a":
		r.closeNearest("a", "td")
	case "body":
		r.closeDown(0)
	}
	if isBlock(name) && name != "br" {
		r.closeNearest("p", "td")
	}
}

func (r *reading) closeNearest(name, stop string) {
	if i := r.within(name, stop); i >= 0 {
		r.closeDown(i)
	}
}

// within finds the innermost open element with that name, or -1. Outside of a
// table nothing is looked at, nor outside of the kind that stop names; "" is
// neither.
func (r *reading) within(name, stop string) int {
	for i := len(r.open) - 1; i >= 0; i-- {
		n := r.open[i].name
		cell := n == "td" || n == "th" || n == "caption"
		switch {
		case n == name:
			return i
		case stop == "":
		case n == "table", stop == "tr" && n == "tr", stop == "td" && cell,
			stop == "list" && (cell || n == "ul" || n == "ol" || n == "dl"):
			return -1
		}
	}
	return -1
}

// closeDown closes the open elements, from the innermost to that at i.
func (r *reading) closeDown(i int) {
	for len(r.open) > i {
		e := r.top()
		r.open = r.open[:len(r.open)-1]
		if e.hidden {
			continue
		}
		if e.href != "" {
			r.grow(len(e.href))
			r.block().link(e.from, e.href)
		}
		if e.own {
			inner := *r.block()
			r.blocks = r.blocks[:len(r.blocks)-1]
			r.put(e, &inner)
		}
		if e.gap > 0 {
			r.block().owe(e.gap)
		}
	}
}

// put writes a block that is finished into the one around it.
func (r *reading) put(e element, inner *block) {
	b, text := r.block(), inner.finish()
	first, rest := "", ""
	switch {
	case e.bullet:
		if text != "" {
			b.raw(strings.Repeat("  ", max(e.level-1, 0)) + bullet(text))
			b.blank = true
		}
		return
	case e.name == "tr":
		b.lines("", "", text) // what stands between the cells, against the rules
		b.row(inner.cells)
		return
	case r.top().name == "tr":
		b.cells = append(b.cells, text)
		return
	case e.name == "blockquote":
		first, rest = "> ", "> "
	case e.name == "li":
		first = "- "
		if i := r.within("ol", "list"); i >= 0 {
			first = strconv.Itoa(r.open[i].item) + ". "
			r.open[i].item++
		}
		rest = strings.Repeat(" ", len(first))
	}
	if r.grow(len(first) * (1 + strings.Count(text, "\n"))) {
		b.lines(first, rest, text)
	}
}

// grow counts octets of text, and says whether there is room for them.
func (r *reading) grow(n int) bool {
	r.size += n
	r.failed = r.failed || r.size > maxReading
	return !r.failed
}

// text adds text as HTML shows it: any number of blanks is one, and there is none
// at the ends of a line.
func (r *reading) text(s string) {
	if !r.grow(len(s)) {
		return
	}
	b, pre := r.block(), r.top().pre
	for _, c := range s {
		switch {
		case pre && c == '\n':
			b.lineBreak()
		case pre && c == ' ':
			b.raw(" ")
		case unicode.IsSpace(c):
			b.blank = true
			b.empty = b.empty || c == '\u00a0' && b.atStart()
		case c == '\u200c' || c == '\u200d': // joins letters, and pictures of people
			if !b.blank && !b.atStart() {
				b.char(c)
			}
		case c == '\u034f', invisible(c), unicode.IsControl(c), c == unicode.ReplacementChar:
		default:
			b.char(c)
		}
	}
}

// address is what is written of a link's address, "" for nothing: of mailto: the
// mailbox.
func (r *reading) address(href string) string {
	u := strings.Map(func(c rune) rune {
		if unicode.IsControl(c) || invisible(c) {
			return -1
		}
		return c
	}, strings.TrimSpace(href))
	name, rest, found := strings.Cut(u, ":")
	switch strings.ToLower(name) {
	case "mailto":
		return mailboxOf(rest)
	case "http", "https", "ftp", "tel", "sms":
		if strings.Trim(rest, "/") == "" {
			return ""
		}
	case "javascript", "vbscript", "data", "cid", "file", "about", "blob", "mid":
		return ""
	default: // an app's own scheme, or an address on no host
		if !(found && appScheme.MatchString(name)) && !(r.mark != "" && strings.HasPrefix(u, r.mark)) && !strings.HasPrefix(u, "www.") {
			return ""
		}
	}
	return urlBreaks.Replace(u)
}
