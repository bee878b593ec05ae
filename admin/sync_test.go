package admin_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/admin"
	"postern/directory/mysqlsync"
	"postern/mail"
)

// fakeSync is a sync that does what a test says.
type fakeSync struct {
	pass   func(ctx context.Context, o mysqlsync.Options, progress func(mysqlsync.Report)) (mysqlsync.Report, error)
	status mysqlsync.Status
}

func (f *fakeSync) serve(g *gateway) {
	g.Sync = f.pass
	g.SyncStatus = func() (mysqlsync.Status, error) { return f.status, nil }
	g.SyncEvery = time.Hour
}

// aReport is of a pass that has ended well.
func aReport(began time.Time) mysqlsync.Report {
	return mysqlsync.Report{Kind: mysqlsync.Incremental, Began: began, Ended: began.Add(3 * time.Second),
		Counts: mysqlsync.Counts{Read: 9, New: 2, Changed: 3, Moved: 1, Unsubscribed: 1, Same: 2, Gone: 1, Bad: 1, Kept: 1},
		Samples: map[string][]mysqlsync.Sample{
			"changed": {{Key: "17", Email: "kim@example.com", What: "Name: 민수 -> <b>민지</b>"}},
			"bad":     {{Key: "<i>", Email: "no address", What: "it has no @"}},
		}}
}

// lines posts to /api/sync and reads the answer's lines.
func lines(t *testing.T, h http.Handler, body string) (code int, all []map[string]any) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("POST", "/api/sync", strings.NewReader(body)))
	for s := bufio.NewScanner(w.Body); s.Scan(); {
		var line map[string]any
		if err := json.Unmarshal(s.Bytes(), &line); err != nil {
			t.Fatalf("%s: %v", s.Bytes(), err)
		}
		all = append(all, line)
	}
	return w.Code, all
}

func TestAPassIsStreamedAndItsEndIsTheLastLine(t *testing.T) {
	g, f := newGateway(t), &fakeSync{}
	began := time.Date(2026, 11, 26, 9, 0, 0, 0, time.UTC)
	var asked mysqlsync.Options
	f.pass = func(_ context.Context, o mysqlsync.Options, progress func(mysqlsync.Report)) (mysqlsync.Report, error) {
		asked = o
		progress(mysqlsync.Report{Kind: mysqlsync.Incremental, Began: began})
		progress(mysqlsync.Report{Kind: mysqlsync.Incremental, Began: began, Step: "reading", Of: 10, Done: 4, Left: 90 * time.Second, Counts: mysqlsync.Counts{Read: 4}})
		r := aReport(began)
		progress(r)
		return r, nil
	}
	f.serve(g)
	code, all := lines(t, g.Handler(), `{"dry_run":true,"reconcile":true,"force":true,"strangers":true}`)
	if code != 200 || len(all) != 2 || asked != (mysqlsync.Options{DryRun: true, Reconcile: true, Force: true, Strangers: true}) {
		t.Fatalf("%d %v %+v", code, all, asked)
	}
	if all[0]["step"] != "reading" || all[0]["left_seconds"] != 90.0 || all[0]["ended"] != nil {
		t.Errorf("progress: %v", all[0])
	}
	if last := all[1]; last["ended"] == nil || last["new"] != 2.0 || last["samples"] == nil {
		t.Errorf("the end: %v", last)
	}
}

