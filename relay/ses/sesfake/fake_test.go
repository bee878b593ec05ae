package sesfake_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"postern/relay/ses/sesfake"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stage is a fake with a clock that a test moves, and a client of it.
type stage struct {
	*sesfake.Fake
	t      *testing.T
	url    string
	client *http.Client
	mu     sync.Mutex
	now    time.Time
}

func open(t *testing.T) *stage {
	t.Helper()
	s := &stage{t: t, now: time.Date(2026, 11, 26, 9, 0, 0, 0, time.UTC), client: &http.Client{Transport: &http.Transport{}}}
	s.Fake = &sesfake.Fake{Now: func() time.Time {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.now
	}}
	srv := httptest.NewServer(s.Fake)
	s.url = srv.URL
	t.Cleanup(func() { s.client.CloseIdleConnections(); srv.Close() })
	return s
}

func (s *stage) pass(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
}

const raw = "From: Shop <a@example.com>\r\nTo: b@example.net\r\nSubject: x\r\n\r\nhello\r\n"

// reply is SES's.
type reply struct {
	status        int
	kind, message string
}

func (s *stage) send(raw string, to ...string) (reply, error) {
	type object = map[string]any
	body, err := json.Marshal(object{"Content": object{"Raw": object{"Data": []byte(raw)}}, "Destination": object{"ToAddresses": to},
		"ConfigurationSetName": "events", "EmailTags": []any{object{"Name": "postern", "Value": "tag-1"}}})
	if err != nil {
		return reply{}, err
	}
	resp, err := s.client.Post(s.url+"/v2/email/outbound-emails", "application/json", bytes.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	said, err := io.ReadAll(resp.Body)
	if err != nil {
		return reply{}, err
	}
	var e struct{ Message string }
	_ = json.Unmarshal(said, &e) // a garbled answer has none
	return reply{resp.StatusCode, resp.Header.Get("X-Amzn-ErrorType"), e.Message}, nil
}

func (s *stage) sends(want reply) {
	s.t.Helper()
	if got, err := s.send(raw, "b@example.net"); err != nil || got != want {
		s.t.Errorf("%+v, %v; want %+v", got, err, want)
	}
}

func (s *stage) account() (a sesfake.Account) {
	s.t.Helper()
	resp, err := s.client.Get(s.url + "/v2/email/account")
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&a); err != nil {
		s.t.Fatal(err)
	}
	return a
}

func taken() reply { return reply{status: 200} }

func tooFast() reply { return reply{429, "TooManyRequestsException", "Maximum sending rate exceeded."} }

func spent() reply { return reply{429, "TooManyRequestsException", "Daily message quota exceeded."} }

func expired() reply {
	return reply{403, "ExpiredTokenException", "The security token included in the request is expired"}
}

func TestErrorsBearTheirNamesAndStatuses(t *testing.T) {
	s := open(t)
	for _, c := range []struct {
		answer sesfake.Answer
		want   reply
	}{
		{sesfake.RateExceeded(), tooFast()},
		{sesfake.Throttling(), reply{400, "ThrottlingException", "Maximum sending rate exceeded."}},
		{sesfake.QuotaExceeded(), spent()},
		{sesfake.LimitExceeded(), reply{400, "LimitExceededException", "There are too many instances of the specified resource type."}},
		{sesfake.AccountSuspended(), reply{400, "AccountSuspendedException", "The message can't be sent because the account's ability to send email has been permanently restricted."}},
		{sesfake.SendingPaused(), reply{400, "SendingPausedException", "Sending paused for this account. For more information, please check the inbox of the email address associated with your AWS account."}},
		{sesfake.MailFromDomainNotVerified(), reply{400, "MailFromDomainNotVerifiedException", "The message can't be sent because the sending domain isn't verified."}},
		{sesfake.NoConfigurationSet("events"), reply{404, "NotFoundException", "Configuration set <events> does not exist."}},
		{sesfake.NotVerified("ap-northeast-2", "a@example.com", "example.com"), reply{400, "MessageRejected", "Email address is not verified. The following identities failed the check in region AP-NORTHEAST-2: a@example.com, example.com"}},
		{sesfake.MessageRejected("no"), reply{400, "MessageRejected", "no"}},
		{sesfake.BadRequest("no"), reply{400, "BadRequestException", "no"}},
		{sesfake.ExpiredToken(), expired()},
		{sesfake.UnknownKey(), reply{403, "UnrecognizedClientException", "The security token included in the request is invalid."}},
		{sesfake.FailAfterAccept(503), reply{503, "InternalServiceErrorException", "internal failure"}},
		{sesfake.Garble(502, "<html>"), reply{status: 502}},
	} {
		s.Then(c.answer)
		s.sends(c.want)
	}
	for _, a := range []sesfake.Answer{sesfake.AccessDenied(), sesfake.BadSignature()} {
		s.Then(a)
		if got, err := s.send(raw, "b@example.net"); err != nil || got.status != 403 || got.message == "" {
			t.Errorf("%+v, %v", got, err)
		}
	}
	if c := s.Count(); c != (sesfake.Counts{Requests: 17, Accepted: 1, Unsure: 1}) {
		t.Errorf("%+v", c)
	}
}

