package directory

import (
	"bufio"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"postern/mail"
)

const (
	importUsers = 5000    // users of one Put
	importBytes = 4 << 20 // of the file, after which a Put comes earlier
	maxRowBytes = 1 << 20 // a longer row is a quote that is never closed
	keptErrors  = 100
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

// RowError says what is wrong with a row.
type RowError struct {
	Row    int // the line on which the row begins; the header is on line 1
	Reason string
}

func (e RowError) Error() string { return fmt.Sprintf("row %d: %s", e.Row, e.Reason) }

// Import reads a CSV file (RFC 4180, UTF-8, with or without a BOM) into the
// store. The header names the columns: Email, and any of Name, Gender,
// CreateTime, SubscriptionStatus, OptOut (list ids between spaces) and other
// attributes; see the package comment for their kinds.
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
	input    *rowLimit
	csv      *csv.Reader
	columns  []column
	batch    []User
	flushed  int64 // bytes of the file at the last Put
	result   ImportResult
}

func newImporter(r io.Reader, store Store, progress func(Progress)) (*importer, error) {
	text, err := utf8Text(r)
	if err != nil {
		return nil, err
	}
	im := &importer{store: store, progress: progress, input: &rowLimit{r: text}}
	im.csv = csv.NewReader(im.input)
	im.csv.FieldsPerRecord = -1
	im.csv.ReuseRecord = true
	header, err := im.csv.Read()
	if errors.Is(err, io.EOF) {
		return nil, badFile("the file is empty: it must begin with a header such as %s", strings.Join(standardColumns(), ","))
	}
	if err != nil {
		return nil, im.unreadable(err)
	}
	if err := notUTF8(header); err != nil {
		return nil, badFile("%v", err)
	}
	if im.columns, err = readHeader(header); err != nil {
		return nil, badFile("%v", err)
	}
	im.result.Fields = im.fieldsOfHeader()
	return im, nil
}

func badFile(format string, a ...any) error { return mail.Refuse(0, "", format, a...) }

// utf8Text takes a BOM away and names the encodings that spreadsheets choose.
func utf8Text(r io.Reader) (io.Reader, error) {
	b := bufio.NewReader(r)
	head, err := b.Peek(3)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read the file: %w", err)
	}
	switch {
	case string(head) == "\ufeff":
		_, err := b.Discard(3)
		return b, err
	case len(head) >= 2 && (string(head[:2]) == "\xff\xfe" || string(head[:2]) == "\xfe\xff"):
		return nil, badFile("the file is UTF-16: save it as \"CSV UTF-8\"")
	}
	return b, nil
}

func (im *importer) fieldsOfHeader() map[string]string {
	fields := map[string]string{}
	types := map[kind]string{kindText: "string", kindNumber: "number", kindBool: "bool"}
	for _, c := range im.columns {
		if t := types[c.kind]; t != "" && !Reserved(c.name) {
			fields[c.name] = t
		}
	}
	return fields
}

func (im *importer) run(ctx context.Context) error {
	for {
		u, err := im.next()
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

// next reads a row: a user, a RowError, io.EOF, or an error that ends the import.
func (im *importer) next() (User, error) {
	record, err := im.csv.Read()
	im.input.row = 0
	if errors.Is(err, io.EOF) {
		return User{}, err
	}
	im.result.Rows++
	if err != nil {
		return User{}, im.parseError(err)
	}
	row, _ := im.csv.FieldPos(0)
	u, err := im.user(record)
	if err != nil {
		return User{}, RowError{row, err.Error()}
	}
	return u, nil
}

// parseError tells a bad row, after which the reader goes on with the next line,
// from a quote that swallowed the rest of the file.
func (im *importer) parseError(err error) error {
	var parse *csv.ParseError
	if !errors.As(err, &parse) {
		return im.unreadable(err)
	}
	if parse.Line > parse.StartLine && im.input.ended {
		return badFile("row %d: a quote is opened and not closed again before line %d; mend it and import the file again", parse.StartLine, parse.Line)
	}
	return RowError{parse.StartLine, "a quote (\") stands where CSV allows none: a cell with quotes or commas in it must be within quotes, and its own quotes doubled"}
}

func (im *importer) unreadable(err error) error {
	var parse *csv.ParseError
	switch {
	case errors.Is(err, errRowTooLong):
		return badFile("the row after row %d is longer than %d bytes: a quote is opened and not closed, or the file is no CSV", im.result.Rows, maxRowBytes)
	case errors.As(err, &parse):
		return badFile("the header cannot be read as CSV: %v", err)
	}
	return fmt.Errorf("read the file: %w", err)
}

func notUTF8(record []string) error {
	for _, cell := range record {
		if !utf8.ValidString(cell) {
			return errors.New("not UTF-8: save the file as \"CSV UTF-8\"")
		}
	}
	return nil
}

func (im *importer) user(record []string) (User, error) {
	if len(record) != len(im.columns) {
		return User{}, fmt.Errorf("%d columns; the header has %d", len(record), len(im.columns))
	}
	if err := notUTF8(record); err != nil {
		return User{}, err
	}
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
	case "OptOut":
		u.OptOut, err = c.readLists(cell)
	default:
		u.Attributes[c.name], err = c.read(cell)
	}
	return err
}

var errRowTooLong = errors.New("a row is too long")

// rowLimit stops a reader that collects a row without end.
type rowLimit struct {
	r     io.Reader
	row   int   // bytes since the last row was complete
	total int64 // bytes
	ended bool  // the end of the file was seen
}

func (l *rowLimit) Read(p []byte) (int, error) {
	if l.row > maxRowBytes {
		return 0, errRowTooLong
	}
	n, err := l.r.Read(p)
	l.row += n
	l.total += int64(n)
	l.ended = l.ended || errors.Is(err, io.EOF)
	return n, err
}
