package mysqlsync

import (
	"context"
	"time"

	bolt "go.etcd.io/bbolt"
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

// AgeAsides makes all rows that are set aside older.
func AgeAsides(s *State, d time.Duration) error {
	keys, asides, err := walk[aside](s, asideBucket, "", 1000)
	if err != nil {
		return err
	}
	return s.db.Update(func(tx *bolt.Tx) error {
		for i, a := range asides {
			a.Since = a.Since.Add(-d)
			if err := putJSON(tx.Bucket([]byte(asideBucket)), keys[i], a); err != nil {
				return err
			}
		}
		return nil
	})
}
