package smarthost

import (
	"bufio"
	"io"
	"net"

	"postern/mail"
)

// Idle is how many connections wait to be used again.
func Idle(s *Sender) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.idle)
}

// Wire is a mail as it goes over the wire.
func Wire(c mail.Content) ([]byte, int64) {
	bufs, size := wire(nil, c)
	b := net.Buffers(bufs)
	out, _ := io.ReadAll(&b)
	return out, size
}

// ReadReply reads a reply with all its words.
func ReadReply(r io.Reader) (code int, text string, lines []string, err error) {
	rep, err := readReply(bufio.NewReaderSize(r, maxLine), true, true)
	return rep.code, rep.text, rep.lines, err
}

// Refusal is a reply as an error.
func Refusal(code int, text string) *mail.Error {
	return reply{code: code, text: text}.refusal(mail.Permanent)
}
