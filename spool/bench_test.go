package spool_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"postern/mail"
	"postern/spool"
)

// BenchmarkAttempts measures copies whose attempt and result are both durable,
// with so many workers as a lane would have.
func BenchmarkAttempts(b *testing.B) {
	for _, workers := range []int{10, 32, 64} {
		b.Run(fmt.Sprint(workers), func(b *testing.B) {
			s := open(b, b.TempDir())
			defer s.Close()
			m := accept(b, s, mail.Message{State: mail.Expanding, Streaming: true}, "x")
			page := make([]mail.Copy, b.N)
			for i := range page {
				a := fmt.Sprintf("user%07d@example.com", i)
				page[i] = mail.Copy{To: mail.Address(a), UserKey: a, Values: []string{"김민지"}}
			}
			if err := s.AddCopies(b.Context(), m.ID, page, nil); err != nil {
				b.Fatal(err)
			}
			slots := make(chan struct{}, workers)
			for range workers {
				slots <- struct{}{}
			}
			var wg sync.WaitGroup
			b.ResetTimer()
			for left := b.N; left > 0; {
				n := 1
				<-slots
				for more := true; more && n < left; {
					select {
					case <-slots:
						n++
					default:
						more = false
					}
				}
				claims, err := s.Claim(b.Context(), "", n, time.Now())
				if err != nil || len(claims) != n {
					b.Fatal(len(claims), n, err)
				}
				left -= n
				for _, c := range claims {
					wg.Go(func() {
						r := spool.Result{State: mail.Sent, At: time.Now(), Spent: true}
						if err := s.Settle(b.Context(), c, r); err != nil {
							b.Error(err)
						}
						slots <- struct{}{}
					})
				}
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "copies/s")
		})
	}
}
