package optout

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/html"

	"postern/directory"
	"postern/mail"
)

var (
	// fromElsewhere is what a style sheet could load, and its address would be a trace.
	fromElsewhere = regexp.MustCompile(`(?i)@import|url\(|</`)
	// action is what a template does, which a reader of HTML does not know.
	action = regexp.MustCompile(`(?s)\{\{.*?\}\}`)
)

// checkStyle finds what the policy of the pages would keep from working.
func checkStyle(css string) error {
	at := fromElsewhere.FindStringIndex(css)
	if at == nil {
		return nil
	}
	line := 1 + strings.Count(css[:at[0]], "\n")
	return fmt.Errorf("%s:%d: %q is not possible: the pages load nothing, so that nobody is traced; write the styles into this file and do without pictures and fonts of your own", styleFile, line, css[at[0]:at[1]])
}

// checkMarkup finds, by its line, what the policy of the pages would keep from
// working, and what scanners would set off.
func checkMarkup(name, source string) error {
	// An action within a tag would confuse the reader of tags; its lines are kept.
	source = action.ReplaceAllStringFunc(source, func(s string) string { return strings.Repeat("\n", strings.Count(s, "\n")) })
	z := html.NewTokenizer(strings.NewReader(source))
	line := 1
	var problems []error
	for {
		kind := z.Next()
		if kind == html.ErrorToken {
			return errors.Join(problems...)
		}
		here := line
		line += bytes.Count(z.Raw(), []byte("\n"))
		if kind != html.StartTagToken && kind != html.SelfClosingTagToken {
			continue
		}
		if what := forbidden(z.Token()); what != "" {
			problems = append(problems, fmt.Errorf("%s:%d: %s", name, here, what))
		}
	}
}

func forbidden(t html.Token) string {
	switch t.Data {
	case "script", "iframe", "object", "embed", "link", "base", "img", "video", "audio", "svg", "picture":
		return fmt.Sprintf("<%s> is not possible: the pages run no script and load nothing; delete it", t.Data)
	}
	for _, a := range t.Attr {
		switch {
		case strings.HasPrefix(a.Key, "on"), a.Key == "http-equiv":
			return fmt.Sprintf("%s=%q is not possible: nothing may happen by itself, because mail scanners open the pages; delete it", a.Key, a.Val)
		case a.Key == "style":
			return fmt.Sprintf("style=%q is not possible: write a class, and its style into %s", a.Val, styleFile)
		case a.Key == "formaction", a.Key == "target" && t.Data == "form":
			return fmt.Sprintf("%s=%q is not possible: a form goes to the page itself; delete it", a.Key, a.Val)
		}
	}
	return ""
}

// sampleUser has an address that is long for a narrow screen.
const sampleUser = mail.Address("minji.kim@a-rather-long-domain.example.com")

// try shows every page in every language and state, and looks whether it can be used.
func (t *Templates) try() error {
	var problems []error
	for _, lang := range languages() {
		for _, v := range t.samples(lang) {
			page, err := t.render(v)
			if err == nil {
				err = usable(v, page)
			}
			if err != nil && !slices.ContainsFunc(problems, func(p error) bool { return p.Error() == err.Error() }) {
				problems = append(problems, err)
			}
		}
	}
	return errors.Join(problems...)
}

// samples are the pages in every state.
func (t *Templates) samples(lang string) []*view {
	sample := func(page, section string) *view {
		v := t.newView(page, section, lang, `Spring & "Summer" <봄>`, sampleUser)
		v.Preferences = "../p/TOKEN?lang=" + lang
		return v
	}
	p := t.newView(preferencesPage, preferencesPage, lang, "", sampleUser)
	agreed := p.dated("consent", time.Date(2026, 11, 26, 0, 0, 0, 0, time.UTC))
	rows := []row{
		{Number: 1, ID: "first", Name: "First <b>", Status: "on", On: true, Was: true, Notes: []string{p.text("advertising"), agreed}},
		{Number: 2, ID: "second", Name: "둘째", Notes: []string{p.text("off")}},
		{Number: 3, ID: "third", Name: "Third", On: true, Was: true},
	}
	all := []*view{sample(askPage, askPage)}
	for _, undo := range [][]row{nil, rows} {
		v := sample(donePage, donePage)
		v.Undo = undo
		all = append(all, v)
	}
	for _, k := range append(directory.Kinds(), "") {
		v, saved := sample(preferencesPage, preferencesPage), sample(savedPage, savedPage)
		v.Lists, saved.Lists, saved.Undo = rows, rows, rows
		if note := suppressedNote(k); note != "" {
			v.Notes, saved.Notes = []string{v.text("unsaved"), v.text(note)}, []string{saved.text("asked")}
		}
		all = append(all, v, saved)
	}
	for _, lead := range []string{"none", "nothing"} {
		v := sample(preferencesPage, preferencesPage)
		v.lead = lead
		all = append(all, v)
	}
	for _, page := range []string{confirmPage, confirmedPage} {
		v := sample(page, page)
		v.Lists = rows
		all = append(all, v)
	}
	for _, section := range notices() {
		v := sample(noticePage, section)
		v.Again = section == sectionLater
		if section != sectionExpired && section != sectionVoid {
			v.Preferences = ""
		}
		all = append(all, v)
	}
	for _, v := range all {
		v.Other, v.OtherName = "en", "English"
	}
	return all
}

