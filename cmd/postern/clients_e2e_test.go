package main_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"postern/internal/peer"
)

// mustRun runs a client in the gateway's directory and gives what it said.
func (g *gateway) mustRun(name string, cmd *exec.Cmd) string {
	g.t.Helper()
	cmd.Dir = g.dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		g.t.Fatalf("%s: %v\n%s\n%s", name, err, out, g.log)
	}
	return string(out)
}

// speak plays one of testdata/dialogues.py and gives the last reply.
func (s *shop) speak(client string) string {
	s.t.Helper()
	cmd := exec.Command(peer.Python, testdata(s.t, "dialogues.py"), client)
	cmd.Env = append(os.Environ(), "PASSWORD="+password, "PLAIN="+s.plain, "STARTTLS="+s.starttls, "IMPLICIT="+s.implicit, "DEVICES="+s.devices, "OLD="+s.old)
	lines := strings.Split(strings.TrimSpace(s.mustRun(client, cmd)), "\n")
	return lines[len(lines)-1]
}

// out gives the mails that have left, once n have, as Python reads them.
func (g *gateway) out(n int) ([]parsed, [][]byte) {
	g.t.Helper()
	g.settled("done")
	mails := g.outbox()
	if len(mails) != n {
		g.t.Fatalf("%d mails went out, want %d\n%s", len(mails), n, g.log)
	}
	return g.read(mails), mails
}

func subjects(list []parsed) []string {
	var all []string
	for _, p := range list {
		all = append(all, p.Subject)
	}
	slices.Sort(all)
	return all
}

func TestOutlookAndPowerShellSubmit(t *testing.T) {
	s := openShop(t, maildirLane)
	s.csv("a@example.net,김민,Female,true")
	s.serve()
	for _, client := range []string{"outlook", "outlook_on_465", "powershell"} {
		s.speak(client)
	}
	list, _ := s.out(3)
	if got := subjects(list); !slices.Equal(got, []string{"안녕 김민 outlook", "안녕 김민 outlook", "안녕 김민 powershell"}) {
		t.Errorf("subjects %q", got)
	}
	for _, p := range list {
		html := strings.HasSuffix(p.Subject, "outlook")
		if !strings.HasPrefix(p.Text, "안녕하세요 김민님") || html && !strings.Contains(p.HTML, "안녕하세요 ") || html && !strings.Contains(p.HTML, "김민") {
			t.Errorf("%q has the text %q and the HTML %q", p.Subject, p.Text, p.HTML)
		}
	}
	s.stop()
}

func TestOutlookSendsAgainWhenThe250WasLost(t *testing.T) {
	t.Parallel()
	s := openShop(t, maildirLane)
	s.csv("a@example.net,김민,Female,true")
	s.serve()
	reply := s.speak("outlook_that_loses_the_250")
	s.out(1)
	if m := s.messages(); len(m) != 1 || !strings.HasSuffix(reply, "queued as "+m[0].ID) {
		t.Errorf("%q, and the messages are %+v", reply, m)
	}
	s.stop()
}

func TestDevicesRelay(t *testing.T) {
	s := openShop(t, maildirLane)
	s.serve()
	devices := []string{"scanner", "scanner_with_login", "scanner_with_tls_of_1999"}
	for _, device := range devices {
		s.speak(device)
	}
	list, mails := s.out(len(devices))
	if got := subjects(list); !slices.Equal(got, devices) {
		t.Errorf("subjects %q", got)
	}
	for i, p := range list {
		if p.MessageID == "" || header(mails[i], "Date") == "" || p.From != "scanner@example.com" || p.To[0] != "office@example.net" || p.Unsubscribe != "" {
			t.Errorf("%+v", p)
		}
		if !bytes.Contains(mails[i], []byte("\r\nJVBERi0xLjQK\r\n--scan--\r\n")) {
			t.Errorf("the file is not as it was sent:\n%s", mails[i])
		}
	}
	s.stop()
}

func TestSAPRelaysLongLinesOfKorean(t *testing.T) {
	s := openShop(t, maildirLane)
	s.serve()
	s.speak("sap")
	_, mails := s.out(1)
	// "주문 확인 " in EUC-KR, 500 times on each of two lines, the second after a dot.
	line := bytes.Repeat([]byte("\xc1\xd6\xb9\xae \xc8\xae\xc0\xce "), 500)
	want := slices.Concat(line, []byte("\r\n."), line, []byte("\r\n"))
	if _, body, _ := bytes.Cut(mails[0], []byte("\r\n\r\n")); !bytes.Equal(body, want) {
		t.Errorf("the body is %.200q", body)
	}
	s.stop()
}

