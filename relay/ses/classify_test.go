package ses_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"testing"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/sesv2/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"postern/mail"
	"postern/relay/ses"
)

// answered wraps an error as the SDK does when there was an answer.
func answered(status int, err error) error {
	return &smithy.OperationError{ServiceID: "SESv2", OperationName: "SendEmail", Err: &awshttp.ResponseError{RequestID: "r",
		ResponseError: &smithyhttp.ResponseError{Response: &smithyhttp.Response{Response: &http.Response{StatusCode: status}}, Err: err}}}
}

// unanswered wraps an error as the SDK does when there was none.
func unanswered(err error) error {
	return &smithy.OperationError{ServiceID: "SESv2", OperationName: "SendEmail", Err: &awshttp.ResponseError{ResponseError: &smithyhttp.ResponseError{
		Response: &smithyhttp.Response{Response: &http.Response{}}, Err: &smithyhttp.RequestSendError{Err: &url.Error{Op: "Post", URL: "http://x", Err: err}}}}}
}

func TestEveryErrorHasItsClass(t *testing.T) {
	p := func(s string) *string { return &s }
	generic := func(code, text string) error { return &smithy.GenericAPIError{Code: code, Message: text} }
	for _, c := range []struct {
		name string
		err  error
		want mail.Class
		says string
	}{
		{"burst", answered(429, &types.TooManyRequestsException{Message: p("Maximum sending rate exceeded.")}), mail.Throttled, "Maximum sending rate exceeded."},
		{"burst, by the other name", answered(400, generic("ThrottlingException", "Maximum sending rate exceeded.")), mail.Throttled, "Maximum sending rate exceeded."},
		{"quota", answered(429, &types.TooManyRequestsException{Message: p("Daily message quota exceeded.")}), mail.QuotaSpent, "Daily message quota exceeded."},
		{"quota, by the other name", answered(400, generic("ThrottlingException", "Daily message quota exceeded.")), mail.QuotaSpent, "Daily message quota exceeded."},
		{"throttle without words", answered(429, &types.TooManyRequestsException{}), mail.Throttled, "slower"},
		{"throttle with a 503", answered(503, generic("ThrottlingException", "Rate exceeded")), mail.Throttled, "Rate exceeded"},
		{"limit", answered(400, &types.LimitExceededException{Message: p("too many")}), mail.Temporary, "too many"},
		{"suspended", answered(400, &types.AccountSuspendedException{Message: p("gone")}), mail.AccountWide, "gone"},
		{"paused", answered(400, &types.SendingPausedException{Message: p("paused for set x")}), mail.AccountWide, "paused for set x"},
		{"MAIL FROM domain", answered(400, &types.MailFromDomainNotVerifiedException{Message: p("no MX")}), mail.MessageWide, "no MX"},
		{"configuration set", answered(404, &types.NotFoundException{Message: p("Configuration set <x> does not exist.")}), mail.MessageWide, "Configuration set <x> does not exist."},
		{"identity", answered(400, &types.MessageRejected{Message: p("Email address is not verified. The following identities failed the check in region AP-NORTHEAST-2: a@example.com")}), mail.MessageWide, "failed the check in region AP-NORTHEAST-2: a@example.com"},
		{"paused, in the older API's words", answered(400, &types.MessageRejected{Message: p("Sending paused for this account. For more information, please check the inbox")}), mail.AccountWide, "Sending paused"},
		{"rejected", answered(400, &types.MessageRejected{Message: p("Virus found")}), mail.Permanent, "Virus found"},
		{"bad request", answered(400, &types.BadRequestException{Message: p("Duplicate header 'DKIM-Signature'.")}), mail.Permanent, "Duplicate header 'DKIM-Signature'."},
		{"expired token", answered(403, generic("ExpiredTokenException", "The security token included in the request is expired")), mail.AccountWide, "expired"},
		{"access denied", answered(403, generic("AccessDeniedException", "not authorized to perform ses:SendEmail")), mail.AccountWide, "ses:SendEmail"},
		{"signature", answered(403, generic("SignatureDoesNotMatch", "The request signature we calculated does not match")), mail.AccountWide, "does not match"},
		{"token", answered(403, generic("UnrecognizedClientException", "invalid token")), mail.AccountWide, "invalid token"},
		{"some other 403", answered(403, generic("Strange", "no")), mail.AccountWide, "HTTP 403: no"},
		{"500", answered(500, &types.InternalServiceErrorException{Message: p("oops")}), mail.Uncertain, "may have been sent"},
		{"502 of a proxy", answered(502, generic("UnknownError", "")), mail.Uncertain, "HTTP 502"},
		{"503", answered(503, generic("ServiceUnavailable", "x")), mail.Uncertain, "HTTP 503"},
		{"504", answered(504, errors.New("not JSON")), mail.Uncertain, "Gateway Timeout"},
		{"413", answered(413, generic("UnknownError", "")), mail.Permanent, "too large"},
		{"429 without a name", answered(429, generic("UnknownError", "")), mail.Throttled, "HTTP 429"},
		{"a page of somebody between", answered(404, generic("UnknownError", "")), mail.Unreachable, "HTTP 404 came in place of an answer"},
		{"a log-in page", answered(302, generic("UnknownError", "")), mail.Unreachable, "log-in page"},
		{"some other 4xx", answered(418, generic("Strange", "teapot")), mail.Temporary, "teapot"},
		{"200 that cannot be read", answered(200, &smithy.DeserializationError{Err: errors.New("eof")}), mail.Uncertain, "probably sent"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := ses.Classify(c.err, ses.Written)
			if got.Class != c.want || !strings.Contains(got.Public, c.says) {
				t.Errorf("class %v, %q; want %v, %q", got.Class, got.Public, c.want, c.says)
			}
			if !errors.Is(got, c.err) {
				t.Error("the cause is not wrapped")
			}
		})
	}
	t.Run("what SES says about a copy is kept word for word", func(t *testing.T) {
		if got := ses.Classify(answered(400, &types.MessageRejected{Message: p("Virus found")}), ses.Written).Public; got != "Virus found" {
			t.Errorf("%q", got)
		}
	})
}

