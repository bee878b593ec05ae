package relay_test

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"postern/mail"
	"postern/relay"
)

// window is how long a server may look back that takes so many copies a second.
const window = 1010 * time.Millisecond

// workload is a lane at work, without a spool: making a copy ready takes up to twice
// ready, upstream's answer up to twice answer.
type workload struct {
	rate          float64
	places        int
	copies        int
	ready, answer time.Duration
	seed          uint64
}

// handOvers runs it, in a bubble, and gives the times at which copies were handed over.
func (w workload) handOvers(t *testing.T) (times []time.Time) {
	t.Helper()
	g := relay.NewGate(w.rate)
	rng := rand.New(rand.NewPCG(w.seed, 1))
	var mu sync.Mutex
	random := func(mean time.Duration) time.Duration {
		mu.Lock()
		defer mu.Unlock()
		return 1 + time.Duration(rng.Float64()*2*float64(mean)) // the race detector breaks on timers of no time in a bubble
	}
	free, left := w.places, w.copies
	done := make(chan struct{}, w.places)
	for left > 0 || free < w.places {
		for _, p := range g.Claim(true, min(free, left)) {
			free, left = free-1, left-1
			go func() {
				pass(random(w.ready))
				if !g.Await(p, nil) {
					t.Error("no turn")
				}
				mu.Lock()
				times = append(times, time.Now())
				mu.Unlock()
				pass(random(w.answer))
				g.Done(p, mail.Temporary)
				done <- struct{}{}
			}()
		}
		select {
		case <-done:
			free++
		case <-g.Nudged():
		}
	}
	slices.SortFunc(times, time.Time.Compare)
	return times
}

// most is how many of the times fall into any window.
func most(times []time.Time) (n int) {
	first := 0
	for i := range times {
		for times[i].Sub(times[first]) >= window {
			first++
		}
		n = max(n, i-first+1)
	}
	return n
}

func achieved(times []time.Time) float64 {
	n := len(times) - 1
	return float64(n) / times[n].Sub(times[0]).Seconds()
}

// TestTurnsAreNeitherExceededNorWasted: however long a copy takes, as long as the
// places are enough.
func TestTurnsAreNeitherExceededNorWasted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { rapid.Check(undated{t}, turns(t)) })
}

// undated is a test that may not be asked for its deadline, as within a bubble.
type undated struct{ rapid.TB }

func turns(t *testing.T) func(*rapid.T) {
	return func(rt *rapid.T) {
		w := workload{rate: float64(rapid.IntRange(1, 600).Draw(rt, "rate")), seed: rapid.Uint64().Draw(rt, "seed")}
		w.copies = 5 + int(w.rate*3)
		w.places = rapid.IntRange(2, 128).Draw(rt, "places")
		busy := time.Duration(0.4 * float64(w.places) / w.rate * float64(time.Second)) // of a copy, in the mean; at most twice that
		busy = min(busy, 2*time.Second)
		// What is claimed ahead is made ready while the turns of a tenth of a second pass,
		// or that of one copy.
		w.ready = min(busy/2, 40*time.Millisecond, time.Duration(0.3*float64(time.Second)/w.rate*float64(max(1, int(w.rate/10)))))
		w.ready = time.Duration(rapid.Float64Range(0, 1).Draw(rt, "ready") * float64(w.ready))
		w.answer = time.Duration(rapid.Float64Range(0, 1).Draw(rt, "answer") * float64(busy-w.ready))
		times := w.handOvers(t)
		if n := most(times); n > int(w.rate) {
			rt.Fatalf("%d copies within %v at %v a second", n, window, w.rate)
		}
		if a := achieved(times); a < 0.97*w.rate {
			rt.Fatalf("%.2f copies a second at %v, ready %v, answer %v", a, w.rate, w.ready, w.answer)
		}
	}
}

// TestNothingGoesInBursts, at the start as well.
func TestNothingGoesInBursts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, rate := range []float64{0.5, 1, 14, 90} {
			times := workload{rate: rate, places: 20, copies: 40}.handOvers(t)
			step := time.Duration(float64(time.Second) / rate)
			for i := 1; i < len(times); i++ {
				if d := times[i].Sub(times[i-1]); d < step || d > step*103/100 {
					t.Fatalf("at %v a second copy %d came %v after the one before", rate, i, d)
				}
			}
		}
	})
}

func TestNothingIsCaughtUpAfterIdling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := relay.NewGate(20)
		send := func(n int) (times []time.Time) {
			for len(times) < n {
				for _, p := range g.Claim(true, n-len(times)) {
					g.Await(p, nil)
					times = append(times, time.Now())
					g.Done(p, mail.Temporary)
				}
			}
			return times
		}
		send(5)
		pass(time.Hour)
		times := send(10)
		for i := 1; i < len(times); i++ {
			if d := times[i].Sub(times[i-1]); d < 50*time.Millisecond {
				t.Errorf("copy %d came %v after the one before", i, d)
			}
		}
	})
}

// TestACopyThatWasSlowToArriveIsNotCountedTwice: a server counts when a copy arrives.
// When some take long on the way, and the copies a window later do not, so many would
// arrive within a second as it does not take.
func TestACopyThatWasSlowToArriveIsNotCountedTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rate = 50
		g := relay.NewGate(rate)
		var arrived []time.Time
		for i := 0; i < 5*rate; {
			for _, p := range g.Claim(true, 1) {
				g.Await(p, nil)
				way := time.Millisecond
				if i == rate { // the machine was busy
					way = 100 * time.Millisecond
				}
				pass(way)
				arrived = append(arrived, time.Now())
				pass(time.Millisecond)
				g.Done(p, mail.Temporary)
				i++
			}
		}
		for i := rate; i < len(arrived); i++ {
			if d := arrived[i].Sub(arrived[i-rate]); d < time.Second {
				t.Fatalf("copy %d arrived %v after that %d before it", i, d, rate)
			}
		}
	})
}

// TestTransactionalMailHasTheNextTurn: bulk mail that is claimed already lets it pass.
func TestTransactionalMailHasTheNextTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := relay.NewGate(1)
		var order []string
		var mu sync.Mutex
		send := func(name string, p *relay.Pass) {
			g.Await(p, nil)
			mu.Lock()
			defer mu.Unlock()
			order = append(order, name)
			g.Done(p, mail.Temporary)
		}
		first := g.Claim(true, 10)
		if len(first) != 1 {
			t.Fatalf("%d copies are claimed ahead at one a second", len(first))
		}
		send("bulk", first[0])
		go send("bulk", g.Claim(true, 10)[0])
		synctest.Wait()
		if n := len(g.Claim(true, 10)); n != 0 {
			t.Fatalf("%d more are claimed", n)
		}
		urgent := g.Claim(false, 10)
		if len(urgent) != 1 {
			t.Fatalf("%d urgent ones are claimed, want 1", len(urgent))
		}
		began := time.Now()
		send("urgent", urgent[0])
		if waited := time.Since(began); waited > window {
			t.Errorf("it waited for %v", waited)
		}
		pass(3 * time.Second)
		synctest.Wait()
		if !slices.Equal(order, []string{"bulk", "urgent", "bulk"}) {
			t.Errorf("%q", order)
		}
	})
}
