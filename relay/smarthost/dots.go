package smarthost

import (
	"bytes"
	"encoding/binary"
	"net"

	"postern/mail"
)

// wire appends a mail to b as DATA carries it (RFC 5321 §4.5.2): header, empty
// line and body, a dot doubled where it begins a line, then the final dot. The
// segments are not copied; where a dot is doubled a segment is cut in two.
//
// A line begins after LF, with or without a CR before it: content has CRLF
// throughout, and if ever it had not, a doubled dot is better than a mail that
// ends early.
func wire(b net.Buffers, c mail.Content) (out net.Buffers, size int64) {
	w := stuffer{out: b, line: true, last: [2]byte{'\r', '\n'}}
	w.add(c.Header)
	w.add(crlf)
	for _, s := range c.Body {
		w.add(s)
	}
	if w.last != [2]byte{'\r', '\n'} {
		w.raw(crlf)
	}
	w.raw(final)
	return w.out, w.size
}

var (
	crlf   = []byte("\r\n")
	dot    = []byte(".")
	final  = []byte(".\r\n")
	newDot = []byte("\n.")
)

type stuffer struct {
	out  net.Buffers
	size int64
	line bool    // the next octet begins a line
	last [2]byte // the last two octets
}

func (w *stuffer) raw(s []byte) {
	w.out = append(w.out, s)
	w.size += int64(len(s))
}

func (w *stuffer) add(s []byte) {
	if len(s) == 0 {
		return
	}
	if w.line && s[0] == '.' {
		w.raw(dot)
	}
	if len(s) > 1 {
		w.last = [2]byte{s[len(s)-2], s[len(s)-1]}
	} else {
		w.last = [2]byte{w.last[1], s[0]}
	}
	w.line = s[len(s)-1] == '\n'
	for {
		i := bytes.Index(s, newDot)
		if i < 0 {
			w.raw(s)
			return
		}
		w.raw(s[:i+1])
		w.raw(dot)
		s = s[i+1:]
	}
}

// eightBit says whether an octet of the mail is beyond 7 bits.
func eightBit(c mail.Content) bool {
	if has8(c.Header) {
		return true
	}
	for _, s := range c.Body {
		if has8(s) {
			return true
		}
	}
	return false
}

func has8(s []byte) bool {
	const high = 0x8080808080808080
	for len(s) >= 8 {
		if binary.LittleEndian.Uint64(s)&high != 0 {
			return true
		}
		s = s[8:]
	}
	for _, c := range s {
		if c >= 0x80 {
			return true
		}
	}
	return false
}
