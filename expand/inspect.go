package expand

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"postern/mail"
)

// Finding is what [Inspect] says of one place in a template.
type Finding struct {
	Code    string // stable, such as "no-alt"; "" for a problem; docs/templates.md lists them
	Text    string // a sentence
	Part    string // where: PartSubject, PartHTML, PartText, the name of a picture, or "": the whole
	Line    int    // of the part, from 1; 0: not known
	Problem bool   // mails in this template are refused; else it is a warning
}

// The parts of a template that a Finding may be about.
const (
	PartSubject = "subject"
	PartHTML    = "html"
	PartText    = "text"
)

// Inspection is what a careful colleague says of a template.
type Inspection struct {
	Findings     []Finding // by part, and in each by line
	Placeholders []string  // what stands in it, as {{Name}}, each once; pictures are left out
}

// Problems counts the findings for which mails are refused.
func (i *Inspection) Problems() int {
	n := 0
	for _, f := range i.Findings {
		if f.Problem {
			n++
		}
	}
	return n
}

// Inspect finds all that [CheckTemplate] finds, with the lines, and what is odd in a
// template and refuses nothing. It asks nobody.
func Inspect(t *Template, v Vocabulary) *Inspection {
	n := &inspector{t: t, v: v, shown: map[string]bool{}, linked: map[string]bool{}, bodies: map[string][]int{}}
	n.compile(PartSubject, cleanValue(t.Subject), false)
	n.compile(PartHTML, lines(t.HTML), true)
	n.compile(PartText, lines(t.Text), false)
	n.review()
	n.unfilled()
	n.bodyPlaces()
	n.whole()
	n.try()
	order := func(f Finding) int {
		if i := slices.Index([]string{PartSubject, PartHTML, PartText}, f.Part); i >= 0 {
			return i
		}
		return 3
	}
	slices.SortStableFunc(n.out.Findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(order(a), order(b)), cmp.Compare(a.Line, b.Line))
	})
	return &n.out
}

// inspector is told what the compiler finds in the sources of a template.
type inspector struct {
	t      *Template
	v      Vocabulary
	out    Inspection
	part   string // that is being read
	src    string // its source
	shown  map[string]bool
	linked map[string]bool  // by part: {{Unsubscribe}} stands in it
	bodies map[string][]int // by part: where {{Body}} stands
	met    []seen           // in the part
}

// seen is a placeholder and the octet where it stands.
type seen struct {
	at          int
	placeholder string
}

// inspected stands for the name of the source in sentences that begin with it.
const inspected = "the source"

func (n *inspector) compile(part, src string, page bool) {
	n.part, n.src = part, src
	c := &compiler{in: Input{Template: n.t, Vocabulary: n.v, Hostname: "localhost"}, uses: map[string]int{}, inspector: n,
		wrapping: &wrapping{template: n.t, host: "localhost"}}
	read := c.textPieces
	if page {
		read = c.htmlPieces
	}
	n.met = nil
	if _, err := read(&text{src: src, html: page}, inspected); err != nil {
		n.takes(-1, err)
	}
	slices.SortStableFunc(n.met, func(a, b seen) int { return cmp.Compare(a.at, b.at) })
	for _, s := range n.met {
		if !slices.Contains(n.out.Placeholders, s.placeholder) {
			n.out.Placeholders = append(n.out.Placeholders, s.placeholder)
		}
	}
}

// line is that of an octet of the source; 0 for none.
func (n *inspector) line(at int) int {
	if at < 0 || n.part == PartSubject {
		return 0
	}
	return 1 + strings.Count(n.src[:min(at, len(n.src))], "\n")
}

// takes notes a problem at an octet of the source, -1 for one that is not known.
// Without an inspector nobody takes it.
func (n *inspector) takes(at int, err error) bool {
	if n == nil {
		return false
	}
	text := err.Error()
	var e *mail.Error
	if errors.As(err, &e) {
		text = e.Public
	}
	text = strings.TrimPrefix(text, "in "+inspected+": ")
	if rest, ok := strings.CutPrefix(text, "in "+inspected+", "); ok {
		text = rest
	}
	n.add(Finding{Text: text, Part: n.part, Line: n.line(at), Problem: true})
	return true
}

