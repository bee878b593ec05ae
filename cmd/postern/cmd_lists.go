package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"postern/admin"
)

type listsCmd struct {
	List   listsListCmd   `cmd:"" help:"List the configured lists."`
	Count  listsCountCmd  `cmd:"" help:"Count who would get a mail to a list now, and who not, and why."`
	Sample listsSampleCmd `cmd:"" help:"Show some of those who would get a mail to a list, or why one would not."`
}

func (listsCmd) Help() string {
	return `A list is a [[list]] of the configuration: an address, and a filter over the fields of the users.

Examples:

  postern lists list
  postern lists count women
  postern lists sample women -n 3
  postern lists sample women --why min@example.net`
}

type listsListCmd struct {
	JSON bool `name:"json" help:"Print the lists as a JSON array."`
}

func (listsListCmd) Help() string {
	return `Examples:

  postern lists list
  postern lists list --json`
}

func (c listsListCmd) Run(s *session) error {
	conn, _, err := s.control()
	if err != nil {
		return err
	}
	defer conn.Close()
	var raw json.RawMessage
	if err := conn.Call(s.ctx, http.MethodGet, "/api/lists", nil, &raw); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(s.stdout, raw)
	}
	var lists []admin.List
	if err := json.Unmarshal(raw, &lists); err != nil {
		return fmt.Errorf("the gateway's answer cannot be read: %w", err)
	}
	if len(lists) == 0 {
		_, err := fmt.Fprintln(s.stdout, "There are no lists.")
		return err
	}
	t := table(s.stdout)
	fmt.Fprintln(t, "ID\tADDRESS\tNAME\tOWNER\tLANE\tTEMPLATE\tLANGUAGE\tFILTER")
	for _, l := range lists {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", l.ID, clean(string(l.Address)), dash(l.Name), dash(string(l.Owner)), dash(l.Lane),
			dash(l.Template), dash(l.Language), dash(strings.TrimSpace(l.Filter)))
	}
	return t.Flush()
}

type listsCountCmd struct {
	List string `arg:"" help:"The list's id or address."`
	JSON bool   `name:"json" help:"Print the counts as one JSON object."`
}

func (listsCountCmd) Help() string {
	return `Reads the whole directory and decides of each user as a mail that is accepted now would: subscribed, not left, not suppressed, chosen by the list's filter, once for an address. What a mail asks for with a placeholder is not looked at: who lacks that is skipped, or the mail is held.

Examples:

  postern lists count women
  postern lists count women --json`
}

func (c listsCountCmd) Run(s *session) error {
	conn, cfg, err := s.control()
	if err != nil {
		return err
	}
	defer conn.Close()
	l, err := cfg.listCalled(c.List)
	if err != nil {
		return err
	}
	last, err := listLines(s, conn, listPath(l, "/count"))
	if err != nil {
		return err
	}
	if c.JSON {
		return printAsJSON(s.stdout, last.Count)
	}
	return printCount(s.stdout, last.Count)
}

func listPath(l *ListConfig, what string) string { return "/api/lists/" + url.PathEscape(l.ID) + what }

func printAsJSON(w io.Writer, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("the answer cannot be printed: %w", err)
	}
	return printJSON(w, text)
}

// listLine is a line of the API's answer.
type listLine struct {
	Done   bool              `json:"done"`
	Count  *admin.ListCount  `json:"count"`
	Sample []json.RawMessage `json:"sample"`
}

// listLines shows how far it is and gives the last line.
func listLines(s *session, conn *Connection, path string) (last listLine, err error) {
	shown := newPatientProgress(s.stderr)
	err = conn.Lines(s.ctx, http.MethodGet, path, "", nil, func(line json.RawMessage) error {
		last = listLine{}
		if err := json.Unmarshal(line, &last); err != nil {
			return fmt.Errorf("the gateway's answer cannot be read: %w", err)
		}
		if last.Count != nil {
			shown.show("%d users read, %d would get a mail", last.Count.Users, last.Count.Receives)
		}
		return nil
	})
	shown.clear()
	if err == nil && (!last.Done || last.Count == nil) {
		err = errors.New("the count broke off before its end")
	}
	return last, err
}

