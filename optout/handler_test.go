package optout_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"postern/directory"
	"postern/optout"
)

const form = "application/x-www-form-urlencoded"

func multipartBody(t *testing.T) (kind, body string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	if err := errors.Join(w.WriteField("List-Unsubscribe", "One-Click"), w.Close()); err != nil {
		t.Fatal(err)
	}
	return w.FormDataContentType(), b.String()
}

func TestRule3PostUnsubscribesInOneClick(t *testing.T) {
	multi, multiText := multipartBody(t)
	for name, c := range map[string]struct{ kind, body, how string }{
		"urlencoded":        {form, "List-Unsubscribe=One-Click", optout.HowOneClick},
		"multipart":         {multi, multiText, optout.HowOneClick},
		"charset":           {form + "; charset=utf-8", "List-Unsubscribe=One-Click", optout.HowOneClick},
		"empty":             {"", "", optout.HowOneClick},
		"empty form":        {form, "", optout.HowOneClick},
		"odd type":          {"text/plain", "List-Unsubscribe=One-Click", optout.HowOneClick},
		"unreadable type":   {"multipart/form-data", "x", optout.HowOneClick},
		"unreadable form":   {form, "%zz=&from=page;", optout.HowOneClick},
		"the page's button": {form, "from=page", optout.HowPage},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPage(t)
			path := "/u/" + p.Keyring.Seal(0, claim)
			for range 2 { // repeated, it succeeds again
				w := p.do("POST", path, c.kind, c.body)
				if w.Code != 200 || len(w.Header().Values("Location")) != 0 || len(w.Header().Values("Set-Cookie")) != 0 {
					t.Fatalf("%d %v", w.Code, w.Header())
				}
				if !strings.Contains(w.Body.String(), "You are unsubscribed") {
					t.Error(w.Body)
				}
			}
			if want := string(claim.User) + " promo"; len(p.all) != 2 || p.all[0] != want || p.all[1] != want {
				t.Errorf("left: %q", p.all)
			}
			if p.last.How != c.how || p.last.Message != claim.Message || p.last.Remote != "192.0.2.1" || p.last.At.IsZero() {
				t.Errorf("evidence %+v", p.last)
			}
		})
	}
}

func TestRule3ListThatIsNoLongerConfiguredCanBeLeft(t *testing.T) {
	p := newPage(t)
	path := "/u/" + p.Keyring.Seal(0, optout.Claim{List: "old", User: "a@example.com", Message: claim.Message})
	if w := p.do("GET", path, "", ""); w.Code != 200 || !strings.Contains(w.Body.String(), "this mailing list") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	// There is nothing to come back to: no button, and no word of one.
	w := p.do("POST", path, form, "List-Unsubscribe=One-Click")
	if w.Code != 200 || strings.Contains(w.Body.String(), "<button") || strings.Contains(w.Body.String(), "The button") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if len(p.all) != 1 || p.all[0] != "a@example.com old" {
		t.Errorf("left: %q", p.all)
	}
}

func TestRule4GetAndHeadChangeNothing(t *testing.T) {
	p := newPage(t)
	path := "/u/" + p.Keyring.Seal(0, claim)
	for range 3 {
		get, head := p.do("GET", path, "", ""), p.do("HEAD", path, "", "")
		if get.Code != 200 || head.Code != 200 || head.Body.Len() != 0 {
			t.Fatalf("%d, %d with %d octets", get.Code, head.Code, head.Body.Len())
		}
	}
	for _, method := range []string{"PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"} {
		if w := p.do(method, path, "", ""); w.Code != 405 || w.Header().Get("Allow") != "GET, HEAD, POST" {
			t.Errorf("%s: %d %v", method, w.Code, w.Header())
		}
	}
	// A GET that bears the one-click body, or an override, is still a GET.
	p.do("GET", path+"?List-Unsubscribe=One-Click&_method=POST", form, "List-Unsubscribe=One-Click", "X-HTTP-Method-Override", "POST")
	if len(p.all) != 0 {
		t.Fatalf("left: %q", p.all)
	}
}

