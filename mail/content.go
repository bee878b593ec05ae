package mail

import (
	"bytes"
	"io"
	"net"
)

// Content is a mail ready to travel: CRLF line ends throughout. The body comes
// in segments because the copies of a message share most of them; they are
// never written to.
type Content struct {
	Header []byte   // whole fields, without the empty line that ends them
	Body   [][]byte // concatenated, the body
}

var crlf = []byte("\r\n")

// Size is the length in octets of header, empty line and body.
func (c Content) Size() int64 {
	n := int64(len(c.Header)) + 2
	for _, s := range c.Body {
		n += int64(len(s))
	}
	return n
}

// WriteTo writes the mail; on a network connection in one writev(2).
func (c Content) WriteTo(w io.Writer) (int64, error) {
	b := c.segments()
	return b.WriteTo(w)
}

// Bytes is the mail in one new slice.
func (c Content) Bytes() []byte {
	return bytes.Join(c.segments(), nil)
}

// Reader reads the mail from its start.
func (c Content) Reader() io.Reader {
	b := c.segments()
	return &b
}

// Prepend returns the mail with one more whole field (CRLF included) on top.
func (c Content) Prepend(field []byte) Content {
	h := make([]byte, 0, len(field)+len(c.Header))
	return Content{Header: append(append(h, field...), c.Header...), Body: c.Body}
}

func (c Content) segments() net.Buffers {
	b := make(net.Buffers, 0, len(c.Body)+2)
	return append(append(b, c.Header, crlf), c.Body...)
}
