package admin

import (
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"postern/mail"
	"postern/relay"
	"postern/spool"
)

const (
	messagesPerPage = 50
	copiesPerPage   = 100
)

type messagesView struct {
	Messages []messageView
	Lanes    []relay.LaneStatus
	Older    mail.ID // where the next page begins; "" on the last
	First    bool
}

// messageView is a message with what its row and its page show.
type messageView struct {
	spool.Summary
	// CanPause and so on say which buttons make sense.
	CanPause, CanResume, CanCancel bool
}

func viewOf(s spool.Summary) messageView {
	v := messageView{Summary: s}
	switch s.State {
	case mail.Expanding, mail.Sending:
		v.CanPause, v.CanCancel = true, true
	case mail.Held, mail.Paused:
		v.CanResume, v.CanCancel = !s.Releasing, true
	}
	return v
}

// ResumeLabel says what resuming does.
func (v messageView) ResumeLabel() string {
	if v.State == mail.Held {
		return "Release"
	}
	return "Resume"
}

// MessageState is the message's own state; State is a page's filter.
func (v messageView) MessageState() mail.MessageState { return v.Summary.State }

// Waiting is how many copies are not settled.
func (v messageView) Waiting() int { return v.Counts.Open() }

// SentCopies is how many upstream has accepted.
func (v messageView) SentCopies() int { return v.Counts[mail.Sent] }

// Lost is how many failed.
func (v messageView) Lost() int { return v.Counts[mail.CopyFailed] }

// Other is how many settled without being sent or failing.
func (v messageView) Other() int {
	return v.Counts.Total() - v.Waiting() - v.SentCopies() - v.Lost()
}

// StateCount is one state of a message's copies.
type StateCount struct {
	State mail.State
	N     int
}

// States are those that any copy is in.
func (v messageView) States() []StateCount {
	var list []StateCount
	for i, n := range v.Counts {
		if n > 0 {
			list = append(list, StateCount{mail.State(i), n})
		}
	}
	return list
}

// OutcomeCount is one outcome of a message's copies.
type OutcomeCount struct {
	Outcome mail.Outcome
	N       int
}

// Came are the outcomes that any copy has.
func (v messageView) Came() []OutcomeCount {
	var list []OutcomeCount
	for i, n := range v.Outcomes {
		if n > 0 {
			list = append(list, OutcomeCount{mail.Outcome(i), n})
		}
	}
	return list
}

