package main

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"time"

	"postern/mail"
	"postern/optout"
	"postern/relay/events"
	"postern/spool"
)

// This file is about the return paths of copies, and what comes back to them.

// returnPaths gives the copies of lists an envelope sender of our own, so that their
// bounces come to this gateway and tell which copy they are about, in the list's domain:
// bounces+CODE@lists.example.com (variable envelope return path). Ordinary mail keeps the
// sender's, whose bounces are the sender's business.
func (c *Config) returnPaths(keyring *optout.Keyring) func(string, *mail.Message, *mail.Copy) mail.Address {
	own := map[string]bool{}
	for i := range c.Lanes {
		own[c.Lanes[i].Name] = c.Lanes[i].ownReturnPath()
	}
	return func(lane string, m *mail.Message, cp *mail.Copy) mail.Address {
		if m.List == nil || !own[lane] {
			return m.From
		}
		return mail.Address("bounces+" + bounceCode(keyring, m, cp.Tag()) + "@" + m.List.Address.Domain())
	}
}

// ownReturnPath says whether copies of lists bear a return path of ours on the lane. By
// SES none survives: it sets its own, and tells of bounces by events.
func (l *LaneConfig) ownReturnPath() bool {
	host, _, _ := net.SplitHostPort(l.SMTP.Address)
	return l.Driver == "smtp" && l.SMTP.ReturnPath == "own" && !strings.HasSuffix(strings.ToLower(host), ".amazonaws.com")
}

// bounceCode names a copy and proves that we have written it.
func bounceCode(keyring *optout.Keyring, m *mail.Message, tag string) string {
	tag = strings.ToLower(tag)
	return tag + "-" + keyring.Mark(m.TokenKey, tag)
}

// bounced finds the copy that a code names, when the code is one of ours.
func bounced(keyring *optout.Keyring, s *spool.Spool, code string) (mail.Copy, error) {
	cut := strings.LastIndexByte(code, '-')
	if cut < 0 {
		return mail.Copy{}, spool.ErrNotFound
	}
	tag, mark := strings.ToLower(code[:cut]), code[cut+1:]
	id, seq, err := mail.ParseTag(tag)
	if err != nil {
		return mail.Copy{}, spool.ErrNotFound
	}
	m, err := s.Message(id)
	if err != nil {
		return mail.Copy{}, err
	}
	if !keyring.Marked(m.TokenKey, tag, mark) {
		return mail.Copy{}, spool.ErrNotFound
	}
	return s.Copy(id, seq)
}

// takeReport takes a bounce or a complaint about a copy that the spool knows. One that
// bears a proof that it comes from where the copy went has its effect; another is
// noted in the log, because a stranger may have made it up.
func (in *intake) takeReport(ctx context.Context, sub *mail.Submitter, svc service, body *spool.Body, now time.Time) (errand, error) {
	f, err := body.Reader()
	if err != nil {
		return nil, full(err)
	}
	none := mail.Refuse(550, "5.1.1", "this address only takes reports about mail that this gateway has sent, as mail servers write them (RFC 3464, RFC 5965), and this is not one about a mail that it knows")
	r, err := events.ParseReport(io.NewSectionReader(f, 0, body.Size()))
	if errors.Is(err, events.ErrNoReport) {
		return nil, none
	} else if err != nil {
		return nil, full(err)
	}
	if c, err := in.proven(svc.code, &r); err == nil {
		told := eventsOf(c, &r, now)
		return func() error {
			if err := in.feedback(ctx, told); err != nil {
				return full(err)
			}
			return nil
		}, nil
	} else if !errors.Is(err, spool.ErrNotFound) {
		return nil, full(err)
	}
	c, fate, err := in.reported(svc.code, &r)
	if errors.Is(err, spool.ErrNotFound) {
		return nil, none
	} else if err != nil {
		return nil, full(err)
	}
	return func() error {
		in.log.Info("a report came back that proves nothing and changes nothing", "message", c.Message, "copy", c.Seq, "to", c.To, "status", fate.Status,
			"action", fate.Action, "complaint", r.Complaint, "diagnostic", fate.Diagnostic, "reporter", r.Reporter, "session", sub.Session)
		return nil
	}, nil
}

