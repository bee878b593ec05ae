package directory_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/unicode"

	"postern/directory"
	"postern/directory/embedded"
	"postern/mail"
)

func euckr(t testing.TB, s string) string {
	t.Helper()
	out, err := korean.EUCKR.NewEncoder().String(s)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func utf16(t testing.TB, s string) string {
	t.Helper()
	out, err := unicode.UTF16(unicode.LittleEndian, unicode.UseBOM).NewEncoder().String(s)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// importWith must succeed.
func importWith(t testing.TB, store directory.Store, csv string, o *directory.ImportOptions) directory.ImportResult {
	t.Helper()
	res, err := directory.Import(t.Context(), strings.NewReader(csv), store, o)
	if err != nil {
		t.Fatalf("Import: %v", err)
	}
	return res
}

// resolver knows what the configuration calls otherwise.
func resolver(heading string) (string, bool) {
	field := map[string]string{"이름": "Name", "성함": "Name", "name": "Name", "email": "Email", "city": "City"}[strings.ToLower(heading)]
	return field, field != ""
}

func TestColumnsAreMapped(t *testing.T) {
	kim := map[string]any{"Name": "김민"}
	with := func(name string, v any) map[string]any { return map[string]any{"Name": "김민", name: v} }
	for name, c := range map[string]struct {
		csv  string
		o    directory.ImportOptions
		want map[string]any
	}{
		"by a mapping":                   {lines("이메일,성명", "kim@example.com,김민"), directory.ImportOptions{Map: map[string]string{"Email": "이메일", "Name": "성명"}}, kim},
		"in any case":                    {lines("E-MAIL,Full Name", "kim@example.com,김민"), directory.ImportOptions{Map: map[string]string{"Email": "e-mail", "Name": " full name"}}, kim},
		"another column of that name":    {lines("Email,Work,Name", "x,kim@example.com,김민"), directory.ImportOptions{Map: map[string]string{"Email": "Work"}, Omit: []string{"Email"}}, kim},
		"one is left out":                {lines("Email,Name,비고", "kim@example.com,김민,x"), directory.ImportOptions{Omit: []string{"비고"}}, kim},
		"one without a name is no more":  {lines("Email,Name,Name", "kim@example.com,김민,김민"), directory.ImportOptions{Map: map[string]string{"Nick": "Name"}}, with("Nick", "김민")},
		"with a kind":                    {lines("Email,Name,포인트", "kim@example.com,김민,12"), directory.ImportOptions{Map: map[string]string{"Points:number": "포인트"}}, with("Points", json.Number("12"))},
		"with the kind of the file":      {lines("Email,Name,포인트:number", "kim@example.com,김민,12"), directory.ImportOptions{Map: map[string]string{"Points": "포인트"}}, with("Points", json.Number("12"))},
		"another name of a field":        {lines("Email,이름", "kim@example.com,김민"), directory.ImportOptions{Resolve: resolver}, kim},
		"a mapping goes before":          {lines("Email,이름,성명", "kim@example.com,x,김민"), directory.ImportOptions{Resolve: resolver, Map: map[string]string{"Name": "성명"}}, with("이름", "x")},
		"the field itself goes before":   {lines("Email,성함,Name", "kim@example.com,x,김민"), directory.ImportOptions{Resolve: resolver}, with("성함", "x")},
		"of two names the first":         {lines("Email,이름,성함", "kim@example.com,김민,x"), directory.ImportOptions{Resolve: resolver}, with("성함", "x")},
		"a known attribute in any case":  {lines("Email,Name,CITY", "kim@example.com,김민,서울"), directory.ImportOptions{Resolve: resolver}, with("City", "서울")},
		"types of the configuration":     {lines("Email,Name,Points", "kim@example.com,김민,12"), directory.ImportOptions{Types: map[string]string{"Points": "number"}}, with("Points", json.Number("12"))},
		"the file's kind goes before":    {lines("Email,Name,Points:text", "kim@example.com,김민,12"), directory.ImportOptions{Types: map[string]string{"Points": "number"}}, with("Points", "12")},
		"CreateTime is a number but not": {lines("Email,Name,CreateTime", "kim@example.com,김민,12"), directory.ImportOptions{Types: map[string]string{"CreateTime": "string"}}, with("CreateTime", "12")},
		"spaces and marks around it":     {lines("Email, \ufeffName\u00a0", "kim@example.com,김민"), directory.ImportOptions{}, kim},
		"why it was rejected":            {lines("Rejected-Because,Email,Name,Suppressed", "no,kim@example.com,김민,x"), directory.ImportOptions{}, kim},
	} {
		t.Run(name, func(t *testing.T) {
			store := newMemory()
			importWith(t, store, c.csv, &c.o)
			if u := store.users["kim@example.com"]; !reflect.DeepEqual(u.Attributes, c.want) || len(store.users) != 1 {
				t.Errorf("got %v, want %v", store.users, c.want)
			}
		})
	}
}

func TestMappingsThatFitNothing(t *testing.T) {
	for want, o := range map[string]directory.ImportOptions{
		`there is no column "성명"; the file has 이메일, 이름`:       {Map: map[string]string{"Email": "이메일", "Name": "성명"}},
		`there is no column "비고"`:                             {Omit: []string{"비고"}},
		`the column "이메일" is mapped or left out twice`:        {Map: map[string]string{"Email": "이메일", "Mail": "이메일"}},
		`it has 이메일, 이름: is it --map Email=이메일?`:              {},
		`the header has the column Name twice: leave one out`: {Map: map[string]string{"Name": "이메일"}, Resolve: func(s string) (string, bool) { return "", false }, Omit: nil, Types: nil, Encoding: "utf-8", Separator: ','},
	} {
		header := "이메일,이름\n"
		if strings.Contains(want, "twice: leave") {
			header = "이메일,Name\n"
		}
		_, err := directory.Import(t.Context(), strings.NewReader(header), newMemory(), &o)
		if mail.ClassOf(err) != mail.Permanent || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want a Permanent error that says %q", err, want)
		}
	}
}

func TestTheEncodingIsFoundOut(t *testing.T) {
	plain := "Email,Name\nkim@example.com,뷁민\n" // 뷁 is not in KS X 1001
	ascii := "Email,Name\n" + strings.Repeat("a@example.com,A\n", 20_000)
	for name, c := range map[string]struct {
		csv  string
		o    directory.ImportOptions
		want directory.Encoding
	}{
		"utf-8":                     {plain, directory.ImportOptions{}, directory.UTF8},
		"utf-8 with a BOM":          {"\ufeff" + plain, directory.ImportOptions{}, directory.UTF8},
		"euc-kr":                    {euckr(t, plain), directory.ImportOptions{}, directory.EUCKR},
		"utf-16":                    {utf16(t, plain), directory.ImportOptions{}, directory.UTF16},
		"euc-kr that was asked for": {euckr(t, plain), directory.ImportOptions{Encoding: "euc-kr"}, directory.EUCKR},
		"utf-8 far down":            {ascii + "kim@example.com,뷁민\n", directory.ImportOptions{}, directory.UTF8},
		"euc-kr far down":           {ascii + euckr(t, "kim@example.com,뷁민\n"), directory.ImportOptions{}, directory.EUCKR},
		"long, in euc-kr":           {euckr(t, plain+strings.Repeat("lee@example.com,이가\n", 20_000)), directory.ImportOptions{}, directory.EUCKR},
		"cut within a letter":       {euckr(t, plain+"lee@example.com,"+strings.Repeat("가", 40_000)+"\n"), directory.ImportOptions{}, directory.EUCKR},
		"long, in utf-8":            {plain + strings.Repeat("lee@example.com,이가나\n", 20_000), directory.ImportOptions{}, directory.UTF8},
	} {
		for size, r := range map[string]func(io.Reader) io.Reader{"whole": func(r io.Reader) io.Reader { return r }, "by octets": iotest.OneByteReader} {
			t.Run(name+" "+size, func(t *testing.T) {
				store := newMemory()
				res, err := directory.Import(t.Context(), r(strings.NewReader(c.csv)), store, &c.o)
				u := store.users["kim@example.com"]
				if err != nil || res.Encoding != c.want || res.Bad != 0 || u.Value("Name") != "뷁민" || res.Bytes != int64(len(c.csv)) {
					t.Errorf("read as %s, %d bad, Name %q, %d bytes, %v", res.Encoding, res.Bad, u.Value("Name"), res.Bytes, err)
				}
			})
		}
	}
	for name, c := range map[string]struct {
		csv  string
		as   directory.Encoding
		want string
	}{
		"the mark of another":  {"\ufeff" + plain, directory.EUCKR, "begins with the mark of UTF-8"},
		"UTF-16 as UTF-8":      {utf16(t, plain), directory.UTF8, "begins with the mark of UTF-16"},
		"an unknown one":       {plain, "latin1", "auto, utf-8 and euc-kr"},
		"a header in EUC-KR":   {euckr(t, "Email,이름\n"), directory.UTF8, "--encoding euc-kr"},
		"a header of neither":  {"Email,\xff\xff\n", directory.EUCKR, "not EUC-KR"},
		"written, never read":  {plain, directory.UTF8BOM, "auto, utf-8 and euc-kr"},
		"found, never to give": {plain, directory.UTF16, "auto, utf-8 and euc-kr"},
	} {
		_, err := directory.Import(t.Context(), strings.NewReader(c.csv), newMemory(), &directory.ImportOptions{Encoding: c.as})
		if mail.ClassOf(err) != mail.Permanent || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want a Permanent error with %q", name, err, c.want)
		}
	}
}

