package mysqlsync_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"postern/directory/mysqlsync"
)

// TestTheLoop makes a pass each interval, tries a failed one again ever later, and ends with
// its context.
func TestTheLoop(t *testing.T) {
	w := newWorld(t)
	w.shop(3)
	synctest.Test(t, func(t *testing.T) {
		var passes, broken atomic.Int32
		w.table.before = func(what string) error {
			if what != "Changed" && what != "ByKey" {
				return nil
			}
			passes.Add(1)
			if broken.Load() > 0 {
				return errors.New("MySQL is away")
			}
			return nil
		}
		s, err := mysqlsync.New(w.cfg)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { s.Loop(ctx, time.Hour); close(done) }()
		passed := func(d time.Duration) int32 {
			passes.Store(0)
			<-time.After(d)
			synctest.Wait()
			return passes.Load()
		}
		if passed(time.Minute) == 0 {
			t.Error("no pass at the start")
		}
		if passed(58*time.Minute) != 0 || passed(2*time.Minute) == 0 {
			t.Error("the second pass is not an hour after the first")
		}
		broken.Store(1)
		passed(58 * time.Minute)
		// At once, and after 1, 2, 4, 8, 16, 32 minutes.
		if n := passed(64*time.Minute + 30*time.Second); n != 7 {
			t.Errorf("%d tries in the first hour of an outage", n)
		}
		broken.Store(0)
		if passed(time.Hour) == 0 {
			t.Error("it does not go on after the outage")
		}
		cancel()
		<-done
	})
	st, err := w.sync.Status()
	if err != nil || !st.Loaded {
		t.Errorf("%+v %v", st, err)
	}
	synctest.Test(t, func(t *testing.T) { // a restart does not begin anew before it is time
		var passes atomic.Int32
		w.table.before = func(string) error { passes.Add(1); return nil }
		s, err := mysqlsync.New(w.cfg)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { s.Loop(ctx, 1000000*time.Hour); close(done) }()
		<-time.After(time.Minute)
		synctest.Wait()
		if n := passes.Load(); n != 0 {
			t.Errorf("%d reads", n)
		}
		cancel()
		<-done
	})
}
