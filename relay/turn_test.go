package relay_test

import (
	"testing"
	"testing/synctest"
	"time"

	"postern/mail"
	"postern/relay"
	"postern/spool"
)

// A copy that waits for its turn on a slow lane is not being sent: pausing and cancelling
// its message come in time.
func TestAMessageIsStoppedBeforeTheNextTurn(t *testing.T) {
	for name, stop := range map[string]func(*testing.T, *spool.Spool, mail.ID) error{
		"paused":    func(t *testing.T, s *spool.Spool, id mail.ID) error { return s.Pause(t.Context(), id, "wait") },
		"cancelled": func(t *testing.T, s *spool.Spool, id mail.ID) error { return s.Cancel(t.Context(), id, "a mistake") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				up, s := newUpstream(nil), open(t)
				run(t, s, relay.LaneConfig{Name: "lane", Sender: up, Concurrency: 4, Rate: 0.1}, nil)
				id := list(t, s, 5)
				pass(15 * time.Second)
				synctest.Wait()
				sent := len(up.sent)
				if err := stop(t, s, id); err != nil {
					t.Fatal(err)
				}
				pass(time.Minute)
				synctest.Wait()
				if len(up.sent) != sent || sent == 0 {
					t.Errorf("%d copies were sent before, and %d after", sent, len(up.sent)-sent)
				}
				if m, err := s.Message(id); err != nil || m.Counts[mail.InFlight] != 0 || string(m.State) != name {
					t.Errorf("%s %v %v", m.State, m.Counts, err)
				}
			})
		})
	}
}

// What is claimed has begun, and is uncertain after kill -9: on a slow lane that must not
// be as many as the lane has places.
func TestFewCopiesAreClaimedAheadOnASlowLane(t *testing.T) {
	for _, p := range []mail.Priority{mail.Transactional, mail.Bulk} {
		synctest.Test(t, func(t *testing.T) {
			s := start(t, newUpstream(nil), func(c *relay.Config) { c.Lanes[0].Rate, c.Lanes[0].Concurrency = 0.2, 10 })
			id := accept(t, s, mail.Message{Priority: p}, 20)
			pass(2 * time.Second)
			synctest.Wait()
			m := state(t, s, id)
			if n := m.Counts[mail.InFlight]; n < 1 || n > 2 {
				t.Errorf("%s: %d copies are under way", p, n)
			}
			until(t, s, id, mail.Done)
		})
	}
}
