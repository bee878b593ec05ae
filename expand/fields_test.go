package expand_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"postern/directory"
	"postern/expand"
)

func TestFieldsResolveAsPeopleWriteThem(t *testing.T) {
	f := testFields(t)
	for written, want := range map[string]string{
		"Name": "Name", "name": "Name", " NAME ": "Name", "N a\u00a0me": "Name", "Ｎａｍｅ": "Name", "na\u200bme": "Name",
		"이름": "Name", " 이 름": "Name", "\u1109\u1165\u11bc\u1112\u1161\u11b7": "Name", // 성함 as Apple writes it
		"create time": "CreateTime", "email": "Email", "ＵＮＳＵＢＳＣＲＩＢＥ": "Unsubscribe", "date": "Date", "List": "List",
		"Nam": "", "": "", " ": "",
	} {
		got, ok := f.Resolve(written)
		if got != want || ok != (want != "") {
			t.Errorf("Resolve(%q) = %q, %v; want %q", written, got, ok, want)
		}
	}
}

func TestFieldsNearest(t *testing.T) {
	f := testFields(t)
	for written, want := range map[string]string{
		"Nmae": "Name", "Nam": "Name", "Names": "Name", "이룸": "이름", "성항": "성함", "CreatedTime": "CreateTime",
		"unsubscribed": "Unsubscribe", "gendre": "Gender", "쿠폰번호": "", "X": "", "": "", "Point": "",
		strings.Repeat("n", 1<<16): "",
	} {
		if got := f.Nearest(written); got != want {
			t.Errorf("Nearest(%.20q) = %q; want %q", written, got, want)
		}
	}
}

func TestFieldsRefuseAWrongConfiguration(t *testing.T) {
	_, err := expand.NewFields(map[string]expand.FieldDef{
		"e mail": {Type: "string"},
		"Age":    {Type: "int"},
		"A|B":    {Type: "string"},
		"｛x｝":    {Type: "string"},
		"Point":  {Type: "number", Alias: []string{"점수"}},
		"Score":  {Type: "number", Alias: []string{"점 수", "date"}},
	}, nil)
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{
		`fields.e mail: "e mail" is built in ({{Email}} is known to every message)`,
		`fields.Age: type is "int"; it must be string, number or bool`,
		`fields.A|B: "A|B" cannot be written in a placeholder`,
		`fields.｛x｝: `,
		`fields.Score: "점 수" is already a name of the field Point`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q:\n%v", want, err)
		}
	}
}

func TestFieldsLearn(t *testing.T) {
	f, err := expand.NewFields(map[string]expand.FieldDef{"Name": {}},
		map[string]string{"name": "number", "Point": "number", "broken": "list", "{{": "string", "Email": "bool"})
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(f.Names()); got != "[Name Point Email List Date Unsubscribe Preferences]" {
		t.Errorf("names: %s", got)
	}
	if f.Type("Name") != "string" || f.Type("Point") != "number" || f.Type("Email") != "string" || f.Type("broken") != "" {
		t.Error("what is learnt does not give way to what is configured")
	}
	if f.Learn("point", "string") || f.Learn("Tier", "") || !f.Learn("Tier", "string") || f.Learn("tier", "string") {
		t.Error("Learn takes what is known, or not what is new")
	}
}

func TestFieldsAreSafeForManyGoroutines(t *testing.T) {
	f := testFields(t)
	var wg sync.WaitGroup
	news := make(chan string, 8*50)
	for range 8 {
		wg.Go(func() {
			for i := range 50 {
				name := fmt.Sprintf("field%d", i)
				if f.Learn(name, "string") {
					news <- name
				}
				f.Resolve(name)
				f.Nearest(name)
				f.Names()
			}
		})
	}
	wg.Wait()
	if len(news) != 50 {
		t.Errorf("50 fields were new %d times", len(news))
	}
}

func TestFieldsValue(t *testing.T) {
	f := testFields(t)
	u := &directory.User{Email: "Kim@example.com", Attributes: map[string]any{
		"name": "Min", "이름": "민", "CreateTime": json.Number("17"), "Gender": nil, "gender": "F"}}
	for field, want := range map[string]string{"Name": "Min", "CreateTime": "17", "Email": "Kim@example.com", "Gender": "", "Tier": ""} {
		if got := f.Value(u, field); got != want {
			t.Errorf("Value(%s) = %q; want %q", field, got, want)
		}
	}
}

func FuzzFieldsResolve(f *testing.F) {
	for _, s := range []string{"Name", "이름", "Ｎａｍｅ", "{{x}}", "\xff", "ﷺ", "e\u0301"} {
		f.Add(s)
	}
	fields := testFields(f)
	f.Fuzz(func(t *testing.T, name string) {
		canonical, ok := fields.Resolve(name)
		if again, known := fields.Resolve(canonical); ok && (!known || again != canonical) {
			t.Errorf("%q is %q, which is %q", name, canonical, again)
		}
		fields.Nearest(name)
	})
}

func TestDistanceCountsTypingMistakes(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "", 1}, {"", "abc", 3}, {"spring", "spring", 0}, {"sprng", "spring", 1}, {"spring", "sprinf", 1}, {"sprign", "spring", 1}, {"kitten", "sitting", 3}} {
		if d := expand.EditDistance([]rune(c.a), []rune(c.b)); d != c.want {
			t.Errorf("%s, %s: %d, want %d", c.a, c.b, d, c.want)
		}
	}
}
