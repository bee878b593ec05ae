package mysqlsync_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"postern/directory"
	"postern/directory/mysqlsync"
	"postern/mail"
)

const both = "news promo"

// shop fills the table with n people: user1 is subscribed, and so on.
func (w *world) shop(n int) {
	for i := 1; i <= n; i++ {
		w.table.set(person{id: i, email: fmt.Sprintf("user%d@example.com", i), name: fmt.Sprintf("김%d", i), status: "yes"})
	}
}

// A row that is as before is not written again, so somebody must be told.
func TestAReconcileSaysWhatTheDirectoryHasLost(t *testing.T) {
	w := newWorld(t)
	w.shop(5)
	w.pass(mysqlsync.Options{})
	w.put(directory.User{Email: "stranger@example.com", Subscribed: true})
	if r := w.pass(mysqlsync.Options{Reconcile: true}); r.Missing != 0 || r.Strangers != 1 {
		t.Errorf("nothing is lost: %+v", r)
	}
	w.must(w.store.Store.Delete(t.Context(), []mail.Address{"user2@example.com", "user3@example.com"}))
	w.table.edit(4, func(p *person) { p.deleted = true })
	for _, dry := range []bool{true, false} {
		if r := w.pass(mysqlsync.Options{Reconcile: true, DryRun: dry}); r.Missing != 2 || r.Gone != 1 {
			t.Errorf("dry %v: %+v", dry, r)
		}
	}
}

func TestADryRunSaysWhoAConsentWouldBringBack(t *testing.T) {
	w := newWorld(t)
	w.shop(3)
	w.pass(mysqlsync.Options{})
	left := time.Now().Add(-time.Hour)
	for _, email := range []mail.Address{"user1@example.com", "user2@example.com"} {
		w.must(w.index.OptOut(t.Context(), email, directory.AllLists, directory.Evidence{At: left, How: "page"}))
	}
	w.hear()
	w.table.edit(1, func(p *person) { p.consent = left.Add(time.Minute) })
	w.table.edit(2, func(p *person) { p.consent = left.Add(-time.Minute) })
	for _, dry := range []bool{true, false} {
		if r := w.pass(mysqlsync.Options{DryRun: dry}); r.Back != 1 || r.Kept != 1 || r.Consents != 2 {
			t.Errorf("dry %v: %+v", dry, r)
		}
	}
}

func TestTheFileOfRejectsSaysSinceWhenAndIsNoFormula(t *testing.T) {
	w := newWorld(t)
	w.shop(5)
	w.table.edit(4, func(p *person) { p.email, p.problem = "=cmd|calc", "email is no address" })
	w.pass(mysqlsync.Options{})
	w.must(mysqlsync.AgeAsides(w.state, 48*time.Hour))
	since := time.Now().UTC().Add(-48 * time.Hour).Format("2006-01-02T")
	w.pass(mysqlsync.Options{Reconcile: true})
	if text, err := os.ReadFile(w.cfg.Rejects); err != nil || !strings.Contains(string(text), "000004,'=cmd|calc,email is no address,"+since) {
		t.Errorf("read again: %s %v", text, err)
	}
	w.table.edit(4, func(p *person) { p.problem = "email is empty" })
	w.pass(mysqlsync.Options{})
	if text, err := os.ReadFile(w.cfg.Rejects); err != nil || !strings.Contains(string(text), "email is empty,") || strings.Contains(string(text), since) {
		t.Errorf("for another reason: %s %v", text, err)
	}
}

