package main

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/bcrypt"

	"postern/mail"
)

// The rules that the keys of the configuration share: each says nothing, or adds
// one problem at its path.

func (k *checker) oneOf(path, value string, allowed ...string) {
	switch {
	case slices.Contains(allowed, value):
	case value == "":
		k.found.add(path, "is missing: one of %s", strings.Join(allowed, ", "))
	default:
		k.found.add(path, "%q is not one of %s", value, strings.Join(allowed, ", "))
	}
}

func (k *checker) present(path, value string) {
	if value == "" {
		k.found.add(path, "is empty")
	}
}

func (k *checker) positive(path string, d time.Duration) {
	if d <= 0 {
		k.found.add(path, "%s is not more than nothing", d)
	}
}

func atLeast[T cmp.Ordered](k *checker, path string, value, least T) {
	if value < least {
		k.found.add(path, "%v is too small: at least %v", value, least)
	}
}

func within[T cmp.Ordered](k *checker, path string, value, least, most T) {
	if !(value >= least && value <= most) { // not: < or >, which a NaN passes
		k.found.add(path, "%v is not from %v to %v", value, least, most)
	}
}

// unique takes note of a name and refuses it the second time.
func (k *checker) unique(path, name string, seen map[string]string) {
	if name == "" || name == "@" {
		k.found.add(path, "is empty")
		return
	}
	if first, taken := seen[name]; taken {
		k.found.add(path, "%q is already that of %s", name, first)
		return
	}
	seen[name] = path[:strings.LastIndexByte(path, '.')]
}

func (k *checker) id(path, id string, seen map[string]string) {
	if !regexp.MustCompile(`^[a-z0-9_-]{1,64}$`).MatchString(id) {
		k.found.add(path, "%q is not a name of 1 to 64 letters a-z, digits, _ and -", id)
		return
	}
	k.unique(path, id, seen)
}

func (k *checker) address(path string, a mail.Address, required bool) {
	if a == "" {
		if required {
			k.found.add(path, "is missing: a mail address")
		}
		return
	}
	if _, err := mail.ParseAddress(string(a)); err != nil {
		k.found.add(path, "%w", err)
	} else if _, err := a.ASCII(); err != nil {
		k.found.add(path, "%q has letters beyond ASCII before the @, which mail cannot carry everywhere", a)
	}
}

// pattern is an address, "*@domain" or "*".
func (k *checker) pattern(path, pattern string) {
	probe := pattern
	if strings.HasPrefix(pattern, "*@") {
		probe = "x" + pattern[1:]
	}
	if _, err := mail.ParseAddress(probe); err != nil && pattern != "*" {
		k.found.add(path, `%q is neither an address nor "*@domain"`, pattern)
	}
}

func (k *checker) domain(path, name string) {
	_, err := mail.ParseAddress("x@" + name)
	if err != nil || strings.ContainsAny(name, "[@") {
		k.found.add(path, "%q is not a domain name", name)
	}
}

// hostPort takes an address to listen on or to dial, and with seen refuses to
// use one twice (port 0, which the system chooses, may recur).
func (k *checker) hostPort(path, address string, seen map[string]string) {
	host, port, err := net.SplitHostPort(address)
	number, bad := strconv.ParseUint(port, 10, 16)
	if err != nil || bad != nil || strings.ContainsAny(host, " /") {
		k.found.add(path, `%q is not a host and a port such as "127.0.0.1:2525"`, address)
		return
	}
	if seen != nil && number != 0 {
		k.unique(path, address, seen)
	}
}

func (k *checker) url(path, text string) {
	if text == "" {
		return
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		k.found.add(path, `%q is not an address such as "https://mail.example.com"`, text)
	}
}

// public refuses an address of the pages that receivers would not use: they
// unsubscribe in one click by https alone (RFC 8058 §3.1). Loopback is for trying out.
func (k *checker) public(path, text string) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" || u.Host == "" || isLoopback(net.JoinHostPort(u.Hostname(), "0")) {
		return
	}
	k.found.add(path, "%q is not https, and mail programs unsubscribe in one click by https alone: put a server with TLS in front of optout.listen and write https:// here", text)
}

func (k *checker) hash(path string, hash Secret) {
	if hash == "" {
		return
	}
	if _, err := bcrypt.Cost([]byte(string(hash))); err != nil {
		k.found.add(path, "is not a bcrypt hash: make one with `postern passwd`")
	}
}

func (k *checker) lane(path, name string, c *Config) {
	var names []string
	for i := range c.Lanes {
		names = append(names, c.Lanes[i].Name)
	}
	if name != "" && !slices.Contains(names, name) {
		k.found.add(path, "there is no lane with the name %q%s", name, among(names))
	}
}

// openListener is a listener's address that others than this machine reach; ""
// when there is none.
func openListener(s *SMTPConfig) string {
	for i := range s.Listeners {
		if !isLoopback(s.Listeners[i].Address) {
			return s.Listeners[i].Address
		}
	}
	return ""
}

func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return true // another rule names it
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

func ids(lists []ListConfig) []string {
	var out []string
	for i := range lists {
		out = append(out, lists[i].ID)
	}
	return out
}

func among(names []string) string {
	if len(names) == 0 || len(names) > 10 {
		return ""
	}
	return fmt.Sprintf(" (there are: %s)", strings.Join(names, ", "))
}
