package dialogue_test

import (
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"postern/smtpd/dialogue"
)

// ended is a session on a listener with STARTTLS that the client ended by closing
// the connection.
func ended(change func(*dialogue.Facts)) dialogue.Facts {
	f := dialogue.Facts{Listener: dialogue.Listener{Address: "0.0.0.0:587", TLS: "starttls", TLSMin: "1.2", Auth: "optional"},
		Address: "10.0.0.17", Ended: true, Octets: 100, Last: "QUIT", Helo: "scanner1", ESMTP: true}
	change(&f)
	return f
}

func no(verb string, code int, enhanced, text string) dialogue.Reply {
	return dialogue.Reply{Verb: verb, Code: code, Enhanced: enhanced, Text: text}
}

func broken(kind dialogue.Trouble, change func(*dialogue.Facts)) dialogue.Facts {
	return ended(func(f *dialogue.Facts) {
		f.Handshake, f.Trouble, f.Last, f.Helo = dialogue.HandshakeFailed, kind, "STARTTLS", ""
		change(f)
	})
}

func TestCausesInWords(t *testing.T) {
	type F = dialogue.Facts
	as := func(verb string, code int, enhanced, text string) F {
		return ended(func(f *F) {
			r := no(verb, code, enhanced, text)
			switch verb {
			case "AUTH":
				f.NoAuth, f.Mechanism = r, "LOGIN"
			case "MAIL":
				f.NoMail = r
			case "RCPT":
				f.NoRecipient = r
			case "DATA":
				f.NoData = r
			case "STARTTLS":
				f.NoTLS = r
			default:
				f.NoOther = r
			}
		})
	}
	implicit := func(f *F) { f.Listener.TLS, f.Octets, f.Last = "implicit", 0, "" }
	table := []struct {
		facts   F
		reason  string
		outcome dialogue.Outcome
		words   string // that the sentence holds
	}{
		{ended(func(f *F) { f.Refused = dialogue.TooManyFromAddress }), "too-many-from-address", "failed", "max_connections_per_ip"},
		{ended(func(f *F) { f.Refused = dialogue.TooMany }), "too-many-connections", "failed", "smtp.max_connections"},
		{ended(func(f *F) { f.Refused, f.Why = dialogue.ProxyHeader, "it began without one" }), "proxy-header", "failed", "it began without one"},
		{ended(func(f *F) { f.Refused = dialogue.ShuttingDown }), "shutting-down", "failed", "try again"},
		{ended(func(f *F) { f.Stranger = dialogue.ClearTLS }), "tls-on-plain-port", "failed", "STARTTLS"},
		{ended(func(f *F) { f.Stranger, f.Listener.TLS = dialogue.ClearTLS, "none" }), "tls-on-plain-port", "failed", `tls = "none"`},
		{ended(func(f *F) { f.Stranger = dialogue.HTTP }), "http", "failed", "web client"},
		{ended(func(f *F) { f.Stranger = dialogue.MailReader }), "mail-reader", "failed", "outgoing"},
		{ended(func(f *F) { f.Stranger = dialogue.Proxy }), "proxy-not-expected", "failed", "proxy_protocol_from"},
		{ended(func(f *F) { f.Stranger = dialogue.SSH }), "ssh", "failed", "wrong port"},

		{broken(dialogue.NotTLS, implicit), "plain-on-tls-port", "failed", "SSL/TLS"},
		{broken(dialogue.Silence, implicit), "silent-on-tls-port", "failed", "greeting that never comes"},
		{broken(dialogue.BrokenOff, implicit), "silent-on-tls-port", "failed", "Not one octet"},
		{broken(dialogue.NotTLS, func(*F) {}), "plain-after-starttls", "failed", "firewall"},
		{broken(dialogue.TooOld, func(f *F) { f.Hello.Best = "TLS 1.0" }), "tls-too-old", "failed", `tls_min = "1.0"`},
		{broken(dialogue.WrongKeyKind, func(*F) {}), "rsa-only", "failed", "cert_file"},
		{broken(dialogue.NoCipher, func(*F) {}), "no-common-cipher", "failed", "cipher"},
		{broken(dialogue.ClientRefuses, func(f *F) { f.Alert = "handshake failure" }), "no-common-cipher", "failed", "cipher"},
		{broken(dialogue.ClientRefuses, func(f *F) { f.Alert = "protocol version not supported" }), "client-too-strict", "failed", "tls_min"},
		{broken(dialogue.ClientRefuses, func(f *F) { f.Alert = "expired certificate" }), "certificate-expired", "failed", "clock"},
		{broken(dialogue.ClientRefuses, func(f *F) { f.Hello.Expired = true }), "certificate-expired", "failed", "SIGHUP"},
		{broken(dialogue.ClientRefuses, func(f *F) {
			f.Hello.Name, f.Hello.Names, f.Hello.WrongName = "mail.example.net", "gw.example.com", true
		}), "certificate-name", "failed", "mail.example.net"},
		{broken(dialogue.ClientRefuses, func(f *F) { f.Alert = "unknown certificate authority" }), "certificate-unknown-authority", "failed", "Import"},
		{broken(dialogue.ClientRefuses, func(f *F) { f.Alert = "bad certificate" }), "certificate-refused", "failed", "bad certificate"},
		{broken(dialogue.Timeout, func(*F) {}), "tls-timeout", "failed", "MTU"},
		{broken(dialogue.BrokenOff, func(*F) {}), "tls-broken-off", "failed", "authority"},
		{broken(dialogue.Other, func(*F) {}), "tls-failed", "failed", "openssl"},

		{as("AUTH", 538, "5.7.11", "..."), "auth-before-tls", "failed", "insecure_auth"},
		{as("AUTH", 502, "5.7.0", "this listener takes no AUTH"), "auth-off", "failed", `auth = "off"`},
		{as("AUTH", 504, "5.5.4", "..."), "auth-mechanism", "failed", "PLAIN and LOGIN"},
		{as("AUTH", 502, "5.5.1", "..."), "auth-before-helo", "failed", "EHLO"},
		{as("AUTH", 454, "4.7.0", ""), "shut-out", "failed", "quarter of an hour"},
		{as("AUTH", 421, "4.7.0", "too many wrong passwords from 10.0.0.17: log in again"), "shut-out", "failed", "quarter of an hour"},
		{as("AUTH", 535, "5.7.8", "user name or password is wrong"), "wrong-password", "failed", "postern passwd"},
		{as("AUTH", 421, "4.7.0", "too many wrong passwords; check user name and password, then connect again"), "wrong-password", "failed", "postern passwd"},
		{ended(func(f *F) {
			f.NoAuth, f.UserUnknown, f.User = no("AUTH", 535, "5.7.8", ""), true, "scaner@example.com"
		}), "user-unknown", "failed", "scaner@example.com"},
		{ended(func(f *F) { f.NoAuth, f.UserUnknown = no("AUTH", 535, "5.7.8", ""), true }), "user-unknown", "failed", "might be a password"},
		{as("AUTH", 501, "5.5.2", "..."), "auth-malformed", "failed", "RFC 4616"},
		{as("AUTH", 454, "4.7.0", "Invalid base64 data"), "auth-malformed", "failed", "RFC 4954"},
		{as("AUTH", 501, "5.0.0", "Negotiation cancelled"), "auth-cancelled", "failed", "entered"},
		{as("AUTH", 454, "4.7.0", "the password could not be checked now; try again later"), "auth-failed", "failed", "log-in"},
		{as("STARTTLS", 502, "5.5.1", "TLS not supported"), "starttls-not-offered", "failed", "no TLS"},

		{ended(func(f *F) { f.NoMail, f.ESMTP = no("MAIL", 530, "5.7.0", ""), false }), "helo-and-login", "failed", "HELO"},
		{as("MAIL", 530, "5.7.0", ""), "login-needs-tls", "failed", "STARTTLS"},
		{ended(func(f *F) { f.NoMail, f.Version, f.Offered = no("MAIL", 530, "5.7.0", ""), "TLS 1.3", true }), "login-missing", "failed", "user name and password"},
		{as("RCPT", 550, "5.7.1", "you may not send from here: from 10.0.0.17 a TLS client certificate for a.example is asked for, but none was shown"), "certificate-wanted", "failed", "cert_names"},
		{as("RCPT", 550, "5.7.1", "you may not send from here: ask"), "stranger", "failed", `cidr = "10.0.0.17/32"`},
		{as("MAIL", 550, "5.7.1", "x@y may not send as a@b: the address is missing in its send_as; set an address of your own"), "send-as", "failed", "x@y may not send as a@b: the address is missing in its send_as; set an address of your own. For a device"},
		{as("DATA", 550, "5.7.1", "x may not send mail whose From is a@b"), "send-as", "failed", "From is a@b"},
		{as("MAIL", 550, "5.7.1", "network 10.0.0.0/24 may not send with an empty sender"), "null-sender", "failed", "Network 10.0.0.0/24"},
		{as("RCPT", 550, "5.7.1", "x may not send to ordinary addresses such as a@b: the right `relay` is missing"), "lists-only", "failed", "is missing."},
		{as("RCPT", 550, "5.7.1", "x may not send to the list promo@lists.example.com"), "list-right", "failed", "X may not send to the list promo@lists.example.com."},
		{as("RCPT", 550, "5.1.1", "nobody reads the mail to postmaster@x: the administrator of this gateway has to set notices.operator to an address"), "service", "failed", "to an address."},
		{as("DATA", 550, "5.1.1", "this address only takes reports"), "service", "failed", "only takes reports."},
		{as("RCPT", 450, "4.7.1", "x takes 60 mails a minute from one client"), "service", "failed", "X takes 60"},
		{as("RCPT", 552, "5.3.4", "mail to x may have 5 octets, and this one is larger"), "service", "failed", "is larger."},
		{as("RCPT", 550, "5.1.1", "there is no list x here; is the address written rightly?"), "unknown-list", "failed", "rightly? Mend"},
		{as("DATA", 550, "5.7.20", "the list x takes mail from y without AUTH only if it is signed"), "dkim-needed", "failed", "DKIM"},
		{as("DATA", 550, "5.7.21", "promo@lists.example.com stands neither in To nor in Cc"), "dkim-needed", "failed", "nor in Cc."},
		{as("DATA", 550, "5.7.1", "there is no [[dkim]] key for example.org"), "from-not-signable", "failed", "example.org."},
		{as("DATA", 550, "5.7.1", "From is a@gmail.com, and only gmail.com can sign for its own addresses"), "from-not-signable", "failed", "rewrite_from"},
		{as("RCPT", 450, "4.7.1", "x may send to 2 recipients a minute (per_minute)"), "rate-limit", "failed", "raise the limit"},
		{as("DATA", 554, "5.6.0", "the mail has a bare LF"), "bare-newline", "failed", "normalise"},
		{as("DATA", 554, "5.6.0", "the mail holds a NUL octet"), "nul-octet", "failed", "base64"},
		{as("DATA", 554, "5.6.0", "a line of the mail is longer than 262144 octets"), "line-too-long", "failed", "break its lines"},
		{as("MAIL", 552, "5.3.4", "the mail is larger"), "too-big", "failed", "max_message_bytes"},
		{as("RCPT", 452, "4.5.3", ""), "too-many-recipients", "failed", "max_recipients"},
		{as("DATA", 554, "5.4.6", ""), "loop", "failed", "circle"},
		{as("RCPT", 553, "5.6.7", "민@example.net cannot be reached"), "non-ascii-address", "failed", "민@example.net cannot be reached. Use an address with ASCII"},
		{as("RCPT", 550, "5.7.1", "a names a route with % or !"), "address-route", "failed", "plain address"},
		{as("RCPT", 501, "5.1.3", ""), "bad-address", "failed", "whole address"},
		{as("RCPT", 452, "4.3.1", "2000000 copies are waiting"), "queue-full", "failed", "max_queue"},
		{as("RCPT", 452, "4.3.0", ""), "disk", "failed", "data_dir"},
		{as("DATA", 451, "4.7.5", "the key could not be read"), "dns", "failed", "resolver"},
		{as("DATA", 451, "4.4.2", ""), "mail-cut-short", "failed", "middle of the mail"},
		{as("DATA", 451, "4.3.0", ""), "internal", "failed", "log says"},
		{as("DATA", 554, "5.6.0", "the mail is a meeting request"), "content", "failed", "The mail is a meeting request"},
		{as("DATA", 503, "5.5.1", "MAIL and RCPT must come first"), "bad-sequence", "failed", "order"},
		{as("RCPT", 501, "5.5.2", "Was expecting RCPT arg syntax of TO:<address>"), "bad-address", "failed", "whole address"},
		{as("MAIL", 501, "5.5.4", "Unable to parse SIZE as an integer"), "bad-syntax", "failed", "firmware"},
		{as("", 500, "5.5.2", ""), "not-smtp", "failed", "no SMTP commands"},

		{ended(func(f *F) { f.Farewell = no("", 421, "4.4.2", "gw needs this place for another client") }), "pushed-out", "failed", "max_connections"},
		{ended(func(f *F) { f.Farewell = no("", 500, "5.5.2", "gw takes no command so long") }), "endless-command", "failed", "did not end"},
		{ended(func(f *F) { f.Waiting = dialogue.ForText }), "cut-in-mail", "failed", "memory"},
		{ended(func(f *F) { f.Waiting, f.TimedOut = dialogue.ForChunk, true }), "slow-in-mail", "failed", "read_timeout"},
		{ended(func(f *F) { f.Accepted = 1 }), "ok", "sent", "went well"},
		{ended(func(f *F) { f.Accepted, f.NoRecipient = 1, no("RCPT", 550, "5.1.1", "there is no list") }), "unknown-list", "partly", "list"},
		{ended(func(f *F) { f.Ended = false }), "open", "open", "goes on"},
		{ended(func(f *F) { f.Last, f.Octets, f.Helo = "", 0, "" }), "nothing-said", "nothing", "monitor"},
		{ended(func(f *F) { f.Unended = 8 }), "no-line-end", "failed", "CR alone"},
		{ended(func(f *F) { f.TimedOut, f.Last, f.Octets = true, "", 0 }), "silent", "nothing", "until smtp.read_timeout"},
		{ended(func(f *F) { f.TimedOut, f.Last = true, "RCPT" }), "silent-later", "failed", "After RCPT"},
		{ended(func(f *F) { f.Handshake, f.Version, f.Helo, f.Last = dialogue.HandshakeDone, "TLS 1.2", "", "STARTTLS" }), "left-after-starttls", "failed", "trust"},
		{ended(func(f *F) { f.Last = "AUTH" }), "left-after-login", "failed", "log-in"},
		{ended(func(f *F) { f.Last = "EHLO" }), "left-after-ehlo", "failed", "without STARTTLS"},
		{ended(func(f *F) { f.Last, f.Listener.TLS = "EHLO", "none" }), "left-after-ehlo", "failed", "two things"},
		{ended(func(f *F) { f.Last, f.Version, f.Offered = "EHLO", "TLS 1.3", true }), "left-after-ehlo", "failed", "NTLM"},
		{ended(func(f *F) { f.Last = "RCPT" }), "left-in-transaction", "failed", "after RCPT"},
		{ended(func(f *F) { f.Farewell, f.Offered = no("QUIT", 221, "2.0.0", ""), true }), "nothing-sent", "nothing", "test of the settings"},
	}
	seen := map[string]bool{}
	for _, c := range table {
		v := dialogue.Explain(&c.facts)
		seen[c.reason] = true
		if v.Reason != c.reason || v.Outcome != c.outcome || !strings.Contains(v.Text, c.words) {
			t.Errorf("got %s, %s: %q\nwant %s, %s with %q", v.Reason, v.Outcome, v.Text, c.reason, c.outcome, c.words)
		}
		if !strings.HasSuffix(v.Text, ".") || strings.Contains(v.Text, "..") || strings.Contains(v.Text, "  ") || strings.Contains(v.Text, "%!") {
			t.Errorf("%s is no clean sentence: %q", v.Reason, v.Text)
		}
	}
	reasons := dialogue.Reasons()
	if len(reasons) < 60 {
		t.Errorf("only %d causes", len(reasons))
	}
	for _, r := range reasons {
		if !seen[r] {
			t.Errorf("no case for the cause %s", r)
		}
	}
}

