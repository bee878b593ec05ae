package directory

import (
	"context"
	"errors"
	"time"

	"postern/mail"
)

// Answer is a word of a person who is owed a notice of its result.
type Answer struct {
	Number uint64       // of the ledger's entry
	User   mail.Address // as the directory writes it
	List   string       // "*" for all
	Kind   string       // of the entry: "opt-out", "consent"
	At     time.Time
	How    string
}

// Unanswered gives up to limit words that are owed an answer, oldest first.
func (x *Index) Unanswered(limit int) ([]Answer, error) { return nil, errors.ErrUnsupported }

// Answered records that a notice about these words was accepted for sending;
// ev.At is when, ev.Message the notice's id.
func (x *Index) Answered(ctx context.Context, rows []Answer, ev Evidence) error {
	return errors.ErrUnsupported
}

// AskConfirmation records that a confirmation mail is sent now; ok is false when
// the address was sent one within the last day: send none.
func (x *Index) AskConfirmation(ctx context.Context, userKey mail.Address, list string, ev Evidence) (ok bool, err error) {
	return false, errors.ErrUnsupported
}

// Reminded records that a reminder of a consent was accepted for sending.
func (x *Index) Reminded(ctx context.Context, userKey mail.Address, list string, ev Evidence) error {
	return errors.ErrUnsupported
}