func TestConnectionsThatBreakBeforeAndAfterTheMailIsTaken(t *testing.T) {
	s := open(t)
	for i, c := range []struct {
		answer sesfake.Answer
		taken  int
	}{{sesfake.ResetUnread(), 0}, {sesfake.ResetAfterAccept(), 1}} {
		s.Then(sesfake.Accept(), c.answer)
		s.sends(taken())
		if got, err := s.send(raw, "b@example.net"); err == nil {
			t.Errorf("an answer came: %+v", got)
		}
		if n := s.Count().Accepted; n != i+1+c.taken {
			t.Errorf("%d mails are taken", n)
		}
	}
	s.client.Timeout = 100 * time.Millisecond
	for _, a := range []sesfake.Answer{sesfake.SilentAfterAccept(), sesfake.Accept().After(time.Hour)} {
		before := s.Count().Accepted
		s.Then(a)
		if got, err := s.send(raw, "b@example.net"); err == nil {
			t.Errorf("an answer came: %+v", got)
		}
		if n := s.Count().Accepted; n != before+1 {
			t.Errorf("%d mails are taken", n)
		}
	}
}

func TestNoSecondHasMoreThanTheRate(t *testing.T) {
	s := open(t)
	s.RateLimit(3, 0)
	for _, d := range []time.Duration{0, 300 * time.Millisecond, 300 * time.Millisecond} {
		s.pass(d)
		s.sends(taken())
	}
	s.sends(tooFast())
	s.pass(399 * time.Millisecond) // the first is 999 ms old
	s.sends(tooFast())
	s.pass(time.Millisecond)
	s.sends(taken())
	s.sends(tooFast())
	if c := s.Count(); c.Throttled != 3 || c.Accepted != 4 || c.Requests != 7 {
		t.Errorf("%+v", c)
	}
	s.RateLimit(0, 0)
	s.sends(taken())
}

func TestABurstIsTakenOnceUntilASecondIsQuiet(t *testing.T) {
	s := open(t)
	s.RateLimit(2, 3)
	for range 5 {
		s.sends(taken())
	}
	s.sends(tooFast())
	s.pass(900 * time.Millisecond)
	s.sends(tooFast())
	s.pass(time.Second) // a quiet one: what was refused does not count
	for range 5 {
		s.sends(taken())
	}
	s.sends(tooFast())
	s.RateLimit(3, 1)
	for range 2 {
		s.sends(taken())
	}
	s.pass(500 * time.Millisecond)
	for range 2 { // the second is the burst
		s.sends(taken())
	}
	for _, room := range []int{1, 2, 1, 2} { // never quiet
		s.sends(tooFast())
		s.pass(500 * time.Millisecond)
		for range room {
			s.sends(taken())
		}
	}
	s.sends(tooFast())
}

func TestAQuotaRollsAndIsToldByGetAccount(t *testing.T) {
	s := open(t)
	s.sends(taken()) // before there was a quota: it counts all the same
	s.Quota(3, 0)
	s.pass(time.Hour)
	s.sends(taken())
	s.sends(taken())
	s.sends(spent())
	if q := s.account().SendQuota; q.Max24HourSend != 3 || q.SentLast24Hours != 3 || q.MaxSendRate != 10_000 {
		t.Errorf("%+v", q)
	}
	s.pass(23 * time.Hour)
	s.sends(taken())
	s.sends(spent())
	if n := s.Sent(); n != 3 {
		t.Errorf("the window holds %d", n)
	}
	s.Quota(3, time.Minute)
	s.pass(time.Minute)
	if q := s.account().SendQuota; q.SentLast24Hours != 0 {
		t.Errorf("%+v", q)
	}
	s.sends(taken())
	if c := s.Count(); c.OverQuota != 2 || c.Accounts != 2 {
		t.Errorf("%+v", c)
	}
}