// usable holds that a reader can do on a page what it is for.
func usable(v *view, page []byte) error {
	file := v.Page + ".html"
	doc, err := html.Parse(bytes.NewReader(page))
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	seen := &inventory{tags: map[string]int{}}
	seen.walk(doc, nil)
	for _, tag := range []string{"title", "main", "h1", "style"} {
		if seen.tags[tag] == 0 {
			return fmt.Errorf("%s: it has no <%s>, and every page has one: take it from the built-in file, `postern optout pages DIR` writes it", layoutFile, tag)
		}
		if seen.tags[tag] > 1 {
			return fmt.Errorf("%s: the page has %d <%s>, and the one of %s is enough: delete the other", file, seen.tags[tag], tag, layoutFile)
		}
	}
	if seen.lang != v.Lang {
		return fmt.Errorf(`%s: <html> does not say the language: write <html lang="{{.Lang}}">`, layoutFile)
	}
	for _, want := range v.wanted() {
		if !slices.Contains(seen.forms, want) {
			return fmt.Errorf("%s: there is no form with %s and a button with a text: without it nobody can press what the page offers; take it from the built-in page, `postern optout pages DIR` writes it", file, want)
		}
	}
	return nil
}

// wanted are the forms of a page, each with its fields as an inventory writes them.
func (v *view) wanted() (all []string) {
	save := []string{"do=save", "page=" + v.Page}
	clear := []string{"do=all", "page=" + v.Page}
	rows := v.Lists
	if v.Page != preferencesPage {
		rows = v.Undo
	}
	for _, r := range rows {
		if r.Was {
			save, clear = append(save, "was="+r.ID), append(clear, "was="+r.ID)
		}
		if r.On || v.Page == preferencesPage {
			save = append(save, "on="+r.ID)
		}
	}
	switch {
	case v.Page == askPage, v.Page == confirmPage, v.Again:
		all = append(all, fields([]string{"from=page"}))
	case v.Page == preferencesPage && v.Lists != nil:
		all = append(all, fields(save), fields(clear))
	case v.Page == preferencesPage:
		all = append(all, fields(clear))
	case v.Undo != nil:
		all = append(all, fields(save))
	}
	return all
}

// fields writes the fields of a form in one order.
func fields(all []string) string {
	slices.Sort(all)
	return strings.Join(all, " ")
}

// inventory is what stands on a page.
type inventory struct {
	tags  map[string]int
	lang  string
	forms []string // those that are sent by POST and a button, with their fields
}

// form is the one that is being read.
type form struct {
	fields []string
	button bool
}

func (s *inventory) walk(n *html.Node, in *form) {
	if n.Type == html.ElementNode {
		s.tags[n.Data]++
		switch {
		case n.Data == "html":
			s.lang = attribute(n, "lang")
		case n.Data == "form" && strings.EqualFold(attribute(n, "method"), "post"):
			in = &form{}
			defer func() {
				if in.button {
					s.forms = append(s.forms, fields(in.fields))
				}
			}()
		case n.Data == "input" && in != nil && attribute(n, "name") != "":
			in.fields = append(in.fields, attribute(n, "name")+"="+attribute(n, "value"))
		case n.Data == "button" && in != nil:
			in.button = in.button || textOf(n) != ""
		}
	}
	for c := range n.ChildNodes() {
		s.walk(c, in)
	}
}

func textOf(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data)
		}
	}
	return strings.TrimSpace(b.String())
}
