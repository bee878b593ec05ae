package directory

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// The columns of a CSV file. Six have a meaning or a kind by their name, in any
// case and any order; any other is an attribute. A name may end in a kind,
// ":text", ":number", ":bool" or ":json", which says what its cells become; else a
// field of the configuration has its type, CreateTime is a number, and every other
// attribute is text.
//
// An empty cell means that the user has no such attribute. A column that is
// missing leaves the attribute of existing users alone.

// kind is what the cells of a column are.
type kind string

const (
	kindText   kind = "text"
	kindNumber kind = "number"
	kindBool   kind = "bool"
	kindJSON   kind = "json"
)

// standardColumns are what an export begins with, in this order; OptOut follows
// when somebody has one.
func standardColumns() []string {
	return []string{"Email", "Name", "Gender", "CreateTime", "SubscriptionStatus"}
}

// RejectedColumn is the heading of the reasons in a file of rejected rows. An import
// passes such a column over, so that the file can be mended and imported.
const RejectedColumn = "Rejected-Because"

type column struct {
	name string
	kind kind
	skip bool // its cells are not read
}

// types are the fields of the configuration: name to "string", "number" or "bool".
type types map[string]string

// kindOf is the kind of a column whose heading says none.
func (t types) kindOf(name string) kind {
	switch typ, known := t[name]; {
	case typ == "number" || !known && name == "CreateTime":
		return kindNumber
	case typ == "bool":
		return kindBool
	}
	return kindText
}

// heading is the column's cell in the header. The kind is left out where everybody
// understands it and the name does not look as if it had one.
func (c column) heading(t types) string {
	_, explicit := splitHeading(c.name)
	if !explicit && c.kind == types(nil).kindOf(c.name) && c.kind == t.kindOf(c.name) {
		return c.name
	}
	return c.name + ":" + string(c.kind)
}

// splitHeading gives the kind that a heading says, or none.
func splitHeading(s string) (c column, explicit bool) {
	if i := strings.LastIndexByte(s, ':'); i >= 0 {
		k := kind(s[i+1:])
		if slices.Contains([]kind{kindText, kindNumber, kindBool, kindJSON}, k) {
			return column{name: s[:i], kind: k}, true
		}
	}
	return column{name: s}, false
}

// readHeader gives the columns, or an error that says how the header should be.
func readHeader(headings []heading, t types) ([]column, error) {
	columns := make([]column, len(headings))
	exact := map[string]bool{}
	for i, h := range headings {
		columns[i], _ = splitHeading(h.text)
		columns[i].skip = h.omit
		exact[columns[i].name] = !h.omit || exact[columns[i].name]
	}
	seen := map[string]bool{}
	for i := range columns {
		c := &columns[i]
		if c.skip {
			continue
		}
		// "email" is Email, unless there is an Email: then it is an attribute.
		for _, standard := range append(standardColumns(), "OptOut") {
			if strings.EqualFold(c.name, standard) && !exact[standard] {
				c.name = standard
			}
		}
		if c.kind == "" {
			c.kind = t.kindOf(c.name)
		}
		if err := c.check(i, seen); err != nil {
			return nil, err
		}
		seen[c.name] = true
		// The index knows better than an older export, and why a row was rejected is no attribute.
		c.skip = c.name == SuppressedAttribute || c.name == RejectedColumn
	}
	if !seen["Email"] {
		return nil, noEmail(headings)
	}
	if len(columns) > MaxAttributes {
		return nil, fmt.Errorf("the header has %d columns, the limit is %d", len(columns), MaxAttributes)
	}
	return columns, nil
}

func (c *column) check(i int, seen map[string]bool) error {
	switch {
	case c.name == "":
		return fmt.Errorf("column %d of the header has no name", i+1)
	case len(c.name) > maxName:
		return fmt.Errorf("the name of column %d is longer than %d bytes", i+1, maxName)
	case seen[c.name]:
		return fmt.Errorf("the header has the column %s twice: leave one out (--omit HEADING)", c.name)
	case Reserved(c.name) && !slices.Contains([]string{"Email", "OptOut", "SubscriptionStatus"}, c.name):
		return fmt.Errorf("the header has SubscriptionStatus and %s: keep one (--omit HEADING)", c.name)
	}
	return nil
}

func noEmail(headings []heading) error {
	names := headingNames(headings)
	text := fmt.Sprintf("the first row must be a header with a column Email, such as %s; it has %s", strings.Join(standardColumns(), ","), names)
	for _, h := range headings {
		if low := strings.ToLower(h.text); strings.Contains(low, "mail") || strings.Contains(low, "메일") {
			return fmt.Errorf("%s: is it --map Email=%s?", text, h.text)
		}
	}
	if len(headings) > 1 {
		return fmt.Errorf("%s: say which one it is (--map Email=HEADING)", text)
	}
	return errors.New(text)
}

// read gives the value of a cell; nil for an empty one.
func (c column) read(cell string) (any, error) {
	if cell == "" {
		return nil, nil
	}
	switch c.kind {
	case kindNumber:
		n := json.Number(strings.TrimSpace(cell))
		if err := checkNumber(string(n)); err != nil {
			return nil, fmt.Errorf("%s: %w", c.name, err)
		}
		return n, nil
	case kindBool:
		return readBool(c.name, cell)
	case kindJSON:
		v, err := decodeJSON([]byte(cell))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.name, err)
		}
		return v, nil
	}
	return cell, nil
}

func readBool(name, cell string) (bool, error) {
	switch strings.ToLower(strings.TrimSpace(cell)) {
	case "true", "1", "yes", "y":
		return true, nil
	case "false", "0", "no", "n":
		return false, nil
	}
	return false, fmt.Errorf("%s is %q; it must be true, false, 1, 0, yes, no, Y, N or empty", name, clip(cell))
}

// readLists reads an OptOut cell: list ids between spaces, or a JSON array.
func (c column) readLists(cell string) ([]string, error) {
	if c.kind != kindJSON {
		return Union(strings.Fields(cell), nil), nil
	}
	if cell == "" {
		return nil, nil
	}
	var lists []string
	if err := json.Unmarshal([]byte(cell), &lists); err != nil {
		return nil, fmt.Errorf("OptOut is no JSON array of list ids: %w", err)
	}
	return Union(lists, nil), nil
}

// write gives the cell of a value, and whether the column's kind can hold it.
func (c column) write(v any) (string, bool, error) {
	if isNothing(v) {
		return "", true, nil
	}
	if c.kind == kindJSON {
		b, err := json.Marshal(v)
		return string(b), true, err
	}
	u := User{Attributes: map[string]any{c.name: v}}
	return u.Value(c.name), kindOf(v) == c.kind, nil
}

// isNothing says that a value is an empty cell: to a placeholder it makes no
// difference whether an attribute is missing, null or the empty text.
func isNothing(v any) bool { return v == nil || v == "" }

// kindOf is the plainest column that gives the value back as it is. A CSV reader
// makes CR LF inside a cell LF; so text with a CR goes as JSON.
func kindOf(v any) kind {
	switch v := v.(type) {
	case string:
		if !strings.Contains(v, "\r") {
			return kindText
		}
	case json.Number:
		return kindNumber
	case bool:
		return kindBool
	}
	return kindJSON
}
