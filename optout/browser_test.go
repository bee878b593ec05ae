package optout_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/directory"
	"postern/internal/peer"
	"postern/mail"
	"postern/optout"
)

const reader = mail.Address("minji.kim@example.com")

func TestRule4BrowserThatOnlyLooksChangesNothing(t *testing.T) {
	p := newPage(t)
	ts := httptest.NewServer(p)
	defer ts.Close()
	sale := p.Keyring.Seal(0, optout.Claim{List: "sale", User: "minji@example.com", Message: claim.Message})
	for name, c := range map[string]struct{ path, want string }{
		"ask-ko":         {"/u/" + sale + "?lang=ko", "수신거부"},
		"preferences-ko": {"/p/" + sale + "?lang=ko", "받을 메일"},
		"invalid-ko":     {"/u/broken?lang=ko", "이 링크는"},
	} {
		dom, log := peer.Browse(t, name, peer.Phone, ts.URL+c.path)
		if !strings.Contains(dom, c.want) {
			t.Errorf("%s: %s", name, dom)
		}
		if strings.Contains(log, "Content Security Policy") {
			t.Errorf("%s: %s", name, log)
		}
	}
	if len(p.all)+len(p.chosen) != 0 {
		t.Errorf("left: %q %q", p.all, p.chosen)
	}
}

// TestScannerThatFollowsEveryLinkAndRunsScriptsTakesNobodyOff imitates what stands
// before many mailboxes: every link of the mail and of the pages behind it is opened
// in a browser, scripts running, and asked for by HEAD and GET in a burst.
func TestScannerThatFollowsEveryLinkAndRunsScriptsTakesNobodyOff(t *testing.T) {
	p := newPage(t)
	p.leave("left@example.com", "promo", time.Now().Add(-time.Hour))
	ts := httptest.NewServer(p)
	defer ts.Close()
	token := p.Keyring.Seal(0, optout.Claim{List: "promo", User: reader, Message: claim.Message})
	queue := []string{
		ts.URL + "/u/" + token, ts.URL + "/p/" + token, ts.URL + "/mail/u/" + token + ">",
		ts.URL + "/c/" + p.Keyring.SealConfirm(optout.Confirmation{Lists: []string{"promo"}, User: "left@example.com", At: time.Now()}),
	}
	b := peer.NewVisitor(t, 390)
	seen := map[string]bool{}
	for len(queue) > 0 {
		link := queue[0]
		queue = queue[1:]
		if seen[link] {
			continue
		}
		seen[link] = true
		b.Open(t, link)
		var links []string
		b.Eval(t, `[...document.querySelectorAll("[href],[action],[src]")].map(e => e.href || e.action || e.src)`, &links)
		queue = append(queue, links...)
		for _, method := range []string{"HEAD", "GET", "OPTIONS", "HEAD"} {
			r, err := http.NewRequest(method, link, nil)
			if err != nil {
				t.Fatal(err)
			}
			res, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
		}
	}
	if len(seen) < 10 {
		t.Errorf("only %d links were followed: %v", len(seen), seen)
	}
	if len(p.all)+len(p.chosen)+len(p.asked)+len(p.confirmed) != 0 {
		t.Errorf("left %q, chosen %q, asked %q, confirmed %q", p.all, p.chosen, p.asked, p.confirmed)
	}
}

// keyboard is a reader without a mouse.
type keyboard struct {
	*testing.T
	*peer.Browser
}

// tab goes on to what is called so, and holds that the reader can see where they are.
func (k keyboard) tab(name string) {
	k.Helper()
	var all []string
	for range 20 {
		k.Key(k.T, "Tab")
		var at struct {
			Name    string
			Visible bool
		}
		k.Eval(k.T, `(() => { const e = document.activeElement, s = getComputedStyle(e);
			return {name: (e.labels && e.labels.length ? e.labels[0] : e).innerText.trim(), visible: e.matches(":focus-visible") && s.outlineStyle == "solid" && parseFloat(s.outlineWidth) >= 2} })()`, &at)
		if at.Name == name {
			if !at.Visible {
				k.Errorf("it cannot be seen that %q has the focus", name)
			}
			return
		}
		all = append(all, at.Name)
	}
	k.Fatalf("the Tab key never comes to %q, but to %q", name, all)
}

// press presses a button, or follows a link, by a key.
func (k keyboard) press(name, key, title string) {
	k.Helper()
	k.tab(name)
	k.Follow(k.T, func() { k.Key(k.T, key) })
	k.at(title)
}

func (k keyboard) at(title string) {
	k.Helper()
	var got string
	if k.Eval(k.T, "document.title", &got); got != title {
		k.Fatalf("the page is %q, want %q", got, title)
	}
}

