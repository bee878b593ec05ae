package expand

import (
	"errors"
	"fmt"
	"strings"

	"postern/mail"
)

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
// The body stays octet for octet, and is not part of what MarshalBinary writes:
// [LoadOrdinary] asks for the mail again. Of in it reads ID, Raw, Hostname, Date
// and RewriteFrom. A From that is not exactly one readable mailbox is refused
// (554 5.6.0), since nobody could say whose it is, unless it is rewritten.
func Ordinary(in Input) (*Compiled, error) {
	h, n, _ := readHeader(in.Raw) // a line that is no field starts the body: the empty line was forgotten
	kept := relayable(h)
	from, err := oneFrom(kept)
	if err != nil && in.RewriteFrom == "" {
		return nil, err
	}
	if to := in.RewriteFrom; to != "" && from.addr.Key() != to.Key() {
		if kept, err = rewriteFrom(kept, to, from); err != nil {
			return nil, err
		}
		from.addr = to
	}
	c := &Compiled{body: in.Raw[n:len(in.Raw):len(in.Raw)]}
	c.Shown = strings.TrimSpace(clean(decodeWords(kept.text("Subject"))))
	c.From = from.addr
	c.Whole, c.Start = int64(len(in.Raw)), int64(n)
	for _, f := range kept {
		c.Head = append(c.Head, f.raw...)
	}
	if _, ok := kept.find("Date"); !ok {
		c.Head = append(c.Head, "Date: "+in.Date.Format(dateLayout)+"\r\n"...)
	}
	if _, ok := kept.find("Message-ID"); !ok {
		c.Head = append(c.Head, "Message-ID: <"+string(in.ID)+"@"+in.Hostname+">\r\n"...)
	}
	return c, nil
}

// LoadOrdinary reads what MarshalBinary wrote of a mail made by [Ordinary]; raw is
// that mail. Neither may change afterwards.
func LoadOrdinary(compiled, raw []byte) (*Compiled, error) {
	c, err := load(compiled)
	switch {
	case err != nil:
		return nil, err
	case !c.ordinary():
		return nil, errors.New("the compiled mail is a list's, not an ordinary one")
	case c.Whole != int64(len(raw)) || c.Start < 0 || c.Start > c.Whole:
		return nil, fmt.Errorf("the compiled mail is of another body: that had %d octets, this has %d", c.Whole, len(raw))
	}
	c.body = raw[c.Start:len(raw):len(raw)]
	return c, nil
}

// ordinary says that the mail has no slots and its body is kept elsewhere.
func (c *Compiled) ordinary() bool { return c.Whole > 0 }

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
