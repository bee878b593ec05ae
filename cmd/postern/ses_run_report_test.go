package main_test

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"postern/internal/peer"
	"postern/relay/ses/sesfake"
)

// trial is one sesPlan on its way through the script, and what came of it.
type trial struct {
	*gateway
	sesPlan
	t     *testing.T
	fake  *sesfake.Fake
	wire  *wire
	began time.Time
	ended time.Time
	kills int
	logs  []*logBuffer // of each life of the gateway
	story []moment

	feed     *sesfake.Feed // nil: no events
	sqs      *peer.Fauxqs
	sqsQueue string

	shown   shown
	doubled int // mails beyond the first of an address
	lost    int // addresses without a mail

	delivered int // as events say
}

// moment is a line of the timeline.
type moment struct {
	after    time.Duration
	accepted int
	what     string
}

func (r *trial) say(format string, args ...any) {
	r.story = append(r.story, moment{time.Since(r.began), r.fake.Count().Accepted, fmt.Sprintf(format, args...)})
}

// accepted waits until SES has accepted so many of a hundred copies.
func (r *trial) accepted(percent int) {
	r.t.Helper()
	r.wait(fmt.Sprintf("%d %% accepted", percent), func() (string, bool) {
		n := r.fake.Count().Accepted
		return fmt.Sprint(n), n >= r.copies*percent/100
	})
}

// end waits until the message is done, and counts.
func (r *trial) end() {
	r.settled("done")
	r.ended = time.Now()
	r.say("Every copy is settled.")
	if r.events {
		r.wait("every event has had its effect", func() (string, bool) {
			r.delivered = r.outcomes()["delivered"]
			left := r.sqs.Left(r.t, r.sqsQueue)
			return fmt.Sprintf("%d delivered, %d events left", r.delivered, left), r.delivered == r.copies && left == 0
		})
		r.say("SES has told of every copy that it was delivered, and the queue of events is empty.")
	}
	r.shown = r.show(r.messages()[0].ID)
	r.stop()
	r.logs = append(r.logs, r.log)
	got := r.perAddress()
	for i := range r.copies {
		n := len(got[fmt.Sprintf("user%04d@example.net", i)])
		r.doubled += max(n-1, 0)
		if n == 0 {
			r.lost++
		}
	}
}

// perAddress are the ids of the mails that SES has accepted.
func (r *trial) perAddress() map[string][]string {
	got := map[string][]string{}
	for _, m := range r.fake.Mails() {
		for _, to := range m.To {
			got[to] = append(got[to], m.ID)
		}
	}
	return got
}

func (r *trial) nobodyIsLeftOut() {
	r.t.Helper()
	if got := len(r.perAddress()); r.lost != 0 || got != r.copies {
		r.t.Errorf("%d are left out; %d addresses got a mail, of %d", r.lost, got, r.copies)
	}
}

// accountIsAskedSeldom: SES answers such calls about once a second, for all who use the
// account; the gateway asks once a minute, restarts included.
func (r *trial) accountIsAskedSeldom() {
	r.t.Helper()
	if n, most := r.fake.Count().Accounts, 1+int(r.ended.Sub(r.began)/time.Minute); n < 1 || n > most {
		r.t.Errorf("GetAccount was called %d times in %v", n, r.ended.Sub(r.began))
	}
}

// mayDouble is how many attempts had an answer that the gateway cannot have heard.
func (r *trial) mayDouble() int {
	answers, severed := r.wire.Lost()
	return r.kills*r.concurrency + r.fake.Count().Unsure + answers + severed
}

// ledgerAgrees compares `queue show` with what SES has, address by address.
func (r *trial) ledgerAgrees() {
	r.t.Helper()
	if r.shown.State != "done" || len(r.shown.Recipients) != r.copies || r.shown.Copies["sent"] != r.copies {
		r.t.Errorf("the message is %s with %v", r.shown.State, r.shown.Copies)
	}
	got, bad := r.perAddress(), 0
	for _, c := range r.shown.Recipients {
		if c.State != "sent" || !slices.Contains(got[c.Address], c.UpstreamID) || c.LastError != "" {
			if bad++; bad <= 5 {
				r.t.Errorf("the ledger has %+v, and SES has %v", c, got[c.Address])
			}
		}
	}
	if bad > 5 {
		r.t.Errorf("and %d more", bad-5)
	}
	if out := r.gateway.run("spool", "check"); !strings.Contains(out, "The spool is whole.") {
		r.t.Errorf("spool check: %s", out)
	}
}

