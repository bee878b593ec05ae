package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"postern/mail"
)

// MaxEvent is how large the text of an event may be, in octets: SNS and SQS carry
// a MiB at most.
const MaxEvent = 1 << 20

// maxEnvelopes is how many envelopes may stand around an event: SNS around
// EventBridge's.
const maxEnvelopes = 3

// ErrNoEvent is the error of a text that is no event of Amazon SES.
var ErrNoEvent = errors.New("this is no event of Amazon SES")

// ParseSES reads an event of Amazon SES: as event publishing writes it (eventType),
// or the older notifications of an identity (notificationType), which bear no tags;
// bare, or in the envelope of SNS or of EventBridge. There is one Event for each
// recipient, at most [MaxRecipients]. What tells nothing about a mail's fate (Open,
// Click, Rendering Failure, Subscription, a type that is new) gives none, and no
// error. What is no event at all is [ErrNoEvent] with a sentence.
//
// See https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-contents.html
// and https://docs.aws.amazon.com/ses/latest/dg/notification-contents.html.
func ParseSES(body []byte) ([]Event, error) {
	for range maxEnvelopes {
		if isGreeting(body) {
			return nil, nil
		}
		r, err := readRecord(body)
		switch {
		case err != nil:
			return nil, err
		case r.Type == "Notification" && r.Message != nil:
			body = []byte(*r.Message)
		case strings.HasSuffix(r.Type, "Confirmation") && r.Message != nil:
			return nil, nil // SNS about the subscription itself
		case len(r.Detail) > 0 && r.kind() == "":
			body = r.Detail
		default:
			return r.events()
		}
	}
	return nil, fmt.Errorf("%w: there is one envelope within another", ErrNoEvent)
}

// isGreeting knows what SES publishes, in plain words, when an event destination
// is made.
func isGreeting(body []byte) bool {
	return bytes.HasPrefix(bytes.TrimSpace(body), []byte("Successfully validated SNS topic for Amazon SES"))
}

// record is what is read of an event and of the envelopes. Fields that are not
// here are let alone: SES says that it may add some.
type record struct {
	Type    string  // of SNS's envelope
	Message *string // likewise: what was published
	Detail  json.RawMessage

	EventType, NotificationType string

	Mail      sesMail
	Bounce    sesBounce
	Complaint sesComplaint
	Delivery  struct {
		Timestamp, SMTPResponse string
		Recipients              []string
	}
	DeliveryDelay struct {
		Timestamp, DelayType string
		DelayedRecipients    []sesRecipient
	}
	Reject struct{ Reason string }
}

type sesMail struct {
	Timestamp, MessageID string
	Destination          []string
	Tags                 map[string][]string
	Headers              []struct{ Name, Value string }
	CommonHeaders        struct{ MessageID string }
}

type sesBounce struct {
	BounceType, BounceSubType, FeedbackID, Timestamp string
	BouncedRecipients                                []sesRecipient
}

type sesComplaint struct {
	FeedbackID, Timestamp, ComplaintSubType, ComplaintFeedbackType string
	ComplainedRecipients                                           []sesRecipient
}

type sesRecipient struct{ EmailAddress, Status, DiagnosticCode string }

// readRecord is lenient with a field of another type than it should have, which is
// read as if it were not there.
func readRecord(body []byte) (*record, error) {
	if len(body) > MaxEvent {
		return nil, fmt.Errorf("%w: it has %d octets, more than SNS and SQS carry", ErrNoEvent, len(body))
	}
	if b := bytes.TrimSpace(body); len(b) == 0 || b[0] != '{' {
		return nil, fmt.Errorf("%w: it is no JSON object", ErrNoEvent)
	}
	var r record
	var otherType *json.UnmarshalTypeError
	if err := json.Unmarshal(body, &r); err != nil && !errors.As(err, &otherType) {
		return nil, fmt.Errorf("%w: it is no JSON (%s)", ErrNoEvent, text(err.Error()))
	}
	return &r, nil
}

func (r *record) kind() string {
	if r.EventType != "" {
		return r.EventType
	}
	return r.NotificationType
}

