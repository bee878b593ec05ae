package staging

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"postern/mail"
)

// explain turns what the SDK returned into a sentence that says what to do.
// https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
func (b *Bucket) explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("the %s: %w", b, ctx.Err())
	}
	var answer *awshttp.ResponseError
	if errors.As(err, &answer) && answer.Response != nil && answer.HTTPStatusCode() > 0 {
		return b.explainAnswer(err, answer.HTTPStatusCode())
	}
	// Cached when they are known; so this asks nothing of an unreachable network that
	// the call has not asked before.
	short, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if _, credErr := b.credentials.Retrieve(short); credErr != nil {
		return b.deny(err, "was not asked, as no AWS credentials were found: give the machine a role, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
	}
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return b.fail(err, "cannot be reached, as the name %s does not resolve: mend sync.s3_bucket, the region or the endpoint", dns.Name)
	}
	return b.fail(err, "cannot be reached: look at the network, the region and the endpoint")
}

func (b *Bucket) explainAnswer(err error, status int) error {
	var api smithy.APIError
	code := ""
	if errors.As(err, &api) {
		code = api.ErrorCode()
	}
	switch code {
	case "NoSuchBucket":
		return b.fail(err, "does not exist: make it, or mend sync.s3_bucket or the region")
	case "AccessDenied", "AllAccessDisabled", "AccountProblem":
		return b.deny(err, "refuses us: the role needs s3:PutObject, s3:GetObject and s3:DeleteObject on its objects and s3:ListBucket on it (%s)", code)
	case "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "TokenRefreshRequired", "NotSignedUp":
		return b.deny(err, "does not take our AWS credentials: renew them (%s)", code)
	case "RequestTimeTooSkewed", "RequestExpired":
		return b.fail(err, "does not take our signature: set this machine's clock (%s)", code)
	case "PermanentRedirect", "MovedPermanently", "TemporaryRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "IncorrectEndpoint":
		return b.fail(err, "is in another region: set AWS_REGION to it (%s)", code)
	case "SlowDown", "Throttling", "RequestLimitExceeded":
		return &mail.Error{Class: mail.Throttled, Err: err, RetryAfter: time.Second, Public: fmt.Sprintf("the %s throttles us (%s)", b, code)}
	case "MetadataTooLarge":
		return b.fail(err, "does not take the names of so many attributes that are empty: map fewer columns, or leave sync.s3_bucket empty (%s)", code)
	case "BadDigest", "InvalidDigest", "XAmzContentChecksumMismatch":
		return b.fail(err, "got other octets than we sent (%s): something changes them on the way", code)
	}
	if status >= 500 {
		return b.fail(err, "failed with HTTP %d", status)
	}
	return b.fail(err, "answers HTTP %d (%s): is sync.s3_bucket right, and the endpoint S3's?", status, code)
}

// deny is fail for what stops everything that is asked of AWS.
func (b *Bucket) deny(err error, format string, a ...any) error {
	return &mail.Error{Class: mail.AccountWide, Err: err, Public: fmt.Sprintf("the %s %s", b, fmt.Sprintf(format, a...))}
}
