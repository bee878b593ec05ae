package smarthost_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"postern/mail"
	"postern/relay"
	"postern/relay/smarthost"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func sender(t testing.TB, addr string, change ...func(*smarthost.Config)) *smarthost.Sender {
	t.Helper()
	cfg := smarthost.Config{Address: addr, TLS: "none", Hostname: "postern.example", MaxConns: 2}
	for _, f := range change {
		f(&cfg)
	}
	s, err := smarthost.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func copyTo(to mail.Address, body ...string) *relay.Delivery {
	d := &relay.Delivery{From: "a@example.com", To: to, Tag: "t-1", Content: mail.Content{Header: []byte("Subject: x\r\n")}}
	for _, b := range body {
		d.Content.Body = append(d.Content.Body, []byte(b))
	}
	return d
}

const (
	hello      = "S: 220 up\nC: EHLO postern.example\nS: 250-up\nS: 250-PIPELINING\nS: 250-8BITMIME\nS: 250 SIZE 1000000\n"
	helloPlain = "S: 220 up\nC: EHLO postern.example\nS: 250 up\n"
	begin      = "C: MAIL FROM:<a@example.com>*\nC: RCPT TO:<b@example.net>\nC: DATA\n"
	accept     = begin + "S: 250 ok\nS: 250 ok\nS: 354 go\nGOT\nS: 250 2.0.0 Ok: queued as 4XyZ\n"
	stepwise   = "C: MAIL FROM:<a@example.com>\nS: 250 ok\nC: RCPT TO:<b@example.net>\nS: 250 ok\nC: DATA\nS: 354 go\nGOT\nS: 250 done\n"
)

// want is what a Send is to return; the zero value is success.
type want struct {
	failed   bool
	class    mail.Class
	code     int
	enhanced string
	says     string // in the public text
}

func failed(class mail.Class, code int, enhanced, says string) want {
	return want{true, class, code, enhanced, says}
}

func (w want) check(t *testing.T, n int, err error) {
	t.Helper()
	if !w.failed {
		if err != nil {
			t.Errorf("mail %d: %v", n, err)
		}
		return
	}
	var e *mail.Error
	if !errors.As(err, &e) {
		t.Errorf("mail %d: %v is no mail.Error, want %v", n, err, w.class)
		return
	}
	if e.Class != w.class || e.Code != w.code || e.Enhanced != w.enhanced || !strings.Contains(e.Public, w.says) {
		t.Errorf("mail %d: class %v, code %d, enhanced %q, public %q\nwant %+v", n, e.Class, e.Code, e.Enhanced, e.Public, w)
	}
}

// Each case sends one mail after the other to the same upstream.
func TestDialogues(t *testing.T) {
	cases := []struct {
		name    string
		scripts []string
		want    []want
		conns   int
	}{
		{"accepted, pipelined", []string{hello + accept}, []want{{}}, 1},
		{"accepted, step by step", []string{helloPlain + stepwise}, []want{{}}, 1},
		{"an old server knows only HELO", []string{"S: 220 up\nC: EHLO *\nS: 502 what\nC: HELO postern.example\nS: 250 up\n" + stepwise}, []want{{}}, 1},
		{"one connection for three mails", []string{hello + accept + accept + accept}, []want{{}, {}, {}}, 1},
		{"one connection for three mails, step by step", []string{helloPlain + stepwise + stepwise + stepwise}, []want{{}, {}, {}}, 1},
		{"251 is a yes", []string{hello + begin + "S: 250 ok\nS: 251 will forward\nS: 354 go\nGOT\nS: 250 ok\n"}, []want{{}}, 1},

		{"greylisting, then RSET and accepted", []string{hello + begin + "S: 250 ok\nS: 450 4.2.0 greylisted, come back\nS: 554 5.5.1 no valid recipients\nC: RSET\n" + begin + "S: 250 ok\nS: 250 ok\nS: 250 ok\nS: 354 go\nGOT\nS: 250 ok\n"},
			[]want{failed(mail.Temporary, 450, "4.2.0", "greylisted, come back"), {}}, 1},
		{"greylisting, step by step", []string{helloPlain + "C: MAIL *\nS: 250 ok\nC: RCPT *\nS: 451 later\nC: RSET\nS: 250 ok\n" + stepwise},
			[]want{failed(mail.Temporary, 451, "", "later"), {}}, 1},
		{"refused RCPT, but 354: an empty mail goes to nobody", []string{hello + begin + "S: 250 ok\nS: 550 5.1.1 no such user\nS: 354 go\nGOT\nS: 554 no recipients\nC: RSET\n" + begin + "S: 250 ok\nS: 250 ok\nS: 250 ok\nS: 354 go\nGOT\nS: 250 ok\n"},
			[]want{failed(mail.Permanent, 550, "5.1.1", "no such user"), {}}, 1},
		{"refused RCPT, 354, and the upstream hangs up", []string{hello + begin + "S: 250 ok\nS: 550 5.1.1 no such user\nS: 354 go\nEOF", hello + accept},
			[]want{failed(mail.Permanent, 550, "5.1.1", "no such user"), {}}, 2},
		{"refused MAIL", []string{hello + begin + "S: 550 5.7.1 not your domain\nS: 503 no MAIL\nS: 503 no RCPT\nC: RSET\n" + begin + "S: 250 ok\nS: 250 ok\nS: 250 ok\nS: 354 go\nGOT\nS: 250 ok\n"},
			[]want{failed(mail.Permanent, 550, "5.7.1", "not your domain"), {}}, 1},
		{"refused MAIL, step by step", []string{helloPlain + "C: MAIL *\nS: 451 4.3.0 not now\nC: RSET\nS: 250 ok\n" + stepwise},
			[]want{failed(mail.Temporary, 451, "4.3.0", "not now"), {}}, 1},
		{"a full disk is the host's, not the copy's", []string{helloPlain + "C: MAIL *\nS: 452 4.3.1 full\nC: RSET\nS: 250 ok\n" + stepwise},
			[]want{failed(mail.Unreachable, 452, "4.3.1", "says: full"), {}}, 1},
		{"too fast, at the end of the mail", []string{hello + begin + "S: 250 ok\nS: 250 ok\nS: 354 go\nGOT\nS: 454 Throttling failure: Maximum sending rate exceeded\n" + accept},
			[]want{failed(mail.Throttled, 454, "", "Maximum sending rate exceeded"), {}}, 1},
		{"one yes, one no, one later, over one connection", []string{hello + accept + begin + "S: 250 ok\nS: 550-5.1.1 The address is not here.\nS: 550 5.1.1 Ask elsewhere\nS: 503 no\nC: RSET\n" + begin + "S: 250 ok\nS: 250 ok\nS: 450 4.2.0 greylisted\nS: 554 none\nC: RSET\n" + begin + "S: 250 ok\nS: 250 ok\nS: 250 ok\nS: 354 go\nGOT\nS: 250 ok\n"},
			[]want{{}, failed(mail.Permanent, 550, "5.1.1", "The address is not here. Ask elsewhere"), failed(mail.Temporary, 450, "4.2.0", "greylisted"), {}}, 1},
		{"MAIL refused, then lost: the refusal counts", []string{hello + accept + begin + "S: 550 5.7.1 no\nEOF"}, []want{{}, failed(mail.Permanent, 550, "5.7.1", "no")}, 1},
		{"refused DATA", []string{hello + begin + "S: 250 ok\nS: 250 ok\nS: 451 4.3.0 not now\n"}, []want{failed(mail.Temporary, 451, "4.3.0", "not now")}, 1},
		{"refused DATA, step by step", []string{helloPlain + "C: MAIL *\nS: 250 ok\nC: RCPT *\nS: 250 ok\nC: DATA\nS: 554 5.0.0 no\n"}, []want{failed(mail.Permanent, 554, "5.0.0", "no")}, 1},
		{"login demanded at MAIL", []string{hello + begin + "S: 530 5.7.0 Authentication required\nS: 503 x\nS: 503 x\n"}, []want{failed(mail.AccountWide, 530, "5.7.0", "Authentication required")}, 1},
		{"RSET refused: another connection", []string{hello + begin + "S: 250 ok\nS: 450 x\nS: 503 x\nC: RSET\n" + begin + "S: 500 what|250 ok|250 ok|354 go\nSILENT", hello + accept},
			[]want{failed(mail.Temporary, 450, "", "x"), {}}, 2},

		{"refused after the mail, in three lines, then the next", []string{hello + begin + "S: 250 ok\nS: 250 ok\nS: 354 go\nGOT\nS: 554-5.7.1 Spam: see\nS: 554-5.7.1 https://example.org/why\nS: 554 5.7.1 and mend it\n" + accept},
			[]want{failed(mail.Permanent, 554, "5.7.1", "Spam: see https://example.org/why and mend it"), {}}, 1},
		{"put off after the mail", []string{hello + begin + "S: 250 ok\nS: 250 ok\nS: 354 go\nGOT\nS: 451 4.7.1 try later\n" + accept}, []want{failed(mail.Temporary, 451, "4.7.1", "try later"), {}}, 1},
		{"421 after the mail", []string{hello + begin + "S: 250 ok\nS: 250 ok\nS: 354 go\nGOT\nS: 421 4.3.2 shutting down\nEOF", hello + accept}, []want{failed(mail.Unreachable, 421, "4.3.2", "shutting down"), {}}, 2},

		{"554 greeting", []string{"S: 554 no service\nEOF"}, []want{failed(mail.Unreachable, 554, "", "no service")}, 1},
		{"not a mail server", []string{"S: HTTP/1.1 400 Bad Request\nEOF"}, []want{failed(mail.Unreachable, 0, "", "does not greet as a mail server")}, 1},
		{"hangs up at once", []string{"EOF"}, []want{failed(mail.Unreachable, 0, "", "does not greet")}, 1},

		{"lost before MAIL is answered, on a fresh connection", []string{hello + begin + "EOF"}, []want{failed(mail.Unreachable, 0, "", "lost before the mail was sent")}, 1},
		{"lost after MAIL", []string{hello + begin + "S: 250 ok\nRST"}, []want{failed(mail.Unreachable, 0, "", "lost before the mail was sent")}, 1},
		{"lost after RCPT", []string{hello + begin + "S: 250 ok\nS: 250 ok\nEOF"}, []want{failed(mail.Unreachable, 0, "", "lost before the mail was sent")}, 1},
		{"lost after RCPT, step by step", []string{helloPlain + "C: MAIL *\nS: 250 ok\nC: RCPT *\nS: 250 ok\nC: DATA\nEOF"}, []want{failed(mail.Unreachable, 0, "", "lost before the mail was sent")}, 1},
		{"cut after the dot", []string{hello + begin + "S: 250 ok\nS: 250 ok\nS: 354 go\nGOT\nEOF"}, []want{failed(mail.Uncertain, 0, "", "may have been sent")}, 1},
		{"reset after the dot", []string{hello + begin + "S: 250 ok\nS: 250 ok\nS: 354 go\nGOT\nRST"}, []want{failed(mail.Uncertain, 0, "", "may have been sent")}, 1},
		{"nonsense after the dot", []string{hello + begin + "S: 250 ok\nS: 250 ok\nS: 354 go\nGOT\nS: hello\n"}, []want{failed(mail.Uncertain, 0, "", "may have been sent")}, 1},
		{"354 after the dot", []string{hello + begin + "S: 250 ok\nS: 250 ok\nS: 354 go\nGOT\nS: 354 go\n"}, []want{failed(mail.Uncertain, 0, "", "it answered 354")}, 1},
		{"nonsense at RCPT", []string{hello + begin + "S: 250 ok\nS: ??\nSILENT"}, []want{failed(mail.Temporary, 0, "", "not SMTP")}, 1},
		{"354 at MAIL", []string{hello + begin + "S: 354 what\nSILENT"}, []want{failed(mail.Temporary, 354, "", "no such answer")}, 1},

		{"an idle connection that was closed costs nothing", []string{hello + accept + "EOF", hello + accept}, []want{{}, {}}, 2},
		{"an idle connection that was closed, step by step", []string{helloPlain + stepwise + "EOF", helloPlain + stepwise}, []want{{}, {}}, 2},
		{"an idle connection that said 421 costs nothing", []string{hello + accept + begin + "S: 421 4.4.2 timeout\nEOF", hello + accept}, []want{{}, {}}, 2},
		{"a kept connection that dies after MAIL", []string{hello + accept + begin + "S: 250 ok\nEOF"}, []want{{}, failed(mail.Unreachable, 0, "", "lost before")}, 1},
		{"a kept connection that dies, and the next one too", []string{hello + accept + begin + "EOF", hello + begin + "EOF"}, []want{{}, failed(mail.Unreachable, 0, "", "lost before")}, 2},
		{"a kept connection, cut after the dot, is not tried again", []string{hello + accept + begin + "S: 250 ok\nS: 250 ok\nS: 354 go\nGOT\nEOF"}, []want{{}, failed(mail.Uncertain, 0, "", "may have")}, 1},
		{"more than one answer: the connection is not kept", []string{hello + begin + "S: 250 ok\nS: 250 ok\nS: 354 go\nGOT\nS: 250 ok|250 what\nSILENT", hello + accept}, []want{{}, {}}, 2},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			u := startUpstream(t, c.scripts...)
			s := sender(t, u.addr())
			for i, w := range c.want {
				_, err := s.Send(context.Background(), copyTo("b@example.net", "hello\r\n"))
				w.check(t, i+1, err)
			}
			if n := u.connections(); n != c.conns {
				t.Errorf("%d connections, want %d", n, c.conns)
			}
		})
	}
}

