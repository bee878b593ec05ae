package mysqlsync_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"postern/directory"
	"postern/directory/mysqlsync"
	"postern/mail"
)

func TestTheTripwireChangesNothing(t *testing.T) {
	for name, c := range map[string]struct {
		edit  func(*world)
		trips bool
		o     mysqlsync.Options
	}{
		"a few unsubscribe":     {func(w *world) { w.many(1, 4, func(p *person) { p.status = "no" }) }, false, mysqlsync.Options{}},
		"too many unsubscribe":  {func(w *world) { w.many(1, 5, func(p *person) { p.status = "no" }) }, true, mysqlsync.Options{}},
		"the column is misread": {func(w *world) { w.many(1, 20, func(p *person) { p.status = "" }) }, true, mysqlsync.Options{}},
		"too many deleted":      {func(w *world) { w.many(16, 20, func(p *person) { p.deleted = true }) }, true, mysqlsync.Options{}},
		"both together": {func(w *world) {
			w.many(1, 2, func(p *person) { p.deleted = true })
			w.many(3, 5, func(p *person) { p.status = "no" })
		}, true, mysqlsync.Options{}},
		"the table is empty":           {func(w *world) { clear(w.table.rows) }, true, mysqlsync.Options{Reconcile: true}},
		"the table is empty, no asked": {func(w *world) { clear(w.table.rows) }, false, mysqlsync.Options{}},
		"many change their name":       {func(w *world) { w.many(1, 20, func(p *person) { p.name = "x" }) }, false, mysqlsync.Options{}},
		"forced":                       {func(w *world) { w.many(1, 20, func(p *person) { p.status = "no" }) }, false, mysqlsync.Options{Force: true}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.cfg.Tripwire = 0.2
			w.open()
			w.shop(20)
			w.pass(mysqlsync.Options{})
			c.edit(w)
			was, writes := w.all(), w.store.writes
			dry := w.pass(mysqlsync.Options{DryRun: true, Reconcile: c.o.Reconcile})
			if w.all() != was || w.store.writes != writes {
				t.Error("the dry run has written")
			}
			r, err := w.sync.Run(t.Context(), c.o, nil)
			if tripped := errors.Is(err, mysqlsync.ErrTripwire); tripped != c.trips || !tripped && err != nil {
				t.Fatalf("%v %+v", err, r)
			}
			if c.trips {
				if w.all() != was || w.store.writes != writes {
					t.Error("something was written")
				}
				if !strings.Contains(r.Error, "of 20 users") || dry.Tripwire != r.Error {
					t.Errorf("it says %q, and the dry run %q", r.Error, dry.Tripwire)
				}
				c.o.Force = true
				w.pass(c.o)
				if w.all() == was {
					t.Error("nothing was written, though it was forced")
				}
			}
		})
	}
}

// many edits the rows from first to last.
func (w *world) many(first, last int, change func(*person)) {
	for id := first; id <= last; id++ {
		w.table.edit(id, change)
	}
}

func TestTheTripwireIsThereBeforeTheFirstLoad(t *testing.T) {
	w := newWorld(t)
	w.cfg.Tripwire = 0.2
	w.open()
	for i := range 20 {
		w.put(directory.User{Email: mail.Address(fmt.Sprintf("user%d@example.com", i+1)), Subscribed: true})
	}
	w.shop(20)
	w.many(1, 20, func(p *person) { p.status = "" })
	was := w.all()
	if _, err := w.sync.Run(t.Context(), mysqlsync.Options{}, nil); !errors.Is(err, mysqlsync.ErrTripwire) || w.all() != was {
		t.Fatal(err)
	}
	w.many(1, 20, func(p *person) { p.status = "yes" })
	w.pass(mysqlsync.Options{})
	if got := w.gets("user1@example.com"); got != both {
		t.Error(got)
	}
}
