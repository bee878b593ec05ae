package feedback_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"postern/mail"
	"postern/relay/events"
	"postern/relay/feedback"
	"postern/spool"
)

// desk is a spool with a message of a list, and an Applier that notes what it is told.
type desk struct {
	*feedback.Applier
	t     *testing.T
	s     *spool.Spool
	id    mail.ID
	told  []string // "bounced user1@example.net", …
	seen  []*spool.Observed
	fails error
}

func newDesk(t *testing.T, copies int) *desk {
	t.Helper()
	s, err := spool.Open(t.TempDir(), spool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{t: t, s: s}
	t.Cleanup(func() {
		if problems, err := s.Check(context.Background(), nil); err != nil || len(problems) > 0 {
			t.Error(problems, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	note := func(what string) func(context.Context, feedback.Proof) error {
		return func(_ context.Context, p feedback.Proof) error {
			if d.fails == nil {
				d.told = append(d.told, fmt.Sprintf("%s %s (%s, %s)", what, p.To, p.UserKey, p.List))
			}
			return d.fails
		}
	}
	d.Applier = feedback.New(feedback.Config{Spool: s, Bounced: note("bounced"), SoftBounced: note("soft"), Complained: note("complained"),
		Observed: func(_ context.Context, all []*spool.Observed) { d.seen = append(d.seen, all...) }})
	b, err := s.NewBody()
	if err != nil {
		t.Fatal(err)
	}
	m := mail.Message{ID: mail.NewID(time.Now()), State: mail.Sending, AcceptedAt: time.Now(), List: &mail.ListPolicy{ID: "promo", Owner: "owner@example.com"}}
	d.id = m.ID
	var cs []mail.Copy
	for i := range copies {
		cs = append(cs, mail.Copy{To: mail.Address(fmt.Sprintf("user%d@example.net", i+1)), UserKey: fmt.Sprintf("User%d@example.net", i+1)})
	}
	if err := s.Accept(t.Context(), b, []spool.Accepted{{Message: m, Copies: cs}}); err != nil {
		t.Fatal(err)
	}
	return d
}

// attempt ends attempts of n copies; sent ones have the upstream id "ses-N".
func (d *desk) attempt(n int, state mail.State) {
	d.t.Helper()
	claims, err := d.s.Claim(d.t.Context(), "", n, time.Now().Add(time.Hour))
	if err != nil || len(claims) != n {
		d.t.Fatal(len(claims), err)
	}
	for _, c := range claims {
		r := spool.Result{State: state, At: time.Now(), Spent: true}
		if state == mail.Sent {
			r.UpstreamID = fmt.Sprintf("ses-%d", c.Copy.Seq)
		}
		if err := d.s.Settle(d.t.Context(), c, r); err != nil {
			d.t.Fatal(err)
		}
	}
}

func (d *desk) tag(seq uint32) string { return (&mail.Copy{Message: d.id, Seq: seq}).Tag() }

func (d *desk) apply(all ...events.Event) {
	d.t.Helper()
	if err := d.Apply(d.t.Context(), all); err != nil {
		d.t.Fatal(err)
	}
}

func (d *desk) copy(seq uint32) mail.Copy {
	d.t.Helper()
	c, err := d.s.Copy(d.id, seq)
	if err != nil {
		d.t.Fatal(err)
	}
	return c
}

func hard(tag string) events.Event {
	return events.Event{Kind: events.Bounce, Type: "Permanent", SubType: "General", Tag: tag, To: "user1@example.net", Status: "5.1.1", Words: "550 5.1.1 no such user", At: time.Now()}
}

// Rule 54: by tag first, which is known even where no answer came, else by the id.
func TestAnEventFindsItsCopyByTagElseByTheUpstreamID(t *testing.T) {
	d := newDesk(t, 3)
	d.attempt(2, mail.Sent)
	d.attempt(1, mail.Unknown)
	d.apply(events.Event{Kind: events.Delivery, UpstreamID: "ses-1", At: time.Now()}) // old notifications bear no tag
	d.apply(events.Event{Kind: events.Delivery, Tag: d.tag(2), UpstreamID: "ses-1", At: time.Now()})
	d.apply(events.Event{Kind: events.Send, Tag: d.tag(3), UpstreamID: "ses-3", At: time.Now()})
	for seq, want := range map[uint32]mail.Outcome{1: mail.Delivered, 2: mail.Delivered, 3: mail.NoOutcome} {
		if c := d.copy(seq); c.Outcome != want || c.State != mail.Sent {
			t.Errorf("copy %d: %s %q", seq, c.State, c.Outcome)
		}
	}
	if c := d.copy(3); c.UpstreamID != "ses-3" {
		t.Errorf("%+v", c)
	}
	if m, err := d.s.Message(d.id); err != nil || m.State != mail.Done {
		t.Errorf("%s %v", m.State, err)
	}
	if len(d.told) != 0 {
		t.Errorf("told %v", d.told)
	}
}

// Rules 55 and 56.
func TestWhatAnEventProvesIsWrittenDownBeforeTheOutcome(t *testing.T) {
	d := newDesk(t, 3)
	d.attempt(3, mail.Sent)
	d.fails = errors.New("the disk is full")
	for _, e := range []events.Event{hard(d.tag(1)), {Kind: events.Complaint, Tag: d.tag(2), At: time.Now()}} {
		if err := d.Apply(t.Context(), []events.Event{e}); !errors.Is(err, d.fails) {
			t.Fatalf("%v", err)
		}
	}
	if d.copy(1).Outcome != mail.NoOutcome || d.copy(2).Outcome != mail.NoOutcome {
		t.Fatal("the event counts as done, and its proof is lost")
	}
	d.fails = nil
	d.apply(hard(d.tag(1)), events.Event{Kind: events.Complaint, Tag: d.tag(2), At: time.Now()},
		events.Event{Kind: events.Bounce, Type: "Transient", SubType: "MailboxFull", Tag: d.tag(3), At: time.Now(), Words: "552 5.2.2 mailbox full", Status: "5.2.2"})
	want := []string{"bounced user1@example.net (User1@example.net, promo)", "complained user2@example.net (User2@example.net, promo)", "soft user3@example.net (User3@example.net, promo)"}
	if fmt.Sprint(d.told) != fmt.Sprint(want) {
		t.Errorf("told %q", d.told)
	}
	if c := d.copy(1); c.Outcome != mail.Bounced || c.OutcomeWords != "550 5.1.1 no such user" {
		t.Errorf("%+v", c)
	}
	if len(d.seen) != 3 || d.seen[2].Message.Outcomes[mail.Bounced] != 1 {
		t.Errorf("the breakers saw %d", len(d.seen))
	}
}

// Rules 57 and 58: blocks for content prove nothing, and nothing is proved twice.
func TestWhatProvesNothingSuppressesNobody(t *testing.T) {
	for name, list := range map[string][]events.Event{
		"policy":           {{Kind: events.Bounce, Type: "Permanent", SubType: "General", Status: "5.7.1", Words: "550 5.7.1 blocked by policy"}},
		"own list of SES":  {{Kind: events.Bounce, Type: "Permanent", SubType: "OnAccountSuppressionList"}},
		"not spam":         {{Kind: events.Complaint, Abuse: "not-spam"}},
		"delay":            {{Kind: events.DeliveryDelay, Status: "4.4.1", Words: "connection timed out"}},
		"malware":          {{Kind: events.Reject}},
		"a copy not tried": {{Kind: events.Bounce, Type: "Permanent", SubType: "General", Tag: "2"}},
		"another's mail":   {{Kind: events.Bounce, Type: "Permanent", SubType: "General", UpstreamID: "of another program", Tag: "-", To: "user1@example.net"}},
		"a copy sent on":   {{Kind: events.Bounce, Type: "Permanent", SubType: "General", To: "boss@example.org", For: "boss@example.org"}},
		"no copy of ours":  {{Kind: events.Bounce, Type: "Permanent", SubType: "General", Tag: "77", To: "user1@example.net"}},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, 2)
			d.attempt(1, mail.Sent)
			for _, e := range list {
				e.At = time.Now()
				switch e.Tag {
				case "":
					e.Tag = d.tag(1)
				case "2":
					e.Tag = d.tag(2)
				case "77":
					e.Tag = d.tag(77)
				}
				d.apply(e, e)
			}
			if len(d.told) != 0 {
				t.Errorf("told %v", d.told)
			}
		})
	}
}

func TestAReplayedEventProvesNothingAnew(t *testing.T) {
	d := newDesk(t, 2)
	d.attempt(2, mail.Sent)
	soft := events.Event{Kind: events.Bounce, Type: "Transient", SubType: "MailboxFull", Tag: d.tag(2), Status: "4.2.2", Words: "mailbox full", At: time.Now()}
	for day := range 6 {
		h := hard(d.tag(1))
		h.At, soft.At = time.Now().AddDate(0, 0, day), time.Now().AddDate(0, 0, day)
		d.apply(h, soft)
	}
	if len(d.told) != 2 {
		t.Errorf("told %q", d.told)
	}
	soft.Type, soft.Status = "Permanent", "5.1.1"
	soft.SubType, soft.Words = "General", "no such user"
	d.apply(soft) // something graver is news
	if len(d.told) != 3 || d.copy(2).Outcome != mail.Bounced {
		t.Errorf("told %q", d.told)
	}
}

// A complaint may come long after the message has left the spool.
func TestAnEventAboutAMessageThatIsGoneStillCounts(t *testing.T) {
	d := newDesk(t, 1)
	gone := (&mail.Copy{Message: mail.NewID(time.Now().AddDate(0, -2, 0)), Seq: 5}).Tag()
	d.apply(events.Event{Kind: events.Complaint, Tag: gone, To: "long-ago@example.net", At: time.Now()},
		events.Event{Kind: events.Complaint, Tag: gone, At: time.Now()}) // names nobody
	if len(d.told) != 1 || d.told[0] != "complained long-ago@example.net (, )" {
		t.Errorf("told %q", d.told)
	}
}

// What SES did not send because of the account's own list is shown as bounced, and no
// breaker counts it.
func TestWhatTheAccountsOwnListKeepsBackIsNotCounted(t *testing.T) {
	d := newDesk(t, 3)
	d.attempt(3, mail.Sent)
	own, global := hard(d.tag(1)), hard(d.tag(2))
	own.SubType, global.SubType = "OnAccountSuppressionList", "Suppressed"
	d.apply(own, global, hard(d.tag(3)))
	var counts []bool
	for _, o := range d.seen {
		counts = append(counts, o.Counts)
	}
	m, err := d.s.Message(d.id)
	if got := m.Tally().Less(m.Counted).Bounced; err != nil || m.Outcomes[mail.Bounced] != 3 || got != 2 || fmt.Sprint(counts) != "[false true true]" {
		t.Errorf("%v, %d counted, %v %v", m.Outcomes, got, counts, err)
	}
}
