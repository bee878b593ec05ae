package dialogue

import (
	"bytes"
	"fmt"
	"strings"
	"time"
)

// This file follows the client: which octets are commands, and which are secret.

func (t *Tap) add(who byte, format string, a ...any) {
	t.log.add(time.Now(), who, fmt.Sprintf(format, a...))
}

// fromClient takes octets as they come, which may be more than the server has
// asked for.
func (t *Tap) fromClient(p []byte) {
	if t.facts.Ended {
		return
	}
	if len(t.ahead) > 0 {
		if len(t.ahead)+len(p) > maxAhead {
			t.lose()
			return
		}
		p = append(t.ahead, p...)
	}
	t.ahead = append(t.ahead[:0], t.consume(p)...)
}

// lose gives up to know where a line begins.
func (t *Tap) lose() {
	t.reading, t.owed, t.ahead, t.partOf = noise, false, nil, 0
	t.add(remark, "(too much came at once; what follows is not understood)")
}

// consume reads as far as the server does, and returns the rest.
func (t *Tap) consume(p []byte) []byte {
	for len(p) > 0 && (!t.owed || t.reading == chunkOf) {
		switch t.reading {
		case noise:
			return nil
		case text:
			n, ended := t.end.scan(p)
			t.mail, p = t.mail+int64(n), p[n:]
			if ended {
				t.add(client, "(%d octets of mail)", t.mail)
				t.reading, t.owed = commands, true
			}
		case chunkOf:
			n := min(int64(len(p)), t.left)
			t.left, t.mail, p = t.left-n, t.mail+n, p[n:]
			t.chunkEnds()
		default:
			p = t.readLine(p)
		}
	}
	return p
}

// chunkEnds goes on with commands when the chunk is whole. A chunk that is refused
// is answered before it comes, any other after it.
func (t *Tap) chunkEnds() {
	if t.left == 0 {
		t.reading = commands
		if t.mail > 0 {
			t.add(client, "(%d octets of mail)", t.mail)
		}
	}
}

func (t *Tap) readLine(p []byte) (rest []byte) {
	i := bytes.IndexByte(p, '\n')
	n := i + 1
	if i < 0 {
		n = len(p)
	}
	t.part, t.partOf = appendUpTo(t.part, p[:n], maxLine), t.partOf+n
	if !t.understood && t.reading == commands {
		if s := stranger(t.part); s != "" {
			t.facts.Stranger, t.reading, t.partOf = s, noise, 0
			t.add(client, "(this is %s; not shown)", s)
			return nil
		}
	}
	if i >= 0 {
		t.wholeLine()
		t.part, t.partOf = t.part[:0], 0
	}
	return p[n:]
}

// wholeLine takes a line, whose answer is owed then.
func (t *Tap) wholeLine() {
	t.owed, t.hide = true, false
	if t.reading == response {
		t.add(client, "(response not shown)")
		t.last, t.secret, t.reading = command{verb: "AUTH"}, true, commands
		return
	}
	t.last = understand(t.part)
	if t.partOf > len(t.part) {
		t.last = command{chunk: -1}
	}
	t.secret = t.last.verb == "AUTH"
	t.hide = !t.last.whole
	if t.babbles() {
		t.last, t.hide = command{chunk: -1}, true
		t.facts.Last = "DATA"
		t.add(client, "(%d octets after the refused DATA)", t.partOf)
		return
	}
	if t.last.verb == "" {
		t.add(client, "(%d octets that are no SMTP command)", t.partOf)
		return
	}
	t.add(client, "%s", t.last.shown)
	t.facts.Last, t.understood = strings.Clone(t.last.verb), true
	if t.last.verb == "AUTH" {
		t.facts.Mechanism, t.facts.LoggedIn, t.facts.User, t.facts.UserUnknown = strings.Clone(t.last.arg), false, "", false
	}
	if t.last.chunk >= 0 {
		t.reading, t.left, t.mail = chunkOf, t.last.chunk, 0
		t.chunkEnds()
	}
}

// babbles says whether a client goes on with its mail although DATA was refused:
// then a line that looks like a command may be one of the mail.
func (t *Tap) babbles() bool {
	if t.refusedData && t.last.verb == "" {
		t.babble = true
	}
	return t.babble
}

