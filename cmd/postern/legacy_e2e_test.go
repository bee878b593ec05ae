//go:build e2e

package main_test

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"postern/internal/peer"
)

// letter is what somebody's old program sends: Korean in 8 bits, lines that begin
// with dots, a file, lines that end in LF, neither Date nor Message-ID, and Bcc in
// the header.
type letter struct {
	from, envelope string // envelope "" is the null sender
	subject        string
	to, bcc        []string
}

const letterType = "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"scan\"\n"

const letterBody = `--scan
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit

주문이 발송되었습니다.
.
..두 점
.끝

--scan
Content-Type: application/pdf; name="scan.pdf"
Content-Transfer-Encoding: base64
Content-Disposition: attachment; filename="scan.pdf"

JVBERi0xLjQK
--scan--
`

func (l letter) String() string {
	head := "From: " + l.from + "\nTo: " + strings.Join(l.to, ", ") + "\n"
	if len(l.bcc) > 0 {
		head += "Bcc: " + strings.Join(l.bcc, ", ") + "\n"
	}
	return head + "Subject: " + l.subject + "\n" + letterType + "\n" + letterBody
}

func (l letter) recipients() []string { return slices.Concat(l.to, l.bcc) }

// old is somebody's old program, and the language in which it is told of failures.
type old struct {
	name     string
	language string
	send     func(l letter)
}

// legacy are the old programs before a shop. They are told in the language of the
// account by which they log in, or of the network from which they come.
func legacy(t *testing.T, s *shop) []old {
	t.Helper()
	s.write("password", password+"\n")
	s.write("msmtprc", fmt.Sprintf("defaults\nauth on\ntls on\ntls_trust_file ca.pem\nremove_bcc_headers off\nset_date_header off\naccount default\nhost localhost\nport %s\n"+
		"from app@example.com\nuser marketer@example.com\npasswordeval cat password\n", s.starttls))
	if err := os.Chmod(filepath.Join(s.dir, "msmtprc"), 0o600); err != nil {
		t.Fatal(err)
	}
	msmtp := peer.Command(t, "msmtp") + " -C msmtprc -t -i"
	swaks := func(l letter, how ...string) {
		s.write("scan.eml", strings.TrimSuffix(l.String(), "\n")) // swaks ends the last line
		from := l.envelope
		if from == "" {
			from = "<>"
		}
		s.mustRun("swaks", exec.Command(peer.Command(t, "swaks"), append([]string{"--server", "127.0.0.1", "--protocol", "SMTP", "--helo", "scanner1",
			"--from", from, "--to", strings.Join(l.recipients(), ","), "--data", "@scan.eml"}, how...)...))
	}
	mta := s.before(s.starttls, logIn)
	return []old{
		{"php", "ko", func(l letter) {
			headers := "From: " + l.from + "\r\n"
			if len(l.bcc) > 0 {
				headers += "Bcc: " + strings.Join(l.bcc, ", ") + "\r\n"
			}
			s.write("headers", headers+strings.TrimSpace(strings.ReplaceAll(letterType, "\n", "\r\n")))
			s.write("body", strings.TrimSuffix(letterBody, "\n")) // so does PHP
			cmd := exec.Command(peer.Command(t, "php"), "-d", "sendmail_path="+msmtp, testdata(t, "mail.php"))
			cmd.Env = append(os.Environ(), "TO="+strings.Join(l.to, ", "), "SUBJECT="+l.subject, "SENDER="+l.envelope, "HEADERS=headers", "BODY=body")
			s.mustRun("php", cmd)
		}},
		{"script", "ko", func(l letter) {
			s.write("script.eml", l.String())
			s.mustRun("msmtp", exec.Command("sh", "-c", msmtp+" -f "+l.envelope+" < script.eml"))
		}},
		{"scanner", "en", func(l letter) { swaks(l, "--port", s.plain) }},
		{"copier", "ko", func(l letter) {
			swaks(l, "--protocol", "ESMTPA", "--port", s.devices, "--auth", "LOGIN", "--auth-user", "marketer@example.com", "--auth-password", password)
		}},
		{"mta", "ko", func(l letter) {
			mta.run([]byte(l.String()), append([]string{"-odi", "-i", "-f", "<" + l.envelope + ">"}, l.recipients()...)...)
			if left := strings.TrimSpace(mta.run(nil, "-bpc")); left != "0" {
				t.Fatalf("%s left in exim\n%s", left, mta.log())
			}
		}},
	}
}

