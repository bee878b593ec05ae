package relay_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postern/mail"
	"postern/relay"
	"postern/spool"
)

// upstream is a sender whose answers a test scripts.
type upstream struct {
	mu       sync.Mutex
	answer   func(d *relay.Delivery, attempt int) error
	eightBit bool
	tries    map[string]int
	sent     map[string]int
	busy     int
	most     int
}

func newUpstream(answer func(*relay.Delivery, int) error) *upstream {
	return &upstream{answer: answer, tries: map[string]int{}, sent: map[string]int{}}
}

func (u *upstream) Send(ctx context.Context, d *relay.Delivery) (relay.Receipt, error) {
	u.mu.Lock()
	u.tries[d.Tag]++
	n := u.tries[d.Tag]
	u.busy++
	u.most = max(u.most, u.busy)
	u.mu.Unlock()
	var err error
	if u.answer != nil {
		err = u.answer(d, n)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.busy--
	if err != nil {
		return relay.Receipt{}, err
	}
	u.sent[d.Tag]++
	return relay.Receipt{ID: "up-" + d.Tag}, nil
}

func (u *upstream) Idempotent() bool { return false }
func (u *upstream) EightBit() bool   { return u.eightBit }
func (u *upstream) LongLines() bool  { return false }
func (u *upstream) Close() error     { return nil }

func start(t *testing.T, up relay.Sender, edit func(*relay.Config)) *spool.Spool {
	t.Helper()
	_, s := startRelay(t, up, edit)
	return s
}

func startRelay(t *testing.T, up relay.Sender, edit func(*relay.Config)) (*relay.Relay, *spool.Spool) {
	t.Helper()
	s, err := spool.Open(t.TempDir(), spool.Options{LaneOf: func(*mail.Message) string { return "lane" }})
	if err != nil {
		t.Fatal(err)
	}
	cfg := relay.Config{
		Spool: s,
		Lanes: []relay.LaneConfig{{Name: "lane", Sender: up, Concurrency: 4}},
		Render: func(_ *mail.Message, c *mail.Copy) (mail.Content, error) {
			return mail.Content{Header: []byte("To: " + string(c.To) + "\r\n")}, nil
		},
		Blocked:  func(mail.Address, string) (mail.State, string, bool) { return 0, "", false },
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
	t.Cleanup(func() {
		if err := r.Stop(context.Background()); err != nil {
			t.Error(err)
		}
		if problems, err := s.Check(context.Background(), nil); err != nil || len(problems) > 0 {
			t.Error(problems, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return r, s
}

func submit(t *testing.T, s *spool.Spool, n int, list bool) mail.ID {
	t.Helper()
	m := mail.Message{Priority: mail.Bulk}
	if list {
		m.List = &mail.ListPolicy{ID: "promo"}
	}
	return accept(t, s, m, n)
}

// accept puts a message with n copies into the spool.
func accept(t *testing.T, s *spool.Spool, m mail.Message, n int) mail.ID {
	t.Helper()
	b, err := s.NewBody()
	if err != nil {
		t.Fatal(err)
	}
	defer b.Discard()
	_, _ = io.WriteString(b, "x")
	m.ID, m.State, m.AcceptedAt = mail.NewID(time.Now()), mail.Sending, time.Now()
	var cs []mail.Copy
	for i := range n {
		cs = append(cs, mail.Copy{To: mail.Address(fmt.Sprintf("user%d@example.com", i))})
	}
	if err := s.Accept(t.Context(), b, []spool.Accepted{{Message: m, Copies: cs}}); err != nil {
		t.Fatal(err)
	}
	return m.ID
}

// pass lets the bubble's fake time pass.
func pass(d time.Duration) { <-time.After(d) }

// until advances fake time until the message is in the state.
func until(t *testing.T, s *spool.Spool, id mail.ID, state mail.MessageState) spool.Summary {
	t.Helper()
	for range 100000 {
		synctest.Wait()
		m, err := s.Message(id)
		if err != nil {
			t.Fatal(err)
		}
		if m.State == state {
			return m
		}
		pass(50 * time.Millisecond)
	}
	m, _ := s.Message(id)
	t.Fatalf("message never became %s: %+v", state, m)
	return spool.Summary{}
}

func TestEveryCopyGoesOnceWithinTheConcurrency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := newUpstream(nil)
		s := start(t, up, nil)
		m := until(t, s, submit(t, s, 200, true), mail.Done)
		if m.Counts[mail.Sent] != 200 || len(up.sent) != 200 || up.most > 4 {
			t.Fatalf("sent %v, upstream got %d, at most %d at once", m.Counts, len(up.sent), up.most)
		}
		for tag, n := range up.sent {
			if n != 1 {
				t.Fatalf("%s was sent %d times", tag, n)
			}
		}
	})
}

func TestThreeRetriesThenFailedInUpstreamsWords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var times []time.Time
		up := newUpstream(func(*relay.Delivery, int) error {
			times = append(times, time.Now())
			return &mail.Error{Code: 451, Enhanced: "4.2.0", Public: "mailbox busy"}
		})
		s := start(t, up, nil)
		m := until(t, s, submit(t, s, 1, true), mail.Done)
		c, _ := s.CopyTo(m.ID, "user0@example.com")
		if c.State != mail.CopyFailed || c.Attempts != 4 || c.LastError != "451 4.2.0 mailbox busy" {
			t.Fatalf("got %+v", c)
		}
		for i, want := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second} {
			if d := times[i+1].Sub(times[i]); d < want || d > want+want/10+50*time.Millisecond {
				t.Errorf("retry %d came after %v, want %v", i+1, d, want)
			}
		}
		if n, err := s.Retry(t.Context(), m.ID, ""); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		up.mu.Lock()
		up.answer = nil
		up.mu.Unlock()
		if m := until(t, s, m.ID, mail.Done); m.Counts[mail.Sent] != 1 {
			t.Fatalf("after a retry by hand: %v", m.Counts)
		}
	})
}

