package spool

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"postern/mail"
)

// Claim is an attempt that has begun, durably.
type Claim struct {
	Message *mail.Message // shared between claims: read only
	Copy    mail.Copy     // as it was before, but Claims counts this attempt
}

// Result is what Settle writes of an attempt.
type Result struct {
	State      mail.State // Queued, Deferred, Unknown or a settled state
	Due        time.Time  // when it is tried next, unless settled; zero for Unknown: not by itself
	At         time.Time  // now
	Spent      bool       // the attempt counts as one of the copy's
	Error      string     // upstream's words, or ours; "" keeps the last ones unless Sent
	UpstreamID string
}

// Settled is the end of an attempt: the claim, and what came of it.
type Settled struct {
	Claim  Claim
	Result Result
}

// Room is how many copies a lane may begin: in all, and of those bulk ones. The
// rest is kept for transactional mail, which goes first. With BulkFirst only bulk
// copies are begun, if any are due.
type Room struct {
	All, Bulk int
	BulkFirst bool
}

// Claim begins attempts for up to n copies of the lane that are due, and returns
// when that is on disk. Transactional mail goes first; messages take turns. No
// copies and no error: nothing is due (see NextDue and Wake).
func (s *Spool) Claim(ctx context.Context, lane string, n int, now time.Time) ([]Claim, error) {
	return s.Turn(ctx, nil, lane, Room{All: n, Bulk: n}, now)
}

// Turn settles attempts that have ended and claims copies of the lane for its room
// in one commit, so that a lane waits once for the disk between two copies. On an
// error nothing was settled and nothing has begun. An attempt that is not its
// copy's current one is passed over.
func (s *Spool) Turn(ctx context.Context, ended []Settled, lane string, room Room, now time.Time) ([]Claim, error) {
	var ids []mail.ID
	var first int // of them are transactional
	if room.All > 0 {
		s.mu.Lock()
		ids, first = s.schedule.take(lane, room, now)
		s.mu.Unlock()
	}
	if len(ids) == 0 && len(ended) == 0 {
		return nil, s.Broken()
	}
	var claims []Claim
	err := s.update(ctx, func(t *txn) error {
		for i := range ended {
			if err := t.settle(ended[i].Claim, ended[i].Result); err != nil && !errors.Is(err, ErrStale) {
				return fmt.Errorf("settle %s: %w", ended[i].Claim.Copy.Tag(), err)
			}
		}
		var err error
		if claims, err = t.share(claims[:0], ids[:first], room.All, now); err == nil {
			claims, err = t.share(claims, ids[first:], min(room.All, len(claims)+room.Bulk), now)
		}
		if err != nil {
			return fmt.Errorf("claim copies: %w", err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return claims, nil
}

// share claims of each message a fair part of what is missing of n.
func (t *txn) share(claims []Claim, ids []mail.ID, n int, now time.Time) ([]Claim, error) {
	for i, id := range ids {
		left := len(ids) - i
		part := (n - len(claims) + left - 1) / left
		if part <= 0 {
			break
		}
		got, err := t.claim(id, part, now)
		if err != nil {
			return nil, err
		}
		claims = append(claims, got...)
	}
	return claims, nil
}

func (t *txn) claim(id mail.ID, n int, now time.Time) ([]Claim, error) {
	e, err := t.entry(id)
	if err != nil || !sendable(e.msg) {
		return nil, nil // removed or stopped meanwhile
	}
	e.changed = true // so that its next copy is scheduled anew
	key := id.Bytes()
	var due [][]byte
	err = prefix(t.due, key[:], func(k, _ []byte) (bool, error) {
		if len(due) == n || int64(binary.BigEndian.Uint64(k[16:])) > now.UnixMilli() {
			return false, nil
		}
		due = append(due, append([]byte(nil), k...))
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	claims := make([]Claim, 0, len(due))
	for _, k := range due {
		_, seq := splitKey(k)
		c, err := t.copy(id, seq)
		if err != nil {
			return nil, err
		}
		if err := t.due.Delete(k); err != nil {
			return nil, err
		}
		c.Claims++
		v := binary.BigEndian.AppendUint32(nil, uint32(c.Claims))
		if err := t.claims.Put(copyKey(id, seq), append(v, timeBytes(now)...)); err != nil {
			return nil, err
		}
		e.count(c.State, mail.InFlight, 1)
		claims = append(claims, Claim{Message: e.msg, Copy: *c})
	}
	return claims, nil
}

// Sendable says whether copies of a message may be sent now: of one that was paused or
// cancelled since they were claimed they may not.
func (s *Spool) Sendable(id mail.ID) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	e := s.live[id]
	return e != nil && sendable(e.msg)
}

// Settle writes an attempt's result and returns when it is on disk. ErrStale:
// the attempt is not the current one, and nothing was written. A copy of a
// message that was cancelled meanwhile is not tried again.
func (s *Spool) Settle(ctx context.Context, c Claim, r Result) error {
	err := s.update(context.WithoutCancel(ctx), func(t *txn) error { return t.settle(c, r) })
	if err != nil {
		return fmt.Errorf("settle %s: %w", c.Copy.Tag(), err)
	}
	return nil
}

func (t *txn) settle(claim Claim, r Result) error {
	key := copyKey(claim.Copy.Message, claim.Copy.Seq)
	v := t.claims.Get(key)
	if v == nil || int(binary.BigEndian.Uint32(v)) != claim.Copy.Claims {
		return ErrStale
	}
	if err := t.claims.Delete(key); err != nil {
		return err
	}
	c, err := t.copy(claim.Copy.Message, claim.Copy.Seq)
	if err != nil {
		return err
	}
	e, err := t.entry(c.Message)
	if err != nil {
		return err
	}
	if e.msg.State == mail.Cancelled && !r.State.Settled() {
		r.State = mail.CopyCancelled
	}
	c.Claims = claim.Copy.Claims
	if r.Spent {
		c.Attempts++
	}
	if accepted(c) && r.State != mail.Sent { // an event said so while this attempt was under way
		r = Result{State: mail.Sent, At: r.At}
	}
	if r.Error != "" || r.State == mail.Sent {
		c.LastError = clip(r.Error)
	}
	if r.UpstreamID != "" {
		c.UpstreamID = clip(r.UpstreamID)
		if err := t.upstream.Put([]byte(c.UpstreamID), key); err != nil {
			return err
		}
	}
	return t.move(c, mail.InFlight, r.State, r.Due, r.At)
}

// maxWords bounds, in octets, what a row keeps of what upstream said: a row is
// small, and a key of the index has a limit.
const maxWords = 1000

func clip(s string) string {
	if len(s) <= maxWords {
		return s
	}
	return strings.ToValidUTF8(s[:maxWords], "") + "…"
}

// NextDue is when the earliest copy is due for which the lane has room (possibly
// past), zero for never.
func (s *Spool) NextDue(lane string, room Room) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.schedule.next(lane, room)
}
