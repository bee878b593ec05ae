package smtpd

import (
	"net"
	"net/netip"
	"strings"

	"crypto/tls"

	"postern/mail"
)

// submitter is who stands behind the session now: the account that logged in,
// else the network of the client's address and certificate, else nobody (known is
// false), who has no rights and can reach Config.Public only.
func (s *session) submitter() (sub *mail.Submitter, known bool) {
	sub = &mail.Submitter{Name: "nobody", Session: s.id, Remote: s.conn.RemoteAddr().String(), Helo: s.peer.Hostname(),
		Loopback: !s.conn.announced && s.conn.remote.IsLoopback() && isLoopback(s.conn.LocalAddr()), Priority: mail.Bulk}
	if state, ok := s.peer.TLSConnectionState(); ok {
		sub.TLS = strings.ReplaceAll(tls.VersionName(state.Version), " ", "")
	}
	if a := s.account; a != nil {
		sub.Name, sub.Authenticated = a.Username, true
		sub.SendAs, sub.Lists, sub.Relay, sub.Priority, sub.RewriteFrom = a.SendAs, a.Lists, a.Relay, a.Priority, a.RewriteFrom
		sub.Language = a.Language
		return sub, true
	}
	if n, _ := s.network(); n != nil {
		sub.Name = n.SubmitterName()
		sub.SendAs, sub.Lists, sub.Relay, sub.Priority, sub.RewriteFrom = n.SendAs, n.Lists, n.Relay, orTransactional(n.Priority), n.RewriteFrom
		sub.Tenants, sub.Language = n.Tenants, n.Language
		return sub, true
	}
	return sub, false
}

// fittingNetworks are those with the longest prefix around a, in their order.
func fittingNetworks(all []Network, a netip.Addr) []*Network {
	var best []*Network
	for i := range all {
		n := &all[i]
		switch {
		case !n.CIDR.Contains(a), best != nil && n.CIDR.Bits() < best[0].CIDR.Bits():
		case best != nil && n.CIDR.Bits() == best[0].CIDR.Bits():
			best = append(best, n)
		default:
			best = []*Network{n}
		}
	}
	return best
}

func isLoopback(a net.Addr) bool { return remoteAddr(a).IsLoopback() }

func orTransactional(p mail.Priority) mail.Priority {
	if p == "" {
		return mail.Transactional
	}
	return p
}

// maySend holds send_as for the envelope sender. The null sender is nobody's
// address: whoever may relay may send bounces. Where RewriteFrom is set the Intake
// puts it in the place of what is not allowed.
func maySend(sub *mail.Submitter, from mail.Address) error {
	if from == "" {
		if sub.Relay {
			return nil
		}
		return mail.Refuse(550, "5.7.1", "%s may not send with an empty sender (MAIL FROM:<>): that needs relay = true; set a sender address in the sending program, or have the administrator write that into %s", sub.Name, sub.Entry())
	}
	if sub.RewriteFrom != "" || sub.MaySendAs(from) {
		return nil
	}
	return mail.Refuse(550, "5.7.1", "%s may not send as %s: the address is missing in its send_as; set an address of your own as the sender, or have the administrator add this one to %s", sub.Name, from, sub.Entry())
}

// parseSender reads what MAIL FROM named; "" is the null sender.
func parseSender(s string) (mail.Address, error) {
	if s == "" {
		return "", nil
	}
	a, err := mail.ParseAddress(s)
	if err != nil {
		return "", mail.Refuse(501, "5.1.7", "%v", err)
	}
	if _, err := a.ASCII(); err != nil {
		return "", err
	}
	return a, nil
}

// parseRecipient reads what RCPT TO named. go-smtp has already dropped a source
// route, as RFC 5321 §3.6.1 allows, and the quotes around a local part; what
// an address hides behind quotes is therefore seen here. Routes in other
// clothes are refused: percent hack, bang path, address literal.
func parseRecipient(s string) (mail.Address, error) {
	a, err := mail.ParseAddress(s)
	if err != nil {
		return "", mail.Refuse(501, "5.1.3", "%v", err)
	}
	if _, err := a.ASCII(); err != nil {
		return "", err
	}
	if strings.ContainsAny(a.Local(), "%!") {
		return "", mail.Refuse(550, "5.7.1", "%s names a route with %% or !, which is not taken here; write the address itself", a)
	}
	if strings.HasPrefix(a.Domain(), "[") {
		return "", mail.Refuse(550, "5.7.1", "%s is an address literal, to which nothing is sent from here; use the domain's name", a)
	}
	return a, nil
}
