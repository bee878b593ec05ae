package spool_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"postern/mail"
	"postern/spool"
)

// leaving is the context of a client who goes away after the first commit.
type leaving struct {
	context.Context
	asked atomic.Int32
}

func (l *leaving) Done() <-chan struct{} {
	gone := make(chan struct{})
	if l.asked.Add(1) > 1 {
		close(gone)
	}
	return gone
}

func (l *leaving) Err() error { return context.Canceled }

// settleAll ends every copy that is due.
func settleAll(t testing.TB, s *spool.Spool, state mail.State) {
	t.Helper()
	for {
		claims, err := s.Claim(t.Context(), "", 100, time.Now().Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		if len(claims) == 0 {
			return
		}
		var ended []spool.Settled
		for _, c := range claims {
			ended = append(ended, spool.Settled{Claim: c, Result: spool.Result{State: state, At: time.Now(), Spent: true}})
		}
		if _, err := s.Turn(t.Context(), ended, "", spool.Room{}, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestARetryCutShortLeavesNoCopyInAFinishedMessage(t *testing.T) {
	s := open(t, t.TempDir())
	defer closeChecked(t, s)
	for range 20 {
		m := accept(t, s, mail.Message{State: mail.Sending}, "x", copies(1)...)
		settleAll(t, s, mail.CopyFailed)
		_, _ = s.Retry(&leaving{Context: t.Context()}, m.ID, "")
		if sum := counts(t, s, m.ID); sum.Counts.Open() > 0 && sum.State != mail.Sending {
			t.Fatalf("a message that is %s has copies %v", sum.State, sum.Counts)
		}
	}
}

func TestACancelGoesToItsEndThoughTheClientIsGone(t *testing.T) {
	s := open(t, t.TempDir())
	defer closeChecked(t, s)
	for range 10 {
		m := accept(t, s, mail.Message{State: mail.Sending}, "x", copies(4500)...)
		if err := s.Cancel(&leaving{Context: t.Context()}, m.ID, "test"); err != nil {
			t.Fatal(err)
		}
		if sum := counts(t, s, m.ID); sum.Counts[mail.CopyCancelled] != 4500 {
			t.Fatalf("after a cancel: %v", sum.Counts)
		}
	}
}

func TestRetentionAndARetryByHandAtOnce(t *testing.T) {
	s := open(t, t.TempDir())
	defer closeChecked(t, s)
	var ids []mail.ID
	for range 100 {
		m := accept(t, s, mail.Message{State: mail.Sending}, "x", copies(1)...)
		settleAll(t, s, mail.CopyFailed)
		ids = append(ids, m.ID)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := s.Expire(t.Context(), time.Now().Add(time.Hour)); err != nil {
			t.Error(err)
		}
	})
	retried := map[mail.ID]bool{}
	for i := len(ids) - 1; i >= 0; i-- {
		n, err := s.Retry(t.Context(), ids[i], "")
		if err != nil && !errors.Is(err, spool.ErrNotFound) {
			t.Fatal(err)
		}
		retried[ids[i]] = n == 1
	}
	wg.Wait()
	for id, yes := range retried {
		c, err := s.CopyTo(id, "user0000@example.com")
		if yes && (err != nil || c.State != mail.Queued) {
			t.Fatalf("a copy was queued again and then dropped: %+v %v", c, err)
		}
	}
}

func TestAPausedMessageWhoseLastCopiesEndIsDone(t *testing.T) {
	s := open(t, t.TempDir())
	defer closeChecked(t, s)
	m := accept(t, s, mail.Message{State: mail.Sending}, "x", copies(2)...)
	claims, err := s.Claim(t.Context(), "", 2, time.Now().Add(time.Second))
	if err != nil || len(claims) != 2 {
		t.Fatal(len(claims), err)
	}
	if err := s.Pause(t.Context(), m.ID, "a look at it"); err != nil {
		t.Fatal(err)
	}
	for _, c := range claims {
		if err := s.Settle(t.Context(), c, spool.Result{State: mail.Sent, At: time.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	if sum := counts(t, s, m.ID); sum.State != mail.Done || sum.DoneAt.IsZero() {
		t.Fatalf("got %+v", sum)
	}
}

func TestThePauseKeepsItsReason(t *testing.T) {
	s := open(t, t.TempDir())
	defer closeChecked(t, s)
	m := accept(t, s, mail.Message{State: mail.Expanding}, "x")
	if err := s.Pause(t.Context(), m.ID, "a look at it"); err != nil {
		t.Fatal(err)
	}
	for _, words := range []string{"waiting for the directory", ""} {
		if err := s.Explain(t.Context(), m.ID, words); err != nil {
			t.Fatal(err)
		}
		if sum := counts(t, s, m.ID); sum.Reason != "a look at it" {
			t.Fatalf("the reason is %q", sum.Reason)
		}
	}
}

func TestAMessageWithOpenCopiesIsNotDone(t *testing.T) {
	s := open(t, t.TempDir())
	defer closeChecked(t, s)
	m := accept(t, s, mail.Message{State: mail.Expanding, Streaming: true}, "x")
	if err := s.AddCopies(t.Context(), m.ID, copies(3), nil); err != nil {
		t.Fatal(err)
	}
	for _, next := range []mail.MessageState{mail.Done, mail.Failed} {
		if err := s.Expanded(t.Context(), m.ID, next, ""); err == nil {
			t.Fatalf("a message with queued copies became %s", next)
		}
	}
}

func TestOverlongWordsOfUpstreamDoNotStopALane(t *testing.T) {
	s := open(t, t.TempDir())
	defer closeChecked(t, s)
	m := accept(t, s, mail.Message{State: mail.Sending}, "x", copies(1)...)
	claims, err := s.Claim(t.Context(), "", 1, time.Now().Add(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("길", 20000)
	r := spool.Result{State: mail.CopyFailed, At: time.Now(), Error: long, UpstreamID: long}
	if _, err := s.Turn(t.Context(), []spool.Settled{{Claim: claims[0], Result: r}}, "", spool.Room{All: 1, Bulk: 1}, time.Now()); err != nil {
		t.Fatal(err)
	}
	c, err := s.CopyTo(m.ID, claims[0].Copy.To)
	if err != nil || len(c.LastError) > 2000 || len(c.UpstreamID) > 2000 || !strings.HasPrefix(c.LastError, "길길") {
		t.Fatalf("%d and %d octets, %v", len(c.LastError), len(c.UpstreamID), err)
	}
}

func TestTransactionalCopiesTakeEverySlot(t *testing.T) {
	s := open(t, t.TempDir())
	defer closeChecked(t, s)
	for range 9 {
		accept(t, s, mail.Message{State: mail.Sending, Priority: mail.Bulk}, "x", copies(20)...)
	}
	first := accept(t, s, mail.Message{State: mail.Sending, Priority: mail.Transactional}, "x", copies(12)...)
	for _, want := range []int{10, 2} {
		claims, err := s.Claim(t.Context(), "", 10, time.Now().Add(time.Second))
		if err != nil || len(claims) != 10 {
			t.Fatal(len(claims), err)
		}
		n := 0
		for _, c := range claims {
			if c.Copy.Message == first.ID {
				n++
			}
		}
		if n != want {
			t.Fatalf("%d of 10 slots went to transactional copies, want %d", n, want)
		}
	}
}

func TestARefusedSubmissionTakesNobodysBody(t *testing.T) {
	s := open(t, t.TempDir())
	defer closeChecked(t, s)
	m := accept(t, s, mail.Message{State: mail.Sending}, "x", copies(1)...)
	b, err := s.NewBody()
	if err != nil {
		t.Fatal(err)
	}
	defer b.Discard()
	if err := s.Accept(t.Context(), b, []spool.Accepted{{Message: m}}); err == nil {
		t.Fatal("an id was taken twice")
	}
	f, err := s.OpenBody(m.ID)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}

// TestAnOpenThatWaitsForACompactionOpensItsResult holds the old file's lock while
// Open waits for it, and puts another file in its place.
func TestAnOpenThatWaitsForACompactionOpensItsResult(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "spool.db")
	closeChecked(t, open(t, dir))
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	compacting, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	opened := make(chan *spool.Spool)
	go func() {
		s, err := spool.Open(dir, spool.Options{})
		if err != nil {
			t.Error(err)
		}
		opened <- s
	}()
	for openFiles(t, path) < 2 {
		runtime.Gosched()
	}
	if err := errors.Join(os.WriteFile(path+".new", whole, 0o600), os.Rename(path+".new", path), compacting.Close()); err != nil {
		t.Fatal(err)
	}
	s := <-opened
	if s == nil {
		return
	}
	m := accept(t, s, mail.Message{State: mail.Sending}, "x", copies(1)...)
	closeChecked(t, s)
	s = open(t, dir)
	defer closeChecked(t, s)
	counts(t, s, m.ID)
}

func openFiles(t *testing.T, path string) (n int) {
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if to, _ := os.Readlink("/proc/self/fd/" + fd.Name()); to == path {
			n++
		}
	}
	return n
}

func TestCompactKeepsEverything(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	m := accept(t, s, mail.Message{State: mail.Sending}, "x", copies(500)...)
	claims, err := s.Claim(t.Context(), "", 3, time.Now().Add(time.Second))
	if err != nil || len(claims) != 3 {
		t.Fatal(len(claims), err)
	}
	if _, _, err := spool.Compact(dir); !errors.Is(err, spool.ErrLocked) {
		t.Fatalf("compacted while open: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "spool.db.compact"), []byte("half of an earlier one"), 0o600); err != nil {
		t.Fatal(err)
	}
	before, after, err := spool.Compact(dir)
	if err != nil {
		t.Fatal(err)
	}
	if after >= before || after > 1<<20 {
		t.Errorf("a nearly empty spool went from %d to %d octets", before, after)
	}
	s = open(t, dir)
	defer closeChecked(t, s)
	if sum := counts(t, s, m.ID); sum.Counts[mail.Queued] != 497 || sum.Counts[mail.Unknown] != 3 {
		t.Fatalf("got %v", sum.Counts)
	}
}

func TestWhatACompactionLeftIsRemoved(t *testing.T) {
	dir := t.TempDir()
	half := filepath.Join(dir, "spool.db.compact")
	if err := os.WriteFile(half, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	closeChecked(t, open(t, dir))
	if _, err := os.Stat(half); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("still there: %v", err)
	}
}

// during calls do when the first octets are written.
type during struct {
	bytes.Buffer
	do func()
}

func (d *during) Write(p []byte) (int, error) {
	if do := d.do; do != nil {
		d.do = nil
		do()
	}
	return d.Buffer.Write(p)
}

// TestABackupIsWholeWhateverHappensMeanwhile changes much while a backup is being
// written, so much that the file's map would have to grow, and restores it.
func TestABackupIsWholeWhateverHappensMeanwhile(t *testing.T) {
	s := open(t, t.TempDir())
	defer closeChecked(t, s)
	old := accept(t, s, mail.Message{State: mail.Sending}, "old", copies(2)...)
	settleAll(t, s, mail.Sent)
	m := accept(t, s, mail.Message{State: mail.Sending}, "x", copies(50)...)
	if _, err := s.Claim(t.Context(), "", 5, time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	w := &during{do: func() {
		_, err := s.Expire(context.Background(), time.Now().Add(time.Hour))
		big := accept(t, s, mail.Message{State: mail.Expanding}, "x")
		page := copies(1000)
		for i := range page {
			page[i].Values = []string{strings.Repeat("v", 90000)}
		}
		ended <- errors.Join(err, s.AddCopies(context.Background(), big.ID, page, nil))
	}}
	backed := make(chan error, 1)
	go func() { backed <- s.Backup(context.Background(), w) }()
	select {
	case err := <-backed:
		if err := errors.Join(err, <-ended); err != nil {
			t.Fatal(err)
		}
	case <-time.After(2 * time.Minute):
		t.Fatal("a backup stands still, and all commits with it")
	}
	if _, err := s.OpenBody(old.ID); !errors.Is(err, spool.ErrNotFound) {
		t.Errorf("the body of a dropped message is still there: %v", err)
	}
	restored := open(t, untar(t, &w.Buffer))
	defer closeChecked(t, restored)
	if c := counts(t, restored, m.ID).Counts; c[mail.Unknown] != 5 || c[mail.Queued] != 45 {
		t.Errorf("restored: %v", c)
	}
	f, err := restored.OpenBody(old.ID)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}

func untar(t testing.TB, r io.Reader) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "bodies"), 0o700); err != nil {
		t.Fatal(err)
	}
	for in := tar.NewReader(r); ; {
		h, err := in.Next()
		if err == io.EOF {
			return dir
		}
		if err != nil {
			t.Fatal(err)
		}
		f, err := os.Create(filepath.Join(dir, filepath.FromSlash(h.Name)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(f, in); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
}

func TestACheckIsNotMisledByRetention(t *testing.T) {
	s := open(t, t.TempDir())
	defer closeChecked(t, s)
	accept(t, s, mail.Message{ID: mail.NewID(time.Now().Add(-time.Hour)), State: mail.Expanding}, "x", copies(6000)...)
	accept(t, s, mail.Message{State: mail.Sending, Lane: "other"}, "x", copies(1)...)
	claims, err := s.Claim(t.Context(), "other", 1, time.Now().Add(time.Second))
	if err != nil || len(claims) != 1 {
		t.Fatal(len(claims), err)
	}
	if err := s.Settle(t.Context(), claims[0], spool.Result{State: mail.Sent, At: time.Now()}); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	problems, err := s.Check(t.Context(), func(int, int) {
		once.Do(func() {
			if n, err := s.Expire(context.Background(), time.Now().Add(time.Hour)); n != 1 || err != nil {
				t.Error(n, err)
			}
		})
	})
	if err != nil || len(problems) > 0 {
		t.Fatal(problems, err)
	}
}

func TestANewerFormatIsRefused(t *testing.T) {
	dir := t.TempDir()
	closeChecked(t, open(t, dir))
	db, err := bolt.Open(filepath.Join(dir, "spool.db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		return tx.Bucket([]byte("meta")).Put([]byte("format"), []byte{0, 0, 0, spool.Format + 1})
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	if s, err := spool.Open(dir, spool.Options{}); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("has format %d", spool.Format+1)) {
		t.Errorf("opened: %v, %v", s, err)
	}
}

func TestASkippedCopyIsNotRetriedWithItsHole(t *testing.T) {
	s := open(t, t.TempDir())
	defer closeChecked(t, s)
	m := accept(t, s, mail.Message{State: mail.Expanding}, "x")
	page := []mail.Copy{{To: "a@example.com", State: mail.Skipped, LastError: "no value for {{Name}}"}}
	if err := s.AddCopies(t.Context(), m.ID, page, nil); err != nil {
		t.Fatal(err)
	}
	var refused *spool.Refused
	if _, err := s.Retry(t.Context(), m.ID, "a@example.com"); !errors.As(err, &refused) || !strings.Contains(err.Error(), "{{Name}}") {
		t.Fatalf("a skipped copy: %v", err)
	}
}
