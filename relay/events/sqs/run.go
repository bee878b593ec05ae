package sqs

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"postern/relay/events"
)

// Source is what the events of a queue say of where they came from.
const Source = "Amazon SES by SQS"

// Apply does what follows from events; an error has them come again. To do it twice
// must change nothing.
type Apply func(ctx context.Context, all []events.Event) error

// Run reads the queue until ctx ends. It is called once.
func (r *Reader) Run(ctx context.Context, apply Apply) {
	defer r.transport.CloseIdleConnections()
	l := &loop{Reader: r, apply: apply, width: 1}
	pause := minBackOff
	for ctx.Err() == nil {
		err := l.round(ctx)
		if ctx.Err() != nil {
			return
		}
		r.note(err)
		if err == nil {
			pause = minBackOff
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, maxBackOff)
	}
}

// loop is one Run.
type loop struct {
	*Reader
	apply Apply
	width int  // receives of the next round
	asked bool // the queue has answered once
}

// round receives, applies and deletes.
func (l *loop) round(ctx context.Context) error {
	messages, err := l.receive(ctx)
	if len(messages) == 0 {
		return err
	}
	all, done := l.read(ctx, messages)
	if len(all) > 0 {
		if failed := l.apply(ctx, all); failed != nil {
			return &notApplied{failed}
		}
	}
	return errors.Join(err, l.delete(ctx, done))
}

// receive waits for messages. When the rounds before were full, it asks several
// times at once: a receive brings ten at most, and few even when there are thousands.
func (l *loop) receive(ctx context.Context) ([]types.Message, error) {
	wait := longPoll
	if !l.asked {
		wait = 0 // what is wrong with the queue is to be known soon
	}
	messages, err := l.ask(ctx, wait)
	if err != nil || len(messages) == 0 {
		l.asked, l.width = err == nil, 1
		return nil, err
	}
	l.asked = true
	more := make([][]types.Message, l.width-1)
	errs := make([]error, l.width-1)
	var all sync.WaitGroup
	for i := range more {
		all.Go(func() { more[i], errs[i] = l.ask(ctx, 0) })
	}
	all.Wait()
	full := len(messages) > perReceive/2
	for _, m := range more {
		messages = append(messages, m...)
		full = full && len(m) > 0
	}
	// A receive may find nothing in a queue that holds some: SQS asks few of its servers.
	if full {
		l.width = min(2*l.width, maxWidth)
	} else {
		l.width = max(l.width/2, 1)
	}
	return messages, errors.Join(errs...)
}

func (l *loop) ask(ctx context.Context, wait time.Duration) ([]types.Message, error) {
	ctx, cancel := context.WithTimeout(ctx, wait+15*time.Second)
	defer cancel()
	out, err := l.api.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
		QueueUrl: &l.cfg.QueueURL, MaxNumberOfMessages: perReceive, WaitTimeSeconds: seconds(wait), VisibilityTimeout: seconds(l.cfg.Visibility),
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameApproximateReceiveCount},
	})
	if err != nil {
		return nil, &failed{"sqs:ReceiveMessage", err}
	}
	return out.Messages, nil
}

// read turns messages into events; done are those that may be deleted when the
// events are applied.
func (l *loop) read(ctx context.Context, messages []types.Message) (all []events.Event, done []types.Message) {
	for _, m := range messages {
		found, err := events.ParseSES([]byte(str(m.Body)))
		if err != nil && !l.spent(ctx, m, err) {
			continue
		}
		for i := range found {
			found[i].Source = Source
		}
		all, done = append(all, found...), append(done, m)
	}
	return all, done
}

// spent says whether a message that is no event is to be deleted.
func (l *loop) spent(ctx context.Context, m types.Message, why error) bool {
	receives, _ := strconv.Atoi(m.Attributes[string(types.MessageSystemAttributeNameApproximateReceiveCount)])
	log := l.log.With("queue", l.cfg.QueueURL, "message", str(m.MessageId), "octets", len(str(m.Body)), "receives", receives, "error", why)
	if receives < maxReceives || l.hasRedrive(ctx) {
		log.Warn("a message of the events queue is no event; it is left there")
		return false
	}
	log.Error("a message of the events queue is no event and was deleted; give the queue a redrive policy to keep such messages")
	return true
}

// hasRedrive says whether somebody else takes care of messages that are never
// deleted. Where it may not be asked, nobody does.
func (l *loop) hasRedrive(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	out, err := l.api.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: &l.cfg.QueueURL, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameRedrivePolicy}})
	if err != nil {
		return !isDenied(err)
	}
	return out.Attributes[string(types.QueueAttributeNameRedrivePolicy)] != ""
}

// delete tells the queue that messages are done. One that it could not delete comes
// again.
func (l *loop) delete(ctx context.Context, done []types.Message) error {
	var batches [][]types.Message
	for len(done) > 0 {
		n := min(perReceive, len(done))
		batches, done = append(batches, done[:n]), done[n:]
	}
	errs := make([]error, len(batches))
	var all sync.WaitGroup
	for i := range batches {
		all.Go(func() { errs[i] = l.deleteBatch(ctx, batches[i]) })
	}
	all.Wait()
	return errors.Join(errs...)
}

func (l *loop) deleteBatch(ctx context.Context, batch []types.Message) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	entries := make([]types.DeleteMessageBatchRequestEntry, len(batch))
	for i := range batch {
		id := strconv.Itoa(i)
		entries[i] = types.DeleteMessageBatchRequestEntry{Id: &id, ReceiptHandle: batch[i].ReceiptHandle}
	}
	out, err := l.api.DeleteMessageBatch(ctx, &sqs.DeleteMessageBatchInput{QueueUrl: &l.cfg.QueueURL, Entries: entries})
	if err != nil {
		return &failed{"sqs:DeleteMessage", err}
	}
	if n := len(out.Failed); n > 0 {
		l.log.Info("some messages of the events queue could not be deleted and will come again", "queue", l.cfg.QueueURL, "messages", n,
			"why", fmt.Sprintf("%s: %s", str(out.Failed[0].Code), str(out.Failed[0].Message)))
	}
	return nil
}

func str(p *string) string {
	if p == nil {
		return ""
	}
	return *p
}
