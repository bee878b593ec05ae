package expand

import (
	"bytes"
	"slices"
	"strings"

	"postern/mail"
)

// SevenBit gives ordinary mail for an upstream that takes only 7-bit text in lines
// of at most 998 octets. What can go as it is comes back as it is; otherwise only
// what cannot is encoded anew, before anybody signs it:
//
//   - a text part becomes quoted-printable and any other part base64, in the same
//     charset: what a reader decodes stays octet for octet;
//   - a part that does not say its type is text, UTF-8 or euc-kr as it seems;
//   - raw 8-bit text in header fields becomes encoded-words, or RFC 2231 in the
//     parameters of MIME fields;
//   - bare CR and LF become CRLF.
//
// All other parts, fields and boundaries stay octet for octet. Signed or encrypted
// parts and attached mails may not be changed inside (RFC 1847 §2.1, RFC 2046
// §5.2.1): where they hold 8-bit text, the error is a Permanent [*mail.Error], 554
// 5.6.3. A multipart that cannot be split is sent as one text.
func SevenBit(c mail.Content) (mail.Content, error) {
	body, whole := joined(c.Body), true
	fits := sevenBit(body)
	if fits && sevenBit(c.Header) {
		return c, nil
	}
	if !tidy(body) {
		body, whole = []byte(lines(string(body))), false
		fits = sevenBit(body)
	}
	h, n, odd := readHeader(c.Header)
	if odd != nil || n < len(c.Header) {
		return mail.Content{}, mail.Refuse(554, "5.6.0", "the header of the mail holds a line that is no header field; send the mail again with another program")
	}
	if fits {
		header, err := (&part{header: h}).carried("", "")
		if !whole {
			c.Body = [][]byte{body}
		}
		return mail.Content{Header: header, Body: c.Body}, err
	}
	root, err := (&parser{ordinary: true}).parse(bytes.Join([][]byte{c.Header, body}, crlf), "", "text/plain", 0)
	if err != nil {
		return mail.Content{}, err
	}
	kind, coding, err := root.transfer()
	if err != nil {
		return mail.Content{}, err
	}
	header, err := root.carried(kind, coding)
	if err != nil {
		return mail.Content{}, err
	}
	if _, ok := root.header.find("MIME-Version"); !ok {
		header = append(header, "MIME-Version: 1.0\r\n"...)
	}
	body, err = root.appendBody(make([]byte, 0, len(body)+len(body)/2), coding)
	return mail.Content{Header: header, Body: [][]byte{body}}, err
}

func joined(segments [][]byte) []byte {
	if len(segments) == 1 {
		return segments[0]
	}
	return bytes.Join(segments, nil)
}

// sealed says that nothing inside the part may be changed: a signature covers it,
// or its rules forbid to encode it.
func (p *part) sealed() bool {
	return p.kind == "multipart/signed" || p.kind == "multipart/encrypted" || strings.HasPrefix(p.kind, "message/")
}

// transfer says how the part's body is to travel: what its header must say from
// now on, where that is not "".
func (p *part) transfer() (kind, coding string, err error) {
	switch {
	case len(p.children) > 0:
		if p.coding == "8bit" || p.coding == "binary" {
			return "", "7bit", nil
		}
		return "", "", nil
	case sevenBit(p.body):
		return "", "", nil
	case strings.HasPrefix(p.kind, "message/"):
		return "", "", mail.Refuse(554, "5.6.3", "%s is a mail with 8-bit text or lines of more than 998 octets, which the next server does not take and which may not be encoded; attach it as a compressed file instead", p.where())
	case p.sealed():
		return "", "", mail.Refuse(554, "5.6.3", "%s is signed or encrypted and has 8-bit text or lines of more than 998 octets, which the next server does not take; encoding it now would break the signature, so set the sending program to quoted-printable or base64", p.where())
	case p.coding == "base64":
		return "", "base64", nil
	}
	_, typed := p.header.find("Content-Type")
	unsplit := strings.HasPrefix(p.kind, "multipart/")
	if !typed || unsplit {
		charset, _ := guessCharset(p.octets())
		kind = "text/plain; charset=" + charset
	}
	if unsplit || strings.HasPrefix(p.kind, "text/") {
		return kind, "quoted-printable", nil
	}
	return kind, "base64", nil
}

// octets is the part's decoded body. An encoding that nobody knows is none, as it
// is for readers.
func (p *part) octets() []byte {
	if p.coding == "quoted-printable" {
		return decodeQP(p.body)
	}
	return p.body
}

