package smarthost

import (
	"strings"

	"postern/mail"
)

// stage is what a reply answers. Up to atLogin it is about the session, and no
// mail has been named yet.
type stage int

const (
	atGreeting stage = iota
	atHello
	atTLS
	atLogin
	atReset
	atMail
	atRcpt
	atData // the DATA command; BDAT has no reply before its octets
	atEnd  // the final dot, or the last chunk
)

// classify says what a refusal means: the one place that reads an upstream's
// words. What is about the session, the lane or the account spends nothing of a
// copy; where the words may be about the recipient they spend an attempt. A copy to
// which alone it answers as if it were about the lane is found out by the relay.
//
// 421 is "closing transmission channel" (RFC 5321 §3.8) at every stage: nothing
// was accepted, and the copy is not the reason.
func classify(at stage, r reply) mail.Class {
	text := strings.ToLower(r.text)
	switch {
	case r.code == 421:
		return mail.Unreachable
	case r.code/100 == 4:
		return notNow(at, enhanced(r.code, r.text), text)
	case r.code/100 == 5:
		return never(at, r.code, enhanced(r.code, r.text), text)
	case at <= atReset:
		return mail.Unreachable
	}
	return mail.Temporary // no answer of SMTP
}

// notNow judges a 4xx.
func notNow(at stage, enhanced, text string) mail.Class {
	switch {
	case at >= atMail && (aboutAddress(enhanced) || hasAny(text, "greylist", "graylist", "grey list", "grey-list")):
		return mail.Temporary
	case at >= atMail && hasAny(text, "address rejected"): // postfix: "Sender address rejected", "Recipient ..."
		return mail.Temporary
	case at >= atRcpt && aboutRecipient(text):
		return mail.Temporary
	case spentQuota(text):
		return mail.QuotaSpent
	case tooFast(text):
		return mail.Throttled
	case at >= atRcpt:
		return mail.Temporary
	case enhanced == "4.4.5" || hasAny(text, "server busy", "too busy"): // "mail system congestion"
		return mail.Throttled
	case at <= atReset:
		return mail.Unreachable
	case enhanced == "4.3.1" || enhanced == "4.3.2": // "mail system full", "not accepting network messages"
		return mail.Unreachable
	}
	return mail.Temporary
}

// never judges a 5xx.
func never(at stage, code int, enhanced, text string) mail.Class {
	switch {
	case at == atLogin:
		return mail.AccountWide
	case at <= atReset:
		return mail.Unreachable
	case code == 530 || code == 535 || code == 538:
		// They ask for a login, or for TLS before it: every copy gets this.
		return mail.AccountWide
	case strings.Contains(text, "message rejected") && strings.Contains(text, "not verified"):
		return mail.MessageWide // Amazon SES: the From, or a sandbox
	case strings.Contains(text, "sending paused for this account") || strings.Contains(text, "is not authorized to perform"):
		return mail.AccountWide // Amazon SES, as its API's SendingPaused and AccessDenied
	case enhanced == "5.4.5" && spentQuota(text):
		return mail.QuotaSpent // Gmail's relay
	}
	return mail.Permanent
}

// aboutAddress says that an enhanced code is about an address or a mailbox (RFC
// 3463 §3.2 and §3.3), whatever the words beside it: Gmail's "450 4.2.1 ... is
// receiving mail at a rate that ..." tells of one user's mailbox.
func aboutAddress(enhanced string) bool {
	return strings.HasPrefix(enhanced, "4.1.") || strings.HasPrefix(enhanced, "4.2.")
}

// aboutRecipient finds the same in words alone.
func aboutRecipient(text string) bool {
	return hasAny(text, "receiving", "mailbox", "inbox", "for recipient", "the recipient", "this recipient", "recipient's", "the user", "this user", "for user")
}

// spentQuota finds words such as Amazon SES's "Daily message quota exceeded".
func spentQuota(text string) bool {
	return hasAny(text, "daily", "per day", "24 hours", "24-hour") && hasAny(text, "quota", "limit") && hasAny(text, "exceed", "reached", "used up")
}

// tooFast finds words about the speed or the number of what we send, such as
// Amazon SES's "Maximum sending rate exceeded".
func tooFast(text string) bool {
	return hasAny(text, "throttl", "sending rate", "rate limit", "rate-limit", "ratelimit", "rate exceeded", "unusual rate",
		"too many connections", "too many concurrent", "concurrent connections", "sender thread limit",
		"too many messages", "too many mails", "too many emails", "too much mail", "too many login attempts",
		"too fast", "too quickly", "slow down") ||
		hasAny(text, "per second", "per minute", "per hour", "hourly") && hasAny(text, "limit", "exceed")
}

func hasAny(text string, words ...string) bool {
	for _, w := range words {
		if strings.Contains(text, w) {
			return true
		}
	}
	return false
}

// idled says that a 421 ends a session only because nothing was said on it.
func idled(r reply) bool {
	return enhanced(r.code, r.text) == "4.4.2" || hasAny(strings.ToLower(r.text), "timeout", "time out", "timed out", "idle")
}
