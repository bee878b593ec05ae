package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"postern/admin"
	"postern/directory"
	"postern/directory/mysqlsync"
	"postern/directory/staging"
	"postern/expand"
)

// syncing is the sync from MySQL over open files. Close ends a pass that is under way, and
// waits for it.
type syncing struct {
	*mysqlsync.Syncer
	state  *mysqlsync.State
	table  *lateTable
	bucket *staging.Bucket // of the first load; nil without s3_bucket

	ctx  context.Context // of every pass
	end  context.CancelFunc
	mu   sync.Mutex
	busy sync.WaitGroup // passes that were asked for
	done bool           // no more of them
}

// openSync opens the sync of the configuration; MySQL itself is first asked by a pass.
func openSync(cfg *Config, store directory.Store, index *directory.Index, learn func(map[string]string) error, log *slog.Logger) (*syncing, error) {
	table, err := cfg.syncTable(learn, log)
	if err != nil {
		return nil, err
	}
	state, err := mysqlsync.Open(filepath.Join(cfg.DataDir, "sync.db"))
	if err != nil {
		return nil, err
	}
	s := &syncing{state: state, table: table}
	s.ctx, s.end = context.WithCancel(context.Background())
	if s.bucket, err = cfg.staging(store, log); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	var bucket mysqlsync.Staging // nil where there is none, not a nil *Bucket
	if s.bucket != nil {
		bucket = s.bucket
	}
	s.Syncer, err = mysqlsync.New(mysqlsync.Config{
		Source: table, Store: store, Index: index, State: state, Staging: bucket,
		Origin: table.origin, Shape: cfg.syncShape(),
		Chunk: cfg.Sync.Chunk, Overlap: cfg.Sync.Overlap, Tripwire: cfg.Sync.Tripwire,
		Rejects: cfg.syncRejects(), Learn: learn, Log: log,
	})
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// staging is where the chunks of a first load lie; nil without s3_bucket. A DynamoDB without
// the table makes it of them.
func (c *Config) staging(store directory.Store, log *slog.Logger) (*staging.Bucket, error) {
	if c.Sync.S3Bucket == "" {
		return nil, nil
	}
	table, _ := store.(staging.Table) // the embedded directory is none
	region, _ := c.sesPlace()
	b, err := staging.New(context.Background(), staging.Config{
		Bucket: c.Sync.S3Bucket, Region: cmp.Or(c.Directory.DynamoDB.Region, region), Endpoint: c.Templates.S3Endpoint, Table: table, Log: log,
	})
	if err != nil {
		return nil, fmt.Errorf("sync.s3_bucket: %w", err)
	}
	return b, nil
}

// syncRejects is the file that names the rows that are no users.
func (c *Config) syncRejects() string { return filepath.Join(c.DataDir, "sync-rejects.csv") }

// syncShape names all that a user is made of: when it changes every row is read again.
func (c *Config) syncShape() string {
	s := &c.Sync
	parts := []string{"updated=" + s.Updated, "deleted=" + s.Deleted, "consent=" + s.Consent, "timezone=" + c.Timezone}
	for _, attribute := range slices.Sorted(maps.Keys(s.Columns)) {
		parts = append(parts, fmt.Sprintf("%s:%s=%s", attribute, c.Fields[attribute].Type, s.Columns[attribute]))
	}
	return strings.Join(parts, " ")
}

// syncTable is the table in MySQL, not yet opened.
func (c *Config) syncTable(learn func(map[string]string) error, log *slog.Logger) (*lateTable, error) {
	dsn, err := c.Sync.dsn()
	if err != nil {
		return nil, err
	}
	named, err := c.vocabulary(nil)
	if err != nil {
		return nil, err
	}
	s, types := &c.Sync, map[string]string{}
	for attribute := range s.Columns {
		if field, ok := named.Resolve(attribute); ok && !expand.IsBuiltIn(field) && c.Fields[field].Type != "" {
			types[attribute] = c.Fields[field].Type
		}
	}
	config := mysqlsync.TableConfig{
		DSN: dsn, CAFile: s.CAFile, Table: s.Table, Key: s.Key, Updated: s.Updated, Deleted: s.Deleted, Consent: s.Consent,
		Columns: s.Columns, Types: types, Location: c.location(), Log: log,
	}
	origin, err := config.Origin()
	if err != nil {
		return nil, err
	}
	return &lateTable{origin: origin, learn: learn, log: log, warned: map[string]bool{}, open: func(ctx context.Context) (openTable, error) {
		t, err := mysqlsync.OpenTable(ctx, config)
		if err != nil {
			return nil, err // not a nil *Table
		}
		return t, nil
	}}, nil
}

// Run makes a pass until ctx ends or the sync is closed.
func (s *syncing) Run(ctx context.Context, o mysqlsync.Options, progress func(mysqlsync.Report)) (mysqlsync.Report, error) {
	s.mu.Lock()
	if s.done {
		s.mu.Unlock()
		return mysqlsync.Report{}, context.Canceled
	}
	s.busy.Add(1)
	s.mu.Unlock()
	defer s.busy.Done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	return s.Syncer.Run(ctx, o, progress)
}

// finish ends the passes that were asked for: each stops between two chunks, and the next
// one goes on there.
func (s *syncing) finish() {
	s.mu.Lock()
	s.done = true
	s.mu.Unlock()
	s.end()
	s.busy.Wait()
}

// Close ends all and closes the file of the state.
func (s *syncing) Close() error {
	s.finish()
	err := errors.Join(s.table.Close(), s.state.Close())
	if s.bucket != nil {
		err = errors.Join(err, s.bucket.Close())
	}
	return err
}

// serve lets the API make passes.
func (s *syncing) serve(api *admin.API, every time.Duration) {
	api.Sync, api.SyncStatus, api.SyncEvery = s.Run, s.Status, every
}

// lateness is how the sync is behind; no words: it is not.
type lateness struct {
	words string
	since time.Time
}

// watchSync warns when the last good pass is long ago, once until there is a good one, and
// keeps that for whoever tells the operator.
func (a *App) watchSync(ctx context.Context) {
	began := time.Now()
	tick := time.NewTicker(min(time.Minute, a.cfg.Sync.Interval))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		status, err := a.sync.Status()
		if err != nil {
			a.log.Error("the state of the sync cannot be read", "error", err)
			continue
		}
		was, is := a.syncLate.Load(), lateness{}
		if admin.SyncLate(&status, a.cfg.Sync.Interval, began, time.Now()) {
			is = lateness{"no pass has ended", status.Good}
			if status.Last != nil && status.Last.Error != "" {
				is.words = status.Last.Error
			}
			if was == nil || was.words == "" {
				a.log.Warn("no sync from MySQL has ended well for three intervals: the directory is behind; `postern sync status` says more", "why", is.words)
			}
		}
		a.syncLate.Store(&is)
	}
}

// syncTrouble is what the operator is told of the sync.
func (a *App) syncTrouble() (words string, since time.Time) {
	if l := a.syncLate.Load(); l != nil {
		return l.words, l.since
	}
	return "", time.Time{}
}
