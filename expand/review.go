package expand

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"postern/mail"
)

// Warning is what a careful colleague says who sees the proof of a mail. It stops
// nothing.
type Warning struct {
	Code string // stable, such as "no-fallback"; docs/writing.md lists them
	Text string // a sentence in the list's language
	Note bool   // tells what happens, and finds no fault
}

// Review looks through a mail that [Compile] took, c being what it made of it, for
// what its author will wish to know before everybody has it. A mail in which
// nothing is odd gets no warnings. Each code comes once, with a few of the places;
// placeholders come first, then the Subject, links, pictures, weight and leftovers.
// It reads in.Raw, List, Vocabulary and Template, asks nobody and changes nothing; what
// is odd in the template itself is the matter of [Inspect].
func Review(in Input, c *Compiled) []Warning {
	raw := in.Raw
	if !tidy(raw) {
		raw = []byte(lines(string(raw)))
	}
	r := &reviewer{in: in, c: c, found: map[string][]string{}, parts: map[string]string{}, shown: map[string]bool{}}
	root, texts, ok := readTexts(raw)
	if !ok { // Compile has read it, so this is not to be expected
		return nil
	}
	r.note(root)
	r.placeholders()
	r.subject()
	for _, p := range texts {
		r.read(p)
	}
	if len(linkless(r.whole(root))) > 0 {
		r.say("footer-added")
	}
	r.alternatives()
	r.files(root)
	r.copy(texts)
	return r.warnings()
}

// whole is the mail in its template, its texts looked at; root without one.
func (r *reviewer) whole(root *part) *part {
	if r.in.Template == nil {
		return root
	}
	c := &compiler{in: r.in, uses: map[string]int{}}
	if c.head(root.header) != nil {
		return root
	}
	wrapped, err := c.wrap(root)
	var texts []*part
	if err != nil || collect(wrapped, &texts) != nil {
		return root
	}
	for _, p := range texts {
		_ = (&compiler{in: r.in, uses: map[string]int{}}).compileText(p)
		if p.text.html && len(p.text.src) > maxPage {
			r.say("clipped-by-gmail", sizeText(len(p.text.src)))
		}
	}
	return wrapped
}

const (
	maxPage     = 102 << 10 // octets of HTML that Gmail shows without a click
	maxReviewed = 2 << 20   // octets of a text that are looked at: a text takes thirty times its size here
)

func (r *reviewer) read(p *part) {
	t := p.text
	_ = (&compiler{in: r.in, uses: map[string]int{}}).compileText(p) // says whether it shows the link; what it refuses, Compile has
	if t.html && len(t.src) > maxPage && r.in.Template == nil {
		r.say("clipped-by-gmail", sizeText(len(t.src)))
	}
	switch {
	case len(t.src) > maxReviewed:
	case t.html:
		r.html(t.src)
	default:
		r.plain(t)
	}
}

// Fallbacks are the texts that stand where a copy has no value for the field, each
// once.
func (c *Compiled) Fallbacks(field string) []string {
	var all []string
	for _, s := range append(c.Gaps[:len(c.Gaps):len(c.Gaps)], c.Slots...) {
		if s.Field >= 0 && s.Field < len(c.compiled.Fields) && c.compiled.Fields[s.Field] == field && s.Fallback != "" && !slices.Contains(all, s.Fallback) {
			all = append(all, s.Fallback)
		}
	}
	return all
}

// reviewer gathers what is to be said of one mail.
type reviewer struct {
	in    Input
	c     *Compiled
	found map[string][]string                // by code: the places, in order, each once
	parts map[string]string                  // Content-IDs of the mail, and what the files are called
	shown map[string]bool                    // Content-IDs that HTML shows
	text  string                             // what text/plain shows
	page  string                             // what text/html shows
	at    int                                // the octet of the HTML that is being looked at; -1: unknown
	heard func(code string, places []string) // in place of found; nil: found
}

// say notes a code and the places that it is about.
func (r *reviewer) say(code string, places ...string) {
	if r.heard != nil {
		r.heard(code, places)
		return
	}
	all, known := r.found[code]
	for _, p := range places {
		p = readPlace(p)
		if !slices.Contains(all, p) && len(all) < 200 {
			all = append(all, p)
		}
	}
	if !known || len(places) > 0 {
		r.found[code] = all
	}
}

// readPlace is a place as people are shown it.
func readPlace(p string) string {
	return clipRunes(cleanValue(strings.NewReplacer(hole, "{{…}}", shownBraces, "{{").Replace(p)), 70)
}

func clipRunes(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n]) + "…"
}

// maxPlaces is how many places a warning names.
const maxPlaces = 3

