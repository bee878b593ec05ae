package admin

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// countFor is how long a page waits for a count; a million users in the embedded
// directory take some five seconds.
const countFor = 30 * time.Second

type listsView struct {
	Lists   []List
	Counted string     // id of the list that was counted
	Count   *ListCount // nil: none was
	Partly  bool       // the time was up
}

// showLists is GET /lists.
func (p *Pages) showLists(w http.ResponseWriter, r *http.Request) {
	p.show(w, r, http.StatusOK, "lists", listsView{Lists: p.API.Configured})
}

// countList is POST /lists/{id}/count: it changes nothing, but reads the whole
// directory, which nothing should do that merely follows links.
func (p *Pages) countList(w http.ResponseWriter, r *http.Request) {
	audience, err := p.API.audience(r.PathValue("id"))
	if err != nil {
		p.failed(w, r, err)
		return
	}
	select {
	case p.counting <- struct{}{}:
		defer func() { <-p.counting }()
	default:
		p.failed(w, r, &conflict{"somebody else is counting a list at this moment; try again when that is done"})
		return
	}
	unhurried(w)
	ctx, cancel := context.WithTimeout(r.Context(), countFor)
	defer cancel()
	c, err := audience.Count(ctx, p.API.Users, nil, nil)
	partly := errors.Is(err, context.DeadlineExceeded) && r.Context().Err() == nil
	if err != nil && !partly {
		p.failed(w, r, err)
		return
	}
	count := countOf(c)
	p.show(w, r, http.StatusOK, "lists", listsView{Lists: p.API.Configured, Counted: audience.List, Count: &count, Partly: partly})
}
