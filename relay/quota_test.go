package relay_test

import (
	"log/slog"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"postern/mail"
	"postern/relay"
)

// TestTheQuotaPausesTheLaneToTheMinute: bulk leaves its reserve to transactional mail,
// which goes on; then nothing goes until the first copies have left the 24 hours.
func TestTheQuotaPausesTheLaneToTheMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, s := newProvider(10, 100), open(t)
		r, _ := run(t, s, p.lane(), nil)
		pass(7 * time.Second)
		began := time.Now()
		bulk := list(t, s, 150)
		pass(5 * time.Minute)
		if n := len(p.sent()); n != 90 {
			t.Fatalf("bulk has sent %d of 100, want 90", n)
		}
		if st := r.Lanes()[0]; st.State != "running" || !strings.Contains(st.BulkWaits, "quota of 100") || st.Quota.Left != 10 || st.Quota.Used != 90 {
			t.Fatalf("%+v %+v", st, st.Quota)
		}
		until(t, s, accept(t, s, mail.Message{Priority: mail.Transactional}, 10), mail.Done)
		late := accept(t, s, mail.Message{Priority: mail.Transactional}, 5)
		pass(10 * time.Second)
		st := r.Lanes()[0]
		if st.State != "paused" || st.Class != mail.QuotaSpent || st.Quota.Left != 0 || st.Remedy == "" ||
			!strings.Contains(st.Reason, "quota of 100 copies in 24 hours is spent") || !strings.Contains(st.Reason, clock(st.Until)) {
			t.Fatalf("%+v", st)
		}
		frees := began.Add(24 * time.Hour)
		if d := frees.Sub(st.Until); d < 0 || d > 10*time.Minute {
			t.Errorf("it says %v, and goes on at %v", st.Until, frees)
		}
		pass(time.Until(frees) - time.Second)
		if n := len(p.sent()); n != 100 {
			t.Errorf("%d copies went", n)
		}
		until(t, s, late, mail.Done)
		if d := time.Since(frees); d > 61*time.Second {
			t.Errorf("it went on %v after the first copies had left the 24 hours", d)
		}
		m := until(t, s, bulk, mail.Done)
		unspent(t, s, bulk)
		if p.overrun > 0 || p.throttle > 0 || m.Counts[mail.Sent] != 150 {
			t.Errorf("%d copies beyond the quota, %d beyond the rate", p.overrun, p.throttle)
		}
	})
}

func clock(at time.Time) string { return at.UTC().Format("Monday 15:04") }

// TestTheLanesPlacesDoNotOverrunTheQuota: 20 copies may be in flight when 15 are left.
func TestTheLanesPlacesDoNotOverrunTheQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, s := newProvider(1000, 55), open(t)
		p.answer = 5 * time.Second
		lane := p.lane()
		lane.Reserve = 0
		list(t, s, 200)
		run(t, s, lane, nil)
		pass(10 * time.Minute)
		if n := len(p.sent()); n != 55 || p.overrun != 0 {
			t.Errorf("%d were sent, %d beyond the quota", n, p.overrun)
		}
	})
}

// TestAQuotaThatUpstreamSaysIsSpent: others have used it, and the count of them lags
// behind. The account is asked again, and nothing waits for a quarter of an hour.
func TestAQuotaThatUpstreamSaysIsSpent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, s := newProvider(10, 1000), open(t)
		r, _ := run(t, s, p.lane(), nil)
		pass(10 * time.Second)
		p.set(func() { p.others = 1000 })
		id := list(t, s, 30)
		pass(10 * time.Second)
		st := r.Lanes()[0]
		if st.State != "paused" || st.Class != mail.QuotaSpent || !strings.Contains(st.Reason, "asked again every minute") {
			t.Fatalf("%+v", st)
		}
		pass(5 * time.Minute)
		tried := p.overrun
		pass(5 * time.Minute)
		if p.overrun != tried {
			t.Errorf("%d copies were tried though the account says that nothing is left", p.overrun-tried)
		}
		back := time.Now()
		p.set(func() { p.others = 0 })
		until(t, s, id, mail.Done)
		unspent(t, s, id)
		if d := time.Since(back); d > 70*time.Second {
			t.Errorf("it went on after %v", d)
		}
	})
}

