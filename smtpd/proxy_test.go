package smtpd_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"postern/smtpd"
)

const balancer = "192.0.2.10:4000"

// behindProxy takes PROXY headers from 192.0.2.10, which is in a network that may
// relay, as 198.51.100.0/24 and loopback are.
func behindProxy(c *smtpd.Config) {
	c.Listeners[0].ProxyProtocolFrom = []netip.Prefix{netip.MustParsePrefix("192.0.2.10/32")}
	c.Networks = nil
	for _, cidr := range []string{"198.51.100.0/24", "2001:db8::/32", "192.0.2.0/24", "127.0.0.0/8"} {
		c.Networks = append(c.Networks, smtpd.Network{CIDR: netip.MustParsePrefix(cidr), SendAs: []string{"*@example.com"}, Relay: true, TrustLoopback: true})
	}
}

// v2 makes a header of version 2 by hand, from the protocol's description.
func v2(command, family byte, rest ...[]byte) string {
	body := bytes.Join(rest, nil)
	b := append([]byte("\r\n\r\n\x00\r\nQUIT\n"), command, family)
	return string(append(binary.BigEndian.AppendUint16(b, uint16(len(body))), body...))
}

func ipv4(source string) []byte {
	a := netip.MustParseAddrPort(source)
	return append(append(a.Addr().AsSlice(), 192, 0, 2, 25), byte(a.Port()>>8), byte(a.Port()), 0, 25)
}

func ipv6(source string) []byte {
	a := netip.MustParseAddrPort(source)
	b := append(a.Addr().AsSlice(), make([]byte, 16)...)
	return append(b, byte(a.Port()>>8), byte(a.Port()), 0, 25)
}

// TestTheHeaderSaysWhoTheClientIs: for its rights, in Received and for the intake.
func TestTheHeaderSaysWhoTheClientIs(t *testing.T) {
	tlv := []byte{0x03, 0x00, 0x04, 1, 2, 3, 4} // CRC32c, wrong, which is not looked at
	for _, tt := range []struct {
		name, header string
		remote       string // "" means a session without rights
		received     string
	}{
		{"v1, IPv4", "PROXY TCP4 198.51.100.7 192.0.2.25 50000 25\r\n", "198.51.100.7:50000", "[198.51.100.7]"},
		{"v1, IPv6", "PROXY TCP6 2001:db8::7 2001:db8::25 50000 25\r\n", "[2001:db8::7]:50000", "[IPv6:2001:db8::7]"},
		{"v2, IPv4", v2(0x21, 0x11, ipv4("198.51.100.7:50000")), "198.51.100.7:50000", "[198.51.100.7]"},
		{"v2, IPv6", v2(0x21, 0x21, ipv6("[2001:db8::7]:50000")), "[2001:db8::7]:50000", "[IPv6:2001:db8::7]"},
		{"v2, IPv4 in IPv6", v2(0x21, 0x21, ipv6("[::ffff:198.51.100.7]:50000")), "198.51.100.7:50000", "[198.51.100.7]"},
		{"v2, TLVs", v2(0x21, 0x11, ipv4("198.51.100.7:50000"), tlv, bytes.Repeat([]byte{4, 0, 1, 0}, 1000)), "198.51.100.7:50000", "[198.51.100.7]"},
		{"a stranger", "PROXY TCP4 203.0.113.1 192.0.2.25 50000 25\r\n", "", ""},
		{"loopback", "PROXY TCP4 127.0.0.1 192.0.2.25 50000 25\r\n", "", ""},
		{"loopback in IPv6", v2(0x21, 0x21, ipv6("[::ffff:127.0.0.1]:50000")), "", ""},
		{"v1, UNKNOWN", "PROXY UNKNOWN\r\n", "", ""},
		{"v1, UNKNOWN with addresses", "PROXY UNKNOWN 198.51.100.7 192.0.2.25 50000 25\r\n", "", ""},
		{"v2, LOCAL", v2(0x20, 0x00), "", ""},
		{"v2, LOCAL with addresses", v2(0x20, 0x11, ipv4("198.51.100.7:50000")), "", ""},
	} {
		// In one piece, with what the client says first behind it, and octet by octet.
		for _, pieces := range []int{1, 0} {
			t.Run(tt.name, func(t *testing.T) {
				in := &intake{}
				change := func(c *smtpd.Config) { behindProxy(c); c.Intake = in }
				overPipes(t, change, func(t *testing.T, p *pipes) {
					c := use(t, p.dial(balancer))
					if pieces == 1 {
						go func() { _, _ = io.WriteString(c.conn, tt.header+"EHLO x\r\n") }()
					} else {
						for i := range len(tt.header) {
							c.send(tt.header[i : i+1])
						}
						go func() { _, _ = io.WriteString(c.conn, "EHLO x\r\n") }()
					}
					c.want("220")
					c.want("250")
					c.do("MAIL FROM:<a@example.com>", "")
					if tt.remote == "" {
						c.do("RCPT TO:<b@example.net>", "5")
						c.conn.Close()
						return
					}
					c.do("RCPT TO:<b@example.net>", "250")
					c.do("DATA", "354")
					c.send("x: y\r\n.\r\n")
					c.want("250")
					c.conn.Close()
				})
				got := in.taken()
				if tt.remote == "" {
					if len(got) != 0 {
						t.Errorf("taken: %+v", got)
					}
					return
				}
				if len(got) != 1 || got[0].Sub.Remote != tt.remote || got[0].Sub.Loopback || !strings.HasPrefix(got[0].Body, "Received: from x ("+tt.received+")\r\n") {
					t.Errorf("taken: %+v", got)
				}
			})
		}
	}
}

