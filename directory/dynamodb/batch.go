package dynamodb

import (
	"context"
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"golang.org/x/sync/errgroup"

	"postern/directory"
	"postern/mail"
)

const (
	batchWrites = 25 // of one BatchWriteItem
	// A BatchWriteItem may have 16 MB as it is sent, and an octet may take six there.
	batchBytes = 2 << 20
	batchers   = 8 // BatchGetItems and BatchWriteItems at the same time in one call
)

// create writes users that are not there, whole.
func (s *Store) create(ctx context.Context, users []*directory.User) error {
	var batch []types.WriteRequest
	size := 0
	for _, u := range users {
		it, err := newItem(u)
		if err != nil {
			return err
		}
		n := itemBytes(it)
		if len(batch) == batchWrites || len(batch) > 0 && size+n > batchBytes {
			if err := s.writeBatch(ctx, batch); err != nil {
				return err
			}
			batch, size = nil, 0
		}
		batch = append(batch, types.WriteRequest{PutRequest: &types.PutRequest{Item: it}})
		size += n
	}
	return s.writeBatch(ctx, batch)
}

// newItem is what Put makes of a user who is not there. Where nobody says whether they are
// subscribed there is no SubscriptionStatus, which reads as unknown.
func newItem(u *directory.User) (item, error) {
	it := itemKey(u.Email)
	for name, v := range u.Attributes {
		if v == nil {
			continue
		}
		av, err := writeAttribute(name, v)
		if err != nil {
			return nil, err
		}
		it[name] = av
	}
	if lists := directory.Union(u.OptOut, nil); len(lists) > 0 {
		it[optOutName] = &types.AttributeValueMemberSS{Value: lists}
	}
	if !u.KeepStatus {
		it[statusName] = &types.AttributeValueMemberBOOL{Value: u.Subscribed && !slices.Contains(u.OptOut, directory.AllLists)}
	}
	return it, nil
}

// itemBytes is about the size of an item.
func itemBytes(it item) int {
	n := 0
	for name, av := range it {
		n += len(name) + valueBytes(av)
	}
	return n
}

func valueBytes(av types.AttributeValue) int {
	const least = 8 // what names the type
	n := least
	switch v := av.(type) {
	case *types.AttributeValueMemberS:
		n += len(v.Value)
	case *types.AttributeValueMemberN:
		n += len(v.Value)
	case *types.AttributeValueMemberSS:
		for _, s := range v.Value {
			n += least + len(s)
		}
	case *types.AttributeValueMemberL:
		for _, av := range v.Value {
			n += valueBytes(av)
		}
	case *types.AttributeValueMemberM:
		n += itemBytes(v.Value)
	}
	return n
}

// Delete removes users, 25 in a call and 8 calls at a time, as patiently as Put.
func (s *Store) Delete(ctx context.Context, keys []mail.Address) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(batchers)
	for chunk := range slices.Chunk(validKeys(keys), batchWrites) {
		g.Go(func() error {
			batch := make([]types.WriteRequest, len(chunk))
			for i, key := range chunk {
				batch[i] = types.WriteRequest{DeleteRequest: &types.DeleteRequest{Key: itemKey(key)}}
			}
			return s.writeBatch(gctx, batch)
		})
	}
	err := g.Wait()
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// writeBatch sends a BatchWriteItem, and again what DynamoDB left unprocessed.
func (s *Store) writeBatch(ctx context.Context, batch []types.WriteRequest) error {
	for idle := 0; len(batch) > 0; {
		var left []types.WriteRequest
		err := s.patiently(ctx, func() error {
			out, err := s.client.BatchWriteItem(ctx, &dynamodb.BatchWriteItemInput{RequestItems: map[string][]types.WriteRequest{*s.table: batch}})
			if err != nil {
				return s.explain(ctx, "BatchWriteItem", err)
			}
			left = out.UnprocessedItems[*s.table]
			return nil
		})
		if err != nil {
			return err
		}
		if idle, err = s.putOffAgain(ctx, idle, len(batch), len(left), "writes"); err != nil {
			return err
		}
		batch = left
	}
	return nil
}
