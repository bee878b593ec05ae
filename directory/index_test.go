package directory_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	bolt "go.etcd.io/bbolt"

	"postern/directory"
	"postern/mail"
)

// at is when everything here happens.
func at() time.Time { return time.Date(2026, 11, 22, 9, 30, 0, 0, time.UTC) }

func openIndex(t testing.TB, path string) *directory.Index {
	t.Helper()
	x, err := directory.OpenIndex(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = x.Close() })
	return x
}

func newIndex(t testing.TB) *directory.Index {
	return openIndex(t, filepath.Join(t.TempDir(), "optout.db"))
}

func click() directory.Evidence {
	return directory.Evidence{At: at(), How: "one-click", Remote: "192.0.2.1", Message: mail.NewID(at())}
}

func leave(t testing.TB, x *directory.Index, key mail.Address, list string) {
	t.Helper()
	if err := x.OptOut(context.Background(), key, list, click()); err != nil {
		t.Fatal(err)
	}
}

func wantBlocked(t testing.TB, x *directory.Index, addr mail.Address, list, kind string) {
	t.Helper()
	if b, blocked := x.Blocked(addr, list); b.Kind != kind || blocked != (kind != "") || blocked && b.Reason == "" {
		t.Errorf("%s, list %q: %+v, %v; want kind %q", addr, list, b, blocked, kind)
	}
}

func wantPending(t testing.TB, x *directory.Index, want int) {
	t.Helper()
	if n, err := x.Pending(); err != nil || n != want {
		t.Errorf("%d pending, %v; want %d", n, err, want)
	}
}

func TestAnOptOutBlocksItsListInEverySpelling(t *testing.T) {
	x := newIndex(t)
	leave(t, x, "Kim@Example.COM", "promo")
	wantBlocked(t, x, "kim@example.com", "promo", "unsubscribed")
	wantBlocked(t, x, `"KIM"@EXAMPLE.com`, "promo", "unsubscribed")
	wantBlocked(t, x, "kim@example.com", "news", "")
	wantBlocked(t, x, "kim@example.com", "", "") // ordinary mail
	wantBlocked(t, x, "lee@example.com", "promo", "")
}

func TestLeavingAllListsBlocksEachButNotOrdinaryMail(t *testing.T) {
	x := newIndex(t)
	leave(t, x, "kim@example.com", directory.AllLists)
	wantBlocked(t, x, "kim@example.com", "promo", "unsubscribed")
	wantBlocked(t, x, "kim@example.com", "", "")
}

func TestRejoiningIsForOneList(t *testing.T) {
	x := newIndex(t)
	for _, list := range []string{"promo", "news", directory.AllLists} {
		leave(t, x, "kim@example.com", list)
	}
	rejoin := func(list string) {
		t.Helper()
		if err := x.Consent(t.Context(), "kim@example.com", list, click()); err != nil {
			t.Fatal(err)
		}
	}
	// Nobody has said yet which other lists there are.
	if err := x.Consent(t.Context(), "kim@example.com", "promo", click()); !errors.Is(err, directory.ErrLeftAll) {
		t.Fatal(err)
	}
	wantBlocked(t, x, "kim@example.com", "promo", "unsubscribed")
	rejoin(directory.AllLists)
	wantBlocked(t, x, "kim@example.com", "promo", "unsubscribed") // left by itself
	rejoin("promo")
	wantBlocked(t, x, "kim@example.com", "promo", "")
	wantBlocked(t, x, "kim@example.com", "news", "unsubscribed")
	if lists, err := x.Left("KIM@example.com"); err != nil || !reflect.DeepEqual(lists, []string{"news"}) {
		t.Errorf("left %v, %v", lists, err)
	}
	rejoin("news")
	if lists, err := x.Left("kim@example.com"); err != nil || len(lists) != 0 {
		t.Errorf("left %v, %v", lists, err)
	}
}

func TestASuppressionBlocksEveryMail(t *testing.T) {
	x := newIndex(t)
	suppress(t, x, directory.Suppression{Address: "Gone@example.com", Kind: directory.KindBounce, Reason: "550 no such user", At: at()})
	suppress(t, x, directory.Suppression{Address: "gone@example.com", Kind: directory.KindBounce, Reason: "a later reason", At: at()})
	wantBlocked(t, x, "gone@example.com", "", "suppressed")
	wantBlocked(t, x, "gone@example.com", "promo", "suppressed")
	if b, _ := x.Blocked("gone@example.com", ""); b.Reason != "550 no such user" {
		t.Errorf("reason %q, want the first", b.Reason)
	}
	leave(t, x, "gone@example.com", "promo")
	if was, err := x.Unsuppress(t.Context(), "GONE@example.com", directory.Lift{By: "admin: the mailbox is back", At: at()}); err != nil || was.Reason != "550 no such user" {
		t.Fatal(was, err)
	}
	wantBlocked(t, x, "gone@example.com", "", "")
	wantBlocked(t, x, "gone@example.com", "promo", "unsubscribed")
}

