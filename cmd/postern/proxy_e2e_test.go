package main_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/mail"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/internal/peer"
)

// TestHAProxy stands in front of the program with PROXY v2 and v1: clients come
// through it with STARTTLS and AUTH, and Received has their own address. What
// their address may do on this machine it may not do through a proxy.
func TestHAProxy(t *testing.T) {
	t.Parallel()
	submission, v1, v2 := peer.Port(t), peer.Port(t), peer.Port(t)
	g := newGateway(t, "")
	g.certify()
	hash := g.command("passwd")
	hash.Stdin = strings.NewReader(password + "\n")
	bcrypt, err := hash.Output()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(g.dir, "config.toml"))
	if err != nil {
		t.Fatal(err)
	}
	g.write("config.toml", string(text)+maildirLane+fmt.Sprintf(`
[[smtp.listener]]
address = "127.0.0.1:%d"
tls = "starttls"
proxy_protocol_from = ["127.0.0.1/32"]
[smtp.tls]
cert_file = "cert.pem"
key_file = "key.pem"
[[smtp.account]]
username = "erp@example.com"
password_hash = %q
send_as = ["erp@example.com"]
relay = true
`, submission, strings.TrimSpace(string(bcrypt))))
	g.serve()
	g.write("haproxy.cfg", fmt.Sprintf(`
defaults
  mode tcp
  timeout connect 5s
  timeout client 6m
  timeout server 6m
listen v1
  bind 127.0.0.1:%d
  server postern 127.0.0.1:%d send-proxy
listen v2
  bind 127.0.0.1:%d
  option smtpchk EHLO haproxy.example.com
  server postern 127.0.0.1:%d send-proxy-v2 check inter 100ms
`, v1, submission, v2, submission))
	peer.Start(t, v2, peer.Command(t, "haproxy"), "-db", "-f", filepath.Join(g.dir, "haproxy.cfg"))
	for i, port := range []int{v1, v2} {
		from := fmt.Sprintf("127.0.0.%d", 50+i)
		if out, err := throughProxy(t, port, from, "--tls", "--auth", "PLAIN", "--auth-user", "erp@example.com", "--auth-password", password); err != nil {
			t.Errorf("from %s: %v\n%s\n%s", from, err, out, g.log)
		}
		if out, err := throughProxy(t, port, from); err == nil || !strings.Contains(out, "530 5.7.0") || !strings.Contains(out, "your address "+from) {
			t.Errorf("from %s, without AUTH: %v\n%s", from, err, out)
		}
	}
	g.settled("done")
	g.receivedFrom("127.0.0.50", "127.0.0.51")
	withoutHeader(t, fmt.Sprintf("127.0.0.1:%d", submission))
	g.stop()
	if log := g.log.String(); strings.Count(log, "began without a PROXY header") != 1 {
		t.Errorf("the log does not tell of the connection without header, or of more than that:\n%s", log)
	}
}

// throughProxy sends one mail with swaks.
func throughProxy(t *testing.T, port int, from string, more ...string) (string, error) {
	t.Helper()
	args := []string{"--server", "127.0.0.1", "--port", fmt.Sprint(port), "--local-interface", from, "--helo", "erp.example.com",
		"--from", "erp@example.com", "--to", "b@example.net", "--header", "Subject: from " + from}
	out, err := exec.Command(peer.Command(t, "swaks"), append(args, more...)...).CombinedOutput()
	return string(out), err
}

// receivedFrom wants one mail from each address.
func (g *gateway) receivedFrom(addresses ...string) {
	g.t.Helper()
	seen := map[string]bool{}
	for _, raw := range g.outbox() {
		m, err := mail.ReadMessage(strings.NewReader(string(raw)))
		if err != nil {
			g.t.Fatal(err)
		}
		received, from := m.Header.Get("Received"), strings.TrimPrefix(m.Header.Get("Subject"), "from ")
		if !strings.HasPrefix(received, "from erp.example.com (["+from+"]) by gw.example.com (Postern) with ESMTPSA (TLS1.3)") {
			g.t.Errorf("a mail from %s has Received: %s", from, received)
		}
		seen[from] = true
	}
	for _, a := range addresses {
		if !seen[a] {
			g.t.Errorf("no mail came from %s", a)
		}
	}
}

// withoutHeader speaks to the listener as if there were no proxy.
func withoutHeader(t *testing.T, addr string) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.WriteString(c, "EHLO erp.example.com\r\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(c).ReadString('\n'); err == nil {
		t.Errorf("a connection without header is told %q", line)
	}
}
