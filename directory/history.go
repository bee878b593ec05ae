package directory

import (
	"context"
	"errors"
	"io"

	"postern/mail"
)

// History gives the entries of an address in any spelling, oldest first, and those
// of the addresses that have become it.
func (x *Index) History(addr mail.Address) ([]Entry, error) { return nil, errors.ErrUnsupported }

// LastConsent gives the latest consent to a list, by the time at which it was given.
func (x *Index) LastConsent(addr mail.Address, list string) (Entry, bool, error) {
	return Entry{}, false, errors.ErrUnsupported
}

// LastReminder gives the latest entry of [Index.Reminded].
func (x *Index) LastReminder(addr mail.Address, list string) (Entry, bool, error) {
	return Entry{}, false, errors.ErrUnsupported
}

// Head gives the number and the hash (hexadecimal) of the ledger's last entry.
func (x *Index) Head() (number uint64, hash string, err error) {
	return 0, "", errors.ErrUnsupported
}

// LedgerError is the first entry at which the ledger is not what was written.
type LedgerError struct {
	Number  uint64
	Problem string
}

func (e *LedgerError) Error() string { return e.Problem }

// VerifyLedger reads the ledger; a *LedgerError names the first bad entry.
func (x *Index) VerifyLedger(ctx context.Context, progress func(done, of uint64)) (n uint64, err error) {
	return 0, errors.ErrUnsupported
}

// ExportLedger writes a JSON object a line.
func (x *Index) ExportLedger(ctx context.Context, w io.Writer) error { return errors.ErrUnsupported }