func TestReceiptBearsTheQueueID(t *testing.T) {
	for reply, want := range map[string]string{
		"250 2.0.0 Ok: queued as 4XyZ":             "4XyZ",
		"250 Queued as <ABC-1>.":                   "ABC-1",
		"250-2.0.0 Ok:|250 2.0.0 queued as 77 now": "77",
		"250 OK id=1abc":                           "",
		"250 Ok 0100018f5c0e1a2b-eb7bb5e8-a05b-4e89-a0ea-4bdf5fd5ff3a-000000": "0100018f5c0e1a2b-eb7bb5e8-a05b-4e89-a0ea-4bdf5fd5ff3a-000000",
		"250 queued as": "",
		"250":           "",
	} {
		u := startUpstream(t, hello+begin+"S: 250 ok\nS: 250 ok\nS: 354 go\nGOT\nS: "+reply)
		r, err := sender(t, u.addr()).Send(context.Background(), copyTo("b@example.net", "x\r\n"))
		if err != nil || r.ID != want {
			t.Errorf("%q: %+v, %v; want %q", reply, r, err, want)
		}
	}
}

func TestMailParameters(t *testing.T) {
	ehlo := func(offers string) string { return "S: 220 up\nC: EHLO *\nS: 250-up\n" + offers }
	rest := "C: RCPT TO:<b@example.net>\nS: 250 ok\nC: DATA\nS: 354 go\nGOT\nS: 250 ok"
	for _, c := range []struct {
		name, script string
		d            *relay.Delivery
		want         want
	}{
		{"SIZE", ehlo("S: 250 SIZE 100\n") + "C: MAIL FROM:<a@example.com> SIZE=17\nS: 250 ok\n" + rest, copyTo("b@example.net", "x\r\n"), want{}},
		{"SIZE without a number", ehlo("S: 250 SIZE\n") + "C: MAIL FROM:<a@example.com>\nS: 250 ok\n" + rest, copyTo("b@example.net", "x\r\n"), want{}},
		{"larger than SIZE", ehlo("S: 250 SIZE 16\n"), copyTo("b@example.net", "x\r\n"), failed(mail.Permanent, 552, "5.3.4", "17 octets")},
		{"8-bit", ehlo("S: 250 8bitmime\n") + "C: MAIL FROM:<a@example.com> BODY=8BITMIME\nS: 250 ok\n" + rest, copyTo("b@example.net", "0123456789한글\r\n"), want{}},
		{"8-bit without 8BITMIME", ehlo("S: 250 HELP\n"), copyTo("b@example.net", "한글\r\n"), failed(mail.Temporary, 451, "4.6.3", "no 8BITMIME")},
		{"7-bit needs no parameter", ehlo("S: 250 8BITMIME\n") + "C: MAIL FROM:<a@example.com>\nS: 250 ok\n" + rest, copyTo("b@example.net", "x\r\n"), want{}},
		{"null sender", ehlo("S: 250 HELP\n") + "C: MAIL FROM:<>\nS: 250 ok\n" + rest, func() *relay.Delivery { d := copyTo("b@example.net", "x\r\n"); d.From = ""; return d }(), want{}},
		{"international domain", ehlo("S: 250 HELP\n") + "C: MAIL FROM:<a@example.com>\nS: 250 ok\nC: RCPT TO:<b@xn--3e0b707e.example>\nS: 250 ok\nC: DATA\nS: 354 go\nGOT\nS: 250 ok", copyTo("b@한국.example", "x\r\n"), want{}},
		{"international local part with SMTPUTF8", ehlo("S: 250 SMTPUTF8\n") + "C: MAIL FROM:<a@example.com> SMTPUTF8\nS: 250 ok\nC: RCPT TO:<민@example.net>\nS: 250 ok\nC: DATA\nS: 354 go\nGOT\nS: 250 ok", copyTo("민@example.net", "x\r\n"), want{}},
		{"international local part without SMTPUTF8", ehlo("S: 250 HELP\n"), copyTo("민@example.net", "x\r\n"), failed(mail.Permanent, 553, "5.6.7", "민@example.net")},
	} {
		t.Run(c.name, func(t *testing.T) {
			u := startUpstream(t, c.script)
			s := sender(t, u.addr())
			if !s.EightBit() {
				t.Error("8-bit text is encoded before anything is known")
			}
			_, err := s.Send(context.Background(), c.d)
			c.want.check(t, 1, err)
			if offers := strings.Contains(strings.ToUpper(c.script), "8BITMIME"); s.EightBit() != offers {
				t.Errorf("8BITMIME offered %v, afterwards EightBit %v", offers, s.EightBit())
			}
		})
	}
	t.Run("a command cannot be smuggled in an address", func(t *testing.T) {
		_, err := sender(t, "127.0.0.1:1").Send(context.Background(), copyTo("b@example.net>\r\nRSET", "x\r\n"))
		failed(mail.Permanent, 553, "5.1.3", "control character").check(t, 1, err)
		_, err = sender(t, "127.0.0.1:1").Send(context.Background(), copyTo("", "x\r\n"))
		failed(mail.Permanent, 553, "5.1.3", "no recipient").check(t, 1, err)
	})
}

