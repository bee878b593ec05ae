package smtpd

import (
	"bufio"
	"net/textproto"
	"reflect"
	"regexp"

	"github.com/emersion/go-smtp"
)

// commandReader is what go-smtp reads a session from. It changes one command:
// RCPT TO:<postmaster>, the only recipient without a domain, which RFC 5321 §4.5.1
// wants to be taken and which go-smtp answers 501 before any session hears of it.
// It becomes the postmaster of our own name, and goes the way of every recipient.
//
// To change octets of a mail, or of the length of a chunk, would let a client say
// commands within it. So only the next read after go-smtp has begun to wait for a
// command, with nothing of it read yet, gives a line that may be changed. Whatever
// else is read passes as it is; a command that was read together with the end of a
// mail, because the client sends on without a reply, does so too and gets its 501.
type commandReader struct {
	src  *bufio.Reader // go-smtp's own
	top  *bufio.Reader // which go-smtp reads from now
	name string        // our host name
	next bool          // what comes next is the begin of a command
	line []byte        // of a command, not yet given
	err  error         // after line
}

// readCommands puts a commandReader into go-smtp's connection. Without its field,
// or with another type there, the postmaster without a domain is refused and all
// else goes on. STARTTLS makes a new field, and a new session.
func readCommands(peer *smtp.Conn, name string) *commandReader {
	f := reflect.ValueOf(peer).Elem().FieldByName("text")
	if !f.IsValid() || f.Type() != reflect.TypeFor[*textproto.Conn]() {
		return nil
	}
	text := (*textproto.Conn)(f.UnsafePointer())
	r := &commandReader{src: text.R, name: name}
	r.top = bufio.NewReader(r)
	text.R = r.top
	return r
}

// await says whether go-smtp begins to wait for a command now.
func (r *commandReader) await(command bool) {
	if r != nil {
		r.next = command && r.top.Buffered() == 0 && len(r.line) == 0
	}
}

func (r *commandReader) Read(p []byte) (int, error) {
	if r.next {
		r.next = false
		line, err := r.src.ReadSlice('\n')
		if err == bufio.ErrBufferFull {
			err = nil // the rest passes as it is
		}
		r.line, r.err = withDomain(line, r.name), err
	}
	if len(r.line) > 0 {
		n := copy(p, r.line)
		r.line = r.line[n:]
		return n, nil
	}
	if err := r.err; err != nil {
		r.err = nil
		return 0, err
	}
	return r.src.Read(p)
}

var barePostmaster = regexp.MustCompile(`(?i)^RCPT[ ]+TO:[ \t]*<postmaster>[ \t]*\r?\n$`)

// withDomain completes the one command; every other stays as it is.
func withDomain(line []byte, name string) []byte {
	if !barePostmaster.Match(line) {
		return line
	}
	return []byte("RCPT TO:<postmaster@" + name + ">\r\n")
}
