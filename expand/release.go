package expand

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"postern/directory"
	"postern/mail"
)

const (
	tallyBatch   = 1000 // copies counted at a time
	releaseBatch = 500  // copies asked about in one go: five requests of DynamoDB
)

// finish says what becomes of the message now that its last page is stored.
//
// The verdict comes from the rows and from nothing kept in memory: a copy with a
// missing value is stored as Skipped at once, under either policy, because then
// nothing can send it by mistake, no count can be lost in a crash, and a release
// simply asks again about every copy that is Queued or Skipped.
func (r *run) finish(ctx context.Context) error {
	t, err := r.count()
	if err != nil {
		return err
	}
	next, reason := r.verdict(t)
	if err := r.Queue.Expanded(ctx, r.m.ID, next, reason); err != nil {
		return fmt.Errorf("ending the expansion: %w", err)
	}
	r.Log.Info("expanded", "message", r.m.ID, "list", r.m.List.ID, "state", next, "reason", reason)
	return nil
}

// tally is what verdict needs to know of a message's copies.
type tally struct {
	all, skipped int
	gaps         []gap // what was missing, in the order in which it was met
}

// gap is one reason for which copies were skipped.
type gap struct {
	what  string // follows "3 of 200 "
	count int
	first mail.Address
}

func (t *tally) add(what string, to mail.Address) {
	i := slices.IndexFunc(t.gaps, func(g gap) bool { return g.what == what })
	if i < 0 {
		i, t.gaps = len(t.gaps), append(t.gaps, gap{what: what, first: to})
	}
	t.gaps[i].count++
}

// count reads the copies. Of a streaming message, which is neither counted nor
// held, only the first matters: whether there is any.
func (r *run) count() (tally, error) {
	var t tally
	limit := tallyBatch
	if r.m.Streaming {
		limit = 1
	}
	for after := uint32(0); ; {
		batch, err := r.Queue.Copies(r.m.ID, after, limit)
		if err != nil {
			return t, fmt.Errorf("counting the copies: %w", err)
		}
		for i := range batch {
			r.countOne(&t, &batch[i])
			after = batch[i].Seq
		}
		if len(batch) == 0 || r.m.Streaming {
			return t, nil
		}
	}
}

func (r *run) countOne(t *tally, c *mail.Copy) {
	t.all++
	if c.State != mail.Skipped {
		return
	}
	t.skipped++
	missing := r.missing(c)
	for _, placeholder := range missing {
		t.add("no value for "+placeholder, c.To)
	}
	if len(missing) == 0 {
		t.add("no verdict of the list's filter", c.To)
	}
}

// verdict is the message's next state and why. An unknown release policy holds.
func (r *run) verdict(t tally) (next mail.MessageState, reason string) {
	policy, will := r.m.List, t.all-t.skipped
	switch {
	case t.all == 0 && len(r.m.Siblings) > 0:
		return mail.Done, "no subscribed user matches who does not get it through another list of the same mail"
	case t.all == 0:
		return mail.Done, "no subscribed user matches"
	case r.m.Streaming:
		return mail.Sending, ""
	case t.skipped > 0 && policy.Missing != "skip":
		return mail.Held, fmt.Sprintf("%s; fill that in, or cancel it and send it again with a fallback such as {{Name|friend}}; "+
			"`postern queue resume %s` sends to whoever has a value then (%d now)", t.lacking(), r.m.ID, will)
	case will == 0:
		return mail.Done, "nobody will receive it: " + t.lacking()
	case policy.Release != "" && policy.Release != "immediate" && will > policy.ReleaseOver:
		return mail.Held, fmt.Sprintf("held for release: %d will receive it; `postern queue resume %s` releases it", will, r.m.ID)
	}
	return mail.Sending, ""
}