func TestAnOutageOfTheLaneSpendsNoAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		back := time.Now().Add(time.Hour)
		up := newUpstream(func(*relay.Delivery, int) error {
			if time.Now().Before(back) {
				return &mail.Error{Class: mail.Unreachable, Public: "connection refused"}
			}
			return nil
		})
		s := start(t, up, nil)
		m := until(t, s, submit(t, s, 20, true), mail.Done)
		if m.Counts[mail.Sent] != 20 {
			t.Fatalf("counts %v", m.Counts)
		}
		cs, _ := s.Copies(m.ID, 0, 100)
		tries := 0
		for _, c := range cs {
			tries += c.Claims
			if c.Attempts != 1 {
				t.Errorf("%s has %d attempts, want 1", c.To, c.Attempts)
			}
		}
		if tries > 20+4+80 {
			t.Errorf("%d tries in an hour of outage", tries)
		}
	})
}

func TestAThrottleSlowsAndLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var second time.Time
		n, throttled := 0, 0
		var mu sync.Mutex
		up := newUpstream(func(*relay.Delivery, int) error {
			mu.Lock()
			defer mu.Unlock()
			if time.Since(second) >= time.Second {
				second, n = time.Now(), 0
			}
			if n++; n > 10 {
				throttled++
				return &mail.Error{Class: mail.Throttled, Public: "Maximum sending rate exceeded."}
			}
			return nil
		})
		s := start(t, up, nil)
		m := until(t, s, submit(t, s, 300, true), mail.Done)
		if m.Counts[mail.Sent] != 300 || throttled > 150 {
			t.Fatalf("counts %v, throttled %d times", m.Counts, throttled)
		}
		cs, _ := s.Copies(m.ID, 0, 1000)
		for _, c := range cs {
			if c.Attempts != 1 {
				t.Fatalf("%s has %d attempts", c.To, c.Attempts)
			}
		}
	})
}

func TestAnUnknownResultIsResentAfterTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var times []time.Time
		up := newUpstream(func(_ *relay.Delivery, n int) error {
			times = append(times, time.Now())
			if n == 1 {
				return &mail.Error{Class: mail.Uncertain, Public: "no answer"}
			}
			return nil
		})
		s := start(t, up, nil)
		until(t, s, submit(t, s, 1, true), mail.Done)
		if d := times[1].Sub(times[0]); d < 5*time.Minute {
			t.Fatalf("resent after %v", d)
		}
	})
}

func TestWhatConcernsTheMessagePausesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := true
		up := newUpstream(func(*relay.Delivery, int) error {
			if bad {
				return &mail.Error{Class: mail.MessageWide, Public: "the From address is not verified"}
			}
			return nil
		})
		s := start(t, up, nil)
		m := until(t, s, submit(t, s, 50, true), mail.Paused)
		if m.Reason != "the From address is not verified" || m.Counts.Open() != 50 {
			t.Fatalf("got %+v", m)
		}
		synctest.Wait()
		bad = false
		if err := s.Resume(t.Context(), m.ID); err != nil {
			t.Fatal(err)
		}
		if m := until(t, s, m.ID, mail.Done); m.Counts[mail.Sent] != 50 {
			t.Fatalf("counts %v", m.Counts)
		}
	})
}

func TestWhoLeftMeanwhileGetsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := newUpstream(nil)
		s := start(t, up, func(c *relay.Config) {
			c.Blocked = func(to mail.Address, list string) (mail.State, string, bool) {
				return mail.Unsubscribed, "left the list", to == "user3@example.com" && list == "promo"
			}
		})
		m := until(t, s, submit(t, s, 5, true), mail.Done)
		if m.Counts[mail.Sent] != 4 || m.Counts[mail.Unsubscribed] != 1 {
			t.Fatalf("counts %v", m.Counts)
		}
	})
}

func TestStopLetsBegunSendsFinishAndCutsThemAtTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := spool.Open(t.TempDir(), spool.Options{LaneOf: func(*mail.Message) string { return "lane" }})
		if err != nil {
			t.Fatal(err)
		}
		began := make(chan struct{}, 10)
		r, err := relay.New(relay.Config{
			Spool: s, Lanes: []relay.LaneConfig{{Name: "lane", Sender: stuck{began}, Concurrency: 2}},
			Render:  func(*mail.Message, *mail.Copy) (mail.Content, error) { return mail.Content{}, nil },
			Blocked: func(mail.Address, string) (mail.State, string, bool) { return 0, "", false },
			Lists:   relay.Schedule{Interval: time.Second, Backoff: 2, Retries: 3}, Unknowns: relay.Unknowns{Resend: true, Wait: time.Hour},
		})
		if err != nil {
			t.Fatal(err)
		}
		r.Start()
		id := submit(t, s, 5, true)
		<-began
		<-began
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := r.Stop(ctx); err != nil {
			t.Fatal(err)
		}
		m, _ := s.Message(id)
		if m.Counts[mail.Unknown] != 2 || m.Counts[mail.Queued] != 3 {
			t.Fatalf("counts %v", m.Counts)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// stuck never gets an answer.
type stuck struct{ began chan struct{} }

func (s stuck) Send(ctx context.Context, _ *relay.Delivery) (relay.Receipt, error) {
	s.began <- struct{}{}
	<-ctx.Done()
	return relay.Receipt{}, &mail.Error{Class: mail.Uncertain, Public: "cut off", Err: errors.New("cut off")}
}

func (stuck) Idempotent() bool { return false }
func (stuck) EightBit() bool   { return true }
func (stuck) LongLines() bool  { return true }
func (stuck) Close() error     { return nil }

func TestAMessageThatCannotBeRenderedPausesAndTheOthersGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var bad mail.ID
		s := start(t, newUpstream(nil), func(c *relay.Config) {
			render := c.Render
			c.Render = func(m *mail.Message, cp *mail.Copy) (mail.Content, error) {
				if m.Priority == mail.Transactional {
					panic("odd content")
				}
				return render(m, cp)
			}
		})
		b, _ := s.NewBody()
		m := mail.Message{ID: mail.NewID(time.Now()), State: mail.Sending, AcceptedAt: time.Now(), Priority: mail.Transactional}
		if err := s.Accept(t.Context(), b, []spool.Accepted{{Message: m, Copies: []mail.Copy{{To: "a@example.net"}}}}); err != nil {
			t.Fatal(err)
		}
		bad = m.ID
		until(t, s, submit(t, s, 10, true), mail.Done)
		if m := until(t, s, bad, mail.Paused); !strings.Contains(m.Reason, "odd content") || m.Counts[mail.Queued] != 1 {
			t.Errorf("got %+v", m)
		}
	})
}

