package dialogue

import "strings"

// OwnTexts are the parts of our own replies that causes go by.
func OwnTexts() []string {
	own := []string{saysStranger, saysCertificate, saysSendAs, saysHeaderFrom, saysNullSender, saysListsOnly, saysNotTheList, saysNullToList, saysOperator, saysServiceOnly, saysServiceSize, saysServiceRate,
		saysUnsigned, saysNotInTo, saysNoKey, saysFreeMail, saysRoute, saysLiteral, saysBare, saysNUL, saysLongLine, saysPlace, saysSlow,
		saysWaited, saysEndless, saysStopping, saysUnknownWay, saysShutOut}
	for line := range strings.Lines(fixedReplies) {
		if line = strings.TrimSpace(line); line != "" && line[0] >= 'a' || strings.HasPrefix(line, "AUTH") {
			own = append(own, line) // go-smtp's begin with a capital
		}
	}
	return own
}
