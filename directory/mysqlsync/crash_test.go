package mysqlsync_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"postern/directory"
	"postern/directory/mysqlsync"
)

// cuts runs a scene in a world of its own for each write of the directory at which its pass
// can be cut off, before the write and after it, and goes on with a new pass. Every one has
// to end as the world without a cut.
func cuts(t *testing.T, scene func(*world), wantAfter func(*world)) {
	whole := newWorld(t)
	scene(whole)
	before := whole.store.writes
	whole.pass(mysqlsync.Options{})
	want, writes := whole.all(), whole.store.writes-before
	if wantAfter != nil {
		wantAfter(whole)
	}
	if writes < 2 {
		t.Fatalf("only %d writes to cut", writes)
	}
	for n := 1; n <= writes; n++ {
		for _, after := range []bool{false, true} {
			w := newWorld(t)
			scene(w)
			w.store.fail, w.store.after = w.store.writes+n, after
			if _, err := w.sync.Run(t.Context(), mysqlsync.Options{}, nil); !errors.Is(err, errCut) {
				t.Fatalf("write %d: %v", n, err)
			}
			w.open()
			w.pass(mysqlsync.Options{})
			if got := w.all(); got != want {
				t.Errorf("cut at write %d (after it: %t):\n%s\nwant\n%s", n, after, got, want)
			}
			if wantAfter != nil {
				wantAfter(w)
			}
		}
	}
}

// Who is said to be new may be written over: that is only said while nothing is written twice,
// and nobody was there before.
func TestOnlyTheFirstLoadIntoAnEmptyDirectorySaysThatUsersAreNew(t *testing.T) {
	w := newWorld(t)
	w.shop(18)
	w.pass(mysqlsync.Options{DryRun: true})
	w.store.fail, w.store.after = 3, true
	if _, err := w.sync.Run(t.Context(), mysqlsync.Options{}, nil); !errors.Is(err, errCut) {
		t.Fatal(err)
	}
	if w.store.news < 6 {
		t.Errorf("%d users were said to be new", w.store.news)
	}
	w.store.news = 0
	w.open()
	w.pass(mysqlsync.Options{}) // goes on
	w.table.set(person{id: 900, email: "late@example.com", status: "yes"})
	w.pass(mysqlsync.Options{})
	other := newWorld(t)
	other.shop(9)
	other.put(directory.User{Email: "there@example.com"})
	other.pass(mysqlsync.Options{})
	if n := w.store.news + other.store.news; n != 0 {
		t.Errorf("%d users were said to be new later on", n)
	}
}

func TestAFirstLoadGoesOnWhereItWasCutOff(t *testing.T) {
	cuts(t, func(w *world) { w.shop(11) }, nil)
	w := newWorld(t)
	w.shop(30)
	w.store.fail = 8
	if _, err := w.sync.Run(t.Context(), mysqlsync.Options{}, nil); !errors.Is(err, errCut) {
		t.Fatal(err)
	}
	w.open()
	w.table.fetched = 0
	if r := w.pass(mysqlsync.Options{}); r.Kind != mysqlsync.FirstLoad || w.table.fetched > 30-7*3+11+3 {
		t.Errorf("%d rows were read again: %+v", w.table.fetched, r)
	}
}

func TestChangesThatWereCutOffAreMadeOnce(t *testing.T) {
	cuts(t, func(w *world) {
		w.put(directory.User{Email: "no@example.com"}, directory.User{Email: "user3@example.com", Subscribed: true, Attributes: map[string]any{"Shoe": "245"}})
		w.shop(12)
		w.table.set(person{id: 20, email: "no@example.com", status: "yes"})
		w.pass(mysqlsync.Options{})
		w.leave("user1@example.com", "promo")
		w.leave("user2@example.com", directory.AllLists)
		w.hear()
		for id := 1; id <= 4; id++ {
			w.table.edit(id, func(p *person) { p.email = fmt.Sprintf("neu%d@example.com", id) })
		}
		w.table.edit(5, func(p *person) { p.email = "user6@example.com" })
		w.table.edit(6, func(p *person) { p.email = "user5@example.com" })
		w.table.edit(7, func(p *person) { p.deleted = true })
		w.table.edit(8, func(p *person) { p.email = "user7@example.com" })
		w.table.edit(9, func(p *person) { p.status = "no" })
		w.table.edit(2, func(p *person) { p.consent = w.table.clock.AddDate(0, 0, -1) })
	}, func(w *world) {
		w.t.Helper()
		for email, want := range map[string]string{"neu1@example.com": "news", "neu2@example.com": "", "neu3@example.com": both, "user6@example.com": both, "no@example.com": ""} {
			if got := w.gets(mailAddress(email)); got != want {
				w.t.Errorf("%s gets %q, want %q", email, got, want)
			}
		}
	})
}

