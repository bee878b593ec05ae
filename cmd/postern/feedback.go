package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"postern/directory"
	"postern/mail"
	"postern/relay"
	"postern/relay/events"
	"postern/relay/events/sns"
	"postern/relay/events/sqs"
	"postern/relay/feedback"
)

// This file lets what comes back about copies reach the spool, the breakers and the
// local index of who gets no mail.

func (a *App) newFeedback() *feedback.Applier {
	return feedback.New(feedback.Config{
		Spool: a.spool, Observed: a.relay.Observed, Log: a.log,
		Bounced: func(ctx context.Context, p feedback.Proof) error {
			_, err := a.index.Suppress(ctx, suppressionBy(p, directory.KindBounce, "there is nobody at this address"))
			return unlessHopeless(a, p, err)
		},
		SoftBounced: func(ctx context.Context, p feedback.Proof) error {
			at := eventTime(p.Event)
			_, err := a.index.SoftBounce(ctx, p.To, at, at.In(a.cfg.location()).Format(time.DateOnly), evidence(p))
			return unlessHopeless(a, p, err)
		},
		Complained: func(ctx context.Context, p feedback.Proof) error {
			user := mail.Address(p.UserKey)
			if user == "" {
				user = p.To
			}
			_, err := a.index.Complained(ctx, p.To, user, suppressionBy(p, directory.KindComplaint, "its owner has called our mail spam"))
			return unlessHopeless(a, p, err)
		},
	})
}

// unlessHopeless lets pass what no repetition would mend, so that one odd event does not
// keep the others from having their effect for ever.
func unlessHopeless(a *App, p feedback.Proof, err error) error {
	if err != nil && mail.ClassOf(err) == mail.Permanent {
		a.log.Error("an address could not be suppressed", "to", p.To, "message", p.Message, "copy", p.Copy, "error", err)
		return nil
	}
	return err
}

func suppressionBy(p feedback.Proof, kind directory.Kind, reason string) directory.Suppression {
	if p.Event.Words != "" {
		reason = p.Event.Words
	}
	return directory.Suppression{Address: p.To, Kind: kind, Reason: reason, At: eventTime(p.Event), Evidence: evidence(p)}
}

func evidence(p feedback.Proof) directory.Evidence {
	return directory.Evidence{How: p.Event.Source, Message: p.Message, Copy: p.Event.Tag, UpstreamID: p.Event.UpstreamID,
		EventID: p.Event.ID, Status: p.Event.Status, Words: p.Event.Words, UserKey: mail.Address(p.UserKey)}
}

func eventTime(e events.Event) time.Time {
	if e.At.IsZero() {
		return time.Now()
	}
	return e.At
}

// eventQueue is a queue of events, and the lanes whose events it brings.
type eventQueue struct {
	*sqs.Reader
	url string
}

// buildQueues prepares the readers of the lanes' queues, each once.
func (a *App) buildQueues() error {
	for i := range a.cfg.Lanes {
		l := &a.cfg.Lanes[i]
		if l.Driver != "ses" || l.SES.EventsQueue == "" || a.queueOf(l) != nil {
			continue
		}
		r, err := sqs.New(context.Background(), sqs.Config{QueueURL: l.SES.EventsQueue, Region: l.SES.Region, Log: a.log})
		if err != nil {
			return fmt.Errorf("lane[%d].ses.events_queue: %w", i, err)
		}
		a.queues = append(a.queues, &eventQueue{r, l.SES.EventsQueue})
	}
	return nil
}

func (a *App) queueOf(l *LaneConfig) *eventQueue {
	for _, q := range a.queues {
		if l.Driver == "ses" && q.url == l.SES.EventsQueue {
			return q
		}
	}
	return nil
}

// publicPages are the pages for everybody, and the address that SNS calls where a lane has
// a topic.
func (a *App) publicPages(pages http.Handler) (http.Handler, error) {
	var topics []string
	for i := range a.cfg.Lanes {
		if l := &a.cfg.Lanes[i]; l.Driver == "ses" && l.SES.EventsTopic != "" {
			topics = append(topics, l.SES.EventsTopic)
		}
	}
	if topics == nil {
		return pages, nil
	}
	h, err := sns.New(sns.Config{Topics: topics, Apply: a.feedback.Apply, Log: a.log})
	if err != nil {
		return nil, fmt.Errorf("lane.ses.events_topic: %w", err)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // a ServeMux would redirect one-clicks
		if strings.HasSuffix(r.URL.Path, "/events/sns") { // below the path of base_url, where it has one
			h.ServeHTTP(w, r)
			return
		}
		pages.ServeHTTP(w, r)
	}), nil
}

// lanes tells how the lanes stand, and whether their events come in.
func (a *App) lanes() []relay.LaneStatus {
	all := a.relay.Lanes()
	for i := range all {
		q := a.queueOf(&a.cfg.Lanes[i])
		if q == nil {
			continue
		}
		if ok, words, _ := q.Status(); !ok {
			all[i].Events = words
		}
	}
	return all
}
