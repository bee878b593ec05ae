package expand

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"postern/mail"
)

// maxPlaceholder is how many characters a placeholder may have, fallback included.
const maxPlaceholder = 300

// maxGlyphs is how many it may have with those that nobody sees.
const maxGlyphs = 10 * maxPlaceholder

// glyph is a character that the reader sees, and where it stands in the source.
type glyph struct {
	r          rune
	start, end int
}

// found is a placeholder: its glyphs from { to }, and what is in it.
type found struct {
	glyphs  []glyph
	name    int     // the glyph of the first letter within the braces
	scheme  []glyph // "http://" right before it, which Outlook puts before a link
	slash   []glyph // and the "/" that it puts behind a link without a path
	first   bool    // nothing but blanks stands before it
	inURL   bool    // it stands in an address that is part of the text
	linked  bool    // it stands within a link
	tagless bool    // it stands where no link can be
	inner   string
}

// finder finds the placeholders in a run of glyphs, however they are spread over
// the source.
type finder struct {
	where     string // for people
	found     []found
	attribute bool            // the run is an attribute's value
	seen      strings.Builder // what the reader sees; blocks end with a newline
	open      []glyph         // from a first brace on
	depth     int             // how many of open can be seen
	last      rune            // the last of those, narrow
	quoted    bool            // a quotation mark stands first within the braces
	recent    []glyph         // the last few before open
	fresh     bool            // recent begins right behind the last of found
	inURL     bool            // what was passed last belongs to an address
	nested    int             // parentheses that are open in it
	linked    bool            // set by whoever feeds: what follows stands within a link
	tagless   bool            // and so is this: no tag can stand there
	solid     int             // visible glyphs before open
	err       error
	at        int // where in the source what err is about begins
}

// feed takes the next glyph.
func (f *finder) feed(g glyph) {
	f.seen.WriteRune(g.r)
	if f.err != nil {
		return
	}
	switch r := narrow(g.r); {
	case f.depth == 0 && r != '{':
		f.pass(g)
	case invisible(r):
		if f.open = append(f.open, g); f.depth > 1 && len(f.open) > maxGlyphs {
			f.unclosed()
		}
	case f.depth == 1 && r != '{':
		f.giveUp(g)
	default:
		f.inside(g, r)
	}
}

// inside takes a visible glyph that is, or stands behind, a brace.
func (f *finder) inside(g glyph, r rune) {
	last := f.last
	f.open = append(f.open, g)
	f.depth, f.last = f.depth+1, r
	if f.depth > 2 && !f.quoted && isQuote(r) {
		f.quoted = strings.TrimSpace(visible(f.open)[2:]) == string(narrow(g.r))
	}
	switch {
	case f.depth == 3 && r == '{':
		f.fail("{{{ does not start a placeholder; write {{Name}} with two braces")
	case f.depth > 3 && r == '{' && last == '{' && !f.quoted, f.depth > maxPlaceholder:
		f.unclosed()
	case f.depth > 3 && r == '}' && last == '}' && !(f.quoted && unquoted(visible(f.open))):
		f.close()
	}
}

// visible is what is seen of glyphs, blanks at the ends left out, and braces as
// the ASCII ones.
func visible(glyphs []glyph) string {
	var s strings.Builder
	for _, g := range glyphs {
		if !invisible(g.r) {
			s.WriteRune(narrow(g.r))
		}
	}
	return strings.TrimSpace(s.String())
}

// unquoted says of a placeholder that begins with a quotation mark whether its
// last two braces still belong to the quoted text.
func unquoted(s string) bool {
	in := []rune(strings.TrimSpace(s[2 : len(s)-2]))
	return len(in) == 1 || strings.ContainsAny(string(in[1:]), "{}") && !isQuote(in[len(in)-1])
}

// isQuote knows the marks that people type, and those that Word makes of them.
func isQuote(r rune) bool { return strings.ContainsRune("\"'“”„‟‘’‚‛＂＇", r) }

// literal is the text of {{"…"}}: what holds a brace and stands in quotation
// marks is shown as it is.
func literal(inner string) (string, bool) {
	r := []rune(strings.TrimSpace(inner))
	if len(r) < 3 || !isQuote(r[0]) || !isQuote(r[len(r)-1]) {
		return "", false
	}
	text := string(r[1 : len(r)-1])
	return text, strings.ContainsAny(text, "{}｛｝") || strings.EqualFold(text, "%7B%7B")
}

func (f *finder) pass(g glyph) {
	if !unicode.IsSpace(g.r) && !invisible(g.r) {
		f.solid++
	}
	if f.recent = append(f.recent, g); len(f.recent) > 8 {
		copy(f.recent, f.recent[1:]) // in its place: this is done for each character
		f.recent = f.recent[:8]
	}
	switch {
	case f.ends("://"):
		f.inURL, f.nested = true, 0
	case g.r == '(':
		f.nested++
	case g.r == ')':
		f.nested--
	}
	f.inURL = f.inURL && isURL(g.r) && f.nested >= 0 // a parenthesis that began before the address ends it
	if len(f.recent) == 2 && (unicode.IsSpace(g.r) || strings.ContainsRune(`<>"'`, g.r)) {
		f.endLink()
	}
}

// isURL knows the characters of an address that stands in text (RFC 3986 §2).
func isURL(r rune) bool {
	return 'a' <= r|0x20 && r|0x20 <= 'z' || '0' <= r && r <= '9' || strings.ContainsRune("-._~:/?#[]@!$&'()*+,;=%", r)
}

