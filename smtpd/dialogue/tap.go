package dialogue

import (
	"bytes"
	"strings"
	"sync"
	"time"
)

// Tap listens to one connection. Its methods may be called from any goroutine.
//
// go-smtp copies the octets of both directions to one writer, above TLS. Which
// they are follows from Reply and Listen: go-smtp sets a deadline for writing
// before each reply, and one for reading before each command. From Reply to the
// last line of that reply the octets are the server's; all others are the
// client's, also when TLS already had them in a record that came earlier.
type Tap struct {
	recorder *Recorder

	mu     sync.Mutex
	id     string
	remote string
	began  time.Time
	ended  time.Time
	times  int
	mails  []string
	log    transcript
	facts  Facts
	records

	replying bool   // what is written is the server's
	deaf     bool   // the client cannot be written to
	over     bool   // what is said now does not reach the client
	line     []byte // of the server, as far as it has come

	ahead       []byte // of the client, not yet looked at
	part        []byte // the beginning of a line of the client
	partOf      int    // its length in all
	reading     reading
	owed        bool  // the server has yet to answer
	left        int64 // octets of the chunk that are still to come
	mail        int64 // octets of the mail or chunk that came
	end         endOfMail
	last        command // what the next reply answers
	hide        bool    // its text must not be shown
	secret      bool    // it answers a log-in
	understood  bool    // some line was a command
	refusedData bool    // what comes now may be the mail all the same
	babble      bool    // it is
}

// reading is what the next octets of the client are.
type reading int

const (
	commands reading = iota
	response         // to a 334
	text             // of DATA
	chunkOf          // BDAT
	noise            // not SMTP, or too much at once
)

const (
	maxAhead = 16 << 10 // go-smtp reads 4 KiB ahead
	maxLine  = 1 << 10  // of which is kept, of either side
	maxMails = 8        // ids
)

// From places the session among those of the client's address, once it is known;
// remote is host:port.
func (t *Tap) From(remote string) {
	address := host(remote)
	t.mu.Lock()
	t.remote, t.facts.Address = remote, address
	t.mu.Unlock()
	t.recorder.place(t, keyOf(address))
}

// Reply says that the server begins a reply.
func (t *Tap) Reply() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.replying = !t.deaf
}

// Listen says that the server waits for a command; a TLS handshake has ended well
// by then.
func (t *Tap) Listen() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.replying = false
	if t.facts.Handshake == HandshakeBegun {
		t.facts.Handshake = HandshakeDone
	}
}

// Deafen says that the client could not be written to. Whatever comes is its own.
func (t *Tap) Deafen() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.replying, t.deaf = false, true
}

// Write takes the octets of either direction. It never fails.
func (t *Tap) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.over:
	case t.replying:
		t.fromServer(p)
	default:
		t.facts.Octets += int64(len(p))
		t.fromClient(p)
	}
	return len(p), nil
}

// Say records a last word that go-smtp knows nothing of, with its line end. What
// the server says after it does not reach the client.
func (t *Tap) Say(p []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over {
		return
	}
	t.fromServer(p)
	t.over = true
	if bye := t.facts.Farewell.Text; strings.Contains(bye, saysWaited) || strings.Contains(bye, saysSlow) {
		t.facts.TimedOut = true
	}
}

// Refuse records why the connection is closed before anything is said; why is
// what the client, or the log, is told.
func (t *Tap) Refuse(r Refusal, why string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.facts.Refused, t.facts.Why = r, cut(why, maxShown)
}

// LoggedIn records the outcome of a log-in. user is "" when it must not be shown;
// known says whether there is such an account.
func (t *Tap) LoggedIn(user string, known, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.facts.User, t.facts.UserUnknown, t.facts.LoggedIn = cut(user, 128), !known, ok
}

// Accepted records a mail that was taken. What was refused on the way to it did
// not keep the client from sending.
func (t *Tap) Accepted(id string, recipients int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := &t.facts
	f.Accepted++
	f.Recipients += recipients
	f.NoAuth, f.NoTLS, f.NoOther = Reply{}, Reply{}, Reply{}
	if len(t.mails) < maxMails {
		t.mails = append(t.mails, cut(id, 64))
	}
}

