package main_test

import (
	"errors"
	"strings"
	"testing"

	postern "postern/cmd/postern"
	"postern/mail"
)

// TestRights is the sentences for every right that is missing: who, what, and what
// to do, for the person who finds them in a bounce and for the administrator.
// Those of MAIL are tested with the listeners. Where From is rewritten, so is an
// envelope sender that is not theirs or not ours.
func TestRights(t *testing.T) {
	t.Chdir(t.TempDir())
	writeKey(t, "dkim.pem")
	cfg, err := postern.ParseConfig(working + `
[[smtp.listener]]
address = "127.0.0.1:0"
[[list]]
id = "promo"
address = "promo@lists.example.com"
[[list]]
id = "staff"
address = "staff@lists.example.com"
[[dkim]]
domain = "example.com"
key_file = "dkim.pem"
`)
	if err != nil {
		t.Fatal(err)
	}
	desk, err := postern.OpenDesk(cfg, keysInDNS{}.lookup)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := desk.Close(); err != nil {
			t.Error(err)
		}
	}()
	const me, promo, other = mail.Address("me@example.com"), mail.Address("promo@lists.example.com"), mail.Address("kim@example.net")
	account := func(change func(*mail.Submitter)) *mail.Submitter {
		s := &mail.Submitter{Name: "me@example.com", Authenticated: true, SendAs: []string{"me@example.com", "*@naver.com", "*@example.org"}, Lists: []string{"promo"}, Relay: true}
		change(s)
		return s
	}
	sender := func(s *mail.Submitter, from mail.Address) mail.Address {
		if s.RewriteFrom == "" || from == "" || from == me {
			return from
		}
		return s.RewriteFrom
	}
	as := func(*mail.Submitter) {}
	noRelay := func(s *mail.Submitter) { s.Relay = false }
	rewritten := func(s *mail.Submitter) { s.RewriteFrom = "devices@example.com" }
	network := func(s *mail.Submitter) {
		s.Name, s.Authenticated, s.Loopback, s.Relay, s.Lists = "network 10.0.0.0/8", false, true, false, nil
	}
	for _, tt := range []struct {
		name   string
		sub    *mail.Submitter
		from   mail.Address // of the envelope
		to     mail.Address
		header mail.Address // From
		want   string       // "": the mail is taken
	}{
		{"all of them, to a list", account(as), me, promo, me, ""},
		{"all of them, to a person", account(as), me, other, me, ""},
		{"relay, as a bounce", account(as), "", other, me, ""},
		{"an account without relay", account(noRelay), me, other, me, "550 5.7.1 me@example.com may not send to ordinary addresses such as kim@example.net: the right `relay` is missing in the configuration; send to a list, or have the administrator set `relay = true` in this [[smtp.account]]"},
		{"a network without relay", account(network), me, other, me, "550 5.7.1 network 10.0.0.0/8 may not send to ordinary addresses such as kim@example.net: the right `relay` is missing in the configuration; send to a list, or have the administrator set `relay = true` in this [[smtp.network]]"},
		{"a list that is not theirs", account(as), me, "Staff@lists.example.com", me, "550 5.7.1 me@example.com may not send to the list staff@lists.example.com: it is not among its `lists` in the configuration; have the administrator add \"staff\" in this [[smtp.account]]"},
		{"a list that is not theirs, in a template", account(as), me, "staff+winter@lists.example.com", me, "550 5.7.1 me@example.com may not send to the list staff@lists.example.com: it is not among its `lists` in the configuration; have the administrator add \"staff\" in this [[smtp.account]]"},
		{"a network without lists", account(network), me, promo, me, "550 5.7.1 network 10.0.0.0/8 may not send to the list promo@lists.example.com: it is not among its `lists` in the configuration; have the administrator add \"promo\" in this [[smtp.network]]"},
		{"an address of ours that is no list", account(as), me, "prom@lists.example.com", me, "550 5.1.1 there is no list prom@lists.example.com here; is the address written rightly?"},
		{"a bounce to a list", account(as), "", promo, me, "550 5.7.1 promo@lists.example.com takes no mail with an empty sender (MAIL FROM:<>), as bounces and automatic replies have it; send it from an address of your own"},
		{"From is another's", account(as), me, other, "boss@example.com", "550 5.7.1 me@example.com may not send mail whose From is boss@example.com: it is not among its `send_as` in the configuration; use an address of your own as From, or have the administrator add this one to this [[smtp.account]]"},
		{"From is another's, to a list", account(as), me, promo, "boss@example.com", "550 5.7.1 me@example.com may not send mail whose From is boss@example.com: it is not among its `send_as` in the configuration; use an address of your own as From, or have the administrator add this one to this [[smtp.account]]"},
		{"From without a key", account(as), me, other, "me@example.org", "550 5.7.1 From is me@example.org, and there is no [[dkim]] key for example.org in the configuration; use a From for which there is one, or have the administrator add it (`postern dkim keygen`), or set `rewrite_from` for a device that can have no other"},
		{"From is free mail", account(as), me, promo, "me@naver.com", "550 5.7.1 From is me@naver.com, and only naver.com can sign for its own addresses, so receivers would refuse every copy; use an address of your own domain as From, and this one in Reply-To"},
		{"any From where it is rewritten", account(rewritten), me, other, "root@printer.local", ""},
		{"a sender without a key where From is rewritten", account(rewritten), "me@example.org", other, "root@printer.local", ""},
		{"a sender that is another's where From is rewritten", account(rewritten), "boss@example.com", other, me, ""},
		{"a sender that is no address where From is rewritten", account(rewritten), "ricoh@copier1.local", promo, me, ""},
		{"no sender where From is rewritten", account(rewritten), "", other, me, ""},
		{"any From where it is rewritten, to a list", account(rewritten), me, promo, "boss@example.com", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before, err := desk.Spool.Messages("", 1000)
			if err != nil {
				t.Fatal(err)
			}
			var id mail.ID
			err = desk.Check(t.Context(), tt.sub, tt.from, tt.to)
			if err == nil {
				text := "From: " + string(tt.header) + "\r\nTo: promo@lists.example.com\r\nSubject: Hi\r\nMessage-ID: <" + strings.ReplaceAll(tt.name, " ", ".") + "@x>\r\n\r\nHi\r\n"
				id, err = desk.Accept(t.Context(), tt.sub, mail.Envelope{From: tt.from, Recipients: []mail.Address{tt.to}}, strings.NewReader(trace+text))
			}
			after, failed := desk.Spool.Messages("", 1000)
			if failed != nil {
				t.Fatal(failed)
			}
			var e *mail.Error
			switch {
			case tt.want == "" && err == nil && len(after) == len(before)+1:
				m, err := desk.Spool.Message(id) // the newest of one millisecond is anybody's guess
				if err != nil {
					t.Fatal(err)
				}
				if from := m.From; from != sender(tt.sub, tt.from) {
					t.Errorf("its envelope says %s", from)
				}
				if from := m.HeaderFrom; from != tt.header && from != tt.sub.RewriteFrom {
					t.Errorf("it goes out as %s", from)
				}
			case tt.want != "" && errors.As(err, &e) && e.Error() == tt.want && len(after) == len(before):
			default:
				t.Errorf("got  %v, and %d messages more\nwant %s", err, len(after)-len(before), tt.want)
			}
		})
	}
}
