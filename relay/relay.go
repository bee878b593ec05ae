package relay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
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
	// SevenBit encodes an ordinary mail that the lane's sender cannot carry as it is, for
	// 7 bits and short lines, before it is signed; an error keeps its class. nil: nothing
	// is encoded.
	SevenBit func(mail.Content) (mail.Content, error)
	// Sign signs for the mailbox in From; an error pauses its message. Signers bounds
	// how many signatures are made at a time for bulk, and for transactional mail, because
	// each keeps a processor busy; 0: one more than GOMAXPROCS is at New.
	Sign    func(mail.Content, mail.Address) (mail.Content, error)
	Signers int
	// Blocked says, from a local index, that an address gets nothing: the state
	// is Suppressed or Unsubscribed, and the reason is for people. listID is ""
	// for ordinary mail.
	Blocked  func(to mail.Address, listID string) (state mail.State, reason string, blocked bool)
	Lists    Schedule // copies of lists
	Ordinary Schedule // ordinary mail
	Unknowns Unknowns
	// ReturnPath is the envelope sender of a copy; nil: the message's own. A lane whose
	// upstream sets one of its own does not care.
	ReturnPath func(lane string, m *mail.Message, c *mail.Copy) mail.Address
	Breaker    Breaker
	// LaneOf is the live lane of a message; nil: Message.Lane.
	LaneOf func(*mail.Message) string
	// Moot says, just before a copy is sent, why its message need not go any more: a
	// warning that has been overtaken. nil: every message goes.
	Moot func(*mail.Message) (reason string, moot bool)
	// Location is where people read times; nil: time.Local.
	Location *time.Location
	Log      *slog.Logger
}

// Relay sends what is due.
type Relay struct {
	cfg   Config
	lanes []*lane
	same  refusals
	// signing has a place for each signature that is being made: of transactional mail,
	// and of bulk, for which it does not wait.
	signing [2]chan struct{}
	wg      sync.WaitGroup
	halt    context.CancelFunc // ends claiming
	abort   context.CancelFunc // ends sends under way
}

type lane struct {
	LaneConfig
	r       *Relay
	gate    *gate
	work    chan spool.Claim   // attempts that have begun, for the workers
	ended   chan spool.Settled // attempts that have ended, to be stored
	nudge   chan struct{}      // the gate has changed
	blame   blame
	rolling rolling
	// halted is closed when no copy is to have its turn any more.
	halted   <-chan struct{}
	governor governor
}

