package events

import (
	"time"

	"postern/mail"
)

// TagName is the name of the EmailTag with which a copy goes to Amazon SES, and
// under which SES's events give its value back: the copy's tag.
const TagName = "postern"

// CopyHeader is the field in which a copy of a list bears its tag
// (expand.MarkHeader).
const CopyHeader = "X-Postern-Copy"

// Kind is what an event of an upstream account tells.
type Kind string

const (
	Send          Kind = "send"          // upstream has accepted the mail
	Delivery      Kind = "delivery"      // the recipient's server has taken it
	DeliveryDelay Kind = "deliverydelay" // it is still being tried
	Bounce        Kind = "bounce"
	Complaint     Kind = "complaint"
	Reject        Kind = "reject" // upstream has accepted it and then found malware in it
)

// Event is what one event says of one recipient. Whether the mail is one of ours,
// and was for this recipient, is not known yet.
type Event struct {
	Kind       Kind
	Tag        string       // of the copy ([mail.Copy.Tag]); "": the event does not say
	UpstreamID string       // the id that upstream gave the mail
	MessageID  string       // of the mail as it was handed over, without angle brackets; "": the event does not say
	To         mail.Address // the recipient whom it is about, as the reporting server knows them; "": the event does not say
	For        mail.Address // whom upstream was to send the mail to, where that is one; "": the event does not say
	At         time.Time    // when it happened; zero: the event does not say, or a stranger says it
	ID         string       // of the bounce or complaint upstream (feedbackId), or of the report that came by mail; "" without

	Type    string // of a bounce: "Permanent", "Transient", "Undetermined"
	SubType string // "General", "MailboxFull", "OnAccountSuppressionList", …
	Status  string // "5.1.1", or ""
	Words   string // the receiving server's, printable and bounded
	Abuse   string // of a complaint: its type, "abuse", "not-spam", …; "" not said
	Source  string // where it came from, for the evidence: "Amazon SES by SQS", "a report of mx.example.net by mail", …
}

// Reach is what an event proves about an address.
type Reach int

const (
	ReachUnknown Reach = iota // nothing
	ReachSoft                 // mail did not reach it this time
	ReachHard                 // there is nobody at this address
	ReachSpam                 // its owner does not want our mail
)

// String is the word for logs and tests.
func (r Reach) String() string {
	switch r {
	case ReachSoft:
		return "soft"
	case ReachHard:
		return "hard"
	case ReachSpam:
		return "spam"
	}
	return "unknown"
}
