package directory

import (
	"context"
	"fmt"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"postern/mail"
)

// When soft bounces suppress an address. A mailbox that is full over a weekend
// is not given up; one that takes nothing on five days of a month is. Days are
// counted and not mails: a campaign and its retries say the same thing five
// times. A mail that does arrive takes nothing back: a mailbox that refuses every
// other day harms the sender as much.
const (
	softDays   = 5  // different days on which mail did not reach the address
	softWindow = 30 // days within which they lie, first and last included
)

// SoftBounce records that mail did not reach addr on a day (such as "2026-11-26",
// in the operator's time zone); the fifth day within thirty suppresses the
// address, durably, when it returns, and suppressed says so. Another bounce of
// the same day, one of an address that is suppressed already, and one from before
// the suppression was lifted change nothing. at is the moment of the bounce.
func (x *Index) SoftBounce(ctx context.Context, addr mail.Address, at time.Time, day string, ev Evidence) (suppressed bool, err error) {
	if _, err := time.Parse(time.DateOnly, day); err != nil {
		return false, mail.Refuse(0, "", "%q is no day such as 2026-11-26", clip(day))
	}
	s, err := Suppression{Address: addr, Kind: KindSoftBounces, At: at, Evidence: ev}.check()
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return false, err
	}
	err = x.commit(ctx, func(tx *bolt.Tx) error {
		suppressed, err = softBounce(tx, s, day)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("record a soft bounce of %q: %w", addr, err)
	}
	if suppressed {
		x.wake()
	}
	return suppressed, nil
}

func softBounce(tx *bolt.Tx, s Suppression, day string) (suppressed bool, err error) {
	key := []byte(s.Address.Key())
	if old, err := wasLifted(tx, key, s.At); err != nil || old || bucket(tx, suppressedBucket).Get(key) != nil {
		return false, err
	}
	b := bucket(tx, softBucket)
	days, err := getJSON[[]string](b, key)
	if err != nil {
		return false, err
	}
	days, isNew := addDay(days, day)
	switch {
	case !isNew:
		return false, nil
	case len(days) < softDays:
		return false, putJSON(b, key, days)
	}
	if err := b.Delete(key); err != nil {
		return false, err
	}
	s.Reason = softReason(days[len(days)-1], s.Evidence) // events come in any order
	v, err := suppress(tx, s)
	return v == added, err
}

// addDay puts a day into a sorted set and takes out what lies outside the window
// that ends with the last: that may be the day itself.
func addDay(days []string, day string) (set []string, isNew bool) {
	if slices.Contains(days, day) {
		return days, false
	}
	days = append(slices.Clone(days), day)
	slices.Sort(days)
	first := firstOf(days[len(days)-1])
	days = slices.DeleteFunc(days, func(d string) bool { return d < first })
	return days, day >= first
}

// firstOf is the first day of the window that ends with last.
func firstOf(last string) string {
	t, _ := time.Parse(time.DateOnly, last) // it was parsed when it came
	return t.AddDate(0, 0, 1-softWindow).Format(time.DateOnly)
}

func softReason(day string, ev Evidence) string {
	words := ev.Words
	if words == "" {
		words = ev.Status
	}
	reason := fmt.Sprintf("mail did not reach it on %d days within %d, the last time on %s", softDays, softWindow, day)
	if words == "" {
		return reason
	}
	return bounded(reason+": "+words, maxReason)
}