// TestWhatGetsThroughLateDoesNotReopenALane that the copies after it were refused on: it
// began before the quota was spent, or the account refused.
func TestWhatGetsThroughLateDoesNotReopenALane(t *testing.T) {
	for _, class := range []mail.Class{mail.QuotaSpent, mail.AccountWide} {
		t.Run(class.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var sends atomic.Int32
				up := newUpstream(func(*relay.Delivery, int) error {
					if sends.Add(1) == 1 {
						pass(10 * time.Second)
						return nil
					}
					pass(time.Second)
					return &mail.Error{Class: class, Public: "no more of you"}
				})
				s := open(t)
				var log journal
				run(t, s, relay.LaneConfig{Name: "lane", Sender: up, Concurrency: 10}, func(c *relay.Config) { c.Log = slog.New(slog.NewTextHandler(&log, nil)) })
				list(t, s, 40)
				pass(time.Minute)
				if n := sends.Load(); n != 10 {
					t.Errorf("%d copies were handed over, want the first ten alone", n)
				}
				if strings.Contains(log.String(), "runs again") {
					t.Error("the lane was opened by what had begun before")
				}
			})
		})
	}
}

// TestAQuotaWithoutAnAnswerIsUpstreamsAffair: an old answer stops nothing.
func TestAQuotaWithoutAnAnswerIsUpstreamsAffair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, s := newProvider(10, 50), open(t)
		r, _ := run(t, s, p.lane(), nil)
		until(t, s, list(t, s, 45), mail.Done)
		p.set(func() {
			p.account.Max24 = 1000
			p.refuse = &mail.Error{Class: mail.AccountWide, Public: "the permission ses:GetAccount is missing"}
		})
		id := list(t, s, 10)
		pass(50 * time.Minute)
		if m, err := s.Message(id); err != nil || m.Counts[mail.Sent] != 0 {
			t.Fatalf("%v %v: the last answer holds for an hour", m.Counts, err)
		}
		pass(11 * time.Minute)
		synctest.Wait()
		if err := r.ResumeLane(t.Context(), "lane"); err != nil { // nobody asks, so nobody nudges
			t.Fatal(err)
		}
		until(t, s, id, mail.Done)
	})
}

// TestWhatTheQuotaLetsOut and when the last copy will be out.
func TestWhatTheQuotaLetsOut(t *testing.T) {
	hour := time.Hour
	for name, c := range map[string]struct {
		account        relay.Account
		reserve        float64
		own            map[time.Duration]int
		before, copies int
		today          int
		in             time.Duration // until the last is out; -1: there is no need to say
	}{
		"all of it":                       {relay.Account{Max24: 1000, Sent24: 100}, 0.1, nil, 0, 800, 800, -1},
		"unlimited":                       {relay.Account{Max24: -1}, 0.1, nil, 0, 1e6, 1e6, -1},
		"one too many, others used it":    {relay.Account{Max24: 1000, Sent24: 240}, 0, nil, 0, 761, 760, 6 * time.Minute},
		"ours leave at their time":        {relay.Account{Max24: 1000, Sent24: 500}, 0, map[time.Duration]int{20 * hour: 500}, 0, 600, 500, 4 * hour},
		"after those that came before":    {relay.Account{Max24: 1000, Sent24: 500}, 0, map[time.Duration]int{20 * hour: 200, 10 * hour: 300}, 400, 400, 100, 14 * hour},
		"none left for bulk":              {relay.Account{Max24: 1000, Sent24: 950}, 0.1, map[time.Duration]int{6 * hour: 950}, 0, 10, 0, 18 * hour},
		"days":                            {relay.Account{Max24: 1000}, 0, nil, 0, 3500, 1000, 72 * hour},
		"days, with something used":       {relay.Account{Max24: 1000, Sent24: 600}, 0, map[time.Duration]int{12 * hour: 600}, 0, 1500, 400, 36 * hour},
		"nothing is for bulk":             {relay.Account{Max24: 1000}, 1, nil, 0, 10, 0, -1},
		"what is in no bucket is others'": {relay.Account{Max24: 1000, Sent24: 1000}, 0, map[time.Duration]int{12 * hour: 760}, 0, 120, 0, 12 * hour},
		"more than ours, whoever sent it": {relay.Account{Max24: 1000, Sent24: 100}, 0, map[time.Duration]int{12 * hour: 5000}, 0, 950, 900, 12 * hour},
	} {
		t.Run(name, func(t *testing.T) {
			q := relay.NewLedger(c.account, c.reserve, at, c.own)
			today, last := q.Out(c.before, c.copies, at)
			if today != c.today {
				t.Errorf("%d leave now, want %d", today, c.today)
			}
			if c.in < 0 {
				if !last.IsZero() {
					t.Errorf("the last leaves at %v", last)
				}
				return
			}
			if d := last.Sub(at); (d - c.in).Abs() > time.Minute {
				t.Errorf("the last leaves in %v, want %v", d, c.in)
			}
		})
	}
}

