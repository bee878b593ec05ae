package main

import (
	"bytes"
	"context"
	"mime"
	"net"
	netmail "net/mail"
	"net/textproto"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-message/charset"

	"postern/directory"
	"postern/expand"
	"postern/mail"
	"postern/optout"
	"postern/spool"
)

// maxHops is how many Received fields a mail to the postmaster may bear, ours
// included, before it goes in a circle.
const maxHops = 50

// forwarding takes a mail for the postmaster into custody, on its way to who reads it.
type forwarding func(ctx context.Context, sub *mail.Submitter, from mail.Address, raw []byte) error

// checkService decides about a service recipient at RCPT.
func (in *intake) checkService(svc service) error {
	if svc.kind != postmaster {
		return nil
	}
	switch {
	case in.cfg.postmaster() == "":
		return mail.Refuse(550, "5.1.1", "nobody reads the mail to %s: the administrator of this gateway has to set notices.operator to the address of a person", svc.to)
	case in.forward == nil:
		return mail.Refuse(550, "5.1.1", "mail to %s cannot be forwarded by this version of the gateway", svc.to)
	}
	if nearlyFull(in.cfg.DataDir) != nil {
		return mail.Later(452, "4.3.1", "the disk of this gateway is nearly full; try again later")
	}
	return in.checkRoom()
}

// errand is what is left to do for a service when nothing refuses its mail.
type errand func() error

