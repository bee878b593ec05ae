package expand

import (
	"slices"
	"strings"

	"postern/mail"
)

// footing is the footer that is being compiled: what of the list's identity it
// shows.
type footing struct {
	identity mail.Identity
	shown    map[string]bool // by key of [list.identity], where a reader sees it
	bare     map[string]bool // stands somewhere without a fallback
	misspelt bool            // something else of the list is asked for
}

func newFooting(i mail.Identity) *footing {
	return &footing{identity: i, shown: map[string]bool{}, bare: map[string]bool{}}
}

// value is what stands for {{List.Company}}, {{List.Address}}, {{List.Phone}} and
// {{List.Email}}, which only footers know.
func (f *footing) value(inner string) (string, bool) {
	if f == nil {
		return "", false
	}
	name, fallback, hasFallback := strings.Cut(strings.Map(narrow, inner), "|")
	key, ours := strings.CutPrefix(foldName(name), "list.")
	value, known := map[string]string{
		"company": f.identity.Company, "address": f.identity.Address, "phone": f.identity.Phone, "email": string(f.identity.Email),
	}[key]
	if !ours || !known {
		f.misspelt = f.misspelt || ours
		return "", false
	}
	f.shown[key] = true
	if !hasFallback {
		f.bare[key] = true
	}
	if value = cleanValue(value); value == "" {
		value = cleanValue(fallback)
	}
	return value, true
}

// identityKeys are those of [list.identity], in the order of people.
func identityKeys() []string { return mail.Identity{}.Missing() }

// bearers are the parts that get the footer: those where a mail that is not
// advertising does not show the unsubscribe link itself. Advertising without a word of who
// sends it is refused, and so is what has a text that cannot show it.
func (c *compiler) bearers(root *part) ([]*part, error) {
	all := footed(root)
	switch {
	case !c.in.List.Advertising:
		return linkless(root), nil
	}
	const law = "mail to the list %s is advertising and must show who sends it and how to refuse it"
	if missing := c.in.List.Identity.Missing(); len(missing) > 0 {
		return nil, mail.Refuse(554, "5.3.5", law+", and the configuration does not say so: the administrator must fill in %s of [list.identity]",
			c.in.List.ID, strings.Join(missing, ", "))
	}
	if len(all) == 0 {
		return nil, mail.Refuse(554, "5.6.0", law+", and this one has no text that could: write a few words above the attachment, in UTF-8, and send it again", c.in.List.ID)
	}
	if p := footless(root); p != nil {
		return nil, mail.Refuse(554, "5.6.0", law+", and %s, which some readers see instead of the other texts, cannot: leave it out, or send it as UTF-8", c.in.List.ID, p.where())
	}
	return all, nil
}

// footed are the parts that the reader sees at the end of the mail: of
// alternatives all, else the last that has text.
func footed(p *part) []*part {
	switch {
	case p.text != nil:
		return []*part{p}
	case p.kind == "multipart/alternative":
		var all []*part
		for _, child := range p.children {
			all = append(all, footed(child)...)
		}
		return all
	case p.kind == "multipart/related":
		return footed(p.root())
	}
	for i := len(p.children) - 1; i >= 0; i-- {
		if parts := footed(p.children[i]); len(parts) > 0 {
			return parts
		}
	}
	return nil
}

// linkless are those of the footed parts whose reader is shown no unsubscribe link,
// neither there nor elsewhere: of alternatives each reader sees one.
func linkless(p *part) []*part {
	switch {
	case p.text != nil && p.text.link:
		return nil
	case p.text != nil:
		return []*part{p}
	case p.kind == "multipart/related" && len(p.children) > 0:
		return linkless(p.root())
	case p.kind != "multipart/alternative" && !showsLink(p):
		return footed(p)
	}
	var all []*part
	for _, child := range p.children {
		if p.kind == "multipart/alternative" || showsLink(child) {
			all = append(all, linkless(child)...)
		}
	}
	return all
}

// showsLink says whether any text in p shows the link.
func showsLink(p *part) bool {
	return p.text != nil && p.text.link || slices.ContainsFunc(p.children, showsLink)
}

// footless is an alternative without a text that could bear a footer; nil: there
// is none where footed looks.
func footless(p *part) *part {
	switch {
	case p.kind == "multipart/alternative":
		for _, child := range p.children {
			if len(footed(child)) == 0 {
				return child
			}
			if found := footless(child); found != nil {
				return found
			}
		}
		return nil
	case len(p.children) > 0 && p.kind == "multipart/related":
		return footless(p.root())
	}
	for i := len(p.children) - 1; i >= 0; i-- {
		if len(footed(p.children[i])) > 0 {
			return footless(p.children[i])
		}
	}
	return nil
}

// root is the part that a multipart/related shows (RFC 2387 §3.2): the one that it
// names, else the first that can be read, as a picture cannot.
func (p *part) root() *part {
	bare := func(id string) string { return strings.Trim(id, " <>") }
	for _, child := range p.children {
		if start := bare(p.params["start"]); start != "" && bare(child.header.text("Content-ID")) == start {
			return child
		}
	}
	for _, child := range p.children {
		if child.text != nil || child.isText() || len(child.children) > 0 {
			return child
		}
	}
	return p.children[0]
}

// addFooter puts the footer into the text of p and compiles it with it.
func (c *compiler) addFooter(p *part) error {
	footer, err := c.in.Footers.text(footerName(c.in.List, p.text.html))
	if err != nil {
		return err
	}
	p.text.addFooter(footer)
	c.foot = newFooting(c.in.List.Identity)
	defer func() { c.foot = nil }()
	if err := c.compileText(p); err != nil {
		return err
	}
	if c.in.List.Advertising && len(c.foot.shown) < len(identityKeys()) {
		return mail.Refuse(554, "5.6.0", "%s ends inside a comment, a script or a style that is not closed, where nobody would see the footer that advertising must have: mend the HTML and send it again", p.where())
	}
	return nil
}

func (t *text) addFooter(footer string) {
	if t.html {
		at := bodyEnd(t.src)
		if centred.MatchString(t.src) {
			footer = `<div align="center" style="padding:0 16px">` + strings.TrimRight(footer, "\r\n") + "</div>\r\n"
		}
		t.src = t.src[:at] + footer + t.src[at:]
		return
	}
	if t.src = strings.TrimRight(t.src, "\r\n"); t.src != "" {
		t.src += "\r\n"
	}
	t.src += footer
}
