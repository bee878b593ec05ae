package mysqlsync

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"postern/directory"
	"postern/mail"
)

const (
	lookupAtOnce = 500       // keys that one statement asks for
	countAtMost  = 5_000_000 // rows: some seconds of the server's
)

// ByKey reads the rows behind the key, in the order of keys; "" is the start.
func (t *Table) ByKey(ctx context.Context, after string, limit int) ([]Row, error) {
	const doing = "reading rows by their key"
	o, err := t.ordered(ctx, doing)
	if err != nil {
		return nil, err
	}
	return t.behind(ctx, doing, &o, "", nil, after, limit)
}

// Undated reads the rows whose Updated is zero, behind the key.
func (t *Table) Undated(ctx context.Context, after string, limit int) ([]Row, error) {
	const doing = "reading rows without a time of change"
	o, err := t.ordered(ctx, doing)
	if err != nil {
		return nil, err
	}
	where, args := o.undated()
	return t.behind(ctx, doing, &o, where+" AND ", args, after, limit)
}

func (t *Table) behind(ctx context.Context, doing string, o *order, where string, args []any, after string, limit int) ([]Row, error) {
	if after != "" {
		v, err := t.key.value(after)
		if err != nil {
			return nil, err
		}
		where += t.key.sql + " > " + t.key.place() + " AND "
		args = append(args, v)
	}
	return t.read(ctx, doing, o, where+t.key.present()+" ORDER BY "+t.key.sql+" LIMIT ?", append(args, limit)...)
}

// Changed reads the rows behind the mark, in the order of (Updated, Key). A Mark without
// a key is before all rows of that time.
func (t *Table) Changed(ctx context.Context, after Mark, limit int) ([]Row, error) {
	const doing = "reading the changes"
	o, err := t.ordered(ctx, doing)
	if err != nil {
		return nil, err
	}
	at := o.value(after.Updated)
	where, args := o.sql+" >= ?", []any{at}
	if after.Key != "" {
		v, err := t.key.value(after.Key)
		if err != nil {
			return nil, err
		}
		// Both servers find this in an index on (updated, key); (updated, key) > (?, ?) they do not.
		where = fmt.Sprintf("(%s > ? OR (%s = ? AND %s > %s))", o.sql, o.sql, t.key.sql, t.key.place())
		args = []any{at, at, v}
	}
	until, last := o.bounded()
	where += until + " AND " + t.key.present() + " ORDER BY " + o.sql + ", " + t.key.sql + " LIMIT ?"
	return t.read(ctx, doing, &o, where, append(slices.Concat(args, last), limit)...)
}

// Lookup reads these rows; those that are gone are left out.
func (t *Table) Lookup(ctx context.Context, keys []string) ([]Row, error) {
	const doing = "looking rows up"
	o, err := t.ordered(ctx, doing)
	if err != nil {
		return nil, err
	}
	var all []Row
	for some := range slices.Chunk(keys, lookupAtOnce) {
		args := make([]any, len(some))
		for i, s := range some {
			if args[i], err = t.key.value(s); err != nil {
				return nil, err
			}
		}
		places := strings.TrimSuffix(strings.Repeat(t.key.place()+", ", len(some)), ", ")
		rows, err := t.read(ctx, doing, &o, t.key.sql+" IN ("+places+") AND "+t.key.present(), args...)
		if err != nil {
			return nil, err
		}
		all = append(all, rows...)
	}
	return all, nil
}

// Now is the time by the server's clock and in its column of changes: what a row would get
// that is changed now. What a DATETIME gets is what the clocks of Location show.
func (t *Table) Now(ctx context.Context) (time.Time, error) {
	var text string
	if err := t.db.QueryRowContext(ctx, "SELECT UTC_TIMESTAMP(6)").Scan(&text); err != nil {
		return time.Time{}, t.explain(ctx, "asking for its time", err)
	}
	now, err := time.Parse(time.DateTime, text)
	if err != nil {
		return time.Time{}, t.explain(ctx, "asking for its time", err)
	}
	if t.order.column.kind == datetimeKind {
		_, offset := now.In(t.cfg.Location).Zone()
		now = now.Add(time.Duration(offset)*time.Second - t.order.offset)
	}
	return now, nil
}

// Newest is the latest time of change of all rows; zero when none has any.
func (t *Table) Newest(ctx context.Context) (time.Time, error) {
	const doing = "asking for the latest change"
	o, err := t.ordered(ctx, doing)
	if err != nil {
		return time.Time{}, err
	}
	newest, err := t.newest(ctx, o)
	if err != nil {
		return time.Time{}, t.explain(ctx, doing, err)
	}
	return newest, nil
}

// Count is how many rows there are. Of more than five million it is what the server's
// statistics say, which may be far from it; fewer, and those of a view, are counted.
func (t *Table) Count(ctx context.Context) (int64, error) {
	const doing = "counting the rows"
	var n sql.NullInt64
	err := t.db.QueryRowContext(ctx, "SELECT TABLE_ROWS FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?", t.database, t.name).Scan(&n)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, t.explain(ctx, doing, err)
	}
	if n.Int64 > countAtMost {
		return n.Int64, nil
	}
	if err := t.db.QueryRowContext(ctx, "SELECT COUNT(*) FROM "+t.table).Scan(&n); err != nil {
		return 0, t.explain(ctx, doing, err)
	}
	return n.Int64, nil
}

