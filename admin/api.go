package admin

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"postern/directory"
	"postern/directory/mysqlsync"
	"postern/expand"
	"postern/mail"
	"postern/relay"
	"postern/smtpd/dialogue"
	"postern/spool"
)

// API is the JSON API. Its fields are set before Handler is called; what is nil
// answers 409 and says what is missing.
type API struct {
	Spool *spool.Spool
	Users directory.Store
	// Index has the suppression list.
	Index *directory.Index
	// Render gives a copy as it would be sent now, unsigned.
	Render func(m *mail.Message, c *mail.Copy) (mail.Content, error)
	// Learn is told the attributes that an import brought, and their types; may
	// be nil.
	Learn func(fields map[string]string) error
	// Fields are the attributes that imports and expansion have brought, and their
	// types.
	Fields func() map[string]string
	// Types are the fields of the configuration: name to "string", "number" or "bool".
	Types map[string]string
	// Resolve finds the field that a column's heading calls by another of its names; may be
	// nil.
	Resolve func(heading string) (field string, ok bool)
	// Compact makes spool.db small again; nil while the spool is open for work.
	Compact func(ctx context.Context) (before, after int64, err error)
	// Lanes tells how the lanes stand, and PauseLane and ResumeLane change that.
	Lanes      func() []relay.LaneStatus
	PauseLane  func(ctx context.Context, name, reason string) error
	ResumeLane func(ctx context.Context, name string) error
	// Sessions are the last SMTP sessions, newest first; nil where no gateway runs.
	Sessions func() iter.Seq[dialogue.Session]
	// Lists are the ids of the configured lists.
	Lists []string
	// Configured are these lists, in the same order.
	Configured []List
	// Audience decides who gets the mail of a configured list that is accepted now.
	Audience func(list string) (*expand.Audience, error)
	// Answers says whether whoever leaves a list by hand is owed a notice of the result;
	// nil: nobody is.
	Answers func(list string) bool
	// RotateKey gives unsubscribe links a new key, and its id.
	RotateKey func() (id uint32, err error)
	// Due finds who is to be reminded of a consent, and Remind writes to them.
	Due    func(ctx context.Context, progress func(DueTally), found func(ConsentDue) error) (DueTally, error)
	Remind func(ctx context.Context, limit int, progress func(DueTally)) (DueTally, error)
	// Sync makes a pass over MySQL, one at a time, and SyncStatus says how that stands; nil
	// where sync.dsn is not set. Sync ends its pass when ctx or the gateway ends. SyncEvery
	// is the interval of the gateway's own passes; 0: it makes none.
	Sync       func(ctx context.Context, o mysqlsync.Options, progress func(mysqlsync.Report)) (mysqlsync.Report, error)
	SyncStatus func() (mysqlsync.Status, error)
	SyncEvery  time.Duration
	// LoginLink makes a one-time link into the pages ([Pages.LoginLink]).
	LoginLink func() (string, error)
	Log       *slog.Logger
}

// maxJSON bounds the JSON that a caller sends, in octets.
const maxJSON = 1 << 20

