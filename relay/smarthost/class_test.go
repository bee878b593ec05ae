package smarthost_test

import (
	"testing"

	"postern/mail"
	"postern/relay/smarthost"
)

func TestClassOfAReply(t *testing.T) {
	const (
		greeting, hello, login, from, to, data, end = smarthost.AtGreeting, smarthost.AtHello, smarthost.AtLogin, smarthost.AtMail, smarthost.AtRcpt, smarthost.AtData, smarthost.AtEnd
	)
	type stages = []smarthost.Stage
	all := stages{greeting, hello, smarthost.AtTLS, login, smarthost.AtReset, from, to, data, end}
	session, early, late := stages{greeting, hello, smarthost.AtTLS, login}, stages{greeting, hello, login, from}, stages{to, data, end}
	for _, c := range []struct {
		at   stages
		code int
		text string
		want mail.Class
	}{
		// 421 closes the channel, whatever it says.
		{all, 421, "", mail.Unreachable},
		{all, 421, "4.3.2 shutting down", mail.Unreachable},
		{all, 421, "Too many concurrent SMTP connections", mail.Unreachable},
		{all, 421, "4.7.0 unusual rate of unsolicited mail", mail.Unreachable},
		{all, 421, "4.2.1 mailbox busy", mail.Unreachable},

		// Amazon SES.
		{all, 454, "Throttling failure: Maximum sending rate exceeded", mail.Throttled},
		{all, 454, "Throttling failure: Daily message quota exceeded", mail.QuotaSpent},
		{late, 554, "Message rejected: Email address is not verified. The following identities failed the check in region EU-WEST-1: a@example.com", mail.MessageWide},
		{late, 554, "Message rejected: Sending paused for this account.", mail.AccountWide},
		{late, 554, "Access denied: User `arn:aws:iam::1:user/x' is not authorized to perform `ses:SendRawEmail' on resource `y'", mail.AccountWide},
		{late, 554, "Transaction failed: Missing final '@domain'", mail.Permanent},
		{stages{from}, 530, "Authentication required", mail.AccountWide},
		{stages{login}, 535, "Authentication Credentials Invalid", mail.AccountWide},
		{late, 451, "Temporary service failure", mail.Temporary},

		// Others that say it is too fast.
		{stages{from, to, data, end}, 450, "4.7.1 Error: too much mail from 192.0.2.1", mail.Throttled},
		{stages{end}, 432, "4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded", mail.Throttled},
		{stages{from, to}, 451, "4.7.1 Domain example.com exceeded the max emails per hour (100/100)", mail.Throttled},
		{stages{from, to}, 452, "Too many messages on this connection", mail.Throttled},
		{early, 450, "4.4.5 try later", mail.Throttled},
		{early, 451, "4.7.500 Server busy. Please try again later", mail.Throttled},
		{early, 450, "too many connections from your host", mail.Throttled},
		{stages{end}, 550, "5.4.5 Daily SMTP relay sending limit exceeded for user", mail.QuotaSpent},
		{stages{end}, 550, "5.4.5 routing loop", mail.Permanent},

		// The lane's condition before a recipient is named, the copy's after it.
		{early, 452, "4.3.1 Insufficient system storage", mail.Unreachable},
		{early, 451, "4.3.2 not accepting messages", mail.Unreachable},
		{late, 452, "4.3.1 Insufficient system storage", mail.Temporary},
		{late, 451, "4.3.2 not accepting messages", mail.Temporary},
		{stages{from, to}, 450, "4.7.1 <u@x.example>: Recipient address rejected: Rate limit exceeded for domain x.example", mail.Temporary},
		{stages{from, to}, 450, "4.7.1 <a@b.example>: Sender address rejected: Daily quota exceeded for a@b.example", mail.Temporary},
		{late, 451, "4.4.5 congestion", mail.Temporary},
		{late, 451, "4.7.500 Server busy", mail.Temporary},

		// A mailbox, not the lane.
		{stages{from, to, end}, 450, "4.2.1 The user you are trying to contact is receiving mail at a rate that prevents additional messages from being delivered.", mail.Temporary},
		{stages{to, end}, 450, "4.2.1 is receiving mail too quickly; rate limit", mail.Temporary},
		{stages{to, end}, 450, "The user you are trying to contact is receiving mail too quickly", mail.Temporary},
		{stages{to, end}, 451, "rate limit exceeded for recipient b@example.net", mail.Temporary},
		{stages{to, end}, 452, "4.2.2 daily quota exceeded", mail.Temporary},
		{stages{to, end}, 452, "Mailbox quota exceeded", mail.Temporary},
		{stages{from}, 450, "4.1.8 sender domain not found, too many messages", mail.Temporary},
		{stages{to, end}, 452, "4.5.3 Too many recipients", mail.Temporary},

		// Greylisting.
		{stages{from, to, data, end}, 450, "4.2.0 <b@example.net>: Recipient address rejected: Greylisted, see http://postgrey", mail.Temporary},
		{stages{from, to, data, end}, 451, "4.7.1 Greylisting in action, please come back later", mail.Temporary},
		{stages{to, end}, 450, "4.7.0 graylisted: too many messages, slow down", mail.Temporary},

		// What says nothing special.
		{session, 450, "not now", mail.Unreachable},
		{stages{smarthost.AtReset}, 500, "what", mail.Unreachable},
		{stages{from, to, data, end}, 451, "4.3.0 not now", mail.Temporary},
		{stages{from, to, data, end}, 450, "", mail.Temporary},
		{stages{from, to, data, end}, 550, "5.1.1 no such user", mail.Permanent},
		{stages{from, to, data, end}, 550, "5.2.2 mailbox full, daily limit reached", mail.Permanent},
		{stages{to, end}, 550, "address not verified", mail.Permanent},
		{stages{from, to, data, end}, 554, "", mail.Permanent},
		{stages{greeting, hello, smarthost.AtTLS}, 554, "no service", mail.Unreachable},
		{stages{login}, 500, "what", mail.AccountWide},
		{stages{from, to, data}, 538, "5.7.11 Encryption required", mail.AccountWide},
		{stages{from, to, data}, 354, "go", mail.Temporary},
		{stages{greeting, smarthost.AtReset}, 334, "", mail.Unreachable},
	} {
		for _, at := range c.at {
			if got := smarthost.Classify(at, c.code, c.text); got != c.want {
				t.Errorf("%v, %d %s: %v, want %v", at, c.code, c.text, got, c.want)
			}
		}
	}
}
