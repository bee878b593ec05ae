package smtpd

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"postern/smtpd/dialogue"
)

// conn is the client's connection below TLS. go-smtp sets a read deadline
// before each command; that call is where a session that must end does end,
// with a word to the client and without touching go-smtp's state.
type conn struct {
	net.Conn
	srv       *Server
	id        string        // of its sessions, in the log and in Received
	mails     int           // begun on it
	tap       *dialogue.Tap // hears what is said
	announced bool          // a proxy says in a header for whom it came

	commands *commandReader // above, of the session that runs; nil before the first

	eof   atomic.Bool // the client closed its side, and somebody has read up to there
	early []byte      // what came behind the PROXY header

	// What the PROXY header changes, before any session begins.
	peer   net.Addr
	remote netip.Addr // of peer; the zero Addr when it has none
	nobody bool       // the header names no client: the proxy itself looks whether we live

	// Guarded by Server.mu.
	placed bool // counted in gate.open
	met    bool // counted in gate.by, as client
	client netip.Prefix

	mu      sync.Mutex
	busy    bool      // a transaction is open
	since   time.Time // it is, or was, when busy last changed
	asked   time.Time // when the client's next command, or step, was first waited for
	reading bool      // the client is waited for
	command int       // octets that came since a command was asked for; -1 when they may be something else
	over    bool      // nothing more is read
	bye     string    // the session must end with these words; "": go on, or the server stops
	mute    bool      // they have been said
	greeted bool      // 220 was said in the clear
	shaking bool      // a TLS handshake after STARTTLS
	arrival arrival   // of the mail that is being received
	top     io.Writer // reaches the client in the clear or through TLS; nil while it must not be written to
	gone    sync.Once
}

// RemoteAddr is the client's, also behind a proxy that announced it.
func (c *conn) RemoteAddr() net.Addr { return c.peer }

// setRemote believes a PROXY header.
func (c *conn) setRemote(a net.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.peer, c.remote = a, remoteAddr(a)
}

func (c *conn) Read(p []byte) (int, error) {
	if len(c.early) > 0 {
		n := copy(p, c.early)
		c.early = c.early[n:]
		c.tap.Raw(p[:n])
		return n, nil
	}
	began := time.Now()
	if err := c.await(began); err != nil {
		return 0, err
	}
	n, err := c.Conn.Read(p)
	late := c.arrived(n, time.Since(began))
	c.tap.Raw(p[:n])
	if c.tooLong() && c.ending() {
		return 0, net.ErrClosed
	}
	if err == io.EOF {
		c.eof.Store(true)
	}
	var ne net.Error
	if n > 0 || !errors.As(err, &ne) || !ne.Timeout() {
		return n, err
	}
	c.tap.TimedOut()
	if c.ending() || c.silent(late) {
		return 0, net.ErrClosed
	}
	return n, err
}

// arrival is a mail on its way in. While one is, each read has a deadline from
// here, where go-smtp has one for all of DATA.
type arrival struct {
	on, data bool          // data: by DATA, else by BDAT
	left     time.Duration // how long the client may still be waited for before minOctets have come
	octets   int           // that came since left was full
}

// minOctets must arrive, or the end of the mail, within each read timeout: one
// octet now and then must not hold a place for ever. They are counted below TLS.
const minOctets = 1 << 10

// look is how long a read within DATA lasts at most. go-smtp's reader keeps what
// it has until it has 4 KiB or an error, and body must see an end that go-smtp
// does not (see blindState).
const look = time.Second

// receive begins an arrival, which ends with received. Only the time in which
// the client is waited for counts against it, not what the intake takes.
func (c *conn) receive(data bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.arrival = arrival{on: true, data: data, left: c.srv.conf.ReadTimeout}
	c.command = -1
}

// received leaves one deadline for what go-smtp drains of a refused mail.
func (c *conn) received(data bool) {
	c.mu.Lock()
	c.arrival = arrival{}
	c.mu.Unlock()
	if data {
		_ = c.SetReadDeadline(time.Now().Add(c.srv.conf.ReadTimeout))
		c.commands.await(false)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.command = -1
}

// await begins a read.
func (c *conn) await(now time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reading = true
	if !c.arrival.on {
		return nil
	}
	left := c.arrival.left
	if c.arrival.data {
		left = min(left, look)
	}
	return c.setReadDeadline(now.Add(left))
}

// arrived ends a read, which brought n octets after some time; late is true when
// too little came in all.
func (c *conn) arrived(n int, after time.Duration) (late bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reading = false
	if c.command >= 0 {
		c.command += n
	}
	a := &c.arrival
	a.left -= after
	if a.octets += n; a.octets >= minOctets {
		a.octets, a.left = 0, c.srv.conf.ReadTimeout
	}
	return a.on && a.left <= 0
}

// SetReadDeadline is what go-smtp calls before it waits for a command. It fails
// when the session must end, which ends it.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.tap.Listen()
	if c.ending() {
		_ = c.Conn.SetReadDeadline(longAgo())
		return net.ErrClosed
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked, c.shaking, c.command = time.Now(), false, 0
	c.commands.await(!c.arrival.on)
	if c.arrival.on {
		c.command = -1 // the next chunk may follow its command at once
	}
	return c.setReadDeadline(t)
}

// setReadDeadline knows of an end that came up since the last question about it;
// Read asks it again.
func (c *conn) setReadDeadline(t time.Time) error {
	if c.mustEnd() {
		t = longAgo()
	}
	return c.Conn.SetReadDeadline(t)
}

// silent ends a session whose client has said nothing, or of a mail too little,
// for too long; a handshake ends by itself. go-smtp would run the half command
// that it has, and make a permanent 554 of a timeout inside BDAT.
func (c *conn) silent(late bool) bool {
	c.mu.Lock()
	switch {
	case late:
		c.bye = "421 4.4.2 %s has not taken the mail, which did not arrive in time; send it again"
	case !c.arrival.on && c.top != nil:
		c.bye = "421 4.4.2 %s has waited long enough; connect again when there is mail"
	}
	c.mu.Unlock()
	return c.ending()
}

// maxCommand is the most that is read of one command, in octets. RFC 4954 §4
// wants 12288 for AUTH; the rest is for what go-smtp reads ahead, and for the
// begin of a chunk, which is read before Data runs. go-smtp holds a whole line,
// and would hold one of maxLine for each connection.
const maxCommand = 40 << 10

// tooLong ends a session in which a command does not end.
func (c *conn) tooLong() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	long := c.command > maxCommand && c.top != nil
	if long {
		c.bye = "500 5.5.2 %s takes no command so long; connect again"
	}
	return long
}

func (c *conn) mustEnd() bool { return c.over || c.bye != "" || !c.busy && c.srv.isStopping() }

// ending says whether the session must end. The client is told so, once, and
// nothing after it, unless something else has ended the session already.
func (c *conn) ending() bool {
	c.mu.Lock()
	end, first, top, bye := c.mustEnd(), !c.over, c.top, c.bye
	c.over = end
	c.mu.Unlock()
	if !end || !first || top == nil {
		return end
	}
	if bye == "" {
		bye = "421 4.3.2 %s is shutting down; try again in a minute"
	}
	_ = c.Conn.SetWriteDeadline(time.Now().Add(min(farewell, c.srv.conf.WriteTimeout)))
	words := fmt.Appendf(nil, bye+"\r\n", c.srv.conf.Hostname)
	_, _ = top.Write(words)
	c.tap.Say(words)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mute = true
	return end
}

// longAgo is a deadline that ends a read that runs.
func longAgo() time.Time { return time.Unix(1, 0) }

// farewell bounds the last words to a client that may not be listening.
const farewell = 5 * time.Second

// hangUp ends the session after the reply to the running command.
func (c *conn) hangUp() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	_ = c.Conn.SetReadDeadline(longAgo())
}

// wake makes an idle session notice that the server stops.
func (c *conn) wake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.busy {
		_ = c.Conn.SetReadDeadline(longAgo())
	}
}

// idleSince says since when the client is waited for without need: in a command
// or in a handshake, without a transaction, or with one in which read_timeout
// has passed and no mail has begun to arrive.
func (c *conn) idleSince() (t time.Time, idle bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.over || c.bye != "" || !c.reading || c.arrival.on:
		return time.Time{}, false
	case c.busy:
		return c.since.Add(c.srv.conf.ReadTimeout), true
	}
	return c.asked, true
}

// dismiss ends a session with these words, in which %s is our name.
func (c *conn) dismiss(bye string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bye = bye
	_ = c.Conn.SetReadDeadline(longAgo())
}

// Write sees STARTTLS begin and fail, for which go-smtp has no hook: the second
// 220 that is said in the clear, and a 550 instead of TLS. The handshake gets a
// deadline; one that failed ends the session, whose client would take a reply
// in the clear for TLS, and whose next octets are not commands.
func (c *conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	ready := bytes.HasPrefix(p, []byte("220 "))
	begins := ready && c.greeted
	c.greeted = c.greeted || ready
	failed := c.shaking && bytes.HasPrefix(p, []byte("550 "))
	if begins {
		c.shaking, c.top, c.asked = true, nil, time.Now()
		_ = c.setReadDeadline(c.asked.Add(c.srv.handshakeTimeout()))
	}
	mute := c.mute
	c.command = -1
	c.mu.Unlock()
	if mute {
		return len(p), nil
	}
	if failed {
		c.srv.conf.Log.Info("TLS handshake failed", "session", c.id, "remote", c.peer.String(), "after", "STARTTLS")
		c.tap.HandshakeFailed(nil)
		c.hangUp()
		return len(p), nil
	}
	n, err := c.Conn.Write(p)
	if err != nil {
		c.tap.Deafen()
		c.hangUp() // go-smtp would go on, for a client that takes no replies
	}
	return n, err
}

// SetWriteDeadline is what go-smtp calls before each reply, and before nothing
// else that it says: that is how the tap knows whose octets it hears.
func (c *conn) SetWriteDeadline(t time.Time) error {
	c.tap.Reply()
	return c.Conn.SetWriteDeadline(t)
}

func (c *conn) setBusy(v bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy, c.since = v, time.Now()
}

func (c *conn) setTop(w io.Writer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.top = w
}

// Close closes the connection and gives its place to another client.
func (c *conn) Close() error {
	c.gone.Do(func() {
		c.srv.forget(c)
		c.tap.End()
	})
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
