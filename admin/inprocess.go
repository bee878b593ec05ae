package admin

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"sync"
)

// InProcess is a transport that asks h itself instead of a server: the commands
// use it when no gateway runs, so that they have one implementation and one
// answer. Bodies stream both ways.
func InProcess(h http.Handler) http.RoundTripper { return inProcess{h} }

type inProcess struct{ handler http.Handler }

// RoundTrip runs the handler beside its caller until the caller closes the
// answer's body or the handler returns. The request's context ends it too.
func (t inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	if r.Body == nil {
		r.Body = http.NoBody
	}
	out, in := io.Pipe()
	w := &pipeWriter{header: http.Header{}, in: in, begun: make(chan struct{})}
	gone := context.AfterFunc(r.Context(), func() { in.CloseWithError(r.Context().Err()) })
	go func() {
		defer gone()
		defer r.Body.Close()
		defer func() {
			if p := recover(); p != nil && p != http.ErrAbortHandler {
				panic(p)
			} else if p != nil {
				w.WriteHeader(http.StatusInternalServerError)
				in.CloseWithError(io.ErrUnexpectedEOF)
				return
			}
			w.WriteHeader(http.StatusOK)
			in.Close()
		}()
		t.handler.ServeHTTP(w, r)
	}()
	select {
	case <-w.begun:
	case <-r.Context().Done():
		out.CloseWithError(r.Context().Err())
		return nil, r.Context().Err()
	}
	return &http.Response{
		Status: strconv.Itoa(w.code) + " " + http.StatusText(w.code), StatusCode: w.code, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.sent, Body: out, ContentLength: -1, Request: r,
	}, nil
}

// pipeWriter is a ResponseWriter whose body is read while it is written.
type pipeWriter struct {
	header, sent http.Header
	in           *io.PipeWriter
	once         sync.Once
	begun        chan struct{} // closed when code and sent are set
	code         int
}

func (w *pipeWriter) Header() http.Header { return w.header }

func (w *pipeWriter) WriteHeader(code int) {
	w.once.Do(func() {
		w.code, w.sent = code, w.header.Clone()
		close(w.begun)
	})
}

func (w *pipeWriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.in.Write(p)
}
