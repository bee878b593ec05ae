package smtpd

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"golang.org/x/crypto/bcrypt"

	"postern/mail"
)

// accounts checks passwords.
type accounts struct {
	byName  map[string]*Account
	dummy   []byte        // compared when there is no hash, so that the answer takes as long
	working chan struct{} // one place for each comparison that runs
}

func newAccounts(list []Account) *accounts {
	a := &accounts{byName: map[string]*Account{}, working: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)-1))}
	cost := bcrypt.MinCost
	for _, acc := range list {
		acc.Priority = orTransactional(acc.Priority)
		a.byName[strings.ToLower(acc.Username)] = &acc
		if c, err := bcrypt.Cost([]byte(acc.PasswordHash)); err == nil {
			cost = max(cost, c)
		}
	}
	// Well-formed, of nobody's password, and as dear as the dearest real one.
	a.dummy = fmt.Appendf(nil, "$2a$%02d$%s", cost, strings.Repeat("a", 53))
	return a
}

// verify finds the account whose password this is, nil if there is none.
func (a *accounts) verify(ctx context.Context, username, password string) (*Account, error) {
	select {
	case a.working <- struct{}{}:
		defer func() { <-a.working }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	acc := a.byName[strings.ToLower(username)]
	hash := a.dummy
	if acc != nil && acc.PasswordHash != "" {
		hash = []byte(acc.PasswordHash)
	}
	if err := bcrypt.CompareHashAndPassword(hash, []byte(password)); err != nil {
		return nil, nil
	}
	if acc == nil || acc.PasswordHash == "" {
		return nil, nil
	}
	return acc, nil
}

// AuthMechanisms is called by go-smtp for the answer to EHLO, and not for HELO:
// that is how a session knows which it was.
func (s *session) AuthMechanisms() []string {
	s.esmtp = true
	if !s.authOpen() {
		return nil
	}
	return []string{"PLAIN", "LOGIN"}
}

// authOpen says whether AUTH is taken on this connection now.
func (s *session) authOpen() bool {
	_, secure := s.peer.TLSConnectionState()
	return s.lis.conf.Auth != "off" && (secure || s.lis.conf.InsecureAuth)
}

// Auth begins an exchange (RFC 4954).
func (s *session) Auth(mechanism string) (sasl.Server, error) {
	switch {
	case s.lis.conf.Auth == "off":
		return nil, reply(mail.Refuse(502, "5.7.0", "this listener takes no AUTH"))
	case !s.authOpen():
		return nil, reply(mail.Refuse(538, "5.7.11", "AUTH is taken only after STARTTLS; switch on TLS in the sending program"))
	case s.transaction() != nil:
		return nil, reply(mail.Refuse(503, "5.5.1", "AUTH must come before MAIL"))
	case mechanism == "PLAIN":
		return &exchange{step: s.plain}, nil
	case mechanism == "LOGIN":
		return &exchange{step: s.loginName}, nil
	}
	return nil, reply(mail.Refuse(504, "5.5.4", "%s is not known here; use PLAIN or LOGIN", oneLine(mechanism)))
}

// exchange is a SASL conversation as a chain of steps: each gets the client's
// response (nil: none yet) and names the next, nil when it was the last.
type exchange struct{ step step }

type step func(response []byte) (challenge string, next step, err error)

func (e *exchange) Next(response []byte) ([]byte, bool, error) {
	challenge, next, err := e.step(response)
	if err != nil {
		return nil, false, reply(err)
	}
	e.step = next
	return []byte(challenge), next == nil, nil
}

// plain is RFC 4616.
func (s *session) plain(response []byte) (string, step, error) {
	if response == nil {
		return "", s.plain, nil
	}
	parts := strings.Split(string(response), "\x00")
	if len(parts) != 3 {
		return "", nil, mail.Refuse(501, "5.5.2", "a PLAIN response is an identity, a user name and a password with NUL between them")
	}
	if parts[0] != "" && !strings.EqualFold(parts[0], parts[1]) {
		return "", nil, mail.Refuse(535, "5.7.8", "nobody may act for another user here; leave the authorization identity empty")
	}
	return "", nil, s.login(parts[1], parts[2])
}

// loginName and the step after it are LOGIN, which has no RFC; the two
// challenges are what Outlook and old devices wait for, to the letter.
func (s *session) loginName(response []byte) (string, step, error) {
	if response == nil {
		return "Username:", s.loginName, nil
	}
	name := string(response)
	return "Password:", func(password []byte) (string, step, error) { return "", nil, s.login(name, string(password)) }, nil
}

// login answers a name and a password: wrong ones after a pause that doubles,
// and the last with 421.
func (s *session) login(name, password string) error {
	acc, err := s.srv.accounts.verify(s.ctx, name, password)
	if err != nil {
		return mail.Later(454, "4.7.0", "the password could not be checked now; try again later")
	}
	if acc != nil {
		s.account, s.failures = acc, 0
		return nil
	}
	s.failures++
	s.log.Warn("authentication failed", "user", name, "failures", s.failures)
	s.pause(s.srv.conf.AuthDelay << min(s.failures-1, 6))
	if s.failures >= s.srv.conf.MaxAuthFailures {
		s.conn.hangUp()
		return mail.Later(421, "4.7.0", "too many wrong passwords; check user name and password, then connect again")
	}
	return mail.Refuse(smtp.ErrAuthFailed.Code, "5.7.8", "user name or password is wrong")
}

func (s *session) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.srv.stop:
	case <-s.ctx.Done():
	}
}
