package main

import (
	"context"
	"io"
	"log/slog"
	"reflect"
	"strings"
	"time"

	"postern/directory"
	"postern/directory/mysqlsync"
	"postern/expand"
	"postern/mail"
	"postern/optout"
	"postern/relay"
	"postern/smtpd"
	"postern/spool"
)

// EveryKey is the path of every key of config.toml, array tables without index.
func EveryKey() []string {
	var keys []string
	everyKey(reflect.TypeFor[Config](), "", func(key string) { keys = append(keys, key) })
	return keys
}

// DecodeConfig reads and checks a text without looking at any file. The Config
// is nil when the text is not TOML.
func DecodeConfig(text string) (*Config, error) {
	cfg, found, err := decodeConfig(text)
	if err != nil {
		return nil, err
	}
	cfg.check(found)
	return cfg, found.err()
}

// Renderer is the renderer with a cache of so many octets; its keyring is empty.
type Renderer struct{ r *renderer }

func NewRenderer(cfg *Config, s *spool.Spool, cache int64) Renderer {
	r := newRenderer(cfg, s, nil)
	r.limit = cache
	return Renderer{r}
}

func (r Renderer) Render(m *mail.Message, c *mail.Copy) (mail.Content, error) {
	return r.r.render(m, c)
}

// Cached is what the cache counts, and what it really holds, in octets.
func (r Renderer) Cached() (counted, held int64) {
	for _, e := range r.r.ready {
		held += e.size
	}
	return r.r.bytes, held
}

// CheckSigned judges a mail that is to open the lists with these addresses at now.
func CheckSigned(ctx context.Context, now time.Time, lookup func(context.Context, string) ([]string, error), sub *mail.Submitter, raw string, lists ...mail.Address) error {
	var named []destination
	for _, a := range lists {
		named = append(named, destination{ListConfig: &ListConfig{Address: a}, to: a})
	}
	m := &signedMail{lookup: lookup, sub: sub, lists: named, now: now, maxAge: maxDated}
	return m.check(ctx, strings.NewReader(raw), int64(len(raw)))
}

// Desk is the intake of a gateway that listens nowhere.
type Desk struct {
	smtpd.Intake
	SMTP  *smtpd.Server // for who wants it to listen
	Spool *spool.Spool
	Close func() error
}

// OpenDesk opens the data of cfg; keys of signed mail come from lookup.
func OpenDesk(cfg *Config, lookup func(context.Context, string) ([]string, error)) (Desk, error) {
	a, err := newApp(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		return Desk{}, err
	}
	a.intake.lookup = lookup
	return Desk{a.intake, a.smtp, a.spool, a.close}, nil
}

// OpenServices is a desk that writes a log and forwards what comes to the postmaster.
func OpenServices(cfg *Config, log *slog.Logger, forward func(context.Context, *mail.Submitter, mail.Address, []byte) error) (Desk, error) {
	a, err := newApp(cfg, log)
	if err != nil {
		return Desk{}, err
	}
	a.intake.forward = forward
	return Desk{a.intake, a.smtp, a.spool, a.close}, nil
}

// FindTemplates has the desk get its templates from find.
func (d Desk) FindTemplates(find func(context.Context, string) (*expand.Template, error)) {
	d.Intake.(*intake).findTemplate = find
}

// HostPicture puts a picture where cfg has large ones put, and gives its address.
func HostPicture(ctx context.Context, cfg *Config, data []byte) (string, error) {
	b, err := cfg.pictureHost()
	if err != nil {
		return "", err
	}
	defer b.Close()
	return b.Put(ctx, expand.Image{Data: data})
}

// WaitForPictures is how long the pictures of one message may take to be hosted.
func (d Desk) WaitForPictures(patience time.Duration) { d.Intake.(*intake).patience = patience }

// ServiceOf is what an address names: the kind of service and its code.
func ServiceOf(cfg *Config, sub *mail.Submitter, from, to mail.Address) (kind, code string) {
	svc := newServices(cfg).of(sub, from, to)
	return string(svc.kind), svc.code
}

// ServiceBound is the bound of a kind of service.
func ServiceBound(cfg *Config, kind string) *smtpd.Service {
	return newServices(cfg).bounds[serviceKind(kind)]
}

// NewProgress shows how far something has come on w.
func NewProgress(w io.Writer) (show func(string, ...any), end func()) {
	p := newProgress(w)
	return p.show, p.end
}

// NewPatientProgress is one that is silent for a second.
func NewPatientProgress(w io.Writer) (show func(string, ...any), clear func()) {
	p := newPatientProgress(w)
	return p.show, p.clear
}

// The sentences about what the machine refuses.
func MakeDataDir(dir string, uid int) error { return makeDataDir(dir, uid) }
func OpenKeyring(cfg *Config, s *spool.Spool, x *directory.Index) (*optout.Keyring, error) {
	return openKeyring(cfg, s, x)
}
func DataProblem(dir string, err error) error            { return dataProblem(dir, err) }
func ListenProblem(key, address string, err error) error { return listenProblem(key, address, err) }

// ExplainLane says in words why a lane is as it is.
func ExplainLane(w io.Writer, l *relay.LaneStatus) error { return explainLane(w, l) }

// PerSecond is a rate for people.
func PerSecond(rate float64) string { return perSecond(rate) }

// Ask asks somebody who had complained for a confirmation.
func Ask(ctx context.Context, cfg *Config, s *spool.Spool, x *directory.Index, user mail.Address, list string, at time.Time) (bool, error) {
	keyring, err := optout.OpenKeyring(keyringPath(cfg))
	if err != nil {
		return false, err
	}
	fields, err := cfg.fields(x)
	if err != nil {
		return false, err
	}
	c := newConsents(cfg, s, x, nil, keyring, slog.New(slog.DiscardHandler))
	if err := c.open(fields); err != nil {
		return false, err
	}
	return c.ask(ctx, user, []string{list}, directory.Evidence{At: at, How: "page"})
}

// NewImportProgress shows how far the import of a file of size octets has come.
func NewImportProgress(w io.Writer, size int64) (show func(rows int, read int64, done bool), end func()) {
	p := &importProgress{newProgress(w), size, time.Now(), false}
	return func(rows int, read int64, done bool) {
		p.show(&imported{Rows: rows, Stored: rows, Bytes: read, Done: done})
	}, p.end
}

// OpenTable is a table in MySQL that answers.
type OpenTable = openTable

// NewLateTable is a table that open gives when it is asked.
func NewLateTable(open func(context.Context) (OpenTable, error), learn func(map[string]string) error, log *slog.Logger) interface {
	mysqlsync.Source
	io.Closer
} {
	return &lateTable{open: open, learn: learn, log: log, warned: map[string]bool{}}
}
