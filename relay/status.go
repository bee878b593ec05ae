package relay

import (
	"fmt"
	"strings"
	"time"

	"postern/mail"
)

// What a person can do about a lane that does not go as it should.
const (
	remedyHand        = "Run `postern lane resume %s` when it may send again."
	remedyUnreachable = "Look whether the upstream is up, and whether its address, the network and the firewall are right. It is tried again by itself."
	remedyAccount     = "Mend the account, and then run `postern lane resume %s`, or wait until it is tried again. Passwords and keys, in the configuration, the environment or ~/.aws, are read at the start: after a change of these restart postern."
	remedyStopped     = "Look at the account's health at the provider and answer its case there. The account is asked every minute, and the lane goes on by itself."
	remedyQuota       = "Wait, or ask the provider for a larger quota. Nothing is lost, and the lane goes on by itself."
	remedyUnclear     = "Look at the provider's state of service and at the network between. It is tried again by itself; what may have been sent is listed as uncertain."
	remedySlowed      = "Nothing needs to be done. If it comes again and again, somebody else sends by the same account, or the lane's rate is too high: set a lower one, or ask the provider for a higher one."
)

func remedyFor(class mail.Class, lane string) string {
	switch class {
	case mail.Unreachable:
		return remedyUnreachable
	case mail.AccountWide:
		return fmt.Sprintf(remedyAccount, lane)
	case mail.QuotaSpent:
		return remedyQuota
	case mail.Uncertain:
		return remedyUnclear
	}
	return ""
}

// accountWords are what an administrator should know of the account; "": nothing.
func (g *gate) accountWords() string {
	switch a := g.quota.account; {
	case g.unasked != "":
		return "the account cannot be asked for its rate and quota, so that they are not known or out of date: " + g.unasked
	case a.Sandbox && !g.quota.answered.IsZero():
		return "the account is in the sandbox: mail reaches verified addresses only; ask the provider for production access"
	case strings.EqualFold(a.Enforcement, "PROBATION"):
		return "the provider reviews the account because of its bounces or complaints, and may stop it: look at the account's health there"
	}
	return ""
}

// status says how the lane is. s has its name already.
func (g *gate) status(s *LaneStatus, now time.Time, in *time.Location) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ease(now)
	s.State, s.Rate, s.Limit, s.InFlight, s.BulkHeld, s.Quota = "running", g.rate, g.limit, g.inFlight, g.bulkHeld, g.quota.shown(now)
	s.Account = g.accountWords()
	spent := g.quota.left(now) < 1
	if !spent && g.quota.bulkLeft(now) < 1 {
		s.BulkWaits = "bulk mail has used its share of the account's quota of " + grouped(g.quota.account.Max24) +
			" copies in 24 hours, and the rest is kept for transactional mail; " + g.quota.goesOn(true, now, in)
	}
	switch {
	case g.byHand != "":
		s.State, s.Reason, s.ByHand, s.Remedy = "paused", g.byHand, true, fmt.Sprintf(remedyHand, s.Name)
	case g.paused:
		s.State, s.Class, s.Reason, s.Until = "paused", g.class, g.reason, g.until
		if s.Remedy, s.Exact = g.remedy, true; s.Remedy == "" {
			s.Remedy, s.Exact = remedyFor(g.class, s.Name), false
		}
		if g.class == mail.QuotaSpent && !g.quota.answered.IsZero() {
			s.Reason = strings.TrimRight(s.Reason, ".") + "; " + g.quota.goesOn(false, now, in)
		}
	case spent:
		s.State, s.Class, s.Remedy = "paused", mail.QuotaSpent, remedyQuota
		s.Reason = "the account's quota of " + grouped(g.quota.account.Max24) + " copies in 24 hours is spent; " + g.quota.goesOn(false, now, in)
		if s.Until = g.quota.frees(false, now); s.Until.IsZero() {
			s.Until = g.quota.answered.Add(askEvery)
		}
	case g.rate != g.limit:
		s.State, s.Remedy = "slowed", remedySlowed
		s.Reason = "upstream said at " + g.slowedAt.In(in).Format("15:04:05") + " that copies come too fast; the rate grows again meanwhile"
		if g.limit > 0 {
			s.Until = now.Add(time.Duration((g.limit - g.rate) / (easing * g.limit) * float64(time.Second)))
		}
	}
}
