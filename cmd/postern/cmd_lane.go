package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"postern/relay"
)

type laneCmd struct {
	List   laneListCmd   `cmd:"" help:"List the lanes: how each stands, why, and until when."`
	Pause  lanePauseCmd  `cmd:"" help:"Send nothing through a lane until it is resumed."`
	Resume laneResumeCmd `cmd:"" help:"Let a lane send again, or try it at once."`
}

func (laneCmd) Help() string {
	return `A lane is an upstream account. Works while the gateway runs and while it does not: a lane that is paused by hand stays paused over a restart.

Examples:

  postern lane list
  postern lane pause default --reason "moving to another account"
  postern lane resume default`
}

type laneListCmd struct {
	JSON bool `name:"json" help:"Print the lanes as a JSON array."`
}

func (laneListCmd) Help() string {
	return `Examples:

  postern lane list
  postern lane list --json`
}

func (c laneListCmd) Run(s *session) error {
	conn, cfg, err := s.control()
	if err != nil {
		return err
	}
	defer conn.Close()
	var raw json.RawMessage
	if err := conn.Call(s.ctx, http.MethodGet, "/api/lanes", nil, &raw); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(s.stdout, raw)
	}
	var lanes []relay.LaneStatus
	if err := json.Unmarshal(raw, &lanes); err != nil {
		return fmt.Errorf("the gateway's answer cannot be read: %w", err)
	}
	t := table(s.stdout)
	fmt.Fprintln(t, "LANE\tDRIVER\tSTATE\tRATE\tUNTIL")
	for i := range lanes {
		l := &lanes[i]
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", l.Name, l.Driver, l.State, perSecond(l.Rate), moment(l.Until, cfg.Location()))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for i := range lanes {
		err = errors.Join(err, explainLane(s.stdout, &lanes[i]))
	}
	return err
}

// explainLane says in words why a lane is as it is, where there is something to say.
func explainLane(w io.Writer, l *relay.LaneStatus) error {
	var err error
	say := func(words string) {
		if words != "" {
			_, e := fmt.Fprintf(w, "\n%s: %s\n", l.Name, clean(words))
			err = errors.Join(err, e)
		}
	}
	say(l.Reason)
	say(l.Remedy)
	say(l.BulkHeld)
	say(l.BulkWaits)
	say(l.Account)
	if l.Events != "" {
		say("events do not come in: " + l.Events)
	}
	return err
}

// perSecond is a rate for people: one that grows again has many digits.
func perSecond(rate float64) string {
	if rate <= 0 {
		return "-"
	}
	digits := 0
	if rate < 100 {
		digits = 2
	}
	text := strconv.FormatFloat(rate, 'f', digits, 64)
	if digits > 0 {
		text = strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
	}
	return text + "/s"
}

func moment(t time.Time, where *time.Location) string {
	if t.IsZero() {
		return "-"
	}
	return t.In(where).Format(time.DateTime)
}

type lanePauseCmd struct {
	Name   string `arg:"" help:"The lane's name, from lane list."`
	Reason string `help:"Why, for those who ask later." placeholder:"TEXT"`
}

func (lanePauseCmd) Help() string {
	return `Mail is still accepted and waits in the spool. What is being sent at this moment ends as it ends.

Examples:

  postern lane pause default
  postern lane pause default --reason "moving to another account"`
}

func (c lanePauseCmd) Run(s *session) error {
	return changeLane(s, c.Name, "pause", map[string]string{"reason": c.Reason})
}

type laneResumeCmd struct {
	Name string `arg:"" help:"The lane's name, from lane list."`
}

func (laneResumeCmd) Help() string {
	return `Ends a pause made by hand, and the waiting of bulk mail that the breaker has begun. A lane that is paused because of its account or its upstream tries by itself from time to time; this lets it try at once.

Example:

  postern lane resume default`
}

func (c laneResumeCmd) Run(s *session) error { return changeLane(s, c.Name, "resume", nil) }

func changeLane(s *session, name, verb string, body any) error {
	conn, _, err := s.control()
	if err != nil {
		return err
	}
	defer conn.Close()
	var l relay.LaneStatus
	if err := conn.Call(s.ctx, http.MethodPost, "/api/lanes/"+url.PathEscape(name)+"/"+verb, body, &l); err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.stdout, "%s: %s\n", l.Name, l.State)
	return errors.Join(err, explainLane(s.stdout, &l))
}
