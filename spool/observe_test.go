package spool_test

import (
	"bytes"
	"testing"
	"time"

	"postern/mail"
	"postern/spool"
)

// sending is a spool with a message of n copies of a list that has an owner.
func sending(t *testing.T, n int) (*spool.Spool, mail.ID) {
	t.Helper()
	s := open(t, t.TempDir())
	b, err := s.NewBody()
	if err != nil {
		t.Fatal(err)
	}
	m := mail.Message{ID: mail.NewID(time.Now()), State: mail.Sending, From: "sender@example.com", AcceptedAt: time.Now(),
		List: &mail.ListPolicy{ID: "promo", Owner: "owner@example.com"}}
	var cs []mail.Copy
	for i := range n {
		cs = append(cs, mail.Copy{To: mail.Address(string(rune('a'+i)) + "@example.net")})
	}
	if err := s.Accept(t.Context(), b, []spool.Accepted{{Message: m, Copies: cs}}); err != nil {
		t.Fatal(err)
	}
	return s, m.ID
}

func claim(t *testing.T, s *spool.Spool, n int) []spool.Claim {
	t.Helper()
	claims, err := s.Claim(t.Context(), "", n, time.Now().Add(time.Hour))
	if err != nil || len(claims) != n {
		t.Fatalf("%d claimed, want %d: %v", len(claims), n, err)
	}
	return claims
}

func observe(t *testing.T, s *spool.Spool, o spool.Observation) *spool.Observed {
	t.Helper()
	o.At = time.Now()
	seen, err := s.Observe(t.Context(), []spool.Observation{o})
	if err != nil {
		t.Fatal(err)
	}
	return seen[0]
}

// An attempt that ended without an answer, and the event that says upstream has it:
// whichever comes first, the copy is sent, once.
func TestAnEventSettlesWhatNobodyKnew(t *testing.T) {
	for name, play := range map[string]func(t *testing.T, s *spool.Spool, id mail.ID, c spool.Claim){
		"after the attempt": func(t *testing.T, s *spool.Spool, id mail.ID, c spool.Claim) {
			if err := s.Settle(t.Context(), c, spool.Result{State: mail.Unknown, At: time.Now(), Due: time.Now().Add(time.Minute), Spent: true}); err != nil {
				t.Fatal(err)
			}
			if o := observe(t, s, spool.Observation{Message: id, Seq: c.Copy.Seq, UpstreamID: "ses-1"}); !o.Settled || o.Raised || o.Copy.State != mail.Sent {
				t.Errorf("%+v", o)
			}
		},
		"during the attempt": func(t *testing.T, s *spool.Spool, id mail.ID, c spool.Claim) {
			if o := observe(t, s, spool.Observation{Message: id, Seq: c.Copy.Seq, UpstreamID: "ses-1"}); o.Settled {
				t.Errorf("%+v", o)
			}
			if err := s.Settle(t.Context(), c, spool.Result{State: mail.Unknown, At: time.Now(), Due: time.Now().Add(time.Minute), Spent: true, Error: "no answer"}); err != nil {
				t.Fatal(err)
			}
		},
		"while the next attempt fails": func(t *testing.T, s *spool.Spool, id mail.ID, c spool.Claim) {
			if err := s.Settle(t.Context(), c, spool.Result{State: mail.Unknown, At: time.Now(), Due: time.Now(), Spent: true}); err != nil {
				t.Fatal(err)
			}
			again := claim(t, s, 1)[0]
			observe(t, s, spool.Observation{Message: id, Seq: c.Copy.Seq, UpstreamID: "ses-1"})
			if err := s.Settle(t.Context(), again, spool.Result{State: mail.CopyFailed, At: time.Now(), Error: "refused"}); err != nil {
				t.Fatal(err)
			}
		},
		"after it was given up": func(t *testing.T, s *spool.Spool, id mail.ID, c spool.Claim) {
			if err := s.Settle(t.Context(), c, spool.Result{State: mail.CopyFailed, At: time.Now(), Error: "refused"}); err != nil {
				t.Fatal(err)
			}
			observe(t, s, spool.Observation{Message: id, Seq: c.Copy.Seq, UpstreamID: "ses-1", Outcome: mail.Delivered})
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, id := sending(t, 1)
			defer closeChecked(t, s)
			c := claim(t, s, 1)[0]
			play(t, s, id, c)
			got, err := s.ByUpstream("ses-1")
			if err != nil || got.State != mail.Sent || got.LastError != "" || got.Seq != c.Copy.Seq {
				t.Errorf("%+v %v", got, err)
			}
			if m, _ := s.Message(id); m.State != mail.Done || m.Counts[mail.Sent] != 1 {
				t.Errorf("%s %v", m.State, m.Counts)
			}
			if list, _ := s.Untold("", 1); len(list) != 0 {
				t.Error("the sender would be told of a failure that was none")
			}
		})
	}
}

