package ses_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"postern/mail"
	"postern/relay"
	"postern/relay/ses"
	"postern/relay/ses/sesfake"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// alone keeps this machine's own AWS settings out of a test.
func alone(t testing.TB) {
	t.Helper()
	for _, k := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL"} {
		t.Setenv(k, "")
	}
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_CONFIG_FILE", "/dev/null")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
	t.Setenv("AWS_MAX_ATTEMPTS", "5") // a setting of the machine must not bring the retries back
}

func sender(t testing.TB, endpoint string, change ...func(*ses.Config)) *ses.Sender {
	t.Helper()
	alone(t)
	cfg := ses.Config{Region: "ap-northeast-2", Endpoint: endpoint, Concurrency: 4}
	for _, f := range change {
		f(&cfg)
	}
	s, err := ses.New(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func fake(t testing.TB, answers ...sesfake.Answer) (*sesfake.Fake, string) {
	t.Helper()
	f := &sesfake.Fake{}
	f.Then(answers...)
	srv := httptest.NewServer(f)
	t.Cleanup(srv.Close)
	return f, srv.URL
}

func copyFor(to mail.Address) *relay.Delivery {
	return &relay.Delivery{From: "a@example.com", To: to, Tag: "01ARZ3NDEKTSV4RRFFQ69G5FAV-1z", Content: mail.Content{
		Header: []byte("DKIM-Signature: v=1\r\nFrom: a@example.com\r\nTo: somebody else <list@example.com>\r\nSubject: x\r\n"),
		Body:   [][]byte{[]byte(".hello\r\n"), []byte("\r\n.\r\n"), {0x00, 0xff}, []byte("\r\n")}}}
}

func TestTheRequestSaysAllItMust(t *testing.T) {
	f, url := fake(t)
	s := sender(t, url, func(c *ses.Config) { c.ConfigurationSet = "postern-events" })
	d := copyFor("b@한국.example")
	r, err := s.Send(context.Background(), d)
	if err != nil {
		t.Fatal(err)
	}
	got := f.Mails()
	want := []sesfake.Mail{{ID: r.ID, To: []string{"b@xn--3e0b707e.example"}, Tags: map[string]string{ses.TagName: d.Tag}, ConfigurationSet: "postern-events",
		ClickTracking: "DISABLED", OpenTracking: "DISABLED", Raw: d.Content.Bytes()}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if r.ID == "" || s.Idempotent() {
		t.Errorf("receipt %+v, idempotent %v", r, s.Idempotent())
	}
}

// Every row of the error table, through the wire and the SDK: what SES does, the
// class that follows, and whether a mail was in fact accepted. One Send is one
// request in every case.
func TestOneSendIsOneRequest(t *testing.T) {
	for _, c := range []struct {
		name     string
		answer   sesfake.Answer
		want     mail.Class
		says     string
		accepted int
	}{
		{"burst", sesfake.Refuse(429, "TooManyRequestsException", "Maximum sending rate exceeded."), mail.Throttled, "Maximum sending rate exceeded.", 0},
		{"burst, by the other name", sesfake.Refuse(400, "ThrottlingException", "Maximum sending rate exceeded."), mail.Throttled, "Maximum sending rate", 0},
		{"quota", sesfake.Refuse(429, "TooManyRequestsException", "Daily message quota exceeded."), mail.QuotaSpent, "Daily message quota exceeded.", 0},
		{"limit", sesfake.Refuse(400, "LimitExceededException", "limit"), mail.Temporary, "limit", 0},
		{"suspended", sesfake.Refuse(400, "AccountSuspendedException", "suspended"), mail.AccountWide, "suspended", 0},
		{"paused", sesfake.Refuse(400, "SendingPausedException", "Email sending is disabled"), mail.AccountWide, "Email sending is disabled", 0},
		{"MAIL FROM domain", sesfake.Refuse(400, "MailFromDomainNotVerifiedException", "no MX"), mail.MessageWide, "no MX", 0},
		{"configuration set", sesfake.Refuse(404, "NotFoundException", "Configuration set <x> does not exist."), mail.MessageWide, "<x> does not exist", 0},
		{"identity", sesfake.Refuse(400, "MessageRejected", "Email address is not verified. The following identities failed"), mail.MessageWide, "not verified", 0},
		{"rejected", sesfake.Refuse(400, "MessageRejected", "Transaction failed: virus"), mail.Permanent, "Transaction failed: virus", 0},
		{"bad request", sesfake.Refuse(400, "BadRequestException", "Illegal filename 'a.exe'."), mail.Permanent, "Illegal filename 'a.exe'.", 0},
		{"the name with a namespace", sesfake.Refuse(400, "BadRequestException:http://internal.amazon.com/coral/com.amazonaws.sesv2/", "x"), mail.Permanent, "x", 0},
		{"expired token", sesfake.Refuse(403, "ExpiredTokenException", "expired"), mail.AccountWide, "expired", 0},
		{"access denied", sesfake.Refuse(403, "AccessDeniedException", "denied"), mail.AccountWide, "denied", 0},
		{"signature", sesfake.Refuse(403, "SignatureDoesNotMatch", "does not match"), mail.AccountWide, "does not match", 0},
		{"500 after it took the mail", sesfake.FailAfterAccept(500), mail.Uncertain, "may have been sent", 1},
		{"503 after it took the mail", sesfake.FailAfterAccept(503), mail.Uncertain, "may have been sent", 1},
		{"502 of a proxy", sesfake.Garble(502, "<html>bad gateway</html>"), mail.Uncertain, "HTTP 502", 0},
		{"200 that cannot be read", sesfake.Garble(200, "<html>hello</html>"), mail.Uncertain, "probably sent", 1},
		{"redirect", sesfake.Garble(302, "moved"), mail.Temporary, "HTTP 302", 0},
		{"reset after it took the mail", sesfake.ResetAfterAccept(), mail.Uncertain, "may have been sent", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, url := fake(t, sesfake.Accept(), c.answer, sesfake.Accept())
			s := sender(t, url)
			// The first Send leaves a kept connection, on which a client would retry.
			if _, err := s.Send(context.Background(), copyFor("b@example.net")); err != nil {
				t.Fatal(err)
			}
			_, err := s.Send(context.Background(), copyFor("b@example.net"))
			check(t, err, c.want, c.says)
			if n := f.Requests(); n != 2 {
				t.Errorf("%d requests for 2 Sends", n)
			}
			if n := len(f.Mails()); n != 1+c.accepted {
				t.Errorf("%d mails accepted, want %d", n, 1+c.accepted)
			}
			if _, err := s.Send(context.Background(), copyFor("b@example.net")); err != nil {
				t.Errorf("the next copy: %v", err)
			}
		})
	}
}

func check(t *testing.T, err error, want mail.Class, says string) {
	t.Helper()
	var e *mail.Error
	if !errors.As(err, &e) {
		t.Fatalf("%v is no mail.Error", err)
	}
	if e.Class != want || !strings.Contains(e.Public, says) {
		t.Errorf("class %v, %q; want %v, %q", e.Class, e.Public, want, says)
	}
}

func TestSilenceAfterAcceptance(t *testing.T) {
	f, url := fake(t, sesfake.SilentAfterAccept())
	s := sender(t, url, func(c *ses.Config) { c.Timeout = 500 * time.Millisecond })
	_, err := s.Send(context.Background(), copyFor("b@example.net"))
	check(t, err, mail.Uncertain, "no answer in time")
	if f.Requests() != 1 || len(f.Mails()) != 1 {
		t.Errorf("%d requests, %d mails", f.Requests(), len(f.Mails()))
	}
}

func TestContextEndsASend(t *testing.T) {
	t.Run("after SES had the copy", func(t *testing.T) {
		f, url := fake(t, sesfake.SilentAfterAccept())
		ctx, cancel := context.WithCancel(context.Background())
		go func() {
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			for len(f.Mails()) == 0 {
				<-tick.C
			}
			cancel()
		}()
		_, err := sender(t, url).Send(ctx, copyFor("b@example.net"))
		check(t, err, mail.Uncertain, "may have been sent")
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%v does not wrap the context's error", err)
		}
	})
	t.Run("before anything", func(t *testing.T) {
		f, url := fake(t)
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_, err := sender(t, url).Send(ctx, copyFor("b@example.net"))
		check(t, err, mail.Unreachable, "stopped")
		if f.Requests() != 0 {
			t.Error("a request was made")
		}
	})
}

func TestConnectionThatBreaksWhileWriting(t *testing.T) {
	f, url := fake(t, sesfake.ResetUnread())
	d := copyFor("b@example.net")
	d.Content.Body = [][]byte{bytes.Repeat([]byte("0123456789abcde\n"), 1<<19)}
	_, err := sender(t, url).Send(context.Background(), d)
	check(t, err, mail.Temporary, "was not sent")
	if f.Requests() != 1 {
		t.Errorf("%d requests", f.Requests())
	}
}

func TestUpstreamThatIsNotThere(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	_, err = sender(t, "http://"+l.Addr().String()).Send(context.Background(), copyFor("b@example.net"))
	check(t, err, mail.Unreachable, "connection refused")
	_, err = sender(t, "http://no-such-host.invalid").Send(context.Background(), copyFor("b@example.net"))
	check(t, err, mail.Unreachable, "does not resolve")
}

func TestRecipientsThatSESCannotReach(t *testing.T) {
	f, url := fake(t)
	s := sender(t, url)
	_, err := s.Send(context.Background(), copyFor("민@example.net"))
	check(t, err, mail.Permanent, "beyond ASCII")
	_, err = s.Send(context.Background(), copyFor(""))
	check(t, err, mail.Permanent, "no recipient")
	if f.Requests() != 0 {
		t.Error("a request was made")
	}
}

func TestManyAtOnceKeepTheirConnections(t *testing.T) {
	f, url := fake(t)
	s := sender(t, url, func(c *ses.Config) { c.Concurrency = 20 })
	var wg sync.WaitGroup
	for w := range 20 {
		wg.Go(func() {
			for i := range 10 {
				d := copyFor(mail.Address(fmt.Sprintf("u%d-%d@example.net", w, i)))
				d.Tag = fmt.Sprintf("t-%d-%d", w, i)
				if _, err := s.Send(context.Background(), d); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	seen := map[string]bool{}
	for _, m := range f.Mails() {
		if m.To[0] != "u"+m.Tags[ses.TagName][2:]+"@example.net" {
			t.Errorf("%s has the tag %s", m.To[0], m.Tags[ses.TagName])
		}
		seen[m.To[0]] = true
	}
	if len(seen) != 200 || f.Requests() != 200 {
		t.Errorf("%d recipients, %d requests", len(seen), f.Requests())
	}
}

func TestTheFakeRefusesWhatSESRefuses(t *testing.T) {
	_, url := fake(t)
	s := sender(t, url)
	d := copyFor("b@example.net")
	d.Content = d.Content.Prepend([]byte("DKIM-Signature: v=1; foreign\r\n"))
	_, err := s.Send(context.Background(), d)
	check(t, err, mail.Permanent, "Duplicate header 'DKIM-Signature'.")
	d = copyFor("b@example.net")
	d.Tag = "not a tag"
	_, err = s.Send(context.Background(), d)
	check(t, err, mail.Permanent, "Invalid tag")
}

func TestAccount(t *testing.T) {
	f, url := fake(t)
	var a sesfake.Account
	a.SendQuota.MaxSendRate, a.SendQuota.Max24HourSend, a.SendQuota.SentLast24Hours = 14, 50000, 123
	a.ProductionAccessEnabled, a.SendingEnabled, a.EnforcementStatus = true, true, "HEALTHY"
	f.SetAccount(a)
	s := sender(t, url)
	got, err := s.Account(context.Background())
	if want := (relay.Account{Rate: 14, Max24: 50000, Sent24: 123, Enforcement: "HEALTHY"}); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	a.ProductionAccessEnabled, a.SendingEnabled, a.EnforcementStatus, a.SendQuota.Max24HourSend = false, false, "SHUTDOWN", -1
	f.SetAccount(a)
	got, err = s.Account(context.Background())
	if want := (relay.Account{Rate: 14, Max24: -1, Sent24: 123, Sandbox: true, Paused: true, Enforcement: "SHUTDOWN"}); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestConfiguration(t *testing.T) {
	alone(t)
	for _, c := range []struct {
		name string
		cfg  ses.Config
		want string
	}{
		{"no region", ses.Config{}, "no AWS region"},
		{"no region for Amazon's own end point", ses.Config{Endpoint: "https://vpce-1.email.ap-northeast-2.vpce.amazonaws.com"}, "no AWS region"},
		{"an end point that is no URL", ses.Config{Endpoint: "127.0.0.1:8005"}, "is not a URL"},
		{"an emulator needs no region", ses.Config{Endpoint: "http://127.0.0.1:8005"}, ""},
	} {
		s, err := ses.New(context.Background(), c.cfg)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v", c.name, err)
		}
		if s != nil {
			s.Close()
		}
	}
	t.Run("without credentials nothing is asked", func(t *testing.T) {
		s, err := ses.New(context.Background(), ses.Config{Region: "ap-northeast-2"})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		_, err = s.Send(context.Background(), copyFor("b@example.net"))
		check(t, err, mail.AccountWide, "credentials")
	})
}

func BenchmarkSendToNullServer(b *testing.B) {
	for _, size := range []int{10 << 10, 100 << 10} {
		b.Run(fmt.Sprintf("%dKB", size>>10), func(b *testing.B) {
			srv := httptest.NewServer(&sesfake.Fake{Discard: true})
			defer srv.Close()
			s := sender(b, srv.URL, func(c *ses.Config) { c.Concurrency = 10 })
			d := copyFor("b@example.net")
			d.Content.Body = [][]byte{bytes.Repeat([]byte("0123456789abcd\r\n"), size/16)}
			b.SetBytes(int64(size))
			b.SetParallelism(5)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := s.Send(context.Background(), d); err != nil {
						b.Error(err)
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "mails/s")
		})
	}
}

// TestAnAccountThatDoesNotSayWhatItMaySend: one question, and words that say what to do.
func TestAnAccountThatDoesNotSayWhatItMaySend(t *testing.T) {
	for name, c := range map[string]struct {
		status  int
		errType string
		body    string
		want    string
	}{
		"without the permission": {403, "AccessDeniedException", `{"message":"User x is not authorized"}`, "the permission ses:GetAccount is missing"},
		"failing":                {500, "InternalFailure", `{}`, "Amazon SES does not say what the account may send"},
		"an emulator's":          {200, "", `{}`, "the answer to GetAccount holds no sending quota"},
		"of no number":           {200, "", `{"SendQuota":{"MaxSendRate":"NaN","Max24HourSend":-1}}`, "the answer to GetAccount holds no sending quota"},
		"of no end":              {200, "", `{"SendQuota":{"MaxSendRate":14,"Max24HourSend":"Infinity"}}`, "the answer to GetAccount holds no sending quota"},
	} {
		t.Run(name, func(t *testing.T) {
			asked := 0
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				asked++
				w.Header().Set("X-Amzn-ErrorType", c.errType)
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, c.body)
			}))
			defer srv.Close()
			_, err := sender(t, srv.URL).Account(context.Background())
			var e *mail.Error
			if !errors.As(err, &e) || !strings.Contains(e.Public, c.want) || e.Class == mail.Uncertain {
				t.Errorf("%v", err)
			}
			if asked != 1 {
				t.Errorf("asked %d times", asked)
			}
		})
	}
}
