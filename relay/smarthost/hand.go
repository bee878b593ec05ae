package smarthost

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"postern/mail"
	"postern/relay"
)

// hand gives the mail away, after the 354 of DATA or with BDAT (RFC 3030 §2), and
// reads the verdict. Here custody changes: when every octet has been written and
// no answer comes, nobody knows.
func (c *conn) hand(e *envelope) (relay.Receipt, error) {
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

// verdict is a refusal of the mail. After DATA the upstream has forgotten the
// transaction (RFC 5321 §4.1.1.4). After BDAT it is asked to, because RFC 3030
// does not say so. That also finds out a server that did not swallow the chunk,
// as RFC 3030 §2 demands, and reads the mail as commands: the first line of a
// mail is none, so that its next answer, which we take as the one to RSET, is not
// 250.
func (c *conn) verdict(r reply) error {
	if !c.bdat {
		return c.refusal(r, atEnd)
	}
	c.reset = true
	switch r.code {
	case 500, 502, 503, 504:
		return c.withoutChunks(r)
	}
	return c.refusal(r, atEnd)
}

// withoutChunks ends a session whose server offers CHUNKING and does not know
// BDAT. It may be reading the mail as commands, so nothing more is said to it; a
// new session takes the same mail by DATA.
func (c *conn) withoutChunks(r reply) error {
	c.usable, c.end.noChunks = false, true
	c.host.noChunks.Store(true)
	c.s.cfg.Log.Warn("upstream offers CHUNKING and refuses BDAT; it gets DATA from now on", "address", c.host.addr, "code", r.code, "reply", r.text)
	e := r.refusal(mail.Unreachable)
	e.Public = fmt.Sprintf("%s does not know BDAT, which it offers: %s", c.host.addr, e.Public)
	return e
}

func (c *conn) unknown(err error, why string) error {
	if c.ctx.Err() != nil {
		err = errors.Join(c.ctx.Err(), err)
	}
	return &mail.Error{Class: mail.Uncertain, Err: err,
		Public: fmt.Sprintf("the mail was handed to %s and %s; it may have been sent", c.host.addr, why)}
}

// write hands over the mail: on a plain connection in one writev(2), on TLS in
// full records. Sent is false when the end of the mail has certainly not gone
// out: the final dot, or the last octet of the chunk.
func (c *conn) write(e *envelope) (sent bool, err error) {
	bufs, size, tail := c.segments(e)
	c.mail = bufs
	defer clear(c.mail) // the segments are the message's: do not keep them alive
	if c.records != nil {
		return c.writeRecords()
	}
	c.out = bufs
	n, err := c.out.WriteTo(c.nc)
	c.out = nil
	return n > size-tail, err
}

// segments are what goes over the wire, how many octets that is, and how many of
// them, at the end, make the mail whole. A part of a chunk is nothing: the server
// waits for the number of octets that was named.
func (c *conn) segments(e *envelope) (bufs net.Buffers, size, tail int64) {
	if !c.bdat {
		bufs, size = wire(c.mail[:0], e.d.Content)
		return bufs, size, int64(len(final))
	}
	c.cmd = strconv.AppendInt(append(c.cmd[:0], "BDAT "...), e.size, 10)
	c.cmd = append(c.cmd, " LAST\r\n"...)
	bufs = append(c.mail[:0], c.cmd, e.d.Content.Header, crlf)
	return append(bufs, e.d.Content.Body...), int64(len(c.cmd)) + e.size, 1
}

// writeRecords never says sent together with an error. A write that fails has
// left octets of a TLS record behind, and of a record that is not whole the
// server gets nothing (RFC 8446 §5.2).
func (c *conn) writeRecords() (sent bool, err error) {
	for _, s := range c.mail {
		if _, err := c.records.Write(s); err != nil {
			return false, err
		}
	}
	err = c.records.Flush()
	return err == nil, err
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
	return c.lost(err, atEnd)
}
