package optout_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"postern/mail"
	"postern/optout"
)

func openKeyring(t testing.TB) (*optout.Keyring, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keyring.json")
	k, err := optout.OpenKeyring(path)
	if err != nil {
		t.Fatal(err)
	}
	return k, path
}

func TestKeyringIsMadeForItsOwnerOnlyAndKept(t *testing.T) {
	k, path := openKeyring(t)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, err %v; want 0600", info.Mode(), err)
	}
	again, err := optout.OpenKeyring(path)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := again.Open(k.Seal(0, claim)); err != nil || c != claim {
		t.Errorf("after a restart: %v, %v", c, err)
	}
	left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "*"))
	hidden, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".keyring*"))
	if len(left) != 1 || len(hidden) != 0 {
		t.Errorf("files left behind: %v %v", left, hidden)
	}
}

func TestKeyringMadeByManyAtOnceIsOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keyring.json")
	rings := make([]*optout.Keyring, 16)
	var wg sync.WaitGroup
	for i := range rings {
		wg.Go(func() {
			k, err := optout.OpenKeyring(path)
			if err != nil {
				t.Error(err)
			}
			rings[i] = k
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	for i, k := range rings {
		if _, err := k.Open(rings[0].Seal(0, claim)); err != nil {
			t.Errorf("ring %d does not open the token of ring 0", i)
		}
	}
}

func TestRotatedKeyringOpensOldTokensAndSealsWithTheNewKey(t *testing.T) {
	k, path := openKeyring(t)
	old, oldKey := k.Seal(0, claim), k.Newest()
	for range 3 {
		if err := k.Rotate(); err != nil {
			t.Fatal(err)
		}
	}
	if k.Newest() != oldKey+3 {
		t.Errorf("newest is %d, want %d", k.Newest(), oldKey+3)
	}
	if k.Seal(0, claim) == old {
		t.Error("the new key gives the old token")
	}
	if k.Seal(oldKey, claim) != old {
		t.Error("a message's pinned key no longer gives the same token")
	}
	again, err := optout.OpenKeyring(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, ring := range []*optout.Keyring{k, again} {
		for _, token := range []string{old, k.Seal(0, claim)} {
			if c, err := ring.Open(token); err != nil || c != claim {
				t.Errorf("%v, %v", c, err)
			}
		}
	}
}

func TestDamagedKeyringIsRefusedInASentence(t *testing.T) {
	good := `"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="`
	for name, c := range map[string]struct{ text, want string }{
		"empty":         {``, "backup"},
		"garbage":       {`hello`, "backup"},
		"newer":         {`{"version":2,"keys":[]}`, "version 2"},
		"no keys":       {`{"version":1,"keys":[]}`, "without keys"},
		"short key":     {`{"version":1,"keys":[{"id":1,"key":"AAAA"}]}`, "key 1"},
		"zero id":       {`{"version":1,"keys":[{"id":0,"key":` + good + `}]}`, "key 0"},
		"twice":         {`{"version":1,"keys":[{"id":1,"key":` + good + `},{"id":1,"key":` + good + `}]}`, "key 1"},
		"unknown field": {`{"version":1,"keys":[{"id":1,"key":` + good + `,"retired":true}]}`, "retired"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "keyring.json")
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := optout.OpenKeyring(path)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("err = %v, want something about %q", err, c.want)
			}
			if b, _ := os.ReadFile(path); string(b) != c.text {
				t.Error("the damaged file was written over")
			}
		})
	}
	t.Run("readable by others", func(t *testing.T) {
		_, path := openKeyring(t)
		if err := os.Chmod(path, 0o640); err != nil {
			t.Fatal(err)
		}
		if _, err := optout.OpenKeyring(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
			t.Errorf("err = %v", err)
		}
	})
	t.Run("folder missing", func(t *testing.T) {
		if _, err := optout.OpenKeyring(filepath.Join(t.TempDir(), "none", "keyring.json")); err == nil {
			t.Error("no error")
		}
	})
}

var claim = optout.Claim{List: "promo", User: "Min.Kim@Example.com", Message: mail.ID("01KAP3M6S0G5V2Q9ZT4R8YBCDE")}

// FuzzKeyring opens whatever stands in the file: it is refused, or it seals and
// opens; and it is never written over.
func FuzzKeyring(f *testing.F) {
	_, path := openKeyring(f)
	good, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{string(good), "", "{}", `{"version":1}`, `{"version":1,"keys":null}`, `{"version":2}`, `{"version":1,"keys":[{"id":4294967295,"key":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}]}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if err := os.WriteFile(path, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
		k, err := optout.OpenKeyring(path)
		if b, _ := os.ReadFile(path); string(b) != s {
			t.Fatalf("%q was written over", s)
		}
		if err != nil {
			return
		}
		if c, err := k.Open(k.Seal(0, claim)); err != nil || c != claim {
			t.Fatalf("%q: %+v, %v", s, c, err)
		}
	})
}
