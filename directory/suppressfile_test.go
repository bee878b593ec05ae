package directory_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"postern/directory"
	"postern/mail"
)

func importSuppressions(t testing.TB, x *directory.Index, file string) directory.SuppressionResult {
	t.Helper()
	res, err := x.ImportSuppressions(context.Background(), strings.NewReader(file), "boss", day(100), nil)
	if err != nil {
		t.Fatalf("import: %v", err)
	}
	return res
}

func exportSuppressions(t testing.TB, x *directory.Index) string {
	t.Helper()
	var b strings.Builder
	if err := x.ExportSuppressions(context.Background(), &b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestAnImportOfSuppressionsReadsColumnsByName(t *testing.T) {
	want := directory.Suppression{Address: "Gone@example.com", Kind: directory.KindBounce, Reason: "550 no such user", At: at(), Evidence: directory.Evidence{How: "import by boss"}}
	for name, file := range map[string]string{
		"as documented":    lines("Address,Reason,Kind,At", "Gone@example.com,550 no such user,bounce,2026-11-22T09:30:00Z"),
		"any order, case":  lines("AT, kind ,EMAIL,reason,Note", "2026-11-22 09:30:00,Bounce, Gone@example.com ,550 no such user,x"),
		"BOM, CRLF, zone":  "\ufeffEmailAddress,Reason,Kind,LastUpdateTime\r\nGone@example.com,550 no such user,BOUNCE,2026-11-22T18:30:00+09:00\r\n",
		"quotes, number":   `"Address","Reason","Kind","At"` + "\n" + `"Gone@example.com","550 no such user","bounce","1795339800"`,
		"leading newlines": "\n\nAddress,Reason,Kind,At\nGone@example.com,550 no such user,bounce,2026-11-22 09:30\n",
	} {
		t.Run(name, func(t *testing.T) {
			x := newIndex(t)
			for i, want := range []directory.SuppressionProgress{{Rows: 1, Added: 1}, {Rows: 1, Already: 1}} {
				if res := importSuppressions(t, x, file); res.SuppressionProgress != want || len(res.Errors) != 0 {
					t.Errorf("time %d: %+v", i+1, res)
				}
			}
			wantSuppression(t, x, want)
		})
	}
}

func TestAnImportFillsInWhatAFileDoesNotSay(t *testing.T) {
	x := newIndex(t)
	importSuppressions(t, x, lines("email", "kim@example.com"))
	wantSuppression(t, x, directory.Suppression{Address: "kim@example.com", Kind: directory.KindImport, Reason: "imported", At: day(100), Evidence: directory.Evidence{How: "import by boss"}})
	wantPending(t, x, 0) // a million rows are not a million calls of the directory
}

// amazon is what `aws sesv2 list-suppressed-destinations` prints.
const amazon = `{
    "SuppressedDestinationSummaries": [
        {"EmailAddress": "gone@example.com", "Reason": "BOUNCE", "LastUpdateTime": "2026-11-22T18:30:00+09:00"},
        {"EmailAddress": "angry@example.com", "Reason": "COMPLAINT", "LastUpdateTime": 1795339800.25}
    ]
}`

func TestAnImportTakesAmazonsList(t *testing.T) {
	csv := lines("EmailAddress,Reason,LastUpdateTime", "gone@example.com,BOUNCE,2026-11-22T09:30:00Z", "angry@example.com,COMPLAINT,2026-11-22T09:30:00.25Z")
	_, array, _ := strings.Cut(strings.TrimSuffix(amazon, "}"), ":")
	for name, file := range map[string]string{"CSV": csv, "JSON": amazon, "JSON with a BOM": "\ufeff" + amazon, "the array alone": array,
		"a last page": strings.TrimSuffix(amazon, "}") + `, "NextToken": null}`} {
		t.Run(name, func(t *testing.T) {
			x := newIndex(t)
			if res := importSuppressions(t, x, file); res.Added != 2 || res.Bad != 0 {
				t.Errorf("%+v", res)
			}
			imported := directory.Evidence{How: "import by boss"}
			wantSuppression(t, x, directory.Suppression{Address: "gone@example.com", Kind: directory.KindBounce, Reason: "bounced, says an imported list", At: at(), Evidence: imported})
			wantSuppression(t, x, directory.Suppression{Address: "angry@example.com", Kind: directory.KindComplaint, Reason: "called a mail spam, says an imported list", At: at().Add(time.Second / 4), Evidence: imported})
		})
	}
}

func TestBadRowsOfSuppressionsAreNamedAndTheOthersTaken(t *testing.T) {
	x := newIndex(t)
	res := importSuppressions(t, x, lines("Address,Kind,At", "no address,,", "a@example.com,because,", "b@example.com,,someday", "c@example.com,,2999-01-01", "d@example.com,",
		"ok@example.com,,", `e"e@example.com,,`, "f@example.com,,1960-01-01", "\xff@example.com,,"))
	if res.SuppressionProgress != (directory.SuppressionProgress{Rows: 9, Added: 1, Bad: 8}) {
		t.Errorf("%+v", res)
	}
	for i, want := range []string{"row 2: \"no address\" is not a mail address", "row 3: the Kind is \"because\"", "row 4: the time At is \"someday\"", "row 5: the time At is \"2999-01-01\", which is not in the past", "row 6: 2 columns; the header has 3",
		"row 8: a quote", "row 9: the time At is", "row 10: not UTF-8"} {
		if i >= len(res.Errors) || !strings.HasPrefix(res.Errors[i].Error(), want) {
			t.Errorf("want %s of %v", want, res.Errors)
		}
	}
	res = importSuppressions(t, x, `[{"EmailAddress":"x"}, 7, {"EmailAddress":"g@example.com","Reason":"BOUNCE"}]`)
	if res.Added != 1 || res.Bad != 2 || res.Errors[1].Row != 2 {
		t.Errorf("%+v", res)
	}
	res = importSuppressions(t, x, strings.TrimSuffix(amazon, "}")+`, "NextToken": "abc"}`)
	if res.Added != 2 || res.Bad != 1 || !strings.Contains(res.Errors[0].Reason, "the list goes on") {
		t.Errorf("%+v", res)
	}
}

func TestAFileThatIsNoListIsRefusedInWords(t *testing.T) {
	for file, want := range map[string]string{
		"":                                      "the file is empty: it must begin with a header such as Address,Reason,Kind,At",
		"Name\nKim\n":                           "a column Address (or Email)",
		"Address;Reason\n":                      "it must be separated by commas",
		"Email,Address\n":                       "the header has the column Address twice",
		"\xff\xfeA\x00":                         "the file is UTF-16",
		`{"Users": []}`:                         "the file is JSON without SuppressedDestinationSummaries",
		`{"SuppressedDestinationSummaries": 1}`: "is no array",
		`{"SuppressedDestinationSummaries": [`:  "the file ends within its JSON",
		`{"SuppressedDestinationSummaries": [}`: "the file is not JSON",
		`["` + strings.Repeat("x", 2<<20):       "an entry is longer than 1048576 bytes",
		"Address\n\"a@example.com\nb@x.org":     "a quote is opened and not closed",
	} {
		x := newIndex(t)
		_, err := x.ImportSuppressions(t.Context(), strings.NewReader(file), "boss", at(), nil)
		if mail.ClassOf(err) != mail.Permanent || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v; want %q", file, err, want)
		}
	}
}

func TestAnImportRespectsLiftingsAndComplaints(t *testing.T) {
	x := newIndex(t)
	suppress(t, x, bounced("kim@example.com", at()))
	suppress(t, x, bounced("lee@example.com", at()))
	lift(t, x, "kim@example.com", day(5))
	file := lines("Address,Kind,Reason,At", "kim@example.com,manual,before,2026-11-23", "lee@example.com,complaint,abuse,2026-11-20", "lee@example.com,bounce,x,2026-11-20")
	for i, want := range []directory.SuppressionProgress{{Rows: 3, Added: 1, Already: 1, Lifted: 1}, {Rows: 3, Already: 2, Lifted: 1}} {
		if res := importSuppressions(t, x, file); res.SuppressionProgress != want {
			t.Errorf("time %d: %+v", i+1, res)
		}
	}
	wantBlocked(t, x, "kim@example.com", "", "")
	if s, _, _ := x.Suppression("lee@example.com"); s.Kind != directory.KindComplaint {
		t.Errorf("%+v", s)
	}
}

// all reads everything, in pages.
func all(t testing.TB, x *directory.Index) (list []directory.Suppression) {
	t.Helper()
	after := mail.Address("")
	for {
		page, err := x.Suppressions(after, 3)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			return list
		}
		list = append(list, page...)
		after = page[len(page)-1].Address
	}
}

