package mysqlsync_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/directory/mysqlsync"
	"postern/internal/peer"
	"postern/mail"
)

func TestAServerThatRestartsBetweenPagesIsReadOn(t *testing.T) {
	t.Parallel()
	server := peer.StartMariaDB(t, "--innodb-flush-log-at-trx-commit=1")
	s := newShop(t, server.Root)
	s.users()
	s.fill(2, 7)
	table := s.open(s.config())
	first, err := table.ByKey(t.Context(), "", 30)
	if err != nil {
		t.Fatal(err)
	}
	server.Kill()
	if _, err := table.ByKey(t.Context(), first[29].Key, 30); mail.ClassOf(err) != mail.Unreachable {
		t.Errorf("while it is away: class %v, %v", mail.ClassOf(err), err)
	}
	if _, err := mysqlsync.OpenTable(t.Context(), s.config()); mail.ClassOf(err) != mail.Unreachable || !strings.Contains(err.Error(), "cannot be reached") {
		t.Errorf("opening while it is away: class %v, %v", mail.ClassOf(err), err)
	}
	server.Start(t)
	rest := pages(t, 30, func(after mysqlsync.Row) ([]mysqlsync.Row, error) {
		if after.Key == "" {
			after = first[29]
		}
		return table.ByKey(t.Context(), after.Key, 30)
	})
	if len(first)+len(rest) != 100 {
		t.Errorf("%d rows and %d", len(first), len(rest))
	}

	// Connections in the pool that are dead, and nobody has noticed.
	if _, err := table.ByKey(t.Context(), "", 30); err != nil {
		t.Fatal(err)
	}
	server.Kill()
	server.Start(t)
	if rows, err := table.ByKey(t.Context(), "", 30); err != nil || len(rows) != 30 {
		t.Errorf("after a restart: %d rows, %v", len(rows), err)
	}
}

// authority signs certificates for one test.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) *authority {
	a := &authority{t: t, dir: t.TempDir()}
	a.cert, a.key = a.sign("ca", &x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name+".pem") }

// sign writes name.pem and name-key.pem.
func (a *authority) sign(name string, c *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c.SerialNumber, c.NotBefore, c.NotAfter = big.NewInt(time.Now().UnixNano()), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{name: {Type: "CERTIFICATE", Bytes: der}, name + "-key": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(a.file(file), pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

func TestTLSKnowsWhoTheServerIs(t *testing.T) {
	t.Parallel()
	ours, other := newAuthority(t, "ours"), newAuthority(t, "other")
	ours.sign("server", &x509.Certificate{Subject: pkix.Name{CommonName: "db"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	root := peer.MariaDB(t, "--ssl-ca="+ours.file("ca"), "--ssl-cert="+ours.file("server"), "--ssl-key="+ours.file("server-key"))
	s := newShop(t, root)
	s.users()
	s.exec("SET GLOBAL require_secure_transport = ON")
	cfg := s.config()

	s.refuse(cfg, "TLS", "tls=true")
	cfg.DSN += "?tls=true"
	s.refuse(cfg, "certificate", "sync.ca_file")
	cfg.CAFile = other.file("ca")
	s.refuse(cfg, "certificate", "sync.ca_file")
	cfg.CAFile = ours.file("server-key")
	s.refuse(cfg, "sync.ca_file has no certificate")
	cfg.CAFile = filepath.Join(t.TempDir(), "absent.pem")
	s.refuse(cfg, "sync.ca_file cannot be read")

	cfg.CAFile = ours.file("ca")
	s.encrypted(cfg)
	cfg.DSN = root + s.name
	s.encrypted(cfg)
	cfg.DSN = strings.Replace(root, "127.0.0.1", "localhost", 1) + s.name
	s.refuse(cfg, "it is not for that name")
	cfg.DSN = root + s.name + "?tls=skip-verify"
	s.refuse(cfg, "tls=skip-verify")
	cfg.CAFile = ""
	s.encrypted(cfg)
	cfg.DSN = root + s.name + "?tls=preferred"
	s.encrypted(cfg)
	cfg.DSN = root + s.name + "?tls=nonsense"
	s.refuse(cfg, "tls=")
}

func (s *shop) encrypted(cfg mysqlsync.TableConfig) {
	s.t.Helper()
	if _, err := s.open(cfg).ByKey(s.t.Context(), "", 1); err != nil {
		s.t.Error(err)
	}
}
