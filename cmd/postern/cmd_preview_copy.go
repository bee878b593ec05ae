package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"strings"
	"time"

	"postern/directory"
	"postern/expand"
	"postern/expand/templates"
	"postern/mail"
	"postern/relay/sign"
)

// previewer makes one copy of a mail that nobody sends.
type previewer struct {
	cfg      *Config
	list     *ListConfig
	template string // "": none
	fields   *expand.Fields
	user     *directory.User // nil: a sample
	file     string          // for people
	now      time.Time
	shown    shownPreview
}

// shownPreview is the object of --json.
type shownPreview struct {
	List     string         `json:"list"`
	Template string         `json:"template,omitempty"`
	Subject  string         `json:"subject"` // as the reader sees it
	From     mail.Address   `json:"from"`
	To       mail.Address   `json:"to"`
	Size     int            `json:"size"` // octets
	Sample   bool           `json:"sample"`
	Fields   []shownField   `json:"fields"`
	Warnings []shownWarning `json:"warnings"`
	Missing  string         `json:"missing,omitempty"` // why there is no copy for this user
	Refused  string         `json:"refused,omitempty"` // what DATA would answer
}

type shownField struct {
	Name         string `json:"name"`
	Value        string `json:"value"` // what stands in the copy
	FallbackUsed bool   `json:"fallback_used"`
	Required     bool   `json:"required"` // it stands somewhere without a fallback
}

type shownWarning struct {
	Code string `json:"code"`
	Text string `json:"text"`
	Note bool   `json:"note,omitempty"` // nothing is wrong
}

// make gives the copy's octets. nil and the reason: the mail is refused, or the
// user has no value.
func (p *previewer) make(ctx context.Context, raw []byte) ([]byte, error) {
	p.shown = shownPreview{List: p.list.ID, Template: p.template, Sample: p.user == nil, Fields: []shownField{}, Warnings: []shownWarning{}}
	in, sub, found, err := p.desk(raw)
	if err != nil {
		return nil, err
	}
	what := in.input(mail.NewID(p.now), p.list.policy(), sub, raw, p.now)
	if what.Template, err = p.wrapper(ctx, in); err != nil {
		p.shown.Refused = err.Error()
		return nil, fmt.Errorf("%s would be refused: %w", p.file, err)
	}
	c, err := p.compile(in, what, sub)
	if err != nil {
		p.shown.Refused = err.Error()
		return nil, fmt.Errorf("%s would be refused: %w", p.file, err)
	}
	for _, w := range expand.Review(what, c) {
		p.warn(w.Code, w.Text, w.Note)
	}
	if !found {
		p.warn("nobody-may-send", fmt.Sprintf("No account and no network of the configuration may send to %s as %s, so the mail would be refused whoever sends it.", p.list.Address, c.HeaderFrom()), false)
	}
	p.shown.From = c.HeaderFrom()
	cp, err := p.copyOf(what.ID, c)
	if err != nil {
		p.shown.Subject, p.shown.Missing = c.Subject(), err.Error()
		return nil, err
	}
	content := c.Render(cp, previewToken)
	whole := content.Bytes()
	p.shown.To, p.shown.Size, p.shown.Subject = cp.To, len(whole), subjectOf(content.Header)
	return whole, nil
}

