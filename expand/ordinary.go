package expand

import (
	"strings"

	"postern/mail"
)

// Relayed is ordinary mail as it goes on.
type Relayed struct {
	mail.Content              // the body is that of the mail, octet for octet
	Subject      string       // decoded
	From         mail.Address // the mailbox in the From field
}

// Ordinary gives a mail to ordinary recipients its changed header. Its fields stay
// as they are and in their order, Received ones too, but for:
//
//   - dropped: Bcc, Resent-Bcc, Return-Path, X-SES-* (commands to SES) and
//     DKIM-Signature (SES takes one, ours);
//   - added when missing: Date (in.Date) and Message-ID (<ID@Hostname>), as
//     RFC 6409 §8.2 and §8.3 allow;
//   - From: in.RewriteFrom where that is set and another address, with the former
//     one in Reply-To unless there is one.
//
// The result depends on in alone, so it is not stored but made again when it is
// needed. Of in it reads ID, Raw, Hostname, Date and RewriteFrom; the body is a
// part of Raw, which must not change. A From that is not exactly one readable
// mailbox is refused (554 5.6.0), since nobody could say whose it is, unless it is
// rewritten.
func Ordinary(in Input) (Relayed, error) {
	h, n, _ := readHeader(in.Raw) // a line that is no field starts the body: the empty line was forgotten
	kept := relayable(h)
	from, err := oneFrom(kept)
	if err != nil && in.RewriteFrom == "" {
		return Relayed{}, err
	}
	if to := in.RewriteFrom; to != "" && from.addr.Key() != to.Key() {
		if kept, err = rewriteFrom(kept, to, from); err != nil {
			return Relayed{}, err
		}
		from.addr = to
	}
	r := Relayed{From: from.addr, Subject: strings.TrimSpace(clean(decodeWords(kept.text("Subject"))))}
	for _, f := range kept {
		r.Header = append(r.Header, f.raw...)
	}
	if _, ok := kept.find("Date"); !ok {
		r.Header = append(r.Header, "Date: "+in.Date.Format(dateLayout)+"\r\n"...)
	}
	if _, ok := kept.find("Message-ID"); !ok {
		r.Header = append(r.Header, "Message-ID: <"+string(in.ID)+"@"+in.Hostname+">\r\n"...)
	}
	r.Body = [][]byte{in.Raw[n:len(in.Raw):len(in.Raw)]}
	return r, nil
}

func relayable(h header) header {
	kept := make(header, 0, len(h)+4)
	for _, f := range h {
		if !oneOf(f.name, []string{"Bcc", "Resent-Bcc", "Return-Path", "DKIM-Signature"}) && !strings.HasPrefix(strings.ToUpper(f.name), "X-SES-") {
			kept = append(kept, f)
		}
	}
	return kept
}

// rewriteFrom puts a From that we can sign in the place of every other one.
func rewriteFrom(h header, to mail.Address, former mailbox) (header, error) {
	raw, err := appendMailboxes(nil, "From", []mailbox{{former.name, to}})
	if err != nil {
		return nil, err
	}
	from := field{"From", raw}
	out := make(header, 0, len(h)+2)
	done := false
	for _, f := range h {
		if f.is("From") {
			if done {
				continue
			}
			f, done = from, true
		}
		out = append(out, f)
	}
	if !done {
		out = append(out, from)
	}
	if _, ok := h.find("Reply-To"); ok || former.addr == "" {
		return out, nil
	}
	reply, err := appendMailboxes(nil, "Reply-To", []mailbox{former})
	if err != nil {
		return out, nil // an address that cannot be sent cannot be answered either
	}
	return append(out, field{"Reply-To", reply}), nil
}
