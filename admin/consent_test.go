package admin_test

import (
	"encoding/json"
	"errors"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"context"

	"postern/admin"
	"postern/directory"
	"postern/internal/peer"
	"postern/mail"
)

// withLists is a gateway with two lists and one user, who gets both.
func withLists(t testing.TB) *gateway {
	g := withIndex(t)
	g.Lists = []string{"promo", "news"}
	g.Index.SetLists(g.Lists)
	g.Users.(*users).put(directory.User{Email: "Min@example.net", Subscribed: true})
	if err := g.Index.OptOut(t.Context(), "Min@example.net", "promo", directory.Evidence{At: g.now, How: "page", Remote: "203.0.113.7", Message: "01JD3QX7M0V8T4B1W8Y9ZK2N5R",
		Wording: "[ko] pressed: 수신거부\n<b>민님</b>, 특가 소식을 그만 받으시겠습니까?"}); err != nil {
		t.Fatal(err)
	}
	return g
}

type personAnswer struct {
	Address string   `json:"address"`
	Gets    []string `json:"gets"`
	Left    []string `json:"left"`
	Entries []struct {
		Number  uint64 `json:"number"`
		Address string `json:"address"`
		Kind    string `json:"kind"`
		List    string `json:"list"`
		How     string `json:"how"`
		Wording string `json:"wording"`
		Note    string `json:"note"`
	} `json:"entries"`
}

func (g *gateway) person(email string) (p personAnswer) {
	g.t.Helper()
	w := g.ask("GET", "/api/users/"+url.PathEscape(email)+"/history", "")
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Code != 200 {
		g.t.Fatalf("%d %s", w.Code, w.Body)
	}
	return p
}

