package dialogue

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// is compares codes; an enhanced code of "" is any.
func (r Reply) is(code int, enhanced string) bool {
	return r.Code == code && (enhanced == "" || r.Enhanced == enhanced)
}

func (r Reply) says(code int, enhanced, part string) bool {
	return r.is(code, enhanced) && strings.Contains(r.Text, part)
}

// refusals are in the order in which one leads to the next: who has not logged in
// is refused MAIL, too.
var refusals = []rule{
	{"auth-before-tls", auth(538, ""),
		says("The device logs in without encryption. Switch on STARTTLS or SSL/TLS in it. If it has neither and the wire is trusted, give it a listener of its own with insecure_auth = true.")},
	{"auth-off", auth(502, "5.7.0"),
		says("This listener takes no log-in (auth = \"off\"). Switch authentication off in the device, or give it the port of a listener with auth = \"optional\" or \"required\".")},
	{"auth-mechanism", auth(504, ""), func(f *Facts) string {
		return fmt.Sprintf("The device logs in with %s, and only PLAIN and LOGIN are known here. Choose one of these in it (\"plain\", \"basic\", \"normal password\"); they are safe behind TLS.", or(f.Mechanism, "another mechanism"))
	}},
	{"auth-before-helo", auth(502, "5.5.1"),
		says("The device logs in before it has said EHLO. Set it to ESMTP, or update its firmware.")},
	{"shut-out", func(f *Facts) bool {
		return (f.NoAuth.is(454, "4.7.0") || f.NoAuth.Code == 421) && (f.NoAuth.Text == "" || strings.HasPrefix(f.NoAuth.Text, saysShutOut+" from "))
	},
		says("There were too many wrong passwords for this user or from this address, and for a quarter of an hour log-ins are answered without a look at the password. Mend the user name and password in the device, wait, and try again; the log says who is guessing (\"authentication failed\").")},
	{"user-unknown", func(f *Facts) bool { return f.NoAuth.wrongPassword() && f.UserUnknown }, func(f *Facts) string {
		if f.User == "" {
			return "The device logs in with a name that is no account here, nor like one (it is not shown, because it might be a password in the wrong field). Enter a username of smtp.account as the user name."
		}
		return fmt.Sprintf("There is no account %s in the configuration. Mend the user name in the device (mostly it is the whole address), or add an [[smtp.account]].", f.User)
	}},
	{"wrong-password", func(f *Facts) bool { return f.NoAuth.wrongPassword() }, func(f *Facts) string {
		return fmt.Sprintf("The password of %s is wrong. Enter it again in the device, without spaces around it; or make a new one with `postern passwd` and put its hash into the account's password_hash.", or(f.User, "the account"))
	}},
	{"auth-malformed", func(f *Facts) bool { return f.NoAuth.is(501, "5.5.2") || f.NoAuth.says(454, "", "base64") },
		says("The device did not send the log-in as the mechanism wants it (RFC 4954, RFC 4616). Choose the other of PLAIN and LOGIN in it, or update its firmware.")},
	{"auth-cancelled", auth(501, ""),
		says("The device broke the log-in off: most likely no user name or password is entered in it.")},
	{"auth-failed", func(f *Facts) bool { return f.NoAuth.Code != 0 },
		says("The log-in was refused, as the dialogue says. Check the user name and the password in the device.")},

	{"starttls-not-offered", func(f *Facts) bool { return f.NoTLS.Code != 0 && f.Version == "" },
		says("The device wants STARTTLS, and this listener has no TLS. Switch encryption off in the device, or give it the port of a listener with tls = \"starttls\" (usually 587).")},
	{"helo-and-login", func(f *Facts) bool { return f.loginWanted() && f.Helo != "" && !f.ESMTP },
		says("The device says HELO, not EHLO, and so does not learn that it must log in. Switch on authentication (\"SMTP AUTH\") in it, which makes it say EHLO; or let its address send without a log-in by an [[smtp.network]] and a listener with auth = \"optional\".")},
	{"login-needs-tls", func(f *Facts) bool { return f.loginWanted() && f.Version == "" && !f.Offered },
		says("The device must log in, and log-ins are offered after TLS only. Switch on STARTTLS and authentication in it; or let its address send without a log-in by an [[smtp.network]] and a listener with auth = \"optional\".")},
	{"login-missing", func(f *Facts) bool { return f.loginWanted() },
		says("The device did not log in, and nobody may send on this listener, or from its address, without. Enter user name and password of an smtp.account in it and switch on authentication; or let its address send without by an [[smtp.network]] (on a listener with auth = \"optional\").")},

	{"certificate-wanted", anyNo(saysCertificate), explained("The names are the cert_names of the [[smtp.network]].")},
	{"stranger", anyNo(saysStranger), func(f *Facts) string {
		return fmt.Sprintf("The address %s has no right to send. Add it as an [[smtp.network]] with relay = true (cidr = %q), or let the device log in with an [[smtp.account]].", f.Address, f.cidr())
	}},
	{"send-as", anyNo(saysSendAs, saysHeaderFrom),
		explained("For a device in which no other can be set, there is rewrite_from.")},
	{"null-sender", anyNo(saysNullSender, saysNullToList), explained("")},
	{"lists-only", anyNo(saysListsOnly), explained("")},
	{"list-right", anyNo(saysNotTheList), explained("")},
	{"service", anyNo(saysOperator, saysServiceOnly, saysServiceSize, saysServiceRate), explained("")},
	{"unknown-list", refused(550, "5.1.1"), explained("Mend the address in the device, or add a [[list]] with this address.")},
	{"dkim-needed", anyNo(saysNotInTo), explained("")},
	{"dkim-needed", anyNo(saysUnsigned), explained("Let the mail program log in, or switch on DKIM signing in the mail system that sends it.")},
	{"from-not-signable", anyNo(saysNoKey), explained("")},
	{"from-not-signable", anyNo(saysFreeMail), explained("For a device in which no other can be set, rewrite_from does that.")},
	{"rate-limit", refused(450, "4.7.1"), explained("The device may do so by itself; if that happens often, raise the limit.")},

	{"bare-newline", anyNo(saysBare), says("The device ends lines with LF or CR alone, and this listener refuses that (bare_newline = \"reject\"). Give it a listener with bare_newline = \"normalise\", or update its firmware.")},
	{"nul-octet", anyNo(saysNUL), says("The mail holds a NUL octet. Let the program encode what it sends (base64), or give it a listener with bare_newline = \"normalise\", which makes a space of it.")},
	{"line-too-long", anyNo(saysLongLine), explained("Or let the program break its lines.")},
	{"too-big", refused(552, ""), explained("Let the device scan with a lower resolution, or split the document; the limit is smtp.max_message_bytes, and the upstream has one of its own.")},
	{"too-many-recipients", refused(452, "4.5.3"), says("One mail had more recipients than smtp.max_recipients. Mail programs send the rest in a second mail; if this one does not, raise the key.")},
	{"loop", func(f *Facts) bool { return f.refusal().Enhanced == "5.4.6" }, says("The mail has been through so many servers that it must be going in a circle. Look at its Received fields for the two servers that send it to each other.")},
	{"non-ascii-address", func(f *Facts) bool { return f.refusal().Enhanced == "5.6.7" || f.refusal().is(504, "5.5.4") },
		explained("Use an address with ASCII letters before the @.")},
	{"address-route", anyNo(saysRoute, saysLiteral), explained("Enter a plain address, such as name@example.com, in the device.")},
	{"bad-address", func(f *Facts) bool {
		r := f.refusal()
		return r.is(501, "5.1.3") || r.is(501, "5.1.7") || r.says(501, "5.5.2", "Was expecting") // go-smtp's
	},
		explained("Enter a whole address, such as scanner@example.com, as sender and recipient in the device.")},
	{"queue-full", refused(452, "4.3.1"), explained("The limit is smtp.max_queue; see with `postern queue list` what does not go out.")},
	{"disk", func(f *Facts) bool { return f.refusal().Code == 452 }, says("The gateway could not write: mostly the disk of data_dir is full. Its log says more. The device should try again.")},
	{"dns", refused(451, "4.7.5"), explained("Look whether the gateway's DNS resolver answers.")},
	{"mail-cut-short", func(f *Facts) bool { return f.refusal().is(451, "4.4.2") || f.refusal().is(421, "4.4.2") },
		says("The connection ended, or stood still, in the middle of the mail, so the mail was not taken. Look for a bad network between device and gateway (MTU, Wi-Fi, a firewall that inspects SMTP) and for a device that runs out of memory with large scans.")},
	{"internal", func(f *Facts) bool { return f.refusal().Code == 451 }, says("The gateway had a fault of its own; its log says which. The device should try again.")},
	{"content", func(f *Facts) bool { return f.NoData.Code/100 == 5 && f.NoData.Code >= 550 }, explained("")},
	{"bad-sequence", func(f *Facts) bool { r := f.refusal(); return r.outOfOrder() },
		explained("The device sends commands in an order that SMTP does not have, mostly because it did not heed an earlier refusal: look at the dialogue.")},
	{"bad-syntax", func(f *Facts) bool { return f.refusal().Verb != "" && f.refusal().Code != 0 },
		explained("Look at the dialogue for the command, and update the device's firmware, or switch off extensions (DSN, SMTPUTF8) in it.")},
	{"not-smtp", func(f *Facts) bool { return f.refusal().Code != 0 },
		says("The client sent lines that are no SMTP commands. It may be another protocol, a device that goes on with its log-in or mail after a refusal, or somebody who looks for holes.")},
}

