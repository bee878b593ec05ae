package relay_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postern/mail"
	"postern/relay"
	"postern/spool"
)

// slow is an upstream on which each copy is for a second in flight; it notes when
// each began.
type slow struct {
	*upstream
	mu    sync.Mutex
	began map[mail.Address]time.Time
}

func newSlow() *slow {
	s := &slow{began: map[mail.Address]time.Time{}}
	s.upstream = newUpstream(func(d *relay.Delivery, _ int) error {
		s.mu.Lock()
		s.began[d.To] = time.Now()
		s.mu.Unlock()
		pass(time.Second)
		return nil
	})
	return s
}

// delay is how long a transactional mail waits that comes in the middle of a bulk
// message which has filled every place it may fill.
func delay(t *testing.T, concurrency int, reserve float64) (waited time.Duration, most int) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		up := newSlow()
		s := start(t, up, func(c *relay.Config) {
			c.Lanes = []relay.LaneConfig{{Name: "lane", Sender: up, Concurrency: concurrency, Reserve: reserve}}
		})
		bulk := submit(t, s, 40*concurrency, true)
		pass(2500 * time.Millisecond)
		came := time.Now()
		order := accept(t, s, mail.Message{Priority: mail.Transactional}, 1)
		until(t, s, order, mail.Done)
		until(t, s, bulk, mail.Done)
		up.mu.Lock()
		defer up.mu.Unlock()
		waited, most = up.began["user0@example.com"].Sub(came), up.most
		for at := range up.began {
			if up.began[at].IsZero() {
				t.Errorf("%s never began", at)
			}
		}
	})
	return waited, most
}

func TestTransactionalMailWaitsForOneCopyInFlightAtMost(t *testing.T) {
	for _, c := range []struct {
		concurrency int
		reserve     float64
		want        time.Duration // at most; every copy is for 1 s in flight, and 500 ms of it have passed
	}{
		{4, 0, 500 * time.Millisecond},
		{4, 0.1, 0},
		{10, 0.1, 0},
		{10, 0.5, 0},
		{1, 0.1, 500 * time.Millisecond}, // one place is never reserved whole
	} {
		t.Run(fmt.Sprintf("%d places, reserve %v", c.concurrency, c.reserve), func(t *testing.T) {
			// The bulk message has a copy for the same address, which began first; the
			// later one overwrites its time.
			waited, most := delay(t, c.concurrency, c.reserve)
			if waited < 0 || waited > c.want {
				t.Errorf("it waited for %v, want at most %v", waited, c.want)
			}
			if most > c.concurrency {
				t.Errorf("%d copies were in flight", most)
			}
		})
	}
}

func TestBulkLeavesTheReserveFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := newSlow()
		s := start(t, up, func(c *relay.Config) {
			c.Lanes = []relay.LaneConfig{{Name: "lane", Sender: up, Concurrency: 10, Reserve: 0.25}}
		})
		until(t, s, submit(t, s, 100, true), mail.Done)
		if up.most != 7 {
			t.Errorf("bulk used %d of 10 places, want 7", up.most)
		}
	})
}

// TestGreylistingSurvives: an upstream that takes a mail only when it comes again
// after five minutes.
func TestGreylistingSurvives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := map[string]time.Time{}
		var mu sync.Mutex
		up := newUpstream(func(d *relay.Delivery, _ int) error {
			mu.Lock()
			defer mu.Unlock()
			if first[d.Tag].IsZero() {
				first[d.Tag] = time.Now()
			}
			if time.Since(first[d.Tag]) < 5*time.Minute {
				return mail.Later(450, "4.2.0", "greylisted, try again later")
			}
			return nil
		})
		s := start(t, up, nil)
		id := submit(t, s, 3, false)
		pass(5 * time.Minute)
		m := until(t, s, id, mail.Done)
		if m.Counts[mail.Sent] != 3 {
			t.Errorf("counts %v", m.Counts)
		}
	})
}

func TestAnHoursOutageLosesNothingAndNeedsNoHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		back := time.Now().Add(time.Hour)
		up := newUpstream(func(*relay.Delivery, int) error {
			if time.Now().Before(back) {
				return &mail.Error{Class: mail.Unreachable, Public: "connection refused"}
			}
			return nil
		})
		s := start(t, up, nil)
		list, plain := submit(t, s, 50, true), submit(t, s, 1, false)
		pass(time.Hour)
		for _, id := range []mail.ID{list, plain} {
			m := until(t, s, id, mail.Done)
			if m.Counts[mail.Sent] != m.Counts.Total() {
				t.Errorf("counts %v", m.Counts)
			}
			copies, err := s.Copies(id, 0, 100)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range copies {
				if c.Attempts != 1 {
					t.Errorf("copy %d has spent %d attempts", c.Seq, c.Attempts)
				}
			}
		}
		if late := time.Since(back); late > 2*time.Minute {
			t.Errorf("the lane ran again %v after the upstream", late)
		}
	})
}

