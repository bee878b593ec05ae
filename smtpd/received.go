package smtpd

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"postern/mail"
)

// receivedField is our trace field (RFC 5321 §4.4), CRLF included. It names the
// recipient only when there is one, so that nobody learns of another.
func receivedField(hostname, id string, esmtp bool, sub *mail.Submitter, env mail.Envelope, now time.Time) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "Received: from %s (%s)\r\n", heloName(sub.Helo), literal(sub.Remote))
	fmt.Fprintf(&b, "\tby %s (Postern) with %s", hostname, protocol(esmtp, sub.TLS != "", sub.Authenticated))
	if sub.TLS != "" {
		fmt.Fprintf(&b, " (%s)", sub.TLS)
	}
	fmt.Fprintf(&b, "\r\n\tid %s", id)
	if len(env.Recipients) == 1 {
		if to, err := env.Recipients[0].ASCII(); err == nil {
			fmt.Fprintf(&b, "\r\n\tfor <%s>", to)
		}
	}
	fmt.Fprintf(&b, ";\r\n\t%s\r\n", now.Format("Mon, 02 Jan 2006 15:04:05 -0700"))
	return []byte(b.String())
}

// protocol is a keyword of RFC 3848.
func protocol(esmtp, tls, auth bool) string {
	if !esmtp {
		return "SMTP"
	}
	s := "ESMTP"
	if tls {
		s += "S"
	}
	if auth {
		s += "A"
	}
	return s
}

// heloName keeps what a host name or address literal may hold; a client could
// otherwise close our comment and write trace of its own.
func heloName(s string) string {
	if len(s) > 255 {
		s = s[:255]
	}
	return strings.Map(func(r rune) rune {
		if 'a' <= r|0x20 && r|0x20 <= 'z' || '0' <= r && r <= '9' || strings.ContainsRune(".-_:[]", r) {
			return r
		}
		return '?'
	}, s)
}

// literal is the address literal of RFC 5321 §4.1.3.
func literal(remote string) string {
	ap, err := netip.ParseAddrPort(remote)
	if err != nil {
		return "[unknown]"
	}
	ip := ap.Addr().Unmap().WithZone("")
	if ip.Is4() {
		return "[" + ip.String() + "]"
	}
	return "[IPv6:" + ip.String() + "]"
}
