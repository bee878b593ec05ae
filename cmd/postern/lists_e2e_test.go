package main_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-smtp"
)

func list(id, more string) string {
	return fmt.Sprintf("[[list]]\nid = %q\naddress = \"%s@lists.example.com\"\nname = %q\n%s\n", id, id, id, more)
}

// Two lack a name, so the message is held; one of the others leaves meanwhile.
func TestHeldForAMissingNameThenResumed(t *testing.T) {
	g := newGateway(t, maildirLane)
	g.csv("a@example.net,김,Female,true", "b@example.net,,Female,true", "c@example.net,Lee,Male,true", "d@example.net,  ,Male,true", "e@example.net,Park,Male,true", "f@example.net,No,Male,false")
	g.serve()
	g.mustSubmit("promo@lists.example.com", hello)
	m := g.settled("held")[0]
	for _, want := range []string{"2 of 5 have no value for {{Name}}", "b@example.net", "queue resume " + m.ID} {
		if !strings.Contains(m.Reason, want) {
			t.Errorf("held because of %q, want it to say %q", m.Reason, want)
		}
	}
	if n := len(g.outbox()); n != 0 {
		t.Fatalf("%d copies of a held message left", n)
	}
	if out := g.run("queue", "show", m.ID); !strings.Contains(out, "2 of 5 have no value") {
		t.Errorf("queue show does not say why: %s", out)
	}
	g.run("users", "set", "c@example.net", "SubscriptionStatus=false")
	g.run("users", "set", "b@example.net", "Name=Bae")
	g.run("queue", "resume", m.ID)
	g.settled("done")
	got := g.reached("a@example.net", "b@example.net", "e@example.net")
	if p := got["b@example.net"]; p.Subject != "Hello Bae" || !strings.Contains(p.Text, "Dear Bae,") {
		t.Errorf("the value filled in meanwhile is not used: %+v", p)
	}
	s := g.show(m.ID)
	if c := s.row(t, "c@example.net"); c.State != "unsubscribed" || c.LastError == "" {
		t.Errorf("who left while it was held: %+v", c)
	}
	if d := s.row(t, "d@example.net"); d.State != "skipped" || !strings.Contains(d.LastError, "{{Name}}") {
		t.Errorf("who has no name: %+v", d)
	}
	if out := g.fails("queue", "resume", m.ID); !strings.Contains(out, "done") {
		t.Errorf("resuming what is done: %s", out)
	}
	g.stop()
}

func TestSkipFilterAndSeveralLists(t *testing.T) {
	g := newGateway(t, list("skip", `missing = "skip"`)+list("women", `filter = 'Gender == "Female"'`)+list("all", "")+maildirLane)
	g.csv("a@example.net,Kim,Female,true", "b@example.net,,Female,true", "c@example.net,Lee,Male,true", "d@example.net,Choi,Female,false", "e@example.net,Han,female,true")
	g.serve()
	t.Run("missing = skip", func(t *testing.T) {
		g.mustSubmit("skip@lists.example.com", mailOf("1", "skip@lists.example.com", "{{Name}}", "x"))
		m := g.settled("done")[0]
		g.reached("a@example.net", "c@example.net", "e@example.net")
		if b := g.show(m.ID).row(t, "b@example.net"); b.State != "skipped" {
			t.Errorf("who has no name: %+v", b)
		}
	})
	t.Run("filter", func(t *testing.T) {
		g.empty()
		g.mustSubmit("women@lists.example.com", mailOf("2", "women@lists.example.com", "{{Name|friend}}", "x"))
		g.settled("done")
		got := g.reached("a@example.net", "b@example.net")
		if s := got["b@example.net"].Subject; s != "friend" {
			t.Errorf("Subject %q", s)
		}
	})
	t.Run("two lists and people at once", func(t *testing.T) {
		g.empty()
		text := mailOf("3", "women@lists.example.com, all@lists.example.com", "Hi {{Name|friend}}", "x")
		if err := g.submitTo(text, "women@lists.example.com", "all@lists.example.com"); err != nil {
			t.Fatal(err)
		}
		g.settled("done")
		for to, p := range g.reached("a@example.net", "b@example.net", "c@example.net", "e@example.net") {
			want := "all"
			if to < "c" {
				want = "women"
			}
			if !strings.Contains(p.ListID, "<"+want+".") {
				t.Errorf("%s got the copy of %s, want the one of %s", to, p.ListID, want)
			}
		}
	})
	t.Run("on a list and addressed", func(t *testing.T) {
		g.empty()
		text := mailOf("4", "women@lists.example.com, A@Example.NET, z@example.org", "Hi", "x")
		if err := g.submitTo(text, "women@lists.example.com", "a@example.net", "A@Example.NET", "z@example.org"); err != nil {
			t.Fatal(err)
		}
		g.settled("done")
		got := map[string]int{}
		for _, m := range g.messages()[4:] {
			for _, c := range g.show(m.ID).Recipients {
				got[strings.ToLower(c.Address)+" "+m.List]++
			}
		}
		want := map[string]int{"a@example.net women": 1, "b@example.net women": 1, "a@example.net ": 1, "z@example.org ": 1}
		if !maps.Equal(got, want) {
			t.Errorf("copies %v, want %v", got, want)
		}
	})
	g.stop()
}

