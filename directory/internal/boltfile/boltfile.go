// Package boltfile opens the bbolt files of the directory alike: one process at
// a time, readable by its owner alone, with the version of their format in a
// bucket "meta". A file with a newer version is refused, never read by guess.
package boltfile

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"postern/mail"
)

// wait is how long a file that another process holds is waited for.
const wait = 1500 * time.Millisecond

// Open opens or makes the file at path with its buckets. Every commit is synced
// to the disk. The error's public text names the file without its folder.
func Open(path string, format int, buckets ...string) (*bolt.DB, error) {
	name := filepath.Base(path)
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: wait, FreelistType: bolt.FreelistMapType})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, &mail.Error{Err: err,
			Public: fmt.Sprintf("%s is open in another process: is postern already running on this data_dir?", name)}
	case err != nil:
		return nil, &mail.Error{Err: err,
			Public: fmt.Sprintf("%s cannot be opened; it must be a file that postern made and may read and write", name)}
	}
	// Callers of Batch that share a commit gather for this long at most.
	db.MaxBatchDelay = 2 * time.Millisecond
	if err := db.Update(func(tx *bolt.Tx) error { return prepare(tx, name, format, buckets) }); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

func prepare(tx *bolt.Tx, name string, format int, buckets []string) error {
	meta, err := tx.CreateBucketIfNotExists([]byte("meta"))
	if err != nil {
		return fmt.Errorf("prepare %s: %w", name, err)
	}
	if err := checkFormat(meta, name, format); err != nil {
		return err
	}
	for _, b := range buckets {
		if _, err := tx.CreateBucketIfNotExists([]byte(b)); err != nil {
			return fmt.Errorf("prepare %s: %w", name, err)
		}
	}
	return nil
}

// Format is the version of an open file's format; its owner brings an older one up
// to date and then says so by SetFormat, in the transaction of the last change.
func Format(tx *bolt.Tx) (int, error) {
	v := tx.Bucket([]byte("meta")).Get([]byte("format"))
	found, err := strconv.Atoi(string(v))
	if err != nil {
		return 0, mail.Refuse(0, "", "the file says %q where its format should be: it is damaged", v)
	}
	return found, nil
}

// SetFormat sets the version of the file's format.
func SetFormat(tx *bolt.Tx, format int) error {
	return tx.Bucket([]byte("meta")).Put([]byte("format"), []byte(strconv.Itoa(format)))
}

func checkFormat(meta *bolt.Bucket, name string, format int) error {
	key := []byte("format")
	v := meta.Get(key)
	if v == nil {
		if err := meta.Put(key, []byte(strconv.Itoa(format))); err != nil {
			return fmt.Errorf("prepare %s: %w", name, err)
		}
		return nil
	}
	found, err := strconv.Atoi(string(v))
	if err != nil || found < 1 {
		return mail.Refuse(0, "", "%s says %q where its format should be: it is damaged", name, v)
	}
	if found > format {
		return mail.Refuse(0, "", "%s was written by a newer postern (format %d; this one knows up to %d): start the newer one, or restore a backup", name, found, format)
	}
	return nil
}
