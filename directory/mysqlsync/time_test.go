package mysqlsync_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/directory/mysqlsync"
)

func timeZones(t *testing.T, s *shop) {
	s.users()
	s.exec("ALTER TABLE users ADD COLUMN local DATETIME(6)")
	s.utc("USE "+s.name, "INSERT INTO users (id, email, update_at, local) VALUES (1, 'a@example.com', '2024-03-01 00:00:00.123456', '2024-03-01 09:00:00.123456')")
	want := time.Date(2024, 3, 1, 0, 0, 0, 123456000, time.UTC)
	for _, params := range []string{"", "?time_zone=%27-05:00%27&sql_mode=ANSI&autocommit=0", "?loc=America%2FNew_York&parseTime=true&charset=latin1", "?interpolateParams=true&multiStatements=true"} {
		for _, column := range []string{"update_at", "local"} {
			cfg := s.config()
			cfg.DSN += params
			cfg.Updated = column
			table := s.open(cfg)
			if got := s.one(table, "1").Updated; !got.Equal(want) {
				t.Errorf("%s with %q: %v", column, params, got)
			}
			for _, c := range []struct {
				from mysqlsync.Mark
				rows int
			}{
				{mysqlsync.Mark{Updated: want}, 1}, {mysqlsync.Mark{Updated: want.Add(time.Microsecond)}, 0}, {mysqlsync.Mark{Updated: want.Add(-time.Microsecond), Key: "1"}, 1},
				{mysqlsync.Mark{Updated: want, Key: "1"}, 0}, {mysqlsync.Mark{Updated: want, Key: "0"}, 1},
				{mysqlsync.Mark{Updated: time.Date(2050, 1, 1, 0, 0, 0, 0, time.UTC)}, 0}, {mysqlsync.Mark{Updated: time.Date(12000, 1, 1, 0, 0, 0, 0, time.UTC)}, 0},
				{mysqlsync.Mark{Updated: want.In(zone(t, "America/New_York"))}, 1},
			} {
				rows, err := table.Changed(t.Context(), c.from, 10)
				if err != nil || len(rows) != c.rows {
					t.Errorf("%s with %q: %d rows behind %v, %v", column, params, len(rows), c.from, err)
				}
			}
		}
	}
}

func settings(t *testing.T, s *shop) {
	s.users()
	s.exec("ALTER TABLE users MODIFY name CHAR(9)")
	s.exec("INSERT INTO users (id, email, name) VALUES (1, 'a@example.com', 'a')")
	cfg := s.config()
	cfg.DSN += "?autocommit=0&sql_mode=PAD_CHAR_TO_FULL_LENGTH"
	table := s.open(cfg)
	if got := s.one(table, "1").User.Attributes["Name"]; got != "a" {
		t.Errorf("with another sql_mode: %q", got)
	}
	s.exec("UPDATE users SET name = 'b'")
	if got := s.one(table, "1").User.Attributes["Name"]; got != "b" {
		t.Errorf("a read is of an earlier moment: %q", got)
	}
}

func newest(t *testing.T, s *shop) {
	s.users()
	s.exec("ALTER TABLE users MODIFY update_at DATETIME(6)")
	table := s.open(s.config())
	expect := func(want time.Time) {
		t.Helper()
		if got, err := table.Newest(t.Context()); err != nil || !got.Equal(want) {
			t.Errorf("the latest change is %v, %v, want %v", got, err, want)
		}
	}
	expect(time.Time{})
	s.utc("USE "+s.name, "INSERT INTO users (id, update_at) VALUES (1, NULL), (2, '0000-00-00 00:00:00')")
	expect(time.Time{})
	s.utc("USE "+s.name, "INSERT INTO users (id, update_at) VALUES (3, '2024-03-01 09:00:00.000001'), (4, '2024-02-01 09:00:00'), (5, '2024-03-31 00:00:00'), (6, '9999-12-31 23:59:59'), (7, '2024-04-31 00:00:00')")
	s.exec("DELETE FROM users WHERE id = 5")
	expect(time.Date(2024, 3, 1, 0, 0, 0, 1000, time.UTC))
}

