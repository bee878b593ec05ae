package spool_test

import (
	"compress/gzip"
	"io"
	"os"
	"testing"
	"time"

	"postern/mail"
	"postern/spool"
)

func openFixture(t *testing.T, name string) *spool.Spool {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	return open(t, untar(t, z))
}

// TestASpoolOfFormat1IsOpened opens testdata/format1.tar.gz, a backup that the
// first version wrote while it ran: a message that is being sent, with a copy in
// each state that it can have, one that is held, one that is done. It is never
// written anew: what is on people's disks does not change either.
func TestASpoolOfFormat1IsOpened(t *testing.T) {
	s := openFixture(t, "testdata/format1.tar.gz")
	defer closeChecked(t, s)
	list, err := s.Messages("", 10)
	if err != nil || len(list) != 3 {
		t.Fatalf("%d messages, %v", len(list), err)
	}
	done, held, sending := list[0], list[1], list[2]
	if done.State != mail.Done || done.Counts[mail.Sent] != 1 || done.DoneAt.IsZero() || done.From != "erp@example.com" {
		t.Errorf("done: %+v", done)
	}
	if held.State != mail.Held || held.Reason != "1 of 2 has no value" || held.Counts[mail.Skipped] != 1 || !held.Expanded {
		t.Errorf("held: %+v", held)
	}
	want := mail.Counts{mail.Queued: 1, mail.Deferred: 1, mail.Unknown: 2, mail.Sent: 1, mail.CopyFailed: 1, mail.Suppressed: 1, mail.Unsubscribed: 1}
	if sending.State != mail.Sending || sending.Counts != want || sending.Subject != "{{Name}}님, 가을 세일" ||
		sending.List == nil || sending.List.ID != "promo" || len(sending.Fields) != 1 {
		t.Errorf("sending: %+v", sending)
	}
	c, err := s.ByUpstream("upstream-1")
	if err != nil || c.State != mail.Sent || c.Values[0] != "이름0" || c.UserKey != "User0000@example.com" || c.Attempts != 1 {
		t.Errorf("by upstream id: %+v, %v", c, err)
	}
	if b, err := s.Compiled(sending.ID); err != nil || string(b) != "pieces" {
		t.Errorf("compiled: %q, %v", b, err)
	}
	body, err := s.OpenBody(done.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if b, _ := io.ReadAll(body); string(b) != "Subject: order\r\n\r\nyour order\r\n" {
		t.Errorf("body: %q", b)
	}
	claims, err := s.Claim(t.Context(), "", 10, time.Now().Add(time.Hour))
	if err != nil || len(claims) != 4 {
		t.Errorf("%d of its copies can be sent, want 4, %v", len(claims), err)
	}
	for _, c := range claims {
		if err := s.Settle(t.Context(), c, spool.Result{State: mail.Sent, At: time.Now()}); err != nil {
			t.Error(err)
		}
	}
}

// TestASpoolOfFormat2IsOpened opens testdata/format2.tar.gz, of the first version
// that kept small ordinary mails in spool.db: one such mail with a queued copy.
func TestASpoolOfFormat2IsOpened(t *testing.T) {
	s := openFixture(t, "testdata/format2.tar.gz")
	defer closeChecked(t, s)
	list, err := s.Messages("", 10)
	if err != nil || len(list) != 1 || list[0].From != "erp@example.com" || list[0].Counts[mail.Queued] != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	if got := bodyOf(t, s, list[0].ID); got != "Subject: order\r\n\r\nyour order\r\n" {
		t.Errorf("body: %q", got)
	}
}

// TestASpoolOfFormat3IsOpened opens testdata/format3.tar.gz, of the first version
// that tells senders of failures: one mail, of whose two copies one has failed.
func TestASpoolOfFormat3IsOpened(t *testing.T) {
	s := openFixture(t, "testdata/format3.tar.gz")
	defer closeChecked(t, s)
	list, err := s.Untold("", 10)
	if err != nil || len(list) != 1 || list[0].From != "erp@example.com" || list[0].SenderLanguage() != "ko" || list[0].Counts[mail.Sent] != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	failed, _, err := s.UntoldCopies(list[0].ID, 10)
	if err != nil || len(failed) != 1 || failed[0].LastError != "550 5.1.1 who?" {
		t.Errorf("%+v, %v", failed, err)
	}
}

// TestAnOlderSpoolTellsNobodyOfOldFailures: what had failed before this version
// was seen on the page, or by nobody; a flood of late notices would help no one.
func TestAnOlderSpoolTellsNobodyOfOldFailures(t *testing.T) {
	s := openFixture(t, "testdata/format1.tar.gz")
	defer closeChecked(t, s)
	if list, err := s.Untold("", 10); err != nil || len(list) != 0 {
		t.Errorf("%+v, %v", list, err)
	}
}

// TestASpoolOfFormat4IsOpened opens testdata/format4.tar.gz, of the first version that
// knew what events tell: copies with each outcome, one under way of which an event had
// told, a pause of the gateway, a forecast, a lane.
func TestASpoolOfFormat4IsOpened(t *testing.T) {
	s := openFixture(t, "testdata/format4.tar.gz")
	defer closeChecked(t, s)
	list, err := s.Messages("", 10)
	if err != nil || len(list) != 1 {
		t.Fatalf("%d messages, %v", len(list), err)
	}
	m := list[0]
	if want := (mail.Counts{mail.Queued: 1, mail.Sent: 5}); m.Counts != want || m.Outcomes != (mail.Outcomes{0, 1, 1, 1, 1}) {
		t.Errorf("%v %v", m.Counts, m.Outcomes)
	}
	if m.State != mail.Paused || m.Stopped == nil || m.Stopped.Kind != mail.StopBounces || m.Forecast == nil || m.Forecast.Today != 2 || len(s.Stopped()) != 1 || len(s.Slow()) != 1 {
		t.Errorf("%s %+v %+v", m.State, m.Stopped, m.Forecast)
	}
	if c, err := s.ByUpstream("ses-c"); err != nil || c.Outcome != mail.Bounced || c.OutcomeWords != "550 5.1.1 <nobody>" || c.OutcomeAt.IsZero() {
		t.Errorf("%+v %v", c, err)
	}
	if c, err := s.ByUpstream("ses-e"); err != nil || c.State != mail.Sent {
		t.Errorf("%+v %v", c, err)
	}
	if told, err := s.Complaints("", 10); err != nil || len(told) != 1 {
		t.Errorf("%v %v", told, err)
	}
	if row, err := s.Lane("ses"); err != nil || len(row) == 0 {
		t.Errorf("%q %v", row, err)
	}
}
