package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"postern/admin"
)

type syncCmd struct {
	Pass   syncPassCmd   `cmd:"" name:"pass" default:"withargs" help:"Bring what has changed in MySQL into the directory, once; also as plain sync."`
	Status syncStatusCmd `cmd:"" help:"Say how the sync stands: the last pass, one under way, and what is set aside."`
}

func (syncCmd) Help() string {
	return `Without another word it makes one pass, with the flags of sync pass: --dry-run, --reconcile, --force, --strangers, --json. Works while the gateway runs, which then makes the pass itself, and while it does not. Section sync of the configuration says where MySQL is, and docs/sync.md how to set it up.

Examples:

  postern sync --dry-run
  postern sync
  postern sync status`
}

type syncPassCmd struct {
	DryRun    bool `help:"Only show what would change: new, changed, gone, unsubscribed, with samples."`
	Reconcile bool `help:"Read every row, and take those users out that are gone from MySQL."`
	Force     bool `help:"Also when more users than tripwire allows would be taken out or unsubscribed, or most moved."`
	Strangers bool `help:"With --reconcile: also take out the users of the directory whom no row of MySQL has ever brought."`
	JSON      bool `name:"json" help:"Print the report as JSON."`
}

func (syncPassCmd) Help() string {
	return `The first pass reads the whole table, and goes on where it was cut off; every later one reads what has changed since. There is one at a time. Ctrl-C ends it between two chunks: what was done stays, and the next pass goes on there.

The exit code is 0 when the pass has ended well, also when rows were set aside, which stderr says; 1 when it has not: MySQL or the directory is away, the tripwire has stopped it, another one is running.

Examples:

  postern sync pass --dry-run
  postern sync pass --reconcile
  postern sync pass --json`
}

func (c syncPassCmd) Run(s *session) error {
	if c.Strangers && !c.Reconcile {
		return usageError("--strangers is for --reconcile: only a pass that reads everything knows them")
	}
	conn, cfg, err := s.control()
	if err != nil {
		return err
	}
	defer conn.Close()
	body, err := json.Marshal(map[string]bool{"dry_run": c.DryRun, "reconcile": c.Reconcile, "force": c.Force, "strangers": c.Strangers})
	if err != nil {
		return err
	}
	shown := newPatientProgress(s.stderr)
	var last admin.SyncReport
	begun := false
	failed := conn.Lines(s.ctx, http.MethodPost, "/api/sync", "application/json", strings.NewReader(string(body)), func(line json.RawMessage) error {
		last, begun = admin.SyncReport{}, true
		if err := json.Unmarshal(line, &last); err != nil {
			return fmt.Errorf("the gateway's answer cannot be read: %w", err)
		}
		if last.Ended.IsZero() {
			shown.show("%s; %d new, %d changed, %d gone, %d set aside", admin.SyncProgress(&last), last.New, last.Changed, last.Gone, last.Bad)
		}
		return nil
	})
	shown.clear()
	switch {
	case s.ctx.Err() != nil:
		failed = errors.New("what was done stays, and the next pass goes on there")
	case failed == nil && last.Ended.IsZero():
		failed = errors.New("the pass broke off before its end: the next one goes on where it stopped")
	}
	switch {
	case !begun:
	case c.JSON:
		if failed != nil {
			last.Error = failed.Error()
		}
		err = printObject(s, last)
	default:
		err = showReport(s.stdout, &last, failed == nil)
	}
	switch rows := counted(last.Bad, "row"); {
	case last.Bad == 0:
	case c.DryRun:
		fmt.Fprintf(s.stderr, "%s would be set aside, because they are no users\n", rows)
	default:
		fmt.Fprintf(s.stderr, "%s set aside, because they are no users: %s says why of each; mend them in MySQL\n", rows, cfg.syncRejects())
	}
	return cmp.Or(failed, err)
}

