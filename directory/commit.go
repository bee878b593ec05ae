package directory

import (
	"context"
	"sync"

	bolt "go.etcd.io/bbolt"
)

// maxCommit bounds how many changes share one transaction, so that nobody waits
// for a very long one.
const maxCommit = 1024

// commits lets callers at the same time share a transaction, whose two syncs take
// far longer than what is written. Who finds nothing under way does not wait: the
// next transaction gathers while the one before it is being written.
type commits struct {
	mu      sync.Mutex
	waiting []*change
	busy    bool // somebody commits what waits
}

// change is one caller's part. fn may run more than once; what it hands out by
// variables, it sets anew each time.
type change struct {
	fn   func(*bolt.Tx) error
	done chan error
}

// commit runs fn in a transaction and returns when that is on the disk. An error of
// fn undoes what it did, and nobody else's part.
func (x *Index) commit(ctx context.Context, fn func(*bolt.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c := &change{fn, make(chan error, 1)}
	x.commits.mu.Lock()
	x.commits.waiting = append(x.commits.waiting, c)
	first := !x.commits.busy
	x.commits.busy = true
	x.commits.mu.Unlock()
	if first {
		go x.commitWaiting()
	}
	return <-c.done
}

func (x *Index) commitWaiting() {
	for {
		x.commits.mu.Lock()
		batch := x.commits.waiting[:min(maxCommit, len(x.commits.waiting))]
		x.commits.waiting = x.commits.waiting[len(batch):]
		x.commits.busy = len(batch) > 0
		x.commits.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		x.commitBatch(batch)
	}
}

// commitBatch runs a batch; a change that fails is answered, and the others run again
// without it.
func (x *Index) commitBatch(batch []*change) {
	for len(batch) > 0 {
		failed := -1
		err := x.db.Update(func(tx *bolt.Tx) error {
			for i, c := range batch {
				if err := c.fn(tx); err != nil {
					failed = i
					return err
				}
			}
			return nil
		})
		if failed >= 0 {
			batch[failed].done <- err
			batch = append(batch[:failed:failed], batch[failed+1:]...)
			continue
		}
		for _, c := range batch {
			c.done <- err
		}
		return
	}
}
