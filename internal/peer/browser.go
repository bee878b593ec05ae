package peer

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Screen is the size of a browser's window, in CSS pixels.
type Screen struct{ Width, Height int }

// The sizes at which pages are looked at.
var (
	Phone  = Screen{390, 780}
	Laptop = Screen{1280, 900}
)

// Browse opens url in a real browser, JavaScript running, and gives the document
// as it then is and what the browser logged about it. A picture of it is kept as
// NAME.png with `go test -artifacts`.
func Browse(t testing.TB, name string, s Screen, url string) (dom, log string) {
	t.Helper()
	// Not t.TempDir: the browser's children may still write while it is removed.
	profile, err := os.MkdirTemp("", "chromium")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(profile)
	cmd := exec.Command(Command(t, "chromium"), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--enable-logging=stderr", "--hide-scrollbars",
		fmt.Sprintf("--window-size=%d,%d", s.Width, s.Height), "--user-data-dir="+profile, "--screenshot="+filepath.Join(t.ArtifactDir(), name+".png"), "--dump-dom", url)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("chromium: %v\n%s", err, errs.String())
	}
	return out.String(), errs.String()
}