func TestRule4PageHasAButtonAndNothingThatActsByItself(t *testing.T) {
	p := newPage(t)
	for _, lang := range []string{"ko", "en"} {
		w := p.do("GET", "/u/"+p.Keyring.Seal(0, claim)+"?lang="+lang, "", "")
		doc, err := html.Parse(w.Body)
		if err != nil {
			t.Fatal(err)
		}
		tags := map[string]int{}
		for n := range doc.Descendants() {
			if n.Type != html.ElementNode {
				continue
			}
			tags[n.Data]++
			for _, a := range n.Attr {
				switch {
				case strings.HasPrefix(a.Key, "on"), a.Key == "http-equiv", a.Key == "src", a.Key == "style",
					n.Data == "form" && a.Key != "method" && a.Key != "autocomplete", n.Data == "html" && a.Val != lang:
					t.Errorf("<%s %s=%q>", n.Data, a.Key, a.Val)
				}
			}
		}
		for tag, want := range map[string]int{"script": 0, "img": 0, "iframe": 0, "link": 0, "form": 1, "button": 1, "h1": 1, "main": 1, "title": 1} {
			if tags[tag] != want {
				t.Errorf("%s: %d <%s>, want %d", lang, tags[tag], tag, want)
			}
		}
	}
}

func TestRule5TokensOfEveryKeyWorkAndChangedOnesChangeNobody(t *testing.T) {
	p := newPage(t)
	old := p.Keyring.Seal(0, claim)
	if err := p.Keyring.Rotate(); err != nil {
		t.Fatal(err)
	}
	for _, token := range []string{old, p.Keyring.Seal(0, claim)} {
		if w := p.do("POST", "/u/"+token, form, "List-Unsubscribe=One-Click"); w.Code != 200 {
			t.Errorf("%d", w.Code)
		}
	}
	other, _ := openKeyring(t)
	for _, token := range []string{"", "x", old[1:], old[:len(old)-1], old + "/", old + "/x", "/" + old, other.Seal(0, claim), "%00", "..%2f" + old, "<script>alert(1)</script>"} {
		for _, method := range []string{"GET", "POST"} {
			r := httptest.NewRequest(method, "https://u.example.com/u/", strings.NewReader("List-Unsubscribe=One-Click"))
			r.URL.Path = "/u/" + token
			w := httptest.NewRecorder()
			p.ServeHTTP(w, r)
			if w.Code != 400 || !strings.Contains(w.Body.String(), "reply to the mail") || strings.Contains(w.Body.String(), "alert") {
				t.Errorf("%s %q: %d %s", method, token, w.Code, w.Body)
			}
		}
	}
	if len(p.all) != 2 {
		t.Errorf("left: %q", p.all)
	}
}

func TestNoPathIsRedirected(t *testing.T) {
	p := newPage(t)
	for path, want := range map[string]int{"/": 404, "/u": 404, "//u//": 404, "/u/": 400, "/u/../x": 400, "/favicon.ico": 404} {
		r := httptest.NewRequest("POST", "https://u.example.com/", nil)
		r.URL.Path = path
		w := httptest.NewRecorder()
		p.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("%s: %d, want %d", path, w.Code, want)
		}
	}
}

