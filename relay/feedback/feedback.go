package feedback

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"postern/mail"
	"postern/relay/events"
	"postern/spool"
)

// Config is what an Applier works with. Its funcs return when what they did is on disk,
// and do nothing when they are called again with the same proof.
type Config struct {
	Spool *spool.Spool
	// Bounced suppresses an address at which there is nobody, SoftBounced counts a day on
	// which mail did not reach it, and Complained takes a person off everything.
	Bounced, SoftBounced, Complained func(context.Context, Proof) error
	// Observed is told what has changed, in order (relay.Relay.Observed).
	Observed func(context.Context, []*spool.Observed)
	Log      *slog.Logger
}

// Proof is what an event says about an address, and all that is known of how.
type Proof struct {
	To      mail.Address // whom the copy was for
	UserKey string       // as the directory has it; "" for ordinary mail, or when the copy is gone
	List    string       // id; "" for ordinary mail
	Message mail.ID
	Copy    uint32
	Event   events.Event
}

// Applier applies events. It is used from many goroutines.
type Applier struct{ cfg Config }

// New makes an Applier.
func New(cfg Config) *Applier {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Applier{cfg}
}

// known is an event whose copy is found.
type known struct {
	event   *events.Event
	proof   Proof
	outcome mail.Outcome
	had     mail.Outcome // of the copy, before
	kept    bool         // the spool still holds the copy
}

// Apply lets events have their effect. On an error some of them had it and others not:
// apply all of them again. Events about mail that is not ours are passed over.
func (a *Applier) Apply(ctx context.Context, all []events.Event) error {
	var found []known
	for i := range all {
		k, err := a.find(&all[i])
		if errors.Is(err, spool.ErrNotFound) {
			a.cfg.Log.Debug("an event about no mail of this gateway", "event", all[i].Kind, "upstream_id", all[i].UpstreamID, "source", all[i].Source)
			continue
		}
		if err != nil {
			return err
		}
		if err := a.prove(ctx, &k); err != nil {
			return err
		}
		found = append(found, k)
	}
	return a.observe(ctx, found)
}

// find looks for the copy. One whose message has left the spool is known by its tag
// alone: what the event proves about the address still counts.
func (a *Applier) find(e *events.Event) (known, error) {
	k := known{event: e, proof: Proof{Event: *e, To: e.To}}
	c, err := a.copyOf(e)
	if err != nil && !errors.Is(err, spool.ErrNotFound) {
		return k, err
	}
	if err != nil {
		id, seq, bad := mail.ParseTag(e.Tag)
		if bad != nil || seq == 0 || e.To == "" {
			return k, spool.ErrNotFound
		}
		if _, inSpool := a.cfg.Spool.Message(id); inSpool == nil { // a message of ours, and no copy of it
			return k, spool.ErrNotFound
		}
		k.proof.Message, k.proof.Copy = id, seq
		return k, nil
	}
	if e.For != "" && e.For.Key() != c.To.Key() {
		return k, spool.ErrNotFound // who had the copy has sent it on, with our mark in its header
	}
	sum, err := a.cfg.Spool.Message(c.Message)
	if err != nil {
		return k, err
	}
	k.kept, k.had = true, c.Outcome
	k.proof.To, k.proof.UserKey, k.proof.List, k.proof.Message, k.proof.Copy = c.To, c.UserKey, sum.ListID(), c.Message, c.Seq
	return k, nil
}

func (a *Applier) copyOf(e *events.Event) (mail.Copy, error) {
	if id, seq, err := mail.ParseTag(e.Tag); err == nil && seq > 0 {
		c, err := a.cfg.Spool.Copy(id, seq)
		if err == nil && c.Claims == 0 && c.State != mail.InFlight {
			return c, spool.ErrNotFound // never tried: no event can be about it
		}
		return c, err
	}
	if e.UpstreamID == "" {
		return mail.Copy{}, spool.ErrNotFound
	}
	return a.cfg.Spool.ByUpstream(e.UpstreamID)
}

// prove writes down what the event proves about the address. One that does not raise
// the copy's outcome has been proved before, or something graver has: a replayed event
// proves nothing anew, even when its suppression has been lifted meanwhile.
func (a *Applier) prove(ctx context.Context, k *known) error {
	var reach events.Reach
	k.outcome, reach = k.event.Judge()
	var tell func(context.Context, Proof) error
	switch reach {
	case events.ReachHard:
		tell = a.cfg.Bounced
	case events.ReachSoft:
		tell = a.cfg.SoftBounced
	case events.ReachSpam:
		tell = a.cfg.Complained
	}
	if tell == nil || k.kept && k.outcome <= k.had {
		return nil
	}
	if err := tell(ctx, k.proof); err != nil {
		return fmt.Errorf("note what an event says about an address: %w", err)
	}
	return nil
}

// observe raises outcomes, in one commit, and lets the breakers count.
func (a *Applier) observe(ctx context.Context, found []known) error {
	var list []spool.Observation
	var of []*known
	for i := range found {
		k := &found[i]
		if !k.kept {
			a.log(k, nil)
			continue
		}
		at := k.event.At
		if at.IsZero() {
			at = time.Now()
		}
		list = append(list, spool.Observation{Message: k.proof.Message, Seq: k.proof.Copy, UpstreamID: k.event.UpstreamID,
			Outcome: k.outcome, Words: k.event.Words, At: at, Uncounted: k.event.Uncounted()})
		of = append(of, k)
	}
	if len(list) == 0 {
		return nil
	}
	seen, err := a.cfg.Spool.Observe(ctx, list)
	if err != nil {
		return err
	}
	for i, o := range seen {
		a.log(of[i], o)
	}
	if a.cfg.Observed != nil {
		a.cfg.Observed(ctx, seen)
	}
	return nil
}

// log is a line for each event: what went well is many, and for debugging.
func (a *Applier) log(k *known, o *spool.Observed) {
	level, settled := slog.LevelDebug, o != nil && o.Settled
	if k.outcome > mail.Delivered && (o == nil || o.Raised) || settled {
		level = slog.LevelInfo
	}
	e := k.event
	a.cfg.Log.Log(context.Background(), level, "event", "event", e.Kind, "message", k.proof.Message, "copy", k.proof.Copy, "to", k.proof.To,
		"outcome", k.outcome, "type", e.Type+e.Abuse, "subtype", e.SubType, "status", e.Status, "diagnostic", e.Words,
		"settles_unknown", settled, "upstream_id", e.UpstreamID, "source", e.Source)
}
