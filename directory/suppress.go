package directory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	bolt "go.etcd.io/bbolt"

	"postern/mail"
)

// Kind is why an address is suppressed, in a word.
type Kind string

// The kinds of suppressions.
const (
	KindBounce      Kind = "bounce"       // a server said that there is nobody at this address
	KindSoftBounces Kind = "soft-bounces" // mail did not reach it on several days
	KindComplaint   Kind = "complaint"    // its owner calls our mail spam
	KindManual      Kind = "manual"       // a person said so
	KindImport      Kind = "import"       // a file said so, and not why
)

// Kinds are all there are.
func Kinds() []Kind {
	return []Kind{KindBounce, KindSoftBounces, KindComplaint, KindManual, KindImport}
}

// SuppressedAttribute is the attribute by which the Store's other readers learn
// that a user gets no mail: "bounced 2026-11-26: 550 5.1.1 no such user". It is
// ours to write; an import passes such a column over.
const SuppressedAttribute = "Suppressed"

// Suppression is an address that gets no mail at all, and why.
type Suppression struct {
	Address  mail.Address `json:"address"` // as it was when it was suppressed
	Kind     Kind         `json:"kind"`
	Reason   string       `json:"reason"` // for people, in a line
	At       time.Time    `json:"at"`     // when that happened
	Evidence Evidence     `json:"evidence,omitzero"`
}

// Attribute is what the directory's user is told, in [SuppressedAttribute].
func (s Suppression) Attribute() string {
	verb := map[Kind]string{KindBounce: "bounced", KindSoftBounces: "bounced on several days", KindComplaint: "complained",
		KindManual: "suppressed by hand", KindImport: "suppressed by an import"}[s.Kind]
	text := verb + " " + s.At.UTC().Format(time.DateOnly)
	if s.Reason == "" {
		return text
	}
	return text + ": " + s.Reason
}

// The bounds of what is kept about a suppression, in octets: what servers and
// files say is as long as they like.
const (
	maxReason   = 500 // of the reason and of a server's words
	maxEvidence = 200 // of any other text
	maxUsers    = 10  // of one address, by different spellings
)

// bounded makes a single printable line of at most n octets of s.
func bounded(s string, n int) string {
	s = strings.TrimSpace(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd")))
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n-len("…")], "") + "…"
}

func (e Evidence) bounded() Evidence {
	e.At = time.Time{} // the suppression has it
	for _, text := range []*string{&e.How, &e.Remote, &e.Copy, &e.UpstreamID, &e.EventID, &e.Status} {
		*text = bounded(*text, maxEvidence)
	}
	e.Message = mail.ID(bounded(string(e.Message), maxEvidence))
	e.Words = bounded(e.Words, maxReason)
	e.Wording, e.Note, e.Answer = "", "", false // of other words
	if !ValidKey(e.UserKey) {
		e.UserKey = ""
	}
	return e
}

// check also makes what is kept of s: bounded, in UTC.
func (s Suppression) check() (Suppression, error) {
	if s.Address == "" {
		return s, mail.Refuse(0, "", "the null sender cannot be suppressed")
	}
	if _, err := mail.ParseAddress(string(s.Address)); err != nil {
		return s, mail.Refuse(0, "", "%v", err) // nothing could be sent there, and nobody could name it to lift it
	}
	if !slices.Contains(Kinds(), s.Kind) {
		return s, mail.Refuse(0, "", "%q is no kind of suppression", clip(string(s.Kind)))
	}
	if s.At.IsZero() {
		return s, mail.Refuse(0, "", "a suppression has a time")
	}
	s.Reason, s.At, s.Evidence = bounded(s.Reason, maxReason), s.At.UTC(), s.Evidence.bounded()
	return s, nil
}

// suppressed is a row of suppressedBucket.
type suppressed struct {
	Suppression
	Users    []mail.Address `json:"users,omitempty"`     // keys whose attribute says so
	OffLists bool           `json:"off_lists,omitempty"` // a complaint has taken the person off all lists
}

// readSuppressed reads a row; the Address is "" for one that is not there. Earlier
// versions wrote no kind: they knew no events, so a person had said so.
func readSuppressed(tx *bolt.Tx, key []byte) (suppressed, error) {
	row, err := getJSON[suppressed](bucket(tx, suppressedBucket), key)
	if row.Address != "" && row.Kind == "" {
		row.Kind = KindManual
	}
	return row, err
}

// verdict is what became of a word that an address shall get no mail.
type verdict int

const (
	kept     verdict = iota // it is suppressed already
	added                   // it is from now on, or is now for a complaint
	outdated                // that happened before somebody lifted the suppression
)

