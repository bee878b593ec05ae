package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"

	"postern/expand"
	"postern/expand/templates"
	"postern/mail"
)

type templatesPushCmd struct {
	IDs    []string `arg:"" optional:"" name:"id" help:"The templates; without any, all."`
	From   string   `help:"The folder of the templates' folders; else path of [templates]." placeholder:"PATH"`
	DryRun bool     `help:"Only say what would be done."`
	JSON   bool     `name:"json" help:"Print one JSON object."`
}

func (templatesPushCmd) Help() string {
	return `Texts go into templates of Amazon SES, purposes and addresses of pictures into the table, new pictures into host_bucket; a picture that the table names already is replaced where it lies. Only what differs is written: done again it does nothing. Nothing is ever deleted there. region, table, host_bucket and the endpoints of [templates] are used, whatever its driver.

SES reads what is in braces as Handlebars, which knows no {{Name|fallback}}: such templates are named and stay in files; the others go. The exit code is 1 then.

Examples:

  postern templates push --dry-run
  postern templates push winter
  postern templates push --from /srv/templates`
}

type templatesPullCmd struct {
	IDs    []string `arg:"" optional:"" name:"id" help:"The templates; without any, all."`
	To     string   `help:"The folder that gets a folder for each template; else path of [templates]." placeholder:"PATH"`
	DryRun bool     `help:"Only say what would be done."`
	JSON   bool     `name:"json" help:"Print one JSON object."`
}

func (templatesPullCmd) Help() string {
	return `Writes each template of Amazon SES, with its purpose and its pictures, into a folder of its own. Texts and pictures that were there and differ are replaced, and what the template does not have is removed: look at --dry-run first where somebody works on the files. Folders of other templates stay as they are. Done again it does nothing. SES answers one question a second, so a hundred templates take two minutes.

Examples:

  postern templates pull --to pulled --dry-run
  postern templates pull winter
  postern templates pull`
}

func (c templatesPushCmd) Run(s *session) error {
	return s.carry(func(cfg *Config, ses *templates.SES) carrier {
		path := cmp.Or(c.From, cfg.Templates.Path)
		return carrier{from: templates.Files{Path: path}, to: ses, names: [2]string{path, "SES"}, check: fitsSES, dry: c.DryRun, json: c.JSON}
	}, c.IDs)
}

func (c templatesPullCmd) Run(s *session) error {
	return s.carry(func(cfg *Config, ses *templates.SES) carrier {
		path := cmp.Or(c.To, cfg.Templates.Path)
		return carrier{from: ses, to: templates.Files{Path: path}, names: [2]string{"SES", path}, dry: c.DryRun, json: c.JSON}
	}, c.IDs)
}

// carry opens SES and brings templates from one place to the other. Pictures are
// always fetched: who only links them has nothing to write into a folder.
func (s *session) carry(make func(*Config, *templates.SES) carrier, ids []string) error {
	cfg, err := LoadOffline(s.config)
	if err != nil {
		return err
	}
	ses, err := cfg.sesTemplates("inline", slog.New(slog.DiscardHandler))
	if err != nil {
		return plainTemplateError(err)
	}
	defer ses.Close()
	c := make(cfg, ses)
	c.session = s
	return c.run(ids)
}

// carrier brings templates from one place to another.
type carrier struct {
	*session
	from  templates.Source
	to    templateWriter
	names [2]string // of the places, for people
	check func(*expand.Template) error
	dry   bool
	json  bool

	did carried
}

// templateWriter is a place to which templates can be written.
type templateWriter interface {
	Put(ctx context.Context, t *expand.Template) ([]string, error)
	DryRun(ctx context.Context, t *expand.Template) ([]string, error)
}

// carried is the object of --json.
type carried struct {
	DryRun    bool            `json:"dry_run"`
	Changes   []string        `json:"changes"`   // sentences
	Changed   []string        `json:"changed"`   // templates
	Unchanged []string        `json:"unchanged"` // templates
	Failed    []failedToCarry `json:"failed"`
}

type failedToCarry struct {
	ID    string `json:"id"`
	Error string `json:"error"`
}

