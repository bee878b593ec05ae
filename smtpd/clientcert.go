package smtpd

import (
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"
)

// ClientCAs are the authorities whose client certificates are believed. They can
// be read again while clients are served.
type ClientCAs struct {
	file    string
	current atomic.Pointer[x509.CertPool]
}

// LoadClientCAs reads PEM certificates.
func LoadClientCAs(file string) (*ClientCAs, error) {
	c := &ClientCAs{file: file}
	return c, c.Reload()
}

// Reload reads the file again. On an error the former authorities stay in use.
func (c *ClientCAs) Reload() error {
	text, err := os.ReadFile(c.file)
	if err != nil {
		return fmt.Errorf("read the authorities of client certificates: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return fmt.Errorf("read the authorities of client certificates: %s holds no certificate in PEM", c.file)
	}
	c.current.Store(pool)
	return nil
}

// Get is for Config.ClientCAs.
func (c *ClientCAs) Get() *x509.CertPool { return c.current.Load() }

// asksCertificates is true when some network's rights hang on one; nobody else
// is bothered with the question.
func (c *Config) asksCertificates() bool {
	for _, n := range c.Networks {
		if len(n.CertNames) > 0 {
			return true
		}
	}
	return false
}

// verdict is what a client's certificate is worth: the names that it proves, or
// why it proves none.
type verdict struct {
	names []string // lower case
	fault string   // goes on after "but"
}

// network is the one whose rights the client has: of those with the longest
// prefix around its address the first whose certificate it has. When only the
// certificate is missing, lack says so.
//
// A loopback address in a PROXY header gives nothing, nor does a header without
// an address: what may be done on this machine is not for a proxy to give away.
func (s *session) network() (n *Network, lack string) {
	if s.conn.nobody || s.conn.announced && s.conn.remote.IsLoopback() {
		return nil, ""
	}
	var wanted []string
	for _, n := range fittingNetworks(s.srv.conf.Networks, s.conn.remote) {
		if len(n.CertNames) == 0 || s.certificate().proves(n.CertNames) {
			return n, ""
		}
		wanted = append(wanted, n.CertNames...)
	}
	if wanted == nil {
		return nil, ""
	}
	return nil, fmt.Sprintf("from %s a TLS client certificate for %s is asked for, but %s", s.conn.remote, some(wanted), s.certificate().reason())
}

// certificate looks at what the client showed, once in a session.
func (s *session) certificate() *verdict {
	if s.shown == nil {
		s.shown = s.examine()
	}
	return s.shown
}

func (s *session) examine() *verdict {
	state, secure := s.peer.TLSConnectionState()
	switch {
	case !secure && s.lis.conf.TLS == "none":
		return &verdict{fault: "there is no TLS on this listener; connect to another"}
	case !secure:
		return &verdict{fault: "the session has no TLS; switch on STARTTLS in the sending program"}
	case len(state.PeerCertificates) == 0:
		return &verdict{fault: "none was shown; give the sending program a certificate to show"}
	}
	var roots *x509.CertPool // nil: the system's
	if s.srv.conf.ClientCAs != nil {
		roots = s.srv.conf.ClientCAs()
	}
	return judge(state.PeerCertificates, roots, time.Now())
}

// judge verifies a chain. Its key usage is not asked for: public authorities no
// longer write clientAuth into certificates, and mail servers show what they have.
func judge(chain []*x509.Certificate, roots *x509.CertPool, now time.Time) *verdict {
	leaf, between := chain[0], x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	if err != nil {
		return &verdict{fault: fault(leaf, err, now)}
	}
	v := &verdict{}
	for _, n := range leaf.DNSNames {
		v.names = append(v.names, strings.ToLower(n))
	}
	return v
}

func fault(leaf *x509.Certificate, err error, now time.Time) string {
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	switch {
	case now.After(leaf.NotAfter):
		return fmt.Sprintf("the one shown expired on %s", leaf.NotAfter.UTC().Format("2 January 2006"))
	case now.Before(leaf.NotBefore):
		return fmt.Sprintf("the one shown is not valid before %s", leaf.NotBefore.UTC().Format("2 January 2006 15:04 MST"))
	case errors.As(err, &unknown):
		return fmt.Sprintf("the one shown is of an authority that is not known here (%s)", leaf.Issuer)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the authority of the one shown has expired, or is not valid yet"
	}
	return fmt.Sprintf("the one shown is not valid (%v)", err)
}

// proves says whether one of the wanted names is the certificate's: the same
// name, or one label under its wildcard. A wanted name with a wildcard is only
// the same name.
func (v *verdict) proves(wanted []string) bool {
	for _, w := range wanted {
		w = strings.ToLower(w)
		_, parent, _ := strings.Cut(w, ".")
		for _, n := range v.names {
			if n == w || parent != "" && n == "*."+parent {
				return true
			}
		}
	}
	return false
}

func (v *verdict) reason() string {
	switch {
	case v.fault != "":
		return v.fault
	case len(v.names) == 0:
		return "the one shown bears no DNS name"
	}
	return "the one shown is for " + some(v.names)
}

// some names at most three, for a reply that must stay short.
func some(names []string) string {
	if len(names) > 3 {
		return strings.Join(names[:3], ", ") + ", ..."
	}
	return strings.Join(names, " or ")
}
