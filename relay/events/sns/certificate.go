package sns

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// The limits of what is fetched.
const (
	maxFetch   = 64 << 10 // octets of a certificate, or of the answer to a confirmation
	maxFetches = 4        // at once
	maxKnown   = 16       // certificates that are kept
	maxIssuers = 3        // certificates between SNS's and a root
	fetchTime  = 10 * time.Second
)

// errLater is what may be better when SNS tries again.
var errLater = errors.New("this message cannot be taken now")

func later(format string, a ...any) error {
	return fmt.Errorf("%w: %s", errLater, fmt.Sprintf(format, a...))
}

// fetcher gets what Amazon serves, a little at a time.
type fetcher struct {
	client *http.Client
	slots  chan struct{} // one for each fetch that is going on
}

func newFetcher(transport http.RoundTripper) *fetcher {
	return &fetcher{slots: make(chan struct{}, maxFetches),
		client: &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// certificates are those of SNS that were fetched.
type certificates struct {
	*fetcher
	roots *x509.CertPool // nil: the system's

	mu    sync.Mutex
	known map[string]*x509.Certificate // by address
}

// get gives the certificate at an address of host, which is SNS's and valid now.
func (c *certificates) get(ctx context.Context, address, host string, now time.Time) (*x509.Certificate, error) {
	c.mu.Lock()
	cert := c.known[address]
	c.mu.Unlock()
	if cert == nil {
		var err error
		if cert, err = c.fetch(ctx, address, host, now); err != nil {
			return nil, err
		}
		c.mu.Lock()
		if len(c.known) >= maxKnown {
			clear(c.known)
		}
		c.known[address] = cert
		c.mu.Unlock()
	}
	if now.Before(cert.NotBefore) || now.After(cert.NotAfter) {
		return nil, forged("its certificate is not valid now; see that the clock of this machine is right")
	}
	return cert, nil
}

// fetch gets a certificate and holds that it is SNS's. SNS serves its own alone,
// without the one between it and the root; that comes with the connection, or from
// where the certificate says that its issuer is.
func (c *certificates) fetch(ctx context.Context, address, host string, now time.Time) (*x509.Certificate, error) {
	body, state, err := c.download(ctx, address)
	if err != nil {
		return nil, err
	}
	all := parseCertificates(body)
	if len(all) == 0 {
		return nil, forged("there is no certificate where it says")
	}
	leaf := all[0]
	if !slices.ContainsFunc(names(host), func(name string) bool { return leaf.VerifyHostname(name) == nil }) {
		return nil, forged("its certificate is not one of Amazon SNS")
	}
	between := x509.NewCertPool()
	for _, cert := range all[1:] {
		between.AddCert(cert)
	}
	if state != nil {
		for _, cert := range state.PeerCertificates[min(1, len(state.PeerCertificates)):] {
			between.AddCert(cert)
		}
	}
	return leaf, c.chain(ctx, leaf, between, now)
}

// chain finds a way from a certificate to a root.
func (c *certificates) chain(ctx context.Context, leaf *x509.Certificate, between *x509.CertPool, now time.Time) error {
	last := leaf
	for range maxIssuers {
		_, err := leaf.Verify(x509.VerifyOptions{Roots: c.roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
		var unknown x509.UnknownAuthorityError
		var expired x509.CertificateInvalidError
		switch {
		case err == nil:
			return nil
		case errors.As(err, &expired):
			return forged("its certificate is not valid (%v)", err)
		case !errors.As(err, &unknown):
			return later("its certificate cannot be checked (%v); see that ca-certificates is installed", err)
		}
		issuer, err := c.issuer(ctx, last)
		if err != nil {
			return err
		}
		between.AddCert(issuer)
		last = issuer
	}
	return later("no root certificate of this system stands behind its certificate; see that ca-certificates is installed and new")
}

// issuer fetches the certificate with which this one was signed, if Amazon has it. It
// need not come by https, because it is believed only when a root has signed it.
func (c *certificates) issuer(ctx context.Context, cert *x509.Certificate) (*x509.Certificate, error) {
	for _, address := range cert.IssuingCertificateURL {
		u, err := url.Parse(address)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.Port() != "" || !strings.HasSuffix(u.Host, ".amazontrust.com") {
			continue
		}
		body, _, err := c.download(ctx, address)
		if err != nil {
			return nil, later("the certificate of %q, which signs that of SNS, cannot be fetched from %s: %v", cert.Issuer.CommonName, address, err)
		}
		if found := parseCertificates(body); len(found) > 0 {
			return found[0], nil
		}
	}
	return nil, later("no root certificate of this system stands behind its certificate; see that ca-certificates is installed and new")
}

// download gets what is at an address, without following it anywhere else.
func (f *fetcher) download(ctx context.Context, address string) ([]byte, *tls.ConnectionState, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	select {
	case f.slots <- struct{}{}:
		defer func() { <-f.slots }()
	case <-ctx.Done():
		return nil, nil, later("too much is being fetched")
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, nil, forged("an address in it is none")
	}
	resp, err := f.client.Do(r)
	var asked *url.Error
	if errors.As(err, &asked) { // whose words hold the address, and that a token
		return nil, nil, later("Amazon cannot be reached: %v", asked.Err)
	} else if err != nil {
		return nil, nil, later("Amazon cannot be reached: %v", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxFetch+1))
	switch {
	case err != nil:
		return nil, nil, later("Amazon cannot be reached: %v", err)
	case resp.StatusCode >= 500:
		return nil, nil, later("Amazon answers HTTP %d", resp.StatusCode)
	case resp.StatusCode != http.StatusOK:
		return nil, nil, forged("Amazon answers HTTP %d for an address in it", resp.StatusCode)
	case len(body) > maxFetch:
		return nil, nil, forged("what is at an address in it is too large")
	}
	return body, resp.TLS, nil
}

// parseCertificates reads PEM, or one in DER; what is neither gives none.
func parseCertificates(body []byte) (all []*x509.Certificate) {
	if cert, err := x509.ParseCertificate(body); err == nil {
		return []*x509.Certificate{cert}
	}
	for range maxIssuers + 1 {
		var block *pem.Block
		if block, body = pem.Decode(body); block == nil {
			break
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			break
		}
		all = append(all, cert)
	}
	return all
}
