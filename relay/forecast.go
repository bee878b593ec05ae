package relay

import (
	"context"
	"fmt"
	"time"

	"postern/mail"
	"postern/spool"
)

// foresee compares what waits for the lane, in order of acceptance, with the quota that
// is left, and notes of which bulk messages of lists the last copy cannot leave now.
// Transactional mail goes before them.
func (l *lane) foresee(ctx context.Context) {
	now := time.Now()
	q := l.gate.quotaNow()
	switch {
	case q.stale(now) && !l.governor.tried:
		return // it is about to be known
	case l.governor.forecasts == 0 && float64(l.r.cfg.Spool.OpenCopies()) <= q.bulkLeft(now):
		return // nothing can be late
	}
	l.governor.forecasts = 0
	var mine []spool.Waiting
	before := 0
	for _, m := range l.r.cfg.Spool.Unsent() {
		if l.r.laneOf(m.Message) != l {
			continue
		}
		if m.State == mail.Paused { // who knows when it goes on
			if m.Forecast != nil {
				l.governor.forecasts++
			}
			continue
		}
		if m.Priority == mail.Transactional {
			before += m.Counts.Open()
			continue
		}
		mine = append(mine, m)
	}
	for i := range mine {
		m := &mine[i]
		open := m.Counts.Open()
		if m.List != nil && m.Expanded && m.Notice == "" {
			f := q.forecast(m, before, now)
			l.tellForecast(ctx, m, f, &q)
			if f != nil {
				l.governor.forecasts++
			}
		}
		before += open
	}
}

// unforesee takes back the forecasts of messages whose lane has, since the last start, no
// account that can be asked.
func (r *Relay) unforesee(ctx context.Context) {
	for _, m := range r.cfg.Spool.Unsent() {
		if l := r.laneOf(m.Message); m.Forecast != nil && l.Account == nil {
			l.tellForecast(ctx, &m, nil, nil)
		}
	}
}

// forecast is nil when all copies of a message may leave now.
func (q *quota) forecast(m *spool.Waiting, before int, now time.Time) *mail.Forecast {
	if !q.known(now) {
		return nil
	}
	open := m.Counts.Open()
	today, last := q.out(before, open, now)
	if today < open {
		return &mail.Forecast{At: now, Copies: open, Today: today, Until: last}
	}
	if spare := q.bulkLeft(now) - float64(before+open); spare < q.account.Max24/100 {
		return m.Forecast // it is close, and copies in flight count twice for a minute: nothing new
	}
	return nil
}

// tellForecast writes a forecast down when it says something new.
func (l *lane) tellForecast(ctx context.Context, m *spool.Waiting, f *mail.Forecast, q *quota) {
	if !news(m.Forecast, f) && (f == nil || m.Reason != "") { // a pause has taken the words
		return
	}
	words := ""
	if f != nil {
		words = l.r.forecastWords(m, f, q)
	}
	if err := l.r.cfg.Spool.Foresee(ctx, m.ID, f, words); err != nil && ctx.Err() == nil && l.r.cfg.Spool.Broken() == nil {
		l.r.cfg.Log.Error("it could not be written down when a message will be out", "message", m.ID, "error", err)
	}
}

// news says whether a forecast differs from the last one by more than copies that have
// left meanwhile.
func news(old, f *mail.Forecast) bool {
	if old == nil || f == nil {
		return old != f
	}
	return old.Copies-old.Today != f.Copies-f.Today || (old.Today == 0) != (f.Today == 0) || old.Until.Sub(f.Until).Abs() >= bucketTime
}

func (r *Relay) forecastWords(m *spool.Waiting, f *mail.Forecast, q *quota) string {
	copies := grouped(float64(f.Copies)) + " copies"
	of := "of its " + copies
	if f.Copies < m.Counts.Total() {
		of = "of the " + copies + " that wait"
	}
	now := grouped(float64(f.Today)) + " " + of + " can leave now"
	if f.Today == 0 {
		now = "none " + of + " can leave now"
	}
	words := fmt.Sprintf("%s; the account's quota of %s in 24 hours", now, grouped(q.account.Max24))
	if f.Until.IsZero() {
		return words + " leaves none for bulk mail"
	}
	return words + " lets the last leave about " + r.clock(f.Until, f.At)
}

// clock is a time to come, for people.
func (r *Relay) clock(t, now time.Time) string {
	if t.Sub(now) > 6*day {
		return t.In(r.cfg.Location).Format("2 January 15:04")
	}
	return clock(t, r.cfg.Location)
}

// quotaNow is a copy of the lane's quota.
func (g *gate) quotaNow() quota {
	g.mu.Lock()
	defer g.mu.Unlock()
	q := g.quota
	q.day = append([]bucket(nil), g.quota.day...)
	return q
}
