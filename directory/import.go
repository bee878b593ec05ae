package directory

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	"postern/mail"
)

const (
	importUsers = 5000    // users of one Put
	importBytes = 4 << 20 // of the file, after which a Put comes earlier
)

// ImportOptions says how a file is to be read and what becomes of it. nil and the zero
// value read what an [Export] has written.
type ImportOptions struct {
	Map       map[string]string // attribute to the heading of its column; the attribute may have a kind ("Points:number")
	Omit      []string          // headings of columns that are not read
	Encoding  Encoding          // "" is Auto
	Separator rune              // of the columns; 0: comma, semicolon or tab, whichever the header has most, or what "sep=" says
	Types     map[string]string // fields of the configuration: name to "string", "number", "bool"
	// Resolve finds the field that a heading calls by another of its names; may be nil.
	Resolve func(heading string) (field string, ok bool)

	// Index, where there is one, knows who has left what: an import makes nobody subscribed
	// who has left here, and writes into the Store what they left.
	Index *Index
	// Name is what the Index remembers by how far this import has come, such as the file's
	// name; "": it does not. Resume goes on where the import of that name broke off.
	Name   string
	Resume bool

	DryRun bool // nothing is written, and the result says what would be
	// Progress is called after every few thousand rows, which are then durable; may be nil.
	Progress func(Progress)
	// Reject is called with the header, whose Reason is "", and then with every bad row;
	// may be nil. The cells are of the call alone.
	Reject func(Reject)
}

// Progress is how far an import has come.
type Progress struct {
	Rows   int   // read, without the header
	Stored int   // rows that the Store has
	Bad    int   // rows that were not taken
	Bytes  int64 // read of the file
}

// Reject is a row that is not taken, as far as its cells can be told.
type Reject struct {
	Row    int
	Reason string
	Cells  []string
}

// Some counts addresses, and has a few of them.
type Some struct {
	Count    int            `json:"count"`
	Examples []mail.Address `json:"examples"`
}

const someExamples = 5

func (s *Some) add(addr mail.Address) {
	if s.Count++; len(s.Examples) < someExamples && !slices.Contains(s.Examples, addr) {
		s.Examples = append(s.Examples, addr)
	}
}

// ImportResult is what became of a file.
type ImportResult struct {
	Progress
	Errors    []RowError        // of the first 100 bad rows
	Fields    map[string]string // attribute columns and their types, for Index.Learn
	Encoding  Encoding          // in which the file was read
	Separator rune

	Resumed int  // rows at its front that an earlier import has stored
	Again   Some // rows whose address came before: the later one counts
	Spelt   Some // rows whose address came before in another spelling: they are users of their own
	Left    Some // rows that say subscribed, of people who have left all lists or some: that stays

	// Of a dry run: users that the Store does not have, has otherwise, and has so. Rows
	// whose address came before are in none of them.
	New, Changed, Same int
}

// Import reads a CSV file (RFC 4180) into the store. The header names the columns: Email,
// and any of Name, Gender, CreateTime, SubscriptionStatus, OptOut (list ids between
// spaces) and other attributes; see the package comment. The options say what is
// called otherwise; nil are none.
//
// A bad row is counted, reported and passed over: a wrong number of columns, an
// Email that is no address, a CreateTime that is no number, a SubscriptionStatus
// that is none of true, false, 1, 0, yes, no, Y, N in any case, letters that are
// not of the file's encoding. An empty SubscriptionStatus, or a file without that
// column, leaves existing users as they are; new ones are not subscribed, because
// nobody said that they are.
//
// Of an address twice the later row wins. Importing a file again changes
// nothing, and no import takes back an opt-out. Memory does not grow with the
// file, but for about 16 bytes a row, by which addresses that come again are found.
//
// The error is Permanent when the file cannot be read as CSV with such a header, or is
// not the one whose import is to be gone on with, and otherwise that of the store, the
// index or the reader; what was read before it may be stored, and importing again
// is safe.
func Import(ctx context.Context, r io.Reader, store Store, o *ImportOptions) (ImportResult, error) {
	if o == nil {
		o = &ImportOptions{}
	}
	im, err := newImporter(r, store, o)
	if err != nil {
		return ImportResult{}, err
	}
	err = im.run(ctx)
	im.result.Encoding = im.encoding()
	return im.result, err
}