func TestLettersOfAnotherEncodingAreBadRows(t *testing.T) {
	store := newMemory()
	res := importWith(t, store, euckr(t, "Email,Name\na@example.com,가\n")+"b@example.com,\xff\xff\n"+euckr(t, "c@example.com,다\n"), &directory.ImportOptions{Encoding: directory.EUCKR})
	if c := store.users["c@example.com"]; res.Bad != 1 || res.Errors[0].Row != 3 || !strings.Contains(res.Errors[0].Reason, "EUC-KR") || c.Value("Name") != "다" {
		t.Errorf("%+v", res)
	}
	// Half a letter before a comma takes the comma with it nowhere.
	res = importWith(t, store, "Email,Name,City\nd@example.com,\xb1,x\n", &directory.ImportOptions{Encoding: directory.EUCKR})
	if res.Bad != 1 || !strings.Contains(res.Errors[0].Reason, "EUC-KR") {
		t.Errorf("%+v", res)
	}
}

func TestSeparatorsAndLineEnds(t *testing.T) {
	for name, c := range map[string]struct {
		csv  string
		as   rune
		want rune
	}{
		"commas":                {"Email,Name,Note\na@example.com,A;B,\"x,y\"\n", 0, ','},
		"semicolons":            {"Email;Name;Note\na@example.com;A;\"x;y\"\n", 0, ';'},
		"tabs":                  {"Email\tName\tNote\r\na@example.com\tA\t\"x\ty\"\r\n", 0, '\t'},
		"a name full of others": {"Email,Name,Note;a;b;c;d\n\"a@example.com\",A,x\n", 0, ','},
		"Email within quotes":   {"Name;A,B,C,D;\"Email:text\"\nA;x;a@example.com\n", 0, ';'},
		"commas in quotes":      {"Email;Name;\"Note, long, or, not:text\"\na@example.com;A;x\n", 0, ';'},
		"one that is said":      {"Email|Name|Note\na@example.com|A|x\n", '|', '|'},
		"Excel says it":         {"sep=;\r\nEmail;Name;Note\r\na@example.com;A;x\r\n", 0, ';'},
		"Excel says an odd":     {"\ufeffSEP=^\nEmail^Name^Note\na@example.com^A^x\n", 0, '^'},
		"Excel and we":          {"sep=;\r\nEmail,Name,Note\r\na@example.com,A,x\r\n", ',', ','},
		"old Macs":              {"Email,Name,Note\ra@example.com,A,x\rb@example.com,B,y\r", 0, ','},
		"old Macs say it":       {"sep=;\rEmail;Name;Note\ra@example.com;A;x\r", 0, ';'},
		"one column":            {"Email\na@example.com\n", 0, ','},
		"no line end":           {"Email;Name", 0, ';'},
		"a line in a heading":   {"Email;Name;\"No\nte:text\"\na@example.com;A;x\n", 0, ';'},
	} {
		t.Run(name, func(t *testing.T) {
			store := newMemory()
			res := importWith(t, store, c.csv, &directory.ImportOptions{Separator: c.as})
			a, there := store.users["a@example.com"]
			if res.Separator != c.want || res.Bad != 0 || there && len(a.Attributes) > 0 && !strings.HasPrefix(a.Value("Name"), "A") {
				t.Errorf("%+v %v", res, store.users)
			}
		})
	}
	res := importWith(t, newMemory(), "sep=;\nEmail;Name\nnobody;x\n\"a\nb\";y\nc@example.com;\"z\"z\n", nil)
	for i, row := range []int{3, 4, 6} {
		if res.Errors[i].Row != row {
			t.Errorf("bad row %d is said to begin on line %d", row, res.Errors[i].Row)
		}
	}
	_, err := directory.Import(t.Context(), strings.NewReader("Email\"Name\n"), newMemory(), &directory.ImportOptions{Separator: '"'})
	if mail.ClassOf(err) != mail.Permanent || !strings.Contains(err.Error(), "cannot separate") {
		t.Error(err)
	}
}

