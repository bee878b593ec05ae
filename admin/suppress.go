package admin

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"postern/directory"
	"postern/mail"
)

// maxAddresses is how many addresses one POST may suppress; for more there is the
// import.
const maxAddresses = 1000

func (a *API) needIndex() error {
	if a.Index == nil {
		return &conflict{"there is no suppression list here"}
	}
	return nil
}

// suppressionFilter is which suppressions are asked for.
type suppressionFilter struct {
	after mail.Address
	kind  directory.Kind // "": all
	since time.Time
	limit uint64 // 0: all
}

func readSuppressionFilter(q url.Values) (f suppressionFilter, err error) {
	if f.limit, err = number(q, "limit", 31); err != nil {
		return f, err
	}
	f.after, f.kind = mail.Address(q.Get("after")), directory.Kind(q.Get("kind"))
	if f.kind != "" && !slices.Contains(directory.Kinds(), f.kind) {
		return f, bad("kind=%q is none of bounce, soft-bounces, complaint, manual and import", f.kind)
	}
	if s := q.Get("since"); s != "" {
		if f.since, err = time.Parse(time.RFC3339, s); err != nil {
			return f, bad("since=%q is no time such as 2026-11-26T09:30:00Z", s)
		}
	}
	return f, nil
}

func (f suppressionFilter) fits(s *directory.Suppression) bool {
	return (f.kind == "" || s.Kind == f.kind) && !s.At.Before(f.since)
}

// listSuppressions is GET /api/suppressions?after=&limit=&kind=&since=, in the
// order of the normalised addresses.
func (a *API) listSuppressions(w http.ResponseWriter, r *http.Request) error {
	if err := a.needIndex(); err != nil {
		return err
	}
	f, err := readSuppressionFilter(r.URL.Query())
	if err != nil {
		return err
	}
	page, err := a.Index.Suppressions(f.after, step)
	if err != nil {
		return err
	}
	unhurried(w)
	out := beginArray(w, "[")
	for n := uint64(0); len(page) > 0; {
		for i := range page {
			if !f.fits(&page[i]) {
				continue
			}
			if n++; f.limit != 0 && n > f.limit {
				return out.end("]")
			}
			out.add(page[i])
		}
		if page, err = a.Index.Suppressions(page[len(page)-1].Address, step); err != nil || r.Context().Err() != nil {
			broken(r, a.Log, err)
		}
	}
	return out.end("]")
}

// pathAddress reads {address}.
func pathAddress(r *http.Request) (mail.Address, error) {
	addr, err := mail.ParseAddress(r.PathValue("address"))
	if err != nil {
		return "", bad("%v", err)
	}
	return addr, nil
}

// showSuppression is GET /api/suppressions/{address}, in any spelling.
func (a *API) showSuppression(w http.ResponseWriter, r *http.Request) error {
	if err := a.needIndex(); err != nil {
		return err
	}
	addr, err := pathAddress(r)
	if err != nil {
		return err
	}
	s, err := a.suppression(addr)
	if err != nil {
		return err
	}
	return a.answerWithLists(w, s)
}

// answerWithLists adds which lists the person has left: lifting takes that back
// for none.
func (a *API) answerWithLists(w http.ResponseWriter, s directory.Suppression) error {
	left, err := a.Index.Left(s.Address)
	if err == nil {
		answer(w, http.StatusOK, struct {
			directory.Suppression
			Left []string `json:"left,omitempty"`
		}{s, left})
	}
	return err
}

func (a *API) suppression(addr mail.Address) (directory.Suppression, error) {
	s, found, err := a.Index.Suppression(addr)
	if err == nil && !found {
		err = notSuppressed(addr)
	}
	return s, err
}

func notSuppressed(addr mail.Address) error {
	return &notHere{"the address " + string(addr) + " is not suppressed"}
}

// nowSuppressed is an address after POST /api/suppressions.
type nowSuppressed struct {
	directory.Suppression
	Added bool `json:"added"` // else it was suppressed before, as is said
}

// addSuppressions is POST /api/suppressions: {"addresses": [...], "reason": ""},
// or "address" for one. All addresses are looked at before the first is taken.
func (a *API) addSuppressions(w http.ResponseWriter, r *http.Request) error {
	if err := a.needIndex(); err != nil {
		return err
	}
	var body struct {
		Address   string   `json:"address"`
		Addresses []string `json:"addresses"`
		Reason    string   `json:"reason"`
	}
	if err := readJSON(w, r, &body, false); err != nil {
		return err
	}
	if body.Address != "" {
		body.Addresses = append(body.Addresses, body.Address)
	}
	if len(body.Addresses) == 0 || len(body.Addresses) > maxAddresses {
		return bad("name 1 to %d addresses; for more there is the import", maxAddresses)
	}
	addrs := make([]mail.Address, len(body.Addresses))
	for i, text := range body.Addresses {
		var err error
		if addrs[i], err = mail.ParseAddress(strings.TrimSpace(text)); err != nil {
			return bad("%v", err)
		}
	}
	all := make([]nowSuppressed, len(addrs))
	for i, addr := range addrs {
		var err error
		if all[i], err = a.suppress(r.Context(), addr, body.Reason); err != nil {
			return err
		}
	}
	answer(w, http.StatusOK, all)
	return nil
}

