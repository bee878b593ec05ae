package directory

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"

	"postern/mail"
)

// Answer is a word of a person who is owed a notice of its result.
type Answer struct {
	Number uint64       // of the ledger's entry
	User   mail.Address // as the directory writes it
	List   string       // [AllLists] for all
	Kind   string       // of the entry: "opt-out", "consent", "restore"
	At     time.Time
	How    string
}

// Unanswered gives up to limit words that are owed an answer ([Evidence.Answer]), in
// the order in which they came. Each stays until [Index.Answered].
func (x *Index) Unanswered(limit int) (list []Answer, err error) {
	err = x.db.View(func(tx *bolt.Tx) error {
		c := bucket(tx, answersBucket).Cursor()
		for k, _ := c.First(); k != nil && len(list) < limit; k, _ = c.Next() {
			v := bucket(tx, ledgerBucket).Get(k)
			if v == nil {
				continue // VerifyLedger names it
			}
			e, err := decodeEntry(tx, k, v)
			if err != nil {
				return err
			}
			list = append(list, Answer{e.Number, e.Address, e.List, e.Kind, e.At, e.How})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read which words are owed an answer: %w", err)
	}
	return list, nil
}

// Answered records, in one commit, that a notice about these words was accepted for
// sending: ev.At is when, ev.Message the notice's id, ev.Wording what it says. A
// word that was answered already is passed over.
func (x *Index) Answered(ctx context.Context, rows []Answer, ev Evidence) error {
	if len(rows) == 0 {
		return nil
	}
	err := x.commit(ctx, func(tx *bolt.Tx) error {
		b := bucket(tx, answersBucket)
		for _, row := range rows {
			key := number(row.Number)
			if k, _ := b.Cursor().Seek(key); k == nil || binary.BigEndian.Uint64(k) != row.Number {
				continue
			}
			if err := b.Delete(key); err != nil {
				return err
			}
			e := ev.entry(entryAnswered, row.User, row.List)
			e.Of = row.Number
			if _, err := appendLedger(tx, e); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("record that %d words were answered: %w", len(rows), err)
	}
	return nil
}

// AskConfirmation records that a confirmation mail is sent now. ok is false when the
// address was sent one, for whatever list, within the last 24 hours: then send
// none, so that nobody's mailbox can be filled by pressing a button.
func (x *Index) AskConfirmation(ctx context.Context, userKey mail.Address, list string, ev Evidence) (ok bool, err error) {
	if userKey == "" || list == "" {
		return false, mail.Refuse(0, "", "a confirmation needs an address and a list")
	}
	err = x.commit(ctx, func(tx *bolt.Tx) error {
		last, found, err := latest(tx, userKey.Key(), func(e Entry) bool { return e.Kind == entryAsked })
		ok = err == nil && (!found || ev.At.Sub(last.At) >= oneDay)
		if !ok {
			return err
		}
		_, err = appendLedger(tx, ev.entry(entryAsked, userKey, list))
		return err
	})
	if err != nil {
		return false, fmt.Errorf("record that %q was asked for a confirmation: %w", userKey, err)
	}
	return ok, nil
}

// Reminded records that the reminder of a consent was accepted for sending.
func (x *Index) Reminded(ctx context.Context, userKey mail.Address, list string, ev Evidence) error {
	if userKey == "" || list == "" {
		return mail.Refuse(0, "", "a reminder needs an address and a list")
	}
	err := x.commit(ctx, func(tx *bolt.Tx) error {
		_, err := appendLedger(tx, ev.entry(entryReminded, userKey, list))
		return err
	})
	if err != nil {
		return fmt.Errorf("record that %q was reminded: %w", userKey, err)
	}
	return nil
}
