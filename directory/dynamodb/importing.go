package dynamodb

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"

	"postern/mail"
)

// Import makes the table of gzipped DynamoDB JSON, all that the bucket has below prefix and
// that was last written at the time staged, and returns when the table is ready; false when
// there is a table already. Called again, also by another process, it waits for the import
// that is under way. progress is told how many items have been looked at.
//
// An import that fails, or leaves items out, is an error. The table may be there all the
// same: then the next call gives false, and what is missing can be Put.
//
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/S3DataImport.HowItWorks.html
func (s *Store) Import(ctx context.Context, bucket, prefix string, staged time.Time, progress func(items int64)) (bool, error) {
	table, err := s.describe(ctx)
	if err != nil {
		return false, err
	}
	if table == nil {
		arn, err := s.startImport(ctx, bucket, prefix)
		if err != nil {
			return false, err
		}
		return s.awaitImport(ctx, arn, progress)
	}
	of := source{table: aws.ToString(table.TableArn), bucket: bucket, prefix: prefix, staged: staged}
	switch table.TableStatus {
	case types.TableStatusCreating:
		arn, err := s.findImport(ctx, of, types.ImportStatusInProgress)
		if err == nil && arn == "" {
			err = s.fail(mail.Temporary, nil, "%s is being made by somebody else: the users can come when it is ready", s)
		}
		if err != nil {
			return false, err
		}
		return s.awaitImport(ctx, arn, progress)
	case types.TableStatusDeleting:
		return false, s.fail(mail.Temporary, nil, "%s is being deleted: the users can come when that is done", s)
	}
	return s.wasImported(ctx, of, progress)
}

// Missing says that there is no table, and Import would make it or is making it. Where
// imports are not known, as in emulators, it is false.
func (s *Store) Missing(ctx context.Context) (bool, error) {
	table, err := s.describe(ctx)
	if err != nil || table != nil && table.TableStatus != types.TableStatusCreating {
		return false, err
	}
	in := &dynamodb.ListImportsInput{}
	if table != nil {
		in.TableArn = table.TableArn
	}
	out, err := s.client.ListImports(ctx, in)
	var api smithy.APIError
	if errors.As(err, &api) && isUnknown(api) {
		return false, nil
	}
	if err != nil {
		return false, s.explainImport(ctx, "ListImports", err)
	}
	return table == nil || len(out.ImportSummaryList) > 0, nil
}

// source is which import is meant.
type source struct {
	table, bucket, prefix string
	staged                time.Time // it began later
}

// describe gives the table; nil when there is none.
func (s *Store) describe(ctx context.Context) (*types.TableDescription, error) {
	out, err := s.client.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: s.table})
	var missing *types.ResourceNotFoundException
	if errors.As(err, &missing) {
		return nil, nil
	}
	if err != nil {
		return nil, s.explainImport(ctx, "DescribeTable", err)
	}
	return out.Table, nil
}

func (s *Store) startImport(ctx context.Context, bucket, prefix string) (arn string, err error) {
	// The SDK adds a token, so that its own retries are one import.
	out, err := s.client.ImportTable(ctx, &dynamodb.ImportTableInput{
		S3BucketSource: &types.S3BucketSource{S3Bucket: &bucket, S3KeyPrefix: &prefix},
		InputFormat:    types.InputFormatDynamodbJson, InputCompressionType: types.InputCompressionTypeGzip,
		TableCreationParameters: &types.TableCreationParameters{TableName: s.table, BillingMode: types.BillingModePayPerRequest,
			AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String(keyName), AttributeType: types.ScalarAttributeTypeS}},
			KeySchema:            []types.KeySchemaElement{{AttributeName: aws.String(keyName), KeyType: types.KeyTypeHash}}},
	})
	if err != nil {
		return "", s.explainImport(ctx, "ImportTable", err)
	}
	s.log.Info("DynamoDB imports the table", "table", *s.table, "bucket", bucket, "prefix", prefix, "import", aws.ToString(out.ImportTableDescription.ImportArn))
	return aws.ToString(out.ImportTableDescription.ImportArn), nil
}

