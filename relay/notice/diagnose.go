package notice

import (
	"strings"

	"postern/mail"
)

// cause is what kept a mail from a recipient, as people would sort it.
type cause int

const (
	unknown        cause = iota
	unknownAddress       // no such mailbox
	switchedOff          // the mailbox takes nothing
	full                 // no room in the mailbox
	noDomain             // the domain does not exist or takes no mail
	badAddress           // not written as an address
	tooLarge             // the mail is
	refused              // as spam, or by a policy
	unproven             // SPF, DKIM, DMARC, reverse DNS
	tooMuch              // a rate or a number of recipients
	greylisted           // to come back later
	unreachable          // the recipient's server
	wayOut               // our own upstream
	suppressed           // nothing is sent to the address
	nonASCII             // letters before the @ that upstream cannot carry
	noRight              // login or relaying refused
	badSender            // the sender's address is refused
	content              // an attachment, a virus, the form of the mail
	trouble              // of the receiving server
	loop                 // the mail goes in a circle
	expired              // the time for trying is over
	unsure               // it may have arrived
	waiting              // nothing was said, nothing was tried
	numCauses      = iota
)

// saying is what upstream or Postern said, taken apart.
type saying struct {
	code     int    // reply code, 0 without
	enhanced string // as it was said, "" without
	words    string // all of it, on one line
	cause    cause
}

// maxWords bounds what is quoted of a server, in characters. The spool keeps less.
const maxWords = 1200

// understand takes words apart and sorts them under a cause.
func understand(words string, to mail.Address, attempts int) saying {
	s := saying{words: line(words, maxWords)}
	switch {
	case s.words == "" && attempts > 0:
		return saying{cause: expired}
	case s.words == "":
		return saying{cause: waiting}
	}
	rest := s.words
	if c := clip(rest, 3); len(c) == 3 && '2' <= c[0] && c[0] <= '5' && digits(c) && (len(rest) == 3 || rest[3] == ' ' || rest[3] == '-') {
		s.code = int(c[0]-'0')*100 + int(c[1]-'0')*10 + int(c[2]-'0')
		rest = strings.TrimLeft(rest[3:], " -")
	}
	if word, _, _ := strings.Cut(rest, " "); isEnhanced(word) {
		s.enhanced = word
	}
	s.cause = s.sort(spoken(rest, to))
	return s
}

// transient says that another try might have helped.
func (s saying) transient() bool {
	switch {
	case s.code != 0:
		return s.code/100 == 4
	case s.enhanced != "":
		return s.enhanced[0] == '4'
	}
	switch s.cause {
	case greylisted, unreachable, wayOut, trouble, expired, unsure, waiting:
		return true
	}
	return false
}

func digits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// isEnhanced holds RFC 3463 §2 for the classes that a failure can have.
func isEnhanced(s string) bool {
	p := strings.Split(s, ".")
	return len(p) == 3 && (p[0] == "4" || p[0] == "5") && digits(p[1]) && len(p[1]) <= 3 && digits(p[2]) && len(p[2]) <= 3
}

// sort finds the cause: by the enhanced code where it is exact, else by what was
// said, else by whichever code there is.
func (s saying) sort(said string) cause {
	c, exact := byEnhanced(strings.TrimPrefix(strings.TrimPrefix(s.enhanced, "4."), "5."))
	if exact {
		return c
	}
	if w := byWords(said, s.code == 0 && s.enhanced == ""); w != unknown {
		return w
	}
	if c != unknown {
		return c
	}
	return byCode(s.code)
}

// byEnhanced knows subject and detail of an enhanced code: RFC 3463 and the
// registry that it began, with what Gmail and Microsoft give in large numbers.
// Where it is not exact, servers give the code for several causes.
func byEnhanced(detail string) (c cause, exact bool) {
	switch detail {
	case "1.1", "1.6":
		return unknownAddress, true
	case "1.2", "1.10", "4.4":
		return noDomain, true
	case "1.3":
		return badAddress, true
	case "1.7", "1.8", "7.60":
		return badSender, true
	case "2.2":
		return full, true
	case "2.3", "3.4":
		return tooLarge, true
	case "5.3", "7.28":
		return tooMuch, true
	case "4.6", "4.14":
		return loop, true
	case "6.7":
		return nonASCII, true
	case "7.8":
		return noRight, true
	case "7.20", "7.21", "7.22", "7.23", "7.24", "7.25", "7.26", "7.27", "7.30", "7.509", "7.515":
		return unproven, true
	case "2.1":
		return switchedOff, false // also said of a mailbox that gets too much at once
	case "4.1", "4.2", "4.3":
		return unreachable, false // 5.4.1 is Microsoft's for an unknown recipient
	case "4.5":
		return tooMuch, false
	case "4.7":
		return expired, false
	}
	switch subject, _, _ := strings.Cut(detail, "."); subject {
	case "3":
		return trouble, false
	case "6":
		return content, false
	case "7":
		return refused, false
	}
	return unknown, false
}

