//go:build e2e

package main_test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/emersion/go-smtp"

	"postern/internal/peer"
)

// This file holds what the gateway does with upstreams that others wrote: exim, and
// postfix that is away, comes back, or has had enough.

// upstreamLane is a lane that speaks to these hosts in the clear.
func upstreamLane(hosts ...string) string {
	lane := smtpLane(hosts[0])
	if len(hosts) > 1 {
		lane += fmt.Sprintf("fallback = [%q]\n", hosts[1])
	}
	return lane + "[relay]\nuncertain_wait = \"1s\"\n[relay.retry_relayed]\ninterval = \"1s\"\nmax_interval = \"2s\"\n"
}

func (p *postfix) addr() string { return "127.0.0.1:" + p.port }

// relayTo is the line of main.cf by which a postfix hands on what it takes.
func relayTo(s *sink) string {
	return "relayhost = [127.0.0.1]:" + s.addr[strings.LastIndexByte(s.addr, ':')+1:] + "\nenable_long_queue_ids = yes\n"
}

// accepted says how often a postfix before the sink has taken a mail over, by
// recipient: under how many queue ids it came. That a postfix which is killed sends
// one of its own twice is its own affair.
func (s *sink) accepted() map[string]int {
	seen, to := map[string]bool{}, map[string]int{}
	id := regexp.MustCompile(`\(Postfix\) with E?SMTPS?\s+id (\w+)`)
	for _, a := range s.arrivals() {
		m := id.FindSubmatch(a.raw)
		if m == nil {
			s.t.Fatalf("this did not come by postfix:\n%s", a.raw)
		}
		if key := string(m[1]) + " " + a.to[0]; !seen[key] {
			seen[key] = true
			to[a.to[0]]++
		}
	}
	return to
}

// each wants every copy of ordinary mail sent, and gives those that took more than
// one attempt.
func (g *gateway) each(n int) (again []row) {
	g.t.Helper()
	list := g.settled("done")
	if len(list) != n {
		g.t.Errorf("%d messages, want %d: is a notice among them? %+v", len(list), n, list[len(list)-1])
	}
	for _, m := range list {
		for _, r := range g.show(m.ID).Recipients {
			if r.State != "sent" {
				g.t.Errorf("%+v", r)
			}
			if r.Attempts != 1 {
				again = append(again, r)
			}
		}
	}
	return again
}

// flood hands the gateway many mails, each for a recipient of its own, while the
// test goes on. The func that it returns waits until all are taken.
func flood(t *testing.T, g *gateway, n int) (wait func()) {
	t.Helper()
	root := peer.Unpacked(t, "postfix")
	cmd := exec.Command(filepath.Join(root, "usr/sbin/smtp-source"), "-s", "4", "-l", "4000", "-N", "-m", fmt.Sprint(n), "-f", "erp@example.com", "-t", "office@example.net", g.addr)
	cmd.Env = []string{"LD_LIBRARY_PATH=" + filepath.Join(root, "usr/lib/postfix")}
	said := &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		if err := cmd.Wait(); err != nil {
			t.Fatalf("smtp-source: %v\n%s\n%s", err, said, g.log)
		}
	}
}

const flooded = 300

// TestAnUpstreamThatStandsStillLosesNothing: all processes of a postfix stop in the
// middle, as on a machine that swaps, and go on.
func TestAnUpstreamThatStandsStillLosesNothing(t *testing.T) {
	end := startSink(t)
	p := startPostfix(t, relayTo(end))
	g := newGateway(t, upstreamLane(p.addr()))
	g.serve()
	wait := flood(t, g, flooded)
	end.wait(g, flooded/10, p.log)
	p.signal(syscall.SIGSTOP)
	wait() // the gateway takes all the same
	p.signal(syscall.SIGCONT)
	end.wait(g, flooded, p.log)
	if again := g.each(flooded); len(again) > 0 {
		t.Errorf("more than one attempt: %+v", again)
	}
	g.stop()
	for to, n := range end.accepted() {
		if n != 1 {
			t.Errorf("%s got %d", to, n)
		}
	}
}

