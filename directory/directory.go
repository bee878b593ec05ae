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
	OptOut     []string     // list ids the person has left, sorted; [AllLists] is every list
	// Attributes holds everything else that is stored (Name, Gender, CreateTime,
	// any other column): string, bool, json.Number, nil, or what JSON makes of
	// sets, lists and maps. SubscriptionStatus, Email and OptOut are not in it.
	Attributes map[string]any
	// KeepStatus is for Put alone and never set by a read: Subscribed is not
	// written. An existing user keeps theirs, a new one is not subscribed.
	KeepStatus bool
	// New is for Put alone and never set by a read: the caller has seen the directory
	// empty, and nobody else writes to it since. Put may then make the user without a look,
	// over whoever is there all the same. Not for what is put again after an error.
	New bool
	// Unknown is set by reads alone: nothing that is understood says whether the person
	// is subscribed, and so Subscribed is false. It is no opt-out.
	Unknown bool
	// Odd is set by reads alone: what of the stored row is not as Postern writes it, a
	// sentence each; nil in most cases.
	Odd []string
}

// AllLists stands for every list, in User.OptOut and in the [Index].
const AllLists = "*"

// Receives says whether the user is subscribed and has not left the list.
func (u *User) Receives(list string) bool {
	if !u.Subscribed {
		return false
	}
	for _, id := range u.OptOut {
		if id == list || id == AllLists {
			return false
		}
	}
	return true
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

// Store is where users are. Both drivers, embedded and dynamodb, behave alike:
// the tests of package directorytest are what they promise. A Store is used from
// many goroutines at once.
//
// Errors are Temporary (mail.ClassOf) unless they say otherwise: a Permanent one
// will not pass by waiting (a user that cannot be stored, a checkpoint of another
// driver); every other class, Throttled and AccountWide among them, may pass
// once the directory is back or an operator has mended the configuration.
type Store interface {
	// Scan reads the page after from: about 1000 users or 1 MB, per segment. The same checkpoint gives the same or a
	// later state of the same stretch of users; a whole scan meets every user
	// that was there throughout, at least once.
	Scan(ctx context.Context, from Checkpoint) (Page, error)
	// Get finds a user by the key as written; ErrNotFound when there is none.
	Get(ctx context.Context, key mail.Address) (User, error)
	// GetMany finds those of keys that exist, in any order.
	GetMany(ctx context.Context, keys []mail.Address) ([]User, error)
	// Put creates users, or changes those with the same key: the attributes that
	// are named are replaced (a nil one is removed), others stay. It never takes
	// back an opt-out: the stored OptOut is the union, and while [AllLists] is in
	// it SubscriptionStatus does not become true. Of the same key twice the later
	// wins. Idempotent; after an error some users may have been stored. A user
	// that fails [Check] is a Permanent error and nothing is stored.
	Put(ctx context.Context, users []User) error
	// Update changes an existing user; ErrNotFound when there is none, never a
	// new user. Idempotent.
	Update(ctx context.Context, key mail.Address, change Change) error
	// Delete removes users, and what only they say: an opt-out that the Index does not
	// have is gone with them. A key that is not there is no error. Idempotent; after an
	// error some may have been removed.
	Delete(ctx context.Context, keys []mail.Address) error
	Close() error
}

// Change is what Update does to a user. Nil fields stay as they are.
type Change struct {
	Subscribed *bool
	OptOut     []string       // list ids to add; one that is in OptIn too is added
	OptIn      []string       // list ids to remove
	Attributes map[string]any // nil value: remove
}
