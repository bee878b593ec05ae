package main_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-msgauth/dkim"

	postern "postern/cmd/postern"
	"postern/mail"
)

// keysInDNS is a DNS of TXT records, by full name without the last dot.
type keysInDNS map[string]string

func (d keysInDNS) lookup(ctx context.Context, name string) ([]string, error) {
	name, rooted := strings.CutSuffix(name, ".")
	record, ok := d[name]
	switch {
	case !rooted:
		return nil, fmt.Errorf("%q is looked up with the search list of this machine", name)
	case !ok:
		return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	case record == "down":
		return nil, &net.DNSError{Err: "server misbehaving", Name: name, IsTemporary: true}
	case record == "slow":
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return []string{record}, nil
}

func newKey(t *testing.T) (crypto.Signer, string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return key, "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(der)
}

// signed puts a signature on top of a mail with LF line ends; signed with options.
func signed(t *testing.T, key crypto.Signer, domain, text string, change ...func(*dkim.SignOptions)) string {
	t.Helper()
	o := &dkim.SignOptions{Domain: domain, Selector: "s", Signer: key, HeaderCanonicalization: "relaxed", BodyCanonicalization: "relaxed",
		HeaderKeys: []string{"From", "To", "Cc", "Subject", "Reply-To", "Date", "Message-ID", "Content-Type"}}
	for _, c := range change {
		c(o)
	}
	var out bytes.Buffer
	if err := dkim.Sign(&out, strings.NewReader(strings.ReplaceAll(text, "\n", "\r\n")), o); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func only(names ...string) func(*dkim.SignOptions) {
	return func(o *dkim.SignOptions) { o.HeaderKeys = names }
}

// trace is our own field, as the mail has it when it is judged.
const trace = "Received: from mail.example.com (mail.example.com [192.0.2.1])\r\n\tby gw.example.com with ESMTP id 1; Mon, 23 Nov 2026 09:00:00 +0900\r\n"

const campaign = "From: Marketer <marketer@example.com>\nTo: promo@lists.example.com\nSubject: Hello {{Name}}\nDate: Mon, 23 Nov 2026 09:00:00 +0900\nMessage-ID: <1@example.com>\n\nDear {{Name}}\n"

// campaignDay is an hour after the Date of campaign.
var campaignDay = time.Date(2026, 11, 23, 1, 0, 0, 0, time.UTC)

// today is campaign with a Date of now.
func today() string {
	return strings.Replace(campaign, "Mon, 23 Nov 2026 09:00:00 +0900", time.Now().Format(time.RFC1123Z), 1)
}

// cloud is a network that many share.
func cloud() *mail.Submitter {
	return &mail.Submitter{Name: "network 192.0.2.0/24", SendAs: []string{"*@example.com", "*@news.example.com", "*@example.co.kr"}, Lists: []string{"promo"}}
}

// TestListsOpenedByDKIM: what may open a list without a log-in, and the sentence
// for everything else.
func TestListsOpenedByDKIM(t *testing.T) {
	key, record := newKey(t)
	_, otherRecord := newKey(t)
	dns := keysInDNS{
		"s._domainkey.example.com": record, "s._domainkey.mail.example.com": record, "s._domainkey.example.net": record, "s._domainkey.co.kr": record,
		"other._domainkey.example.com": otherRecord, "down._domainkey.example.com": "down", "test._domainkey.example.com": "v=DKIM1; t = s : y ; " + record[8:],
		"huge._domainkey.example.com":    record + strings.Repeat(" ", 2048),
		"short._domainkey.example.com":   "v=DKIM1; p=MHwwDQYJKoZIhvcNAQEBBQADawAwaAJhAPU3xpmNZAVWDdG+z+Eu8vrPdM9cyA312qoy/P7CGR5e5tc1hmw2egj83wYc/Qf8uy3e6DRRVtAQjYRgJR+KDX/sZY1bLM0Ym6YqpvTT2TsfGWyWCkHCQx49b+Pj+E1r2QIDAQAB",
		"revoked._domainkey.example.com": "v=DKIM1; p=",
	}
	good := signed(t, key, "example.com", campaign)
	by := func(selector string) string {
		return signed(t, key, "example.com", campaign, func(o *dkim.SignOptions) { o.Selector = selector })
	}
	replace := func(s, old, new string) string {
		if !strings.Contains(s, old) {
			t.Fatalf("%q is not in %q", old, s)
		}
		return strings.Replace(s, old, new, 1)
	}
	foreign := signed(t, key, "example.net", campaign)
	foreignOnly := foreign[:strings.Index(foreign, "From: ")]
	without := strings.ReplaceAll(campaign, "\n", "\r\n")
	for _, tt := range []struct{ name, mail, want string }{
		{"the author's domain", good, ""},
		{"a domain below it", signed(t, key, "mail.example.com", campaign), ""},
		{"a domain above it", signed(t, key, "example.com", replace(campaign, "@example.com", "@news.example.com")), ""},
		{"another's signature on top", signed(t, key, "example.net", strings.ReplaceAll(good, "\r\n", "\n")), ""},
		{"the list in Cc", signed(t, key, "example.com", replace(campaign, "To: promo@lists.example.com", "To: a@example.org\nCc: b@example.org, Promo <PROMO@lists.example.com>")), ""},
		{"other fields added on top, as servers do", "X-MS-Has-Attach:\r\nReceived: x\r\n" + good, ""},

		{"no signature", without, `550 5.7.20 the list promo@lists.example.com takes mail from network 192.0.2.0/24 without AUTH only if it is signed: it has no DKIM signature: switch on DKIM signing for example.com where the mail is sent from, or let the mail program log in (AUTH)`},
		{"of another domain", foreign, `550 5.7.22 the list promo@lists.example.com takes mail from network 192.0.2.0/24 without AUTH only if it is signed: its DKIM signature is that of example.net, not of the author's domain: switch on DKIM signing for example.com`},
		{"of a public suffix", signed(t, key, "co.kr", replace(campaign, "@example.com", "@example.co.kr")), `550 5.7.22 `},
		{"another body", good + "P.S.\r\n", `550 5.7.20 the list promo@lists.example.com takes mail from network 192.0.2.0/24 without AUTH only if it is signed: its DKIM signature of example.com is not valid (body hash did not verify). Nothing may change a mail after it is signed`},
		{"another Subject", replace(good, "Hello", "Goodbye"), `550 5.7.20 `},
		{"another key", by("other"), `550 5.7.20 `},
		{"no key", by("absent"), `(no valid key found)`},
		{"a key that was withdrawn", by("revoked"), `(key revoked)`},
		{"a short key", by("short"), `(key is too short: want 1024 bits, has 768 bits)`},
		{"a key without end", by("huge"), `the key in the DNS is too large`},
		{"a key for tests", by("test"), `the key in the DNS is marked as a test (t=y)`},
		{"the DNS is down", by("down"), `451 4.7.5 the key of the mail's DKIM signature of example.com could not be read from the DNS, so it is not known whether the mail may go to the list promo@lists.example.com; send it again later`},
		{"the DNS is down for one of two", signed(t, key, "example.com", strings.ReplaceAll(replace(good, "s=s;", "s=absent;"), "\r\n", "\n"), func(o *dkim.SignOptions) { o.Selector = "down" }), `451 4.7.5`},
		{"expired", signed(t, key, "example.com", campaign, func(o *dkim.SignOptions) { o.Expiration = time.Now().Add(-time.Minute) }), `(signature has expired)`},
		{"SHA-1", replace(good, "a=rsa-sha256", "a=rsa-sha1"), `(hash algorithm too weak: sha1)`},
		{"part of the body", replace(good, "v=1;", "v=1; l=5;"), `(message contains an insecure body length tag)`},
		{"From is not signed", replace(good, "h=From:", "h="), `(From field not signed)`},
		{"the sixth signature", strings.Repeat(foreignOnly, 5) + good, `550 5.7.22 `},
		{"the fifth signature", strings.Repeat(foreignOnly, 4) + good, ``},

		{"To is not signed", signed(t, key, "example.com", campaign, only("From", "Subject", "Date", "Message-ID")), `550 5.7.21 the list promo@lists.example.com takes mail from network 192.0.2.0/24 without AUTH only if it is signed: its DKIM signature of example.com does not cover To, so others could change that and send the mail again: have it signed too (h=), or let the mail program log in (AUTH)`},
		{"Subject is not signed", signed(t, key, "example.com", campaign, only("From", "To", "Date")), `does not cover Subject`},
		{"a Cc is added", "Cc: promo@lists.example.com\r\n" + signed(t, key, "example.com", replace(campaign, "promo@lists", "someone@lists"), only("From", "To", "Subject", "Date")), `does not cover Cc`},
		{"a Reply-To is added", "Reply-To: thief@example.org\r\n" + signed(t, key, "example.com", campaign, only("From", "To", "Subject", "Date")), `does not cover Reply-To`},
		{"a mail to somebody else is brought again", signed(t, key, "example.com", replace(campaign, "promo@lists", "someone@lists")), `550 5.7.21 promo@lists.example.com stands neither in To nor in Cc, and without AUTH that is needed: a signed mail to somebody else could be brought to the list by anybody who sends through the same servers. Write the list into To, not Bcc, or let the mail program log in`},
		{"that mail with another To on top", "To: promo@lists.example.com\r\n" + signed(t, key, "example.com", replace(campaign, "promo@lists", "someone@lists")), `550 5.7.1 the mail has 2 To fields, of which a DKIM signature may cover one and readers see another; send it again with one`},
		{"Date is not signed", signed(t, key, "example.com", campaign, only("From", "To", "Subject")), `does not cover Date`},
		{"a Date of last week", signed(t, key, "example.com", replace(campaign, "23 Nov", "15 Nov")), `its Date is Sun, 15 Nov 2026 09:00:00 +0900, and without AUTH a mail may be 7 days old; send it anew`},
		{"a Date of tomorrow", signed(t, key, "example.com", replace(campaign, "23 Nov", "24 Nov")), `its Date is Tue, 24 Nov 2026 09:00:00 +0900`},
		{"no Date", signed(t, key, "example.com", replace(campaign, "Date: ", "X-Date: ")), `it has no Date that can be read`},
		{"two Dates", "Date: Mon, 23 Nov 2026 10:00:00 +0900\r\n" + good, `the mail has 2 Date fields`},
		{"a signature that cannot be read", "DKIM-Signature: v=1; nonsense\r\n" + without, `its DKIM signature cannot be read: switch on DKIM signing for example.com`},
		{"two Subjects", "Subject : Buy\r\n" + good, `550 5.7.1 the mail has 2 Subject fields`},
		{"two From", "From : Boss <boss@example.com>\r\n" + good, `a mail needs one From field, and this one has 2`},
		{"two authors", signed(t, key, "example.com", replace(campaign, "From: ", "From: boss@example.com, ")), `a mail needs one address in From, and this one has 2`},
		{"no From", "To: promo@lists.example.com\r\n\r\n", `a mail needs one From field, and this one has 0`},
		{"a From that is not theirs", signed(t, key, "example.net", replace(campaign, "@example.com", "@example.net")), `550 5.7.1 network 192.0.2.0/24 may not send mail whose From is marketer@example.net: it is not among its ` + "`send_as`" + ` in the configuration; use an address of your own as From, or have the administrator add this one to this [[smtp.network]]`},
		{"a line that is no field", "-- scanned --\r\n" + good, `which is no header field`},
		{"a header without end", strings.Repeat("X: y\r\n", 50000) + good, `which is too long for a list`},
		{"a header alone", strings.TrimSuffix(strings.ReplaceAll(campaign, "\n", "\r\n"), "\r\nDear {{Name}}\r\n"), `550 5.7.20 `},
		{"a header alone, and a signature", strings.TrimSuffix(good, "\r\nDear {{Name}}\r\n"), `550 5.7.20 `},
		{"nothing", "", `a mail needs one From field, and this one has 0`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := postern.CheckSigned(t.Context(), campaignDay, dns.lookup, cloud(), trace+tt.mail, "promo@lists.example.com")
			var e *mail.Error
			switch {
			case tt.want == "" && err == nil:
			case tt.want == "" || err == nil:
				t.Errorf("got %v, want %q", err, tt.want)
			case !errors.As(err, &e) || !strings.Contains(e.Error(), tt.want):
				t.Errorf("got  %v\nwant %v", err, tt.want)
			case len(e.Public) > 480:
				t.Errorf("%d octets are more than a reply takes: %s", len(e.Public), e.Public)
			}
		})
	}
}

// TestMicrosoft365 signs as it does: none of To, Cc and Reply-To. What tells its customers
// apart is the field that it writes itself.
func TestMicrosoft365(t *testing.T) {
	key, record := newKey(t)
	dns := keysInDNS{"s._domainkey.example.com": record}
	text := signed(t, key, "example.com", campaign, only("From", "Date", "Subject", "Message-ID", "Content-Type", "MIME-Version", "X-MS-Exchange-SenderADCheck"))
	for _, tt := range []struct {
		name, add, want string
		tenants         []string
	}{
		{"our tenant", "X-OriginatorOrg: Example.com\r\n", "", []string{"example.org", "example.com"}},
		{"our tenant, which nobody named", "X-OriginatorOrg: example.com\r\n", "does not cover To, so others could change that and send the mail again: have the administrator name your domain in the `tenants` of this [[smtp.network]], or", nil},
		{"another tenant", "X-OriginatorOrg: evil.example\r\n", "does not cover To", []string{"example.com"}},
		{"no tenant", "", "does not cover To", []string{"example.com", ""}},
		{"two tenants", "X-OriginatorOrg: evil.example\r\nX-OriginatorOrg: example.com\r\n", "does not cover To", []string{"example.com"}},
		{"our tenant, and a Reply-To that was not signed", "X-OriginatorOrg: example.com\r\nReply-To: x@example.org\r\n", "", []string{"example.com"}},
		{"another tenant, and a Reply-To", "X-OriginatorOrg: evil.example\r\nReply-To: x@example.org\r\n", "does not cover Reply-To, so others could change that and send the mail again: have the administrator name your domain in the `tenants`", []string{"example.com"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sub := cloud()
			sub.Tenants = tt.tenants
			err := postern.CheckSigned(t.Context(), campaignDay, dns.lookup, sub, trace+tt.add+text, "promo@lists.example.com")
			if got := fmt.Sprint(err); err == nil && tt.want != "" || err != nil && (tt.want == "" || !strings.Contains(got, tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// TestAMailSignedByAnotherProgram, of dkimpy, and not by the library that verifies.
func TestAMailSignedByAnotherProgram(t *testing.T) {
	raw, err := os.ReadFile("testdata/dkimpy.eml")
	if err != nil {
		t.Fatal(err)
	}
	record, err := os.ReadFile("testdata/dkimpy.txt")
	if err != nil {
		t.Fatal(err)
	}
	dns := keysInDNS{"golden._domainkey.mail.example.com": strings.TrimSpace(string(record))}
	if err := postern.CheckSigned(t.Context(), campaignDay, dns.lookup, cloud(), trace+string(raw), "promo@lists.example.com"); err != nil {
		t.Error(err)
	}
	changed := strings.Replace(string(raw), "a line", "A line", 1)
	if err := postern.CheckSigned(t.Context(), campaignDay, dns.lookup, cloud(), trace+changed, "promo@lists.example.com"); err == nil {
		t.Error("a changed mail was taken")
	}
}

// TestAMailIsJudgedBeforeItIsKept: at RCPT the network's lists are open, at DATA
// the mail is; with AUTH or on this machine it needs no signature, and the verdict
// is for ordinary recipients too.
func TestAMailIsJudgedBeforeItIsKept(t *testing.T) {
	t.Chdir(t.TempDir())
	writeKey(t, "dkim.pem")
	cfg, err := postern.ParseConfig(working + "[[smtp.listener]]\naddress = \"127.0.0.1:0\"\n[[list]]\nid = \"promo\"\naddress = \"promo@lists.example.com\"\n[[dkim]]\ndomain = \"example.com\"\nkey_file = \"dkim.pem\"\n")
	if err != nil {
		t.Fatal(err)
	}
	key, record := newKey(t)
	desk, err := postern.OpenDesk(cfg, keysInDNS{"s._domainkey.example.com": record, "slow._domainkey.example.com": "slow"}.lookup)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := desk.Close(); err != nil {
			t.Error(err)
		}
	}()
	both := []mail.Address{"promo@lists.example.com", "someone@example.org"}
	submit := func(ctx context.Context, text string, change func(*mail.Submitter)) error {
		sub := cloud()
		sub.Relay = true
		change(sub)
		for _, to := range both {
			if err := desk.Check(ctx, sub, "marketer@example.com", to); err != nil {
				return fmt.Errorf("RCPT: %w", err)
			}
		}
		_, err := desk.Accept(ctx, sub, mail.Envelope{From: "marketer@example.com", Recipients: both}, strings.NewReader(trace+text))
		return err
	}
	kept := func(want int) {
		t.Helper()
		list, err := desk.Spool.Messages("", 100)
		if err != nil || len(list) != want {
			t.Fatalf("%d messages are in the spool, want %d (%v)", len(list), want, err)
		}
	}
	as := func(*mail.Submitter) {}
	unsigned := strings.ReplaceAll(today(), "\n", "\r\n")
	if err := submit(t.Context(), unsigned, as); err == nil || !strings.Contains(err.Error(), "550 5.7.20") {
		t.Errorf("without a signature: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel) // a shutdown
	slow := signed(t, key, "example.com", today(), func(o *dkim.SignOptions) { o.Selector = "slow" })
	if err := submit(ctx, slow, as); err == nil || !strings.Contains(err.Error(), "451 4.7.5") {
		t.Errorf("while the DNS is slow: %v", err)
	}
	if err := submit(t.Context(), unsigned, func(s *mail.Submitter) { s.Lists = nil }); err == nil || !strings.HasPrefix(err.Error(), "RCPT: 550 5.7.1") {
		t.Errorf("to a list that is not the network's: %v", err)
	}
	kept(0)
	text := signed(t, key, "example.com", today())
	if err := submit(t.Context(), text, as); err != nil {
		t.Errorf("signed: %v", err)
	}
	kept(2)
	// Who has the mail because they got it too brings it once more, another way.
	if err := submit(t.Context(), "Received: from elsewhere\r\nX-Hop: 2\r\n"+text, as); err != nil {
		t.Errorf("a repetition is answered as the first was: %v", err)
	}
	kept(2)
	for name, change := range map[string]func(*mail.Submitter){
		"AUTH":     func(s *mail.Submitter) { s.Authenticated = true },
		"loopback": func(s *mail.Submitter) { s.Loopback = true },
	} {
		if err := submit(t.Context(), strings.Replace(unsigned, "<1@", "<"+name+"@", 1), change); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	kept(6)
}

// FuzzSignedMail: whatever a client and the DNS say, the check of a signature ends
// without a panic, in the verifier's own goroutines too, and passes nothing that
// is not the mail that was signed.
func FuzzSignedMail(f *testing.F) {
	raw, err := os.ReadFile("testdata/dkimpy.eml")
	if err != nil {
		f.Fatal(err)
	}
	record, err := os.ReadFile("testdata/dkimpy.txt")
	if err != nil {
		f.Fatal(err)
	}
	good, key := string(raw), strings.TrimSpace(string(record))
	head, _, _ := strings.Cut(good, "From: ")
	f.Add(good, key)
	f.Add(head+good, key)
	f.Add(strings.Replace(head, "c=relaxed/simple", "c=simple/relaxed", 1)+good, "v=DKIM1; k=ed25519; p=AAAA; h=sha256:sha1; s=*; t=s")
	f.Add(strings.Replace(good, "bh=", "l=1; x=9999999999; bh=", 1), "p=;;=")
	f.Fuzz(func(t *testing.T, text, record string) {
		lookup := func(context.Context, string) ([]string, error) { return []string{record}, nil }
		err := postern.CheckSigned(t.Context(), campaignDay, lookup, cloud(), trace+text, "promo@lists.example.com")
		if _, body, _ := strings.Cut(good, "\r\n\r\n"); err == nil && record == key && !strings.Contains(text, strings.TrimRight(body, "\r\n")) {
			t.Errorf("passed: %q", text)
		}
	})
}
