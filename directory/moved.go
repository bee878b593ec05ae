package directory

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"postern/mail"
)

// became is what an address has become: a row of movedBucket. One that says how the
// address itself is written now ends the way.
type became struct {
	To mail.Address `json:"to"`
	At time.Time    `json:"at"`
}

// Moved says that a person's address has changed. The new one has left what the old
// one has left, and is suppressed by the old one's complaint, or by a person's
// word; bounces are the old mailbox's alone. The history of the new one has the
// old one's. The old address keeps all that it had, and what comes from its mails
// later counts for the new one too. Saying it twice does no harm.
func (x *Index) Moved(ctx context.Context, from, to mail.Address, ev Evidence) error {
	if from == "" || to == "" {
		return mail.Refuse(0, "", "a changed address needs the old and the new one")
	}
	if from == to {
		return nil
	}
	err := x.commit(ctx, func(tx *bolt.Tx) error { return moved(tx, from, to, ev) })
	if err != nil {
		return fmt.Errorf("record that %q has become %q: %w", from, to, err)
	}
	x.wake()
	return nil
}

func moved(tx *bolt.Tx, from, to mail.Address, ev Evidence) error {
	b := bucket(tx, movedBucket)
	was, err := getJSON[became](b, []byte(from.Key()))
	if err != nil || was.To == to {
		return err
	}
	if was.To.Key() == to.Key() {
		from = was.To // that is known, and how it is written is new
	}
	if err := leadsTo(b, from, to, ev.At); err != nil {
		return err
	}
	if err := carryLists(tx, from, to, ev); err != nil {
		return err
	}
	if from.Key() == to.Key() {
		return retell(tx, to)
	}
	if err := carrySuppression(tx, from, to); err != nil {
		return err
	}
	left := ev.entry(entryMoved, from, "")
	left.To = to
	came := ev.entry(entryMoved, to, "")
	came.From = from
	_, err = appendLedger(tx, left)
	if err == nil {
		_, err = appendLedger(tx, came)
	}
	return err
}

// leadsTo makes the way from the old address to the new one, whose own row ends it: no
// circle can come about. An address that is only written anew stays on its way.
func leadsTo(b *bolt.Bucket, from, to mail.Address, at time.Time) error {
	now := became{to, at.UTC()}
	if from.Key() == to.Key() {
		row, err := getJSON[became](b, []byte(to.Key()))
		if err != nil || row.To != "" && row.To.Key() != to.Key() {
			return err
		}
	} else if err := putJSON(b, []byte(from.Key()), now); err != nil {
		return err
	}
	return putJSON(b, []byte(to.Key()), now)
}

// carryLists lets the new address have left what the old one has left; of both the
// later moment.
func carryLists(tx *bolt.Tx, from, to mail.Address, ev Evidence) error {
	old, err := getJSON[left](bucket(tx, leftBucket), []byte(from.Key()))
	if err != nil {
		return err
	}
	p, err := readPerson(tx, to, ev)
	if err != nil {
		return err
	}
	for id, at := range old {
		if has, gone := p.left[id]; !gone || at.After(has) {
			p.left[id], p.dirty = at, true
		}
	}
	for id := range p.left {
		if err := addPending(tx, to, id, pending{Leave: true}); err != nil {
			return err
		}
	}
	return p.write()
}

func carrySuppression(tx *bolt.Tx, from, to mail.Address) error {
	row, err := readSuppressed(tx, []byte(from.Key()))
	if err != nil || row.Kind != KindComplaint && row.Kind != KindManual {
		return err
	}
	s := row.Suppression
	s.Reason = bounded("as "+string(from)+": "+s.Reason, maxReason)
	s.Address, s.Evidence.UserKey = to, to
	if _, err := suppress(tx, s); err != nil || !row.OffLists {
		return err
	}
	// What the complaint took away is carried with the lists.
	key := []byte(to.Key())
	now, err := readSuppressed(tx, key)
	if err != nil || now.Kind != KindComplaint {
		return err
	}
	now.OffLists = true
	return putJSON(bucket(tx, suppressedBucket), key, now)
}

// retell lets Replay write the suppression of a user who is written in another way.
func retell(tx *bolt.Tx, user mail.Address) error {
	key := []byte(user.Key())
	row, err := readSuppressed(tx, key)
	if err != nil || row.Address == "" || !row.know(user, key) {
		return err
	}
	return errors.Join(putJSON(bucket(tx, suppressedBucket), key, row), row.tell(tx, true))
}

// becomes gives the user and what the address has become since, step by step.
func becomes(tx *bolt.Tx, user mail.Address) ([]mail.Address, error) {
	users := []mail.Address{user}
	for {
		next, err := getJSON[became](bucket(tx, movedBucket), []byte(user.Key()))
		if err != nil || next.To == "" || next.To.Key() == user.Key() {
			return users, err
		}
		user = next.To
		users = append(users, user)
	}
}

// spellings gives the keys by which the directory may have the user: as it was said,
// normalised, and as a move has written it last.
func spellings(tx *bolt.Tx, user mail.Address) ([]mail.Address, error) {
	key := user.Key()
	users := []mail.Address{user}
	if mail.Address(key) != user {
		users = append(users, mail.Address(key))
	}
	now, err := getJSON[became](bucket(tx, movedBucket), []byte(key))
	if now.To.Key() == key && !slices.Contains(users, now.To) {
		users = append(users, now.To)
	}
	return users, err
}

// takenAnew forgets what the address has become when it is somebody's again: a consent
// from after the move says so.
func takenAnew(tx *bolt.Tx, user mail.Address, at time.Time) error {
	b := bucket(tx, movedBucket)
	row, err := getJSON[became](b, []byte(user.Key()))
	if err != nil || row.To == "" || row.To.Key() == user.Key() || !at.After(row.At) {
		return err
	}
	return b.Delete([]byte(user.Key()))
}
