package dialogue

import "strings"

// Codes do not tell one right from another, so these parts of our own replies do.
// A test holds that they are still what the gateway says.
const (
	saysStranger    = "you may not send from here"
	saysCertificate = "a TLS client certificate for"
	saysSendAs      = "the address is missing in its send_as"
	saysHeaderFrom  = "may not send mail whose From is"
	saysNullSender  = "may not send with an empty sender"
	saysListsOnly   = "may not send to ordinary addresses"
	saysNotTheList  = "may not send to the list"
	saysNullToList  = "takes no mail with an empty sender"
	saysOperator    = "has to set notices.operator"
	saysServiceOnly = "this address only takes"
	saysServiceSize = "octets, and this one is larger"
	saysServiceRate = "mails a minute from"
	saysUnsigned    = "without AUTH only if it is signed"
	saysNotInTo     = "stands neither in To nor in Cc"
	saysNoKey       = "there is no [[dkim]] key for"
	saysFreeMail    = "can sign for its own addresses"
	saysRoute       = "names a route with"
	saysLiteral     = "is an address literal"
	saysBare        = "the mail has a bare"
	saysNUL         = "the mail holds a NUL octet"
	saysLongLine    = "a line of the mail is longer than"
	saysPlace       = "needs this place for another client"
	saysSlow        = "which did not arrive in time"
	saysWaited      = "has waited long enough"
	saysEndless     = "takes no command so long"
	saysStopping    = "is shutting down"
	saysUnknownWay  = " is not known here; use PLAIN or LOGIN"
	saysShutOut     = "too many wrong passwords"
)

// Replies to AUTH that repeat nothing of what was sent, ours and go-smtp's.
const fixedReplies = `
user name or password is wrong
this listener takes no AUTH
AUTH is taken only after STARTTLS; switch on TLS in the sending program
AUTH must come before MAIL
a PLAIN response is an identity, a user name and a password with NUL between them
nobody may act for another user here; leave the authorization identity empty
the password could not be checked now; try again later
too many wrong passwords; check user name and password, then connect again
Authentication succeeded
Already authenticated
Negotiation cancelled
Invalid base64 data
Missing parameter
Please introduce yourself first.
`

// fixedText says whether a reply to AUTH may be shown. Of a mechanism that is not
// known only the names of known ones come as far as this.
func fixedText(s string) bool {
	return s == "" || strings.Contains(fixedReplies, "\n"+s+"\n") || strings.HasSuffix(s, saysUnknownWay) ||
		strings.HasPrefix(s, saysShutOut+" from ")
}
