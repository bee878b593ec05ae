package events

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"mime/quotedprintable"
	"strings"
)

// parser walks through a mail once, line by line, and keeps what it looks for.
type parser struct {
	lines *lines
	parts int

	delivery, complaint *Report // the first of each
	own, returned       fields  // the headers of the report and of the returned mail
}

// entity reads a header and what it says of the body, up to the next line of one
// of the boundaries around it, which it returns; end means that this was the last
// one of its multipart. At the end of the mail boundary is "".
func (p *parser) entity(around []string, depth int) (boundary string, end bool) {
	p.parts++
	head, boundary, end := p.header(around)
	if p.parts == 1 {
		p.own = head
	}
	if boundary != "" || p.lines.over || p.parts > maxParts {
		return p.skip(around, boundary, end)
	}
	kind, params := mediaType(head.get("Content-Type"))
	encoding := strings.ToLower(strings.TrimSpace(head.get("Content-Transfer-Encoding")))
	switch {
	case strings.HasPrefix(kind, "multipart/") && params["boundary"] != "" && depth < maxDepth:
		return p.multipart(around, params["boundary"], depth+1)
	case kind == "message/delivery-status", kind == "message/global-delivery-status":
		body, boundary, end := p.collect(around)
		if r := delivery(groups(decoded(body, encoding))); p.delivery == nil {
			p.delivery = r
		}
		return boundary, end
	case kind == "message/feedback-report":
		body, boundary, end := p.collect(around)
		if p.complaint == nil {
			p.complaint = complaint(groups(decoded(body, encoding)))
		}
		return boundary, end
	case depth > 0 && returned(kind):
		body, boundary, end := p.collect(around)
		p.returnedMail(decoded(body, encoding))
		return boundary, end
	}
	return p.skip(around, "", false)
}

// returned says whether a part holds the mail that the report is about, or its
// header (RFC 6522 §3).
func returned(kind string) bool {
	switch kind {
	case "message/rfc822", "message/global", "text/rfc822-headers", "message/global-headers", "text/rfc822-header":
		return true
	}
	return false
}

// returnedMail looks at the begin of the returned mail only: its own header. Some
// put an empty line or the envelope of mbox before it.
func (p *parser) returnedMail(raw []byte) {
	if g := groups(raw); len(g) > 0 && p.returned.get("Message-ID") == "" {
		p.returned = g[0]
	}
}

// multipart reads the parts within a boundary, and then goes on to one around it.
func (p *parser) multipart(around []string, inner string, depth int) (boundary string, end bool) {
	within := append(around[:len(around):len(around)], inner)
	boundary, end = p.skip(within, "", false)
	for boundary == inner && !end {
		boundary, end = p.entity(within, depth)
	}
	if boundary == inner {
		return p.skip(around, "", false)
	}
	return boundary, end
}

// skip reads on to the next boundary, unless one was met already.
func (p *parser) skip(around []string, boundary string, end bool) (string, bool) {
	for boundary == "" {
		line, ok := p.lines.next()
		if !ok {
			return "", true
		}
		boundary, end = isBoundary(line, around)
	}
	return boundary, end
}

// collect reads a part, of which it keeps maxPart octets.
func (p *parser) collect(around []string) (body []byte, boundary string, end bool) {
	for {
		line, ok := p.lines.next()
		if !ok {
			return body, "", true
		}
		if boundary, end = isBoundary(line, around); boundary != "" {
			return body, boundary, end
		}
		if len(body)+len(line) < maxPart {
			body = append(append(body, line...), '\n')
		}
	}
}

// header reads the fields up to an empty line.
func (p *parser) header(around []string) (f fields, boundary string, end bool) {
	for size := 0; ; {
		line, ok := p.lines.next()
		if !ok || len(line) == 0 {
			return f, "", false
		}
		if boundary, end = isBoundary(line, around); boundary != "" {
			return f, boundary, end
		}
		if size += len(line); size < maxPart {
			f = f.add(line)
		}
	}
}

