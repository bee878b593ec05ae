package mysqlsync_test

import (
	"encoding/json"
	"math/big"
	"strings"
	"testing"

	"postern/directory/mysqlsync"
)

func FuzzNumber(f *testing.F) {
	for _, s := range []string{"0", "-0", "007", "1.50", ".5", "5.", "+3", "-1.5E3", "1e999", "1e-7", "", " 12 ", "1,000", "0x10", "1e", "e5", "--1", "NaN", "12345678901234567890123456789012345678.9"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := mysqlsync.ReadNumber(s)
		if err != nil {
			if n != "" {
				t.Errorf("%q is an error and %q", s, n)
			}
			return
		}
		if !json.Valid([]byte(n)) {
			t.Fatalf("%q becomes %q, which is no number of JSON", s, n)
		}
		if again, err := mysqlsync.ReadNumber(n); err != nil || again != n {
			t.Errorf("%q becomes %q, and that %q, %v", s, n, again, err)
		}
		if len(s) > 40 || strings.ContainsAny(s, "eE") {
			return
		}
		a, ok := new(big.Rat).SetString(strings.TrimSpace(s))
		b, _ := new(big.Rat).SetString(n)
		if !ok || a.Cmp(b) != 0 {
			t.Errorf("%q becomes %q, another number", s, n)
		}
	})
}
