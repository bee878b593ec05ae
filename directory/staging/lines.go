package staging

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strings"

	"postern/directory"
	"postern/mail"
)

// The attributes with a meaning, as the table has them.
const (
	keyName    = "Email"
	statusName = "SubscriptionStatus"
	optOutName = "OptOut"
)

// line is a user in the form that DynamoDB imports.
type line struct{ Item map[string]value }

// value is an attribute's value, which JSON has under the name of its type.
type value struct{ v any }

// encode gives the object of a chunk and the names of attributes that are empty somewhere.
func encode(users []directory.User) (data []byte, empty string, err error) {
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	out := json.NewEncoder(z)
	out.SetEscapeHTML(false)
	names := map[string]bool{}
	for i := range users {
		u := &users[i]
		if err := directory.Check(u); err != nil {
			return nil, "", err
		}
		for name, v := range u.Attributes {
			if v == nil {
				names[url.QueryEscape(name)] = true
			}
		}
		if err := out.Encode(line{item(u)}); err != nil {
			return nil, "", &mail.Error{Class: mail.Permanent, Err: err, Public: fmt.Sprintf("the user %q cannot be written as JSON", u.Email)}
		}
	}
	if err := z.Close(); err != nil {
		return nil, "", err
	}
	return buf.Bytes(), strings.Join(slices.Sorted(maps.Keys(names)), ","), nil
}

// item is what Put makes of a user who is not there.
func item(u *directory.User) map[string]value {
	it := map[string]value{keyName: {string(u.Email)}}
	for name, v := range u.Attributes {
		if v != nil {
			it[name] = value{v}
		}
	}
	lists := directory.Union(u.OptOut, nil)
	if len(lists) > 0 {
		it[optOutName] = value{set(lists)}
	}
	if !u.KeepStatus {
		it[statusName] = value{u.Subscribed && !slices.Contains(lists, directory.AllLists)}
	}
	return it
}

// set is a set of texts.
type set []string

// MarshalJSON writes {"S": "text"} and the like.
func (v value) MarshalJSON() ([]byte, error) {
	switch v := v.v.(type) {
	case nil:
		return typed("NULL", true)
	case string:
		return typed("S", v)
	case json.Number:
		return typed("N", v.String())
	case bool:
		return typed("BOOL", v)
	case set:
		return typed("SS", v)
	case []any:
		l := make([]value, len(v))
		for i := range v {
			l[i] = value{v[i]}
		}
		return typed("L", l)
	case map[string]any:
		m := make(map[string]value, len(v))
		for name := range v {
			m[name] = value{v[name]}
		}
		return typed("M", m)
	}
	return nil, fmt.Errorf("a %T is no value of DynamoDB", v.v)
}

func typed(name string, v any) ([]byte, error) { return json.Marshal(map[string]any{name: v}) }

// UnmarshalJSON reads what MarshalJSON writes.
func (v *value) UnmarshalJSON(b []byte) error {
	var in map[string]json.RawMessage
	if err := json.Unmarshal(b, &in); err != nil {
		return err
	}
	if len(in) != 1 {
		return fmt.Errorf("a value with %d types", len(in))
	}
	for kind, raw := range in {
		return v.read(kind, raw)
	}
	return nil
}

func (v *value) read(kind string, raw json.RawMessage) error {
	switch kind {
	case "NULL":
		v.v = nil
		return nil
	case "S":
		return as[string](raw, func(s string) { v.v = s })
	case "N":
		return as[string](raw, func(s string) { v.v = json.Number(s) })
	case "BOOL":
		return as[bool](raw, func(b bool) { v.v = b })
	case "SS":
		return as[set](raw, func(s set) { v.v = s })
	case "L":
		return as[[]value](raw, func(in []value) {
			l := make([]any, len(in))
			for i := range in {
				l[i] = in[i].v
			}
			v.v = l
		})
	case "M":
		return as[map[string]value](raw, func(in map[string]value) {
			m := make(map[string]any, len(in))
			for name := range in {
				m[name] = in[name].v
			}
			v.v = m
		})
	}
	return fmt.Errorf("a value of type %q", kind)
}

func as[T any](raw json.RawMessage, take func(T)) error {
	var t T
	err := json.Unmarshal(raw, &t)
	if err == nil {
		take(t)
	}
	return err
}

// decode reads what encode wrote, to its end, where gzip has its checksum.
func decode(data []byte, empty string) ([]directory.User, error) {
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, name := range strings.FieldsFunc(empty, func(r rune) bool { return r == ',' }) {
		if name, err = url.QueryUnescape(name); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	var users []directory.User
	for in := json.NewDecoder(bufio.NewReader(z)); ; {
		var l line
		err := in.Decode(&l)
		if errors.Is(err, io.EOF) {
			return users, nil
		}
		if err != nil {
			return nil, err
		}
		u, err := l.user(names)
		if err != nil {
			return nil, err
		}
		users = append(users, u)
	}
}

// user is the user of a line, in whom the attributes of these names are empty when the line
// has none.
func (l *line) user(empty []string) (directory.User, error) {
	u := directory.User{Attributes: make(map[string]any, len(l.Item)+len(empty)), KeepStatus: true}
	for _, name := range empty {
		u.Attributes[name] = nil
	}
	for name, v := range l.Item {
		ok := true
		switch name {
		case keyName:
			var key string
			key, ok = v.v.(string)
			u.Email = mail.Address(key)
		case statusName:
			u.Subscribed, ok = v.v.(bool)
			u.KeepStatus = false
		case optOutName:
			var lists set
			lists, ok = v.v.(set)
			u.OptOut = lists
		default:
			u.Attributes[name] = v.v
		}
		if !ok {
			return u, fmt.Errorf("%s is a %T", name, v.v)
		}
	}
	return u, directory.Check(&u)
}
