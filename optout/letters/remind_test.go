package letters_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/directory"
	"postern/mail"
	"postern/optout/letters"
)

// day is midnight of a date in Seoul.
func day(t testing.TB, s string) time.Time {
	t.Helper()
	return fine(time.ParseInLocation(time.DateOnly, s, seoul()))(t)
}

// put puts a subscribed user into the directory; agreed is their CreateTime, nil: none.
func (o *office) put(user mail.Address, agreed any, edit ...func(*directory.User)) {
	o.t.Helper()
	u := directory.User{Email: user, Subscribed: true, Attributes: map[string]any{}}
	if agreed != nil {
		u.Attributes["CreateTime"] = agreed
	}
	for _, e := range edit {
		e(&u)
	}
	if err := o.store.Put(o.t.Context(), []directory.User{u}); err != nil {
		o.t.Fatal(err)
	}
}

// due is whom Due finds, as "user company: list since, …".
func (o *office) due(now time.Time) (all []letters.Person, shown []string, tally letters.Tally) {
	o.t.Helper()
	tally, err := o.w.Due(o.t.Context(), o.store, now, nil, func(p letters.Person) error {
		var lists []string
		for _, c := range p.Consents {
			lists = append(lists, c.List+" "+c.At.In(seoul()).Format(time.DateOnly))
		}
		all = append(all, p)
		shown = append(shown, string(p.User)+" "+p.Company+": "+strings.Join(lists, ", "))
		return nil
	})
	if err != nil {
		o.t.Fatal(err)
	}
	return all, shown, tally
}

// only leaves the lists of one company, the shop's.
func (o *office) only(ids ...string) {
	o.cfg.Lists = func() []letters.List {
		return slices.DeleteFunc(lists(), func(l letters.List) bool { return !slices.Contains(ids, l.ID) })
	}
	o.rebuild()
}

// TestRule62WhoIsDue: a month before the two years are over, by what is known of
// the consent, and whoever gets no advertising is not.
func TestRule62WhoIsDue(t *testing.T) {
	open(t, func(t *testing.T, o *office) {
		o.only("promo", "news", "staff")
		old := json.Number(fmt.Sprint(day(t, "2024-01-15").Unix()))
		o.put("attribute@example.net", old)
		o.put("young@example.net", json.Number(fmt.Sprint(day(t, "2024-01-17").Unix())))
		o.put("ledger@example.net", old)
		if err := o.index.Agreed(t.Context(), "Ledger@example.net", []string{"promo"}, day(t, "2024-01-10"), directory.Evidence{At: day(t, "2024-01-10"), How: "import"}); err != nil {
			t.Fatal(err)
		}
		o.put("again@example.net", old)
		if err := o.index.Agreed(t.Context(), "again@example.net", []string{directory.AllLists}, day(t, "2025-06-01"), directory.Evidence{At: day(t, "2025-06-01"), How: "import"}); err != nil {
			t.Fatal(err)
		}
		o.put("unknown@example.net", nil)
		o.put("not@example.net", old, func(u *directory.User) { u.Subscribed = false })
		o.put("half@example.net", old, func(u *directory.User) { u.OptOut = []string{"news"} })
		o.put("left@example.net", old)
		o.leave("Left@example.net", "promo")
		o.leave("left@example.net", "news")
		o.put("all@example.net", old)
		o.leave("all@example.net", directory.AllLists)
		o.put("bounced@example.net", old)
		if _, err := o.index.Suppress(t.Context(), directory.Suppression{Address: "Bounced@example.net", Kind: directory.KindBounce, Reason: "x", At: time.Now()}); err != nil {
			t.Fatal(err)
		}
		all, shown, tally := o.due(day(t, "2025-12-16"))
		want := []string{
			"attribute@example.net 예시패션 주식회사: promo 2024-01-15, news 2024-01-15",
			"half@example.net 예시패션 주식회사: promo 2024-01-15",
			"ledger@example.net 예시패션 주식회사: promo 2024-01-10, news 2024-01-15",
		}
		if !slices.Equal(shown, want) {
			t.Errorf("due are\n%s", strings.Join(shown, "\n"))
		}
		if tally != (letters.Tally{Users: 10, Due: 3, Unknown: 1, Suppressed: 1}) {
			t.Errorf("%+v", tally)
		}
		if len(all) != 3 || !all[2].Until.Equal(day(t, "2026-01-10")) || all[2].Consents[0].Source != "ledger" || all[2].Consents[1].Source != "CreateTime" {
			t.Errorf("%+v", all)
		}
		if _, shown, _ := o.due(day(t, "2025-12-09")); len(shown) != 0 {
			t.Error("due before the 23 months are over:", shown)
		}
	})
}

