package directory

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Forms is how attributes ought to be: what they are called, and of which type. Old
// tables have them otherwise.
type Forms struct {
	types  types
	folded map[string]string // name in small letters to the name
}

// NewForms takes the fields of the configuration, name to "string", "number" or "bool";
// Name, Gender and CreateTime are known without it.
func NewForms(fields map[string]string) *Forms {
	f := &Forms{types: types{"Name": "string", "Gender": "string", "CreateTime": "number"}, folded: map[string]string{}}
	maps.Copy(f.types, fields)
	for name := range f.types {
		f.folded[strings.ToLower(name)] = name
	}
	return f
}

// Names are the known attributes, sorted.
func (f *Forms) Names() []string { return slices.Sorted(maps.Keys(f.types)) }

// called is the known name of an attribute that has it in another case; "" is none.
func (f *Forms) called(name string) string {
	if _, known := f.types[name]; known {
		return ""
	}
	return f.folded[strings.ToLower(name)]
}

// Supersede adds to attributes that are to be written (nil: removed) the removal of those
// by which the stored user has the same field in another case: else the old value
// would be there again when the new one is removed. What is stored beside its field is
// an attribute of its own, as long as the field stays.
func (f *Forms) Supersede(stored, attributes map[string]any) map[string]any {
	all := attributes
	for name := range stored {
		field := f.called(name)
		v, written := attributes[field]
		_, both := stored[field]
		if _, named := attributes[name]; field == "" || named || !written || both && v != nil {
			continue
		}
		if len(all) == len(attributes) {
			all = maps.Clone(attributes)
		}
		all[name] = nil
	}
	return all
}

// Writes says whether attributes has a known name.
func (f *Forms) Writes(attributes map[string]any) bool {
	for name := range attributes {
		if _, known := f.types[name]; known {
			return true
		}
	}
	return false
}

// Odd says what is not as it ought to be, a sentence each, sorted; nil mostly.
func (f *Forms) Odd(attributes map[string]any) (odd []string) {
	for name, v := range attributes {
		field := f.called(name)
		if field == "" {
			if what := f.types.odd(name, v); what != "" {
				odd = append(odd, what)
			}
			continue
		}
		what := "%s is %s in another case"
		if _, both := attributes[field]; both {
			what = "%s is there beside %s, and is not looked at"
		}
		odd = append(odd, fmt.Sprintf(what, clip(name), field))
	}
	slices.Sort(odd)
	return odd
}

// odd says that a value is not of its field's type; "" when it is, or when the field is
// not known.
func (t types) odd(name string, v any) string {
	typ, known := t[name]
	if !known || v == nil {
		return ""
	}
	is := ""
	switch v := v.(type) {
	case string:
		switch {
		case typ == "string" || v == "":
			return ""
		case typ == "number" && !readsAsNumber(v):
			return name + " is a text that is no number, and counts as 0"
		}
		is = "text"
	case json.Number:
		is = "number"
	case bool:
		is = "boolean"
	default:
		return name + " is a list or a map, and counts as empty"
	}
	want := map[string]string{"string": "text", "number": "number", "bool": "boolean"}[typ]
	if is == want {
		return ""
	}
	return fmt.Sprintf("%s is a %s in place of a %s", name, is, want)
}

// readsAsNumber is how filters read a text.
func readsAsNumber(s string) bool {
	n, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	return err == nil && !math.IsNaN(n) && !math.IsInf(n, 0)
}

// Mend gives the changes that bring attributes to their form where there is no doubt,
// nil for one that is removed, and what they do, a sentence each. A name in another case
// becomes the field's, unless there are several values; a text becomes the number
// or the boolean that it is.
func (f *Forms) Mend(attributes map[string]any) (changes map[string]any, done []string) {
	changes = map[string]any{}
	others := map[string][]string{}
	for _, name := range slices.Sorted(maps.Keys(attributes)) {
		if field := f.called(name); field != "" {
			others[field] = append(others[field], name)
		}
	}
	for field, names := range others {
		v, both := attributes[field]
		if !both {
			v = attributes[names[0]]
		}
		if slices.ContainsFunc(names, func(n string) bool { return !reflect.DeepEqual(attributes[n], v) }) {
			continue
		}
		for _, n := range names {
			changes[n] = nil
			done = append(done, fmt.Sprintf("%s became %s", clip(n), field))
		}
		if !both && v != nil {
			changes[field] = v
		}
	}
	for field, typ := range f.types {
		v, there := changes[field]
		if !there {
			v = attributes[field]
		}
		if better, ok := retype(v, typ); ok {
			changes[field] = better
			done = append(done, fmt.Sprintf("the text of %s became a %s", field, map[string]string{"number": "number", "bool": "boolean"}[typ]))
		}
	}
	slices.Sort(done)
	return changes, done
}

// retype gives what a text is by its field's type.
func retype(v any, typ string) (any, bool) {
	text, ok := v.(string)
	if !ok {
		return nil, false
	}
	text = strings.TrimSpace(text)
	switch {
	case typ == "number" && checkNumber(text) == nil:
		return json.Number(text), true
	case typ == "bool" && strings.EqualFold(text, "true"):
		return true, true
	case typ == "bool" && strings.EqualFold(text, "false"):
		return false, true
	}
	return nil, false
}
