package sign_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/peer"
	"postern/mail"
	"postern/relay/sign"
)

func write(t *testing.T, text string) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

func pkcs8(t *testing.T, key any) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func TestOpenNamesEveryProblemAtOnce(t *testing.T) {
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	const short = `-----BEGIN RSA PRIVATE KEY-----
MIIBOgIBAAJBAKj34GkxFhD90vcNLYLInFEX6Ppy1tPf9Cnzj4p4WGeKLs1Pt8Qu
KUpRKfFLfRYC9AIKjbJTWit+CqvjWYzvQwECAwEAAQJAIJLixBy2qpFoS4DSmoEm
o3qGy0t6z09AIJtH+5OeRV1be+N4cDYJKffGzDa88vQENZiRm0GRq6a+HPGQMd2k
TQIhAKMSvzIBnni7ot/OSie2TmJLY4SwTQAevXysE2RbFDYdAiEBCUEaRQnMnbp7
9mxDXDf6AU0cN/RPBjb9qSHDcWZHGzUCIG2Es59z8ugGrDY+pxLQnwfotadxd+Uy
v/Ow5T0q5gIJAiEAyS4RaI9YG8EWx/2w0T67ZUVAw8eOMB6BIUg0Xcu+3okCIBOs
/5OiPgoTdSy7bcF9IGpSE8ZgGKzgYQVZeN97YE00
-----END RSA PRIVATE KEY-----
`
	_, err = sign.Open([]sign.KeyConfig{
		{Domain: "ok.example", Selector: "s", KeyFile: keyFile, Sign: true},
		{Domain: "missing.example", Selector: "s", KeyFile: filepath.Join(t.TempDir(), "none.pem"), Sign: true},
		{Domain: "short.example", Selector: "s", KeyFile: write(t, short), Sign: true},
		{Domain: "curve.example", Selector: "s", KeyFile: write(t, pkcs8(t, curve)), Sign: true},
		{Domain: "text.example", Selector: "s", KeyFile: write(t, "hello"), Sign: true},
		{Domain: "broken.example", Selector: "s", KeyFile: write(t, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), Sign: true},
		{Domain: "locked.example", Selector: "s", KeyFile: write(t, "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"), Sign: true},
		{Domain: "ok.EXAMPLE", Selector: "s", KeyFile: keyFile, Sign: true},
		{Domain: "selector.example", Selector: "a b", KeyFile: keyFile, Sign: true},
		{Domain: "not a domain", Selector: "s", KeyFile: keyFile, Sign: true},
		{Domain: "", Selector: "s", KeyFile: keyFile, Sign: true},
	})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		"dkim[1] (missing.example): key_file cannot be read", "dkim keygen --domain missing.example",
		"512 bits", "dkim[3] (curve.example)", "dkim[4] (text.example)", "no private key in it", "dkim[5] (broken.example)",
		"passphrase", "two keys", `selector "a b"`, `"not a domain" is not a domain name`, "dkim[10]",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q:\n%v", want, err)
		}
	}
	if got := len(strings.Split(err.Error(), "\n")); got != 10 {
		t.Errorf("%d problems, want 10:\n%v", got, err)
	}
}