func TestAddressesThatComeAgainAreCounted(t *testing.T) {
	var b strings.Builder
	b.WriteString("Email,Name\n")
	for i := range 12_000 {
		fmt.Fprintf(&b, "u%d@example.com,first\n", i)
	}
	for i := range 7 {
		fmt.Fprintf(&b, "u%d@example.com,last\n", i)
	}
	b.WriteString("U5@Example.com,x\nu5@EXAMPLE.com,x\nKim@example.com,x\nkim@example.com,x\nKim@example.com,y\nbad,x\n")
	for _, dry := range []bool{true, false} {
		store := newMemory()
		res := importWith(t, store, b.String(), &directory.ImportOptions{DryRun: dry})
		if res.Again.Count != 8 || len(res.Again.Examples) != 5 || res.Again.Examples[0] != "u0@example.com" {
			t.Errorf("again: %+v", res.Again)
		}
		if want := []mail.Address{"U5@Example.com", "u5@EXAMPLE.com", "kim@example.com"}; res.Spelt.Count != 3 || !reflect.DeepEqual(res.Spelt.Examples, want) {
			t.Errorf("in another spelling: %+v", res.Spelt)
		}
		if res.Rows != res.Stored+res.Bad || res.Bad != 1 || dry && res.New != 12_004 {
			t.Errorf("%+v, %d new", res.Progress, res.New)
		}
		if u := store.users["u6@example.com"]; !dry && (u.Value("Name") != "last" || len(store.users) != 12_004) {
			t.Errorf("%d users, u6 is %v", len(store.users), u)
		}
	}
}

