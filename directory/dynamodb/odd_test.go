package dynamodb_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"postern/directory"
	"postern/directory/dynamodb"
	"postern/internal/peer"
	"postern/mail"
)

type it = map[string]types.AttributeValue

func binary(b ...byte) types.AttributeValue { return &types.AttributeValueMemberB{Value: b} }
func bmap(v it) types.AttributeValue        { return &types.AttributeValueMemberM{Value: v} }

// odd is an item, how it is read, and what it becomes when it is mended.
type odd struct {
	item    it
	status  string // yes, no, unknown
	odd     []string
	mended  it // nil: it stays as it is
	changes []string
}

func oddItems() map[string]odd {
	const missing, beside = "SubscriptionStatus is missing", "subscriptionStatus is there beside SubscriptionStatus"
	text := func(s, is string) []string {
		return []string{fmt.Sprintf("SubscriptionStatus is the text %q, which is read as %s", s, is)}
	}
	not := func(what string) []string {
		return []string{"SubscriptionStatus is " + what + ", which is not understood"}
	}
	const other = "subscriptionstatus is SubscriptionStatus in another case"
	const became = "subscriptionstatus became SubscriptionStatus"
	return map[string]odd{
		"yes":        {it{"SubscriptionStatus": yes(true)}, "yes", nil, nil, nil},
		"no":         {it{"SubscriptionStatus": yes(false), "OptOut": ss("a")}, "no", nil, nil, nil},
		"text":       {it{"SubscriptionStatus": s("true")}, "yes", text("true", "true"), it{"SubscriptionStatus": yes(true)}, []string{`SubscriptionStatus text "true" became true`}},
		"capitals":   {it{"SubscriptionStatus": s("TRUE")}, "yes", text("TRUE", "true"), it{"SubscriptionStatus": yes(true)}, []string{`SubscriptionStatus text "TRUE" became true`}},
		"text one":   {it{"SubscriptionStatus": s("1")}, "yes", text("1", "true"), it{"SubscriptionStatus": yes(true)}, []string{`SubscriptionStatus text "1" became true`}},
		"text no":    {it{"SubscriptionStatus": s("False")}, "no", text("False", "false"), it{"SubscriptionStatus": yes(false)}, []string{`SubscriptionStatus text "False" became false`}},
		"text zero":  {it{"SubscriptionStatus": s("0")}, "no", text("0", "false"), it{"SubscriptionStatus": yes(false)}, []string{`SubscriptionStatus text "0" became false`}},
		"one":        {it{"SubscriptionStatus": n("1.0")}, "yes", []string{"SubscriptionStatus is the number 1, which is read as true"}, it{"SubscriptionStatus": yes(true)}, []string{`SubscriptionStatus number 1 became true`}},
		"zero":       {it{"SubscriptionStatus": n("0")}, "no", []string{"SubscriptionStatus is the number 0, which is read as false"}, it{"SubscriptionStatus": yes(false)}, []string{`SubscriptionStatus number 0 became false`}},
		"missing":    {it{}, "unknown", []string{missing}, nil, nil},
		"spaces":     {it{"SubscriptionStatus": s(" true ")}, "unknown", not(`the text " true "`), nil, nil},
		"words":      {it{"SubscriptionStatus": s("yes, and gladly so until Tuesday")}, "unknown", not(`the text "yes, and gladly so u…"`), nil, nil},
		"N":          {it{"SubscriptionStatus": s("N")}, "unknown", not(`the text "N"`), nil, nil},
		"empty":      {it{"SubscriptionStatus": s("")}, "unknown", not(`the text ""`), nil, nil},
		"two":        {it{"SubscriptionStatus": n("2")}, "unknown", not("the number 2"), nil, nil},
		"null":       {it{"SubscriptionStatus": null()}, "unknown", not("null"), nil, nil},
		"list":       {it{"SubscriptionStatus": l(yes(true))}, "unknown", not("a list"), nil, nil},
		"set":        {it{"SubscriptionStatus": ss("true")}, "unknown", not("a set"), nil, nil},
		"binary":     {it{"SubscriptionStatus": binary(0xb6, 0xbb, 0x9e)}, "unknown", not("binary"), nil, nil}, // "true" in base64
		"map":        {it{"SubscriptionStatus": bmap(it{"BOOL": yes(true)})}, "unknown", not("a map"), nil, nil},
		"small":      {it{"subscriptionstatus": yes(true)}, "yes", []string{other}, it{"SubscriptionStatus": yes(true)}, []string{became}},
		"small text": {it{"subscriptionstatus": s("true")}, "yes", []string{other, `subscriptionstatus is the text "true", which is read as true`}, it{"SubscriptionStatus": yes(true)}, []string{became}},
		"small no":   {it{"subscriptionstatus": n("0")}, "no", []string{other, `subscriptionstatus is the number 0, which is read as false`}, it{"SubscriptionStatus": yes(false)}, []string{became}},
		"small odd":  {it{"subscriptionstatus": s("?")}, "unknown", []string{other, `subscriptionstatus is the text "?", which is not understood`}, nil, nil},
		"two small": {it{"subscriptionstatus": yes(true), "SUBSCRIPTIONSTATUS": s("x")}, "unknown",
			[]string{"SUBSCRIPTIONSTATUS is SubscriptionStatus in another case", `SUBSCRIPTIONSTATUS is the text "x", which is not understood`, other}, nil, nil},
		"two small, one no": {it{"subscriptionstatus": yes(true), "SUBSCRIPTIONSTATUS": yes(false)}, "no",
			[]string{"SUBSCRIPTIONSTATUS is SubscriptionStatus in another case", other}, it{"SubscriptionStatus": yes(false)}, []string{"SUBSCRIPTIONSTATUS became SubscriptionStatus", became}},
		"both":        {it{"SubscriptionStatus": yes(true), "subscriptionStatus": s("true")}, "yes", []string{beside}, it{"SubscriptionStatus": yes(true)}, []string{"subscriptionStatus became SubscriptionStatus"}},
		"both, no":    {it{"SubscriptionStatus": yes(false), "subscriptionStatus": s("true")}, "no", []string{beside + ", says something else, and is not looked at"}, it{"SubscriptionStatus": yes(false)}, []string{"subscriptionStatus became SubscriptionStatus"}},
		"both differ": {it{"SubscriptionStatus": s("true"), "subscriptionStatus": yes(false)}, "yes", append(text("true", "true"), beside+", says something else, and is not looked at"), nil, nil},
		"left list":   {it{"SubscriptionStatus": yes(true), "OptOut": l(s("b"), s("a"))}, "yes", []string{"OptOut is a list in place of a set of texts"}, it{"SubscriptionStatus": yes(true), "OptOut": ss("a", "b")}, []string{"OptOut, a list, became a set of texts"}},
		"left text":   {it{"SubscriptionStatus": yes(true), "OptOut": s("a")}, "yes", []string{"OptOut is a text in place of a set of texts"}, it{"SubscriptionStatus": yes(true), "OptOut": ss("a")}, []string{"OptOut, a text, became a set of texts"}},
		"left texts":  {it{"SubscriptionStatus": yes(true), "OptOut": s("b, a;c_1")}, "yes", []string{"OptOut is a text in place of a set of texts"}, it{"SubscriptionStatus": yes(true), "OptOut": ss("a", "b", "c_1")}, []string{"OptOut, a text, became a set of texts"}},
		"left json":   {it{"SubscriptionStatus": yes(true), "OptOut": s(`["b","*"]`)}, "yes", []string{"OptOut is a text in place of a set of texts"}, it{"SubscriptionStatus": yes(true), "OptOut": ss("*", "b")}, []string{"OptOut, a text, became a set of texts"}},
		"left spaces": {it{"SubscriptionStatus": yes(true), "OptOut": l(s(" a "), s("b,c"))}, "yes", []string{"OptOut is a list in place of a set of texts"}, it{"SubscriptionStatus": yes(true), "OptOut": ss("a", "b", "c")}, []string{"OptOut, a list, became a set of texts"}},
		"left null":   {it{"SubscriptionStatus": yes(true), "OptOut": null()}, "yes", []string{"OptOut is null in place of a set of texts"}, it{"SubscriptionStatus": yes(true)}, []string{"OptOut, null, became a set of texts"}},
		"left odd":    {it{"SubscriptionStatus": yes(true), "OptOut": l(s("a"), n("7"))}, "yes", []string{"OptOut is a list with something in it that is no list id"}, nil, nil},
		"left true":   {it{"SubscriptionStatus": yes(true), "OptOut": yes(true)}, "yes", []string{"OptOut is a boolean with something in it that is no list id"}, nil, nil},
		"left small":  {it{"SubscriptionStatus": yes(true), "optout": ss("a")}, "yes", []string{"optout is OptOut in another case, and is not looked at"}, nil, nil},
		"names": {it{"SubscriptionStatus": yes(true), "name": s("Kim"), "gender": ss("x"), "createtime": s("1700000000"), "Points": s("7"), "VIP": s("maybe"), "Tags": ss("x"), "B": binary(1)}, "yes", nil,
			it{"SubscriptionStatus": yes(true), "Name": s("Kim"), "Gender": ss("x"), "CreateTime": n("1700000000"), "Points": n("7"), "VIP": s("maybe"), "Tags": ss("x"), "B": binary(1)},
			[]string{"createtime became CreateTime", "gender became Gender", "name became Name", "the text of CreateTime became a number", "the text of Points became a number"}},
	}
}

