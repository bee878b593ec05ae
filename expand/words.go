package expand

import (
	"encoding/base64"
	"fmt"
	"io"
	"mime"
	netmail "net/mail"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"postern/mail"
)

// encodedWord is RFC 2047 §2, with the language of RFC 2231 §5 and the blanks
// that some clients leave in Q text.
var encodedWord = regexp.MustCompile(`=\?([^?*\s]+)(?:\*[^?\s]*)?\?([bBqQ])\?([^?]*)\?=`)

// decodeWords decodes the encoded-words in s. Neighbours of one charset are joined
// before the charset is read: some clients split a character between them. A word
// in an unknown charset stays as it is.
func decodeWords(s string) string {
	var out strings.Builder
	var pending, raw []byte // neighbours that share a charset: decoded octets, and as they stand
	var charset string
	flush := func() {
		if text, err := decodeText(charset, pending); err == nil {
			out.WriteString(text)
		} else {
			out.Write(raw)
		}
		pending, raw, charset = pending[:0], raw[:0], ""
	}
	at := 0
	for i, m := range encodedWord.FindAllStringSubmatchIndex(s, -1) {
		between, cs := s[at:m[0]], strings.ToLower(s[m[2]:m[3]])
		neighbour := i > 0 && strings.TrimSpace(between) == ""
		if i > 0 && (!neighbour || cs != charset) {
			flush()
		}
		if !neighbour {
			out.WriteString(between)
		}
		charset, pending = cs, append(pending, wordOctets(s[m[4]], s[m[6]:m[7]])...)
		raw = append(raw, s[m[0]:m[1]]...)
		at = m[1]
	}
	if len(raw) > 0 {
		flush()
	}
	out.WriteString(s[at:])
	return out.String()
}

func wordOctets(coding byte, data string) []byte {
	if coding|0x20 == 'q' {
		return decodeQP([]byte(strings.ReplaceAll(data, "_", "=20")))
	}
	b, err := decodeBase64([]byte(data))
	if err != nil {
		return []byte("\ufffd")
	}
	return b
}

// clean makes s fit for a header: controls and line ends become blanks, what turns
// the reading direction and the invisible marks are dropped (rule: a value makes
// no new header and disguises no address).
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsControl(r), r == 0x2028, r == 0x2029:
			return ' '
		case r == 0x061c, r == 0x200b, r == 0x200e, r == 0x200f, 0x202a <= r && r <= 0x202e, 0x2060 <= r && r <= 0x2069, r == 0xfeff:
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
}

// cleanValue is clean with every run of blanks made one.
func cleanValue(s string) string { return strings.Join(strings.Fields(clean(s)), " ") }

const (
	wordStart = "=?utf-8?B?"
	wordLine  = 76 // RFC 2047 §2: a line that holds an encoded-word
	foldLine  = 78 // RFC 5322 §2.1.1
)

// appendWords writes s as encoded-words of at most 75 octets that split no
// character, folded; the first begins in column col.
func appendWords(dst []byte, col int, s string) ([]byte, int) {
	for s != "" {
		room := (wordLine - col - len(wordStart) - 2) / 4 * 3
		n := wholeRunes(s, room)
		if n > 0 {
			dst = append(dst, wordStart...)
			dst = base64.StdEncoding.AppendEncode(dst, []byte(s[:n]))
			dst = append(dst, "?="...)
			col += len(wordStart) + 2 + base64.StdEncoding.EncodedLen(n)
			s = s[n:]
		}
		if s != "" {
			dst, col = append(dst, "\r\n "...), 1
		}
	}
	return dst, col
}

// wholeRunes is how many octets of s, at most room, hold whole characters.
func wholeRunes(s string, room int) int {
	n := 0
	for n < len(s) {
		_, size := utf8.DecodeRuneInString(s[n:])
		if n+size > room {
			break
		}
		n += size
	}
	return n
}

// appendText writes an unstructured field: plain and folded between words where it
// is ASCII, else as encoded-words.
func appendText(dst []byte, name, s string) []byte {
	dst = append(append(dst, name...), ": "...)
	col := len(name) + 2
	if s = strings.TrimSpace(clean(s)); !plain(s) {
		dst, _ = appendWords(dst, col, s)
		return append(dst, "\r\n"...)
	}
	for i, word := range strings.Split(s, " ") {
		switch {
		case i == 0:
		case col+1+len(word) > foldLine:
			dst, col = append(dst, "\r\n "...), 1
		default:
			dst, col = append(dst, ' '), col+1
		}
		dst = append(dst, word...)
		col += len(word)
	}
	return append(dst, "\r\n"...)
}

