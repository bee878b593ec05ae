package mysqlsync_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/directory/mysqlsync"
)

// typed is a column of a type, a literal of SQL in it, and what the attribute is then.
type typed struct {
	column, literal string
	as              string // in Types
	want            any
}

// typedTable makes a table of one row with a column for each, c0, c1 and so on.
func (s *shop) typedTable(cases []typed) mysqlsync.TableConfig {
	s.t.Helper()
	columns, values := "", ""
	cfg := s.config()
	cfg.Columns, cfg.Types = map[string]string{"Email": "email"}, map[string]string{}
	for i, c := range cases {
		name := fmt.Sprintf("c%d", i)
		columns += ", " + name + " " + c.column
		values += ", " + c.literal
		cfg.Columns[name] = name
		if c.as != "" {
			cfg.Types[name] = c.as
		}
	}
	s.utc("CREATE TABLE "+s.name+".users (id INT NOT NULL PRIMARY KEY, email VARCHAR(100), update_at TIMESTAMP(6) NULL"+columns+") CHARACTER SET utf8mb4",
		"INSERT INTO "+s.name+".users VALUES (1, 'kim@example.com', '2024-03-01 00:00:00'"+values+")")
	return cfg
}

func (s *shop) expectTyped(cases []typed) {
	s.t.Helper()
	cfg := s.typedTable(cases)
	table := s.open(cfg)
	rows, err := table.ByKey(s.t.Context(), "", 10)
	if err != nil || len(rows) != 1 || rows[0].Problem != "" {
		s.t.Fatalf("%+v, %v", rows, err)
	}
	for i, c := range cases {
		name := fmt.Sprintf("c%d", i)
		if got := rows[0].User.Attributes[name]; !reflect.DeepEqual(got, c.want) {
			s.t.Errorf("%s %s as %q: %#v, want %#v", c.column, c.literal, c.as, got, c.want)
		}
		field, typ := table.Fields()[name], ""
		switch c.want.(type) {
		case string:
			typ = "string"
		case json.Number:
			typ = "number"
		case bool:
			typ = "bool"
		}
		if typ != "" && field != typ && !strings.HasPrefix(c.column, "JSON") {
			s.t.Errorf("%s as %q: the field is %q, the value %#v", c.column, c.as, field, c.want)
		}
	}
}

func everyType(t *testing.T, s *shop) {
	n := func(s string) json.Number { return json.Number(s) }
	s.expectTyped([]typed{
		{"TINYINT", "-128", "", n("-128")},
		{"TINYINT UNSIGNED", "255", "", n("255")},
		{"TINYINT(1)", "2", "", n("2")},
		{"BOOL", "TRUE", "", n("1")},
		{"SMALLINT", "-32768", "", n("-32768")},
		{"MEDIUMINT UNSIGNED", "16777215", "", n("16777215")},
		{"MEDIUMINT", "-8388608", "", n("-8388608")},
		{"INT ZEROFILL", "7", "", n("7")},
		{"INT UNSIGNED", "4294967295", "", n("4294967295")},
		{"BIGINT", "-9223372036854775808", "", n("-9223372036854775808")},
		{"BIGINT UNSIGNED", "18446744073709551615", "", n("18446744073709551615")},
		{"YEAR", "2024", "", n("2024")},
		{"DECIMAL(10,2)", "12.50", "", n("12.5")},
		{"DECIMAL(10,2)", "-0.05", "", n("-0.05")},
		{"DECIMAL(10,2) ZEROFILL", "0", "", n("0")},
		{"DECIMAL(38,0)", "99999999999999999999999999999999999999", "", n("99999999999999999999999999999999999999")},
		{"FLOAT", "0.1", "", n("0.1")},
		{"FLOAT", "1000000", "", n("1000000")},
		{"DOUBLE", "-1234567.890123", "", n("-1234567.890123")},
		{"DOUBLE", "1e20", "", n("100000000000000000000")},
		{"BIT(1)", "b'1'", "", n("1")},
		{"BIT(10)", "b'1000000001'", "", n("513")},
		{"BIT(64)", "0xFFFFFFFFFFFFFFFF", "", n("18446744073709551615")},
		{"CHAR(5)", "'ab '", "", "ab"},
		{"VARCHAR(50)", "' 김민수 👋🏽 '", "", " 김민수 👋🏽 "},
		{"VARCHAR(50)", "''", "", ""},
		{"TEXT", "'a\\nb'", "", "a\nb"},
		{"LONGTEXT", "'long'", "", "long"},
		{"ENUM('남','여')", "'여'", "", "여"},
		{"SET('a','b','c')", "'a,c'", "", "a,c"},
		{"TIME(2)", "'-12:34:56.70'", "", "-12:34:56.70"},
		{"BINARY(3)", "0x00FF41", "", "AP9B"},
		{"VARBINARY(10)", "'text'", "", "dGV4dA=="},
		{"BLOB", "''", "", ""},
		{"DATE", "'2024-03-01'", "", "2024-03-01"},
		{"DATE", "'0000-00-00'", "", nil},
		{"DATETIME", "'2024-03-01 09:00:00'", "", "2024-03-01 09:00:00"},
		{"DATETIME(6)", "'2024-03-01 09:00:00.123456'", "", "2024-03-01 09:00:00"},
		{"DATETIME", "'0000-00-00 00:00:00'", "", nil},
		{"TIMESTAMP NULL", "'2024-03-01 00:00:00'", "", "2024-03-01 09:00:00"}, // by the clocks of Seoul
		{"JSON", `'{"a": [1, 2.50, "x", null, true]}'`, "", map[string]any{"a": []any{n("1"), jsonFraction(s), "x", nil, true}}},
		{"JSON", `'"text"'`, "", "text"},
		{"JSON", `'12'`, "", n("12")},
		{"JSON", `'null'`, "", nil},
		{"INT", "NULL", "", nil},
		{"VARCHAR(5)", "NULL", "", nil},
		{"JSON", "NULL", "", nil},
		{"BIT(3)", "NULL", "", nil},
		{"TIMESTAMP NULL", "NULL", "", nil},
	})
}

