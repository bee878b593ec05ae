package mysqlsync

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"postern/directory"
)

// TableConfig names the table and its columns, as section [sync] has them.
type TableConfig struct {
	DSN      string // of go-sql-driver/mysql
	CAFile   string // PEM of who signs the server's certificate; "": the machine's own authorities, when the DSN has tls=true
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
//
// # Values
//
// An attribute is of the type that Types has for it, or else of its column's: integers,
// DECIMAL, FLOAT, DOUBLE and BIT are numbers, also the TINYINT(1) of BOOL; everything else
// is text. CreateTime is a number. NULL and zero dates are nil.
//
//   - A date or time as a number is seconds since 1970, as text "2006-01-02 15:04:05" or
//     "2006-01-02" by the clocks of Location. TIMESTAMP is a moment, DATETIME what the
//     clocks of Location showed, DATE the midnight there.
//   - JSON is what it holds, also lists and maps; a column of such is not in Fields. Where
//     Types wants a string, it is the text.
//   - BINARY and BLOB are base64 (RFC 4648 §4); as Email, a status or a number they are
//     read as text.
//   - A text that should be a number or a bool, and is not, makes the row a Problem; an
//     empty one is nil.
//
// SubscriptionStatus is yes for 1, true, yes and y, no for 0, false, no and n, in any case;
// anything else, and NULL, is Unknown and not subscribed. A row is deleted when its column
// has anything but NULL, a zero, false, no, n, a zero date and the empty text. A deleted
// row has no Problem, and its User may be without an Email.
//
// # Order
//
// Rows whose Updated is NULL, before 1970 in a TIMESTAMP (before 1000 in a DATETIME), or
// after the year 9999 have none. Integers are seconds, milliseconds or microseconds,
// by the largest there is; where some are seconds and some finer, they are seconds, and the others
// have no order. Rows with no key, or the empty text, are passed over.
type Table struct {
	cfg      TableConfig
	db       *sql.DB
	server   string // for people
	password string // to keep it out of errors
	plain    bool   // no TLS

	database, name string
	table          string // both, quoted

	key    key
	fields []field
	picks  picks

	statement string // SELECT of all columns, up to and with WHERE

	mu       sync.Mutex
	order    order // its unit may become known later
	warnings []string

	unreadable sync.Once // a consent that is no time
}

// field is a mapped attribute, but not Email and SubscriptionStatus.
type field struct {
	name string
	want string // "string", "number", "bool", or "" for JSON as it is
	pick int
}

// picks are the places of what has a meaning among the columns that are read; -1: none.
type picks struct {
	columns                                       []column
	key, updated, deleted, consent, email, status int
}

// OpenTable connects and checks that the table is as the configuration says: a Permanent error
// names every column that is not there, with those that are, a key that is not unique, and
// columns of types that cannot be what they are mapped to. No error has the password in it.
func OpenTable(ctx context.Context, cfg TableConfig) (*Table, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Location == nil {
		cfg.Location = time.UTC
	}
	if err := checkMapping(cfg.Columns); err != nil {
		return nil, err
	}
	dsn, err := readDSN(cfg.DSN, cfg.CAFile, cfg.Log)
	if err != nil {
		return nil, err
	}
	t := &Table{cfg: cfg, server: "the MySQL server at " + dsn.Addr, password: dsn.Passwd}
	if t.database, t.name, err = cfg.named(dsn); err != nil {
		return nil, err
	}
	t.table = quote(t.database) + "." + quote(t.name)
	if t.db, err = openPool(dsn); err != nil {
		return nil, err
	}
	t.plain = dsn.TLS == nil
	if err := t.open(ctx); err != nil {
		_ = t.db.Close()
		return nil, t.explain(ctx, "a look at the table", err)
	}
	t.adviseTLS(dsn)
	return t, nil
}

// checkMapping looks at the attributes alone.
func checkMapping(columns map[string]string) error {
	var wrong []string
	if columns["Email"] == "" {
		wrong = append(wrong, "sync.columns maps no column to Email")
	}
	if len(columns) > directory.MaxAttributes {
		wrong = append(wrong, fmt.Sprintf("sync.columns has %d attributes, the limit is %d", len(columns), directory.MaxAttributes))
	}
	for _, name := range slices.Sorted(maps.Keys(columns)) {
		switch {
		case name == "Email" || name == "SubscriptionStatus":
		case directory.Reserved(name) || name == directory.SuppressedAttribute || name == "":
			wrong = append(wrong, fmt.Sprintf("sync.columns maps to %q, which is not an attribute but has a meaning of its own", name))
		}
	}
	return joined(wrong)
}

func joined(wrong []string) error {
	if len(wrong) == 0 {
		return nil
	}
	return permanent(nil, "%s", strings.Join(wrong, "; "))
}

// open looks the table up and reads its first row, which shows what no catalogue does.
func (t *Table) open(ctx context.Context) error {
	if err := t.db.PingContext(ctx); err != nil {
		return err
	}
	s, err := readSchema(ctx, t.db, t.database, t.name)
	if err != nil {
		return err
	}
	if len(s.columns) == 0 { // the server says best why
		if _, err := t.db.ExecContext(ctx, "SELECT 1 FROM "+t.table+" LIMIT 0"); err != nil {
			return err
		}
		return permanent(nil, "%s shows no columns of %s: GRANT SELECT ON %s to the user of sync.dsn", t.server, t.table, t.table)
	}
	s.markJSON(ctx, t.db, t.table)
	if err := t.pick(s); err != nil {
		return err
	}
	if err := t.check(s); err != nil {
		return err
	}
	if _, err := t.ByKey(ctx, "", 1); err != nil {
		return err
	}
	t.advise(ctx, s)
	return nil
}

// pick finds the columns and writes the statement.
func (t *Table) pick(s *schema) error {
	var missing, names []string
	place := map[string]int{}
	pick := func(key, name string) int {
		c := s.column(name)
		if c == nil {
			missing = append(missing, fmt.Sprintf("%s (%s)", name, key))
			return -1
		}
		if _, ok := place[c.name]; !ok {
			place[c.name] = len(names)
			names = append(names, quote(c.name))
			t.picks.columns = append(t.picks.columns, *c)
		}
		return place[c.name]
	}
	optional := func(key, name string) int {
		if name == "" {
			return -1
		}
		return pick(key, name)
	}
	p := &t.picks
	p.key, p.updated = pick("sync.key", t.cfg.Key), pick("sync.updated", t.cfg.Updated)
	p.deleted, p.consent = optional("sync.deleted", t.cfg.Deleted), optional("sync.consent", t.cfg.Consent)
	p.status = -1
	for _, attribute := range slices.Sorted(maps.Keys(t.cfg.Columns)) {
		i := pick("sync.columns."+attribute, t.cfg.Columns[attribute])
		switch attribute {
		case "Email":
			p.email = i
		case "SubscriptionStatus":
			p.status = i
		default:
			t.fields = append(t.fields, field{name: attribute, pick: i})
		}
	}
	if len(missing) > 0 {
		return permanent(nil, "the table %s has no column %s; it has %s", t.table, strings.Join(missing, ", "), s.names())
	}
	for i := range t.fields {
		t.fields[i].want = wanted(t.fields[i].name, t.cfg.Types[t.fields[i].name], &p.columns[t.fields[i].pick])
	}
	t.key = key{column: p.columns[p.key], sql: quote(p.columns[p.key].name)}
	t.order = newOrder(p.columns[p.updated], t.cfg.Location)
	t.statement = "SELECT " + strings.Join(names, ", ") + " FROM " + t.table + " WHERE "
	return nil
}

// names are the columns that there are, for people.
func (s *schema) names() string {
	var all []string
	for _, c := range s.columns {
		all = append(all, c.name)
	}
	return strings.Join(all, ", ")
}

// wanted is the type of an attribute.
func wanted(attribute, typ string, c *column) string {
	switch {
	case typ != "":
		return typ
	case attribute == "CreateTime":
		return "number"
	case c.kind == jsonKind:
		return ""
	case slices.Contains([]kind{integerKind, decimalKind, floatKind, bitKind}, c.kind):
		return "number"
	}
	return "string"
}

// check says all that stops a sync of this table.
func (t *Table) check(s *schema) error {
	var wrong []string
	k, updated := &t.key.column, &t.order.column
	if !keyType(k) {
		wrong = append(wrong, fmt.Sprintf("sync.key %s is %s: a key is an integer, CHAR, VARCHAR, TEXT, BINARY, VARBINARY, BLOB or UUID", k.name, k.typ))
	} else if !s.view && k.nullable {
		wrong = append(wrong, fmt.Sprintf("sync.key %s may be NULL: a key is NOT NULL and unique, such as the primary key", k.name))
	} else if !s.view && !s.uniqueColumn(k.name) {
		wrong = append(wrong, fmt.Sprintf("sync.key %s is not unique: a key has a PRIMARY KEY or UNIQUE index of its own", k.name))
	}
	if !slices.Contains([]kind{timestampKind, datetimeKind, integerKind}, updated.kind) {
		wrong = append(wrong, fmt.Sprintf("sync.updated %s is %s: a time of change is TIMESTAMP, DATETIME or an integer of seconds or milliseconds since 1970", updated.name, updated.typ))
	}
	for i := range t.picks.columns {
		if c := &t.picks.columns[i]; c.kind == otherKind && i != t.picks.key && i != t.picks.updated {
			wrong = append(wrong, fmt.Sprintf("the column %s is %s, which no attribute can hold", c.name, c.typ))
		}
	}
	return joined(wrong)
}

func keyType(c *column) bool {
	switch c.kind {
	case integerKind, bytesKind:
		return true
	case textKind:
		return !strings.HasPrefix(c.typ, "enum") && !strings.HasPrefix(c.typ, "set") && !strings.HasPrefix(c.typ, "time")
	}
	return false
}

// Fields gives the mapped attributes and their types, "string", "number" or "bool".
func (t *Table) Fields() map[string]string {
	all := map[string]string{}
	for _, f := range t.fields {
		if f.want != "" {
			all[f.name] = f.want
		}
	}
	return all
}

// Warnings says what is worth mending and stops nothing: no index on the column of changes,
// a clock that is ahead, a user who may write, a consent that could not be read.
func (t *Table) Warnings() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.warnings)
}

// warn keeps a warning and logs it, once.
func (t *Table) warn(format string, a ...any) {
	sentence := fmt.Sprintf(format, a...)
	t.mu.Lock()
	defer t.mu.Unlock()
	if !slices.Contains(t.warnings, sentence) {
		t.warnings = append(t.warnings, sentence)
		t.cfg.Log.Warn("the sync's table: " + sentence)
	}
}

// Close ends the connections. One that is dead already is no error.
func (t *Table) Close() error {
	_ = t.db.Close()
	return nil
}
