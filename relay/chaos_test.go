package relay_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"postern/mail"
	"postern/relay"
)

// Whatever upstream, operators and breakers do to a lane for an hour: when all is well
// again every copy goes out, once, and nothing is left claimed, paused or foreseen.
func TestNothingStaysStuckWhenAllIsWellAgain(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { trouble(t, rand.New(rand.NewPCG(seed, 1))) })
		})
	}
}

func trouble(t *testing.T, rnd *rand.Rand) {
	p, s := newProvider([]float64{1, 5, 14, 100}[rnd.IntN(4)], []float64{200, 5000, -1}[rnd.IntN(3)]), open(t)
	ill := func() error { return nil }
	healthy := p.upstream.answer
	p.upstream.answer = func(d *relay.Delivery, n int) error {
		p.mu.Lock()
		err := ill()
		p.mu.Unlock()
		if err != nil {
			pass(p.answer)
			return err
		}
		return healthy(d, n)
	}
	lane := p.lane()
	lane.Rate = []float64{0, 0, 3}[rnd.IntN(3)]
	r, stop := run(t, s, lane, shopBreaker)
	var ids []mail.ID
	for range 40 {
		switch rnd.IntN(10) {
		case 0, 1:
			ids = append(ids, list(t, s, 1+rnd.IntN(40)))
		case 2:
			ids = append(ids, accept(t, s, mail.Message{Priority: mail.Transactional, Expanded: true}, 1))
		case 3:
			_ = r.PauseLane(t.Context(), "lane", "by hand")
		case 4:
			_ = r.ResumeLane(t.Context(), "lane")
		case 5:
			p.set(func() { p.account.Paused = !p.account.Paused })
		case 6:
			class := []mail.Class{mail.Throttled, mail.QuotaSpent, mail.Unreachable, mail.AccountWide, mail.MessageWide}[rnd.IntN(5)]
			p.set(func() {
				ill = func() error { return &mail.Error{Class: class, Public: "trouble", RetryAfter: 15 * time.Minute} }
			})
		case 7:
			p.set(func() { ill = func() error { return nil } })
		case 8:
			p.set(func() { p.refuse = []error{nil, errors.New("no")}[rnd.IntN(2)] })
		case 9:
			if len(ids) > 0 {
				id := ids[rnd.IntN(len(ids))]
				if s.Pause(t.Context(), id, "by hand") != nil {
					_ = s.Resume(t.Context(), id)
				}
			}
			if rnd.IntN(3) == 0 {
				stop()
				r, stop = run(t, s, lane, shopBreaker)
			}
		}
		pass(time.Duration(rnd.IntN(120_000)) * time.Millisecond)
	}
	p.set(func() {
		ill, p.refuse, p.account.Paused, p.account.Max24 = func() error { return nil }, nil, false, -1
	})
	if err := r.ResumeLane(t.Context(), "lane"); err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		if m, err := s.Message(id); err == nil && m.State == mail.Paused && m.Stopped == nil {
			if err := s.Resume(context.Background(), id); err != nil {
				t.Fatal(err)
			}
		}
	}
	pass(2 * time.Hour)
	synctest.Wait()
	for _, id := range ids {
		m, err := s.Message(id)
		if err != nil || m.State != mail.Done || m.Forecast != nil || m.Counts[mail.Sent] != m.Counts.Total() {
			t.Errorf("%s: %v %s %+v %q; the lane: %+v", m.State, m.Counts, m.Priority, m.Stopped, m.Reason, r.Lanes()[0])
		}
	}
	for tag, n := range p.upstream.sent {
		if n != 1 {
			t.Errorf("%s was sent %d times", tag, n)
		}
	}
}
