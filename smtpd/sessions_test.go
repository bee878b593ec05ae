package smtpd_test

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/smtpd"
	"postern/smtpd/dialogue"
)

// secret stands in every place of these dialogues where a credential or a mail
// may be.
const secret = "zQ7-sEcReT"

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// ended waits for the newest session, and for its end.
func ended(t *testing.T, s *smtpd.Server) dialogue.Session {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		for d := range s.Sessions().Sessions() {
			if !d.Ended.IsZero() {
				return d
			}
		}
		if t.Context().Err() != nil {
			break
		}
	}
	t.Fatal("no session ended")
	return dialogue.Session{}
}

// said is the dialogue as a text.
func said(d dialogue.Session) string {
	var b strings.Builder
	for _, l := range d.Lines {
		b.WriteString(strings.ToUpper((l.Who + "-")[:1]) + ": " + l.Text + "\n")
	}
	return b.String()
}

// keepsSecrets looks for the secret, in the clear and in base64, in all that is
// shown.
func keepsSecrets(t *testing.T, shown string) {
	t.Helper()
	for _, s := range []string{secret, strings.ToUpper(secret), b64(secret), b64("\x00marketer@example.com\x00" + secret), "sEcR"} {
		if strings.Contains(shown, s) {
			t.Errorf("%q is shown in\n%s", s, shown)
		}
	}
}

