package dynamodb_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"postern/directory"
	"postern/directory/directorytest"
	"postern/directory/dynamodb"
	"postern/internal/peer"
	"postern/mail"
)

func TestContract(t *testing.T) {
	endpoint := peer.Dynalite(t)
	tables := 0
	for _, segments := range []int{1, 4} {
		t.Run(fmt.Sprint("segments ", segments), func(t *testing.T) {
			directorytest.Run(t, func(t *testing.T) directory.Store {
				tables++
				tab := makeTable(t, endpoint, fmt.Sprint("User", tables), "Email")
				return open(t, dynamodb.Config{Table: tab.name, Endpoint: endpoint, Segments: segments})
			})
		})
	}
}

func TestEveryOldSpellingOfTheStatus(t *testing.T) {
	tab := newTable(t)
	store := open(t, dynamodb.Config{Endpoint: tab.endpoint})
	type it = map[string]types.AttributeValue
	for i, c := range []struct {
		item it
		want bool
	}{
		{it{"SubscriptionStatus": yes(true)}, true},
		{it{"SubscriptionStatus": yes(false)}, false},
		{it{"SubscriptionStatus": s("true")}, true},
		{it{"SubscriptionStatus": s("TRUE")}, true},
		{it{"SubscriptionStatus": s("True")}, true},
		{it{"SubscriptionStatus": s("1")}, true},
		{it{"SubscriptionStatus": n("1")}, true},
		{it{"SubscriptionStatus": s("false")}, false},
		{it{"SubscriptionStatus": s("yes")}, false},
		{it{"SubscriptionStatus": s(" true")}, false},
		{it{"SubscriptionStatus": s("")}, false},
		{it{"SubscriptionStatus": n("0")}, false},
		{it{"SubscriptionStatus": n("2")}, false},
		{it{"SubscriptionStatus": null()}, false},
		{it{"SubscriptionStatus": l(yes(true))}, false},
		{it{"SubscriptionStatus": ss("true")}, false},
		{it{"SubscriptionStatus": &types.AttributeValueMemberB{Value: []byte("true")}}, false},
		{it{"SubscriptionStatus": &types.AttributeValueMemberM{Value: it{"BOOL": yes(true)}}}, false},
		{it{}, false},
		{it{"subscriptionStatus": s("true")}, true},
		{it{"subscriptionstatus": yes(true)}, true},
		{it{"subscriptionstatus": yes(true), "subscriptionStatus": yes(false)}, false},
		{it{"SubscriptionStatus": yes(false), "subscriptionStatus": yes(true)}, false},
		{it{"SubscriptionStatus": yes(true), "subscriptionStatus": yes(false)}, true},
	} {
		key := fmt.Sprintf("u%d@example.com", i)
		c.item["Email"] = s(key)
		tab.put(t, c.item)
		u, err := store.Get(t.Context(), mail.Address(key))
		if err != nil || u.Subscribed != c.want || len(u.Attributes) != 0 {
			t.Errorf("%v: got %+v, %v; want subscribed %v and no attributes", c.item, u, err, c.want)
		}
	}
}

func TestAnOldSpellingIsOverruledByUpdate(t *testing.T) {
	tab := newTable(t)
	store := open(t, dynamodb.Config{Endpoint: tab.endpoint})
	tab.put(t, map[string]types.AttributeValue{"Email": s("a@example.com"), "subscriptionStatus": s("true")})
	no := false
	if err := store.Update(t.Context(), "a@example.com", directory.Change{Subscribed: &no}); err != nil {
		t.Fatal(err)
	}
	if u, err := store.Get(t.Context(), "a@example.com"); err != nil || u.Subscribed {
		t.Fatalf("got %+v, %v; want not subscribed", u, err)
	}
}

