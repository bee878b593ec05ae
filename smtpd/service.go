package smtpd

import (
	"net/netip"
	"sync"
	"time"

	"postern/mail"
)

// Service is a kind of recipients that anybody may write to, with its bounds,
// which hold for whoever writes there. 0 is no bound.
type Service struct {
	Name      string // those of one name are counted together
	MaxBytes  int64  // of a mail that has such a recipient, in octets, beside Config.MaxMessageBytes
	PerClient int    // recipients in any minute from one IPv4 address or IPv6 /64
	PerMinute int    // from all clients together
}

// services count what comes to each [Service]. A recipient counts when it is
// accepted, whatever becomes of its mail: strangers must not ask for nothing.
type services struct {
	mu sync.Mutex
	by map[string]*visits // by Service.Name
}

// visits are the recipients of the last minute. A client is remembered at least as
// long as one of its recipients counts among all, so that with a limit for all no
// more clients need be remembered than that.
type visits struct {
	all     *window
	clients *latest[*window]
}

// visitSlot is how exactly a minute is measured: it lasts up to so much longer.
const visitSlot = 10 * time.Second

func newServices() *services { return &services{by: map[string]*visits{}} }

// take counts one recipient at now, or says when the next is taken.
func (s *services) take(svc *Service, to mail.Address, from netip.Prefix, now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.by[svc.Name]
	if v == nil {
		v = newVisits(svc, now)
		s.by[svc.Name] = v
	}
	v.all.advance(now)
	if wait := v.all.full(now); wait > 0 && svc.PerMinute > 0 {
		return tooOften(wait, "%s takes %d mails a minute from all clients together, and has taken them; send yours again in %s", to, svc.PerMinute, inWords(wait))
	}
	if svc.PerClient > 0 {
		w := v.client(svc, from)
		w.advance(now)
		if wait := w.full(now); wait > 0 {
			return tooOften(wait, "%s takes %d mails a minute from one client, and has taken them from %s; send the next in %s", to, svc.PerClient, shown(from), inWords(wait))
		}
		w.add(w.newest, 1)
	}
	v.all.add(v.all.newest, 1)
	return nil
}

func newVisits(svc *Service, now time.Time) *visits {
	clients := svc.PerMinute
	if clients == 0 {
		clients = guardEntries
	}
	return &visits{all: newWindow(svc.PerMinute, visitSlot, time.Minute, now.Add(-2*time.Minute)), clients: newLatest[*window](clients)}
}

// client finds the window of a client, whose slots are those of all.
func (v *visits) client(svc *Service, from netip.Prefix) *window {
	var k key
	if from.IsValid() {
		a := from.Addr().As16()
		copy(k[:], a[:])
	}
	w := v.clients.put(k)
	if *w == nil {
		*w = newWindow(svc.PerClient, visitSlot, time.Minute, v.all.epoch)
	}
	return *w
}

func tooOften(wait time.Duration, format string, a ...any) error {
	e := mail.Later(450, "4.7.1", format, a...)
	e.RetryAfter = wait
	return e
}

// checkSize refuses a recipient whose service is too small for the mail that MAIL
// has announced.
func (svc *Service) checkSize(to mail.Address, size int64) error {
	if svc.MaxBytes > 0 && size > svc.MaxBytes {
		return svc.tooBig(to)
	}
	return nil
}

func (svc *Service) tooBig(to mail.Address) *mail.Error {
	return mail.Refuse(552, "5.3.4", "mail to %s may have %d octets, and this one is larger", to, svc.MaxBytes)
}
