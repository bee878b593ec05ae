package mysqlsync_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/directory"
	"postern/directory/mysqlsync"
	"postern/mail"
)

// tableless is a directory whose table is not there before the import.
type tableless struct {
	directory.Store
	shelf *shelf
}

var errNoTable = errors.New("there is no table")

func (s *tableless) GetMany(ctx context.Context, keys []mail.Address) ([]directory.User, error) {
	if s.shelf.missing {
		return nil, errNoTable
	}
	return s.Store.GetMany(ctx, keys)
}

func (s *tableless) Put(ctx context.Context, users []directory.User) error {
	if s.shelf.missing {
		return errNoTable
	}
	return s.Store.Put(ctx, users)
}

func (s *tableless) Delete(ctx context.Context, keys []mail.Address) error {
	if s.shelf.missing {
		return errNoTable
	}
	return s.Store.Delete(ctx, keys)
}

func (s *tableless) Update(ctx context.Context, key mail.Address, c directory.Change) error {
	if s.shelf.missing {
		return errNoTable
	}
	return s.Store.Update(ctx, key, c)
}

// A table that is yet to be made of the chunks is not asked, also by a first load that goes on.
func TestAFirstLoadGoesOnWithoutATable(t *testing.T) {
	for cut := range 8 {
		w := newWorld(t)
		s := &shelf{chunks: map[string]string{}, fail: cut, missing: true, into: w.store}
		w.cfg.Staging = s
		w.shop(10)
		w.leave("user2@example.com", "promo")
		w.open()
		cfg := w.cfg
		cfg.Store = &tableless{w.store, s}
		var err error
		for range 2 {
			w.sync, err = mysqlsync.New(cfg)
			w.must(err)
			if _, err = w.sync.Run(t.Context(), mysqlsync.Options{}, nil); err == nil {
				break
			}
		}
		if err != nil {
			t.Errorf("cut %d: %v", cut, err)
			continue
		}
		want := map[string]string{"user2@example.com": "news"}
		for _, id := range []int{1, 3, 4, 5, 6, 7, 8, 9, 10} {
			want[fmt.Sprintf("user%d@example.com", id)] = both
		}
		w.wants(want)
	}
}

// While a staged load is under way nothing but the staging is written: what moves meanwhile is
// brought by the changes behind it.
func TestAnAddressThatIsPassedOnWhileChunksAreStaged(t *testing.T) {
	for _, missing := range []bool{true, false} {
		w := newWorld(t)
		s := &shelf{chunks: map[string]string{}, missing: missing, into: w.store}
		w.cfg.Staging = s
		w.shop(10)
		w.open()
		cfg := w.cfg
		cfg.Store = &tableless{w.store, s}
		var err error
		w.sync, err = mysqlsync.New(cfg)
		w.must(err)
		done := false
		w.table.before = func(what string) error {
			if what == "ByKey" && w.table.fetched >= 6 && !done {
				done = true
				w.table.edit(1, func(p *person) { p.email = "new@example.com" })
				w.table.edit(10, func(p *person) { p.email, p.deleted = "user1@example.com", true })
				w.table.edit(2, func(p *person) { p.email = "other@example.com" })
				w.table.edit(9, func(p *person) { p.email = "user2@example.com" })
			}
			return nil
		}
		if _, err := w.sync.Run(t.Context(), mysqlsync.Options{}, nil); err != nil {
			t.Errorf("missing %t: %v", missing, err)
			continue
		}
		want := map[string]string{"new@example.com": both, "other@example.com": both, "user2@example.com": both}
		for _, id := range []int{3, 4, 5, 6, 7, 8} {
			want[fmt.Sprintf("user%d@example.com", id)] = both
		}
		w.wants(want)
	}
}

// Who was written into the directory before a first load goes on is not written over.
func TestAFirstLoadThatGoesOnLooksAtTheDirectory(t *testing.T) {
	w := newWorld(t)
	w.shop(10)
	w.store.fail = 2
	if _, err := w.sync.Run(t.Context(), mysqlsync.Options{}, nil); !errors.Is(err, errCut) {
		t.Fatal(err)
	}
	w.put(directory.User{Email: "user9@example.com"}) // not subscribed, by a file of an operator's
	w.open()
	w.pass(mysqlsync.Options{})
	if got := w.gets("user9@example.com"); got != "" {
		t.Errorf("user9 said no and gets %q", got)
	}
}

// A pass that failed before it read anything, and a dry run, are of no table.
func TestATableThatWasNamedByMistakeCanBeMended(t *testing.T) {
	w := newWorld(t)
	w.shop(3)
	w.put(directory.User{Email: "Odd@example.com"})
	w.table.before = func(string) error { return errors.New("there is no such table") }
	cfg := w.cfg
	cfg.Origin = "shop.usres by id"
	mistaken, err := mysqlsync.New(cfg)
	w.must(err)
	if _, err := mistaken.Run(t.Context(), mysqlsync.Options{}, nil); err == nil {
		t.Fatal("there is no such table, and it was read")
	}
	w.table.before = nil
	if _, err := mistaken.Run(t.Context(), mysqlsync.Options{DryRun: true}, nil); err != nil {
		t.Fatal(err)
	}
	w.pass(mysqlsync.Options{})
	if _, err := mistaken.Run(t.Context(), mysqlsync.Options{}, nil); err == nil {
		t.Error("the state of another table was taken")
	}
}

