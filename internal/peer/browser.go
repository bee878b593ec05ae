package peer

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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
	cmd := exec.Command(Command(t, "chromium"), append(quietly(profile), "--enable-logging=stderr",
		"--window-size="+s.size(), "--screenshot="+filepath.Join(t.ArtifactDir(), name+".png"), "--dump-dom", url)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("chromium: %v\n%s", err, errs.String())
	}
	return out.String(), errs.String()
}

// quietly are the flags of a browser that does nothing of its own accord.
func quietly(profile string) []string {
	return []string{"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--hide-scrollbars", "--user-data-dir=" + profile}
}

// Browser is one real browser for many pages, driven over its pipe (the Chrome
// DevTools Protocol). It reaches no network, loopback included, and runs no
// script of a page, as mail readers do not.
type Browser struct {
	to      io.Writer
	from    *bufio.Reader
	stderr  string // the file of what it says
	session string
	calls   int
	events  []string // that came and that nobody has awaited yet
}

// NewBrowser starts a browser whose pages are width CSS pixels wide. It lives
// until the test ends.
func NewBrowser(t testing.TB, width int) *Browser {
	t.Helper()
	b := newBrowser(t, width, "--host-resolver-rules=MAP * ~NOTFOUND", "--proxy-bypass-list=<-loopback>")
	b.Scripts(t, false)
	return b
}

// NewVisitor starts a browser that reaches the servers of this machine and nothing
// else, and runs their scripts, as people's browsers do.
func NewVisitor(t testing.TB, width int) *Browser {
	t.Helper()
	b := newBrowser(t, width, "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
	b.call(t, "Emulation.setFocusEmulationEnabled", map[string]any{"enabled": true}, nil)
	return b
}

func newBrowser(t testing.TB, width int, flags ...string) *Browser {
	t.Helper()
	profile, err := os.MkdirTemp("", "chromium")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(profile) })
	b := &Browser{stderr: filepath.Join(profile, "stderr")}
	// No name is found, and no proxy listens at port 1.
	b.start(t, exec.Command(Command(t, "chromium"), append(append(quietly(profile), flags...), "--remote-debugging-pipe", "--disable-frame-rate-limit", "--disable-gpu-vsync",
		"--proxy-server=127.0.0.1:1")...))
	var target struct{ TargetID, SessionID string }
	b.call(t, "Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	b.call(t, "Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &target)
	b.session = target.SessionID
	b.call(t, "Page.enable", nil, nil)
	b.Width(t, width)
	return b
}

// Scripts says whether the pages that are opened from now on run scripts. Eval works
// either way.
func (b *Browser) Scripts(t testing.TB, run bool) {
	t.Helper()
	b.call(t, "Emulation.setScriptExecutionDisabled", map[string]any{"value": !run}, nil)
}

// Width makes the pages width CSS pixels wide.
func (b *Browser) Width(t testing.TB, width int) {
	t.Helper()
	b.call(t, "Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": screenHeight, "deviceScaleFactor": 1, "mobile": false}, nil)
}

// Media sets what the reader prefers, such as "prefers-color-scheme" to "dark".
func (b *Browser) Media(t testing.TB, feature, value string) {
	t.Helper()
	b.call(t, "Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": feature, "value": value}}}, nil)
}

