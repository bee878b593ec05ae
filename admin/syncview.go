package admin

import (
	"context"
	"encoding/csv"
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"time"

	"postern/directory/mysqlsync"
)

// rejectsShown is how many rows of the file of rejects the page has.
const rejectsShown = 100

// dryRun is the last dry run that somebody began on the page and that has ended: it is kept
// nowhere else.
type dryRun struct {
	mu     sync.Mutex
	report *SyncReport
	err    string
}

func (d *dryRun) set(r mysqlsync.Report, err error) {
	shown := syncReport(r)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.report, d.err = &shown, ""
	if err != nil {
		d.err = sentence(err)
	}
}

func (d *dryRun) get() (*SyncReport, string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.report, d.err
}

type syncView struct {
	SyncState
	Dry      *reportView // the last dry run
	DryError string
	Head     []string   // of the file of rejects
	Rejects  [][]string // its first rows
	More     bool       // it has more
}

// reportView is a report with what its part of the page shows.
type reportView struct{ *SyncReport }

func viewOfReport(r *SyncReport) *reportView {
	if r == nil {
		return nil
	}
	return &reportView{r}
}

// Numbers are the report's counts.
func (v reportView) Numbers() []SyncCount { return SyncCounts(v.Counts) }

// Progress is how far it is.
func (v reportView) Progress() string { return SyncProgress(v.SyncReport) }

// Took is how long it took.
func (v reportView) Took() string { return HowLong(v.Ended.Sub(v.Began)) }

// Shown are its samples, one kind after the other.
func (v reportView) Shown() (all []SyncSample) { return SyncSamples(&v.Report) }

// NowRunning is the pass under way.
func (v syncView) NowRunning() *reportView { return viewOfReport(v.Running) }

// LastPass is the last one that ended, dry runs aside.
func (v syncView) LastPass() *reportView { return viewOfReport(v.Last) }

// showSyncPage is GET /sync.
func (p *Pages) showSyncPage(w http.ResponseWriter, r *http.Request) {
	state, err := p.API.syncState()
	if err != nil {
		p.failed(w, r, err)
		return
	}
	v := syncView{SyncState: state}
	dry, words := p.dryRun.get()
	v.Dry, v.DryError = viewOfReport(dry), words
	if v.Head, v.Rejects, v.More, err = readRejects(state.Rejects); err != nil {
		p.API.Log.Error("the file of rejects cannot be read", "path", state.Rejects, "err", err)
	}
	p.show(w, r, http.StatusOK, "sync", v)
}

// readRejects reads the first rows of a CSV file, which need not be there.
func readRejects(path string) (head []string, rows [][]string, more bool, err error) {
	if path == "" {
		return nil, nil, false, nil
	}
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil, false, nil
	}
	if err != nil {
		return nil, nil, false, err
	}
	defer f.Close()
	file := csv.NewReader(f)
	file.FieldsPerRecord, file.LazyQuotes = -1, true
	for {
		row, err := file.Read()
		switch {
		case errors.Is(err, io.EOF):
			return head, rows, false, nil
		case err != nil:
			return head, rows, false, err
		case head == nil:
			head = row
		case len(rows) == rejectsShown:
			return head, rows, true, nil
		default:
			rows = append(rows, row)
		}
	}
}

// startWithin is how long the page waits to see a pass begin, or be refused.
const startWithin = 3 * time.Second

// startSyncPage is POST /sync: begins a pass, which goes on without the browser.
func (p *Pages) startSyncPage(w http.ResponseWriter, r *http.Request) {
	o := mysqlsync.Options{DryRun: r.PostFormValue("dry_run") != "", Reconcile: r.PostFormValue("reconcile") != ""}
	ctx := context.WithoutCancel(r.Context())
	begun := make(chan error, 2)
	go func() {
		var once sync.Once
		report, err := p.API.sync(ctx, o, func(mysqlsync.Report) { once.Do(func() { begun <- nil }) })
		var standing *conflict
		if o.DryRun && !errors.As(err, &standing) {
			p.dryRun.set(report, err)
		}
		begun <- err
	}()
	select {
	case err := <-begun:
		if err != nil {
			p.failed(w, r, err)
			return
		}
	case <-time.After(startWithin):
	}
	http.Redirect(w, r, "/sync", http.StatusSeeOther)
}
