package transcript_test

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/transcript"
)

// play plays a script against a server that says 220, repeats each line behind
// "250 ", and hangs up after QUIT.
func play(t *testing.T, script string) error {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"x.txt": script, "x.eml": "Subject: x\n\n.dot\nend"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := transcript.Player{
		Dial: func(listener, from string) (net.Conn, error) {
			if listener == "away" {
				return nil, errors.New("nobody listens")
			}
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return nil, err
			}
			defer l.Close()
			ours, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				return nil, err
			}
			theirs, err := l.Accept()
			go echo(theirs, listener+" "+from)
			return ours, err
		},
		Verbs: map[string]func(string, string) error{"HEARD": func(arg, heard string) error {
			if heard != arg {
				return fmt.Errorf("heard %q", heard)
			}
			return nil
		}},
	}
	return p.Play(filepath.Join(dir, "x.txt"))
}

func echo(c net.Conn, greeting string) {
	defer c.Close()
	fmt.Fprintf(c, "220 %s\r\n", greeting)
	for lines := bufio.NewScanner(c); lines.Scan() && lines.Text() != "QUIT"; {
		if _, err := fmt.Fprintf(c, "250-more\r\n250 %s\r\n", lines.Text()); err != nil {
			return
		}
	}
}

func TestPlaySeesWhatIsNotAsWritten(t *testing.T) {
	const hello = "client: here 127.0.0.9\nS: 220 here 127.0.0.9\n"
	for script, problem := range map[string]string{
		"# nothing\n\n":                  "",
		"S: 220\nC: a\nS: 250-m\nS~ a$":  "",
		hello + "C: QUIT\nEND":           "",
		hello + "C| \"a\\r\\n\"\nS* 250": "",
		hello + "2 C: a#\nS: 250-\nHEARD 250-more\nS: 250 a1\n2 S: 250": "",
		hello + "EML x.eml\nS* 250 Subject: x\nS* 250\nS* 250 ..dot":    "",
		hello + "BDAT 2 x.eml\nS* 250 BDAT 11":                          "",
		hello + "CUT":                                                   "",
		"S: 250":                                                        `x.txt:1: S: 250: the server said "220  "`,
		hello + "C: a\nS* 251":                                          `x.txt:4: S* 251: the server said "250 a"`,
		hello + "C: a\nS~ b":                                            "x.txt:4",
		hello + "C: a\nS~ (":                                            "missing closing",
		hello + "3 C: a\n2 S* 250\nS* 250 b":                            `the server said "250 a"`,
		hello + "C: QUIT\nS: 221":                                       "did not come",
		hello + "HEARD 221":                                             `heard "220 here 127.0.0.9"`,
		hello + "C: a\nC: QUIT\nEND":                                    `the server said "250-more`,
		hello + "X: a":                                                  `"X:" is no verb`,
		hello + "TLS":                                                   "has no TLS",
		hello + "EML y.eml":                                             "no such file",
		hello + "BDAT x x.eml":                                          `"x" is no number of chunks`,
		hello + "C| a":                                                  "invalid syntax",
		"client: away\nS: 220":                                          "x.txt:1: client: away: nobody listens",
	} {
		err := play(t, script)
		if problem == "" && err != nil || problem != "" && (err == nil || !strings.Contains(err.Error(), problem)) {
			t.Errorf("%q: %v, want %q", script, err, problem)
		}
	}
}

func TestSentIsWhatTheClientSays(t *testing.T) {
	got, err := transcript.Sent("# x\nset: a\nC: EHLO x\nS* 250\n2 C: NOOP #\nC| \"a\\n\"\n")
	if want := "EHLO x\r\nNOOP 1\r\nNOOP 2\r\na\n"; err != nil || string(got) != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}

func TestMailsAsCommandsWantThem(t *testing.T) {
	raw := []byte(".a\r\nb\r\n..c")
	if got, want := string(transcript.Stuffed(raw)), "..a\r\nb\r\n...c\r\n.\r\n"; got != want {
		t.Errorf("DATA: got %q, want %q", got, want)
	}
	if got, want := string(transcript.Chunked(raw, 2)), "BDAT 5\r\n.a\r\nbBDAT 5 LAST\r\n\r\n..c"; got != want {
		t.Errorf("BDAT: got %q, want %q", got, want)
	}
}
