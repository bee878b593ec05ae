package admin_test

import (
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/bcrypt"

	"postern/admin"
	"postern/mail"
	"postern/relay"
	"postern/spool"
)

func hash(t testing.TB, password string) string {
	t.Helper()
	b, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// newPages has an admin (password "open sesame") and a viewer ("peep").
func newPages(g *gateway) *admin.Pages {
	return &admin.Pages{API: g.API, URL: func() string { return "http://127.0.0.1:8080/" }, Loopback: true, Users: []admin.User{
		{Name: "boss", PasswordHash: hash(g.t, "open sesame"), Admin: true},
		{Name: "eye", PasswordHash: hash(g.t, "peep")},
		{Name: "ghost", Admin: true}, // no password: never logs in
	}}
}

// browser keeps cookies and follows no redirect by itself.
type browser struct {
	t   testing.TB
	h   http.Handler
	jar http.CookieJar
}

func newBrowser(t testing.TB, h http.Handler) *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{t, h, jar}
}

var here = &url.URL{Scheme: "http", Host: "127.0.0.1:8080", Path: "/"}

func (b *browser) do(method, path string, form url.Values, header ...string) *httptest.ResponseRecorder {
	b.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(form.Encode()))
	r.Host = here.Host
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
		if header[i] == "Host" {
			r.Host = header[i+1]
		}
	}
	for _, c := range b.jar.Cookies(here) {
		r.AddCookie(c)
	}
	w := httptest.NewRecorder()
	b.h.ServeHTTP(w, r)
	b.jar.SetCookies(here, w.Result().Cookies())
	return w
}

func (b *browser) login(name, password string) *httptest.ResponseRecorder {
	b.t.Helper()
	return b.do("POST", "/login", url.Values{"username": {name}, "password": {password}})
}

var csrfField = regexp.MustCompile(`name="csrf" value="([^"]+)"`)

// csrf is the token in the forms of a page.
func (b *browser) csrf(path string) string {
	b.t.Helper()
	m := csrfField.FindStringSubmatch(b.do("GET", path, nil).Body.String())
	if m == nil {
		b.t.Fatalf("no form on %s", path)
	}
	return m[1]
}

