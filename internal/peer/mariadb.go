package peer

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// MariaDB starts a server of its own, in a folder that goes with the test, and gives
// the address for root, who has no password, and no database: such as
// "root@tcp(127.0.0.1:12345)/".
func MariaDB(t testing.TB, args ...string) string {
	t.Helper()
	dir, port := t.TempDir(), Port(t)
	// Debian has it where only root's PATH looks.
	server, err := exec.LookPath("mariadbd")
	if err != nil {
		server = "/usr/sbin/mariadbd"
	}
	if _, err := os.Stat(server); err != nil {
		t.Fatal("this test needs the program mariadbd: run `make peers` as root")
	}
	data := filepath.Join(dir, "db")
	install := exec.Command(Command(t, "mariadb-install-db"), "--no-defaults", "--datadir="+data,
		"--auth-root-authentication-method=normal", "--skip-test-db", "--user="+user())
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("mariadb-install-db: %v\n%s", err, out)
	}
	Start(t, port, server, append([]string{"--no-defaults", "--user=" + user(), "--datadir=" + data, "--bind-address=127.0.0.1",
		fmt.Sprintf("--port=%d", port), "--socket=" + filepath.Join(dir, "s"), "--pid-file=" + filepath.Join(dir, "pid"),
		"--innodb-buffer-pool-size=64M", "--performance-schema=OFF", "--skip-log-bin", "--innodb-flush-log-at-trx-commit=0"}, args...)...)
	return fmt.Sprintf("root@tcp(127.0.0.1:%d)/", port)
}

// user is who the server runs as: MariaDB wants root to be named.
func user() string {
	if os.Getuid() == 0 {
		return "root"
	}
	return os.Getenv("USER")
}