func oddFields() map[string]string { return map[string]string{"Points": "number", "VIP": "bool"} }

func TestAnOldTableIsReadClosedAndWhatIsOddIsSaid(t *testing.T) {
	tab := newTable(t)
	store := open(t, dynamodb.Config{Endpoint: tab.endpoint})
	for name, c := range oddItems() {
		key := mail.Address(strings.ReplaceAll(name, " ", "-") + "@example.com")
		c.item["Email"] = s(string(key))
		tab.put(t, c.item)
		u, err := store.Get(t.Context(), key)
		status := map[bool]string{true: "yes", false: "no"}[u.Subscribed]
		if u.Unknown && !u.Subscribed {
			status = "unknown"
		}
		if err != nil || status != c.status || !reflect.DeepEqual(u.Odd, c.odd) {
			t.Errorf("%s: %s, %q, %v; want %s, %q", name, status, u.Odd, err, c.status, c.odd)
		}
	}
}

func TestARefusalInAnotherProgramsWritingIsHeeded(t *testing.T) {
	tab := newTable(t)
	store := open(t, dynamodb.Config{Endpoint: tab.endpoint})
	for _, left := range []types.AttributeValue{s("promo, news"), s("news promo"), s(`["promo"]`), l(s(" promo "), n("1")), s("promo;news"), ss("promo")} {
		tab.put(t, it{"Email": s("kim@example.com"), "SubscriptionStatus": yes(true), "OptOut": left})
		u, err := store.Get(t.Context(), "kim@example.com")
		if err != nil || u.Receives("promo") || !u.Receives("other") {
			t.Errorf("OptOut %v: has left %q, %v", left, u.OptOut, err)
		}
	}
}