func TestAttributesOfEveryTypeAreReadAndLeftAlone(t *testing.T) {
	tab := newTable(t)
	store := open(t, dynamodb.Config{Endpoint: tab.endpoint})
	it := map[string]types.AttributeValue{
		"Email": s("kim@example.com"), "Name": s("김민"), "CreateTime": n("1700000000"), "name": s("min"), "OptOut": ss("promo", "news"),
		"B": &types.AttributeValueMemberB{Value: []byte{0, 255}}, "SS": ss("b", "a"), "NS": &types.AttributeValueMemberNS{Value: []string{"1.5"}},
		"BS": &types.AttributeValueMemberBS{Value: [][]byte{{1}}}, "L": l(s("x"), n("2"), null()), "NULL": null(), "BOOL": yes(true),
		"M": &types.AttributeValueMemberM{Value: map[string]types.AttributeValue{"k": l(yes(false))}},
	}
	tab.put(t, it)
	u, err := store.Get(t.Context(), "kim@example.com")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"Name": "김민", "CreateTime": json.Number("1700000000"), "name": "min", "B": "AP8=", "SS": []any{"a", "b"},
		"NS": []any{json.Number("1.5")}, "BS": []any{"AQ=="}, "L": []any{"x", json.Number("2"), nil}, "NULL": nil, "BOOL": true,
		"M": map[string]any{"k": []any{false}}}
	if set, ok := u.Attributes["SS"].([]any); ok && len(set) == 2 && set[0] == "b" {
		want["SS"] = []any{"b", "a"} // a set has no order
	}
	if !reflect.DeepEqual(u.Attributes, want) || !reflect.DeepEqual(u.OptOut, []string{"news", "promo"}) {
		t.Fatalf("got %+v\nwant %+v", u, want)
	}
	// What was read can be put again, and nothing of another type is touched.
	u.Attributes = map[string]any{"Name": "Kim"}
	if err := store.Put(t.Context(), []directory.User{u}); err != nil {
		t.Fatal(err)
	}
	got := tab.get(t, "kim@example.com")
	for name := range it {
		if name != "Name" && name != "SS" && name != "OptOut" && !reflect.DeepEqual(got[name], it[name]) {
			t.Errorf("%s became %#v", name, got[name])
		}
	}
}

func TestAnOptOutOfAnotherTypeIsUnderstoodAndMended(t *testing.T) {
	tab := newTable(t)
	store := open(t, dynamodb.Config{Endpoint: tab.endpoint})
	for name, c := range map[string]struct {
		odd  types.AttributeValue
		want []string
	}{
		"list":   {l(s("promo"), n("1"), s("news")), []string{"news", "promo"}},
		"text":   {s("promo"), []string{"promo"}},
		"null":   {null(), nil},
		"number": {n("1"), nil},
	} {
		t.Run(name, func(t *testing.T) {
			key := mail.Address(name + "@example.com")
			tab.put(t, map[string]types.AttributeValue{"Email": s(string(key)), "OptOut": c.odd, "SubscriptionStatus": yes(true)})
			if u, err := store.Get(t.Context(), key); err != nil || !reflect.DeepEqual(u.OptOut, c.want) {
				t.Fatalf("read %v, %v; want %v", u.OptOut, err, c.want)
			}
			if err := store.Update(t.Context(), key, directory.Change{OptOut: []string{"x"}}); err != nil {
				t.Fatal(err)
			}
			if err := store.Put(t.Context(), []directory.User{{Email: key, OptOut: []string{"y"}}}); err != nil {
				t.Fatal(err)
			}
			want := append(append([]string{}, c.want...), "x", "y")
			if u, err := store.Get(t.Context(), key); err != nil || !reflect.DeepEqual(u.OptOut, want) {
				t.Fatalf("then %v, %v; want %v", u.OptOut, err, want)
			}
		})
	}
}

