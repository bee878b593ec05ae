package main_test

import (
	"encoding/base64"
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/emersion/go-smtp"
)

// A client that lost our 250 sends again, now to more recipients than were taken
// the first time: those get the mail, and the others do not get it twice.
func TestARepetitionToMoreRecipientsLosesNobody(t *testing.T) {
	g := newGateway(t, list("news", `filter = 'Gender == "Male"'`)+list("all", "")+maildirLane)
	g.csv("a@example.net,Kim,Female,true", "b@example.net,Lee,Male,true")
	g.serve()
	text := mailOf("1", "all@lists.example.com", "Hi", "x")
	for _, to := range [][]string{
		{"news@lists.example.com", "z@example.org"},
		{"news@lists.example.com", "all@lists.example.com", "z@example.org"},
		{"all@lists.example.com", "news@lists.example.com", "z@example.org"},
		{"promo@lists.example.com", "z@example.org", "y@example.org"},
	} {
		if err := g.submitTo(text, to...); err != nil {
			t.Fatal(err)
		}
	}
	g.settled("done")
	got := map[string]int{}
	for _, m := range g.messages() {
		for _, c := range g.show(m.ID).Recipients {
			got[c.Address+" "+m.List]++
		}
	}
	for _, want := range []string{"b@example.net news", "a@example.net all", "a@example.net promo", "b@example.net promo", "y@example.org "} {
		if got[want] != 1 {
			t.Errorf("%d copies for %q, want 1", got[want], want)
		}
	}
	if got["b@example.net all"] != 0 {
		t.Errorf("who had the copy of news got that of all too: %v", got)
	}
	if got["z@example.org "] != 2 { // of the last, which goes to another set of people, and of the first
		t.Errorf("%d copies for z@example.org, want 2", got["z@example.org "])
	}
	g.stop()
}

// A mail program may write a long Subject as encoded-words, and a list's network
// may bring the mail of a stranger.
func TestAnUnsubscribeMailAsMailProgramsWriteIt(t *testing.T) {
	g := newGateway(t, maildirLane)
	word := func(charset, s string) string {
		return "=?" + charset + "?B?" + base64.StdEncoding.EncodeToString([]byte(s)) + "?="
	}
	subjects := map[string]func(token string) string{
		"words@example.net":  func(t string) string { return word("utf-8", t[:30]) + "\r\n " + word("utf-8", t[30:]) },
		"korean@example.net": func(t string) string { return word("ks_c_5601-1987", t) },
		"folded@example.net": func(t string) string { return t[:50] + "\r\n " + t[50:] },
		// What servers and people put before a subject.
		"tagged@example.net": func(t string) string { return "[EXTERNAL]\r\n " + t },
		"reply@example.net":  func(t string) string { return "Re: " + t },
		"plain@example.net":  func(t string) string { return "unsubscribe " + t },
	}
	var rows []string
	for user := range subjects {
		rows = append(rows, user+",Kim,Female,true")
	}
	g.csv(rows...)
	g.serve()
	g.mustSubmit("promo@lists.example.com", hello)
	g.settled("done")
	c, err := smtp.Dial(g.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	copies := g.byAddress()
	for user, subject := range subjects {
		link := copies[user].link(t)
		text := "Subject: " + subject(link[strings.LastIndex(link, "/")+1:]) + "\r\n\r\n\r\n"
		if err := c.SendMail("kim@elsewhere.example", []string{"unsubscribe@lists.example.com"}, strings.NewReader(text)); err != nil {
			t.Errorf("%s: %v", user, err)
		}
		if out := g.run("users", "history", user); !strings.Contains(out, "has left promo") || !regexp.MustCompile(`mailto +127\.0\.0\.1 `).MatchString(out) {
			t.Errorf("%s still receives: %s", user, out)
		}
	}
	g.stop()
}

// Korean text triples in quoted-printable: what fits on its way in may not fit on
// its way out.
func TestACopyThatGrowsBeyondTheLimitIsRefusedAtOnce(t *testing.T) {
	g := newGateway(t, "[smtp]\nmax_message_bytes = 200000\n"+maildirLane)
	g.csv("a@example.net,Kim,Female,true")
	g.serve()
	text := mailOf("1", "promo@lists.example.com", "Hi {{Name}}", strings.Repeat("겨울 코트가 왔습니다.\n", 5000))
	err := g.submitTo(text, "promo@lists.example.com")
	var reply *smtp.SMTPError
	if !errors.As(err, &reply) || reply.Code != 552 || !strings.Contains(reply.Message, "encoded for transfer") {
		t.Errorf("got %v, want 552 with the reason", err)
	}
	g.stop()
}
