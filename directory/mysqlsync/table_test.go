package mysqlsync_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/directory/mysqlsync"
	"postern/internal/peer"
	"postern/mail"
)

var _ mysqlsync.Source = (*mysqlsync.Table)(nil)

// TestTable shares a server, whose time zone is not ours: no answer may depend on it.
func TestTable(t *testing.T) {
	root := peer.MariaDB(t, "--default-time-zone=+09:00")
	// Alone, because it counts what the server reads.
	t.Run("AHundredThousandRowsAreReadOnceEach", func(t *testing.T) { hundredThousand(t, newShop(t, root)) })
	for name, test := range map[string]func(*testing.T, *shop){
		"OneErrorNamesAllColumnsThatAreMissing":        missingColumns,
		"WhatCannotBeSyncedIsRefusedWithItsReason":     refused,
		"SelectOnTheOneTableIsEnough":                  selectIsEnough,
		"WhatIsWorthMendingIsAWarning":                 warnings,
		"NoErrorAndNoLogHasThePassword":                passwordStaysSecret,
		"NothingCanBeWritten":                          nothingIsWritten,
		"EachTypeOfMySQLBecomesItsValue":               everyType,
		"TypesOfFieldsDecideWhatAColumnBecomes":        wantedTypes,
		"AValueThatDoesNotFitIsAProblemOfItsColumn":    misfits,
		"StatusIsReadClosed":                           statusIsClosed,
		"DeletedIsAnythingThatIsNotClearlyNo":          deletedRows,
		"ConsentIsATimeOrNone":                         consents,
		"AnAddressThatIsNoneIsAProblem":                addresses,
		"TextOfAnyCharacterSetIsUTF8":                  characterSets,
		"KeysOfEachTypeGoThereAndBack":                 keys,
		"EqualTimesAcrossPagesAreReadOnceEach":         equalTimes,
		"ChangesBetweenPagesAreMetWhereTheyAre":        changesBetweenPages,
		"RowsWithoutATimeOfChangeAreFound":             undated,
		"TimeZonesOfServerAndDSNChangeNothing":         timeZones,
		"SettingsOfTheDSNChangeNothing":                settings,
		"TheNewestChangeIsOneThatCounts":               newest,
		"DaysOfSummerTimeLoseNoRow":                    summerTime,
		"NowIsWhatAChangedRowWouldGet":                 nowIsTheColumns,
		"IntegersOfChangeAreSecondsOrMilliseconds":     integerTimes,
		"OneIntegerOfAnotherUnitHidesNoOthers":         oneIntegerOfAnotherUnit,
		"AViewAndAnotherDatabaseAreTablesToo":          views,
		"NamesAreOnlyNames":                            quotedNames,
		"LookupLeavesOutWhatIsGone":                    lookup,
		"AContextThatEndsEndsTheRead":                  cancelled,
		"ATableThatChangesUnderneathSaysSo":            alteredTable,
		"AnIndexIsUsedForEveryPageAlsoWithTextualKeys": textKeysUseTheIndex,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, newShop(t, root))
		})
	}
}

// shop is a database of one test.
type shop struct {
	t    *testing.T
	db   *sql.DB
	root string // the server, as peer.MariaDB gives it
	name string
}

func newShop(t *testing.T, root string) *shop {
	db, name := peer.Database(t, root)
	return &shop{t: t, db: db, root: root, name: name}
}

func (s *shop) exec(query string, args ...any) {
	s.t.Helper()
	if _, err := s.db.Exec(query, args...); err != nil {
		s.t.Fatalf("%.200s: %v", query, err)
	}
}

