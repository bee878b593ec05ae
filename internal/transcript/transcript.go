package transcript

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// patience is how long one connection may take before a line that does not come
// is an error.
const patience = time.Minute

// Player plays transcripts. Dial is required.
type Player struct {
	// Dial connects to the listener of this name, from a local address when that
	// is not "". A listener that speaks TLS from the first octet gives a TLS
	// connection.
	Dial func(listener, from string) (net.Conn, error)
	TLS  *tls.Config // of the verb TLS; nil: there is none
	// Verbs are those of the test itself, such as what must have been taken. They
	// get what follows the verb, and the line of the server that was heard last.
	Verbs map[string]func(arg, heard string) error
	// Mail gives the mail of a name, with CRLF; nil: it is a file in the folder of
	// the transcript, read by the func [Mail].
	Mail func(name string) ([]byte, error)
}

// Play plays one file.
func (p *Player) Play(file string) error {
	script, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	d := &dialogue{player: p, dir: filepath.Dir(file)}
	defer d.close()
	n := 0
	for line := range strings.Lines(string(script)) {
		n++
		line = strings.TrimRight(line, "\n")
		if line == "" || line[0] == '#' {
			continue
		}
		if err := d.line(line); err != nil {
			return fmt.Errorf("%s:%d: %s: %w", file, n, line, err)
		}
	}
	return nil
}

// Sent is what the client of a transcript says by C: and C|, one after the other.
func Sent(script string) ([]byte, error) {
	var all []byte
	for line := range strings.Lines(script) {
		line = strings.TrimRight(line, "\n")
		times, verb, arg := split(line)
		for n := range times {
			octets, err := client(verb, numbered(arg, times, n))
			if err != nil {
				return nil, fmt.Errorf("%s: %w", line, err)
			}
			all = append(all, octets...)
		}
	}
	return all, nil
}

// split reads `12 VERB text`, the number being 1 where there is none.
func split(line string) (times int, verb, arg string) {
	verb, arg, _ = strings.Cut(line, " ")
	if n, err := strconv.Atoi(verb); err == nil && n > 0 {
		verb, arg, _ = strings.Cut(arg, " ")
		return n, verb, arg
	}
	return 1, verb, arg
}

func numbered(arg string, times, n int) string {
	if times == 1 {
		return arg
	}
	return strings.ReplaceAll(arg, "#", strconv.Itoa(n+1))
}

// client is what C: and C| send; nothing for another verb.
func client(verb, arg string) ([]byte, error) {
	switch verb {
	case "C:":
		return []byte(arg + "\r\n"), nil
	case "C|":
		raw, err := strconv.Unquote(arg)
		return []byte(raw), err
	}
	return nil, nil
}

// dialogue is a transcript that is being played.
type dialogue struct {
	player *Player
	dir    string
	conns  []net.Conn // all that were opened
	conn   net.Conn   // the one that is spoken on; nil before the first
	r      *bufio.Reader
	heard  string // the server's last line
}

func (d *dialogue) close() {
	for _, c := range d.conns {
		_ = c.Close()
	}
}

func (d *dialogue) line(line string) error {
	times, verb, arg := split(line)
	for n := range times {
		if err := d.step(verb, numbered(arg, times, n)); err != nil {
			if times > 1 {
				return fmt.Errorf("number %d: %w", n+1, err)
			}
			return err
		}
	}
	return nil
}

func (d *dialogue) step(verb, arg string) error {
	if do := d.player.Verbs[verb]; do != nil {
		return do(arg, d.heard)
	}
	if verb == "client:" {
		listener, from, _ := strings.Cut(arg, " ")
		return d.dial(listener, from)
	}
	if d.conn == nil {
		if err := d.dial("", ""); err != nil {
			return err
		}
	}
	switch verb {
	case "C:", "C|":
		octets, err := client(verb, arg)
		d.send(octets)
		return err
	case "EML", "BDAT":
		return d.mail(verb, arg)
	case "S:", "S~", "S*":
		return d.hear(verb, arg)
	case "TLS":
		return d.startTLS()
	case "CUT":
		return d.conn.Close()
	case "END":
		return d.ends()
	}
	return fmt.Errorf("%q is no verb of a transcript", verb)
}

