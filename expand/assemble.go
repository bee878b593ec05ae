package expand

import (
	"bytes"
	"encoding/base64"
	"io"
	"mime"
	"mime/quotedprintable"
	"slices"
	"strings"

	"postern/mail"
)

// assembler writes a mail's parts back: octet for octet, but for the texts that
// were compiled and for what cannot travel in 7 bits.
type assembler struct {
	top   []byte // the MIME fields of the mail's own header
	body  []byte
	slots []slot
}

func (a *assembler) write(p *part, root bool) error {
	switch {
	case len(p.children) > 0:
		return a.writeMultipart(p, root)
	case p.text != nil && p.text.changed:
		return a.writeText(p, root)
	case p.canTravel():
		if err := a.writeHead(p, root, "", ""); err != nil {
			return err
		}
		a.body = append(a.body, p.body...)
		return nil
	case strings.HasPrefix(p.kind, "message/"):
		return mail.Refuse(554, "5.6.3", "%s is a mail with 8-bit text or very long lines, which cannot be passed on unchanged; attach it as a compressed file instead", p.where())
	}
	return a.writeBase64(p, root)
}

// canTravel says whether the leaf can go as it stands: 7-bit, and quoted-printable
// only such as strict readers take.
func (p *part) canTravel() bool {
	if !sevenBit(p.body) || p.coding != "quoted-printable" {
		return sevenBit(p.body)
	}
	_, err := io.Copy(io.Discard, quotedprintable.NewReader(bytes.NewReader(p.body)))
	return err == nil
}

// writeText encodes a text in whichever way is shorter: Korean in base64, what is
// mostly ASCII in quoted-printable.
func (a *assembler) writeText(p *part, root bool) error {
	coding, encode := "quoted-printable", encodeQP
	if base64IsSmaller(p.text.pieces) {
		coding, encode = "base64", encodeBase64
	}
	if err := a.writeHead(p, root, p.textType(), coding); err != nil {
		return err
	}
	a.body, a.slots = encode(a.body, p.text.pieces, a.slots)
	return nil
}

// writeBase64 encodes a leaf that is not fit for 7 bits (RFC 2045 §6.8); what the
// reader opens stays octet for octet.
func (a *assembler) writeBase64(p *part, root bool) error {
	octets, err := decodeTransfer(p.coding, p.body)
	if err != nil {
		return mail.Refuse(554, "5.6.0", "%s cannot be read: %v; attach it again", p.where(), err)
	}
	if err := a.writeHead(p, root, "", "base64"); err != nil {
		return err
	}
	a.body = appendBase64(a.body, octets)
	return nil
}

// appendBase64 writes lines of 76 characters (RFC 2045 §6.8).
func appendBase64(dst, octets []byte) []byte {
	const row = 57 // octets for 76 characters
	dst = slices.Grow(dst, (len(octets)/row+1)*78)
	for len(octets) > 0 {
		n := min(row, len(octets))
		dst = append(base64.StdEncoding.AppendEncode(dst, octets[:n]), "\r\n"...)
		octets = octets[n:]
	}
	return dst
}

func (a *assembler) writeMultipart(p *part, root bool) error {
	if err := a.writeHead(p, root, "", ""); err != nil {
		return err
	}
	for i := range p.gaps {
		a.body = append(a.body, p.gap(i)...)
		if i < len(p.children) {
			if err := a.write(p.children[i], false); err != nil {
				return err
			}
		}
	}
	return nil
}

// gap is what stands before child i, or behind the last one. What is not fit for 7
// bits there (a preamble, an epilogue, blanks behind a boundary) is for nobody to
// read and left out.
func (p *part) gap(i int) []byte {
	switch {
	case sevenBit(p.gaps[i]):
		return p.gaps[i]
	case i == len(p.children):
		return []byte("\r\n--" + p.params["boundary"] + "--\r\n")
	}
	return []byte("\r\n--" + p.params["boundary"] + "\r\n")
}

// textType is the type of a text that is written as UTF-8; its other parameters
// (format, delsp) stay.
func (p *part) textType() string {
	params := map[string]string{}
	for k, v := range p.params {
		params[k] = v
	}
	params["charset"] = "utf-8"
	if t := mime.FormatMediaType(p.kind, params); t != "" && len(t) < 900 {
		return t
	}
	return p.kind + "; charset=utf-8"
}

// topFields are the MIME fields that a mail's own header keeps.
func topFields() []string {
	return []string{"Content-Type", "Content-Transfer-Encoding", "Content-Disposition", "Content-ID", "Content-Description", "Content-Language", "Content-Location", "Content-Base"}
}

// writeHead writes the part's header; kind and coding, where not "", replace what
// it said.
func (a *assembler) writeHead(p *part, root bool, kind, coding string) error {
	whole := !root && kind == "" && coding == "" && !p.countsParts()
	if whole && sevenBit(p.head) && !p.sloppy && (len(p.body) > 0 || len(p.children) > 0 || bytes.HasSuffix(p.head, []byte("\r\n\r\n")) || bytes.Equal(p.head, crlf)) {
		a.body = append(a.body, p.head...)
		return nil
	}
	var out []byte
	once := map[string]bool{}
	for _, f := range p.header {
		name := strings.ToLower(f.name)
		switch {
		case root && !oneOf(name, topFields()), once[name] && strings.HasPrefix(name, "content-"),
			kind != "" && name == "content-type", coding != "" && name == "content-transfer-encoding",
			!whole && name == "content-md5", !whole && name == "content-length",
			len(p.children) > 0 && name == "content-transfer-encoding":
			continue
		}
		once[name] = true
		raw, err := mend(f, p)
		if err != nil {
			return err
		}
		out = append(out, raw...)
	}
	if kind != "" {
		out = append(out, "Content-Type: "+kind+"\r\n"...)
	}
	if coding != "" {
		out = append(out, "Content-Transfer-Encoding: "+coding+"\r\n"...)
	}
	if root {
		a.top = out
		return nil
	}
	a.body = append(append(a.body, out...), "\r\n"...)
	return nil
}

// countsParts says whether a multipart's header says of its parts what may no longer
// be so: their sum, their length, or that they have 8-bit text.
func (p *part) countsParts() bool {
	if len(p.children) == 0 {
		return false
	}
	_, sum := p.header.find("Content-MD5")
	_, length := p.header.find("Content-Length")
	return sum || length || p.coding == "8bit" || p.coding == "binary"
}

// mend gives a field that can travel and that all understand: as it stands, else with its parameters by
// RFC 2231 or its text as encoded-words.
func mend(f field, p *part) ([]byte, error) {
	if sevenBit(f.raw) && !(p.sloppy && f.is("Content-Type")) {
		return f.raw, nil
	}
	if !f.is("Content-Type") && !f.is("Content-Disposition") {
		return appendText(nil, f.name, decodeWords(f.text())), nil
	}
	kind, params := parseType(f.text())
	for k, v := range params {
		params[k] = clean(decodeWords(v))
	}
	v := mime.FormatMediaType(kind, params)
	out := []byte(f.name + ": " + strings.ReplaceAll(v, "; ", ";\r\n ") + "\r\n")
	if v == "" || !sevenBit(out) {
		return nil, mail.Refuse(554, "5.6.0", "%s has a name or type that cannot be sent (%s); give the file a shorter name", p.where(), printable(bytes.TrimSpace(f.raw), 60))
	}
	return out, nil
}
