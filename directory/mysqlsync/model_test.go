package mysqlsync_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"postern/directory"
	"postern/directory/mysqlsync"
	"postern/mail"
)

// soul is a row's person in the plainest form.
type soul struct {
	known   mail.Address // the address by which the directory has them, as of the last whole pass
	left    map[string]bool
	mixed   bool // had an address that was somebody else's: may have left more than they did themselves
	foreign bool // somebody wrote a "no" into the directory: a sync finds it at the next change, and no consent from before is later
	agreed  time.Time
}

// model is a world, and what it is to be.
type model struct {
	*world
	rt    *rapid.T
	souls map[int]*soul
	fresh int // addresses given so far
}

func (m *model) address() string {
	m.fresh++
	return fmt.Sprintf("a%d@example.com", m.fresh)
}

// one draws a row that is there; 0 when there is none.
func (m *model) one() int {
	var ids []int
	for id, p := range m.table.rows {
		if !p.deleted {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return 0
	}
	slices.Sort(ids)
	return rapid.SampledFrom(ids).Draw(m.rt, "row")
}

func (m *model) insert() {
	id := len(m.souls) + 1
	m.souls[id] = &soul{left: map[string]bool{}}
	m.table.set(person{id: id, email: m.address(), name: "n", status: rapid.SampledFrom([]string{"yes", "yes", "no"}).Draw(m.rt, "status")})
}

func (m *model) change() {
	id := m.one()
	if id == 0 {
		return
	}
	s := m.souls[id]
	switch rapid.SampledFrom([]string{"name", "status", "status", "move", "swap", "delete", "consent"}).Draw(m.rt, "change") {
	case "name":
		m.table.edit(id, func(p *person) { p.name += "x" })
	case "status":
		m.table.edit(id, func(p *person) { p.status = map[string]string{"yes": "no", "no": "yes"}[p.status] })
	case "move":
		m.table.edit(id, func(p *person) { p.email = m.address() })
	case "swap":
		other := m.one()
		a, b := m.table.rows[id].email, m.table.rows[other].email
		s.mixed, m.souls[other].mixed = true, true
		m.table.edit(id, func(p *person) { p.email = b })
		m.table.edit(other, func(p *person) { p.email = a })
	case "delete":
		m.table.edit(id, func(p *person) { p.deleted = true })
	case "consent":
		if m.table.rows[id].status == "yes" && !s.foreign {
			at := time.Now() // as what the sync finds in the directory has the time at which it does
			m.table.edit(id, func(p *person) { p.consent = at })
			s.agreed = at
			clear(s.left)
		}
	}
}

// leaves lets a person leave who has had a mail: by the address that the directory has.
func (m *model) leaves() {
	id := m.one()
	if id == 0 || m.souls[id].known == "" {
		return
	}
	s := m.souls[id]
	list := rapid.SampledFrom([]string{"news", "promo", directory.AllLists}).Draw(m.rt, "list")
	if err := m.index.OptOut(context.Background(), s.known, list, directory.Evidence{At: time.Now(), How: "page"}); err != nil {
		m.rt.Fatal(err)
	}
	s.left[list] = true
}

// writesNo lets somebody write into the directory.
func (m *model) writesNo() {
	id := m.one()
	if id == 0 || m.souls[id].known == "" || m.table.rows[id].status != "yes" {
		return
	}
	if u, err := m.store.Get(context.Background(), m.souls[id].known); err != nil || !u.Subscribed {
		return // there is nothing to write
	}
	no := false
	err := m.store.Update(context.Background(), m.souls[id].known, directory.Change{Subscribed: &no})
	if err != nil && !errors.Is(err, directory.ErrNotFound) {
		m.rt.Fatal(err)
	}
	if err == nil {
		m.souls[id].foreign = true
		m.souls[id].left[directory.AllLists] = true
	}
}

func (m *model) passes(o mysqlsync.Options) {
	cut := rapid.IntRange(-6, 6).Draw(m.rt, "cut")
	if cut > 0 {
		m.store.fail, m.store.after = m.store.writes+cut, rapid.Bool().Draw(m.rt, "after")
	}
	_, err := m.sync.Run(context.Background(), o, nil)
	m.store.fail = 0
	switch {
	case errors.Is(err, errCut):
		m.open()
	case err != nil:
		m.rt.Fatal(err)
	default:
		for id, p := range m.table.rows {
			m.souls[id].known = mail.Address(p.email)
		}
	}
}

// holds compares the world with the model, after a whole pass.
func (m *model) holds() {
	m.store.fail = 0
	for range 2 {
		if _, err := m.sync.Run(context.Background(), mysqlsync.Options{Reconcile: true, Force: true}, nil); err != nil {
			m.rt.Fatal(err)
		}
		m.hear()
	}
	there := map[string]bool{}
	for id, p := range m.table.rows {
		if p.deleted {
			continue
		}
		there[p.email] = true
		s := m.souls[id]
		s.known = mail.Address(p.email)
		got := m.gets(s.known)
		var may []string
		for _, list := range []string{"news", "promo"} {
			if p.status == "yes" && !s.left[list] && !s.left[directory.AllLists] {
				may = append(may, list)
			}
		}
		want := strings.Join(may, " ")
		if s.mixed {
			for _, list := range strings.Fields(got) {
				if !slices.Contains(may, list) {
					m.rt.Fatalf("row %d, %s, who has left %v, gets %q", id, p.email, s.left, got)
				}
			}
		} else if got != want {
			m.rt.Fatalf("row %d, %s, %s in MySQL, who has left %v, gets %q, want %q", id, p.email, p.status, s.left, got, want)
		}
	}
	for id, p := range m.table.rows {
		if p.deleted && !there[p.email] && m.gets(mail.Address(p.email)) != "is nobody" {
			m.rt.Fatalf("row %d, %s, is deleted and still in the directory", id, p.email)
		}
	}
	if r, err := m.sync.Run(context.Background(), mysqlsync.Options{Reconcile: true}, nil); err != nil || r.Strangers != 0 || r.Same != r.Read {
		m.rt.Fatalf("it does not come to rest: %+v %v", r, err)
	}
}

// TestTheSyncAgainstAModel: changes in MySQL, passes that are cut off, opt-outs, consents and a
// directory that hears late, in any order; then everybody gets what they are to get.
func TestTheSyncAgainstAModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := &model{world: newWorld(t), rt: rt, souls: map[int]*soul{}}
		defer m.close()
		m.cfg.Chunk = rapid.IntRange(1, 5).Draw(rt, "chunk")
		m.open()
		for range rapid.IntRange(1, 6).Draw(rt, "rows") {
			m.insert()
		}
		for range rapid.IntRange(1, 25).Draw(rt, "steps") {
			switch rapid.SampledFrom([]string{"insert", "change", "change", "change", "leave", "leave", "no", "pass", "pass", "hear", "rest"}).Draw(rt, "step") {
			case "insert":
				m.insert()
			case "change":
				m.change()
			case "leave":
				m.leaves()
			case "no":
				m.hear()
				m.writesNo()
			case "pass":
				m.passes(mysqlsync.Options{Force: true})
			case "hear":
				m.hear()
			case "rest":
				m.holds()
			}
		}
		m.holds()
	})
}
