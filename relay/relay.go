package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"postern/mail"
	"postern/spool"
)

// Config is what the relay works with. All funcs are called from many goroutines.
type Config struct {
	Spool *spool.Spool
	Lanes []LaneConfig
	// Render makes the copy; an error pauses its message.
	Render func(*mail.Message, *mail.Copy) (mail.Content, error)
	// Sign signs for the mailbox in From; an error pauses its message.
	Sign func(mail.Content, mail.Address) (mail.Content, error)
	// Blocked says, from a local index, that an address gets nothing: the state
	// is Suppressed or Unsubscribed, and the reason is for people. listID is ""
	// for ordinary mail.
	Blocked  func(to mail.Address, listID string) (state mail.State, reason string, blocked bool)
	Lists    Schedule // copies of lists
	Ordinary Schedule // ordinary mail
	Unknowns Unknowns
	Log      *slog.Logger
}

// Relay sends what is due.
type Relay struct {
	cfg   Config
	lanes []*lane
	wg    sync.WaitGroup
	halt  context.CancelFunc // ends claiming
	abort context.CancelFunc // ends sends under way
}

type lane struct {
	LaneConfig
	r     *Relay
	gate  *gate
	slots chan struct{} // one token for each attempt that may begin
	work  chan spool.Claim
	nudge chan struct{} // the gate has changed
}

// New checks the configuration's shape; Start begins to send.
func New(cfg Config) (*Relay, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	r := &Relay{cfg: cfg}
	for _, lc := range cfg.Lanes {
		if lc.Concurrency < 1 {
			return nil, fmt.Errorf("lane %s: concurrency is %d; it must be at least 1", lc.Name, lc.Concurrency)
		}
		l := &lane{LaneConfig: lc, r: r, gate: newGate(lc.Rate), nudge: make(chan struct{}, 1),
			slots: make(chan struct{}, lc.Concurrency), work: make(chan spool.Claim, lc.Concurrency)}
		for range lc.Concurrency {
			l.slots <- struct{}{}
		}
		r.lanes = append(r.lanes, l)
	}
	return r, nil
}

// Start begins to claim and send on every lane.
func (r *Relay) Start() {
	claiming, halt := context.WithCancel(context.Background())
	sending, abort := context.WithCancel(context.Background())
	r.halt, r.abort = halt, abort
	for _, l := range r.lanes {
		var workers sync.WaitGroup
		for range l.Concurrency {
			workers.Go(func() {
				for c := range l.work {
					l.deliver(sending, c)
					l.slots <- struct{}{}
				}
			})
		}
		r.wg.Go(func() {
			l.dispatch(claiming)
			close(l.work)
			workers.Wait()
		})
	}
}

// Stop claims nothing more, lets sends under way finish until ctx ends and then
// cuts them (their copies become uncertain), and closes the senders.
func (r *Relay) Stop(ctx context.Context) error {
	r.halt()
	defer r.abort()
	done := make(chan struct{})
	go func() {
		r.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		r.abort()
		<-done
	}
	var err error
	for _, l := range r.lanes {
		err = errors.Join(err, l.Sender.Close())
	}
	return err
}

// Lanes says how each lane is.
func (r *Relay) Lanes() []LaneStatus {
	list := make([]LaneStatus, len(r.lanes))
	for i, l := range r.lanes {
		list[i] = LaneStatus{Name: l.Name, Driver: l.Driver}
		l.gate.status(&list[i], time.Now())
	}
	return list
}

// dispatch claims due copies as slots and gate allow, until ctx ends.
func (l *lane) dispatch(ctx context.Context) {
	wake := l.r.cfg.Spool.Wake(l.Name)
	for {
		n := l.takeSlots(ctx)
		if n == 0 {
			return
		}
		claimed, next, err := l.claim(ctx, n)
		for range n - claimed {
			l.slots <- struct{}{}
		}
		if err != nil && ctx.Err() == nil {
			l.r.cfg.Log.Error("copies could not be claimed", "lane", l.Name, "error", err)
			next = time.Now().Add(time.Second)
		}
		if claimed == 0 || err != nil {
			if !l.wait(ctx, wake, next) {
				return
			}
		}
	}
}

// takeSlots waits for a free slot and takes all that are free; 0 when ctx ended.
func (l *lane) takeSlots(ctx context.Context) int {
	select {
	case <-ctx.Done():
		return 0
	case <-l.slots:
	}
	for n := 1; ; n++ {
		select {
		case <-l.slots:
		default:
			return n
		}
	}
}

