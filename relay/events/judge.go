package events

import (
	"regexp"
	"slices"
	"strings"

	"postern/mail"
)

// Judge says what an event means for the copy, and what it proves about the
// address. Only what says that there is nobody is hard: a block for policy, for
// content, for the sender's reputation or by a list of suppressed addresses proves
// nothing about the one who was to get the mail.
//
// The types and subtypes are those of
// https://docs.aws.amazon.com/ses/latest/dg/notification-contents.html#bounce-types.
func (e *Event) Judge() (mail.Outcome, Reach) {
	switch e.Kind {
	case Delivery:
		return mail.Delivered, ReachUnknown
	case Reject:
		return mail.Bounced, ReachUnknown
	case Complaint:
		return e.judgeComplaint()
	case Bounce:
		return e.judgeBounce()
	}
	return mail.NoOutcome, ReachUnknown
}

// judgeComplaint: "not-spam" takes a complaint back, and "auth-failure" is a report
// about DKIM and SPF (RFC 6591), which no person has sent. A complaint with
// OnAccountSuppressionList is an old one: SES remembers it and has not sent the mail.
func (e *Event) judgeComplaint() (mail.Outcome, Reach) {
	switch {
	case e.suppressed():
		return mail.Bounced, ReachUnknown
	case e.Abuse == "not-spam", e.Abuse == "auth-failure":
		return mail.NoOutcome, ReachUnknown
	}
	return mail.Complained, ReachSpam
}

// Uncounted says that Amazon SES did not try to send the mail because of the account's
// own list, which the account's rate of bounces does not count. It does count what its
// global list keeps back (Suppressed). See
// https://docs.aws.amazon.com/ses/latest/dg/sending-email-suppression-list.html.
func (e *Event) Uncounted() bool {
	return strings.HasSuffix(strings.ToLower(e.SubType), "suppressionlist")
}

func (e *Event) judgeBounce() (mail.Outcome, Reach) {
	words := plain(e.Words)
	policy := e.says(words, policyStatus, policyWords) || blockLists.MatchString(strings.ToLower(e.Words))
	switch {
	case strings.EqualFold(e.Type, "Permanent"):
		switch {
		case !e.sub("General", "NoEmail"), policy:
			return mail.Bounced, ReachUnknown
		case e.says(words, softStatus, softWords):
			return mail.SoftBounced, ReachSoft
		}
		return mail.Bounced, ReachHard
	case strings.EqualFold(e.Type, "Transient"):
		switch {
		case e.isAutoReply(words):
			return mail.NoOutcome, ReachUnknown
		case !e.sub("General", "MailboxFull"), policy, e.Status == "" && words == "":
			return mail.SoftBounced, ReachUnknown
		}
		return mail.SoftBounced, ReachSoft
	}
	return mail.SoftBounced, ReachUnknown
}

// sub says whether the subtype is one of these, or none.
func (e *Event) sub(known ...string) bool {
	for _, k := range known {
		if strings.EqualFold(e.SubType, k) {
			return true
		}
	}
	return e.SubType == ""
}

// suppressed says that the upstream sent nothing because of a list of its own:
// OnAccountSuppressionList, OnTenantSuppressionList, and the older Suppressed.
func (e *Event) suppressed() bool {
	s := strings.ToLower(e.SubType)
	return s == "suppressed" || strings.HasSuffix(s, "suppressionlist")
}

// isAutoReply knows an answer of somebody who is out of office, which SES tells as
// a transient bounce.
func (e *Event) isAutoReply(words string) bool {
	return e.sub("General") && (strings.HasPrefix(e.Status, "2.") || autoReplyWords.MatchString(words))
}

// says looks for a status code, that of the event or one within its words, and for
// words.
func (e *Event) says(words string, code, pattern *regexp.Regexp) bool {
	if code.MatchString(e.Status) || pattern.MatchString(words) {
		return true
	}
	return slices.ContainsFunc(codesIn(e.Words), code.MatchString)
}
