package smtpd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"runtime/debug"
	"sync"
	"time"

	"github.com/emersion/go-smtp"

	"postern/mail"
)

// session is one client between EHLO and the end, or STARTTLS. go-smtp calls
// its methods one after the other, save that Data runs beside the others while
// chunks of BDAT come in.
type session struct {
	srv    *Server
	lis    *listener
	conn   *conn
	peer   *smtp.Conn
	id     string
	log    *slog.Logger
	ctx    context.Context
	cancel context.CancelFunc

	esmtp    bool
	failures int      // of AUTH
	account  *Account // nil: not logged in
	shown    *verdict // of the client's certificate; nil: not looked at

	result uintptr // identifies go-smtp's result of the last mail by BDAT; see abandoned

	mu      sync.Mutex // see Data
	tx      *transaction
	settled bool // Data has read the last chunk of a mail, since the last Reset
}

// transaction is what MAIL and RCPT have said.
type transaction struct {
	id    string // in Received and in the log
	sub   *mail.Submitter
	known bool // sub has rights of its own
	esmtp bool
	env   mail.Envelope
	deny  error // sub may not send as env.From, and so to nobody but Config.Public
	hold  *hold // of sub's limits; shared with Data, under session.mu
	size  int64 // that MAIL announced; 0: none

	// The recipient with the smallest bound on the size of the mail, if any has one.
	tight   *Service
	tightTo mail.Address
}

func (s *Server) newSession(l *listener, peer *smtp.Conn) *session {
	n := &session{srv: s, lis: l, conn: below(peer.Conn()), peer: peer}
	n.id = n.conn.id
	if state, ok := peer.TLSConnectionState(); ok {
		n.conn.tap.Secured(state)
	}
	n.log = s.conf.Log.With("session", n.id, "remote", n.conn.RemoteAddr().String())
	n.ctx, n.cancel = context.WithCancel(s.ctx)
	n.conn.setTop(peer.Conn())
	n.conn.commands = readCommands(peer, s.conf.Hostname)
	return n
}

// Logout also comes when STARTTLS ends this session and the next has not begun.
func (s *session) Logout() error {
	s.cancel()
	if s.abandoned() {
		s.conn.hangUp()
	}
	s.conn.setTop(nil)
	s.setTransaction(nil)
	return nil
}

// Reset comes after each transaction, whatever its end.
func (s *session) Reset() {
	if s.abandoned() {
		s.conn.dismiss("421 4.4.2 %s ends a session in which a mail is taken back between two chunks; connect again")
	}
	s.setTransaction(nil)
	s.conn.setBusy(false)
}

// abandoned says whether the transaction that ends has a mail by BDAT of which
// the last chunk did not come. go-smtp keeps one place for the result of a mail,
// and the goroutine that received this one would put its own there later: the
// next mail might be taken and answered with a refusal. So there must be no next
// one. Without go-smtp's field this panics, and no session goes on.
func (s *session) abandoned() bool {
	result := reflect.ValueOf(s.peer).Elem().FieldByName("dataResult").Pointer()
	begun := result != s.result
	s.result = result
	return begun && !s.settle(false)
}

// settle changes settled, and says what it was.
func (s *session) settle(v bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.settled
	s.settled = v
	return was
}

func (s *session) transaction() *transaction {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tx
}

// setTransaction also ends the one before: what it held of a limit is free again,
// unless its mail was accepted.
func (s *session) setTransaction(tx *transaction) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tx != nil {
		s.tx.hold.giveBack()
	}
	s.tx = tx
}

// Mail opens a transaction.
func (s *session) Mail(from string, opts *smtp.MailOptions) error {
	if s.transaction() != nil {
		return reply(mail.Refuse(503, "5.5.1", "a mail has been begun already; end it or send RSET"))
	}
	sub, known := s.submitter()
	address, err := s.checkMail(sub, from, opts.Size)
	var deny error
	if err == nil && known {
		deny = maySend(sub, address)
	}
	if deny != nil && (sub.Authenticated || s.srv.conf.Public == nil) {
		err = deny
	}
	if err != nil {
		return s.refuse("MAIL", sub, err, "from", from)
	}
	s.conn.mails++
	s.setTransaction(&transaction{id: fmt.Sprintf("%s.%d", s.id, s.conn.mails), sub: sub, known: known, esmtp: s.esmtp, deny: deny, size: opts.Size,
		hold: &hold{quota: s.srv.quotas.of(sub)}, env: mail.Envelope{From: address, SMTPUTF8: opts.UTF8}})
	s.conn.setBusy(true)
	return nil
}

