package directory

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"

	"postern/directory/internal/boltfile"
	"postern/mail"
)

// indexFormat is the form of the file. Format 2 chains the ledger by hashes and finds
// an address's entries.
const indexFormat = 2

// The buckets of the index file. Those of opt-outs, suppressions, soft bounces and
// liftings are keyed by mail.Address.Key.
const (
	leftBucket       = "left"       // who left which lists
	suppressedBucket = "suppressed" // who gets nothing
	pendingBucket    = "pending"    // what the Store has not been told yet
	ledgerBucket     = "ledger"     // everything that happened, by number
	fieldsBucket     = "fields"     // attribute names and their types
	softBucket       = "soft"       // on which days mail did not reach an address, sorted
	liftedBucket     = "allowed"    // when a suppression was lifted
	movedBucket      = "moved"      // what an address has become
	metaBucket       = "meta"       // the format, and the ledger's head
	hashesBucket     = "hashes"     // the ledger's chain, by number
	historyBucket    = "history"    // an address's entries: its key, 0, the number
	wordingsBucket   = "wordings"   // what people were shown, by hash
	answersBucket    = "answers"    // the numbers of entries that are owed a notice
	importsBucket    = "imports"    // how far imports that broke off have come, by name
)

// Index is the local memory of who must not get mail: opt-outs and suppressions.
// It is asked before every send and needs no network. It is one bbolt file; all
// methods may be called from many goroutines at once.
type Index struct {
	db      *bolt.DB
	changed chan struct{} // a pending entry was written; for Run
	commits commits

	replaying sync.Mutex // one Replay at a time

	mu     sync.RWMutex
	fields map[string]string
	lists  []string // all that are configured
	resume []byte   // the pending key at which the last Replay gave up
}

// Evidence is what an opt-out, a consent or a suppression rests on.
type Evidence struct {
	At      time.Time `json:"-"`                 // of an opt-out or a consent
	How     string    `json:"how,omitempty"`     // "one-click", "page", "mailto", "complaint", "command", "Amazon SES by SQS", …
	Remote  string    `json:"remote,omitempty"`  // address of the client, "" when there is none
	Message mail.ID   `json:"message,omitempty"` // the message whose link was used, or that bounced; "" when there is none
	Wording string    `json:"-"`                 // what the person was shown, up to 2000 octets; of an opt-out or a consent
	Note    string    `json:"-"`                 // an operator's words, such as the evidence for a restore
	Answer  bool      `json:"-"`                 // the person is owed a notice of the result ([Index.Unanswered])

	// Of a suppression:
	Copy       string       `json:"copy,omitempty"`        // the copy's tag
	UpstreamID string       `json:"upstream_id,omitempty"` // what upstream calls the copy
	EventID    string       `json:"event_id,omitempty"`    // what upstream calls the event
	Status     string       `json:"status,omitempty"`      // "5.1.1" (RFC 3463)
	Words      string       `json:"words,omitempty"`       // what the other server said
	UserKey    mail.Address `json:"user,omitempty"`        // the address's user, as the directory writes it; "" when it is not known
}

// Block says why an address must not get a copy.
type Block struct {
	Kind   string // "suppressed" or "unsubscribed"
	Reason string // for people
}

// left is one address's row in leftBucket: list id to the time of leaving.
type left map[string]time.Time

