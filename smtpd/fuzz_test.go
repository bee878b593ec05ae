package smtpd_test

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/internal/transcript"
	"postern/smtpd"
)

// beginnings are the states of a session in which a client may go mad.
func beginnings() []string {
	const (
		login = "EHLO x\r\nAUTH PLAIN AG1hcmtldGVyQGV4YW1wbGUuY29tAGNvcnJlY3QgaG9yc2U=\r\n"
		begun = "EHLO x\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.net>\r\n"
	)
	return []string{
		"",
		"EHLO x\r\n",
		login,
		begun,
		begun + "DATA\r\n",
		begun + "BDAT 40\r\n",
		begun + "BDAT 4\r\nX: y",
		"EHLO x\r\nAUTH LOGIN\r\n",
		"EHLO x\r\n" + startTLS,
	}
}

// startTLS in a beginning is a handshake.
const startTLS = "STARTTLS\r\n"

// stranger, in a state, is a client from outside every network.
const stranger = 0x80

// FuzzSession plays octets against a session that has begun in one of several
// ways, cut into pieces as cuts says (each octet is the length of one, less one).
// Whatever they are the server neither panics nor hangs; every line that it says
// is one of a reply, and every command has one reply; what it takes has CRLF line
// ends, no NUL and a sender who may send, and is a stranger's never. Coverage
// differs from run to run with the goroutines, so fuzz with -fuzzminimizetime=10x;
// else minimising takes all the time.
func FuzzSession(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.txt")
	for _, file := range files {
		f.Add(clientSide(f, file), []byte{}, byte(0), true)
		f.Add(clientSide(f, file), []byte{0, 3, 90}, byte(stranger), false)
	}
	for state := range beginnings() {
		for _, octets := range []string{
			"NOOP\r\nQUIT\r\n",
			"EHLO x\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.net>\r\nDATA\r\nx\r\r\n..\r\r\n.\r\n",
			"EHLO x\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.net>\r\nBDAT 3\r\na\n\rBDAT 2 LAST\r\n\x00\n",
			"Subject: x\r\n\r\ntext\r\n.\r\nRSET\r\nMAIL FROM:<c@example.com>\r\nRCPT TO:<d@example.net>\r\nDATA\r\n.\r\n",
			"0123456789012345678901234567890123456789BDAT 2 LAST\r\n\r\nBDAT 3\r\nabcRSET\r\n",
			"bWFya2V0ZXJAZXhhbXBsZS5jb20=\r\n*\r\nAUTH PLAIN\r\n*\r\nFOO\r\n\r\nBDAT x\r\nHELP\r\n",
		} {
			f.Add([]byte(octets), []byte{}, byte(state), state%2 == 0)
			f.Add([]byte(octets), []byte{9, 0, 1, 30}, byte(state), state%2 == 1)
		}
	}
	base, id := config(f, nil), newIdentity(f)
	base.GetCertificate = id.get
	f.Fuzz(func(t *testing.T, octets, cuts []byte, state byte, strict bool) {
		synctest.Test(t, func(t *testing.T) {
			fuzzed{t: t, base: base, id: id, octets: octets, cuts: cuts, state: state, strict: strict}.play()
		})
	})
}

// fuzzed is one play.
type fuzzed struct {
	t            *testing.T
	base         smtpd.Config
	id           identity
	octets, cuts []byte
	state        byte
	strict       bool
}

func (f fuzzed) play() {
	in := &intake{}
	p := newPipes()
	conf := f.base
	conf.Intake = in
	conf.Listeners = slices.Clone(conf.Listeners)
	l := &conf.Listeners[0]
	l.Socket, l.InsecureAuth = p, true
	if f.strict {
		l.BareNewline = "reject"
	}
	begin := beginnings()[int(f.state&^stranger)%len(beginnings())]
	begin, secure := strings.CutSuffix(begin, startTLS)
	if secure {
		l.TLS = "starttls"
	}
	conf.Networks = []smtpd.Network{{CIDR: netip.MustParsePrefix("192.0.2.0/24"), SendAs: []string{"*@example.com"}, Relay: true}}
	from := "192.0.2.1:1000"
	if f.state&stranger != 0 {
		from = "198.51.100.1:1000"
	}
	s := start(f.t, conf)
	c := p.dial(from)
	sent := []byte(begin)
	if secure {
		c = f.upgrade(c, begin)
		sent = nil
	}
	heard := make(chan []byte)
	go func() {
		all, _ := io.ReadAll(c)
		heard <- all
	}()
	f.send(c, sent)
	<-time.After(10 * time.Second) // of the bubble: all that is to be said has been
	c.Close()
	replies := parseReplies(f.t, <-heard)
	if err := s.Shutdown(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
	if err := answered(append(sent, f.octets...), replies, !secure); err != nil {
		f.t.Errorf("%v\nreplies %q", err, replies)
	}
	f.check(in.taken())
	queued := 0
	for _, r := range replies {
		if strings.HasPrefix(r, "250 2.0.0 queued as ") {
			queued++
		}
	}
	if n := len(in.taken()); n != queued && n != queued+1 { // the last answer may come too late
		f.t.Errorf("%d mails were taken and %d answered with 250: %q", n, queued, replies)
	}
}

// upgrade says the beginning and STARTTLS, and shakes hands.
func (f fuzzed) upgrade(c net.Conn, begin string) net.Conn {
	f.t.Helper()
	k := &client{t: f.t, conn: c, r: bufio.NewReader(c)}
	k.want("220")
	k.send(begin)
	k.want("250")
	k.do("STARTTLS", "220")
	conf := f.id.client()
	conf.InsecureSkipVerify = true // in the bubble it is the year 2000
	secure := tls.Client(c, conf)
	if err := secure.Handshake(); err != nil {
		f.t.Fatal(err)
	}
	return secure
}

// send writes the beginning at once and the rest piece by piece. A failure means
// that the server has hung up.
func (f fuzzed) send(c net.Conn, begin []byte) {
	_, _ = c.Write(begin)
	rest := f.octets
	for _, n := range f.cuts {
		piece := rest[:min(int(n)+1, len(rest))]
		rest = rest[len(piece):]
		if _, err := c.Write(piece); err != nil {
			return
		}
		synctest.Wait()
	}
	_, _ = c.Write(rest)
}

func (f fuzzed) check(taken []submitted) {
	for _, m := range taken {
		rest := strings.ReplaceAll(m.Body, "\r\n", "")
		if strings.ContainsAny(rest, "\r\n\x00") || !strings.HasSuffix(m.Body, "\r\n") {
			f.t.Errorf("taken: %q", m.Body)
		}
		if m.Env.From != "" && m.Env.From.Domain() != "example.com" || len(m.Env.Recipients) == 0 {
			f.t.Errorf("envelope %+v", m.Env)
		}
		if f.state&stranger != 0 && !m.Sub.Authenticated {
			f.t.Errorf("a stranger's mail was taken: %+v", m)
		}
	}
}

// clientSide is what the client of a transcript sends.
func clientSide(t testing.TB, file string) []byte {
	t.Helper()
	script, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	octets, err := transcript.Sent(string(script))
	if err != nil {
		t.Fatal(err)
	}
	return octets
}
