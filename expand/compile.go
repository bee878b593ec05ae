package expand

import (
	"bytes"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"postern/mail"
)

// Vocabulary says which placeholders there are; [Fields] is one.
type Vocabulary interface {
	// Resolve finds the canonical field for a name or alias as somebody wrote it.
	Resolve(name string) (field string, ok bool)
	// Nearest is the name that was probably meant, "" when none is near.
	Nearest(name string) string
}

// Input is a mail and what its copies or its relayed form need beside it.
type Input struct {
	ID          mail.ID
	Raw         []byte          // the whole mail, CRLF, our Received on top; never changed
	List        mail.ListPolicy // of a list mail
	Hostname    string          // right side of every Message-ID
	Mailto      mail.Address    // where a mail with a token as its subject unsubscribes; "" names none
	BaseURL     string          // of the pages: the link is BaseURL + "/u/" + token
	Date        time.Time       // when the mail was accepted: the Date of every copy
	Vocabulary  Vocabulary
	RewriteFrom mail.Address // "" leaves From as it is
	Template    *Template    // nil: the mail goes as it was written
	LinkImages  bool         // the template's pictures are linked where they can be, not attached
	Footers     *Footers     // nil: the built-in ones

	// Host puts a picture where everybody can fetch it and gives its address. It is
	// called once for each content; what it refuses stays in the mail.
	Host     func(picture Image) (url string, err error) // nil: nothing is hosted
	HostOver int64                                       // octets; larger pictures are hosted; 0: none
}

// Compiled is a list mail in its fixed pieces, already encoded for transfer, and
// the slots between them; or ordinary mail with its changed header. It is never
// changed and safe for many goroutines.
type Compiled struct {
	compiled
	body     []byte // all fixed pieces; slots stand at offsets into it
	unhosted []string
}

// compiled is what [Compiled.MarshalBinary] writes beside the body.
type compiled struct {
	Fields   []string     `json:"fields"`
	Required []bool       `json:"required"`
	Shown    string       `json:"shown"`              // the decoded Subject as written
	Subject  string       `json:"subject"`            // its fixed text
	Labelled bool         `json:"labelled,omitempty"` // every copy's Subject begins with the label of advertising
	Gaps     []slot       `json:"gaps,omitempty"`
	From     mail.Address `json:"from"`
	Head     []byte       `json:"head"` // From, Reply-To
	Tail     []byte       `json:"tail"` // the other fields that all copies share
	Slots    []slot       `json:"slots,omitempty"`
	Link     string       `json:"link"` // up to the token
	Prefs    string       `json:"prefs,omitempty"`
	Mailto   string       `json:"mailto"` // "mailto:x@y?subject=", up to the token
	Host     string       `json:"host"`
}

// Fields are the fields whose values a copy holds, in the order of
// [mail.Copy.Values]. Name is the first, used or not: it is the display name of To.
func (c *Compiled) Fields() []string { return c.compiled.Fields }

// Required marks the Fields that stand somewhere without a fallback: a copy without
// a value there would have a hole.
func (c *Compiled) Required() []bool { return c.compiled.Required }

// Subject is the mail's, decoded, with its placeholders as written.
func (c *Compiled) Subject() string { return c.Shown }

// HeaderFrom is the mailbox of the copies' From.
func (c *Compiled) HeaderFrom() mail.Address { return c.From }

// Unhosted says of each picture that [Input.Host] failed to take why it did, as a
// sentence for the log. It is not stored.
func (c *Compiled) Unhosted() []string { return c.unhosted }

// compiler turns one mail into a Compiled.
type compiler struct {
	in    Input
	out   compiled
	uses  map[string]int // fields and where they stand in out.Fields
	link  bool           // what is being compiled shows the unsubscribe link
	fills int            // placeholders met so far

	written   string     // the mail's Subject, as its author wrote it
	wrapping  *wrapping  // a template is being filled, not a mail compiled
	inspector *inspector // what is found is told, and nothing is compiled
	foot      *footing   // while a text with its footer is compiled
	unhosted  []string
}

