package expand_test

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"postern/directory"
	"postern/expand"
	"postern/mail"
)

// audience is that of the list promo with a filter.
func audience(t testing.TB, filter string) *expand.Audience {
	t.Helper()
	f, err := expand.CompileFilter(filter, testFields(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	return &expand.Audience{List: "promo", Filter: f, Blocked: blockSome, Now: time.Unix(1_700_000_000, 0)}
}

// blockSome knows of some people that they left or are suppressed.
func blockSome(a mail.Address, list string) (directory.Block, bool) {
	switch a.Key() {
	case "gone@example.com":
		return directory.Block{Kind: "unsubscribed", Reason: "left the list on 2026-01-01"}, list == "promo"
	case "dead@example.com":
		return directory.Block{Kind: "suppressed", Reason: "the mailbox does not exist"}, true
	}
	return directory.Block{}, false
}

func TestJudgeSaysWhoGetsMailAndWhyNot(t *testing.T) {
	with := func(u directory.User, name string, v any) directory.User {
		u.Attributes = maps.Clone(u.Attributes)
		u.Attributes[name] = v
		return u
	}
	woman := func(email string) directory.User { return with(kim(email, "Kim"), "Gender", "Female") }
	out, left, leftAll := woman("out@example.com"), woman("left@example.com"), woman("all@example.com")
	out.Subscribed, left.OptOut, leftAll.OptOut = false, []string{"promo"}, []string{directory.AllLists}
	elsewhere := woman("news@example.com")
	elsewhere.OptOut = []string{"news"}
	for _, c := range []struct {
		user directory.User
		want expand.Standing
		why  string
	}{
		{woman("Kim@example.com"), expand.Receives, ""},
		{elsewhere, expand.Receives, ""},
		{out, expand.NotSubscribed, "is not subscribed"},
		{left, expand.HasLeft, "has left the list"},
		{leftAll, expand.HasLeft, "has left the list"},
		{woman("Gone@example.com"), expand.HasLeft, "blocked here: left the list on 2026-01-01"},
		{woman("dead@example.com"), expand.Suppressed, "blocked here: the mailbox does not exist"},
		{woman("nobody"), expand.NoAddress, "nobody"},
		{kim("man@example.com", "Kim"), expand.NotChosen, "is not chosen by the list's filter"},
		{with(woman("odd@example.com"), "Name", "("), expand.NotJudged, "the filter cannot judge this user"},
	} {
		v := audience(t, `Gender == "Female" && Email matches Name + "|."`).Judge(&c.user)
		if v.Standing != c.want || !strings.Contains(v.Why, c.why) || c.why == "" && v.Why != "" {
			t.Errorf("%s: %d, %q; want %d, %q", c.user.Email, v.Standing, v.Why, c.want, c.why)
		}
		if gets := c.want == expand.Receives || c.want == expand.NotJudged; gets != (v.To == c.user.Email) {
			t.Errorf("%s: the copy goes to %q", c.user.Email, v.To)
		}
	}
}

// What Count says is what Expand does, whoever is in the directory.
func TestCountAgreesWithExpansion(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		pages := drawPages(rt)
		odd := rapid.SampledFrom([]string{"no address", "gone@example.com", "dead@example.com", "(@example.com"})
		for i := range pages {
			for k := range pages[i] {
				u := &pages[i][k]
				u.Attributes["CreateTime"] = json.Number(rapid.SampledFrom([]string{"0", "1699999999", "1800000000"}).Draw(rt, "created"))
				if rapid.IntRange(0, 5).Draw(rt, "odd") == 0 {
					u.Email = mail.Address(odd.Draw(rt, "address"))
				}
				if rapid.IntRange(0, 5).Draw(rt, "unjudged") == 0 {
					u.Attributes["Name"] = "("
				}
			}
		}
		m := promo()
		m.Fields, m.Required = nil, nil
		m.AcceptedAt = time.Unix(1_700_000_000, 0)
		m.List.Filter = rapid.SampledFrom([]string{``, `Gender == "F"`, `CreateTime >= daysAgo(1)`, `Gender matches Name || Gender == "F"`}).Draw(rt, "filter")
		e, q, s := newExpander(t, m, pages...)
		e.Blocked = blockSome
		if err := e.Expand(t.Context(), m); err != nil {
			rt.Fatal(err)
		}
		var told []mail.Address
		c, err := audience(t, m.List.Filter).Count(t.Context(), s, func(u *directory.User, v expand.Verdict) error {
			if v.Standing == expand.Receives {
				told = append(told, v.To)
			}
			return nil
		}, nil)
		if err != nil {
			rt.Fatal(err)
		}
		var queued []mail.Address
		skipped := 0
		for _, cp := range q.copies {
			if cp.State == mail.Queued {
				queued = append(queued, cp.To)
			} else {
				skipped++
			}
		}
		slices.Sort(told)
		slices.Sort(queued)
		if !slices.Equal(told, queued) || c.By[expand.Receives] != len(queued) || c.By[expand.NotJudged] != skipped {
			rt.Fatalf("expansion stored %q and skipped %d; Count says %q, %+v", queued, skipped, told, c)
		}
		sum := 0
		for _, n := range c.By {
			sum += n
		}
		if sum != c.Users {
			rt.Fatalf("the parts of %+v are not the whole", c)
		}
	})
}