func (r *reviewer) warnings() []Warning {
	var all []Warning
	for _, code := range warningCodes() {
		places, ok := r.found[code]
		if !ok {
			continue
		}
		list := strings.Join(places[:min(len(places), maxPlaces)], ", ")
		if more := len(places) - maxPlaces; more > 0 {
			list += " " + fmt.Sprintf(r.words("(and %d more)", "(외 %d건)"), more)
		}
		text := r.warningText(code)
		if strings.Contains(text, "%s") {
			text = fmt.Sprintf(text, list)
		}
		all = append(all, Warning{Code: code, Text: text, Note: isNote(code)})
	}
	return all
}

// words chooses by the list's language.
func (r *reviewer) words(en, ko string) string {
	if r.in.List.Language == "ko" {
		return ko
	}
	return en
}

// readTexts gives a mail's parts, and the texts among them decoded.
func readTexts(raw []byte) (*part, []*part, bool) {
	root, err := new(parser).parse(raw, "", "text/plain", 0)
	if err != nil {
		return nil, nil, false
	}
	var texts []*part
	if err := collect(root, &texts); err != nil {
		return nil, nil, false
	}
	return root, texts, true
}

// placeholders is about those that were compiled, and those in From and Reply-To,
// which never are.
func (r *reviewer) placeholders() {
	for i, field := range r.c.Fields() {
		if r.c.Required()[i] {
			r.say("no-fallback", "{{"+field+"}}")
		}
		for _, f := range r.c.Fallbacks(field) {
			if inQuotes(f) {
				r.say("quoted-fallback", "{{"+field+"|"+f+"}}")
			}
		}
	}
	head, _, _ := readHeader(r.c.Head)
	for _, f := range head {
		r.dead(decodeWords(f.text()))
	}
}

func inQuotes(s string) bool {
	first, _ := utf8.DecodeRuneInString(s)
	last, _ := utf8.DecodeLastRuneInString(s)
	const open, shut = `"'“‘«「『`, `"'”’»」』`
	return utf8.RuneCountInString(s) > 1 && strings.ContainsRune(open, first) && strings.ContainsRune(shut, last)
}

// written is a whole placeholder in a source text.
var written = regexp.MustCompile(`\{\{([^{}]{1,300})\}\}`)

// dead notes the placeholders in s, which is sent as it is written.
func (r *reviewer) dead(s string) {
	for _, m := range written.FindAllStringSubmatch(s, -1) {
		if _, err := resolve(m[1], "", r.in.Vocabulary); err == nil {
			r.say("not-filled", m[0])
		}
	}
}

// single is one pair of braces or brackets, as other programs mark their fields.
var single = regexp.MustCompile(`\{+([^{}\[\]\n]{1,60})\}+|\[([^{}\[\]\n]{1,60})\]`)

// marks notes what looks like a placeholder and is none, in a text whose
// placeholders are holes, and gives the text without it.
func (r *reviewer) marks(seen string) string {
	return single.ReplaceAllStringFunc(seen, func(whole string) string {
		m := single.FindStringSubmatch(whole)
		field, ok := r.in.Vocabulary.Resolve(m[1] + m[2])
		if !ok || m[2] != "" && IsBuiltIn(field) { // [Unsubscribe], [Date] are what people write
			return whole
		}
		r.say("single-marks", strings.TrimSpace(whole))
		return ""
	})
}

// inBraces is what is meant to be read in double braces.
var inBraces = regexp.MustCompile(shownBraces + `[^{}\n]*\}\}`)

// stray notes double braces that readers will see and nobody meant.
func (r *reviewer) stray(seen string) {
	seen = inBraces.ReplaceAllString(seen, "")
	for _, brace := range []string{"{{", "}}"} {
		if i := strings.Index(seen, brace); i >= 0 {
			from, to := lineAround(seen, i, 20)
			r.say("stray-braces", "“"+strings.TrimSpace(seen[from:to])+"”")
		}
	}
}

// lineAround is up to n characters on both sides of i, within its line.
func lineAround(s string, i, n int) (from, to int) {
	from, to = i, i
	for k := 0; k < n && from > 0 && s[from-1] != '\n'; k++ {
		_, size := utf8.DecodeLastRuneInString(s[:from])
		from -= size
	}
	for k := 0; k < n && to < len(s) && s[to] != '\n'; k++ {
		_, size := utf8.DecodeRuneInString(s[to:])
		to += size
	}
	return from, to
}

