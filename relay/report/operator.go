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

// watchLanes tells the operator of lanes that stay paused, and when they run again.
func (r *Reporter) watchLanes(ctx context.Context, now time.Time) {
	if r.cfg.Operator == "" || r.cfg.Spool.Broken() != nil { // then all lanes are paused, and the disk is the trouble
		return
	}
	all := r.cfg.Lanes()
	for i := range all {
		l := &all[i]
		t := r.lanes[l.Name]
		if t == nil {
			t = new(trouble)
			r.lanes[l.Name] = t
		}
		begun, over := t.step(l.State == "paused", patience(l.Class), now)
		e := notice.Event{Kind: notice.LanePaused, Lane: l.Name, Class: l.Class, Words: l.Reason, Since: t.since, Until: l.Until, Waiting: r.cfg.Spool.OpenCopies()}
		if over {
			e = notice.Event{Kind: notice.LaneRuns, Lane: l.Name, Since: t.since, Until: now, Waiting: r.cfg.Spool.OpenCopies()}
		}
		if !begun && !over {
			continue
		}
		letter := r.letter(r.cfg.Operator, r.cfg.Language, now)
		if err := r.send(ctx, letter, mail.NoticeOperator, notice.Operator(letter, e), nil, r.running(all)); err != nil {
			r.cfg.Log.Error("the operator could not be told", "lane", l.Name, "error", err)
			continue
		}
		if begun {
			t.tell(now)
		} else {
			t.end()
		}
	}
}

// patience is how long a lane may be paused before somebody is told: an upstream that
// is away for a restart comes back by itself, an account that is refused does not.
func patience(class mail.Class) time.Duration {
	if class == mail.AccountWide || class == mail.QuotaSpent {
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
