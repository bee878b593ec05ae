package optout_test

import (
	"crypto/sha256"
	"encoding/base64"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"postern/optout"
)

func TestBuiltInPagesAreWrittenAndReadBack(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "etc", "pages")
	written, kept, err := optout.WriteDefaults(dir)
	if err != nil || len(written) != len(optout.FileNames()) || len(kept) != 0 {
		t.Fatalf("%q %q %v", written, kept, err)
	}
	own := filepath.Join(dir, "style.css")
	if err := os.WriteFile(own, []byte("body { color: #000; }\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	written, kept, err = optout.WriteDefaults(dir)
	if err != nil || len(written) != 0 || !slices.Contains(kept, own) {
		t.Errorf("%q %q %v", written, kept, err)
	}
	if b, _ := os.ReadFile(own); string(b) != "body { color: #000; }\n" {
		t.Error("an edited file was written over")
	}
	if _, err := optout.Load(dir); err != nil {
		t.Error(err)
	}
}

func TestBothLanguagesSayTheSameThings(t *testing.T) {
	dir := t.TempDir()
	if _, _, err := optout.WriteDefaults(dir); err != nil {
		t.Fatal(err)
	}
	keys := map[string][]string{}
	for _, lang := range []string{"en", "ko"} {
		b, err := os.ReadFile(filepath.Join(dir, lang+".toml"))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			if key, text, ok := strings.Cut(line, " = "); ok {
				for _, word := range []string{"{who}", "{date}"} {
					if strings.Contains(text, word) {
						key += word
					}
				}
				keys[lang] = append(keys[lang], key)
			} else if strings.HasPrefix(line, "[") {
				keys[lang] = append(keys[lang], line)
			}
		}
	}
	if !slices.Equal(keys["en"], keys["ko"]) {
		t.Errorf("en %q\nko %q", keys["en"], keys["ko"])
	}
}

