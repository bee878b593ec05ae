package main

import (
	"fmt"
	"time"
)

// relayConnections is how many connections to the sink both relays may use:
// postfix's usual limit for one destination.
const relayConnections = 20

// relay compares how fast ordinary mail goes through: in, durable, and out to a
// sink. smtp-source hands it in as in the part accept. Both relays have synced it
// before their 250. The private postfix (see relaying) does not sign; Postern
// does on the first line and not on the second.
func (b *bench) relay() error {
	source, err := findPostfix()
	if err != nil {
		return err
	}
	var signed, plain, theirs []float64
	for range b.rounds {
		s, err := b.relayPostern(source, true)
		if err != nil {
			return fmt.Errorf("postern: %w", err)
		}
		their, err := b.relayPostfix(source)
		if err != nil {
			return fmt.Errorf("postfix: %w", err)
		}
		p, err := b.relayPostern(source, false)
		if err != nil {
			return fmt.Errorf("postern, unsigned: %w", err)
		}
		signed, plain, theirs = append(signed, s), append(plain, p), append(theirs, their)
	}
	s, p, r := median(signed), median(plain), median(theirs)
	what := fmt.Sprintf("relay, %d mails of 10 KB in, durable, and out to an SMTP sink by %d connections, beside a private postfix, signing ", b.mails, relayConnections)
	row(what+"on", perSecond(s), perSecond(r), fmt.Sprintf("%.2f", s/r), ">= 4")
	row(what+"off", perSecond(p), perSecond(r), fmt.Sprintf("%.2f", p/r), "")
	return nil
}

func (b *bench) relayPostern(source *postfix, signed bool) (float64, error) {
	return b.through(source, func(sink string) (string, func(), error) {
		g, err := b.start(gatewayOptions{relay: true, signed: signed, lane: narrowLane(sink, relayConnections)})
		if err != nil {
			return "", nil, err
		}
		return g.smtp, g.halt, nil
	})
}

func (b *bench) relayPostfix(source *postfix) (float64, error) {
	return b.through(source, func(sink string) (string, func(), error) {
		return b.startPostfix(source, relaying(sink, relayConnections))
	})
}

// through starts a relay to a sink and measures it: mails a second, from the start
// of sending until the last is at the sink. Some mails go before and warm both up.
func (b *bench) through(source *postfix, start func(sink string) (addr string, stop func(), err error)) (float64, error) {
	warm := min(100, b.mails)
	s, err := startChild("sink", b.mails, warm)
	if err != nil {
		return 0, err
	}
	defer s.stop()
	addr, stop, err := start(s.addr)
	if err != nil {
		return 0, err
	}
	defer stop()
	if _, err := pass(source, addr, s, warm); err != nil {
		return 0, fmt.Errorf("warm up: %w", err)
	}
	took, err := pass(source, addr, s, b.mails)
	return float64(b.mails) / took.Seconds(), err
}

func pass(source *postfix, addr string, s *child, mails int) (time.Duration, error) {
	start := time.Now()
	if err := source.send(addr, mails); err != nil {
		return 0, err
	}
	if err := s.wait(2 * time.Minute); err != nil {
		return 0, err
	}
	return s.last.Sub(start), nil
}