func (s *session) checkMail(sub *mail.Submitter, from string, size int64) (mail.Address, error) {
	if s.lis.conf.Auth == "required" && !sub.Authenticated {
		return "", mail.Refuse(530, "5.7.0", "log in first: %s", s.howToLogIn())
	}
	if size > s.srv.conf.MaxMessageBytes {
		return "", mail.Refuse(552, "5.3.4", "the mail is larger than the %d octets that are taken here", s.srv.conf.MaxMessageBytes)
	}
	return parseSender(from)
}

func (s *session) howToLogIn() string {
	if s.authOpen() {
		return "switch on authentication (AUTH PLAIN or LOGIN) in the sending program"
	}
	return "switch on TLS (STARTTLS) and authentication in the sending program"
}

// Rcpt decides one recipient; a refusal leaves the others as they are.
func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	tx := s.transaction()
	if tx == nil {
		return reply(mail.Refuse(503, "5.5.1", "MAIL must come first"))
	}
	address, err := parseRecipient(to)
	var public *Service
	if err == nil {
		public = s.public(tx, address)
		err = s.checkRecipient(tx, public, address)
	}
	if err != nil {
		return s.refuse("RCPT", tx.sub, err, "id", tx.id, "from", tx.env.From, "to", to)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	tx.env.Recipients = append(tx.env.Recipients, address)
	if public != nil && public.MaxBytes > 0 && (tx.tight == nil || public.MaxBytes < tx.tight.MaxBytes) {
		tx.tight, tx.tightTo = public, address
	}
	return nil
}

// checkRecipient asks everybody who may refuse one, the limits last: only who is
// accepted is counted. Public recipients count for their service alone.
func (s *session) checkRecipient(tx *transaction, public *Service, to mail.Address) error {
	var err error
	if public != nil {
		err = public.checkSize(to, tx.size)
	} else {
		err = s.checkRights(tx)
	}
	if err != nil {
		return err
	}
	if err := s.guard(func() error { return s.srv.conf.Intake.Check(s.ctx, tx.sub, tx.env.From, to) }); err != nil {
		return err
	}
	if public != nil {
		return s.srv.services.take(public, to, client(s.conn.remote), time.Now())
	}
	return tx.hold.take(time.Now())
}

func (s *session) public(tx *transaction, to mail.Address) *Service {
	if s.srv.conf.Public == nil {
		return nil
	}
	return s.srv.conf.Public(tx.sub, tx.env.From, to)
}

// checkRights refuses who has none, and says how to get some. A network's
// send_as is held only here, because the servers that bring our own mail may
// also bring that of strangers to a public recipient.
func (s *session) checkRights(tx *transaction) error {
	if tx.known {
		return tx.deny
	}
	_, ask := s.network()
	if ask == "" {
		ask = fmt.Sprintf("ask the administrator to add your address %s to smtp.network", s.conn.remote)
	}
	if s.authOpen() || s.lis.conf.Auth != "off" && s.lis.conf.TLS == "starttls" {
		return mail.Refuse(530, "5.7.0", "you may not send from here without logging in: %s, or %s", s.howToLogIn(), ask)
	}
	return mail.Refuse(550, "5.7.1", "you may not send from here: %s", ask)
}

