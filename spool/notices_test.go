package spool_test

import (
	"slices"
	"testing"
	"time"

	"postern/mail"
	"postern/spool"
)

// settleTo claims all copies of the spool and settles each to what end says.
func settleTo(t testing.TB, s *spool.Spool, end func(mail.Copy) mail.State) {
	t.Helper()
	claims, err := s.Claim(t.Context(), "", 1000, time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range claims {
		if err := s.Settle(t.Context(), c, spool.Result{State: end(c.Copy), At: time.Now(), Spent: true, Error: "550 5.1.1 who?"}); err != nil {
			t.Fatal(err)
		}
	}
}

func always(state mail.State) func(mail.Copy) mail.State {
	return func(mail.Copy) mail.State { return state }
}

func untold(t testing.TB, s *spool.Spool) []spool.Untold {
	t.Helper()
	list, err := s.Untold("", 100)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestAFailureIsToldOnceAndOverARestart(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	m := accept(t, s, mail.Message{State: mail.Sending, From: "erp@example.com"}, "x", copies(3)...)
	settleTo(t, s, func(c mail.Copy) mail.State {
		if c.Seq == 2 {
			return mail.Sent
		}
		return mail.CopyFailed
	})
	select {
	case <-s.TellWake():
	default:
		t.Error("nobody was woken to tell it")
	}
	closeChecked(t, s)

	s = open(t, dir)
	list := untold(t, s)
	if len(list) != 1 || list[0].ID != m.ID || list[0].Counts[mail.CopyFailed] != 2 || list[0].Since.IsZero() {
		t.Fatalf("to be told: %+v", list)
	}
	failed, seqs, err := s.UntoldCopies(m.ID, 1)
	if err != nil || len(failed) != 1 || failed[0].Seq != 1 || !slices.Equal(seqs, []uint32{1, 3}) {
		t.Fatalf("%+v %v %v", failed, seqs, err)
	}
	at := time.Now().Truncate(time.Second)
	b, err := s.NewBody()
	if err != nil {
		t.Fatal(err)
	}
	notice := spool.Accepted{
		Message: mail.Message{ID: mail.NewID(at), State: mail.Sending, Notice: mail.NoticeFailed, About: m.ID, AcceptedAt: at},
		Copies:  []mail.Copy{{To: "erp@example.com"}},
		Tells:   []spool.Telling{{Kind: mail.NoticeFailed, About: []mail.ID{m.ID}, Copies: seqs, Seen: time.Now(), At: at}},
	}
	if err := s.Accept(t.Context(), b, []spool.Accepted{notice}); err != nil {
		t.Fatal(err)
	}
	if list := untold(t, s); len(list) != 0 {
		t.Errorf("still to be told: %+v", list)
	}
	if sum := counts(t, s, m.ID); !sum.ToldAt.Equal(at) || sum.State != mail.Done {
		t.Errorf("told at %v, want %v", sum.ToldAt, at)
	}
	closeChecked(t, s)

	s = open(t, dir)
	defer closeChecked(t, s)
	if list := untold(t, s); len(list) != 0 {
		t.Errorf("after a restart still to be told: %+v", list)
	}
}

func TestANoticeThatIsNotTakenTellsNothing(t *testing.T) {
	s := open(t, t.TempDir())
	defer closeChecked(t, s)
	m := accept(t, s, mail.Message{State: mail.Sending, From: "erp@example.com"}, "x", copies(1)...)
	settleTo(t, s, always(mail.CopyFailed))
	b, err := s.NewBody()
	if err != nil {
		t.Fatal(err)
	}
	defer b.Discard()
	twice := spool.Accepted{Message: *new(mail.Message), Tells: []spool.Telling{{Kind: mail.NoticeFailed, About: []mail.ID{m.ID}, Copies: []uint32{1}, At: time.Now()}}}
	twice.Message.ID = m.ID // refused: there is such a message
	if err := s.Accept(t.Context(), b, []spool.Accepted{twice}); err == nil {
		t.Fatal("a second message with the same id was taken")
	}
	if list := untold(t, s); len(list) != 1 {
		t.Errorf("to be told: %+v", list)
	}
}

func TestWhatIsNotToldToAnybody(t *testing.T) {
	list := &mail.ListPolicy{ID: "promo"}
	for name, c := range map[string]struct {
		m    mail.Message
		end  mail.State
		want int
	}{
		"a failure of ordinary mail is told":            {mail.Message{From: "a@example.com"}, mail.CopyFailed, 1},
		"a failure of a list's copy is told":            {mail.Message{From: "a@example.com", List: list}, mail.CopyFailed, 1},
		"a suppressed address of ordinary mail is told": {mail.Message{From: "a@example.com"}, mail.Suppressed, 1},
		"a suppressed address of a list is not":         {mail.Message{From: "a@example.com", List: list}, mail.Suppressed, 0},
		"nor one that has unsubscribed":                 {mail.Message{From: "a@example.com", List: list}, mail.Unsubscribed, 0},
		"nothing goes to the null sender":               {mail.Message{}, mail.CopyFailed, 0},
		"nothing is told about a notice":                {mail.Message{From: "postmaster@example.com", Notice: mail.NoticeFailed}, mail.CopyFailed, 0},
		"what was sent is not told":                     {mail.Message{From: "a@example.com"}, mail.Sent, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, t.TempDir())
			defer closeChecked(t, s)
			c.m.State = mail.Sending
			accept(t, s, c.m, "x", copies(1)...)
			settleTo(t, s, always(c.end))
			if got := len(untold(t, s)); got != c.want {
				t.Errorf("%d are to be told, want %d", got, c.want)
			}
		})
	}
}

