package mysqlsync

import (
	"encoding/json"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"

	"postern/directory/internal/boltfile"
	"postern/mail"
)

const stateFormat = 1

// The buckets of the file.
const (
	rowsBucket   = "rows"   // key of the row: seen
	ownersBucket = "owners" // normalised address: key of the row that has it
	asideBucket  = "aside"  // key of the row: aside
	laterBucket  = "later"  // key of a deleted row that a first load met: its address
	speltBucket  = "spelt"  // normalised address: how the directory spells it, where it differs
)

// State is the local file with what was last seen of each row, and how far the passes
// have come. A State is used by one Syncer.
type State struct{ db *bolt.DB }

// Open opens or makes the file at path; its folder must exist, and one process at a time
// has it. A file of a newer format is a Permanent error.
func Open(path string) (*State, error) {
	db, err := boltfile.Open(path, stateFormat, rowsBucket, ownersBucket, asideBucket, laterBucket, speltBucket)
	if err != nil {
		return nil, fmt.Errorf("open the state of the sync: %w", err)
	}
	return &State{db}, nil
}

// Close closes the file.
func (s *State) Close() error { return s.db.Close() }

// standing is what MySQL says of a subscription.
type standing byte

const (
	no standing = iota
	yes
	unsaid  // neither yes nor no: not subscribed
	unasked // no column is mapped
)

// seen is what was last seen of a row that is a user.
type seen struct {
	Email   mail.Address `json:"e"` // the user's key in the directory
	Stands  standing     `json:"s,omitempty"`
	Consent time.Time    `json:"c,omitzero"` // the latest that was told to the index
	Hash    uint64       `json:"h"`          // of the attributes
	Ahead   time.Time    `json:"a,omitzero"` // a consent whose time was yet to come
	Met     time.Time    `json:"m,omitzero"` // when that was read first: so it was given before
}

// flight is what a chunk that was cut off was about to write for a row: whether it is
// written nobody knows, until the row is written again.
type flight struct {
	Key    string       `json:"k"`
	Email  mail.Address `json:"e,omitempty"`
	Stands standing     `json:"s,omitempty"`
}

// aside is a row that is no user.
type aside struct {
	Email  string    `json:"e"`
	Reason string    `json:"r"`
	Taken  bool      `json:"t,omitempty"` // its address is another row's: it is tried again in each pass
	Since  time.Time `json:"at"`
}

// place is how far the passes have come.
type place struct {
	Origin string    `json:"origin"`          // which table, and which key
	Shape  string    `json:"shape"`           // which columns, when everything was last read
	Loaded bool      `json:"loaded"`          // the first load is done
	Start  *Mark     `json:"start,omitempty"` // of a first load that has begun: where the changes begin that it may miss
	Looked bool      `json:"looked,omitempty"`
	After  string    `json:"after,omitempty"` // key of the last row that it has read
	Stage  *stage    `json:"stage,omitempty"`
	Mark   time.Time `json:"mark,omitzero"`
	Users  int       `json:"users"`
	Last   *Report   `json:"last,omitempty"`
	Good   time.Time `json:"good,omitzero"`
}

// stage is how far a first load by way of a Staging has come.
type stage struct {
	Prefix string `json:"prefix"`
	Staged int    `json:"staged"` // chunks
	All    bool   `json:"all"`    // MySQL is read
	Loaded int    `json:"loaded"` // chunks
}

func (s *State) place() (p place, err error) {
	err = s.db.View(func(tx *bolt.Tx) error {
		v := tx.Bucket([]byte("meta")).Get([]byte("place"))
		if v == nil {
			return nil
		}
		return json.Unmarshal(v, &p)
	})
	if err != nil {
		return p, fmt.Errorf("read the state of the sync: %w", err)
	}
	return p, nil
}

// edit is what one chunk changes in the file.
type edit struct {
	rows  map[string]*seen // nil: the row is no user any more
	aside map[string]*aside
	later map[string]mail.Address // "": it is settled
	spelt map[string]mail.Address
	place *place

	flight []flight // what is about to be written, empty when it is; nil: as it was
}

func newEdit(p *place) *edit {
	return &edit{rows: map[string]*seen{}, aside: map[string]*aside{}, later: map[string]mail.Address{}, spelt: map[string]mail.Address{}, place: p}
}

func (s *State) write(e *edit) error {
	err := s.db.Update(func(tx *bolt.Tx) error {
		if err := e.writeRows(tx); err != nil {
			return err
		}
		if err := e.keepSince(tx.Bucket([]byte(asideBucket))); err != nil {
			return err
		}
		if err := putAll(tx.Bucket([]byte(asideBucket)), e.aside, func(a *aside) bool { return a == nil }); err != nil {
			return err
		}
		nothing := func(a mail.Address) bool { return a == "" }
		if err := putAll(tx.Bucket([]byte(laterBucket)), e.later, nothing); err != nil {
			return err
		}
		if err := putAll(tx.Bucket([]byte(speltBucket)), e.spelt, nothing); err != nil {
			return err
		}
		if e.flight != nil {
			if err := putJSON(tx.Bucket([]byte("meta")), "flight", e.flight); err != nil {
				return err
			}
		}
		if e.place == nil {
			return nil
		}
		return putJSON(tx.Bucket([]byte("meta")), "place", e.place)
	})
	if err != nil {
		return fmt.Errorf("write the state of the sync: %w", err)
	}
	return nil
}

