package main_test

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	_ "github.com/go-sql-driver/mysql"
	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"postern/admin"
	"postern/internal/peer"
)

// shopPassword must be seen nowhere.
const shopPassword = "Tr0ub4dor-Und-MySQL"

// mysqlShop is a database with a table of users, which a user named postern may read.
type mysqlShop struct {
	t       *testing.T
	db      *sql.DB
	name    string
	address string // of the server
}

// TestSyncFromMySQL is of one server, in which each of its parts has a database.
func TestSyncFromMySQL(t *testing.T) {
	t.Parallel()
	server := peer.MariaDB(t)
	root, err := sql.Open("mysql", server)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	if _, err := root.Exec("CREATE USER postern@'127.0.0.1' IDENTIFIED BY '" + shopPassword + "'"); err != nil {
		t.Fatal(err)
	}
	for i, part := range []struct {
		name string
		test func(*testing.T, *mysqlShop)
	}{
		{"commands", syncByCommands},
		{"a pass under way", syncOneAtATime},
		{"MySQL is away at the start", syncWithoutMySQL},
		{"killed in the first load", syncKilled},
		{"who leaves here stays away", syncAndChoices},
		{"by way of S3 into DynamoDB", syncByBucket},
		{"the old system's tables", syncOldTables},
	} {
		t.Run(part.name, func(t *testing.T) {
			t.Parallel()
			part.test(t, newShop(t, root, server, fmt.Sprintf("shop%d", i)))
		})
	}
}

