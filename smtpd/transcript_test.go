package smtpd_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"postern/internal/transcript"
	"postern/mail"
	"postern/smtpd"
)

// TestTranscripts plays every dialogue of testdata against a server of its own,
// in the language of the package transcript. Beside it there are
//
//	set: key=value …   the listener or server (see apply), before the first client
//	M: n               so many mails have been taken
//	B~ regexp          the last mail taken, Received field and all, matches
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no transcripts", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) { play(t, f) })
	}
}

func play(t *testing.T, file string) {
	in := &intake{refusals: map[string]error{
		"unknown": mail.Refuse(550, "5.1.1", "there is no unknown here"),
		"full":    mail.Later(452, "4.3.1", "the queue is full"),
		"bug":     errors.New("open /var/lib/secret: permission denied"),
	}}
	id := newIdentity(t)
	conf := config(t, in)
	conf.GetCertificate = id.get
	var s *smtpd.Server
	p := &transcript.Player{TLS: id.client(), Verbs: map[string]func(string, string) error{
		"set:": func(arg, _ string) error {
			for _, kv := range strings.Fields(arg) {
				apply(t, &conf, kv)
			}
			return nil
		},
		"M:": func(arg, _ string) error {
			if got := len(in.taken()); strconv.Itoa(got) != arg {
				return fmt.Errorf("%d mails were taken", got)
			}
			return nil
		},
		"B~": func(arg, _ string) error {
			m := in.taken()
			if len(m) == 0 || !regexp.MustCompile(arg).MatchString(m[len(m)-1].Body) {
				return fmt.Errorf("mails: %+v", m)
			}
			return nil
		},
	}}
	p.Dial = func(_, from string) (net.Conn, error) {
		if s == nil {
			s = start(t, conf)
		}
		c := dial(t, s.Addrs()[0], from)
		if conf.Listeners[0].TLS == "implicit" {
			c.startTLS(id)
		}
		return c.conn, nil
	}
	if err := p.Play(file); err != nil {
		t.Fatal(err)
	}
}

// client is how somebody connects who trusts this certificate and no other.
func (i identity) client() *tls.Config {
	return &tls.Config{RootCAs: i.pool, ServerName: "localhost"}
}

func apply(t *testing.T, c *smtpd.Config, kv string) {
	t.Helper()
	key, value, _ := strings.Cut(kv, "=")
	number := func() int {
		n, err := strconv.Atoi(value)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	l := &c.Listeners[0]
	switch key {
	case "tls":
		l.TLS = value
	case "auth":
		l.Auth = value
	case "insecure_auth":
		l.InsecureAuth = value == "true"
	case "bare_newline":
		l.BareNewline = value
	case "max_message_bytes":
		c.MaxMessageBytes = int64(number())
	case "max_recipients":
		c.MaxRecipients = number()
	case "max_auth_failures":
		c.MaxAuthFailures = number()
	case "public":
		address, bounds, _ := strings.Cut(value, ",")
		svc := &smtpd.Service{Name: "public"}
		if bounds != "" {
			if _, err := fmt.Sscanf(bounds, "%d,%d,%d", &svc.MaxBytes, &svc.PerClient, &svc.PerMinute); err != nil {
				t.Fatal(err)
			}
		}
		c.Public = func(_ *mail.Submitter, _, to mail.Address) *smtpd.Service {
			if mail.MatchAddress(address, to) {
				return svc
			}
			return nil
		}
	default:
		t.Fatalf("a transcript cannot set %s", key)
	}
}
