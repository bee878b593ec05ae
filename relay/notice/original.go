package notice

import (
	"bytes"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxHeader bounds, in octets, what a notice repeats of the original's header.
const maxHeader = 32 << 10

// fields cuts a header into its fields, each whole and folded and ending in CRLF.
// What is no field is left out, and so is everything from the empty line on.
func fields(h []byte) [][]byte {
	var all [][]byte
	good := false
	for len(h) > 0 {
		row, rest, _ := bytes.Cut(h, []byte("\n"))
		h = rest
		row = bytes.ReplaceAll(bytes.TrimSuffix(row, []byte("\r")), []byte("\r"), []byte(" ")) // a bare CR would end a line to some
		switch {
		case len(row) == 0:
			return all
		case row[0] == ' ' || row[0] == '\t':
			if good && len(bytes.TrimSpace(row)) > 0 { // a blank line to some would end the header
				last := &all[len(all)-1]
				*last = append(append(*last, row...), "\r\n"...)
			}
		default:
			name := fieldName(row)
			if good = name != ""; good {
				all = append(all, slices.Concat([]byte(name), row[bytes.IndexByte(row, ':'):], []byte("\r\n")))
			}
		}
	}
	return all
}

// fieldName is the name of the field that row begins, "" when it begins none.
func fieldName(row []byte) string {
	name, _, ok := bytes.Cut(row, []byte(":"))
	name = bytes.TrimRight(name, " \t") // RFC 5322 §4.5
	if !ok || len(name) == 0 || len(name) > 100 {
		return ""
	}
	for _, c := range name {
		if c <= ' ' || c >= 0x7f {
			return ""
		}
	}
	return string(name)
}

// originalPart repeats the header of the mail without Bcc. Fields beyond the
// bound are left out, the small ones among them last. ok is false without any.
func originalPart(h []byte) (p part, ok bool) {
	var kept []byte
	for _, f := range fields(bounded(h)) {
		switch strings.ToLower(fieldName(f)) {
		case "bcc", "resent-bcc":
			continue
		}
		if len(kept)+len(f) <= maxHeader {
			kept = append(kept, f...)
		}
	}
	p = part{kind: "text/rfc822-headers", body: kept}
	if safe(kept) {
		return p, len(kept) > 0
	}
	if utf8.Valid(kept) {
		p.kind += "; charset=utf-8"
	}
	// RFC 6522 §4 allows it for a header that is broken or extended.
	p.encoding, p.body = "quoted-printable", encodeQP(bytes.ReplaceAll(kept, []byte{0}, nil))
	return p, true
}

// bounded keeps a header of megabytes from costing them.
func bounded(h []byte) []byte { return h[:min(len(h), 16*maxHeader)] }

// messageID is the original's Message-ID with its brackets; "" when there is
// none, more than one, or one that no header should repeat.
func messageID(h []byte) string {
	id := ""
	for _, f := range fields(bounded(h)) {
		if !strings.EqualFold(fieldName(f), "Message-ID") {
			continue
		}
		_, value, _ := bytes.Cut(f, []byte(":"))
		if id != "" {
			return ""
		}
		if id = strings.TrimSpace(strings.ReplaceAll(string(value), "\r\n", "")); !sane(id) {
			return ""
		}
	}
	return id
}

// sane says whether s is <left@right>, of printable ASCII without blanks.
func sane(s string) bool {
	if len(s) > 250 || len(s) < 5 || s[0] != '<' || s[len(s)-1] != '>' {
		return false
	}
	in := s[1 : len(s)-1]
	left, right, ok := strings.Cut(in, "@")
	if !ok || left == "" || right == "" {
		return false
	}
	for i := 0; i < len(in); i++ {
		if in[i] <= ' ' || in[i] >= 0x7f || strings.IndexByte(`<>()",;:\`, in[i]) >= 0 {
			return false
		}
	}
	return strings.Count(in, "@") == 1
}
