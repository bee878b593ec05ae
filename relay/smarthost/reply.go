package smarthost

import (
	"bufio"
	"errors"
	"fmt"
	"strings"

	"postern/mail"
)

// The bounds of one reply. RFC 5321 §4.5.3.1.5 gives a line 512 octets; some
// servers say more.
const (
	maxLine  = 4096 // octets; the size of the read buffer
	maxLines = 128
	maxText  = 2000 // octets of a reply's text that are kept
)

var errMalformed = errors.New("the server's answer is not SMTP")

// reply is one answer of the upstream (RFC 5321 §4.2).
type reply struct {
	code int
	text string // the lines' words joined by a space, codes removed
	// lines holds them apart; only filled when asked for (EHLO).
	lines []string
}

// readReply reads one reply. With words false the text of a positive one is
// skipped: it costs an allocation and nobody reads it.
func readReply(r *bufio.Reader, words, apart bool) (reply, error) {
	var rep reply
	for n := 0; ; n++ {
		line, err := r.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) || n == maxLines {
			return rep, fmt.Errorf("%w: it is too long", errMalformed)
		}
		if err != nil {
			return rep, err
		}
		code, rest, more, ok := splitLine(line)
		if !ok || n > 0 && code != rep.code {
			return rep, fmt.Errorf("%w: %q", errMalformed, clip(string(line), 80))
		}
		rep.code = code
		if words || code >= 400 {
			rep.add(rest)
		}
		if apart {
			rep.lines = append(rep.lines, string(rest))
		}
		if !more {
			return rep, nil
		}
	}
}

// splitLine takes "250-text CRLF" apart; more says that another line follows.
// RFC 5321 §4.2.1 lets the text, and then the space, be missing.
func splitLine(line []byte) (code int, text []byte, more, ok bool) {
	for len(line) > 0 && (line[len(line)-1] == '\n' || line[len(line)-1] == '\r') {
		line = line[:len(line)-1]
	}
	if len(line) < 3 || line[0] < '2' || line[0] > '5' {
		return 0, nil, false, false
	}
	for _, c := range line[:3] {
		if c < '0' || c > '9' {
			return 0, nil, false, false
		}
		code = code*10 + int(c-'0')
	}
	if len(line) == 3 {
		return code, nil, false, true
	}
	if line[3] != ' ' && line[3] != '-' {
		return 0, nil, false, false
	}
	return code, line[4:], line[3] == '-', true
}

// add joins a line to the text. An enhanced code that every line repeats (RFC
// 2034 §4) is kept on the first only.
func (r *reply) add(line []byte) {
	s := clean(string(line))
	if r.text != "" {
		if first := enhanced(r.code, r.text); first != "" && enhanced(r.code, s) == first {
			s = strings.TrimLeft(s[len(first):], " ")
		}
	}
	switch {
	case s == "" || len(r.text) >= maxText:
	case r.text == "":
		r.text = clip(s, maxText)
	default:
		r.text = clip(r.text+" "+s, maxText)
	}
}

// clean keeps an upstream from writing control characters or broken UTF-8 into
// logs and pages.
func clean(s string) string {
	plain := true
	for i := 0; i < len(s); i++ {
		plain = plain && ' ' <= s[i] && s[i] < 0x7f
	}
	if plain {
		return strings.TrimSpace(s)
	}
	s = strings.ToValidUTF8(s, "?")
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || 0x7f <= r && r < 0xa0 || 0x2028 <= r && r <= 0x202e || 0x2066 <= r && r <= 0x2069 {
			return ' '
		}
		return r
	}, s))
}

func clip(s string, n int) string {
	if len(s) > n {
		return strings.ToValidUTF8(s[:n], "")
	}
	return s
}

// enhanced is the enhanced status code (RFC 3463 §2) that a text begins with;
// "" when there is none or its class is not that of the reply.
func enhanced(code int, text string) string {
	word, _, _ := strings.Cut(text, " ")
	parts := strings.Split(word, ".")
	if len(parts) != 3 || len(parts[0]) != 1 || int(parts[0][0]-'0') != code/100 {
		return ""
	}
	for _, p := range parts[1:] {
		if p == "" || len(p) > 3 || strings.Trim(p, "0123456789") != "" {
			return ""
		}
	}
	return word
}

// refusal is a reply as an error of the given class, with the upstream's words.
func (r reply) refusal(class mail.Class) *mail.Error {
	e := enhanced(r.code, r.text)
	text := strings.TrimLeft(r.text[len(e):], " ")
	if text == "" {
		text = "the upstream gave no reason"
	}
	return &mail.Error{Class: class, Code: r.code, Enhanced: e, Public: text}
}

// queueID is the id in "250 2.0.0 Ok: queued as 4XyZ", and in Amazon SES's "250 Ok
// 0100018f...-000000", which its events bear; "" when there is none.
func queueID(text string) string {
	const mark = "queued as "
	i := strings.Index(strings.ToLower(text), mark)
	if i < 0 {
		if id, ok := strings.CutPrefix(text, "Ok "); ok && len(id) >= 50 && strings.Trim(id, "0123456789abcdef-") == "" {
			return id
		}
		return ""
	}
	words := strings.Fields(text[i+len(mark):])
	if len(words) == 0 {
		return ""
	}
	return strings.Trim(words[0], `.,;:()<>"'`)
}
