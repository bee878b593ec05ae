package directory_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/directory"
	"postern/directory/directorytest"
	"postern/directory/embedded"
	"postern/mail"
)

// suppress says whether that changed anything.
func suppress(t testing.TB, x *directory.Index, s directory.Suppression) bool {
	t.Helper()
	changed, err := x.Suppress(context.Background(), s)
	if err != nil {
		t.Fatal(err)
	}
	return changed
}

func bounced(addr mail.Address, when time.Time) directory.Suppression {
	return directory.Suppression{Address: addr, Kind: directory.KindBounce, Reason: "550 5.1.1 no such user", At: when, Evidence: evidence(addr)}
}

func evidence(user mail.Address) directory.Evidence {
	return directory.Evidence{How: "Amazon SES by SQS", Message: "01KANQ0Y8G0000000000000000", Copy: "01KANQ0Y8G0000000000000000-7", UpstreamID: "0102-abc",
		EventID: "feedback-1", Status: "5.1.1", Words: "smtp; 550 5.1.1 no such user", UserKey: user}
}

func lift(t testing.TB, x *directory.Index, addr mail.Address, when time.Time) {
	t.Helper()
	if _, err := x.Unsuppress(context.Background(), addr, directory.Lift{By: "boss", At: when, Complaint: true}); err != nil {
		t.Fatal(err)
	}
}

func wantSuppression(t testing.TB, x *directory.Index, want directory.Suppression) {
	t.Helper()
	got, found, err := x.Suppression(want.Address)
	if err != nil || !found || got != want {
		t.Errorf("got  %+v, %v, %v\nwant %+v", got, found, err, want)
	}
}

func day(n int) time.Time { return at().AddDate(0, 0, n) }

func TestASuppressionKeepsItsFirstReasonAndEvidence(t *testing.T) {
	x := newIndex(t)
	first := bounced("Gone@example.com", at())
	if !suppress(t, x, first) {
		t.Error("the first word changed nothing")
	}
	later := directory.Suppression{Address: "gone@EXAMPLE.com", Kind: directory.KindManual, Reason: "asked by phone", At: day(1)}
	if suppress(t, x, later) || suppress(t, x, first) {
		t.Error("a later word changed something")
	}
	wantSuppression(t, x, first)
	if got, err := x.Ledger(0, 10); err != nil || len(got) != 1 || got[0].Evidence != first.Evidence || got[0].Why != directory.KindBounce {
		t.Errorf("ledger %+v, %v", got, err)
	}
}

func TestAComplaintOverrulesABounce(t *testing.T) {
	x := newIndex(t)
	suppress(t, x, bounced("kim@example.com", at()))
	complaint := directory.Suppression{Reason: "reported as spam", At: day(2), Evidence: directory.Evidence{EventID: "feedback-2"}}
	for i, want := range []bool{true, false} {
		changed, err := x.Complained(t.Context(), "kim@example.com", "Kim@example.com", complaint)
		if err != nil || changed != want {
			t.Errorf("time %d: %v, %v", i+1, changed, err)
		}
	}
	want := complaint
	want.Address, want.Kind, want.Evidence.UserKey = "kim@example.com", directory.KindComplaint, "Kim@example.com"
	want.Reason = "reported as spam (before that, since 2026-11-22: 550 5.1.1 no such user)"
	wantSuppression(t, x, want)
	if suppress(t, x, bounced("kim@example.com", day(3))) {
		t.Error("a bounce overruled a complaint")
	}
	wantSuppression(t, x, want)
	ledger, err := x.Ledger(0, 10)
	if err != nil || len(ledger) != 3 || ledger[0].Why != directory.KindBounce || ledger[1].Why != directory.KindComplaint || ledger[1].Reason != "reported as spam" ||
		ledger[2].Kind != "opt-out" || ledger[2].List != directory.AllLists || ledger[2].How != "complaint" || !ledger[2].At.Equal(day(2)) {
		t.Errorf("ledger %+v, %v", ledger, err)
	}
	wantBlocked(t, x, "kim@example.com", "promo", "suppressed")
	if left, err := x.Left("kim@example.com"); err != nil || !reflect.DeepEqual(left, []string{directory.AllLists}) {
		t.Errorf("left %v, %v", left, err)
	}
}

