package smtpd_test

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// replyLine is RFC 5321 §4.2, with letters beyond ASCII for what people read.
var replyLine = regexp.MustCompile(`^([2-5]\d\d)([ -])[^\r\n\x00]*$`)

// echoes are the lines in which go-smtp repeats the client's own octets, whatever
// they are and however many.
var echoes = regexp.MustCompile(`(?s)^(250-Hello |250 2\.0\.0 Hello |500 5\.5\.2 Syntax errors, )`)

// parseReplies reads what the server said as replies, each as its last line. Every
// line must be one: three digits, a blank or a hyphen, CRLF, at most 512 octets.
func parseReplies(t testing.TB, octets []byte) []string {
	t.Helper()
	var all []string
	code := "" // of the lines before, of the same reply
	for line := range bytes.Lines(octets) {
		text, whole := bytes.CutSuffix(line, []byte("\r\n"))
		m := replyLine.FindSubmatch(text)
		switch echo := echoes.Match(line); {
		case !whole, m == nil && !echo, len(line) > 512 && !echo:
			t.Errorf("the server said %q", line)
			return all
		case code != "" && string(line[:3]) != code:
			t.Errorf("a reply %s has the line %q", code, line)
		}
		code = ""
		if line[3] == '-' {
			code = string(line[:3])
			continue
		}
		all = append(all, string(text))
	}
	return all // without a reply that the end has cut off: its command has none
}

// closing is a reply after which the server hangs up.
func closing(reply string) bool {
	return strings.HasPrefix(reply, "221") || strings.HasPrefix(reply, "421") ||
		strings.HasPrefix(reply, "500 5.5.1 Too many errors") || strings.HasPrefix(reply, "500 5.4.0 Too long line") ||
		strings.Contains(reply, "takes no command so long")
}

// exchange follows what a client sent and what it was answered.
type exchange struct {
	sent    []byte
	replies []string
	last    string
}

// answered says whether every command had one reply, and a mail one more. It does
// not go on behind what go-smtp is known to read in a way of its own (odd CRs in
// DATA), nor into TLS.
func answered(sent []byte, replies []string, greeting bool) error {
	e := &exchange{sent: sent, replies: replies}
	if greeting && (!e.next() || !strings.HasPrefix(e.last, "220")) {
		return fmt.Errorf("the greeting is %q", e.last)
	}
	for {
		command, whole := e.line()
		if !whole && command != "" && len(e.replies) <= 2 {
			return nil // go-smtp runs it when the client has gone, which changes nothing more
		}
		if !whole {
			return e.end("the last command")
		}
		size, chunk := chunkSize(command)
		if chunk && size > len(e.sent) && slices.Equal(e.replies, []string{"250 2.0.0 Continue"}) {
			return nil // go-smtp takes it for a whole one, and body knows better
		}
		if chunk && size > len(e.sent) {
			return e.end("a chunk that was not ended")
		}
		if chunk {
			e.sent = e.sent[size:]
		}
		if !e.next() {
			return e.over(command)
		}
		if done, err := e.follow(command); done || err != nil {
			return err
		}
	}
}

// follow goes on with what a reply makes of a command.
func (e *exchange) follow(command string) (done bool, err error) {
	for code, verb := range map[string]string{"220": "STARTTLS", "221": "QUIT", "334": "AUTH", "354": "DATA"} {
		if strings.HasPrefix(e.last, code) && !strings.HasPrefix(strings.ToUpper(command), verb) {
			return true, fmt.Errorf("%q was answered %q", command, e.last)
		}
	}
	switch {
	case strings.HasPrefix(e.last, "50") && len(e.replies) > 0 && strings.HasPrefix(e.replies[0], "500 5.5.1 Too many errors"):
		e.next() // the one command that has two
		return true, e.end("too many errors")
	case closing(e.last):
		return true, e.end("the good-bye")
	case strings.HasPrefix(e.last, "220"):
		return true, nil
	case strings.HasPrefix(e.last, "334"):
		return e.auth()
	case strings.HasPrefix(e.last, "354"):
		return e.data()
	}
	return false, nil
}