// Compile reads a list mail once, for all its copies. What it refuses is a
// [*mail.Error], Permanent, with a 5xx code and a sentence for the sender: what
// [CheckExpandable] refuses; what cannot be changed (S/MIME, PGP, winmail.dat, a
// meeting request); a placeholder that names no field, belongs to another program
// or is not closed; a From that is not exactly one mailbox; MIME that is cut off.
// Whether a field has a value is not asked here.
func Compile(in Input) (*Compiled, error) {
	raw := in.Raw
	if !tidy(raw) {
		raw = []byte(lines(string(raw)))
	}
	if err := CheckExpandable(raw, in.List); err != nil {
		return nil, err
	}
	root, err := new(parser).parse(raw, "", "text/plain", 0)
	if err != nil {
		return nil, err
	}
	c := &compiler{in: in, uses: map[string]int{}}
	c.use(placeholder{field: nameField, hasFallback: true})
	if err := c.head(root.header); err != nil {
		return nil, err
	}
	if in.Template != nil {
		if root, err = c.wrap(root); err != nil {
			return nil, err
		}
	}
	if root, err = c.host(root); err != nil {
		return nil, err
	}
	if err := c.texts(root); err != nil {
		return nil, err
	}
	a := &assembler{}
	if err := a.write(root, true); err != nil {
		return nil, err
	}
	c.out.Slots = a.slots
	c.out.Tail = append(c.out.Tail, a.top...)
	return &Compiled{compiled: c.out, body: a.body, unhosted: c.unhosted}, nil
}

// Size is about how many octets a copy has, values left out.
func (c *Compiled) Size() int {
	n := len(c.Head) + len(c.compiled.Subject) + len(c.Tail) + len(c.body)
	for _, s := range c.Slots {
		if r := s.Row; r != nil {
			n += (len(r.Before)+len(r.After)+len(r.Tail))*4/3 - 2*r.Lines // of three ways a copy has one
		}
	}
	return n
}

// nameField is the display name in To.
const nameField = "Name"

// tidy says whether every line ends with CRLF and no CR or LF stands alone.
func tidy(b []byte) bool {
	n := bytes.Count(b, crlf)
	return n == bytes.Count(b, crlf[:1]) && n == bytes.Count(b, crlf[1:])
}

// use notes that a copy needs a field and gives its index.
func (c *compiler) use(p placeholder) int {
	i, known := c.uses[p.field]
	if !known {
		i = len(c.out.Fields)
		c.uses[p.field] = i
		c.out.Fields, c.out.Required = append(c.out.Fields, p.field), append(c.out.Required, false)
	}
	if !p.hasFallback {
		c.out.Required[i] = true
	}
	return i
}

// fill gives what stands in the place of a placeholder.
func (c *compiler) fill(inner, where string, as form) (piece, error) {
	if c.wrapping != nil {
		return c.fillTemplate(inner, where, as)
	}
	if c.fills++; c.fills > maxPlaceholders {
		return piece{}, tooMany()
	}
	if text, ok := literal(inner); ok {
		return piece{text: as.write(clean(text))}, nil
	}
	if value, ok := c.foot.value(inner); ok {
		return piece{text: as.write(value)}, nil
	}
	p, err := resolve(inner, where, c.in.Vocabulary)
	if err != nil {
		return piece{}, err
	}
	s := &slot{Fallback: p.fallback, As: as}
	switch p.field {
	case FieldList:
		return piece{text: as.write(c.in.List.Name)}, nil
	case FieldDate:
		return piece{text: as.write(longDate(c.in.Date, c.in.List.Language))}, nil
	case FieldEmail:
		s.Field = slotEmail
	case FieldUnsubscribe:
		s.Field, c.link = slotLink, true
	case FieldPreferences:
		s.Field = slotPrefs
	default:
		s.Field = c.use(p)
	}
	return piece{slot: s}, nil
}

// maxPlaceholders bounds a row of slots; footer and Subject count.
const maxPlaceholders = 5000

func tooMany() error {
	return mail.Refuse(554, "5.6.0", "the mail has more than %d placeholders; send one with fewer", maxPlaceholders)
}

func longDate(t time.Time, language string) string {
	if language == "ko" {
		return t.Format("2006년 1월 2일")
	}
	return t.Format("2 January 2006")
}

// isLink says whether the inside of a placeholder means a link of ours.
func (c *compiler) isLink(inner string) bool {
	p, err := resolve(inner, "", c.in.Vocabulary)
	return err == nil && (p.field == FieldUnsubscribe || p.field == FieldPreferences)
}

