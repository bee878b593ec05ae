package directory

import (
	"bufio"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"

	"postern/mail"
)

// importSuppressions is how many of a file are in one commit.
const importSuppressions = 5000

// suppressionCells are the columns of an export, in their order, each with its
// text in a suppression. Kind and At are read by rules of their own.
func suppressionCells(s *Suppression) []cell {
	e := &s.Evidence
	return []cell{{"Address", (*string)(&s.Address)}, {"Kind", (*string)(&s.Kind)}, {"Reason", &s.Reason}, {"At", nil}, {"How", &e.How}, {"Remote", &e.Remote},
		{"Message", (*string)(&e.Message)}, {"Copy", &e.Copy}, {"UpstreamID", &e.UpstreamID}, {"EventID", &e.EventID}, {"Status", &e.Status},
		{"Words", &e.Words}, {"User", (*string)(&e.UserKey)}}
}

type cell struct {
	name string
	text *string
}

// ExportSuppressions writes all suppressions as a CSV file that
// [Index.ImportSuppressions] reads back to the same. Memory does not grow with
// the list, which may go on changing meanwhile.
func (x *Index) ExportSuppressions(ctx context.Context, w io.Writer) error {
	out := csv.NewWriter(w)
	var record []string
	for _, c := range suppressionCells(&Suppression{}) {
		record = append(record, c.name)
	}
	err := out.Write(record)
	after := mail.Address("")
	for err == nil {
		var page []Suppression
		if page, err = x.Suppressions(after, exportPage); err != nil || len(page) == 0 {
			break
		}
		for i := range page {
			record = record[:0]
			for _, c := range suppressionCells(&page[i]) {
				if c.text == nil {
					record = append(record, page[i].At.UTC().Format(time.RFC3339Nano))
					continue
				}
				record = append(record, *c.text)
			}
			err = errors.Join(err, out.Write(record))
		}
		after = page[len(page)-1].Address
		err = errors.Join(err, ctx.Err())
	}
	out.Flush()
	if err := errors.Join(err, out.Error()); err != nil {
		return fmt.Errorf("write the export: %w", err)
	}
	return nil
}

const exportPage = 1000

// SuppressionProgress is how far an import has come, in rows of the file.
type SuppressionProgress struct {
	Rows    int // read, without the header
	Added   int // suppressed from now on, or now for a complaint
	Already int // suppressed before
	Lifted  int // not suppressed, because somebody lifted that later than the row's time
	Bad     int // not taken
}

// SuppressionResult is what became of a file.
type SuppressionResult struct {
	SuppressionProgress
	Errors []RowError // of the first 100 bad rows; in JSON a row is an entry, from 1
}

// ImportSuppressions suppresses the addresses of a file: CSV with a header, of
// which the columns Address (or Email, EmailAddress), Reason, Kind and At (or
// LastUpdateTime) and those of an export are read, in any case and order; or what
// `aws sesv2 list-suppressed-destinations` prints. A Reason BOUNCE or COMPLAINT
// without a Kind is Amazon's word for one. A row without At happened now.
//
// A bad row is counted, reported and passed over. Importing a file again changes
// nothing. by says who imports, for the evidence. progress, which may be nil, is
// called after every few thousand rows, which are then durable. Memory does not
// grow with the file. The error is Permanent when the file cannot be read so; what
// was read before it is kept.
func (x *Index) ImportSuppressions(ctx context.Context, r io.Reader, by string, now time.Time, progress func(SuppressionProgress)) (SuppressionResult, error) {
	im := &suppressionImport{index: x, by: by, now: now, progress: progress}
	text, err := utf8Text(r)
	if err != nil {
		return im.result, err
	}
	switch first, err := firstByte(text); {
	case err != nil:
		return im.result, err
	case first == '{' || first == '[':
		err := im.readJSON(ctx, text)
		return im.result, errors.Join(err, im.flush(ctx))
	}
	err = im.readCSV(ctx, text)
	return im.result, errors.Join(err, im.flush(ctx))
}

// firstByte is the first octet that is no white space, unread; 0 at the end.
func firstByte(b *bufio.Reader) (byte, error) {
	for {
		c, err := b.ReadByte()
		switch {
		case errors.Is(err, io.EOF):
			return 0, nil
		case err != nil:
			return 0, fmt.Errorf("read the file: %w", err)
		case strings.IndexByte(" \t\r\n", c) < 0:
			return c, b.UnreadByte()
		}
	}
}

type suppressionImport struct {
	index    *Index
	by       string
	now      time.Time
	progress func(SuppressionProgress)
	batch    []Suppression
	result   SuppressionResult
}

func (im *suppressionImport) readCSV(ctx context.Context, text io.Reader) error {
	file := newCSV(text, commas())
	header, err := file.header("Address,Reason,Kind,At")
	if err != nil {
		return err
	}
	columns, err := suppressionColumns(header)
	if err != nil {
		return badFile("%v", err)
	}
	for {
		cells, line, err := file.next(len(header))
		if errors.Is(err, io.EOF) {
			return nil
		}
		var s Suppression
		if err == nil {
			s, err = im.suppression(cells, columns)
			if err != nil {
				err = RowError{line, err.Error()}
			}
		}
		if err := im.take(ctx, s, err); err != nil {
			return err
		}
	}
}