func TestNothingIsShownWithoutALogin(t *testing.T) {
	g := newGateway(t)
	id := string(g.add("Secret plan", "a@example.com"))
	b := newBrowser(t, newPages(g).Handler())
	for _, path := range []string{"/", "/messages/" + id, "/messages/" + id + "/copies/1", "/messages/" + id + "/copies/1/html", "/messages/" + id + "/copies/1/eml", "/nothing"} {
		w := b.do("GET", path, nil)
		if w.Code != 303 || !strings.HasPrefix(w.Header().Get("Location"), "/login") || strings.Contains(w.Body.String(), "Secret") {
			t.Errorf("%s: %d %v", path, w.Code, w.Header())
		}
	}
	for _, request := range []string{"POST /messages/" + id + "/cancel", "POST /logout", "GET /api/queue", "GET /api/users", "POST /api/queue/" + id + "/cancel", "GET /api/spool/backup", "POST /api/login-link"} {
		method, path, _ := strings.Cut(request, " ")
		if w := b.do(method, path, nil); w.Code != 303 && w.Code != 401 {
			t.Errorf("%s: %d %s", request, w.Code, w.Body)
		}
	}
	if sum, _ := g.Spool.Message(mail.ID(id)); sum.State != mail.Sending {
		t.Errorf("state %s", sum.State)
	}
	if w := b.do("GET", "/healthz", nil); w.Code != 200 || w.Body.String() != "ok\n" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestLoginAndLogout(t *testing.T) {
	g := newGateway(t)
	p := newPages(g)
	b := newBrowser(t, p.Handler())
	for _, c := range [][2]string{{"boss", "wrong"}, {"nobody", "open sesame"}, {"ghost", ""}} {
		if w := b.login(c[0], c[1]); w.Code != 401 || len(w.Result().Cookies()) != 0 {
			t.Errorf("%q: %d %v", c, w.Code, w.Header())
		}
	}
	w := b.login("boss", "open sesame")
	cookies := w.Result().Cookies()
	if w.Code != 303 || w.Header().Get("Location") != "/" || len(cookies) != 1 {
		t.Fatalf("%d %v", w.Code, w.Header())
	}
	if c := cookies[0]; !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || len(c.Value) < 40 || c.Secure {
		t.Errorf("%+v", c)
	}
	if w := b.do("GET", "/", nil); w.Code != 200 || !strings.Contains(w.Body.String(), "boss") {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if w := b.do("POST", "/logout", url.Values{"csrf": {b.csrf("/")}}); w.Code != 303 {
		t.Errorf("%d", w.Code)
	}
	b.jar.SetCookies(here, cookies) // a kept cookie is worth nothing
	if w := b.do("GET", "/", nil); w.Code != 303 {
		t.Errorf("after logging out: %d", w.Code)
	}
	if log := g.log.String(); strings.Contains(log, "sesame") || strings.Contains(log, cookies[0].Value) {
		t.Error(log)
	}
}

func TestCookieBehindTLSIsSecureAndTiedToItsHost(t *testing.T) {
	p := newPages(newGateway(t))
	p.Secure, p.Loopback = true, false
	w := newBrowser(t, p.Handler()).do("POST", "/login", url.Values{"username": {"boss"}, "password": {"open sesame"}}, "Host", "postern.example.com")
	if c := w.Result().Cookies(); len(c) != 1 || !c[0].Secure || c[0].Name != "__Host-postern" || w.Header().Get("Strict-Transport-Security") == "" {
		t.Errorf("%v", w.Header())
	}
}

func TestLoginLeadsBackToWhereItWasAskedForAndNowhereElse(t *testing.T) {
	p := newPages(newGateway(t))
	for next, want := range map[string]string{
		"/messages/x?state=failed": "/messages/x?state=failed", "": "/", "https://evil.example": "/", "//evil.example": "/",
		"/\\evil.example": "/", "javascript:alert(1)": "/", "/a\r\nSet-Cookie: x": "/", "http:/x": "/", "evil": "/",
	} {
		b := newBrowser(t, p.Handler())
		w := b.do("POST", "/login", url.Values{"username": {"boss"}, "password": {"open sesame"}, "next": {next}})
		if got := w.Header().Get("Location"); w.Code != 303 || got != want {
			t.Errorf("%q: %d %q, want %q", next, w.Code, got, want)
		}
	}
}

func TestGuessingIsSlowedDownByClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gateway{t: t}
		g.API = &admin.API{Log: newLog(g)}
		p := newPages(g)
		p.BehindProxy, p.Loopback = true, false
		b := newBrowser(t, p.Handler())
		try := func(password, from string) *httptest.ResponseRecorder {
			return b.do("POST", "/login", url.Values{"username": {"boss"}, "password": {password}}, "X-Forwarded-For", "198.51.100.9, "+from)
		}
		for range 5 {
			if w := try("wrong", "2001:db8::1"); w.Code != 401 {
				t.Fatalf("%d", w.Code)
			}
		}
		for range 3 { // neither the right password nor a neighbouring address helps, nor does waiting grow by asking
			if w := try("open sesame", "2001:db8::2"); w.Code != 429 || w.Header().Get("Retry-After") != "1" {
				t.Fatalf("%d %v", w.Code, w.Header())
			}
		}
		if w := try("wrong", "203.0.113.4"); w.Code != 401 {
			t.Errorf("somebody else is slowed down: %d", w.Code)
		}
		<-time.After(2 * time.Second) // of the bubble's clock
		if w := try("wrong", "2001:db8::1"); w.Code != 401 {
			t.Errorf("%d", w.Code)
		}
		if w := try("wrong", "2001:db8::1"); w.Code != 429 || w.Header().Get("Retry-After") != "2" {
			t.Errorf("%d %v", w.Code, w.Header())
		}
		<-time.After(3 * time.Second)
		if w := try("open sesame", "2001:db8::1"); w.Code != 303 {
			t.Errorf("%d", w.Code)
		}
	})
}