// TestAnUpstreamThatIsKilledLosesNothing: a postfix is killed in the middle, again
// and again, and comes back. What was under way then may come twice, nothing else;
// an outage spends no attempt and makes no bounce.
func TestAnUpstreamThatIsKilledLosesNothing(t *testing.T) {
	const concurrency, kills = 10, 3
	end := startSink(t)
	p := startPostfix(t, relayTo(end))
	g := newGateway(t, upstreamLane(p.addr()))
	g.serve()
	wait := flood(t, g, flooded)
	for i := range kills {
		end.wait(g, (1+2*i)*flooded/10, p.log)
		p.kill()
		g.laneSays("connection refused")
		p.master()
	}
	wait()
	g.wait("all have arrived", func() (string, bool) {
		got := end.accepted()
		return fmt.Sprint(len(got), p.log()), len(got) == flooded
	})
	again := g.each(flooded)
	g.stop()
	double := 0
	for _, n := range end.accepted() {
		double += n - 1
	}
	t.Logf("%d came twice, %d took more than one attempt", double, len(again))
	if double > kills*concurrency || len(again) > kills*concurrency {
		t.Errorf("%d came twice; more than one attempt: %+v", double, again)
	}
	for _, a := range end.arrivals() {
		if a.from != "erp@example.com" {
			t.Errorf("a mail from %q for %v arrived", a.from, a.to)
		}
	}
}

// TestAnUpstreamThatHasHadEnoughOfRefusals: postfix ends a session after some errors
// with a 421. That is not the fault of the copy that meets it, and every
// sender is told once.
func TestAnUpstreamThatHasHadEnoughOfRefusals(t *testing.T) {
	const many = 60
	end := startSink(t)
	p := startPostfix(t, relayTo(end)+"smtpd_hard_error_limit = 5\nsmtpd_recipient_restrictions = check_policy_service inet:"+startGreylisting(t).addr+", permit\n")
	g := newGateway(t, strings.Replace(upstreamLane(p.addr()), "driver", "concurrency = 2\ndriver", 1))
	g.serve()
	var to []string
	for i := range many {
		to = append(to, fmt.Sprintf("nobody%d@example.net", i))
	}
	if err := g.submitTo(koreanMail("to nobody", to[0], ""), to...); err != nil {
		t.Fatal(err)
	}
	all := end.wait(g, 1, p.log)
	if n := strings.Count(p.log(), "too many errors"); n == 0 {
		t.Errorf("postfix never had enough\n%s", p.log())
	}
	b := readBounces(t, [][]byte{all[0].raw})[0]
	if len(b.Recipients) != many || all[0].from != "" || all[0].to[0] != "marketer@example.com" {
		t.Errorf("the bounce for %v names %d: %s", all[0].to, len(b.Recipients), b.Text)
	}
	for _, r := range b.Recipients {
		if r["status"] != "5.1.1" || !strings.HasPrefix(r["diagnostic-code"], "smtp; 550 5.1.1 <nobody") {
			t.Errorf("%v", r)
		}
	}
	for _, r := range g.show(g.messages()[0].ID).Recipients {
		if r.Attempts != 1 || r.State != "failed" {
			t.Errorf("%+v", r)
		}
	}
	g.settled("done")
	g.stop()
}

// TestManyRefusalsDoNotSendMailElsewhere: with the limits that postfix has, a mail to
// many dead addresses makes it neither slow nor deaf, so that the host rests and all
// mail goes another way.
func TestManyRefusalsDoNotSendMailElsewhere(t *testing.T) {
	const many = 60
	ends := [2]*sink{startSink(t), startSink(t)}
	first := startPostfix(t, relayTo(ends[0])+"smtpd_recipient_restrictions = check_policy_service inet:"+startGreylisting(t).addr+", permit\n")
	second := startPostfix(t, relayTo(ends[1]))
	g := newGateway(t, strings.Replace(upstreamLane(first.addr(), second.addr()), "driver", "concurrency = 2\ndriver", 1))
	g.serve()
	var to []string
	for i := range many {
		to = append(to, fmt.Sprintf("nobody%d@example.net", i))
	}
	if err := g.submitTo(koreanMail("to nobody", to[0], ""), to...); err != nil {
		t.Fatal(err)
	}
	ends[0].wait(g, 1, first.log)
	g.settled("done")
	g.stop()
	if strings.Contains(g.log.String(), "upstream host rests") || strings.Contains(first.log(), "too many errors") || len(ends[1].arrivals()) > 0 {
		t.Errorf("postfix had enough\n%s\n%s", g.log, first.log())
	}
}

