package main

import (
	"net"
	"strings"

	"postern/mail"
	"postern/optout"
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