func TestARetriedCopyIsNoFailureAnyMore(t *testing.T) {
	s := open(t, t.TempDir())
	defer closeChecked(t, s)
	m := accept(t, s, mail.Message{State: mail.Sending, From: "a@example.com"}, "x", copies(2)...)
	settleTo(t, s, always(mail.CopyFailed))
	if _, err := s.Retry(t.Context(), m.ID, "user0000@example.com"); err != nil {
		t.Fatal(err)
	}
	if _, seqs, err := s.UntoldCopies(m.ID, 10); err != nil || !slices.Equal(seqs, []uint32{2}) {
		t.Errorf("to be told: %v %v", seqs, err)
	}
}

func TestRetentionKeepsWhatIsStillToBeTold(t *testing.T) {
	s := open(t, t.TempDir())
	defer closeChecked(t, s)
	m := accept(t, s, mail.Message{State: mail.Sending, From: "a@example.com"}, "x", copies(2)...)
	settleTo(t, s, always(mail.CopyFailed))
	if n, err := s.Expire(t.Context(), time.Now().Add(time.Hour)); err != nil || n != 0 {
		t.Fatalf("%d dropped, %v", n, err)
	}
	_, seqs, err := s.UntoldCopies(m.ID, 10)
	if err != nil || len(seqs) != 2 {
		t.Fatal(seqs, err)
	}
	if err := s.Told(t.Context(), spool.Telling{Kind: mail.NoticeFailed, About: []mail.ID{m.ID}, Copies: seqs, Seen: time.Now(), At: time.Now()}); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Expire(t.Context(), time.Now().Add(time.Hour)); err != nil || n != 1 {
		t.Errorf("%d dropped when it was told, %v", n, err)
	}
}

// TestWhatFailsAnewIsToldAnew, also when that happens while the first failure is
// being told.
func TestWhatFailsAnewIsToldAnew(t *testing.T) {
	s := open(t, t.TempDir())
	defer closeChecked(t, s)
	m := accept(t, s, mail.Message{State: mail.Sending, From: "a@example.com"}, "x", copies(1)...)
	settleTo(t, s, always(mail.CopyFailed))
	_, seqs, err := s.UntoldCopies(m.ID, 10)
	seen := time.Now()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Retry(t.Context(), m.ID, ""); err != nil {
		t.Fatal(err)
	}
	claims, err := s.Claim(t.Context(), "", 1, time.Now().Add(time.Hour))
	if err != nil || len(claims) != 1 {
		t.Fatal(claims, err)
	}
	if err := s.Settle(t.Context(), claims[0], spool.Result{State: mail.CopyFailed, At: seen.Add(time.Second), Error: "again"}); err != nil {
		t.Fatal(err)
	}
	if err := s.Told(t.Context(), spool.Telling{Kind: mail.NoticeFailed, About: []mail.ID{m.ID}, Copies: seqs, Seen: seen, At: seen}); err != nil {
		t.Fatal(err)
	}
	if list := untold(t, s); len(list) != 1 {
		t.Errorf("to be told: %+v", list)
	}
}