func TestRejectedRowsCanBeMendedAndImported(t *testing.T) {
	in := lines("메일;Name;VIP:bool", "a@example.com;A;true", "b;B;true", "c@example.com;C", "d@example.com;\"D\"D;true", "e@example.com;E;si", "f@example.com;\"F;\n;F\";", "g@example.com;G;true;more")
	o := &directory.ImportOptions{Map: map[string]string{"Email": "메일"}}
	var rejects bytes.Buffer
	out := csv.NewWriter(&rejects)
	o.Reject = func(r directory.Reject) {
		if r.Row == 1 && r.Reason == "" {
			r.Reason = directory.RejectedColumn
		}
		if err := out.Write(append([]string{r.Reason}, r.Cells...)); err != nil || r.Reason == "" {
			t.Errorf("%+v, %v", r, err)
		}
	}
	store := newMemory()
	res := importWith(t, store, in, o)
	out.Flush()
	if res.Bad != 5 || res.Stored != 2 {
		t.Fatalf("%+v", res)
	}
	text := rejects.String()
	for reason, mended := range map[string]string{"b,B": "b@example.com,B", "c@example.com,C": "c@example.com,C,false", ",si": ",true", "G,true,more": "G,true"} {
		if !strings.Contains(text, reason) {
			t.Errorf("no %q in\n%s", reason, rejects.String())
		}
		text = strings.Replace(text, reason, mended, 1)
	}
	var again []string
	o.Reject = func(r directory.Reject) { again = r.Cells }
	res = importWith(t, store, "\ufeff"+text, o)
	if res.Bad != 0 || len(store.users) != 7 {
		t.Errorf("%+v %v of\n%s", res, store.users, text)
	}
	if d := store.users["d@example.com"]; d.Value("Name") != `"D"D` {
		t.Errorf("%q", d.Value("Name"))
	}
	if !reflect.DeepEqual(again, []string{"메일", "Name", "VIP:bool"}) {
		t.Errorf("the header of the second rejects: %q", again)
	}
}

