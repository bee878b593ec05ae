package directory

import (
	"encoding/binary"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"

	"postern/mail"
)

// Entry is one line of the ledger: what happened to whom, when and how.
type Entry struct {
	Number  uint64       `json:"-"` // 1, 2, 3 … in the order of commits
	At      time.Time    `json:"at"`
	Kind    string       `json:"kind"` // "opt-out", "consent", "restore", "moved", "asked", "answered", "reminded", "suppress", "unsuppress"; "rejoin" in older files
	Address mail.Address `json:"address"`
	List    string       `json:"list,omitempty"`
	How     string       `json:"how,omitempty"`
	Remote  string       `json:"remote,omitempty"`
	Message mail.ID      `json:"message,omitempty"`
	Reason  string       `json:"reason,omitempty"`
	Wording string       `json:"-"`              // what the person was shown
	Note    string       `json:"note,omitempty"` // an operator's words
	From    mail.Address `json:"from,omitempty"` // of "moved": what this address was before
	To      mail.Address `json:"to,omitempty"`   // of "moved": what has become of it
	Of      uint64       `json:"of,omitempty"`   // of "answered": the number of the entry that was answered

	// Of "suppress" and "unsuppress":
	Why      Kind     `json:"why,omitempty"` // the kind of the suppression
	Evidence Evidence `json:"evidence,omitzero"`
}

// Ledger gives up to limit entries, those after the number after; 0 is the
// beginning. The ledger only grows: nothing in it is changed or removed.
func (x *Index) Ledger(after uint64, limit int) ([]Entry, error) {
	var list []Entry
	err := x.db.View(func(tx *bolt.Tx) error {
		c := bucket(tx, ledgerBucket).Cursor()
		for k, v := c.Seek(number(after + 1)); k != nil && len(list) < limit; k, v = c.Next() {
			e, err := decodeRow[Entry](v)
			if err != nil {
				return err
			}
			e.Number = binary.BigEndian.Uint64(k)
			list = append(list, e)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	return list, nil
}

func appendLedger(tx *bolt.Tx, e Entry) error {
	b := bucket(tx, ledgerBucket)
	n, err := b.NextSequence()
	if err != nil {
		return err
	}
	e.At = e.At.UTC()
	return putJSON(b, number(n), e)
}

func number(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }
