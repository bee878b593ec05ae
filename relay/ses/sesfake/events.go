package sesfake

import (
	"encoding/json"
	"fmt"
	"time"
)

// Event is what a configuration set publishes about a mail, as JSON:
// https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-contents.html.
type Event []byte

// SendEvent says that SES has accepted the mail.
func (m Mail) SendEvent(at time.Time) Event {
	return m.event("Send", "send", at, struct{}{})
}

// DeliveryEvent says that the recipient's server has taken it.
func (m Mail) DeliveryEvent(at time.Time) Event {
	return m.event("Delivery", "delivery", at, map[string]any{
		"timestamp": stamp(at), "processingTimeMillis": 546, "recipients": m.To,
		"smtpResponse": "250 2.6.0 Message received", "remoteMtaIp": "127.0.2.0", "reportingMTA": "mta.example.com"})
}

// Bounce is why a mail was not delivered.
type Bounce struct {
	Type       string // Permanent, Transient, Undetermined
	SubType    string // General, NoEmail, MailboxFull, Suppressed, OnAccountSuppressionList, …
	Status     string // such as 5.1.1
	Diagnostic string // such as "smtp; 550 5.1.1 user unknown"
	ID         string // feedbackId; "": made of the mail's
}

// BounceEvent says that the mail came back.
func (m Mail) BounceEvent(at time.Time, b Bounce) Event {
	recipients := []any{}
	for _, to := range m.To {
		recipients = append(recipients, map[string]any{"emailAddress": to, "action": "failed", "status": b.Status, "diagnosticCode": b.Diagnostic})
	}
	return m.event("Bounce", "bounce", at, map[string]any{
		"bounceType": b.Type, "bounceSubType": b.SubType, "bouncedRecipients": recipients,
		"timestamp": stamp(at), "feedbackId": m.feedback(b.ID, "bounce"), "reportingMTA": "dsn; mta.example.com"})
}

// ComplaintEvent says that the recipient calls the mail spam; kind is "abuse", "not-spam", …,
// or "" where their provider does not say.
func (m Mail) ComplaintEvent(at time.Time, kind string) Event {
	recipients := []any{}
	for _, to := range m.To {
		recipients = append(recipients, map[string]any{"emailAddress": to})
	}
	c := map[string]any{"complainedRecipients": recipients, "timestamp": stamp(at), "feedbackId": m.feedback("", "complaint"),
		"userAgent": "Amazon SES Mailbox Simulator", "arrivalDate": stamp(at), "complaintSubType": nil}
	if kind != "" {
		c["complaintFeedbackType"] = kind
	}
	return m.event("Complaint", "complaint", at, c)
}

// DelayEvent says that the recipient's server does not take the mail yet; kind is
// "MailboxFull", "TransientCommunicationFailure", ….
func (m Mail) DelayEvent(at time.Time, kind string) Event {
	recipients := []any{}
	for _, to := range m.To {
		recipients = append(recipients, map[string]any{"emailAddress": to, "status": "4.4.1", "diagnosticCode": "smtp; 421 4.4.1 Unable to connect to remote host"})
	}
	return m.event("DeliveryDelay", "deliveryDelay", at, map[string]any{
		"timestamp": stamp(at), "delayType": kind, "expirationTime": stamp(at.Add(14 * time.Hour)), "delayedRecipients": recipients, "reportingMTA": "mta.example.com"})
}

// RejectEvent says that SES accepted the mail and then found malware in it.
func (m Mail) RejectEvent(at time.Time) Event {
	return m.event("Reject", "reject", at, map[string]any{"reason": "Bad content"})
}

func (m Mail) feedback(id, kind string) string {
	if id != "" {
		return id
	}
	return m.ID + "-" + kind
}

func (m Mail) event(kind, key string, at time.Time, what any) Event {
	b, err := json.Marshal(map[string]any{"eventType": kind, key: what, "mail": m.about(at)})
	if err != nil {
		panic(err) // strings and maps: there is nothing that JSON cannot say
	}
	return b
}

// about is the mail object.
func (m Mail) about(at time.Time) map[string]any {
	headers := []any{}
	for _, f := range fields(m.Raw) {
		headers = append(headers, map[string]string{"name": f[0], "value": f[1]})
	}
	from := field(m.Raw, "From")
	tags := map[string][]string{
		"ses:source-ip": {"192.0.2.0"}, "ses:caller-identity": {"postern"}, "ses:operation": {"SendEmail"}}
	if m.ConfigurationSet != "" {
		tags["ses:configuration-set"] = []string{m.ConfigurationSet}
	}
	for name, value := range m.Tags {
		tags[name] = []string{value}
	}
	return map[string]any{
		"timestamp": stamp(at), "source": from, "sourceArn": "arn:aws:ses:ap-northeast-2:123456789012:identity/example.com", "sendingAccountId": "123456789012",
		"messageId": m.ID, "destination": m.To, "headersTruncated": false, "headers": headers, "tags": tags,
		"commonHeaders": map[string]any{"from": []string{from}, "to": []string{field(m.Raw, "To")}, "messageId": m.ID, "subject": field(m.Raw, "Subject")}}
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// InSNS is the event as SNS hands it to a queue that has not asked for raw messages.
// The signature is nobody's.
func (e Event) InSNS(id string, at time.Time) Event {
	b, err := json.Marshal(map[string]string{
		"Type": "Notification", "MessageId": id, "TopicArn": "arn:aws:sns:ap-northeast-2:123456789012:postern-events",
		"Subject": "Amazon SES Email Event Notification", "Message": string(e), "Timestamp": stamp(at),
		"SignatureVersion": "1", "Signature": "bm9ib2R5",
		"SigningCertURL": "https://sns.ap-northeast-2.amazonaws.com/SimpleNotificationService-0000.pem",
		"UnsubscribeURL": fmt.Sprintf("https://sns.ap-northeast-2.amazonaws.com/?Action=Unsubscribe&SubscriptionArn=%s", id)})
	if err != nil {
		panic(err) // as above
	}
	return b
}
