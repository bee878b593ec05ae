package relay_test

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postern/mail"
	"postern/relay"
	"postern/spool"
)

// provider is an upstream account that counts strictly: so many copies in any second,
// so many in any 24 hours.
type provider struct {
	*upstream
	account  relay.Account // Sent24 is counted
	lag      time.Duration // of the count
	others   int           // copies that others have sent
	refuse   error         // to say what the account may send
	answer   time.Duration // until a copy is answered
	asked    []time.Time
	taken    []time.Time // copies, in order
	throttle int
	overrun  int // copies that were refused because the quota was spent
}

func newProvider(rate, max24 float64) *provider {
	p := &provider{account: relay.Account{Rate: rate, Max24: max24, Enforcement: "HEALTHY"}, answer: 50 * time.Millisecond}
	p.upstream = newUpstream(func(*relay.Delivery, int) error {
		err := p.take()
		pass(p.answer)
		return err
	})
	return p
}

func (p *provider) take() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.account.Paused:
		return &mail.Error{Class: mail.AccountWide, Public: "sending is paused for the SES account"}
	case p.account.Max24 >= 0 && p.count(24*time.Hour, 0)+p.others >= int(p.account.Max24):
		p.overrun++
		return &mail.Error{Class: mail.QuotaSpent, Public: "Daily message quota exceeded."}
	case p.count(time.Second, 0) >= int(p.account.Rate):
		p.throttle++
		return &mail.Error{Class: mail.Throttled, Public: "Maximum sending rate exceeded."}
	}
	p.taken = append(p.taken, time.Now())
	return nil
}

// count is how many copies were taken within so long, until so long ago.
func (p *provider) count(within, ago time.Duration) (n int) {
	for _, at := range p.taken {
		if d := time.Since(at); d < within && d >= ago {
			n++
		}
	}
	return n
}

func (p *provider) ask(context.Context) (relay.Account, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, time.Now())
	if p.refuse != nil {
		return relay.Account{}, p.refuse
	}
	a := p.account
	a.Sent24 = float64(p.count(24*time.Hour, p.lag) + p.others)
	return a, nil
}

func (p *provider) set(edit func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	edit()
}

func (p *provider) sent() []time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.taken)
}

// lane is a lane by this account with 20 places.
func (p *provider) lane() relay.LaneConfig {
	return relay.LaneConfig{Name: "lane", Driver: "ses", Sender: p, Concurrency: 20, Reserve: 0.1, Account: p.ask}
}

// journal is a log that a test reads.
type journal struct {
	mu sync.Mutex
	b  strings.Builder
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(b)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.String()
}

