package mysqlsync

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"postern/directory"
	"postern/mail"
)

// What becomes of a row.
const (
	isNew     = "new"
	isChanged = "changed"
	isSame    = "same"
	isGone    = "gone"
	isBad     = "bad"
)

// step is what is done for one row.
type step struct {
	row  *Row
	kind string
	what string // for people

	put     *directory.User
	fresh   bool           // put makes a user who is not there: what the index has of it is written with it
	from    []mail.Address // the user's keys so far, when they change: more than one when a move was cut off
	drop    []mail.Address // the users to remove
	leave   []string       // what only the directory says was left; the index is told first
	leaver  mail.Address   // who
	consent bool           // is news
	agreed  time.Time      // when it was given
	seen    *seen          // to remember; nil: nothing
	aside   *aside
	later   bool

	unsubscribed, subscribed, kept, back bool
}

// judge says what is done for each row. It reads nothing and writes nothing.
func (b *batch) judge(firstLoad bool) []step {
	steps := make([]step, 0, len(b.rows))
	claimed := map[mail.Address]bool{}
	for i := range b.rows {
		r := &b.rows[i]
		var st step
		owner, taken := b.taken[r.Key]
		switch {
		case r.Deleted:
			st = b.deleted(r, firstLoad)
		case r.Problem != "":
			st = b.setAside(r, r.Problem, false)
		case taken:
			st = b.setAside(r, fmt.Sprintf("its address %s is that of row %s already", r.User.Email, owner), true)
		default:
			st = b.live(r)
			claimed[r.User.Email] = true
		}
		st.row = r
		steps = append(steps, st)
	}
	for i := range steps { // what is somebody else's now stays
		steps[i].drop = slices.DeleteFunc(steps[i].drop, func(a mail.Address) bool { return claimed[a] })
	}
	return steps
}

func (b *batch) setAside(r *Row, reason string, taken bool) step {
	email := r.Email
	if email == "" {
		email = string(r.User.Email)
	}
	st := step{row: r, kind: isBad, what: reason, aside: &aside{Email: email, Reason: reason, Taken: taken, Since: b.now.UTC()}, seen: b.base[r.Key]}
	b.unsubscribe(&st)
	return st
}

// unsubscribe takes one thing from a row that is set aside, because nobody may wait for it: that
// MySQL says "subscribed" no more.
func (b *batch) unsubscribe(st *step) {
	base, says := st.seen, stands(&st.row.User)
	if base == nil || base.Stands != yes || says == yes || says == unasked {
		return
	}
	address := base.Email
	if f := b.flown[st.row.Key]; f.Email != "" && b.users[address] == nil {
		address = f.Email
	}
	now := *base
	now.Stands, st.seen = says, &now
	u, old := directory.User{Email: address}, b.users[address]
	b.status(st, &u, base, old)
	if old != nil || b.users == nil {
		st.put = &u
	}
}

// deleted takes a row's user out of the directory. One that was never seen may be in
// a directory that was filled before there was a sync, but only when no other row has
// the address; a first load knows that at its end.
func (b *batch) deleted(r *Row, firstLoad bool) step {
	base := b.base[r.Key]
	address := r.User.Email
	unsure, flown := b.flown[r.Key]
	switch {
	case base != nil:
		address = base.Email
	case flown && unsure.Email != "":
		address = unsure.Email
	case firstLoad && r.Problem == "" && address != "" && !b.anothers(address, r.Key):
		return step{kind: isSame, later: true}
	}
	if base == nil && (r.Problem != "" || address == "" || b.anothers(address, r.Key)) {
		return step{kind: isSame}
	}
	u := b.users[address]
	if base == nil && u == nil {
		return step{kind: isSame}
	}
	st := step{kind: isGone, what: string(address), drop: []mail.Address{address}, leaver: address}
	if flown && unsure.Email != "" && unsure.Email != address && !b.anothers(unsure.Email, r.Key) {
		st.drop = append(st.drop, unsure.Email)
	}
	if u != nil {
		st.leave = b.onlyThere(u, (base == nil || base.Stands == yes) && (!flown || unsure.Stands == yes))
	}
	return st
}

// anothers says whether another row has the address.
func (b *batch) anothers(address mail.Address, key string) bool {
	owner := b.owners[address.Key()]
	return owner != "" && owner != key
}

