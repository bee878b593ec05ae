package admin_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/admin"
	"postern/directory"
	"postern/expand"
	"postern/mail"
)

// withAudience is a gateway with two lists, promo of everybody and women, and some users:
// kim and lee are women, han is a man, out is not subscribed, gone has left promo by the
// index, left by the directory, dead is suppressed, twice is there in two spellings, odd
// has no Gender.
func withAudience(t *testing.T) *gateway {
	g := withIndex(t)
	u := g.Users.(*users)
	add := func(email, gender string, more func(*directory.User)) {
		one := directory.User{Email: mail.Address(email), Subscribed: true, Attributes: map[string]any{"Gender": gender, "CreateTime": json.Number("1700000000")}}
		if more != nil {
			more(&one)
		}
		u.put(one)
	}
	add("kim@example.com", "Female", nil)
	add("Lee@example.com", "Female", nil)
	add("han@example.com", "Male", nil)
	add("out@example.com", "Female", func(u *directory.User) { u.Subscribed, u.Unknown = false, true })
	add("gone@example.com", "Female", nil)
	add("left@example.com", "Female", func(u *directory.User) { u.OptOut = []string{"promo"} })
	add("dead@example.com", "Female", nil)
	add("Twice@example.com", "Female", nil)
	add("twice@example.com", "Female", nil)
	add("odd@example.com", "", func(u *directory.User) { delete(u.Attributes, "Gender") })
	add("not an address", "Female", nil)
	if err := g.Index.OptOut(t.Context(), "GONE@example.com", "promo", directory.Evidence{At: g.now, How: "one-click"}); err != nil {
		t.Fatal(err)
	}
	g.suppress(directory.Suppression{Address: "dead@example.com", Kind: directory.KindBounce, Reason: "the mailbox does not exist", At: g.now})
	fields, err := expand.NewFields(map[string]expand.FieldDef{"Gender": {}, "CreateTime": {Type: "number"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	g.Lists = []string{"promo", "women"}
	g.Configured = []admin.List{{ID: "promo", Address: "promo@lists.example.com", Name: "Promotions", Language: "ko"},
		{ID: "women", Address: "women@lists.example.com", Owner: "owner@example.com", Filter: `Gender == "Female"`, Template: "winter", Lane: "ses"}}
	g.Audience = func(id string) (*expand.Audience, error) {
		src := map[string]string{"women": `Gender == "Female"`}[id]
		f, err := expand.CompileFilter(src, fields, nil)
		return &expand.Audience{List: id, Filter: f, Blocked: g.Index.Blocked, Now: time.Now()}, err
	}
	return g
}

// lastLine decodes the last line of an answer.
func (g *gateway) lastLine(path string, v any) {
	g.t.Helper()
	w := g.do("GET", path, "")
	lines := strings.Split(strings.TrimSpace(w.Body.String()), "\n")
	if w.Code != 200 || json.Unmarshal([]byte(lines[len(lines)-1]), v) != nil {
		g.t.Fatalf("%s: %d %s", path, w.Code, w.Body)
	}
}

type counted struct {
	Done   bool
	Count  admin.ListCount
	Sample []directory.User
	Error  string
}

func TestListsAreListed(t *testing.T) {
	g := withAudience(t)
	want := `[{"id":"promo","address":"promo@lists.example.com","name":"Promotions","owner":"","lane":"","filter":"","template":"","language":"ko"},` +
		`{"id":"women","address":"women@lists.example.com","name":"","owner":"owner@example.com","lane":"ses","filter":"Gender == \"Female\"","template":"winter","language":""}]`
	if got := strings.TrimSpace(g.do("GET", "/api/lists", "").Body.String()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	g.Configured = nil
	if got := strings.TrimSpace(g.do("GET", "/api/lists", "").Body.String()); got != "[]" {
		t.Errorf("without lists: %s", got)
	}
}

func TestACountSaysWhoGetsMailAndWhyTheOthersDoNot(t *testing.T) {
	g := withAudience(t)
	for list, want := range map[string]admin.ListCount{
		"promo": {Users: 11, Subscribed: 10, NotSubscribed: 1, Unknown: 1, Left: 2, Suppressed: 1, NoAddress: 1, Chosen: 6, Repeated: 1, Receives: 5},
		"women": {Users: 11, Subscribed: 10, NotSubscribed: 1, Unknown: 1, Suppressed: 1, NoAddress: 1, NotChosen: 2, Chosen: 6, Repeated: 1, Receives: 5,
			Lacking: map[string]int{"Gender": 1}},
	} {
		var got counted
		g.lastLine("/api/lists/"+list+"/count", &got)
		if !got.Done || fmt.Sprint(got.Count) != fmt.Sprint(want) {
			t.Errorf("%s: %+v, want %+v", list, got, want)
		}
		if sum := got.Count.NotSubscribed + got.Count.Left + got.Count.Suppressed + got.Count.NoAddress + got.Count.NotChosen + got.Count.NotJudged + got.Count.Repeated + got.Count.Receives; sum != got.Count.Users {
			t.Errorf("%s: the parts are %d of %d", list, sum, got.Count.Users)
		}
	}
}

func TestASampleIsOfAnyOfThoseWhoGetMail(t *testing.T) {
	g := withAudience(t)
	met := map[mail.Address]int{}
	for range 300 {
		var got counted
		g.lastLine("/api/lists/women/sample?n=2", &got)
		if len(got.Sample) != 2 || got.Sample[0].Email == got.Sample[1].Email || got.Count.Receives != 5 {
			t.Fatalf("%+v", got)
		}
		for _, u := range got.Sample {
			met[u.Email]++
		}
	}
	if len(met) != 5 || met["Twice@example.com"] == 0 || met["gone@example.com"] == 0 {
		t.Errorf("in 300 samples: %v; want each of the five of whom there is a copy", met)
	}
	var all counted
	g.lastLine("/api/lists/women/sample?n=100", &all)
	if len(all.Sample) != 5 || all.Sample[0].Value("Gender") != "Female" {
		t.Errorf("%+v", all.Sample)
	}
}

func TestWhyNamesEverythingThatDecides(t *testing.T) {
	g := withAudience(t)
	for path, want := range map[string]string{
		"promo/why/KIM@example.com":    `{"address":"kim@example.com","in_directory":true,"receives":true,"standing":"receives","why":"","subscribed":true,"left":[],"suppressed":"","chosen":true,"fields":{},"lacking":[]}`,
		"women/why/han@example.com":    `{"address":"han@example.com","in_directory":true,"receives":false,"standing":"not-chosen","why":"is not chosen by the list's filter","subscribed":true,"left":[],"suppressed":"","chosen":false,"fields":{"Gender":"Male"},"lacking":[]}`,
		"women/why/odd@example.com":    `{"address":"odd@example.com","in_directory":true,"receives":false,"standing":"not-chosen","why":"is not chosen by the list's filter","subscribed":true,"left":[],"suppressed":"","chosen":false,"fields":{"Gender":""},"lacking":["Gender"]}`,
		"promo/why/gone@example.com":   `{"address":"gone@example.com","in_directory":true,"receives":false,"standing":"left","why":"blocked here: left the list on 2026-11-22","subscribed":true,"left":["promo"],"suppressed":"","chosen":true,"fields":{},"lacking":[]}`,
		"promo/why/left@example.com":   `{"address":"left@example.com","in_directory":true,"receives":false,"standing":"left","why":"has left the list","subscribed":true,"left":["promo"],"suppressed":"","chosen":true,"fields":{},"lacking":[]}`,
		"women/why/dead@example.com":   `{"address":"dead@example.com","in_directory":true,"receives":false,"standing":"suppressed","why":"blocked here: the mailbox does not exist","subscribed":true,"left":[],"suppressed":"the mailbox does not exist","chosen":true,"fields":{"Gender":"Female"},"lacking":[]}`,
		"women/why/out@example.com":    `{"address":"out@example.com","in_directory":true,"receives":false,"standing":"not-subscribed","why":"is not subscribed","subscribed":false,"left":[],"suppressed":"","chosen":true,"fields":{"Gender":"Female"},"lacking":[]}`,
		"women/why/nobody@example.com": `{"address":"nobody@example.com","in_directory":false,"receives":false,"standing":"unknown","why":"is not in the directory","subscribed":false,"left":[],"suppressed":"","chosen":false,"fields":{},"lacking":[]}`,
	} {
		if got := strings.TrimSpace(g.do("GET", "/api/lists/"+path, "").Body.String()); got != want {
			t.Errorf("%s:\n%s\nwant\n%s", path, got, want)
		}
	}
}

func TestListsAreRefusedInWords(t *testing.T) {
	g := withAudience(t)
	for path, want := range map[string]string{
		"/api/lists/x/count":                `404 {"error":"there is no list with the id x (there are: promo, women)"}`,
		"/api/lists/x/sample":               `404 {"error":"there is no list with the id x (there are: promo, women)"}`,
		"/api/lists/x/why/kim@example.com":  `404 {"error":"there is no list with the id x (there are: promo, women)"}`,
		"/api/lists/promo/sample?n=1001":    `400 {"error":"a sample has at most 1000 users"}`,
		"/api/lists/promo/sample?n=-1":      `400 {"error":"n=\"-1\" is not a number that fits here"}`,
		"/api/lists/promo/why/nobody":       `400 {"error":"\"nobody\" is not a mail address: it needs a name, an @ and a domain"}`,
		"/api/lists/promo/why/a@b%00.com":   `400 {"error":`,
		"/api/lists/promo/count/more/words": `404 {"error":`,
	} {
		if w := g.do("GET", path, ""); !strings.HasPrefix(fmt.Sprintf("%d %s", w.Code, w.Body), want) {
			t.Errorf("%s: %d %s; want %s", path, w.Code, w.Body, want)
		}
	}
	g.Users.(*users).fail = &mail.Error{Class: mail.Throttled, Public: "the table is busy"}
	for _, what := range []string{"count", "sample"} {
		var got counted
		if g.lastLine("/api/lists/promo/"+what, &got); got.Done || got.Error != "the table is busy" {
			t.Errorf("%s: %+v", what, got)
		}
	}
	g.Users = nil
	if w := g.do("GET", "/api/lists/promo/count", ""); w.Code != 409 {
		t.Errorf("without a directory: %d %s", w.Code, w.Body)
	}
}

func TestThePageOfListsCountsByItsButtonAlone(t *testing.T) {
	g := withAudience(t)
	p := newPages(g)
	b := newBrowser(t, p.Handler())
	b.login("eye", "peep")
	if w := b.do("GET", "/lists", nil); w.Code != 403 {
		t.Errorf("a viewer: %d %s", w.Code, w.Body)
	}
	b = newBrowser(t, p.Handler())
	b.login("boss", "open sesame")
	page := b.do("GET", "/lists", nil).Body.String()
	for _, want := range []string{"women@lists.example.com", "Gender == &#34;Female&#34;", "everybody who is subscribed", `action="/lists/women/count"`} {
		if !strings.Contains(page, want) {
			t.Errorf("the page has no %s:\n%s", want, page)
		}
	}
	if strings.Contains(page, "Would get a mail") {
		t.Error("the page counts by itself")
	}
	if w := b.do("POST", "/lists/women/count", url.Values{"csrf": {"x"}}); w.Code != 403 {
		t.Errorf("without the form's token: %d", w.Code)
	}
	form := url.Values{"csrf": {b.csrf("/lists")}}
	w := b.do("POST", "/lists/women/count", form)
	for _, want := range []string{"<dt>Would get a mail</dt><dd><strong>5</strong>", "<dt>Users</dt><dd>11</dd>", "<dt>Nothing to use in <bdi>Gender</bdi></dt><dd>1</dd>"} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("the count has no %s:\n%s", want, w.Body)
		}
	}
	if w := b.do("POST", "/lists/x/count", form); w.Code != 404 {
		t.Errorf("of no list: %d", w.Code)
	}
	g.Users.(*users).fail = &mail.Error{Class: mail.Throttled, Public: "the table is busy"}
	if w := b.do("POST", "/lists/women/count", form); w.Code != 503 || !strings.Contains(w.Body.String(), "The table is busy.") {
		t.Errorf("of a directory that fails: %d %s", w.Code, w.Body)
	}
}

// slow is a directory whose second page does not come.
type slow struct{ *users }

func (s slow) Scan(ctx context.Context, from directory.Checkpoint) (directory.Page, error) {
	if from == nil {
		p, err := s.users.Scan(ctx, directory.Checkpoint(" "))
		return p, err
	}
	<-ctx.Done()
	return directory.Page{}, ctx.Err()
}

func TestThePageOfListsShowsWhatItHasCountedWhenTheTimeIsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := withAudience(t)
		g.Users = slow{g.Users.(*users)}
		b := newBrowser(t, newPages(g).Handler())
		b.login("boss", "open sesame")
		form := url.Values{"csrf": {b.csrf("/lists")}}
		first := make(chan string)
		go func() { first <- b.do("POST", "/lists/women/count", form).Body.String() }()
		synctest.Wait()
		if w := b.do("POST", "/lists/promo/count", form); w.Code != 409 || !strings.Contains(w.Body.String(), "Somebody else is counting") {
			t.Errorf("at the same time: %d %s", w.Code, w.Body)
		}
		if got := <-first; !strings.Contains(got, "<strong>at least 2</strong> (the time was up after 3 users;") {
			t.Error(got)
		}
	})
}