func TestWhatCannotBeStoredIsAskedForAgain(t *testing.T) {
	p := newPage(t)
	p.fail = errors.New("no space left on device")
	path := "/u/" + p.Keyring.Seal(0, claim)
	w := p.do("POST", path, form, "List-Unsubscribe=One-Click")
	if w.Code != 503 || w.Header().Get("Retry-After") != "120" || !strings.Contains(w.Body.String(), "nothing has changed") || strings.Contains(w.Body.String(), "space") {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	p.fail = nil
	if w := p.do("POST", path, form, ""); w.Code != 200 || len(p.all) != 1 {
		t.Errorf("%d, left %q", w.Code, p.all)
	}
}

func TestWhoHangsUpIsUnsubscribedAllTheSame(t *testing.T) {
	p := newPage(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := httptest.NewRequestWithContext(ctx, "POST", "/u/"+p.Keyring.Seal(0, claim), nil)
	p.ServeHTTP(httptest.NewRecorder(), r)
	if len(p.all) != 1 {
		t.Errorf("left: %q", p.all)
	}
}

func TestBodyThatIsTooLargeOrBrokenIsRefused(t *testing.T) {
	p := newPage(t)
	path := "/u/" + p.Keyring.Seal(0, claim)
	if w := p.do("POST", path, form, strings.Repeat("a", 1<<20)); w.Code != 413 {
		t.Errorf("too large: %d", w.Code)
	}
	r := httptest.NewRequest("POST", path, io.MultiReader(strings.NewReader("List-"), brokenReader{}))
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	if w.Code != 400 || len(p.all) != 0 {
		t.Errorf("broken: %d, left %q", w.Code, p.all)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestEveryAnswerIsLockedDown(t *testing.T) {
	p := newPage(t)
	token := p.Keyring.Seal(0, claim)
	for _, c := range []struct{ method, path string }{{"GET", "/u/" + token}, {"POST", "/u/" + token}, {"GET", "/u/x"}, {"GET", "/"}, {"PUT", "/u/" + token}} {
		w := p.do(c.method, c.path, "", "")
		for k, v := range map[string]string{"Referrer-Policy": "no-referrer", "Cache-Control": "no-store", "X-Robots-Tag": "noindex, nofollow", "X-Content-Type-Options": "nosniff", "Content-Type": "text/html; charset=utf-8"} {
			if w.Header().Get(k) != v {
				t.Errorf("%s %s: %s is %q", c.method, c.path, k, w.Header().Get(k))
			}
		}
		sheet := regexp.MustCompile(`(?s)<style>(.*)</style>`).FindStringSubmatch(w.Body.String())
		sum := sha256.Sum256([]byte(sheet[1]))
		want := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
		if got := w.Header().Get("Content-Security-Policy"); got != want {
			t.Errorf("policy %q, want %q", got, want)
		}
	}
}

func TestPageSpeaksTheReadersLanguage(t *testing.T) {
	p := newPage(t)
	for name, c := range map[string]struct{ list, accept, query, want string }{
		"the list's, Korean":       {"sale", "", "", "ko"},
		"the list's, English":      {"promo", "", "", "en"},
		"the browser's":            {"promo", "ko-KR,ko;q=0.9,en;q=0.8", "", "ko"},
		"the browser's, other way": {"sale", "en-GB", "", "en"},
		"the browser's best":       {"promo", "en;q=0.5, ko;q=0.7", "", "ko"},
		"the browser's refusal":    {"sale", "en;q=0", "", "ko"},
		"neither":                  {"sale", "fr-FR, de", "", "ko"},
		"nonsense":                 {"sale", ";;;q=,", "", "ko"},
		"endless":                  {"sale", strings.Repeat("en,", 1000), "", "ko"},
		"the link's":               {"sale", "ko", "?lang=en", "en"},
		"unknown list":             {"gone", "", "", "en"},
	} {
		t.Run(name, func(t *testing.T) {
			token := p.Keyring.Seal(0, optout.Claim{List: c.list, User: "a@example.com", Message: claim.Message})
			w := p.do("GET", "/u/"+token+c.query, "", "", "Accept-Language", c.accept)
			if !strings.Contains(w.Body.String(), `<html lang="`+c.want+`">`) {
				t.Errorf("want %s:\n%s", c.want, w.Body)
			}
		})
	}
}

func TestPageNamesTheRecipientMaskedAndTheListEscaped(t *testing.T) {
	p := newPage(t)
	body := p.do("GET", "/u/"+p.Keyring.Seal(0, claim), "", "").Body.String()
	if strings.Contains(body, "Min") || !strings.Contains(body, "M•••@example.com") || !strings.Contains(body, "Promotions &lt;b&gt;") {
		t.Error(body)
	}
	short := p.do("GET", "/u/"+p.Keyring.Seal(0, optout.Claim{List: "promo", User: "a@example.com", Message: claim.Message}), "", "").Body.String()
	if strings.Contains(short, "a•••") || !strings.Contains(short, "•••@example.com") {
		t.Error(short)
	}
}

func TestEvidenceNamesTheClientBehindTrustedProxiesOnly(t *testing.T) {
	for name, c := range map[string]struct {
		remote, want string
		forwarded    []string
	}{
		"direct":                {"203.0.113.5:99", "203.0.113.5", nil},
		"direct and lying":      {"203.0.113.5:99", "203.0.113.5", []string{"198.51.100.1"}},
		"proxy":                 {"10.0.0.1:99", "203.0.113.5", []string{"203.0.113.5"}},
		"proxy, client lied":    {"10.0.0.1:99", "203.0.113.5", []string{"198.51.100.1, 203.0.113.5"}},
		"two proxies":           {"10.0.0.1:99", "203.0.113.5", []string{"198.51.100.1", "203.0.113.5, 10.0.0.2"}},
		"proxy, mapped":         {"[::ffff:10.0.0.1]:99", "2001:db8::1", []string{"2001:db8::1"}},
		"proxy without header":  {"10.0.0.1:99", "10.0.0.1", nil},
		"proxy with bad header": {"10.0.0.1:99", "10.0.0.1", []string{"unknown"}},
		"only proxies":          {"10.0.0.1:99", "10.0.0.3", []string{"10.0.0.3"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPage(t)
			r := httptest.NewRequest("POST", "/u/"+p.Keyring.Seal(0, claim), nil)
			r.RemoteAddr = c.remote
			r.Header["X-Forwarded-For"] = c.forwarded
			p.ServeHTTP(httptest.NewRecorder(), r)
			if p.last.Remote != c.want {
				t.Errorf("remote %q, want %q", p.last.Remote, c.want)
			}
		})
	}
}

func TestLogHoldsNeitherTokenNorAddress(t *testing.T) {
	p := newPage(t)
	token := p.Keyring.Seal(0, claim)
	p.do("POST", "/u/"+token, "", "")
	p.fail = errors.New("disk full")
	p.do("POST", "/u/"+token, "", "")
	p.do("POST", "/u/"+token[1:], "", "")
	log := p.log.String()
	if !strings.Contains(log, "unsubscribed") || !strings.Contains(log, "disk full") || !strings.Contains(log, string(claim.Message)) {
		t.Error(log)
	}
	if strings.Contains(log, token[1:]) || strings.Contains(strings.ToLower(log), "min.kim") {
		t.Error(log)
	}
}

func TestServerOverTCP(t *testing.T) {
	p := newPage(t)
	s := optout.NewServer("127.0.0.1:0", p)
	if s.ReadHeaderTimeout <= 0 || s.ReadTimeout <= 0 || s.WriteTimeout <= 0 || s.IdleTimeout <= 0 || s.MaxHeaderBytes <= 0 {
		t.Errorf("a limit is missing: %+v", s)
	}
	ts := httptest.NewUnstartedServer(nil)
	ts.Config = s
	ts.Start()
	defer ts.Close()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("redirected") }}
	res, err := client.Post(ts.URL+"/u/"+p.Keyring.Seal(0, claim), form, strings.NewReader("List-Unsubscribe=One-Click"))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != 200 || len(p.all) != 1 {
		t.Errorf("%s, left %q", res.Status, p.all)
	}
}

func TestRule3AnswerComesAfterTheIndexHasIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "index.db")
	index, err := directory.OpenIndex(path)
	if err != nil {
		t.Fatal(err)
	}
	p := newPage(t)
	p.Handler.OptOut = index.OptOut
	token := p.Keyring.Seal(0, claim)
	for range 2 {
		if w := p.do("POST", "/u/"+token, form, "List-Unsubscribe=One-Click"); w.Code != 200 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	}
	if err := index.Close(); err != nil {
		t.Fatal(err)
	}
	if w := p.do("POST", "/u/"+token, form, ""); w.Code != 503 {
		t.Errorf("with the index closed: %d", w.Code)
	}
	again, err := directory.OpenIndex(path)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if b, blocked := again.Blocked(claim.User, "promo"); !blocked || b.Kind != "unsubscribed" {
		t.Errorf("%+v, %v", b, blocked)
	}
	if b, blocked := again.Blocked(claim.User, "sale"); blocked {
		t.Errorf("left another list too: %+v", b)
	}
}
