package directory

import (
	"context"
	"errors"

	"postern/mail"
)

// State is what a person gets, by the index and the directory together.
type State struct {
	On        map[string]bool // list id: the person gets its mail, unless the address is suppressed
	All       bool            // the person has left all lists, or is not subscribed at all
	Gone      []string        // what the directory alone says was left, [AllLists] for one who is not subscribed; for Choice.Gone
	Found     bool            // the directory holds the user
	Complaint bool            // suppressed because of a complaint: coming back needs a confirmation by mail
	Directory error           // why the directory could not be asked: then the index alone has answered
}

// State says which of the lists a person gets.
func (x *Index) State(ctx context.Context, store Store, user mail.Address, lists []string) (State, error) {
	return State{}, errors.ErrUnsupported
}
