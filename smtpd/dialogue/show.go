package dialogue

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// command is a line of the client as far as it may be shown.
type command struct {
	verb  string // "" when it is none
	arg   string // of HELO, EHLO: the name; of AUTH: the mechanism, if it is a known one
	shown string // "" when nothing may be
	chunk int64  // of BDAT; -1 when no octets follow
	whole bool   // nothing of the line was left out
}

// understand reads a line as go-smtp does: a verb of four letters and a space, or
// STARTTLS with anything behind it.
func understand(line []byte) command {
	line = bytes.TrimRight(line, "\r\n")
	word, arg, more := strings.Cut(string(line), " ")
	verb := strings.ToUpper(word)
	if strings.HasPrefix(verb, "STARTTLS") {
		return command{verb: "STARTTLS", shown: "STARTTLS", chunk: -1, whole: len(line) == len("STARTTLS")}
	}
	c := command{verb: verb, shown: verb, chunk: -1, whole: !more}
	arg = strings.TrimSpace(arg)
	switch verb {
	case "HELO", "EHLO", "LHLO":
		name, _, more := strings.Cut(arg, " ")
		c.arg = safe(name, 128)
		c.shown, c.whole = strings.TrimSpace(verb+" "+c.arg), !more
	case "MAIL", "RCPT":
		c.shown, c.whole = path(verb, arg)
	case "AUTH":
		c.arg, c.shown, c.whole = mechanism(arg)
	case "BDAT":
		c.chunk, c.shown, c.whole = chunk(arg)
	case "DATA", "RSET", "NOOP", "QUIT", "HELP", "VRFY", "EXPN", "TURN", "ETRN", "XCLIENT", "XFORWARD":
		if more {
			c.shown += " (argument not shown)"
		}
	default:
		return command{chunk: -1}
	}
	return c
}

// path shows the address of MAIL or RCPT and the parameters that mail programs
// use. What is written otherwise may be anything.
func path(verb, arg string) (shown string, whole bool) {
	before, rest, found := strings.Cut(arg, ":")
	want := "FROM"
	if verb == "RCPT" {
		want = "TO"
	}
	if !found || !strings.EqualFold(before, want) {
		return verb + " (not understood)", false
	}
	rest = strings.TrimSpace(rest)
	address, parameters := rest, ""
	if strings.HasPrefix(rest, "<") {
		if end := strings.IndexByte(rest, '>'); end > 0 {
			address, parameters = rest[:end+1], rest[end+1:]
		}
	} else {
		address, parameters, _ = strings.Cut(rest, " ")
	}
	if strings.ContainsAny(address, " \t") {
		return verb + " (not understood)", false
	}
	shown, whole = verb+" "+strings.ToUpper(before)+":"+safe(address, 200), true
	for _, p := range strings.Fields(parameters) {
		name, value, _ := strings.Cut(p, "=")
		switch name = strings.ToUpper(name); {
		case name == "SIZE" && digits(value), name == "BODY" && oneOf(strings.ToUpper(value), "7BIT 8BITMIME BINARYMIME"), p == "SMTPUTF8":
			shown += " " + strings.ToUpper(p)
		case oneOf(name, "RET ENVID NOTIFY ORCPT AUTH SMTPUTF8 REQUIRETLS BY HOLDFOR MT-PRIORITY"):
			shown += " " + name + "=(not shown)"
		default:
			shown, whole = shown+" (parameter not shown)", false
		}
	}
	return shown, whole
}

// mechanism shows the first word of AUTH when it cannot be a password.
func mechanism(arg string) (name, shown string, whole bool) {
	word, rest, _ := strings.Cut(arg, " ")
	word = strings.ToUpper(word)
	switch {
	case arg == "":
		return "", "AUTH", true
	case !oneOf(word, "PLAIN LOGIN CRAM-MD5 DIGEST-MD5 NTLM XOAUTH2 OAUTHBEARER GSSAPI GSS-SPNEGO EXTERNAL ANONYMOUS OTP SCRAM-SHA-1 SCRAM-SHA-1-PLUS SCRAM-SHA-256 SCRAM-SHA-256-PLUS KERBEROS_V4 MSN"):
		return "", "AUTH (not shown)", false
	case rest == "":
		return word, "AUTH " + word, true
	}
	// What goes on before the final line of the exchange is the initial response.
	return word, "AUTH " + word + " (response not shown)", true
}

// chunk reads BDAT as go-smtp does; -1 when it takes no octets after it.
func chunk(arg string) (n int64, shown string, whole bool) {
	args := strings.Fields(arg)
	if len(args) == 0 || len(args) > 2 || len(args) == 2 && !strings.EqualFold(args[1], "LAST") {
		return -1, "BDAT (not understood)", false
	}
	size, err := strconv.ParseUint(args[0], 10, 32)
	if err != nil {
		return -1, "BDAT (not understood)", false
	}
	return int64(size), strings.TrimSpace("BDAT " + args[0] + " " + strings.ToUpper(strings.Join(args[1:], ""))), true
}

func digits(s string) bool {
	return s != "" && len(s) < 20 && strings.Trim(s, "0123456789") == ""
}

func oneOf(word, words string) bool {
	for w := range strings.FieldsSeq(words) {
		if w == word {
			return true
		}
	}
	return false
}

// stranger recognises a client by its first octets. The answer is "" as long as
// it could still be one of SMTP.
func stranger(first []byte) Stranger {
	switch {
	case len(first) >= 2 && first[0] == 0x16 && first[1] == 3, len(first) >= 3 && first[0]&0x80 != 0 && first[2] == 1: // the latter is the hello of SSL 2
		return ClearTLS
	case bytes.HasPrefix(first, []byte("\r\n\r\n\x00")), bytes.HasPrefix(first, []byte("PROXY ")):
		return Proxy
	case bytes.HasPrefix(first, []byte("SSH-")):
		return SSH
	}
	line, _, ended := bytes.Cut(first, []byte("\n"))
	words := strings.Fields(strings.ToUpper(string(line)))
	if !ended || len(words) == 0 {
		return ""
	}
	switch {
	case oneOf(words[0], "GET POST HEAD PUT OPTIONS CONNECT PRI") && strings.Contains(words[len(words)-1], "HTTP/"):
		return HTTP
	case oneOf(words[0], "USER PASS APOP CAPA STLS"), len(words) > 1 && oneOf(words[1], "LOGIN CAPABILITY AUTHENTICATE ID") && words[0] != "AUTH" && words[0] != "HELO" && words[0] != "EHLO":
		return MailReader
	}
	return ""
}

// safe shows what a stranger wrote: octets that a terminal would obey, and those
// that are no UTF-8, as \x.. or \u....
func safe(s string, limit int) string {
	s = cut(s, limit)
	if strings.IndexFunc(s, func(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }) < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s) && b.Len() < limit; {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
		i += n
	}
	return b.String()
}

// cut shortens s to n octets, and never within a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return strings.Clone(s[:n])
}
