package sesfake_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/relay/ses/sesfake"
)

func sent() sesfake.Mail {
	return sesfake.Mail{ID: "0100fake", To: []string{"b@example.net"}, Tags: map[string]string{"postern": "tag-1"}, ConfigurationSet: "events", Raw: []byte(raw)}
}

func object(t *testing.T, e sesfake.Event) (o map[string]any) {
	t.Helper()
	if err := json.Unmarshal(e, &o); err != nil {
		t.Fatal(err)
	}
	return o
}

func TestEventsHaveTheShapeThatSESPublishes(t *testing.T) {
	at := time.Date(2026, 11, 26, 9, 0, 0, 669e6, time.UTC)
	m := sent()
	for _, c := range []struct {
		event     sesfake.Event
		kind, key string
		says      string // within the part that is named so
	}{
		{m.SendEvent(at), "Send", "send", `{}`},
		{m.DeliveryEvent(at), "Delivery", "delivery", `"recipients":["b@example.net"]`},
		{m.BounceEvent(at, sesfake.Bounce{Type: "Permanent", SubType: "General", Status: "5.1.1", Diagnostic: "smtp; 550 5.1.1 user unknown"}), "Bounce", "bounce",
			`"bouncedRecipients":[{"action":"failed","diagnosticCode":"smtp; 550 5.1.1 user unknown","emailAddress":"b@example.net","status":"5.1.1"}],"feedbackId":"0100fake-bounce"`},
		{m.BounceEvent(at, sesfake.Bounce{ID: "again"}), "Bounce", "bounce", `"feedbackId":"again"`},
		{m.ComplaintEvent(at, "abuse"), "Complaint", "complaint", `"complaintFeedbackType":"abuse"`},
		{m.ComplaintEvent(at, ""), "Complaint", "complaint", `"complainedRecipients":[{"emailAddress":"b@example.net"}]`},
		{m.DelayEvent(at, "MailboxFull"), "DeliveryDelay", "deliveryDelay", `"delayType":"MailboxFull"`},
		{m.RejectEvent(at), "Reject", "reject", `"reason":"Bad content"`},
	} {
		o := object(t, c.event)
		part, err := json.Marshal(o[c.key])
		if err != nil || o["eventType"] != c.kind || !strings.Contains(string(part), c.says) {
			t.Errorf("%s: %s, %v; want %s", o["eventType"], part, err, c.says)
		}
		about, _ := o["mail"].(map[string]any)
		tags, _ := about["tags"].(map[string]any)
		if about["messageId"] != m.ID || about["timestamp"] != "2026-11-26T09:00:00.669Z" || !reflect.DeepEqual(about["destination"], []any{"b@example.net"}) ||
			!reflect.DeepEqual(tags["postern"], []any{"tag-1"}) || !reflect.DeepEqual(tags["ses:configuration-set"], []any{"events"}) {
			t.Errorf("%s is about %v", c.kind, about)
		}
	}
	n := object(t, m.SendEvent(at).InSNS("1", at))
	if n["Type"] != "Notification" || n["Message"] != string(m.SendEvent(at)) {
		t.Errorf("%v", n)
	}
}

// queue takes batches as SQS does, and refuses as it is told.
type queue struct {
	mu     sync.Mutex
	bodies []string
	calls  int
	answer string // instead of taking
}

func (q *queue) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var in struct {
		QueueUrl string
		Entries  []struct{ Id, MessageBody string }
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.calls++
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil || len(in.Entries) == 0 || len(in.Entries) > 10 || r.Header.Get("X-Amz-Target") != "AmazonSQS.SendMessageBatch" {
		http.Error(w, "bad batch", http.StatusBadRequest)
		return
	}
	if q.answer != "" {
		_, _ = w.Write([]byte(q.answer))
		return
	}
	for _, e := range in.Entries {
		q.bodies = append(q.bodies, e.MessageBody)
	}
	_, _ = w.Write([]byte(`{"Successful":[]}`))
}

func TestAFeedPutsEveryEventIntoTheQueue(t *testing.T) {
	q := &queue{}
	srv := httptest.NewServer(q)
	defer srv.Close()
	f := &sesfake.Feed{Queue: srv.URL + "/123456789012/events", Twice: 5}
	ctx, cancel := context.WithCancel(t.Context())
	for i := range 20 { // before it runs
		m := sent()
		m.ID = fmt.Sprint(i)
		f.Hear(m)
	}
	done := make(chan error)
	go func() { done <- f.Run(ctx) }()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for f.Sent() < 48 { // 40, and each fifth once more
		<-tick.C
	}
	f.Hear(sent())
	for f.Sent() < 50 {
		<-tick.C
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	seen := map[string]int{}
	for _, b := range q.bodies {
		var e struct {
			EventType string
			Mail      struct{ MessageID string }
		}
		inner, _ := object(t, []byte(b))["Message"].(string)
		if err := json.Unmarshal([]byte(inner), &e); err != nil {
			t.Fatal(err)
		}
		seen[e.EventType+e.Mail.MessageID]++
	}
	if len(q.bodies) != 50 || len(seen) != 42 || seen["Send0"] != 1 || seen["Delivery0"] != 1 || seen["Send2"] != 2 {
		t.Errorf("%d events, %v", len(q.bodies), seen)
	}
}

func TestAFeedSaysWhatAQueueDoesNotTake(t *testing.T) {
	for answer, want := range map[string]string{
		`{"Failed":[{"Id":"1","Code":"InternalError","Message":"no"}]}`: "the queue does not take event 1: InternalError no",
		`<html>`: "invalid character",
	} {
		srv := httptest.NewServer(&queue{answer: answer})
		f := &sesfake.Feed{Queue: srv.URL, Raw: true, Fate: func(m sesfake.Mail) []sesfake.Event { return []sesfake.Event{m.RejectEvent(time.Now())} }}
		f.Hear(sent())
		if err := f.Run(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
		srv.Close()
	}
}
