package smtpd_test

import (
	"crypto/tls"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/smtpd"
)

// TestNewNamesEverythingThatIsWrong, at once, with its key.
func TestNewNamesEverythingThatIsWrong(t *testing.T) {
	c := config(t, &intake{})
	c.Hostname = "a b"
	c.MaxMessageBytes, c.MaxRecipients, c.MaxConnections, c.ReadTimeout = 0, 0, -1, 0
	c.Listeners = []smtpd.Listener{
		{Address: "nowhere", TLS: "maybe", TLSMin: "0.9", Auth: "sometimes", BareNewline: "eat"},
		{Address: "0.0.0.0:25", TLS: "implicit", TLSMin: "1.2", Auth: "off", BareNewline: "reject", ProxyProtocolFrom: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}},
		{Address: "127.0.0.1:25", TLS: "none", TLSMin: "1.2", Auth: "required", BareNewline: "reject"},
	}
	c.Accounts = []smtpd.Account{{Username: "a"}, {Username: "A", PasswordHash: "plain"}, {PerDay: -1}}
	c.Networks = []smtpd.Network{{CIDR: netip.MustParsePrefix("::1/128"), Relay: true}, {}, {CIDR: netip.MustParsePrefix("10.0.0.0/8"), CertNames: []string{"x y"}}}
	_, err := smtpd.New(c)
	if err == nil {
		t.Fatal("New takes it")
	}
	for _, want := range []string{
		`hostname: "a b" is not a host name`,
		"smtp.max_message_bytes:", "smtp.max_recipients:", "smtp.max_connections,", "smtp.read_timeout,",
		`smtp.listener[0].address: "nowhere" is not host:port`,
		`smtp.listener[0].tls: "maybe" is not one of none, starttls, implicit`,
		`smtp.listener[0].tls_min:`, `smtp.listener[0].auth:`, `smtp.listener[0].bare_newline:`,
		`smtp.listener[1].tls: "implicit" needs a certificate: set smtp.tls.cert_file`,
		`smtp.listener[1].proxy_protocol_from[0]: 0.0.0.0/0 would let anybody pretend`,
		`smtp.listener[2].auth: nobody could log in here`,
		`smtp.account[1].username: "A" is there twice`, `smtp.account[1].password_hash: is not a bcrypt hash`, "smtp.account[2].username: is empty", "smtp.account[2].per_minute",
		"smtp.network[0].relay: ::1/128 may relay while 0.0.0.0:25 is open beyond loopback",
		"smtp.network[1].cidr:", `smtp.network[2].cert_names[0]: "x y" is not a DNS name`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in:\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), "plain") {
		t.Error("the error shows the password hash")
	}
}

func TestALoopbackNetworkMayBeTrusted(t *testing.T) {
	c := config(t, &intake{})
	c.Listeners[0].Address = "0.0.0.0:0"
	c.Networks[0].TrustLoopback = true
	if _, err := smtpd.New(c); err != nil {
		t.Error(err)
	}
}

// TestCertificatesNeedTLS on some listener.
func TestCertificatesNeedTLS(t *testing.T) {
	c := config(t, &intake{})
	c.Networks[0].CertNames = []string{"mail.example.com"}
	if _, err := smtpd.New(c); err == nil || !strings.Contains(err.Error(), "smtp.network[0].cert_names: no listener speaks TLS") {
		t.Errorf("New says %v", err)
	}
}

func TestListenOpensAllOrNone(t *testing.T) {
	c := config(t, &intake{})
	other := start(t, config(t, &intake{}))
	taken := c.Listeners[0]
	taken.Address = other.Addrs()[0].String()
	c.Listeners = append(c.Listeners, taken)
	s, err := smtpd.New(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Listen(); err == nil || !strings.Contains(err.Error(), taken.Address) {
		t.Errorf("Listen says %v", err)
	}
	if n := len(s.Addrs()); n != 0 {
		t.Errorf("%d listeners are open", n)
	}
}

// TestACertificateIsReadAgain, and a bad one changes nothing.
func TestACertificateIsReadAgain(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "c.pem"), filepath.Join(dir, "k.pem")
	write := func(cert, key []byte) {
		t.Helper()
		if err := os.WriteFile(certFile, cert, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(keyFile, key, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	old, fresh := newIdentity(t), newIdentity(t)
	if _, err := smtpd.LoadCertificate(certFile, keyFile); err == nil || !strings.Contains(err.Error(), certFile) {
		t.Errorf("a missing file: %v", err)
	}
	write(old.pem, old.key)
	cert, err := smtpd.LoadCertificate(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	conf := config(t, &intake{})
	conf.Listeners[0].TLS, conf.GetCertificate = "implicit", cert.Get
	s := start(t, conf)
	connect := func(i identity) { dialTLS(t, s, "implicit", i).do("QUIT", "221") }
	connect(old)
	write([]byte("nonsense"), old.key)
	if cert.Reload() == nil {
		t.Error("nonsense is taken for a certificate")
	}
	connect(old)
	write(fresh.pem, fresh.key)
	if err := cert.Reload(); err != nil {
		t.Fatal(err)
	}
	connect(fresh)
}

// TestTLSVersions: 1.0 with an old suite only where the listener says so.
func TestTLSVersions(t *testing.T) {
	id := newIdentity(t)
	for _, tt := range []struct {
		min   string
		takes bool
	}{{"1.0", true}, {"1.1", false}, {"1.2", false}} {
		conf := config(t, &intake{})
		conf.Listeners[0].TLS, conf.Listeners[0].TLSMin, conf.GetCertificate = "implicit", tt.min, id.get
		s := start(t, conf)
		c, err := tls.Dial("tcp", s.Addrs()[0].String(), &tls.Config{RootCAs: id.pool, ServerName: "localhost", MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10})
		if (err == nil) != tt.takes {
			t.Errorf("tls_min %s, a client of TLS 1.0: %v", tt.min, err)
		}
		if err == nil {
			c.Close()
		}
	}
}
