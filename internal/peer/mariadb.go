package peer

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	_ "github.com/go-sql-driver/mysql" // the driver of Database
)

// MariaDB starts a server of its own, in a folder that goes with the test, and gives
// the address for root, who has no password, and no database: such as
// "root@tcp(127.0.0.1:12345)/".
func MariaDB(t testing.TB, args ...string) string {
	t.Helper()
	return StartMariaDB(t, args...).Root
}

// MariaDBServer is a server that a test may kill and start again.
type MariaDBServer struct {
	Root string // as MariaDB gives it

	port    int
	program string
	args    []string
	stop    func()
}

// StartMariaDB is [MariaDB] for who wants more of it. With a path in POSTERN_TEST_MYSQLD it
// is that program, the mysqld of MySQL 8 or later.
func StartMariaDB(t testing.TB, args ...string) *MariaDBServer {
	t.Helper()
	s := &MariaDBServer{port: Port(t), program: os.Getenv("POSTERN_TEST_MYSQLD")}
	s.Root = fmt.Sprintf("root@tcp(127.0.0.1:%d)/", s.port)
	dir, temporary := t.TempDir(), t.TempDir() // a server that starts deletes what others have in a tmpdir they share
	data := "--datadir=" + filepath.Join(dir, "db")
	s.args = append([]string{"--no-defaults", "--user=" + user(), data, "--bind-address=127.0.0.1",
		fmt.Sprintf("--port=%d", s.port), "--socket=" + filepath.Join(dir, "s"), "--pid-file=" + filepath.Join(dir, "pid"), "--tmpdir=" + temporary,
		"--innodb-buffer-pool-size=64M", "--performance-schema=OFF", "--skip-log-bin", "--innodb-flush-log-at-trx-commit=0"}, args...)
	if s.program != "" {
		s.args = append(s.args, "--mysqlx=OFF", "--secure-file-priv=")
		prepare(t, temporary, s.program, "--no-defaults", "--user="+user(), data, "--initialize-insecure", "--secure-file-priv=")
	} else {
		s.program = mariadbd(t)
		prepare(t, temporary, Command(t, "mariadb-install-db"), "--no-defaults", "--user="+user(), data, "--auth-root-authentication-method=normal", "--skip-test-db")
	}
	s.Start(t)
	return s
}

// Start starts the server again, at the same address and with the same data.
func (s *MariaDBServer) Start(t testing.TB) {
	t.Helper()
	s.stop = Start(t, s.port, s.program, s.args...)
}

// Kill ends it as a crash would.
func (s *MariaDBServer) Kill() { s.stop() }

// Database makes a database of the test's own in the server and gives root's connections
// to it, and its name.
func Database(t testing.TB, root string) (*sql.DB, string) {
	t.Helper()
	name := fmt.Sprintf("test%08x", rand.Uint32())
	db, err := sql.Open("mysql", root+"?multiStatements=true")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("CREATE DATABASE " + name + " CHARACTER SET utf8mb4"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if db, err = sql.Open("mysql", root+name+"?multiStatements=true"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db, name
}

// mariadbd is the server's program; Debian has it where only root's PATH looks.
func mariadbd(t testing.TB) string {
	t.Helper()
	server, err := exec.LookPath("mariadbd")
	if err != nil {
		server = "/usr/sbin/mariadbd"
	}
	if _, err := os.Stat(server); err != nil {
		t.Fatal("this test needs the program mariadbd: run `make peers` as root")
	}
	return server
}

func prepare(t testing.TB, temporary, program string, args ...string) {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), "TMPDIR="+temporary)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", program, err, out)
	}
}

// user is who the server runs as: MariaDB wants root to be named.
func user() string {
	if os.Getuid() == 0 {
		return "root"
	}
	return os.Getenv("USER")
}
