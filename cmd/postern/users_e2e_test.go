package main_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// feeding is a `users import -` that is given its file bit by bit.
type feeding struct {
	t     *testing.T
	cmd   *exec.Cmd
	in    io.WriteCloser
	began chan struct{} // closed with the first line on stderr
	said  *bytes.Buffer // whole once the command has ended
	ended chan struct{}
}

func (g *gateway) feed(args ...string) *feeding {
	g.t.Helper()
	f := &feeding{t: g.t, cmd: g.command(append([]string{"users", "import", "-"}, args...)...), began: make(chan struct{}), said: &bytes.Buffer{}, ended: make(chan struct{})}
	stderr, err := f.cmd.StderrPipe()
	if err != nil {
		g.t.Fatal(err)
	}
	if f.in, err = f.cmd.StdinPipe(); err != nil {
		g.t.Fatal(err)
	}
	if err := f.cmd.Start(); err != nil {
		g.t.Fatal(err)
	}
	go func() {
		defer close(f.ended)
		for s := bufio.NewScanner(stderr); s.Scan(); {
			if f.said.Len() == 0 {
				close(f.began)
			}
			fmt.Fprintln(f.said, s.Text())
		}
	}()
	return f
}

func (f *feeding) give(text string) {
	f.t.Helper()
	if _, err := io.WriteString(f.in, text); err != nil {
		f.t.Fatal(err)
	}
}

// kill ends the command as a power switch would.
func (f *feeding) kill() {
	_ = f.cmd.Process.Kill()
	<-f.ended
	_ = f.cmd.Wait()
}

// has says whether the running gateway has the user.
func (g *gateway) has(email string) bool {
	var u struct{ Email string }
	return g.ask("/api/users/"+email, &u) == nil && u.Email == email
}

// The gateway is killed in mid-import, then the command, then a command that works
// without a gateway: each time the import goes on, and gives what one gives that
// nothing happens to.
func TestAnImportThatIsKilledGoesOn(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString("Email,Name,Gender,CreateTime,SubscriptionStatus\n")
	const rows = 18_000
	email := func(row int) string { return fmt.Sprintf("user%05d@example.net", row*7919%rows) }
	for i := range rows {
		fmt.Fprintf(&b, "%s,고객%d,Female,%d,%v\n", email(i), i, 1700000000+i, i%3 > 0)
		if i%4000 == 0 {
			b.WriteString("nobody,x,Female,1,true\n")
		}
	}
	csv := b.String()
	upTo := func(rows int) string {
		at := 0
		for range rows {
			at += strings.IndexByte(csv[at:], '\n') + 1
		}
		return csv[:at]
	}
	whole := newGateway(t, maildirLane)
	whole.write("users.csv", csv)
	if out := whole.fails("users", "import", "users.csv"); !strings.Contains(out, "18000 users stored") {
		t.Fatal(out)
	}

	g := newGateway(t, maildirLane)
	g.serve()
	f := g.feed()
	f.give(upTo(7000))
	<-f.began // 5000 rows are stored, and that is remembered
	g.kill()
	<-f.ended
	if err := f.cmd.Wait(); err == nil || !strings.Contains(f.said.String(), "go on with `postern users import --resume -`") {
		t.Errorf("%v\n%s", err, f.said)
	}

	g.serve()
	if !g.has(email(4900)) || g.has(email(8000)) {
		t.Error("not those are stored who were when it was killed")
	}
	f = g.feed("--resume")
	f.give(upTo(13_000))
	g.wait("gone on", func() (string, bool) { return email(9900) + " is not stored", g.has(email(9900)) })
	f.kill()
	g.stop()

	f = g.feed("--resume")
	f.give(upTo(17_000))
	<-f.began
	f.kill()

	g.write("stdin", csv)
	out := g.fails("users", "import", "--resume", "stdin", "--json")
	var result struct {
		Rows, Stored, Bad, Resumed int
	}
	if err := json.Unmarshal([]byte(out[strings.Index(out, "{"):strings.LastIndex(out, "}")+1]), &result); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if result.Rows != rows+5 || result.Stored != rows || result.Bad != 5 || result.Resumed < 9900 {
		t.Errorf("%+v", result)
	}
	if whole.run("users", "export") != g.run("users", "export") {
		t.Error("the directories differ")
	}
	if out := g.fails("users", "import", "--resume", "stdin"); !strings.Contains(out, "no import of \"stdin\" has broken off here") {
		t.Error(out)
	}
}