func TestRequestsWithoutAnAnswer(t *testing.T) {
	refused := &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	reset := &net.OpError{Op: "read", Err: syscall.ECONNRESET}
	dns := &net.DNSError{Err: "no such host", Name: "email.x.amazonaws.com"}
	for _, c := range []struct {
		name string
		got  *mail.Error
		want mail.Class
		says string
	}{
		{"credentials missing", ses.Classify(fmt.Errorf("get identity: %w", errors.New("no EC2 IMDS role found")), ses.NotTried), mail.AccountWide, "no EC2 IMDS role found"},
		{"stopped before it began", ses.Classify(unanswered(context.Canceled), ses.NotTried), mail.Unreachable, "stopped"},
		{"deadline while credentials are fetched", ses.Classify(unanswered(context.DeadlineExceeded), ses.NotTried), mail.Unreachable, "no answer in time"},
		{"refused connection", ses.Classify(unanswered(refused), ses.Dialling), mail.Unreachable, "connection refused"},
		{"DNS", ses.Classify(unanswered(dns), ses.Dialling), mail.Unreachable, "email.x.amazonaws.com does not resolve"},
		{"dial timeout", ses.Classify(unanswered(context.DeadlineExceeded), ses.Dialling), mail.Unreachable, "no answer in time"},
		{"reset while writing", ses.Classify(unanswered(reset), ses.Broken), mail.Temporary, "was not sent"},
		{"stopped while writing", ses.Classify(unanswered(context.Canceled), ses.Broken), mail.Unreachable, "stopped"},
		{"reset, not known how much was written", ses.Classify(unanswered(reset), ses.Connected), mail.Uncertain, "may have been sent"},
		{"reset after writing", ses.Classify(unanswered(reset), ses.Written), mail.Uncertain, "connection reset"},
		{"deadline after writing", ses.Classify(unanswered(context.DeadlineExceeded), ses.Written), mail.Uncertain, "no answer in time"},
		{"stopped after writing", ses.Classify(unanswered(context.Canceled), ses.Written), mail.Uncertain, "may have been sent"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.got.Class != c.want || !strings.Contains(c.got.Public, c.says) {
				t.Errorf("%v (%s), want %v (%s)", c.got.Class, c.got.Public, c.want, c.says)
			}
		})
	}
}