// New checks the configuration's shape; Start begins to send.
func New(cfg Config) (*Relay, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Location == nil {
		cfg.Location = time.Local
	}
	if cfg.Signers <= 0 {
		cfg.Signers = runtime.GOMAXPROCS(0) + 1 // so that none idles between two
	}
	r := &Relay{cfg: cfg, signing: [2]chan struct{}{make(chan struct{}, cfg.Signers), make(chan struct{}, cfg.Signers)}}
	for _, lc := range cfg.Lanes {
		if lc.Concurrency < 1 {
			return nil, fmt.Errorf("lane %s: concurrency is %d; it must be at least 1", lc.Name, lc.Concurrency)
		}
		l := &lane{LaneConfig: lc, r: r, gate: newGate(lc.Rate), governor: governor{stir: make(chan struct{}, 1)},
			work: make(chan spool.Claim, lc.Concurrency), ended: make(chan spool.Settled, lc.Concurrency)}
		l.nudge = l.gate.nudge
		if err := l.restore(); err != nil {
			return nil, err
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
	r.wg.Go(func() { r.tend(claiming) })
	for _, l := range r.lanes {
		l.halted = claiming.Done()
		if l.Account != nil {
			r.wg.Go(func() { l.govern(claiming) })
		}
		for range l.Concurrency {
			r.wg.Go(func() {
				for c := range l.work {
					l.ended <- spool.Settled{Claim: c, Result: l.deliver(sending, c)}
				}
			})
		}
		r.wg.Go(func() {
			defer close(l.work)
			l.dispatch(claiming)
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

// Lanes says how each lane is. While the spool is broken every lane is paused.
func (r *Relay) Lanes() []LaneStatus {
	list := make([]LaneStatus, len(r.lanes))
	broken := r.cfg.Spool.Broken()
	for i, l := range r.lanes {
		list[i] = LaneStatus{Name: l.Name, Driver: l.Driver}
		l.gate.status(&list[i], time.Now(), r.cfg.Location)
		if broken != nil {
			list[i].State, list[i].Reason, list[i].Until = "paused", broken.Error(), time.Time{}
		}
	}
	return list
}

// dispatch stores the results of attempts that have ended and claims copies for
// the slots they leave, in one commit at a time, until ctx has ended and every
// attempt with it. Bulk copies leave the reserved slots free, so that transactional
// mail waits for none of them; where no slot is reserved it waits for one at most,
// because it is claimed first.
func (l *lane) dispatch(ctx context.Context) {
	wake := l.r.cfg.Spool.Wake(l.Name)
	var ended []spool.Settled // not yet on disk
	var busy spool.Room       // slots in use, on disk
	for {
		ended = l.drain(ended)
		begun, next, err := l.turn(ctx, ended, l.free(busy, ended))
		if err != nil {
			l.r.cfg.Log.Error("attempts could not be stored", "lane", l.Name, "error", err)
			next = time.Now().Add(time.Second)
			if ctx.Err() != nil || errors.Is(err, spool.ErrBroken) { // after a restart the copies are uncertain
				return
			}
		} else {
			for i := range ended {
				busy.All--
				busy.Bulk -= bulk(ended[i].Claim)
			}
			l.answered(ended)
			for _, c := range begun {
				busy.All++
				busy.Bulk += bulk(c)
			}
			ended = ended[:0]
		}
		if ctx.Err() != nil && busy.All == 0 {
			return
		}
		if len(begun) == 0 || busy.All == l.Concurrency {
			ended = l.wait(ctx, ended, wake, next)
		}
	}
}

// free is the room that is left when ended is stored.
func (l *lane) free(busy spool.Room, ended []spool.Settled) spool.Room {
	room := spool.Room{All: l.Concurrency - busy.All, Bulk: l.Concurrency - l.reserved() - busy.Bulk}
	for i := range ended {
		room.All++
		room.Bulk += bulk(ended[i].Claim)
	}
	return room
}

// bulk is 1 for a copy that may not use the reserve.
func bulk(c spool.Claim) int {
	if c.Message.Priority == mail.Transactional {
		return 0
	}
	return 1
}

// drain takes what has ended without waiting.
func (l *lane) drain(ended []spool.Settled) []spool.Settled {
	for {
		select {
		case e := <-l.ended:
			ended = append(ended, e)
		default:
			return ended
		}
	}
}

// turn stores what has ended and begins attempts as there is room and the gate
// allows. When it begins none, next is when to try again (zero: when woken).
func (l *lane) turn(ctx context.Context, ended []spool.Settled, room spool.Room) (begun []spool.Claim, next time.Time, err error) {
	now := time.Now()
	if ctx.Err() != nil {
		room = spool.Room{}
	}
	if room.All > 0 {
		room, next = l.gate.allow(room, now)
	}
	begun, err = l.r.cfg.Spool.Turn(context.WithoutCancel(ctx), ended, l.Name, room, now)
	if err != nil {
		return nil, time.Time{}, err
	}
	if len(begun) == 0 {
		if room.All > 0 {
			next = l.r.cfg.Spool.NextDue(l.Name, room)
		}
		return nil, next, nil
	}
	n := 0
	for _, c := range begun {
		n += bulk(c)
	}
	l.gate.begin(len(begun), n, now)
	for _, c := range begun {
		l.work <- c // has room: there is a slot for each
	}
	return begun, time.Time{}, nil
}

// wait ends when there may be something to do. It returns ended with what ended
// meanwhile.
func (l *lane) wait(ctx context.Context, ended []spool.Settled, wake <-chan struct{}, next time.Time) []spool.Settled {
	var timer <-chan time.Time
	if !next.IsZero() {
		t := time.NewTimer(max(time.Until(next), time.Millisecond))
		defer t.Stop()
		timer = t.C
	}
	stop := ctx.Done()
	if ctx.Err() != nil {
		stop = nil // only what is under way is still waited for
	}
	select {
	case <-stop:
	case e := <-l.ended:
		ended = append(ended, e)
	case <-wake:
		signalTo(l.governor.stir)
	case <-timer:
	case <-l.nudge:
	}
	return ended
}

// deliver makes one attempt and returns its result.
func (l *lane) deliver(ctx context.Context, c spool.Claim) spool.Result {
	log := l.r.cfg.Log.With("message", c.Copy.Message, "copy", c.Copy.Seq, "lane", l.Name, "attempt", c.Copy.Claims)
	p := &pass{bulk: bulk(c)}
	if r, needless := l.needless(&c); needless {
		l.gate.end(p, ending{}, time.Now())
		log.Info("not sent", "state", r.State, "reason", r.Error)
		return r
	}
	receipt, err := l.send(ctx, &c, p)
	if errors.Is(err, errNoTurn) {
		l.gate.end(p, ending{}, time.Now())
		l.nudgeDispatch()
		return givenBack(c.Copy)
	}
	found, wait := l.blame.judge(c.Copy.Tag(), err)
	if found == convicted {
		err = ofTheCopy(err)
	}
	now := time.Now()
	v := decide(attempt{Claim: c, Receipt: receipt, Err: err, Now: now, Jitter: rand.Float64(),
		Idempotent: l.Sender.Idempotent()}, l.r.schedule(c.Message), l.r.cfg.Unknowns)
	class := mail.ClassOf(err)
	if found == suspected {
		v.Lane, v.Result.Due = mail.Temporary, now.Add(wait)
	}
	l.tell(p, v.Lane, err, found, now)
	l.nudgeDispatch()
	if l.r.same.judge(c.Message, err) && l.r.noneSent(c.Message.ID) {
		v.PauseMessage, v.Stop = allRefused(c.Copy.Message, v.Result.Error), mail.Stop{Kind: mail.StopRefused, At: now}
	}
	if v.PauseMessage != "" {
		if stopped, err := l.r.cfg.Spool.Stop(context.WithoutCancel(ctx), c.Copy.Message, v.Stop, v.PauseMessage); err == nil && stopped {
			log.Warn("message paused", "reason", v.PauseMessage)
		}
	}
	if err == nil {
		log.Info("sent", "to", c.Copy.To, "upstream_id", receipt.ID)
	} else {
		log.Warn("not sent", "to", c.Copy.To, "state", v.Result.State, "class", class, "error", err)
	}
	return v.Result
}

// needless says whether a copy must not or need not be sent after all.
func (l *lane) needless(c *spool.Claim) (spool.Result, bool) {
	// Whoever has asked for a confirmation gets it, although they are suppressed until then;
	// and no bounce keeps the operator from being told.
	if state, reason, blocked := l.r.cfg.Blocked(c.Copy.To, c.Message.ListID()); blocked && c.Message.Notice != mail.NoticeConfirm && c.Message.Notice != mail.NoticeOperator {
		return spool.Result{State: state, At: time.Now(), Error: reason}, true
	}
	if l.r.cfg.Moot != nil {
		if reason, moot := l.r.cfg.Moot(c.Message); moot {
			return spool.Result{State: mail.CopyCancelled, At: time.Now(), Error: reason}, true
		}
	}
	return spool.Result{}, false
}

// tell lets the gate know how an attempt ended. What is the copy's own fault says
// nothing of the lane, not even that it works.
func (l *lane) tell(p *pass, concern mail.Class, err error, found finding, now time.Time) {
	class := mail.ClassOf(err)
	if class == mail.Uncertain {
		concern = class
	}
	reached := found == innocent && (err == nil || class == mail.Permanent || class == mail.Temporary)
	e := ending{class: concern, reached: reached, counts: err == nil || class == mail.Uncertain}
	e.reason, e.after = explainIf(err)
	if l.gate.end(p, e, now) {
		l.report()
	}
}

func explainIf(err error) (string, time.Duration) {
	if err == nil {
		return "", 0
	}
	return explain(err)
}

// report logs that the lane has stopped or started.
func (l *lane) report() {
	s := LaneStatus{Name: l.Name}
	l.gate.status(&s, time.Now(), l.r.cfg.Location)
	if s.State == "paused" {
		l.r.cfg.Log.Error("lane paused", "lane", l.Name, "reason", s.Reason, "until", s.Until)
		return
	}
	l.r.cfg.Log.Info("lane runs again", "lane", l.Name)
}

func (l *lane) nudgeDispatch() { signalTo(l.nudge) }

// send renders, signs and hands over. An ordinary mail that turns out to be more
// than upstream can carry, and of which it has taken nothing, is encoded and handed
// over once more within the same attempt.
func (l *lane) send(ctx context.Context, c *spool.Claim, p *pass) (Receipt, error) {
	receipt, err := l.handOver(ctx, c, p)
	if errors.Is(err, ErrNotSevenBit) && !l.Sender.EightBit() && ctx.Err() == nil {
		return l.handOver(ctx, c, p)
	}
	return receipt, err
}

// errNoTurn says that a copy was not handed over, because the lane or its message was
// stopped before its turn or who it is for has left meanwhile: the next attempt sees to that.
var errNoTurn = errors.New("the copy was not handed over")

// givenBack is the result of an attempt that was none: the copy waits in its old place.
func givenBack(c mail.Copy) spool.Result {
	now := time.Now()
	r := spool.Result{State: unspent(c), Due: c.Due, At: now}
	if r.Due.IsZero() {
		r.Due = now
	}
	return r
}

func (l *lane) handOver(ctx context.Context, c *spool.Claim, p *pass) (Receipt, error) {
	content, err := l.content(c)
	if err != nil {
		return Receipt{}, err
	}
	from := c.Message.From
	if l.r.cfg.ReturnPath != nil {
		from = l.r.cfg.ReturnPath(l.Name, c.Message, &c.Copy)
	}
	if !l.gate.await(p, l.halted) {
		return Receipt{}, errNoTurn
	}
	if p.waited {
		if _, needless := l.needless(c); needless || !l.r.cfg.Spool.Sendable(c.Message.ID) {
			return Receipt{}, errNoTurn
		}
	}
	defer l.gate.answered(p)
	return l.Sender.Send(ctx, &Delivery{From: from, To: c.Copy.To, Tag: c.Copy.Tag(), Content: content})
}

// content renders, encodes and signs. All three read what strangers wrote: where
// that makes them panic, one message is to pause, and not the gateway to end, at
// every start anew.
func (l *lane) content(c *spool.Claim) (content mail.Content, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = unmade(fmt.Errorf("rendering it failed: %v", p))
		}
	}()
	cfg := &l.r.cfg
	if content, err = cfg.Render(c.Message, &c.Copy); err != nil {
		return content, unmade(err)
	}
	if c.Message.List == nil && cfg.SevenBit != nil { // copies of lists are 7-bit
		if content, err = l.encoded(content); err != nil {
			return content, err
		}
	}
	if cfg.Sign != nil {
		if content, err = l.r.sign(content, c); err != nil {
			return content, unmade(err)
		}
	}
	return content, nil
}

// sign waits for one of the places. Each signature keeps a processor busy for about
// a millisecond; if many more were made at a time than there are processors, all that is
// accepted, stored and sent meanwhile would queue behind those that only wait.
func (r *Relay) sign(content mail.Content, c *spool.Claim) (mail.Content, error) {
	places := r.signing[bulk(*c)]
	places <- struct{}{}
	defer func() { <-places }()
	return r.cfg.Sign(content, c.Message.HeaderFrom)
}

// encoded is an ordinary mail as the lane's upstream can carry it. A long line where
// nothing may be encoded is no reason to refuse the mail: many servers take it.
func (l *lane) encoded(c mail.Content) (mail.Content, error) {
	if !l.Sender.EightBit() {
		return l.r.cfg.SevenBit(c)
	}
	if l.Sender.LongLines() || !longLine(c) {
		return c, nil
	}
	if encoded, err := l.r.cfg.SevenBit(c); err == nil {
		return encoded, nil
	}
	return c, nil
}

// maxLine is the most octets that a line has in SMTP, without CRLF.
const maxLine = 998

// longLine says whether a line of a mail is too long for SMTP.
func longLine(c mail.Content) bool {
	n := 0 // octets of the line so far, its CR among them
	for _, s := range append([][]byte{c.Header}, c.Body...) {
		for {
			end := bytes.IndexByte(s, '\n')
			if end < 0 {
				n += len(s)
				break
			}
			if n+end > maxLine+1 {
				return true
			}
			n, s = 0, s[end+1:]
		}
		if n > maxLine+1 {
			return true
		}
	}
	return false
}

// errUnmade is in the chain of what unmade gives.
var errUnmade = errors.New("a copy could not be made")

// unmade pauses the message.
func unmade(err error) error {
	return &mail.Error{Class: mail.MessageWide, Err: fmt.Errorf("%w: %w", errUnmade, err),
		Public: "this copy could not be made: " + err.Error() + "; mend that and resume the message"}
}

func (r *Relay) schedule(m *mail.Message) Schedule {
	if m.List == nil {
		return r.cfg.Ordinary
	}
	return r.cfg.Lists
}
