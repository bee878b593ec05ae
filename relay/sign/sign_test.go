package sign_test

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/emersion/go-msgauth/dkim"
	"go.uber.org/goleak"

	"postern/internal/peer"
	"postern/mail"
	"postern/relay/sign"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var update = flag.Bool("update", false, "write the golden files")

const keyFile = "testdata/test-only.pem"

func openKeys(t testing.TB, domain, file string) *sign.Keys {
	t.Helper()
	ks, err := sign.Open([]sign.KeyConfig{{Domain: domain, Selector: "postern", KeyFile: file, Sign: true}})
	if err != nil {
		t.Fatal(err)
	}
	return ks
}

// record is what DNS would answer for the key of domain.
func record(t testing.TB, ks *sign.Keys, domain string) string {
	t.Helper()
	k, found, _ := ks.For(mail.Address("x@" + domain))
	if !found {
		t.Fatalf("no key for %s", domain)
	}
	line, err := k.Record()
	if err != nil {
		t.Fatal(err)
	}
	_, quoted, _ := strings.Cut(line, " IN TXT ")
	return strings.ReplaceAll(strings.Trim(quoted, `"`), `" "`, "")
}

// listCopy is a copy as expand makes it, in segments cut at awkward places.
func listCopy() mail.Content {
	return mail.Content{
		Header: []byte("From: =?utf-8?B?7IOB7KCQ?= <promo@example.com>\r\n" +
			"To: Kim <kim@example.net>\r\n" +
			"Subject: =?utf-8?B?7JWI64WV?=\r\n =?utf-8?B?7ZWY7IS47JqU?=\r\n" +
			"Date: Mon, 02 Nov 2026 10:00:00 +0900\r\n" +
			"Message-ID: <01ARZ3NDEKTSV4RRFFQ69G5FAV-1@lists.example.com>\r\n" +
			"MIME-Version: 1.0\r\n" +
			"Content-Type: text/plain; charset=utf-8\r\n" +
			"Content-Transfer-Encoding: 8bit\r\n" +
			"List-Id: Promotions <promo.lists.example.com>\r\n" +
			"List-Unsubscribe: <https://example.com/u/abc>,\r\n <mailto:unsubscribe@lists.example.com?subject=abc>\r\n" +
			"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"),
		Body: [][]byte{
			[]byte("Hello Kim,  \t\r"), []byte("\n\r\nwords   with \t runs of"), []byte(" space\r\n"),
			[]byte(".a dot\r\n"), []byte("안녕 "), {}, []byte("하세요\r\n \t\r\n\r\n\r\n"),
		},
	}
}

func signed(t testing.TB, ks *sign.Keys, c mail.Content, from mail.Address) string {
	t.Helper()
	out, err := ks.Sign(c, from)
	if err != nil {
		t.Fatal(err)
	}
	return string(out.Bytes())
}

// tags reads the DKIM-Signature on top of a mail.
func tags(t testing.TB, m string) map[string]string {
	t.Helper()
	field, ok := strings.CutPrefix(m, "DKIM-Signature:")
	if !ok {
		t.Fatalf("the mail does not begin with DKIM-Signature:\n%s", m)
	}
	var lines []string
	for i, l := range strings.SplitAfter(field, "\r\n") {
		if i > 0 && !strings.HasPrefix(l, " ") {
			break
		}
		lines = append(lines, strings.TrimRight(l, "\r\n"))
	}
	got := map[string]string{}
	for _, tag := range strings.Split(strings.Join(lines, ""), ";") {
		if k, v, ok := strings.Cut(strings.TrimSpace(tag), "="); ok {
			got[k] = v
		}
	}
	return got
}

// dkimpy says "pass" or "fail" for each mail.
func dkimpy(t testing.TB, name, record string, mails ...string) []string {
	t.Helper()
	args := []string{"testdata/verify.py", name, record}
	dir := t.TempDir()
	for i, m := range mails {
		p := filepath.Join(dir, string(rune('a'+i))+".eml")
		if err := os.WriteFile(p, []byte(m), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, p)
	}
	cmd := exec.Command(peer.Python, args...)
	var problems bytes.Buffer
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("dkimpy (Debian's python3-dkim, `make peers` installs it): %v\n%s", err, problems.String())
	}
	return strings.Fields(string(out))
}

