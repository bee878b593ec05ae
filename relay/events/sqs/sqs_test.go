package sqs_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"postern/internal/peer"
	"postern/mail"
	"postern/relay/events"
	"postern/relay/events/sqs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// event is what SES says of the copy n.
func event(n int) string {
	return fmt.Sprintf(`{"eventType":"Bounce","mail":{"timestamp":"2026-11-23T00:00:05.123Z","messageId":"up-%d","destination":["kim%d@example.net"],"tags":{"postern":["%s"]}},`+
		`"bounce":{"feedbackId":"fb-%d","bounceType":"Permanent","bounceSubType":"General","bouncedRecipients":[{"emailAddress":"kim%d@example.net","status":"5.1.1","diagnosticCode":"smtp; 550 5.1.1 \"no such user\""}]}}`,
		n, n, tag(n), n, n)
}

func tag(n int) string {
	c := mail.Copy{Message: "01KBQ7ZJ3N8R5T9V2W4X6Y8Z0A", Seq: uint32(n)}
	return c.Tag()
}

// log is a log that tests read.
type log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// running is a reader at work.
type running struct {
	*sqs.Reader
	log   *log
	stop  context.CancelFunc
	ended chan struct{}
}

func run(t testing.TB, queue string, apply sqs.Apply) *running {
	t.Helper()
	r := &running{log: &log{}, ended: make(chan struct{})}
	var err error
	r.Reader, err = sqs.New(t.Context(), sqs.Config{QueueURL: queue, Visibility: time.Second, Log: slog.New(slog.NewTextHandler(r.log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	var ctx context.Context
	ctx, r.stop = context.WithCancel(context.Background())
	go func() { r.Run(ctx, apply); close(r.ended) }()
	t.Cleanup(func() { r.stop(); <-r.ended })
	return r
}

// until waits for what a reader and an emulator do.
func until(t testing.TB, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(time.Minute)
	for !is() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("after a minute it is not so that " + what)
		}
	}
}

// seen counts the events by tag.
type seen struct {
	mu    sync.Mutex
	calls int
	tags  map[string]int
}

func (s *seen) add(all []events.Event) (call int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tags == nil {
		s.tags = map[string]int{}
	}
	for i := range all {
		s.tags[all[i].Tag]++
	}
	s.calls++
	return s.calls
}

func (s *seen) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.tags)
}

// TestEveryEventIsApplied, be it raw or in SNS's envelope, repeated or out of order,
// and though applying fails at times.
func TestEveryEventIsApplied(t *testing.T) {
	f := peer.StartFauxqs(t)
	queue := f.Queue(t, "events", nil)
	wrapped, raw := f.Topic(t, "wrapped", false, "events"), f.Topic(t, "raw", true, "events")
	const n = 1000
	var even, odd []string
	for i := 2; i <= n; i += 2 {
		even, odd = append(even, event(n-i+2)), append(odd, event(i-1))
	}
	f.Publish(t, wrapped, even...)
	f.Publish(t, raw, odd...)
	f.Publish(t, raw, even[:100]...)
	f.Publish(t, wrapped, "Successfully validated SNS topic for Amazon SES event publishing.", `{"eventType":"Open","mail":{"messageId":"x"}}`)
	var all seen
	var inApply sync.Mutex
	run(t, queue, func(_ context.Context, got []events.Event) error {
		if !inApply.TryLock() {
			t.Error("two calls at a time")
			return nil
		}
		defer inApply.Unlock()
		for _, e := range got {
			if e.Kind != events.Bounce || e.Status != "5.1.1" || e.Words != `550 5.1.1 "no such user"` || e.Source != sqs.Source || string(e.To) != "kim"+strings.TrimPrefix(e.UpstreamID, "up-")+"@example.net" {
				t.Errorf("%+v", e)
			}
		}
		if call := all.add(got); call == 2 || call == 5 {
			return errors.New("the disk is full")
		}
		return nil
	})
	until(t, "the queue is empty", func() bool { return f.Left(t, queue) == 0 })
	if all.count() != n || all.calls > n/10+100 {
		t.Errorf("%d events in %d calls", all.count(), all.calls)
	}
}