// lacking is such as "3 of 200 have no value for {{Name}} (first: kim@example.com)".
func (t tally) lacking() string {
	var parts []string
	for _, g := range t.gaps {
		have := "have"
		if g.count == 1 {
			have = "has"
		}
		parts = append(parts, fmt.Sprintf("%d of %d %s %s (first: %s)", g.count, t.all, have, g.what, g.first))
	}
	return strings.Join(parts, ", ")
}

// Release lets a held message go after asking the directory again, in batches,
// about every copy: who has left since becomes Unsubscribed, who lacks a value or
// is no longer chosen by the filter Skipped, all others Queued with fresh values.
// It carries on behind the message's Checkpoint, waits for a directory that does
// not answer as Expand does, and returns the same errors.
func (e *Expander) Release(ctx context.Context, m mail.Message) error {
	r, err := e.begin(ctx, m, "being released: the directory is asked again who is subscribed")
	if err != nil {
		return fmt.Errorf("releasing %s: %w", m.ID, err)
	}
	for after := revisedThrough(m); ; {
		batch, err := e.Queue.Copies(m.ID, after, releaseBatch)
		if err != nil {
			return fmt.Errorf("releasing %s: reading its copies: %w", m.ID, err)
		}
		if len(batch) == 0 {
			break
		}
		after = batch[len(batch)-1].Seq
		if err := r.revise(ctx, batch, after); err != nil {
			return fmt.Errorf("releasing %s: %w", m.ID, err)
		}
	}
	if err := e.Queue.Released(ctx, m.ID); err != nil {
		return fmt.Errorf("releasing %s: %w", m.ID, err)
	}
	e.Log.Info("released", "message", m.ID, "list", m.List.ID)
	return nil
}

// revisedThrough is the Seq up to which an earlier run has come (Queue.Revise).
func revisedThrough(m mail.Message) uint32 {
	if len(m.Checkpoint) != 4 {
		return 0
	}
	return binary.BigEndian.Uint32(m.Checkpoint)
}

// revise asks about the copies of batch and stores those that change.
func (r *run) revise(ctx context.Context, batch []mail.Copy, through uint32) error {
	var keys []mail.Address
	for i := range batch {
		if open(&batch[i]) {
			keys = append(keys, mail.Address(batch[i].UserKey))
		}
	}
	users := make(map[string]*directory.User, len(keys))
	if len(keys) > 0 {
		err := r.patiently(ctx, func(ctx context.Context) error {
			found, err := r.Store.GetMany(ctx, keys)
			for i := range found {
				users[string(found[i].Email)] = &found[i]
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	var changed []mail.Copy
	for _, was := range batch {
		if !open(&was) {
			continue
		}
		now := r.again(was, users[was.UserKey])
		if now.State != was.State || now.LastError != was.LastError || !slices.Equal(now.Values, was.Values) {
			changed = append(changed, now)
		}
	}
	if err := r.Queue.Revise(ctx, r.m.ID, changed, through); err != nil {
		return fmt.Errorf("storing %d copies that changed: %w", len(changed), err)
	}
	return nil
}

// open says that a release may still change the copy.
func open(c *mail.Copy) bool { return c.State == mail.Queued || c.State == mail.Skipped }

// again is the copy as it would be if the message were expanded now.
func (r *run) again(c mail.Copy, u *directory.User) mail.Copy {
	if u == nil {
		c.State, c.LastError = mail.Unsubscribed, "no longer in the directory"
		return c
	}
	switch v := r.audience.Judge(u); v.Standing {
	case Receives, NotJudged:
		r.fill(&c, u, v)
	case NotSubscribed:
		c.State, c.LastError = mail.Unsubscribed, "no longer subscribed"
	case HasLeft, Suppressed:
		c.State, c.LastError = mail.Unsubscribed, v.Why
	case NotChosen:
		c.State, c.LastError = mail.Skipped, "no longer chosen by the list's filter"
	default:
		c.State, c.LastError = mail.Skipped, v.Why
	}
	return c
}
