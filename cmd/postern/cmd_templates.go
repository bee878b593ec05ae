package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"postern/expand"
	"postern/expand/templates"
	"postern/mail"
)

type templatesCmd struct {
	List    templatesListCmd    `cmd:"" help:"List the templates, and which lists use them."`
	Show    templatesShowCmd    `cmd:"" help:"Show what a template has."`
	Check   templatesCheckCmd   `cmd:"" help:"Say what is wrong or odd in templates."`
	Preview templatesPreviewCmd `cmd:"" help:"Show a mail in a template."`
	Push    templatesPushCmd    `cmd:"" help:"Bring templates from files to SES, its table and its bucket."`
	Pull    templatesPullCmd    `cmd:"" help:"Bring templates from SES to files."`
}

func (templatesCmd) Help() string {
	return `A template wraps what a marketer writes: every mail to a list that has one (template of [[list]]), or one mail to list+TEMPLATE@. The templates are where [templates] of the configuration says: in a folder (driver files), or in Amazon SES with pictures in S3 (driver ses). docs/templates.md says how they are written.

These commands work while the gateway runs and while it does not. A gateway that runs takes up a change when its cache has run out (cache of [templates]).

Examples:

  postern templates list
  postern templates check
  postern templates preview winter --out copy.eml`
}

// templateDesk is what the commands about templates have before them.
type templateDesk struct {
	cfg    *Config
	source templates.Source
	fields *expand.Fields
}

// templates opens the configured driver, and reads the vocabulary.
func (s *session) templates() (*templateDesk, error) {
	cfg, err := LoadOffline(s.config)
	if err != nil {
		return nil, err
	}
	known, err := ask(s, cfg, "")
	if err != nil {
		return nil, err
	}
	d := &templateDesk{cfg: cfg}
	if d.fields, err = cfg.vocabulary(known.fields); err != nil {
		return nil, err
	}
	d.source, err = cfg.templateSource(slog.New(slog.DiscardHandler))
	return d, err
}

func (d *templateDesk) Close() error { return closeSource(d.source) }

func (d *templateDesk) inFiles() bool { return d.cfg.Templates.Driver != "ses" }

// place names the driver's place for people.
func (d *templateDesk) place() string {
	if d.inFiles() {
		return d.cfg.Templates.Path
	}
	return "SES"
}

// noTemplates says what to do where there is none.
func (d *templateDesk) noTemplates() string {
	if d.inFiles() {
		return fmt.Sprintf("There are no templates in the folder %s: make a folder in it with a template.html; docs/templates.md says how.", d.cfg.Templates.Path)
	}
	return "There are no templates in SES: `postern templates push` brings some from files."
}

// users are the lists that put every mail into the template.
func (d *templateDesk) users(id string) []string {
	all := []string{}
	for _, l := range d.cfg.Lists {
		if l.Template == id {
			all = append(all, l.ID)
		}
	}
	return all
}

