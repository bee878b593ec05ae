package directory_test

import (
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"time"

	"postern/directory"
	"postern/mail"
)

const kim = mail.Address("kim@example.com")

func lists() []string { return []string{"news", "promo", "vip"} }

func on(n int, how string) directory.Evidence { return directory.Evidence{At: day(n), How: how} }

func agree(t testing.TB, x *directory.Index, user mail.Address, list string, ev directory.Evidence) {
	t.Helper()
	if err := x.Consent(t.Context(), user, list, ev); err != nil {
		t.Fatal(err)
	}
}

func choose(t testing.TB, x *directory.Index, user mail.Address, c directory.Choice, ev directory.Evidence) (changed []string) {
	t.Helper()
	entries, err := x.Choose(t.Context(), user, c, ev)
	if err != nil {
		t.Fatal(err)
	}
	return kinds(entries)
}

func kinds(entries []directory.Entry) (out []string) {
	for _, e := range entries {
		out = append(out, e.Kind+" "+e.List)
	}
	return out
}

func tellAll(t testing.TB, x *directory.Index, store directory.Store) {
	t.Helper()
	if _, err := x.Replay(t.Context(), store); err != nil {
		t.Fatal(err)
	}
	wantPending(t, x, 0)
}

func wantUser(t testing.TB, m *memory, key mail.Address, subscribed bool, optOut ...string) {
	t.Helper()
	u, err := m.Get(t.Context(), key)
	if err != nil || u.Subscribed != subscribed || !reflect.DeepEqual(u.OptOut, directory.Union(optOut, nil)) {
		t.Errorf("%s in the directory: subscribed %v, left %v, %v; want %v, %v", key, u.Subscribed, u.OptOut, err, subscribed, optOut)
	}
}

func wantHistory(t testing.TB, x *directory.Index, addr mail.Address, want ...string) {
	t.Helper()
	h, err := x.History(addr)
	if got := kinds(h); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("history of %s: %q, %v; want %q", addr, got, err, want)
	}
}

func TestWhoComesBackToOneListStaysAwayFromTheOthers(t *testing.T) {
	for name, back := range map[string]func(t *testing.T, x *directory.Index){
		"by a choice": func(t *testing.T, x *directory.Index) {
			if got := choose(t, x, kim, directory.Choice{Join: []string{"promo"}, Known: lists()}, on(1, "page")); !reflect.DeepEqual(got, []string{"consent promo"}) {
				t.Errorf("changed %q", got)
			}
		},
		"by a consent": func(t *testing.T, x *directory.Index) {
			x.SetLists(lists())
			agree(t, x, kim, "promo", on(1, "page"))
		},
		"by a sync": func(t *testing.T, x *directory.Index) {
			x.SetLists(lists())
			if err := x.Agreed(t.Context(), kim, []string{"promo"}, day(1), on(2, "sync")); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			x, store := newIndex(t), users(t, kim)
			leave(t, x, kim, directory.AllLists)
			tellAll(t, x, store)
			wantUser(t, store, kim, false, "*")
			back(t, x)
			wantBlocked(t, x, kim, "promo", "")
			wantBlocked(t, x, kim, "news", "unsubscribed")
			wantBlocked(t, x, kim, "vip", "unsubscribed")
			tellAll(t, x, store)
			wantUser(t, store, kim, true, "news", "vip")
			wantHistory(t, x, kim, "opt-out *", "consent promo")
			tellAll(t, x, store)
			agree(t, x, kim, "news", on(3, "page"))
			tellAll(t, x, store)
			wantUser(t, store, kim, true, "vip")
		})
	}
}

func TestWhoLeavesEveryListOneByOneStaysSubscribed(t *testing.T) {
	x, store := newIndex(t), users(t, kim)
	for _, id := range lists() {
		leave(t, x, kim, id)
	}
	tellAll(t, x, store)
	wantUser(t, store, kim, true, lists()...)
}

