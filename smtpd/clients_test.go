package smtpd_test

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/peer"
	"postern/smtpd"
)

// peers serves STARTTLS and implicit TLS, both with AUTH required, and gives the
// ports and a file with the certificate.
func peers(t *testing.T, in *intake) (starttls, implicit, certFile string) {
	t.Helper()
	id := newIdentity(t)
	certFile = filepath.Join(t.TempDir(), "cert.pem")
	if err := os.WriteFile(certFile, id.pem, 0o600); err != nil {
		t.Fatal(err)
	}
	conf := config(t, in)
	conf.GetCertificate = id.get
	a := conf.Listeners[0]
	a.TLS, a.Auth, a.BareNewline = "starttls", "required", "reject"
	b := a
	b.TLS = "implicit"
	conf.Listeners = []smtpd.Listener{a, b}
	conf.Accounts[1].PerMinute = 0
	s := start(t, conf)
	port := func(i int) string { return fmt.Sprint(s.Addrs()[i].(*net.TCPAddr).Port) }
	return port(0), port(1), certFile
}

func run(t *testing.T, env []string, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", filepath.Base(name), err, out)
	}
}

// wantMails wants n mails with the text, by an account, through TLS.
func wantMails(t *testing.T, in *intake, n int, text string) {
	t.Helper()
	got := in.taken()
	if len(got) != n {
		t.Fatalf("%d mails were taken, want %d", len(got), n)
	}
	for _, m := range got {
		if !strings.Contains(m.Body, text) || !strings.Contains(m.Body, "with ESMTPSA (TLS1.3)") {
			t.Errorf("body %q", m.Body)
		}
		if !m.Sub.Authenticated || m.Sub.Name != "relay@example.com" || m.Env.From != "a@example.com" || fmt.Sprint(m.Env.Recipients) != "[b@example.net c@example.net]" {
			t.Errorf("submitter %+v, envelope %+v", m.Sub, m.Env)
		}
	}
}

func TestSwaksSubmits(t *testing.T) {
	in := &intake{}
	starttls, implicit, _ := peers(t, in)
	swaks := peer.Command(t, "swaks")
	for _, how := range [][]string{{"--port", starttls, "--tls"}, {"--port", implicit, "--tlsc"}} {
		for _, mechanism := range []string{"PLAIN", "LOGIN"} {
			run(t, nil, swaks, append(how, "--server", "127.0.0.1", "--auth", mechanism, "--auth-user", "relay@example.com", "--auth-password", "battery staple",
				"--from", "a@example.com", "--to", "b@example.net,c@example.net", "--body", "from swaks\n.\nend")...)
		}
	}
	wantMails(t, in, 4, "from swaks\r\n.\r\nend\r\n")
}

func TestSmtplibSubmits(t *testing.T) {
	in := &intake{}
	starttls, implicit, cert := peers(t, in)
	run(t, []string{"STARTTLS=" + starttls, "IMPLICIT=" + implicit, "CERT=" + cert}, peer.Python, "testdata/submit.py")
	wantMails(t, in, 8, "from smtplib 민\r\n.\r\nend\r\n")
}

func TestNodemailerSubmits(t *testing.T) {
	in := &intake{}
	starttls, implicit, cert := peers(t, in)
	run(t, []string{"STARTTLS=" + starttls, "IMPLICIT=" + implicit, "CERT=" + cert, "NODEMAILER=" + filepath.Join(peer.NodeModules(t), "nodemailer")},
		peer.Command(t, "node"), "testdata/submit.js")
	wantMails(t, in, 4, "from nodemailer\r\n.\r\nend\r\n")
}

// TestWhereFromIsRewrittenNoSenderIsRefused: the intake puts rewrite_from in its
// place. The null sender is still for those with relay alone.
func TestWhereFromIsRewrittenNoSenderIsRefused(t *testing.T) {
	in := &intake{}
	conf := config(t, in)
	conf.Networks = []smtpd.Network{{CIDR: netip.MustParsePrefix("127.0.0.0/8"), SendAs: []string{"copier@example.com"}, RewriteFrom: "copier@example.com"}}
	c := hello(t, start(t, conf))
	c.do("MAIL FROM:<>", "550 5.7.1 network 127.0.0.0/8 may not send with an empty sender")
	c.do("MAIL FROM:<ricoh@copier1.local>", "250")
	c.do("RCPT TO:<b@example.net>", "250")
}
