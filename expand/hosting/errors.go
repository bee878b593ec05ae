package hosting

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
	fail := func(format string, a ...any) error {
		return &mail.Error{Err: err, Public: "the bucket " + b.name + " " + fmt.Sprintf(format, a...)}
	}
	var answer *awshttp.ResponseError
	if errors.As(err, &answer) && answer.Response != nil && answer.HTTPStatusCode() > 0 {
		return b.explainAnswer(err, answer.HTTPStatusCode(), fail)
	}
	// Cached when they are known; so this asks nothing of an unreachable network that
	// the call has not asked before.
	short, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if _, credErr := b.credentials.Retrieve(short); credErr != nil {
		return fail("was not asked, as no AWS credentials were found: give the machine a role, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
	}
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns):
		return fail("cannot be reached, as the name %s does not resolve: mend templates.host_bucket, the region or the endpoint", dns.Name)
	case ctx.Err() != nil:
		return fail("did not answer within %s: the next mail asks it again", b.timeout)
	}
	return fail("cannot be reached: look at the network, the region and the endpoint")
}

func (b *Bucket) explainAnswer(err error, status int, fail func(string, ...any) error) error {
	var api smithy.APIError
	code := ""
	if errors.As(err, &api) {
		code = api.ErrorCode()
	}
	switch code {
	case "NoSuchBucket":
		return fail("does not exist: make it, or mend templates.host_bucket or the region")
	case "AccessDenied", "AllAccessDisabled", "AccountProblem":
		return fail("refuses us: the role needs s3:PutObject and s3:GetObject on its objects and s3:ListBucket on it (%s)", code)
	case "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "TokenRefreshRequired", "NotSignedUp":
		return fail("does not take our AWS credentials: renew them (%s)", code)
	case "RequestTimeTooSkewed", "RequestExpired":
		return fail("does not take our signature: set this machine's clock (%s)", code)
	case "PermanentRedirect", "MovedPermanently", "TemporaryRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "IncorrectEndpoint":
		return fail("is in another region: set AWS_REGION to it (%s)", code)
	case "SlowDown", "Throttling", "RequestLimitExceeded", "ServiceUnavailable", "InternalError":
		return fail("is overloaded (%s): the next mail asks it again", code)
	case "BadDigest", "InvalidDigest", "XAmzContentChecksumMismatch":
		return fail("got other octets than we sent (%s): something changes them on the way", code)
	}
	if status >= 500 {
		return fail("failed with HTTP %d: the next mail asks it again", status)
	}
	return fail("answers HTTP %d (%s): is templates.host_bucket right, and the endpoint S3's?", status, code)
}