func TestAChoiceIsOneEntryAListThatChanges(t *testing.T) {
	x, store := newIndex(t), users(t, kim)
	for i, step := range []struct {
		choice directory.Choice
		want   []string
		left   []string
	}{
		{directory.Choice{Join: []string{"promo"}, Leave: []string{"news"}}, []string{"opt-out news"}, []string{"news"}},
		{directory.Choice{Join: []string{"promo"}, Leave: []string{"news"}}, nil, []string{"news"}},
		{directory.Choice{Join: []string{"news"}, Leave: []string{"promo", "vip"}}, []string{"consent news", "opt-out promo", "opt-out vip"}, []string{"promo", "vip"}},
		{directory.Choice{Join: []string{"vip"}, Leave: []string{"vip"}}, nil, []string{"promo", "vip"}}, // leaving wins
		{directory.Choice{All: true, Join: []string{"vip"}}, []string{"opt-out *"}, []string{"*", "promo", "vip"}},
		{directory.Choice{All: true}, nil, []string{"*", "promo", "vip"}},
		{directory.Choice{Join: []string{"news", "vip"}, Known: lists()}, []string{"consent news", "consent vip"}, []string{"promo"}},
		{directory.Choice{}, nil, []string{"promo"}},
	} {
		if got := choose(t, x, kim, step.choice, on(i, "page")); !reflect.DeepEqual(got, step.want) {
			t.Errorf("step %d changed %q, want %q", i, got, step.want)
		}
		if left, err := x.Left(kim); err != nil || !reflect.DeepEqual(left, step.left) {
			t.Errorf("step %d: left %q, %v; want %q", i, left, err, step.left)
		}
	}
	tellAll(t, x, store)
	wantUser(t, store, kim, true, "promo")
}

func TestOptOutsWrittenIntoTheDirectoryCount(t *testing.T) {
	x, store := newIndex(t), newMemory()
	if err := store.Put(t.Context(), []directory.User{{Email: kim}, {Email: "lee@example.com", Subscribed: true, OptOut: []string{"news"}}}); err != nil {
		t.Fatal(err)
	}
	s, err := x.State(t.Context(), store, kim, lists())
	if want := (directory.State{User: kim, On: map[string]bool{"news": false, "promo": false, "vip": false}, All: true, Gone: []string{"*"}, Found: true}); err != nil || !reflect.DeepEqual(s, want) {
		t.Errorf("got %+v, %v\nwant %+v", s, err, want)
	}
	// Coming back is an entry, and for this list alone.
	if got := choose(t, x, kim, directory.Choice{Join: []string{"promo"}, Known: lists(), Gone: s.Gone}, on(1, "page")); !reflect.DeepEqual(got, []string{"consent promo"}) {
		t.Errorf("changed %q", got)
	}
	// Before the directory was told, the page already shows it.
	s, err = x.State(t.Context(), store, kim, lists())
	if want := map[string]bool{"news": false, "promo": true, "vip": false}; err != nil || s.All || len(s.Gone) != 0 || !reflect.DeepEqual(s.On, want) {
		t.Errorf("got %+v, %v", s, err)
	}
	tellAll(t, x, store)
	wantUser(t, store, kim, true, "news", "vip")

	s, err = x.State(t.Context(), store, "lee@example.com", lists())
	if want := map[string]bool{"news": false, "promo": true, "vip": true}; err != nil || s.All || !reflect.DeepEqual(s.On, want) || !reflect.DeepEqual(s.Gone, []string{"news"}) {
		t.Errorf("got %+v, %v", s, err)
	}
	if got := choose(t, x, "lee@example.com", directory.Choice{Join: lists(), Known: lists(), Gone: s.Gone}, on(1, "page")); !reflect.DeepEqual(got, []string{"consent news"}) {
		t.Errorf("changed %q", got)
	}
	tellAll(t, x, store)
	wantUser(t, store, "lee@example.com", true)
}

// A confirmation knows nothing of what the directory holds.
func TestAConsentSubscribesWhoIsNotSubscribed(t *testing.T) {
	x, store := newIndex(t), newMemory()
	if err := store.Put(t.Context(), []directory.User{{Email: kim, OptOut: []string{"promo", "*"}}}); err != nil {
		t.Fatal(err)
	}
	x.SetLists(lists())
	agree(t, x, kim, "promo", on(1, "confirmed"))
	agree(t, x, kim, "vip", on(1, "confirmed"))
	tellAll(t, x, store)
	wantUser(t, store, kim, true, "news")
}