// TestTheTimeOfConsentIsReadAsDirectoriesHaveIt, and what is no time is none.
func TestTheTimeOfConsentIsReadAsDirectoriesHaveIt(t *testing.T) {
	open(t, func(t *testing.T, o *office) {
		o.only("promo")
		now := day(t, "2030-01-01")
		for i, c := range []struct {
			value any
			want  string
		}{
			{json.Number("1700000000"), "2023-11-15"}, {json.Number("1700000000123"), "2023-11-15"}, {json.Number("1.7e9"), "2023-11-15"}, {"1700000000", "2023-11-15"},
			{"2023-11-14T22:13:20Z", "2023-11-15"}, {"2023-11-15T07:13:20+09:00", "2023-11-15"}, {"2023-11-15", "2023-11-15"}, {" 2023-11-15 07:13:20 ", "2023-11-15"}, {"2023-11-15T07:13:20", "2023-11-15"},
			{"", ""}, {"yes", ""}, {true, ""}, {json.Number("0"), ""}, {json.Number("-1"), ""}, {"NaN", ""}, {"Inf", ""}, {json.Number("20231115"), ""}, {json.Number("1700000000123456"), ""}, {"2131-01-01", ""}, {"0001-01-01", ""}, {"15.11.2023", ""},
		} {
			user := mail.Address(fmt.Sprintf("user%d@example.net", i))
			o.put(user, c.value)
			_, shown, tally := o.due(now)
			got := ""
			for _, s := range shown {
				if rest, ok := strings.CutPrefix(s, string(user)+" 예시패션 주식회사: promo "); ok {
					got = rest
				}
			}
			if got != c.want {
				t.Errorf("%v is read as %q, want %q", c.value, got, c.want)
			}
			if tally.Due+tally.Unknown != i+1 {
				t.Errorf("%v: %+v", c.value, tally)
			}
		}
	})
}

// TestRule62OneReminderInTwoYears: it says who agreed, when, to what and how to withdraw;
// whoever does not answer stays, and is reminded two years later.
func TestRule62OneReminderInTwoYears(t *testing.T) {
	open(t, func(t *testing.T, o *office) {
		o.only("promo", "news")
		o.put(minji, "2024-01-15")
		if err := o.index.Agreed(t.Context(), minji, []string{"news"}, day(t, "2025-11-01"), directory.Evidence{At: day(t, "2025-11-01"), How: "import"}); err != nil {
			t.Fatal(err)
		}
		now := day(t, "2025-12-20")
		for i := range 3 {
			tally, err := o.w.RemindAll(t.Context(), o.store, now.Add(time.Duration(i)*24*time.Hour), 100, nil)
			if want := (letters.Tally{Users: 1, Due: 1, Sent: 1}); err != nil || i == 0 && tally != want || i > 0 && tally.Sent+tally.Due > 0 {
				t.Fatalf("%+v, %v", tally, err)
			}
		}
		m := o.one()
		if m.Notice != mail.NoticeReminder || m.Priority != mail.Bulk || m.to != minji {
			t.Errorf("%+v", m.Message)
		}
		m.says(t, "Minji@example.net 님께서는", "메일: 특가 소식\n수신에 동의하신 날짜: 2024년 1월 15일\n", "메일: 신상품 안내\n수신에 동의하신 날짜: 2025년 11월 1일\n", "https://mail.shop.example/p/promo", "!(광고)", "!수신거부 완료")
		if m.header.Get("List-Unsubscribe") != "" {
			t.Error("of two lists one click cannot say which:", m.header)
		}
		if reminded := o.ledger("reminded"); len(reminded) != 2 || reminded[0].Message != m.ID {
			t.Errorf("%+v", reminded)
		}
		if left := fine(o.index.Left(minji))(t); len(left) != 0 {
			t.Error("silence does not keep the consent:", left)
		}
		if _, shown, _ := o.due(day(t, "2027-11-19")); len(shown) != 0 {
			t.Error(shown)
		}
		if _, shown, _ := o.due(day(t, "2027-11-20")); len(shown) != 1 {
			t.Error(shown)
		}
		tally, err := o.w.RemindAll(t.Context(), o.store, day(t, "2027-11-20"), 100, nil)
		if err != nil || tally.Sent != 1 || len(o.all()) != 2 {
			t.Error("nobody is reminded again:", tally, err)
		}
	})
}

func TestAReminderOfOneListCanBeLeftByOneClick(t *testing.T) {
	open(t, func(t *testing.T, o *office) {
		o.only("other")
		o.put(minji, "2024-01-15")
		if tally, err := o.w.RemindAll(t.Context(), o.store, day(t, "2026-01-01"), 100, nil); err != nil || tally.Sent != 1 {
			t.Fatal(tally, err)
		}
		m := o.one()
		m.says(t, "Please check: you agreed", "You agreed on: 15 January 2024\n", "https://mail.shop.example/p/other")
		if m.header.Get("List-Unsubscribe") != "<https://mail.shop.example/u/other>" || m.header.Get("List-Unsubscribe-Post") != "List-Unsubscribe=One-Click" {
			t.Error(m.header)
		}
	})
}