// A person who joins a list again after a complaint is not sent off by the same
// complaint, which comes again; nor is one whose suppression was lifted.
func TestAComplaintThatComesAgainChangesNothing(t *testing.T) {
	x := newIndex(t)
	complain := func() bool {
		t.Helper()
		changed, err := x.Complained(t.Context(), "kim@example.com", "", directory.Suppression{Reason: "abuse", At: at()})
		if err != nil {
			t.Fatal(err)
		}
		return changed
	}
	if !complain() {
		t.Error("the complaint changed nothing")
	}
	if err := x.Consent(t.Context(), "kim@example.com", directory.AllLists, click()); err != nil {
		t.Fatal(err)
	}
	if complain() {
		t.Error("the complaint that came again changed something")
	}
	lift(t, x, "kim@example.com", day(1))
	if complain() {
		t.Error("the complaint from before the lifting changed something")
	}
	wantBlocked(t, x, "kim@example.com", "promo", "")
}

// What Amazon's list said before does not keep a complaint from its second half.
func TestAComplaintAfterAnImportedOneStillLeavesAllLists(t *testing.T) {
	x := newIndex(t)
	suppress(t, x, directory.Suppression{Address: "kim@example.com", Kind: directory.KindComplaint, Reason: "imported", At: at()})
	changed, err := x.Complained(t.Context(), "kim@example.com", "", directory.Suppression{Reason: "abuse", At: day(1)})
	left, _ := x.Left("kim@example.com")
	if err != nil || !changed || len(left) != 1 {
		t.Errorf("%v, %v, left %v", changed, err, left)
	}
}

func TestWhatWasBeforeALiftingNeverSuppressesAgain(t *testing.T) {
	x := newIndex(t)
	suppress(t, x, bounced("kim@example.com", at()))
	lift(t, x, "KIM@example.com", day(2))
	for name, s := range map[string]directory.Suppression{"the same": bounced("kim@example.com", at()), "another": bounced("kim@example.com", day(1)), "at that moment": bounced("kim@example.com", day(2))} {
		if suppress(t, x, s) {
			t.Errorf("%s: suppressed", name)
		}
	}
	wantBlocked(t, x, "kim@example.com", "", "")
	if !suppress(t, x, bounced("kim@example.com", day(2).Add(time.Second))) {
		t.Error("a bounce after it changes nothing")
	}
	lift(t, x, "kim@example.com", day(4))
	if !suppress(t, x, directory.Suppression{Address: "kim@example.com", Kind: directory.KindManual, Reason: "asked by phone", At: day(3)}) {
		t.Error("a person's latest word is not taken while the clock is late")
	}
}

func TestAComplaintIsLiftedOnlyOnPurpose(t *testing.T) {
	x := newIndex(t)
	if _, err := x.Complained(t.Context(), "kim@example.com", "", directory.Suppression{Reason: "abuse", At: at()}); err != nil {
		t.Fatal(err)
	}
	was, err := x.Unsuppress(t.Context(), "kim@example.com", directory.Lift{By: "boss", At: day(1)})
	if !errors.Is(err, directory.ErrComplaint) || was.Reason != "abuse" {
		t.Errorf("%+v, %v", was, err)
	}
	wantBlocked(t, x, "kim@example.com", "", "suppressed")
	lift(t, x, "kim@example.com", day(1))
	wantBlocked(t, x, "kim@example.com", "", "")
	wantBlocked(t, x, "kim@example.com", "promo", "unsubscribed") // what the person left stays left
	if _, err := x.Unsuppress(t.Context(), "kim@example.com", directory.Lift{By: "boss", At: day(1)}); !errors.Is(err, directory.ErrNotSuppressed) {
		t.Error(err)
	}
}

// What servers say is kept in bounds, and is a line.
func TestTheTextsOfASuppressionAreBounded(t *testing.T) {
	x := newIndex(t)
	long := strings.Repeat("민\r\n\x1b[2J\u202e", 10_000)
	suppress(t, x, directory.Suppression{Address: "a@example.com", Kind: directory.KindBounce, Reason: long, At: at(), Evidence: directory.Evidence{How: long, Remote: long, Message: mail.ID(long),
		Copy: long, UpstreamID: long, EventID: long, Status: long, Words: long, UserKey: mail.Address(long)}})
	got, _, err := x.Suppression("a@example.com")
	row, _ := json.Marshal(got)
	if err != nil || len(row) > 3500 || strings.ContainsAny(string(row), "\x1b\u202e") || strings.Contains(string(row), `\r`) || !strings.HasSuffix(got.Reason, "…") || !strings.HasPrefix(got.Reason, "민") {
		t.Errorf("%d bytes, %v: %s", len(row), err, row)
	}
}

