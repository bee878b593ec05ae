package main_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/emersion/go-smtp"
)

const identity = `advertising = true
[list.identity]
company = 'Kim & "Lee" 상점'
address = "서울특별시 중구 세종대로 110"
phone = "02-120"
email = "help@shop.example"
`

// marketing is a mail in two forms that shows the unsubscribe link itself.
const marketing = `From: Marketer <marketer@example.com>
To: ads@lists.example.com
Subject: =?utf-8?B?UmU6IFvqtJEg6rOgXSB7e05hbWV9feuLmCDshLjsnbw=?=
Message-ID: <ads@example.com>
MIME-Version: 1.0
Content-Type: multipart/alternative; boundary="b"

--b
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit

{{Name}}님, 세일입니다. {{Unsubscribe}}
--b
Content-Type: text/html; charset=utf-8
Content-Transfer-Encoding: 8bit

<html><body><p>{{Name}}님, 세일입니다. <a href="{{Unsubscribe}}">x</a></p></body></html>
--b--
`

// TestAdvertisingLeavesWithLabelAndIdentity holds rules 59 and 60 with the real
// program, in a list for readers of each language.
func TestAdvertisingLeavesWithLabelAndIdentity(t *testing.T) {
	for _, language := range []string{"ko", "en"} {
		t.Run(language, func(t *testing.T) {
			g := newGateway(t, list("ads", "language = \""+language+"\"\n"+identity)+maildirLane)
			g.csv("a@example.net,김,Female,true", "b@example.net,(광고),Male,true")
			g.serve()
			g.mustSubmit("ads@lists.example.com", marketing)
			g.settled("done")
			if queue := g.run("queue", "list"); !strings.Contains(queue, "(광고) Re: {{Name}}님 세일") {
				t.Errorf("the queue does not show the label:\n%s", queue)
			}
			got := g.reached("a@example.net", "b@example.net")
			if a, b := got["a@example.net"].Subject, got["b@example.net"].Subject; a != "(광고) Re: 김님 세일" || b != "(광고) Re: 님 세일" {
				t.Errorf("Subjects %q and %q", a, b)
			}
			for _, p := range got {
				link := p.link(t)
				for _, want := range []string{`Kim & "Lee" 상점`, "서울특별시 중구 세종대로 110", "02-120", "help@shop.example", "수신", "unsubscribe", link} {
					if !strings.Contains(p.Text, want) {
						t.Errorf("the text does not show %s:\n%s", want, p.Text)
					}
				}
				for _, want := range []string{"Kim &amp; &#34;Lee&#34; 상점", "서울특별시 중구 세종대로 110", "02-120", "help@shop.example", "수신거부", "unsubscribe", `href="` + link} {
					if !strings.Contains(p.HTML, want) {
						t.Errorf("the HTML does not show %s:\n%s", want, p.HTML)
					}
				}
			}
			err := g.submit("ads@lists.example.com", "From: marketer@example.com\nSubject: x\nContent-Type: application/pdf\n\n%PDF\n")
			var refusal *smtp.SMTPError
			if !errors.As(err, &refusal) || refusal.Code != 554 || !strings.Contains(refusal.Message, "no text that could") {
				t.Errorf("only a PDF: %v", err)
			}
			g.stop()
		})
	}
}

// TestFootersOfOnesOwn are pinned when a mail is accepted, like the rest of it.
func TestFootersOfOnesOwn(t *testing.T) {
	g := newGateway(t, list("ads", identity)+list("held", "language = \"en\"\nrelease = \"sender\"")+maildirLane+"[templates]\nfooters = \"footers\"\n")
	g.csv("a@example.net,김,Female,true")
	g.run("footers", "footers")
	g.write("footers/advertising.txt", "\n=== {{List.Company}} | {{List.Address}} | {{List.Phone}} | {{List.Email}}\n{{Gender|누구나}}: {{Unsubscribe}}\n")
	g.write("footers/en.txt", "\n=== {{List.Company|nobody}}: {{Unsubscribe}}\n")
	g.serve()
	g.mustSubmit("ads@lists.example.com", marketing)
	g.settled("done")
	p := g.reached("a@example.net")["a@example.net"]
	if want := "\n=== Kim & \"Lee\" 상점 | 서울특별시 중구 세종대로 110 | 02-120 | help@shop.example\nFemale: " + p.link(t) + "\n"; !strings.HasSuffix(strings.ReplaceAll(p.Text, "\r\n", "\n"), want) {
		t.Errorf("the text is\n%s\nand should end with\n%s", p.Text, want)
	}
	g.empty()
	g.mustSubmit("held@lists.example.com", strings.NewReplacer("ads@", "held@", "{{Name}}", "", "To: promo@", "To: held@").Replace(hello))
	held := g.settled("done", "held")[1]
	g.write("footers/en.txt", "\nlater {{Unsubscribe}}\n")
	g.stop()
	g.serve()
	g.run("queue", "resume", held.ID)
	g.settled("done")
	p = g.reached("a@example.net")["a@example.net"]
	if !strings.Contains(p.Text, "=== nobody: "+p.link(t)) {
		t.Errorf("the text is\n%s", p.Text)
	}
	g.stop()
}
