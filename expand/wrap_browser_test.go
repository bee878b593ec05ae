package expand_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/expand"
	"postern/internal/peer"
)

const cardTemplate = `<!doctype html><html lang="ko"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><style>
body{margin:0}p{line-height:1.7}a{color:#c0392b}.card{max-width:600px;margin:0 auto;padding:16px;background:#eee}.foot p{font-size:12px;color:#777}</style></head>
<body><div class="card"><h1 id="top">{{Subject}}</h1>{{Body}}<p id="own">템플릿의 문단 <a id="link" href="https://shop.example/">가게</a></p><ul><li id="item">하나</ul>
<div class="foot" id="foot"><p id="small">온도 <a id="leave" href="{{Unsubscribe}}">수신거부</a></p></div></div></body></html>`

// looksOfTemplate are what a browser makes of what is the template's own.
const looksOfTemplate = `JSON.stringify(['top','own','link','item','foot','small','leave'].map(id => {
	const e = document.getElementById(id), s = getComputedStyle(e), r = e.getBoundingClientRect();
	return [id, e.parentNode.tagName, s.margin, s.padding, s.color, s.fontSize, s.fontFamily, s.lineHeight, s.textDecorationLine, s.backgroundColor, s.textAlign, Math.round(r.left), Math.round(r.width)].join(' ')
})) + ' ' + document.documentElement.scrollWidth`

// TestNoMailChangesTheLookOfATemplate: in Chromium, on a telephone and on a screen,
// what is the template's own looks beside every mail of the collection as it does
// beside a short text, and no mail makes the page wider.
func TestNoMailChangesTheLookOfATemplate(t *testing.T) {
	tpl := &expand.Template{ID: "card", HTML: cardTemplate}
	path := filepath.Join(t.TempDir(), "page.html")
	mails := map[string]string{"a wide photograph": htmlMail(`<p><img width=1200 height=800 style='width:12.5in;height:8.33in' src="cid:a@b"><img width="900" src="cid:c@d"></p>`),
		"pictures":               htmlMail(`<img width=100 height=50><img width="600" style="width:100%;max-width:600px;height:auto"><img style="width: 560px; max-width: 900px; height:300px" src=x><img width=600 style=';' src=x><img style="width:9in" width=864>`),
		"a long address":         textMail("https://shop.example/" + strings.Repeat("a", 300)),
		"a sheet for everything": htmlMail(`<head><style>*{margin:9px!important} body,html{color:red} p,a,h1,li,ul,div{color:red!important}</style></head><body bgcolor=red text=blue link=red>x</body>`)}
	for _, m := range originals(t) {
		raw, err := os.ReadFile(m)
		if err != nil {
			t.Fatal(err)
		}
		mails[filepath.Base(m)] = strings.ReplaceAll(string(raw), "\r\n", "\n")
	}
	for _, width := range []int{390, 800} {
		b := peer.NewBrowser(t, width)
		look := func(raw string) (s string) {
			r, _ := wrapped(t, tpl, raw)
			if err := os.WriteFile(path, []byte(r.html), 0o600); err != nil {
				t.Fatal(err)
			}
			b.Open(t, "file://"+path)
			b.Eval(t, looksOfTemplate, &s)
			return s
		}
		plain := look(textMail("words"))
		for name, raw := range mails {
			if width == 390 && (name == "phpmailer-euckr.eml" || name == "outlook-new-related.eml") { // they have tables of 600 and 420 pixels
				continue
			}
			if got := look(raw); got != plain {
				t.Errorf("%s at %d pixels:\n got %s\nwant %s", name, width, got, plain)
			}
		}
	}
}