type importer struct {
	*ImportOptions
	*csvFile
	store   Store
	source  *counter
	text    *textReader
	columns []column
	batch   []User
	flushed int64 // bytes of the text at the last Put
	seen    *seen
	mark    *mark // nil: nothing is remembered
	result  ImportResult
}

func newImporter(r io.Reader, store Store, o *ImportOptions) (*importer, error) {
	im := &importer{ImportOptions: o, store: store, source: &counter{r: r}, seen: newSeen()}
	var err error
	if im.text, err = newText(im.source, o.Encoding); err != nil {
		return nil, err
	}
	text, layout, err := lay(im.text, o.Separator)
	if err != nil {
		return nil, err
	}
	im.csvFile = newCSV(text, layout)
	im.readable, im.input.keep, im.result.Separator = im.wellEncoded, o.Reject != nil, layout.separator
	header, err := im.header(strings.Join(standardColumns(), ","))
	if err != nil {
		return nil, err
	}
	headings, err := o.headings(header)
	if err != nil {
		return nil, badFile("%v", err)
	}
	if im.columns, err = readHeader(headings, o.Types); err != nil {
		return nil, badFile("%v", err)
	}
	im.result.Fields = im.fieldsOfHeader()
	if im.mark, err = o.openMark(im.columns); err != nil {
		return nil, err
	}
	im.reject(1+layout.skipped, "", header)
	return im, nil
}

// encoding is what the file was read as.
func (im *importer) encoding() Encoding {
	if im.text.found == Auto {
		return UTF8 // it is ASCII
	}
	return im.text.found
}

// wellEncoded says what is wrong with letters. What an encoding cannot read has become
// U+FFFD, which UTF-8 alone can mean.
func (im *importer) wellEncoded(cells []string) error {
	e := im.encoding()
	if e == UTF8 {
		if err := notUTF8(cells); err != nil {
			return fmt.Errorf("%w, or import it with --encoding euc-kr", err)
		}
		return nil
	}
	for _, cell := range cells {
		if strings.Contains(cell, "\ufffd") {
			return fmt.Errorf("not %s, in which the file was read: %q", strings.ToUpper(string(e)), clip(cell))
		}
	}
	return nil
}

func (im *importer) fieldsOfHeader() map[string]string {
	fields := map[string]string{}
	typeOf := map[kind]string{kindText: "string", kindNumber: "number", kindBool: "bool"}
	for _, c := range im.columns {
		if t := typeOf[c.kind]; t != "" && !Reserved(c.name) && !c.skip {
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
			return im.end(ctx)
		case errors.As(err, &bad):
			im.refuse(bad)
		case err != nil:
			return errors.Join(err, im.flush(ctx))
		default:
			im.take(u)
		}
		if im.mark.here(im.rows) {
			if err := im.resume(ctx); err != nil {
				return err
			}
		}
		if len(im.batch) >= importUsers || im.input.total-im.flushed >= importBytes {
			if err := im.flush(ctx); err != nil {
				return err
			}
		}
	}
}

func (im *importer) end(ctx context.Context) error {
	if im.mark.behind(im.rows) {
		return im.mark.changed("it has only %d rows", im.rows)
	}
	if err := im.flush(ctx); err != nil || im.DryRun {
		return err
	}
	return im.mark.remove()
}

func (im *importer) refuse(e RowError) {
	im.result.Bad++
	if len(im.result.Errors) < keptErrors {
		im.result.Errors = append(im.result.Errors, e)
	}
}

func (im *importer) reject(row int, reason string, cells []string) {
	if im.Reject == nil {
		return
	}
	cells = slices.Clone(cells)
	if i := slices.IndexFunc(im.columns, func(c column) bool { return c.name == RejectedColumn }); i >= 0 && i < len(cells) {
		cells = slices.Delete(cells, i, i+1) // of an earlier import
	}
	im.Reject(Reject{row, reason, cells})
}

