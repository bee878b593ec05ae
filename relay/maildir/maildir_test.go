package maildir_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"postern/mail"
	"postern/relay"
	"postern/relay/maildir"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB) (*maildir.Sender, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "deep", "outbox")
	s, err := maildir.New(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, path
}

func delivery(tag, body string) *relay.Delivery {
	return &relay.Delivery{From: "a@example.com", To: "b@example.net", Tag: tag, Content: mail.Content{
		Header: []byte("DKIM-Signature: v=1\r\nFrom: a@example.com\r\n"),
		Body:   [][]byte{[]byte(body), []byte("\r\n.\r\n"), []byte("end\r\n")}}}
}

func names(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func TestCopyIsWrittenExactly(t *testing.T) {
	s, path := open(t)
	d := delivery("01ARZ3NDEKTSV4RRFFQ69G5FAV-1z", "hello")
	r, err := s.Send(context.Background(), d)
	if err != nil {
		t.Fatal(err)
	}
	if r.ID != d.Tag {
		t.Errorf("receipt %+v", r)
	}
	got, err := os.ReadFile(filepath.Join(path, "new", r.ID))
	if err != nil || string(got) != string(d.Content.Bytes()) {
		t.Errorf("%v: %q", err, got)
	}
	if left := names(t, filepath.Join(path, "tmp")); len(left) != 0 {
		t.Errorf("left in tmp: %q", left)
	}
	if _, err := os.Stat(filepath.Join(path, "cur")); err != nil {
		t.Error(err)
	}
}

func TestResendReplaces(t *testing.T) {
	s, path := open(t)
	if !s.Idempotent() {
		t.Error("not idempotent")
	}
	for _, body := range []string{"first, and longer", "second"} {
		if _, err := s.Send(context.Background(), delivery("tag-1", body)); err != nil {
			t.Fatal(err)
		}
	}
	if got := names(t, filepath.Join(path, "new")); len(got) != 1 {
		t.Fatalf("%d files: %q", len(got), got)
	}
	got, err := os.ReadFile(filepath.Join(path, "new", "tag-1"))
	if err != nil || string(got) != string(delivery("tag-1", "second").Content.Bytes()) {
		t.Errorf("%v: %q", err, got)
	}
}

func TestUnsafeTagsStayInTheMaildir(t *testing.T) {
	s, path := open(t)
	tags := []string{"", "..", "../../etc/passwd", "a/b", "a:2,S", ".hidden", "한글", strings.Repeat("x", 256), "a\x00b"}
	for _, tag := range tags {
		r, err := s.Send(context.Background(), delivery(tag, "x"))
		if err != nil {
			t.Errorf("%q: %v", tag, err)
		}
		if len(r.ID) != 64 {
			t.Errorf("%q is written as %q", tag, r.ID)
		}
	}
	if got := names(t, filepath.Join(path, "new")); len(got) != len(tags) {
		t.Errorf("%d files for %d tags", len(got), len(tags))
	}
}

func TestManySendersAtOnce(t *testing.T) {
	s, path := open(t)
	var wg sync.WaitGroup
	for w := range 10 {
		wg.Go(func() {
			for i := range 20 {
				if _, err := s.Send(context.Background(), delivery(fmt.Sprintf("m-%d-%d", w, i), "x")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	// Two attempts at one copy may overlap when its first result was lost.
	for range 4 {
		wg.Go(func() {
			for range 10 {
				if _, err := s.Send(context.Background(), delivery("same", "x")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got := len(names(t, filepath.Join(path, "new"))); got != 201 {
		t.Errorf("%d files, want 201", got)
	}
}

func TestDirectorySyncIsSharedAndNeverTooEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var syncs, renamed, covered atomic.Int64
		run := maildir.NewGroup(func() error {
			syncs.Add(1)
			n := renamed.Load()
			<-time.After(time.Millisecond) // the bubble's clock
			covered.Store(n)
			return nil
		})
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				mine := renamed.Add(1)
				if err := run(); err != nil {
					t.Error(err)
				}
				if covered.Load() < mine {
					t.Error("a caller returned before a sync that covers its rename")
				}
			})
		}
		wg.Wait()
		if n := syncs.Load(); n > 10 {
			t.Errorf("%d syncs for 100 callers at once", n)
		}
	})
}

func TestDiskTroubleIsTheLanesTrouble(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{syscall.ENOSPC, "disk is full"}, {syscall.EDQUOT, "quota"}, {syscall.EROFS, "read-only"}, {syscall.EACCES, "do not allow writing"},
		{syscall.ENOENT, "folders are gone"}, {syscall.EIO, "reports an error"}, {errors.New("odd"), "cannot be written"},
	} {
		err := maildir.Unreachable(&fs.PathError{Op: "write", Path: "/secret/place", Err: c.err})
		var e *mail.Error
		if !errors.As(err, &e) || e.Class != mail.Unreachable || !strings.Contains(e.Public, c.want) || strings.Contains(e.Public, "/secret") {
			t.Errorf("%v: %#v", c.err, err)
		}
		if !errors.Is(err, c.err) {
			t.Errorf("%v is not wrapped", c.err)
		}
	}
	t.Run("folders removed while running", func(t *testing.T) {
		s, path := open(t)
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
		_, err := s.Send(context.Background(), delivery("x", "x"))
		if mail.ClassOf(err) != mail.Unreachable || !strings.Contains(err.Error(), "folders are gone") {
			t.Error(err)
		}
	})
	t.Run("a file that cannot be renamed leaves nothing in tmp", func(t *testing.T) {
		s, path := open(t)
		if err := os.MkdirAll(filepath.Join(path, "new", "x", "y"), 0o755); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Send(context.Background(), delivery("x", "x")); mail.ClassOf(err) != mail.Unreachable {
			t.Error(err)
		}
		if left := names(t, filepath.Join(path, "tmp")); len(left) != 0 {
			t.Errorf("left in tmp: %q", left)
		}
	})
}

func TestCancelledContextWritesNothing(t *testing.T) {
	s, path := open(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := s.Send(ctx, delivery("x", "x"))
	if mail.ClassOf(err) != mail.Unreachable || !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if got := names(t, filepath.Join(path, "new")); len(got) != 0 {
		t.Errorf("written: %q", got)
	}
}

func TestClosedSenderSaysSo(t *testing.T) {
	s, _ := open(t)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if _, err := s.Send(context.Background(), delivery("x", "x")); mail.ClassOf(err) != mail.Unreachable {
		t.Error(err)
	}
}

func TestOldLeftoversAreCleared(t *testing.T) {
	s, path := open(t)
	s.Close()
	old, fresh := filepath.Join(path, "tmp", "old"), filepath.Join(path, "tmp", "fresh")
	for _, p := range []string{old, fresh} {
		if err := os.WriteFile(p, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	long := time.Now().Add(-48 * time.Hour)
	if err := os.Chtimes(old, long, long); err != nil {
		t.Fatal(err)
	}
	again, err := maildir.New(path)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if got := names(t, filepath.Join(path, "tmp")); len(got) != 1 || got[0] != "fresh" {
		t.Errorf("in tmp: %q", got)
	}
}

func TestPathThatIsAFile(t *testing.T) {
	p := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(p, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := maildir.New(p); err == nil || !strings.Contains(err.Error(), "cannot be made") {
		t.Error(err)
	}
}

func BenchmarkSendTenAtOnce(b *testing.B) {
	s, _ := open(b)
	d := delivery("", strings.Repeat("0123456789abcdef", 640))
	var n atomic.Int64
	b.SetParallelism(5) // ten on two cores
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			c := *d
			c.Tag = fmt.Sprint("t-", n.Add(1))
			if _, err := s.Send(context.Background(), &c); err != nil {
				b.Error(err)
			}
		}
	})
}