func TestSessionsSayWhyAClientFailed(t *testing.T) {
	gw := newIdentity(t)
	// shake has a client fail at TLS, at once or after STARTTLS.
	shake := func(config func(*tls.Config)) func(*testing.T, *client) {
		return func(t *testing.T, c *client) {
			conf := gw.client()
			config(conf)
			tc := tls.Client(c.conn, conf)
			if err := tc.Handshake(); err == nil {
				_, _ = tc.Read(make([]byte, 1)) // of TLS 1.3 the server's refusal comes later
			}
		}
	}
	after := func(then func(*testing.T, *client)) func(*testing.T, *client) {
		return func(t *testing.T, c *client) {
			c.want("220")
			c.do("EHLO scanner1", "250")
			c.do("STARTTLS", "220")
			then(t, c)
		}
	}
	lines := func(all ...string) func(*testing.T, *client) {
		return func(t *testing.T, c *client) {
			c.want("220")
			for i := 0; i+1 < len(all); i += 2 {
				c.do(all[i], all[i+1])
			}
		}
	}
	for _, test := range []struct {
		name   string
		listen func(*smtpd.Config)
		client func(*testing.T, *client)
		reason string
		lines  string // of the dialogue, in this order; "" for none in particular
	}{
		{"everything goes well", nil, lines("EHLO a", "250", "MAIL FROM:<a@example.com> SIZE=30", "250", "RCPT TO:<b@example.net>", "250", "DATA", "354",
			"Subject: "+secret+"\r\n\r\n"+secret+"\r\n.", "250", "QUIT", "221"), "ok", "C: (38 octets of mail)\nS: 250 2.0.0 queued as"},
		{"by BDAT", nil, lines("EHLO a", "250", "MAIL FROM:<a@example.com>", "250", "RCPT TO:<b@example.net>", "250", "BDAT 12\r\n"+secret, "250", "BDAT 12 LAST\r\n"+secret, "250", "QUIT", "221"),
			"ok", "C: BDAT 12\nC: (12 octets of mail)\nS: 250 2.0.0 Continue\nC: BDAT 12 LAST\nC: (12 octets of mail)\nS: 250 2.0.0 queued as"},
		{"TLS on a plain port", nil, shake(func(*tls.Config) {}), "tls-on-plain-port", "C: (this is TLS without STARTTLS; not shown)"},
		{"plain on a TLS port", implicitly, func(t *testing.T, c *client) { c.send("EHLO x\r\nAUTH PLAIN " + b64(secret) + "\r\n") }, "plain-on-tls-port", ""},
		{"silence on a TLS port", implicitly, func(*testing.T, *client) {}, "silent-on-tls-port", ""},
		{"old TLS at once", implicitly, shake(func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS10 }), "tls-too-old", ""},
		{"old TLS after STARTTLS", starttls, after(shake(func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 })), "tls-too-old", ""},
		{"RSA only", starttls, after(shake(func(c *tls.Config) {
			c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
		})), "rsa-only", ""},
		{"unknown authority at once, TLS 1.3", implicitly, shake(func(c *tls.Config) { c.RootCAs = nil }), "certificate-refused", ""},
		{"unknown authority after STARTTLS, TLS 1.3", starttls, after(shake(func(c *tls.Config) { c.RootCAs = nil })), "certificate-refused", ""},
		{"unknown authority after STARTTLS, TLS 1.2", starttls, after(shake(func(c *tls.Config) { c.RootCAs, c.MaxVersion = nil, tls.VersionTLS12 })), "certificate-refused", ""},
		{"another name", starttls, after(shake(func(c *tls.Config) { c.ServerName = "mail.example.net" })), "certificate-name", ""},
		{"hang-up in the handshake", starttls, after(func(t *testing.T, c *client) { c.send("\x16\x03\x01\x00\x05") }), "tls-broken-off", ""},
		{"plain after STARTTLS", starttls, after(func(t *testing.T, c *client) { c.send("AUTH PLAIN " + b64(secret) + "\r\n") }), "plain-after-starttls", ""},
		{"hang-up after the handshake", starttls, after(func(t *testing.T, c *client) { c.startTLS(gw) }), "left-after-starttls", ""},
		{"AUTH before STARTTLS", starttls, lines("EHLO x", "250", "AUTH PLAIN "+b64("\x00a\x00"+secret), "538", "QUIT", "221"),
			"auth-before-tls", "C: AUTH PLAIN (response not shown)\nS: 538 5.7.11 AUTH is taken only after STARTTLS"},
		{"a mechanism that is not known", insecure, lines("EHLO x", "250", "AUTH NTLM "+b64(secret), "504", "QUIT", "221"), "auth-mechanism", "S: 504 5.5.4 NTLM is not known here; use PLAIN or LOGIN"},
		{"a password as the mechanism", insecure, lines("EHLO x", "250", "AUTH "+secret, "504", "QUIT", "221"), "auth-mechanism", "C: AUTH (not shown)\nS: 504 5.5.4 (text not shown)"},
		{"name and password behind a refused AUTH", insecure, func(t *testing.T, c *client) {
			c.send("EHLO x\r\nAUTH CRAM-MD5\r\n" + b64(secret) + "\r\n" + secret + "\r\nQUIT\r\n")
			for _, code := range []string{"220", "250", "504", "501", "501", "221"} {
				c.want(code)
			}
		}, "auth-mechanism", "S: 504 5.5.4 CRAM-MD5 is not known here; use PLAIN or LOGIN\nC: (18 octets that are no SMTP command)\nS: 501 5.5.2 (text not shown)\nC: (12 octets that are no SMTP command)\nS: 501 5.5.2 (text not shown)\nC: QUIT"},
		{"a wrong password", insecure, lines("EHLO x", "250", "AUTH LOGIN", "334", b64("marketer@example.com"), "334", b64(secret), "535", "QUIT", "221"),
			"wrong-password", "S: 334 VXNlcm5hbWU6\nC: (response not shown)\nS: 334 UGFzc3dvcmQ6\nC: (response not shown)\nS: 535 5.7.8 user name or password is wrong"},
		{"a password as the name", insecure, lines("EHLO x", "250", "AUTH LOGIN", "334", b64(secret), "334", b64(secret), "535", "QUIT", "221"), "user-unknown", ""},
		{"a name misspelt", insecure, lines("EHLO x", "250", "AUTH PLAIN", "334", b64("\x00marketr@example.com\x00"+secret), "535", "QUIT", "221"), "user-unknown", ""},
		{"no log-in", func(c *smtpd.Config) { insecure(c); c.Listeners[0].Auth = "required" }, lines("EHLO x", "250", "MAIL FROM:<a@example.com>", "530", "QUIT", "221"), "login-missing", ""},
		{"no log-in by HELO", func(c *smtpd.Config) { insecure(c); c.Listeners[0].Auth = "required" }, lines("HELO x", "250", "MAIL FROM:<a@example.com>", "530", "QUIT", "221"), "helo-and-login", ""},
		{"send_as", nil, lines("EHLO x", "250", "MAIL FROM:<a@example.org>", "550", "QUIT", "221"), "send-as", ""},
		{"no network", func(c *smtpd.Config) { c.Networks = nil }, lines("EHLO x", "250", "MAIL FROM:<a@example.org>", "250", "RCPT TO:<b@example.net>", "550", "QUIT", "221"), "stranger", ""},
		{"no network, and all of a mail's commands at once", func(c *smtpd.Config) { c.Networks = nil }, lines("EHLO x", "250",
			"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\nDATA", "250", "QUIT", "550", "NOOP", "502"), "stranger", ""},
		{"a bare LF", func(c *smtpd.Config) { c.Listeners[0].BareNewline = "reject" }, lines("EHLO x", "250", "MAIL FROM:<a@example.com>", "250", "RCPT TO:<b@example.net>", "250", "DATA", "354",
			"a: "+secret+"\nb\r\n.", "554", "QUIT", "221"), "bare-newline", ""},
		{"too big by SIZE", nil, lines("EHLO x", "250", "MAIL FROM:<a@example.com> SIZE=99999999", "552", "QUIT", "221"), "too-big", ""},
		{"too many recipients", func(c *smtpd.Config) { c.MaxRecipients = 1 }, lines("EHLO x", "250", "MAIL FROM:<a@example.com>", "250", "RCPT TO:<b@example.net>", "250", "RCPT TO:<c@example.net>", "452", "QUIT", "221"), "too-many-recipients", ""},
		{"not ASCII", nil, lines("EHLO x", "250", "MAIL FROM:<a@example.com>", "250", "RCPT TO:<김민@example.net>", "553", "QUIT", "221"), "non-ascii-address", "C: RCPT TO:<김민@example.net>"},
		{"a mail behind a refused DATA", nil, lines("EHLO x", "250", "DATA", "502", "Subject: "+secret, "501", "MAIL FROM:<"+secret+"@example.com>", "250", "QUIT", "221"),
			"bad-sequence", "C: (21 octets after the refused DATA)\nS: 501 5.5.2 (text not shown)\nC: (36 octets after the refused DATA)\nS: 250 2.0.0 (text not shown)"},
		{"gone after EHLO", starttls, lines("EHLO x", "250"), "left-after-ehlo", ""},
		{"gone in DATA", nil, lines("EHLO x", "250", "MAIL FROM:<a@example.com>", "250", "RCPT TO:<b@example.net>", "250", "DATA\r\n"+secret+"\r\n"+secret, "354"), "cut-in-mail", "octets of a mail that did not end)"},
		{"gone without a word", nil, func(t *testing.T, c *client) { c.want("220") }, "nothing-said", ""},
		{"no line end", nil, func(t *testing.T, c *client) { c.want("220"); c.send("EHLO x\r") }, "no-line-end", ""},
		{"silence", impatient, func(t *testing.T, c *client) { c.want("220"); c.want("421") }, "silent", ""},
		{"silence in DATA", impatient, lines("EHLO x", "250", "MAIL FROM:<a@example.com>", "250", "RCPT TO:<b@example.net>", "250", "DATA\r\n"+secret, "354", secret, "421"), "slow-in-mail", ""},
		{"a browser", nil, func(t *testing.T, c *client) {
			c.want("220")
			c.send("GET /" + secret + " HTTP/1.1\r\nCookie: " + secret + "\r\n\r\n")
			c.want("501")
		}, "http", "C: (this is HTTP; not shown)"},
		{"a POP3 client", nil, lines("USER "+secret, "500", "PASS "+secret, "500"), "mail-reader", ""},
		{"a PROXY header from a stranger", nil, lines("PROXY TCP4 10.0.0.1 10.0.0.2 1 2", "501"), "proxy-not-expected", ""},
		{"no PROXY header", func(c *smtpd.Config) {
			c.Listeners[0].ProxyProtocolFrom = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
		},
			func(t *testing.T, c *client) { c.send("EHLO x\r\n"); c.ends() }, "proxy-header", ""},
		{"nonsense", nil, lines("EHLO x", "250", "XYZZ "+secret, "500", secret, "501", "QUIT", "221"), "not-smtp", "S: 500 5.5.2 (text not shown)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var log logs
			conf := config(t, &intake{})
			conf.GetCertificate = gw.get
			conf.Log = slog.New(slog.NewTextHandler(&log, nil))
			if test.listen != nil {
				test.listen(&conf)
			}
			s := start(t, conf)
			c := dial(t, s.Addrs()[0], "")
			test.client(t, c)
			c.conn.Close()
			d := ended(t, s)
			text, err := json.Marshal(d)
			if err != nil {
				t.Fatal(err)
			}
			if d.Reason != test.reason || !strings.Contains(said(d), test.lines) {
				t.Errorf("%s: %s\n%+v\n%s", d.Reason, d.Cause, d.TLS, said(d))
			}
			keepsSecrets(t, string(text)+log.String())
			if d.Remote != c.conn.LocalAddr().String() || d.Listener != s.Addrs()[0].String() {
				t.Errorf("from %s to %s", d.Remote, d.Listener)
			}
		})
	}
}