func TestTimeouts(t *testing.T) {
	short := func(c *smarthost.Config) {
		c.CommandTimeout, c.DataTimeout = time.Second, time.Second
	}
	big := strings.Repeat("0123456789abcdef", 1<<20) + "\r\n"
	for _, c := range []struct {
		name, script string
		body         string
		want         want
	}{
		{"greeting", "SILENT", "x\r\n", failed(mail.Unreachable, 0, "", "does not answer in time")},
		{"EHLO", "S: 220 up\nSILENT", "x\r\n", failed(mail.Unreachable, 0, "", "in time")},
		{"MAIL", hello + "SILENT", "x\r\n", failed(mail.Unreachable, 0, "", "in time")},
		{"DATA", hello + begin + "S: 250 ok\nS: 250 ok\nSILENT", "x\r\n", failed(mail.Unreachable, 0, "", "in time")},
		{"a reply that drips and never ends", hello + begin + "S: 250 ok\nS: 250 ok\nDRIP: 354-go on waiting", "x\r\n", failed(mail.Unreachable, 0, "", "in time")},
		{"after the dot", hello + begin + "S: 250 ok\nS: 250 ok\nS: 354 go\nGOT\nSILENT", "x\r\n", failed(mail.Uncertain, 0, "", "may have been sent")},
		{"a greeting that drips", "DRIP: 220-up", "x\r\n", failed(mail.Unreachable, 0, "", "in time")},
		{"an EHLO that drips", "S: 220 up\nC: EHLO *\nS: 250-up\nDRIP: 250-x", "x\r\n", failed(mail.Unreachable, 0, "", "in time")},
		{"a reply to MAIL that drips", hello + begin + "DRIP: 250-x", "x\r\n", failed(mail.Unreachable, 0, "", "in time")},
		{"BDAT", helloChunks + announced + "BDAT\nSILENT", "x\r\n", failed(mail.Uncertain, 0, "", "may have been sent")},
		{"a reply to BDAT that drips", helloChunks + announced + "BDAT\nDRIP: 250-x", "x\r\n", failed(mail.Uncertain, 0, "", "may have been sent")},
		{"a final reply that drips", hello + begin + "S: 250 ok\nS: 250 ok\nS: 354 go\nGOT\nDRIP: 250 o", "x\r\n", failed(mail.Uncertain, 0, "", "may have been sent")},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			u := startUpstream(t, c.script)
			_, err := sender(t, u.addr(), short).Send(context.Background(), copyTo("b@example.net", c.body))
			c.want.check(t, 1, err)
		})
	}
	t.Run("a kept connection that is silent is not tried twice", func(t *testing.T) {
		t.Parallel()
		u := startUpstream(t, hello+accept+"SILENT")
		s := sender(t, u.addr(), func(c *smarthost.Config) { c.CommandTimeout = time.Second })
		if _, err := s.Send(context.Background(), copyTo("b@example.net", "x\r\n")); err != nil {
			t.Fatal(err)
		}
		_, err := s.Send(context.Background(), copyTo("b@example.net", "x\r\n"))
		failed(mail.Unreachable, 0, "", "in time").check(t, 2, err)
		if u.connections() != 1 {
			t.Error("it was tried twice")
		}
	})
	large := strings.Replace(hello, "SIZE 1000000", "SIZE 100000000", 1)
	t.Run("an upstream that stops reading", func(t *testing.T) {
		t.Parallel()
		done := make(chan struct{})
		l := stuckListener(t, large+begin, done)
		_, err := sender(t, l, func(c *smarthost.Config) { c.DataTimeout = time.Second }).Send(context.Background(), copyTo("b@example.net", big))
		close(done)
		failed(mail.Unreachable, 0, "", "lost before the mail was sent").check(t, 1, err)
	})
	t.Run("cut in the middle of the mail", func(t *testing.T) {
		u := startUpstream(t, large+begin+"S: 250 ok\nS: 250 ok\nS: 354 go\nTAKE\nRST")
		_, err := sender(t, u.addr()).Send(context.Background(), copyTo("b@example.net", big))
		failed(mail.Unreachable, 0, "", "lost before the mail was sent").check(t, 1, err)
	})
}

