package peer

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
)

// Fauxqs is a running emulator of SQS and SNS.
type Fauxqs struct {
	URL    string
	client *http.Client
}

// StartFauxqs starts the emulator.
func StartFauxqs(t testing.TB) *Fauxqs {
	t.Helper()
	port := Port(t)
	app, err := json.Marshal("file://" + filepath.Join(NodeModules(t), "fauxqs", "dist", "app.js"))
	if err != nil {
		t.Fatal(err)
	}
	// Its own command listens on every interface and logs each request.
	Start(t, port, Command(t, "node"), "--input-type=module", "--eval",
		fmt.Sprintf(`import { buildApp } from %s; await buildApp({ logger: false }).listen({ port: %d, host: "127.0.0.1" })`, app, port))
	f := &Fauxqs{URL: fmt.Sprintf("http://127.0.0.1:%d", port), client: &http.Client{Transport: &http.Transport{}}}
	t.Cleanup(f.client.CloseIdleConnections)
	return f
}

// Queue makes a queue of SQS and gives its URL, whose host is this machine's.
func (f *Fauxqs) Queue(t testing.TB, name string, attributes map[string]string) string {
	t.Helper()
	var made struct{ QueueUrl string }
	f.sqs(t, "CreateQueue", map[string]any{"QueueName": name, "Attributes": attributes}, &made)
	return made.QueueUrl
}

// Topic makes a topic of SNS that goes to queues of these names, in SNS's envelope
// or raw, and gives its ARN.
func (f *Fauxqs) Topic(t testing.TB, name string, raw bool, queues ...string) string {
	t.Helper()
	var made struct {
		ARN string `xml:"CreateTopicResult>TopicArn"`
	}
	f.sns(t, url.Values{"Action": {"CreateTopic"}, "Name": {name}}, &made)
	for _, q := range queues {
		f.sns(t, url.Values{"Action": {"Subscribe"}, "TopicArn": {made.ARN}, "Protocol": {"sqs"}, "Endpoint": {QueueARN(q)},
			"Attributes.entry.1.key": {"RawMessageDelivery"}, "Attributes.entry.1.value": {fmt.Sprint(raw)}}, nil)
	}
	return made.ARN
}

// QueueARN names a queue of the emulator.
func QueueARN(name string) string { return "arn:aws:sqs:us-east-1:000000000000:" + name }

// Publish gives messages to a topic.
func (f *Fauxqs) Publish(t testing.TB, topic string, messages ...string) {
	t.Helper()
	for len(messages) > 0 {
		some := messages[:min(10, len(messages))]
		messages = messages[len(some):]
		form := url.Values{"Action": {"PublishBatch"}, "TopicArn": {topic}}
		for i, m := range some {
			entry := fmt.Sprintf("PublishBatchRequestEntries.member.%d.", i+1)
			form.Set(entry+"Id", fmt.Sprint(i))
			form.Set(entry+"Message", m)
		}
		f.sns(t, form, nil)
	}
}

// Send puts messages into a queue as they are.
func (f *Fauxqs) Send(t testing.TB, queue string, messages ...string) {
	t.Helper()
	for _, m := range messages {
		f.sqs(t, "SendMessage", map[string]any{"QueueUrl": queue, "MessageBody": m}, nil)
	}
}

// Left is how many messages a queue holds, also those that a reader has in hand.
func (f *Fauxqs) Left(t testing.TB, queue string) int {
	t.Helper()
	var all []struct {
		URL                                                                        string
		ApproximateMessageCount, ApproximateInflightCount, ApproximateDelayedCount int
	}
	resp, err := f.client.Get(f.URL + "/_fauxqs/queues")
	if err == nil {
		defer resp.Body.Close()
		err = json.NewDecoder(resp.Body).Decode(&all)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range all {
		if q.URL == queue {
			return q.ApproximateMessageCount + q.ApproximateInflightCount + q.ApproximateDelayedCount
		}
	}
	t.Fatalf("the emulator has no queue %s", queue)
	return 0
}

func (f *Fauxqs) sqs(t testing.TB, action string, in, out any) {
	t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequest("POST", f.URL, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-amz-json-1.0")
	r.Header.Set("X-Amz-Target", "AmazonSQS."+action)
	if answer := f.ask(t, r); out != nil {
		if err := json.Unmarshal(answer, out); err != nil {
			t.Fatal(err)
		}
	}
}

func (f *Fauxqs) sns(t testing.TB, form url.Values, out any) {
	t.Helper()
	r, err := http.NewRequest("POST", f.URL, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if answer := f.ask(t, r); out != nil {
		if err := xml.Unmarshal(answer, out); err != nil {
			t.Fatal(err)
		}
	}
}

func (f *Fauxqs) ask(t testing.TB, r *http.Request) []byte {
	t.Helper()
	resp, err := f.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("the emulator answers %s: %s, %v", resp.Status, answer, err)
	}
	return answer
}
