package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"postern/mail"
	"postern/spool"
)

// step is how many rows are read from the spool at once: what one answer keeps
// in memory, and how long it keeps a read transaction open.
const step = 500

// message is a message as the API shows it.
type message struct {
	ID         mail.ID           `json:"id"`
	List       string            `json:"list"` // "" for ordinary mail
	From       mail.Address      `json:"from"`
	Subject    string            `json:"subject"`
	State      mail.MessageState `json:"state"`
	Reason     string            `json:"reason"`
	AcceptedAt time.Time         `json:"accepted_at"`
	Copies     map[string]int    `json:"copies"`
	Outcomes   map[string]int    `json:"outcomes,omitempty"` // of copies that were sent: delivered, bounced, …
	Forecast   *mail.Forecast    `json:"forecast,omitempty"` // while the message cannot be out today
	Notice     mail.Notice       `json:"notice,omitempty"`   // of ours: failed, delayed, operator, postmaster, …
	About      mail.ID           `json:"about,omitempty"`    // the message that a notice tells of
}

func shown(s *spool.Summary) message {
	return message{ID: s.ID, List: s.ListID(), From: s.From, Subject: s.Subject, State: s.State, Reason: s.Reason, AcceptedAt: s.AcceptedAt.UTC(),
		Copies: named(s.Counts), Outcomes: outcomes(s.Outcomes), Forecast: s.Forecast, Notice: s.Notice, About: s.About}
}

// named leaves out the states that no copy is in, except the two that everybody
// looks for.
func named(c mail.Counts) map[string]int {
	m := make(map[string]int)
	for i, n := range c {
		if s := mail.State(i); n != 0 || s == mail.Queued || s == mail.Sent {
			m[s.String()] = n
		}
	}
	return m
}

// outcomes are those that some copy has; nil: events have told of none.
func outcomes(o mail.Outcomes) map[string]int {
	var m map[string]int
	for i, n := range o {
		if n != 0 {
			if m == nil {
				m = make(map[string]int)
			}
			m[mail.Outcome(i).String()] = n
		}
	}
	return m
}

// recipient is a copy as the API shows it.
type recipient struct {
	Address    mail.Address `json:"address"`
	State      mail.State   `json:"state"`
	Attempts   int          `json:"attempts"`
	LastError  string       `json:"last_error"`
	UpstreamID string       `json:"upstream_id"`
	Outcome    mail.Outcome `json:"outcome,omitempty"` // from events: delivered, soft-bounced, bounced, complained
	OutcomeAt  time.Time    `json:"outcome_at,omitzero"`
	Diagnostic string       `json:"diagnostic,omitempty"` // the receiving server's words
	Due        time.Time    `json:"due,omitzero"`         // when it is tried next
	Seq        uint32       `json:"seq"`                  // for ?after=
}

func shownCopy(c *mail.Copy) recipient {
	r := recipient{Address: c.To, State: c.State, Attempts: c.Attempts, LastError: c.LastError, UpstreamID: c.UpstreamID,
		Outcome: c.Outcome, Diagnostic: c.OutcomeWords, Due: c.Due.UTC(), Seq: c.Seq}
	if !c.OutcomeAt.IsZero() {
		r.OutcomeAt = c.OutcomeAt.UTC()
	}
	return r
}

// listQueue is GET /api/queue?limit=&before=: the newest first.
func (a *API) listQueue(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	limit, err := number(q, "limit", 31)
	if err != nil {
		return err
	}
	var before mail.ID
	if s := q.Get("before"); s != "" {
		if before, err = mail.ParseID(s); err != nil {
			return bad("before: %v", err)
		}
	}
	next := func() ([]spool.Summary, error) { return a.Spool.Messages(before, step) }
	page, err := next()
	if err != nil {
		return err
	}
	unhurried(w)
	out := beginArray(w, "[")
	for n := uint64(0); len(page) > 0; {
		for i := range page {
			if n++; limit != 0 && n > limit {
				return out.end("]")
			}
			out.add(shown(&page[i]))
		}
		before = page[len(page)-1].ID
		if page, err = next(); err != nil || r.Context().Err() != nil {
			broken(r, a.Log, err)
		}
	}
	return out.end("]")
}

// showMessage is GET /api/queue/{id}?state=&outcome=&limit=&after=: the copies by Seq.
func (a *API) showMessage(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	pick, err := pickCopies(r)
	if err != nil {
		return err
	}
	sum, err := a.Spool.Message(id)
	if err != nil {
		return err
	}
	head, err := json.Marshal(shown(&sum))
	if err != nil {
		return err
	}
	unhurried(w)
	out := beginArray(w, string(head[:len(head)-1])+`,"recipients":[`)
	err = eachCopy(a.Spool, id, pick, func(c *mail.Copy) bool {
		out.add(shownCopy(c))
		return r.Context().Err() == nil
	})
	if err != nil || r.Context().Err() != nil {
		broken(r, a.Log, err)
	}
	return out.end("]}")
}

// selection is which copies of a message are looked at.
type selection struct {
	state   *mail.State  // nil: every state
	outcome mail.Outcome // NoOutcome: every one
	after   uint32
	limit   int // 0: all
}

func pickCopies(r *http.Request) (selection, error) {
	q := r.URL.Query()
	limit, err := number(q, "limit", 31)
	after, err2 := number(q, "after", 32)
	pick := selection{after: uint32(after), limit: int(limit)}
	if s := q.Get("state"); s != "" {
		pick.state = new(mail.State)
		if err := pick.state.UnmarshalText([]byte(s)); err != nil {
			return pick, bad("%v", err)
		}
	}
	if s := q.Get("outcome"); s != "" {
		if err := pick.outcome.UnmarshalText([]byte(s)); err != nil {
			return pick, bad("%v", err)
		}
	}
	return pick, errors.Join(err, err2)
}

