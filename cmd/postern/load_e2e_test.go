package main_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"postern/internal/peer"
)

const (
	idleClients = 1000 // half of them in TLS
	busyClients = 200  // each in the middle of a mail
	slowClients = 200  // an octet of a command now and then
	perAddress  = 50   // the default of max_connections_per_ip
	halfMail    = 1 << 20
	finished    = 20      // of the busy ones, at the end
	maxAnon     = 100_000 // kB: what the program may hold for all of them
)

// TestACrowdIsServedInBoundedMemory: every place is taken by clients that idle, drip
// or are in the middle of a large mail, from as many addresses as it needs, and
// then one comes that only wants to send a mail.
func TestACrowdIsServedInBoundedMemory(t *testing.T) {
	secure := peer.Port(t)
	g := newGateway(t, maildirLane+fmt.Sprintf(`
[[smtp.listener]]
address = "127.0.0.1:%d"
tls = "starttls"
[smtp.tls]
cert_file = "cert.pem"
key_file = "key.pem"
[smtp]
max_connections = %d
`, secure, idleClients+busyClients+slowClients))
	g.certify()
	g.build()
	g.serve()
	t.Logf("alone: RssAnon %d kB", g.anon())

	crowd := &crowd{t: t, plain: g.addr, secure: fmt.Sprintf("127.0.0.1:%d", secure)}
	for i := range idleClients {
		crowd.idle(fmt.Sprintf("127.0.1.%d", 1+i/perAddress), i%2 == 0)
	}
	for i := range busyClients {
		crowd.busy(fmt.Sprintf("127.0.2.%d", 1+i/perAddress))
	}
	var slow []net.Conn
	for i := range slowClients {
		slow = append(slow, crowd.greeted(fmt.Sprintf("127.0.3.%d", 1+i/perAddress), g.addr).conn)
	}
	stop := drip(slow)
	defer stop()
	g.wait("the halves of the mails are on disk", func() (string, bool) {
		n := size(t, filepath.Join(g.dir, "data"))
		return fmt.Sprint(n), n >= busyClients*(halfMail-128<<10)
	})
	t.Logf("%d idle, %d busy with %d kB each, %d slow: RssAnon %d kB", idleClients, busyClients, halfMail>>10, slowClients, g.anon())

	if _, err := crowd.dial("127.0.1.1", g.addr); err == nil || !strings.Contains(err.Error(), "421 4.7.0 too many connections from your address") {
		t.Errorf("one connection too many from one address: %v", err)
	}
	// All places are taken: the idle give way once they have idled for a while, and
	// until then a client is told to try again, as every client does.
	turned := 0
	g.wait("the client is served", func() (string, bool) {
		err := g.submit("b@example.net", "From: marketer@example.com\nTo: b@example.net\nSubject: served\n\nHello\n")
		var refusal *smtp.SMTPError
		if err != nil && (!errors.As(err, &refusal) || refusal.Code != 421) {
			t.Fatalf("the client is told %v", err)
		}
		turned++
		return fmt.Sprint(err), err == nil
	})
	anon := g.anon()
	t.Logf("a client was served at try %d: RssAnon %d kB", turned, anon)
	if anon > maxAnon {
		t.Errorf("the program holds %d kB of anonymous memory, more than %d", anon, maxAnon)
	}
	crowd.finish()
	g.settled("done")
	if n := len(g.outbox()); n != finished+1 {
		t.Errorf("%d mails went out, want %d", n, finished+1)
	}
}

// build puts the program, without the race detector, where command looks for it.
func (g *gateway) build() {
	g.t.Helper()
	if out, err := exec.Command("go", "build", "-o", filepath.Join(g.dir, "bin", "postern"), ".").CombinedOutput(); err != nil {
		g.t.Fatalf("go build: %v\n%s", err, out)
	}
}

