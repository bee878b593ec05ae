package sesfake

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Feed puts the events of accepted mails into an SQS queue, in batches and from one
// goroutine, in the order in which the mails came.
type Feed struct {
	// Queue is the queue's URL, on an emulator: nothing is signed.
	Queue string
	// Fate makes the events of a mail. nil: a Send and a Delivery.
	Fate func(Mail) []Event
	// Raw leaves out SNS's envelope.
	Raw bool
	// Twice publishes each so many-th event twice, as SQS may; 0: none.
	Twice int

	mu   sync.Mutex
	wait []Event
	more chan struct{}
	made int
	sent int
}

// Hear is for [Fake.OnAccept].
func (f *Feed) Hear(m Mail) {
	events := f.events(m)
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range events {
		f.made++
		if !f.Raw {
			e = e.InSNS(strconv.Itoa(f.made), time.Now())
		}
		f.wait = append(f.wait, e)
		if f.Twice > 0 && f.made%f.Twice == 0 {
			f.wait = append(f.wait, e)
		}
	}
	f.nudge()
}

func (f *Feed) events(m Mail) []Event {
	if f.Fate != nil {
		return f.Fate(m)
	}
	now := time.Now()
	return []Event{m.SendEvent(now), m.DeliveryEvent(now)}
}

// nudge wants the lock to be held.
func (f *Feed) nudge() {
	if f.more == nil {
		f.more = make(chan struct{}, 1)
	}
	select {
	case f.more <- struct{}{}:
	default:
	}
}

// Sent is how many events are in the queue, repeated ones included.
func (f *Feed) Sent() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sent
}

// batch is the most that one call takes
// (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html).
const batch = 10

// Run publishes until ctx ends, or the queue takes an event no more.
func (f *Feed) Run(ctx context.Context) error {
	f.mu.Lock()
	f.nudge()
	more := f.more
	f.mu.Unlock()
	client := &http.Client{Transport: &http.Transport{DialContext: dial}}
	defer client.CloseIdleConnections()
	for {
		events := f.next()
		if len(events) == 0 {
			select {
			case <-more:
				continue
			case <-ctx.Done():
				return nil
			}
		}
		if err := f.publish(ctx, client, events); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		f.mu.Lock()
		f.sent += len(events)
		f.mu.Unlock()
	}
}

func (f *Feed) next() []Event {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := min(batch, len(f.wait))
	events := f.wait[:n:n]
	f.wait = f.wait[n:]
	return events
}

func (f *Feed) publish(ctx context.Context, client *http.Client, events []Event) error {
	type entry struct{ Id, MessageBody string }
	request := struct {
		QueueUrl string
		Entries  []entry
	}{QueueUrl: f.Queue}
	for i, e := range events {
		request.Entries = append(request.Entries, entry{strconv.Itoa(i), string(e)})
	}
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	at, err := url.Parse(f.Queue)
	if err != nil {
		return err
	}
	// The JSON protocol of AWS names the operation in a header, and the queue in the body.
	at.Path = "/"
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, at.String(), bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-amz-json-1.0")
	r.Header.Set("X-Amz-Target", "AmazonSQS.SendMessageBatch")
	resp, err := client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	said, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return err
	}
	return refused(resp.StatusCode, said)
}

// dial takes names below localhost for this machine (RFC 6761 §6.3), which not every
// resolver does: emulators give such names to their queues.
func dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if host, port, err := net.SplitHostPort(addr); err == nil && strings.HasSuffix(host, ".localhost") {
		addr = net.JoinHostPort("127.0.0.1", port)
	}
	return (&net.Dialer{}).DialContext(ctx, network, addr)
}

// refused says what a queue has not taken.
func refused(status int, said []byte) error {
	var a struct {
		Failed []struct{ Id, Code, Message string }
	}
	if status != http.StatusOK {
		return fmt.Errorf("the queue answers HTTP %d: %.300s", status, said)
	}
	err := json.Unmarshal(said, &a)
	for _, e := range a.Failed {
		err = errors.Join(err, fmt.Errorf("the queue does not take event %s: %s %s", e.Id, e.Code, e.Message))
	}
	return err
}