func TestSuppressionsInPages(t *testing.T) {
	x := newIndex(t)
	for i := range 25 {
		suppress(t, x, directory.Suppression{Address: mail.Address(fmt.Sprintf("U%02d@example.com", i)), Kind: directory.KindBounce, Reason: "bounced", At: at()})
	}
	var seen []mail.Address
	after := mail.Address("")
	for {
		page, err := x.Suppressions(after, 10)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, s := range page {
			seen = append(seen, s.Address)
			if s.Reason != "bounced" || !s.At.Equal(at()) {
				t.Errorf("got %+v", s)
			}
		}
		after = page[len(page)-1].Address
	}
	if len(seen) != 25 || seen[0] != "U00@example.com" || seen[24] != "U24@example.com" {
		t.Fatalf("got %v", seen)
	}
}

func TestTheLedgerHoldsEveryChangeOnce(t *testing.T) {
	x := newIndex(t)
	ev := click()
	for range 3 {
		if err := x.OptOut(t.Context(), "kim@example.com", "promo", ev); err != nil {
			t.Fatal(err)
		}
	}
	if err := x.Consent(t.Context(), "kim@example.com", "promo", directory.Evidence{At: at(), How: "page"}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		suppress(t, x, directory.Suppression{Address: "a@example.com", Kind: directory.KindBounce, Reason: "bounced", At: at(), Evidence: directory.Evidence{Status: "5.1.1"}})
		if _, err := x.Unsuppress(t.Context(), "b@example.com", directory.Lift{By: "x", At: at()}); !errors.Is(err, directory.ErrNotSuppressed) {
			t.Fatal(err)
		}
	}
	if _, err := x.Unsuppress(t.Context(), "a@example.com", directory.Lift{By: "admin", At: at()}); err != nil {
		t.Fatal(err)
	}
	want := []directory.Entry{
		{Number: 1, At: at(), Kind: "opt-out", Address: "kim@example.com", List: "promo", How: "one-click", Remote: "192.0.2.1", Message: ev.Message},
		{Number: 2, At: at(), Kind: "consent", Address: "kim@example.com", List: "promo", How: "page"},
		{Number: 3, At: at(), Kind: "suppress", Address: "a@example.com", Reason: "bounced", Why: directory.KindBounce, Evidence: directory.Evidence{Status: "5.1.1"}},
		{Number: 4, At: at(), Kind: "unsuppress", Address: "a@example.com", Reason: "admin", Why: directory.KindBounce},
	}
	if got, err := x.Ledger(0, 100); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}
	if got, err := x.Ledger(2, 1); err != nil || !reflect.DeepEqual(got, want[2:3]) {
		t.Errorf("after 2: %+v, %v", got, err)
	}
}

func TestAnIndexThatIsOpenedAgainKnowsEverything(t *testing.T) {
	path := filepath.Join(t.TempDir(), "optout.db")
	x := openIndex(t, path)
	leave(t, x, "kim@example.com", "promo")
	suppress(t, x, directory.Suppression{Address: "a@example.com", Kind: directory.KindBounce, Reason: "bounced", At: at()})
	if err := x.Learn(map[string]string{"City": "string"}); err != nil {
		t.Fatal(err)
	}
	if _, err := directory.OpenIndex(path); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("a second opening: %v", err)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	wantBlocked(t, x, "anybody@example.com", "promo", "unsubscribed") // closed: fails safe
	x = openIndex(t, path)
	wantBlocked(t, x, "kim@example.com", "promo", "unsubscribed")
	wantBlocked(t, x, "a@example.com", "", "suppressed")
	wantPending(t, x, 1)
	if got := x.Fields(); !reflect.DeepEqual(got, map[string]string{"City": "string"}) {
		t.Errorf("fields %v", got)
	}
}

func TestAnIndexOfANewerPosternIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "optout.db")
	if err := openIndex(t, path).Close(); err != nil {
		t.Fatal(err)
	}
	editFile(t, path, func(tx *bolt.Tx) error { return tx.Bucket([]byte("meta")).Put([]byte("format"), []byte("3")) })
	if _, err := directory.OpenIndex(path); mail.ClassOf(err) != mail.Permanent || !strings.Contains(err.Error(), "newer postern") {
		t.Fatalf("got %v", err)
	}
}

