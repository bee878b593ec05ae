package smtpd_test

import (
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"postern/internal/transcript"
	"postern/smtpd"
)

// FuzzSession plays octets against a session. Whatever they are, the server
// neither panics nor hangs, and what it takes has CRLF line ends, no NUL, and a
// sender it may have. Coverage differs from run to run with the goroutines, so
// fuzz with -fuzzminimizetime=10x; else minimising takes all the time.
func FuzzSession(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.txt")
	for _, file := range files {
		f.Add(clientSide(f, file), true)
	}
	f.Add([]byte("EHLO x\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.net>\r\nDATA\r\nx\r\r\n..\r\r\n.\r\n"), false)
	f.Add([]byte("EHLO x\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.net>\r\nBDAT 3\r\na\n\rBDAT 2 LAST\r\n\x00\n"), false)
	f.Fuzz(func(t *testing.T, octets []byte, strict bool) {
		synctest.Test(t, func(t *testing.T) { session(t, octets, strict) })
	})
}

func session(t *testing.T, octets []byte, strict bool) {
	in := &intake{}
	conf := config(t, in)
	p := newPipes()
	conf.Listeners[0].Socket, conf.Listeners[0].InsecureAuth = p, true
	if strict {
		conf.Listeners[0].BareNewline = "reject"
	}
	conf.Networks = []smtpd.Network{{CIDR: netip.MustParsePrefix("192.0.2.0/24"), SendAs: []string{"*@example.com"}, Relay: true}}
	s := start(t, conf)
	c := p.dial("192.0.2.1:1000")
	heard := make(chan struct{})
	go func() { _, _ = io.Copy(io.Discard, c); close(heard) }()
	_, _ = c.Write(octets) // fails when the server hangs up
	synctest.Wait()
	c.Close()
	<-heard
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, m := range in.taken() {
		rest := strings.ReplaceAll(m.Body, "\r\n", "")
		if strings.ContainsAny(rest, "\r\n\x00") || !strings.HasSuffix(m.Body, "\r\n") {
			t.Errorf("taken: %q", m.Body)
		}
		if m.Env.From != "" && m.Env.From.Domain() != "example.com" || len(m.Env.Recipients) == 0 {
			t.Errorf("envelope %+v", m.Env)
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
