package smarthost_test

import (
	"context"
	"crypto/tls"
	"net"
	"strings"
	"syscall"
	"testing"

	"postern/mail"
	"postern/relay/smarthost"
)

const (
	helloChunks = "S: 220 up\nC: EHLO postern.example\nS: 250-up\nS: 250-PIPELINING\nS: 250-8BITMIME\nS: 250-CHUNKING\nS: 250 SIZE 100000000\n"
	announced   = "C: MAIL FROM:<a@example.com>*\nC: RCPT TO:<b@example.net>\nS: 250 ok\nS: 250 ok\n"
	chunked     = announced + "BDAT\nS: 250 2.0.0 Ok: queued as 4XyZ\n"
	refusing    = announced + "C: BDAT *\n" // and the chunk is left to whatever comes next
)

// The script does not take BDAT before MAIL and RCPT are answered: what is asked
// for here is also that nothing comes too early (see TestChunkWaitsForTheReplies).
func TestChunks(t *testing.T) {
	stepwiseChunk := "C: MAIL FROM:<a@example.com>*\nS: 250 ok\nC: RCPT TO:<b@example.net>\nS: 250 ok\nBDAT\nS: 250 ok\n"
	withoutPipelining := "S: 220 up\nC: EHLO *\nS: 250-up\nS: 250 CHUNKING\n"
	dataAgain := hello + accept
	for _, c := range []struct {
		name    string
		scripts []string
		want    []want
	}{
		{"three mails over one connection", []string{helloChunks + chunked + chunked + chunked}, []want{{}, {}, {}}},
		{"step by step", []string{withoutPipelining + stepwiseChunk + stepwiseChunk}, []want{{}, {}}},
		{"refused RCPT: no chunk and no empty mail, then the next", []string{helloChunks + "C: MAIL *\nC: RCPT *\nS: 250 ok\nS: 550 5.1.1 no such user\nC: RSET\n" + "C: MAIL *\nC: RCPT *\nS: 250 ok\nS: 250 ok\nS: 250 ok\nBDAT\nS: 250 ok\n"},
			[]want{failed(mail.Permanent, 550, "5.1.1", "no such user"), {}}},
		{"refused MAIL", []string{helloChunks + "C: MAIL *\nC: RCPT *\nS: 451 4.3.0 later\nS: 503 no MAIL\nC: RSET\nC: MAIL *\nC: RCPT *\nS: 250 ok\nS: 250 ok\nS: 250 ok\nBDAT\nS: 250 ok\n"},
			[]want{failed(mail.Temporary, 451, "4.3.0", "later"), {}}},
		{"refused after the chunk, then RSET and the next", []string{helloChunks + announced + "BDAT\nS: 554-5.7.1 Spam: see\nS: 554 5.7.1 there\nC: RSET\nC: MAIL *\nC: RCPT *\nS: 250 ok\nS: 250 ok\nS: 250 ok\nBDAT\nS: 250 ok\n"},
			[]want{failed(mail.Permanent, 554, "5.7.1", "Spam: see there"), {}}},
		{"put off after the chunk", []string{helloChunks + announced + "BDAT\nS: 451 4.7.1 Greylisting in action\n"}, []want{failed(mail.Temporary, 451, "4.7.1", "Greylisting")}},
		{"cut after the last chunk", []string{helloChunks + announced + "BDAT\nEOF"}, []want{failed(mail.Uncertain, 0, "", "may have been sent")}},
		{"reset after the last chunk", []string{helloChunks + announced + "BDAT\nRST"}, []want{failed(mail.Uncertain, 0, "", "may have been sent")}},
		{"nonsense after the last chunk", []string{helloChunks + announced + "BDAT\nS: thanks\n"}, []want{failed(mail.Uncertain, 0, "", "may have been sent")}},
		{"354 after the last chunk", []string{helloChunks + announced + "BDAT\nS: 354 go\n"}, []want{failed(mail.Uncertain, 0, "", "it answered 354")}},
		{"lost after RCPT", []string{helloChunks + "C: MAIL *\nC: RCPT *\nS: 250 ok\nEOF"}, []want{failed(mail.Unreachable, 0, "", "lost before the mail was sent")}},
		{"a closed kept connection costs nothing", []string{helloChunks + chunked + "EOF", helloChunks + chunked}, []want{{}, {}}},

		{"500 to BDAT: DATA at once, and from then on", []string{helloChunks + refusing + "S: 500 5.5.1 what\nSILENT", helloChunks + accept + accept}, []want{{}, {}}},
		{"502 to BDAT", []string{helloChunks + refusing + "S: 502 5.5.1 not implemented\nSILENT", dataAgain}, []want{{}}},
		{"503 to BDAT", []string{helloChunks + refusing + "S: 503 5.5.1 bad sequence\nSILENT", dataAgain}, []want{{}}},
		{"504 to BDAT, whose chunk was taken", []string{helloChunks + announced + "BDAT\nS: 504 5.5.4 no\nSILENT", dataAgain}, []want{{}}},
		{"500 to BDAT, and the mail read as commands", []string{helloChunks + refusing + "S: 500 what|500 what|500 what\nEOF", dataAgain}, []want{{}}},
		{"a chunk that was not swallowed is found out", []string{helloChunks + refusing + "S: 452 4.3.0 not now\nC: Subject: x\nC: \nC: hello\nC: RSET\nC: MAIL *\nC: RCPT *\nS: 500 what|500 what|500 what|250 ok|250 ok|250 ok\nSILENT", helloChunks + chunked},
			[]want{failed(mail.Temporary, 452, "4.3.0", "not now"), {}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			u := startUpstream(t, c.scripts...)
			s := sender(t, u.addr())
			for i, w := range c.want {
				_, err := s.Send(context.Background(), copyTo("b@example.net", "hello\r\n"))
				w.check(t, i+1, err)
			}
			if n := u.connections(); n != len(c.scripts) {
				t.Errorf("%d connections, want %d", n, len(c.scripts))
			}
		})
	}
}

