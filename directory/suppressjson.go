package directory

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"postern/mail"
)

// sesList is the member of Amazon's answer to ListSuppressedDestinations that has
// the addresses (SES API v2).
const sesList = "SuppressedDestinationSummaries"

// sesDestination is one of them. LastUpdateTime is a text in what the command
// prints, and a number in the API's own answer.
type sesDestination struct {
	EmailAddress   string
	Reason         string // BOUNCE, COMPLAINT
	LastUpdateTime json.RawMessage
}

// readJSON reads {"SuppressedDestinationSummaries": [...]}, or the array alone, an
// entry at a time.
func (im *suppressionImport) readJSON(ctx context.Context, text io.Reader) error {
	in := &rowLimit{r: text}
	d := json.NewDecoder(in)
	begin, err := d.Token()
	if err != nil {
		return jsonProblem(err)
	}
	if begin == json.Delim('[') {
		return im.readEntries(ctx, d, in)
	}
	found := false
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return jsonProblem(err)
		}
		if name == sesList && !found {
			if begin, err := d.Token(); err != nil || begin != json.Delim('[') {
				return badFile("%s is no array: the file must be what `aws sesv2 list-suppressed-destinations` prints", sesList)
			}
			if err := im.readEntries(ctx, d, in); err != nil {
				return err
			}
			found = true
			continue
		}
		var other any
		if err := d.Decode(&other); err != nil {
			return jsonProblem(err)
		}
		in.row = 0
		if name == "NextToken" && other != nil {
			im.result.Rows++
			im.refuse(RowError{im.result.Rows, "the list goes on: it has a NextToken; let aws print all of it (without --max-items and --no-paginate) and import that"})
		}
	}
	if _, err := d.Token(); err != nil {
		return jsonProblem(err)
	}
	if !found {
		return badFile("the file is JSON without %s: it must be what `aws sesv2 list-suppressed-destinations` prints", sesList)
	}
	return nil
}

func (im *suppressionImport) readEntries(ctx context.Context, d *json.Decoder, in *rowLimit) error {
	for d.More() {
		var entry json.RawMessage
		if err := d.Decode(&entry); err != nil {
			return jsonProblem(err)
		}
		in.row = 0
		s, err := im.destination(entry)
		if err != nil {
			err = RowError{im.result.Rows + 1, err.Error()}
		}
		if err := im.take(ctx, s, err); err != nil {
			return err
		}
	}
	if _, err := d.Token(); err != nil {
		return jsonProblem(err)
	}
	return nil
}

func (im *suppressionImport) destination(entry json.RawMessage) (Suppression, error) {
	var d sesDestination
	if err := json.Unmarshal(entry, &d); err != nil {
		return Suppression{}, errors.New("it is no object with EmailAddress, Reason and LastUpdateTime")
	}
	at := ""
	if len(d.LastUpdateTime) > 0 && string(d.LastUpdateTime) != "null" && json.Unmarshal(d.LastUpdateTime, &at) != nil {
		at = string(d.LastUpdateTime) // a number
	}
	return im.complete(Suppression{Address: mail.Address(d.EmailAddress), Reason: d.Reason}, at)
}

func jsonProblem(err error) error {
	var syntax *json.SyntaxError
	switch {
	case errors.Is(err, errRowTooLong):
		return badFile("an entry is longer than %d bytes: the file is no list of addresses", maxRowBytes)
	case errors.As(err, &syntax):
		return badFile("the file is not JSON after its first %d bytes: %v", syntax.Offset, syntax)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return badFile("the file ends within its JSON: it is not whole")
	}
	return fmt.Errorf("read the file: %w", err)
}