func TestSessionEndsWhenItIsNotUsedAndAfterADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gateway{t: t}
		g.API = &admin.API{Log: newLog(g)}
		b := newBrowser(t, newPages(g).Handler())
		inside := func() bool { return b.do("GET", "/nothing", nil).Code == 404 }
		b.login("boss", "open sesame")
		for range 13 {
			if !inside() {
				t.Fatal("logged out while at work")
			}
			<-time.After(55 * time.Minute)
		}
		<-time.After(10 * time.Minute)
		if inside() {
			t.Error("still logged in after twelve hours")
		}
		b.login("boss", "open sesame")
		<-time.After(61 * time.Minute)
		if inside() {
			t.Error("still logged in after an idle hour")
		}
	})
}

func TestLoginLinkWorksOnceByItsButtonWithinTenMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gateway{t: t}
		g.API = &admin.API{Log: newLog(g)}
		p := newPages(g)
		if _, err := p.LoginLink(); err == nil {
			t.Fatal("there is a link although there are passwords")
		}
		p.Users = []admin.User{{Name: "eye"}, {Name: "boss", Admin: true}}
		h := p.Handler()
		link := func() string {
			s, err := p.LoginLink()
			path, ok := strings.CutPrefix(s, "http://127.0.0.1:8080/login/")
			if err != nil || !ok || len(path) < 43 {
				t.Fatalf("%q %v", s, err)
			}
			return "/login/" + path
		}
		path, late := link(), link()
		b := newBrowser(t, h)
		for range 3 {
			if w := b.do("GET", path, nil); w.Code != 200 || len(w.Result().Cookies()) != 0 || !strings.Contains(w.Body.String(), "<form") {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
		}
		if w := b.do("POST", path, nil); w.Code != 303 || w.Header().Get("Location") != "/" {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		if w := b.do("GET", "/nothing", nil); w.Code != 404 || !strings.Contains(w.Body.String(), "boss") {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		again := newBrowser(t, h)
		for _, w := range []*httptest.ResponseRecorder{again.do("GET", path, nil), again.do("POST", path, nil), again.do("POST", path[:len(path)-1], nil), again.do("POST", "/login/x", nil)} {
			if w.Code != 403 || len(w.Result().Cookies()) != 0 {
				t.Errorf("%d", w.Code)
			}
		}
		<-time.After(11 * time.Minute)
		if w := again.do("POST", late, nil); w.Code != 403 {
			t.Errorf("an old link: %d", w.Code)
		}
	})
}

func TestFormsNeedTheirTokenAndTheirOrigin(t *testing.T) {
	g := newGateway(t)
	id := string(g.add("Hello", "a@example.com"))
	p := newPages(g)
	b, other := newBrowser(t, p.Handler()), newBrowser(t, p.Handler())
	b.login("boss", "open sesame")
	other.login("boss", "open sesame")
	foreign := other.csrf("/messages/" + id)
	path := "/messages/" + id + "/pause"
	for name, form := range map[string]url.Values{"none": {}, "empty": {"csrf": {""}}, "another session's": {"csrf": {foreign}}} {
		if w := b.do("POST", path, form); w.Code != 403 {
			t.Errorf("%s: %d", name, w.Code)
		}
	}
	good := url.Values{"csrf": {b.csrf("/messages/" + id)}}
	if w := b.do("POST", path+"?csrf="+good.Get("csrf"), url.Values{}); w.Code != 403 {
		t.Errorf("a token in the URL: %d", w.Code)
	}
	for _, h := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Origin", "https://evil.example"}, {"Sec-Fetch-Site", "same-site"}} {
		if w := b.do("POST", path, good, h...); w.Code != 403 {
			t.Errorf("%v: %d", h, w.Code)
		}
		if w := b.do("POST", "/api/queue/"+id+"/pause", nil, h...); w.Code != 403 {
			t.Errorf("API %v: %d", h, w.Code)
		}
	}
	if sum, _ := g.Spool.Message(mail.ID(id)); sum.State != mail.Sending {
		t.Fatalf("state %s", sum.State)
	}
	if w := b.do("POST", path, good, "Sec-Fetch-Site", "same-origin"); w.Code != 303 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if sum, _ := g.Spool.Message(mail.ID(id)); sum.State != mail.Paused || sum.Reason != "paused by boss" {
		t.Errorf("state %s, %s", sum.State, sum.Reason)
	}
}

