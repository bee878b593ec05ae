package smtpd

import (
	"context"
	"errors"
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
	domains map[string]bool // of user names and send_as
	cost    int             // of the dearest hash
	working chan struct{}   // one place for each check that runs
	compare func(hash, password []byte) error
}

func newAccounts(list []Account) *accounts {
	a := &accounts{byName: map[string]*Account{}, domains: map[string]bool{}, cost: bcrypt.MinCost, compare: bcrypt.CompareHashAndPassword,
		working: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)-1))}
	for _, acc := range list {
		acc.Priority = orTransactional(acc.Priority)
		a.byName[strings.ToLower(acc.Username)] = &acc
		for _, address := range append([]string{acc.Username}, acc.SendAs...) {
			if _, domain, found := strings.Cut(strings.ToLower(address), "@"); found {
				a.domains[domain] = true
			}
		}
		if c, err := bcrypt.Cost([]byte(acc.PasswordHash)); err == nil {
			a.cost = max(a.cost, c)
		}
	}
	return a
}

// plausible is what may be shown of a user name that did not log in: an account's,
// or an address in a domain of theirs. All else may be a password that was typed
// into the wrong field, and is "".
func (a *accounts) plausible(username string) (shown string, known bool) {
	name := strings.ToLower(username)
	_, domain, _ := strings.Cut(name, "@")
	_, known = a.byName[name]
	if !known && !a.domains[domain] {
		return "", false
	}
	return oneLine(username), known
}

// verify finds the account whose password this is, nil if there is none. The
// error is that of allowed, which is asked before and after the wait for a place,
// or of ctx.
func (a *accounts) verify(ctx context.Context, username, password string, allowed func() error) (*Account, error) {
	if err := allowed(); err != nil {
		return nil, err
	}
	select {
	case a.working <- struct{}{}:
		defer func() { <-a.working }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if err := allowed(); err != nil {
		return nil, err
	}
	acc := a.byName[strings.ToLower(username)]
	if acc == nil || acc.PasswordHash == "" {
		_ = a.compare(nobodys(a.cost), []byte(password))
		return nil, nil
	}
	if a.compare([]byte(acc.PasswordHash), []byte(password)) == nil {
		return acc, nil
	}
	a.catchUp(acc, password)
	return nil, nil
}

// catchUp makes the refusal of a cheap hash take as long as that of the dearest,
// which is that of unknown users: each cost is twice the work of the one below.
func (a *accounts) catchUp(acc *Account, password string) {
	own, err := bcrypt.Cost([]byte(acc.PasswordHash))
	for cost := own; err == nil && cost < a.cost; cost++ {
		_ = a.compare(nobodys(cost), []byte(password))
	}
}

// nobodys is a well-formed hash of nobody's password.
func nobodys(cost int) []byte { return fmt.Appendf(nil, "$2a$%02d$%s", cost, strings.Repeat("a", 53)) }

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
// challenges are what Outlook and old devices wait for, to the letter. An empty
// initial response ("=") is none.
func (s *session) loginName(response []byte) (string, step, error) {
	if len(response) == 0 {
		return "Username:", s.loginPassword, nil
	}
	return s.loginPassword(response)
}

func (s *session) loginPassword(name []byte) (string, step, error) {
	return "Password:", func(password []byte) (string, step, error) { return "", nil, s.login(string(name), string(password)) }, nil
}

// login answers a name and a password: wrong ones after a pause that doubles,
// and the connection's last with 421.
func (s *session) login(name, password string) error {
	shown, known := s.srv.accounts.plausible(name)
	s.conn.tap.LoggedIn(shown, known, false)
	if shown == "" {
		shown = "(no account's name: not shown)"
	}
	try := s.srv.guard.attempt(client(s.conn.remote), name, password)
	acc, err := s.srv.accounts.verify(s.ctx, name, password, func() error { return s.srv.guard.check(try, time.Now()) })
	var shutOut *mail.Error
	switch {
	case errors.As(err, &shutOut):
		s.failures++
		s.log.Warn("authentication is shut out", "user", shown, "again_in", shutOut.RetryAfter.Round(time.Second))
		return s.lastOne(shutOut)
	case err != nil:
		return mail.Later(454, "4.7.0", "the password could not be checked now; try again later")
	case acc != nil:
		s.srv.guard.passed(try)
		s.account, s.failures = acc, 0
		s.conn.tap.LoggedIn(acc.Username, true, true)
		return nil
	}
	s.failures++
	n := max(s.failures, s.srv.guard.failed(try, time.Now()))
	s.log.Warn("authentication failed", "user", shown, "failures", n)
	s.pause(min(s.srv.conf.AuthDelay<<min(n-1, 16), maxAuthDelay))
	if s.failures >= s.srv.conf.MaxAuthFailures {
		return s.lastOne(mail.Later(421, "4.7.0", "too many wrong passwords; check user name and password, then connect again"))
	}
	return mail.Refuse(smtp.ErrAuthFailed.Code, "5.7.8", "user name or password is wrong")
}

// lastOne makes a refusal the end of a connection that has had its attempts.
func (s *session) lastOne(e *mail.Error) error {
	if s.failures >= s.srv.conf.MaxAuthFailures {
		s.conn.hangUp()
		e.Code = 421
	}
	return e
}

// pause waits, but not when the server stops. A client that leaves, be it only
// with its sending half, gets no answer: who leaves does not get around the wait.
func (s *session) pause(d time.Duration) {
	end := time.NewTimer(d)
	defer end.Stop()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-end.C:
			return
		case <-s.srv.stop:
			return
		case <-s.ctx.Done():
			return
		case <-tick.C:
			if hungUp(s.conn.Conn) {
				_ = s.conn.Close()
				return
			}
		}
	}
}
