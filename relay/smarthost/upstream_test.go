package smarthost_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// upstream is a mail server that plays one transcript for each connection:
//
//	S: 250 ok        it says a line; | begins another one in the same write
//	C: RCPT TO:<b>   it expects a line; a * at the end stands for anything
//	GOT              it takes a mail up to the final dot
//	BDAT             it takes a mail as the one chunk of a BDAT
//	PART             it takes a BDAT command and half of its chunk
//	TAKE             it waits for the first octets of a mail
//	TLS              both change to TLS
//	DRIP: 250 ok     it says this octet by octet, over and over, and never ends the line
//	EOF              it closes the connection; RST it resets it
//	QUIET            nothing that it was not asked for yet has come
//	TELL             it lets the test go on that waits for u.told
//	WAIT             it waits for the TELL of another connection
//	SILENT           it says nothing more until the client goes
//
// A script that ends waits for the client to go, as SILENT does, and takes QUIT.
type upstream struct {
	t       testing.TB
	l       net.Listener
	tls     *tls.Config
	scripts []string
	told    chan struct{}

	mu    sync.Mutex
	conns int
	mails []string
	done  sync.WaitGroup
}

func startUpstream(t testing.TB, scripts ...string) *upstream {
	t.Helper()
	return startTLSUpstream(t, nil, scripts...)
}

func startTLSUpstream(t testing.TB, config *tls.Config, scripts ...string) *upstream {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u := &upstream{t: t, l: l, tls: config, scripts: scripts, told: make(chan struct{})}
	u.done.Go(u.serve)
	t.Cleanup(func() { l.Close(); u.done.Wait() })
	return u
}

func (u *upstream) addr() string { return u.l.Addr().String() }

func (u *upstream) connections() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.conns
}

func (u *upstream) serve() {
	for {
		c, err := u.l.Accept()
		if err != nil {
			return
		}
		// What it has not read does not fit into the system's buffers.
		if err := c.(*net.TCPConn).SetReadBuffer(64 << 10); err != nil {
			u.t.Error(err)
		}
		u.mu.Lock()
		n := u.conns
		u.conns++
		u.mu.Unlock()
		if n >= len(u.scripts) {
			u.t.Errorf("connection %d has no script", n+1)
			c.Close()
			continue
		}
		u.done.Go(func() { u.play(c, n) })
	}
}

func (u *upstream) play(raw net.Conn, n int) {
	defer raw.Close()
	var c net.Conn = raw
	r := bufio.NewReader(c)
	for _, step := range strings.Split(strings.TrimSpace(u.scripts[n]), "\n") {
		step = strings.TrimLeft(step, " \t")
		verb, rest, _ := strings.Cut(step, " ")
		switch verb {
		case "S:":
			if _, err := c.Write([]byte(strings.ReplaceAll(rest, "|", "\r\n") + "\r\n")); err != nil {
				u.t.Errorf("connection %d, %q: %v", n+1, step, err)
				return
			}
		case "DRIP:":
			drip(c, rest)
			return
		case "C:":
			line, err := r.ReadString('\n')
			if !matches(rest, strings.TrimRight(line, "\r\n")) || err != nil {
				u.t.Errorf("connection %d wants %q, got %q, %v", n+1, rest, line, err)
				return
			}
		case "GOT":
			u.take(r, n)
		case "BDAT", "PART":
			u.takeChunk(r, n, verb == "PART")
		case "TELL":
			close(u.told)
		case "WAIT":
			<-u.told
		case "TAKE":
			if _, err := r.Peek(100); err != nil {
				u.t.Errorf("connection %d, %q: %v", n+1, step, err)
			}
		case "QUIET":
			if r.Buffered() > 0 {
				b, _ := r.Peek(r.Buffered())
				u.t.Errorf("connection %d: %q comes too early", n+1, b)
			}
		case "TLS":
			s := tls.Server(c, u.tls)
			if s.Handshake() != nil {
				return // the client's side is what the test looks at
			}
			c, r = s, bufio.NewReader(s)
		case "EOF":
			return
		case "RST":
			_ = raw.(*net.TCPConn).SetLinger(0)
			return
		case "SILENT":
			silent(r)
			return
		default:
			u.t.Errorf("unknown step %q", step)
		}
	}
	if line, _ := r.ReadString('\n'); line == "QUIT\r\n" {
		_, _ = c.Write([]byte("221 bye\r\n"))
		silent(r)
	} else if line != "" {
		u.t.Errorf("connection %d: %q after the script's end", n+1, line)
	}
}

func matches(want, got string) bool {
	if head, ok := strings.CutSuffix(want, "*"); ok {
		return strings.HasPrefix(got, head)
	}
	return want == got
}

func drip(c net.Conn, text string) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i = (i + 1) % len(text) {
		<-tick.C
		if _, err := c.Write([]byte(text[i : i+1])); err != nil {
			return
		}
	}
}

func silent(r *bufio.Reader) {
	for {
		if _, err := r.ReadByte(); err != nil {
			return
		}
	}
}

// take reads a mail as RFC 5321 §4.5.2 says, octet by octet and without any of
// the code under test.
func (u *upstream) take(r *bufio.Reader, n int) {
	var b strings.Builder
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			u.t.Errorf("connection %d: the mail ends early: %v", n+1, err)
			return
		}
		if line == ".\r\n" {
			break
		}
		b.WriteString(strings.TrimPrefix(line, "."))
	}
	u.mu.Lock()
	u.mails = append(u.mails, b.String())
	u.mu.Unlock()
}

// takeChunk reads as many octets as the command names.
func (u *upstream) takeChunk(r *bufio.Reader, n int, half bool) {
	line, err := r.ReadString('\n')
	var size int
	if _, scanErr := fmt.Sscanf(line, "BDAT %d LAST\r\n", &size); scanErr != nil || err != nil {
		u.t.Errorf("connection %d wants BDAT with LAST, got %q, %v", n+1, line, err)
		return
	}
	if half {
		size /= 2
	}
	b := make([]byte, size)
	if _, err := io.ReadFull(r, b); err != nil {
		u.t.Errorf("connection %d: the chunk ends early: %v", n+1, err)
	}
	if half {
		return
	}
	u.mu.Lock()
	u.mails = append(u.mails, string(b))
	u.mu.Unlock()
}

func (u *upstream) received() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.mails
}

// certificate is one for 127.0.0.1 and the pool that trusts it.
func certificate(t testing.TB, change ...func(*x509.Certificate)) (*tls.Config, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	for _, f := range change {
		f(tmpl)
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}}}, pool
}