// Data receives one mail. For BDAT it runs in a goroutine of its own, which may
// outlive the transaction: it must change nothing of the session but settled and,
// for a mail that is accepted, what it holds of a limit.
func (s *session) Data(r io.Reader) error {
	s.mu.Lock()
	if s.tx == nil {
		s.mu.Unlock()
		return reply(mail.Refuse(503, "5.5.1", "MAIL and RCPT must come first"))
	}
	tx := *s.tx
	s.mu.Unlock()
	if !s.srv.begin() {
		return reply(mail.Later(421, "4.3.2", "%s is shutting down; the mail was not taken", s.srv.conf.Hostname))
	}
	defer s.srv.end()

	b := s.newBody(r, &tx)
	s.conn.receive(b.data)
	defer s.conn.received(b.data)
	id, err := s.accept(&tx, b)
	if b.last {
		s.settle(true)
	}
	if err != nil {
		s.spend(tx.hold, false)
		return s.refuse("DATA", tx.sub, err, "id", tx.id, "from", tx.env.From, "recipients", len(tx.env.Recipients), "octets", b.size)
	}
	s.spend(tx.hold, true)
	s.conn.tap.Accepted(string(id), len(tx.env.Recipients))
	s.log.Info("mail accepted", "message", id, "id", tx.id, "submitter", tx.sub.Name, "from", tx.env.From,
		"recipients", len(tx.env.Recipients), "octets", b.size)
	return &smtp.SMTPError{Code: 250, EnhancedCode: smtp.EnhancedCode{2, 0, 0}, Message: "queued as " + string(id)}
}

// spend ends what a mail holds of a limit: of an accepted one it stays counted. It
// comes before the reply, so that the client's other connections find what is true
// by then; the end of the transaction comes after it.
func (s *session) spend(h *hold, accepted bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if accepted {
		h.taken = nil
	} else {
		h.giveBack()
	}
}

func (s *session) newBody(r io.Reader, tx *transaction) *body {
	received := receivedField(s.srv.conf.Hostname, tx.id, tx.esmtp, tx.sub, tx.env, time.Now())
	b := newBody(r, received, s.lis.conf.BareNewline == "reject", s.srv.conf.MaxMessageBytes)
	if t := tx.tight; t != nil && t.MaxBytes < b.max {
		b.max, b.over = t.MaxBytes, t.tooBig(tx.tightTo)
	}
	b.declared = func() int64 { return declared(s.peer) }
	b.hangUp = s.conn.hangUp
	return b
}

// declared is the sum of the chunk sizes in the BDAT commands of this mail, once
// the last chunk has ended. go-smtp takes a chunk that is cut short by the end of
// the connection for a whole one, and keeps this number to itself; the connection
// cannot be asked instead, because the client may well have closed it after a
// whole chunk and a QUIT. Without the field this panics, and no mail is taken.
func declared(c *smtp.Conn) int64 {
	return reflect.ValueOf(c).Elem().FieldByName("bytesReceived").Int()
}

// accept gives the mail to the intake. What body found wrong explains an error
// of the intake better than the intake can.
func (s *session) accept(tx *transaction, b *body) (id mail.ID, err error) {
	err = s.guard(func() error {
		id, err = s.srv.conf.Intake.Accept(s.ctx, tx.sub, tx.env, b)
		return err
	})
	if err == nil {
		_, err = io.Copy(io.Discard, b)
	}
	if b.err != nil {
		err = b.err
	}
	if !b.data { // of DATA go-smtp reads the rest
		_, _ = io.Copy(io.Discard, b)
	}
	return id, err
}

// guard keeps a panic of the intake to this one mail.
func (s *session) guard(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			s.log.Error("panic in the intake", "panic", p, "stack", string(debug.Stack()))
			err = errors.New("the intake panicked")
		}
	}()
	return f()
}

// refuse logs a refusal and translates it.
func (s *session) refuse(command string, sub *mail.Submitter, err error, attrs ...any) error {
	r := reply(err)
	attrs = append([]any{"command", command, "submitter", sub.Name, "code", r.Code, "reply", r.Message}, attrs...)
	level := slog.LevelInfo
	var e *mail.Error
	if !errors.As(err, &e) || e.Err != nil {
		attrs = append(attrs, "error", err)
		level = slog.LevelWarn
	}
	s.log.Log(s.ctx, level, "mail refused", attrs...)
	return r
}
