package expand

import (
	"strings"

	"postern/mail"
)

// MarkHeader is the field by which a copy that comes back is known. Its value is
// the copy's tag.
const MarkHeader = "X-Postern-Copy"

// CheckExpandable says whether a mail to list may be expanded, by its header: raw
// is the whole mail or its header. It refuses, Permanent:
//
//   - answers of machines: Auto-Submitted other than no (RFC 3834 §5), Precedence
//     bulk, list or junk, X-Auto-Response-Suppress All, reports (RFC 6522);
//   - our own copies come back: [MarkHeader], or a List-Id of the list's domain;
//   - what has been through more than 50 hosts;
//   - meeting requests and recalls of Outlook, by Content-Class.
//
// The null sender is the envelope's affair and refused where it is said.
func CheckExpandable(raw []byte, list mail.ListPolicy) error {
	h, _, _ := readHeader(raw)
	refuse := func(format string, a ...any) error { return mail.Refuse(550, "5.7.1", format, a...) }
	for _, f := range h.all("Auto-Submitted") {
		if v := keyword(f.text()); v != "no" {
			return refuse("the mail was sent by a machine (Auto-Submitted: %s) and goes to no list", printable([]byte(v), 40))
		}
	}
	for _, f := range h.all("Precedence") {
		if v := keyword(f.text()); v == "bulk" || v == "list" || v == "junk" {
			return refuse("the mail was sent by a machine or a list (Precedence: %s) and goes to no list", v)
		}
	}
	for _, f := range h.all("X-Auto-Response-Suppress") {
		for word := range strings.SplitSeq(f.text(), ",") {
			if keyword(word) == "all" {
				return refuse("the mail was sent by a machine (X-Auto-Response-Suppress: All) and goes to no list")
			}
		}
	}
	if kind, _ := parseType(h.text("Content-Type")); kind == "multipart/report" {
		return refuse("the mail is a report of another mail's fate and goes to no list")
	}
	if _, ours := h.find(MarkHeader); ours {
		return refuse("the mail is a copy that this list has sent, and a copy is not sent to the list again")
	}
	for _, f := range h.all("List-Id") {
		if strings.HasSuffix(strings.ToLower(f.text()), "."+list.Address.Domain()+">") {
			return refuse("the mail is a copy that a list here has sent (List-Id), and a copy is not sent to a list again")
		}
	}
	if len(h.all("Received")) > maxReceived {
		return mail.Refuse(550, "5.4.6", "the mail has been through more than %d hosts: it goes round in a loop", maxReceived)
	}
	return checkClass(h)
}

// checkClass refuses by Content-Class, which Outlook and Exchange write.
func checkClass(h header) error {
	class := strings.ToLower(h.text("Content-Class"))
	switch {
	case strings.Contains(class, "calendarmessage"):
		return mail.Refuse(554, "5.6.0", "the mail is a meeting request, and a list mail is changed for each recipient: write an ordinary mail and attach the appointment as a file (.ics)")
	case strings.Contains(class, "recall"):
		return mail.Refuse(554, "5.6.0", "the mail asks to recall another one; what a list has sent cannot be recalled, but copies that are still queued can be cancelled")
	}
	return nil
}

// keyword is the first word of a field's value, without comments and parameters.
func keyword(v string) string {
	v, _, _ = strings.Cut(uncomment(v), ";")
	return strings.ToLower(strings.TrimSpace(v))
}
