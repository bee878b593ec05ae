package smtpd

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emersion/go-smtp"
)

// conn is the client's connection below TLS. go-smtp sets a read deadline
// before each command; that call is where a session that must end does end,
// with a word to the client and without touching go-smtp's state.
type conn struct {
	net.Conn
	srv    *Server
	remote netip.Addr

	eof     atomic.Bool  // the client closed its side, and somebody has read up to there
	arrives atomic.Int64 // a mail is being received: how long each read may take, in ns; else 0
	probing atomic.Bool  // reads get nothing

	mu   sync.Mutex
	busy bool      // a transaction is open
	over bool      // nothing more is read
	top  io.Writer // reaches the client in the clear or through TLS; nil while it must not be written to
	gone sync.Once
}

func (c *conn) Read(p []byte) (int, error) {
	if c.probing.Load() {
		return 0, os.ErrDeadlineExceeded
	}
	arrives := time.Duration(c.arrives.Load())
	if arrives > 0 {
		if err := c.SetReadDeadline(time.Now().Add(arrives)); err != nil {
			return 0, err
		}
	}
	n, err := c.Conn.Read(p)
	if err == io.EOF {
		c.eof.Store(true)
	}
	var ne net.Error
	if n > 0 || !errors.As(err, &ne) || !ne.Timeout() {
		return n, err
	}
	if c.ending() {
		return 0, net.ErrClosed
	}
	if arrives == c.srv.conf.ReadTimeout {
		// go-smtp would make a permanent 554 of a timeout inside BDAT, and wait
		// as long again for the rest of the chunk.
		c.hangUp()
		return 0, &smtp.SMTPError{Code: 421, EnhancedCode: smtp.EnhancedCode{4, 4, 2}, Message: "the mail did not arrive in time and was not taken"}
	}
	return n, err
}

// receive gives each read its own deadline while a mail comes in, where go-smtp
// has one for all of DATA. In DATA reads give up after a look, because go-smtp's
// reader keeps what it has until it has 16 KiB or an error, and body must see
// an end that go-smtp does not (see blindState); body has the patience then.
func (c *conn) receive(data bool) {
	d := c.srv.conf.ReadTimeout
	if data {
		d = min(look, d-1)
	}
	c.arrives.Store(int64(d))
}

// received leaves one deadline for what go-smtp drains of a refused mail.
func (c *conn) received(data bool) {
	c.arrives.Store(0)
	if data {
		_ = c.SetReadDeadline(time.Now().Add(c.srv.conf.ReadTimeout))
	}
}

const look = time.Second

// SetReadDeadline fails when the session must end, which ends it.
func (c *conn) SetReadDeadline(t time.Time) error {
	if c.ending() {
		_ = c.Conn.SetReadDeadline(time.Unix(1, 0))
		return net.ErrClosed
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mustEnd() {
		t = time.Unix(1, 0) // told to end since the question above; Read asks it again
	}
	return c.Conn.SetReadDeadline(t)
}

func (c *conn) mustEnd() bool { return c.over || !c.busy && c.srv.isStopping() }

// ending says whether the session must end. An idle one of a server that stops
// is told so, once.
func (c *conn) ending() bool {
	c.mu.Lock()
	end, first, top := c.mustEnd(), !c.over, c.top
	c.over = end
	c.mu.Unlock()
	if end && first && top != nil {
		_ = c.Conn.SetWriteDeadline(time.Now().Add(c.srv.conf.WriteTimeout))
		_, _ = fmt.Fprintf(top, "421 4.3.2 %s is shutting down; try again in a minute\r\n", c.srv.conf.Hostname)
	}
	return end
}

// hangUp ends the session after the reply to the running command.
func (c *conn) hangUp() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	_ = c.Conn.SetReadDeadline(time.Unix(1, 0))
}

// wake makes an idle session notice that the server stops.
func (c *conn) wake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.busy {
		_ = c.Conn.SetReadDeadline(time.Unix(1, 0))
	}
}

func (c *conn) setBusy(v bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy = v
}

func (c *conn) setTop(w io.Writer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.top = w
}

// left says whether the client closed its side, asked at the end of the last
// chunk of BDAT, when nobody else reads. go-smtp takes a chunk that is cut short
// by the end of the connection for a whole one, and half a mail would be taken.
//
// On a plain connection the answer is eof. TLS says good-bye in a record of its
// own, which only a read of the TLS connection remembers. Should that read take
// an octet of a command that was sent too early, the session ends after the
// reply, and the client sends that command again on a new connection.
func (c *conn) left(top net.Conn) bool {
	if c.eof.Load() {
		return true
	}
	t, ok := top.(*tls.Conn)
	if !ok {
		return false
	}
	c.probing.Store(true)
	defer c.probing.Store(false)
	n, err := t.Read(make([]byte, 1))
	if n > 0 {
		c.hangUp()
	}
	return err == io.EOF
}

// Close closes the connection and gives its place to another client.
func (c *conn) Close() error {
	c.gone.Do(func() { c.srv.forget(c) })
	return c.Conn.Close()
}

// below finds our connection under the one that go-smtp knows.
func below(c net.Conn) *conn {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	return c.(*conn)
}

// remoteAddr is the client's address; the zero Addr when it has none.
func remoteAddr(a net.Addr) netip.Addr {
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap().WithZone("")
}
