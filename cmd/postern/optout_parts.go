package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"postern/admin"
	"postern/directory"
	"postern/expand"
	"postern/mail"
	"postern/optout"
	"postern/optout/letters"
	"postern/spool"
)

// consents joins what people choose, on pages, by mail and by an administrator, with
// the index that keeps it and the letters that answer it.
type consents struct {
	cfg     *Config
	spool   *spool.Spool
	index   *directory.Index
	store   directory.Store
	keyring *optout.Keyring
	letters *letters.Writer // set by open, for a gateway
	asking  sync.Mutex
	log     *slog.Logger
}

func newConsents(cfg *Config, s *spool.Spool, index *directory.Index, store directory.Store, keyring *optout.Keyring, log *slog.Logger) *consents {
	index.SetLists(ids(cfg.Lists)) // who has left all and comes back to one stays away from the others
	return &consents{cfg: cfg, spool: s, index: index, store: store, keyring: keyring, log: log}
}

// open reads the texts of letters, so that a mistake stops the start.
func (c *consents) open(fields *expand.Fields) (err error) {
	c.letters, err = c.writer(fields)
	return err
}

// writer writes letters to recipients.
func (c *consents) writer(fields *expand.Fields) (*letters.Writer, error) {
	texts, err := letters.Load(c.cfg.OptOut.Letters)
	if err != nil {
		return nil, under("optout.letters", err)
	}
	lists, err := c.cfg.letterLists(fields)
	if err != nil {
		return nil, err
	}
	return letters.New(letters.Config{
		Spool: c.spool, Index: c.index, Texts: texts, Hostname: c.cfg.Hostname, Location: c.cfg.location(),
		Lists:        func() []letters.List { return lists },
		Route:        c.cfg.letterRoute,
		Preferences:  func(user mail.Address, list string) string { return c.page("/p/", c.token(user, list)) },
		Leave:        c.leaveHeader,
		ConsentField: c.cfg.OptOut.ConsentField,
		Log:          c.log,
	}), nil
}

// under puts a key path before each of the problems that err joins.
func under(path string, err error) error {
	all := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		all = joined.Unwrap()
	}
	var named []error
	for _, one := range all {
		named = append(named, fmt.Errorf("%s: %w", path, one))
	}
	return errors.Join(named...)
}

// letterLists are the configured lists, as letters know them.
func (c *Config) letterLists(fields *expand.Fields) ([]letters.List, error) {
	var lists []letters.List
	for i := range c.Lists {
		l := &c.Lists[i]
		filter, err := expand.CompileFilter(l.Filter, fields, c.Location())
		if err != nil {
			return nil, err
		}
		lists = append(lists, letters.List{ID: l.ID, Name: l.Name, Language: l.Language, Advertising: l.Advertising, Identity: mail.Identity(l.Identity),
			Receives: func(u *directory.User) bool { fits, err := filter.Match(u, time.Now()); return fits && err == nil }})
	}
	return lists, nil
}

// letterRoute is how a letter about a list leaves: from the company's own address
// where there is a [[dkim]] entry for it, else from that of notices, and by the lane
// of that mail.
func (c *Config) letterRoute(list letters.List) letters.Route {
	r := letters.Route{From: c.Notices.From, Lane: c.Notices.Lane}
	for i := range c.Lists {
		if c.Lists[i].ID == list.ID && c.Lists[i].Lane != "" {
			r.Lane = c.Lists[i].Lane
		}
	}
	for _, d := range c.DKIM {
		if own := list.Identity.Email; own != "" && signsFor(d.Domain, own) {
			r.From = own
		}
	}
	r.Envelope = c.envelopeOf(c.laneCalled(r.Lane), r.From)
	return r
}

// token is one that a letter bears: it is no message's.
func (c *consents) token(user mail.Address, list string) string {
	return c.keyring.Seal(0, optout.Claim{List: list, User: user})
}

func (c *consents) page(kind, token string) string {
	return strings.TrimRight(c.cfg.OptOut.BaseURL, "/") + kind + token
}

// leaveHeader is what a reminder's List-Unsubscribe says.
func (c *consents) leaveHeader(user mail.Address, list string) letters.Unsubscribe {
	t := c.token(user, list)
	return letters.Unsubscribe{Page: c.page("/u/", t), Mailto: "mailto:" + url.PathEscape(string(c.cfg.OptOut.Mailto)) + "?subject=" + t}
}

