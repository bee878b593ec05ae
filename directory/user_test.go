package directory_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"postern/directory"
)

func TestReadStatusIsClosed(t *testing.T) {
	for _, v := range []any{true, "true", "TRUE", "True", "tRuE", "1", json.Number("1")} {
		if !directory.ReadStatus(v) {
			t.Errorf("%#v is not subscribed, want subscribed", v)
		}
	}
	for _, v := range []any{false, nil, "", "false", "yes", "Y", "on", " true", "true\n", "01", "1.0", json.Number("0"), json.Number("10"),
		json.Number("-1"), 1, 1.0, []any{true}, map[string]any{"BOOL": true}} {
		if directory.ReadStatus(v) {
			t.Errorf("%#v is subscribed, want not", v)
		}
	}
}

func FuzzReadStatus(f *testing.F) {
	for _, s := range []string{"true", "TRUE", "1", "", "yes", "false", "ｔｒｕｅ", "true\x00", "01", "{\"S\":\"true\"}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		want := s == "1" || len(s) == 4 && strings.ToLower(s) == "true"
		if got := directory.ReadStatus(s); got != want {
			t.Fatalf("the text %q: %v, want %v", s, got, want)
		}
		if got := directory.ReadStatus(json.Number(s)); got != (s == "1") {
			t.Fatalf("the number %q: %v", s, got)
		}
		if directory.ReadStatus([]any{s}) || directory.ReadStatus(map[string]any{s: true}) {
			t.Fatalf("a list or map with %q is subscribed", s)
		}
	})
}

func TestUserAsJSON(t *testing.T) {
	u := directory.User{Email: "kim@example.com", Subscribed: true, OptOut: []string{"promo"}, Attributes: map[string]any{
		"Name": "김민", "CreateTime": json.Number("1700000000.50"), "VIP": false, "Tags": []any{"a", nil}}}
	b, err := json.Marshal(u)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"CreateTime":1700000000.50,"Email":"kim@example.com","Name":"김민","OptOut":["promo"],"SubscriptionStatus":true,"Tags":["a",null],"VIP":false}`
	if string(b) != want {
		t.Fatalf("got  %s\nwant %s", b, want)
	}
	var back directory.User
	if err := json.Unmarshal(b, &back); err != nil || !reflect.DeepEqual(back, u) {
		t.Fatalf("got %#v, %v", back, err)
	}
	b, err = json.Marshal(directory.User{Email: "a@example.com"})
	if err != nil || string(b) != `{"Email":"a@example.com","SubscriptionStatus":false}` {
		t.Fatalf("got %s, %v", b, err)
	}
	for _, bad := range []string{`[]`, `{}`, `{"Email":1}`, `null`} {
		if err := json.Unmarshal([]byte(bad), &back); err == nil {
			t.Errorf("%s was read as a user", bad)
		}
	}
}

func TestReceives(t *testing.T) {
	for _, c := range []struct {
		user directory.User
		want bool
	}{
		{directory.User{Subscribed: true}, true},
		{directory.User{}, false},
		{directory.User{Subscribed: true, OptOut: []string{"news"}}, true},
		{directory.User{Subscribed: true, OptOut: []string{"news", "promo"}}, false},
		{directory.User{Subscribed: true, OptOut: []string{directory.AllLists}}, false},
	} {
		if got := c.user.Receives("promo"); got != c.want {
			t.Errorf("%+v: %v, want %v", c.user, got, c.want)
		}
	}
}

func TestValueIsText(t *testing.T) {
	u := directory.User{Attributes: map[string]any{"s": "x", "n": json.Number("1.50"), "t": true, "f": false, "z": nil, "l": []any{"x"}}}
	for field, want := range map[string]string{"s": "x", "n": "1.50", "t": "true", "f": "false", "z": "", "l": "", "missing": ""} {
		if got := u.Value(field); got != want {
			t.Errorf("%s: %q, want %q", field, got, want)
		}
	}
}

func TestFoldedUsersAreNewWhenAllAreSaidToBe(t *testing.T) {
	for _, c := range [][3]bool{{true, true, true}, {true, false, false}, {false, true, false}} {
		got := directory.Fold([]directory.User{{Email: "a@example.com", New: c[0]}, {Email: "a@example.com", New: c[1]}})
		if len(got) != 1 || got[0].New != c[2] {
			t.Errorf("%v: %+v", c, got)
		}
	}
}
