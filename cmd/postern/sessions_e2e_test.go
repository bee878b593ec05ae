package main_test

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// typed is what people type into the fields of a device: none of it may be seen
// again.
const typed = "Tr0ub4dor-Und-3"

// device is a scanner that says its lines one after the other, whatever it is
// told, and hangs up when there are no more.
func device(t *testing.T, from, gateway string, lines ...string) {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: time.Minute}
	c, err := d.Dial("tcp", gateway)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	r := bufio.NewReader(c)
	for _, line := range append([]string{""}, lines...) {
		if line != "" {
			if _, err := io.WriteString(c, line+"\r\n"); err != nil {
				return
			}
		}
		for reply := "000-"; len(reply) > 3 && reply[3] == '-'; {
			if reply, err = r.ReadString('\n'); err != nil {
				return
			}
		}
	}
}

func TestAnAdministratorSeesWhyDevicesCannotSend(t *testing.T) {
	hash, err := bcrypt.GenerateFromPassword([]byte("open sesame"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	g := newGateway(t, fmt.Sprintf(`
[[admin.user]]
username = "boss"
password_hash = %q
role = "admin"
[[smtp.account]]
username = "scanner@example.com"
password_hash = %q
send_as = ["*@example.com"]
relay = true
`, hash, hash)+maildirLane)
	raw, err := os.ReadFile(filepath.Join(g.dir, "config.toml"))
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	admin := regexp.MustCompile(`\[admin\]\s+listen = "([^"]+)"`).FindStringSubmatch(text)[1]
	text = strings.Replace(text, "[[smtp.network]]", "insecure_auth = true\nauth = \"required\"\n[[smtp.network]]", 1)
	g.write("config.toml", strings.Replace(text, `cidr = "127.0.0.0/8"`, `cidr = "127.0.0.1/32"`, 1))
	g.serve()

	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	name, mail := b64("scanner@example.com"), "MAIL FROM:<scanner@example.com>"
	device(t, "127.0.9.1", g.addr, "EHLO s1", "AUTH LOGIN", name, b64(typed), mail, "QUIT")
	device(t, "127.0.9.2", g.addr, "EHLO s2", "AUTH LOGIN "+b64(typed), b64(typed), "QUIT") // the password in both fields
	device(t, "127.0.9.3", g.addr, "EHLO s3", "AUTH CRAM-MD5", b64("scanner@example.com "+typed), typed, "QUIT")
	device(t, "127.0.9.4", g.addr, "HELO s4", mail, "RCPT TO:<min@example.net>", "DATA", "Subject: "+typed, typed, ".")
	device(t, "127.0.9.5", g.addr, "EHLO s5", "AUTH PLAIN "+b64("\x00scanner@example.com\x00open sesame"), "MAIL FROM:<scanner@example.org>", "QUIT")
	device(t, "127.0.9.6", g.addr, "EHLO s6", "AUTH PLAIN "+b64("\x00scanner@example.com\x00open sesame"), mail, "RCPT TO:<min@example.net>", "DATA", "From: scanner@example.com\r\nSubject: "+typed+"\r\n\r\n"+typed+"\r\n.", "QUIT")
	device(t, "127.0.9.7", g.addr, "AUTH "+typed, "STARTTLS", "EHLO s7", "AUTH "+typed, "USER "+typed, "NOOP "+typed, "QUIT")
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("127.0.9.8")}}
	if c, err := tls.DialWithDialer(&d, "tcp", g.addr, &tls.Config{ServerName: "gw.example.com"}); err == nil {
		c.Close()
		t.Fatal("TLS on a plain port")
	}

	for address, want := range map[string]string{
		"127.0.9.1": "wrong-password", "127.0.9.2": "user-unknown", "127.0.9.3": "auth-mechanism", "127.0.9.4": "helo-and-login",
		"127.0.9.5": "send-as", "127.0.9.6": "ok", "127.0.9.7": "auth-mechanism", "127.0.9.8": "tls-on-plain-port",
	} {
		g.wait(address+" failed for "+want, func() (string, bool) {
			var all []struct{ Reason, Cause, Ended string }
			if err := json.Unmarshal([]byte(g.run("sessions", address, "--json")), &all); err != nil {
				t.Fatal(err)
			}
			return fmt.Sprint(all), len(all) == 1 && all[0].Reason == want && all[0].Ended != ""
		})
	}
	shown := g.run("sessions") + g.run("sessions", "--json") + g.run("sessions", "127.0.9.0/24") + g.log.String() + g.pages("http://"+admin)
	for _, secret := range []string{typed, strings.ToUpper(typed), b64(typed), b64("scanner@example.com " + typed), "open sesame", b64("\x00scanner@example.com\x00open sesame"), "0UB4"} {
		if strings.Contains(shown, secret) {
			t.Errorf("%q is shown in\n%s", secret, shown)
		}
	}
	if !strings.Contains(shown, "might be a password in the wrong field") || strings.Count(shown, "(response not shown)") < 6 {
		t.Errorf("it says\n%s", shown)
	}
	g.stop()
}

// pages are those of the sessions, as a browser that has logged in gets them.
func (g *gateway) pages(base string) string {
	g.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		g.t.Fatal(err)
	}
	c := http.Client{Jar: jar, Timeout: time.Minute}
	get := func(path string) string {
		resp, err := c.Get(base + path)
		if err != nil {
			g.t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			g.t.Fatalf("%s: %s %v %s", path, resp.Status, err, text)
		}
		return string(text)
	}
	resp, err := c.PostForm(base+"/login", url.Values{"username": {"boss"}, "password": {"open sesame"}})
	if err != nil {
		g.t.Fatal(err)
	}
	resp.Body.Close()
	list := get("/sessions")
	links := regexp.MustCompile(`href="(/sessions/[0-9a-f]+)"`).FindAllStringSubmatch(list, -1)
	if len(links) != 8 {
		g.t.Errorf("the page lists %d sessions: %s", len(links), list)
	}
	for _, l := range links {
		list += get(l[1])
	}
	return list
}