// A table as years leave it: a campaign reaches exactly those who are beyond doubt
// subscribed, by their names, before and after it is mended.
func TestACampaignToAnOddTable(t *testing.T) {
	t.Parallel()
	d := startDynamo(t)
	null := &types.AttributeValueMemberNULL{Value: true}
	rows := map[string]struct {
		item item
		hi   string // what the mail says; "" who gets none
	}{
		"bool":     {item{"SubscriptionStatus": yes(true), "Name": str("민수"), "CreateTime": num("1700000001")}, "민수"},
		"text":     {item{"SubscriptionStatus": str("True"), "Name": str("지수"), "CreateTime": str("1700000001")}, "지수"},
		"one":      {item{"SubscriptionStatus": num("1"), "name": str("소문자"), "createtime": str(" 1700000001 ")}, "소문자"},
		"small":    {item{"subscriptionstatus": str("1"), "NAME": str("대문자"), "CREATETIME": num("1700000001")}, "대문자"},
		"both":     {item{"SubscriptionStatus": yes(true), "Name": str("바른"), "name": str("다른"), "CreateTime": num("1700000001")}, "바른"},
		"number":   {item{"SubscriptionStatus": yes(true), "Name": num("7"), "CreateTime": num("1700000001")}, "7"},
		"nameless": {item{"SubscriptionStatus": yes(true), "Name": null, "CreateTime": num("1700000001")}, "friend"},
		"list":     {item{"SubscriptionStatus": yes(true), "Name": &types.AttributeValueMemberL{Value: []types.AttributeValue{str("x")}}, "CreateTime": num("1700000001")}, "friend"},
		"other":    {item{"SubscriptionStatus": str("1"), "OptOut": &types.AttributeValueMemberL{Value: []types.AttributeValue{str("news")}}, "Name": str("뉴스"), "CreateTime": num("1700000001")}, "뉴스"},

		"off":     {item{"SubscriptionStatus": yes(false), "CreateTime": num("1700000001")}, ""},
		"offtext": {item{"SubscriptionStatus": str("FALSE"), "CreateTime": num("1700000001")}, ""},
		"zero":    {item{"SubscriptionStatus": num("0"), "CreateTime": num("1700000001")}, ""},
		"no":      {item{"SubscriptionStatus": str("N"), "CreateTime": num("1700000001")}, ""},
		"spaces":  {item{"SubscriptionStatus": str(" true "), "CreateTime": num("1700000001")}, ""},
		"null":    {item{"SubscriptionStatus": null, "CreateTime": num("1700000001")}, ""},
		"missing": {item{"CreateTime": num("1700000001")}, ""},
		"two":     {item{"subscriptionstatus": yes(true), "subscriptionStatus": yes(false), "CreateTime": num("1700000001")}, ""},
		"left":    {item{"SubscriptionStatus": str("true"), "OptOut": str("promo"), "CreateTime": num("1700000001")}, ""},
		"soon":    {item{"SubscriptionStatus": yes(true), "CreateTime": str("soon")}, ""},
		"early":   {item{"SubscriptionStatus": yes(true), "createtime": str("1500000000")}, ""},
		"never":   {item{"SubscriptionStatus": yes(true)}, ""},
	}
	var want []string
	for who, r := range rows {
		r.item["Email"] = str(who + "@example.net")
		d.put(t, r.item)
		if r.hi != "" {
			want = append(want, who+"@example.net")
		}
	}
	d.put(t, item{"Email": str("no address"), "SubscriptionStatus": yes(true), "CreateTime": num("1700000001")})
	g := newGateway(t, d.config(2)+maildirLane)
	config, err := os.ReadFile(filepath.Join(g.dir, "config.toml"))
	if err != nil {
		t.Fatal(err)
	}
	g.write("config.toml", strings.Replace(string(config), "name = \"Promotions\"\n", "name = \"Promotions\"\nfilter = 'CreateTime > 1600000000'\n", 1))
	g.serve()
	campaign := func(when string) {
		t.Helper()
		g.mustSubmit("promo@lists.example.com", mailOf(when, "promo@lists.example.com", "Hi {{Name|friend}}", "x"))
		g.settled("done")
		got := g.reached(slices.Clone(want)...)
		for who, r := range rows {
			if m, there := got[who+"@example.net"]; there && m.Subject != "Hi "+r.hi {
				t.Errorf("%s: %s got %q, want a mail to %q", when, who, m.Subject, r.hi)
			}
		}
		g.empty()
	}
	campaign("as it is")

	var report checkedUsers
	check := func(args ...string) {
		t.Helper()
		out := g.fails(append([]string{"users", "check", "--json", "--list", "promo"}, args...)...)
		report = checkedUsers{}
		if err := json.Unmarshal([]byte(out[:strings.LastIndex(out, "}")+1]), &report); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	check()
	if report.Users != 22 || report.Subscribed != 14 || report.Unsubscribed != 4 || report.Unknown != 4 || report.Lists["promo"] != 12 || report.Odd != 18 || len(report.Mended) != 0 {
		t.Errorf("%+v", report)
	}
	before := report
	d.with(func() { d.writes = 0 })
	check("--fix", "--dry-run")
	d.with(func() {
		if d.writes > 0 || len(report.Mended) == 0 {
			t.Errorf("a dry run: %d writes, %+v", d.writes, report.Mended)
		}
	})
	check("--fix")
	if report.Users != 22 || report.Subscribed != before.Subscribed || report.Unsubscribed != before.Unsubscribed || report.Unknown != before.Unknown || report.Lists["promo"] != 12 || report.Odd != 9 {
		t.Errorf("after mending %+v\nbefore %+v", report, before)
	}
	for who, attributes := range map[string]item{
		"text":   {"SubscriptionStatus": yes(true), "CreateTime": num("1700000001")},
		"small":  {"SubscriptionStatus": yes(true), "Name": str("대문자")},
		"other":  {"OptOut": &types.AttributeValueMemberSS{Value: []string{"news"}}},
		"zero":   {"SubscriptionStatus": yes(false)},
		"spaces": {"SubscriptionStatus": str(" true ")},
		"two":    {"SubscriptionStatus": yes(false)},
		"soon":   {"CreateTime": str("soon")},
		"both":   {"name": str("다른")},
	} {
		got := d.get(t, who+"@example.net")
		for name, av := range attributes {
			if fmt.Sprintf("%T%+v", got[name], got[name]) != fmt.Sprintf("%T%+v", av, av) {
				have, _ := json.Marshal(got)
				t.Errorf("%s: %s is not what it should be in %s", who, name, have)
			}
		}
	}
	campaign("mended")
	check("--fix")
	if len(report.Mended) > 0 {
		t.Errorf("mended again: %+v", report.Mended)
	}
	g.stop()
}

// checkedUsers is `users check --json`.
type checkedUsers struct {
	Users, Subscribed, Unsubscribed, Unknown, Odd int
	Lists                                         map[string]int
	Oddities, Mended                              []struct {
		What  string
		Count int
	}
}

func (d *dynamo) get(t *testing.T, key string) item {
	t.Helper()
	out, err := d.client.GetItem(t.Context(), &dynamodb.GetItemInput{TableName: aws.String("User"), Key: item{"Email": str(key)}, ConsistentRead: aws.Bool(true)})
	if err != nil {
		t.Fatal(err)
	}
	return out.Item
}
