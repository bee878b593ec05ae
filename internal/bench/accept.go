package main

import (
	"fmt"
	"time"
)

// accept compares how fast ordinary mail is taken by three servers, from
// postfix's smtp-source: 16 sessions at a time, a new connection for each mail of
// 10 KB. Postern has body and rows on disk before each 250. The private postfix
// has its queue file there, and holds the mail. The bare go-smtp server keeps
// nothing. Nothing is sent on meanwhile: Postern's upstream is down.
//
// No server's files are removed before the end, because a file system may be slow
// to make new files where many were just removed.
func (b *bench) accept() error {
	source, err := findPostfix()
	if err != nil {
		return err
	}
	var ours, open, theirs, bares []float64
	for range b.rounds {
		our, err := b.acceptPostern(source, gatewayOptions{relay: true, lane: smtpLane("127.0.0.1:9"), down: true})
		if err != nil {
			return fmt.Errorf("postern: %w", err)
		}
		sending, err := b.acceptSending(source)
		if err != nil {
			return fmt.Errorf("postern, sending: %w", err)
		}
		their, err := b.acceptPostfix(source)
		if err != nil {
			return fmt.Errorf("postfix: %w", err)
		}
		bare, err := b.acceptBare(source)
		if err != nil {
			return fmt.Errorf("bare: %w", err)
		}
		ours, open, theirs, bares = append(ours, our), append(open, sending), append(theirs, their), append(bares, bare)
	}
	o, p, r := median(ours), median(theirs), median(bares)
	what := fmt.Sprintf("durable acceptance, %d mails of 10 KB, 16 sessions", b.mails)
	row(what+", beside a private postfix that holds them", perSecond(o), perSecond(p), fmt.Sprintf("%.2f", o/p), ">= 5")
	row(what+", beside a bare go-smtp that discards", perSecond(o), perSecond(r), fmt.Sprintf("%.2f", o/r), ">= 0.6")
	row(what+", while they are sent on to a sink", perSecond(median(open)), perSecond(r), fmt.Sprintf("%.2f", median(open)/r), "")
	return b.acceptCampaign()
}

func perSecond(v float64) string { return fmt.Sprintf("%.0f/s", v) }

func (b *bench) acceptPostern(source *postfix, o gatewayOptions) (float64, error) {
	g, err := b.start(o)
	if err != nil {
		return 0, err
	}
	defer g.halt()
	return b.load(source, g.smtp)
}

func (b *bench) acceptSending(source *postfix) (float64, error) {
	s, err := startSink(b.mails)
	if err != nil {
		return 0, err
	}
	defer s.stop()
	return b.acceptPostern(source, gatewayOptions{relay: true, signed: true, lane: smtpLane(s.addr), down: true})
}

func (b *bench) acceptBare(source *postfix) (float64, error) {
	s, err := startSink(b.mails)
	if err != nil {
		return 0, err
	}
	defer s.stop()
	return b.load(source, s.addr)
}

func (b *bench) acceptPostfix(source *postfix) (float64, error) {
	addr, stop, err := b.startPostfix(source, holding)
	if err != nil {
		return 0, err
	}
	defer stop()
	return b.load(source, addr)
}

// load sends the mails after some that warm the server up; mails a second.
func (b *bench) load(source *postfix, addr string) (float64, error) {
	if err := source.send(addr, 100); err != nil {
		return 0, err
	}
	start := time.Now()
	err := source.send(addr, b.mails)
	return float64(b.mails) / time.Since(start).Seconds(), err
}

// acceptCampaign measures one client that submits a campaign of 100 KB again and
// again: connect, hand over, compile, sync, 250. The list has nobody in it.
func (b *bench) acceptCampaign() error {
	const runs = 50
	g, err := b.start(gatewayOptions{signed: true, lane: smtpLane("127.0.0.1:9"), down: true})
	if err != nil {
		return err
	}
	defer g.halt()
	mail := campaign(100)
	var took []float64
	for range runs {
		start := time.Now()
		accepted, err := g.submit(mail, "all@lists.example.com")
		if err != nil {
			return err
		}
		took = append(took, accepted.Sub(start).Seconds()*1000)
	}
	row(fmt.Sprintf("a campaign of 100 KB, from the connection to the 250, median of %d", runs), fmt.Sprintf("%.1f ms", median(took)), "", "", "")
	return nil
}
