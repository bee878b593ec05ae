package directory

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"postern/mail"
)

func historyKey(key string, n uint64) []byte {
	return binary.BigEndian.AppendUint64(append([]byte(key), 0), n)
}

// History gives the entries of an address in any spelling, oldest first, and with
// them those of the addresses that have become it, up to then ([Index.Moved]). It
// reads just these.
func (x *Index) History(addr mail.Address) (list []Entry, err error) {
	err = x.db.View(func(tx *bolt.Tx) error {
		list, err = historyOf(tx, addr.Key(), 0)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the history of %q: %w", addr, err)
	}
	return list, nil
}

// historyOf gives the entries before the number before; 0 is no bound.
func historyOf(tx *bolt.Tx, key string, before uint64) ([]Entry, error) {
	var list []Entry
	err := eachBack(tx, key, before, func(e Entry) (bool, error) {
		list = append(list, e)
		if e.Kind != entryMoved || e.From == "" {
			return true, nil
		}
		earlier, err := historyOf(tx, e.From.Key(), e.Number)
		list = append(list, earlier...)
		return true, err
	})
	slices.SortFunc(list, func(a, b Entry) int { return int(int64(a.Number) - int64(b.Number)) })
	return slices.CompactFunc(list, func(a, b Entry) bool { return a.Number == b.Number }), err
}

// eachBack calls f for the entries of one address before a number, the latest first,
// until f gives false.
func eachBack(tx *bolt.Tx, key string, before uint64, f func(Entry) (bool, error)) error {
	if before == 0 {
		before = 1<<64 - 1
	}
	ledger := bucket(tx, ledgerBucket)
	prefix := append([]byte(key), 0)
	c := bucket(tx, historyBucket).Cursor()
	k, _ := c.Seek(historyKey(key, before))
	if k == nil {
		k, _ = c.Last()
	} else {
		k, _ = c.Prev()
	}
	for ; bytes.HasPrefix(k, prefix); k, _ = c.Prev() {
		if len(k) != len(prefix)+8 {
			continue
		}
		n := k[len(prefix):]
		v := ledger.Get(n)
		if v == nil {
			return fmt.Errorf("entry %d of the ledger is missing", binary.BigEndian.Uint64(n))
		}
		e, err := decodeEntry(tx, n, v)
		if err != nil {
			return err
		}
		if more, err := f(e); err != nil || !more {
			return err
		}
	}
	return nil
}

// latest finds the last entry of an address itself for which is holds.
func latest(tx *bolt.Tx, key string, is func(Entry) bool) (found Entry, ok bool, err error) {
	err = eachBack(tx, key, 0, func(e Entry) (bool, error) {
		if ok = is(e); ok {
			found = e
		}
		return !ok, nil
	})
	return found, ok, err
}

// LastConsent gives the latest consent to a list, or to all, by the time at which it
// was given. Whether the person has left since, [Index.Left] says.
func (x *Index) LastConsent(addr mail.Address, list string) (Entry, bool, error) {
	return x.lastOf(addr, list, entryConsent, entryRejoin)
}

// LastReminder gives the latest entry of [Index.Reminded].
func (x *Index) LastReminder(addr mail.Address, list string) (Entry, bool, error) {
	return x.lastOf(addr, list, entryReminded)
}

func (x *Index) lastOf(addr mail.Address, list string, kinds ...string) (last Entry, found bool, err error) {
	past, err := x.History(addr)
	for _, e := range past {
		if slices.Contains(kinds, e.Kind) && (e.List == list || e.List == AllLists) && !e.At.Before(last.At) {
			last, found = e, true
		}
	}
	return last, found, err
}

// Returns counts how often a person has come back to a list since a time, by the ledger,
// up to atMost: it reads no further.
func (x *Index) Returns(addr mail.Address, since time.Time, atMost int) (n int, err error) {
	err = x.db.View(func(tx *bolt.Tx) error {
		return eachBack(tx, addr.Key(), 0, func(e Entry) (bool, error) {
			if e.Kind == entryConsent && !e.At.Before(since) {
				n++
			}
			return n < atMost && !e.At.Before(since), nil
		})
	})
	if err != nil {
		return n, fmt.Errorf("read the history of %q: %w", addr, err)
	}
	return n, nil
}
