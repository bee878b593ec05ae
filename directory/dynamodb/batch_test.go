package dynamodb_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"postern/directory"
	"postern/directory/dynamodb"
	"postern/internal/peer"
	"postern/mail"
)

// crowd is n users who are subscribed.
func crowd(n int) []directory.User {
	us := make([]directory.User, n)
	for i := range us {
		us[i] = directory.User{Email: mail.Address(fmt.Sprintf("u%03d@example.com", i)), Subscribed: true, Attributes: map[string]any{"Name": "x"}}
	}
	return us
}

func keys(us []directory.User) []mail.Address {
	var ks []mail.Address
	for _, u := range us {
		ks = append(ks, u.Email)
	}
	return ks
}

// written are the writes of a BatchWriteItem, as they were sent, and the keys that they name.
func (r request) written(t *testing.T) (writes []json.RawMessage, named []string) {
	var in struct {
		RequestItems map[string][]json.RawMessage
	}
	if err := json.Unmarshal(r.body, &in); err != nil {
		t.Error(err)
	}
	type key struct{ Email struct{ S string } }
	for _, raw := range in.RequestItems["User"] {
		var w struct {
			PutRequest    struct{ Item key }
			DeleteRequest struct{ Key key }
		}
		if err := json.Unmarshal(raw, &w); err != nil {
			t.Error(err)
		}
		writes, named = append(writes, raw), append(named, w.PutRequest.Item.Email.S+w.DeleteRequest.Key.Email.S)
	}
	return writes, named
}

// all are the requests of a kind.
func (p *proxy) all(op string) []request {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(p.requests), func(r request) bool { return r.op != op })
}

func TestOnlyWhoIsNotThereIsWrittenWhole(t *testing.T) {
	t.Parallel()
	tab := newTable(t)
	p := newProxy(t, tab.endpoint, func(int, request) *answer { return nil })
	store := open(t, dynamodb.Config{Endpoint: p.URL})
	us := crowd(60)
	tab.put(t, map[string]types.AttributeValue{"Email": s(string(us[7].Email)), "Old": s("kept"), "OptOut": ss("promo")})
	if err := store.Put(t.Context(), append(us, us[3], us[7])); err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, r := range p.all("BatchWriteItem") {
		_, named := r.written(t)
		if len(named) > 25 {
			t.Errorf("%d writes in one call", len(named))
		}
		for _, k := range named {
			seen[k]++
		}
	}
	if len(seen) != 59 || seen[string(us[7].Email)] != 0 || seen[string(us[3].Email)] != 1 || p.count("UpdateItem") != 1 {
		t.Errorf("%d users were written whole, %d updated: %v", len(seen), p.count("UpdateItem"), seen)
	}
	got, err := store.Get(t.Context(), us[7].Email)
	if err != nil || got.Value("Old") != "kept" || got.Value("Name") != "x" || !got.Subscribed || got.Receives("promo") || tab.count(t) != 60 {
		t.Errorf("%+v, %v, %d users", got, err, tab.count(t))
	}
}

func TestOfUsersWhoAreSaidToBeNewATenthIsLookedUp(t *testing.T) {
	t.Parallel()
	tab := newTable(t)
	p := newProxy(t, tab.endpoint, func(int, request) *answer { return nil })
	store := open(t, dynamodb.Config{Endpoint: p.URL})
	us := crowd(100)
	for i := range us {
		us[i].New = true
	}
	asked := func() (n int) {
		for _, r := range p.all("BatchGetItem") {
			n += r.keysAsked(t)
		}
		return n
	}
	if err := store.Put(t.Context(), us); err != nil || asked() != 10 || tab.count(t) != 100 {
		t.Fatalf("%v: %d were looked up, %d stored", err, asked(), tab.count(t))
	}
	// One that is there shows that it was not true.
	if err := store.Delete(t.Context(), keys(us[1:])); err != nil {
		t.Fatal(err)
	}
	tab.put(t, map[string]types.AttributeValue{"Email": s(string(us[99].Email)), "OptOut": ss("promo"), "SubscriptionStatus": yes(true)})
	if err := store.Put(t.Context(), us); err != nil || asked() != 120 {
		t.Fatalf("%v: %d were looked up", err, asked())
	}
	if u, err := store.Get(t.Context(), us[99].Email); err != nil || u.Receives("promo") {
		t.Errorf("%+v, %v", u, err)
	}
}

// A call takes 16 MB as it is sent, where a control character is six octets.
func TestABatchOfFatUsersIsSmall(t *testing.T) {
	t.Parallel()
	tab := newTable(t)
	p := newProxy(t, tab.endpoint, func(int, request) *answer { return nil })
	us := crowd(12)
	for i := range us {
		us[i].Attributes = map[string]any{"Note": strings.Repeat("\x01", 250_000), "Tags": []any{"a"}, "Map": map[string]any{"k": json.Number("1")}}
	}
	if err := open(t, dynamodb.Config{Endpoint: p.URL}).Put(t.Context(), us); err != nil {
		t.Fatal(err)
	}
	for _, r := range p.all("BatchWriteItem") {
		if len(r.body) > 16<<20 {
			t.Errorf("a call of %d octets", len(r.body))
		}
	}
	if n := p.count("BatchWriteItem"); n != 2 {
		t.Errorf("%d calls, want 2", n)
	}
}