// suppressionColumns gives each column's place in suppressionCells; -1 is none.
func suppressionColumns(header []string) ([]int, error) {
	other := map[string]string{"email": "address", "emailaddress": "address", "lastupdatetime": "at"}
	places := make([]int, len(header))
	seen := map[int]bool{}
	for i, name := range header {
		name = strings.ToLower(strings.TrimSpace(name))
		if one, ok := other[name]; ok {
			name = one
		}
		places[i] = slices.IndexFunc(suppressionCells(&Suppression{}), func(c cell) bool { return strings.ToLower(c.name) == name })
		if places[i] >= 0 && seen[places[i]] {
			return nil, fmt.Errorf("the header has the column %s twice", suppressionCells(&Suppression{})[places[i]].name)
		}
		seen[places[i]] = true
	}
	if !seen[0] {
		hint := ""
		if len(header) == 1 && strings.ContainsAny(header[0], ";\t") {
			hint = "; it must be separated by commas"
		}
		return nil, fmt.Errorf("the first row must be a header with a column Address (or Email), such as Address,Reason,Kind,At%s", hint)
	}
	return places, nil
}

func (im *suppressionImport) suppression(cells []string, columns []int) (s Suppression, err error) {
	places := suppressionCells(&s)
	at := ""
	for i, k := range columns {
		switch {
		case k < 0:
		case places[k].text == nil:
			at = strings.TrimSpace(cells[i])
		default:
			*places[k].text = strings.Clone(strings.TrimSpace(cells[i])) // a row's cells are one string
		}
	}
	return im.complete(s, at)
}

// complete reads what has rules of its own, and fills in what a file does not say.
func (im *suppressionImport) complete(s Suppression, at string) (_ Suppression, err error) {
	if s.Address, err = mail.ParseAddress(string(s.Address)); err != nil {
		return s, err
	}
	if s.Kind = Kind(strings.ToLower(string(s.Kind))); s.Kind == "" {
		s.Kind = KindImport
		switch strings.ToUpper(s.Reason) {
		case "BOUNCE":
			s.Kind, s.Reason = KindBounce, "bounced, says an imported list"
		case "COMPLAINT":
			s.Kind, s.Reason = KindComplaint, "called a mail spam, says an imported list"
		case "":
			s.Reason = "imported"
		}
	}
	if !slices.Contains(Kinds(), s.Kind) {
		return s, fmt.Errorf("the Kind is %q; it must be bounce, soft-bounces, complaint, manual, import or empty", clip(string(s.Kind)))
	}
	if s.At = im.now; at != "" {
		if s.At, err = readMoment(at); err != nil {
			return s, err
		}
	}
	if s.At.Year() < 1970 || s.At.After(im.now.Add(24*time.Hour)) {
		return s, fmt.Errorf("the time At is %q, which is not in the past", clip(at))
	}
	if s.Evidence.How == "" {
		s.Evidence.How = "import by " + im.by
	}
	return s.check()
}

// readMoment reads a time in one of the forms that files have; without a zone it
// is UTC, a number is seconds since 1970.
func readMoment(s string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05Z0700", "2006-01-02 15:04:05Z07:00", "2006-01-02T15:04:05", time.DateTime, "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), nil
		}
	}
	if n, err := strconv.ParseFloat(s, 64); err == nil && n >= 0 && n < 1<<40 {
		whole, part := math.Modf(n)
		return time.Unix(int64(whole), int64(part*1e9)).UTC(), nil
	}
	return time.Time{}, fmt.Errorf("the time At is %q; it must be such as 2026-11-26 or 2026-11-26T09:30:00Z, or empty", clip(s))
}

// take puts a row into the batch, or counts it as bad; any other error ends the import.
func (im *suppressionImport) take(ctx context.Context, s Suppression, err error) error {
	var bad RowError
	switch {
	case errors.As(err, &bad):
		im.result.Rows++
		im.refuse(bad)
	case err != nil:
		return err
	default:
		im.result.Rows++
		im.batch = append(im.batch, s)
	}
	if im.result.Rows%importSuppressions == 0 {
		return im.flush(ctx)
	}
	return nil
}

func (im *suppressionImport) refuse(e RowError) {
	im.result.Bad++
	if len(im.result.Errors) < keptErrors {
		im.result.Errors = append(im.result.Errors, e)
	}
}

// flush makes the batch durable.
func (im *suppressionImport) flush(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var n [outdated + 1]int
	if len(im.batch) > 0 {
		err := im.index.db.Update(func(tx *bolt.Tx) error {
			for _, s := range im.batch {
				v, err := suppress(tx, s)
				if err != nil {
					return fmt.Errorf("suppress %q: %w", s.Address, err)
				}
				n[v]++
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("the import stopped within the %d rows before row %d: %w", len(im.batch), im.result.Rows+2, err)
		}
		im.index.wake()
	}
	im.result.Added += n[added]
	im.result.Already += n[kept]
	im.result.Lifted += n[outdated]
	im.batch = im.batch[:0]
	if im.progress != nil {
		im.progress(im.result.SuppressionProgress)
	}
	return nil
}
