package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"postern/admin"
)

type consentCmd struct {
	Due consentDueCmd `cmd:"" help:"List who is to be reminded of a consent, and write to them."`
}

func (consentCmd) Help() string {
	return `Examples:

  postern consent due
  postern consent due --send`
}

type consentDueCmd struct {
	Send  bool `help:"Write the reminders."`
	Limit int  `help:"With --send: at most this many letters in this run; 0 is as many as one run may write." default:"0" placeholder:"N"`
	JSON  bool `name:"json" help:"Print a JSON object a line; with --send, the result as JSON."`
}

func (consentDueCmd) Help() string {
	return `Korean law wants whoever gets advertising to be reminded every two years of what they agreed to (lists with advertising = true). Listed are those whose consent, or last reminder, is 23 months old or older: by the ledger, else by the attribute that consent_field of [optout] names. Nothing changes for whoever does not answer.

With --send they are written to, one letter for all lists of a company, as bulk mail at the pace of its lane; nobody is written to twice, however often it is run. A timer that runs it once a day is enough. The whole directory is read.

Examples:

  postern consent due
  postern consent due --json
  postern consent due --send --limit 5000`
}

// due is a line of the API's answer.
type due struct {
	Person json.RawMessage `json:"person"`
	Done   bool            `json:"done"`
	Tally  *admin.DueTally `json:"tally"`
}

func (c consentDueCmd) Run(s *session) error {
	if c.Limit != 0 && !c.Send {
		return usageError("--limit is for --send: without it nothing is written")
	}
	conn, cfg, err := s.control()
	if err != nil {
		return err
	}
	defer conn.Close()
	if c.Send {
		return c.send(s, conn)
	}
	t := &rows{Writer: table(s.stdout), head: "ADDRESS\tSENDER\tAGREED TO\tUNTIL\n"}
	last, err := dueLines(s, conn, http.MethodGet, "/api/consent/due", func(text json.RawMessage) error {
		if c.JSON {
			_, err := fmt.Fprintf(s.stdout, "%s\n", text)
			return err
		}
		var p admin.ConsentDue
		if err := json.Unmarshal(text, &p); err != nil {
			return fmt.Errorf("the gateway's answer cannot be read: %w", err)
		}
		var to []string
		for _, one := range p.Consents {
			to = append(to, one.List+" on "+one.At.In(cfg.Location()).Format(time.DateOnly))
		}
		return t.add("%s\t%s\t%s\t%s\n", clean(string(p.User)), dash(p.Company), clean(strings.Join(to, ", ")), p.Until.In(cfg.Location()).Format(time.DateOnly))
	})
	if err = errors.Join(t.Flush(), err); err != nil || c.JSON {
		return err
	}
	text := fmt.Sprintf("%d to be reminded, of %d %s", last.Due, last.Users, plural(last.Users, "user", "users"))
	if last.Unknown > 0 {
		text += fmt.Sprintf("; of %d who get advertising nobody knows when they agreed", last.Unknown)
	}
	_, err = fmt.Fprintln(s.stdout, text)
	return err
}

func (c consentDueCmd) send(s *session, conn *Connection) error {
	path := "/api/consent/remind"
	if c.Limit > 0 {
		path += "?limit=" + strconv.Itoa(c.Limit)
	}
	last, err := dueLines(s, conn, http.MethodPost, path, func(json.RawMessage) error { return nil })
	if err != nil {
		return fmt.Errorf("%w (after %d %s; running it again is safe)", err, last.Sent, plural(last.Sent, "reminder", "reminders"))
	}
	if c.JSON {
		text, err := json.Marshal(last)
		if err != nil {
			return err
		}
		return printJSON(s.stdout, text)
	}
	text := fmt.Sprintf("%d %s accepted for sending", last.Sent, plural(last.Sent, "reminder", "reminders"))
	if last.More {
		text += "; there may be more: run it again"
	}
	_, err = fmt.Fprintln(s.stdout, text)
	return err
}

// dueLines reads the answer to its end.
func dueLines(s *session, conn *Connection, method, path string, each func(json.RawMessage) error) (last admin.DueTally, err error) {
	shown, done := newPatientProgress(s.stderr), false
	err = conn.Lines(s.ctx, method, path, "", nil, func(line json.RawMessage) error {
		var d due
		if err := json.Unmarshal(line, &d); err != nil {
			return fmt.Errorf("the gateway's answer cannot be read: %w", err)
		}
		if done = d.Done; d.Tally != nil {
			last = *d.Tally
			shown.show("%d users read, %d to be reminded, %d written to", last.Users, last.Due, last.Sent)
		}
		if len(d.Person) > 0 {
			shown.clear()
			return each(d.Person)
		}
		return nil
	})
	shown.clear()
	if err == nil && !done {
		err = errors.New("the search broke off before its end")
	}
	return last, err
}