// eachCopy calls fn for the selected copies of a message, a step at a time,
// until fn says false.
func eachCopy(s *spool.Spool, id mail.ID, pick selection, fn func(*mail.Copy) bool) error {
	for n := 0; ; {
		page, err := s.Copies(id, pick.after, step)
		if err != nil || len(page) == 0 {
			return err
		}
		for i := range page {
			c := &page[i]
			pick.after = c.Seq
			if pick.state != nil && c.State != *pick.state || pick.outcome != mail.NoOutcome && c.Outcome != pick.outcome {
				continue
			}
			if !fn(c) {
				return nil
			}
			if n++; n == pick.limit {
				return nil
			}
		}
	}
}

// showCopy is GET /api/queue/{id}/eml?to=ADDRESS.
func (a *API) showCopy(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	to, err := mail.ParseAddress(r.URL.Query().Get("to"))
	if err != nil {
		return bad("to: %v", err)
	}
	c, err := a.Spool.CopyTo(id, to)
	if err != nil {
		return err
	}
	content, err := a.render(&c)
	if err != nil {
		return err
	}
	writeMail(w, &c, content)
	return nil
}

func (a *API) render(c *mail.Copy) (mail.Content, error) {
	if a.Render == nil {
		return mail.Content{}, &conflict{"copies cannot be rendered here: ask the running gateway"}
	}
	sum, err := a.Spool.Message(c.Message)
	if err != nil {
		return mail.Content{}, err
	}
	return a.Render(&sum.Message, c)
}

// writeMail sends a mail as a file, never as something to be shown.
func writeMail(w http.ResponseWriter, c *mail.Copy, content mail.Content) {
	unhurried(w)
	w.Header().Set("Content-Type", "message/rfc822")
	w.Header().Set("Content-Disposition", `attachment; filename="`+c.Tag()+`.eml"`)
	w.Header().Set("Content-Security-Policy", "sandbox; default-src 'none'")
	_, _ = content.WriteTo(w) // a client that is gone is told nothing
}

// changed is the answer to what an operator does with a message.
type changed struct {
	ID     mail.ID           `json:"id"`
	State  mail.MessageState `json:"state"`
	Copies int               `json:"copies"` // that it concerned
}

// actOn is POST /api/queue/{id}/{action}; retry takes {"copy": ADDRESS} or
// {"failed": true}, which leaves out those that may have been sent.
func (a *API) actOn(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	var body struct {
		Copy   string `json:"copy"`
		Failed bool   `json:"failed"`
	}
	if err := readJSON(w, r, &body, true); err != nil {
		return err
	}
	var to mail.Address
	if body.Copy != "" {
		if to, err = mail.ParseAddress(body.Copy); err != nil {
			return bad("copy: %v", err)
		}
	}
	action := r.PathValue("action")
	if body.Failed {
		if action != "retry" || to != "" {
			return bad("failed is for a retry of all failed copies, and not for a single one")
		}
		action = "retry-failed"
	}
	done, err := a.act(r.Context(), action, id, to)
	if err == nil {
		answer(w, http.StatusOK, done)
	}
	return err
}

// act does what an operator asks, for the API and the pages alike. Copies in
// its result are those that wait now (pause, resume), that were cancelled, or
// that will be tried again.
func (a *API) act(ctx context.Context, action string, id mail.ID, to mail.Address) (changed, error) {
	if to != "" && action != "retry" {
		return changed{}, bad("only retry is for a single copy")
	}
	before, err := a.Spool.Message(id)
	if err != nil {
		return changed{}, err
	}
	retried := 0
	switch action {
	case "pause":
		err = a.Spool.Pause(ctx, id, "paused by "+actor(ctx))
	case "resume":
		err = a.Spool.Resume(ctx, id)
	case "cancel":
		err = a.Spool.Cancel(ctx, id, "cancelled by "+actor(ctx))
	case "retry":
		retried, err = a.Spool.Retry(ctx, id, to)
	case "retry-failed":
		retried, err = a.Spool.RetryFailed(ctx, id)
	default:
		return changed{}, bad("%q cannot be done with a message; pause, resume, cancel and retry can", action)
	}
	if err != nil {
		return changed{}, err
	}
	after, err := a.Spool.Message(id)
	if err != nil {
		return changed{}, err
	}
	done := changed{id, after.State, after.Counts.Open()}
	switch action {
	case "cancel":
		done.Copies = after.Counts[mail.CopyCancelled] - before.Counts[mail.CopyCancelled]
	case "retry", "retry-failed":
		done.Copies = retried
	}
	a.Log.Info("an operator acted on a message", "action", action, "by", actor(ctx), "message", string(id), "copies", done.Copies)
	return done, nil
}

// array writes the elements of a JSON array as they come.
type array struct {
	w     *bufio.Writer
	first bool
	err   error
}

func beginArray(w http.ResponseWriter, head string) *array {
	w.Header().Set("Content-Type", "application/json")
	a := &array{w: bufio.NewWriterSize(w, 32<<10), first: true}
	_, a.err = a.w.WriteString(head)
	return a
}

func (a *array) add(v any) {
	b, err := json.Marshal(v)
	if a.err == nil {
		a.err = err
	}
	if a.err != nil {
		return
	}
	if !a.first {
		_ = a.w.WriteByte(',')
	}
	a.first = false
	_, a.err = a.w.Write(b)
}

// end closes the array; whoever went away meanwhile is told nothing.
func (a *array) end(tail string) error {
	if a.err != nil {
		panic(http.ErrAbortHandler)
	}
	_, _ = a.w.WriteString(tail + "\n")
	_ = a.w.Flush()
	return nil
}
