package relay

import (
	"errors"
	"fmt"
	"math"
	"time"

	"postern/mail"
	"postern/spool"
)

// Schedule is when a copy is tried again after an attempt that it spent.
type Schedule struct {
	Interval    time.Duration // before the first retry
	Backoff     float64       // each further wait is so many times longer
	MaxInterval time.Duration // but not longer than this; 0: no bound
	Retries     int           // after the first attempt; ignored when MaxAge is set
	MaxAge      time.Duration // ordinary mail: since acceptance (RFC 5321 §4.5.4.1)
}

// Unknowns is the policy for attempts whose result is not known.
type Unknowns struct {
	Resend bool          // after Wait; else the copy waits for an event or a hand
	Wait   time.Duration // ignored by lanes on which a repeated send does no harm
}

// Verdict is what becomes of a copy, and of more than the copy.
type Verdict struct {
	Result spool.Result
	// Lane is the class that the lane is to act on: Throttled, QuotaSpent,
	// Unreachable or AccountWide; Temporary when the lane is not concerned.
	Lane mail.Class
	// PauseMessage, when not "", is why the whole message is to be paused, and Stop how.
	PauseMessage string
	Stop         mail.Stop
}

// attempt is what a verdict is about.
type attempt struct {
	Claim      spool.Claim
	Receipt    Receipt
	Err        error // nil: upstream accepted the copy
	Now        time.Time
	Jitter     float64 // 0 to 1
	Idempotent bool    // the sender's
}

// decide is the only place where a sender's error becomes a copy's fate. It is
// pure. What is wrong with the lane or the message spends no attempt of the
// copy; what nobody classified is Temporary.
func decide(a attempt, s Schedule, u Unknowns) Verdict {
	if a.Err == nil {
		return Verdict{Result: spool.Result{State: mail.Sent, At: a.Now, Spent: true, UpstreamID: a.Receipt.ID}}
	}
	words, after := explain(a.Err)
	r := spool.Result{At: a.Now, Error: words}
	class := mail.ClassOf(a.Err)
	switch class {
	case mail.Permanent:
		r.State, r.Spent = mail.CopyFailed, true
		return Verdict{Result: r}
	case mail.Uncertain:
		r.State, r.Spent = mail.Unknown, true
		r.Due = a.again(s, u)
		if r.Due.IsZero() {
			r.Error += byHand
		}
		return Verdict{Result: r}
	case mail.Throttled:
		r.State, r.Due = unspent(a.Claim.Copy), a.Now.Add(max(after, aside(a.Claim.Copy)))
		return Verdict{Result: r, Lane: class}
	case mail.QuotaSpent, mail.Unreachable, mail.AccountWide:
		r.State, r.Due = unspent(a.Claim.Copy), a.Now.Add(behind)
		return Verdict{Result: r, Lane: class}
	case mail.MessageWide:
		r.State, r.Due = unspent(a.Claim.Copy), a.Now
		return Verdict{Result: r, PauseMessage: words, Stop: stopFor(a.Err, after, a.Now)}
	}
	r.Spent = true
	if s.exhausted(a.Claim, a.Now) {
		r.State = mail.CopyFailed
		return Verdict{Result: r}
	}
	r.State = mail.Deferred
	r.Due = a.Now.Add(max(after, s.wait(a.Claim.Copy.Attempts, a.Jitter)))
	return Verdict{Result: r}
}

// stopFor is how a message is paused. What a person mends upstream is tried again by
// itself after a while; what is wrong here is not.
func stopFor(err error, after time.Duration, now time.Time) mail.Stop {
	if errors.Is(err, errUnmade) {
		return mail.Stop{Kind: mail.StopUnmade, At: now}
	}
	stop := mail.Stop{Kind: mail.StopRefused, At: now}
	if after > 0 {
		stop.Until = now.Add(after)
	}
	return stop
}

// byHand follows upstream's words where a copy whose result is not known waits.
const byHand = "; it may have been sent, so it is not sent again by itself: `postern queue retry` sends it"

// again is when a copy whose result is not known is sent again; zero: not by
// itself. Each time may make one more double, so the schedule bounds that as it
// bounds retries, and its waits are kept where they are longer than the policy's.
func (a attempt) again(s Schedule, u Unknowns) time.Time {
	wait := s.wait(a.Claim.Copy.Attempts, a.Jitter)
	switch {
	case s.exhausted(a.Claim, a.Now):
		return time.Time{}
	case a.Idempotent:
		return a.Now.Add(wait)
	case u.Resend:
		return a.Now.Add(max(u.Wait, wait))
	}
	return time.Time{}
}

// unspent is the state of a copy whose attempt does not count.
func unspent(c mail.Copy) mail.State {
	switch {
	case c.State == mail.Unknown: // it may still have been sent before
		return mail.Unknown
	case c.Attempts == 0:
		return mail.Queued
	}
	return mail.Deferred
}

// behind lets a copy that paused its lane be due after the others of its message.
const behind = 100 * time.Millisecond

// aside is how long a copy steps aside that came too fast, so that another one takes
// the next turn: a quarter of a second at first, 8 seconds at most.
func aside(c mail.Copy) time.Duration {
	return 250 * time.Millisecond << min(max(c.Claims-c.Attempts-1, 0), 5)
}

// exhausted says whether the attempt now ending was the last one allowed.
func (s Schedule) exhausted(c spool.Claim, now time.Time) bool {
	if s.MaxAge > 0 {
		return now.Sub(c.Message.AcceptedAt) >= s.MaxAge && c.Copy.Attempts+1 >= fairTries
	}
	return c.Copy.Attempts >= s.Retries
}

// fairTries is how many attempts ordinary mail gets, however old it is: after a long
// outage of the lane greylisting alone must not end it.
const fairTries = 3

// wait is the pause after the attempt that follows `spent` others, with up to a
// tenth more by chance so that copies which failed together do not return
// together.
func (s Schedule) wait(spent int, jitter float64) time.Duration {
	d := float64(s.Interval) * math.Pow(s.Backoff, float64(spent))
	if limit := float64(s.MaxInterval); limit > 0 {
		d = min(d, limit)
	}
	d = min(d, float64(30*24*time.Hour)) // a schedule that grows beyond reason
	return time.Duration(d * (1 + jitter/10))
}

// explain gives the words for people and upstream's wish when to come again.
func explain(err error) (words string, after time.Duration) {
	var e *mail.Error
	if !errors.As(err, &e) {
		return err.Error(), 0
	}
	words = e.Public
	if e.Enhanced != "" {
		words = e.Enhanced + " " + words
	}
	if e.Code != 0 {
		words = fmt.Sprintf("%d %s", e.Code, words)
	}
	if words == "" {
		words = e.Error()
	}
	return words, e.RetryAfter
}
