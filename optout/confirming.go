package optout

import (
	"errors"
	"net/http"
	"time"
)

// confirmation answers /c/: a GET shows what would be subscribed to and a button, and
// only the button's POST does it, because scanners follow every link of a mail.
func (q *request) confirmation(token string) {
	c, err := q.Keyring.OpenConfirm(token, time.Now())
	if err != nil && !errors.Is(err, ErrExpired) {
		q.invalid()
		return
	}
	// The page leads on to the preferences of the same person.
	list := c.Lists[0]
	claim := Claim{List: list, User: c.User}
	q.open(claim, q.Keyring.Seal(0, claim))
	if err != nil {
		q.notice(http.StatusGone, sectionExpired)
		return
	}
	state, _, err := q.state()
	if err != nil {
		q.later(q.r.Method == http.MethodPost)
		return
	}
	v := q.view(confirmPage, confirmPage)
	var lists []string
	for i, id := range c.Lists {
		if l, ok := q.find(id); ok {
			lists = append(lists, id)
			v.Lists = append(v.Lists, row{Number: i + 1, ID: id, Name: l.Name, On: true, Notes: q.confirmNotes(l)})
		}
	}
	// An old mail must not bring back somebody who has left since.
	if lists == nil || state.LastLeft.Truncate(time.Second).After(c.At) {
		q.notice(http.StatusGone, sectionVoid)
		return
	}
	if q.r.Method != http.MethodPost {
		q.show(http.StatusOK, v)
		return
	}
	q.confirm(v, lists)
}

// confirmNotes says of advertising that it is.
func (q *request) confirmNotes(l ListInfo) []string {
	if !l.Advertising {
		return nil
	}
	return []string{q.view(confirmPage, confirmPage).text("advertising")}
}

func (q *request) confirm(shown *view, lists []string) {
	if _, err := q.form(); q.unread(err) {
		return
	}
	ev := q.evidence(HowConfirm)
	ev.Wording = q.Pages.wording(shown, "button")
	ctx, cancel := q.storing()
	defer cancel()
	if err := q.Confirm(ctx, q.claim.User, lists, ev); err != nil {
		q.Log.Error("a confirmation could not be stored; the client was asked to try again", "err", err)
		q.later(true)
		return
	}
	q.Log.Info("subscription confirmed", "lists", lists)
	v := q.view(confirmedPage, confirmedPage)
	v.Lists = shown.Lists
	q.show(http.StatusOK, v)
}
