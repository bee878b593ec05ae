package notice_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	netmail "net/mail"
	"slices"
	"strings"
	"testing"
)

// ours are the fields that a notice may have, in their order.
var ours = []string{"From", "To", "Cc", "Subject", "Date", "Message-ID", "In-Reply-To", "References", "Auto-Submitted",
	"X-Auto-Response-Suppress", "MIME-Version", "Content-Type", "Content-Transfer-Encoding"}

// wire says what keeps b from being a mail that every server carries: RFC 5322
// §2.1.1 and §3.6, RFC 2047 §2. "" when nothing does.
func wire(b []byte) string {
	head, _, ok := bytes.Cut(b, []byte("\r\n\r\n"))
	if !ok {
		return "no end of the header"
	}
	if !bytes.HasSuffix(b, []byte("\r\n")) {
		return "the last line does not end"
	}
	for i, row := range strings.Split(string(b), "\r\n") {
		if strings.ContainsAny(row, "\r\n\x00") {
			return fmt.Sprintf("line %d has a bare CR, LF or NUL: %q", i, row)
		}
		if len(row) > 998 {
			return fmt.Sprintf("line %d has %d octets", i, len(row))
		}
		for _, c := range []byte(row) {
			if c >= 0x80 {
				return fmt.Sprintf("line %d is 8-bit: %q", i, row)
			}
		}
	}
	last := -1
	for row := range strings.SplitSeq(string(head), "\r\n") {
		if len(row) > 76 && !strings.HasPrefix(row, "To: ") && !strings.HasPrefix(row, " <") && strings.Count(row, " ") > 1 {
			return fmt.Sprintf("a header line of %d octets that could be folded: %s", len(row), row)
		}
		for word := range strings.FieldsSeq(row) {
			if strings.HasPrefix(word, "=?") && len(word) > 75 {
				return "an encoded-word of more than 75 octets: " + word
			}
		}
		if row[0] == ' ' {
			continue
		}
		name, _, _ := strings.Cut(row, ":")
		n := slices.Index(ours, name)
		if n <= last {
			return "a field that is not ours, twice there, or out of order: " + row
		}
		last = n
	}
	return ""
}

// seen is a notice as net/mail and mime/multipart read it.
type seen struct {
	subject, text, status, original string
	header                          netmail.Header
	kinds                           []string
}

// reading is read for those who need no test.
func reading(b []byte) (s seen, err error) {
	m, err := netmail.ReadMessage(bytes.NewReader(b))
	if err != nil {
		return s, err
	}
	s.header = m.Header
	if s.subject, err = new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject")); err != nil {
		return s, err
	}
	for _, field := range []string{"From"} {
		if _, err := m.Header.AddressList(field); err != nil {
			return s, fmt.Errorf("%s: %w", field, err)
		}
	}
	if _, err := m.Header.Date(); err != nil {
		return s, err
	}
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil {
		return s, err
	}
	if !strings.HasPrefix(kind, "multipart/") {
		s.kinds = []string{kind}
		s.text, err = decoded(m.Body, m.Header.Get("Content-Transfer-Encoding"))
		return s, err
	}
	r := multipart.NewReader(m.Body, params["boundary"])
	for {
		p, err := r.NextRawPart()
		if err == io.EOF {
			return s, nil
		}
		if err != nil {
			return s, err
		}
		text, err := decoded(p, p.Header.Get("Content-Transfer-Encoding"))
		if err != nil {
			return s, err
		}
		kind, _, err := mime.ParseMediaType(p.Header.Get("Content-Type"))
		if err != nil {
			return s, err
		}
		switch s.kinds = append(s.kinds, kind); kind {
		case "text/plain":
			s.text = text
		case "message/delivery-status":
			s.status = text
		default:
			s.original = text
		}
	}
}

func decoded(r io.Reader, encoding string) (string, error) {
	switch encoding {
	case "base64":
		r = base64.NewDecoder(base64.StdEncoding, r)
	case "quoted-printable":
		r = quotedprintable.NewReader(r)
	}
	b, err := io.ReadAll(r)
	return strings.ReplaceAll(string(b), "\r\n", "\n"), err
}

func read(t *testing.T, b []byte) seen {
	t.Helper()
	s, err := reading(b)
	if err != nil {
		t.Fatalf("%v in\n%s", err, b)
	}
	return s
}

func isOurs(name string) bool {
	return slices.ContainsFunc(ours, func(o string) bool { return strings.EqualFold(o, name) })
}
