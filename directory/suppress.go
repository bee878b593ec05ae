package directory

import (
	"bytes"
	"context"
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
	Kind    string       `json:"kind"` // "opt-out", "rejoin", "suppress", "unsuppress"
	Address mail.Address `json:"address"`
	List    string       `json:"list,omitempty"`
	How     string       `json:"how,omitempty"`
	Remote  string       `json:"remote,omitempty"`
	Message mail.ID      `json:"message,omitempty"`
	Reason  string       `json:"reason,omitempty"`
}

// Suppress makes sure that addr gets no mail at all, durably, when it returns.
// An address that is suppressed already keeps its first reason.
func (x *Index) Suppress(ctx context.Context, addr mail.Address, reason string, at time.Time) error {
	return x.suppression(ctx, Entry{At: at, Kind: "suppress", Address: addr, Reason: reason}, func(b *bolt.Bucket, key []byte) (bool, error) {
		if b.Get(key) != nil {
			return false, nil
		}
		return true, putJSON(b, key, Suppression{addr, reason, at.UTC()})
	})
}

// Unsuppress lets addr get mail again, durably, when it returns; reason says
// who decided so. What it left stays left.
func (x *Index) Unsuppress(ctx context.Context, addr mail.Address, reason string, at time.Time) error {
	return x.suppression(ctx, Entry{At: at, Kind: "unsuppress", Address: addr, Reason: reason}, func(b *bolt.Bucket, key []byte) (bool, error) {
		return b.Get(key) != nil, b.Delete(key)
	})
}

func (x *Index) suppression(ctx context.Context, e Entry, change func(*bolt.Bucket, []byte) (bool, error)) error {
	if e.Address == "" {
		return fmt.Errorf("%s: the null sender cannot be suppressed", e.Kind)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	err := x.db.Batch(func(tx *bolt.Tx) error {
		changed, err := change(bucket(tx, suppressedBucket), []byte(e.Address.Key()))
		if err != nil || !changed {
			return err
		}
		return appendLedger(tx, e)
	})
	if err != nil {
		return fmt.Errorf("%s %q: %w", e.Kind, e.Address, err)
	}
	return nil
}

// Suppressions gives up to limit of them in the order of their address keys,
// those after the key of after; "" is the beginning.
func (x *Index) Suppressions(after mail.Address, limit int) ([]Suppression, error) {
	var list []Suppression
	err := x.db.View(func(tx *bolt.Tx) error {
		c := bucket(tx, suppressedBucket).Cursor()
		from := []byte(after.Key())
		k, v := c.Seek(from)
		if len(from) > 0 && bytes.Equal(k, from) {
			k, v = c.Next()
		}
		for ; k != nil && len(list) < limit; k, v = c.Next() {
			s, err := decodeRow[Suppression](v)
			if err != nil {
				return err
			}
			list = append(list, s)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the suppressions: %w", err)
	}
	return list, nil
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
