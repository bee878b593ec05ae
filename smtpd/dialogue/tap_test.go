package dialogue_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"postern/smtpd/dialogue"
)

// tapped tells the tap what the gateway's connections tell it.
type tapped struct {
	net.Conn
	tap  *dialogue.Tap
	once sync.Once
}

func (c *tapped) SetReadDeadline(t time.Time) error {
	c.tap.Listen()
	return c.Conn.SetReadDeadline(t)
}

func (c *tapped) SetWriteDeadline(t time.Time) error {
	c.tap.Reply()
	return c.Conn.SetWriteDeadline(t)
}

func (c *tapped) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if err != nil {
		c.tap.Deafen()
	}
	return n, err
}

func (c *tapped) Close() error {
	c.once.Do(c.tap.End)
	return c.Conn.Close()
}

// backend takes every mail and no password.
type backend struct{ tap *dialogue.Tap }

func (b backend) NewSession(*smtp.Conn) (smtp.Session, error) { return &peer{b.tap}, nil }

type peer struct{ tap *dialogue.Tap }

func (*peer) Reset()                               {}
func (*peer) Logout() error                        { return nil }
func (*peer) Mail(string, *smtp.MailOptions) error { return nil }
func (*peer) Rcpt(string, *smtp.RcptOptions) error { return nil }
func (p *peer) Data(r io.Reader) error {
	_, err := io.Copy(io.Discard, r)
	if err == nil {
		p.tap.Accepted("id", 1)
	}
	return err
}
func (*peer) AuthMechanisms() []string { return []string{"PLAIN", "LOGIN"} }
func (*peer) Auth(mech string) (sasl.Server, error) {
	refuse := &smtp.SMTPError{Code: 535, EnhancedCode: smtp.EnhancedCode{5, 7, 8}, Message: "user name or password is wrong"}
	switch mech {
	case "PLAIN":
		return sasl.NewPlainServer(func(_, _, _ string) error { return refuse }), nil
	case "LOGIN":
		return &twoSteps{refuse: refuse}, nil
	}
	return nil, &smtp.SMTPError{Code: 504, EnhancedCode: smtp.EnhancedCode{5, 5, 4}, Message: mech + " is not known here; use PLAIN or LOGIN"}
}

// twoSteps is LOGIN.
type twoSteps struct {
	steps  int
	refuse error
}

func (s *twoSteps) Next([]byte) ([]byte, bool, error) {
	if s.steps++; s.steps > 2 {
		return nil, false, s.refuse
	}
	return []byte("Username:"), false, nil
}

// one is a listener with one connection.
type one struct{ conns chan net.Conn }

