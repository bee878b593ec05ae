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
