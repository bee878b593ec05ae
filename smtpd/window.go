package smtpd

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"postern/mail"
)

// window counts recipients over the time just past, in slots of one length. It
// forgets a whole slot at a time, and late rather than early: what it counts is
// never less than what the time just past holds, and at most one slot more.
type window struct {
	limit  int
	slot   time.Duration
	epoch  time.Time // slots are numbered from here
	counts []int     // a ring, by number of slot
	newest int64     // the slot of now
	total  int
}

// newWindow numbers its slots from epoch, which must be more than a slot and the
// length before all that is counted. A clock's monotonic part in it keeps time from
// being set back.
func newWindow(limit int, slot, length time.Duration, epoch time.Time) *window {
	return &window{limit: limit, slot: slot, counts: make([]int, int(length/slot)+1), epoch: epoch}
}

func (w *window) number(t time.Time) int64 { return int64(t.Sub(w.epoch) / w.slot) }

func (w *window) at(slot int64) *int { return &w.counts[slot%int64(len(w.counts))] }

// advance forgets what is too old at now.
func (w *window) advance(now time.Time) {
	to := w.number(now)
	if to-w.newest > int64(len(w.counts)) {
		w.newest = to - int64(len(w.counts))
	}
	for ; w.newest < to; w.newest++ {
		old := w.at(w.newest + 1)
		w.total -= *old
		*old = 0
	}
}

// add counts n at slot, unless that is forgotten already; n may be negative.
func (w *window) add(slot int64, n int) {
	if slot = min(slot, w.newest); slot > w.newest-int64(len(w.counts)) {
		*w.at(slot) += n
		w.total += n
	}
}

// full says how long it takes until one more fits; 0: one fits now.
func (w *window) full(now time.Time) time.Duration {
	over := w.total - w.limit
	if over < 0 {
		return 0
	}
	length := int64(len(w.counts))
	for slot := w.newest - length + 1; slot <= w.newest; slot++ {
		if over -= *w.at(slot); over < 0 {
			return w.epoch.Add(time.Duration(slot+length) * w.slot).Sub(now)
		}
	}
	return time.Duration(length) * w.slot // not reached: the slots add up to total
}

// quota is the limits of one account or network.
type quota struct {
	name string

	mu          sync.Mutex
	minute, day *window // nil: no limit
}

// quotas are those who have a limit, by [mail.Submitter].Name in lower case.
type quotas map[string]*quota

func newQuotas(c *Config) quotas {
	all := quotas{}
	for _, a := range c.Accounts {
		all.add(a.Username, a.PerMinute, a.PerDay)
	}
	for _, n := range c.Networks {
		all.add(n.SubmitterName(), n.PerMinute, n.PerDay)
	}
	return all
}

func (all quotas) add(name string, perMinute, perDay int) {
	q := &quota{name: name}
	if perMinute > 0 {
		q.minute = newWindow(perMinute, time.Second, time.Minute, time.Now().Add(-2*time.Minute))
	}
	if perDay > 0 {
		q.day = newWindow(perDay, time.Minute, 24*time.Hour, time.Now().Add(-48*time.Hour))
	}
	if q.minute != nil || q.day != nil {
		all[strings.ToLower(name)] = q
	}
}

// of is nil for a submitter without a limit.
func (all quotas) of(sub *mail.Submitter) *quota { return all[strings.ToLower(sub.Name)] }

// Limited says whether anybody has a limit.
func (s *Server) Limited() bool { return len(s.quotas) > 0 }

// Spent counts recipients of a mail that submitter ([mail.Submitter].Name) had
// accepted at some time before the start, so that limits hold over a restart. It
// is called between New and Serve; who has no limit is not counted.
func (s *Server) Spent(submitter string, at time.Time, recipients int) {
	if q := s.quotas[strings.ToLower(submitter)]; q != nil {
		q.spent(at, time.Now(), recipients)
	}
}

// hold is what a transaction has taken of a quota: one entry for a recipient. It
// is used by one goroutine at a time.
type hold struct {
	quota *quota // nil: no limit
	taken []slots
}

// slots are where one recipient was counted.
type slots struct{ minute, day int64 }

// take counts one recipient, or says which limit is in the way.
func (h *hold) take(now time.Time) error {
	if h.quota == nil {
		return nil
	}
	s, err := h.quota.take(now)
	if err == nil {
		h.taken = append(h.taken, s)
	}
	return err
}

// giveBack uncounts all of it: the mail was not accepted.
func (h *hold) giveBack() {
	if len(h.taken) > 0 {
		h.quota.giveBack(h.taken)
	}
	h.taken = nil
}

func (q *quota) take(now time.Time) (s slots, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, l := range q.limits(now) {
		if wait := l.full(now); wait > 0 {
			return s, q.refusal(l, wait)
		}
	}
	return q.count(now, 1), nil
}

// spent counts what was accepted before the start.
func (q *quota) spent(at, now time.Time, n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.limits(now)
	q.count(at, n)
}

// limits are the windows there are, as they are at now.
func (q *quota) limits(now time.Time) (all []*window) {
	for _, w := range []*window{q.minute, q.day} {
		if w != nil {
			w.advance(now)
			all = append(all, w)
		}
	}
	return all
}

func (q *quota) count(at time.Time, n int) (s slots) {
	if q.minute != nil {
		s.minute = min(q.minute.number(at), q.minute.newest)
		q.minute.add(s.minute, n)
	}
	if q.day != nil {
		s.day = min(q.day.number(at), q.day.newest)
		q.day.add(s.day, n)
	}
	return s
}

func (q *quota) giveBack(taken []slots) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, s := range taken {
		if q.minute != nil {
			q.minute.add(s.minute, -1)
		}
		if q.day != nil {
			q.day.add(s.day, -1)
		}
	}
}

func (q *quota) refusal(w *window, wait time.Duration) error {
	unit, key := "minute", "per_minute"
	if w == q.day {
		unit, key = "day", "per_day"
	}
	e := mail.Later(450, "4.7.1", "%s may send to %d recipients a %s (%s) and has done so; the next is taken again in %s", q.name, w.limit, unit, key, inWords(wait))
	e.RetryAfter = wait
	return e
}

// inWords rounds a time to wait up to what a person would say.
func inWords(d time.Duration) string {
	switch {
	case d <= time.Second:
		return "1 second"
	case d <= 90*time.Second:
		return count(d, time.Second, "seconds")
	case d <= 90*time.Minute:
		return count(d, time.Minute, "minutes")
	}
	return count(d, time.Hour, "hours")
}

func count(d, unit time.Duration, name string) string {
	return fmt.Sprintf("%d %s", (d+unit-1)/unit, name)
}
