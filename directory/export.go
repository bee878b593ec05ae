package directory

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"postern/mail"
)

// Export writes all users as a CSV file that [Import] reads back to the same
// users: Email, Name, Gender, CreateTime, SubscriptionStatus, OptOut when
// somebody has left a list, then every other attribute by its name, with its
// kind where it is not text. Missing, null and empty are one to a CSV file.
//
// The directory is scanned twice, once for its columns, so memory does not grow
// with it. When a new attribute appears in between, the error (Temporary) says
// so, and what was written is no whole export.
func Export(ctx context.Context, store Store, w io.Writer) error {
	columns, err := collectColumns(ctx, store)
	if err != nil {
		return err
	}
	out := csv.NewWriter(w)
	headings := make([]string, len(columns))
	at := make(map[string]int, len(columns))
	for i, c := range columns {
		headings[i], at[c.name] = c.heading(), i
	}
	if err := out.Write(headings); err != nil {
		return fmt.Errorf("write the export: %w", err)
	}
	record := make([]string, len(columns))
	err = everyUser(ctx, store, func(u *User) error {
		if err := u.writeCells(columns, at, record); err != nil {
			return err
		}
		return out.Write(record)
	})
	if err != nil {
		return fmt.Errorf("write the export: %w", err)
	}
	out.Flush()
	if err := out.Error(); err != nil {
		return fmt.Errorf("write the export: %w", err)
	}
	return nil
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

// collectColumns finds for each attribute the plainest kind that holds all.
func collectColumns(ctx context.Context, store Store) ([]column, error) {
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
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("find the columns of the export: %w", err)
	}
	var columns []column
	for _, name := range append(standardColumns(), "OptOut") {
		k, seen := kinds[name]
		if !seen {
			k = defaultKind(name)
		}
		if seen || name != "OptOut" {
			columns = append(columns, column{name, k})
		}
		delete(kinds, name)
	}
	for _, name := range slices.Sorted(maps.Keys(kinds)) {
		columns = append(columns, column{name, kinds[name]})
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

func (u *User) writeCells(columns []column, at map[string]int, record []string) error {
	clear(record)
	for name, v := range u.Attributes {
		i, there := at[name]
		if !there && isNothing(v) {
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
	record[at["Email"]] = string(u.Email)
	record[at["SubscriptionStatus"]] = fmt.Sprint(u.Subscribed)
	return u.writeLists(columns, at, record)
}

func (u *User) writeLists(columns []column, at map[string]int, record []string) error {
	if len(u.OptOut) == 0 {
		return nil
	}
	i, there := at["OptOut"]
	if !there {
		return errChanged()
	}
	if columns[i].kind == kindJSON {
		b, err := json.Marshal(u.OptOut)
		record[i] = string(b)
		return err
	}
	if kindOfLists(u.OptOut) != kindText {
		return errChanged()
	}
	record[i] = strings.Join(u.OptOut, " ")
	return nil
}