// After kill -9 the attempts under way are uncertain, but not those of which an event
// had told.
func TestAnEventBeforeACrashIsRemembered(t *testing.T) {
	s, id := sending(t, 2)
	claims := claim(t, s, 2)
	observe(t, s, spool.Observation{Message: id, Seq: claims[0].Copy.Seq, UpstreamID: "ses-1", Outcome: mail.Delivered})
	s = crashed(t, s)
	defer closeChecked(t, s)
	m, err := s.Message(id)
	if err != nil || m.Counts[mail.Sent] != 1 || m.Counts[mail.Unknown] != 1 || m.Outcomes[mail.Delivered] != 1 {
		t.Errorf("%v %v %v", m.Counts, m.Outcomes, err)
	}
}

// Events come unordered and more than once.
func TestAnOutcomeIsOnlyRaised(t *testing.T) {
	s, id := sending(t, 2)
	defer closeChecked(t, s)
	for _, c := range claim(t, s, 2) {
		if err := s.Settle(t.Context(), c, spool.Result{State: mail.Sent, At: time.Now(), UpstreamID: "ses-" + c.Copy.Tag()}); err != nil {
			t.Fatal(err)
		}
	}
	for i, step := range []struct {
		outcome mail.Outcome
		raised  bool
		want    mail.Outcome
	}{{mail.SoftBounced, true, mail.SoftBounced}, {mail.Delivered, false, mail.SoftBounced}, {mail.SoftBounced, false, mail.SoftBounced},
		{mail.Complained, true, mail.Complained}, {mail.Bounced, false, mail.Complained}, {mail.NoOutcome, false, mail.Complained}} {
		o := observe(t, s, spool.Observation{Message: id, Seq: 1, Outcome: step.outcome, Words: "words"})
		if o.Raised != step.raised || o.Copy.Outcome != step.want || o.Settled || o.Message.Outcomes[step.want] != 1 {
			t.Errorf("step %d: %+v", i, o)
		}
	}
	if list, err := s.Complaints("", 10); err != nil || len(list) != 1 || list[0].ID != id {
		t.Errorf("%+v %v", list, err)
	}
	copies, seqs, err := s.ComplaintCopies(id, 10)
	if err != nil || len(copies) != 1 || seqs[0] != 1 || copies[0].OutcomeWords != "words" {
		t.Errorf("%+v %v", copies, err)
	}
	if err := s.Told(t.Context(), spool.Telling{Kind: mail.NoticeComplaints, About: []mail.ID{id}, Copies: seqs, Seen: time.Now().Add(time.Second), At: time.Now()}); err != nil {
		t.Fatal(err)
	}
	if list, _ := s.Complaints("", 10); len(list) != 0 {
		t.Error("the owner would be told twice")
	}
}

