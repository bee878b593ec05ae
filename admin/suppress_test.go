package admin_test

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"postern/directory"
	"postern/internal/peer"
	"postern/mail"
)

// withIndex is a gateway that suppresses some addresses, of each kind one.
func withIndex(t testing.TB) *gateway {
	g := newGateway(t)
	index, err := directory.OpenIndex(filepath.Join(t.TempDir(), "optout.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = index.Close() })
	g.Index = index
	return g
}

func (g *gateway) suppress(list ...directory.Suppression) {
	g.t.Helper()
	for _, s := range list {
		if s.At.IsZero() {
			s.At = g.now
		}
		if _, err := g.Index.Suppress(g.t.Context(), s); err != nil {
			g.t.Fatal(err)
		}
	}
}

func (g *gateway) ask(method, path, body string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	g.Handler().ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
	return w
}

const hostile = mail.Address(`"a/b?c#d'<i>e&f%2F"@example.com`)

func someSuppressions() []directory.Suppression {
	return []directory.Suppression{
		{Address: "Gone@example.com", Kind: directory.KindBounce, Reason: "550 5.1.1 no such user", Evidence: directory.Evidence{How: "Amazon SES by SQS", Message: "01JD3QX7M0V8T4B1W8Y9ZK2N5R",
			Copy: "01JD3QX7M0V8T4B1W8Y9ZK2N5R-7", UpstreamID: "0102018f-4b1c", EventID: "feedback-17", Status: "5.1.1", Words: "smtp; 550 5.1.1 <gone@example.com>: Recipient address rejected: User unknown in virtual mailbox table", UserKey: "Gone@example.com"}},
		{Address: "angry@example.net", Kind: directory.KindComplaint, Reason: "reported as spam (abuse)", Evidence: directory.Evidence{How: "Amazon SES by SQS"}},
		{Address: "full@example.net", Kind: directory.KindSoftBounces, Reason: "mail did not reach it on 5 days within 30, the last time on 2026-11-21: 452 4.2.2 " + strings.Repeat("사서함이-가득-찼습니다-", 12), Evidence: directory.Evidence{How: "a mail to bounces+"}},
		{Address: "old.customer@example.net", Kind: directory.KindManual, Reason: "asked by phone", Evidence: directory.Evidence{How: "boss"}},
		{Address: "zz.bought@example.net", Kind: directory.KindImport, Reason: "imported", Evidence: directory.Evidence{How: "import by an administrator at the command line"}},
	}
}

func TestSuppressionsOfTheAPI(t *testing.T) {
	g := withIndex(t)
	g.suppress(someSuppressions()...)
	g.suppress(directory.Suppression{Address: "b@example.com", Kind: directory.KindManual, Reason: "old", At: g.now.AddDate(0, -1, 0)})
	list := func(query string) string {
		t.Helper()
		w := g.ask("GET", "/api/suppressions"+query, "")
		var all []directory.Suppression
		if err := json.Unmarshal(w.Body.Bytes(), &all); err != nil || w.Code != 200 {
			t.Fatalf("%s: %d %s", query, w.Code, w.Body)
		}
		var names []string
		for _, s := range all {
			names = append(names, s.Address.Local())
		}
		return strings.Join(names, " ")
	}
	for query, want := range map[string]string{
		"":                                 "angry b full Gone old.customer zz.bought",
		"?limit=2":                         "angry b",
		"?after=B@example.com&limit=2":     "full Gone",
		"?kind=manual":                     "b old.customer",
		"?kind=complaint&limit=5":          "angry",
		"?since=2026-11-22T00:00:00Z":      "angry full Gone old.customer zz.bought",
		"?since=2026-11-22T09:00:01Z":      "",
		"?kind=manual&after=b@example.com": "old.customer",
	} {
		if got := list(query); got != want {
			t.Errorf("%s: %s; want %s", query, got, want)
		}
	}
	for request, want := range map[string]string{
		"GET /api/suppressions?kind=because":          `400 {"error":"kind=\"because\" is none of bounce, soft-bounces, complaint, manual and import"}`,
		"GET /api/suppressions?since=today":           `400 {"error":"since=\"today\" is no time such as 2026-11-26T09:30:00Z"}`,
		"GET /api/suppressions/nobody@example.com":    `404 {"error":"the address nobody@example.com is not suppressed"}`,
		"GET /api/suppressions/nobody":                `400 {"error":"\"nobody\" is not a mail address: it needs a name, an @ and a domain"}`,
		"DELETE /api/suppressions/nobody@example.com": `404 {"error":"the address nobody@example.com is not suppressed"}`,
		"DELETE /api/suppressions/angry@example.net":  `409 {"error":"the owner of angry@example.net called a mail spam on 2026-11-22: lift that only when`,
		"POST /api/suppressions":                      `400 {"error":"the body is not the JSON that belongs here: EOF"}`,
	} {
		method, path, _ := strings.Cut(request, " ")
		if w := g.ask(method, path, ""); !strings.HasPrefix(fmt.Sprint(w.Code, " ", w.Body), want) {
			t.Errorf("%s: %d %s", request, w.Code, w.Body)
		}
	}
	var one directory.Suppression
	if w := g.ask("GET", "/api/suppressions/GONE@example.com", ""); json.Unmarshal(w.Body.Bytes(), &one) != nil || one.Address != "Gone@example.com" || one.Evidence.EventID != "feedback-17" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	g.Index = nil
	for _, request := range []string{"GET ", "POST ", "GET /a@x.org", "DELETE /a@x.org", "POST /import", "GET /export"} {
		method, path, _ := strings.Cut(request, " ")
		if w := g.ask(method, "/api/suppressions"+path, "{}"); w.Code != 409 || !strings.Contains(w.Body.String(), "no suppression list here") {
			t.Errorf("%s without an index: %d %s", request, w.Code, w.Body)
		}
	}
}

func TestAddressesAreSuppressedAndLiftedByTheAPI(t *testing.T) {
	g := withIndex(t)
	w := g.ask("POST", "/api/suppressions", `{"addresses":["Kim@example.com"," lee@example.com "],"reason":"asked by phone"}`)
	var all []struct {
		directory.Suppression
		Added bool
	}
	if err := json.Unmarshal(w.Body.Bytes(), &all); err != nil || len(all) != 2 || !all[0].Added || all[1].Address != "lee@example.com" || all[0].Kind != directory.KindManual || all[0].Reason != "asked by phone" ||
		all[0].Evidence.How != "an administrator at the command line" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	w = g.ask("POST", "/api/suppressions", `{"address":"kim@example.com"}`)
	if w.Code != 200 || !strings.Contains(w.Body.String(), `"added":false`) || !strings.Contains(w.Body.String(), "asked by phone") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	for _, body := range []string{`{}`, `{"addresses":["ok@example.com","nobody"]}`, `{"addresses":["` + strings.Repeat(`a@x.org","`, 1000) + `a@x.org"]}`} {
		if w := g.ask("POST", "/api/suppressions", body); w.Code != 400 {
			t.Errorf("%.50s: %d %s", body, w.Code, w.Body)
		}
	}
	if _, blocked := g.Index.Blocked("ok@example.com", ""); blocked {
		t.Error("half of a wrong request was done")
	}
	if w := g.ask("DELETE", "/api/suppressions/KIM@example.com?reason=back+again", ""); w.Code != 200 || !strings.Contains(w.Body.String(), "asked by phone") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	ledger, err := g.Index.Ledger(2, 10)
	if err != nil || len(ledger) != 1 || ledger[0].Reason != "an administrator at the command line: back again" {
		t.Errorf("%+v, %v", ledger, err)
	}
	g.suppress(someSuppressions()...)
	if _, err := g.Index.Complained(t.Context(), "angry@example.net", "", directory.Suppression{Reason: "abuse", At: g.now}); err != nil {
		t.Fatal(err)
	}
	for _, method := range []string{"GET", "DELETE"} {
		if w := g.ask(method, "/api/suppressions/angry@example.net?complaint=true", ""); w.Code != 200 || !strings.Contains(w.Body.String(), `"kind":"complaint"`) || !strings.Contains(w.Body.String(), `"left":["*"]`) {
			t.Errorf("%s: %d %s", method, w.Code, w.Body)
		}
	}
}

func TestSuppressionsAreImportedAndExportedByTheAPI(t *testing.T) {
	g := withIndex(t)
	w := g.ask("POST", "/api/suppressions/import", "EmailAddress,Reason,LastUpdateTime\nkim@example.com,BOUNCE,2026-11-22T09:30:00Z\nnobody,BOUNCE,\n")
	want := `{"done":true,"rows":2,"added":1,"already":0,"lifted":0,"bad":1,"errors":[{"row":3,"error":"\"nobody\" is not a mail address: it needs a name, an @ and a domain"}]}`
	if lines := strings.Split(strings.TrimSpace(w.Body.String()), "\n"); w.Code != 200 || lines[len(lines)-1] != want {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := g.ask("POST", "/api/suppressions/import", "Name\nkim\n"); !strings.Contains(w.Body.String(), `{"error":"the first row must be a header with a column Address (or Email), such as Address,Reason,Kind,At"}`) {
		t.Errorf("%s", w.Body)
	}
	w = g.ask("GET", "/api/suppressions/export", "")
	wantFile := "Address,Kind,Reason,At,How,Remote,Message,Copy,UpstreamID,EventID,Status,Words,User\n" +
		"kim@example.com,bounce,\"bounced, says an imported list\",2026-11-22T09:30:00Z,import by an administrator at the command line,,,,,,,,\n"
	if w.Code != 200 || w.Body.String() != wantFile || !strings.Contains(w.Header().Get("Content-Disposition"), "suppressions.csv") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestThePagesShowSuppressionsAndLiftThem(t *testing.T) {
	g := withIndex(t)
	g.suppress(someSuppressions()...)
	g.suppress(directory.Suppression{Address: hostile, Kind: directory.KindBounce, Reason: "<script>alert(1)</script>", Evidence: directory.Evidence{Words: "\"'><img src=x>"}})
	h := newPages(g).Handler()
	out, viewer, boss := newBrowser(t, h), newBrowser(t, h), newBrowser(t, h)
	viewer.login("eye", "peep")
	boss.login("boss", "open sesame")
	for _, path := range []string{"/suppressions", "/suppressions/gone@example.com", "/api/suppressions"} {
		if w := out.do("GET", path, nil); w.Code != 303 && w.Code != 401 || strings.Contains(w.Body.String(), "550") {
			t.Errorf("without a login %s: %d %s", path, w.Code, w.Body)
		}
		for name, b := range map[string]*browser{"viewer": viewer, "boss": boss} {
			body := b.do("GET", path, nil).Body.String()
			if !strings.Contains(body, "550 5.1.1 no such user") || strings.Contains(body, "<script>") || strings.Contains(body, "<img") {
				t.Errorf("%s to %s: %s", path, name, body)
			}
			if name == "viewer" && strings.Contains(body, "/lift") {
				t.Errorf("%s has a button for a viewer", path)
			}
		}
	}
	for request, code := range map[string]int{"GET /api/suppressions/export": 403, "POST /api/suppressions": 403, "DELETE /api/suppressions/gone@example.com": 403, "POST /api/suppressions/import": 403,
		"GET /api/suppressions/gone@example.com": 200} {
		method, path, _ := strings.Cut(request, " ")
		if w := viewer.do(method, path, nil); w.Code != code {
			t.Errorf("%s by a viewer: %d %s", request, w.Code, w.Body)
		}
	}
	for name, w := range map[string]*httptest.ResponseRecorder{
		"a viewer":             viewer.do("POST", "/suppressions/gone@example.com/lift", url.Values{"csrf": {viewer.csrf("/suppressions")}}),
		"a form from nowhere":  boss.do("POST", "/suppressions/gone@example.com/lift", url.Values{}),
		"another site":         boss.do("POST", "/suppressions/gone@example.com/lift", url.Values{"csrf": {boss.csrf("/suppressions")}}, "Sec-Fetch-Site", "cross-site"),
		"a complaint unticked": boss.do("POST", "/suppressions/angry@example.net/lift", url.Values{"csrf": {boss.csrf("/suppressions")}}),
	} {
		if w.Code != 403 && w.Code != 409 {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	if list, err := g.Index.Suppressions("", 10); err != nil || len(list) != 6 {
		t.Fatalf("%d are left, %v", len(list), err)
	}
	for _, addr := range []mail.Address{"gone@example.com", "angry@example.net", hostile} {
		path := "/suppressions/" + url.PathEscape(string(addr))
		w := boss.do("POST", path+"/lift", url.Values{"csrf": {boss.csrf(path)}, "complaint": {"true"}, "reason": {"back"}})
		if w.Code != 303 || !strings.HasPrefix(w.Header().Get("Location"), "/suppressions?lifted=") {
			t.Errorf("%s: %d %s", addr, w.Code, w.Body)
		}
		if after := boss.do("GET", w.Header().Get("Location"), nil).Body.String(); !strings.Contains(after, "gets mail again") {
			t.Errorf("%s: %s", addr, after)
		}
	}
	ledger, err := g.Index.Ledger(6, 10)
	if err != nil || len(ledger) != 3 || ledger[0].Reason != "boss: back" {
		t.Errorf("%+v, %v", ledger, err)
	}
	if w := boss.do("GET", "/suppressions/gone@example.com", nil); w.Code != 404 || !strings.Contains(w.Body.String(), "The address gone@example.com is not suppressed.") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// The links of the list lead to the pages of their addresses, whatever is in them.
func TestALinkOfTheListLeadsToItsAddress(t *testing.T) {
	g := withIndex(t)
	g.suppress(directory.Suppression{Address: hostile, Kind: directory.KindBounce, Reason: "x"})
	b := newBrowser(t, newPages(g).Handler())
	b.login("boss", "open sesame")
	_, rest, _ := strings.Cut(b.do("GET", "/suppressions", nil).Body.String(), `class="a"><a href="`)
	link, _, _ := strings.Cut(rest, `"`)
	w := b.do("GET", strings.NewReplacer("&amp;", "&", "&#39;", "'", "%27", "'").Replace(link), nil)
	if w.Code != 200 || !strings.Contains(w.Body.String(), "This address gets no mail") {
		t.Errorf("%s: %d %s", link, w.Code, w.Body)
	}
}

func TestASearchFindsAnAddressInAnySpellingAndBeginnings(t *testing.T) {
	g := withIndex(t)
	for n := range 250 {
		g.suppress(directory.Suppression{Address: mail.Address(fmt.Sprintf("u%03d@example.com", n)), Kind: directory.KindImport, Reason: "imported"})
	}
	b := newBrowser(t, newPages(g).Handler())
	b.login("eye", "peep")
	count := func(query string) (rows []int) {
		t.Helper()
		path := "/suppressions" + query
		for path != "" {
			body := b.do("GET", path, nil).Body.String()
			rows = append(rows, strings.Count(body, `<span class="state import">`))
			_, more, _ := strings.Cut(body, `<a href="/suppressions?after=`)
			more, _, found := strings.Cut(more, `">More`)
			if path = ""; found {
				path = "/suppressions?after=" + strings.ReplaceAll(more, "&amp;", "&")
			}
		}
		return rows
	}
	for query, want := range map[string][]int{"": {100, 100, 50}, "?address=U1": {100}, "?address=u0": {100}, "?address=u": {100, 100, 50}, "?address=%22U007%22@EXAMPLE.com": {1}, "?address=x": {0}} {
		if got := count(query); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v; want %v", query, got, want)
		}
	}
}

func TestBrowserShowsSuppressions(t *testing.T) {
	g := withIndex(t)
	g.suppress(someSuppressions()...)
	g.suppress(directory.Suppression{Address: "a.very.long.name.of.somebody.who.has.left@subdomain.of.a.long.domain.example.com", Kind: directory.KindBounce, Reason: "<script>document.title='ran'</script>" + strings.Repeat("x", 200)})
	if _, err := g.Index.Complained(t.Context(), "angry@example.net", "", directory.Suppression{Reason: "abuse", At: g.now.Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
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
		{"suppressions", "/suppressions", "no such user", peer.Laptop},
		{"suppressions-phone", "/suppressions", "no such user", peer.Phone},
		{"suppressions-none", "/suppressions?address=nobody&lifted=kim@example.com", "gets mail again", peer.Laptop},
		{"suppression", "/suppressions/gone@example.com", "virtual mailbox table", peer.Laptop},
		{"suppression-complaint", "/suppressions/angry@example.net", "has asked for mail again", peer.Laptop},
		{"suppression-phone", "/suppressions/gone@example.com", "virtual mailbox table", peer.Phone},
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

func TestAnIndexThatIsClosedIsOurOwnFault(t *testing.T) {
	g := withIndex(t)
	if err := g.Index.Close(); err != nil {
		t.Fatal(err)
	}
	if w := g.ask("GET", "/api/suppressions/a@example.com", ""); w.Code != 500 || strings.Contains(w.Body.String(), "database") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