// Suppress makes sure that an address gets no mail at all, durably, when it
// returns; changed says whether that is new. What suppressed it first is kept,
// but for a complaint, which is graver than all else and takes its place with
// the earlier reason in its own; the ledger has both. What happened before the
// suppression was lifted ([Index.Unsuppress]) changes nothing, unless a person
// says it now ([KindManual]). Calls at the same time share a commit.
//
// Where Evidence has the key of the address's user, Replay tells the Store.
func (x *Index) Suppress(ctx context.Context, s Suppression) (changed bool, err error) {
	s, err = s.check()
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return false, err
	}
	err = x.commit(ctx, func(tx *bolt.Tx) error {
		if s.Kind == KindManual { // the latest word, whatever the clock says
			if err := bucket(tx, liftedBucket).Delete([]byte(s.Address.Key())); err != nil {
				return err
			}
		}
		v, err := suppress(tx, s)
		changed = v == added
		return err
	})
	if err != nil {
		return false, fmt.Errorf("suppress %q: %w", s.Address, err)
	}
	x.wake()
	return changed, nil
}

// suppress is one checked suppression within a transaction.
func suppress(tx *bolt.Tx, s Suppression) (verdict, error) {
	key := []byte(s.Address.Key())
	if old, err := wasLifted(tx, key, s.At); err != nil || old {
		return outdated, err
	}
	row, err := readSuppressed(tx, key)
	if err != nil {
		return kept, err
	}
	newUser := row.know(s.Evidence.UserKey, key)
	v := kept
	switch {
	case row.Address == "":
		row.Suppression, v = s, added
	case s.Kind == KindComplaint && row.Kind != KindComplaint:
		row.Suppression, v = s.after(row.Suppression), added
	case !newUser:
		return kept, nil
	}
	if err := putJSON(bucket(tx, suppressedBucket), key, row); err != nil {
		return v, err
	}
	if v == kept {
		return v, addPending(tx, s.Evidence.UserKey, suppressionWord, pending{Leave: true})
	}
	if _, err := appendLedger(tx, Entry{At: s.At, Kind: entrySuppress, Address: s.Address, Reason: s.Reason, Why: s.Kind, Evidence: s.Evidence}); err != nil {
		return v, err
	}
	return v, row.tell(tx, true)
}

// know remembers a user of the address; another address's user is none.
func (r *suppressed) know(user mail.Address, key []byte) (isNew bool) {
	if user == "" || user.Key() != string(key) || len(r.Users) >= maxUsers || slices.Contains(r.Users, user) {
		return false
	}
	r.Users = append(r.Users, user)
	return true
}

// tell lets Replay write or remove the users' attribute.
func (r *suppressed) tell(tx *bolt.Tx, is bool) error {
	for _, user := range r.Users {
		if err := addPending(tx, user, suppressionWord, pending{Leave: is}); err != nil {
			return err
		}
	}
	return nil
}

// after puts what was known before into a graver suppression's reason.
func (s Suppression) after(old Suppression) Suppression {
	s.Reason = bounded(s.Reason+" (before that, since "+old.At.Format(time.DateOnly)+": "+old.Reason+")", maxReason)
	return s
}

// Complained records that the owner of addr calls a mail spam: one commit has the
// suppression and that the person has left all lists, as by [Index.OptOut], with
// "complaint" in the ledger. What the address has become since ([Index.Moved]) is
// meant too. userKey is the person's key as the directory writes it; without it
// that is addr. The same complaint again changes nothing, also
// when the person has joined a list again meanwhile.
func (x *Index) Complained(ctx context.Context, addr, userKey mail.Address, s Suppression) (changed bool, err error) {
	if userKey == "" {
		userKey = addr
	}
	s.Address, s.Kind, s.Evidence.UserKey = addr, KindComplaint, userKey
	s, err = s.check()
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return false, err
	}
	err = x.commit(ctx, func(tx *bolt.Tx) error {
		changed, err = complained(tx, s, userKey)
		if err != nil {
			return err
		}
		users, err := becomes(tx, addr)
		for _, user := range users[1:] {
			s := s
			s.Address, s.Evidence.UserKey = user, user
			also, err := complained(tx, s, user)
			if changed = changed || also; err != nil {
				return err
			}
		}
		return err
	})
	if err != nil {
		return false, fmt.Errorf("record the complaint of %q: %w", addr, err)
	}
	x.wake()
	return changed, nil
}