func TestAnEventAboutNoCopyOfOursChangesNothing(t *testing.T) {
	s, id := sending(t, 1)
	defer closeChecked(t, s)
	for name, o := range map[string]spool.Observation{
		"another message":   {Message: mail.NewID(time.Now()), Seq: 1},
		"no such copy":      {Message: id, Seq: 7},
		"never tried":       {Message: id, Seq: 1, Outcome: mail.Bounced},
		"not even a number": {Message: id},
	} {
		if got := observe(t, s, o); got != nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if c, err := s.CopyTo(id, "a@example.net"); err != nil || c.State != mail.Queued || c.Outcome != mail.NoOutcome {
		t.Errorf("%+v %v", c, err)
	}
}

// crashed is what a killed process leaves.
func crashed(t *testing.T, s *spool.Spool) *spool.Spool {
	t.Helper()
	var tar bytes.Buffer
	if err := s.Backup(t.Context(), &tar); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return open(t, untar(t, &tar))
}

// What comes late of copies that were sent before a message was resumed says nothing
// about those that are sent since.
func TestWhatComesLateIsNotHeldAgainstAResumedMessage(t *testing.T) {
	s, id := sending(t, 12)
	at := time.Now()
	end := func(c spool.Claim, state mail.State) {
		t.Helper()
		if err := s.Settle(t.Context(), c, spool.Result{State: state, At: at, Spent: true}); err != nil {
			t.Fatal(err)
		}
	}
	before := claim(t, s, 6)
	for i, c := range before[:5] {
		end(c, []mail.State{mail.Sent, mail.CopyFailed}[i/3]) // the sixth is under way
	}
	observe(t, s, spool.Observation{Message: id, Seq: before[0].Copy.Seq, Outcome: mail.Bounced})
	if err := s.Pause(t.Context(), id, "a look at it"); err != nil {
		t.Fatal(err)
	}
	if err := s.Resume(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	since := func() mail.Tally {
		t.Helper()
		m, err := s.Message(id)
		if err != nil {
			t.Fatal(err)
		}
		return m.Tally().Less(m.Counted)
	}
	at = time.Now().Add(time.Second)
	end(before[5], mail.Sent)
	for _, c := range claim(t, s, 4) {
		end(c, mail.Sent)
	}
	observe(t, s, spool.Observation{Message: id, Seq: before[0].Copy.Seq, Outcome: mail.Complained})
	observe(t, s, spool.Observation{Message: id, Seq: before[1].Copy.Seq, Outcome: mail.Bounced})
	if got, want := since(), (mail.Tally{Answered: 5}); got != want {
		t.Errorf("after late events: %+v, want %+v", got, want)
	}
	observe(t, s, spool.Observation{Message: id, Seq: before[5].Copy.Seq, Outcome: mail.Bounced})
	if got, want := since(), (mail.Tally{Answered: 5, Bounced: 1}); got != want {
		t.Errorf("after the bounce of one sent since: %+v, want %+v", got, want)
	}
	if n, err := s.RetryFailed(t.Context(), id); err != nil || n != 2 {
		t.Fatal(n, err)
	}
	if got, want := since(), (mail.Tally{Answered: 5, Bounced: 1}); got != want {
		t.Errorf("while failed copies are tried anew: %+v, want %+v", got, want)
	}
}

// Of a pause that the gateway would end by itself a person can make one that stays.
func TestAPersonCanPauseWhatTheGatewayWouldResume(t *testing.T) {
	s, id := sending(t, 1)
	stop := mail.Stop{Kind: mail.StopRefused, At: time.Now(), Until: time.Now().Add(time.Minute)}
	if stopped, err := s.Stop(t.Context(), id, stop, "verify the identity"); err != nil || !stopped {
		t.Fatal(stopped, err)
	}
	if err := s.Pause(t.Context(), id, "not today"); err != nil {
		t.Fatal(err)
	}
	if ids, err := s.ResumeDue(t.Context(), time.Now().Add(time.Hour)); err != nil || len(ids) != 0 {
		t.Errorf("resumed %v %v", ids, err)
	}
	if m, err := s.Message(id); err != nil || m.State != mail.Paused || m.Reason != "not today" {
		t.Errorf("%s: %s %v", m.State, m.Reason, err)
	}
	if err := s.Pause(t.Context(), id, "again"); err == nil {
		t.Error("paused twice")
	}
}

// Between a look at the queue and its outcome a message may have ended.
func TestNothingIsForeseenOfAMessageThatHasEnded(t *testing.T) {
	s, id := sending(t, 1)
	if err := s.Cancel(t.Context(), id, "a mistake"); err != nil {
		t.Fatal(err)
	}
	if err := s.Foresee(t.Context(), id, &mail.Forecast{At: time.Now(), Copies: 1}, "not today"); err != nil {
		t.Fatal(err)
	}
	if m, err := s.Message(id); err != nil || m.Forecast != nil || m.Reason != "a mistake" {
		t.Errorf("%+v %q %v", m.Forecast, m.Reason, err)
	}
}