// TestACrashBetweenReminderAndMarkMakesNoSecondReminder, not even where one of two
// lists was marked already.
func TestACrashBetweenReminderAndMarkMakesNoSecondReminder(t *testing.T) {
	open(t, func(t *testing.T, o *office) {
		o.only("promo", "news")
		o.put(minji, "2024-01-15")
		now := day(t, "2026-01-01")
		route := o.cfg.Route
		for len(o.all()) == 0 { // the spool may still take, or not, what comes after the end
			ctx, crash := context.WithCancel(t.Context())
			o.cfg.Route = func(l letters.List) letters.Route { crash(); return route(l) }
			o.rebuild()
			if _, err := o.w.RemindAll(ctx, o.store, now, 100, nil); !errors.Is(err, context.Canceled) {
				t.Fatal("nothing crashed:", err)
			}
		}
		if len(o.ledger("reminded")) != 0 {
			t.Fatal("it is marked")
		}
		id := o.one().ID
		if err := o.index.Reminded(t.Context(), minji, "promo", directory.Evidence{At: now, How: "letter", Message: id}); err != nil {
			t.Fatal(err)
		}
		o.cfg.Route = route
		o.rebuild()
		if _, err := o.w.RemindAll(t.Context(), o.store, now.Add(time.Hour), 100, nil); err != nil {
			t.Fatal(err)
		}
		o.one()
		if _, shown, _ := o.due(now.Add(2 * time.Hour)); len(shown) != 0 {
			t.Error(shown)
		}
	})
}

// TestWhoHasLeftSinceIsNotReminded: what Due found is looked at again.
func TestWhoHasLeftSinceIsNotReminded(t *testing.T) {
	open(t, func(t *testing.T, o *office) {
		now := day(t, "2026-01-01")
		for _, user := range []mail.Address{"a@example.net", "b@example.net", "c@example.net", "d@example.net", "민지@example.net"} {
			o.put(user, "2024-01-15")
		}
		all, _, _ := o.due(now)
		if len(all) != 10 { // of two companies
			t.Fatal(all)
		}
		o.leave("a@example.net", directory.AllLists)
		o.leave("b@example.net", "promo")
		o.leave("b@example.net", "other")
		if _, err := o.index.Suppress(t.Context(), directory.Suppression{Address: "c@example.net", Kind: directory.KindComplaint, Reason: "x", At: now}); err != nil {
			t.Fatal(err)
		}
		for _, p := range all {
			if _, err := o.w.Remind(t.Context(), p, now); err != nil {
				t.Fatal(err)
			}
		}
		var told []string
		for _, m := range o.all() {
			told = append(told, string(m.to)+" "+m.from.Name)
			if m.to == "b@example.net" {
				m.says(t, "신상품 안내", "!특가 소식")
			}
		}
		slices.Sort(told)
		if want := []string{"b@example.net 예시패션 주식회사", "d@example.net Other Shop", "d@example.net 예시패션 주식회사"}; !slices.Equal(told, want) {
			t.Error(told)
		}
	})
}

// TestManyAreRemindedInBoundedRuns: page by page, and no more than the limit at once.
func TestManyAreRemindedInBoundedRuns(t *testing.T) {
	open(t, func(t *testing.T, o *office) {
		o.only("promo")
		var users []directory.User
		for i := range 2500 {
			users = append(users, directory.User{Email: mail.Address(fmt.Sprintf("user%04d@example.net", i)), Subscribed: true, Attributes: map[string]any{"CreateTime": "2024-01-15"}})
		}
		if err := o.store.Put(t.Context(), users); err != nil {
			t.Fatal(err)
		}
		now := day(t, "2026-01-01")
		var seen []int
		tally, err := o.w.Due(t.Context(), o.store, now, func(p letters.Tally) { seen = append(seen, p.Users) }, func(letters.Person) error { return nil })
		if err != nil || tally.Due != 2500 || len(seen) < 3 || seen[len(seen)-1] != 2500 {
			t.Errorf("%+v, %v, progress %v", tally, err, seen)
		}
		for run, want := range []letters.Tally{{Sent: 20, More: true}, {Sent: 20, More: true}} {
			tally, err := o.w.RemindAll(t.Context(), o.store, now, 20, nil)
			if err != nil || tally.Sent != want.Sent || tally.More != want.More {
				t.Errorf("run %d: %+v, %v", run, tally, err)
			}
		}
		if n := o.s.Unfinished(mail.NoticeReminder); n != 40 {
			t.Errorf("%d reminders", n)
		}
	})
}
