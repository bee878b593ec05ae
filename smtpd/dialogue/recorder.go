package dialogue

import (
	"cmp"
	"container/list"
	"iter"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// The bounds of a Recorder: see the package's comment.
const (
	MaxAddresses = 500
	MaxSessions  = 4 // of one address
)

// Recorder keeps the last sessions of each address. Its methods may be called
// from any goroutine.
type Recorder struct {
	mu     sync.Mutex
	places map[netip.Prefix]*place
	// Places by the time of their last session, the newest in front; strangers
	// are public and have never handed over a mail.
	ours, strangers *list.List
}

// place is one address, or an IPv6 network of 64 bits.
type place struct {
	key  netip.Prefix
	taps []*Tap // the oldest first
	in   *list.List
	at   *list.Element
}

// NewRecorder makes an empty one.
func NewRecorder() *Recorder {
	return &Recorder{places: map[netip.Prefix]*place{}, ours: list.New(), strangers: list.New()}
}

// Begin begins to listen to a connection. The session appears with [Tap.From],
// when the client's address is known.
func (r *Recorder) Begin(id string, l Listener) *Tap {
	now := time.Now()
	return &Tap{recorder: r, id: id, began: now, times: 1, log: transcript{began: now}, facts: Facts{Listener: l}}
}

// place puts a session where its address is.
func (r *Recorder) place(t *Tap, key netip.Prefix) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.places[key]
	if p == nil {
		p = &place{key: key, in: r.strangers}
		if a := key.Addr(); a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() {
			p.in = r.ours
		}
		r.makeRoom()
		r.places[key] = p
		p.at = p.in.PushFront(p)
	}
	p.taps = append(p.taps, t)
	p.trim()
	if p.in == r.strangers && slices.ContainsFunc(p.taps, (*Tap).hasSent) {
		r.strangers.Remove(p.at)
		p.in = r.ours
		p.at = r.ours.PushFront(p)
	}
	p.in.MoveToFront(p.at)
}

func (r *Recorder) makeRoom() {
	if len(r.places) < MaxAddresses {
		return
	}
	from := r.strangers
	if from.Len() == 0 {
		from = r.ours
	}
	last := from.Back()
	delete(r.places, from.Remove(last).(*place).key)
}

// trim drops the oldest session of the kind of which there are more.
func (p *place) trim() {
	if len(p.taps) <= MaxSessions {
		return
	}
	well := 0
	for _, t := range p.taps {
		if t.wentWell() {
			well++
		}
	}
	drop := slices.IndexFunc(p.taps, func(t *Tap) bool { return t.wentWell() == (well > MaxSessions/2) })
	p.taps = slices.Delete(p.taps, max(drop, 0), max(drop, 0)+1)
}

// wentWell is true of a session that is open, too: it may.
func (t *Tap) wentWell() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !t.facts.outcome().Bad()
}

func (t *Tap) hasSent() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.facts.Accepted > 0
}

// merge makes one of t and the sessions of the same address without a dialogue
// that ended for the same reason.
func (r *Recorder) merge(t *Tap, key netip.Prefix, reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.places[key]
	if p == nil || !slices.Contains(p.taps, t) {
		return
	}
	times := 0
	p.taps = slices.DeleteFunc(p.taps, func(o *Tap) bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		alike := o != t && o.facts.Ended && o.facts.wordless() && Explain(&o.facts).Reason == reason
		if alike {
			times += o.times
		}
		return alike
	})
	t.mu.Lock()
	defer t.mu.Unlock()
	t.times += times
}

// Sessions are all of them, newest first.
func (r *Recorder) Sessions() iter.Seq[Session] {
	r.mu.Lock()
	var all []*Tap
	for _, p := range r.places {
		all = append(all, p.taps...)
	}
	r.mu.Unlock()
	slices.SortFunc(all, func(a, b *Tap) int { return cmp.Or(b.began.Compare(a.began), cmp.Compare(b.id, a.id)) })
	return func(yield func(Session) bool) {
		for _, t := range all {
			if !yield(t.Session()) {
				return
			}
		}
	}
}

// Session is how it stands now.
func (t *Tap) Session() Session {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := &t.facts
	why := Explain(f)
	return Session{
		ID: t.id, Remote: t.remote, Listener: f.Listener.Address, Began: t.began, Ended: t.ended, Times: t.times,
		Helo: f.Helo, TLS: TLS{Version: f.Version, Cipher: f.Cipher, ServerName: f.Hello.Name, Failed: f.tlsFailure()},
		Auth:     Auth{Mechanism: f.Mechanism, User: f.User, OK: f.LoggedIn},
		Accepted: f.Accepted, Mails: append([]string{}, t.mails...), Octets: f.Octets, Lines: t.log.lines(),
		Outcome: why.Outcome, Reason: why.Reason, Cause: why.Text,
	}
}

// host is the address of host:port; what is neither stays as it is.
func host(remote string) string {
	if a, err := netip.ParseAddrPort(remote); err == nil {
		return a.Addr().Unmap().WithZone("").String()
	}
	return cut(remote, 64)
}

// keyOf is the client as limits know it: an IPv4 address, or the 64 bits that one
// IPv6 host usually owns. Clients without an address share one place.
func keyOf(address string) netip.Prefix {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return netip.Prefix{}
	}
	bits := a.BitLen()
	if a.Is6() && !a.IsLoopback() {
		bits = 64
	}
	p, _ := a.Prefix(bits) // a length that fits the address
	return p
}
