package directory

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"postern/mail"
)

const (
	maxRowBytes = 1 << 20 // a longer row is a quote that is never closed
	keptErrors  = 100
)

// RowError says what is wrong with a row.
type RowError struct {
	Row    int // the line on which the row begins; the header is on line 1
	Reason string
}

func (e RowError) Error() string { return fmt.Sprintf("row %d: %s", e.Row, e.Reason) }

func badFile(format string, a ...any) error { return mail.Refuse(0, "", format, a...) }

// utf8Text takes a BOM away and names the encodings that spreadsheets choose.
func utf8Text(r io.Reader) (*bufio.Reader, error) {
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

// csvFile reads a CSV file (RFC 4180) row by row, in bounded memory.
type csvFile struct {
	input    *rowLimit
	csv      *csv.Reader
	layout   layout
	rows     int                  // read, without the header
	readable func([]string) error // says what is wrong with the letters of a row's cells
}

// commas is the layout of a file that must be separated so.
func commas() layout { return layout{separator: ','} }

// newCSV begins with the header.
func newCSV(text io.Reader, l layout) *csvFile {
	f := &csvFile{input: &rowLimit{r: text}, layout: l, readable: notUTF8}
	f.csv = csv.NewReader(f.input)
	f.csv.Comma = l.separator
	f.csv.FieldsPerRecord = -1
	f.csv.ReuseRecord = true
	return f
}

// header comes first; example is one, for those who have none.
func (f *csvFile) header(example string) ([]string, error) {
	header, err := f.csv.Read()
	if errors.Is(err, io.EOF) {
		return nil, badFile("the file is empty: it must begin with a header such as %s", example)
	}
	if err != nil {
		return nil, f.unreadable(err)
	}
	if err := f.readable(header); err != nil {
		return nil, badFile("%v", err)
	}
	return header, nil
}

// next reads a row and the line on which it begins. The error is io.EOF, a
// RowError, with the cells as far as they can be told, or one that ends the reading.
// The cells are good until the next call.
func (f *csvFile) next(columns int) (cells []string, line int, err error) {
	f.input.begin(f.csv.InputOffset())
	cells, err = f.csv.Read()
	f.input.row = 0
	if errors.Is(err, io.EOF) {
		return nil, 0, err
	}
	if err != nil {
		return nil, 0, f.parseError(err)
	}
	f.rows++
	line, _ = f.csv.FieldPos(0)
	line += f.layout.skipped
	if len(cells) != columns {
		return cells, line, RowError{line, fmt.Sprintf("%d columns; the header has %d", len(cells), columns)}
	}
	if err := f.readable(cells); err != nil {
		return cells, line, RowError{line, err.Error()}
	}
	return cells, line, nil
}

// asItStands makes cells of the row that was read last and is no CSV, as well as
// that can be done.
func (f *csvFile) asItStands(columns int) []string {
	row := strings.TrimRight(string(f.input.since(f.csv.InputOffset())), "\r\n")
	if cells := strings.Split(row, string(f.layout.separator)); len(cells) == columns {
		return cells
	}
	r := csv.NewReader(strings.NewReader(row))
	r.Comma, r.FieldsPerRecord, r.LazyQuotes = f.layout.separator, -1, true
	cells, err := r.Read()
	if err != nil {
		return []string{row}
	}
	cells[len(cells)-1] += row[r.InputOffset():]
	return cells
}

// parseError tells a bad row, after which the reader goes on with the next line,
// from a quote that swallowed the rest of the file.
func (f *csvFile) parseError(err error) error {
	var parse *csv.ParseError
	if !errors.As(err, &parse) {
		return f.unreadable(err)
	}
	start, line := parse.StartLine+f.layout.skipped, parse.Line+f.layout.skipped
	if line > start && f.input.ended {
		return badFile("row %d: a quote is opened and not closed again before line %d; mend it and import the file again", start, line)
	}
	f.rows++
	return RowError{start, "a quote (\") stands where CSV allows none: a cell with quotes or commas in it must be within quotes, and its own quotes doubled"}
}

func (f *csvFile) unreadable(err error) error {
	var parse *csv.ParseError
	switch {
	case errors.Is(err, errRowTooLong):
		return badFile("the row after row %d is longer than %d bytes: a quote is opened and not closed, or the file is no CSV", f.rows, maxRowBytes)
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

var errRowTooLong = errors.New("a row is too long")

// rowLimit stops a reader that collects a row without end.
type rowLimit struct {
	r     io.Reader
	row   int   // bytes since the last row was complete
	total int64 // bytes
	ended bool  // the end of the file was seen

	// Where keep is set, what was read from the beginning of the row on.
	keep  bool
	start int64 // of the row
	kept  []byte
}

func (l *rowLimit) Read(p []byte) (int, error) {
	if l.row > maxRowBytes {
		return 0, errRowTooLong
	}
	n, err := l.r.Read(p)
	if l.keep {
		old := l.since(l.total)
		l.kept = append(l.kept[:copy(l.kept, old)], p[:n]...)
	}
	l.row += n
	l.total += int64(n)
	l.ended = l.ended || errors.Is(err, io.EOF)
	return n, err
}

// begin says that a row begins at the offset.
func (l *rowLimit) begin(offset int64) { l.start = offset }

// since is the row, up to the offset.
func (l *rowLimit) since(offset int64) []byte {
	first := l.total - int64(len(l.kept)) // the offset of what is kept
	if l.start < first || offset < l.start {
		return nil
	}
	return l.kept[l.start-first : offset-first]
}