// stuckListener answers up to 354 and then reads nothing until done.
func stuckListener(t *testing.T, script string, done chan struct{}) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		for _, step := range strings.Split(script, "\n") {
			if s, ok := strings.CutPrefix(step, "S: "); ok {
				_, _ = c.Write([]byte(s + "\r\n"))
			}
		}
		_, _ = c.Write([]byte("250 ok\r\n250 ok\r\n354 go\r\n"))
		<-done
	}()
	t.Cleanup(func() { l.Close(); <-ended })
	return l.Addr().String()
}

func TestContextEndsASend(t *testing.T) {
	for _, c := range []struct {
		name, script string
		want         want
	}{
		{"while it waits for the greeting", "TELL\nSILENT", failed(mail.Unreachable, 0, "", "sending was stopped")},
		{"while it waits for 354", hello + begin + "TELL\nSILENT", failed(mail.Unreachable, 0, "", "lost before the mail was sent")},
		{"after the dot", hello + begin + "S: 250 ok\nS: 250 ok\nS: 354 go\nGOT\nTELL\nSILENT", failed(mail.Uncertain, 0, "", "may have been sent")},
	} {
		t.Run(c.name, func(t *testing.T) {
			u := startUpstream(t, c.script)
			ctx, cancel := context.WithCancel(context.Background())
			go func() { <-u.told; cancel() }()
			_, err := sender(t, u.addr()).Send(ctx, copyTo("b@example.net", "x\r\n"))
			c.want.check(t, 1, err)
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%v does not wrap the context's error", err)
			}
		})
	}
	t.Run("while it waits for a free connection", func(t *testing.T) {
		u := startUpstream(t, hello+begin+"TELL\nSILENT")
		s := sender(t, u.addr(), func(c *smarthost.Config) { c.MaxConns = 1 })
		first, stop := context.WithCancel(context.Background())
		ended := make(chan struct{})
		go func() {
			_, _ = s.Send(first, copyTo("b@example.net", "x\r\n"))
			close(ended)
		}()
		<-u.told
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_, err := s.Send(ctx, copyTo("b@example.net", "x\r\n"))
		failed(mail.Unreachable, 0, "", "waited for a connection").check(t, 2, err)
		stop()
		<-ended
	})
}