func TestOrdinaryMailIsEncodedWhereUpstreamCannotCarryIt(t *testing.T) {
	for _, c := range []struct {
		name           string
		list, eightBit bool
		err            error
		header, reason string
	}{
		{"ordinary", false, false, nil, "Signed: x\r\nEncoded: x\r\nTo: user0@example.com\r\n", ""},
		{"upstream takes it", false, true, nil, "Signed: x\r\nTo: user0@example.com\r\n", ""},
		{"a list's", true, false, nil, "Signed: x\r\nTo: user0@example.com\r\n", ""},
		{"cannot be encoded", false, false, mail.Refuse(554, "5.6.3", "it is signed"), "", "554 5.6.3 it is signed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var header string
				up := newUpstream(func(d *relay.Delivery, _ int) error { header = string(d.Content.Header); return nil })
				up.eightBit = c.eightBit
				s := start(t, up, func(cfg *relay.Config) {
					cfg.SevenBit = func(m mail.Content) (mail.Content, error) { return m.Prepend([]byte("Encoded: x\r\n")), c.err }
					cfg.Sign = func(m mail.Content, _ mail.Address) (mail.Content, error) {
						return m.Prepend([]byte("Signed: x\r\n")), nil
					}
				})
				id := submit(t, s, 1, c.list)
				until(t, s, id, mail.Done)
				cp, err := s.CopyTo(id, "user0@example.com")
				if err != nil || header != c.header || cp.LastError != c.reason || (cp.State == mail.CopyFailed) != (c.err != nil) {
					t.Errorf("%q went, the copy is %+v, %v", header, cp, err)
				}
			})
		})
	}
}

func TestALostAnswerIsNotSentAgainForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := newUpstream(func(*relay.Delivery, int) error {
			return &mail.Error{Class: mail.Uncertain, Public: "no answer"}
		})
		s := start(t, up, nil)
		id := submit(t, s, 1, true)
		pass(24 * time.Hour)
		synctest.Wait()
		c, err := s.CopyTo(id, "user0@example.com")
		if err != nil || c.State != mail.Unknown || c.Claims != 4 {
			t.Fatalf("after a day: %+v, %v", c, err)
		}
		up.mu.Lock()
		up.answer = nil
		up.mu.Unlock()
		if n, err := s.Retry(t.Context(), id, ""); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		until(t, s, id, mail.Done)
	})
}

// A bounce of the operator's mailbox must not silence the gateway, and who has asked for
// a confirmation is suppressed until they confirm.
func TestSomeNoticesGoToSuppressedAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := newUpstream(nil)
		s := start(t, up, func(c *relay.Config) {
			c.Blocked = func(mail.Address, string) (mail.State, string, bool) { return mail.Suppressed, "bounced", true }
		})
		for kind, want := range map[mail.Notice]mail.State{mail.NoticeOperator: mail.Sent, mail.NoticeConfirm: mail.Sent,
			mail.NoticeFailed: mail.Suppressed, mail.NoticeReminder: mail.Suppressed, "": mail.Suppressed} {
			id := accept(t, s, mail.Message{Notice: kind, Priority: mail.Bulk}, 1)
			if m := until(t, s, id, mail.Done); m.Counts[want] != 1 {
				t.Errorf("%q: %v", kind, m.Counts)
			}
		}
	})
}