func TestADryRunCountsAndWritesNothing(t *testing.T) {
	store := newMemory()
	importWith(t, store, lines("Email,Name,SubscriptionStatus,OptOut", "a@example.com,A,true,", "b@example.com,B,true,", "c@example.com,C,false,*", "d@example.com,D,true,"), nil)
	before := fmt.Sprint(store.users)
	puts := 0
	store.fail = func(op string, _ mail.Address) error {
		if op != "GetMany" {
			puts++
		}
		return nil
	}
	res := importWith(t, store, lines("Email,Name,SubscriptionStatus", "a@example.com,A,true", "b@example.com,other,true", "c@example.com,C,true", "d@example.com,D,false", "new@example.com,N,true", "bad,x,true"), &directory.ImportOptions{DryRun: true})
	if res.New != 1 || res.Changed != 2 || res.Same != 2 || res.Bad != 1 {
		t.Errorf("%+v; want 1 new, 2 changed, 2 the same (one of them has left everything), 1 bad", res)
	}
	if fmt.Sprint(store.users) != before || puts > 0 {
		t.Errorf("%d writes", puts)
	}
}

func TestExportsInEUCKRAndForExcel(t *testing.T) {
	in := lines("Email,Name,Gender,CreateTime,SubscriptionStatus,OptOut,City,Points:number", "a@example.com,뷁민,Female,1700000000,true,news,\"서울, 한국\",12", "b@example.com,,,,false,,,")
	store := newMemory()
	importInto(t, store, in)
	for e, want := range map[directory.Encoding]string{directory.UTF8BOM: "\ufeff" + in, directory.EUCKR: euckr(t, in), directory.UTF8: in} {
		var b strings.Builder
		if err := directory.Export(t.Context(), store, &b, &directory.ExportOptions{Encoding: e}); err != nil || b.String() != want {
			t.Errorf("%s: %v\n%q\nwant\n%q", e, err, b.String(), want)
		}
		second := newMemory()
		importInto(t, second, b.String())
		if !reflect.DeepEqual(store.users, second.users) {
			t.Errorf("%s: imported again it is %v", e, second.users)
		}
	}
	importInto(t, store, lines("Email,Name,Extra:json", "c@example.com,웃는 😀,\"{\"\"a\"\":\"\"✓\"\"}\""))
	var b strings.Builder
	err := directory.Export(t.Context(), store, &b, &directory.ExportOptions{Encoding: directory.EUCKR, Columns: []string{"Name", "Email"}})
	if mail.ClassOf(err) != mail.Permanent || !strings.Contains(err.Error(), `Name of c@example.com has "😀", which EUC-KR lacks`) || b.Len() > 0 {
		t.Errorf("%v, and %q was written", err, b.String())
	}
	if err := directory.Export(t.Context(), store, &b, &directory.ExportOptions{Encoding: directory.EUCKR, Columns: []string{"Email", "Extra"}}); err == nil || !strings.Contains(err.Error(), "Extra of c@example.com") {
		t.Error(err)
	}
	if err := directory.Export(t.Context(), store, &b, &directory.ExportOptions{Encoding: directory.EUCKR, Columns: []string{"City", "Email"}}); err != nil || b.String() != euckr(t, "City,Email\n\"서울, 한국\",a@example.com\n,b@example.com\n,c@example.com\n") {
		t.Errorf("%v %q", err, b.String())
	}
	if err := directory.Export(t.Context(), store, &b, &directory.ExportOptions{Encoding: "latin1"}); mail.ClassOf(err) != mail.Permanent {
		t.Error(err)
	}
}

func TestExportOfSomeColumns(t *testing.T) {
	store := newMemory()
	importInto(t, store, lines("Email,Name,Points:number,City", "a@example.com,A,1,Seoul"))
	var b strings.Builder
	err := directory.Export(t.Context(), store, &b, &directory.ExportOptions{Columns: []string{"Points", "Email", "OptOut", "SubscriptionStatus"}})
	if err != nil || b.String() != "Points:number,Email,OptOut,SubscriptionStatus\n1,a@example.com,,\n" {
		t.Errorf("%v\n%s", err, b.String())
	}
	for _, columns := range [][]string{{"Email", "Point"}, {"Email", "Email"}} {
		err := directory.Export(t.Context(), store, &b, &directory.ExportOptions{Columns: columns})
		if mail.ClassOf(err) != mail.Permanent || !strings.Contains(err.Error(), "there are Email, Name, Gender, CreateTime, SubscriptionStatus, City, Points") {
			t.Errorf("%v: %v", columns, err)
		}
	}
}

