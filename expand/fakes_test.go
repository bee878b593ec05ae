package expand_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"postern/directory"
	"postern/expand"
	"postern/mail"
)

// quiet is a logger for tests that do not look at the log.
func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// kim is a subscribed user with a name.
func kim(email, name string) directory.User {
	return directory.User{Email: mail.Address(email), Subscribed: true, Attributes: map[string]any{"Name": name}}
}

// kims are n subscribed users, u0@example.com and so on.
func kims(n int) []directory.User {
	var us []directory.User
	for i := range n {
		us = append(us, kim(fmt.Sprintf("u%d@example.com", i), fmt.Sprintf("Kim %d", i)))
	}
	return us
}

// pageStore is a directory whose pages a test has written. Its checkpoints are
// page numbers.
type pageStore struct {
	directory.Store // the writing methods, which expansion never calls
	pages           [][]directory.User
	// before is asked at each call ("Scan 0", "GetMany"); its error is returned.
	before func(call string) error

	mu   sync.Mutex
	asks []int // how many keys each GetMany had
}

func (s *pageStore) Scan(_ context.Context, from directory.Checkpoint) (directory.Page, error) {
	n := 0
	if from != nil {
		var err error
		if n, err = strconv.Atoi(string(from)); err != nil {
			return directory.Page{}, &mail.Error{Class: mail.Permanent, Public: "a strange checkpoint"}
		}
	}
	if s.before != nil {
		if err := s.before(fmt.Sprintf("Scan %d", n)); err != nil {
			return directory.Page{}, err
		}
	}
	if n >= len(s.pages) {
		return directory.Page{}, nil
	}
	page := directory.Page{Users: s.pages[n]}
	if n+1 < len(s.pages) {
		page.Next = directory.Checkpoint(strconv.Itoa(n + 1))
	}
	return page, nil
}

func (s *pageStore) GetMany(_ context.Context, keys []mail.Address) ([]directory.User, error) {
	if s.before != nil {
		if err := s.before("GetMany"); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	s.asks = append(s.asks, len(keys))
	s.mu.Unlock()
	var found []directory.User
	for _, p := range slices.Backward(s.pages) {
		for _, u := range p {
			if slices.Contains(keys, u.Email) {
				found = append(found, u)
			}
		}
	}
	return found, nil
}

// memQueue is the spool's side of expansion in memory: what it holds survives a
// crash of the expander. It refuses what the contract of expand.Queue forbids.
type memQueue struct {
	// hook is called around each change with its name; an error before it keeps
	// the change from happening, one after it hides that it did.
	hook func(call string, done bool) error

	mu      sync.Mutex
	msg     mail.Message
	copies  []mail.Copy
	reasons []string
	calls   []string
}

func (q *memQueue) change(ctx context.Context, call string, fn func() error) error {
	if q.hook != nil {
		if err := q.hook(call, false); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	q.mu.Lock()
	q.calls = append(q.calls, call)
	err := fn()
	q.mu.Unlock()
	if err == nil && q.hook != nil {
		err = q.hook(call, true)
	}
	return err
}

func (q *memQueue) AddCopies(ctx context.Context, _ mail.ID, copies []mail.Copy, checkpoint []byte) error {
	return q.change(ctx, "AddCopies "+string(checkpoint), func() error {
		if q.msg.Expanded {
			return errors.New("copies after the end of the expansion")
		}
		for _, c := range copies {
			if c.State != mail.Queued && c.State != mail.Skipped {
				return fmt.Errorf("a new copy is %s", c.State)
			}
			if !slices.ContainsFunc(q.copies, func(had mail.Copy) bool { return had.Key() == c.Key() }) {
				c.Seq = uint32(len(q.copies) + 1)
				q.copies = append(q.copies, c)
			}
		}
		q.msg.Checkpoint = checkpoint
		return nil
	})
}

func (q *memQueue) Expanded(ctx context.Context, _ mail.ID, next mail.MessageState, reason string) error {
	return q.change(ctx, "Expanded", func() error {
		if q.msg.Expanded {
			return errors.New("expanded twice")
		}
		q.msg.Expanded, q.msg.State, q.msg.Reason, q.msg.Checkpoint = true, next, reason, nil
		return nil
	})
}

func (q *memQueue) Explain(ctx context.Context, _ mail.ID, reason string) error {
	return q.change(ctx, "Explain", func() error {
		q.msg.Reason = reason
		q.reasons = append(q.reasons, reason)
		return nil
	})
}

func (q *memQueue) Copies(_ mail.ID, after uint32, limit int) ([]mail.Copy, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	from := min(int(after), len(q.copies))
	return slices.Clone(q.copies[from:min(from+limit, len(q.copies))]), nil
}

func (q *memQueue) Revise(ctx context.Context, _ mail.ID, revised []mail.Copy, through uint32) error {
	return q.change(ctx, fmt.Sprintf("Revise %d", through), func() error {
		if !q.msg.Releasing {
			return errors.New("revised, and not being released")
		}
		for _, c := range revised {
			q.copies[c.Seq-1] = c
		}
		q.msg.Checkpoint = binary.BigEndian.AppendUint32(nil, through)
		return nil
	})
}

func (q *memQueue) Released(ctx context.Context, _ mail.ID) error {
	return q.change(ctx, "Released", func() error {
		if !q.msg.Releasing {
			return errors.New("released, and not being released")
		}
		q.msg.Releasing, q.msg.State, q.msg.Reason, q.msg.Checkpoint = false, mail.Sending, "", nil
		return nil
	})
}

// stored is the message as it is on disk.
func (q *memQueue) stored() mail.Message {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.msg
}

// resume is the operator's `queue resume` of a held message.
func (q *memQueue) resume() mail.Message {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.msg.Releasing, q.msg.Checkpoint = true, nil
	return q.msg
}

// table is what each copy has become, a line to a copy: address state values words.
func (q *memQueue) table() string {
	q.mu.Lock()
	defer q.mu.Unlock()
	var b strings.Builder
	for _, c := range q.copies {
		fmt.Fprintf(&b, "%s %s %q", c.To, c.State, c.Values)
		if c.LastError != "" {
			b.WriteString(" " + c.LastError)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

const testID = mail.ID("01JD0000000000000000000001")

// promo is an expanding message to the list promo that greets by Name, without a
// fallback, and is sent at once.
func promo() mail.Message {
	return mail.Message{ID: testID, State: mail.Expanding, Fields: []string{"Name"}, Required: []bool{true},
		List: &mail.ListPolicy{ID: "promo", Name: "Promotions", Missing: "hold", Release: "immediate"}}
}

// testFields is the vocabulary of the shipped configuration.
func testFields(t testing.TB) *expand.Fields {
	t.Helper()
	f, err := expand.NewFields(map[string]expand.FieldDef{
		"Name":       {Type: "string", Alias: []string{"이름", "성함"}},
		"Gender":     {Type: "string"},
		"CreateTime": {Type: "number"},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// newExpander is an Expander over pages, and the queue that it fills for m.
func newExpander(t testing.TB, m mail.Message, pages ...[]directory.User) (*expand.Expander, *memQueue, *pageStore) {
	t.Helper()
	q, s := &memQueue{msg: m}, &pageStore{pages: pages}
	return &expand.Expander{Store: s, Queue: q, Fields: testFields(t), Log: quiet()}, q, s
}

// expanderAndParts is an Expander with the parts that a test made for it.
type expanderAndParts struct {
	*expand.Expander
	queue *memQueue
	store *pageStore
}
