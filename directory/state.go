package directory

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"postern/mail"
)

// stateWait is how long a page waits for the directory; without it the index answers.
const stateWait = 3 * time.Second

// State is what a person gets, by the index and the directory together.
type State struct {
	User      mail.Address    // what the address has become ([Index.Moved]); else the one that was asked for
	On        map[string]bool // list id: the person gets its mail, unless the address is suppressed
	All       bool            // the person has left all lists, or is not subscribed at all
	Gone      []string        // what the directory alone says was left, [AllLists] for one who is not subscribed; for [Choice].Gone
	Found     bool            // the directory holds the user
	Complaint bool            // suppressed because of a complaint: coming back needs a confirmation by mail
	Directory error           // why the directory could not be asked: then the index alone has answered
}

// State says which of lists a person gets: what was left here, and what somebody
// wrote straight into the directory (OptOut, SubscriptionStatus). What the
// directory has yet to be told counts as told. A directory that does not answer
// within 3 seconds is named in Directory, and the index answers alone.
func (x *Index) State(ctx context.Context, store Store, user mail.Address, lists []string) (State, error) {
	s := State{User: user, On: map[string]bool{}}
	var gone left
	var words []pendingEntry
	err := x.db.View(func(tx *bolt.Tx) error {
		users, err := becomes(tx, user)
		if err != nil {
			return err
		}
		s.User = users[len(users)-1]
		if gone, err = getJSON[left](bucket(tx, leftBucket), []byte(s.User.Key())); err != nil {
			return err
		}
		row, err := readSuppressed(tx, []byte(s.User.Key()))
		s.Complaint = row.Kind == KindComplaint
		if err != nil {
			return err
		}
		words, err = pendingOf(tx, s.User)
		return err
	})
	if err != nil {
		return s, fmt.Errorf("read what %q has left: %w", user, err)
	}
	u, err := ask(ctx, store, s.User)
	s.Found = err == nil
	if err != nil && !errors.Is(err, ErrNotFound) {
		s.Directory = err
	}
	if s.Found {
		u = u.after(changeOf(words, &u))
	} else {
		u.Subscribed = true // the index alone
	}
	s.merge(gone, u, lists)
	return s, nil
}

// ask finds the user as the key is written, else in the normalised spelling.
func ask(ctx context.Context, store Store, user mail.Address) (User, error) {
	ctx, cancel := context.WithTimeout(ctx, stateWait)
	defer cancel()
	u, err := store.Get(ctx, user)
	if key := mail.Address(user.Key()); errors.Is(err, ErrNotFound) && key != user {
		return store.Get(ctx, key)
	}
	return u, err
}

func (s *State) merge(gone left, u User, lists []string) {
	_, all := gone[AllLists]
	s.All = all || !u.Subscribed || slices.Contains(u.OptOut, AllLists)
	if s.All && !all {
		s.Gone = []string{AllLists}
	}
	for _, id := range lists {
		_, left := gone[id]
		s.On[id] = !s.All && !left && u.Receives(id)
	}
	for _, id := range u.OptOut {
		if _, left := gone[id]; !left && !all && id != AllLists {
			s.Gone = append(s.Gone, id)
		}
	}
	s.Gone = Union(s.Gone, nil)
}

// after is the user once the store has made the change.
func (u User) after(c Change) User {
	u.OptOut = slices.DeleteFunc(slices.Clone(u.OptOut), func(id string) bool { return slices.Contains(c.OptIn, id) })
	u.OptOut = Union(u.OptOut, c.OptOut)
	if c.Subscribed != nil {
		u.Subscribed = *c.Subscribed
	}
	u.Attributes = maps.Clone(u.Attributes)
	return u
}

// Heard gives a user of the Store as they will be once the Store has been told what it has
// yet to hear, and the lists that the index says they have left.
func (x *Index) Heard(u User) (User, []string, error) {
	var words []pendingEntry
	var gone left
	err := x.db.View(func(tx *bolt.Tx) (err error) {
		if gone, err = getJSON[left](bucket(tx, leftBucket), []byte(u.Email.Key())); err != nil {
			return err
		}
		words, err = pendingOf(tx, u.Email)
		return err
	})
	if err != nil {
		return u, nil, fmt.Errorf("read what %q has left: %w", u.Email, err)
	}
	if len(words) > 0 {
		was := u
		if u = u.after(changeOf(words, &u)); u.Subscribed != was.Subscribed {
			u.Unknown = false
		}
	}
	return u, slices.Sorted(maps.Keys(gone)), nil
}
