package sesfake_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"postern/internal/peer"
	"postern/relay/ses/sesfake"
)

// TestAnEmulatorOfSQSTakesTheEvents, which nobody on this project wrote.
func TestAnEmulatorOfSQSTakesTheEvents(t *testing.T) {
	q := peer.StartFauxqs(t)
	queue := q.Queue(t, "events", nil)
	f := &sesfake.Feed{Queue: queue}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- f.Run(ctx) }()
	for i := range 1000 {
		m := sent()
		m.ID = fmt.Sprint(i)
		f.Hear(m)
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for f.Sent() < 2000 {
		select {
		case <-tick.C:
		case err := <-done:
			t.Fatal(err)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n := q.Left(t, queue); n != 2000 {
		t.Errorf("the queue holds %d", n)
	}
}