// wrapper finds the template as RCPT does; nil without one.
func (p *previewer) wrapper(ctx context.Context, in *intake) (*expand.Template, error) {
	if p.template == "" {
		return nil, nil
	}
	source, err := p.cfg.templateSource(slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	defer closeSource(source)
	in.findTemplate = lookup(templates.NewCache(source, p.cfg.Templates.Cache, nil))
	t, err := in.wrapper(ctx, destination{ListConfig: p.list, to: p.list.Address, template: p.template})
	var e *mail.Error
	if errors.As(err, &e) { // as a client reads it, without the cause
		public := *e
		public.Err = nil
		return nil, &public
	}
	return t, err
}

func (p *previewer) warn(code, text string, note bool) {
	p.shown.Warnings = append(p.shown.Warnings, shownWarning{code, text, note})
}

// desk is an intake without a spool, and who could send this mail to the list.
func (p *previewer) desk(raw []byte) (in *intake, sub *mail.Submitter, found bool, err error) {
	var domains []sign.KeyConfig // their keys are not needed
	for _, k := range p.cfg.DKIM {
		domains = append(domains, sign.KeyConfig{Domain: k.Domain})
	}
	keys, err := sign.Open(domains)
	if err != nil {
		return nil, nil, false, err
	}
	in = newIntake(p.cfg, nil, nil, p.fields, keys, nil, slog.New(slog.DiscardHandler))
	if in.footers, err = p.cfg.footers(p.fields); err != nil {
		return nil, nil, false, err
	}
	sub = &mail.Submitter{Name: "whoever sends it", Authenticated: true, SendAs: []string{"*"}}
	head, err := expand.ReadHead(raw)
	if err != nil {
		return in, sub, true, nil // compiling says it
	}
	from, err := head.From()
	if err != nil {
		return in, sub, true, nil
	}
	if s := p.cfg.whoCanSend(p.list.ID, from); s != nil {
		return in, s, true, nil
	}
	return in, sub, false, nil
}

// whoCanSend is one who may send to the list: with this From, else with another that
// takes its place. nil: nobody.
func (c *Config) whoCanSend(list string, from mail.Address) *mail.Submitter {
	var all []*mail.Submitter
	for _, a := range c.SMTP.Accounts {
		all = append(all, &mail.Submitter{Name: a.Username, SendAs: a.SendAs, Lists: a.Lists, RewriteFrom: a.RewriteFrom, Authenticated: true})
	}
	for _, n := range c.SMTP.Networks {
		all = append(all, &mail.Submitter{Name: "network " + n.CIDR.String(), SendAs: n.SendAs, Lists: n.Lists, RewriteFrom: n.RewriteFrom})
	}
	var rewriting *mail.Submitter
	for _, s := range all {
		switch {
		case !s.MayUseList(list):
		case s.RewriteFrom != "":
			rewriting = s
		case s.MaySendAs(from):
			return s
		}
	}
	return rewriting
}

// compile goes the way of DATA. The gateway's own Received stands above what it
// compiles, and so it does here.
func (p *previewer) compile(in *intake, what expand.Input, sub *mail.Submitter) (*expand.Compiled, error) {
	if limit := p.cfg.SMTP.MaxMessageBytes; int64(len(what.Raw)) > limit {
		return nil, mail.Refuse(552, "5.3.4", "the mail is larger than the %d octets that are taken here", limit)
	}
	trace := "Received: by " + p.cfg.Hostname + "; " + p.now.Format(time.RFC1123Z) + "\r\n"
	what.Raw = append([]byte(trace), what.Raw...)
	c, _, err := in.compile(what, sub)
	return c, err
}

// copyOf is the copy for the user, or for somebody who has a value for all.
func (p *previewer) copyOf(id mail.ID, c *expand.Compiled) (*mail.Copy, error) {
	cp := &mail.Copy{Message: id, Seq: 1}
	if p.user == nil {
		p.sample(cp, c)
		return cp, nil
	}
	cp.To, cp.UserKey = p.user.Email, string(p.user.Email)
	p.receives()
	var missing []string
	for i, field := range c.Fields() {
		value := strings.TrimSpace(p.fields.Value(p.user, field))
		cp.Values = append(cp.Values, value)
		p.show(c, i, value)
		if value == "" && c.Required()[i] {
			missing = append(missing, "{{"+field+"}}")
		}
	}
	if missing == nil {
		return cp, nil
	}
	becomes := "the whole message would be held"
	if p.list.Missing == "skip" {
		becomes = "this copy would be skipped"
	}
	return nil, fmt.Errorf("%s has no value for %s, and it stands there without a fallback: %s", p.user.Email, strings.Join(missing, " and "), becomes)
}

// receives says when the user would get no copy at all.
func (p *previewer) receives() {
	if !p.user.Receives(p.list.ID) {
		p.warn("not-subscribed", fmt.Sprintf("%s is not subscribed, or has left the list, and would get no copy.", p.user.Email), true)
		return
	}
	filter, err := expand.CompileFilter(p.list.Filter, p.fields, p.cfg.Location())
	if err != nil { // stops the gateway, and no preview
		p.warn("filter", err.Error(), false)
		return
	}
	if chosen, err := filter.Match(p.user, p.now); err == nil && !chosen {
		p.warn("filtered-out", fmt.Sprintf("The list's filter does not choose %s, who would get no copy.", p.user.Email), true)
	}
}

// sample fills in a name, the fallbacks, and a mark where there is neither.
func (p *previewer) sample(cp *mail.Copy, c *expand.Compiled) {
	name := "Jane Doe"
	if cp.To = "jane.doe@example.net"; p.list.Language == "ko" {
		name, cp.To = "홍길동", "gildong@example.net"
	}
	for i, field := range c.Fields() {
		value := ""
		switch {
		case field == "Name":
			value = name
		case c.Required()[i]:
			value = "‹" + field + "›"
		}
		cp.Values = append(cp.Values, value)
		p.show(c, i, value)
	}
}

// show notes what stands in the copy for a field.
func (p *previewer) show(c *expand.Compiled, i int, value string) {
	field := shownField{Name: c.Fields()[i], Value: value, Required: c.Required()[i]}
	if fallbacks := c.Fallbacks(field.Name); value == "" && len(fallbacks) > 0 {
		field.Value, field.FallbackUsed = strings.Join(fallbacks, " / "), true
	}
	p.shown.Fields = append(p.shown.Fields, field)
}

// subjectOf is the Subject of a header that was rendered.
func subjectOf(header []byte) string {
	head, err := expand.ReadHead(header)
	if err != nil {
		return ""
	}
	s := head.Text("Subject")
	if decoded, err := new(mime.WordDecoder).DecodeHeader(s); err == nil {
		return decoded
	}
	return s
}

// summary is for people.
func (p *previewer) summary(w io.Writer) error {
	var b bytes.Buffer
	t := table(&b)
	fmt.Fprintf(t, "List\t%s (%s)\n", p.list.ID, p.list.Address)
	if p.shown.Template != "" {
		fmt.Fprintf(t, "Template\t%s\n", clean(p.shown.Template))
	}
	fmt.Fprintf(t, "From\t%s\n", dash(string(p.shown.From)))
	if p.shown.Missing == "" {
		to := clean(string(p.shown.To))
		if p.shown.Sample {
			to += "   a sample; --user EMAIL shows a real copy"
		}
		fmt.Fprintf(t, "To\t%s\n", to)
	}
	fmt.Fprintf(t, "Subject\t%s\n", dash(p.shown.Subject))
	if p.shown.Missing == "" {
		fmt.Fprintf(t, "Size\t%s\n", bytesText(int64(p.shown.Size)))
	}
	for _, f := range p.shown.Fields {
		fmt.Fprintf(t, "{{%s}}\t%s   %s\n", clean(f.Name), dash(f.Value), p.origin(f))
	}
	err := t.Flush()
	for _, warning := range p.shown.Warnings {
		kind := "warning"
		if warning.Note {
			kind = "note"
		}
		fmt.Fprintf(&b, "%s (%s): %s\n", kind, warning.Code, clean(warning.Text))
	}
	_, failed := w.Write(b.Bytes())
	return errors.Join(err, failed)
}

// origin says where a value came from.
func (p *previewer) origin(f shownField) string {
	switch {
	case f.FallbackUsed:
		return "the fallback"
	case f.Value == "" && f.Required:
		return "no value and no fallback"
	case f.Value == "":
		return "no value"
	case p.user != nil:
		return "from the directory"
	case f.Required && f.Name != "Name":
		return "a mark: it has no fallback"
	}
	return "a sample"
}
