package mysqlsync

import (
	"context"
	"database/sql"
	"net"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
)

// advise looks for what is worth mending. What cannot be found out is passed over: the
// first read of the sync will say so.
func (t *Table) advise(ctx context.Context, s *schema) {
	indexed := t.adviseIndexes(s)
	if s.view {
		t.warn("%s is a view: nobody can say whether sync.key %s is unique there, and it must be", t.table, t.key.column.name)
	}
	updated := &t.order.column
	if !s.view && updated.kind != integerKind && !updated.touched {
		t.warn("sync.updated %s is not declared ON UPDATE CURRENT_TIMESTAMP: a change by a program that does not set it is seen by a reconcile alone", updated.name)
	}
	if updated.kind == datetimeKind {
		t.adviseZone(ctx)
	}
	if updated.kind == datetimeKind && summerTime(t.cfg.Location) {
		t.warn("sync.updated %s is a DATETIME, and the clocks of %s go back once a year: changes of that hour may be seen by a reconcile alone; a TIMESTAMP has no such hour", updated.name, t.cfg.Location)
	}
	if indexed {
		t.adviseClock(ctx)
	}
	if rights := writingRights(ctx, t.db); len(rights) > 0 {
		t.warn("the user of sync.dsn may do more than read (%s): GRANT SELECT ON %s is all that the sync needs", strings.Join(rights[:min(len(rights), 5)], ", "), t.table)
	}
}

// adviseIndexes says whether an index begins with the column of changes.
func (t *Table) adviseIndexes(s *schema) bool {
	if s.view {
		return false
	}
	updated := t.order.column.name
	first, inOrder := s.firstOf(updated, t.key.column.name)
	switch {
	case !first:
		t.warn("no index begins with sync.updated %s: each pass reads the whole table; CREATE INDEX ... ON %s (%s) mends it", updated, t.table, t.order.sql)
	case !inOrder:
		t.warn("no index has sync.updated %s and then sync.key %s: each chunk of changes is sorted; CREATE INDEX ... ON %s (%s, %s) mends it", updated, t.key.column.name, t.table, t.order.sql, t.key.sql)
	}
	return first
}

// adviseZone compares the server's own time zone, by which a DATETIME is set by itself, with
// the one that it is read by.
func (t *Table) adviseZone(ctx context.Context) {
	var seconds sql.NullInt64
	err := t.db.QueryRowContext(ctx, "SELECT TIMESTAMPDIFF(SECOND, UTC_TIMESTAMP(), CONVERT_TZ(UTC_TIMESTAMP(), '+00:00', @@global.time_zone))").Scan(&seconds)
	now := time.Now().In(t.cfg.Location)
	if _, ours := now.Zone(); err == nil && seconds.Valid && seconds.Int64 != int64(ours) {
		theirs := now.In(time.FixedZone("", int(seconds.Int64)))
		t.warn("sync.updated %s is a DATETIME, MySQL's clocks are at %s, and the key timezone is at %s: changes are missed unless what it has is by the clocks of timezone", t.order.column.name, theirs.Format("-07:00"), now.Format("-07:00"))
	}
}

// adviseClock compares the newest change with the server's clock.
func (t *Table) adviseClock(ctx context.Context) {
	o, err := t.ordered(ctx, "asking for its newest change")
	if err != nil {
		return
	}
	now, err := t.Now(ctx)
	if err != nil {
		return
	}
	newest, err := t.newest(ctx, o)
	if ahead := newest.Sub(now); err == nil && ahead > time.Minute {
		t.warn("the newest time in sync.updated %s is %s ahead of the server's clock: is the key timezone that of its DATETIME, or has a program written a time that is yet to come?", o.column.name, ahead.Round(time.Second))
	}
}

// adviseTLS says when others on the way can read what is read.
func (t *Table) adviseTLS(dsn *mysql.Config) {
	host, _, _ := net.SplitHostPort(dsn.Addr)
	ip := net.ParseIP(host)
	switch {
	case dsn.Net == "unix", host == "localhost", ip != nil && ip.IsLoopback():
	case dsn.TLS == nil:
		t.warn("the connection to MySQL is not encrypted: add tls=true to sync.dsn, or name the server's authority in sync.ca_file")
	case dsn.TLS.InsecureSkipVerify:
		t.warn("sync.dsn says tls=%s, and so nobody looks who the server is: write tls=true, or name its authority in sync.ca_file", dsn.TLSConfig)
	}
}

func summerTime(location *time.Location) bool {
	year := time.Now().Year()
	_, winter := time.Date(year, 1, 1, 0, 0, 0, 0, location).Zone()
	for month := time.February; month <= time.December; month++ {
		if _, offset := time.Date(year, month, 1, 0, 0, 0, 0, location).Zone(); offset != winter {
			return true
		}
	}
	return false
}
