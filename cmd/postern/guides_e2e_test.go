package main_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"postern/internal/peer"
)

// guidePassword is PASSWORD in the guides.
const guidePassword = "correct-horse-battery"

// followed is the gateway of a guide: its configuration to the letter, but for
// where it listens and where its mail leaves.
type followed struct {
	*gateway
	file  string
	ports map[string]string // as in the guide, to where it is
}

func follow(t *testing.T, file string) *followed {
	t.Helper()
	f := &followed{gateway: newGateway(t, ""), file: file, ports: map[string]string{}}
	config := f.settle(guideConfig(t, file))
	config = regexp.MustCompile(`(?m)^address = "([\d.]+:(\d+))"$`).ReplaceAllStringFunc(config, func(line string) string {
		port := line[strings.LastIndexByte(line, ':')+1 : len(line)-1]
		f.ports[port] = fmt.Sprint(peer.Port(t))
		return fmt.Sprintf("address = %q", "127.0.0.1:"+f.ports[port])
	})
	config = regexp.MustCompile(`proxy_protocol_from = .*`).ReplaceAllString(config, `proxy_protocol_from = ["127.0.0.1/32"]`)
	for from, to := range map[string]string{
		"driver = \"ses\"\n[lane.ses]\nregion = \"ap-northeast-2\"": "driver = \"maildir\"\n[lane.maildir]\npath = \"outbox\"",
		"[[dkim]]": "[[dkim]]\nselector = \"test\"",
		"[optout]": fmt.Sprintf("[admin]\nlisten = \"127.0.0.1:%d\"\n[optout]\nlisten = %q", peer.Port(t), f.web),
	} {
		if strings.Count(config, from) != 1 {
			t.Fatalf("the guides' configuration does not hold once: %s", from)
		}
		config = strings.Replace(config, from, to, 1)
	}
	f.write("config.toml", config)
	f.write("msmtp-password", guidePassword+"\n")
	f.csv("a@example.net,김민,Female,true")
	f.serve()
	return f
}

// block is a block of the guide with this machine's names in it.
func (f *followed) block(name string) string {
	f.t.Helper()
	text := guideBlock(f.t, f.file, name)
	for _, r := range [][2]string{
		{"postern.example.com", "localhost"}, {"10.0.0.5", "127.0.0.1"}, {"PASSWORD", guidePassword},
		{"/etc/ssl/certs/ca-certificates.crt", filepath.Join(f.dir, "cert.pem")},
		{"/etc/msmtp-password", filepath.Join(f.dir, "msmtp-password")},
	} {
		text = strings.ReplaceAll(text, r[0], r[1])
	}
	return regexp.MustCompile(`\b\d{2,5}\b`).ReplaceAllStringFunc(text, func(number string) string {
		if port, ok := f.ports[number]; ok {
			return port
		}
		return number
	})
}

// run runs a client, which must trust the gateway's certificate and succeed.
func (f *followed) run(name string, args ...string) string {
	f.t.Helper()
	cmd := exec.Command(peer.Command(f.t, name), args...)
	cmd.Dir = f.dir
	cmd.Env = append(os.Environ(), "SSL_CERT_FILE=cert.pem", "NODE_EXTRA_CA_CERTS=cert.pem", "CURL_CA_BUNDLE=cert.pem", "NODE_PATH="+peer.NodeModules(f.t))
	out, err := cmd.CombinedOutput()
	if err != nil {
		f.t.Fatalf("%s: %s %s: %v\n%s\n%s", f.file, name, strings.Join(args, " "), err, out, f.log)
	}
	return string(out)
}

func (f *followed) shell(block string) string {
	f.t.Helper()
	return f.run("sh", "-c", f.block(block))
}

// left wants copies with exactly these recipients and Subjects, and ends the gateway.
func (f *followed) left(want ...string) []parsed {
	f.t.Helper()
	f.settled("done")
	copies := f.read(f.outbox())
	var got []string
	for _, p := range copies {
		got = append(got, p.To[0]+" "+p.Subject)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		f.t.Errorf("%s: what left is\n%q, want\n%q", f.file, got, want)
	}
	f.stop()
	return copies
}

func TestGuideOverviewIsFollowed(t *testing.T) {
	f := follow(t, "README.md")
	for _, name := range []string{"swaks-587", "swaks-465"} {
		if out := f.shell(name); !strings.Contains(out, "250 2.0.0 queued as 01") {
			t.Errorf("%s: %s", name, out)
		}
	}
	f.left("a@example.net Test 김민", "a@example.net Test 김민")
}

