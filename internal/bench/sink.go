package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/emersion/go-smtp"
)

// tally prints a line with two times, in Unix nanoseconds, whenever so many mails
// have arrived: when the first of them did and when the last did.
type tally struct {
	every int64
	n     atomic.Int64
	first atomic.Int64
}

func newTally() (*tally, error) {
	n, err := strconv.ParseInt(os.Args[2], 10, 64)
	return &tally{every: n}, err
}

func (t *tally) count() {
	now := time.Now().UnixNano()
	n := t.n.Add(1)
	if n%t.every == 1 || t.every == 1 {
		t.first.Store(now)
	}
	if n%t.every == 0 {
		fmt.Println(t.first.Load(), now)
	}
}

// sink is a go-smtp server that takes everything and keeps nothing.
func sink() error {
	t, err := newTally()
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return swallow{t}, nil }))
	s.Domain, s.MaxMessageBytes = "sink", 100<<20
	s.ErrorLog = log.New(io.Discard, "", 0) // connections that a killed gateway leaves
	fmt.Println(l.Addr())
	return s.Serve(l)
}

type swallow struct{ t *tally }

func (swallow) Mail(string, *smtp.MailOptions) error { return nil }
func (swallow) Rcpt(string, *smtp.RcptOptions) error { return nil }
func (swallow) Reset()                               {}
func (swallow) Logout() error                        { return nil }
func (s swallow) Data(r io.Reader) error {
	_, err := io.Copy(io.Discard, r)
	s.t.count()
	return err
}

// nullSES answers every SendEmail with a message id.
func nullSES() error {
	t, err := newTally()
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	return http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if strings.HasSuffix(r.URL.Path, "/outbound-emails") {
			t.count()
			_ = json.NewEncoder(w).Encode(map[string]string{"MessageId": fmt.Sprintf("null-%d-%d", os.Getpid(), t.n.Load())})
			return
		}
		_, _ = io.WriteString(w, "{}")
	}))
}

// child is a sink in its own process.
type child struct {
	cmd         *exec.Cmd
	addr        string
	lines       chan string
	first, last time.Time
}

func startSink(every int) (*child, error) { return startChild("sink", every) }

func startChild(kind string, every int) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{cmd: exec.Command(self, kind, strconv.Itoa(every)), lines: make(chan string, 100)}
	c.cmd.Stderr = os.Stderr
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(c.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			c.lines <- s.Text()
		}
	}()
	addr, ok := <-c.lines
	if !ok {
		return nil, errors.New("the sink did not start")
	}
	c.addr = addr
	return c, nil
}

// wait waits for the next full count.
func (c *child) wait(atMost time.Duration) error {
	select {
	case line, ok := <-c.lines:
		var first, last int64
		if _, err := fmt.Sscan(line, &first, &last); err != nil || !ok {
			return fmt.Errorf("the sink said %q", line)
		}
		c.first, c.last = time.Unix(0, first), time.Unix(0, last)
		return nil
	case <-time.After(atMost):
		return errors.New("the sink did not get all copies in time")
	}
}

func (c *child) stop() {
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
}