// TestWhatIsNotAppliedComesAgain, also to another reader, when its time is over.
func TestWhatIsNotAppliedComesAgain(t *testing.T) {
	f := peer.StartFauxqs(t)
	queue := f.Queue(t, "events", nil)
	f.Send(t, queue, event(1))
	first := make(chan struct{})
	a := run(t, queue, func(context.Context, []events.Event) error { close(first); return errors.New("the disk is full") })
	<-first
	until(t, "the reader says so", func() bool { _, words, _ := a.Status(); return strings.Contains(words, "the disk is full") })
	a.stop()
	<-a.ended
	if f.Left(t, queue) != 1 {
		t.Fatal("the event is gone")
	}
	var all seen
	b := run(t, queue, func(_ context.Context, got []events.Event) error { all.add(got); return nil })
	until(t, "the event is applied and deleted", func() bool { return f.Left(t, queue) == 0 })
	until(t, "the reader is well", func() bool {
		ok, words, last := b.Status()
		return ok && words == "the queue is read" && !last.IsZero()
	})
	if all.tags[tag(1)] != 1 {
		t.Error(all.tags)
	}
}

// TestAMessageThatIsNoEvent is left to the redrive policy, and where there is none
// it is deleted after some receives. Its text is in no log.
func TestAMessageThatIsNoEvent(t *testing.T) {
	f := peer.StartFauxqs(t)
	dead := f.Queue(t, "dead", nil)
	plain := f.Queue(t, "plain", nil)
	driven := f.Queue(t, "driven", map[string]string{"RedrivePolicy": fmt.Sprintf(`{"deadLetterTargetArn":%q,"maxReceiveCount":6}`, peer.QueueARN("dead"))})
	var all seen
	apply := func(_ context.Context, got []events.Event) error { all.add(got); return nil }
	var readers []*running
	for i, queue := range []string{plain, driven} {
		f.Send(t, queue, "a secret text", event(i+1))
		readers = append(readers, run(t, queue, apply))
	}
	until(t, "the events are applied", func() bool { return all.count() == 2 })
	until(t, "the text was deleted", func() bool { return f.Left(t, plain) == 0 })
	until(t, "the text is in the other queue", func() bool { return f.Left(t, driven) == 0 && f.Left(t, dead) == 1 })
	for i, r := range readers {
		said := r.log.String()
		if strings.Contains(said, "secret") || !strings.Contains(said, "receives=1 ") || strings.Contains(said, "was deleted") != (i == 0) {
			t.Error(said)
		}
	}
}

// TestAReaderWaitsForItsQueue and is well as soon as there is one.
func TestAReaderWaitsForItsQueue(t *testing.T) {
	f := peer.StartFauxqs(t)
	queue := strings.Replace(f.Queue(t, "other", nil), "/other", "/events", 1)
	r := run(t, queue, func(context.Context, []events.Event) error { return nil })
	until(t, "the reader misses it", func() bool {
		ok, words, last := r.Status()
		return !ok && last.IsZero() && strings.Contains(words, "there is no queue "+queue+"; make it")
	})
	f.Queue(t, "events", nil)
	until(t, "the reader is well", func() bool { ok, _, _ := r.Status(); return ok })
	if said := r.log.String(); strings.Count(said, "events do not come in") != 1 || !strings.Contains(said, "the events queue is read") {
		t.Error(said)
	}
}

// TestAReaderEndsAtOnce while it waits for a message.
func TestAReaderEndsAtOnce(t *testing.T) {
	f := peer.StartFauxqs(t)
	r := run(t, f.Queue(t, "events", nil), func(context.Context, []events.Event) error { return nil })
	until(t, "the queue was read", func() bool { ok, _, _ := r.Status(); return ok })
	r.stop()
	<-r.ended
	if said := r.log.String(); strings.Contains(said, "do not come in") {
		t.Error(said)
	}
}

// TestWhatIsWrongIsSaidWithWhatToDo, as Amazon answers.
func TestWhatIsWrongIsSaidWithWhatToDo(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_PROFILE", "")
	for code, want := range map[string]string{
		"AccessDenied":                 "do sqs:ReceiveMessage on the queue",
		"QueueDoesNotExist":            "make it, or mend events_queue",
		"KmsAccessDenied":              "allow kms:Decrypt",
		"InvalidClientTokenId":         "renew them",
		"InvalidParameterValue":        "fails with InvalidParameterValue: because",
		"delete:AccessDeniedException": "do sqs:DeleteMessage on the queue",
	} {
		t.Run(code, func(t *testing.T) {
			code, onDelete := strings.CutPrefix(code, "delete:")
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				w.Header().Set("Content-Type", "application/x-amz-json-1.0")
				if onDelete != strings.HasSuffix(q.Header.Get("X-Amz-Target"), "DeleteMessageBatch") {
					if err := json.NewEncoder(w).Encode(map[string]any{"Messages": []any{map[string]string{"MessageId": "m", "ReceiptHandle": "r", "Body": event(1), "MD5OfBody": digest(event(1))}}}); err != nil {
						t.Error(err)
					}
					return
				}
				w.WriteHeader(http.StatusBadRequest)
				fmt.Fprintf(w, `{"__type":"com.amazonaws.sqs#%s","message":"because"}`, code)
			}))
			defer srv.Close()
			r := run(t, srv.URL+"/1/events", func(context.Context, []events.Event) error { return nil })
			until(t, "the reader says what is wrong", func() bool { ok, words, _ := r.Status(); return !ok && strings.Contains(words, want) })
			r.stop()
			<-r.ended
			if said := r.log.String(); !strings.Contains(said, want) {
				t.Error(said)
			}
		})
	}
	t.Run("nobody there", func(t *testing.T) {
		r := run(t, fmt.Sprintf("http://127.0.0.1:%d/1/events", peer.Port(t)), func(context.Context, []events.Event) error { return nil })
		until(t, "the reader says what is wrong", func() bool { ok, words, _ := r.Status(); return !ok && strings.Contains(words, "cannot be reached") })
	})
}