func TestButtonsPauseResumeRetryAndCancel(t *testing.T) {
	g := newGateway(t)
	id := string(g.add("Hello", "a@example.com", "b@example.com"))
	g.settle(1, spool.Result{State: mail.CopyFailed, Spent: true, Error: "550 5.1.1 no such user"})
	b := newBrowser(t, newPages(g).Handler())
	b.login("boss", "open sesame")
	path := "/messages/" + id
	act := func(action string, more ...string) string {
		t.Helper()
		form := url.Values{"csrf": {b.csrf(path)}}
		for i := 0; i+1 < len(more); i += 2 {
			form.Set(more[i], more[i+1])
		}
		w := b.do("POST", path+"/"+action, form)
		if w.Code != 303 {
			t.Fatalf("%s: %d %s", action, w.Code, w.Body)
		}
		return b.do("GET", w.Header().Get("Location"), nil).Body.String()
	}
	for _, c := range []struct{ action, says string }{
		{"pause", "Paused. Not sent yet: 1 copy."}, {"resume", "Going on with 1 copy."}, {"retry", "Queued 1 copy again."}, {"cancel", "Cancelled 2 copies."},
	} {
		if page := act(c.action); !strings.Contains(page, c.says) {
			t.Errorf("%s: %s", c.action, page)
		}
	}
	if page := act("retry", "copy", "a@example.com"); !strings.Contains(page, "Queued 1 copy again.") {
		t.Error(page)
	}
	token := url.Values{"csrf": {b.csrf(path)}}
	if w := b.do("POST", path+"/resume", token); w.Code != 409 || !strings.Contains(w.Body.String(), "only a held or paused message") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := b.do("POST", path+"/explode", token); w.Code != 400 {
		t.Errorf("%d", w.Code)
	}
	if w := b.do("GET", path+"/pause", nil); w.Code != 405 && w.Code != 404 {
		t.Errorf("GET: %d", w.Code)
	}
}

func TestViewerSeesAndChangesNothing(t *testing.T) {
	g := newGateway(t)
	id := string(g.add("Hello", "a@example.com"))
	g.settle(1, spool.Result{State: mail.CopyFailed, Spent: true, Error: "550 no"})
	b := newBrowser(t, newPages(g).Handler())
	b.login("eye", "peep")
	for _, path := range []string{"/", "/messages/" + id, "/messages/" + id + "/copies/1"} {
		w := b.do("GET", path, nil)
		if forms := strings.Count(w.Body.String(), "<form"); w.Code != 200 || forms != 1 { // to log out
			t.Errorf("%s: %d, %d forms", path, w.Code, forms)
		}
	}
	token := url.Values{"csrf": {b.csrf("/")}}
	for request, code := range map[string]int{
		"POST /messages/" + id + "/retry": 403, "POST /api/queue/" + id + "/retry": 403, "GET /api/users": 403, "GET /api/users/export": 403,
		"GET /api/spool/backup": 403, "POST /api/spool/check": 403, "POST /api/login-link": 403, "GET /api/queue": 200, "GET /api/queue/" + id: 200,
		"GET /api/lanes": 409, "POST /logout": 303,
	} {
		method, path, _ := strings.Cut(request, " ")
		if path == "/logout" {
			continue
		}
		form := token
		if method == "GET" {
			form = nil
		}
		if w := b.do(method, path, form); w.Code != code {
			t.Errorf("%s: %d, want %d", request, w.Code, code)
		}
	}
	if w := b.do("POST", "/logout", token); w.Code != 303 {
		t.Errorf("%d", w.Code)
	}
	if sum, _ := g.Spool.Message(mail.ID(id)); sum.Counts[mail.CopyFailed] != 1 {
		t.Errorf("%v", sum.Counts)
	}
}