// plain says whether s may stand in a header as it is: ASCII, nothing that looks
// like an encoded-word, single blanks between words that fit a line.
func plain(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf || s[i] < ' ' {
			return false
		}
	}
	if strings.Contains(s, "=?") || strings.Contains(s, "  ") {
		return false
	}
	for word := range strings.SplitSeq(s, " ") {
		if len(word) > 60 {
			return false
		}
	}
	return true
}

// appendPhrase writes a display name or a list's name (RFC 5322 §3.2.5): atoms, a
// quoted string, or encoded-words.
func appendPhrase(dst []byte, col int, s string) ([]byte, int) {
	if !plain(s) || len(s) > 60 {
		return appendWords(dst, col, s)
	}
	atoms := !strings.ContainsFunc(s, func(r rune) bool {
		return r != ' ' && !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("!#$%&'*+-/=?^_`{|}~", r)
	})
	start := len(dst)
	if atoms {
		dst = append(dst, s...)
	} else {
		dst = append(dst, '"')
		for i := 0; i < len(s); i++ {
			if s[i] == '"' || s[i] == '\\' {
				dst = append(dst, '\\')
			}
			dst = append(dst, s[i])
		}
		dst = append(dst, '"')
	}
	return dst, col + len(dst) - start
}

// appendNamed writes `name <spec>`, folded before the bracket where it is long.
func appendNamed(dst []byte, col int, name, spec string) []byte {
	dst, col = appendPhrase(dst, col, name)
	if name != "" {
		if col+len(spec)+3 > foldLine {
			dst = append(dst, "\r\n"...)
		}
		dst = append(dst, ' ')
	}
	return append(append(append(dst, '<'), spec...), '>')
}

// mailbox is one address of a header with its display name, decoded.
type mailbox struct {
	name string
	addr mail.Address
}

// appendMailboxes writes an address field.
func appendMailboxes(dst []byte, name string, boxes []mailbox) ([]byte, error) {
	dst = append(append(dst, name...), ": "...)
	for i, b := range boxes {
		col := len(name) + 2
		if i > 0 {
			dst, col = append(dst, ",\r\n "...), 1
		}
		spec, err := b.addr.ASCII()
		if err != nil {
			return nil, err
		}
		if b.name == "" {
			dst = append(dst, spec...)
		} else {
			dst = appendNamed(dst, col, b.name, spec)
		}
	}
	return append(dst, "\r\n"...), nil
}

// angled is the lenient reading of one mailbox whose name holds what should have
// been quoted.
var angled = regexp.MustCompile(`^([^<>]*)<\s*([^<>\s]+)\s*>\s*$`)

// maxAddresses is the longest address field that is parsed, in octets.
const maxAddresses = 16 << 10

// parseMailboxes reads the value of an address field, encoded-words included.
func parseMailboxes(value string) ([]mailbox, error) {
	if len(value) > maxAddresses {
		return nil, fmt.Errorf("it has more than %d octets", maxAddresses)
	}
	p := netmail.AddressParser{WordDecoder: &mime.WordDecoder{CharsetReader: charsetReader}}
	list, err := p.ParseList(value)
	if err != nil {
		m := angled.FindStringSubmatch(value)
		bare, failed := p.ParseList(uncomment(value)) // comments where netmail has none (RFC 5322 §3.2.2)
		switch {
		case failed == nil:
			list = bare
		case m != nil:
			list = []*netmail.Address{{Name: strings.Trim(strings.TrimSpace(m[1]), `"`), Address: m[2]}}
		default:
			return nil, err
		}
	}
	boxes := make([]mailbox, 0, len(list))
	for _, a := range list {
		addr, err := mail.ParseAddress(a.Address)
		if err != nil {
			return nil, err
		}
		boxes = append(boxes, mailbox{cleanValue(decodeWords(a.Name)), addr})
	}
	return boxes, nil
}

func charsetReader(charset string, in io.Reader) (io.Reader, error) {
	b, err := io.ReadAll(in)
	if err != nil {
		return nil, err
	}
	s, err := decodeText(charset, b)
	return strings.NewReader(s), err
}
