package expand_test

import (
	"bytes"
	"errors"
	"fmt"
	"html"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"

	eml "github.com/emersion/go-message"
	"pgregory.net/rapid"

	"postern/expand"
	"postern/mail"
)

// FuzzCompile holds for any mail: it is refused in words or compiled; a copy is
// 7-bit in lines of at most 998 octets, another reader can parse it, values and
// placeholders in them make no header field, and it renders the same after a store.
func FuzzCompile(f *testing.F) {
	for _, path := range originals(f) {
		raw, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw, "Kim, \"Min\" 민\r\nBcc: x@y")
	}
	for _, raw := range []string{
		outlookHeader, textMail("{{Name|you}} %7b%7bName%7d%7d"), htmlMail(`<p title={{Name}}>{{na<b>me</b>}}<a href="http://%7b%7bUnsubscribe%7d%7d"><!-- {{ -->`),
		parts("multipart/mixed", "\n{{Name}}", "Content-Type: message/rfc822\n\nSubject: x\n\nx", "Content-Type: image/png\nContent-Transfer-Encoding: binary\n\n\x00\xff"),
		parts("multipart/digest", "\n\nx", ""), "From: a@b\nContent-Type: text/html; charset=iso-2022-kr\nContent-Transfer-Encoding: base64\n\nGyQpQw4=\n",
	} {
		f.Add([]byte(strings.ReplaceAll(raw, "\n", "\r\n")), "민")
	}
	f.Fuzz(func(t *testing.T, raw []byte, name string) {
		in := input(t, "")
		in.Raw = raw
		if r, err := expand.Ordinary(in); err == nil && int(r.Size()) < len(r.Body[0]) {
			t.Fatal("a relayed mail is shorter than its body")
		}
		c, err := expand.Compile(in)
		if err != nil {
			var e *mail.Error
			if !errors.As(err, &e) || e.Class != mail.Permanent || e.Code < 500 || strings.ContainsAny(e.Public, "\r\n\x00") {
				t.Fatalf("refused without a sentence: %q", err)
			}
			return
		}
		cp := copyTo(c, "min@example.net", map[string]string{"Name": name, "Point": name})
		got := c.Render(cp, "TOKEN_7").Bytes()
		checkWire(t, got)
		e, err := eml.Read(bytes.NewReader(got))
		if err == nil || eml.IsUnknownCharset(err) || eml.IsUnknownEncoding(err) {
			err = walk(e)
		}
		if err != nil && !forGo(got) {
			t.Fatalf("a mail reader refuses the copy: %v\n%q", err, got)
		}
		for _, field := range []string{"From", "To", "Subject", "Message-Id", "Bcc"} {
			if n, most := e.Header.FieldsByKey(field).Len(), 1; n > most || field == "Bcc" && n > 0 {
				t.Fatalf("%s stands %d times in\n%q", field, n, got)
			}
		}
		b, _ := c.MarshalBinary()
		if c, err = expand.Load(b); err != nil {
			t.Fatal(err)
		}
		if again := c.Render(cp, "TOKEN_7").Bytes(); !bytes.Equal(got, again) {
			t.Fatalf("stored and loaded it renders another copy:\n%q\n%q", got, again)
		}
	})
}

// forGo says whether a line begins with a boundary and a hyphen or blank and goes on:
// Go takes it for a boundary, other readers and the compiler do not.
func forGo(raw []byte) bool {
	for _, m := range regexp.MustCompile(`(?i)boundary="?([^"\r\n;]+)`).FindAllSubmatch(raw, -1) {
		if regexp.MustCompile(`(?m)^--` + regexp.QuoteMeta(string(m[1])) + `(?:-(?:[^-]|$)|[ \t]+[^ \t\r\n]|--[ \t]*[^ \t\r\n])`).Match(raw) {
			return true
		}
	}
	return false
}

// walk reads every part of e.
func walk(e *eml.Entity) error {
	return e.Walk(func(_ []int, part *eml.Entity, err error) error {
		if err != nil && !eml.IsUnknownCharset(err) && !eml.IsUnknownEncoding(err) {
			return err
		}
		if kind, _, _ := part.Header.ContentType(); strings.HasPrefix(kind, "multipart/") {
			return nil
		}
		_, err = io.Copy(io.Discard, part.Body)
		if strings.EqualFold(part.Header.Get("Content-Transfer-Encoding"), "base64") {
			return nil // what the sender damaged is passed on as it is
		}
		return err
	})
}

