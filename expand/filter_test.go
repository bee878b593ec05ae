package expand_test

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"postern/directory"
	"postern/expand"
)

func TestFilterMatches(t *testing.T) {
	f, err := expand.NewFields(map[string]expand.FieldDef{
		"Name": {Alias: []string{"이름"}}, "Gender": {}, "CreateTime": {Type: "number"}, "Vip": {Type: "bool"}, "First Name": {},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	u := &directory.User{Email: "kim@example.com", Subscribed: true, Attributes: map[string]any{
		"Name": "김민지", "Gender": "Female", "CreateTime": json.Number("1700000001"), "Vip": true, "First Name": " Min"}}
	asText := &directory.User{Email: "lee@example.net", Attributes: map[string]any{
		"Gender": json.Number("1"), "CreateTime": " 1700000001 ", "Vip": "TRUE"}}
	empty := &directory.User{Email: "b@example.org", Attributes: map[string]any{"CreateTime": "NaN", "Vip": "yes", "Name": []any{"x"}}}
	for _, c := range []struct {
		filter             string
		full, text, nobody bool
	}{
		{``, true, true, true},
		{" \t\n", true, true, true},
		{`true`, true, true, true},
		{`Gender == "Female" && CreateTime > 1700000000`, true, false, false},
		{`CreateTime > 1700000000`, true, true, false},
		{`CreateTime == 0 and not Vip and Name == ""`, false, false, true},
		{`Vip`, true, true, false},
		{`Gender == "1"`, false, true, false},
		{`Gender in ["Female", "Male"]`, true, false, false},
		{`gender == "Female" or 이름 startsWith "김"`, true, false, false},
		{`FirstName == " Min"`, true, false, false},
		{`Email endsWith "@example.net"`, false, true, false},
		{`lower(Email) matches "^(kim|b)@"`, true, false, true},
		{`len(Name) == 3 ? true : CreateTime < 10`, true, false, true},
	} {
		filter, err := expand.CompileFilter(c.filter, f, nil)
		if err != nil {
			t.Errorf("%s: %v", c.filter, err)
			continue
		}
		for user, want := range map[*directory.User]bool{u: c.full, asText: c.text, empty: c.nobody} {
			if got, err := filter.Match(user, time.Time{}); got != want || err != nil {
				t.Errorf("%s for %s: %v, %v; want %v", c.filter, user.Email, got, err, want)
			}
		}
	}
}

func TestFilterRefuses(t *testing.T) {
	f := testFields(t)
	for filter, want := range map[string]string{
		`Gendre == "Female"`:                  `there is no field Gendre; did you mean Gender?`,
		`Coupon == "x"`:                       `there is no field Coupon; there are CreateTime, Gender, Name, Email`,
		`Date == ""`:                          `there is no field Date`,
		`CreateTime > "1700000000"`:           `invalid operation: > (mismatched types number and string) (character 12)`,
		`Name`:                                `expected bool, but got string`,
		`Name ==`:                             `unexpected token EOF`,
		`Name == "a" Name`:                    `unexpected token`,
		`first(Name) == "a"`:                  `there is no function first; a filter has len,`,
		`unknown(Gendre)`:                     `there is no`,
		`Name matches "("`:                    `missing closing )`,
		`any(1..100000, # > 3)`:               `not for filters`,
		`3 in 1..1000000`:                     `ranges (..) are not for filters`,
		`let x = Name + Name; x == "a"`:       `loops and variables`,
		`$env["Name"] == ""`:                  `there is no field $env`,
		`Name.Length == 3`:                    `type string has no field Length`,
		strings.Repeat("(", 5000):             `is too long: 5000 bytes`,
		strings.Repeat("(", 4000):             `cannot be used`,
		strings.Repeat("!", 4000) + "true":    `maximum allowed nodes`,
		"Name == \"a\" \xff":                  `cannot be used`,
		`now().Unix() > 3`:                    `there is no function now; a filter has len,`,
		`CreateTime >= daysago(30)`:           `there is no function daysago; did you mean daysAgo?`,
		`CreateTime >= daysAgo()`:             `daysAgo takes a number of days from 0 to 36500 that is written out, such as daysAgo(30)`,
		`CreateTime >= daysAgo(-1)`:           `daysAgo takes a number`,
		`CreateTime >= daysAgo(36501)`:        `daysAgo takes a number`,
		`CreateTime >= daysAgo(CreateTime)`:   `daysAgo takes a number`,
		`CreateTime >= daysAgo(Gendre)`:       `daysAgo takes a number`,
		`CreateTime >= daysAgo("30")`:         `daysAgo takes a number`,
		`CreateTime >= daysAgo(1, 2)`:         `daysAgo takes a number`,
		`Gender >= daysAgo(1)`:                `mismatched types string and number`,
		`daysAgo(30)`:                         `expected bool`,
		`CreateTime >= date("2026-02-29")`:    `date takes a day that there is and that is written out, such as date("2026-01-31")`,
		`CreateTime >= date("31.1.2026")`:     `date takes a day`,
		`CreateTime >= date(20260131)`:        `date takes a day`,
		`CreateTime >= date(Name)`:            `date takes a day`,
		`CreateTime >= date()`:                `date takes a day`,
		`CreateTime >= date`:                  `there is no field date`,
		`Foo == daysAgo(1)`:                   `there is no field Foo`,
		`CreateTime > daysAgo(1) && Nme=="a"`: `there is no field Nme; did you mean Name?`,
		`$env["\x00now"] > 3`:                 `there is no field $env`,
		"Gender == \"F\"\n&& Gendr == \"a\"":  `did you mean Gender?`,
	} {
		_, err := expand.CompileFilter(filter, f, nil)
		if err == nil {
			t.Errorf("%.50s: accepted", filter)
			continue
		}
		if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") || len(err.Error()) > 400 {
			t.Errorf("%.50s: the error is %q; want one line with %q", filter, err, want)
		}
	}
}

func TestFilterCountsFromTheTimeItIsGiven(t *testing.T) {
	seoul, err := time.LoadLocation("Asia/Seoul")
	if err != nil {
		t.Fatal(err)
	}
	f := testFields(t)
	now := time.Date(2026, 3, 31, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		filter string
		loc    *time.Location
		from   time.Time // the first second that it chooses
	}{
		{`CreateTime >= daysAgo(30)`, nil, now.Add(-30 * 24 * time.Hour)},
		{`CreateTime >= daysAgo(30)`, seoul, now.Add(-30 * 24 * time.Hour)},
		{`CreateTime >= daysAgo(0.5)`, nil, now.Add(-12 * time.Hour)},
		{`CreateTime >= (30 | daysAgo())`, nil, now.Add(-30 * 24 * time.Hour)},
		{`CreateTime >= daysAgo(0)`, nil, now},
		{`CreateTime * 2 >= daysAgo(7) + CreateTime`, nil, now.Add(-7 * 24 * time.Hour)},
		{`CreateTime >= date("2026-01-31")`, nil, time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC)},
		{`CreateTime >= date("2026-01-31")`, seoul, time.Date(2026, 1, 30, 15, 0, 0, 0, time.UTC)},
		{`CreateTime >= date("2026-01-31 09:30")`, seoul, time.Date(2026, 1, 31, 0, 30, 0, 0, time.UTC)},
		{`max(daysAgo(30), date("2026-03-30")) <= CreateTime`, nil, time.Date(2026, 3, 30, 0, 0, 0, 0, time.UTC)},
	} {
		filter, err := expand.CompileFilter(c.filter, f, c.loc)
		if err != nil {
			t.Errorf("%s: %v", c.filter, err)
			continue
		}
		for _, add := range []int64{-1, 0} {
			u := &directory.User{Attributes: map[string]any{"CreateTime": json.Number(strconv.FormatInt(c.from.Unix()+add, 10))}}
			if got, err := filter.Match(u, now); got != (add == 0) || err != nil {
				t.Errorf("%s at %s%+d: %v, %v", c.filter, c.from, add, got, err)
			}
		}
		u := &directory.User{Attributes: map[string]any{"CreateTime": json.Number(strconv.FormatInt(now.Add(-7*24*time.Hour).Unix(), 10))}}
		before, _ := filter.Match(u, now)
		after, _ := filter.Match(u, now.Add(100*24*time.Hour))
		if moves := strings.Contains(c.filter, "daysAgo"); moves && after || !moves && after != before {
			t.Errorf("%s: %v, and %v a hundred days later", c.filter, before, after)
		}
	}
}