func TestAFirstLoadAndWhatChangesAfterIt(t *testing.T) {
	w := newWorld(t)
	w.shop(7)
	w.table.edit(2, func(p *person) { p.status = "no" })
	w.table.edit(3, func(p *person) { p.status = "" })
	w.table.edit(4, func(p *person) { p.problem = "email is empty" })
	r := w.pass(mysqlsync.Options{})
	if r.Kind != mysqlsync.FirstLoad || r.New != 6 || r.Unknown != 1 || r.Gone+r.Changed != 0 {
		t.Errorf("%+v", r)
	}
	w.wants(map[string]string{"user1@example.com": both, "user2@example.com": "", "user3@example.com": "", "user5@example.com": both, "user6@example.com": both, "user7@example.com": both})
	if text, err := os.ReadFile(w.cfg.Rejects); err != nil || !strings.Contains(string(text), "000004,user4@example.com,email is empty,") {
		t.Errorf("the file of rejects: %s %v", text, err)
	}
	w.table.edit(1, func(p *person) { p.name = "김민수" })
	w.table.edit(2, func(p *person) { p.status = "yes" })
	w.table.edit(4, func(p *person) { p.problem = "" })
	w.table.edit(5, func(p *person) { p.status = "no" })
	w.table.edit(6, func(p *person) { p.deleted = true })
	w.table.set(person{id: 8, email: "user8@example.com", status: "yes"})
	r = w.pass(mysqlsync.Options{})
	if r.Kind != mysqlsync.Incremental || r.New != 2 || r.Changed != 3 || r.Gone != 1 || r.Unsubscribed != 1 || r.Subscribed != 1 || r.Bad != 0 {
		t.Errorf("%+v", r)
	}
	w.wants(map[string]string{"user1@example.com": both, "user2@example.com": both, "user3@example.com": "", "user4@example.com": both, "user5@example.com": "", "user7@example.com": both, "user8@example.com": both})
	if u := w.user("user1@example.com"); u.Value("Name") != "김민수" {
		t.Errorf("%+v", u)
	}
	if _, err := os.Stat(w.cfg.Rejects); err == nil {
		t.Error("the file of rejects is still there, and no row is set aside")
	}
	st, err := w.sync.Status()
	if err != nil || !st.Loaded || st.Users != 7 || st.Aside != 0 || st.Last == nil || st.Last.New != 2 || st.Running != nil {
		t.Errorf("%+v %v", st, err)
	}
}

// TestWhatIsTheSameIsNotWritten: neither again within the overlap nor by a reconcile.
func TestWhatIsTheSameIsNotWritten(t *testing.T) {
	w := newWorld(t)
	w.shop(20)
	w.pass(mysqlsync.Options{})
	writes := w.store.writes
	if r := w.pass(mysqlsync.Options{}); r.Read == 0 || r.Same != r.Read {
		t.Errorf("the overlap was not read again: %+v", r)
	}
	if r := w.pass(mysqlsync.Options{Reconcile: true}); r.Read < 20 || r.Same != r.Read {
		t.Errorf("%+v", r)
	}
	if w.store.writes != writes {
		t.Errorf("%d writes for nothing", w.store.writes-writes)
	}
}

func TestAnOptOutMadeHereBeatsMySQLUntilALaterConsent(t *testing.T) {
	w := newWorld(t)
	w.shop(4)
	w.pass(mysqlsync.Options{})
	w.leave("user1@example.com", directory.AllLists)
	w.leave("user2@example.com", "promo")
	w.leave("user3@example.com", directory.AllLists)
	early := w.table.clock.Add(-time.Minute)
	for id := 1; id <= 4; id++ {
		w.table.edit(id, func(p *person) { p.name, p.consent = "neu", early })
	}
	r := w.pass(mysqlsync.Options{})
	if r.Kept != 2 {
		t.Errorf("%d were kept away, want 2: %+v", r.Kept, r)
	}
	w.wants(map[string]string{"user1@example.com": "", "user2@example.com": "news", "user3@example.com": "", "user4@example.com": both})
	for id := 1; id <= 4; id++ { // off and on again, without a word of consent
		w.table.edit(id, func(p *person) { p.status = "no" })
	}
	w.pass(mysqlsync.Options{})
	for id := 1; id <= 4; id++ {
		w.table.edit(id, func(p *person) { p.status = "yes" })
	}
	w.pass(mysqlsync.Options{})
	w.wants(map[string]string{"user1@example.com": "", "user2@example.com": "news", "user3@example.com": "", "user4@example.com": both})
	late := w.table.clock.Add(time.Minute)
	for id := 1; id <= 2; id++ {
		w.table.edit(id, func(p *person) { p.consent = late })
	}
	w.table.edit(3, func(p *person) { p.consent, p.status = late, "no" }) // agreed, says one column; not subscribed, the other
	w.pass(mysqlsync.Options{})
	w.wants(map[string]string{"user1@example.com": both, "user2@example.com": both, "user3@example.com": "", "user4@example.com": both})
	w.leave("user1@example.com", "promo")
	w.pass(mysqlsync.Options{Reconcile: true}) // the same consent does not count twice
	w.wants(map[string]string{"user1@example.com": "news", "user2@example.com": both, "user3@example.com": "", "user4@example.com": both})
	w.table.edit(3, func(p *person) { p.status = "yes" }) // and its consent counts now
	w.pass(mysqlsync.Options{})
	if got := w.gets("user3@example.com"); got != both {
		t.Errorf("user3 gets %q", got)
	}
}

