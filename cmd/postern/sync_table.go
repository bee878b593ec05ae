package main

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"postern/directory/mysqlsync"
	"postern/mail"
)

// openTable is a table that answers.
type openTable interface {
	mysqlsync.Source
	Fields() map[string]string
	Warnings() []string
	Close() error
}

// idleTable is how long a table stays open after it was last asked: between two passes
// nothing is connected, and each one checks the columns anew.
const idleTable = 30 * time.Second

// lateTable is the table in MySQL, opened when it is asked and closed when it is not. So a
// MySQL that is away stops no start, and a pass alone.
type lateTable struct {
	origin string // which table it is
	open   func(context.Context) (openTable, error)
	learn  func(map[string]string) error
	log    *slog.Logger

	mu     sync.Mutex
	table  openTable // nil: closed
	users  int       // calls under way
	idle   *time.Timer
	warned map[string]bool // what the log has
	closed bool
}

// answer calls f with the open table.
func answer[T any](ctx context.Context, l *lateTable, f func(openTable) (T, error)) (T, error) {
	t, err := l.take(ctx)
	if err != nil {
		var none T
		return none, err
	}
	got, err := f(t)
	l.giveBack(err != nil && ctx.Err() == nil && mail.ClassOf(err) == mail.Permanent)
	return got, err
}

// take opens the table where it is closed.
func (l *lateTable) take(ctx context.Context) (openTable, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, context.Canceled
	}
	if l.table == nil {
		t, err := l.open(ctx)
		if err != nil {
			return nil, err
		}
		l.table = t
		l.opened()
	}
	if l.idle != nil {
		l.idle.Stop()
	}
	l.users++
	return l.table, nil
}

// opened takes note of what the table is like.
func (l *lateTable) opened() {
	if err := l.learn(l.table.Fields()); err != nil {
		l.log.Warn("the columns of MySQL could not be remembered as fields", "error", err)
	}
	for _, words := range l.table.Warnings() {
		if !l.warned[words] {
			l.warned[words] = true
			l.log.Warn(words)
		}
	}
}

// giveBack ends a call; a table that is no more as it was is opened anew by the next.
func (l *lateTable) giveBack(stale bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.users--
	if l.users > 0 {
		return
	}
	if stale || l.closed {
		_ = l.shut() // nothing was written
		return
	}
	l.idle = time.AfterFunc(idleTable, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.users == 0 {
			_ = l.shut()
		}
	})
}

func (l *lateTable) shut() error {
	t := l.table
	l.table = nil
	if t == nil {
		return nil
	}
	return t.Close()
}

// Close closes the table; whoever is being answered is the last.
func (l *lateTable) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.idle != nil {
		l.idle.Stop()
	}
	if l.users > 0 {
		return nil
	}
	return l.shut()
}

// The methods of [mysqlsync.Source].

func (l *lateTable) ByKey(ctx context.Context, after string, limit int) ([]mysqlsync.Row, error) {
	return answer(ctx, l, func(t openTable) ([]mysqlsync.Row, error) { return t.ByKey(ctx, after, limit) })
}

func (l *lateTable) Changed(ctx context.Context, after mysqlsync.Mark, limit int) ([]mysqlsync.Row, error) {
	return answer(ctx, l, func(t openTable) ([]mysqlsync.Row, error) { return t.Changed(ctx, after, limit) })
}

func (l *lateTable) Undated(ctx context.Context, after string, limit int) ([]mysqlsync.Row, error) {
	return answer(ctx, l, func(t openTable) ([]mysqlsync.Row, error) { return t.Undated(ctx, after, limit) })
}

func (l *lateTable) Lookup(ctx context.Context, keys []string) ([]mysqlsync.Row, error) {
	return answer(ctx, l, func(t openTable) ([]mysqlsync.Row, error) { return t.Lookup(ctx, keys) })
}

func (l *lateTable) Now(ctx context.Context) (time.Time, error) {
	return answer(ctx, l, func(t openTable) (time.Time, error) { return t.Now(ctx) })
}

func (l *lateTable) Newest(ctx context.Context) (time.Time, error) {
	return answer(ctx, l, func(t openTable) (time.Time, error) { return t.Newest(ctx) })
}

func (l *lateTable) Count(ctx context.Context) (int64, error) {
	return answer(ctx, l, func(t openTable) (int64, error) { return t.Count(ctx) })
}
