package dynamodb

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"postern/directory"
	"postern/mail"
)

// checkpoint is where every segment of a scan stands.
type checkpoint struct {
	Version  int       `json:"v"`
	Segments []segment `json:"segments"`
}

type segment struct {
	After string `json:"after,omitempty"` // Email of LastEvaluatedKey; "" is the start
	Done  bool   `json:"done,omitempty"`
}

const checkpointVersion = 1

func (s *Store) readCheckpoint(from directory.Checkpoint) (checkpoint, error) {
	if len(from) == 0 {
		return checkpoint{checkpointVersion, make([]segment, s.segments)}, nil
	}
	var c checkpoint
	if err := json.Unmarshal(from, &c); err != nil || c.Version != checkpointVersion || len(c.Segments) < 1 || len(c.Segments) > maxSegments {
		return c, &mail.Error{Class: mail.Permanent, Err: err,
			Public: "this checkpoint is not of a DynamoDB directory: was the driver changed while a message was expanding?"}
	}
	return c, nil
}

// Scan fetches one page of each unfinished segment at the same time. What some
// segments gave is kept when others fail, which stay where they stand: a table
// with little capacity may never answer for all of them at once. Only when all
// fail is there an error, the first one.
func (s *Store) Scan(ctx context.Context, from directory.Checkpoint) (directory.Page, error) {
	at, err := s.readCheckpoint(from)
	if err != nil {
		return directory.Page{}, err
	}
	pages := make([][]directory.User, len(at.Segments))
	errs := make([]error, len(at.Segments))
	var wg sync.WaitGroup
	asked := 0
	for i := range at.Segments {
		if !at.Segments[i].Done {
			asked++
			wg.Go(func() { pages[i], errs[i] = s.scanSegment(ctx, &at, i) })
		}
	}
	wg.Wait()
	failed := slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	if len(failed) > 0 && (len(failed) == asked || ctx.Err() != nil) {
		return directory.Page{}, failed[0]
	}
	if len(failed) > 0 {
		s.log.Warn("some segments of a scan failed and are asked again", "table", *s.table, "failed", len(failed), "of", asked, "error", failed[0])
	}
	return at.page(pages)
}

// scanSegment reads a page of segment i and moves its place in the checkpoint.
func (s *Store) scanSegment(ctx context.Context, at *checkpoint, i int) ([]directory.User, error) {
	seg := &at.Segments[i]
	in := &dynamodb.ScanInput{TableName: s.table, ConsistentRead: aws.Bool(true),
		Segment: aws.Int32(int32(i)), TotalSegments: aws.Int32(int32(len(at.Segments)))}
	if seg.After != "" {
		in.ExclusiveStartKey = itemKey(mail.Address(seg.After))
	}
	out, err := s.client.Scan(ctx, in)
	if err != nil {
		return nil, s.explain(ctx, "Scan", err)
	}
	users := make([]directory.User, len(out.Items))
	for k, it := range out.Items {
		if users[k] = readUser(it); users[k].Email == "" {
			return nil, s.foreignKey()
		}
	}
	if len(out.LastEvaluatedKey) == 0 {
		*seg = segment{Done: true}
		return users, nil
	}
	last, ok := out.LastEvaluatedKey[keyName].(*types.AttributeValueMemberS)
	if !ok || len(out.LastEvaluatedKey) != 1 || last.Value == "" {
		return nil, s.foreignKey()
	}
	*seg = segment{After: last.Value}
	return users, nil
}

func (s *Store) foreignKey() error {
	return s.fail(mail.Temporary, nil, "%s cannot be used: its key must be Email, of type S, and nothing else", s)
}

// page joins what the segments gave with where they stand now.
func (c *checkpoint) page(users [][]directory.User) (directory.Page, error) {
	var p directory.Page
	open := false
	for i, us := range users {
		p.Users = append(p.Users, us...)
		open = open || !c.Segments[i].Done
	}
	if !open {
		return p, nil
	}
	next, err := json.Marshal(c)
	if err != nil {
		return directory.Page{}, fmt.Errorf("write the checkpoint of a scan: %w", err)
	}
	p.Next = next
	return p, nil
}