// Who unsubscribes in MySQL gets no more mail, also when the row is no user for another reason.
func TestWhoUnsubscribesInARowThatIsSetAside(t *testing.T) {
	w := newWorld(t)
	w.shop(6)
	w.pass(mysqlsync.Options{})
	w.table.edit(1, func(p *person) { p.status, p.problem = "no", "the name is too long" })
	w.table.edit(2, func(p *person) { p.status, p.email = "no", "user3@example.com" })
	w.table.edit(4, func(p *person) { p.status, p.email = "no", "nonsense" })
	w.table.edit(5, func(p *person) { p.problem = "the name is too long" })
	if r := w.pass(mysqlsync.Options{DryRun: true}); r.Unsubscribed != 3 {
		t.Errorf("a dry run: %+v", r.Counts)
	}
	if r := w.pass(mysqlsync.Options{}); r.Bad != 4 || r.Unsubscribed != 3 {
		t.Errorf("%+v", r.Counts)
	}
	want := map[string]string{"user1@example.com": "", "user2@example.com": "", "user4@example.com": "",
		"user3@example.com": both, "user5@example.com": both, "user6@example.com": both}
	w.wants(want)
	if r := w.pass(mysqlsync.Options{}); r.Bad != 4 || r.Unsubscribed != 0 {
		t.Errorf("once more: %+v", r.Counts)
	}
	w.table.edit(1, func(p *person) { p.status, p.problem = "yes", "" })
	w.pass(mysqlsync.Options{})
	want["user1@example.com"] = both
	w.wants(want)
}

// deaf is a directory that takes users, and hears no words.
type deaf struct {
	directory.Store
	away bool
}

func (d *deaf) Update(ctx context.Context, key mail.Address, c directory.Change) error {
	if d.away {
		return &mail.Error{Class: mail.Throttled, Public: "the directory is throttled"}
	}
	return d.Store.Update(ctx, key, c)
}

// A consent that the directory has yet to hear does not come behind MySQL's later no.
func TestANoWaitsForTheConsentBeforeIt(t *testing.T) {
	w := newWorld(t)
	w.shop(3)
	w.pass(mysqlsync.Options{})
	w.leave("user1@example.com", directory.AllLists)
	w.hear()
	d := &deaf{w.store, true}
	cfg := w.cfg
	cfg.Store = d
	var err error
	w.sync, err = mysqlsync.New(cfg)
	w.must(err)
	w.table.edit(1, func(p *person) { p.consent = w.table.clock.Add(time.Second) })
	_, _ = w.sync.Run(t.Context(), mysqlsync.Options{}, nil)
	w.table.edit(1, func(p *person) { p.status = "no" })
	_, _ = w.sync.Run(t.Context(), mysqlsync.Options{}, nil)
	d.away = false
	w.hear()
	w.pass(mysqlsync.Options{})
	if got := w.gets("user1@example.com"); got != "" {
		t.Errorf("who said no last gets %q", got)
	}
}

// A consent whose time is yet to come was given before it was read: it undoes no opt-out that
// was made after that.
func TestAConsentOfAClockThatIsAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.shop(3)
		w.pass(mysqlsync.Options{})
		out := func(email mail.Address) {
			w.must(w.index.OptOut(t.Context(), email, directory.AllLists, directory.Evidence{At: time.Now(), How: "page"}))
		}
		out("user2@example.com")
		<-time.After(time.Second) // of the bubble's clock
		for _, id := range []int{1, 2} {
			w.table.edit(id, func(p *person) { p.consent = time.Now().Add(time.Hour).UTC() })
		}
		w.pass(mysqlsync.Options{})
		if got := w.gets("user2@example.com"); got != "" {
			t.Errorf("user2 gets %q before the time of the consent", got)
		}
		<-time.After(time.Minute) // of the bubble's clock
		out("user1@example.com")
		w.pass(mysqlsync.Options{})
		<-time.After(time.Hour) // of the bubble's clock
		w.pass(mysqlsync.Options{})
		if a, b := w.gets("user1@example.com"), w.gets("user2@example.com"); a != "" || b != both {
			t.Errorf("who left after the consent was read gets %q, who left before it %q", a, b)
		}
	})
}