// byCode reads a bare reply code (RFC 5321 §4.2.3). 550 and 554 tell nothing.
func byCode(code int) cause {
	switch code {
	case 421, 450, 451, 452:
		return trouble
	case 530, 534, 535, 538:
		return noRight
	case 552:
		return full
	case 553:
		return badAddress
	case 556: // RFC 7504
		return noDomain
	}
	return unknown
}

// spoken is what byWords looks through: lower case, single blanks, no punctuation,
// and without the address, whose own words would mislead.
func spoken(s string, to mail.Address) string {
	s = strings.ToLower(s)
	if to != "" && len(to) <= maxWords {
		s = strings.ReplaceAll(s, strings.ToLower(string(to)), " ")
	}
	s = strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || '0' <= r && r <= '9' {
			return r
		}
		return ' '
	}, s)
	return " " + strings.Join(strings.Fields(s), " ") + " "
}

// byWords looks for phrases that mail servers use. The words of Postern's own
// senders, which come without a code, are only looked for in those.
func byWords(said string, bare bool) cause {
	has := func(phrases ...string) bool {
		for _, p := range phrases {
			if strings.Contains(said, p) {
				return true
			}
		}
		return false
	}
	if bare {
		switch {
		case has(" may have been sent ", " was probably sent "):
			return unsure
		case has(" nothing was sent ", " cannot be reached ", " was not sent ", " was lost before ", " refuses to begin ", " asks to go slower ", " refuses the credentials ",
			" refuses the login ", " s quota for 24 hours ", " ses account ", " does not greet as ", " was lost at ", " was not written ", " amazon ses "):
			if has(" too large ") {
				return tooLarge
			}
			return wayOut
		}
	}
	switch {
	case has(" suppression list", " suppressed "):
		return suppressed
	case has("greylist", "graylist", " grey list", " gray list", "postgrey"):
		return greylisted
	case has(" mailbox full", " mailbox is full", " over quota", "overquota", " quota exceeded", " exceeded storage", " insufficient storage", " out of storage", " mailbox size", " exceeds quota"):
		return full
	case has(" user unknown", " unknown user", " no such user", " no such recipient", " no such mailbox", " unknown recipient", " recipient unknown", " user not found",
		" recipient not found", " invalid recipient", " invalid mailbox", " mailbox not found", " no mailbox ", " unknown mailbox", " address unknown", " unknown address",
		" user does not exist", " user doesn t exist", " address does not exist", " mailbox does not exist", " account does not exist", " account that you tried to reach does not exist",
		" mailbox unavailable", " recipient address rejected access denied"):
		return unknownAddress
	}
	return byLesserWords(has)
}

// byLesserWords are phrases that others of [byWords] outweigh.
func byLesserWords(has func(...string) bool) cause {
	switch {
	case has(" dmarc ", " spf ", " dkim ", " unauthenticated ", " sender policy framework ", " reverse dns", " ptr record"):
		return unproven
	case has(" domain not found", " no such domain", " host not found", " unknown host", " host unknown", " domain does not exist", " unrouteable ", " unroutable ", " null mx",
		" nullmx", " nxdomain", " does not accept mail", " no mx "):
		return noDomain
	case has(" relay access denied", " relaying denied", " relay denied", " unable to relay", " relay not permitted", " relaying not allowed", " not permitted to relay",
		" authentication required", " authentication failed", " must authenticate"):
		return noRight
	case has(" too large", " too big", " message size", " size limit", " maximum size", " file size"):
		return tooLarge
	case has(" virus", " malware", " attachment", " illegal content", " executable"):
		return content
	case has(" spam", "blacklist", "blocklist", "denylist", " block list", " black list", " blocked", " rbl ", "dnsbl", " reputation", " unsolicited", " junk"):
		return refused
	case has(" disabled", " inactive", " deactivated", " suspended", " dormant", " not active"):
		return switchedOff
	case has(" sender address rejected", " sender rejected", " not verified"):
		return badSender
	case has(" too many hops", " hop count", " mail loop", " loops back", " routing loop", " loop detected"):
		return loop
	case has(" too many ", " rate limit", " rate that", " rate exceeded", " throttl", " too fast", " unusual rate", " too much mail"):
		return tooMuch
	case has(" policy", " local rules", " access denied"):
		return refused
	case has(" timed out", " timeout", " connection refused", " connection lost", " connection reset", " no route to", " network is unreachable", " could not connect", " cannot connect"):
		return unreachable
	}
	return unknown
}