func TestRecipientsCountAndNotMails(t *testing.T) {
	s := open(t)
	s.RateLimit(3, 0)
	if got, err := s.send(raw, "b@example.net", "c@example.net"); err != nil || got != taken() {
		t.Fatal(got, err)
	}
	if got, err := s.send(raw, "b@example.net", "c@example.net"); err != nil || got != tooFast() {
		t.Error(got, err)
	}
}

func TestAnAccountIsInGoodOrderUnlessTold(t *testing.T) {
	s := open(t)
	a := s.account()
	if a.SendQuota.Max24HourSend != -1 || a.SendQuota.MaxSendRate <= 0 || !a.SendingEnabled || !a.ProductionAccessEnabled || a.EnforcementStatus != "HEALTHY" {
		t.Errorf("%+v", a)
	}
	s.RateLimit(14, 0)
	if q := s.account().SendQuota; q.MaxSendRate != 14 {
		t.Errorf("%+v", q)
	}
	a.EnforcementStatus, a.SendQuota.MaxSendRate = "SHUTDOWN", 20
	s.SetAccount(a)
	if got := s.account(); got != a {
		t.Errorf("%+v, want %+v", got, a)
	}
}

func TestAnExpiredCredentialRefusesAllUntilItIsRenewed(t *testing.T) {
	s := open(t)
	s.Then(sesfake.BadRequest("it is still in the script afterwards"))
	s.SetCredentialExpired(true)
	s.sends(expired())
	if a := s.account(); a.SendingEnabled {
		t.Errorf("GetAccount answers %+v", a)
	}
	s.SetCredentialExpired(false)
	s.sends(reply{400, "BadRequestException", "it is still in the script afterwards"})
	s.sends(taken())
	if c := s.Count(); c.Expired != 2 {
		t.Errorf("%+v", c)
	}
}

func TestAFromNeedsAnIdentity(t *testing.T) {
	s := open(t)
	s.Verify("ap-northeast-2", "Example.com", "b@example.org")
	for from, ok := range map[string]bool{"a@example.com": true, "b@EXAMPLE.org": true, "c@example.org": false, "a@sub.example.com": false} {
		want := taken()
		if !ok {
			want = reply{400, "MessageRejected", "Email address is not verified. The following identities failed the check in region AP-NORTHEAST-2: " + from}
		}
		if got, err := s.send(strings.Replace(raw, "a@example.com", from, 1), "b@example.net"); err != nil || got != want {
			t.Errorf("%s: %+v, %v", from, got, err)
		}
	}
}

func TestWhatSESWouldRefuseIsRefused(t *testing.T) {
	s := open(t)
	for mail, want := range map[string]string{
		"Subject: a\r\nsubject: b\r\n\r\n": "Duplicate header 'subject'.",
		"":                                 "Content.Raw.Data is empty",
	} {
		if got, err := s.send(mail, "b@example.net"); err != nil || got != (reply{400, "BadRequestException", want}) {
			t.Errorf("%q: %+v, %v", mail, got, err)
		}
	}
	if got, err := s.send(raw); err != nil || got.status != 400 || !strings.Contains(got.message, "Destination is empty") {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := s.send("Subject: a\r\n Subject: folded\r\n\r\nSubject: body\r\n", "b@example.net"); err != nil || got != taken() {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestManyAtOnceAreCountedAndKeptOnce(t *testing.T) {
	const workers, each = 8, 50
	s := open(t)
	s.client.Transport.(*http.Transport).MaxIdleConnsPerHost = workers
	s.RateLimit(workers*each-20, 5)
	s.SetLatency(time.Millisecond)
	heard := make(chan string, workers*each)
	s.OnAccept(func(m sesfake.Mail) { heard <- m.ID })
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				if _, err := s.send(raw, fmt.Sprintf("u%d-%d@example.net", w, i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	close(heard)
	ids, to := map[string]bool{}, map[string]bool{}
	for id := range heard {
		ids[id] = true
	}
	for _, m := range s.Mails() {
		if to[m.To[0]] = true; !ids[m.ID] || string(m.Raw) != raw {
			t.Errorf("%+v", m)
		}
	}
	if c := s.Count(); c.Accepted != workers*each-15 || c.Throttled != 15 || len(ids) != c.Accepted || len(to) != c.Accepted {
		t.Errorf("%+v, %d ids, %d recipients", c, len(ids), len(to))
	}
}

func TestHangUpCutsEveryHandshake(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { sesfake.HangUp(l); close(done) }()
	client := &http.Client{Transport: &http.Transport{}}
	if resp, err := client.Get("https://" + l.Addr().String()); err == nil {
		resp.Body.Close()
		t.Error("an answer came")
	}
	l.Close()
	<-done
}
