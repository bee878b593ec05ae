package directory

import (
	"bytes"
	"context"

	bolt "go.etcd.io/bbolt"
)

// verifyKept holds every address's opt-outs in the ledger against what Blocked is asked:
// a *LedgerError names an opt-out that no later word has undone and that is not kept.
func (x *Index) verifyKept(ctx context.Context) error {
	var after []byte
	for more := true; more; {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := x.db.View(func(tx *bolt.Tx) (err error) {
			after, more, err = keptSome(tx, after)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// keptSome looks at the addresses behind the history row after, whole ones.
func keptSome(tx *bolt.Tx, after []byte) (last []byte, more bool, err error) {
	c := bucket(tx, historyBucket).Cursor()
	k, _ := c.Seek(after)
	if after != nil && bytes.Equal(k, after) {
		k, _ = c.Next()
	}
	var key []byte
	var words lastWords
	for i := 0; k != nil; k, _ = c.Next() {
		if len(k) < 9 {
			continue // it is nobody's
		}
		if is := k[:len(k)-9]; !bytes.Equal(is, key) {
			if err := words.kept(tx, key); err != nil {
				return nil, false, err
			}
			if i >= ledgerPage {
				return last, true, nil
			}
			key, words = bytes.Clone(is), lastWords{}
		}
		i++
		last = bytes.Clone(k)
		// A row that is gone or cannot be read was named before.
		if v := bucket(tx, ledgerBucket).Get(k[len(k)-8:]); v != nil {
			if e, err := decodeEntry(tx, k[len(k)-8:], v); err == nil {
				words.hear(e)
			}
		}
	}
	return last, false, words.kept(tx, key)
}

// lastWords are the numbers of the entries by which an address is off lists: list id to
// number.
type lastWords map[string]uint64

func (w lastWords) hear(e Entry) {
	switch e.Kind {
	case entryOptOut:
		w[e.List] = e.Number
	case entryConsent, entryRejoin, entryRestore:
		delete(w, e.List)
		if delete(w, AllLists); e.List == AllLists {
			clear(w) // what was left singly stays left, mostly; that is not looked at
		}
	}
}

func (w lastWords) kept(tx *bolt.Tx, key []byte) error {
	if len(w) == 0 {
		return nil
	}
	lists, err := getJSON[left](bucket(tx, leftBucket), key)
	if err != nil {
		return nil // what cannot be read blocks
	}
	first := uint64(0)
	_, all := lists[AllLists]
	for list, number := range w {
		if _, gone := lists[list]; !gone && !all && (first == 0 || number < first) {
			first = number
		}
	}
	if first == 0 {
		return nil
	}
	return &LedgerError{first, "is an opt-out that nobody has undone, and " + string(key) + " would be sent the list's mail all the same"}
}
