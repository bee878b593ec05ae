package templates_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postern/expand"
	"postern/expand/templates"
	"postern/mail"
)

// source is a Source that a test plays.
type source struct {
	mu       sync.Mutex
	fetches  map[string]int
	lists    int
	at, most int // fetches at the same time
	takes    time.Duration
	fail     error // of every fetch
	failList error
	of       map[string]*expand.Template
}

func newSource(ids ...string) *source {
	s := &source{fetches: map[string]int{}, of: map[string]*expand.Template{}}
	for _, id := range ids {
		s.of[id] = &expand.Template{ID: id, Text: "first"}
	}
	return s
}

func (s *source) Template(ctx context.Context, id string) (*expand.Template, error) {
	s.mu.Lock()
	s.fetches[id]++
	s.at++
	s.most = max(s.most, s.at)
	takes, err, t := s.takes, s.fail, s.of[id]
	s.mu.Unlock()
	defer func() { s.mu.Lock(); s.at--; s.mu.Unlock() }()
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		return nil, &mail.Error{Class: mail.Unreachable, Public: "the source does not answer in time", Err: ctx.Err()}
	}
	switch {
	case err != nil:
		return nil, err
	case t == nil:
		return nil, &mail.Error{Class: mail.Permanent, Code: 550, Enhanced: "5.1.1", Public: "there is no template " + id, Err: templates.ErrUnknown}
	}
	return t, nil
}

func (s *source) List(context.Context) (all []templates.Info, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lists++
	for id := range s.of {
		all = append(all, templates.Info{ID: id})
	}
	return all, cmp.Or(s.failList, s.fail)
}

// set changes what the source says from now on.
func (s *source) set(f func()) { s.mu.Lock(); defer s.mu.Unlock(); f() }

func (s *source) count() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.fetches {
		n += c
	}
	return n
}

func errDown() error {
	return &mail.Error{Class: mail.Unreachable, Public: "the source cannot be reached"}
}

// got holds what Get answers: a text, or an error of a class.
func got(t *testing.T, c *templates.Cache, id, want string) templates.Found {
	t.Helper()
	f, err := c.Get(t.Context(), id)
	if err != nil {
		t.Errorf("%s: %v", id, err)
	} else if f.Template.Text != want {
		t.Errorf("%s is %q, want %q", id, f.Template.Text, want)
	}
	return f
}

func TestATemplateIsFetchedOnceInItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource("a", "b", "c")
		s.takes = time.Second
		c := templates.NewCache(s, 10*time.Minute, nil)
		for round := 1; round <= 3; round++ {
			var all sync.WaitGroup
			for i := range 200 { // more than 255 at once are too many for the race detector
				all.Go(func() {
					select {
					case <-time.After(time.Duration(i%7) * 300 * time.Millisecond): // some come while it is fetched, some after
					case <-t.Context().Done():
					}
					for turn := range 3 {
						got(t, c, string(rune('a'+(i+turn)%3)), "first")
					}
				})
			}
			all.Wait()
			for id, n := range s.fetches {
				if n != round {
					t.Errorf("round %d: %s was fetched %d times", round, id, n)
				}
			}
			if f := got(t, c, "a", "first"); f.Age <= 0 || f.Note != "" {
				t.Errorf("the age is %v, the note %q", f.Age, f.Note)
			}
			pass(10 * time.Minute)
		}
	})
}

// pass lets time pass in a bubble.
func pass(d time.Duration) { <-time.After(d) }

func TestAnEditIsSeenAfterItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource("a")
		c := templates.NewCache(s, time.Minute, nil)
		got(t, c, "a", "first")
		s.set(func() { s.of["a"] = &expand.Template{ID: "a", Text: "second"} })
		pass(time.Minute - 1)
		got(t, c, "a", "first")
		pass(1)
		got(t, c, "a", "second")
	})
}

func TestWithoutATimeEveryMessageAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource("a")
		c := templates.NewCache(s, 0, nil)
		for range 3 {
			got(t, c, "a", "first")
		}
		if s.count() != 3 {
			t.Errorf("%d fetches", s.count())
		}
	})
}

// The one who asked first goes away; the others get what was being fetched.
func TestACallerThatLeavesDoesNotFailTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource("a")
		s.takes = 2 * time.Second
		c := templates.NewCache(s, time.Minute, nil)
		var all sync.WaitGroup
		all.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if _, err := c.Get(ctx, "a"); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("the first got %v", err)
			}
		})
		synctest.Wait()
		for range 10 {
			all.Go(func() { got(t, c, "a", "first") })
		}
		all.Wait()
		if s.count() != 1 {
			t.Errorf("%d fetches", s.count())
		}
	})
}

func TestAnOlderTemplateServesThroughAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		s := newSource("a", "b")
		c := templates.NewCache(s, time.Minute, slog.New(slog.NewTextHandler(&log, nil)))
		got(t, c, "a", "first")
		got(t, c, "b", "first")
		for outage := 1; outage <= 2; outage++ {
			before := s.count()
			s.set(func() { s.fail = errDown() })
			pass(time.Minute)
			for range 100 { // 50 s with two messages a second
				for _, id := range []string{"a", "b"} {
					if f := got(t, c, id, "first"); f.Age < time.Minute || !strings.Contains(f.Note, "cannot be reached") || !strings.Contains(f.Note, "the template "+id+" is the one of 1m") {
						t.Fatalf("age %v, note %q", f.Age, f.Note)
					}
				}
				pass(500 * time.Millisecond)
			}
			if n := s.count() - before; n != 20 {
				t.Errorf("%d fetches in 50 s of outage: want one in 5 s for each of two templates", n)
			}
			if n := strings.Count(log.String(), "level=WARN"); n != outage {
				t.Errorf("%d warnings in %d outages:\n%s", n, outage, log.String())
			}
			s.set(func() { s.fail = nil })
			pass(5 * time.Second)
			if f := got(t, c, "a", "first"); f.Note != "" || f.Age != 0 {
				t.Errorf("after the outage: age %v, note %q", f.Age, f.Note)
			}
			got(t, c, "b", "first")
			if n := strings.Count(log.String(), "can be fetched again"); n != outage {
				t.Errorf("%d recoveries in %d outages:\n%s", n, outage, log.String())
			}
		}
	})
}

func TestAnOutageBeforeTheFirstFetchIsTemporary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource("a")
		c := templates.NewCache(s, time.Minute, nil)
		for class, enhanced := range map[mail.Class]string{mail.Unreachable: "4.4.1", mail.Throttled: "4.4.5", mail.AccountWide: "4.4.0", mail.Temporary: "4.4.0"} {
			s.set(func() { s.fail = &mail.Error{Class: class, Public: "the source is ill"} })
			before := s.count()
			for range 10 {
				_, err := c.Get(t.Context(), "a")
				says(t, err, mail.Temporary, "the template a cannot be fetched now", "the source is ill", "later")
				if e := err.(*mail.Error); e.Code != 451 || e.Enhanced != enhanced {
					t.Errorf("%v: %d %s", class, e.Code, e.Enhanced)
				}
			}
			if n := s.count() - before; n != 1 {
				t.Errorf("%d fetches for ten messages", n)
			}
			pass(5 * time.Second)
		}
		s.set(func() { s.fail = errors.New("a plain error") })
		_, err := c.Get(t.Context(), "a")
		says(t, err, mail.Temporary, "a plain error")
		s.set(func() { s.fail = nil })
		pass(5 * time.Second)
		got(t, c, "a", "first")
	})
}

// Mails do not wait long for a source that hangs when an older template is there.
func TestASlowSourceIsNotWaitedForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource("a", "b")
		c := templates.NewCache(s, time.Minute, nil)
		got(t, c, "a", "first")
		pass(time.Minute)
		s.set(func() { s.takes = time.Hour; s.of["a"] = &expand.Template{ID: "a", Text: "second"} })
		start := time.Now()
		if f := got(t, c, "a", "first"); time.Since(start) != 5*time.Second || !strings.Contains(f.Note, "not answered yet") {
			t.Errorf("after %v: %q", time.Since(start), f.Note)
		}
		start = time.Now()
		_, err := c.Get(t.Context(), "b")
		says(t, err, mail.Temporary, "in time")
		if d := time.Since(start); d > time.Minute {
			t.Errorf("nothing is kept, and Get took %v", d)
		}
		pass(time.Minute)
		s.set(func() { s.takes = 8 * time.Second })
		got(t, c, "a", "first")
		pass(4 * time.Second) // what was slow came nevertheless
		if f := got(t, c, "a", "second"); f.Note != "" {
			t.Errorf("note %q", f.Note)
		}
	})
}