// submitTo sends one mail to several recipients.
func (g *gateway) submitTo(text string, to ...string) error {
	c, err := smtp.Dial(g.addr)
	if err != nil {
		return err
	}
	defer c.Close()
	err = c.SendMail("marketer@example.com", to, strings.NewReader(strings.ReplaceAll(text, "\n", "\r\n")))
	return errors.Join(err, c.Reset()) // after its answer nothing is held of a limit any more
}

func TestTheSamePersonInOtherLettersGetsOneCopy(t *testing.T) {
	g := newGateway(t, maildirLane)
	g.csv("Kim@Example.NET,Kim,Female,true", "kim@example.net,Kim,Female,true", "KIM@example.net,Kim,Female,true", "lee@EXAMPLE.net,Lee,Male,true", "min@예시.example,Min,Male,true", "min@xn--vv4b11d.example,Min,Male,true")
	g.serve()
	g.mustSubmit("promo@lists.example.com", hello)
	m := g.settled("done")[0]
	if m.Copies["sent"] != 3 || len(g.outbox()) != 3 {
		t.Errorf("copies %v, %d mails", m.Copies, len(g.outbox()))
	}
	link := ""
	for _, p := range g.read(g.outbox()) {
		if strings.EqualFold(p.To[0], "kim@example.net") {
			link = p.link(t)
		}
	}
	// Whoever leaves leaves in every spelling.
	post(t, link)
	g.empty()
	g.mustSubmit("promo@lists.example.com", strings.Replace(hello, "<hello@", "<again@", 1))
	g.settled("done")
	for _, p := range g.read(g.outbox()) {
		if strings.EqualFold(p.To[0], "kim@example.net") {
			t.Errorf("%s left and got a copy", p.To[0])
		}
	}
	g.stop()
}

