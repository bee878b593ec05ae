package letters

import (
	"time"

	"postern/directory"
)

// Agreed is when a user agreed to get a list's mail, by the ledger, else by their own
// attribute; known is false where neither says it.
func (w *Writer) Agreed(u *directory.User, list string, now time.Time) (at time.Time, known bool, err error) {
	c, known, err := w.consent(u, List{ID: list}, now)
	return c.At, known, err
}
