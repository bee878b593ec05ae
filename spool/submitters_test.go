package spool_test

import (
	"testing"
	"time"

	"postern/mail"
	"postern/spool"
)

// What limits count: a list is one recipient, ordinary mail as many as it has, in
// whatever state they are now; what is older is left alone.
func TestSubmittedSince(t *testing.T) {
	s := open(t, t.TempDir())
	defer closeChecked(t, s)
	now := time.Now()
	at := func(d time.Duration, m mail.Message, n int) mail.Message {
		m.ID, m.AcceptedAt = mail.NewID(now.Add(d)), now.Add(d)
		return accept(t, s, m, "x", copies(n)...)
	}
	at(-24*time.Hour-time.Second, mail.Message{State: mail.Sending, Submitter: "old"}, 9)
	gone := at(-24*time.Hour+time.Second, mail.Message{State: mail.Sending, Submitter: "a"}, 3)
	at(-time.Hour, mail.Message{State: mail.Expanding, Submitter: "b", List: &mail.ListPolicy{ID: "promo"}}, 0)
	at(-time.Minute, mail.Message{State: mail.Sending, Submitter: "a"}, 1)
	at(-time.Second, mail.Message{State: mail.Sending, Submitter: "a", Notice: mail.NoticeFailed}, 1) // of ours
	if err := s.Cancel(t.Context(), gone.ID, "by a test"); err != nil {
		t.Fatal(err)
	}
	want := []spool.Submitted{{By: "a", Recipients: 3}, {By: "b", Recipients: 1}, {By: "a", Recipients: 1}}
	var got []spool.Submitted
	err := s.Submitted(now.Add(-24*time.Hour), func(m spool.Submitted) {
		if m.At.Before(now.Add(-24 * time.Hour)) {
			t.Errorf("%s is too old", m.At)
		}
		m.At = time.Time{}
		got = append(got, m)
	})
	if err != nil || len(got) != len(want) {
		t.Fatalf("got %v, %v", got, err)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("message %d: got %+v, want %+v", i, got[i], want[i])
		}
	}
}

// BenchmarkSubmitted is what a start costs that counts a day's messages again.
func BenchmarkSubmitted(b *testing.B) {
	s := open(b, b.TempDir())
	defer closeChecked(b, s)
	for range 200 {
		accept(b, s, mail.Message{State: mail.Sending, Submitter: "a", Subject: "a Subject", From: "a@example.com", HeaderFrom: "a@example.com"}, "x", copies(1)...)
	}
	for b.Loop() {
		n := 0
		if err := s.Submitted(time.Now().Add(-24*time.Hour), func(spool.Submitted) { n++ }); err != nil || n != 200 {
			b.Fatal(n, err)
		}
	}
}
