package main

import (
	"errors"
	"fmt"
	"math"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-smtp"
)

// priority measures how long a shop's mail (an order, a password) takes while a
// campaign of the same gateway is being sent, and while nothing is. The shop is
// one client with one connection that it keeps. It hands in a mail at every
// pace, one after the other, whether or not the last one has arrived: mails that
// wait in the queue do not make the shop ask less often, only a late 250 does.
//
// Two times are taken. From MAIL is what the shop sees, and acceptance is part
// of it; from the 250 is what dispatch takes alone.
func (b *bench) priority() error {
	var runs []contest
	for range b.rounds {
		c, err := b.contest()
		if err != nil {
			return err
		}
		runs = append(runs, c)
	}
	middle := func(f func(contest) float64) float64 {
		var v []float64
		for _, c := range runs {
			v = append(v, f(c))
		}
		return median(v)
	}
	flight := middle(func(c contest) float64 { return c.flight })
	rate := middle(func(c contest) float64 { return c.rate })
	n := middle(func(c contest) float64 { return float64(len(c.busy)) })
	for _, from := range []struct {
		what string
		took func(sent) float64
	}{{"MAIL", sent.whole}, {"its 250", sent.dispatch}} {
		p99 := func(pick func(contest) []sent) float64 {
			return middle(func(c contest) float64 { return percentile(pick(c), 99, from.took) })
		}
		busy, idle := p99(func(c contest) []sent { return c.busy }), p99(func(c contest) []sent { return c.idle })
		row(fmt.Sprintf("p99 of a transactional mail of 10 KB from %s to the sink, while a campaign of %d copies of 10 KB waits (%.0f mails; %.0f attempts/s, so that one of %d in flight takes %.1f ms), beside idle (%d mails)",
			from.what, b.bulk, n, rate, connections, flight, idleMails), millis(busy), millis(idle), fmt.Sprintf("%.2f", busy/idle), goal(busy, idle, flight))
	}
	return nil
}

func millis(v float64) string { return fmt.Sprintf("%.1f ms", v) }

func goal(busy, idle, flight float64) string {
	most := 2*idle + flight
	verdict := "reached"
	if busy > most {
		verdict = "missed"
	}
	return fmt.Sprintf("<= 2 x %.1f + %.1f = %.1f ms: %s", idle, flight, most, verdict)
}

// contest is one round: the shop's mails while nothing else was sent, and those
// that began while copies of the campaign waited.
type contest struct {
	idle, busy []sent
	rate       float64 // attempts a second while the campaign was sent
	flight     float64 // how long one of them took in the mean, in ms
}

// sent is one mail: when its MAIL began, when its 250 came, when the sink had it.
type sent struct{ began, accepted, arrived time.Time }

func (s sent) whole() float64    { return s.arrived.Sub(s.began).Seconds() * 1000 }
func (s sent) dispatch() float64 { return max(0, s.arrived.Sub(s.accepted).Seconds()*1000) }

func percentile(mails []sent, p int, took func(sent) float64) float64 {
	var v []float64
	for _, m := range mails {
		v = append(v, took(m))
	}
	slices.Sort(v)
	return v[int(math.Ceil(float64(len(v)*p)/100))-1]
}

const (
	pace      = 20 * time.Millisecond
	idleMails = 300
	bulkTime  = 5 * time.Minute // a campaign that takes longer is an error; fewer paces than maxMarks
)

func (b *bench) contest() (contest, error) {
	s, err := startChild("marking-sink", b.bulk)
	if err != nil {
		return contest{}, err
	}
	defer s.stop()
	g, err := b.start(gatewayOptions{users: b.bulk, signed: true, shop: true, lane: smtpLane(s.addr)})
	if err != nil {
		return contest{}, err
	}
	defer g.stop()
	shop, err := openShop(g.smtp, s)
	if err != nil {
		return contest{}, err
	}
	defer shop.client.Close()
	if _, err := shop.sell(counted(50)); err != nil { // warms up
		return contest{}, err
	}
	idle, err := shop.sell(counted(idleMails))
	if err != nil {
		return contest{}, err
	}
	c, err := shop.beside(g, campaign(10), b.bulk)
	c.idle = idle
	return c, err
}