// onlyThere is what the directory alone says that the user has left. toldYes says that
// MySQL says or said "subscribed": a "no" is then somebody else's.
func (b *batch) onlyThere(u *directory.User, toldYes bool) []string {
	only := slices.DeleteFunc(slices.Clone(u.OptOut), func(id string) bool { return slices.Contains(b.left[u.Email], id) })
	if toldYes && saysNo(u) && !b.leftAll(u) {
		only = append(only, directory.AllLists)
	}
	return only
}

// saysNo is a "not subscribed" that somebody wrote.
func saysNo(u *directory.User) bool { return !u.Subscribed && !u.Unknown }

func (b *batch) leftAll(u *directory.User) bool {
	return slices.Contains(u.OptOut, directory.AllLists) || slices.Contains(b.left[u.Email], directory.AllLists)
}

// live makes a row a user, or keeps the user in step.
func (b *batch) live(r *Row) step {
	base, u := b.base[r.Key], r.User
	st := step{row: r, kind: isSame, seen: &seen{Email: u.Email, Stands: stands(&u), Hash: b.hashes[b.in[r.Key]]}, consent: b.news(r, base)}
	if base != nil {
		st.seen.Consent, st.seen.Ahead, st.seen.Met = base.Consent, base.Ahead, base.Met
	}
	if r.Consent.After(b.now) && !r.Consent.Equal(st.seen.Ahead) {
		st.seen.Ahead, st.seen.Met = r.Consent, b.now.UTC().Round(0)
	}
	if base != nil && b.same(r, base) {
		return st
	}
	if st.consent {
		st.seen.Consent, st.agreed = r.Consent, r.Consent
		if r.Consent.Equal(st.seen.Ahead) {
			st.agreed = st.seen.Met
		}
	}
	had := u.Email
	if base != nil {
		had = base.Email
	} else if other := b.spelt[u.Email.Key()]; other != "" && b.users[u.Email] == nil && b.users[other] != nil {
		had = other
	}
	old := b.users[had]
	b.status(&st, &u, base, old)
	if f := b.flown[r.Key]; f.Email != "" && f.Email != u.Email && f.Email != had && !b.anothers(f.Email, r.Key) {
		st.from, st.drop = append(st.from, f.Email), append(st.drop, f.Email)
	}
	if had != u.Email {
		b.move(&st, &u, had, old)
	}
	st.put, st.fresh = &u, st.fresh || old == nil
	switch {
	case base == nil && old == nil:
		st.kind, st.what = isNew, ""
	case base == nil && len(st.from) == 0 && holds(old, &u):
		st.put = nil
	default:
		st.kind = isChanged
		if st.what == "" {
			st.what = difference(old, &u)
		}
	}
	if st.consent && base == nil { // else there is nothing to undo
		st.consent = len(st.leave) > 0 || old != nil && len(old.OptOut) > 0 || b.hasLeft(u.Email)
	}
	return st
}

func (b *batch) hasLeft(address mail.Address) bool {
	left, err := b.cfg.Index.Left(address)
	return err != nil || len(left) > 0
}

// status decides what is written of the subscription: MySQL's word where it is a new
// one. A "no" that MySQL did not bring stays.
func (b *batch) status(st *step, u *directory.User, base *seen, old *directory.User) {
	says := st.seen.Stands
	before := base != nil && base.Stands == yes || base == nil && old != nil && old.Subscribed
	foreign := false
	if old != nil {
		foreign = saysNo(old) && !b.leftAll(old) && b.broughtYes(st, base, old) && !b.overwritten(st.row.Key, old)
		if foreign || st.consent {
			st.leave, st.leaver = b.onlyThere(old, foreign), old.Email
		}
		st.kept = says == yes && (foreign || b.leftAll(old))
	} else if says == yes {
		left, _ := b.cfg.Index.Left(u.Email)
		st.kept = slices.Contains(left, directory.AllLists)
	}
	news := base == nil || base.Stands != says || old == nil
	if f, unsure := b.flown[st.row.Key]; unsure && f.Stands != says {
		news = true
	}
	u.KeepStatus = says == unasked || !news || foreign && says == yes
	u.Unknown = false
	st.unsubscribed = news && before && (says == no || says == unsaid)
	st.subscribed = news && !before && says == yes && old != nil && !st.kept
}

