package mysqlsync

import (
	"context"
	"database/sql"
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// kind is how the values of a column are read.
type kind int

const (
	otherKind kind = iota // a geometry, a vector: nothing that an attribute can be
	integerKind
	decimalKind
	floatKind
	bitKind
	textKind
	bytesKind
	dateKind
	datetimeKind
	timestampKind
	jsonKind
)

// column is a column of the table as information_schema has it.
type column struct {
	name     string
	kind     kind
	typ      string // "bigint(20) unsigned"
	nullable bool
	digits   int  // of a second's fraction
	touched  bool // ON UPDATE CURRENT_TIMESTAMP
}

// kindOf says how values of the type, as DATA_TYPE has it, are read.
func kindOf(dataType string) kind {
	switch dataType {
	case "tinyint", "smallint", "mediumint", "int", "bigint", "year":
		return integerKind
	case "decimal":
		return decimalKind
	case "float", "double":
		return floatKind
	case "bit":
		return bitKind
	case "char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set", "time",
		"uuid", "inet4", "inet6": // the last three are MariaDB's
		return textKind
	case "binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob":
		return bytesKind
	case "date":
		return dateKind
	case "datetime":
		return datetimeKind
	case "timestamp":
		return timestampKind
	case "json":
		return jsonKind
	}
	return otherKind
}

// schema is what is known of the table before the first row is read.
type schema struct {
	columns []column
	view    bool
	// indexes has the columns of each index in their order, but not those with an
	// expression; unique says which of them allow no two rows of the same.
	indexes map[string][]string
	unique  map[string]bool
}

func (s *schema) column(name string) *column {
	i := slices.IndexFunc(s.columns, func(c column) bool { return strings.EqualFold(c.name, name) })
	if i < 0 {
		return nil
	}
	return &s.columns[i]
}

// uniqueColumn says that an index of that column alone allows no two rows of the same.
func (s *schema) uniqueColumn(name string) bool {
	for index, columns := range s.indexes {
		if s.unique[index] && len(columns) == 1 && strings.EqualFold(columns[0], name) {
			return true
		}
	}
	return false
}

// firstOf says that an index begins with the column, and inOrder that an index has rows
// in the order of the column and then the key; the primary key stands behind each index
// by itself (InnoDB).
func (s *schema) firstOf(name, key string) (first, inOrder bool) {
	primary := s.indexes["PRIMARY"]
	for _, columns := range s.indexes {
		if !strings.EqualFold(columns[0], name) {
			continue
		}
		first = true
		all := slices.Concat(columns, primary)
		inOrder = inOrder || len(all) > 1 && strings.EqualFold(all[1], key)
	}
	return first, inOrder
}

// readSchema looks the table up. No columns: it is not there, or not for this user.
func readSchema(ctx context.Context, db *sql.DB, database, table string) (*schema, error) {
	s := &schema{indexes: map[string][]string{}, unique: map[string]bool{}}
	var typ string
	err := db.QueryRowContext(ctx, "SELECT TABLE_TYPE FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?", database, table).Scan(&typ)
	if errors.Is(err, sql.ErrNoRows) {
		return s, nil
	}
	if err != nil {
		return nil, err
	}
	s.view = strings.Contains(typ, "VIEW")
	if err := s.readColumns(ctx, db, database, table); err != nil {
		return nil, err
	}
	return s, s.readIndexes(ctx, db, database, table)
}

func (s *schema) readColumns(ctx context.Context, db *sql.DB, database, table string) error {
	rows, err := db.QueryContext(ctx, `SELECT COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, IS_NULLABLE, COALESCE(DATETIME_PRECISION, 0), EXTRA
		FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? ORDER BY ORDINAL_POSITION`, database, table)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var c column
		var dataType, nullable, extra string
		if err := rows.Scan(&c.name, &dataType, &c.typ, &nullable, &c.digits, &extra); err != nil {
			return err
		}
		c.kind, c.typ = kindOf(strings.ToLower(dataType)), strings.ToLower(c.typ)
		c.nullable = nullable == "YES"
		c.touched = strings.Contains(strings.ToLower(extra), "on update")
		s.columns = append(s.columns, c)
	}
	return rows.Err()
}

func (s *schema) readIndexes(ctx context.Context, db *sql.DB, database, table string) error {
	rows, err := db.QueryContext(ctx, `SELECT INDEX_NAME, NON_UNIQUE, COLUMN_NAME
		FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? ORDER BY INDEX_NAME, SEQ_IN_INDEX`, database, table)
	if err != nil {
		return err
	}
	defer rows.Close()
	var partial []string
	for rows.Next() {
		var name string
		var notUnique int
		var column sql.NullString
		if err := rows.Scan(&name, &notUnique, &column); err != nil {
			return err
		}
		if !column.Valid { // an expression
			partial = append(partial, name)
		}
		s.indexes[name] = append(s.indexes[name], column.String)
		s.unique[name] = notUnique == 0
	}
	for _, name := range partial {
		delete(s.indexes, name)
	}
	return rows.Err()
}

// markJSON finds MariaDB's columns of JSON, which are longtext with a check. It is for
// a nicer value alone, and what cannot be read changes nothing.
func (s *schema) markJSON(ctx context.Context, db *sql.DB, quoted string) {
	if s.view || !slices.ContainsFunc(s.columns, func(c column) bool { return c.typ == "longtext" }) {
		return
	}
	var name, text string
	if err := db.QueryRowContext(ctx, "SHOW CREATE TABLE "+quoted).Scan(&name, &text); err != nil {
		return
	}
	for _, found := range regexp.MustCompile("(?i)CHECK \\(json_valid\\(`((?:[^`]|``)+)`\\)\\)").FindAllStringSubmatch(text, -1) {
		if c := s.column(strings.ReplaceAll(found[1], "``", "`")); c != nil && c.typ == "longtext" {
			c.kind = jsonKind
		}
	}
}

// writingRights gives what the user may do beyond reading, such as "INSERT"; nil when that
// cannot be found out.
func writingRights(ctx context.Context, db *sql.DB) []string {
	rows, err := db.QueryContext(ctx, "SHOW GRANTS")
	if err != nil {
		return nil
	}
	defer rows.Close()
	found := map[string]bool{}
	for rows.Next() {
		var grant string
		if err := rows.Scan(&grant); err != nil {
			return nil
		}
		for _, right := range rightsOf(grant) {
			found[right] = true
		}
	}
	for _, reading := range []string{"USAGE", "SELECT", "SHOW VIEW"} {
		delete(found, reading)
	}
	return slices.Sorted(maps.Keys(found))
}

// rightsOf reads a line such as "GRANT SELECT (`id`, `name`), INSERT ON `shop`.* TO `app`@`%`".
func rightsOf(grant string) []string {
	rights, _, isGrant := strings.Cut(strings.TrimPrefix(grant, "GRANT "), " ON ")
	if !isGrant || strings.HasPrefix(rights, "`") || strings.HasPrefix(rights, "'") { // a role
		return nil
	}
	rights = regexp.MustCompile(`\([^)]*\)`).ReplaceAllString(rights, "")
	var all []string
	for right := range strings.SplitSeq(rights, ",") {
		all = append(all, strings.TrimSpace(right))
	}
	return all
}