// ends says whether the last glyphs passed are these.
func (f *finder) ends(s string) bool {
	n := len(f.recent) - len(s)
	return n >= 0 && f.recent[len(f.recent)-1].r == rune(s[len(s)-1]) && strings.EqualFold(word(f.recent[n:]), s)
}

// endLink notes the slash that is all that stands between the last placeholder and
// where its link ends.
func (f *finder) endLink() {
	if n := len(f.found); n > 0 && f.fresh && len(f.recent) > 0 && f.recent[0].r == '/' {
		f.found[n-1].slash = slices.Clone(f.recent[:1])
	}
	f.fresh = false
}

// giveUp takes a lone brace for what it is.
func (f *finder) giveUp(g glyph) {
	for _, o := range f.open {
		f.pass(o)
	}
	f.open, f.depth = nil, 0
	f.pass(g)
}

func (f *finder) close() {
	var inner strings.Builder
	p := found{glyphs: f.open, first: f.solid == 0}
	seen := 0
	for i, g := range f.open {
		if invisible(g.r) {
			continue
		}
		if seen++; seen <= 2 || seen > f.depth-2 {
			continue // the braces
		}
		if p.name == 0 && !unicode.IsSpace(g.r) {
			p.name = i
		}
		inner.WriteRune(g.r)
	}
	p.inner, p.linked, p.tagless = inner.String(), f.linked, f.tagless
	for _, scheme := range []string{"http://", "https://"} {
		if n := len(scheme); f.ends(scheme) {
			p.scheme = f.recent[len(f.recent)-n:]
			p.first = f.solid == n
		}
	}
	p.inURL = f.inURL && len(p.scheme) == 0
	if f.found = append(f.found, p); len(f.found) > maxPlaceholders {
		f.err = tooMany()
	}
	f.solid += f.depth
	f.open, f.depth, f.quoted, f.recent, f.fresh = nil, 0, false, nil, len(p.scheme) > 0
}

func word(gs []glyph) string {
	var s strings.Builder
	for _, g := range gs {
		s.WriteRune(g.r)
	}
	return s.String()
}

// stop ends a block: no placeholder goes on behind it.
func (f *finder) stop() {
	if f.depth >= 2 && f.err == nil {
		f.unclosed()
	}
	for _, o := range f.open {
		f.pass(o)
	}
	f.open, f.depth, f.quoted = nil, 0, false
	f.seen.WriteByte('\n')
	if len(f.recent) == 1 {
		f.endLink()
	}
	f.recent, f.fresh, f.inURL = nil, false, false
}

// finish ends the run.
func (f *finder) finish() error {
	f.stop()
	return f.err
}

func (f *finder) unclosed() {
	text := []rune(strings.TrimRight(f.seen.String(), "\n"))
	from := max(0, len(text)-len(f.open)-20)
	snippet := strings.Join(strings.Fields(clean(string(text[from:min(len(text), from+60)]))), " ")
	f.fail(fmt.Sprintf("a placeholder is not closed near “%s”; it starts with {{ and needs }} in the same line or paragraph", snippet))
}

func (f *finder) fail(why string) {
	f.err, f.at = mail.Refuse(550, "5.6.0", "in %s: %s", f.where, why), f.open[0].start
}

// narrow maps the full-width forms of the marks to their ASCII ones.
func narrow(r rune) rune {
	switch r {
	case '｛':
		return '{'
	case '｝':
		return '}'
	case '｜':
		return '|'
	}
	return r
}

// invisible characters take no part in a placeholder; clients put them between
// letters.
func invisible(r rune) bool {
	return r == 0xad || 0x200b <= r && r <= 0x200f || 0x202a <= r && r <= 0x202e || 0x2060 <= r && r <= 0x2069 || r == 0xfeff
}

// placeholder is what a person wrote between the braces.
type placeholder struct {
	field       string // canonical
	fallback    string
	hasFallback bool
}

// resolve reads the inside of a placeholder.
func resolve(inner, where string, v Vocabulary) (placeholder, error) {
	refuse := func(format string, a ...any) (placeholder, error) {
		return placeholder{}, mail.Refuse(550, "5.6.0", "in "+where+": "+format, a...)
	}
	name, fallback, has := strings.Cut(strings.Map(narrow, inner), "|")
	name, fallback = cleanValue(strings.TrimFunc(cleanValue(name), isQuote)), cleanValue(fallback)
	if name == "" {
		return refuse("{{}} names no field; write {{Name}}")
	}
	name = unmarked(name, v)
	if instead := foreign(name, fallback, v); instead != "" {
		return refuse("{{%s}} is another program's placeholder; %s", shorten(cleanValue(inner)), instead)
	}
	field, ok := v.Resolve(name)
	if !ok {
		if near := v.Nearest(name); near != "" {
			return refuse("{{%s}} is not a field; did you mean {{%s}}?", shorten(name), near)
		}
		return refuse("{{%s}} is not a field, and no field has a name like it", shorten(name))
	}
	return placeholder{field, fallback, has}, nil
}

// unmarked leaves out the marks by which mail clients show in text what is bold,
// underlined or italic in HTML: *name*, _name_, /name/.
func unmarked(name string, v Vocabulary) string {
	bare := strings.Trim(name, "*_/")
	_, known := v.Resolve(name)
	_, meant := v.Resolve(bare)
	if known || !meant || strings.HasPrefix(name, "/") != strings.HasSuffix(name, "/") {
		return name
	}
	return bare
}

func shorten(s string) string {
	if r := []rune(s); len(r) > 40 {
		return string(r[:40]) + "…"
	}
	return s
}
