package directory

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"

	"postern/mail"
)

// Why a person's word changes nothing.
var (
	// ErrNotLeft says that nothing shows that the address has left the list.
	ErrNotLeft = errors.New("this address has not left the list")
	// ErrLeftAll is for a coming back to one list of an address that has left all,
	// where nobody has said which others there are ([Index.SetLists]).
	ErrLeftAll = errors.New("this address has left all lists, and coming back to one of them needs the ids of all others")
)

// Choice is what a person wants, as the preferences page has it. A list that is
// both in Join and in Leave is left.
type Choice struct {
	Join, Leave []string
	All         bool     // leave everything: Join and Leave are not looked at
	Known       []string // ids of all configured lists, for coming back from "*"; those of SetLists count too
	Gone        []string // State.Gone: what the directory alone says was left, so that coming back is an entry
}

// SetLists tells the ids of all configured lists: whoever has left all lists and
// comes back to one stays away from the others.
func (x *Index) SetLists(ids []string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.lists = Union(ids, nil)
}

func (x *Index) allLists(more ...string) []string {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return Union(x.lists, more)
}

// OptOut records that the person leaves a list, or every list ([AllLists]). It
// returns when that is on the disk: from then on [Index.Blocked] knows it, after
// a crash too. The Store is told later, by Replay; userKey is the user's key as
// the directory writes it. Leaving twice is no error and is recorded once.
// Calls at the same time share a commit.
func (x *Index) OptOut(ctx context.Context, userKey mail.Address, list string, ev Evidence) error {
	_, err := x.say(ctx, "opt-out", userKey, []string{list}, func(tx *bolt.Tx, user mail.Address) ([]Entry, error) {
		return leaveList(tx, user, list, ev)
	})
	return err
}

// Consent records that the person agrees to get a list's mail, durably, when it
// returns: an opt-out from it is undone. Who has left all lists comes back to this
// one alone; [AllLists] undoes just that, and what was left one by one stays left.
// A consent of one who has not left is an entry too; the same one again within a
// day is not.
func (x *Index) Consent(ctx context.Context, userKey mail.Address, list string, ev Evidence) error {
	known := x.allLists()
	_, err := x.say(ctx, "consent", userKey, []string{list}, func(tx *bolt.Tx, user mail.Address) ([]Entry, error) {
		return consent(tx, user, list, known, nil, ev)
	})
	return err
}

// Choose makes a person's choice, durably, when it returns: one commit, and one entry
// for each list that changes, which it gives. Leaving what was left and joining
// what was not changes nothing, but the Store is told again.
func (x *Index) Choose(ctx context.Context, userKey mail.Address, c Choice, ev Evidence) (changed []Entry, err error) {
	known := x.allLists(c.Known...)
	return x.say(ctx, "choice", userKey, slices.Concat(c.Join, c.Leave), func(tx *bolt.Tx, user mail.Address) ([]Entry, error) {
		if c.All {
			return leaveList(tx, user, AllLists, ev)
		}
		p, err := readPerson(tx, user, ev)
		if err != nil {
			return nil, err
		}
		join := slices.DeleteFunc(Union(c.Join, nil), func(id string) bool { return slices.Contains(c.Leave, id) })
		if err := p.join(join, known, c.Gone, entryConsent); err != nil {
			return nil, err
		}
		for _, id := range Union(c.Leave, nil) {
			if err := p.leave(id); err != nil {
				return nil, err
			}
		}
		return p.changed, p.write()
	})
}

// Restore undoes an opt-out that a scanner or a mistake has made, and nothing else:
// [ErrNotLeft] when no entry shows that the person left exactly this list, or
// [AllLists]. ev.Note is what an operator knows about it, and is needed.
func (x *Index) Restore(ctx context.Context, userKey mail.Address, list string, ev Evidence) (Entry, error) {
	if strings.TrimSpace(ev.Note) == "" {
		return Entry{}, mail.Refuse(0, "", "a restore needs its evidence in words: who says that %q did not mean to leave, and how is that known?", clip(string(userKey)))
	}
	entries, err := x.say(ctx, "restore", userKey, []string{list}, func(tx *bolt.Tx, user mail.Address) ([]Entry, error) {
		return restore(tx, user, list, ev)
	})
	switch {
	case err != nil:
		return Entry{}, err
	case len(entries) == 0:
		return Entry{}, fmt.Errorf("restore %q on list %q: %w", userKey, list, ErrNotLeft)
	}
	return entries[0], nil
}

