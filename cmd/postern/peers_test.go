package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/peer"
)

// TestPeersSayWhatIsMissingInOneSentence runs .ci/peers on a machine without
// apt-get that lacks a program, and on one where npm fails.
func TestPeersSayWhatIsMissingInOneSentence(t *testing.T) {
	root := t.TempDir()
	for _, f := range []string{".ci/peers", "testdata/peers/package.json", "testdata/peers/package-lock.json"} {
		text, err := os.ReadFile(filepath.Join("../..", f))
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(root, f)
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	bin := filepath.Join(root, "bin")
	if err := os.Mkdir(bin, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range strings.Fields("bash id dirname grep tail") {
		if err := os.Symlink(peer.Command(t, name), filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	program := func(name, script string) {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!"+filepath.Join(bin, "bash")+"\n"+script+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	check := func(args []string, want ...string) {
		t.Helper()
		cmd := exec.Command(filepath.Join(bin, "bash"), append([]string{filepath.Join(root, ".ci/peers")}, args...)...)
		cmd.Env = []string{"PATH=" + bin}
		said, err := cmd.CombinedOutput()
		if err == nil || strings.Count(string(said), "\n") != 1 {
			t.Errorf("%v:\n%s", err, said)
		}
		for _, w := range want {
			if !strings.Contains(string(said), w) {
				t.Errorf("%q is not in: %s", w, said)
			}
		}
	}
	check(nil, "make peers: ", "apt-get install", "swaks")
	for _, name := range strings.Fields("gcc openssl swaks perl curl msmtp strace haproxy chromium node mariadbd my_print_defaults") {
		program(name, "")
	}
	program("npm", "echo 'npm error code E1' >&2; echo 'npm error network' >&2; exit 1")
	check([]string{"e2e"}, "make e2e: ", "apt-get install", "php-cli")
	check(nil, "make peers: ", "npm error code E1", "npm ci")
}
