package relay

import (
	"context"
	"time"

	"postern/mail"
)

// How often what goes on by itself is looked after.
const (
	everyResume = 5 * time.Second
	everyNote   = time.Minute
)

// tend takes back what is foreseen no more, sets messages going again whose pause is over, and writes down what the
// breakers have counted, until ctx ends.
func (r *Relay) tend(ctx context.Context) {
	r.unforesee(ctx)
	tick := time.NewTicker(everyResume)
	defer tick.Stop()
	noted := time.Now()
	for {
		select {
		case <-ctx.Done():
			r.note(context.WithoutCancel(ctx))
			return
		case now := <-tick.C:
			ids, err := r.cfg.Spool.ResumeDue(ctx, now)
			if err != nil && ctx.Err() == nil && r.cfg.Spool.Broken() == nil {
				r.cfg.Log.Error("paused messages could not be resumed", "error", err)
			}
			for _, id := range ids {
				r.cfg.Log.Info("message tried again after its pause", "message", id)
			}
			if now.Sub(noted) >= everyNote {
				noted = now
				r.note(ctx)
			}
		}
	}
}

// note writes down what the lanes' breakers have counted.
func (r *Relay) note(ctx context.Context) {
	for _, l := range r.lanes {
		hours := l.rolling.news()
		if hours == nil || r.cfg.Spool.Broken() != nil {
			continue
		}
		if err := editLane(ctx, r.cfg.Spool, l.Name, func(row *laneRow) { row.Day = hours }); err != nil && ctx.Err() == nil {
			r.cfg.Log.Error("what the breaker has counted could not be written down", "lane", l.Name, "error", err)
		}
	}
}

// noneSent says that upstream has accepted no copy of a message.
func (r *Relay) noneSent(id mail.ID) bool {
	sum, err := r.cfg.Spool.Message(id)
	return err == nil && sum.Counts[mail.Sent] == 0
}

func allRefused(id mail.ID, words string) string {
	return "the first copies were all refused in the same words: “" + words + "”; mend that and resume the message, or cancel it. " +
		"Those that were refused are sent again by `postern queue retry " + string(id) + " --failed`"
}