// Where the configuration has a type for a field, a column of another kind says so.
func TestExportAndImportWithTypesAreTheIdentity(t *testing.T) {
	types := map[string]string{"Points": "number", "VIP": "bool", "CreateTime": "string", "City": "string"}
	store := newMemory()
	importInto(t, store, lines("Email,Points:text,VIP:text,CreateTime:number,City:number", "a@example.com,n/a,maybe,5,7"))
	var b strings.Builder
	if err := directory.Export(t.Context(), store, &b, &directory.ExportOptions{Types: types}); err != nil {
		t.Fatal(err)
	}
	for _, o := range []*directory.ImportOptions{nil, {Types: types}} {
		second := newMemory()
		importWith(t, second, b.String(), o)
		if !reflect.DeepEqual(store.users, second.users) {
			t.Errorf("got %v\nwant %v\nby\n%s", second.users, store.users, b.String())
		}
	}
}

// remembering is an import of the name, which an index remembers.
func remembering(t *testing.T, path string) (*directory.Index, func(resume bool) *directory.ImportOptions) {
	t.Helper()
	x, err := directory.OpenIndex(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = x.Close() })
	return x, func(resume bool) *directory.ImportOptions {
		return &directory.ImportOptions{Index: x, Name: "users.csv", Resume: resume}
	}
}

func manyUsers(n int) string {
	var b strings.Builder
	b.WriteString("Email,Name,SubscriptionStatus\n")
	for i := range n {
		fmt.Fprintf(&b, "u%05d@example.com,\"Kim, %d\",%v\n", i, i, i%3 > 0)
		if i%1000 == 0 {
			b.WriteString("no address,x,true\n")
		}
	}
	return b.String()
}

// An import that is cut off anywhere goes on behind what is stored, and gives what the
// whole one gives.
func TestAnImportGoesOnWhereItBrokeOff(t *testing.T) {
	in := manyUsers(12_000)
	whole := newMemory()
	want := importInto(t, whole, in)
	full := errors.New("the disk is full")
	for name, c := range map[string]struct {
		bytes, puts int // after which the file ends, or the store fails
	}{"at the start": {70_000, 99}, "within a batch": {len(in) / 3, 99}, "near the end": {len(in) - 5, 99}, "by the store": {len(in), 2}} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "index.db")
			x, o := remembering(t, path)
			store := newMemory()
			left := c.puts
			store.fail = func(op string, _ mail.Address) error {
				if op == "Put" {
					if left--; left < 0 {
						return full
					}
				}
				return nil
			}
			cut := io.MultiReader(strings.NewReader(in[:c.bytes]), iotest.ErrReader(io.ErrUnexpectedEOF))
			if _, err := directory.Import(t.Context(), cut, store, o(false)); !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, full) {
				t.Fatalf("got %v, want what cut it off", err)
			}
			have := len(store.users)
			if err := x.Close(); err != nil { // as after a restart
				t.Fatal(err)
			}
			_, o = remembering(t, path)
			rows := 0
			store.fail = func(op string, _ mail.Address) error {
				if op == "Put" {
					rows++
				}
				return nil
			}
			res := importWith(t, store, in, o(true))
			if !reflect.DeepEqual(store.users, whole.users) || res.Progress != want.Progress || res.Resumed == 0 || !reflect.DeepEqual(res.Errors, want.Errors) {
				t.Errorf("%d users, %+v after %d, resumed at %d", len(store.users), res.Progress, have, res.Resumed)
			}
			if rows > (12_000-have)/5000+1 {
				t.Errorf("%d batches were stored for %d users", rows, 12_000-have)
			}
			if _, err := directory.Import(t.Context(), strings.NewReader(in), store, o(true)); err == nil || !strings.Contains(err.Error(), "no import of") {
				t.Errorf("what has ended is gone on with: %v", err)
			}
		})
	}
}