func TestFilterSaysWhichFieldsSomebodyLacks(t *testing.T) {
	filter, err := expand.CompileFilter(`Gender == "Female" && CreateTime > 3 || gender == "x"`, testFields(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	for want, attributes := range map[string]map[string]any{
		"":                  {"Gender": "Male", "CreateTime": json.Number("0")},
		"Gender":            {"Gender": "", "CreateTime": " 17 ", "Name": ""},
		"CreateTime":        {"Gender": " ", "CreateTime": "yesterday"},
		"Gender CreateTime": {"Gender": []any{"x"}},
	} {
		if got := strings.Join(filter.Lacks(&directory.User{Attributes: attributes}), " "); got != want {
			t.Errorf("%v lacks %q, want %q", attributes, got, want)
		}
	}
}

func TestOnlyAnUnknownFieldIsAnUnknownField(t *testing.T) {
	for filter, want := range map[string]bool{`Coupon == "x"`: true, `Gendre == ""`: true, `Name == 3`: false, `foo(Name) == ""`: false, `daysAgo(Coupon) < 3`: false} {
		if _, err := expand.CompileFilter(filter, testFields(t), nil); errors.Is(err, expand.ErrUnknownField) != want {
			t.Errorf("%s: %v", filter, err)
		}
	}
}

func TestFilterThatCannotJudgeIsAnError(t *testing.T) {
	f := testFields(t)
	u := &directory.User{Attributes: map[string]any{"Name": "(", "Gender": "x"}}
	for _, src := range []string{`Gender matches Name`, `int(Gender) == 3`, `[1, 2][len(Gender) + 5] == 1`, `7 % (len(Name) - 1) == 0`} {
		filter, err := expand.CompileFilter(src, f, nil)
		if err != nil {
			t.Errorf("%s: %v", src, err)
			continue
		}
		got, err := filter.Match(u, time.Unix(1700000000, 0))
		if got || err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, %v", src, got, err)
		}
	}
}

func FuzzFilter(f *testing.F) {
	for _, s := range []string{`Gender == "Female" && CreateTime > 1700000000`, `Name matches Gender`, `이름 in ["김", "이"]`, `len(Email) % 3 == 0`,
		`let x = 1; x == 1`, `any([1], # == 1)`, `1..3 == [1,2,3]`, `$env`, `Name | lower() == "a"`, `{"a": {"b": true}}.a.b`, `Name?.x ?? true`,
		`CreateTime >= daysAgo(30)`, `CreateTime < date("2026-01-31 09:30")`, `3 | daysAgo() == date("")`,
		`if CreateTime > 1 { true } else { false }`, `true; false`, `Name[1:2] == "x"`, "\x00", `0x1p3 ** 2 > CreateTime`} {
		f.Add(s, "김", "1e3")
	}
	fields := testFields(f)
	f.Fuzz(func(t *testing.T, src, name, number string) {
		filter, err := expand.CompileFilter(src, fields, nil)
		if err != nil {
			return
		}
		u := &directory.User{Email: "a@example.com", Attributes: map[string]any{"Name": name, "Gender": name, "CreateTime": json.Number(number)}}
		one, err1 := filter.Match(u, time.Unix(1700000000, 0))
		two, err2 := filter.Match(u, time.Unix(1700000000, 0))
		if one != two || (err1 == nil) != (err2 == nil) || one && err1 != nil {
			t.Errorf("%q gives %v, %v and then %v, %v", src, one, err1, two, err2)
		}
	})
}
