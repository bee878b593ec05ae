package directory

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// The columns of a CSV file. Six have a meaning or a kind by their name, in any
// case and any order; any other is an attribute. A name may end in a kind,
// ":text", ":number", ":bool" or ":json", which says what its cells become; else
// CreateTime is a number and every attribute is text.
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

type column struct {
	name string
	kind kind
}

func defaultKind(name string) kind {
	if name == "CreateTime" {
		return kindNumber
	}
	return kindText
}

// heading is the column's cell in the header. The kind is left out where it is
// understood and the name does not look as if it had one.
func (c column) heading() string {
	if _, explicit := splitHeading(c.name); !explicit && c.kind == defaultKind(c.name) {
		return c.name
	}
	return c.name + ":" + string(c.kind)
}

func splitHeading(s string) (c column, explicit bool) {
	if i := strings.LastIndexByte(s, ':'); i >= 0 {
		k := kind(s[i+1:])
		if slices.Contains([]kind{kindText, kindNumber, kindBool, kindJSON}, k) {
			return column{s[:i], k}, true
		}
	}
	return column{s, defaultKind(s)}, false
}

// readHeader gives the columns, or an error that says how the header should be.
func readHeader(cells []string) ([]column, error) {
	columns := make([]column, len(cells))
	explicit := make([]bool, len(cells))
	exact := map[string]bool{}
	for i, s := range cells {
		columns[i], explicit[i] = splitHeading(strings.TrimSpace(s))
		exact[columns[i].name] = true
	}
	seen := map[string]bool{}
	for i := range columns {
		c := &columns[i]
		// "email" is Email, unless there is an Email: then it is an attribute.
		for _, standard := range append(standardColumns(), "OptOut") {
			if strings.EqualFold(c.name, standard) && !exact[standard] {
				c.name = standard
			}
		}
		if !explicit[i] {
			c.kind = defaultKind(c.name)
		}
		switch {
		case c.name == "":
			return nil, fmt.Errorf("column %d of the header has no name", i+1)
		case len(c.name) > maxName:
			return nil, fmt.Errorf("the name of column %d is longer than %d bytes", i+1, maxName)
		case seen[c.name]:
			return nil, fmt.Errorf("the header has the column %s twice", c.name)
		case Reserved(c.name) && !slices.Contains([]string{"Email", "OptOut", "SubscriptionStatus"}, c.name):
			return nil, fmt.Errorf("the header has SubscriptionStatus and %s: keep one", c.name)
		}
		seen[c.name] = true
	}
	if !seen["Email"] {
		return nil, noEmail(cells)
	}
	if len(columns) > MaxAttributes {
		return nil, fmt.Errorf("the header has %d columns, the limit is %d", len(columns), MaxAttributes)
	}
	return columns, nil
}

func noEmail(cells []string) error {
	hint := ""
	for _, separator := range []string{";", "\t"} {
		if len(cells) == 1 && strings.Contains(cells[0], separator) {
			hint = fmt.Sprintf("; it seems to be separated by %q, and must be by commas", separator)
		}
	}
	return fmt.Errorf("the first row must be a header with a column Email, such as %s%s", strings.Join(standardColumns(), ","), hint)
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
	case "true", "1":
		return true, nil
	case "false", "0":
		return false, nil
	}
	return false, fmt.Errorf("%s is %q; it must be true, false, 1, 0 or empty", name, clip(cell))
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
