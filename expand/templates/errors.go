package templates

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"postern/mail"
)

// service is one of the three, for sentences.
type service struct {
	name   string // of the service and what is asked of it
	action string // the permission
	mend   string // what to do when it does not exist
	who    aws.CredentialsProvider
}

func (s *SES) explainSES(ctx context.Context, call string, err error) error {
	return explain(ctx, service{"Amazon SES", "ses:" + call, "mend the endpoint or the region", s.ses.Options().Credentials}, err)
}

func (s *SES) explainTable(ctx context.Context, call string, err error) error {
	return explain(ctx, service{"the DynamoDB table " + s.config.Table, "dynamodb:" + call, "make it, or mend table in [templates], the region or the endpoint", s.table.Options().Credentials}, err)
}

// explainS3 says which picture it is about. S3 denies what does not exist to
// whoever may not list the bucket.
// https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
func (s *SES) explainS3(ctx context.Context, id, from string, u ImageURL, err error) error {
	var api smithy.APIError
	if errors.As(err, &api) {
		switch code := api.ErrorCode(); code {
		case "NoSuchKey", "NotFound":
			return broken(id, "%s is not in the bucket %s; put it there again, or take it out of the row", from, u.Bucket)
		case "NoSuchBucket":
			return broken(id, "%s: there is no bucket %s; mend the address in the row", from, u.Bucket)
		case "PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "MovedPermanently":
			return broken(id, "%s: the bucket %s is in another region; write the address with its region, https://%s.s3.REGION.amazonaws.com/…", from, u.Bucket, u.Bucket)
		case "AccessDenied", "Forbidden":
			return &mail.Error{Class: mail.AccountWide, Err: err, Public: fmt.Sprintf("S3 denies us %s in the bucket %s, or it is not there: the role needs s3:GetObject", from, u.Bucket)}
		}
	}
	return explain(ctx, s.bucket(u), err)
}

func (s *SES) bucket(u ImageURL) service {
	return service{"S3, for the bucket " + u.Bucket + ",", "s3:GetObject", "mend the endpoint", s.s3.Options().Credentials}
}

// explain turns what the SDK returned into an error with a class and a sentence.
func explain(ctx context.Context, of service, err error) error {
	say := func(class mail.Class, format string, a ...any) *mail.Error {
		return &mail.Error{Class: class, Err: err, Public: of.name + " " + fmt.Sprintf(format, a...)}
	}
	var full crowded
	var api smithy.APIError
	var answer *awshttp.ResponseError
	switch {
	case errors.As(err, &full):
		return say(mail.Throttled, "is asked once a second at most, and too many questions wait")
	case errors.As(err, &api):
		return explainAnswer(say, of, api)
	case errors.As(err, &answer) && answer.HTTPStatusCode() != 0:
		return say(mail.Temporary, "answers HTTP %d in a way that cannot be read: is the endpoint right, or a proxy in between?", answer.HTTPStatusCode())
	case ctx.Err() != nil && errors.Is(ctx.Err(), context.Canceled):
		return fmt.Errorf("%s: %w", of.action, ctx.Err())
	case ctx.Err() != nil:
		return say(mail.Unreachable, "does not answer in time")
	}
	// Cached when they are known, so this asks nothing that was not asked before.
	short, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if _, cerr := of.who.Retrieve(short); cerr != nil {
		return say(mail.AccountWide, "cannot be asked: no AWS credentials were found; give the machine a role, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
	}
	return say(mail.Unreachable, "cannot be reached")
}

func explainAnswer(say func(mail.Class, string, ...any) *mail.Error, of service, api smithy.APIError) error {
	switch code := api.ErrorCode(); code {
	case "TooManyRequestsException", "ThrottlingException", "Throttling", "ThrottledException", "ProvisionedThroughputExceededException", "RequestLimitExceeded", "SlowDown", "LimitExceededException":
		return say(mail.Throttled, "asks to go slower (%s)", code)
	case "ResourceNotFoundException":
		return say(mail.Temporary, "does not exist: %s", of.mend)
	case "AccessDeniedException", "AccessDenied", "NotAuthorized":
		return say(mail.AccountWide, "denies us the question: the role needs %s", of.action)
	case "UnrecognizedClientException", "InvalidSignatureException", "ExpiredTokenException", "ExpiredToken", "IncompleteSignature",
		"MissingAuthenticationTokenException", "InvalidClientTokenId", "InvalidAccessKeyId", "SignatureDoesNotMatch", "RequestTimeTooSkewed":
		return say(mail.AccountWide, "does not take our credentials (%s): renew them, and check this machine's clock", code)
	case "ValidationException":
		return say(mail.Temporary, "refuses the question; the table's key must be %s, of type S", keyAttr)
	default:
		return say(mail.Temporary, "failed with %s", code)
	}
}

// notFound says that SES has no such template. Emulators give the status without
// the name; a page of somebody else's is no API error.
func notFound(err error) bool {
	var api smithy.APIError
	var answer *awshttp.ResponseError
	return errors.As(err, &api) && (api.ErrorCode() == "NotFoundException" ||
		errors.As(err, &answer) && answer.HTTPStatusCode() == http.StatusNotFound)
}
