package main_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	postern "postern/cmd/postern"
	"postern/mail"
	"postern/spool"
)

// TestTheRendererForgetsWhileOthersLoad renders large messages from many workers
// with a cache that holds none of them for long.
func TestTheRendererForgetsWhileOthersLoad(t *testing.T) {
	dir := t.TempDir()
	s, err := spool.Open(dir, spool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var msgs []mail.Message
	for i := range 8 {
		b, err := s.NewBody()
		if err != nil {
			t.Fatal(err)
		}
		text := strings.Repeat("text\r\n", 100*(i+1))
		if i == 0 { // the one that will be lost: large enough for a file of its own
			text = strings.Repeat("text\r\n", 4000)
		}
		fmt.Fprintf(b, "From: a@example.com\r\nSubject: %d\r\n\r\n%s\r\n", i, text)
		m := mail.Message{ID: mail.NewID(time.Now()), State: mail.Sending, AcceptedAt: time.Now()}
		if err := s.Accept(t.Context(), b, []spool.Accepted{{Message: m, Copies: []mail.Copy{{To: "b@example.net"}}}}); err != nil {
			t.Fatal(err)
		}
		msgs = append(msgs, m)
	}
	lost := msgs[0]
	if err := os.Remove(filepath.Join(dir, "bodies", string(lost.ID)+".eml")); err != nil {
		t.Fatal(err)
	}
	cfg, err := postern.DecodeConfig(working)
	if err != nil {
		t.Fatal(err)
	}
	r := postern.NewRenderer(cfg, s, 1000)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for i := range 300 {
				m := &msgs[i%len(msgs)]
				_, err := r.Render(m, &mail.Copy{Message: m.ID, Seq: 1, To: "b@example.net"})
				if (err != nil) != (m.ID == lost.ID) {
					t.Errorf("message %d: %v", i%len(msgs), err)
					return
				}
			}
		})
	}
	wg.Wait()
	if counted, held := r.Cached(); counted != held || held > 10000 {
		t.Errorf("the cache counts %d octets and holds %d", counted, held)
	}
}
