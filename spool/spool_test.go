package spool_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"postern/mail"
	"postern/spool"
)

func open(t testing.TB, dir string) *spool.Spool {
	t.Helper()
	s, err := spool.Open(dir, spool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// closeChecked closes a spool that must add up.
func closeChecked(t testing.TB, s *spool.Spool) {
	t.Helper()
	problems, err := s.Check(context.Background(), nil)
	if err != nil || len(problems) > 0 {
		t.Errorf("check: %v %v", problems, err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func accept(t testing.TB, s *spool.Spool, m mail.Message, text string, copies ...mail.Copy) mail.Message {
	t.Helper()
	b, err := s.NewBody()
	if err != nil {
		t.Fatal(err)
	}
	defer b.Discard()
	if _, err := io.WriteString(b, text); err != nil {
		t.Fatal(err)
	}
	if m.ID == "" {
		m.ID = mail.NewID(time.Now())
	}
	if m.AcceptedAt.IsZero() {
		m.AcceptedAt = time.Now()
	}
	if err := s.Accept(t.Context(), b, []spool.Accepted{{Message: m, Compiled: []byte("pieces"), Copies: copies}}); err != nil {
		t.Fatal(err)
	}
	return m
}

func copies(n int) []mail.Copy {
	list := make([]mail.Copy, n)
	for i := range list {
		a := fmt.Sprintf("user%04d@example.com", i)
		list[i] = mail.Copy{To: mail.Address(a), UserKey: a, Values: []string{fmt.Sprint("이름", i)}}
	}
	return list
}

func counts(t testing.TB, s *spool.Spool, id mail.ID) spool.Summary {
	t.Helper()
	m, err := s.Message(id)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestAcceptedIsThereAfterReopening(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	m := accept(t, s, mail.Message{State: mail.Sending, Subject: "제목"}, "From: a\r\n\r\nhello", copies(2)...)
	closeChecked(t, s)

	s = open(t, dir)
	defer closeChecked(t, s)
	sum := counts(t, s, m.ID)
	if sum.Subject != "제목" || sum.Counts[mail.Queued] != 2 || !sum.Expanded {
		t.Fatalf("got %+v", sum)
	}
	f, err := s.OpenBody(m.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if b, _ := io.ReadAll(f); string(b) != "From: a\r\n\r\nhello" {
		t.Fatalf("body is %q", b)
	}
	if b, err := s.Compiled(m.ID); err != nil || string(b) != "pieces" {
		t.Fatalf("compiled is %q, %v", b, err)
	}
	c, err := s.CopyTo(m.ID, "USER0001@Example.COM")
	if err != nil || c.Values[0] != "이름1" || c.UserKey != "user0001@example.com" || c.Seq != 2 {
		t.Fatalf("copy is %+v, %v", c, err)
	}
}

func TestARepeatedPageChangesNothing(t *testing.T) {
	s := open(t, t.TempDir())
	defer closeChecked(t, s)
	m := accept(t, s, mail.Message{State: mail.Expanding}, "x")
	for range 3 {
		page := append(copies(50), mail.Copy{To: "User0003@EXAMPLE.com", UserKey: "User0003@EXAMPLE.com"})
		if err := s.AddCopies(t.Context(), m.ID, page, []byte("page 1")); err != nil {
			t.Fatal(err)
		}
	}
	if sum := counts(t, s, m.ID); sum.Counts[mail.Queued] != 50 || string(sum.Checkpoint) != "page 1" {
		t.Fatalf("got %+v", sum)
	}
}

func TestSomeoneOnTwoListsGetsTheFirstListsCopy(t *testing.T) {
	s := open(t, t.TempDir())
	defer closeChecked(t, s)
	first := accept(t, s, mail.Message{State: mail.Expanding}, "x")
	second := accept(t, s, mail.Message{State: mail.Expanding, Siblings: []mail.ID{first.ID}}, "x")
	if err := s.AddCopies(t.Context(), first.ID, copies(3), nil); err != nil {
		t.Fatal(err)
	}
	if err := s.AddCopies(t.Context(), second.ID, copies(5), nil); err != nil {
		t.Fatal(err)
	}
	if n := counts(t, s, second.ID).Counts.Total(); n != 2 {
		t.Fatalf("the second list has %d copies, want 2", n)
	}
}

func TestClaimAndSettle(t *testing.T) {
	s := open(t, t.TempDir())
	defer closeChecked(t, s)
	ctx := t.Context()
	m := accept(t, s, mail.Message{State: mail.Sending}, "x", copies(5)...)
	now := time.Now().Add(time.Second)
	claims, err := s.Claim(ctx, "", 3, now)
	if err != nil || len(claims) != 3 {
		t.Fatalf("claimed %d, %v", len(claims), err)
	}
	if sum := counts(t, s, m.ID); sum.Counts[mail.InFlight] != 3 || sum.Counts[mail.Queued] != 2 {
		t.Fatalf("counts %v", sum.Counts)
	}
	if c, _ := s.CopyTo(m.ID, claims[0].Copy.To); c.State != mail.InFlight {
		t.Fatalf("a claimed copy is shown as %s", c.State)
	}
	if err := s.Settle(ctx, claims[0], spool.Result{State: mail.Sent, At: now, Spent: true, UpstreamID: "up-1"}); err != nil {
		t.Fatal(err)
	}
	if err := s.Settle(ctx, claims[0], spool.Result{State: mail.CopyFailed, At: now}); !errors.Is(err, spool.ErrStale) {
		t.Fatalf("a second result of one attempt: %v", err)
	}
	due := now.Add(time.Minute)
	if err := s.Settle(ctx, claims[1], spool.Result{State: mail.Deferred, Due: due, At: now, Spent: true, Error: "451 later"}); err != nil {
		t.Fatal(err)
	}
	if err := s.Settle(ctx, claims[2], spool.Result{State: mail.CopyFailed, At: now, Spent: true, Error: "550 no"}); err != nil {
		t.Fatal(err)
	}
	if c, err := s.ByUpstream("up-1"); err != nil || c.To != claims[0].Copy.To {
		t.Fatalf("by upstream id: %+v %v", c, err)
	}
	rest, err := s.Claim(ctx, "", 10, now)
	if err != nil || len(rest) != 2 {
		t.Fatalf("claimed %d of the rest, %v", len(rest), err)
	}
	for _, c := range rest {
		if err := s.Settle(ctx, c, spool.Result{State: mail.Sent, At: now, Spent: true}); err != nil {
			t.Fatal(err)
		}
	}
	if next := s.NextDue("", spool.Room{All: 1, Bulk: 1}); next.UnixMilli() != due.UnixMilli() {
		t.Fatalf("next is due %v, want %v", next, due)
	}
	again, err := s.Claim(ctx, "", 10, due)
	if err != nil || len(again) != 1 || again[0].Copy.Attempts != 1 || again[0].Copy.Claims != 2 || again[0].Copy.LastError != "451 later" {
		t.Fatalf("the deferred copy: %+v %v", again, err)
	}
	if err := s.Settle(ctx, again[0], spool.Result{State: mail.Sent, At: due, Spent: true}); err != nil {
		t.Fatal(err)
	}
	if sum := counts(t, s, m.ID); sum.State != mail.Done || sum.Counts[mail.Sent] != 4 || sum.Counts[mail.CopyFailed] != 1 {
		t.Fatalf("at the end: %+v", sum)
	}
	n, err := s.Retry(ctx, m.ID, "")
	if err != nil || n != 1 {
		t.Fatalf("retry: %d %v", n, err)
	}
	if sum := counts(t, s, m.ID); sum.State != mail.Sending || sum.Counts[mail.Queued] != 1 {
		t.Fatalf("after retry: %+v", sum)
	}
}

func TestBegunAttemptsAreUncertainAfterACrash(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	m := accept(t, s, mail.Message{State: mail.Sending}, "x", copies(4)...)
	claims, err := s.Claim(t.Context(), "", 2, time.Now().Add(time.Second))
	if err != nil || len(claims) != 2 {
		t.Fatal(err)
	}
	crashed := copyDir(t, dir) // what a killed process leaves
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, crashed)
	defer closeChecked(t, s)
	if c := counts(t, s, m.ID).Counts; c[mail.Unknown] != 2 || c[mail.Queued] != 2 {
		t.Fatalf("counts %v", c)
	}
	if err := s.Settle(t.Context(), claims[0], spool.Result{State: mail.Sent}); !errors.Is(err, spool.ErrStale) {
		t.Fatalf("the dead process's attempt settles: %v", err)
	}
	again, err := s.Claim(t.Context(), "", 10, time.Now().Add(time.Second))
	if err != nil || len(again) != 4 {
		t.Fatalf("claimed %d, %v", len(again), err)
	}
	for _, c := range again {
		if c.Copy.To == claims[0].Copy.To && c.Copy.Claims != 2 {
			t.Fatalf("the attempt's number is %d, want 2", c.Copy.Claims)
		}
	}
}

func copyDir(t testing.TB, dir string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

func TestFilesWithoutAMessageAreRemoved(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	m := accept(t, s, mail.Message{State: mail.Sending}, "x", copies(1)...)
	closeChecked(t, s)
	orphan := filepath.Join(dir, "bodies", string(mail.NewID(time.Now()))+".eml")
	for _, p := range []string{orphan, filepath.Join(dir, "bodies", "tmp-1")} {
		if err := os.WriteFile(p, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s = open(t, dir)
	defer closeChecked(t, s)
	files, _ := os.ReadDir(filepath.Join(dir, "bodies"))
	if len(files) != 2 || files[0].Name() != string(m.ID)+".copy" {
		t.Fatalf("left: %v", files)
	}
}

func TestASecondProcessIsRefused(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	defer closeChecked(t, s)
	if _, err := spool.Open(dir, spool.Options{}); !errors.Is(err, spool.ErrLocked) {
		t.Fatalf("got %v", err)
	}
}

func TestARepeatedSubmissionIsNotTakenTwice(t *testing.T) {
	s := open(t, t.TempDir())
	defer closeChecked(t, s)
	now := time.Now()
	submit := func(at, since time.Time) (mail.ID, error) {
		b, err := s.NewBody()
		if err != nil {
			t.Fatal(err)
		}
		defer b.Discard()
		m := mail.Message{ID: mail.NewID(at), State: mail.Sending, AcceptedAt: at}
		return m.ID, s.Accept(t.Context(), b, []spool.Accepted{{Message: m, Repeat: "print", RepeatSince: since}})
	}
	first, err := submit(now, now.Add(-time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	var again *spool.Repeated
	if _, err := submit(now, now.Add(-time.Minute)); !errors.As(err, &again) || again.ID != first {
		t.Fatalf("the repetition: %v", err)
	}
	if _, err := submit(now.Add(time.Hour), now.Add(time.Minute)); err != nil {
		t.Fatalf("much later: %v", err)
	}
	if list, _ := s.Messages("", 10); len(list) != 2 {
		t.Fatalf("%d messages, want 2", len(list))
	}
}

// TestARepetitionThatComesTogetherWithItsFirst shares its commit. It is told of
// the first only when that is on disk and can be read.
func TestARepetitionThatComesTogetherWithItsFirst(t *testing.T) {
	s := open(t, t.TempDir())
	defer closeChecked(t, s)
	const together = 4
	for round := range 50 {
		now := time.Now()
		bodies := make([]*spool.Body, together)
		for i := range bodies {
			b, err := s.NewBody()
			if err != nil {
				t.Fatal(err)
			}
			bodies[i] = b
		}
		taken := make(chan bool, together)
		for _, b := range bodies {
			go func() {
				defer b.Discard()
				m := mail.Message{ID: mail.NewID(now), State: mail.Sending, AcceptedAt: now}
				err := s.Accept(context.Background(), b, []spool.Accepted{{Message: m, Repeat: fmt.Sprint(round), RepeatSince: now.Add(-time.Minute)}})
				var again *spool.Repeated
				if errors.As(err, &again) {
					if _, err := s.Message(again.ID); err != nil {
						t.Errorf("round %d: the first is not there: %v", round, err)
					}
				} else if err != nil {
					t.Error(err)
				}
				taken <- err == nil
			}()
		}
		n := 0
		for range bodies {
			if <-taken {
				n++
			}
		}
		if n != 1 {
			t.Fatalf("round %d: %d were taken", round, n)
		}
	}
}

func TestAReleaseRevisesCopiesAndSendsTheMessage(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	m := accept(t, s, mail.Message{State: mail.Expanding}, "x")
	page := copies(4)
	page[3].State, page[3].LastError = mail.Skipped, "no value for {{Name}}"
	if err := s.AddCopies(t.Context(), m.ID, page, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Expanded(t.Context(), m.ID, mail.Held, "one has no name"); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Claim(t.Context(), "", 10, time.Now().Add(time.Hour)); err != nil || len(got) != 0 {
		t.Fatalf("copies of a held message are claimed: %v %v", got, err)
	}
	if err := s.Revise(t.Context(), m.ID, nil, 0); err == nil {
		t.Fatal("a message that nobody releases is revised")
	}
	if err := s.Resume(t.Context(), m.ID); err != nil {
		t.Fatal(err)
	}
	if list, _ := s.Expanding(); len(list) != 1 || !list[0].Releasing {
		t.Fatalf("the expander is told of %+v", list)
	}
	revised := []mail.Copy{
		{Seq: 1, State: mail.Queued, Values: []string{"new name"}},
		{Seq: 2, State: mail.Unsubscribed, LastError: "left"},
		{Seq: 4, State: mail.Queued, Values: []string{"at last"}},
	}
	if err := s.Revise(t.Context(), m.ID, revised, 4); err != nil {
		t.Fatal(err)
	}
	closeChecked(t, s)
	s = open(t, dir)
	defer closeChecked(t, s)
	if sum := counts(t, s, m.ID); sum.State != mail.Held || string(sum.Checkpoint) != "\x00\x00\x00\x04" || sum.Counts[mail.Queued] != 3 {
		t.Fatalf("in the middle of the release: %+v", sum)
	}
	if err := s.Released(t.Context(), m.ID); err != nil {
		t.Fatal(err)
	}
	claims, err := s.Claim(t.Context(), "", 10, time.Now().Add(time.Second))
	if err != nil || len(claims) != 3 {
		t.Fatalf("claimed %d of the released message, %v", len(claims), err)
	}
	for _, c := range claims {
		if c.Copy.Seq == 4 && (c.Copy.Values[0] != "at last" || c.Copy.LastError != "") {
			t.Errorf("the copy that had a hole: %+v", c.Copy)
		}
	}
}