// answered takes the last line of a reply.
func (t *Tap) answered(r Reply) {
	r.Verb, r.Text = strings.Clone(t.last.verb), safe(r.Text, maxShown)
	unasked := !t.owed
	if !unasked && (t.hide || t.secret && !fixedText(r.Text)) {
		r.Text = ""
	}
	t.owed = false
	switch {
	case unasked && (r.Code == 421 || r.Code == 500):
		t.facts.Farewell = r
	case unasked: // the greeting
	default:
		t.judge(r)
	}
}

// judge draws from a reply what it means for the session.
func (t *Tap) judge(r Reply) {
	f := &t.facts
	no := r.Code >= 400
	if r.Code == 421 || r.Code == 221 {
		f.Farewell = r
	}
	switch r.Verb {
	case "HELO", "EHLO":
		if !no {
			f.Helo, f.ESMTP = strings.Clone(t.last.arg), r.Verb == "EHLO"
		}
		settle(&f.NoOther, r, no)
	case "STARTTLS":
		settle(&f.NoTLS, r, no)
		if r.Code == 220 {
			t.startTLS()
		}
	case "AUTH":
		t.judgeLogin(r, no)
	case "MAIL":
		if no || f.NoMail.Code == 530 || strings.HasPrefix(f.NoMail.Enhanced, "5.5.") { // the same mail, begun otherwise
			settle(&f.NoMail, r, no)
		}
		t.refusedData = false
	case "RCPT":
		if no {
			f.NoRecipient = r
		}
	case "DATA", "BDAT":
		t.judgeMail(r, no)
	default:
		if no && r.Verb != "VRFY" && r.Verb != "EXPN" && r.Verb != "HELP" {
			f.NoOther = r
		}
	}
}

// settle remembers a refusal, or that it was made good.
func settle(to *Reply, r Reply, no bool) {
	if *to = r; !no {
		*to = Reply{}
	}
}

func (t *Tap) judgeLogin(r Reply, no bool) {
	f := &t.facts
	switch {
	case r.Code == 334:
		t.reading = response
	case no:
		f.NoAuth = r
	default:
		f.NoAuth, f.NoMail, f.NoRecipient, f.LoggedIn = Reply{}, Reply{}, Reply{}, true
	}
}

func (t *Tap) judgeMail(r Reply, no bool) {
	switch {
	case r.Code == 354:
		t.reading, t.mail, t.end = text, 0, atBegin
	case no:
		t.facts.NoData = r
		t.refusedData = r.Verb == "DATA" && t.mail == 0
	}
	if r.Code != 354 {
		t.mail = 0
	}
}

// startTLS forgets what was said in the clear, as go-smtp does, what was sent too
// early included.
func (t *Tap) startTLS() {
	if n := len(t.ahead); n > 0 {
		t.add(remark, "(%d octets that came behind STARTTLS are dropped)", n)
	}
	t.ahead, t.part, t.partOf = nil, t.part[:0], 0
	f := &t.facts
	f.Handshake, f.TimedOut = HandshakeBegun, false
	f.Offered, f.NoAuth, f.NoMail, f.NoRecipient, f.NoOther = false, Reply{}, Reply{}, Reply{}, Reply{}
	f.Mechanism, f.User, f.UserUnknown, f.LoggedIn = "", "", false, false
	t.records = records{}
}

// endOfMail finds the end of DATA as go-smtp does, which takes CR CR LF for no
// line end.
type endOfMail int

const (
	atBegin endOfMail = iota
	afterDot
	afterDotCR
	afterCR
	within
)

// scan reads up to the end, and says how many octets that were.
func (e *endOfMail) scan(p []byte) (n int, ended bool) {
	for n < len(p) {
		if *e == within {
			i := bytes.IndexByte(p[n:], '\r')
			if i < 0 {
				return len(p), false
			}
			n += i
		}
		c := p[n]
		n++
		switch {
		case *e == atBegin && c == '.':
			*e = afterDot
		case *e == afterDot && c == '\r':
			*e = afterDotCR
		case *e == afterDotCR && c == '\n':
			return n, true
		case *e == afterCR && c == '\n':
			*e = atBegin
		case c == '\r' && (*e == atBegin || *e == within):
			*e = afterCR
		default:
			*e = within
		}
	}
	return n, false
}