func TestWhatIsNoSuppressionIsRefused(t *testing.T) {
	x := newIndex(t)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, s := range map[string]directory.Suppression{
		"null sender": bounced("", at()), "too long": bounced(mail.Address(strings.Repeat("x", 40_000)+"@example.com"), at()), "no address": bounced("kim", at()),
		"no time": bounced("a@example.com", time.Time{}), "no kind": {Address: "a@example.com", At: at(), Kind: "because"},
	} {
		if _, err := x.Suppress(t.Context(), s); mail.ClassOf(err) != mail.Permanent {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err1 := x.Suppress(ended, bounced("a@example.com", at()))
	_, err2 := x.Complained(ended, "a@example.com", "", directory.Suppression{At: at()})
	_, err3 := x.SoftBounce(ended, "a@example.com", at(), "2026-11-22", directory.Evidence{})
	_, err4 := x.Unsuppress(ended, "a@example.com", directory.Lift{At: at()})
	for i, err := range []error{err1, err2, err3, err4} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("call %d after the end: %v", i+1, err)
		}
	}
	if _, err := x.SoftBounce(t.Context(), "a@example.com", at(), "yesterday", directory.Evidence{}); mail.ClassOf(err) != mail.Permanent {
		t.Error(err)
	}
	if list, err := x.Suppressions("", 10); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
}

// Both drivers, and the model, are told of a suppression and of its end; nobody
// comes into being by it.
func TestTheUsersRowSaysThatTheUserIsSuppressed(t *testing.T) {
	for name, store := range map[string]directory.Store{"model": newMemory(), "embedded": openEmbedded(t)} {
		t.Run(name, func(t *testing.T) {
			x := newIndex(t)
			if err := store.Put(t.Context(), []directory.User{{Email: "Kim@example.com", Subscribed: true}, {Email: "kim@example.com", Subscribed: true}, {Email: "lee@example.com", Subscribed: true}}); err != nil {
				t.Fatal(err)
			}
			s := bounced("kim@example.com", at())
			s.Evidence.UserKey = "Kim@example.com"
			suppress(t, x, s)
			suppress(t, x, bounced("ghost@example.com", at()))
			if _, err := x.Complained(t.Context(), "lee@example.com", "", directory.Suppression{Reason: "abuse", At: day(1)}); err != nil {
				t.Fatal(err)
			}
			replay(t, x, store, 4) // two words about lee
			all := directorytest.All(t, store)
			if got := all["Kim@example.com"]; got.Value("Suppressed") != "bounced 2026-11-22: 550 5.1.1 no such user" || !got.Subscribed {
				t.Errorf("kim: %+v", got)
			}
			if got := all["lee@example.com"]; got.Value("Suppressed") != "complained 2026-11-23: abuse" || got.Subscribed || got.Receives("promo") {
				t.Errorf("lee: %+v", got)
			}
			if _, there := all["kim@example.com"].Attributes["Suppressed"]; there || len(all) != 3 {
				t.Errorf("%+v: want nothing of another spelling, and no ghost", all)
			}
			s.Evidence.UserKey = "kim@example.com" // the other user of this address gets mail too
			if suppress(t, x, s) {
				t.Error("another user of the address is no new suppression")
			}
			replay(t, x, store, 1)
			lift(t, x, "kim@example.com", day(2))
			lift(t, x, "lee@example.com", day(2))
			replay(t, x, store, 3)
			for key, u := range directorytest.All(t, store) {
				if _, there := u.Attributes["Suppressed"]; there {
					t.Errorf("%s after the lifting: %+v", key, u)
				}
			}
		})
	}
}

