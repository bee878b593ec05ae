package main

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"postern/expand"
)

// problems collects what is wrong, in the order of finding; of one key path
// only the first problem, because the next ones follow from it.
type problems struct {
	list []error
	seen map[string]bool
}

func (p *problems) add(path, format string, a ...any) {
	if p.seen[path] {
		return
	}
	if p.seen == nil {
		p.seen = map[string]bool{}
	}
	p.seen[path] = true
	p.list = append(p.list, fmt.Errorf("%s: %w", path, fmt.Errorf(format, a...)))
}

// below says whether anything is wrong in the table at path.
func (p *problems) below(path string) bool {
	for seen := range p.seen {
		if strings.HasPrefix(seen, path+".") || seen == path {
			return true
		}
	}
	return false
}

// join takes over what another package found, which names the key path itself.
func (p *problems) join(err error) {
	if several, ok := err.(interface{ Unwrap() []error }); ok {
		p.list = append(p.list, several.Unwrap()...)
	} else if err != nil {
		p.list = append(p.list, err)
	}
}

func (p *problems) err() error { return errors.Join(p.list...) }

func (p *problems) under(file string) error {
	if err := p.err(); err != nil {
		return fmt.Errorf("%s is not right:\n%w", file, err)
	}
	return nil
}

// decodeTable writes a parsed TOML table over the struct that dst points to.
// The library's own decoder stops at the first value that does not fit and
// names no index of an array; this one goes on and names all.
func decodeTable(raw map[string]any, dst any, found *problems) {
	(&decoder{found: found, root: reflect.TypeOf(dst).Elem()}).structure("", raw, reflect.ValueOf(dst).Elem())
}

type decoder struct {
	found *problems
	root  reflect.Type
}

func (d *decoder) structure(path string, raw map[string]any, dst reflect.Value) {
	fields := map[string]reflect.Value{}
	names := []string{}
	for i := range dst.NumField() {
		name := tomlName(dst.Type().Field(i))
		fields[name] = dst.Field(i)
		names = append(names, name)
	}
	for _, key := range sortedKeys(raw) {
		if field, known := fields[key]; known {
			d.value(join(path, key), raw[key], field)
		} else {
			d.found.add(join(path, key), "unknown key%s", d.advice(path, key, names))
		}
	}
}

func (d *decoder) value(path string, raw any, dst reflect.Value) {
	switch dst.Interface().(type) {
	case time.Duration:
		d.duration(path, raw, dst)
		return
	case netip.Prefix:
		d.prefix(path, raw, dst)
		return
	}
	switch dst.Kind() {
	case reflect.Struct:
		if table, ok := raw.(map[string]any); ok {
			d.structure(path, table, dst)
		} else {
			d.found.add(path, "%s is not a table", show(raw))
		}
	case reflect.Slice:
		d.slice(path, raw, dst)
	case reflect.Map:
		d.mapping(path, raw, dst)
	default:
		d.scalar(path, raw, dst)
	}
}

func (d *decoder) scalar(path string, raw any, dst reflect.Value) {
	switch v := raw.(type) {
	case string:
		if dst.Kind() == reflect.String {
			dst.SetString(v)
			return
		}
	case bool:
		if dst.Kind() == reflect.Bool {
			dst.SetBool(v)
			return
		}
	case int64:
		if dst.CanInt() {
			dst.SetInt(v)
			return
		}
		if dst.CanFloat() {
			dst.SetFloat(float64(v))
			return
		}
	case float64:
		if dst.CanFloat() {
			dst.SetFloat(v)
			return
		}
	}
	shown := show(raw)
	if _, secret := dst.Interface().(Secret); secret {
		shown = "the value"
	}
	d.found.add(path, "%s is not %s", shown, wanted(dst))
}

func (d *decoder) duration(path string, raw any, dst reflect.Value) {
	text, ok := raw.(string)
	v, err := time.ParseDuration(text)
	if !ok || err != nil {
		d.found.add(path, `%s is not a duration such as "90s", "5m" or "720h"`, show(raw))
		return
	}
	dst.SetInt(int64(v))
}

