package mysqlsync

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"slices"
	"time"

	"postern/directory"
	"postern/mail"
)

// batch is the rows that are judged and written together, and what is known of them.
type batch struct {
	cfg    *Config
	now    time.Time
	rows   []Row // one of each key
	hashes []uint64
	in     map[string]int
	base   map[string]*seen                 // by the row's key; nil: it was no user so far
	owners map[string]string                // of the rows' addresses, normalised
	spelt  map[string]mail.Address          // how the directory spells them, where it differs
	taken  map[string]string                // row's key: the row that has its address
	flown  map[string]flight                // by the row's key: what may have been written of it
	users  map[mail.Address]*directory.User // of the directory, as they will be once it was told everything
	left   map[mail.Address][]string        // by the index, of the same
}

// gather collects what is known of the rows. A row whose address another row has brings
// that one with it: it may have moved away since. blind says that the directory is known
// to have none of the users. alone leaves the other row where it is: what is in a staging
// cannot be moved.
func (s *Syncer) gather(ctx context.Context, rows []Row, flown map[string]flight, blind, alone bool) (*batch, error) {
	b := &batch{cfg: &s.cfg, now: time.Now(), in: map[string]int{}, flown: flown}
	b.add(rows)
	for range chainOfOwners {
		if err := b.recall(); err != nil {
			return nil, err
		}
		var outside []string
		for _, owner := range b.owners {
			if _, in := b.in[owner]; !in {
				outside = append(outside, owner)
			}
		}
		if len(outside) == 0 || alone {
			break
		}
		slices.Sort(outside)
		found, err := s.cfg.Source.Lookup(ctx, slices.Compact(outside))
		if err != nil {
			return nil, err
		}
		b.add(found)
		for _, key := range outside {
			if _, there := b.in[key]; !there {
				b.add([]Row{{Key: key, Deleted: true}}) // it is gone, and somebody else has its address
			}
		}
	}
	b.claim()
	if blind {
		return b, nil
	}
	return b, b.ask(ctx)
}

// chainOfOwners is how many rows that wait for each other's address are read together.
const chainOfOwners = 8

// add takes rows; of the same one the later.
func (b *batch) add(rows []Row) {
	for _, r := range rows {
		h := uint64(0)
		if r.lives() {
			h = hash(r.User.Attributes)
		}
		if i, there := b.in[r.Key]; there {
			b.rows[i], b.hashes[i] = r, h
			continue
		}
		b.in[r.Key] = len(b.rows)
		b.rows, b.hashes = append(b.rows, r), append(b.hashes, h)
	}
}

func keysOf(rows []Row) []string {
	keys := make([]string, len(rows))
	for i := range rows {
		keys[i] = rows[i].Key
	}
	return keys
}

// recall reads the state of the rows, and who has their addresses.
func (b *batch) recall() (err error) {
	var addresses []string
	for _, r := range b.rows {
		if r.Problem == "" && r.User.Email != "" {
			addresses = append(addresses, r.User.Email.Key())
		}
		if f, unsure := b.flown[r.Key]; unsure && f.Email != "" {
			addresses = append(addresses, f.Email.Key())
		}
	}
	if b.base, err = b.cfg.State.known(keysOf(b.rows)); err != nil {
		return err
	}
	if b.owners, err = b.cfg.State.owners(addresses); err != nil {
		return err
	}
	b.spelt, err = getMany[mail.Address](b.cfg.State, speltBucket, addresses)
	return err
}

// lives says whether the row is to be a user.
func (r *Row) lives() bool { return !r.Deleted && r.Problem == "" }

// claim finds the rows whose address is another's. An address is free when the row that
// had it is deleted or moves away, which that one can only do when it gets its own new
// one: so it is asked until nothing changes.
func (b *batch) claim() {
	b.taken = map[string]string{}
	for more := true; more; {
		more = false
		has := map[string]string{} // who keeps an address, or gets it
		for i := range b.rows {
			r := &b.rows[i]
			base := b.base[r.Key]
			if base == nil || r.Deleted {
				continue
			}
			if _, stays := b.taken[r.Key]; stays || r.Problem != "" || r.User.Email.Key() == base.Email.Key() {
				has[base.Email.Key()] = r.Key
			}
		}
		for i := range b.rows {
			r := &b.rows[i]
			if _, refused := b.taken[r.Key]; refused || !r.lives() {
				continue
			}
			address := r.User.Email.Key()
			other, kept := has[address]
			if owner, owned := b.owners[address]; !kept && owned {
				if _, in := b.in[owner]; !in {
					other, kept = owner, true
				}
			}
			if kept && other != r.Key {
				b.taken[r.Key], more = other, true
				continue
			}
			has[address] = r.Key
		}
	}
}

// ask reads the users of the directory that the rows are about, as far as they matter.
func (b *batch) ask(ctx context.Context) error {
	var keys []mail.Address
	for i := range b.rows {
		r := &b.rows[i]
		base := b.base[r.Key]
		if base != nil && r.lives() && b.same(r, base) {
			continue
		}
		if base != nil {
			keys = append(keys, base.Email)
		}
		if f, is := b.flown[r.Key]; is && f.Email != "" {
			keys = append(keys, f.Email)
		}
		if r.Problem == "" && r.User.Email != "" {
			keys = append(keys, r.User.Email)
			if other := b.spelt[r.User.Email.Key()]; other != "" {
				keys = append(keys, other)
			}
		}
	}
	found, err := b.cfg.Store.GetMany(ctx, keys)
	if err != nil {
		return err
	}
	b.users, b.left = map[mail.Address]*directory.User{}, map[mail.Address][]string{}
	for _, u := range found {
		told, left, err := b.cfg.Index.Heard(u)
		if err != nil {
			return err
		}
		b.users[u.Email], b.left[u.Email] = &told, left
	}
	return nil
}

func stands(u *directory.User) standing {
	switch {
	case u.KeepStatus:
		return unasked
	case u.Subscribed:
		return yes
	case u.Unknown:
		return unsaid
	}
	return no
}

// same says whether the row is as it was last seen.
func (b *batch) same(r *Row, base *seen) bool {
	if _, unsure := b.flown[r.Key]; unsure {
		return false
	}
	return r.User.Email == base.Email && stands(&r.User) == base.Stands && b.hashes[b.in[r.Key]] == base.Hash && !b.news(r, base)
}

// news says whether the row's consent is one: the index has not heard it yet. One that is
// given by who is not subscribed, or in the future, counts when that has passed; the latter as
// of when it was read first.
func (b *batch) news(r *Row, base *seen) bool {
	s := stands(&r.User)
	return (s == yes || s == unasked) && !r.Consent.IsZero() && !r.Consent.After(b.now) && (base == nil || r.Consent.After(base.Consent))
}

// hash is of the attributes, whose JSON has the names in order.
func hash(attributes map[string]any) uint64 {
	text, err := json.Marshal(attributes)
	if err != nil {
		text = fmt.Append(nil, attributes)
	}
	h := fnv.New64a()
	_, _ = h.Write(text)
	return h.Sum64()
}
