package expand

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"postern/directory"
	"postern/mail"
)

// How many copies may wait to be stored together, sorted by address.
const (
	gatherShare = 8       // one for so many that are stored
	gatherMost  = 30_000  // 7 MB and their values
	gatherBytes = 4 << 20 // of values
	gatherWait  = time.Second
)

// store writes the copies of the pages, with the checkpoint of the last of them.
//
// A directory such as DynamoDB gives its users in no order. Each row would then change
// a page of its own in the spool's index of addresses, and the more the larger that
// is. So the more copies there are, the more are gathered and stored in the order of
// their addresses, but never longer than the directory keeps us waiting.
func (r *run) store(ctx context.Context, pages <-chan scanned) error {
	var g gathered
	late := time.NewTimer(gatherWait)
	defer late.Stop()
	for {
		select {
		case p, more := <-pages:
			if !more {
				return r.put(ctx, &g)
			}
			g.pages, g.checkpoint = g.pages+1, p.checkpoint
			for i := range p.users {
				r.learn(&p.users[i])
				if c, ok := r.copyFor(&p.users[i]); ok {
					g.add(c)
				}
			}
			if len(g.copies) < min(g.stored/gatherShare, gatherMost) && g.bytes < gatherBytes {
				late.Reset(gatherWait)
				continue
			}
		case <-late.C:
		}
		if err := r.put(ctx, &g); err != nil {
			return err
		}
	}
}

// gathered is what waits to be stored.
type gathered struct {
	pages      int
	copies     []mail.Copy
	keys       []string             // of the copies
	bytes      int                  // of their values
	checkpoint directory.Checkpoint // after the last page
	stored     int                  // copies so far
}

func (g *gathered) add(c mail.Copy) {
	g.copies, g.keys = append(g.copies, c), append(g.keys, c.Key())
	for _, v := range c.Values {
		g.bytes += len(v)
	}
}

// sort puts the copies in the order of their keys; of the same key twice the one that
// was met first comes first. It copies each of them once, and makes no second slice.
func (g *gathered) sort() {
	order := make([]int, len(g.copies))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Or(strings.Compare(g.keys[a], g.keys[b]), a-b) })
	for i := range order { // along each cycle of the permutation
		first, at := g.copies[i], i
		for order[at] != i {
			g.copies[at] = g.copies[order[at]]
			at, order[at] = order[at], at
		}
		g.copies[at], order[at] = first, at
	}
}

// put stores what was gathered.
func (r *run) put(ctx context.Context, g *gathered) error {
	if g.pages == 0 {
		return nil
	}
	if g.pages > 1 { // else a small directory keeps its own order
		g.sort()
	}
	if err := r.Queue.AddCopies(ctx, r.m.ID, g.copies, g.checkpoint); err != nil {
		return fmt.Errorf("storing %d copies: %w", len(g.copies), err)
	}
	g.stored += len(g.copies)
	clear(g.copies) // let go of what they name
	clear(g.keys)
	g.pages, g.bytes, g.copies, g.keys = 0, 0, g.copies[:0], g.keys[:0]
	return nil
}
