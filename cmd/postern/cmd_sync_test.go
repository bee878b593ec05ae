package main_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"postern/admin"
	postern "postern/cmd/postern"
	"postern/directory/mysqlsync"
)

const (
	plainPass = `POST /api/sync {"dry_run":false,"force":false,"reconcile":false,"strangers":false}`
	dryPass   = `POST /api/sync {"dry_run":true,"force":false,"reconcile":false,"strangers":false}`
)

func TestSyncCommandsOnARunningGateway(t *testing.T) {
	reading := `{"kind":"first load","began":"2026-11-26T09:00:00Z","step":"reading","of":1000000,"done":125000,"left_seconds":200,"read":125000,"new":124999,"bad":1}`
	end := `{"kind":"changes","began":"2026-11-26T09:00:00Z","ended":"2026-11-26T09:00:03Z","read":9,"new":1,"changed":2,"same":4,"gone":1,"bad":1,"moved":1,"kept":1,` +
		`"samples":{"changed":[{"key":"17","email":"kim@example.com","what":"Name: 민수 -> 민지"}],"bad":[{"key":"18","email":"","what":"its email is empty\u001b[2J"}]}}`
	table := "9  rows read\n1  new\n2  changed\n1  of them to another address\n4  as before\n1  gone\n1  set aside\n1  left here and stay away\n\n" +
		"changed: 17 kim@example.com  Name: 민수 -> 민지\nbad: 18 -  its email is empty [2J\n\n" +
		"1 person is subscribed in MySQL and left here: they stay away. Only a later time in sync.consent brings them back.\n"
	aside := "1 row set aside, because they are no users: data/sync-rejects.csv says why of each; mend them in MySQL\n"
	for _, c := range []struct {
		name, args, ask, answer string
		code                    int
		stdout, stderr          string
	}{
		{"a pass", "sync", plainPass, reading + "\n" + end, 0, table + "Done (changes) in 3 s.\n", aside},
		{"with all flags", "sync --reconcile --force --strangers", `POST /api/sync {"dry_run":false,"force":true,"reconcile":true,"strangers":true}`, end, 0, table + "Done (changes) in 3 s.\n", aside},
		{"a dry run", "sync --dry-run", dryPass, strings.Replace(end, `"read"`, `"dry_run":true,"tripwire":"9 would go","strangers":2,"read"`, 1), 0,
			strings.Replace(table, "stay away\n\n", "stay away\n2  in no row of MySQL\n\n", 1) + "2 users are in the directory and in no row of MySQL. `postern sync --reconcile --strangers` takes such users out.\n" +
				"A pass would stop: 9 would go\nA dry run: nothing was changed.\n", "1 row would be set aside, because they are no users\n"},
		{"the tripwire", "sync", plainPass, strings.Replace(end, `"bad":1,`, ``, 1) + "\n" + `{"error":"900 of 1000 users would go"}`, 1,
			strings.Replace(table, "1  set aside\n", "0  set aside\n", 1), "postern: 900 of 1000 users would go\n"},
		{"MySQL is away", "sync", plainPass, `503|{"error":"MySQL does not answer"}`, 1, "", "postern: MySQL does not answer\n"},
		{"another one runs", "sync", plainPass, `409|{"error":"a sync is already running: ` + "`postern sync status`" + ` shows how far it is"}`, 1, "",
			"postern: a sync is already running: `postern sync status` shows how far it is\n"},
		{"the gateway ends", "sync", plainPass, reading, 1, "125000  rows read\n124999  new\n     0  changed\n     0  gone\n     1  set aside\n\n", aside +
			"postern: the pass broke off before its end: the next one goes on where it stopped\n"},
		{"strangers alone", "sync --strangers", "", "", 2, "", "postern: --strangers is for --reconcile: only a pass that reads everything knows them\n"},
		{"no such command", "sync fly", "", "", 2, "", "postern: there is no command \"sync fly\"; see `postern sync pass --help`\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			serveControl(t, fakeGateway(t, map[string]string{c.ask: c.answer}))
			code, stdout, stderr := run(t, "", strings.Fields(c.args)...)
			if code != c.code || stdout != c.stdout || stderr != c.stderr {
				t.Errorf("exit code %d\nstdout:\n%s\nstderr: %s\nwant %d\nstdout:\n%s\nstderr: %s", code, stdout, stderr, c.code, c.stdout, c.stderr)
			}
		})
	}
	t.Run("JSON has the error too", func(t *testing.T) {
		serveControl(t, fakeGateway(t, map[string]string{plainPass: end + "\n" + `{"error":"900 of 1000 users would go"}`}))
		code, stdout, _ := run(t, "", "sync", "--json")
		var r admin.SyncReport
		if err := json.Unmarshal([]byte(stdout), &r); err != nil || code != 1 || r.Changed != 2 || r.Error != "900 of 1000 users would go" || len(r.Samples["bad"]) != 1 {
			t.Errorf("%d %s %v", code, stdout, err)
		}
	})
}

