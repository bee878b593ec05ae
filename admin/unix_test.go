package admin_test

import (
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"postern/admin"
	"postern/internal/peer"
)

func TestControlSocketIsItsOwnersAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control.sock")
	l, err := admin.ListenControl(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	s := admin.NewServer("", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "here") }))
	go func() { _ = s.Serve(l) }()
	defer s.Close()
	client := &http.Client{Transport: admin.ControlTransport(path)}
	res, err := client.Get("http://postern/api/queue")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if b, err := io.ReadAll(res.Body); string(b) != "here" {
		t.Errorf("%q, %v", b, err)
	}
	// Somebody else gets nothing, even where the file's mode would let them in.
	if os.Getuid() == 0 {
		dir := filepath.Dir(path)
		for d := dir; d != "/tmp" && d != "/"; d = filepath.Dir(d) {
			if err := os.Chmod(d, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chmod(path, 0o666); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(peer.Python, "-c", `import socket,sys
s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.sendall(b"GET / HTTP/1.0\r\n\r\n")
try: print(s.recv(100))
except ConnectionError: print(b"")`, path)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		cmd.Dir = "/"
		out, err := cmd.CombinedOutput()
		text := strings.TrimSpace(string(out))
		if text != "b''" && !strings.Contains(text, "BrokenPipe") && !strings.Contains(text, "ConnectionReset") {
			t.Errorf("a stranger was answered: %s %v", out, err)
		}
	}
}

func TestControlSocketOfALivingGatewayIsNotTaken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control.sock")
	l, err := admin.ListenControl(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := admin.ListenControl(path); !errors.Is(err, admin.ErrInUse) {
		t.Errorf("err = %v", err)
	}
	if err := errors.Join(l.Close(), l.Close()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is left behind: %v", err)
	}
	l, err = admin.ListenControl(path)
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
}

func TestControlSocketThatNobodyAnswersIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control.sock")
	old, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	// Somebody answers there without our lock: not ours to take.
	if _, err := admin.ListenControl(path); !errors.Is(err, admin.ErrInUse) {
		t.Errorf("err = %v", err)
	}
	old.(*net.UnixListener).SetUnlinkOnClose(false)
	old.Close()
	client := &http.Client{Transport: admin.ControlTransport(path)}
	if _, err := client.Get("http://postern/"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("err = %v", err)
	}
	l, err := admin.ListenControl(path)
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if _, err := client.Get("http://postern/"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("err = %v", err)
	}
}

func TestOfManyStartersOneGetsTheControlSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control.sock")
	stale, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	stale.(*net.UnixListener).SetUnlinkOnClose(false)
	stale.Close()
	var mu sync.Mutex
	var wg sync.WaitGroup
	var won []net.Listener
	for range 20 {
		wg.Go(func() {
			l, err := admin.ListenControl(path)
			if err != nil && !errors.Is(err, admin.ErrInUse) {
				t.Error(err)
			}
			if err == nil {
				mu.Lock()
				won = append(won, l)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(won) != 1 {
		t.Fatalf("%d listeners", len(won))
	}
	if c, err := net.Dial("unix", path); err != nil {
		t.Error(err)
	} else {
		c.Close()
	}
	won[0].Close()
}

func TestControlSocketDoesNotRemoveAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control.sock")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.ListenControl(path); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("err = %v", err)
	}
	if b, _ := os.ReadFile(path); string(b) != "precious" {
		t.Error("the file is gone")
	}
	if _, err := admin.ListenControl("/tmp/" + strings.Repeat("x", 200)); err == nil || !strings.Contains(err.Error(), "shorter data_dir") {
		t.Errorf("err = %v", err)
	}
}

func TestInProcessAnswersLikeAServer(t *testing.T) {
	g := newGateway(t)
	id := g.add("Hello", "a@example.com")
	client := &http.Client{Transport: admin.InProcess(g.Handler())}
	ask := func(method, path, body string) (int, string, error) {
		req, err := http.NewRequestWithContext(t.Context(), method, "http://postern"+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		return res.StatusCode, string(b), err
	}
	for _, c := range []struct {
		method, path, body string
		code               int
	}{
		{"GET", "/api/queue", "", 200}, {"GET", "/api/queue/" + string(id), "", 200}, {"POST", "/api/queue/" + string(id) + "/pause", "", 200},
		{"POST", "/api/queue/" + string(id) + "/pause", "", 409}, {"GET", "/api/nothing", "", 404}, {"POST", "/api/users/import", "Email\na@example.com\n", 200}, {"GET", "/api/users/export", "", 200},
	} {
		code, text, err := ask(c.method, c.path, c.body)
		if err != nil || code != c.code || text == "" {
			t.Errorf("%s %s: %d %q %v", c.method, c.path, code, text, err)
		}
	}
	// What breaks off is an error, not a shorter answer.
	breaks := &http.Client{Transport: admin.InProcess(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "half")
		panic(http.ErrAbortHandler)
	}))}
	broken, err := breaks.Get("http://postern/")
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(broken.Body); err == nil || string(b) != "half" {
		t.Errorf("half an answer passes for a whole one: %q %v", b, err)
	}
	broken.Body.Close()
	// Who stops reading does not hang the handler.
	res, err := client.Get("http://postern/api/queue")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
}
