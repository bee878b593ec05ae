package directory_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"

	"postern/directory"
	"postern/mail"
)

func verify(t testing.TB, x *directory.Index, want uint64) {
	t.Helper()
	if n, err := x.VerifyLedger(t.Context(), nil); err != nil || n != want {
		t.Errorf("%d entries are good, %v; want %d", n, err, want)
	}
}

// wantBad verifies until the first bad entry.
func wantBad(t *testing.T, x *directory.Index, want uint64) {
	t.Helper()
	var bad *directory.LedgerError
	if n, err := x.VerifyLedger(t.Context(), nil); !errors.As(err, &bad) || bad.Number != want || n > want || !strings.Contains(err.Error(), fmt.Sprint("entry ", want)) {
		t.Errorf("%d entries are good, %v; want entry %d to be bad", n, err, want)
	}
}

func n8(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// ledgerOf makes a file with n entries and closes it.
func ledgerOf(t *testing.T, n int) string {
	path := filepath.Join(t.TempDir(), "optout.db")
	x := openIndex(t, path)
	for i := range n {
		ev := click()
		ev.Wording = fmt.Sprint("Do you want to leave? ", i%2)
		if err := x.OptOut(t.Context(), person(i), "promo", ev); err != nil {
			t.Fatal(err)
		}
	}
	verify(t, x, uint64(n))
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestALedgerThatWasChangedNamesTheFirstBadEntry(t *testing.T) {
	move := func(b *bolt.Bucket, from, to uint64) error {
		v := bytes.Clone(b.Get(n8(from)))
		return errors.Join(b.Delete(n8(from)), b.Put(n8(to), v))
	}
	swap := func(b *bolt.Bucket, i, j uint64) error {
		return errors.Join(move(b, i, 99), move(b, j, i), move(b, 99, j))
	}
	for _, c := range []struct {
		name string
		want uint64
		edit func(tx *bolt.Tx, ledger *bolt.Bucket) error
	}{
		{"edited", 7, func(_ *bolt.Tx, b *bolt.Bucket) error {
			return b.Put(n8(7), bytes.Replace(b.Get(n8(7)), []byte("one-click"), []byte("page"), 1))
		}},
		{"an opt-out is taken from the index", 7, func(tx *bolt.Tx, _ *bolt.Bucket) error {
			return tx.Bucket([]byte("left")).Delete([]byte(person(6).Key()))
		}},
		{"the first is edited", 1, func(_ *bolt.Tx, b *bolt.Bucket) error { return b.Put(n8(1), []byte("\x01{}")) }},
		{"removed", 7, func(_ *bolt.Tx, b *bolt.Bucket) error { return b.Delete(n8(7)) }},
		{"removed, and the others moved up", 7, func(_ *bolt.Tx, b *bolt.Bucket) error {
			return errors.Join(b.Delete(n8(7)), move(b, 8, 7), move(b, 9, 8), move(b, 10, 9))
		}},
		{"reordered", 3, func(_ *bolt.Tx, b *bolt.Bucket) error { return swap(b, 3, 8) }},
		{"inserted, and the others moved down", 9, func(_ *bolt.Tx, b *bolt.Bucket) error {
			return errors.Join(move(b, 10, 11), move(b, 9, 10), b.Put(n8(9), bytes.Clone(b.Get(n8(8)))))
		}},
		{"inserted between two", 5, func(_ *bolt.Tx, b *bolt.Bucket) error { return b.Put(append(n8(4), 0), b.Get(n8(4))) }},
		{"inserted before the first", 1, func(_ *bolt.Tx, b *bolt.Bucket) error { return b.Put(n8(0), b.Get(n8(4))) }},
		{"added at the end", 11, func(_ *bolt.Tx, b *bolt.Bucket) error { return b.Put(n8(11), b.Get(n8(4))) }},
		{"cut off", 9, func(_ *bolt.Tx, b *bolt.Bucket) error { return errors.Join(b.Delete(n8(9)), b.Delete(n8(10))) }},
		{"cut off with its hashes", 10, func(tx *bolt.Tx, b *bolt.Bucket) error {
			return errors.Join(b.Delete(n8(10)), tx.Bucket([]byte("hashes")).Delete(n8(10)))
		}},
		{"a hash is gone", 6, func(tx *bolt.Tx, _ *bolt.Bucket) error { return tx.Bucket([]byte("hashes")).Delete(n8(6)) }},
		{"the head is another", 10, func(tx *bolt.Tx, _ *bolt.Bucket) error {
			return tx.Bucket([]byte("meta")).Put([]byte("ledger_head"), append(n8(10), make([]byte, 32)...))
		}},
		{"not in its history", 4, func(tx *bolt.Tx, _ *bolt.Bucket) error {
			return tx.Bucket([]byte("history")).Delete(append(append([]byte(person(3)), 0), n8(4)...))
		}},
		{"another wording", 2, func(tx *bolt.Tx, _ *bolt.Bucket) error {
			b := tx.Bucket([]byte("wordings"))
			sum := sha256.Sum256([]byte("Do you want to leave? 1"))
			return b.ForEach(func(k, v []byte) error {
				if sha256.Sum256(v) == sum {
					return b.Put(bytes.Clone(k), []byte("Do you want a gift?"))
				}
				return nil
			})
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := ledgerOf(t, 10)
			editFile(t, path, func(tx *bolt.Tx) error { return c.edit(tx, tx.Bucket([]byte("ledger"))) })
			wantBad(t, openIndex(t, path), c.want)
		})
	}
}

func TestALedgerIsVerifiedWhileOthersWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "index.db")
	oldIndex(t, path, 12_000)
	x := openIndex(t, path)
	var told []uint64
	n, err := x.VerifyLedger(t.Context(), func(done, of uint64) {
		told = append(told, done)
		if len(told) < 3 {
			leave(t, x, person(20_000+len(told)), "promo")
		}
	})
	if err != nil || n != 12_002 || len(told) < 3 {
		t.Errorf("%d, %v, progress %v", n, err, told)
	}
}

