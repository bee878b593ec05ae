package smtpd_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/crypto/bcrypt"

	"postern/mail"
	"postern/smtpd"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// submitted is one mail that the intake has taken.
type submitted struct {
	Sub  mail.Submitter
	Env  mail.Envelope
	Body string
}

// intake records what it takes. Recipients at *.refused.example are refused, as
// their local part says.
type intake struct {
	mu       sync.Mutex
	mails    []submitted
	arriving chan struct{} // gets a value when Accept begins, while it has room
	onAccept func(ctx context.Context, body io.Reader) error
	refusals map[string]error // by local part
}

func (in *intake) Check(_ context.Context, _ *mail.Submitter, _, to mail.Address) error {
	if to.Local() == "panic" {
		panic("a bug in Check")
	}
	return in.refusals[to.Local()]
}

func (in *intake) Accept(ctx context.Context, sub *mail.Submitter, env mail.Envelope, body io.Reader) (mail.ID, error) {
	select {
	case in.arriving <- struct{}{}:
	default:
	}
	if in.onAccept != nil {
		if err := in.onAccept(ctx, body); err != nil {
			return "", err
		}
	}
	b, err := io.ReadAll(body)
	if err != nil {
		return "", fmt.Errorf("store the body: %w", err)
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	in.mails = append(in.mails, submitted{*sub, env, string(b)})
	return mail.NewID(time.Now()), nil
}

func (in *intake) taken() []submitted {
	in.mu.Lock()
	defer in.mu.Unlock()
	return append([]submitted(nil), in.mails...)
}

func hash(t testing.TB, password string) string {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(h)
}

// config has one listener that each test makes its own.
func config(t testing.TB, in smtpd.Intake) smtpd.Config {
	return smtpd.Config{
		Hostname: "gw.example.com", MaxMessageBytes: 1 << 20, MaxRecipients: 100,
		ReadTimeout: time.Minute, WriteTimeout: time.Minute, AuthDelay: time.Nanosecond,
		Listeners: []smtpd.Listener{{Address: "127.0.0.1:0", TLS: "none", TLSMin: "1.2", Auth: "optional", BareNewline: "normalise"}},
		Accounts: []smtpd.Account{
			{Username: "marketer@example.com", PasswordHash: hash(t, "correct horse"), SendAs: []string{"*@example.com"}, Lists: []string{"promo"}, Priority: mail.Bulk},
			{Username: "relay@example.com", PasswordHash: hash(t, "battery staple"), SendAs: []string{"*@example.com"}, Relay: true, PerMinute: 3},
			{Username: "locked@example.com", PasswordHash: ""},
		},
		Networks: []smtpd.Network{
			{CIDR: netip.MustParsePrefix("127.0.0.0/16"), SendAs: []string{"*@example.com"}, Relay: true},
			{CIDR: netip.MustParsePrefix("127.0.5.0/24"), SendAs: []string{"scanner@example.com"}, Lists: []string{"promo"}},
		},
		Log: slog.New(slog.DiscardHandler), Intake: in,
	}
}

// start serves until the test ends.
func start(t testing.TB, c smtpd.Config) *smtpd.Server {
	t.Helper()
	return startAfter(t, c, func(*smtpd.Server) {})
}

// startAfter is start with something done to the server before it serves.
func startAfter(t testing.TB, c smtpd.Config, first func(*smtpd.Server)) *smtpd.Server {
	t.Helper()
	s, err := smtpd.New(c)
	if err != nil {
		t.Fatal(err)
	}
	first(s)
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // what is still open at the end of a test is cut
		_ = s.Shutdown(ctx)
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return s
}

// identity is a fresh certificate for localhost.
type identity struct {
	pair tls.Certificate
	pool *x509.CertPool
	pem  []byte // certificate
	key  []byte
}

func (i identity) get(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &i.pair, nil }

func newIdentity(t testing.TB) identity {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	i := identity{pool: x509.NewCertPool(), pem: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})}
	i.pool.AppendCertsFromPEM(i.pem)
	if i.pair, err = tls.X509KeyPair(i.pem, i.key); err != nil {
		t.Fatal(err)
	}
	return i
}

// client speaks raw SMTP.
type client struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
}

// dial connects from the given loopback address ("" for 127.0.0.1).
func dial(t testing.TB, addr net.Addr, from string) *client {
	t.Helper()
	d := net.Dialer{}
	if from != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	c, err := d.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	return use(t, c)
}

func use(t testing.TB, c net.Conn) *client {
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(time.Minute)) // a hang fails the test, with the line that was awaited
	return &client{t: t, conn: c, r: bufio.NewReader(c)}
}

func (c *client) startTLS(i identity) {
	c.t.Helper()
	tc := tls.Client(c.conn, i.client())
	if err := tc.Handshake(); err != nil {
		c.t.Fatal(err)
	}
	c.conn, c.r = tc, bufio.NewReader(tc)
}

func (c *client) send(raw string) {
	c.t.Helper()
	if _, err := io.WriteString(c.conn, raw); err != nil {
		c.t.Fatalf("send %.60q: %v", raw, err)
	}
}

// reply reads one whole reply and returns its lines without line ends.
func (c *client) reply() string {
	c.t.Helper()
	var b strings.Builder
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			c.t.Fatalf("the server's reply did not come: %v (so far %q)", err, b.String()+line)
		}
		b.WriteString(strings.TrimRight(line, "\r\n"))
		if len(line) < 4 || line[3] != '-' {
			return b.String()
		}
		b.WriteString("\n")
	}
}

// want reads one reply whose last line must begin with prefix.
func (c *client) want(prefix string) string {
	c.t.Helper()
	r := c.reply()
	last := r[strings.LastIndexByte(r, '\n')+1:]
	if !strings.HasPrefix(last, prefix) {
		c.t.Fatalf("got %q, want %q", r, prefix)
	}
	return r
}

// do sends a command and wants its reply.
func (c *client) do(command, prefix string) string {
	c.t.Helper()
	c.send(command + "\r\n")
	return c.want(prefix)
}

// ends wants the server to close the connection.
func (c *client) ends() {
	c.t.Helper()
	rest, err := io.ReadAll(c.r)
	if len(rest) > 0 {
		c.t.Fatalf("got %q, want the end of the connection", rest)
	}
	if ne, ok := err.(net.Error); ok && ne.Timeout() {
		c.t.Fatal("the server did not close the connection")
	}
}

// logs is where a server writes when a test wants to read it.
type logs struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