// TestWhoLeavesWhileTheDirectoryIsAwayStaysAway: the directory has not heard of it when
// the sync writes.
func TestWhoLeavesWhileTheDirectoryIsAwayStaysAway(t *testing.T) {
	w := newWorld(t)
	w.table.set(person{id: 1, email: "kim@example.com", status: "no"})
	w.pass(mysqlsync.Options{})
	w.leave("kim@example.com", directory.AllLists)
	w.table.edit(1, func(p *person) { p.status = "yes" })
	if _, err := w.sync.Run(t.Context(), mysqlsync.Options{}, nil); err != nil {
		t.Fatal(err)
	}
	w.wants(map[string]string{"kim@example.com": ""})
	w.hear()
	w.wants(map[string]string{"kim@example.com": ""})
	if u := w.user("kim@example.com"); u.Subscribed {
		t.Errorf("%+v", u)
	}
}

// TestANoThatMySQLDidNotBringStays: the old system wrote its opt-outs into the directory.
func TestANoThatMySQLDidNotBringStays(t *testing.T) {
	w := newWorld(t)
	w.put(directory.User{Email: "no@example.com", Attributes: map[string]any{"Name": "old"}},
		directory.User{Email: "unknown@example.com", KeepStatus: true},
		directory.User{Email: "yes@example.com", Subscribed: true, Attributes: map[string]any{"Shoe": "245"}},
		directory.User{Email: "left@example.com", Subscribed: true, OptOut: []string{"promo"}},
		directory.User{Email: "stranger@example.com", Subscribed: true})
	for i, who := range []string{"no", "unknown", "yes", "left"} {
		w.table.set(person{id: i, email: who + "@example.com", name: who, status: "yes"})
	}
	r := w.pass(mysqlsync.Options{})
	if r.Kept != 1 || r.New != 0 || r.Changed != 4 {
		t.Errorf("%+v", r)
	}
	want := map[string]string{"no@example.com": "", "unknown@example.com": both, "yes@example.com": both, "left@example.com": "news", "stranger@example.com": both}
	w.wants(want)
	if u := w.user("no@example.com"); u.Value("Name") != "no" {
		t.Errorf("%+v", u)
	}
	if u := w.user("yes@example.com"); u.Value("Shoe") != "245" {
		t.Errorf("what MySQL does not know is gone: %+v", u)
	}
	no := false // written straight into the table, later
	w.must(w.store.Update(t.Context(), "yes@example.com", directory.Change{Subscribed: &no}))
	w.table.edit(2, func(p *person) { p.name = "anders" })
	w.pass(mysqlsync.Options{})
	want["yes@example.com"] = ""
	w.wants(want)
	if _, blocked := w.index.Blocked("yes@example.com", "news"); !blocked {
		t.Error("the index does not know of it")
	}
}

