package smtpd

import (
	"net/netip"
	"time"

	"postern/mail"
)

// gate counts open connections, overall and by client. Server.mu guards it.
type gate struct {
	max, maxPerIP int // 0: no limit

	open int
	by   map[netip.Prefix]int
}

func (g *gate) full() bool { return g.max > 0 && g.open >= g.max }

// meet counts a connection of the client's, or says why not.
func (g *gate) meet(c *conn) *mail.Error {
	key := client(c.remote)
	if g.maxPerIP > 0 && g.by[key] >= g.maxPerIP {
		return mail.Later(421, "4.7.0", "too many connections from your address; close some, or try again in a minute")
	}
	g.by[key]++
	c.client, c.met = key, true
	return nil
}

// place counts a connection in all.
func (g *gate) place(c *conn) {
	g.open++
	c.placed = true
}

// leave undoes what was done of both.
func (g *gate) leave(c *conn) {
	if c.placed {
		g.open--
		c.placed = false
	}
	if !c.met {
		return
	}
	if g.by[c.client]--; g.by[c.client] == 0 {
		delete(g.by, c.client)
	}
	c.met = false
}

// minIdle is how long a session must have been idle before its place may be
// given to another client: a client that is only slow to speak is not robbed.
const minIdle = 10 * time.Second

// makeRoom gives the place of the session that has been idle longest to a new
// client. Without this a few hundred open and silent connections would keep
// everybody else out.
func (s *Server) makeRoom() bool {
	var longest *conn
	var since time.Time
	for c := range s.conns {
		if t, idle := c.idleSince(); idle && (longest == nil || t.Before(since)) {
			longest, since = c, t
		}
	}
	d := time.Since(since)
	if longest == nil || d <= minIdle {
		return false
	}
	longest.dismiss("421 4.4.2 %s needs this place for another client; connect again when there is mail")
	s.gate.leave(longest)
	s.conf.Log.Info("all places are taken: an idle session is closed for a new one", "idle", d.Round(time.Second), "max_connections", s.gate.max)
	return true
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