func TestTheLedgersHeadIsTheHashOfAllEntries(t *testing.T) {
	x := newIndex(t)
	if n, hash, err := x.Head(); n != 0 || hash != strings.Repeat("0", 64) || err != nil {
		t.Errorf("empty: %d, %s, %v", n, hash, err)
	}
	for i := range 3 {
		ev := click()
		ev.Wording, ev.Note = "<정말> 그만 받으시겠습니까?", "a & b\u2028"
		if err := x.OptOut(t.Context(), person(i), "promo", ev); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	if err := x.ExportLedger(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	// As anybody can without this program.
	sum, lines := make([]byte, 32), bufio.NewScanner(&out)
	n := uint64(0)
	for ; lines.Scan(); n++ {
		var l struct {
			Number        uint64
			Hash, Wording string
			Entry         json.RawMessage
		}
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			t.Fatal(err)
		}
		all := append(append(append(sum, n8(n+1)...), 1), l.Entry...)
		next := sha256.Sum256(all)
		sum = next[:]
		if l.Number != n+1 || l.Hash != hex.EncodeToString(sum) || l.Wording != "<정말> 그만 받으시겠습니까?" {
			t.Errorf("line %d: %s", n+1, lines.Text())
		}
	}
	if number, hash, err := x.Head(); err != nil || n != 3 || number != n || hash != hex.EncodeToString(sum) {
		t.Errorf("%d lines; head %d %s, %v", n, number, hash, err)
	}
}

func TestAWordingIsKeptOnceAndBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "optout.db")
	x := openIndex(t, path)
	long := strings.Repeat("가", 1000)
	for i := range 5 {
		ev := click()
		ev.Wording = long
		if err := x.OptOut(t.Context(), person(i), "promo", ev); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := x.Ledger(0, 10)
	if err != nil || len(entries) != 5 || entries[4].Wording != long[:1998] {
		t.Fatalf("%d entries, wording of %d octets, %v", len(entries), len(entries[4].Wording), err)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	editFile(t, path, func(tx *bolt.Tx) error {
		if n := tx.Bucket([]byte("wordings")).Stats().KeyN; n != 1 {
			t.Errorf("%d wordings", n)
		}
		return nil
	})
}

// What format 1 wrote is chained as it is, also when a crash or an older postern
// comes in between.
func TestAnOlderLedgerIsChainedAsItIs(t *testing.T) {
	const n = 45_000
	path := filepath.Join(t.TempDir(), "index.db")
	oldIndex(t, path, n)
	x := openIndex(t, path)
	verify(t, x, n)
	_, want, _ := x.Head()
	if h, err := x.History("USER0000017@example.com"); err != nil || len(h) != 1 || h[0].Number != 18 {
		t.Errorf("history %+v, %v", h, err)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	// Killed after 20,000: the format is the old one, and the rest is not there yet.
	editFile(t, path, func(tx *bolt.Tx) error {
		meta, hashes := tx.Bucket([]byte("meta")), tx.Bucket([]byte("hashes"))
		for i := uint64(20_001); i <= n; i++ {
			if err := hashes.Delete(n8(i)); err != nil {
				return err
			}
		}
		return errors.Join(meta.Put([]byte("format"), []byte("1")), meta.Put([]byte("ledger_head"), append(n8(20_000), hashes.Get(n8(20_000))...)))
	})
	x = openIndex(t, path)
	verify(t, x, n)
	if number, hash, err := x.Head(); number != n || hash != want || err != nil {
		t.Errorf("head %d %s, %v; want %s", number, hash, err, want)
	}
	leave(t, x, "kim@example.com", "promo")
	verify(t, x, n+1)
}

func TestADamagedEntryOfAnOlderFileHoldsUpNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "index.db")
	oldIndex(t, path, 10)
	editFile(t, path, func(tx *bolt.Tx) error {
		b := tx.Bucket([]byte("ledger"))
		return errors.Join(b.Put(n8(4), []byte("what?")), b.Put([]byte("odd"), []byte("x")))
	})
	x := openIndex(t, path)
	wantBlocked(t, x, person(3), "promo", "unsubscribed")
	leave(t, x, "kim@example.com", "promo")
	wantBad(t, x, 4)
}

func TestAHistoryIsOfOneAddressInAnySpelling(t *testing.T) {
	x := newIndex(t)
	leave(t, x, "Kim@Example.com", "promo")
	leave(t, x, "kim@example.comm", "promo")
	leave(t, x, "im@example.com", "promo")
	leave(t, x, "kim@example.com", "news")
	suppress(t, x, bounced("KIM@example.com", day(1)))
	leave(t, x, "kim@한국.example", "promo")
	var got []string
	h, err := x.History(`"kim"@EXAMPLE.com`)
	for _, e := range h {
		got = append(got, fmt.Sprint(e.Number, " ", e.Kind, " ", e.List))
	}
	if want := []string{"1 opt-out promo", "4 opt-out news", "5 suppress "}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, %v", got, err)
	}
	if h, err := x.History("kim@xn--3e0b707e.example"); err != nil || len(h) != 1 {
		t.Errorf("%+v, %v", h, err)
	}
	for _, none := range []mail.Address{"lee@example.com", "k", "", "zz@example.com"} {
		if h, err := x.History(none); err != nil || len(h) != 0 {
			t.Errorf("%q: %+v, %v", none, h, err)
		}
	}
}