// msgauth verifies with the library that signed, for comparison.
func msgauth(t testing.TB, record, m string) string {
	t.Helper()
	vs, err := dkim.VerifyWithOptions(strings.NewReader(m), &dkim.VerifyOptions{
		LookupTXT: func(string) ([]string, error) { return []string{record}, nil }})
	if err != nil || len(vs) != 1 {
		t.Fatalf("%d signatures, %v", len(vs), err)
	}
	if vs[0].Err != nil {
		return "fail"
	}
	return "pass"
}

func TestSignatureHoldsAndBreaks(t *testing.T) {
	ks := openKeys(t, "example.com", keyFile)
	rec := record(t, ks, "example.com")
	whole := signed(t, ks, listCopy(), "promo@example.com")
	change := func(old, new string) string {
		if strings.Count(whole, old) != 1 {
			t.Fatalf("%q is not in the mail once", old)
		}
		return strings.Replace(whole, old, new, 1)
	}
	cases := []struct{ name, mail, want string }{
		{"untouched", whole, "pass"},
		{"Date and Message-ID rewritten, as SES does", strings.Replace(change("Mon, 02 Nov 2026", "Tue, 03 Nov 2026"), "-1@lists.example.com", "@ap-northeast-2.amazonses.com", 1), "pass"},
		{"Received, Return-Path and Feedback-ID on top", "Received: from a by b\r\nReturn-Path: <x@amazonses.com>\r\nFeedback-ID: 1:x\r\n" + whole, "pass"},
		{"another run of spaces in a line", change("words   with", "words with"), "pass"},
		{"body altered", change("Hello Kim", "Hello Lee"), "fail"},
		{"body longer", whole + "more\r\n", "fail"},
		{"subject altered", change("7JWI64WV", "7ZWY7IS4"), "fail"},
		{"recipient altered", change("To: Kim", "To: Lee"), "fail"},
		{"unsubscribe address altered", change("/u/abc", "/u/abd"), "fail"},
		{"one-click removed", change("List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n", ""), "fail"},
	}
	for _, over := range []string{"From", "To", "Subject", "Reply-To", "MIME-Version", "Content-Type", "Cc", "List-Id", "List-Unsubscribe", "List-Unsubscribe-Post"} {
		cases = append(cases, struct{ name, mail, want string }{"a second " + over + " added", over + ": <evil@example.org>\r\n" + whole, "fail"})
	}
	var mails []string
	for _, c := range cases {
		mails = append(mails, c.mail)
	}
	other := dkimpy(t, "postern._domainkey.example.com", rec, mails...)
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if other[i] != c.want {
				t.Errorf("dkimpy says %s, want %s", other[i], c.want)
			}
			if got := msgauth(t, rec, c.mail); got != c.want {
				t.Errorf("go-msgauth says %s, want %s", got, c.want)
			}
		})
	}
}

func TestBodiesOfEveryShapeVerify(t *testing.T) {
	ks := openKeys(t, "example.com", keyFile)
	rec := record(t, ks, "example.com")
	var mails []string
	for _, body := range []string{"", "\r\n", "\r\n\r\n", "x", "x\r\n", " \r\n", "x \t", "\r\nx\r\n\r\n", "a\r\n \r\nb \r\n", strings.Repeat("0123456789 abcdef\r\n", 10000)} {
		for _, step := range []int{1, 4095, len(body) + 1} {
			if len(body)/step > 100 {
				continue
			}
			c := mail.Content{Header: []byte("From: a@example.com\r\nSubject: x\r\n")}
			for s := body; s != ""; {
				n := min(step, len(s))
				c.Body = append(c.Body, []byte(s[:n]))
				s = s[n:]
			}
			m := signed(t, ks, c, "a@example.com")
			if !strings.HasSuffix(m, "\r\n") {
				m += "\r\n" // as SMTP ends every mail
			}
			mails = append(mails, m)
		}
	}
	for i, got := range dkimpy(t, "postern._domainkey.example.com", rec, mails...) {
		if got != "pass" {
			t.Errorf("dkimpy refuses the signature of:\n%.900q", mails[i])
		}
	}
}

