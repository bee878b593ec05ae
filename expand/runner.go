package expand

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"postern/mail"
)

// How long to wait for a directory or a queue that fails.
const (
	firstWait  = time.Second      // doubled with every failure in a row
	longestOf  = 30 * time.Second // up to this
	brokenWait = time.Minute      // for what a person has to mend
)

// backoff is how long to wait after the tries-th failure in a row (from 0): what
// the error asks for, a minute when it will not pass by itself, else 1 s doubled
// up to 30 s, less up to a fifth so that many who wait do not come back at once.
func backoff(tries int, err error) time.Duration {
	var e *mail.Error
	if errors.As(err, &e) {
		if e.RetryAfter > 0 {
			return e.RetryAfter
		}
		switch e.Class {
		case mail.Permanent, mail.AccountWide, mail.MessageWide, mail.QuotaSpent:
			return brokenWait
		}
	}
	wait := min(firstWait<<min(tries, 10), longestOf)
	return wait - rand.N(wait/5)
}

// pause waits; the error is ctx's when it ends first.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// patiently asks the directory until it answers or ctx ends. While it waits the
// message says why, and when it goes on the reason is taken back.
func (r *run) patiently(ctx context.Context, ask func(context.Context) error) error {
	for tries := 0; ; tries++ {
		err := ask(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil {
			return r.explain(ctx, r.calm)
		}
		wait := backoff(tries, err)
		r.Log.Warn("waiting for the directory", "message", r.m.ID, "class", mail.ClassOf(err), "wait", wait, "err", err)
		if err := r.explain(ctx, fmt.Sprintf("waiting for the directory: %s; trying again in %s", words(err), inWords(wait))); err != nil {
			return err
		}
		if err := pause(ctx, wait); err != nil {
			return err
		}
	}
}

// explain keeps the queue's reason up to date, without a commit for each page.
func (r *run) explain(ctx context.Context, reason string) error {
	if reason == r.reason {
		return nil
	}
	if err := r.Queue.Explain(ctx, r.m.ID, reason); err != nil {
		return fmt.Errorf("noting why it waits: %w", err)
	}
	r.reason = reason
	return nil
}

// words is what people are told of an error: its public text when it has one.
func words(err error) string {
	var e *mail.Error
	if errors.As(err, &e) && e.Public != "" {
		return strings.TrimRight(clip(e.Public), ". ")
	}
	return clip(err.Error())
}

// inWords is such as "8s" or "1m".
func inWords(d time.Duration) string {
	d = max(d.Round(time.Second), time.Second)
	s := d.String()
	if d%time.Minute == 0 {
		s = strings.TrimSuffix(s, "0s")
	}
	return s
}

// Runner expands and releases what is due, a few messages at a time.
type Runner struct {
	Expander *Expander
	// Pending reads, oldest first, every message that is not Expanded (paused ones
	// too: their siblings wait for them) and every one that is Releasing.
	Pending func() ([]mail.Message, error)
	// Wake says that Pending may have more to say; buffer it by one.
	Wake <-chan struct{}
	// Parallel is how many messages are worked on at once; 0: 4.
	Parallel int
}

// finished is the end of one message's expansion or release.
type finished struct {
	id  mail.ID
	err error
}

// job is a message that is being worked on.
type job struct {
	stop    context.CancelFunc
	dropped bool // it was cancelled meanwhile: how it ends is of no interest
}

// delay is when a message that failed is tried again.
type delay struct {
	tries int
	until time.Time
}

// desk is the state of a running Runner; one goroutine owns it.
type desk struct {
	*Runner
	busy     map[mail.ID]*job
	delayed  map[mail.ID]delay
	unread   int // failures of Pending in a row
	finished chan finished
}

// Run works until ctx ends, waits for what it has begun, and returns ctx's error.
// What fails is logged and tried again, after 1 s at first and 30 s at last.
func (r *Runner) Run(ctx context.Context) error {
	d := &desk{Runner: r, busy: map[mail.ID]*job{}, delayed: map[mail.ID]delay{}, finished: make(chan finished)}
	for ctx.Err() == nil {
		again := d.start(ctx)
		timer := time.NewTimer(again)
		select {
		case <-ctx.Done():
		case <-r.Wake:
		case <-timer.C:
		case f := <-d.finished:
			d.end(ctx, f)
		}
		timer.Stop()
	}
	for len(d.busy) > 0 {
		d.end(ctx, <-d.finished)
	}
	return ctx.Err()
}

// idle is how long a Runner sleeps that nobody wakes: a lost wake-up costs this.
const idle = time.Minute

// start begins what can be begun now; it returns when to look again at the latest.
func (d *desk) start(ctx context.Context) time.Duration {
	pending, err := d.Pending()
	if err != nil {
		wait := backoff(d.unread, err)
		d.unread++
		d.Expander.Log.Error("cannot read which messages are to be expanded", "wait", wait, "err", err)
		return wait
	}
	d.unread = 0
	unexpanded := make(map[mail.ID]bool, len(pending))
	for i := range pending {
		unexpanded[pending[i].ID] = !pending[i].Expanded
	}
	d.drop(unexpanded)
	soonest, now := idle, time.Now()
	for _, m := range pending {
		if len(d.busy) >= d.parallel() {
			break
		}
		if d.busy[m.ID] != nil || !ready(&m, unexpanded) {
			continue
		}
		if wait := d.delayed[m.ID].until.Sub(now); wait > 0 {
			soonest = min(soonest, wait)
			continue
		}
		work, stop := context.WithCancel(ctx)
		d.busy[m.ID] = &job{stop: stop}
		go func() { d.finished <- finished{m.ID, d.work(work, m)} }()
	}
	return soonest
}

func (d *desk) parallel() int {
	if d.Parallel > 0 {
		return d.Parallel
	}
	return 4
}

// ready says that the message may be worked on: it is not paused, and its
// siblings, whose recipients it leaves out, have all of theirs.
func ready(m *mail.Message, unexpanded map[mail.ID]bool) bool {
	if m.Releasing {
		return true
	}
	if m.Expanded || m.State != mail.Expanding {
		return false
	}
	for _, s := range m.Siblings {
		if unexpanded[s] {
			return false
		}
	}
	return true
}

func (d *desk) work(ctx context.Context, m mail.Message) error {
	if m.Releasing {
		return d.Expander.Release(ctx, m)
	}
	return d.Expander.Expand(ctx, m)
}

// end notes how a message went. One that fails comes back from where it stands.
func (d *desk) end(ctx context.Context, f finished) {
	j := d.busy[f.id]
	j.stop()
	delete(d.busy, f.id)
	if f.err == nil || j.dropped || ctx.Err() != nil {
		delete(d.delayed, f.id)
		return
	}
	tries := d.delayed[f.id].tries
	wait := backoff(tries, f.err)
	d.delayed[f.id] = delay{tries + 1, time.Now().Add(wait)}
	d.Expander.Log.Error("a message could not be expanded or released; it is tried again", "message", f.id, "wait", wait, "err", f.err)
}

// drop lets go of messages that are no longer pending, because somebody cancelled
// them: one may be waiting for a directory that does not come back.
func (d *desk) drop(pending map[mail.ID]bool) {
	for id := range d.delayed {
		if _, still := pending[id]; !still {
			delete(d.delayed, id)
		}
	}
	for id, j := range d.busy {
		if _, still := pending[id]; !still {
			j.dropped = true
			j.stop()
		}
	}
}
