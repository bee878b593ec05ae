package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"postern/mail"
)

type queueCmd struct {
	List   queueListCmd   `cmd:"" help:"List the messages, newest first."`
	Show   queueShowCmd   `cmd:"" help:"Show a message and its copies, or one copy as it goes out."`
	Pause  queuePauseCmd  `cmd:"" help:"Stop sending a message."`
	Resume queueResumeCmd `cmd:"" help:"Go on with a paused message, or release a held one."`
	Cancel queueCancelCmd `cmd:"" help:"End a message: what has not been sent never will be."`
	Retry  queueRetryCmd  `cmd:"" help:"Queue the failed and uncertain copies of a message again."`
}

func (queueCmd) Help() string {
	return `Works while the gateway runs and while it does not.

Examples:

  postern queue list
  postern queue show 01JD3QX7M0V8T4B1W8Y9ZK2N5R
  postern queue show 01JD3QX7M0V8T4B1W8Y9ZK2N5R --eml min@example.net > copy.eml
  postern queue retry 01JD3QX7M0V8T4B1W8Y9ZK2N5R --copy min@example.net`
}

// queuedMessage is a message as the control API shows it.
type queuedMessage struct {
	ID         mail.ID           `json:"id"`
	List       string            `json:"list"`
	From       mail.Address      `json:"from"`
	Subject    string            `json:"subject"`
	State      mail.MessageState `json:"state"`
	Reason     string            `json:"reason"`
	AcceptedAt time.Time         `json:"accepted_at"`
	Copies     map[string]int    `json:"copies"`
	Outcomes   map[string]int    `json:"outcomes"`
}

type queuedCopy struct {
	Address    mail.Address `json:"address"`
	State      string       `json:"state"`
	Attempts   int          `json:"attempts"`
	LastError  string       `json:"last_error"`
	UpstreamID string       `json:"upstream_id"`
	Outcome    string       `json:"outcome"`
	Diagnostic string       `json:"diagnostic"`
}

// words are upstream's, or those of the server that has refused it after all.
func (c *queuedCopy) words() string {
	if c.LastError == "" {
		return c.Diagnostic
	}
	return c.LastError
}

type queueListCmd struct {
	JSON bool `name:"json" help:"Print the messages as a JSON array."`
}

func (queueListCmd) Help() string {
	return `Examples:

  postern queue list
  postern queue list --json`
}

func (c queueListCmd) Run(s *session) error {
	conn, cfg, err := s.control()
	if err != nil {
		return err
	}
	defer conn.Close()
	if c.JSON {
		return streamJSON(s, conn, "/api/queue")
	}
	t := &rows{Writer: table(s.stdout), head: "ID\tACCEPTED\tLIST\tFROM\tSTATE\tCOPIES\tSUBJECT\tWHY\n"}
	err = conn.Elements(s.ctx, "/api/queue", nothing, func(element json.RawMessage) error {
		var m queuedMessage
		if err := json.Unmarshal(element, &m); err != nil {
			return fmt.Errorf("the gateway's answer cannot be read: %w", err)
		}
		return t.add("%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", m.ID, m.AcceptedAt.In(cfg.Location()).Format(time.DateTime), dash(m.List),
			dash(string(m.From)), m.State, counts(m.Copies), clean(m.Subject), dash(m.Reason))
	})
	if err == nil && t.n == 0 {
		_, err = fmt.Fprintln(s.stdout, "The queue is empty.")
	}
	return errors.Join(err, t.Flush())
}

type queueShowCmd struct {
	ID   string `arg:"" help:"The message's id, from queue list."`
	JSON bool   `name:"json" help:"Print the message and its copies as JSON." xor:"form"`
	EML  string `name:"eml" help:"Print the copy to this address, as it goes out." placeholder:"ADDRESS" xor:"form"`

	State   string `help:"Only copies in this state: queued, deferred, uncertain, sent, failed, …" placeholder:"STATE"`
	Outcome string `help:"Only copies with this outcome: delivered, soft-bounced, bounced, complained." placeholder:"OUTCOME"`
}

func (queueShowCmd) Help() string {
	return `A copy is shown as it would be made now, without its signature, and with an unsubscribe link that changes nothing.

Examples:

  postern queue show 01JD3QX7M0V8T4B1W8Y9ZK2N5R
  postern queue show 01JD3QX7M0V8T4B1W8Y9ZK2N5R --json
  postern queue show 01JD3QX7M0V8T4B1W8Y9ZK2N5R --outcome bounced
  postern queue show 01JD3QX7M0V8T4B1W8Y9ZK2N5R --eml min@example.net > copy.eml`
}

// query is which copies are asked for.
func (c queueShowCmd) query() string {
	q := url.Values{}
	if c.State != "" {
		q.Set("state", c.State)
	}
	if c.Outcome != "" {
		q.Set("outcome", c.Outcome)
	}
	if len(q) == 0 {
		return ""
	}
	return "?" + q.Encode()
}