func implicitly(c *smtpd.Config) { c.Listeners[0].TLS = "implicit" }
func starttls(c *smtpd.Config)   { c.Listeners[0].TLS = "starttls" }
func insecure(c *smtpd.Config)   { c.Listeners[0].InsecureAuth = true }
func impatient(c *smtpd.Config)  { c.ReadTimeout = 50 * time.Millisecond }

func TestSessionsShowTLSAndTheLogIn(t *testing.T) {
	gw := newIdentity(t)
	conf := config(t, &intake{})
	conf.GetCertificate = gw.get
	starttls(&conf)
	s := start(t, conf)
	c := dial(t, s.Addrs()[0], "")
	c.want("220")
	c.do("EHLO laptop", "250")
	c.do("STARTTLS", "220")
	c.startTLS(gw)
	c.do("EHLO laptop", "250")
	c.do("AUTH PLAIN "+b64("\x00relay@example.com\x00battery staple"), "235")
	c.do("MAIL FROM:<a@example.com>", "250")
	c.do("RCPT TO:<b@example.net>", "250")
	c.do("DATA", "354")
	id := strings.TrimPrefix(c.do("x: y\r\n.", "250"), "250 2.0.0 queued as ")
	c.do("QUIT", "221")
	d := ended(t, s)
	want := dialogue.TLS{Version: "TLS 1.3", Cipher: d.TLS.Cipher, ServerName: "localhost"}
	if d.TLS != want || !strings.HasPrefix(d.TLS.Cipher, "TLS_") || d.Auth != (dialogue.Auth{Mechanism: "PLAIN", User: "relay@example.com", OK: true}) ||
		!slices.Equal(d.Mails, []string{id}) || d.Accepted != 1 || d.Outcome != dialogue.Sent || d.Helo != "laptop" || d.Octets == 0 {
		t.Errorf("%+v", d)
	}
	keepsSecrets(t, said(d))
	if strings.Contains(said(d), b64("\x00relay@example.com\x00battery staple")) {
		t.Errorf("the log-in is shown:\n%s", said(d))
	}
}

