package letters

import (
	"fmt"
	"strings"
	"time"

	"postern/mail"
)

// Letter is a mail to a recipient before it is written out.
type Letter struct {
	ID       mail.ID // the Message-ID is <ID@Hostname>
	Hostname string
	From     mail.Address // one that we can sign for
	Name     string       // who it is from, for people
	ReplyTo  mail.Address // who reads answers; "" or From: no such field
	To       mail.Address
	Date     time.Time
	Leave    Unsubscribe
	Subject  string // decoded
	Text     string // "\n" at the line ends
}

// Unsubscribe is what the header fields of RFC 2369 and RFC 8058 say; the zero value
// makes none.
type Unsubscribe struct {
	Page   string // takes the one-click POST of RFC 8058
	Mailto string // "mailto:…"
}

// Bytes is the whole mail: CRLF, 7-bit, no line above 998 octets, each field once.
// What is not fit for a header is left out. The error is for a From or To that 7 bits
// cannot carry.
func (l Letter) Bytes() ([]byte, error) {
	from, err := sevenBit(l.From)
	if err != nil {
		return nil, fmt.Errorf("a letter cannot be from %q: %w", l.From, err)
	}
	to, err := sevenBit(l.To)
	if err != nil {
		return nil, err
	}
	host := "localhost"
	if h, err := sevenBit(mail.Address("x@" + l.Hostname)); err == nil {
		host = strings.TrimPrefix(h, "x@")
	}
	b := appendMailbox(nil, "From", line(l.Name, 100), from)
	b = appendField(b, "To", to)
	if reply, err := sevenBit(l.ReplyTo); err == nil && l.ReplyTo.Key() != l.From.Key() {
		b = appendField(b, "Reply-To", reply)
	}
	b = appendText(b, "Subject", line(l.Subject, maxSubject))
	b = appendField(b, "Date", stamp(l.Date))
	b = appendField(b, "Message-ID", "<"+token(string(l.ID))+"@"+host+">")
	b = l.Leave.append(b)
	b = appendField(b, "Auto-Submitted", "auto-generated") // RFC 3834 §5: it answers no mail
	// Outlook and Exchange follow this one in place of RFC 3834.
	b = appendField(b, "X-Auto-Response-Suppress", "OOF, AutoReply, DR, RN, NRN")
	b = appendField(b, "MIME-Version", "1.0")
	b = appendField(b, "Content-Type", "text/plain; charset=utf-8")
	encoding, body := encoded(l.Text)
	b = appendField(b, "Content-Transfer-Encoding", encoding)
	return append(append(b, "\r\n"...), body...), nil
}

// appendMailbox writes a field with a name and an address, on one line where it fits.
func appendMailbox(b []byte, field, name, addr string) []byte {
	b = append(b, field+": "...)
	if name == "" {
		return append(b, addr+"\r\n"...)
	}
	b, col := appendPhrase(b, len(field)+2, name)
	if col+len(addr)+3 > lineGoal {
		b = append(b, "\r\n"...)
	}
	return append(b, " <"+addr+">\r\n"...)
}

// append writes the fields, an address a line.
func (u Unsubscribe) append(b []byte) []byte {
	page := link(u.Page)
	if len(page) > 900 || strings.ContainsAny(page, ",") {
		page = ""
	}
	var all []string
	if page != "" {
		all = append(all, "<"+page+">")
	}
	if strings.HasPrefix(u.Mailto, "mailto:") && printable(u.Mailto) && len(u.Mailto) <= 900 && !strings.Contains(u.Mailto, ",") {
		all = append(all, "<"+u.Mailto+">")
	}
	if len(all) == 0 {
		return b
	}
	b = appendField(b, "List-Unsubscribe", strings.Join(all, ",\r\n "))
	if page != "" {
		b = appendField(b, "List-Unsubscribe-Post", "List-Unsubscribe=One-Click")
	}
	return b
}

// sevenBit is an address as a header may bear it.
func sevenBit(a mail.Address) (string, error) {
	if _, err := mail.ParseAddress(string(a)); err != nil {
		return "", err
	}
	s, err := a.ASCII()
	if err != nil {
		return "", err
	}
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] >= 0x7f {
			return "", fmt.Errorf("%q is not a mail address that 7 bits can carry", a)
		}
	}
	if strings.Contains(s, "=?") && strings.Contains(s, "?=") { // programs would read an encoded-word, and another address (RFC 2047 §5 forbids it there)
		return "", fmt.Errorf("%q is not a mail address that every program reads alike", a)
	}
	return s, nil
}

// stamp is RFC 5322 §3.3. No program reads a year beyond four digits, nor an offset
// with seconds.
func stamp(t time.Time) string {
	if _, offset := t.Zone(); offset%60 != 0 || t.Year() < 0 || t.Year() > 9999 {
		t = t.UTC()
	}
	if t.Year() < 0 || t.Year() > 9999 {
		t = time.Unix(0, 0).UTC()
	}
	return t.Format("Mon, 02 Jan 2006 15:04:05 -0700")
}

// token is s without all that a Message-ID may not hold; never empty.
func token(s string) string {
	s = strings.Map(func(r rune) rune {
		if '0' <= r && r <= '9' || 'a' <= r|0x20 && r|0x20 <= 'z' {
			return r
		}
		return -1
	}, s[:min(len(s), 64)])
	if s == "" {
		return "0"
	}
	return s
}
