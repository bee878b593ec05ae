package notice

import (
	"fmt"
	"strings"

	"postern/mail"
)

// action is what became of a recipient (RFC 3464 §2.3.3).
type action string

const (
	failed  action = "failed"
	delayed action = "delayed"
)

// statusPart tells programs (RFC 3464).
func statusPart(l Letter, a About, act action, all []told) part {
	b := appendField(nil, "Reporting-MTA", "dns; "+hostname(l.Hostname))
	b = appendField(b, "X-Postern-Message-ID", token(string(a.ID), "unknown"))
	if !a.AcceptedAt.IsZero() {
		b = appendField(b, "Arrival-Date", l.clock().stamp(a.AcceptedAt))
	}
	for _, r := range all {
		b = append(b, "\r\n"...)
		b = append(b, "Final-Recipient: "...)
		b = append(appendFolded(b, len("Final-Recipient: "), typed(r.To)), "\r\n"...)
		b = appendField(b, "Action", string(act))
		b = appendField(b, "Status", r.status(act))
		if r.words != "" {
			kind := "x-postern"
			if r.code != 0 {
				kind = "smtp"
			}
			b = append(b, "Diagnostic-Code: "...)
			b = append(appendFolded(b, len("Diagnostic-Code: "), kind+"; "+escaped(r.words)), "\r\n"...)
		}
		if !r.At.IsZero() {
			b = appendField(b, "Last-Attempt-Date", l.clock().stamp(r.At))
		}
		if act == delayed && !r.Until.IsZero() {
			b = appendField(b, "Will-Retry-Until", l.clock().stamp(r.Until))
		}
	}
	return part{kind: "message/delivery-status", body: b}
}

// typed is the address with its type. One whose local part is not ASCII is of
// type utf-8 and written in that type's 7-bit form (RFC 6533 §3).
func typed(a mail.Address) string {
	if s, ok := sevenBit(a); ok {
		return "rfc822; " + s
	}
	if !parses(a) {
		return "x-unknown; " + escaped(line(string(a), 320)) // never in our spool
	}
	var b strings.Builder
	for _, r := range a.Local() {
		if r <= ' ' || r == '+' || r == '=' || r == '\\' || r >= 0x7f {
			fmt.Fprintf(&b, `\x{%02X}`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return "utf-8; " + b.String() + "@" + escaped(a.Domain())
}

// escaped is text of a field that is ASCII only: what is beyond becomes \x{…}, as
// it does in addresses.
func escaped(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r < ' ' || r >= 0x7f {
			fmt.Fprintf(&b, `\x{%02X}`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// status is the enhanced status code (RFC 3463). What upstream said is kept, also
// a code of class 4 where we gave up: that is what the class is for (§2). What
// waits is of class 4.
func (s saying) status(act action) string {
	class := "5"
	switch {
	case act == delayed || s.code/100 == 4 || s.code == 0 && s.enhanced == "" && s.transient():
		class = "4"
	case s.code == 0 && s.enhanced != "":
		class = s.enhanced[:1]
	}
	if s.enhanced != "" {
		return class + s.enhanced[1:]
	}
	return class + "." + s.detail()
}

// detail is subject and detail for one that gave none (RFC 3463 §3), by the cause
// and, where that is unknown, by the reply code.
func (s saying) detail() string {
	switch s.cause {
	case unknownAddress:
		return "1.1"
	case switchedOff:
		return "2.1"
	case full:
		return "2.2"
	case noDomain:
		return "1.2"
	case badAddress:
		return "1.3"
	case tooLarge:
		return "3.4"
	case refused, suppressed, noRight, greylisted, unproven:
		return "7.1"
	case tooMuch:
		return "4.5"
	case unreachable, wayOut:
		return "4.1"
	case nonASCII:
		return "6.7"
	case badSender:
		return "1.8"
	case content:
		return "6.0"
	case trouble:
		return "3.0"
	case loop:
		return "4.6"
	case expired, waiting:
		return "4.7"
	case unsure:
		return "4.2"
	}
	switch s.code {
	case 500, 502, 503:
		return "5.1"
	case 501, 504, 555:
		return "5.4"
	}
	return "0.0"
}