// ordered is the order of changes, once it is known what integers count. An empty table
// does not show that, and is asked again.
func (t *Table) ordered(ctx context.Context, doing string) (order, error) {
	t.mu.Lock()
	o := t.order
	t.mu.Unlock()
	if o.column.kind != integerKind || o.unit != 0 {
		return o, nil
	}
	var largest sql.NullInt64
	if err := t.db.QueryRowContext(ctx, "SELECT MAX("+o.sql+") FROM "+t.table).Scan(&largest); err != nil {
		return o, t.explain(ctx, doing, err)
	}
	coarser, err := t.coarser(ctx, &o, largest.Int64)
	if err != nil {
		return o, t.explain(ctx, doing, err)
	}
	if coarser > 0 {
		t.warn("sync.updated %s has numbers of more than one unit, such as %d and %d: mend the ones that are wrong; the larger ones are read by each pass", o.column.name, coarser, largest.Int64)
		largest.Int64 = coarser
	}
	if digits := largest.Int64 / 1e12; digits >= 19 && digits <= 20 {
		return o, permanent(nil, "sync.updated %s has numbers such as %d, which look like a date: a time of change is TIMESTAMP, DATETIME or an integer of seconds or milliseconds since 1970", o.column.name, largest.Int64)
	}
	o.unit = unitOf(largest.Int64)
	t.mu.Lock()
	t.order.unit = o.unit
	t.mu.Unlock()
	return o, nil
}

// coarser is the largest number that is a time since 2001 in seconds, else in milliseconds, where
// the largest of all counts something finer; 0: there is none. One wrong number must not make
// all others times of 1970, which are behind every mark.
func (t *Table) coarser(ctx context.Context, o *order, largest int64) (int64, error) {
	for _, within := range [][2]int64{{1e9, 1e11}, {1e12, 1e14}} {
		if largest <= within[1] {
			break
		}
		var found sql.NullInt64
		err := t.db.QueryRowContext(ctx, "SELECT MAX("+o.sql+") FROM "+t.table+" WHERE "+o.sql+" BETWEEN ? AND ?", within[0], within[1]).Scan(&found)
		if err != nil || found.Valid {
			return found.Int64, err
		}
	}
	return 0, nil
}

// newest is the latest time of change that counts; zero when there is none.
func (t *Table) newest(ctx context.Context, o order) (time.Time, error) {
	first, _ := o.bounds()
	until, last := o.bounded()
	var raw []byte
	err := t.db.QueryRowContext(ctx, "SELECT "+o.sql+" FROM "+t.table+" WHERE "+o.sql+" >= ?"+until+" ORDER BY "+o.sql+" DESC LIMIT 1", append([]any{first}, last...)...).Scan(&raw)
	if errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, nil
	}
	return o.time(raw), err
}

// read runs the statement with this WHERE. It always has values beside it: only so do
// both servers send numbers as they are.
func (t *Table) read(ctx context.Context, doing string, o *order, where string, args ...any) ([]Row, error) {
	rows, err := t.db.QueryContext(ctx, t.statement+where, args...)
	if err != nil {
		return nil, t.explain(ctx, doing, err)
	}
	defer rows.Close()
	raw := make([]sql.RawBytes, len(t.picks.columns))
	to := make([]any, len(raw))
	for i := range raw {
		to[i] = &raw[i]
	}
	var all []Row
	for rows.Next() {
		if err := rows.Scan(to...); err != nil {
			return nil, t.explain(ctx, doing, err)
		}
		all = append(all, t.row(o, raw))
	}
	if err := rows.Err(); err != nil {
		return nil, t.explain(ctx, doing, err)
	}
	return all, nil
}

// row makes a Row of what was read.
func (t *Table) row(o *order, raw []sql.RawBytes) Row {
	p := &t.picks
	r := Row{Key: t.key.text(raw[p.key]), Updated: o.time(raw[p.updated]), Email: clip(strings.ToValidUTF8(string(raw[p.email]), "\uFFFD"))}
	if p.deleted >= 0 {
		r.Deleted = marked(&p.columns[p.deleted], raw[p.deleted])
	}
	if p.consent >= 0 {
		var err error
		if r.Consent, err = consentTime(&p.columns[p.consent], raw[p.consent], t.cfg.Location); err != nil {
			t.unreadable.Do(func() {
				t.warn("sync.consent %s has what is no time, and so no consent, such as in the row %s: %v", p.columns[p.consent].name, clip(r.Key), err)
			})
		}
	}
	var err error
	if r.User, err = t.user(raw); err != nil && !r.Deleted {
		r.Problem = err.Error()
	}
	return r
}

func (t *Table) user(raw []sql.RawBytes) (directory.User, error) {
	p := &t.picks
	u := directory.User{KeepStatus: p.status < 0, Attributes: make(map[string]any, len(t.fields))}
	if p.status >= 0 {
		yes, known := false, false
		if raw[p.status] != nil {
			yes, known = yesOrNo(&p.columns[p.status], raw[p.status])
		}
		u.Subscribed, u.Unknown = yes, !known
	}
	email := strings.TrimSpace(string(raw[p.email]))
	if email == "" {
		return u, fmt.Errorf("the column %s, the address, is empty", p.columns[p.email].name)
	}
	address, err := mail.ParseAddress(email)
	if err != nil {
		return u, fmt.Errorf("the column %s: %w", p.columns[p.email].name, err)
	}
	u.Email = address
	for _, f := range t.fields {
		c := &p.columns[f.pick]
		if u.Attributes[f.name], err = value(c, f.want, raw[f.pick], t.cfg.Location); err != nil {
			return u, fmt.Errorf("the column %s: %w", c.name, err)
		}
	}
	if err := directory.Check(&u); err != nil {
		var e *mail.Error
		if errors.As(err, &e) {
			return u, errors.New(e.Public)
		}
		return u, err
	}
	return u, nil
}
