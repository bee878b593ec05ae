package main

import (
	"context"
	"errors"
	"strings"

	"postern/expand"
	"postern/expand/templates"
	"postern/mail"
)

// destination is a list as a recipient's address names it: promo@, or
// promo+TEMPLATE@ for one message in another template.
type destination struct {
	*ListConfig
	to       mail.Address     // as it was written
	template string           // "": none
	wrapper  *expand.Template // once it was fetched, at DATA; nil without one
}

// findTemplate gives a template by its id. Its error is a *mail.Error: Permanent when
// there is none of that name, Temporary when nobody can say at the moment.
type findTemplate func(ctx context.Context, id string) (*expand.Template, error)

// proofWord begins what is behind the plus of an address for a test send
// (list+test@, list+test+user=domain@), and so no template may be called so.
const proofWord = "test"

// destination finds the list that to names; not ok: none. The error says what is
// wrong behind the plus.
func (in *intake) destination(to mail.Address) (d destination, ok bool, err error) {
	if l := in.lists[to.Key()]; l != nil {
		return destination{ListConfig: l, to: to, template: l.Template}, true, nil
	}
	local := to.Local()
	for i := len(local) - 1; i > 0; i-- {
		if local[i] != '+' {
			continue
		}
		l := in.lists[mail.Address(local[:i]+"@"+to.Domain()).Key()]
		if l == nil {
			continue
		}
		sub := local[i+1:]
		d = destination{ListConfig: l, to: to}
		first, _, _ := strings.Cut(sub, "+")
		switch {
		case strings.EqualFold(first, proofWord):
			return d, true, mail.Refuse(550, "5.1.1", "%s asks for a test send, which this version does not have; `postern preview` shows what a copy looks like", to)
		case templates.CheckID(sub) != nil:
			return d, true, mail.Refuse(550, "5.1.1", "%q behind the plus of %s is no template's name; write %s for the list's own template, or a name of letters, digits, dots, dashes and underscores", sub, to, l.Address)
		}
		return destination{ListConfig: l, to: to, template: sub}, true, nil
	}
	return destination{}, false, nil
}

// wrapper is the template of a message to d; nil without one.
func (in *intake) wrapper(ctx context.Context, d destination) (*expand.Template, error) {
	if d.template == "" {
		return nil, nil
	}
	t, err := in.findTemplate(ctx, d.template)
	var e *mail.Error
	if err != nil && !errors.As(err, &e) {
		err = mail.Later(451, "4.4.1", "the template %s could not be read in time; send the mail again in a moment", d.template)
	}
	return t, err
}

// checkTemplate asks at RCPT, where a refusal costs the other recipients nothing. Who is
// known by an address alone is told of no templates before the signature is seen.
func (in *intake) checkTemplate(ctx context.Context, sub *mail.Submitter, d destination) error {
	if mustBeSigned(sub) {
		return nil
	}
	_, err := in.wrapper(ctx, d)
	return err
}

// wrappers fetches the templates of a submission, each message's once, and says how many
// octets the largest has.
func (in *intake) wrappers(ctx context.Context, lists []destination) (octets int64, err error) {
	for i := range lists {
		t, err := in.wrapper(ctx, lists[i])
		if err != nil {
			return 0, err
		}
		lists[i].wrapper = t
		if t == nil {
			continue
		}
		size := len(t.HTML) + len(t.Text)
		for _, m := range t.Images {
			size += len(m.Data)
		}
		octets = max(octets, int64(size))
	}
	return octets, nil
}

// templateOf is the template that was pinned; "": none.
func templateOf(m *mail.Message) string {
	if m.List == nil {
		return ""
	}
	return m.List.Template
}
