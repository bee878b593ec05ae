package directory_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"postern/directory"
	"postern/directory/directorytest"
	"postern/directory/embedded"
	"postern/mail"
)

func lines(s ...string) string { return strings.Join(s, "\n") + "\n" }

func importInto(t testing.TB, store directory.Store, csv string) directory.ImportResult {
	t.Helper()
	res, err := directory.Import(context.Background(), strings.NewReader(csv), store, nil)
	if err != nil {
		t.Fatalf("Import: %v", err)
	}
	return res
}

func export(t testing.TB, store directory.Store) string {
	t.Helper()
	var b strings.Builder
	if err := directory.Export(context.Background(), store, &b, nil); err != nil {
		t.Fatalf("Export: %v", err)
	}
	return b.String()
}

func TestImportReadsColumnsByName(t *testing.T) {
	for name, csv := range map[string]string{
		"as documented":   lines("Email,Name,Gender,CreateTime,SubscriptionStatus,City", "kim@example.com,김민,Female,1700000000,true,서울"),
		"any order":       lines("City,SubscriptionStatus,CreateTime,Gender,Name,Email", "서울,TRUE,1700000000,Female,김민,kim@example.com"),
		"any case":        lines("EMAIL, name,GENDER,createtime,subscriptionstatus,City", "kim@example.com,김민,Female, 1700000000 ,1,서울"),
		"BOM and CRLF":    "\ufeffEmail,Name,Gender,CreateTime,SubscriptionStatus,City\r\nkim@example.com,김민,Female,1700000000,True,서울\r\n",
		"quotes":          lines(`"Email","Name","Gender","CreateTime","SubscriptionStatus","City"`, `"kim@example.com","김민","Female","1700000000","true","서울"`),
		"no last newline": strings.TrimSpace(lines("Email,Name,Gender,CreateTime,SubscriptionStatus,City", " kim@example.com ,김민,Female,1700000000,true,서울")),
		"kinds":           lines("Email:text,Name:json,Gender,CreateTime:number,SubscriptionStatus,City:text", `kim@example.com,"""김민""",Female,1700000000,true,서울`),
	} {
		t.Run(name, func(t *testing.T) {
			store := newMemory()
			res := importInto(t, store, csv)
			want := directory.User{Email: "kim@example.com", Subscribed: true, Attributes: map[string]any{
				"Name": "김민", "Gender": "Female", "CreateTime": json.Number("1700000000"), "City": "서울"}}
			if got := store.users["kim@example.com"]; !reflect.DeepEqual(got, want) {
				t.Errorf("got %#v\nwant %#v", got, want)
			}
			fields := map[string]string{"Name": "string", "Gender": "string", "CreateTime": "number", "City": "string"}
			if res.Stored != 1 || res.Bad != 0 || res.Rows != 1 || !reflect.DeepEqual(res.Fields, fields) {
				t.Errorf("result %+v", res)
			}
		})
	}
}

func TestBadRowsAreNamedAndPassedOver(t *testing.T) {
	store := newMemory()
	res, err := directory.Import(t.Context(), strings.NewReader(lines(
		"Email,Name,CreateTime,SubscriptionStatus,VIP:bool,Extra:json",
		"a@example.com,A,1,true,,",
		"no address,B,1,true,,",
		"c@example.com,C,1,true,",
		"d@example.com,D,yesterday,true,,",
		"e@example.com,E,1,maybe,,",
		"",
		"f@example.com,F,1,true,si,",
		"g@example.com,G,1,true,,{",
		"h@example.com,\xb1\xe8,1,true,,",
		`i@example.com,x"y,1,true,,`,
		",,,,,",
		"j@example.com,\"two\nlines\",1e3,0,true,[1]",
		"k@example.com,K,0x1,1,true,")), store, &directory.ImportOptions{Encoding: directory.UTF8})
	if err != nil {
		t.Fatal(err)
	}
	got := map[int]string{}
	for _, e := range res.Errors {
		got[e.Row] = e.Reason
	}
	want := map[int]string{3: "no address", 4: "5 columns; the header has 6", 5: "CreateTime", 6: `SubscriptionStatus is "maybe"`, 8: "VIP",
		9: "Extra", 10: "UTF-8", 11: "quote", 12: "not a mail address", 15: "CreateTime"}
	for row, part := range want {
		if !strings.Contains(got[row], part) {
			t.Errorf("row %d: %q, want something about %q", row, got[row], part)
		}
	}
	if len(got) != len(want) || res.Bad != len(want) || res.Stored != 2 || res.Rows != len(want)+2 {
		t.Errorf("%+v; want %d bad rows of %d", res.Progress, len(want), len(want)+2)
	}
	j := store.users["j@example.com"]
	if j.Value("Name") != "two\nlines" || j.Subscribed || !reflect.DeepEqual(j.Attributes["Extra"], []any{json.Number("1")}) || j.Attributes["VIP"] != true {
		t.Errorf("got %+v", j)
	}
}

