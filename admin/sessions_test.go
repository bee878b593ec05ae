package admin_test

import (
	"encoding/json"
	"fmt"
	"iter"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/internal/peer"
	"postern/smtpd/dialogue"
)

// someSessions are of a scanner that cannot log in, a stranger with a hostile name
// and a program for which all is well.
func someSessions() []dialogue.Session {
	at := time.Date(2026, 11, 24, 9, 31, 44, 0, time.UTC)
	return []dialogue.Session{
		{ID: "aaaa000001", Remote: "10.0.0.17:51000", Listener: "0.0.0.0:587", Began: at, Ended: at.Add(3 * time.Second), Times: 1, Helo: "scanner1",
			TLS: dialogue.TLS{Version: "TLS 1.2", Cipher: "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", ServerName: "mail.example.com"}, Auth: dialogue.Auth{Mechanism: "LOGIN", User: "scanner@example.com"},
			Octets: 160, Outcome: dialogue.Failed, Reason: "wrong-password",
			Cause: "The password of scanner@example.com is wrong. Enter it again in the device, without spaces around it; or make a new one with `postern passwd` and put its hash into the account's password_hash.",
			Lines: []dialogue.Line{{At: 0, Who: "server", Text: "220 gw.example.com ESMTP Service Ready"}, {At: 4, Who: "client", Text: "EHLO scanner1"}, {At: 4, Who: "server", Text: "250-Hello scanner1"}, {At: 5, Who: "server", Text: "250 AUTH PLAIN LOGIN"},
				{At: 9, Who: "client", Text: "AUTH LOGIN"}, {At: 9, Who: "server", Text: "334 VXNlcm5hbWU6"}, {At: 12, Who: "client", Text: "(response not shown)"}, {At: 12, Who: "server", Text: "334 UGFzc3dvcmQ6"}, {At: 15, Who: "client", Text: "(response not shown)"},
				{At: 2900, Who: "server", Text: "535 5.7.8 user name or password is wrong"}, {At: 2910, Who: "client", Text: "QUIT"}, {At: 2910, Who: "server", Text: "221 2.0.0 Bye"}}},
		{ID: "aaaa000002", Remote: "[2001:db8::7]:4000", Began: at.Add(-time.Minute), Ended: at, Times: 412, Helo: `<script>document.title='ran'</script>`,
			Outcome: dialogue.Failed, Reason: "content", Cause: "본문에 \"<b>{{이름}}</b>\" 자리표시자가 있지만 받는 사람의 이름이 없습니다. " + strings.Repeat("매우-긴-문장", 40) + ".",
			Lines: []dialogue.Line{{At: 0, Who: "client", Text: `EHLO <script>document.title='ran'</script>`}, {At: 1, Who: "", Text: "(34 lines are not shown)"}, {At: 2, Who: "server", Text: "554 5.6.0 " + strings.Repeat("a-line-without-a-space-", 12)}}},
		{ID: "aaaa000003", Remote: "10.0.0.99:52000", Listener: "0.0.0.0:25", Began: at.Add(-time.Hour), Ended: at, Times: 1, Helo: "erp", Accepted: 1, Mails: []string{"01JD3QX7M0V8T4B1W8Y9ZK2N5R"},
			Outcome: dialogue.Sent, Reason: "ok", Cause: "Everything went well: one mail was taken."},
	}
}

func withSessions(g *gateway) *gateway {
	g.Sessions = func() iter.Seq[dialogue.Session] { return slices.Values(someSessions()) }
	return g
}

