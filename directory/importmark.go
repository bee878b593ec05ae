package directory

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"time"

	bolt "go.etcd.io/bbolt"

	"postern/mail"
)

const (
	markKept = 30 * 24 * time.Hour // after which an import that broke off is forgotten
	markTail = 100                 // users of which the Store must have one
)

// markRow is how far an import has come: so many rows are stored, of a file that begins
// with what Sum says.
type markRow struct {
	Rows int       `json:"rows"`
	Sum  string    `json:"sum"` // SHA-256 of the columns and of the rows' cells, hexadecimal
	At   time.Time `json:"at"`
}

// mark follows an import, so that one that is cut off can be gone on with: the file is
// read from its start, and what is stored already is only compared. A nil mark
// remembers nothing.
type mark struct {
	index *Index
	name  string
	sum   hash.Hash
	row   []byte         // of the sum, to be used again
	from  markRow        // the import that is gone on with; none once it is reached
	tail  []mail.Address // the last users before it
}

// openMark begins the mark that the options ask for.
func (o *ImportOptions) openMark(columns []column) (*mark, error) {
	if o.Index == nil || o.Name == "" || o.DryRun {
		if o.Resume {
			return nil, badFile("this import cannot be gone on with: import the file without --resume")
		}
		return nil, nil
	}
	m := &mark{index: o.Index, name: o.Name, sum: sha256.New()}
	for _, c := range columns {
		m.note([]string{c.name, string(c.kind), fmt.Sprint(c.skip)})
	}
	if !o.Resume {
		return m, nil
	}
	err := o.Index.db.View(func(tx *bolt.Tx) (err error) {
		m.from, err = getJSON[markRow](bucket(tx, importsBucket), []byte(o.Name))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read how far the import of %q has come: %w", o.Name, err)
	}
	if m.from.Rows == 0 {
		return nil, badFile("no import of %q has broken off here: import it without --resume", o.Name)
	}
	return m, nil
}

// note adds the cells of a row, or of a column, to the sum.
func (m *mark) note(cells []string) {
	if m == nil {
		return
	}
	m.row = binary.AppendUvarint(m.row[:0], uint64(len(cells)))
	for _, cell := range cells {
		m.row = append(binary.AppendUvarint(m.row, uint64(len(cell))), cell...)
	}
	m.sum.Write(m.row)
}

func (m *mark) now() string { return hex.EncodeToString(m.sum.Sum(nil)) }

// behind says that these rows are stored already.
func (m *mark) behind(rows int) bool { return m != nil && m.from.Rows > 0 && rows <= m.from.Rows }

// here says that all that are stored already have been read.
func (m *mark) here(rows int) bool { return m != nil && m.from.Rows > 0 && rows == m.from.Rows }

// last remembers who comes before the place at which to go on.
func (m *mark) last(user mail.Address) {
	if m == nil || m.from.Rows == 0 {
		return
	}
	if m.tail = append(m.tail, user); len(m.tail) >= 2*markTail {
		m.tail = append(m.tail[:0], m.tail[len(m.tail)-markTail:]...)
	}
}

func (m *mark) changed(format string, a ...any) error {
	return badFile("%s is not what was imported up to row %d, or other options are given: %s; import it without --resume",
		m.name, m.from.Rows+1, fmt.Sprintf(format, a...))
}

// resume goes on behind what is stored, when that is so.
func (im *importer) resume(ctx context.Context) error {
	m := im.mark
	if m.now() != m.from.Sum {
		return m.changed("what is read now is something else")
	}
	found, err := im.store.GetMany(ctx, m.tail)
	if err != nil {
		return err
	}
	if len(m.tail) > 0 && len(found) == 0 {
		return m.changed("the directory has none of the last users before that row, such as %s", m.tail[0])
	}
	if err := im.flush(ctx); err != nil {
		return err
	}
	im.result.Resumed = m.from.Rows
	m.from, m.tail = markRow{}, nil
	return nil
}

// save remembers that the Store has so many rows.
func (m *mark) save(rows int) error {
	if m == nil {
		return nil
	}
	now := time.Now()
	err := m.index.db.Update(func(tx *bolt.Tx) error {
		b := bucket(tx, importsBucket)
		c := b.Cursor()
		for k, v := c.First(); k != nil; k, v = c.Next() {
			if old, err := decodeRow[markRow](v); err == nil && now.Sub(old.At) > markKept {
				if err := c.Delete(); err != nil {
					return err
				}
			}
		}
		return putJSON(b, []byte(m.name), markRow{Rows: rows, Sum: m.now(), At: now})
	})
	if err != nil {
		return fmt.Errorf("remember how far the import has come: %w", err)
	}
	return nil
}

// remove forgets the import: it has ended.
func (m *mark) remove() error {
	if m == nil {
		return nil
	}
	err := m.index.db.Update(func(tx *bolt.Tx) error { return bucket(tx, importsBucket).Delete([]byte(m.name)) })
	if err != nil {
		return fmt.Errorf("forget how far the import had come: %w", err)
	}
	return nil
}
