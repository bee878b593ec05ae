//go:build e2e

package main_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"postern/internal/peer"
)

// exim is a mail server of a shop's that sends everything through the gateway.
// It runs in the foreground and only when it is told to, as nobody when the test
// is root's.
type exim struct {
	t    *testing.T
	dir  string
	root string // of the unpacked package
	uid  int
}

const nobody = 65534

// newExim prepares one that trusts the certificates in a file. Its configuration
// is a head of what concerns this machine, and these sections, in which CA is the
// path of that file.
func newExim(t *testing.T, trust, sections string) *exim {
	t.Helper()
	e := &exim{t: t, dir: t.TempDir(), root: peer.Unpacked(t, "exim4-daemon-light"), uid: os.Getuid()}
	if e.uid == 0 {
		e.uid = nobody
		if err := os.Chmod(filepath.Dir(e.dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	ca, err := os.ReadFile(trust)
	if err != nil {
		t.Fatal(err)
	}
	head := fmt.Sprintf(`
exim_path = %[1]s/usr/sbin/exim4
spool_directory = %[2]s/spool
log_file_path = %[2]s/%%slog
log_selector = +smtp_confirmation
primary_hostname = erp.example.com
domainlist local_domains = erp.example.com
keep_environment = LD_PRELOAD : LD_LIBRARY_PATH : NSS_WRAPPER_PASSWD : NSS_WRAPPER_GROUP
untrusted_set_sender = *
local_from_check = false
`, e.root, e.dir)
	for name, text := range map[string]string{
		"ca.pem":   string(ca),
		"password": password,
		// Debian's exim wants a user of this name; libnss-wrapper says there is one.
		"passwd": fmt.Sprintf("root:x:0:0::/:/bin/sh\nDebian-exim:x:%d:%d::/:/bin/sh\n", e.uid, e.uid),
		"group":  fmt.Sprintf("root:x:0:\nDebian-exim:x:%d:\n", e.uid),
		"conf":   head + strings.NewReplacer("CA", filepath.Join(e.dir, "ca.pem")).Replace(sections) + "\nbegin retry\n* * F,1h,1s\n",
	} {
		if err := os.WriteFile(filepath.Join(e.dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(e.dir, "spool"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{".", "ca.pem", "password", "passwd", "group", "conf", "spool"} {
		if err := os.Chown(filepath.Join(e.dir, path), e.uid, e.uid); err != nil {
			t.Fatal(err)
		}
	}
	return e
}

// before is an exim that sends to a port of the shop, with more options of the
// transport.
func (s *shop) before(port, transport string) *exim {
	s.t.Helper()
	return newExim(s.t, filepath.Join(s.dir, "ca.pem"), fmt.Sprintf(`
begin routers
smart:
  driver = manualroute
  route_list = * 127.0.0.1
  self = send
  transport = out
begin transports
out:
  driver = smtp
  port = %s
  connection_max_messages = 100
  tls_verify_certificates = CA
  tls_verify_cert_hostnames =
%s
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  client_send = ^marketer@example.com^${readfile{${sg{CA}{ca.pem\$}{password}}}}
`, port, transport))
}

// command prepares exim with its configuration.
func (e *exim) command(args ...string) *exec.Cmd {
	e.t.Helper()
	cmd := exec.Command(filepath.Join(e.root, "usr/sbin/exim4"), append([]string{"-C", filepath.Join(e.dir, "conf")}, args...)...)
	cmd.Dir = e.dir
	cmd.Env = []string{"PATH=/usr/bin:/bin", "NSS_WRAPPER_PASSWD=" + filepath.Join(e.dir, "passwd"), "NSS_WRAPPER_GROUP=" + filepath.Join(e.dir, "group"),
		"LD_PRELOAD=" + wrapper(e.t), "LD_LIBRARY_PATH=" + filepath.Join(e.root, "usr/lib/x86_64-linux-gnu")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if os.Getuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	return cmd
}

// run runs exim until it ends.
func (e *exim) run(stdin []byte, args ...string) string {
	e.t.Helper()
	cmd := e.command(args...)
	cmd.Stdin = bytes.NewReader(stdin)
	var said bytes.Buffer
	cmd.Stderr = &said // also that it gave up its privileges because of -C
	out, err := cmd.Output()
	if err != nil {
		e.t.Fatalf("exim %q: %v\n%s%s\n%s", args, err, out, said.String(), e.log())
	}
	return string(out)
}

// listen lets exim take mail at a port until the test ends.
func (e *exim) listen(port int) {
	e.t.Helper()
	cmd := e.command("-bdf", "-oX", fmt.Sprint(port), "-oP", filepath.Join(e.dir, "spool/pid"))
	said := &strings.Builder{}
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		e.t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() { _ = cmd.Wait(); close(exited) }()
	e.t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-exited
	})
	peer.Listening(e.t, fmt.Sprintf("127.0.0.1:%d", port), exited, func() string { return said.String() + e.log() })
}

// wrapper is the library that answers questions about users.
func wrapper(t *testing.T) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(peer.Unpacked(t, "libnss-wrapper"), "usr/lib/*/libnss_wrapper.so"))
	if err != nil || len(found) != 1 {
		t.Fatalf("libnss_wrapper.so: %q, %v", found, err)
	}
	return found[0]
}

func (e *exim) log() string {
	text, _ := os.ReadFile(filepath.Join(e.dir, "mainlog"))
	return string(text)
}

// queue takes a mail and does not send it yet.
func (e *exim) queue(mail string, to ...string) {
	e.t.Helper()
	e.run([]byte(mail), append([]string{"-odq", "-i", "-f", "erp@example.com"}, to...)...)
}

// flush sends what is queued, and says how much is left.
func (e *exim) flush() string {
	e.t.Helper()
	e.run(nil, "-qqff")
	return strings.TrimSpace(e.run(nil, "-bpc"))
}

// delivered is how many of the log's deliveries match.
func (e *exim) delivered(pattern string) int {
	return len(regexp.MustCompile(`(?m)^.* [=-]> .*`+pattern).FindAllString(e.log(), -1))
}

// koreanMail is one with 8-bit text, ended by LF as local programs write it.
func koreanMail(subject, to, more string) string {
	return "From: erp@example.com\nTo: " + to + "\nSubject: " + subject + "\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n" +
		"Content-Transfer-Encoding: 8bit\n\n주문이 발송되었습니다.\n.\n" + more + "끝\n"
}

// sessions are those in which mails were accepted, by how many.
func (g *gateway) sessions() map[string]int {
	all := map[string]int{}
	for _, m := range regexp.MustCompile(`msg="mail accepted" session=(\w+)`).FindAllStringSubmatch(g.log.String(), -1) {
		all[m[1]]++
	}
	return all
}

const logIn = "  hosts_require_tls = *\n  hosts_require_auth = *\n"

func TestEximRelaysChunks(t *testing.T) {
	for name, c := range map[string]struct {
		port      func(*shop) string
		transport string
		confirmed string // in exim's log of each delivery
	}{
		"plain":        {func(s *shop) string { return s.plain }, "", ` K C="250 2\.0\.0 queued as`},
		"one by one":   {func(s *shop) string { return s.plain }, "  hosts_avoid_pipelining = *", ` K C="250 2\.0\.0 queued as`},
		"DATA":         {func(s *shop) string { return s.plain }, "  hosts_try_chunking = :", `\]\*? C="250 2\.0\.0 queued as`},
		"STARTTLS":     {func(s *shop) string { return s.starttls }, logIn, ` X=TLS1\.3:.* K C="250 2\.0\.0 queued as`},
		"implicit TLS": {func(s *shop) string { return s.implicit }, logIn + "  protocol = smtps\n", ` X=TLS1\.3:.* K C="250 2\.0\.0 queued as`},
		"TLS 1.0":      {func(s *shop) string { return s.old }, logIn + "  tls_require_ciphers = NORMAL:-VERS-ALL:+VERS-TLS1.0:%COMPAT\n", ` X=TLS1\.0:.* K C="250 2\.0\.0 queued as`},
	} {
		t.Run(name, func(t *testing.T) {
			s := openShop(t, maildirLane)
			s.serve()
			e := s.before(c.port(s), c.transport)
			large := strings.Repeat(strings.Repeat("가", 300)+"\n", 5<<20/901)
			want := []string{"large", "one", "three", "two"}
			for _, subject := range want {
				more := ""
				if subject == "large" {
					more = large
				}
				e.queue(koreanMail(subject, "office@example.net", more), "office@example.net")
			}
			if left := e.flush(); left != "0" || e.delivered(c.confirmed) != len(want) {
				t.Fatalf("%s left\n%s\n%s", left, e.log(), s.log)
			}
			if got := s.sessions(); len(got) != 1 {
				t.Errorf("mails by session: %v", got)
			}
			list, mails := s.out(len(want))
			if got := subjects(list); !slices.Equal(got, want) {
				t.Errorf("subjects %q", got)
			}
			for i, p := range list {
				_, body, _ := strings.Cut(strings.ReplaceAll(string(mails[i]), "\r\n", "\n"), "\n\n")
				more := ""
				if p.Subject == "large" {
					more = large
				}
				if _, sent, _ := strings.Cut(koreanMail("", "", more), "\n\n"); body != sent {
					t.Errorf("the body of %s is %.300q", p.Subject, body)
				}
			}
			s.stop()
		})
	}
}

func TestEximSendsTheRestLater(t *testing.T) {
	s := openShop(t, maildirLane+"[smtp]\nmax_recipients = 2\n")
	s.serve()
	e := s.before(s.starttls, logIn)
	to := []string{"a@example.net", "b@example.net", "c@example.net", "d@example.net", "e@example.net"}
	e.queue(koreanMail("to five", to[0], ""), to...)
	left, runs := "", 0
	for left != "0" && runs < 5 {
		left = e.flush()
		runs++
	}
	if left != "0" || runs < 2 || e.delivered(`C="250 2\.0\.0 queued as`) != len(to) {
		t.Fatalf("%s left after %d runs\n%s\n%s", left, runs, e.log(), s.log)
	}
	if !strings.Contains(e.log(), "452 4.5.3") {
		t.Errorf("no 452 in exim's log:\n%s", e.log())
	}
	s.out(len(to))
	s.stop()
}

func TestEximWaitsWhileTheGatewayIsAway(t *testing.T) {
	s := openShop(t, maildirLane)
	e := s.before(s.plain, "")
	e.queue(koreanMail("later", "office@example.net", ""), "office@example.net")
	if left := e.flush(); left != "1" {
		t.Fatalf("%s left\n%s", left, e.log())
	}
	s.serve()
	if left := e.flush(); left != "0" {
		t.Fatalf("%s left\n%s", left, e.log())
	}
	s.out(1)
	s.stop()
}

func TestEximBouncesARefusedRecipientAlone(t *testing.T) {
	s := openShop(t, maildirLane)
	s.serve()
	e := s.before(s.plain, "")
	e.queue(koreanMail("mixed", "office@example.net", ""), "office@example.net", "nolist@lists.example.com")
	e.flush()
	if e.delivered(`office@example\.net`) != 1 || !regexp.MustCompile(`\*\* nolist@lists\.example\.com .* 550 5\.1\.1`).MatchString(e.log()) {
		t.Errorf("exim's log:\n%s\n%s", e.log(), s.log)
	}
	s.stop()
}

func TestEximGuideIsFollowed(t *testing.T) {
	f := follow(t, "postfix-exim-nodemailer.md")
	sections := strings.ReplaceAll(f.block("exim"), filepath.Join(f.dir, "cert.pem"), "CA")
	e := newExim(t, filepath.Join(f.dir, "cert.pem"), strings.Replace(sections, "byname", "byname\n  self = send", 1)) // the gateway is on this machine here
	e.queue(koreanMail("guide", "office@example.net", ""), "office@example.net")
	if left := e.flush(); left != "0" || e.delivered(` A=postern_login K C="250 2\.0\.0 queued as`) != 1 {
		t.Errorf("%s left\n%s\n%s", left, e.log(), f.log)
	}
	f.left("office@example.net guide")
}

// TestEximSendsAgainWhenThe250WasLost: the connection breaks when the 250 is on
// its way. To a list the mail still goes once. Ordinary mail goes twice, as
// between any two mail servers (RFC 1047); its Message-ID tells.
func TestEximSendsAgainWhenThe250WasLost(t *testing.T) {
	for to, want := range map[string]int{"promo@lists.example.com": 1, "office@example.net": 2} {
		t.Run(to, func(t *testing.T) {
			s := openShop(t, maildirLane)
			s.csv("a@example.net,김민,Female,true")
			s.serve()
			e := s.before(cutter(t, s.addr, "queued as"), "")
			e.queue(koreanMail("again", to, ""), to)
			if left := e.flush(); left != "1" {
				t.Fatalf("%s left: the connection was not cut\n%s", left, e.log())
			}
			if left := e.flush(); left != "0" {
				t.Fatalf("%s left\n%s", left, e.log())
			}
			list, _ := s.out(want)
			if list[0].MessageID != list[want-1].MessageID {
				t.Errorf("Message-IDs %s and %s", list[0].MessageID, list[want-1].MessageID)
			}
			s.stop()
		})
	}
}

// cutter passes on what a client and the server say to one another, but cuts the
// first connection in which the server says word, before the client reads it. It
// returns its port.
func cutter(t *testing.T, server, word string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for cut := false; ; {
			client, err := l.Accept()
			if err != nil {
				return
			}
			gateway, err := net.Dial("tcp", server)
			if err != nil {
				client.Close()
				continue
			}
			go func() { _, _ = io.Copy(gateway, client) }()
			replies := bufio.NewReader(gateway)
			for {
				line, err := replies.ReadString('\n')
				if err != nil || !cut && strings.Contains(line, word) {
					cut = cut || err == nil
					break
				}
				_, _ = io.WriteString(client, line)
			}
			client.Close()
			gateway.Close()
		}
	}()
	return fmt.Sprint(l.Addr().(*net.TCPAddr).Port)
}
