package smtpd

import (
	"net/netip"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// OnCompare has f told of every comparison of a password, by its cost; the result
// must be that of bcrypt.
func (s *Server) OnCompare(f func(cost int, err error)) {
	compare := s.accounts.compare
	s.accounts.compare = func(hash, password []byte) error {
		err := compare(hash, password)
		cost, _ := bcrypt.Cost(hash)
		f(cost, err)
		return err
	}
}

// GuardEntries is how many of each kind the guard against guessing remembers.
const GuardEntries = guardEntries

// Guard is the guard by itself.
type Guard struct{ g *guard }

func NewGuard() Guard { return Guard{newGuard()} }

func (g Guard) Failed(address, name, password string, now time.Time) int {
	return g.g.failed(g.g.attempt(client(netip.MustParseAddr(address)), name, password), now)
}

func (g Guard) Check(address, name string, now time.Time) error {
	return g.g.check(g.g.attempt(client(netip.MustParseAddr(address)), name, ""), now)
}

// Entries is how much is remembered.
func (g Guard) Entries() int {
	return len(g.g.addresses.by) + len(g.g.names.by) + len(g.g.pairs.by) + len(g.g.wrong.by)
}

// Services counts visits by itself.
type Services struct{ s *services }

func NewServices() Services { return Services{newServices()} }

func (s Services) Take(svc *Service, address string, now time.Time) error {
	return s.s.take(svc, "x@example.org", client(netip.MustParseAddr(address)), now)
}

// Remembered is how many clients of a service are.
func (s Services) Remembered(svc *Service) int { return len(s.s.by[svc.Name].clients.by) }
