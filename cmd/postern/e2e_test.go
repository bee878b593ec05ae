package main_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/admin"
	"postern/internal/peer"
)

// This file holds what the end-to-end tests of directory, SES, clients and lists
// share: asking the running gateway, and reading copies with Python.

// row is a copy in `queue show --json`.
type row struct {
	Address    string `json:"address"`
	State      string `json:"state"`
	Attempts   int    `json:"attempts"`
	LastError  string `json:"last_error"`
	UpstreamID string `json:"upstream_id"`
}

// shown is a message in `queue show --json`.
type shown struct {
	message
	Recipients []row `json:"recipients"`
}

func (s shown) row(t *testing.T, address string) row {
	t.Helper()
	for _, r := range s.Recipients {
		if r.Address == address {
			return r
		}
	}
	t.Fatalf("message %s has no copy for %s: %+v", s.ID, address, s.Recipients)
	return row{}
}

// ask asks the running gateway at its control socket, as the commands do.
func (g *gateway) ask(path string, into any) error {
	client := &http.Client{Transport: admin.ControlTransport(filepath.Join(g.dir, "data", "control.sock"))}
	resp, err := client.Get("http://gateway" + path)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return json.NewDecoder(resp.Body).Decode(into)
}

// messages are those of the queue, oldest first.
func (g *gateway) messages() []message {
	g.t.Helper()
	var list []message
	if err := g.ask("/api/queue", &list); err != nil {
		g.t.Fatalf("%v\n%s", err, g.log)
	}
	slices.Reverse(list)
	return list
}

func (g *gateway) show(id string) shown {
	g.t.Helper()
	var s shown
	if err := g.ask("/api/queue/"+id, &s); err != nil {
		g.t.Fatalf("%v\n%s", err, g.log)
	}
	return s
}

// settled waits until every message is in one of the states.
func (g *gateway) settled(states ...string) []message {
	g.t.Helper()
	var list []message
	g.wait(fmt.Sprint(states), func() (string, bool) {
		list = g.messages()
		left := slices.ContainsFunc(list, func(m message) bool { return !slices.Contains(states, m.State) })
		return fmt.Sprintf("%+v", list), len(list) > 0 && !left
	})
	return list
}

// wait asks until something is so; what it says last is shown when it never is.
func (g *gateway) wait(what string, is func() (string, bool)) {
	g.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(time.Minute)
	for {
		last, yes := is()
		if yes {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			g.t.Fatalf("not %s in time: %s\n%s", what, last, g.log)
		}
	}
}

// lane is a lane in the answer to GET /api/lanes.
type lane struct {
	Name     string  `json:"name"`
	State    string  `json:"state"` // running, slowed, paused
	Reason   string  `json:"reason"`
	Rate     float64 `json:"rate"`
	InFlight int     `json:"in_flight"`
}

// laneSays waits until the first lane is paused, because of this, and nothing is
// under way.
func (g *gateway) laneSays(why string) {
	g.t.Helper()
	g.wait("paused with "+why, func() (string, bool) {
		var lanes []lane
		if err := g.ask("/api/lanes", &lanes); err != nil {
			g.t.Fatal(err)
		}
		return fmt.Sprintf("%+v", lanes), lanes[0].State == "paused" && lanes[0].InFlight == 0 && strings.Contains(lanes[0].Reason, why)
	})
}

// fails runs a command that must fail, and returns what it says.
func (g *gateway) fails(args ...string) string {
	g.t.Helper()
	out, err := g.command(args...).CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		g.t.Fatalf("postern %s: %v, want a failure\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// csv imports users: each row is Email,Name,Gender,SubscriptionStatus.
func (g *gateway) csv(rows ...string) {
	g.t.Helper()
	g.write("rows.csv", "Email,Name,Gender,SubscriptionStatus\n"+strings.Join(rows, "\n")+"\n")
	g.run("users", "import", "rows.csv")
}

// parsed is a copy as Python's email package reads it and dkimpy judges it.
type parsed struct {
	DKIM        bool     `json:"dkim"`
	Defects     []string `json:"defects"`
	To          []string `json:"to"`
	From        string   `json:"from"`
	Subject     string   `json:"subject"`
	ListID      string   `json:"list_id"`
	Unsubscribe string   `json:"unsubscribe"`
	OneClick    string   `json:"one_click"`
	MessageID   string   `json:"message_id"`
	Text        string   `json:"text"`
	HTML        string   `json:"html"`
}

// link is the one-click address.
func (p parsed) link(t *testing.T) string {
	t.Helper()
	for part := range strings.SplitSeq(p.Unsubscribe, ",") {
		if link := strings.Trim(part, " <>"); strings.HasPrefix(link, "http") {
			return link
		}
	}
	t.Fatalf("no link in %q", p.Unsubscribe)
	return ""
}

// read lets Python read mails. They must be signed validly, for one person each.
func (g *gateway) read(mails [][]byte) []parsed {
	g.t.Helper()
	dir := g.t.TempDir()
	for i, m := range mails {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%06d.eml", i)), m, 0o600); err != nil {
			g.t.Fatal(err)
		}
	}
	cmd := exec.Command(peer.Python, "testdata/read.py", "test._domainkey.example.com", g.dkim, dir)
	var problems bytes.Buffer
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		g.t.Fatalf("python: %v\n%s", err, problems.String())
	}
	var list []parsed
	if err := json.Unmarshal(out, &list); err != nil {
		g.t.Fatal(err)
	}
	if len(list) != len(mails) {
		g.t.Fatalf("Python read %d of %d mails", len(list), len(mails))
	}
	for i, p := range list {
		if !p.DKIM || len(p.Defects) > 0 || len(p.To) != 1 {
			g.t.Errorf("DKIM valid %v, defects %v, To %v of\n%.2000s", p.DKIM, p.Defects, p.To, mails[i])
		}
	}
	return list
}

// byAddress is one copy for each person, out of the maildir.
func (g *gateway) byAddress() map[string]parsed {
	g.t.Helper()
	got := map[string]parsed{}
	for _, p := range g.read(g.outbox()) {
		if _, twice := got[p.To[0]]; twice {
			g.t.Errorf("%s got two copies", p.To[0])
		}
		got[p.To[0]] = p
	}
	return got
}

// empty clears the maildir for the next mail.
func (g *gateway) empty() {
	g.t.Helper()
	if err := os.RemoveAll(filepath.Join(g.dir, "outbox", "new")); err != nil {
		g.t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(g.dir, "outbox", "new"), 0o700); err != nil {
		g.t.Fatal(err)
	}
}

// reached wants copies for exactly these.
func (g *gateway) reached(want ...string) map[string]parsed {
	g.t.Helper()
	got := g.byAddress()
	slices.Sort(want)
	if have := slices.Sorted(maps.Keys(got)); !slices.Equal(have, want) {
		g.t.Errorf("copies for %v\nwant %v", have, want)
	}
	return got
}

// post is the one click.
func post(t *testing.T, link string) {
	t.Helper()
	resp, err := http.Post(link, "application/x-www-form-urlencoded", strings.NewReader("List-Unsubscribe=One-Click"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("POST %s: %s", link, resp.Status)
	}
}

// mailOf is a list mail with a Subject, a text and a Message-ID of its own.
func mailOf(id, to, subject, text string) string {
	return "From: Marketer <marketer@example.com>\nTo: " + to + "\nSubject: " + subject + "\nMessage-ID: <" + id + "@example.com>\n" +
		"MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\n" + text + "\n"
}
