package main_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"postern/internal/peer"
)

const password = `battery "staple" $1%`

// shop is a gateway with a listener for each kind of client. The account
// marketer@example.com may send to the list and to anybody; so may loopback on
// the plain listener.
type shop struct {
	*gateway
	plain, starttls, implicit string // ports
	devices                   string // AUTH without TLS
	old                       string // STARTTLS from TLS 1.0 on
}

// openShop writes the configuration, with one lane and whatever else more says.
func openShop(t *testing.T, more string) *shop {
	t.Helper()
	g := newGateway(t, "")
	g.certify()
	_, plain, err := net.SplitHostPort(g.addr)
	if err != nil {
		t.Fatal(err)
	}
	s := &shop{gateway: g, plain: plain}
	text, err := os.ReadFile(filepath.Join(g.dir, "config.toml"))
	if err != nil {
		t.Fatal(err)
	}
	config := string(text) + more
	for port, keys := range map[*string]string{
		&s.starttls: `tls = "starttls"`,
		&s.implicit: `tls = "implicit"`,
		&s.devices:  `insecure_auth = true`,
		&s.old:      "tls = \"starttls\"\ntls_min = \"1.0\"",
	} {
		*port = fmt.Sprint(peer.Port(t))
		config += fmt.Sprintf("\n[[smtp.listener]]\naddress = \"127.0.0.1:%s\"\nauth = \"required\"\n%s\n", *port, keys)
	}
	g.write("config.toml", config+fmt.Sprintf(`
[smtp.tls]
cert_file = "cert.pem"
key_file = "key.pem"
[[smtp.account]]
username = "marketer@example.com"
password_hash = %q
send_as = ["*@example.com"]
lists = ["promo"]
relay = true
`, hashed(t, password)))
	return s
}

// hashed is a hash of the password that is quick to check.
func hashed(t *testing.T, password string) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(hash)
}