func TestKeyIsChosenByFromDomain(t *testing.T) {
	ks, err := sign.Open([]sign.KeyConfig{
		{Domain: "Example.com", Selector: "a", KeyFile: keyFile, Sign: true},
		{Domain: "shop.example.com", Selector: "b", KeyFile: keyFile, Sign: true},
		{Domain: "ses.example.com", Selector: "c", KeyFile: "not read", Sign: false},
		{Domain: "한국.example", Selector: "d", KeyFile: keyFile, Sign: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		from         mail.Address
		domain       string
		found, signs bool
	}{
		{"a@example.com", "example.com", true, true},
		{"a@EXAMPLE.com", "example.com", true, true},
		{"a@news.example.com", "example.com", true, true},
		{"a@shop.example.com", "shop.example.com", true, true},
		{"a@x.y.shop.example.com", "shop.example.com", true, true},
		{"a@ses.example.com", "ses.example.com", true, false},
		{"a@xn--3e0b707e.example", "xn--3e0b707e.example", true, true},
		{"a@notexample.com", "", false, false},
		{"a@com", "", false, false},
		{"", "", false, false},
	} {
		k, found, signs := ks.For(c.from)
		if found != c.found || signs != c.signs || found && k.Domain != c.domain {
			t.Errorf("For(%q) = %+v, %v, %v", c.from, k, found, signs)
		}
	}
	t.Run("the parent's name is in the signature", func(t *testing.T) {
		if got := tags(t, signed(t, ks, listCopy(), "a@news.example.com")); got["d"] != "example.com" || got["s"] != "a" {
			t.Errorf("d=%s s=%s", got["d"], got["s"])
		}
	})
	t.Run("where the upstream signs the mail stays as it is", func(t *testing.T) {
		if got := signed(t, ks, listCopy(), "a@ses.example.com"); got != string(listCopy().Bytes()) {
			t.Errorf("the mail changed:\n%s", got)
		}
	})
	t.Run("without a key the message is refused with advice", func(t *testing.T) {
		_, err := ks.Sign(listCopy(), "a@gmail.com")
		if mail.ClassOf(err) != mail.MessageWide || !strings.Contains(err.Error(), "no DKIM key for gmail.com") {
			t.Errorf("%v", err)
		}
	})
}

func TestGeneratedKey(t *testing.T) {
	key, txt, err := sign.GenerateKey("Example.com", "S1", 0)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(key), "-----BEGIN PRIVATE KEY-----\n") {
		t.Errorf("not PKCS#8 PEM:\n%.40s", key)
	}
	rest, ok := strings.CutPrefix(txt, `s1._domainkey.example.com. IN TXT "v=DKIM1; k=rsa; p=`)
	if !ok || strings.Contains(txt, "\n") {
		t.Fatalf("record: %s", txt)
	}
	if strings.Count(rest, `"`) != 1 {
		t.Errorf("the record is not in one piece: %s", txt)
	}
	pieces := strings.Split(strings.TrimPrefix(sign.SplitRecord(txt), "s1._domainkey.example.com. IN TXT "), " \"")
	for _, s := range pieces {
		if s = strings.Trim(s, `"`); len(s) > 255 {
			t.Errorf("a string of %d octets; a zone file takes 255", len(s))
		}
	}
	if joined := strings.Trim(strings.ReplaceAll(strings.Join(pieces, ""), `"`, ""), " "); !strings.HasSuffix(rest, joined[20:]+`"`) {
		t.Errorf("the pieces do not join to the record: %s", joined)
	}
	ks, err := sign.Open([]sign.KeyConfig{{Domain: "example.com", Selector: "s1", KeyFile: write(t, string(key)), Sign: true}})
	if err != nil {
		t.Fatal(err)
	}
	if w := ks.Warnings(); len(w) != 0 {
		t.Errorf("warnings about our own key: %q", w)
	}
	again, err := mustKey(t, ks, "example.com").Record()
	if err != nil || again != txt {
		t.Errorf("the key's record is not the one that was printed: %v\n%s\n%s", err, txt, again)
	}
	m := signed(t, ks, listCopy(), "promo@example.com")
	if got := dkimpy(t, "s1._domainkey.example.com", record(t, ks, "example.com"), m); got[0] != "pass" {
		t.Error("dkimpy refuses a signature of a generated key")
	}
	for _, bits := range []int{512, 1023, 8192} {
		if _, _, err := sign.GenerateKey("example.com", "s", bits); err == nil {
			t.Errorf("a key of %d bits was made", bits)
		}
	}
	for _, bad := range [][2]string{{"", "s"}, {"a b", "s"}, {"[127.0.0.1]", "s"}, {"example.com", ""}, {"example.com", "a..b"}} {
		if _, _, err := sign.GenerateKey(bad[0], bad[1], 1024); err == nil {
			t.Errorf("a key for domain %q, selector %q was made", bad[0], bad[1])
		}
	}
}

func mustKey(t *testing.T, ks *sign.Keys, domain string) *sign.Key {
	t.Helper()
	k, found, _ := ks.For(mail.Address("x@" + domain))
	if !found {
		t.Fatalf("no key for %s", domain)
	}
	return k
}

func TestKeyFormats(t *testing.T) {
	openssl := peer.Command(t, "openssl")
	t.Run("PKCS#1", func(t *testing.T) {
		out, err := exec.Command(openssl, "rsa", "-in", keyFile, "-traditional").Output()
		if err != nil {
			t.Fatal(err)
		}
		ks := openKeys(t, "example.com", write(t, string(out)))
		if record(t, ks, "example.com") != record(t, openKeys(t, "example.com", keyFile), "example.com") {
			t.Error("the same key in PKCS#1 is another key")
		}
	})
	t.Run("1024 bits work with a warning", func(t *testing.T) {
		key, _, err := sign.GenerateKey("example.com", "s", 1024)
		if err != nil {
			t.Fatal(err)
		}
		if w := openKeys(t, "example.com", write(t, string(key))).Warnings(); len(w) != 1 || !strings.Contains(w[0], "1024 bits") {
			t.Errorf("warnings: %q", w)
		}
	})
	t.Run("Ed25519", func(t *testing.T) {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		ks := openKeys(t, "example.com", write(t, pkcs8(t, key)))
		m := signed(t, ks, listCopy(), "promo@example.com")
		if got := tags(t, m)["a"]; got != "ed25519-sha256" {
			t.Errorf("a=%s", got)
		}
		if got := dkimpy(t, "postern._domainkey.example.com", record(t, ks, "example.com"), m); got[0] != "pass" {
			t.Error("dkimpy refuses the Ed25519 signature")
		}
	})
}
