package smtpd_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/smtpd"
)

// authority issues client certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{t: t, key: newKey(t)}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	a.cert = a.sign(tmpl, tmpl, a.key)
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (a *authority) sign(tmpl, parent *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	a.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return c
}

// issue makes a certificate as public authorities now do: for servers only.
func (a *authority) issue(from, until time.Duration, names ...string) *tls.Certificate {
	a.t.Helper()
	key := newKey(a.t)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "mail.example.com"}, DNSNames: names, NotBefore: time.Now().Add(from),
		NotAfter: time.Now().Add(until), KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	return &tls.Certificate{Certificate: [][]byte{a.sign(tmpl, a.cert, key).Raw}, PrivateKey: key}
}

func (a *authority) file(name string) string {
	a.t.Helper()
	path := filepath.Join(a.t.TempDir(), name)
	if err := os.WriteFile(path, a.pem(), 0o600); err != nil {
		a.t.Fatal(err)
	}
	return path
}

func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

// connector is a server on 127.0.0.1 that wants certificates, and its clients.
type connector struct {
	t      *testing.T
	server *smtpd.Server
	id     identity
	mode   string
}

func newConnector(t *testing.T, mode string, cas func() *x509.CertPool, networks ...smtpd.Network) *connector {
	id := newIdentity(t)
	conf := config(t, &intake{})
	conf.Listeners[0].TLS, conf.GetCertificate, conf.ClientCAs, conf.Networks = mode, id.get, cas, networks
	return &connector{t: t, server: start(t, conf), id: id, mode: mode}
}

// rcpt comes through TLS, shows a certificate unless it is nil, and wants the reply.
func (k *connector) rcpt(from string, cert *tls.Certificate, want string) {
	k.t.Helper()
	c := dial(k.t, k.server.Addrs()[0], from)
	defer c.conn.Close()
	conf := &tls.Config{RootCAs: k.id.pool, ServerName: "localhost", GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if cert == nil {
			return &tls.Certificate{}, nil
		}
		return cert, nil
	}}
	if k.mode != "implicit" {
		c.want("220")
		c.do("EHLO x", "250")
		c.do("STARTTLS", "220")
	}
	tc := tls.Client(c.conn, conf)
	if err := tc.Handshake(); err != nil {
		k.t.Errorf("the certificate broke the handshake: %v", err)
		return
	}
	c = use(k.t, tc)
	if k.mode == "implicit" {
		c.want("220")
	}
	c.do("EHLO x", "250")
	c.asks(want)
}

func (c *client) asks(want string) {
	c.t.Helper()
	c.send("MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.net>\r\n")
	_ = c.reply()
	c.want(want)
}

func withNames(cidr string, names ...string) smtpd.Network {
	return smtpd.Network{CIDR: netip.MustParsePrefix(cidr), CertNames: names, SendAs: []string{"*@example.com"}, Relay: true}
}