func newShop(t *testing.T, root *sql.DB, server, name string) *mysqlShop {
	t.Helper()
	for _, q := range []string{"CREATE DATABASE " + name + " CHARACTER SET utf8mb4", "GRANT SELECT ON " + name + ".users TO postern@'127.0.0.1'"} {
		if strings.HasPrefix(q, "GRANT") {
			if _, err := root.Exec("CREATE TABLE " + name + `.users (
				id INT PRIMARY KEY, email VARCHAR(200), name VARCHAR(100), gender VARCHAR(10), created_at DATETIME, subscribed TINYINT(1) NOT NULL DEFAULT 1,
				grade VARCHAR(20), agreed_at DATETIME, gone TINYINT(1) NOT NULL DEFAULT 0,
				update_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6), KEY changed (update_at, id))`); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := root.Exec(q); err != nil {
			t.Fatal(err)
		}
	}
	db, err := sql.Open("mysql", server+name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	address := strings.TrimSuffix(strings.TrimPrefix(server, "root@tcp("), ")/")
	return &mysqlShop{t: t, db: db, name: name, address: address}
}

func (s *mysqlShop) exec(query string, args ...any) {
	s.t.Helper()
	if _, err := s.db.Exec(query, args...); err != nil {
		s.t.Fatal(err)
	}
}

// fill makes users from 1 to n, user0001@example.net and so on.
func (s *mysqlShop) fill(n int) {
	s.t.Helper()
	var rows []string
	for i := 1; i <= n; i++ {
		rows = append(rows, fmt.Sprintf("(%d, 'user%04d@example.net', '고객%d', 'Female', '2024-01-15 09:30:00')", i, i, i))
	}
	s.exec("INSERT INTO users (id, email, name, gender, created_at) VALUES " + strings.Join(rows, ","))
}

// gateway syncs from the shop at address.
func (s *mysqlShop) gateway(address, more string) *gateway {
	s.t.Helper()
	g := newGateway(s.t, list("news", "")+maildirLane+fmt.Sprintf(`
[sync]
dsn_file = "dsn"
deleted = "gone"
consent = "agreed_at"
columns = { Email = "email", Name = "name", Gender = "gender", CreateTime = "created_at", SubscriptionStatus = "subscribed", Grade = "grade" }
%s
`, more))
	g.write("dsn", fmt.Sprintf("postern:%s@tcp(%s)/%s\n", shopPassword, address, s.name))
	return g
}

// said runs a command and gives all that it says, and its exit code.
func (g *gateway) said(args ...string) (code int, stdout, stderr string) {
	g.t.Helper()
	cmd := g.command(args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if text := out.String() + errs.String(); strings.Contains(text, shopPassword) {
		g.t.Errorf("postern %v shows the password:\n%s", args, text)
	}
	if err != nil && cmd.ProcessState == nil {
		g.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// sync makes a pass that must end well.
func (g *gateway) sync(args ...string) (stdout string) {
	g.t.Helper()
	code, stdout, stderr := g.said(append([]string{"sync"}, args...)...)
	if code != 0 {
		g.t.Fatalf("postern sync %v: exit code %d\n%s%s", args, code, stdout, stderr)
	}
	return stdout
}

func (g *gateway) syncState() (s admin.SyncState) {
	g.t.Helper()
	if err := g.ask("/api/sync", &s); err != nil {
		g.t.Fatalf("%v\n%s", err, g.log)
	}
	return s
}

// has wants these lines in a text.
func has(t *testing.T, text string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("%q is missing in\n%s", w, text)
		}
	}
}

// syncByCommands is without a running gateway: cron, or a person.
func syncByCommands(t *testing.T, s *mysqlShop) {
	s.fill(40)
	s.exec("INSERT INTO users (id, email) VALUES (101, 'no address'), (102, 'USER0001@example.net')")
	s.exec("UPDATE users SET grade = 'VIP', name = '민수' WHERE id = 7")
	g := s.gateway(s.address, `interval = "0s"`)

	has(t, g.sync("--dry-run"), "42  rows read\n", "40  new\n", " 2  set aside\n", "new: 1 user0001@example.net\n", "bad: 101 no address", "A dry run: nothing was changed.\n")
	if out := g.run("users", "list"); out != "There are no users.\n" {
		t.Errorf("a dry run has made users:\n%s", out)
	}
	code, stdout, stderr := g.said("sync")
	has(t, stdout, "40  new\n", " 2  set aside\n", "Done (first load) in ")
	has(t, stderr, "2 rows set aside, because they are no users: data/sync-rejects.csv says why of each")
	rejects, err := os.ReadFile(filepath.Join(g.dir, "data", "sync-rejects.csv"))
	if err != nil || code != 0 || strings.Count(string(rejects), "\n") != 3 || !strings.Contains(string(rejects), "no address") {
		t.Errorf("%d: the file of rejects has\n%s%v", code, rejects, err)
	}
	var user map[string]any
	if err := json.Unmarshal([]byte(g.run("users", "show", "user0007@example.net", "--json")), &user); err != nil ||
		user["Name"] != "민수" || user["Grade"] != "VIP" || user["SubscriptionStatus"] != true || user["CreateTime"] != 1705278600.0 { // 09:30 in Seoul
		t.Errorf("%v %v", user, err)
	}
	has(t, g.run("sync", "status"), "Users from MySQL", "40\n", "2 (data/sync-rejects.csv)", "first load, ", "when `postern sync` is run")

	s.exec("UPDATE users SET name = '민지' WHERE id = 7")
	s.exec("DELETE FROM users WHERE id = 8")
	has(t, g.sync(), " 1  changed\n", " 0  gone\n", "changed: 7 user0007@example.net  Name: 민수 -> 민지\n", "Done (changes)")
	has(t, g.sync("--reconcile"), " 1  gone\n", "gone: 8 user0008@example.net\n", "Done (reconcile)")
	if code, _, stderr := g.said("users", "show", "user0008@example.net"); code != 1 {
		t.Errorf("a row that is gone left its user: %s", stderr)
	}

	s.exec("UPDATE users SET subscribed = 0")
	code, stdout, stderr = g.said("sync")
	has(t, stderr, "postern: ", "39", "sync.tripwire = 0.2", "nothing was changed")
	has(t, stdout, "39  of them not subscribed any more\n")
	if has := g.run("users", "show", "user0009@example.net"); code != 1 || !strings.Contains(has, "true") {
		t.Errorf("exit code %d; the tripwire lets through\n%s", code, has)
	}
	has(t, g.sync("--dry-run"), "A pass would stop: ")
	has(t, g.sync("--force"), "39  of them not subscribed any more\n")
	if has := g.run("users", "show", "user0009@example.net"); !strings.Contains(has, "false") {
		t.Errorf("--force does not force:\n%s", has)
	}
	if g.run("config"); !strings.Contains(g.run("config"), "(hidden)") || strings.Contains(g.run("config"), shopPassword) {
		t.Error("the configuration shows the password")
	}
	g.write("dsn", fmt.Sprintf("postern:wrong-%s@tcp(%s)/%s\n", shopPassword, s.address, s.name))
	if code, _, stderr := g.said("sync"); code != 1 || !strings.Contains(stderr, "postern: ") || strings.Contains(stderr, "gateway's log") {
		t.Errorf("a wrong password: %d %s", code, stderr)
	}
}

// syncOneAtATime has passes that stand still because somebody has locked the table.
func syncOneAtATime(t *testing.T, s *mysqlShop) {
	s.fill(3)
	g := s.gateway(s.address, `interval = "0s"`)
	g.write("dsn", fmt.Sprintf("postern:%s@tcp(%s)/%s?readTimeout=1h\n", shopPassword, s.address, s.name)) // nothing else ends the waiting
	g.serve()
	g.sync()
	lock, err := s.db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	locked := func(query string) {
		t.Helper()
		if _, err := lock.ExecContext(t.Context(), query); err != nil {
			t.Fatal(err)
		}
	}
	running := func(want bool) {
		t.Helper()
		g.wait(fmt.Sprint("running: ", want), func() (string, bool) {
			state := g.syncState()
			return fmt.Sprintf("%+v", state), (state.Running != nil) == want
		})
	}
	locked("LOCK TABLES users WRITE")
	first := g.command("sync")
	var firstSaid bytes.Buffer
	first.Stderr = &firstSaid
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	running(true)
	has(t, g.run("sync", "status"), "Running ", " changes, ")
	if code, _, stderr := g.said("sync"); code != 1 || stderr != "postern: a sync is already running: `postern sync status` shows how far it is\n" {
		t.Errorf("a second one: %d %s", code, stderr)
	}
	// Whoever is not waited for any more ends.
	if err := first.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := first.Wait(); err == nil || !strings.Contains(firstSaid.String(), "postern: interrupted: ") {
		t.Errorf("%v %s", err, firstSaid.String())
	}
	running(false)
	locked("UNLOCK TABLES")
	g.sync()

	// A gateway that ends does not wait for MySQL.
	locked("LOCK TABLES users WRITE")
	watched := g.command("sync")
	if err := watched.Start(); err != nil {
		t.Fatal(err)
	}
	running(true)
	g.stop()
	var exit *exec.ExitError
	if err := watched.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("a command whose gateway ended: %v", err)
	}
	locked("UNLOCK TABLES")
}

// syncWithoutMySQL has a gateway that is there before MySQL.
func syncWithoutMySQL(t *testing.T, s *mysqlShop) {
	s.fill(3)
	s.exec("UPDATE users SET grade = 'VIP'")
	door := fmt.Sprintf("127.0.0.1:%d", peer.Port(t))
	g := s.gateway(door, `interval = "1s"`)
	g.csv("min@example.net,Min,Female,true")
	g.serve()
	// Mail goes on, and a placeholder that only MySQL has is known.
	send := func(id string, to ...string) map[string]parsed {
		t.Helper()
		g.empty()
		g.mustSubmit("news@lists.example.com", mailOf(id, "news@lists.example.com", "Hello {{Grade|guest}}", "x"))
		g.settled("done")
		return g.reached(to...)
	}
	send("1", "min@example.net")
	g.wait("a pass that failed", func() (string, bool) {
		state := g.syncState()
		return fmt.Sprintf("%+v", state), state.Last != nil && state.Last.Error != "" && !state.Loaded
	})
	has(t, g.run("sync", "status"), "The last pass ended before its end: ", "The first load is not done")
	if code, _, stderr := g.said("sync"); code != 1 || !strings.HasPrefix(stderr, "postern: ") || strings.Contains(stderr, "gateway's log") {
		t.Errorf("%d %s", code, stderr)
	}
	g.wait("a warning", func() (string, bool) {
		return g.log.String(), strings.Contains(g.log.String(), "no sync from MySQL has ended well for three intervals")
	})
	forward(t, door, s.address)
	g.wait("loaded", func() (string, bool) {
		state := g.syncState()
		return fmt.Sprintf("%+v", state), state.Loaded && state.Users == 3
	})
	copies := send("2", "min@example.net", "user0001@example.net", "user0002@example.net", "user0003@example.net")
	if copies["user0001@example.net"].Subject != "Hello VIP" || copies["min@example.net"].Subject != "Hello guest" {
		t.Errorf("%+v", copies)
	}
	g.stop()
	if strings.Contains(g.log.String(), shopPassword) {
		t.Error("the log shows the password")
	}
}

// forward opens a way from one address to another until the test ends.
func forward(t *testing.T, from, to string) {
	t.Helper()
	l, err := net.Listen("tcp", from)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				in.Close()
				continue
			}
			go func() { _, _ = io.Copy(out, in); out.Close() }()
			go func() { _, _ = io.Copy(in, out); in.Close() }()
		}
	}()
}

