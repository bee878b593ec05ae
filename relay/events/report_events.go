package events

import (
	"strings"
)

// Events are those of a report: one for each recipient, and of a complaint at least
// one, also when it names nobody. So what comes by mail goes the way of what an
// upstream account tells. At is zero, because the time is a stranger's word: that of
// its arrival is better.
func (r *Report) Events() []Event {
	about := Event{Tag: tagOf(r.Copy, r.MessageID), MessageID: r.MessageID, UpstreamID: upstreamID(r.MessageID), ID: r.ID, Source: r.source()}
	if r.Complaint != "" {
		about.Kind, about.Abuse = Complaint, r.Complaint
		return r.complaints(about)
	}
	var all []Event
	for i := range r.Recipients {
		if e, ok := r.Recipients[i].event(about); ok {
			all = append(all, e)
		}
	}
	return all
}

func (r *Report) complaints(about Event) []Event {
	if len(r.Recipients) == 0 {
		return []Event{about}
	}
	all := make([]Event, len(r.Recipients))
	for i := range all {
		all[i] = about
		all[i].To = r.Recipients[i].Final
	}
	return all
}

// event is what the fields of one recipient say, by action and status (RFC 3464
// §2.3.3, RFC 3463 §3.1); ok is false when that is nothing. The recipient is named as
// the sender wrote it, where that is said: a forwarder bounces for another address.
func (r *Recipient) event(e Event) (_ Event, ok bool) {
	e.To, e.Status, e.Words = r.Original, r.Status, r.Diagnostic
	if e.To == "" {
		e.To = r.Final
	}
	switch r.Action {
	case "failed":
		e.Kind, e.Type, e.SubType = Bounce, r.bounceType(), "General"
	case "delayed":
		e.Kind = DeliveryDelay
	case "delivered", "relayed", "expanded":
		e.Kind = Delivery
	default:
		return e, false
	}
	return e, true
}

// bounceType tells the classes of a failure apart. A report of it without a status
// proves nothing, unless it has the reply code of RFC 5321 §4.2.1.
func (r *Recipient) bounceType() string {
	code := r.Status
	if code == "" {
		code = r.Diagnostic
	}
	switch {
	case strings.HasPrefix(code, "5"):
		return "Permanent"
	case strings.HasPrefix(code, "4"):
		return "Transient"
	}
	return "Undetermined"
}

// upstreamID is what Amazon SES calls the mail, when the Message-ID is one of its
// own: <id@ap-northeast-2.amazonses.com>.
func upstreamID(messageID string) string {
	id, domain, _ := strings.Cut(messageID, "@")
	if domain = strings.ToLower(domain); domain == "amazonses.com" || strings.HasSuffix(domain, ".amazonses.com") {
		return id
	}
	return ""
}

func (r *Report) source() string {
	if r.Reporter == "" {
		return "a report by mail"
	}
	return "a report of " + r.Reporter + " by mail"
}