func TestTheIndexAnswersAloneWhileTheDirectoryIsDown(t *testing.T) {
	x, store := newIndex(t), users(t, kim)
	leave(t, x, kim, "news")
	down := errors.New("no route to host")
	store.fail = func(string, mail.Address) error { return down }
	s, err := x.State(t.Context(), store, kim, lists())
	if want := map[string]bool{"news": false, "promo": true, "vip": true}; err != nil || !errors.Is(s.Directory, down) || s.Found || !reflect.DeepEqual(s.On, want) {
		t.Errorf("got %+v, %v", s, err)
	}
}

func TestAConsentIsAnEntryEachTimeItIsGiven(t *testing.T) {
	x := newIndex(t)
	ev := on(0, "confirmed")
	ev.Message = mail.NewID(day(0))
	agree(t, x, kim, "promo", ev)
	ev.At = ev.At.Add(time.Minute)
	agree(t, x, kim, "promo", ev) // pressed twice
	agree(t, x, kim, "promo", on(700, "page"))
	leave(t, x, kim, "promo")
	agree(t, x, kim, "promo", on(701, "page"))
	wantHistory(t, x, kim, "consent promo", "consent promo", "opt-out promo", "consent promo")
	if e, found, err := x.LastConsent("KIM@example.com", "promo"); err != nil || !found || !e.At.Equal(day(701)) {
		t.Errorf("%+v, %v, %v", e, found, err)
	}
	if _, found, err := x.LastConsent(kim, "news"); found || err != nil {
		t.Errorf("%v, %v", found, err)
	}
}

func TestOnlyAConfirmationLiftsAComplaint(t *testing.T) {
	x, store := newIndex(t), users(t, kim)
	x.SetLists(lists())
	complaint := directory.Suppression{Reason: "abuse", At: day(0)}
	if _, err := x.Complained(t.Context(), kim, kim, complaint); err != nil {
		t.Fatal(err)
	}
	choose(t, x, kim, directory.Choice{Join: []string{"promo"}}, on(1, "page"))
	agree(t, x, kim, "promo", on(1, "page"))
	if err := x.Agreed(t.Context(), kim, []string{"promo"}, day(2), on(2, "sync")); err != nil {
		t.Fatal(err)
	}
	wantBlocked(t, x, kim, "promo", "suppressed")
	if s, err := x.State(t.Context(), store, kim, lists()); err != nil || !s.Complaint {
		t.Errorf("%+v, %v", s, err)
	}
	if err := x.Confirmed(t.Context(), kim, "promo", on(3, "confirmed")); err != nil {
		t.Fatal(err)
	}
	wantBlocked(t, x, kim, "promo", "")
	wantBlocked(t, x, kim, "news", "unsubscribed")
	// The complaint's event comes again.
	if changed, err := x.Complained(t.Context(), kim, kim, complaint); changed || err != nil {
		t.Errorf("%v, %v", changed, err)
	}
	wantBlocked(t, x, kim, "promo", "")
	tellAll(t, x, store)
	wantUser(t, store, kim, true, "news", "vip")
	wantHistory(t, x, kim, "suppress ", "opt-out *", "consent promo", "consent promo", "unsuppress ", "consent promo")

	suppress(t, x, directory.Suppression{Address: "lee@example.com", Kind: directory.KindManual, Reason: "asked by phone", At: day(0)})
	if err := x.Confirmed(t.Context(), "lee@example.com", "promo", on(3, "confirmed")); err != nil {
		t.Fatal(err)
	}
	wantBlocked(t, x, "lee@example.com", "promo", "suppressed")
}

// A complaint that came in a file has taken nobody off a list, and the page shows its
// person no list as received all the same: what they confirm is all that they chose.
func TestWhoConfirmsAfterAComplaintOfAFileGetsThatListAlone(t *testing.T) {
	x, store := newIndex(t), users(t, kim)
	x.SetLists(lists())
	suppress(t, x, directory.Suppression{Address: kim, Kind: directory.KindComplaint, Reason: "abuse", At: day(0)})
	for _, id := range []string{"promo", "vip", "promo"} { // the last one is the link, pressed twice
		if err := x.Confirmed(t.Context(), kim, id, on(3, "confirmed")); err != nil {
			t.Fatal(err)
		}
	}
	wantBlocked(t, x, kim, "promo", "")
	wantBlocked(t, x, kim, "vip", "")
	wantBlocked(t, x, kim, "news", "unsubscribed")
	tellAll(t, x, store)
	wantUser(t, store, kim, true, "news")
	wantHistory(t, x, kim, "suppress ", "unsuppress ", "consent promo", "consent vip")
}

