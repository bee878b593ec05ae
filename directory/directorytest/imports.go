package directorytest

import (
	"slices"
	"strings"
	"testing"

	"postern/directory"
	"postern/mail"
)

// importsKeepLeft imports files that say subscribed of people who have left.
func importsKeepLeft(t *testing.T, s directory.Store) {
	x := newIndex(t)
	imports := func(users ...mail.Address) directory.ImportResult {
		t.Helper()
		var b strings.Builder
		b.WriteString("Email,SubscriptionStatus\n")
		for _, u := range users {
			b.WriteString(string(u) + ",true\n")
		}
		res, err := directory.Import(t.Context(), strings.NewReader(b.String()), s, &directory.ImportOptions{Index: x})
		if err != nil || res.Bad > 0 {
			t.Fatalf("%+v, %v", res, err)
		}
		return res
	}
	away := func(when string, user mail.Address, lists ...string) {
		t.Helper()
		u, err := s.Get(t.Context(), user)
		if all := slices.Contains(lists, directory.AllLists); err != nil || u.Subscribed == all || !slices.Equal(u.OptOut, lists) {
			t.Errorf("%s: %+v, %v; want one who has left %v", when, u, err, lists)
		}
		for _, id := range lists {
			if user == "choi@example.com" {
				continue // the index does not know
			}
			if _, blocked := x.Blocked(user, "promo"); !blocked && (id == "promo" || id == directory.AllLists) {
				t.Errorf("%s: %s would be sent the list's mail", when, user)
			}
		}
	}
	other := mail.Address("Kim@Example.com")
	imports(person, "lee@example.com", "choi@example.com")
	say(t, x.OptOut(t.Context(), person, directory.AllLists, page()), x.OptOut(t.Context(), "lee@example.com", "promo", page()))
	say(t, s.Update(t.Context(), "choi@example.com", directory.Change{OptOut: []string{directory.AllLists}, Subscribed: new(bool)}))

	// The store has not been told yet.
	if res := imports(person, "lee@example.com", "choi@example.com", "new@example.com"); res.Left.Count != 2 {
		t.Errorf("%+v have left here, want 2", res.Left)
	}
	away("not told yet", person, directory.AllLists)
	away("not told yet", "lee@example.com", "promo")
	away("known to the store alone", "choi@example.com", directory.AllLists)
	tell(t, x, s)
	away("told", person, directory.AllLists)

	say(t, s.Delete(t.Context(), []mail.Address{person, "lee@example.com"}))
	imports(other, person, "lee@example.com")
	away("removed and imported anew", person, directory.AllLists)
	away("removed and imported anew", "lee@example.com", "promo")
	away("in another spelling", other, directory.AllLists)

	// What the person says by an old mail is of the other spelling too.
	say(t, s.Delete(t.Context(), []mail.Address{person}), x.Consent(t.Context(), person, "promo", page()))
	tell(t, x, s)
	want(t, s, directory.User{Email: other, Subscribed: true, OptOut: []string{"news", "vip"}})
	imports(other)
	want(t, s, directory.User{Email: other, Subscribed: true, OptOut: []string{"news", "vip"}})
	if _, err := s.Get(t.Context(), "new@example.com"); err != nil {
		t.Error(err)
	}
}