func TestAnUnsubscribeInMySQLIsNoOptOutMadeHere(t *testing.T) {
	w := newWorld(t)
	w.put(directory.User{Email: "kim@example.com", Subscribed: true})
	w.table.set(person{id: 1, email: "kim@example.com", status: "no"})
	w.pass(mysqlsync.Options{})
	w.wants(map[string]string{"kim@example.com": ""})
	w.table.edit(1, func(p *person) { p.status = "yes" })
	w.pass(mysqlsync.Options{})
	w.wants(map[string]string{"kim@example.com": both})
}

// TestWhoCameBackHereStaysAlthoughMySQLSaysNo as long as MySQL says nothing new.
func TestWhoCameBackHereStaysAlthoughMySQLSaysNo(t *testing.T) {
	w := newWorld(t)
	w.table.set(person{id: 1, email: "kim@example.com", status: "no"})
	w.pass(mysqlsync.Options{})
	_, err := w.index.Choose(t.Context(), "kim@example.com", directory.Choice{Join: []string{"promo"}, Gone: []string{directory.AllLists}}, directory.Evidence{At: w.table.clock, How: "page"})
	w.must(err)
	w.hear()
	w.table.edit(1, func(p *person) { p.name = "민수" })
	w.pass(mysqlsync.Options{})
	w.wants(map[string]string{"kim@example.com": "promo"})
	w.table.edit(1, func(p *person) { p.email = "min@example.com" })
	w.pass(mysqlsync.Options{})
	w.wants(map[string]string{"min@example.com": "promo"})
}

func TestAChangedAddressMovesTheUser(t *testing.T) {
	w := newWorld(t)
	w.shop(3)
	w.pass(mysqlsync.Options{})
	w.must(w.store.Update(t.Context(), "user1@example.com", directory.Change{Attributes: map[string]any{"Shoe": "245"}}))
	w.leave("user1@example.com", "promo")
	w.hear()
	w.must(w.store.Update(t.Context(), "user1@example.com", directory.Change{OptOut: []string{"news"}})) // somebody, straight into the table
	w.leave("user2@example.com", directory.AllLists)
	for id := 1; id <= 3; id++ {
		w.table.edit(id, func(p *person) { p.email = fmt.Sprintf("neu%d@example.com", id) })
	}
	r := w.pass(mysqlsync.Options{})
	if r.Moved != 3 || r.Changed != 3 || r.New+r.Gone != 0 {
		t.Errorf("%+v", r)
	}
	w.wants(map[string]string{"neu1@example.com": "", "neu2@example.com": "", "neu3@example.com": both})
	if u := w.user("neu1@example.com"); u.Value("Shoe") != "245" || u.Value("Name") != "김1" || !u.Subscribed {
		t.Errorf("%+v", u)
	}
	w.leave("user3@example.com", "news") // by the link of an old mail
	w.table.edit(1, func(p *person) { p.email = "NEU1@example.com" })
	w.pass(mysqlsync.Options{})
	w.wants(map[string]string{"NEU1@example.com": "", "neu2@example.com": "", "neu3@example.com": "promo"})
}

func TestAddressesAreExchangedAndPassedOn(t *testing.T) {
	w := newWorld(t)
	w.shop(9)
	w.pass(mysqlsync.Options{})
	mails := func(ids []int, email func(i int) string) {
		for i, id := range ids {
			w.table.edit(id, func(p *person) { p.email = email(i) })
		}
	}
	// 1 and 2 exchange theirs, 3 to 5 pass them on in a circle, 6 takes that of 7, which
	// is deleted, and 8 that of 9, which gets a new one.
	mails([]int{1, 2}, func(i int) string { return fmt.Sprintf("user%d@example.com", 2-i) })
	mails([]int{3, 4, 5}, func(i int) string { return fmt.Sprintf("user%d@example.com", 3+(i+1)%3) })
	w.table.edit(6, func(p *person) { p.email = "user7@example.com" })
	w.table.remove(7)
	w.table.edit(8, func(p *person) { p.email = "user9@example.com" })
	w.table.edit(9, func(p *person) { p.email = "last@example.com" })
	if r := w.pass(mysqlsync.Options{}); r.Bad != 0 || r.Gone != 1 {
		t.Errorf("%+v", r)
	}
	for email, name := range map[mail.Address]string{"user1@example.com": "김2", "user2@example.com": "김1", "user3@example.com": "김5", "user4@example.com": "김3", "user5@example.com": "김4",
		"user7@example.com": "김6", "user9@example.com": "김8", "last@example.com": "김9"} {
		if u := w.user(email); u.Value("Name") != name || w.gets(email) != both {
			t.Errorf("%s is %s and gets %q", email, u.Value("Name"), w.gets(email))
		}
	}
	if got := w.gets("user6@example.com") + w.gets("user8@example.com"); got != "is nobodyis nobody" {
		t.Error(got)
	}
}