// list names the templates. A folder that is not there yet holds none.
func listTemplates(ctx context.Context, source templates.Source) ([]templates.Info, error) {
	infos, err := source.List(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return infos, plainTemplateError(err)
}

// fetch gets a template; where there is none of that name the error names others.
func fetchTemplate(ctx context.Context, source templates.Source, id string) (*expand.Template, error) {
	t, err := source.Template(ctx, id)
	if errors.Is(err, templates.ErrUnknown) {
		_, err = templates.NewCache(source, time.Minute, nil).Get(ctx, id)
	}
	return t, plainTemplateError(err)
}

// templateError is an error for people, without the codes of SMTP.
type templateError struct{ error }

func (e templateError) Unwrap() error { return e.error }

func (e templateError) Error() string {
	var known *mail.Error
	switch {
	case !errors.As(e.error, &known):
		return e.error.Error()
	case known.Class == mail.Permanent || known.Err == nil:
		return known.Public
	}
	return known.Public + ": " + plainPathError(known.Err).Error()
}

func plainTemplateError(err error) error {
	if err == nil {
		return nil
	}
	return templateError{err}
}

// whyBroken is an error beside the name of its template.
func whyBroken(id string, err error) string {
	return strings.TrimPrefix(err.Error(), "the template "+id+" cannot be used: ")
}

// aboutTemplate says that an error is about one template, so that the next may be
// tried; with the others the source itself cannot be asked.
func aboutTemplate(err error) bool { return mail.ClassOf(err) == mail.Permanent }

type templatesListCmd struct {
	JSON bool `name:"json" help:"Print a JSON array."`
}

func (templatesListCmd) Help() string {
	return `With the driver files each template is read and checked, and one that cannot be used is marked. With the driver ses only names and purposes are asked for, since SES answers one question a second.

Examples:

  postern templates list
  postern templates list --json`
}

// shownTemplate is an element of --json.
type shownTemplate struct {
	ID       string         `json:"id"`
	Purpose  string         `json:"purpose"`
	Lists    []string       `json:"lists"` // that put every mail into it
	Subject  string         `json:"subject,omitempty"`
	Fields   []string       `json:"fields,omitempty"`
	HTML     int            `json:"html,omitempty"` // octets
	Text     int            `json:"text,omitempty"`
	Pictures []shownPicture `json:"pictures,omitempty"`
	Problem  string         `json:"problem,omitempty"` // why no mail can be put into it
	Warnings int            `json:"warnings,omitempty"`
}

type shownPicture struct {
	Name string `json:"name"`
	Type string `json:"type,omitempty"`
	Size int    `json:"size,omitempty"` // octets
	URL  string `json:"url,omitempty"`
}

func (c templatesListCmd) Run(s *session) error {
	d, err := s.templates()
	if err != nil {
		return err
	}
	defer d.Close()
	infos, failed := listTemplates(s.ctx, d.source)
	all := []shownTemplate{}
	for _, info := range infos {
		one := shownTemplate{ID: info.ID, Purpose: info.Purpose, Lists: d.users(info.ID)}
		if d.inFiles() {
			one = d.shown(s.ctx, info)
		}
		all = append(all, one)
	}
	if c.JSON {
		return errors.Join(printObject(s, all), failed)
	}
	if len(all) == 0 && failed == nil {
		_, err := fmt.Fprintln(s.stdout, d.noTemplates())
		return err
	}
	return errors.Join(d.printList(s, all), failed)
}

// shown reads a template; what is wrong with it is part of the answer.
func (d *templateDesk) shown(ctx context.Context, info templates.Info) shownTemplate {
	t, err := d.source.Template(ctx, info.ID)
	if err != nil {
		return shownTemplate{ID: info.ID, Purpose: info.Purpose, Lists: d.users(info.ID), Problem: whyBroken(info.ID, plainTemplateError(err))}
	}
	return d.describe(t)
}

func (d *templateDesk) describe(t *expand.Template) shownTemplate {
	one := shownTemplate{ID: t.ID, Purpose: t.Purpose, Lists: d.users(t.ID), Subject: t.Subject, HTML: len(t.HTML), Text: len(t.Text)}
	for _, m := range t.Images {
		one.Pictures = append(one.Pictures, shownPicture{m.Name, m.Type, len(m.Data), m.URL})
	}
	seen := expand.Inspect(t, d.fields)
	one.Fields = seen.Placeholders
	one.Warnings = len(seen.Findings) - seen.Problems()
	if n := seen.Problems(); n > 0 {
		one.Problem = fmt.Sprintf("%d %s: `postern templates check %s`", n, plural(n, "problem", "problems"), t.ID)
	}
	return one
}

func (d *templateDesk) printList(s *session, all []shownTemplate) error {
	head := "TEMPLATE\tPURPOSE\tLISTS\n"
	if d.inFiles() {
		head = "TEMPLATE\tPURPOSE\tLISTS\tHAS\tPROBLEM\n"
	}
	t := &rows{Writer: table(s.stdout), head: head}
	for _, one := range all {
		cells := []string{clean(one.ID), dash(one.Purpose), dash(strings.Join(one.Lists, ", "))}
		if d.inFiles() {
			cells = append(cells, dash(one.has()), dash(one.Problem))
		}
		if err := t.add("%s\n", strings.Join(cells, "\t")); err != nil {
			return err
		}
	}
	return t.Flush()
}

// has is what is in a template, in a few words.
func (t shownTemplate) has() string {
	var parts []string
	for _, p := range []struct {
		name string
		size int
	}{{"HTML", t.HTML}, {"text", t.Text}} {
		if p.size > 0 {
			parts = append(parts, p.name+" "+bytesText(int64(p.size)))
		}
	}
	if n := len(t.Pictures); n > 0 {
		size := 0
		for _, p := range t.Pictures {
			size += p.Size
		}
		parts = append(parts, fmt.Sprintf("%d %s %s", n, plural(n, "picture", "pictures"), bytesText(int64(size))))
	}
	return strings.Join(parts, ", ")
}

type templatesShowCmd struct {
	ID   string `arg:"" help:"The template."`
	HTML bool   `name:"html" help:"Print its HTML as it is stored." xor:"what"`
	Text bool   `help:"Print its text as it is stored." xor:"what"`
	JSON bool   `name:"json" help:"Print one JSON object." xor:"what"`
}

func (templatesShowCmd) Help() string {
	return `Examples:

  postern templates show winter
  postern templates show winter --html > winter.html
  postern templates show winter --json`
}

func (c templatesShowCmd) Run(s *session) error {
	d, err := s.templates()
	if err != nil {
		return err
	}
	defer d.Close()
	t, err := fetchTemplate(s.ctx, d.source, c.ID)
	if err != nil {
		return err
	}
	switch {
	case c.HTML && t.HTML == "":
		return fmt.Errorf("the template %s has no HTML, only text", t.ID)
	case c.Text && t.Text == "":
		return fmt.Errorf("the template %s has no text of its own: each copy's is made from the HTML", t.ID)
	case c.HTML || c.Text:
		_, err := fmt.Fprint(s.stdout, map[bool]string{true: t.HTML, false: t.Text}[c.HTML])
		return err
	}
	one := d.describe(t)
	if c.JSON {
		return printObject(s, one)
	}
	return printTemplate(s, one)
}

func printTemplate(s *session, one shownTemplate) error {
	t := table(s.stdout)
	fmt.Fprintf(t, "Template\t%s\n", clean(one.ID))
	fmt.Fprintf(t, "Purpose\t%s\n", dash(one.Purpose))
	fmt.Fprintf(t, "Lists\t%s\n", dash(strings.Join(one.Lists, ", ")))
	fmt.Fprintf(t, "Subject\t%s\n", clean(cmp.Or(one.Subject, "that of the mail")))
	fmt.Fprintf(t, "Fields\t%s\n", dash(strings.Join(one.Fields, " ")))
	for _, p := range []struct {
		name string
		size int
		none string
	}{{"HTML", one.HTML, "none"}, {"Text", one.Text, "made from the HTML"}} {
		size := p.none
		if p.size > 0 {
			size = bytesText(int64(p.size))
		}
		fmt.Fprintf(t, "%s\t%s\n", p.name, size)
	}
	for i, p := range one.Pictures {
		size := "only linked"
		if p.Size > 0 {
			size = p.Type + ", " + bytesText(int64(p.Size))
		}
		fmt.Fprintf(t, "%s\t%s\n", map[bool]string{true: "Pictures"}[i == 0], clean(strings.Join(words(p.Name+" ("+size+")", p.URL), "  ")))
	}
	verdict := "nothing is wrong or odd"
	switch n := one.Warnings; {
	case one.Problem != "":
		verdict = one.Problem
	case n > 0:
		verdict = fmt.Sprintf("%d %s: `postern templates check %s`", n, plural(n, "warning", "warnings"), one.ID)
	}
	fmt.Fprintf(t, "Check\t%s\n", clean(verdict))
	return t.Flush()
}

func printObject(s *session, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("the answer cannot be written: %w", err)
	}
	return printJSON(s.stdout, text)
}

// partOf is where a part of a template is, for people.
func (d *templateDesk) partOf(id, part string) string {
	if d.inFiles() {
		name := map[string]string{"": "", expand.PartSubject: "subject.txt", expand.PartHTML: "template.html", expand.PartText: "template.txt"}
		file, ok := name[part]
		if !ok {
			file = filepath.Join("images", part)
		}
		return filepath.Join(d.cfg.Templates.Path, id, file)
	}
	switch part {
	case "":
		return id
	case expand.PartSubject, expand.PartHTML, expand.PartText:
		return id + ", " + map[string]string{expand.PartSubject: "subject", expand.PartHTML: "HTML", expand.PartText: "text"}[part] + " in SES"
	}
	return id + ", picture " + part
}

// idsOf are the templates that were asked for, each once, else all.
func idsOf(ctx context.Context, source templates.Source, asked []string) ([]string, error) {
	if len(asked) > 0 {
		slices.Sort(asked)
		return slices.Compact(asked), nil
	}
	infos, err := listTemplates(ctx, source)
	var ids []string
	for _, i := range infos {
		ids = append(ids, i.ID)
	}
	return ids, err
}