func TestWholePathByKeyboardWithAndWithoutScripts(t *testing.T) {
	for _, scripts := range []bool{true, false} {
		t.Run(fmt.Sprintf("scripts=%v", scripts), func(t *testing.T) {
			p := newPage(t)
			ts := httptest.NewServer(p)
			defer ts.Close()
			k := keyboard{t, peer.NewVisitor(t, 390)}
			k.Scripts(t, scripts)
			token := p.Keyring.Seal(0, optout.Claim{List: "sale", User: reader, Message: claim.Message})

			k.Open(t, ts.URL+"/mail/u/"+token+"?lang=ko")
			k.press("수신거부", "Enter", "수신거부가 완료되었습니다")
			k.press("다시 받기", "Space", "선택하신 내용을 저장했습니다")
			k.press("선택으로 돌아가기", "Enter", "받을 메일 선택")
			k.press("English", "Enter", "Choose what you receive")
			k.tab("News")
			k.Key(t, "Space")
			k.press("Save", "Enter", "Your choice is saved")
			k.press("Undo", "Enter", "Your choice is saved")
			k.press("Back to the choice", "Enter", "Choose what you receive")
			k.press("Unsubscribe from everything", "Space", "Your choice is saved")
			k.press("Back to the choice", "Enter", "Choose what you receive")

			p.people.mu.Lock()
			p.suppressed = directory.KindComplaint
			p.people.mu.Unlock()
			k.tab("여름 세일")
			k.Key(t, "Space")
			k.press("Save", "Enter", "Please confirm in your mail")
			k.Open(t, ts.URL+"/mail/c/"+p.Keyring.SealConfirm(optout.Confirmation{Lists: []string{"sale"}, User: reader, At: p.last.At})+"?lang=ko")
			k.at("메일을 다시 받으시겠습니까?")
			k.press("네, 받겠습니다", "Enter", "수신 신청이 완료되었습니다")
			k.press("받을 메일 선택하기", "Enter", "받을 메일 선택")

			want := []string{"+[sale] -[] all=false", "+[] -[news] all=false", "+[news] -[] all=false", "+[] -[] all=true"}
			for i := range want {
				want[i] = string(reader) + " " + want[i]
			}
			if fmt.Sprint(p.all) != fmt.Sprint([]string{string(reader) + " sale"}) || fmt.Sprint(p.chosen) != fmt.Sprint(want) ||
				fmt.Sprint(p.asked, p.confirmed) != fmt.Sprintf("[%s sale] [%[1]s sale]", reader) {
				t.Errorf("left %q\nchosen %q\nasked %q, confirmed %q", p.all, p.chosen, p.asked, p.confirmed)
			}
		})
	}
}

// answers are the pages in every state, each as it was answered.
func answers(t *testing.T, lang string) map[string]*httptest.ResponseRecorder {
	t.Helper()
	all := map[string]*httptest.ResponseRecorder{}
	q := "?lang=" + lang
	fresh := func() *page {
		p := newPage(t)
		p.consent["sale"] = time.Date(2026, 3, 1, 20, 0, 0, 0, time.UTC)
		p.leave(reader, "news", time.Now().Add(-time.Hour))
		return p
	}
	token := func(p *page) string {
		return p.Keyring.Seal(0, optout.Claim{List: "sale", User: reader, Message: claim.Message}) + q
	}
	confirm := func(p *page, at time.Time) string {
		return "/c/" + p.Keyring.SealConfirm(optout.Confirmation{Lists: []string{"promo", "sale"}, User: reader, At: at}) + q
	}
	p := fresh()
	all["ask"] = p.do("GET", "/u/"+token(p), "", "")
	all["done"] = p.do("POST", "/u/"+token(p), form, "from=page")
	p = fresh()
	all["preferences"] = p.do("GET", "/p/"+token(p), "", "")
	all["saved"] = p.do("POST", "/p/"+token(p), form, "do=save&page=preferences&was=sale&on=news")
	all["unchanged"] = p.do("POST", "/p/"+token(p), form, "do=save&page=preferences")
	all["nothing-saved"] = p.do("POST", "/p/"+token(p), form, "do=all&page=preferences")
	p.Lists = p.Lists[3:]
	all["no-list"] = p.do("GET", "/p/"+token(p), "", "")
	p = fresh()
	p.do("POST", "/p/"+token(p), form, "do=all&page=preferences")
	all["nothing"] = p.do("GET", "/p/"+token(p), "", "")
	p.Handler.Choose = func(context.Context, mail.Address, directory.Choice, directory.Evidence) error {
		return errors.New("full")
	}
	all["unsaved"] = p.do("POST", "/p/"+token(p), form, "do=save&page=preferences&on=news")
	for _, kind := range []directory.Kind{directory.KindComplaint, directory.KindBounce, directory.KindManual} {
		p = fresh()
		p.suppressed = kind
		all["preferences-"+string(kind)] = p.do("GET", "/p/"+token(p), "", "")
		all["saved-"+string(kind)] = p.do("POST", "/p/"+token(p), form, "do=save&page=preferences&on=news")
		all["saved-again-"+string(kind)] = p.do("POST", "/p/"+token(p), form, "do=save&page=preferences&on=news")
	}
	p = fresh()
	all["confirm"] = p.do("GET", confirm(p, time.Now()), "", "")
	all["confirmed"] = p.do("POST", confirm(p, time.Now()), form, "from=page")
	all["expired"] = p.do("GET", confirm(p, time.Now().Add(-30*24*time.Hour)), "", "")
	p.leave(reader, "sale", time.Now().Add(time.Hour))
	all["void"] = p.do("GET", confirm(p, time.Now()), "", "")
	all["invalid"] = p.do("GET", "/u/x"+q, "", "")
	all["unread"] = p.do("POST", "/u/"+token(p), form, strings.Repeat("x", 1<<20))
	all["missing"] = p.do("GET", "/"+q, "", "")
	all["method"] = p.do("PUT", "/u/"+token(p), "", "")
	p.fail = errors.New("full")
	all["later"] = p.do("POST", "/u/"+token(p), form, "from=page")
	for range 50 {
		all["limited"] = p.do("GET", "/u/x"+q, "", "")
	}
	return all
}

