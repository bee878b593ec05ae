package expand

import "postern/mail"

// Head is the header of a mail as a client sent it, for those who judge a mail
// before it is compiled. It is read as [Compile] reads it, so that both see the
// same.
type Head struct{ fields header }

// ReadHead reads the header at the start of raw. A line in it that is no field, or
// a header beyond all measure, is refused with a *mail.Error.
func ReadHead(raw []byte) (Head, error) {
	h, _, err := readHead(raw, "the mail", false)
	return Head{h}, err
}

// Count is how many fields have this name.
func (h Head) Count(name string) int { return len(h.fields.all(name)) }

// Text is the first field with this name, unfolded and trimmed; "" for none.
func (h Head) Text(name string) string { return h.fields.text(name) }

// From is the one address of the one From field, or a *mail.Error.
func (h Head) From() (mail.Address, error) {
	box, err := oneFrom(h.fields)
	return box.addr, err
}

// Mailboxes are the addresses of the fields with this name; of one that cannot be
// read, none.
func (h Head) Mailboxes(name string) []mail.Address {
	var all []mail.Address
	for _, f := range h.fields.all(name) {
		boxes, err := parseMailboxes(f.text())
		if err != nil {
			continue
		}
		for _, b := range boxes {
			all = append(all, b.addr)
		}
	}
	return all
}