// digest is the check that the SDK makes of a body.
func digest(s string) string {
	sum := md5.Sum([]byte(s))
	return hex.EncodeToString(sum[:])
}

func TestWhereAQueueIs(t *testing.T) {
	for queue, want := range map[string]string{
		"https://sqs.ap-northeast-2.amazonaws.com/123456789012/events": "ap-northeast-2 https://sqs.ap-northeast-2.amazonaws.com false",
		"https://sqs.cn-north-1.amazonaws.com.cn/123456789012/events":  "cn-north-1 https://sqs.cn-north-1.amazonaws.com.cn false",
		"https://sqs-fips.us-gov-west-1.amazonaws.com/1/events":        "us-gov-west-1 https://sqs-fips.us-gov-west-1.amazonaws.com false",
		"https://sqs.eu-west-1.api.aws/1/events":                       "eu-west-1 https://sqs.eu-west-1.api.aws false",
		"https://vpce-0a-1b.sqs.eu-west-1.vpce.amazonaws.com/1/events": "eu-west-1 https://vpce-0a-1b.sqs.eu-west-1.vpce.amazonaws.com false",
		"https://eu-west-1.queue.amazonaws.com/1/events":               "eu-west-1  false",
		"https://queue.amazonaws.com/1/events":                         "us-east-1  false",
		"http://127.0.0.1:4566/000000000000/events":                    " http://127.0.0.1:4566 true",
		"http://sqs.us-east-1.localhost:4566/000000000000/events":      " http://localhost:4566 true",
		"https://sqs.us-east-1.amazonaws.com.evil.example/1/events":    " https://sqs.us-east-1.amazonaws.com.evil.example true",
	} {
		region, endpoint, emulator, err := sqs.Place(queue)
		if got := fmt.Sprint(region, " ", endpoint, " ", emulator); got != want || err != nil {
			t.Errorf("%s is at %s, %v", queue, got, err)
		}
	}
	for _, queue := range []string{"", "events", "https://sqs.eu-west-1.amazonaws.com", "https://sqs.eu-west-1.amazonaws.com/", "ftp://x/y", "http://sqs.eu-west-1.amazonaws.com/1/events", "https://a:b@sqs.eu-west-1.amazonaws.com/1/e", "arn:aws:sqs:eu-west-1:1:events"} {
		if _, err := sqs.New(t.Context(), sqs.Config{QueueURL: queue}); err == nil {
			t.Errorf("%q is a queue", queue)
		}
	}
}

// BenchmarkDrain reads ten thousand events.
func BenchmarkDrain(b *testing.B) {
	f := peer.StartFauxqs(b)
	queue := f.Queue(b, "events", nil)
	topic := f.Topic(b, "events", false, "events")
	const n = 10000
	messages := make([]string, n)
	for i := range messages {
		messages[i] = event(i + 1)
	}
	for b.Loop() {
		b.StopTimer()
		f.Publish(b, topic, messages...)
		b.StartTimer()
		var all seen
		r := run(b, queue, func(_ context.Context, got []events.Event) error { all.add(got); return nil })
		until(b, "all were read", func() bool { return all.count() == n && f.Left(b, queue) == 0 })
		r.stop()
		<-r.ended
		b.ReportMetric(float64(all.calls), "calls")
	}
}

// A request that is signed for another region than the queue's is refused.
func TestTheRegionIsTheQueues(t *testing.T) {
	t.Setenv("AWS_REGION", "eu-west-1")
	for url, want := range map[string]string{
		"https://sqs.ap-northeast-2.amazonaws.com/123456789012/events": "ap-northeast-2",
		"https://sqs.example.net/123456789012/events":                  "us-east-1",
	} {
		r, err := sqs.New(t.Context(), sqs.Config{QueueURL: url, Region: "us-east-1"})
		if err != nil || r.SigningRegion() != want {
			t.Errorf("%s: %s %v", url, r.SigningRegion(), err)
		}
	}
}