func TestAnUnknownTemplateIsRefusedWithTheNamesThatThereAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource("spring", "summer", "autumn")
		c := templates.NewCache(s, time.Minute, nil)
		refused := func(id string, parts ...string) {
			t.Helper()
			_, err := c.Get(t.Context(), id)
			says(t, err, mail.Permanent, parts...)
			if e, ok := err.(*mail.Error); !ok || e.Code != 550 || e.Enhanced != "5.1.1" || !errors.Is(err, templates.ErrUnknown) {
				t.Errorf("%s: %v", id, err)
			}
		}
		refused("Sprnig", `no template "Sprnig"`, "there are spring, summer, autumn")
		for i := range 20 {
			s.set(func() { s.of[fmt.Sprint("more", i)] = &expand.Template{} })
		}
		pass(5 * time.Second)
		refused("sumer", "there are summer, ", " and 13 more")
		refused("not a name", "use 1 to 64 of the letters")
		refused("", "use 1 to 64 of the letters")
		refused("a\r\nb", `"a\r\nb"`)
		s.set(func() { clear(s.of) })
		pass(5 * time.Second)
		refused("spring", "there is none at all yet")
	})
}

func TestAFloodOfUnknownNamesAsksLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource("spring")
		s.takes = 100 * time.Millisecond
		c := templates.NewCache(s, time.Minute, nil)
		flood := func(n int, name func(int) string) int {
			before := s.count() + s.lists
			var all sync.WaitGroup
			for i := range n {
				all.Go(func() {
					if _, err := c.Get(t.Context(), name(i)); !errors.Is(err, templates.ErrUnknown) {
						t.Errorf("%v", err)
					}
				})
			}
			all.Wait()
			return s.count() + s.lists - before
		}
		if n := flood(500, func(i int) string { return fmt.Sprint("x", i) }); n > 5 {
			t.Errorf("%d questions for 500 names at once", n)
		}
		if n := flood(500, func(i int) string { return fmt.Sprint("y", i) }); n != 0 {
			t.Errorf("%d questions for 500 more", n)
		}
		// When the names cannot be had, each name is remembered by itself.
		s.set(func() { s.failList = errDown() })
		pass(5 * time.Second)
		if n := flood(500, func(int) string { return "z" }); n != 2 {
			t.Errorf("%d questions for one name", n)
		}
		// Who makes the template now does not wait long.
		s.set(func() { s.of["z"] = &expand.Template{ID: "z", Text: "made"} })
		pass(5 * time.Second)
		got(t, c, "z", "made")
	})
}

func TestATemplateThatWasRemovedOrBrokenIsNotUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource("a", "b")
		c := templates.NewCache(s, time.Minute, nil)
		got(t, c, "a", "first")
		got(t, c, "b", "first")
		pass(time.Minute)
		s.set(func() { delete(s.of, "a") })
		_, err := c.Get(t.Context(), "a")
		says(t, err, mail.Permanent, "no template", "there are b")
		s.set(func() { s.fail = mail.Refuse(550, "5.3.5", "the template b cannot be used: why") })
		for range 10 {
			_, err = c.Get(t.Context(), "b")
			says(t, err, mail.Permanent, "why")
		}
		if s.fetches["b"] != 2 {
			t.Errorf("%d fetches", s.fetches["b"])
		}
		s.set(func() { s.fail = errDown() }) // what was dropped does not come back
		pass(5 * time.Second)
		_, err = c.Get(t.Context(), "b")
		says(t, err, mail.Temporary, "cannot be reached")
	})
}

func TestMemoryIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		for i := range 120 {
			id := fmt.Sprint("t", i)
			s.of[id] = &expand.Template{ID: id, Text: "first"}
		}
		c := templates.NewCache(s, time.Hour, nil)
		for i := range 120 {
			got(t, c, fmt.Sprint("t", i), "first")
			got(t, c, "t0", "first") // used all the time
		}
		if s.count() != 120 {
			t.Fatalf("%d fetches", s.count())
		}
		for i := 119; i > 20; i-- {
			got(t, c, fmt.Sprint("t", i), "first")
		}
		got(t, c, "t0", "first")
		if s.count() != 120 {
			t.Errorf("%d fetches: the last hundred are not kept", s.count())
		}
		got(t, c, "t1", "first")
		if s.count() != 121 {
			t.Errorf("%d fetches: more than a hundred are kept", s.count())
		}
	})
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		data := make([]byte, 9<<20)
		for i := range 7 {
			id := fmt.Sprint("t", i)
			s.of[id] = &expand.Template{ID: id, Text: "first", Images: []expand.Image{{Data: data}}}
		}
		c := templates.NewCache(s, time.Hour, nil)
		for i := range 7 {
			got(t, c, fmt.Sprint("t", i), "first")
		}
		for i := 6; i > 1; i-- {
			got(t, c, fmt.Sprint("t", i), "first")
		}
		if s.count() != 7 {
			t.Errorf("%d fetches: 45 MB are not kept", s.count())
		}
		got(t, c, "t1", "first")
		if s.count() != 8 {
			t.Errorf("%d fetches: more than 50 MB are kept", s.count())
		}
	})
}