func TestManyMessagesAreToldPageByPage(t *testing.T) {
	s := open(t, t.TempDir())
	defer closeChecked(t, s)
	want := map[mail.ID]bool{}
	for range 25 {
		want[accept(t, s, mail.Message{State: mail.Sending, From: "a@example.com"}, "x", copies(3)...).ID] = true
	}
	settleTo(t, s, always(mail.CopyFailed))
	for after := mail.ID(""); ; {
		list, err := s.Untold(after, 10)
		if err != nil {
			t.Fatal(err)
		}
		if len(list) == 0 {
			break
		}
		for i := range list {
			if !want[list[i].ID] {
				t.Errorf("%s came twice, or is not to be told", list[i].ID)
			}
			delete(want, list[i].ID)
		}
		after = list[len(list)-1].ID
	}
	if len(want) > 0 {
		t.Errorf("%d were left out", len(want))
	}
}

func TestLateIsWhatStillWaitsAndNobodyWasWarnedOf(t *testing.T) {
	s := open(t, t.TempDir())
	defer closeChecked(t, s)
	long := time.Now().Add(-5 * time.Hour)
	late := accept(t, s, mail.Message{ID: mail.NewID(long), State: mail.Sending, From: "a@example.com", AcceptedAt: long}, "x", copies(1)...)
	expanding := accept(t, s, mail.Message{ID: mail.NewID(long.Add(time.Second)), State: mail.Expanding, From: "a@example.com", AcceptedAt: long.Add(time.Second)}, "x")
	paused := accept(t, s, mail.Message{ID: mail.NewID(long.Add(2 * time.Second)), State: mail.Paused, From: "a@example.com", AcceptedAt: long.Add(2 * time.Second)}, "x", copies(1)...)
	accept(t, s, mail.Message{State: mail.Sending, From: "a@example.com"}, "x", copies(1)...)                                              // young
	accept(t, s, mail.Message{State: mail.Sending, AcceptedAt: long}, "x", copies(1)...)                                                   // null sender
	accept(t, s, mail.Message{State: mail.Sending, From: "a@example.com", AcceptedAt: long, Notice: mail.NoticeFailed}, "x", copies(1)...) // a notice
	accept(t, s, mail.Message{State: mail.Held, From: "a@example.com", AcceptedAt: long}, "x", copies(1)...)                               // waits for a hand
	ids := func() (got []mail.ID) {
		for _, m := range s.Late(time.Now().Add(-4 * time.Hour)) {
			got = append(got, m.ID)
		}
		return got
	}
	if got := ids(); !slices.Equal(got, []mail.ID{late.ID, expanding.ID, paused.ID}) {
		t.Fatalf("late are %v, want %s, %s and %s", got, late.ID, expanding.ID, paused.ID)
	}
	if err := s.Told(t.Context(), spool.Telling{Kind: mail.NoticeDelayed, About: []mail.ID{late.ID, mail.NewID(time.Now())}, At: time.Now()}); err != nil {
		t.Fatal(err)
	}
	if got := ids(); !slices.Equal(got, []mail.ID{expanding.ID, paused.ID}) {
		t.Errorf("late are %v, want %s and %s", got, expanding.ID, paused.ID)
	}
}

func stop(t testing.TB, s *spool.Spool, id mail.ID, at time.Time) {
	t.Helper()
	if stopped, err := s.Stop(t.Context(), id, mail.Stop{Kind: mail.StopRefused, At: at, Until: at.Add(time.Minute)}, "not verified"); err != nil || !stopped {
		t.Fatal(stopped, err)
	}
}