// TestACertificateGivesTheRight that the address alone does not, and a refusal
// says what is wrong with the one that was shown.
func TestACertificateGivesTheRight(t *testing.T) {
	ours, theirs := newAuthority(t, "Our Authority"), newAuthority(t, "Their Authority")
	cas, err := smtpd.LoadClientCAs(ours.file("ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	const begins = "530 5.7.0 you may not send from here without logging in: switch on authentication (AUTH PLAIN or LOGIN) in the sending program, " +
		"or from 127.0.0.1 a TLS client certificate for mail.example.com or *.relay.example is asked for, but "
	for _, mode := range []string{"starttls", "implicit"} {
		k := newConnector(t, mode, cas.Get, withNames("127.0.0.0/24", "mail.example.com", "*.relay.example"))
		for _, tt := range []struct {
			name string
			cert *tls.Certificate
			want string
		}{
			{"the name", ours.issue(-time.Minute, time.Hour, "other.example", "mail.example.com"), "250"},
			{"in capitals", ours.issue(-time.Minute, time.Hour, "MAIL.Example.COM"), "250"},
			{"its wildcard", ours.issue(-time.Minute, time.Hour, "*.example.com"), "250"},
			{"the wildcard that is asked for", ours.issue(-time.Minute, time.Hour, "*.relay.example"), "250"},
			{"a name below the wildcard that is asked for", ours.issue(-time.Minute, time.Hour, "a.relay.example"), begins + "the one shown is for a.relay.example"},
			{"a wildcard of a wildcard", ours.issue(-time.Minute, time.Hour, "*.*.example"), begins + "the one shown"},
			{"a wildcard two labels up", ours.issue(-time.Minute, time.Hour, "*.com"), begins + "the one shown is for *.com"},
			{"a name below", ours.issue(-time.Minute, time.Hour, "x.mail.example.com"), begins + "the one shown is for x.mail.example.com"},
			{"only a common name", ours.issue(-time.Minute, time.Hour), begins + "the one shown bears no DNS name"},
			{"expired", ours.issue(-time.Hour, -time.Minute, "mail.example.com"), begins + "the one shown expired on "},
			{"not yet valid", ours.issue(time.Minute, time.Hour, "mail.example.com"), begins + "the one shown is not valid before "},
			{"of another authority", theirs.issue(-time.Minute, time.Hour, "mail.example.com"), begins + "the one shown is of an authority that is not known here (CN=Their Authority)"},
			{"none", nil, begins + "none was shown"},
		} {
			t.Run(mode+" "+tt.name, func(t *testing.T) { k.t = t; k.rcpt("", tt.cert, tt.want) })
		}
		if mode == "starttls" {
			c := hello(t, k.server)
			c.asks("530 5.7.0 you may not send from here without logging in: switch on TLS (STARTTLS) and authentication in the sending program, " +
				"or from 127.0.0.1 a TLS client certificate for mail.example.com or *.relay.example is asked for, but the session has no TLS")
		}
	}
}

// TestOnlyTheLongestPrefixCounts, and of equal ones the first whose certificate
// is shown; a stranger with a good certificate stays one.
func TestOnlyTheLongestPrefixCounts(t *testing.T) {
	ca := newAuthority(t, "Our Authority")
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	wide := withNames("127.0.0.0/16")
	first, second := withNames("127.0.1.0/24", "first.example"), withNames("127.0.1.0/24", "second.example", "both.example")
	third := withNames("127.0.1.0/24", "both.example")
	second.Relay, second.SendAs = false, []string{"second@example.com"}
	open := withNames("127.0.2.0/24")
	after := withNames("127.0.2.0/24", "first.example")
	after.SendAs = nil
	k := newConnector(t, "implicit", func() *x509.CertPool { return pool }, wide, first, second, third, open, after)
	cert := func(name string) *tls.Certificate { return ca.issue(-time.Minute, time.Hour, name) }
	k.rcpt("127.0.0.9", nil, "250")
	k.rcpt("127.0.1.9", cert("first.example"), "250")
	k.rcpt("127.0.1.9", cert("second.example"), "502") // MAIL was refused: second may not send as a@
	k.rcpt("127.0.1.9", cert("both.example"), "502")
	k.rcpt("127.0.1.9", nil, "530 5.7.0") // wide does not help
	k.rcpt("127.0.2.9", cert("first.example"), "250")
	k.rcpt("127.1.0.9", cert("first.example"), "530 5.7.0 you may not send from here without logging in: switch on authentication (AUTH PLAIN or LOGIN) in the sending program, or ask the administrator to add your address 127.1.0.9")
}

// TestNobodyIsAskedForACertificateInVain.
func TestNobodyIsAskedForACertificateInVain(t *testing.T) {
	for _, asked := range []bool{false, true} {
		n := withNames("127.0.0.0/8")
		if asked {
			n.CertNames = []string{"mail.example.com"}
		}
		k := newConnector(t, "implicit", nil, n)
		was := false
		c, err := tls.Dial("tcp", k.server.Addrs()[0].String(), &tls.Config{RootCAs: k.id.pool, ServerName: "localhost",
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				was = true
				return &tls.Certificate{}, nil
			}})
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		if was != asked {
			t.Errorf("asked for a certificate: %v, want %v", was, asked)
		}
	}
}

// TestAChainThatFillsTheMemoryIsRefused: an honest one has a few KiB, a long one
// is still taken.
func TestAChainThatFillsTheMemoryIsRefused(t *testing.T) {
	ca := newAuthority(t, "Our Authority")
	k := newConnector(t, "implicit", func() *x509.CertPool { p := x509.NewCertPool(); p.AddCert(ca.cert); return p }, withNames("127.0.0.0/8", "mail.example.com"))
	cert := ca.issue(-time.Minute, time.Hour, "mail.example.com")
	for len(cert.Certificate) < 40 {
		cert.Certificate = append(cert.Certificate, ca.cert.Raw)
	}
	k.rcpt("", cert, "250")
	for len(cert.Certificate) < 120 {
		cert.Certificate = append(cert.Certificate, ca.cert.Raw)
	}
	c := dial(t, k.server.Addrs()[0], "")
	tc := tls.Client(c.conn, &tls.Config{RootCAs: k.id.pool, ServerName: "localhost", Certificates: []tls.Certificate{*cert}})
	_ = tc.Handshake() // of TLS 1.3 the client's part ends before the server has looked
	if _, err := tc.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "bad certificate") {
		t.Errorf("the client hears %v", err)
	}
}

// TestTheAuthoritiesAreReadAgain, and bad ones change nothing.
func TestTheAuthoritiesAreReadAgain(t *testing.T) {
	old, fresh := newAuthority(t, "Old"), newAuthority(t, "Fresh")
	file := old.file("ca.pem")
	if _, err := smtpd.LoadClientCAs(file + "x"); err == nil || !strings.Contains(err.Error(), file+"x") {
		t.Errorf("a missing file: %v", err)
	}
	cas, err := smtpd.LoadClientCAs(file)
	if err != nil {
		t.Fatal(err)
	}
	k := newConnector(t, "implicit", cas.Get, withNames("127.0.0.0/8", "mail.example.com"))
	ofOld, ofFresh := old.issue(-time.Minute, time.Hour, "mail.example.com"), fresh.issue(-time.Minute, time.Hour, "mail.example.com")
	k.rcpt("", ofOld, "250")
	k.rcpt("", ofFresh, "530")
	write := func(text []byte) {
		t.Helper()
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write([]byte("nonsense"))
	if err := cas.Reload(); err == nil || !strings.Contains(err.Error(), "holds no certificate in PEM") {
		t.Errorf("nonsense: %v", err)
	}
	k.rcpt("", ofOld, "250")
	write(fresh.pem())
	if err := cas.Reload(); err != nil {
		t.Fatal(err)
	}
	k.rcpt("", ofOld, "530")
	k.rcpt("", ofFresh, "250")
}