// line takes the next line of the client.
func (e *exchange) line() (text string, whole bool) {
	line, rest, whole := bytes.Cut(e.sent, []byte("\n"))
	if whole {
		e.sent = rest
	}
	return string(line), whole
}

// next takes the next reply.
func (e *exchange) next() bool {
	if len(e.replies) == 0 {
		return false
	}
	e.last, e.replies = e.replies[0], e.replies[1:]
	return true
}

// end is the end of what is followed: at most one more reply says that the server
// has given up, or refuses what did not come to its end.
func (e *exchange) end(after string) error {
	if len(e.replies) > 1 || len(e.replies) == 1 && e.replies[0][0] < '4' {
		return fmt.Errorf("after %s there are %d replies too many", after, len(e.replies))
	}
	return nil
}

// over is the end of what the server said, which only a good-bye explains.
func (e *exchange) over(command string) error {
	if closing(e.last) {
		return nil
	}
	return fmt.Errorf("%q has no reply", command)
}

// auth goes on until the exchange of AUTH is over.
func (e *exchange) auth() (done bool, err error) {
	for strings.HasPrefix(e.last, "334") {
		response, whole := e.line()
		if !whole && response != "" && len(e.replies) <= 2 {
			return true, nil // as with a command
		}
		if !whole {
			return true, e.end("an exchange that was not ended")
		}
		if !e.next() {
			return true, e.over(response)
		}
	}
	return e.goodBye("AUTH")
}

// data passes a mail and its reply.
func (e *exchange) data() (done bool, err error) {
	mail := append([]byte("\r\n"), e.sent...)
	if bytes.Contains(mail, []byte("\r\r")) || bytes.Contains(mail, []byte("\n.\r\r")) {
		return true, nil
	}
	_, rest, whole := bytes.Cut(mail, []byte("\r\n.\r\n"))
	if !whole {
		return true, e.end("a mail that was not ended")
	}
	e.sent = rest
	if !e.next() {
		return true, e.over("a mail")
	}
	return e.goodBye("DATA")
}

// goodBye is one that nobody asked for.
func (e *exchange) goodBye(within string) (done bool, err error) {
	switch {
	case strings.HasPrefix(e.last, "221"):
		return true, fmt.Errorf("%s was answered %q", within, e.last)
	case closing(e.last):
		return true, e.end("the good-bye")
	}
	return false, nil
}

// chunkSize says whether a command brings octets with it, and how many.
func chunkSize(command string) (size int, ok bool) {
	command = strings.TrimRight(command, "\r")
	if len(command) < 6 || !strings.EqualFold(command[:5], "BDAT ") {
		return 0, false
	}
	fields := strings.Fields(command[5:])
	if len(fields) == 0 || len(fields) > 2 || len(fields) == 2 && !strings.EqualFold(fields[1], "LAST") {
		return 0, false
	}
	n, err := strconv.ParseUint(fields[0], 10, 32)
	return int(n), err == nil
}

// TestAnsweredSeesWhatIsMissing: the fuzz target's judge is no friend of the server.
func TestAnsweredSeesWhatIsMissing(t *testing.T) {
	const commands = "EHLO x\r\nDATA\r\nx\r\n.\r\nBDAT 6 LAST\r\nNOOP\r\nAUTH LOGIN\r\neA==\r\nQUIT\r\n"
	good := []string{"220 gw", "250 x", "354 go", "250 ok", "250 ok", "334 eA==", "235 yes", "221 bye"}
	if err := answered([]byte(commands), good, true); err != nil {
		t.Errorf("a good dialogue: %v", err)
	}
	for i := range good {
		if err := answered([]byte(commands), slices.Delete(slices.Clone(good), i, i+1), true); err == nil {
			t.Errorf("without %q it is good too", good[i])
		}
		if err := answered([]byte(commands), slices.Insert(slices.Clone(good), i, "250 again"), true); err == nil {
			t.Errorf("with one more before %q it is good too", good[i])
		}
	}
}