// syncKilled kills the gateway again and again while it loads.
func syncKilled(t *testing.T, s *mysqlShop) {
	const n = 2000
	s.fill(n)
	g := s.gateway(s.address, "interval = \"1h\"\nchunk = 20")
	for _, some := range []int{100, 600} {
		g.serve()
		g.wait("some rows loaded", func() (string, bool) { users := g.syncState().Users; return fmt.Sprint(users), users >= some })
		if g.syncState().Loaded {
			t.Fatal("it is loaded before it is killed")
		}
		g.kill()
	}
	g.serve()
	g.wait("loaded", func() (string, bool) {
		state := g.syncState()
		return fmt.Sprint(state.Users), state.Loaded && state.Running == nil
	})
	var want strings.Builder
	for i := 1; i <= n; i++ {
		fmt.Fprintf(&want, "user%04d@example.net 고객%d\n", i, i)
	}
	var got strings.Builder
	for line := range strings.Lines(g.run("users", "list", "--json")) {
		var u struct{ Email, Name string }
		if err := json.Unmarshal([]byte(line), &u); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&got, "%s %s\n", u.Email, u.Name)
	}
	if got.String() != want.String() {
		t.Errorf("the directory has %d users, and they are not those of MySQL", strings.Count(got.String(), "\n"))
	}
	if out := g.sync(); !strings.Contains(out, "0  new\n") || !strings.Contains(out, "0  changed\n") {
		t.Errorf("the next pass finds\n%s", out)
	}
	if err := g.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_ = g.cmd.Wait()
	g.cmd = nil
}

