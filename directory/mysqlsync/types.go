package mysqlsync

import (
	"context"
	"time"

	"postern/directory"
	"postern/mail"
)

// Row is a row of the table.
type Row struct {
	Key     string    // the key column as text; bytes that are no text in hex
	Updated time.Time // zero: NULL, or MySQL's zero date
	// User has the mapped columns: Email as it is written there, Subscribed, Unknown (the
	// column holds neither yes nor no), and a value for each other mapped attribute, nil
	// for NULL. Whether SubscriptionStatus is mapped at all is KeepStatus.
	User    directory.User
	Deleted bool
	Consent time.Time // zero: none, or no such column
	// Problem is why the row is no user ("email is empty"); of User only the status is to be used
	// then.
	Problem string
	Email   string // the address as the column has it, for people
}

// Mark is a place in the order of changes: the last row that was read.
type Mark struct {
	Updated time.Time
	Key     string
}

// Source is the table, read only. Every method gives at most limit rows and says by an
// empty slice that there are no more. Rows come with their values at the moment of
// the call, never from a longer transaction. Errors are Temporary, but for what an
// operator has to mend.
type Source interface {
	// ByKey reads the rows behind the key, in the order of keys; "" is the start.
	ByKey(ctx context.Context, after string, limit int) ([]Row, error)
	// Changed reads the rows behind the mark, in the order of (Updated, Key). A Mark without
	// a key is before all rows of that time.
	Changed(ctx context.Context, after Mark, limit int) ([]Row, error)
	// Undated reads the rows whose Updated is zero, behind the key: no order of changes
	// has them.
	Undated(ctx context.Context, after string, limit int) ([]Row, error)
	// Lookup reads these rows; those that are gone are left out.
	Lookup(ctx context.Context, keys []string) ([]Row, error)
	// Now is the time by the server's clock and in its column of changes: what a row would get
	// that is changed now.
	Now(ctx context.Context) (time.Time, error)
	// Newest is the greatest Updated of all rows; zero when none has any.
	Newest(ctx context.Context) (time.Time, error)
	// Count is how many rows there are, about.
	Count(ctx context.Context) (int64, error)
}

// Staging is a place for the chunks of a first load between MySQL and the directory.
type Staging interface {
	// Missing says that the directory's table is not there, and Import would make it.
	Missing(ctx context.Context) (bool, error)
	// Stage writes a chunk, whole or not at all, over one of the same name.
	Stage(ctx context.Context, name string, users []directory.User) error
	// Chunk reads it back.
	Chunk(ctx context.Context, name string) ([]directory.User, error)
	// Import makes the directory's table of all chunks whose names begin with prefix, and
	// returns when it is ready; false when there is a table already. Called again after a
	// crash it waits for the one that is under way. progress says how many of the items,
	// as far as is known.
	Import(ctx context.Context, prefix string, progress func(items int64)) (bool, error)
	// Drop removes the chunks whose names begin with prefix.
	Drop(ctx context.Context, prefix string) error
}

// The kinds of pass.
const (
	FirstLoad   = "first load"
	Incremental = "changes"
	Reconcile   = "reconcile"
)

// Options is what one pass is asked for.
type Options struct {
	DryRun    bool // nothing is written, neither here nor in the directory
	Reconcile bool // read everything, and find what is gone
	Force     bool // over the tripwire
	Strangers bool // with Reconcile: also take out the users whom no row has brought
}

// Counts is what a pass has done, or a dry run would do. A row counts in one of New, Changed, Same,
// Gone, Bad; and besides in those behind them. One that is Bad may be Unsubscribed.
type Counts struct {
	Read    int `json:"read"`    // rows, again when they were read again
	New     int `json:"new"`     // users that the directory was not known to have from here
	Changed int `json:"changed"` // of attributes, status or address
	Same    int `json:"same"`
	Gone    int `json:"gone"` // taken out of the directory
	Bad     int `json:"bad"`  // set aside

	Moved        int `json:"moved"`        // changed, and to another address
	Unsubscribed int `json:"unsubscribed"` // changed or bad, and not subscribed any more
	Subscribed   int `json:"subscribed"`   // changed, and subscribed again
	Kept         int `json:"kept"`         // subscribed in MySQL, and left here: they stay away
	Back         int `json:"back"`         // had left all lists here, and a later consent undoes that
	Consents     int `json:"consents"`     // that were news
	Strangers    int `json:"strangers"`    // users of the directory whom no row has brought; a reconcile looks for them
	Missing      int `json:"missing"`      // users that a sync has brought and the directory has no more, about: it was restored, or made anew
	Unknown      int `json:"unknown"`      // new or changed, and the column of the status is neither yes nor no
}

// Sample is one of the rows that a report shows.
type Sample struct {
	Key   string       `json:"key"`
	Email mail.Address `json:"email"`
	What  string       `json:"what"` // such as "was kim@example.com", "Name: 민수 -> 민지"
}

// Report is a pass, while it runs and when it has ended.
type Report struct {
	Kind    string              `json:"kind"`
	DryRun  bool                `json:"dry_run,omitempty"`
	Began   time.Time           `json:"began"`
	Ended   time.Time           `json:"ended,omitzero"`
	Step    string              `json:"step,omitempty"` // of a running one: "looking", "reading", "staging", "loading", "importing", "finding what is gone"
	Of      int64               `json:"of,omitempty"`   // rows that the step will read, about; 0: unknown
	Done    int64               `json:"done,omitempty"` // of them
	Left    time.Duration       `json:"-"`              // until the step ends, about; 0: unknown
	Counts                      // flat in JSON
	Samples map[string][]Sample `json:"samples,omitempty"` // by "new", "changed", "moved", "gone", "unsubscribed", "kept", "back", "bad", "strangers": 5 each
	// Tripwire says in a dry run that a real one would be stopped, and why.
	Tripwire string `json:"tripwire,omitempty"`
	Error    string `json:"error,omitempty"` // why it ended before its end
}

// Status is how the sync stands.
type Status struct {
	Running *Report   `json:"running,omitempty"`
	Last    *Report   `json:"last,omitempty"`    // the last one that ended, dry runs aside
	Good    time.Time `json:"good,omitzero"`     // when the last one began that ended well
	Loaded  bool      `json:"loaded"`            // the first load is done
	Mark    time.Time `json:"mark,omitzero"`     // the time of change up to which all is known
	Next    time.Time `json:"next,omitzero"`     // of the loop
	Users   int       `json:"users"`             // rows that are users
	Aside   int       `json:"aside"`             // rows that are set aside
	Rejects string    `json:"rejects,omitempty"` // the file that names them
}
