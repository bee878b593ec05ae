package smarthost

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
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
	raw       net.Conn // TCP
	nc        net.Conn // raw, or TLS over it
	r         *bufio.Reader
	ctx       context.Context // of the Send that uses it
	usable    bool            // another transaction may follow
	reset     bool            // RSET must come before it
	stale     bool            // the upstream had gone before it accepted anything of the last one
	idleSince time.Time

	pipelining, eightBit, utf8, starttls bool
	size                                 int64 // largest mail the upstream takes, 0: not said
	auth                                 []string

	cmd  []byte      // reused for commands
	mail net.Buffers // reused for the segments of a mail
	out  net.Buffers // what of them is still to be written

	records *bufio.Writer // gathers segments into full TLS records; nil without TLS
}

// dial makes a session that is ready for MAIL. Every error is Unreachable or
// AccountWide: nothing of a copy was sent.
func (s *Sender) dial(ctx context.Context) (*conn, error) {
	nc, err := (&net.Dialer{Timeout: s.cfg.DialTimeout}).DialContext(ctx, "tcp", s.cfg.Address)
	if err != nil {
		return nil, s.unreachable(err, "%s cannot be reached: %s", s.cfg.Address, reason(err))
	}
	c := &conn{s: s, raw: nc, nc: nc, r: bufio.NewReaderSize(nc, maxLine)}
	stop := c.watch(ctx)
	err = c.open()
	if !stop() {
		err = s.unreachable(errors.Join(ctx.Err(), err), "nothing was sent: sending was stopped while %s was being connected", s.cfg.Address)
	}
	if err != nil {
		c.nc.Close()
		return nil, err
	}
	if !c.eightBit {
		s.sevenBit.Store(true)
	}
	s.cfg.Log.Debug("connected to upstream", "address", s.cfg.Address, "tls", s.cfg.TLS, "pipelining", c.pipelining)
	return c, nil
}

func (s *Sender) unreachable(cause error, format string, a ...any) *mail.Error {
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
		return s.unreachable(err, "%s does not greet as a mail server: %s", s.cfg.Address, reason(err))
	}
	if hello.code != 220 {
		return c.refused("refuses connections", hello)
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

// refused is an Unreachable error that tells the upstream's words.
func (c *conn) refused(what string, r reply) *mail.Error {
	e := r.refusal(mail.Unreachable)
	e.Public = fmt.Sprintf("%s %s: %s", c.s.cfg.Address, what, e.Public)
	return e
}

func (c *conn) handshake() error {
	t := tls.Client(c.nc, c.s.cfg.TLSConfig)
	c.within(c.s.cfg.DialTimeout)
	if err := t.HandshakeContext(c.ctx); err != nil {
		var cert *tls.CertificateVerificationError
		if errors.As(err, &cert) {
			return c.s.unreachable(err, "%s has a certificate that cannot be trusted: %s; nothing was sent", c.s.cfg.Address, cert.Err)
		}
		return c.s.unreachable(err, "TLS with %s fails: %s; nothing was sent", c.s.cfg.Address, reason(err))
	}
	c.nc, c.r, c.records = t, bufio.NewReaderSize(t, maxLine), bufio.NewWriterSize(t, 2*maxRecord)
	return nil
}

func (c *conn) startTLS() error {
	if !c.starttls {
		return c.s.unreachable(nil, "%s does not offer STARTTLS, which tls = \"starttls\" demands; nothing was sent. If it never offers it, set tls to implicit, or to none on a wire that you trust", c.s.cfg.Address)
	}
	r, err := c.command("STARTTLS")
	if err != nil {
		return c.s.unreachable(err, "%s was lost at STARTTLS: %s", c.s.cfg.Address, reason(err))
	}
	if r.code != 220 {
		return c.refused("refuses STARTTLS", r)
	}
	// What came before the handshake in the clear may be anybody's (RFC 3207 §5).
	if c.r.Buffered() > 0 {
		return c.s.unreachable(nil, "%s said more before TLS began, which somebody between may have put there; nothing was sent", c.s.cfg.Address)
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
	c.pipelining, c.eightBit, c.utf8, c.starttls, c.size, c.auth = false, false, false, false, 0, nil
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
		return s.unreachable(err, "%s was lost at EHLO: %s", s.cfg.Address, reason(err))
	}
	if r.code != 250 {
		return c.refused("refuses our EHLO "+s.cfg.Hostname, r)
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

// login is AUTH (RFC 4954) with PLAIN (RFC 4616), else LOGIN.
func (c *conn) login() error {
	account := func(format string, a ...any) error {
		return &mail.Error{Class: mail.AccountWide, Public: fmt.Sprintf(format, a...)}
	}
	if _, secure := c.nc.(*tls.Conn); !secure && !isLoopback(c.nc.RemoteAddr()) {
		return account("no login at %s: the password would cross the network in the clear; set tls to starttls or implicit", c.s.cfg.Address)
	}
	var r reply
	var err error
	enc := base64.StdEncoding.EncodeToString
	user, password := c.s.cfg.Username, c.s.cfg.Password
	switch {
	case c.offers("PLAIN"):
		r, err = c.command("AUTH PLAIN " + enc([]byte("\x00"+user+"\x00"+password)))
	case c.offers("LOGIN"):
		for _, line := range []string{"AUTH LOGIN", enc([]byte(user)), enc([]byte(password))} {
			if r, err = c.command(line); err != nil || r.code != 334 {
				break
			}
		}
	default:
		return account("%s offers no login that we know (PLAIN, LOGIN)%s", c.s.cfg.Address, c.withoutTLS())
	}
	switch {
	case err != nil:
		return c.s.unreachable(err, "%s was lost at login: %s", c.s.cfg.Address, reason(err))
	case r.code == 235:
		return nil
	case r.code/100 == 4:
		return c.refused("cannot check our login now", r)
	}
	e := r.refusal(mail.AccountWide)
	e.Public = fmt.Sprintf("%s refuses the login of %s: %s", c.s.cfg.Address, user, e.Public)
	return e
}

func (c *conn) withoutTLS() string {
	if c.starttls && c.s.cfg.TLS == "none" {
		return "; it may offer one after STARTTLS, so set tls to starttls"
	}
	return ""
}

func (c *conn) offers(mechanism string) bool {
	for _, m := range c.auth {
		if m == mechanism {
			return true
		}
	}
	return false
}

func isLoopback(a net.Addr) bool {
	t, ok := a.(*net.TCPAddr)
	return ok && t.IP.IsLoopback()
}

// quit says goodbye (RFC 5321 §4.1.1.10) without waiting long for an answer.
func (c *conn) quit() {
	_ = c.raw.SetDeadline(time.Now().Add(time.Second))
	if _, err := c.nc.Write([]byte("QUIT\r\n")); err == nil {
		_, _ = readReply(c.r, false, false) // whatever it says, we go
	}
	c.nc.Close()
}