// Handler serves the paths below /api/. It asks for no login: it is for the
// Unix socket ([ListenControl]) and, behind a login, for [Pages].
func (a *API) Handler() http.Handler {
	mux := http.NewServeMux()
	for pattern, h := range map[string]func(http.ResponseWriter, *http.Request) error{
		"GET /api/queue":                     a.listQueue,
		"GET /api/queue/{id}":                a.showMessage,
		"GET /api/queue/{id}/eml":            a.showCopy,
		"POST /api/queue/{id}/{action}":      a.actOn,
		"GET /api/users":                     a.listUsers,
		"GET /api/users/{email}":             a.showUser,
		"PATCH /api/users/{email}":           a.changeUser,
		"POST /api/users/import":             a.importUsers,
		"POST /api/users/check":              a.checkUsers,
		"GET /api/users/export":              a.exportUsers,
		"GET /api/users/{email}/history":     a.showHistory,
		"POST /api/users/{email}/leave":      a.leaveByHand,
		"POST /api/users/{email}/restore":    a.restoreByHand,
		"POST /api/users/{email}/move":       a.moveAddress,
		"GET /api/ledger/verify":             a.verifyLedger,
		"GET /api/ledger/export":             a.exportLedger,
		"POST /api/optout/rotate":            a.rotateKey,
		"GET /api/consent/due":               a.listDue,
		"POST /api/consent/remind":           a.remind,
		"GET /api/fields":                    a.listFields,
		"GET /api/suppressions":              a.listSuppressions,
		"POST /api/suppressions":             a.addSuppressions,
		"GET /api/suppressions/{address}":    a.showSuppression,
		"DELETE /api/suppressions/{address}": a.removeSuppression,
		"POST /api/suppressions/import":      a.importSuppressions,
		"GET /api/suppressions/export":       a.exportSuppressions,
		"POST /api/spool/check":              a.checkSpool,
		"POST /api/spool/compact":            a.compactSpool,
		"GET /api/spool/backup":              a.backupSpool,
		"GET /api/lanes":                     a.listLanes,
		"POST /api/lanes/{name}/{action}":    a.actOnLane,
		"GET /api/sessions":                  a.listSessions,
		"GET /api/sync":                      a.showSync,
		"POST /api/sync":                     a.startSync,
		"GET /api/lists":                     a.listLists,
		"GET /api/lists/{id}/count":          a.countList,
		"GET /api/lists/{id}/sample":         a.sampleList,
		"GET /api/lists/{id}/why/{email}":    a.whyOfList,
		"POST /api/login-link":               a.loginLink,
		"/":                                  nowhere,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "no-store")
			w.Header().Set("X-Content-Type-Options", "nosniff")
			if err := h(w, r); err != nil {
				fail(w, r, a.Log, err)
			}
		})
	}
	return mux
}

func nowhere(_ http.ResponseWriter, r *http.Request) error {
	return &notHere{"there is no " + r.Method + " " + r.URL.Path + " in the API"}
}

// readJSON reads exactly one JSON value, strictly; an empty body leaves v as it
// is when that is allowed.
func readJSON(w http.ResponseWriter, r *http.Request, v any, mayBeEmpty bool) error {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxJSON))
	d.DisallowUnknownFields()
	d.UseNumber()
	err := d.Decode(v)
	var large *http.MaxBytesError
	switch {
	case errors.Is(err, io.EOF) && mayBeEmpty:
		return nil
	case errors.As(err, &large):
		return err
	case err != nil:
		return bad("the body is not the JSON that belongs here: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return bad("the body holds more than one JSON value")
	}
	return nil
}

// number reads a query parameter that counts something; absent is 0.
func number(q url.Values, name string, bits int) (uint64, error) {
	s := q.Get(name)
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(s, 10, bits)
	if err != nil {
		return 0, bad("%s=%q is not a number that fits here", name, s)
	}
	return n, nil
}

// pathID reads {id}.
func pathID(r *http.Request) (mail.ID, error) {
	id, err := mail.ParseID(r.PathValue("id"))
	if err != nil {
		return "", bad("%v", err)
	}
	return id, nil
}

// actorKey is where a request's context names who asks.
type actorKey struct{}

// actor is who asks, for the reason that is kept with a message.
func actor(ctx context.Context) string {
	if name, ok := ctx.Value(actorKey{}).(string); ok {
		return name
	}
	return "an administrator at the command line"
}

// stream writes JSON values one to a line and shows each at once.
type stream struct {
	enc  *json.Encoder
	ctl  *http.ResponseController
	gone error
}

func newStream(w http.ResponseWriter) *stream {
	w.Header().Set("Content-Type", "application/x-ndjson")
	return &stream{enc: json.NewEncoder(w), ctl: http.NewResponseController(w)}
}

// send writes one line and passes it on; after a failure it does nothing.
func (s *stream) send(v any) error {
	if err := s.write(v); err != nil {
		return err
	}
	s.flush()
	return nil
}

func (s *stream) write(v any) error {
	if s.gone == nil {
		s.gone = s.enc.Encode(v)
	}
	return s.gone
}

func (s *stream) flush() { _ = s.ctl.Flush() } // not every writer can

// unhurried lifts the server's deadlines for what takes as long as it takes.
func unhurried(w http.ResponseWriter) {
	c := http.NewResponseController(w)
	_ = c.SetReadDeadline(time.Time{}) // a writer without deadlines needs none
	_ = c.SetWriteDeadline(time.Time{})
}

// broken ends an answer that has begun and cannot be finished, so that nobody
// takes the half for the whole.
func broken(r *http.Request, log *slog.Logger, err error) {
	if r.Context().Err() == nil {
		log.Error("an answer broke off", "path", r.URL.Path, "err", err)
	}
	panic(http.ErrAbortHandler)
}
