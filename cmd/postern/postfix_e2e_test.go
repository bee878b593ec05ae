//go:build e2e

package main_test

import (
	"errors"
	"fmt"
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

// postfix is a private mail server that sends everything through the gateway.
type postfix struct {
	t    *testing.T
	dir  string
	root string // of the unpacked package
	port string // where it takes mail

	process *os.Process   // the master and, as a group, all that it has started
	exited  chan struct{} // closed when it has
}

// startPostfix starts one with these lines in its main.cf. Its master process
// wants to be root's.
func startPostfix(t *testing.T, conf string) *postfix {
	t.Helper()
	return startPostfixAt(t, peer.Port(t), conf)
}

func startPostfixAt(t *testing.T, port int, conf string) *postfix {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("postfix starts for root alone: run `make e2e` as root")
	}
	p := &postfix{t: t, dir: t.TempDir(), root: peer.Unpacked(t, "postfix"), port: fmt.Sprint(port)}
	for dir := p.dir; strings.HasPrefix(dir, os.TempDir()+"/"); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// Three users that every Debian has stand for postfix's own.
	p.write("conf/main.cf", fmt.Sprintf(`
compatibility_level = 3.7
config_directory = %[1]s/conf
queue_directory = %[1]s/queue
data_directory = %[1]s/data
daemon_directory = %[2]s/usr/lib/postfix/sbin
command_directory = %[2]s/usr/sbin
shlib_directory = %[2]s/usr/lib/postfix
import_environment = LD_LIBRARY_PATH MAIL_CONFIG
maillog_file = %[1]s/log/mail
maillog_file_prefixes = %[1]s
mail_owner = daemon
setgid_group = games
default_privs = nobody
myhostname = erp.example.com
mydestination =
alias_maps =
inet_interfaces = 127.0.0.1
mynetworks = 127.0.0.0/8
smtp_host_lookup = native
minimal_backoff_time = 1s
maximal_backoff_time = 1s
queue_run_delay = 1s
smtputf8_enable = yes
%[3]s
`, p.dir, p.root, conf))
	p.write("conf/master.cf", fmt.Sprintf(`
127.0.0.1:%s inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 1 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
tlsproxy unix - - n - 0 tlsproxy
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
`, p.port))
	owner := [2]int{1, 60} // daemon, games
	for _, dir := range strings.Fields("queue queue/incoming queue/active queue/deferred queue/defer queue/bounce queue/corrupt queue/hold queue/trace queue/private queue/public queue/saved queue/flush queue/maildrop queue/pid data log") {
		path := filepath.Join(p.dir, dir)
		if err := os.Mkdir(path, 0o755); err != nil {
			t.Fatal(err)
		}
		if dir == "queue" || dir == "queue/pid" || dir == "log" {
			continue // root's
		}
		if err := os.Chown(path, owner[0], owner[1]); err != nil {
			t.Fatal(err)
		}
	}
	p.master()
	t.Cleanup(p.kill)
	return p
}

