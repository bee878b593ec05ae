package expand_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"postern/expand"
	"postern/internal/peer"
	"postern/mail"
)

const ascii = "From: Boss <boss@example.com>\nSubject: s\n"

// contentOf is a mail with LF line ends as it is sent.
func contentOf(raw string) mail.Content {
	head, body, _ := strings.Cut(strings.ReplaceAll(raw, "\n", "\r\n"), "\r\n\r\n")
	return mail.Content{Header: []byte(head + "\r\n"), Body: [][]byte{[]byte(body)}}
}

func TestSevenBitKeepsWhatAReaderDecodes(t *testing.T) {
	mixed := func(boundary, coding string, each ...string) string {
		return "Content-Type: multipart/mixed; boundary=" + boundary + "\n" + coding + "\n--" + boundary + "\n" + strings.Join(each, "\n--"+boundary+"\n") + "\n--" + boundary + "--\n"
	}
	mime := ascii + "MIME-Version: 1.0\n"
	untouched := "Content-type: image/png; name=\"a.png\"\nContent-ID: <a@b>\nContent-Transfer-Encoding: base64\n\n  aGVs\nbG8=odd==\n"
	long := strings.Repeat("가나다 long ", 300)
	for _, c := range []struct {
		name, raw string
		want      []string // in the result
	}{
		{"8-bit text", mime + "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n안녕하세요 = \t\n\n.\n끝 ", []string{"charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=EC=95=88", " =3D =09\r\n\r\n.\r\n=EB=81=9D=20"}},
		{"utf-8 without MIME", ascii + "\n안녕\n", []string{"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\nMIME-Version: 1.0\r\n\r\n"}},
		{"euc-kr without MIME", ascii + "\n\xbe\xc8\xb3\xe7\xc7\xcf\xbc\xbc\xbf\xe4\n", []string{"charset=euc-kr\r\n", "=BE=C8"}},
		{"no charset at all", ascii + "\n\xff\xfe\x81\n", []string{"charset=unknown-8bit\r\n"}},
		{"euc-kr that says so", mime + "Content-Type: text/plain; charset=\"ks_c_5601-1987\"\n\n\xbe\xc8\xb3\xe7\n", []string{`charset="ks_c_5601-1987"`, "=BE=C8"}},
		{"long lines in HTML", mime + "Content-Type: text/html; charset=utf-8\n\n<p>" + long + "</p>\n" + strings.Repeat("<b>x</b>", 200) + "\n", nil},
		{"long lines in ASCII", ascii + "\n" + strings.Repeat("x", 3000) + "\n", nil},
		{"one line of base64", mime + "Content-Type: application/pdf\nContent-Transfer-Encoding: base64\n\n" + strings.Repeat("AQID", 500) + "\n", []string{strings.Repeat("AQID", 19) + "\r\n"}},
		{"quoted-printable with raw octets", mime + "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: Quoted-Printable\n\n=ED=95=9C글 a=\nb\n", []string{"=ED=95=9C=EA=B8=80 ab\r\n"}},
		{"binary attachment", mime + mixed("b", "Content-Transfer-Encoding: binary\n", "Content-Type: application/octet-stream\nContent-Transfer-Encoding: binary\nX-Own:  as it  is\n\n\x00\xff\xfe\n\n"+long, untouched), []string{"boundary=b\r\nContent-Transfer-Encoding: 7bit\r\n", "X-Own:  as it  is\r\nContent-Transfer-Encoding: base64\r\n\r\nAP/+", strings.ReplaceAll("\n--b\n"+untouched+"\n--b--\n", "\n", "\r\n")}},
		{"nested multiparts", mime + mixed("out", "Content-Transfer-Encoding: 8bit\n", mixed("in", "Content-Transfer-Encoding: 8bit\n", "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n한글", "Content-Type: text/html\n\n<p>as it is"), "Content-Type: text/csv; charset=utf-8\nContent-Disposition: attachment; filename=a.csv\n\n이름,값\n", untouched), []string{"boundary=in\r\nContent-Transfer-Encoding: 7bit\r\n", "\r\n--in\r\nContent-Type: text/html\r\n\r\n<p>as it is\r\n--in--\r\n", strings.ReplaceAll(untouched, "\n", "\r\n")}},
		{"a line that would look like a boundary", mime + mixed("b", "", "Content-Type: text/plain; charset=utf-8\n\n"+strings.Repeat("x", 75)+"--b\n한글"), nil},
		{"format=flowed", mime + "Content-Type: text/plain; charset=utf-8; format=flowed; delsp=yes\n\n> 한글 \n> flows \n-- \nsign\n", []string{"format=flowed; delsp=yes", "=20\r\n"}},
		{"an encoding nobody knows", mime + "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: utf-8\n\n한글\n", []string{"Content-Transfer-Encoding: quoted-printable\r\n"}},
		{"no last boundary", mime + "Content-Type: multipart/mixed; boundary=b\n\n--b\n\n한글\n--b\n" + untouched, []string{strings.ReplaceAll(untouched, "\n", "\r\n")}},
		{"attached mail in 7 bits", mime + mixed("b", "", "Content-Type: message/rfc822\n\nSubject: x\n\nx", "Content-Type: text/plain; charset=utf-8\n\n한글"), []string{"message/rfc822\r\n\r\nSubject: x\r\n\r\nx\r\n--b"}},
		{"signed part in 7 bits", mime + mixed("b", "", "Content-Type: multipart/signed; boundary=s\n\n--s\n\nx  \n--s\nContent-Type: application/pkcs7-signature\n\nx\n--s--\n", "\n한글"), []string{"--s\r\n\r\nx  \r\n--s\r\n"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := contentOf(c.raw)
			after := encoded(t, before)
			wantIn(t, "mail", string(after.Bytes()), c.want...)
			got := decoded(t, before, after)
			for _, p := range got.Problems {
				// The boundary that the original lacks is lacking still.
				if !strings.Contains(p, "CloseBoundaryNotFound") {
					t.Errorf("%s\n%s", p, after.Bytes())
				}
			}
		})
	}
}

