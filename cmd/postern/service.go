package main

import (
	"regexp"
	"strings"

	"postern/mail"
	"postern/smtpd"
)

// serviceKind is what the gateway itself does with the mail to some addresses,
// which therefore anybody may write to.
type serviceKind string

const (
	noService   serviceKind = ""
	unsubscribe serviceKind = "unsubscribe" // optout.mailto: takes a person off a list
	bounces     serviceKind = "bounces"     // bounces+CODE@: reports about what was sent
	release     serviceKind = "release"     // release+CODE@: answers of approvers
	postmaster  serviceKind = "postmaster"  // postmaster@: for the administrator (RFC 5321 §4.5.1)
)

// serviceBounds are the octets of a mail, and the recipients in a minute from one
// client and from all. Servers that are told 450 try again, so nothing is lost by
// them. What comes for the postmaster goes out again, to one mailbox and on the
// account of whoever runs this gateway: strangers must not make much of it.
func serviceBounds() map[serviceKind]smtpd.Service {
	return map[serviceKind]smtpd.Service{
		unsubscribe: {MaxBytes: 256 << 10, PerClient: 60, PerMinute: 600},
		bounces:     {MaxBytes: 10 << 20, PerClient: 60, PerMinute: 600},
		release:     {MaxBytes: 5 << 20, PerClient: 60, PerMinute: 600},
		postmaster:  {MaxBytes: 256 << 10, PerClient: 5, PerMinute: 20},
	}
}

// services knows the service addresses of a configuration. They are those of
// every domain that is ours: of the lists, of optout.mailto, of notices.from and
// of hostname. Nothing else is open to unauthenticated mail.
type services struct {
	mailto  string          // the key of optout.mailto
	lists   map[string]bool // keys of their addresses
	domains map[string]bool // ours
	people  map[string]bool // domains with a [[dkim]] entry: people may have mailboxes there, elsewhere
	bounds  map[serviceKind]*smtpd.Service
}

// service is what an address names.
type service struct {
	kind serviceKind
	to   mail.Address
	code string // of bounces and release, in lower case, as some servers make it
}

func newServices(cfg *Config) *services {
	s := &services{mailto: cfg.OptOut.Mailto.Key(), lists: map[string]bool{}, domains: map[string]bool{}, people: map[string]bool{},
		bounds: map[serviceKind]*smtpd.Service{}}
	ours := []mail.Address{cfg.OptOut.Mailto, cfg.Notices.From, mail.Address("x@" + cfg.Hostname)}
	for i := range cfg.Lists {
		ours = append(ours, cfg.Lists[i].Address)
		s.lists[cfg.Lists[i].Address.Key()] = true
	}
	for _, a := range ours {
		if d := a.Domain(); d != "" {
			s.domains[d] = true
		}
	}
	for _, d := range cfg.DKIM {
		s.people[mail.Address("x@"+d.Domain).Domain()] = true
	}
	for kind, b := range serviceBounds() {
		b.Name, b.MaxBytes = string(kind), min(b.MaxBytes, cfg.SMTP.MaxMessageBytes)
		s.bounds[kind] = &b
	}
	return s
}

var coded = regexp.MustCompile(`^(bounces|release)\+([a-z0-9_-]+)$`)

// of says what an address names; a kind of noService is an ordinary recipient or a
// list. A list that has the address of a service stays a list: its rights hold,
// and strangers reach neither.
//
// In a domain with a [[dkim]] entry people may have mailboxes, on a server that
// mail from here reaches upstream, and postmaster@ is one of them. So what somebody
// who may relay sends there goes on as their ordinary mail, as it would without
// this gateway's being the domain's. What a stranger brings is not relayed to
// anybody's mailbox: it is for this gateway's own postmaster. So is what a server
// of ours brings for a stranger, whose sender address is not one of its own; and
// what somebody sends who may only use lists, because a postmaster can always be
// written to. The other addresses are this gateway's in every domain.
func (s *services) of(sub *mail.Submitter, from, to mail.Address) service {
	key := mail.Address(to.Key())
	local, svc := key.Local(), service{to: to}
	switch m := coded.FindStringSubmatch(local); {
	case s.lists[string(key)]:
	case s.mailto != "" && string(key) == s.mailto:
		svc.kind = unsubscribe
	case !s.domains[key.Domain()]:
	case m != nil:
		svc.kind, svc.code = serviceKind(m[1]), m[2]
	case local == "postmaster" && !(s.people[key.Domain()] && mayRelay(sub, from)):
		svc.kind = postmaster
	}
	return svc
}

// mayRelay says whether a submitter may send to ordinary addresses from here as
// this sender, by the rule of smtpd.
func mayRelay(sub *mail.Submitter, from mail.Address) bool {
	return sub.Relay && (from == "" || sub.RewriteFrom != "" || sub.MaySendAs(from))
}

// public names, for smtpd, the recipients that anybody may write to.
func (in *intake) public(sub *mail.Submitter, from, to mail.Address) *smtpd.Service {
	return in.services.bounds[in.services.of(sub, from, to).kind]
}

// take takes the service addresses off the envelope, each one once.
func (s *services) take(sub *mail.Submitter, env mail.Envelope) (rest mail.Envelope, taken []service) {
	rest = env
	rest.Recipients = nil
	seen := map[string]bool{}
	for _, to := range env.Recipients {
		svc := s.of(sub, env.From, to)
		if svc.kind == noService {
			rest.Recipients = append(rest.Recipients, to)
			continue
		}
		what := strings.Join([]string{string(svc.kind), svc.code}, " ")
		if !seen[what] {
			taken = append(taken, svc)
		}
		seen[what] = true
	}
	return rest, taken
}
