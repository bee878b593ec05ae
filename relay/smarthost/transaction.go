package smarthost

import (
	"errors"
	"fmt"
	"strconv"
	"time"

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
		return mail.Refuse(552, "5.3.4", "the mail has %d octets, and %s takes %d at most", e.size, c.s.cfg.Address, c.size)
	}
	if e.eightBit && !c.eightBit {
		return mail.Later(451, "4.6.3", "the mail has 8-bit text, which %s does not take (no 8BITMIME); it is encoded for the next attempt", c.s.cfg.Address)
	}
	return nil
}

// transaction sends one mail. Afterwards c.usable says whether the session can
// go on, and c.stale whether it had ended before anything was accepted.
func (c *conn) transaction(e *envelope) (relay.Receipt, error) {
	c.usable, c.stale = true, false
	if err := c.fits(e); err != nil {
		return relay.Receipt{}, err
	}
	if err := c.announce(e); err != nil {
		return relay.Receipt{}, err
	}
	return c.data(e)
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

// announce brings the session to the 354 of DATA.
func (c *conn) announce(e *envelope) error {
	if !c.pipelining {
		return c.announceStepwise(e)
	}
	c.within(c.s.cfg.CommandTimeout)
	b, wasReset := c.cmd[:0], c.reset
	if wasReset {
		b = append(b, "RSET\r\n"...)
	}
	b = append(c.rcptCommand(c.mailCommand(b, e), e), "DATA\r\n"...)
	c.cmd, c.reset = b, false
	if _, err := c.nc.Write(b); err != nil {
		return c.lost(err, false)
	}
	// Every reply is read, also after a refusal, so that the session stays in step.
	if wasReset {
		if err := c.expectReset(); err != nil {
			return err
		}
	}
	mailErr := c.expect(250, false)
	if !c.usable {
		return mailErr
	}
	rcptErr := c.expect(250, mailErr == nil)
	if !c.usable {
		return first(mailErr, rcptErr)
	}
	dataErr := c.expect(354, mailErr == nil)
	refused := first(mailErr, rcptErr)
	if refused == nil {
		refused = dataErr
	} else if dataErr == nil {
		c.endEmpty()
	}
	c.reset = refused != nil
	return refused
}

func first(a, b error) error {
	if a != nil {
		return a
	}
	return b
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

func (c *conn) announceStepwise(e *envelope) error {
	if c.reset {
		c.within(c.s.cfg.CommandTimeout)
		if _, err := c.nc.Write([]byte("RSET\r\n")); err != nil {
			return c.lost(err, false)
		}
		if err := c.expectReset(); err != nil {
			return err
		}
		c.reset = false
	}
	if err := c.step(c.mailCommand(c.cmd[:0], e), 250, false); err != nil {
		c.reset = true
		return err
	}
	if err := c.step(c.rcptCommand(c.cmd[:0], e), 250, true); err != nil {
		c.reset = true
		return err
	}
	if err := c.step(append(c.cmd[:0], "DATA\r\n"...), 354, true); err != nil {
		c.reset = true
		return err
	}
	return nil
}

// expectReset reads the reply to RSET. Whoever refuses it is not worth keeping,
// and it says nothing about the copy.
func (c *conn) expectReset() error {
	err := c.expect(250, false)
	if err != nil && c.usable {
		c.usable, c.stale = false, true
		return &mail.Error{Class: mail.Unreachable, Err: err, Public: fmt.Sprintf("%s refuses to begin a new mail", c.s.cfg.Address)}
	}
	return err
}

func (c *conn) step(command []byte, want int, begun bool) error {
	c.cmd = command
	c.within(c.s.cfg.CommandTimeout)
	if _, err := c.nc.Write(command); err != nil {
		return c.lost(err, begun)
	}
	return c.expect(want, begun)
}

// expect reads one reply and compares its kind. Begun says that the upstream has
// accepted MAIL.
func (c *conn) expect(want int, begun bool) error {
	r, err := readReply(c.r, false, false)
	if err != nil {
		return c.lost(err, begun)
	}
	if r.code == want || want == 250 && r.code/100 == 2 {
		return nil
	}
	return c.refusal(r, begun)
}

// refusal classifies a reply that says no before any of the mail was sent.
func (c *conn) refusal(r reply, begun bool) error {
	switch {
	case r.code == 421:
		// "Service not available, closing transmission channel".
		c.usable, c.stale = false, !begun
		return r.refusal(mail.Unreachable)
	case r.code == 530 || r.code == 535 || r.code == 538:
		// They ask for a login, or for TLS before it: every copy gets this.
		return r.refusal(mail.AccountWide)
	case r.code/100 == 4:
		return r.refusal(mail.Temporary)
	case r.code/100 == 5:
		return r.refusal(mail.Permanent)
	}
	c.usable = false
	return &mail.Error{Class: mail.Temporary, Code: r.code,
		Public: fmt.Sprintf("%s answers %d where SMTP has no such answer; nothing was sent", c.s.cfg.Address, r.code)}
}

// lost classifies the end of a session before the mail was sent. Nothing was
// accepted. Before MAIL was accepted it is the upstream's trouble; after it, it
// may be this copy's, which then spends an attempt, so that a copy on which an
// upstream breaks cannot stop its lane.
func (c *conn) lost(err error, begun bool) error {
	c.usable = false
	e := &mail.Error{Class: mail.Unreachable, Err: err,
		Public: fmt.Sprintf("the connection to %s was lost before the mail was sent: %s", c.s.cfg.Address, reason(err))}
	if begun || errors.Is(err, errMalformed) {
		e.Class = mail.Temporary
	}
	// An upstream that keeps silent is not one that has gone away: waiting twice
	// would help nobody.
	c.stale = e.Class == mail.Unreachable && !isTimeout(err)
	if c.ctx.Err() != nil {
		e.Class = mail.Unreachable
		e.Err = errors.Join(c.ctx.Err(), err)
	}
	return e
}

// data writes the mail after the 354 and reads the verdict.
func (c *conn) data(e *envelope) (relay.Receipt, error) {
	c.within(c.s.cfg.DataTimeout)
	sent, err := c.write(e)
	if err != nil {
		c.usable = false
		return relay.Receipt{}, c.brokenOff(sent, err)
	}
	c.within(c.s.cfg.DataTimeout)
	r, err := readReply(c.r, true, false)
	if err != nil {
		c.usable = false
		return relay.Receipt{}, c.unknown(err, "no answer came: "+reason(err))
	}
	switch r.code / 100 {
	case 2:
		return relay.Receipt{ID: queueID(r.text), Text: r.text}, nil
	case 4, 5:
		return relay.Receipt{}, c.verdict(r)
	}
	c.usable = false
	return relay.Receipt{}, c.unknown(nil, fmt.Sprintf("it answered %d, which SMTP does not know there", r.code))
}

// verdict is a refusal at the end of DATA. The upstream has forgotten the
// transaction (RFC 5321 §4.1.1.4), so that no RSET is needed.
func (c *conn) verdict(r reply) error {
	if r.code == 421 {
		c.usable = false
	}
	if r.code/100 == 4 {
		return r.refusal(mail.Temporary)
	}
	return r.refusal(mail.Permanent)
}

func (c *conn) unknown(err error, why string) error {
	if c.ctx.Err() != nil {
		err = errors.Join(c.ctx.Err(), err)
	}
	return &mail.Error{Class: mail.Uncertain, Err: err,
		Public: fmt.Sprintf("the mail was handed to %s and %s; it may have been sent", c.s.cfg.Address, why)}
}

// write hands over the mail: on a plain connection in one writev(2), on TLS in
// full records. Sent is false when the final dot has certainly not gone out.
func (c *conn) write(e *envelope) (sent bool, err error) {
	bufs, size := wire(c.mail[:0], e.d.Content)
	c.mail = bufs
	defer clear(c.mail) // the segments are the message's: do not keep them alive
	if c.records != nil {
		return c.writeRecords()
	}
	c.out = bufs
	n, err := c.out.WriteTo(c.nc)
	c.out = nil
	return n > size-int64(len(final)), err
}

// writeRecords says sent as soon as the last record, with the final dot in it,
// is on its way.
func (c *conn) writeRecords() (sent bool, err error) {
	for _, s := range c.mail {
		if _, err := c.records.Write(s); err != nil {
			return false, err
		}
	}
	return true, c.records.Flush()
}

// brokenOff classifies a connection that broke while the mail was written. An
// upstream that refuses in the middle says so before it hangs up.
func (c *conn) brokenOff(sent bool, err error) error {
	if sent {
		return c.unknown(err, "the connection broke: "+reason(err))
	}
	if !isTimeout(err) && c.ctx.Err() == nil {
		c.within(time.Second)
		if r, readErr := readReply(c.r, false, false); readErr == nil && r.code >= 400 {
			return c.verdict(r)
		}
	}
	return c.lost(err, true)
}
