package directory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
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
// latest word, so that leaving and coming back in turn cannot arrive in disorder.
// The word about the user's suppression stands at [suppressionWord].
type pending struct {
	Leave bool   `json:"leave"`
	Turn  uint64 `json:"turn"` // tells a newer word from the one being replayed
	// Of coming back to a list: a user who is not subscribed in the Store is from now
	// on, and has left the others.
	Back   bool     `json:"back,omitempty"`
	Others []string `json:"others,omitempty"`
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

// changeOf makes one change of all words about a user's lists, so that the Store is
// never seen between them. Leaving all lists also ends the subscription, because
// other programs that read the table know only that; u is the user as the Store
// has it, for those words that depend on it ([lookFirst]), and may else be nil.
func changeOf(words []pendingEntry, u *User) (c Change) {
	var others []string
	back := false
	for _, w := range words {
		switch {
		case w.list == suppressionWord:
			continue
		case w.Leave:
			c.OptOut = append(c.OptOut, w.list)
		default:
			c.OptIn = append(c.OptIn, w.list)
		}
		if w.list == AllLists {
			subscribed := !w.Leave
			c.Subscribed = &subscribed
		}
		if w.Back {
			back, others = true, append(others, w.Others...)
		}
	}
	if !back || c.Subscribed != nil || u == nil || u.Subscribed && !slices.Contains(u.OptOut, AllLists) {
		return c
	}
	subscribed := true
	c.Subscribed = &subscribed
	others = slices.DeleteFunc(others, func(id string) bool { return slices.Contains(c.OptIn, id) })
	c.OptIn = append(c.OptIn, AllLists)
	c.OptOut = Union(c.OptOut, others)
	return c
}

// lookFirst says whether what the Store is told depends on what it has.
func lookFirst(words []pendingEntry) bool {
	return slices.ContainsFunc(words, func(w pendingEntry) bool { return w.Back })
}

func addPending(tx *bolt.Tx, user mail.Address, list string, word pending) error {
	b := bucket(tx, pendingBucket)
	users := []mail.Address{user}
	if list != suppressionWord {
		var err error
		if users, err = spellings(tx, user); err != nil {
			return err
		}
	}
	for _, user := range users {
		var err error
		if word.Turn, err = b.NextSequence(); err != nil {
			return err
		}
		if err = putJSON(b, []byte(string(user)+"\x00"+list), word); err != nil {
			return err
		}
	}
	return nil
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
// Replaying twice does no harm; one at a time does it, so that no earlier word
// arrives after a later one.
func (x *Index) Replay(ctx context.Context, store Store) (n int, err error) {
	x.replaying.Lock()
	defer x.replaying.Unlock()
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
		for _, words := range byUser(page) {
			var ok bool
			if ok, err = r.tell(ctx, words); ok {
				done = append(done, words...)
			}
			if err != nil {
				break
			}
		}
		settleErr := r.index.settle(ctx, done)
		if settleErr == nil {
			r.settled += len(done)
		}
		if err := errors.Join(err, settleErr); err != nil {
			return err
		}
		start = page[len(page)-1].row
	}
}

// byUser divides a page into what is told at once: the words about one user's lists,
// and by itself the one about their suppression, which the Store may refuse.
func byUser(page []pendingEntry) (groups [][]pendingEntry) {
	for i, w := range page {
		if last := len(groups) - 1; i > 0 && w.user == page[i-1].user && page[i-1].list != suppressionWord {
			groups[last] = append(groups[last], w)
			continue
		}
		groups = append(groups, []pendingEntry{w})
	}
	return groups
}

// tell gives the words about one user to the store. The error ends the replay.
func (r *replay) tell(ctx context.Context, words []pendingEntry) (settled bool, err error) {
	w := words[len(words)-1]
	err = r.update(ctx, w.user, words)
	if err == nil || errors.Is(err, ErrNotFound) {
		r.failed = 0
		return true, nil
	}
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	err = fmt.Errorf("tell the directory that %s: %w", w.news(), err)
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
	r.index.giveUpAt(w.row)
	return false, err
}

func (r *replay) update(ctx context.Context, user mail.Address, words []pendingEntry) error {
	if words[0].list == suppressionWord {
		return r.store.Update(ctx, user, Change{Attributes: map[string]any{SuppressedAttribute: words[0].why}})
	}
	if !lookFirst(words) {
		return r.store.Update(ctx, user, changeOf(words, nil))
	}
	u, err := r.store.Get(ctx, user)
	if err != nil {
		return err
	}
	return r.store.Update(ctx, user, changeOf(words, &u))
}

func (p pendingEntry) news() string {
	switch {
	case p.list != suppressionWord:
		return fmt.Sprintf("%q left or joined list %q", p.user, p.list)
	case p.why == nil:
		return fmt.Sprintf("%q gets mail again", p.user)
	}
	return fmt.Sprintf("%q is suppressed", p.user)
}

// pendingPage reads entries after the row start, up to and with end, and all of the
// last user's.
func (x *Index) pendingPage(start, end []byte) ([]pendingEntry, error) {
	var page []pendingEntry
	err := x.db.View(func(tx *bolt.Tx) error {
		c := bucket(tx, pendingBucket).Cursor()
		k, v := c.Seek(start)
		if len(start) > 0 && bytes.Equal(k, start) {
			k, v = c.Next()
		}
		for ; k != nil && (end == nil || bytes.Compare(k, end) <= 0); k, v = c.Next() {
			entry, err := decodePending(tx, k, v)
			if err != nil {
				return err
			}
			if len(page) >= replayPage && entry.user != page[len(page)-1].user {
				return nil
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

func decodePending(tx *bolt.Tx, k, v []byte) (entry pendingEntry, err error) {
	p, err := decodeRow[pending](v)
	if err != nil {
		return entry, err
	}
	cut := bytes.LastIndexByte(k, 0)
	entry = pendingEntry{pending: p, row: bytes.Clone(k), user: mail.Address(k[:cut]), list: string(k[cut+1:])}
	if entry.list == suppressionWord {
		entry.why, err = suppressedText(tx, entry.user)
	}
	return entry, err
}

// pendingOf gives the words about a user's lists, in the key's own spelling and in the
// normalised one.
func pendingOf(tx *bolt.Tx, user mail.Address) (words []pendingEntry, err error) {
	for _, key := range slices.Compact([]mail.Address{user, mail.Address(user.Key())}) {
		prefix := []byte(string(key) + "\x00")
		c := bucket(tx, pendingBucket).Cursor()
		for k, v := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, v = c.Next() {
			w, err := decodePending(tx, k, v)
			if err != nil {
				return nil, err
			}
			same := slices.IndexFunc(words, func(o pendingEntry) bool { return o.list == w.list })
			switch {
			case same < 0:
				words = append(words, w)
			case words[same].Turn < w.Turn:
				words[same] = w
			}
		}
	}
	return words, nil
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
func (x *Index) settle(ctx context.Context, done []pendingEntry) error {
	if len(done) == 0 {
		return nil
	}
	// What was told is settled, also when the gateway is just ending.
	err := x.commit(context.WithoutCancel(ctx), func(tx *bolt.Tx) error {
		b := bucket(tx, pendingBucket)
		for _, p := range done {
			now, err := getJSON[pending](b, p.row)
			if err != nil {
				return err
			}
			if now.Turn != p.Turn {
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
