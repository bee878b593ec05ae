package mysqlsync

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"postern/directory"
	"postern/mail"
)

// ErrRunning says that a pass is under way: there is one at a time.
var ErrRunning = errors.New("a sync is already running: `postern sync status` shows how far it is")

// ErrTripwire is wrapped by the error of a pass that would take out, unsubscribe or move too many.
var ErrTripwire = errors.New("too many would be taken out, unsubscribed or moved to another address")

// Config is what a Syncer works with.
type Config struct {
	Source Source
	Store  directory.Store
	Index  *directory.Index
	State  *State

	Origin string // names the table and its key: a state is of one origin for ever
	Shape  string // names the columns: when it changes everything is read again

	Chunk    int           // rows read and written at a time; 0: 1000
	Overlap  time.Duration // how far before the last mark a pass begins
	Tripwire float64       // share of the known users that may go at once, 0 to 1
	Rejects  string        // path of the file that names the rows set aside; "": none

	Staging Staging // nil: a first load goes straight into the directory
	// Learn is told of the attributes and their types, as with Index.Learn; may be nil.
	Learn func(map[string]string) error
	Log   *slog.Logger
}

// Syncer makes passes, one at a time. It is used from many goroutines.
type Syncer struct {
	cfg Config

	running sync.Mutex // held by the pass

	mu   sync.Mutex
	now  *Report // of the pass under way
	next time.Time
}

// New checks the configuration.
func New(cfg Config) (*Syncer, error) {
	if cfg.Source == nil || cfg.Store == nil || cfg.Index == nil || cfg.State == nil {
		return nil, errors.New("a sync needs a source, a store, an index and a state")
	}
	if cfg.Chunk <= 0 {
		cfg.Chunk = 1000
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Syncer{cfg: cfg}, nil
}

// Run makes a pass, or a dry one, and gives its report, also with an error. progress,
// which may be nil, is called with the report so far about once a second and at its end.
// [ErrRunning] when another is under way.
func (s *Syncer) Run(ctx context.Context, o Options, progress func(Report)) (Report, error) {
	if !s.running.TryLock() {
		return Report{}, ErrRunning
	}
	defer s.running.Unlock()
	at, err := s.cfg.State.place()
	if err != nil {
		return Report{}, err
	}
	switch {
	case at.Start == nil: // nothing was read yet
		at.Origin = s.cfg.Origin
	case at.Origin != s.cfg.Origin:
		return Report{}, mail.Refuse(0, "", "the state of the sync is of %s, and the configuration names %s: "+
			"go back to that table, or take the file sync.db away, and everything is loaded anew", at.Origin, s.cfg.Origin)
	}
	p := &pass{s: s, o: o, at: at, told: progress}
	p.report = Report{Kind: p.kind(), DryRun: o.DryRun, Began: time.Now().UTC(), Samples: map[string][]Sample{}}
	p.show(true)
	err = p.run(ctx)
	return p.end(err)
}

// Status says how the sync stands.
func (s *Syncer) Status() (Status, error) {
	at, err := s.cfg.State.place()
	if err != nil {
		return Status{}, err
	}
	st := Status{Last: at.Last, Good: at.Good, Loaded: at.Loaded, Mark: at.Mark, Users: at.Users}
	if st.Aside, err = s.cfg.State.count(asideBucket); err != nil {
		return Status{}, err
	}
	if st.Aside > 0 {
		st.Rejects = s.cfg.Rejects
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now != nil {
		now := *s.now
		st.Running = &now
	}
	st.Next = s.next
	return st, nil
}

// firstRetry is how long the loop waits after a pass that failed, the first time.
const firstRetry = time.Minute

// Loop makes a pass when the last good one began an interval ago, and then every interval,
// until ctx ends. One that fails is logged and tried again after a minute, then ever
// later up to the interval.
func (s *Syncer) Loop(ctx context.Context, interval time.Duration) {
	wait, retry := s.untilDue(interval), firstRetry
	for {
		s.setNext(time.Now().Add(wait))
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		_, err := s.Run(ctx, Options{}, nil)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil || errors.Is(err, ErrRunning):
			wait, retry = interval, firstRetry
		default:
			s.cfg.Log.Error("the sync from MySQL failed and is tried again", "error", err, "after", min(retry, interval))
			wait, retry = min(retry, interval), min(2*retry, interval)
		}
	}
}

func (s *Syncer) untilDue(interval time.Duration) time.Duration {
	at, err := s.cfg.State.place()
	if err != nil || !at.Loaded {
		return 0
	}
	return min(max(0, interval-time.Since(at.Good)), interval)
}

func (s *Syncer) setNext(at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next = at.UTC()
}
