package expand

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"postern/directory"
)

// The placeholders that every message knows. Email is the user's own address;
// the others are of the list or of the copy and no attribute of a user.
const (
	FieldEmail       = "Email"
	FieldList        = "List"
	FieldDate        = "Date"
	FieldUnsubscribe = "Unsubscribe"
	FieldPreferences = "Preferences"
)

// The types of a field.
const (
	TypeString = "string"
	TypeNumber = "number"
	TypeBool   = "bool"
)

// maxFieldName is the longest name, in octets, that is learnt or configured: a
// DynamoDB attribute may be called by 64 KB, a placeholder nobody would write so.
const maxFieldName = 128

// builtIns lists the placeholders that every message knows.
func builtIns() []string {
	return []string{FieldEmail, FieldList, FieldDate, FieldUnsubscribe, FieldPreferences}
}

// IsBuiltIn says that name, spelt canonically, is known to every message.
func IsBuiltIn(name string) bool { return slices.Contains(builtIns(), name) }

// FieldDef is one field of the configuration.
type FieldDef struct {
	Type  string   // TypeString, TypeNumber, TypeBool; "" is TypeString
	Alias []string // other names by which a placeholder may call it
}

// Fields is the vocabulary of placeholders and filters: what is built in, what
// the configuration names, and what import, sync and expansion have seen. It
// grows while it is used, from many goroutines, and never forgets or changes.
type Fields struct {
	mu    sync.RWMutex
	types map[string]string // canonical name: type; without the built-in ones
	names map[string]naming // folded name or alias
}

// naming is one way to write a field.
type naming struct {
	field string // the canonical name
	as    string // this name or alias, as it was given
}

// NewFields builds the vocabulary of the configuration's fields and of those
// learnt in earlier runs (name: type). Where the two disagree the configuration
// holds. The error joins every problem of defs, each with its key path: an
// unknown type, a name that is built in, one that no placeholder could bear, two
// fields that are the same name once case, spaces and width are ignored.
func NewFields(defs map[string]FieldDef, learnt map[string]string) (*Fields, error) {
	f := &Fields{types: map[string]string{}, names: map[string]naming{}}
	for _, b := range builtIns() {
		f.names[foldName(b)] = naming{b, b}
	}
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(defs)) {
		if err := f.define(name, defs[name]); err != nil {
			problems = append(problems, fmt.Errorf("fields.%s: %w", name, err))
		}
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(learnt)) {
		f.Learn(name, learnt[name])
	}
	return f, nil
}

func (f *Fields) define(name string, def FieldDef) error {
	if def.Type == "" {
		def.Type = TypeString
	}
	if !isType(def.Type) {
		return fmt.Errorf("type is %q; it must be string, number or bool", def.Type)
	}
	for _, as := range append([]string{name}, def.Alias...) {
		if !canBeWritten(as) {
			return fmt.Errorf("%q cannot be written in a placeholder: a name has 1 to %d bytes and no braces, bars or control characters", as, maxFieldName)
		}
		key := foldName(as)
		switch had, ok := f.names[key]; {
		case ok && IsBuiltIn(had.field):
			return fmt.Errorf("%q is built in ({{%s}} is known to every message); choose another name", as, had.field)
		case ok && had.field != name:
			return fmt.Errorf("%q is already a name of the field %s", as, had.field)
		case !ok:
			f.names[key] = naming{name, as}
		}
	}
	f.types[name] = def.Type
	return nil
}

func isType(s string) bool { return s == TypeString || s == TypeNumber || s == TypeBool }

func canBeWritten(name string) bool {
	key := foldName(name)
	return key != "" && len(name) <= maxFieldName &&
		!strings.ContainsAny(key, "{}|") && !strings.ContainsFunc(name, unicode.IsControl)
}

// foldName is what is compared of a name: compatibility forms folded (full-width
// letters, half-width Hangul, the non-breaking space), case and every space and
// invisible character ignored.
func foldName(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || unicode.Is(unicode.Cf, r) {
			return -1
		}
		return r
	}, strings.ToLower(norm.NFKC.String(s)))
}

// Resolve finds the field that name calls, by its name or an alias, ignoring
// case, spaces, non-breaking spaces and full-width forms.
func (f *Fields) Resolve(name string) (canonical string, ok bool) {
	key := foldName(name)
	f.mu.RLock()
	defer f.mu.RUnlock()
	n, ok := f.names[key]
	return n.field, ok
}

// Type is the type of the field with this canonical name; "" of an unknown one.
// What is built in is a string.
func (f *Fields) Type(canonical string) string {
	if IsBuiltIn(canonical) {
		return TypeString
	}
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.types[canonical]
}

// Names are the canonical names of all fields, sorted, the built-in ones last.
func (f *Fields) Names() []string {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return append(slices.Sorted(maps.Keys(f.types)), builtIns()...)
}

// Learn adds a field that somebody saw in a user. What is known already, by any
// spelling, and what no placeholder could call stays as it is: then it is false.
func (f *Fields) Learn(name, typ string) bool {
	if !isType(typ) || !canBeWritten(name) {
		return false
	}
	key := foldName(name)
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, known := f.names[key]; known {
		return false
	}
	f.names[key] = naming{name, name}
	f.types[name] = typ
	return true
}

// TypeOf is the field type of an attribute's value; "" of what no placeholder
// can show (nothing, lists, maps), which is not learnt.
func TypeOf(v any) string {
	switch v.(type) {
	case string:
		return TypeString
	case json.Number:
		return TypeNumber
	case bool:
		return TypeBool
	}
	return ""
}

// Value is what the user has in the field with this canonical name, as text;
// "" when there is nothing. An attribute that the directory spells otherwise
// ("name" for Name, or an alias) serves when none has the exact name.
func (f *Fields) Value(u *directory.User, canonical string) string {
	if canonical == FieldEmail {
		return string(u.Email)
	}
	if _, exact := u.Attributes[canonical]; exact {
		return u.Value(canonical)
	}
	spelt := ""
	for a := range u.Attributes {
		if field, ok := f.Resolve(a); ok && field == canonical && (spelt == "" || a < spelt) {
			spelt = a
		}
	}
	return u.Value(spelt)
}

// Nearest is the name or alias that somebody probably meant by name, as it is
// written in the vocabulary; "" when nothing is near. Hangul is compared letter
// by letter (jamo), so one wrong vowel is one mistake.
func (f *Fields) Nearest(name string) string {
	asked := letters(name)
	f.mu.RLock()
	defer f.mu.RUnlock()
	best, least := "", -1
	for _, n := range f.names {
		known := letters(n.as)
		d := EditDistance(asked, known)
		if d > max(1, max(len(asked), len(known))/3) || d >= min(len(asked), len(known)) {
			continue
		}
		if least < 0 || d < least || d == least && n.as < best {
			best, least = n.as, d
		}
	}
	return best
}

// letters is a folded name in the smallest pieces a person can mistype. It looks
// at no more of a name than a field's name can have.
func letters(name string) []rune {
	r := []rune(norm.NFD.String(foldName(name)))
	return r[:min(len(r), maxFieldName)]
}

// EditDistance counts the insertions, deletions, replacements and swaps of
// neighbours that turn a into b (optimal string alignment).
func EditDistance[T comparable](a, b []T) int {
	before, prev, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, prev, row = prev, row, before
		row[0] = i
		for j := 1; j <= len(b); j++ {
			differ := 1
			if a[i-1] == b[j-1] {
				differ = 0
			}
			row[j] = min(prev[j]+1, row[j-1]+1, prev[j-1]+differ)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return row[len(b)]
}
