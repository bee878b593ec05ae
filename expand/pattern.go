package expand

import (
	"html"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// form is how a value is written where it stands.
type form uint8

const (
	asText   form = iota // verbatim
	asHTML               // escaped for text and quoted attributes
	asURL                // percent-encoded, as a part of a URL
	asMailto             // the same but for @, in mailto:
	asLink               // the start of a URL: an http(s) URL stays one
)

// Fields of a slot that no copy's Values hold.
const (
	slotEmail = -1
	slotLink  = -2 // the unsubscribe link
	slotPrefs = -3 // the link to the preferences
)

// slot is where a copy differs: At octets into the fixed text that stands around.
type slot struct {
	At       int    `json:"at"`
	Field    int    `json:"field"` // index of Compiled.Fields, or slotEmail, slotLink, slotPrefs
	Fallback string `json:"fallback,omitempty"`
	As       form   `json:"as,omitempty"`
	Row      *row   `json:"row,omitempty"` // in a text in base64; else it is quoted-printable
}

// piece is some source text, or the slot that stands in its place.
type piece struct {
	text string
	slot *slot
	keep bool // the source stays: what a template leaves to the compiler
}

// write gives v in the form. Controls other than tab and line end are dropped: they
// have no place in text, and NUL none in mail.
func (f form) write(v string) string {
	if strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r >= 0x7f }) {
		v = strings.Map(func(r rune) rune {
			if unicode.IsControl(r) && r != '\t' && r != '\n' && r != '\r' {
				return -1
			}
			return r
		}, strings.ToValidUTF8(v, "\ufffd"))
	}
	switch f {
	case asHTML:
		return html.EscapeString(v)
	case asURL:
		return string(appendPercent(nil, v, ""))
	case asMailto:
		return string(appendPercent(nil, v, "@"))
	case asLink:
		if low := strings.ToLower(v); strings.HasPrefix(low, "http://") || strings.HasPrefix(low, "https://") {
			return html.EscapeString(string(appendPercent(nil, v, "@%!#$&'()*+,/:;=?[]")))
		}
		return string(appendPercent(nil, v, ""))
	}
	return v
}

const hexDigits = "0123456789ABCDEF"

// appendPercent keeps what RFC 3986 §2.3 calls unreserved, and what keep holds.
func appendPercent(dst []byte, s, keep string) []byte {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || strings.IndexByte("-._~", c) >= 0 || strings.IndexByte(keep, c) >= 0 {
			dst = append(dst, c)
			continue
		}
		dst = append(dst, '%', hexDigits[c>>4], hexDigits[c&15])
	}
	return dst
}

// qp writes quoted-printable (RFC 2045 §6.7) in lines of at most 76 octets, a
// character never on two lines.
type qp struct {
	out []byte
	col int
}

// write takes text with CRLF line ends.
func (q *qp) write(s string) {
	for i := 0; i < len(s); {
		if s[i] == '\r' && i+1 < len(s) && s[i+1] == '\n' {
			q.endLine()
			i += 2
			continue
		}
		_, size := utf8.DecodeRuneInString(s[i:])
		q.char(s[i:i+size], strings.HasPrefix(s[i:], "--"))
		i += size
	}
}

func (q *qp) endLine() {
	if n := len(q.out); n > 0 && q.col > 0 && (q.out[n-1] == ' ' || q.out[n-1] == '\t') {
		last := q.out[n-1]
		q.out = q.out[:n-1]
		if q.col += 2; q.col > 76 {
			q.soft()
			q.col = 3
		}
		q.out = append(q.out, '=', hexDigits[last>>4], hexDigits[last&15])
	}
	q.out = append(q.out, '\r', '\n')
	q.col = 0
}

// char writes a character. dashes: it is the first of two, which at the start of a
// line could make a boundary of what was none, or of a value.
func (q *qp) char(s string, dashes bool) {
	safe := len(s) == 1 && (s[0] >= ' ' && s[0] < 0x7f && s[0] != '=' || s[0] == '\t')
	width := 3 * len(s)
	if safe {
		width = 1
	}
	if q.col+width > 75 {
		q.soft()
	}
	if dashes && q.col == 0 {
		safe, width = false, 3
	}
	q.col += width
	if safe {
		q.out = append(q.out, s[0])
		return
	}
	for i := 0; i < len(s); i++ {
		q.out = append(q.out, '=', hexDigits[s[i]>>4], hexDigits[s[i]&15])
	}
}

// soft breaks the line so that the reader does not see it.
func (q *qp) soft() {
	if q.col > 0 {
		q.out = append(q.out, '=', '\r', '\n')
		q.col = 0
	}
}

// encodeQP writes pieces as quoted-printable behind dst. Every slot stands at the
// start of a line, so that its value is encoded without a look at what is around.
func encodeQP(dst []byte, pieces []piece, slots []slot) ([]byte, []slot) {
	q := qp{out: slices.Grow(dst, encodedSize(pieces))}
	open := false // a slot's line, which its value may leave unended, is the last
	for _, p := range pieces {
		if p.slot == nil {
			q.write(p.text)
			open = open && p.text == ""
			continue
		}
		q.soft()
		s := *p.slot
		s.At = len(q.out)
		slots, open = append(slots, s), true
	}
	if open { // a body never ends with a soft break
		q.endLine()
	}
	return q.out, slots
}

// encodedSize is about what the pieces take, so that a large text is not copied
// again and again while it grows.
func encodedSize(pieces []piece) int {
	n := 0
	for _, p := range pieces {
		for i := 0; i < len(p.text); i++ {
			if n++; p.text[i] >= utf8.RuneSelf || p.text[i] == '=' {
				n += 2
			}
		}
	}
	return n + n/24 // soft breaks
}

// plainQP says whether each octet of s stands for itself.
func plainQP(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] >= 0x7f || s[i] == '=' || s[i] == '-' && i+1 < len(s) && s[i+1] == '-' {
			return false
		}
	}
	return true
}

// rows is write for what is plainQP, at the start of a line.
func (q *qp) rows(s string) {
	for len(s) > 75 {
		q.out = append(append(q.out, s[:75]...), "=\r\n"...)
		s = s[75:]
	}
	q.out, q.col = append(q.out, s...), len(s)
}

// appendSlot writes a value for a slot made by encodeQP.
func appendSlot(dst []byte, s *slot, value string) []byte {
	q := qp{out: dst}
	if value = lines(s.As.write(value)); plainQP(value) {
		q.rows(value)
	} else {
		q.write(value)
	}
	if n := len(q.out); q.col > 0 && q.out[n-1] == ' ' { // a blank before a soft break is safe, but not to all
		q.out = append(q.out[:n-1], "=20"...)
	}
	q.soft()
	return q.out
}
