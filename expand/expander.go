package expand

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"postern/directory"
	"postern/mail"
)

// Queue is what expansion needs of the spool. Every method that takes a context
// returns when what it says is on disk. It is called from two goroutines of one
// message at once. A method refuses a message that was cancelled meanwhile.
type Queue interface {
	// AddCopies stores copies (state Queued or Skipped; the queue gives Seq) and
	// the checkpoint in one commit. A copy whose address already has one in the
	// message or in one of its Siblings is dropped, so a page may come again.
	AddCopies(ctx context.Context, id mail.ID, copies []mail.Copy, checkpoint []byte) error
	// Expanded says that the last page is stored and what the message becomes. A
	// message that becomes Sending and has no open copy is Done at once.
	Expanded(ctx context.Context, id mail.ID, next mail.MessageState, reason string) error
	// Explain sets why the message waits, as people read it; "" when it goes on.
	Explain(ctx context.Context, id mail.ID, reason string) error
	// Copies are up to limit copies in the order of Seq, from after+1.
	Copies(id mail.ID, after uint32, limit int) ([]mail.Copy, error)
	// Revise rewrites State, Values and LastError of copies that are Queued or
	// Skipped and sets the message's Checkpoint to through, four octets big-endian,
	// in one commit. The Checkpoint is empty when a release begins.
	Revise(ctx context.Context, id mail.ID, revised []mail.Copy, through uint32) error
	// Released ends Releasing: the message becomes Sending, or Done when it has no
	// open copy.
	Released(ctx context.Context, id mail.ID) error
}

// Expander turns list messages into copies. Its fields are set once, before use;
// it is safe for use by many goroutines, one to a message.
type Expander struct {
	Store directory.Store
	// Blocked asks what is known here of an address: suppressed, or opted out of
	// this list. nil: nobody is.
	Blocked  func(addr mail.Address, list string) (directory.Block, bool)
	Fields   *Fields
	Location *time.Location // where a filter's days begin; nil: UTC
	Queue    Queue
	Log      *slog.Logger
	// OnLearn is told of each field seen for the first time; nil: nobody is.
	OnLearn func(name, typ string)
}

// run is one expansion or release of one message.
type run struct {
	*Expander
	m        mail.Message
	audience Audience
	calm     string          // the message's reason while nothing is wrong
	reason   string          // the one that the queue holds
	seen     map[string]bool // attributes already offered to Fields
	odd      int             // users whose address cannot be parsed
	firstOdd string
}

// begin reads the filter that was pinned at acceptance, and it counts from there:
// whenever a page is read or a copy is released, the message is for the same people.
// A filter that the live fields no longer know is a Permanent error, explained to
// people: the message is kept until the configuration fits again or somebody cancels it.
func (e *Expander) begin(ctx context.Context, m mail.Message, calm string) (*run, error) {
	if m.List == nil {
		return nil, fmt.Errorf("message %s is not for a list: there is nothing to expand", m.ID)
	}
	r := &run{Expander: e, m: m, calm: calm, reason: m.Reason, seen: map[string]bool{}}
	filter, err := CompileFilter(m.List.Filter, e.Fields, e.Location)
	if err != nil {
		why := fmt.Sprintf("%v (mend [fields] in the configuration, or cancel the message)", err)
		return nil, errors.Join(&mail.Error{Class: mail.Permanent, Public: why}, r.explain(ctx, why))
	}
	r.audience = Audience{List: m.List.ID, Filter: filter, Blocked: e.Blocked, Now: m.AcceptedAt}
	return r, nil
}

// Expand reads the directory page by page, from the message's checkpoint on, and
// stores a copy for each user who is subscribed, has not left the list and is
// chosen by the filter; then it says whether the message is sent, held or done.
// It waits for a directory that does not answer, as long as ctx lasts. An error is
// the queue's, or ctx's; expanding again from the stored message carries on.
func (e *Expander) Expand(ctx context.Context, m mail.Message) error {
	r, err := e.begin(ctx, m, "")
	if err != nil {
		return fmt.Errorf("expanding %s: %w", m.ID, err)
	}
	pages := make(chan scanned) // unbuffered: one page is fetched while one is stored
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { defer close(pages); return r.fetch(gctx, pages) })
	g.Go(func() error { return r.store(gctx, pages) })
	if err := g.Wait(); err != nil {
		return fmt.Errorf("expanding %s: %w", m.ID, err)
	}
	if r.odd > 0 {
		e.Log.Warn("users are left out: their address cannot be parsed", "message", m.ID, "count", r.odd, "first", r.firstOdd)
	}
	if err := r.finish(ctx); err != nil {
		return fmt.Errorf("expanding %s: %w", m.ID, err)
	}
	return nil
}