func TestOnlyAHundredBadRowsAreKept(t *testing.T) {
	res := importInto(t, newMemory(), "Email\n"+strings.Repeat("nobody\n", 250)+"a@example.com\n")
	if len(res.Errors) != 100 || res.Bad != 250 || res.Stored != 1 || res.Errors[99].Row != 101 {
		t.Fatalf("%d kept, %+v", len(res.Errors), res.Progress)
	}
}

func TestFilesThatCannotBeRead(t *testing.T) {
	for name, c := range map[string]struct{ csv, want string }{
		"empty":               {"", "empty"},
		"no Email":            {"Name,Gender\nx,y\n", "column Email"},
		"a workbook":          {"PK\x03\x04\x14\x00\x06\x00", "save it in Excel as"},
		"an old workbook":     {"\xd0\xcf\x11\xe0\xa1\xb1", "save it in Excel as"},
		"another word":        {"이메일,이름\na@example.com,x\n", "--map Email=이메일"},
		"no letters":          {"Email,\xff\xc0\n", "UTF-8"},
		"twice":               {"Email,City,City\n", "City twice"},
		"a column no name":    {"Email,,Name\n", "column 2"},
		"two statuses":        {"Email,SubscriptionStatus,subscriptionStatus\n", "keep one"},
		"a header with quote": {"Email,\"Name\na@example.com,x\n", "header"},
		"an open quote":       {"Email,Name\na@example.com,\"x\nb@example.com,y\n", "row 2"},
		"a quote without end": {"Email,Name\na@example.com,\"" + strings.Repeat("x\n", 2<<20), "longer than"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := directory.Import(t.Context(), strings.NewReader(c.csv), newMemory(), nil)
			if mail.ClassOf(err) != mail.Permanent || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want a Permanent error about %q", err, c.want)
			}
		})
	}
}

func TestASecondSpellingIsAnAttribute(t *testing.T) {
	store := newMemory()
	importInto(t, store, lines("Email,Name,name ", "a@example.com,A,b"))
	if u := store.users["a@example.com"]; u.Value("Name") != "A" || u.Value("name") != "b" {
		t.Fatalf("got %+v", u)
	}
}

func TestAnEmptyStatusLeavesIt(t *testing.T) {
	store := newMemory()
	importInto(t, store, lines("Email,SubscriptionStatus,City", "yes@example.com,true,서울", "no@example.com,false,부산", "none@example.com,,"))
	importInto(t, store, lines("Email,SubscriptionStatus", "yes@example.com,", "no@example.com,"))
	importInto(t, store, lines("Email,Name", "yes@example.com,Y", "no@example.com,N", "new@example.com,X"))
	for key, want := range map[mail.Address]bool{"yes@example.com": true, "no@example.com": false, "none@example.com": false, "new@example.com": false} {
		if u, ok := store.users[key]; !ok || u.Subscribed != want || u.KeepStatus {
			t.Errorf("%s: %+v, want subscribed %v", key, u, want)
		}
	}
	yes := store.users["yes@example.com"]
	if yes.Value("City") != "서울" {
		t.Error("a column that is not in the file was lost")
	}
	importInto(t, store, lines("Email,City", "yes@example.com,"))
	if _, there := store.users["yes@example.com"].Attributes["City"]; there {
		t.Error("an empty cell did not remove the attribute")
	}
}

func TestImportTakesBackNoOptOut(t *testing.T) {
	store := newMemory()
	importInto(t, store, lines("Email,SubscriptionStatus,OptOut", "a@example.com,true,promo news", "b@example.com,true,*"))
	importInto(t, store, lines("Email,SubscriptionStatus,OptOut", "a@example.com,true,", "b@example.com,true,"))
	a, b := store.users["a@example.com"], store.users["b@example.com"]
	if a.Receives("promo") || !a.Receives("other") || b.Subscribed || b.Receives("other") {
		t.Fatalf("a %+v, b %+v", a, b)
	}
}

