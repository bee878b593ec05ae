package main

import (
	"context"
	"net/url"
	"slices"
	"strings"

	"postern/directory"
	"postern/mail"
	"postern/optout"
)

// choices are the public pages, on which recipients choose what they receive.
func (a *App) choices(keyring *optout.Keyring) (*optout.Handler, error) {
	pages, err := optout.Load(a.cfg.OptOut.Pages)
	if err != nil {
		return nil, err
	}
	base, err := url.Parse(a.cfg.OptOut.BaseURL)
	if err != nil {
		return nil, err
	}
	h := &optout.Handler{
		Keyring: keyring, Pages: pages, Prefix: strings.TrimRight(base.Path, "/"),
		OptOut:         a.index.OptOut,
		Choose:         a.choose,
		State:          a.standing,
		TrustedProxies: a.cfg.OptOut.TrustedProxies,
		Zone:           a.cfg.Location(),
		Log:            a.log,
	}
	for _, l := range a.cfg.Lists {
		h.Lists = append(h.Lists, optout.ListInfo{ID: l.ID, Name: l.Name, Language: l.Language, Listed: l.Listed, Advertising: l.Advertising})
	}
	return h, nil
}

// choose stores a choice, list by list.
func (a *App) choose(ctx context.Context, user mail.Address, c directory.Choice, ev directory.Evidence) error {
	leave := c.Leave
	if c.All {
		leave = append(leave, directory.AllLists)
	}
	for _, list := range leave {
		if err := a.index.OptOut(ctx, user, list, ev); err != nil {
			return err
		}
	}
	for _, list := range c.Join {
		if err := a.index.Rejoin(ctx, user, list, ev); err != nil {
			return err
		}
	}
	return nil
}

// standing is what the index knows of a person.
func (a *App) standing(_ context.Context, user mail.Address, lists []string) (s optout.State, err error) {
	left, err := a.index.Left(user)
	if err != nil {
		return s, err
	}
	s.On = map[string]bool{}
	for _, id := range lists {
		s.On[id] = !slices.Contains(left, id) && !slices.Contains(left, directory.AllLists)
	}
	suppression, _, err := a.index.Suppression(user)
	s.Suppressed = suppression.Kind
	return s, err
}
