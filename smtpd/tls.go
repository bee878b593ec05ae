package smtpd

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"sync/atomic"
	"time"
)

// Certificate is a key pair that can be read again while clients are served.
type Certificate struct {
	certFile, keyFile string
	current           atomic.Pointer[tls.Certificate]
}

// LoadCertificate reads a PEM chain and its key.
func LoadCertificate(certFile, keyFile string) (*Certificate, error) {
	c := &Certificate{certFile: certFile, keyFile: keyFile}
	return c, c.Reload()
}

// Reload reads the files again. On an error the former key pair stays in use.
func (c *Certificate) Reload() error {
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("read the TLS certificate %s and key %s: %w", c.certFile, c.keyFile, err)
	}
	c.current.Store(&pair)
	return nil
}

// Get is for Config.GetCertificate.
func (c *Certificate) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return c.current.Load(), nil
}

// tlsConfig asks for a client certificate where one can give rights, and takes
// any: what it is worth is decided where the rights are (see verdict), because
// the same listener serves clients that have a bad one, or none.
func tlsConfig(l Listener, conf *Config) *tls.Config {
	if l.TLS == "none" {
		return nil
	}
	versions := map[string]uint16{"1.0": tls.VersionTLS10, "1.1": tls.VersionTLS11, "1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}
	c := &tls.Config{GetCertificate: conf.GetCertificate, MinVersion: versions[l.TLSMin]}
	if c.MinVersion < tls.VersionTLS12 {
		c.CipherSuites = oldSuites()
	}
	c.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		cert, _ := conf.GetCertificate(h) // an error comes again where it counts
		below(h.Conn).tap.Hello(h, cert, time.Now())
		return nil, nil // as it is
	}
	if conf.asksCertificates() {
		c.ClientAuth = tls.RequestClientCert
		c.VerifyPeerCertificate = boundChain
	}
	return c
}

// maxChain is how long a client's certificates may be together, in octets. They
// are held as long as the connection, and crypto/tls would take 256 KiB.
const maxChain = 32 << 10

// boundChain ends the handshake with a client that means no good.
func boundChain(raw [][]byte, _ [][]*x509.Certificate) error {
	n := 0
	for _, c := range raw {
		n += len(c)
	}
	if n > maxChain {
		return fmt.Errorf("the client's certificates are longer than %d octets", maxChain)
	}
	return nil
}

// oldSuites adds to Go's choice the RSA key exchange with AES, which is all
// that old scanners speak; RC4 and 3DES stay out.
func oldSuites() []uint16 {
	var ids []uint16
	for _, s := range tls.CipherSuites() {
		ids = append(ids, s.ID)
	}
	return append(ids, tls.TLS_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_RSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_RSA_WITH_AES_128_CBC_SHA, tls.TLS_RSA_WITH_AES_256_CBC_SHA)
}