func (a *API) suppress(ctx context.Context, addr mail.Address, reason string) (nowSuppressed, error) {
	if strings.TrimSpace(reason) == "" {
		reason = "no reason was given"
	}
	added, err := a.Index.Suppress(ctx, directory.Suppression{Address: addr, Kind: directory.KindManual, Reason: reason, At: time.Now(),
		Evidence: directory.Evidence{How: actor(ctx), UserKey: addr}})
	if err != nil {
		return nowSuppressed{}, err
	}
	if added {
		a.Log.Info("an address was suppressed by hand", "by", actor(ctx), "address", string(addr))
	}
	s, err := a.suppression(addr)
	return nowSuppressed{s, added}, err
}

// removeSuppression is DELETE /api/suppressions/{address}?complaint=&reason=, and
// answers with what was lifted. What a complaint has suppressed needs
// complaint=true.
func (a *API) removeSuppression(w http.ResponseWriter, r *http.Request) error {
	if err := a.needIndex(); err != nil {
		return err
	}
	addr, err := pathAddress(r)
	if err != nil {
		return err
	}
	q := r.URL.Query()
	was, err := a.lift(r.Context(), addr, q.Get("complaint") == "true", q.Get("reason"))
	if err != nil {
		return err
	}
	return a.answerWithLists(w, was)
}

// lift lets an address get mail again, for the API and the page alike.
func (a *API) lift(ctx context.Context, addr mail.Address, complaint bool, reason string) (directory.Suppression, error) {
	by := actor(ctx)
	if reason = strings.TrimSpace(reason); reason != "" {
		by += ": " + reason
	}
	was, err := a.Index.Unsuppress(ctx, addr, directory.Lift{By: by, At: time.Now(), Complaint: complaint})
	switch {
	case errors.Is(err, directory.ErrNotSuppressed):
		return was, notSuppressed(addr)
	case errors.Is(err, directory.ErrComplaint):
		return was, &conflict{"the owner of " + string(addr) + " called a mail spam on " + was.At.UTC().Format(time.DateOnly) +
			": lift that only when this person has asked for mail again, and say that it is a complaint (`postern suppress remove ADDRESS --complaint`)"}
	case err != nil:
		return was, err
	}
	a.Log.Info("a suppression was lifted", "by", by, "address", string(addr), "kind", string(was.Kind))
	return was, nil
}

// importedSuppressions is how far an import has come, in rows of the file.
type importedSuppressions struct {
	Rows    int `json:"rows"`
	Added   int `json:"added"`
	Already int `json:"already"` // were suppressed before
	Lifted  int `json:"lifted"`  // somebody has lifted them since, and they stay so
	Bad     int `json:"bad"`
}

// importSuppressions is POST /api/suppressions/import: CSV or Amazon's JSON in,
// lines of progress out, the last of them with "done" or "error".
func (a *API) importSuppressions(w http.ResponseWriter, r *http.Request) error {
	if err := a.needIndex(); err != nil {
		return err
	}
	unhurried(w)
	_ = http.NewResponseController(w).EnableFullDuplex() // progress while the file still comes
	out := newStream(w)
	result, err := a.Index.ImportSuppressions(r.Context(), r.Body, actor(r.Context()), time.Now(),
		func(p directory.SuppressionProgress) { _ = out.send(importedSuppressions(p)) })
	if err != nil {
		a.endWithError(out, r, err)
		return nil
	}
	a.Log.Info("suppressions were imported", "by", actor(r.Context()), "rows", result.Rows, "added", result.Added, "bad", result.Bad)
	rows := make([]rowError, len(result.Errors))
	for i, e := range result.Errors {
		rows[i] = rowError{e.Row, e.Reason}
	}
	_ = out.send(struct {
		Done bool `json:"done"`
		importedSuppressions
		Errors []rowError `json:"errors"` // of the first bad rows
	}{true, importedSuppressions(result.SuppressionProgress), rows})
	return nil
}

// exportSuppressions is GET /api/suppressions/export: CSV.
func (a *API) exportSuppressions(w http.ResponseWriter, r *http.Request) error {
	if err := a.needIndex(); err != nil {
		return err
	}
	return a.download(w, r, "text/csv; charset=utf-8", "suppressions.csv", func(w io.Writer) error { return a.Index.ExportSuppressions(r.Context(), w) })
}
