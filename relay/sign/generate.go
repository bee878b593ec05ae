package sign

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"strings"

	"postern/mail"
)

// maxString is the longest <character-string> of a TXT record, in octets (RFC
// 1035 §3.3).
const maxString = 255

// GenerateKey makes an RSA key and gives it as PKCS#8 PEM, together with the
// line for the domain's zone file (see [Record]). Bits 0 means 2048; less than
// 1024 or more than 4096 is refused (RFC 8301 §3.2: verifiers must take keys
// up to 4096 bits).
func GenerateKey(domain, selector string, bits int) (key []byte, txt string, err error) {
	if bits == 0 {
		bits = expectedBits
	}
	if bits < minBits || bits > 4096 {
		return nil, "", fmt.Errorf("a DKIM key of %d bits is of no use: take 2048 (1024 to 4096 are possible)", bits)
	}
	private, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		return nil, "", fmt.Errorf("making an RSA key: %w", err)
	}
	txt, err = Record(domain, selector, private.Public())
	if err != nil {
		return nil, "", err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, "", fmt.Errorf("encoding the key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), txt, nil
}

// Record is the line that publishes a key,
//
//	S._domainkey.D. IN TXT "v=DKIM1; k=rsa; p=..."
//
// with the value in one piece, as most providers' forms take it. A zone file
// wants it in pieces: see [SplitRecord].
func Record(domain, selector string, public crypto.PublicKey) (string, error) {
	address, err := mail.ParseAddress("postmaster@" + domain)
	if err != nil || strings.HasPrefix(domain, "[") {
		return "", fmt.Errorf("%q is not a domain name", domain)
	}
	if selector = strings.ToLower(selector); !isSelector(selector) {
		return "", fmt.Errorf("selector %q is not a DNS name: letters, digits, hyphens and dots", selector)
	}
	value, err := recordValue(public)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s._domainkey.%s. IN TXT %q", selector, address.Domain(), value), nil
}

// SplitRecord is a line of [Record] with strings of at most 255 octets, which is
// what a zone file takes; a 2048-bit key needs two. Verifiers join them without a
// space (RFC 6376 §3.6.2.2).
func SplitRecord(line string) string {
	head, value, _ := strings.Cut(line, ` "`)
	value = strings.TrimSuffix(value, `"`)
	var b strings.Builder
	b.WriteString(head)
	for value != "" {
		n := min(maxString, len(value))
		fmt.Fprintf(&b, " %q", value[:n])
		value = value[n:]
	}
	return b.String()
}

// recordValue holds RFC 6376 §3.6.1, and RFC 8463 §4 for Ed25519.
func recordValue(public crypto.PublicKey) (string, error) {
	switch p := public.(type) {
	case *rsa.PublicKey:
		der, err := x509.MarshalPKIXPublicKey(p)
		if err != nil {
			return "", fmt.Errorf("encoding the public key: %w", err)
		}
		return "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(der), nil
	case ed25519.PublicKey:
		return "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(p), nil
	}
	return "", fmt.Errorf("a key of this kind (%T) cannot be published for DKIM", public)
}

// Record is the zone file's line that publishes this key; "" where the upstream
// signs.
func (k *Key) Record() (string, error) {
	if k.signer == nil {
		return "", nil
	}
	return Record(k.Domain, k.Selector, k.signer.Public())
}
