package directory

import (
	"bytes"
	"context"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"
)

const (
	// liftedKept is how long the index remembers that a suppression was lifted:
	// longer than anybody keeps an event and sends it again.
	liftedKept = 400 * 24 * time.Hour
	// softKept is the window of soft bounces, and two days for time zones.
	softKept = (softWindow + 2) * 24 * time.Hour

	forgetEvery = 24 * time.Hour
	forgetPage  = 5000 // rows read in one transaction
)

// Forget removes what can change nothing any more: soft bounces whose days are
// all too old, and liftings of more than 400 days ago. It returns how many rows
// that were. Run does it every day.
func (x *Index) Forget(ctx context.Context, now time.Time) (n int, err error) {
	for name, stale := range map[string]func(v []byte) bool{
		softBucket: func(v []byte) bool {
			days, err := decodeRow[[]string](v)
			return err == nil && (len(days) == 0 || days[len(days)-1] < now.Add(-softKept).UTC().Format(time.DateOnly))
		},
		liftedBucket: func(v []byte) bool {
			at, err := decodeRow[time.Time](v)
			return err == nil && at.Before(now.Add(-liftedKept))
		},
	} {
		some, err := x.sweep(ctx, name, stale)
		if n += some; err != nil {
			return n, fmt.Errorf("forget old bounces: %w", err)
		}
	}
	return n, nil
}

// sweep removes the stale rows of a bucket, a page at a time.
func (x *Index) sweep(ctx context.Context, name string, stale func(v []byte) bool) (n int, err error) {
	var after []byte
	for {
		if err := ctx.Err(); err != nil {
			return n, err
		}
		keys, last, err := x.stalePage(name, after, stale)
		if err != nil {
			return n, err
		}
		if len(keys) > 0 {
			err = x.db.Update(func(tx *bolt.Tx) error {
				b := bucket(tx, name)
				for _, k := range keys {
					if !stale(b.Get(k)) {
						continue // it was written meanwhile
					}
					if err := b.Delete(k); err != nil {
						return err
					}
					n++
				}
				return nil
			})
		}
		if err != nil || last == nil {
			return n, err
		}
		after = last
	}
}

// stalePage finds the stale keys among the rows after the key after; last is nil at the end.
func (x *Index) stalePage(name string, after []byte, stale func(v []byte) bool) (keys [][]byte, last []byte, err error) {
	err = x.db.View(func(tx *bolt.Tx) error {
		c := bucket(tx, name).Cursor()
		k, v := c.Seek(after)
		if len(after) > 0 && bytes.Equal(k, after) {
			k, v = c.Next()
		}
		for i := 0; k != nil; k, v = c.Next() {
			if stale(v) {
				keys = append(keys, bytes.Clone(k))
			}
			if i++; i == forgetPage {
				last = bytes.Clone(k)
				return nil
			}
		}
		return nil
	})
	return keys, last, err
}
