package templates

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"postern/mail"
)

// The attributes of the table of pictures.
const (
	keyAttr     = "TemplateID"
	purposeAttr = "TemplateName"
	imagesAttr  = "ImageURLs"
)

// row is what the table says of one template.
type row struct {
	there   bool
	purpose string
	images  []entry
}

// entry is one element of ImageURLs.
type entry struct {
	raw string
	url ImageURL
}

// row reads the row of a template; one without a row has neither purpose nor
// pictures.
func (s *SES) row(ctx context.Context, id string) (row, error) {
	if s.config.Table == "" {
		return row{}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	out, err := s.table.GetItem(ctx, &dynamodb.GetItemInput{TableName: &s.config.Table, ConsistentRead: aws.Bool(true), Key: rowKey(id)})
	if err != nil {
		return row{}, s.explainTable(ctx, "GetItem", err)
	}
	if len(out.Item) == 0 {
		return row{}, nil
	}
	return s.readRow(id, out.Item)
}

func rowKey(id string) map[string]types.AttributeValue {
	return map[string]types.AttributeValue{keyAttr: &types.AttributeValueMemberS{Value: id}}
}

// readRow reads closed: what is not as the old system wrote it is an error that
// names row and place, rather than a mail that lacks a picture.
func (s *SES) readRow(id string, item map[string]types.AttributeValue) (row, error) {
	odd := func(format string, a ...any) (row, error) {
		return row{}, broken(id, "its row in the table %s: %s", s.config.Table, fmt.Sprintf(format, a...))
	}
	r := row{there: true}
	switch v := item[purposeAttr].(type) {
	case nil, *types.AttributeValueMemberNULL:
	case *types.AttributeValueMemberS:
		r.purpose = v.Value
	default:
		return odd("%s is %s; make it a text (S)", purposeAttr, kindOf(v))
	}
	switch item[imagesAttr].(type) {
	case nil, *types.AttributeValueMemberNULL: // a template without pictures
		return r, nil
	}
	list, ok := item[imagesAttr].(*types.AttributeValueMemberL)
	if !ok {
		return odd("%s is %s; make it a list (L) of texts, an empty one for no pictures", imagesAttr, kindOf(item[imagesAttr]))
	}
	for i, av := range list.Value {
		text, ok := av.(*types.AttributeValueMemberS)
		if !ok {
			return odd("entry %d of %s is %s; make it a text (S)", i+1, imagesAttr, kindOf(av))
		}
		u, err := ParseImageURL(text.Value)
		if err != nil {
			return odd("entry %d of %s cannot be used: %v", i+1, imagesAttr, err)
		}
		r.images = append(r.images, entry{text.Value, u})
	}
	return r, nil
}

// kindOf names a type of DynamoDB for people.
func kindOf(av types.AttributeValue) string {
	switch av.(type) {
	case nil:
		return "missing"
	case *types.AttributeValueMemberS:
		return "a single text (S)"
	case *types.AttributeValueMemberN:
		return "a number (N)"
	case *types.AttributeValueMemberSS:
		return "a set (SS), which has no order"
	case *types.AttributeValueMemberL:
		return "a list (L)"
	case *types.AttributeValueMemberM:
		return "a map (M)"
	case *types.AttributeValueMemberNULL:
		return "empty (NULL)"
	}
	return "of another type"
}

// purposes fills in what the table says of the templates, a hundred in a call.
func (s *SES) purposes(ctx context.Context, all []Info) error {
	if s.config.Table == "" {
		return nil
	}
	said := map[string]string{}
	for chunk := range slices.Chunk(all, 100) {
		if err := s.purposesOf(ctx, chunk, said); err != nil {
			return err
		}
	}
	for i := range all {
		all[i].Purpose = said[all[i].ID]
	}
	return nil
}

// maxRounds bounds how often DynamoDB may leave keys unprocessed.
const maxRounds = 10

func (s *SES) purposesOf(ctx context.Context, chunk []Info, said map[string]string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	ask := types.KeysAndAttributes{ProjectionExpression: aws.String(keyAttr + ", " + purposeAttr)}
	for _, t := range chunk {
		ask.Keys = append(ask.Keys, rowKey(t.ID))
	}
	for range maxRounds {
		out, err := s.table.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{RequestItems: map[string]types.KeysAndAttributes{s.config.Table: ask}})
		if err != nil {
			return s.explainTable(ctx, "BatchGetItem", err)
		}
		for _, item := range out.Responses[s.config.Table] {
			id, _ := item[keyAttr].(*types.AttributeValueMemberS)
			if purpose, ok := item[purposeAttr].(*types.AttributeValueMemberS); ok && id != nil {
				said[id.Value] = purpose.Value
			}
		}
		if ask.Keys = out.UnprocessedKeys[s.config.Table].Keys; len(ask.Keys) == 0 {
			return nil
		}
	}
	return &mail.Error{Class: mail.Throttled, Public: "the DynamoDB table " + s.config.Table + " keeps leaving reads undone: its capacity is used up for the moment"}
}
