package expand_test

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"postern/expand"
)

// token is one of those that [tokensScript] lists.
type token struct {
	Kind  string // < > text style comment if endif doctype
	Name  string // of an element; else the text
	Attrs [][2]string
	Node  int    // its index in the page
	link  string // of a text: what in it is a link that the original has not
}

// document is a page as marks and the texts in the gaps between them: a text, be
// it empty, before each mark.
type document struct {
	source string
	marks  []token
	gaps   []token
}

func newDocument(source string, tokens []token) document {
	d := document{source: source}
	var gap token
	for _, k := range tokens {
		if k.Kind == "text" {
			gap.Name, gap.Node = gap.Name+k.Name, k.Node
			continue
		}
		d.marks, d.gaps = append(d.marks, k), append(d.gaps, gap)
		gap = token{}
	}
	return d
}

// fill puts a text, or an attribute's value, in the place of one with
// placeholders.
type fill struct {
	Node       int
	Attr, Text string
	Link       string // what in the text is made a link
}

// comparison is of an original and its copy for r.
type comparison struct {
	r                *recipient
	original, copied document
	problems         []string
	fills            []fill // what makes the original the copy
	linked           bool   // the copy shows the unsubscribe link
	footer           int    // the node of the copy with which the footer starts; 0 without one
}

func (c *comparison) compare() {
	c.unwrap()
	c.cutFooter()
	for i, o := range c.original.marks {
		if i >= len(c.copied.marks) || !c.sameMark(o, c.copied.marks[i]) {
			c.problem("%s became %s", around(c.original, i), around(c.copied, i))
			return
		}
	}
	if more := len(c.copied.marks) - len(c.original.marks); more > 0 {
		c.problem("the copy has %d more elements at its end", more)
		return
	}
	c.texts()
	c.linked = c.linked || c.footer > 0
}

func (c *comparison) problem(format string, a ...any) {
	c.problems = append(c.problems, fmt.Sprintf(format, a...))
}

func around(d document, i int) string {
	var s strings.Builder
	for i = max(0, i-3); i < len(d.marks) && s.Len() < 400; i++ {
		m := d.marks[i]
		fmt.Fprintf(&s, "%s %s %.60q%.200q ", d.gaps[i].Name, m.Kind, m.Name, m.Attrs)
	}
	return s.String()
}

// unwrap takes a link of ours out of the element that a copy puts around it where
// the original has it as mere text.
func (c *comparison) unwrap() {
	for i := 0; i+1 < len(c.copied.marks); i++ {
		d, m := c.copied, c.copied.marks[i]
		text := d.gaps[i+1].Name
		if m.Kind+m.Name != "<A" || d.marks[i+1].Kind != ">" || !slices.Contains([]string{c.r.values["Unsubscribe"], c.r.values["Preferences"]}, text) ||
			!slices.Equal(m.Attrs, [][2]string{{"href", text}}) || i < len(c.original.marks) && c.sameMark(c.original.marks[i], m) {
			continue
		}
		between := token{Name: d.gaps[i].Name + text + d.gaps[i+2].Name, link: text}
		c.copied = document{d.source, slices.Concat(d.marks[:i], d.marks[i+2:]), slices.Concat(d.gaps[:i], []token{between}, d.gaps[i+3:])}
		i--
	}
}

// cutFooter takes out of the copy what it has more: whole elements with the
// unsubscribe link.
func (c *comparison) cutFooter() {
	o, d := c.original, c.copied
	more, link := len(d.marks)-len(o.marks), -1
	for i, m := range d.marks {
		if m.Name == "A" && slices.Contains(m.Attrs, [2]string{"href", theLink}) {
			link = i
		}
	}
	if more <= 0 || link < 0 {
		return
	}
	for from := max(0, link+1-more); from <= min(link, len(o.marks)); from++ {
		rest := slices.Concat(d.marks[:from], d.marks[from+more:])
		if !whole(d.marks[from:from+more]) || !slices.EqualFunc(o.marks, rest, sameKind) {
			continue
		}
		c.footer = d.marks[from].Node
		if starts(d.marks[from+more:]) > behindBody(o.source) {
			c.problem("the footer is not at the end, but here: %s", around(d, from))
		}
		between := token{Name: d.gaps[from].Name + d.gaps[from+more].Name, link: d.gaps[from].link}
		c.copied = document{d.source, rest, slices.Concat(d.gaps[:from], []token{between}, d.gaps[from+more+1:])}
		c.blanks(from)
		return
	}
}

// starts counts elements, without those that a parser adds.
func starts(marks []token) (n int) {
	for _, m := range marks {
		if m.Kind == "<" && m.Name != "TBODY" {
			n++
		}
	}
	return n
}

// behindBody counts the elements that programs on the way put behind the end of
// the body, and that browsers move into it.
func behindBody(html string) int {
	end := strings.LastIndex(strings.ToLower(html), "</body")
	return strings.Count(tags(html[max(0, end):]), "<") - strings.Count(tags(html[max(0, end):]), "</")
}

