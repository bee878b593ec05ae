package expand

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/unicode"
)

// decodeText gives b, text in the named charset, as UTF-8. Octets that the charset
// does not have become U+FFFD, as they would in the reader's client; a charset
// that nobody here knows is an error.
func decodeText(charset string, b []byte) (string, error) {
	name := strings.ToLower(strings.Trim(charset, " \t\"'"))
	switch name {
	case "", "us-ascii", "ascii", "ansi_x3.4-1968", "utf-8", "utf8", "cp65001", "unknown-8bit", "8bit":
		return guess(bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))), nil
	case "iso-2022-kr", "csiso2022kr":
		return decodeISO2022KR(b)
	}
	enc := encodingOf(name)
	if enc == nil {
		return "", fmt.Errorf("the charset %q is not known", printable([]byte(charset), 40))
	}
	out, err := enc.NewDecoder().Bytes(b)
	if err != nil {
		return "", fmt.Errorf("reading the charset %q: %w", name, err)
	}
	if bytes.ContainsRune(out, utf8.RuneError) && utf8.Valid(b) {
		return string(b), nil // UTF-8 under a false name
	}
	return strings.ToValidUTF8(string(out), "\ufffd"), nil
}

// unicodeNamed says whether text in the charset is UTF-8 as it stands.
func unicodeNamed(charset string) bool {
	switch strings.ToLower(strings.Trim(charset, " \t\"'")) {
	case "", "us-ascii", "ascii", "utf-8", "utf8":
		return true
	}
	return false
}

// encodingOf knows the names that Korean clients use for code page 949 beside
// those of the WHATWG and of IANA. nil: unknown.
func encodingOf(name string) encoding.Encoding {
	switch name {
	case "ks_c_5601-1987", "ks_c_5601-1989", "ks_c_5601", "ksc_5601", "ksc5601", "ks_c-5601-1987", "korean", "euc-kr", "euckr",
		"cp949", "ms949", "uhc", "x-uhc", "windows-949", "x-windows-949", "949", "iso-ir-149", "cseuckr", "csksc56011987":
		return korean.EUCKR // x/text's is the WHATWG's: all of code page 949
	case "utf-16", "utf16":
		return unicode.UTF16(unicode.BigEndian, unicode.UseBOM)
	}
	if enc, err := htmlindex.Get(name); err == nil && enc != encoding.Replacement {
		return enc
	}
	if enc, err := ianaindex.MIME.Encoding(name); err == nil && enc != encoding.Replacement {
		return enc
	}
	return nil
}

// decodeISO2022KR reads RFC 1557: after the header ESC $ ) C, SO begins KS X 1001
// in 7 bits and SI ends it; a line begins in ASCII.
func decodeISO2022KR(b []byte) (string, error) {
	b = bytes.ReplaceAll(b, []byte("\x1b$)C"), nil)
	out := make([]byte, 0, len(b))
	shifted := false
	for _, c := range b {
		switch {
		case c == 0x0e:
			shifted = true
		case c == 0x0f:
			shifted = false
		case c == '\n':
			shifted = false
			out = append(out, c)
		case shifted && c > ' ' && c < 0x7f:
			out = append(out, c|0x80)
		default:
			out = append(out, c)
		}
	}
	return decodeText("euc-kr", out)
}

// guess reads text that does not say its charset, or says ASCII or UTF-8: as UTF-8
// where it is that, else as code page 949, else with U+FFFD for what is odd.
func guess(b []byte) string {
	_, s := guessCharset(b)
	return s
}

// guessCharset is guess with the charset's name: "utf-8", "euc-kr", or
// "unknown-8bit" (RFC 1428 §3).
func guessCharset(b []byte) (name, s string) {
	if utf8.Valid(b) {
		return "utf-8", string(b)
	}
	if out, err := korean.EUCKR.NewDecoder().Bytes(b); err == nil && !bytes.ContainsRune(out, utf8.RuneError) {
		return "euc-kr", string(out)
	}
	return "unknown-8bit", strings.ToValidUTF8(string(b), "\ufffd")
}

// decodeTransfer undoes a Content-Transfer-Encoding (RFC 2045 §6) with the
// leniency of mail clients.
func decodeTransfer(coding string, b []byte) ([]byte, error) {
	switch coding {
	case "", "7bit", "8bit", "binary":
		return b, nil
	case "quoted-printable":
		return decodeQP(b), nil
	case "base64":
		return decodeBase64(b)
	}
	return nil, fmt.Errorf("the transfer encoding %q is not known", printable([]byte(coding), 40))
}

// decodeQP reads RFC 2045 §6.7; an = that starts no escape stands for itself.
func decodeQP(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for len(b) > 0 {
		end := lineEnd(b, 0)
		line := b[:end]
		b = b[end:]
		text := bytes.TrimRight(line, " \t\r\n") // blanks at the end were added on the way
		eol := line[len(bytes.TrimRight(line, "\r\n")):]
		if bytes.HasSuffix(text, []byte("=")) {
			text, eol = text[:len(text)-1], nil
		}
		for i := 0; i < len(text); i++ {
			if text[i] == '=' && i+2 < len(text) {
				if hi, lo := unhex(text[i+1]), unhex(text[i+2]); hi >= 0 && lo >= 0 {
					out = append(out, byte(hi<<4|lo))
					i += 2
					continue
				}
			}
			out = append(out, text[i])
		}
		out = append(out, eol...)
	}
	return out
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c - 'a' + 10)
	case 'A' <= c && c <= 'F':
		return int(c - 'A' + 10)
	}
	return -1
}

// decodeBase64 ignores what is not of the alphabet (RFC 2045 §6.8) and misses no
// padding.
func decodeBase64(b []byte) ([]byte, error) {
	in := make([]byte, 0, len(b))
	for _, c := range b {
		switch {
		case 'A' <= c && c <= 'Z', 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '+', c == '/':
			in = append(in, c)
		}
	}
	if len(in)%4 == 1 {
		return nil, fmt.Errorf("the base64 text is cut off or damaged")
	}
	return base64.RawStdEncoding.DecodeString(string(in))
}

// lines gives s CRLF line ends throughout.
func lines(s string) string {
	if !strings.ContainsAny(s, "\r\n") {
		return s
	}
	var out strings.Builder
	out.Grow(len(s) + len(s)/40)
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\r' && i+1 < len(s) && s[i+1] == '\n':
		case c == '\r' || c == '\n':
			out.WriteString("\r\n")
		default:
			out.WriteByte(c)
		}
	}
	return out.String()
}