// Confirmed is a consent that comes from the link in a confirmation mail. It proves
// that the mailbox is there and that its owner wants mail: so the same commit
// lifts a suppression by a complaint or by bounces. What a person or a file has
// suppressed stays so. Whose complaint came in a file, and so has left no list, comes
// back to this list alone, as after any other complaint: they have chosen no other.
func (x *Index) Confirmed(ctx context.Context, userKey mail.Address, list string, ev Evidence) error {
	known := x.allLists()
	_, err := x.say(ctx, "confirmed consent", userKey, []string{list}, func(tx *bolt.Tx, user mail.Address) ([]Entry, error) {
		key := []byte(user.Key())
		row, err := readSuppressed(tx, key)
		if err != nil {
			return nil, err
		}
		if row.Kind == KindComplaint || row.Kind == KindBounce || row.Kind == KindSoftBounces {
			if err := lift(tx, key, row, Lift{By: "its owner confirmed by the link in a mail", At: ev.At}); err != nil {
				return nil, err
			}
		}
		if row.Kind == KindComplaint && !row.OffLists {
			return consent(tx, user, list, known, []string{AllLists}, ev)
		}
		return consent(tx, user, list, known, nil, ev)
	})
	return err
}

// say records a person's word about the address userKey, and about what that address
// has become since ([Index.Moved]): old mails are still in people's mailboxes.
func (x *Index) say(ctx context.Context, what string, userKey mail.Address, lists []string, word func(*bolt.Tx, mail.Address) ([]Entry, error)) (entries []Entry, err error) {
	if userKey == "" || slices.ContainsFunc(lists, func(id string) bool { return id == "" || strings.ContainsRune(id, 0) }) {
		return nil, fmt.Errorf("record the %s: it needs an address and a list", what)
	}
	err = x.commit(ctx, func(tx *bolt.Tx) error {
		entries = nil
		users, err := becomes(tx, userKey)
		if err != nil {
			return err
		}
		for _, user := range users {
			some, err := word(tx, user)
			if err != nil {
				return err
			}
			entries = append(entries, some...)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("record the %s of %q for %s: %w", what, userKey, listNames(lists), err)
	}
	x.wake()
	return entries, nil
}

func listNames(ids []string) string {
	if len(ids) == 0 {
		return "all lists"
	}
	return "list " + fmt.Sprintf("%q", ids)
}

func leaveList(tx *bolt.Tx, user mail.Address, list string, ev Evidence) ([]Entry, error) {
	p, err := readPerson(tx, user, ev)
	if err != nil {
		return nil, err
	}
	if err := p.leave(list); err != nil {
		return nil, err
	}
	return p.changed, p.write()
}

func consent(tx *bolt.Tx, user mail.Address, list string, known, gone []string, ev Evidence) ([]Entry, error) {
	p, err := readPerson(tx, user, ev)
	if err != nil {
		return nil, err
	}
	if list == AllLists {
		if err := p.joinAll(entryConsent); err != nil {
			return nil, err
		}
		return p.changed, p.write()
	}
	again, err := p.said(list)
	if err != nil {
		return nil, err
	}
	if !again {
		gone = append([]string{list}, gone...)
	}
	if err := p.join([]string{list}, known, gone, entryConsent); err != nil {
		return nil, err
	}
	return p.changed, p.write()
}

func restore(tx *bolt.Tx, user mail.Address, list string, ev Evidence) ([]Entry, error) {
	p, err := readPerson(tx, user, ev)
	if err != nil {
		return nil, err
	}
	if _, gone := p.left[list]; !gone {
		return nil, nil
	}
	past, err := historyOf(tx, user.Key(), 0)
	if err != nil || !slices.ContainsFunc(past, func(e Entry) bool { return e.Kind == entryOptOut && e.List == list }) {
		return nil, err
	}
	if list == AllLists {
		err = p.joinAll(entryRestore)
	} else if err = p.back(list, entryRestore); err == nil {
		err = addPending(tx, user, list, pending{})
	}
	return p.changed, errors.Join(err, p.write())
}

// person is what one address has left, while its word is written.
type person struct {
	tx      *bolt.Tx
	user    mail.Address
	ev      Evidence
	left    left
	dirty   bool
	changed []Entry
}

func readPerson(tx *bolt.Tx, user mail.Address, ev Evidence) (*person, error) {
	lists, err := getJSON[left](bucket(tx, leftBucket), []byte(user.Key()))
	if lists == nil {
		lists = left{}
	}
	return &person{tx: tx, user: user, ev: ev, left: lists}, err
}

func (p *person) write() error {
	if !p.dirty {
		return nil
	}
	b, key := bucket(p.tx, leftBucket), []byte(p.user.Key())
	if len(p.left) == 0 {
		return b.Delete(key)
	}
	return putJSON(b, key, p.left)
}

// leave is an opt-out from one list, or from all. Saying it again is no entry, but the
// later word is the one that a consent has to be later than.
func (p *person) leave(list string) error {
	at := p.ev.At.UTC()
	was, gone := p.left[list]
	if !gone || at.After(was) {
		p.left[list], p.dirty = at, true
	}
	if !gone {
		if err := p.log(entryOptOut, list); err != nil {
			return err
		}
	}
	return addPending(p.tx, p.user, list, pending{Leave: true})
}

// join comes back to lists. Who has left all comes back to these alone. gone are
// those that count as left although the index does not say so.
func (p *person) join(lists, known, gone []string, kind string) error {
	if len(lists) == 0 {
		return nil
	}
	others := slices.DeleteFunc(slices.Clone(known), func(id string) bool { return slices.Contains(lists, id) || id == AllLists })
	at, all := p.left[AllLists]
	if !all && slices.Contains(gone, AllLists) {
		at, all = p.ev.At.UTC(), true
	}
	if all {
		if len(known) == 0 {
			return ErrLeftAll
		}
		if err := p.leaveOthers(others, at); err != nil {
			return err
		}
	}
	for _, id := range lists {
		_, left := p.left[id]
		if left || all || slices.Contains(gone, id) {
			if err := p.back(id, kind); err != nil {
				return err
			}
		}
		if err := addPending(p.tx, p.user, id, pending{Others: others, Back: len(known) > 0}); err != nil {
			return err
		}
	}
	return nil
}

// leaveOthers makes of having left all lists at that moment that these were left.
func (p *person) leaveOthers(others []string, at time.Time) error {
	p.dirty = true
	delete(p.left, AllLists)
	for _, id := range others {
		if _, gone := p.left[id]; !gone {
			p.left[id] = at
		}
	}
	for id := range maps.Keys(p.left) {
		if err := addPending(p.tx, p.user, id, pending{Leave: true}); err != nil {
			return err
		}
	}
	return addPending(p.tx, p.user, AllLists, pending{})
}

// joinAll undoes having left all lists.
func (p *person) joinAll(kind string) error {
	if _, gone := p.left[AllLists]; gone {
		if err := p.back(AllLists, kind); err != nil {
			return err
		}
	}
	return addPending(p.tx, p.user, AllLists, pending{})
}

// back takes a list from what was left, with an entry.
func (p *person) back(list, kind string) error {
	delete(p.left, list)
	p.dirty = true
	return p.log(kind, list)
}

func (p *person) log(kind, list string) error {
	e, err := appendLedger(p.tx, p.ev.entry(kind, p.user, list))
	if err != nil {
		return err
	}
	p.changed = append(p.changed, e)
	if p.ev.Answer {
		return bucket(p.tx, answersBucket).Put(number(e.Number), nil)
	}
	return nil
}

// said says whether the person's last word about the list is the same consent, by the
// same mail and within a day: a link that was pressed twice.
func (p *person) said(list string) (bool, error) {
	e, found, err := latest(p.tx, p.user.Key(), func(e Entry) bool {
		switch e.Kind {
		case entryOptOut, entryConsent, entryRejoin, entryRestore:
			return e.List == list || e.List == AllLists
		}
		return false
	})
	return found && e.Kind == entryConsent && e.List == list && e.How == p.ev.How && e.Message == p.ev.Message && p.ev.At.Sub(e.At).Abs() < oneDay, err
}

const oneDay = 24 * time.Hour
