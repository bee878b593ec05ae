package directory_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"postern/directory"
	"postern/mail"
)

func soft(t testing.TB, x *directory.Index, addr mail.Address, when time.Time) bool {
	t.Helper()
	is, err := x.SoftBounce(context.Background(), addr, when, when.Format(time.DateOnly), directory.Evidence{Words: "452 4.2.2 mailbox full", Status: "4.2.2", UserKey: addr})
	if err != nil {
		t.Fatal(err)
	}
	return is
}

func TestFiveSoftBouncesOnOneDayCountOnce(t *testing.T) {
	x := newIndex(t)
	for n := range 10 {
		if soft(t, x, "kim@example.com", at().Add(time.Duration(n)*time.Minute)) {
			t.Fatalf("suppressed by bounce %d of one day", n+1)
		}
	}
	wantBlocked(t, x, "kim@example.com", "promo", "")
}

func TestFiveDaysWithinThirtySuppress(t *testing.T) {
	x := newIndex(t)
	for n, when := range []int{0, 29, 7, 14} {
		if soft(t, x, "Kim@example.com", day(when)) || soft(t, x, "kim@example.com", day(when)) {
			t.Fatalf("suppressed by day %d", n+1)
		}
	}
	if !soft(t, x, "KIM@example.com", day(15)) {
		t.Fatal("the fifth day does not suppress")
	}
	s, _, err := x.Suppression("kim@example.com")
	if err != nil || s.Kind != directory.KindSoftBounces || s.Reason != "mail did not reach it on 5 days within 30, the last time on 2026-12-21: 452 4.2.2 mailbox full" || s.Evidence.Status != "4.2.2" || !s.At.Equal(day(15)) {
		t.Errorf("%+v, %v", s, err)
	}
	if soft(t, x, "kim@example.com", day(16)) {
		t.Error("suppressed twice")
	}
	if ledger, err := x.Ledger(0, 10); err != nil || len(ledger) != 1 || ledger[0].Why != directory.KindSoftBounces {
		t.Errorf("%+v, %v", ledger, err)
	}
	wantPending(t, x, 1)
}

func TestOlderDaysAreForgotten(t *testing.T) {
	x := newIndex(t)
	for _, n := range []int{0, 1, 2, 30, 31, 32, 60, 61, 62, 90} {
		if soft(t, x, "kim@example.com", day(n)) {
			t.Fatalf("suppressed on day %d", n)
		}
	}
}

func TestALiftingForgetsSoftBouncesAndThoseBeforeIt(t *testing.T) {
	x := newIndex(t)
	for n := range 5 {
		soft(t, x, "kim@example.com", day(n))
	}
	lift(t, x, "kim@example.com", day(6))
	for n := range 7 {
		if soft(t, x, "kim@example.com", day(n)) {
			t.Fatal("a bounce from before the lifting counts")
		}
	}
	for n := range 4 {
		if soft(t, x, "kim@example.com", day(7+n)) {
			t.Fatal("days from before the lifting count")
		}
	}
	suppress(t, x, bounced("kim@example.com", day(11)))
	lift(t, x, "kim@example.com", day(11))
	for n := range 5 { // the four days from before it are forgotten
		if is := soft(t, x, "kim@example.com", day(12+n)); is != (n == 4) {
			t.Fatalf("day %d after the second lifting: %v", n+1, is)
		}
	}
}

// softModel is the rule in its plainest form: all that ever came, asked anew.
type softModel struct {
	bounces    map[int]bool // days since at(), after the last lifting
	suppressed bool         // by bounces or by hand
	lifted     time.Time
}

func (m *softModel) bounce(n int) (suppresses bool) {
	if m.suppressed || !m.lifted.IsZero() && !day(n).After(m.lifted) {
		return false
	}
	latest := n
	for d := range m.bounces {
		latest = max(latest, d)
	}
	if n < latest-29 {
		return false
	}
	m.bounces[n] = true
	within := 0
	for d := range m.bounces {
		if d > latest-30 {
			within++
		}
	}
	m.suppressed = within >= 5
	return m.suppressed
}