func complained(tx *bolt.Tx, s Suppression, userKey mail.Address) (changed bool, err error) {
	v, err := suppress(tx, s)
	if err != nil || v == outdated {
		return false, err
	}
	key := []byte(s.Address.Key())
	row, err := readSuppressed(tx, key)
	if err != nil || row.OffLists {
		return v == added, err
	}
	row.OffLists = true
	if err := putJSON(bucket(tx, suppressedBucket), key, row); err != nil {
		return false, err
	}
	ev := s.Evidence
	ev.At, ev.How = s.At, "complaint"
	_, err = leaveList(tx, userKey, AllLists, ev)
	return true, err
}

// Why an address cannot be let back.
var (
	ErrNotSuppressed = errors.New("this address is not suppressed")
	ErrComplaint     = errors.New("the owner of this address called a mail spam")
)

// Lift is a person's word that an address shall get mail again.
type Lift struct {
	By        string // who, and why, for the ledger
	At        time.Time
	Complaint bool // also what a complaint has suppressed; else that is ErrComplaint
}

// Unsuppress lets addr get mail again, durably, when it returns, and gives what
// was lifted; [ErrNotSuppressed] when nothing was. Events from before that moment
// do not suppress the address again, and its soft bounces are forgotten. What
// the person left stays left.
func (x *Index) Unsuppress(ctx context.Context, addr mail.Address, l Lift) (was Suppression, err error) {
	if err := ctx.Err(); err != nil {
		return was, err
	}
	key := []byte(addr.Key())
	var refused error
	err = x.commit(ctx, func(tx *bolt.Tx) error {
		row, err := readSuppressed(tx, key)
		was, refused = row.Suppression, nil
		switch {
		case err != nil:
			return err
		case row.Address == "":
			refused = ErrNotSuppressed // not an error for the transaction, which others share
		case row.Kind == KindComplaint && !l.Complaint:
			refused = ErrComplaint
		}
		if refused != nil {
			return nil
		}
		return lift(tx, key, row, l)
	})
	if err != nil {
		return was, fmt.Errorf("lift the suppression of %q: %w", addr, err)
	}
	x.wake()
	return was, refused
}

func lift(tx *bolt.Tx, key []byte, row suppressed, l Lift) error {
	_, err := appendLedger(tx, Entry{At: l.At, Kind: entryUnsuppress, Address: row.Address, Reason: bounded(l.By, maxReason), Why: row.Kind})
	return errors.Join(err,
		bucket(tx, suppressedBucket).Delete(key),
		bucket(tx, softBucket).Delete(key),
		putJSON(bucket(tx, liftedBucket), key, l.At.UTC()),
		row.tell(tx, false))
}

// wasLifted says whether what happened at that moment was before a person let
// the address back.
func wasLifted(tx *bolt.Tx, key []byte, at time.Time) (bool, error) {
	lifted, err := getJSON[time.Time](bucket(tx, liftedBucket), key)
	return err == nil && !lifted.IsZero() && !at.After(lifted), err
}

// Suppression gives why addr gets no mail; found is false when it gets mail.
func (x *Index) Suppression(addr mail.Address) (s Suppression, found bool, err error) {
	err = x.db.View(func(tx *bolt.Tx) error {
		row, err := readSuppressed(tx, []byte(addr.Key()))
		s = row.Suppression
		return err
	})
	if err != nil {
		return s, false, fmt.Errorf("read the suppression of %q: %w", addr, err)
	}
	return s, s.Address != "", nil
}

// Suppressions gives up to limit of them in the order of their address keys,
// those after the key of after; "" is the beginning.
func (x *Index) Suppressions(after mail.Address, limit int) ([]Suppression, error) {
	return x.suppressionsFrom([]byte(after.Key()), nil, limit)
}

// SuppressionsLike is Suppressions for those whose address key begins with prefix,
// in any case of its letters.
func (x *Index) SuppressionsLike(prefix string, after mail.Address, limit int) ([]Suppression, error) {
	return x.suppressionsFrom([]byte(after.Key()), []byte(strings.ToLower(prefix)), limit)
}

func (x *Index) suppressionsFrom(after, prefix []byte, limit int) ([]Suppression, error) {
	var list []Suppression
	err := x.db.View(func(tx *bolt.Tx) error {
		c := bucket(tx, suppressedBucket).Cursor()
		k, v := c.Seek(slices.MaxFunc([][]byte{after, prefix}, bytes.Compare))
		if len(after) > 0 && bytes.Equal(k, after) {
			k, v = c.Next()
		}
		for ; k != nil && len(list) < limit && bytes.HasPrefix(k, prefix); k, v = c.Next() {
			s, err := decodeRow[Suppression](v)
			if err != nil {
				return err
			}
			if s.Kind == "" {
				s.Kind = KindManual // see readSuppressed
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
