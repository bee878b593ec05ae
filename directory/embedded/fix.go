package embedded

import (
	"context"
	"errors"
	"fmt"
	"slices"

	bolt "go.etcd.io/bbolt"

	"postern/directory"
	"postern/mail"
)

// Mend implements [directory.Mender]: it brings attributes to their names and types. All
// else of a row is always as it is written.
func (s *Store) Mend(ctx context.Context, keys []mail.Address, f *directory.Forms, dry bool) (all []directory.Mended, err error) {
	for chunk := range slices.Chunk(keys, putUsers) {
		if err := ctx.Err(); err != nil {
			return all, err
		}
		var some []directory.Mended
		run := s.db.Update
		if dry {
			run = s.db.View
		}
		err := run(func(tx *bolt.Tx) (err error) {
			some, err = mendAll(users(tx), chunk, f, dry)
			return err
		})
		if err != nil {
			return all, fmt.Errorf("mend the embedded directory: %w", err)
		}
		all = append(all, some...)
	}
	return all, nil
}

func mendAll(b *bolt.Bucket, keys []mail.Address, f *directory.Forms, dry bool) (all []directory.Mended, err error) {
	for _, key := range keys {
		u, err := get(b, key)
		if errors.Is(err, directory.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		changes, done := f.Mend(u.Attributes)
		if len(done) == 0 {
			continue
		}
		all = append(all, directory.Mended{Email: key, What: done})
		if dry {
			continue
		}
		if err := write(b, update(u, directory.Change{Attributes: changes})); err != nil {
			return nil, err
		}
	}
	return all, nil
}
