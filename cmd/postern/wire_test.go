package main_test

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// wire is a network between the gateway and one server that a test can cut.
type wire struct {
	addr, to string

	mu       sync.Mutex
	listener net.Listener // nil: cut
	lines    map[*line]struct{}
	lose     int // so many answers more are to be lost
	lost     int // answers that were
	severed  int // connections that a cut has ended in the middle of a request
	wg       sync.WaitGroup
}

// line is one connection: the gateway's side and the server's.
type line struct {
	near, far net.Conn
	asked     bool // something has gone to the server since its last word
}

// newWire opens a wire to a server's URL or address.
func newWire(t *testing.T, to string) *wire {
	t.Helper()
	w := &wire{addr: "127.0.0.1:0", to: strings.TrimPrefix(to, "http://"), lines: map[*line]struct{}{}}
	if err := w.Up(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Down(); w.wg.Wait() })
	return w
}

// URL is where the gateway finds the server.
func (w *wire) URL() string { return "http://" + w.addr }

// Up lets connections through, at the same address as before.
func (w *wire) Up() error {
	l, err := net.Listen("tcp", w.addr)
	if err != nil {
		return err
	}
	w.mu.Lock()
	w.listener, w.addr = l, l.Addr().String()
	w.mu.Unlock()
	w.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			w.wg.Go(func() { w.carry(c, l) })
		}
	})
	return nil
}

// Down refuses connections and resets those that there are.
func (w *wire) Down() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.listener == nil {
		return
	}
	w.listener.Close()
	w.listener = nil
	for l := range w.lines {
		if l.asked {
			w.severed++
		}
		l.cut()
	}
}

// LoseAnswers resets connections in place of the next n answers: the server has done
// what it was asked for, and nobody hears of it.
func (w *wire) LoseAnswers(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lose += n
}

// Lost is how many answers were lost by LoseAnswers, and at most by cuts.
func (w *wire) Lost() (answers, severed int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lost, w.severed
}

func (l *line) cut() {
	for _, c := range []net.Conn{l.near, l.far} {
		if t, ok := c.(*net.TCPConn); ok {
			_ = t.SetLinger(0) // a reset, and what is unread is gone
		}
		c.Close()
	}
}

// carry passes on both ways until one side ends, or the wire is cut.
func (w *wire) carry(near net.Conn, by net.Listener) {
	far, err := net.Dial("tcp", w.to)
	if err != nil {
		near.Close()
		return
	}
	l := &line{near: near, far: far}
	w.mu.Lock()
	if w.listener != by { // it was cut meanwhile
		w.mu.Unlock()
		l.cut()
		return
	}
	w.lines[l] = struct{}{}
	w.mu.Unlock()
	w.wg.Go(func() {
		w.pass(far, near, func() bool { l.asked = true; return true })
		l.cut()
	})
	w.pass(near, far, func() bool { return w.answered(l) })
	l.cut()
	w.mu.Lock()
	delete(w.lines, l)
	w.mu.Unlock()
}

// answered says whether what the server has just said goes on.
func (w *wire) answered(l *line) bool {
	first := l.asked // of the answer
	l.asked = false
	if !first || w.lose == 0 {
		return true
	}
	w.lose--
	w.lost++
	return false
}

// pass copies from src to dst as long as may, which is called under the lock, says so.
func (w *wire) pass(dst io.Writer, src io.Reader, may func() bool) {
	b := make([]byte, 32<<10)
	for {
		n, err := src.Read(b)
		if n > 0 {
			w.mu.Lock()
			on := may()
			w.mu.Unlock()
			if !on {
				return
			}
			if _, err := dst.Write(b[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
