package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	netmail "net/mail"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-msgauth/dkim"
	"golang.org/x/net/publicsuffix"

	"postern/expand"
	"postern/mail"
)

// Mail from beyond loopback without AUTH opens a list only by a DKIM signature
// (RFC 6376) of its author's domain: an address, also one with a client
// certificate, may be that of a service which sends for everybody.

// lookupTXT finds the TXT records of a name in the DNS, each as one string.
type lookupTXT func(ctx context.Context, name string) ([]string, error)

const (
	maxSignatures    = 5 // that are looked at, from the top
	dnsPatience      = 10 * time.Second
	maxSignedHeader  = 256 << 10          // octets
	maxKeyRecord     = 2048               // octets; an RSA key of 8192 bits has 1400. A larger one costs more time than a mail is worth
	maxDated         = 7 * 24 * time.Hour // that a mail may be old: it may have waited in a queue
	clockSkew        = time.Hour          // that a Date may lie ahead
	howToSignForList = "switch on DKIM signing for %s where the mail is sent from, or let the mail program log in (AUTH)"
)

// signedMail is what the check of one mail has to do with.
type signedMail struct {
	lookup lookupTXT
	sub    *mail.Submitter
	lists  []destination // that it is to open
	now    time.Time
	maxAge time.Duration // within which a repetition is recognised
	head   expand.Head
	from   mail.Address
}

// check refuses a mail that may not open the lists. raw is the mail as it is
// stored, our Received field on top.
func (m *signedMail) check(ctx context.Context, raw io.ReaderAt, size int64) error {
	top := make([]byte, min(size, maxSignedHeader))
	if _, err := raw.ReadAt(top, 0); err != nil && err != io.EOF {
		return err
	}
	trace := traceLength(top)
	if end := bytes.Index(top, []byte("\r\n\r\n")); end < 0 && size > maxSignedHeader {
		return mail.Refuse(554, "5.6.0", "the header of the mail is longer than %d octets, which is too long for a list; send it again with another program", maxSignedHeader)
	}
	head, err := expand.ReadHead(top[trace:])
	if err != nil {
		return err
	}
	m.head = head
	if err := m.readAuthor(); err != nil {
		return err
	}
	if err := m.checkAge(); err != nil {
		return err
	}
	whole := io.NewSectionReader(raw, int64(trace), size-int64(trace))
	// The empty line is for a mail that ends with its header, which the verifier
	// cannot read. Behind a body it counts for nothing (RFC 6376 §3.4.3).
	return m.verify(ctx, io.MultiReader(whole, strings.NewReader("\r\n")))
}

// readAuthor finds the one author of the mail, who must be allowed here. Fields
// that a signature picks one of may not be there twice: what is shown could be
// another than what was signed (RFC 6376 §8.15).
func (m *signedMail) readAuthor() (err error) {
	if m.from, err = m.head.From(); err != nil {
		return err
	}
	for _, name := range []string{"Subject", "Date", "To", "Cc", "Reply-To"} {
		if n := m.head.Count(name); n > 1 {
			return mail.Refuse(550, "5.7.1", "the mail has %d %s fields, of which a DKIM signature may cover one and readers see another; send it again with one", n, name)
		}
	}
	if !m.sub.MaySendAs(m.from) {
		return notSendAs(m.sub, m.from)
	}
	return nil
}

// checkAge refuses what is too old for a repetition of it to be recognised: who
// has a signed mail, because they got it in Cc, could bring it to the list again
// at any time.
func (m *signedMail) checkAge() error {
	date, err := netmail.ParseDate(m.head.Text("Date"))
	if err != nil {
		return m.refuse("5.7.21", "it has no Date that can be read; set the clock of the sending program, or let it log in (AUTH)")
	}
	if age := m.now.Sub(date); age > m.maxAge || age < -clockSkew {
		return m.refuse("5.7.21", "its Date is %s, and without AUTH a mail may be %s old; send it anew", date.Format(time.RFC1123Z), inDays(m.maxAge))
	}
	return nil
}

