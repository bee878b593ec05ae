package mysqlsync_test

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"postern/directory/mysqlsync"
)

// digits are ten rows of a column n; so many of them crossed give many rows.
const digits = "(SELECT 0 n UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9)"

// fill puts 10^tens rows into users, id from 1, in seconds of perSecond rows each, from
// the end to the start.
func (s *shop) fill(tens, perSecond int) {
	s.t.Helper()
	from, n := digits+" d0", "d0.n"
	for i := 1; i < tens; i++ {
		from += fmt.Sprintf(", %s d%d", digits, i)
		n += fmt.Sprintf(" + d%d.n * %.0f", i, math.Pow10(i))
	}
	s.utc("USE "+s.name, fmt.Sprintf(`INSERT INTO users (id, email, name, subscribed, update_at)
		SELECT n + 1, CONCAT('u', n, '@example.com'), '사용자 👋', 1, '2024-03-01 00:00:00' - INTERVAL n DIV %d SECOND FROM (SELECT %s AS n FROM %s) x`, perSecond, n, from))
	rows, err := s.db.Query("ANALYZE TABLE users")
	if err != nil {
		s.t.Fatal(err)
	}
	rows.Close()
}

// served is how many rows the server has read from tables, and sorted, so far.
func (s *shop) served() (read, sorted int64) {
	s.t.Helper()
	rows, err := s.db.Query("SHOW GLOBAL STATUS WHERE Variable_name LIKE 'Handler_read%' OR Variable_name = 'Sort_rows'")
	if err != nil {
		s.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		var n int64
		if err := rows.Scan(&name, &n); err != nil {
			s.t.Fatal(err)
		}
		if name == "Sort_rows" {
			sorted += n
		} else {
			read += n
		}
	}
	return read, sorted
}

func hundredThousand(t *testing.T, s *shop) {
	const rows = 100_000
	s.users()
	s.fill(5, 700)
	table := s.open(s.config())
	if n, err := table.Count(t.Context()); err != nil || n != rows {
		t.Errorf("%d rows, %v", n, err)
	}
	for name, read := range map[string]func() []mysqlsync.Row{
		"by key":  func() []mysqlsync.Row { return all(t, table, 1000) },
		"changes": func() []mysqlsync.Row { return changes(t, table, mysqlsync.Mark{}, 1000) },
	} {
		before, sorted := s.served()
		got := read()
		after, sortedAfter := s.served()
		if after-before > rows*11/10 || sortedAfter != sorted {
			t.Errorf("%s: the server reads %d rows and sorts %d to give %d", name, after-before, sortedAfter-sorted, len(got))
		}
		seen := make([]bool, rows+1)
		for _, r := range got {
			id, err := strconv.Atoi(r.Key)
			if err != nil || id < 1 || id > rows || seen[id] || r.Problem != "" {
				t.Fatalf("%s: row %q again, or none: %+v", name, r.Key, r)
			}
			seen[id] = true
		}
		if len(got) != rows {
			t.Errorf("%s: %d rows", name, len(got))
		}
	}
}

func textKeysUseTheIndex(t *testing.T, s *shop) {
	for _, key := range []string{"VARCHAR(40) CHARACTER SET latin1", "VARCHAR(40) CHARACTER SET utf8mb3", "VARBINARY(40)"} {
		s.users()
		s.fill(4, 70)
		s.exec("ALTER TABLE users DROP PRIMARY KEY, MODIFY id " + key + " NOT NULL PRIMARY KEY")
		table := s.open(s.config())
		if got := changes(t, table, mysqlsync.Mark{}, 1000); len(got) != 10_000 {
			t.Errorf("%s: %d rows", key, len(got))
		}
		if got := all(t, table, 1000); len(got) != 10_000 {
			t.Errorf("%s: %d rows by key", key, len(got))
		}
		plan := s.plan("SELECT * FROM users WHERE (update_at > ? OR (update_at = ? AND id > ?)) AND id <> '' ORDER BY update_at, id LIMIT 1000",
			"2024-02-29 23:59:00", "2024-02-29 23:59:00", "500")
		if strings.Contains(strings.ToLower(plan), "sort") || !strings.Contains(plan, "update_at") {
			t.Errorf("%s: the plan is %s", key, plan)
		}
		s.exec("DROP TABLE users")
	}
}