func TestUpstreamThatIsNotThere(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	_, err = sender(t, l.Addr().String()).Send(context.Background(), copyTo("b@example.net", "x\r\n"))
	failed(mail.Unreachable, 0, "", "connection refused").check(t, 1, err)
	_, err = sender(t, "no-such-host.invalid:25").Send(context.Background(), copyTo("b@example.net", "x\r\n"))
	failed(mail.Unreachable, 0, "", "does not resolve").check(t, 1, err)
}

func TestConfigurationNamesEveryProblem(t *testing.T) {
	_, err := smarthost.New(smarthost.Config{Address: "mail", Fallback: []string{"b:25", "b:25", "c"}, TLS: "maybe", Password: "p", Hostname: "a b", MaxConns: -1})
	for _, want := range []string{`address "mail"`, `fallback "b:25" is there twice`, `fallback "c"`, `tls "maybe"`, "no username", `hostname "a b"`, "negative"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
}

func TestCloseSaysQuit(t *testing.T) {
	u := startUpstream(t, hello+accept+"C: QUIT\nS: 221 bye\n")
	s := sender(t, u.addr())
	if s.Idempotent() {
		t.Error("an SMTP upstream takes the same mail twice")
	}
	if _, err := s.Send(context.Background(), copyTo("b@example.net", "x\r\n")); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	_, err := s.Send(context.Background(), copyTo("b@example.net", "x\r\n"))
	failed(mail.Unreachable, 0, "", "closed").check(t, 2, err)
}

func TestOneDeadConnectionIsEnough(t *testing.T) {
	answers := "S: 250 ok\nS: 250 ok\nS: 354 go\nGOT\nS: 250 ok\n"
	u := startUpstream(t, hello+begin+"WAIT\n"+answers+"EOF", hello+begin+"TELL\n"+answers+"EOF", hello+accept)
	s := sender(t, u.addr())
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			if _, err := s.Send(context.Background(), copyTo("b@example.net", "x\r\n")); err != nil {
				t.Error(err)
			}
		})
	}
	both.Wait()
	if _, err := s.Send(context.Background(), copyTo("b@example.net", "x\r\n")); err != nil {
		t.Error(err)
	}
	// Both are found dead before anything is said to them, or one when it is used.
	if u.connections() != 3 || smarthost.Idle(s) > 2 {
		t.Errorf("%d connections, %d kept", u.connections(), smarthost.Idle(s))
	}
}