func inDays(d time.Duration) string {
	if d < 48*time.Hour {
		return d.String()
	}
	return fmt.Sprintf("%d days", d/(24*time.Hour))
}

// signedFingerprint tells a signed mail that is brought again, by whatever way, from
// a new one: what any signature that passes covers. Time and way of transport
// change the rest.
func signedFingerprint(raw []byte) (string, error) {
	head, err := expand.ReadHead(raw)
	if err != nil {
		return "", err
	}
	from, err := head.From()
	if err != nil {
		return "", err
	}
	h := sha256.New()
	for _, s := range []string{from.Key(), head.Text("Date"), head.Text("Subject")} {
		fmt.Fprintf(h, "%q\n", strings.Fields(s))
	}
	return "signed " + hex.EncodeToString(h.Sum(nil)), nil
}

func (m *signedMail) verify(ctx context.Context, raw io.Reader) error {
	ctx, cancel := context.WithTimeout(ctx, dnsPatience)
	defer cancel()
	checks, err := dkim.VerifyWithOptions(raw, &dkim.VerifyOptions{
		LookupTXT:        func(name string) ([]string, error) { return keyRecord(ctx, m.lookup, name) },
		MaxVerifications: maxSignatures,
	})
	if err != nil && !errors.Is(err, dkim.ErrTooManySignatures) {
		return fmt.Errorf("verify the DKIM signatures: %w", err)
	}
	worst := m.unsigned()
	for _, c := range checks {
		v := m.judge(c)
		if v.weight == passes {
			return nil
		}
		if v.weight > worst.weight {
			worst = v
		}
	}
	return worst.err
}

// keyRecord tells a name without a key from a DNS that does not answer, and leaves
// out keys that must not be used: those published for testing (RFC 6376 §3.6.1,
// t=y) and those of an absurd size.
func keyRecord(ctx context.Context, lookup lookupTXT, name string) ([]string, error) {
	records, err := lookup(ctx, strings.TrimSuffix(name, ".")+".")
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return nil, nil
	case err != nil:
		return nil, &net.DNSError{Err: err.Error(), Name: name, IsTemporary: true}
	}
	for _, r := range records {
		switch {
		case len(r) > maxKeyRecord:
			return nil, errors.New("the key in the DNS is too large")
		case testing(r):
			return nil, errors.New("the key in the DNS is marked as a test (t=y)")
		}
	}
	return records, nil
}

func testing(record string) bool {
	for tag := range strings.SplitSeq(record, ";") {
		name, value, _ := strings.Cut(tag, "=")
		if strings.TrimSpace(name) == "t" {
			for flag := range strings.SplitSeq(value, ":") {
				if strings.TrimSpace(flag) == "y" {
					return true
				}
			}
		}
	}
	return false
}

// verdict is what one signature is worth. Of several refusals the client is told
// the one with the most weight: what is nearest to a pass.
type verdict struct {
	weight weight
	err    *mail.Error
}

type weight int

const (
	isMissing   weight = iota
	isForeign          // of another domain
	isBroken           // of the author's domain, but not valid
	isPoor             // valid, but not of what a list needs
	isUndecided        // the DNS did not answer
	passes
)

func (m *signedMail) judge(c *dkim.Verification) verdict {
	switch {
	case c.Domain == "":
		return verdict{isForeign, m.refuse("5.7.20", "its DKIM signature cannot be read: "+howToSignForList, m.from.Domain())}
	case !aligned(c.Domain, m.from.Domain()):
		return verdict{isForeign, m.refuse("5.7.22", "its DKIM signature is that of %s, not of the author's domain: "+howToSignForList, oneName(c.Domain), m.from.Domain())}
	case dkim.IsTempFail(c.Err):
		e := mail.Later(451, "4.7.5", "the key of the mail's DKIM signature of %s could not be read from the DNS, so it is not known whether the mail may go to the list %s; send it again later", oneName(c.Domain), m.lists[0].Address)
		e.Err = c.Err
		return verdict{isUndecided, e}
	case c.Err != nil:
		return verdict{isBroken, m.refuse("5.7.20", "its DKIM signature of %s is not valid (%s). Nothing may change a mail after it is signed: no footer, no scanner's note; else let the mail program log in (AUTH)", oneName(c.Domain), strings.TrimPrefix(c.Err.Error(), "dkim: "))}
	}
	if e := m.covers(c); e != nil {
		return verdict{isPoor, e}
	}
	return verdict{passes, nil}
}