func TestOnLoopbackOnlyLoopbackNamesAreAnswered(t *testing.T) {
	p := newPages(newGateway(t))
	b := newBrowser(t, p.Handler())
	for host, want := range map[string]int{
		"127.0.0.1:8080": 200, "localhost": 200, "LOCALHOST:1": 200, "[::1]:8080": 200, "127.9.9.9": 200,
		"evil.example": 421, "evil.example:8080": 421, "localhost.evil.example": 421, "10.0.0.1": 421, "": 421, "127.0.0.1.evil.example": 421,
	} {
		if w := b.do("GET", "/login", nil, "Host", host); w.Code != want {
			t.Errorf("%q: %d, want %d", host, w.Code, want)
		}
	}
}

func TestEveryPageIsLockedDown(t *testing.T) {
	g := newGateway(t)
	id := string(g.add("Hello", "a@example.com"))
	b := newBrowser(t, newPages(g).Handler())
	check := func(path string) {
		t.Helper()
		w := b.do("GET", path, nil)
		for k, v := range map[string]string{"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store", "Cross-Origin-Opener-Policy": "same-origin"} {
			if w.Header().Get(k) != v {
				t.Errorf("%s: %s is %q", path, k, w.Header().Get(k))
			}
		}
		if p := w.Header().Get("Content-Security-Policy"); !strings.Contains(p, "default-src 'none'") || !strings.Contains(p, "frame-ancestors") || strings.Contains(p, "script-src") {
			t.Errorf("%s: policy %q", path, p)
		}
		if strings.Contains(w.Body.String(), "<script") || strings.Contains(w.Body.String(), " style=") {
			t.Errorf("%s: script or style in the page", path)
		}
	}
	check("/login")
	check("/healthz")
	b.login("boss", "open sesame")
	for _, path := range []string{"/", "/messages/" + id, "/messages/" + id + "/copies/1", "/nothing"} {
		check(path)
	}
}

func TestHostileTextsStayTexts(t *testing.T) {
	g := newGateway(t)
	evil := `"><script>alert(1)</script><img src=x onerror=alert(2)>` + "\u202egnp.exe"
	id := string(g.add(evil, `"<b>x"@example.com`))
	g.Lanes = func() []relay.LaneStatus {
		return []relay.LaneStatus{{Name: evil, Driver: "ses", State: "paused", Reason: evil}}
	}
	g.settle(1, spool.Result{State: mail.CopyFailed, Spent: true, Error: "550 " + evil})
	g.Render = func(*mail.Message, *mail.Copy) (mail.Content, error) {
		return mail.Content{
			Header: []byte("Subject: " + evil + "\r\nX-Evil: </pre>" + evil + "\r\nContent-Type: multipart/alternative; boundary=x\r\n"),
			Body:   [][]byte{[]byte("--x\r\nContent-Type: text/plain\r\n\r\n</pre>" + evil + "\r\n--x\r\nContent-Type: text/html\r\n\r\n<p onclick='x'>" + evil + "<meta http-equiv=refresh content='0;url=//evil.example'>\r\n--x--\r\n")},
		}, nil
	}
	b := newBrowser(t, newPages(g).Handler())
	b.login("boss", "open sesame")
	for _, path := range []string{"/", "/messages/" + id, "/messages/" + id + "?state=failed", "/messages/" + id + "/copies/1", "/?before=" + url.QueryEscape(evil), "/messages/" + url.PathEscape(evil), "/messages/" + id + "?state=" + url.QueryEscape(evil)} {
		body := b.do("GET", path, nil).Body.String()
		if strings.Contains(body, "<script") || strings.Contains(body, "<img") || strings.Contains(body, "<b>x") {
			t.Errorf("%s: %s", path, body)
		}
	}
	w := b.do("GET", "/messages/"+id+"/copies/1/html", nil)
	if p := w.Header().Get("Content-Security-Policy"); !strings.HasPrefix(p, "sandbox; default-src 'none'") || strings.Contains(p, "allow-") {
		t.Errorf("policy %q", p)
	}
}

