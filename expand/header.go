package expand

import (
	"bytes"
	"strings"

	"postern/mail"
)

// The limits of a mail that is compiled. They are far above what mail clients
// write and keep a made-up mail from costing more than its size.
const (
	maxFields   = 1000    // header fields of one part
	manyFields  = 100_000 // of these even what is only passed on has none; they would take more memory than the mail
	maxHeader   = 1 << 20 // octets of one part's header
	maxParts    = 1000
	maxDepth    = 20
	maxLine     = 998 // octets without CRLF (RFC 5322 §2.1.1)
	maxReceived = 50  // RFC 5321 §6.3 asks for at least 100 hops; SES and we see fewer than 10
)

// field is a header field as it stands in the mail.
type field struct {
	name string // as written
	raw  []byte // whole and folded; ends with CRLF
}

func (f field) is(name string) bool { return strings.EqualFold(f.name, name) }

// text is what follows the colon: unfolded, raw 8-bit octets made UTF-8,
// encoded-words left as they are, trimmed.
func (f field) text() string {
	_, v, _ := bytes.Cut(f.raw, []byte(":"))
	v = bytes.ReplaceAll(v, crlf, nil)
	return strings.TrimSpace(guess(v))
}

// header is the fields of a part, in order.
type header []field

func (h header) find(name string) (field, bool) {
	for _, f := range h {
		if f.is(name) {
			return f, true
		}
	}
	return field{}, false
}

// text is that of the first field with this name, "" when there is none.
func (h header) text(name string) string {
	f, ok := h.find(name)
	if !ok {
		return ""
	}
	return f.text()
}

// all are the fields with this name.
func (h header) all(name string) []field {
	var all []field
	for _, f := range h {
		if f.is(name) {
			all = append(all, f)
		}
	}
	return all
}

func oneOf(name string, names []string) bool {
	for _, n := range names {
		if strings.EqualFold(n, name) {
			return true
		}
	}
	return false
}

var crlf = []byte("\r\n")

// readHeader reads the fields at the start of b. n is where the body starts,
// behind the empty line if there is one. A line that is no field ends the header
// too; it is returned as odd, and the body starts with it.
func readHeader(b []byte) (h header, n int, odd []byte) {
	for n < len(b) {
		end := lineEnd(b, n)
		line := b[n:end]
		switch {
		case len(bytes.TrimRight(line, "\r\n")) == 0:
			return h, end, nil
		case line[0] == ' ' || line[0] == '\t':
			if len(h) == 0 {
				return h, n, line
			}
			last := &h[len(h)-1]
			last.raw = b[n-len(last.raw) : end : end]
		default:
			name, ok := fieldName(line)
			if !ok || len(h) >= manyFields {
				return h, n, line
			}
			h = append(h, field{name, line[:len(line):len(line)]})
		}
		n = end
	}
	if last := len(h) - 1; last >= 0 && !bytes.HasSuffix(h[last].raw, crlf) {
		h[last].raw = append(bytes.Clone(h[last].raw), "\r\n"...)
	}
	return h, n, nil
}

func lineEnd(b []byte, from int) int {
	if i := bytes.IndexByte(b[from:], '\n'); i >= 0 {
		return from + i + 1
	}
	return len(b)
}

// fieldName holds RFC 5322 §2.2: printable ASCII without colon; the blanks before
// the colon are the obsolete form of §4.5.
func fieldName(line []byte) (string, bool) {
	name, _, ok := bytes.Cut(line, []byte(":"))
	name = bytes.TrimRight(name, " \t")
	if !ok || len(name) == 0 || len(name) > 200 {
		return "", false
	}
	for _, c := range name {
		if c <= ' ' || c >= 0x7f {
			return "", false
		}
	}
	return string(name), true
}

// readHead is readHeader of a whole mail or part that must be well-formed, or may
// have its body begin with the first line that is no field. where names the part
// for people.
func readHead(b []byte, where string, lenient bool) (header, int, error) {
	h, n, odd := readHeader(b)
	if len(h) > maxFields || n > maxHeader {
		return nil, 0, mail.Refuse(554, "5.6.0", "the header of %s is too long: at most %d fields and 1 MB are taken", where, maxFields)
	}
	if odd != nil && !lenient {
		return nil, 0, mail.Refuse(554, "5.6.0", "the header of %s holds the line %q, which is no header field; send the mail again with another program", where, printable(odd, 60))
	}
	return h, n, nil
}

// printable is the start of b, fit to be shown.
func printable(b []byte, max int) string {
	s := strings.Join(strings.Fields(clean(guess(b[:min(len(b), max)]))), " ")
	return s
}

// sevenBit says whether b can travel anywhere as it is: CRLF line ends, lines of
// at most 998 octets, no NUL and nothing above 127 (RFC 5322 §2.3).
func sevenBit(b []byte) bool {
	for start := 0; start < len(b); {
		end := bytes.Index(b[start:], crlf)
		if end < 0 {
			end = len(b) - start
		}
		line := b[start : start+end]
		if len(line) > maxLine {
			return false
		}
		for _, c := range line {
			if c >= 0x80 || c == 0 || c == '\r' || c == '\n' {
				return false
			}
		}
		start += end + 2
	}
	return true
}