func TestEditedPagesAreShownWithTheirStyle(t *testing.T) {
	dir := t.TempDir()
	css := "h1 { color: #123456; } a > b::after { content: \"<\\\"'&\"; }\n"
	for name, text := range map[string]string{
		"style.css": css,
		"en.toml":   "\xef\xbb\xbf[ask]\r\ntitle = \"Leave <{list}>, {who}?\"\r\n",
		".swp":      "x", "ask.html~": "{{",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	p := newPage(t)
	var err error
	if p.Pages, err = optout.Load(dir); err != nil {
		t.Fatal(err)
	}
	w := p.do("GET", "/u/"+p.Keyring.Seal(0, claim), "", "")
	sum := sha256.Sum256([]byte(css))
	if !strings.Contains(w.Header().Get("Content-Security-Policy"), base64.StdEncoding.EncodeToString(sum[:])) || !strings.Contains(w.Body.String(), "<style>"+css+"</style>") {
		t.Errorf("%v\n%s", w.Header(), w.Body)
	}
	if !strings.Contains(w.Body.String(), "Leave &lt;Promotions &lt;b&gt;&gt;, M•••@example.com?") || !strings.Contains(w.Body.String(), "simply close this page") {
		t.Error(w.Body)
	}
}

func TestPagesThatCannotBeShownAreRefusedByFileAndLine(t *testing.T) {
	ask := `<p>{{.T "lead"}}</p>` + "\n" + `<form method="post"><input type="hidden" name="from" value="page"><button>{{.T "button"}}</button></form>`
	for name, c := range map[string]struct{ file, text, want string }{
		"unknown file":       {"aks.html", ask, "name of no page"},
		"unclosed action":    {"ask.html", "<p>\n\n{{.T \"lead\"</p>", "ask.html:3"},
		"unknown field":      {"ask.html", ask + "\n{{.Nmae}}", "ask.html:3"},
		"unknown text":       {"ask.html", "\n{{.T \"laed\"}}\n" + ask, "ask.html:2"},
		"unknown function":   {"done.html", "<p>{{shout .}}</p>", "done.html:1"},
		"script":             {"ask.html", ask + "\n\n<script src=x></script>", "ask.html:4"},
		"script, in capital": {"ask.html", ask + "\n<SCRIPT>", "ask.html:3"},
		"handler":            {"ask.html", "<p\n onclick=\"x\">\n" + ask, "ask.html:1"},
		"picture":            {"layout.html", "<html>\n<img src=https://shop.example/logo.png>", "layout.html:2"},
		"style attribute":    {"saved.html", "\n<p style=\"color:red\">", "saved.html:2"},
		"by itself":          {"ask.html", `<meta http-equiv="refresh" content="0">` + ask, "ask.html:1"},
		"other target":       {"ask.html", "<button formaction=\"https://x.example\">x</button>" + ask, "formaction"},
		"no button":          {"ask.html", `<p>{{.T "lead"}}</p><form method="post"><input type="hidden" name="from" value="page"></form>`, "nobody can press"},
		"button by GET":      {"ask.html", `<form><input type="hidden" name="from" value="page"><button>{{.T "button"}}</button></form>`, "nobody can press"},
		"empty button":       {"ask.html", `<form method="post"><input type="hidden" name="from" value="page"><button> </button></form>`, "nobody can press"},
		"no boxes":           {"preferences.html", ask, "nobody can press"},
		"no undo":            {"undo.html", `{{define "undo"}}{{end}}`, "nobody can press"},
		"undo gone":          {"undo.html", "", "undo"},
		"confirm lost":       {"confirm.html", "<p>x</p>", "nobody can press"},
		"two headings":       {"done.html", `<h1>x</h1>{{template "undo" .}}`, "2 <h1>"},
		"no language":        {"layout.html", "<html><title>{{.Title}}</title><style>{{.Style}}</style><main><h1>{{.Title}}</h1>{{template \"content\" .}}</main>", "lang"},
		"no style":           {"layout.html", "<html lang=\"{{.Lang}}\"><title>{{.Title}}</title><main><h1>{{.Title}}</h1>{{template \"content\" .}}</main>", "no <style>"},
		"import":             {"style.css", "p {}\n@import 'x.css';", "style.css:2"},
		"background":         {"style.css", "p {\n\nbackground: URL(https://x)\n}", "style.css:3"},
		"end of style":       {"style.css", "</style><script>", "style.css:1"},
		"no TOML":            {"en.toml", "[ask]\n\ntitle = Unsubscribe", "en.toml:3"},
		"unknown section":    {"en.toml", "[ask]\n[aks]\ntitle = \"x\"", "en.toml:2"},
		"unknown key":        {"ko.toml", "[ask]\nlead = \"x\"\ntilte = \"x\"", "ko.toml:3"},
		"unknown word":       {"ko.toml", "[ask]\nlead = \"{name}\"", "ko.toml:2"},
		"no text":            {"ko.toml", "[ask]\nbutton = \" \"", "ko.toml:2"},
		"number":             {"ko.toml", "[ask]\nbutton = 7", "ko.toml"},
		"text on top":        {"ko.toml", "button = \"x\"", "ko.toml"},
		"not UTF-8":          {"ask.html", "\xbc\xf6\xbd\xc5", "UTF-8"},
		"control":            {"ask.html", "a\x00b", "control"},
		"large":              {"ask.html", strings.Repeat("a", 70<<10), "64 KB"},
		"endless template":   {"ask.html", `{{template "ask.html" .}}`, "ask.html"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, c.file), []byte(c.text), 0o644); err != nil {
				t.Fatal(err)
			}
			_, err := optout.Load(dir)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "optout.pages: "+dir+string(filepath.Separator)) {
				t.Errorf("err = %v, want %q", err, c.want)
			}
			for line := range strings.Lines(err.Error()) {
				if !strings.HasPrefix(line, "optout.pages: "+dir) || strings.Contains(line, "template:") || strings.Count(err.Error(), "\n") > 1 {
					t.Errorf("a problem does not begin with its file, or there are many:\n%v", err)
				}
			}
		})
	}
}

func TestEveryProblemOfTheFolderIsNamed(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"x.html": "", "ko.toml": "[ask]\na = \"\"\nb = \"\"", "style.css": "@import"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "ask.html"), 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := optout.Load(dir)
	for _, want := range []string{"x.html: ", "ko.toml:2: ", "ko.toml:3: ", "style.css:1: ", "ask.html: it is not a file"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in:\n%v", want, err)
		}
	}
	if _, err := optout.Load(filepath.Join(dir, "none")); err == nil || !strings.Contains(err.Error(), "postern optout pages") {
		t.Error(err)
	}
}