func TestCountTellsWhatIsMissingAndHowFarItIs(t *testing.T) {
	a, b, c := kim("a@example.com", "A"), kim("b@example.com", "B"), kim("c@example.com", "C")
	a.Attributes["CreateTime"] = json.Number("1700000001")
	b.Attributes["CreateTime"] = "yesterday"
	c.Unknown, c.Subscribed = true, false
	_, _, s := newExpander(t, promo(), []directory.User{a, b}, []directory.User{c, kim("d@example.com", "D")})
	var seen []int
	census, err := audience(t, `CreateTime < 5`).Count(t.Context(), s, nil, func(c expand.Census) { seen = append(seen, c.Users) })
	if err != nil {
		t.Fatal(err)
	}
	if census.By[expand.Receives] != 2 || census.By[expand.NotChosen] != 1 || census.Unknown != 1 || census.By[expand.NotSubscribed] != 1 ||
		!maps.Equal(census.Lacking, map[string]int{"CreateTime": 2}) || !slices.Equal(seen, []int{2, 4}) {
		t.Errorf("%+v, told at %v", census, seen)
	}
}

func TestCountTellsThousandsOfAddressesApart(t *testing.T) {
	pages := [][]directory.User{kims(5000), nil}
	for _, u := range pages[0] {
		pages[1] = append(pages[1], kim(strings.ToUpper(string(u.Email)), "Kim"))
	}
	_, _, s := newExpander(t, promo(), pages...)
	c, err := audience(t, "").Count(t.Context(), s, nil, nil)
	if err != nil || c.By[expand.Receives] != 5000 || c.By[expand.Repeated] != 5000 {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestCountEndsWithWhatFails(t *testing.T) {
	_, _, s := newExpander(t, promo(), kims(3), kims(3))
	full := errors.New("full")
	if _, err := audience(t, "").Count(t.Context(), s, func(*directory.User, expand.Verdict) error { return full }, nil); !errors.Is(err, full) {
		t.Errorf("got %v", err)
	}
	s.before = func(call string) error {
		if call == "Scan 1" {
			return &mail.Error{Class: mail.Throttled, Public: "the table is busy"}
		}
		return nil
	}
	c, err := audience(t, "").Count(t.Context(), s, nil, nil)
	if mail.ClassOf(err) != mail.Throttled || c.Users != 3 {
		t.Errorf("%+v, %v", c, err)
	}
}

// A page that is read a week later, after a crash, is judged as on the day of acceptance,
// and so is a copy that is released then.
func TestExpansionAndReleaseCountFromTheAcceptance(t *testing.T) {
	accepted := time.Now().Add(-7 * 24 * time.Hour)
	at := func(email string, created time.Time) directory.User {
		u := kim(email, "Kim")
		u.Attributes["CreateTime"] = json.Number(strconv.FormatInt(created.Unix(), 10))
		return u
	}
	m := promo()
	m.AcceptedAt, m.List.Filter, m.List.Release = accepted, `CreateTime >= daysAgo(3)`, "approver"
	e, q, _ := newExpander(t, m, []directory.User{at("new@example.com", accepted.Add(-2*24*time.Hour)), at("old@example.com", accepted.Add(-4*24*time.Hour))})
	if err := e.Expand(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if err := e.Release(t.Context(), q.resume()); err != nil {
		t.Fatal(err)
	}
	if got := q.table(); got != "new@example.com queued [\"Kim\"]\n" {
		t.Errorf("copies:\n%s", got)
	}
}
