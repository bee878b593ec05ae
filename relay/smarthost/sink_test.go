package smarthost_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"postern/mail"
	"postern/relay"
	"postern/relay/smarthost"
)

// sink is go-smtp's server, written by somebody else, that keeps what it gets.
type sink struct {
	addr     string
	sessions atomic.Int64
	keep     bool

	mu    sync.Mutex
	mails map[string]string // by recipient
}

func startSink(t testing.TB, config *tls.Config, keep bool) *sink {
	t.Helper()
	k := &sink{keep: keep, mails: map[string]string{}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := smtp.NewServer(k)
	srv.Domain, srv.TLSConfig, srv.AllowInsecureAuth, srv.MaxMessageBytes = "sink.example", config, true, 100<<20
	done := make(chan struct{})
	go func() { _ = srv.Serve(l); close(done) }()
	t.Cleanup(func() { srv.Close(); <-done })
	k.addr = l.Addr().String()
	return k
}

func (k *sink) NewSession(*smtp.Conn) (smtp.Session, error) {
	k.sessions.Add(1)
	return &sinkSession{sink: k}, nil
}

type sinkSession struct {
	sink *sink
	to   string
}

func (s *sinkSession) Reset()                               { s.to = "" }
func (s *sinkSession) Logout() error                        { return nil }
func (s *sinkSession) Mail(string, *smtp.MailOptions) error { return nil }
func (s *sinkSession) AuthMechanisms() []string             { return []string{sasl.Plain} }
func (s *sinkSession) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != "user" || password != "secret" {
			return errors.New("no")
		}
		return nil
	}), nil
}

func (s *sinkSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	if strings.HasPrefix(to, "nobody") {
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such user"}
	}
	s.to = to
	return nil
}

func (s *sinkSession) Data(r io.Reader) error {
	if !s.sink.keep {
		_, err := io.Copy(io.Discard, r)
		return err
	}
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s.sink.mu.Lock()
	defer s.sink.mu.Unlock()
	s.sink.mails[s.to] = string(b)
	return nil
}

func TestManyMailsArriveIdenticalOverFewConnections(t *testing.T) {
	server, pool := certificate(t)
	for _, mode := range []string{"none", "starttls"} {
		t.Run(mode, func(t *testing.T) {
			k := startSink(t, server, true)
			s := sender(t, k.addr, func(c *smarthost.Config) {
				c.TLS, c.TLSConfig, c.MaxConns = mode, &tls.Config{RootCAs: pool}, 4
				c.Username, c.Password = "user", "secret"
			})
			body := func(i int) []string {
				return []string{".\r\n..\r\n", fmt.Sprintf(".%d", i), strings.Repeat("\r\n. dots\r\nlines", i%50), "\r\n", ".", "\r\n", strings.Repeat(strings.Repeat("x", 76)+"\r\n", i*2)}
			}
			var wg sync.WaitGroup
			for w := range 8 {
				wg.Go(func() {
					for i := w; i < 200; i += 8 {
						to := mail.Address(fmt.Sprintf("u%d@example.net", i))
						if i%10 == 9 {
							if _, err := s.Send(context.Background(), copyTo("nobody@example.net", "x\r\n")); mail.ClassOf(err) != mail.Permanent {
								t.Errorf("nobody: %v", err)
							}
						}
						if _, err := s.Send(context.Background(), copyTo(to, body(i)...)); err != nil {
							t.Error(err)
						}
					}
				})
			}
			wg.Wait()
			if len(k.mails) != 200 {
				t.Errorf("%d mails", len(k.mails))
			}
			for i := range 200 {
				to := fmt.Sprintf("u%d@example.net", i)
				if got, want := k.mails[to], string(copyTo("", body(i)...).Content.Bytes()); got != want {
					t.Errorf("%s: the mail is not the one that was sent\ngot  %.300q\nwant %.300q", to, got, want)
				}
			}
			// go-smtp counts a session for each EHLO, so STARTTLS makes two.
			if n := k.sessions.Load(); n > 8 {
				t.Errorf("%d sessions for at most 4 connections", n)
			}
		})
	}
}

func BenchmarkSend(b *testing.B) {
	for _, size := range []int{10 << 10, 100 << 10} {
		b.Run(fmt.Sprintf("%dKB", size>>10), func(b *testing.B) {
			k := startSink(b, nil, false)
			s := sender(b, k.addr, func(c *smarthost.Config) { c.MaxConns = 10 })
			line := "PGh0bWw+PGJvZHk+PHA+SGVsbG8sIHdvcmxkITwvcD48L2JvZHk+PC9odG1sPg0KPGh0bWw+\r\n"
			d := copyTo("b@example.net", strings.Repeat(line, 20), "Kim", "\r\n"+strings.Repeat(line, size/len(line)-20))
			benchmark(b, s, d, size)
		})
	}
}

// BenchmarkBareLoop does what no sender can leave out, with the same bytes over
// as many connections to the same sink: the measure for BenchmarkSend.
func BenchmarkBareLoop(b *testing.B) {
	for _, size := range []int{10 << 10, 100 << 10} {
		b.Run(fmt.Sprintf("%dKB", size>>10), func(b *testing.B) {
			k := startSink(b, nil, false)
			line := "PGh0bWw+PGJvZHk+PHA+SGVsbG8sIHdvcmxkITwvcD48L2JvZHk+PC9odG1sPg0KPGh0bWw+\r\n"
			data := []byte("Subject: x\r\n\r\n" + strings.Repeat(line, size/len(line)) + ".\r\n")
			b.SetBytes(int64(size))
			b.SetParallelism(5)
			b.RunParallel(func(pb *testing.PB) {
				c, err := net.Dial("tcp", k.addr)
				if err != nil {
					b.Error(err)
					return
				}
				defer c.Close()
				r := bufio.NewReader(c)
				say := func(what []byte, lines int) {
					_, err := c.Write(what)
					for ; err == nil && lines > 0; lines-- {
						_, err = r.ReadSlice('\n')
					}
					if err != nil {
						b.Error(err)
					}
				}
				say([]byte("EHLO x\r\n"), 1) // the greeting
				for line := ""; err == nil && !strings.HasPrefix(line, "250 "); {
					line, err = r.ReadString('\n')
				}
				for pb.Next() {
					say([]byte("MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n"), 3)
					say(data, 1)
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "mails/s")
		})
	}
}

func benchmark(b *testing.B, s *smarthost.Sender, d *relay.Delivery, size int) {
	b.SetBytes(int64(size))
	b.ReportAllocs()
	b.SetParallelism(5) // ten on two cores
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := s.Send(context.Background(), d); err != nil {
				b.Error(err)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "mails/s")
}