func TestARowThatCannotBeReadBlocks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "optout.db")
	if err := openIndex(t, path).Close(); err != nil {
		t.Fatal(err)
	}
	editFile(t, path, func(tx *bolt.Tx) error {
		return tx.Bucket([]byte("left")).Put([]byte("kim@example.com"), []byte("\x09{}"))
	})
	x := openIndex(t, path)
	wantBlocked(t, x, "kim@example.com", "promo", "unsubscribed")
	wantBlocked(t, x, "lee@example.com", "promo", "")
}

func editFile(t *testing.T, path string, f func(*bolt.Tx) error) {
	t.Helper()
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(f), db.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestOptOutsAtTheSameTimeAreAllKept(t *testing.T) {
	x := newIndex(t)
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			if err := x.OptOut(t.Context(), mail.Address(fmt.Sprintf("u%d@example.com", i%50)), fmt.Sprint("list", i/50), click()); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() { x.Blocked("u1@example.com", "list1") })
	}
	wg.Wait()
	for i := range 200 {
		wantBlocked(t, x, mail.Address(fmt.Sprintf("u%d@example.com", i%50)), fmt.Sprint("list", i/50), "unsubscribed")
	}
	if got, err := x.Ledger(0, 1000); err != nil || len(got) != 200 {
		t.Errorf("%d ledger entries, %v", len(got), err)
	}
}

