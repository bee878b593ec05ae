//go:build e2e

package main_test

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"postern/internal/peer"
)

func TestPerlAndPHPSubmit(t *testing.T) {
	submitted(t, map[string]client{
		"Net::SMTP": func(t *testing.T, _ *gateway, w way, subject string) *exec.Cmd {
			return scripted(peer.Command(t, "perl"), testdata(t, "submit.pl"), w, subject)
		},
		"PHPMailer": func(t *testing.T, _ *gateway, w way, subject string) *exec.Cmd {
			return scripted(peer.Command(t, "php"), testdata(t, "submit.php"), w, subject)
		},
	})
}

func TestPerlGuideIsFollowed(t *testing.T) {
	f := follow(t, "postfix-exim-nodemailer.md")
	f.write("send.pl", f.block("net-smtp"))
	f.run("perl", "send.pl")
	f.left("a@example.net Hello 김민")
}

func TestPHPGuideIsFollowed(t *testing.T) {
	f := follow(t, "php.md")
	f.write("msmtprc", f.block("msmtp"))
	f.write("php.ini", strings.Replace(f.block("php"), "/etc/msmtprc", filepath.Join(f.dir, "msmtprc"), 1))
	f.write("mail.php", f.block("mail"))
	f.run("php", "-c", "php.ini", "mail.php")
	f.write("phpmailer.php", strings.Replace(f.block("phpmailer"), "vendor/autoload.php", "/usr/share/php/libphp-phpmailer/autoload.php", 1))
	f.run("php", "phpmailer.php")
	f.left("min@example.net Test", "min@example.net 주문이 접수되었습니다")
}

// java compiles a program and gives how to run it in the gateway's directory,
// where Java trusts the certificates of the file.
func (g *gateway) java(source, trust string) func(args ...string) string {
	g.t.Helper()
	const jars = "/usr/share/java/javax.mail.jar:/usr/share/java/javax.activation.jar"
	compile := exec.Command(peer.Command(g.t, "javac"), "-encoding", "UTF-8", "-cp", jars, "-d", ".", source)
	g.mustRun("javac", compile)
	g.mustRun("keytool", exec.Command(peer.Command(g.t, "keytool"), "-importcert", "-noprompt", "-storetype", "PKCS12", "-keystore", "trust.p12", "-storepass", "changeit", "-file", trust))
	class := strings.TrimSuffix(filepath.Base(source), ".java")
	return func(args ...string) string {
		return g.mustRun(class, exec.Command(peer.Command(g.t, "java"), append([]string{"-Xmx128m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC",
			"-Djavax.net.ssl.trustStore=trust.p12", "-Djavax.net.ssl.trustStorePassword=changeit", "-cp", jars + ":.", class}, args...)...))
	}
}

func TestJavaGuideIsFollowed(t *testing.T) {
	f := follow(t, "java.md")
	f.write("mail.properties", f.block("jakarta-mail"))
	blocks := guideBlocks(t, f.file)
	program := blocks[slices.IndexFunc(blocks, func(b block) bool { return b.language == "java" })].text
	f.write("SendMail.java", strings.Replace(program, "PASSWORD", guidePassword, 1))
	f.java(filepath.Join(f.dir, "SendMail.java"), "cert.pem")()
	f.left("min@example.net 주문이 접수되었습니다")
}

func TestJavaMailSubmits(t *testing.T) {
	s := openShop(t, maildirLane)
	s.csv("a@example.net,김민,Female,true")
	s.serve()
	run := s.java(testdata(t, "java/Submit.java"), "ca.pem")
	submit := func(port, properties string, args ...string) string {
		s.t.Helper()
		s.write("mail.properties", fmt.Sprintf("mail.transport.protocol=smtp\nmail.smtp.host=localhost\nmail.smtp.localhost=localhost\nmail.smtp.port=%s\n"+
			"user=marketer@example.com\npassword=%s\n%s", port, password, properties))
		return run(append([]string{"mail.properties"}, args...)...)
	}
	const starttls = "mail.smtp.auth=true\nmail.smtp.starttls.enable=true\nmail.smtp.starttls.required=true\nmail.smtp.ssl.checkserveridentity=true\n"
	const list = "promo@lists.example.com"
	submit(s.plain, "", "plain {{Name}}", "2", list)
	submit(s.starttls, starttls+"mail.smtp.auth.mechanisms=LOGIN\n", "LOGIN {{Name}}", "1", list)
	submit(s.starttls, starttls+"mail.smtp.auth.mechanisms=PLAIN\nmail.smtp.userset=true\n", "PLAIN {{Name}}", "1", list)
	submit(s.implicit, "mail.smtp.auth=true\nmail.smtp.ssl.enable=true\n", "implicit {{Name}}", "1", list)
	if said := submit(s.starttls, starttls+"mail.smtp.chunksize=40000\ndebug=true\n", "chunks {{Name}}", "2", list); !strings.Contains(said, "\nBDAT 40000\n") {
		t.Errorf("JavaMail sent no chunks:\n%s", said)
	}
	if said := submit(s.starttls, starttls+"mail.smtp.reportsuccess=true\nmail.smtp.dsn.notify=SUCCESS,FAILURE\nmail.smtp.dsn.ret=HDRS\nmail.smtp.submitter=marketer@example.com\nmail.smtp.allow8bitmime=true\ndebug=true\n", "reports {{Name}}", "1", list); strings.Contains(said, "NOTIFY=") || strings.Contains(said, "RET=") {
		t.Errorf("JavaMail asks for reports that were not offered:\n%s", said)
	}
	list8, _ := s.out(8)
	want := []string{"LOGIN 김민 0", "PLAIN 김민 0", "chunks 김민 0", "chunks 김민 1", "implicit 김민 0", "plain 김민 0", "plain 김민 1", "reports 김민 0"}
	if got := subjects(list8); !slices.Equal(got, want) {
		t.Errorf("subjects %q", got)
	}
	for _, p := range list8 {
		if strings.ReplaceAll(p.Text, "\r\n", "\n")[:len("김민님, 주문이 접수되었습니다.\n.\n끝\n")] != "김민님, 주문이 접수되었습니다.\n.\n끝\n" || p.OneClick == "" {
			t.Errorf("%+v", p)
		}
	}
	s.empty()
	s.partially(submit)
	s.stop()
}

// partially sends to two good recipients and a bad one.
func (s *shop) partially(submit func(port, properties string, args ...string) string) {
	s.t.Helper()
	to := []string{"a@example.net", "nolist@lists.example.com", "b@example.net"}
	said := submit(s.plain, "", append([]string{"whole", "1"}, to...)...)
	if !strings.Contains(said, "sent null unsent [a@example.net, b@example.net] invalid [nolist@lists.example.com]") || !strings.Contains(said, "550 5.1.1") {
		s.t.Errorf("JavaMail says %s", said)
	}
	said = submit(s.plain, "mail.smtp.sendpartial=true\n", append([]string{"partial", "1"}, to...)...)
	if !strings.Contains(said, "sent [a@example.net, b@example.net] unsent [] invalid [nolist@lists.example.com]") || !strings.Contains(said, "550 5.1.1") {
		s.t.Errorf("JavaMail says %s", said)
	}
	s.settled("done")
	if n := len(s.outbox()); n != 2 {
		s.t.Errorf("%d mails went out", n)
	}
}