// shown serves an answer again as it was, to whoever looks.
func shown(all map[string]*httptest.ResponseRecorder) *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a := all[strings.TrimPrefix(r.URL.Path, "/")]
		if a == nil {
			http.NotFound(w, r)
			return
		}
		for k, v := range a.Header() {
			w.Header()[k] = v
		}
		w.WriteHeader(http.StatusOK) // a browser draws a page of its own for some errors
		_, _ = w.Write(a.Body.Bytes())
	}))
}

func TestEveryPageInEveryStateIsAccessible(t *testing.T) {
	axe, err := os.ReadFile(filepath.Join(peer.NodeModules(t), "axe-core", "axe.min.js"))
	if err != nil {
		t.Fatalf("this test needs axe-core: run `make peers` (%v)", err)
	}
	b := peer.NewVisitor(t, 390)
	for _, lang := range []string{"ko", "en"} {
		all := answers(t, lang)
		ts := shown(all)
		defer ts.Close()
		for name := range all {
			b.Width(t, 390)
			for _, scheme := range []string{map[string]string{"ko": "light", "en": "dark"}[lang]} {
				b.Media(t, "prefers-color-scheme", scheme)
				b.Open(t, ts.URL+"/"+url.PathEscape(name))
				var findings []struct {
					ID, Help string
					Nodes    []struct{ HTML, FailureSummary string }
				}
				b.Eval(t, string(axe)+`;undefined`, nil)
				b.Eval(t, `axe.run(document, {resultTypes: ["violations"]}).then(r => r.violations)`, &findings)
				for _, f := range findings {
					said, _ := json.Marshal(f)
					t.Errorf("%s, %s, %s: %s", lang, name, scheme, said)
				}
			}
			var high float64
			b.Eval(t, `document.documentElement.scrollHeight`, &high)
			b.Media(t, "prefers-color-scheme", "light")
			if err := os.WriteFile(filepath.Join(t.ArtifactDir(), lang+"-"+name+".png"), b.Picture(t, 390, high), 0o600); err != nil {
				t.Fatal(err)
			}
			// 320 CSS pixels are a small phone, and 640 at 200 % (WCAG 2.2, 1.4.10).
			b.Width(t, 320)
			var over []string
			b.Eval(t, `[...document.querySelectorAll("body *")].filter(e => e.getBoundingClientRect().right > 320.5).map(e => e.outerHTML.slice(0, 80))`, &over)
			if len(over) > 0 {
				t.Errorf("%s, %s: at 320 pixels %q stand beyond the edge", lang, name, over)
			}
			var small []string
			b.Eval(t, `[...document.querySelectorAll("button, label, footer a")].filter(e => e.getBoundingClientRect().height < 44).map(e => e.outerHTML.slice(0, 80))`, &small)
			if len(small) > 0 {
				t.Errorf("%s, %s: too small for a finger: %q", lang, name, small)
			}
		}
	}
}

// Readers who set colours of their own (Windows' contrast themes) see no background:
// a button needs an edge. Nothing on the pages moves.
func TestButtonsHaveAnEdgeInForcedColours(t *testing.T) {
	all := answers(t, "ko")
	ts := shown(all)
	defer ts.Close()
	b := peer.NewVisitor(t, 390)
	b.Media(t, "forced-colors", "active")
	for _, name := range []string{"ask", "preferences", "saved"} {
		b.Open(t, ts.URL+"/"+name)
		var said struct {
			Forced, Moves bool
			Bare          []string
		}
		b.Eval(t, `({forced: matchMedia("(forced-colors: active)").matches,
			moves: document.getAnimations().length > 0 || [...document.querySelectorAll("*")].some(e => getComputedStyle(e).transitionDuration != "0s"),
			bare: [...document.querySelectorAll("button")].filter(e => { const s = getComputedStyle(e); return s.borderStyle != "solid" || parseFloat(s.borderWidth) < 1 || s.borderColor == s.backgroundColor || s.borderColor.startsWith("rgba") && s.borderColor.endsWith(", 0)") }).map(e => e.innerText + " " + getComputedStyle(e).border + " on " + getComputedStyle(e).backgroundColor)})`, &said)
		if !said.Forced || said.Moves || len(said.Bare) > 0 {
			t.Errorf("%s: %+v", name, said)
		}
	}
}
