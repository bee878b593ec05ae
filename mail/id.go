package mail

import (
	"crypto/rand"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"
)

// ID names a message or a submission: a ULID, 26 characters of Crockford's
// base 32, so that IDs sort by the time at which they were given.
type ID string

// NewID returns a fresh ID for something that happens at t (to the millisecond).
func NewID(t time.Time) ID {
	return ID(ulid.MustNew(ulid.Timestamp(t), rand.Reader).String())
}

// FirstID is not above any ID that is given at t or later.
func FirstID(t time.Time) ID {
	var u ulid.ULID
	_ = u.SetTime(ulid.Timestamp(t)) // fails from the year 10889 on
	return ID(u.String())
}

// ParseID reads an ID as a person or a URL gives it; lower case is accepted.
func ParseID(s string) (ID, error) {
	u, err := ulid.ParseStrict(s)
	if err != nil {
		return "", fmt.Errorf("%q is not a message id: an id has 26 letters and digits, as `postern queue list` shows them", s)
	}
	return ID(u.String()), nil
}

// Bytes is the 16-byte form in which IDs are keys on disk. An ID that did not
// come from [NewID] or [ParseID] gives zeros.
func (id ID) Bytes() [16]byte {
	u, _ := ulid.ParseStrict(string(id))
	return u
}

// IDFromBytes is the inverse of [ID.Bytes].
func IDFromBytes(b [16]byte) ID { return ID(ulid.ULID(b).String()) }