// Items of 100 KB make pages of about ten: the 1 MB limit cuts them.
func TestPagesCutAtOneMegabyte(t *testing.T) {
	tab := newTable(t)
	fat := s(strings.Repeat("x", 100_000))
	const users = 45
	for i := range users {
		tab.put(t, map[string]types.AttributeValue{"Email": s(fmt.Sprintf("u%02d@example.com", i)), "SubscriptionStatus": s("true"), "Note": fat})
	}
	for _, segments := range []int{1, 3, 8} {
		t.Run(fmt.Sprint("segments ", segments), func(t *testing.T) {
			store := open(t, dynamodb.Config{Endpoint: tab.endpoint, Segments: segments})
			var at directory.Checkpoint
			seen, pages := map[mail.Address]int{}, 0
			for {
				p, err := store.Scan(t.Context(), at)
				if err != nil {
					t.Fatal(err)
				}
				pages++
				for _, u := range p.Users {
					seen[u.Email]++
				}
				if at = p.Next; at == nil {
					break
				}
				// A restart with another configuration goes on with the same segments.
				store = open(t, dynamodb.Config{Endpoint: tab.endpoint, Segments: 1 + pages%4})
			}
			for key, times := range seen {
				if times != 1 {
					t.Errorf("%s was met %d times", key, times)
				}
			}
			if len(seen) != users || segments == 1 && pages < 4 {
				t.Fatalf("%d users on %d pages; want %d, cut at 1 MB", len(seen), pages, users)
			}
		})
	}
}

func TestImportAgainWritesNothing(t *testing.T) {
	tab := newTable(t)
	p := newProxy(t, tab.endpoint, func(int, request) *answer { return nil })
	store := open(t, dynamodb.Config{Endpoint: p.URL})
	var csv strings.Builder
	csv.WriteString("Email,Name,Gender,CreateTime,SubscriptionStatus,Points:number,Color\n")
	for i := range 230 {
		fmt.Fprintf(&csv, "u%03d@example.com,김%d,Female,%d,true,%d,\n", i, i, 1700000000+i, i)
	}
	csv.WriteString("u000@example.com,again,Male,1,false,,red\n")
	writes := func() int { return p.count("UpdateItem") + p.count("BatchWriteItem") + p.count("PutItem") }
	for round := range 3 {
		before := writes()
		res, err := directory.Import(t.Context(), strings.NewReader(csv.String()), store, nil)
		if err != nil || res.Stored != 231 || res.Bad != 0 {
			t.Fatalf("%+v, %v", res, err)
		}
		if round > 0 && writes() != before {
			t.Fatalf("round %d wrote %d times", round, writes()-before)
		}
	}
	if u, err := store.Get(t.Context(), "u000@example.com"); err != nil || u.Subscribed || u.Value("Name") != "again" || u.Value("Color") != "red" {
		t.Fatalf("got %+v, %v; want what the last row says", u, err)
	}
	if c := tab.count(t); c != 230 {
		t.Fatalf("%d items, want 230", c)
	}
}

func TestTheConfigurationIsChecked(t *testing.T) {
	for name, c := range map[string]struct {
		config dynamodb.Config
		want   string
	}{
		"segments":     {dynamodb.Config{Segments: 65, Region: "x"}, "segments"},
		"endpoint":     {dynamodb.Config{Endpoint: "127.0.0.1:8000"}, "endpoint"},
		"no region":    {dynamodb.Config{}, "directory.dynamodb.region"},
		"Amazon's own": {dynamodb.Config{Endpoint: "https://dynamodb.eu-west-1.amazonaws.com"}, "directory.dynamodb.region"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := dynamodb.New(t.Context(), c.config)
			if mail.ClassOf(err) != mail.Permanent || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want a Permanent error about %s", err, c.want)
			}
		})
	}
}

func TestNoCredentialsIsSaid(t *testing.T) {
	store := open(t, dynamodb.Config{Region: "ap-northeast-2"})
	_, err := store.Get(t.Context(), "a@example.com")
	var e *mail.Error
	if !errors.As(err, &e) || e.Class != mail.AccountWide || !strings.Contains(e.Public, "no AWS credentials") {
		t.Fatalf("got %v, want a sentence about missing credentials", err)
	}
}
