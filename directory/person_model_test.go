package directory_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"postern/directory"
	"postern/mail"
)

// modelPerson is what one address has left, in the plainest form.
type modelPerson struct {
	left      map[string]time.Time // "*" among them
	entry     map[string]bool      // an opt-out is in the ledger
	complaint time.Time            // zero: none
	lifted    time.Time
	became    int // itself, or the person's later address
	moved     time.Time
}

// world is the model, and the index and store that are to agree with it.
type world struct {
	rt     *rapid.T
	people []*modelPerson
	now    time.Time
	n      int

	dir   string
	x     *directory.Index
	store *memory
}

// spellings are the addresses of the model: the first of each is the normalised one.
func modelSpellings() [][]mail.Address {
	return [][]mail.Address{
		{"kim@example.com", "Kim@Example.COM", `"kim"@example.com`},
		{"kim.min@xn--3e0b707e.example", "Kim.Min@한국.example", "kim.min@한국.EXAMPLE"},
		{"kimmin@example.com", "KIMMIN@example.com"}, // a dot less is somebody else
		{"lee@example.com", "Lee@example.com"},
	}
}

func (w *world) addr(i int) mail.Address {
	return rapid.SampledFrom(modelSpellings()[i]).Draw(w.rt, "spelling")
}
func (w *world) who() int { return rapid.IntRange(0, len(w.people)-1).Draw(w.rt, "who") }
func (w *world) list() string {
	return rapid.SampledFrom(append(lists(), directory.AllLists)).Draw(w.rt, "list")
}
func (w *world) some(label string) []string {
	return rapid.SliceOfDistinct(rapid.SampledFrom(lists()), rapid.ID).Draw(w.rt, label)
}
func (w *world) ev(how string) directory.Evidence {
	return directory.Evidence{At: w.now, How: how, Note: "n"}
}

// chain is the address and what it has become.
func (w *world) chain(i int) (all []*modelPerson) {
	for {
		all = append(all, w.people[i])
		if w.people[i].became == i {
			return all
		}
		i = w.people[i].became
	}
}

func (p *modelPerson) leave(list string, at time.Time) {
	was, gone := p.left[list]
	if !gone {
		p.entry[list] = true
	}
	if !gone || at.After(was) {
		p.left[list] = at
	}
}

func (p *modelPerson) join(ids []string) {
	if all, gone := p.left["*"]; gone && len(ids) > 0 {
		delete(p.left, "*")
		for _, id := range lists() {
			if _, gone := p.left[id]; !gone {
				p.left[id] = all
			}
		}
	}
	for _, id := range ids {
		delete(p.left, id)
	}
}

func (p *modelPerson) consent(list string) {
	if list == "*" {
		delete(p.left, list)
		return
	}
	p.join([]string{list})
}

func (p *modelPerson) blocked(list string) bool {
	_, all := p.left["*"]
	_, one := p.left[list]
	return all || one
}

func (w *world) ok(err error) {
	if err != nil {
		w.rt.Fatal(err)
	}
}

// steps are what may happen; each does it to the index and to the model.
func (w *world) steps() map[string]func() {
	return map[string]func(){
		"opt-out": func() {
			i, list := w.who(), w.list()
			w.ok(w.x.OptOut(w.rt.Context(), w.addr(i), list, w.ev("one-click")))
			for _, p := range w.chain(i) {
				p.leave(list, w.now)
			}
		},
		"consent": func() {
			i, list := w.who(), w.list()
			w.ok(w.x.Consent(w.rt.Context(), w.addr(i), list, w.ev("page")))
			for _, p := range w.chain(i) {
				p.consent(list)
			}
		},
		"confirm": func() {
			i, list := w.who(), w.list()
			w.ok(w.x.Confirmed(w.rt.Context(), w.addr(i), list, w.ev("confirmed")))
			for _, p := range w.chain(i) {
				if !p.complaint.IsZero() {
					p.complaint, p.lifted = time.Time{}, w.now
				}
				p.consent(list)
			}
		},
		"choose":    w.choose,
		"restore":   w.restore,
		"sync":      w.sync,
		"move":      w.move,
		"complaint": w.complain,
		"replay": func() {
			w.store.fail = w.unreliable()
			_, _ = w.x.Replay(w.rt.Context(), w.store)
			w.store.fail = nil
		},
		"crash": func() { w.reopen(w.copy()) },
		"crash after the directory was told": func() {
			before := w.copy()
			w.store.fail = w.unreliable()
			_, _ = w.x.Replay(w.rt.Context(), w.store)
			w.store.fail = nil
			w.reopen(before)
		},
		"import": func() {
			i := w.who()
			w.ok(w.store.Put(w.rt.Context(), []directory.User{{Email: modelSpellings()[i][0], Subscribed: true}}))
		},
	}
}

