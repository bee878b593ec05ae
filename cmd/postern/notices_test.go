package main_test

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"postern/relay/ses/sesfake"
)

const order = `From: ERP <erp@example.com>
To: customer@example.net
Subject: 주문 확인
Message-ID: <order-1@erp.example.com>
MIME-Version: 1.0
Content-Type: text/plain; charset=utf-8

주문해 주셔서 감사합니다.
`

// refusing takes all mail but that for some addresses.
func refusing(t *testing.T) *recorder {
	t.Helper()
	r := startRecorder(t)
	r.answer = func(to string, _ int) error {
		if strings.HasPrefix(to, "nobody") {
			return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "No such user here"}
		}
		return nil
	}
	return r
}

// arrived waits until the recorder has a mail for an address.
func (r *recorder) arrived(g *gateway, to string) []byte {
	g.t.Helper()
	deadline := time.After(time.Minute)
	for {
		r.mu.Lock()
		raw := r.mails[to]
		r.mu.Unlock()
		if raw != nil {
			return raw
		}
		select {
		case <-r.arrive:
		case <-deadline:
			g.t.Fatalf("nothing has arrived for %s:\n%s", to, g.log)
		}
	}
}

// send hands a mail over in one transaction.
func (g *gateway) send(from, text string, to ...string) {
	g.t.Helper()
	c, err := smtp.Dial(g.addr)
	if err != nil {
		g.t.Fatal(err)
	}
	defer c.Close()
	if err := c.SendMail(from, to, strings.NewReader(strings.ReplaceAll(text, "\n", "\r\n"))); err != nil {
		g.t.Fatalf("%v\n%s", err, g.log)
	}
}

// logged waits until the gateway's log has a line with all the words.
func (g *gateway) logged(words ...string) {
	g.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(time.Minute); ; {
		for line := range strings.SplitSeq(g.log.String(), "\n") {
			found := true
			for _, w := range words {
				found = found && strings.Contains(line, w)
			}
			if found {
				return
			}
		}
		select {
		case <-tick.C:
		case <-deadline:
			g.t.Fatalf("the log never says %q:\n%s", words, g.log)
		}
	}
}

func TestTheSenderGetsABounceInTheirLanguage(t *testing.T) {
	t.Parallel()
	for language, want := range map[string][2]string{
		"ko": {"주문 확인", "메일 주소"},
		"en": {"주문 확인", "address does not exist"},
	} {
		t.Run(language, func(t *testing.T) {
			r := refusing(t)
			g := newGateway(t, fmt.Sprintf("[notices]\nfrom = \"postmaster@example.com\"\nlanguage = %q\n", language)+smtpLane(r.addr))
			g.serve()
			g.send("erp@example.com", order, "nobody@example.net", "customer@example.net")
			raw := r.arrived(g, "erp@example.com")
			g.stop()
			p := g.read([][]byte{raw})[0]
			if !p.DKIM || len(p.Defects) > 0 || p.From != "postmaster@example.com" {
				t.Errorf("%+v", p)
			}
			if !strings.Contains(p.Subject, want[0]) || !strings.Contains(p.Text, want[1]) || !strings.Contains(p.Text, "550 5.1.1 No such user here") {
				t.Errorf("%q\n%s", p.Subject, p.Text)
			}
			for _, line := range []string{"Final-Recipient: rfc822; nobody@example.net", "Diagnostic-Code: smtp; 550 5.1.1 No such user here", "Status: 5.1.1", "Auto-Submitted: auto-replied"} {
				if !strings.Contains(string(raw), "\r\n"+line+"\r\n") {
					t.Errorf("the line %q is missing in\n%s", line, raw)
				}
			}
			if strings.Contains(string(raw), "customer@example.net\r\nAction:") || r.to["erp@example.com"] != 1 {
				t.Errorf("%d bounces, the last:\n%s", r.to["erp@example.com"], raw)
			}
			if r.from["erp@example.com"] != "" || r.from["customer@example.net"] != "erp@example.com" {
				t.Errorf("the envelope senders are %q", r.from)
			}
		})
	}
}