func (d *decoder) prefix(path string, raw any, dst reflect.Value) {
	text, ok := raw.(string)
	v, err := netip.ParsePrefix(text)
	switch ip, bare := netip.ParseAddr(text); {
	case ok && bare == nil:
		d.found.add(path, `%q is one address, not a network: write "%s/%d"`, text, text, ip.BitLen())
	case !ok || err != nil:
		d.found.add(path, `%s is not a network such as "10.0.0.0/8"`, show(raw))
	case v != v.Masked():
		d.found.add(path, `%q names an address inside a network: the network is "%s"`, text, v.Masked())
	default:
		dst.Set(reflect.ValueOf(v))
	}
}

func (d *decoder) slice(path string, raw any, dst reflect.Value) {
	elem := dst.Type().Elem()
	var items []any
	switch v := raw.(type) {
	case []any:
		items = v
	case []map[string]any:
		for _, table := range v {
			items = append(items, table)
		}
	default:
		if elem.Kind() == reflect.Struct && elem != reflect.TypeFor[netip.Prefix]() {
			d.found.add(path, "must be tables, each written [[%s]]", path)
		} else {
			d.found.add(path, "%s is not an array: write [...]", show(raw))
		}
		return
	}
	out := reflect.MakeSlice(dst.Type(), len(items), len(items))
	for i, item := range items {
		setDefaults(out.Index(i))
		d.value(fmt.Sprintf("%s[%d]", path, i), item, out.Index(i))
	}
	dst.Set(out)
}

// mapping replaces the default: who names fields or columns names all of them.
func (d *decoder) mapping(path string, raw any, dst reflect.Value) {
	table, ok := raw.(map[string]any)
	if !ok {
		d.found.add(path, "%s is not a table", show(raw))
		return
	}
	out := reflect.MakeMap(dst.Type())
	for _, key := range sortedKeys(table) {
		elem := reflect.New(dst.Type().Elem()).Elem()
		setDefaults(elem)
		d.value(join(path, key), table[key], elem)
		out.SetMapIndex(reflect.ValueOf(key), elem)
	}
	dst.Set(out)
}

func setDefaults(v reflect.Value) {
	if d, ok := v.Addr().Interface().(interface{ setDefaults() }); ok {
		d.setDefaults()
	}
}

// advice is ", did you mean …?": the nearest key of the same table, else where
// a key of this name belongs.
func (d *decoder) advice(path, key string, names []string) string {
	best, distance := "", 1+len(key)/3
	for _, name := range names {
		if n := expand.EditDistance([]byte(strings.ToLower(key)), []byte(name)); n <= distance {
			best, distance = name, n-1
		}
	}
	if best != "" {
		return fmt.Sprintf(", did you mean %s?", join(path, best))
	}
	var homes []string
	everyKey(d.root, "", func(p string) {
		if strings.HasSuffix(p, "."+key) || p == key {
			homes = append(homes, p)
		}
	})
	if len(homes) > 0 && len(homes) <= 3 {
		return ", did you mean " + strings.Join(homes, " or ") + "?"
	}
	return ""
}

// everyKey calls f with the path of every key of a configuration type, array
// tables without an index.
func everyKey(t reflect.Type, path string, f func(string)) {
	for t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || t == reflect.TypeFor[netip.Prefix]() {
		return
	}
	for i := range t.NumField() {
		p := join(path, tomlName(t.Field(i)))
		f(p)
		everyKey(t.Field(i).Type, p, f)
	}
}

func tomlName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("toml"), ",")
	return name
}

func join(path, key string) string {
	key = toml.Key{key}.String()
	if path == "" {
		return key
	}
	return path + "." + key
}

func show(raw any) string {
	switch v := raw.(type) {
	case string:
		if len(v) > 60 {
			v = strings.ToValidUTF8(v[:60], "") + "…"
		}
		return fmt.Sprintf("%q", v)
	case map[string]any, []map[string]any:
		return "a table"
	case []any:
		return "an array"
	}
	return fmt.Sprint(raw)
}

func wanted(dst reflect.Value) string {
	switch {
	case dst.CanInt():
		return "a whole number"
	case dst.CanFloat():
		return "a number"
	case dst.Kind() == reflect.Bool:
		return "true or false"
	}
	return "a text in quotes"
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
