package relay

import (
	"math"
	"sync"
	"time"

	"postern/mail"
	"postern/spool"
)

// How long a lane pauses before one copy tries it again: doubling from first to
// longest while the reason stays.
const (
	firstPause   = time.Second
	longestPause = time.Minute
	accountPause = 5 * time.Minute  // an account that upstream refuses
	quotaPause   = 15 * time.Minute // a rolling day frees quota all the time
)

// unknownInARow is how many Uncertain results, none else between them, pause a
// lane: each leaves a copy that may have to be sent twice.
const unknownInARow = 20

// gate is a lane's state: whether it may send, and how fast. Its methods take
// the time, so that it can be tested without any passing.
type gate struct {
	mu    sync.Mutex
	nudge chan struct{} // tells the dispatcher that more may be claimed

	asking    bool      // the account is asked for the first time, and nothing goes before
	most      float64   // the configured copies a second; 0: none
	limit     float64   // what configuration and account allow; 0: none is known
	rate      float64   // what is allowed now; 0: no limit
	ceiling   float64   // where a lane without a limit was throttled
	eased     time.Time // when the rate was last raised
	slowedAt  time.Time // when it was last lowered
	notBefore time.Time // nothing goes before, because of a throttle
	pace      pace
	queue     [2][]*waiter // who waits for a turn: transactional, bulk
	ahead     [2]int       // copies claimed and not handed over: transactional, bulk
	timer     *time.Timer  // of the next turn
	sent      int          // begun within the second that began at `second`
	before    int          // within the second before that
	second    time.Time

	paused   bool
	probing  bool       // what is in flight is the probe of a paused lane
	probes   int        // since the pause began
	class    mail.Class // of the pause
	until    time.Time
	reason   string
	remedy   string        // "": that of the class
	pause    time.Duration // the last one, for doubling
	inFlight int
	unknown  int // Uncertain results since upstream was last reached
	quota    quota
	unasked  string // why the account could not be asked the last time; "": it answered
	spent    bool   // the quota is, as far as was told

	byHand   string // why somebody paused the lane; "": nobody did
	bulkHeld string // why bulk mail waits; "": it does not
}

func newGate(most float64) *gate {
	return &gate{most: most, limit: most, rate: most, nudge: make(chan struct{}, 1)}
}

// allow says how much of the room may be used now, and if none, when to ask
// again. A paused lane lets one copy through when its time has come: the probe. Each
// second probe is a bulk copy where there is one: if it was a transactional one
// that paused the lane, it would be the first choice for ever.
func (g *gate) allow(room spool.Room, now time.Time) (spool.Room, time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.dismiss()
	if g.byHand != "" || g.asking {
		return spool.Room{}, time.Time{} // until the dispatcher is nudged
	}
	if g.paused {
		if now.Before(g.until) || g.inFlight > 0 {
			return spool.Room{}, later(g.until, now.Add(firstPause/10))
		}
		room.All, room.BulkFirst = min(room.All, 1), g.probes%2 == 1
	}
	if g.bulkHeld != "" {
		room.Bulk, room.BulkFirst = 0, false
	}
	room = g.quota.bound(room, g.inFlight, now)
	if g.rate > 0 {
		g.ease(now)
		n := g.lookahead()
		both := max(0, 2*n-g.ahead[0]-g.ahead[1]) // transactional copies may take what bulk leaves
		room.All, room.Bulk = min(room.All, both), min(room.Bulk, max(0, n-g.ahead[1]))
	}
	return room, time.Time{}
}

// begin counts claimed copies, and those of them that are bulk.
func (g *gate) begin(n, bulk int, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inFlight += n
	g.ahead[0] += n - bulk
	g.ahead[1] += bulk
	if g.paused {
		g.probing = true
		g.probes++
	}
	if d := now.Sub(g.second); d >= time.Second {
		g.second, g.before, g.sent = now, g.sent, 0
		if d >= 2*time.Second {
			g.before = 0
		}
	}
	g.sent += n
}

// ending is how an attempt ended, as far as the lane is concerned. A Temporary or
// Permanent class means that the lane works when upstream was reached.
type ending struct {
	class   mail.Class
	reached bool
	counts  bool // against the quota: upstream has the copy, or may have it
	reason  string
	after   time.Duration
}

// end takes how an attempt ended. An Uncertain one tells nothing, but so many in a row
// pause the lane, and one of a probe keeps the next one away for a while. It says
// whether the lane has just stopped or started.
func (g *gate) end(p *pass, e ending, now time.Time) (changed bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inFlight--
	if !p.handed {
		g.ahead[p.bulk]--
	}
	probe := g.probing // it was the only one
	g.probing = false
	if e.counts {
		g.quota.count(now)
	}
	if g.judge(e, probe, now) {
		changed = true
	}
	return g.tellSpent(now) || changed
}