func (n *inspector) add(f Finding) {
	if !slices.Contains(n.out.Findings, f) {
		n.out.Findings = append(n.out.Findings, f)
	}
}

func (n *inspector) warn(code, part string, line int, format string, a ...any) {
	n.add(Finding{Code: code, Text: fmt.Sprintf(format, a...), Part: part, Line: line})
}

// meets notes a placeholder, and what is wrong with it.
func (n *inspector) meets(at int, inner string, err error) bool {
	if n == nil {
		return false
	}
	if err != nil {
		return n.takes(at, err)
	}
	if _, ok := literal(inner); ok {
		return true
	}
	name, _, _ := strings.Cut(strings.Map(narrow, inner), "|")
	folded := foldName(name)
	field := ""
	switch {
	case strings.HasPrefix(folded, templateImage):
		_, file, _ := strings.Cut(name, ":")
		n.shown[cleanValue(file)] = true
		return true
	case folded == templateBody && n.part == PartSubject:
		return n.takes(-1, errors.New("{{Body}} is a page and no part of a subject"))
	case folded == templateBody:
		field = "Body"
		n.bodies[n.part] = append(n.bodies[n.part], at)
	case folded == templateSubject:
		field = "Subject"
	default:
		p, _ := resolve(inner, "", n.v)
		field = p.field
		n.linked[n.part] = n.linked[n.part] || field == FieldUnsubscribe
	}
	n.met = append(n.met, seen{at, "{{" + field + "}}"})
	return true
}

// whole is about what no single line is to blame for.
func (n *inspector) whole() {
	t := n.t
	if len(t.HTML) > maxPage {
		n.warn("clipped-by-gmail", PartHTML, 0, "The HTML has %s without what the mail says; Gmail cuts a mail off after 102 KB, and its unsubscribe link with it.", sizeText(len(t.HTML)))
	}
	n.missing("no-body", func(part string) bool { return n.bodies[part] != nil },
		"There is no {{Body}}, so it has no place for what a mail says: only mails without a text can be put into it.",
		"There is no {{Body}} in the %s, and there is one in the %s: who is shown the %[1]s does not see what the mail says.")
	n.missing("no-unsubscribe", func(part string) bool { return n.linked[part] },
		"There is no {{Unsubscribe}}, so every copy gets a footer with the link below the template.",
		"There is no {{Unsubscribe}} in the %s, and there is one in the %s: the %[1]s gets a footer with the link.")
	for _, m := range t.Images {
		if !n.shown[m.Name] {
			n.warn("unused-picture", m.Name, 0, "No {{image:%s}} shows this picture.", m.Name)
		}
		if len(m.Data) > maxPicture {
			n.warn("large-picture", m.Name, 0, "The picture has %s, and every copy carries it. Make it smaller.", sizeText(len(m.Data)))
		}
	}
}

// missing warns of what stands in no part, or in one of two.
func (n *inspector) missing(code string, has func(part string) bool, nowhere, inOne string) {
	page, plain := n.t.HTML == "" || has(PartHTML), n.t.Text == "" || has(PartText)
	switch {
	case page && plain:
	case !has(PartHTML) && !has(PartText):
		n.warn(code, "", 0, "%s", nowhere)
	case plain:
		n.warn(code, PartHTML, 0, inOne, "HTML", "text")
	default:
		n.warn(code, PartText, 0, inOne, "text", "HTML")
	}
}

// try puts a mail into the template, for what shows only then.
func (n *inspector) try() {
	if n.out.Problems() > 0 {
		return
	}
	raw := "From: a@example.com\r\nSubject: x\r\n\r\n"
	if n.bodies[PartHTML] != nil || n.bodies[PartText] != nil {
		raw += "x\r\n"
	}
	_, err := Compile(Input{ID: "x", Raw: []byte(raw), List: mail.ListPolicy{ID: "x", Address: "x@example.com", Language: "en"}, Hostname: "localhost",
		BaseURL: "https://example.com", Vocabulary: n.v, Template: n.t})
	if err != nil {
		n.part = ""
		n.takes(-1, err)
	}
}
