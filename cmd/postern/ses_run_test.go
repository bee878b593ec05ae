package main_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/internal/peer"
	"postern/relay/ses/sesfake"
)

// sesPlan is what a run sends, and how hard it is made.
type sesPlan struct {
	copies      int
	concurrency int
	perSecond   int           // copies a second that SES takes
	cut         time.Duration // how long the network is away
	again       string        // relay.uncertain_wait
	events      bool          // SES tells by SQS what it has accepted
}

// TestARunThroughEveryTrouble: 10,000 copies, and SES tells by events what it has accepted.
// Nobody is left out, and nobody gets it twice.
func TestARunThroughEveryTrouble(t *testing.T) {
	t.Parallel() // it waits for most of its time
	c := sesPlan{copies: 10_000, concurrency: 20, perSecond: 800, cut: 30 * time.Second, again: "15s", events: true}
	r := c.carryOut(t)
	r.nobodyIsLeftOut()
	if r.doubled != 0 {
		t.Errorf("%d mails too many", r.doubled)
	}
	r.ledgerAgrees()
	r.accountIsAskedSeldom()
	r.eventsAreKept()
}

// TestARunThroughEveryTroubleWithoutEvents: the whole script at a smaller size. Nobody is
// left out. Twice gets it only who was under way at a kill, or whose answer was lost.
func TestARunThroughEveryTroubleWithoutEvents(t *testing.T) {
	c := sesPlan{copies: 2000, concurrency: 10, perSecond: 600, cut: 5 * time.Second, again: "1s"}
	r := c.carryOut(t)
	r.nobodyIsLeftOut()
	if most := r.mayDouble(); r.doubled > most {
		t.Errorf("%d mails too many; %d attempts had a lost answer", r.doubled, most)
	}
	r.ledgerAgrees()
	r.accountIsAskedSeldom()
}

// carryOut goes through the script with the real program.
func (c sesPlan) carryOut(t *testing.T) *trial {
	r := &trial{t: t, sesPlan: c, fake: &sesfake.Fake{}}
	server := httptest.NewServer(r.fake)
	t.Cleanup(server.Close)
	r.wire = newWire(t, server.URL)
	r.gateway = newGateway(t, c.config(r.wire.URL(), r.queue()))
	r.build() // without the race detector: it is the length of the run that counts
	r.users(c.copies)
	r.begin()
	r.script()
	r.end()
	t.Log("\n" + r.report())
	if path := os.Getenv("RUN_REPORT"); path != "" { // to renew the example in docs/run.md
		if err := os.WriteFile(path, []byte(r.report()), 0o644); err != nil {
			t.Error(err)
		}
	}
	return r
}

// config is the lane to SES at an address.
func (c sesPlan) config(endpoint, events string) string {
	return fmt.Sprintf(`
[relay]
uncertain_wait = %q
[[lane]]
name = "out"
driver = "ses"
concurrency = %d
[lane.ses]
region = "us-east-1"
endpoint = %q
configuration_set = "events"
%s`, c.again, c.concurrency, endpoint, events)
}

// hidden is how long SQS keeps a message away from others when somebody has received it, in
// place of two minutes. Events that were in hand at a kill come again after that, and copies
// that are uncertain must wait for longer.
const hidden = 5 * time.Second

// queue starts an emulator of SQS, lets the fake put its events there, and is the
// configuration; "" where there are no events.
func (r *trial) queue() string {
	if !r.events {
		return ""
	}
	q := peer.StartFauxqs(r.t)
	r.sqs, r.sqsQueue = q, q.Queue(r.t, "events", nil)
	r.feed = &sesfake.Feed{Queue: r.sqsQueue, Twice: 50, Fate: func(m sesfake.Mail) []sesfake.Event {
		m.Raw = nil // its header would make the events, and the work of this test, ten times as large
		return []sesfake.Event{m.SendEvent(time.Now()), m.DeliveryEvent(time.Now())}
	}}
	r.fake.OnAccept(r.feed.Hear)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.feed.Run(ctx) }()
	r.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Error(err)
		}
	})
	return fmt.Sprintf("events_queue = %q\n", shortSight(r.t, r.sqsQueue))
}

// shortSight is another URL of a queue. It passes the gateway's calls on, with hidden in
// place of what they ask for.
func shortSight(t *testing.T, queue string) string {
	t.Helper()
	u, err := url.Parse(queue)
	if err != nil {
		t.Fatal(err)
	}
	asked := regexp.MustCompile(`"VisibilityTimeout":\d+`)
	pass := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: u.Scheme, Host: "127.0.0.1:" + u.Port()})
	pass.ErrorLog = log.New(io.Discard, "", 0) // it says that clients break off
	var own string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		b, err := io.ReadAll(q.Body)
		if err != nil {
			return // the gateway was killed
		}
		b = bytes.ReplaceAll(b, []byte(own), []byte(queue))
		b = asked.ReplaceAll(b, fmt.Appendf(nil, `"VisibilityTimeout":%d`, int(hidden.Seconds())))
		q.Body, q.ContentLength = io.NopCloser(bytes.NewReader(b)), int64(len(b))
		pass.ServeHTTP(w, q)
	}))
	t.Cleanup(server.Close)
	own = server.URL + u.Path
	return own
}