// events turns an event without envelopes into ours.
func (r *record) events() ([]Event, error) {
	e := Event{Tag: r.Mail.tag(), UpstreamID: text(r.Mail.MessageID), MessageID: r.Mail.messageID(), Source: "Amazon SES"}
	var at string
	var to []sesRecipient
	switch strings.ToLower(r.kind()) {
	case "":
		return nil, fmt.Errorf("%w: it has neither eventType nor notificationType", ErrNoEvent)
	case "send":
		e.Kind, to = Send, recipients(r.Mail.Destination)
	case "delivery":
		e.Kind, e.Words, at, to = Delivery, text(r.Delivery.SMTPResponse), r.Delivery.Timestamp, recipients(r.Delivery.Recipients)
	case "deliverydelay":
		d := &r.DeliveryDelay
		e.Kind, e.SubType, at, to = DeliveryDelay, text(d.DelayType), d.Timestamp, d.DelayedRecipients
	case "bounce":
		b := &r.Bounce
		e.Kind, e.Type, e.SubType, e.ID, at, to = Bounce, text(b.BounceType), text(b.BounceSubType), text(b.FeedbackID), b.Timestamp, b.BouncedRecipients
	case "complaint":
		c := &r.Complaint
		e.Kind, e.Abuse, e.SubType, e.ID, at, to = Complaint, strings.ToLower(text(c.ComplaintFeedbackType)), text(c.ComplaintSubType), text(c.FeedbackID), c.Timestamp, c.ComplainedRecipients
	case "reject":
		e.Kind, e.Words, to = Reject, text(r.Reject.Reason), recipients(r.Mail.Destination)
	default:
		return nil, nil
	}
	e.At = moment(at, r.Mail.Timestamp)
	if len(r.Mail.Destination) == 1 {
		e.For = mailbox(r.Mail.Destination[0])
	}
	// Who it is about need not be said of a mail that has one recipient, as ours have.
	if len(to) == 0 && len(r.Mail.Destination) == 1 {
		to = recipients(r.Mail.Destination)
	}
	if len(to) == 0 {
		to = []sesRecipient{{}}
	}
	return e.each(to)
}

// each makes one event for each recipient.
func (e Event) each(to []sesRecipient) (all []Event, err error) {
	for _, r := range to[:min(len(to), MaxRecipients)] {
		one := e
		one.To, one.Status = mailbox(r.EmailAddress), status(r.Status)
		if r.DiagnosticCode != "" {
			one.Words = text(afterType(r.DiagnosticCode))
		}
		if one.To == "" && one.Tag == "" && one.UpstreamID == "" {
			return nil, fmt.Errorf("%w: it names neither a mail nor a recipient", ErrNoEvent)
		}
		all = append(all, one)
	}
	return all, nil
}

func recipients(addresses []string) []sesRecipient {
	all := make([]sesRecipient, 0, min(len(addresses), MaxRecipients))
	for _, a := range addresses[:cap(all)] {
		all = append(all, sesRecipient{EmailAddress: a})
	}
	return all
}

// tagForm is what SES takes as the value of a tag.
var tagForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,256}$`)

// tag is the copy's: the tag that we sent, else the one in the header that we wrote
// (SES gives the mail another Message-ID and keeps ours in the event).
func (m *sesMail) tag() string {
	for _, v := range m.Tags[TagName] {
		if tagForm.MatchString(v) {
			return v
		}
	}
	return tagOf(m.header(CopyHeader), m.messageID())
}

// tagOf is the tag that the header of a copy of a list bears: in its own field, or as
// the local part of its Message-ID; "" when this is no such copy.
func tagOf(mark, messageID string) string {
	local, _, _ := strings.Cut(messageID, "@")
	for _, v := range []string{strings.TrimSpace(mark), local} {
		if _, _, err := mail.ParseTag(v); err == nil && tagForm.MatchString(v) {
			return v
		}
	}
	return ""
}

// header is a field of the mail as SES got it.
func (m *sesMail) header(name string) string {
	for _, h := range m.Headers {
		if strings.EqualFold(h.Name, name) {
			return h.Value
		}
	}
	return ""
}

func (m *sesMail) messageID() string {
	if id := m.header("Message-ID"); id != "" {
		return bareID(id)
	}
	return bareID(m.CommonHeaders.MessageID)
}

// bareID drops the angle brackets.
func bareID(id string) string {
	return text(strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(id), "<"), ">"))
}

// mailbox reads an address as SES writes it: bare, or with a name before it.
func mailbox(v string) mail.Address {
	v = strings.TrimSpace(v)
	if a, err := mail.ParseAddress(v); err == nil {
		return a
	}
	inner, ok := strings.CutSuffix(v, ">")
	if !ok {
		return ""
	}
	// A quoted local part may hold a bracket too: the first that leaves an address.
	for i := strings.IndexByte(inner, '<'); i >= 0; {
		inner = inner[i+1:]
		if a, err := mail.ParseAddress(strings.TrimSpace(inner)); err == nil {
			return a
		}
		i = strings.IndexByte(inner, '<')
	}
	return ""
}

// moment is the first of the times that can be read.
func moment(texts ...string) time.Time {
	for _, t := range texts {
		if at, err := time.Parse(time.RFC3339, strings.TrimSpace(t)); err == nil {
			return at.UTC()
		}
	}
	return time.Time{}
}