func TestAnExportOfSuppressionsComesBackEqual(t *testing.T) {
	text := rapid.StringOf(rapid.SampledFrom([]rune("aZ0 ,\"'\n\r\té민\x00\u202e=+@-;\ufffd")))
	rapid.Check(t, func(rt *rapid.T) {
		x, y := tempIndex(t, rt), tempIndex(t, rt)
		for n := range rapid.IntRange(0, 8).Draw(rt, "n") {
			addr := mail.Address(fmt.Sprintf("%s%d@Example.com", rapid.SampledFrom([]string{"kim", `"a b"`, "민", "o'x"}).Draw(rt, "local"), n))
			if _, err := mail.ParseAddress(string(addr)); err != nil {
				continue
			}
			draw := func(label string) string { return text.Draw(rt, label) }
			s := directory.Suppression{Address: addr, Kind: rapid.SampledFrom(directory.Kinds()).Draw(rt, "kind"), Reason: "x" + draw("reason"), At: at().Add(time.Duration(rapid.Int64Range(0, 1e15).Draw(rt, "at"))),
				Evidence: directory.Evidence{How: "by " + draw("how"), Remote: draw("remote"), Message: mail.ID(draw("message")), Copy: draw("copy"), UpstreamID: draw("upstream"),
					EventID: draw("event"), Status: draw("status"), Words: strings.Repeat(draw("words"), rapid.IntRange(1, 100).Draw(rt, "times")), UserKey: addr}}
			if _, err := x.Suppress(context.Background(), s); err != nil {
				rt.Fatal(err)
			}
		}
		file := exportSuppressions(t, x)
		res := importSuppressions(t, y, file)
		if got, want := all(t, y), all(t, x); !reflect.DeepEqual(got, want) || res.Bad != 0 {
			rt.Fatalf("%+v\ngot  %+v\nwant %+v", res, got, want)
		}
		if again := exportSuppressions(t, y); again != file {
			rt.Fatalf("got  %s\nwant %s", again, file)
		}
	})
}

