package optout_test

import (
	"encoding/base64"
	"errors"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/mail"
	"postern/optout"
)

var wanted = optout.Confirmation{Lists: []string{"sale", "promo"}, User: "Min.Kim@Example.com", At: time.Unix(1795674250, 0)}

func TestConfirmationComesBackForSevenDays(t *testing.T) {
	k, _ := openKeyring(t)
	token := k.SealConfirm(wanted)
	for after, want := range map[time.Duration]error{0: nil, optout.ConfirmWithin: nil, optout.ConfirmWithin + time.Second: optout.ErrExpired, -time.Hour: nil} {
		c, err := k.OpenConfirm(token, wanted.At.Add(after))
		if err != want || c.User != wanted.User || !slices.Equal(c.Lists, wanted.Lists) || !c.At.Equal(wanted.At) {
			t.Errorf("after %v: %+v, %v", after, c, err)
		}
	}
	if err := k.Rotate(); err != nil {
		t.Fatal(err)
	}
	if _, err := k.OpenConfirm(token, wanted.At); err != nil {
		t.Errorf("after a rotation: %v", err)
	}
}

func TestConfirmationOfManyListsStaysALinkThatCanBeFollowed(t *testing.T) {
	k, _ := openKeyring(t)
	many := wanted
	for range 500 {
		many.Lists = append(many.Lists, strings.Repeat("l", 64))
	}
	token := k.SealConfirm(many)
	if c, err := k.OpenConfirm(token, wanted.At); err != nil || len(c.Lists) < 50 || c.User != wanted.User || len(token) > 6000 {
		t.Errorf("%d lists, %d characters, %v", len(c.Lists), len(token), err)
	}
}

func TestTokensOfOnePurposeOpenNothingElse(t *testing.T) {
	k, _ := openKeyring(t)
	confirm, leave := k.SealConfirm(wanted), k.Seal(0, claim)
	if c, err := k.Open(confirm); err == nil {
		t.Errorf("a confirmation unsubscribes: %+v", c)
	}
	if c, err := k.OpenConfirm(leave, time.Now()); !errors.Is(err, optout.ErrToken) {
		t.Errorf("an unsubscribe link confirms: %+v, %v", c, err)
	}
	// Nor with the version's octet of the other.
	swap := func(token string, version byte) string {
		raw, _ := base64.RawURLEncoding.DecodeString(token)
		raw[0] = version
		return base64.RawURLEncoding.EncodeToString(raw)
	}
	if _, err := k.Open(swap(confirm, 1)); err == nil {
		t.Error("a confirmation with another version unsubscribes")
	}
	if _, err := k.OpenConfirm(swap(leave, 2), time.Now()); err == nil {
		t.Error("an unsubscribe link with another version confirms")
	}
}

func TestChangedConfirmationConfirmsNothing(t *testing.T) {
	k, _ := openKeyring(t)
	raw, _ := base64.RawURLEncoding.DecodeString(k.SealConfirm(wanted))
	for i := range raw {
		for bit := range 8 {
			b := slices.Clone(raw)
			b[i] ^= 1 << bit
			if c, err := k.OpenConfirm(base64.RawURLEncoding.EncodeToString(b), wanted.At); err == nil || c.User != "" {
				t.Fatalf("octet %d, bit %d: %+v", i, bit, c)
			}
		}
	}
	for _, c := range []optout.Confirmation{{User: "a@b", At: wanted.At}, {Lists: []string{"x"}, At: wanted.At}, {Lists: []string{""}, User: "a@b", At: wanted.At}} {
		if got, err := k.OpenConfirm(k.SealConfirm(c), wanted.At); !errors.Is(err, optout.ErrToken) {
			t.Errorf("%+v opened as %+v, %v", c, got, err)
		}
	}
}

// The token in a mail that Postern 1 has sent. It must open for ever.
const sentLongAgo = "AQHD1YwxjQBIfcOnoY_8fZ6Z9ONQXXtUomSE_iJU98wNKLdsq8vxUpuqXVOjkSVTZXDbD_J54k_rij4rAoXpeWs0z6fGXX18-BFgHxA0sApBS1k"

