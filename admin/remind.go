package admin

import (
	"net/http"
	"time"

	"postern/mail"
)

// ConsentDue is somebody who is to be reminded of what they agreed to, of all lists of
// one sender at once.
type ConsentDue struct {
	User     mail.Address `json:"user"`
	Company  string       `json:"company"`
	Until    time.Time    `json:"until"` // when the two years are over
	Consents []Consent    `json:"consents"`
}

// Consent is when somebody agreed to get a list's mail.
type Consent struct {
	List     string    `json:"list"`
	At       time.Time `json:"agreed_at"`
	Source   string    `json:"source"`               // "ledger", or the name of the attribute
	Reminded time.Time `json:"reminded_at,omitzero"` // of the last reminder
}

// DueTally counts what a search for those who are to be reminded has met.
type DueTally struct {
	Users      int  `json:"users"`      // in the directory, so far
	Due        int  `json:"due"`        // persons and senders
	Unknown    int  `json:"unknown"`    // users who get advertising, and nobody knows since when
	Suppressed int  `json:"suppressed"` // subscribed users who get no mail at all
	Sent       int  `json:"sent"`       // reminders accepted
	More       bool `json:"more"`       // there may be others: the limit was reached
}

// dueLine is a line of the answer: a person who is due, how far the search has come, or
// its end.
type dueLine struct {
	Person *ConsentDue `json:"person,omitempty"`
	Done   bool        `json:"done,omitempty"`
	Tally  *DueTally   `json:"tally,omitempty"`
}

// maxReminders is how many letters one request writes.
const maxReminders = 100_000

func (a *API) needReminders() error {
	if a.Due == nil || a.Remind == nil {
		return &conflict{"there is nobody here who writes reminders"}
	}
	return a.needUsers()
}

// listDue is GET /api/consent/due: a line for each who is to be reminded of a consent,
// lines of progress, and at last "done" or "error". The whole directory is read.
func (a *API) listDue(w http.ResponseWriter, r *http.Request) error {
	if err := a.needReminders(); err != nil {
		return err
	}
	unhurried(w)
	out := newStream(w)
	t, err := a.Due(r.Context(), func(t DueTally) { _ = out.send(dueLine{Tally: &t}) },
		func(p ConsentDue) error { return out.write(dueLine{Person: &p}) })
	if err != nil {
		a.endWithError(out, r, err)
		return nil
	}
	_ = out.send(dueLine{Done: true, Tally: &t})
	return nil
}

// remind is POST /api/consent/remind?limit=: writes to them, up to limit. What was
// accepted before an error stays so, and nobody is written to twice.
func (a *API) remind(w http.ResponseWriter, r *http.Request) error {
	if err := a.needReminders(); err != nil {
		return err
	}
	limit, err := number(r.URL.Query(), "limit", 31)
	if err != nil {
		return err
	}
	if limit == 0 || limit > maxReminders {
		limit = maxReminders
	}
	unhurried(w)
	out := newStream(w)
	t, err := a.Remind(r.Context(), int(limit), func(t DueTally) { _ = out.send(dueLine{Tally: &t}) })
	if err != nil {
		a.endWithError(out, r, err)
		return nil
	}
	a.Log.Info("reminders of consents were accepted for sending", "by", actor(r.Context()), "sent", t.Sent, "due", t.Due)
	_ = out.send(dueLine{Done: true, Tally: &t})
	return nil
}