func TestAPassThatFailsSaysSo(t *testing.T) {
	g, f := newGateway(t), &fakeSync{}
	f.serve(g)
	away := &mail.Error{Class: mail.Temporary, Public: "MySQL at db:3306 does not answer"}
	tripped := &mail.Error{Class: mail.Permanent, Public: "900 of 1000 users would be taken out", Err: mysqlsync.ErrTripwire}
	for _, c := range []struct {
		name  string
		read  int
		err   error
		code  int
		lines int
		says  string
	}{
		{"before it reads a row", 0, away, 503, 1, "db:3306 does not answer"},
		{"another runs", 0, fmt.Errorf("x: %w", mysqlsync.ErrRunning), 409, 1, "a sync is already running: `postern sync status` shows how far it is"},
		{"half-way", 7, tripped, 200, 3, "900 of 1000"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g.Sync = func(_ context.Context, _ mysqlsync.Options, progress func(mysqlsync.Report)) (mysqlsync.Report, error) {
				r := mysqlsync.Report{Kind: mysqlsync.Incremental, Step: "looking", Counts: mysqlsync.Counts{Read: c.read}}
				progress(r)
				r.Ended, r.Error = time.Now(), "as the log has it"
				return r, c.err
			}
			code, all := lines(t, g.Handler(), "")
			if code != c.code || len(all) != c.lines || !strings.Contains(fmt.Sprint(all[len(all)-1]["error"]), c.says) {
				t.Fatalf("%d %v", code, all)
			}
			if c.lines == 3 && (all[1]["ended"] == nil || all[1]["read"] != 7.0 || all[1]["error"] != nil) {
				t.Errorf("the report before the error: %v", all[1])
			}
		})
	}
	g.Sync, g.SyncStatus = nil, nil
	if code, all := lines(t, g.Handler(), ""); code != 409 || !strings.Contains(fmt.Sprint(all), "sync.dsn is not set") {
		t.Errorf("%d %v", code, all)
	}
	g.get("GET", "/api/sync", "", 409)
}

func TestACallerWhoGoesAwayEndsThePass(t *testing.T) {
	g, f := newGateway(t), &fakeSync{}
	ended := make(chan struct{})
	f.pass = func(ctx context.Context, _ mysqlsync.Options, progress func(mysqlsync.Report)) (mysqlsync.Report, error) {
		progress(mysqlsync.Report{Step: "reading", Counts: mysqlsync.Counts{Read: 1}})
		<-ctx.Done()
		close(ended)
		return mysqlsync.Report{}, ctx.Err()
	}
	f.serve(g)
	server := httptest.NewServer(g.Handler())
	defer server.Close()
	ctx, leave := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, "POST", server.URL+"/api/sync", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	leave()
	<-ended
}

func TestTheStateSaysWhenTheSyncIsLate(t *testing.T) {
	g, f := newGateway(t), &fakeSync{}
	f.status = mysqlsync.Status{Users: 5, Good: time.Now().Add(-4 * time.Hour), Running: &mysqlsync.Report{Kind: mysqlsync.Incremental, Left: time.Minute}}
	f.serve(g)
	v := g.get("GET", "/api/sync", "", 200)
	if v["late"] != true || v["users"] != 5.0 || v["running"].(map[string]any)["left_seconds"] != 60.0 {
		t.Errorf("%v", v)
	}
	now := time.Now()
	for _, c := range []struct {
		name  string
		s     mysqlsync.Status
		every time.Duration
		since time.Time
		want  bool
	}{
		{"a good one in time", mysqlsync.Status{Good: now.Add(-2 * time.Hour)}, time.Hour, time.Time{}, false},
		{"by cron", mysqlsync.Status{Good: now.Add(-200 * time.Hour)}, 0, time.Time{}, false},
		{"never a good one", mysqlsync.Status{}, time.Hour, time.Time{}, false},
		{"never, since a start long ago", mysqlsync.Status{}, time.Hour, now.Add(-5 * time.Hour), true},
		{"a first load takes its time", mysqlsync.Status{Running: &mysqlsync.Report{Kind: mysqlsync.FirstLoad}}, time.Hour, now.Add(-5 * time.Hour), false},
		{"just started", mysqlsync.Status{Good: now.Add(-9 * time.Hour)}, time.Hour, now.Add(-time.Minute), false},
	} {
		if got := admin.SyncLate(&c.s, c.every, c.since, now); got != c.want {
			t.Errorf("%s: %t", c.name, got)
		}
	}
}