// overwritten says whether the user may be another row's already: both rows were about to
// be written, that one to this address, when a chunk was cut off.
func (b *batch) overwritten(key string, u *directory.User) bool {
	if _, unsure := b.flown[key]; !unsure {
		return false
	}
	for _, f := range b.flown {
		if f.Key != key && f.Email != "" && f.Email.Key() == u.Email.Key() {
			return true
		}
	}
	return false
}

// broughtYes says whether the last that was written of the user's status, by a sync, was
// "subscribed"; where none has written any, whether MySQL says so.
func (b *batch) broughtYes(st *step, base *seen, old *directory.User) bool {
	if f, unsure := b.flown[st.row.Key]; unsure && f.Stands != yes {
		return false
	}
	if owner := b.owners[old.Email.Key()]; base == nil && owner != "" {
		base = b.base[owner] // the row that had the address
	}
	if base == nil {
		return st.seen.Stands == yes
	}
	return base.Stands == yes
}

// move brings what the user has, and MySQL does not know, to the new address.
func (b *batch) move(st *step, u *directory.User, had mail.Address, old *directory.User) {
	st.from, st.drop, st.what, st.fresh = append(st.from, had), append(st.drop, had), "was "+string(had), true
	mapped := u.Attributes
	u.Attributes = maps.Clone(mapped)
	owner, owned := b.owners[u.Email.Key()]
	switch there := b.users[u.Email]; {
	case there == nil:
	case owned && owner != st.row.Key: // who had this address has moved too, or is gone
		for name := range there.Attributes {
			if _, is := mapped[name]; !is && name != directory.SuppressedAttribute {
				u.Attributes[name] = nil
			}
		}
	case st.seen.Stands == yes && saysNo(there) && !b.leftAll(there): // no row's so far, and it says no
		st.kept = true
		u.OptOut = []string{directory.AllLists}
	}
	if old == nil {
		return
	}
	for name, v := range old.Attributes {
		if _, is := mapped[name]; !is && name != directory.SuppressedAttribute {
			u.Attributes[name] = v
		}
	}
	u.OptOut = directory.Union(u.OptOut, b.onlyThere(old, false))
	switch {
	case b.overwritten(st.row.Key, old):
		u.KeepStatus = st.seen.Stands == unasked
	case u.KeepStatus:
		// What the index says was left comes along with it; apart from that they stand as they stood.
		u.KeepStatus = old.Unknown
		u.Subscribed = old.Subscribed || st.seen.Stands == yes && b.leftAll(old)
	}
}

// holds says whether the directory already has what would be put.
func holds(old, u *directory.User) bool {
	if !u.KeepStatus && (old.Subscribed != u.Subscribed || old.Unknown) {
		return false
	}
	return len(changes(old, u)) == 0
}

// changes names the attributes that would change.
func changes(old, u *directory.User) (names []string) {
	for _, name := range slices.Sorted(maps.Keys(u.Attributes)) {
		have, there := old.Attributes[name]
		if v := u.Attributes[name]; v == nil && there || v != nil && !reflect.DeepEqual(have, v) {
			names = append(names, name)
		}
	}
	return names
}

// difference says in a few words what changes.
func difference(old, u *directory.User) string {
	if old == nil {
		return "was not in the directory any more"
	}
	var said []string
	for _, name := range changes(old, u) {
		said = append(said, fmt.Sprintf("%s: %s -> %s", name, show(old.Attributes[name]), show(u.Attributes[name])))
	}
	if !u.KeepStatus && (u.Subscribed != old.Subscribed || old.Unknown) {
		said = append(said, fmt.Sprintf("subscribed: %t -> %t", old.Subscribed, u.Subscribed))
	}
	if len(said) > 3 {
		said = append(said[:3], fmt.Sprintf("and %d more", len(said)-3))
	}
	return strings.Join(said, ", ")
}

func show(v any) string {
	if v == nil {
		return "-"
	}
	if s, ok := v.(string); ok {
		return short(s)
	}
	text, err := json.Marshal(v)
	if err != nil {
		return "?"
	}
	return short(string(text))
}

func short(s string) string {
	if r := []rune(s); len(r) > 40 {
		return string(r[:40]) + "…"
	}
	return s
}
