package directory

import (
	"context"
	"fmt"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"postern/mail"
)

// Agreed records that the person agreed to lists at that moment, as a sync says it. A consent that is later than the opt-out made here undoes it, as
// [Index.Consent] does; an earlier one is an entry and changes nothing, and so is
// one that lies in the future of ev.At, when it came. Each is recorded once,
// however often it comes: a consent that was heard does not undo a later opt-out,
// whatever the clocks say. It is of this address and not of what it has become: an
// address that is given away and agrees again is another person's.
func (x *Index) Agreed(ctx context.Context, userKey mail.Address, lists []string, at time.Time, ev Evidence) error {
	lists = Union(lists, nil)
	if userKey == "" || len(lists) == 0 || slices.Contains(lists, "") || at.IsZero() {
		return mail.Refuse(0, "", "a consent needs an address, a list and a time")
	}
	at = at.UTC()
	if news, err := x.unheard(userKey, lists, at); err != nil || len(news) == 0 {
		return err
	}
	known := x.allLists()
	err := x.commit(ctx, func(tx *bolt.Tx) error { return agreed(tx, userKey, lists, known, at, ev) })
	if err != nil {
		return fmt.Errorf("record the consent of %q for %s: %w", userKey, listNames(lists), err)
	}
	x.wake()
	return nil
}

// BringsBack says whether [Index.Agreed] with a consent of that moment, which has come,
// would undo that the person has left all lists.
func (x *Index) BringsBack(user mail.Address, at time.Time) (back bool, err error) {
	err = x.db.View(func(tx *bolt.Tx) error {
		news, err := notHeard(tx, user, []string{AllLists}, at.UTC())
		if err != nil || len(news) == 0 {
			return err
		}
		p, err := readPerson(tx, user, Evidence{})
		if err != nil {
			return err
		}
		gone, left := p.left[AllLists]
		back = left && at.After(gone)
		return nil
	})
	return back, err
}

// unheard gives the lists whose consent is news. It asks without a transaction that
// writes: most of what a sync brings is known.
func (x *Index) unheard(user mail.Address, lists []string, at time.Time) (news []string, err error) {
	err = x.db.View(func(tx *bolt.Tx) error {
		news, err = notHeard(tx, user, lists, at)
		return err
	})
	return news, err
}

func notHeard(tx *bolt.Tx, user mail.Address, lists []string, at time.Time) ([]string, error) {
	past, err := historyOf(tx, user.Key(), 0)
	return slices.DeleteFunc(slices.Clone(lists), func(id string) bool {
		return slices.ContainsFunc(past, func(e Entry) bool { return e.Kind == entryConsent && e.List == id && e.At.Equal(at) })
	}), err
}

func agreed(tx *bolt.Tx, user mail.Address, lists, known []string, at time.Time, ev Evidence) error {
	news, err := notHeard(tx, user, lists, at)
	if err != nil {
		return err
	}
	now := ev.At
	ev.At = at
	p, err := readPerson(tx, user, ev)
	if err != nil {
		return err
	}
	future := !now.IsZero() && at.After(now)
	if !future {
		if err := takenAnew(tx, user, at); err != nil {
			return err
		}
	}
	var join []string
	for _, id := range news {
		gone, is := p.leftAt(id)
		switch {
		case is && (future || !at.After(gone)):
			if err := p.note(id, gone, future); err != nil {
				return err
			}
		case id == AllLists:
			if err := p.back(id, entryConsent); err != nil {
				return err
			}
			if err := addPending(tx, user, id, pending{}); err != nil {
				return err
			}
		default:
			join = append(join, id)
		}
	}
	if err := p.join(join, known, join, entryConsent); err != nil {
		return err
	}
	return p.write()
}

// leftAt is when the person left the list, by itself or with all others.
func (p *person) leftAt(list string) (time.Time, bool) {
	one, left := p.left[list]
	all, leftAll := p.left[AllLists]
	if leftAll && all.After(one) {
		one = all
	}
	return one, left || leftAll
}

// note records a consent that changes nothing.
func (p *person) note(list string, left time.Time, future bool) error {
	e := p.ev.entry(entryConsent, p.user, list)
	e.Reason = "changes nothing: it was given before the opt-out of " + left.Format(time.DateTime)
	if future {
		e.Reason = "changes nothing: its time lies in the future"
	}
	_, err := appendLedger(p.tx, e)
	return err
}
