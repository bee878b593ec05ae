package relay

import (
	"context"
	"time"
)

const (
	// askEvery is how often an account is asked at most: Amazon SES answers such
	// questions about once a second, and to all programs of the account together.
	askEvery = time.Minute
	// askWithin is how long an answer may take: at the start nothing goes before it.
	askWithin = 10 * time.Second
	// lookEvery is how often it is looked at most whether messages can be out today.
	lookEvery = 2 * time.Second
)

// accountRow is what the spool keeps about a lane's account.
type accountRow struct {
	AskedAt    time.Time `json:"asked_at"`
	Answer     *Account  `json:"answer,omitempty"` // the last one
	AnsweredAt time.Time `json:"answered_at,omitzero"`
	Since      int       `json:"since,omitempty"` // copies sent after it
	Day        []bucket  `json:"day,omitempty"`   // copies sent within 24 hours
}

// governor asks a lane's account what it may send. Its fields belong to govern alone.
type governor struct {
	asked     time.Time
	tried     bool          // since the start, whatever came of it
	told      string        // the last reason why the account could not be asked
	stir      chan struct{} // what waits for the lane may have changed
	forecasts int           // how many messages have one
}

// recall takes up what is known of the account from before the start.
func (l *lane) recall(row laneRow, now time.Time) {
	if l.Account == nil {
		return
	}
	g := l.gate
	g.quota.reserve = l.Reserve
	if a := row.Account; a != nil {
		l.governor.asked = a.AskedAt
		g.quota.day = a.Day
		if a.Answer != nil {
			g.quota.account, g.quota.answered, g.quota.since = *a.Answer, a.AnsweredAt, a.Since
			g.allowRate(a.Answer.Rate)
			g.spent = g.quota.left(now) < 1
		}
	}
	l.governor.forecasts = 1 // there may be some from before
	g.asking = g.quota.answered.IsZero() && l.untilAsked(now) == 0
}

// untilAsked is how long the account is not to be asked yet.
func (l *lane) untilAsked(now time.Time) time.Duration {
	wait := l.governor.asked.Add(askEvery).Sub(now)
	if wait > askEvery { // the clock was turned back
		return 0
	}
	return max(0, wait)
}

// govern asks the account once a minute and foresees what its quota will not let out,
// until ctx ends.
func (l *lane) govern(ctx context.Context) {
	defer func() { l.remember(context.WithoutCancel(ctx)) }()
	look, looked := true, time.Time{}
	for ctx.Err() == nil {
		if l.untilAsked(time.Now()) == 0 {
			l.ask(ctx)
			look, looked = true, time.Time{}
		}
		now := time.Now()
		next := max(l.untilAsked(now), time.Millisecond)
		if wait := looked.Add(lookEvery).Sub(now); look && wait > 0 {
			next = min(next, wait)
		} else if look {
			l.foresee(ctx)
			look, looked = false, now
		}
		timer := time.NewTimer(next)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-l.governor.stir:
			look = true
		}
		timer.Stop()
	}
}

// ask asks the account once. When it does not answer the last answer holds.
func (l *lane) ask(ctx context.Context) {
	asked := time.Now()
	l.governor.asked = asked
	l.remember(ctx) // before: a restart in between must not ask again
	last, before := l.gate.lastAnswer()
	asking, cancel := context.WithTimeout(ctx, askWithin)
	a, err := l.Account(asking)
	cancel()
	if ctx.Err() != nil {
		return
	}
	l.governor.tried = true
	now := time.Now()
	if err != nil {
		l.unanswered(err)
	} else {
		l.governor.told = ""
		l.gate.cannotAsk("")
		if l.gate.learn(a, before, asked, now) {
			l.report()
		}
		if a != last { // else the next question's note is early enough
			l.remember(ctx)
		}
	}
	l.gate.settled()
	l.nudgeDispatch()
}

// unanswered logs, once, that the account cannot be asked.
func (l *lane) unanswered(err error) {
	words, _ := explain(err)
	l.gate.cannotAsk(words)
	if words == l.governor.told {
		return
	}
	l.governor.told = words
	l.r.cfg.Log.Warn("the account cannot be asked for its rate and quota; what it said last holds, and where it has said nothing, only the configured rate",
		"lane", l.Name, "error", words)
}

// remember writes down what is known of the account.
func (l *lane) remember(ctx context.Context) {
	row := l.gate.account()
	row.AskedAt = l.governor.asked
	if err := editLane(ctx, l.r.cfg.Spool, l.Name, func(r *laneRow) { r.Account = row }); err != nil && ctx.Err() == nil && l.r.cfg.Spool.Broken() == nil {
		l.r.cfg.Log.Error("what the account has answered could not be written down", "lane", l.Name, "error", err)
	}
}

// account is what is to be kept of the account.
func (g *gate) account() *accountRow {
	g.mu.Lock()
	defer g.mu.Unlock()
	row := &accountRow{Day: append([]bucket(nil), g.quota.day...)}
	if !g.quota.answered.IsZero() {
		a := g.quota.account
		row.Answer, row.AnsweredAt, row.Since = &a, g.quota.answered, g.quota.since
	}
	return row
}

// lastAnswer is what the account answered last, and how many copies were sent so far.
func (g *gate) lastAnswer() (a Account, sent int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.quota.account, g.quota.total
}

// cannotAsk notes, for people, why the account does not answer.
func (g *gate) cannotAsk(why string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.unasked = why
}