// utc runs statements whose times are in UTC and may be zero.
func (s *shop) utc(statements ...string) {
	s.t.Helper()
	c, err := s.db.Conn(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	for _, q := range append([]string{"SET time_zone = '+00:00', sql_mode = 'ALLOW_INVALID_DATES'"}, statements...) {
		if _, err := c.ExecContext(s.t.Context(), q); err != nil {
			s.t.Fatalf("%.200s: %v", q, err)
		}
	}
}

// users makes the table that most tests have.
func (s *shop) users() {
	s.t.Helper()
	s.exec(`CREATE TABLE users (
		id BIGINT UNSIGNED NOT NULL PRIMARY KEY,
		email VARCHAR(254), name VARCHAR(100), subscribed BOOL,
		update_at TIMESTAMP(6) NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6),
		KEY (update_at))`)
}

func (s *shop) config() mysqlsync.TableConfig {
	return mysqlsync.TableConfig{DSN: s.root + s.name, Table: "users", Key: "id", Updated: "update_at",
		Columns:  map[string]string{"Email": "email", "Name": "name", "SubscriptionStatus": "subscribed"},
		Location: zone(s.t, "Asia/Seoul"), Log: slog.New(slog.DiscardHandler)}
}

func (s *shop) open(cfg mysqlsync.TableConfig) *mysqlsync.Table {
	s.t.Helper()
	table, err := mysqlsync.OpenTable(s.t.Context(), cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if err := table.Close(); err != nil {
			s.t.Error(err)
		}
	})
	return table
}

// refuse expects that the table does not open, for something that an operator mends.
func (s *shop) refuse(cfg mysqlsync.TableConfig, words ...string) {
	s.t.Helper()
	table, err := mysqlsync.OpenTable(s.t.Context(), cfg)
	if err == nil {
		table.Close()
		s.t.Errorf("it opens; want an error with %q", words)
		return
	}
	if mail.ClassOf(err) != mail.Permanent {
		s.t.Errorf("class %v: %v", mail.ClassOf(err), err)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			s.t.Errorf("the error does not say %q: %v", w, err)
		}
	}
}

func zone(t *testing.T, name string) *time.Location {
	t.Helper()
	l, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// all reads pages by key until there are no more.
func all(t *testing.T, table *mysqlsync.Table, limit int) []mysqlsync.Row {
	t.Helper()
	return pages(t, limit, func(after mysqlsync.Row) ([]mysqlsync.Row, error) {
		return table.ByKey(t.Context(), after.Key, limit)
	})
}

// changes reads pages of changes from the mark until there are no more.
func changes(t *testing.T, table *mysqlsync.Table, from mysqlsync.Mark, limit int) []mysqlsync.Row {
	t.Helper()
	return pages(t, limit, func(after mysqlsync.Row) ([]mysqlsync.Row, error) {
		if after.Key != "" {
			from = mysqlsync.Mark{Updated: after.Updated, Key: after.Key}
		}
		return table.Changed(t.Context(), from, limit)
	})
}

func pages(t *testing.T, limit int, next func(after mysqlsync.Row) ([]mysqlsync.Row, error)) []mysqlsync.Row {
	t.Helper()
	var rows []mysqlsync.Row
	var last mysqlsync.Row
	for range 10000 {
		page, err := next(last)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) > limit {
			t.Fatalf("a page of %d rows, the limit is %d", len(page), limit)
		}
		if len(page) == 0 {
			return rows
		}
		rows, last = append(rows, page...), page[len(page)-1]
	}
	t.Fatal("the pages have no end")
	return nil
}

func keysOf(rows []mysqlsync.Row) []string {
	var keys []string
	for _, r := range rows {
		keys = append(keys, r.Key)
	}
	return keys
}

func (s *shop) one(table *mysqlsync.Table, key string) mysqlsync.Row {
	s.t.Helper()
	rows, err := table.Lookup(s.t.Context(), []string{key})
	if err != nil || len(rows) != 1 {
		s.t.Fatalf("row %s: %d rows, %v", key, len(rows), err)
	}
	return rows[0]
}

func missingColumns(t *testing.T, s *shop) {
	s.users()
	cfg := s.config()
	cfg.Key, cfg.Deleted, cfg.Columns["Name"] = "uid", "gone", "nmae"
	s.refuse(cfg, "uid (sync.key)", "gone (sync.deleted)", "nmae (sync.columns.Name)", "it has id, email, name, subscribed, update_at", "users")

	cfg = s.config()
	cfg.Key, cfg.Columns["Email"] = "ID", "EMAIL" // MySQL's names of columns have no case
	s.open(cfg)
}

