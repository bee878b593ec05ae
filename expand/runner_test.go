package expand_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postern/directory"
	"postern/expand"
	"postern/mail"
)

// board is what a Runner sees of a spool with several messages, each with a queue
// of its own.
type board struct {
	mu     sync.Mutex
	queues map[mail.ID]*memQueue
	log    []string // messages in the order in which they ended
	fail   error    // of Pending
	hook   func(id mail.ID, call string) error
}

func (b *board) pending() ([]mail.Message, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.fail; err != nil {
		b.fail = nil
		return nil, err
	}
	var ms []mail.Message
	for _, id := range slices.Sorted(maps.Keys(b.queues)) {
		if m := b.queues[id].stored(); !m.Expanded || m.Releasing {
			ms = append(ms, m)
		}
	}
	return ms, nil
}

func (b *board) add(m mail.Message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.queues == nil {
		b.queues = map[mail.ID]*memQueue{}
	}
	q := &memQueue{msg: m}
	q.hook = func(call string, done bool) error {
		if done && (call == "Expanded" || call == "Released") {
			b.mu.Lock()
			b.log = append(b.log, call+" "+string(m.ID))
			b.mu.Unlock()
		}
		if b.hook != nil && !done {
			return b.hook(m.ID, call)
		}
		return nil
	}
	b.queues[m.ID] = q
}

func (b *board) ended() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Join(b.log, ", ")
}

// The board is an expand.Queue that leads each call to its message's queue.
func (b *board) of(id mail.ID) *memQueue {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.queues[id]
}

func (b *board) AddCopies(ctx context.Context, id mail.ID, c []mail.Copy, p []byte) error {
	return b.of(id).AddCopies(ctx, id, c, p)
}
func (b *board) Expanded(ctx context.Context, id mail.ID, next mail.MessageState, reason string) error {
	return b.of(id).Expanded(ctx, id, next, reason)
}
func (b *board) Explain(ctx context.Context, id mail.ID, reason string) error {
	return b.of(id).Explain(ctx, id, reason)
}
func (b *board) Copies(id mail.ID, after uint32, limit int) ([]mail.Copy, error) {
	return b.of(id).Copies(id, after, limit)
}
func (b *board) Revise(ctx context.Context, id mail.ID, revised []mail.Copy, through uint32) error {
	return b.of(id).Revise(ctx, id, revised, through)
}
func (b *board) Released(ctx context.Context, id mail.ID) error { return b.of(id).Released(ctx, id) }

// message is a message to promo with this id.
func message(id string, siblings ...mail.ID) mail.Message {
	m := promo()
	m.ID, m.Siblings = mail.ID(id), siblings
	return m
}

// run starts a Runner over b; stop ends it and waits.
func run(t *testing.T, b *board, s *pageStore) (wake chan struct{}, stop func()) {
	wake = make(chan struct{}, 1)
	r := &expand.Runner{Pending: b.pending, Wake: wake,
		Expander: &expand.Expander{Store: s, Queue: b, Fields: testFields(t), Log: quiet()}}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	return wake, func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run ended with %v", err)
		}
	}
}

func TestRunnerExpandsAndReleases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, s := &board{}, &pageStore{pages: [][]directory.User{kims(2), kims(3)}}
		b.add(message("A"))
		paused := message("B")
		paused.State = mail.Paused
		b.add(paused)
		wake, stop := run(t, b, s)
		synctest.Wait()
		if got := b.ended(); got != "Expanded A" {
			t.Errorf("at first: %s", got)
		}
		releasing := message("C")
		releasing.State, releasing.Expanded, releasing.Releasing = mail.Held, true, true
		b.add(releasing)
		wake <- struct{}{}
		synctest.Wait()
		if got := b.ended(); got != "Expanded A, Released C" {
			t.Errorf("after waking: %s", got)
		}
		b.add(message("D"))
		synctest.Wait()
		<-time.After(time.Minute) // nobody wakes it; the bubble's clock, not ours
		synctest.Wait()
		if got := b.ended(); got != "Expanded A, Released C, Expanded D" {
			t.Errorf("after a minute: %s", got)
		}
		stop()
	})
}

func TestRunnerWorksOnFourMessagesAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		at, most := 0, 0
		go1 := make(chan struct{})
		b := &board{hook: func(_ mail.ID, call string) error {
			if call != "AddCopies " {
				return nil
			}
			mu.Lock()
			at++
			most = max(most, at)
			mu.Unlock()
			<-go1
			mu.Lock()
			at--
			mu.Unlock()
			return nil
		}}
		for i := range 9 {
			b.add(message(fmt.Sprint(i)))
		}
		_, stop := run(t, b, &pageStore{pages: [][]directory.User{kims(1)}})
		synctest.Wait()
		if at != 4 {
			t.Errorf("%d at once", at)
		}
		close(go1)
		synctest.Wait()
		if most != 4 || strings.Count(b.ended(), "Expanded") != 9 {
			t.Errorf("%d at once; %s", most, b.ended())
		}
		stop()
	})
}

func TestRunnerLetsSiblingsGoFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		b := &board{hook: func(id mail.ID, call string) error {
			if id == "Z" && call == "Expanded" {
				<-hold
			}
			return nil
		}}
		paused := message("P")
		paused.State = mail.Paused
		b.add(paused)
		b.add(message("A", "Z"))      // waits for Z
		b.add(message("B", "A", "Z")) // waits for both
		b.add(message("C", "gone"))   // its sibling has left the spool
		b.add(message("Q", "P"))      // its sibling is paused
		b.add(message("Z"))
		wake, stop := run(t, b, &pageStore{pages: [][]directory.User{kims(1)}})
		synctest.Wait()
		if got := b.ended(); got != "Expanded C" {
			t.Errorf("while Z expands: %s", got)
		}
		close(hold)
		synctest.Wait()
		if got := b.ended(); got != "Expanded C, Expanded Z, Expanded A, Expanded B" {
			t.Errorf("then: %s", got)
		}
		b.of("P").mu.Lock()
		b.of("P").msg.State = mail.Expanding
		b.of("P").mu.Unlock()
		wake <- struct{}{}
		synctest.Wait()
		if got := b.ended(); !strings.HasSuffix(got, "Expanded P, Expanded Q") {
			t.Errorf("after the resume: %s", got)
		}
		stop()
	})
}

func TestRunnerTriesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var tries []time.Duration
		b := &board{fail: errors.New("unreadable")}
		b.hook = func(id mail.ID, call string) error {
			if id == "A" && call == "AddCopies 1" {
				if tries = append(tries, time.Since(began)); len(tries) <= 3 {
					return errors.New("the disk is full")
				}
			}
			return nil
		}
		b.add(message("A"))
		b.add(message("B"))
		wake, stop := run(t, b, &pageStore{pages: [][]directory.User{kims(1), kims(2)}})
		<-time.After(2 * time.Second)
		wake <- struct{}{} // a wake-up does not shorten a delay
		<-time.After(28 * time.Second)
		synctest.Wait()
		if got := b.ended(); got != "Expanded B, Expanded A" {
			t.Error(got)
		}
		if len(tries) != 5 { // the fifth call is the second page's
			t.Fatalf("%d tries", len(tries))
		}
		for i, full := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second} {
			if gap := tries[i+1] - tries[i]; gap < full*8/10 || gap > full {
				t.Errorf("try %d came after %s", i+1, gap)
			}
		}
		stop()
	})
}

func TestRunnerForgetsWhatIsCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		b := &board{}
		b.hook = func(mail.ID, string) error { tries++; return errors.New("cancelled") }
		b.add(message("A"))
		wake, stop := run(t, b, &pageStore{pages: [][]directory.User{kims(1)}})
		synctest.Wait()
		b.mu.Lock()
		clear(b.queues)
		b.mu.Unlock()
		wake <- struct{}{}
		<-time.After(time.Hour)
		if tries != 1 {
			t.Errorf("%d tries", tries)
		}
		stop()
	})
}

// A cancelled message gives its place to others, though the directory is away.
func TestRunnerLetsGoOfWhatIsCancelledWhileItWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, s := &board{}, &pageStore{pages: [][]directory.User{kims(1)}}
		away := true
		s.before = func(string) error {
			if away {
				return &mail.Error{Class: mail.Unreachable, Public: "no route", RetryAfter: 24 * time.Hour}
			}
			return nil
		}
		for _, id := range []string{"A", "B", "C", "D"} {
			b.add(message(id))
		}
		wake, stop := run(t, b, s)
		synctest.Wait()
		away = false
		b.add(message("E"))
		wake <- struct{}{}
		synctest.Wait()
		if got := b.ended(); got != "" {
			t.Errorf("while all places are taken: %s", got)
		}
		b.mu.Lock()
		delete(b.queues, "B")
		b.mu.Unlock()
		wake <- struct{}{}
		synctest.Wait()
		if got := b.ended(); got != "Expanded E" {
			t.Errorf("after the cancel: %s", got)
		}
		stop()
	})
}

func TestRunnerStopsPromptly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &board{}
		b.add(message("A"))
		_, stop := run(t, b, &pageStore{before: func(string) error {
			return &mail.Error{Class: mail.Permanent, Public: "the table User does not exist"}
		}})
		synctest.Wait()
		if got := b.of("A").stored().Reason; !strings.Contains(got, "the table User does not exist; trying again in 1m") {
			t.Errorf("people read %q", got)
		}
		began := time.Now()
		stop()
		if time.Since(began) != 0 {
			t.Errorf("it took %s", time.Since(began))
		}
	})
}