// jsonFraction is 2.50 as the server keeps it: MySQL reads it, MariaDB does not.
func jsonFraction(s *shop) json.Number {
	if s.mariaDB() {
		return "2.50"
	}
	return "2.5"
}

func (s *shop) mariaDB() bool {
	s.t.Helper()
	var version string
	if err := s.db.QueryRow("SELECT VERSION()").Scan(&version); err != nil {
		s.t.Fatal(err)
	}
	return strings.Contains(version, "MariaDB")
}

func wantedTypes(t *testing.T, s *shop) {
	n := func(s string) json.Number { return json.Number(s) }
	s.expectTyped([]typed{
		{"VARCHAR(20)", "' 007.50 '", "number", n("7.5")},
		{"VARCHAR(20)", "''", "number", nil},
		{"VARCHAR(20)", "'-1.5E3'", "number", n("-1.5e3")},
		{"VARBINARY(20)", "'12'", "number", n("12")},
		{"DATE", "'2024-03-01'", "number", n("1709218800")}, // midnight in Seoul
		{"DATETIME", "'2024-03-01 09:00:00'", "number", n("1709251200")},
		{"TIMESTAMP(6) NULL", "'2024-03-01 00:00:00.9'", "number", n("1709251200")},
		{"DATETIME", "'0000-00-00 00:00:00'", "number", nil},
		{"JSON", `'"42"'`, "number", n("42")},
		{"JSON", "'null'", "number", nil},
		{"INT", "42", "string", "42"},
		{"DECIMAL(5,2)", "1.50", "string", "1.5"},
		{"BIT(4)", "b'101'", "string", "5"},
		{"JSON", `'{"a":1}'`, "string", jsonObject(s)},
		{"JSON", `'"a"'`, "string", "a"},
		{"TINYINT(1)", "1", "bool", true},
		{"TINYINT(1)", "0", "bool", false},
		{"BIT(1)", "b'0'", "bool", false},
		{"CHAR(1)", "'Y'", "bool", true},
		{"VARCHAR(9)", "' False'", "bool", false},
		{"VARCHAR(5)", "''", "bool", nil},
		{"JSON", "'true'", "bool", true},
		{"BINARY(1)", "0x01", "bool", true},
	})
	s.exec("DROP TABLE users")
	cfg := s.typedTable([]typed{{"DATETIME", "'2024-03-01 09:00:00'", "", nil}, {"JSON", "'{}'", "", nil}})
	delete(cfg.Columns, "c0")
	cfg.Columns["CreateTime"] = "c0"
	table := s.open(cfg)
	if got := s.one(table, "1").User.Attributes["CreateTime"]; got != n("1709251200") {
		t.Errorf("CreateTime is %#v", got)
	}
	if got := table.Fields(); !maps.Equal(got, map[string]string{"CreateTime": "number"}) {
		t.Errorf("fields: %v", got)
	}
}

// jsonObject is {"a":1} as the server keeps it.
func jsonObject(s *shop) string {
	if s.mariaDB() {
		return `{"a":1}`
	}
	return `{"a": 1}`
}

