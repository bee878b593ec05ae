package notice

import (
	"bytes"
	"encoding/base64"
	"mime/quotedprintable"
	"strings"
)

// part is one body part with its own few fields.
type part struct {
	kind     string // value of Content-Type
	encoding string // "" is 7bit
	file     string // name of an attachment, "" for none
	body     []byte // encoded, CRLF
}

func (p part) append(b []byte) []byte {
	b = appendField(b, "Content-Type", p.kind)
	if p.encoding != "" {
		b = appendField(b, "Content-Transfer-Encoding", p.encoding)
	}
	if p.file != "" {
		b = appendField(b, "Content-Disposition", `attachment; filename="`+p.file+`"`)
	}
	return append(append(b, "\r\n"...), p.body...)
}

// textPart is text for people, with "\n" at the line ends, in whichever encoding
// is the shorter.
func textPart(s string) part {
	b := []byte(strings.ReplaceAll(s, "\n", "\r\n"))
	p := part{kind: "text/plain; charset=utf-8"}
	beyond := 0
	for _, c := range b {
		if c >= 0x80 {
			beyond++
		}
	}
	if beyond*6 > len(b) {
		p.encoding, p.body = "base64", encode64(b)
	} else {
		p.encoding, p.body = "quoted-printable", encodeQP(b)
	}
	return p
}

func encodeQP(b []byte) []byte {
	var out bytes.Buffer
	w := quotedprintable.NewWriter(&out)
	_, _ = w.Write(b) // a bytes.Buffer takes everything
	_ = w.Close()
	return out.Bytes()
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

// maxLine is RFC 5322 §2.1.1's bound of a line, in octets without CRLF.
const maxLine = 998

// safe says whether b may travel as 7bit (RFC 2045 §2.7): no octet above 127, no
// NUL, line ends as CRLF only, no line above 998 octets.
func safe(b []byte) bool {
	start := 0
	for i, c := range b {
		switch {
		case c >= 0x80 || c == 0:
			return false
		case c == '\r' && (i+1 == len(b) || b[i+1] != '\n'):
			return false
		case c == '\n':
			if i == 0 || b[i-1] != '\r' {
				return false
			}
			start = i + 1
		}
		if i+1-start > maxLine+1 || i+1-start == maxLine+1 && c != '\r' {
			return false
		}
	}
	return true
}