func TestWhatIsNoOptOutIsRefused(t *testing.T) {
	x := newIndex(t)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, err := range map[string]error{
		"no address":   x.OptOut(t.Context(), "", "promo", click()),
		"no list":      x.OptOut(t.Context(), "a@example.com", "", click()),
		"ended":        x.OptOut(ended, "a@example.com", "promo", click()),
		"key too long": x.OptOut(t.Context(), mail.Address(strings.Repeat("x", 40_000)), "promo", click()),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	wantPending(t, x, 0)
}

func TestLearnKeepsTheWidestType(t *testing.T) {
	x := newIndex(t)
	for _, fields := range []map[string]string{{"City": "string", "Points": "number", "VIP": "bool"}, {"Points": "number"}, {"Points": "string"},
		{"Points": "number", "VIP": "bool", "": "string"}} {
		if err := x.Learn(fields); err != nil {
			t.Fatal(err)
		}
	}
	got := x.Fields()
	if want := map[string]string{"City": "string", "Points": "string", "VIP": "bool"}; !reflect.DeepEqual(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	got["City"] = "number"
	if x.Fields()["City"] != "string" {
		t.Error("Fields gave its own map away")
	}
}

// users makes a store with these people, subscribed.
func users(t testing.TB, keys ...mail.Address) *memory {
	m := newMemory()
	for _, key := range keys {
		if err := m.Put(context.Background(), []directory.User{{Email: key, Subscribed: true}}); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

func TestReplayTellsTheStore(t *testing.T) {
	x := newIndex(t)
	store := users(t, "Kim@example.com", "lee@example.com")
	leave(t, x, "Kim@example.com", "promo")
	leave(t, x, "lee@example.com", directory.AllLists)
	leave(t, x, "ghost@example.com", "promo")
	leave(t, x, "ghost@example.com", "promo")
	wantPending(t, x, 4) // of Kim in the normalised spelling too
	if n, err := x.Replay(t.Context(), store); n != 4 || err != nil {
		t.Fatalf("%d settled, %v; want 4", n, err)
	}
	wantPending(t, x, 0)
	kim, lee := store.users["Kim@example.com"], store.users["lee@example.com"]
	if !kim.Subscribed || kim.Receives("promo") || lee.Subscribed || len(store.users) != 2 {
		t.Fatalf("kim %+v, lee %+v, %d users; want no ghost", kim, lee, len(store.users))
	}
	wantBlocked(t, x, "ghost@example.com", "promo", "unsubscribed")
	if err := x.Consent(t.Context(), "lee@example.com", directory.AllLists, click()); err != nil {
		t.Fatal(err)
	}
	if n, err := x.Replay(t.Context(), store); n != 1 || err != nil {
		t.Fatalf("%d settled, %v; want 1", n, err)
	}
	if lee := store.users["lee@example.com"]; !lee.Receives("promo") {
		t.Fatalf("lee %+v", lee)
	}
}

// While the store is told that somebody left, they rejoin: the later word stays.
func TestANewerWordDuringReplayStays(t *testing.T) {
	x := newIndex(t)
	store := users(t, "kim@example.com")
	leave(t, x, "kim@example.com", "promo")
	first := true
	store.fail = func(string, mail.Address) error {
		if first {
			first = false
			return x.Consent(t.Context(), "kim@example.com", "promo", click())
		}
		return nil
	}
	if _, err := x.Replay(t.Context(), store); err != nil {
		t.Fatal(err)
	}
	wantPending(t, x, 1)
	if n, err := x.Replay(t.Context(), store); n != 1 || err != nil {
		t.Fatalf("%d settled, %v", n, err)
	}
	if u := store.users["kim@example.com"]; !u.Receives("promo") {
		t.Fatalf("got %+v", u)
	}
}

func TestAStoreThatIsDownIsAskedThreeTimes(t *testing.T) {
	x := newIndex(t)
	store := users(t)
	for i := range 250 {
		key := mail.Address(fmt.Sprintf("u%03d@example.com", i))
		leave(t, x, key, "promo")
		if err := store.Put(t.Context(), []directory.User{{Email: key, Subscribed: true}}); err != nil {
			t.Fatal(err)
		}
	}
	calls, down := 0, true
	store.fail = func(string, mail.Address) error {
		if calls++; down {
			return errors.New("no route to host")
		}
		return nil
	}
	if n, err := x.Replay(t.Context(), store); n != 0 || err == nil || calls != 3 {
		t.Fatalf("%d settled, %v, %d calls; want an error after 3", n, err, calls)
	}
	wantPending(t, x, 250)
	down = false
	if n, err := x.Replay(t.Context(), store); n != 250 || err != nil {
		t.Fatalf("%d settled, %v; want all", n, err)
	}
	for key, u := range store.users {
		if u.Receives("promo") {
			t.Fatalf("the store was not told of %s", key)
		}
	}
}

// A few users that the store cannot write do not hold up the others.
func TestEntriesThatFailHoldUpNobody(t *testing.T) {
	for name, failure := range map[string]error{"for good": mail.Refuse(0, "", "the item is too big"), "for now": errors.New("internal error")} {
		t.Run(name, func(t *testing.T) {
			x := newIndex(t)
			store := users(t)
			for i := range 20 {
				leave(t, x, mail.Address(fmt.Sprintf("u%02d@example.com", i)), "promo")
			}
			store.fail = func(_ string, key mail.Address) error {
				if key < "u05" {
					return failure
				}
				return nil
			}
			for range 2 {
				if _, err := x.Replay(t.Context(), store); err == nil {
					t.Fatal("no error")
				}
			}
			wantPending(t, x, 5)
			store.fail = nil
			if n, err := x.Replay(t.Context(), store); n != 5 || err != nil {
				t.Fatalf("%d settled, %v", n, err)
			}
		})
	}
}

func TestRunReplaysNewEntriesAndBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newIndex(t)
		store := users(t, "a@example.com", "b@example.com")
		var mu sync.Mutex
		var asked []time.Duration
		start, down := time.Now(), false
		store.fail = func(string, mail.Address) error {
			mu.Lock()
			defer mu.Unlock()
			asked = append(asked, time.Since(start).Round(time.Second))
			if down {
				return errors.New("no route to host")
			}
			return nil
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		leave(t, x, "a@example.com", "promo") // before Run begins
		go func() { x.Run(ctx, store, slog.New(slog.DiscardHandler)); close(ended) }()
		<-time.After(time.Second) // a shared commit waits for a moment
		wantPending(t, x, 0)

		mu.Lock()
		asked, down, start = nil, true, time.Now()
		mu.Unlock()
		leave(t, x, "b@example.com", "promo")
		<-time.After(20 * time.Second)
		synctest.Wait()
		mu.Lock()
		want := []time.Duration{0, 1 * time.Second, 3 * time.Second, 7 * time.Second, 15 * time.Second}
		if !reflect.DeepEqual(asked, want) {
			t.Errorf("asked after %v, want %v", asked, want)
		}
		down = false
		mu.Unlock()
		<-time.After(15 * time.Second)
		synctest.Wait()
		wantPending(t, x, 0)
		cancel()
		<-ended
	})
}

func BenchmarkBlocked(b *testing.B) {
	x := newIndex(b)
	var wg sync.WaitGroup
	for w := range 64 {
		wg.Go(func() {
			for i := range 300 {
				leave(b, x, mail.Address(fmt.Sprintf("user%d@example.com", i*64+w)), "promo")
			}
		})
	}
	wg.Wait()
	b.Run("not there", func(b *testing.B) {
		for b.Loop() {
			x.Blocked("nobody@example.com", "promo")
		}
	})
	b.Run("left", func(b *testing.B) {
		for b.Loop() {
			x.Blocked("user17@example.com", "promo")
		}
	})
}