// append writes the part.
func (p *part) append(dst []byte) ([]byte, error) {
	if sevenBit(p.raw) {
		return append(dst, p.raw...), nil
	}
	kind, coding, err := p.transfer()
	if err != nil {
		return nil, err
	}
	head, err := p.carried(kind, coding)
	if err != nil {
		return nil, err
	}
	return p.appendBody(append(append(dst, head...), "\r\n"...), coding)
}

// appendBody writes the part's body in the coding that transfer gave.
func (p *part) appendBody(dst []byte, coding string) (_ []byte, err error) {
	switch {
	case len(p.children) > 0:
		for i := range p.gaps {
			dst = append(dst, p.gap(i)...)
			if i < len(p.children) {
				if dst, err = p.children[i].append(dst); err != nil {
					return nil, err
				}
			}
		}
		return dst, nil
	case coding == "quoted-printable":
		return appendQP(dst, p.octets()), nil
	case coding == "base64" && p.coding == "base64":
		return rewrap(dst, p.body), nil
	case coding == "base64":
		return appendBase64(dst, p.octets()), nil
	}
	return append(dst, p.body...), nil
}

// appendQP writes octets with CRLF line ends as quoted-printable.
func appendQP(dst, octets []byte) []byte {
	q := qp{out: slices.Grow(dst, len(octets)+len(octets)/4)}
	q.write(string(octets))
	if q.col == 0 {
		return q.out
	}
	q.endLine() // keeps a blank that ends the text
	return q.out[:len(q.out)-len(crlf)]
}

// rewrap breaks base64 text into lines of 76 characters. It is not decoded, so that
// what is damaged stays as it is; what is not of the alphabet means nothing
// (RFC 2045 §6.8).
func rewrap(dst, b []byte) []byte {
	dst = slices.Grow(dst, len(b)+len(b)/38+2)
	col := 0
	for _, c := range b {
		if 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '+' || c == '/' || c == '=' {
			if col == 76 {
				dst, col = append(dst, "\r\n"...), 0
			}
			dst, col = append(dst, c), col+1
		}
	}
	return append(dst, "\r\n"...)
}

// carried is the part's fields, without the empty line, fit for 7 bits. kind and
// coding, where not "", replace what they said.
func (p *part) carried(kind, coding string) ([]byte, error) {
	var out []byte
	replace := func(name, value string) {
		if value != "" {
			out = append(out, name+": "+value+"\r\n"...)
		}
	}
	for _, f := range p.header {
		switch {
		case kind != "" && f.is("Content-Type"):
			replace("Content-Type", kind)
			kind = ""
			continue
		case coding != "" && f.is("Content-Transfer-Encoding"), coding != "" && f.is("Content-Length"):
			continue
		}
		raw, err := carriedField(f, p)
		if err != nil {
			return nil, err
		}
		out = append(out, raw...)
	}
	replace("Content-Type", kind)
	replace("Content-Transfer-Encoding", coding)
	return out, nil
}

// carriedField is a field as it stands, else folded, else written anew.
func carriedField(f field, p *part) ([]byte, error) {
	if sevenBit(f.raw) {
		return f.raw, nil
	}
	if folded := fold(f.raw); sevenBit(folded) {
		return folded, nil
	}
	switch {
	case f.is("Content-Type"), f.is("Content-Disposition"):
		return mend(f, p)
	case oneOf(f.name, addressFields()):
		boxes, err := parseMailboxes(f.text())
		if err != nil || len(boxes) == 0 {
			break
		}
		if raw, err := appendMailboxes(nil, f.name, boxes); err == nil && sevenBit(raw) {
			return raw, nil
		}
	}
	return appendText(nil, f.name, decodeWords(f.text())), nil
}

// addressFields are those whose display names become encoded-words and whose
// addresses must not.
func addressFields() []string {
	return []string{"From", "Sender", "Reply-To", "To", "Cc", "Resent-From", "Resent-Sender", "Resent-To", "Resent-Cc",
		"Disposition-Notification-To", "Return-Receipt-To", "Errors-To"}
}

// fold breaks a field before blanks into lines of at most 78 octets, as far as it
// has blanks (RFC 5322 §2.2.3).
func fold(raw []byte) []byte {
	s := bytes.TrimRight(bytes.ReplaceAll(raw, crlf, nil), " \t\r\n")
	out := make([]byte, 0, len(s)+len(s)/20)
	start, blank := 0, 0 // of the line, and the last place where it may end
	for i := 1; i <= len(s); i++ {
		if i < len(s) && (!isBlank(s[i]) || isBlank(s[i+1])) {
			continue
		}
		if i-start > foldLine && blank > start {
			out = append(append(out, s[start:blank]...), "\r\n"...)
			start = blank
		}
		blank = i
	}
	return append(append(out, s[start:]...), "\r\n"...)
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }
