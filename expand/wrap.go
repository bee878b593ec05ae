package expand

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"html"
	"mime"
	"slices"
	"strings"

	xhtml "golang.org/x/net/html"
	"golang.org/x/text/unicode/norm"

	"postern/mail"
)

// The placeholders that only templates know; {{Subject}} and {{Body}} are the mail's,
// also where a user has attributes of these names.
const (
	templateSubject = "subject"
	templateBody    = "body"
	templateImage   = "image:" // and a file's name
)

// wrapping puts a mail into a template: text into text, as source that is compiled
// afterwards like that of any mail.
type wrapping struct {
	template *Template
	subject  string // the mail's, as its author wrote it
	body     string // what {{Body}} is in the text that is being wrapped
	link     bool   // pictures are linked, not attached
	host     string // right side of Content-IDs
	inline   bool   // what is being looked at is an attribute, or an element that holds no tags
	comment  bool   // or a comment that only Outlook shows
	bodies   int    // how often {{Body}} was met
	subjects int    // and {{Subject}}
	used     []int  // of template.Images
}

// fill gives what stands in a template's source for a placeholder; ours: it is one
// that only templates know.
func (w *wrapping) fill(inner, where string, as form) (source string, ours bool, err error) {
	name, _, _ := strings.Cut(strings.Map(narrow, inner), "|")
	refuse := func(format string, a ...any) (string, bool, error) {
		return "", true, mail.Refuse(550, "5.6.0", "in "+where+": "+format, a...)
	}
	switch folded := foldName(name); {
	case folded == templateBody && w.comment:
		return refuse("{{Body}} stands in a comment for Outlook, in which no page can stand; write it between <![endif]--> and the next <!--[if ...")
	case folded == templateBody && (as == asHTML || as == asText) && !w.inline:
		w.bodies++
		return w.body, true, nil
	case folded == templateBody:
		return refuse("{{Body}} stands in an address, a title or another attribute; it is a page of its own and stands in text")
	case folded == templateSubject:
		w.subjects++
		switch as {
		case asText:
			return w.subject, true, nil
		case asHTML:
			return html.EscapeString(w.subject), true, nil
		}
		return string(appendPercent(nil, w.subject, "")), true, nil
	case strings.HasPrefix(folded, templateImage):
		_, file, _ := strings.Cut(name, ":")
		file = norm.NFC.String(cleanValue(file)) // as package templates has them
		i := slices.IndexFunc(w.template.Images, func(m Image) bool { return m.Name == file })
		if i < 0 {
			return refuse("there is no picture %q; %s", file, w.pictures())
		}
		if as != asURL && as != asLink {
			return refuse(`{{image:%s}} stands outside of an address; write <img src="{{image:%s}}" alt="...">`, file, file)
		}
		address, err := w.image(i)
		return address, true, err
	}
	return "", false, nil
}

func (w *wrapping) pictures() string {
	if len(w.template.Images) == 0 {
		return "the template has none"
	}
	var names []string
	for _, m := range w.template.Images {
		names = append(names, m.Name)
	}
	return "the template has " + shorten(strings.Join(names, ", "))
}

// image is the address of a picture.
func (w *wrapping) image(i int) (string, error) {
	m := &w.template.Images[i]
	if w.link && m.URL != "" || m.Data == nil {
		if m.URL == "" {
			return "", mail.Refuse(554, "5.3.5", "the picture %q of the template %s can be neither attached nor linked; ask the administrator", m.Name, w.template.ID)
		}
		return html.EscapeString(m.URL), nil
	}
	if !slices.Contains(w.used, i) {
		w.used = append(w.used, i)
	}
	return "cid:" + w.cid(m), nil
}

// cid is the same for the same picture in every mail.
func (w *wrapping) cid(m *Image) string {
	sum := sha256.Sum256(m.Data)
	return hex.EncodeToString(sum[:10]) + ".template@" + w.host
}

// part is a picture as a part of the mail.
func (w *wrapping) part(i int) *part {
	m := &w.template.Images[i]
	name := mime.FormatMediaType(m.Type, map[string]string{"name": m.Name})
	if !sevenBit([]byte(name)) || name == "" {
		name = m.Type
	}
	file := mime.FormatMediaType("inline", map[string]string{"filename": m.Name})
	if file == "" {
		file = "inline"
	}
	head := "Content-Type: " + strings.ReplaceAll(name, "; ", ";\r\n ") + "\r\nContent-Transfer-Encoding: base64\r\nContent-ID: <" + w.cid(m) + ">\r\n" +
		"Content-Disposition: " + strings.ReplaceAll(file, "; ", ";\r\n ") + "\r\n\r\n"
	p := leaf(head, string(appendBase64(nil, m.Data)))
	p.attached = true
	return p
}

// leaf is a part that is not of the mail as it came.
func leaf(head, body string) *part {
	h, _, _ := readHeader([]byte(head))
	p := &part{header: h, head: []byte(head), body: []byte(body)}
	p.describe("text/plain")
	return p
}

// multipart puts parts together.
func multipart(kind, boundary string, children ...*part) *part {
	p := leaf("Content-Type: multipart/"+kind+";\r\n boundary=\""+boundary+"\"\r\n\r\n", "")
	p.body, p.children = nil, children
	line := "--" + boundary
	p.gaps = append(p.gaps, []byte(line+"\r\n"))
	for range children[1:] {
		p.gaps = append(p.gaps, []byte("\r\n"+line+"\r\n"))
	}
	p.gaps = append(p.gaps, []byte("\r\n"+line+"--\r\n"))
	return p
}

// wrap gives the mail that the template makes of root's.
func (c *compiler) wrap(root *part) (*part, error) {
	t := c.in.Template
	root.show()
	got, err := contentsOf(root)
	if err != nil {
		return nil, err
	}
	w := &wrapping{template: t, subject: c.written, link: c.in.LinkImages, host: c.in.Hostname}
	var texts []*part
	if t.Text != "" {
		if w.body, err = c.bodyText(got); err != nil {
			return nil, err
		}
		src, err := c.wrapText(w, &text{src: lines(t.Text)}, "the text of the template "+t.ID)
		if err != nil {
			return nil, err
		}
		texts = append(texts, leaf("Content-Type: text/plain; charset=utf-8\r\n\r\n", src))
	}
	if t.HTML != "" {
		var styles, spaces string
		if w.body, styles, spaces, err = got.bodyHTML(); err != nil {
			return nil, err
		}
		w.bodies = 0 // most see the HTML alone
		src, err := c.wrapText(w, &text{src: lines(t.HTML), html: true}, "the template "+t.ID)
		if err != nil {
			return nil, err
		}
		texts = append(texts, c.withPictures(w, leaf("Content-Type: text/html; charset=utf-8\r\n\r\n", hoist(src, styles, spaces)), got.related))
	}
	if w.bodies == 0 && got.says() {
		return nil, mail.Refuse(550, "5.6.0", "the template %s has no {{Body}}, so what you wrote would be lost: ask for a template with it, or send an empty mail with a Subject", t.ID)
	}
	if len(texts) == 0 {
		return nil, mail.Refuse(554, "5.3.5", "the template %s has neither HTML nor text", t.ID)
	}
	if t.HTML == "" { // nothing shows them, and there may be files among them
		got.attached = append(got.related, got.attached...)
	}
	return c.assemble(texts, got.attached), nil
}

// assemble puts texts and attachments into one mail.
func (c *compiler) assemble(texts, attached []*part) *part {
	whole := texts[0]
	if len(texts) > 1 {
		whole = multipart("alternative", c.boundary("alt", ""), texts...)
	}
	if len(attached) > 0 {
		whole = multipart("mixed", c.boundary("mix", ""), append([]*part{whole}, attached...)...)
	}
	number(whole, "")
	return whole
}

// withPictures puts those of the mail and those of the template beside the HTML.
func (c *compiler) withPictures(w *wrapping, page *part, related []*part) *part {
	pictures := slices.Clone(related)
	var cids []string
	for _, p := range related {
		cids = append(cids, contentID(p.header.text("Content-ID"))) // of a copy that is sent on
	}
	for _, i := range w.used {
		if cid := w.cid(&w.template.Images[i]); !slices.Contains(cids, cid) {
			cids, pictures = append(cids, cid), append(pictures, w.part(i))
		}
	}
	if len(pictures) == 0 {
		return page
	}
	return multipart("related", c.boundary("rel", ""), append([]*part{page}, pictures...)...)
}

// boundary stands neither in the mail nor in text that was made from it, and is the
// same each time; kind tells those of one mail apart.
func (c *compiler) boundary(kind, made string) string {
	for n := 0; ; n++ {
		b := fmt.Sprintf("=_%s_%s_%d", kind, c.in.ID, n)
		if !bytes.Contains(c.in.Raw, []byte(b)) && !strings.Contains(made, b) {
			return b
		}
	}
}

// number gives parts the numbers that IMAP would, for people.
func number(p *part, n string) {
	p.number = n
	for i, child := range p.children {
		at := fmt.Sprint(i + 1)
		if n != "" {
			at = n + "." + at
		}
		number(child, at)
	}
}

// fillTemplate is fill for the source of a template: what only templates know is put
// in, all else is looked at and left to be compiled with the mail.
func (c *compiler) fillTemplate(inner, where string, as form) (piece, error) {
	if _, ok := literal(inner); ok {
		return piece{keep: true}, nil
	}
	source, ours, err := c.wrapping.fill(inner, where, as)
	if err != nil || ours {
		return piece{text: source}, err
	}
	_, err = resolve(inner, where, c.in.Vocabulary)
	return piece{keep: true}, err
}

// wrapSubject is the template's subject where the mail has none, or where it holds
// the mail's; else the mail's.
func (c *compiler) wrapSubject(written string) (string, error) {
	w := &wrapping{template: c.in.Template, subject: written}
	s, err := c.wrapText(w, &text{src: cleanValue(c.in.Template.Subject)}, "the subject of the template "+c.in.Template.ID)
	switch {
	case err != nil:
		return "", err
	case w.bodies > 0:
		return "", mail.Refuse(550, "5.6.0", "in the subject of the template %s: {{Body}} is a page and no part of a subject", c.in.Template.ID)
	case s != "" && (written == "" || w.subjects > 0):
		return s, nil
	}
	return written, nil
}

// wrapText puts the mail into one text of the template.
func (c *compiler) wrapText(w *wrapping, t *text, where string) (string, error) {
	c.wrapping = w
	defer func() { c.wrapping = nil }()
	compile := c.textPieces
	if t.html {
		compile = c.htmlPieces
		src, err := w.styles(t.src, where)
		if err != nil {
			return "", err
		}
		t.src = src
	}
	pieces, err := compile(t, where)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	for _, p := range pieces {
		out.WriteString(p.text)
	}
	return out.String(), nil
}

// hoist puts the style sheets of the mail before those of the template, which so
// have the last word, and namespaces that the template lacks into its first tag.
func hoist(page, styles, spaces string) string {
	at, root, top := -1, -1, 0
	_ = eachToken(page, func(k token) error {
		if k.kind == xhtml.DoctypeToken || k.kind == xhtml.StartTagToken && k.name == "html" {
			top = k.end // before these, readers would take the page for one of the oldest
		}
		begins := k.kind == xhtml.StartTagToken && (k.name == "style" || k.name == "body") || k.kind == xhtml.EndTagToken && k.name == "head"
		if at < 0 && begins {
			at = k.start
		}
		if root < 0 && k.kind == xhtml.StartTagToken && k.name == "html" {
			root = k.end - 1
			for _, a := range attributes(page[k.start:k.end], 0) {
				if strings.HasPrefix(a.name, "xmlns:") {
					spaces = "" // its own, of VML too
				}
			}
		}
		return nil
	})
	if at < 0 {
		at = top
	}
	switch {
	case spaces == "":
	case root >= 0 && root < at:
		return page[:root] + spaces + page[root:at] + styles + page[at:]
	case root < 0 && top <= at:
		return page[:top] + "<html" + spaces + ">" + page[top:at] + styles + page[at:] + "</html>"
	}
	return page[:at] + styles + page[at:]
}

// CheckTemplate finds what would refuse every mail in the template: placeholders
// that name nothing or belong to another program (Handlebars' blocks and partials,
// {{{x}}}), pictures that it does not have, {{Body}} where no page can stand. Each
// problem is a sentence; nil: none. A template without {{Body}} is none: it is for
// mails without a text.
func CheckTemplate(t *Template, v Vocabulary) []error {
	c := &compiler{in: Input{Template: t, Vocabulary: v, Hostname: "localhost"}, uses: map[string]int{}}
	var problems []error
	note := func(err error) {
		if err != nil {
			problems = append(problems, err)
		}
	}
	_, err := c.wrapSubject("x")
	note(err)
	if t.HTML == "" && t.Text == "" {
		note(mail.Refuse(554, "5.3.5", "the template %s has neither HTML nor text", t.ID))
	}
	for _, source := range []*text{{src: lines(t.HTML), html: true}, {src: lines(t.Text)}} {
		where := "the template " + t.ID
		if !source.html {
			where = "the text of the template " + t.ID
		}
		_, err := c.wrapText(&wrapping{template: t, host: "localhost"}, source, where)
		note(err)
	}
	return problems
}