// texts compiles every text of the mail itself, then once more with the footer
// those that bear it.
func (c *compiler) texts(root *part) error {
	var parts []*part
	root.show()
	if err := collect(root, &parts); err != nil {
		return err
	}
	if err := checkUnfilled(root, true); err != nil {
		return err
	}
	for _, p := range parts {
		if err := c.compileText(p); err != nil {
			return err
		}
	}
	c.alternatives(root)
	bearers, err := c.bearers(root)
	if err != nil {
		return err
	}
	for _, p := range bearers {
		if err := c.addFooter(p); err != nil {
			return err
		}
	}
	return nil
}

// collect decodes the texts of the mail itself, in order.
func collect(p *part, parts *[]*part) error {
	for _, child := range p.children {
		if err := collect(child, parts); err != nil {
			return err
		}
	}
	if !p.isText() {
		return nil
	}
	if p.text == nil { // else its pictures are linked already
		if err := p.decode(); err != nil || p.text == nil {
			return err
		}
	}
	*parts = append(*parts, p)
	return nil
}

// checkUnfilled refuses a text of another type, which some readers see instead of
// the others, with a placeholder: values are not written in its language.
func checkUnfilled(p *part, shown bool) error {
	for _, child := range p.children {
		if err := checkUnfilled(child, p.kind == "multipart/alternative"); err != nil {
			return err
		}
	}
	if !shown || p.attached || p.isText() || !strings.HasPrefix(p.kind, "text/") {
		return nil
	}
	if octets, err := decodeTransfer(p.coding, p.body); err == nil && bytes.Contains(octets, []byte("{{")) {
		return mail.Refuse(554, "5.6.0", "%s holds a placeholder, and only plain text and HTML are filled in: leave it out, or send it as one of those", p.where())
	}
	return nil
}

// decode reads the part's text. What nobody here can read passes as it is, unless
// it seems to hold a placeholder.
func (p *part) decode() error {
	octets, err := decodeTransfer(p.coding, p.body)
	charset := p.params["charset"]
	if charset == "" && p.isHTML() {
		charset = htmlCharset(octets)
	}
	s := ""
	if err == nil {
		s, err = decodeText(charset, octets)
	}
	if err != nil {
		if bytes.Contains(p.body, []byte("{{")) || bytes.Contains(bytes.ReplaceAll(octets, []byte{0}, nil), []byte("{{")) {
			return mail.Refuse(554, "5.6.0", "%s holds a placeholder and cannot be read: %v; send it as UTF-8", p.where(), err)
		}
		return nil
	}
	if p.kind == "text/plain" && (strings.HasPrefix(s, "-----BEGIN PGP ") || strings.Contains(s, "\n-----BEGIN PGP ")) {
		return mail.Refuse(554, "5.6.0", "the mail is signed or encrypted with PGP, and a list mail is changed for each recipient: switch that off and send it again")
	}
	flowed := strings.EqualFold(p.params["format"], "flowed")
	p.text = &text{src: lines(s), foreign: charset != "" && !unicodeNamed(charset) && !strings.ContainsRune(s, utf8.RuneError), html: p.isHTML(), flowed: flowed, delsp: flowed && strings.EqualFold(p.params["delsp"], "yes")}
	return nil
}

// compileText finds the placeholders of a text part. A part that has none, is
// UTF-8 and can travel as it stands does.
func (c *compiler) compileText(p *part) error {
	if err := c.checkLeaving(p); err != nil {
		return err
	}
	c.fills -= p.text.fills // of the same text without the footer
	before := c.fills
	c.link = false
	compile := c.textPieces
	if p.text.html {
		compile = c.htmlPieces
	}
	pieces, err := compile(p.text, p.where())
	if err != nil {
		return err
	}
	p.text.link = c.link
	if p.text.fills = c.fills - before; p.text.fills > 0 || p.text.foreign || p.text.hosts || p.sloppy || !sevenBit(p.head) || !p.canTravel() {
		p.text.pieces, p.text.changed = pieces, true
	}
	return nil
}

// checkLeaving refuses a text with somebody's own link: who quotes a copy that they
// got would have every reader unsubscribe them.
func (c *compiler) checkLeaving(p *part) error {
	base := strings.TrimRight(c.in.BaseURL, "/")
	for _, page := range []string{"/u/", "/p/"} {
		if base != "" && (strings.Contains(p.text.src, base+page) || strings.Contains(p.text.src, url.QueryEscape(base+page))) { // so gateways rewrite it
			return mail.Refuse(550, "5.6.0", "%s holds the unsubscribe link of one person (%s…), as a copy that was received has it: whoever clicks on it would unsubscribe that person; delete it, or write {{Unsubscribe}} in its place", p.where(), base+page)
		}
	}
	return nil
}
