package main_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	postern "postern/cmd/postern"
	"postern/mail"
	"postern/smtpd"
)

// elsewhere is a listener whose clients seem to come from 192.0.2.9.
type elsewhere struct{ net.Listener }

func (l elsewhere) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return stranger{c}, err
}

type stranger struct{ net.Conn }

func (stranger) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 9), Port: 4711} }

// TestAConnectorOpensAListByItsSignature over a socket: each recipient by its own
// rule at RCPT, where a refusal does not lose the others; the signature at DATA,
// for all of them.
func TestAConnectorOpensAListByItsSignature(t *testing.T) {
	t.Chdir(t.TempDir())
	writeKey(t, "dkim.pem")
	cfg, err := postern.ParseConfig(working + "[[smtp.listener]]\naddress = \"127.0.0.1:0\"\n[[list]]\nid = \"promo\"\naddress = \"promo@lists.example.com\"\n" +
		"[[list]]\nid = \"staff\"\naddress = \"staff@lists.example.com\"\n[[dkim]]\ndomain = \"example.com\"\nkey_file = \"dkim.pem\"\n")
	if err != nil {
		t.Fatal(err)
	}
	key, record := newKey(t)
	desk, err := postern.OpenDesk(cfg, keysInDNS{"s._domainkey.example.com": record}.lookup)
	if err != nil {
		t.Fatal(err)
	}
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server, err := smtpd.New(smtpd.Config{
		Hostname: "gw.example.com", MaxMessageBytes: 1 << 20, MaxRecipients: 10, ReadTimeout: time.Minute, WriteTimeout: time.Minute,
		Listeners: []smtpd.Listener{{Socket: elsewhere{socket}, TLS: "none", TLSMin: "1.2", Auth: "off", BareNewline: "reject"}},
		Networks:  []smtpd.Network{{CIDR: netip.MustParsePrefix("192.0.2.0/24"), SendAs: []string{"*@example.com"}, Lists: []string{"promo"}, PerDay: 2}},
		Log:       slog.New(slog.DiscardHandler), Intake: desk.Intake,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Listen(); err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve() }()
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := errors.Join(server.Shutdown(ctx), <-served, desk.Close()); err != nil {
			t.Error(err)
		}
	}()
	c, err := smtp.Dial(socket.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	send := func(text, want string) {
		t.Helper()
		if err := c.Mail("marketer@example.com", nil); err != nil {
			t.Fatal(err)
		}
		for to, want := range map[string]string{
			"staff@lists.example.com": "it is not among its `lists`", "someone@example.org": "the right `relay` is missing", "promo@lists.example.com": "",
		} {
			if err := c.Rcpt(to, nil); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
				t.Fatalf("RCPT %s: %v, want %q", to, err, want)
			}
		}
		w, err := c.Data()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Fatalf("DATA: %v, want %q", err, want)
		}
	}
	// Refusals do not use up the two recipients of the day.
	for range 3 {
		send(strings.ReplaceAll(today(), "\n", "\r\n"), "it has no DKIM signature")
	}
	send(strings.Replace(signed(t, key, "example.com", today()), "Dear", "dear", 1), "body hash did not verify")
	send(signed(t, key, "example.com", today()), "")
	list, err := desk.Spool.Messages("", 10)
	if err != nil || len(list) != 1 || list[0].From != mail.Address("marketer@example.com") || list[0].ListID() != "promo" {
		t.Errorf("in the spool: %+v, %v", list, err)
	}
}
