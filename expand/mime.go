package expand

import (
	"bytes"
	"fmt"
	"mime"
	"regexp"
	"strings"

	"postern/mail"
)

// part is a MIME part (RFC 2045). All its slices are of the mail itself: what
// nobody changes is written back octet for octet.
type part struct {
	header   header
	raw      []byte // as it stands, header and body
	head     []byte // as it stands, the empty line included
	body     []byte // of a leaf, and of what is not looked into
	kind     string // "text/html", lower case
	params   map[string]string
	coding   string // transfer encoding, lower case
	number   string // "1.2", as IMAP counts
	sloppy   bool   // its type is, or to some readers looks like, a multipart that not all understand
	attached bool   // an attachment or a named file, not text of the mail itself
	named    bool   // attached for its name alone

	children []*part
	gaps     [][]byte // before, between and after the children: preamble, delimiters, epilogue
	text     *text    // of a text part of the mail itself
}

// where names the part for people.
func (p *part) where() string {
	switch {
	case p.number == "":
		return "the mail"
	case p.kind == "text/plain":
		return "the text part (" + p.number + ")"
	case p.kind == "text/html":
		return "the HTML part (" + p.number + ")"
	case p.kind == ampHTML:
		return "the AMP part (" + p.number + ")"
	}
	return "part " + p.number + " (" + p.kind + ")"
}

// isText says whether placeholders are looked for in the part.
func (p *part) isText() bool {
	return !p.attached && (p.kind == "text/plain" || p.isHTML())
}

func (p *part) isHTML() bool {
	return p.kind == "text/html" || p.kind == ampHTML || p.kind == "text/watch-html" // which Apple Watch shows
}

// ampHTML is the type of the alternative that some readers show as an application;
// it is HTML (https://amp.dev/documentation/guides-and-tutorials/email/learn/email-spec/amp-email-structure).
const ampHTML = "text/x-amp-html"

// parser splits a mail into its parts.
type parser struct {
	parts int
	// ordinary: the mail is only passed on. Nothing is refused for what it is, what
	// cannot be split is one part, and what is sealed is not looked into.
	ordinary bool
}

// parse reads the part that content holds. Refusals name the part.
func (ps *parser) parse(content []byte, number, preset string, depth int) (*part, error) {
	p := &part{number: number}
	h, n, err := readHead(content, p.where(), ps.ordinary)
	if err != nil {
		return nil, err
	}
	p.header, p.raw, p.head, p.body = h, content, content[:n:n], content[n:]
	p.describe(preset)
	if ps.parts++; ps.parts > maxParts || depth > maxDepth {
		return nil, mail.Refuse(554, "5.6.0", "the mail has more than %d parts or is nested more than %d deep; send a simpler one", maxParts, maxDepth)
	}
	if !ps.ordinary {
		if err := checkKind(p); err != nil {
			return nil, err
		}
	}
	if !strings.HasPrefix(p.kind, "multipart/") || ps.ordinary && p.sealed() {
		return p, nil
	}
	return p, ps.split(p, depth)
}

// describe reads the Content-* fields. preset is the type of a part that names none.
func (p *part) describe(preset string) {
	p.kind, p.params = preset, map[string]string{}
	if v := p.header.text("Content-Type"); v != "" {
		if kind, params := parseType(v); mediaType.MatchString(kind) {
			p.kind, p.params = kind, params
			_, _, err := mime.ParseMediaType(v)
			p.sloppy = err != nil && strings.HasPrefix(kind, "multipart/")
		} else {
			p.kind = "text/plain" // RFC 2045 §5.2
			p.sloppy = hasPrefixFold(v, "multipart/")
		}
	}
	coding, _, _ := strings.Cut(p.header.text("Content-Transfer-Encoding"), ";")
	p.coding = strings.ToLower(strings.TrimSpace(uncomment(coding)))
	disposition, params := parseType(p.header.text("Content-Disposition"))
	p.named = disposition != "attachment" && (params["filename"] != "" || p.params["name"] != "")
	p.attached = p.named || disposition == "attachment"
}

// show takes a named text for one of the mail itself where readers have nothing
// else to show: as the whole mail, an alternative, or what holds the pictures.
func (p *part) show() {
	p.attached = p.attached && !(p.named && (p.kind == "text/plain" || p.isHTML()))
	switch {
	case len(p.children) == 0:
	case p.kind == "multipart/alternative":
		for _, child := range p.children {
			child.show()
		}
	case p.kind == "multipart/related":
		p.root().show()
	}
}

// mediaType is type/subtype of RFC 6838 §4.2, lower case.
var mediaType = regexp.MustCompile(`^[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}$`)

// commented finds the comments that stand by themselves outside quotes; what is
// quoted is the first group.
var commented = regexp.MustCompile(`("(?:[^"\\]|\\.)*")|[ \t]\([^()]*\)`)

// parseType reads `type; name=value; ...`, leniently: what mime refuses as a whole
// (a parameter twice, a quote left open) still has a type and most parameters.
func parseType(v string) (string, map[string]string) {
	if kind, params, err := mime.ParseMediaType(v); err == nil {
		return kind, params
	}
	if kind, params, err := mime.ParseMediaType(commented.ReplaceAllString(v, "$1")); err == nil {
		return kind, params
	}
	kind, rest, _ := strings.Cut(v, ";")
	params := map[string]string{}
	for rest != "" {
		var one string
		one, rest = cutParam(rest)
		name, value, ok := strings.Cut(one, "=")
		name = strings.ToLower(strings.TrimSpace(name))
		if _, twice := params[name]; ok && !twice {
			params[name] = strings.Trim(strings.TrimSpace(value), `"`)
		}
	}
	return strings.ToLower(strings.TrimSpace(uncomment(kind))), params
}