// run starts a relay with one lane on a spool; it ends with the test, or before by stop.
func run(t *testing.T, s *spool.Spool, lane relay.LaneConfig, edit func(*relay.Config)) (r *relay.Relay, stop func()) {
	t.Helper()
	cfg := relay.Config{
		Spool: s, Lanes: []relay.LaneConfig{lane}, Location: time.UTC,
		Render: func(_ *mail.Message, c *mail.Copy) (mail.Content, error) {
			return mail.Content{Header: []byte("To: " + string(c.To) + "\r\n")}, nil
		},
		Blocked:  func(mail.Address, string) (mail.State, string, bool) { return 0, "", false },
		LaneOf:   func(*mail.Message) string { return "lane" },
		Lists:    relay.Schedule{Interval: time.Second, Backoff: 2, Retries: 3},
		Ordinary: relay.Schedule{Interval: time.Minute, Backoff: 2, MaxInterval: time.Hour, MaxAge: 48 * time.Hour},
		Unknowns: relay.Unknowns{Resend: true, Wait: 5 * time.Minute},
	}
	if edit != nil {
		edit(&cfg)
	}
	r, err := relay.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r.Start()
	stop = sync.OnceFunc(func() {
		if err := r.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return r, stop
}

func open(t *testing.T) *spool.Spool {
	t.Helper()
	s, err := spool.Open(t.TempDir(), spool.Options{LaneOf: func(*mail.Message) string { return "lane" }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if problems, err := s.Check(context.Background(), nil); err != nil || len(problems) > 0 {
			t.Error(problems, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// list puts a message of a list with n copies into the spool, as if it had been expanded.
func list(t *testing.T, s *spool.Spool, n int) mail.ID {
	t.Helper()
	return accept(t, s, mail.Message{Priority: mail.Bulk, List: &mail.ListPolicy{ID: "promo"}, Expanded: true}, n)
}

// unspent holds that no copy of a message has spent more than its one attempt.
func unspent(t *testing.T, s *spool.Spool, id mail.ID) {
	t.Helper()
	copies, err := s.Copies(id, 0, 100_000)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range copies {
		if c.State != mail.Sent || c.Attempts != 1 {
			t.Errorf("copy %d is %s after %d attempts: %s", c.Seq, c.State, c.Attempts, c.LastError)
		}
	}
}

// TestTheAccountsRateIsKept from the first copy on, and not exceeded by a configured one.
func TestTheAccountsRateIsKept(t *testing.T) {
	for _, c := range []struct{ configured, account, want float64 }{{0, 14, 14}, {10, 14, 10}, {50, 14, 14}} {
		synctest.Test(t, func(t *testing.T) {
			p, s := newProvider(c.account, -1), open(t)
			lane := p.lane()
			lane.Rate = c.configured
			id := list(t, s, int(c.want)*5)
			r, _ := run(t, s, lane, nil)
			until(t, s, id, mail.Done)
			unspent(t, s, id)
			times := p.sent()
			if n := most(times); n > int(c.want) {
				t.Errorf("%d copies within %v, want %v", n, window, c.want)
			}
			if a := achieved(times); a < 0.97*c.want {
				t.Errorf("%.2f copies a second, want %v", a, c.want)
			}
			if st := r.Lanes()[0]; st.Rate != c.want || st.Limit != c.want || st.Quota.Rate != c.account || st.State != "running" {
				t.Errorf("%+v", st)
			}
		})
	}
}

// TestTheAccountIsAskedOnceAMinute, also when the gateway is started again and again,
// and what it said is kept over a restart.
func TestTheAccountIsAskedOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, s := newProvider(10, 1000), open(t)
		_, stop := run(t, s, p.lane(), nil)
		pass(90 * time.Second)
		for range 5 {
			stop()
			p.set(func() { p.refuse = &mail.Error{Class: mail.Unreachable, Public: "no answer"} })
			var r *relay.Relay
			r, stop = run(t, s, p.lane(), nil)
			id := list(t, s, 25)
			until(t, s, id, mail.Done)
			if st := r.Lanes()[0]; st.Rate != 10 || st.Quota == nil || st.Quota.Used != float64(len(p.sent())) {
				t.Errorf("after a restart: %+v %+v", st, st.Quota)
			}
			pass(10 * time.Second)
		}
		if n := most(p.sent()); n > 10 {
			t.Errorf("%d copies within %v", n, window)
		}
		for i := 1; i < len(p.asked); i++ {
			if d := p.asked[i].Sub(p.asked[i-1]); d < time.Minute || d > 61*time.Second {
				t.Errorf("question %d came %v after the one before", i, d)
			}
		}
		if len(p.asked) < 3 {
			t.Errorf("asked %d times", len(p.asked))
		}
	})
}

// TestWithoutThePermissionToAskTheLaneWorks, and the log says once what is missing.
func TestWithoutThePermissionToAskTheLaneWorks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, s := newProvider(1e6, -1), open(t)
		p.refuse = &mail.Error{Class: mail.AccountWide, Public: "the permission ses:GetAccount is missing"}
		var log journal
		r, _ := run(t, s, p.lane(), func(c *relay.Config) { c.Log = slog.New(slog.NewTextHandler(&log, nil)) })
		began := time.Now()
		until(t, s, list(t, s, 200), mail.Done)
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("it took %v", took)
		}
		pass(10 * time.Minute)
		if n := strings.Count(log.String(), "ses:GetAccount"); n != 1 {
			t.Errorf("the log says so %d times:\n%s", n, log.String())
		}
		if st := r.Lanes()[0]; st.State != "running" || st.Rate != 0 || st.Quota != nil || !strings.Contains(st.Account, "ses:GetAccount") {
			t.Errorf("%+v", st)
		}
		p.set(func() { p.refuse = nil })
		pass(2 * time.Minute)
		if st := r.Lanes()[0]; st.Account != "" {
			t.Errorf("it has answered, and the lane says %q", st.Account)
		}
	})
}