// claim begins up to n attempts. When it begins none, next is when to try again
// (zero: when woken).
func (l *lane) claim(ctx context.Context, n int) (claimed int, next time.Time, err error) {
	now := time.Now()
	n, next = l.gate.allow(n, now)
	if n == 0 {
		return 0, next, nil
	}
	claims, err := l.r.cfg.Spool.Claim(ctx, l.Name, n, now)
	if err != nil {
		return 0, time.Time{}, err
	}
	if len(claims) == 0 {
		return 0, l.r.cfg.Spool.NextDue(l.Name), nil
	}
	l.gate.begin(len(claims), now)
	for _, c := range claims {
		l.work <- c // has room: a slot was taken for each
	}
	return len(claims), time.Time{}, nil
}

// wait ends when there may be something to do; false when ctx ended.
func (l *lane) wait(ctx context.Context, wake <-chan struct{}, next time.Time) bool {
	var timer <-chan time.Time
	if !next.IsZero() {
		t := time.NewTimer(max(time.Until(next), time.Millisecond))
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-ctx.Done():
		return false
	case <-wake:
	case <-timer:
	case <-l.nudge:
	}
	return true
}

// deliver makes one attempt and settles it.
func (l *lane) deliver(ctx context.Context, c spool.Claim) {
	log := l.r.cfg.Log.With("message", c.Copy.Message, "copy", c.Copy.Seq, "lane", l.Name, "attempt", c.Copy.Claims)
	if state, reason, blocked := l.r.cfg.Blocked(c.Copy.To, c.Message.ListID()); blocked {
		l.gate.end(mail.Temporary, false, "", 0, time.Now())
		log.Info("not sent", "state", state, "reason", reason)
		l.settle(ctx, log, c, spool.Result{State: state, At: time.Now(), Error: reason})
		return
	}
	receipt, err := l.send(ctx, &c)
	now := time.Now()
	v := decide(attempt{Claim: c, Receipt: receipt, Err: err, Now: now, Jitter: rand.Float64(),
		Idempotent: l.Sender.Idempotent()}, l.r.schedule(c.Message), l.r.cfg.Unknowns)
	_, after := explainIf(err)
	reached := err == nil || mail.ClassOf(err) == mail.Permanent || mail.ClassOf(err) == mail.Temporary
	if l.gate.end(v.Lane, reached, v.Result.Error, after, now) {
		l.report()
	}
	l.nudgeDispatch()
	if v.PauseMessage != "" {
		if err := l.r.cfg.Spool.Pause(context.WithoutCancel(ctx), c.Copy.Message, v.PauseMessage); err == nil {
			log.Warn("message paused", "reason", v.PauseMessage)
		}
	}
	if err == nil {
		log.Info("sent", "to", c.Copy.To, "upstream_id", receipt.ID)
	} else {
		log.Warn("not sent", "to", c.Copy.To, "state", v.Result.State, "class", mail.ClassOf(err), "error", err)
	}
	l.settle(ctx, log, c, v.Result)
}

func explainIf(err error) (string, time.Duration) {
	if err == nil {
		return "", 0
	}
	return explain(err)
}

// report logs that the lane has stopped or started.
func (l *lane) report() {
	s := LaneStatus{}
	l.gate.status(&s, time.Now())
	if s.State == "paused" {
		l.r.cfg.Log.Error("lane paused", "lane", l.Name, "reason", s.Reason, "until", s.Until)
		return
	}
	l.r.cfg.Log.Info("lane runs again", "lane", l.Name)
}

func (l *lane) nudgeDispatch() {
	select {
	case l.nudge <- struct{}{}:
	default:
	}
}

// send renders, signs and hands over.
func (l *lane) send(ctx context.Context, c *spool.Claim) (Receipt, error) {
	content, err := l.r.cfg.Render(c.Message, &c.Copy)
	if err == nil && l.r.cfg.Sign != nil {
		content, err = l.r.cfg.Sign(content, c.Message.HeaderFrom)
	}
	if err != nil {
		return Receipt{}, &mail.Error{Class: mail.MessageWide, Err: err,
			Public: "this copy could not be made: " + err.Error() + "; mend that and resume the message"}
	}
	return l.Sender.Send(ctx, &Delivery{From: c.Message.From, To: c.Copy.To, Tag: c.Copy.Tag(), Content: content})
}

func (l *lane) settle(ctx context.Context, log *slog.Logger, c spool.Claim, r spool.Result) {
	if err := l.r.cfg.Spool.Settle(ctx, c, r); err != nil {
		log.Error("the result of an attempt could not be stored; after a restart the copy is uncertain", "state", r.State, "error", err)
	}
}

func (r *Relay) schedule(m *mail.Message) Schedule {
	if m.List == nil {
		return r.cfg.Ordinary
	}
	return r.cfg.Lists
}