// cutParam cuts at the first semicolon outside quotes.
func cutParam(s string) (one, rest string) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			quoted = !quoted
		case s[i] == ';' && !quoted:
			return s[:i], s[i+1:]
		}
	}
	return s, ""
}

// uncomment removes the comments of RFC 5322 §3.2.2.
func uncomment(s string) string {
	var out strings.Builder
	depth := 0
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && depth > 0:
			i++
		case s[i] == '(':
			depth++
		case s[i] == ')' && depth > 0:
			depth--
		case depth == 0:
			out.WriteByte(s[i])
		}
	}
	return out.String()
}

// split finds the children of a multipart at its delimiter lines (RFC 2046 §5.1.1).
func (ps *parser) split(p *part, depth int) error {
	boundary := p.params["boundary"]
	if boundary == "" || len(boundary) > 200 || !sevenBit([]byte(boundary)) || strings.TrimRight(boundary, " \t") != boundary {
		return ps.unsplit(p, "%s is %s without a usable boundary; send the mail again with another program", p.where(), p.kind)
	}
	preset := "text/plain"
	if p.kind == "multipart/digest" {
		preset = "message/rfc822"
	}
	at, from, open := 0, 0, false // where the gap and the content began
	for {
		d, ok := nextDelimiter(p.body, from, boundary)
		if !ok && ps.ordinary && open {
			d, ok = delimiter{start: len(p.body), end: len(p.body), closes: true}, true // as readers do
		}
		if !ok {
			return ps.unsplit(p, "%s is cut off: the line that ends its parts is missing; send the mail again", p.where())
		}
		if open {
			number := fmt.Sprint(len(p.children) + 1)
			if p.number != "" {
				number = p.number + "." + number
			}
			child, err := ps.parse(p.body[from:max(d.start, from)], number, preset, depth+1)
			if err != nil {
				return err
			}
			p.children, at = append(p.children, child), max(d.start, from)
		}
		if d.closes {
			p.gaps = append(p.gaps, p.body[at:])
			break
		}
		p.gaps = append(p.gaps, p.body[at:d.end])
		from, open = d.end, true
	}
	if len(p.children) == 0 {
		return ps.unsplit(p, "%s is %s without any part; send the mail again with another program", p.where(), p.kind)
	}
	p.body = nil
	return nil
}

// unsplit refuses a multipart whose parts cannot be told apart; in ordinary mail it
// is one part.
func (ps *parser) unsplit(p *part, format string, a ...any) error {
	if ps.ordinary {
		p.children, p.gaps = nil, nil
		return nil
	}
	return mail.Refuse(554, "5.6.0", format, a...)
}

// delimiter is where a delimiter line stands: start is that of the CRLF before it,
// which belongs to it, and end is behind its own.
type delimiter struct {
	start, line, end int
	closes           bool
}

func nextDelimiter(b []byte, from int, boundary string) (delimiter, bool) {
	mark := []byte("--" + boundary)
	for at := from; ; {
		i := bytes.Index(b[at:], mark)
		if i < 0 {
			return delimiter{}, false
		}
		if at += i; at > 0 && b[at-1] != '\n' {
			at += len(mark) // not at the start of a line: its end is not looked for, as there may be a million of these in it
			continue
		}
		d := delimiter{start: at, line: at, end: lineEnd(b, at)}
		rest := b[at+len(mark) : max(d.end, at+len(mark))]
		after, closes := bytes.CutPrefix(rest, []byte("--"))
		d.closes = closes
		fits := len(bytes.Trim(after, " \t\r\n")) == 0 && (closes || bytes.HasSuffix(after, crlf))
		if at > 0 {
			d.start = at - 2
		}
		if fits {
			return d, true
		}
		at += len(mark)
	}
}

// checkKind refuses what cannot be personalised, at any depth, with what the
// sender can do instead.
func checkKind(p *part) error {
	refuse := func(what, instead string) error {
		return mail.Refuse(554, "5.6.0", "%s, and a list mail is changed for each recipient: %s", what, instead)
	}
	_, disposition := parseType(p.header.text("Content-Disposition"))
	switch p.kind {
	case "multipart/signed":
		if strings.Contains(p.params["protocol"], "pgp") {
			return refuse("the mail is signed with PGP", "switch the signature off and send it again")
		}
		return refuse("the mail is signed with S/MIME", "switch the digital signature off (Options, Sign) and send it again")
	case "multipart/encrypted":
		return refuse("the mail is encrypted", "switch encryption off and send it again")
	case "application/pkcs7-mime", "application/x-pkcs7-mime":
		return refuse(smime())
	case "application/pgp-encrypted":
		return refuse("the mail is encrypted with PGP", "switch encryption off and send it again")
	case "application/ms-tnef", "application/vnd.ms-tnef":
		return refuse(richText())
	case "text/calendar":
		if p.params["method"] != "" || !p.attached {
			return refuse("the mail is a meeting request", "write an ordinary mail and attach the appointment as a file (.ics)")
		}
	}
	named := func(file string) bool {
		return strings.EqualFold(p.params["name"], file) || strings.EqualFold(disposition["filename"], file)
	}
	switch { // programs that know no better send these as application/octet-stream
	case named("winmail.dat"):
		return refuse(richText())
	case named("smime.p7m"): // RFC 8551 §3.2.1
		return refuse(smime())
	}
	return nil
}

// smime and richText are what is wrong and what to do instead.
func smime() (what, instead string) {
	return "the mail is encrypted or signed with S/MIME", "switch encryption and the digital signature off (Options, Encrypt, Sign) and send it again"
}

func richText() (what, instead string) {
	return "the mail is in Outlook's rich text format (winmail.dat)", "choose HTML (Format Text, HTML) and send it again"
}
