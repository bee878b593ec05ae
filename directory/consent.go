package directory

import (
	"context"
	"errors"

	"postern/mail"
)

// ErrNotLeft says that nothing shows that the address has left the list.
var ErrNotLeft = errors.New("this address has not left the list")

// ErrLeftAll is returned for a coming back to one list of an address that has
// left all, where nobody has said which others there are ([Index.SetLists]).
var ErrLeftAll = errors.New("this address has left all lists, and coming back to one of them needs the ids of all others")

// Choice is what a person wants, as the preferences page has it.
type Choice struct {
	Join, Leave []string
	All         bool     // leave everything: Join and Leave are not looked at
	Known       []string // ids of all configured lists, for coming back from "*"; those of SetLists count too
	Gone        []string // [State.Gone]: what the directory alone says was left
}

// SetLists tells the ids of all configured lists. Whoever has left all lists and
// comes back to one stays away from the others.
func (x *Index) SetLists(ids []string) {}

// Consent records that the person agrees to get a list's mail.
func (x *Index) Consent(ctx context.Context, userKey mail.Address, list string, ev Evidence) error {
	return errors.ErrUnsupported
}

// Choose makes a person's choice in one commit, with one entry a list that changes.
func (x *Index) Choose(ctx context.Context, userKey mail.Address, c Choice, ev Evidence) (changed []Entry, err error) {
	return nil, errors.ErrUnsupported
}

// Restore undoes an opt-out that a scanner or a mistake has made; ev.Note says why.
func (x *Index) Restore(ctx context.Context, userKey mail.Address, list string, ev Evidence) (Entry, error) {
	return Entry{}, errors.ErrUnsupported
}

// Confirmed is a consent by a confirmation mail's link: it also lifts a complaint's suppression.
func (x *Index) Confirmed(ctx context.Context, userKey mail.Address, list string, ev Evidence) error {
	return errors.ErrUnsupported
}
