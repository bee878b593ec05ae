package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"postern/smtpd/dialogue"
)

type sessionsCmd struct {
	Address string `arg:"" optional:"" help:"The client's IP address, or a network such as 10.0.0.0/24: show whole dialogues."`
	Failed  bool   `help:"Only sessions in which something was refused or broke."`
	JSON    bool   `name:"json" help:"Print the sessions, with their dialogues, as a JSON array."`
}

func (sessionsCmd) Help() string {
	return `Answers "why can the scanner at 10.0.0.17 not send?": for each session the likely cause in words, TLS, the log-in and what was said. Passwords and mail are never kept, and a restart forgets everything. Of each address the last four sessions are kept.

Examples:

  postern sessions
  postern sessions --failed
  postern sessions 10.0.0.17
  postern sessions 10.0.0.0/24 --failed --json`
}

func (c sessionsCmd) Run(s *session) error {
	query, err := c.query()
	if err != nil {
		return err
	}
	conn, cfg, err := s.control()
	if err != nil {
		return err
	}
	defer conn.Close()
	path := "/api/sessions?" + query.Encode()
	if c.JSON {
		return streamJSON(s, conn, path)
	}
	n := 0
	t := &rows{Writer: table(s.stdout), head: "WHEN\tCLIENT\tHELO\tUSER\tTLS\tRESULT\tWHY\n"}
	err = conn.Elements(s.ctx, path, nothing, func(element json.RawMessage) error {
		var d dialogue.Session
		if err := json.Unmarshal(element, &d); err != nil {
			return fmt.Errorf("the gateway's answer cannot be read: %w", err)
		}
		n++
		if c.Address == "" {
			return addSession(t, d, cfg.Location())
		}
		return printSession(s.stdout, d, cfg.Location())
	})
	if err == nil && n == 0 {
		_, err = fmt.Fprintln(s.stdout, c.none())
	}
	return errors.Join(err, t.Flush())
}

// query also finds what is no address before anybody is asked.
func (c sessionsCmd) query() (url.Values, error) {
	q := url.Values{}
	if c.Failed {
		q.Set("failed", "true")
	}
	if c.Address == "" {
		return q, nil
	}
	_, err := netip.ParseAddr(c.Address)
	if err != nil {
		_, err = netip.ParsePrefix(c.Address)
	}
	if err != nil {
		return nil, fmt.Errorf("%q is no IP address, such as 10.0.0.17, and no network, such as 10.0.0.0/24", c.Address)
	}
	q.Set("address", c.Address)
	return q, nil
}

func (c sessionsCmd) none() string {
	text := "No session"
	if c.Failed {
		text = "No failed session"
	}
	if c.Address != "" {
		text += " from " + c.Address
	}
	return text + " is remembered since the gateway started. If a device has tried, it did not reach the gateway: check its server and port, and firewalls on the way."
}

// addSession is one row; the cause ends at its first sentence.
func addSession(t *rows, d dialogue.Session, where *time.Location) error {
	cause, _, more := strings.Cut(d.Cause, ". ")
	if more {
		cause += "."
	}
	result := string(d.Outcome)
	if d.Times > 1 {
		result = fmt.Sprintf("%s, %d times", result, d.Times)
	}
	return t.add("%s\t%s\t%s\t%s\t%s\t%s\t%s\n", d.Began.In(where).Format(time.DateTime), dash(d.Remote), dash(d.Helo), dash(d.Auth.User),
		dash(inShort(d.TLS)), result, dash(cause))
}

func inShort(t dialogue.TLS) string {
	if t.Version == "" && t.Failed != "" {
		return "failed"
	}
	return t.Version
}

// printSession shows all of one.
func printSession(w io.Writer, d dialogue.Session, where *time.Location) error {
	t := table(w)
	fmt.Fprintf(t, "Session\t%s, from %s to %s\n", d.ID, dash(d.Remote), d.Listener)
	fmt.Fprintf(t, "When\t%s%s\n", d.Began.In(where).Format(time.DateTime), times(d))
	fmt.Fprintf(t, "Result\t%s (%s)\n", d.Outcome, d.Reason)
	fmt.Fprintf(t, "HELO\t%s\n", dash(d.Helo))
	fmt.Fprintf(t, "TLS\t%s\n", dash(clean(strings.Join(words(d.TLS.Version, d.TLS.Cipher, prefixed("asked for ", d.TLS.ServerName), prefixed("failed: ", d.TLS.Failed)), ", "))))
	fmt.Fprintf(t, "Log-in\t%s\n", dash(clean(login(d.Auth))))
	fmt.Fprintf(t, "Mails\t%s\n", strings.Join(words(fmt.Sprintf("%d taken", d.Accepted), clean(strings.Join(d.Mails, " "))), ": "))
	return errors.Join(t.Flush(), printDialogue(w, d))
}

func printDialogue(w io.Writer, d dialogue.Session) error {
	_, err := fmt.Fprintf(w, "\n%s\n\n", clean(d.Cause))
	t := tabwriter.NewWriter(w, 0, 8, 1, ' ', tabwriter.AlignRight|tabwriter.DiscardEmptyColumns)
	for _, l := range d.Lines {
		who := map[string]string{"client": "C:", "server": "S:"}[l.Who]
		fmt.Fprintf(t, "%d ms\t %s\t %s\n", l.At, who, clean(l.Text))
	}
	fmt.Fprintln(t)
	return errors.Join(err, t.Flush())
}

func times(d dialogue.Session) string {
	if d.Times > 1 {
		return fmt.Sprintf(" (the last of %d that ended like this)", d.Times)
	}
	return ""
}

func login(a dialogue.Auth) string {
	if a.Mechanism == "" {
		return ""
	}
	outcome := "failed"
	if a.OK {
		outcome = "went well"
	}
	return strings.Join(words(a.Mechanism, prefixed("as ", a.User)), " ") + ": " + outcome
}

func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}

// words are those that are not empty.
func words(all ...string) []string {
	var some []string
	for _, w := range all {
		if w != "" {
			some = append(some, w)
		}
	}
	return some
}