func summerTime(t *testing.T, s *shop) {
	s.users()
	s.exec("ALTER TABLE users MODIFY update_at DATETIME(6)")
	var want []string
	id := 0
	for _, day := range []string{"2024-03-10", "2024-11-03"} { // the clocks skip 02:00 to 03:00, and show 01:00 to 02:00 twice
		for minute := 30; minute < 240; minute += 10 {
			for range 2 {
				id++
				s.exec(fmt.Sprintf("INSERT INTO users (id, email, update_at) VALUES (%d, 'a@example.com', '%s 00:00:00.5' + INTERVAL %d MINUTE)", id, day, minute))
				want = append(want, fmt.Sprint(id))
			}
		}
	}
	cfg := s.config()
	cfg.Location = zone(t, "America/New_York")
	table := s.open(cfg)
	for limit := 1; limit <= 3; limit++ {
		rows := changes(t, table, mysqlsync.Mark{}, limit)
		if got := keysOf(rows); !slices.Equal(got, want) {
			t.Fatalf("by %d: %v", limit, got)
		}
		if !slices.IsSortedFunc(rows, func(a, b mysqlsync.Row) int { return a.Updated.Compare(b.Updated) }) {
			t.Error("the times are not in the order of the rows")
		}
	}
}

func nowIsTheColumns(t *testing.T, s *shop) {
	for _, c := range []struct{ column, zone, now string }{
		{"TIMESTAMP(6) NULL", "Asia/Seoul", "UTC_TIMESTAMP(6)"}, // in a session in UTC
		{"DATETIME(6)", "Asia/Seoul", "UTC_TIMESTAMP(6) + INTERVAL 9 HOUR"},
		{"DATETIME(6)", "UTC", "UTC_TIMESTAMP(6)"},
		{"DATETIME(6)", "America/New_York", ""},
		{"DATETIME(6)", "Asia/Almaty", ""}, // which has another offset since March 2024
		{"INT UNSIGNED", "Asia/Seoul", "UNIX_TIMESTAMP()"},
		{"BIGINT", "Asia/Seoul", "FLOOR(UNIX_TIMESTAMP(NOW(6)) * 1000)"},
	} {
		location := zone(t, c.zone)
		if c.now == "" {
			_, offset := time.Now().In(location).Zone()
			c.now = fmt.Sprintf("UTC_TIMESTAMP(6) + INTERVAL %d SECOND", offset)
		}
		s.utc("USE "+s.name, "CREATE TABLE users (id INT NOT NULL PRIMARY KEY, email VARCHAR(254), name VARCHAR(50), subscribed BOOL, update_at "+c.column+", KEY (update_at))",
			"INSERT INTO users (id, email, update_at) VALUES (1, 'a@example.com', "+c.now+")") // shows what integers count
		cfg := s.config()
		cfg.Location = location
		table := s.open(cfg)
		before, err := table.Now(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		s.utc("USE "+s.name, "INSERT INTO users (id, email, update_at) VALUES (2, 'b@example.com', "+c.now+")")
		after, err := table.Now(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got := s.one(table, "2").Updated; got.Before(before.Truncate(time.Second)) || got.After(after) {
			t.Errorf("%s in %s: a row of now has %v, which is not from %v to %v", c.column, c.zone, got, before, after)
		}
		if rows, err := table.Changed(t.Context(), mysqlsync.Mark{Updated: before.Truncate(time.Second)}, 10); err != nil || len(rows) == 0 {
			t.Errorf("%s in %s: %d rows since then, %v", c.column, c.zone, len(rows), err)
		}
		if rows, err := table.Changed(t.Context(), mysqlsync.Mark{Updated: after.Add(time.Second)}, 10); err != nil || len(rows) != 0 {
			t.Errorf("%s in %s: %d rows of the future, %v", c.column, c.zone, len(rows), err)
		}
		s.exec("DROP TABLE users")
	}
}

func integerTimes(t *testing.T, s *shop) {
	at := time.Date(2024, 3, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		column string
		value  int64
		want   time.Time
	}{
		{"INT", at.Unix(), at}, {"BIGINT", at.Unix(), at}, {"BIGINT UNSIGNED", at.UnixMilli() + 7, at.Add(7 * time.Millisecond)},
		{"BIGINT", at.UnixMicro() + 7, at.Add(7 * time.Microsecond)},
	} {
		s.exec("CREATE TABLE users (id INT NOT NULL PRIMARY KEY, email VARCHAR(254), name VARCHAR(50), subscribed BOOL, update_at " + c.column + ", KEY (update_at))")
		table := s.open(s.config()) // empty: nothing shows the unit yet
		if rows := changes(t, table, mysqlsync.Mark{}, 10); len(rows) != 0 {
			t.Error(rows)
		}
		for id := range 5 { // equal ones
			s.exec("INSERT INTO users (id, email, update_at) VALUES (?, 'a@example.com', ?)", id+1, c.value)
		}
		s.exec("INSERT INTO users (id, email, update_at) VALUES (6, 'a@example.com', ?)", c.value-1)
		rows := changes(t, table, mysqlsync.Mark{}, 2)
		if got := fmt.Sprint(keysOf(rows)); got != "[6 1 2 3 4 5]" {
			t.Errorf("%s %d: %v", c.column, c.value, got)
		}
		if got := rows[len(rows)-1].Updated; !got.Equal(c.want) {
			t.Errorf("%s %d: %v, want %v", c.column, c.value, got, c.want)
		}
		if got := len(changes(t, table, mysqlsync.Mark{Updated: c.want}, 2)); got != 5 {
			t.Errorf("%s %d: %d rows of that time", c.column, c.value, got)
		}
		s.exec("DROP TABLE users")
	}
}

// One wrong number does not make all others ones of 1970, which no pass would read any more.
func oneIntegerOfAnotherUnit(t *testing.T, s *shop) {
	at := time.Date(2024, 3, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct{ usual, odd int64 }{
		{at.Unix(), at.UnixMilli()}, {at.Unix(), 20240301000000}, {at.Unix(), at.UnixMicro()},
		{at.UnixMilli(), at.UnixMicro()}, {at.UnixMilli(), at.Unix()},
	} {
		s.exec("CREATE TABLE users (id INT NOT NULL PRIMARY KEY, email VARCHAR(254), name VARCHAR(50), subscribed BOOL, update_at BIGINT, KEY (update_at))")
		s.exec("INSERT INTO users (id, email, update_at) VALUES (1, 'a@example.com', ?), (2, 'b@example.com', ?), (3, 'c@example.com', ?)", c.usual, c.usual, c.odd)
		table := s.open(s.config())
		got := keysOf(changes(t, table, mysqlsync.Mark{Updated: at.Add(-time.Hour)}, 10))
		rest, err := table.Undated(t.Context(), "", 10)
		got = append(got, keysOf(rest)...)
		slices.Sort(got)
		if err != nil || !slices.Contains(got, "1") || !slices.Contains(got, "2") || !slices.Contains(got, "3") {
			t.Errorf("%d among those like %d: only %v are read, %v", c.odd, c.usual, got, err)
		}
		if !strings.Contains(strings.Join(table.Warnings(), "\n"), "of more than one unit") {
			t.Errorf("%v", table.Warnings())
		}
		s.exec("DROP TABLE users")
	}
}

// What has no time zone is the same text again when it is read.
func FuzzMoment(f *testing.F) {
	for _, s := range []string{"2024-03-01 09:00:00", "2024-03-01 09:00:00.123456", "2024-03-01", "0000-00-00 00:00:00", "2024-02-31 00:00:00", "20240301", "20240301090000", "1709251200", "1709251200250", "-1", "2024-03-01T01:00:00+01:00", "9999-12-31 23:59:59.999999", ""} {
		f.Add(s)
	}
	seoul, err := time.LoadLocation("Asia/Seoul")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, s string) {
		at, err := mysqlsync.ReadMoment(s, seoul)
		if err != nil && !at.IsZero() {
			t.Errorf("%q is an error and %v", s, at)
		}
		if err == nil && !at.IsZero() {
			again, err := mysqlsync.ReadMoment(at.In(seoul).Format("2006-01-02 15:04:05.999999999"), seoul)
			if at.In(seoul).Year() >= 1 && at.In(seoul).Year() <= 9999 && (err != nil || !again.Equal(at)) {
				t.Errorf("%q is %v, and again %v, %v", s, at, again, err)
			}
		}
		agreed, err := mysqlsync.ConsentTime(s, seoul)
		if err != nil && !agreed.IsZero() {
			t.Errorf("%q is no consent and one of %v", s, agreed)
		}
		if y := agreed.Year(); y < -1 || y > 10000 {
			t.Errorf("%q is a consent of %v", s, agreed)
		}
	})
}