func misfits(t *testing.T, s *shop) {
	for _, c := range []typed{
		{"VARCHAR(20)", "'seven'", "number", "seven"},
		{"VARCHAR(20)", "'1,000'", "number", "1,000"},
		{"VARCHAR(20)", "'0x10'", "number", "0x10"},
		{"VARCHAR(20)", "'1e999'", "number", "beyond 38 digits"},
		{"VARCHAR(20)", "'maybe'", "bool", "neither yes nor no"},
		{"INT", "2", "bool", "neither yes nor no"},
		{"DATE", "'2024-03-01'", "bool", "neither yes nor no"},
		{"DATETIME", "'2024-02-31 00:00:00'", "number", "no date and time"},
		{"DECIMAL(40,0)", "1234567890123456789012345678901234567890", "", "beyond 38 digits"},
		{"DOUBLE", "1e300", "", "beyond 38 digits"},
		{"JSON", `'{"a":1}'`, "number", "no number"},
		{"VARBINARY(20)", "0xFF", "number", "no number"},
		{"MEDIUMTEXT", "REPEAT('x', 300000)", "", "the limit is"},
	} {
		row := s.one(s.open(s.typedTable([]typed{c})), "1")
		if !strings.Contains(row.Problem, c.want.(string)) || !strings.Contains(row.Problem, "c0") && !strings.Contains(row.Problem, "limit") {
			t.Errorf("%s %.30s as %q: problem %q, want %q", c.column, c.literal, c.as, row.Problem, c.want)
		}
		if row.Key != "1" || row.Email != "kim@example.com" || row.Updated.IsZero() {
			t.Errorf("a problem hides what else the row is: %+v", row)
		}
		s.exec("DROP TABLE users")
	}
}

func statusIsClosed(t *testing.T, s *shop) {
	cases := []struct {
		column string
		yes    []string
		no     []string
		other  []string
	}{
		{"TINYINT(1)", []string{"1"}, []string{"0"}, []string{"NULL", "2", "-1"}},
		{"BIT(1)", []string{"b'1'"}, []string{"b'0'"}, []string{"NULL"}},
		{"BIT(8)", []string{"1"}, []string{"0"}, []string{"b'110001'"}}, // 49 is '1' as a letter
		{"DECIMAL(3,1)", []string{"1.0"}, []string{"0.0"}, []string{"0.9"}},
		{"FLOAT", []string{"1"}, []string{"0"}, []string{"1.5"}},
		{"VARCHAR(20)", []string{"'true'", "' TRUE '", "'1'", "'Y'", "'yes'"}, []string{"'false'", "'0'", "'n'", "'No'"}, []string{"NULL", "''", "'maybe'", "'on'", "'예'", "'2'", "'t'"}},
		{"ENUM('Y','N','?')", []string{"'Y'"}, []string{"'N'"}, []string{"'?'"}},
		{"BINARY(1)", []string{"'1'", "0x01"}, []string{"'0'", "0x00"}, []string{"0xFF"}},
		{"DATETIME", nil, nil, []string{"'2024-03-01 00:00:00'", "NULL"}},
	}
	for _, c := range cases {
		s.users()
		s.exec("ALTER TABLE users DROP COLUMN subscribed, ADD COLUMN subscribed " + c.column)
		literals := slices.Concat(c.yes, c.no, c.other)
		for i, literal := range literals {
			s.exec(fmt.Sprintf("INSERT INTO users (id, email, subscribed) VALUES (%d, 'kim@example.com', %s)", i+1, literal))
		}
		for i, row := range all(t, s.open(s.config()), 100) {
			yes, unknown := i < len(c.yes), i >= len(c.yes)+len(c.no)
			if u := row.User; row.Problem != "" || u.Subscribed != yes || u.Unknown != unknown || u.KeepStatus {
				t.Errorf("%s %s: subscribed %v, unknown %v (%s)", c.column, literals[i], u.Subscribed, u.Unknown, row.Problem)
			}
		}
		s.exec("DROP TABLE users")
	}

	s.users()
	s.exec("INSERT INTO users (id, email, subscribed) VALUES (1, 'kim@example.com', 1)")
	cfg := s.config()
	delete(cfg.Columns, "SubscriptionStatus")
	if u := s.one(s.open(cfg), "1").User; !u.KeepStatus || u.Subscribed || u.Unknown {
		t.Errorf("not mapped: %+v", u)
	}
}