// covers wants signed what a list's copies show, and that the mail was meant for
// the list: a signature is valid wherever the mail is brought, and a mail to
// somebody else could be brought here by anybody who shares the network.
func (m *signedMail) covers(c *dkim.Verification) *mail.Error {
	needed := []string{"Subject", "Date", "Reply-To", "To", "Cc"}
	if m.ownTenant() {
		needed = needed[:2]
	}
	for _, name := range needed {
		if m.head.Count(name) > 0 && !slices.ContainsFunc(c.HeaderKeys, func(k string) bool { return strings.EqualFold(k, name) }) {
			return m.refuse("5.7.21", "its DKIM signature of %s does not cover %s, so others could change that and send the mail again: %s, or let the mail program log in (AUTH)", oneName(c.Domain), name, m.howToCover(name))
		}
	}
	if m.ownTenant() {
		return nil
	}
	written := append(m.head.Mailboxes("To"), m.head.Mailboxes("Cc")...)
	for _, l := range m.lists {
		if !slices.ContainsFunc(written, func(a mail.Address) bool { return a.Key() == l.to.Key() }) {
			return mail.Refuse(550, "5.7.21", "%s stands neither in To nor in Cc, and without AUTH that is needed: a signed mail to somebody else could be brought to the list by anybody who sends through the same servers. Write the list into To, not Bcc, or let the mail program log in", l.to)
		}
	}
	return nil
}

func (m *signedMail) howToCover(name string) string {
	if slices.Contains([]string{"Reply-To", "To", "Cc"}, name) && m.head.Count("X-OriginatorOrg") > 0 {
		return "have the administrator name your domain in the `tenants` of this [[smtp.network]]"
	}
	return "have it signed too (h=)"
}

// ownTenant says whether the service that brings the mail names one of the
// network's own tenants as its sender. Microsoft 365 signs none of To, Cc and
// Reply-To, but writes this field itself, whatever its customers send.
func (m *signedMail) ownTenant() bool {
	if m.head.Count("X-OriginatorOrg") != 1 {
		return false
	}
	org := m.head.Text("X-OriginatorOrg")
	return slices.ContainsFunc(m.sub.Tenants, func(t string) bool { return strings.EqualFold(t, org) })
}

func (m *signedMail) unsigned() verdict {
	return verdict{isMissing, m.refuse("5.7.20", "it has no DKIM signature: "+howToSignForList, m.from.Domain())}
}

// refuse begins every sentence with what is needed and why.
func (m *signedMail) refuse(enhanced, format string, a ...any) *mail.Error {
	return mail.Refuse(550, enhanced, "the list %s takes mail from %s without AUTH only if it is signed: "+format, append([]any{m.lists[0].Address, m.sub.Name}, a...)...)
}

// aligned is the relaxed alignment of DMARC (RFC 9989): both names belong to one
// organisation.
func aligned(d, from string) bool {
	d = mail.Address("x@" + d).Domain()
	if d == "" {
		return false
	}
	a, errA := publicsuffix.EffectiveTLDPlusOne(d)
	b, errB := publicsuffix.EffectiveTLDPlusOne(from)
	return errA == nil && errB == nil && a == b
}

// oneName is a domain as a client wrote it, no longer than a sentence bears.
func oneName(d string) string {
	if len(d) > 80 {
		d = d[:80] + "..."
	}
	return d
}

// traceLength is how long the first field is: our own Received.
func traceLength(raw []byte) int {
	n := 0
	for first := true; first || n < len(raw) && (raw[n] == ' ' || raw[n] == '\t'); first = false {
		i := bytes.IndexByte(raw[n:], '\n')
		if i < 0 {
			return len(raw)
		}
		n += i + 1
	}
	return n
}