// wrongPassword is true of the last one of a connection, too.
func (r Reply) wrongPassword() bool { return r.is(535, "5.7.8") || r.Code == 421 }

func auth(code int, enhanced string) func(*Facts) bool {
	return func(f *Facts) bool { return f.NoAuth.is(code, enhanced) }
}

// refused looks at the refusal that matters, which is none of AUTH here.
func refused(code int, enhanced string) func(*Facts) bool {
	return func(f *Facts) bool { return f.refusal().is(code, enhanced) }
}

// anyNo finds our own words in a refusal of MAIL, RCPT or the mail.
func anyNo(parts ...string) func(*Facts) bool {
	return func(f *Facts) bool {
		for _, p := range parts {
			if strings.Contains(f.refusal().Text, p) {
				return true
			}
		}
		return false
	}
}

// explained is the refusal in its own words, and what to do where these leave
// something to say.
func explained(advice string) func(*Facts) string {
	return func(f *Facts) string {
		r := f.refusal()
		return strings.TrimSpace(sentence(or(r.Text, "the gateway refused "+or(r.Verb, "a line"))) + " " + advice)
	}
}

// sentence leaves an address that s begins with as it is.
func sentence(s string) string {
	if word, _, _ := strings.Cut(s, " "); !strings.Contains(word, "@") {
		first, n := utf8.DecodeRuneInString(s)
		s = string(unicode.ToUpper(first)) + s[n:]
	}
	if !strings.HasSuffix(s, ".") && !strings.HasSuffix(s, "?") {
		s += "."
	}
	return s
}

// loginWanted is a refusal for want of a log-in.
func (f *Facts) loginWanted() bool { return f.refusal().Code == 530 }

// cidr is what to write into the configuration for this client alone.
func (f *Facts) cidr() string {
	if strings.Contains(f.Address, ":") {
		return f.Address + "/128"
	}
	return f.Address + "/32"
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
