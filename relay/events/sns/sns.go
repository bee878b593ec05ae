package sns

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"postern/relay/events"
)

// maxBody is how large a request may be: a message has 256 KiB, and more as a string
// within JSON.
const maxBody = 1 << 20

// maxAtOnce is how many messages are read and taken at a time; SNS tries others again.
const maxAtOnce = 64

// Source is what the events of a topic say of where they came from.
const Source = "Amazon SES by SNS"

// Config is what a Handler takes.
type Config struct {
	Topics []string // ARNs of the topics that may call
	Apply  func(ctx context.Context, all []events.Event) error
	Log    *slog.Logger // nil: the default one

	// For tests, which are not Amazon. Nil: the network, and the roots of the system.
	Transport http.RoundTripper
	Roots     *x509.CertPool
}

// Handler is the address that SNS calls.
type Handler struct {
	cfg    Config
	log    *slog.Logger
	places chan struct{} // one for each message that is being read or taken
	fetch  *fetcher
	certs  *certificates
}

// New refuses what is no topic.
func New(cfg Config) (*Handler, error) {
	if len(cfg.Topics) == 0 {
		return nil, errors.New("no topic of SNS is named whose events are taken")
	}
	for _, t := range cfg.Topics {
		if _, err := hostOf(t); err != nil {
			return nil, err
		}
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	f := newFetcher(cfg.Transport)
	return &Handler{cfg: cfg, log: cfg.Log, places: make(chan struct{}, maxAtOnce), fetch: f, certs: &certificates{fetcher: f, roots: cfg.Roots, known: map[string]*x509.Certificate{}}}, nil
}

// ServeHTTP takes one message.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "Amazon SNS posts here", http.StatusMethodNotAllowed)
		return
	}
	err := h.serve(w, r)
	if err == nil {
		w.WriteHeader(http.StatusOK)
		return
	}
	status := status(err)
	h.log.Warn("a call of the address for Amazon SNS was answered with an error", "status", status, "remote", r.RemoteAddr, "error", err)
	http.Error(w, public(err), status)
}

// serve reads and takes a message. Strangers are turned away before anything of theirs
// is held: the topic is in the header as well
// (https://docs.aws.amazon.com/sns/latest/dg/http-header.html).
func (h *Handler) serve(w http.ResponseWriter, r *http.Request) error {
	if !slices.Contains(h.cfg.Topics, r.Header.Get("X-Amz-Sns-Topic-Arn")) {
		return forged("the topic in its header is none of those that are configured")
	}
	select {
	case h.places <- struct{}{}:
		defer func() { <-h.places }()
	default:
		return later("too many messages come at once")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return fmt.Errorf("%w: it cannot be read, or has more than a MiB", errNonsense)
	}
	return h.take(r.Context(), body, time.Now())
}

// status is the table of the answers.
func status(err error) int {
	switch {
	case errors.Is(err, errNonsense), errors.Is(err, events.ErrNoEvent):
		return http.StatusBadRequest
	case errors.Is(err, errForged):
		return http.StatusForbidden
	}
	return http.StatusServiceUnavailable
}

// public is what the caller may read. Who is not believed is not told why.
func public(err error) string {
	for _, known := range []error{errNonsense, errForged, events.ErrNoEvent} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return errLater.Error()
}

// take believes a message or not, and does what it is for.
func (h *Handler) take(ctx context.Context, body []byte, now time.Time) error {
	m, err := parse(body)
	if err != nil {
		return err
	}
	host, err := m.precheck(h.cfg.Topics, now)
	if err != nil {
		return err
	}
	cert, err := h.certs.get(ctx, m.SigningCertURL, host, now)
	if err != nil {
		return err
	}
	if err := m.verify(cert); err != nil {
		return err
	}
	switch m.Type {
	case subscribe:
		return h.confirm(ctx, m, host)
	case unsubscribe:
		h.log.Warn("Amazon SNS has ended a subscription of this gateway; events of the topic come no more until it is made again", "topic", m.TopicArn)
		return nil
	}
	return h.apply(ctx, m)
}

func (h *Handler) apply(ctx context.Context, m *message) error {
	all, err := events.ParseSES([]byte(m.Message))
	if err != nil || len(all) == 0 {
		return err
	}
	for i := range all {
		all[i].Source = Source
	}
	if err := h.cfg.Apply(ctx, all); err != nil {
		return later("its events cannot be applied: %v", err)
	}
	return nil
}

// confirm visits the address that says that the gateway wants the topic's messages.
func (h *Handler) confirm(ctx context.Context, m *message, host string) error {
	u, err := onHost(m.SubscribeURL, host)
	if err != nil {
		return err
	}
	if q := u.Query(); q.Get("Action") != "ConfirmSubscription" || q.Get("TopicArn") != m.TopicArn {
		return forged("its SubscribeURL does not confirm a subscription to its topic")
	}
	if _, _, err := h.fetch.download(ctx, m.SubscribeURL); err != nil {
		return later("the subscription cannot be confirmed: %v", err)
	}
	h.log.Info("the subscription to a topic of Amazon SNS is confirmed", "topic", m.TopicArn)
	return nil
}
