package dynamodb

import (
	"context"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"postern/directory"
	"postern/mail"
)

const (
	batchKeys = 100 // of one BatchGetItem
	maxRounds = 10  // without any progress, before a call gives up: about 15 s
)

// Get finds a user by the key as written.
func (s *Store) Get(ctx context.Context, key mail.Address) (directory.User, error) {
	it, err := s.getItem(ctx, key)
	if err != nil {
		return directory.User{}, err
	}
	return readUser(it), nil
}

func (s *Store) getItem(ctx context.Context, key mail.Address) (item, error) {
	if !directory.ValidKey(key) {
		return nil, directory.ErrNotFound
	}
	out, err := s.client.GetItem(ctx, &dynamodb.GetItemInput{TableName: s.table, Key: itemKey(key), ConsistentRead: aws.Bool(true)})
	if err != nil {
		return nil, s.explain(ctx, "GetItem", err)
	}
	if len(out.Item) == 0 {
		return nil, directory.ErrNotFound
	}
	return out.Item, nil
}

// GetMany finds those of keys that exist, each once, 100 in a call.
func (s *Store) GetMany(ctx context.Context, keys []mail.Address) ([]directory.User, error) {
	var users []directory.User
	for chunk := range slices.Chunk(validKeys(keys), batchKeys) {
		ask := make([]map[string]types.AttributeValue, len(chunk))
		for i, key := range chunk {
			ask[i] = itemKey(key)
		}
		if err := s.getBatch(ctx, ask, &users); err != nil {
			return nil, err
		}
	}
	return users, nil
}

// validKeys are those of keys that a user can have, each once, sorted.
func validKeys(keys []mail.Address) []mail.Address {
	keys = slices.Clone(keys)
	slices.Sort(keys)
	return slices.DeleteFunc(slices.Compact(keys), func(k mail.Address) bool { return !directory.ValidKey(k) })
}

// getBatch asks for up to 100 keys, and again for what DynamoDB left unprocessed.
func (s *Store) getBatch(ctx context.Context, ask []map[string]types.AttributeValue, users *[]directory.User) error {
	for idle := 0; len(ask) > 0; {
		out, err := s.client.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{RequestItems: map[string]types.KeysAndAttributes{
			*s.table: {Keys: ask, ConsistentRead: aws.Bool(true)}}})
		if err != nil {
			return s.explain(ctx, "BatchGetItem", err)
		}
		for _, it := range out.Responses[*s.table] {
			*users = append(*users, readUser(it))
		}
		left := out.UnprocessedKeys[*s.table].Keys
		if idle, err = s.putOffAgain(ctx, idle, len(ask), len(left), "reads"); err != nil {
			return err
		}
		ask = left
	}
	return nil
}

// putOffAgain waits before what a batch left unprocessed is asked again, and longer the more
// rounds, idle so far, left everything. It gives the rounds, and an error after too many.
func (s *Store) putOffAgain(ctx context.Context, idle, asked, left int, what string) (int, error) {
	if left < asked {
		idle = 0
	} else if idle++; idle > maxRounds {
		return idle, s.fail(mail.Throttled, nil, "%s keeps leaving %s unprocessed: its capacity is used up for the moment", s, what)
	}
	if left == 0 {
		return idle, nil
	}
	return idle, pause(ctx, backoff(idle+1))
}
