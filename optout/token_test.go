package optout_test

import (
	"encoding/base64"
	"regexp"
	"strings"
	"testing"
	"time"

	"postern/mail"
	"postern/optout"
)

func TestTokenGivesItsClaimBack(t *testing.T) {
	k, _ := openKeyring(t)
	for _, c := range []optout.Claim{
		claim,
		{List: "p", User: "a@b", Message: mail.NewID(time.Now())},
		{List: strings.Repeat("l", 64), User: mail.Address(strings.Repeat("a", 64) + "@" + strings.Repeat("d", 189)), Message: mail.NewID(time.Now())},
		{List: "공지", User: "민@예시.한국", Message: mail.NewID(time.Now())},
	} {
		token := k.Seal(0, c)
		if !regexp.MustCompile(`^[A-Za-z0-9_-]{60,600}$`).MatchString(token) {
			t.Errorf("token %q", token)
		}
		if got, err := k.Open(token); err != nil || got != c {
			t.Errorf("%+v came back as %+v, %v", c, got, err)
		}
	}
}

func TestTokenOfACopyIsTheSameInEveryAttemptAndDiffersBetweenCopies(t *testing.T) {
	k, _ := openKeyring(t)
	if first, again := k.Seal(0, claim), k.Seal(0, claim); first != again || k.Seal(0, claim) != k.Seal(k.Newest(), claim) || k.Seal(0, claim) != k.Seal(999, claim) {
		t.Error("the same claim gave two tokens")
	}
	seen := map[string]bool{k.Seal(0, claim): true}
	for _, c := range []optout.Claim{
		{List: "promo", User: claim.User, Message: mail.NewID(time.Now())},
		{List: "promo2", User: claim.User, Message: claim.Message},
		{List: "promo", User: "min.kim@example.com", Message: claim.Message},
		{List: "promoM", User: claim.User[1:], Message: claim.Message},
	} {
		if token := k.Seal(0, c); seen[token] {
			t.Errorf("%+v shares a token", c)
		} else {
			seen[token] = true
		}
	}
}

func TestTokenShowsNoAddress(t *testing.T) {
	k, _ := openKeyring(t)
	token := k.Seal(0, claim)
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"Min", "Kim", "Example", "promo"} {
		if strings.Contains(token, part) || strings.Contains(string(raw), part) {
			t.Errorf("%q can be read in the token", part)
		}
	}
}

func TestChangedTokenNamesNobody(t *testing.T) {
	k, _ := openKeyring(t)
	token := k.Seal(0, claim)
	raw, _ := base64.RawURLEncoding.DecodeString(token)
	refuse := func(what, s string) {
		t.Helper()
		if c, err := k.Open(s); err == nil || c != (optout.Claim{}) {
			t.Errorf("%s: opened as %+v", what, c)
		}
	}
	for i := range raw {
		for bit := range 8 {
			b := append([]byte(nil), raw...)
			b[i] ^= 1 << bit
			refuse("flipped bit", base64.RawURLEncoding.EncodeToString(b))
		}
		refuse("cut short", base64.RawURLEncoding.EncodeToString(raw[:i]))
		refuse("cut in front", base64.RawURLEncoding.EncodeToString(raw[i+1:]))
	}
	for i := range token {
		refuse("truncated", token[:i])
		for _, c := range "Aa0_-=. \n\r\x00é" {
			if changed := token[:i] + string(c) + token[i+1:]; changed != token {
				refuse("changed character", changed)
			}
			refuse("inserted character", token[:i]+string(c)+token[i:])
		}
	}
	other, _ := openKeyring(t)
	refuse("another ring's", other.Seal(0, claim))
	refuse("empty", "")
	refuse("padded", token+"=")
	refuse("doubled", token+token)
	refuse("long", strings.Repeat("A", 1<<20))
	refuse("garbage", "hello")
	// What seals an empty list or user opens for nobody.
	refuse("no user", k.Seal(0, optout.Claim{List: "promo", Message: claim.Message}))
	refuse("no list", k.Seal(0, optout.Claim{User: claim.User, Message: claim.Message}))
}

func FuzzToken(f *testing.F) {
	k, _ := openKeyring(f)
	good := k.Seal(0, claim)
	for _, s := range []string{"", good, good[1:], good[:len(good)-1], "AQE", "AQEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "AYCAgICAgICAgIAB", "!"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := k.Open(s)
		if err == nil && (s != good || c != claim) {
			t.Fatalf("%q opened as %+v", s, c)
		}
		in := optout.Claim{List: "l" + s, User: mail.Address("u" + s), Message: claim.Message}
		if len(s) > 200 {
			return
		}
		if out, err := k.Open(k.Seal(0, in)); err != nil || out != in {
			t.Fatalf("%+v came back as %+v, %v", in, out, err)
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	k, _ := openKeyring(b)
	for b.Loop() {
		k.Seal(0, claim)
	}
}

func BenchmarkOpen(b *testing.B) {
	k, _ := openKeyring(b)
	token := k.Seal(0, claim)
	for b.Loop() {
		if _, err := k.Open(token); err != nil {
			b.Fatal(err)
		}
	}
}
