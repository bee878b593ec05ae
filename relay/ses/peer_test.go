package ses_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"postern/internal/peer"
	"postern/mail"
	"postern/relay"
	"postern/relay/ses"
)

// recorder is a proxy that keeps the requests it passes on.
type recorder struct {
	mu       sync.Mutex
	requests []recorded
}

type recorded struct {
	method, path string
	header       http.Header
	body         []byte
}

func record(t *testing.T, target string) (*recorder, string) {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{}
	proxy := httputil.NewSingleHostReverseProxy(u)
	transport := &http.Transport{}
	proxy.Transport = transport
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, err := io.ReadAll(q.Body)
		if err != nil {
			t.Error(err)
		}
		r.mu.Lock()
		r.requests = append(r.requests, recorded{q.Method, q.URL.Path, q.Header.Clone(), body})
		r.mu.Unlock()
		q.Body = io.NopCloser(bytes.NewReader(body))
		proxy.ServeHTTP(w, q)
	}))
	t.Cleanup(func() { srv.Close(); transport.CloseIdleConnections() })
	return r, srv.URL
}

// The emulator aws-ses-v2-local, which others wrote, understands what we send;
// the proxy in between shows that nothing more is said than we mean.
func TestAnEmulatorOfOthersUnderstandsUs(t *testing.T) {
	t.Setenv("AWS_SES_ACCOUNT", `{"DedicatedIpAutoWarmupEnabled":false,"EnforcementStatus":"HEALTHY","ProductionAccessEnabled":false,"SendingEnabled":true,
		"Details":{"AdditionalContactEmailAddresses":[],"ContactLanguage":"EN","MailType":"MARKETING","ReviewDetails":{"CaseId":"1","Status":"PENDING"},"UseCaseDescription":"x","WebsiteURL":"https://example.com"},
		"SendQuota":{"Max24HourSend":200,"MaxSendRate":1,"SentLast24Hours":2},"SuppressionAttributes":{"SuppressedReasons":[]}}`)
	port := peer.Port(t)
	peer.Start(t, port, peer.Command(t, "node"), filepath.Join(peer.NodeModules(t), "aws-ses-v2-local", "dist", "cli.js"), "--host", "127.0.0.1", "--port", fmt.Sprint(port))
	emulator := fmt.Sprintf("http://127.0.0.1:%d", port)
	rec, proxy := record(t, emulator)
	s := sender(t, proxy, func(c *ses.Config) { c.ConfigurationSet = "events" })
	d := copyFor("b@example.net")
	d.Content = mail.Content{Header: []byte("From: Shop <a@example.com>\r\nTo: Kim <b@example.net>\r\nSubject: =?utf-8?B?7JWI64WV?=\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n"),
		Body: [][]byte{[]byte("7JWI64WV7ZWY\r\n"), []byte("7IS47JqU\r\n")}}
	r, err := s.Send(context.Background(), d)
	if err != nil {
		t.Fatal(err)
	}
	if r.ID == "" {
		t.Error("no MessageId")
	}
	requestOnTheWire(t, rec, d.Content.Bytes(), d.Tag)
	storedByEmulator(t, emulator, r.ID)
	q, err := s.Account(context.Background())
	if want := (relay.Account{Rate: 1, Max24: 200, Sent24: 2, Sandbox: true, Enforcement: "HEALTHY"}); err != nil || q != want {
		t.Errorf("Account is %+v, %v", q, err)
	}
}

func requestOnTheWire(t *testing.T, rec *recorder, raw []byte, tag string) {
	t.Helper()
	rec.mu.Lock()
	defer rec.mu.Unlock()
	if len(rec.requests) != 1 {
		t.Fatalf("%d requests for one Send", len(rec.requests))
	}
	q := rec.requests[0]
	if q.method != "POST" || q.path != "/v2/email/outbound-emails" || !strings.HasPrefix(q.header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential=emulator/") {
		t.Errorf("%s %s, Authorization %.40s", q.method, q.path, q.header.Get("Authorization"))
	}
	var got, want any
	if err := json.Unmarshal(q.body, &got); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(map[string]any{
		"ConfigurationSetName":   "events",
		"ConfigurationOverrides": map[string]any{"Tracking": map[string]string{"ClickTrackingEnabled": "DISABLED", "OpenTrackingEnabled": "DISABLED"}},
		"Content":                map[string]any{"Raw": map[string]any{"Data": raw}},
		"Destination":            map[string]any{"ToAddresses": []string{"b@example.net"}},
		"EmailTags":              []any{map[string]string{"Name": "postern", "Value": tag}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &want); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("on the wire %v\nwant %v", got, want)
	}
}

func storedByEmulator(t *testing.T, emulator, id string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(emulator + "/store")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var store struct {
		Emails []struct {
			MessageId, Subject string
			Destination        struct{ To []string }
			Body               struct{ Text string }
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&store); err != nil {
		t.Fatal(err)
	}
	if len(store.Emails) != 1 {
		t.Fatalf("the emulator has %d mails", len(store.Emails))
	}
	e := store.Emails[0]
	if e.MessageId != id || e.Subject != "안녕" || len(e.Destination.To) != 1 || !strings.Contains(e.Destination.To[0], "b@example.net") || strings.TrimSpace(e.Body.Text) != "안녕하세요" {
		t.Errorf("the emulator has %+v, the receipt says %s", e, id)
	}
}
