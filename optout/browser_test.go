package optout_test

import (
	"bytes"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/peer"
	"postern/optout"
)

// browse opens url in a real browser at the size of a phone, JavaScript
// running, and gives the document and what the browser complained about. The
// picture is kept with `go test -artifacts`.
func browse(t *testing.T, name, url string) (dom, complaints string) {
	t.Helper()
	run := func(more ...string) (string, string) {
		// Not t.TempDir: the browser's children may write while it is removed.
		profile, err := os.MkdirTemp("", "chromium")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(profile)
		args := append([]string{"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
			"--disable-component-update", "--disable-sync", "--enable-logging=stderr", "--hide-scrollbars", "--window-size=390,780", "--user-data-dir=" + profile}, more...)
		cmd := exec.Command(peer.Command(t, "chromium"), append(args, url)...)
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		if err := cmd.Run(); err != nil {
			t.Fatalf("chromium: %v\n%s", err, stderr.String())
		}
		return stdout.String(), stderr.String()
	}
	run("--screenshot=" + filepath.Join(t.ArtifactDir(), name+".png"))
	return run("--dump-dom")
}

func TestRule4BrowserThatOnlyLooksChangesNothing(t *testing.T) {
	p := newPage(t)
	ts := httptest.NewServer(p)
	defer ts.Close()
	sale := p.Keyring.Seal(0, optout.Claim{List: "sale", User: "minji@example.com", Message: claim.Message})
	for name, c := range map[string]struct{ path, want string }{
		"ask-ko":     {"/u/" + sale + "?lang=ko", "수신거부"},
		"ask-en":     {"/u/" + p.Keyring.Seal(0, claim) + "?lang=en", "Unsubscribe from"},
		"invalid-ko": {"/u/broken?lang=ko", "이 링크는"},
	} {
		dom, complaints := browse(t, name, ts.URL+c.path)
		if !strings.Contains(dom, c.want) {
			t.Errorf("%s: %s", name, dom)
		}
		if strings.Contains(complaints, "Content Security Policy") {
			t.Errorf("%s: %s", name, complaints)
		}
	}
	if len(p.all) != 0 {
		t.Errorf("left: %q", p.all)
	}
}
