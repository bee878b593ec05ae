package main_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"maps"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	postern "postern/cmd/postern"
	"postern/directory/mysqlsync"
	"postern/mail"
)

// fakeTable is a table whose questions a test answers.
type fakeTable struct {
	mysqlsync.Source
	closed atomic.Int32
	count  func() (int64, error)
}

func (f *fakeTable) Fields() map[string]string { return map[string]string{"Grade": "number"} }
func (f *fakeTable) Warnings() []string        { return []string{"there is no index on update_at"} }
func (f *fakeTable) Close() error              { f.closed.Add(1); return nil }
func (f *fakeTable) Count(context.Context) (int64, error) {
	if f.count != nil {
		return f.count()
	}
	return 7, nil
}

func TestTheTableIsOpenWhileItIsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		learnt := map[string]string{}
		var opened []*fakeTable
		away := errors.New("MySQL is away")
		table := postern.NewLateTable(func(context.Context) (postern.OpenTable, error) {
			if away != nil {
				return nil, away
			}
			opened = append(opened, &fakeTable{})
			return opened[len(opened)-1], nil
		}, func(fields map[string]string) error { maps.Copy(learnt, fields); return nil }, slog.New(slog.NewTextHandler(&log, nil)))
		ask := func() error {
			n, err := table.Count(t.Context())
			if err == nil && n != 7 {
				t.Errorf("it says %d", n)
			}
			return err
		}
		if err := ask(); !errors.Is(err, away) {
			t.Errorf("while MySQL is away: %v", err)
		}
		away = nil
		for range 3 {
			if err := ask(); err != nil {
				t.Fatal(err)
			}
			<-time.After(20 * time.Second)
		}
		if len(opened) != 1 || opened[0].closed.Load() != 0 || learnt["Grade"] != "number" {
			t.Fatalf("opened %d times, closed %d, learnt %v", len(opened), opened[0].closed.Load(), learnt)
		}
		<-time.After(time.Minute) // the pass has ended
		synctest.Wait()
		if opened[0].closed.Load() != 1 {
			t.Error("it is connected while nobody asks")
		}
		if err := ask(); err != nil || len(opened) != 2 {
			t.Errorf("opened %d times: %v", len(opened), err)
		}
		opened[1].count = func() (int64, error) { return 0, mail.Refuse(0, "", "there is no column name any more") }
		if err := ask(); err == nil || opened[1].closed.Load() != 1 {
			t.Errorf("a table that has changed stays open: %v", err)
		}
		if err := ask(); err != nil || len(opened) != 3 {
			t.Errorf("opened %d times: %v", len(opened), err)
		}
		if n := strings.Count(log.String(), "no index"); n != 1 {
			t.Errorf("it warns %d times", n)
		}
		if err := table.Close(); err != nil || opened[2].closed.Load() != 1 {
			t.Error(err)
		}
		if err := ask(); !errors.Is(err, context.Canceled) || len(opened) != 3 {
			t.Errorf("it is opened after its end: %v", err)
		}
	})
}

// TestATableIsNotClosedUnderAQuestion: whoever is being answered gets the answer.
func TestATableIsNotClosedUnderAQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked, let := make(chan struct{}), make(chan struct{})
		f := &fakeTable{count: func() (int64, error) { close(asked); <-let; return 7, nil }}
		table := postern.NewLateTable(func(context.Context) (postern.OpenTable, error) { return f, nil }, func(map[string]string) error { return nil }, slog.New(slog.DiscardHandler))
		got := make(chan error)
		go func() { _, err := table.Count(t.Context()); got <- err }()
		<-asked
		<-time.After(time.Hour)
		if err := table.Close(); err != nil || f.closed.Load() != 0 {
			t.Errorf("closed %d times: %v", f.closed.Load(), err)
		}
		close(let)
		if err := <-got; err != nil || f.closed.Load() != 1 {
			t.Errorf("closed %d times: %v", f.closed.Load(), err)
		}
	})
}
