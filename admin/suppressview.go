package admin

import (
	"net/http"
	"net/url"
	"strings"

	"postern/directory"
	"postern/mail"
)

const suppressionsPerPage = 100

// suppressionView is a suppression as a row and as a page of its own.
type suppressionView struct {
	directory.Suppression
	Left []string // lists that the person has left; of a page of its own
}

// Path is the suppression's page; an address may have / and ? in it.
func (v suppressionView) Path() string { return "/suppressions/" + url.PathEscape(string(v.Address)) }

// Complaint says that it is lifted on purpose only.
func (v suppressionView) Complaint() bool { return v.Kind == directory.KindComplaint }

// Said is the other server's own words, where the reason does not have them.
func (v suppressionView) Said() string {
	if strings.Contains(v.Reason, v.Evidence.Words) {
		return ""
	}
	return v.Evidence.Words
}

// OffAll says that the person has left all lists.
func (v suppressionView) OffAll() bool {
	return len(v.Left) > 0 && v.Left[0] == directory.AllLists // it sorts before any id
}

type suppressionsView struct {
	Search string
	Rows   []suppressionView
	Next   mail.Address // the last of this page; "" when there are no more
	First  bool
	Lifted string // an address that was just lifted
}

// showSuppressions is GET /suppressions?address=&after=: the address may be the
// beginning of one.
func (p *Pages) showSuppressions(w http.ResponseWriter, r *http.Request) {
	if err := p.API.needIndex(); err != nil {
		p.failed(w, r, err)
		return
	}
	q := r.URL.Query()
	v := suppressionsView{Search: strings.TrimSpace(q.Get("address")), First: q.Get("after") == "", Lifted: liftedAddress(q)}
	list, err := p.API.findSuppressions(v.Search, mail.Address(q.Get("after")))
	if err != nil {
		p.failed(w, r, err)
		return
	}
	if len(list) > suppressionsPerPage {
		list = list[:suppressionsPerPage]
		v.Next = list[len(list)-1].Address
	}
	for _, s := range list {
		v.Rows = append(v.Rows, suppressionView{Suppression: s})
	}
	p.show(w, r, http.StatusOK, "suppressions", v)
}

// findSuppressions gives one more than a page: those that begin like search, or
// the one address that it is in another spelling.
func (a *API) findSuppressions(search string, after mail.Address) ([]directory.Suppression, error) {
	if search == "" {
		return a.Index.Suppressions(after, suppressionsPerPage+1)
	}
	if addr, err := mail.ParseAddress(search); err == nil {
		search = addr.Key()
	}
	return a.Index.SuppressionsLike(search, after, suppressionsPerPage+1)
}

// liftedAddress is what the redirect of liftSuppression reports: an address, for
// whoever makes such a link up chooses no more than that.
func liftedAddress(q url.Values) string {
	addr, err := mail.ParseAddress(q.Get("lifted"))
	if err != nil {
		return ""
	}
	return string(addr)
}

// showSuppression is GET /suppressions/{address}.
func (p *Pages) showSuppression(w http.ResponseWriter, r *http.Request) {
	v, err := p.suppressionOf(r)
	if err != nil {
		p.failed(w, r, err)
		return
	}
	p.show(w, r, http.StatusOK, "suppression", v)
}

func (p *Pages) suppressionOf(r *http.Request) (v suppressionView, err error) {
	if err := p.API.needIndex(); err != nil {
		return v, err
	}
	addr, err := pathAddress(r)
	if err != nil {
		return v, err
	}
	if v.Suppression, err = p.API.suppression(addr); err != nil {
		return v, err
	}
	v.Left, err = p.API.Index.Left(addr)
	return v, err
}

// liftSuppression is POST /suppressions/{address}/lift.
func (p *Pages) liftSuppression(w http.ResponseWriter, r *http.Request) {
	err := p.API.needIndex()
	var addr mail.Address
	if err == nil {
		addr, err = pathAddress(r)
	}
	if err == nil {
		_, err = p.API.lift(r.Context(), addr, r.PostFormValue("complaint") == "true", r.PostFormValue("reason"))
	}
	if err != nil {
		p.failed(w, r, err)
		return
	}
	http.Redirect(w, r, "/suppressions?"+url.Values{"lifted": {string(addr)}}.Encode(), http.StatusSeeOther)
}
