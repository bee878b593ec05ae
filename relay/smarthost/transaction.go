package smarthost

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"postern/mail"
	"postern/relay"
)

// envelope is a delivery with its addresses in both spellings.
type envelope struct {
	d        *relay.Delivery
	from, to string // as A-labels, without SMTPUTF8
	asciiErr error  // why they cannot be written so
	eightBit bool
	size     int64
}

func newEnvelope(d *relay.Delivery) (*envelope, error) {
	for _, a := range []mail.Address{d.From, d.To} {
		for i := 0; i < len(a); i++ {
			if a[i] < ' ' || a[i] == 0x7f {
				return nil, mail.Refuse(553, "5.1.3", "the address %q has a control character in it", string(a))
			}
		}
	}
	if d.To == "" {
		return nil, mail.Refuse(553, "5.1.3", "the copy has no recipient")
	}
	e := &envelope{d: d, eightBit: eightBit(d.Content), size: d.Content.Size()}
	var fromErr, toErr error
	e.from, fromErr = d.From.ASCII()
	e.to, toErr = d.To.ASCII()
	if e.asciiErr = toErr; toErr == nil {
		e.asciiErr = fromErr
	}
	return e, nil
}

// fits says why the upstream cannot be given this mail, before anything is sent.
func (c *conn) fits(e *envelope) error {
	if e.asciiErr != nil && !c.utf8 {
		return e.asciiErr
	}
	if c.size > 0 && e.size > c.size {
		return mail.Refuse(552, "5.3.4", "the mail has %d octets, and %s takes %d at most", e.size, c.host.addr, c.size)
	}
	if e.eightBit && !c.eightBit {
		later := mail.Later(451, "4.6.3", "the mail has 8-bit text, which %s does not take (no 8BITMIME); it must be encoded first", c.host.addr)
		later.Err = relay.ErrNotSevenBit
		return later
	}
	return nil
}

// transaction sends one mail. Afterwards c.usable says whether the session can
// go on, and c.end what its failure says of more than the copy.
func (c *conn) transaction(e *envelope) (relay.Receipt, error) {
	c.usable, c.end = true, ending{}
	c.bdat = c.chunking && !c.host.noChunks.Load()
	if err := c.fits(e); err != nil {
		return relay.Receipt{}, err
	}
	if err := c.announce(e); err != nil {
		return relay.Receipt{}, err
	}
	return c.hand(e)
}

func (c *conn) mailCommand(b []byte, e *envelope) []byte {
	from, utf8 := e.from, e.asciiErr != nil
	if utf8 {
		from = string(e.d.From)
	}
	b = append(append(append(b, "MAIL FROM:<"...), from...), '>')
	if c.size > 0 {
		b = strconv.AppendInt(append(b, " SIZE="...), e.size, 10)
	}
	if e.eightBit {
		b = append(b, " BODY=8BITMIME"...)
	}
	if utf8 {
		b = append(b, " SMTPUTF8"...)
	}
	return append(b, crlf...)
}

func (c *conn) rcptCommand(b []byte, e *envelope) []byte {
	to := e.to
	if e.asciiErr != nil {
		to = string(e.d.To)
	}
	return append(append(append(b, "RCPT TO:<"...), to...), ">\r\n"...)
}

// announce names the mail: RSET where it is needed, MAIL, RCPT, and DATA up to
// its 354, in one write where the upstream offers PIPELINING (RFC 2920).
//
// BDAT is not among them: it waits for the replies to MAIL and RCPT. RFC 3030
// §4.2 would let it follow at once, but its octets go out with it, and not every
// server swallows the chunk of a mail whose recipient it has refused: it would
// read the mail as commands. And if the connection broke then, the mail would
// have been handed over wholly with nothing known of it, where now an answer to
// RCPT is known.
func (c *conn) announce(e *envelope) error {
	all := [...]stage{atReset, atMail, atRcpt, atData}
	stages := all[:]
	if !c.reset {
		stages = stages[1:]
	}
	if c.bdat {
		stages = stages[:len(stages)-1]
	}
	c.reset = false
	if c.pipelining {
		if err := c.say(e, stages...); err != nil {
			return err
		}
	}
	var refused error
	for _, at := range stages {
		if !c.pipelining {
			if err := c.say(e, at); err != nil {
				return err
			}
		}
		if refused == nil {
			refused = c.expect(at)
		} else {
			c.skip(at)
		}
		// What was said in one write is answered wholly, also after a refusal.
		if !c.usable || refused != nil && !c.pipelining {
			break
		}
	}
	c.reset = refused != nil
	return refused
}