func TestChunksCarryTheMailAsItIs(t *testing.T) {
	server, pool := certificate(t)
	bodies := map[string][]string{
		"leading dots":          {".\r\n", "..\r\n.", "x\r\n.\r\n", ".QUIT\r\n"},
		"a bare end":            {"no line end"},
		"a bare CR at the end":  {"x\r"},
		"an empty body":         nil,
		"empty segments":        {"", "x\r\n", ""},
		"8-bit text":            {"한글\r\n"},
		"larger than a record":  {strings.Repeat("0123456789abcdef\r\n", 20000), ".\r\n"},
		"more segments than IO": strings.Split(strings.Repeat(".\r\n|x\r\n|", 3000), "|"),
	}
	for name, body := range bodies {
		d := copyTo("b@example.net", body...)
		for mode, script := range map[string]string{"none": helloChunks + chunked, "implicit": "TLS\n" + helloChunks + chunked} {
			t.Run(name+", tls "+mode, func(t *testing.T) {
				u := startTLSUpstream(t, server, script)
				s := sender(t, u.addr(), func(c *smarthost.Config) { c.TLS, c.TLSConfig = mode, &tls.Config{RootCAs: pool} })
				r, err := s.Send(context.Background(), d)
				if err != nil || r.ID != "4XyZ" {
					t.Fatal(r, err)
				}
				if got, want := u.received()[0], string(d.Content.Bytes()); got != want {
					t.Errorf("got %.200q of %d octets\nwant %.200q of %d", got, len(got), want, len(want))
				}
			})
		}
	}
}

// A chunk that is not whole was not accepted, so it is no matter for people.
func TestPartOfAMail(t *testing.T) {
	server, pool := certificate(t)
	large := strings.Replace(hello, "SIZE 1000000", "SIZE 100000000", 1)
	big := strings.Repeat("0123456789abcdef", 1<<20) + "\r\n"
	part := announced + "PART\n"
	half := begin + "S: 250 ok\nS: 250 ok\nS: 354 go\nTAKE\n"
	for _, c := range []struct {
		name, script string
		want         want
	}{
		{"a chunk, reset", helloChunks + part + "RST", failed(mail.Unreachable, 0, "", "lost before the mail was sent")},
		{"a chunk, refused in the middle", helloChunks + part + "S: 552 5.3.4 too large\nEOF", failed(mail.Permanent, 552, "5.3.4", "too large")},
		{"a chunk, 421 in the middle", helloChunks + part + "S: 421 4.3.2 shutting down\nEOF", failed(mail.Unreachable, 421, "4.3.2", "shutting down")},
		{"DATA, reset", large + half + "RST", failed(mail.Unreachable, 0, "", "lost before the mail was sent")},
	} {
		for _, mode := range []string{"none", "implicit"} {
			t.Run(c.name+", tls "+mode, func(t *testing.T) {
				script := c.script
				if mode == "implicit" {
					script = "TLS\n" + script
				}
				u := startTLSUpstream(t, server, script)
				s := sender(t, u.addr(), func(c *smarthost.Config) { c.TLS, c.TLSConfig = mode, &tls.Config{RootCAs: pool} })
				_, err := s.Send(context.Background(), copyTo("b@example.net", big))
				c.want.check(t, 1, err)
			})
		}
	}
}

// full is a connection that takes so many octets and then breaks.
type full struct {
	net.Conn
	room int
}

func (f *full) Write(b []byte) (int, error) {
	if len(b) > f.room {
		return f.room, syscall.EPIPE
	}
	f.room -= len(b)
	return len(b), nil
}

// Wherever the connection breaks, the result is unknown only if what makes the
// mail whole may have gone out.
func TestWriteKnowsWhatWentOut(t *testing.T) {
	c := mail.Content{Header: []byte("Subject: x\r\n"), Body: [][]byte{[]byte("a\r\n"), []byte(".b\r\n")}}
	for _, way := range []struct {
		bdat, tls bool
		size      int
		certain   int // so many octets and fewer: it was certainly not handed over
	}{
		{false, false, 12 + 2 + 3 + 5 + 3, 12 + 2 + 3 + 5},
		{false, true, 12 + 2 + 3 + 5 + 3, 12 + 2 + 3 + 5 + 2}, // no part of a record
		{true, false, 14 + 21, 14 + 20},                       // no part of a chunk
		{true, true, 14 + 21, 14 + 20},
	} {
		for room := range way.size + 1 {
			sent, err := smarthost.Write(&full{room: room}, c, way.bdat, way.tls)
			if want := room > way.certain; sent != want || (err == nil) != (room == way.size) {
				t.Errorf("%+v, %d octets: sent %v, want %v; %v", way, room, sent, want, err)
			}
		}
	}
}

func TestChunkWaitsForTheReplies(t *testing.T) {
	u := startUpstream(t, helloChunks+"C: MAIL *\nC: RCPT *\nQUIET\nS: 250 ok\nS: 550 no\n")
	_, err := sender(t, u.addr()).Send(context.Background(), copyTo("b@example.net", "x\r\n"))
	failed(mail.Permanent, 550, "", "no").check(t, 1, err)
}
