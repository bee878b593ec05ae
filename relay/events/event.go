package events

import (
	"time"

	"postern/mail"
)

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

// Event is what one event says of one recipient.
type Event struct {
	Kind       Kind
	Tag        string       // of the copy ([mail.Copy.Tag]); "": the event does not say
	UpstreamID string       // the id that upstream gave the mail
	To         mail.Address // the recipient; "": the event does not say
	At         time.Time    // when it happened
	ID         string       // of the bounce or complaint upstream (feedbackId); "" without

	Type    string // of a bounce: "Permanent", "Transient", "Undetermined"
	SubType string // "General", "MailboxFull", "OnAccountSuppressionList", …
	Status  string // "5.1.1", or ""
	Words   string // the receiving server's, printable and bounded
	Abuse   string // of a complaint: its type, "abuse", "not-spam", …; "" not said
	Source  string // where it came from, for the evidence: "Amazon SES by SQS", "a mail to bounces+", …
}

// Reach is what an event proves about an address.
type Reach int

const (
	ReachUnknown Reach = iota // nothing
	ReachSoft                 // mail did not reach it this time
	ReachHard                 // there is nobody at this address
	ReachSpam                 // its owner does not want our mail
)