// TestMailGoesToAFallbackHost while the first one is away, and back to the first one
// at once, though it rests, when the fallback goes away.
func TestMailGoesToAFallbackHost(t *testing.T) {
	ends := [2]*sink{startSink(t), startSink(t)}
	first, second := peer.Port(t), startPostfix(t, relayTo(ends[1]))
	g := newGateway(t, upstreamLane(fmt.Sprintf("127.0.0.1:%d", first), second.addr()))
	g.serve()
	send := func(subject string) {
		t.Helper()
		if err := g.submitTo(koreanMail(subject, "office@example.net", ""), "office@example.net"); err != nil {
			t.Fatal(err)
		}
	}
	send("one")
	send("two")
	g.read([][]byte{ends[1].wait(g, 2, second.log)[0].raw})
	if n := strings.Count(g.log.String(), "upstream host rests"); n != 1 {
		t.Errorf("the first host was asked %d times\n%s", n, g.log)
	}
	p := startPostfixAt(t, first, relayTo(ends[0]))
	send("three")
	ends[1].wait(g, 3, second.log)
	second.kill()
	send("four")
	ends[0].wait(g, 1, p.log)
	if again := g.each(4); len(again) > 0 {
		t.Errorf("more than one attempt: %+v", again)
	}
	if strings.Contains(g.log.String(), "lane paused") {
		t.Errorf("the lane paused\n%s", g.log)
	}
	g.stop()
}

// TestANoticeIsSentOnceWhateverIsKilled: the gateway is killed after a copy has
// failed and before the notice is there, when the notice is there and before it has
// left, and when it has left. (One that was on the wire at the kill may come twice, as
// any mail may; its Message-ID tells.)
func TestANoticeIsSentOnceWhateverIsKilled(t *testing.T) {
	state := func(g *gateway, i int, to string) string {
		if list := g.messages(); len(list) > i {
			return g.show(list[i].ID).row(t, to).State
		}
		return ""
	}
	for name, c := range map[string]struct {
		to   []string
		held func(from, to string) bool // is put off until the kill
		when func(g *gateway) bool      // the gateway is killed
	}{
		"before the notice is written": {[]string{"nobody@example.net", "later@example.net"}, func(_, to string) bool { return to == "later@example.net" },
			func(g *gateway) bool { return state(g, 0, "nobody@example.net") == "failed" }},
		"when the notice is just written": {[]string{"nobody@example.net"}, func(string, string) bool { return false },
			func(g *gateway) bool { return strings.Contains(g.log.String(), "notice accepted") }},
		"before the notice has left": {[]string{"nobody@example.net"}, func(from, _ string) bool { return from == "" },
			func(g *gateway) bool { return state(g, 1, "marketer@example.com") == "deferred" }},
		"when the notice has left": {[]string{"nobody@example.net"}, func(string, string) bool { return false },
			func(g *gateway) bool { return state(g, 1, "marketer@example.com") == "sent" }},
	} {
		t.Run(name, func(t *testing.T) {
			end := startSink(t)
			open := make(chan struct{})
			end.answer = func(from, to string) error {
				select {
				case <-open:
				default:
					if c.held(from, to) {
						return &smtp.SMTPError{Code: 450, EnhancedCode: smtp.EnhancedCode{4, 2, 0}, Message: "come back later"}
					}
				}
				if strings.HasPrefix(to, "nobody") {
					return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such user"}
				}
				return nil
			}
			g := newGateway(t, upstreamLane(end.addr))
			g.serve()
			if err := g.submitTo(koreanMail("first", "nobody@example.net", ""), c.to...); err != nil {
				t.Fatal(err)
			}
			g.wait("the moment has come", func() (string, bool) { return "", c.when(g) })
			early := len(g.messages()) == 1
			g.kill()
			if early != (name == "before the notice is written") {
				t.Errorf("there was no notice before the kill: %v", early)
			}
			close(open)
			g.serve()
			end.wait(g, len(c.to), g.log.String)
			g.settled("done")
			// A second notice about the first mail would be told before that about another one.
			if err := g.submitTo(koreanMail("second", "nobody@example.net", ""), "nobody@example.net"); err != nil {
				t.Fatal(err)
			}
			end.wait(g, len(c.to)+1, g.log.String)
			g.settled("done")
			g.stop()
			about, times := map[string]string{}, map[string]int{}
			for _, a := range end.arrivals() {
				if a.from == "" {
					b := readBounces(t, [][]byte{a.raw})[0]
					about[header(a.raw, "Message-ID")] = strings.TrimPrefix(b.Subject, "메일을 전달하지 못했습니다: ")
					times[header(a.raw, "Message-ID")]++
				}
			}
			if got := slices.Sorted(maps.Values(about)); !slices.Equal(got, []string{"first", "second"}) {
				t.Errorf("notices about %q\n%s", got, g.log)
			}
			for id, n := range times {
				if n > 1 && name != "when the notice is just written" {
					t.Errorf("the notice %s came %d times\n%s", id, n, g.log)
				}
			}
		})
	}
}

