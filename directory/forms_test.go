package directory_test

import (
	"encoding/json"
	"reflect"
	"testing"

	"postern/directory"
)

func TestWhatIsOddOfAttributesAndHowItIsMended(t *testing.T) {
	f := directory.NewForms(map[string]string{"Points": "number", "VIP": "bool", "City": "string"})
	n := func(s string) json.Number { return json.Number(s) }
	type m = map[string]any
	for name, c := range map[string]struct {
		in      m
		odd     []string
		changes m
		done    []string
	}{
		"as it ought to be": {m{"Name": "Kim", "CreateTime": n("17"), "VIP": true, "Points": n("1"), "City": "", "other": n("1"), "이름": "x"}, nil, m{}, nil},
		"nothing":           {nil, nil, m{}, nil},
		"small letters": {m{"name": "Kim", "createtime": n("17")}, []string{"createtime is CreateTime in another case", "name is Name in another case"},
			m{"name": nil, "Name": "Kim", "createtime": nil, "CreateTime": n("17")}, []string{"createtime became CreateTime", "name became Name"}},
		"small letters and a text": {m{"createTime": " 17 "}, []string{"createTime is CreateTime in another case"},
			m{"createTime": nil, "CreateTime": n("17")}, []string{"createTime became CreateTime", "the text of CreateTime became a number"}},
		"two that are the same":      {m{"Name": "Kim", "name": "Kim"}, []string{"name is there beside Name, and is not looked at"}, m{"name": nil}, []string{"name became Name"}},
		"two that contradict":        {m{"Name": "Kim", "name": "Lee"}, []string{"name is there beside Name, and is not looked at"}, m{}, nil},
		"two in other cases":         {m{"NAME": "Kim", "name": "Lee"}, []string{"NAME is Name in another case", "name is Name in another case"}, m{}, nil},
		"two in other cases, agreed": {m{"NAME": "Kim", "name": "Kim"}, []string{"NAME is Name in another case", "name is Name in another case"}, m{"NAME": nil, "name": nil, "Name": "Kim"}, []string{"NAME became Name", "name became Name"}},
		"a number as text":           {m{"CreateTime": "1700000000", "Points": "1e3"}, []string{"CreateTime is a text in place of a number", "Points is a text in place of a number"}, m{"CreateTime": n("1700000000"), "Points": n("1e3")}, []string{"the text of CreateTime became a number", "the text of Points became a number"}},
		"a text that is none":        {m{"CreateTime": "soon", "Points": "0x"}, []string{"CreateTime is a text that is no number, and counts as 0", "Points is a text that is no number, and counts as 0"}, m{}, nil},
		"a number that is doubtful":  {m{"Points": "010"}, []string{"Points is a text in place of a number"}, m{}, nil},
		"booleans as text":           {m{"VIP": "TRUE"}, []string{"VIP is a text in place of a boolean"}, m{"VIP": true}, []string{"the text of VIP became a boolean"}},
		"a boolean of doubt":         {m{"VIP": "yes"}, []string{"VIP is a text in place of a boolean"}, m{}, nil},
		"a number for a name":        {m{"Name": n("7"), "Gender": false}, []string{"Gender is a boolean in place of a text", "Name is a number in place of a text"}, m{}, nil},
		"a map for a name":           {m{"Name": m{"a": "b"}, "City": []any{}}, []string{"City is a list or a map, and counts as empty", "Name is a list or a map, and counts as empty"}, m{}, nil},
		"null":                       {m{"Name": nil, "Points": nil}, nil, m{}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			if odd := f.Odd(c.in); !reflect.DeepEqual(odd, c.odd) {
				t.Errorf("odd: %q\nwant %q", odd, c.odd)
			}
			changes, done := f.Mend(c.in)
			if !reflect.DeepEqual(changes, c.changes) || !reflect.DeepEqual(done, c.done) {
				t.Errorf("mended: %v %q\nwant %v %q", changes, done, c.changes, c.done)
			}
		})
	}
}

func TestWhatIsWrittenTakesThePlaceOfEveryCase(t *testing.T) {
	f := directory.NewForms(nil)
	type m = map[string]any
	for name, c := range map[string]struct{ stored, write, want m }{
		"nothing of that field": {m{"City": "x"}, m{"Name": "Kim"}, m{"Name": "Kim"}},
		"another case":          {m{"name": "old", "NAME": "old"}, m{"Name": "Kim"}, m{"Name": "Kim", "name": nil, "NAME": nil}},
		"another is removed":    {m{"name": "old"}, m{"Name": nil}, m{"Name": nil, "name": nil}},
		"both":                  {m{"Name": "old", "name": "own"}, m{"Name": "Kim"}, m{"Name": "Kim"}},
		"both, and removed":     {m{"Name": "old", "name": "own"}, m{"Name": nil}, m{"Name": nil, "name": nil}},
		"both are written":      {m{"name": "old"}, m{"Name": "Kim", "name": "own"}, m{"Name": "Kim", "name": "own"}},
		"another field":         {m{"name": "old"}, m{"Gender": "F"}, m{"Gender": "F"}},
	} {
		if got := f.Supersede(c.stored, c.write); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