// TestARowThatMovesOnAfterItsWriteWasCutOff leaves nobody behind.
func TestARowThatMovesOnAfterItsWriteWasCutOff(t *testing.T) {
	for name, next := range map[string]func(*person){
		"to another address": func(p *person) { p.email = "last@example.com" },
		"and is deleted":     func(p *person) { p.email, p.deleted = "last@example.com", true },
	} {
		for _, known := range []bool{false, true} {
			t.Run(fmt.Sprint(name, " known ", known), func(t *testing.T) {
				w := newWorld(t)
				w.shop(2)
				w.pass(mysqlsync.Options{})
				if known {
					w.table.set(person{id: 3, email: "first@example.com", status: "yes"})
					w.pass(mysqlsync.Options{})
				}
				w.table.set(person{id: 3, email: "second@example.com", status: "yes"})
				w.store.fail, w.store.after = w.store.writes+1, true
				if _, err := w.sync.Run(t.Context(), mysqlsync.Options{}, nil); !errors.Is(err, errCut) {
					t.Fatal(err)
				}
				w.open()
				w.table.edit(3, next)
				w.pass(mysqlsync.Options{Force: true})
				want := map[string]string{"user1@example.com": both, "user2@example.com": both}
				if !w.table.rows[3].deleted {
					want["last@example.com"] = both
				}
				w.wants(want)
			})
		}
	}
}

// shelf is a Staging in memory.
type shelf struct {
	mu      sync.Mutex
	chunks  map[string]string
	calls   int
	fail    int
	missing bool            // there is no table
	into    directory.Store // what an import fills
	dropped bool
}

func (s *shelf) call() error {
	if s.calls++; s.calls == s.fail {
		return errCut
	}
	return nil
}

func (s *shelf) Missing(context.Context) (bool, error) { return s.missing, nil }

func (s *shelf) Stage(_ context.Context, name string, users []directory.User) error {
	text, err := json.Marshal(users)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.chunks[name] = string(text)
	s.mu.Unlock()
	return s.call()
}

func (s *shelf) Chunk(_ context.Context, name string) (users []directory.User, err error) {
	text, there := s.chunks[name]
	if !there {
		return nil, fmt.Errorf("there is no chunk %s", name)
	}
	return users, errors.Join(json.Unmarshal([]byte(text), &users), s.call())
}

func (s *shelf) Import(ctx context.Context, prefix string, progress func(int64)) (bool, error) {
	if !s.missing {
		return false, s.call()
	}
	for _, name := range slices.Sorted(maps.Keys(s.chunks)) {
		users, err := s.Chunk(ctx, name)
		if err != nil {
			return false, err
		}
		if err := s.into.Put(ctx, users); err != nil {
			return false, err
		}
		progress(int64(len(users)))
	}
	s.missing = false
	return true, s.call()
}

func (s *shelf) Drop(_ context.Context, prefix string) error {
	maps.DeleteFunc(s.chunks, func(name, _ string) bool { return strings.HasPrefix(name, prefix) })
	s.dropped = true
	return s.call()
}

// TestAFirstLoadByWayOfAStaging is the same, wherever it is cut off, and leaves nothing there.
func TestAFirstLoadByWayOfAStaging(t *testing.T) {
	for _, missing := range []bool{true, false} {
		t.Run(fmt.Sprintf("no table %t", missing), func(t *testing.T) {
			for cut := range 14 {
				w := newWorld(t)
				s := &shelf{chunks: map[string]string{}, fail: cut, missing: missing, into: w.store}
				w.cfg.Staging = s
				w.open()
				w.shop(10)
				w.table.edit(4, func(p *person) { p.status = "no" })
				w.leave("user2@example.com", "promo")
				left := false
				w.table.before = func(what string) error {
					if what == "ByKey" && w.table.fetched >= 9 && !left { // user1 is staged
						left = true
						w.leave("user1@example.com", directory.AllLists)
					}
					return nil
				}
				_, err := w.sync.Run(t.Context(), mysqlsync.Options{}, nil)
				if err != nil && !errors.Is(err, errCut) {
					t.Fatal(err)
				}
				w.open()
				w.pass(mysqlsync.Options{})
				want := map[string]string{"user1@example.com": "", "user2@example.com": "news", "user4@example.com": ""}
				for _, id := range []int{3, 5, 6, 7, 8, 9, 10} {
					want[fmt.Sprintf("user%d@example.com", id)] = both
				}
				w.wants(want)
				if len(s.chunks) != 0 || !s.dropped {
					t.Errorf("cut %d: %d chunks are left", cut, len(s.chunks))
				}
				if st, err := w.sync.Status(); err != nil || !st.Loaded || st.Users != 10 {
					t.Errorf("%+v %v", st, err)
				}
			}
		})
	}
}
