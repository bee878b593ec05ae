package embedded

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	bolt "go.etcd.io/bbolt"

	"postern/directory"
	"postern/directory/internal/boltfile"
	"postern/mail"
)

const (
	format = 1 // of the file

	// A page is bounded by both: users and bytes of rows.
	pageUsers  = 1000
	pageBytes  = 1 << 20
	putUsers   = 2500 // of an import in no order each has a page of its own: 70 MB where 5000 took 110
	checkpoint = 1    // first byte of our checkpoints; the rest is the last key
)

// Store is a directory in one file. It implements [directory.Store].
type Store struct{ db *bolt.DB }

// Open opens or makes the directory in the file at path; its folder must exist.
// Another process that holds the file is waited for 1.5 seconds and then named
// in the error. A file of a newer format is a Permanent error.
func Open(path string) (*Store, error) {
	db, err := boltfile.Open(path, format, "users")
	if err != nil {
		return nil, fmt.Errorf("open the embedded directory: %w", err)
	}
	return &Store{db}, nil
}

// Close closes the file; calls after it fail.
func (s *Store) Close() error { return s.db.Close() }

func users(tx *bolt.Tx) *bolt.Bucket { return tx.Bucket([]byte("users")) }

// Scan reads about 1000 users in the order of their keys. A page is one short
// read transaction.
func (s *Store) Scan(ctx context.Context, from directory.Checkpoint) (directory.Page, error) {
	if len(from) > 0 && from[0] != checkpoint {
		return directory.Page{}, mail.Refuse(0, "", "this checkpoint is not of the embedded directory: was the driver changed while a message was expanding?")
	}
	if err := ctx.Err(); err != nil {
		return directory.Page{}, err
	}
	var page directory.Page
	err := s.db.View(func(tx *bolt.Tx) (err error) {
		page, err = scan(users(tx).Cursor(), from)
		return err
	})
	if err != nil {
		return directory.Page{}, fmt.Errorf("scan the embedded directory: %w", err)
	}
	return page, nil
}

func scan(c *bolt.Cursor, from directory.Checkpoint) (directory.Page, error) {
	k, v := start(c, from)
	var page directory.Page
	var last []byte
	for size := 0; k != nil; k, v = c.Next() {
		if len(page.Users) == pageUsers || size >= pageBytes {
			page.Next = append(directory.Checkpoint{checkpoint}, last...)
			break
		}
		u, err := decode(k, v)
		if err != nil {
			return directory.Page{}, err
		}
		page.Users = append(page.Users, u)
		size += len(k) + len(v)
		last = k
	}
	return page, nil
}

// start stands on the first key after the checkpoint, whether or not the user
// that it names is still there.
func start(c *bolt.Cursor, from directory.Checkpoint) (k, v []byte) {
	if len(from) < 2 {
		return c.First()
	}
	k, v = c.Seek(from[1:])
	if bytes.Equal(k, from[1:]) {
		return c.Next()
	}
	return k, v
}

// Get finds a user by the key as written.
func (s *Store) Get(ctx context.Context, key mail.Address) (directory.User, error) {
	found, err := s.GetMany(ctx, []mail.Address{key})
	if err != nil {
		return directory.User{}, err
	}
	if len(found) == 0 {
		return directory.User{}, directory.ErrNotFound
	}
	return found[0], nil
}

// GetMany finds those of keys that exist, each once, 1000 in a transaction.
func (s *Store) GetMany(ctx context.Context, keys []mail.Address) ([]directory.User, error) {
	keys = slices.Clone(keys)
	slices.Sort(keys)
	var found []directory.User
	for chunk := range slices.Chunk(slices.Compact(keys), pageUsers) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		err := s.db.View(func(tx *bolt.Tx) error {
			for _, key := range chunk {
				u, err := get(users(tx), key)
				if errors.Is(err, directory.ErrNotFound) {
					continue
				}
				if err != nil {
					return err
				}
				found = append(found, u)
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("read from the embedded directory: %w", err)
		}
	}
	return found, nil
}

func get(b *bolt.Bucket, key mail.Address) (directory.User, error) {
	v := b.Get([]byte(key))
	if v == nil {
		return directory.User{}, directory.ErrNotFound
	}
	return decode([]byte(key), v)
}

// Put stores users, thousands in one durable transaction. A call with more than
// 2500 users is several transactions.
func (s *Store) Put(ctx context.Context, us []directory.User) error {
	for i := range us {
		if err := directory.Check(&us[i]); err != nil {
			return err
		}
	}
	us = directory.Fold(us)
	// In key order the pages of the tree are touched one after the other.
	slices.SortFunc(us, func(a, b directory.User) int { return bytes.Compare([]byte(a.Email), []byte(b.Email)) })
	for chunk := range slices.Chunk(us, putUsers) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := s.db.Update(func(tx *bolt.Tx) error { return putAll(users(tx), chunk) }); err != nil {
			return fmt.Errorf("write to the embedded directory: %w", err)
		}
	}
	return nil
}

func putAll(b *bolt.Bucket, us []directory.User) error {
	for _, u := range us {
		old, err := get(b, u.Email)
		if err != nil && !errors.Is(err, directory.ErrNotFound) {
			return err
		}
		if err := write(b, put(old, u)); err != nil {
			return err
		}
	}
	return nil
}

// write leaves a row alone that would not change: its page stays clean.
func write(b *bolt.Bucket, u directory.User) error {
	v, err := encode(u)
	if err != nil || bytes.Equal(v, b.Get([]byte(u.Email))) {
		return err
	}
	return b.Put([]byte(u.Email), v)
}

// Update changes an existing user durably. Calls at the same time share a
// commit.
func (s *Store) Update(ctx context.Context, key mail.Address, change directory.Change) error {
	if !directory.ValidKey(key) {
		return directory.ErrNotFound
	}
	if err := directory.CheckChange(key, &change); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	missing := false
	err := s.db.Batch(func(tx *bolt.Tx) error {
		u, err := get(users(tx), key)
		// Not an error for the transaction, which others share.
		if missing = errors.Is(err, directory.ErrNotFound); missing {
			return nil
		}
		if err != nil {
			return err
		}
		return write(users(tx), update(u, change))
	})
	if err != nil {
		return fmt.Errorf("change %q in the embedded directory: %w", key, err)
	}
	if missing {
		return directory.ErrNotFound
	}
	return nil
}

// Delete removes users, up to 2500 in one durable transaction.
func (s *Store) Delete(ctx context.Context, keys []mail.Address) error {
	for chunk := range slices.Chunk(keys, putUsers) {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := s.db.Update(func(tx *bolt.Tx) error {
			for _, key := range chunk {
				if err := users(tx).Delete([]byte(key)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("remove from the embedded directory: %w", err)
		}
	}
	return nil
}
