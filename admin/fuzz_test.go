package admin_test

import (
	"net/url"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"postern/mail"
)

// FuzzCopyPage shows whatever mail there is: the page is made, and nothing of
// the mail becomes an element of it.
func FuzzCopyPage(f *testing.F) {
	for _, s := range []string{
		"Subject: x\r\n\r\nhello",
		"Subject: =?utf-8?B?7Jes66aE?=\r\nContent-Type: text/html; charset=euc-kr\r\nContent-Transfer-Encoding: base64\r\n\r\nPGI+",
		"Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\nContent-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\n\r\n</pre><script>\r\n--b--\r\n--a\r\nContent-Type: image/png\r\nContent-ID: <x>\r\n\r\n..\r\n--a--\r\n",
		"Content-Type: multipart/mixed\r\n\r\n", "Content-Type: multipart/mixed; boundary=\"\"\r\n\r\n--\r\n", "Content-Type: ;;;\r\n\r\n", ":\r\n\r\n", "",
		"Content-Type: text/plain; charset=nonsense\r\nContent-Transfer-Encoding: nonsense\r\n\r\nx",
		"Content-Disposition: attachment; filename*=utf-8''%3Cimg%3E\r\nContent-Type: a/b\r\n\r\n",
	} {
		f.Add(s)
	}
	g := newGateway(f)
	path := "/messages/" + string(g.add("Hello", "a@example.com")) + "/copies/1"
	b := newBrowser(f, newPages(g).Handler())
	b.do("POST", "/login", url.Values{"username": {"eye"}, "password": {"peep"}})
	f.Fuzz(func(t *testing.T, s string) {
		g.Render = func(*mail.Message, *mail.Copy) (mail.Content, error) {
			header, body, _ := strings.Cut(s, "\r\n\r\n")
			return mail.Content{Header: []byte(header + "\r\n"), Body: [][]byte{[]byte(body)}}, nil
		}
		b := &browser{t, b.h, b.jar}
		w := b.do("GET", path, nil)
		if w.Code != 200 {
			t.Fatalf("%d", w.Code)
		}
		doc, err := html.Parse(w.Body)
		if err != nil {
			t.Fatal(err)
		}
		for n := range doc.Descendants() {
			if n.Type == html.ElementNode && (n.Data == "script" || n.Data == "img" || n.Data == "style" || n.Data == "b") {
				t.Fatalf("<%s> on the page", n.Data)
			}
			for _, a := range n.Attr {
				if strings.HasPrefix(a.Key, "on") {
					t.Fatalf("%s on the page", a.Key)
				}
			}
		}
		if w := b.do("GET", path+"/html", nil); w.Code != 200 || !strings.HasPrefix(w.Header().Get("Content-Security-Policy"), "sandbox;") {
			t.Fatalf("%d %v", w.Code, w.Header())
		}
	})
}

// FuzzRequests asks the API for whatever path, query and body there is: every
// refusal is a sentence.
func FuzzRequests(f *testing.F) {
	g := newGateway(f)
	id := string(g.add("Hello", "a@example.com"))
	for _, s := range []string{"", "limit=1", "limit=-1&before=x", "state=failed&after=1", "to=a@example.com", "state=%00&limit=99999999999999999999"} {
		f.Add(id, s, `{"copy":"a@example.com"}`)
	}
	f.Add("x", "", "{")
	f.Add(strings.ToLower(id), "", "")
	f.Fuzz(func(t *testing.T, id, query, body string) {
		for _, path := range []string{"/api/queue", "/api/queue/" + url.PathEscape(id), "/api/queue/" + url.PathEscape(id) + "/eml"} {
			u, err := url.Parse(path + "?" + url.QueryEscape(query))
			if err != nil {
				return
			}
			u.RawQuery = strings.Map(func(r rune) rune {
				if r <= ' ' || r > '~' || r == '#' {
					return -1
				}
				return r
			}, query)
			w := g.do("GET", u.String(), "")
			if w.Code >= 500 || w.Code >= 400 && !strings.HasPrefix(w.Body.String(), `{"error":"`) {
				t.Fatalf("%s: %d %s", u, w.Code, w.Body)
			}
		}
		if w := g.do("POST", "/api/queue/"+url.PathEscape(id)+"/retry", body); w.Code >= 500 {
			t.Fatalf("%q: %d %s", body, w.Code, w.Body)
		}
	})
}