func TestARestoreNeedsAnOptOutAndItsEvidence(t *testing.T) {
	x, store := newIndex(t), users(t, kim)
	why := on(1, "boss")
	if _, err := x.Restore(t.Context(), kim, "promo", why); mail.ClassOf(err) != mail.Permanent {
		t.Errorf("without a word of evidence: %v", err)
	}
	why.Note = "Kim phoned: a scanner pressed the link"
	if _, err := x.Restore(t.Context(), kim, "promo", why); !errors.Is(err, directory.ErrNotLeft) {
		t.Errorf("nobody left: %v", err)
	}
	leave(t, x, kim, "news")
	leave(t, x, kim, directory.AllLists)
	if _, err := x.Restore(t.Context(), kim, "promo", why); !errors.Is(err, directory.ErrNotLeft) {
		t.Errorf("not this list: %v", err)
	}
	e, err := x.Restore(t.Context(), "KIM@example.com", directory.AllLists, why)
	if err != nil || e.Number != 3 || e.Kind != "restore" || e.List != "*" || e.Note != why.Note || e.How != "boss" {
		t.Errorf("%+v, %v", e, err)
	}
	wantBlocked(t, x, kim, "news", "unsubscribed")
	wantBlocked(t, x, kim, "promo", "")
	tellAll(t, x, store)
	wantUser(t, store, kim, true, "news")
	if _, found, err := x.LastConsent(kim, "*"); found || err != nil {
		t.Errorf("a restore is no consent: %v, %v", found, err)
	}
}

func TestASyncsConsentWinsOnlyWhenItIsLater(t *testing.T) {
	x, store := newIndex(t), users(t, kim)
	x.SetLists(lists())
	sync := func(n, now int) {
		t.Helper()
		if err := x.Agreed(t.Context(), kim, []string{"promo"}, day(n), on(now, "sync")); err != nil {
			t.Fatal(err)
		}
	}
	sync(-10, 0)
	if err := x.OptOut(t.Context(), kim, "promo", on(1, "one-click")); err != nil {
		t.Fatal(err)
	}
	sync(-10, 2)
	sync(-5, 2) // given before the opt-out, heard after it
	sync(1, 2)  // at the same moment
	sync(9, 2)  // nobody has consented in the future
	wantBlocked(t, x, kim, "promo", "unsubscribed")
	sync(3, 4)
	wantBlocked(t, x, kim, "promo", "")
	// Our clock is behind: the opt-out has the earlier time, and is the later word.
	if err := x.OptOut(t.Context(), kim, "promo", on(2, "one-click")); err != nil {
		t.Fatal(err)
	}
	sync(3, 5)
	wantBlocked(t, x, kim, "promo", "unsubscribed")
	tellAll(t, x, store)
	wantUser(t, store, kim, true, "promo")
	h, err := x.History(kim)
	if err != nil || len(h) != 7 || h[2].Reason == "" || h[4].Reason == "" || h[5].Reason != "" {
		t.Errorf("%+v, %v", h, err)
	}
	// Consents of those who have left nothing are evidence, once.
	for range 3 {
		if err := x.Agreed(t.Context(), "lee@example.com", lists(), day(1), on(1, "import")); err != nil {
			t.Fatal(err)
		}
	}
	wantHistory(t, x, "lee@example.com", "consent news", "consent promo", "consent vip")
}

