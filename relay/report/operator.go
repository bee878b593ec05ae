package report

import (
	"context"
	"time"

	"postern/mail"
	"postern/relay"
	"postern/relay/notice"
)

// trouble is how long something has been wrong, and what the operator knows of it.
type trouble struct {
	since time.Time // zero: nothing is wrong
	told  bool      // of this one
	last  time.Time // when the operator was last told of any such
}

// step takes how things are and says what is to be told: that it is wrong, when
// that lasts for so long and the last time was not just now, or that it is over. What
// was told is to be confirmed by tell, or by end.
func (t *trouble) step(wrong bool, after time.Duration, now time.Time) (begun, over bool) {
	if !wrong {
		if !t.told {
			t.since = time.Time{}
		}
		return false, t.told
	}
	if t.since.IsZero() {
		t.since = now
	}
	return !t.told && now.Sub(t.since) >= after && !now.Before(t.last.Add(between)), false
}

func (t *trouble) tell(now time.Time) { t.told, t.last = true, now }
func (t *trouble) end()               { t.told, t.since = false, time.Time{} }

// laneTrouble is what can be wrong with a lane.
type laneTrouble struct{ paused, held trouble }

// watchLanes tells the operator of lanes that stay paused, and when they run again, and
// of those whose bulk mail waits for somebody.
func (r *Reporter) watchLanes(ctx context.Context, now time.Time) {
	if r.cfg.Operator == "" || r.cfg.Spool.Broken() != nil { // then all lanes are paused, and the disk is the trouble
		return
	}
	all := r.cfg.Lanes()
	for i := range all {
		l := &all[i]
		t := r.lanes[l.Name]
		if t == nil {
			t = new(laneTrouble)
			r.lanes[l.Name] = t
		}
		begun, over := t.paused.step(l.State == "paused", patience(l), now)
		switch {
		case begun:
			e := notice.Event{Kind: notice.LanePaused, ByHand: l.ByHand, Class: l.Class, Words: l.Reason, Since: t.paused.since, Until: l.Until}
			if l.Exact { // else the class has more to say
				e.Remedy = l.Remedy
			}
			if r.tellOfLane(ctx, all, l.Name, e, now) {
				t.paused.tell(now)
			}
		case over:
			if r.tellOfLane(ctx, all, l.Name, notice.Event{Kind: notice.LaneRuns, Since: t.paused.since, Until: now}, now) {
				t.paused.end()
			}
		}
		switch begun, over := t.held.step(l.BulkHeld != "", 0, now); {
		case begun:
			if r.tellOfLane(ctx, all, l.Name, notice.Event{Kind: notice.LaneHeld, Words: l.BulkHeld, Since: t.held.since}, now) {
				t.held.tell(now)
			}
		case over:
			t.held.end() // somebody has resumed it, and knows
		}
	}
}

func (r *Reporter) tellOfLane(ctx context.Context, all []relay.LaneStatus, name string, e notice.Event, now time.Time) bool {
	e.Lane, e.Waiting = name, r.cfg.Spool.OpenCopies()
	return r.tellOperator(ctx, all, e, now)
}

func (r *Reporter) tellOperator(ctx context.Context, all []relay.LaneStatus, e notice.Event, now time.Time) bool {
	letter := r.letter(r.cfg.Operator, r.cfg.Language, now)
	if err := r.send(ctx, letter, mail.NoticeOperator, notice.Operator(letter, e), nil, r.running(all)); err != nil {
		r.cfg.Log.Error("the operator could not be told", "lane", e.Lane, "error", err)
		return false
	}
	return true
}

// watchSync tells the operator that the sync from MySQL is behind, and when it is not any
// more.
func (r *Reporter) watchSync(ctx context.Context, now time.Time) {
	if r.cfg.Sync == nil || r.cfg.Operator == "" || r.cfg.Spool.Broken() != nil {
		return
	}
	words, since := r.cfg.Sync()
	switch begun, over := r.sync.step(words != "", 0, now); {
	case begun:
		if r.tellOperator(ctx, r.cfg.Lanes(), notice.Event{Kind: notice.SyncLate, Words: words, Since: since}, now) {
			r.sync.tell(now)
			r.sync.since = since
		}
	case over:
		if r.tellOperator(ctx, r.cfg.Lanes(), notice.Event{Kind: notice.SyncAgain, Since: r.sync.since, Until: now}, now) {
			r.sync.end()
		}
	}
}

// patience is how long a lane may be paused before somebody is told: an upstream that
// is away for a restart comes back by itself, an account that is refused does not.
// Whoever paused a lane knows, until it is forgotten.
func patience(l *relay.LaneStatus) time.Duration {
	switch {
	case l.ByHand:
		return byHand
	case l.Class == mail.AccountWide || l.Class == mail.QuotaSpent:
		return 0
	}
	return lanePaused
}

// running is the lane of a mail to the operator: the notices' own, or another one
// while that is paused.
func (r *Reporter) running(all []relay.LaneStatus) string {
	other := r.cfg.Lane
	for i, l := range all {
		notices := l.Name == r.cfg.Lane || r.cfg.Lane == "" && i == 0
		if l.State != "paused" {
			if notices {
				return r.cfg.Lane
			}
			other = l.Name
		}
	}
	return other
}

// watchDisk tells the operator, past the spool, that the disk fills up or fails, and
// again when it gets worse.
func (r *Reporter) watchDisk(ctx context.Context, now time.Time) {
	if r.cfg.Operator == "" {
		return
	}
	kind, words := r.cfg.Trouble()
	begun, over := r.disk.step(words != "", 0, now)
	begun = begun || words != "" && kind > r.worst
	if !begun && !over {
		return
	}
	e := notice.Event{Kind: notice.DiskHasRoom, Since: r.disk.since, Until: now}
	if begun {
		e = notice.Event{Kind: kind, Words: words, Since: r.disk.since}
	}
	letter := r.letter(r.cfg.Operator, r.cfg.Language, now)
	if err := r.cfg.Direct(ctx, letter.To, notice.Operator(letter, e)); err != nil {
		r.cfg.Log.Error("the operator could not be told of the disk", "error", err)
		if mail.ClassOf(err) != mail.Uncertain { // it may have been told: once is enough
			return // the next look tries again
		}
	}
	if !begun {
		r.disk.end()
		return
	}
	r.disk.tell(now)
	r.worst = kind
}