func (w *world) choose() {
	i := w.who()
	c := directory.Choice{Join: w.some("join"), Leave: w.some("leave"), All: rapid.IntRange(0, 4).Draw(w.rt, "all") == 0, Known: lists()}
	_, err := w.x.Choose(w.rt.Context(), w.addr(i), c, w.ev("page"))
	w.ok(err)
	for _, p := range w.chain(i) {
		if c.All {
			p.leave("*", w.now)
			continue
		}
		p.join(slices.DeleteFunc(slices.Clone(c.Join), func(id string) bool { return slices.Contains(c.Leave, id) }))
		for _, id := range c.Leave {
			p.leave(id, w.now)
		}
	}
}

func (w *world) restore() {
	i, list := w.who(), w.list()
	_, err := w.x.Restore(w.rt.Context(), w.addr(i), list, w.ev("boss"))
	any := false
	for _, p := range w.chain(i) {
		if _, gone := p.left[list]; gone && p.entry[list] {
			any = true
			delete(p.left, list)
		}
	}
	if any == errors.Is(err, directory.ErrNotLeft) || any == (err != nil) {
		w.rt.Fatalf("restore of %d on %s: %v, want it done: %v", i, list, err, any)
	}
}

func (w *world) sync() {
	i, ids := w.who(), w.some("lists")
	if len(ids) == 0 {
		return
	}
	p := w.people[i]
	given := w.now.AddDate(0, 0, -rapid.IntRange(0, 20).Draw(w.rt, "days ago")).Add(-time.Duration(w.n) * time.Nanosecond) // no two alike
	for range 2 {
		w.ok(w.x.Agreed(w.rt.Context(), w.addr(i), ids, given, w.ev("sync")))
	}
	if given.After(p.moved) {
		p.became = i
	}
	var wins []string
	for _, id := range ids {
		one, all := p.left[id], p.left["*"]
		if given.After(one) && given.After(all) {
			wins = append(wins, id)
		}
	}
	p.join(wins)
}

func (w *world) move() {
	i, j := w.who(), w.who()
	from, to := w.addr(i), w.addr(j)
	w.ok(w.x.Moved(w.rt.Context(), from, to, w.ev("sync")))
	old, p := w.people[i], w.people[j]
	if i == j || old.became == j {
		return
	}
	old.became, old.moved, p.became = j, w.now, j
	for id, at := range old.left {
		if has, gone := p.left[id]; !gone || at.After(has) {
			p.left[id] = at
		}
	}
	maps.Copy(p.entry, old.entry)
	if !old.complaint.IsZero() && p.complaint.IsZero() && old.complaint.After(p.lifted) {
		p.complaint = old.complaint
	}
}

func (w *world) complain() {
	i := w.who()
	addr := w.addr(i)
	_, err := w.x.Complained(w.rt.Context(), addr, addr, directory.Suppression{Reason: "abuse", At: w.now})
	w.ok(err)
	for _, p := range w.chain(i) {
		if p.complaint.IsZero() {
			p.complaint = w.now
			p.leave("*", w.now)
		}
	}
}

// unreliable is a store that fails now and then.
func (w *world) unreliable() func(string, mail.Address) error {
	seed := rapid.Uint32().Draw(w.rt, "failures")
	return func(op string, key mail.Address) error {
		seed = seed*1664525 + 1013904223
		if seed>>30 == 0 {
			return errors.New("no route to host")
		}
		return nil
	}
}