// FuzzHTMLStaysAsWritten holds that all HTML before a placeholder comes through
// octet for octet: the compiler edits, it does not write HTML anew.
func FuzzHTMLStaysAsWritten(f *testing.F) {
	for _, s := range []string{"<p class=a>x</p>", "<a href='x>y\">", "<!--[if mso]>x<![endif]-->", "<script>a<b</script >", "<p\x00 a=1 b =\"2\" c= '3'/>&nbsp;&amp", "<textarea><p></textarea><title>", "<![CDATA[x]]><?xml?></", "<plaintext>x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		s = strings.ToValidUTF8(s, "")
		for _, name := range []string{"href", "alt", "title", "--=_b"} { // whose values are edited, and the boundary
			if strings.Contains(strings.ToLower(s), name) {
				return
			}
		}
		if strings.ContainsAny(s, "{}｛｝|%&\r\n") || strings.Contains(strings.ToLower(s), "charset") || strings.Contains(s, "<<") || strings.Contains(s, "«") || strings.HasPrefix(s, "\ufeff") {
			return
		}
		in := input(t, "From: a@example.com\nContent-Type: multipart/mixed; boundary=\"=_b\"\n\n--=_b\n\n{{Unsubscribe}}\n--=_b\nContent-Type: text/html; charset=utf-8\n\n")
		in.Raw = append(in.Raw, s+"é<p>{{Name}}</p>\r\n--=_b--\r\n"...)
		c, err := expand.Compile(in)
		if err != nil {
			t.Fatalf("refused: %v", err)
		}
		got := receive(t, c.Render(copyTo(c, "a@b.example", map[string]string{"Name": "민"}), "T").Bytes()).html
		if plain := s + "é<p>"; got != plain+"민</p>" && got != plain+"{{Name}}</p>" { // the latter where s leaves a comment or tag open
			t.Fatalf("got %q", got)
		}
	})
}

// TestACopyReadsAsTheOriginalWithItsValues holds for any text: what a reader sees
// in the copy is the original with the values put in, in text and in HTML.
func TestACopyReadsAsTheOriginalWithItsValues(t *testing.T) {
	word := rapid.OneOf(rapid.StringMatching(`[a-zA-Z가-힣=.\- ]{0,30}`), rapid.SampledFrom([]string{" \n", "\n\n", ".\n", "From x\n", "=3D", "\t\n", "“é”", "👩‍👧"}))
	rapid.Check(t, func(t *rapid.T) {
		name := strings.TrimSpace(rapid.OneOf(rapid.StringN(1, 80, -1), rapid.StringMatching(`[ -~]{1,90}`)).Filter(func(s string) bool {
			return strings.TrimSpace(s) != "" && strings.IndexFunc(s, func(r rune) bool { return r < ' ' || 0x7f <= r && r < 0xa0 }) < 0
		}).Draw(t, "name"))
		var written, shown strings.Builder
		for range rapid.IntRange(1, 20).Draw(t, "n") {
			w := word.Draw(t, "word")
			written.WriteString(w)
			shown.WriteString(w)
			if rapid.Bool().Draw(t, "slot") {
				written.WriteString(rapid.SampledFrom([]string{"{{Name}}", "{{ 이름 |x}}", "｛｛NAME｝｝", "{{na\nme}}"}).Draw(t, "placeholder"))
				shown.WriteString("\x00")
			}
		}
		value := func(escape func(string) string) string {
			return strings.ReplaceAll(strings.ReplaceAll(shown.String(), "\n", "\r\n"), "\x00", escape(name))
		}
		raw := parts("multipart/alternative", "Content-Type: text/plain; charset=utf-8\n\n["+written.String()+"] {{Unsubscribe}}", "Content-Type: text/html; charset=utf-8\n\n<p>["+written.String()+"]</p><a href=\"{{Unsubscribe}}\"></a>")
		in := rapidInput(t, raw)
		c, err := expand.Compile(in)
		if err != nil {
			t.Fatalf("refused: %v", err)
		}
		r := rapidReceive(t, c.Render(copyTo(c, "min@example.net", map[string]string{"Name": name}), "TOKEN_7").Bytes())
		if want := "[" + value(func(s string) string { return s }) + "] " + theLink; r[0] != want+"\r\n" && r[0] != want {
			t.Fatalf("text:\n got %q\nwant %q", r[0], want)
		}
		if want := "<p>[" + value(html.EscapeString) + "]</p><a href=\"" + theLink + "\"></a>"; r[1] != want {
			t.Fatalf("html:\n got %q\nwant %q", r[1], want)
		}
	})
}

func rapidInput(t *rapid.T, raw string) expand.Input {
	fields, err := expand.NewFields(map[string]expand.FieldDef{"Name": {Alias: []string{"이름"}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return expand.Input{ID: messageID, Raw: []byte(strings.ReplaceAll(raw, "\n", "\r\n")), List: mail.ListPolicy{ID: "p", Address: "p@l.example"},
		Hostname: "h.example", BaseURL: "https://mail.example.com", Vocabulary: fields}
}

// rapidReceive gives the bodies of the parts.
func rapidReceive(t *rapid.T, raw []byte) []string {
	e, err := eml.Read(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	var bodies []string
	err = e.Walk(func(path []int, part *eml.Entity, err error) error {
		if err != nil || len(path) == 0 {
			return err
		}
		b, err := io.ReadAll(part.Body)
		bodies = append(bodies, string(b))
		return err
	})
	if err != nil || len(bodies) != 2 {
		t.Fatal(fmt.Errorf("%d parts: %w", len(bodies), err))
	}
	return bodies
}
