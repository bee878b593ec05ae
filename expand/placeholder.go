package expand

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"

	"postern/mail"
)

// maxPlaceholder is how many characters a placeholder may have, fallback included.
const maxPlaceholder = 300

// glyph is a character that the reader sees, and where it stands in the source.
type glyph struct {
	r          rune
	start, end int
}

// found is a placeholder: its glyphs from { to }, and what is in it.
type found struct {
	glyphs []glyph
	scheme []glyph // "http://" right before it, which Outlook puts before a link
	first  bool    // nothing but blanks stands before it
	inner  string
}

// finder finds the placeholders in a run of glyphs, however they are spread over
// the source.
type finder struct {
	where  string // for people
	found  []found
	seen   strings.Builder // what the reader sees; blocks end with a newline
	open   []glyph         // from a first brace on
	depth  int             // how many of open can be seen
	last   rune            // the last of those, narrow
	recent []glyph         // the last few before open
	solid  int             // visible glyphs before open
	err    error
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
		f.open = append(f.open, g)
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
	switch {
	case f.depth == 3 && r == '{':
		f.fail("{{{ does not start a placeholder; write {{Name}} with two braces")
	case f.depth > 3 && r == '{' && last == '{', f.depth > maxPlaceholder:
		f.unclosed()
	case f.depth > 3 && r == '}' && last == '}':
		f.close()
	}
}

func (f *finder) pass(g glyph) {
	if !unicode.IsSpace(g.r) && !invisible(g.r) {
		f.solid++
	}
	if f.recent = append(f.recent, g); len(f.recent) > 8 {
		f.recent = f.recent[1:]
	}
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
	for _, g := range f.open {
		if !invisible(g.r) {
			inner.WriteRune(g.r)
		}
	}
	s := inner.String()
	s = strings.TrimRight(strings.TrimLeft(s, "{｛"), "}｝")
	p := found{glyphs: f.open, first: f.solid == 0, inner: s}
	for _, scheme := range []string{"http://", "https://"} {
		if n := len(scheme); len(f.recent) >= n && word(f.recent[len(f.recent)-n:]) == scheme {
			p.scheme = f.recent[len(f.recent)-n:]
			p.first = f.solid == n
		}
	}
	f.found = append(f.found, p)
	f.solid += f.depth
	f.open, f.depth, f.recent = nil, 0, nil
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
	f.open, f.depth = nil, 0
	f.seen.WriteByte('\n')
	f.recent = nil
}

// finish ends the run.
func (f *finder) finish() error {
	f.stop()
	if f.err == nil {
		f.err = checkForeign(f.seen.String(), f.where)
	}
	return f.err
}

func (f *finder) unclosed() {
	text := []rune(strings.TrimRight(f.seen.String(), "\n"))
	from := max(0, len(text)-len(f.open)-20)
	snippet := strings.Join(strings.Fields(clean(string(text[from:min(len(text), from+60)]))), " ")
	f.fail(fmt.Sprintf("a placeholder is not closed near “%s”; it starts with {{ and needs }} in the same line or paragraph", snippet))
}

func (f *finder) fail(why string) {
	f.err = mail.Refuse(550, "5.6.0", "in %s: %s", f.where, why)
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

// Placeholders of other programs, and what to write instead. A name stands in the
// first group that took part.
var (
	mailchimp = regexp.MustCompile(`\*\|([^|*\n]{1,60})\|\*`)
	strangers = regexp.MustCompile(`%([^\s%<>]{1,60})%|<<([^<>\n]{1,60})>>|«([^«»\n]{1,60})»`)
)

func checkForeign(seen, where string) error {
	if m := mailchimp.FindString(seen); m != "" {
		return mail.Refuse(550, "5.6.0", "in %s: %s is another program's placeholder; write {{Name}}, or {{Name|friend}} with what stands where no name is known", where, clean(m))
	}
	return nil
}

// checkStrangers refuses %name%, <<Name>> and «Name» where name is a known field:
// elsewhere they are what they look like.
func checkStrangers(seen, where string, v Vocabulary) error {
	for _, m := range strangers.FindAllStringSubmatch(seen, -1) {
		if name, ok := v.Resolve(m[1] + m[2] + m[3]); ok {
			return mail.Refuse(550, "5.6.0", "in %s: %s is another program's placeholder; write {{%s}}", where, clean(m[0]), name)
		}
	}
	return nil
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
	name, fallback = cleanValue(name), cleanValue(fallback)
	if name == "" {
		return refuse("{{}} names no field; write {{Name}}")
	}
	if strings.ContainsAny(name[:1], ".#/^&!>$=~*%") {
		bare := strings.TrimSpace(strings.TrimLeft(name, ".#/^&!>$=~*% "))
		if field, ok := v.Resolve(bare); ok {
			return refuse("{{%s}} is another program's placeholder; write {{%s}}", name, field)
		}
		return refuse("{{%s}} is another program's placeholder; write {{Name}}, or {{Name|friend}} with what stands where no name is known", shorten(name))
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

func shorten(s string) string {
	if r := []rune(s); len(r) > 40 {
		return string(r[:40]) + "…"
	}
	return s
}