func TestHistoryOfAPerson(t *testing.T) {
	g := withLists(t)
	p := g.person("Min@Example.NET")
	if p.Address != "Min@example.net" || !slices.Equal(p.Gets, []string{"news"}) || !slices.Equal(p.Left, []string{"promo"}) ||
		len(p.Entries) != 1 || p.Entries[0].Number != 1 || !strings.Contains(p.Entries[0].Wording, "그만 받으시겠습니까") {
		t.Errorf("%+v", p)
	}
	g.suppress(directory.Suppression{Address: hostile, Kind: directory.KindManual, Reason: "x"})
	if p := g.person(string(hostile)); len(p.Entries) != 1 || p.Entries[0].Kind != "suppress" {
		t.Errorf("an address that is suppressed and no user: %+v", p)
	}
	for path, want := range map[string]int{"/api/users/nobody@example.net/history": 404, "/api/users/nobody/history": 400} {
		if w := g.ask("GET", path, ""); w.Code != want {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}

func TestLeavingAndRestoringByHand(t *testing.T) {
	g := withLists(t)
	g.Answers = func(list string) bool { return list == "news" }
	for _, c := range []struct {
		action, body string
		code         int
		want         string
	}{
		{"leave", `{"list":"news"}`, 400, "by what this person asked"},
		{"leave", `{"list":"news","evidence":"  "}`, 400, "by what this person asked"},
		{"leave", `{"list":"news","evidence":"` + strings.Repeat("x", 400) + `"}`, 400, "more than 300 octets"},
		{"leave", `{"evidence":"x"}`, 400, "either one list or all"},
		{"leave", `{"list":"news","all":true,"evidence":"x"}`, 400, "either one list or all"},
		{"leave", `{"list":"other","evidence":"x"}`, 400, "(there are: promo, news)"},
		{"leave", `{"list":"news","evidence":"by phone"}`, 200, `"changed":true`},
		{"leave", `{"list":"news","evidence":"by phone"}`, 200, `"changed":false`},
		{"restore", `{"list":"news"}`, 400, "by what this person asked"},
		{"restore", `{"all":true,"evidence":"x"}`, 400, "name the list"},
		{"restore", `{"list":"other","evidence":"x"}`, 409, `has not left the list \"other\"`},
		{"restore", `{"list":"promo","evidence":"a scanner","dry_run":true}`, 200, `"undone":{"number":1,`},
		{"restore", `{"list":"promo","evidence":"a scanner"}`, 200, `"changed":true`},
		{"restore", `{"list":"promo","evidence":"a scanner"}`, 409, "nothing to undo"},
		{"leave", `{"all":true,"evidence":"letter"}`, 200, `"list":"*"`},
		{"restore", `{"list":"promo","evidence":"x"}`, 409, "has left all lists at once"},
		{"restore", `{"list":"*","evidence":"not hers"}`, 200, `"changed":true`},
	} {
		w := g.ask("POST", "/api/users/min@example.net/"+c.action, c.body)
		if w.Code != c.code || !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%s %s: %d %s, want %d and %q", c.action, c.body, w.Code, w.Body, c.code, c.want)
		}
		if strings.Contains(c.body, "dry_run") && !slices.Contains(g.person("min@example.net").Left, "promo") {
			t.Error("a dry run has changed something")
		}
	}
	p := g.person("min@example.net")
	var steps []string
	for _, e := range p.Entries {
		steps = append(steps, e.Kind+" "+e.List+" "+e.Note)
	}
	want := []string{"opt-out promo ", "opt-out news by phone", "restore promo a scanner", "opt-out * letter", "restore * not hers"}
	if !slices.Equal(steps, want) || !slices.Equal(p.Left, []string{"news"}) {
		t.Errorf("%q, left %q", steps, p.Left)
	}
	if e := p.Entries[1]; e.How != "an administrator at the command line" || e.Address != "Min@example.net" {
		t.Errorf("of %q, which the directory writes as Min@example.net, by %q", e.Address, e.How)
	}
	owed, err := g.Index.Unanswered(10)
	if err != nil || len(owed) != 1 || owed[0].List != "news" {
		t.Errorf("owed an answer: %+v, %v", owed, err)
	}
}

// down is a directory that does not answer.
type down struct{ directory.Store }

func (down) Get(context.Context, mail.Address) (directory.User, error) {
	return directory.User{}, &mail.Error{Public: "the directory does not answer"}
}

func TestLeavingByHandNeedsNoDirectory(t *testing.T) {
	g := withLists(t)
	g.Users = down{}
	if w := g.ask("POST", "/api/users/min@example.net/leave", `{"list":"news","evidence":"by phone"}`); w.Code != 200 || !strings.Contains(w.Body.String(), `"directory_error":"the directory does not answer"`) {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if _, blocked := g.Index.Blocked("MIN@example.net", "news"); !blocked {
		t.Error("the copy would be sent")
	}
	w := g.ask("GET", "/api/users/min@example.net/history", "")
	if w.Code != 200 || !strings.Contains(w.Body.String(), `"directory_error":"the directory does not answer"`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestLedgerIsVerifiedAndExported(t *testing.T) {
	g := withLists(t)
	number, hash, err := g.Index.Head()
	if err != nil {
		t.Fatal(err)
	}
	w := g.ask("GET", "/api/ledger/verify", "")
	lines := strings.Split(strings.TrimSpace(w.Body.String()), "\n")
	var end struct {
		Done   bool   `json:"done"`
		Number uint64 `json:"number"`
		Hash   string `json:"hash"`
	}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &end); err != nil || !end.Done || end.Number != number || end.Hash != hash || number != 1 {
		t.Errorf("%s: %v", w.Body, err)
	}
	w = g.ask("GET", "/api/ledger/export", "")
	if !strings.Contains(w.Body.String(), `"hash":"`+hash+`"`) || strings.Count(w.Body.String(), "\n") != 1 {
		t.Errorf("%s", w.Body)
	}
}

func TestRotationAndRemindersAreAskedOfWhoDoesThem(t *testing.T) {
	g := withLists(t)
	for _, path := range []string{"POST /api/optout/rotate", "GET /api/consent/due", "POST /api/consent/remind"} {
		method, path, _ := strings.Cut(path, " ")
		if w := g.ask(method, path, ""); w.Code != 409 {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	g.RotateKey = func() (uint32, error) { return 7, nil }
	if w := g.ask("POST", "/api/optout/rotate", ""); strings.TrimSpace(w.Body.String()) != `{"key":7}` {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	asked := 0
	g.Due = func(_ context.Context, _ func(admin.DueTally), found func(admin.ConsentDue) error) (admin.DueTally, error) {
		return admin.DueTally{Users: 3, Due: 1}, found(admin.ConsentDue{User: "a@example.net", Company: "Shop"})
	}
	g.Remind = func(_ context.Context, limit int, _ func(admin.DueTally)) (admin.DueTally, error) {
		asked = limit
		return admin.DueTally{Sent: 2}, errors.New("the disk is full")
	}
	if w := g.ask("GET", "/api/consent/due", ""); !strings.Contains(w.Body.String(), `{"person":{"user":"a@example.net"`) || !strings.Contains(w.Body.String(), `{"done":true,"tally":{"users":3`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := g.ask("POST", "/api/consent/remind?limit=5", ""); asked != 5 || strings.Contains(w.Body.String(), "done") || !strings.Contains(w.Body.String(), `"error"`) {
		t.Errorf("asked for %d: %d %s", asked, w.Code, w.Body)
	}
}

func TestPageOfAPersonIsForAdministratorsAndItsButtonsNeedEvidence(t *testing.T) {
	g := withLists(t)
	h := newPages(g).Handler()
	b := newBrowser(t, h)
	b.login("boss", "open sesame")
	path := "/users/min@example.net"
	if w := b.do("GET", "/users?address=min@example.net", nil); w.Code != 303 || w.Header().Get("Location") != path {
		t.Errorf("%d to %s", w.Code, w.Header().Get("Location"))
	}
	if w := b.do("GET", "/users?address=nobody", nil); !strings.Contains(w.Body.String(), "is not a mail address") {
		t.Errorf("%s", w.Body)
	}
	if w := b.do("GET", "/users/nobody@example.net", nil); w.Code != 404 || !strings.Contains(w.Body.String(), "There is no user nobody@example.net") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	shown := b.do("GET", path, nil).Body.String()
	if !strings.Contains(shown, "그만 받으시겠습니까") || !strings.Contains(shown, "203.0.113.7") || strings.Contains(shown, "<b>민") {
		t.Errorf("%s", shown)
	}
	csrf := b.csrf(path)
	press := func(action string, form url.Values) *httptest.ResponseRecorder {
		return b.do("POST", path+"/"+action, form)
	}
	if w := press("restore", url.Values{"list": {"promo"}, "evidence": {"x"}}); w.Code != 403 {
		t.Errorf("without the form's token: %d", w.Code)
	}
	if w := press("restore", url.Values{"csrf": {csrf}, "list": {"promo"}}); w.Code != 400 {
		t.Errorf("without evidence: %d", w.Code)
	}
	if left := g.person("min@example.net").Left; !slices.Equal(left, []string{"promo"}) {
		t.Errorf("left %q", left)
	}
	if w := press("restore", url.Values{"csrf": {csrf}, "list": {"promo"}, "evidence": {"a scanner"}}); w.Code != 303 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := press("leave", url.Values{"csrf": {csrf}, "list": {"*"}, "evidence": {"letter"}}); w.Code != 303 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if p := g.person("min@example.net"); !slices.Equal(p.Left, []string{"*"}) || p.Entries[2].How != "boss" {
		t.Errorf("%+v", p)
	}

	eye := newBrowser(t, h)
	eye.login("eye", "peep")
	token := eye.csrf("/")
	for _, c := range [][2]string{{"GET", "/users"}, {"GET", path}, {"GET", "/api" + path + "/history"}, {"GET", "/api/ledger/export"}, {"GET", "/api/consent/due"}} {
		if w := eye.do(c[0], c[1], nil); w.Code != 403 || strings.Contains(w.Body.String(), "promo") {
			t.Errorf("a viewer's %s %s: %d", c[0], c[1], w.Code)
		}
	}
	if w := eye.do("POST", path+"/restore", url.Values{"csrf": {token}, "list": {"*"}, "evidence": {"x"}}); w.Code != 403 {
		t.Errorf("a viewer's restore: %d", w.Code)
	}
	if strings.Contains(eye.do("GET", "/", nil).Body.String(), `href="/users"`) {
		t.Error("a viewer is shown the way to a person")
	}
}

func TestBrowserShowsAPerson(t *testing.T) {
	g := withLists(t)
	g.Lists = append(g.Lists, "sale")
	ctx := t.Context()
	at := func(minutes int) time.Time { return g.now.Add(time.Duration(minutes) * time.Minute) }
	for _, err := range []error{
		g.Index.Consent(ctx, "Min@example.net", "promo", directory.Evidence{At: at(3), How: "page", Remote: "203.0.113.7", Wording: "[ko] pressed: 저장\n[x] 특가 소식\n[ ] 신상품 안내\n(저장)"}),
		g.Index.OptOut(ctx, "Min@example.net", "news", directory.Evidence{At: at(60), How: "one-click", Remote: "2001:db8::7", Message: "01JD3QX7M0V8T4B1W8Y9ZK2N5R"}),
		g.Index.OptOut(ctx, "Min@example.net", "sale", directory.Evidence{At: at(90), How: "an administrator at the command line", Note: "by phone on 22 November; Kim took the call"}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	g.suppress(directory.Suppression{Address: "Min@example.net", Kind: directory.KindBounce, Reason: "550 5.1.1 no such user", At: at(120), Evidence: directory.Evidence{How: "Amazon SES by SQS", Status: "5.1.1"}})
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
		{"person", "/users/min@example.net?done=restored", "Undo entry 3", peer.Laptop},
		{"person-phone", "/users/min@example.net", "Undo entry 3", peer.Phone},
		{"person-find", "/users", "What somebody receives", peer.Laptop},
		{"person-missing", "/users/nobody@example.net", "There is no user", peer.Laptop},
	} {
		dom, log := peer.Browse(t, c.name, c.screen, server.URL+c.path)
		if !strings.Contains(dom, c.want) {
			t.Errorf("%s: %s", c.name, dom)
		}
		if strings.Contains(log, "Content Security Policy") {
			t.Errorf("%s: %s", c.name, log)
		}
	}
}