// eximUpstream is an exim to which the gateway logs in, and which refuses lines of more
// than 998 octets as Debian's does. It hands on to a sink.
func eximUpstream(t *testing.T, g *gateway, end *sink) (e *exim, port int) {
	t.Helper()
	port = peer.Port(t)
	e = newExim(t, filepath.Join(g.dir, "cert.pem"), fmt.Sprintf(`
log_selector = +smtp_connection +smtp_confirmation +received_recipients
tls_certificate = %[1]s/cert.pem
tls_privatekey = %[1]s/key.pem
tls_advertise_hosts = *
auth_advertise_hosts = ${if def:tls_in_cipher {*}}
smtp_accept_queue_per_connection = 0
deliver_drop_privilege = true
acl_smtp_rcpt = rcpt
acl_smtp_data = data
begin acl
rcpt:
  accept authenticated = *
         encrypted = *
  deny message = log in first
data:
  deny condition = ${if > {$max_received_linelength}{998}}
       message = maximum allowed line length is 998 octets, got $max_received_linelength
  accept
begin routers
all:
  driver = manualroute
  route_list = * 127.0.0.1
  self = send
  transport = out
begin transports
out:
  driver = smtp
  port = %[2]s
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${if and {{eq{$auth2}{gateway}}{eq{$auth3}{let me through}}}}
  server_set_id = $auth2
`, "KEYS", end.addr[strings.LastIndexByte(end.addr, ':')+1:]))
	conf, err := os.ReadFile(filepath.Join(e.dir, "conf"))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(strings.ReplaceAll(string(conf), "KEYS", e.dir), "log_selector = +smtp_confirmation\n", "", 1)
	if err := os.WriteFile(filepath.Join(e.dir, "conf"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"cert.pem", "key.pem"} {
		b, err := os.ReadFile(filepath.Join(g.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(e.dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(path, e.uid, e.uid); err != nil {
			t.Fatal(err)
		}
	}
	e.listen(port)
	return e, port
}

// TestEximIsAnUpstream over TLS with a login, by BDAT and over kept connections;
// a mail with lines that are too long for SMTP is encoded before it is signed.
func TestEximIsAnUpstream(t *testing.T) {
	const many, connections = 50, 4
	g := newGateway(t, "")
	g.certify()
	t.Setenv("SSL_CERT_FILE", filepath.Join(g.dir, "ca.pem"))
	end := startSink(t)
	e, port := eximUpstream(t, g, end)
	text, err := os.ReadFile(filepath.Join(g.dir, "config.toml"))
	if err != nil {
		t.Fatal(err)
	}
	g.write("config.toml", string(text)+fmt.Sprintf("[[lane]]\nname = \"out\"\ndriver = \"smtp\"\nconcurrency = %d\n[lane.smtp]\naddress = \"localhost:%d\"\ntls = \"starttls\"\nusername = \"gateway\"\npassword = \"let me through\"\n",
		connections, port))
	g.serve()
	want := map[string]string{}
	for i := range many {
		to := fmt.Sprintf("office%d@example.net", i)
		mail := koreanMail("mail", to, strings.Repeat("가나다 .\n..\n", 1<<(i%16)))
		_, want[to], _ = strings.Cut(mail, "\n\n")
		if err := g.submitTo(mail, to); err != nil {
			t.Fatal(err)
		}
	}
	long := strings.Repeat("주문이 ", 300) + "\n" // 3000 octets
	mail := koreanMail("long", "long@example.net", long+long)
	_, want["long@example.net"], _ = strings.Cut(mail, "\n\n")
	if err := g.submitTo(mail, "long@example.net"); err != nil {
		t.Fatal(err)
	}
	all := end.wait(g, many+1, e.log)
	if again := g.each(many + 1); len(again) > 0 {
		t.Errorf("more than one attempt: %+v", again)
	}
	var raws [][]byte
	for _, a := range all {
		raws = append(raws, a.raw)
	}
	for i, p := range g.read(raws) { // signed validly
		if got := strings.ReplaceAll(p.Text, "\r\n", "\n"); got != want[p.To[0]] || all[i].to[0] != p.To[0] {
			t.Errorf("%v got %.300q", all[i].to, got)
		}
		delete(want, p.To[0])
	}
	if len(want) > 0 {
		t.Errorf("some got nothing: %d\n%s", len(want), e.log())
	}
	log := e.log()
	if n := len(regexp.MustCompile(`(?m)SMTP connection from .*\(TCP/IP connection count`).FindAllString(log, -1)); n == 0 || n > connections+1 { // one was the test's own
		t.Errorf("%d connections\n%s", n, log)
	}
	if n := len(regexp.MustCompile(`(?m) <= marketer@example\.com .* P=esmtpsa X=TLS1\.3:.* A=plain:gateway K `).FindAllString(log, -1)); n != many+1 {
		t.Errorf("%d mails came by BDAT, in TLS and with a login\n%s", n, log)
	}
	g.stop()
}
