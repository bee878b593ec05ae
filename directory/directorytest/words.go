package directorytest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"testing"
	"time"

	"postern/directory"
	"postern/mail"
)

const (
	person = mail.Address("kim@example.com")
	ghost  = mail.Address("ghost@example.com")
)

// index makes an opt-out index that knows three lists.
func index(t *testing.T, path string) *directory.Index {
	t.Helper()
	x, err := directory.OpenIndex(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = x.Close() })
	x.SetLists([]string{"news", "promo", "vip"})
	return x
}

func newIndex(t *testing.T) *directory.Index { return index(t, filepath.Join(t.TempDir(), "index.db")) }

func page() directory.Evidence { return directory.Evidence{At: time.Now(), How: "page"} }

func say(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// tell replays, and expects that all is told.
func tell(t *testing.T, x *directory.Index, s directory.Store) {
	t.Helper()
	if _, err := x.Replay(t.Context(), s); err != nil {
		t.Fatalf("Replay: %v", err)
	}
	if n, err := x.Pending(); n != 0 || err != nil {
		t.Fatalf("%d words are pending, %v", n, err)
	}
}

func choose(t *testing.T, x *directory.Index, c directory.Choice) error {
	t.Helper()
	_, err := x.Choose(t.Context(), person, c, page())
	return err
}

// wordsInOrder holds that the last word is what the store has in the end.
func wordsInOrder(t *testing.T, s directory.Store) {
	put(t, s, directory.User{Email: person, Subscribed: true})
	x := newIndex(t)
	for _, c := range []struct {
		name       string
		say        func() error
		subscribed bool
		left       []string
	}{
		{"leaves one", func() error { return x.OptOut(t.Context(), person, "promo", page()) }, true, []string{"promo"}},
		{"leaves all", func() error { return choose(t, x, directory.Choice{All: true}) }, false, []string{"*", "promo"}},
		{"comes back to one", func() error { return x.Consent(t.Context(), person, "promo", page()) }, true, []string{"news", "vip"}},
		{"leaves all and comes back to another, before the store is told", func() error {
			return errors.Join(choose(t, x, directory.Choice{All: true}), choose(t, x, directory.Choice{Join: []string{"vip"}}))
		}, true, []string{"news", "promo"}},
		{"comes back and leaves all, before the store is told", func() error {
			return errors.Join(x.Consent(t.Context(), person, "news", page()), choose(t, x, directory.Choice{All: true}))
		}, false, []string{"*", "promo"}},
		{"comes back to all", func() error { return x.Consent(t.Context(), person, directory.AllLists, page()) }, true, []string{"promo"}},
	} {
		say(t, c.say())
		for range 2 { // telling again changes nothing
			tell(t, x, s)
			got, err := s.Get(t.Context(), person)
			if err != nil || got.Subscribed != c.subscribed || !reflect.DeepEqual(got.OptOut, c.left) {
				t.Fatalf("%s: subscribed %v, left %v, %v; want %v, %v", c.name, got.Subscribed, got.OptOut, err, c.subscribed, c.left)
			}
		}
	}
}

// consentOfOneNotSubscribed holds that a consent subscribes to its list alone
// somebody whom another program has unsubscribed.
func consentOfOneNotSubscribed(t *testing.T, s directory.Store) {
	put(t, s, directory.User{Email: person})
	x := newIndex(t)
	say(t, x.Consent(t.Context(), person, "promo", page()))
	tell(t, x, s)
	want(t, s, directory.User{Email: person, Subscribed: true, OptOut: []string{"news", "vip"}})
	// A subscribed one keeps what they have.
	say(t, x.Consent(t.Context(), person, "news", page()))
	tell(t, x, s)
	want(t, s, directory.User{Email: person, Subscribed: true, OptOut: []string{"vip"}})
}

// wordsMakeNoGhosts holds that no word about a user who is not there makes one.
func wordsMakeNoGhosts(t *testing.T, s directory.Store) {
	put(t, s, directory.User{Email: person, Subscribed: true})
	x := newIndex(t)
	say(t, x.OptOut(t.Context(), ghost, "promo", page()), x.OptOut(t.Context(), ghost, directory.AllLists, page()))
	tell(t, x, s)
	say(t, x.Consent(t.Context(), ghost, "promo", page()), x.Moved(t.Context(), ghost, "ghost@new.example", page()),
		x.OptOut(t.Context(), ghost, "vip", page()))
	tell(t, x, s)
	if n := len(All(t, s)); n != 1 {
		t.Fatalf("%d users, want 1", n)
	}
}

// oppositeWords holds that index and store agree after words that contradict each
// other came at the same time, while the store was being told.
func oppositeWords(t *testing.T, s directory.Store) {
	put(t, s, directory.User{Email: person, Subscribed: true})
	x := newIndex(t)
	var wg sync.WaitGroup
	errs := make(chan error, 100)
	for i := range 30 {
		wg.Go(func() {
			switch i % 4 {
			case 0:
				errs <- x.OptOut(t.Context(), person, "promo", page())
			case 1:
				errs <- x.Consent(t.Context(), person, "promo", page())
			case 2:
				errs <- x.OptOut(t.Context(), person, directory.AllLists, page())
			case 3:
				_, err := x.Replay(t.Context(), s)
				errs <- err
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		say(t, err)
	}
	tell(t, x, s)
	u, err := s.Get(t.Context(), person)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"news", "promo", "vip"} {
		if _, blocked := x.Blocked(person, id); blocked == u.Receives(id) {
			t.Errorf("list %s: blocked %v, the store has %+v", id, blocked, u)
		}
	}
}

// cut is a store whose process is killed after a number of calls: those that were
// made took effect, and nobody learned it.
type cut struct {
	directory.Store
	left int
}

func (c *cut) Update(ctx context.Context, key mail.Address, change directory.Change) error {
	if err := c.Store.Update(ctx, key, change); err != nil {
		return err
	}
	if c.left--; c.left < 0 {
		return errors.New("killed")
	}
	return nil
}

// killedBetween holds that a kill between the store's write and the index's note of
// it changes nothing in the end, at whichever word it comes.
func killedBetween(t *testing.T, s directory.Store) {
	others := []mail.Address{"a@example.com", person, "z@example.com"}
	for _, key := range others {
		put(t, s, directory.User{Email: key, Subscribed: true})
	}
	for calls := range 4 {
		path := filepath.Join(t.TempDir(), "index.db")
		x := index(t, path)
		for _, key := range others {
			say(t, x.OptOut(t.Context(), key, directory.AllLists, page()), x.Consent(t.Context(), key, "promo", page()))
		}
		say(t, x.Close())
		before, err := os.ReadFile(path)
		say(t, err)
		x = index(t, path)
		_, _ = x.Replay(t.Context(), &cut{s, calls})
		say(t, x.Close(), os.WriteFile(path, before, 0o600))
		x = index(t, path)
		tell(t, x, s)
		for _, key := range others {
			want(t, s, directory.User{Email: key, Subscribed: true, OptOut: []string{"news", "vip"}})
		}
		say(t, x.Close())
	}
}