func TestIdleConnectionIsClosedWithQuit(t *testing.T) {
	u := startUpstream(t, hello+accept+"C: QUIT\nS: 221 bye\n", hello+accept)
	s := sender(t, u.addr(), func(c *smarthost.Config) { c.IdleTimeout = time.Millisecond })
	if _, err := s.Send(context.Background(), copyTo("b@example.net", "x\r\n")); err != nil {
		t.Fatal(err)
	}
	// The first script ends only after QUIT: no mail in it means another connection.
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for smarthost.Idle(s) > 0 {
		<-tick.C
	}
	if _, err := s.Send(context.Background(), copyTo("b@example.net", "x\r\n")); err != nil {
		t.Error(err)
	}
	if u.connections() != 2 {
		t.Errorf("%d connections", u.connections())
	}
}

// Upstreams lose patience with a session of refusals alone; one that takes a mail now
// and then goes on.
func TestSessionOfRefusalsIsEnded(t *testing.T) {
	refuse := begin + "S: 250 ok\nS: 550 5.1.1 no such user\nS: 554 no recipients\n"
	again := "C: RSET\n" + begin + "S: 250 ok\nS: 250 ok\nS: 550 5.1.1 no such user\nS: 554 no recipients\n"
	takes := "C: RSET\n" + begin + "S: 250 ok\nS: 250 ok\nS: 250 ok\nS: 354 go\nGOT\nS: 250 ok\n"
	first := refuse + strings.Repeat(again, 6) + takes
	u := startUpstream(t, hello+first+refuse+strings.Repeat(again, 7)+"C: QUIT\nS: 221 bye\n", hello+accept)
	s := sender(t, u.addr())
	for n := 1; n <= 17; n++ {
		outcome := failed(mail.Permanent, 550, "5.1.1", "no such user")
		if n == 8 || n == 17 {
			outcome = want{}
		}
		_, err := s.Send(context.Background(), copyTo("b@example.net", "x\r\n"))
		outcome.check(t, n, err)
	}
	if u.connections() != 2 {
		t.Errorf("%d connections", u.connections())
	}
}
