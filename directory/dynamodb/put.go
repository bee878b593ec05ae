package dynamodb

import (
	"context"
	"errors"
	"reflect"
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"golang.org/x/sync/errgroup"

	"postern/directory"
	"postern/mail"
)

// sampleOf is which share of users that are said to be new is looked up: one of so many.
const sampleOf = 10

// Put looks the users up, writes those that are not there whole, 25 in a call, and of
// the others what differs, each by a call of its own. A throttle or a failure inside
// DynamoDB is tried ten more times, over about 15 s and what the SDK itself waits,
// before the call fails.
func (s *Store) Put(ctx context.Context, users []directory.User) error {
	for i := range users {
		if err := directory.Check(&users[i]); err != nil {
			return err
		}
	}
	updates, updatesCtx := errgroup.WithContext(ctx)
	updates.SetLimit(writers)
	chunks, chunksCtx := errgroup.WithContext(updatesCtx) // ends when an update fails
	chunks.SetLimit(batchers)
	for chunk := range slices.Chunk(directory.Fold(users), batchKeys) {
		chunks.Go(func() error {
			stored, err := s.look(chunksCtx, chunk)
			if err != nil {
				return err
			}
			var fresh []*directory.User
			for i := range chunk {
				u := &chunk[i]
				old := stored[u.Email]
				if old == nil {
					fresh = append(fresh, u)
					continue
				}
				if u.Attributes = s.forms.Supersede(old.Attributes, u.Attributes); !holds(old, u) {
					updates.Go(func() error { return s.putOne(updatesCtx, u) })
				}
			}
			return s.create(chunksCtx, fresh)
		})
	}
	chunkErr := chunks.Wait()
	err := updates.Wait()
	if err == nil {
		err = chunkErr
	}
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// look finds those of users that are stored. Where all are said to be new it asks for a
// tenth, and for all only when one of them is there.
func (s *Store) look(ctx context.Context, users []directory.User) (map[mail.Address]*directory.User, error) {
	var keys, sample []mail.Address
	said := true // that they are new
	for i := range users {
		keys = append(keys, users[i].Email)
		if i%sampleOf == 0 {
			sample = append(sample, users[i].Email)
		}
		said = said && users[i].New
	}
	if said {
		if found, err := s.find(ctx, sample); err != nil || len(found) == 0 {
			return nil, err
		}
		s.log.Warn("users that were said to be new are there: all are looked up", "table", *s.table)
	}
	return s.find(ctx, keys)
}

func (s *Store) find(ctx context.Context, keys []mail.Address) (map[mail.Address]*directory.User, error) {
	var found []directory.User
	err := s.patiently(ctx, func() (err error) {
		found, err = s.GetMany(ctx, keys)
		return err
	})
	stored := make(map[mail.Address]*directory.User, len(found))
	for i := range found {
		stored[found[i].Email] = &found[i]
	}
	return stored, err
}

// holds says whether the stored user is already what Put would make of it.
func holds(old, u *directory.User) bool {
	if !u.KeepStatus && (old.Subscribed != u.Subscribed || old.Unknown) {
		return false
	}
	for _, id := range u.OptOut {
		if !slices.Contains(old.OptOut, id) {
			return false
		}
	}
	for name, v := range u.Attributes {
		have, there := old.Attributes[name]
		if v == nil && there || v != nil && !reflect.DeepEqual(have, v) {
			return false
		}
	}
	return true
}

// putOne writes one user. True is only written where nobody has left all lists:
// that is a condition of the write, because the person may leave at any moment.
func (s *Store) putOne(ctx context.Context, u *directory.User) error {
	write := func(status *bool) error {
		e := newExpression()
		if err := e.attributes(u.Attributes); err != nil {
			return err
		}
		if status != nil {
			e.status(*status)
		}
		if status != nil && *status {
			e.condition = "NOT contains(#optout, :all)"
			e.names["#optout"] = optOutName
			e.values[":all"] = &types.AttributeValueMemberS{Value: directory.AllLists}
		}
		e.leave(u.OptOut)
		return s.send(ctx, u.Email, e)
	}
	status := &u.Subscribed
	if u.KeepStatus {
		status = nil
	} else if slices.Contains(u.OptOut, directory.AllLists) {
		status = new(bool)
	}
	return s.patiently(ctx, func() error {
		err := write(status)
		var refused *types.ConditionalCheckFailedException
		if errors.As(err, &refused) {
			status = new(bool)
			return write(status)
		}
		return err
	})
}
