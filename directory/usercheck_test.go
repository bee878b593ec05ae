package directory_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"testing"

	"postern/directory"
	"postern/directory/embedded"
	"postern/mail"
)

func TestUsersAreCountedAndWhatIsOddIsShown(t *testing.T) {
	s, err := embedded.Open(filepath.Join(t.TempDir(), "directory.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	x, _ := remembering(t, filepath.Join(t.TempDir(), "index.db"))
	var us []directory.User
	for i := range 2500 {
		us = append(us, directory.User{Email: mail.Address(fmt.Sprintf("u%04d@example.com", i)), Subscribed: i%2 == 0, Attributes: map[string]any{"Name": "x"}})
	}
	type m = map[string]any
	us = append(us,
		directory.User{Email: "small@example.com", Subscribed: true, Attributes: m{"name": "Kim", "CreateTime": "17"}},
		directory.User{Email: "no address", Subscribed: true},
		directory.User{Email: "민@example.com", Subscribed: true},
		directory.User{Email: "U0002@example.com", Subscribed: true},
		directory.User{Email: "gone@example.com", Subscribed: true, OptOut: []string{"promo"}},
		directory.User{Email: "left@example.com", Subscribed: true, OptOut: []string{"news"}},
		directory.User{Email: "dead@example.com", Subscribed: true})
	ev := directory.Evidence{At: at(), How: "page"}
	_, suppressErr := x.Suppress(t.Context(), directory.Suppression{Address: "DEAD@example.com", Kind: directory.KindBounce, Reason: "x", At: at()})
	if err := errors.Join(s.Put(t.Context(), us), x.OptOut(t.Context(), "Left@example.com", directory.AllLists, ev), suppressErr); err != nil {
		t.Fatal(err)
	}
	pages := 0
	check := &directory.UserCheck{Store: s, Index: x, Lists: []string{"promo", "news"}, Progress: func(users, odd int) { pages++ }}
	r, err := check.Run(t.Context())
	if err != nil || pages != 2 {
		t.Fatalf("%v after %d pages", err, pages)
	}
	if r.Users != 2507 || r.Subscribed != 1257 || r.Unsubscribed != 1250 || r.Unknown != 0 || r.LeftAll != 1 || r.Suppressed != 1 || r.Odd != 4 {
		t.Errorf("%+v", r)
	}
	if want := map[string]int{"promo": 1252, "news": 1253}; !reflect.DeepEqual(r.Lists, want) {
		t.Errorf("lists %v, want %v", r.Lists, want)
	}
	if want := map[string]int{"Name": 6, "Gender": 2507, "CreateTime": 2506}; !reflect.DeepEqual(r.Missing, want) {
		t.Errorf("missing %v, want %v", r.Missing, want)
	}
	found := map[string][]mail.Address{}
	for _, o := range r.Oddities {
		found[o.What] = o.Examples
	}
	small := []mail.Address{"small@example.com"}
	want := map[string][]mail.Address{
		"CreateTime is a text in place of a number": small, "name is Name in another case": small,
		"the address is no mail address: nothing is sent there":                        {"no address"},
		"the address has letters beyond ASCII before the @: nothing can be sent there": {"민@example.com"},
		"the address is there in another spelling too: one person, two users":          {"u0002@example.com"},
	}
	if !reflect.DeepEqual(found, want) {
		t.Errorf("odd: %v\nwant %v", found, want)
	}

	// A dry run says what would be mended and does nothing; then it is done, and found no more.
	check.Mend, check.DryRun = true, true
	dry, err := check.Run(t.Context())
	if u, _ := s.Get(t.Context(), "small@example.com"); err != nil || len(dry.Mended) != 2 || dry.Odd != 4 || u.Value("name") != "Kim" {
		t.Errorf("%+v, %v, %v", dry, u, err)
	}
	check.DryRun = false
	done, err := check.Run(t.Context())
	u, _ := s.Get(t.Context(), "small@example.com")
	if err != nil || !reflect.DeepEqual(done.Mended, dry.Mended) || done.Odd != 3 || !reflect.DeepEqual(u.Attributes, m{"Name": "Kim", "CreateTime": json.Number("17")}) || !u.Subscribed {
		t.Errorf("%+v, %v, %v", done, u, err)
	}
	if again, err := check.Run(t.Context()); err != nil || len(again.Mended) != 0 || again.Odd != 3 {
		t.Errorf("%+v, %v", again, err)
	}
}

// repeating gives every page twice, as a scan may.
type repeating struct{ *memory }

func (r repeating) Scan(ctx context.Context, from directory.Checkpoint) (directory.Page, error) {
	p, err := r.memory.Scan(ctx, from)
	p.Users = append(p.Users, p.Users...)
	return p, err
}

func TestUsersThatAreMetTwiceCountOnce(t *testing.T) {
	store := repeating{newMemory()}
	importInto(t, store, lines("Email,SubscriptionStatus", "a@example.com,true", "b@example.com,true", "B@example.com,false"))
	r, err := (&directory.UserCheck{Store: store, Mend: true}).Run(t.Context()) // which it cannot mend
	if err != nil || r.Users != 3 || r.Subscribed != 2 || r.Odd != 1 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestOdditiesWithoutNumberStayBounded(t *testing.T) {
	store := newMemory()
	for i := range 1000 {
		key := mail.Address(fmt.Sprintf("u%d@example.com", i))
		store.users[key] = directory.User{Email: key, Odd: []string{fmt.Sprint("odd in the way ", i)}}
	}
	r, err := (&directory.UserCheck{Store: store}).Run(t.Context())
	if err != nil || len(r.Oddities) != 201 || r.Oddities[0].Count != 800 || len(r.Oddities[0].Examples) != 5 {
		t.Errorf("%d oddities, %v", len(r.Oddities), err)
	}
	away := errors.New("the table is away")
	store.fail = func(string, mail.Address) error { return away }
	if _, err := (&directory.UserCheck{Store: store}).Run(t.Context()); !errors.Is(err, away) {
		t.Error(err)
	}
}