func TestExchangeSendsChunks(t *testing.T) {
	s := openShop(t, maildirLane)
	s.serve()
	s.speak("exchange")
	s.speak("eager")
	list, mails := s.out(9)
	want := []string{"eager IMPLICIT 0", "eager IMPLICIT 1", "eager IMPLICIT 2", "eager PLAIN 0", "eager PLAIN 1", "eager PLAIN 2", "exchange 0", "exchange 1", "exchange 2"}
	if got := subjects(list); !slices.Equal(got, want) {
		t.Errorf("subjects %q", got)
	}
	for _, m := range mails {
		if !bytes.Contains(m, []byte("JVBERi0xLjQK\r\n--scan--\r\n")) {
			t.Errorf("a chunk is missing:\n%s", m)
		}
	}
	s.stop()
}

func TestNodemailerSendsPicturesOverPooledConnections(t *testing.T) {
	t.Parallel()
	s := openShop(t, maildirLane)
	s.csv("a@example.net,김민,Female,true")
	s.serve()
	s.mustRun("nodemailer", scripted(peer.Command(t, "node"), testdata(t, "pool.js"), way{port: s.implicit}, "", "NODEMAILER="+filepath.Join(peer.NodeModules(t), "nodemailer")))
	list, mails := s.out(5)
	want := []string{"소식 0 김민", "소식 1 김민", "소식 2 김민", "소식 3 김민", "소식 4 김민"}
	if got := subjects(list); !slices.Equal(got, want) {
		t.Errorf("subjects %q", got)
	}
	for i, p := range list {
		if !strings.Contains(p.HTML, `김민님 <img src="cid:logo@shop"`) || !strings.HasPrefix(p.Text, "김민님") || p.OneClick == "" {
			t.Errorf("%+v", p)
		}
		for _, part := range []string{"Content-Id: <logo@shop>", "iVBORw0KGgoA/w==", base64.StdEncoding.EncodeToString([]byte("%PDF %PDF %PDF "))} {
			if !bytes.Contains(bytes.ReplaceAll(mails[i], []byte("Content-ID"), []byte("Content-Id")), []byte(part)) {
				t.Errorf("%q is not in the copy", part)
			}
		}
	}
	s.stop()
}

func TestSwaksRelaysInEveryManner(t *testing.T) {
	s := openShop(t, maildirLane)
	s.serve()
	manners := [][]string{{"--port", s.plain, "--protocol", "SMTP", "--helo", "printer"}, {"--port", s.plain, "--pipeline"}, {"--port", s.plain, "--helo", "[127.0.0.1]"},
		{"--port", s.starttls, "--tls", "--pipeline", "--auth", "PLAIN"}, {"--port", s.implicit, "--tls-on-connect", "--auth", "LOGIN"}}
	var want []string
	for i, manner := range manners {
		subject := fmt.Sprintf("manner %d", i)
		want = append(want, subject)
		args := append([]string{"--server", "localhost", "--from", "erp@example.com", "--to", "one@example.net,two@example.net", "--h-To", "one@example.net",
			"--h-Subject", subject, "--body", "first\n.\n..\nlast", "--auth-user", "marketer@example.com", "--auth-password", password}, manner...)
		if !slices.Contains(manner, "--auth") {
			args = slices.DeleteFunc(args, func(a string) bool {
				return strings.HasPrefix(a, "--auth") || a == "marketer@example.com" || a == password
			})
		}
		s.mustRun("swaks", exec.Command(peer.Command(t, "swaks"), args...))
	}
	list, _ := s.out(2 * len(manners))
	got := subjects(list)
	if !slices.Equal(slices.Compact(got), want) {
		t.Errorf("subjects %q", got)
	}
	for _, p := range list {
		if !strings.HasPrefix(strings.ReplaceAll(p.Text, "\r\n", "\n"), "first\n.\n..\nlast\n") || p.From != "erp@example.com" {
			t.Errorf("%+v", p)
		}
	}
	s.stop()
}
