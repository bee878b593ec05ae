package relay_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"postern/mail"
	"postern/relay"
	"postern/spool"
)

var (
	at    = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	lists = relay.Schedule{Interval: time.Second, Backoff: 2, Retries: 3}
	plain = relay.Schedule{Interval: time.Minute, Backoff: 2, MaxInterval: time.Hour, MaxAge: 48 * time.Hour}
)

func claimed(state mail.State, attempts int) spool.Claim {
	return spool.Claim{
		Message: &mail.Message{ID: "01ARZ3NDEKTSV4RRFFQ69G5FAV", AcceptedAt: at.Add(-time.Minute)},
		Copy:    mail.Copy{State: state, Attempts: attempts, Claims: attempts + 1},
	}
}

func TestDecide(t *testing.T) {
	wait := relay.Unknowns{Resend: true, Wait: 5 * time.Minute}
	hold := relay.Unknowns{Wait: 5 * time.Minute}
	e := func(c mail.Class) error {
		return &mail.Error{Class: c, Code: 454, Enhanced: "4.7.0", Public: "words", RetryAfter: 0}
	}
	for _, c := range []struct {
		name     string
		copy     spool.Claim
		err      error
		schedule relay.Schedule
		unknowns relay.Unknowns
		idem     bool
		want     spool.Result
		lane     mail.Class
		pause    bool
	}{
		{name: "accepted", copy: claimed(mail.Queued, 0), want: spool.Result{State: mail.Sent, Spent: true, UpstreamID: "id"}},
		{name: "first temporary failure waits 1 s", copy: claimed(mail.Queued, 0), err: e(mail.Temporary), schedule: lists,
			want: spool.Result{State: mail.Deferred, Due: at.Add(time.Second), Spent: true, Error: "454 4.7.0 words"}},
		{name: "second 2 s", copy: claimed(mail.Deferred, 1), err: e(mail.Temporary), schedule: lists,
			want: spool.Result{State: mail.Deferred, Due: at.Add(2 * time.Second), Spent: true, Error: "454 4.7.0 words"}},
		{name: "third 4 s", copy: claimed(mail.Deferred, 2), err: e(mail.Temporary), schedule: lists,
			want: spool.Result{State: mail.Deferred, Due: at.Add(4 * time.Second), Spent: true, Error: "454 4.7.0 words"}},
		{name: "the fourth fails", copy: claimed(mail.Deferred, 3), err: e(mail.Temporary), schedule: lists,
			want: spool.Result{State: mail.CopyFailed, Spent: true, Error: "454 4.7.0 words"}},
		{name: "what nobody classified is temporary", copy: claimed(mail.Queued, 0), err: errors.New("odd"), schedule: lists,
			want: spool.Result{State: mail.Deferred, Due: at.Add(time.Second), Spent: true, Error: "odd"}},
		{name: "a wrapped class counts", copy: claimed(mail.Queued, 0), err: fmt.Errorf("w: %w", e(mail.Permanent)), schedule: lists,
			want: spool.Result{State: mail.CopyFailed, Spent: true, Error: "454 4.7.0 words"}},
		{name: "upstream's longer wish is heeded", copy: claimed(mail.Queued, 0), schedule: lists,
			err:  &mail.Error{Public: "later", RetryAfter: time.Minute},
			want: spool.Result{State: mail.Deferred, Due: at.Add(time.Minute), Spent: true, Error: "later"}},
		{name: "ordinary mail waits longer", copy: claimed(mail.Deferred, 2), err: e(mail.Temporary), schedule: plain,
			want: spool.Result{State: mail.Deferred, Due: at.Add(4 * time.Minute), Spent: true, Error: "454 4.7.0 words"}},
		{name: "ordinary mail never longer than max_interval", copy: claimed(mail.Deferred, 20), err: e(mail.Temporary), schedule: plain,
			want: spool.Result{State: mail.Deferred, Due: at.Add(time.Hour), Spent: true, Error: "454 4.7.0 words"}},
		{name: "ordinary mail that is too old has its fair tries", copy: claimed(mail.Deferred, 1), err: e(mail.Temporary),
			schedule: relay.Schedule{Interval: time.Second, Backoff: 2, MaxAge: time.Minute},
			want:     spool.Result{State: mail.Deferred, Due: at.Add(2 * time.Second), Spent: true, Error: "454 4.7.0 words"}},
		{name: "ordinary mail ends with its age", copy: claimed(mail.Deferred, 2), err: e(mail.Temporary),
			schedule: relay.Schedule{Interval: time.Second, Backoff: 2, MaxAge: time.Minute},
			want:     spool.Result{State: mail.CopyFailed, Spent: true, Error: "454 4.7.0 words"}},
		{name: "uncertain waits for an event", copy: claimed(mail.Queued, 0), err: e(mail.Uncertain), schedule: lists, unknowns: wait,
			want: spool.Result{State: mail.Unknown, Due: at.Add(5 * time.Minute), Spent: true, Error: "454 4.7.0 words"}},
		{name: "uncertain and held waits for a hand", copy: claimed(mail.Queued, 0), err: e(mail.Uncertain), schedule: lists, unknowns: hold,
			want: spool.Result{State: mail.Unknown, Spent: true, Error: "454 4.7.0 words; it may have been sent, so it is not sent again by itself: `postern queue retry` sends it"}},
		{name: "uncertain where a repetition does no harm", copy: claimed(mail.Queued, 0), err: e(mail.Uncertain), schedule: lists, unknowns: hold, idem: true,
			want: spool.Result{State: mail.Unknown, Due: at.Add(time.Second), Spent: true, Error: "454 4.7.0 words"}},
		{name: "uncertain is not resent for ever", copy: claimed(mail.Unknown, 3), err: e(mail.Uncertain), schedule: lists, unknowns: wait,
			want: spool.Result{State: mail.Unknown, Spent: true, Error: "454 4.7.0 words; it may have been sent, so it is not sent again by itself: `postern queue retry` sends it"}},
		{name: "uncertain ordinary mail comes back ever more rarely", copy: claimed(mail.Unknown, 20), err: e(mail.Uncertain), schedule: plain, unknowns: wait,
			want: spool.Result{State: mail.Unknown, Due: at.Add(time.Hour), Spent: true, Error: "454 4.7.0 words"}},
		{name: "a throttle spends nothing, and lets others go first", copy: claimed(mail.Queued, 0), err: e(mail.Throttled), schedule: lists, lane: mail.Throttled,
			want: spool.Result{State: mail.Queued, Due: at.Add(250 * time.Millisecond), Error: "454 4.7.0 words"}},
		{name: "nor does a quota", copy: claimed(mail.Deferred, 3), err: e(mail.QuotaSpent), schedule: lists, lane: mail.QuotaSpent,
			want: spool.Result{State: mail.Deferred, Due: at.Add(100 * time.Millisecond), Error: "454 4.7.0 words"}},
		{name: "nor an unreachable upstream", copy: claimed(mail.Deferred, 3), err: e(mail.Unreachable), schedule: lists, lane: mail.Unreachable,
			want: spool.Result{State: mail.Deferred, Due: at.Add(100 * time.Millisecond), Error: "454 4.7.0 words"}},
		{name: "an uncertain copy stays so when the lane fails", copy: claimed(mail.Unknown, 1), err: e(mail.Unreachable), schedule: lists, lane: mail.Unreachable,
			want: spool.Result{State: mail.Unknown, Due: at.Add(100 * time.Millisecond), Error: "454 4.7.0 words"}},
		{name: "nor a refused account", copy: claimed(mail.Queued, 0), err: e(mail.AccountWide), schedule: lists, lane: mail.AccountWide,
			want: spool.Result{State: mail.Queued, Due: at.Add(100 * time.Millisecond), Error: "454 4.7.0 words"}},
		{name: "what concerns the message pauses it", copy: claimed(mail.Queued, 0), err: e(mail.MessageWide), schedule: lists, pause: true,
			want: spool.Result{State: mail.Queued, Due: at, Error: "454 4.7.0 words"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.want.At = at
			a := relay.Attempt{Claim: c.copy, Err: c.err, Now: at, Idempotent: c.idem, Receipt: relay.Receipt{ID: "id"}}
			got := relay.Decide(a, c.schedule, c.unknowns)
			if got.Result != c.want || got.Lane != c.lane || (got.PauseMessage != "") != c.pause {
				t.Errorf("\n got %+v\nwant %+v lane %v pause %v", got, c.want, c.lane, c.pause)
			}
		})
	}
}

func TestJitterAddsAtMostATenth(t *testing.T) {
	if d := lists.Wait(1, 1); d != 2200*time.Millisecond {
		t.Errorf("2 s with all the jitter is %v, want 2.2 s", d)
	}
}