func TestTwoRowsOfOneAddress(t *testing.T) {
	w := newWorld(t)
	w.shop(4)
	w.table.set(person{id: 5, email: "User1@example.com", name: "second", status: "no"})
	r := w.pass(mysqlsync.Options{})
	if r.Bad == 0 || !strings.Contains(r.Samples["bad"][0].What, "is that of row 000001 already") {
		t.Errorf("%+v", r)
	}
	if u := w.user("user1@example.com"); u.Value("Name") != "김1" {
		t.Errorf("%+v", u)
	}
	w.table.clock = w.table.clock.Add(time.Hour)
	w.table.edit(2, func(p *person) { p.email = "user1@example.com" })
	w.pass(mysqlsync.Options{})
	w.wants(map[string]string{"user1@example.com": both, "user2@example.com": both, "user3@example.com": both, "user4@example.com": both})
	w.table.edit(1, func(p *person) { p.deleted = true })
	w.pass(mysqlsync.Options{})
	if u := w.user("user1@example.com"); u.Value("Name") != "김2" || w.gets("user2@example.com") != "is nobody" {
		t.Errorf("%+v", u)
	}
	if st, err := w.sync.Status(); err != nil || st.Aside != 1 || st.Users != 3 {
		t.Errorf("%+v %v", st, err)
	}
}

// TestWhoRegistersAnewIsTheSamePerson with a new row, and what they left stays left.
func TestWhoRegistersAnewIsTheSamePerson(t *testing.T) {
	for name, between := range map[string]func(*world){"in one pass": func(*world) {}, "after a pass": func(w *world) { w.pass(mysqlsync.Options{}) }} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.shop(4)
			w.table.edit(2, func(p *person) { p.status = "no" })
			w.pass(mysqlsync.Options{})
			w.leave("user1@example.com", directory.AllLists)
			w.hear()
			w.must(w.store.Update(t.Context(), "user3@example.com", directory.Change{OptOut: []string{"promo"}}))
			for id := 1; id <= 3; id++ {
				w.table.edit(id, func(p *person) { p.deleted = true })
			}
			between(w)
			for id := 1; id <= 3; id++ {
				w.table.set(person{id: id + 10, email: fmt.Sprintf("user%d@example.com", id), status: "yes"})
			}
			w.pass(mysqlsync.Options{})
			w.wants(map[string]string{"user1@example.com": "", "user2@example.com": both, "user3@example.com": "news", "user4@example.com": both})
		})
	}
}

