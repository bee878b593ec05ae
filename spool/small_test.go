package spool_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"postern/mail"
	"postern/spool"
)

// bodyOf reads a message as it was received.
func bodyOf(t testing.TB, s *spool.Spool, id mail.ID) string {
	t.Helper()
	f, err := s.OpenBody(id)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// take accepts an ordinary mail with one copy.
func take(t testing.TB, s *spool.Spool, text string) mail.ID {
	t.Helper()
	b, err := s.NewBody()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(b, text); err != nil {
		t.Fatal(err)
	}
	m := mail.Message{ID: mail.NewID(time.Now()), State: mail.Sending, AcceptedAt: time.Now()}
	if err := s.Accept(context.Background(), b, []spool.Accepted{{Message: m, Copies: copies(1)}}); err != nil {
		t.Fatal(err)
	}
	return m.ID
}

func files(t testing.TB, dir string) int {
	t.Helper()
	all, err := os.ReadDir(filepath.Join(dir, "bodies"))
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// TestASmallMailHasNoFile: an ordinary mail of up to 16 KiB is in spool.db, a
// larger one and every list's in a file, and each comes back as it was: after a
// restart, from a backup, and not at all after its retention.
func TestASmallMailHasNoFile(t *testing.T) {
	for _, tt := range []struct {
		name  string
		size  int
		list  *mail.ListPolicy
		files int
	}{
		{"empty", 0, nil, 0},
		{"the largest small one", 16 << 10, nil, 0},
		{"one octet more", 16<<10 + 1, nil, 1},
		{"a list's", 100, &mail.ListPolicy{ID: "promo"}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir)
			text := strings.Repeat("x", tt.size)
			b, err := s.NewBody()
			if err != nil {
				t.Fatal(err)
			}
			for chunk := range slices.Chunk([]byte(text), 1000) {
				if _, err := b.Write(chunk); err != nil {
					t.Fatal(err)
				}
			}
			if raw, err := b.Bytes(); err != nil || string(raw) != text || b.Size() != int64(tt.size) {
				t.Fatalf("before it is accepted: %d octets of %d, %v", len(raw), b.Size(), err)
			}
			m := mail.Message{ID: mail.NewID(time.Now()), State: mail.Sending, AcceptedAt: time.Now(), List: tt.list}
			if err := s.Accept(t.Context(), b, []spool.Accepted{{Message: m, Copies: copies(1)}}); err != nil {
				t.Fatal(err)
			}
			b.Discard()
			if n := files(t, dir); n != tt.files {
				t.Errorf("%d files, want %d", n, tt.files)
			}
			closeChecked(t, s)
			s = open(t, dir)
			if bodyOf(t, s, m.ID) != text {
				t.Error("after a restart it is another")
			}
			var backup bytes.Buffer
			if err := s.Backup(t.Context(), &backup); err != nil {
				t.Fatal(err)
			}
			restored := open(t, untar(t, &backup))
			if bodyOf(t, restored, m.ID) != text {
				t.Error("from a backup it is another")
			}
			closeChecked(t, restored)
			if err := s.Cancel(t.Context(), m.ID, ""); err != nil {
				t.Fatal(err)
			}
			if n, err := s.Expire(t.Context(), time.Now().Add(time.Hour)); n != 1 || err != nil {
				t.Errorf("expired %d, %v", n, err)
			}
			if _, err := s.OpenBody(m.ID); !errors.Is(err, spool.ErrNotFound) {
				t.Errorf("after its retention: %v", err)
			}
			if n := files(t, dir); n != 0 {
				t.Errorf("%d files are left", n)
			}
			closeChecked(t, s)
		})
	}
}

// TestSmallMailsThatComeTogetherStayApart: what is in one buffer now was in that of
// another mail before.
func TestSmallMailsThatComeTogetherStayApart(t *testing.T) {
	s := open(t, t.TempDir())
	defer closeChecked(t, s)
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for range 5 {
				text := strings.Repeat(string(rune('a'+i)), 1000*(i+1))
				if id := take(t, s, text); bodyOf(t, s, id) != text {
					t.Errorf("mail %d is another", i)
				}
			}
		})
	}
	wg.Wait()
}