// counted allows n mails.
func counted(n int) func() bool {
	return func() bool {
		n--
		return n >= 0
	}
}

// shop is the client that sends transactional mail.
type shop struct {
	client *smtp.Client
	sink   *child
	mails  []sent
}

func openShop(addr string, sink *child) (*shop, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(shopAddress)}, Timeout: 10 * time.Second}
	c, err := d.Dial("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("connect from %s, which Linux allows on loopback: %w", shopAddress, err)
	}
	return &shop{client: smtp.NewClient(c), sink: sink}, nil
}

// beside sends while a campaign is sent to so many users.
func (s *shop) beside(g *gateway, campaign []byte, users int) (contest, error) {
	accepted, err := g.submit(campaign, "all@lists.example.com")
	if err != nil {
		return contest{}, fmt.Errorf("the campaign: %w", err)
	}
	whole := make(chan error, 1)
	go func() { whole <- s.sink.wait(bulkTime) }()
	mails, err := s.sell(func() bool { return len(whole) == 0 })
	if err != nil {
		return contest{}, err
	}
	if err := <-whole; err != nil {
		return contest{}, fmt.Errorf("the campaign: %w", err)
	}
	took := s.sink.last.Sub(accepted).Seconds()
	c := contest{rate: float64(users+len(mails)) / took}
	c.flight = connections / c.rate * 1000
	// The last copy was claimed about one flight before it arrived; none waited then.
	until := s.sink.last.Add(-time.Duration(c.flight * float64(time.Millisecond)))
	for _, m := range mails {
		if m.began.Before(until) {
			c.busy = append(c.busy, m)
		}
	}
	if len(c.busy) == 0 {
		return c, errors.New("the campaign was gone before a mail could be sent beside it; give -bulk more copies")
	}
	return c, nil
}

// sell hands in a mail at every pace while more says so, and then waits until all
// have arrived.
func (s *shop) sell(more func() bool) ([]sent, error) {
	tick := time.NewTicker(pace)
	defer tick.Stop()
	first := len(s.mails)
	for more() {
		if err := s.hand(); err != nil {
			return nil, fmt.Errorf("hand in a transactional mail: %w", err)
		}
		<-tick.C
	}
	late := time.After(time.Minute)
	for range len(s.mails) - first {
		select {
		case m, ok := <-s.sink.marks:
			if !ok || m.number < first || m.number >= len(s.mails) || !s.mails[m.number].arrived.IsZero() {
				return nil, fmt.Errorf("the sink has ended, or says that mail %d came, which is not on its way", m.number)
			}
			s.mails[m.number].arrived = m.at
		case <-late:
			return nil, errors.New("not every transactional mail was at the sink within a minute")
		}
	}
	return s.mails[first:len(s.mails):len(s.mails)], nil
}

// hand hands one mail in.
func (s *shop) hand() error {
	mail := order(len(s.mails))
	began := time.Now()
	if err := s.client.SendMail("shop@example.com", []string{"buyer@example.net"}, strings.NewReader(mail)); err != nil {
		return err
	}
	s.mails = append(s.mails, sent{began: began, accepted: time.Now()})
	return nil
}

// order is an ordinary mail of 10 KB with this number as its mark.
func order(number int) string {
	head := fmt.Sprintf("From: Shop <shop@example.com>\r\nTo: buyer@example.net\r\nSubject: Your order\r\n%s%d\r\n\r\n", markField, number)
	line := strings.Repeat("one more line of it ", 3) + "\r\n"
	return head + strings.Repeat(line, (10_000-len(head))/len(line))
}
