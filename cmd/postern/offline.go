package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"sync"

	"postern/admin"
	"postern/directory"
	"postern/directory/mysqlsync"
	"postern/expand"
	"postern/mail"
	"postern/relay"
	"postern/spool"
)

// openOffline is the administrators' API over the files of a gateway that does
// not run: the same handler, under the files' locks. Close the closer when done.
func openOffline(cfg *Config, log *slog.Logger) (http.Handler, io.Closer, error) {
	o := &offline{cfg: cfg}
	if err := makeDataDir(cfg.DataDir, os.Geteuid()); err != nil {
		return nil, nil, err
	}
	if err := o.open(log); err != nil {
		return nil, nil, dataProblem(cfg.DataDir, errors.Join(err, o.Close()))
	}
	keyring, err := openKeyring(cfg, o.spool, o.index)
	if err != nil {
		return nil, nil, dataProblem(cfg.DataDir, errors.Join(err, o.Close()))
	}
	api := newAPI(o.spool, o.store, o.index, newRenderer(cfg, o.spool, keyring).preview, log)
	api.Compact = o.compact
	known := func() (*expand.Fields, error) { return cfg.fields(o.index) }
	newConsents(cfg, o.spool, o.index, o.store, keyring, log).serve(api, known)
	cfg.serveLists(api, o.index, known)
	fields, err := cfg.fields(o.index)
	if err != nil {
		return nil, nil, errors.Join(err, o.Close())
	}
	cfg.vocabularyOf(api, fields)
	o.serveSync(api, log)
	if err := idleLanes(api, cfg, o.spool); err != nil {
		return nil, nil, errors.Join(err, o.Close())
	}
	return api.Handler(), o, nil
}

// idleLanes lets the API tell of lanes at which nothing works, and change what they will
// be when the gateway runs.
func idleLanes(api *admin.API, cfg *Config, s *spool.Spool) error {
	c := relay.Config{Spool: s}
	for i := range cfg.Lanes {
		c.Lanes = append(c.Lanes, relay.LaneConfig{Name: cfg.Lanes[i].Name, Driver: cfg.Lanes[i].Driver, Concurrency: 1, Rate: cfg.Lanes[i].Rate})
	}
	idle, err := relay.New(c)
	if err != nil {
		return err
	}
	api.PauseLane, api.ResumeLane = idle.PauseLane, idle.ResumeLane
	api.Lanes = func() []relay.LaneStatus {
		lanes := idle.Lanes()
		for i := range lanes {
			if lanes[i].State == "running" {
				lanes[i].State = "stopped" // the gateway does not run
			}
		}
		return lanes
	}
	return nil
}

// offline is what openOffline has opened.
type offline struct {
	cfg   *Config
	spool *spool.Spool
	index *directory.Index
	store directory.Store

	mu   sync.Mutex
	sync *syncing // opened when it is asked for
}

func (o *offline) open(log *slog.Logger) (err error) {
	if o.spool, err = openSpool(o.cfg, log); err != nil {
		return err
	}
	if o.index, err = openIndex(o.cfg); err != nil {
		return err
	}
	o.store, err = openStore(o.cfg, log)
	return err
}

// serveSync lets the API make passes, and opens the sync for the first of its questions:
// other commands have no use for it, nor for the file with the secret.
func (o *offline) serveSync(api *admin.API, log *slog.Logger) {
	if !o.cfg.Sync.on() {
		return
	}
	open := func() (*syncing, error) {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.sync != nil {
			return o.sync, nil
		}
		s, err := openSync(o.cfg, o.store, o.index, o.index.Learn, log)
		if err != nil {
			return nil, &mail.Error{Class: mail.Permanent, Err: err, Public: err.Error()} // the one who asks has the files
		}
		o.sync = s
		return s, nil
	}
	api.Sync = func(ctx context.Context, how mysqlsync.Options, progress func(mysqlsync.Report)) (mysqlsync.Report, error) {
		s, err := open()
		if err != nil {
			return mysqlsync.Report{}, err
		}
		return s.Run(ctx, how, progress)
	}
	api.SyncStatus = func() (mysqlsync.Status, error) {
		s, err := open()
		if err != nil {
			return mysqlsync.Status{}, err
		}
		return s.Status()
	}
	api.SyncEvery = o.cfg.Sync.Interval
}

// compact closes the spool, which the rewriting needs; nothing else can be asked
// of this API afterwards.
func (o *offline) compact(context.Context) (before, after int64, err error) {
	if err := o.spool.Close(); err != nil {
		return 0, 0, err
	}
	return spool.Compact(o.cfg.DataDir)
}

// Close closes the files.
func (o *offline) Close() error {
	var err error
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.sync != nil {
		err = o.sync.Close()
	}
	if o.store != nil {
		err = errors.Join(err, o.store.Close())
	}
	if o.index != nil {
		err = errors.Join(err, o.index.Close())
	}
	if o.spool != nil {
		err = errors.Join(err, o.spool.Close())
	}
	return err
}
