package admin

import (
	"net/http"
	"slices"
	"strings"

	"postern/directory"
)

// checkUsers is POST /api/users/check?list=&mend=true&dry_run=true: lines of progress,
// and the last one the report with "done", or "error". list, the id of a list, may
// come again.
func (a *API) checkUsers(w http.ResponseWriter, r *http.Request) error {
	if err := a.needUsers(); err != nil {
		return err
	}
	q := r.URL.Query()
	for _, id := range q["list"] {
		if !slices.Contains(a.Lists, id) {
			return bad("there is no list %q; there are %s", id, strings.Join(a.Lists, ", "))
		}
	}
	unhurried(w)
	out := newStream(w)
	c := &directory.UserCheck{Store: a.Users, Index: a.Index, Fields: a.Types, Lists: q["list"], Mend: q.Get("mend") == "true", DryRun: q.Get("dry_run") == "true",
		Progress: func(users, odd int) { _ = out.send(checking{users, odd}) }}
	report, err := c.Run(r.Context())
	if c.Mend && !c.DryRun && len(report.Mended) > 0 {
		a.Log.Info("users were mended", "by", actor(r.Context()), "what", len(report.Mended))
	}
	if err != nil {
		a.endWithError(out, r, err)
		return nil
	}
	_ = out.send(checked{Done: true, DryRun: c.DryRun, UserReport: report})
	return nil
}

type checking struct {
	Users int `json:"users"` // read so far
	Odd   int `json:"odd"`
}

type checked struct {
	Done   bool `json:"done"`
	DryRun bool `json:"dry_run,omitempty"`
	directory.UserReport
}
