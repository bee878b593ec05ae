package main

import (
	"bufio"
	"bytes"
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
// have arrived: when the first of them did and when the last did. A second number
// is how many come before, to warm up: they have a line of their own.
type tally struct {
	every int64
	n     atomic.Int64
	first atomic.Int64
}

func newTally() (*tally, error) {
	n, err := strconv.ParseInt(os.Args[2], 10, 64)
	t := &tally{every: n}
	if err == nil && len(os.Args) > 3 {
		var warm int64
		warm, err = strconv.ParseInt(os.Args[3], 10, 64)
		t.n.Store(n - warm)
	}
	return t, err
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

// sink is a go-smtp server that takes everything and keeps nothing; with marks
// it looks for them.
func sink(marks bool) error {
	t, err := newTally()
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) {
		if marks {
			return watch{swallow{t}}, nil
		}
		return swallow{t}, nil
	}))
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

// markField is the header field that marks a mail with a number.
const markField = "X-Bench-Mark: "

// watch prints the number of a marked mail and when it was here whole, in Unix
// nanoseconds; it counts only the others.
type watch struct{ swallow }

func (w watch) Data(r io.Reader) error {
	head := make([]byte, 4<<10) // the header with our signature ends before
	n, err := io.ReadFull(r, head)
	if err == nil {
		_, err = io.Copy(io.Discard, r)
	}
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return err
	}
	now := time.Now()
	_, mark, marked := bytes.Cut(head[:n], []byte(markField))
	if !marked {
		w.t.count()
		return nil
	}
	number, _, _ := bytes.Cut(mark, []byte("\r\n"))
	fmt.Printf("mark %s %d\n", number, now.UnixNano())
	return nil
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
	marks       chan mark
	first, last time.Time
}

// mark says when the marked mail of this number was at the sink.
type mark struct {
	number int
	at     time.Time
}

// maxMarks is how many marks wait to be read at most.
const maxMarks = 20_000

func startSink(every int) (*child, error) { return startChild("sink", every) }

// startChild gives the child its numbers: see tally.
func startChild(kind string, numbers ...int) (*child, error) {
	args := []string{kind}
	for _, n := range numbers {
		args = append(args, strconv.Itoa(n))
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{cmd: exec.Command(self, args...), lines: make(chan string, 100), marks: make(chan mark, maxMarks)}
	c.cmd.Stderr = os.Stderr
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	go c.read(out)
	addr, ok := <-c.lines
	if !ok {
		return nil, errors.New("the sink did not start")
	}
	c.addr = addr
	return c, nil
}

// read takes what the child prints apart until it ends.
func (c *child) read(out io.Reader) {
	defer close(c.lines)
	defer close(c.marks)
	for s := bufio.NewScanner(out); s.Scan(); {
		var m mark
		var at int64
		if _, err := fmt.Sscanf(s.Text(), "mark %d %d", &m.number, &at); err == nil {
			m.at = time.Unix(0, at)
			c.marks <- m
			continue
		}
		c.lines <- s.Text()
	}
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