func (c queueShowCmd) Run(s *session) error {
	path, err := messagePath(c.ID)
	if err != nil {
		return err
	}
	conn, cfg, err := s.control()
	if err != nil {
		return err
	}
	defer conn.Close()
	switch {
	case c.EML != "":
		return c.eml(s, conn, path)
	case c.JSON:
		return streamJSON(s, conn, path+c.query())
	}
	t := &rows{Writer: table(s.stdout), head: "TO\tSTATE\tOUTCOME\tATTEMPTS\tUPSTREAM ID\tLAST ERROR\n"}
	head := func(text json.RawMessage) error {
		var m queuedMessage
		if err := json.Unmarshal(text, &m); err != nil {
			return fmt.Errorf("the gateway's answer cannot be read: %w", err)
		}
		return m.print(s.stdout, cfg.Location())
	}
	err = conn.Elements(s.ctx, path+c.query(), head, func(element json.RawMessage) error {
		var r queuedCopy
		if err := json.Unmarshal(element, &r); err != nil {
			return fmt.Errorf("the gateway's answer cannot be read: %w", err)
		}
		return t.add("%s\t%s\t%s\t%d\t%s\t%s\n", clean(string(r.Address)), r.State, dash(r.Outcome), r.Attempts, dash(r.UpstreamID), dash(r.words()))
	})
	return errors.Join(err, t.Flush())
}

// print shows what is above the table of copies.
func (m *queuedMessage) print(w io.Writer, where *time.Location) error {
	t := table(w)
	fmt.Fprintf(t, "Message\t%s\nSubject\t%s\nFrom\t%s\nList\t%s\nAccepted\t%s\nState\t%s\nCopies\t%s\n", m.ID, clean(m.Subject),
		dash(string(m.From)), dash(m.List), m.AcceptedAt.In(where).Format(time.DateTime), m.State, counts(m.Copies))
	if len(m.Outcomes) > 0 {
		fmt.Fprintf(t, "Outcomes\t%s\n", outcomes(m.Outcomes))
	}
	if m.Reason != "" {
		fmt.Fprintf(t, "Why\t%s\n", clean(m.Reason))
	}
	fmt.Fprintln(t)
	return t.Flush()
}

func (c queueShowCmd) eml(s *session, conn *Connection, path string) error {
	if _, err := mail.ParseAddress(c.EML); err != nil {
		return err
	}
	text, err := conn.Request(s.ctx, http.MethodGet, path+"/eml?to="+url.QueryEscape(c.EML), "", nil)
	if err != nil {
		return err
	}
	defer text.Close()
	if _, err := io.Copy(s.stdout, text); err != nil {
		return fmt.Errorf("the copy could not be printed wholly: %w", err)
	}
	return nil
}

type queuePauseCmd struct {
	ID string `arg:"" help:"The message's id."`
}

func (queuePauseCmd) Help() string {
	return `Nothing more of it is sent until it is resumed; what is being sent at this moment ends as it ends.

Example:

  postern queue pause 01JD3QX7M0V8T4B1W8Y9ZK2N5R`
}

func (c queuePauseCmd) Run(s *session) error { return changeMessage(s, c.ID, "pause", nil) }

type queueResumeCmd struct {
	ID string `arg:"" help:"The message's id."`
}

func (queueResumeCmd) Help() string {
	return `A held message is released: the directory is asked again who is subscribed.

Example:

  postern queue resume 01JD3QX7M0V8T4B1W8Y9ZK2N5R`
}

func (c queueResumeCmd) Run(s *session) error { return changeMessage(s, c.ID, "resume", nil) }

type queueCancelCmd struct {
	ID string `arg:"" help:"The message's id."`
}

func (queueCancelCmd) Help() string {
	return `Example:

  postern queue cancel 01JD3QX7M0V8T4B1W8Y9ZK2N5R`
}

func (c queueCancelCmd) Run(s *session) error { return changeMessage(s, c.ID, "cancel", nil) }

type queueRetryCmd struct {
	ID     string `arg:"" help:"The message's id."`
	Failed bool   `help:"Only failed copies, and not uncertain ones: those may have been sent." xor:"which"`
	Copy   string `help:"Only the copy to this address." placeholder:"ADDRESS" aliases:"to" xor:"which"`
}

func (queueRetryCmd) Help() string {
	return `Sends only to those who missed it: copies that were sent are never sent again. With --copy a copy that was cancelled, suppressed or unsubscribed is queued again too, and is asked about again before it leaves.

Examples:

  postern queue retry 01JD3QX7M0V8T4B1W8Y9ZK2N5R
  postern queue retry 01JD3QX7M0V8T4B1W8Y9ZK2N5R --failed
  postern queue retry 01JD3QX7M0V8T4B1W8Y9ZK2N5R --copy min@example.net`
}

