package smtpd_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"postern/internal/peer"
	"postern/smtpd"
)

// newRSAIdentity is what old devices can talk to: they know no other keys.
func newRSAIdentity(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// oldTLS has a listener with tls_min = "1.0" and one with the default.
func oldTLS(t *testing.T, mode string, in *intake) (old, usual string) {
	id := newRSAIdentity(t)
	conf := config(t, in)
	conf.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &id, nil }
	l := conf.Listeners[0]
	l.TLS = mode
	conf.Listeners = []smtpd.Listener{l, l}
	conf.Listeners[0].TLSMin = "1.0"
	addrs := start(t, conf).Addrs()
	port := func(a net.Addr) string {
		_, p, err := net.SplitHostPort(a.String())
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	return port(addrs[0]), port(addrs[1])
}

// TestOldTLSWithOpenSSL: TLS 1.0 and 1.1, with the key exchanges and the CBC suites
// that old scanners have, and nothing that is broken outright.
func TestOldTLSWithOpenSSL(t *testing.T) {
	openssl := peer.Command(t, "openssl")
	for _, mode := range []string{"starttls", "implicit"} {
		old, usual := oldTLS(t, mode, &intake{})
		for _, tt := range []struct {
			port, version, suite string
			takes                bool
		}{
			{old, "-tls1", "AES128-SHA", true},
			{old, "-tls1", "AES256-SHA", true},
			{old, "-tls1", "ECDHE-RSA-AES128-SHA", true},
			{old, "-tls1_1", "AES128-SHA", true},
			{old, "-tls1_2", "AES128-SHA", true},
			{old, "-tls1_2", "ECDHE-RSA-AES128-GCM-SHA256", true},
			{old, "-tls1", "NULL-SHA", false},
			{usual, "-tls1", "AES128-SHA", false},
			{usual, "-tls1", "DEFAULT", false},
			{usual, "-tls1_1", "DEFAULT", false},
			{usual, "-tls1_2", "AES128-SHA", false},
			{usual, "-tls1_2", "DEFAULT", true},
		} {
			args := []string{"s_client", "-connect", "127.0.0.1:" + tt.port, tt.version, "-cipher", tt.suite + ":@SECLEVEL=0", "-crlf", "-quiet"}
			if mode == "starttls" {
				args = append(args, "-starttls", "smtp")
			}
			cmd := exec.Command(openssl, args...)
			cmd.Stdin = strings.NewReader("EHLO scanner\nQUIT\n")
			said, err := cmd.CombinedOutput()
			if takes := strings.Contains(string(said), "221 2.0.0 Bye"); takes != tt.takes {
				t.Errorf("%s %s %s on the listener %s: talks %v, want %v (%v)\n%s", mode, tt.version, tt.suite, tt.port, takes, tt.takes, err, said)
			}
		}
	}
}

// TestAScannerOfTLS10SendsAMail, played by Python.
func TestAScannerOfTLS10SendsAMail(t *testing.T) {
	in := &intake{}
	old, usual := oldTLS(t, "starttls", in)
	const script = `
import smtplib, ssl, sys
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
context.set_ciphers("AES256-SHA:@SECLEVEL=0")
context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1
s = smtplib.SMTP("127.0.0.1", int(sys.argv[1]), "scanner1")
s.starttls(context=context)
s.sendmail("scanner@example.com", "b@example.net", "Subject: scan\r\n\r\nx\r\n")
s.quit()
`
	python := func(port string) (string, error) {
		said, err := exec.Command(peer.Python, "-W", "ignore", "-c", script, port).CombinedOutput()
		return string(said), err
	}
	if said, err := python(old); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	if got := in.taken(); len(got) != 1 || got[0].Sub.TLS != "TLS1.0" || !strings.Contains(got[0].Body, "with ESMTPS (TLS1.0)") {
		t.Errorf("taken: %+v", got)
	}
	if said, err := python(usual); err == nil || !strings.Contains(said, "SSLError") {
		t.Errorf("the usual listener: %v\n%s", err, said)
	}
}