func (d *dialogue) dial(listener, from string) error {
	c, err := d.player.Dial(listener, from)
	if err != nil {
		return err
	}
	_ = c.SetDeadline(time.Now().Add(patience))
	d.conns = append(d.conns, c)
	d.conn, d.r = c, bufio.NewReader(c)
	return nil
}

func (d *dialogue) startTLS() error {
	if d.player.TLS == nil {
		return errors.New("the player of this transcript has no TLS")
	}
	t := tls.Client(d.conn, d.player.TLS)
	if err := t.Handshake(); err != nil {
		return err
	}
	d.conn, d.r = t, bufio.NewReader(t)
	return nil
}

// send leaves a failure to the next line that is heard: a server may hang up on
// what it has heard enough of.
func (d *dialogue) send(octets []byte) { _, _ = d.conn.Write(octets) }

func (d *dialogue) mail(verb, arg string) error {
	chunks, name := 0, arg
	if verb == "BDAT" {
		n, file, _ := strings.Cut(arg, " ")
		var err error
		if chunks, err = strconv.Atoi(n); err != nil || chunks < 1 {
			return fmt.Errorf("%q is no number of chunks", n)
		}
		name = file
	}
	read := d.player.Mail
	if read == nil {
		read = func(name string) ([]byte, error) { return Mail(filepath.Join(d.dir, name)) }
	}
	raw, err := read(name)
	if err != nil {
		return err
	}
	if chunks > 0 {
		d.send(Chunked(raw, chunks))
	} else {
		d.send(Stuffed(raw))
	}
	return nil
}

func (d *dialogue) hear(verb, arg string) error {
	for {
		line, err := d.r.ReadString('\n')
		if err != nil {
			return fmt.Errorf("the server's reply did not come: %w (so far %q)", err, line)
		}
		line = strings.TrimRight(line, "\r\n")
		d.heard = line
		if verb == "S*" && len(line) > 3 && line[3] == '-' {
			continue
		}
		fits := strings.HasPrefix(line, arg)
		if verb == "S~" {
			pattern, err := regexp.Compile(arg)
			if err != nil {
				return err
			}
			fits = pattern.MatchString(line)
		}
		if !fits {
			return fmt.Errorf("the server said %q", line)
		}
		return nil
	}
}

// ends wants no more octets; a reset is an end too, of a server that did not read
// all that was sent.
func (d *dialogue) ends() error {
	rest, err := io.ReadAll(d.r)
	if len(rest) > 0 {
		return fmt.Errorf("the server said %q", rest)
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return errors.New("the server did not close the connection")
	}
	return nil
}

// Mail reads a mail whose lines may end as they like, and ends them with CRLF.
func Mail(file string) ([]byte, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return bytes.ReplaceAll(bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n")), nil
}

// Stuffed is a mail as DATA wants it (RFC 5321 §4.5.2), with the dot that ends it.
func Stuffed(raw []byte) []byte {
	out := bytes.ReplaceAll(append([]byte("\r\n"), raw...), []byte("\r\n."), []byte("\r\n.."))[2:]
	if len(out) > 0 && !bytes.HasSuffix(out, []byte("\r\n")) {
		out = append(out, "\r\n"...)
	}
	return append(out, ".\r\n"...)
}

// Chunked is a mail as n commands of BDAT (RFC 3030), the last with LAST.
func Chunked(raw []byte, n int) []byte {
	var out []byte
	size := len(raw) / n
	for i := range n {
		chunk, last := raw[i*size:(i+1)*size], ""
		if i == n-1 {
			chunk, last = raw[i*size:], " LAST"
		}
		out = fmt.Appendf(out, "BDAT %d%s\r\n", len(chunk), last)
		out = append(out, chunk...)
	}
	return out
}