// TestACopyThatMakesItsUpstreamGoAwayStopsNobodyForEver: an upstream that answers
// 421 to one mail, and takes all others.
func TestACopyThatMakesItsUpstreamGoAwayStopsNobodyForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := newUpstream(func(d *relay.Delivery, _ int) error {
			if d.From == "poison@example.com" {
				return &mail.Error{Class: mail.Unreachable, Code: 421, Enhanced: "4.3.0", Public: "crashed"}
			}
			return nil
		})
		s := start(t, up, nil)
		id := accept(t, s, mail.Message{From: "poison@example.com", Priority: mail.Transactional}, 1)
		began := time.Now()
		until(t, s, submit(t, s, 2000, true), mail.Done)
		if took := time.Since(began); took > 2*time.Minute {
			t.Errorf("the others took %v", took)
		}
		for range 150 { // there is other mail now and then
			until(t, s, submit(t, s, 5, true), mail.Done)
			pass(20 * time.Minute)
		}
		m := until(t, s, id, mail.Done)
		c, err := s.CopyTo(id, "user0@example.com")
		if err != nil || m.Counts[mail.CopyFailed] != 1 || !strings.Contains(c.LastError, "421 4.3.0 crashed") {
			t.Errorf("%v %+v %v", m.Counts, c, err)
		}
	})
}

func TestAFlappingUpstreamSpendsNoAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		var mu sync.Mutex
		up := newUpstream(func(*relay.Delivery, int) error {
			mu.Lock()
			defer mu.Unlock()
			if n++; n%3 == 0 {
				return &mail.Error{Class: mail.Unreachable, Code: 421, Public: "too busy"}
			}
			return nil
		})
		s := start(t, up, nil)
		m := until(t, s, submit(t, s, 300, true), mail.Done)
		if m.Counts[mail.Sent] != 300 {
			t.Errorf("counts %v", m.Counts)
		}
	})
}

// narrow is an upstream of which the first attempt finds out that it carries no
// 8-bit text.
type narrow struct {
	*upstream
	known bool
}

func (n *narrow) EightBit() bool { return !n.known }

func TestAMailThatTurnsOutTooWideIsEncodedWithinTheSameAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := &narrow{}
		up.upstream = newUpstream(func(d *relay.Delivery, _ int) error {
			if !strings.Contains(string(d.Content.Header), "Encoded") {
				up.known = true
				return &mail.Error{Code: 451, Public: "no 8-bit text", Err: fmt.Errorf("EHLO: %w", relay.ErrNotSevenBit)}
			}
			return nil
		})
		s := start(t, up, func(c *relay.Config) {
			c.SevenBit = func(m mail.Content) (mail.Content, error) { return m.Prepend([]byte("Encoded: yes\r\n")), nil }
		})
		id := submit(t, s, 1, false)
		until(t, s, id, mail.Done)
		c, err := s.CopyTo(id, "user0@example.com")
		if err != nil || c.State != mail.Sent || c.Attempts != 1 || c.Claims != 1 {
			t.Errorf("%+v %v", c, err)
		}
	})
}

func TestWhatIsMootIsNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := newUpstream(func(*relay.Delivery, int) error { return errors.New("must not be asked") })
		s := start(t, up, func(c *relay.Config) {
			c.Moot = func(m *mail.Message) (string, bool) { return "overtaken", m.Notice == mail.NoticeDelayed }
		})
		id := accept(t, s, mail.Message{Notice: mail.NoticeDelayed}, 1)
		until(t, s, id, mail.Done)
		if c, err := s.CopyTo(id, "user0@example.com"); err != nil || c.State != mail.CopyCancelled || c.LastError != "overtaken" {
			t.Errorf("%+v %v", c, err)
		}
	})
}

func TestLongLinesAreEncodedWhereTheUpstreamCannotCarryThem(t *testing.T) {
	line := strings.Repeat("x", 998)
	for name, c := range map[string]struct {
		body   []string
		refuse bool // nothing may be encoded
		want   bool
	}{
		"as long as may be":            {[]string{line + "\r\n" + line + "\r\n" + line}, false, false},
		"one octet more":               {[]string{"a\r\nx" + line + "\r\nb\r\n"}, false, true},
		"one octet more at the end":    {[]string{"a\r\nxx" + line}, false, true},
		"in two segments":              {[]string{"a\r\n" + line, "x\r\n"}, false, true},
		"where nothing may be encoded": {[]string{"xx" + line}, true, false},
		"short lines in many segments": {[]string{line, "\r\n", line, "\r\n"}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var got string
				up := newUpstream(func(d *relay.Delivery, _ int) error { got = string(d.Content.Header); return nil })
				up.eightBit = true
				s := start(t, up, func(cfg *relay.Config) {
					cfg.Render = func(*mail.Message, *mail.Copy) (content mail.Content, err error) {
						for _, b := range c.body {
							content.Body = append(content.Body, []byte(b))
						}
						return content, nil
					}
					cfg.SevenBit = func(m mail.Content) (mail.Content, error) {
						if c.refuse {
							return m, mail.Refuse(554, "5.6.3", "signed")
						}
						return m.Prepend([]byte("Encoded: yes\r\n")), nil
					}
				})
				until(t, s, submit(t, s, 1, false), mail.Done)
				if encoded := got != ""; encoded != c.want {
					t.Errorf("encoded: %v, want %v", encoded, c.want)
				}
			})
		})
	}
}

