package directory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	bolt "go.etcd.io/bbolt"

	"postern/mail"
)

const (
	replayPage     = 100 // entries read and settled in one transaction
	replayFailures = 3   // in a row, after which the Store is taken to be down
	replayWait     = time.Second
	replayMaxWait  = 5 * time.Minute
)

// pending is what the Store has yet to be told about one user and one list: the
// latest word, so that leaving and rejoining in turn cannot arrive in disorder.
// The word about the user's suppression stands at [suppressionWord].
type pending struct {
	Leave bool   `json:"leave"`
	Turn  uint64 `json:"turn"` // tells a newer word from the one being replayed
}

// suppressionWord is in the place of a list id, which is never empty.
const suppressionWord = ""

type pendingEntry struct {
	pending
	row  []byte // its key in the bucket
	user mail.Address
	list string
	why  any // of suppressionWord: the attribute's text as it is now; nil removes it
}

// change is what the Store is asked to do. Leaving all lists also ends the
// subscription, because other programs that read the table know only that.
func (p pendingEntry) change() Change {
	if p.list == suppressionWord {
		return Change{Attributes: map[string]any{SuppressedAttribute: p.why}}
	}
	c := Change{OptIn: []string{p.list}}
	if p.Leave {
		c = Change{OptOut: []string{p.list}}
	}
	if p.list == AllLists {
		subscribed := !p.Leave
		c.Subscribed = &subscribed
	}
	return c
}

func addPending(tx *bolt.Tx, user mail.Address, list string, leave bool) error {
	b := bucket(tx, pendingBucket)
	turn, err := b.NextSequence()
	if err != nil {
		return err
	}
	return putJSON(b, []byte(string(user)+"\x00"+list), pending{leave, turn})
}

// Pending is how many words the Store has yet to be told.
func (x *Index) Pending() (n int, err error) {
	err = x.db.View(func(tx *bolt.Tx) error {
		n = bucket(tx, pendingBucket).Stats().KeyN
		return nil
	})
	return n, err
}

// Replay tells the store what it has not been told yet and returns how many
// entries are settled. A user whom the store does not hold settles the entry
// too: there is nothing to change, and the index knows. An entry that the store
// refuses for good stays pending and is told in the error. After three failures
// in a row the store is taken to be down; the next Replay goes on behind them.
// Replaying twice does no harm.
func (x *Index) Replay(ctx context.Context, store Store) (n int, err error) {
	x.mu.RLock()
	at := x.resume
	x.mu.RUnlock()
	r := replay{index: x, store: store}
	if err := r.from(ctx, at, nil); err != nil {
		return r.settled, err
	}
	// Once around: what stands before the place at which we began.
	if len(at) > 0 {
		if err := r.from(ctx, nil, at); err != nil {
			return r.settled, err
		}
	}
	x.giveUpAt(nil)
	return r.settled, errors.Join(r.refused...)
}

func (x *Index) giveUpAt(row []byte) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.resume = row
}

type replay struct {
	index   *Index
	store   Store
	settled int
	failed  int     // in a row
	refused []error // the first few
}

// from replays the entries after the row start, up to and with the row end; nil
// is the beginning and the end.
func (r *replay) from(ctx context.Context, start, end []byte) error {
	for {
		page, err := r.index.pendingPage(start, end)
		if err != nil || len(page) == 0 {
			return err
		}
		var done []pendingEntry
		for _, p := range page {
			var ok bool
			if ok, err = r.tell(ctx, p); ok {
				done = append(done, p)
			}
			if err != nil {
				break
			}
		}
		settleErr := r.index.settle(done)
		if settleErr == nil {
			r.settled += len(done)
		}
		if err := errors.Join(err, settleErr); err != nil {
			return err
		}
		start = page[len(page)-1].row
	}
}

// tell gives one entry to the store. The error ends the replay.
func (r *replay) tell(ctx context.Context, p pendingEntry) (settled bool, err error) {
	err = r.store.Update(ctx, p.user, p.change())
	if err == nil || errors.Is(err, ErrNotFound) {
		r.failed = 0
		return true, nil
	}
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	err = fmt.Errorf("tell the directory that %s: %w", p.news(), err)
	if mail.ClassOf(err) == mail.Permanent {
		if len(r.refused) < replayFailures {
			r.refused = append(r.refused, err)
		}
		return false, nil
	}
	if r.failed++; r.failed < replayFailures {
		r.refused = append(r.refused, err)
		return false, nil
	}
	r.index.giveUpAt(p.row)
	return false, err
}

