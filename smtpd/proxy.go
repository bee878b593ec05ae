package smtpd

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/pires/go-proxyproto"

	"postern/smtpd/dialogue"
)

// isProxy says whether a connection from a must begin with a PROXY header. One
// from elsewhere must not: its header would be a command that nobody knows.
func (l *listener) isProxy(a netip.Addr) bool {
	for _, p := range l.conf.ProxyProtocolFrom {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// introduce learns from the PROXY header who the client is, and counts it. On
// false the connection is to be closed; the log says why.
func (l *listener) introduce(c *conn) bool {
	silent, err := l.readHeader(c)
	if err != nil {
		log := l.srv.conf.Log.Warn
		if silent || l.srv.isStopping() {
			log = l.srv.conf.Log.Debug // a load balancer that looks whether the port is open
		}
		log("connection from a proxy closed", "proxy", c.Conn.RemoteAddr().String(), "error", err)
		if !silent {
			c.tap.From(c.Conn.RemoteAddr().String())
			c.tap.Refuse(dialogue.ProxyHeader, err.Error())
		}
		return false
	}
	c.tap.From(c.RemoteAddr().String())
	if refusal := l.srv.meet(c); refusal != nil {
		l.refuse(c, refusal)
		return false
	}
	return true
}

// readHeader reads a PROXY header of version 1 or 2; silent is true when the
// proxy closed without a word. LOCAL (in version 1 UNKNOWN) leaves the proxy's own
// address. What a header says beyond the source address is not looked at.
func (l *listener) readHeader(c *conn) (silent bool, err error) {
	if err := c.SetReadDeadline(time.Now().Add(l.srv.handshakeTimeout())); err != nil {
		return false, err
	}
	r := bufio.NewReaderSize(c, v2Prefix+maxV2)
	if err := gather(r); err != nil {
		return c.eof.Load() && r.Buffered() == 0, explain(err)
	}
	h, err := proxyproto.Read(r)
	if err != nil {
		return false, explain(err)
	}
	early, err := r.Peek(r.Buffered())
	if err != nil {
		return false, err
	}
	c.early = append([]byte(nil), early...)
	if h.Command.IsLocal() {
		c.nobody = true
		return false, nil
	}
	source, _, ok := h.TCPAddrs()
	if !ok {
		return false, errors.New("its PROXY header names no TCP client; only TCP over IPv4 and IPv6 is taken")
	}
	c.setRemote(source)
	return false, nil
}

const (
	v1Max    = 107 // octets of the longest header of version 1, CR LF included
	v2Prefix = 16  // octets of a header of version 2 before those that its length counts
	maxV2    = 4 << 10
)

// gather waits until a whole header is in r's buffer: it may come in pieces, for
// which proxyproto.Read does not wait. What cannot become one is told at once.
func gather(r *bufio.Reader) error {
	for n := 1; n <= v1Max; n++ {
		b, err := r.Peek(n)
		if err != nil {
			return err
		}
		signature := proxyproto.SIGV2
		if b[0] == proxyproto.SIGV1[0] {
			signature = proxyproto.SIGV1
		}
		switch last := b[n-1]; {
		case n <= len(signature) && last != signature[n-1]:
			return proxyproto.ErrNoProxyProtocol
		case n == len(proxyproto.SIGV2) && b[0] == proxyproto.SIGV2[0]:
			return gatherV2(r)
		case n > len(signature) && last == '\n':
			return nil
		}
	}
	return nil // no header is so long: Read says so
}

func gatherV2(r *bufio.Reader) error {
	b, err := r.Peek(v2Prefix)
	if err != nil {
		return err
	}
	length := int(binary.BigEndian.Uint16(b[v2Prefix-2:]))
	if length > maxV2 {
		return fmt.Errorf("it is longer than %d octets", maxV2)
	}
	_, err = r.Peek(v2Prefix + length)
	return err
}

// explain says what the administrator can do.
func explain(err error) error {
	switch {
	case errors.Is(err, proxyproto.ErrNoProxyProtocol):
		return errors.New("it began without a PROXY header, which proxy_protocol_from asks for: " +
			"switch it on there (send-proxy-v2 in haproxy), or take its address out of proxy_protocol_from")
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errors.New("its PROXY header did not come in time: does it send one? (send-proxy-v2 in haproxy)")
	case errors.Is(err, net.ErrClosed):
		return err
	}
	return fmt.Errorf("its PROXY header cannot be read: %w", err)
}
