package smtpd

import (
	"container/list"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"strings"
	"sync"
	"time"

	"postern/mail"
)

// After so many wrong passwords from an address, or for a user name, within
// guardWindow, AUTH is answered without a look at the password for guardTime.
const (
	guardFailures = 20
	guardWindow   = 15 * time.Minute
	guardTime     = 15 * time.Minute
)

// guardEntries is how many addresses, names, passwords and pairs are remembered
// each, the latest of them. All together take less than 15 MB.
const guardEntries = 4096

// maxAuthDelay is the longest pause before the answer to a wrong password.
const maxAuthDelay = 30 * time.Second

// guard counts wrong passwords over all connections, by the client's address
// (IPv4, or the /64 that one IPv6 host usually owns) and by user name. It knows
// nothing of who exists, so that nothing can be learned from it.
//
// Two mercies keep it from being a weapon. A pair of address and name that has
// logged in since the start is judged by its own failures alone: nobody can shut
// out a marketer by guessing, nor an office by the wrong password of its scanner.
// And a wrong password that is the one before, for the same name and from the
// same address, counts once: a device that was forgotten is no attacker.
//
// Keys are made of what clients sent and of a secret of this process, so that no
// password can be found from them.
type guard struct {
	secret [32]byte

	mu        sync.Mutex
	addresses *latest[failures]
	names     *latest[failures]
	pairs     *latest[failures] // that have logged in
	wrong     *latest[struct{}] // passwords, with their address and name
}

// key stands for something that a client sent.
type key [sha256.Size]byte

func newGuard() *guard {
	g := &guard{addresses: newLatest[failures](guardEntries), names: newLatest[failures](guardEntries),
		pairs: newLatest[failures](guardEntries), wrong: newLatest[struct{}](guardEntries)}
	_, _ = rand.Read(g.secret[:]) // never fails since Go 1.24
	return g
}

// attempt is one log-in, as the guard knows it.
type attempt struct {
	client             netip.Prefix
	user               string // as the client wrote it, for the sentence
	address, name      key
	pair, withPassword key
}

func (g *guard) attempt(client netip.Prefix, user, password string) attempt {
	name := strings.ToLower(user)
	return attempt{client: client, user: user, address: g.key(client.String()), name: g.key(name),
		pair: g.key(client.String(), name), withPassword: g.key(client.String(), name, password)}
}

func (g *guard) key(parts ...string) (k key) {
	h := hmac.New(sha256.New, g.secret[:])
	for _, p := range parts {
		_, _ = h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(p))))
		_, _ = h.Write([]byte(p))
	}
	h.Sum(k[:0])
	return k
}

// check refuses an attempt that is shut out.
func (g *guard) check(a attempt, now time.Time) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if own := g.pairs.get(a.pair); own != nil {
		return own.refusal("for "+oneLine(a.user)+" from "+shown(a.client), now)
	}
	if err := g.addresses.get(a.address).refusal("from "+shown(a.client), now); err != nil {
		return err
	}
	return g.names.get(a.name).refusal("for "+oneLine(a.user), now)
}

// failed counts a wrong password and says how many there were lately, of the
// address or of the name, whichever has more.
func (g *guard) failed(a attempt, now time.Time) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	again := g.wrong.get(a.withPassword) != nil
	g.wrong.put(a.withPassword)
	n := max(g.addresses.put(a.address).count(now, again), g.names.put(a.name).count(now, again))
	if own := g.pairs.get(a.pair); own != nil {
		return own.count(now, again)
	}
	return n
}

// passed remembers a pair that has logged in. What others have failed stays.
func (g *guard) passed(a attempt) {
	g.mu.Lock()
	defer g.mu.Unlock()
	*g.pairs.put(a.pair) = failures{}
}

// shown is an address as a person knows it.
func shown(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

// failures are the times of the last wrong passwords, the oldest first.
type failures struct {
	times []time.Time // at most guardFailures, all within guardWindow
	shut  time.Time   // nothing is looked at until then
}

// count takes one more, unless it is one that was counted before, and says how
// many there are; at least one.
func (f *failures) count(now time.Time, again bool) int {
	old := 0
	for old < len(f.times) && now.Sub(f.times[old]) >= guardWindow {
		old++
	}
	f.times = append(f.times[:0], f.times[old:]...)
	if again {
		return max(1, len(f.times))
	}
	f.times = append(f.times, now)
	n := len(f.times)
	if n >= guardFailures {
		f.times, f.shut = nil, now.Add(guardTime)
	}
	return n
}

func (f *failures) refusal(of string, now time.Time) error {
	if f == nil || !now.Before(f.shut) {
		return nil
	}
	wait := f.shut.Sub(now)
	e := mail.Later(454, "4.7.0", "too many wrong passwords %s: log in again after %s", of, inWords(wait))
	e.RetryAfter = wait
	return e
}

// latest is a map that forgets what was used longest ago.
type latest[V any] struct {
	max   int
	order *list.List // of *latestEntry[V], the last used in front
	by    map[key]*list.Element
}

type latestEntry[V any] struct {
	key   key
	value V
}

func newLatest[V any](max int) *latest[V] {
	return &latest[V]{max: max, order: list.New(), by: map[key]*list.Element{}}
}

// get finds a value; nil when there is none.
func (l *latest[V]) get(k key) *V {
	e := l.by[k]
	if e == nil {
		return nil
	}
	l.order.MoveToFront(e)
	return &e.Value.(*latestEntry[V]).value
}

// put finds a value, or makes an empty one.
func (l *latest[V]) put(k key) *V {
	if v := l.get(k); v != nil {
		return v
	}
	if l.order.Len() >= l.max {
		oldest := l.order.Back()
		delete(l.by, oldest.Value.(*latestEntry[V]).key)
		l.order.Remove(oldest)
	}
	e := &latestEntry[V]{key: k}
	l.by[k] = l.order.PushFront(e)
	return &e.value
}
