package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"postern/mail"
	"postern/relay"
	"postern/relay/ses"
	"postern/relay/sign"
	"postern/spool"
)

// strict plays an SES account that takes so many mails in any second and throttles
// what comes beyond.
type strict struct {
	rate int

	mu        sync.Mutex
	taken     []time.Time
	throttled int
}

func (s *strict) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	now := time.Now()
	if r.Method == http.MethodGet { // GetAccount
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"SendQuota":{"MaxSendRate":%d,"Max24HourSend":-1,"SentLast24Hours":0},"ProductionAccessEnabled":true,"SendingEnabled":true,"EnforcementStatus":"HEALTHY"}`, s.rate)
		return
	}
	number, ok := s.take(now)
	_, _ = io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Type", "application/json")
	if !ok {
		w.Header().Set("X-Amzn-ErrorType", "TooManyRequestsException")
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = io.WriteString(w, `{"message":"Maximum sending rate exceeded."}`)
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]string{"MessageId": fmt.Sprintf("strict-%d", number)})
}

func (s *strict) take(now time.Time) (number int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.taken) - s.rate; n >= 0 && now.Sub(s.taken[n]) < time.Second {
		s.throttled++
		return 0, false
	}
	s.taken = append(s.taken, now)
	return len(s.taken), true
}

// achieved is the rate between the first and the last that was taken.
func (s *strict) achieved() float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.taken) - 1
	return float64(n) / s.taken[n].Sub(s.taken[0]).Seconds()
}

// governor measures how near a lane comes to the rate of an account that counts
// strictly, and how often it is throttled. The relay, its spool, the signature and the
// SES sender are the real ones; they share a process with the server.
func (b *bench) governor() error {
	for _, c := range []struct{ rate, places int }{{14, 4}, {200, 20}, {1000, 64}} {
		var shares []float64
		throttled := 0
		for range b.rounds {
			s, err := b.governed(c.rate, c.places)
			if err != nil {
				return err
			}
			shares = append(shares, s.achieved()/float64(c.rate))
			throttled += s.throttled
		}
		share := median(shares)
		row(fmt.Sprintf("copies of 10 KB to an account that takes %d in any second, %d places, signed", c.rate, c.places),
			fmt.Sprintf("%.1f/s", share*float64(c.rate)), fmt.Sprintf("%d/s", c.rate), fmt.Sprintf("%.3f", share), ">= 0.97")
		row("of them throttled", fmt.Sprint(throttled), "", "", "0")
	}
	return nil
}

// governedFor is how long a round of the part governor takes.
const governedFor = 8 * time.Second

func (b *bench) governed(rate, places int) (*strict, error) {
	server := &strict{rate: rate}
	copies := int(governedFor.Seconds() * float64(rate))
	url, stop, err := serveHere(server)
	if err != nil {
		return nil, err
	}
	defer stop()
	sender, err := ses.New(context.Background(), ses.Config{Region: "us-east-1", Endpoint: url, Concurrency: places})
	if err != nil {
		return nil, err
	}
	_, err = b.throughRelay(sender, sender.Account, copies, places, 10)
	return server, err
}

// spare is how many threads the program has beside the processors when it serves.
const spare = 2

// throughRelay sends so many copies of so many KB through a relay in this process and
// says how long that took.
func (b *bench) throughRelay(sender relay.Sender, account func(context.Context) (relay.Account, error), copies, places, kb int) (time.Duration, error) {
	keys, err := b.keys()
	if err != nil {
		return 0, err
	}
	s, err := spool.Open(filepath.Join(b.dir, string(mail.NewID(time.Now()))), spool.Options{})
	if err != nil {
		return 0, err
	}
	defer s.Close()
	id, err := queue(s, copies)
	if err != nil {
		return 0, err
	}
	r, err := relay.New(relay.Config{
		Spool: s, Lanes: []relay.LaneConfig{{Name: "lane", Sender: sender, Concurrency: places, Account: account}},
		Render: letters(kb), Sign: signer(keys),
		Blocked: func(mail.Address, string) (mail.State, string, bool) { return 0, "", false },
		Lists:   relay.Schedule{Interval: time.Second, Backoff: 2, Retries: 3},
	})
	if err != nil {
		return 0, err
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + spare))
	start := time.Now()
	r.Start()
	took, err := sentAll(s, id, start)
	return took, errors.Join(err, r.Stop(context.Background()))
}

// queue puts a message of a list with so many copies into the spool.
func queue(s *spool.Spool, copies int) (mail.ID, error) {
	body, err := s.NewBody()
	if err != nil {
		return "", err
	}
	defer body.Discard()
	m := mail.Message{ID: mail.NewID(time.Now()), State: mail.Sending, Expanded: true, AcceptedAt: time.Now(), Lane: "lane", Priority: mail.Bulk,
		From: "marketer@example.com", HeaderFrom: "marketer@example.com", List: &mail.ListPolicy{ID: "all"}}
	all := make([]mail.Copy, copies)
	for i := range all {
		all[i].To = mail.Address(fmt.Sprintf("customer.%07d@example.net", i))
	}
	return m.ID, s.Accept(context.Background(), body, []spool.Accepted{{Message: m, Copies: all}})
}

// letters renders copies of about so many KB.
func letters(kb int) func(*mail.Message, *mail.Copy) (mail.Content, error) {
	header, body := split(campaign(kb))
	return func(_ *mail.Message, c *mail.Copy) (mail.Content, error) {
		return mail.Content{Header: append([]byte("To: "+string(c.To)+"\r\n"), header...), Body: [][]byte{body}}, nil
	}
}

func signer(keys *sign.Keys) func(mail.Content, mail.Address) (mail.Content, error) {
	return func(c mail.Content, from mail.Address) (mail.Content, error) { return keys.Sign(c, from) }
}

// sentAll waits until every copy of a message is sent, and says how long after the
// start that was.
func sentAll(s *spool.Spool, id mail.ID, start time.Time) (time.Duration, error) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for ; time.Since(start) < 2*time.Minute; <-tick.C {
		m, err := s.Message(id)
		if err != nil {
			return 0, err
		}
		if m.State != mail.Done {
			continue
		}
		if n := m.Counts.Total() - m.Counts[mail.Sent]; n > 0 {
			return 0, fmt.Errorf("%d copies were not sent", n)
		}
		return time.Since(start), nil
	}
	return 0, errors.New("the copies were not sent in time")
}