func refused(t *testing.T, s *shop) {
	s.exec(`CREATE TABLE users (id INT NOT NULL PRIMARY KEY, maybe INT UNIQUE, twice INT NOT NULL, a INT NOT NULL, b INT NOT NULL, UNIQUE (a, b),
		price DECIMAL(10,0) NOT NULL UNIQUE, kind ENUM('x','y') NOT NULL UNIQUE, day DATE, spot POINT, update_at TIMESTAMP NULL, email VARCHAR(50), stamp BIGINT)`)
	with := func(change func(*mysqlsync.TableConfig)) mysqlsync.TableConfig {
		cfg := s.config()
		cfg.Columns = map[string]string{"Email": "email"}
		change(&cfg)
		return cfg
	}
	s.open(with(func(*mysqlsync.TableConfig) {}))
	key := func(name string) mysqlsync.TableConfig {
		return with(func(c *mysqlsync.TableConfig) { c.Key = name })
	}
	s.refuse(key("maybe"), "sync.key maybe may be NULL")
	s.refuse(key("twice"), "sync.key twice is not unique")
	s.refuse(key("a"), "sync.key a is not unique")
	s.refuse(key("price"), "sync.key price is decimal(10,0)")
	s.refuse(key("kind"), "sync.key kind is enum('x','y')")
	s.refuse(with(func(c *mysqlsync.TableConfig) { c.Updated = "day" }), "sync.updated day is date")
	s.refuse(with(func(c *mysqlsync.TableConfig) { c.Columns["Spot"] = "spot" }), "the column spot is point")
	s.refuse(with(func(c *mysqlsync.TableConfig) { delete(c.Columns, "Email") }), "no column to Email")
	s.refuse(with(func(c *mysqlsync.TableConfig) { c.Columns["OptOut"] = "email"; c.Columns["Suppressed"] = "email" }), `"OptOut"`, `"Suppressed"`)
	s.refuse(with(func(c *mysqlsync.TableConfig) { c.Table = "customers" }), "customers", "sync.table")
	s.refuse(with(func(c *mysqlsync.TableConfig) { c.Table = "nowhere.users" }), "sync.table")
	s.refuse(with(func(c *mysqlsync.TableConfig) { c.DSN = s.root + "nowhere" }), "sync.dsn")
	s.refuse(with(func(c *mysqlsync.TableConfig) { c.DSN = s.root }), "sync.dsn names no database")

	s.exec("INSERT INTO users VALUES (1, 1, 1, 1, 1, 1, 'x', NULL, NULL, NULL, 'a@example.com', 20240301090000)")
	s.refuse(with(func(c *mysqlsync.TableConfig) { c.Updated = "stamp" }), "sync.updated stamp", "20240301090000", "look like a date")
}

// reader makes a user of MySQL with these rights and gives its DSN.
func (s *shop) reader(password string, grants ...string) string {
	s.t.Helper()
	s.exec(fmt.Sprintf("CREATE USER '%s'@'%%' IDENTIFIED BY '%s'", s.name, password))
	s.t.Cleanup(func() { _, _ = s.db.Exec(fmt.Sprintf("DROP USER '%s'@'%%'", s.name)) })
	for _, g := range grants {
		s.exec(fmt.Sprintf("GRANT %s TO '%s'@'%%'", g, s.name))
	}
	return strings.Replace(s.root, "root@", s.name+":"+password+"@", 1) + s.name
}