// encoded is SevenBit, which must keep its promises.
func encoded(t testing.TB, before mail.Content) mail.Content {
	t.Helper()
	original := before.Bytes()
	after, err := expand.SevenBit(before)
	if err != nil {
		t.Fatal(err)
	}
	checkWire(t, after.Bytes())
	again, err := expand.SevenBit(after)
	if err != nil || !bytes.Equal(again.Bytes(), after.Bytes()) {
		t.Errorf("encoded once more it is another mail: %v", err)
	}
	if !bytes.Equal(before.Bytes(), original) {
		t.Error("it wrote into the mail")
	}
	return after
}

type difference struct {
	Problems []string
	Header   []any
}

// decoded lets Python compare.
func decoded(t *testing.T, before, after mail.Content) (d difference) {
	t.Helper()
	dir := t.TempDir()
	paths := []string{filepath.Join(dir, "before.eml"), filepath.Join(dir, "after.eml")}
	if err := errors.Join(os.WriteFile(paths[0], before.Bytes(), 0o600), os.WriteFile(paths[1], after.Bytes(), 0o600)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(peer.Python, append([]string{"testdata/decoded.py"}, paths...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v (this test needs Debian's python3)", peer.Python, err)
	}
	if err := json.Unmarshal(out, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestSevenBitMendsHeaders(t *testing.T) {
	before := contentOf("From: 홍길동, 부장 <boss@example.com>\nX-Kept:  as  it is\nSubject: \xbe\xc8\xb3\xe7 =?utf-8?B?7ZWc?=\nTo: " +
		strings.Repeat("somebody@example.com, ", 100) + "last@example.com\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n머리말\n--b\n" +
		"Content-Type: application/x-hwp; name=\"가격.hwp\"\nContent-Disposition: attachment; filename=\"가격.hwp\"\n\nhwp\n--b--\n맺음말\n")
	after := encoded(t, before)
	got := decoded(t, before, after)
	if len(got.Problems) > 0 {
		t.Errorf("%v\n%s", got.Problems, after.Bytes())
	}
	if s := fmt.Sprint(got.Header); s != "[안녕 한 [[홍길동, 부장 boss@example.com]] <nil> 가격.hwp]" {
		t.Errorf("Python reads %s in\n%s", s, after.Header)
	}
	wantIn(t, "header", string(after.Header), "X-Kept:  as  it is\r\n", "somebody@example.com,\r\n somebody@example.com")
	if n := bytes.Count(after.Header, []byte("somebody@example.com")); n != 100 {
		t.Errorf("%d addresses in To", n)
	}
}

func TestSevenBitLeavesWhatCanTravel(t *testing.T) {
	c := contentOf(ascii + "MIME-Version: 1.0\nContent-Transfer-Encoding: 8bit\n\nx \n.\n" + strings.Repeat("y", 998) + "\n")
	got, err := expand.SevenBit(c)
	if err != nil || &got.Header[0] != &c.Header[0] || &got.Body[0] != &c.Body[0] {
		t.Errorf("a 7-bit mail is changed: %v", err)
	}
	c.Header = append(c.Header, "X-Note: 한글\r\n"...)
	if got = encoded(t, c); &got.Body[0] != &c.Body[0] {
		t.Error("for its header alone the body is changed")
	}
}

func TestSevenBitRefusesWhatEncodingWouldBreak(t *testing.T) {
	for kind, says := range map[string]string{"multipart/signed; boundary=b": "signature", "multipart/encrypted; boundary=b": "encrypted", "message/rfc822": "compressed file"} {
		part := "Content-Type: " + kind + "\n\n--b\n\n한글\n--b\n\nx\n--b--\n"
		for _, raw := range []string{ascii + part, ascii + "Content-Type: multipart/mixed; boundary=out\n\n--out\n" + part + "--out--\n"} {
			_, err := expand.SevenBit(contentOf(raw))
			var e *mail.Error
			if !errors.As(err, &e) || e.Class != mail.Permanent || e.Code != 554 || e.Enhanced != "5.6.3" || !strings.Contains(e.Public, says) {
				t.Errorf("%s: %v", kind, err)
			}
		}
	}
}

// FuzzSevenBit holds for any mail: it is refused in words, or becomes 7-bit and
// stays as it then is.
func FuzzSevenBit(f *testing.F) {
	for _, path := range originals(f) {
		raw, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	for _, raw := range []string{
		ascii + "\n한글", "Content-Type: multipart/mixed; boundary=b\n\n\xff\n--b\n\x80: x\n--b \n\n\xff", "To: 받는이:;\nX: " + strings.Repeat("x", 2000) + "\n\n\x00\r\r\n\n",
		"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/digest; boundary=c\nContent-Transfer-Encoding: 8bit\n\n--c\n\n\n--b--\n\n\xff",
		"Content-Type: multipart/x\n\n한글", "Content-Disposition: 첨부; 이름=\"값\"\nContent-Type: text; x=\xff\n\n=\xff=3\n", "한글: x\n\n", "Content-Transfer-Encoding: base64\n\n" + strings.Repeat("A", 1000) + "\xff",
	} {
		f.Add([]byte(strings.ReplaceAll(raw, "\n", "\r\n")))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		head, body, _ := bytes.Cut(append([]byte("Subject: x\r\n"), raw...), []byte("\r\n\r\n"))
		c := mail.Content{Header: append(bytes.Clone(bytes.TrimSuffix(head, []byte("\r\n"))), "\r\n"...), Body: [][]byte{body}}
		after, err := expand.SevenBit(c)
		if err != nil {
			var e *mail.Error
			if !errors.As(err, &e) || e.Class != mail.Permanent || e.Code != 554 || strings.ContainsAny(e.Public, "\r\n\x00") {
				t.Fatalf("refused without a sentence: %q", err)
			}
			return
		}
		encoded(t, c)
		if bytes.Contains(append([]byte("\r\n"), after.Header...), []byte("\r\n\r\n")) {
			t.Fatalf("an empty line in the header %q", after.Header)
		}
	})
}