func TestCopiesAreShownPageByPage(t *testing.T) {
	g := newGateway(t)
	to := make([]mail.Address, 250)
	for i := range to {
		to[i] = mail.Address(fmt.Sprintf("user%03d@example.com", i))
	}
	path := "/messages/" + string(g.add("Hello", to...))
	b := newBrowser(t, newPages(g).Handler())
	b.login("boss", "open sesame")
	next, seen := regexp.MustCompile(`href="([^"]+)">Next<`), map[string]bool{}
	pages := 0
	for at := path + "?state=queued"; at != ""; pages++ {
		body := b.do("GET", strings.TrimSuffix(strings.ReplaceAll(at, "&amp;", "&"), "#copies"), nil).Body.String()
		for _, m := range regexp.MustCompile(`user\d+@example.com`).FindAllString(body, -1) {
			seen[m] = true
		}
		at = ""
		if m := next.FindStringSubmatch(body); m != nil {
			at = m[1]
		}
	}
	if pages != 3 || len(seen) != 250 {
		t.Errorf("%d pages, %d copies", pages, len(seen))
	}
}

func TestSessionOpensTheAPI(t *testing.T) {
	g := newGateway(t)
	id := string(g.add("Hello", "a@example.com"))
	b := newBrowser(t, newPages(g).Handler())
	b.login("boss", "open sesame")
	if w := b.do("GET", "/api/queue", nil); w.Code != 200 || !strings.Contains(w.Body.String(), id) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := b.do("POST", "/api/queue/"+id+"/pause", nil); w.Code != 200 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if sum, _ := g.Spool.Message(mail.ID(id)); sum.Reason != "paused by boss" {
		t.Errorf("%q", sum.Reason)
	}
}

func TestRetryButtonShowsOnlyWhereRetryFindsCopies(t *testing.T) {
	g := newGateway(t)
	b := newBrowser(t, newPages(g).Handler())
	b.login("boss", "open sesame")
	for _, c := range []struct {
		name   string
		result spool.Result
		shown  bool
	}{
		{"sent", spool.Result{State: mail.Sent}, false},
		{"failed", spool.Result{State: mail.CopyFailed, Spent: true}, true},
		{"uncertain, tried again by itself", spool.Result{State: mail.Unknown, Spent: true, Due: time.Now().Add(time.Hour)}, false},
		{"uncertain, left to an operator", spool.Result{State: mail.Unknown, Spent: true}, true},
	} {
		id := g.add(c.name, "a@example.com")
		g.settle(1, c.result)
		if shown := strings.Contains(b.do("GET", "/messages/"+string(id), nil).Body.String(), "Retry those who missed it"); shown != c.shown {
			t.Errorf("%s: the button shows: %t", c.name, shown)
		}
		n, err := g.Spool.Retry(t.Context(), id, "")
		if err != nil || (n > 0) != c.shown {
			t.Errorf("%s: Retry queued %d again: %v", c.name, n, err)
		}
		if n > 0 {
			g.settle(1, spool.Result{State: mail.Sent})
		}
	}
}
