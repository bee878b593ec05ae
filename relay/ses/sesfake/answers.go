package sesfake

import (
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Answer is what becomes of one SendEmail.
type Answer struct {
	accept  bool // the mail is kept before the answer
	status  int
	errType string
	message string
	body    string // instead of JSON
	hangUp  bool
	unread  bool // the request is not even read
	silent  bool
	after   time.Duration
}

// Accept takes the mail.
func Accept() Answer { return Answer{accept: true, status: http.StatusOK} }

// Refuse answers with an error that has no constructor of its own.
func Refuse(status int, errType, message string) Answer {
	return Answer{status: status, errType: errType, message: message}
}

// After is the same answer, so much later. A mail that it takes is taken before.
func (a Answer) After(d time.Duration) Answer {
	a.after = d
	return a
}

// RateExceeded is the answer to mails that come too fast.
func RateExceeded() Answer {
	return Refuse(http.StatusTooManyRequests, "TooManyRequestsException", "Maximum sending rate exceeded.")
}

// Throttling is the same by the name that it has among the errors of all services.
func Throttling() Answer {
	return Refuse(http.StatusBadRequest, "ThrottlingException", "Maximum sending rate exceeded.")
}

// QuotaExceeded has the type of RateExceeded: the words alone tell them apart.
func QuotaExceeded() Answer {
	return Refuse(http.StatusTooManyRequests, "TooManyRequestsException", "Daily message quota exceeded.")
}

// LimitExceeded is about resources of the account.
func LimitExceeded() Answer {
	return Refuse(http.StatusBadRequest, "LimitExceededException", "There are too many instances of the specified resource type.")
}

// AccountSuspended is for good, until Amazon's support changes it.
func AccountSuspended() Answer {
	return Refuse(http.StatusBadRequest, "AccountSuspendedException", "The message can't be sent because the account's ability to send email has been permanently restricted.")
}

// SendingPaused is for a while.
func SendingPaused() Answer {
	return Refuse(http.StatusBadRequest, "SendingPausedException", "Sending paused for this account. For more information, please check the inbox of the email address associated with your AWS account.")
}

// MailFromDomainNotVerified is about the custom MAIL FROM domain of the From's identity.
func MailFromDomainNotVerified() Answer {
	return Refuse(http.StatusBadRequest, "MailFromDomainNotVerifiedException", "The message can't be sent because the sending domain isn't verified.")
}

// NoConfigurationSet is for a configuration set that the account does not have.
func NoConfigurationSet(name string) Answer {
	return Refuse(http.StatusNotFound, "NotFoundException", fmt.Sprintf("Configuration set <%s> does not exist.", name))
}

// NotVerified is for identities that may not send, or, in the sandbox, not receive.
func NotVerified(region string, identities ...string) Answer {
	return MessageRejected(fmt.Sprintf("Email address is not verified. The following identities failed the check in region %s: %s",
		strings.ToUpper(region), strings.Join(identities, ", ")))
}

// MessageRejected refuses the mail for what it is.
func MessageRejected(why string) Answer {
	return Refuse(http.StatusBadRequest, "MessageRejected", why)
}

// BadRequest refuses a request that SES does not understand, or its mail.
func BadRequest(why string) Answer {
	return Refuse(http.StatusBadRequest, "BadRequestException", why)
}

// ExpiredToken is for temporary credentials that were not renewed.
func ExpiredToken() Answer {
	return Refuse(http.StatusForbidden, "ExpiredTokenException", "The security token included in the request is expired")
}

// AccessDenied is for credentials without the right to send.
func AccessDenied() Answer {
	return Refuse(http.StatusForbidden, "AccessDeniedException",
		"User: arn:aws:iam::123456789012:user/postern is not authorized to perform: ses:SendEmail on resource: arn:aws:ses:ap-northeast-2:123456789012:identity/example.com")
}

// BadSignature is for a wrong secret key.
func BadSignature() Answer {
	return Refuse(http.StatusForbidden, "SignatureDoesNotMatch",
		"The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.")
}

// UnknownKey is for an access key that does not exist.
func UnknownKey() Answer {
	return Refuse(http.StatusForbidden, "UnrecognizedClientException", "The security token included in the request is invalid.")
}

// FailAfterAccept takes the mail and answers with a 5xx.
func FailAfterAccept(status int) Answer {
	return Answer{accept: true, status: status, errType: "InternalServiceErrorException", message: "internal failure"}
}

// Garble answers with a status and something else than JSON. With a 2xx the mail is taken.
func Garble(status int, body string) Answer {
	return Answer{accept: status/100 == 2, status: status, body: body}
}

// ResetAfterAccept takes the mail and resets the connection.
func ResetAfterAccept() Answer { return Answer{accept: true, hangUp: true} }

// ResetUnread resets the connection without reading the request's body.
func ResetUnread() Answer { return Answer{unread: true, hangUp: true} }

// SilentAfterAccept takes the mail and says nothing until the client goes.
func SilentAfterAccept() Answer { return Answer{accept: true, silent: true} }

// unsure says whether the client cannot know from this answer that the mail was taken.
func (a *Answer) unsure() bool {
	return a.accept && (a.hangUp || a.silent || a.body != "" || a.status != http.StatusOK)
}
