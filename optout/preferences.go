package optout

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"time"

	"postern/directory"
)

// stateWithin is how long a page waits for the directory.
const stateWithin = 2 * time.Second

// preferences shows what the person may choose.
func (q *request) preferences() {
	state, rows, err := q.standing()
	if err != nil {
		q.later(false)
		return
	}
	q.show(http.StatusOK, q.preferencesView(state, rows))
}

// state is what is known of the token's person.
func (q *request) state() (State, []ListInfo, error) {
	var lists []ListInfo
	var ids []string
	for _, l := range q.Lists {
		if l.Listed || l.ID == q.claim.List {
			lists, ids = append(lists, l), append(ids, l.ID)
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(q.r.Context()), stateWithin)
	defer cancel()
	s, err := q.State(ctx, q.claim.User, ids)
	if err != nil {
		q.Log.Error("how it stands with a person cannot be read", "err", err)
	}
	return s, lists, err
}

// standing is what is known of the token's person, and their lists as they stand.
func (q *request) standing() (State, []row, error) {
	s, lists, err := q.state()
	var rows []row
	for i, l := range lists {
		// After a complaint nothing is received, whatever was chosen before it: what is
		// wanted again is ticked again.
		on := s.On[l.ID] && s.Suppressed != directory.KindComplaint
		rows = append(rows, row{Number: i + 1, ID: l.ID, Name: l.Name, On: on, Was: on, Notes: q.about(l, on, s)})
	}
	return s, rows, err
}

// about is what stands under a list: that it is not received, and when the person
// agreed to its advertising.
func (q *request) about(l ListInfo, on bool, s State) []string {
	v := q.view(preferencesPage, preferencesPage)
	var notes []string
	if !on {
		notes = append(notes, v.text("off"))
	}
	if l.Advertising {
		notes = append(notes, v.text("advertising"))
		if at := s.Consent[l.ID]; on && !at.IsZero() {
			notes = append(notes, v.dated("consent", at.In(q.zone())))
		}
	}
	return notes
}

func (h *Handler) zone() *time.Location {
	if h.Zone == nil {
		return time.UTC
	}
	return h.Zone
}

func (q *request) preferencesView(s State, rows []row) *view {
	v := q.view(preferencesPage, preferencesPage)
	v.Preferences = ""
	v.Lists = rows
	switch {
	case len(rows) == 0:
		v.lead = "none"
	case !slices.ContainsFunc(rows, func(r row) bool { return r.On }):
		v.lead = "nothing"
	}
	if note := suppressedNote(s.Suppressed); note != "" {
		v.Notes = append(v.Notes, v.text(note))
	}
	return v
}

// suppressedNote is the text that says why nothing is sent.
func suppressedNote(k directory.Kind) string {
	switch k {
	case "":
		return ""
	case directory.KindComplaint:
		return "complaint"
	case directory.KindBounce, directory.KindSoftBounces:
		return "bounce"
	}
	return "stopped"
}

// choose stores what a form of ours asks for. What is no form of ours leaves the
// token's list, as it does at /u/: somebody who sends a one-click body here wants
// that.
func (q *request) choose() {
	form, err := q.form()
	if q.unread(err) {
		return
	}
	do := form.Get("do")
	if do != "save" && do != "all" {
		q.leaveBy(form)
		return
	}
	ctx, cancel := q.storing()
	defer cancel()
	state, rows, err := q.standing()
	if err != nil {
		q.later(false)
		return
	}
	c := chosen(form, rows)
	c.Gone = state.Gone
	ev := q.evidence(HowPage)
	ev.Wording = q.shown(form, state, rows)
	done, err := q.store(ctx, c, state, ev)
	if err != nil {
		q.Log.Error("a choice could not be stored; the client was asked to try again", "message", string(q.claim.Message), "err", err)
		q.unsaved(form, state, rows)
		return
	}
	q.Log.Info("preferences saved", "message", string(q.claim.Message), "joined", c.Join, "left", c.Leave, "all", c.All, "asked", done.asked)
	q.show(http.StatusOK, q.savedView(c, done, state, rows))
}

// chosen is what changes: only what the person was shown and changed. So a page that
// lay open for a day does not undo what was done elsewhere since, and a list that has
// come since stays as it is. Ids that are not on the page count for nothing.
func chosen(form url.Values, rows []row) (c directory.Choice) {
	if form.Get("do") == "all" {
		return directory.Choice{All: true}
	}
	for _, r := range rows {
		was, on := slices.Contains(form["was"], r.ID), slices.Contains(form["on"], r.ID)
		switch {
		case on && !was:
			c.Join = append(c.Join, r.ID)
		case was && !on:
			c.Leave = append(c.Leave, r.ID)
		}
	}
	return c
}

// outcome is what became of a choice.
type outcome struct{ asked, sent bool }

// store stores the choice. Who is suppressed by a complaint leaves at once and joins
// by a confirmation mail: whoever holds the link may not be who complained.
func (q *request) store(ctx context.Context, c directory.Choice, s State, ev directory.Evidence) (done outcome, err error) {
	ask := s.Suppressed == directory.KindComplaint && q.Ask != nil && len(c.Join) > 0
	now := c
	if ask {
		now.Join = nil
	}
	if now.All || len(now.Join)+len(now.Leave) > 0 {
		if err := q.Choose(ctx, q.claim.User, now, ev); err != nil {
			return done, err
		}
	}
	if ask {
		done.asked = true
		done.sent, err = q.Ask(ctx, q.claim.User, c.Join, ev)
	}
	return done, err
}

// shown is the page that bore the button, as it stood: with the boxes of then.
func (q *request) shown(form url.Values, s State, rows []row) string {
	rows = slices.Clone(rows)
	for i := range rows {
		rows[i].Was = slices.Contains(form["was"], rows[i].ID)
		rows[i].On = rows[i].Was
	}
	switch form.Get("page") {
	case donePage:
		return q.Pages.wording(q.doneView(), "undo")
	case savedPage:
		v := q.savedView(directory.Choice{}, outcome{}, s, rows)
		v.Notes, v.Undo = nil, rows
		return q.Pages.wording(v, "undo")
	}
	button := "button"
	if form.Get("do") == "all" {
		button = "all"
	}
	return q.Pages.wording(q.preferencesView(s, rows), button)
}

// unsaved shows the choice again as it was made, to be sent once more.
func (q *request) unsaved(form url.Values, s State, rows []row) {
	for i := range rows {
		rows[i].Was = slices.Contains(form["was"], rows[i].ID)
		rows[i].On = form.Get("do") == "save" && slices.Contains(form["on"], rows[i].ID)
	}
	v := q.preferencesView(s, rows)
	v.lead = ""
	v.Notes = append([]string{v.text("unsaved")}, v.Notes...)
	q.w.Header().Set("Retry-After", "120")
	q.show(http.StatusServiceUnavailable, v)
}

// savedView shows how it stands now. The rows are those of before: the directory may
// not know the new choice yet.
func (q *request) savedView(c directory.Choice, done outcome, s State, rows []row) *view {
	v := q.view(savedPage, savedPage)
	on, off := "on", "off"
	if s.Suppressed != "" && s.Suppressed != directory.KindComplaint { // a choice, and no mail
		v.lead, on, off = "stored", "chosen", "unchosen"
	}
	for _, r := range rows {
		before := r.On
		switch {
		case c.All, slices.Contains(c.Leave, r.ID):
			r.On = false
		case slices.Contains(c.Join, r.ID) && !done.asked:
			r.On = true
		}
		r.Status = v.text(off)
		if r.On {
			r.Status = v.text(on)
		}
		v.Lists = append(v.Lists, r)
		if before != r.On {
			v.Undo = append(v.Undo, row{ID: r.ID, Name: r.Name, Was: r.On, On: before})
		}
	}
	switch {
	case done.asked && done.sent:
		v.Title, v.Notes = v.text("asked_title"), []string{v.text("asked")}
	case done.asked:
		v.Title, v.Notes = v.text("asked_title"), []string{v.text("waiting")}
	case c.All:
		v.Notes = []string{v.text("nothing")}
	case len(c.Join)+len(c.Leave) == 0:
		v.Notes = []string{v.text("unchanged")}
	}
	if note := suppressedNote(s.Suppressed); note != "" && !done.asked {
		p := q.view(preferencesPage, preferencesPage)
		v.Notes = append(v.Notes, p.text(note))
	}
	return v
}