func (o one) Accept() (net.Conn, error) {
	c, ok := <-o.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (one) Close() error   { return nil }
func (one) Addr() net.Addr { return &net.TCPAddr{} }

// play has go-smtp answer a client that sends pieces, and shows the session. It
// runs in a bubble.
func play(t testing.TB, r *dialogue.Recorder, pieces [][]byte) dialogue.Session {
	tap := r.Begin("id", dialogue.Listener{Address: "127.0.0.1:25", TLS: "none", TLSMin: "1.2", Auth: "optional"})
	tap.From("192.0.2.1:1000")
	near, far := net.Pipe()
	s := smtp.NewServer(backend{tap})
	s.Domain, s.AllowInsecureAuth, s.Debug, s.ErrorLog = "gw.example.com", true, tap, quiet{}
	s.ReadTimeout, s.WriteTimeout = time.Minute, time.Minute
	o := one{make(chan net.Conn, 1)}
	o.conns <- &tapped{Conn: far, tap: tap}
	close(o.conns)
	_ = s.Serve(o)
	heard := make(chan struct{})
	go func() { _, _ = io.Copy(io.Discard, near); close(heard) }()
	for _, p := range pieces {
		if _, err := near.Write(p); err != nil {
			break
		}
	}
	synctest.Wait()
	near.Close()
	<-heard
	synctest.Wait()
	return tap.Session()
}

type quiet struct{}

func (quiet) Printf(string, ...any) {}
func (quiet) Println(...any)        {}

// pieces cuts octets as the fuzzer says.
func pieces(octets []byte, cuts []byte) (all [][]byte) {
	for _, c := range cuts {
		n := min(int(c), len(octets))
		if n > 0 {
			all, octets = append(all, octets[:n]), octets[n:]
		}
	}
	return append(all, octets)
}

const planted = "xSECRETx"

// FuzzTap plays what clients may send, cut anywhere, with a secret in each place
// where a credential or a mail may be. The fuzzer chooses from parts, and adds
// lines of its own.
func FuzzTap(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14}, []byte("NOOP"), []byte{3, 1, 200, 7})
	f.Add([]byte{0, 3, 4, 5, 5, 14}, []byte("\x16\x03\x01"), []byte{})
	f.Add([]byte{15, 0, 7, 8, 9, 10, 11, 12}, []byte("AUTH PLAIN"), []byte{255, 255})
	f.Add([]byte{0, 13, 13, 6, 7, 15, 8}, []byte("BDAT 10"), []byte{1, 1, 1, 1, 1})
	f.Fuzz(func(t *testing.T, choice, own, cuts []byte) {
		own = append([]byte(strings.ReplaceAll(string(own), "\n", " ")), "\r\n"...) // the secret must not end up behind a command of its
		parts := []string{
			"EHLO client.example\r\n", "HELO bare\r\n", "AUTH PLAIN " + planted + "\r\n", "AUTH LOGIN\r\n", "AUTH CRAM-MD5\r\n", planted + "\r\n",
			"MAIL FROM:<a@example.com>\r\n", "RCPT TO:<b@example.net>\r\n", "DATA\r\n", "Subject: " + planted + "\r\n\r\n" + planted + "\r\n..\r\n.\r\n",
			"BDAT 12\r\n" + planted + "1234", "BDAT 8 LAST\r\n" + planted, "AUTH " + planted + "\r\n", "NOOP " + planted + "\r\n", "QUIT\r\n", string(own),
		}
		var octets []byte
		for _, c := range choice[:min(len(choice), 64)] {
			octets = append(octets, parts[int(c)%len(parts)]...)
		}
		synctest.Test(t, func(t *testing.T) {
			text, err := json.Marshal(play(t, dialogue.NewRecorder(), pieces(octets, cuts)))
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(strings.ToUpper(string(text)), strings.ToUpper(planted)[1:7]) {
				t.Errorf("the secret is shown: %s\nafter %q", text, octets)
			}
			if len(text) > 24<<10 {
				t.Errorf("%d octets are kept", len(text))
			}
		})
	})
}

func TestEveryCommandStandsBesideItsReply(t *testing.T) {
	all := "EHLO a\r\nNOOP\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.net>\r\nDATA\r\nRSET\r\nNOOP\r\n..\r\n.\r\nMAIL FROM:<c@example.com>\r\nRCPT TO:<d@example.net>\r\n" +
		"BDAT 6\r\nQUIT\r\nBDAT 0\r\nBDAT 6 LAST\r\nRSET\r\nVRFY x\r\nQUIT\r\n"
	want := []string{"220", "EHLO", "250", "NOOP", "250", "MAIL", "250", "RCPT", "250", "DATA", "354", "(19", "250", "MAIL", "250", "RCPT", "250",
		"BDAT", "(6", "250", "BDAT", "250", "BDAT", "(6", "250", "VRFY", "252", "QUIT", "221"}
	for cut := 1; cut < 60; cut += 7 {
		synctest.Test(t, func(t *testing.T) {
			d := play(t, dialogue.NewRecorder(), slices.Collect(slices.Chunk([]byte(all), cut)))
			var got []string
			for _, l := range d.Lines {
				if len(l.Text) > 3 && l.Text[3] == '-' {
					continue // of a reply of several lines the last counts
				}
				word, _, _ := strings.Cut(l.Text, " ")
				got = append(got, word)
			}
			if !slices.Equal(got, want) {
				t.Errorf("cut every %d octets:\n%v\nwant\n%v", cut, got, want)
			}
		})
	}
}

