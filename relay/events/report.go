package events

import (
	"errors"
	"io"
	"regexp"
	"strings"
	"unicode"

	"postern/mail"
)

// What is read of a report at most. Beyond, it is left out.
const (
	MaxSize       = 10 << 20 // octets of the mail
	MaxRecipients = 100      // of one report
	MaxText       = 500      // octets of a text in a Report
	MaxLinks      = 2000     // octets of a List-Unsubscribe

	maxDepth  = 3        // multiparts within each other
	maxParts  = 100      // in all
	maxFields = 1000     // of one header or part
	maxValue  = 4 << 10  // octets of one field's value
	maxPart   = 64 << 10 // octets of a part whose fields are read
	maxLine   = 8 << 10  // octets of a line; the rest of it is not looked at
)

// ErrNoReport is the error of a mail that is no report.
var ErrNoReport = errors.New("the mail is no delivery report (RFC 3464) and no complaint in the form of ARF (RFC 5965)")

// Report is what a mail says about another mail.
type Report struct {
	// Complaint is the Feedback-Type of ARF in lower case, such as "abuse";
	// "" for a delivery report.
	Complaint string
	// Reporter is who reports: Reporting-MTA, or User-Agent of ARF.
	Reporter string
	// Recipients are those of a delivery report, and of ARF those that it names,
	// which many leave out.
	Recipients []Recipient
	// ID is the Message-ID of the report itself, without angle brackets.
	ID string

	// MessageID is that of the returned mail without angle brackets; this and the
	// next are "" when no part returns its header.
	MessageID string
	// ListUnsubscribe is the field of the returned mail, in which a copy of a list
	// has its token.
	ListUnsubscribe string
	// Copy is the field X-Postern-Copy of the returned mail, which holds the tag of
	// a copy of a list and goes through an upstream that writes its own Message-ID.
	Copy string
	// ReturnPath is where the returned mail's own bounces go.
	ReturnPath mail.Address
}

// Recipient is the fate of a mail for one recipient.
type Recipient struct {
	Final      mail.Address // as the reporter knows it; "" when that is no mail address
	Original   mail.Address // as the sender wrote it; "" when it is not said
	Action     string       // failed, delayed, delivered, relayed or expanded (RFC 3464 §2.3.3), else "" or what was written
	Status     string       // such as "5.1.1" (RFC 3463); "" when it is none
	Diagnostic string       // the words of the server that refused
	RemoteMTA  string
}

// Is says whether the report speaks of this address.
func (r *Recipient) Is(a mail.Address) bool {
	return r.Final != "" && r.Final.Key() == a.Key() || r.Original != "" && r.Original.Key() == a.Key()
}

// ParseReport reads a mail; ErrNoReport, or the error of r.
func ParseReport(r io.Reader) (Report, error) {
	p := &parser{lines: newLines(r)}
	p.entity(nil, 0)
	switch {
	case p.lines.err != nil:
		return Report{}, p.lines.err
	case p.complaint != nil:
		return p.about(p.complaint), nil
	case p.delivery != nil:
		return p.about(p.delivery), nil
	}
	return Report{}, ErrNoReport
}

// about adds what the headers of the report and of the returned mail say.
func (p *parser) about(r *Report) Report {
	r.ID = bareID(p.own.get("Message-ID"))
	r.MessageID = bareID(p.returned.get("Message-ID"))
	r.ListUnsubscribe = printable(p.returned.get("List-Unsubscribe"), MaxLinks)
	r.Copy = text(p.returned.get(CopyHeader))
	r.ReturnPath = address(p.returned.get("Return-Path"))
	return *r
}

// delivery reads the groups of fields of message/delivery-status: one about the
// mail, then one for each recipient (RFC 3464 §2.1).
func delivery(groups []fields) *Report {
	r := &Report{}
	for _, g := range groups {
		if mta := g.get("Reporting-MTA"); mta != "" && r.Reporter == "" {
			r.Reporter = text(afterType(mta))
		}
		if g.get("Final-Recipient") == "" && g.get("Original-Recipient") == "" || len(r.Recipients) == MaxRecipients {
			continue
		}
		r.Recipients = append(r.Recipients, Recipient{
			Final: address(g.get("Final-Recipient")), Original: address(g.get("Original-Recipient")),
			Action: text(strings.ToLower(firstWord(g.get("Action")))), Status: status(g.get("Status")),
			Diagnostic: text(afterType(g.get("Diagnostic-Code"))), RemoteMTA: text(afterType(g.get("Remote-MTA"))),
		})
	}
	if r.Reporter == "" && len(r.Recipients) == 0 {
		return nil
	}
	return r
}

// complaint reads message/feedback-report (RFC 5965 §3). A type that is missing, or
// one that nobody knows, is "other", as §3.1 asks for.
func complaint(groups []fields) *Report {
	r := &Report{Complaint: "other"}
	for _, g := range groups {
		if t := text(strings.ToLower(firstWord(g.get("Feedback-Type")))); t != "" {
			r.Complaint = t
		}
		if r.Reporter == "" {
			r.Reporter = text(g.get("User-Agent"))
		}
		for _, v := range g.all("Original-Rcpt-To") {
			if a := address(v); a != "" && len(r.Recipients) < MaxRecipients {
				r.Recipients = append(r.Recipients, Recipient{Final: a})
			}
		}
	}
	return r
}

// afterType drops the type of "smtp; 550 5.1.1 no such user" (RFC 3464 §2.1.2).
func afterType(v string) string {
	if kind, rest, ok := strings.Cut(v, ";"); ok && !strings.ContainsAny(strings.TrimSpace(kind), " \t") {
		v = rest
	}
	return strings.TrimSpace(v)
}

// address reads "rfc822; kim@example.net", with or without its type and brackets.
func address(v string) mail.Address {
	v = strings.TrimSuffix(strings.TrimPrefix(afterType(v), "<"), ">")
	a, err := mail.ParseAddress(v)
	if err != nil {
		return ""
	}
	return a
}

var statusCode = regexp.MustCompile(`^[245]\.[0-9]{1,3}\.[0-9]{1,3}$`)

func status(v string) string {
	if v = firstWord(v); statusCode.MatchString(v) {
		return v
	}
	return ""
}

// firstWord leaves out comments and what else follows.
func firstWord(v string) string {
	v = strings.TrimSpace(v)
	if i := strings.IndexAny(v, " \t(;"); i >= 0 {
		v = v[:i]
	}
	return v
}

// text is a stranger's text as it may be shown.
func text(v string) string { return printable(v, MaxText) }

func printable(v string, limit int) string {
	v = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) { // controls, direction marks, what is no UTF-8
			return ' '
		}
		return r
	}, strings.ToValidUTF8(v, " "))
	v = strings.Join(strings.Fields(v), " ")
	if len(v) > limit {
		v = strings.ToValidUTF8(v[:limit], "")
	}
	return v
}