// showReport prints what a pass has done, or a dry run would do; of one that failed, how
// far it came.
func showReport(w io.Writer, r *admin.SyncReport, good bool) error {
	var b strings.Builder
	counts, width := admin.SyncCounts(r.Counts), 0
	for _, c := range counts {
		width = max(width, len(fmt.Sprint(c.N)))
	}
	for _, c := range counts {
		fmt.Fprintf(&b, "%*d  %s\n", width, c.N, c.Words)
	}
	if samples := admin.SyncSamples(&r.Report); len(samples) > 0 {
		b.WriteString("\n")
		for _, one := range samples {
			fmt.Fprintf(&b, "%s: %s %s", one.Name, clean(one.Key), dash(string(one.Email)))
			if one.What != "" {
				fmt.Fprintf(&b, "  %s", clean(one.What))
			}
			b.WriteString("\n")
		}
	}
	b.WriteString("\n")
	if r.Kept > 0 {
		fmt.Fprintf(&b, "%s subscribed in MySQL and left here: they stay away. Only a later time in sync.consent brings them back.\n",
			plural(r.Kept, "1 person is", fmt.Sprintf("%d people are", r.Kept)))
	}
	if r.Strangers > 0 {
		fmt.Fprintf(&b, "%s in the directory and in no row of MySQL. `postern sync --reconcile --strangers` takes such users out.\n",
			plural(r.Strangers, "1 user is", fmt.Sprintf("%d users are", r.Strangers)))
	}
	if r.Missing > 0 {
		fmt.Fprintf(&b, "The directory lacks %s that an earlier pass has written: it was restored, or made anew. Stop the gateway and move data_dir/sync.db away; the next pass loads everything anew, and nobody who left comes back.\n",
			counted(r.Missing, "user"))
	}
	if r.Tripwire != "" {
		fmt.Fprintf(&b, "A pass would stop: %s\n", clean(r.Tripwire))
	}
	switch {
	case r.DryRun:
		b.WriteString("A dry run: nothing was changed.\n")
	case good:
		fmt.Fprintf(&b, "Done (%s) in %s.\n", dash(r.Kind), admin.HowLong(r.Ended.Sub(r.Began)))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

type syncStatusCmd struct {
	JSON bool `name:"json" help:"Print the state as JSON."`
}

func (syncStatusCmd) Help() string {
	return `Examples:

  postern sync status
  postern sync status --json`
}

func (c syncStatusCmd) Run(s *session) error {
	conn, cfg, err := s.control()
	if err != nil {
		return err
	}
	defer conn.Close()
	var raw json.RawMessage
	if err := conn.Call(s.ctx, http.MethodGet, "/api/sync", nil, &raw); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(s.stdout, raw)
	}
	var state admin.SyncState
	if err := json.Unmarshal(raw, &state); err != nil {
		return fmt.Errorf("the gateway's answer cannot be read: %w", err)
	}
	return showState(s.stdout, &state, cfg.Sync.Interval, cfg.Location(), time.Now())
}

// showState prints how the sync stands.
func showState(w io.Writer, state *admin.SyncState, every time.Duration, where *time.Location, now time.Time) error {
	t := table(w)
	ago := func(at time.Time) string {
		if at.IsZero() {
			return "never"
		}
		return fmt.Sprintf("%s (%s ago)", moment(at, where), admin.HowLong(now.Sub(at)))
	}
	fmt.Fprintf(t, "Users from MySQL\t%d\n", state.Users)
	aside := fmt.Sprint(state.Aside)
	if state.Aside > 0 {
		aside += " (" + clean(state.Rejects) + ")"
	}
	fmt.Fprintf(t, "Rows set aside\t%s\n", aside)
	fmt.Fprintf(t, "Last good pass\t%s\n", ago(state.Good))
	if !state.Mark.IsZero() {
		fmt.Fprintf(t, "All is known up to\t%s\n", moment(state.Mark, where))
	}
	if r := state.Last; r != nil {
		became := fmt.Sprintf("%d new, %d changed, %d gone, %d set aside", r.New, r.Changed, r.Gone, r.Bad)
		if r.Error != "" {
			became = "failed"
		}
		fmt.Fprintf(t, "Last pass\t%s, %s: %s\n", r.Kind, ago(r.Began), became)
	}
	switch {
	case state.Running != nil:
		fmt.Fprintf(t, "Running\t%s, %s\n", state.Running.Kind, admin.SyncProgress(state.Running))
	case !state.Next.IsZero():
		fmt.Fprintf(t, "Next pass\t%s\n", moment(state.Next, where))
	default:
		fmt.Fprintf(t, "Next pass\twhen `postern sync` is run\n")
	}
	err := t.Flush()
	say := func(format string, a ...any) {
		_, e := fmt.Fprintf(w, "\n"+format+"\n", a...)
		err = errors.Join(err, e)
	}
	if r := state.Last; r != nil && r.Error != "" {
		say("The last pass ended before its end: %s", clean(r.Error))
	}
	if !state.Loaded && state.Running == nil {
		say("The first load is not done: the next pass goes on where it stopped.")
	}
	if state.Late {
		say("No pass has ended well for more than three intervals (%s): the directory is behind MySQL.", admin.HowLong(every))
	}
	return err
}
