package admin

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"postern/directory"
	"postern/mail"
)

// personPage is one person as a page.
type personPage struct {
	personView
	Search  string // as it was asked for
	Missing string // why there is nobody to show
	Lists   []listView
	Done    string // what a button has just done
	Shown   []historyEntry
	Earlier int // entries that are not shown
}

// listView is one list beside a person.
type listView struct {
	ID   string
	Gets bool
	Left *historyEntry // the entry by which they are off it; nil: they are not, or the directory alone says so
}

// Name is the list's, for people.
func (l listView) Name() string {
	if l.ID == directory.AllLists {
		return "all lists"
	}
	return l.ID
}

// entriesPerPage is more than a person has; the command shows all of them.
const entriesPerPage = 500

// Path is the person's page; an address may have / and ? in it.
func (v personPage) Path() string { return "/users/" + url.PathEscape(string(v.Address)) }

// OffAll says that the person has left all lists at once.
func (v personPage) OffAll() bool { return slices.Contains(v.Left, directory.AllLists) }

// findUser is GET /users?address=: a form, or the way to the page of that person.
func (p *Pages) findUser(w http.ResponseWriter, r *http.Request) {
	search := strings.TrimSpace(r.URL.Query().Get("address"))
	v := personPage{Search: search}
	if addr, err := mail.ParseAddress(search); err == nil {
		http.Redirect(w, r, "/users/"+url.PathEscape(string(addr)), http.StatusSeeOther)
		return
	} else if search != "" {
		v.Missing = capital(err.Error()) + "."
	}
	p.show(w, r, http.StatusOK, "user", v)
}

// showUser is GET /users/{email}?done=.
func (p *Pages) showUser(w http.ResponseWriter, r *http.Request) {
	addr, err := pathEmail(r)
	if err != nil {
		p.failed(w, r, err)
		return
	}
	v := personPage{Search: string(addr), Done: r.URL.Query().Get("done")}
	if v.personView, err = p.API.person(r.Context(), addr); err != nil && status(err) != http.StatusNotFound {
		p.failed(w, r, err)
		return
	}
	code := http.StatusOK
	if err != nil {
		v.Address, v.Missing, code = "", capital(sentence(err))+".", http.StatusNotFound
	} else if v.Lists, err = p.API.listsOf(&v.personView); err != nil {
		p.failed(w, r, err)
		return
	}
	v.Shown = slices.Clone(v.Entries)
	slices.Reverse(v.Shown)
	if len(v.Shown) > entriesPerPage {
		v.Earlier = len(v.Shown) - entriesPerPage
		v.Shown = v.Shown[:entriesPerPage]
	}
	p.show(w, r, code, "user", v)
}

// listsOf are the configured lists, and those that the person has left although they
// are configured no more.
func (a *API) listsOf(v *personView) ([]listView, error) {
	ids := slices.Clone(a.Lists)
	for _, id := range v.Left {
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	var all []listView
	for _, id := range ids {
		l := listView{ID: id, Gets: slices.Contains(v.Gets, id)}
		if slices.Contains(v.Left, id) {
			for _, e := range slices.Backward(v.Entries) {
				if e.Kind == "opt-out" && e.List == id {
					l.Left = &e
					break
				}
			}
		}
		all = append(all, l)
	}
	return all, nil
}

// moveUser is POST /users/{email}/leave and /restore: one list, with its evidence.
func (p *Pages) moveUser(w http.ResponseWriter, r *http.Request) {
	addr, err := pathEmail(r)
	if err != nil {
		p.failed(w, r, err)
		return
	}
	req := leaveRequest{List: r.PostFormValue("list"), Evidence: r.PostFormValue("evidence")}
	do, done := p.API.restore, "restored"
	switch r.PathValue("action") {
	case "restore":
	case "leave":
		do, done = p.API.leave, "left"
		if req.List == directory.AllLists {
			req.List, req.All = "", true
		}
	default:
		p.problem(w, r, http.StatusNotFound, "There is no such page.")
		return
	}
	m, err := do(r.Context(), addr, req)
	if err != nil {
		p.failed(w, r, err)
		return
	}
	http.Redirect(w, r, "/users/"+url.PathEscape(string(m.Address))+"?"+url.Values{"done": {done}}.Encode(), http.StatusSeeOther)
}