// serve lets every service of a submission judge its mail, which each of them may
// refuse for all recipients. What they do with it is left to the errand returned.
func (in *intake) serve(ctx context.Context, sub *mail.Submitter, from mail.Address, asked []service, body *spool.Body, now time.Time) (errand, error) {
	var errands []errand
	for _, svc := range asked {
		e, err := in.errand(ctx, sub, from, svc, body, now)
		if err != nil {
			return nil, err
		}
		errands = append(errands, e)
	}
	return func() error {
		for _, e := range errands {
			if err := e(); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

func (in *intake) errand(ctx context.Context, sub *mail.Submitter, from mail.Address, svc service, body *spool.Body, now time.Time) (errand, error) {
	switch svc.kind {
	case unsubscribe:
		return in.leaveByMail(ctx, sub, body, now)
	case bounces:
		return in.takeReport(ctx, sub, svc, body, now)
	case postmaster:
		return in.tellPostmaster(ctx, sub, from, svc, body)
	}
	return nil, mail.Refuse(550, "5.3.3", "this version takes no release by mail: have an administrator run `postern queue resume ID` on the gateway's machine, or press Release on the administrators' page")
}

// leaveByMail unsubscribes whom the token in the Subject names, whatever From
// says (RFC 2369 §3.2). Mail without a valid token changes nothing.
func (in *intake) leaveByMail(ctx context.Context, sub *mail.Submitter, body *spool.Body, now time.Time) (errand, error) {
	raw, err := body.Bytes()
	if err != nil {
		return nil, full(err)
	}
	claim, err := in.claimIn(headerValue(raw, "Subject"))
	if err != nil {
		return nil, mail.Refuse(550, "5.6.0", "this address only takes the unsubscribe mail that a List-Unsubscribe header asks for, with its code as the subject; the code is missing or damaged")
	}
	return func() error {
		client := sub.Remote
		if host, _, err := net.SplitHostPort(client); err == nil {
			client = host
		}
		ev := directory.Evidence{At: now, How: "mailto", Remote: client, Message: claim.Message, Wording: in.leavingMail(raw)}
		if err := in.optOut(ctx, claim.User, claim.List, ev); err != nil {
			return &mail.Error{Code: 451, Enhanced: "4.3.0", Public: "the unsubscription could not be stored; try again later", Err: err}
		}
		in.log.Info("unsubscribed", "list", claim.List, "how", "mailto", "session", sub.Session)
		return nil
	}, nil
}

// inSubject finds what may be a token, whose shortest has more than 80 characters.
var inSubject = regexp.MustCompile(`[A-Za-z0-9_-]{80,}`)

// claimIn opens the token in a subject: folded, encoded, and with what people, programs
// and servers put before it ("Re:", "[EXTERNAL]"). The seal decides.
func (in *intake) claimIn(subject string) (optout.Claim, error) {
	if decoded, err := (&mime.WordDecoder{CharsetReader: charset.Reader}).DecodeHeader(subject); err == nil {
		subject = decoded
	}
	whole := strings.Join(strings.Fields(subject), "")
	for _, token := range slices.Concat(inSubject.FindAllString(subject, maxCodes), []string{whole}, inSubject.FindAllString(whole, maxCodes)) {
		if claim, err := in.keyring.Open(token); err == nil {
			return claim, nil
		}
	}
	return optout.Claim{}, optout.ErrToken
}

const maxCodes = 4 // that are tried

// leavingMail is what the ledger keeps of an unsubscribe mail beside what it did: who says
// that they wrote it, and when. The subject is a code that still works, so it is not kept.
func (in *intake) leavingMail(raw []byte) string {
	lines := []string{"a mail to " + string(in.cfg.OptOut.Mailto)}
	for name, value := range headerFields(raw) {
		switch name {
		case "From", "Date", textproto.CanonicalMIMEHeaderKey("Message-ID"):
			if decoded, err := new(mime.WordDecoder).DecodeHeader(value); err == nil {
				value = decoded
			}
			if len(lines) < 10 && len(value) <= 500 {
				lines = append(lines, name+": "+value)
			}
		}
	}
	return strings.Join(lines, "\n")
}

// tellPostmaster forwards a mail to the administrator, unless it comes from a
// machine: what the forwarded mail itself causes, a bounce or an automatic reply,
// would be forwarded again. Such a mail is taken, and the log says so.
func (in *intake) tellPostmaster(ctx context.Context, sub *mail.Submitter, from mail.Address, svc service, body *spool.Body) (errand, error) {
	if err := in.checkService(svc); err != nil { // RCPT has asked; this is for who does not
		return nil, err
	}
	raw, err := body.Bytes()
	if err != nil {
		return nil, full(err)
	}
	return func() error {
		log := in.log.With("to", svc.to, "from", from, "submitter", sub.Name, "session", sub.Session)
		if why := in.circling(from, raw); why != "" {
			log.Warn("mail to the postmaster was taken and not forwarded", "reason", why)
			return nil
		}
		if err := in.forward(ctx, sub, from, raw); err != nil {
			return full(err)
		}
		log.Info("mail to the postmaster was forwarded", "postmaster", in.cfg.postmaster(), "bytes", len(raw))
		return nil
	}, nil
}

// circling says why a mail to the postmaster must not be forwarded; "" when it may.
// The null sender is that of bounces, which not every server marks as automatic. One
// of a notice to the operator would be forwarded to them again.
func (in *intake) circling(from mail.Address, raw []byte) string {
	if from == "" {
		return "it has the empty sender of bounces"
	}
	hops := 0
	for name, value := range headerFields(raw) {
		switch name {
		case "Auto-Submitted":
			word, _, _ := strings.Cut(value, ";")
			word, _, _ = strings.Cut(word, "(")
			if !strings.EqualFold(strings.TrimSpace(word), "no") {
				return "it was sent by a machine (Auto-Submitted, RFC 3834)"
			}
		case textproto.CanonicalMIMEHeaderKey(expand.MarkHeader):
			return "it is a copy that this gateway has sent (" + expand.MarkHeader + ")"
		case "Received":
			if hops++; hops > maxHops {
				return "it has been through too many hosts (Received)"
			}
		case "From":
			if in.isNotice(value) {
				return "it is a notice of this gateway (From)"
			}
		}
	}
	return ""
}

// isNotice says whether a From is that of our own notices.
func (in *intake) isNotice(from string) bool {
	own := in.cfg.Notices.From
	boxes, err := netmail.ParseAddressList(from)
	if err != nil {
		return own != "" && strings.Contains(strings.ToLower(from), strings.ToLower(string(own)))
	}
	for _, b := range boxes {
		if own != "" && mail.Address(b.Address).Key() == own.Key() {
			return true
		}
	}
	return false
}

// headerFields are the fields of a header, unfolded, decoded no further, by their
// canonical names.
func headerFields(raw []byte) func(yield func(name, value string) bool) {
	return func(yield func(name, value string) bool) {
		var name string
		var value []string
		for line := range bytes.Lines(raw) {
			text := strings.TrimRight(string(line), "\r\n")
			if text == "" {
				break
			}
			if text[0] == ' ' || text[0] == '\t' {
				value = append(value, strings.TrimSpace(text))
				continue
			}
			if name != "" && !yield(name, strings.Join(value, "")) {
				return
			}
			k, v, _ := strings.Cut(text, ":")
			name, value = textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(k)), []string{strings.TrimSpace(v)}
		}
		if name != "" {
			yield(name, strings.Join(value, ""))
		}
	}
}
