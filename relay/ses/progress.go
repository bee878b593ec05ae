package ses

import (
	"context"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
)

// stage is how far a request had come when it failed. It decides between "was
// not sent" and "may have been sent".
type stage int32

const (
	notTried  stage = iota // no request was made: credentials, configuration
	dialling               // no connection yet: nothing was sent
	connected              // some of it may have been written, or all
	broken                 // writing failed before the end: SES has no whole request
	written                // it was written wholly
)

// progress watches the one request of a Send.
type progress struct{ at atomic.Int32 }

func (p *progress) stage() stage { return stage(p.at.Load()) }

func (p *progress) set(s stage) { p.at.Store(int32(s)) }

type progressKey struct{}

func (p *progress) watch(ctx context.Context) context.Context {
	return context.WithValue(ctx, progressKey{}, p)
}

// trace notes the stages. Where the transport takes another connection because
// a kept one had been closed before anything was written, they begin again.
func (p *progress) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GetConn: func(string) { p.set(dialling) },
		GotConn: func(httptrace.GotConnInfo) { p.set(connected) },
		WroteRequest: func(w httptrace.WroteRequestInfo) {
			if w.Err != nil {
				p.set(broken)
				return
			}
			p.set(written)
		},
	}
}

// watchedClient is the HTTP client of the SES calls. The trace is put on here
// and not on the call's context, which the SDK also uses to fetch credentials.
type watchedClient struct{ client *http.Client }

func (c watchedClient) Do(r *http.Request) (*http.Response, error) {
	if p, ok := r.Context().Value(progressKey{}).(*progress); ok {
		p.set(dialling)
		r = r.WithContext(httptrace.WithClientTrace(r.Context(), p.trace()))
	}
	return c.client.Do(r)
}