func printCount(w io.Writer, n *admin.ListCount) error {
	t := table(w)
	line := func(always bool, count int, words string) {
		if always || count > 0 {
			fmt.Fprintf(t, "%d\t%s\n", count, words)
		}
	}
	line(true, n.Users, plural(n.Users, "user", "users")+" in the directory")
	unknown := ""
	if n.Unknown > 0 {
		unknown = fmt.Sprintf(" (of %d nothing that is understood says whether they are)", n.Unknown)
	}
	line(true, n.NotSubscribed, "not subscribed"+unknown)
	line(true, n.Left, "left the list, or all lists")
	line(true, n.Suppressed, "suppressed: the address gets no mail")
	line(false, n.NoAddress, "whose Email is no mail address")
	line(true, n.NotChosen, "not chosen by the filter")
	line(false, n.NotJudged, "of whom the filter cannot say it: they would be skipped")
	line(false, n.Repeated, "in the directory once more, in another spelling of the same address")
	line(true, n.Receives, "would get a mail now")
	if err := t.Flush(); err != nil {
		return err
	}
	for _, field := range slices.Sorted(maps.Keys(n.Lacking)) {
		if _, err := fmt.Fprintf(w, "%s: %d of those at whom the filter looked %s nothing there that it can use; it counts as 0, false or the empty text.\n",
			clean(field), n.Lacking[field], plural(n.Lacking[field], "has", "have")); err != nil {
			return err
		}
	}
	return nil
}

type listsSampleCmd struct {
	List   string `arg:"" help:"The list's id or address."`
	Number int    `short:"n" help:"At most this many users, up to 1000." default:"5" placeholder:"N"`
	Why    string `help:"Only say of this one whether they would get a mail, and why not." placeholder:"EMAIL"`
	JSON   bool   `name:"json" help:"Print the users as a JSON array; with --why, one JSON object."`
}

func (listsSampleCmd) Help() string {
	return `Reads the whole directory and shows users at random of all who would get a mail to the list now, as they are stored.

With --why one person is looked up, and what is shown is everything that decides: subscribed, left, suppressed, and what the filter looks at.

Examples:

  postern lists sample women
  postern lists sample women -n 20 --json
  postern lists sample women --why min@example.net`
}

func (c listsSampleCmd) Run(s *session) error {
	if c.Number < 1 || c.Number > 1000 {
		return usageError("-n is a number from 1 to 1000")
	}
	conn, cfg, err := s.control()
	if err != nil {
		return err
	}
	defer conn.Close()
	l, err := cfg.listCalled(c.List)
	if err != nil {
		return err
	}
	if c.Why != "" {
		return c.why(s, conn, l)
	}
	last, err := listLines(s, conn, listPath(l, "/sample?n="+strconv.Itoa(c.Number)))
	if err != nil {
		return err
	}
	if c.JSON {
		return printAsJSON(s.stdout, append([]json.RawMessage{}, last.Sample...))
	}
	t := &rows{Writer: table(s.stdout), head: "EMAIL\tATTRIBUTES\n"}
	for _, line := range last.Sample {
		user, err := readUser(line)
		if err != nil {
			return err
		}
		var rest []string
		for _, key := range restOf(user) {
			rest = append(rest, clean(key)+"="+valueText(user[key]))
		}
		if err := t.add("%s\t%s\n", valueText(user["Email"]), strings.Join(rest, " ")); err != nil {
			return err
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.stdout, "%d of %d who would get a mail to %s now\n", len(last.Sample), last.Count.Receives, l.ID)
	return err
}

// why says of one person whether they would get a mail.
func (c listsSampleCmd) why(s *session, conn *Connection, l *ListConfig) error {
	var raw json.RawMessage
	if err := conn.Call(s.ctx, http.MethodGet, listPath(l, "/why/"+url.PathEscape(c.Why)), nil, &raw); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(s.stdout, raw)
	}
	var r admin.ListReason
	if err := json.Unmarshal(raw, &r); err != nil {
		return fmt.Errorf("the gateway's answer cannot be read: %w", err)
	}
	return printReason(s.stdout, &r, l)
}

func printReason(w io.Writer, r *admin.ListReason, l *ListConfig) error {
	said := fmt.Sprintf("%s would get a mail to %s now.", r.Address, l.ID)
	if !r.Receives {
		said = fmt.Sprintf("%s would get no mail to %s: %s.", r.Address, l.ID, strings.TrimRight(r.Why, "."))
	}
	if _, err := fmt.Fprintln(w, clean(said)); err != nil {
		return err
	}
	t := table(w)
	if r.InDirectory {
		fmt.Fprintf(t, "Subscribed\t%v\n", r.Subscribed)
	}
	fmt.Fprintf(t, "Left\t%s\nSuppressed\t%s\n", dash(strings.Join(r.Left, ", ")), dash(r.Suppressed))
	if filter := strings.TrimSpace(l.Filter); filter != "" && r.InDirectory {
		fmt.Fprintf(t, "Filter\t%s\nChosen\t%v\n", clean(filter), r.Chosen)
		for _, field := range slices.Sorted(maps.Keys(r.Fields)) {
			note := ""
			if slices.Contains(r.Lacking, field) {
				note = " (counts as 0, false or the empty text)"
			}
			fmt.Fprintf(t, "%s\t%s%s\n", clean(field), dash(r.Fields[field]), note)
		}
	}
	return t.Flush()
}
