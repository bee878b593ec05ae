package expand_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	eml "github.com/emersion/go-message"
	_ "github.com/emersion/go-message/charset"

	"postern/expand"
	"postern/mail"
)

var seoul = time.FixedZone("KST", 9*60*60)

const messageID = mail.ID("01JZ5V7Q8R9S0T1V2W3X4Y5Z6A")

// input is a mail to the list promo; raw has LF line ends.
func input(t testing.TB, raw string) expand.Input {
	fields, err := expand.NewFields(map[string]expand.FieldDef{
		"Name":   {Alias: []string{"이름", "성함"}},
		"Gender": {},
		"Point":  {Type: expand.TypeNumber, Alias: []string{"점수"}},
		"Shop":   {},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return expand.Input{
		ID: messageID, Raw: []byte(strings.ReplaceAll(raw, "\n", "\r\n")), Hostname: "mail.example.com",
		List:   mail.ListPolicy{ID: "promo", Address: "promo@lists.example.com", Name: "Promotions", Language: "en"},
		Mailto: "unsubscribe@lists.example.com", BaseURL: "https://mail.example.com", Vocabulary: fields,
		Date: time.Date(2026, 11, 22, 9, 30, 0, 0, seoul),
	}
}

func compile(t testing.TB, raw string) *expand.Compiled {
	t.Helper()
	c, err := expand.Compile(input(t, raw))
	if err != nil {
		t.Fatalf("refused: %v", err)
	}
	b, err := c.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	if c, err = expand.Load(b); err != nil {
		t.Fatalf("what was stored cannot be loaded: %v", err)
	}
	return c
}

// refused gives the words with which raw is refused.
func refused(t testing.TB, raw string) string {
	t.Helper()
	_, err := expand.Compile(input(t, raw))
	var e *mail.Error
	if !errors.As(err, &e) || e.Class != mail.Permanent || e.Code < 500 || e.Enhanced == "" || e.Public == "" {
		t.Fatalf("want a Permanent refusal with codes and a sentence, got %v", err)
	}
	return e.Error()
}

// copyTo is a copy with values by field.
func copyTo(c *expand.Compiled, to mail.Address, values map[string]string) *mail.Copy {
	cp := &mail.Copy{Message: messageID, Seq: 7, To: to}
	for _, f := range c.Fields() {
		cp.Values = append(cp.Values, values[f])
	}
	return cp
}

// render makes the copy for 민 and reads it.
func render(t testing.TB, raw string, name string) *received {
	t.Helper()
	c := compile(t, raw)
	return receive(t, c.Render(copyTo(c, "min@example.net", map[string]string{"Name": name, "Point": "1,200"}), "TOKEN_7").Bytes())
}

// received is a copy as a mail reader sees it.
type received struct {
	raw        []byte
	header     eml.Header
	text, html string
	files      map[string]string // other parts by type
}

func receive(t testing.TB, raw []byte) *received {
	t.Helper()
	r := &received{raw: raw, files: map[string]string{}}
	e, err := eml.Read(bytes.NewReader(raw))
	if err != nil && !eml.IsUnknownCharset(err) {
		t.Fatalf("a mail reader refuses the copy: %v\n%s", err, raw)
	}
	r.header = e.Header
	err = e.Walk(func(_ []int, part *eml.Entity, err error) error {
		if err != nil && !eml.IsUnknownCharset(err) {
			return err
		}
		kind, _, _ := part.Header.ContentType()
		if strings.HasPrefix(kind, "multipart/") {
			return nil
		}
		b, err := io.ReadAll(part.Body)
		disposition, _, _ := part.Header.ContentDisposition()
		switch {
		case disposition == "attachment":
			r.files["attachment"] += string(b)
		case kind == "text/plain":
			r.text += string(b)
		case kind == "text/html":
			r.html += string(b)
		default:
			r.files[kind] += string(b)
		}
		return err
	})
	if err != nil {
		t.Fatalf("a mail reader refuses the copy: %v\n%s", err, raw)
	}
	return r
}

func (r *received) subject(t testing.TB) string {
	t.Helper()
	s, err := r.header.Text("Subject")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// checkWire holds what every copy must be on the wire.
func checkWire(t testing.TB, raw []byte) {
	t.Helper()
	for _, line := range strings.Split(strings.TrimSuffix(string(raw), "\r\n"), "\r\n") {
		if len(line) > 998 {
			t.Errorf("a line of %d octets: %.80q", len(line), line)
		}
		if strings.ContainsAny(line, "\r\n\x00") || strings.IndexFunc(line, func(r rune) bool { return r > 127 }) >= 0 {
			t.Errorf("not 7-bit: %.80q", line)
		}
	}
}

func want(t testing.TB, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s:\n got %q\nwant %q", what, got, want)
	}
}

func wantIn(t testing.TB, what, got string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(got, w) {
			t.Errorf("%s: %q is missing in\n%s", what, w, got)
		}
	}
}

func wantNone(t testing.TB, what, got string, none ...string) {
	t.Helper()
	for _, n := range none {
		if strings.Contains(strings.ToLower(got), strings.ToLower(n)) {
			t.Errorf("%s: %q must not be in\n%s", what, n, got)
		}
	}
}

// textMail and htmlMail are one part with the unsubscribe link shown, so that no
// footer joins them.
func textMail(body string) string {
	return "From: shop@example.com\nSubject: s\nContent-Type: text/plain; charset=utf-8\n\n" + body + "\n{{Unsubscribe}}\n"
}

func htmlMail(body string) string {
	return "From: shop@example.com\nSubject: s\nContent-Type: text/html; charset=utf-8\n\n" + body + "\n<p>{{Unsubscribe}}</p>\n"
}

const theLink = "https://mail.example.com/u/TOKEN_7"
