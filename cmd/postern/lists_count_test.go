package main_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"postern/admin"
)

// counts asks the program for the counts of lists.
func (g *gateway) counts(lists ...string) map[string]int {
	g.t.Helper()
	receive := map[string]int{}
	for _, id := range lists {
		var c admin.ListCount
		if err := json.Unmarshal([]byte(g.run("lists", "count", id, "--json")), &c); err != nil {
			g.t.Fatal(err)
		}
		receive[id] = c.Receives
	}
	return receive
}

// Whoever `lists count` counts gets the mail, and nobody else: of the lists that the
// README and config.toml name, while the gateway runs and while it does not.
func TestWhoIsCountedGetsTheMail(t *testing.T) {
	lists := []string{"everyone", "women", "new", "since"}
	g := newGateway(t, list("everyone", "")+list("women", `filter = 'Gender == "Female"'`)+list("new", `filter = 'CreateTime >= daysAgo(30)'`)+
		list("since", `filter = 'CreateTime >= date("2020-01-01")'`)+list("vip", `filter = 'Grade == "VIP"'`)+maildirLane)
	ago := func(days int) int64 { return time.Now().Unix() - int64(days)*24*60*60 }
	newYear := time.Date(2020, 1, 1, 0, 0, 0, 0, time.FixedZone("KST", 9*60*60)).Unix() // in the configured time zone
	var b strings.Builder
	b.WriteString("Email,Name,Gender,CreateTime,SubscriptionStatus,Grade\n")
	for i, u := range []struct {
		gender  string
		created int64
		in      bool
	}{
		{"Female", ago(1), true}, {"Female", ago(29), true}, {"Male", ago(29), true}, {"Male", ago(31), true}, {"Female", ago(1), false},
		{"Female", newYear, true}, {"Male", newYear - 1, true}, {"", ago(0), true}, {"Female", ago(2), true}, {"Female", ago(3), true},
	} {
		fmt.Fprintf(&b, "user%d@example.net,Kim,%s,%d,%v,\n", i, u.gender, u.created, u.in)
	}
	b.WriteString("User1@Example.NET,Kim,Female,1,true,VIP\n") // user1 in another spelling
	g.write("users.csv", b.String())
	g.run("users", "import", "users.csv")
	offline := g.counts(lists...)
	g.serve()
	g.run("config") // and it knows Grade, which the configuration does not name
	if online := g.counts(lists...); !maps.Equal(online, offline) || online["everyone"] != 9 || online["new"] != 6 {
		t.Errorf("counted without a gateway: %v, with one: %v", offline, online)
	}
	g.run("suppress", "add", "user8@example.net", "--reason", "asked by phone")
	g.run("users", "leave", "user9@example.net", "--list", "new", "--evidence", "asked by phone")
	counted := g.counts(lists...)
	for _, id := range lists {
		g.mustSubmit(id+"@lists.example.com", mailOf(id, id+"@lists.example.com", "Hello", "x"))
	}
	got := map[string]int{}
	for _, m := range g.settled("done") {
		got[m.List] = m.Copies["sent"]
	}
	if !maps.Equal(got, counted) {
		t.Errorf("%v were sent, %v counted", got, counted)
	}
	if want := map[string]int{"everyone": 8, "women": 4, "new": 4, "since": 7}; !maps.Equal(counted, want) {
		t.Errorf("counted %v, want %v", counted, want)
	}
	for address, want := range map[string]string{
		"user0@example.net": "would get a mail to new now.", "user3@example.net": "is not chosen by the list's filter.", "user4@example.net": "is not subscribed.",
		"user8@example.net": "blocked here: asked by phone.", "user9@example.net": "Left        new",
	} {
		if out := g.run("lists", "sample", "new", "--why", address); !strings.Contains(out, want) {
			t.Errorf("%s: %s", address, out)
		}
	}
	if out := g.run("lists", "sample", "new@lists.example.com", "-n", "2"); strings.Count(out, "@example.net  CreateTime=") != 2 || !strings.Contains(out, "2 of 4 who would get a mail to new now") {
		t.Error(out)
	}
	var sample []map[string]any
	if out := g.run("lists", "sample", "new", "--json"); json.Unmarshal([]byte(out), &sample) != nil || len(sample) != 4 {
		t.Error(out)
	}
	if out := g.fails("lists", "count", "nwe"); out != "postern: there is no list \"nwe\"; there are promo, everyone, women, new, since, vip\n" {
		t.Error(out)
	}
	g.stop()
}