func TestTokenThatWasSentLongAgoStillOpens(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keyring.json")
	ring := `{"version":1,"keys":[{"id":1,"created":"2026-01-01T00:00:00Z","key":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="}]}`
	if err := os.WriteFile(path, []byte(ring), 0o600); err != nil {
		t.Fatal(err)
	}
	k, err := optout.OpenKeyring(path)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if c, err := k.Open(sentLongAgo); err != nil || c != claim {
			t.Errorf("%+v, %v", c, err)
		}
		if err := k.Rotate(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestClaimWithoutAMessage(t *testing.T) {
	k, _ := openKeyring(t)
	c := optout.Claim{List: "promo", User: "a@example.com"}
	if got, err := k.Open(k.Seal(0, c)); err != nil || got != c {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestLinksAsTheyArrive is the table of what mail programs, scanners and people make
// of a link: what can be forgiven without guessing is, all else gets a page that says
// what to do and changes nobody.
func TestLinksAsTheyArrive(t *testing.T) {
	ring := newPage(t).Keyring
	leave, confirm := ring.Seal(0, claim), ring.SealConfirm(optout.Confirmation{Lists: []string{"promo"}, User: "a@example.com", At: time.Now()})
	other, _ := openKeyring(t)
	percent := ""
	for i := range leave {
		percent += "%" + strings.ToUpper(string("0123456789abcdef"[leave[i]>>4])+string("0123456789abcdef"[leave[i]&15]))
	}
	old, _ := openKeyring(t)
	for range 3 {
		if err := old.Rotate(); err != nil {
			t.Fatal(err)
		}
	}
	forgiven, refused := 200, 400
	for name, c := range map[string]struct {
		path string
		want int
	}{
		"as it was sent":        {"/u/" + leave, forgiven},
		"preferences":           {"/p/" + leave, forgiven},
		"confirmation":          {"/c/" + confirm, forgiven},
		"below the prefix":      {"/mail/u/" + leave, forgiven},
		"percent-encoded":       {"/u/" + percent, forgiven},
		"full stop":             {"/u/" + leave + ".", forgiven},
		"comma":                 {"/u/" + leave + ",", forgiven},
		"bracket":               {"/u/" + leave + ")", forgiven},
		"angle":                 {"/u/" + leave + ">", forgiven},
		"angle, encoded":        {"/u/" + leave + "%3E", forgiven},
		"several":               {"/u/" + leave + ">).", forgiven},
		"Korean full stop":      {"/u/" + leave + url.PathEscape("。」"), forgiven},
		"blank":                 {"/u/" + leave + "%20", forgiven},
		"line end":              {"/u/" + leave + "%0D%0A", forgiven},
		"no-break space":        {"/u/" + leave + "%C2%A0", forgiven},
		"question mark":         {"/u/" + leave + "?", forgiven},
		"tracking":              {"/u/" + leave + "?utm_source=x&gclid=1", forgiven},
		"confirmation, point":   {"/c/" + confirm + ".", forgiven},
		"truncated":             {"/u/" + leave[:len(leave)-1], refused},
		"cut in half":           {"/u/" + leave[:len(leave)/2], refused},
		"upper-cased":           {"/u/" + strings.ToUpper(leave), refused},
		"lower-cased":           {"/u/" + strings.ToLower(leave), refused},
		"other ring":            {"/u/" + other.Seal(0, claim), refused},
		"unknown key id":        {"/u/" + old.Seal(0, claim), refused},
		"padded":                {"/u/" + leave + "=", refused},
		"twice encoded":         {"/u/" + leave + "%252E", refused},
		"more words":            {"/u/" + leave + ".Thanks", refused},
		"a path behind":         {"/u/" + leave + "/x", refused},
		"much behind":           {"/u/" + leave + ".........", refused},
		"too long":              {"/u/" + strings.Repeat("A", 5000), refused},
		"endless":               {"/u/" + strings.Repeat("A", 1<<20), refused},
		"two links":             {"/u/" + leave + "," + leave, refused},
		"broken UTF-8":          {"/u/" + leave + "%FF", refused},
		"empty":                 {"/u/", refused},
		"the placeholder":       {"/u/TOKEN", refused},
		"leave at confirm":      {"/c/" + leave, refused},
		"confirm at leave":      {"/u/" + confirm, refused},
		"confirm at preference": {"/p/" + confirm, refused},
		"route in capitals":     {"/U/" + leave, 404},
		"no route":              {"/" + leave, 404},
		"other route":           {"/x/" + leave, 404},
		"prefix of another":     {"/mailu/" + leave, 404},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPage(t)
			p.Keyring = ring
			for _, lang := range []string{"ko", "en"} {
				for _, method := range []string{"GET", "HEAD", "POST"} {
					w := p.do(method, c.path, "", "", "Accept-Language", lang)
					if w.Code != c.want {
						t.Errorf("%s: %d, want %d", method, w.Code, c.want)
					}
					help := map[string]string{"ko": "링크", "en": "open the"}[lang]
					if c.want != forgiven && method != "HEAD" && !strings.Contains(w.Body.String(), help) {
						t.Errorf("%s: the page does not say what to do: %s", method, w.Body)
					}
				}
			}
			if n := len(p.all) + len(p.chosen) + len(p.confirmed); n > 0 != (c.want == forgiven) {
				t.Errorf("%d changes", n)
			}
		})
	}
}

func TestReplayedLinkSucceedsAgainAndChangesNothingNew(t *testing.T) {
	p := newPage(t)
	leave := "/u/" + p.Keyring.Seal(0, claim)
	for range 3 {
		if w := p.do("POST", leave, form, "List-Unsubscribe=One-Click"); w.Code != 200 {
			t.Error(w.Code)
		}
	}
	// A confirmation that is older than the last leaving does not bring anybody back.
	confirm := "/c/" + p.Keyring.SealConfirm(optout.Confirmation{Lists: []string{"promo"}, User: claim.User, At: time.Now().Add(-time.Hour)})
	for _, method := range []string{"GET", "POST"} {
		w := p.do(method, confirm, "", "")
		if w.Code != 410 || !strings.Contains(w.Body.String(), "no longer counts") || !strings.Contains(w.Body.String(), `href="../p/`) {
			t.Errorf("%s: %d %s", method, w.Code, w.Body)
		}
	}
	if len(p.confirmed) != 0 {
		t.Errorf("confirmed: %q", p.confirmed)
	}
	if got := p.do("GET", "/p/"+p.Keyring.Seal(0, claim), "", "").Body.String(); !strings.Contains(got, "do not receive this") {
		t.Error(got)
	}
}

// FuzzPath asks for whatever: only the links that were made change anything.
func FuzzPath(f *testing.F) {
	p := newPage(f)
	leave, confirm := p.Keyring.Seal(0, claim), p.Keyring.SealConfirm(optout.Confirmation{Lists: []string{"promo"}, User: "a@example.com", At: time.Now()})
	for _, s := range []string{"/u/" + leave, "/p/" + leave + ".", "/c/" + confirm, "/mail/c/" + confirm + ">", "/c/" + leave, "/u/" + confirm, "/u/\xff", "//u/", "/u/" + leave + "\u3002", "/mail", "/p/" + leave + "_"} {
		f.Add(s)
	}
	p = newPage(f) // with another key ring: no link is ours
	f.Fuzz(func(t *testing.T, path string) {
		for _, method := range []string{"GET", "HEAD", "POST"} {
			r := httptest.NewRequest(method, "/", nil)
			r.URL.Path = path
			w := httptest.NewRecorder()
			p.ServeHTTP(w, r)
			if w.Code != 400 && w.Code != 404 && w.Code != 429 {
				t.Fatalf("%s %q: %d", method, path, w.Code)
			}
		}
		if len(p.all)+len(p.chosen)+len(p.confirmed) != 0 {
			t.Fatalf("%q changed something", path)
		}
	})
}

// FuzzConfirmation opens whatever: it is refused, or it is what was made.
func FuzzConfirmation(f *testing.F) {
	k, _ := openKeyring(f)
	good := k.SealConfirm(wanted)
	for _, s := range []string{"", good, good[1:], good[:len(good)-1], k.Seal(0, claim), "AgE"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if c, err := k.OpenConfirm(s, wanted.At); err == nil && s != good {
			t.Fatalf("%q opened as %+v", s, c)
		}
		in := optout.Confirmation{Lists: []string{"l" + s, s + "x"}, User: mail.Address("u" + s), At: wanted.At}
		if len(s) > 200 {
			return
		}
		out, err := k.OpenConfirm(k.SealConfirm(in), wanted.At)
		if err != nil || out.User != in.User || !slices.Equal(out.Lists, in.Lists) {
			t.Fatalf("%+v came back as %+v, %v", in, out, err)
		}
	})
}
