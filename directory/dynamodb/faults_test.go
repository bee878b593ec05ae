package dynamodb_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"postern/directory"
	"postern/directory/dynamodb"
	"postern/internal/peer"
	"postern/mail"
)

// What AWS says becomes a class and a sentence that names the table.
func TestEveryErrorHasAClassAndASentence(t *testing.T) {
	impatient(t)
	for _, c := range []struct {
		status int
		name   string
		class  mail.Class
		want   string
	}{
		{400, "ProvisionedThroughputExceededException", mail.Throttled, "throttles"},
		{400, "ThrottlingException", mail.Throttled, "throttles"},
		{400, "RequestLimitExceeded", mail.Throttled, "throttles"},
		{400, "ResourceNotFoundException", mail.Temporary, "does not exist"},
		{400, "AccessDeniedException", mail.AccountWide, "denies us"},
		{400, "UnrecognizedClientException", mail.AccountWide, "credentials"},
		{400, "ExpiredTokenException", mail.AccountWide, "credentials"},
		{400, "ValidationException", mail.Permanent, "refuses"},
		{500, "InternalServerError", mail.Temporary, "InternalServerError (HTTP 500)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newProxy(t, "http://127.0.0.1:1", func(int, request) *answer { return awsError(c.status, c.name, "because") })
			store := open(t, dynamodb.Config{Table: "Members", Endpoint: p.URL})
			_, scanErr := store.Scan(t.Context(), nil)
			_, getErr := store.Get(t.Context(), "a@example.com")
			for doing, err := range map[string]error{"Scan": scanErr, "Get": getErr} {
				var e *mail.Error
				if !errors.As(err, &e) || e.Class != c.class || !strings.Contains(e.Public, c.want) ||
					!strings.Contains(e.Public, "Members") || !strings.Contains(e.Public, p.URL) {
					t.Errorf("%s: got %v; want class %v and a sentence with %q, the table and the endpoint", doing, err, c.class, c.want)
				}
			}
		})
	}
}

func TestAProxyInBetweenIsSuspected(t *testing.T) {
	p := newProxy(t, "http://127.0.0.1:1", func(int, request) *answer { return &answer{407, "<html>who are you?</html>"} })
	_, err := open(t, dynamodb.Config{Endpoint: p.URL}).Get(t.Context(), "a@example.com")
	var e *mail.Error
	if !errors.As(err, &e) || e.Class != mail.Temporary || !strings.Contains(e.Public, "User") {
		t.Fatalf("got %v", err)
	}
}

func TestUnreachableIsTemporaryAndNamed(t *testing.T) {
	impatient(t)
	endpoint := fmt.Sprintf("http://127.0.0.1:%d", peer.Port(t))
	_, err := open(t, dynamodb.Config{Endpoint: endpoint}).Scan(t.Context(), nil)
	var e *mail.Error
	if !errors.As(err, &e) || e.Class != mail.Temporary || !strings.Contains(e.Public, "table User") || !strings.Contains(e.Public, endpoint) {
		t.Fatalf("got %v, want a Temporary error that names table and endpoint", err)
	}
}

func TestAMissingTableAndAForeignKeyAreSaid(t *testing.T) {
	endpoint := peer.Dynalite(t)
	_, err := open(t, dynamodb.Config{Table: "Nowhere", Endpoint: endpoint}).Scan(t.Context(), nil)
	if err == nil || !strings.Contains(err.Error(), "Nowhere") || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("missing table: %v", err)
	}
	tab := makeTable(t, endpoint, "Other", "id")
	err = open(t, dynamodb.Config{Table: tab.name, Endpoint: endpoint}).Put(t.Context(), []directory.User{{Email: "a@example.com"}})
	if err == nil || !strings.Contains(err.Error(), "key must be Email") {
		t.Errorf("a table with another key: %v", err)
	}
}

// Every third answer is a throttle, every fifth a 500; what the calls themselves
// do not outlast is done again, as the expansion and the replay do it.
func TestFaultsInBetweenLoseNothing(t *testing.T) {
	tab := newTable(t)
	p := newProxy(t, tab.endpoint, func(number int, r request) *answer {
		switch {
		case number%3 == 0:
			return awsError(400, "ProvisionedThroughputExceededException", "slow down")
		case number%5 == 0:
			return awsError(500, "InternalServerError", "oops")
		}
		return nil
	})
	store := open(t, dynamodb.Config{Endpoint: p.URL, Segments: 2})
	var us []directory.User
	for i := range 60 {
		us = append(us, directory.User{Email: mail.Address(fmt.Sprintf("u%02d@example.com", i)), Subscribed: true, Attributes: map[string]any{"Name": "x"}})
	}
	if err := store.Put(t.Context(), us); err != nil {
		t.Fatal(err)
	}
	again := func(f func() error) {
		for err := f(); err != nil; err = f() {
			if c := mail.ClassOf(err); c != mail.Temporary && c != mail.Throttled {
				t.Fatal(err)
			}
		}
	}
	again(func() error {
		return store.Update(t.Context(), us[0].Email, directory.Change{OptOut: []string{"promo"}})
	})
	all := map[mail.Address]directory.User{}
	for at := (directory.Checkpoint)(nil); ; {
		var page directory.Page
		again(func() (err error) {
			page, err = store.Scan(t.Context(), at)
			return err
		})
		for _, u := range page.Users {
			all[u.Email] = u
		}
		if at = page.Next; at == nil {
			break
		}
	}
	if u := all[us[0].Email]; len(all) != len(us) || u.Receives("promo") {
		t.Fatalf("%d users, the first is %+v", len(all), u)
	}
}