// answers says whether a word about these lists is owed a notice of its result: Korean
// law asks for it of advertising (§50 ⑦).
func (c *consents) answers(lists ...string) bool {
	return slices.ContainsFunc(c.cfg.Lists, func(l ListConfig) bool {
		return l.Advertising && (slices.Contains(lists, l.ID) || slices.Contains(lists, directory.AllLists))
	})
}

// optOut is a person's leaving, by a page or by mail.
func (c *consents) optOut(ctx context.Context, user mail.Address, list string, ev directory.Evidence) error {
	ev.Answer = c.answers(list)
	return c.index.OptOut(ctx, user, list, ev)
}

// maxReturns is how often a person may come back to a list within a day. Whoever has
// one of their links could fill the ledger else. Leaving is not bounded.
const maxReturns = 50

// choose stores what a person chose on their page, in one commit.
func (c *consents) choose(ctx context.Context, user mail.Address, choice directory.Choice, ev directory.Evidence) error {
	if len(choice.Join) > 0 {
		switch n, err := c.index.Returns(user, ev.At.AddDate(0, 0, -1), maxReturns); {
		case err != nil:
			return err
		case n >= maxReturns:
			if choice.Join = nil; choice.All || len(choice.Leave) > 0 {
				if err := c.choose(ctx, user, choice, ev); err != nil {
					return err
				}
			}
			return fmt.Errorf("%d times within a day somebody has come back by the links of this person: no more until tomorrow", n)
		}
	}
	touched := slices.Concat(choice.Join, choice.Leave)
	if choice.All {
		touched = []string{directory.AllLists}
	}
	ev.Answer = c.answers(touched...)
	_, err := c.index.Choose(ctx, user, choice, ev)
	return err
}

// state is how it stands with a person, for their page. A directory that does not
// answer leaves it to the index.
func (c *consents) state(ctx context.Context, user mail.Address, lists []string) (s optout.State, err error) {
	if s.State, err = c.index.State(ctx, c.store, user, lists); err != nil {
		return s, err
	}
	suppression, suppressed, err := c.index.Suppression(s.User)
	if err != nil {
		return s, err
	}
	if suppressed {
		s.Suppressed = suppression.Kind
	}
	past, err := c.index.History(s.User)
	if err != nil {
		return s, err
	}
	for _, e := range past {
		if (e.Kind == "opt-out" || e.Kind == "suppress" && e.Why == directory.KindComplaint) && e.At.After(s.LastLeft) {
			s.LastLeft = e.At
		}
	}
	s.Consent, err = c.agreed(ctx, &s.State, lists)
	return s, err
}

// agreed is when a person agreed to get each of the lists with advertising, where that
// is known.
func (c *consents) agreed(ctx context.Context, s *directory.State, lists []string) (map[string]time.Time, error) {
	u := &directory.User{Email: s.User}
	if s.Found && c.cfg.OptOut.ConsentField != "" {
		if full, err := c.store.Get(ctx, s.User); err == nil { // else the ledger alone says it
			u = &full
		}
	}
	known := map[string]time.Time{}
	for _, id := range lists {
		if !c.answers(id) {
			continue
		}
		at, found, err := c.letters.Agreed(u, id, time.Now())
		if err != nil {
			return nil, err
		}
		if found {
			known[id] = at
		}
	}
	return known, nil
}

// ask sends the mail by which somebody who had complained can come back.
func (c *consents) ask(ctx context.Context, user mail.Address, lists []string, ev directory.Evidence) (bool, error) {
	if len(lists) == 0 {
		return false, errors.New("a confirmation needs a list")
	}
	// The letter first: what the ledger says was sent is in the spool. Whoever presses
	// twice at once waits here.
	c.asking.Lock()
	defer c.asking.Unlock()
	past, err := c.index.History(user)
	if err != nil || slices.ContainsFunc(past, func(e directory.Entry) bool { return e.Kind == "asked" && ev.At.Sub(e.At) < askEvery }) {
		return false, err
	}
	link := c.page("/c/", c.keyring.SealConfirm(optout.Confirmation{Lists: lists, User: user, At: ev.At}))
	if err := c.letters.Confirm(ctx, user, lists[0], link); err != nil {
		return false, err
	}
	_, err = c.index.AskConfirmation(ctx, user, lists[0], ev)
	return err == nil, err
}