func TestOnlyWhatIsBeyondDoubtIsMended(t *testing.T) {
	tab := newTable(t)
	p := newProxy(t, tab.endpoint, func(int, request) *answer { return nil })
	store := open(t, dynamodb.Config{Endpoint: p.URL})
	forms := directory.NewForms(oddFields())
	keys := []mail.Address{"nobody@example.com"}
	names := map[mail.Address]string{}
	read := map[mail.Address]bool{}
	for name, c := range oddItems() {
		key := mail.Address(strings.ReplaceAll(name, " ", "-") + "@example.com")
		keys, names[key] = append(keys, key), name
		c.item["Email"] = s(string(key))
		tab.put(t, c.item)
		u, err := store.Get(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		read[key] = u.Subscribed
	}
	for _, dry := range []bool{true, false} {
		before := p.count("UpdateItem")
		all, err := store.Mend(t.Context(), keys, forms, dry)
		if err != nil {
			t.Fatal(err)
		}
		did := map[mail.Address][]string{}
		for _, m := range all {
			did[m.Email] = m.What
		}
		for key, name := range names {
			c := oddItems()[name]
			if !reflect.DeepEqual(did[key], c.changes) {
				t.Errorf("%s, dry %v: %q, want %q", name, dry, did[key], c.changes)
			}
			want := c.item
			if c.mended != nil && !dry {
				want = c.mended
			}
			want["Email"] = s(string(key))
			if got := tab.get(t, string(key)); !sameItem(got, want) {
				t.Errorf("%s, dry %v: %s", name, dry, shown(got))
			}
			if u, err := store.Get(t.Context(), key); err != nil || u.Subscribed != read[key] {
				t.Errorf("%s: subscribed is now %v, %v", name, u.Subscribed, err)
			}
		}
		if writes := p.count("UpdateItem") - before; dry && writes > 0 || !dry && writes != len(all) {
			t.Errorf("dry %v: %d writes for %d users", dry, writes, len(all))
		}
	}
	if all, err := store.Mend(t.Context(), keys, forms, false); err != nil || len(all) > 0 {
		t.Errorf("a second time %v, %v", all, err)
	}
	if c := tab.count(t); c != len(names) {
		t.Errorf("%d items, want %d", c, len(names))
	}
}

// sameItem compares items; a set has no order, and numbers are what they are worth.
func sameItem(a, b it) bool {
	plain := func(v types.AttributeValue) string {
		switch v := v.(type) {
		case *types.AttributeValueMemberSS:
			return fmt.Sprint("SS", slices.Sorted(slices.Values(v.Value)))
		case *types.AttributeValueMemberN:
			return "N" + strings.TrimSuffix(v.Value, ".0")
		}
		return fmt.Sprintf("%T ", v) + shown(it{"": v})
	}
	return maps.EqualFunc(a, b, func(x, y types.AttributeValue) bool { return plain(x) == plain(y) })
}

// shown is an item for people.
func shown(i it) string {
	b, err := json.Marshal(i)
	return fmt.Sprint(string(b), err)
}

// Between the read and the write of mending the person leaves, a sync writes, the user is
// removed: none of that is lost, and nobody is made.
func TestAWordThatComesWhileARowIsMendedWins(t *testing.T) {
	tab := newTable(t)
	during := map[string]func(key string){}
	other := open(t, dynamodb.Config{Endpoint: tab.endpoint})
	p := newProxy(t, tab.endpoint, func(_ int, r request) *answer {
		if r.op != "UpdateItem" {
			return nil
		}
		for key, do := range during {
			if strings.Contains(string(r.body), key) {
				delete(during, key)
				do(key)
			}
		}
		return nil
	})
	store := open(t, dynamodb.Config{Endpoint: p.URL})
	no := false
	update := func(c directory.Change) func(string) {
		return func(key string) {
			if err := other.Update(t.Context(), mail.Address(key), c); err != nil {
				t.Error(err)
			}
		}
	}
	remove := func(key string) {
		if _, err := tab.client.DeleteItem(t.Context(), &sdk.DeleteItemInput{TableName: aws.String(tab.name), Key: it{"Email": s(key)}}); err != nil {
			t.Error(err)
		}
	}
	replace := func(with it) func(string) {
		return func(key string) { with["Email"] = s(key); tab.put(t, with) }
	}
	full := it{"SubscriptionStatus": s("true"), "OptOut": l(s("promo")), "name": s("Kim")}
	status := it{"SubscriptionStatus": s("true")}
	cases := map[string]struct {
		item   it
		during func(string)
		want   it
	}{
		"stops@example.com":   {status, update(directory.Change{Subscribed: &no}), it{"SubscriptionStatus": yes(false)}},
		"unclear@example.com": {status, replace(it{"SubscriptionStatus": s("?")}), it{"SubscriptionStatus": s("?")}},
		"beside@example.com": {it{"SubscriptionStatus": yes(true), "name": s("Kim")}, replace(it{"SubscriptionStatus": yes(true), "name": s("Kim"), "Name": s("Lee")}),
			it{"SubscriptionStatus": yes(true), "name": s("Kim"), "Name": s("Lee")}},
		"appends@example.com": {it{"SubscriptionStatus": yes(true), "OptOut": l(s("promo"))}, replace(it{"SubscriptionStatus": yes(true), "OptOut": l(s("promo"), s("news"))}),
			it{"SubscriptionStatus": yes(true), "OptOut": ss("news", "promo")}},
		"another@example.com": {it{"SubscriptionStatus": yes(true), "OptOut": l(s("promo"))}, replace(it{"SubscriptionStatus": yes(true), "OptOut": l(s("news"))}),
			it{"SubscriptionStatus": yes(true), "OptOut": ss("news")}},
		"leaves@example.com":     {full, update(directory.Change{Subscribed: &no, OptOut: []string{"*"}}), it{"SubscriptionStatus": yes(false), "OptOut": ss("*", "promo"), "Name": s("Kim")}},
		"leaves-one@example.com": {full, update(directory.Change{OptOut: []string{"news"}}), it{"SubscriptionStatus": yes(true), "OptOut": ss("news", "promo"), "Name": s("Kim")}},
		"renamed@example.com":    {full, update(directory.Change{Attributes: map[string]any{"Name": "Lee"}}), it{"SubscriptionStatus": yes(true), "OptOut": ss("promo"), "Name": s("Lee")}},
		"removed@example.com":    {full, remove, nil},
	}
	var keys []mail.Address
	for key, c := range cases {
		c.item["Email"] = s(key)
		tab.put(t, c.item)
		during[key] = c.during
		keys = append(keys, mail.Address(key))
	}
	if _, err := store.Mend(t.Context(), keys, directory.NewForms(nil), false); err != nil {
		t.Fatal(err)
	}
	for key, c := range cases {
		if c.want != nil {
			c.want["Email"] = s(key)
		}
		if got := tab.get(t, key); !sameItem(got, c.want) {
			t.Errorf("%s: %s, want %s", key, shown(got), shown(c.want))
		}
	}
	if len(during) > 0 {
		t.Errorf("%d cases did not come about", len(during))
	}
}

func TestATableWithAnotherKeyIsSaidByAScan(t *testing.T) {
	endpoint := peer.Dynalite(t)
	tab := makeTable(t, endpoint, "Small", "email")
	tab.put(t, it{"email": s("a@example.com"), "SubscriptionStatus": yes(true)})
	_, err := open(t, dynamodb.Config{Table: tab.name, Endpoint: endpoint}).Scan(t.Context(), nil)
	if err == nil || !strings.Contains(err.Error(), "key must be Email, of type S") {
		t.Errorf("got %v, want a sentence about the key", err)
	}
}

func TestAFieldInAnotherCaseIsSuperseded(t *testing.T) {
	tab := newTable(t)
	store := open(t, dynamodb.Config{Endpoint: tab.endpoint, Fields: map[string]string{"City": "string"}})
	for _, key := range []string{"put@example.com", "set@example.com", "same@example.com"} {
		tab.put(t, it{"Email": s(key), "SubscriptionStatus": yes(true), "name": s("old"), "CITY": s("old"), "other": s("x")})
	}
	if err := store.Put(t.Context(), []directory.User{{Email: "put@example.com", KeepStatus: true, Attributes: map[string]any{"Name": "new", "City": nil}}}); err != nil {
		t.Fatal(err)
	}
	if err := store.Update(t.Context(), "set@example.com", directory.Change{Attributes: map[string]any{"Name": nil, "City": "new"}}); err != nil {
		t.Fatal(err)
	}
	if err := store.Update(t.Context(), "nobody@example.com", directory.Change{Attributes: map[string]any{"Name": "x"}}); err != directory.ErrNotFound {
		t.Errorf("got %v, want ErrNotFound", err)
	}
	for key, want := range map[string]it{
		"put@example.com":  {"SubscriptionStatus": yes(true), "Name": s("new"), "other": s("x")},
		"set@example.com":  {"SubscriptionStatus": yes(true), "City": s("new"), "other": s("x")},
		"same@example.com": {"SubscriptionStatus": yes(true), "name": s("old"), "CITY": s("old"), "other": s("x")},
	} {
		want["Email"] = s(key)
		if got := tab.get(t, key); !sameItem(got, want) {
			t.Errorf("%s: %s", key, shown(got))
		}
	}
}
