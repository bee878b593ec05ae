package relay_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"postern/mail"
	"postern/relay"
	"postern/spool"
)

// shopBreaker is the breaker of the default configuration.
func shopBreaker(c *relay.Config) {
	c.Breaker = relay.Breaker{BounceRate: 0.05, BouncesMin: 20, ComplaintRate: 0.003, ComplaintsMin: 3}
}

// comeBack lets events tell of copies from..to-1 of a message.
func comeBack(t *testing.T, r *relay.Relay, s *spool.Spool, id mail.ID, from, to int, o mail.Outcome) {
	t.Helper()
	for seq := from; seq < to; seq++ {
		seen, err := s.Observe(t.Context(), []spool.Observation{{Message: id, Seq: uint32(seq), Outcome: o, At: time.Now(), Words: "550 5.1.1 no such user"}})
		if err != nil || seen[0] == nil {
			t.Fatalf("copy %d: %v %v", seq, seen, err)
		}
		r.Observed(t.Context(), seen)
	}
}

func state(t *testing.T, s *spool.Spool, id mail.ID) spool.Summary {
	t.Helper()
	sum, err := s.Message(id)
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

// slowly sends one copy a second.
func slowly(c *relay.Config) {
	shopBreaker(c)
	c.Lanes[0].Rate = 1
}

func TestAMessageThatBouncesTooMuchIsPausedAndCountsAnewWhenResumed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := startRelay(t, newUpstream(nil), slowly)
		id := submit(t, s, 500, true)
		pass(300 * time.Second) // about 300 are out
		comeBack(t, r, s, id, 1, 20, mail.Bounced)
		if m := state(t, s, id); m.State != mail.Sending {
			t.Fatalf("%s after 19 bounces: %s", m.State, m.Reason)
		}
		comeBack(t, r, s, id, 20, 21, mail.Bounced)
		m := state(t, s, id)
		if m.State != mail.Paused || m.Stopped == nil || m.Stopped.Kind != mail.StopBounces || !strings.Contains(m.Reason, "20 of ") ||
			!strings.Contains(m.Reason, "5 %") || !strings.Contains(m.Reason, "resume") {
			t.Fatalf("%s %+v: %s", m.State, m.Stopped, m.Reason)
		}
		if len(s.Stopped()) != 1 {
			t.Error("nobody is going to be told")
		}
		if err := s.Resume(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		if err := r.ResumeLane(t.Context(), "lane"); err != nil {
			t.Fatal(err)
		}
		pass(100 * time.Second) // about 100 more
		comeBack(t, r, s, id, 21, 61, mail.Bounced)
		if m := state(t, s, id); m.State != mail.Sending {
			t.Errorf("%s again by late bounces of copies that were sent before: %s", m.State, m.Reason)
		}
		comeBack(t, r, s, id, 320, 339, mail.Bounced)
		if m := state(t, s, id); m.State != mail.Sending {
			t.Errorf("%s again after 19 bounces: %s", m.State, m.Reason)
		}
		comeBack(t, r, s, id, 339, 340, mail.Bounced)
		if m := state(t, s, id); m.State != mail.Paused || !strings.Contains(m.Reason, "20 of ") {
			t.Errorf("%s after 20 bounces of copies that were sent since: %s", m.State, m.Reason)
		}
	})
}

func TestComplaintsPauseAMessageAndAFewDoNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := startRelay(t, newUpstream(nil), slowly)
		id := submit(t, s, 500, true)
		pass(100 * time.Second)
		comeBack(t, r, s, id, 1, 3, mail.Complained)
		comeBack(t, r, s, id, 1, 3, mail.Complained) // the same again
		if m := state(t, s, id); m.State != mail.Sending {
			t.Fatalf("%s after two complaints", m.State)
		}
		comeBack(t, r, s, id, 3, 4, mail.Complained)
		if m := state(t, s, id); m.State != mail.Paused || !strings.Contains(m.Reason, "spam") {
			t.Errorf("%s: %s", m.State, m.Reason)
		}
	})
}