// askEvery is for how long nobody is asked again, as [directory.Index.AskConfirmation]
// has it.
const askEvery = 24 * time.Hour

// confirm is the consent by that mail's link.
func (c *consents) confirm(ctx context.Context, user mail.Address, lists []string, ev directory.Evidence) error {
	ev.Answer = c.answers(lists...)
	for _, id := range lists {
		if err := c.index.Confirmed(ctx, user, id, ev); err != nil {
			return err
		}
	}
	return nil
}

// pages are the public pages, on which recipients choose what they receive.
func (c *consents) pages() (*optout.Handler, error) {
	pages, err := optout.Load(c.cfg.OptOut.Pages)
	if err != nil {
		return nil, err
	}
	base, err := url.Parse(c.cfg.OptOut.BaseURL)
	if err != nil {
		return nil, err
	}
	h := &optout.Handler{
		Keyring: c.keyring, Pages: pages, Prefix: strings.TrimRight(base.Path, "/"),
		OptOut: c.optOut, Choose: c.choose, State: c.state, Ask: c.ask, Confirm: c.confirm,
		TrustedProxies: c.cfg.OptOut.TrustedProxies, Zone: c.cfg.location(), Log: c.log,
	}
	for _, l := range c.cfg.Lists {
		h.Lists = append(h.Lists, optout.ListInfo{ID: l.ID, Name: l.Name, Language: l.Language, Listed: l.Listed, Advertising: l.Advertising})
	}
	return h, nil
}

// serve gives the administrators' API what it says and does about consents. Without a
// gateway the letters' texts are read when they are needed: most commands do not.
func (c *consents) serve(api *admin.API, fields func() (*expand.Fields, error)) {
	api.Lists = ids(c.cfg.Lists)
	api.Answers = func(list string) bool { return c.answers(list) }
	api.RotateKey = func() (uint32, error) {
		err := c.keyring.Rotate()
		return c.keyring.Newest(), err
	}
	writer := func() (*letters.Writer, error) {
		if c.letters != nil {
			return c.letters, nil
		}
		f, err := fields()
		if err != nil {
			return nil, err
		}
		return c.writer(f)
	}
	api.Due = func(ctx context.Context, progress func(admin.DueTally), found func(admin.ConsentDue) error) (admin.DueTally, error) {
		w, err := writer()
		if err != nil {
			return admin.DueTally{}, plainly(err)
		}
		t, err := w.Due(ctx, c.store, time.Now(), func(t letters.Tally) { progress(admin.DueTally(t)) },
			func(p letters.Person) error { return found(consentDue(p)) })
		return admin.DueTally(t), err
	}
	api.Remind = func(ctx context.Context, limit int, progress func(admin.DueTally)) (admin.DueTally, error) {
		w, err := writer()
		if err != nil {
			return admin.DueTally{}, plainly(err)
		}
		t, err := w.RemindAll(ctx, c.store, time.Now(), limit, func(t letters.Tally) { progress(admin.DueTally(t)) })
		return admin.DueTally(t), err
	}
}

// plainly lets whoever asked read what is wrong with the configuration.
func plainly(err error) error {
	return &mail.Error{Class: mail.Permanent, Public: err.Error()}
}

func consentDue(p letters.Person) admin.ConsentDue {
	d := admin.ConsentDue{User: p.User, Company: p.Company, Until: p.Until}
	for _, c := range p.Consents {
		d.Consents = append(d.Consents, admin.Consent{List: c.List, At: c.At, Source: c.Source, Reminded: c.Reminded})
	}
	return d
}

// witnessEvery is how often the ledger's head goes into the log.
const witnessEvery = 24 * time.Hour

// witness writes the ledger's head into the log, where it proves later that no entry
// before it was changed: whoever rewrites the file does not have the log.
func (c *consents) witness() {
	number, hash, err := c.index.Head()
	if err != nil {
		c.log.Error("the ledger's head cannot be read", "error", err)
		return
	}
	c.log.Info("this is the last entry of the ledger", "entry", number, "hash", hash)
}

// witnessDaily does so at once and then every day.
func (c *consents) witnessDaily(ctx context.Context) {
	tick := time.NewTicker(witnessEvery)
	defer tick.Stop()
	for {
		c.witness()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