func deletedRows(t *testing.T, s *shop) {
	for column, c := range map[string]struct{ no, yes []string }{
		"TINYINT(1)":        {[]string{"NULL", "0"}, []string{"1", "2", "-1"}},
		"BIT(8)":            {[]string{"NULL", "0"}, []string{"1", "32"}}, // 32 is a blank as a letter
		"DECIMAL(3,1)":      {[]string{"0.0"}, []string{"0.1"}},
		"DATETIME":          {[]string{"NULL", "'0000-00-00 00:00:00'"}, []string{"'2024-03-01 00:00:00'", "'2024-00-00 00:00:00'"}},
		"TIMESTAMP(3) NULL": {[]string{"NULL", "'0000-00-00 00:00:00'"}, []string{"'2024-03-01 00:00:00'"}},
		"DATE":              {[]string{"NULL", "'0000-00-00'"}, []string{"'2024-03-01'"}},
		"BIGINT":            {[]string{"NULL", "0"}, []string{"1709251200"}},
		"VARCHAR(30)":       {[]string{"NULL", "''", "' '", "'0'", "'false'", "'N'", "'no'", "'0000-00-00 00:00:00'"}, []string{"'1'", "'Y'", "'deleted'", "'2024-03-01'"}},
		"BINARY(2)":         {[]string{"NULL", "0x0000"}, []string{"0x0001"}},
	} {
		s.users()
		s.exec("ALTER TABLE users ADD COLUMN gone " + column)
		literals := slices.Concat(c.no, c.yes)
		for i, literal := range literals {
			s.utc("USE "+s.name, fmt.Sprintf("INSERT INTO users (id, email, gone) VALUES (%d, 'kim@example.com', %s)", i+1, literal))
		}
		cfg := s.config()
		cfg.Deleted = "gone"
		for i, row := range all(t, s.open(cfg), 100) {
			if row.Deleted != (i >= len(c.no)) {
				t.Errorf("%s %s: deleted %v", column, literals[i], row.Deleted)
			}
		}
		s.exec("DROP TABLE users")
	}

	s.users()
	s.exec("ALTER TABLE users ADD COLUMN gone BOOL")
	s.exec("INSERT INTO users (id, email, gone) VALUES (1, NULL, 1)") // as who forgets people does
	cfg := s.config()
	cfg.Deleted = "gone"
	if row := s.one(s.open(cfg), "1"); !row.Deleted || row.Problem != "" {
		t.Errorf("a deleted row without an address: %+v", row)
	}
}

func consents(t *testing.T, s *shop) {
	at := time.Date(2024, 3, 1, 0, 0, 0, 0, time.UTC)
	midnight := time.Date(2024, 2, 29, 15, 0, 0, 0, time.UTC) // of March in Seoul
	for column, literals := range map[string]map[string]time.Time{
		"TIMESTAMP(6) NULL": {"'2024-03-01 00:00:00'": at, "NULL": {}, "'0000-00-00 00:00:00'": {}},
		"DATETIME(3)":       {"'2024-03-01 09:00:00.250'": at.Add(250 * time.Millisecond), "NULL": {}, "'0000-00-00 00:00:00'": {}},
		"DATE":              {"'2024-03-01'": midnight, "'0000-00-00'": {}},
		"INT UNSIGNED":      {"1709251200": at, "0": {}, "NULL": {}, "1": time.Unix(1, 0).UTC()},
		"BIGINT": {"1709251200": at, "1709251200250": at.Add(250 * time.Millisecond), "1709251200000001": at.Add(time.Microsecond),
			"20240301090000": at, "20240301": midnight, "-1": {}, "20241301090000": {}},
		"VARCHAR(40)": {"'2024-03-01 09:00:00'": at, "'2024-03-01T09:00:00'": at, "'2024-03-01T01:00:00+01:00'": at, "' 2024-03-01 '": midnight, "'20240301'": midnight,
			"'1709251200'": at, "''": {}, "'yes'": {}, "'2024-02-31 00:00:00'": {}, "'99999999999999999999'": {}},
		"BOOL":   {"0": {}, "1": time.Unix(1, 0).UTC()}, // long before any opt-out
		"BIT(1)": {"b'1'": {}, "NULL": {}},
	} {
		s.users()
		s.exec("ALTER TABLE users ADD COLUMN agreed " + column)
		var wants []time.Time
		names := slices.Sorted(maps.Keys(literals))
		for i, literal := range names {
			s.utc("USE "+s.name, fmt.Sprintf("INSERT INTO users (id, email, agreed) VALUES (%d, 'kim@example.com', %s)", i+1, literal))
			wants = append(wants, literals[literal])
		}
		cfg := s.config()
		cfg.Consent = "agreed"
		for i, row := range all(t, s.open(cfg), 100) {
			if !row.Consent.Equal(wants[i]) || row.Problem != "" {
				t.Errorf("%s %s: %v, want %v (%s)", column, names[i], row.Consent, wants[i], row.Problem)
			}
		}
		s.exec("DROP TABLE users")
	}

	s.users()
	s.exec("ALTER TABLE users ADD COLUMN agreed VARCHAR(20)")
	s.exec("INSERT INTO users (id, email, agreed) VALUES (1, 'a@example.com', 'yes'), (2, 'b@example.com', 'sure')")
	cfg := s.config()
	cfg.Consent = "agreed"
	table := s.open(cfg)
	all(t, table, 1)
	if w := table.Warnings(); !slices.ContainsFunc(w, func(w string) bool { return strings.Contains(w, "sync.consent agreed") }) {
		t.Errorf("an unreadable consent is no warning: %q", w)
	}
	if n := len(table.Warnings()); n != 2 { // the other is that root may write
		t.Errorf("%d warnings: %q", n, table.Warnings())
	}
}

