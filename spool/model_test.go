package spool_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"pgregory.net/rapid"

	"postern/mail"
	"postern/spool"
)

// TestTheSpoolBehavesLikeItsModel plays random commands, crashes among them, on a
// spool and on a plain map, and compares them after each.
func TestTheSpoolBehavesLikeItsModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := &model{t: rt, dir: tempDir(rt), now: time.Now().Add(time.Hour), copies: map[key]*mail.Copy{}, states: map[mail.ID]mail.MessageState{}, untold: map[key]bool{}}
		m.s = openAt(rt, m.dir)
		defer func() { m.s.Close() }()
		rt.Repeat(map[string]func(*rapid.T){
			"accept": m.accept,
			"add":    m.add,
			"claim":  m.claim,
			"settle": m.settle,
			"pause":  m.pause,
			"resume": m.resume,
			"cancel": m.cancel,
			"retry":  m.retry,
			"tell":   m.tell,
			"event":  m.event,
			"crash":  m.crash,
			"close":  m.reopen,
			"":       m.compare,
		})
	})
}

type key struct {
	id   mail.ID
	addr string
}

type model struct {
	t      *rapid.T
	s      *spool.Spool
	dir    string
	now    time.Time
	ids    []mail.ID
	copies map[key]*mail.Copy
	states map[mail.ID]mail.MessageState
	claims []spool.Claim // begun and not settled, of this process
	untold map[key]bool  // failures of which the sender was not told
}