// certify makes a certificate for localhost, in cert.pem with the authority that
// issued it, and key.pem; clients trust ca.pem. The key is RSA for old devices.
func (g *gateway) certify() {
	g.t.Helper()
	var keys [2]*rsa.PrivateKey
	for i := range keys {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			g.t.Fatal(err)
		}
		keys[i] = key
	}
	issue := func(cert, parent *x509.Certificate, key *rsa.PrivateKey) string {
		cert.NotBefore, cert.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
		der, err := x509.CreateCertificate(rand.Reader, cert, parent, key.Public(), keys[0])
		if err != nil {
			g.t.Fatal(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	root := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Authority of a test"},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, SubjectKeyId: []byte{1}}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	private, err := x509.MarshalPKCS8PrivateKey(keys[1])
	if err != nil {
		g.t.Fatal(err)
	}
	ca := issue(root, root, keys[0])
	g.write("ca.pem", ca)
	g.write("cert.pem", issue(leaf, root, keys[1])+ca)
	g.write("key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
}

// way is how a client comes: to which port, with TLS or without, and with which
// mechanism, "" for no AUTH.
type way struct{ port, tls, mechanism string }

func (s *shop) ways() []way {
	return []way{{s.plain, "none", ""}, {s.starttls, "starttls", "PLAIN"}, {s.starttls, "starttls", "LOGIN"},
		{s.implicit, "implicit", "PLAIN"}, {s.implicit, "implicit", "LOGIN"}, {s.devices, "none", "LOGIN"}}
}

// client submits the mail in mail.eml, or one of its own making with the
// same Subject, as the way says.
type client func(t *testing.T, g *gateway, w way, subject string) *exec.Cmd

func TestClientsSubmit(t *testing.T) {
	t.Parallel()
	submitted(t, map[string]client{"swaks": swaks, "msmtp": msmtp, "smtplib": smtplib, "nodemailer": nodemailer, "curl": curl})
}

func TestAWrongPasswordIsSaid(t *testing.T) {
	t.Parallel()
	s := openShop(t, maildirLane)
	s.serve()
	wrong := exec.Command(peer.Command(t, "swaks"), "--server", "127.0.0.1", "--port", s.starttls, "--tls", "--auth", "LOGIN", "--auth-user", "marketer@example.com",
		"--auth-password", "wrong", "--from", "marketer@example.com", "--to", "promo@lists.example.com")
	if out, err := wrong.CombinedOutput(); err == nil || !strings.Contains(string(out), "535 5.7.8") {
		t.Errorf("a wrong password: %v\n%s", err, out)
	}
	s.stop()
}

// submitted lets each client come in every way, and reads the copies.
func submitted(t *testing.T, clients map[string]client) {
	t.Helper()
	s := openShop(t, maildirLane)
	g := s.gateway
	g.csv("a@example.net,김민,Female,true", `b@example.net,"Lee, ""B"" <x>",Male,true`)
	g.serve()
	want := map[string]bool{}
	for name, submit := range clients {
		for _, w := range s.ways() {
			subject := strings.TrimSpace(fmt.Sprintf("안녕 {{Name}} %s %s %s", name, w.tls, w.mechanism))
			g.write("mail.eml", strings.ReplaceAll(mailOf(name+w.tls+w.mechanism, "promo@lists.example.com", subject, "Dear {{Name}},\n.\n안녕하세요"), "\n", "\r\n"))
			cmd := submit(t, g, w, subject)
			cmd.Dir = g.dir
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s %s %s: %v\n%s\n%s", name, w.tls, w.mechanism, err, out, g.log)
			}
			for _, user := range []string{"김민", `Lee, "B" <x>`} {
				want[strings.ReplaceAll(subject, "{{Name}}", user)] = true
			}
		}
	}
	g.settled("done")
	ids := map[string]bool{}
	for _, p := range g.read(g.outbox()) {
		name := "김민"
		if p.To[0] == "b@example.net" {
			name = `Lee, "B" <x>`
		}
		if !want[p.Subject] || !strings.Contains(p.Subject, name) {
			t.Errorf("%s got the Subject %q", p.To[0], p.Subject)
		}
		delete(want, p.Subject)
		if lines := strings.ReplaceAll(p.Text, "\r\n", "\n"); !strings.HasPrefix(lines, "Dear "+name+",\n.\n안녕하세요\n") {
			t.Errorf("%q has the text %q", p.Subject, p.Text)
		}
		if ids[p.MessageID] || p.From != "marketer@example.com" || p.OneClick == "" || strings.Count(p.Unsubscribe, "http://") != 1 || strings.Count(p.Unsubscribe, "mailto:") != 1 {
			t.Errorf("%+v", p)
		}
		ids[p.MessageID] = true
	}
	for subject := range want {
		t.Errorf("nobody got %q", subject)
	}
	g.stop()
}

func swaks(t *testing.T, _ *gateway, w way, _ string) *exec.Cmd {
	args := []string{"--server", "localhost", "--port", w.port, "--from", "marketer@example.com", "--to", "promo@lists.example.com", "--data", "@mail.eml"}
	switch w.tls {
	case "starttls":
		args = append(args, "--tls", "--tls-verify", "--tls-ca-path", "ca.pem")
	case "implicit":
		args = append(args, "--tls-on-connect", "--tls-verify", "--tls-ca-path", "ca.pem")
	}
	if w.mechanism != "" {
		args = append(args, "--auth", w.mechanism, "--auth-user", "marketer@example.com", "--auth-password", password)
	}
	return exec.Command(peer.Command(t, "swaks"), args...)
}

func msmtp(t *testing.T, g *gateway, w way, _ string) *exec.Cmd {
	args := []string{"--file=/dev/null", "--host=localhost", "--port=" + w.port, "--from=marketer@example.com"}
	if w.tls != "none" {
		args = append(args, "--tls=on", "--tls-trust-file=ca.pem", "--tls-starttls="+map[string]string{"starttls": "on", "implicit": "off"}[w.tls])
	}
	if w.mechanism != "" {
		g.write("password", password+"\n")
		args = append(args, "--auth="+strings.ToLower(w.mechanism), "--user=marketer@example.com", "--passwordeval=cat password")
	}
	return exec.Command("sh", append([]string{"-c", `exec "$0" "$@" < mail.eml`, peer.Command(t, "msmtp")}, append(args, "promo@lists.example.com")...)...)
}

func curl(t *testing.T, _ *gateway, w way, _ string) *exec.Cmd {
	scheme := map[string]string{"none": "smtp", "starttls": "smtp", "implicit": "smtps"}[w.tls]
	args := []string{"--silent", "--show-error", "--url", scheme + "://localhost:" + w.port, "--mail-from", "marketer@example.com", "--mail-rcpt", "promo@lists.example.com", "--upload-file", "mail.eml"}
	if w.tls != "none" {
		args = append(args, "--ssl-reqd", "--cacert", "ca.pem")
	}
	if w.mechanism != "" {
		args = append(args, "--login-options", "AUTH="+w.mechanism, "--user", "marketer@example.com:"+password)
	}
	return exec.Command(peer.Command(t, "curl"), args...)
}

func scripted(name, script string, w way, subject string, env ...string) *exec.Cmd {
	cmd := exec.Command(name, script)
	cmd.Env = append(os.Environ(), append(env, "PORT="+w.port, "TLS="+w.tls, "MECHANISM="+w.mechanism, "PASSWORD="+password, "SUBJECT="+subject)...)
	return cmd
}

// testdata is the path of a script for a client that runs elsewhere.
func testdata(t *testing.T, name string) string {
	path, err := filepath.Abs(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func smtplib(t *testing.T, _ *gateway, w way, subject string) *exec.Cmd {
	return scripted(peer.Python, testdata(t, "submit.py"), w, subject)
}

func nodemailer(t *testing.T, _ *gateway, w way, subject string) *exec.Cmd {
	return scripted(peer.Command(t, "node"), testdata(t, "submit.js"), w, subject, "NODEMAILER="+filepath.Join(peer.NodeModules(t), "nodemailer"))
}
