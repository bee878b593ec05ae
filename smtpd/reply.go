package smtpd

import (
	"errors"
	"strconv"
	"strings"
	"unicode"

	"github.com/emersion/go-smtp"

	"postern/mail"
)

// maxReplyText keeps a reply within the 512 octets of RFC 5321 §4.5.3.1.5.
const maxReplyText = 480

// reply is the one place where an error becomes what a client is told. A
// Permanent mail.Error keeps its 5xx code (554 without one), any other class
// its 4xx code (451 without one). What is no mail.Error is 451 4.3.0 and says
// nothing about this machine.
//
// go-smtp makes a permanent 554 of every error that is not itself an
// *smtp.SMTPError, so nothing leaves a session without passing here.
func reply(err error) *smtp.SMTPError {
	var e *mail.Error
	if !errors.As(err, &e) {
		return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0},
			Message: "the gateway could not do this now and has not taken the mail; try again later"}
	}
	family, code := 4, 451
	if e.Class == mail.Permanent {
		family, code = 5, 554
	}
	if e.Code/100 == family {
		code = e.Code
	}
	return &smtp.SMTPError{Code: code, EnhancedCode: enhanced(e.Enhanced, family), Message: oneLine(e.Public)}
}

// enhanced reads "5.7.1"; what is no code of the family becomes its x.0.0.
func enhanced(s string, family int) smtp.EnhancedCode {
	parts := strings.Split(s, ".")
	if len(parts) != 3 {
		return smtp.EnhancedCodeNotSet
	}
	var code smtp.EnhancedCode
	for i, p := range parts {
		n, err := strconv.Atoi(p)
		if err != nil || n < 0 || n > 999 {
			return smtp.EnhancedCodeNotSet
		}
		code[i] = n
	}
	if code[0] != family {
		return smtp.EnhancedCodeNotSet
	}
	return code
}

// oneLine keeps a text from making reply lines of its own. Letters beyond ASCII
// stay: the name of a Korean placeholder is what its author must read.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return ' '
		}
		return r
	}, s)
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > maxReplyText {
		s = strings.ToValidUTF8(s[:maxReplyText], "") + "..."
	}
	if s == "" {
		return "refused"
	}
	return s
}
