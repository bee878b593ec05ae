package main_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	postern "postern/cmd/postern"
	"postern/expand"
	"postern/mail"
)

// openDesk is a desk with the list promo; more is configuration.
func openDesk(t *testing.T, more string, lookup func(context.Context, string) ([]string, error)) postern.Desk {
	t.Helper()
	t.Chdir(t.TempDir())
	writeKey(t, "dkim.pem")
	cfg, err := postern.ParseConfig(working + "[[smtp.listener]]\naddress = \"127.0.0.1:0\"\n[[list]]\nid = \"promo\"\naddress = \"promo@lists.example.com\"\n[[dkim]]\ndomain = \"example.com\"\nkey_file = \"dkim.pem\"\n" + more)
	if err != nil {
		t.Fatal(err)
	}
	desk, err := postern.OpenDesk(cfg, lookup)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := desk.Close(); err != nil {
			t.Error(err)
		}
	})
	return desk
}

// TestWhoIsKnownByAnAddressAloneIsToldOfNoTemplates before a signature says that the
// mail may go to the list: a service's addresses are those of all its customers.
func TestWhoIsKnownByAnAddressAloneIsToldOfNoTemplates(t *testing.T) {
	key, record := newKey(t)
	desk := openDesk(t, "", keysInDNS{"s._domainkey.example.com": record}.lookup)
	const to = mail.Address("promo+nope@lists.example.com")
	asked := 0
	desk.FindTemplates(func(context.Context, string) (*expand.Template, error) {
		asked++
		return nil, mail.Refuse(550, "5.1.1", "there is no template nope; there are secret")
	})
	text := strings.Replace(today(), "To: promo@lists.example.com", "To: "+string(to), 1)
	envelope := mail.Envelope{From: "marketer@example.com", Recipients: []mail.Address{to}}
	if err := desk.Check(t.Context(), cloud(), "marketer@example.com", to); err != nil {
		t.Errorf("RCPT: %v", err)
	}
	if _, err := desk.Accept(t.Context(), cloud(), envelope, strings.NewReader(trace+text)); err == nil || strings.Contains(err.Error(), "secret") || asked > 0 {
		t.Errorf("unsigned: %v, and %d questions", err, asked)
	}
	if _, err := desk.Accept(t.Context(), cloud(), envelope, strings.NewReader(trace+signed(t, key, "example.com", text))); err == nil || !strings.Contains(err.Error(), "secret") {
		t.Errorf("signed: %v", err)
	}
}

// insider may use the list and has logged in.
func insider() *mail.Submitter {
	s := cloud()
	s.Authenticated = true
	return s
}

// TestASlowTemplateHoldsUpNoOtherLargeMail: one at a time is compiled, and a template
// is fetched before.
func TestASlowTemplateHoldsUpNoOtherLargeMail(t *testing.T) {
	desk := openDesk(t, "", nil)
	asked, answer := make(chan bool), make(chan bool)
	desk.FindTemplates(func(context.Context, string) (*expand.Template, error) {
		asked <- true
		<-answer
		return &expand.Template{ID: "slow", HTML: "{{Body}}"}, nil
	})
	send := func(id string, to mail.Address) error {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		text := strings.Replace(today(), "\r\n\r\n", "\r\nMessage-ID: <"+id+"@example.com>\r\n\r\n", 1) + strings.Repeat("a line of a large mail\r\n", 200_000)
		_, err := desk.Accept(ctx, insider(), mail.Envelope{From: "marketer@example.com", Recipients: []mail.Address{to}}, strings.NewReader(trace+text))
		return err
	}
	var slow sync.WaitGroup
	slow.Go(func() {
		if err := send("1", "promo+slow@lists.example.com"); err != nil {
			t.Errorf("in the template: %v", err)
		}
	})
	<-asked
	if err := send("2", "promo@lists.example.com"); err != nil {
		t.Errorf("while a template is fetched: %v", err)
	}
	close(answer)
	slow.Wait()
}

// TestPicturesAreHostedBelowTheBucketsPrefix, as new pictures of templates are, and a
// mail is taken when its time for that is over.
func TestPicturesAreHostedBelowTheBucketsPrefix(t *testing.T) {
	var mu sync.Mutex
	var puts []string
	bucket := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if r.Method == http.MethodPut {
			puts = append(puts, r.URL.Path)
			return
		}
		w.WriteHeader(http.StatusNotFound)
	}))
	t.Cleanup(bucket.Close)
	desk := openDesk(t, fmt.Sprintf("[templates]\nhost_images_over = 1000\nhost_bucket = \"hosted/mail\"\nhost_base_url = \"https://img.example.com\"\ns3_endpoint = %q\n", bucket.URL), nil)
	send := func(id string, size int) {
		text := strings.ReplaceAll(photograph(id, size), "\n", "\r\n")
		if _, err := desk.Accept(t.Context(), insider(), mail.Envelope{From: "marketer@example.com", Recipients: []mail.Address{"promo@lists.example.com"}}, strings.NewReader(trace+text)); err != nil {
			t.Fatal(err)
		}
	}
	send("1", 2000)
	if len(puts) != 1 || !strings.HasPrefix(puts[0], "/hosted/mail/") {
		t.Errorf("put to %q", puts)
	}
	desk.WaitForPictures(0)
	send("2", 3000)
	if kept, err := desk.Spool.Messages("", 10); err != nil || len(kept) != 2 {
		t.Errorf("%d mails are kept, %v", len(kept), err)
	}
}
