package peer

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Screen is a size of the browser's window at which pages are looked at.
type Screen int

const (
	Phone  Screen = iota // 390 x 780 CSS pixels
	Laptop               // 1280 x 900
	Tall                 // 1280 x 1700, for long pages
)

func (s Screen) size() string {
	return [...]string{"390,780", "1280,900", "1280,1700"}[s]
}

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
		"--window-size="+s.size(), "--user-data-dir="+profile, "--screenshot="+filepath.Join(t.ArtifactDir(), name+".png"), "--dump-dom", url)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("chromium: %v\n%s", err, errs.String())
	}
	return out.String(), errs.String()
}
