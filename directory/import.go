package directory

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"postern/mail"
)

const (
	importUsers = 5000    // users of one Put
	importBytes = 4 << 20 // of the file, after which a Put comes earlier
)

// Progress is how far an import has come.
type Progress struct {
	Rows   int   // read, without the header
	Stored int   // users that the Store has
	Bad    int   // rows that were not taken
	Bytes  int64 // read of the file
}

// ImportResult is what became of a file.
type ImportResult struct {
	Progress
	Errors []RowError        // of the first 100 bad rows
	Fields map[string]string // attribute columns and their types, for Index.Learn
}

// Import reads a CSV file (RFC 4180, UTF-8, with or without a BOM) into the
// store. The header names the columns: Email, and any of Name, Gender,
// CreateTime, SubscriptionStatus, OptOut (list ids between spaces) and other
// attributes; see the package comment for their kinds. A column Suppressed is
// passed over.
//
// A bad row is counted, reported and passed over: a wrong number of columns, an
// Email that is no address, a CreateTime that is no number, a SubscriptionStatus
// that is none of true, false, 1, 0 in any case. An empty SubscriptionStatus, or
// a file without that column, leaves existing users as they are; new ones are
// not subscribed, because nobody said that they are.
//
// Of an address twice the later row wins. Importing a file again changes
// nothing, and no import takes back an opt-out. progress, which may be nil, is
// called after every few thousand users. Memory does not grow with the file.
//
// The error is Permanent when the file cannot be read as CSV with such a header,
// and otherwise that of the store or the reader; what was read before it may be
// stored, and importing again is safe.
func Import(ctx context.Context, r io.Reader, store Store, progress func(Progress)) (ImportResult, error) {
	im, err := newImporter(r, store, progress)
	if err != nil {
		return ImportResult{}, err
	}
	err = im.run(ctx)
	return im.result, err
}

type importer struct {
	store    Store
	progress func(Progress)
	*csvFile
	columns []column
	batch   []User
	flushed int64 // bytes of the file at the last Put
	result  ImportResult
}

func newImporter(r io.Reader, store Store, progress func(Progress)) (*importer, error) {
	text, err := utf8Text(r)
	if err != nil {
		return nil, err
	}
	im := &importer{store: store, progress: progress}
	var header []string
	if im.csvFile, header, err = openCSV(text, strings.Join(standardColumns(), ",")); err != nil {
		return nil, err
	}
	if im.columns, err = readHeader(header); err != nil {
		return nil, badFile("%v", err)
	}
	im.result.Fields = im.fieldsOfHeader()
	return im, nil
}

func (im *importer) fieldsOfHeader() map[string]string {
	fields := map[string]string{}
	types := map[kind]string{kindText: "string", kindNumber: "number", kindBool: "bool"}
	for _, c := range im.columns {
		if t := types[c.kind]; t != "" && !Reserved(c.name) && c.name != SuppressedAttribute {
			fields[c.name] = t
		}
	}
	return fields
}

func (im *importer) run(ctx context.Context) error {
	for {
		u, err := im.nextUser()
		var bad RowError
		switch {
		case errors.Is(err, io.EOF):
			return im.flush(ctx)
		case errors.As(err, &bad):
			im.refuse(bad)
		case err != nil:
			return errors.Join(err, im.flush(ctx))
		default:
			im.batch = append(im.batch, u)
		}
		if len(im.batch) >= importUsers || im.input.total-im.flushed >= importBytes {
			if err := im.flush(ctx); err != nil {
				return err
			}
		}
	}
}

func (im *importer) refuse(e RowError) {
	im.result.Bad++
	if len(im.result.Errors) < keptErrors {
		im.result.Errors = append(im.result.Errors, e)
	}
}

// flush stores the batch.
func (im *importer) flush(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(im.batch) > 0 {
		if err := im.store.Put(ctx, im.batch); err != nil {
			return fmt.Errorf("import stopped within the %d rows before row %d: %w", len(im.batch), im.result.Rows+2, err)
		}
	}
	CollectFields(im.result.Fields, im.batch)
	im.result.Stored += len(im.batch)
	im.result.Bytes = im.input.total
	im.flushed = im.input.total
	im.batch = im.batch[:0]
	if im.progress != nil {
		im.progress(im.result.Progress)
	}
	return nil
}

// nextUser reads a row: a user, a RowError, io.EOF, or an error that ends the import.
func (im *importer) nextUser() (User, error) {
	record, row, err := im.next(len(im.columns))
	im.result.Rows = im.rows
	if err != nil {
		return User{}, err
	}
	u, err := im.user(record)
	if err != nil {
		return User{}, RowError{row, err.Error()}
	}
	return u, nil
}

func (im *importer) user(record []string) (User, error) {
	u := User{KeepStatus: true, Attributes: make(map[string]any, len(record))}
	for i, c := range im.columns {
		if err := u.readCell(c, record[i]); err != nil {
			return User{}, err
		}
	}
	if err := checkParts(u.Email, u.OptOut, u.Attributes); err != nil {
		return User{}, err
	}
	return u, nil
}

func (u *User) readCell(c column, cell string) (err error) {
	switch c.name {
	case "Email":
		u.Email, err = mail.ParseAddress(strings.TrimSpace(cell))
	case "SubscriptionStatus":
		if strings.TrimSpace(cell) != "" {
			u.Subscribed, err = readBool(c.name, cell)
			u.KeepStatus = false
		}
	case SuppressedAttribute: // the index knows better than an older export
	case "OptOut":
		u.OptOut, err = c.readLists(cell)
	default:
		u.Attributes[c.name], err = c.read(cell)
	}
	return err
}
