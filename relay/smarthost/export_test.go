package smarthost

import (
	"bufio"
	"io"
	"net"
	"time"

	"postern/mail"
	"postern/relay"
)

// Idle is how many connections wait to be used again.
func Idle(s *Sender) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.idle)
}

// Wire is a mail as it goes over the wire.
func Wire(c mail.Content) ([]byte, int64) {
	bufs, size := wire(nil, c)
	b := net.Buffers(bufs)
	out, _ := io.ReadAll(&b)
	return out, size
}

// Write hands a mail to a connection and says whether the end of it may have gone
// out.
func Write(nc net.Conn, content mail.Content, bdat, tls bool) (sent bool, err error) {
	c := &conn{nc: nc, bdat: bdat}
	if tls {
		c.records = bufio.NewWriterSize(nc, 2*maxRecord)
	}
	return c.write(&envelope{d: &relay.Delivery{Content: content}, size: content.Size()})
}

// ReadReply reads a reply with all its words.
func ReadReply(r io.Reader) (code int, text string, lines []string, err error) {
	rep, err := readReply(bufio.NewReaderSize(r, maxLine), true, true)
	return rep.code, rep.text, rep.lines, err
}

// Refusal is a reply as an error.
func Refusal(code int, text string) *mail.Error {
	return reply{code: code, text: text}.refusal(mail.Permanent)
}

// Stage is what a reply answers.
type Stage = stage

// The stages by name.
const (
	AtGreeting = atGreeting
	AtHello    = atHello
	AtTLS      = atTLS
	AtLogin    = atLogin
	AtReset    = atReset
	AtMail     = atMail
	AtRcpt     = atRcpt
	AtData     = atData
	AtEnd      = atEnd
)

// Classify is the class of a refusal.
func Classify(at Stage, code int, text string) mail.Class {
	return classify(at, reply{code: code, text: text})
}

// Rest lets the host with this address rest from then on.
func Rest(s *Sender, addr string, then time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.hosts {
		if h.addr == addr {
			h.until = then.Add(rest)
		}
	}
}

// Works says that a dial of this host worked.
func Works(s *Sender, addr string) {
	for _, h := range s.hosts {
		if h.addr == addr {
			s.working(h)
		}
	}
}

// Resting says which hosts rest now.
func Resting(s *Sender) (addrs []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.hosts {
		if time.Now().Before(h.until) {
			addrs = append(addrs, h.addr)
		}
	}
	return addrs
}

// Order is how a Send at now tries the hosts, and whether the first is a probe.
func Order(s *Sender, now time.Time) (addrs []string, probe bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	tried, probe := s.hosts.order(now)
	for _, h := range tried {
		addrs = append(addrs, h.addr)
	}
	return addrs, probe
}

// Pending says whether the upstream has said something on a kept connection.
func Pending(s *Sender) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.idle {
		if pending(c.raw) {
			return true
		}
	}
	return false
}
