package expand

import (
	"bytes"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// block is text that grows line by line, for [reading].
type block struct {
	text  []byte
	line  int      // where the last line begins
	gap   int      // line ends owed
	blank bool     // a blank is owed
	empty bool     // the line is empty, and its author wants it
	paren int      // where " (address)" begins, while the line may end with it
	end   int      // where an address ends; 0: none does
	cells []string // of a table's row
}

// atStart says whether nothing stands in the line yet.
func (b *block) atStart() bool { return b.gap > 0 || len(b.text) == b.line }

// owe ends the line and puts at least n line ends before what follows.
func (b *block) owe(n int) {
	if b.empty && b.atStart() {
		b.gap++
	}
	b.gap, b.blank, b.empty = max(b.gap, n), false, false
}

// lineBreak is <br>: it ends its line, which may be empty.
func (b *block) lineBreak() { b.gap, b.blank, b.empty = b.gap+1, false, false }

// begin writes the line ends that are owed; no more than one line is empty.
func (b *block) begin() {
	if b.gap > 0 {
		if b.endLine(); len(b.text) > 0 {
			b.text = append(b.text, "\n\n"[:min(b.gap, 2)]...)
		}
		b.line = len(b.text)
	}
	b.gap, b.empty = 0, false
}

// char adds a character that is seen. Behind an address a letter is kept off, for
// readers that would take it into the link.
func (b *block) char(c rune) {
	b.begin()
	glued := b.end > 0 && b.end == len(b.text) && (unicode.IsLetter(c) || unicode.IsNumber(c))
	if (b.blank || glued) && len(b.text) > b.line {
		b.text = append(b.text, ' ')
	}
	b.blank = false
	b.text = utf8.AppendRune(b.text, c)
}

// raw adds s as it is.
func (b *block) raw(s string) {
	b.begin()
	b.text, b.blank = append(b.text, s...), false
}

// lines adds lines of their own, with something before the first and the others.
func (b *block) lines(first, rest, text string) {
	if text == "" {
		return
	}
	b.owe(1)
	b.begin()
	b.text = append(b.text, first...)
	for i := 0; i < len(text); i++ {
		if b.text = append(b.text, text[i]); text[i] == '\n' {
			b.line = len(b.text)
			if b.text = append(b.text, rest...); i+1 < len(text) && text[i+1] == '\n' {
				b.text = bytes.TrimRight(b.text, " ")
			}
		}
	}
	b.owe(1)
}

// maxRow is the longest row of a table that is written in one line, in octets.
const maxRow = 300

// row adds a row of a table. One whose cells are all a line is a row of data, and
// one line; any other lays things out, and they follow each other.
func (b *block) row(cells []string) {
	shown := slices.DeleteFunc(cells, func(s string) bool { return s == "" })
	if line := strings.Join(shown, " | "); len(shown) > 1 && len(line) <= maxRow && !strings.Contains(line, "\n") {
		b.lines("", "", strings.ReplaceAll(line, ": | ", ": ")) // "Date: | today"
		return
	}
	for _, c := range shown {
		b.owe(2)
		b.lines("", "", c)
		b.owe(2)
	}
}

// link ends the text of a link, which began at from, with the address; where they
// are the same once is enough.
func (b *block) link(from int, address string) {
	shown := strings.TrimSpace(string(b.text[min(from, len(b.text)):]))
	if address == "" || plainAddress(shown) == plainAddress(address) {
		return
	}
	if b.gap > 0 || shown == "" {
		for _, c := range address {
			b.char(c)
		}
		b.paren = 0
	} else {
		b.paren = len(b.text)
		b.text = append(append(append(b.text, " ("...), address...), ')')
	}
	b.end = len(b.text)
}

// endLine ends a line. An address that is last in it loses its parentheses, so that
// no reader takes one into the link; behind another address it keeps them.
func (b *block) endLine() {
	if b.paren > b.line && b.end == len(b.text) && !bytes.Contains(lastWord(b.text[:b.paren]), []byte("://")) {
		address := string(b.text[b.paren+2 : b.end-1])
		b.text = b.text[:b.paren]
		if last, _ := utf8.DecodeLastRune(b.text); unicode.IsLetter(last) || unicode.IsNumber(last) || strings.ContainsRune(`)]"'”’`, last) {
			b.text = append(b.text, ':')
		}
		b.text = append(append(b.text, ' '), address...)
	}
	b.paren, b.end = 0, 0
	b.text = bytes.TrimRight(b.text, " ")
}

func lastWord(b []byte) []byte { return b[bytes.LastIndexByte(b, ' ')+1:] }

// finish gives the text, without line ends at its end.
func (b *block) finish() string {
	b.endLine()
	return string(bytes.TrimRight(b.text, " \n"))
}

// plainAddress is an address without what people leave out of it.
func plainAddress(s string) string {
	s = strings.ToLower(s)
	for _, lead := range []string{"https://", "http://", "mailto:", "tel:", "www."} {
		s = strings.TrimPrefix(s, lead)
	}
	return strings.TrimSuffix(s, "/")
}

// mailboxOf is the mailbox of a mailto: address (RFC 6068).
func mailboxOf(rest string) string {
	to, _, _ := strings.Cut(rest, "?")
	if s, err := url.PathUnescape(to); err == nil {
		to = s
	}
	return strings.Join(strings.Fields(clean(to)), " ")
}

// urlBreaks writes what would end a link in text.
var urlBreaks = strings.NewReplacer(" ", "%20", "\u00a0", "%20", "<", "%3C", ">", "%3E", `"`, "%22")

// What styles say: an element is not shown, has no gap around it or keeps blanks; a
// style sheet says so of Word's paragraphs; Word's lists.
var (
	hiding      = regexp.MustCompile(`display\s*:\s*none|visibility\s*:\s*hidden|max-height\s*:\s*0(?:px)?\s*(?:;|!|$)|(?:^|[;\s])opacity\s*:\s*0(?:\.0+)?\s*(?:;|!|$)`)
	keepsBlanks = regexp.MustCompile(`white-space\s*:\s*pre`)
	wordNormal  = regexp.MustCompile(`p\.MsoNormal\b[^{}]*\{([^{}]*)`)
	wordBullet  = regexp.MustCompile(`mso-list\s*:\s*ignore`)
	msoLevel    = regexp.MustCompile(`mso-list\s*:[^;]*level([1-9])`)
	appScheme   = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]+$`)
)

// isTold names the elements of which attributes other than style are asked.
func isTold(name string) bool {
	switch name {
	case "a", "area", "img", "input", "ol", "p":
		return true
	}
	return false
}

func isUnseen(style string) bool {
	return says(style, "display", hiding) || says(style, "visibility", hiding) || says(style, "max-height", hiding) || says(style, "opacity", hiding)
}

// says matches a style that has a property at all; most have not.
func says(style, property string, re *regexp.Regexp) bool {
	return strings.Contains(style, property) && re.MatchString(style)
}

// isSnug says whether a style leaves no gap above and below.
func isSnug(style string) bool {
	top, bottom := false, false
	for line := range strings.SplitSeq(style, ";") {
		name, value, _ := strings.Cut(line, ":")
		sides := strings.Fields(value)
		switch name = strings.TrimSpace(name); {
		case len(sides) == 0:
		case name == "margin":
			top, bottom = isZero(sides[0]), isZero(sides[min(len(sides)-1, 2)/2*2])
		case name == "margin-top":
			top = isZero(sides[0])
		case name == "margin-bottom":
			bottom = isZero(sides[0])
		}
	}
	return top && bottom
}

// isZero reads a length; Word writes .0001pt.
func isZero(length string) bool {
	v, err := strconv.ParseFloat(strings.TrimRight(length, "abcdefghijklmnopqrstuvwxyz%"), 64)
	return err == nil && v < 0.01
}

// wordLevel is how deep in lists a paragraph of Word stands.
func wordLevel(style string) int {
	if m := msoLevel.FindStringSubmatch(style); m != nil {
		return int(m[1][0] - '0')
	}
	return 0
}

// bullet is what Word draws before an item: the letters of its picture fonts say
// nothing, numbers do.
func bullet(s string) string {
	if r, size := utf8.DecodeRuneInString(s); size == len(s) && !unicode.IsNumber(r) {
		return "-"
	}
	return s
}

// isVoid names the elements that have no content (HTML §13.1.2).
func isVoid(name string) bool {
	switch name {
	case "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr":
		return true
	}
	return false
}

// neverShown names the elements whose content no mail reader shows as text.
func neverShown(name string) bool {
	switch name {
	case "title", "script", "noscript", "style", "xml", "template", "select", "textarea", "iframe", "noembed", "noframes", "audio", "video", "svg", "math":
		return true
	}
	return false
}

// ownsBlock names the elements that change what is in them as a whole.
func ownsBlock(name string) bool {
	switch name {
	case "blockquote", "li", "tr", "td", "th":
		return true
	}
	return false
}

// gapAround is how many line ends stand around an element.
func gapAround(name string) int {
	switch name {
	case "blockquote", "dl", "figure", "h1", "h2", "h3", "h4", "h5", "h6", "ol", "pre", "table", "ul":
		return 2
	case "tr", "td", "th":
		return 0
	}
	if isBlock(name) {
		return 1
	}
	return 0
}