// TestAProxyWithoutHeaderIsClosed, and the log says what to do.
func TestAProxyWithoutHeaderIsClosed(t *testing.T) {
	for _, tt := range []struct{ name, send, log string }{
		{"nothing", "", "did not come in time"},
		{"a client's first words", "EHLO x\r\n", "began without a PROXY header"},
		{"half of v1", "PROXY TCP4 198.5", "did not come in time"},
		{"half of v2", v2(0x21, 0x11, ipv4("198.51.100.7:50000"))[:20], "did not come in time"},
		{"another word", "PRINT\r\n", "began without a PROXY header"},
		{"v1 with LF only", "PROXY TCP4 198.51.100.7 192.0.2.25 50000 25\n", "cannot be read"},
		{"v1 with two spaces", "PROXY  TCP4 198.51.100.7 192.0.2.25 50000 25\r\n", "cannot be read"},
		{"v1 without end", "PROXY TCP4 " + strings.Repeat("1", 200), "cannot be read"},
		{"v1 with a wrong address", "PROXY TCP4 198.51.100.777 192.0.2.25 50000 25\r\n", "cannot be read"},
		{"v1 with a port too high", "PROXY TCP4 198.51.100.7 192.0.2.25 70000 25\r\n", "cannot be read"},
		{"v2 of another version", v2(0x31, 0x11, ipv4("198.51.100.7:50000")), "cannot be read"},
		{"v2 of another command", v2(0x22, 0x11, ipv4("198.51.100.7:50000")), "cannot be read"},
		{"v2 that is too short", v2(0x21, 0x11, []byte{1, 2, 3, 4}), "cannot be read"},
		{"v2 that is too long", v2(0x21, 0x11, ipv4("198.51.100.7:50000"), make([]byte, 60000)), "longer than 4096 octets"},
		{"v2 over UDP", v2(0x21, 0x12, ipv4("198.51.100.7:50000")), "names no TCP client"},
		{"v2 over a Unix socket", v2(0x21, 0x31, make([]byte, 216)), "names no TCP client"},
		{"10 MB", "PROXY " + strings.Repeat("x", 10<<20), "cannot be read"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out := &logs{}
			change := func(c *smtpd.Config) { behindProxy(c); c.Log = slog.New(slog.NewTextHandler(out, nil)) }
			overPipes(t, change, func(t *testing.T, p *pipes) {
				conn := p.dial(balancer)
				go func() { _, _ = io.WriteString(conn, tt.send) }()
				c := use(t, conn)
				_ = conn.SetDeadline(time.Time{})
				began := time.Now()
				c.ends()
				if d := time.Since(began); d > 30*time.Second {
					t.Errorf("it was closed after %s", d)
				}
			})
			if !strings.Contains(out.String(), tt.log) || !strings.Contains(out.String(), balancer) {
				t.Errorf("%q is not in the log:\n%s", tt.log, out)
			}
		})
	}
}