func selectIsEnough(t *testing.T, s *shop) {
	s.users()
	s.exec("INSERT INTO users (id, email, name, subscribed) VALUES (1, 'kim@example.com', '김', 1)")
	cfg := s.config()
	cfg.DSN = s.reader("secret")
	s.refuse(cfg, "GRANT SELECT ON `"+s.name+"`.`users`")

	s.exec(fmt.Sprintf("GRANT SELECT ON users TO '%s'@'%%'", s.name))
	table := s.open(cfg)
	if w := table.Warnings(); len(w) != 0 {
		t.Errorf("a reader of a good table gets warnings: %q", w)
	}
	if rows := all(t, table, 10); len(rows) != 1 || rows[0].User.Email != "kim@example.com" {
		t.Errorf("rows: %+v", rows)
	}
	if _, err := table.Changed(t.Context(), mysqlsync.Mark{}, 10); err != nil {
		t.Error(err)
	}
	if _, err := table.Now(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := table.Count(t.Context()); err != nil {
		t.Error(err)
	}

	// Also the columns alone.
	s.exec(fmt.Sprintf("REVOKE SELECT ON users FROM '%s'@'%%'", s.name))
	s.exec(fmt.Sprintf("GRANT SELECT (id, email, name, subscribed, update_at) ON users TO '%s'@'%%'", s.name))
	if rows := all(t, s.open(cfg), 10); len(rows) != 1 {
		t.Errorf("rows: %+v", rows)
	}
}

func warnings(t *testing.T, s *shop) {
	s.exec("CREATE TABLE users (id INT NOT NULL PRIMARY KEY, code CHAR(5) NOT NULL UNIQUE, email VARCHAR(50), update_at DATETIME, KEY (email, update_at))")
	cfg := s.config()
	cfg.Columns = map[string]string{"Email": "email"}
	cfg.Location = zone(t, "America/New_York")
	cfg.DSN = s.reader("secret", "SELECT, INSERT, DELETE ON "+s.name+".*")
	expect := func(words ...string) {
		t.Helper()
		got := s.open(cfg).Warnings()
		if len(got) != len(words) {
			t.Errorf("%d warnings, want %d: %q", len(got), len(words), got)
		}
		for _, w := range words {
			if !slices.ContainsFunc(got, func(g string) bool { return strings.Contains(g, w) }) {
				t.Errorf("no warning says %q: %q", w, got)
			}
		}
	}
	expect("no index begins with sync.updated", "not declared ON UPDATE", "clocks of America/New_York go back", "MySQL's clocks are at +09:00", "(DELETE, INSERT)")

	s.exec("ALTER TABLE users ADD KEY (update_at), MODIFY update_at DATETIME ON UPDATE CURRENT_TIMESTAMP")
	s.exec(fmt.Sprintf("REVOKE INSERT, DELETE ON %s.* FROM '%s'@'%%'", s.name, s.name))
	cfg.Location = zone(t, "Asia/Seoul") // the server's
	expect()
	cfg.Key = "code"
	expect("no index has sync.updated update_at and then sync.key code")
	s.exec("ALTER TABLE users ADD KEY (update_at, code)")
	expect()
	s.exec("INSERT INTO users VALUES (1, 'a', 'a@example.com', UTC_TIMESTAMP() + INTERVAL 18 HOUR)")
	expect("ahead of the server's clock")
}

func TestTheRightsOfAGrantAreItsWords(t *testing.T) {
	for grant, want := range map[string][]string{
		"GRANT USAGE ON *.* TO `app`@`%`":                                       {"USAGE"},
		"GRANT SELECT (`id`, `on`), INSERT (`id`) ON `shop`.`users` TO `a`@`%`": {"SELECT", "INSERT"},
		"GRANT ALL PRIVILEGES ON *.* TO `root`@`localhost` WITH GRANT OPTION":   {"ALL PRIVILEGES"},
		"GRANT SELECT, SHOW VIEW ON `shop`.* TO `a`@`%`":                        {"SELECT", "SHOW VIEW"},
		"GRANT `reader`@`%` TO `a`@`%`":                                         nil,
		"GRANT `on off`@`%` TO `a`@`%`":                                         nil,
	} {
		if got := mysqlsync.RightsOf(grant); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", grant, got, want)
		}
	}
}

