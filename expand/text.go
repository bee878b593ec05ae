package expand

import (
	"net/url"
	"regexp"
	"strings"
	"unicode/utf8"
)

// text is the decoded text of a part and what becomes of it.
type text struct {
	src     string // UTF-8, CRLF
	html    bool
	foreign bool // it came in another charset than UTF-8
	flowed  bool // format=flowed (RFC 3676)
	delsp   bool
	hosts   bool // pictures of it were hosted
	changed bool // else the part stays as it is
	pieces  []piece
	fills   int  // placeholders in it
	link    bool // it shows the unsubscribe link
}

// textPieces compiles plain text. A placeholder may go over one line end, where a
// client wrapped it, and not over an empty line.
func (c *compiler) textPieces(t *text, where string) ([]piece, error) {
	f := &finder{where: where}
	var edits []edit
	s := t.src
	f.seen.Grow(len(s))
	for i := 0; i < len(s) && f.err == nil; {
		if n := percentPlaceholder(s[i:]); n > 0 && f.depth < 2 {
			e, err := c.percent(s, i, i+n, where)
			if err != nil {
				return nil, err
			}
			edits = append(edits, e)
			f.feed(glyph{'\ufffc', i, i + n})
			i = max(i+n, e.end)
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case strings.HasPrefix(s[i:], "\r\n\r\n"):
			f.stop()
			size = 4
		case f.depth > 0 && strings.HasPrefix(s[i:], "\r\n>") && quoteMark.MatchString(s[i:min(len(s), i+40)]):
			size = len(quoteMark.FindString(s[i:min(len(s), i+40)]))
			f.feed(glyph{' ', i, i + size})
		case t.delsp && strings.HasPrefix(s[i:], " \r\n"):
			size = 3 // RFC 3676 §4.1: neither the blank nor the line end is part of the text
			f.feed(glyph{'\u200b', i, i + size})
		default:
			f.feed(glyph{r, i, i + size})
		}
		i += size
	}
	found, err := c.edits(f, asText)
	if err != nil {
		return nil, err
	}
	if t.flowed {
		stuff(s, found)
	}
	return apply(s, append(edits, found...)), nil
}

// quoteMark is a line end and the marks of a quotation (RFC 3676 §4.5), as they come
// into a placeholder that was wrapped in one.
var quoteMark = regexp.MustCompile(`^\r\n>[> ]*`)

// stuff puts the blank of RFC 3676 §4.4 before a value at the start of a line, so
// that no value makes a quotation of it.
func stuff(s string, edits []edit) {
	for i, e := range edits {
		if len(e.pieces) > 0 && (e.start == 0 || s[e.start-1] == '\n') {
			edits[i].pieces = append([]piece{{text: " "}}, e.pieces...)
		}
	}
}

// percentPlaceholder is the length of %7B%7B...%7D%7D at the start of s: what
// Outlook makes of braces in the address of a link when it writes the text part.
func percentPlaceholder(s string) int {
	if len(s) < 12 || s[0] != '%' || !strings.EqualFold(s[:6], "%7B%7B") {
		return 0
	}
	head := s[:min(len(s), maxPlaceholder)]
	at := percentClose.FindStringIndex(head)
	if at == nil || strings.ContainsAny(head[:at[0]], " \t\r\n<>\"") {
		return 0
	}
	return at[1]
}

var percentClose = regexp.MustCompile(`(?i)%7d%7d`)

// maxMadeUp is how far before a placeholder an address that Word made up may begin,
// in octets.
const maxMadeUp = 2048

// percent compiles the placeholder at s[from:to]. A link of ours takes the place of
// the scheme before it and the slash behind it, where it is the whole address.
func (c *compiler) percent(s string, from, to int, where string) (edit, error) {
	inner, err := url.PathUnescape(s[from+6 : to-6])
	if err != nil {
		inner = s[from+6 : to-6]
	}
	as, start := asURL, from
	for _, scheme := range []string{"http://", "https://"} {
		if n := from - len(scheme); n >= 0 && strings.EqualFold(s[n:from], scheme) {
			start = n
		}
	}
	near := max(0, from-maxMadeUp)
	if n := near + strings.LastIndexAny(s[near:from], " \t\r\n<>([\"'") + 1; isMadeUp(s[n:from]) {
		start = n
	}
	if begins := start == 0 || strings.IndexByte(" \t\n<([\"'", s[start-1]) >= 0; begins && c.isLink(inner) {
		as = asText
		if rest := s[to:]; strings.HasPrefix(rest, "/") && (len(rest) == 1 || strings.IndexByte(" \t\r\n>)]\"'", rest[1]) >= 0) {
			to++
		}
	} else {
		start = from
	}
	p, err := c.fill(inner, where, as)
	if p.keep {
		p.text = s[start:to]
	}
	return edit{start, to, []piece{p}}, err
}