func TestSessionsOfTheAPI(t *testing.T) {
	g := withSessions(newGateway(t))
	ask := func(query string) (ids []string) {
		t.Helper()
		var all []dialogue.Session
		w := httptest.NewRecorder()
		g.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/api/sessions"+query, nil))
		if err := json.Unmarshal(w.Body.Bytes(), &all); w.Code != 200 || err != nil {
			t.Fatalf("%s: %d %s", query, w.Code, w.Body)
		}
		for _, s := range all {
			ids = append(ids, s.ID[9:])
		}
		return ids
	}
	for query, want := range map[string]string{
		"": "123", "?failed=true": "12", "?address=10.0.0.17": "1", "?address=10.0.0.0/24": "13", "?address=10.0.0.0/24&failed=1": "1",
		"?address=2001:db8::7": "2", "?address=%5B2001:db8::7%5D": "2", "?address=::ffff:10.0.0.99": "3", "?address=192.0.2.1": "",
	} {
		if got := strings.Join(ask(query), ""); got != want {
			t.Errorf("%s gives %s, want %s", query, got, want)
		}
	}
	for query, want := range map[string]string{"?address=scanner": `{"error":"\"scanner\" is no IP address`, "?failed=maybe": `{"error":"failed=\"maybe\"`} {
		w := httptest.NewRecorder()
		g.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/api/sessions"+query, nil))
		if w.Code != 400 || !strings.HasPrefix(w.Body.String(), want) {
			t.Errorf("%s: %d %s", query, w.Code, w.Body)
		}
	}
	g.Sessions = nil
	w := httptest.NewRecorder()
	g.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/api/sessions", nil))
	if w.Code != 409 || !strings.Contains(w.Body.String(), "no gateway is running here") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestSessionsAreForAdministrators(t *testing.T) {
	g := withSessions(newGateway(t))
	h := newPages(g).Handler()
	out, viewer, boss := newBrowser(t, h), newBrowser(t, h), newBrowser(t, h)
	viewer.login("eye", "peep")
	boss.login("boss", "open sesame")
	for _, path := range []string{"/sessions", "/sessions/aaaa000001", "/api/sessions"} {
		if w := out.do("GET", path, nil); w.Code != 303 && w.Code != 401 || strings.Contains(w.Body.String(), "scanner") {
			t.Errorf("without a login %s: %d %s", path, w.Code, w.Body)
		}
		if w := viewer.do("GET", path, nil); w.Code != 403 || strings.Contains(w.Body.String(), "scanner") {
			t.Errorf("to a viewer %s: %d %s", path, w.Code, w.Body)
		}
		if w := boss.do("GET", path, nil); w.Code != 200 || !strings.Contains(w.Body.String(), "scanner@example.com is wrong") {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	if strings.Contains(viewer.do("GET", "/", nil).Body.String(), `href="/sessions"`) || !strings.Contains(boss.do("GET", "/", nil).Body.String(), `href="/sessions"`) {
		t.Error("the link is for administrators")
	}
	if w := boss.do("GET", "/sessions/gone", nil); w.Code != 404 || !strings.Contains(w.Body.String(), "not remembered any more") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := boss.do("GET", "/sessions?address=<script>", nil); w.Code != 400 || strings.Contains(w.Body.String(), "<script>") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	body := boss.do("GET", "/sessions?address=10.0.0.0/24&failed=true", nil).Body.String()
	if !strings.Contains(body, "aaaa000001") || strings.Contains(body, "aaaa000002") || strings.Contains(body, "aaaa000003") || !strings.Contains(body, `value="10.0.0.0/24"`) || !strings.Contains(body, " checked>") {
		t.Error(body)
	}
}

func TestManySessionsAreOnePage(t *testing.T) {
	g := newGateway(t)
	asked := 0
	g.Sessions = func() iter.Seq[dialogue.Session] {
		return func(yield func(dialogue.Session) bool) {
			for asked = range 2000 {
				if !yield(dialogue.Session{ID: fmt.Sprint("s", asked), Remote: "10.0.0.1:1", Times: 1}) {
					return
				}
			}
		}
	}
	b := newBrowser(t, newPages(g).Handler())
	b.login("boss", "open sesame")
	body := b.do("GET", "/sessions", nil).Body.String()
	if n := strings.Count(body, `href="/sessions/s`); n != 200 || asked != 200 || !strings.Contains(body, "There are more") {
		t.Errorf("%d rows of %d", n, asked)
	}
}

func TestBrowserShowsSessions(t *testing.T) {
	g := withSessions(newGateway(t))
	p := newPages(g)
	p.Location = time.FixedZone("KST", 9*3600)
	b := newBrowser(t, p.Handler())
	b.login("boss", "open sesame")
	server := httptest.NewServer(signedIn(b))
	defer server.Close()
	for _, c := range []struct {
		name, path, want string
		screen           peer.Screen
	}{
		{"sessions", "/sessions", "412 times", peer.Laptop},
		{"sessions-phone", "/sessions", "412 times", peer.Phone},
		{"session", "/sessions/aaaa000001", "535 5.7.8", peer.Laptop},
		{"session-hostile", "/sessions/aaaa000002", "자리표시자", peer.Laptop},
		{"session-phone", "/sessions/aaaa000001", "(response not shown)", peer.Phone},
	} {
		dom, log := peer.Browse(t, c.name, c.screen, server.URL+c.path)
		if !strings.Contains(dom, c.want) || strings.Contains(dom, "<title>ran") || strings.Contains(dom, "<script>document") {
			t.Errorf("%s: %s", c.name, dom)
		}
		if strings.Contains(log, "Content Security Policy") {
			t.Errorf("%s: %s", c.name, log)
		}
	}
}
