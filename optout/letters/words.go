package letters

import (
	"bytes"
	"encoding/base64"
	"mime/quotedprintable"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	lineGoal  = 76 // octets; what a line of a header keeps to where it can (RFC 2047 §2)
	wordStart = "=?utf-8?B?"
	wordEnd   = "?="
)

// line is s on one line, at most n characters of it, without anything that could
// end a line, hide or reorder what is read. It touches no more than the octets
// that n characters can have.
func line(s string, n int) string {
	whole := len(s) <= 8*n+64
	if !whole {
		s = s[:8*n+64]
	}
	s = strings.Join(strings.Fields(strings.Map(harmless, strings.ToValidUTF8(s, "\ufffd"))), " ")
	if count := utf8.RuneCountInString(s); count <= n && (whole || count == 0) {
		return s
	}
	cut := []rune(s)
	return strings.TrimSpace(string(cut[:min(n, len(cut))])) + "…"
}

// cleanText is a text without what must not be shown. Its lines stay.
func cleanText(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' {
			return r
		}
		return harmless(r)
	}, strings.ToValidUTF8(s, "\ufffd"))
}

// harmless maps what must not be shown: controls become blanks, format characters
// go, but for the two joiners, which are letters to some scripts and to emoji.
func harmless(r rune) rune {
	switch {
	case unicode.IsControl(r), r == '\u2028', r == '\u2029':
		return ' '
	case r == '\u200c', r == '\u200d':
		return r
	case unicode.Is(unicode.Cf, r), 0xe0000 <= r && r <= 0xe0fff, r&0xfffe == 0xfffe:
		return -1
	}
	return r
}

// clip bounds s in characters.
func clip(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n]) + "…"
	}
	return s
}

func appendField(b []byte, name, value string) []byte {
	return append(b, name+": "+value+"\r\n"...)
}

// appendText writes an unstructured field: as it stands and folded at blanks
// where it is ASCII, else as encoded-words. s is a [line].
func appendText(b []byte, name, s string) []byte {
	b = append(b, name+": "...)
	if plain(s) {
		return append(appendFolded(b, len(name)+2, s), "\r\n"...)
	}
	b, _ = appendEncoded(b, len(name)+2, s)
	return append(b, "\r\n"...)
}

// plain says whether s may stand in a header as it is.
func plain(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] >= 0x7f {
			return false
		}
	}
	for word := range strings.SplitSeq(s, " ") {
		if len(word) > 60 {
			return false
		}
	}
	return !strings.Contains(s, "=?")
}

// appendFolded writes ASCII words, folded at blanks, beginning in column col.
func appendFolded(b []byte, col int, s string) []byte {
	for i, word := range strings.Split(s, " ") {
		switch {
		case i == 0:
		case col+1+len(word) > lineGoal:
			b, col = append(b, "\r\n "...), 1
		default:
			b, col = append(b, ' '), col+1
		}
		b, col = append(b, word...), col+len(word)
	}
	return b
}

// appendEncoded writes s as encoded-words of at most 75 octets that split no
// character (RFC 2047 §5), folded, beginning in column col.
func appendEncoded(b []byte, col int, s string) ([]byte, int) {
	for s != "" {
		room := (lineGoal - col - len(wordStart) - len(wordEnd)) / 4 * 3
		n := 0
		for n < len(s) {
			_, size := utf8.DecodeRuneInString(s[n:])
			if n+size > room {
				break
			}
			n += size
		}
		if n > 0 {
			b = append(b, wordStart...)
			b = base64.StdEncoding.AppendEncode(b, []byte(s[:n]))
			b = append(b, wordEnd...)
			col += len(wordStart) + base64.StdEncoding.EncodedLen(n) + len(wordEnd)
			s = s[n:]
		}
		if s != "" {
			b, col = append(b, "\r\n "...), 1
		}
	}
	return b, col
}

// appendPhrase writes a display name (RFC 5322 §3.2.5): as atoms, else encoded.
func appendPhrase(b []byte, col int, s string) ([]byte, int) {
	for _, r := range s {
		if r != ' ' && (r >= utf8.RuneSelf || !unicode.IsLetter(r) && !unicode.IsDigit(r)) {
			return appendEncoded(b, col, s)
		}
	}
	if len(s) > 60 {
		return appendEncoded(b, col, s)
	}
	return append(b, s...), col + len(s)
}

// encoded is text for people, with "\n" at the line ends, in whichever encoding is
// the shorter.
func encoded(s string) (encoding string, body []byte) {
	b := []byte(strings.ReplaceAll(s, "\n", "\r\n"))
	beyond := 0
	for _, c := range b {
		if c >= 0x80 {
			beyond++
		}
	}
	if beyond*6 > len(b) {
		return "base64", encode64(b)
	}
	var out bytes.Buffer
	w := quotedprintable.NewWriter(&out)
	_, _ = w.Write(b) // a bytes.Buffer takes everything
	_ = w.Close()
	return "quoted-printable", out.Bytes()
}

func encode64(b []byte) []byte {
	const octets = 57 // 76 characters
	out := make([]byte, 0, len(b)/octets*78+80)
	for len(b) > 0 {
		n := min(octets, len(b))
		out = append(base64.StdEncoding.AppendEncode(out, b[:n]), "\r\n"...)
		b = b[n:]
	}
	return out
}
