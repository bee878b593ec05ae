package directory

import (
	"context"
	"errors"
	"time"

	"postern/mail"
)

// Agreed records a consent that an import or a sync brings, given at a moment.
func (x *Index) Agreed(ctx context.Context, userKey mail.Address, lists []string, at time.Time, ev Evidence) error {
	return errors.ErrUnsupported
}

// Moved says that a person's address has changed.
func (x *Index) Moved(ctx context.Context, from, to mail.Address, ev Evidence) error {
	return errors.ErrUnsupported
}