func TestWhatIsMadeGoodIsNoFailure(t *testing.T) {
	mail := "MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n.\r\n"
	for said, want := range map[string]dialogue.Outcome{
		"EHLO a\r\nSTARTTLS\r\nAUTH LOGIN\r\n*\r\nXYZZY\r\n" + mail + "QUIT\r\n": dialogue.Sent,
		"EHLO a\r\nMAIL FROM:<a@example.com> XYZZY\r\n" + mail + "QUIT\r\n":      dialogue.Sent,
		"EHLO a\r\n" + mail + "RCPT TO:<no-at>\r\nQUIT\r\n":                      dialogue.Partly,
		"EHLO a\r\nQUIT\r\n": dialogue.Nothing,
	} {
		synctest.Test(t, func(t *testing.T) {
			r := dialogue.NewRecorder()
			d := play(t, r, [][]byte{[]byte(said)})
			if d.Outcome != want {
				t.Errorf("%q is %s, want %s: %s", said, d.Outcome, want, d.Cause)
			}
		})
	}
}

func TestALongDialogueKeepsBothEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := play(t, dialogue.NewRecorder(), [][]byte{[]byte("EHLO first\r\n" + strings.Repeat("RSET\r\n", 2000) + "HELO last\r\nQUIT\r\n")})
		i := slices.IndexFunc(d.Lines, func(l dialogue.Line) bool { return strings.HasSuffix(l.Text, "lines are not shown)") })
		if i < 0 || d.Lines[1].Text != "EHLO first" || d.Lines[len(d.Lines)-2].Text != "QUIT" || len(d.Lines) > 400 {
			t.Errorf("%d lines, %v", len(d.Lines), d.Lines)
		}
	})
}

func TestWhatAStrangerWritesIsMadeHarmless(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := play(t, dialogue.NewRecorder(), [][]byte{[]byte("EHLO \x1b[31m<script>\u202e\xff김민\r\nMAIL FROM:<\x07a@example.com>\r\nQUIT\r\n")})
		if want := `\u001b[31m<script>\u202e\xff김민`; d.Helo != want || d.Lines[1].Text != "EHLO "+want {
			t.Errorf("%q, %q", d.Helo, d.Lines[1].Text)
		}
		for _, l := range d.Lines {
			if strings.ContainsAny(l.Text, "\x1b\x07\r\n") || !strings.HasPrefix(l.Text, "(") && strings.Contains(l.Text, "\u202e") {
				t.Errorf("%q", l.Text)
			}
		}
	})
}

// BenchmarkMail is what listening costs for one connection with one mail of 10 KB,
// as a client sends it.
func BenchmarkMail(b *testing.B) {
	r := dialogue.NewRecorder()
	mail := []byte(strings.Repeat(strings.Repeat("x", 76)+"\r\n", 10240/78) + ".\r\n")
	steps := [][2]string{{"", "220 gw.example.com ESMTP Service Ready\r\n"}, {"EHLO client.example.com\r\n", "250-Hello client.example.com\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250-CHUNKING\r\n250 SIZE 41943041\r\n"},
		{"MAIL FROM:<a@example.com> SIZE=10240\r\n", "250 2.0.0 Roger, accepting mail from <a@example.com>\r\n"}, {"RCPT TO:<b@example.net>\r\n", "250 2.0.0 I'll make sure <b@example.net> gets this\r\n"},
		{"DATA\r\n", "354 Go ahead. End your data with <CR><LF>.<CR><LF>\r\n"}, {"", "250 2.0.0 queued as 01JD3QX7M0V8T4B1W8Y9ZK2N5R\r\n"}, {"QUIT\r\n", "221 2.0.0 Bye\r\n"}}
	b.ReportAllocs()
	b.SetBytes(int64(len(mail)))
	for b.Loop() {
		tap := r.Begin("0123456789", dialogue.Listener{Address: "127.0.0.1:25", TLS: "none"})
		tap.From("192.0.2.1:1000")
		for i, s := range steps {
			tap.Listen()
			_, _ = tap.Write([]byte(s[0]))
			if i == 5 {
				for piece := range slices.Chunk(mail, 4096) {
					_, _ = tap.Write(piece)
				}
				tap.Accepted("01JD3QX7M0V8T4B1W8Y9ZK2N5R", 1)
			}
			tap.Reply()
			for line := range strings.Lines(s[1]) {
				_, _ = tap.Write([]byte(line))
			}
		}
		tap.End()
	}
	var last dialogue.Session
	for s := range r.Sessions() {
		last = s
	}
	if last.Reason != "ok" {
		b.Fatal(fmt.Sprint(last))
	}
}
