package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"syscall"

	"postern/directory"
	"postern/mail"
	"postern/relay"
	"postern/spool"
)

// badRequest is what a caller of the API got wrong, in a sentence.
type badRequest struct{ sentence string }

func (e *badRequest) Error() string { return e.sentence }

func bad(format string, a ...any) error { return &badRequest{fmt.Sprintf(format, a...)} }

// conflict is a command that does not fit how things stand, in a sentence.
type conflict struct{ sentence string }

func (e *conflict) Error() string { return e.sentence }

// notHere is what nothing is served for, in a sentence.
type notHere struct{ sentence string }

func (e *notHere) Error() string { return e.sentence }

// status is the one place where an error becomes an HTTP status.
func status(err error) int {
	var (
		request  *badRequest
		standing *conflict
		refused  *spool.Refused
		large    *http.MaxBytesError
		missing  *notHere
		known    *mail.Error
		noLane   *relay.NoLaneError
	)
	switch {
	case errors.As(err, &request):
		return http.StatusBadRequest
	case errors.As(err, &standing), errors.As(err, &refused):
		return http.StatusConflict
	case errors.Is(err, spool.ErrNotFound), errors.Is(err, directory.ErrNotFound), errors.As(err, &missing), errors.As(err, &noLane):
		return http.StatusNotFound
	case errors.As(err, &large):
		return http.StatusRequestEntityTooLarge
	case errors.Is(err, spool.ErrBroken), errors.Is(err, spool.ErrClosed), errors.Is(err, spool.ErrLocked),
		errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return http.StatusServiceUnavailable
	case errors.As(err, &known) && known.Class == mail.Permanent:
		return http.StatusUnprocessableEntity
	case errors.As(err, &known):
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// sentence is what a person is told of err: never a path or a cause that was
// not written for them.
func sentence(err error) string {
	var known *mail.Error
	var large *http.MaxBytesError
	for _, s := range []error{spool.ErrBroken, spool.ErrClosed, spool.ErrLocked, spool.ErrNotFound, directory.ErrNotFound} {
		if errors.Is(err, s) {
			return s.Error()
		}
	}
	switch {
	case errors.As(err, &large):
		return fmt.Sprintf("the request is larger than %d bytes", large.Limit)
	case errors.As(err, &known) && known.Public != "":
		return known.Public
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return "the work was cut short; try again"
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "the disk of data_dir is full: make room, and try again"
	}
	return innermost(err)
}

// innermost is the text of the error that status went by, without what wraps it.
func innermost(err error) string {
	var (
		request  *badRequest
		standing *conflict
		missing  *notHere
		refused  *spool.Refused
		noLane   *relay.NoLaneError
	)
	switch {
	case errors.As(err, &noLane):
		return noLane.Error()
	case errors.As(err, &request):
		return request.sentence
	case errors.As(err, &standing):
		return standing.sentence
	case errors.As(err, &missing):
		return missing.sentence
	case errors.As(err, &refused):
		return refused.Sentence
	}
	return "something went wrong inside; the gateway's log says what"
}

// fail answers err; what is our own fault goes into the log too.
func fail(w http.ResponseWriter, r *http.Request, log *slog.Logger, err error) {
	code := status(err)
	if code >= http.StatusInternalServerError {
		log.Error("a request failed", "method", r.Method, "path", r.URL.Path, "status", code, "err", err)
	}
	answer(w, code, struct {
		Error string `json:"error"`
	}{sentence(err)})
}

// answer writes v as one JSON value.
func answer(w http.ResponseWriter, code int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		code, b = http.StatusInternalServerError, []byte(`{"error":"the answer cannot be written as JSON"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(append(b, '\n')) // a client that is gone is told nothing
}