// A mapping that gives everybody another address is stopped; another way to write it is none.
func TestTheTripwireKnowsWhoGetsAnotherAddress(t *testing.T) {
	w := newWorld(t)
	w.cfg.Tripwire = 0.2
	w.open()
	w.shop(20)
	w.pass(mysqlsync.Options{})
	for id := 1; id <= 20; id++ {
		w.table.edit(id, func(p *person) { p.email = strings.Replace(p.email, "@example.com", "@Example.COM", 1) })
	}
	w.pass(mysqlsync.Options{})
	for id := 1; id <= 20; id++ {
		w.table.edit(id, func(p *person) { p.email = fmt.Sprintf("backup%d@example.com", id) })
	}
	_, err := w.sync.Run(t.Context(), mysqlsync.Options{}, nil)
	if !errors.Is(err, mysqlsync.ErrTripwire) || !strings.Contains(fmt.Sprint(err), "20 would get another address") {
		t.Errorf("%v", err)
	}
	w.pass(mysqlsync.Options{Force: true})
}

// A user whose row is set aside is in MySQL, and no stranger.
func TestWhoseRowIsSetAsideIsNoStranger(t *testing.T) {
	w := newWorld(t)
	w.put(directory.User{Email: "User1@example.com", Subscribed: true}, directory.User{Email: "test@example.com", Subscribed: true})
	w.shop(3)
	w.table.edit(1, func(p *person) { p.problem = "the name is too long" })
	w.pass(mysqlsync.Options{})
	if r := w.pass(mysqlsync.Options{Reconcile: true, Strangers: true}); r.Strangers != 1 {
		t.Errorf("%+v", r.Counts)
	}
	w.wants(map[string]string{"User1@example.com": both, "user2@example.com": both, "user3@example.com": both})
}

// Who leaves while their new user is written is told to the directory too.
func TestWhoLeavesWhileTheyAreWritten(t *testing.T) {
	w := newWorld(t)
	w.shop(3)
	cfg := w.cfg
	cfg.Store = &late{w.store, func() {
		w.leave("user2@example.com", "promo")
		w.hear() // and finds nobody
	}}
	var err error
	w.sync, err = mysqlsync.New(cfg)
	w.must(err)
	w.pass(mysqlsync.Options{})
	if u := w.user("user2@example.com"); u.Receives("promo") {
		t.Errorf("other programs are told %+v", u)
	}
}

// late is a directory before whose first write something happens.
type late struct {
	directory.Store
	first func()
}

func (l *late) Put(ctx context.Context, users []directory.User) error {
	if l.first != nil {
		l.first()
		l.first = nil
	}
	return l.Store.Put(ctx, users)
}

// A look at a first load counts no one as gone whose address another row has, wherever that is.
func TestALookBeforeAFirstLoadKnowsWhoRegisteredAnew(t *testing.T) {
	w := newWorld(t)
	w.cfg.Tripwire = 0.2
	w.open()
	for id := 1; id <= 10; id++ {
		email := fmt.Sprintf("user%d@example.com", id)
		w.put(directory.User{Email: mail.Address(email), Subscribed: true})
		w.table.set(person{id: id, email: email, status: "no", deleted: true})
		w.table.set(person{id: 100 + id, email: email, status: "yes"})
	}
	w.table.set(person{id: 50, email: "gone@example.com", deleted: true})
	w.put(directory.User{Email: "gone@example.com", Subscribed: true})
	if r := w.pass(mysqlsync.Options{DryRun: true}); r.Gone != 1 || r.Tripwire != "" {
		t.Errorf("%+v %s", r.Counts, r.Tripwire)
	}
	if r := w.pass(mysqlsync.Options{}); r.Gone != 1 {
		t.Errorf("%+v", r.Counts)
	}
}

// The file of rejects says since when a row is set aside, not when it was last met.
func TestARowIsSetAsideSinceTheFirstTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.shop(3)
		w.table.edit(1, func(p *person) { p.problem = "the name is too long" })
		w.pass(mysqlsync.Options{})
		first, err := os.ReadFile(w.cfg.Rejects)
		w.must(err)
		<-time.After(time.Hour) // of the bubble's clock
		w.pass(mysqlsync.Options{})
		again, err := os.ReadFile(w.cfg.Rejects)
		w.must(err)
		if string(first) != string(again) {
			t.Errorf("first\n%s\nand then\n%s", first, again)
		}
	})
}

// What a cut left unsure stays so while the row is set aside.
func TestAMoveThatWasCutOffAndThenSetAside(t *testing.T) {
	for _, after := range []bool{false, true} {
		w := newWorld(t)
		w.shop(2)
		w.pass(mysqlsync.Options{})
		w.table.edit(1, func(p *person) { p.email = "second@example.com" })
		w.store.fail, w.store.after = w.store.writes+1, after
		if _, err := w.sync.Run(t.Context(), mysqlsync.Options{}, nil); !errors.Is(err, errCut) {
			t.Fatal(err)
		}
		w.open()
		w.table.edit(1, func(p *person) { p.problem = "the name is too long" })
		w.pass(mysqlsync.Options{})
		w.table.edit(2, func(p *person) { p.name = "another" })
		w.pass(mysqlsync.Options{})
		w.table.edit(1, func(p *person) { p.email, p.problem = "third@example.com", "" })
		w.pass(mysqlsync.Options{})
		w.wants(map[string]string{"third@example.com": both, "user2@example.com": both})
	}
}
