package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"postern/expand"
	"postern/expand/templates"
)

type templatesCheckCmd struct {
	IDs  []string `arg:"" optional:"" name:"id" help:"The templates; without any, all, and the lists that want one."`
	JSON bool     `name:"json" help:"Print a JSON array."`
}

func (templatesCheckCmd) Help() string {
	return `A problem is that for which every mail in the template would be refused: a placeholder that names no field, a picture that is not there. A warning stops nothing. Both are named with file and line; docs/templates.md explains the warnings.

The exit code is 1 when there is a problem, warnings or not.

Examples:

  postern templates check
  postern templates check winter spring
  postern templates check --json`
}

// checkedTemplate is an element of --json. One without an id is about a list.
type checkedTemplate struct {
	ID       string         `json:"id"`
	Findings []shownFinding `json:"findings"`
}

type shownFinding struct {
	Problem bool   `json:"problem"`
	Code    string `json:"code,omitempty"` // of a warning
	Place   string `json:"place"`
	Line    int    `json:"line,omitempty"`
	Text    string `json:"text"`
}

func (c templatesCheckCmd) Run(s *session) error {
	d, err := s.templates()
	if err != nil {
		return err
	}
	defer d.Close()
	ids, err := idsOf(s.ctx, d.source, c.IDs)
	if err != nil {
		return err
	}
	shown := newPatientProgress(s.stderr)
	all := []checkedTemplate{}
	for i, id := range ids {
		if !d.inFiles() {
			shown.show("%d of %d: %s", i+1, len(ids), id)
		}
		one, err := d.check(s.ctx, id)
		if err != nil {
			shown.clear()
			return err
		}
		all = append(all, one)
	}
	shown.clear()
	if len(c.IDs) == 0 {
		all = append(all, d.around(ids)...)
	}
	return c.print(s, d, all, len(ids))
}

// check looks through one template. Its error is that of a source that cannot be
// asked.
func (d *templateDesk) check(ctx context.Context, id string) (checkedTemplate, error) {
	one := checkedTemplate{ID: id, Findings: []shownFinding{}}
	t, err := fetchTemplate(ctx, d.source, id)
	if err != nil {
		one.Findings = append(one.Findings, shownFinding{Problem: true, Place: d.partOf(id, ""), Text: whyBroken(id, err)})
		if aboutTemplate(err) {
			err = nil
		}
		return one, err
	}
	if strings.EqualFold(id, proofWord) {
		one.Findings = append(one.Findings, shownFinding{Code: "reserved-name", Place: d.partOf(id, ""),
			Text: "no address such as promo+" + id + "@ can name it, only template of a [[list]]: do not call it test"})
	}
	for _, f := range expand.Inspect(t, d.fields).Findings {
		one.Findings = append(one.Findings, shownFinding{f.Problem, f.Code, d.partOf(id, f.Part), f.Line, f.Text})
	}
	return one, nil
}

// around finds what is no template and perhaps should be one, and lists whose
// template is not there.
func (d *templateDesk) around(ids []string) []checkedTemplate {
	var all []checkedTemplate
	if d.inFiles() {
		entries, _ := os.ReadDir(d.cfg.Templates.Path) // what cannot be read was said
		for _, e := range entries {
			name := e.Name()
			if strings.HasPrefix(name, ".") || slices.Contains(ids, name) || !e.IsDir() {
				continue
			}
			why := "this folder has neither template.html nor template.txt in it, so it is no template"
			if err := templates.CheckID(name); err != nil {
				why = err.Error()
			}
			all = append(all, checkedTemplate{name, []shownFinding{{Code: "no-template", Place: filepath.Join(d.cfg.Templates.Path, name), Text: why}}})
		}
	}
	for _, l := range d.cfg.Lists {
		if l.Template != "" && !slices.Contains(ids, l.Template) {
			text := fmt.Sprintf("every mail to this list is refused, because its template %q is not in %s: make it, or mend template in its [[list]]", l.Template, d.place())
			all = append(all, checkedTemplate{"", []shownFinding{{Problem: true, Place: "the list " + l.ID, Text: text}}})
		}
	}
	return all
}

func (c templatesCheckCmd) print(s *session, d *templateDesk, all []checkedTemplate, n int) error {
	problems, warnings := 0, 0
	for _, one := range all {
		for _, f := range one.Findings {
			if f.Problem {
				problems++
			} else {
				warnings++
			}
		}
	}
	var failed error
	if problems > 0 {
		failed = fmt.Errorf("%d %s in what was checked: mails are refused until %s mended", problems, plural(problems, "problem", "problems"), plural(problems, "it is", "they are"))
	}
	if c.JSON {
		return errors.Join(printObject(s, all), failed)
	}
	for _, one := range all {
		for _, f := range one.Findings {
			if _, err := fmt.Fprintln(s.stdout, f.sentence()); err != nil {
				return err
			}
		}
	}
	if n == 0 && len(all) == 0 {
		_, err := fmt.Fprintln(s.stdout, d.noTemplates())
		return err
	}
	_, err := fmt.Fprintf(s.stdout, "%d %s checked: %s, %s\n", n, plural(n, "template", "templates"), counted(problems, "problem"), counted(warnings, "warning"))
	return errors.Join(err, failed)
}

func counted(n int, what string) string {
	if n == 0 {
		return "no " + what + "s"
	}
	return fmt.Sprintf("%d %s", n, plural(n, what, what+"s"))
}

// sentence is as compilers write theirs, so that editors find the place.
func (f shownFinding) sentence() string {
	place := f.Place
	if f.Line > 0 {
		place = fmt.Sprintf("%s:%d", place, f.Line)
	}
	if !f.Problem {
		return clean(fmt.Sprintf("%s: warning (%s): %s", place, f.Code, f.Text))
	}
	return clean(place + ": " + f.Text)
}
