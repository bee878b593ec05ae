package notice

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"postern/mail"
)

// Letter is what every notice needs.
type Letter struct {
	ID       mail.ID // the Message-ID is <ID@Hostname>
	Hostname string
	From     mail.Address // the [notices] address
	To       mail.Address // whom it tells
	Cc       []mail.Address
	Date     time.Time // times are shown in its zone
	Language string    // "ko"; all else is English
}

// About is the mail that a notice is about.
type About struct {
	ID         mail.ID
	From       mail.Address // its envelope sender, as far as that is of interest to the reader
	Subject    string       // decoded
	AcceptedAt time.Time
	Header     []byte // as received, with Received fields; nil when it cannot be read any more
	List       string // name and address of the list; "" for ordinary mail
}

// Recipient is one whom the mail did not reach.
type Recipient struct {
	To mail.Address
	// Words is what upstream or Postern said: "550 5.1.1 No such user here". Code,
	// enhanced code and text may each be missing.
	Words    string
	At       time.Time // of the last attempt; zero: not known
	Until    time.Time // of [Delayed]: how long it is still tried; zero: not known
	Attempts int
}

// Totals counts the recipients of a mail.
type Totals struct {
	Recipients int // all of them
	Reached    int // upstream took the mail for them
	Failed     int // since the last notice; more than are named where these were capped
	Waiting    int // still tried
}

// kind is what is in Auto-Submitted (RFC 3834 §5).
type kind string

const (
	replied   kind = "auto-replied"   // it answers a mail
	generated kind = "auto-generated" // it answers none
)

// draft is a notice before it is written out.
type draft struct {
	kind    kind
	subject string // decoded
	answers string // Message-ID of the mail that it is about, with its brackets; "" without
	report  bool   // multipart/report, else multipart/mixed or, of one part, that part
	parts   []part
}

// write makes the mail.
func (l Letter) write(d draft) []byte {
	host := hostname(l.Hostname)
	var b []byte
	b = l.appendFrom(b, host)
	b = appendTo(b, "To", l.To)
	if len(l.Cc) > 0 {
		b = appendTo(b, "Cc", l.Cc[:min(len(l.Cc), maxCc)]...)
	}
	b = appendText(b, "Subject", d.subject)
	b = appendField(b, "Date", l.clock().stamp(l.Date))
	b = appendField(b, "Message-ID", "<"+token(string(l.ID), "0")+"@"+host+">")
	if d.answers != "" {
		b = appendField(b, "In-Reply-To", d.answers)
		b = appendField(b, "References", d.answers)
	}
	b = appendField(b, "Auto-Submitted", string(d.kind))
	// Outlook and Exchange follow this one in place of RFC 3834.
	b = appendField(b, "X-Auto-Response-Suppress", "OOF, AutoReply, DR, RN, NRN")
	b = appendField(b, "MIME-Version", "1.0")
	if len(d.parts) == 1 {
		return d.parts[0].append(b)
	}
	limit := boundary(string(l.ID), d.parts)
	b = append(b, "Content-Type: "...)
	if d.report {
		b = append(b, "multipart/report; report-type=delivery-status;\r\n"...)
	} else {
		b = append(b, "multipart/mixed;\r\n"...)
	}
	b = append(b, ` boundary="`+limit+"\"\r\n\r\n"...)
	for _, p := range d.parts {
		b = p.append(append(b, "--"+limit+"\r\n"...))
		b = append(b, "\r\n"...) // belongs to the next boundary (RFC 2046 §5.1.1)
	}
	return append(b, "--"+limit+"--\r\n"...)
}

// boundary is a line that is in no part.
func boundary(id string, parts []part) string {
	for n := 0; ; n++ {
		limit := fmt.Sprintf("=_%s_%d", token(id, "0"), n) // "=_" is in no base64 or quoted-printable
		inside := false
		for _, p := range parts {
			inside = inside || bytes.Contains(p.body, []byte(limit))
		}
		if !inside {
			return limit
		}
	}
}

// appendFrom writes From, whatever the address.
func (l Letter) appendFrom(b []byte, host string) []byte {
	from, ok := sevenBit(l.From)
	if !ok {
		from = "postmaster@" + host
	}
	b = append(b, "From: "...)
	name := l.tongue().pick("Postern mail gateway", "Postern 메일 게이트웨이")
	b, col := appendPhrase(b, len("From: "), name)
	if col+len(from)+3 > lineGoal {
		b = append(b, "\r\n"...)
	}
	return append(b, " <"+from+">\r\n"...)
}

// maxCc bounds who is named beside the first reader.
const maxCc = 20

// appendTo writes To or Cc, an address a line. One that 7 bits cannot carry becomes
// the name of an empty group, as RFC 6857 §3.1.8 has it: To may not be left out.
func appendTo(b []byte, field string, all ...mail.Address) []byte {
	b = append(b, field+": "...)
	for i, to := range all {
		if i > 0 {
			b = append(b, ",\r\n "...)
		}
		if s, ok := sevenBit(to); ok {
			b = append(b, s...)
			continue
		}
		name := line(string(to), 80)
		if name == "" {
			name = "undisclosed recipients"
		}
		b, _ = appendPhrase(b, len(field)+2, name)
		b = append(b, " :;"...) // RFC 2047 §5: a blank follows an encoded-word
	}
	return append(b, "\r\n"...)
}

// sevenBit is an address as a header may bear it; false when none may.
func sevenBit(a mail.Address) (string, bool) {
	if !parses(a) {
		return "", false
	}
	s, err := a.ASCII()
	if err != nil {
		return "", false
	}
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] >= 0x7f {
			return "", false
		}
	}
	return s, true
}

// parses says whether a is an address. What is longer than any is not looked at.
func parses(a mail.Address) bool {
	_, err := mail.ParseAddress(clip(string(a), maxAddress))
	return err == nil && len(a) <= maxAddress
}

// hostname is a host name as A-labels; "localhost" for what is none.
func hostname(s string) string {
	a, ok := sevenBit(mail.Address("x@" + s))
	if host := strings.TrimPrefix(a, "x@"); ok && !strings.HasPrefix(host, "[") {
		return host
	}
	return "localhost"
}

// token is s without all that a Message-ID or a boundary may not hold; without
// anything left it is instead.
func token(s, instead string) string {
	s = strings.Map(func(r rune) rune {
		if '0' <= r && r <= '9' || 'a' <= r|0x20 && r|0x20 <= 'z' {
			return r
		}
		return -1
	}, clip(s, 64))
	if s == "" {
		return instead
	}
	return s
}
