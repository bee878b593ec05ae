package dynamodb

import (
	"context"
	"errors"
	"reflect"
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
	"golang.org/x/sync/errgroup"

	"postern/directory"
	"postern/mail"
)

// Put reads the users and writes those that differ, 32 at a time. A throttle or
// a failure inside DynamoDB is tried ten more times, over about 15 s and what
// the SDK itself waits, before the call fails.
func (s *Store) Put(ctx context.Context, users []directory.User) error {
	for i := range users {
		if err := directory.Check(&users[i]); err != nil {
			return err
		}
	}
	for chunk := range slices.Chunk(directory.Fold(users), 10*batchKeys) {
		if err := s.putChunk(ctx, chunk); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) putChunk(ctx context.Context, users []directory.User) error {
	keys := make([]mail.Address, len(users))
	for i := range users {
		keys[i] = users[i].Email
	}
	var found []directory.User
	err := s.patiently(ctx, func() (err error) {
		found, err = s.GetMany(ctx, keys)
		return err
	})
	if err != nil {
		return err
	}
	stored := make(map[mail.Address]*directory.User, len(found))
	for i := range found {
		stored[found[i].Email] = &found[i]
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(writers)
	for i := range users {
		u := &users[i]
		if old := stored[u.Email]; old != nil {
			if u.Attributes = s.forms.Supersede(old.Attributes, u.Attributes); holds(old, u) {
				continue
			}
		}
		g.Go(func() error { return s.putOne(gctx, u) })
	}
	if err := g.Wait(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return err
	}
	return nil
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

// patiently does f again while DynamoDB throttles or fails it, ever more slowly.
func (s *Store) patiently(ctx context.Context, f func() error) error {
	for round := 1; ; round++ {
		err := f()
		if err == nil || !putOff(err) || round > maxRounds {
			return err
		}
		s.log.Debug("waiting for DynamoDB to take a call", "table", *s.table, "round", round)
		if err := pause(ctx, backoff(round)); err != nil {
			return err
		}
	}
}

// Update changes an existing user in one conditional write; in two when lists
// are left and rejoined at once, which one expression cannot say.
func (s *Store) Update(ctx context.Context, key mail.Address, c directory.Change) error {
	if !directory.ValidKey(key) {
		return directory.ErrNotFound
	}
	if err := directory.CheckChange(key, &c); err != nil {
		return err
	}
	if len(c.OptIn) > 0 && len(c.OptOut) > 0 {
		if err := s.Update(ctx, key, directory.Change{OptIn: c.OptIn}); err != nil {
			return err
		}
		c.OptIn = nil
	}
	if s.forms.Writes(c.Attributes) {
		old, err := s.Get(ctx, key)
		if err != nil {
			return err
		}
		c.Attributes = s.forms.Supersede(old.Attributes, c.Attributes)
	}
	e := newExpression()
	e.condition = "attribute_exists(#key)"
	e.names["#key"] = keyName
	if err := e.attributes(c.Attributes); err != nil {
		return err
	}
	if c.Subscribed != nil {
		e.status(*c.Subscribed)
	}
	e.rejoin(c.OptIn)
	e.leave(c.OptOut)
	err := s.send(ctx, key, e)
	var refused *types.ConditionalCheckFailedException
	if errors.As(err, &refused) {
		return directory.ErrNotFound
	}
	return err
}

// send is one UpdateItem. Where OptOut has an odd type, a set can neither be
// added to it nor taken away: it is made a set first.
func (s *Store) send(ctx context.Context, key mail.Address, e *expression) error {
	err := s.updateItem(ctx, key, e)
	var api smithy.APIError
	if e.touchesOptOut() && errors.As(err, &api) && api.ErrorCode() == "ValidationException" {
		mended, mendErr := s.mendOptOut(ctx, key)
		if mendErr != nil {
			return mendErr
		}
		if mended {
			return s.updateItem(ctx, key, e)
		}
	}
	return err
}

func (s *Store) updateItem(ctx context.Context, key mail.Address, e *expression) error {
	_, err := s.client.UpdateItem(ctx, &dynamodb.UpdateItemInput{TableName: s.table, Key: itemKey(key),
		UpdateExpression: e.text(), ConditionExpression: e.conditionText(),
		ExpressionAttributeNames: e.namesOrNil(), ExpressionAttributeValues: e.valuesOrNil()})
	var refused *types.ConditionalCheckFailedException
	if err == nil || errors.As(err, &refused) {
		return err
	}
	return s.explain(ctx, "UpdateItem", err)
}

// mendOptOut makes a set of an OptOut that is none, unless somebody else just did.
func (s *Store) mendOptOut(ctx context.Context, key mail.Address) (bool, error) {
	it, err := s.getItem(ctx, key)
	if errors.Is(err, directory.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	odd, there := it[optOutName]
	if _, set := odd.(*types.AttributeValueMemberSS); set || !there {
		return false, nil
	}
	e := newExpression()
	e.names["#optout"], e.values[":type"] = optOutName, &types.AttributeValueMemberS{Value: "SS"}
	e.condition = "attribute_exists(#optout) AND NOT attribute_type(#optout, :type)"
	if lists := slices.DeleteFunc(readLists(odd), func(id string) bool { return id == "" }); len(lists) > 0 {
		e.values[":set"] = &types.AttributeValueMemberSS{Value: lists}
		e.sets = append(e.sets, "#optout = :set")
	} else {
		e.removes = append(e.removes, "#optout")
	}
	err = s.updateItem(ctx, key, e)
	var moved *types.ConditionalCheckFailedException
	if err != nil && !errors.As(err, &moved) {
		return false, err
	}
	s.log.Info("made a set of an OptOut of another type", "table", *s.table)
	return true, nil
}

// Delete removes users, 32 at a time.
func (s *Store) Delete(ctx context.Context, keys []mail.Address) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(writers)
	for _, key := range keys {
		if !directory.ValidKey(key) {
			continue
		}
		g.Go(func() error {
			return s.patiently(gctx, func() error {
				_, err := s.client.DeleteItem(gctx, &dynamodb.DeleteItemInput{TableName: s.table, Key: itemKey(key)})
				if err != nil {
					return s.explain(gctx, "DeleteItem", err)
				}
				return nil
			})
		})
	}
	if err := g.Wait(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return err
	}
	return nil
}
