package dialogue

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
)

// Secure says that a handshake begins: on an implicit listener, where no reply
// says so.
func (t *Tap) Secure() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.facts.Handshake = HandshakeBegun
}

// Raw takes what comes below TLS, and looks at it during a handshake only.
func (t *Tap) Raw(p []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.facts.Handshake == HandshakeBegun {
		t.records.scan(p)
	}
}

// Hello takes what the client asks of TLS. cert is what it is answered with.
func (t *Tap) Hello(h *tls.ClientHelloInfo, cert *tls.Certificate, now time.Time) {
	hello := Hello{Seen: true, Name: safe(h.ServerName, 128)}
	if best := newest(h.SupportedVersions); best != 0 {
		hello.Best = tls.VersionName(best)
		hello.TooOld = best < Version(t.facts.Listener.TLSMin)
	}
	if cert != nil {
		hello.look(h, cert, now)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.facts.Hello = hello
}

// Version is the number of a TLS version as the configuration writes it; 0 when
// there is none like it.
func Version(s string) uint16 {
	for _, v := range []uint16{tls.VersionTLS10, tls.VersionTLS11, tls.VersionTLS12, tls.VersionTLS13} {
		if tls.VersionName(v) == "TLS "+s {
			return v
		}
	}
	return 0
}

// newest ignores the made-up versions of RFC 8701.
func newest(versions []uint16) (best uint16) {
	for _, v := range versions {
		if v <= tls.VersionTLS13 {
			best = max(best, v)
		}
	}
	return best
}

// look compares a ClientHello with our certificate.
func (hello *Hello) look(h *tls.ClientHelloInfo, cert *tls.Certificate, now time.Time) {
	unnamed := *h
	unnamed.ServerName = "" // a wrong name is a trouble of its own
	hello.Unfit = unnamed.SupportsCertificate(cert) != nil
	leaf := cert.Leaf
	if leaf == nil {
		return
	}
	hello.Expired = now.After(leaf.NotAfter)
	hello.WrongName = h.ServerName != "" && leaf.VerifyHostname(h.ServerName) != nil
	hello.Names = cut(strings.Join(leaf.DNSNames[:min(3, len(leaf.DNSNames))], ", "), 200)
	hello.RSAOnly = leaf.PublicKeyAlgorithm == x509.ECDSA && !slices.ContainsFunc(h.CipherSuites, func(id uint16) bool {
		name := tls.CipherSuiteName(id)
		return strings.Contains(name, "ECDSA") || !strings.Contains(name, "_WITH_") && strings.HasPrefix(name, "TLS_")
	})
}

// Secured records what a handshake has agreed on.
func (t *Tap) Secured(s tls.ConnectionState) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.facts.Handshake = HandshakeDone
	t.facts.Version, t.facts.Cipher = tls.VersionName(s.Version), tls.CipherSuiteName(s.CipherSuite)
}

// HandshakeFailed ends the session; err is nil when it is not known, as after
// STARTTLS. Go-smtp's word about it does not reach the client.
func (t *Tap) HandshakeFailed(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.handshakeFailed(err)
	t.over = true
}

func (t *Tap) handshakeFailed(err error) {
	f := &t.facts
	if f.Handshake != HandshakeBegun {
		return
	}
	f.Handshake = HandshakeFailed
	f.Trouble, f.Alert = t.trouble(err)
	t.add(remark, "(TLS: %s)", f.tlsFailure())
}

// trouble classifies a failed handshake.
func (t *Tap) trouble(err error) (kind Trouble, alert string) {
	f, r := &t.facts, &t.records
	var header tls.RecordHeaderError
	var remote tls.AlertError
	switch {
	case r.octets == 0 && (f.TimedOut || errors.Is(err, os.ErrDeadlineExceeded)):
		return Silence, ""
	case errors.As(err, &header), r.octets > 0 && !r.isTLS:
		return NotTLS, ""
	case f.Hello.TooOld:
		return TooOld, ""
	case f.Hello.Seen && f.Hello.Unfit && f.Hello.RSAOnly:
		return WrongKeyKind, ""
	case f.Hello.Seen && f.Hello.Unfit:
		return NoCipher, ""
	case r.alert != 0:
		remote = tls.AlertError(r.alert)
		return ClientRefuses, strings.TrimPrefix(remote.Error(), "tls: ")
	case err != nil && strings.HasPrefix(err.Error(), "remote error: tls: "):
		return ClientRefuses, strings.TrimPrefix(err.Error(), "remote error: tls: ")
	case r.sealedAlert():
		return ClientRefuses, ""
	case f.TimedOut, errors.Is(err, os.ErrDeadlineExceeded):
		return Timeout, ""
	case err == nil, errors.Is(err, io.EOF), strings.Contains(err.Error(), "connection reset"):
		return BrokenOff, ""
	}
	return Other, ""
}

// tlsFailure is the failure in a few words.
func (f *Facts) tlsFailure() string {
	if f.Handshake != HandshakeFailed {
		return ""
	}
	switch f.Trouble {
	case NotTLS:
		return "the client sent something that is not TLS"
	case Silence:
		return "the client sent nothing"
	case TooOld:
		return fmt.Sprintf("the client knows %s at most, and tls_min is %q", f.Hello.Best, f.Listener.TLSMin)
	case WrongKeyKind, NoCipher:
		return "the client and our certificate have no cipher suite in common"
	case ClientRefuses:
		if f.Alert != "" {
			return "the client broke it off: " + f.Alert
		}
		return "the client broke it off with an alert that is encrypted"
	case BrokenOff:
		return "the client closed the connection in the middle of the handshake"
	case Timeout:
		return "the client stopped in the middle of the handshake"
	}
	return "the handshake failed"
}

// records follows the client's TLS records (RFC 8446 §5.1) from outside.
type records struct {
	octets int
	isTLS  bool
	head   [5]byte // of the record that is coming
	have   int     // octets of head
	left   int     // octets of the record that are still to come
	body   [2]byte // its first
	got    int
	kind   byte // of the last record that is whole
	length int  // its
	alert  byte // a fatal one in the clear; 0: none
}

func (r *records) scan(p []byte) {
	if r.octets == 0 && len(p) > 0 {
		r.isTLS = p[0] == 22
	}
	r.octets += len(p)
	for len(p) > 0 && r.isTLS {
		if r.left == 0 {
			n := copy(r.head[r.have:], p)
			r.have, p = r.have+n, p[n:]
			if r.have < len(r.head) {
				return
			}
			r.left, r.got = int(binary.BigEndian.Uint16(r.head[3:])), 0
		}
		n := min(r.left, len(p))
		if r.got < len(r.body) {
			r.got += copy(r.body[r.got:], p[:n])
		}
		r.left, p = r.left-n, p[n:]
		if r.left == 0 {
			r.whole()
		}
	}
}

// whole takes a record that has come to its end.
func (r *records) whole() {
	r.have, r.kind, r.length = 0, r.head[0], int(binary.BigEndian.Uint16(r.head[3:]))
	if r.kind == 21 && r.length == 2 && r.body[1] != 0 {
		r.alert = r.body[1]
	}
}

// sealedAlert says whether the last record can only have been an encrypted alert:
// what else ends a handshake of TLS 1.3 is a Finished, which has more than 50
// octets (RFC 8446 §4.4.4), and before that alerts have a type of their own.
func (r *records) sealedAlert() bool {
	return r.kind == 21 && r.length > 2 || r.kind == 23 && r.length < 32
}