func (p pendingEntry) news() string {
	switch {
	case p.list != suppressionWord:
		return fmt.Sprintf("%q changed list %q", p.user, p.list)
	case p.why == nil:
		return fmt.Sprintf("%q gets mail again", p.user)
	}
	return fmt.Sprintf("%q is suppressed", p.user)
}

// pendingPage reads entries after the row start, up to and with end.
func (x *Index) pendingPage(start, end []byte) ([]pendingEntry, error) {
	var page []pendingEntry
	err := x.db.View(func(tx *bolt.Tx) error {
		c := bucket(tx, pendingBucket).Cursor()
		k, v := c.Seek(start)
		if len(start) > 0 && bytes.Equal(k, start) {
			k, v = c.Next()
		}
		for ; k != nil && len(page) < replayPage && (end == nil || bytes.Compare(k, end) <= 0); k, v = c.Next() {
			p, err := decodeRow[pending](v)
			if err != nil {
				return err
			}
			cut := bytes.LastIndexByte(k, 0)
			entry := pendingEntry{pending: p, row: bytes.Clone(k), user: mail.Address(k[:cut]), list: string(k[cut+1:])}
			if entry.list == suppressionWord {
				if entry.why, err = suppressedText(tx, entry.user); err != nil {
					return err
				}
			}
			page = append(page, entry)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read what the directory is to be told: %w", err)
	}
	return page, nil
}

// suppressedText is what the user's attribute is to say now. The row is asked and
// not the pending word, so that the latest reason arrives.
func suppressedText(tx *bolt.Tx, user mail.Address) (any, error) {
	row, err := readSuppressed(tx, []byte(user.Key()))
	if err != nil || row.Address == "" {
		return nil, err
	}
	return row.Attribute(), nil
}

// settle removes entries, unless a newer word came while the store was told.
func (x *Index) settle(done []pendingEntry) error {
	if len(done) == 0 {
		return nil
	}
	err := x.db.Batch(func(tx *bolt.Tx) error {
		b := bucket(tx, pendingBucket)
		for _, p := range done {
			now, err := getJSON[pending](b, p.row)
			if err != nil {
				return err
			}
			if now != p.pending {
				continue
			}
			if err := b.Delete(p.row); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("settle what the directory was told: %w", err)
	}
	return nil
}

// Run replays at once, whenever an entry is new, and after failures again: 1 s
// later, then twice as long each time, up to 5 minutes. Once a day it forgets
// what is too old to matter ([Index.Forget]). It returns when ctx ends.
func (x *Index) Run(ctx context.Context, store Store, log *slog.Logger) {
	wait := time.Duration(0)
	forget := time.NewTicker(forgetEvery)
	defer forget.Stop()
	x.forgetAndLog(ctx, log)
	for {
		n, err := x.Replay(ctx, store)
		if ctx.Err() != nil {
			return
		}
		if n > 0 {
			log.Info("the directory was told of opt-outs and suppressions", "entries", n)
		}
		again := x.changed
		var retry <-chan time.Time
		if err == nil {
			wait = 0
		} else {
			wait = min(max(2*wait, replayWait), replayMaxWait)
			log.Warn("the directory was not told of all opt-outs and suppressions; the local index holds them", "again_in", wait, "class", mail.ClassOf(err), "error", err)
			again, retry = nil, time.After(wait)
		}
		select {
		case <-again:
		case <-retry:
		case <-forget.C:
			x.forgetAndLog(ctx, log)
		case <-ctx.Done():
			return
		}
	}
}

func (x *Index) forgetAndLog(ctx context.Context, log *slog.Logger) {
	if n, err := x.Forget(ctx, time.Now()); err != nil && ctx.Err() == nil {
		log.Warn("old soft bounces could not be forgotten; they are tomorrow", "error", err)
	} else if n > 0 {
		log.Debug("old soft bounces and liftings are forgotten", "rows", n)
	}
}
