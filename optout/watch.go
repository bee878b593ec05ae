package optout

import (
	"hash/maphash"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// What makes a burst, and how much is remembered of one.
const (
	burstPages   = 20          // people whose pages were opened, without a button being pressed
	burstQuiet   = time.Minute // ends a burst
	burstLongest = time.Hour   // after which a burst that goes on is told and begins anew
	burstDomains = 256         // counted at once; others go uncounted
	burstPeople  = 4096        // told apart; then every request counts
	burstKinds   = 8           // user agents and networks that are named
)

// watcher counts who opens the pages of a domain's people and presses no button: a mail
// scanner that follows every link. It is told to the log, because such a domain's
// clicks say nothing, and changes nothing. The zero value is ready.
type watcher struct {
	mu      sync.Mutex
	domains map[string]*burst
	seed    maphash.Seed
}

type burst struct {
	start, last      time.Time
	people           map[uint64]bool // whose pages were opened
	pages, pressed   int
	agents, networks map[string]bool
}

// saw counts a request with a token that is ours.
func (w *watcher) saw(log *slog.Logger, r *http.Request, domain, client, token string) {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	domain = strings.ToLower(domain)
	b := w.domains[domain]
	if r.Method == http.MethodPost {
		if b != nil {
			b.pressed++
		}
		return
	}
	if b == nil {
		if len(w.domains) >= burstDomains {
			return
		}
		if w.domains == nil {
			w.domains, w.seed = map[string]*burst{}, maphash.MakeSeed()
		}
		b = &burst{start: now, people: map[uint64]bool{}, agents: map[string]bool{}, networks: map[string]bool{}}
		w.domains[domain] = b
		time.AfterFunc(burstQuiet, func() { w.settle(log, domain) })
	}
	b.last = now
	if who := maphash.String(w.seed, token); !b.people[who] {
		if len(b.people) < burstPeople {
			b.people[who] = true
		}
		b.pages++
	}
	note(b.agents, agent(r.UserAgent()))
	note(b.networks, prefix(client, 24, 48).String())
}

func note(set map[string]bool, s string) {
	if len(set) < burstKinds {
		set[s] = true
	}
}

// settle ends a burst that has fallen quiet, or waits on.
func (w *watcher) settle(log *slog.Logger, domain string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	b, now := w.domains[domain], time.Now()
	if quiet := now.Sub(b.last); quiet < burstQuiet && now.Sub(b.start) < burstLongest {
		time.AfterFunc(burstQuiet-quiet, func() { w.settle(log, domain) })
		return
	}
	delete(w.domains, domain)
	if b.pages < burstPages || b.pressed*10 > b.pages {
		return
	}
	log.Info("a mail scanner seems to open the links of a domain; nobody was unsubscribed by that", "domain", domain, "pages", b.pages, "buttons", b.pressed,
		"seconds", int(b.last.Sub(b.start).Seconds()), "agents", strings.Join(slices.Sorted(maps.Keys(b.agents)), " "), "networks", strings.Join(slices.Sorted(maps.Keys(b.networks)), " "))
}

// agent is the family of a user agent: what a stranger writes is not copied into the
// log. The order matters: Edge calls itself Chrome, and Chrome calls itself Safari.
func agent(s string) string {
	s = strings.ToLower(s)
	for _, family := range []string{"bot", "scan", "barracuda", "proofpoint", "mimecast", "curl", "wget", "python", "go-http-client", "java", "headless", "edg", "firefox", "chrome", "safari"} {
		if strings.Contains(s, family) {
			return family
		}
	}
	if s == "" {
		return "none"
	}
	return "other"
}