// TestALookAtThePortIsNoWarning: load balancers do it every other second.
func TestALookAtThePortIsNoWarning(t *testing.T) {
	out := &logs{}
	conf := config(t, &intake{})
	conf.Listeners[0].ProxyProtocolFrom = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	conf.Log = slog.New(slog.NewTextHandler(out, nil))
	c := dial(t, start(t, conf).Addrs()[0], "")
	if err := rawConn(c).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	c.ends()
	if out.String() != "" {
		t.Error(out)
	}
}

// TestNobodyElsesHeaderIsTaken: it is an unknown command, and changes nothing.
func TestNobodyElsesHeaderIsTaken(t *testing.T) {
	in := &intake{}
	change := func(c *smtpd.Config) { behindProxy(c); c.Intake = in }
	overPipes(t, change, func(t *testing.T, p *pipes) {
		c := use(t, p.dial("192.0.2.11:4000"))
		c.want("220")
		c.do("PROXY TCP4 198.51.100.7 192.0.2.25 50000 25", "501")
		c.do("EHLO x", "250")
		begin(c)
		c.send("x: y\r\n.\r\n")
		c.want("250")
		c.conn.Close()
		second := use(t, p.dial("192.0.2.11:4000"))
		second.want("220")
		go func() { _, _ = io.WriteString(second.conn, v2(0x21, 0x11, ipv4("198.51.100.7:50000"))) }()
		second.want("50")
		second.conn.Close()
	})
	if got := in.taken(); len(got) != 1 || got[0].Sub.Remote != "192.0.2.11:4000" {
		t.Errorf("taken: %+v", got)
	}
}

// TestClientsBehindAProxyAreCountedByThemselves, not as the proxy.
func TestClientsBehindAProxyAreCountedByThemselves(t *testing.T) {
	change := func(c *smtpd.Config) { behindProxy(c); c.MaxConnectionsPerIP = 1 }
	overPipes(t, change, func(t *testing.T, p *pipes) {
		connect := func(source string) *client {
			c := use(t, p.dial(balancer))
			c.send("PROXY TCP4 " + source + " 192.0.2.25 50000 25\r\n")
			return c
		}
		first := connect("198.51.100.7")
		first.want("220")
		connect("198.51.100.8").want("220")
		crowd := connect("198.51.100.7")
		crowd.want("421 4.7.0 too many connections from your address")
		crowd.ends()
		first.do("QUIT", "221")
		first.ends()
		connect("198.51.100.7").want("220")
	})
}

// TestASilentProxyHoldsNobodyUp: other connections of its are served meanwhile.
func TestASilentProxyHoldsNobodyUp(t *testing.T) {
	overPipes(t, behindProxy, func(t *testing.T, p *pipes) {
		for range 5 {
			p.dial(balancer)
		}
		began := time.Now()
		c := use(t, p.dial(balancer))
		c.send("PROXY TCP4 198.51.100.7 192.0.2.25 50000 25\r\n")
		c.want("220")
		if d := time.Since(began); d != 0 {
			t.Errorf("it was served after %s", d)
		}
	})
}