// plan is what the server says that it would do.
func (s *shop) plan(query string, args ...any) string {
	s.t.Helper()
	rows, err := s.db.Query("EXPLAIN "+query, args...)
	if err != nil {
		s.t.Fatal(err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		s.t.Fatal(err)
	}
	var all []string
	for rows.Next() {
		values := make([]any, len(columns))
		for i := range values {
			values[i] = new([]byte)
		}
		if err := rows.Scan(values...); err != nil {
			s.t.Fatal(err)
		}
		for i, name := range columns {
			if name != "possible_keys" {
				all = append(all, fmt.Sprintf("%s=%s", name, *values[i].(*[]byte)))
			}
		}
	}
	return strings.Join(all, " ")
}

func keys(t *testing.T, s *shop) {
	type typedKeys struct {
		column string
		keys   []string // in their order
		first  string   // how the literal begins, "" for '...'
	}
	cases := []typedKeys{
		{"BIGINT UNSIGNED", []string{"1", "9007199254740993", "9223372036854775807", "9223372036854775808", "18446744073709551614", "18446744073709551615"}, "#"},
		{"BIGINT", []string{"-9223372036854775808", "-1", "0", "9007199254740993", "9223372036854775807"}, "#"},
		{"INT ZEROFILL", []string{"0", "7", "10"}, "#"},
		{"VARCHAR(20) COLLATE utf8mb4_general_ci", []string{"1", "A", "b", "C", "d", "ä-2", "é", "김", "민"}, ""},
		{"VARCHAR(20) COLLATE utf8mb4_bin", []string{"1", "A", "C", "b", "d", "é", "김", "👋"}, ""},
		{"VARCHAR(20) CHARACTER SET latin1", []string{"1", "a", "b", "é"}, ""},
		{"VARCHAR(20) CHARACTER SET euckr", []string{"1", "a", "가", "나"}, ""},
		{"VARCHAR(20) CHARACTER SET ucs2", []string{"1", "a", "가", "나"}, ""},
		{"CHAR(36) CHARACTER SET ascii", []string{"1", "10", "2", "it's", "x%_\\"}, ""},
		{"BINARY(16)", []string{"00000000000000000000000000000000", "00ff2700000000000000000000000001", "80000000000000000000000000000000", "ffffffffffffffffffffffffffffffff"}, "0x"},
		{"VARBINARY(16)", []string{"00", "0000", "41", "5c27", "c328", "f0288cbc"}, "0x"},
	}
	if s.mariaDB() {
		cases = append(cases, typedKeys{"UUID", []string{"00000000-0000-0000-0000-000000000001", "f47ac10b-58cc-11ee-8c99-0242ac120002", "123e4567-e89b-42d3-a456-426614174000"}, ""},
			typedKeys{"INET6", []string{"::1", "2001:db8::1", "::ffff:192.0.2.1"}, ""})
	}
	for _, c := range cases {
		s.exec("CREATE TABLE users (id " + c.column + " NOT NULL PRIMARY KEY, email VARCHAR(254), name VARCHAR(50), subscribed BOOL, update_at TIMESTAMP NULL) CHARACTER SET utf8mb4")
		for i := range c.keys {
			k := c.keys[len(c.keys)-1-i]
			switch c.first {
			case "#":
				s.exec("INSERT INTO users (id, email, update_at) VALUES (" + k + ", 'kim@example.com', '2024-03-01')")
			case "0x":
				s.exec("INSERT INTO users (id, email, update_at) VALUES (0x" + k + ", 'kim@example.com', '2024-03-01')")
			default:
				s.exec("INSERT INTO users (id, email, update_at) VALUES (?, 'kim@example.com', '2024-03-01')", k)
			}
		}
		table := s.open(s.config())
		want := c.keys
		if strings.HasSuffix(c.column, "general_ci") || c.column == "UUID" || c.column == "INET6" { // its own order
			want = s.ordered()
		}
		for limit := 1; limit <= 3; limit++ {
			if got := keysOf(all(t, table, limit)); !slices.Equal(got, want) {
				t.Errorf("%s by %d: %q, want %q", c.column, limit, got, want)
			}
			if got := keysOf(changes(t, table, mysqlsync.Mark{}, limit)); !slices.Equal(got, want) {
				t.Errorf("changes, %s by %d: %q, want %q", c.column, limit, got, want)
			}
		}
		for _, k := range c.keys {
			if got := s.one(table, k).Key; got != k {
				t.Errorf("%s: row %q is %q", c.column, k, got)
			}
		}
		s.exec("DROP TABLE users")
	}

	// The empty text would be the start of all.
	s.exec("CREATE TABLE users (id VARCHAR(20) NOT NULL PRIMARY KEY, email VARCHAR(254), name VARCHAR(50), subscribed BOOL, update_at TIMESTAMP NULL)")
	s.exec("INSERT INTO users (id) VALUES ('\t'), (''), ('a')")
	if got := keysOf(all(t, s.open(s.config()), 1)); !slices.Equal(got, []string{"\t", "a"}) {
		t.Errorf("with an empty key: %q", got)
	}
}

func (s *shop) ordered() []string {
	s.t.Helper()
	rows, err := s.db.Query("SELECT id FROM users ORDER BY id")
	if err != nil {
		s.t.Fatal(err)
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var k string
		if err := rows.Scan(&k); err != nil {
			s.t.Fatal(err)
		}
		all = append(all, k)
	}
	return all
}

func equalTimes(t *testing.T, s *shop) {
	for _, column := range []string{"TIMESTAMP NULL", "TIMESTAMP(6) NULL", "DATETIME", "DATETIME(3)"} {
		s.users()
		s.exec("ALTER TABLE users MODIFY update_at " + column)
		s.utc("USE "+s.name, `INSERT INTO users (id, email, update_at) VALUES
			(5, 'a@example.com', '2024-03-01 00:00:01'), (4, 'a@example.com', '2024-03-01 00:00:01'), (3, 'a@example.com', '2024-03-01 00:00:01'),
			(9, 'a@example.com', '2024-03-01 00:00:00.999999'), (1, 'a@example.com', '2024-03-01 00:00:02'), (2, 'a@example.com', '2024-03-01 00:00:01')`)
		table := s.open(s.config())
		want := s.byChange()
		for limit := 1; limit <= 6; limit++ {
			if got := keysOf(changes(t, table, mysqlsync.Mark{}, limit)); !slices.Equal(got, want) {
				t.Errorf("%s by %d: %v, want %v", column, limit, got, want)
			}
		}
		// A mark without a key is before all of its time, and behind what is earlier.
		at := s.one(table, "3").Updated
		if got := keysOf(changes(t, table, mysqlsync.Mark{Updated: at}, 2)); !slices.Equal(got, want[slices.Index(want, "2"):]) && column != "TIMESTAMP NULL" && column != "DATETIME" {
			t.Errorf("%s: from %v: %v", column, at, got)
		}
		if got := keysOf(changes(t, table, mysqlsync.Mark{Updated: at.Add(time.Nanosecond)}, 2)); !slices.Contains(got, "1") {
			t.Errorf("%s: a mark that is finer than the column: %v", column, got)
		}
		s.exec("DROP TABLE users")
	}
}

// byChange is the order that the server itself gives.
func (s *shop) byChange() []string {
	s.t.Helper()
	rows, err := s.db.Query("SELECT id FROM users WHERE update_at >= '1970-01-02' ORDER BY update_at, id")
	if err != nil {
		s.t.Fatal(err)
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var k string
		if err := rows.Scan(&k); err != nil {
			s.t.Fatal(err)
		}
		all = append(all, k)
	}
	return all
}

func changesBetweenPages(t *testing.T, s *shop) {
	s.users()
	s.utc("USE "+s.name, `INSERT INTO users (id, email, name, update_at) VALUES (1, 'a@example.com', 'a', '2024-03-01 00:00:01'), (2, 'b@example.com', 'b', '2024-03-01 00:00:02'),
		(3, 'c@example.com', 'c', '2024-03-01 00:00:03'), (4, 'd@example.com', 'd', '2024-03-01 00:00:04'), (5, 'e@example.com', 'e', '2024-03-01 00:00:05')`)
	table := s.open(s.config())
	first, err := table.Changed(t.Context(), mysqlsync.Mark{}, 2)
	if err != nil || len(first) != 2 {
		t.Fatal(first, err)
	}
	// A row that was read changes, one that was not changes and goes to the end, one is
	// deleted, one is new, and one is in a transaction that has not ended.
	s.exec("UPDATE users SET name = 'A' WHERE id = 1")
	s.exec("UPDATE users SET name = 'C' WHERE id = 3")
	s.exec("DELETE FROM users WHERE id = 4")
	s.exec("INSERT INTO users (id, email, name) VALUES (6, 'f@example.com', 'f')")
	open, err := s.db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := open.Exec("UPDATE users SET name = 'E' WHERE id = 5"); err != nil {
		t.Fatal(err)
	}
	read := func(limit int) map[string]any {
		names := map[string]any{}
		for _, r := range changes(t, table, mysqlsync.Mark{Updated: first[1].Updated, Key: first[1].Key}, limit) {
			if names[r.Key] != nil {
				t.Errorf("row %s comes twice", r.Key)
			}
			names[r.Key] = r.User.Attributes["Name"]
		}
		return names
	}
	if got := fmt.Sprint(read(1)); got != "map[1:A 3:C 5:e 6:f]" {
		t.Errorf("after the first page: %v", got)
	}
	if err := open.Commit(); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(read(2)); got != "map[1:A 3:C 5:E 6:f]" {
		t.Errorf("after the transaction: %v", got)
	}
	if got := fmt.Sprint(keysOf(all(t, table, 2))); got != "[1 2 3 5 6]" {
		t.Errorf("by key: %v", got)
	}
}

func undated(t *testing.T, s *shop) {
	for column, times := range map[string]struct{ none, some []string }{
		"TIMESTAMP(6) NULL":           {[]string{"NULL", "'0000-00-00 00:00:00'"}, []string{"'1970-01-01 00:00:01'", "'2024-03-01 00:00:00'"}},
		"TIMESTAMP NOT NULL":          {[]string{"'0000-00-00 00:00:00'"}, []string{"'2024-03-01 00:00:00'"}},
		"DATETIME(6)":                 {[]string{"NULL", "'0000-00-00 00:00:00'", "'0001-01-01 00:00:00'", "'9999-12-31 23:59:59'"}, []string{"'1000-01-01 00:00:00'", "'2024-03-01 00:00:00'", "'9999-12-30 00:00:00'"}},
		"DATETIME NOT NULL":           {[]string{"'0000-00-00 00:00:00'"}, []string{"'1000-01-01 00:00:00'"}},
		"INT":                         {[]string{"NULL", "0", "-5"}, []string{"1", "1709251200"}},
		"BIGINT UNSIGNED":             {[]string{"NULL", "0"}, []string{"1709251200000", "1709251200001"}},
		"BIGINT NOT NULL":             {[]string{"0", "-1"}, []string{"1", "1709251200"}},
		"BIGINT DEFAULT 0":            {[]string{"NULL", "0"}, nil},
		"TIMESTAMP NULL DEFAULT NULL": {nil, []string{"'2024-03-01 00:00:00'"}},
	} {
		s.utc("USE "+s.name, "CREATE TABLE users (id INT NOT NULL PRIMARY KEY, email VARCHAR(254), name VARCHAR(50), subscribed BOOL, update_at "+column+", KEY (update_at))")
		var none, some []string
		for i, literal := range slices.Concat(times.some, times.none) {
			s.utc("USE "+s.name, fmt.Sprintf("INSERT INTO users (id, email, update_at) VALUES (%d, 'a@example.com', %s)", i+1, literal))
			if i < len(times.some) {
				some = append(some, strconv.Itoa(i+1))
			} else {
				none = append(none, strconv.Itoa(i+1))
			}
		}
		table := s.open(s.config())
		got := pages(t, 1, func(after mysqlsync.Row) ([]mysqlsync.Row, error) {
			return table.Undated(t.Context(), after.Key, 1)
		})
		if !slices.Equal(keysOf(got), none) {
			t.Errorf("%s: rows without a time are %v, want %v", column, keysOf(got), none)
		}
		if got := keysOf(changes(t, table, mysqlsync.Mark{}, 1)); !slices.Equal(got, some) {
			t.Errorf("%s: rows with a time are %v, want %v", column, got, some)
		}
		for _, r := range all(t, table, 100) {
			if r.Updated.IsZero() != slices.Contains(none, r.Key) {
				t.Errorf("%s: row %s has %v", column, r.Key, r.Updated)
			}
		}
		s.exec("DROP TABLE users")
	}

	// Days that no month has are in no order; they stop nothing.
	s.utc("USE "+s.name, "CREATE TABLE users (id INT NOT NULL PRIMARY KEY, email VARCHAR(254), name VARCHAR(50), subscribed BOOL, update_at DATETIME, KEY (update_at))",
		"INSERT INTO users (id, update_at) VALUES (1, '2024-02-29 12:00:00'), (2, '2024-02-31 00:00:00'), (3, '2024-02-30 00:00:00'), (4, '2024-05-00 00:00:00'), (5, '2024-00-05 00:00:00'), (6, '2024-06-01 00:00:00')")
	table := s.open(s.config())
	if got := keysOf(changes(t, table, mysqlsync.Mark{}, 1)); !slices.Equal(got, []string{"1", "6"}) {
		t.Errorf("with days that are none: %v", got)
	}
	if got := all(t, table, 2); len(got) != 6 || !got[1].Updated.IsZero() {
		t.Errorf("by key: %+v", got)
	}
}

func lookup(t *testing.T, s *shop) {
	s.users()
	s.fill(3, 7)
	table := s.open(s.config())
	var keys []string
	for i := 1; i <= 1200; i++ { // more than there are, and than one statement asks for
		keys = append(keys, strconv.Itoa(i))
	}
	rows, err := table.Lookup(t.Context(), keys)
	if err != nil {
		t.Fatal(err)
	}
	got := keysOf(rows)
	slices.SortFunc(got, func(a, b string) int { return len(a) - len(b) })
	if len(slices.Compact(got)) != 1000 {
		t.Errorf("%d rows", len(got))
	}
	if rows, err := table.Lookup(t.Context(), nil); err != nil || len(rows) != 0 {
		t.Errorf("none: %v, %v", rows, err)
	}
}

func views(t *testing.T, s *shop) {
	s.users()
	s.fill(2, 7)
	s.exec("CREATE VIEW people AS SELECT id AS uid, LOWER(email) AS mail, name, subscribed, update_at AS changed FROM users WHERE id <= 50")
	cfg := s.config()
	cfg.DSN, cfg.Table, cfg.Key, cfg.Updated = s.root, s.name+".people", "uid", "changed"
	cfg.Columns["Email"] = "mail"
	table := s.open(cfg)
	if got := len(all(t, table, 7)); got != 50 {
		t.Errorf("%d rows by key", got)
	}
	if got := len(changes(t, table, mysqlsync.Mark{}, 7)); got != 50 {
		t.Errorf("%d rows by change", got)
	}
	if n, err := table.Count(t.Context()); err != nil || n != 50 {
		t.Errorf("counted %d, %v", n, err)
	}
	if w := table.Warnings(); !slices.ContainsFunc(w, func(w string) bool { return strings.Contains(w, "is a view") }) {
		t.Errorf("warnings: %q", w)
	}
}

func quotedNames(t *testing.T, s *shop) {
	s.exec("CREATE TABLE `us``ers; DROP` (`i``d` INT NOT NULL PRIMARY KEY, `e mail` VARCHAR(254), `이름` VARCHAR(50), `up%at` TIMESTAMP NULL)")
	s.exec("INSERT INTO `us``ers; DROP` VALUES (1, 'kim@example.com', '김', '2024-03-01')")
	cfg := s.config()
	cfg.Table, cfg.Key, cfg.Updated = "us`ers; DROP", "i`d", "up%at"
	cfg.Columns = map[string]string{"Email": "e mail", "이름": "이름"}
	table := s.open(cfg)
	if rows := changes(t, table, mysqlsync.Mark{}, 5); len(rows) != 1 || rows[0].User.Attributes["이름"] != "김" {
		t.Errorf("%+v", rows)
	}
}
