package directory

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	bolt "go.etcd.io/bbolt"

	"postern/directory/internal/boltfile"
	"postern/mail"
)

const (
	// appended fills the pages of a bucket that only grows at its end; bbolt else
	// leaves half of each empty.
	appended = 0.95

	// ledgerPage is how many entries are read in one transaction: a long one would
	// keep the file from using its free pages.
	ledgerPage = 5000
	// migratePage is how many entries of an older file are chained in one.
	migratePage = 20_000
)

// head is the ledger's last entry and the hash of all there are:
//
//	h(0) = 32 zero octets
//	h(n) = SHA-256(h(n-1), n as 8 octets, the row as it is stored)
//
// It stands in metaBucket, so that a ledger that is cut off at its end is found out.
type head struct {
	number uint64
	sum    [sha256.Size]byte
}

const headKey = "ledger_head"

func readHead(tx *bolt.Tx) (h head) {
	if v := bucket(tx, metaBucket).Get([]byte(headKey)); len(v) == 8+len(h.sum) {
		h.number = binary.BigEndian.Uint64(v)
		copy(h.sum[:], v[8:])
	}
	return h
}

// next is the head after one more row.
func (h head) next(row []byte) head { return h.at(h.number+1, row) }

func (h head) at(n uint64, row []byte) head {
	sum := sha256.New()
	sum.Write(h.sum[:])
	sum.Write(number(n))
	sum.Write(row)
	next := head{number: n}
	sum.Sum(next.sum[:0])
	return next
}

// write makes h the head: its hash, and the way to it from the address that the
// entry is about.
func (h head) write(tx *bolt.Tx, addr mail.Address) error {
	n := number(h.number)
	b := bucket(tx, hashesBucket)
	b.FillPercent = appended
	if err := b.Put(n, h.sum[:]); err != nil {
		return err
	}
	if err := bucket(tx, historyBucket).Put(historyKey(addr.Key(), h.number), nil); err != nil {
		return err
	}
	return bucket(tx, metaBucket).Put([]byte(headKey), append(n, h.sum[:]...))
}

// migrate chains the entries of a file of format 1, as they are. It does so in
// pieces; killed between two, the file still has format 1, and the next opening
// goes on where the head stands.
func migrate(db *bolt.DB) error {
	for done := false; !done; {
		err := db.Update(func(tx *bolt.Tx) (err error) {
			if format, err := boltfile.Format(tx); err != nil || format >= indexFormat {
				done = true
				return err
			}
			if done, err = chainSome(tx); err != nil || !done {
				return err
			}
			return boltfile.SetFormat(tx, indexFormat)
		})
		if err != nil {
			return fmt.Errorf("bring the ledger to the form of this postern: %w", err)
		}
	}
	return nil
}

func chainSome(tx *bolt.Tx) (done bool, err error) {
	h := readHead(tx)
	c := bucket(tx, ledgerBucket).Cursor()
	k, v := c.Seek(number(h.number + 1))
	for i := 0; k != nil && i < migratePage; k, v = c.Next() {
		if len(k) != 8 {
			continue // VerifyLedger names it
		}
		e, _ := decodeEntry(tx, k, v) // a damaged row is nobody's, and is chained all the same
		h = h.at(binary.BigEndian.Uint64(k), v)
		if err := h.write(tx, e.Address); err != nil {
			return false, err
		}
		i++
	}
	return k == nil, nil
}

// Head gives the number and the hash (hexadecimal) of the ledger's last entry; 0 and
// zeros for an empty ledger. Whoever writes them down elsewhere can prove later
// that no entry up to it was changed, even by one who rewrote the whole file.
func (x *Index) Head() (number uint64, hash string, err error) {
	err = x.db.View(func(tx *bolt.Tx) error {
		h := readHead(tx)
		number, hash = h.number, hex.EncodeToString(h.sum[:])
		return nil
	})
	return number, hash, err
}

// LedgerError is the first entry at which the ledger is not what was written.
type LedgerError struct {
	Number  uint64
	Problem string
}

func (e *LedgerError) Error() string {
	return fmt.Sprintf("entry %d of the ledger %s: the file was changed by another program or is damaged; compare it with a backup", e.Number, e.Problem)
}

