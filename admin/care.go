package admin

import (
	"io"
	"net/http"
)

// checkSpool is POST /api/spool/check: lines of progress, and at last "done"
// with every problem, or "error".
func (a *API) checkSpool(w http.ResponseWriter, r *http.Request) error {
	unhurried(w)
	out := newStream(w)
	problems, err := a.Spool.Check(r.Context(), func(done, total int) {
		_ = out.send(struct {
			Checked int `json:"checked"`
			Total   int `json:"total"`
		}{done, total})
	})
	if err != nil {
		a.endWithError(out, r, err)
		return nil
	}
	if problems == nil {
		problems = []string{}
	}
	_ = out.send(struct {
		Done     bool     `json:"done"`
		Problems []string `json:"problems"`
	}{true, problems})
	return nil
}

// compactSpool is POST /api/spool/compact: sizes in bytes.
func (a *API) compactSpool(w http.ResponseWriter, r *http.Request) error {
	if a.Compact == nil {
		return &conflict{"the spool can only be compacted while the gateway is stopped: stop it, run `postern spool compact`, and start it again"}
	}
	before, after, err := a.Compact(r.Context())
	if err == nil {
		answer(w, http.StatusOK, struct {
			Before int64 `json:"before"`
			After  int64 `json:"after"`
		}{before, after})
	}
	return err
}

// backupSpool is GET /api/spool/backup: a tar. Sending goes on meanwhile; the
// spool's file grows while a slow reader holds the backup open, and a reader that
// stands still for a minute is given up.
func (a *API) backupSpool(w http.ResponseWriter, r *http.Request) error {
	return a.download(w, r, "application/x-tar", "spool.tar", func(w io.Writer) error { return a.Spool.Backup(r.Context(), w) })
}

// loginLink is POST /api/login-link.
func (a *API) loginLink(w http.ResponseWriter, _ *http.Request) error {
	if a.LoginLink == nil {
		return &conflict{"the gateway is not running: start it with `postern serve`, then ask for the link again"}
	}
	url, err := a.LoginLink()
	if err == nil {
		a.Log.Info("a one-time login link was made")
		answer(w, http.StatusOK, struct {
			URL string `json:"url"`
		}{url})
	}
	return err
}
