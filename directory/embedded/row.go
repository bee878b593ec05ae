package embedded

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"postern/directory"
	"postern/mail"
)

// rowVersion is the first byte of a row; the rest is the row as JSON.
const rowVersion = 1

// row is a user as it is stored; the key is the bucket's.
type row struct {
	Subscribed bool           `json:"s,omitempty"`
	Unknown    bool           `json:"u,omitempty"` // an older postern reads past it: not subscribed
	OptOut     []string       `json:"o,omitempty"` // sorted
	Attributes map[string]any `json:"a,omitempty"`
}

func decode(key, value []byte) (directory.User, error) {
	if len(value) == 0 || value[0] != rowVersion {
		return directory.User{}, mail.Refuse(0, "", "the row of %q in the embedded directory has a form that this postern does not know: it is damaged or was written by a newer one", key)
	}
	var r row
	d := json.NewDecoder(bytes.NewReader(value[1:]))
	d.UseNumber()
	if err := d.Decode(&r); err != nil {
		return directory.User{}, &mail.Error{Class: mail.Permanent, Err: err,
			Public: fmt.Sprintf("the row of %q in the embedded directory is damaged", key)}
	}
	if r.Attributes == nil {
		r.Attributes = map[string]any{}
	}
	return directory.User{Email: mail.Address(key), Subscribed: r.Subscribed, Unknown: r.Unknown, OptOut: r.OptOut, Attributes: r.Attributes}, nil
}

func encode(u directory.User) ([]byte, error) {
	b, err := json.Marshal(row{Subscribed: u.Subscribed, Unknown: u.Unknown, OptOut: u.OptOut, Attributes: u.Attributes})
	if err != nil {
		return nil, fmt.Errorf("encode the row of %q: %w", u.Email, err)
	}
	return append([]byte{rowVersion}, b...), nil
}

// nobody is who Put begins with where there is no user: none has said whether they are
// subscribed.
func nobody() directory.User { return directory.User{Unknown: true} }

// put is what Put makes of an existing user, or of nobody.
func put(old, u directory.User) directory.User {
	set(&old, u.Attributes)
	old.Email = u.Email
	old.OptOut = directory.Union(old.OptOut, u.OptOut)
	if !u.KeepStatus {
		old.Subscribed, old.Unknown = u.Subscribed && !slices.Contains(old.OptOut, directory.AllLists), false
	}
	return old
}

// update is what Update makes of an existing user.
func update(u directory.User, c directory.Change) directory.User {
	set(&u, c.Attributes)
	u.OptOut = slices.DeleteFunc(u.OptOut, func(id string) bool { return slices.Contains(c.OptIn, id) })
	u.OptOut = directory.Union(u.OptOut, c.OptOut)
	if c.Subscribed != nil {
		u.Subscribed, u.Unknown = *c.Subscribed, false
	}
	return u
}

// set writes the named attributes; a nil one is removed.
func set(u *directory.User, attributes map[string]any) {
	if u.Attributes == nil {
		u.Attributes = make(map[string]any, len(attributes))
	}
	maps.Copy(u.Attributes, attributes)
	maps.DeleteFunc(u.Attributes, func(name string, v any) bool {
		_, named := attributes[name]
		return v == nil && named
	})
}
