package mysqlsync

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

// TableConfig names the table and its columns, as section [sync] has them.
type TableConfig struct {
	DSN      string // of go-sql-driver/mysql
	CAFile   string // authorities of the server's certificate; "": as the DSN says
	Table    string // may be "database.table", and a view
	Key      string
	Updated  string
	Deleted  string            // "": none
	Consent  string            // "": none
	Columns  map[string]string // attribute to column; Email is needed
	Types    map[string]string // attribute to "string", "number" or "bool", where [fields] says so
	Location *time.Location    // of DATETIME columns, which have no time zone of their own
	Log      *slog.Logger
}

// Table is the table in MySQL 8 or MariaDB. It implements [Source].
type Table struct{}

// OpenTable connects and checks that the table is as the configuration says: a Permanent error
// names every column that is not there, with those that are, and a key that is not
// unique.
func OpenTable(ctx context.Context, cfg TableConfig) (*Table, error) {
	return nil, errors.New("not built yet")
}

// Fields gives the mapped attributes and their types, "string", "number" or "bool".
func (t *Table) Fields() map[string]string { return nil }

// Warnings says what is worth mending and stops nothing: no index on the column of changes,
// times without their microseconds, a user who may write.
func (t *Table) Warnings() []string { return nil }

// Close ends the connections.
func (t *Table) Close() error { return nil }
