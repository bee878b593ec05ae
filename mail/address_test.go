package mail_test

import (
	"errors"
	"strings"
	"testing"

	"postern/mail"
)

func TestParseAddress(t *testing.T) {
	for in, key := range map[string]string{
		"min@example.com":            "min@example.com",
		"Min.Kim@Example.COM":        "min.kim@example.com",
		`"min"@example.com`:          "min@example.com",
		`"min kim"@example.com`:      `"min kim"@example.com`,
		`"a\"b"@example.com`:         `"a\"b"@example.com`,
		"o'hara+tag@example.com":     "o'hara+tag@example.com",
		"min@예시.한국":                  "min@xn--vv4b11d.xn--3e0b707e",
		"민@example.com":              "민@example.com",
		"min@[192.0.2.1]":            "min@[192.0.2.1]",
		"www-data@host_1.internal":   "www-data@host_1.internal",
		"!#$%&'*+/=?^_`{|}~-@ex.com": "!#$%&'*+/=?^_`{|}~-@ex.com",
		"root@localhost":             "root@localhost",
	} {
		a, err := mail.ParseAddress(in)
		if err != nil {
			t.Errorf("%s is refused: %v", in, err)
			continue
		}
		if string(a) != in || a.Key() != key {
			t.Errorf("%s: kept as %s, key %s, want %s", in, a, a.Key(), key)
		}
	}
	for _, in := range []string{
		"", "@", "min", "min@", "@example.com", "min@@example.com", ".min@example.com", "min.@example.com", "a..b@example.com",
		"min kim@example.com", "min@exa mple.com", "min@-example.com", "min@example..com", "min@example.com.", "min@.com",
		"<min@example.com>", "Min <min@example.com>", "min@example.com,kim@example.com", "min\r\nBcc: x@example.com", "min@example.com\r\n",
		`"min@example.com`, `"mi"n"@example.com`, `"min\"@example.com`, "min@[192.0.2.1", "min@[]", "min@[", "min@[\x01]", "min@[\u202e]", "min@[a b]", strings.Repeat("x", 1<<20), "min\x00@example.com", "min\u202e@example.com",
		"min@exam\u200bple.com", "\xff@example.com", strings.Repeat("a", 65) + "@example.com", "a@" + strings.Repeat("b.", 130) + "com", "min@exam!ple.com",
	} {
		if a, err := mail.ParseAddress(in); err == nil {
			t.Errorf("%q is taken as %q", in, a)
		} else if !strings.Contains(err.Error(), "is not a mail address") {
			t.Errorf("%q: the error does not say what is wrong: %v", in, err)
		} else if len(err.Error()) > 2000 {
			t.Errorf("an error of %d octets", len(err.Error()))
		}
	}
}

func TestASCIIIsWhatAnUpstreamWithoutSMTPUTF8Takes(t *testing.T) {
	if a, err := mail.Address("Min@예시.한국").ASCII(); err != nil || a != "Min@xn--vv4b11d.xn--3e0b707e" {
		t.Errorf("got %q, %v", a, err)
	}
	var e *mail.Error
	if _, err := mail.Address("민@example.com").ASCII(); !errors.As(err, &e) || e.Code != 553 || e.Enhanced != "5.6.7" || e.Class != mail.Permanent {
		t.Errorf("a non-ASCII local part: %v", err)
	}
	if a, err := mail.Address("").ASCII(); err != nil || a != "" {
		t.Errorf("the null sender: %q %v", a, err)
	}
}

func TestMatchAddress(t *testing.T) {
	for _, c := range []struct {
		pattern, address string
		want             bool
	}{
		{"*", "a@example.com", true},
		{"*@example.com", "a@example.com", true},
		{"*@Example.com", "A@EXAMPLE.COM", true},
		{"*@example.com", "a@sub.example.com", false},
		{"*@example.com", "a@notexample.com", false},
		{"*@example.com", "", false},
		{"*@예시.한국", "a@xn--vv4b11d.xn--3e0b707e", true},
		{"Min@example.com", "min@Example.com", true},
		{"min@example.com", "kim@example.com", false},
		{"", "", false},
		{"", "a@example.com", false},
	} {
		if got := mail.MatchAddress(c.pattern, mail.Address(c.address)); got != c.want {
			t.Errorf("%q matches %q: %v", c.pattern, c.address, got)
		}
	}
}

func FuzzParseAddress(f *testing.F) {
	for _, s := range []string{"min@example.com", `"a b"@example.com`, "min@[192.0.2.1]", "민@예시.한국", "a@b@c", "x%y@z", "\x00@\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := mail.ParseAddress(s)
		if err != nil {
			return
		}
		if strings.ContainsAny(string(a), "\r\n\x00") {
			t.Fatalf("%q lets a line end or NUL through", s)
		}
		key := a.Key()
		if mail.Address(key).Key() != key {
			t.Fatalf("the key of %q is not its own: %q, %q", s, key, mail.Address(key).Key())
		}
		if ascii, err := a.ASCII(); err == nil {
			if again, err := mail.ParseAddress(ascii); err != nil || again.Key() != key {
				t.Fatalf("%q goes out as %q, which is %q (%v)", s, ascii, again, err)
			}
		}
	})
}