func TestProgressAndAStoreThatFails(t *testing.T) {
	var csv strings.Builder
	csv.WriteString("Email,SubscriptionStatus\n")
	for i := range 12_000 {
		fmt.Fprintf(&csv, "u%d@example.com,true\n", i)
	}
	store := newMemory()
	var seen []directory.Progress
	res, err := directory.Import(t.Context(), strings.NewReader(csv.String()), store,
		&directory.ImportOptions{Progress: func(p directory.Progress) { seen = append(seen, p) }})
	last := seen[len(seen)-1]
	if err != nil || len(seen) < 3 || last.Stored != 12_000 || last != res.Progress || last.Bytes != int64(csv.Len()) {
		t.Fatalf("%+v, %v", seen, err)
	}
	full := errors.New("the disk is full")
	puts := 0
	store.fail = func(op string, _ mail.Address) error {
		if op == "Put" {
			puts++
		}
		if puts == 2 {
			return full
		}
		return nil
	}
	res, err = directory.Import(t.Context(), strings.NewReader(csv.String()), store, nil)
	if !errors.Is(err, full) || res.Stored != 5000 {
		t.Fatalf("%+v, %v; want the store's error after 5000", res.Progress, err)
	}
}

func TestExportIsTheDocumentedForm(t *testing.T) {
	store := newMemory()
	in := lines("Email,Name,Gender,CreateTime,SubscriptionStatus,OptOut,City,Points:number,VIP:bool,odd:number:text",
		"a@example.com,김민,Female,1700000000,true,news promo,\"Seoul, Korea\",12,true,x",
		"b@example.com,,,,false,,,,,")
	importInto(t, store, in)
	if got := export(t, store); got != in {
		t.Fatalf("got\n%s\nwant\n%s", got, in)
	}
	if got := export(t, newMemory()); got != "Email,Name,Gender,CreateTime,SubscriptionStatus\n" {
		t.Fatalf("an empty directory exports %q", got)
	}
}

// A false in the file would be a no once it is imported, and a sync would then keep the
// person away as somebody who has left.
func TestWhoIsUnknownStaysSoThroughAnExport(t *testing.T) {
	store := newMemory()
	importInto(t, store, lines("Email,Name,SubscriptionStatus", "yes@example.com,A,true", "unknown@example.com,B,", "no@example.com,C,false"))
	file := export(t, store)
	if !strings.Contains(file, "unknown@example.com,B,,,\n") || !strings.Contains(file, "no@example.com,C,,,false\n") {
		t.Errorf("the file is\n%s", file)
	}
	importInto(t, store, file)
	if !store.users["unknown@example.com"].Unknown || store.users["no@example.com"].Unknown {
		t.Errorf("after the import: %+v", store.users)
	}
}

func TestExportNoticesANewAttribute(t *testing.T) {
	store := newMemory()
	importInto(t, store, lines("Email,Name", "a@example.com,A"))
	scans := 0
	store.fail = func(op string, _ mail.Address) error {
		if scans++; scans == 2 {
			store.users["a@example.com"].Attributes["City"] = "Seoul"
		}
		return nil
	}
	if err := directory.Export(t.Context(), store, io.Discard, nil); err == nil || !strings.Contains(err.Error(), "again") {
		t.Fatalf("got %v, want an error that asks to export again", err)
	}
}

// genUser makes users with every kind of value under names that look like
// columns, kinds and reserved words.
func genUser() *rapid.Generator[directory.User] {
	name := rapid.OneOf(rapid.SampledFrom([]string{"Name", "name", "Gender", "CreateTime", "email", "optout", "City", "a:number", "a:json:text", "이름", "x,\"y", "EMAIL:bool", "a;b;c;d;e;f;g", "sep=;", ".\t\t\t\t\t\t\t."}),
		rapid.StringMatching(`[A-Za-z][A-Za-z :]{0,8}[A-Za-z]`).Filter(func(s string) bool { return !directory.Reserved(s) }))
	number := rapid.Map(rapid.IntRange(-1<<40, 1<<40), func(i int) any { return json.Number(fmt.Sprint(i)) })
	text := rapid.OneOf(rapid.StringN(1, 12, 40), rapid.SampledFrom([]string{"a\r\nb", " x ", "\"", "=1+1", "\n", "\r", "true", "1", "\\."}))
	scalar := rapid.OneOf(rapid.Map(text, func(s string) any { return s }), number, rapid.Map(rapid.Bool(), func(b bool) any { return b }))
	value := rapid.OneOf(scalar, scalar, rapid.Map(rapid.SliceOfN(scalar, 0, 3), func(v []any) any { return v }),
		rapid.Map(rapid.MapOfN(name, scalar, 0, 3), func(v map[string]any) any { return v }))
	return rapid.Custom(func(t *rapid.T) directory.User {
		lists := rapid.SliceOfN(rapid.SampledFrom([]string{"promo", "news", "*", "two words", "목록"}), 0, 3).Draw(t, "lists")
		u := directory.User{
			Email:      mail.Address(rapid.StringMatching(`[a-zA-Z0-9.]{0,3}[a-z0-9]@(Example\.com|예시\.kr|\[127\.0\.0\.1\])`).Filter(valid).Draw(t, "email")),
			Subscribed: rapid.Bool().Draw(t, "subscribed"), OptOut: directory.Union(lists, nil),
			Attributes: rapid.MapOfN(name, value, 0, 5).Draw(t, "attributes"),
		}
		if !u.Receives("x") {
			u.Subscribed = u.Subscribed && directory.Union(u.OptOut, nil) == nil
		}
		return u
	})
}

