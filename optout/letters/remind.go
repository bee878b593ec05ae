package letters

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern/directory"
	"postern/mail"
)

// The law wants a reminder within every two years; a month is left for it.
const (
	dueMonths  = 23
	lawMonths  = 24
	sameMonths = 12 // reminders of the same consents that are nearer to each other are one
)

// Consent is when somebody agreed to get a list's mail.
type Consent struct {
	List     string    `json:"list"`
	Name     string    `json:"name"`
	At       time.Time `json:"agreed_at"`
	Source   string    `json:"source"`               // "ledger", or the name of the attribute
	Reminded time.Time `json:"reminded_at,omitzero"` // of the last reminder
}

// last is from when on the two years count.
func (c Consent) last() time.Time {
	if c.Reminded.After(c.At) {
		return c.Reminded
	}
	return c.At
}

// Person is somebody who is to be reminded of what they agreed to, of all of one
// sender's lists at once.
type Person struct {
	User     mail.Address `json:"user"`
	Company  string       `json:"company"`
	Until    time.Time    `json:"until"` // when the two years are over
	Consents []Consent    `json:"consents"`
}

// due says whether one of the consents is 23 months old, and when the first of them is two
// years old.
func due(all []Consent, now time.Time) (until time.Time, due bool) {
	for _, c := range all {
		if u := c.last().AddDate(0, lawMonths, 0); until.IsZero() || u.Before(until) {
			until = u
		}
		due = due || !now.Before(c.last().AddDate(0, dueMonths, 0))
	}
	return until, due
}

// Tally counts what a search for those who are to be reminded has met.
type Tally struct {
	Users      int  `json:"users"`      // in the directory, so far
	Due        int  `json:"due"`        // persons and senders
	Unknown    int  `json:"unknown"`    // users who get advertising, and nobody knows since when
	Suppressed int  `json:"suppressed"` // subscribed users who get no mail at all
	Sent       int  `json:"sent"`       // reminders accepted
	More       bool `json:"more"`       // there may be others: the limit was reached
}

// errEnough ends a search.
var errEnough = errors.New("enough")

// Due reads the directory page by page, and gives to found everybody who is to be
// reminded: who gets advertising, agreed 23 months ago or earlier, and has not been
// reminded since. progress, unless it is nil, is told after each page. An error of
// found ends the search.
func (w *Writer) Due(ctx context.Context, store directory.Store, now time.Time, progress func(Tally), found func(Person) error) (Tally, error) {
	var t Tally
	groups := byGroup(w.cfg.Lists())
	var from directory.Checkpoint
	for {
		p, err := store.Scan(ctx, from)
		if err != nil {
			return t, err
		}
		for i := range p.Users {
			if err := w.dueOf(&p.Users[i], groups, now, &t, found); err != nil {
				return t, err
			}
		}
		if progress != nil {
			progress(t)
		}
		if from = p.Next; from == nil {
			return t, nil
		}
	}
}

// dueOf looks at one user.
func (w *Writer) dueOf(u *directory.User, groups [][]List, now time.Time, t *Tally, found func(Person) error) error {
	t.Users++
	if !u.Subscribed {
		return nil
	}
	if _, suppressed, err := w.cfg.Index.Suppression(u.Email); err != nil || suppressed {
		t.Suppressed++
		return err
	}
	gone, err := w.cfg.Index.Left(u.Email)
	if err != nil || slices.Contains(gone, directory.AllLists) {
		return err
	}
	unknown := false
	for _, lists := range groups {
		var all []Consent
		for _, l := range lists {
			if !u.Receives(l.ID) || slices.Contains(gone, l.ID) || l.Receives != nil && !l.Receives(u) {
				continue
			}
			c, known, err := w.consent(u, l, now)
			if err != nil {
				return err
			}
			if unknown = unknown || !known; known {
				all = append(all, c)
			}
		}
		if until, yes := due(all, now); yes {
			t.Due++
			if err := found(Person{User: u.Email, Company: lists[0].company(), Until: until, Consents: all}); err != nil {
				return err
			}
		}
	}
	if unknown {
		t.Unknown++
	}
	return nil
}

// consent is when a user agreed to get a list's mail: by the ledger, else by their
// own attribute.
func (w *Writer) consent(u *directory.User, l List, now time.Time) (c Consent, known bool, err error) {
	c = Consent{List: l.ID, Name: l.Name}
	e, found, err := w.cfg.Index.LastConsent(u.Email, l.ID)
	if err != nil {
		return c, false, err
	}
	if c.At, c.Source = e.At, "ledger"; !found {
		if w.cfg.ConsentField == "" {
			return c, false, nil
		}
		c.Source = w.cfg.ConsentField
		if c.At, known = moment(u.Value(w.cfg.ConsentField), w.cfg.Location, now); !known {
			return c, false, nil
		}
	}
	r, found, err := w.cfg.Index.LastReminder(u.Email, l.ID)
	if found {
		c.Reminded = r.At
	}
	return c, true, err
}

// milliseconds is from where on a number of seconds would be after the year 5000, so
// that it is one of milliseconds.
const milliseconds = 1e11

// moment reads a time as directories have them: a number of seconds or milliseconds
// since 1970, RFC 3339, MySQL's form or a day, in the gateway's zone where it names
// none. What is before 1990 or still to come is none.
func moment(s string, zone *time.Location, now time.Time) (t time.Time, ok bool) {
	s = strings.TrimSpace(s)
	if n, err := strconv.ParseFloat(s, 64); err == nil {
		if n >= milliseconds {
			n /= 1000
		}
		if !(n >= 0 && n < milliseconds) { // NaN neither
			return t, false
		}
		t = time.Unix(int64(n), 0)
	} else {
		for _, layout := range []string{time.RFC3339, time.DateTime, "2006-01-02T15:04:05", time.DateOnly} {
			if t, err = time.ParseInLocation(layout, s, zone); err == nil {
				break
			}
		}
		if err != nil {
			return t, false
		}
	}
	return t, t.Year() >= 1990 && !t.After(now.Add(24*time.Hour))
}

// Remind writes to one person whom Due has found, unless they have left, been
// suppressed or been reminded since. It returns when letter and mark are on disk: after
// a crash in between the spool takes no second letter. Letters go out as bulk mail,
// at the pace of their lane.
func (w *Writer) Remind(ctx context.Context, p Person, now time.Time) (sent bool, err error) {
	all, first, err := w.still(p, now)
	if err != nil || len(all) == 0 {
		return false, err
	}
	d := w.data(first, p.User, now)
	told := []string{p.User.Key(), first.company()}
	for _, c := range all {
		d.Agreed = append(d.Agreed, Choice{Name: c.Name, Date: day(w.in(c.At), first.Language)})
		told = append(told, c.List, c.At.UTC().Format(time.RFC3339))
	}
	s := sheet{list: first, to: p.User, name: Reminder, kind: mail.NoticeReminder, data: d,
		repeat: fingerprint("reminder", told...), since: now.AddDate(0, -sameMonths, 0)}
	if len(all) == 1 && w.cfg.Leave != nil { // of several, one click could not say which
		s.leave = w.cfg.Leave(p.User, first.ID)
	}
	id, err := w.write(ctx, s, now)
	var u *unwritable
	if errors.As(err, &u) {
		w.cfg.Log.Info("somebody cannot be reminded", "user", p.User, "reason", u.Error())
		return false, nil
	}
	for _, c := range all {
		if err == nil {
			err = w.cfg.Index.Reminded(ctx, p.User, c.List, directory.Evidence{At: now, How: How, Message: id})
		}
	}
	return err == nil, err
}

// still gives those of a person's consents that are there yet, none when nothing is
// due any more, and the list of the first.
func (w *Writer) still(p Person, now time.Time) (all []Consent, first List, err error) {
	if _, suppressed, err := w.cfg.Index.Suppression(p.User); err != nil || suppressed {
		return nil, first, err
	}
	gone, err := w.cfg.Index.Left(p.User)
	if err != nil || slices.Contains(gone, directory.AllLists) {
		return nil, first, err
	}
	for _, c := range p.Consents {
		l, found := w.list(c.List)
		if !found || !l.Advertising || slices.Contains(gone, c.List) {
			continue
		}
		r, found, err := w.cfg.Index.LastReminder(p.User, c.List)
		if err != nil {
			return nil, first, err
		}
		if found {
			c.Reminded = r.At
		}
		if all = append(all, c); len(all) == 1 {
			first = l
		}
	}
	if _, yes := due(all, now); !yes {
		return nil, first, nil
	}
	return all, first, nil
}

// RemindAll writes to those whom Due finds, up to limit of them, so that a run's letters
// neither fill the spool nor keep other bulk mail for long. Whoever comes after the
// limit is due the next time.
func (w *Writer) RemindAll(ctx context.Context, store directory.Store, now time.Time, limit int, progress func(Tally)) (Tally, error) {
	sent := 0
	report := func(t Tally) {
		if t.Sent = sent; progress != nil {
			progress(t)
		}
	}
	t, err := w.Due(ctx, store, now, report, func(p Person) error {
		if sent >= limit {
			return errEnough
		}
		ok, err := w.Remind(ctx, p, now)
		if ok {
			sent++
		}
		return err
	})
	if t.Sent = sent; errors.Is(err, errEnough) {
		t.More = true
		return t, nil
	}
	return t, err
}
