package main_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"postern/internal/peer"
	"postern/internal/transcript"
)

// stage is a gateway with all kinds of listeners and clients, whose way out is a
// recorder. Transcripts are played on it, in the language of the package
// transcript and with these verbs:
//
//	Q: promo=3 people=1   since the transcript began these messages were taken, and so many copies of each have left; none
//	COPY~ ADDR regexp     the mail that has left for ADDR matches
//	COPY!~ ADDR regexp    it does not
//	BODY ADDR file        its body is that of the file, octet for octet
//	ID: n                 the last reply names the n-th message
//	KILL                  kill -9, and another start
//
// The name "copy:ADDR" of a mail is what has left for ADDR, and "report:FILE ADDR WHO"
// a report of relay/events/testdata about that copy, which says that it was for WHO. The Message-IDs of
// files are another's in each transcript, so that none repeats another.
//
// Clients come from 127.0.0.0/24, where all is allowed; 127.0.4.0/24, a scanner
// that may relay and use no list; 127.0.6.0/24, who may use the list and not
// relay; anywhere else they are strangers. By the listener "proxied" (PROXY v1)
// they come from anywhere: 203.0.113.0/24 may relay and use the list. Accounts:
// marketer (list), relay (relay), each @example.com. Beside promo there are the lists
// news+weekly@ and dressed@, which has a template; the templates are winter and
// Summer.2027.
type stage struct {
	*gateway
	out   *recorder
	tls   *tls.Config
	addrs map[string]string
	known map[string]bool // messages from before the transcript
}

func openStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{out: startRecorder(t), addrs: map[string]string{}}
	s.gateway = newGateway(t, "[relay]\nuncertain_wait = \"1s\"\n"+smtpLane(s.out.addr))
	s.addrs[""] = s.addr
	s.certify()
	path := filepath.Join(s.dir, "config.toml")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	config := strings.Replace(string(text), `"127.0.0.0/8"`, `"127.0.0.0/24"`, 1)
	for name, keys := range map[string]string{
		"strict":   `bare_newline = "reject"`,
		"starttls": `tls = "starttls"`,
		"required": "tls = \"starttls\"\nauth = \"required\"",
		"implicit": `tls = "implicit"`,
		"insecure": `insecure_auth = true`,
		"off":      `auth = "off"`,
		"proxied":  `proxy_protocol_from = ["127.0.0.0/8"]`,
	} {
		s.addrs[name] = fmt.Sprintf("127.0.0.1:%d", peer.Port(t))
		config += fmt.Sprintf("\n[[smtp.listener]]\naddress = %q\n%s\n", s.addrs[name], keys)
	}
	s.write("config.toml", config+fmt.Sprintf(`
[smtp.tls]
cert_file = "cert.pem"
key_file = "key.pem"
[[smtp.account]]
username = "marketer@example.com"
password_hash = %q
send_as = ["*@example.com"]
lists = ["promo"]
[[smtp.account]]
username = "relay@example.com"
password_hash = %q
send_as = ["relay@example.com"]
relay = true
[[smtp.network]]
cidr = "127.0.4.0/24"
send_as = ["scanner@example.com"]
relay = true
[[smtp.network]]
cidr = "127.0.6.0/24"
send_as = ["*@example.com"]
lists = ["promo"]
[[smtp.network]]
cidr = "203.0.113.0/24"
send_as = ["*@example.com"]
relay = true
lists = ["promo"]
[[list]]
id = "plus"
address = "news+weekly@lists.example.com"
[[list]]
id = "dressed"
address = "dressed@lists.example.com"
template = "winter"
`, hashed(t, "correct horse"), hashed(t, "battery staple")))
	pool := x509.NewCertPool()
	ca, err := os.ReadFile(filepath.Join(s.dir, "ca.pem"))
	if err != nil || !pool.AppendCertsFromPEM(ca) {
		t.Fatalf("ca.pem: %v", err)
	}
	s.tls = &tls.Config{RootCAs: pool, ServerName: "localhost"}
	s.template("winter", "<html><head><title>{{Subject}}</title></head><body><h1>WINTER</h1>{{Body}}<p>{{Unsubscribe}}</p></body></html>", "WINTER\n{{Body}}\n{{Unsubscribe}}\n")
	s.template("Summer.2027", "<h1>SUMMER</h1>{{Body}}{{Unsubscribe}}", "")
	s.csv("a@example.net,김민,Female,true", "b@example.net,Lee,Male,true", "c@example.net,Ko,Male,true")
	s.serve()
	return s
}

// dial connects to a listener, from a local address when that is not "".
func (s *stage) dial(listener, from string) (net.Conn, error) {
	to, known := s.addrs[listener]
	if !known {
		return nil, fmt.Errorf("there is no listener %q", listener)
	}
	d := net.Dialer{}
	if from != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	c, err := d.Dial("tcp", to)
	if err == nil && listener == "implicit" {
		return tls.Client(c, s.tls), nil
	}
	return c, err
}