func (g *gate) judge(e ending, probe bool, now time.Time) (changed bool) {
	growing := max(min(2*g.pause, longestPause), firstPause)
	switch e.class {
	case mail.Throttled:
		g.slow(e.after, now)
		return false
	case mail.QuotaSpent:
		return g.stop(e.class, e.reason, max(e.after, quotaPause), now)
	case mail.AccountWide:
		return g.stop(e.class, e.reason, max(e.after, accountPause), now)
	case mail.Unreachable:
		return g.stop(e.class, e.reason, max(e.after, growing), now)
	case mail.Uncertain:
		if g.unknown++; g.paused || g.unknown >= unknownInARow {
			return g.stop(e.class, "upstream gives no clear answer any more: "+e.reason, growing, now)
		}
	}
	if e.reached {
		g.unknown = 0
	}
	// What was under way when the account was refused or its quota spent, and got through,
	// says nothing of what comes after.
	refused := g.class == mail.QuotaSpent || g.class == mail.AccountWide
	if e.reached && g.paused && (probe || !refused) {
		g.reopen()
		return true
	}
	return false
}

func (g *gate) reopen() {
	g.paused, g.probes, g.reason, g.remedy, g.pause, g.until = false, 0, "", "", 0, time.Time{}
}

func (g *gate) stop(class mail.Class, reason string, d time.Duration, now time.Time) (changed bool) {
	changed = !g.paused
	if g.paused && now.Before(g.until) { // one of those that began before the stop
		return false
	}
	g.paused, g.class, g.reason, g.remedy, g.pause, g.until = true, class, reason, "", d, now.Add(d)
	g.dismiss()
	return changed
}

// slow lowers the rate by a third, at most four times a second; without a rate
// it begins at half of what this second saw or the one before.
func (g *gate) slow(after time.Duration, now time.Time) {
	if now.Sub(g.slowedAt) >= 250*time.Millisecond {
		if g.rate <= 0 {
			g.ceiling = max(1, float64(max(g.sent, g.before)))
			g.rate = max(1, g.ceiling/2)
		} else {
			g.ceiling = g.rate
			g.rate = max(min(0.1, g.rate), g.rate*2/3)
		}
		g.slowedAt = now
	}
	g.eased = now
	g.notBefore = later(g.notBefore, now.Add(max(after, 100*time.Millisecond)))
}

// freeRate is the rate, in copies a second, from which on a lowered one is taken
// off a lane that has no limit: it is more than one lane sends.
const freeRate = 10000

// easing is the share of the limit by which a lowered rate grows each second.
const easing = 0.05

// ease raises a lowered rate, up to the limit. Without one it grows as fast to where it
// was when upstream throttled, and from there by a twentieth of itself each second
// until it bounds nothing any more.
func (g *gate) ease(now time.Time) {
	passed := now.Sub(g.eased).Seconds()
	if g.rate == g.limit || passed <= 0 {
		return
	}
	g.eased = now
	switch {
	case g.limit > 0:
		g.rate = min(g.limit, g.rate+easing*g.limit*passed)
	case g.rate < g.ceiling:
		g.rate = min(g.ceiling, g.rate+easing*g.ceiling*passed)
	default:
		if g.rate *= math.Pow(1+easing, passed); g.rate >= freeRate {
			g.rate = 0
		}
	}
}

// learn takes what the account may send, and says whether the lane has just stopped or
// started.
func (g *gate) learn(a Account, before int, asked, now time.Time) (changed bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.quota.learn(a, before, asked)
	g.allowRate(a.Rate)
	switch why := a.stopped(); {
	case why != "":
		// No copy is risked while the account answers so, which it does every minute.
		changed = !g.paused
		g.paused, g.class, g.reason, g.remedy, g.until = true, mail.AccountWide, why, remedyStopped, now.Add(accountPause)
		g.dismiss()
	case g.paused && g.remedy == remedyStopped:
		changed = true
		g.reopen()
	case g.paused && g.class == mail.QuotaSpent && g.quota.left(now) >= 1:
		g.until = now // one copy tries it: what upstream counts may lag behind
	}
	return g.tellSpent(now) || changed
}

// allowRate takes the account's rate; 0: it is not known. The configured one is a cap.
func (g *gate) allowRate(account float64) {
	limit := g.most
	if account > 0 && (limit <= 0 || account < limit) {
		limit = account
	}
	switch {
	case g.rate == g.limit:
		g.rate = limit
	case limit > 0:
		g.rate = min(g.rate, limit)
	}
	g.limit = limit
}

// tellSpent says whether the quota has just been spent, or freed.
func (g *gate) tellSpent(now time.Time) (changed bool) {
	spent := g.quota.left(now) < 1
	changed = spent != g.spent
	g.spent = spent
	return changed
}

// settled ends the wait for the first answer about the account.
func (g *gate) settled() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asking = false
}