// edit changes the configuration before the gateway starts.
func (g *gateway) edit(old, new string) {
	g.t.Helper()
	text, err := os.ReadFile(filepath.Join(g.dir, "config.toml"))
	if err != nil || strings.Count(string(text), old) != 1 {
		g.t.Fatalf("%q is not once in the configuration: %v", old, err)
	}
	g.write("config.toml", strings.Replace(string(text), old, new, 1))
}

// behindPostfix is a shop whose upstream is a postfix with STARTTLS that greylists
// and passes on to a sink what it takes, Bcc too if there still is one.
func behindPostfix(t *testing.T, more string) (*shop, *postfix, *sink) {
	t.Helper()
	port := peer.Port(t)
	s := openShop(t, fmt.Sprintf(`
[[lane]]
name = "out"
driver = "smtp"
[lane.smtp]
address = "localhost:%d"
tls = "starttls"
[relay.retry_relayed]
interval = "1s"
max_interval = "2s"
%s`, port, more))
	t.Setenv("SSL_CERT_FILE", filepath.Join(s.dir, "ca.pem"))
	end := startSink(t)
	p := startPostfixAt(t, port, fmt.Sprintf(`
relayhost = [%s]:%s
smtpd_tls_cert_file = %[3]s/cert.pem
smtpd_tls_key_file = %[3]s/key.pem
smtpd_tls_security_level = encrypt
message_drop_headers =
smtpd_recipient_restrictions = check_policy_service inet:%[4]s, permit
`, "127.0.0.1", end.addr[strings.LastIndexByte(end.addr, ':')+1:], s.dir, startGreylisting(t).addr))
	return s, p, end
}

// TestLegacyProgramsSendThroughAGreylistingPostfix: their mail arrives once, whole
// and signed; what nobody can get comes back to the sender as one bounce for a mail.
func TestLegacyProgramsSendThroughAGreylistingPostfix(t *testing.T) {
	s, p, end := behindPostfix(t, "")
	s.edit("[[smtp.network]]\n", "[[smtp.network]]\nlanguage = \"en\"\n")
	s.edit("username = \"marketer@example.com\"\n", "username = \"marketer@example.com\"\nlanguage = \"ko\"\n")
	s.serve()
	programs := legacy(t, s)
	for _, c := range programs {
		from := c.name + "@example.com"
		at := func(name string) string { return name + "." + c.name + "@example.net" }
		if c.name == "scanner" || c.name == "mta" { // such as a bounce of its own
			c.send(letter{from: from, subject: "from nobody", to: []string{at("nobody1")}})
			c.send(letter{from: from, envelope: "nobody." + from, subject: "from somebody who gets no mail", to: []string{at("nobody1")}})
		}
		c.send(letter{from: from, envelope: from, subject: "한 통", to: []string{at("min")}, bcc: []string{at("hidden")}})
		c.send(letter{from: from, envelope: from, subject: "두 곳", to: []string{at("nobody2"), at("full2")}})
		c.send(letter{from: from, envelope: from, subject: "섞인 메일", to: []string{at("jin")}, bcc: []string{at("nobody3"), at("full3")}})
	}
	all := end.wait(s.gateway, 5*len(programs), func() string { return p.log() })
	s.settled("done")
	s.stop()
	if extra := len(end.arrivals()) - len(all); extra > 0 {
		t.Errorf("%d mails too many arrived", extra)
	}
	var mails, notices [][]byte
	got := map[string]int{}
	for _, a := range all {
		got[a.from+" "+strings.Join(a.to, ",")]++
		if a.from == "" {
			notices = append(notices, a.raw)
		} else {
			mails = append(mails, a.raw)
		}
	}
	want := map[string]int{}
	for _, c := range programs {
		for _, to := range []string{"min", "hidden", "jin"} {
			want[c.name+"@example.com "+to+"."+c.name+"@example.net"] = 1
		}
		want[" "+c.name+"@example.com"] = 2
	}
	if !maps.Equal(got, want) {
		t.Errorf("arrived: %v\nwant %v\n%s", got, want, s.log)
	}
	s.whole(all)
	s.read(slices.Concat(mails, notices)) // signed validly
	checkBounces(t, readBounces(t, notices), programs, p.log())
}