func TestWordsAreAnsweredOnceAndInOrder(t *testing.T) {
	x := newIndex(t)
	ev := on(0, "page")
	ev.Answer = true
	for _, list := range []string{"promo", "news"} {
		if err := x.OptOut(t.Context(), kim, list, ev); err != nil {
			t.Fatal(err)
		}
	}
	leave(t, x, kim, "vip") // nobody asked for an answer
	agree(t, x, kim, "news", ev)
	owed, err := x.Unanswered(10)
	want := []directory.Answer{{Number: 1, User: kim, List: "promo", Kind: "opt-out", At: at(), How: "page"},
		{Number: 2, User: kim, List: "news", Kind: "opt-out", At: at(), How: "page"},
		{Number: 4, User: kim, List: "news", Kind: "consent", At: at(), How: "page"}}
	if err != nil || !reflect.DeepEqual(owed, want) {
		t.Fatalf("%+v, %v", owed, err)
	}
	if first, err := x.Unanswered(1); err != nil || len(first) != 1 {
		t.Errorf("%+v, %v", first, err)
	}
	notice := on(1, "")
	notice.Message = mail.NewID(day(1))
	for range 2 { // a crash before the caller knew
		if err := x.Answered(t.Context(), owed[:2], notice); err != nil {
			t.Fatal(err)
		}
	}
	if rest, err := x.Unanswered(10); err != nil || !reflect.DeepEqual(rest, want[2:]) {
		t.Errorf("%+v, %v", rest, err)
	}
	h, err := x.History(kim)
	if err != nil || len(h) != 6 || h[4].Kind != "answered" || h[4].Of != 1 || h[5].Of != 2 || h[5].Message != notice.Message {
		t.Errorf("%+v, %v", h, err)
	}
}