// blanks forgets where blanks stand around the footer, with which a paragraph ends
// that was left open.
func (c *comparison) blanks(from int) {
	o, d, first := c.original, c.copied, from
	for first > 0 && o.marks[first-1].Kind == ">" {
		first--
	}
	for i := first; i < len(o.marks) && (i <= from || o.marks[i-1].Kind == ">"); i++ {
		if text := o.gaps[i].Name; strings.TrimSpace(text) == strings.TrimSpace(d.gaps[i].Name) {
			d.gaps[i].Name = text
		}
	}
}

// whole says whether every element of marks starts and ends in them.
func whole(marks []token) bool {
	depth := 0
	for _, m := range marks {
		switch m.Kind {
		case "<":
			depth++
		case ">":
			depth--
		}
		if depth < 0 {
			return false
		}
	}
	return depth == 0
}

func sameKind(o, d token) bool {
	return o.Kind == d.Kind && (o.Kind == "if" || o.Name == d.Name)
}

// sameMark says whether mark d is o but for the values in its attributes.
func (c *comparison) sameMark(o, d token) bool {
	if !sameKind(o, d) || len(o.Attrs) != len(d.Attrs) {
		return false
	}
	if o.Kind == "if" {
		if strings.ContainsAny(o.Name, "{｛") {
			o.Name, d.Name = tags(o.Name), tags(d.Name)
		}
		return o.Name == d.Name
	}
	for i, a := range o.Attrs {
		name, want := a[0], a[1]
		switch {
		case o.Name == "META" && (name == "content" || name == "charset"):
			want = charsetOf(name, want)
		case slices.Contains([]string{"href", "src", "background", "action", "poster"}, name):
			want = c.link(want)
		case slices.Contains([]string{"alt", "title", "aria-label", "summary", "placeholder"}, name):
			want = c.r.fill(want)
		}
		if d.Attrs[i] != [2]string{name, want} {
			return false
		}
		if want != a[1] {
			c.fills = append(c.fills, fill{Node: o.Node, Attr: name, Text: want})
		}
	}
	return true
}

// tags are those of HTML, without their attributes.
func tags(html string) string {
	return strings.Join(regexp.MustCompile(`<[^\s>]+`).FindAllString(html, -1), "")
}

var charset = regexp.MustCompile(`(?i)(charset\s*=\s*["']?)[^\s;"'>]+`)

func charsetOf(name, value string) string {
	if name == "charset" {
		return "utf-8"
	}
	return charset.ReplaceAllString(value, "${1}utf-8")
}

// Placeholders as the reader sees them, invisible characters between the braces
// included, and in links, where clients percent-encode the braces. Outlook puts
// http:// before a link.
var (
	placeholder       = regexp.MustCompile(`(https?://)?[{｛]` + ghosts + `[{｛](\s*` + quotes + `[^{}]*[{}]+[^{}]*` + quotes + `\s*|[^{}｛｝]*)[}｝]` + ghosts + `[}｝]`)
	placeholderInLink = regexp.MustCompile(`(?i)(?:[{｛]|%7b|%ef%bd%9b){2}(.*?)(?:[}｝]|%7d|%ef%bd%9d){2}`)
)

const (
	ghosts = `[\x{ad}\x{200b}-\x{200f}\x{202a}-\x{202e}\x{2060}-\x{2069}\x{feff}]*`
	quotes = "[\"'“”„‘’]"
)

// field is what the inside of a placeholder calls, and what stands where r has no
// value.
func (r *recipient) field(inner string) (field, fallback string) {
	inner = regexp.MustCompile(ghosts).ReplaceAllString(strings.ReplaceAll(inner, "｜", "|"), "")
	name, fallback, _ := strings.Cut(inner, "|")
	field, _ = r.in.Vocabulary.Resolve(strings.Trim(regexp.MustCompile(quotes).ReplaceAllString(name, ""), " *_/"))
	return field, strings.Join(strings.Fields(fallback), " ")
}

func (r *recipient) value(inner string) string {
	if strings.ContainsAny(inner, "{}") { // {{"{{"}}: braces to be read
		return regexp.MustCompile(`^\s*`+quotes+`|`+quotes+`\s*$`).ReplaceAllString(inner, "")
	}
	field, fallback := r.field(inner)
	if v := r.values[field]; v != "" {
		return v
	}
	return fallback
}

// isLink says whether the inside of a placeholder calls a link of ours.
func (r *recipient) isLink(inner string) bool {
	field, _ := r.field(inner)
	return field == expand.FieldUnsubscribe || field == "Preferences"
}

// byClient is what programs write before a link without a scheme.
var byClient = regexp.MustCompile(`^(https?://|(applewebdata|x-webdoc)://[^/]*/|file:.*)?$`)