func (c *carrier) run(asked []string) error {
	c.did = carried{DryRun: c.dry, Changes: []string{}, Changed: []string{}, Unchanged: []string{}, Failed: []failedToCarry{}}
	ids, err := idsOf(c.ctx, c.from, asked)
	if err != nil {
		return err
	}
	shown := newPatientProgress(c.stderr)
	for i, id := range ids {
		shown.show("%d of %d: %s", i+1, len(ids), id)
		sentences, err := c.one(id)
		shown.clear()
		c.note(id, sentences, err)
		if err != nil && !aboutTemplate(err) {
			c.rest(len(ids) - i - 1)
			break
		}
	}
	if c.json {
		return errors.Join(printObject(c.session, c.did), c.failed(len(ids)))
	}
	return errors.Join(c.summary(len(ids)), c.failed(len(ids)))
}

// one carries one template and says what was done.
func (c *carrier) one(id string) ([]string, error) {
	t, err := fetchTemplate(c.ctx, c.from, id)
	if err != nil {
		return nil, err
	}
	if c.check != nil {
		if err := c.check(t); err != nil {
			return nil, err
		}
	}
	put := c.to.Put
	if c.dry {
		put = c.to.DryRun
	}
	sentences, err := put(c.ctx, t)
	return sentences, plainTemplateError(err)
}

// note prints what became of one template, and keeps it.
func (c *carrier) note(id string, sentences []string, err error) {
	switch {
	case err != nil:
		c.did.Failed = append(c.did.Failed, failedToCarry{id, whyBroken(id, err)})
	case len(sentences) > 0:
		c.did.Changed = append(c.did.Changed, id)
	default:
		c.did.Unchanged = append(c.did.Unchanged, id)
	}
	c.did.Changes = append(c.did.Changes, sentences...)
	if c.json {
		return
	}
	for _, said := range sentences {
		fmt.Fprintln(c.stdout, clean(said))
	}
	if err != nil {
		fmt.Fprintf(c.stderr, "%s: %s\n", clean(id), clean(whyBroken(id, err)))
	}
}

// rest says that nobody asked for the others.
func (c *carrier) rest(n int) {
	if n > 0 && !c.json {
		fmt.Fprintf(c.stderr, "%s after it %s not tried; doing it again is safe\n", counted(n, "template"), plural(n, "was", "were"))
	}
}

func (c *carrier) summary(n int) error {
	changed, same := len(c.did.Changed), len(c.did.Unchanged)
	switch {
	case n == 0:
		_, err := fmt.Fprintf(c.stdout, "nothing to do: there are no templates in %s\n", c.names[0])
		return err
	case changed == 0 && same == 0:
		return nil // the error says it
	case changed == 0:
		_, err := fmt.Fprintf(c.stdout, "nothing to do: %s in %s as in %s\n", plural(same, "the template is the same", fmt.Sprintf("%d templates are the same", same)), c.names[1], c.names[0])
		return err
	}
	verb := plural(changed, "was", "were") + " brought"
	if c.dry {
		verb = "would be brought"
	}
	_, err := fmt.Fprintf(c.stdout, "%s %s from %s to %s", counted(changed, "template"), verb, c.names[0], c.names[1])
	if same > 0 {
		_, err = fmt.Fprintf(c.stdout, "; %d %s the same already", same, plural(same, "was", "were"))
	}
	if c.dry {
		_, err = fmt.Fprint(c.stdout, "; nothing was changed")
	}
	fmt.Fprintln(c.stdout)
	return err
}

func (c *carrier) failed(n int) error {
	if left := n - len(c.did.Changed) - len(c.did.Unchanged); left > 0 {
		return fmt.Errorf("%d of %d %s not be brought from %s to %s: mend what is named, and do it again", left, n,
			plural(n, "template could", "templates could"), c.names[0], c.names[1])
	}
	return nil
}

// withFallback is a placeholder that Handlebars cannot read. Its blocks, which it
// can, hold bars too.
var withFallback = regexp.MustCompile(`\{\{[^{}#/>!]([^{}]*[^{}|])?\|[^{}]*\}\}`)

// fitsSES refuses what SES would, before anything is written and in a dry run too.
func fitsSES(t *expand.Template) error {
	for _, part := range []struct{ name, source string }{{"its subject", t.Subject}, {"its HTML", t.HTML}, {"its text", t.Text}} {
		if found := withFallback.FindString(part.source); found != "" {
			return templateError{mail.Refuse(550, "5.3.5", "SES reads what is in braces as Handlebars, which knows no fallback, and %s has %.80s: leave the fallback out, or keep this template in files", part.name, found)}
		}
	}
	return nil
}