func TestASignatureThatPanicsPausesItsMessage(t *testing.T) {
	for _, p := range []mail.Priority{mail.Bulk, mail.Transactional} {
		synctest.Test(t, func(t *testing.T) {
			s := start(t, newUpstream(nil), func(c *relay.Config) {
				c.Sign = func(mail.Content, mail.Address) (mail.Content, error) { panic("odd") }
			})
			id := accept(t, s, mail.Message{Priority: p}, 1)
			if m := until(t, s, id, mail.Paused); !strings.Contains(m.Reason, "odd") {
				t.Errorf("%s: %q", p, m.Reason)
			}
		})
	}
}

// TestACopysOwnThrottleOrQuotaStopsNobodyForEver: an upstream that gives one sender
// an answer which sounds as if it were about the account.
func TestACopysOwnThrottleOrQuotaStopsNobodyForEver(t *testing.T) {
	for _, class := range []mail.Class{mail.Throttled, mail.QuotaSpent, mail.AccountWide} {
		for _, p := range []mail.Priority{mail.Transactional, mail.Bulk} {
			t.Run(fmt.Sprint(class, " ", p), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					up := newUpstream(func(d *relay.Delivery, _ int) error {
						if d.From == "poison@example.com" {
							return &mail.Error{Class: class, Code: 451, Public: "daily limit exceeded for poison@example.com"}
						}
						return nil
					})
					s := start(t, up, nil)
					accept(t, s, mail.Message{From: "poison@example.com", Priority: p}, 1)
					bulk := submit(t, s, 100, true)
					pass(2 * time.Hour)
					if m, err := s.Message(bulk); err != nil || m.Counts[mail.Sent] != 100 {
						t.Errorf("%v %v", m.Counts, err)
					}
				})
			})
		}
	}
}

// TestNobodyIsToBlameForAnOutage, also who was suspected before.
func TestNobodyIsToBlameForAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		down := false
		up := newUpstream(func(d *relay.Delivery, _ int) error {
			mu.Lock()
			defer mu.Unlock()
			if down || d.From == "poison@example.com" {
				return &mail.Error{Class: mail.Unreachable, Code: 421, Public: "too busy"}
			}
			return nil
		})
		s := start(t, up, nil)
		id := accept(t, s, mail.Message{From: "poison@example.com", Priority: mail.Transactional, List: &mail.ListPolicy{ID: "promo"}}, 1)
		attempts := func() int {
			c, err := s.CopyTo(id, "user0@example.com")
			if err != nil {
				t.Fatal(err)
			}
			return c.Attempts
		}
		for range 100 { // until it is convicted
			until(t, s, submit(t, s, 3, true), mail.Done)
			if attempts() > 0 {
				break
			}
			pass(10 * time.Minute)
		}
		mu.Lock()
		down = true
		mu.Unlock()
		before := attempts()
		if before == 0 {
			t.Fatal("it was never convicted")
		}
		others := submit(t, s, 5, true)
		pass(3 * time.Hour)
		if n := attempts(); n > before+1 { // one may have begun before
			t.Errorf("the outage cost the suspect %d attempts", n-before)
		}
		mu.Lock()
		down = false
		mu.Unlock()
		if m := until(t, s, others, mail.Done); m.Counts[mail.Sent] != 5 {
			t.Errorf("%v", m.Counts)
		}
	})
}

// TestAFlakyUpstreamLosesNothing: seven in ten attempts are turned away, for an hour.
func TestAFlakyUpstreamLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 2))
		var mu sync.Mutex
		up := newUpstream(func(*relay.Delivery, int) error {
			mu.Lock()
			defer mu.Unlock()
			if rng.IntN(10) < 7 {
				return &mail.Error{Class: mail.Unreachable, Code: 421, Public: "too busy"}
			}
			return nil
		})
		s := start(t, up, nil)
		id := submit(t, s, 200, true)
		pass(6 * time.Hour)
		if m := until(t, s, id, mail.Done); m.Counts[mail.Sent] != 200 {
			t.Errorf("%v", m.Counts)
		}
	})
}

// TestAfterARestartNothingWaitsForALaneThatWasPaused: the operator has mended the
// account and started the gateway again.
func TestAfterARestartNothingWaitsForALaneThatWasPaused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := newUpstream(func(*relay.Delivery, int) error {
			return &mail.Error{Class: mail.AccountWide, Public: "the key has expired"}
		})
		s := start(t, up, nil)
		id := submit(t, s, 20, true)
		pass(10 * time.Second)
		if next := s.NextDue("lane", spool.Room{All: 1, Bulk: 1}); time.Until(next) > time.Second {
			t.Errorf("the next copy of %s is due in %v", id, time.Until(next))
		}
	})
}
