package optout_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"postern/directory"
	"postern/mail"
	"postern/optout"
)

// formOf reads the form with that "do" as a browser would send it.
func formOf(t testing.TB, body, do string) url.Values {
	t.Helper()
	doc, err := html.Parse(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for n := range doc.Descendants() {
		if n.Type != html.ElementNode || n.Data != "form" {
			continue
		}
		v := url.Values{}
		for d := range n.Descendants() {
			a := map[string]string{}
			for _, at := range d.Attr {
				a[at.Key] = at.Val
			}
			_, checked := a["checked"]
			if d.Type == html.ElementNode && d.Data == "input" && (a["type"] != "checkbox" || checked) {
				v.Add(a["name"], a["value"])
			}
		}
		if v.Get("do") == do {
			return v
		}
	}
	t.Fatalf("there is no form %q:\n%s", do, body)
	return nil
}

// untick takes a list out of the boxes that are ticked.
func untick(v url.Values, list string) {
	v["on"] = slices.DeleteFunc(v["on"], func(s string) bool { return s == list })
}

func (p *page) prefs(user mail.Address) string {
	return "/p/" + p.Keyring.Seal(0, optout.Claim{List: "promo", User: user, Message: claim.Message}) + "?lang=en"
}

func TestPreferencesShowEveryListedListAndTheLinksOwn(t *testing.T) {
	p := newPage(t)
	p.consent["sale"] = time.Date(2026, 3, 1, 20, 0, 0, 0, time.UTC)
	p.leave("a@example.com", "news", time.Now())
	body := p.do("GET", p.prefs("a@example.com"), "", "").Body.String()
	v := formOf(t, body, "save")
	if want := (url.Values{"do": {"save"}, "page": {"preferences"}, "was": {"promo", "sale"}, "on": {"promo", "sale"}}); !reflect.DeepEqual(v, want) {
		t.Errorf("the form has %v, want %v", v, want)
	}
	for _, want := range []string{"Promotions &lt;b&gt;", "여름 세일", "News", "Advertising.", "on 2 March 2026", "do not receive this", "•••@example.com"} {
		if !strings.Contains(body, want) {
			t.Errorf("%q is missing:\n%s", want, body)
		}
	}
	if strings.Contains(body, "Staff") {
		t.Error("a list that is not listed is shown")
	}
	staff := "/p/" + p.Keyring.Seal(0, optout.Claim{List: "staff", User: "a@example.com"})
	if body := p.do("GET", staff+"?lang=ko", "", "").Body.String(); !strings.Contains(body, "Staff") || !strings.Contains(body, "2026년 3월 2일") {
		t.Error(body)
	}
	if len(p.all)+len(p.chosen) != 0 {
		t.Error("looking changed something")
	}
}

func TestPreferencesChangeWhatWasChangedAndNothingElse(t *testing.T) {
	p := newPage(t)
	path := p.prefs("a@example.com")
	v := formOf(t, p.do("GET", path, "", "").Body.String(), "save")
	untick(v, "promo")
	w := p.do("POST", path, form, v.Encode())
	if w.Code != 200 || !slices.Equal(p.chosen, []string{"a@example.com +[] -[promo] all=false"}) {
		t.Fatalf("%d %q", w.Code, p.chosen)
	}
	body := w.Body.String()
	if !strings.Contains(body, "<title>Your choice is saved</title>") || !strings.Contains(body, "<b>Promotions &lt;b&gt;</b>: you do not receive it") || !strings.Contains(body, "<b>News</b>: you receive it") {
		t.Error(body)
	}
	if !strings.Contains(p.last.Wording, "pressed: Save\n") || !strings.Contains(p.last.Wording, "[x] Promotions <b>") || p.last.How != optout.HowPage || p.last.Message != claim.Message {
		t.Errorf("%+v", p.last)
	}

	// The page has an undo, and the undo another.
	for _, want := range []string{"a@example.com +[promo] -[] all=false", "a@example.com +[] -[promo] all=false"} {
		w = p.do("POST", path, form, formOf(t, w.Body.String(), "save").Encode())
		if got := p.chosen[len(p.chosen)-1]; w.Code != 200 || got != want {
			t.Errorf("%d %q, want %q", w.Code, got, want)
		}
		if !strings.Contains(p.last.Wording, "pressed: Undo\nYour choice is saved") {
			t.Errorf("%+v", p.last)
		}
	}
}

func TestPageThatLayOpenUndoesNothingOfWhatCameLater(t *testing.T) {
	p := newPage(t)
	path := p.prefs("a@example.com")
	v := formOf(t, p.do("GET", path, "", "").Body.String(), "save")
	p.do("POST", strings.Replace(path, "/p/", "/u/", 1), form, "List-Unsubscribe=One-Click") // leaves promo meanwhile
	untick(v, "news")
	p.do("POST", path, form, v.Encode())
	if !slices.Equal(p.chosen, []string{"a@example.com +[] -[news] all=false"}) {
		t.Errorf("chosen: %q", p.chosen)
	}
	if _, left := p.gone["a@example.com"]["promo"]; !left {
		t.Error("the one-click was undone by a page from before it")
	}
}

func TestNothingAnyMoreAndBack(t *testing.T) {
	p := newPage(t)
	path := p.prefs("a@example.com")
	w := p.do("POST", path, form, formOf(t, p.do("GET", path, "", "").Body.String(), "all").Encode())
	body := w.Body.String()
	if w.Code != 200 || p.chosen[0] != "a@example.com +[] -[] all=true" || !strings.Contains(body, "No list mail at all") || strings.Contains(body, "you receive it") {
		t.Fatalf("%d %q %s", w.Code, p.chosen, body)
	}
	if !strings.Contains(p.last.Wording, "pressed: Unsubscribe from everything\n") {
		t.Errorf("%+v", p.last)
	}
	if body := p.do("GET", path, "", "").Body.String(); !strings.Contains(body, "You receive nothing at present") {
		t.Error(body)
	}
	w = p.do("POST", path, form, formOf(t, body, "save").Encode())
	if w.Code != 200 || p.chosen[1] != "a@example.com +[promo sale news] -[] all=false" || strings.Contains(w.Body.String(), "do not receive") {
		t.Errorf("%d %q %s", w.Code, p.chosen, w.Body)
	}
}

func TestComingBackFromTheUnsubscribePage(t *testing.T) {
	p := newPage(t)
	token := p.Keyring.Seal(0, claim)
	w := p.do("POST", "/mail/u/"+token+"?lang=en", form, "from=page")
	if !strings.Contains(p.last.Wording, "[en] pressed: Unsubscribe\nUnsubscribe from Promotions <b>?\nPress the button") {
		t.Errorf("%+v", p.last)
	}
	if !strings.Contains(w.Body.String(), `action="../p/`+token+`?lang=en"`) {
		t.Error(w.Body)
	}
	w = p.do("POST", "/mail/p/"+token+"?lang=en", form, formOf(t, w.Body.String(), "save").Encode())
	if w.Code != 200 || !slices.Equal(p.chosen, []string{string(claim.User) + " +[promo] -[] all=false"}) {
		t.Errorf("%d %q", w.Code, p.chosen)
	}
	if !strings.Contains(p.last.Wording, "pressed: Subscribe again\nYou are unsubscribed") {
		t.Errorf("%+v", p.last)
	}
	// Nobody can come back to a list that is gone.
	gone := p.do("POST", "/u/"+p.Keyring.Seal(0, optout.Claim{List: "old", User: claim.User}), form, "from=page").Body.String()
	if strings.Contains(gone, "Subscribe again") {
		t.Error(gone)
	}
}

func TestOneClickBodyAtThePreferencesLeavesTheLinksList(t *testing.T) {
	multi, multiText := multipartBody(t)
	for name, c := range map[string]struct{ kind, body, how string }{
		"urlencoded":         {form, "List-Unsubscribe=One-Click", optout.HowOneClick},
		"multipart":          {multi, multiText, optout.HowOneClick},
		"empty":              {"", "", optout.HowOneClick},
		"unreadable":         {form, "%zz=&do=save", optout.HowOneClick},
		"other do":           {form, "do=dance", optout.HowOneClick},
		"an older page's":    {form, "from=page", optout.HowPage},
		"do in another kind": {"text/plain", "do=save", optout.HowOneClick},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPage(t)
			w := p.do("POST", p.prefs("a@example.com"), c.kind, c.body)
			if w.Code != 200 || !slices.Equal(p.all, []string{"a@example.com promo"}) || len(p.chosen) != 0 || p.last.How != c.how {
				t.Errorf("%d %q %q %+v", w.Code, p.all, p.chosen, p.last)
			}
		})
	}
}

