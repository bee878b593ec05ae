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

func openFiles(t *testing.T, dir string) (*spool.Spool, *directory.Index) {
	t.Helper()
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
	return s, x
}

// TestOlderKeyRingIsFoundOut: a key ring from a backup of before the last rotation cannot
// open the links of the newest mail.
func TestOlderKeyRingIsFoundOut(t *testing.T) {
	dir := t.TempDir()
	s, x := openFiles(t, dir)
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

// TestAskingThatFailedIsAskedAgain: somebody who wants to come back waits for no day
// because the spool could not take the confirmation mail.
func TestAskingThatFailedIsAskedAgain(t *testing.T) {
	dir := t.TempDir()
	s, x := openFiles(t, dir)
	broken, _ := openFiles(t, t.TempDir())
	if err := broken.Close(); err != nil {
		t.Fatal(err)
	}
	cfg := &postern.Config{DataDir: dir, Hostname: "gw.example.com", Lists: []postern.ListConfig{{ID: "promo", Name: "Promotions", Language: "ko"}}}
	cfg.Notices.From, cfg.OptOut.BaseURL = "postmaster@example.com", "https://gw.example.com"
	cfg.Lanes = []postern.LaneConfig{{Name: "out", Driver: "maildir"}}
	now := time.Now()
	if _, err := postern.Ask(t.Context(), cfg, broken, x, "kim@example.net", "promo", now); err == nil {
		t.Fatal("a closed spool has taken the letter")
	}
	for i, want := range []bool{true, false} {
		if ok, err := postern.Ask(t.Context(), cfg, s, x, "kim@example.net", "promo", now.Add(time.Minute)); ok != want || err != nil {
			t.Errorf("attempt %d: sent is %v, %v; want %v", i+1, ok, err, want)
		}
	}
	if list, err := s.Messages("", 10); err != nil || len(list) != 1 {
		t.Errorf("%d letters, %v; want one", len(list), err)
	}
}