func (c queueRetryCmd) Run(s *session) error {
	switch {
	case c.Failed:
		return changeMessage(s, c.ID, "retry", map[string]bool{"failed": true})
	case c.Copy == "":
		return changeMessage(s, c.ID, "retry", nil)
	}
	if _, err := mail.ParseAddress(c.Copy); err != nil {
		return err
	}
	return changeMessage(s, c.ID, "retry", map[string]string{"copy": c.Copy})
}

func changeMessage(s *session, id, verb string, body any) error {
	path, err := messagePath(id)
	if err != nil {
		return err
	}
	conn, _, err := s.control()
	if err != nil {
		return err
	}
	defer conn.Close()
	var now struct {
		ID     mail.ID           `json:"id"`
		State  mail.MessageState `json:"state"`
		Copies int               `json:"copies"`
	}
	if err := conn.Call(s.ctx, http.MethodPost, path+"/"+verb, body, &now); err != nil {
		return err
	}
	if verb == "retry" {
		_, err = fmt.Fprintf(s.stdout, "%s: %d %s queued again\n", now.ID, now.Copies, plural(now.Copies, "copy", "copies"))
		return err
	}
	_, err = fmt.Fprintf(s.stdout, "%s: %s\n", now.ID, now.State)
	return err
}

func messagePath(id string) (string, error) {
	parsed, err := mail.ParseID(id)
	return "/api/queue/" + string(parsed), err
}

// streamJSON prints an answer as it comes, indented. Half of one is not valid
// JSON, so that nobody takes it for the whole.
func streamJSON(s *session, conn *Connection, path string) error {
	w := bufio.NewWriter(s.stdout)
	var line bytes.Buffer
	margin, end, n := "  ", "]\n", 0
	head := func(members json.RawMessage) error {
		if len(members) <= len("{}") {
			return w.WriteByte('[')
		}
		margin, end = "    ", "]\n}\n"
		if err := json.Indent(&line, members, "", "  "); err != nil {
			return errors.New("the gateway's answer is not JSON")
		}
		_, err := fmt.Fprintf(w, "%s,\n  \"recipients\": [", strings.TrimSuffix(line.String(), "\n}"))
		return err
	}
	err := conn.Elements(s.ctx, path, head, func(element json.RawMessage) error {
		line.Reset()
		if n++; n > 1 {
			line.WriteByte(',')
		}
		line.WriteString("\n" + margin)
		if err := json.Indent(&line, element, margin, "  "); err != nil {
			return errors.New("the gateway's answer is not JSON")
		}
		_, err := line.WriteTo(w)
		return err
	})
	if err != nil {
		return errors.Join(err, w.Flush())
	}
	if n > 0 {
		end = "\n" + margin[2:] + end
	}
	_, err = w.WriteString(end)
	return errors.Join(err, w.Flush())
}

func nothing(json.RawMessage) error { return nil }

func printJSON(w io.Writer, v json.RawMessage) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return errors.New("the gateway's answer is not JSON")
	}
	_, err = fmt.Fprintf(w, "%s\n", text)
	return err
}

// counts is "198 sent, 2 failed" in the order of a copy's way.
func counts(copies map[string]int) string {
	var words []string
	left := maps.Clone(copies)
	for s := range mail.NumStates {
		name := mail.State(s).String()
		if n := left[name]; n > 0 {
			words = append(words, fmt.Sprintf("%d %s", n, name))
		}
		delete(left, name)
	}
	for _, name := range slices.Sorted(maps.Keys(left)) {
		words = append(words, fmt.Sprintf("%d %s", left[name], name))
	}
	return dash(strings.Join(words, ", "))
}

// outcomes is "190 delivered, 3 bounced" in order of precedence.
func outcomes(o map[string]int) string {
	var words []string
	for i := range mail.NumOutcomes {
		if n := o[mail.Outcome(i).String()]; n > 0 {
			words = append(words, fmt.Sprintf("%d %s", n, mail.Outcome(i)))
		}
	}
	return strings.Join(words, ", ")
}

// rows writes a table of any length: it is aligned a thousand rows at a time,
// because what is aligned is held in memory.
type rows struct {
	*tabwriter.Writer
	head string // printed before the first row
	n    int
}

func (t *rows) add(format string, a ...any) error {
	if t.n == 0 {
		fmt.Fprint(t, t.head)
	}
	t.n++
	_, err := fmt.Fprintf(t, format, a...)
	if t.n%1000 == 0 {
		err = errors.Join(err, t.Flush())
	}
	return err
}

func table(w io.Writer) *tabwriter.Writer { return tabwriter.NewWriter(w, 0, 8, 2, ' ', 0) }

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return clean(s)
}

// clean keeps what strangers wrote from moving a terminal's cursor or breaking
// a row.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || 0x7f <= r && r < 0xa0 || 0x200b <= r && r <= 0x200f || 0x2028 <= r && r <= 0x202e || 0x2066 <= r && r <= 0x2069 {
			return ' '
		}
		return r
	}, s)
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}