func tempIndex(t testing.TB, rt *rapid.T) *directory.Index {
	dir, err := os.MkdirTemp("", "index-")
	if err != nil {
		rt.Fatal(err)
	}
	rt.Cleanup(func() { os.RemoveAll(dir) })
	x, err := directory.OpenIndex(filepath.Join(dir, "optout.db"))
	if err != nil {
		rt.Fatal(err)
	}
	rt.Cleanup(func() { _ = x.Close() })
	return x
}

// manyRows is a CSV file of n rows that is made while it is read.
func manyRows(n int, each func(i int)) io.Reader {
	r, w := io.Pipe()
	go func() {
		_, err := io.WriteString(w, "EmailAddress,Reason,LastUpdateTime\n")
		for i := 0; i < n && err == nil; i++ {
			_, err = fmt.Fprintf(w, "somebody.with.a.name.%07d@example.com,BOUNCE,2026-11-01T00:00:00Z\n", i*7919%n)
			each(i)
		}
		w.CloseWithError(err)
	}()
	return r
}

func TestAnImportOfManyRowsTakesBoundedMemoryAndTellsItsProgress(t *testing.T) {
	const n = 60_000
	x := newIndex(t)
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	before, most, calls := m.HeapAlloc, uint64(0), 0
	start := time.Now()
	res, err := x.ImportSuppressions(t.Context(), manyRows(n, func(int) {}), "boss", at(), func(p directory.SuppressionProgress) {
		if calls++; calls%8 == 0 {
			runtime.GC()
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapAlloc)
		}
	})
	if err != nil || res.Added != n || calls < n/5000 {
		t.Fatalf("%+v, %v, %d calls", res, err, calls)
	}
	t.Logf("%d rows in %v, %d KB of heap more", n, time.Since(start).Round(time.Millisecond), (int64(most)-int64(before))/1024)
	if most > before+64<<20 {
		t.Errorf("%d bytes of heap before, %d meanwhile", before, most)
	}

	r, w := io.Pipe()
	go func() { w.CloseWithError(x.ExportSuppressions(context.Background(), w)) }()
	again, err := x.ImportSuppressions(t.Context(), r, "boss", at(), nil)
	if err != nil || again.Already != n {
		t.Errorf("%+v, %v", again, err)
	}
}

func TestAnImportThatIsCutShortKeepsWhatItTook(t *testing.T) {
	x := newIndex(t)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := x.ImportSuppressions(ctx, manyRows(20_000, func(int) {}), "boss", at(), func(p directory.SuppressionProgress) {
		if p.Rows >= 10_000 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	broken := io.MultiReader(strings.NewReader("Address\nlast@example.com\n"), iotestError{})
	if _, err := x.ImportSuppressions(t.Context(), broken, "boss", at(), nil); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatal(err)
	}
	wantBlocked(t, x, "last@example.com", "", "suppressed")
	if n := len(all(t, x)); n != 10_001 {
		t.Errorf("%d are kept", n)
	}
}

type iotestError struct{}

func (iotestError) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// FuzzImportSuppressions: whatever the file, an import ends, counts every row once,
// and what it took is exported and taken back equal.
func FuzzImportSuppressions(f *testing.F) {
	for _, s := range []string{"Address,Reason,Kind,At\na@example.com,x,bounce,2026-11-22\n", amazon, "\ufeffemail\n\"a\"\"b\"@x.org\n", "Address\n\"", "[{}]", "{", "[[1]]",
		"EmailAddress,Reason,LastUpdateTime\na@x.org,COMPLAINT,1e9\n", "Address,At\na@x.org,1e300\nb@x.org,-0\nc@x.org,NaN\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, file string) {
		x, y := newIndex(t), newIndex(t)
		res, err := x.ImportSuppressions(t.Context(), strings.NewReader(file), "boss", at(), nil)
		if p := res.SuppressionProgress; err == nil && p.Rows != p.Added+p.Already+p.Lifted+p.Bad {
			t.Errorf("%+v", p)
		}
		back, err := y.ImportSuppressions(t.Context(), strings.NewReader(exportSuppressions(t, x)), "boss", at(), nil)
		if got, want := all(t, y), all(t, x); err != nil || back.Bad != 0 || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, %v\ngot  %+v\nwant %+v", back, err, got, want)
		}
	})
}