// keepSince leaves a row that is set aside for the same reason as before its time.
func (e *edit) keepSince(b *bolt.Bucket) error {
	for key, a := range e.aside {
		if a == nil {
			continue
		}
		old, err := getJSON[*aside](b, key)
		if err != nil {
			return err
		}
		if old != nil && old.Email == a.Email && old.Reason == a.Reason {
			a.Since = old.Since
		}
	}
	return nil
}

// flown gives what the last chunk was about to write, when it was cut off.
func (s *State) flown() (rows []flight, err error) {
	err = s.db.View(func(tx *bolt.Tx) (err error) {
		rows, err = getJSON[[]flight](tx.Bucket([]byte("meta")), "flight")
		return err
	})
	return rows, err
}

// writeRows gives addresses free before it gives any away: rows may have exchanged them.
func (e *edit) writeRows(tx *bolt.Tx) error {
	rows, owners := tx.Bucket([]byte(rowsBucket)), tx.Bucket([]byte(ownersBucket))
	for key := range e.rows {
		old, err := getJSON[*seen](rows, key)
		if err != nil || old == nil {
			if err != nil {
				return err
			}
			continue
		}
		e.place.Users--
		if address := []byte(old.Email.Key()); string(owners.Get(address)) == key {
			if err := owners.Delete(address); err != nil {
				return err
			}
		}
	}
	for key, row := range e.rows {
		if row == nil {
			continue
		}
		e.place.Users++
		if err := owners.Put([]byte(row.Email.Key()), []byte(key)); err != nil {
			return err
		}
	}
	return putAll(rows, e.rows, func(r *seen) bool { return r == nil })
}

func putAll[T any](b *bolt.Bucket, rows map[string]T, gone func(T) bool) error {
	for key, row := range rows {
		var err error
		if gone(row) {
			err = b.Delete([]byte(key))
		} else {
			err = putJSON(b, key, row)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func putJSON(b *bolt.Bucket, key string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return b.Put([]byte(key), text)
}

// getJSON gives the zero value for what is not there.
func getJSON[T any](b *bolt.Bucket, key string) (row T, err error) {
	if v := b.Get([]byte(key)); v != nil {
		if err := json.Unmarshal(v, &row); err != nil {
			return row, fmt.Errorf("the row %q is damaged: %w", key, err)
		}
	}
	return row, nil
}

// known gives what was seen of these rows.
func (s *State) known(keys []string) (map[string]*seen, error) {
	return getMany[*seen](s, rowsBucket, keys)
}

// owners gives the rows that have these addresses, by the normalised ones.
func (s *State) owners(addresses []string) (map[string]string, error) {
	found := map[string]string{}
	err := s.db.View(func(tx *bolt.Tx) error {
		for _, a := range addresses {
			if v := tx.Bucket([]byte(ownersBucket)).Get([]byte(a)); v != nil {
				found[a] = string(v)
			}
		}
		return nil
	})
	return found, err
}

func getMany[T any](s *State, bucket string, keys []string) (map[string]T, error) {
	found := map[string]T{}
	err := s.db.View(func(tx *bolt.Tx) error {
		b := tx.Bucket([]byte(bucket))
		for _, key := range keys {
			if b.Get([]byte(key)) == nil {
				continue
			}
			row, err := getJSON[T](b, key)
			if err != nil {
				return err
			}
			found[key] = row
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the state of the sync: %w", err)
	}
	return found, nil
}

// walk reads a page of a bucket behind the key.
func walk[T any](s *State, bucket, after string, limit int) (keys []string, rows []T, err error) {
	err = s.db.View(func(tx *bolt.Tx) error {
		c := tx.Bucket([]byte(bucket)).Cursor()
		k, v := c.Seek([]byte(after))
		if k != nil && string(k) == after {
			k, v = c.Next()
		}
		for ; k != nil && len(keys) < limit; k, v = c.Next() {
			var row T
			if err := json.Unmarshal(v, &row); err != nil {
				return fmt.Errorf("the row %q is damaged: %w", k, err)
			}
			keys, rows = append(keys, string(k)), append(rows, row)
		}
		return nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("read the state of the sync: %w", err)
	}
	return keys, rows, nil
}

// count says how many rows a bucket has.
func (s *State) count(bucket string) (n int, err error) {
	err = s.db.View(func(tx *bolt.Tx) error {
		n = tx.Bucket([]byte(bucket)).Stats().KeyN
		return nil
	})
	return n, err
}
