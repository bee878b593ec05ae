package admin

import (
	"fmt"
	"strings"
	"time"

	"postern/directory/mysqlsync"
)

// SyncCount is a number of a report, in words.
type SyncCount struct {
	Name  string // of the samples too
	Words string
	N     int
}

// SyncCounts are the numbers of a report that are worth a line: rows, new, changed, gone,
// set aside, and what else there is.
func SyncCounts(c mysqlsync.Counts) []SyncCount {
	all := []SyncCount{
		{"read", "rows read", c.Read},
		{"new", "new", c.New},
		{"changed", "changed", c.Changed},
		{"moved", "of them to another address", c.Moved},
		{"unsubscribed", "of them not subscribed any more", c.Unsubscribed},
		{"subscribed", "of them subscribed again", c.Subscribed},
		{"same", "as before", c.Same},
		{"gone", "gone", c.Gone},
		{"bad", "set aside", c.Bad},
		{"kept", "left here and stay away", c.Kept},
		{"back", "left here and agreed again: they come back", c.Back},
		{"consents", "new consents", c.Consents},
		{"unknown", "neither subscribed nor not", c.Unknown},
		{"strangers", "in no row of MySQL", c.Strangers},
		{"missing", "of earlier passes missing in the directory", c.Missing},
	}
	shown := all[:0]
	for _, one := range all {
		switch one.Name {
		case "read", "new", "changed", "gone", "bad":
			shown = append(shown, one)
		default:
			if one.N > 0 {
				shown = append(shown, one)
			}
		}
	}
	return shown
}

// SyncProgress is how far a pass is: "reading: 125000 of about 1000000 rows (12 %), 3 min
// left".
func SyncProgress(r *SyncReport) string {
	var b strings.Builder
	b.WriteString(r.Step)
	if r.Step == "" {
		b.WriteString("beginning")
	}
	switch {
	case r.Of > 0:
		fmt.Fprintf(&b, ": %d of about %d rows (%d %%)", r.Done, max(r.Of, r.Done), min(100, r.Done*100/r.Of))
	case r.Done > 0:
		fmt.Fprintf(&b, ": %d %s", r.Done, rowsWord(r.Done))
	}
	if r.Left > 0 {
		fmt.Fprintf(&b, ", %s left", HowLong(time.Duration(r.Left*float64(time.Second))))
	}
	return b.String()
}

func rowsWord(n int64) string {
	if n == 1 {
		return "row"
	}
	return "rows"
}

// HowLong is a duration for people, in at most two units.
func HowLong(d time.Duration) string {
	switch d = max(d, 0); {
	case d < time.Second:
		return "less than 1 s"
	case d < 90*time.Second:
		return fmt.Sprintf("%d s", int(d.Round(time.Second)/time.Second))
	case d < time.Hour-time.Minute/2:
		return fmt.Sprintf("%d min", int(d.Round(time.Minute)/time.Minute))
	case d < 36*time.Hour:
		d = d.Round(time.Minute)
		if m := int(d % time.Hour / time.Minute); m > 0 {
			return fmt.Sprintf("%d h %d min", int(d/time.Hour), m)
		}
		return fmt.Sprintf("%d h", int(d/time.Hour))
	}
	return fmt.Sprintf("%d days", int(d.Round(24*time.Hour)/(24*time.Hour)))
}

// SyncSample is a row that a report shows.
type SyncSample struct {
	Name string // as in [SyncCount]
	mysqlsync.Sample
}

// SyncSamples are those of a report, one kind after the other.
func SyncSamples(r *mysqlsync.Report) (all []SyncSample) {
	for _, name := range r.Kinds() {
		for _, one := range r.Samples[name] {
			all = append(all, SyncSample{name, one})
		}
	}
	return all
}