// TestCheckSeesBodiesAndMessagesPart, in both directions.
func TestCheckSeesBodiesAndMessagesPart(t *testing.T) {
	for name, damage := range map[string]func(b *bolt.Bucket, id [16]byte) error{
		"its body is missing": func(b *bolt.Bucket, id [16]byte) error { return b.Delete(id[:]) },
		"index bodies has 2 entries, and 1 belong to messages": func(b *bolt.Bucket, id [16]byte) error { return b.Put(make([]byte, 16), []byte("x")) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir)
			id := take(t, s, "text")
			closeChecked(t, s)
			db, err := bolt.Open(filepath.Join(dir, "spool.db"), 0o600, nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := db.Update(func(tx *bolt.Tx) error { return damage(tx.Bucket([]byte("bodies")), id.Bytes()) }); err != nil {
				t.Fatal(err)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			s = open(t, dir)
			defer s.Close()
			problems, err := s.Check(t.Context(), nil)
			if err != nil || len(problems) != 1 || !strings.Contains(problems[0], name) {
				t.Errorf("%q, %v", problems, err)
			}
		})
	}
}

// TestARefusedBodyIsStillWhole: a body that became a file for its list, and was not
// taken because the list's message is there already, is what it was, whatever other
// mails come in meanwhile. It can be offered again for the recipients that are new.
func TestARefusedBodyIsStillWhole(t *testing.T) {
	for _, size := range []int{100, 16<<10 + 1} {
		dir := t.TempDir()
		s := open(t, dir)
		text := strings.Repeat("a", size)
		var again *spool.Repeated
		for i := range 20 {
			b, err := s.NewBody()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(b, text); err != nil {
				t.Fatal(err)
			}
			raw, err := b.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			list := mail.Message{ID: mail.NewID(time.Now()), State: mail.Expanding, AcceptedAt: time.Now(), List: &mail.ListPolicy{ID: "promo"}}
			err = s.Accept(t.Context(), b, []spool.Accepted{{Message: list, Compiled: []byte("pieces"), Repeat: "print"}})
			if i > 0 && !errors.As(err, &again) {
				t.Fatalf("the repetition: %v", err)
			}
			take(t, s, strings.Repeat("b", 16<<10))
			if i == 0 {
				continue
			}
			if string(raw) != text {
				t.Fatal("what was read of it is now another mail's")
			}
			m := mail.Message{ID: mail.NewID(time.Now()), State: mail.Sending, AcceptedAt: time.Now()}
			if err := s.Accept(t.Context(), b, []spool.Accepted{{Message: m, Copies: copies(1)}}); err != nil {
				t.Fatal(err)
			}
			if bodyOf(t, s, m.ID) != text {
				t.Fatalf("offered again, %d octets of it are stored", len(bodyOf(t, s, m.ID)))
			}
			b.Discard()
		}
		closeChecked(t, s)
	}
}

// TestRetentionDropsManyMailsAtOnce: several to a commit, large ones in several
// commits, and none that is not over.
func TestRetentionDropsManyMailsAtOnce(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	var ids []mail.ID
	for i := range 300 {
		n := 1
		if i%100 == 50 {
			n = 1950 + i // copies: about as many as one commit drops, and more
		}
		ids = append(ids, accept(t, s, mail.Message{State: mail.Sending}, "text", copies(n)...).ID)
		if i%100 == 50 {
			settleAll(t, s, mail.Sent)
		}
	}
	settleAll(t, s, mail.Sent)
	open := accept(t, s, mail.Message{State: mail.Sending}, "open", copies(1)...).ID
	n, err := s.Expire(t.Context(), time.Now().Add(time.Hour))
	if err != nil || n != len(ids) {
		t.Errorf("%d dropped, want %d, %v", n, len(ids), err)
	}
	for _, id := range ids {
		if _, err := s.OpenBody(id); !errors.Is(err, spool.ErrNotFound) {
			t.Fatalf("the body of one that was dropped: %v", err)
		}
	}
	if bodyOf(t, s, open) != "open" {
		t.Error("a mail that is not sent yet has lost its body")
	}
	if list, err := s.Messages("", 10); err != nil || len(list) != 1 {
		t.Errorf("%d messages are left, want 1, %v", len(list), err)
	}
	closeChecked(t, s)
}
