package smtpd

import (
	"bytes"
	"errors"
	"io"
	"os"

	"github.com/emersion/go-smtp"

	"postern/mail"
)

// maxReceived is how many Received fields a mail may bear before it is taken
// for a loop. RFC 5321 §6.3 wants the limit far above any honest path, which
// has about ten hops.
const maxReceived = 50

// maxLine is the longest line of DATA, and of a command, in octets. RFC 5321
// §4.5.3.1.6 asks for 1000; what ERP systems write on one line is far longer.
// It bounds what a client can make us hold for one unfinished line.
const maxLine = 256 << 10

// body is the mail as Accept reads it: our Received field, then what the client
// sent with every line ended by CRLF and no NUL in it. It holds one buffer,
// whatever the mail's size.
//
// A mail that is refused on the way is still read to its end, because the reply
// to DATA has to wait for that, and go-smtp's to BDAT does better to (see
// session.abandoned); Read then gives the reason.
type body struct {
	src    io.Reader
	data   bool        // by DATA; false: by BDAT
	strict bool        // refuse a bare CR, bare LF or NUL instead of mending it
	max    int64       // octets without our Received field
	over   *mail.Error // of a mail with more than max; nil: the usual words
	hangUp func()      // asked when go-smtp will not see the end of DATA that was seen here

	in   []byte
	buf  []byte // backing of out
	out  []byte // not yet read
	done bool
	err  error // the refusal, not io.EOF
	size int64

	declared func() int64 // asked at the end of BDAT: how long the client said that its chunks are
	arrived  int64        // octets of them
	last     bool         // the last chunk has come, or the connection ended within it

	crs    int // CRs held back until it is known what follows, at most 2
	mirror lineState
	blind  blindState

	inHeader bool
	line     int // length of the current line
	name     []byte
	received int
}

// lineState follows go-smtp's reader of DATA, which takes CR CR LF for no line
// end: after an odd CR it does not see the LF.
type lineState int

const (
	atBegin lineState = iota
	afterCR
	inLine
)

// blindState follows what comes after such an unseen line end: a dot there was
// not unstuffed, and `.CRLF` there is the end of the mail, for which go-smtp
// would wait until the client gives up.
type blindState int

const (
	seeing blindState = iota
	afterBlindLF
	afterBlindDot
	afterBlindDotCR
)

func newBody(src io.Reader, received []byte, strict bool, max int64) *body {
	_, bdat := src.(*io.PipeReader)
	return &body{src: src, data: !bdat, strict: strict, max: max, out: received, inHeader: true, in: make([]byte, 4<<10), buf: make([]byte, 0, 5<<10),
		declared: func() int64 { return 0 }, hangUp: func() {}}
}

// Read gives io.EOF only after the whole mail; any other error means that the
// mail must not be taken.
func (b *body) Read(p []byte) (int, error) {
	if err := b.next(); err != nil {
		return 0, err
	}
	n := copy(p, b.out)
	b.out = b.out[n:]
	return n, nil
}

// WriteTo is Read for io.Copy, which needs no buffer of its own then.
func (b *body) WriteTo(w io.Writer) (written int64, err error) {
	for {
		if err := b.next(); err == io.EOF {
			return written, nil
		} else if err != nil {
			return written, err
		}
		n, err := w.Write(b.out)
		written += int64(n)
		if b.out = b.out[n:]; err != nil {
			return written, err
		}
	}
}

// next sees that there is something in out, or says why there is not.
func (b *body) next() error {
	for len(b.out) == 0 && !b.done {
		b.fill()
	}
	if b.err != nil && b.done {
		return b.err
	}
	if len(b.out) == 0 {
		return io.EOF
	}
	return nil
}

func (b *body) fill() {
	n, err := b.src.Read(b.in)
	b.arrived += int64(n)
	b.buf = b.buf[:0]
	b.scan(b.in[:n])
	b.last = !b.data && err == io.EOF
	switch {
	case b.done:
	case b.data && errors.Is(err, os.ErrDeadlineExceeded):
		// Only a look; conn says when patience ends.
	case err == io.EOF && !b.data && b.arrived < b.declared():
		b.fail(mail.Later(451, "4.4.2", "the connection ended in the middle of a chunk; the mail was not taken"))
		b.done = true
	case err == io.EOF:
		b.finish()
	case errors.Is(err, smtp.ErrDataTooLarge):
		// The last octet that go-smtp lets through; the rest is drained by it.
		b.fail(b.tooBig())
		b.done = true
	case errors.Is(err, smtp.ErrTooLongLine):
		b.fail(mail.Refuse(554, "5.6.0", "a line of the mail is longer than %d octets; encode it as quoted-printable or base64", maxLine))
		b.done = true
	case errors.Is(err, smtp.ErrDataReset):
		// RSET or EHLO between two chunks, or the end of the session. Nobody
		// hears this.
		b.fail(mail.Later(451, "4.4.2", "the mail was taken back before its last chunk"))
		b.done = true
	case err != nil:
		b.hangUp() // nobody is there to drain the rest from
		e := mail.Later(421, "4.4.2", "the mail did not arrive whole and was not taken; send it again")
		e.Err = err
		b.fail(e)
		b.done = true
	}
	if b.err != nil {
		b.buf = b.buf[:0]
	}
	b.out = b.buf
}