func TestAnotherFileIsNotGoneOnWith(t *testing.T) {
	in := manyUsers(12_000)
	begun := func(t *testing.T) (*memory, func(bool) *directory.ImportOptions) {
		_, o := remembering(t, filepath.Join(t.TempDir(), "index.db"))
		store := newMemory()
		cut := io.MultiReader(strings.NewReader(in[:len(in)*9/10]), iotest.ErrReader(io.ErrUnexpectedEOF))
		if _, err := directory.Import(t.Context(), cut, store, o(false)); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatal(err)
		}
		return store, o
	}
	for name, c := range map[string]struct {
		in   string
		edit func(*memory, *directory.ImportOptions)
		want string
	}{
		"a cell is changed":    {strings.Replace(in, "Kim, 4711", "Kim, 4712", 1), nil, "something else"},
		"a row is gone":        {strings.Replace(in, "u00007@example.com,\"Kim, 7\",true\n", "", 1), nil, "something else"},
		"it is shorter":        {in[:len(in)/2], nil, "it has only"},
		"other options":        {in, func(_ *memory, o *directory.ImportOptions) { o.Omit = []string{"Name"} }, "something else"},
		"another name":         {in, func(_ *memory, o *directory.ImportOptions) { o.Name = "other.csv" }, `no import of "other.csv" has broken off`},
		"an empty directory":   {in, func(m *memory, _ *directory.ImportOptions) { clear(m.users) }, "the directory has none"},
		"nothing to remember":  {in, func(_ *memory, o *directory.ImportOptions) { o.Name = "" }, "without --resume"},
		"a dry run":            {in, func(_ *memory, o *directory.ImportOptions) { o.DryRun = true }, "without --resume"},
		"only the end differs": {in + "new@example.com,New,true\n", nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			store, o := begun(t)
			options := o(true)
			if c.edit != nil {
				c.edit(store, options)
			}
			before := len(store.users)
			_, err := directory.Import(t.Context(), strings.NewReader(c.in), store, options)
			if c.want == "" {
				if err != nil || len(store.users) != 12_001 {
					t.Errorf("%d users, %v", len(store.users), err)
				}
				return
			}
			if mail.ClassOf(err) != mail.Permanent || !strings.Contains(err.Error(), c.want) || len(store.users) != before {
				t.Errorf("%d users of %d, %v; want a Permanent error with %q", len(store.users), before, err, c.want)
			}
		})
	}
}

// The same, of the embedded directory and with rows whose people leave meanwhile.
func TestWhoLeavesDuringAnImportStaysAway(t *testing.T) {
	x, o := remembering(t, filepath.Join(t.TempDir(), "index.db"))
	s, err := embedded.Open(filepath.Join(t.TempDir(), "directory.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	store := &between{Store: s}
	x.SetLists([]string{"news", "promo"})
	leave := func(user mail.Address, list string) {
		if err := x.OptOut(t.Context(), user, list, directory.Evidence{At: at(), How: "page"}); err != nil {
			t.Fatal(err)
		}
	}
	leave("back@example.com", directory.AllLists)
	// While the rows are written, the index already knows, and the words are told: to nobody.
	store.put = func() {
		leave("new@example.com", directory.AllLists)
		leave("new2@example.com", "promo")
		leave("Odd@Example.com", directory.AllLists)
		if err := x.Consent(t.Context(), "back@example.com", "promo", directory.Evidence{At: at(), How: "page"}); err != nil {
			t.Fatal(err)
		}
		if _, err := x.Replay(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	importWith(t, store, lines("Email,SubscriptionStatus", "new@example.com,true", "new2@example.com,true", "back@example.com,true", "ODD@example.com,true", "stays@example.com,true"), o(false))
	if _, err := x.Replay(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	for user, want := range map[mail.Address]string{"new@example.com": "false [*]", "new2@example.com": "true [promo]", "back@example.com": "true [news]", "ODD@example.com": "false [*]", "stays@example.com": "true []"} {
		u, err := s.Get(t.Context(), user)
		if got := fmt.Sprint(u.Subscribed, " ", u.OptOut); err != nil || got != want {
			t.Errorf("%s: %s, %v; want %s", user, got, err, want)
		}
	}
}

// between does something between the looks at the index that an import takes.
type between struct {
	directory.Store
	put func()
}

func (b *between) Put(ctx context.Context, us []directory.User) error {
	b.put()
	return b.Store.Put(ctx, us)
}
