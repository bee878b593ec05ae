package smarthost

import (
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net"
	"strings"

	"postern/mail"
)

// maxCommand is the length of a command line with its CRLF (RFC 5321
// §4.5.3.1.4). Answers within AUTH may be longer (RFC 4954 §4).
const maxCommand = 512

// login is AUTH (RFC 4954) with PLAIN (RFC 4616), else LOGIN.
func (c *conn) login() error {
	account := func(format string, a ...any) error {
		return &mail.Error{Class: mail.AccountWide, Public: fmt.Sprintf(format, a...)}
	}
	if _, secure := c.nc.(*tls.Conn); !secure && !isLoopback(c.nc.RemoteAddr()) {
		return account("no login at %s: the password would cross the network in the clear; set tls to starttls or implicit", c.host.addr)
	}
	var r reply
	var err error
	switch plain, login := c.offers("PLAIN"), c.offers("LOGIN"); {
	case plain:
		// 504: it is offered and yet unknown. No password was looked at.
		if r, err = c.authPlain(); err == nil && r.code == 504 && login {
			r, err = c.authLogin()
		}
	case login:
		r, err = c.authLogin()
	default:
		return account("%s offers no login that we know (PLAIN, LOGIN)%s", c.host.addr, c.withoutTLS())
	}
	switch {
	case err != nil:
		return unreachable(err, "%s was lost at login: %s", c.host.addr, reason(err))
	case r.code == 235:
		return nil
	case r.code/100 == 4:
		return c.refused("cannot check our login now", r, atLogin)
	}
	e := r.refusal(mail.AccountWide)
	e.Public = fmt.Sprintf("%s refuses the login of %s: %s", c.host.addr, c.s.cfg.Username, e.Public)
	return e
}

// authPlain sends the password with the command where it fits (RFC 4954 §4), and
// once more to a server that asks for it all the same.
func (c *conn) authPlain() (reply, error) {
	secret := base64.StdEncoding.EncodeToString([]byte("\x00" + c.s.cfg.Username + "\x00" + c.s.cfg.Password))
	line := "AUTH PLAIN " + secret
	if len(line)+len(crlf) > maxCommand {
		line = "AUTH PLAIN"
	}
	r, err := c.command(line)
	if err == nil && r.code == 334 {
		r, err = c.command(secret)
	}
	return r, err
}

// authLogin answers what the server asks for. LOGIN has no standard: most ask
// "Username:" and then "Password:", and whoever asks in unknown words is
// answered in that order.
func (c *conn) authLogin() (reply, error) {
	r, err := c.command("AUTH LOGIN")
	for _, usual := range []string{c.s.cfg.Username, c.s.cfg.Password} {
		if err != nil || r.code != 334 {
			break
		}
		answer := usual
		asked, _ := base64.StdEncoding.DecodeString(r.text) // what is not base64 asks in unknown words
		switch question := strings.ToLower(string(asked)); {
		case strings.Contains(question, "pass"):
			answer = c.s.cfg.Password
		case strings.Contains(question, "user"):
			answer = c.s.cfg.Username
		}
		r, err = c.command(base64.StdEncoding.EncodeToString([]byte(answer)))
	}
	return r, err
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