// OpenIndex opens or makes the index in the file at path. Another process that
// holds the file is waited for 1.5 seconds and then named in the error. A file
// of a newer format is a Permanent error. One of format 1 is brought up to date,
// which takes some seconds for a million entries, once.
func OpenIndex(path string) (*Index, error) {
	db, err := boltfile.Open(path, indexFormat, leftBucket, suppressedBucket, pendingBucket, ledgerBucket, fieldsBucket, softBucket, liftedBucket,
		movedBucket, hashesBucket, historyBucket, wordingsBucket, answersBucket, importsBucket)
	if err != nil {
		return nil, fmt.Errorf("open the opt-out index: %w", err)
	}
	if err := migrate(db); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	x := &Index{db: db, changed: make(chan struct{}, 1), fields: map[string]string{}}
	err = db.View(func(tx *bolt.Tx) error {
		return bucket(tx, fieldsBucket).ForEach(func(k, v []byte) error {
			x.fields[string(k)] = string(v)
			return nil
		})
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read the opt-out index: %w", err), db.Close())
	}
	return x, nil
}

// Close closes the file. It comes after the last send: what asks a closed index
// is told that everybody is blocked.
func (x *Index) Close() error { return x.db.Close() }

func bucket(tx *bolt.Tx, name string) *bolt.Bucket { return tx.Bucket([]byte(name)) }

// wake tells Run that an entry is pending.
func (x *Index) wake() {
	select {
	case x.changed <- struct{}{}:
	default:
	}
}

// Blocked says whether a copy to addr must not be sent. A suppression counts for
// every mail; an opt-out only when list, the id of the copy's list, is not "".
// It reads the file's mapped pages in one short transaction, a microsecond or
// two, and needs no network. What cannot be read blocks: no mail is better than
// mail to somebody who left.
func (x *Index) Blocked(addr mail.Address, list string) (Block, bool) {
	key := []byte(addr.Key())
	var block Block
	err := x.db.View(func(tx *bolt.Tx) error {
		if v := bucket(tx, suppressedBucket).Get(key); v != nil {
			s, err := decodeRow[Suppression](v)
			block = Block{"suppressed", s.Reason}
			return err
		}
		if list == "" {
			return nil
		}
		lists, err := getJSON[left](bucket(tx, leftBucket), key)
		if at, gone := lists[AllLists]; gone {
			block = Block{"unsubscribed", "left all lists on " + at.Format(time.DateOnly)}
		} else if at, gone := lists[list]; gone {
			block = Block{"unsubscribed", "left the list on " + at.Format(time.DateOnly)}
		}
		return err
	})
	if err != nil {
		return Block{"unsubscribed", "the opt-out index cannot be read: " + err.Error()}, true
	}
	return block, block.Kind != ""
}

// Left gives the ids of the lists that addr has left, sorted; [AllLists] among
// them when it has left all.
func (x *Index) Left(addr mail.Address) ([]string, error) {
	var lists left
	err := x.db.View(func(tx *bolt.Tx) (err error) {
		lists, err = getJSON[left](bucket(tx, leftBucket), []byte(addr.Key()))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read what %q has left: %w", addr, err)
	}
	return slices.Sorted(maps.Keys(lists)), nil
}

// LeftOf is [Index.Left] of many addresses at once; those that have left nothing are not
// in it.
func (x *Index) LeftOf(addresses []mail.Address) (map[mail.Address][]string, error) {
	found := map[mail.Address][]string{}
	err := x.db.View(func(tx *bolt.Tx) error {
		b := bucket(tx, leftBucket)
		if k, _ := b.Cursor().First(); k == nil {
			return nil
		}
		for _, a := range addresses {
			lists, err := getJSON[left](b, []byte(a.Key()))
			if err != nil {
				return fmt.Errorf("read what %q has left: %w", a, err)
			}
			if len(lists) > 0 {
				found[a] = slices.Sorted(maps.Keys(lists))
			}
		}
		return nil
	})
	return found, err
}

// Learn remembers attribute names and their types ("string", "number", "bool"),
// so that the placeholders of a mail can be judged without asking the Store. A
// name that comes with two types is a string. What is known costs nothing.
func (x *Index) Learn(fields map[string]string) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	known := maps.Clone(x.fields)
	var news []string
	for name, typ := range fields {
		if name != "" && len(name) <= maxName && addField(known, name, typ) {
			news = append(news, name)
		}
	}
	if len(news) == 0 {
		return nil
	}
	err := x.db.Update(func(tx *bolt.Tx) error {
		for _, name := range news {
			if err := bucket(tx, fieldsBucket).Put([]byte(name), []byte(known[name])); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("remember the fields of users: %w", err)
	}
	x.fields = known
	return nil
}

// Fields gives what Learn has been told, as a copy.
func (x *Index) Fields() map[string]string {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return maps.Clone(x.fields)
}

// rowVersion is the first byte of every row; the rest is JSON.
const rowVersion = 1

func decodeRow[T any](v []byte) (out T, err error) {
	if len(v) == 0 || v[0] != rowVersion {
		return out, errors.New("a row of the opt-out index has a form that this postern does not know")
	}
	if err := json.Unmarshal(v[1:], &out); err != nil {
		return out, fmt.Errorf("a row of the opt-out index is damaged: %w", err)
	}
	return out, nil
}

// getJSON gives the zero value for a key that is not there.
func getJSON[T any](b *bolt.Bucket, key []byte) (out T, err error) {
	v := b.Get(key)
	if v == nil {
		return out, nil
	}
	return decodeRow[T](v)
}

func putJSON(b *bolt.Bucket, key []byte, row any) error {
	v, err := encodeRow(row)
	if err != nil {
		return err
	}
	return b.Put(key, v)
}

func encodeRow(row any) ([]byte, error) {
	v, err := json.Marshal(row)
	return append([]byte{rowVersion}, v...), err
}