// DynamoDB answers some keys and leaves the rest: they are asked again.
func TestUnprocessedKeysAreAskedAgain(t *testing.T) {
	tab := newTable(t)
	store := open(t, dynamodb.Config{Endpoint: tab.endpoint})
	var us []directory.User
	var keys []mail.Address
	for i := range 150 {
		us = append(us, directory.User{Email: mail.Address(fmt.Sprintf("u%03d@example.com", i))})
		keys = append(keys, us[i].Email)
	}
	if err := store.Put(t.Context(), us); err != nil {
		t.Fatal(err)
	}
	p := newProxy(t, tab.endpoint, func(number int, r request) *answer {
		if r.op != "BatchGetItem" || number > 2 {
			return nil
		}
		var in string
		if _, rest, ok := strings.Cut(string(r.body), `"RequestItems":`); ok {
			in = strings.TrimSuffix(rest, "}")
		}
		in, _, _ = strings.Cut(in, `,"ReturnConsumedCapacity"`)
		return &answer{200, `{"Responses":{},"UnprocessedKeys":` + in + `}`}
	})
	got, err := open(t, dynamodb.Config{Endpoint: p.URL}).GetMany(t.Context(), append(keys, keys...))
	if err != nil || len(got) != len(keys) {
		t.Fatalf("%d users, %v; want %d", len(got), err, len(keys))
	}
	for _, r := range p.requests {
		if asked := r.keysAsked(t); asked > 100 {
			t.Errorf("%d keys in one BatchGetItem", asked)
		}
	}
	if c := p.count("BatchGetItem"); c != 4 {
		t.Errorf("%d calls, want 4: two put off, two answered", c)
	}
}

func TestAWaitEndsWithItsContext(t *testing.T) {
	impatient(t)
	ctx, cancel := context.WithCancel(t.Context())
	p := newProxy(t, "http://127.0.0.1:1", func(number int, r request) *answer {
		if number == 3 {
			cancel()
		}
		return awsError(400, "ThrottlingException", "slow down")
	})
	err := open(t, dynamodb.Config{Endpoint: p.URL}).Put(ctx, []directory.User{{Email: "a@example.com"}})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want context.Canceled", err)
	}
}

// Somebody leaves between Put's read and its write: the write must not win.
func TestLeavingDuringAnImportStays(t *testing.T) {
	tab := newTable(t)
	direct := open(t, dynamodb.Config{Endpoint: tab.endpoint})
	u := directory.User{Email: "a@example.com", Attributes: map[string]any{"Name": "old"}}
	if err := direct.Put(t.Context(), []directory.User{u}); err != nil {
		t.Fatal(err)
	}
	no, left := false, false
	p := newProxy(t, tab.endpoint, func(number int, r request) *answer {
		if r.op == "UpdateItem" && !left {
			left = true
			if err := direct.Update(t.Context(), u.Email, directory.Change{Subscribed: &no, OptOut: []string{directory.AllLists}}); err != nil {
				t.Error(err)
			}
		}
		return nil
	})
	u.Subscribed, u.Attributes = true, map[string]any{"Name": "new"}
	if err := open(t, dynamodb.Config{Endpoint: p.URL}).Put(t.Context(), []directory.User{u}); err != nil {
		t.Fatal(err)
	}
	got, err := direct.Get(t.Context(), u.Email)
	if err != nil || got.Subscribed || got.Value("Name") != "new" || got.Receives("promo") {
		t.Fatalf("got %+v, %v; want the new name, and still not subscribed", got, err)
	}
}

// A table with little capacity never answers for all segments at once: what did
// come is kept, or a scan would ask for the same pages for ever.
func TestSegmentsThatAreThrottledDoNotHoldTheOthers(t *testing.T) {
	impatient(t)
	tab := newTable(t)
	const users, segments = 40, 4
	for i := range users {
		tab.put(t, map[string]types.AttributeValue{"Email": s(fmt.Sprintf("u%02d@example.com", i)), "SubscriptionStatus": yes(true)})
	}
	var turn atomic.Int32 // the one segment that is answered
	p := newProxy(t, tab.endpoint, func(_ int, r request) *answer {
		if strings.Contains(string(r.body), fmt.Sprintf(`"Segment":%d,`, turn.Load())) {
			return nil
		}
		return awsError(400, "ProvisionedThroughputExceededException", "slow down")
	})
	store := open(t, dynamodb.Config{Endpoint: p.URL, Segments: segments})
	seen := map[mail.Address]int{}
	var at directory.Checkpoint
	for i := range segments {
		turn.Store(int32(i))
		page, err := store.Scan(t.Context(), at)
		if err != nil {
			t.Fatalf("segment %d: %v", i, err)
		}
		for _, u := range page.Users {
			seen[u.Email]++
		}
		at = page.Next
		if (at == nil) != (i == segments-1) {
			t.Fatalf("after %d segments the checkpoint is %s", i+1, at)
		}
		if at != nil { // the others have nothing to give: that is said
			if again, err := store.Scan(t.Context(), at); mail.ClassOf(err) != mail.Throttled {
				t.Fatalf("with every open segment throttled: %d users, %v", len(again.Users), err)
			}
		}
	}
	for key, n := range seen {
		if n != 1 {
			t.Errorf("%s was met %d times", key, n)
		}
	}
	if len(seen) != users {
		t.Errorf("%d of %d users", len(seen), users)
	}
}
