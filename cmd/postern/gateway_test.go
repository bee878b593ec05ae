package main_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"postern/internal/peer"
	"postern/relay/sign"
)

// gateway is the real program, as a child process in a directory of its own.
type gateway struct {
	t    *testing.T
	dir  string
	addr string // SMTP
	wrap []string
	cmd  *exec.Cmd
	log  *logBuffer
	dkim string // the TXT record's value
	web  string // host:port of the opt-out pages
}

// logBuffer keeps stderr and tells when a line appears.
type logBuffer struct {
	mu    sync.Mutex
	lines []string
	ready chan struct{}
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "\n")
}

// newGateway writes a configuration: one list, "promo", of everybody who is
// subscribed; more is appended to it. It has a key and no users yet.
func newGateway(t *testing.T, more string) *gateway {
	t.Helper()
	g := &gateway{t: t, dir: t.TempDir(), addr: fmt.Sprintf("127.0.0.1:%d", peer.Port(t)), web: fmt.Sprintf("127.0.0.1:%d", peer.Port(t))}
	key, txt, err := sign.GenerateKey("example.com", "test", 2048)
	if err != nil {
		t.Fatal(err)
	}
	g.dkim = strings.Join(quoted(txt), "")
	g.write("dkim.pem", string(key))
	g.write("config.toml", fmt.Sprintf(`
hostname = "gw.example.com"
[[smtp.listener]]
address = %q
[[smtp.network]]
cidr = "127.0.0.0/8"
send_as = ["*@example.com"]
relay = true
lists = ["*"]
[[list]]
id = "promo"
address = "promo@lists.example.com"
name = "Promotions"
[[dkim]]
domain = "example.com"
selector = "test"
key_file = "dkim.pem"
[optout]
listen = %q
base_url = "http://%s"
[admin]
listen = "127.0.0.1:%d"
%s`, g.addr, g.web, g.web, peer.Port(t), more))
	t.Cleanup(g.kill)
	return g
}

func quoted(s string) []string {
	var out []string
	for i, p := range strings.Split(s, `"`) {
		if i%2 == 1 {
			out = append(out, p)
		}
	}
	return out
}

const maildirLane = `
[[lane]]
name = "out"
driver = "maildir"
[lane.maildir]
path = "outbox"
`

func smtpLane(addr string) string {
	return fmt.Sprintf(`
[[lane]]
name = "out"
driver = "smtp"
[lane.smtp]
address = %q
tls = "none"
`, addr)
}

func (g *gateway) write(name, text string) {
	g.t.Helper()
	if err := os.WriteFile(filepath.Join(g.dir, name), []byte(text), 0o600); err != nil {
		g.t.Fatal(err)
	}
}

// command prepares the program: this test binary under the name postern, by which
// TestMain knows what to be.
func (g *gateway) command(args ...string) *exec.Cmd {
	g.t.Helper()
	bin := filepath.Join(g.dir, "bin", "postern")
	if _, err := os.Lstat(bin); err != nil {
		self, err := os.Executable()
		if err != nil {
			g.t.Fatal(err)
		}
		if err := errors.Join(os.Mkdir(filepath.Dir(bin), 0o700), os.Symlink(self, bin)); err != nil {
			g.t.Fatal(err)
		}
	}
	argv := append(append([]string{}, g.wrap...), bin)
	cmd := exec.Command(argv[0], append(argv[1:], args...)...)
	cmd.Dir = g.dir
	// Under -race a program otherwise idles for a second before it ends. No AWS
	// settings of this machine reach the emulators.
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0 "+os.Getenv("GORACE"), "AWS_ACCESS_KEY_ID=", "AWS_PROFILE=", "AWS_REGION=",
		"AWS_DEFAULT_REGION=", "AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null", "AWS_EC2_METADATA_DISABLED=true")
	return cmd
}

// run runs a command that must succeed and returns its output.
func (g *gateway) run(args ...string) string {
	g.t.Helper()
	var stderr bytes.Buffer
	cmd := g.command(args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		g.t.Fatalf("postern %s: %v\n%s%s", strings.Join(args, " "), err, out, stderr.String())
	}
	return string(out)
}

// serve starts the gateway and waits until it is ready.
func (g *gateway) serve() {
	g.t.Helper()
	g.cmd = g.command("serve")
	stderr, err := g.cmd.StderrPipe()
	if err != nil {
		g.t.Fatal(err)
	}
	g.log = &logBuffer{ready: make(chan struct{})}
	log := g.log
	if err := g.cmd.Start(); err != nil {
		g.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for s := bufio.NewScanner(stderr); s.Scan(); {
			log.mu.Lock()
			log.lines = append(log.lines, s.Text())
			log.mu.Unlock()
			if s.Text() == "ready" {
				close(log.ready)
			}
		}
	}()
	select {
	case <-log.ready:
	case <-ended:
		g.t.Fatalf("the gateway ended before it was ready:\n%s", log)
	case <-time.After(time.Minute):
		g.t.Fatalf("the gateway is not ready after a minute:\n%s", log)
	}
}

// kill ends the gateway as a power switch would, if it runs.
func (g *gateway) kill() {
	if g.cmd != nil {
		_ = g.cmd.Process.Kill()
		_ = g.cmd.Wait()
		g.cmd = nil
	}
}

// stop ends it in order.
func (g *gateway) stop() {
	g.t.Helper()
	if err := g.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		g.t.Fatal(err)
	}
	if err := g.cmd.Wait(); err != nil {
		g.t.Fatalf("ended with %v:\n%s", err, g.log)
	}
	g.cmd = nil
}

