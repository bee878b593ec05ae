package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	postern "postern/cmd/postern"
	"postern/directory"
	"postern/mail"
	"postern/optout"
	"postern/spool"
)

// TestOlderKeyRingIsFoundOut: a key ring from a backup of before the last rotation cannot
// open the links of the newest mail.
func TestOlderKeyRingIsFoundOut(t *testing.T) {
	dir := t.TempDir()
	s, err := spool.Open(dir, spool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	x, err := directory.OpenIndex(filepath.Join(dir, "index.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.Close() })
	cfg := &postern.Config{DataDir: dir}
	if _, err := postern.OpenKeyring(cfg, s, x); err != nil {
		t.Fatalf("a data_dir that is new: %v", err)
	}
	body, err := s.NewBody()
	if err != nil {
		t.Fatal(err)
	}
	id := mail.NewID(time.Now())
	err = s.Accept(t.Context(), body, []spool.Accepted{{Message: mail.Message{ID: id, Submission: id, TokenKey: 2, State: mail.Sending}, Copies: []mail.Copy{{To: "u@example.net"}}}})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "keyring.json")
	if _, err := postern.OpenKeyring(cfg, s, x); err == nil || !strings.Contains(err.Error(), "lacks key 2") || !strings.Contains(err.Error(), "--lost") {
		t.Errorf("a ring without key 2: %v", err)
	}
	ring, err := optout.OpenKeyring(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := ring.Rotate(); err != nil {
		t.Fatal(err)
	}
	if _, err := postern.OpenKeyring(cfg, s, x); err != nil {
		t.Errorf("the whole ring: %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := postern.OpenKeyring(cfg, s, x); err == nil || !strings.Contains(err.Error(), "is not there") {
		t.Errorf("no ring: %v", err)
	}
}
