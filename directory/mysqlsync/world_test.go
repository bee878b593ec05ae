package mysqlsync_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/directory"
	"postern/directory/directorytest"
	"postern/directory/embedded"
	"postern/directory/mysqlsync"
	"postern/mail"
)

// person is a row of the table that the tests play.
type person struct {
	id      int
	email   string
	name    string
	status  string // "yes", "no", "" (unsaid), "unasked"
	updated time.Time
	deleted bool
	consent time.Time
	problem string
}

// table is a Source in memory. Its rows are changed by set, at the time that its clock shows.
type table struct {
	mu      sync.Mutex
	rows    map[int]person
	clock   time.Time
	before  func(what string) error // each call of the source
	fetched int
}

func newTable() *table {
	return &table{rows: map[int]person{}, clock: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
}

func key(id int) string { return fmt.Sprintf("%06d", id) }

// set writes a row, a second later than the last one.
func (t *table) set(p person) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p.updated.IsZero() {
		t.clock = t.clock.Add(time.Second)
		p.updated = t.clock
	}
	t.rows[p.id] = p
}

func (t *table) edit(id int, change func(*person)) {
	t.mu.Lock()
	p := t.rows[id]
	t.mu.Unlock()
	p.updated = time.Time{}
	change(&p)
	t.set(p)
}

func (t *table) remove(id int) { t.mu.Lock(); defer t.mu.Unlock(); delete(t.rows, id) }

func (p *person) row() mysqlsync.Row {
	r := mysqlsync.Row{Key: key(p.id), Updated: p.updated, Deleted: p.deleted, Consent: p.consent, Email: p.email, Problem: p.problem}
	u := directory.User{Attributes: map[string]any{"Name": nil}}
	if p.name != "" {
		u.Attributes["Name"] = p.name
	}
	a, err := mail.ParseAddress(p.email)
	if err != nil && r.Problem == "" {
		r.Problem = "email is no address"
	}
	u.Email = a
	u.Subscribed, u.Unknown, u.KeepStatus = p.status == "yes", p.status == "", p.status == "unasked"
	r.User = u
	return r
}

