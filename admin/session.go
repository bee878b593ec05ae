package admin

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"sync"
	"time"
)

// How long a login lasts.
const (
	idleLimit    = time.Hour      // without a request
	sessionLimit = 12 * time.Hour // in all
	linkLimit    = 10 * time.Minute
	maxSessions  = 1000
	maxLinks     = 20
)

// session is one login. It is never changed in place, except for used.
type session struct {
	user    string
	admin   bool   // else a viewer
	csrf    string // stands in every form
	created time.Time
	used    time.Time
}

// sessions are kept in memory: a restart logs everybody out. They are found by
// the hash of their secret, so that the time of a look-up tells nothing of it.
type sessions struct {
	mu    sync.Mutex
	live  map[[32]byte]*session
	links map[[32]byte]time.Time // one-time links and when they end
}

// secret is 256 random bits for a URL or a cookie.
func secret() string {
	b := make([]byte, 32)
	rand.Read(b) // never fails (crypto/rand)
	return base64.RawURLEncoding.EncodeToString(b)
}

// begin logs in and gives the cookie's value.
func (s *sessions) begin(user string, admin bool, now time.Time) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live == nil {
		s.live = make(map[[32]byte]*session)
	}
	s.tidy(now)
	token := secret()
	s.live[sha256.Sum256([]byte(token))] = &session{user: user, admin: admin, csrf: secret(), created: now, used: now}
	return token
}

// tidy drops what is over, and the longest unused where there are too many.
func (s *sessions) tidy(now time.Time) {
	var oldest [32]byte
	var when time.Time
	for k, v := range s.live {
		if v.over(now) {
			delete(s.live, k)
		} else if when.IsZero() || v.used.Before(when) {
			oldest, when = k, v.used
		}
	}
	if len(s.live) >= maxSessions {
		delete(s.live, oldest)
	}
}

func (v *session) over(now time.Time) bool {
	return now.Sub(v.used) > idleLimit || now.Sub(v.created) > sessionLimit
}

// find gives a copy of the session with this token and notes that it was used.
func (s *sessions) find(token string, now time.Time) (session, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := sha256.Sum256([]byte(token))
	v := s.live[k]
	if v == nil {
		return session{}, false
	}
	if v.over(now) {
		delete(s.live, k)
		return session{}, false
	}
	v.used = now
	return *v, true
}

func (s *sessions) end(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.live, sha256.Sum256([]byte(token)))
}

// newLink makes a one-time secret.
func (s *sessions) newLink(now time.Time) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.links == nil || len(s.links) >= maxLinks {
		s.links = make(map[[32]byte]time.Time) // who makes that many uses the last
	}
	token := secret()
	s.links[sha256.Sum256([]byte(token))] = now.Add(linkLimit)
	return token
}

// link says whether a one-time secret is good, and ends it when use is true.
func (s *sessions) link(token string, use bool, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := sha256.Sum256([]byte(token))
	until, ok := s.links[k]
	if use {
		delete(s.links, k)
	}
	return ok && now.Before(until)
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// attempts slows down whoever guesses passwords: after freeTries failures each
// further one doubles the wait, up to maxWait; a quiet maxWait forgives. It is kept
// by client.
type attempts struct {
	mu   sync.Mutex
	from map[string]*failures
}

type failures struct {
	n     int
	until time.Time // no try before
}

const (
	freeTries  = 4
	maxWait    = 5 * time.Minute
	maxClients = 10_000
)

// wait is how long this client must wait before the next try.
func (a *attempts) wait(client string, now time.Time) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	if f := a.from[client]; f != nil {
		return max(0, f.until.Sub(now))
	}
	return 0
}

// begin counts a try as failed, until succeeded takes it back: many tries at
// once are no way around the wait.
func (a *attempts) begin(client string, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.from == nil {
		a.from = make(map[string]*failures)
	}
	if len(a.from) >= maxClients {
		a.forget(now)
	}
	f := a.from[client]
	if f == nil || now.Sub(f.until) > maxWait {
		f = &failures{}
		a.from[client] = f
	}
	f.n++
	f.until = now
	if over := f.n - freeTries; over > 0 {
		f.until = now.Add(min(maxWait, time.Second<<min(over-1, 20)))
	}
}

func (a *attempts) forget(now time.Time) {
	for k, f := range a.from {
		if now.After(f.until) {
			delete(a.from, k)
		}
	}
	if len(a.from) >= maxClients {
		clear(a.from)
	}
}

func (a *attempts) succeeded(client string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.from, client)
}