func (b *body) scan(p []byte) {
	for len(p) > 0 && !b.done {
		switch p[0] {
		case '\r':
			b.carriageReturn()
		case '\n':
			b.lineFeed()
		case 0:
			if b.strict {
				b.fail(mail.Refuse(554, "5.6.0", "the mail holds a NUL octet, which no mail may (RFC 5322 section 2.2); encode it as base64"))
			}
			b.text([]byte(" "))
		default:
			n := bytes.IndexAny(p, "\r\n\x00")
			if n < 0 {
				n = len(p)
			}
			b.text(p[:n])
			p = p[n:]
			continue
		}
		p = p[1:]
	}
}

func (b *body) carriageReturn() {
	if b.mirror == afterCR {
		b.mirror = inLine
	} else {
		b.mirror = afterCR
	}
	switch b.blind {
	case afterBlindDot:
		b.blind = afterBlindDotCR
		return
	case afterBlindDotCR:
		b.crs = 1
	}
	b.blind = seeing
	if b.crs++; b.crs > 1 {
		b.bare("CR")
	}
	if b.crs > 2 {
		b.newline()
		b.crs = 2
	}
}

func (b *body) lineFeed() {
	seen := b.mirror == afterCR
	if b.mirror = inLine; seen {
		b.mirror = atBegin
	}
	if b.blind == afterBlindDotCR {
		b.hangUp()
		b.finish()
		return
	}
	b.blind = seeing
	switch {
	case b.crs == 0:
		b.bare("LF")
	case b.data && !seen:
		b.blind = afterBlindLF
	}
	// A run of CRs before LF is what programs make of CRLF by translating it
	// twice: one line end.
	b.crs = 0
	b.newline()
}

func (b *body) text(p []byte) {
	b.mirror = inLine
	switch b.blind {
	case afterBlindLF:
		if p[0] == '.' {
			b.blind, p = afterBlindDot, p[1:]
		}
		if len(p) == 0 {
			return
		}
	case afterBlindDotCR:
		b.crs = 1
	}
	b.blind = seeing
	for ; b.crs > 0; b.crs-- {
		b.bare("CR")
		b.newline()
	}
	if b.inHeader && len(b.name) < len("received:") {
		b.name = append(b.name, p[:min(len(p), len("received:")-len(b.name))]...)
		b.countReceived()
	}
	b.line += len(p)
	b.emit(p)
}

func (b *body) countReceived() {
	if !bytes.EqualFold(b.name, []byte("received:")) {
		return
	}
	if b.received++; b.received > maxReceived {
		b.fail(mail.Refuse(554, "5.4.6", "the mail bears more than %d Received fields: it goes round in a loop between mail servers", maxReceived))
	}
}

func (b *body) newline() {
	if b.line == 0 {
		b.inHeader = false
	}
	b.line, b.name = 0, b.name[:0]
	b.emit([]byte("\r\n"))
}

func (b *body) emit(p []byte) {
	if b.size += int64(len(p)); b.size > b.max {
		b.fail(b.tooBig())
	}
	if b.err == nil {
		b.buf = append(b.buf, p...)
	}
}

// finish ends the mail. BDAT may leave its last line open (RFC 3030 §2).
func (b *body) finish() {
	for ; b.crs > 0; b.crs-- {
		b.bare("CR")
		b.newline()
	}
	if b.line > 0 {
		b.newline()
	}
	b.done = true
}

func (b *body) bare(what string) {
	if b.strict {
		b.fail(mail.Refuse(554, "5.6.0", "the mail has a bare %s: every line must end with CR LF (RFC 5321 section 2.3.8); "+
			"mend the sending program, or use a listener with bare_newline = \"normalise\"", what))
	}
}

func (b *body) fail(e *mail.Error) {
	if b.err == nil {
		b.err = e
	}
}

func (b *body) tooBig() *mail.Error {
	if b.over != nil {
		return b.over
	}
	return mail.Refuse(552, "5.3.4", "the mail is larger than the %d octets that are taken here", b.max)
}