func TestFormCannotJoinWhatIsNotOnThePage(t *testing.T) {
	p := newPage(t)
	w := p.do("POST", p.prefs("a@example.com"), form, "do=save&on=staff&on=*&on=old&was=staff&on=%00&lang=xx&page=nonsense&on=")
	if w.Code != 200 || len(p.chosen)+len(p.all) != 0 || !strings.Contains(w.Body.String(), "You changed nothing") {
		t.Errorf("%d %q %s", w.Code, p.chosen, w.Body)
	}
}

func TestAfterAComplaintComingBackNeedsAConfirmation(t *testing.T) {
	p := newPage(t)
	p.suppressed = directory.KindComplaint
	path := p.prefs("a@example.com")
	p.leave("a@example.com", "promo", time.Now().Add(-time.Hour))
	body := p.do("GET", path, "", "").Body.String()
	if !strings.Contains(body, "reported as spam") {
		t.Error(body)
	}
	v := formOf(t, body, "save")
	if len(v["on"])+len(v["was"]) != 0 {
		t.Errorf("something is ticked, and nothing is received: %v", v)
	}
	v.Add("on", "promo")
	v.Add("was", "news") // a page from before the complaint
	body = p.do("POST", path, form, v.Encode()).Body.String()
	if !slices.Equal(p.chosen, []string{"a@example.com +[] -[news] all=false"}) || !slices.Equal(p.asked, []string{"a@example.com promo"}) {
		t.Errorf("chosen %q, asked %q", p.chosen, p.asked)
	}
	if !strings.Contains(body, "Please confirm in your mail") || !strings.Contains(body, "Open the link in it") || !strings.Contains(body, "<b>Promotions &lt;b&gt;</b>: you do not") {
		t.Error(body)
	}
	at := p.last.At
	body = p.do("POST", path, form, v.Encode()).Body.String()
	if len(p.asked) != 1 || !strings.Contains(body, "at most one is sent a day") {
		t.Errorf("asked %q: %s", p.asked, body)
	}

	confirm := "/c/" + p.Keyring.SealConfirm(optout.Confirmation{Lists: []string{"promo"}, User: "a@example.com", At: at}) + "?lang=en"
	for range 2 {
		if w := p.do("GET", confirm, "", ""); w.Code != 200 || !strings.Contains(w.Body.String(), "Yes, subscribe me") || len(p.confirmed) != 0 {
			t.Fatalf("%d %s, confirmed %q", w.Code, w.Body, p.confirmed)
		}
	}
	w := p.do("POST", confirm, form, "from=page")
	if w.Code != 200 || !slices.Equal(p.confirmed, []string{"a@example.com promo"}) || !strings.Contains(w.Body.String(), "You are subscribed") {
		t.Errorf("%d %q %s", w.Code, p.confirmed, w.Body)
	}
	if p.last.How != optout.HowConfirm || !strings.Contains(p.last.Wording, "pressed: Yes, subscribe me\nReceive our mails again?") || p.last.Message != "" {
		t.Errorf("%+v", p.last)
	}
	// The page leads to the preferences, by a token of its own.
	link := regexp.MustCompile(`href="\.\.(/p/[^"]+)"`).FindStringSubmatch(w.Body.String())
	if link == nil {
		t.Fatal(w.Body)
	}
	if w := p.do("GET", link[1], "", ""); w.Code != 200 || strings.Contains(w.Body.String(), "reported") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestExpiredOrPointlessConfirmationLeadsToThePreferences(t *testing.T) {
	p := newPage(t)
	for name, c := range map[string]struct {
		lists []string
		at    time.Time
		want  string
	}{
		"expired":   {[]string{"promo"}, time.Now().Add(-optout.ConfirmWithin - time.Minute), "too old"},
		"list gone": {[]string{"old"}, time.Now(), "no longer counts"},
	} {
		path := "/c/" + p.Keyring.SealConfirm(optout.Confirmation{Lists: c.lists, User: "a@example.com", At: c.at}) + "?lang=en"
		for _, method := range []string{"GET", "POST"} {
			w := p.do(method, path, "", "")
			if w.Code != 410 || !strings.Contains(w.Body.String(), c.want) || !strings.Contains(w.Body.String(), `href="../p/`) {
				t.Errorf("%s, %s: %d %s", name, method, w.Code, w.Body)
			}
		}
	}
	if len(p.confirmed) != 0 {
		t.Errorf("confirmed %q", p.confirmed)
	}
}

func TestSuppressedAddressIsToldAndItsChoiceStored(t *testing.T) {
	for kind, want := range map[directory.Kind]string{
		directory.KindBounce: "did not reach this address", directory.KindSoftBounces: "did not reach this address",
		directory.KindManual: "stopped all mail", directory.KindImport: "stopped all mail",
	} {
		p := newPage(t)
		p.suppressed = kind
		path := p.prefs("a@example.com")
		body := p.do("GET", path, "", "").Body.String()
		v := formOf(t, body, "save")
		untick(v, "news")
		after := p.do("POST", path, form, v.Encode()).Body.String()
		if !strings.Contains(after, "<b>News</b>: not chosen") {
			t.Error(after)
		}
		if !strings.Contains(body, want) || !strings.Contains(after, want) || len(p.chosen) != 1 || len(p.asked) != 0 {
			t.Errorf("%s: %q\n%s\n%s", kind, p.chosen, body, after)
		}
	}
}

func TestPreferencesThatCannotBeStoredAreShownAgain(t *testing.T) {
	p := newPage(t)
	path := p.prefs("a@example.com")
	v := formOf(t, p.do("GET", path, "", "").Body.String(), "save")
	untick(v, "news")
	choose := p.Handler.Choose
	p.Handler.Choose = func(context.Context, mail.Address, directory.Choice, directory.Evidence) error {
		return errors.New("no space left on device")
	}
	w := p.do("POST", path, form, v.Encode())
	body := w.Body.String()
	if w.Code != 503 || w.Header().Get("Retry-After") == "" || !strings.Contains(body, "could not be saved in full") || strings.Contains(body, "space") {
		t.Fatalf("%d %s", w.Code, body)
	}
	if again := formOf(t, body, "save"); !reflect.DeepEqual(again, v) {
		t.Errorf("the page has %v, and %v was chosen", again, v)
	}
	p.Handler.Choose = choose
	if w := p.do("POST", path, form, formOf(t, body, "save").Encode()); w.Code != 200 || !slices.Equal(p.chosen, []string{"a@example.com +[] -[news] all=false"}) {
		t.Errorf("%d %q", w.Code, p.chosen)
	}
	// Where nothing can be read the page has no button: a single one would unsubscribe.
	p.fail = errors.New("closed")
	for _, method := range []string{"GET", "POST"} {
		if w := p.do(method, path, form, v.Encode()); w.Code != 503 || strings.Contains(w.Body.String(), "<form") {
			t.Errorf("%s: %d %s", method, w.Code, w.Body)
		}
	}
	confirm := "/c/" + p.Keyring.SealConfirm(optout.Confirmation{Lists: []string{"promo"}, User: "a@example.com", At: time.Now()})
	if w := p.do("POST", confirm, "", ""); w.Code != 503 {
		t.Errorf("%d", w.Code)
	}
}

func TestDirectoryThatHangsHoldsNoPageUp(t *testing.T) {
	p := newPage(t)
	var within time.Duration
	state := p.Handler.State
	p.Handler.State = func(ctx context.Context, user mail.Address, lists []string) (optout.State, error) {
		at, _ := ctx.Deadline()
		within = time.Until(at)
		return state(ctx, user, lists)
	}
	if w := p.do("GET", p.prefs("a@example.com"), "", ""); w.Code != 200 || within <= 0 || within > 5*time.Second {
		t.Errorf("%d, the directory has %v", w.Code, within)
	}
}

func TestWordingIsBounded(t *testing.T) {
	p := newPage(t)
	for i := range 100 {
		p.Lists = append(p.Lists, optout.ListInfo{ID: "l" + strings.Repeat("x", i), Name: strings.Repeat("이름", 20), Listed: true})
	}
	p.do("POST", p.prefs("a@example.com"), form, "do=all&page=preferences")
	if s := p.last.Wording; len(s) > 2000 || !strings.HasSuffix(s, "…") || !strings.HasPrefix(s, "[en] pressed: Unsubscribe from everything\n") {
		t.Errorf("%d octets: %s", len(s), s)
	}
}

// FuzzForm sends whatever as a form: the answer is 200, and what changes is on the
// page and was asked for.
func FuzzForm(f *testing.F) {
	for _, s := range []string{"do=save&on=promo", "do=save&was=promo", "do=all", "do=save&was=promo&was=sale&on=sale&on=news&page=saved", "do=save&on=staff&on=*", "List-Unsubscribe=One-Click", "do=save&page=done", "", "%zz", "do=save;on=promo"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		p := newPage(t)
		var got directory.Choice
		var chose bool
		p.Handler.Choose = func(_ context.Context, _ mail.Address, c directory.Choice, ev directory.Evidence) error {
			got, chose = c, true
			if len(ev.Wording) > 2000 {
				t.Errorf("a wording of %d octets", len(ev.Wording))
			}
			return nil
		}
		w := p.do("POST", p.prefs("a@example.com"), form, body)
		if w.Code != 200 {
			t.Fatalf("%d", w.Code)
		}
		v, err := url.ParseQuery(body)
		do := v.Get("do")
		if ours := err == nil && (do == "save" || do == "all"); !ours && len(p.all) != 1 || ours && len(p.all) != 0 || !ours && chose {
			t.Fatalf("%q: left %q, chose %v", body, p.all, chose)
		}
		for _, id := range got.Join {
			if !slices.Contains([]string{"promo", "sale", "news"}, id) || !slices.Contains(v["on"], id) || slices.Contains(v["was"], id) {
				t.Errorf("%q joins %q", body, id)
			}
		}
		for _, id := range got.Leave {
			if !slices.Contains(v["was"], id) || slices.Contains(v["on"], id) {
				t.Errorf("%q leaves %q", body, id)
			}
		}
		if got.All != (chose && do == "all") {
			t.Errorf("%q: all is %v", body, got.All)
		}
	})
}

func BenchmarkPreferences(b *testing.B) {
	p := newPage(b)
	r := httptest.NewRequest("GET", p.prefs("a@example.com"), nil)
	for b.Loop() {
		p.ServeHTTP(httptest.NewRecorder(), r)
	}
}
