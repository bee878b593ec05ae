package sesfake

import (
	"slices"
	"strings"
	"time"
)

// Account is what GetAccount answers.
type Account struct {
	SendQuota struct {
		Max24HourSend   float64
		MaxSendRate     float64
		SentLast24Hours float64
	}
	ProductionAccessEnabled bool
	SendingEnabled          bool
	EnforcementStatus       string
}

// state is how the account is until a test says otherwise. It is guarded by the
// Fake's lock.
type state struct {
	account *Account // nil: one in good order, without limits that hurt
	latency time.Duration
	expired bool
	region  string
	known   []string // identities that may send; nil: all

	rate, burst int         // recipients a second, and how many more at first; 0: no limit
	spare       int         // of burst
	second      []time.Time // what was accepted in the last second, one for each recipient

	quota  int // recipients in a window; 0: no limit
	window time.Duration
	sent   []time.Time // what was accepted in the last window
}

// SetAccount scripts GetAccount. Where [Fake.Quota] or [Fake.RateLimit] set a limit and
// a leaves that number at 0, GetAccount tells theirs.
func (f *Fake) SetAccount(a Account) { f.set(func(s *state) { s.account = &a }) }

// SetLatency lets every answer come so much later.
func (f *Fake) SetLatency(d time.Duration) { f.set(func(s *state) { s.latency = d }) }

// SetCredentialExpired refuses every call from now on, or no more.
func (f *Fake) SetCredentialExpired(expired bool) { f.set(func(s *state) { s.expired = expired }) }

// Verify names the domains and addresses that may stand in From; region is where.
// Before it is called all may. An address has no need of its own where its domain is
// verified.
func (f *Fake) Verify(region string, identities ...string) {
	f.set(func(s *state) { s.region, s.known = region, append([]string{}, identities...) })
}

// RateLimit accepts so many recipients in any second and refuses more with
// [RateExceeded]; what is refused counts for nothing. SES takes short bursts beyond the
// rate: here burst recipients more at first, and again after each whole second in
// which nothing came. 0 ends the limit.
func (f *Fake) RateLimit(perSecond, burst int) {
	f.set(func(s *state) { s.rate, s.burst, s.spare, s.second = perSecond, burst, burst, nil })
}

// Quota accepts so many recipients in any window, what was accepted before
// included, and refuses more with [QuotaExceeded]. The window is SES's 24 hours, or as
// short as a test wants it. 0 ends the limit.
func (f *Fake) Quota(recipients int, window time.Duration) {
	f.set(func(s *state) { s.quota, s.window = recipients, window })
}

// Sent is how many recipients the quota's window holds now.
func (f *Fake) Sent() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.state.forget(f.now())
	return len(f.state.sent)
}

func (f *Fake) set(change func(*state)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(&f.state)
}

func (f *Fake) now() time.Time {
	if f.Now != nil {
		return f.Now()
	}
	return time.Now()
}

// day is how long what was accepted is counted.
func (s *state) day() time.Duration {
	if s.window > 0 {
		return s.window
	}
	return 24 * time.Hour
}

// judge says whether the account lets a mail to n recipients through at all; if
// not, with which answer it is refused.
func (s *state) judge(n int, now time.Time, c *Counts) (Answer, bool) {
	s.forget(now)
	switch {
	case s.expired:
		c.Expired++
		return ExpiredToken(), true
	case s.quota > 0 && len(s.sent)+n > s.quota:
		c.OverQuota++
		return QuotaExceeded(), true
	case s.rate > 0 && min(n, len(s.second)+n-s.rate) > s.spare:
		c.Throttled++
		return RateExceeded(), true
	}
	return Answer{}, false
}

// forget drops what the windows have passed.
func (s *state) forget(now time.Time) {
	s.second = since(s.second, now.Add(-time.Second))
	s.sent = since(s.sent, now.Add(-s.day()))
	if len(s.second) == 0 {
		s.spare = s.burst
	}
}

func since(times []time.Time, begin time.Time) []time.Time {
	i := 0
	for i < len(times) && !times[i].After(begin) {
		i++
	}
	return times[i:]
}

// spend counts an accepted mail.
func (s *state) spend(n int, now time.Time) {
	for range n {
		if s.rate > 0 {
			if len(s.second) >= s.rate {
				s.spare--
			}
			s.second = append(s.second, now)
		}
		s.sent = append(s.sent, now)
	}
}

// unverified says whether a From may not be used.
func (s *state) unverified(from string) bool {
	_, domain, _ := strings.Cut(from, "@")
	return s.known != nil && !slices.ContainsFunc(s.known, func(k string) bool { return strings.EqualFold(k, from) || strings.EqualFold(k, domain) })
}

// told is what GetAccount says now.
func (s *state) told(now time.Time) Account {
	s.forget(now)
	a := Account{ProductionAccessEnabled: true, SendingEnabled: true, EnforcementStatus: "HEALTHY"}
	if s.account != nil {
		a = *s.account
	}
	q := &a.SendQuota
	if q.MaxSendRate == 0 {
		q.MaxSendRate = 10_000
		if s.rate > 0 {
			q.MaxSendRate = float64(s.rate)
		}
	}
	if q.Max24HourSend == 0 {
		q.Max24HourSend = -1 // unlimited
		if s.quota > 0 {
			q.Max24HourSend = float64(s.quota)
		}
	}
	if q.SentLast24Hours == 0 {
		q.SentLast24Hours = float64(len(s.sent))
	}
	return a
}