func tempDir(t *rapid.T) string {
	dir, err := os.MkdirTemp("", "spool-model-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func openAt(t *rapid.T, dir string) *spool.Spool {
	s, err := spool.Open(dir, spool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// pick chooses a message; the first command of all makes one.
func (m *model) pick(t *rapid.T) mail.ID {
	if len(m.ids) == 0 {
		m.accept(t)
	}
	return rapid.SampledFrom(m.ids).Draw(t, "message")
}

func (m *model) accept(t *rapid.T) {
	b, err := m.s.NewBody()
	if err != nil {
		t.Fatal(err)
	}
	msg := mail.Message{ID: mail.NewID(time.Now()), State: mail.Expanding, From: "sender@example.com", Streaming: rapid.Bool().Draw(t, "streaming"), AcceptedAt: time.Now()}
	if err := m.s.Accept(context.Background(), b, []spool.Accepted{{Message: msg}}); err != nil {
		t.Fatal(err)
	}
	m.ids = append(m.ids, msg.ID)
	m.states[msg.ID] = mail.Expanding
}

func (m *model) add(t *rapid.T) {
	id := m.pick(t)
	var page []mail.Copy
	for _, n := range rapid.SliceOfN(rapid.IntRange(0, 30), 1, 10).Draw(t, "users") {
		page = append(page, mail.Copy{To: mail.Address(fmt.Sprintf("u%d@example.com", n)), Values: []string{"v"}})
	}
	err := m.s.AddCopies(context.Background(), id, page, []byte("c"))
	if st := m.states[id]; st != mail.Expanding && st != mail.Paused {
		if err == nil {
			t.Fatalf("a %s message took copies", st)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	for i := range page {
		k := key{id, page[i].Key()}
		if m.copies[k] == nil {
			m.copies[k] = &mail.Copy{To: page[i].To}
		}
	}
	if rapid.IntRange(0, 3).Draw(t, "last") > 0 {
		return
	}
	if sum, _ := m.s.Message(id); sum.Expanded {
		return
	}
	if err := m.s.Expanded(context.Background(), id, mail.Sending, ""); err != nil {
		t.Fatal(err)
	}
	if m.states[id] == mail.Expanding {
		m.states[id] = mail.Sending
	}
}

func (m *model) claim(t *rapid.T) {
	n := rapid.IntRange(1, 8).Draw(t, "n")
	claims, err := m.s.Claim(context.Background(), "", n, m.now)
	if err != nil || len(claims) > n {
		t.Fatal(len(claims), err)
	}
	for _, c := range claims {
		k := key{c.Copy.Message, c.Copy.Key()}
		have := m.copies[k]
		if have == nil || have.State.Settled() || have.State == mail.InFlight {
			t.Fatalf("claimed %+v, and the model has %+v", c.Copy, have)
		}
		if have.Claims+1 != c.Copy.Claims {
			t.Fatalf("attempt %d of %s, want %d", c.Copy.Claims, k.addr, have.Claims+1)
		}
		if st := m.states[k.id]; st != mail.Sending && st != mail.Expanding {
			t.Fatalf("claimed a copy of a message that is %s", st)
		}
		have.State = mail.InFlight
		have.Claims++
	}
	m.claims = append(m.claims, claims...)
}

func (m *model) settle(t *rapid.T) {
	if len(m.claims) == 0 {
		return // nothing is under way
	}
	i := rapid.IntRange(0, len(m.claims)-1).Draw(t, "which")
	c := m.claims[i]
	m.claims = append(m.claims[:i:i], m.claims[i+1:]...)
	r := spool.Result{At: m.now, Spent: true, Due: m.now}
	r.State = rapid.SampledFrom([]mail.State{mail.Sent, mail.Sent, mail.CopyFailed, mail.Deferred, mail.Unknown, mail.Unsubscribed}).Draw(t, "result")
	if err := m.s.Settle(context.Background(), c, r); err != nil {
		t.Fatal(err)
	}
	if m.states[c.Copy.Message] == mail.Cancelled && !r.State.Settled() {
		r.State = mail.CopyCancelled
	}
	k := key{c.Copy.Message, c.Copy.Key()}
	if accepted(m.copies[k]) {
		r.State = mail.Sent
	}
	m.copies[k].State = r.State
	if r.State == mail.CopyFailed {
		m.untold[k] = true
	}
}

func (m *model) pause(t *rapid.T) {
	id := m.pick(t)
	if err := m.s.Pause(context.Background(), id, "test"); err == nil {
		m.states[id] = mail.Paused
	}
}

func (m *model) resume(t *rapid.T) {
	id := m.pick(t)
	if err := m.s.Resume(context.Background(), id); err == nil {
		sum, _ := m.s.Message(id)
		m.states[id] = mail.Expanding
		if sum.Expanded {
			m.states[id] = mail.Sending
		}
	}
}

func (m *model) cancel(t *rapid.T) {
	id := m.pick(t)
	if err := m.s.Cancel(context.Background(), id, "test"); err != nil {
		return
	}
	m.states[id] = mail.Cancelled
	for k, c := range m.copies {
		if k.id == id && !c.State.Settled() && c.State != mail.InFlight {
			c.State = mail.CopyCancelled
		}
	}
}

func (m *model) retry(t *rapid.T) {
	id := m.pick(t)
	want := 0
	for k, c := range m.copies {
		if k.id == id && c.State == mail.CopyFailed {
			want++
		}
	}
	n, err := m.s.Retry(context.Background(), id, "")
	if err != nil || n != want {
		t.Fatalf("retried %d, want %d (%v)", n, want, err)
	}
	for k, c := range m.copies {
		if k.id == id && c.State == mail.CopyFailed {
			c.State, c.Outcome, c.UpstreamID = mail.Queued, mail.NoOutcome, ""
			delete(m.untold, k)
		}
	}
	if want > 0 {
		sum, _ := m.s.Message(id)
		m.states[id] = sum.State
	}
}

// tell takes a notice that tells of some of a message's failures.
func (m *model) tell(t *rapid.T) {
	id := m.pick(t)
	known, seqs, err := m.s.UntoldCopies(id, 100)
	if err != nil || len(known) != len(seqs) {
		t.Fatal(len(known), len(seqs), err)
	}
	n := rapid.IntRange(0, len(seqs)).Draw(t, "told")
	b, err := m.s.NewBody()
	if err != nil {
		t.Fatal(err)
	}
	notice := spool.Accepted{
		Message: mail.Message{ID: mail.NewID(time.Now()), State: mail.Sending, Notice: mail.NoticeFailed, About: id, AcceptedAt: time.Now()},
		Tells:   []spool.Telling{{Kind: mail.NoticeFailed, About: []mail.ID{id}, Copies: seqs[:n], Seen: m.now, At: time.Now()}},
	}
	if err := m.s.Accept(context.Background(), b, []spool.Accepted{notice}); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		delete(m.untold, key{id, known[i].Key()})
	}
}

func accepted(c *mail.Copy) bool { return c.UpstreamID != "" || c.Outcome != mail.NoOutcome }

// event lets an event tell of a copy, known or not, tried or not.
func (m *model) event(t *rapid.T) {
	o := spool.Observation{Message: m.pick(t), Seq: uint32(rapid.IntRange(1, 12).Draw(t, "copy")), At: m.now,
		Outcome: mail.Outcome(rapid.IntRange(0, mail.NumOutcomes-1).Draw(t, "outcome"))}
	if o.Outcome == mail.NoOutcome || rapid.Bool().Draw(t, "names it") {
		o.UpstreamID = fmt.Sprintf("up-%s-%d", o.Message, o.Seq)
	}
	seen, err := m.s.Observe(context.Background(), []spool.Observation{o, o}) // twice is once
	if err != nil {
		t.Fatal(err)
	}
	if seen[0] == nil {
		page, err := m.s.Copies(o.Message, o.Seq-1, 1)
		if err != nil || len(page) > 0 && page[0].Seq == o.Seq && page[0].Claims > 0 {
			t.Fatalf("an event about %+v was passed over (%v)", page, err)
		}
		return
	}
	k := key{o.Message, seen[0].Copy.Key()}
	c := m.copies[k]
	if c.Claims == 0 || seen[0].Raised != (o.Outcome > c.Outcome) || seen[0].Settled != (c.State == mail.Unknown) || seen[1].Raised || seen[1].Settled {
		t.Fatalf("%+v, then %+v of %+v", seen[0], seen[1], c)
	}
	had := c.Outcome
	c.Outcome = max(c.Outcome, o.Outcome)
	if c.UpstreamID == "" {
		c.UpstreamID = o.UpstreamID
	}
	if c.State != mail.InFlight && c.State != mail.Sent {
		c.State = mail.Sent
		delete(m.untold, k)
	}
	if had < mail.SoftBounced && (o.Outcome == mail.SoftBounced || o.Outcome == mail.Bounced) {
		m.untold[k] = true
	}
}

// crash goes on with what a killed process leaves: the files as they are now.
func (m *model) crash(t *rapid.T) {
	dir := tempDir(m.t)
	if err := os.CopyFS(dir, os.DirFS(m.dir)); err != nil {
		t.Fatal(err)
	}
	m.s.Close()
	m.dir = dir
	m.s = openAt(t, dir)
	m.lose()
}

func (m *model) reopen(t *rapid.T) {
	if err := m.s.Close(); err != nil {
		t.Fatal(err)
	}
	m.s = openAt(t, m.dir)
	m.lose()
}

func (m *model) lose() {
	m.claims = nil
	for k, c := range m.copies {
		if c.State == mail.InFlight {
			c.State = mail.Unknown
			switch {
			case accepted(c):
				c.State = mail.Sent
			case m.states[k.id] == mail.Cancelled:
				c.State = mail.CopyCancelled
			}
		}
	}
}

func (m *model) compare(t *rapid.T) {
	if problems, err := m.s.Check(context.Background(), nil); err != nil || len(problems) > 0 {
		t.Fatal(problems, err)
	}
	for k, c := range m.copies {
		got, err := m.s.CopyTo(k.id, c.To)
		if err != nil || got.State != c.State || got.Outcome != c.Outcome || got.UpstreamID != c.UpstreamID {
			t.Fatalf("%v: the spool says %s %q %q (%v), the model %s %q %q", k, got.State, got.Outcome, got.UpstreamID, err, c.State, c.Outcome, c.UpstreamID)
		}
	}
	for _, id := range m.ids {
		told, _, err := m.s.UntoldCopies(id, 100)
		want := 0
		for k := range m.untold {
			if k.id == id {
				want++
			}
		}
		if err != nil || len(told) != want {
			t.Fatalf("%d failures are to be told, the model says %d (%v)", len(told), want, err)
		}
		for i := range told {
			if !m.untold[key{id, told[i].Key()}] {
				t.Fatalf("%s is to be told, the model does not know of it", told[i].To)
			}
		}
	}
	open := 0
	for _, c := range m.copies {
		if !c.State.Settled() {
			open++
		}
	}
	if n := m.s.OpenCopies(); n != open {
		t.Fatalf("%d copies are open, the model says %d", n, open)
	}
	for _, id := range m.ids {
		sum, err := m.s.Message(id)
		if err != nil {
			t.Fatal(err)
		}
		want := m.states[id]
		if (want == mail.Sending || want == mail.Paused && sum.Expanded) && sum.Counts.Open() == 0 {
			want = mail.Done
			m.states[id] = want
		}
		if sum.State != want {
			t.Fatalf("message is %s, the model says %s (%v)", sum.State, want, sum.Counts)
		}
	}
}
