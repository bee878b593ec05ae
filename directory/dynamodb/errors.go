package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"postern/mail"
)

// explain turns what the SDK returned into an error with a class and a sentence
// that names the table. doing says what was tried.
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html
func (s *Store) explain(ctx context.Context, doing string, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", doing, ctx.Err())
	}
	var api smithy.APIError
	if errors.As(err, &api) {
		return s.explainAnswer(doing, api, err)
	}
	var answer *awshttp.ResponseError
	if errors.As(err, &answer) && answer.HTTPStatusCode() != 0 {
		return s.fail(mail.Temporary, err, "%s answers HTTP %d, which is not DynamoDB's: is the endpoint right, or a proxy in between?", s, answer.HTTPStatusCode())
	}
	// Cached when they are known; so this asks nothing of an unreachable network
	// that the call has not asked before.
	short, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if _, credErr := s.credentials.Retrieve(short); credErr != nil {
		return s.fail(mail.AccountWide, credErr, "no AWS credentials were found for %s: give the machine a role, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY", s)
	}
	return s.fail(mail.Temporary, err, "%s cannot be reached", s)
}

func (s *Store) explainAnswer(doing string, api smithy.APIError, err error) error {
	switch code := api.ErrorCode(); code {
	case "ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded":
		e := s.fail(mail.Throttled, err, "%s throttles us: its capacity is used up for the moment", s)
		e.RetryAfter = time.Second
		return e
	case "ResourceNotFoundException":
		return s.fail(mail.Temporary, err, "%s does not exist: make it, or mend directory.dynamodb.table, region or endpoint", s)
	case "AccessDeniedException", "AccessDenied":
		return s.fail(mail.AccountWide, err, "AWS denies us %s on %s: the role needs dynamodb:Scan, GetItem, BatchGetItem, UpdateItem and BatchWriteItem", doing, s)
	case "UnrecognizedClientException", "InvalidSignatureException", "ExpiredTokenException", "ExpiredToken",
		"IncompleteSignature", "MissingAuthenticationTokenException", "InvalidClientTokenId":
		return s.fail(mail.AccountWide, err, "AWS does not take our credentials for %s (%s): renew them, and check this machine's clock", s, code)
	case "ValidationException":
		return s.fail(mail.Permanent, err, "%s refuses %s; its key must be Email, of type S", s, doing)
	}
	return s.fail(mail.Temporary, err, "%s failed at %s with %s", s, doing, answerName(api, err))
}

func answerName(api smithy.APIError, err error) string {
	var answer *awshttp.ResponseError
	if errors.As(err, &answer) && answer.HTTPStatusCode() >= http.StatusInternalServerError {
		return fmt.Sprintf("%s (HTTP %d)", api.ErrorCode(), answer.HTTPStatusCode())
	}
	return api.ErrorCode()
}

func (s *Store) fail(class mail.Class, err error, format string, a ...any) *mail.Error {
	return &mail.Error{Class: class, Err: err, Public: fmt.Sprintf(format, a...)}
}

// putOff says that DynamoDB was reached and will do the same call later.
func putOff(err error) bool {
	var answer *awshttp.ResponseError
	return mail.ClassOf(err) == mail.Throttled || errors.As(err, &answer) && answer.HTTPStatusCode() >= http.StatusInternalServerError
}

// backoff is how long to wait before the given round of something that DynamoDB
// put off; the first is 1. It doubles from 50 ms to 3 s.
func backoff(round int) time.Duration {
	return min(50*time.Millisecond<<min(round-1, 10), 3*time.Second)
}

// pause waits unless ctx ends first.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