// One click, and a mail to the address for it, keep the next campaign from who left.
func TestWhoLeavesIsLeftAlone(t *testing.T) {
	g := newGateway(t, list("news", "")+maildirLane)
	g.csv("a@example.net,Kim,Female,true", "b@example.net,Lee,Female,true", "c@example.net,Han,Male,true")
	g.serve()
	g.mustSubmit("promo@lists.example.com", hello)
	g.settled("done")
	got := g.reached("a@example.net", "b@example.net", "c@example.net")
	p := got["a@example.net"]
	if p.OneClick != "List-Unsubscribe=One-Click" {
		t.Errorf("List-Unsubscribe-Post: %q", p.OneClick)
	}
	post(t, p.link(t))
	post(t, p.link(t))
	g.wait("OptOut in the directory", func() (string, bool) {
		out := g.run("users", "show", "a@example.net", "--json")
		return out, strings.Contains(out, "OptOut") && strings.Contains(out, `"promo"`)
	})
	// The mailto address: the code in the Subject says who leaves, not the sender.
	link := got["b@example.net"].link(t)
	token := link[strings.LastIndex(link, "/")+1:]
	c, err := smtp.Dial(g.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SendMail("stranger@example.org", []string{"unsubscribe@lists.example.com"}, strings.NewReader("Subject: "+token+"\r\n\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	var reply *smtp.SMTPError
	if err := c.SendMail("stranger@example.org", []string{"unsubscribe@lists.example.com"}, strings.NewReader("Subject: "+token[:len(token)-2]+"AA\r\n\r\n\r\n")); !errors.As(err, &reply) || reply.Code != 550 {
		t.Errorf("a damaged code: %v", err)
	}
	g.empty()
	g.mustSubmit("promo@lists.example.com", strings.Replace(hello, "<hello@", "<again@", 1))
	g.settled("done")
	g.reached("c@example.net")
	g.empty()
	g.mustSubmit("news@lists.example.com", strings.Replace(hello, "<hello@", "<news@", 1))
	g.settled("done")
	g.reached("a@example.net", "b@example.net", "c@example.net")
	g.stop()
}

// While a slow lane sends, a click stops the clicker's own copy. The link is that
// of an earlier mail of the same list.
func TestAClickStopsTheUnsentCopy(t *testing.T) {
	const users = 16
	r := startRecorder(t)
	g := newGateway(t, smtpLane(r.addr))
	g.rate(20)
	g.users(users)
	g.serve()
	g.mustSubmit("promo@lists.example.com", hello)
	g.settled("done")
	r.mu.Lock()
	raw := r.mails[fmt.Sprintf("user%04d@example.net", users-1)]
	r.mu.Unlock()
	last := g.read([][]byte{raw})[0]
	for len(r.arrive) > 0 {
		<-r.arrive
	}
	g.mustSubmit("promo@lists.example.com", strings.Replace(hello, "<hello@", "<again@", 1))
	<-r.arrive
	post(t, last.link(t))
	g.settled("done")
	m := g.messages()[1]
	if m.Copies["sent"] != users-1 || m.Copies["unsubscribed"] != 1 {
		t.Errorf("copies %v", m.Copies)
	}
	if c := g.show(m.ID).row(t, last.To[0]); c.State != "unsubscribed" || c.Attempts != 0 || c.LastError == "" {
		t.Errorf("who clicked: %+v", c)
	}
	g.stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := r.to[last.To[0]]; n != 1 {
		t.Errorf("who clicked got %d mails", n)
	}
}

// rate limits the first lane.
func (g *gateway) rate(perSecond int) {
	g.t.Helper()
	path := filepath.Join(g.dir, "config.toml")
	text, err := os.ReadFile(path)
	if err != nil {
		g.t.Fatal(err)
	}
	if err := os.WriteFile(path, bytes.Replace(text, []byte(`driver = "`), fmt.Appendf(nil, "rate = %d\ndriver = \"", perSecond), 1), 0o600); err != nil {
		g.t.Fatal(err)
	}
}

// Pause stops within what is under way, resume finishes, cancel ends, retry sends
// to those who were missed.
func TestPauseResumeCancelRetry(t *testing.T) {
	const users, concurrency = 60, 10
	r := startRecorder(t)
	g := newGateway(t, smtpLane(r.addr))
	g.rate(100)
	g.users(users)
	g.serve()
	g.mustSubmit("promo@lists.example.com", hello)
	for range 5 {
		<-r.arrive
	}
	id := g.messages()[0].ID
	g.run("queue", "pause", id)
	var before shown
	g.wait("nothing under way", func() (string, bool) {
		before = g.show(id)
		return fmt.Sprint(before.Copies), before.Copies["sending"] == 0
	})
	if before.State != "paused" || !strings.Contains(before.Reason, "paused by") || before.Copies["queued"] == 0 {
		t.Errorf("paused: %s %q %v", before.State, before.Reason, before.Copies)
	}
	g.stop()
	g.serve() // a pause outlives the process
	if now := g.show(id); now.State != "paused" || now.Copies["sent"] != before.Copies["sent"] {
		t.Errorf("after a restart: %s %v, before %v", now.State, now.Copies, before.Copies)
	}
	g.run("queue", "resume", id)
	g.settled("done")
	r.mu.Lock()
	if len(r.to) != users {
		t.Errorf("%d of %d", len(r.to), users)
	}
	for to, n := range r.to {
		if n != 1 {
			t.Errorf("%s got %d", to, n)
		}
	}
	for len(r.arrive) > 0 {
		<-r.arrive
	}
	r.mu.Unlock()

	g.mustSubmit("promo@lists.example.com", strings.Replace(hello, "<hello@", "<second@", 1))
	for range 5 {
		<-r.arrive
	}
	second := g.messages()[1].ID
	g.run("queue", "cancel", second)
	var m shown
	g.wait("all settled", func() (string, bool) {
		m = g.show(second)
		return fmt.Sprint(m.Copies), m.Copies["sending"]+m.Copies["queued"] == 0
	})
	if m.State != "cancelled" || m.Copies["cancelled"] == 0 || m.Copies["cancelled"]+m.Copies["sent"] != users {
		t.Errorf("cancelled: %s %v", m.State, m.Copies)
	}
	if out := g.fails("queue", "resume", second); !strings.Contains(out, "cancelled") {
		t.Errorf("resuming a cancelled message: %s", out)
	}
	g.stop()
}

func TestRetryAfterRefusals(t *testing.T) {
	r := startRecorder(t)
	better := false
	r.answer = func(to string, n int) error { // under the recorder's lock
		switch {
		case better:
			return nil
		case to == "user0001@example.net":
			return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such user here"}
		case to == "user0002@example.net" && n < 3:
			return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 2, 0}, Message: "mailbox busy"}
		case to == "user0003@example.net":
			return &smtp.SMTPError{Code: 452, EnhancedCode: smtp.EnhancedCode{4, 2, 2}, Message: "mailbox full"}
		}
		return nil
	}
	g := newGateway(t, "[relay.retry]\nretries = 3\ninterval = \"20ms\"\nbackoff = 1.0\n"+smtpLane(r.addr))
	g.users(5)
	g.serve()
	g.mustSubmit("promo@lists.example.com", hello)
	id := g.settled("done")[0].ID
	s := g.show(id)
	for i, want := range []row{{State: "sent", Attempts: 1}, {State: "failed", Attempts: 1, LastError: "550 5.1.1 no such user here"}, {State: "sent", Attempts: 3},
		{State: "failed", Attempts: 4, LastError: "452 4.2.2 mailbox full"}, {State: "sent", Attempts: 1}} {
		if c := s.row(t, fmt.Sprintf("user%04d@example.net", i)); c.State != want.State || c.Attempts != want.Attempts || c.LastError != want.LastError {
			t.Errorf("user %d: %+v, want %+v", i, c, want)
		}
	}
	r.mu.Lock()
	better = true
	r.mu.Unlock()
	if out := g.run("queue", "retry", id, "--to", "user0003@example.net"); !strings.Contains(out, "1 copy") {
		t.Error(out)
	}
	if out := g.run("queue", "retry", id); !strings.Contains(out, "1 copy") {
		t.Error(out)
	}
	if m := g.settled("done")[0]; m.Copies["sent"] != 5 {
		t.Errorf("after retries: %v", m.Copies)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for to, n := range r.to {
		if n != 1 {
			t.Errorf("%s got %d", to, n)
		}
	}
	if out := g.fails("queue", "retry", id, "--to", "user0000@example.net"); !strings.Contains(out, "sent already") {
		t.Error(out)
	}
	g.stop()
}

func TestRetentionDropsMessagesAndFiles(t *testing.T) {
	g := newGateway(t, "[relay]\nretention = \"1ms\"\n"+maildirLane)
	g.users(3)
	g.serve()
	g.mustSubmit("promo@lists.example.com", hello)
	g.settled("done")
	bodies := filepath.Join(g.dir, "data", "bodies", "*")
	if files, _ := filepath.Glob(bodies); len(files) != 2 {
		t.Errorf("files of one message: %v", files)
	}
	g.stop()
	g.serve()
	g.wait("dropped", func() (string, bool) {
		files, _ := filepath.Glob(bodies)
		list := g.messages()
		return fmt.Sprint(list, files), len(list) == 0 && len(files) == 0
	})
	if out := g.run("spool", "check"); strings.Contains(out, "problem") && !strings.Contains(out, "no problem") {
		t.Error(out)
	}
	g.stop()
}

// An upstream that is away in mid-campaign costs no attempt, no copy, no double.
func TestAnUpstreamGoesAwayAndComesBack(t *testing.T) {
	t.Parallel()
	const users = 200
	r := startRecorder(t)
	g := newGateway(t, smtpLane(r.addr))
	g.rate(200)
	g.users(users)
	g.serve()
	g.mustSubmit("promo@lists.example.com", hello)
	for range 20 {
		<-r.arrive
	}
	r.goAway(true)
	g.laneSays("going down")
	if err := r.server.Close(); err != nil {
		t.Fatal(err)
	}
	g.laneSays("refused")
	r.goAway(false)
	l, err := net.Listen("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	r.serve(l)
	g.settled("done")
	s := g.show(g.messages()[0].ID)
	for _, c := range s.Recipients {
		if c.State != "sent" || c.Attempts != 1 {
			t.Errorf("%+v", c)
		}
	}
	g.stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	double := slices.DeleteFunc(slices.Sorted(maps.Keys(r.to)), func(to string) bool { return r.to[to] == 1 })
	if len(r.to) != users || len(double) > 0 || r.err != nil {
		t.Errorf("%d of %d arrived, doubles %v, %v", len(r.to), users, double, r.err)
	}
}

func (r *recorder) goAway(away bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.away = away
}
