package sign

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"

	"postern/mail"
)

// The sizes of an RSA key in bits. RFC 8301 §3.2: verifiers need not take less
// than 1024, and signers should use 2048.
const (
	minBits      = 1024
	expectedBits = 2048
)

// KeyConfig is one [[dkim]] of the configuration.
type KeyConfig struct {
	Domain   string // the d= tag; From addresses at it and below it are signed with this key
	Selector string // the s= tag: the public key is at Selector._domainkey.Domain
	KeyFile  string // PEM, PKCS#8 or PKCS#1, RSA or Ed25519; not read when Sign is false
	Sign     bool   // false: the lane's upstream signs for this domain
}

// Key is what is used for one domain.
type Key struct {
	Domain   string // as A-labels, lower case
	Selector string
	signer   crypto.Signer // nil: the upstream signs
}

// Keys holds the keys of all From domains. It does not change after [Open].
type Keys struct {
	byDomain map[string]*Key
	warnings []string
}

// Open reads the keys. Its error joins every problem that was found, each a
// sentence that begins with the domain it is about.
func Open(configs []KeyConfig) (*Keys, error) {
	ks := &Keys{byDomain: make(map[string]*Key, len(configs))}
	var problems []error
	for i, c := range configs {
		k, err := ks.open(c)
		if err != nil {
			problems = append(problems, fmt.Errorf("dkim[%d] (%s): %w", i, c.Domain, err))
			continue
		}
		ks.byDomain[k.Domain] = k
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return ks, nil
}

// Warnings are sentences about keys that work but should be better.
func (ks *Keys) Warnings() []string { return ks.warnings }

func (ks *Keys) open(c KeyConfig) (*Key, error) {
	address, err := mail.ParseAddress("postmaster@" + c.Domain)
	if err != nil || strings.HasPrefix(c.Domain, "[") {
		return nil, fmt.Errorf("domain %q is not a domain name", c.Domain)
	}
	k := &Key{Domain: address.Domain(), Selector: strings.ToLower(c.Selector)}
	if ks.byDomain[k.Domain] != nil {
		return nil, errors.New("the domain has two keys; a mail bears one signature, so keep one of them")
	}
	if !c.Sign {
		return k, nil
	}
	if !isSelector(k.Selector) {
		return nil, fmt.Errorf("selector %q is not a DNS name: letters, digits, hyphens and dots", c.Selector)
	}
	text, err := os.ReadFile(c.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("key_file cannot be read: %w; `postern dkim keygen --domain %s --selector %s --out FILE` makes a key", err, c.Domain, c.Selector)
	}
	if k.signer, err = parseKey(text); err != nil {
		return nil, fmt.Errorf("key_file %s: %w", c.KeyFile, err)
	}
	if r, ok := k.signer.(*rsa.PrivateKey); ok && r.N.BitLen() < expectedBits {
		ks.warnings = append(ks.warnings, fmt.Sprintf("dkim (%s): the key has %d bits; make one of %d and publish it under a new selector", c.Domain, r.N.BitLen(), expectedBits))
	}
	return k, nil
}

// isSelector holds RFC 6376 §3.1: sub-domain *( "." sub-domain ).
func isSelector(s string) bool {
	if len(s) > 63*3 {
		return false
	}
	for _, label := range strings.Split(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_') {
				return false
			}
		}
	}
	return true
}

// parseKey reads the first private key of a PEM text.
func parseKey(text []byte) (crypto.Signer, error) {
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			return nil, errors.New("there is no private key in it; it must be PEM with BEGIN PRIVATE KEY or BEGIN RSA PRIVATE KEY")
		}
		text = rest
		switch block.Type {
		case "PRIVATE KEY":
			k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
			if err != nil {
				return nil, fmt.Errorf("the private key is damaged: %w", err)
			}
			return usable(k)
		case "RSA PRIVATE KEY":
			k, err := x509.ParsePKCS1PrivateKey(block.Bytes)
			if err != nil {
				return nil, fmt.Errorf("the private key is damaged or has a passphrase: %w", err)
			}
			return usable(k)
		case "ENCRYPTED PRIVATE KEY":
			return nil, errors.New("the private key has a passphrase; `openssl pkcs8 -topk8 -nocrypt` removes it")
		}
	}
}

func usable(key any) (crypto.Signer, error) {
	switch k := key.(type) {
	case *rsa.PrivateKey:
		if k.N.BitLen() < minBits {
			return nil, fmt.Errorf("the RSA key has %d bits; receivers refuse less than %d, make one of %d", k.N.BitLen(), minBits, expectedBits)
		}
		return k, nil
	case ed25519.PrivateKey:
		return k, nil
	}
	return nil, fmt.Errorf("a key of this kind (%T) cannot sign DKIM; it must be RSA or Ed25519", key)
}

// For finds the key for mail whose From header bears this address: that of its
// domain, else of the nearest parent domain. When found and not sign, the
// upstream signs and [Keys.Sign] leaves the mail as it is.
func (ks *Keys) For(from mail.Address) (k *Key, found, sign bool) {
	d := from.Domain()
	for d != "" {
		if k = ks.byDomain[d]; k != nil {
			return k, true, k.signer != nil
		}
		_, d, _ = strings.Cut(d, ".")
	}
	return nil, false, false
}