// TestADeletedRowTakesOutWhoWasThereBefore the first sync, but not who has another row.
func TestADeletedRowTakesOutWhoWasThereBefore(t *testing.T) {
	w := newWorld(t)
	w.put(directory.User{Email: "gone@example.com", Subscribed: true, OptOut: []string{"promo"}}, directory.User{Email: "again@example.com", Subscribed: true, Attributes: map[string]any{"Shoe": "245"}})
	w.table.set(person{id: 1, email: "gone@example.com", deleted: true})
	w.table.set(person{id: 2, email: "again@example.com", deleted: true})
	for i := 3; i < 9; i++ {
		w.table.set(person{id: i, email: fmt.Sprintf("u%d@example.com", i), status: "no"})
	}
	w.table.set(person{id: 9, email: "again@example.com", status: "yes"})
	if r := w.pass(mysqlsync.Options{}); r.Gone != 1 {
		t.Errorf("%+v", r)
	}
	if got := w.gets("gone@example.com") + " " + w.gets("again@example.com"); got != "is nobody "+both {
		t.Error(got)
	}
	if u := w.user("again@example.com"); u.Value("Shoe") != "245" {
		t.Errorf("%+v", u)
	}
	if left, err := w.index.Left("gone@example.com"); err != nil || len(left) != 1 {
		t.Errorf("what only the directory knew is forgotten: %v %v", left, err)
	}
}

// TestAnotherSpellingIsTheSameUser where the directory was filled before.
func TestAnotherSpellingIsTheSameUser(t *testing.T) {
	w := newWorld(t)
	w.put(directory.User{Email: "Kim@Example.com", Attributes: map[string]any{"Shoe": "245"}}, directory.User{Email: "Lee@example.com", Subscribed: true})
	w.table.set(person{id: 1, email: "kim@example.com", status: "yes"})
	w.table.set(person{id: 2, email: "lee@example.com", status: "yes"})
	w.pass(mysqlsync.Options{})
	w.wants(map[string]string{"kim@example.com": "", "lee@example.com": both})
	if u := w.user("kim@example.com"); u.Value("Shoe") != "245" {
		t.Errorf("%+v", u)
	}
}

func TestAReconcileFindsWhatIsGone(t *testing.T) {
	w := newWorld(t)
	w.shop(8)
	w.pass(mysqlsync.Options{})
	w.put(directory.User{Email: "stranger@example.com", Subscribed: true, OptOut: []string{"news"}})
	w.must(w.store.Update(t.Context(), "user2@example.com", directory.Change{OptOut: []string{"promo"}}))
	w.table.remove(2)
	w.table.remove(5)
	w.table.edit(7, func(p *person) { p.updated, p.name = w.table.clock.Add(-time.Hour), "unseen" }) // its time did not move on
	if r := w.pass(mysqlsync.Options{}); r.Gone != 0 {
		t.Errorf("%+v", r)
	}
	r := w.pass(mysqlsync.Options{Reconcile: true})
	if r.Gone != 2 || r.Strangers != 1 || r.Changed != 1 || r.Samples["strangers"][0].Email != "stranger@example.com" {
		t.Errorf("%+v", r)
	}
	want := map[string]string{"user1@example.com": both, "user3@example.com": both, "user4@example.com": both, "user6@example.com": both, "user7@example.com": both, "user8@example.com": both, "stranger@example.com": "promo"}
	w.wants(want)
	w.pass(mysqlsync.Options{Reconcile: true, Strangers: true})
	delete(want, "stranger@example.com")
	w.wants(want)
	w.table.set(person{id: 2, email: "user2@example.com", status: "yes"})
	w.table.set(person{id: 9, email: "stranger@example.com", status: "yes"})
	w.pass(mysqlsync.Options{})
	want["user2@example.com"], want["stranger@example.com"] = "news", "promo"
	w.wants(want)
}

