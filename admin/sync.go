package admin

import (
	"context"
	"errors"
	"net/http"
	"time"

	"postern/directory/mysqlsync"
)

// SyncReport is a pass of the sync from MySQL as the API shows it.
type SyncReport struct {
	mysqlsync.Report
	Left float64 `json:"left_seconds,omitempty"` // until the step ends, about; 0: unknown
}

func syncReport(r mysqlsync.Report) SyncReport { return SyncReport{r, r.Left.Seconds()} }

// SyncState is how the sync from MySQL stands, as the API shows it.
type SyncState struct {
	mysqlsync.Status
	Running *SyncReport `json:"running,omitempty"`
	Last    *SyncReport `json:"last,omitempty"`
	Late    bool        `json:"late,omitempty"` // the last good pass is older than three intervals
}

// SyncLate says whether the last good pass began more than three intervals ago, counted
// from since at the earliest; a first load takes as long as it takes. Without an interval
// nobody knows when a pass is due.
func SyncLate(s *mysqlsync.Status, every time.Duration, since, now time.Time) bool {
	if every <= 0 || s.Running != nil && s.Running.Kind == mysqlsync.FirstLoad {
		return false
	}
	if s.Good.After(since) {
		since = s.Good
	}
	return !since.IsZero() && now.Sub(since) > 3*every
}

// syncState is the state for the API and the pages alike.
func (a *API) syncState() (SyncState, error) {
	if a.SyncStatus == nil {
		return SyncState{}, &conflict{"sync.dsn is not set, so there is no MySQL to sync from"}
	}
	status, err := a.SyncStatus()
	if err != nil {
		return SyncState{}, err
	}
	s := SyncState{Status: status, Late: SyncLate(&status, a.SyncEvery, time.Time{}, time.Now())}
	if status.Running != nil {
		r := syncReport(*status.Running)
		s.Running = &r
	}
	if status.Last != nil {
		r := syncReport(*status.Last)
		s.Last = &r
	}
	return s, nil
}

// showSync is GET /api/sync.
func (a *API) showSync(w http.ResponseWriter, _ *http.Request) error {
	s, err := a.syncState()
	if err == nil {
		answer(w, http.StatusOK, s)
	}
	return err
}

// startSync is POST /api/sync: makes a pass, with a line of its report about once a second.
// The last line is the report at its end, with "ended", or, behind it, "error". A caller
// who goes away ends the pass; the next one goes on where it stopped.
func (a *API) startSync(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		DryRun    bool `json:"dry_run"`
		Reconcile bool `json:"reconcile"`
		Force     bool `json:"force"`
		Strangers bool `json:"strangers"`
	}
	if err := readJSON(w, r, &body, true); err != nil {
		return err
	}
	unhurried(w)
	out, begun := newStream(w), false
	report, err := a.sync(r.Context(), mysqlsync.Options(body), func(p mysqlsync.Report) {
		if p.Ended.IsZero() && (begun || p.Read > 0) { // what fails before the first row has a status of its own
			begun = true
			_ = out.send(syncReport(p))
		}
	})
	if err != nil && !begun && report.Read == 0 {
		return err
	}
	last := syncReport(report)
	last.Error = "" // the next line says it, in words for people
	_ = out.send(last)
	if err != nil {
		a.endWithError(out, r, err)
	}
	return nil
}

// sync makes a pass, for the API and the pages alike.
func (a *API) sync(ctx context.Context, o mysqlsync.Options, progress func(mysqlsync.Report)) (mysqlsync.Report, error) {
	if a.Sync == nil {
		return mysqlsync.Report{}, &conflict{"sync.dsn is not set, so there is no MySQL to sync from"}
	}
	report, err := a.Sync(ctx, o, progress)
	if errors.Is(err, mysqlsync.ErrRunning) {
		return report, &conflict{mysqlsync.ErrRunning.Error()}
	}
	a.Log.Info("an operator's sync has ended", "by", actor(ctx), "kind", report.Kind, "dry_run", o.DryRun, "force", o.Force, "new", report.New,
		"changed", report.Changed, "gone", report.Gone, "bad", report.Bad, "err", err)
	return report, err
}
