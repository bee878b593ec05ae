package optout

import (
	"net/netip"
	"sync"
	"time"
)

// How many links that do not work a network may open in a window of time, and of how
// many networks that is remembered in each of two generations.
const (
	limitCount    = 30
	limitWindow   = time.Minute
	limitNetworks = 4096
)

// limiter counts the links that do not work, by client network. Who opens one that
// works is never asked: Gmail and Yahoo post for millions of people from a few
// addresses. When more networks come than there is room for, the older half is
// forgotten, and the limit is wider for a while. The zero value is ready.
type limiter struct {
	mu       sync.Mutex
	now, old map[netip.Prefix]window
}

type window struct {
	start time.Time
	count int
}

// refused counts one link that does not work; more than 0 is for how long such links
// of this network are refused.
func (l *limiter) refused(now time.Time, from netip.Prefix) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	w, ok := l.now[from]
	if !ok {
		w = l.old[from]
	}
	if now.Sub(w.start) >= limitWindow {
		w = window{start: now}
	}
	w.count = min(w.count+1, limitCount+1)
	if l.now == nil || !ok && len(l.now) >= limitNetworks {
		l.now, l.old = make(map[netip.Prefix]window), l.now
	}
	l.now[from] = w
	if w.count <= limitCount {
		return 0
	}
	return w.start.Add(limitWindow).Sub(now)
}

// network is what counts as one client: an IPv4 address, or the /64 that one IPv6
// customer has. What is no address is one network too.
func network(client string) netip.Prefix { return prefix(client, 32, 64) }

func prefix(client string, v4, v6 int) netip.Prefix {
	ip, err := netip.ParseAddr(client)
	if err != nil {
		return netip.Prefix{}
	}
	ip = ip.Unmap().WithZone("")
	bits := v6
	if ip.Is4() {
		bits = v4
	}
	p, err := ip.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}