// TestTLSBehindAProxy begins behind the header, as its client wants it.
func TestTLSBehindAProxy(t *testing.T) {
	id := newIdentity(t)
	for _, mode := range []string{"starttls", "implicit"} {
		t.Run(mode, func(t *testing.T) {
			in := &intake{}
			conf := config(t, in)
			behindProxy(&conf)
			conf.Listeners[0].ProxyProtocolFrom = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
			conf.Listeners[0].TLS, conf.GetCertificate = mode, id.get
			s := start(t, conf)
			c := dial(t, s.Addrs()[0], "")
			c.send(v2(0x21, 0x11, ipv4("198.51.100.7:50000")))
			if mode == "implicit" {
				c.startTLS(id)
			}
			c.want("220")
			c.do("EHLO x", "250")
			if mode == "starttls" {
				c.do("STARTTLS", "220")
				c.startTLS(id)
				c.do("EHLO x", "250")
			}
			begin(c)
			c.send("x: y\r\n.\r\n")
			c.want("250")
			if got := in.taken(); got[0].Sub.Remote != "198.51.100.7:50000" || got[0].Sub.TLS != "TLS1.3" {
				t.Errorf("taken: %+v", got)
			}
		})
	}
}

// TestNobodyIsLoopbackThroughAProxy, be the proxy on this machine and the header
// without an address, or with one of loopback.
func TestNobodyIsLoopbackThroughAProxy(t *testing.T) {
	for _, header := range []string{"", "PROXY TCP4 127.0.0.1 127.0.0.1 50000 25\r\n", "PROXY UNKNOWN\r\n", v2(0x20, 0x00)} {
		in := &intake{}
		conf := config(t, in)
		conf.Listeners[0].InsecureAuth = true
		if header != "" {
			conf.Listeners[0].ProxyProtocolFrom = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		}
		c := dial(t, start(t, conf).Addrs()[0], "")
		c.send(header)
		c.want("220")
		c.do("EHLO x", "250")
		c.do("AUTH PLAIN AHJlbGF5QGV4YW1wbGUuY29tAGJhdHRlcnkgc3RhcGxl", "235")
		begin(c)
		c.send("x: y\r\n.\r\n")
		c.want("250")
		if got := in.taken()[0].Sub; got.Loopback != (header == "") {
			t.Errorf("with the header %q Loopback is %v", header, got.Loopback)
		}
	}
}

// FuzzProxyHeader: whatever a proxy sends, the server lives, and nobody who is
// not announced as one may relay.
func FuzzProxyHeader(f *testing.F) {
	f.Add([]byte("PROXY TCP4 203.0.113.7 192.0.2.25 50000 25\r\n"))
	f.Add([]byte("PROXY UNKNOWN\r\n"))
	f.Add([]byte(v2(0x21, 0x11, ipv4("203.0.113.7:50000"))))
	f.Add([]byte(v2(0x20, 0x00)))
	conf := config(f, &intake{})
	conf.ReadTimeout = 50 * time.Millisecond
	p := newPipes()
	conf.Listeners[0].Socket = p
	behindProxy(&conf)
	conf.Networks = []smtpd.Network{{CIDR: netip.MustParsePrefix("192.0.2.0/24"), SendAs: []string{"*"}, Relay: true}}
	start(f, conf)
	f.Fuzz(func(t *testing.T, header []byte) {
		c := p.dial(balancer)
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(time.Second))
		go func() {
			_, _ = c.Write(header)
			_, _ = io.WriteString(c, "EHLO x\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.net>\r\nQUIT\r\n")
		}()
		said, _ := io.ReadAll(c)
		inside := bytes.Contains(header, []byte{192, 0, 2}) || bytes.Contains(header, []byte("192.0.2."))
		if bytes.Contains(said, []byte("<b@example.net> gets this")) && !inside {
			t.Errorf("%q behind %q", said, header)
		}
	})
}