func TestAConsentIsNeverLaterThanTheClocksCouldMean(t *testing.T) {
	for _, c := range []struct{ zone, wall, want string }{
		{"America/New_York", "2024-11-03 01:30:00", "2024-11-03T05:30:00Z"}, // twice: the first
		{"Europe/Berlin", "2024-10-27 02:30:00", "2024-10-27T00:30:00Z"},
		{"America/New_York", "2024-11-03 00:59:59", "2024-11-03T04:59:59Z"},
		{"America/New_York", "2024-11-03 02:00:00", "2024-11-03T07:00:00Z"},
		{"Asia/Seoul", "2024-03-01 09:00:00", "2024-03-01T00:00:00Z"},
	} {
		got, err := mysqlsync.ConsentTime(c.wall, zone(t, c.zone))
		if err != nil || got.Format(time.RFC3339) != c.want {
			t.Errorf("%s in %s: %v, %v, want %s", c.wall, c.zone, got, err, c.want)
		}
	}
	if got, err := mysqlsync.ConsentTime("2024-03-10 02:30:00", zone(t, "America/New_York")); err != nil || got.IsZero() { // never
		t.Errorf("a time that is skipped: %v, %v", got, err)
	}
}

func addresses(t *testing.T, s *shop) {
	s.users()
	s.exec("ALTER TABLE users MODIFY email VARBINARY(400)")
	type address struct{ literal, email, problem string }
	cases := []address{
		{"'kim@example.com'", "kim@example.com", ""},
		{"'  Kim@Example.com\\n'", "Kim@Example.com", ""},
		{"'김@예시.한국'", "김@예시.한국", ""},
		{"NULL", "", "is empty"},
		{"'  '", "", "is empty"},
		{"'kim'", "", "is not a mail address"},
		{"'Kim <kim@example.com>'", "", "is not a mail address"},
		{"0xFF40612E6465", "", "is not a mail address"},
		{"REPEAT('x', 400)", "", "is not a mail address"},
	}
	for i, c := range cases {
		s.exec(fmt.Sprintf("INSERT INTO users (id, email) VALUES (%d, %s)", i+1, c.literal))
	}
	for i, row := range all(t, s.open(s.config()), 3) {
		c := cases[i]
		if c.problem == "" && (row.Problem != "" || string(row.User.Email) != c.email) || c.problem != "" && (!strings.Contains(row.Problem, c.problem) || !strings.Contains(row.Problem, "email")) {
			t.Errorf("%s: %q, problem %q", c.literal, row.User.Email, row.Problem)
		}
		if len(row.Email) > 300 || c.problem == "is not a mail address" && row.Email == "" {
			t.Errorf("%s: shown as %q", c.literal, row.Email)
		}
	}
}

func characterSets(t *testing.T, s *shop) {
	for charset, text := range map[string]string{
		"latin1": "Zoë Müller", "euckr": "김민수", "utf8mb3": "김민수 é", "utf8mb4": "👋🏽 𝒦 김", "ucs2": "김민수", "sjis": "カタカナ", "ascii": "plain",
	} {
		s.exec("CREATE TABLE users (id INT NOT NULL PRIMARY KEY, email VARCHAR(50), name VARCHAR(50), subscribed BOOL, update_at TIMESTAMP NULL) CHARACTER SET " + charset)
		s.exec("INSERT INTO users VALUES (1, 'kim@example.com', ?, 1, NULL)", text)
		if row := s.one(s.open(s.config()), "1"); row.User.Attributes["Name"] != text {
			t.Errorf("%s: %q, want %q (%s)", charset, row.User.Attributes["Name"], text, row.Problem)
		}
		s.exec("DROP TABLE users")
	}
}