// findImport gives the ARN of the import of what is meant, when it has that status; "" when
// there is none.
func (s *Store) findImport(ctx context.Context, of source, status types.ImportStatus) (string, error) {
	in := &dynamodb.ListImportsInput{TableArn: &of.table}
	for {
		out, err := s.client.ListImports(ctx, in)
		if err != nil {
			return "", s.explainImport(ctx, "ListImports", err)
		}
		for _, i := range out.ImportSummaryList {
			from := i.S3BucketSource
			if i.ImportStatus == status && from != nil && aws.ToString(from.S3Bucket) == of.bucket && aws.ToString(from.S3KeyPrefix) == of.prefix &&
				!aws.ToTime(i.StartTime).Before(of.staged.Truncate(time.Second)) {
				return aws.ToString(i.ImportArn), nil
			}
		}
		if in.NextToken = out.NextToken; in.NextToken == nil {
			return "", nil
		}
	}
}

// wasImported says whether a table that is ready was made of what is meant, and of all of it:
// an import may have ended while nobody waited. Who may not ask has not imported.
func (s *Store) wasImported(ctx context.Context, of source, progress func(items int64)) (bool, error) {
	arn, err := s.findImport(ctx, of, types.ImportStatusCompleted)
	var api smithy.APIError
	if errors.As(err, &api) && (isDenied(api) || isUnknown(api)) {
		return false, nil
	}
	if err != nil || arn == "" {
		return false, err
	}
	i, err := s.describeImport(ctx, arn)
	if err != nil {
		return false, err
	}
	progress(i.ImportedItemCount)
	return i.ErrorCount == 0, nil
}

func (s *Store) describeImport(ctx context.Context, arn string) (i *types.ImportTableDescription, err error) {
	err = s.patiently(ctx, func() error {
		out, err := s.client.DescribeImport(ctx, &dynamodb.DescribeImportInput{ImportArn: &arn})
		if err != nil {
			return s.explainImport(ctx, "DescribeImport", err)
		}
		i = out.ImportTableDescription
		return nil
	})
	return i, err
}

// awaitImport asks every few seconds until the import ends; true when it ended well.
func (s *Store) awaitImport(ctx context.Context, arn string, progress func(items int64)) (bool, error) {
	for {
		i, err := s.describeImport(ctx, arn)
		if err != nil {
			return false, err
		}
		progress(max(i.ImportedItemCount, i.ProcessedItemCount))
		switch i.ImportStatus {
		case types.ImportStatusCompleted:
			if i.ErrorCount > 0 {
				return false, s.fail(mail.Temporary, nil, "the import of %s left out %d of %d users; why is in CloudWatch (%s), and the next pass writes who is missing",
					s, i.ErrorCount, i.ProcessedItemCount, cmp.Or(aws.ToString(i.CloudWatchLogGroupArn), "/aws-dynamodb/imports"))
			}
			return true, nil
		case types.ImportStatusFailed, types.ImportStatusCancelled:
			return false, s.fail(mail.Temporary, nil, "the import of %s ended as %s (%s): %s; when that is mended the next pass tries again", s, i.ImportStatus,
				cmp.Or(aws.ToString(i.FailureCode), "no code"), strings.TrimRight(cmp.Or(aws.ToString(i.FailureMessage), "no reason was given"), ". "))
		}
		if err := pause(ctx, s.poll); err != nil {
			return false, err
		}
	}
}

// explainImport is explain for the calls about imports.
func (s *Store) explainImport(ctx context.Context, doing string, err error) error {
	var api smithy.APIError
	if ctx.Err() != nil || !errors.As(err, &api) {
		return s.explain(ctx, doing, err)
	}
	switch {
	case isDenied(api):
		return s.fail(mail.AccountWide, err, "AWS denies us %s on %s: for an import the role needs dynamodb:DescribeTable, ImportTable, DescribeImport and ListImports, "+
			"s3:GetObject and ListBucket, and logs:CreateLogGroup, CreateLogStream, DescribeLogGroups, DescribeLogStreams, PutLogEvents and PutRetentionPolicy; "+
			"or make the table yourself, with the key Email of type S", doing, s)
	case isUnknown(api):
		return s.fail(mail.Temporary, err, "%s does not exist, and this DynamoDB does not know %s: make the table, with the key Email of type S", s, doing)
	case api.ErrorCode() == "ValidationException":
		return s.fail(mail.Temporary, err, "DynamoDB refuses %s for %s: %s", doing, s, api.ErrorMessage())
	}
	return s.explainAnswer(doing, api, err)
}

func isDenied(api smithy.APIError) bool {
	return api.ErrorCode() == "AccessDeniedException" || api.ErrorCode() == "AccessDenied"
}

// isUnknown is what emulators say of a call that they do not have.
func isUnknown(api smithy.APIError) bool { return api.ErrorCode() == "UnknownOperationException" }
