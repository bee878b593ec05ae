package mail

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// Address is a mailbox, local@domain, as somebody wrote it. The empty Address
// is the null sender of RFC 5321 §4.5.5. It is looked up in the directory as it
// stands and compared by its [Address.Key].
type Address string

// The limits of RFC 5321 §4.5.3.1, in octets.
const (
	maxLocal   = 64
	maxDomain  = 255
	maxAddress = 254
)

// ParseAddress reads a bare mailbox (no display name, no angle brackets): a
// dot-string or quoted local part, "@", a domain name or an address literal.
// Non-ASCII letters are taken in both parts, because the directory may hold
// them; what cannot be sent is refused where it would be sent ([Address.ASCII]).
func ParseAddress(s string) (Address, error) {
	at := strings.LastIndexByte(s, '@')
	if at < 1 || at == len(s)-1 {
		return "", fmt.Errorf("%q is not a mail address: it needs a name, an @ and a domain", clip(s))
	}
	local, domain := s[:at], s[at+1:]
	if len(s) > maxAddress || len(local) > maxLocal || len(domain) > maxDomain {
		return "", fmt.Errorf("%q is not a mail address: it is longer than RFC 5321 allows (64 octets before the @, 254 in all)", clip(s))
	}
	if !utf8.ValidString(s) {
		return "", fmt.Errorf("%q is not a mail address: it is not valid UTF-8", s)
	}
	if err := checkLocal(local); err != nil {
		return "", fmt.Errorf("%q is not a mail address: %w", s, err)
	}
	if err := checkDomain(domain); err != nil {
		return "", fmt.Errorf("%q is not a mail address: %w", s, err)
	}
	return Address(s), nil
}

func clip(s string) string {
	if len(s) > 80 {
		return strings.ToValidUTF8(s[:80], "") + "…"
	}
	return s
}

// checkLocal holds RFC 5321 §4.1.2's Dot-string or Quoted-string.
func checkLocal(s string) error {
	if s[0] == '"' {
		return checkQuoted(s)
	}
	for _, atom := range strings.Split(s, ".") {
		if atom == "" {
			return fmt.Errorf("the part before the @ has a dot too many")
		}
	}
	for _, r := range s {
		if r <= ' ' || r == 0x7f || strings.ContainsRune("()<>[]:;@\\,\"", r) || isControl(r) {
			return fmt.Errorf("the part before the @ must not contain %q", r)
		}
	}
	return nil
}

func checkQuoted(s string) error {
	if len(s) < 3 || s[len(s)-1] != '"' {
		return fmt.Errorf("the quote before the @ is not closed")
	}
	for i := 1; i < len(s)-1; i++ {
		switch c := s[i]; {
		case c < ' ' || c == 0x7f || c == '"':
			return fmt.Errorf("the quoted part before the @ must not contain %q", c)
		case c == '\\':
			if i++; i == len(s)-1 {
				return fmt.Errorf("the quote before the @ is not closed")
			}
		}
	}
	return nil
}

func checkDomain(s string) error {
	if strings.HasPrefix(s, "[") {
		if len(s) < 3 || !strings.HasSuffix(s, "]") {
			return fmt.Errorf("%q is not an address literal", s)
		}
		for _, c := range []byte(s[1 : len(s)-1]) { // dcontent of RFC 5321 §4.1.3
			if c <= ' ' || c >= 0x7f || strings.IndexByte("[]\\", c) >= 0 {
				return fmt.Errorf("%q is not an address literal", s)
			}
		}
		return nil
	}
	for _, label := range strings.Split(s, ".") {
		if label == "" || strings.HasPrefix(label, "-") || strings.HasSuffix(label, "-") {
			return fmt.Errorf("%q is not a domain name", s)
		}
	}
	for _, r := range s {
		ascii := r < utf8.RuneSelf
		if ascii && !(r == '.' || r == '-' || r == '_' || '0' <= r && r <= '9' || 'a' <= r|0x20 && r|0x20 <= 'z') || isControl(r) {
			return fmt.Errorf("%q is not a domain name", s)
		}
	}
	if _, err := domainASCII(s); err != nil {
		return fmt.Errorf("%q is not a domain name: %w", s, err)
	}
	return nil
}

// isControl finds what must never reach a header: C1 controls, bidirectional
// overrides, line and paragraph separators, zero-width marks.
func isControl(r rune) bool {
	return 0x80 <= r && r <= 0xa0 || 0x200b <= r && r <= 0x200f || 0x2028 <= r && r <= 0x202e ||
		0x2060 <= r && r <= 0x2069 || r == 0xfeff
}

// Local is what stands before the last @, as written.
func (a Address) Local() string {
	if i := strings.LastIndexByte(string(a), '@'); i >= 0 {
		return string(a[:i])
	}
	return string(a)
}

// Domain is what stands after the last @, lower-cased, as A-labels (RFC 5890);
// "" for the null sender.
func (a Address) Domain() string {
	i := strings.LastIndexByte(string(a), '@')
	if i < 0 {
		return ""
	}
	d, err := domainASCII(string(a[i+1:]))
	if err != nil {
		return strings.ToLower(string(a[i+1:]))
	}
	return d
}

func domainASCII(s string) (string, error) {
	ascii := true
	for i := 0; i < len(s); i++ {
		ascii = ascii && s[i] < utf8.RuneSelf
	}
	if ascii {
		return strings.ToLower(s), nil
	}
	return idna.Lookup.ToASCII(s)
}

// Key is the normalised form by which addresses are compared for copies,
// suppression and opt-outs: local part lower-cased (a needless quote removed),
// domain lower-cased and as A-labels.
func (a Address) Key() string {
	if a == "" {
		return ""
	}
	return strings.ToLower(unquoteLocal(a.Local())) + "@" + a.Domain()
}

// unquoteLocal turns `"min"` into `min`, and leaves `"a b"` as it is.
func unquoteLocal(s string) string {
	if len(s) < 3 || s[0] != '"' || s[len(s)-1] != '"' || strings.ContainsRune(s, '\\') {
		return s
	}
	if in := s[1 : len(s)-1]; checkLocal(in) == nil {
		return in
	}
	return s
}

// ASCII is the address as an upstream without SMTPUTF8 takes it: the local part
// as written, the domain as A-labels. A non-ASCII local part is a Permanent
// error 553 5.6.7 (RFC 6531 §3.5).
func (a Address) ASCII() (string, error) {
	local := a.Local()
	for i := 0; i < len(local); i++ {
		if local[i] >= utf8.RuneSelf {
			return "", &Error{Class: Permanent, Code: 553, Enhanced: "5.6.7",
				Public: fmt.Sprintf("%s cannot be reached: the part before the @ has letters beyond ASCII, which the way out (no SMTPUTF8) cannot carry", string(a))}
		}
	}
	if a == "" {
		return "", nil
	}
	return local + "@" + a.Domain(), nil
}

// MatchAddress says whether a matches pattern: an address, or "*@domain" for
// all of a domain (not its subdomains), or "*" for every address.
func MatchAddress(pattern string, a Address) bool {
	if pattern == "*" {
		return true
	}
	if d, ok := strings.CutPrefix(pattern, "*@"); ok {
		return a != "" && a.Domain() == Address("x@"+d).Domain()
	}
	return a != "" && a.Key() == Address(pattern).Key()
}
