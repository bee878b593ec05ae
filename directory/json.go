package directory

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"

	"postern/mail"
)

// MarshalJSON is the form of `postern users show --json`: one object with the
// attributes as they are stored, "Email", "SubscriptionStatus" as a boolean, and
// "OptOut" when the person has left a list.
func (u User) MarshalJSON() ([]byte, error) {
	m := make(map[string]any, len(u.Attributes)+3)
	maps.Copy(m, u.Attributes)
	m["Email"], m["SubscriptionStatus"] = u.Email, u.Subscribed
	if len(u.OptOut) > 0 {
		m["OptOut"] = u.OptOut
	}
	return json.Marshal(m)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (u *User) UnmarshalJSON(b []byte) error {
	v, err := decodeJSON(b)
	if err != nil {
		return err
	}
	m, ok := v.(map[string]any)
	if !ok {
		return errors.New("a user is a JSON object")
	}
	email, ok := m["Email"].(string)
	if !ok {
		return errors.New("a user has an Email")
	}
	*u = User{Email: mail.Address(email), Subscribed: ReadStatus(m["SubscriptionStatus"])}
	if lists, ok := m["OptOut"].([]any); ok {
		for _, l := range lists {
			if id, ok := l.(string); ok {
				u.OptOut = append(u.OptOut, id)
			}
		}
	}
	maps.DeleteFunc(m, func(name string, _ any) bool { return Reserved(name) })
	u.Attributes = m
	return nil
}

// decodeJSON reads exactly one JSON value; numbers stay as they are written.
func decodeJSON(b []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("not JSON: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("not one JSON value: something follows it")
	}
	return v, nil
}
