package admin_test

import (
	"bytes"
	"encoding/base64"
	"image"
	"image/color"
	"image/png"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"postern/directory/mysqlsync"
	"postern/internal/peer"
	"postern/mail"
	"postern/relay"
	"postern/spool"
)

// signedIn serves h to a browser that has logged in.
func signedIn(b *browser) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, c := range b.jar.Cookies(here) {
			r.AddCookie(c)
		}
		b.h.ServeHTTP(w, r)
	})
}

// campaign is a copy with text, HTML, a picture of its own, a picture from
// elsewhere and a script.
func campaign(t *testing.T, elsewhere string) func(*mail.Message, *mail.Copy) (mail.Content, error) {
	picture := image.NewRGBA(image.Rect(0, 0, 240, 80))
	for x := range 240 {
		for y := range 80 {
			picture.Set(x, y, color.RGBA{uint8(x), 90, uint8(y * 3), 255})
		}
	}
	var raw bytes.Buffer
	if err := png.Encode(&raw, picture); err != nil {
		t.Fatal(err)
	}
	html := `<body style="font-family:sans-serif"><h1 style="color:#c2185b">민지님, 여름 세일</h1><img src="cid:image001.png@01DB"><p>오늘만 <b>30 %</b> 할인.</p>` +
		`<img src="` + elsewhere + `/pixel.png"><link rel="stylesheet" href="` + elsewhere + `/a.css"><style>@import url(` + elsewhere + `/b.css);body{background:url(` + elsewhere + `/c.png)}</style>` +
		`<iframe src="` + elsewhere + `/frame"></iframe><meta http-equiv="refresh" content="0;url=` + elsewhere + `/go">` +
		`<script>document.body.innerHTML='script '+'ran';fetch('` + elsewhere + `/s')</script></body>`
	return func(_ *mail.Message, c *mail.Copy) (mail.Content, error) {
		body := "--rel\r\nContent-Type: multipart/alternative; boundary=alt\r\n\r\n" +
			"--alt\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n민지님, 여름 세일입니다.\r\n오늘만 30 % 할인.\r\n" +
			"--alt\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.StdEncoding.EncodeToString([]byte(html)) + "\r\n--alt--\r\n" +
			"--rel\r\nContent-Type: image/png; name=\"image001.png\"\r\nContent-ID: <image001.png@01DB>\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.StdEncoding.EncodeToString(raw.Bytes()) + "\r\n" +
			"--rel\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; filename*=utf-8''%EC%95%88%EB%82%B4.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n" + strings.Repeat("AAAA", 900) + "\r\n--rel--\r\n"
		return mail.Content{
			Header: []byte("From: =?utf-8?B?7Ye87IiN?= <shop@example.com>\r\nTo: " + string(c.To) + "\r\nSubject: =?utf-8?B?66+87KeA64uYLCDsl6zrpoQg7IS47J28?=\r\nMIME-Version: 1.0\r\nContent-Type: multipart/related; boundary=rel\r\n"),
			Body:   [][]byte{[]byte(body)},
		}, nil
	}
}

func TestBrowserShowsThePagesAndLoadsNothingFromElsewhere(t *testing.T) {
	var asked atomic.Int32
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		t.Errorf("the browser asked elsewhere for %s", r.URL)
	}))
	defer elsewhere.Close()
	g := newGateway(t)
	g.Render = campaign(t, elsewhere.URL)
	g.add("가을 신상품 안내", "a@example.com", "b@example.com")
	g.settle(2, spool.Result{State: mail.Sent, Spent: true})
	held := g.add("[공지] {{Name|고객}}님께", "a@example.com", "b@example.com", "c@example.com")
	if err := g.Spool.Pause(t.Context(), held, "3 of 20 copies bounced; this message was paused to protect the account"); err != nil {
		t.Fatal(err)
	}
	id := g.add("{{Name}}님, 여름 세일", "minji@example.com", "jisu@example.com", "hyun@example.net", "a.very.long.name.of.somebody@subdomain.of.a.long.domain.example.com", "late@example.com")
	g.settle(1, spool.Result{State: mail.Sent, Spent: true})
	g.settle(1, spool.Result{State: mail.CopyFailed, Spent: true, Error: "550 5.1.1 <jisu@example.com>: Recipient address rejected: User unknown in virtual mailbox table"})
	g.settle(1, spool.Result{State: mail.Deferred, Spent: true, Due: time.Now().Add(time.Hour), Error: "451 4.7.1 Greylisted, try again in 5 minutes"})
	g.Lanes = func() []relay.LaneStatus {
		return []relay.LaneStatus{{Name: "default", Driver: "ses", State: "paused", Reason: "the daily quota of 50000 is spent; it frees up as the last 24 hours pass"},
			{Name: "smarthost", Driver: "smtp", State: "slowed", Reason: "upstream said that copies come too fast", Rate: 14, InFlight: 2}}
	}
	last := aReport(time.Now().Add(-time.Hour))
	(&fakeSync{status: mysqlsync.Status{Last: &last, Users: 1234, Aside: 150, Rejects: aTable(t, 3), Loaded: true, Good: last.Began,
		Running: &mysqlsync.Report{Kind: mysqlsync.Reconcile, Began: time.Now(), Step: "reading", Of: 1_000_000, Done: 400_000}}}).serve(g)
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
		{"messages", "/", "daily quota", peer.Laptop},
		{"messages-phone", "/", "daily quota", peer.Phone},
		{"sync-phone", "/sync", "민지", peer.Phone},
		{"message", "/messages/" + string(id), "User unknown", peer.Laptop},
		{"copy", "/messages/" + string(id) + "/copies/1", "안내.pdf", peer.Tall},
		{"copy-html-alone", "/messages/" + string(id) + "/copies/1/html", "여름 세일", peer.Laptop},
	} {
		dom, log := peer.Browse(t, c.name, c.screen, server.URL+c.path)
		if !strings.Contains(dom, c.want) || strings.Contains(dom, "script ran") {
			t.Errorf("%s: %s", c.name, dom)
		}
		if strings.Contains(log, "Content Security Policy") && !strings.HasPrefix(c.name, "copy") {
			t.Errorf("%s: %s", c.name, log)
		}
	}
	out := httptest.NewServer(p.Handler())
	defer out.Close()
	peer.Browse(t, "login", peer.Laptop, out.URL+"/")
}
