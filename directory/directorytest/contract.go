package directorytest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"postern/directory"
	"postern/mail"
)

// Run holds the Store that open gives, empty each time, to its promises.
func Run(t *testing.T, open func(t *testing.T) directory.Store) {
	for _, c := range []struct {
		name string
		test func(*testing.T, directory.Store)
	}{
		{"what was put is read back with its kinds", readBack},
		{"an unknown key is not found", notFound},
		{"keys are looked up as they are written", asWritten},
		{"put changes what it names and keeps the rest", putMerges},
		{"put is idempotent, and of the same key twice the later wins", putTwice},
		{"put never takes back an opt-out", putKeepsOptOut},
		{"put with KeepStatus leaves the status", putKeepStatus},
		{"put with KeepStatus of a new user leaves the status unknown, a later status makes it known", putUnknown},
		{"put of new users says the same of them, and loses no opt-out of those that were put before", putNew},
		{"put refuses what cannot be stored, and then stores nothing", putRefuses},
		{"update changes one user", updateChanges},
		{"update never makes a user", noGhosts},
		{"delete removes whom it names", deletes},
		{"update at the same time loses no opt-out", concurrentUpdates},
		{"get many finds each once", getMany},
		{"a scan meets everybody, from any checkpoint", scans},
		{"an empty directory ends its scan", scanOfNone},
		{"a foreign checkpoint is refused for good", foreignCheckpoint},
		{"a call whose context has ended does nothing", endedContext},
		{"the words of a person arrive in order", wordsInOrder},
		{"a consent subscribes one who is not, to its list alone", consentOfOneNotSubscribed},
		{"words make no users", wordsMakeNoGhosts},
		{"opposite words at the same time end alike in index and store", oppositeWords},
		{"a kill between store and index changes nothing", killedBetween},
		{"an import brings back nobody who has left", importsKeepLeft},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
}

func put(t *testing.T, s directory.Store, us ...directory.User) {
	t.Helper()
	if err := s.Put(t.Context(), us); err != nil {
		t.Fatalf("Put: %v", err)
	}
}

func want(t *testing.T, s directory.Store, w directory.User) {
	t.Helper()
	got, err := s.Get(t.Context(), w.Email)
	if err != nil {
		t.Fatalf("Get %s: %v", w.Email, err)
	}
	if w.Attributes == nil {
		w.Attributes = map[string]any{}
	}
	got.Odd = nil // of drivers whose rows others write too
	if !reflect.DeepEqual(got, w) {
		t.Fatalf("Get %s:\n got %#v\nwant %#v", w.Email, got, w)
	}
}

// All reads the whole directory by scanning; a user met twice is there once.
func All(t testing.TB, s directory.Store) map[mail.Address]directory.User {
	t.Helper()
	users := map[mail.Address]directory.User{}
	var at directory.Checkpoint
	for {
		p, err := s.Scan(context.Background(), at)
		if err != nil {
			t.Fatalf("Scan: %v", err)
		}
		for _, u := range p.Users {
			users[u.Email] = u
		}
		if at = p.Next; at == nil {
			return users
		}
	}
}

func kim() directory.User {
	return directory.User{Email: "kim@example.com", Subscribed: true, OptOut: []string{"news", "promo"}, Attributes: map[string]any{
		"Name": "김민", "Gender": "Female", "CreateTime": json.Number("1700000000"), "Big": json.Number("12345678901234567890.5"),
		"VIP": true, "Nothing": "", "size of shoe": "245", "Tags": []any{"a", json.Number("2"), false, nil},
		"Address": map[string]any{"city": "서울", "lines": []any{map[string]any{"n": json.Number("-1")}}}}}
}

func readBack(t *testing.T, s directory.Store) {
	put(t, s, kim(), directory.User{Email: "bare@example.com"})
	want(t, s, kim())
	want(t, s, directory.User{Email: "bare@example.com"})
}

func notFound(t *testing.T, s directory.Store) {
	for _, key := range []mail.Address{"nobody@example.com", "", mail.Address(strings.Repeat("x", 5000))} {
		if _, err := s.Get(t.Context(), key); !errors.Is(err, directory.ErrNotFound) {
			t.Errorf("Get %.20q: %v, want ErrNotFound", key, err)
		}
	}
}

func asWritten(t *testing.T, s directory.Store) {
	a := directory.User{Email: "Kim@Example.COM", Attributes: map[string]any{"Name": "A"}}
	b := directory.User{Email: "kim@example.com", Attributes: map[string]any{"Name": "B"}}
	odd := directory.User{Email: " not an address, but a key\n", Attributes: map[string]any{"Name": "C"}}
	put(t, s, a, b, odd)
	want(t, s, a)
	want(t, s, b)
	want(t, s, odd)
}

func putMerges(t *testing.T, s directory.Store) {
	put(t, s, kim())
	put(t, s, directory.User{Email: kim().Email, Subscribed: false,
		Attributes: map[string]any{"Name": "Kim", "VIP": nil, "Absent": nil, "New": json.Number("1")}})
	w := kim()
	w.Subscribed = false
	w.Attributes["Name"], w.Attributes["New"] = "Kim", json.Number("1")
	delete(w.Attributes, "VIP")
	want(t, s, w)
}

func putTwice(t *testing.T, s directory.Store) {
	later := directory.User{Email: kim().Email, Subscribed: true, OptOut: []string{"a"}, Attributes: map[string]any{"Name": "later"}}
	for range 2 {
		put(t, s, kim(), directory.User{Email: "lee@example.com"}, later)
	}
	w := kim()
	w.Attributes["Name"], w.OptOut = "later", []string{"a", "news", "promo"}
	want(t, s, w)
	if n := len(All(t, s)); n != 2 {
		t.Fatalf("%d users, want 2", n)
	}
}

func putKeepsOptOut(t *testing.T, s directory.Store) {
	u := directory.User{Email: "a@example.com", Subscribed: true}
	put(t, s, u)
	if err := s.Update(t.Context(), u.Email, directory.Change{OptOut: []string{"promo"}}); err != nil {
		t.Fatal(err)
	}
	put(t, s, u)
	want(t, s, directory.User{Email: u.Email, Subscribed: true, OptOut: []string{"promo"}})
	no := false
	if err := s.Update(t.Context(), u.Email, directory.Change{Subscribed: &no, OptOut: []string{directory.AllLists}}); err != nil {
		t.Fatal(err)
	}
	put(t, s, directory.User{Email: u.Email, Subscribed: true, OptOut: []string{"news"}})
	want(t, s, directory.User{Email: u.Email, OptOut: []string{directory.AllLists, "news", "promo"}})
	// A new user who comes with it is not subscribed either.
	put(t, s, directory.User{Email: "b@example.com", Subscribed: true, OptOut: []string{directory.AllLists}})
	want(t, s, directory.User{Email: "b@example.com", OptOut: []string{directory.AllLists}})
}

func putKeepStatus(t *testing.T, s directory.Store) {
	put(t, s, directory.User{Email: "yes@example.com", Subscribed: true}, directory.User{Email: "no@example.com"})
	for _, key := range []mail.Address{"yes@example.com", "no@example.com", "new@example.com"} {
		put(t, s, directory.User{Email: key, KeepStatus: true, Subscribed: true, Attributes: map[string]any{"Name": "x"}})
		want(t, s, directory.User{Email: key, Subscribed: key == "yes@example.com", Unknown: key == "new@example.com", Attributes: map[string]any{"Name": "x"}})
	}
}

func putUnknown(t *testing.T, s directory.Store) {
	yes, no := true, false
	for name, c := range map[string]struct {
		say        func(key mail.Address) error
		subscribed bool
	}{
		"put subscribed": {func(key mail.Address) error {
			return s.Put(t.Context(), []directory.User{{Email: key, Subscribed: true}})
		}, true},
		"put not":       {func(key mail.Address) error { return s.Put(t.Context(), []directory.User{{Email: key}}) }, false},
		"update to yes": {func(key mail.Address) error { return s.Update(t.Context(), key, directory.Change{Subscribed: &yes}) }, true},
		"update to no":  {func(key mail.Address) error { return s.Update(t.Context(), key, directory.Change{Subscribed: &no}) }, false},
	} {
		u := directory.User{Email: mail.Address(name), OptOut: []string{"promo"}}
		unknown := u
		u.KeepStatus, u.Subscribed, unknown.Unknown = true, true, true
		put(t, s, u)
		want(t, s, unknown)
		say(t, s.Update(t.Context(), u.Email, directory.Change{OptOut: []string{"news"}})) // says nothing of the status
		unknown.OptOut = []string{"news", "promo"}
		put(t, s, u)
		want(t, s, unknown)
		if all := All(t, s); !all[u.Email].Unknown {
			t.Errorf("%s: a scan has %+v", name, all[u.Email])
		}
		say(t, c.say(u.Email))
		want(t, s, directory.User{Email: u.Email, Subscribed: c.subscribed, OptOut: unknown.OptOut})
	}
	// What is known stays known.
	put(t, s, directory.User{Email: "put not", KeepStatus: true})
	want(t, s, directory.User{Email: "put not", OptOut: []string{"news", "promo"}})
}

func putNew(t *testing.T, s directory.Store) {
	us := people(30)
	us[3].OptOut, us[4].KeepStatus = []string{directory.AllLists}, true
	us[5].Attributes["Nothing"] = nil
	for i := range us {
		us[i].New, us[i].Subscribed = true, true
	}
	put(t, s, us...)
	for i, u := range us {
		u.New, u.KeepStatus, u.Subscribed, u.Unknown = false, false, i != 3 && i != 4, i == 4
		delete(u.Attributes, "Nothing")
		want(t, s, u)
	}
	// Said again of people who are there, it is not believed.
	no := false
	for _, u := range us {
		say(t, s.Update(t.Context(), u.Email, directory.Change{Subscribed: &no, OptOut: []string{directory.AllLists}}))
	}
	put(t, s, us...)
	for _, u := range us {
		want(t, s, directory.User{Email: u.Email, OptOut: []string{directory.AllLists}, Attributes: u.Attributes})
	}
	if n := len(All(t, s)); n != len(us) {
		t.Fatalf("%d users, want %d", n, len(us))
	}
}

func putRefuses(t *testing.T, s directory.Store) {
	good := directory.User{Email: "good@example.com"}
	for name, bad := range map[string]directory.User{
		"no key":          {},
		"key too long":    {Email: mail.Address(strings.Repeat("x", 3000))},
		"reserved":        {Email: "a@example.com", Attributes: map[string]any{"subscriptionStatus": "true"}},
		"no name":         {Email: "a@example.com", Attributes: map[string]any{"": "x"}},
		"not a number":    {Email: "a@example.com", Attributes: map[string]any{"N": json.Number("1x")}},
		"too many digits": {Email: "a@example.com", Attributes: map[string]any{"N": json.Number(strings.Repeat("7", 39))}},
		"a kind unknown":  {Email: "a@example.com", Attributes: map[string]any{"N": struct{}{}}},
		"deep in a list":  {Email: "a@example.com", Attributes: map[string]any{"N": []any{map[string]any{"x": json.Number("")}}}},
		"an empty list":   {Email: "a@example.com", OptOut: []string{""}},
		"too big":         {Email: "a@example.com", Attributes: map[string]any{"N": strings.Repeat("x", directory.MaxUserBytes)}},
	} {
		if err := s.Put(t.Context(), []directory.User{good, bad}); mail.ClassOf(err) != mail.Permanent {
			t.Errorf("%s: %v, want a Permanent error", name, err)
		}
	}
	if n := len(All(t, s)); n != 0 {
		t.Fatalf("%d users were stored, want none", n)
	}
}

func updateChanges(t *testing.T, s directory.Store) {
	put(t, s, kim())
	yes, no := true, false
	for _, c := range []directory.Change{
		{Subscribed: &no},
		{OptOut: []string{"spring", "promo"}, OptIn: []string{"news", "spring", "never"}},
		{Attributes: map[string]any{"Name": "Kim", "Gender": nil, "Absent": nil}},
		{}, // nothing
	} {
		for range 2 {
			if err := s.Update(t.Context(), kim().Email, c); err != nil {
				t.Fatalf("Update %+v: %v", c, err)
			}
		}
	}
	w := kim()
	w.Subscribed, w.OptOut, w.Attributes["Name"] = false, []string{"promo", "spring"}, "Kim"
	delete(w.Attributes, "Gender")
	want(t, s, w)
	if err := s.Update(t.Context(), kim().Email, directory.Change{Subscribed: &yes, OptIn: w.OptOut}); err != nil {
		t.Fatal(err)
	}
	w.Subscribed, w.OptOut = true, nil
	want(t, s, w)
	err := s.Update(t.Context(), kim().Email, directory.Change{Attributes: map[string]any{"Email": "other@example.com"}})
	if mail.ClassOf(err) != mail.Permanent {
		t.Fatalf("a change of the key: %v, want a Permanent error", err)
	}
}

func noGhosts(t *testing.T, s directory.Store) {
	put(t, s, kim())
	yes := true
	for _, key := range []mail.Address{"ghost@example.com", "Kim@example.com", ""} {
		for _, c := range []directory.Change{{}, {Subscribed: &yes}, {OptOut: []string{"a"}}, {OptIn: []string{"a"}},
			{OptOut: []string{"a"}, OptIn: []string{"b"}}, {Attributes: map[string]any{"Name": "x", "Gender": nil}}} {
			if err := s.Update(t.Context(), key, c); !errors.Is(err, directory.ErrNotFound) {
				t.Errorf("Update %q %+v: %v, want ErrNotFound", key, c, err)
			}
		}
	}
	if n := len(All(t, s)); n != 1 {
		t.Fatalf("%d users, want 1", n)
	}
}

func concurrentUpdates(t *testing.T, s directory.Store) {
	put(t, s, directory.User{Email: "a@example.com", Subscribed: true})
	errs := make(chan error)
	const n = 20
	var lists []string
	for i := range n {
		id := fmt.Sprintf("list%02d", i)
		lists = append(lists, id)
		go func() { errs <- s.Update(t.Context(), "a@example.com", directory.Change{OptOut: []string{id}}) }()
		go func() {
			errs <- s.Put(t.Context(), []directory.User{{Email: "a@example.com", Subscribed: true, Attributes: map[string]any{"Name": id}}})
		}()
	}
	for range 2 * n {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if got, err := s.Get(t.Context(), "a@example.com"); err != nil || !reflect.DeepEqual(got.OptOut, lists) {
		t.Fatalf("OptOut %v, %v; want %v", got.OptOut, err, lists)
	}
}

func people(n int) []directory.User {
	us := make([]directory.User, n)
	for i := range us {
		us[i] = directory.User{Email: mail.Address(fmt.Sprintf("user%04d@example.com", i)), Subscribed: i%2 == 0,
			Attributes: map[string]any{"Name": fmt.Sprint("User ", i)}}
	}
	return us
}

func getMany(t *testing.T, s directory.Store) {
	us := people(250)
	put(t, s, us...)
	var keys []mail.Address
	for _, u := range us {
		keys = append(keys, u.Email, "no-"+u.Email, u.Email)
	}
	keys = append(keys, "", mail.Address(strings.Repeat("x", 5000)))
	got, err := s.GetMany(t.Context(), keys)
	if err != nil {
		t.Fatal(err)
	}
	found := map[mail.Address]directory.User{}
	for _, u := range got {
		found[u.Email] = u
	}
	if len(got) != len(us) || len(found) != len(us) {
		t.Fatalf("%d users, %d of them different; want %d", len(got), len(found), len(us))
	}
	for _, u := range us {
		if !reflect.DeepEqual(found[u.Email], u) {
			t.Fatalf("got %+v, want %+v", found[u.Email], u)
		}
	}
	if got, err := s.GetMany(t.Context(), nil); err != nil || len(got) != 0 {
		t.Fatalf("GetMany of nothing: %v, %v", got, err)
	}
}

func scans(t *testing.T, s directory.Store) {
	us := people(2300)
	put(t, s, us...)
	all := All(t, s)
	if len(all) != len(us) {
		t.Fatalf("%d users, want %d", len(all), len(us))
	}
	// The same checkpoint, written down and asked again, gives the same page.
	var at directory.Checkpoint
	seen := 0
	for {
		p, err := s.Scan(t.Context(), at)
		if err != nil {
			t.Fatal(err)
		}
		again, err := s.Scan(t.Context(), append(directory.Checkpoint(nil), at...))
		if err != nil || !reflect.DeepEqual(p, again) {
			t.Fatalf("the page after %q differs the second time (%v)", at, err)
		}
		seen += len(p.Users)
		if at = p.Next; at == nil {
			break
		}
	}
	if seen != len(us) {
		t.Fatalf("the pages hold %d users, want %d", seen, len(us))
	}
}

func scanOfNone(t *testing.T, s directory.Store) {
	if n := len(All(t, s)); n != 0 {
		t.Fatalf("an empty directory has %d users", n)
	}
}

func foreignCheckpoint(t *testing.T, s directory.Store) {
	for _, c := range []string{"nonsense", "{", `{"v":99}`, `{"v":1,"segments":[]}x`, "kim@example.com"} {
		if _, err := s.Scan(t.Context(), directory.Checkpoint(c)); mail.ClassOf(err) != mail.Permanent {
			t.Errorf("Scan from %q: %v, want a Permanent error", c, err)
		}
	}
}

func endedContext(t *testing.T, s directory.Store) {
	put(t, s, kim())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, scanErr := s.Scan(ctx, nil)
	_, getErr := s.Get(ctx, kim().Email)
	_, manyErr := s.GetMany(ctx, []mail.Address{kim().Email})
	putErr := s.Put(ctx, []directory.User{{Email: "new@example.com"}})
	updateErr := s.Update(ctx, kim().Email, directory.Change{OptOut: []string{"x"}})
	for name, err := range map[string]error{"Scan": scanErr, "Get": getErr, "GetMany": manyErr, "Put": putErr, "Update": updateErr} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v, want context.Canceled", name, err)
		}
	}
	if n := len(All(t, s)); n != 1 {
		t.Fatalf("%d users, want 1", n)
	}
	want(t, s, kim())
}

func deletes(t *testing.T, s directory.Store) {
	lee := directory.User{Email: "lee@example.com", Subscribed: true}
	put(t, s, kim(), lee, directory.User{Email: "Kim@example.com"})
	for range 2 {
		if err := s.Delete(t.Context(), []mail.Address{"kim@example.com", "nobody@example.com", "", "Kim@example.com"}); err != nil {
			t.Fatal(err)
		}
	}
	want(t, s, lee)
	if all := All(t, s); len(all) != 1 {
		t.Errorf("%d users are left, want one: %v", len(all), all)
	}
}