// Four messages of which none passes the rates by itself: the lane does, and then its
// bulk mail waits, over a restart, until somebody says so. Other mail goes on.
func TestALaneThatBouncesTooMuchHoldsItsBulkMail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		open := func() (*relay.Relay, *spool.Spool, *upstream) {
			s, err := spool.Open(dir, spool.Options{LaneOf: func(*mail.Message) string { return "lane" }})
			if err != nil {
				t.Fatal(err)
			}
			up := newUpstream(nil)
			cfg := relay.Config{Spool: s, Lanes: []relay.LaneConfig{{Name: "lane", Sender: up, Concurrency: 4}},
				Render:  func(*mail.Message, *mail.Copy) (mail.Content, error) { return mail.Content{}, nil },
				Blocked: func(mail.Address, string) (mail.State, string, bool) { return 0, "", false }}
			shopBreaker(&cfg)
			r, err := relay.New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			r.Start()
			return r, s, up
		}
		end := func(r *relay.Relay, s *spool.Spool) {
			if err := r.Stop(context.Background()); err != nil {
				t.Error(err)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
		r, s, _ := open()
		for range 4 {
			id := submit(t, s, 50, true)
			until(t, s, id, mail.Done)
			comeBack(t, r, s, id, 1, 6, mail.Bounced)
		}
		held := r.Lanes()[0].BulkHeld
		if !strings.Contains(held, "20 of 200 copies have bounced") || !strings.Contains(held, "postern lane resume lane") {
			t.Fatalf("the lane says %q", held)
		}
		end(r, s)

		r, s, up := open()
		defer func() { end(r, s) }()
		bulk := submit(t, s, 3, true)
		order := accept(t, s, mail.Message{Priority: mail.Transactional}, 1)
		until(t, s, order, mail.Done)
		pass(time.Hour)
		if len(up.sent) != 1 {
			t.Errorf("%d mails have left while bulk waits", len(up.sent))
		}
		if err := r.ResumeLane(t.Context(), "lane"); err != nil {
			t.Fatal(err)
		}
		until(t, s, bulk, mail.Done)
		if held := r.Lanes()[0].BulkHeld; held != "" {
			t.Errorf("resumed, and still %q", held)
		}
		comeBack(t, r, s, bulk, 1, 4, mail.Bounced) // is counted anew
		if held := r.Lanes()[0].BulkHeld; held != "" {
			t.Errorf("held again by what had come before: %q", held)
		}
	})
}

// A campaign of yesterday: its complaints come for days, on some of which nothing is
// sent. They are a rate of what was sent then.
func TestComplaintsThatComeDaysLaterHoldNoLane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := startRelay(t, newUpstream(nil), shopBreaker)
		id := submit(t, s, 1000, true)
		until(t, s, id, mail.Done)
		comeBack(t, r, s, id, 1, 3, mail.Complained)
		pass(20 * time.Hour)
		until(t, s, submit(t, s, 10, true), mail.Done)
		comeBack(t, r, s, id, 3, 4, mail.Complained)
		comeBack(t, r, s, id, 500, 550, mail.Bounced)
		if held := r.Lanes()[0].BulkHeld; held != "" {
			t.Errorf("held by 3 of 1,000: %q", held)
		}
		pass(20 * time.Hour)
		until(t, s, submit(t, s, 10, true), mail.Done)
		comeBack(t, r, s, id, 4, 10, mail.Complained)
		comeBack(t, r, s, id, 550, 600, mail.Bounced)
		if held := r.Lanes()[0].BulkHeld; held != "" {
			t.Errorf("held by what came of copies that were sent before yesterday: %q", held)
		}
	})
}

// Amazon SES keeps a list of its own, and what it has not even tried because of that does
// not count against the account.
func TestWhatTheProviderDoesNotCountStopsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := startRelay(t, newUpstream(nil), slowly)
		id := submit(t, s, 500, true)
		pass(200 * time.Second)
		note := func(from, to int, uncounted bool) {
			t.Helper()
			for seq := from; seq < to; seq++ {
				seen, err := s.Observe(t.Context(), []spool.Observation{{Message: id, Seq: uint32(seq), Outcome: mail.Bounced, At: time.Now(), Uncounted: uncounted}})
				if err != nil || seen[0] == nil {
					t.Fatal(seen, err)
				}
				r.Observed(t.Context(), seen)
			}
		}
		note(1, 61, true)
		note(61, 80, false)
		if m := state(t, s, id); m.State != mail.Sending || m.Outcomes[mail.Bounced] != 79 || r.Lanes()[0].BulkHeld != "" {
			t.Fatalf("%s, %v: %s; %q", m.State, m.Outcomes, m.Reason, r.Lanes()[0].BulkHeld)
		}
		note(80, 81, false)
		if m := state(t, s, id); m.State != mail.Paused || r.Lanes()[0].BulkHeld == "" {
			t.Errorf("%s: %s; %q", m.State, m.Reason, r.Lanes()[0].BulkHeld)
		}
	})
}

// What comes late of the mail for which a lane was held does not hold it anew.
func TestALaneThatWasResumedIsNotHeldByWhatCameBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := startRelay(t, newUpstream(nil), shopBreaker)
		id := submit(t, s, 200, true)
		until(t, s, id, mail.Done)
		comeBack(t, r, s, id, 1, 21, mail.Bounced)
		if r.Lanes()[0].BulkHeld == "" {
			t.Fatal("20 of 200 hold nothing")
		}
		pass(time.Minute)
		if err := r.ResumeLane(t.Context(), "lane"); err != nil {
			t.Fatal(err)
		}
		next := submit(t, s, 100, true)
		until(t, s, next, mail.Done)
		comeBack(t, r, s, id, 21, 100, mail.Bounced)
		if held := r.Lanes()[0].BulkHeld; held != "" {
			t.Errorf("held again by bounces of the same mail: %q", held)
		}
		comeBack(t, r, s, next, 1, 21, mail.Bounced)
		if held := r.Lanes()[0].BulkHeld; !strings.Contains(held, "20 of 100") {
			t.Errorf("20 of 100 of the next mail: %q", held)
		}
	})
}

func TestARateOfZeroSwitchesTheBreakerOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := startRelay(t, newUpstream(nil), func(c *relay.Config) { c.Breaker = relay.Breaker{BouncesMin: 0, ComplaintsMin: 0}; c.Lanes[0].Rate = 1 })
		id := submit(t, s, 100, true)
		pass(50 * time.Second)
		comeBack(t, r, s, id, 1, 40, mail.Bounced)
		if m := state(t, s, id); m.State != mail.Sending || r.Lanes()[0].BulkHeld != "" {
			t.Errorf("%s, %q", m.State, r.Lanes()[0].BulkHeld)
		}
	})
}

func TestAMessageWhoseFirstCopiesAreAllRefusedInTheSameWordsIsPaused(t *testing.T) {
	refusal := mail.Refuse(400, "", "Duplicate header 'Sender'.")
	for name, c := range map[string]struct {
		answer func(d *relay.Delivery, _ int) error
		paused bool
	}{
		"all":                   {func(*relay.Delivery, int) error { return refusal }, true},
		"all but the third":     {func(d *relay.Delivery, _ int) error { return unless(d.To == "user2@example.com", refusal) }, false},
		"each in its own words": {func(d *relay.Delivery, _ int) error { return mail.Refuse(400, "", "bad address %s", d.To) }, false},
		"about the recipients":  {func(*relay.Delivery, int) error { return mail.Refuse(550, "5.1.1", "no such user") }, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := start(t, newUpstream(c.answer), nil)
				id := submit(t, s, 40, true)
				if !c.paused {
					until(t, s, id, mail.Done)
					return
				}
				m := until(t, s, id, mail.Paused)
				if n := m.Counts[mail.CopyFailed]; n < 10 || n > 10+4 || !strings.Contains(m.Reason, "Duplicate header") || !strings.Contains(m.Reason, "`postern queue retry "+string(id)+" --failed`") || m.Stopped.Kind != mail.StopRefused || !m.Stopped.Until.IsZero() {
					t.Errorf("%d failed, %+v: %s", n, m.Stopped, m.Reason)
				}
			})
		})
	}
}

func unless(ok bool, err error) error {
	if ok {
		return nil
	}
	return err
}

// What somebody mends upstream is found out by itself; what is wrong with the message
// waits for a person.
func TestAMessagePausedForUpstreamIsTriedAgainByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mended atomic.Bool
		up := newUpstream(func(*relay.Delivery, int) error {
			if mended.Load() {
				return nil
			}
			return &mail.Error{Class: mail.MessageWide, Public: "verify the identity", RetryAfter: 15 * time.Minute}
		})
		s := start(t, up, nil)
		id := submit(t, s, 5, true)
		m := until(t, s, id, mail.Paused)
		if m.Stopped == nil || m.Stopped.Kind != mail.StopRefused || m.Stopped.Until.IsZero() {
			t.Fatalf("%+v", m.Stopped)
		}
		pass(16 * time.Minute)
		if m := state(t, s, id); m.State != mail.Paused || len(up.tries) > 5 {
			t.Errorf("%s after a second refusal, %d copies were tried", m.State, len(up.tries))
		}
		mended.Store(true)
		until(t, s, id, mail.Done)
	})
}

func TestALanePausedByHandStaysSoOverARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := newUpstream(nil)
		r, s := startRelay(t, up, nil)
		if err := r.PauseLane(t.Context(), "lane", "paused by kim"); err != nil {
			t.Fatal(err)
		}
		id := submit(t, s, 5, false)
		pass(time.Hour)
		l := r.Lanes()[0]
		if l.State != "paused" || !l.ByHand || l.Reason != "paused by kim" || len(up.sent) != 0 {
			t.Fatalf("%+v, %d sent", l, len(up.sent))
		}
		again, err := relay.New(relay.Config{Spool: s, Lanes: []relay.LaneConfig{{Name: "lane", Sender: up, Concurrency: 1}}})
		if err != nil || !again.Lanes()[0].ByHand {
			t.Errorf("%+v %v", again.Lanes(), err)
		}
		if err := r.ResumeLane(t.Context(), "lane"); err != nil {
			t.Fatal(err)
		}
		until(t, s, id, mail.Done)
		if err := r.PauseLane(t.Context(), "nowhere", "x"); err == nil || !strings.Contains(err.Error(), `"nowhere"`) || !strings.Contains(err.Error(), "lane") {
			t.Errorf("%v", err)
		}
	})
}