// whole holds what must not have happened to mails on their way.
func (s *shop) whole(all []arrival) {
	s.t.Helper()
	for _, a := range all {
		if a.from == "" {
			continue
		}
		text := strings.ReplaceAll(string(a.raw), "\r\n", "\n")
		head, body, _ := strings.Cut(text, "\n\n")
		if body != letterBody {
			s.t.Errorf("the body for %v is\n%q", a.to, body)
		}
		for _, name := range []string{"Date", "Message-ID", "From", "To", "Subject", "DKIM-Signature"} {
			if n := len(regexp.MustCompile(`(?mi)^`+name+`:`).FindAllString(head, -1)); n != 1 {
				s.t.Errorf("%s is %d times in\n%s", name, n, head)
			}
		}
		if m := regexp.MustCompile(`(?mi)^(List-.*|Bcc|X-Postern.*|Sender|Return-Path):.*`).FindString(head); m != "" {
			s.t.Errorf("%q is in\n%s", m, head)
		}
		if !regexp.MustCompile(`(?m)^Received: from [^:]+\n?[^:]*by gw\.example\.com `).MatchString(head) {
			s.t.Errorf("the gateway's Received is not in\n%s", head)
		}
		if strings.Contains(text, "hidden") && !strings.HasPrefix(a.to[0], "hidden") || regexp.MustCompile(`(nobody|full)\d`).MatchString(text) {
			s.t.Errorf("%v sees who else got the mail:\n%s", a.to, text)
		}
	}
}

// checkBounces wants one bounce for each mail that somebody did not get, with
// postfix's own words, as its log has them.
func checkBounces(t *testing.T, all []bounce, programs []old, log string) {
	t.Helper()
	said := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)reject: RCPT from \S+ (5.*?); from=<\S*> to=<(\S+)>`).FindAllStringSubmatch(log, -1) {
		said[m[2]] = m[1]
	}
	told := map[string]int{}
	for _, b := range all {
		i := slices.IndexFunc(programs, func(c old) bool { return c.name+"@example.com" == b.To })
		if i < 0 || b.Kind != "multipart/report" || b.Report != "delivery-status" || b.Auto != "auto-replied" || b.Message["reporting-mta"] != "dns; gw.example.com" ||
			!slices.Equal(b.Parts, []string{"text/plain", "message/delivery-status", "text/rfc822-headers"}) || b.Answers != originalID(b) {
			t.Errorf("a bounce is %+v", b)
			continue
		}
		c := programs[i]
		lead := map[string]string{"ko": "보내신 메일을 ", "en": "Your mail could not be delivered to "}[c.language]
		if !strings.HasPrefix(b.Text, lead) {
			t.Errorf("%s is told\n%s", c.name, b.Text)
		}
		for _, r := range b.Recipients {
			to := strings.TrimPrefix(r["final-recipient"], "rfc822; ")
			told[to]++
			status := "5.1.1"
			if strings.HasPrefix(to, "full") {
				status = "5.2.2"
			}
			if r["action"] != "failed" || r["status"] != status || said[to] == "" || r["diagnostic-code"] != "smtp; "+said[to] || r["last-attempt-date"] == "" {
				t.Errorf("of %s it says %v\nand postfix said %s", to, r, said[to])
			}
			if !strings.Contains(b.Text, to) || !strings.Contains(b.Text, said[to]) {
				t.Errorf("%s is not explained in\n%s", to, b.Text)
			}
		}
	}
	for _, c := range programs {
		for _, name := range []string{"nobody2", "full2", "nobody3", "full3"} {
			if to := name + "." + c.name + "@example.net"; told[to] != 1 {
				t.Errorf("%s is told %d times that %s got nothing", c.name, told[to], to)
			}
		}
	}
}

// originalID is the Message-ID in the header that a bounce quotes, where there is one.
func originalID(b bounce) string {
	if m := regexp.MustCompile(`(?mi)^Message-ID: *(\S+)`).FindStringSubmatch(b.Original); m != nil {
		return m[1]
	}
	return ""
}
