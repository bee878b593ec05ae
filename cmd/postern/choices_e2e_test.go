package main_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	bolt "go.etcd.io/bbolt"

	"postern/directory"
	"postern/mail"
)

// happened is an entry of `users history --json`.
type happened struct {
	Number  uint64 `json:"number"`
	Kind    string `json:"kind"`
	List    string `json:"list"`
	How     string `json:"how"`
	Remote  string `json:"remote"`
	Message string `json:"message"`
	Note    string `json:"note"`
	Of      uint64 `json:"of"`
	Wording string `json:"wording"`
}

// history is what the program says of a person.
func (g *gateway) history(email string) (gets []string, entries []happened) {
	g.t.Helper()
	var h struct {
		Gets    []string   `json:"gets"`
		Entries []happened `json:"entries"`
	}
	if err := json.Unmarshal([]byte(g.run("users", "history", email, "--json")), &h); err != nil {
		g.t.Fatal(err)
	}
	return h.Gets, h.Entries
}

// fill sends a form of a page as a browser does, and gives the next page.
func fill(t *testing.T, link string, form url.Values) string {
	t.Helper()
	resp, err := http.PostForm(link, form)
	return page(t, resp, err)
}

func look(t *testing.T, link string) string {
	t.Helper()
	resp, err := http.Get(link)
	return page(t, resp, err)
}

func page(t *testing.T, resp *http.Response, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %v\n%s", resp.Status, err, text)
	}
	return string(text)
}

// campaign sends a mail to a list and gives the copies by address.
func (g *gateway) campaign(list, id string, want ...string) map[string]parsed {
	g.t.Helper()
	g.empty()
	g.announce(list, id)
	return g.reached(want...)
}

// announce sends a mail to a list and waits until all of it is out.
func (g *gateway) announce(list, id string) {
	g.t.Helper()
	to := list + "@lists.example.com"
	g.mustSubmit(to, mailOf(id, to, "Hello "+id, "x"))
	g.settled("done")
}

// A person leaves in one click, comes back by the page, and leaves by mail; the ledger
// has each step with what they were shown.
func TestARecipientLeavesAndComesBack(t *testing.T) {
	t.Parallel()
	g := newGateway(t, list("news", "")+list("hidden", "listed = false")+maildirLane)
	g.csv("a@example.net,A,Female,true", "b@example.net,B,Female,true")
	g.serve()
	copies := g.campaign("promo", "1", "a@example.net", "b@example.net")
	link := copies["a@example.net"].link(t)
	look(t, link) // a scanner's GET changes nothing
	if _, entries := g.history("a@example.net"); len(entries) > 0 {
		t.Errorf("a GET left %+v", entries)
	}
	post(t, link)
	g.campaign("promo", "2", "b@example.net")
	g.campaign("news", "3", "a@example.net", "b@example.net")
	if gets, entries := g.history("A@example.net"); !slices.Equal(gets, []string{"news", "hidden"}) || len(entries) != 1 ||
		entries[0].Kind != "opt-out" || entries[0].List != "promo" || entries[0].How != "one-click" || entries[0].Remote != "127.0.0.1" || entries[0].Message == "" {
		t.Errorf("after one click: gets %v, %+v", gets, entries)
	}

	preferences := strings.Replace(link, "/u/", "/p/", 1)
	if p := look(t, preferences+"?lang=en"); !strings.Contains(p, `value="promo"`) || !strings.Contains(p, `value="news"`) || strings.Contains(p, `value="hidden"`) {
		t.Errorf("the preferences page:\n%s", p)
	}
	fill(t, preferences+"?lang=en", url.Values{"do": {"save"}, "page": {"preferences"}, "was": {"news"}, "on": {"news", "promo"}})
	copies = g.campaign("promo", "4", "a@example.net", "b@example.net")
	gets, entries := g.history("a@example.net")
	if len(gets) != 3 || len(entries) != 2 {
		t.Fatalf("after coming back: gets %v, %+v", gets, entries)
	}
	if e := entries[1]; e.Kind != "consent" || e.List != "promo" || e.How != "page" || !strings.Contains(e.Wording, "Promotions") {
		t.Errorf("the consent: %+v", e)
	}

	g.run("optout", "rotate") // links from before still work
	_, token, _ := strings.Cut(copies["a@example.net"].Unsubscribe, "?subject=")
	token, _, _ = strings.Cut(token, ">")
	if err := g.report("unsubscribe@lists.example.com", "From: =?utf-8?B?6rmA?= <a@example.net>\nSubject: "+token+"\nMessage-ID: <bye@example.net>\n\n"); err != nil {
		t.Fatal(err)
	}
	post(t, copies["b@example.net"].link(t))
	g.campaign("promo", "5")
	_, entries = g.history("a@example.net")
	if e := entries[len(entries)-1]; len(entries) != 3 || e.Kind != "opt-out" || e.How != "mailto" || !strings.Contains(e.Wording, "From: 김 <a@example.net>") || strings.Contains(e.Wording, token) {
		t.Errorf("left by mail: %+v", entries)
	}
	newest := g.campaign("news", "6", "a@example.net", "b@example.net")["b@example.net"].link(t)
	if old, now := keyOf(t, copies["b@example.net"].link(t)), keyOf(t, newest); old != 1 || now != 2 {
		t.Errorf("key %d before and %d after it was changed", old, now)
	}
	post(t, newest)
	g.campaign("news", "7", "a@example.net")

	// Who has left all and comes back to one list gets that one alone.
	fill(t, preferences, url.Values{"do": {"all"}, "page": {"preferences"}, "was": {"news"}})
	g.campaign("news", "8")
	fill(t, preferences, url.Values{"do": {"save"}, "page": {"preferences"}, "on": {"news"}})
	g.campaign("news", "9", "a@example.net")
	g.campaign("promo", "10")
	if gets, _ := g.history("a@example.net"); !slices.Equal(gets, []string{"news"}) {
		t.Errorf("gets %v", gets)
	}
	if out := g.run("ledger", "verify"); !strings.Contains(out, "adds up") {
		t.Error(out)
	}
	g.stop()
}

