package smarthost_test

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"strings"
	"testing"

	"postern/mail"
	"postern/relay/smarthost"
)

func TestTLSIsNeverLeftOut(t *testing.T) {
	server, pool := certificate(t)
	trust := func(mode string) func(*smarthost.Config) {
		return func(c *smarthost.Config) { c.TLS, c.TLSConfig = mode, &tls.Config{RootCAs: pool} }
	}
	distrust := func(mode string) func(*smarthost.Config) { return func(c *smarthost.Config) { c.TLS = mode } }
	plain := "S: 220 up\nC: EHLO *\nS: 250-up\nS: 250-PIPELINING\nS: 250 STARTTLS\nC: STARTTLS\n"
	again := "C: EHLO postern.example\nS: 250-up\nS: 250 PIPELINING\n"
	for _, c := range []struct {
		name, script string
		change       func(*smarthost.Config)
		want         want
	}{
		{"STARTTLS", plain + "S: 220 go\nTLS\n" + again + accept, trust("starttls"), want{}},
		{"implicit", "TLS\n" + hello + accept, trust("implicit"), want{}},
		{"STARTTLS is not offered", hello, trust("starttls"), failed(mail.Unreachable, 0, "", "does not offer STARTTLS")},
		{"STARTTLS is refused", plain + "S: 454 4.7.0 no TLS now\n", trust("starttls"), failed(mail.Unreachable, 454, "4.7.0", "no TLS now")},
		{"words before TLS", plain + "S: 220 go|250 injected\nSILENT", trust("starttls"), failed(mail.Unreachable, 0, "", "before TLS began")},
		{"STARTTLS with a strange certificate", plain + "S: 220 go\nTLS\n", distrust("starttls"), failed(mail.Unreachable, 0, "", "certificate that cannot be trusted")},
		{"implicit with a strange certificate", "TLS\n", distrust("implicit"), failed(mail.Unreachable, 0, "", "certificate that cannot be trusted")},
		{"implicit to a server without it", "S: 220 up\nSILENT", trust("implicit"), failed(mail.Unreachable, 0, "", "TLS with")},
		{"cut after the dot", "TLS\n" + hello + begin + "S: 250 ok\nS: 250 ok\nS: 354 go\nGOT\nRST", trust("implicit"), failed(mail.Uncertain, 0, "", "may have been sent")},
	} {
		t.Run(c.name, func(t *testing.T) {
			u := startTLSUpstream(t, server, c.script)
			_, err := sender(t, u.addr(), c.change).Send(context.Background(), copyTo("b@example.net", "x\r\n"))
			c.want.check(t, 1, err)
		})
	}
}

func TestLongPasswordDoesNotFitTheCommand(t *testing.T) {
	password := strings.Repeat("0123456789", 50)
	secret := base64.StdEncoding.EncodeToString([]byte("\x00user\x00" + password))
	u := startUpstream(t, "S: 220 up\nC: EHLO *\nS: 250-up\nS: 250-PIPELINING\nS: 250 AUTH PLAIN\nC: AUTH PLAIN\nS: 334\nC: "+secret+"\nS: 235 hello\n"+accept)
	s := sender(t, u.addr(), func(c *smarthost.Config) { c.Username, c.Password = "user", password })
	if _, err := s.Send(context.Background(), copyTo("b@example.net", "x\r\n")); err != nil {
		t.Error(err)
	}
}

func TestLogin(t *testing.T) {
	login := func(c *smarthost.Config) { c.Username, c.Password = "user", "secret" }
	offer := func(auth string) string {
		return "S: 220 up\nC: EHLO *\nS: 250-up\nS: 250-PIPELINING\nS: 250 " + auth + "\n"
	}
	for _, c := range []struct {
		name, script string
		want         want
	}{
		{"PLAIN", offer("AUTH LOGIN PLAIN") + "C: AUTH PLAIN AHVzZXIAc2VjcmV0\nS: 235 hello\n" + accept, want{}},
		{"LOGIN", offer("AUTH LOGIN") + "C: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: dXNlcg==\nS: 334 UGFzc3dvcmQ6\nC: c2VjcmV0\nS: 235 hello\n" + accept, want{}},
		{"the old spelling of the offer", offer("AUTH=LOGIN") + "C: AUTH LOGIN\nS: 334 x\nC: dXNlcg==\nS: 334 x\nC: c2VjcmV0\nS: 235 hello\n" + accept, want{}},
		{"refused", offer("AUTH PLAIN") + "C: AUTH PLAIN *\nS: 535 5.7.8 bad credentials\n", failed(mail.AccountWide, 535, "5.7.8", "refuses the login of user: bad credentials")},
		{"LOGIN refused at the user name", offer("AUTH LOGIN") + "C: AUTH LOGIN\nS: 334 x\nC: dXNlcg==\nS: 535 no\n", failed(mail.AccountWide, 535, "", "no")},
		{"not now", offer("AUTH PLAIN") + "C: AUTH PLAIN *\nS: 454 4.7.0 later\n", failed(mail.Unreachable, 454, "4.7.0", "later")},
		{"no way we know", offer("AUTH CRAM-MD5"), failed(mail.AccountWide, 0, "", "no login that we know")},
		{"not before TLS", offer("STARTTLS"), failed(mail.AccountWide, 0, "", "set tls to starttls")},
		{"the password is asked for first", offer("AUTH LOGIN") + "C: AUTH LOGIN\nS: 334 UGFzc3dvcmQ6\nC: c2VjcmV0\nS: 334 VXNlciBOYW1lAA==\nC: dXNlcg==\nS: 235 hello\n" + accept, want{}},
		{"PLAIN asks for what it was given", offer("AUTH PLAIN") + "C: AUTH PLAIN AHVzZXIAc2VjcmV0\nS: 334\nC: AHVzZXIAc2VjcmV0\nS: 235 hello\n" + accept, want{}},
		{"PLAIN offered, but unknown", offer("AUTH PLAIN LOGIN") + "C: AUTH PLAIN *\nS: 504 5.5.4 unknown mechanism\nC: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: dXNlcg==\nS: 334 UGFzc3dvcmQ6\nC: c2VjcmV0\nS: 235 hello\n" + accept, want{}},
		{"a refused PLAIN is not tried again as LOGIN", offer("AUTH PLAIN LOGIN") + "C: AUTH PLAIN *\nS: 535 5.7.8 no\n", failed(mail.AccountWide, 535, "5.7.8", "no")},
		{"a question without end", offer("AUTH LOGIN") + "C: AUTH LOGIN\nS: 334 x\nC: dXNlcg==\nS: 334 x\nC: c2VjcmV0\nS: 334 more\n", failed(mail.AccountWide, 334, "", "more")},
		{"too many logins", offer("AUTH PLAIN") + "C: AUTH PLAIN *\nS: 454 4.7.0 Too many login attempts, please try again later\n", failed(mail.Throttled, 454, "4.7.0", "Too many login attempts")},
		{"lost", offer("AUTH PLAIN") + "C: AUTH PLAIN *\nEOF", failed(mail.Unreachable, 0, "", "lost at login")},
	} {
		t.Run(c.name, func(t *testing.T) {
			u := startUpstream(t, c.script)
			_, err := sender(t, u.addr(), login).Send(context.Background(), copyTo("b@example.net", "x\r\n"))
			c.want.check(t, 1, err)
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Error("the password is in the error")
			}
		})
	}
}
