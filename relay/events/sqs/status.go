package sqs

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/aws/smithy-go"
)

// status is how the last round went.
type status struct {
	ok    bool
	words string
	last  time.Time // of the last good one
}

// Status says for people whether events are coming: words say what is wrong and what
// to do, and last is when the queue was last read to the end of a round, zero for
// never.
func (r *Reader) Status() (ok bool, words string, last time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.status.ok, r.status.words, r.status.last
}

// note keeps how a round went, and logs what is new about it.
func (r *Reader) note(err error) {
	next := status{ok: err == nil, words: "the queue is read"}
	if err != nil {
		next.words = r.explain(err)
	}
	r.mu.Lock()
	before := r.status
	if next.last = before.last; next.ok {
		next.last = time.Now()
	}
	r.status = next
	r.mu.Unlock()
	switch {
	case next.words == before.words:
	case next.ok:
		r.log.Info("the events queue is read", "queue", r.cfg.QueueURL)
	default:
		r.log.Error("events do not come in: "+next.words, "queue", r.cfg.QueueURL, "error", err)
	}
}

// failed is an error of a call of SQS, with the right that the call needs.
type failed struct {
	right string
	err   error
}

func (f *failed) Error() string { return f.right + ": " + f.err.Error() }
func (f *failed) Unwrap() error { return f.err }

// notApplied is an error of ours, not of the queue.
type notApplied struct{ err error }

func (n *notApplied) Error() string { return "the events could not be applied: " + n.err.Error() }
func (n *notApplied) Unwrap() error { return n.err }

// explain says what is wrong and what to do. It is the same for the same trouble.
func (r *Reader) explain(err error) string {
	var own *notApplied
	if errors.As(err, &own) {
		return "events are there and cannot be applied, so they stay in the queue: " + own.err.Error()
	}
	right := "sqs:ReceiveMessage"
	var call *failed
	if errors.As(err, &call) {
		right = call.right
	}
	var api smithy.APIError
	if errors.As(err, &api) {
		return r.explainCode(api, right)
	}
	var dns *net.DNSError
	var dial *net.OpError
	switch {
	case errors.As(err, &dns):
		return fmt.Sprintf("the name %s does not resolve; see that this machine reaches the network, and that the queue's URL is right", dns.Name)
	case errors.Is(err, context.DeadlineExceeded):
		return "Amazon SQS did not answer in time; see that this machine reaches the network"
	case errors.As(err, &dial):
		return "Amazon SQS cannot be reached; see that this machine reaches the network (" + dial.Err.Error() + ")"
	}
	return "Amazon SQS cannot be asked; see that this machine has AWS credentials (environment, shared files, instance role) and reaches the network: " + innermost(err)
}

func (r *Reader) explainCode(api smithy.APIError, right string) string {
	switch api.ErrorCode() {
	case "AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist", "QueueDeletedRecently", "InvalidAddress":
		return fmt.Sprintf("there is no queue %s; make it, or mend events_queue of the lane", r.cfg.QueueURL)
	case "AccessDenied", "AccessDeniedException", "NotAuthorized":
		return fmt.Sprintf("Amazon does not let these credentials do %s on the queue %s; allow sqs:ReceiveMessage and sqs:DeleteMessage on it in their policy", right, r.cfg.QueueURL)
	case "KMS.AccessDeniedException", "KmsAccessDenied", "KMS.NotFoundException", "KMS.DisabledException":
		return "the queue is encrypted and its key may not be used; allow kms:Decrypt on the key to these credentials: " + api.ErrorMessage()
	case "ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId", "SignatureDoesNotMatch",
		"InvalidSignatureException", "MissingAuthenticationToken", "MissingAuthenticationTokenException", "IncompleteSignature", "OptInRequired":
		return "Amazon refuses the credentials; renew them, and see that the clock of this machine is right: " + api.ErrorMessage()
	}
	return fmt.Sprintf("Amazon SQS fails with %s: %s", api.ErrorCode(), api.ErrorMessage())
}

func isDenied(err error) bool {
	var api smithy.APIError
	return errors.As(err, &api) && (api.ErrorCode() == "AccessDenied" || api.ErrorCode() == "AccessDeniedException")
}

func innermost(err error) string {
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) {
		err = inner
	}
	return err.Error()
}