func (t *table) read(what string, limit int, less func(a, b person) int, want func(person) bool) ([]mysqlsync.Row, error) {
	if t.before != nil {
		if err := t.before(what); err != nil {
			return nil, err
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	some := slices.DeleteFunc(slices.Collect(maps.Values(t.rows)), func(p person) bool { return !want(p) })
	slices.SortFunc(some, less)
	var rows []mysqlsync.Row
	for _, p := range some[:min(limit, len(some))] {
		rows = append(rows, p.row())
	}
	t.fetched += len(rows)
	return rows, nil
}

func byKey(a, b person) int { return cmp.Compare(a.id, b.id) }

func (t *table) ByKey(_ context.Context, after string, limit int) ([]mysqlsync.Row, error) {
	return t.read("ByKey", limit, byKey, func(p person) bool { return key(p.id) > after })
}

func (t *table) Changed(_ context.Context, m mysqlsync.Mark, limit int) ([]mysqlsync.Row, error) {
	byTime := func(a, b person) int { return cmp.Or(a.updated.Compare(b.updated), byKey(a, b)) }
	return t.read("Changed", limit, byTime, func(p person) bool {
		return p.updated.Year() > 1970 && (p.updated.After(m.Updated) || p.updated.Equal(m.Updated) && key(p.id) > m.Key)
	})
}

func (t *table) Undated(_ context.Context, after string, limit int) ([]mysqlsync.Row, error) {
	return t.read("Undated", limit, byKey, func(p person) bool { return p.updated.Year() <= 1970 && key(p.id) > after })
}

func (t *table) Lookup(_ context.Context, keys []string) ([]mysqlsync.Row, error) {
	return t.read("Lookup", len(keys), byKey, func(p person) bool { return slices.Contains(keys, key(p.id)) })
}

func (t *table) Now(context.Context) (time.Time, error) { return t.clock.Add(time.Second), nil }

func (t *table) Newest(context.Context) (newest time.Time, err error) {
	for _, p := range t.rows {
		if p.updated.After(newest) {
			newest = p.updated
		}
	}
	return newest, nil
}

func (t *table) Count(context.Context) (int64, error) { return int64(len(t.rows)), nil }

// watched is a directory whose writes are counted and can fail, before they are done or
// after.
type watched struct {
	directory.Store
	mu     sync.Mutex
	writes int
	news   int // users who were said to be new
	fail   int // the write of this number; 0: none
	after  bool
}

var errCut = errors.New("cut off")

func (w *watched) write(do func() error) error {
	w.mu.Lock()
	w.writes++
	cut := w.writes == w.fail
	w.mu.Unlock()
	if cut && !w.after {
		return errCut
	}
	err := do()
	if cut {
		return errCut
	}
	return err
}

func (w *watched) Put(ctx context.Context, us []directory.User) error {
	for _, u := range us {
		if u.New {
			w.news++
		}
	}
	return w.write(func() error { return w.Store.Put(ctx, us) })
}

func (w *watched) Delete(ctx context.Context, keys []mail.Address) error {
	return w.write(func() error { return w.Store.Delete(ctx, keys) })
}

// world is a table, a directory, an index, and the sync between them.
type world struct {
	t     testing.TB
	dir   string
	table *table
	store *watched
	index *directory.Index
	state *mysqlsync.State
	cfg   mysqlsync.Config
	sync  *mysqlsync.Syncer
}

func newWorld(t testing.TB) *world {
	w := &world{t: t, dir: t.TempDir(), table: newTable()}
	store, err := embedded.Open(filepath.Join(w.dir, "directory.db"))
	w.must(err)
	w.store = &watched{Store: store}
	w.index, err = directory.OpenIndex(filepath.Join(w.dir, "index.db"))
	w.must(err)
	w.index.SetLists([]string{"news", "promo"})
	w.open()
	t.Cleanup(w.close)
	return w
}

// close closes what is open, once.
func (w *world) close() {
	if w.state != nil {
		w.must(errors.Join(w.state.Close(), w.index.Close(), w.store.Store.Close()))
		w.state = nil
	}
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// open opens the state, also after a crash.
func (w *world) open() {
	w.t.Helper()
	if w.state != nil {
		w.must(w.state.Close())
	}
	var err error
	w.state, err = mysqlsync.Open(filepath.Join(w.dir, "sync.db"))
	w.must(err)
	w.cfg.Source, w.cfg.Store, w.cfg.Index, w.cfg.State = w.table, w.store, w.index, w.state
	w.cfg.Chunk, w.cfg.Overlap = cmp.Or(w.cfg.Chunk, 3), 10*time.Second
	w.cfg.Tripwire, w.cfg.Origin, w.cfg.Rejects = cmp.Or(w.cfg.Tripwire, 1), "shop.users by id", filepath.Join(w.dir, "rejects.csv")
	w.sync, err = mysqlsync.New(w.cfg)
	w.must(err)
}

// pass makes one, and lets the directory hear what the index has to say.
func (w *world) pass(o mysqlsync.Options) mysqlsync.Report {
	w.t.Helper()
	r, err := w.sync.Run(context.Background(), o, nil)
	w.must(err)
	w.hear()
	return r
}

func (w *world) hear() {
	w.t.Helper()
	_, err := w.index.Replay(context.Background(), w.store)
	w.must(err)
}

// put writes users straight into the directory.
func (w *world) put(us ...directory.User) {
	w.t.Helper()
	w.must(w.store.Store.Put(context.Background(), us))
}

// user gives one that must be there.
func (w *world) user(email mail.Address) *directory.User {
	w.t.Helper()
	u, err := w.store.Get(context.Background(), email)
	if err != nil {
		w.t.Fatalf("%s: %v", email, err)
	}
	return &u
}

// gets says which of the two lists the address gets now, as dispatch would judge.
func (w *world) gets(email mail.Address) string {
	w.t.Helper()
	u, err := w.store.Get(context.Background(), email)
	if errors.Is(err, directory.ErrNotFound) {
		return "is nobody"
	}
	w.must(err)
	var on []string
	for _, list := range []string{"news", "promo"} {
		if _, blocked := w.index.Blocked(email, list); !blocked && u.Receives(list) {
			on = append(on, list)
		}
	}
	return strings.Join(on, " ")
}

// wants holds what each address gets, and that nobody else is there.
func (w *world) wants(want map[string]string) {
	w.t.Helper()
	for email, lists := range want {
		if got := w.gets(mail.Address(email)); got != lists {
			w.t.Errorf("%s gets %q, want %q", email, got, lists)
		}
	}
	for email := range directorytest.All(w.t, w.store) {
		if _, named := want[string(email)]; !named {
			w.t.Errorf("%s is in the directory", email)
		}
	}
}

func mailAddress(s string) mail.Address { return mail.Address(s) }

func (w *world) leave(email mail.Address, list string) {
	w.t.Helper()
	w.must(w.index.OptOut(context.Background(), email, list, directory.Evidence{At: w.table.clock, How: "page"}))
}

// all is the directory as JSON, for comparing.
func (w *world) all() string {
	w.t.Helper()
	text, err := json.MarshalIndent(directorytest.All(w.t, w.store), "", " ")
	w.must(err)
	return string(text)
}