// outcomes are those of the message's copies, as the gateway counts them.
func (r *trial) outcomes() map[string]int {
	r.t.Helper()
	var list []struct{ Outcomes map[string]int }
	if err := r.ask("/api/queue", &list); err != nil || len(list) != 1 {
		r.t.Fatalf("%d messages, %v", len(list), err)
	}
	return list[0].Outcomes
}

// eventsAreKept: some uncertain copies were settled by events, and by nothing else.
func (r *trial) eventsAreKept() {
	r.t.Helper()
	if f := r.figures(); f.settled == 0 || f.settled > f.uncertain {
		r.t.Errorf("%d of %d uncertain attempts were settled by events", f.settled, f.uncertain)
	}
}

// figures are what the gateway's own log tells.
type figures struct {
	uncertain int // attempts whose result was not known when they ended
	settled   int // of these: those of which an event told afterwards
}

func (r *trial) figures() (f figures) {
	cut := regexp.MustCompile(`msg="attempts without a result are uncertain" copies=(\d+)`)
	for _, l := range r.logs {
		for line := range strings.Lines(l.String()) {
			switch m := cut.FindStringSubmatch(line); {
			case m != nil:
				n, err := strconv.Atoi(m[1])
				if err != nil {
					r.t.Fatal(err)
				}
				f.uncertain += n
			case strings.Contains(line, `msg="not sent"`) && strings.Contains(line, "state=uncertain class=uncertain"):
				f.uncertain++
			case strings.Contains(line, "settles_unknown=true"):
				f.settled++
			}
		}
	}
	return f
}

// others are attempts that were uncertain, and yet SES got no second request for their copies.
func (r *trial) others() string {
	if r.events {
		return "an event had come while the attempt was under way, or it had never reached SES and was made anew"
	}
	return "they had never reached SES, and were made anew"
}

// report is for those who were not there.
func (r *trial) report() string {
	var b strings.Builder
	row := func(what string, n int, format string, args ...any) {
		fmt.Fprintf(&b, "%-26s %6d  %s\n", what, n, fmt.Sprintf(format, args...))
	}
	events := "without events: nobody tells the gateway what became of an attempt that had no answer"
	if r.events {
		events = "with events: SES tells by an SQS queue what it has accepted"
	}
	fmt.Fprintf(&b, "%d copies of one message, at most %d at a time, %s.\n\n", r.copies, r.concurrency, events)
	fmt.Fprintf(&b, "%7s %9s  %s\n", "seconds", "accepted", "what happened")
	for _, m := range r.story {
		fmt.Fprintf(&b, "%7.1f %9d  %s\n", m.after.Seconds(), m.accepted, m.what)
	}
	c, f := r.fake.Count(), r.figures()
	answers, severed := r.wire.Lost()
	refused := c.Throttled + c.OverQuota + c.Expired
	b.WriteString("\n")
	row("copies", r.copies, "recipients of the message")
	row("requests", c.Requests, "calls of SendEmail that reached SES")
	row("  throttled", c.Throttled, "“Maximum sending rate exceeded.”: no attempt is spent")
	row("  over quota", c.OverQuota, "“Daily message quota exceeded.”: the lane pauses, no attempt is spent")
	row("  expired credential", c.Expired, "the lane pauses, no attempt is spent (%d calls of GetAccount in all)", c.Accounts)
	row("  accepted", c.Accepted, "mails that SES has taken")
	row("answers lost", c.Unsure+answers+severed, "%d by a 5xx or a reset of SES, %d on the way, %d connections cut in the middle of a request", c.Unsure, answers, severed)
	row("kill -9", r.kills, "at most %d attempts are under way at each", r.concurrency)
	row("uncertain", f.uncertain, "attempts whose result nobody knew, by the gateway's log")
	again := c.Requests - refused - r.copies
	if r.events {
		row("  settled by events", f.settled, "an event told afterwards that SES had accepted the copy")
	}
	row("  sent again", again, "requests for a copy beyond its first, refusals aside")
	row("  others", f.uncertain-f.settled-again, "%s", r.others())
	row("doubled", r.doubled, "mails beyond the first for a recipient")
	row("lost", r.lost, "recipients without a mail")
	return b.String()
}
