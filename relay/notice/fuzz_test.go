package notice_test

import (
	"flag"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/mail"
	"postern/relay/notice"
)

// dump keeps what the seeds and the corpus of the fuzz targets make, for readers
// that are not ours: go test ./relay/notice -run Fuzz -dump DIR, and then the same
// with -run Others. The corpus found so far is below `go env GOCACHE`/fuzz; copy it
// to testdata/fuzz for that.
var dump = flag.String("dump", "", "write the notices of the fuzz corpus to this directory")

func sound(t *testing.T, b []byte, kinds string) {
	t.Helper()
	if problem := wire(b); problem != "" {
		t.Fatalf("%s in\n%q", problem, b)
	}
	m, err := reading(b)
	if err != nil {
		t.Fatalf("%v in\n%q", err, b)
	}
	if got := strings.Join(m.kinds, " "); !strings.HasPrefix(got, kinds) {
		t.Fatalf("the parts are %s, want %s", got, kinds)
	}
	if strings.ContainsAny(m.text+m.subject, "\u202e\u2066\x00\x1b\r") {
		t.Fatalf("something that hides or reorders text came through: %q", m.text)
	}
	if *dump != "" {
		h := fnv.New64a()
		_, _ = h.Write(b)
		if err := os.WriteFile(filepath.Join(*dump, fmt.Sprintf("%x.eml", h.Sum64())), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func FuzzReports(f *testing.F) {
	l, a, r := hostile() // shortened: long seeds make fuzzing slow
	f.Add(string(l.ID), l.Hostname, string(l.From), string(l.To), a.Subject[:100], a.Header[6000:], string(r[0].To), r[0].Words, string(r[1].To), r[2].Words[4990:5020], int64(1), 2, true)
	f.Add("01JBV9C3W0000000000000N0TE", "mail.example.com", "postmaster@example.com", "민@예시.한국", "(광고) =?utf-8?Q?x?=", []byte("Message-ID: <a@b>\r\nBcc: x\r\n"),
		"민@예시.한국", "550 5.1.1 no", "min@example.net", "450-4.7.1 grey", int64(-1), 100, false)
	f.Fuzz(func(t *testing.T, id, host, from, to, subject string, header []byte, to1, words1, to2, words2 string, when int64, n int, korean bool) {
		l := notice.Letter{ID: mail.ID(id), Hostname: host, From: mail.Address(from), To: mail.Address(to), Date: time.Unix(when, 0).In(time.FixedZone("", n%86400))}
		if korean {
			l.Language = "ko"
		}
		a := notice.About{ID: mail.ID(id), Subject: subject, AcceptedAt: time.Unix(when, 0), Header: header, List: to}
		all := []notice.Recipient{{To: mail.Address(to1), Words: words1, At: time.Unix(when, 0), Until: time.Unix(when, 0), Attempts: n}, {To: mail.Address(to2), Words: words2, Attempts: n}}
		for range n % 8 {
			all = append(all, notice.Recipient{To: mail.Address(to1 + to2), Words: words1 + words2})
		}
		total := notice.Totals{Recipients: n, Reached: n / 2, Failed: n / 3, Waiting: n / 5}
		kinds := "text/plain message/delivery-status"
		sound(t, notice.Failed(l, a, all, total), kinds)
		sound(t, notice.Delayed(l, a, all, total, n), kinds)
		a.From, l.Cc = mail.Address(to), []mail.Address{mail.Address(to1), mail.Address(to2)}
		kind := []mail.StopKind{mail.StopRefused, mail.StopUnmade, mail.StopBounces}[uint(n)%3]
		sound(t, notice.Paused(l, notice.Pause{About: a, Kind: kind, Words: words1, At: time.Unix(when, 0), Until: time.Unix(when, 0)}, []notice.About{a}), "text/plain")
		sound(t, notice.Slow(l, notice.Forecast{About: a, Waiting: n, Today: n / 2, Until: time.Unix(when, 0)}, []notice.About{a, a}), "text/plain")
		sound(t, notice.Complained(l, subject, []notice.Complaints{{About: a, Sent: n, Total: n, New: n, All: []notice.Complaint{{To: mail.Address(to1), Words: words2, At: time.Unix(when, 0)}}}}), "text/plain")
		sound(t, notice.Operator(l, notice.Event{Kind: notice.Kind(n), Class: mail.Class(n), Lane: subject, Words: words1, Remedy: words2, ByHand: korean, Since: time.Unix(when, 0), Waiting: n}), "text/plain")
	})
}

func FuzzPostmaster(f *testing.F) {
	f.Add("01JBV9C3W0000000000000N0TE", "lee@example.org", "192.0.2.1:25", []byte("Subject: x\r\n\r\n--=_01JBV9C3W0000000000000N0TE_0--\r\n"), true)
	f.Add("x", "", "\r\n", []byte("Subject: =?euc-kr?B?vsiz58fPvLy/5A==?=\n\xff\n"), false)
	f.Fuzz(func(t *testing.T, id, from, remote string, raw []byte, korean bool) {
		l := letter("en")
		if l.ID = mail.ID(id); korean {
			l.Language = "ko"
		}
		sound(t, notice.Postmaster(l, mail.Address(from), remote, raw), "text/plain ")
	})
}