func (w *world) copy() string {
	w.n++
	from := w.path()
	w.ok(w.x.Close())
	b, err := os.ReadFile(from)
	w.ok(err)
	to := filepath.Join(w.dir, fmt.Sprint("copy", w.n))
	w.ok(os.WriteFile(to, b, 0o600))
	w.open(from)
	return to
}

func (w *world) path() string { return filepath.Join(w.dir, "index.db") }

func (w *world) open(path string) {
	x, err := directory.OpenIndex(path)
	w.ok(err)
	x.SetLists(lists())
	w.x = x
}

// reopen goes on with a copy of the file, as a machine does that lost its power.
func (w *world) reopen(copied string) {
	w.ok(w.x.Close())
	w.ok(os.Rename(copied, w.path()))
	w.open(w.path())
}

// check asks what is asked before every copy.
func (w *world) check() {
	for i, p := range w.people {
		for _, list := range append(lists(), "", "a list that is new") {
			want := ""
			if !p.complaint.IsZero() {
				want = "suppressed"
			} else if list != "" && p.blocked(list) {
				want = "unsubscribed"
			}
			spelled := modelSpellings()[i]
			if b, _ := w.x.Blocked(spelled[(w.n+len(list))%len(spelled)], list); b.Kind != want {
				w.rt.Fatalf("person %d, list %q: blocked %+v, want %q; the model has %+v", i, list, b, want, p)
			}
		}
	}
}

// settle tells the directory all, and compares.
func (w *world) settle() {
	_, err := w.x.Replay(w.rt.Context(), w.store)
	w.ok(err)
	for i, p := range w.people {
		u, err := w.store.Get(w.rt.Context(), modelSpellings()[i][0])
		w.ok(err)
		for _, list := range lists() {
			if u.Receives(list) == p.blocked(list) {
				w.rt.Fatalf("person %d, list %s: the directory has %+v, the model %+v", i, list, u, p)
			}
		}
		s, err := w.x.State(w.rt.Context(), w.store, modelSpellings()[i][0], lists())
		last := w.chain(i)
		for _, list := range lists() {
			if err != nil || s.On[list] == last[len(last)-1].blocked(list) {
				w.rt.Fatalf("person %d, list %s: the page shows %+v, %v; the model has %+v", i, list, s, err, p)
			}
		}
	}
	number, _, err := w.x.Head()
	w.ok(err)
	if n, err := w.x.VerifyLedger(w.rt.Context(), nil); err != nil || n != number {
		w.rt.Fatalf("%d entries are good, %v; want %d", n, err, number)
	}
	if len(w.store.users) != len(w.people) {
		w.rt.Fatalf("%d users in the directory: a ghost", len(w.store.users))
	}
}

// TestIndexAndDirectoryAgreeWithTheirModel plays what people, operators, syncs and
// crashes do in any order, in any spelling: whoever left gets nothing, at any
// moment, and in the end the directory says the same.
func TestIndexAndDirectoryAgreeWithTheirModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp("", "person-model-")
		if err != nil {
			rt.Fatal(err)
		}
		defer os.RemoveAll(dir)
		w := &world{rt: rt, now: at(), dir: dir, store: newMemory()}
		for i, spelled := range modelSpellings() {
			w.people = append(w.people, &modelPerson{left: map[string]time.Time{}, entry: map[string]bool{}, became: i})
			w.ok(w.store.Put(rt.Context(), []directory.User{{Email: spelled[0], Subscribed: true}}))
		}
		w.open(w.path())
		defer func() { _ = w.x.Close() }()
		steps := w.steps()
		names := slices.Sorted(maps.Keys(steps))
		for _, name := range rapid.SliceOfN(rapid.SampledFrom(names), 1, 40).Draw(rt, "steps") {
			w.n++
			w.now = w.now.Add(36 * time.Hour)
			steps[name]()
			w.check()
		}
		w.settle()
	})
}