// keyOf is the number of the key that has sealed a link.
func keyOf(t *testing.T, link string) byte {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(link[strings.LastIndex(link, "/")+1:])
	if err != nil || len(raw) < 2 {
		t.Fatalf("%s: %v", link, err)
	}
	return raw[1]
}

// The answer 200 is a promise: neither a directory that is away nor a kill breaks it.
func TestAnOptOutWhileDynamoDBIsAwayAndThenAKill(t *testing.T) {
	t.Parallel() // it waits for most of its time
	d := startDynamo(t)
	d.put(t, item{"Email": str("A@example.net"), "Name": str("A"), "SubscriptionStatus": str("true")},
		item{"Email": str("b@example.net"), "Name": str("B"), "SubscriptionStatus": yes(true)})
	g := newGateway(t, d.config(1)+maildirLane)
	g.serve()
	link := g.campaign("promo", "1", "A@example.net", "b@example.net")["A@example.net"].link(t)
	g.empty()
	d.with(func() { d.away = true })
	g.mustSubmit("promo@lists.example.com", mailOf("2", "promo@lists.example.com", "Hello", "x"))
	post(t, link)
	g.kill()
	g.serve()
	if gets, entries := g.history("a@example.net"); len(gets) > 0 || len(entries) != 1 {
		t.Errorf("after the kill: gets %v, %+v", gets, entries)
	}
	d.with(func() { d.away = false })
	g.settled("done")
	g.reached("b@example.net")
	g.wait("told the table", func() (string, bool) {
		left := d.optOut(t, "A@example.net")
		return strings.Join(left, " "), slices.Equal(left, []string{"promo"})
	})
	g.stop()
}

// optOut is what the table says that a user has left.
func (d *dynamo) optOut(t *testing.T, email string) []string {
	t.Helper()
	out, err := d.client.GetItem(t.Context(), &dynamodb.GetItemInput{TableName: aws.String("User"), Key: item{"Email": str(email)}, ConsistentRead: aws.Bool(true)})
	if err != nil {
		t.Fatal(err)
	}
	if left, ok := out.Item["OptOut"].(*types.AttributeValueMemberSS); ok {
		return left.Value
	}
	return nil
}

