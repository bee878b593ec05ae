package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"postern/mail"
	"postern/relay"
	"postern/relay/notice"
	"postern/relay/report"
	"postern/relay/sign"
)

// newReporter tells senders and the operator what became of mail.
func (a *App) newReporter(lanes []relay.LaneConfig, signs signFunc) *report.Reporter {
	c := a.cfg
	if c.Notices.Operator == "" {
		a.log.Warn("notices.operator is empty: nobody is told when a lane pauses or the disk fails")
	}
	return report.New(report.Config{
		Spool: a.spool, Hostname: c.Hostname, Location: c.location(), From: c.Notices.From, Envelope: c.noticeEnvelope(),
		Lane: c.Notices.Lane, Language: c.Notices.Language, Operator: c.Notices.Operator, Postmaster: c.postmaster(), GiveUp: c.Relay.RetryRelayed.MaxAge,
		Ours:    c.automatic,
		Sent:    func(m *mail.Message) (mail.Content, error) { return a.renderer.preview(m, &mail.Copy{Message: m.ID}) },
		Lanes:   func() []relay.LaneStatus { return a.relay.Lanes() },
		Trouble: a.diskTrouble,
		Sync:    a.syncTrouble,
		Direct:  c.direct(lanes, signs),
		Log:     a.log,
	})
}

// diskTrouble is what is wrong with the disk of data_dir; no words: nothing.
func (a *App) diskTrouble() (notice.Kind, string) {
	if err := a.spool.Broken(); err != nil {
		return notice.SpoolBroken, err.Error()
	}
	if err := a.spool.Trouble(); err != nil {
		return notice.DiskFull, err.Error()
	}
	if err := nearlyFull(a.cfg.DataDir); err != nil {
		return notice.DiskLow, err.Error()
	}
	return 0, ""
}

type signFunc = func(mail.Content, mail.Address) (mail.Content, error)

// signer signs what there is a key for. A notice goes unsigned where there is none
// for notices.from: better than not at all.
func (c *Config) signer(keys *sign.Keys) signFunc {
	return func(m mail.Content, from mail.Address) (mail.Content, error) {
		if _, found, _ := keys.For(from); !found && from == c.Notices.From {
			return m, nil
		}
		return keys.Sign(m, from)
	}
}

// noticeLane is the lane of notices.
func (c *Config) noticeLane() *LaneConfig { return c.laneCalled(c.Notices.Lane) }

// laneCalled is the lane of that name, else the first.
func (c *Config) laneCalled(name string) *LaneConfig {
	for i := range c.Lanes {
		if c.Lanes[i].Name == name {
			return &c.Lanes[i]
		}
	}
	return &c.Lanes[0]
}

// noticeEnvelope is the envelope sender of notices.
func (c *Config) noticeEnvelope() mail.Address { return c.envelopeOf(c.noticeLane(), c.Notices.From) }

// envelopeOf is the envelope sender of what the gateway itself writes: nobody (RFC 5321
// §6.1), so that none is answered; but From where SES takes the mail, by its API or by
// SMTP, because it refuses the null sender.
func (c *Config) envelopeOf(l *LaneConfig, from mail.Address) mail.Address {
	host, _, _ := net.SplitHostPort(l.SMTP.Address)
	if l.Driver == "ses" || l.Driver == "smtp" && strings.HasSuffix(strings.ToLower(host), ".amazonaws.com") {
		return from
	}
	return ""
}

// automatic says whether an address is read by this gateway and by no person.
func (c *Config) automatic(a mail.Address) bool {
	s := newServices(c)
	return s.lists[a.Key()] || s.of(&mail.Submitter{Relay: true, SendAs: []string{"*"}}, a, a).kind != noService
}

// directWithin bounds how long the other notices wait for one about the disk.
const directWithin = 30 * time.Second

// direct hands a mail upstream without the spool, through the notices' lane or the
// first other one that takes it.
func (c *Config) direct(lanes []relay.LaneConfig, signs signFunc) func(context.Context, mail.Address, []byte) error {
	return func(ctx context.Context, to mail.Address, raw []byte) error {
		ctx, cancel := context.WithTimeout(ctx, directWithin)
		defer cancel()
		header, body, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
		content, err := signs(mail.Content{Header: append(header[:len(header):len(header)], "\r\n"...), Body: [][]byte{body}}, c.Notices.From)
		if err != nil {
			return err
		}
		d := &relay.Delivery{From: c.noticeEnvelope(), To: to, Content: content}
		own := c.noticeLane().Name
		var errs []error
		for _, first := range []bool{true, false} {
			for i := range lanes {
				if (lanes[i].Name == own) != first {
					continue
				}
				if _, err := lanes[i].Sender.Send(ctx, d); err == nil {
					return nil
				} else if errs = append(errs, fmt.Errorf("lane %s: %w", lanes[i].Name, err)); mail.ClassOf(err) == mail.Uncertain {
					return err // it may have gone out
				}
			}
		}
		return errors.Join(errs...)
	}
}

// forward hands a stranger's mail for the postmaster on to whoever reads it.
func (a *App) forward(ctx context.Context, sub *mail.Submitter, from mail.Address, raw []byte) error {
	if err := a.reporter.ToPostmaster(ctx, from, sub.Remote, raw); err != nil {
		return full(err)
	}
	return nil
}

// noticesFrom is notices.from; where that is the default, and of a domain without a
// [[dkim]] entry, the postmaster of the first domain that has one. The default is of
// a domain that is nobody's, and receivers would refuse what comes from there.
func (c *Config) noticesFrom() mail.Address {
	from := c.Notices.From
	if from != DefaultConfig().Notices.From {
		return from
	}
	for _, d := range c.DKIM {
		if signsFor(d.Domain, from) {
			return from
		}
	}
	for _, d := range c.DKIM {
		if a, err := mail.ParseAddress("postmaster@" + d.Domain); err == nil {
			return a
		}
	}
	return from
}

// signsFor says whether the key of a domain is one for an address.
func signsFor(domain string, a mail.Address) bool {
	key := mail.Address("x@" + domain).Domain()
	return a.Domain() == key || strings.HasSuffix(a.Domain(), "."+key)
}

// postmaster is who reads what strangers write to postmaster@ (RFC 5321 §4.5.1): the
// operator, else whoever reads notices.from, if that is a person; "": nobody.
func (c *Config) postmaster() mail.Address {
	if c.Notices.Operator != "" {
		return c.Notices.Operator
	}
	if c.automatic(c.Notices.From) {
		return ""
	}
	return c.Notices.From
}