// scanned is a page of users and the checkpoint that may be written with it.
type scanned struct {
	users      []directory.User
	checkpoint directory.Checkpoint
}

// fetch reads pages until the last one. A last page has no mark behind it, so its
// rows go with the mark before it: a crash between them and Expanded reads that
// one page again, and not the directory from the start.
func (r *run) fetch(ctx context.Context, pages chan<- scanned) error {
	at := directory.Checkpoint(r.m.Checkpoint)
	for {
		var page directory.Page
		err := r.patiently(ctx, func(ctx context.Context) (err error) {
			page, err = r.Store.Scan(ctx, at)
			if err == nil && page.Next != nil && bytes.Equal(page.Next, at) {
				err = &mail.Error{Class: mail.Permanent, Public: "the scan stands still: a page names itself as the next one"}
			}
			return err
		})
		if err != nil {
			return err
		}
		last := page.Next == nil
		if !last {
			at = page.Next
		}
		select {
		case pages <- scanned{page.Users, at}:
		case <-ctx.Done():
			return ctx.Err()
		}
		if last {
			return nil
		}
	}
}

// learn adds the names of u's attributes to the vocabulary.
func (r *run) learn(u *directory.User) {
	for name, v := range u.Attributes {
		if typ := TypeOf(v); typ != "" && !r.seen[name] {
			r.seen[name] = true
			if r.Fields.Learn(name, typ) && r.OnLearn != nil {
				r.OnLearn(name, typ)
			}
		}
	}
}

// copyFor is u's copy of the message; false when u is to have none.
func (r *run) copyFor(u *directory.User) (mail.Copy, bool) {
	v := r.audience.Judge(u)
	switch v.Standing {
	case Receives, NotJudged:
		c := mail.Copy{Message: r.m.ID, To: v.To, UserKey: string(u.Email)}
		r.fill(&c, u, v)
		return c, true
	case NoAddress:
		if r.odd++; r.odd == 1 {
			r.firstOdd = v.Why
		}
	}
	return mail.Copy{}, false
}

// fill sets the values and the state of u's copy: Queued, or Skipped when a value
// is missing or the filter cannot judge u. Values are verbatim; whoever renders them
// escapes them.
func (r *run) fill(c *mail.Copy, u *directory.User, v Verdict) {
	c.State, c.LastError = mail.Queued, ""
	c.Values = make([]string, len(r.m.Fields))
	for i, field := range r.m.Fields {
		c.Values[i] = r.value(u, field)
	}
	if missing := r.missing(c); len(missing) > 0 {
		c.State, c.LastError = mail.Skipped, "no value for "+strings.Join(missing, " and ")
	}
	if v.Standing == NotJudged {
		c.State, c.LastError = mail.Skipped, v.Why
	}
}

func (r *run) value(u *directory.User, field string) string {
	switch field {
	case FieldList:
		return r.m.List.Name
	case FieldDate, FieldUnsubscribe, FieldPreferences:
		return "" // known only where the copy is rendered
	}
	return r.Fields.Value(u, field)
}

// missing are the placeholders of c that have neither value nor fallback. A value
// of nothing but spaces would greet nobody and counts as empty.
func (r *run) missing(c *mail.Copy) []string {
	var names []string
	for i, field := range r.m.Fields {
		required := i < len(r.m.Required) && r.m.Required[i] && !(field != FieldEmail && IsBuiltIn(field))
		if required && i < len(c.Values) && strings.TrimSpace(c.Values[i]) == "" {
			names = append(names, "{{"+field+"}}")
		}
	}
	return names
}