// bundle holds back what is written until it is told to send, so that several TLS
// records come in one piece.
type bundle struct {
	net.Conn
	held    bytes.Buffer
	holding bool
}

func (b *bundle) Write(p []byte) (int, error) {
	if b.holding {
		return b.held.Write(p)
	}
	return b.Conn.Write(p)
}

func TestSessionsPairWhatIsPipelinedInOnePieceOfTLS(t *testing.T) {
	gw := newIdentity(t)
	conf := config(t, &intake{})
	conf.GetCertificate = gw.get
	implicitly(&conf)
	s := start(t, conf)
	c := dial(t, s.Addrs()[0], "")
	b := &bundle{Conn: c.conn}
	c.conn = b
	c.startTLS(gw)
	c.want("220")
	b.holding = true
	for _, record := range []string{"EHLO a\r\nMAIL FROM:<a@example.com>\r\n", "BDAT 14\r\n", "200 " + secret, "AUTH PLAIN\r\n", b64("\x00a\x00"+secret) + "\r\n", "NOOP " + secret + "\r\nQU", "IT\r\n"} {
		c.send(record)
	}
	b.holding = false
	if _, err := b.Conn.Write(b.held.Bytes()); err != nil {
		t.Fatal(err)
	}
	for _, code := range []string{"250", "250", "502", "503", "501", "250", "221"} {
		c.want(code)
	}
	d := ended(t, s)
	want := `C: MAIL FROM:<a@example.com>
S: 250 2.0.0 Roger, accepting mail from <a@example.com>
C: BDAT 14
S: 502 5.5.1 Missing RCPT TO command.
C: (14 octets of mail)
C: AUTH PLAIN
S: 503 5.5.1 AUTH must come before MAIL
`
	if !strings.Contains(said(d), want) || !strings.HasSuffix(said(d), "C: NOOP (argument not shown)\nS: 250 2.0.0 (text not shown)\nC: QUIT\nS: 221 2.0.0 Bye\n") {
		t.Errorf("%s", said(d))
	}
	keepsSecrets(t, said(d))
}

func TestSessionsOfAFloodAreOne(t *testing.T) {
	conf := config(t, &intake{})
	conf.MaxConnectionsPerIP = 1
	s := start(t, conf)
	first := dial(t, s.Addrs()[0], "")
	first.want("220")
	for range 20 {
		c := dial(t, s.Addrs()[0], "")
		c.want("421")
		c.ends()
	}
	all := slices.Collect(s.Sessions().Sessions())
	refused := slices.IndexFunc(all, func(d dialogue.Session) bool { return d.Reason == "too-many-from-address" })
	if len(all) > 3 || refused < 0 || all[refused].Times < 19 {
		t.Errorf("%d sessions: %+v", len(all), all)
	}
	if !slices.ContainsFunc(all, func(d dialogue.Session) bool { return d.Outcome == dialogue.Open }) {
		t.Error("the session that is open was pushed out")
	}
}