// proven finds the copy that a report proves to be about: by the mark in the return path
// that it was sent to, or in that of the returned mail; or by the unsubscribe token of
// the returned mail. Only those who had the copy know them.
func (in *intake) proven(code string, r *events.Report) (mail.Copy, error) {
	returned := strings.TrimPrefix(strings.ToLower(r.ReturnPath.Local()), "bounces+")
	for _, c := range []string{code, returned} {
		if found, err := bounced(in.keyring, in.spool, c); !errors.Is(err, spool.ErrNotFound) {
			return found, err
		}
	}
	for _, uri := range strings.Split(r.ListUnsubscribe, ",") {
		uri = strings.Trim(strings.TrimSpace(uri), "<>")
		claim, err := in.keyring.Open(uri[strings.LastIndexByte(uri, '/')+1:])
		if err != nil {
			continue
		}
		return in.spool.CopyTo(claim.Message, claim.User)
	}
	return mail.Copy{}, spool.ErrNotFound
}

// eventsOf is what a report says of a copy. A report about one recipient is about the
// copy's, also when a forwarder has changed the address.
func eventsOf(c mail.Copy, r *events.Report, now time.Time) (list []events.Event) {
	all := r.Events()
	for _, e := range all {
		if len(all) > 1 && e.To != "" && e.To.Key() != c.To.Key() {
			continue
		}
		e.Tag, e.To, e.At = c.Tag(), c.To, now
		list = append(list, e)
	}
	return list
}

// reported finds the copy that a report speaks of, and what it says of it: by the
// code of the address when that is a copy's tag, else by the Message-ID of the
// returned mail, which is the tag for a list's copy and may be the message's id for
// ordinary mail. That a copy is known is not enough: the report must be about its
// recipient. A complaint speaks of the one who got the copy, whom many leave out.
func (in *intake) reported(code string, r *events.Report) (mail.Copy, events.Recipient, error) {
	c, err := in.byTag(code)
	if errors.Is(err, errNoTag) {
		left, _, _ := strings.Cut(r.MessageID, "@")
		if c, err = in.byTag(left); errors.Is(err, errNoTag) {
			return in.byMessage(left, r)
		}
	}
	if err != nil {
		return c, events.Recipient{}, err
	}
	if r.Complaint != "" {
		return c, events.Recipient{}, nil
	}
	for _, fate := range r.Recipients {
		if fate.Is(c.To) {
			return c, fate, nil
		}
	}
	return c, events.Recipient{}, spool.ErrNotFound
}

// errNoTag is the error of a code that is no copy's tag, known or not.
var errNoTag = errors.New("not a copy's tag")

func (in *intake) byTag(tag string) (mail.Copy, error) {
	id, seq, err := mail.ParseTag(tag)
	if err != nil || seq == 0 {
		return mail.Copy{}, errNoTag
	}
	return in.spool.Copy(id, seq)
}

// byMessage finds the copy of a message for somebody whom the report names.
func (in *intake) byMessage(id string, r *events.Report) (mail.Copy, events.Recipient, error) {
	message, err := mail.ParseID(id)
	if err != nil {
		return mail.Copy{}, events.Recipient{}, spool.ErrNotFound
	}
	for _, fate := range r.Recipients {
		for _, to := range []mail.Address{fate.Original, fate.Final} {
			c, err := in.spool.CopyTo(message, to)
			if to != "" && !errors.Is(err, spool.ErrNotFound) {
				return c, fate, err
			}
		}
	}
	return mail.Copy{}, events.Recipient{}, spool.ErrNotFound
}