// TestGuideShowsWhatSessionsSays has a device fail as the overview's does, and
// compares all but addresses and times.
func TestGuideShowsWhatSessionsSays(t *testing.T) {
	f := follow(t, "README.md")
	device := exec.Command(peer.Command(t, "swaks"), "--server", "127.0.0.1", "--port", f.ports["587"], "--helo", "scanner1", "--from", "scanner@example.com", "--to", "min@example.net")
	if out, err := device.CombinedOutput(); err == nil {
		t.Fatalf("a device without a log-in could send:\n%s", out)
	}
	same := func(text string) string {
		for _, r := range [][2]string{
			{`(?m)^Session .*$`, "Session"}, {`(?m)^When .*$`, "When"}, {`(?m)^ *\d+ ms`, "ms"},
		} {
			text = regexp.MustCompile(r[0]).ReplaceAllString(text, r[1])
		}
		return strings.TrimSpace(text)
	}
	said, shown := same(f.gateway.run("sessions", "127.0.0.1", "--failed")), same(guideBlock(t, "README.md", "sessions"))
	if said != shown {
		t.Errorf("postern sessions says\n%s\nand the guide\n%s", said, shown)
	}
	f.stop()
}

func TestGuidePHPIsFollowed(t *testing.T) {
	f := follow(t, "php.md")
	f.write("msmtprc", f.block("msmtp"))
	f.write("mail.eml", "To: min@example.net\nFrom: www-data@web1.example.com\nSubject: Order\n\nThank you.\n.\nThe Shop\n")
	command, ok := strings.CutPrefix(strings.TrimSpace(f.block("php")), "sendmail_path = ")
	if !ok {
		t.Fatalf("no sendmail_path in %s", f.block("php"))
	}
	command = strings.Replace(strings.Trim(command, `"`), "/etc/msmtprc", "msmtprc", 1)
	f.run("sh", "-c", command+" <mail.eml")
	for _, p := range f.left("min@example.net Order") {
		if p.From != "shop@example.com" || !strings.Contains(p.Text, "The Shop") {
			t.Errorf("%+v", p)
		}
	}
}

func TestGuideScannersIsFollowed(t *testing.T) {
	f := follow(t, "scanners.md")
	f.shell("swaks-scanner")
	if out := f.shell("openssl-tls10"); !strings.Contains(out, "TLSv1,") && !strings.Contains(out, ": TLSv1\n") {
		t.Errorf("no TLS 1.0: %s", out)
	}
	f.left("min@example.net Scan")
}

func TestGuideScriptsIsFollowed(t *testing.T) {
	f := follow(t, "postfix-exim-nodemailer.md")
	f.write("send.js", f.block("nodemailer"))
	f.run("node", "send.js")
	f.write("send.py", f.block("smtplib"))
	f.run(peer.Python, "send.py")
	f.write("mail.eml", strings.ReplaceAll(mailOf("curl", "promo@lists.example.com", "curl {{Name}}", "Dear {{Name}}"), "\n", "\r\n"))
	f.shell("curl")
	f.left("a@example.net 안녕하세요 김민", "a@example.net 안녕하세요 김민", "a@example.net curl 김민")
}

// TestGuideLoadBalancerIsFollowed sends through HAProxy as 127.0.0.77, which must
// stand in Received: HAProxy itself comes from 127.0.0.1.
func TestGuideLoadBalancerIsFollowed(t *testing.T) {
	f := follow(t, "load-balancer.md")
	front := map[string]string{}
	config := regexp.MustCompile(`bind :(\d+)`).ReplaceAllStringFunc(f.block("haproxy"), func(bind string) string {
		_, port, _ := strings.Cut(bind, ":")
		for guide, here := range f.ports {
			if here == port {
				port = guide
			}
		}
		front[port] = fmt.Sprint(peer.Port(t))
		return "bind 127.0.0.1:" + front[port]
	})
	f.write("haproxy.cfg", config)
	var port int
	if _, err := fmt.Sscan(front["587"], &port); err != nil {
		t.Fatalf("HAProxy's ports are %v: %v", front, err)
	}
	peer.Start(t, port, peer.Command(t, "haproxy"), "-db", "-f", filepath.Join(f.dir, "haproxy.cfg"))
	for _, way := range [][2]string{{"587", "--tls"}, {"465", "--tls-on-connect"}} {
		f.run("swaks", "--server", net.JoinHostPort("127.0.0.1", front[way[0]]), way[1], "--local-interface", "127.0.0.77",
			"--auth", "PLAIN", "--auth-user", "marketer@example.com", "--auth-password", guidePassword,
			"--from", "marketer@example.com", "--to", "min@example.net", "--header", "Subject: "+way[0])
	}
	for _, p := range f.outbox() {
		if !strings.Contains(string(p), "[127.0.0.77]") {
			t.Errorf("the client's address is not in\n%.600s", p)
		}
	}
	f.left("min@example.net 465", "min@example.net 587")
}
