package letters_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	netmail "net/mail"
	"slices"
	"strings"
	"testing"
)

// ours are the fields that a letter may have, in their order.
var ours = []string{"From", "To", "Reply-To", "Subject", "Date", "Message-ID", "List-Unsubscribe", "List-Unsubscribe-Post", "Auto-Submitted",
	"X-Auto-Response-Suppress", "MIME-Version", "Content-Type", "Content-Transfer-Encoding"}

// wire says what keeps b from being a mail that every server carries: RFC 5322
// §2.1.1 and §3.6, RFC 2047 §2. "" when nothing does.
func wire(b []byte) string {
	head, _, ok := bytes.Cut(b, []byte("\r\n\r\n"))
	switch {
	case !ok:
		return "no end of the header"
	case !bytes.HasSuffix(b, []byte("\r\n")):
		return "the last line does not end"
	}
	for i, row := range strings.Split(string(b), "\r\n") {
		if len(row) > 998 {
			return fmt.Sprintf("line %d has %d octets", i, len(row))
		}
		for _, c := range []byte(row) {
			if c >= 0x80 || c == '\r' || c == '\n' || c == 0 {
				return fmt.Sprintf("line %d is not fit to travel: %q", i, row)
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
		if row == "" || strings.TrimSpace(row) == "" {
			return "an empty line in the header"
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
	for _, must := range []string{"From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type"} {
		if !bytes.Contains(append([]byte("\r\n"), head...), []byte("\r\n"+must+": ")) {
			return "no " + must
		}
	}
	return ""
}

// seen is a letter as net/mail reads it.
type seen struct {
	subject, text string
	from, to      *netmail.Address
	header        netmail.Header
}

func reading(b []byte) (s seen, err error) {
	m, err := netmail.ReadMessage(bytes.NewReader(b))
	if err != nil {
		return s, err
	}
	s.header = m.Header
	if s.subject, err = new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject")); err != nil {
		return s, err
	}
	if s.from, err = netmail.ParseAddress(m.Header.Get("From")); err != nil {
		return s, fmt.Errorf("from: %w", err)
	}
	if s.to, err = netmail.ParseAddress(m.Header.Get("To")); err != nil {
		return s, fmt.Errorf("to: %w", err)
	}
	if _, err := m.Header.Date(); err != nil {
		return s, err
	}
	var r io.Reader = base64.NewDecoder(base64.StdEncoding, m.Body)
	if m.Header.Get("Content-Transfer-Encoding") == "quoted-printable" {
		r = quotedprintable.NewReader(m.Body)
	}
	text, err := io.ReadAll(r)
	s.text = strings.ReplaceAll(string(text), "\r\n", "\n")
	return s, err
}

func read(t testing.TB, b []byte) seen {
	t.Helper()
	s, err := reading(b)
	if err != nil {
		t.Fatalf("%v in\n%s", err, b)
	}
	return s
}
