package directory

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"postern/mail"
)

// ExportOptions says how an export is written. nil and the zero value are an [Import]'s
// default.
type ExportOptions struct {
	Encoding Encoding          // "" is UTF8; or UTF8BOM, EUCKR
	Columns  []string          // names of the columns, in their order; none: all
	Types    map[string]string // as of [ImportOptions]: a column of another kind says so
}

// Export writes all users as a CSV file that [Import] reads back to the same
// users: Email, Name, Gender, CreateTime, SubscriptionStatus, OptOut when
// somebody has left a list, then every other attribute by its name, with its
// kind where it is not text. Missing, null and empty are one to a CSV file.
//
// The directory is scanned twice, once for its columns, so memory does not grow
// with it. A letter that the encoding lacks is a Permanent error that names the user
// and the column, and nothing is written. When a new attribute, or such a letter,
// appears in between, the error (Temporary) says so, and what was written is no
// whole export.
func Export(ctx context.Context, store Store, w io.Writer, o *ExportOptions) error {
	if o == nil {
		o = &ExportOptions{}
	}
	pen, err := newPen(o.Encoding)
	if err != nil {
		return err
	}
	columns, err := o.columns(ctx, store, pen)
	if err != nil {
		return err
	}
	text := pen.writer(w)
	out := csv.NewWriter(text)
	headings := make([]string, len(columns))
	at := make(map[string]int, len(columns))
	for i, c := range columns {
		headings[i], at[c.name] = c.heading(o.Types), i
	}
	if err := out.Write(headings); err != nil {
		return fmt.Errorf("write the export: %w", err)
	}
	record := make([]string, len(columns))
	err = everyUser(ctx, store, func(u *User) error {
		if err := u.writeCells(columns, at, len(o.Columns) > 0, record); err != nil {
			return err
		}
		return out.Write(record)
	})
	if err != nil {
		return fmt.Errorf("write the export: %w", err)
	}
	out.Flush()
	if err := errors.Join(out.Error(), text.Close()); err != nil {
		return fmt.Errorf("write the export: %w", err)
	}
	return nil
}

// columns are those that are asked for.
func (o *ExportOptions) columns(ctx context.Context, store Store, p *pen) ([]column, error) {
	all, err := collectColumns(ctx, store, o.Types, func(u *User) error { return p.check(u, o.Columns) })
	if err != nil || len(o.Columns) == 0 {
		return all, err
	}
	var some []column
	for _, name := range o.Columns {
		i := slices.IndexFunc(all, func(c column) bool { return c.name == name })
		if i < 0 && name == "OptOut" {
			some = append(some, column{name: name, kind: kindText}) // nobody has left anything
			continue
		}
		if i < 0 || slices.Contains(some, all[i]) {
			var names []string
			for _, c := range all {
				names = append(names, c.name)
			}
			return nil, badFile("the users have no column %q, or it is asked for twice; there are %s", clip(name), strings.Join(names, ", "))
		}
		some = append(some, all[i])
	}
	return some, nil
}

func everyUser(ctx context.Context, store Store, f func(*User) error) error {
	var at Checkpoint
	for {
		page, err := store.Scan(ctx, at)
		if err != nil {
			return err
		}
		for i := range page.Users {
			if err := f(&page.Users[i]); err != nil {
				return err
			}
		}
		if at = page.Next; at == nil {
			return nil
		}
	}
}

// collectColumns finds for each attribute the plainest kind that holds all. check looks
// at each user too.
func collectColumns(ctx context.Context, store Store, t types, check func(*User) error) ([]column, error) {
	kinds := map[string]kind{}
	add := func(name string, k kind) {
		if old, seen := kinds[name]; seen && old != k {
			k = kindJSON
		}
		kinds[name] = k
	}
	err := everyUser(ctx, store, func(u *User) error {
		for name, v := range u.Attributes {
			if !isNothing(v) {
				add(name, kindOf(v))
			}
			if strings.EqualFold(name, "OptOut") {
				add("OptOut", kindText) // else it would be read as OptOut
			}
		}
		if len(u.OptOut) > 0 {
			add("OptOut", kindOfLists(u.OptOut))
		}
		return check(u)
	})
	if err != nil {
		return nil, fmt.Errorf("find the columns of the export: %w", err)
	}
	var columns []column
	for _, name := range append(standardColumns(), "OptOut") {
		k, seen := kinds[name]
		if !seen {
			k = t.kindOf(name)
		}
		if seen || name != "OptOut" {
			columns = append(columns, column{name: name, kind: k})
		}
		delete(kinds, name)
	}
	for _, name := range slices.Sorted(maps.Keys(kinds)) {
		columns = append(columns, column{name: name, kind: kinds[name]})
	}
	return columns, nil
}

func kindOfLists(lists []string) kind {
	for _, id := range lists {
		if len(strings.Fields(id)) != 1 || strings.Fields(id)[0] != id {
			return kindJSON
		}
	}
	return kindText
}

func errChanged() error {
	return mail.Later(0, "", "the directory got a new attribute while it was exported: export it again")
}

// writeCells fills the record; some says that not all columns are in it.
func (u *User) writeCells(columns []column, at map[string]int, some bool, record []string) error {
	clear(record)
	for name, v := range u.Attributes {
		i, there := at[name]
		if !there && (some || isNothing(v)) {
			continue
		}
		if !there {
			return errChanged()
		}
		cell, fits, err := columns[i].write(v)
		if err != nil {
			return err
		}
		if !fits {
			return errChanged()
		}
		record[i] = cell
	}
	if i, there := at["Email"]; there {
		record[i] = string(u.Email)
	}
	if i, there := at["SubscriptionStatus"]; there && !u.Unknown { // empty: false would be a word that nobody has said
		record[i] = fmt.Sprint(u.Subscribed)
	}
	if i, there := at["OptOut"]; there {
		return u.writeLists(columns[i], &record[i])
	}
	if len(u.OptOut) > 0 && !some {
		return errChanged()
	}
	return nil
}

func (u *User) writeLists(c column, cell *string) error {
	if len(u.OptOut) == 0 {
		return nil
	}
	if c.kind == kindJSON {
		b, err := json.Marshal(u.OptOut)
		*cell = string(b)
		return err
	}
	if kindOfLists(u.OptOut) != kindText {
		return errChanged()
	}
	*cell = strings.Join(u.OptOut, " ")
	return nil
}