// users imports n subscribed users, user0000@example.net and so on.
func (g *gateway) users(n int) {
	g.t.Helper()
	var b strings.Builder
	b.WriteString("Email,Name,Gender,CreateTime,SubscriptionStatus\n")
	for i := range n {
		fmt.Fprintf(&b, "user%04d@example.net,고객%d,Female,1700000000,true\n", i, i)
	}
	g.write("users.csv", b.String())
	g.run("users", "import", "users.csv")
}

// submit sends a mail over SMTP; the error is the server's.
func (g *gateway) submit(to, text string) error {
	c, err := smtp.Dial(g.addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SendMail("marketer@example.com", []string{to}, strings.NewReader(strings.ReplaceAll(text, "\n", "\r\n"))); err != nil {
		return err
	}
	return c.Quit()
}

func (g *gateway) mustSubmit(to, text string) {
	g.t.Helper()
	if err := g.submit(to, text); err != nil {
		g.t.Fatalf("submit: %v\n%s", err, g.log)
	}
}

const hello = `From: Marketer <marketer@example.com>
To: promo@lists.example.com
Subject: Hello {{Name}}
Message-ID: <hello@example.com>
MIME-Version: 1.0
Content-Type: text/plain; charset=utf-8

Dear {{Name}}, this is for you.
`

// message is `queue list --json`'s.
type message struct {
	ID     string         `json:"id"`
	List   string         `json:"list"`
	State  string         `json:"state"`
	Reason string         `json:"reason"`
	Copies map[string]int `json:"copies"`
	Notice string         `json:"notice"`
}

func (g *gateway) queue() []message {
	g.t.Helper()
	var list []message
	if err := json.Unmarshal([]byte(g.run("queue", "list", "--json")), &list); err != nil {
		g.t.Fatal(err)
	}
	return list
}

// until asks until the newest message fits.
func (g *gateway) until(what string, fits func(message) bool) message {
	g.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(2 * time.Minute)
	var last message
	for {
		if list := g.queue(); len(list) > 0 {
			if last = list[0]; fits(last) {
				return last
			}
		}
		select {
		case <-tick.C:
		case <-deadline:
			g.t.Fatalf("not %s in time: %+v\n%s", what, last, g.log)
		}
	}
}

func (g *gateway) untilDone() message {
	g.t.Helper()
	return g.until("done", func(m message) bool { return m.State == "done" })
}

// outbox reads the maildir.
func (g *gateway) outbox() [][]byte {
	g.t.Helper()
	files, err := filepath.Glob(filepath.Join(g.dir, "outbox", "new", "*"))
	if err != nil {
		g.t.Fatal(err)
	}
	var all [][]byte
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			g.t.Fatal(err)
		}
		all = append(all, b)
	}
	return all
}

// recorder is an SMTP sink that counts what it has accepted, by recipient.
type recorder struct {
	// answer, when set before use, says what is said to the n-th attempt (from 1)
	// for a recipient; nil takes it.
	answer func(to string, n int) error
	away   bool // goes away: what comes now is told 421
	tries  map[string]int
	mails  map[string][]byte // the last one of each recipient
	from   map[string]string // its envelope sender

	addr   string
	server *smtp.Server
	mu     sync.Mutex
	to     map[string]int
	ids    map[string]string // recipient to Message-ID
	err    error
	arrive chan struct{} // a token for each mail
}

func startRecorder(t *testing.T) *recorder {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{addr: l.Addr().String(), to: map[string]int{}, ids: map[string]string{}, tries: map[string]int{}, mails: map[string][]byte{}, from: map[string]string{}, arrive: make(chan struct{}, 100000)}
	r.serve(l)
	t.Cleanup(func() { _ = r.server.Close() })
	return r
}

// serve answers at l until the server is closed.
func (r *recorder) serve(l net.Listener) {
	r.server = smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &recording{r: r}, nil }))
	r.server.Domain, r.server.MaxMessageBytes = "sink.example", 64<<20
	r.server.ErrorLog = quiet{}
	server := r.server
	go func() { _ = server.Serve(l) }()
}

type quiet struct{}

func (quiet) Printf(string, ...any) {}
func (quiet) Println(...any)        {}

type recording struct {
	r        *recorder
	from, to string
}

func (s *recording) Reset()        {}
func (s *recording) Logout() error { return nil }
func (s *recording) Mail(from string, _ *smtp.MailOptions) error {
	s.from = from
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	if s.r.away {
		return &smtp.SMTPError{Code: 421, EnhancedCode: smtp.EnhancedCode{4, 3, 2}, Message: "going down"}
	}
	return nil
}

func (s *recording) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.to = to
	return nil
}

func (s *recording) Data(body io.Reader) error {
	b, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	s.r.tries[s.to]++
	if s.r.answer != nil {
		if err := s.r.answer(s.to, s.r.tries[s.to]); err != nil {
			return err
		}
	}
	s.r.mails[s.to], s.r.from[s.to] = b, s.from
	id := header(b, "Message-Id")
	if old := s.r.ids[s.to]; old != "" && old != id {
		s.r.err = fmt.Errorf("two attempts for %s have the Message-IDs %s and %s", s.to, old, id)
	}
	s.r.to[s.to]++
	s.r.ids[s.to] = id
	s.r.arrive <- struct{}{}
	return nil
}

// header is the first value of a field, folded lines joined.
func header(raw []byte, name string) string {
	head, _, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
	unfolded := strings.NewReplacer("\r\n ", " ", "\r\n\t", " ").Replace(string(head))
	for line := range strings.SplitSeq(unfolded, "\r\n") {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.EqualFold(k, name) {
			return strings.TrimSpace(v)
		}
	}
	return ""
}