// begin submits the message.
func (r *trial) begin() {
	account := sesfake.Account{ProductionAccessEnabled: true, SendingEnabled: true, EnforcementStatus: "HEALTHY"}
	account.SendQuota.MaxSendRate = float64(2 * r.perSecond) // more than it takes: throttles must come
	account.SendQuota.Max24HourSend = -1
	r.fake.SetAccount(account)
	r.fake.RateLimit(r.perSecond, r.perSecond/10)
	r.fake.SetLatency(5 * time.Millisecond) // so that some are always under way
	r.serve()
	r.began = time.Now()
	r.mustSubmit("promo@lists.example.com", hello+strings.Repeat("This line is here to make the mail as long as mails are.\n", 35))
	r.say("The message is submitted. SES says that it takes %d copies a second, and throttles above %d.", 2*r.perSecond, r.perSecond)
}

// script is what goes wrong, in this order; each step waits until the one before is over
// and a part of the copies is out.
func (r *trial) script() {
	r.accepted(5)
	const each = 5
	r.fake.Then(slices.Concat(slices.Repeat([]sesfake.Answer{sesfake.FailAfterAccept(500), sesfake.Accept(), sesfake.ResetAfterAccept(), sesfake.Accept()}, each))...)
	r.say("SES takes %d copies and answers HTTP 500, and takes %d and resets the connection.", each, each)

	r.accepted(15)
	r.squeeze()
	r.strike("in mid-flight")

	r.accepted(30)
	r.expire()

	r.accepted(50)
	r.sever()

	r.accepted(70)
	r.spend()

	r.accepted(85)
	r.strike("again, in mid-flight")
}

// squeeze throttles far below what was announced.
func (r *trial) squeeze() {
	const narrow, enough = 50, 20
	r.fake.RateLimit(narrow, 0)
	r.say("SES takes %d copies a second and throttles the rest.", narrow)
	r.wait("throttled", func() (string, bool) { n := r.fake.Count().Throttled; return fmt.Sprint(n), n >= enough })
	r.say("%d copies were throttled; the lane has slowed down.", r.fake.Count().Throttled)
	r.fake.RateLimit(r.perSecond, r.perSecond/10)
}

// strike is kill -9 and another start.
func (r *trial) strike(when string) {
	r.kill()
	r.kills++
	r.logs = append(r.logs, r.log)
	r.say("kill -9 of the gateway, %s.", when)
	r.serve()
	r.say("The gateway runs again.")
}

// expire lets the credential be worth nothing for a while.
func (r *trial) expire() {
	r.fake.SetCredentialExpired(true)
	r.say("The credential expires.")
	r.laneSays("expired")
	r.say("The lane has paused and says that the credential has expired.")
	r.fake.SetCredentialExpired(false)
	r.gateway.run("lane", "resume", "out")
	r.say("The credential is renewed; the operator types `postern lane resume out`.")
}

// sever loses some answers, and then the network.
func (r *trial) sever() {
	const lost = 5
	r.wire.LoseAnswers(lost)
	r.wait("answers are lost", func() (string, bool) { n, _ := r.wire.Lost(); return fmt.Sprint(n), n == lost })
	r.wire.Down()
	r.say("%d answers of SES are lost on the way, and then the network is cut for %v.", lost, r.cut)
	r.laneSays("nothing was sent")
	<-time.After(r.cut) // the length is part of the script
	before := r.fake.Count().Accepted
	if err := r.wire.Up(); err != nil {
		r.t.Fatal(err)
	}
	r.say("The network is back.")
	r.wait("sending again", func() (string, bool) { n := r.fake.Count().Accepted; return fmt.Sprint(n), n > before })
	r.say("The lane has found that out by itself.")
}

// spend lets the quota be used up, and its window move on.
func (r *trial) spend() {
	const window = 3 * time.Second // in place of 24 hours
	r.fake.Quota(1, window)
	r.say("The quota is used up. It is counted over %v here in place of 24 hours.", window)
	r.laneSays("quota")
	r.say("The lane has paused and says so.")
	r.wait("the quota is free again", func() (string, bool) { n := r.fake.Sent(); return fmt.Sprint(n), n == 0 })
	r.fake.Quota(r.copies, window)
	r.gateway.run("lane", "resume", "out")
	r.say("The window has moved on; the operator types `postern lane resume out`.")
}
