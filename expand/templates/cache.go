package templates

import (
	"cmp"
	"container/list"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"postern/expand"
	"postern/mail"
)

const (
	// holdOff is how long a failure is remembered: long enough that a flood of
	// mails does not become a flood of questions, short enough that nobody who
	// has just mended a template waits.
	holdOff = 5 * time.Second
	// maxFetches is how many templates are fetched at the same time.
	maxFetches = 4
	// fetchTimeout bounds one fetch with its wait for others; listTimeout what the
	// sentence about an unknown template may cost.
	fetchTimeout = totalTimeout + callTimeout
	listTimeout  = 5 * time.Second
	// staleWait is how long a slow source is waited for when an older template is there.
	staleWait = 5 * time.Second

	maxEntries = 100
	maxOctets  = 50 << 20
	maxAbsent  = 1000
)

// Cache keeps the templates of a source for a while, over all messages. It has no
// goroutine of its own beyond the fetches that are going on.
type Cache struct {
	source Source
	ttl    time.Duration
	log    *slog.Logger
	flight singleflight.Group
	gate   chan struct{} // a place for each fetch

	mu      sync.Mutex
	entries map[string]*list.Element // of *kept
	recent  *list.List               // the last used in front
	octets  int
	absent  map[string]failure // of templates that are not kept
	names   names
	down    bool // the source failed at the last fetch, and that was logged
	listing singleflight.Group
}

// kept is a template that was fetched.
type kept struct {
	t       *expand.Template
	size    int
	fetched time.Time
	failure // of the last attempt to fetch it again; zero after a success
}

// failure is what the source said, and until when it is not asked again.
type failure struct {
	err   error
	until time.Time
}

// Found is a template with its age.
type Found struct {
	// Template is shared: nobody changes it.
	Template *expand.Template
	Age      time.Duration // since it was fetched
	// Note says that the source cannot be asked and an older template is used, in
	// a sentence for people; "" when all is well.
	Note string
}

// NewCache makes a cache that asks source for a template again after ttl. With a
// ttl of 0 every message asks anew, those at the same time together.
func NewCache(source Source, ttl time.Duration, log *slog.Logger) *Cache {
	return &Cache{source: source, ttl: ttl, log: cmp.Or(log, slog.New(slog.DiscardHandler)), gate: make(chan struct{}, maxFetches),
		entries: map[string]*list.Element{}, recent: list.New(), absent: map[string]failure{}}
}

// Get gives the template, from memory or from the source. While the source
// cannot be asked, or takes long, an older one serves, with a Note. The error is
// a *mail.Error: Permanent when there is no such template (550 5.1.1, with
// [ErrUnknown] and the names of others) or it cannot be used (550 5.3.5),
// Temporary (451 4.4.x) when the source cannot be asked and nothing is kept; or
// it is that of ctx. A caller that goes away ends no fetch.
func (c *Cache) Get(ctx context.Context, id string) (Found, error) {
	if err := CheckID(id); err != nil {
		return Found{}, &mail.Error{Class: mail.Permanent, Code: 550, Enhanced: "5.1.1", Public: err.Error(), Err: ErrUnknown}
	}
	if a := c.answer(id); a != nil {
		return a.Found, a.err
	}
	fetched := c.flight.DoChan(id, func() (any, error) { return c.fetch(context.WithoutCancel(ctx), id), nil })
	var patience <-chan time.Time
	if c.older(id, nil) != nil {
		timer := time.NewTimer(staleWait)
		defer timer.Stop()
		patience = timer.C
	}
	for {
		select {
		case r := <-fetched:
			a := r.Val.(*answer)
			return a.Found, a.err
		case <-patience:
			if a := c.older(id, errors.New("the source has not answered yet")); a != nil {
				return a.Found, nil
			}
			patience = nil // it was dropped meanwhile: only the fetch has an answer
		case <-ctx.Done():
			return Found{}, ctx.Err()
		}
	}
}

// answer is what Get returns.
type answer struct {
	Found
	err error
}

// answer is what needs no question; nil when the source must be asked.
func (c *Cache) answer(id string) *answer {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if e, ok := c.entries[id]; ok {
		c.recent.MoveToFront(e)
		k := e.Value.(*kept)
		switch {
		case now.Sub(k.fetched) < c.ttl:
			return &answer{Found: Found{Template: k.t, Age: now.Sub(k.fetched)}}
		case now.Before(k.until):
			return k.stale(now, k.err)
		}
		return nil
	}
	if f, ok := c.absent[id]; ok && now.Before(f.until) {
		return &answer{err: f.err}
	}
	if c.names.all && now.Before(c.names.until) && !c.names.has(id) {
		return &answer{err: c.names.unknown(id)}
	}
	return nil
}