// Key presses a key of the keyboard: "Tab", "Enter" or "Space".
func (b *Browser) Key(t testing.TB, key string) {
	t.Helper()
	k, ok := map[string]map[string]any{
		"Tab":   {"key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9},
		"Enter": {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"},
		"Space": {"key": " ", "code": "Space", "windowsVirtualKeyCode": 32, "text": " "},
	}[key]
	if !ok {
		t.Fatalf("no key %q", key)
	}
	for _, kind := range []string{"keyDown", "keyUp"} {
		k["type"] = kind
		if kind == "keyUp" {
			delete(k, "text")
		}
		b.call(t, "Input.dispatchKeyEvent", k, nil)
	}
}

// Follow does what leads to another page, and returns when that is loaded.
func (b *Browser) Follow(t testing.TB, do func()) {
	t.Helper()
	b.events = nil
	do()
	for !slices.Contains(b.events, "Page.loadEventFired") {
		b.read(t)
	}
}

// start runs the browser, which reads calls from descriptor 3 and writes answers
// to 4.
func (b *Browser) start(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	calls, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	from, answers, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := os.Create(b.stderr)
	if err != nil {
		t.Fatal(err)
	}
	cmd.ExtraFiles, cmd.Stderr = []*os.File{calls, answers}, stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for _, its := range cmd.ExtraFiles {
		its.Close()
	}
	stderr.Close()
	b.to, b.from = to, bufio.NewReaderSize(from, 1<<20)
	t.Cleanup(func() {
		to.Close() // it ends when its pipe does
		_ = cmd.Wait()
		from.Close()
	})
}

// Open shows url and returns when it is loaded, its pictures included.
func (b *Browser) Open(t testing.TB, url string) {
	t.Helper()
	b.events = nil
	var said struct{ ErrorText string }
	b.call(t, "Page.navigate", map[string]any{"url": url}, &said)
	if said.ErrorText != "" {
		t.Fatalf("chromium cannot open %s: %s", url, said.ErrorText)
	}
	for !slices.Contains(b.events, "Page.loadEventFired") {
		b.read(t)
	}
}

// Eval gives the value of a JavaScript expression on the page; a promise is
// awaited.
func (b *Browser) Eval(t testing.TB, expression string, value any) {
	t.Helper()
	var said struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails json.RawMessage
	}
	b.call(t, "Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true}, &said)
	if said.ExceptionDetails != nil {
		t.Fatalf("chromium: %.400s\nin %.400s", said.ExceptionDetails, expression)
	}
	if value == nil {
		return
	}
	if err := json.Unmarshal(said.Result.Value, value); err != nil {
		t.Fatalf("chromium answered %.400s: %v", said.Result.Value, err)
	}
}

// screenHeight is in CSS pixels. What is higher takes twice the time to draw.
const screenHeight = 600

// Picture is a PNG of the page's upper left. The same pixels are the same octets.
func (b *Browser) Picture(t testing.TB, width, height float64) []byte {
	t.Helper()
	var said struct{ Data []byte }
	b.call(t, "Page.captureScreenshot", map[string]any{"captureBeyondViewport": height > screenHeight, "optimizeForSpeed": true,
		"clip": map[string]any{"x": 0, "y": 0, "width": width, "height": height, "scale": 1}}, &said)
	return said.Data
}

// call makes one call and waits for its answer.
func (b *Browser) call(t testing.TB, method string, params, answer any) {
	t.Helper()
	b.calls++
	m, err := json.Marshal(struct {
		ID        int    `json:"id"`
		SessionID string `json:"sessionId,omitempty"`
		Method    string `json:"method"`
		Params    any    `json:"params,omitempty"`
	}{b.calls, b.session, method, params})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.to.Write(append(m, 0)); err != nil {
		b.ended(t, err)
	}
	for {
		said := b.read(t)
		if said.ID != b.calls {
			continue
		}
		if said.Error != nil {
			t.Fatalf("chromium: %s: %s", method, said.Error)
		}
		if answer != nil {
			if err := json.Unmarshal(said.Result, answer); err != nil {
				t.Fatal(err)
			}
		}
		return
	}
}

// message is an answer, or an event.
type message struct {
	ID            int
	Method        string
	Result, Error json.RawMessage
}

func (b *Browser) read(t testing.TB) (m message) {
	t.Helper()
	raw, err := b.from.ReadBytes(0)
	if err != nil {
		b.ended(t, err)
	}
	if err := json.Unmarshal(raw[:len(raw)-1], &m); err != nil {
		t.Fatal(err)
	}
	if m.Method != "" {
		b.events = append(b.events, m.Method)
	}
	return m
}

func (b *Browser) ended(t testing.TB, err error) {
	t.Helper()
	said, _ := os.ReadFile(b.stderr)
	t.Fatalf("chromium has ended: %v\n%s", err, said)
}