// TestSoftBouncesBehaveLikeTheirModel plays bounces in any order, some twice,
// liftings, forgetting and crashes.
func TestSoftBouncesBehaveLikeTheirModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp("", "soft-model-")
		if err != nil {
			rt.Fatal(err)
		}
		defer os.RemoveAll(dir)
		path := filepath.Join(dir, "optout.db")
		x, err := directory.OpenIndex(path)
		if err != nil {
			rt.Fatal(err)
		}
		defer func() { _ = x.Close() }()
		models := map[mail.Address]*softModel{}
		who := rapid.SampledFrom([]mail.Address{"a@example.com", "b@example.com"})
		today := 0 // days pass, and events come late by up to 40 of them
		of := func(addr mail.Address) *softModel {
			if models[addr] == nil {
				models[addr] = &softModel{bounces: map[int]bool{}}
			}
			return models[addr]
		}
		rt.Repeat(map[string]func(*rapid.T){
			"bounce": func(rt *rapid.T) {
				addr, n := who.Draw(rt, "who"), today-rapid.IntRange(0, 40).Draw(rt, "late")
				want := of(addr).bounce(n)
				got, err := x.SoftBounce(context.Background(), addr, day(n), day(n).Format(time.DateOnly), directory.Evidence{})
				if err != nil || got != want {
					rt.Fatalf("%s, day %d: %v, %v; want %v", addr, n, got, err, want)
				}
			},
			"a day passes": func(rt *rapid.T) { today += rapid.IntRange(1, 12).Draw(rt, "days") },
			"by hand": func(rt *rapid.T) {
				addr := who.Draw(rt, "who")
				changed, err := x.Suppress(context.Background(), directory.Suppression{Address: addr, Kind: directory.KindManual, At: day(today)})
				if err != nil || changed == of(addr).suppressed {
					rt.Fatalf("%s: %v, %v; suppressed is %v", addr, changed, err, of(addr).suppressed)
				}
				of(addr).suppressed = true
			},
			"lift": func(rt *rapid.T) {
				addr := who.Draw(rt, "who")
				m := of(addr)
				_, err := x.Unsuppress(context.Background(), addr, directory.Lift{At: day(today)})
				if (err == nil) != m.suppressed {
					rt.Fatalf("%s: %v; suppressed is %v", addr, err, m.suppressed)
				}
				if err == nil {
					*m = softModel{bounces: map[int]bool{}, lifted: day(today)}
				}
			},
			"open again": func(rt *rapid.T) {
				if err := x.Close(); err != nil {
					rt.Fatal(err)
				}
				if x, err = directory.OpenIndex(path); err != nil {
					rt.Fatal(err)
				}
			},
			"": func(rt *rapid.T) {
				for addr, m := range models {
					if b, blocked := x.Blocked(addr, ""); blocked != m.suppressed {
						rt.Fatalf("%s: %+v; want %v", addr, b, m.suppressed)
					}
				}
			},
		})
	})
}

func TestWhatCanChangeNothingIsForgotten(t *testing.T) {
	x := newIndex(t)
	soft(t, x, "old@example.com", day(0))
	soft(t, x, "new@example.com", day(20))
	for _, addr := range []mail.Address{"a@example.com", "b@example.com"} {
		suppress(t, x, bounced(addr, day(-400)))
	}
	lift(t, x, "a@example.com", day(-380))
	lift(t, x, "b@example.com", day(-360))
	forget := func(when time.Time, want int) {
		t.Helper()
		if n, err := x.Forget(t.Context(), when); err != nil || n != want {
			t.Errorf("%d forgotten, %v; want %d", n, err, want)
		}
	}
	forget(day(20), 0)
	forget(day(35), 2)
	forget(day(35), 0)
	if suppress(t, x, bounced("b@example.com", day(-370))) {
		t.Error("the younger lifting is forgotten too")
	}
	for n := range 4 {
		if got, want := soft(t, x, "new@example.com", day(21+n)), n == 3; got != want {
			t.Errorf("day %d: %v", n, got)
		}
	}
}

func TestForgettingGoesThroughAllOfALongList(t *testing.T) {
	x := newIndex(t)
	var file strings.Builder
	file.WriteString("Address,At\n")
	for n := range 12_000 {
		fmt.Fprintf(&file, "u%05d@example.com,%s\n", n, day(-500).Format(time.RFC3339))
	}
	if _, err := x.ImportSuppressions(t.Context(), strings.NewReader(file.String()), "test", at(), nil); err != nil {
		t.Fatal(err)
	}
	work := make(chan mail.Address)
	done := make(chan struct{})
	for range 64 {
		go func() {
			for addr := range work {
				lift(t, x, addr, day(-450))
			}
			done <- struct{}{}
		}()
	}
	for n := range 12_000 {
		work <- mail.Address(fmt.Sprintf("u%05d@example.com", n))
	}
	close(work)
	for range 64 {
		<-done
	}
	if n, err := x.Forget(t.Context(), at()); err != nil || n != 12_000 {
		t.Errorf("%d, %v", n, err)
	}
}

// Run forgets every day without being asked.
func TestRunForgetsEveryDay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newIndex(t)
		start := time.Now() // of the bubble
		soft(t, x, "kim@example.com", start)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { x.Run(ctx, newMemory(), slog.New(slog.DiscardHandler)); close(ended) }()
		<-time.After(40 * 24 * time.Hour)
		synctest.Wait()
		if n, err := x.Forget(t.Context(), time.Now()); err != nil || n != 0 {
			t.Errorf("%d rows were left to be forgotten, %v", n, err)
		}
		cancel()
		<-ended
	})
}