// link fills a link: one of ours is one itself, and what a client put around it
// goes; other values are percent-encoded.
func (c *comparison) link(s string) string {
	var out strings.Builder
	at := 0
	for _, m := range placeholderInLink.FindAllStringSubmatchIndex(s, -1) {
		before, inner := s[at:m[0]], s[m[2]:m[3]]
		if plain, err := url.PathUnescape(inner); err == nil {
			inner = plain
		}
		value := c.r.value(inner)
		if scheme := s[:m[0]]; c.r.isLink(inner) && byClient.MatchString(scheme) {
			c.show(inner)
			if before = ""; scheme != "" && s[m[1]:] == "/" {
				return value
			}
		} else if value = strings.ReplaceAll(url.QueryEscape(value), "+", "%20"); strings.HasPrefix(s, "mailto:") {
			value = strings.ReplaceAll(value, "%40", "@")
		}
		out.WriteString(before + value)
		at = m[1]
	}
	return out.String() + s[at:]
}

// show notes what is the unsubscribe link.
func (c *comparison) show(inner string) {
	if field, _ := c.r.field(inner); field == expand.FieldUnsubscribe {
		c.linked = true
	}
}

// find gives where the placeholders of a text are and what is in them. What Outlook
// put around a link of ours goes with it.
func (r *recipient) find(s string) [][]int {
	found := placeholder.FindAllStringSubmatchIndex(s, -1)
	for _, m := range found {
		scheme := m[2] >= 0
		switch {
		case scheme && !r.isLink(s[m[4]:m[5]]):
			m[0] = m[3]
		case scheme && strings.HasPrefix(s[m[1]:], "/") && strings.ContainsAny((s + " ")[m[1]+1:m[1]+2], " \t\r\n<>\"'"):
			m[1]++
		}
	}
	return found
}

func (r *recipient) fill(s string) string {
	var out strings.Builder
	at := 0
	for _, m := range r.find(s) {
		out.WriteString(s[at:m[0]] + r.value(s[m[4]:m[5]]))
		at = m[1]
	}
	return out.String() + s[at:]
}

// stretch is a part of one gap's text: fixed, or of a placeholder.
type stretch struct {
	gap         int
	text        string // as the original has it
	value       string // what stands for the placeholder in one of its stretches
	of          int    // which placeholder, from 1 on
	first, last bool   // of its placeholder
}

// texts compares the texts. A placeholder over several elements (Word's spelling
// marks) is replaced in one of them and leaves nothing in the others.
func (c *comparison) texts() {
	all := c.stretches()
	m := &matcher{all: all, gaps: c.copied.gaps}
	if !m.match(0, 0, false) {
		s := all[min(m.far, len(all)-1)]
		c.problem("the text %q became %q, at %q", c.original.gaps[s.gap].Name, c.copied.gaps[s.gap].Name, s.text)
		return
	}
	for i, o := range c.original.gaps {
		if text := c.copied.gaps[i].Name; o.Name == "" && text != "" {
			c.problem("%q is new in the copy", text)
		} else if text != o.Name {
			c.fills = append(c.fills, fill{Node: o.Node, Text: text, Link: c.copied.gaps[i].link})
		}
	}
}

// stretches cuts the original's texts where placeholders start and end.
func (c *comparison) stretches() []stretch {
	var text strings.Builder
	for _, g := range c.original.gaps {
		text.WriteString(g.Name)
	}
	found := c.r.find(text.String())
	var all []stretch
	start, n := 0, 0
	for gap, g := range c.original.gaps {
		end, at := start+len(g.Name), start
		for ; n < len(found) && found[n][0] < end; n++ {
			f := found[n]
			if f[0] > at {
				all = append(all, stretch{gap: gap, text: text.String()[at:f[0]]})
			}
			from, to := max(f[0], start), min(f[1], end)
			inner := text.String()[f[4]:f[5]]
			all = append(all, stretch{gap, text.String()[from:to], c.r.value(inner), n + 1, from == f[0], to == f[1]})
			if to == f[1] {
				c.show(inner)
			}
			if at = to; to < f[1] {
				break
			}
		}
		if at < end {
			all = append(all, stretch{gap: gap, text: text.String()[at:end]})
		}
		start = end
	}
	return all
}

// matcher holds the stretches of an original against the texts of its copy.
type matcher struct {
	all  []stretch
	gaps []token
	far  int // the furthest stretch that was reached
}

// match says whether the copy has the stretches from i on, where at octets of the
// gap were read and placed says that the value of the placeholder stood already.
func (m *matcher) match(i, at int, placed bool) bool {
	m.far = max(m.far, i)
	if i == len(m.all) {
		return true
	}
	s, rest := m.all[i], m.gaps[m.all[i].gap].Name[at:]
	ends := i+1 == len(m.all) || m.all[i+1].gap != s.gap
	next := func(read string, placed bool) bool {
		switch {
		case !strings.HasPrefix(rest, read), ends && len(rest) > len(read):
			return false
		case ends:
			return m.match(i+1, 0, placed)
		}
		return m.match(i+1, at+len(read), placed)
	}
	if s.of == 0 {
		return next(s.text, false)
	}
	placed = placed && !s.first
	return !placed && next(s.value, true) || (placed || !s.last) && next("", placed)
}
