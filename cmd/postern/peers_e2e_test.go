package main_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
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

	"postern/internal/peer"
)

const password = `battery "staple" $1%`

// certify makes a certificate for localhost, cert.pem and key.pem.
func (g *gateway) certify() {
	g.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		g.t.Fatal(err)
	}
	cert := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	if err != nil {
		g.t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		g.t.Fatal(err)
	}
	g.write("cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	g.write("key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
}

// way is how a client comes: plainly, or with STARTTLS and a mechanism.
type way struct{ port, mechanism string }

// client submits the mail in mail.eml, or one of its own making with the
// same Subject, as the way says.
type client func(t *testing.T, g *gateway, w way, subject string) *exec.Cmd

func TestClientsSubmit(t *testing.T) {
	secure := fmt.Sprint(peer.Port(t))
	g := newGateway(t, "")
	g.certify()
	hash := g.command("passwd")
	hash.Stdin = strings.NewReader(password + "\n")
	bcrypt, err := hash.Output()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(g.dir, "config.toml"))
	if err != nil {
		t.Fatal(err)
	}
	g.write("config.toml", string(text)+maildirLane+fmt.Sprintf(`
[[smtp.listener]]
address = "127.0.0.1:%s"
tls = "starttls"
auth = "required"
[smtp.tls]
cert_file = "cert.pem"
key_file = "key.pem"
[[smtp.account]]
username = "marketer@example.com"
password_hash = %q
send_as = ["marketer@example.com"]
lists = ["promo"]
`, secure, strings.TrimSpace(string(bcrypt))))
	g.csv("a@example.net,김민,Female,true", `b@example.net,"Lee, ""B"" <x>",Male,true`)
	g.serve()
	_, plain, err := net.SplitHostPort(g.addr)
	if err != nil {
		t.Fatal(err)
	}
	ways := []way{{plain, ""}, {secure, "PLAIN"}, {secure, "LOGIN"}}
	want := map[string]bool{}
	for name, submit := range map[string]client{"swaks": swaks, "msmtp": msmtp, "smtplib": smtplib, "nodemailer": nodemailer, "curl": curl} {
		for _, w := range ways {
			subject := strings.TrimSpace("안녕 {{Name}} " + name + " " + w.mechanism)
			g.write("mail.eml", strings.ReplaceAll(mailOf(name+w.mechanism, "promo@lists.example.com", subject, "Dear {{Name}},\n.\n안녕하세요"), "\n", "\r\n"))
			cmd := submit(t, g, w, subject)
			cmd.Dir = g.dir
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s %s: %v\n%s\n%s", name, w.mechanism, err, out, g.log)
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
	wrong := exec.Command(peer.Command(t, "swaks"), "--server", "127.0.0.1", "--port", secure, "--tls", "--auth", "LOGIN", "--auth-user", "marketer@example.com",
		"--auth-password", "wrong", "--from", "marketer@example.com", "--to", "promo@lists.example.com")
	if out, err := wrong.CombinedOutput(); err == nil || !strings.Contains(string(out), "535 5.7.8") {
		t.Errorf("a wrong password: %v\n%s", err, out)
	}
	g.stop()
}

func swaks(t *testing.T, g *gateway, w way, _ string) *exec.Cmd {
	args := []string{"--server", "localhost", "--port", w.port, "--from", "marketer@example.com", "--to", "promo@lists.example.com", "--data", "@mail.eml"}
	if w.mechanism != "" {
		args = append(args, "--tls", "--auth", w.mechanism, "--auth-user", "marketer@example.com", "--auth-password", password)
	}
	return exec.Command(peer.Command(t, "swaks"), args...)
}

func msmtp(t *testing.T, g *gateway, w way, _ string) *exec.Cmd {
	args := []string{"--file=/dev/null", "--host=localhost", "--port=" + w.port, "--from=marketer@example.com"}
	if w.mechanism != "" {
		g.write("password", password+"\n")
		args = append(args, "--tls=on", "--tls-starttls=on", "--tls-trust-file=cert.pem", "--auth="+strings.ToLower(w.mechanism), "--user=marketer@example.com", "--passwordeval=cat password")
	}
	cmd := exec.Command("sh", append([]string{"-c", `exec "$0" "$@" < mail.eml`, peer.Command(t, "msmtp")}, append(args, "promo@lists.example.com")...)...)
	return cmd
}

func curl(t *testing.T, g *gateway, w way, _ string) *exec.Cmd {
	args := []string{"--silent", "--show-error", "--url", "smtp://localhost:" + w.port, "--mail-from", "marketer@example.com", "--mail-rcpt", "promo@lists.example.com", "--upload-file", "mail.eml"}
	if w.mechanism != "" {
		args = append(args, "--ssl-reqd", "--cacert", "cert.pem", "--login-options", "AUTH="+w.mechanism, "--user", "marketer@example.com:"+password)
	}
	return exec.Command(peer.Command(t, "curl"), args...)
}

func scripted(name, script string, w way, subject string, env ...string) *exec.Cmd {
	cmd := exec.Command(name, script)
	cmd.Env = append(os.Environ(), append(env, "PORT="+w.port, "MECHANISM="+w.mechanism, "PASSWORD="+password, "SUBJECT="+subject)...)
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