func TestAConfirmationIsAskedForOnceADay(t *testing.T) {
	x := newIndex(t)
	ask := func(user mail.Address, list string, at time.Time) bool {
		ok, err := x.AskConfirmation(t.Context(), user, list, directory.Evidence{At: at})
		if err != nil {
			t.Error(err)
		}
		return ok
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	asked := 0
	for i := range 20 {
		wg.Go(func() {
			if ask([]mail.Address{kim, "Kim@Example.com"}[i%2], lists()[i%3], at()) {
				mu.Lock()
				defer mu.Unlock()
				asked++
			}
		})
	}
	wg.Wait()
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
	if ask(kim, "promo", at().Add(24*time.Hour-time.Second)) || !ask(kim, "promo", day(1)) || !ask("lee@example.com", "promo", day(1)) {
		t.Error("once a day and an address")
	}
}

func TestRemindersAreRemembered(t *testing.T) {
	x := newIndex(t)
	if _, found, err := x.LastReminder(kim, "promo"); found || err != nil {
		t.Errorf("%v, %v", found, err)
	}
	for n := range 3 {
		if err := x.Reminded(t.Context(), kim, "promo", on(n, "consent due")); err != nil {
			t.Fatal(err)
		}
	}
	if e, found, err := x.LastReminder("KIM@example.com", "promo"); err != nil || !found || !e.At.Equal(day(2)) {
		t.Errorf("%+v, %v, %v", e, found, err)
	}
}

func TestAPersonWhoMovedKeepsWhatTheyLeft(t *testing.T) {
	x, store := newIndex(t), users(t, kim)
	x.SetLists(lists())
	leave(t, x, kim, "promo")
	suppress(t, x, bounced(kim, day(0)))
	for range 2 {
		if err := x.Moved(t.Context(), kim, "kim@new.example", on(1, "sync")); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Put(t.Context(), []directory.User{{Email: "kim@new.example", Subscribed: true}}); err != nil {
		t.Fatal(err)
	}
	wantBlocked(t, x, "KIM@new.example", "promo", "unsubscribed")
	wantBlocked(t, x, "kim@new.example", "news", "") // the bounce was the old mailbox's
	tellAll(t, x, store)
	wantUser(t, store, "kim@new.example", true, "promo")
	wantHistory(t, x, "kim@new.example", "opt-out promo", "suppress ", "moved ", "moved ")
	wantHistory(t, x, kim, "opt-out promo", "suppress ", "moved ")

	// A mail to the old address still lets the person leave, and come back.
	leave(t, x, kim, "news")
	wantBlocked(t, x, "kim@new.example", "news", "unsubscribed")
	if _, err := x.Restore(t.Context(), "kim@new.example", "promo", directory.Evidence{At: day(2), Note: "asked"}); err != nil {
		t.Errorf("the entry of the old address shows it: %v", err)
	}
	if s, err := x.State(t.Context(), store, kim, lists()); err != nil || s.User != "kim@new.example" || s.On["news"] || !s.On["promo"] || !s.Found {
		t.Errorf("%+v, %v", s, err)
	}
	// So does a complaint about it.
	if _, err := x.Complained(t.Context(), kim, kim, directory.Suppression{Reason: "abuse", At: day(3)}); err != nil {
		t.Fatal(err)
	}
	wantBlocked(t, x, "kim@new.example", "", "suppressed")
	if err := x.Moved(t.Context(), "kim@new.example", "kim@newer.example", on(4, "sync")); err != nil {
		t.Fatal(err)
	}
	wantBlocked(t, x, "kim@newer.example", "", "suppressed")
	if err := x.Confirmed(t.Context(), "kim@newer.example", "promo", on(5, "confirmed")); err != nil {
		t.Fatal(err)
	}
	wantBlocked(t, x, "kim@newer.example", "promo", "")
	wantBlocked(t, x, "kim@newer.example", "vip", "unsubscribed")
	// There and back again: no circle.
	if err := x.Moved(t.Context(), "kim@newer.example", kim, on(6, "sync")); err != nil {
		t.Fatal(err)
	}
	leave(t, x, "kim@new.example", "vip")
	wantBlocked(t, x, kim, "", "suppressed") // never confirmed there
}

// Somebody else gets the old address, and agrees to get mail there.
func TestAnAddressThatIsTakenAnewIsAnotherPerson(t *testing.T) {
	x := newIndex(t)
	x.SetLists(lists())
	leave(t, x, kim, "promo")
	if err := x.Moved(t.Context(), kim, "kim@new.example", on(1, "sync")); err != nil {
		t.Fatal(err)
	}
	if err := x.Agreed(t.Context(), kim, lists(), day(2), on(3, "sync")); err != nil {
		t.Fatal(err)
	}
	wantBlocked(t, x, kim, "promo", "")
	wantBlocked(t, x, "kim@new.example", "promo", "unsubscribed")
	leave(t, x, kim, "news")
	wantBlocked(t, x, "kim@new.example", "news", "")
}

func TestAUserWhoIsWrittenAnotherWayIsTold(t *testing.T) {
	x, store := newIndex(t), users(t, "Kim@Example.com")
	leave(t, x, kim, "promo")
	if err := x.Moved(t.Context(), kim, "Kim@Example.com", on(1, "sync")); err != nil {
		t.Fatal(err)
	}
	leave(t, x, kim, "news")
	tellAll(t, x, store)
	wantUser(t, store, "Kim@Example.com", true, "news", "promo")
	// The normalised spelling is told without that.
	lower := users(t, "lee@example.com")
	leave(t, x, "Lee@EXAMPLE.com", "promo")
	tellAll(t, x, lower)
	wantUser(t, lower, "lee@example.com", true, "promo")
}

func TestOppositeWordsAtTheSameTimeEndAlikeEverywhere(t *testing.T) {
	x, store := newIndex(t), users(t, kim)
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			c := directory.Choice{Known: lists(), All: i%5 == 0}
			if i%2 == 0 {
				c.Join = []string{lists()[i%3]}
			} else {
				c.Leave = []string{lists()[i%3]}
			}
			if _, err := x.Choose(t.Context(), kim, c, on(i, fmt.Sprint(i))); err != nil {
				t.Error(err)
			}
			_, _ = x.Replay(t.Context(), store)
		})
	}
	wg.Wait()
	tellAll(t, x, store)
	u, err := store.Get(t.Context(), kim)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range lists() {
		if _, blocked := x.Blocked(kim, id); blocked == u.Receives(id) {
			t.Errorf("list %s: blocked %v, receives %v", id, blocked, u.Receives(id))
		}
	}
	verify(t, x, uint64(len(must(x.Ledger(0, 1000)))))
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Who holds a link could come and go for ever; how often they came back is read from the
// end of the history and no further.
func TestReturnsAreCountedUpToABound(t *testing.T) {
	x := newIndex(t)
	when := at()
	for range 4 {
		ev := directory.Evidence{At: when, How: "page"}
		if err := x.OptOut(t.Context(), "min@example.net", "promo", ev); err != nil {
			t.Fatal(err)
		}
		if err := x.Consent(t.Context(), "min@example.net", "promo", ev); err != nil {
			t.Fatal(err)
		}
		when = when.Add(time.Hour)
	}
	for _, c := range []struct {
		since  time.Time
		atMost int
		want   int
	}{{at(), 10, 4}, {at(), 2, 2}, {when.Add(-time.Hour), 10, 1}, {when, 10, 0}} {
		if n, err := x.Returns("Min@example.net", c.since, c.atMost); err != nil || n != c.want {
			t.Errorf("%d since %v, want %d (%v)", n, c.since, c.want, err)
		}
	}
}
