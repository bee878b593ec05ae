package admin_test

import (
	"net/url"
	"strings"
	"testing"

	"postern/mail"
	"postern/relay"
	"postern/spool"
)

// withLanes lets the API look after the lanes of a relay that does not work.
func withLanes(t *testing.T, g *gateway) *relay.Relay {
	t.Helper()
	r, err := relay.New(relay.Config{Spool: g.Spool, Lanes: []relay.LaneConfig{{Name: "seoul main", Driver: "ses", Concurrency: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	g.Lanes, g.PauseLane, g.ResumeLane = r.Lanes, r.PauseLane, r.ResumeLane
	return r
}

func TestALaneIsPausedAndResumed(t *testing.T) {
	g := newGateway(t)
	withLanes(t, g)
	v := g.get("POST", "/api/lanes/seoul%20main/pause", `{"reason":"moving"}`, 200)
	if v["state"] != "paused" || v["by_hand"] != true || v["reason"] != "paused by an administrator at the command line: moving" {
		t.Errorf("%v", v)
	}
	if v := g.get("POST", "/api/lanes/seoul%20main/resume", "", 200); v["state"] != "running" || v["reason"] != nil {
		t.Errorf("%v", v)
	}
	for _, c := range []struct {
		path, body string
		code       int
		says       string
	}{
		{"/api/lanes/busan/pause", "", 404, `there is no lane "busan"; the lanes are seoul main`},
		{"/api/lanes/busan/resume", "", 404, "seoul main"},
		{"/api/lanes/seoul%20main/explode", "", 400, "pause and resume can"},
		{"/api/lanes/seoul%20main/pause", `{"reason":"` + strings.Repeat("x", 600) + `"}`, 400, "at most 500"},
		{"/api/lanes/seoul%20main/pause", `{"why":"x"}`, 400, "why"},
	} {
		if v := g.get("POST", c.path, c.body, c.code); !strings.Contains(v["error"].(string), c.says) {
			t.Errorf("%s: %v", c.path, v)
		}
	}
	g.PauseLane = nil
	g.get("POST", "/api/lanes/seoul%20main/pause", "", 409)
}

func TestThePageHasButtonsForLanes(t *testing.T) {
	g := newGateway(t)
	r := withLanes(t, g)
	b := newBrowser(t, newPages(g).Handler())
	b.login("boss", "open sesame")
	press := func(action string) {
		t.Helper()
		if w := b.do("POST", "/lanes/seoul%20main/"+action, url.Values{"csrf": {b.csrf("/")}}); w.Code != 303 {
			t.Fatalf("%s: %d %s", action, w.Code, w.Body)
		}
	}
	press("pause")
	if page := b.do("GET", "/", nil).Body.String(); !r.Lanes()[0].ByHand || !strings.Contains(page, "paused by boss") || !strings.Contains(page, "/lanes/seoul%20main/resume") {
		t.Errorf("%+v\n%s", r.Lanes(), page)
	}
	press("resume")
	if r.Lanes()[0].ByHand {
		t.Error("it is still paused")
	}
	viewer := newBrowser(t, newPages(g).Handler())
	viewer.login("eye", "peep")
	if w := viewer.do("POST", "/lanes/seoul%20main/pause", url.Values{"csrf": {viewer.csrf("/")}}); w.Code < 300 || r.Lanes()[0].ByHand {
		t.Errorf("a viewer paused a lane: %d", w.Code)
	}
}

// Bulk mail that waits for its share of the quota is no pause, and still wants a word.
func TestThePageSaysThatBulkMailWaitsForItsQuota(t *testing.T) {
	g := newGateway(t)
	g.Lanes = func() []relay.LaneStatus {
		return []relay.LaneStatus{{Name: "seoul", State: "running", BulkWaits: "bulk mail has used its share"}}
	}
	b := newBrowser(t, newPages(g).Handler())
	b.login("boss", "open sesame")
	if w := b.do("GET", "/", nil); !strings.Contains(w.Body.String(), "bulk mail has used its share") {
		t.Error(w.Body)
	}
}

// Of several lanes each word says of which it is, and a fast one's rate has no exponent.
func TestThePageSaysWhichLaneIsMeant(t *testing.T) {
	g := newGateway(t)
	g.Lanes = func() []relay.LaneStatus {
		return []relay.LaneStatus{{Name: "seoul", State: "running", Rate: 10_000, BulkHeld: "bulk mail waits", BulkWaits: "bulk mail has used its share", Events: "there is no queue"},
			{Name: "busan", State: "running", Rate: 9.07478}}
	}
	b := newBrowser(t, newPages(g).Handler())
	b.login("boss", "open sesame")
	page := b.do("GET", "/", nil).Body.String()
	for _, words := range []string{"<strong>seoul</strong>: bulk mail waits<", "<strong>seoul</strong>: bulk mail has used its share<", "<strong>seoul</strong>: events do not come in: there is no queue<",
		`<bdi>bulk mail waits</bdi>`, `>10000</td>`, `>9.07</td>`} {
		if !strings.Contains(page, words) {
			t.Errorf("%q is not on the page:\n%s", words, page)
		}
	}
}

func TestOutcomesAreShownAndFilteredBy(t *testing.T) {
	g := newGateway(t)
	id := g.add("Hello", "a@example.com", "b@example.com")
	g.settle(2, spool.Result{State: mail.Sent, Spent: true})
	if _, err := g.Spool.Observe(t.Context(), []spool.Observation{{Message: id, Seq: 1, Outcome: mail.Bounced, Words: "550 5.1.1 <gone>", At: g.now}}); err != nil {
		t.Fatal(err)
	}
	v := g.get("GET", "/api/queue/"+string(id)+"?outcome=bounced", "", 200)
	list := v["recipients"].([]any)
	if len(list) != 1 || v["outcomes"].(map[string]any)["bounced"] != 1.0 {
		t.Fatalf("%v", v)
	}
	if c := list[0].(map[string]any); c["outcome"] != "bounced" || c["diagnostic"] != "550 5.1.1 <gone>" || c["state"] != "sent" || c["outcome_at"] == nil {
		t.Errorf("%v", c)
	}
	g.get("GET", "/api/queue/"+string(id)+"?outcome=exploded", "", 400)
	b := newBrowser(t, newPages(g).Handler())
	b.login("boss", "open sesame")
	page := b.do("GET", "/messages/"+string(id)+"?outcome=bounced", nil).Body.String()
	if !strings.Contains(page, "550 5.1.1 &lt;gone&gt;") || !strings.Contains(page, "1 bounced") || strings.Contains(page, "b@example.com") {
		t.Error(page)
	}
}

func TestARetryOfTheFailedLeavesOutWhatMayHaveBeenSent(t *testing.T) {
	g := newGateway(t)
	id := g.add("Hello", "a@example.com", "b@example.com")
	g.settle(1, spool.Result{State: mail.CopyFailed, Spent: true, Error: "550 no"})
	g.settle(1, spool.Result{State: mail.Unknown, Spent: true, Error: "no answer"})
	if v := g.get("POST", "/api/queue/"+string(id)+"/retry", `{"failed":true}`, 200); v["copies"] != 1.0 {
		t.Errorf("%v", v)
	}
	g.get("POST", "/api/queue/"+string(id)+"/retry", `{"failed":true,"copy":"a@example.com"}`, 400)
	g.get("POST", "/api/queue/"+string(id)+"/pause", `{"failed":true}`, 400)
}