func TestAnUnknownQuotaBoundsNothing(t *testing.T) {
	q := new(relay.Ledger)
	if all, bulk := q.Left(at); !math.IsInf(all, 1) || !math.IsInf(bulk, 1) {
		t.Errorf("%v %v", all, bulk)
	}
}

// TestAMessageThatCannotBeOutToday is known for it soon after it has come, in order of
// acceptance, and not any more when that changes.
func TestAMessageThatCannotBeOutToday(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, s := newProvider(10, 10_000), open(t)
		p.others = 4000
		run(t, s, p.lane(), nil)
		pass(10 * time.Second)
		first := list(t, s, 4500)
		pass(time.Millisecond)
		second := list(t, s, 2000)
		pass(time.Millisecond)
		plain := accept(t, s, mail.Message{Priority: mail.Bulk}, 3000)
		pass(lookTime)
		get := func(id mail.ID) *mail.Forecast {
			m, err := s.Message(id)
			if err != nil {
				t.Fatal(err)
			}
			if (m.Forecast == nil) != (m.Reason == "") {
				t.Errorf("%+v %q", m.Forecast, m.Reason)
			}
			return m.Forecast
		}
		if f := get(first); f != nil {
			t.Errorf("the first: %+v", f)
		}
		if f := get(plain); f != nil {
			t.Errorf("ordinary mail: %+v", f)
		}
		f := get(second)
		if f == nil || f.Copies < 1950 || f.Copies > 2000 || f.Today < 400 || f.Today > 500 || f.Until.Before(time.Now().Add(time.Hour)) {
			t.Fatalf("the second: %+v", f)
		}
		m, err := s.Message(second) // some have left before somebody looked
		if err != nil || !strings.Contains(m.Reason, "copies that wait can leave now; the account's quota of 10,000 in 24 hours lets the last leave about "+clock(f.Until)) {
			t.Errorf("%q %v", m.Reason, err)
		}
		if err := s.Cancel(t.Context(), first, "a test"); err != nil {
			t.Fatal(err)
		}
		pass(70 * time.Second)
		if f := get(second); f != nil {
			t.Errorf("without the first: %+v", f)
		}
		p.set(func() { p.account.Max24 = 6000 })
		pass(70 * time.Second)
		if f := get(second); f == nil {
			t.Error("the quota is smaller, and there is no forecast")
		}
		p.set(func() { p.account.Max24 = 20_000 })
		until(t, s, second, mail.Done)
		if f := get(second); f != nil {
			t.Errorf("it is done: %+v", f)
		}
	})
}

const lookTime = 3 * time.Second