// master runs the process that starts all the others, until kill.
func (p *postfix) master() {
	p.t.Helper()
	cmd := exec.Command(filepath.Join(p.root, "usr/lib/postfix/sbin/master"), "-c", filepath.Join(p.dir, "conf"), "-d")
	cmd.Env = []string{"PATH=/usr/bin:/bin:/usr/sbin", "LD_LIBRARY_PATH=" + filepath.Join(p.root, "usr/lib/postfix") + ":" + filepath.Join(p.root, "usr/lib/x86_64-linux-gnu")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	said := &strings.Builder{}
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() { _ = cmd.Wait(); close(exited) }()
	p.process, p.exited = cmd.Process, exited
	peer.Listening(p.t, "127.0.0.1:"+p.port, exited, func() string { return said.String() + p.log() })
}

// signal reaches all its processes.
func (p *postfix) signal(s syscall.Signal) {
	p.t.Helper()
	if err := syscall.Kill(-p.process.Pid, s); err != nil && !errors.Is(err, syscall.ESRCH) {
		p.t.Error(err)
	}
}

// kill ends it as a power switch would; master starts it again.
func (p *postfix) kill() {
	p.t.Helper()
	p.signal(syscall.SIGKILL)
	<-p.exited
}

func (p *postfix) write(name, text string) {
	p.t.Helper()
	path := filepath.Join(p.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
		p.t.Fatal(err)
	}
}

func (p *postfix) log() string {
	text, _ := os.ReadFile(filepath.Join(p.dir, "log/mail"))
	return string(text)
}

// hand gives it mails to send on, with its own load generator.
func (p *postfix) hand(n int, args ...string) {
	p.t.Helper()
	cmd := exec.Command(filepath.Join(p.root, "usr/sbin/smtp-source"), append(args, "-m", fmt.Sprint(n), "127.0.0.1:"+p.port)...)
	cmd.Env = []string{"LD_LIBRARY_PATH=" + filepath.Join(p.root, "usr/lib/postfix")}
	if out, err := cmd.CombinedOutput(); err != nil {
		p.t.Fatalf("smtp-source: %v\n%s\n%s", err, out, p.log())
	}
}

// handRaw gives it one mail by a Python program, which speaks SMTPUTF8.
func (p *postfix) handRaw(mail string, to ...string) {
	p.t.Helper()
	p.write("mail.eml", mail)
	cmd := exec.Command(peer.Python, append([]string{testdata(p.t, "hand.py"), p.port, filepath.Join(p.dir, "mail.eml")}, to...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		p.t.Fatalf("hand.py: %v\n%s\n%s", err, out, p.log())
	}
}

// logged waits until the log has n lines that match, and gives them.
func (p *postfix) logged(g *gateway, n int, pattern string) []string {
	p.t.Helper()
	line := regexp.MustCompile(`(?m)^.*` + pattern + `.*$`)
	var found []string
	g.wait(fmt.Sprintf("%d times in postfix's log: %s", n, pattern), func() (string, bool) {
		found = line.FindAllString(p.log(), -1)
		return p.log(), len(found) >= n
	})
	return found
}

func TestPostfixRelaysAsItsGuideSays(t *testing.T) {
	f := follow(t, "postfix-exim-nodemailer.md")
	p := startPostfix(t, strings.ReplaceAll(f.block("postfix"), "/etc/postfix/postern_password", filepath.Join(f.dir, "postern_password")))
	f.write("postern_password", f.block("postfix-password"))
	const many = 30
	p.hand(many, "-s", "4", "-f", "mta@example.com", "-t", "office@example.net", "-F", f.mail("many"))
	p.logged(f.gateway, many, `status=sent \(250 2\.0\.0 queued as`)
	f.out(many)
	f.stop()
}

// TestPostfixKeepsConnections to the gateway open, in the clear and in TLS.
func TestPostfixKeepsConnections(t *testing.T) {
	for name, conf := range map[string]func(s *shop) string{
		"plain": func(s *shop) string { return "relayhost = [127.0.0.1]:" + s.plain },
		"TLS": func(s *shop) string {
			return "relayhost = [localhost]:" + s.starttls + "\nsmtp_tls_security_level = secure\nsmtp_tls_connection_reuse = yes\n" +
				"smtp_tls_CAfile = " + s.dir + "/ca.pem\nsmtp_sasl_auth_enable = yes\nsmtp_sasl_tls_security_options = noanonymous\n" +
				"smtp_sasl_password_maps = texthash:" + s.dir + "/sasl"
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := openShop(t, maildirLane)
			s.serve()
			s.write("sasl", "[localhost]:"+s.starttls+" marketer@example.com:"+password+"\n")
			p := startPostfix(t, conf(s)+"\nsmtp_connection_cache_destinations = [127.0.0.1]:"+s.plain+", [localhost]:"+s.starttls)
			const many = 60
			s.write("mail.eml", koreanMail("many", "office@example.net", strings.Repeat("가나다\n", 300)))
			p.hand(many, "-s", "4", "-f", "erp@example.com", "-t", "office@example.net", "-F", filepath.Join(s.dir, "mail.eml"))
			p.logged(s.gateway, many, `status=sent \(250 2\.0\.0 queued as`)
			s.out(many)
			if n := len(s.sessions()); n >= many/2 {
				t.Errorf("%d mails came over %d connections: postfix keeps none open\n%s", many, n, p.log())
			}
			s.stop()
		})
	}
}

func (f *followed) mail(subject string) string {
	f.t.Helper()
	f.write("mail.eml", koreanMail(subject, "office@example.net", strings.Repeat("가나다\n", 300)))
	return filepath.Join(f.dir, "mail.eml")
}

// between is a postfix before the plain listener of a shop.
func between(t *testing.T, more string) (*shop, *postfix) {
	s := openShop(t, maildirLane+more)
	s.serve()
	return s, startPostfix(t, "relayhost = [127.0.0.1]:"+s.plain)
}

func TestPostfixDeliversAroundARefusal(t *testing.T) {
	s, p := between(t, "")
	p.handRaw(koreanMail("mixed", "a@example.net", ""), "a@example.net", "nolist@lists.example.com", "b@example.net")
	p.logged(s.gateway, 2, `to=<[ab]@example\.net>.*status=sent \(250 2\.0\.0 queued as`)
	p.logged(s.gateway, 1, `to=<nolist@lists\.example\.com>.*status=bounced \(host .* said: 550 5\.1\.1`)
	s.stop()
}

func TestPostfixSendsTheRestAfter452(t *testing.T) {
	s, p := between(t, "[smtp]\nmax_recipients = 2\n")
	to := []string{"a@example.net", "b@example.net", "c@example.net", "d@example.net", "e@example.net"}
	p.handRaw(koreanMail("to five", to[0], ""), to...)
	p.logged(s.gateway, len(to), `status=sent \(250 2\.0\.0 queued as`)
	if !strings.Contains(p.log(), "said: 452 4.5.3") {
		t.Errorf("no 452 in postfix's log:\n%s", p.log())
	}
	s.out(len(to))
	s.stop()
}

func TestPostfixBouncesWhatNeedsSMTPUTF8(t *testing.T) {
	s, p := between(t, "")
	p.handRaw(koreanMail("안녕", "a@example.net", ""), "민@example.net")
	p.logged(s.gateway, 1, `status=bounced \(SMTPUTF8 is required, but was not offered by host`)
	s.stop()
}

func TestPostfixFoldsLongLines(t *testing.T) {
	s, p := between(t, "")
	long := strings.Repeat("0123456789", 500)
	p.handRaw(koreanMail("long", "a@example.net", long+"\n"), "a@example.net")
	p.logged(s.gateway, 1, `status=sent`)
	_, mails := s.out(1)
	lines := strings.Split(string(mails[0]), "\r\n")
	if !slices.ContainsFunc(lines, func(l string) bool { return len(l) > 900 }) || !strings.Contains(strings.ReplaceAll(string(mails[0]), "\r\n ", ""), long) {
		t.Errorf("the long line came as\n%s", mails[0])
	}
	s.stop()
}
