package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

type usersCheckCmd struct {
	List   []string `help:"Count who gets the mail of this list, its filter aside. May come again." placeholder:"ID" sep:"none"`
	Fix    bool     `help:"Bring to its form what is beyond doubt: \"true\" becomes true, name becomes Name."`
	DryRun bool     `help:"With --fix: write nothing, and say what would be."`
	JSON   bool     `name:"json" help:"Print the result as JSON."`
}

func (usersCheckCmd) Help() string {
	return `Reads the whole directory. A table of an older system has subscriptions as texts or numbers, names in small letters and attributes of other types; they are read as they are, and who is not understood is not subscribed. This shows them, and addresses to which nothing can be sent or which are there twice. docs/users.md explains each.

Nothing is written without --fix, which changes nobody's subscription and leaves alone what is not understood. The exit code is 1 when something is odd, after fixing what could be.

Examples:

  postern users check
  postern users check --list promo
  postern users check --fix --dry-run
  postern users check --json`
}

// oddity is something odd, or mended, of some users.
type oddity struct {
	What string `json:"what"`
	some
}

// checkedUsers is a line of the check's answer.
type checkedUsers struct {
	Done         bool           `json:"done"`
	DryRun       bool           `json:"dry_run"`
	Users        int            `json:"users"`
	Subscribed   int            `json:"subscribed"`
	Unsubscribed int            `json:"unsubscribed"`
	Unknown      int            `json:"unknown"`
	LeftAll      int            `json:"left_all"`
	Suppressed   int            `json:"suppressed"`
	Lists        map[string]int `json:"lists"`
	Missing      map[string]int `json:"missing"`
	Odd          int            `json:"odd"`
	Oddities     []oddity       `json:"oddities"`
	Mended       []oddity       `json:"mended"`
}

func (c usersCheckCmd) Run(s *session) error {
	if c.DryRun && !c.Fix {
		return usageError("--dry-run is for --fix: without that nothing is written anyway")
	}
	q := url.Values{"list": c.List}
	for name, on := range map[string]bool{"mend": c.Fix, "dry_run": c.DryRun} {
		if on {
			q.Set(name, "true")
		}
	}
	conn, _, err := s.control()
	if err != nil {
		return err
	}
	defer conn.Close()
	shown := newPatientProgress(s.stderr)
	var last checkedUsers
	var text json.RawMessage
	err = conn.Lines(s.ctx, http.MethodPost, "/api/users/check?"+q.Encode(), "", nil, func(line json.RawMessage) error {
		last, text = checkedUsers{}, line
		if err := json.Unmarshal(line, &last); err != nil {
			return fmt.Errorf("the gateway's answer cannot be read: %w", err)
		}
		if !last.Done {
			shown.show("%d users read, %d odd", last.Users, last.Odd)
		}
		return nil
	})
	shown.clear()
	if err != nil && last.Users > 0 {
		return fmt.Errorf("%w (after %d users)", err, last.Users)
	}
	if err != nil {
		return err
	}
	if !last.Done {
		return fmt.Errorf("the check broke off after %d users", last.Users)
	}
	if c.JSON {
		err = printJSON(s.stdout, text)
	} else {
		err = last.print(s)
	}
	return errors.Join(err, last.problem(c.Fix))
}

func (u *checkedUsers) print(s *session) error {
	out := s.stdout
	fmt.Fprintf(out, "%d %s: %d subscribed, %d not, %d unknown and so not subscribed\n", u.Users, plural(u.Users, "user", "users"), u.Subscribed, u.Unsubscribed, u.Unknown)
	if u.LeftAll+u.Suppressed > 0 {
		fmt.Fprintf(out, "Of the subscribed %d have left all lists, and the addresses of %d are suppressed.\n", u.LeftAll, u.Suppressed)
	}
	for _, id := range slices.Sorted(maps.Keys(u.Lists)) {
		fmt.Fprintf(out, "List %s: %d get its mail, its filter aside.\n", id, u.Lists[id])
	}
	var missing []string
	for _, name := range slices.Sorted(maps.Keys(u.Missing)) {
		missing = append(missing, fmt.Sprintf("%s of %d", clean(name), u.Missing[name]))
	}
	if len(missing) > 0 {
		fmt.Fprintf(out, "Missing or empty: %s.\n", strings.Join(missing, ", "))
	}
	mended := "MENDED"
	if u.DryRun {
		mended = "WOULD BE MENDED"
	}
	for _, part := range []struct {
		head string
		rows []oddity
	}{{mended, u.Mended}, {"ODD", u.Oddities}} {
		t := &rows{Writer: table(out), head: "\nUSERS\t" + part.head + "\tSUCH AS\n"}
		for _, o := range part.rows {
			if err := t.add("%d\t%s\t%s\n", o.Count, clean(o.What), strings.Trim(o.such(), " ()")); err != nil {
				return err
			}
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	if u.Odd > 0 {
		return nil
	}
	_, err := fmt.Fprintln(out, "Nothing is odd.")
	return err
}

func (u *checkedUsers) problem(fixed bool) error {
	if u.Odd == 0 {
		return nil
	}
	text := fmt.Sprintf("%d %s odd: docs/users.md says what each means", u.Odd, plural(u.Odd, "user is", "users are"))
	if !fixed {
		text += "; `postern users check --fix` mends what is beyond doubt"
	}
	return errors.New(text)
}