func TestSyncStatusSaysHowItStands(t *testing.T) {
	now := time.Now().UTC()
	last := &mysqlsync.Report{Kind: mysqlsync.Incremental, Began: now.Add(-10 * time.Minute), Ended: now, Counts: mysqlsync.Counts{New: 1, Bad: 2}}
	failed := *last
	failed.Error = "MySQL does not answer"
	for _, c := range []struct {
		name  string
		state admin.SyncState
		want  []string
		never string
	}{
		{"at rest", admin.SyncState{Status: mysqlsync.Status{Users: 7, Aside: 2, Rejects: "data/sync-rejects.csv", Loaded: true, Good: last.Began, Next: now.Add(time.Hour)},
			Last: &admin.SyncReport{Report: *last}}, []string{"Users from MySQL  7", "Rows set aside    2 (data/sync-rejects.csv)", "(10 min ago)", "Last pass         changes, ", ": 1 new, 0 changed, 0 gone, 2 set aside", "Next pass         20"}, "MySQL does"},
		{"late", admin.SyncState{Status: mysqlsync.Status{Good: now.Add(-50 * time.Hour)}, Late: true, Last: &admin.SyncReport{Report: failed}},
			[]string{"(2 days ago)", "The last pass ended before its end: MySQL does not answer", "more than three intervals (1 h): the directory is behind MySQL", "Next pass         when `postern sync` is run"}, "Running"},
		{"in the first load", admin.SyncState{Running: &admin.SyncReport{Report: mysqlsync.Report{Kind: mysqlsync.FirstLoad, Step: "reading", Done: 3}}},
			[]string{"Last good pass    never", "Running           first load, reading: 3 rows"}, "Next pass"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text, err := json.Marshal(c.state)
			if err != nil {
				t.Fatal(err)
			}
			serveControl(t, fakeGateway(t, map[string]string{"GET /api/sync": string(text)}))
			code, stdout, stderr := run(t, "", "sync", "status")
			for _, want := range c.want {
				if !strings.Contains(stdout, want) || code != 0 || stderr != "" {
					t.Errorf("exit code %d, %q is missing in\n%s%s", code, want, stdout, stderr)
				}
			}
			if strings.Contains(stdout, c.never) {
				t.Errorf("%q is in\n%s", c.never, stdout)
			}
			code, stdout, _ = run(t, "", "sync", "status", "--json")
			var back admin.SyncState
			if err := json.Unmarshal([]byte(stdout), &back); err != nil || code != 0 || back.Late != c.state.Late || back.Users != c.state.Users {
				t.Errorf("%d %s %v", code, stdout, err)
			}
		})
	}
}

// TestAnInterruptedSyncEndsItsPass: the gateway is not left with a pass that nobody waits for.
func TestAnInterruptedSyncEndsItsPass(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	ended := make(chan struct{})
	serveControl(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		io.WriteString(w, `{"kind":"changes","step":"reading","read":1}`+"\n")
		http.NewResponseController(w).Flush()
		interrupt()
		<-r.Context().Done()
		close(ended)
	}))
	var stdout, stderr strings.Builder
	code := postern.Run(ctx, []string{"sync"}, strings.NewReader(""), &stdout, &stderr)
	<-ended
	if code != 1 || stderr.String() != "postern: interrupted: what was done stays, and the next pass goes on there\n" {
		t.Errorf("exit code %d, %s", code, stderr.String())
	}
}

func TestWithoutMySQLThereIsNothingToSync(t *testing.T) {
	t.Chdir(t.TempDir())
	writeConfig(t, working)
	for _, args := range []string{"sync", "sync status", "sync --dry-run"} {
		code, _, stderr := run(t, "", strings.Fields(args)...)
		if code != 1 || stderr != "postern: sync.dsn is not set, so there is no MySQL to sync from\n" {
			t.Errorf("%s: %d %s", args, code, stderr)
		}
	}
	writeConfig(t, working+"[sync]\ndsn_file = \"absent\"\n")
	code, _, stderr := run(t, "", "sync")
	if code != 1 || stderr != "postern: sync.dsn_file: cannot read absent: no such file or directory\n" {
		t.Errorf("%d %s", code, stderr)
	}
}

func writeConfig(t *testing.T, text string) {
	t.Helper()
	if err := os.WriteFile("config.toml", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
