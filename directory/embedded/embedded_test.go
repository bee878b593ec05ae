package embedded_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"

	"postern/directory"
	"postern/directory/directorytest"
	"postern/directory/embedded"
	"postern/mail"
)

// open gives a directory at path that is closed and checked when the test ends.
func open(t *testing.T, path string) *embedded.Store {
	t.Helper()
	s, err := embedded.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = s.Close()
		check(t, path)
	})
	return s
}

func check(t *testing.T, path string) {
	t.Helper()
	edit(t, path, func(tx *bolt.Tx) error {
		for err := range tx.Check() {
			t.Error(err)
		}
		return nil
	})
}

func edit(t *testing.T, path string, f func(*bolt.Tx) error) {
	t.Helper()
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(f), db.Close()); err != nil {
		t.Fatal(err)
	}
}

func file(t *testing.T) string { return filepath.Join(t.TempDir(), "directory.db") }

func TestContract(t *testing.T) {
	directorytest.Run(t, func(t *testing.T) directory.Store { return open(t, file(t)) })
}

func TestAReopenedFileHoldsEverything(t *testing.T) {
	path := file(t)
	s := open(t, path)
	u := directory.User{Email: "kim@example.com", Subscribed: true, Attributes: map[string]any{"CreateTime": json.Number("1700000000")}}
	if err := s.Put(t.Context(), []directory.User{u}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := open(t, path).Get(t.Context(), u.Email)
	if err != nil || !got.Subscribed || got.Value("CreateTime") != "1700000000" {
		t.Fatalf("got %+v, %v", got, err)
	}
}

func TestASecondProcessIsTold(t *testing.T) {
	path := file(t)
	open(t, path)
	_, err := embedded.Open(path)
	var e *mail.Error
	if !errors.As(err, &e) || !strings.Contains(e.Public, "another process") || strings.Contains(e.Public, filepath.Dir(path)) {
		t.Fatalf("got %v, want a sentence about another process, without the folder", err)
	}
}

func TestANewerFileIsRefused(t *testing.T) {
	path := file(t)
	if err := open(t, path).Close(); err != nil {
		t.Fatal(err)
	}
	edit(t, path, func(tx *bolt.Tx) error { return tx.Bucket([]byte("meta")).Put([]byte("format"), []byte("2")) })
	if _, err := embedded.Open(path); mail.ClassOf(err) != mail.Permanent || !strings.Contains(err.Error(), "newer postern") {
		t.Fatalf("got %v, want a Permanent refusal that says a newer postern wrote it", err)
	}
}

func TestADamagedRowIsNamed(t *testing.T) {
	for name, row := range map[string]string{"of a newer version": "\x02{}", "empty": "", "not JSON": "\x01{"} {
		t.Run(name, func(t *testing.T) {
			path := file(t)
			if err := open(t, path).Close(); err != nil {
				t.Fatal(err)
			}
			edit(t, path, func(tx *bolt.Tx) error { return tx.Bucket([]byte("users")).Put([]byte("kim@example.com"), []byte(row)) })
			s := open(t, path)
			_, getErr := s.Get(t.Context(), "kim@example.com")
			_, scanErr := s.Scan(t.Context(), nil)
			updateErr := s.Update(t.Context(), "kim@example.com", directory.Change{OptOut: []string{"a"}})
			for _, err := range []error{getErr, scanErr, updateErr} {
				if mail.ClassOf(err) != mail.Permanent || !strings.Contains(err.Error(), "kim@example.com") {
					t.Errorf("got %v, want a Permanent error that names the row", err)
				}
			}
		})
	}
}

func TestFiftyThousandUsersInPages(t *testing.T) {
	const n = 50_000
	s := open(t, file(t))
	us := make([]directory.User, n)
	for i := range us {
		us[i] = directory.User{Email: mail.Address(fmt.Sprintf("user%d@example.com", i)), Subscribed: true, Attributes: map[string]any{"Name": "김민"}}
	}
	if err := s.Put(t.Context(), us); err != nil {
		t.Fatal(err)
	}
	var at directory.Checkpoint
	last, total, pages := mail.Address(""), 0, 0
	for {
		p, err := s.Scan(t.Context(), at)
		if err != nil {
			t.Fatal(err)
		}
		if len(p.Users) > 1000 {
			t.Fatalf("a page of %d users", len(p.Users))
		}
		for _, u := range p.Users {
			if u.Email <= last {
				t.Fatalf("%s comes after %s", u.Email, last)
			}
			last = u.Email
		}
		total, pages = total+len(p.Users), pages+1
		if at = p.Next; at == nil {
			break
		}
	}
	if total != n || pages != n/1000 {
		t.Fatalf("%d users on %d pages, want %d on %d", total, pages, n, n/1000)
	}
}

func TestAPageOfFatUsersIsShort(t *testing.T) {
	s := open(t, file(t))
	var us []directory.User
	for i := range 30 {
		us = append(us, directory.User{Email: mail.Address(fmt.Sprintf("u%02d@example.com", i)), Attributes: map[string]any{"Note": strings.Repeat("x", 100_000)}})
	}
	if err := s.Put(t.Context(), us); err != nil {
		t.Fatal(err)
	}
	p, err := s.Scan(t.Context(), nil)
	if err != nil || len(p.Users) != 11 || p.Next == nil {
		t.Fatalf("%d users, next %q, %v; want 11 (the first to pass 1 MB) and more to follow", len(p.Users), p.Next, err)
	}
	if n := len(directorytest.All(t, s)); n != 30 {
		t.Fatalf("%d users in all, want 30", n)
	}
}

// Somebody who is removed or added around the checkpoint moves nobody else.
func TestAScanGoesOnBetweenKeys(t *testing.T) {
	path := file(t)
	s := open(t, path)
	var us []directory.User
	for i := range 1500 {
		us = append(us, directory.User{Email: mail.Address(fmt.Sprintf("u%04d@example.com", i))})
	}
	if err := s.Put(t.Context(), us); err != nil {
		t.Fatal(err)
	}
	p, err := s.Scan(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	edit(t, path, func(tx *bolt.Tx) error { return tx.Bucket([]byte("users")).Delete([]byte("u0999@example.com")) })
	rest, err := open(t, path).Scan(t.Context(), p.Next)
	if err != nil || len(rest.Users) != 500 || rest.Users[0].Email != "u1000@example.com" || rest.Next != nil {
		t.Fatalf("%d users from %v, next %q, %v", len(rest.Users), rest.Users[:1], rest.Next, err)
	}
}
