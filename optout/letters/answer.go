package letters

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"postern/directory"
	"postern/mail"
)

const (
	gather   = 10 * time.Minute    // after a person's first act, in which others may follow
	every    = 30 * time.Second    // how often Run looks
	page     = 5000                // acts that are read at a time
	overdue  = 10 * 24 * time.Hour // the law gives 14 days
	complain = time.Hour           // between two lines in the log about that
)

// Run tells people the results of their choices until ctx ends.
func (w *Writer) Run(ctx context.Context) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for ctx.Err() == nil {
		if more := w.answerAll(ctx, time.Now()); more {
			continue
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// answerAll answers what is due of a page; more says that the page was full, and that
// something of it is answered.
func (w *Writer) answerAll(ctx context.Context, now time.Time) (more bool) {
	if w.cfg.Spool.Broken() != nil {
		return false
	}
	rows, err := w.cfg.Index.Unanswered(page)
	if err != nil {
		w.cfg.Log.Error("it cannot be read whose choices are to be answered", "error", err)
		return false
	}
	answered := 0
	for _, acts := range byPerson(rows) {
		if ctx.Err() != nil {
			return false
		}
		if now.Before(acts[0].At.Add(gather)) {
			continue
		}
		if err := w.careful(ctx, acts, now); err == nil {
			answered += len(acts)
		} else if ctx.Err() == nil && w.cfg.Spool.Broken() == nil {
			w.cfg.Log.Error("the result of a choice could not be told; it is tried again", "user", acts[0].User, "error", err)
			w.late(acts[0], now)
		}
	}
	return answered > 0 && len(rows) == page
}

// late says in the log that the law's time runs out.
func (w *Writer) late(first directory.Answer, now time.Time) {
	if now.Before(first.At.Add(overdue)) || now.Before(w.warned.Add(complain)) {
		return
	}
	w.warned = now
	w.cfg.Log.Error("the result of a choice has not been told for ten days, and the law gives 14: see the errors before this one", "user", first.User, "chosen", first.At)
}

// byPerson puts the acts of each person together, in the order of their first ones.
func byPerson(rows []directory.Answer) [][]directory.Answer {
	at := map[string]int{}
	var all [][]directory.Answer
	for _, r := range rows {
		i, known := at[r.User.Key()]
		if !known {
			i = len(all)
			at[r.User.Key()], all = i, append(all, nil)
		}
		all[i] = append(all[i], r)
	}
	return all
}

// careful makes of a panic an error of one person's letter.
func (w *Writer) careful(ctx context.Context, acts []directory.Answer, now time.Time) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return w.answer(ctx, acts, now)
}

// answer tells one person what came of their acts, and marks these.
func (w *Writer) answer(ctx context.Context, acts []directory.Answer, now time.Time) error {
	slices.SortFunc(acts, func(a, b directory.Answer) int { return cmp.Compare(a.Number, b.Number) })
	user := acts[len(acts)-1].User
	ev := directory.Evidence{At: now, How: How}
	var err error
	if ev.Note, err = w.reticent(user); err != nil {
		return err
	}
	if ev.Note == "" {
		ev.Message, ev.Note, err = w.tell(ctx, user, acts, now)
	}
	var u *unwritable
	if errors.As(err, &u) {
		ev.Message, ev.Note = "", "no letter: "+u.Error()
	} else if err != nil {
		return err
	}
	if ev.Note != "" {
		w.cfg.Log.Info("the result of a choice is not told by mail", "user", user, "reason", ev.Note)
	}
	return w.cfg.Index.Answered(ctx, acts, ev)
}

// reticent is why somebody is not written to; "": nothing speaks against it.
func (w *Writer) reticent(user mail.Address) (string, error) {
	s, found, err := w.cfg.Index.Suppression(user)
	switch {
	case err != nil || !found:
		return "", err
	case s.Kind == directory.KindComplaint:
		return "no letter: its owner has called our mail spam, and wants no other one", nil
	}
	return "no letter: no mail reaches this address, or an operator has stopped it (" + string(s.Kind) + " " + s.At.UTC().Format(time.DateOnly) + ")", nil
}

// tell writes a letter for each group of lists, and gives the id of the first one. Where
// there is nothing to write it says why.
func (w *Writer) tell(ctx context.Context, user mail.Address, acts []directory.Answer, now time.Time) (id mail.ID, note string, err error) {
	gone, err := w.cfg.Index.Left(user)
	if err != nil {
		return "", "", err
	}
	note = "no letter: the list is none with advertising"
	for _, lists := range byGroup(w.cfg.Lists()) {
		r := ends(lists, acts, gone, func(t time.Time) (string, string) {
			return day(w.in(t), lists[0].Language), clock(w.in(t))
		})
		if r.undone {
			note = "no letter: it has been undone since"
		}
		if len(r.left)+len(r.agreed) == 0 {
			continue
		}
		d := w.data(r.first, user, now)
		d.Left, d.Agreed = r.left, r.agreed
		one, err := w.write(ctx, sheet{list: r.first, to: user, name: r.letter(), kind: mail.NoticeConsent, data: d,
			repeat: fingerprint("result", append(r.told, user.Key(), r.first.company(), r.first.group().language)...)}, now)
		if err != nil {
			return id, "", err
		}
		if id == "" {
			id = one
		}
	}
	if id != "" {
		note = ""
	}
	return id, note, nil
}

// byGroup puts the advertising lists of one sender and language together.
func byGroup(lists []List) [][]List {
	at := map[group]int{}
	var all [][]List
	for _, l := range lists {
		if !l.Advertising {
			continue
		}
		i, known := at[l.group()]
		if !known {
			i = len(all)
			at[l.group()], all = i, append(all, nil)
		}
		all[i] = append(all[i], l)
	}
	return all
}

// result is what a letter tells of a group of lists.
type result struct {
	first        List // the first one that it tells of
	left, agreed []Choice
	told         []string // the acts that it tells of, for the fingerprint
	undone       bool     // some act is not told, because things are not so any more
}

func (r *result) letter() Name {
	switch {
	case len(r.agreed) == 0:
		return Left
	case len(r.left) == 0:
		return Agreed
	}
	return Changed
}

// The kinds of acts that are told of. An operator's "restore" is no act of the person.
const (
	optOut  = "opt-out"
	consent = "consent"
)

// ends says what came of a person's acts in the end. Of a list the last act counts, and
// only while things are still so. An act about all lists is told as one, unless it does
// not hold for all of them any more.
func ends(lists []List, acts []directory.Answer, gone []string, when func(time.Time) (day, clock string)) result {
	left := func(l List) bool { return slices.Contains(gone, l.ID) || slices.Contains(gone, directory.AllLists) }
	var r result
	say := func(l List, name string, act directory.Answer) {
		c := Choice{Name: name}
		if c.Date, c.Time = when(act.At); r.first.ID == "" {
			r.first = l
		}
		if r.told = append(r.told, fmt.Sprintf("%d %s %s %d", act.Number, act.Kind, l.ID, act.At.UnixNano())); act.Kind == optOut {
			r.left = append(r.left, c)
		} else {
			r.agreed = append(r.agreed, c)
		}
	}
	var rest []List // last spoken of by an act about all lists
	var about directory.Answer
	for _, l := range lists {
		last, found := lastAct(acts, l.ID)
		switch {
		case !found:
		case left(l) && last.Kind != optOut, !left(l) && last.Kind != consent:
			r.undone = true
		case last.List == directory.AllLists:
			rest, about = append(rest, l), last
		default:
			say(l, l.Name, last)
		}
	}
	if len(rest) > 0 && !r.undone {
		say(rest[0], allName(rest[0].Language, len(rest) < len(lists)), about)
		return r
	}
	for _, l := range rest {
		say(l, l.Name, about)
	}
	return r
}

// lastAct is the last one that concerns a list.
func lastAct(acts []directory.Answer, list string) (last directory.Answer, found bool) {
	for _, a := range acts {
		if a.List == list || a.List == directory.AllLists {
			last, found = a, true
		}
	}
	return last, found
}

// allName is what a letter calls all lists at once.
func allName(language string, other bool) string {
	switch {
	case language == "ko" && other:
		return "그 밖의 모든 광고 메일"
	case language == "ko":
		return "모든 광고 메일"
	case other:
		return "all other advertising mail"
	}
	return "all advertising mail"
}
