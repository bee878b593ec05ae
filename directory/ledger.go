package directory

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"

	"postern/mail"
)

// What happened, as the ledger names it.
const (
	entryOptOut     = "opt-out"
	entryConsent    = "consent"    // came back, or agreed (anew)
	entryRejoin     = "rejoin"     // a consent, in files of format 1
	entryRestore    = "restore"    // an operator undid an opt-out that was none
	entryMoved      = "moved"      // the person's address changed
	entryAsked      = "asked"      // a confirmation mail was sent
	entryAnswered   = "answered"   // the notice of a result was taken for sending
	entryReminded   = "reminded"   // the reminder of a consent was taken for sending
	entrySuppress   = "suppress"   // gets no mail at all
	entryUnsuppress = "unsuppress" // may get mail again
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
	Note    string       `json:"note,omitempty"` // an operator's words
	From    mail.Address `json:"from,omitempty"` // of "moved": what this address was before
	To      mail.Address `json:"to,omitempty"`   // of "moved": what has become of it
	Of      uint64       `json:"of,omitempty"`   // of "answered": the number of the entry that was answered
	Wording string       `json:"-"`              // what the person was shown; the file has each wording once

	// Of "suppress" and "unsuppress":
	Why      Kind     `json:"why,omitempty"` // the kind of the suppression
	Evidence Evidence `json:"evidence,omitzero"`
}

// ledgerRow is an entry as it is stored.
type ledgerRow struct {
	Entry
	Shown string `json:"wording,omitempty"` // the key in wordingsBucket
}

// maxWording bounds what is kept of what a person was shown, in octets.
const maxWording = 2000

// entry is what the ledger says of a person's word.
func (e Evidence) entry(kind string, user mail.Address, list string) Entry {
	e.Wording = strings.ToValidUTF8(e.Wording, "\ufffd")
	if len(e.Wording) > maxWording {
		e.Wording = strings.ToValidUTF8(e.Wording[:maxWording], "")
	}
	return Entry{At: e.At, Kind: kind, Address: user, List: list, How: bounded(e.How, maxEvidence), Remote: bounded(e.Remote, maxEvidence),
		Message: mail.ID(bounded(string(e.Message), maxEvidence)), Note: bounded(e.Note, maxReason), Wording: e.Wording}
}

// Ledger gives up to limit entries, those after the number after; 0 is the
// beginning. The ledger only grows: nothing in it is changed or removed.
func (x *Index) Ledger(after uint64, limit int) ([]Entry, error) {
	var list []Entry
	err := x.db.View(func(tx *bolt.Tx) error {
		c := bucket(tx, ledgerBucket).Cursor()
		for k, v := c.Seek(number(after + 1)); k != nil && len(list) < limit; k, v = c.Next() {
			e, err := decodeEntry(tx, k, v)
			if err != nil {
				return err
			}
			list = append(list, e)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	return list, nil
}

func decodeEntry(tx *bolt.Tx, k, v []byte) (Entry, error) {
	row, err := decodeRow[ledgerRow](v)
	if err != nil {
		return Entry{}, err
	}
	if len(k) != 8 {
		return Entry{}, fmt.Errorf("the ledger has a row that is no entry, at %x", k)
	}
	row.Number = binary.BigEndian.Uint64(k)
	if row.Shown != "" {
		row.Wording = string(bucket(tx, wordingsBucket).Get([]byte(row.Shown)))
	}
	return row.Entry, nil
}

// appendLedger writes an entry, its hash, and the address's way to it.
func appendLedger(tx *bolt.Tx, e Entry) (Entry, error) {
	row := ledgerRow{Entry: e}
	row.At = e.At.UTC()
	if e.Wording != "" {
		row.Shown = wordingKey(e.Wording)
		if b := bucket(tx, wordingsBucket); b.Get([]byte(row.Shown)) == nil {
			if err := b.Put([]byte(row.Shown), []byte(e.Wording)); err != nil {
				return e, err
			}
		}
	}
	v, err := encodeRow(row)
	if err != nil {
		return e, err
	}
	head := readHead(tx).next(v)
	b := bucket(tx, ledgerBucket)
	b.FillPercent = appended
	if err := b.Put(number(head.number), v); err != nil {
		return e, err
	}
	row.Number = head.number
	return row.Entry, head.write(tx, e.Address)
}

// wordingKey is the hash of a wording, by which the ledger's chain has it too.
func wordingKey(text string) string {
	sum := sha256.Sum256([]byte(text))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func number(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }
