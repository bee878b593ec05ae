package smarthost

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"postern/mail"
)

// maxRecord is the largest plaintext of a TLS record in octets (RFC 8446 §5.1).
const maxRecord = 16 << 10

// conn is one SMTP session. One goroutine uses it at a time.
type conn struct {
	s         *Sender
	host      *host
	raw       net.Conn // TCP
	nc        net.Conn // raw, or TLS over it
	r         *bufio.Reader
	ctx       context.Context // of the Send that uses it
	usable    bool            // another transaction may follow
	reset     bool            // RSET must come before it
	used      bool            // it was kept after a transaction
	refusals  int             // mails in a row that were not accepted
	end       ending          // of the last transaction
	idleSince time.Time

	pipelining, eightBit, utf8, starttls, chunking bool
	size                                           int64 // largest mail the upstream takes, 0: not said
	auth                                           []string

	bdat bool        // this mail goes by BDAT
	cmd  []byte      // reused for commands
	mail net.Buffers // reused for the segments of a mail
	out  net.Buffers // what of them is still to be written

	records *bufio.Writer // gathers segments into full TLS records; nil without TLS
}

// ending is what a transaction that failed says beyond its error.
type ending struct {
	stale    bool // the session had ended before the upstream accepted anything
	down     bool // the host is not fit for more at the moment
	noChunks bool // the upstream does not know BDAT, and the mail was not accepted
}

// dial makes a session with h that is ready for MAIL. Nothing of a copy was sent
// when it fails.
func (s *Sender) dial(ctx context.Context, h *host) (*conn, error) {
	nc, err := (&net.Dialer{Timeout: s.cfg.DialTimeout}).DialContext(ctx, "tcp", h.addr)
	if err != nil {
		return nil, unreachable(err, "%s cannot be reached: %s", h.addr, reason(err))
	}
	c := &conn{s: s, host: h, raw: nc, nc: nc, r: bufio.NewReaderSize(nc, maxLine)}
	stop := c.watch(ctx)
	err = c.open()
	if !stop() {
		err = unreachable(errors.Join(ctx.Err(), err), "nothing was sent: sending was stopped while %s was being connected", h.addr)
	}
	if err != nil {
		c.nc.Close()
		return nil, err
	}
	if !c.eightBit {
		s.sevenBit.Store(true)
	}
	s.cfg.Log.Debug("connected to upstream", "address", h.addr, "tls", s.cfg.TLS, "pipelining", c.pipelining, "chunking", c.chunking)
	return c, nil
}

func unreachable(cause error, format string, a ...any) *mail.Error {
	return &mail.Error{Class: mail.Unreachable, Public: fmt.Sprintf(format, a...), Err: cause}
}

// reason is the innermost words of a network error.
func reason(err error) string {
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns):
		return "its name does not resolve (" + dns.Err + ")"
	case errors.Is(err, context.Canceled):
		return "sending was stopped"
	case isTimeout(err):
		return "it does not answer in time"
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Err != nil {
		err = op.Err
	}
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) {
		err = inner
	}
	return err.Error()
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &t) && t.Timeout()
}

// watch lets the end of ctx interrupt whatever the connection waits for, until
// stop is called. Stop says false when the end of ctx came before it.
func (c *conn) watch(ctx context.Context) (stop func() bool) {
	c.ctx = ctx
	return context.AfterFunc(ctx, func() { _ = c.raw.SetDeadline(past()) })
}

func past() time.Time { return time.Unix(1, 0) }

// within gives the next step a deadline, unless the Send was already stopped.
func (c *conn) within(d time.Duration) {
	_ = c.raw.SetDeadline(time.Now().Add(d)) // fails only on a closed connection, where the next step fails too
	if c.ctx.Err() != nil {
		_ = c.raw.SetDeadline(past())
	}
}

// command sends one line and reads its reply with its text.
func (c *conn) command(line string) (reply, error) {
	c.within(c.s.cfg.CommandTimeout)
	c.cmd = append(append(c.cmd[:0], line...), crlf...)
	if _, err := c.nc.Write(c.cmd); err != nil {
		return reply{}, err
	}
	return readReply(c.r, true, false)
}

func (c *conn) open() error {
	s := c.s
	if s.cfg.TLS == "implicit" {
		if err := c.handshake(); err != nil {
			return err
		}
	}
	c.within(s.cfg.CommandTimeout)
	hello, err := readReply(c.r, true, false)
	if err != nil {
		return unreachable(err, "%s does not greet as a mail server: %s", c.host.addr, reason(err))
	}
	if hello.code != 220 {
		return c.refused("refuses connections", hello, atGreeting)
	}
	if err := c.ehlo(); err != nil {
		return err
	}
	if s.cfg.TLS == "starttls" {
		if err := c.startTLS(); err != nil {
			return err
		}
	}
	if s.cfg.Username == "" {
		return nil
	}
	return c.login()
}

// refused is the refusal of a session, in the upstream's words.
func (c *conn) refused(what string, r reply, at stage) *mail.Error {
	e := r.refusal(classify(at, r))
	e.Public = fmt.Sprintf("%s %s: %s", c.host.addr, what, e.Public)
	return e
}

func (c *conn) handshake() error {
	t := tls.Client(c.nc, c.host.tls)
	c.within(c.s.cfg.DialTimeout)
	if err := t.HandshakeContext(c.ctx); err != nil {
		var cert *tls.CertificateVerificationError
		if errors.As(err, &cert) {
			return unreachable(err, "%s has a certificate that cannot be trusted: %s; nothing was sent", c.host.addr, cert.Err)
		}
		return unreachable(err, "TLS with %s fails: %s; nothing was sent", c.host.addr, reason(err))
	}
	c.nc, c.r, c.records = t, bufio.NewReaderSize(t, maxLine), bufio.NewWriterSize(t, 2*maxRecord)
	return nil
}

func (c *conn) startTLS() error {
	if !c.starttls {
		return unreachable(nil, "%s does not offer STARTTLS, which tls = \"starttls\" demands; nothing was sent. If it never offers it, set tls to implicit, or to none on a wire that you trust", c.host.addr)
	}
	r, err := c.command("STARTTLS")
	if err != nil {
		return unreachable(err, "%s was lost at STARTTLS: %s", c.host.addr, reason(err))
	}
	if r.code != 220 {
		return c.refused("refuses STARTTLS", r, atTLS)
	}
	// What came before the handshake in the clear may be anybody's (RFC 3207 §5).
	if c.r.Buffered() > 0 {
		return unreachable(nil, "%s said more before TLS began, which somebody between may have put there; nothing was sent", c.host.addr)
	}
	if err := c.handshake(); err != nil {
		return err
	}
	return c.ehlo()
}

// ehlo asks what the upstream can do. An old server that knows only HELO is
// taken as one that can do nothing more.
func (c *conn) ehlo() error {
	s := c.s
	c.pipelining, c.eightBit, c.utf8, c.starttls, c.chunking, c.size, c.auth = false, false, false, false, false, 0, nil
	c.within(s.cfg.CommandTimeout)
	_, err := c.nc.Write([]byte("EHLO " + s.cfg.Hostname + "\r\n"))
	var r reply
	if err == nil {
		r, err = readReply(c.r, false, true)
	}
	if err == nil && (r.code == 500 || r.code == 502) {
		r, err = c.command("HELO " + s.cfg.Hostname)
	}
	if err != nil {
		return unreachable(err, "%s was lost at EHLO: %s", c.host.addr, reason(err))
	}
	if r.code != 250 {
		return c.refused("refuses our EHLO "+s.cfg.Hostname, r, atHello)
	}
	for i, line := range r.lines {
		if i > 0 {
			c.offer(strings.Fields(strings.ToUpper(line)))
		}
	}
	return nil
}

// offer notes one keyword of EHLO's reply (RFC 5321 §4.1.1.1).
func (c *conn) offer(words []string) {
	if len(words) == 0 {
		return
	}
	switch words[0] {
	case "PIPELINING":
		c.pipelining = true
	case "8BITMIME":
		c.eightBit = true
	case "SMTPUTF8":
		c.utf8 = true
	case "CHUNKING":
		c.chunking = true
	case "STARTTLS":
		c.starttls = true
	case "SIZE":
		if len(words) > 1 {
			if n, err := strconv.ParseInt(words[1], 10, 64); err == nil && n > 0 {
				c.size = n
			}
		}
	case "AUTH":
		c.auth = append(c.auth, words[1:]...)
	default:
		// The form of old servers, "AUTH=LOGIN PLAIN".
		if first, ok := strings.CutPrefix(words[0], "AUTH="); ok {
			c.auth = append(append(c.auth, first), words[1:]...)
		}
	}
}

// quit says goodbye (RFC 5321 §4.1.1.10) without waiting long for an answer.
func (c *conn) quit() {
	_ = c.raw.SetDeadline(time.Now().Add(time.Second))
	if _, err := c.nc.Write([]byte("QUIT\r\n")); err == nil {
		_, _ = readReply(c.r, false, false) // whatever it says, we go
	}
	c.nc.Close()
}