// DynamoDB takes some writes and leaves the rest: they are sent again, and only they.
func TestUnprocessedWritesAreSentAgain(t *testing.T) {
	t.Parallel()
	tab := newTable(t)
	round := 0
	p := newProxy(t, tab.endpoint, func(_ int, r request) *answer {
		if r.op != "BatchWriteItem" {
			return nil
		}
		round++
		writes, _ := r.written(t)
		take := []int{0, 10, len(writes)}[round%3] // in turn: none, some, all
		if take == len(writes) {
			return nil
		}
		if take > 0 {
			var reqs []types.WriteRequest
			_, named := r.written(t)
			for i, w := range writes[:take] {
				if strings.Contains(string(w), "DeleteRequest") {
					reqs = append(reqs, types.WriteRequest{DeleteRequest: &types.DeleteRequest{Key: map[string]types.AttributeValue{"Email": s(named[i])}}})
				} else {
					reqs = append(reqs, types.WriteRequest{PutRequest: &types.PutRequest{Item: map[string]types.AttributeValue{"Email": s(named[i]), "SubscriptionStatus": yes(true), "Name": s("x")}}})
				}
			}
			if _, err := tab.client.BatchWriteItem(context.Background(), &sdk.BatchWriteItemInput{RequestItems: map[string][]types.WriteRequest{"User": reqs}}); err != nil {
				t.Error(err)
			}
		}
		left, err := json.Marshal(map[string]any{"UnprocessedItems": map[string]any{"User": writes[take:]}})
		if err != nil {
			t.Error(err)
		}
		return &answer{200, string(left)}
	})
	store := open(t, dynamodb.Config{Endpoint: p.URL})
	us := crowd(70)
	if err := store.Put(t.Context(), us); err != nil {
		t.Fatal(err)
	}
	got, err := store.GetMany(t.Context(), keys(us))
	if err != nil || len(got) != len(us) || slices.ContainsFunc(got, func(u directory.User) bool { return !u.Subscribed || u.Value("Name") != "x" }) {
		t.Fatalf("%d users of %d, %v", len(got), len(us), err)
	}
	if n := p.count("UpdateItem"); n != 0 {
		t.Errorf("%d users were written one by one", n)
	}
	sent := 0
	for _, r := range p.all("BatchWriteItem") {
		writes, _ := r.written(t)
		sent += len(writes)
	}
	if sent <= 70 || sent > 3*70 {
		t.Errorf("%d writes were sent for 70 users", sent)
	}
	if err := store.Delete(t.Context(), append(keys(us), us[0].Email, "", "nobody@example.com")); err != nil || tab.count(t) != 0 {
		t.Fatalf("%d users are left, %v", tab.count(t), err)
	}
	if n := p.count("DeleteItem"); n != 0 {
		t.Errorf("%d users were removed one by one", n)
	}
}

func TestThrottledRemovalsArePatient(t *testing.T) {
	impatient(t)
	tab := newTable(t)
	p := newProxy(t, tab.endpoint, func(number int, r request) *answer {
		if r.op == "BatchWriteItem" && number%2 == 1 {
			return awsError(400, "ThrottlingException", "slow down")
		}
		return nil
	})
	us := crowd(30)
	if err := open(t, dynamodb.Config{Endpoint: tab.endpoint}).Put(t.Context(), us); err != nil {
		t.Fatal(err)
	}
	if err := open(t, dynamodb.Config{Endpoint: p.URL}).Delete(t.Context(), keys(us)); err != nil || tab.count(t) != 0 {
		t.Fatalf("%d users are left, %v", tab.count(t), err)
	}
}

// Whatever fails, the call says why, and names what the role needs.
func TestADeniedWriteIsSaid(t *testing.T) {
	impatient(t)
	endpoint := peer.Dynalite(t)
	us := crowd(300)
	for _, denied := range []string{"BatchGetItem", "BatchWriteItem", "UpdateItem"} {
		tab := makeTable(t, endpoint, denied, "Email")
		tab.put(t, map[string]types.AttributeValue{"Email": s(string(us[0].Email))})
		p := newProxy(t, endpoint, func(_ int, r request) *answer {
			if r.op == denied {
				return awsError(400, "AccessDeniedException", "no")
			}
			return nil
		})
		store := open(t, dynamodb.Config{Table: tab.name, Endpoint: p.URL})
		err := store.Put(t.Context(), us)
		var e *mail.Error
		if !errors.As(err, &e) || e.Class != mail.AccountWide || !strings.Contains(e.Public, "denies us "+denied) || !strings.Contains(e.Public, "BatchWriteItem") {
			t.Errorf("%s: %v", denied, err)
		}
		if denied != "BatchWriteItem" {
			continue
		}
		if err := store.Delete(t.Context(), keys(us)); !strings.Contains(fmt.Sprint(err), "denies us BatchWriteItem") {
			t.Errorf("Delete: %v", err)
		}
	}
}