func TestSignedFields(t *testing.T) {
	got := tags(t, signed(t, openKeys(t, "example.com", keyFile), listCopy(), "promo@example.com"))
	for k, want := range map[string]string{"v": "1", "a": "rsa-sha256", "c": "relaxed/relaxed", "d": "example.com", "s": "postern"} {
		if got[k] != want {
			t.Errorf("%s=%s, want %s", k, got[k], want)
		}
	}
	if l, ok := got["l"]; ok {
		t.Errorf("the signature covers only %s octets of the body", l)
	}
	names := strings.Split(got["h"], ":")
	count := map[string]int{}
	for _, n := range names {
		count[strings.ToLower(n)]++
	}
	for _, over := range []string{"from", "to", "subject", "reply-to", "mime-version", "content-type", "list-id", "list-unsubscribe", "list-unsubscribe-post"} {
		if count[over] != 2 {
			t.Errorf("%s is signed %d times, want 2: once, and once more than it occurs", over, count[over])
		}
	}
	for _, once := range []string{"cc", "content-transfer-encoding"} {
		if count[once] != 1 {
			t.Errorf("%s is signed %d times, want 1", once, count[once])
		}
	}
	for _, never := range []string{"message-id", "date", "return-path", "received", "feedback-id", "bounces-to"} {
		if count[never] != 0 {
			t.Errorf("%s is signed, but SES rewrites it", never)
		}
	}
	if len(names) > 25 {
		t.Errorf("%d names in h=, which is never folded", len(names))
	}
}

// TestAMailingListMayAddItsFieldsToOrdinaryMail, but nobody to a copy of a list.
func TestAMailingListMayAddItsFieldsToOrdinaryMail(t *testing.T) {
	ks := openKeys(t, "example.com", keyFile)
	ordinary := mail.Content{Header: []byte("From: a@example.com\r\nTo: team@example.net\r\nSubject: order\r\n"), Body: [][]byte{[]byte("hello\r\n")}}
	added := "List-Id: <team.example.net>\r\nList-Unsubscribe: <mailto:leave@example.net>\r\n"
	onOrdinary := strings.Replace(signed(t, ks, ordinary, "a@example.com"), "\r\nSubject:", "\r\n"+added+"Subject:", 1)
	onCopy := strings.Replace(signed(t, ks, listCopy(), "promo@example.com"), "\r\nSubject:", "\r\nList-Unsubscribe: <https://evil.example/>\r\nSubject:", 1)
	if got := dkimpy(t, "postern._domainkey.example.com", record(t, ks, "example.com"), onOrdinary, onCopy); len(got) != 2 || got[0] != "pass" || got[1] != "fail" {
		t.Errorf("ordinary mail with a list's fields and a copy with one more: %q, want pass and fail", got)
	}
}

func TestSignedLinesAreShort(t *testing.T) {
	out, err := openKeys(t, "example.com", keyFile).Sign(listCopy(), "promo@example.com")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range strings.Split(string(out.Header), "\r\n") {
		if len(l) > 998 {
			t.Errorf("a line has %d octets: %.60s…", len(l), l)
		}
	}
}

func TestSigningLeavesTheMailAsItIs(t *testing.T) {
	before := listCopy()
	out := signed(t, openKeys(t, "example.com", keyFile), before, "promo@example.com")
	if !strings.HasSuffix(out, string(listCopy().Bytes())) || !bytes.Equal(before.Bytes(), listCopy().Bytes()) {
		t.Error("signing changed the mail")
	}
}

// The clock of a synctest bubble starts at a fixed time and PKCS#1 v1.5 has no
// randomness, so that the same mail has the same signature.
func TestGoldenSignature(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := signed(t, openKeys(t, "example.com", keyFile), listCopy(), "promo@example.com")
		const golden = "testdata/signed.eml"
		if *update {
			if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("the signed mail is not that of %s (-update writes it):\n%s", golden, got)
		}
	})
}

func TestManySignAtOnce(t *testing.T) {
	ks := openKeys(t, "example.com", keyFile)
	rec := record(t, ks, "example.com")
	out := make(chan string)
	for range 16 {
		go func() {
			c, err := ks.Sign(listCopy(), "promo@example.com")
			if err != nil {
				t.Error(err)
			}
			out <- string(c.Bytes())
		}()
	}
	for range 16 {
		if m := <-out; msgauth(t, rec, m) != "pass" {
			t.Error("a signature made beside others does not hold")
		}
	}
}

func BenchmarkSign(b *testing.B) {
	ks := openKeys(b, "example.com", keyFile)
	for _, size := range []int{10 << 10, 100 << 10} {
		b.Run(map[bool]string{true: "10KB", false: "100KB"}[size == 10<<10], func(b *testing.B) {
			c := listCopy()
			c.Body = [][]byte{bytes.Repeat([]byte("PGh0bWw+PGJvZHk+PHA+SGVsbG8sIHdvcmxkITwvcD48L2JvZHk+PC9odG1sPg0KPGh0bWw+\r\n"), size/78)}
			b.SetBytes(int64(size))
			for b.Loop() {
				if _, err := ks.Sign(c, "promo@example.com"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
