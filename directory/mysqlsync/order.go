package mysqlsync

import (
	"encoding/hex"
	"strconv"
	"strings"
	"time"
)

// order is the column of changes: how its values and times become each other, exactly
// and in the same order.
//
// A DATETIME has no time zone. What one of a zone with summer time shows twice a year,
// or skips, has no moment of its own; so the zone's offset of one day, always the same,
// is taken for all. A mark may be an hour off then for people, and never for the order.
type order struct {
	column column
	sql    string        // the name, quoted
	offset time.Duration // of DATETIME
	unit   time.Duration // of integers; 0: no row has shown it yet
}

// The bounds of what counts as a time. What lies beyond is as good as NULL: zero dates,
// the year 1 of some libraries, times that JSON cannot write.
const (
	firstTimestamp = "1970-01-01 00:00:01"
	firstDatetime  = "1000-01-01 00:00:00"
	lastDatetime   = "9999-12-30 23:59:59.999999"
	firstUnit      = 1
	lastSecond     = 253402214400 // 9999-12-31 00:00:00
	sqlTime        = "2006-01-02 15:04:05.000000"
)

func newOrder(c column, location *time.Location) order {
	_, offset := time.Date(2024, 1, 1, 0, 0, 0, 0, location).Zone()
	o := order{column: c, sql: quote(c.name)}
	switch {
	case c.kind == datetimeKind:
		o.offset = time.Duration(offset) * time.Second
	case c.kind == integerKind && !strings.HasPrefix(c.typ, "bigint"):
		o.unit = time.Second // no other fits
	}
	return o
}

// unitOf guesses what the largest value counts: seconds reach the year 5138 so, and
// milliseconds begin in 1973.
func unitOf(largest int64) time.Duration {
	switch {
	case largest <= 0:
		return 0
	case largest > 1e14:
		return time.Microsecond
	case largest > 1e11:
		return time.Millisecond
	}
	return time.Second
}

// bounds are the first and the last value that count; nil: none.
func (o *order) bounds() (first, last any) {
	switch o.column.kind {
	case timestampKind:
		return firstTimestamp, nil
	case datetimeKind:
		return firstDatetime, lastDatetime
	}
	return int64(firstUnit), int64(lastSecond) * o.perSecond()
}

// perSecond is how many units a second has.
func (o *order) perSecond() int64 {
	if o.unit == 0 {
		return 1
	}
	return int64(time.Second / o.unit)
}

// bounded is the condition, and its values, that a time of change counts, apart from the
// first one: that stands in the mark.
func (o *order) bounded() (string, []any) {
	_, last := o.bounds()
	if last == nil {
		return "", nil
	}
	where := " AND " + o.sql + " <= ?"
	if o.column.kind == datetimeKind { // days that no month has would never be behind a mark
		where += " AND DAYOFMONTH(" + o.sql + ") BETWEEN 1 AND DAYOFMONTH(LAST_DAY(" + o.sql + "))"
	}
	return where, []any{last}
}

// undated is the condition that it does not count. Days that no month has are left out: no
// index finds them.
func (o *order) undated() (string, []any) {
	first, last := o.bounds()
	where := o.sql + " IS NULL OR " + o.sql + " < ?"
	if last == nil {
		return "(" + where + ")", []any{first}
	}
	return "(" + where + " OR " + o.sql + " > ?)", []any{first, last}
}

// value is the time as the column has it, cut to what the column can hold.
func (o *order) value(t time.Time) any {
	switch o.column.kind {
	case timestampKind, datetimeKind:
		t = t.Add(o.offset).UTC()
		first := firstTimestamp
		if o.column.kind == datetimeKind {
			first = firstDatetime
		}
		if t.Year() > 9999 {
			return lastDatetime
		}
		if t.Year() < 1000 || t.Format(time.DateTime) < first {
			return first
		}
		return t.Format(sqlTime[:len("2006-01-02 15:04:05")+fraction(o.column.digits)])
	}
	per := o.perSecond()
	return max(t.Unix()*per+int64(t.Nanosecond())*per/int64(time.Second), firstUnit)
}

// fraction is the length of a fraction with its dot.
func fraction(digits int) int {
	if digits == 0 {
		return 0
	}
	return digits + 1
}

// time is what the column has, in UTC; zero where it is as good as NULL.
func (o *order) time(raw []byte) time.Time {
	if raw == nil {
		return time.Time{}
	}
	if o.column.kind == integerKind {
		n, err := strconv.ParseInt(string(raw), 10, 64)
		per := o.perSecond()
		if err != nil || n < firstUnit || n > lastSecond*per {
			return time.Time{}
		}
		return time.Unix(n/per, n%per*int64(time.Second)/per).UTC()
	}
	wall, err := time.Parse(time.DateTime, string(raw))
	first, last := o.bounds()
	if err != nil || string(raw) < first.(string) || last != nil && string(raw) > last.(string) {
		return time.Time{}
	}
	return wall.Add(-o.offset)
}

// quote makes a name one of SQL.
func quote(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

// key is the key column: how its values and texts become each other, exactly. They are
// compared by the column's own order, which may be one without case.
type key struct {
	column column
	sql    string // the name, quoted
}

// place is what stands in a statement for a value.
func (k *key) place() string {
	if k.column.kind == bytesKind {
		return "UNHEX(?)" // bytes beside the statement would be taken for text
	}
	return "?"
}

// present is the condition that a row has a key: the empty text is the start of all.
func (k *key) present() string {
	if k.column.kind == integerKind || k.column.typ == "uuid" || strings.HasPrefix(k.column.typ, "inet") {
		return k.sql + " IS NOT NULL"
	}
	return k.sql + " <> ''"
}

// value is the key for place.
func (k *key) value(s string) (any, error) {
	switch k.column.kind {
	case integerKind:
		if n, err := strconv.ParseInt(s, 10, 64); err == nil {
			return n, nil
		}
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			return nil, k.strange(s)
		}
		return n, nil
	case bytesKind:
		if _, err := hex.DecodeString(s); err != nil {
			return nil, k.strange(s)
		}
	}
	return s, nil
}

func (k *key) strange(s string) error {
	return permanent(nil, "the key %q that was read before cannot be one of sync.key %s, which is %s now: has its type been changed? `postern sync --reconcile` reads everything again", clip(s), k.column.name, k.column.typ)
}

// text is the key of a row.
func (k *key) text(raw []byte) string {
	if k.column.kind == bytesKind {
		return hex.EncodeToString(raw)
	}
	return string(raw)
}

func clip(s string) string {
	const most = 254 // an address fits
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