func passwordStaysSecret(t *testing.T, s *shop) {
	const secret = "hunter2-s3cret"
	s.users()
	var log bytes.Buffer
	cfg := s.config()
	cfg.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	host := strings.TrimSuffix(strings.TrimPrefix(s.root, "root@"), "/")
	s.reader("no-such")
	for _, dsn := range []string{
		"", " ", secret, "shop:" + secret + "@" + host, "shop:" + secret + "@db.example.com/shop", "shop:a/" + secret + "@" + host,
		"shop:" + secret + "/x@" + host, "shop:" + secret + "@tcp(127.0.0.1:3306/shop", "shop:" + secret + "@" + host + "/shop?strict=true",
		"shop:" + secret + "@" + host + "/shop?tls=" + secret, "shop:" + secret + "@" + host + "/shop?parseTime=" + secret, "shop:" + secret + "@" + host + "/shop?timeout=" + secret,
		"shop:" + secret + "@udp(127.0.0.1:3306)/shop", "@" + host + "/shop?x=" + secret, "shop:" + secret + "@" + host + "/%zz",
		s.name + ":" + secret + "@" + host + "/" + s.name, // the wrong password
		s.name + ":" + s.name + "@" + host + "/" + s.name, // which is in MySQL's words
		"shop:" + secret + "@" + host + "/shop?time_zone=" + secret,
	} {
		cfg.DSN = dsn
		table, err := mysqlsync.OpenTable(t.Context(), cfg)
		if err == nil {
			table.Close()
			t.Errorf("%q opens", dsn)
			continue
		}
		if mail.ClassOf(err) != mail.Permanent {
			t.Errorf("%q: class %v", dsn, mail.ClassOf(err))
		}
		if text := fmt.Sprintf("%v %+v %#v", err, err, err); strings.Contains(text, secret) || strings.Contains(dsn, s.name+":"+s.name) && strings.Contains(err.Error(), s.name) {
			t.Errorf("%q: the error has the password: %s", dsn, text)
		}
		if !strings.Contains(err.Error(), "sync.dsn") {
			t.Errorf("%q: the error does not name sync.dsn: %v", dsn, err)
		}
	}
	if strings.Contains(log.String(), secret) {
		t.Errorf("the log has the password: %s", log.String())
	}
}

func nothingIsWritten(t *testing.T, s *shop) {
	s.users()
	s.exec("INSERT INTO users (id) VALUES (1)")
	table := s.open(s.config()) // as root
	for _, statement := range []string{"DELETE FROM users", "UPDATE users SET name = 'x'", "DROP TABLE users"} {
		if err := mysqlsync.Exec(t.Context(), table, statement); err == nil || !strings.Contains(err.Error(), "READ ONLY") {
			t.Errorf("%s: %v", statement, err)
		}
	}
}

func cancelled(t *testing.T, s *shop) {
	s.users()
	table := s.open(s.config())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := table.ByKey(ctx, "", 10); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if _, err := table.ByKey(t.Context(), "", 10); err != nil {
		t.Errorf("the next read: %v", err)
	}
}

func alteredTable(t *testing.T, s *shop) {
	s.users()
	s.exec("INSERT INTO users (id, email) VALUES (1, 'a@example.com')")
	table := s.open(s.config())
	for _, key := range []string{"kim", "1.5", "18446744073709551616"} { // those of another time
		if _, err := table.ByKey(t.Context(), key, 10); mail.ClassOf(err) != mail.Permanent || !strings.Contains(err.Error(), "sync.key id") {
			t.Errorf("behind %s: %v", key, err)
		}
	}
	s.exec("ALTER TABLE users DROP COLUMN name")
	if _, err := table.ByKey(t.Context(), "", 10); mail.ClassOf(err) != mail.Permanent || !strings.Contains(err.Error(), "sync.columns") {
		t.Errorf("a column is gone: %v", err)
	}
	s.exec("DROP TABLE users")
	if _, err := table.Changed(t.Context(), mysqlsync.Mark{}, 10); mail.ClassOf(err) != mail.Permanent || !strings.Contains(err.Error(), "sync.table") {
		t.Errorf("the table is gone: %v", err)
	}
}
