package relay

import (
	"fmt"
	"math"
	"time"

	"postern/spool"
)

// bucketTime is how long the copies that a lane sends are counted together.
const bucketTime = 10 * time.Minute

// quotaFresh is how long an answer says something about the quota: who cannot ask any
// more for so long learns from upstream's refusals.
const quotaFresh = time.Hour

// bucket is how many copies a lane has sent in the bucketTime that began then.
type bucket struct {
	At     time.Time `json:"at"`
	Copies int       `json:"copies"`
}

// quota is what is left of an account's copies for 24 hours: by its last answer, less
// what was sent since. It knows no clock.
type quota struct {
	reserve  float64 // the share that bulk leaves
	account  Account // the last answer
	answered time.Time
	since    int      // copies sent after it
	total    int      // copies sent since the start of the program
	day      []bucket // copies sent in the last 24 hours, oldest first
}

// count notes a copy that was sent.
func (q *quota) count(now time.Time) {
	q.total++
	q.since++
	at := now.UTC().Truncate(bucketTime)
	if n := len(q.day); n == 0 || q.day[n-1].At.Before(at) {
		q.day = append(q.recent(now), bucket{At: at})
	}
	q.day[len(q.day)-1].Copies++
}

// recent is q.day without what has left the 24 hours.
func (q *quota) recent(now time.Time) []bucket {
	d := q.day
	for len(d) > 0 && now.Sub(d[0].At) >= day {
		d = d[1:]
	}
	return d
}

// learn takes an answer to a question that was asked then, when so many copies in all
// had been sent. What was sent meanwhile may be in the answer; it counts as if it were not.
func (q *quota) learn(a Account, before int, asked time.Time) {
	q.account, q.answered, q.since = a, asked, q.total-before
}

// stale says that there is no answer, or one that says nothing about the quota any more.
func (q *quota) stale(now time.Time) bool {
	return q.answered.IsZero() || now.Sub(q.answered) >= quotaFresh
}

// known says that the quota is limited, and how.
func (q *quota) known(now time.Time) bool { return !q.stale(now) && q.account.Max24 >= 0 }

// used is how many copies of the 24 hours are sent.
func (q *quota) used() float64 { return q.account.Sent24 + float64(q.since) }

// left is how many copies the account may still send.
func (q *quota) left(now time.Time) float64 {
	if !q.known(now) {
		return math.Inf(1)
	}
	return q.account.Max24 - q.used()
}

// bulkLeft is how many of them may be bulk.
func (q *quota) bulkLeft(now time.Time) float64 {
	if !q.known(now) {
		return math.Inf(1)
	}
	return q.left(now) - q.reserve*q.account.Max24
}

// bound is the room that the quota leaves while so many copies are in flight.
func (q *quota) bound(room spool.Room, inFlight int, now time.Time) spool.Room {
	if !q.known(now) {
		return room
	}
	atMost := func(n int, left float64) int { return max(0, min(n, int(left)-inFlight)) }
	room.All, room.Bulk = atMost(room.All, q.left(now)), atMost(room.Bulk, q.bulkLeft(now))
	return room
}

// frees is when so many copies of the quota will be free that bulk, or any mail, has at
// least one; zero when those were sent by others, of whom nobody knows.
func (q *quota) frees(bulk bool, now time.Time) time.Time {
	need := 1 - q.left(now)
	if bulk {
		need = 1 - q.bulkLeft(now)
	}
	for _, b := range q.recent(now) {
		if need -= float64(b.Copies); need <= 0 {
			return b.At.Add(day)
		}
	}
	return time.Time{}
}

// out is how many of a message's copies the quota lets leave now, and when the last of
// them will have left, about, if so many others leave before. It takes what others sent
// as spread evenly over the 24 hours.
func (q *quota) out(before, copies int, now time.Time) (today int, last time.Time) {
	left := q.bulkLeft(now)
	if left >= float64(before+copies) {
		return copies, last
	}
	today = max(0, int(math.Floor(left))-before)
	whole := (1 - q.reserve) * q.account.Max24 // what bulk sends in a day, again and again
	if whole < 1 {
		return today, last
	}
	need := float64(before + copies)
	days := math.Ceil(need/whole) - 1
	need -= days * whole
	return today, now.Add(q.freed(need-left, now) + time.Duration(days*float64(day)))
}

// freed is how long it takes until so many copies of those that are sent have left the
// 24 hours.
func (q *quota) freed(n float64, now time.Time) time.Duration {
	if n <= 0 {
		return 0
	}
	own := 0
	for _, b := range q.recent(now) {
		own += b.Copies
	}
	others := max(0, q.used()-float64(own)) / float64(day) // leave in a nanosecond
	from, sum := now, 0.0
	for _, b := range q.recent(now) {
		leaves := b.At.Add(day)
		even := others * float64(leaves.Sub(from))
		if sum+even >= n {
			return from.Add(time.Duration((n - sum) / others)).Sub(now)
		}
		from, sum = leaves, sum+even+float64(b.Copies)
		if sum >= n {
			return leaves.Sub(now)
		}
	}
	if others <= 0 {
		return day
	}
	return min(day, from.Add(time.Duration((n-sum)/others)).Sub(now))
}

// shown is the quota for an administrator; nil when there is no answer.
func (q *quota) shown(now time.Time) *Quota {
	if q.answered.IsZero() {
		return nil
	}
	a := q.account
	s := &Quota{Rate: a.Rate, Max24: a.Max24, Used: q.used(), Left: -1, AskedAt: q.answered, Sandbox: a.Sandbox, Enforcement: a.Enforcement}
	if a.Max24 < 0 {
		s.Max24 = -1
		return s
	}
	s.Left = max(0, a.Max24-s.Used)
	return s
}

// goesOn are the words for when there will be quota again.
func (q *quota) goesOn(bulk bool, now time.Time, in *time.Location) string {
	const asked = "the account is asked again every minute"
	if at := q.frees(bulk, now); !at.IsZero() {
		return fmt.Sprintf("the oldest copies leave the 24 hours about %s, and %s", clock(at, in), asked)
	}
	return "it goes on as soon as some of it is free: " + asked
}

// clock is a time of one of the next days, for people.
func clock(t time.Time, in *time.Location) string { return t.In(in).Format("Monday 15:04") }

// grouped is a number for people.
func grouped(n float64) string {
	s := fmt.Sprintf("%.0f", n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
