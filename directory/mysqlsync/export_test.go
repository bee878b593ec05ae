package mysqlsync

import (
	"context"
	"time"
)

// What fuzzing reaches below the Table.
func ReadNumber(s string) (string, error) { n, err := readNumber(s); return string(n), err }

func ReadMoment(s string, l *time.Location) (time.Time, error) { return readMoment(s, l) }

func ConsentTime(s string, l *time.Location) (time.Time, error) {
	return consentTime(&column{kind: textKind}, []byte(s), l)
}

// RightsOf reads a line of SHOW GRANTS.
func RightsOf(grant string) []string { return rightsOf(grant) }

// Exec runs a statement in a session of the table's.
func Exec(ctx context.Context, t *Table, statement string) error {
	_, err := t.db.ExecContext(ctx, statement)
	return err
}
