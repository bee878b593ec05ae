package main_test

import (
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestInterruptedCommandLeavesNothingHalfDone: Ctrl-C in the middle of a file
// that is being written.
func TestInterruptedCommandLeavesNothingHalfDone(t *testing.T) {
	kept := make(chan os.Signal, 1) // whatever happens, the signal does not end the tests
	signal.Notify(kept, os.Interrupt)
	defer signal.Stop(kept)
	serveControl(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "Email\r\na@exam")
		http.NewResponseController(w).Flush()
		if err := syscall.Kill(os.Getpid(), syscall.SIGINT); err != nil {
			t.Error(err)
		}
		select {
		case <-r.Context().Done():
		case <-time.After(time.Minute): // so that a failure ends
			t.Error("the signal did not end the command")
		}
	}))
	for _, args := range []string{"users export out.csv", "spool backup out.tar"} {
		code, _, stderr := run(t, "", strings.Fields(args)...)
		if code != 1 || !strings.HasPrefix(stderr, "postern: interrupted: ") {
			t.Errorf("%s: exit code %d: %s", args, code, stderr)
		}
	}
	if left, err := filepath.Glob("out*"); err != nil || len(left) > 0 {
		t.Errorf("files are left behind: %q %v", left, err)
	}
}
