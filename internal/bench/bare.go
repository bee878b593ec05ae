package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"postern/mail"
	"postern/relay/sign"
)

// bareSMTP delivers the same mail so many times by so many connections, pipelined,
// each copy signed when wanted, and does nothing else. Copies a second.
func (b *bench) bareSMTP(raw []byte, signed bool) (float64, error) {
	s, err := startSink(b.copies)
	if err != nil {
		return 0, err
	}
	defer s.stop()
	var keys *sign.Keys
	if signed {
		if keys, err = b.keys(); err != nil {
			return 0, err
		}
	}
	header, body := split(raw)
	content := mail.Content{Header: header, Body: [][]byte{body}}
	var left atomic.Int64
	left.Store(int64(b.copies))
	var wg sync.WaitGroup
	errs := make(chan error, connections)
	start := time.Now()
	for range connections {
		wg.Go(func() { errs <- bareConnection(s.addr, content, keys, &left) })
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			return 0, err
		}
	}
	if err := s.wait(time.Minute); err != nil {
		return 0, err
	}
	return float64(b.copies) / s.last.Sub(start).Seconds(), nil
}

// split gives the header of a mail, with its last line end, and the body.
func split(raw []byte) (header, body []byte) {
	header, body, _ = bytes.Cut(raw, []byte("\r\n\r\n"))
	return append(header[:len(header):len(header)], '\r', '\n'), body
}

func (b *bench) keys() (*sign.Keys, error) {
	file := filepath.Join(b.dir, "bare.pem")
	key, _, err := sign.GenerateKey("example.com", "bench", 2048)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(file, key, 0o600); err != nil {
		return nil, err
	}
	return sign.Open([]sign.KeyConfig{{Domain: "example.com", Selector: "bench", KeyFile: file, Sign: true}})
}

func bareConnection(addr string, content mail.Content, keys *sign.Keys, left *atomic.Int64) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	r := bufio.NewReader(c)
	expect := func(code string) error {
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return err
			}
			if !strings.HasPrefix(line, code) {
				return errors.New("the sink said " + line)
			}
			if line[3] == ' ' {
				return nil
			}
		}
	}
	if err := expect("220"); err != nil {
		return err
	}
	fmt.Fprint(c, "EHLO bench\r\n")
	if err := expect("250"); err != nil {
		return err
	}
	for left.Add(-1) >= 0 {
		mail := content
		if keys != nil {
			if mail, err = keys.Sign(content, "marketer@example.com"); err != nil {
				return err
			}
		}
		fmt.Fprint(c, "MAIL FROM:<marketer@example.com>\r\nRCPT TO:<somebody@example.net>\r\nDATA\r\n")
		for _, code := range []string{"250", "250", "354"} {
			if err := expect(code); err != nil {
				return err
			}
		}
		mail.Body = append(mail.Body[:len(mail.Body):len(mail.Body)], []byte("\r\n.\r\n"))
		if _, err := mail.WriteTo(c); err != nil {
			return err
		}
		if err := expect("250"); err != nil {
			return err
		}
	}
	return nil
}