// say writes the commands of these stages.
func (c *conn) say(e *envelope, stages ...stage) error {
	b := c.cmd[:0]
	for _, at := range stages {
		switch at {
		case atReset:
			b = append(b, "RSET\r\n"...)
		case atMail:
			b = c.mailCommand(b, e)
		case atRcpt:
			b = c.rcptCommand(b, e)
		case atData:
			b = append(b, "DATA\r\n"...)
		}
	}
	c.cmd = b
	c.within(c.s.cfg.CommandTimeout)
	if _, err := c.nc.Write(b); err != nil {
		return c.lost(err, stages[0])
	}
	return nil
}

// expect reads the reply of a stage.
func (c *conn) expect(at stage) error {
	r, err := readReply(c.r, false, false)
	if err != nil {
		return c.lost(err, at)
	}
	if at == atData && r.code == 354 || at != atData && r.code/100 == 2 {
		return nil
	}
	return c.refusal(r, at)
}

// skip reads the reply of a stage after a refusal, to stay in step.
func (c *conn) skip(at stage) {
	r, err := readReply(c.r, false, false)
	if err != nil || r.code == 421 {
		c.usable = false
		return
	}
	if at == atData && r.code == 354 {
		c.endEmpty()
	}
}

// endEmpty ends a DATA that was answered with 354 although there is no
// recipient (RFC 2920 §3.1): an empty mail, which goes to nobody.
func (c *conn) endEmpty() {
	c.within(c.s.cfg.CommandTimeout)
	if _, err := c.nc.Write(final); err != nil {
		c.usable = false
		return
	}
	if r, err := readReply(c.r, false, false); err != nil || r.code == 421 {
		c.usable = false
	}
}

// refusal is a reply that says no, and what that means for the session and its
// host.
func (c *conn) refusal(r reply, at stage) error {
	e := r.refusal(classify(at, r))
	switch {
	case r.code == 421:
		c.usable = false
		c.end.stale = at <= atMail
		// A session that was left idle for too long says nothing about its host.
		c.end.down = !(c.used && c.end.stale && idled(r))
	case at == atReset:
		// Whoever refuses RSET is not worth keeping, and it says nothing about the copy.
		c.usable, c.end.stale = false, true
		e.Public = "a new mail is refused: " + e.Public
	case r.code/100 != 4 && r.code/100 != 5:
		c.usable = false
		e.Public = fmt.Sprintf("%s answers %d where SMTP has no such answer; nothing was sent", c.host.addr, r.code)
		return e
	default:
		c.end.down = e.Class == mail.Unreachable
		if at == atMail && c.used && (e.Class == mail.Unreachable || e.Class == mail.Throttled) {
			c.leave(r)
		}
	}
	switch e.Class {
	case mail.Temporary, mail.Permanent, mail.MessageWide: // the upstream's words as they are
	default:
		e.Public = fmt.Sprintf("%s says: %s", c.host.addr, e.Public)
	}
	return e
}

// leave ends a kept session that takes no more mails: the limit may be the session's
// own, as in "too many messages on this connection". Where the words say so, a fresh
// one takes this mail at once.
func (c *conn) leave(r reply) {
	c.usable = false
	if hasAny(strings.ToLower(r.text), "connection", "session") {
		c.end.stale, c.end.down = true, false
	}
}

// lost classifies the end of a session before the mail was sent. Nothing was
// accepted, and it is the upstream's trouble: a copy on which an upstream breaks,
// again and again, is found out by the relay. A kept session that had ended before
// MAIL was accepted says nothing at all.
func (c *conn) lost(err error, at stage) error {
	c.usable = false
	e := unreachable(err, "the connection to %s was lost before the mail was sent: %s", c.host.addr, reason(err))
	switch {
	case c.ctx.Err() != nil:
		e.Err = errors.Join(c.ctx.Err(), err)
	case errors.Is(err, errMalformed):
		e.Class = mail.Temporary
	case at > atMail: // its host was there a moment ago: only a dial shows whether it is
	default:
		// An upstream that keeps silent is not one that has gone away: waiting twice
		// would help nobody. And one that closed a kept session is not down for it.
		silent := isTimeout(err)
		c.end.stale = !silent
		c.end.down = silent || !c.used
	}
	return e
}