// aTable writes a file of rejects with n rows.
func aTable(t *testing.T, n int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rejects.csv")
	text := "key,email,reason,since\n"
	for i := range n {
		text += fmt.Sprintf("%d,<script>%d,\"it, is \"\"no\"\" address\",2026-11-26T09:00:00Z\n", i, i)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestThePageShowsTheSyncToViewersAndLetsAdministratorsBegin(t *testing.T) {
	g, f := newGateway(t), &fakeSync{}
	last := aReport(time.Now())
	f.status = mysqlsync.Status{Last: &last, Users: 1234, Aside: 150, Rejects: aTable(t, 150), Loaded: true}
	begun := make(chan mysqlsync.Options, 9)
	f.pass = func(_ context.Context, o mysqlsync.Options, progress func(mysqlsync.Report)) (mysqlsync.Report, error) {
		begun <- o
		r := mysqlsync.Report{DryRun: o.DryRun, Kind: mysqlsync.Reconcile, Counts: mysqlsync.Counts{New: 4711}, Tripwire: "900 of 1000 would go"}
		progress(r)
		return r, nil
	}
	f.serve(g)
	p := newPages(g)
	viewer := newBrowser(t, p.Handler())
	viewer.login("eye", "peep")
	page := viewer.do("GET", "/sync", nil).Body.String()
	for _, want := range []string{"1234", "Name: 민수 -&gt; &lt;b&gt;민지&lt;/b&gt;", "kim@example.com", "&lt;script&gt;99", "The first 100 of them", "it, is &#34;no&#34; address", `href="/sync"`} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is not on the page:\n%s", want, page)
		}
	}
	for _, never := range []string{"<script>", "<b>민지", "script&gt;100", `action="/sync"`} {
		if strings.Contains(page, never) {
			t.Errorf("%q is on a viewer's page", never)
		}
	}
	if w := viewer.do("GET", "/api/sync", nil); w.Code != 200 {
		t.Errorf("the API says %d to a viewer", w.Code)
	}
	for _, path := range []string{"/sync", "/api/sync"} {
		if w := viewer.do("POST", path, url.Values{"csrf": {viewer.csrf("/sync")}}); w.Code != 403 || len(begun) > 0 {
			t.Errorf("%s: a viewer begins a pass: %d", path, w.Code)
		}
	}

	b := newBrowser(t, p.Handler())
	b.login("boss", "open sesame")
	if w := b.do("POST", "/sync", url.Values{"csrf": {b.csrf("/sync")}, "dry_run": {"true"}, "reconcile": {"true"}}); w.Code != 303 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if o := <-begun; !o.DryRun || !o.Reconcile || o.Force {
		t.Errorf("%+v", o)
	}
	for !strings.Contains(page, "4711") { // the dry run goes on beside the page
		page = b.do("GET", "/sync", nil).Body.String()
	}
	if !strings.Contains(page, "Nothing was changed") || !strings.Contains(page, "900 of 1000 would go") {
		t.Error(page)
	}
	g.Sync = func(context.Context, mysqlsync.Options, func(mysqlsync.Report)) (mysqlsync.Report, error) {
		return mysqlsync.Report{}, mysqlsync.ErrRunning
	}
	if w := b.do("POST", "/sync", url.Values{"csrf": {b.csrf("/sync")}}); w.Code != 409 || !strings.Contains(w.Body.String(), "A sync is already running") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	g.Sync, g.SyncStatus = nil, nil
	if page := b.do("GET", "/", nil).Body.String(); strings.Contains(page, `href="/sync"`) {
		t.Error("there is a way to the sync where there is none")
	}
}

func TestAPassUnderWayIsShownWithItsEnd(t *testing.T) {
	g, f := newGateway(t), &fakeSync{}
	f.status.Running = &mysqlsync.Report{Kind: mysqlsync.FirstLoad, Step: "reading", Of: 1_000_000, Done: 125_000, Left: 200 * time.Second}
	f.serve(g)
	b := newBrowser(t, newPages(g).Handler())
	b.login("boss", "open sesame")
	page := b.do("GET", "/sync", nil).Body.String()
	if !strings.Contains(page, "reading: 125000 of about 1000000 rows (12 %), 3 min left") || !strings.Contains(page, `max="1000000" value="125000"`) || strings.Contains(page, `action="/sync"`) {
		t.Error(page)
	}
}

func TestDurationsArePlain(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "less than 1 s", 1200 * time.Millisecond: "1 s", 89 * time.Second: "89 s", 90 * time.Second: "2 min", 89 * time.Minute: "1 h 29 min", time.Hour: "1 h", 59*time.Minute + 40*time.Second: "1 h", 59 * time.Minute: "59 min",
		90 * time.Minute: "1 h 30 min", 3 * time.Hour: "3 h", 50 * time.Hour: "2 days",
	} {
		if got := admin.HowLong(d); got != want {
			t.Errorf("%s is %q, want %q", d, got, want)
		}
	}
}