// TestAListsFailuresAreToldOnce: the sender of a campaign gets one notice with a count.
func TestAListsFailuresAreToldOnce(t *testing.T) {
	r := startRecorder(t)
	r.answer = func(to string, _ int) error {
		if strings.HasSuffix(to, "0@example.net") {
			return &smtp.SMTPError{Code: 552, EnhancedCode: smtp.EnhancedCode{5, 2, 2}, Message: "Mailbox is full"}
		}
		return nil
	}
	g := newGateway(t, smtpLane(r.addr))
	g.users(100)
	g.serve()
	g.mustSubmit("promo@lists.example.com", hello)
	raw := r.arrived(g, "marketer@example.com")
	g.stop()
	if n := strings.Count(string(raw), "Final-Recipient:"); n != 10 || r.to["marketer@example.com"] != 1 {
		t.Errorf("%d bounces, the last about %d recipients", r.to["marketer@example.com"], n)
	}
	if p := g.read([][]byte{raw})[0]; !strings.Contains(p.Text, "100") || !strings.Contains(p.Text, "10") {
		t.Errorf("the text has no counts:\n%s", p.Text)
	}
}

// TestKilledAroundANotice kills the gateway when a copy has failed, and when its
// notice is on disk: after that the sender has one notice each time.
func TestKilledAroundANotice(t *testing.T) {
	t.Parallel()
	r := refusing(t)
	g := newGateway(t, "[relay]\nuncertain_wait = \"1s\"\n"+smtpLane(r.addr))
	for i, words := range [][]string{{"not sent", "state=failed"}, {"notice accepted"}} {
		g.serve()
		sender := fmt.Sprintf("erp%d@example.com", i)
		g.send(sender, order, "nobody@example.net")
		g.logged(words...)
		g.kill()
		g.serve()
		r.arrived(g, sender)
		g.settled("done")
		about := 0
		for _, m := range g.messages() {
			if m.Notice == "failed" {
				about++
			}
		}
		if about != i+1 {
			t.Errorf("%d notices after %d mails", about, i+1)
		}
		g.stop()
	}
}

// TestANoticeThatFailsIsNotTold: the sender's own address is refused.
func TestANoticeThatFailsIsNotTold(t *testing.T) {
	t.Parallel()
	r := refusing(t)
	g := newGateway(t, "[notices]\nfrom = \"nobody@example.com\"\n"+smtpLane(r.addr))
	g.serve()
	for _, sender := range []string{"nobody@example.com", "nobody2@example.com"} { // the first is notices.from itself
		g.send(sender, order, "nobody@example.net")
		g.logged("not sent", "to="+sender, "state=failed")
	}
	g.send("last@example.com", order, "nobody@example.net")
	r.arrived(g, "last@example.com")
	notices := 0
	for _, m := range g.messages() {
		if m.Notice != "" {
			notices++
		}
	}
	if notices != 3 {
		t.Errorf("%d notices, want one to each sender", notices)
	}
	g.stop()
}

// TestNoticesThroughSESBearTheirAddress, because SES refuses the null sender.
func TestNoticesThroughSESBearTheirAddress(t *testing.T) {
	fake := &sesfake.Fake{}
	server := httptest.NewServer(fake)
	t.Cleanup(server.Close)
	fake.Then(sesfake.Refuse(400, "MessageRejected", "The message is refused."))
	g := newGateway(t, fmt.Sprintf("[notices]\nfrom = \"postmaster@example.com\"\nlanguage = \"en\"\n[[lane]]\nname = \"out\"\ndriver = \"ses\"\n[lane.ses]\nregion = \"ap-northeast-2\"\nendpoint = %q\n", server.URL))
	g.serve()
	g.send("erp@example.com", order, "customer@example.net")
	g.logged("msg=sent", "to=erp@example.com")
	g.stop()
	mails := fake.Mails()
	if len(mails) != 1 || header(mails[0].Raw, "From") == "" || !strings.Contains(header(mails[0].Raw, "From"), "<postmaster@example.com>") ||
		!strings.Contains(string(mails[0].Raw), "Auto-Submitted: auto-replied") {
		t.Errorf("%d mails: %+v", len(mails), mails)
	}
}

