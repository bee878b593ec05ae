package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	postern "postern/cmd/postern"
	"postern/mail"
)

// template writes a template into the folder of templates.
func (g *gateway) template(id, html, text string) {
	g.t.Helper()
	for name, content := range map[string]string{"template.html": html, "template.txt": text} {
		if content != "" {
			g.put(filepath.Join("templates", id, name), content)
		}
	}
}

// put writes a file and the folders above it.
func (g *gateway) put(path, content string) {
	g.t.Helper()
	if err := os.MkdirAll(filepath.Join(g.dir, filepath.Dir(path)), 0o700); err != nil {
		g.t.Fatal(err)
	}
	g.write(path, content)
}

const gif = "GIF89a\x01\x00\x01\x00\x80\x00\x00\xff\x00\x00\x00\x00\x00!\xf9\x04\x00\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"

// TestATemplateIsPinned: what was accepted keeps the template of its acceptance,
// pictures included, whatever becomes of the files and of the gateway.
func TestATemplateIsPinned(t *testing.T) {
	g := newGateway(t, list("held", "release = \"sender\"\ntemplate = \"winter\"")+maildirLane)
	g.template("winter", `<h1>first {{Name}}</h1>{{Body}}<img src="{{image:봄.gif}}">{{Unsubscribe}}`, "")
	g.put("templates/winter/images/봄.gif", gif)
	g.csv("a@example.net,김,Female,true", "b@example.net,Lee,Male,true")
	g.serve()
	g.mustSubmit("held@lists.example.com", mailOf("1", "held@lists.example.com", "Hi", "words"))
	held := g.settled("held")[0]
	g.template("winter", "<h1>second</h1>{{Body}}{{Unsubscribe}}", "")
	if err := os.RemoveAll(filepath.Join(g.dir, "templates", "winter", "images")); err != nil {
		t.Fatal(err)
	}
	g.kill()
	if err := os.RemoveAll(filepath.Join(g.dir, "templates", "winter")); err != nil {
		t.Fatal(err)
	}
	g.serve()
	g.run("queue", "resume", held.ID)
	g.settled("done")
	for to, p := range g.reached("a@example.net", "b@example.net") {
		if !strings.Contains(p.HTML, "<h1>first ") || !strings.Contains(p.HTML, "<p>words</p>") || !strings.Contains(p.Text, "words") || !strings.Contains(p.HTML, `<img src="cid:`) {
			t.Errorf("%s got %s\n%s", to, p.HTML, p.Text)
		}
	}
	if raw := string(g.outbox()[0]); strings.Count(raw, "\r\nContent-ID:") != 1 || !strings.Contains(raw, "R0lGODlhAQAB") {
		t.Errorf("the picture is missing:\n%s", raw)
	}
	err := g.submit("held@lists.example.com", mailOf("2", "held@lists.example.com", "Hi", "words"))
	if err == nil || !strings.Contains(err.Error(), `there is no template "winter"`) {
		t.Errorf("to a list whose template is gone: %v", err)
	}
	g.stop()
}

// TestATemplateIsKeptForItsTTL, and no longer; with none, every mail asks.
func TestATemplateIsKeptForItsTTL(t *testing.T) {
	for cache, want := range map[string]string{"10m": "first", "0s": "second"} {
		g := newGateway(t, maildirLane+"[templates]\ncache = \""+cache+"\"\n")
		g.template("winter", "first {{Body}}{{Unsubscribe}}", "")
		g.csv("a@example.net,Kim,Female,true")
		g.serve()
		g.mustSubmit("promo+winter@lists.example.com", mailOf("1", "x@example.com", "Hi", "words"))
		g.template("winter", "second {{Body}}{{Unsubscribe}}", "")
		g.settled("done")
		g.empty()
		g.mustSubmit("promo+winter@lists.example.com", mailOf("2", "x@example.com", "Hi", "words"))
		g.settled("done")
		if p := g.reached("a@example.net")["a@example.net"]; !strings.HasPrefix(p.HTML, want+" ") {
			t.Errorf("kept for %s: %s", cache, p.HTML)
		}
		g.stop()
	}
}

// TestATemplateThatCannotBeUsedIsRefused in words, at RCPT or, where the mail must be
// known, at DATA.
func TestATemplateThatCannotBeUsedIsRefused(t *testing.T) {
	g := newGateway(t, maildirLane)
	g.template("empty", " \n", "")
	g.template("latin", "{{Body}} caf\xe9", "")
	g.template("typo", "{{Body}} {{Nmae}}", "")
	g.template("nobody", "{{Subject}}", "")
	g.csv("a@example.net,Kim,Female,true")
	g.serve()
	for id, want := range map[string]string{
		"empty":  "550: the template empty cannot be used: it has no content",
		"latin":  "template.html is not UTF-8",
		"typo":   "550: in the template typo: {{Nmae}} is not a field; did you mean {{Name}}?",
		"nobody": "the template nobody has no {{Body}}, so what you wrote would be lost",
	} {
		err := g.submit("promo+"+id+"@lists.example.com", hello)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", id, err)
		}
	}
	g.stop()
}

