package ses

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"postern/mail"
)

// classify says what an error of SendEmail means, by SES's answer if there was
// one, else by how far the request had come. It is the table of
// https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html
// with what the two kinds of quota and the two kinds of rejection say in words.
func classify(err error, at stage) *mail.Error {
	var api smithy.APIError
	if errors.As(err, &api) {
		if e := byCode(api); e != nil {
			e.Err = err
			return e
		}
	}
	// Where no answer came the SDK makes one up, with status 0.
	var answer *awshttp.ResponseError
	if errors.As(err, &answer) && answer.Response != nil && answer.HTTPStatusCode() > 0 {
		e := byStatus(answer.HTTPStatusCode(), words(api))
		e.Err = err
		return e
	}
	e := byStage(err, at)
	e.Err = err
	return e
}

// words is the upstream's own text.
func words(api smithy.APIError) string {
	switch {
	case api == nil:
		return ""
	case api.ErrorMessage() != "":
		return api.ErrorMessage()
	}
	return api.ErrorCode()
}

// mendWait is after how long it is tried whether an identity or a configuration set has
// been mended.
const mendWait = 15 * time.Minute

// byCode knows the errors by name; nil for a name that it does not know.
func byCode(api smithy.APIError) *mail.Error {
	text := words(api)
	lower := strings.ToLower(text)
	of := func(class mail.Class, format string) *mail.Error {
		return &mail.Error{Class: class, Public: fmt.Sprintf(format, text)}
	}
	again := func(class mail.Class, format string) *mail.Error { // mended at Amazon, not here
		e := of(class, format)
		e.RetryAfter = mendWait
		return e
	}
	switch api.ErrorCode() {
	case "TooManyRequestsException", "ThrottlingException", "Throttling", "ThrottledException", "RequestLimitExceeded":
		// Only the text tells a burst from the end of the day's quota.
		if strings.Contains(lower, "quota exceeded") {
			return of(mail.QuotaSpent, "Amazon SES's quota for 24 hours is used up: %s")
		}
		return of(mail.Throttled, "Amazon SES asks to go slower: %s")
	case "LimitExceededException":
		return of(mail.Temporary, "%s")
	case "AccountSuspendedException":
		return of(mail.AccountWide, "Amazon has suspended the SES account, and only Amazon's support can change that: %s")
	case "SendingPausedException":
		return of(mail.AccountWide, "sending is paused for the SES account or its configuration set: %s")
	case "MailFromDomainNotVerifiedException":
		return again(mail.MessageWide, "SES does not send for this From domain until the MX record of its custom MAIL FROM domain is right: %s")
	case "NotFoundException":
		return again(mail.MessageWide, "SES does not know the configuration set; make it, or mend configuration_set of the lane: %s")
	case "MessageRejected":
		if strings.Contains(lower, "sending paused") || strings.Contains(lower, "sending is paused") { // as the older API says it
			return of(mail.AccountWide, "sending is paused for the SES account or its configuration set: %s")
		}
		if strings.Contains(lower, "not verified") {
			return again(mail.MessageWide, "verify the identity in SES, or ask Amazon for production access if the account is in the sandbox: %s")
		}
		return of(mail.Permanent, "%s")
	case "BadRequestException":
		return of(mail.Permanent, "%s")
	case "ExpiredToken", "ExpiredTokenException", "RequestExpired", "AccessDenied", "AccessDeniedException", "InvalidClientTokenId", "UnrecognizedClientException",
		"SignatureDoesNotMatch", "InvalidSignatureException", "IncompleteSignature", "MissingAuthenticationToken", "MissingAuthenticationTokenException", "NotAuthorized", "OptInRequired":
		return of(mail.AccountWide, "Amazon refuses the credentials: %s")
	}
	return nil
}

// byStatus judges an answer whose name is unknown or missing.
func byStatus(status int, text string) *mail.Error {
	if text == "" {
		text = http.StatusText(status)
	}
	of := func(class mail.Class, format string) *mail.Error {
		return &mail.Error{Class: class, Public: fmt.Sprintf(format, status, text)}
	}
	switch {
	case status >= 500:
		return of(mail.Uncertain, "Amazon SES failed with HTTP %d (%s) after it had the copy; it may have been sent")
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return of(mail.AccountWide, "Amazon refuses the credentials, HTTP %d: %s")
	case status == http.StatusTooManyRequests:
		return of(mail.Throttled, "Amazon SES asks to go slower, HTTP %d: %s")
	case status == http.StatusRequestEntityTooLarge:
		return of(mail.Permanent, "the copy is too large for Amazon SES, HTTP %d: %s")
	case status/100 == 2:
		return of(mail.Uncertain, "Amazon SES answered HTTP %d (%s) in a way that cannot be read; the copy was probably sent")
	}
	if text == "" || text == "UnknownError" { // SES names its errors: this is of somebody between
		return &mail.Error{Class: mail.Unreachable, Public: fmt.Sprintf("HTTP %d came in place of an answer of Amazon SES; nothing was sent. A proxy or a log-in page may be in between", status)}
	}
	return of(mail.Temporary, "Amazon SES refuses with HTTP %d: %s")
}

// byStage judges a request that has no answer.
func byStage(err error, at stage) *mail.Error {
	stopped := errors.Is(err, context.Canceled)
	switch {
	case at == notTried && !stopped && !errors.Is(err, context.DeadlineExceeded):
		return &mail.Error{Class: mail.AccountWide, Public: "Amazon SES was not asked: credentials or configuration are missing (" + innermost(err) + ")"}
	case at <= dialling && stopped:
		return &mail.Error{Class: mail.Unreachable, Public: "nothing was sent: sending was stopped"}
	case at <= dialling:
		return &mail.Error{Class: mail.Unreachable, Public: "Amazon SES cannot be reached, nothing was sent: " + reason(err)}
	case at == broken && !stopped:
		return &mail.Error{Class: mail.Temporary, Public: "the connection to Amazon SES broke while the copy was written; it was not sent: " + reason(err)}
	case at == broken:
		return &mail.Error{Class: mail.Unreachable, Public: "nothing was sent: sending was stopped"}
	}
	return &mail.Error{Class: mail.Uncertain, Public: "Amazon SES did not answer after it had the copy (" + reason(err) + "); it may have been sent"}
}

func reason(err error) string {
	var dns *net.DNSError
	var timeout net.Error
	switch {
	case errors.As(err, &dns):
		return "the name " + dns.Name + " does not resolve"
	case errors.Is(err, context.Canceled):
		return "sending was stopped"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "no answer in time"
	}
	return innermost(err)
}

func innermost(err error) string {
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) {
		err = inner
	}
	return err.Error()
}
