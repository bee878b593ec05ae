package dynamodb

import (
	"context"
	"errors"
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"

	"postern/directory"
	"postern/mail"
)

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
