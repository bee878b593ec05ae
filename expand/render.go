package expand

import (
	"net/url"
	"strings"

	"postern/mail"
)

// head compiles the header of the copies. What it does not name is dropped: fields
// of the way here, of the sender's own machine, of lists and of receipts.
func (c *compiler) head(h header) error {
	from, err := oneFrom(h)
	if err != nil {
		return err
	}
	reply, hasReply := h.find("Reply-To")
	if rewrite := c.in.RewriteFrom; rewrite != "" && rewrite.Key() != from.addr.Key() {
		if !hasReply {
			raw, err := appendMailboxes(nil, "Reply-To", []mailbox{from})
			if err != nil {
				return err
			}
			reply, hasReply = field{"Reply-To", raw}, true
		}
		from.addr = rewrite
	}
	c.out.From = from.addr
	if c.out.Head, err = appendMailboxes(nil, "From", []mailbox{from}); err != nil {
		return err
	}
	if hasReply && reply.text() != "" {
		raw, err := addressField(reply)
		if err != nil {
			return err
		}
		c.out.Head = append(c.out.Head, raw...)
	}
	if err := c.subject(h); err != nil {
		return err
	}
	return c.listFields()
}

// oneFrom is the mailbox of the one From field that a mail must have.
func oneFrom(h header) (mailbox, error) {
	fields := h.all("From")
	if len(fields) != 1 {
		return mailbox{}, mail.Refuse(554, "5.6.0", "a mail needs one From field, and this one has %d", len(fields))
	}
	boxes, err := parseMailboxes(fields[0].text())
	if err != nil {
		return mailbox{}, mail.Refuse(554, "5.6.0", "the From field %q cannot be read: %v", printable([]byte(fields[0].text()), 80), err)
	}
	if len(boxes) != 1 {
		return mailbox{}, mail.Refuse(554, "5.6.0", "a mail needs one address in From, and this one has %d", len(boxes))
	}
	return boxes[0], nil
}

// addressField gives an address field fit for 7 bits.
func addressField(f field) ([]byte, error) {
	boxes, err := parseMailboxes(f.text())
	if err != nil {
		return nil, mail.Refuse(554, "5.6.0", "the %s field %q cannot be read: %v", f.name, printable([]byte(f.text()), 80), err)
	}
	if sevenBit(f.raw) {
		return f.raw, nil
	}
	return appendMailboxes(nil, f.name, boxes)
}

// maxSubject is in octets of UTF-8; it stands in the header of every copy.
const maxSubject = 8 << 10

// subject compiles the Subject, whose placeholders may be split over encoded-words.
func (c *compiler) subject(h header) error {
	s := strings.TrimSpace(clean(decodeWords(h.text("Subject"))))
	if c.written = s; c.in.Template != nil {
		var err error
		if s, err = c.wrapSubject(s); err != nil {
			return err
		}
	}
	if c.out.Labelled = c.in.List.Advertising; c.out.Labelled {
		s = labelled(s)
	}
	if c.out.Shown = s; len(s) > maxSubject {
		return mail.Refuse(554, "5.6.0", "the Subject has more than %d octets; write a shorter one", maxSubject)
	}
	f := &finder{where: "the Subject"}
	for i, r := range s {
		f.feed(glyph{r, i, i + len(string(r))})
	}
	edits, err := c.edits(f, asText)
	if err != nil {
		return err
	}
	for _, p := range apply(s, edits) {
		if p.slot != nil {
			p.slot.At = len(c.out.Subject)
			c.out.Gaps = append(c.out.Gaps, *p.slot)
		}
		c.out.Subject += p.text
	}
	return nil
}

// listFields writes what is the same in all copies, and the fixed part of what is
// not (RFC 2919, RFC 2369, RFC 8058).
func (c *compiler) listFields() error {
	list := c.in.List
	t := append([]byte("Date: "), c.in.Date.Format(dateLayout)+"\r\n"...)
	t = append(t, "List-Id: "...)
	t = append(appendNamed(t, len("List-Id: "), cleanValue(list.Name), label(list.ID)+"."+list.Address.Domain()), "\r\n"...)
	t = append(t, "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"+
		"X-Auto-Response-Suppress: OOF, AutoReply, DR, RN, NRN\r\n"+
		"MIME-Version: 1.0\r\n"...)
	c.out.Tail = t
	c.out.Link = strings.TrimRight(c.in.BaseURL, "/") + "/u/"
	c.out.Prefs = strings.TrimRight(c.in.BaseURL, "/") + "/p/"
	c.out.Host = c.in.Hostname
	if c.in.Mailto == "" {
		return nil
	}
	spec, err := c.in.Mailto.ASCII()
	if err != nil {
		return err
	}
	c.out.Mailto = string(appendPercent([]byte("mailto:"), spec, "@+!*")) + "?subject="
	return nil
}