// TestLateCommitsAndEqualTimes: rows that come to light within the overlap, with a time from
// before the mark, are read; so are all rows of one moment, however many.
func TestLateCommitsAndEqualTimes(t *testing.T) {
	w := newWorld(t)
	w.shop(4)
	w.pass(mysqlsync.Options{})
	at := w.table.clock.Add(5 * time.Second)
	for id := 10; id < 30; id++ {
		w.table.set(person{id: id, email: fmt.Sprintf("u%d@example.com", id), status: "yes", updated: at})
	}
	w.table.clock = at
	w.pass(mysqlsync.Options{})
	late := person{id: 31, email: "late@example.com", status: "yes", updated: at.Add(-9 * time.Second)}
	w.table.set(late)
	w.table.set(person{id: 5, email: "equal@example.com", status: "yes", updated: at})
	if r := w.pass(mysqlsync.Options{}); r.New != 2 {
		t.Errorf("%+v", r)
	}
	// A time of the future does not carry the mark away, and one that is missing is no reason
	// to overlook a row.
	w.table.set(person{id: 40, email: "future@example.com", status: "yes", updated: at.AddDate(70, 0, 0)})
	w.table.set(person{id: 41, email: "undated@example.com", status: "yes", updated: time.Unix(0, 0).UTC()})
	w.pass(mysqlsync.Options{})
	w.table.edit(1, func(p *person) { p.status = "no" })
	w.table.edit(41, func(p *person) { p.name, p.updated = "neu", time.Unix(0, 0).UTC() })
	if r := w.pass(mysqlsync.Options{}); r.Changed != 2 || w.gets("user1@example.com") != "" {
		t.Errorf("%+v", r)
	}
}

// TestRowsThatChangeWhileTheyAreLoaded behind the place that is read, or before.
func TestRowsThatChangeWhileTheyAreLoaded(t *testing.T) {
	w := newWorld(t)
	w.shop(12)
	pages := 0
	w.table.before = func(what string) error {
		if what == "ByKey" {
			if pages++; pages == 3 {
				w.table.edit(1, func(p *person) { p.status = "no" })
				w.table.edit(12, func(p *person) { p.name = "neu" })
				w.table.remove(11)
				w.table.set(person{id: 0, email: "new0@example.com", status: "yes"})
				w.table.set(person{id: 13, email: "new13@example.com", status: "yes"})
			}
		}
		return nil
	}
	w.pass(mysqlsync.Options{})
	if got := []string{w.gets("user1@example.com"), w.user("user12@example.com").Value("Name"), w.gets("user11@example.com"), w.gets("new0@example.com"), w.gets("new13@example.com")}; strings.Join(got, "|") != "|neu|is nobody|"+both+"|"+both {
		t.Errorf("%q", got)
	}
}

func TestOnePassAtATime(t *testing.T) {
	w := newWorld(t)
	w.shop(3)
	w.table.before = func(string) error {
		if _, err := w.sync.Run(context.Background(), mysqlsync.Options{}, nil); !errors.Is(err, mysqlsync.ErrRunning) {
			t.Errorf("a second pass: %v", err)
		}
		if st, err := w.sync.Status(); err != nil || st.Running == nil || st.Running.Kind != mysqlsync.FirstLoad {
			t.Errorf("%+v %v", st, err)
		}
		return nil
	}
	w.pass(mysqlsync.Options{})
}

func TestTheStateOfAnotherTableIsRefused(t *testing.T) {
	w := newWorld(t)
	w.shop(3)
	w.pass(mysqlsync.Options{})
	w.cfg.Origin = "shop.members by id"
	var err error
	w.sync, err = mysqlsync.New(w.cfg)
	w.must(err)
	if _, err := w.sync.Run(t.Context(), mysqlsync.Options{}, nil); mail.ClassOf(err) != mail.Permanent || !strings.Contains(err.Error(), "shop.users by id") {
		t.Error(err)
	}
}

func TestNewColumnsAreReadOfEveryRow(t *testing.T) {
	w := newWorld(t)
	w.shop(9)
	w.pass(mysqlsync.Options{})
	for id, p := range w.table.rows { // as if a column had been mapped: no time moves
		p.name = "mapped"
		w.table.rows[id] = p
	}
	w.cfg.Shape = "Name=name"
	var err error
	w.sync, err = mysqlsync.New(w.cfg)
	w.must(err)
	if r := w.pass(mysqlsync.Options{}); r.Kind != mysqlsync.Reconcile || r.Changed != 9 || r.Gone != 0 {
		t.Errorf("%+v", r)
	}
	if r := w.pass(mysqlsync.Options{}); r.Kind != mysqlsync.Incremental {
		t.Errorf("%+v", r)
	}
}
