package expand_test

import (
	"encoding/json"
	"strings"
	"testing"

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
		filter, err := expand.CompileFilter(c.filter, f)
		if err != nil {
			t.Errorf("%s: %v", c.filter, err)
			continue
		}
		for user, want := range map[*directory.User]bool{u: c.full, asText: c.text, empty: c.nobody} {
			if got, err := filter.Match(user); got != want || err != nil {
				t.Errorf("%s for %s: %v, %v; want %v", c.filter, user.Email, got, err, want)
			}
		}
	}
}

func TestFilterRefuses(t *testing.T) {
	f := testFields(t)
	for filter, want := range map[string]string{
		`Gendre == "Female"`:                 `there is no field Gendre; did you mean Gender?`,
		`Coupon == "x"`:                      `there is no field Coupon; there are CreateTime, Gender, Name, Email`,
		`Date == ""`:                         `there is no field Date`,
		`CreateTime > "1700000000"`:          `invalid operation: > (mismatched types float64 and string) (character 12)`,
		`Name`:                               `expected bool, but got string`,
		`Name ==`:                            `unexpected token EOF`,
		`Name == "a" Name`:                   `unexpected token`,
		`first(Name) == "a"`:                 `there is no function first; a filter has len,`,
		`unknown(Gendre)`:                    `there is no`,
		`Name matches "("`:                   `missing closing )`,
		`any(1..100000, # > 3)`:              `not for filters`,
		`3 in 1..1000000`:                    `ranges (..) are not for filters`,
		`let x = Name + Name; x == "a"`:      `loops and variables`,
		`$env["Name"] == ""`:                 `there is no field $env`,
		`Name.Length == 3`:                   `type string has no field Length`,
		strings.Repeat("(", 5000):            `is too long: 5000 bytes`,
		strings.Repeat("(", 4000):            `cannot be used`,
		strings.Repeat("!", 4000) + "true":   `maximum allowed nodes`,
		"Name == \"a\" \xff":                 `cannot be used`,
		`now().Unix() > 3`:                   `there is no function now`,
		"Gender == \"F\"\n&& Gendr == \"a\"": `did you mean Gender?`,
	} {
		_, err := expand.CompileFilter(filter, f)
		if err == nil {
			t.Errorf("%.50s: accepted", filter)
			continue
		}
		if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") || len(err.Error()) > 400 {
			t.Errorf("%.50s: the error is %q; want one line with %q", filter, err, want)
		}
	}
}

func TestFilterThatCannotJudgeIsAnError(t *testing.T) {
	f := testFields(t)
	u := &directory.User{Attributes: map[string]any{"Name": "(", "Gender": "x"}}
	for _, src := range []string{`Gender matches Name`, `int(Gender) == 3`, `[1, 2][len(Gender) + 5] == 1`, `7 % (len(Name) - 1) == 0`} {
		filter, err := expand.CompileFilter(src, f)
		if err != nil {
			t.Errorf("%s: %v", src, err)
			continue
		}
		got, err := filter.Match(u)
		if got || err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, %v", src, got, err)
		}
	}
}

func FuzzFilter(f *testing.F) {
	for _, s := range []string{`Gender == "Female" && CreateTime > 1700000000`, `Name matches Gender`, `이름 in ["김", "이"]`, `len(Email) % 3 == 0`,
		`let x = 1; x == 1`, `any([1], # == 1)`, `1..3 == [1,2,3]`, `$env`, `Name | lower() == "a"`, `{"a": {"b": true}}.a.b`, `Name?.x ?? true`,
		`if CreateTime > 1 { true } else { false }`, `true; false`, `Name[1:2] == "x"`, "\x00", `0x1p3 ** 2 > CreateTime`} {
		f.Add(s, "김", "1e3")
	}
	fields := testFields(f)
	f.Fuzz(func(t *testing.T, src, name, number string) {
		filter, err := expand.CompileFilter(src, fields)
		if err != nil {
			return
		}
		u := &directory.User{Email: "a@example.com", Attributes: map[string]any{"Name": name, "Gender": name, "CreateTime": json.Number(number)}}
		one, err1 := filter.Match(u)
		two, err2 := filter.Match(u)
		if one != two || (err1 == nil) != (err2 == nil) || one && err1 != nil {
			t.Errorf("%q gives %v, %v and then %v, %v", src, one, err1, two, err2)
		}
	})
}
