package smtpd

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/emersion/go-smtp"

	"postern/mail"
	"postern/smtpd/dialogue"
)

// listener admits clients. The order is TCP, limits, PROXY, TLS, go-smtp: it must
// see the TLS connection itself.
type listener struct {
	net.Listener
	srv  *Server
	conf Listener
	tls  *tls.Config // nil without TLS
}

// serve accepts clients until the socket is closed. Nothing that a client does
// or leaves undone holds it up.
func (l *listener) serve() error {
	var pause time.Duration
	for {
		raw, err := l.Accept()
		switch {
		case err == nil:
			pause = 0
			l.take(raw)
		case !temporary(err):
			return err
		default:
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			l.srv.conf.Log.Warn("no client can be accepted now; if this goes on, allow the process more open files", "error", err, "retry_in", pause)
			if !l.srv.wait(pause) {
				return nil
			}
		}
	}
}

// temporary is true of what ends when other files or clients are closed. To
// take it for the end of the listener would turn a moment's flood into an
// outage.
func temporary(err error) bool {
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED, syscall.EINTR} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// wait returns true after d, false when the server stops before.
func (s *Server) wait(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-s.stop:
		return false
	}
}

func (l *listener) take(raw net.Conn) {
	c := &conn{Conn: raw, srv: l.srv, id: newSessionID(), peer: raw.RemoteAddr(), remote: remoteAddr(raw.RemoteAddr())}
	c.tap = l.srv.sessions.Begin(c.id, dialogue.Listener{Address: l.Addr().String(), TLS: l.conf.TLS, TLSMin: l.conf.TLSMin,
		Auth: l.conf.Auth, InsecureAuth: l.conf.InsecureAuth})
	c.announced = l.isProxy(c.remote)
	refusal := l.srv.admit(c)
	if refusal != nil || !c.announced {
		c.tap.From(c.peer.String())
	}
	if refusal != nil {
		l.refuse(c, refusal)
		return
	}
	go l.speak(c)
}

// speak gives an admitted connection to a go-smtp server of its own, because
// what differs from client to client is a setting of the server there. It
// returns when go-smtp has begun; c's Close is the end.
func (l *listener) speak(c *conn) {
	if c.announced && !l.introduce(c) {
		_ = c.Close()
		return
	}
	top, err := l.secure(c)
	if err != nil {
		l.srv.conf.Log.Info("TLS handshake failed", "session", c.id, "remote", c.RemoteAddr().String(), "error", err)
		_ = c.Close()
		return
	}
	c.setTop(top)
	_ = l.protocol(c.tap).Serve(&single{top})
}

// secure begins TLS on an implicit listener.
func (l *listener) secure(c *conn) (net.Conn, error) {
	if l.conf.TLS != "implicit" {
		return c, nil
	}
	now := time.Now()
	_ = c.SetWriteDeadline(now.Add(l.srv.conf.WriteTimeout))
	if err := c.SetReadDeadline(now.Add(l.srv.handshakeTimeout())); err != nil {
		return nil, err
	}
	t := tls.Server(c, l.tls)
	c.tap.Secure()
	if err := t.Handshake(); err != nil {
		c.tap.HandshakeFailed(err)
		return nil, err
	}
	c.tap.Secured(t.ConnectionState())
	return t, nil
}

// maxHandshake bounds a TLS handshake and a PROXY header, in which an honest
// peer has nothing to think about.
const maxHandshake = 30 * time.Second

func (s *Server) handshakeTimeout() time.Duration { return min(maxHandshake, s.conf.ReadTimeout) }

// protocol is go-smtp as this listener needs it. AUTH is always allowed there
// because the session decides itself (see session.AuthMechanisms).
func (l *listener) protocol(tap *dialogue.Tap) *smtp.Server {
	conf := &l.srv.conf
	p := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) { return l.srv.newSession(l, c), nil }))
	p.Domain = conf.Hostname
	p.MaxRecipients = conf.MaxRecipients
	p.MaxMessageBytes = conf.MaxMessageBytes + 1 // it refuses a mail of exactly its limit; body holds ours
	p.MaxLineLength = maxLine
	p.AllowInsecureAuth = true
	p.ReadTimeout, p.WriteTimeout = conf.ReadTimeout, conf.WriteTimeout
	p.ErrorLog, p.Debug = protocolLog{conf.Log}, tap
	if l.conf.TLS == "starttls" {
		p.TLSConfig = l.tls
	}
	return p
}

// single is a listener with one connection, which go-smtp serves in a goroutine
// of its own when its Serve has returned.
type single struct{ conn net.Conn }

func (s *single) Accept() (net.Conn, error) {
	c := s.conn
	if s.conn = nil; c == nil {
		return nil, net.ErrClosed
	}
	return c, nil
}

func (s *single) Close() error   { return nil }
func (s *single) Addr() net.Addr { return nil }

// refuse closes a connection with a 421, in the clear: a client that expects TLS
// only sees it closed, which spares us a handshake for each of a flood.
func (l *listener) refuse(c *conn, why *mail.Error) {
	l.srv.conf.Log.Info("connection refused", "session", c.id, "remote", c.RemoteAddr().String(), "reason", why.Public)
	c.tap.Refuse(l.srv.kind(why), why.Public)
	if l.conf.TLS != "implicit" {
		r := reply(why)
		_ = c.SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = fmt.Fprintf(c, "%d %d.%d.%d %s\r\n", r.Code, r.EnhancedCode[0], r.EnhancedCode[1], r.EnhancedCode[2], r.Message)
	}
	_ = c.Close()
}

// kind is a refusal of admit or meet for those who look at the session later.
func (s *Server) kind(why *mail.Error) dialogue.Refusal {
	switch {
	case s.isStopping():
		return dialogue.ShuttingDown
	case why.Enhanced == "4.7.0":
		return dialogue.TooManyFromAddress
	}
	return dialogue.TooMany
}

// newSessionID names a connection in the log and in Received.
func newSessionID() string {
	var b [5]byte
	_, _ = rand.Read(b[:]) // never fails since Go 1.24
	return hex.EncodeToString(b[:])
}

// protocolLog takes what go-smtp reports. All of it but a panic is about
// clients that went away or failed at TLS.
type protocolLog struct{ log *slog.Logger }

func (p protocolLog) Printf(format string, v ...any) {
	level := slog.LevelDebug
	if strings.Contains(format, "panic") {
		level = slog.LevelError
	}
	p.log.Log(context.Background(), level, "smtp", "detail", fmt.Sprintf(format, v...))
}

func (p protocolLog) Println(v ...any) { p.Printf("%s", fmt.Sprintln(v...)) }