// older is the template that is kept, however old; nil when there is none.
func (c *Cache) older(id string, why error) *answer {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.entries[id]; ok {
		return e.Value.(*kept).stale(time.Now(), why)
	}
	return nil
}

func (k *kept) stale(now time.Time, why error) *answer {
	f := Found{Template: k.t, Age: now.Sub(k.fetched)}
	if why != nil {
		f.Note = fmt.Sprintf("the template %s is the one of %s ago, because it cannot be fetched now: %s", k.t.ID, f.Age.Round(time.Second), public(why))
	}
	return &answer{Found: f}
}

// public is the part of an error that anybody may read.
func public(err error) string {
	var e *mail.Error
	if errors.As(err, &e) {
		return e.Public
	}
	return err.Error()
}

// fetch asks the source, unless somebody has while this waited.
func (c *Cache) fetch(ctx context.Context, id string) *answer {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	select {
	case c.gate <- struct{}{}:
		defer func() { <-c.gate }()
	case <-ctx.Done():
		return c.failed(id, &mail.Error{Class: mail.Throttled, Public: "too many templates are being fetched", Err: ctx.Err()})
	}
	if a := c.answer(id); a != nil {
		return a
	}
	t, err := c.source.Template(ctx, id)
	switch {
	case err == nil:
		return c.store(id, t)
	case mail.ClassOf(err) != mail.Permanent:
		return c.failed(id, err)
	case errors.Is(err, ErrUnknown):
		err = c.list(ctx).unknown(id)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop(id)
	c.remember(id, err)
	return &answer{err: err}
}

// store keeps a template, and drops those that were not used for longest.
func (c *Cache) store(id string, t *expand.Template) *answer {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.down {
		c.down = false
		c.log.Info("templates can be fetched again", "template", id)
	}
	c.drop(id)
	delete(c.absent, id)
	k := &kept{t: t, size: sizeOf(t), fetched: time.Now()}
	c.entries[id] = c.recent.PushFront(k)
	for c.octets += k.size; c.recent.Len() > maxEntries || c.octets > maxOctets && c.recent.Len() > 1; {
		c.drop(c.recent.Back().Value.(*kept).t.ID)
	}
	return &answer{Found: Found{Template: t}}
}

// drop forgets a template. The caller holds the lock.
func (c *Cache) drop(id string) {
	if e, ok := c.entries[id]; ok {
		c.octets -= e.Value.(*kept).size
		c.recent.Remove(e)
		delete(c.entries, id)
	}
}

func sizeOf(t *expand.Template) int {
	n := 1024 + len(t.HTML) + len(t.Text) + len(t.Subject) + len(t.Purpose)
	for _, img := range t.Images {
		n += len(img.Data) + len(img.Name) + len(img.URL)
	}
	return n
}

// failed notes that the source could not be asked: what is kept serves on.
func (c *Cache) failed(id string, err error) *answer {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	e, ok := c.entries[id]
	if !c.down {
		c.down = true
		c.log.Warn("templates cannot be fetched; those in memory are used meanwhile", "template", id, "kept", ok, "error", err)
	}
	if ok {
		k := e.Value.(*kept)
		k.failure = failure{err, now.Add(holdOff)}
		return k.stale(now, err)
	}
	later := mail.Later(451, "4.4.0", "the template %s cannot be fetched now: %s; send the mail again later", id, public(err))
	switch mail.ClassOf(err) {
	case mail.Unreachable:
		later.Enhanced = "4.4.1"
	case mail.Throttled:
		later.Enhanced = "4.4.5"
	}
	later.Err = err
	c.remember(id, later)
	return &answer{err: later}
}

// remember keeps an error for the next few seconds. The caller holds the lock.
func (c *Cache) remember(id string, err error) {
	now := time.Now()
	if len(c.absent) >= maxAbsent {
		maps.DeleteFunc(c.absent, func(_ string, f failure) bool { return !now.Before(f.until) })
	}
	if len(c.absent) >= maxAbsent {
		clear(c.absent)
	}
	c.absent[id] = failure{err, now.Add(holdOff)}
}
