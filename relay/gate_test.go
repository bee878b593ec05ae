package relay_test

import (
	"testing"
	"time"

	"postern/mail"
	"postern/relay"
)

// TestAThrottledLaneWithoutARateIsFreeAgainInTheEnd: the lowered rate grows for as
// long as nobody complains, and must neither overflow nor stay "slowed" for ever.
func TestAThrottledLaneWithoutARateIsFreeAgainInTheEnd(t *testing.T) {
	g := relay.NewGate(0)
	now := at
	g.Begin(4, now)
	for range 4 {
		g.End(mail.Throttled, false, "too fast", 0, now)
	}
	if g.Rate() <= 0 {
		t.Fatal("a throttle does not slow the lane")
	}
	for range 3600 {
		now = now.Add(time.Second)
		n, _ := g.Allow(1, now)
		g.Begin(n, now)
		for range n {
			g.End(mail.Temporary, true, "", 0, now)
		}
	}
	if g.Rate() != 0 {
		t.Errorf("after an hour without a throttle the rate is %g, want none", g.Rate())
	}
	if n, _ := g.Allow(1000, now.Add(time.Second)); n != 1000 {
		t.Errorf("the lane allows %d of 1000", n)
	}
}

func TestARateBeyondAllMeasureStopsNothing(t *testing.T) {
	g := relay.NewGate(1e12)
	if n, _ := g.Allow(10, at); n != 10 {
		t.Errorf("allows %d of 10", n)
	}
}

// TestAProbeThatTellsNothingIsNotRepeatedAtOnce: while a lane is paused, a probe
// whose result nobody knows leaves a copy uncertain; one after the other would
// leave all of them so.
func TestAProbeThatTellsNothingIsNotRepeatedAtOnce(t *testing.T) {
	g := relay.NewGate(0)
	g.Begin(1, at)
	g.End(mail.Unreachable, false, "refused", 0, at)
	now := at.Add(time.Second)
	if n, _ := g.Allow(4, now); n != 1 {
		t.Fatalf("%d probes, want 1", n)
	}
	g.Begin(1, now)
	g.End(mail.Uncertain, false, "no answer", 0, now)
	if n, next := g.Allow(4, now); n != 0 || next.Sub(now) < time.Second {
		t.Errorf("after it %d more are allowed, the next at %v", n, next.Sub(now))
	}
	g.Begin(1, now.Add(time.Minute))
	g.End(mail.Temporary, true, "", 0, now.Add(time.Minute))
	if n, _ := g.Allow(4, now.Add(time.Minute)); n != 4 {
		t.Errorf("the lane works and allows %d of 4", n)
	}
}

func TestAnUnknownResultAloneDoesNotPauseALane(t *testing.T) {
	g := relay.NewGate(0)
	g.Begin(1, at)
	g.End(mail.Uncertain, false, "no answer", 0, at)
	if n, _ := g.Allow(4, at); n != 4 {
		t.Errorf("allows %d of 4", n)
	}
}

// TestUnknownResultsInARowPauseALane: an upstream that answers nothing clear would
// else leave a whole campaign uncertain.
func TestUnknownResultsInARowPauseALane(t *testing.T) {
	g := relay.NewGate(0)
	end := func(class mail.Class, reached bool, n int) (changed int) {
		for range n {
			g.Begin(1, at)
			if g.End(class, reached, "500 from upstream", 0, at) {
				changed++
			}
		}
		return changed
	}
	if end(mail.Uncertain, false, 19)+end(mail.Temporary, true, 1)+end(mail.Uncertain, false, 19) != 0 {
		t.Fatal("paused, though one in twenty was answered")
	}
	if end(mail.Uncertain, false, 3) != 1 {
		t.Fatal("not paused after 20 in a row")
	}
	if n, next := g.Allow(10, at); n != 0 || !next.Equal(at.Add(time.Second)) {
		t.Fatalf("allows %d, the next at %v", n, next)
	}
	now := at.Add(time.Second)
	if n, _ := g.Allow(10, now); n != 1 {
		t.Fatalf("%d probes", n)
	}
	g.Begin(1, now)
	if !g.End(mail.Temporary, true, "", 0, now) {
		t.Fatal("an answer does not open the lane")
	}
}

func TestAThrottleEarlyInASecondKnowsTheSecondBefore(t *testing.T) {
	g := relay.NewGate(0)
	g.Begin(400, at)
	g.Begin(10, at.Add(time.Second))
	g.End(mail.Throttled, false, "", 0, at.Add(time.Second))
	if g.Rate() != 200 {
		t.Fatalf("after 400 copies a second the rate is %v, want 200", g.Rate())
	}
}

func TestGatePausesProbesAndResumes(t *testing.T) {
	g := relay.NewGate(0)
	if n, _ := g.Allow(10, at); n != 10 {
		t.Fatalf("an open gate allows %d of 10", n)
	}
	g.Begin(10, at)
	for i := range 10 {
		if changed := g.End(mail.Unreachable, false, "refused", 0, at); changed != (i == 0) {
			t.Fatalf("end %d: changed %v", i, changed)
		}
	}
	if n, next := g.Allow(10, at); n != 0 || !next.Equal(at.Add(time.Second)) {
		t.Fatalf("paused: allows %d, next %v", n, next)
	}
	now := at
	for _, wait := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
		now = now.Add(wait * time.Second)
		if n, _ := g.Allow(10, now.Add(-time.Millisecond)); n != 0 {
			t.Fatalf("%v too early", wait)
		}
		n, _ := g.Allow(10, now)
		if n != 1 {
			t.Fatalf("the probe after %d s: allows %d, want 1", wait, n)
		}
		g.Begin(1, now)
		if n, _ := g.Allow(10, now); n != 0 {
			t.Fatal("a second probe while the first is under way")
		}
		g.End(mail.Unreachable, false, "refused", 0, now)
	}
	now = now.Add(time.Minute)
	g.Begin(1, now)
	if !g.End(mail.Temporary, true, "", 0, now) {
		t.Fatal("a success does not open the gate")
	}
	if n, _ := g.Allow(10, now); n != 10 {
		t.Fatalf("open again: allows %d", n)
	}
}

func TestGateSlowsDownAndRecovers(t *testing.T) {
	g := relay.NewGate(90)
	now := at
	g.Begin(1, now)
	g.End(mail.Throttled, false, "", 0, now)
	if g.Rate() != 60 {
		t.Fatalf("after one throttle the rate is %v, want 60", g.Rate())
	}
	for range 20 {
		now = now.Add(time.Second)
		g.Allow(1, now)
	}
	if g.Rate() != 90 {
		t.Fatalf("after 20 quiet seconds the rate is %v, want 90 again", g.Rate())
	}
}
