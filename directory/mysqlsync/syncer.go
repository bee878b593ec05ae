package mysqlsync

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"postern/directory"
)

// ErrRunning says that a pass is under way: there is one at a time.
var ErrRunning = errors.New("a sync is already running: `postern sync status` shows how far it is")

// Config is what a Syncer works with.
type Config struct {
	Source Source
	Store  directory.Store
	Index  *directory.Index
	State  *State

	Chunk    int           // rows read and written at a time
	Overlap  time.Duration // how far before the last mark a pass begins
	Tripwire float64       // share of the known users, 0 to 1
	Lists    []string      // ids of all lists: a consent is to all of them
	Rejects  string        // path of the file that names the rows set aside; "": none

	Staging Staging // nil: a first load goes straight into the directory
	// Learn is told of the attributes and their types, as with Index.Learn; may be nil.
	Learn func(map[string]string) error
	Log   *slog.Logger
}

// Syncer makes passes, one at a time. It is used from many goroutines.
type Syncer struct {
	cfg Config
}

// New checks the configuration.
func New(cfg Config) (*Syncer, error) { return &Syncer{cfg: cfg}, nil }

// Run makes a pass, or a dry one, and gives its report, also with an error. progress,
// which may be nil, is called with the report so far about once a second and at its end.
// [ErrRunning] when another is under way.
func (s *Syncer) Run(ctx context.Context, o Options, progress func(Report)) (Report, error) {
	return Report{}, errors.New("not built yet")
}

// Status says how the sync stands.
func (s *Syncer) Status() (Status, error) { return Status{}, errors.New("not built yet") }

// Loop makes a pass at once and then every interval until ctx ends. A pass that fails is
// logged and tried again after a minute, then ever later up to the interval.
func (s *Syncer) Loop(ctx context.Context, interval time.Duration) {}

// State is the local file with what was last seen of each row.
type State struct{}

// Open opens or makes the file at path; one process at a time has it.
func Open(path string) (*State, error) { return nil, errors.New("not built yet") }

// Close closes the file.
func (s *State) Close() error { return nil }