func valid(s string) bool {
	_, err := mail.ParseAddress(s)
	return err == nil
}

func TestImportOfAnExportIsTheIdentity(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		a, b := newMemory(), newMemory()
		if err := a.Put(context.Background(), rapid.SliceOfN(genUser(), 0, 20).Draw(rt, "users")); err != nil {
			rt.Fatal(err)
		}
		csv := export(t, a)
		for range 2 {
			if res := importInto(t, b, csv); res.Bad != 0 {
				rt.Fatalf("bad rows %v of\n%s", res.Errors, csv)
			}
			if !reflect.DeepEqual(a.users, b.users) {
				rt.Fatalf("got  %#v\nwant %#v\nby\n%s", b.users, a.users, csv)
			}
		}
		if again := export(t, b); again != csv {
			rt.Fatalf("the second export differs:\n%s\nfrom\n%s", again, csv)
		}
	})
}

func TestImportAndExportOfTheEmbeddedDirectory(t *testing.T) {
	stores := make([]directory.Store, 2)
	for i := range stores {
		s, err := embedded.Open(filepath.Join(t.TempDir(), "directory.db"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		stores[i] = s
	}
	var csv strings.Builder
	csv.WriteString("Email,Name,Gender,CreateTime,SubscriptionStatus,OptOut,City\n")
	for i := range 2500 {
		fmt.Fprintf(&csv, "u%04d@example.com,\"김, \"\"%d\"\"\",Male,%d,%v,,Seoul\n", i, i, i, i%3 == 0)
	}
	importInto(t, stores[0], csv.String())
	importInto(t, stores[1], export(t, stores[0]))
	if a, b := directorytest.All(t, stores[0]), directorytest.All(t, stores[1]); len(a) != 2500 || !reflect.DeepEqual(a, b) {
		t.Fatalf("%d and %d users, which differ", len(a), len(b))
	}
}

func FuzzImport(f *testing.F) {
	for _, s := range []string{
		"Email,Name,Gender,CreateTime,SubscriptionStatus\nkim@example.com,김민,Female,1700000000,true\n",
		"\ufeffemail,NAME\r\n\"a@b.c\",\"x\r\ny\"\r\n", "Email,X:json,X,Y:bool,OptOut:json\na@b.c,{},,1,\"[\"\"a\"\"]\"\n",
		"Email\n\"", "Email,OptOut,optout\na@b.c,a b,c\n", "Email,a:number:text\na@b.c,1\n", "Email;Name", "sep=;\nEmail;a\na@b.c;\xb1\xe8\n", "\xff\xfe", "Email\r\na@b.c\rb@b.c",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, csv string) {
		store := newMemory()
		res, err := directory.Import(context.Background(), strings.NewReader(csv), store, nil)
		if err != nil {
			return
		}
		if res.Rows != res.Stored+res.Bad || len(store.users) > res.Stored {
			t.Fatalf("%+v with %d users", res.Progress, len(store.users))
		}
		// What was imported can be exported, and that imported again, without loss.
		second := newMemory()
		if res := importInto(t, second, export(t, store)); res.Bad != 0 {
			t.Fatalf("bad rows in an export: %v", res.Errors)
		}
		for key, want := range store.users {
			got := second.users[key]
			for name, v := range want.Attributes {
				if v == "" {
					delete(want.Attributes, name) // to a CSV file, nothing
				}
			}
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("got %#v\nwant %#v", got, want)
			}
		}
	})
}