// TimedOut says that the client was silent for too long, in a handshake: at other
// times it is told so.
func (t *Tap) TimedOut() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.facts.Handshake == HandshakeBegun {
		t.facts.TimedOut = true
	}
}

// End says that the connection is closed. What comes after it changes nothing.
func (t *Tap) End() {
	t.mu.Lock()
	if t.facts.Ended {
		t.mu.Unlock()
		return
	}
	t.close()
	merge, address, reason := t.facts.wordless(), t.facts.Address, ""
	if merge {
		reason = Explain(&t.facts).Reason
	}
	t.mu.Unlock()
	if merge && address != "" {
		t.recorder.merge(t, keyOf(address), reason)
	}
}

// close writes down what was left open and gives memory back.
func (t *Tap) close() {
	f := &t.facts
	f.Ended, t.ended = true, time.Now()
	if f.Handshake == HandshakeBegun {
		t.handshakeFailed(nil)
	}
	switch {
	case t.reading == text:
		f.Waiting = ForText
		t.add(client, "(%d octets of a mail that did not end)", t.mail)
	case t.reading == chunkOf:
		f.Waiting = ForChunk
		t.add(client, "(%d octets of a chunk that did not end)", t.mail)
	case t.owed:
		f.Waiting = ForServer
	case t.reading == response:
		f.Waiting = ForResponse
	case t.partOf > 0:
		f.Unended = t.partOf
		t.add(client, "(%d octets without a line end)", t.partOf)
	}
	t.log.trim()
	t.ahead, t.part, t.line, t.last = nil, nil, nil, command{}
}

// fromServer takes the octets of replies.
func (t *Tap) fromServer(p []byte) {
	for len(p) > 0 {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			t.line = appendUpTo(t.line, p, maxLine)
			return
		}
		t.line = appendUpTo(t.line, p[:i], maxLine)
		p = p[i+1:]
		t.heard(bytes.TrimRight(t.line, "\r"))
		t.line = t.line[:0]
	}
}

// heard takes one line of a reply.
func (t *Tap) heard(line []byte) {
	r, final, ok := parseReply(line)
	if !ok {
		return // go-smtp writes nothing else
	}
	if t.last.verb == "EHLO" && r.Code == 250 && len(line) > 4 && bytes.HasPrefix(bytes.ToUpper(line[4:]), []byte("AUTH ")) {
		t.facts.Offered = true
	}
	t.log.add(time.Now(), server, t.shownReply(r, line))
	if final {
		t.replying = false
		t.answered(r)
		ahead := t.ahead
		t.ahead = t.ahead[:0]
		t.ahead = append(t.ahead, t.consume(ahead)...)
	}
}

// shownReply is a line of a reply without what it may repeat of a secret.
func (t *Tap) shownReply(r Reply, line []byte) string {
	hide := t.hide || t.secret && r.Code != 334 && !fixedText(r.Text)
	if t.owed && hide || t.reading == noise && r.Code >= 500 {
		return string(line[:min(4, len(line))]) + r.Enhanced + " (text not shown)"
	}
	return safe(string(line), maxShown)
}

// parseReply reads "550 5.7.1 words"; final is false for "550-words".
func parseReply(line []byte) (r Reply, final, ok bool) {
	if len(line) < 3 || line[0] < '2' || line[0] > '5' || !digits(string(line[:3])) || len(line) > 3 && line[3] != ' ' && line[3] != '-' {
		return Reply{}, false, false
	}
	r.Code = int(line[0]-'0')*100 + int(line[1]-'0')*10 + int(line[2]-'0')
	if len(line) > 4 {
		r.Text = string(line[4:])
		if code, rest, _ := bytes.Cut(line[4:], []byte(" ")); enhancedCode(code) {
			r.Enhanced, r.Text = string(code), string(rest)
		}
	}
	return r, len(line) == 3 || line[3] == ' ', true
}

func enhancedCode(b []byte) bool {
	parts := bytes.Split(b, []byte("."))
	return len(parts) == 3 && len(parts[0]) == 1 && digits(string(parts[0])) && digits(string(parts[1])) && digits(string(parts[2]))
}

// appendUpTo appends what fits.
func appendUpTo(b, p []byte, limit int) []byte {
	return append(b, p[:min(len(p), max(0, limit-len(b)))]...)
}