// actOnLane is POST /lanes/{name}/{action}.
func (p *Pages) actOnLane(w http.ResponseWriter, r *http.Request) {
	if _, err := p.API.lane(r.Context(), r.PathValue("action"), r.PathValue("name"), ""); err != nil {
		p.failed(w, r, err)
		return
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// listMessages is GET /.
func (p *Pages) listMessages(w http.ResponseWriter, r *http.Request) {
	var before mail.ID
	if s := r.URL.Query().Get("before"); s != "" {
		var err error
		if before, err = mail.ParseID(s); err != nil {
			p.failed(w, r, bad("%v", err))
			return
		}
	}
	list, err := p.API.Spool.Messages(before, messagesPerPage+1)
	if err != nil {
		p.failed(w, r, err)
		return
	}
	v := messagesView{First: before == ""}
	if len(list) > messagesPerPage {
		list = list[:messagesPerPage]
		v.Older = list[messagesPerPage-1].ID
	}
	for _, s := range list {
		v.Messages = append(v.Messages, viewOf(s))
	}
	if p.API.Lanes != nil {
		v.Lanes = p.API.Lanes()
	}
	p.show(w, r, http.StatusOK, "messages", v)
}

type messagePage struct {
	messageView
	Copies  []mail.Copy
	State   string // the filter
	Outcome string // the other filter
	Next    uint32 // Seq after which the next page begins; 0 on the last
	First   bool
	Did     string // what was just done, in a sentence
	Missed  bool   // Retry would find copies to queue again
}

// showMessage is GET /messages/{id}?state=&after=.
func (p *Pages) showMessage(w http.ResponseWriter, r *http.Request) {
	id, err := pathID(r)
	if err != nil {
		p.failed(w, r, err)
		return
	}
	pick, err := pickCopies(r)
	if err != nil {
		p.failed(w, r, err)
		return
	}
	sum, err := p.API.Spool.Message(id)
	if err != nil {
		p.failed(w, r, err)
		return
	}
	v := messagePage{messageView: viewOf(sum), State: r.URL.Query().Get("state"), Outcome: r.URL.Query().Get("outcome"), First: pick.after == 0}
	pick.limit = copiesPerPage + 1
	err = eachCopy(p.API.Spool, id, pick, func(c *mail.Copy) bool {
		v.Copies = append(v.Copies, *c)
		return r.Context().Err() == nil
	})
	if err != nil {
		p.failed(w, r, err)
		return
	}
	if len(v.Copies) > copiesPerPage {
		v.Copies = v.Copies[:copiesPerPage]
		v.Next = v.Copies[copiesPerPage-1].Seq
	}
	v.Did = didSentence(r.URL.Query())
	if v.Missed, err = missed(p.API.Spool, &sum); err != nil {
		p.failed(w, r, err)
		return
	}
	p.show(w, r, http.StatusOK, "message", v)
}

// missed says whether Spool.Retry has anything to do: a failed copy, or an
// uncertain one that is not tried again by itself, which no count tells.
func missed(s *spool.Spool, sum *spool.Summary) (bool, error) {
	if sum.Counts[mail.CopyFailed] > 0 || sum.Counts[mail.Unknown] == 0 {
		return sum.Counts[mail.CopyFailed] > 0, nil
	}
	unknown, found := mail.Unknown, false
	err := eachCopy(s, sum.ID, selection{state: &unknown}, func(c *mail.Copy) bool {
		found = c.Due.IsZero()
		return !found
	})
	return found, err
}

// didSentence says what the redirect of actOn reports. Whoever makes such a link
// up can choose a number and one of four sentences.
func didSentence(q url.Values) string {
	n, err := strconv.ParseUint(q.Get("n"), 10, 31)
	if err != nil {
		return ""
	}
	copies := strconv.FormatUint(n, 10) + " copies"
	if n == 1 {
		copies = "1 copy"
	}
	switch q.Get("did") {
	case "pause":
		return "Paused. Not sent yet: " + copies + "."
	case "resume":
		return "Going on with " + copies + "."
	case "cancel":
		return "Cancelled " + copies + "."
	case "retry":
		return "Queued " + copies + " again."
	}
	return ""
}

// actOn is POST /messages/{id}/{action}.
func (p *Pages) actOn(w http.ResponseWriter, r *http.Request) {
	id, err := pathID(r)
	var to mail.Address
	if s := r.PostFormValue("copy"); err == nil && s != "" {
		if to, err = mail.ParseAddress(s); err != nil {
			err = bad("%v", err)
		}
	}
	action := r.PathValue("action")
	var done changed
	if err == nil {
		done, err = p.API.act(r.Context(), action, id, to)
	}
	if err != nil {
		p.failed(w, r, err)
		return
	}
	q := url.Values{"did": {action}, "n": {strconv.Itoa(done.Copies)}}
	http.Redirect(w, r, "/messages/"+string(id)+"?"+q.Encode(), http.StatusSeeOther)
}

type copyPage struct {
	Message spool.Summary
	Copy    mail.Copy
	Mail    mailView
	Retry   bool // the button makes sense
}

// pathCopy finds the copy that {id} and {seq} name.
func (p *Pages) pathCopy(r *http.Request) (mail.Copy, error) {
	id, err := pathID(r)
	if err != nil {
		return mail.Copy{}, err
	}
	seq, err := strconv.ParseUint(r.PathValue("seq"), 10, 32)
	if err != nil || seq == 0 {
		return mail.Copy{}, bad("%q is not the number of a copy", r.PathValue("seq"))
	}
	return p.API.Spool.Copy(id, uint32(seq))
}

// showCopy is GET /messages/{id}/copies/{seq}.
func (p *Pages) showCopy(w http.ResponseWriter, r *http.Request) {
	c, err := p.pathCopy(r)
	if err != nil {
		p.failed(w, r, err)
		return
	}
	sum, err := p.API.Spool.Message(c.Message)
	if err != nil {
		p.failed(w, r, err)
		return
	}
	v := copyPage{Message: sum, Copy: c, Retry: c.State.Settled() && c.State != mail.Sent || c.State == mail.Unknown}
	if content, err := p.API.render(&c); err != nil {
		v.Mail.Problem = "The copy cannot be rendered: " + sentence(err)
	} else {
		v.Mail = readMail(content)
	}
	p.show(w, r, http.StatusOK, "copy", v)
}

// showHTML is GET /messages/{id}/copies/{seq}/html, the content of the frame on
// the copy's page. The policy gives it no script, no form, no origin, and
// nothing from anywhere but itself, also when it is opened alone.
func (p *Pages) showHTML(w http.ResponseWriter, r *http.Request) {
	c, err := p.pathCopy(r)
	if err != nil {
		p.failed(w, r, err)
		return
	}
	content, err := p.API.render(&c)
	if err != nil {
		p.failed(w, r, err)
		return
	}
	w.Header().Set("Content-Security-Policy", "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'")
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = io.Copy(w, strings.NewReader(readMail(content).HTML)) // a client that is gone is told nothing
}

// showEML is GET /messages/{id}/copies/{seq}/eml.
func (p *Pages) showEML(w http.ResponseWriter, r *http.Request) {
	c, err := p.pathCopy(r)
	if err == nil {
		var content mail.Content
		if content, err = p.API.render(&c); err == nil {
			writeMail(w, &c, content)
			return
		}
	}
	p.failed(w, r, err)
}