func TestAPauseOfTheGatewayIsToldOnceAndIsNoDelay(t *testing.T) {
	s := open(t, t.TempDir())
	defer closeChecked(t, s)
	now := time.Now()
	long := now.Add(-5 * time.Hour)
	m := accept(t, s, mail.Message{ID: mail.NewID(long), State: mail.Sending, From: "a@example.com", AcceptedAt: long}, "x", copies(1)...)
	stop(t, s, m.ID, now)
	if len(s.Stopped()) != 1 {
		t.Fatal("nobody is to be told")
	}
	if err := s.Told(t.Context(), spool.Telling{Kind: mail.NoticePaused, About: []mail.ID{m.ID}, At: now}); err != nil {
		t.Fatal(err)
	}
	if n := len(s.Stopped()); n != 0 {
		t.Errorf("%d are to be told again", n)
	}
	if late := s.Late(now); len(late) != 0 {
		t.Errorf("it is told as late as well: %v", late)
	}
	if ids, err := s.ResumeDue(t.Context(), now.Add(time.Minute)); err != nil || len(ids) != 1 {
		t.Fatal(ids, err)
	}
	stop(t, s, m.ID, now.Add(2*time.Minute))
	if n := len(s.Stopped()); n != 0 {
		t.Error("a pause that came again by itself is told again")
	}
	if err := s.Resume(t.Context(), m.ID); err != nil {
		t.Fatal(err)
	}
	stop(t, s, m.ID, now.Add(3*time.Minute))
	if n := len(s.Stopped()); n != 1 {
		t.Error("nobody is told that a mail has stopped again that somebody had resumed")
	}
}

func TestAPauseByHandIsNoneOfTheGateway(t *testing.T) {
	s := open(t, t.TempDir())
	defer closeChecked(t, s)
	now := time.Now()
	m := accept(t, s, mail.Message{State: mail.Sending, From: "a@example.com"}, "x", copies(1)...)
	stop(t, s, m.ID, now)
	if _, err := s.ResumeDue(t.Context(), now.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if err := s.Pause(t.Context(), m.ID, "by hand"); err != nil {
		t.Fatal(err)
	}
	if n := len(s.Stopped()); n != 0 {
		t.Error("people are told of it as of one of the gateway")
	}
	if ids, err := s.ResumeDue(t.Context(), now.Add(time.Hour)); err != nil || len(ids) != 0 {
		t.Errorf("it has ended by itself: %v %v", ids, err)
	}
}

func TestOneNoticeTellsOfTheComplaintsAboutSeveralMails(t *testing.T) {
	s := open(t, t.TempDir())
	defer closeChecked(t, s)
	list := &mail.ListPolicy{ID: "promo", Owner: "owner@example.com"}
	a := accept(t, s, mail.Message{State: mail.Sending, From: "a@example.com", List: list}, "x", copies(3)...)
	b := accept(t, s, mail.Message{State: mail.Sending, From: "a@example.com", List: list}, "x", copies(1)...)
	settleTo(t, s, always(mail.Sent))
	for _, o := range []spool.Observation{{Message: a.ID, Seq: 1}, {Message: a.ID, Seq: 3}, {Message: b.ID, Seq: 1}} {
		o.Outcome, o.At = mail.Complained, time.Now()
		if _, err := s.Observe(t.Context(), []spool.Observation{o}); err != nil {
			t.Fatal(err)
		}
	}
	told, err := s.Complaints("", 10)
	if err != nil || len(told) != 2 {
		t.Fatal(told, err)
	}
	var tells []spool.Telling
	for _, u := range told {
		_, seqs, err := s.ComplaintCopies(u.ID, 1)
		if err != nil {
			t.Fatal(err)
		}
		tells = append(tells, spool.Telling{Kind: mail.NoticeComplaints, About: []mail.ID{u.ID}, Copies: seqs, Seen: time.Now(), At: time.Now()})
	}
	body, err := s.NewBody()
	if err != nil {
		t.Fatal(err)
	}
	n := spool.Accepted{Message: mail.Message{ID: mail.NewID(time.Now()), State: mail.Sending, Notice: mail.NoticeComplaints, AcceptedAt: time.Now()},
		Copies: []mail.Copy{{To: "owner@example.com"}}, Tells: tells}
	if err := s.Accept(t.Context(), body, []spool.Accepted{n}); err != nil {
		t.Fatal(err)
	}
	if told, err := s.Complaints("", 10); err != nil || len(told) != 0 {
		t.Errorf("still to be told: %+v %v", told, err)
	}
}
