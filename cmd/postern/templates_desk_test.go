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
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute) // else a mistake here would hold the tests for ever
		defer cancel()
		text := strings.Replace(today(), "\r\n\r\n", "\r\nMessage-ID: <"+id+"@example.com>\r\n\r\n", 1) + strings.Repeat("a line of a large mail\r\n", 176_000)
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

// TestPicturesAreHostedBelowTheBucketsPrefix, as new pictures of templates are.
func TestPicturesAreHostedBelowTheBucketsPrefix(t *testing.T) {
	for bucket, prefix := range map[string]string{"hosted": "", "hosted/mail": "mail/"} {
		var put string
		s3 := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodPut {
				w.WriteHeader(http.StatusNotFound)
				return
			}
			put = r.URL.EscapedPath()
		}))
		defer s3.Close()
		cfg, err := postern.DecodeConfig(working + fmt.Sprintf("[templates]\nhost_images_over = 1000\nhost_bucket = %q\nhost_base_url = \"https://img.example.com\"\ns3_endpoint = %q\n", bucket, s3.URL))
		if err != nil {
			t.Fatal(err)
		}
		address, err := postern.HostPicture(t.Context(), cfg, []byte(gif))
		key, below := strings.CutPrefix(address, "https://img.example.com/"+prefix)
		if err != nil || !below || strings.Contains(key, "/") || put != "/hosted/"+prefix+key {
			t.Errorf("%s: put to %s, linked as %s, %v", bucket, put, address, err)
		}
	}
}

// TestPicturesThatTakeTooLongStayInTheMail: somebody waits for the answer to DATA.
func TestPicturesThatTakeTooLongStayInTheMail(t *testing.T) {
	release := make(chan bool)
	s3 := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	t.Cleanup(s3.Close)
	t.Cleanup(func() { close(release) })
	desk := openDesk(t, fmt.Sprintf("[templates]\nhost_images_over = 1000\nhost_bucket = \"hosted\"\nhost_base_url = \"https://img.example.com\"\ns3_endpoint = %q\n", s3.URL), nil)
	desk.WaitForPictures(time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), 9*time.Second) // a call alone has ten
	defer cancel()
	text := strings.ReplaceAll(photograph("1", 3000), "\n", "\r\n")
	if _, err := desk.Accept(ctx, insider(), mail.Envelope{From: "marketer@example.com", Recipients: []mail.Address{"promo@lists.example.com"}}, strings.NewReader(trace+text)); err != nil || ctx.Err() != nil {
		t.Errorf("%v, %v", err, ctx.Err())
	}
}