// TestWhatIsPipelinedBehindARefusalIsNotItsCause: RCPT and DATA that were sent
// before the client knew of the refusal.
func TestWhatIsPipelinedBehindARefusalIsNotItsCause(t *testing.T) {
	rcpt, data := no("RCPT", 502, "5.5.1", "Missing MAIL FROM command."), no("DATA", 502, "5.5.1", "Missing RCPT TO command.")
	for want, f := range map[string]dialogue.Facts{
		"login-needs-tls": ended(func(f *dialogue.Facts) { f.NoMail, f.NoRecipient, f.NoData = no("MAIL", 530, "5.7.0", ""), rcpt, data }),
		"unknown-list": ended(func(f *dialogue.Facts) {
			f.NoRecipient, f.NoData, f.NoOther = no("RCPT", 550, "5.1.1", "there is no list x here"), data, no("", 500, "5.5.2", "")
		}),
		"bad-sequence": ended(func(f *dialogue.Facts) { f.NoData, f.NoOther = data, no("", 500, "5.5.2", "") }),
	} {
		if v := dialogue.Explain(&f); v.Reason != want {
			t.Errorf("got %s, want %s: %s", v.Reason, want, v.Text)
		}
	}
}

func TestEachCaseOfACauseIsReachedInOrder(t *testing.T) {
	f := ended(func(f *dialogue.Facts) {
		f.NoAuth, f.NoMail, f.NoOther = no("AUTH", 538, "5.7.11", ""), no("MAIL", 530, "5.7.0", ""), no("", 500, "5.5.2", "")
	})
	if v := dialogue.Explain(&f); v.Reason != "auth-before-tls" {
		t.Errorf("of a log-in that failed and what follows from it, %s is named", v.Reason)
	}
	f = ended(func(f *dialogue.Facts) {
		f.NoMail, f.NoRecipient, f.NoData = no("MAIL", 530, "5.7.0", ""), no("RCPT", 502, "5.5.1", "Missing MAIL"), no("DATA", 502, "5.5.1", "Missing RCPT TO command.")
	})
	if v := dialogue.Explain(&f); v.Reason != "login-needs-tls" {
		t.Errorf("of a MAIL that was refused and what follows from it, %s is named", v.Reason)
	}
}

// TestTheGatewayStillSaysWhatCausesGoBy: a changed sentence would silently make a
// cause vaguer.
func TestTheGatewayStillSaysWhatCausesGoBy(t *testing.T) {
	var sources strings.Builder
	for _, dir := range []string{"smtpd", "cmd/postern", "expand", "mail"} {
		root := os.DirFS("../../" + dir)
		files, err := fs.Glob(root, "*.go")
		if err != nil || len(files) == 0 {
			t.Fatal(dir, files, err)
		}
		for _, f := range slices.DeleteFunc(files, func(f string) bool { return strings.HasSuffix(path.Base(f), "_test.go") }) {
			text, err := fs.ReadFile(root, f)
			if err != nil {
				t.Fatal(err)
			}
			sources.Write(text)
		}
	}
	for _, s := range dialogue.OwnTexts() {
		if !strings.Contains(sources.String(), s) {
			t.Errorf("nothing in the gateway says %q any more: mend texts.go", s)
		}
	}
}