// isBoundary finds the boundary that a line is (RFC 2046 §5.1.1), the innermost
// first; end is its last one.
func isBoundary(line []byte, around []string) (boundary string, end bool) {
	rest, ok := bytes.CutPrefix(line, []byte("--"))
	if !ok {
		return "", false
	}
	rest = bytes.TrimRight(rest, " \t")
	for i := len(around) - 1; i >= 0; i-- {
		tail, ok := bytes.CutPrefix(rest, []byte(around[i]))
		if ok && (len(tail) == 0 || string(tail) == "--") {
			return around[i], len(tail) > 0
		}
	}
	return "", false
}

// mediaType is lenient: a parameter that cannot be read leaves the type.
func mediaType(v string) (kind string, params map[string]string) {
	kind, params, err := mime.ParseMediaType(v)
	if err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter) {
		kind, _, _ = strings.Cut(v, ";")
	}
	return strings.ToLower(strings.TrimSpace(kind)), params
}

// decoded undoes the encoding for transfer, which RFC 3464 forbids and some use.
// What is damaged ends there.
func decoded(body []byte, encoding string) []byte {
	var r io.Reader
	switch encoding {
	case "base64":
		r = base64.NewDecoder(base64.StdEncoding, bytes.NewReader(body))
	case "quoted-printable":
		r = quotedprintable.NewReader(bytes.NewReader(body))
	default:
		return body
	}
	out, _ := io.ReadAll(r)
	return out
}

// groups reads the blocks of fields that empty lines part.
func groups(body []byte) (all []fields) {
	var g fields
	n := 0
	for line := range bytes.Lines(body) {
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 && len(g) > 0 {
			all, g = append(all, g), nil
		}
		if n++; len(line) > 0 && n <= maxFields {
			g = g.add(line)
		}
	}
	if len(g) > 0 {
		all = append(all, g)
	}
	return all
}

// fields are those of one header, unfolded.
type fields []field

type field struct{ name, value string }

// add takes a line: a field, more of the one before, or neither.
func (f fields) add(line []byte) fields {
	if line[0] == ' ' || line[0] == '\t' {
		if n := len(f); n > 0 && len(f[n-1].value) < maxValue {
			f[n-1].value += " " + strings.TrimSpace(string(line[:min(len(line), maxValue)]))
		}
		return f
	}
	name, value, ok := bytes.Cut(line, []byte(":"))
	if !ok || len(f) >= maxFields || len(name) > 100 {
		return f
	}
	return append(f, field{strings.ToLower(strings.TrimSpace(string(name))), strings.TrimSpace(string(value[:min(len(value), maxValue)]))})
}

// get is the first value of a name.
func (f fields) get(name string) string {
	for _, v := range f.all(name) {
		return v
	}
	return ""
}

func (f fields) all(name string) (values []string) {
	for i := range f {
		if strings.EqualFold(f[i].name, name) {
			values = append(values, f[i].value)
		}
	}
	return values
}

// lines gives the lines of a mail without their ends, the long ones cut.
type lines struct {
	r    *bufio.Reader
	over bool
	err  error // not io.EOF
	line []byte
}

func newLines(r io.Reader) *lines {
	return &lines{r: bufio.NewReader(io.LimitReader(r, MaxSize))}
}

// next is false at the end. The line is good until the next call.
func (l *lines) next() (line []byte, ok bool) {
	l.line = l.line[:0]
	for !l.over {
		part, err := l.r.ReadSlice('\n')
		l.line = append(l.line, part[:min(len(part), maxLine-len(l.line))]...)
		switch {
		case err == nil:
			return bytes.TrimRight(l.line, "\r\n"), true
		case err == bufio.ErrBufferFull:
			continue
		}
		l.over = true
		if err != io.EOF {
			l.err = err
		}
		if len(l.line) > 0 {
			return bytes.TrimRight(l.line, "\r\n"), true
		}
	}
	return nil, false
}