// TestASignedMailOpensAListOnceHoweverItIsAddressed: who has a signed mail cannot
// bring it again in another template.
func TestASignedMailOpensAListOnceHoweverItIsAddressed(t *testing.T) {
	t.Chdir(t.TempDir())
	writeKey(t, "dkim.pem")
	for _, id := range []string{"winter", "summer"} {
		if err := os.MkdirAll("templates/"+id, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile("templates/"+id+"/template.html", []byte("{{Body}}"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg, err := postern.ParseConfig(working + "[[smtp.listener]]\naddress = \"127.0.0.1:0\"\n[[list]]\nid = \"promo\"\naddress = \"promo@lists.example.com\"\n[[dkim]]\ndomain = \"example.com\"\nkey_file = \"dkim.pem\"\n")
	if err != nil {
		t.Fatal(err)
	}
	key, record := newKey(t)
	desk, err := postern.OpenDesk(cfg, keysInDNS{"s._domainkey.example.com": record}.lookup)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := desk.Close(); err != nil {
			t.Error(err)
		}
	}()
	text := signed(t, key, "example.com", strings.Replace(today(), "To: promo@lists.example.com", "To: promo@lists.example.com, promo+winter@lists.example.com, promo+summer@lists.example.com", 1))
	var ids []mail.ID
	for _, to := range [][]mail.Address{
		{"promo+winter@lists.example.com", "promo@lists.example.com"}, {"promo+winter@lists.example.com"}, {"promo@lists.example.com"},
		{"promo+summer@lists.example.com"}, {"promo+summer@lists.example.com", "promo+winter@lists.example.com", "PROMO@lists.example.com"},
	} {
		for _, to := range to {
			if err := desk.Check(t.Context(), cloud(), "marketer@example.com", to); err != nil {
				t.Fatalf("RCPT %s: %v", to, err)
			}
		}
		id, err := desk.Accept(t.Context(), cloud(), mail.Envelope{From: "marketer@example.com", Recipients: to}, strings.NewReader(trace+text))
		if err != nil {
			t.Fatalf("to %s: %v", to, err)
		}
		ids = append(ids, id)
	}
	kept, err := desk.Spool.Messages("", 10)
	if err != nil || len(kept) != 1 || kept[0].List.Template != "winter" {
		t.Fatalf("%d messages are in the spool, %v", len(kept), err)
	}
	for _, id := range ids {
		if id != kept[0].ID {
			t.Errorf("answered with %s, want %s", id, kept[0].ID)
		}
	}
}

// TestAdvertisingInATemplate holds rules 59 and 60: the label comes first, and who
// advertises stands within the template's page, whether the template shows the link
// or not; other lists have no footer where it does.
func TestAdvertisingInATemplate(t *testing.T) {
	g := newGateway(t, list("ads", identity)+maildirLane)
	page := "<html><body><h1>머리</h1>{{Body}}<p>끝</p>%</body></html>"
	g.template("bare", strings.Replace(page, "%", "", 1), "머리\n{{Body}}\n끝")
	g.template("linked", strings.Replace(page, "%", `<a href="{{Unsubscribe}}">나가기</a>`, 1), "머리\n{{Body}}\n끝 {{Unsubscribe}}")
	g.put("templates/linked/subject.txt", "[가게] {{Subject}}")
	g.csv("a@example.net,김,Female,true")
	g.serve()
	for _, id := range []string{"bare", "linked"} {
		g.empty()
		g.mustSubmit("ads+"+id+"@lists.example.com", mailOf(id, "ads@lists.example.com", "Sale {{Name}}", "words"))
		g.settled("done")
		p := g.reached("a@example.net")["a@example.net"]
		if want := map[string]string{"bare": "(광고) Sale 김", "linked": "(광고) [가게] Sale 김"}[id]; p.Subject != want {
			t.Errorf("%s: Subject %q, want %q", id, p.Subject, want)
		}
		for kind, text := range map[string]string{"text": p.Text, "HTML": p.HTML} {
			before, after, found := strings.Cut(text, "끝")
			if !found || !strings.Contains(before, "words") || !strings.Contains(after, "서울특별시 중구 세종대로 110") || !strings.Contains(after, p.link(t)) || !strings.Contains(after, "수신") {
				t.Errorf("%s: the %s is\n%s", id, kind, text)
			}
		}
		if !strings.HasSuffix(strings.TrimSpace(p.HTML), "</body></html>") || strings.Count(p.HTML, "</body>") != 1 {
			t.Errorf("%s: the footer stands outside of the page:\n%s", id, p.HTML)
		}
		g.empty()
		g.mustSubmit("promo+"+id+"@lists.example.com", mailOf("p"+id, "promo@lists.example.com", "Sale {{Name}}", "words"))
		g.settled("done")
		p = g.reached("a@example.net")["a@example.net"]
		for kind, text := range map[string]string{"text": p.Text, "HTML": p.HTML} {
			if n, want := strings.Count(text, "받지 않으"), map[string]int{"bare": 1, "linked": 0}[id]; n != want || !strings.Contains(text, p.link(t)) {
				t.Errorf("%s: the %s has %d footers, want %d:\n%s", id, kind, n, want, text)
			}
		}
	}
	g.stop()
}