// dateLayout is RFC 5322 §3.3.
const dateLayout = "Mon, 2 Jan 2006 15:04:05 -0700"

// label makes a list's id one label of its List-Id.
func label(id string) string {
	return strings.Map(func(r rune) rune {
		if 'a' <= r|0x20 && r|0x20 <= 'z' || '0' <= r && r <= '9' || r == '-' || r == '_' || r == '.' {
			return r
		}
		return '-'
	}, id)
}

// Render gives cp's copy. token is the unsubscribe token of this copy; ordinary
// mail needs neither. Header and slots are new; the body's other segments are c's
// own and must not be written to. The same copy and token give the same octets
// each time.
func (c *Compiled) Render(cp *mail.Copy, token string) mail.Content {
	v := values{c: c, cp: cp, token: url.PathEscape(token)}
	v.link = c.Link + v.token
	return mail.Content{Header: c.renderHeader(&v, token), Body: c.renderBody(&v)}
}

// values are those of one copy.
type values struct {
	c           *Compiled
	cp          *mail.Copy
	link, token string
}

// of is what stands in the slot: blanks around a value are nobody's name.
func (v *values) of(s *slot) string {
	value := ""
	switch {
	case s.Field == slotEmail:
		value = string(v.cp.To)
	case s.Field == slotLink:
		value = v.link
	case s.Field == slotPrefs:
		value = v.c.Prefs + v.token
	case s.Field < len(v.cp.Values):
		value = strings.TrimSpace(v.cp.Values[s.Field])
	}
	if value == "" {
		return s.Fallback
	}
	return value
}

func (c *Compiled) renderHeader(v *values, token string) []byte {
	name := cleanValue(v.of(&slot{Field: 0}))
	h := make([]byte, 0, len(c.Head)+len(c.Tail)+len(c.compiled.Subject)*2+len(token)*3+512)
	h = append(h, c.Head...)
	h = append(h, "To: "...)
	if to := headerAddress(v.cp.To); name == "" {
		h = append(h, to...)
	} else {
		h = appendNamed(h, len("To: "), name, to)
	}
	h = append(h, "\r\n"...)
	h = appendText(h, "Subject", c.renderSubject(v))
	h = append(append(append(h, "Message-ID: <"...), v.cp.Tag()+"@"+c.Host...), ">\r\n"...)
	h = append(append(append(h, "List-Unsubscribe: <"...), v.link...), '>')
	if c.Mailto != "" {
		h = append(append(append(h, ",\r\n <"...), c.Mailto+url.QueryEscape(token)...), '>')
	}
	h = append(append(append(h, "\r\n"+MarkHeader+": "...), v.cp.Tag()...), "\r\n"...)
	return append(h, c.Tail...)
}

func (c *Compiled) renderSubject(v *values) string {
	var s strings.Builder
	at := 0
	for i := range c.Gaps {
		g := &c.Gaps[i]
		s.WriteString(c.compiled.Subject[at:g.At])
		s.WriteString(cleanValue(v.of(g)))
		at = g.At
	}
	s.WriteString(c.compiled.Subject[at:])
	if c.Labelled { // once more, as a value may hold a label too
		return labelled(s.String())
	}
	return s.String()
}

func (c *Compiled) renderBody(v *values) [][]byte {
	f := newFiller(v, c.body, c.Slots)
	for i := range c.Slots {
		f.upTo(c.Slots[i].At)
		f.fill(&c.Slots[i])
	}
	f.upTo(len(c.body))
	return f.body
}

// headerAddress is a recipient as To shows it. An address that no upstream takes
// fails where it is sent; here it only must not break the header.
func headerAddress(a mail.Address) string {
	s, err := a.ASCII()
	if err != nil {
		s = string(a)
	}
	return strings.Map(func(r rune) rune {
		if r <= ' ' && !strings.HasPrefix(s, `"`) || r < ' ' || r >= 0x7f || strings.ContainsRune("<>,;", r) && !strings.HasPrefix(s, `"`) {
			return '?'
		}
		return r
	}, s)
}
