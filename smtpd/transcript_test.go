package smtpd_test

import (
	"bufio"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"postern/mail"
	"postern/smtpd"
)

// TestTranscripts plays every dialogue of testdata against a server of its own.
//
//	set: key=value …   the listener or server (see apply), before the first line
//	from: 127.0.5.9    the client's address
//	C: text            sent with CRLF
//	C| "text"          sent as a Go string says, without CRLF
//	S: text            the next line of the server begins so
//	S~ regexp          the next line of the server matches
//	S* text            one whole reply, of which the last line begins so
//	TLS                the client starts TLS here
//	END                the server closes the connection
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
	script, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer script.Close()
	in := &intake{refusals: map[string]error{
		"unknown": mail.Refuse(550, "5.1.1", "there is no unknown here"),
		"full":    mail.Later(452, "4.3.1", "the queue is full"),
		"bug":     errors.New("open /var/lib/secret: permission denied"),
	}}
	id := newIdentity(t)
	conf := config(t, in)
	conf.GetCertificate = id.get
	var c *client
	from := ""
	lines := bufio.NewScanner(script)
	for n := 1; lines.Scan(); n++ {
		verb, arg, _ := strings.Cut(lines.Text(), " ")
		if verb == "" || verb[0] == '#' {
			continue
		}
		if verb == "set:" {
			for _, kv := range strings.Fields(arg) {
				apply(t, &conf, kv)
			}
			continue
		}
		if verb == "from:" {
			from = arg
			continue
		}
		if c == nil {
			c = dial(t, start(t, conf).Addrs()[0], from)
			if conf.Listeners[0].TLS == "implicit" {
				c.startTLS(id)
			}
		}
		if !step(t, c, in, id, verb, arg) {
			t.Fatalf("%s:%d: %s", file, n, lines.Text())
		}
	}
}

// step plays one line and says whether it went as written.
func step(t *testing.T, c *client, in *intake, id identity, verb, arg string) bool {
	t.Helper()
	switch verb {
	case "C:":
		c.send(arg + "\r\n")
	case "C|":
		raw, err := strconv.Unquote(arg)
		if err != nil {
			t.Log(err)
			return false
		}
		c.send(raw)
	case "S:", "S~":
		line, err := c.r.ReadString('\n')
		line = strings.TrimRight(line, "\r\n")
		if err != nil || verb == "S:" && !strings.HasPrefix(line, arg) || verb == "S~" && !regexp.MustCompile(arg).MatchString(line) {
			t.Logf("the server said %q (%v)", line, err)
			return false
		}
	case "S*":
		c.want(arg)
	case "TLS":
		c.startTLS(id)
	case "END":
		c.ends()
	case "M:":
		if got := len(in.taken()); strconv.Itoa(got) != arg {
			t.Logf("%d mails were taken", got)
			return false
		}
	case "B~":
		m := in.taken()
		if len(m) == 0 || !regexp.MustCompile(arg).MatchString(m[len(m)-1].Body) {
			t.Logf("mails: %+v", m)
			return false
		}
	default:
		t.Logf("%q is no verb of a transcript", verb)
		return false
	}
	return true
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
		c.Public = func(to mail.Address) bool { return mail.MatchAddress(value, to) }
	default:
		t.Fatalf("a transcript cannot set %s", key)
	}
}
