package expand

import (
	"net/netip"
	"regexp"
	"strings"

	"golang.org/x/net/publicsuffix"

	"postern/mail"
)

// href judges where a link leads.
func (r *reviewer) href(s string) {
	scheme, rest := schemeOf(s)
	switch {
	case s == "" || s == "#" || scheme == "javascript":
		r.say("empty-link", s)
	case strings.HasPrefix(s, hole), strings.HasPrefix(s, "#"), strings.HasPrefix(s, "cid:"):
	case isFile(s) && strings.HasSuffix(s, hole): // Word's file:///C:/{{Unsubscribe}}, which is mended
	case isFile(s):
		r.say("file-link", s)
	case scheme == "":
		r.say("no-scheme", s)
	case scheme == "http" || scheme == "https":
		r.host(s, hostOf(rest))
	}
}

// picture judges where a picture comes from.
func (r *reviewer) picture(s string) {
	scheme, rest := schemeOf(s)
	if id, ok := cid(s); ok {
		r.shown[id] = true
		if _, here := r.parts[id]; !here && !strings.Contains(id, hole) {
			r.say("missing-picture", id)
		}
		return
	}
	switch {
	case s == "", strings.HasPrefix(s, hole):
	case scheme == "data":
		r.say("data-picture")
	case isFile(s):
		r.say("file-picture", s)
	case scheme == "":
		r.say("no-scheme", s)
	case scheme == "http":
		r.say("http-picture", s)
		r.host(s, hostOf(rest))
	case scheme == "https":
		r.host(s, hostOf(rest))
	}
}

var schemed = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9+-]*):`)

// schemeOf is the scheme of an address (RFC 3986 §3.1) and what follows it. A host
// with a port has none.
func schemeOf(s string) (scheme, rest string) {
	m := schemed.FindStringSubmatch(s)
	if m == nil {
		return "", s
	}
	rest = s[len(m[0]):]
	if rest != "" && '0' <= rest[0] && rest[0] <= '9' && !strings.EqualFold(m[1], "tel") && !strings.EqualFold(m[1], "sms") && !strings.EqualFold(m[1], "mailto") {
		return "", s
	}
	return strings.ToLower(m[1]), rest
}

var drive = regexp.MustCompile(`^([A-Za-z]:[\\/]|\\\\)`)

// isFile: on the author's own computer, or a share of theirs.
func isFile(s string) bool {
	return len(s) >= 5 && strings.EqualFold(s[:5], "file:") || drive.MatchString(s)
}

// hostOf is the host in what follows "https:", lower case, "" where a placeholder
// stands in it.
func hostOf(rest string) string {
	rest = strings.TrimLeft(rest, "/")
	if i := strings.IndexAny(rest, `/?#\`); i >= 0 {
		rest = rest[:i]
	}
	if strings.Contains(rest, hole) {
		return ""
	}
	rest = rest[strings.LastIndexByte(rest, '@')+1:]
	if strings.HasPrefix(rest, "[") {
		host, _, _ := strings.Cut(rest[1:], "]")
		return host
	}
	host, _, _ := strings.Cut(rest, ":")
	return strings.TrimSuffix(strings.ToLower(host), ".")
}

// host judges the host of a web address.
func (r *reviewer) host(s, host string) {
	switch {
	case host == "":
	case isRewriter(host):
		r.say("rewritten-link", s)
	case isPrivate(host):
		r.say("private-link", s)
	case isShortener(host):
		r.say("shortener", s)
	}
}

// isRewriter names the services that put their own address into the links of mail
// that came in: whoever copies such a link from a mail copies theirs.
func isRewriter(host string) bool {
	for _, d := range []string{"safelinks.protection.outlook.com", "urldefense.com", "urldefense.proofpoint.com", "linkprotect.cudasvc.com"} {
		if host == d || strings.HasSuffix(host, "."+d) {
			return true
		}
	}
	return false
}

// isPrivate: nobody outside can reach the host.
func isPrivate(host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.IsLoopback() || ip.IsPrivate() || ip.IsLinkLocalUnicast() || ip.IsUnspecified()
	}
	if !strings.Contains(host, ".") {
		return true
	}
	for _, d := range strings.Fields(".localhost .local .localdomain .internal .intranet .lan .corp .home .private .test .invalid") {
		if strings.HasSuffix(host, d) {
			return true
		}
	}
	return false
}

// isShortener names services behind whose addresses anything may stand, which spam
// filters count against a mail.
func isShortener(host string) bool {
	host = strings.TrimPrefix(host, "www.")
	for _, d := range strings.Fields("bit.ly bitly.com j.mp t.co tinyurl.com goo.gl is.gd v.gd ow.ly buff.ly rebrand.ly cutt.ly rb.gy shorturl.at t.ly tiny.cc s.id me2.do han.gl vo.la url.kr zrr.kr buly.kr c11.kr lrl.kr abit.ly bitly.kr") {
		if host == d {
			return true
		}
	}
	return false
}

var (
	webAddress = regexp.MustCompile(`https?://[^\s<>"'()]+`)
	wholeLabel = regexp.MustCompile(`(?i)^(https?://)?([a-z0-9가-힣-]+(?:\.[a-z0-9가-힣-]+)+)(:\d+)?([/?#]\S*)?$`)
)

// addresses judges those that stand in plain text.
func (r *reviewer) addresses(seen string) {
	for _, s := range webAddress.FindAllString(seen, -1) {
		s = strings.TrimRight(s, ".,;:!?")
		_, rest := schemeOf(s)
		r.host(s, hostOf(rest))
	}
}

// label compares a link's text with where it leads. Mail that shows one address
// and opens another is what phishing looks like.
func (r *reviewer) label(label, href string) {
	m := wholeLabel.FindStringSubmatch(label)
	scheme, rest := schemeOf(href)
	if m == nil || scheme != "http" && scheme != "https" {
		return
	}
	shown, host := strings.ToLower(m[2]), hostOf(rest)
	if _, known := publicsuffix.PublicSuffix(shown); !known && m[1] == "" { // a file or a product
		return
	}
	if host != "" && !isRewriter(host) && site(shown) != site(host) {
		r.say("mismatched-link", label+" → "+host)
	}
}

// site is the domain that somebody registered, without the names below it.
func site(host string) string {
	if ascii := mail.Address("x@" + host).Domain(); ascii != "" {
		host = ascii
	}
	if d, err := publicsuffix.EffectiveTLDPlusOne(host); err == nil {
		return d
	}
	return host
}