// TestNothingGoesBeforeTheFirstAnswer, which may take a while, but not for ever.
func TestNothingGoesBeforeTheFirstAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, s := newProvider(5, -1), open(t)
		lane := p.lane()
		lane.Account = func(ctx context.Context) (relay.Account, error) {
			pass(3 * time.Second)
			return p.ask(ctx)
		}
		id := list(t, s, 20)
		run(t, s, lane, nil)
		pass(2900 * time.Millisecond)
		if n := len(p.sent()); n != 0 {
			t.Fatalf("%d copies went", n)
		}
		until(t, s, id, mail.Done)
		if n := most(p.sent()); n > 5 {
			t.Errorf("%d copies within %v", n, window)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		p, s := newProvider(1e6, -1), open(t)
		lane := p.lane()
		lane.Account = func(ctx context.Context) (relay.Account, error) {
			<-ctx.Done()
			return relay.Account{}, &mail.Error{Class: mail.Unreachable, Public: "no answer in time"}
		}
		id := list(t, s, 20)
		began := time.Now()
		run(t, s, lane, nil)
		until(t, s, id, mail.Done)
		if took := time.Since(began); took > 15*time.Second {
			t.Errorf("the first answer was waited for, for %v", took)
		}
	})
}

// TestAThrottleSlowsAndTheRateGrowsAgain: by a third, and then by a twentieth of the
// limit each second.
func TestAThrottleSlowsAndTheRateGrowsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, s := newProvider(30, -1), open(t)
		id := list(t, s, 1200)
		r, _ := run(t, s, p.lane(), nil)
		pass(5 * time.Second)
		p.set(func() { p.account.Rate = 25 }) // somebody else sends by the same account
		pass(400 * time.Millisecond)
		st := r.Lanes()[0]
		if st.State != "slowed" || st.Rate < 20 || st.Rate > 21 || st.Remedy == "" || !strings.Contains(st.Reason, "too fast") {
			t.Fatalf("%+v", st)
		}
		if d := time.Until(st.Until); d < 5*time.Second || d > 8*time.Second {
			t.Errorf("it says that it is as fast as before in %v", d)
		}
		p.set(func() { p.account.Rate = 30 })
		pass(time.Second)
		if now := r.Lanes()[0].Rate - st.Rate; now < 1.4 || now > 1.6 {
			t.Errorf("within a second the rate has grown by %v, want a twentieth of 30", now)
		}
		pass(8 * time.Second)
		if st := r.Lanes()[0]; st.State != "running" || st.Rate != 30 {
			t.Errorf("%+v", st)
		}
		until(t, s, id, mail.Done)
		unspent(t, s, id)
	})
}

// TestAWorkerThatWaitsForItsTurnEndsAtOnce when the gateway stops, and when somebody
// pauses the lane: the copy was not sent, and is not uncertain.
func TestAWorkerThatWaitsForItsTurnEndsAtOnce(t *testing.T) {
	for name, end := range map[string]func(*testing.T, *relay.Relay, func()){
		"shutdown": func(_ *testing.T, _ *relay.Relay, stop func()) { stop() },
		"pause": func(t *testing.T, r *relay.Relay, _ func()) {
			if err := r.PauseLane(t.Context(), "lane", "a test"); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, s := newProvider(0.05, -1), open(t)
				p.account.Rate = 0
				lane := p.lane()
				lane.Rate = 0.05
				p.upstream.answer = nil
				id := list(t, s, 5)
				r, stop := run(t, s, lane, nil)
				pass(time.Second)
				synctest.Wait()
				if st := r.Lanes()[0]; st.InFlight != 1 {
					t.Fatalf("nobody waits for a turn: %+v", st)
				}
				began := time.Now()
				end(t, r, stop)
				synctest.Wait()
				m, err := s.Message(id)
				if err != nil || m.Counts[mail.Sent] != 1 || m.Counts[mail.Queued] != 4 {
					t.Errorf("%v %v", m.Counts, err)
				}
				if d := time.Since(began); d > 0 {
					t.Errorf("it took %v", d)
				}
				copies, err := s.Copies(id, 0, 10)
				if err != nil {
					t.Fatal(err)
				}
				for _, c := range copies[1:] {
					if c.Attempts != 0 || c.State != mail.Queued || c.LastError != "" {
						t.Errorf("%+v", c)
					}
				}
			})
		})
	}
}