// VerifyLedger reads the whole ledger, in bounded memory and while others write,
// and says how many entries there are. A *LedgerError names the first one that was
// edited, removed, inserted or put elsewhere, or that is missing at the end; or an
// opt-out that nobody has undone and that Blocked does not know any more.
// progress, when not nil, is called now and then.
func (x *Index) VerifyLedger(ctx context.Context, progress func(done, of uint64)) (n uint64, err error) {
	var at head
	for more := true; more; {
		if err := ctx.Err(); err != nil {
			return at.number, err
		}
		var of uint64
		err := x.db.View(func(tx *bolt.Tx) (err error) {
			of = readHead(tx).number
			at, more, err = verifySome(tx, at)
			return err
		})
		if err != nil {
			return at.number, err
		}
		if progress != nil {
			progress(at.number, of)
		}
	}
	err = x.verifyKept(ctx)
	if bad := (*LedgerError)(nil); errors.As(err, &bad) {
		return bad.Number - 1, err
	}
	return at.number, err
}

// verifySome goes on from h, whose entries are good.
func verifySome(tx *bolt.Tx, h head) (now head, more bool, err error) {
	last := readHead(tx)
	c := bucket(tx, ledgerBucket).Cursor()
	k, v := c.First()
	if h.number > 0 {
		c.Seek(number(h.number))
		k, v = c.Next() // and not a Seek, which would pass over what was put between
	}
	for i := 0; h.number < last.number; k, v = c.Next() {
		if i++; i > ledgerPage {
			return h, true, nil
		}
		next := h.at(h.number+1, v)
		if problem := badEntry(tx, next, k, v); problem != "" {
			return h, false, &LedgerError{next.number, problem}
		}
		h = next
	}
	if k != nil {
		n := last.number + 1
		if len(k) == 8 {
			n = binary.BigEndian.Uint64(k)
		}
		return h, false, &LedgerError{n, "was added by somebody else"}
	}
	if h.sum != last.sum {
		return h, false, &LedgerError{h.number, "is not the one that was written last"}
	}
	return h, false, nil
}

// badEntry says what is wrong with the row k, v, which is to be the entry h.
func badEntry(tx *bolt.Tx, h head, k, v []byte) string {
	want := bucket(tx, hashesBucket).Get(number(h.number))
	switch order := bytes.Compare(k, number(h.number)); {
	case k != nil && (order < 0 || len(k) != 8):
		return "has something before it that is no entry"
	case order != 0:
		return "is missing"
	case want == nil:
		return "has no hash"
	case !bytes.Equal(want, h.sum[:]):
		return "is not what was written there"
	}
	row, err := decodeRow[ledgerRow](v)
	if err != nil {
		return "cannot be read (" + err.Error() + ")"
	}
	if bucket(tx, historyBucket).Get(historyKey(row.Address.Key(), h.number)) == nil {
		return "is missing in the history of its address"
	}
	if row.Shown != "" && row.Shown != wordingKey(string(bucket(tx, wordingsBucket).Get([]byte(row.Shown)))) {
		return "has another wording than the person was shown"
	}
	return ""
}

// exported is a line of [Index.ExportLedger].
type exported struct {
	Number  uint64          `json:"number"`
	Hash    string          `json:"hash"`
	Entry   json.RawMessage `json:"entry"`
	Wording string          `json:"wording,omitempty"`
}

// ExportLedger writes the ledger as lines of JSON, one an entry: its number, its
// hash, the entry as it is stored, and what the person was shown. The hash is that
// of the line before (32 octets, zeros for the first), the number (8 octets,
// big-endian), an octet 1 and the text of "entry", by SHA-256: so anybody can
// check the file without this program.
func (x *Index) ExportLedger(ctx context.Context, w io.Writer) error {
	out := json.NewEncoder(w)
	for after, more := uint64(0), true; more; {
		if err := ctx.Err(); err != nil {
			return err
		}
		var lines []exported
		err := x.db.View(func(tx *bolt.Tx) (err error) {
			lines, err = exportSome(tx, after)
			return err
		})
		if err != nil {
			return fmt.Errorf("read the ledger: %w", err)
		}
		for _, l := range lines {
			if err := out.Encode(l); err != nil {
				return fmt.Errorf("write the ledger: %w", err)
			}
			after = l.Number
		}
		more = len(lines) > 0
	}
	return nil
}

func exportSome(tx *bolt.Tx, after uint64) (lines []exported, err error) {
	c := bucket(tx, ledgerBucket).Cursor()
	for k, v := c.Seek(number(after + 1)); k != nil && len(lines) < ledgerPage/10; k, v = c.Next() {
		e, err := decodeEntry(tx, k, v)
		if err != nil {
			return nil, err
		}
		lines = append(lines, exported{e.Number, hex.EncodeToString(bucket(tx, hashesBucket).Get(k)), bytes.Clone(v[1:]), e.Wording})
	}
	return lines, nil
}
