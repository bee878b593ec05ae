package directory

import (
	"context"
	"encoding/json"
	"errors"

	"postern/mail"
)

// ErrNotFound is returned for a key that the directory does not hold.
var ErrNotFound = errors.New("no such user")

// User is one person in the directory.
type User struct {
	Email      mail.Address // the key, as it is written in the directory
	Subscribed bool         // SubscriptionStatus, read closed: unknown is false
	OptOut     []string     // list ids the person has left, sorted
	// Attributes holds everything else that is stored (Name, Gender, CreateTime,
	// any other column): string, bool, json.Number, nil, or what JSON makes of
	// sets, lists and maps. SubscriptionStatus, Email and OptOut are not in it.
	Attributes map[string]any
}

// Value is an attribute as text for a placeholder; a missing one is "".
// Numbers are written as stored; other kinds than text, number and bool are "".
func (u *User) Value(field string) string {
	switch v := u.Attributes[field].(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	case bool:
		if v {
			return "true"
		}
		return "false"
	}
	return ""
}

// Checkpoint is a driver's own mark of how far a scan has come; nil is the start.
type Checkpoint []byte

// Page is some users of a scan and where it goes on.
type Page struct {
	Users []User     // may be empty although more follow
	Next  Checkpoint // nil: this was the last page
}

// Store is where users are. Both drivers, embedded and dynamodb, behave alike.
// Errors are Temporary (mail.ClassOf) unless they say otherwise.
type Store interface {
	// Scan reads the page after from. The same checkpoint gives the same or a
	// later state of the same stretch of users; a whole scan meets every user
	// that was there throughout, at least once.
	Scan(ctx context.Context, from Checkpoint) (Page, error)
	// Get finds a user by the key as written; ErrNotFound when there is none.
	Get(ctx context.Context, key mail.Address) (User, error)
	// GetMany finds those of keys that exist, in any order.
	GetMany(ctx context.Context, keys []mail.Address) ([]User, error)
	// Put stores users as they are, replacing those with the same key but never
	// taking back an OptOut: the stored set is the union. Idempotent.
	Put(ctx context.Context, users []User) error
	// Update changes attributes of an existing user (nil value: remove);
	// ErrNotFound when there is none, never a new user.
	Update(ctx context.Context, key mail.Address, change Change) error
	Close() error
}

// Change is what Update does to a user. Nil fields stay as they are.
type Change struct {
	Subscribed *bool
	OptOut     []string // list ids to add
	OptIn      []string // list ids to remove
	Attributes map[string]any
}
