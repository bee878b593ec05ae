//go:build e2e

package main_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-smtp"
)

// This file holds the ends of a way that mail takes in the end-to-end tests: the
// sink behind the upstream, which keeps every mail, and a policy server by which a
// postfix greylists.

// arrival is a mail with its envelope.
type arrival struct {
	from string // "" is the null sender
	to   []string
	raw  []byte
}

// sink is where all mail ends.
type sink struct {
	t    *testing.T
	addr string
	// answer, when set before use, says what is said to a recipient; nil takes it.
	answer func(from, to string) error

	mu  sync.Mutex
	got []arrival
}

func startSink(t *testing.T) *sink {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &sink{t: t, addr: l.Addr().String()}
	server := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &sinking{sink: s}, nil }))
	server.Domain, server.MaxMessageBytes, server.ErrorLog = "sink.example", 64<<20, quiet{}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	return s
}

type sinking struct {
	sink *sink
	arrival
}

func (s *sinking) Reset()        { s.arrival = arrival{} }
func (s *sinking) Logout() error { return nil }

func (s *sinking) Mail(from string, _ *smtp.MailOptions) error {
	s.from = from
	return nil
}

func (s *sinking) Rcpt(to string, _ *smtp.RcptOptions) error {
	if s.sink.answer != nil {
		if err := s.sink.answer(s.from, to); err != nil {
			return err
		}
	}
	s.to = append(s.to, to)
	return nil
}

func (s *sinking) Data(body io.Reader) error {
	raw, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	s.sink.mu.Lock()
	defer s.sink.mu.Unlock()
	s.sink.got = append(s.sink.got, arrival{s.from, slices.Clone(s.to), raw})
	return nil
}

// arrivals are all mails so far.
func (s *sink) arrivals() []arrival {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got)
}

// wait waits until n mails are there, and gives them. They are kept with
// `go test -artifacts`, to be read as their receivers would.
func (s *sink) wait(g *gateway, n int, more func() string) []arrival {
	s.t.Helper()
	var all []arrival
	g.wait(fmt.Sprintf("%d mails in the sink", n), func() (string, bool) {
		all = s.arrivals()
		last := ""
		for _, a := range all {
			last += fmt.Sprintf("%s -> %v %s\n", a.from, a.to, header(a.raw, "Subject"))
		}
		return last + more(), len(all) >= n
	})
	for i, a := range all {
		name := filepath.Join(s.t.ArtifactDir(), fmt.Sprintf("%03d-%s.eml", i, strings.Join(a.to, "+")))
		if err := os.WriteFile(name, a.raw, 0o644); err != nil {
			s.t.Fatal(err)
		}
	}
	return all
}

// greylisting is a server of postfix's policy delegation: it puts each sender and
// recipient off twice, and refuses the recipients whose names say so.
type greylisting struct {
	addr string

	mu    sync.Mutex
	tries map[[2]string]int
}

func startGreylisting(t *testing.T) *greylisting {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &greylisting{addr: l.Addr().String(), tries: map[[2]string]int{}}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go g.serve(c)
		}
	}()
	return g
}

// serve answers requests: lines of name=value until an empty one.
func (g *greylisting) serve(c net.Conn) {
	defer c.Close()
	asked := map[string]string{}
	for lines := bufio.NewScanner(c); lines.Scan(); {
		if name, value, ok := strings.Cut(lines.Text(), "="); ok {
			asked[name] = value
			continue
		}
		if _, err := io.WriteString(c, "action="+g.answer(asked["sender"], asked["recipient"])+"\n\n"); err != nil {
			return
		}
		clear(asked)
	}
}

func (g *greylisting) answer(from, to string) string {
	switch {
	case strings.HasPrefix(to, "nobody"):
		return "550 5.1.1 <" + to + ">: no such user"
	case strings.HasPrefix(to, "full"):
		return "552 5.2.2 over quota"
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.tries[[2]string{from, to}]++
	if g.tries[[2]string{from, to}] <= 2 {
		return "450 4.2.0 Greylisted, come back later"
	}
	return "DUNNO"
}