// TestAStrangersMailToThePostmasterReachesTheOperator as an attachment.
func TestAStrangersMailToThePostmasterReachesTheOperator(t *testing.T) {
	r := startRecorder(t)
	g := newGateway(t, "[notices]\noperator = \"admin@example.com\"\nlanguage = \"en\"\n"+smtpLane(r.addr))
	g.serve()
	g.send("stranger@elsewhere.example", "From: stranger@elsewhere.example\nSubject: your mail\n\nPlease stop.\n", "postmaster@lists.example.com")
	raw := r.arrived(g, "admin@example.com")
	g.stop()
	p := g.read([][]byte{raw})[0]
	if !p.DKIM || !strings.Contains(p.Text, "stranger@elsewhere.example") || !strings.Contains(string(raw), "message/rfc822") || !strings.Contains(string(raw), "Please stop.") {
		t.Errorf("%+v\n%s", p, raw)
	}
}

// TestABounceIsOfTheMailThatTheOthersGot: where the client gave no Message-ID it
// names ours.
func TestABounceIsOfTheMailThatTheOthersGot(t *testing.T) {
	r := refusing(t)
	g := newGateway(t, smtpLane(r.addr))
	g.serve()
	g.send("scanner@example.com", "From: scanner@example.com\nSubject: scan\nBcc: hidden@example.net\n\nx\n", "nobody@example.net", "customer@example.net")
	bounce := r.arrived(g, "scanner@example.com")
	other := r.arrived(g, "customer@example.net")
	g.stop()
	id := header(other, "Message-Id")
	if id == "" || header(bounce, "In-Reply-To") != id || !strings.Contains(string(bounce), "\r\nMessage-ID: "+id) || strings.Contains(string(bounce), "hidden@example.net") {
		t.Errorf("the others got %s, and the bounce is\n%s", id, bounce)
	}
}

// TestTheOperatorHearsOfAFailingDisk, although nothing can be spooled any more.
func TestTheOperatorHearsOfAFailingDisk(t *testing.T) {
	t.Parallel() // it waits for most of its time
	r := startRecorder(t)
	g := newGateway(t, "[notices]\noperator = \"admin@example.com\"\nlanguage = \"en\"\n"+smtpLane(r.addr))
	g.serve()
	inject(t, g, "fdatasync", "EIO")
	if err := g.submitTo(order, "customer@example.net"); err == nil {
		t.Fatal("a mail was taken that could not be stored")
	}
	raw := r.arrived(g, "admin@example.com")
	if p := g.read([][]byte{raw})[0]; !p.DKIM || !strings.Contains(p.Text, "Restart Postern") || r.from["admin@example.com"] != "" || r.to["customer@example.net"] != 0 {
		t.Errorf("%+v", p)
	}
}

// TestAnUpstreamOfOurOwnAuthority is trusted by ca_file, and by nothing else.
func TestAnUpstreamOfOurOwnAuthority(t *testing.T) {
	g := newGateway(t, "")
	g.certify()
	cert, err := tls.LoadX509KeyPair(filepath.Join(g.dir, "cert.pem"), filepath.Join(g.dir, "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	r := startRecorder(t)
	r.server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}}
	_, port, err := net.SplitHostPort(r.addr)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(g.dir, "config.toml"))
	if err != nil {
		t.Fatal(err)
	}
	lane := strings.Replace(smtpLane("localhost:"+port), `tls = "none"`, `tls = "starttls"`, 1)
	g.write("config.toml", string(text)+lane)
	g.serve()
	g.send("erp@example.com", order, "customer@example.net")
	g.logged("lane paused", "certificate that cannot be trusted")
	g.stop()
	g.write("config.toml", string(text)+lane+"ca_file = \"ca.pem\"\n")
	g.serve()
	r.arrived(g, "customer@example.net")
	g.stop()
	g.write("empty.pem", "")
	g.write("config.toml", string(text)+lane+"ca_file = \"empty.pem\"\n")
	if out, err := g.command("config").CombinedOutput(); err == nil || !strings.Contains(string(out), "lane[0].smtp.ca_file: there is no certificate in empty.pem") {
		t.Errorf("%v %s", err, out)
	}
}