func openEmbedded(t testing.TB) directory.Store {
	store, err := embedded.Open(filepath.Join(t.TempDir(), "directory.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

func replay(t testing.TB, x *directory.Index, store directory.Store, want int) {
	t.Helper()
	if n, err := x.Replay(context.Background(), store); err != nil || n != want {
		t.Errorf("%d settled, %v; want %d", n, err, want)
	}
	wantPending(t, x, 0)
}

func TestAKeyOfAnotherAddressIsNotThisUser(t *testing.T) {
	x := newIndex(t)
	s := bounced("kim@example.com", at())
	s.Evidence.UserKey = "lee@example.com"
	suppress(t, x, s)
	wantPending(t, x, 0)
}

// While the store is told of a suppression it is lifted: the latest word stays.
func TestALiftingDuringReplayIsToldAfterwards(t *testing.T) {
	x := newIndex(t)
	store := users(t, "kim@example.com")
	suppress(t, x, bounced("kim@example.com", at()))
	first := true
	store.fail = func(string, mail.Address) error {
		if first {
			first = false
			lift(t, x, "kim@example.com", day(1))
		}
		return nil
	}
	if _, err := x.Replay(t.Context(), store); err != nil {
		t.Fatal(err)
	}
	store.fail = nil
	replay(t, x, store, 1)
	if u := store.users["kim@example.com"]; len(u.Attributes) != 0 {
		t.Errorf("%+v", u)
	}
}

func TestAStoreThatIsDownIsToldOfSuppressionsLater(t *testing.T) {
	x := newIndex(t)
	store := users(t, "kim@example.com")
	suppress(t, x, bounced("kim@example.com", at()))
	store.fail = func(string, mail.Address) error { return errors.New("no route to host") }
	if _, err := x.Replay(t.Context(), store); err == nil || !strings.Contains(err.Error(), `tell the directory that "kim@example.com" is suppressed`) {
		t.Errorf("got %v", err)
	}
	wantPending(t, x, 1)
	store.fail = nil
	replay(t, x, store, 1)
	if got := store.users["kim@example.com"]; got.Value("Suppressed") == "" {
		t.Errorf("%+v", got)
	}
}

// A sheet that was exported before, edited and imported says nothing about
// suppressions that came meanwhile; and {{Suppressed}} is no field of a mail.
func TestAnImportOfUsersPassesTheSuppressedColumnOver(t *testing.T) {
	store := users(t, "kim@example.com", "lee@example.com")
	told := map[string]any{"Suppressed": "bounced 2026-11-22"}
	if err := store.Update(t.Context(), "kim@example.com", directory.Change{Attributes: told}); err != nil {
		t.Fatal(err)
	}
	sheet := export(t, store)
	if !strings.Contains(sheet, "Suppressed") {
		t.Errorf("the export does not tell: %s", sheet)
	}
	res := importInto(t, store, lines("Email,Name,Suppressed", "kim@example.com,Kim,", "lee@example.com,Lee,bounced 2020-01-01"))
	kim, lee := store.users["kim@example.com"], store.users["lee@example.com"]
	if res.Bad != 0 || kim.Value("Suppressed") != "bounced 2026-11-22" || kim.Value("Name") != "Kim" || lee.Value("Suppressed") != "" || res.Fields["Suppressed"] != "" {
		t.Errorf("%+v, %+v, %+v", res, kim, lee)
	}
	fields := map[string]string{}
	directory.CollectFields(fields, []directory.User{kim})
	if _, there := fields["Suppressed"]; there {
		t.Errorf("fields %v", fields)
	}
}

func TestSuppressionsLikeAPrefix(t *testing.T) {
	x := newIndex(t)
	for _, addr := range []mail.Address{"kim.a@example.com", "Kim.B@example.com", "lee@example.com", "ki@example.com"} {
		suppress(t, x, bounced(addr, at()))
	}
	for prefix, want := range map[string]int{"": 4, "KIM": 2, "kim.b@example.com": 1, "ki": 3, "m": 0} {
		if got, err := x.SuppressionsLike(prefix, "", 10); err != nil || len(got) != want {
			t.Errorf("%q: %v, %v; want %d", prefix, got, err, want)
		}
	}
	first, err1 := x.SuppressionsLike("ki", "", 2)
	rest, err2 := x.SuppressionsLike("ki", "Kim.A@example.com", 2)
	if err := errors.Join(err1, err2); err != nil || len(first) != 2 || len(rest) != 1 || rest[0].Address != "Kim.B@example.com" {
		t.Errorf("%v, then %v, %v", first, rest, err)
	}
}

// What is returned is on the disk: each call is seen by whoever opens a copy of
// the file as it is at that moment.
func TestWhatIsReturnedSurvivesACrash(t *testing.T) {
	path := filepath.Join(t.TempDir(), "optout.db")
	x := openIndex(t, path)
	crashed := func() *directory.Index {
		t.Helper()
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		now := filepath.Join(t.TempDir(), "optout.db")
		if err := os.WriteFile(now, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return openIndex(t, now)
	}
	suppress(t, x, bounced("kim@example.com", at()))
	y := crashed()
	wantSuppression(t, y, bounced("kim@example.com", at()))
	wantPending(t, y, 1)
	if _, err := x.Complained(t.Context(), "lee@example.com", "", directory.Suppression{Reason: "abuse", At: at()}); err != nil {
		t.Fatal(err)
	}
	y = crashed()
	wantBlocked(t, y, "lee@example.com", "", "suppressed")
	wantPending(t, y, 3)
	for n := range 4 {
		if _, err := x.SoftBounce(t.Context(), "soft@example.com", day(n), day(n).Format(time.DateOnly), directory.Evidence{}); err != nil {
			t.Fatal(err)
		}
	}
	if is, err := crashed().SoftBounce(t.Context(), "soft@example.com", day(9), day(9).Format(time.DateOnly), directory.Evidence{}); err != nil || !is {
		t.Errorf("after a crash the fifth day: %v, %v", is, err)
	}
	lift(t, x, "kim@example.com", day(1))
	y = crashed()
	if suppress(t, y, bounced("kim@example.com", at())) {
		t.Error("after a crash an event from before the lifting suppresses")
	}
}

func TestSuppressionsAtTheSameTimeAreAllKept(t *testing.T) {
	x := newIndex(t)
	store := users(t)
	ctx, stop := context.WithCancel(t.Context())
	var loop, wg sync.WaitGroup
	loop.Go(func() {
		for ctx.Err() == nil {
			if _, err := x.Replay(ctx, store); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
		}
	})
	for i := range 120 {
		addr := mail.Address(fmt.Sprintf("u%d@example.com", i%40))
		wg.Go(func() { suppress(t, x, bounced(addr, day(1))) })
		wg.Go(func() {
			if _, err := x.Complained(context.Background(), addr, addr, directory.Suppression{Reason: "abuse", At: day(1)}); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			soft := mail.Address(fmt.Sprintf("soft%d@example.com", i%10))
			if _, err := x.SoftBounce(context.Background(), soft, day(i%12), day(i%12).Format(time.DateOnly), directory.Evidence{}); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() { x.Blocked(addr, "promo") })
	}
	wg.Wait()
	stop()
	loop.Wait()
	for i := range 40 {
		s, _, err := x.Suppression(mail.Address(fmt.Sprintf("u%d@example.com", i)))
		if err != nil || s.Kind != directory.KindComplaint {
			t.Errorf("%+v, %v", s, err)
		}
	}
	if list, err := x.SuppressionsLike("u", "", 100); err != nil || len(list) != 40 {
		t.Errorf("%d, %v", len(list), err)
	}
}

// TestAnIndexOfAnEarlierVersionIsReadOn opens testdata/index1.db.gz, which the
// version before kinds and evidence wrote: it is never written anew.
func TestAnIndexOfAnEarlierVersionIsReadOn(t *testing.T) {
	x := openIndex(t, fixture(t, "index1.db.gz"))
	want := directory.Suppression{Address: "Gone@example.com", Kind: directory.KindManual, Reason: "550 5.1.1 no such user", At: at()}
	wantSuppression(t, x, want)
	if list, err := x.Suppressions("", 10); err != nil || len(list) != 2 || list[0] != want || list[1].Kind != directory.KindManual {
		t.Errorf("%+v, %v", list, err)
	}
	wantBlocked(t, x, "gone@example.com", "", "suppressed")
	wantBlocked(t, x, "back@example.com", "", "")
	wantBlocked(t, x, "kim@example.com", "promo", "unsubscribed")
	wantPending(t, x, 2)
	ledger, err := x.Ledger(0, 10)
	if err != nil || len(ledger) != 6 || ledger[2] != (directory.Entry{Number: 3, At: at(), Kind: "suppress", Address: "Gone@example.com", Reason: "550 5.1.1 no such user"}) {
		t.Errorf("%+v, %v", ledger, err)
	}
	if changed, err := x.Complained(t.Context(), "gone@example.com", "", directory.Suppression{Reason: "abuse", At: day(1)}); err != nil || !changed {
		t.Errorf("%v, %v", changed, err)
	}
	lift(t, x, "old@example.com", day(1))
	wantBlocked(t, x, "old@example.com", "", "")
}