// flush stores the batch, unless it is known to be stored.
func (im *importer) flush(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(im.batch) > 0 {
		if err := im.put(ctx); err != nil {
			return fmt.Errorf("import stopped within the %d rows before row %d: %w", len(im.batch), im.result.Rows+2, err)
		}
	}
	CollectFields(im.result.Fields, im.batch)
	im.result.Stored += len(im.batch)
	im.result.Bytes = im.source.total
	im.flushed = im.input.total
	im.batch = im.batch[:0]
	if im.Progress != nil {
		im.Progress(im.result.Progress)
	}
	return nil
}

// put is the order of events: what people have left is written with the rows, and looked
// at again behind them; the mark comes last.
func (im *importer) put(ctx context.Context) error {
	h, err := im.heed()
	switch {
	case err != nil:
		return err
	case im.mark.behind(im.rows):
		return nil
	case im.DryRun:
		return im.compare(ctx)
	}
	if err := im.store.Put(ctx, im.batch); err != nil {
		return err
	}
	if err := im.settle(ctx, h); err != nil {
		return err
	}
	return im.mark.save(im.rows)
}

// compare says of the batch what Put would do.
func (im *importer) compare(ctx context.Context) error {
	keys := make([]mail.Address, len(im.batch))
	for i := range im.batch {
		keys[i] = im.batch[i].Email
	}
	found, err := im.store.GetMany(ctx, keys)
	if err != nil {
		return err
	}
	stored := make(map[mail.Address]*User, len(found))
	for i := range found {
		stored[found[i].Email] = &found[i]
	}
	for i := range im.batch {
		switch old := stored[im.batch[i].Email]; {
		case old == nil:
			im.result.New++
		case im.batch[i].changes(old):
			im.result.Changed++
		default:
			im.result.Same++
		}
	}
	return nil
}

// changes says whether Put would change the stored user.
func (u *User) changes(old *User) bool {
	lists := Union(old.OptOut, u.OptOut)
	subscribed := u.Subscribed && !slices.Contains(lists, AllLists)
	if len(lists) != len(old.OptOut) || !u.KeepStatus && (old.Subscribed != subscribed || old.Unknown) {
		return true
	}
	for name, v := range u.Attributes {
		if have, there := old.Attributes[name]; v == nil && there || v != nil && !reflect.DeepEqual(have, v) {
			return true
		}
	}
	return false
}

// nextUser reads a row: a user, a RowError, io.EOF, or an error that ends the import.
func (im *importer) nextUser() (User, error) {
	cells, row, err := im.next(len(im.columns))
	im.result.Rows = im.rows
	var u User
	var bad RowError
	if err != nil && !errors.As(err, &bad) {
		return User{}, err
	}
	im.mark.note(cells)
	if err == nil {
		if u, err = im.user(cells); err != nil {
			bad = RowError{row, err.Error()}
		}
	}
	if err != nil {
		if cells == nil && im.Reject != nil {
			cells = im.asItStands(len(im.columns))
		}
		im.reject(bad.Row, bad.Reason, cells)
		return User{}, bad
	}
	return u, nil
}

func (im *importer) user(record []string) (User, error) {
	u := User{KeepStatus: true, Attributes: make(map[string]any, len(record))}
	for i, c := range im.columns {
		if c.skip {
			continue
		}
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

// take puts a user into the batch, unless a dry run has judged the address.
func (im *importer) take(u User) {
	again, otherwise := im.seen.add(u.Email)
	if again {
		im.result.Again.add(u.Email)
	}
	if otherwise {
		im.result.Spelt.add(u.Email)
	}
	if again && im.DryRun {
		im.result.Stored++
		return
	}
	im.mark.last(u.Email)
	im.batch = append(im.batch, u)
}

// counter counts the bytes of the file.
type counter struct {
	r     io.Reader
	total int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.total += int64(n)
	return n, err
}
