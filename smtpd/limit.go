package smtpd

import (
	"net/netip"
	"sync"

	"postern/mail"
)

// gate counts open connections, overall and by client.
type gate struct {
	max, maxPerIP int // 0: no limit

	mu   sync.Mutex
	open int
	by   map[netip.Prefix]int
}

// enter counts a connection in, or says why not.
func (g *gate) enter(a netip.Addr) *mail.Error {
	g.mu.Lock()
	defer g.mu.Unlock()
	key := client(a)
	if g.max > 0 && g.open >= g.max {
		return mail.Later(421, "4.3.2", "too many connections are open here; try again in a minute")
	}
	if g.maxPerIP > 0 && g.by[key] >= g.maxPerIP {
		return mail.Later(421, "4.7.0", "too many connections from your address; close some, or try again in a minute")
	}
	g.open++
	g.by[key]++
	return nil
}

func (g *gate) leave(a netip.Addr) {
	g.mu.Lock()
	defer g.mu.Unlock()
	key := client(a)
	g.open--
	if g.by[key]--; g.by[key] == 0 {
		delete(g.by, key)
	}
}

// client is the IPv4 address, or the /64 that one IPv6 host usually owns.
func client(a netip.Addr) netip.Prefix {
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, _ := a.WithZone("").Prefix(bits)
	return p
}