// TestWhoLeavesWhileACopyWaitsForItsTurnGetsNothing: at a low rate that is a while.
func TestWhoLeavesWhileACopyWaitsForItsTurnGetsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, s := newProvider(1, -1), open(t)
		var mu sync.Mutex
		left := false
		r, _ := run(t, s, p.lane(), func(c *relay.Config) {
			c.Blocked = func(to mail.Address, _ string) (mail.State, string, bool) {
				mu.Lock()
				defer mu.Unlock()
				return mail.Unsubscribed, "left", left && to == "user1@example.com"
			}
		})
		id := list(t, s, 3)
		pass(500 * time.Millisecond)
		synctest.Wait()
		if st := r.Lanes()[0]; st.InFlight != 1 {
			t.Fatalf("%+v", st)
		}
		mu.Lock()
		left = true
		mu.Unlock()
		m := until(t, s, id, mail.Done)
		if m.Counts[mail.Sent] != 2 || m.Counts[mail.Unsubscribed] != 1 {
			t.Errorf("%v", m.Counts)
		}
	})
}

// TestTransactionalMailAtOneCopyASecond waits for one turn at most, however much bulk
// mail is there.
func TestTransactionalMailAtOneCopyASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, s := newProvider(1, -1), open(t)
		list(t, s, 100)
		run(t, s, p.lane(), nil)
		for range 5 {
			pass(3300 * time.Millisecond)
			came := time.Now()
			until(t, s, accept(t, s, mail.Message{Priority: mail.Transactional}, 1), mail.Done)
			if took := time.Since(came); took > window+150*time.Millisecond {
				t.Errorf("it was out after %v", took)
			}
		}
		if n := most(p.sent()); n > 1 {
			t.Errorf("%d copies within %v", n, window)
		}
	})
}

// TestAPausedAccountIsAskedBeforeACopyIsRisked.
func TestAPausedAccountIsAskedBeforeACopyIsRisked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, s := newProvider(10, -1), open(t)
		r, _ := run(t, s, p.lane(), nil)
		pass(30 * time.Second)
		p.set(func() { p.account.Paused, p.account.Enforcement = true, "SHUTDOWN" })
		id := list(t, s, 20)
		pass(45 * time.Second)
		tried := len(p.tries)
		st := r.Lanes()[0]
		if st.State != "paused" || st.Class != mail.AccountWide || !strings.Contains(st.Reason, "SHUTDOWN") || !strings.Contains(st.Remedy, "provider") {
			t.Errorf("%+v", st)
		}
		pass(30 * time.Minute)
		if n := len(p.tries); n != tried {
			t.Errorf("%d more copies were risked", n-tried)
		}
		back := time.Now()
		p.set(func() { p.account.Paused, p.account.Enforcement = false, "HEALTHY" })
		until(t, s, id, mail.Done)
		unspent(t, s, id)
		if d := time.Since(back); d > 65*time.Second {
			t.Errorf("it went on after %v", d)
		}
	})
}

// TestTheGovernorRacesWithNobody: workers, the dispatcher, questions, a person and the
// administrators' page at once; for the race detector, in real time.
func TestTheGovernorRacesWithNobody(t *testing.T) {
	p, s := newProvider(3000, 1e6), open(t)
	p.answer = time.Millisecond
	r, _ := run(t, s, p.lane(), nil)
	id := list(t, s, 600)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for range 30 {
				r.Lanes()
				if err := r.PauseLane(t.Context(), "lane", "a test"); err != nil {
					t.Error(err)
				}
				if err := r.ResumeLane(t.Context(), "lane"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for m, err := s.Message(id); m.State != mail.Done; m, err = s.Message(id) {
		if err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Millisecond)
	}
	unspent(t, s, id)
}