func (s *stage) play(file string) error {
	before, err := s.list()
	if err != nil {
		return err
	}
	s.known = map[string]bool{}
	for _, m := range before {
		s.known[m.ID] = true
	}
	s.out.mu.Lock()
	clear(s.out.mails)
	s.out.mu.Unlock()
	p := &transcript.Player{Dial: s.dial, TLS: s.tls, Verbs: map[string]func(string, string) error{
		"Q:":     func(arg, _ string) error { return s.queueIs(strings.Fields(arg)) },
		"COPY~":  func(arg, _ string) error { return s.copyFits(arg, true) },
		"COPY!~": func(arg, _ string) error { return s.copyFits(arg, false) },
		"BODY":   func(arg, _ string) error { return s.bodyIs(filepath.Dir(file), arg) },
		"ID:":    s.idIs,
		"KILL":   func(string, string) error { s.kill(); s.serve(); return nil },
	}}
	p.Mail = func(name string) ([]byte, error) {
		if to, sent := strings.CutPrefix(name, "copy:"); sent {
			return s.left(to)
		}
		if about, report := strings.CutPrefix(name, "report:"); report {
			return s.report(strings.Fields(about))
		}
		raw, err := transcript.Mail(filepath.Join(filepath.Dir(file), name))
		of := strings.TrimSuffix(filepath.Base(file), ".txt")
		return bytes.Replace(raw, []byte("\r\nMessage-ID: <"), []byte("\r\nMessage-ID: <"+of+"."), 1), err
	}
	return p.Play(file)
}

// list are the messages of the queue, oldest first.
func (s *stage) list() ([]message, error) {
	var all []message
	err := s.ask("/api/queue", &all)
	slices.Reverse(all)
	return all, err
}

// fresh are the messages since the transcript began, when all are done.
func (s *stage) fresh() ([]message, error) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(time.Minute)
	for {
		all, err := s.list()
		if err != nil {
			return nil, err
		}
		all = slices.DeleteFunc(all, func(m message) bool { return s.known[m.ID] })
		if !slices.ContainsFunc(all, func(m message) bool { return m.State != "done" }) {
			return all, nil
		}
		select {
		case <-tick.C:
		case <-deadline:
			return nil, fmt.Errorf("not done in time: %+v", all)
		}
	}
}

func (s *stage) queueIs(want []string) error {
	all, err := s.fresh()
	if err != nil {
		return err
	}
	got := []string{}
	for _, m := range all {
		name := m.List
		if name == "" {
			name = "people"
		}
		got = append(got, fmt.Sprintf("%s=%d", name, m.Copies["sent"]))
	}
	if len(got) == 0 {
		got = []string{"none"}
		s.out.mu.Lock()
		left := slices.Sorted(maps.Keys(s.out.mails))
		s.out.mu.Unlock()
		if len(left) > 0 {
			return fmt.Errorf("no message was taken, and mail has left for %v", left)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		return fmt.Errorf("the queue has %v", got)
	}
	return nil
}

// left is the last mail that the recorder took for an address.
func (s *stage) left(to string) ([]byte, error) {
	s.out.mu.Lock()
	defer s.out.mu.Unlock()
	raw, ok := s.out.mails[to]
	if !ok {
		return nil, fmt.Errorf("nothing has left for %s, but for %v", to, slices.Sorted(maps.Keys(s.out.mails)))
	}
	return bytes.Clone(raw), nil
}

// report is a report about the copy that has left for an address.
func (s *stage) report(about []string) ([]byte, error) {
	if len(about) != 3 {
		return nil, fmt.Errorf("%q is no file, address and recipient", about)
	}
	copied, err := s.left(about[1])
	if err != nil {
		return nil, err
	}
	raw, err := transcript.Mail(filepath.Join("../../relay/events/testdata", about[0]))
	id := strings.Trim(header(copied, "Message-Id"), "<>")
	return []byte(strings.NewReplacer("01KBQ7ZJ3N8R5T9V2W4X6Y8Z0A-1@gw.example.com", id, "kim@example.net", about[2], "KIM@example.net", about[2]).Replace(string(raw))), err
}

func (s *stage) copyFits(arg string, should bool) error {
	to, pattern, _ := strings.Cut(arg, " ")
	raw, err := s.left(to)
	if err != nil {
		return err
	}
	fits, err := regexp.Match(pattern, raw)
	if err == nil && fits != should {
		err = fmt.Errorf("it is\n%s", raw)
	}
	return err
}

func (s *stage) bodyIs(dir, arg string) error {
	to, file, _ := strings.Cut(arg, " ")
	raw, err := s.left(to)
	if err != nil {
		return err
	}
	want, err := transcript.Mail(filepath.Join(dir, file))
	if err != nil {
		return err
	}
	_, body, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
	if _, want, _ = bytes.Cut(want, []byte("\r\n\r\n")); !bytes.Equal(body, want) {
		return fmt.Errorf("the body is %q", body)
	}
	return nil
}

func (s *stage) idIs(arg, heard string) error {
	n, err := strconv.Atoi(arg)
	if err != nil {
		return err
	}
	all, err := s.fresh()
	if err != nil {
		return err
	}
	if n > len(all) || !strings.HasSuffix(heard, " "+all[n-1].ID) {
		return errors.New("the server said " + heard)
	}
	return nil
}
