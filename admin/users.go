package admin

import (
	"io"
	"maps"
	"net/http"
	"strings"
	"time"

	"postern/directory"
	"postern/mail"
)

// listUsers is GET /api/users?limit=: one user a line, in the directory's order.
func (a *API) listUsers(w http.ResponseWriter, r *http.Request) error {
	limit, err := number(r.URL.Query(), "limit", 31)
	if err != nil {
		return err
	}
	if err := a.needUsers(); err != nil {
		return err
	}
	page, err := a.Users.Scan(r.Context(), nil)
	if err != nil {
		return err
	}
	unhurried(w)
	out := newStream(w)
	for n := uint64(0); ; {
		for i := range page.Users {
			if n++; limit != 0 && n > limit {
				return nil
			}
			if out.write(&page.Users[i]) != nil {
				return nil // the client is gone
			}
		}
		out.flush()
		if page.Next == nil {
			return nil
		}
		if page, err = a.Users.Scan(r.Context(), page.Next); err != nil {
			a.endWithError(out, r, err)
			return nil
		}
	}
}

func (a *API) needUsers() error {
	if a.Users == nil {
		return &conflict{"there is no directory of users here"}
	}
	return nil
}

// endWithError closes a stream of lines whose status has long been sent.
func (a *API) endWithError(out *stream, r *http.Request, err error) {
	if mail.ClassOf(err) == mail.Permanent { // such as a file that cannot be read
		a.Log.Info("a request was refused", "path", r.URL.Path, "err", err)
	} else {
		a.Log.Error("a request failed half-way", "path", r.URL.Path, "err", err)
	}
	_ = out.send(struct {
		Error string `json:"error"`
	}{sentence(err)})
}

// showUser is GET /api/users/{email}: the key as the directory writes it.
func (a *API) showUser(w http.ResponseWriter, r *http.Request) error {
	if err := a.needUsers(); err != nil {
		return err
	}
	u, err := a.Users.Get(r.Context(), mail.Address(r.PathValue("email")))
	if err == nil {
		answer(w, http.StatusOK, u)
	}
	return err
}

// changeUser is PATCH /api/users/{email}: what is absent stays as it is, an
// attribute that is null is removed. Answers with the user as it is then.
func (a *API) changeUser(w http.ResponseWriter, r *http.Request) error {
	if err := a.needUsers(); err != nil {
		return err
	}
	var body struct {
		SubscriptionStatus *bool
		Attributes         map[string]any `json:"attributes"`
	}
	if err := readJSON(w, r, &body, false); err != nil {
		return err
	}
	for name := range body.Attributes {
		if name == "" || directory.Reserved(name) {
			return bad("%q is not an attribute that can be set here", name)
		}
	}
	key := mail.Address(r.PathValue("email"))
	err := a.Users.Update(r.Context(), key, directory.Change{Subscribed: body.SubscriptionStatus, Attributes: body.Attributes})
	if err != nil {
		return err
	}
	a.Log.Info("a user was changed", "by", actor(r.Context()), "attributes", len(body.Attributes))
	return a.showUser(w, r)
}

// listFields is GET /api/fields: the learnt fields and their types. What the
// configuration names is not among them, unless it was seen too.
func (a *API) listFields(w http.ResponseWriter, _ *http.Request) error {
	if a.Fields == nil {
		return &conflict{"there is no memory of fields here"}
	}
	fields := map[string]string{}
	maps.Copy(fields, a.Fields())
	answer(w, http.StatusOK, fields)
	return nil
}

// exportUsers is GET /api/users/export?encoding=&columns=: CSV; columns is a list with
// commas, absent: all.
func (a *API) exportUsers(w http.ResponseWriter, r *http.Request) error {
	if err := a.needUsers(); err != nil {
		return err
	}
	q := r.URL.Query()
	o := &directory.ExportOptions{Encoding: directory.Encoding(q.Get("encoding")), Types: a.Types}
	charset := "utf-8"
	if o.Encoding == directory.EUCKR {
		charset = "euc-kr"
	}
	if s := q.Get("columns"); s != "" {
		o.Columns = strings.Split(s, ",")
	}
	return a.download(w, r, "text/csv; charset="+charset, "users.csv", func(w io.Writer) error { return directory.Export(r.Context(), a.Users, w, o) })
}

// download sends what write gives as a file. What fails before the first byte
// is answered properly; after it the connection breaks off.
func (a *API) download(w http.ResponseWriter, r *http.Request, kind, name string, write func(io.Writer) error) error {
	unhurried(w)
	late := &lateHeader{w: w, ctl: http.NewResponseController(w), kind: kind, name: name}
	err := write(late)
	switch {
	case err != nil && late.begun:
		broken(r, a.Log, err)
	case err == nil && !late.begun:
		late.begin()
	}
	return err
}

// stall is how long a download may stand still: a backup holds a transaction.
const stall = time.Minute

// lateHeader sets the headers of a download with its first byte, and gives up a
// reader that stalls.
type lateHeader struct {
	w          http.ResponseWriter
	ctl        *http.ResponseController
	kind, name string
	begun      bool
}

func (l *lateHeader) begin() {
	l.begun = true
	l.w.Header().Set("Content-Type", l.kind)
	l.w.Header().Set("Content-Disposition", `attachment; filename="`+l.name+`"`)
}

func (l *lateHeader) Write(p []byte) (int, error) {
	if !l.begun {
		l.begin()
	}
	_ = l.ctl.SetWriteDeadline(time.Now().Add(stall)) // a writer without deadlines needs none
	return l.w.Write(p)
}
