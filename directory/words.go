package directory

import (
	"context"
	"fmt"
	"maps"
	"slices"

	bolt "go.etcd.io/bbolt"

	"postern/mail"
)

// Word is what the index knows of an address.
type Word struct {
	Left       []string // list ids, sorted; [AllLists] among them for one who has left all
	Suppressed bool

	unheard bool // somebody who has left something, and words about them are not told of this spelling
}

// Words gives what is known here of each address, in their order, in one short
// transaction: some thousand addresses at a time.
func (x *Index) Words(addrs []mail.Address) ([]Word, error) {
	words := make([]Word, len(addrs))
	err := x.db.View(func(tx *bolt.Tx) error {
		suppressed := bucket(tx, suppressedBucket)
		for i, addr := range addrs {
			key := []byte(addr.Key())
			words[i].Suppressed = suppressed.Get(key) != nil
			if err := words[i].hear(tx, addr, key); err != nil {
				return fmt.Errorf("read what %q has left: %w", addr, err)
			}
		}
		return nil
	})
	return words, err
}

func (w *Word) hear(tx *bolt.Tx, addr mail.Address, key []byte) error {
	lists, err := getJSON[left](bucket(tx, leftBucket), key)
	if err != nil || len(lists) == 0 {
		return err
	}
	w.Left = slices.Sorted(maps.Keys(lists))
	if string(addr) == string(key) {
		return nil
	}
	now, err := getJSON[became](bucket(tx, movedBucket), key)
	w.unheard = now.To == "" || now.To != addr && now.To.Key() == string(key)
	return err
}

// spelt says that the directory has these users in these spellings: what they have
// left is told to the Store again, and so is every later word of theirs.
func (x *Index) spelt(ctx context.Context, users []mail.Address, ev Evidence) error {
	err := x.commit(ctx, func(tx *bolt.Tx) error {
		for _, user := range users {
			if err := moved(tx, mail.Address(user.Key()), user, ev); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("record how %d users are written: %w", len(users), err)
	}
	x.wake()
	return nil
}
