package directory_test

import (
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"postern/directory"
)

// fixture unpacks an index that an earlier version wrote; it is never written anew.
func fixture(t *testing.T, name string) (path string) {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	old, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "optout.db")
	if err := os.WriteFile(path, old, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestAnIndexOfFormat1IsChained opens testdata/index1.db.gz, which the version before
// kinds and evidence wrote, with a "rejoin" in its ledger.
func TestAnIndexOfFormat1IsChained(t *testing.T) {
	path := fixture(t, "index1.db.gz")
	x := openIndex(t, path)
	verify(t, x, 6)
	n, hash, err := x.Head()
	if err != nil || n != 6 || hash != "2f40e1417154332a848ed2dd37b456360e767be75f8038557d3c99464f7bd403" {
		t.Errorf("head %d %s, %v", n, hash, err)
	}
	if h, err := x.History("gone@EXAMPLE.com"); err != nil || len(h) != 1 || h[0].Number != 3 {
		t.Errorf("%+v, %v", h, err)
	}
	leave(t, x, kim, "vip")
	verify(t, x, 7)
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	verify(t, openIndex(t, path), 7)
}

// TestAnIndexOfFormat2IsReadOn opens testdata/index2.db.gz: Kim has left all lists,
// complained, moved, and come back to one by a confirmation mail; Lee is owed an
// answer and was restored; the directory was told nothing.
func TestAnIndexOfFormat2IsReadOn(t *testing.T) {
	x := openIndex(t, fixture(t, "index2.db.gz"))
	verify(t, x, 12)
	if _, hash, err := x.Head(); err != nil || hash != "56d031b65b3855ec773faf130dc0eae046acbb52401d86cef4fb641d21cf8e74" {
		t.Errorf("head %s, %v", hash, err)
	}
	wantHistory(t, x, "kim@new.example", "opt-out promo", "suppress ", "opt-out *", "suppress ", "moved ", "moved ", "asked promo", "unsuppress ", "consent promo", "reminded promo")
	wantBlocked(t, x, "kim@new.example", "promo", "")
	wantBlocked(t, x, "KIM@new.example", "news", "unsubscribed")
	wantBlocked(t, x, kim, "", "suppressed")
	if e, found, err := x.LastConsent("kim@new.example", "promo"); err != nil || !found || e.Wording != "Promotions 소식을 다시 받겠습니다." {
		t.Errorf("%+v, %v, %v", e, found, err)
	}
	owed, err := x.Unanswered(10)
	if want := []directory.Answer{{Number: 11, User: "lee@example.com", List: "news", Kind: "opt-out", At: day(5), How: "page"}}; err != nil || !reflect.DeepEqual(owed, want) {
		t.Errorf("%+v, %v", owed, err)
	}
	store := users(t, kim, "kim@new.example", "lee@example.com")
	tellAll(t, x, store)
	wantUser(t, store, "kim@new.example", true, "news", "vip")
	wantUser(t, store, kim, false, "*", "promo")
	wantUser(t, store, "lee@example.com", true)
	leave(t, x, kim, "promo") // by an old mail: it is the new address's word too
	wantBlocked(t, x, "kim@new.example", "promo", "unsubscribed")
}