// anon is what the running program holds in memory for itself, in kB.
func (g *gateway) anon() int {
	g.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", g.cmd.Process.Pid))
	if err != nil {
		g.t.Fatal(err)
	}
	_, rest, _ := bytes.Cut(status, []byte("RssAnon:"))
	n, err := strconv.Atoi(strings.Fields(string(rest) + " ?")[0])
	if err != nil {
		g.t.Fatalf("RssAnon of %s: %v", status, err)
	}
	return n
}

// crowd is clients that stay until the test ends.
type crowd struct {
	t             *testing.T
	plain, secure string
	mails         []*visitor
}

// visitor is one of them.
type visitor struct {
	conn net.Conn
	r    *bufio.Reader
}

// dial connects from an address and reads the greeting; another reply is the error.
func (c *crowd) dial(from, to string) (*visitor, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := d.Dial("tcp", to)
	if err != nil {
		return nil, err
	}
	c.t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(5 * time.Minute))
	v := &visitor{conn, bufio.NewReaderSize(conn, 512)}
	return v, v.hears("220")
}

func (v *visitor) hears(want string) error {
	for {
		line, err := v.r.ReadString('\n')
		if err != nil {
			return err
		}
		if !strings.HasPrefix(line, want) {
			return errors.New(strings.TrimSpace(line))
		}
		if line[3] == ' ' {
			return nil
		}
	}
}

func (c *crowd) greeted(from, to string) *visitor {
	c.t.Helper()
	v, err := c.dial(from, to)
	if err != nil {
		c.t.Fatalf("from %s: %v", from, err)
	}
	return v
}

func (c *crowd) say(v *visitor, command, want string) {
	c.t.Helper()
	_, err := io.WriteString(v.conn, command)
	if err = errors.Join(err, v.hears(want)); err != nil {
		c.t.Fatalf("%.30q: %v", command, err)
	}
}

func (c *crowd) idle(from string, inTLS bool) {
	c.t.Helper()
	if !inTLS {
		c.say(c.greeted(from, c.plain), "EHLO idle\r\n", "250")
		return
	}
	v := c.greeted(from, c.secure)
	c.say(v, "EHLO idle\r\n", "250")
	c.say(v, "STARTTLS\r\n", "220")
	top := tls.Client(v.conn, &tls.Config{InsecureSkipVerify: true}) // who the gateway is does not matter here
	c.say(&visitor{top, bufio.NewReaderSize(top, 512)}, "EHLO idle\r\n", "250")
}

// busy is in the middle of a mail of 2 MiB.
func (c *crowd) busy(from string) {
	c.t.Helper()
	v := c.greeted(from, c.plain)
	c.say(v, "EHLO busy\r\n", "250")
	c.say(v, "MAIL FROM:<erp@example.com>\r\n", "250")
	c.say(v, "RCPT TO:<b@example.net>\r\n", "250")
	c.say(v, "DATA\r\n", "354")
	if _, err := io.WriteString(v.conn, "From: erp@example.com\r\nTo: b@example.net\r\nSubject: large\r\n\r\n"+text()); err != nil {
		c.t.Fatal(err)
	}
	c.mails = append(c.mails, v)
}

func text() string { return strings.Repeat(strings.Repeat("x", 62)+"\r\n", halfMail/64) }

// finish sends the other half of some mails, and ends the other connections.
func (c *crowd) finish() {
	c.t.Helper()
	for i, v := range c.mails {
		if i < finished {
			c.say(v, text()+".\r\n", "250")
		}
		_ = v.conn.Close()
	}
}

// drip sends each of them an octet every half second until it is stopped.
func drip(conns []net.Conn) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(500 * time.Millisecond)
		defer tick.Stop()
		for {
			for _, c := range conns {
				_, _ = c.Write([]byte("N")) // the program may have closed it
			}
			select {
			case <-tick.C:
			case <-done:
				return
			}
		}
	}()
	return func() { close(done); <-ended }
}

// size is the octets of all files below a folder.
func size(t *testing.T, dir string) (n int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		if info, err := e.Info(); err == nil { // else it was removed meanwhile
			n += info.Size()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}
