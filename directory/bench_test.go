package directory_test

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"postern/directory"
	"postern/mail"
)

// oldIndex makes a file of format 1 in which n people have left the list promo.
func oldIndex(t testing.TB, path string, n int) {
	t.Helper()
	db, err := bolt.Open(path, 0o600, &bolt.Options{NoSync: true, FreelistType: bolt.FreelistMapType})
	if err != nil {
		t.Fatal(err)
	}
	row := func(format string, a ...any) []byte { return append([]byte{1}, fmt.Sprintf(format, a...)...) }
	for done := 0; done < n; {
		err := db.Update(func(tx *bolt.Tx) error {
			var buckets []*bolt.Bucket
			for _, name := range []string{"meta", "left", "ledger"} {
				b, err := tx.CreateBucketIfNotExists([]byte(name))
				if err != nil {
					return err
				}
				buckets = append(buckets, b)
			}
			if err := buckets[0].Put([]byte("format"), []byte("1")); err != nil {
				return err
			}
			for end := min(done+50_000, n); done < end; done++ {
				who, at := person(done), at().Add(time.Duration(done)*time.Second).Format(time.RFC3339Nano)
				if err := buckets[1].Put([]byte(who), row(`{"promo":%q}`, at)); err != nil {
					return err
				}
				line := row(`{"at":%q,"kind":"opt-out","address":%q,"list":"promo","how":"one-click","remote":"192.0.2.1","message":"01KANQ0Y8G0000000000000000"}`, at, who)
				if err := buckets[2].Put(binary.BigEndian.AppendUint64(nil, uint64(done+1)), line); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func person(i int) mail.Address { return mail.Address(fmt.Sprintf("user%07d@example.com", i)) }

// people is how many the benchmarks begin with; POSTERN_BENCH_PEOPLE says another number.
func people(b *testing.B) int {
	if n, err := strconv.Atoi(os.Getenv("POSTERN_BENCH_PEOPLE")); err == nil {
		return n
	}
	return 1_000_000
}

// BenchmarkOneClick compares opt-outs, each on the disk before its caller goes on, with
// bare synced appends of 200 octets to a file, one after the other, in the same run.
func BenchmarkOneClick(b *testing.B) {
	path := filepath.Join(b.TempDir(), "index.db")
	oldIndex(b, path, people(b))
	x := openIndex(b, path)
	var next atomic.Int64
	next.Store(10_000_000)
	for _, callers := range []int{1, 16, 64} {
		b.Run(fmt.Sprint(callers, " callers"), func(b *testing.B) {
			alone := appendsPerSecond(b)
			start := time.Now()
			b.ResetTimer()
			var left atomic.Int64
			left.Store(int64(b.N))
			var wg sync.WaitGroup
			for range callers {
				wg.Go(func() {
					for left.Add(-1) >= 0 {
						n := next.Add(1)
						leave(b, x, person(int(n*7919%10_000_019)), fmt.Sprint("list", n)) // anywhere in the file
					}
				})
			}
			wg.Wait()
			perSecond := float64(b.N) / time.Since(start).Seconds()
			b.ReportMetric(perSecond, "clicks/s")
			b.ReportMetric(alone, "appends/s")
			b.ReportMetric(perSecond/alone, "ratio")
		})
	}
}

func appendsPerSecond(b *testing.B) float64 {
	f, err := os.Create(filepath.Join(b.TempDir(), "appends"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	line := make([]byte, 200)
	start := time.Now()
	n := 0
	for ; time.Since(start) < time.Second; n++ {
		if _, err := f.Write(line); err != nil {
			b.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
	}
	return float64(n) / time.Since(start).Seconds()
}

// BenchmarkMillion is what an index of a million opt-outs costs: the asking before each
// copy, the one-time migration, an opening, and the check of the ledger.
func BenchmarkMillion(b *testing.B) {
	n := people(b)
	path := filepath.Join(b.TempDir(), "index.db")
	oldIndex(b, path, n)
	var x *directory.Index
	timed := func(name string, f func()) {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				f()
			}
		})
	}
	start := time.Now()
	x = openIndex(b, path)
	b.Logf("migrating %d entries: %v", n, time.Since(start))
	timed("open", func() {
		_ = x.Close()
		x = openIndex(b, path)
	})
	i := 0
	timed("blocked, left", func() { i++; x.Blocked(person(i*7919%n), "promo") })
	timed("blocked, another list", func() { i++; x.Blocked(person(i*7919%n), "news") })
	timed("blocked, not there", func() { i++; x.Blocked(person(n+i*7919%n), "promo") })
	timed("verify", func() {
		if got, err := x.VerifyLedger(b.Context(), nil); err != nil || got != uint64(n) {
			b.Fatal(got, err)
		}
	})
}