// What another program writes straight into the table counts, for a message that is
// held too.
func TestAnOptOutWrittenIntoTheTableCounts(t *testing.T) {
	d := startDynamo(t)
	leave := func(email string) {
		_, err := d.client.UpdateItem(t.Context(), &dynamodb.UpdateItemInput{TableName: aws.String("User"), Key: item{"Email": str(email)},
			UpdateExpression: aws.String("ADD OptOut :l"), ExpressionAttributeValues: item{":l": &types.AttributeValueMemberSS{Value: []string{"promo"}}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"a", "b", "c", "nameless"} {
		it := item{"Email": str(name + "@example.net"), "Name": str(name), "SubscriptionStatus": yes(true)}
		if name == "nameless" {
			delete(it, "Name")
		}
		d.put(t, it)
	}
	g := newGateway(t, d.config(1)+list("news", "")+maildirLane)
	g.serve()
	leave("a@example.net")
	g.mustSubmit("promo@lists.example.com", hello)
	held := g.settled("held")[0]
	leave("b@example.net")
	g.run("users", "set", "nameless@example.net", "Name=Kim")
	g.run("queue", "resume", held.ID)
	g.settled("done")
	g.reached("c@example.net", "nameless@example.net")
	if b := g.show(held.ID).row(t, "b@example.net"); b.State != "unsubscribed" {
		t.Errorf("who left while it was held: %+v", b)
	}
	if gets, _ := g.history("b@example.net"); !slices.Equal(gets, []string{"news"}) {
		t.Errorf("gets %v", gets)
	}
	link := g.campaign("news", "n", "a@example.net", "b@example.net", "c@example.net", "nameless@example.net")["a@example.net"].link(t)
	// Who comes back by the page comes back in the table too.
	fill(t, strings.Replace(link, "/u/", "/p/", 1), url.Values{"do": {"save"}, "page": {"preferences"}, "was": {"news"}, "on": {"news", "promo"}})
	g.wait("told the table", func() (string, bool) {
		left := d.optOut(t, "a@example.net")
		return strings.Join(left, " "), len(left) == 0
	})
	g.campaign("promo", "p", "a@example.net", "c@example.net", "nameless@example.net")
	g.stop()
}

const advertiser = `advertising = true
language = "en"
[list.identity]
company = "Example Fashion"
address = "110 Sejong-daero, Seoul"
phone = "02-120"
email = "help@example.com"
`

// index opens the index of a gateway that does not run.
func (g *gateway) index() *directory.Index {
	g.t.Helper()
	x, err := directory.OpenIndex(filepath.Join(g.dir, "data", "index.db"))
	if err != nil {
		g.t.Fatal(err)
	}
	return x
}

// Korean law: whoever leaves advertising, or agrees to it, is told the result, and the
// ledger says so.
func TestTheResultOfAChoiceIsTold(t *testing.T) {
	g := newGateway(t, list("sale", advertiser)+list("news", "")+maildirLane)
	g.csv("a@example.net,A,Female,true", "b@example.net,B,Female,true")
	// A choice of eleven minutes ago, so that nothing is waited for any more.
	x := g.index()
	err := x.OptOut(t.Context(), "b@example.net", "sale", directory.Evidence{At: time.Now().Add(-11 * time.Minute), How: "one-click", Answer: true})
	if err := errors.Join(err, x.Close()); err != nil {
		t.Fatal(err)
	}
	g.serve()
	g.wait("answered", func() (string, bool) {
		_, entries := g.history("b@example.net")
		last := entries[len(entries)-1]
		return last.Kind, last.Kind == "answered" && last.Of == entries[0].Number && last.Message != ""
	})
	g.settled("done")
	mails := g.outbox()
	if len(mails) != 1 {
		t.Fatalf("%d mails", len(mails))
	}
	p := g.read(mails)[0]
	if !strings.Contains(p.From, "help@example.com") || p.To[0] != "b@example.net" || !strings.Contains(p.Text, "Example Fashion") || !strings.Contains(p.Text, "http://"+g.web+"/p/") {
		t.Errorf("the letter: %+v", p)
	}

	// What is chosen now is owed an answer where there is advertising, and only there.
	sale := g.campaign("sale", "1", "a@example.net")["a@example.net"].link(t)
	news := g.campaign("news", "2", "a@example.net", "b@example.net")["b@example.net"].link(t)
	post(t, sale)
	post(t, news)
	g.run("users", "leave", "a@example.net", "--all", "--evidence", "by phone")
	g.stop()
	x = g.index()
	owed, err := x.Unanswered(10)
	if err := errors.Join(err, x.Close()); err != nil {
		t.Fatal(err)
	}
	var lists []string
	for _, o := range owed {
		lists = append(lists, string(o.User)+" "+o.List)
	}
	if !slices.Equal(lists, []string{"a@example.net sale", "a@example.net *"}) {
		t.Errorf("owed: %q", lists)
	}
}

var confirmation = regexp.MustCompile(`http://[^ <>]+/c/[A-Za-z0-9_-]+`)

// Whoever called a mail spam comes back only by the link in a mail to them.
func TestAComplainantComesBackByAMail(t *testing.T) {
	t.Parallel()
	g := newGateway(t, list("news", "")+maildirLane)
	g.csv("a@example.net,A,Female,true")
	g.serve()
	link := g.campaign("promo", "1", "a@example.net")["a@example.net"].link(t)
	g.write("spam.csv", "Address,Kind,Reason\na@example.net,complaint,spam\n")
	g.run("suppress", "import", "spam.csv")
	post(t, link)
	g.empty()
	fill(t, strings.Replace(link, "/u/", "/p/", 1), url.Values{"do": {"save"}, "page": {"preferences"}, "on": {"promo"}})
	g.announce("promo", "2") // reaches nobody
	var confirm string
	g.wait("asked", func() (string, bool) {
		for _, p := range g.read(g.outbox()) {
			confirm = confirmation.FindString(strings.ReplaceAll(p.Text, "\n", " "))
		}
		return confirm, confirm != ""
	})
	look(t, confirm)
	if got := g.run("suppress", "list"); !strings.Contains(got, "a@example.net") {
		t.Error("a GET has confirmed it")
	}
	fill(t, confirm, url.Values{})
	g.campaign("promo", "3", "a@example.net")
	_, entries := g.history("a@example.net")
	var kinds []string
	for _, e := range entries {
		kinds = append(kinds, e.Kind)
	}
	if !slices.Equal(kinds, []string{"suppress", "opt-out", "asked", "unsuppress", "consent"}) {
		t.Errorf("history: %v", kinds)
	}
	g.stop()
}

// Two years after somebody agreed to advertising they are reminded, once.
func TestAConsentIsRemindedOfOnce(t *testing.T) {
	g := newGateway(t, list("sale", advertiser)+maildirLane)
	text, err := os.ReadFile(filepath.Join(g.dir, "config.toml"))
	if err != nil {
		t.Fatal(err)
	}
	g.write("config.toml", strings.Replace(string(text), "[optout]", "[optout]\nconsent_field = \"Agreed\"", 1))
	old, recent := time.Now().AddDate(0, -23, -3), time.Now().AddDate(0, -3, 0)
	g.write("users.csv", "Email,Name,SubscriptionStatus,Agreed\n"+
		"old@example.net,Old,true,"+old.Format(time.RFC3339)+"\nnew@example.net,New,true,"+recent.Format(time.RFC3339)+"\nunknown@example.net,Who,true,\ngone@example.net,Gone,false,"+old.Format(time.RFC3339)+"\n")
	g.run("users", "import", "users.csv")
	want := "old@example.net  Example Fashion  sale on " + old.In(seoul(t)).Format(time.DateOnly)
	if out := g.run("consent", "due"); !strings.Contains(out, want) || !strings.Contains(out, "1 to be reminded, of 4 users; of 1 who get advertising nobody knows when they agreed") {
		t.Errorf("consent due: %s", out)
	}
	var due struct {
		User     mail.Address `json:"user"`
		Consents []struct {
			Source string `json:"source"`
		} `json:"consents"`
	}
	if err := json.Unmarshal([]byte(g.run("consent", "due", "--json")), &due); err != nil || due.User != "old@example.net" || due.Consents[0].Source != "Agreed" {
		t.Errorf("consent due --json: %+v, %v", due, err)
	}
	if out := g.run("consent", "due", "--send"); out != "1 reminder accepted for sending\n" {
		t.Errorf("consent due --send: %s", out)
	}
	g.serve()
	if out := g.run("consent", "due", "--send"); out != "0 reminders accepted for sending\n" {
		t.Errorf("again: %s", out)
	}
	g.settled("done")
	p := g.read(g.outbox())
	if len(p) != 1 || p[0].To[0] != "old@example.net" || p[0].OneClick == "" {
		t.Fatalf("the reminder: %+v", p)
	}
	post(t, p[0].link(t))
	_, entries := g.history("old@example.net")
	if len(entries) != 2 || entries[0].Kind != "reminded" || entries[1].Kind != "opt-out" {
		t.Errorf("history: %+v", entries)
	}
	g.stop()
}

func seoul(t *testing.T) *time.Location {
	t.Helper()
	l, err := time.LoadLocation("Asia/Seoul")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// Somebody with an editor for the file makes of a refusal one of another list.
func TestAnEditedLedgerIsFoundOut(t *testing.T) {
	g := newGateway(t, maildirLane)
	g.csv("a@example.net,A,Female,true")
	for _, what := range []string{"leave", "restore", "leave"} {
		g.run("users", what, "a@example.net", "--list", "promo", "--evidence", "by phone")
	}
	db, err := bolt.Open(filepath.Join(g.dir, "data", "index.db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		b := tx.Bucket([]byte("ledger"))
		key := []byte{0, 0, 0, 0, 0, 0, 0, 2}
		return b.Put(key, bytes.Replace(b.Get(key), []byte("restore"), []byte("consent"), 1))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	if out := g.fails("ledger", "verify"); !strings.Contains(out, "postern: entry 2 of the ledger is not what was written there") {
		t.Error(out)
	}
	g.serve()
	if out := g.fails("ledger", "verify", "--json"); !strings.Contains(out, `"bad": 2`) {
		t.Error(out)
	}
	g.stop()
}