// syncByBucket has chunks in S3 on the way of the first load, and none when it is done.
func syncByBucket(t *testing.T, s *mysqlShop) {
	s.fill(250)
	backend := s3mem.New()
	if err := backend.CreateBucket("stage"); err != nil {
		t.Fatal(err)
	}
	bucket, d := newGate(t, gofakes3.New(backend).Server()), startDynamo(t)
	g := s.gateway(s.address, "interval = \"0s\"\nchunk = 100\ns3_bucket = \"stage/users\"\n[templates]\ns3_endpoint = \""+bucket.URL+"\"\n"+d.config(1))
	has(t, g.sync(), "250  new\n", "Done (first load)")
	if users := strings.Count(g.run("users", "list", "--json"), "\n"); users != 250 || bucket.count("PUT", "/stage/users/") != 3 {
		t.Errorf("%d users by way of %d chunks", users, bucket.count("PUT", "/stage/users/"))
	}
	left, err := backend.ListBucket("stage", &gofakes3.Prefix{}, gofakes3.ListBucketPage{})
	if err != nil || len(left.Contents) > 0 {
		t.Errorf("%d chunks stay in the bucket: %v", len(left.Contents), err)
	}
	s.exec("UPDATE users SET name = '민지' WHERE id = 7")
	s.exec("DELETE FROM users WHERE id = 8")
	has(t, g.sync("--reconcile"), " 1  changed\n", " 1  gone\n", "changed: 7 user0007@example.net  Name: 고객7 -> 민지\n")
	if bucket.count("PUT", "/stage/") != 3 {
		t.Error("a later pass goes through the bucket too")
	}
}

// syncAndChoices changes people in MySQL and here, and looks who gets the next mail.
func syncAndChoices(t *testing.T, s *mysqlShop) {
	s.fill(6)
	g := s.gateway(s.address, `interval = "0s"`)
	g.serve()
	g.sync()
	user := func(i int) string { return fmt.Sprintf("user%04d@example.net", i) }
	copies := g.campaign("promo", "1", user(1), user(2), user(3), user(4), user(5), user(6))
	post(t, copies[user(1)].link(t)) // leaves, and changes the name in the shop
	post(t, copies[user(2)].link(t)) // leaves, and changes the address
	post(t, copies[user(6)].link(t)) // leaves, and agrees in the shop later
	s.exec("UPDATE users SET name = 'new' WHERE id = 1")
	s.exec("UPDATE users SET email = 'moved2@example.net' WHERE id = 2")
	s.exec("UPDATE users SET email = 'moved3@example.net' WHERE id = 3")
	s.exec("UPDATE users SET subscribed = 0 WHERE id = 4")
	s.exec("UPDATE users SET gone = 1 WHERE id = 5")
	out := g.sync("--force") // two of six would be a tripwire's
	has(t, out, "moved: 2 moved2@example.net  was user0002@example.net\n", "gone: 5 user0005@example.net", "unsubscribed: 4 user0004@example.net")
	g.campaign("promo", "2", "moved3@example.net")
	g.campaign("news", "3", user(1), "moved2@example.net", "moved3@example.net", user(6))

	s.exec("UPDATE users SET agreed_at = CONVERT_TZ(UTC_TIMESTAMP(), '+00:00', '+09:00') + INTERVAL 1 SECOND WHERE id = 6")
	s.exec("UPDATE users SET subscribed = 1 WHERE id = 4")
	s.exec("UPDATE users SET gone = 0 WHERE id = 5")
	g.wait("a consent that is past", func() (string, bool) {
		g.sync()
		gets, _ := g.history(user(6))
		return fmt.Sprint(gets), len(gets) == 2
	})
	g.campaign("promo", "4", "moved3@example.net", user(4), user(5), user(6))
	g.stop()
}