// Subjects that have been answered or forwarded, and what filters write before them.
var (
	answered = regexp.MustCompile(`(?i)^\s*\[?(re|fw|fwd|aw|wg|회신|답장|전달)\]?\s*(\[\d+\])?\s*[:：]|^\s*\[(re|fw|fwd|회신|답장|전달)\]`)
	stamped  = regexp.MustCompile(`(?i)\[(external|ext|spam|외부|외부 ?메일|스팸)\]`)
	excited  = regexp.MustCompile(`[!！?？‼⁉]*([!！]{3,}|‼{2,})[!！?？‼⁉]*\s*$`)
)

// maxShownSubject is what a list of mails has room for, in characters.
const maxShownSubject = 60

func (r *reviewer) subject() {
	gs := make([]glyph, 0, len(r.c.Shown))
	for i, c := range r.c.Shown {
		gs = append(gs, glyph{c, i, i + utf8.RuneLen(c)})
	}
	seen := strings.TrimSpace(readGlyphs(gs))
	if strings.TrimSpace(strings.ReplaceAll(seen, hole, "")) == "" {
		if r.c.Shown == "" {
			r.say("no-subject")
		}
		return
	}
	r.stray(r.marks(seen))
	if n := utf8.RuneCountInString(r.c.compiled.Subject) + r.fallbacksInSubject(); n > maxShownSubject {
		r.say("long-subject", fmt.Sprint(n))
	}
	if isShouting(seen) {
		r.say("capitals-in-subject")
	}
	if answered.MatchString(seen) || stamped.MatchString(seen) {
		r.say("reply-subject", seen)
	}
	if excited.MatchString(seen) {
		r.say("exclamation-marks")
	}
}

func (r *reviewer) fallbacksInSubject() int {
	n := 0
	for _, g := range r.c.Gaps {
		n += max(utf8.RuneCountInString(g.Fallback), 3) // about a name
	}
	return n
}

// isShouting: all of several words in capitals.
func isShouting(s string) bool {
	capitals := 0
	for _, c := range s {
		switch {
		case unicode.IsUpper(c):
			capitals++
		case unicode.IsLetter(c):
			return false
		}
	}
	return capitals >= 10
}

// copy looks at a copy for what was left in it where nobody sees it.
func (r *reviewer) copy(before []*part) {
	raw := r.c.Render(&mail.Copy{To: "someone@example.com"}, "token").Bytes()
	if len(raw) > maxEasyCopy {
		r.say("large-copy", sizeText(len(raw)))
	}
	_, after, ok := readTexts(raw)
	if !ok {
		return
	}
	for _, p := range after {
		if p.text.html && len(p.text.src) <= maxReviewed {
			r.unseen(p.text.src)
		}
	}
	if htmlOnly(before) {
		if htmlOnly(after) {
			r.say("no-text")
		} else {
			r.say("text-made")
		}
	}
}

// maxEasyCopy is what all mailboxes take, in octets.
const maxEasyCopy = 10 << 20

// htmlOnly says that a mail has HTML and no plain text.
func htmlOnly(texts []*part) bool {
	page := false
	for _, p := range texts {
		if !p.text.html {
			return false
		}
		page = true
	}
	return page
}

// sizeText is a number of octets for people.
func sizeText(n int) string {
	if n >= 1<<20 {
		return fmt.Sprintf("%.1f MB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%d KB", (n+1023)>>10)
}

// note finds the Content-IDs of the mail.
func (r *reviewer) note(p *part) {
	if id := contentID(p.header.text("Content-ID")); id != "" {
		r.parts[id] = p.fileName()
	}
	for _, child := range p.children {
		r.note(child)
	}
}

// files is about the parts that are no text: pictures and attachments.
func (r *reviewer) files(p *part) {
	for _, child := range p.children {
		r.files(child)
	}
	if len(p.children) > 0 || p.isText() {
		return
	}
	id := contentID(p.header.text("Content-ID"))
	size := len(p.body)
	if octets, err := decodeTransfer(p.coding, p.body); err == nil {
		size = len(octets)
	}
	what := p.fileName() + " (" + sizeText(size) + ")"
	switch picture := strings.HasPrefix(p.kind, "image/"); {
	case id == "" || !r.shown[id]:
		r.say("attachment", what)
		r.dead(p.fileName())
	case picture && size > maxPicture:
		r.say("large-picture", what)
	}
}

// maxPicture is in octets; a photo for a page of 600 pixels takes a tenth.
const maxPicture = 1 << 20

// fileName is that of an attachment as people see it.
func (p *part) fileName() string {
	_, disposition := parseType(p.header.text("Content-Disposition"))
	for _, name := range []string{disposition["filename"], p.params["name"], p.header.text("Content-Description")} {
		if name != "" {
			return decodeWords(guess([]byte(name)))
		}
	}
	return p.kind
}

func contentID(s string) string { return strings.Trim(strings.TrimSpace(s), "<>") }
