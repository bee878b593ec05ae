package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"postern/admin"
	"postern/directory"
	"postern/expand"
	"postern/expand/templates"
	"postern/optout"
	"postern/relay"
	"postern/relay/feedback"
	"postern/relay/report"
	"postern/smtpd"
	"postern/smtpd/dialogue"
	"postern/spool"
)

// App is a running gateway: every part, built from one configuration. Parts are
// built in newApp, opened and started in Start, and ended in Stop, which loses
// nothing however far Start has come.
type App struct {
	cfg *Config
	log *slog.Logger

	spool     *spool.Spool
	store     directory.Store
	index     *directory.Index
	relay     *relay.Relay
	feedback  *feedback.Applier
	queues    []*eventQueue
	reporter  *report.Reporter
	runner    *expand.Runner
	renderer  *renderer
	intake    *intake
	templates templates.Source
	consents  *consents
	sync      *syncing // nil without sync.dsn
	syncLate  atomic.Pointer[lateness]
	smtp      *smtpd.Server
	cert      *smtpd.Certificate
	clientCAs *smtpd.ClientCAs

	servers   []*http.Server
	listeners []net.Listener // of servers, in the same order: opt-out, admin, control
	stopLoops context.CancelFunc
	loops     sync.WaitGroup
	started   bool
}

// newApp opens what is on disk and builds every part. What it opened is closed
// again when a part cannot be built.
func newApp(cfg *Config, log *slog.Logger) (*App, error) {
	a := &App{cfg: cfg, log: log}
	if err := a.build(); err != nil {
		return nil, errors.Join(err, a.close())
	}
	return a, nil
}

func (a *App) build() error {
	if err := makeDataDir(a.cfg.DataDir, os.Geteuid()); err != nil {
		return err
	}
	a.cfg.warnOfRisks(a.log)
	keys, err := a.cfg.signingKeys()
	if err != nil {
		return err
	}
	for _, w := range keys.Warnings() {
		a.log.Warn(w)
	}
	if _, found, _ := keys.For(a.cfg.Notices.From); !found {
		a.log.Warn("notices.from has no [[dkim]] key: notices go out unsigned, and some receivers will refuse them", "from", a.cfg.Notices.From)
	}
	if err := a.openData(); err != nil {
		return dataProblem(a.cfg.DataDir, err)
	}
	keyring, err := openKeyring(a.cfg, a.spool, a.index)
	if err != nil {
		return dataProblem(a.cfg.DataDir, err)
	}
	fields, err := a.cfg.fields(a.index)
	if err != nil {
		return err
	}
	if err := a.cfg.checkFilters(fields); err != nil {
		return err
	}
	footers, err := a.cfg.footers(fields)
	if err != nil {
		return err
	}
	a.consents = newConsents(a.cfg, a.spool, a.index, a.store, keyring, a.log)
	if err := a.consents.open(fields); err != nil {
		return err
	}
	lanes, err := a.cfg.lanes(a.log)
	if err != nil {
		return err
	}
	a.renderer = newRenderer(a.cfg, a.spool, keyring)
	signs := a.cfg.signer(keys)
	a.reporter = a.newReporter(lanes, signs)
	a.relay, err = relay.New(relay.Config{
		Spool: a.spool, Lanes: lanes, Render: a.renderer.render, SevenBit: expand.SevenBit, Sign: signs, Blocked: blocked(a.index),
		ReturnPath: a.cfg.returnPaths(keyring), Breaker: relay.Breaker(a.cfg.Relay.Breaker), LaneOf: a.cfg.laneOf,
		Lists: a.cfg.listSchedule(), Ordinary: a.cfg.ordinarySchedule(), Unknowns: a.cfg.unknowns(), Moot: a.reporter.Moot, Location: a.cfg.location(), Log: a.log,
	})
	if err != nil {
		return err
	}
	a.feedback = a.newFeedback()
	if err := a.buildQueues(); err != nil {
		return err
	}
	a.runner = a.newRunner(fields)
	if a.cfg.Sync.on() {
		if a.sync, err = openSync(a.cfg, a.store, a.index, a.learns(fields), a.log); err != nil {
			return dataProblem(a.cfg.DataDir, err)
		}
	}
	if err := a.buildPages(fields); err != nil {
		return err
	}
	a.intake = newIntake(a.cfg, a.spool, a.index, fields, keys, keyring, a.log)
	a.intake.forward, a.intake.footers, a.intake.feedback, a.intake.optOut = a.forward, footers, a.feedback.Apply, a.consents.optOut
	if err := a.buildTemplates(); err != nil {
		return err
	}
	return a.buildSMTP()
}

// buildTemplates is where list mail gets its templates, and where its large pictures
// go.
func (a *App) buildTemplates() (err error) {
	if a.templates, err = a.cfg.templateSource(a.log); err != nil {
		return fmt.Errorf("templates: %w", err)
	}
	a.intake.findTemplate = lookup(templates.NewCache(a.templates, a.cfg.Templates.Cache, a.log))
	if a.intake.pictures, err = a.cfg.pictureHost(); err != nil {
		return fmt.Errorf("templates.host_bucket: %w", err)
	}
	return nil
}

// openData opens the spool, the directory and the local index.
func (a *App) openData() (err error) {
	if a.spool, err = openSpool(a.cfg, a.log); err != nil {
		return err
	}
	if a.index, err = openIndex(a.cfg); err != nil {
		return err
	}
	a.store, err = openStore(a.cfg, a.log)
	return err
}

func (a *App) newRunner(fields *expand.Fields) *expand.Runner {
	return &expand.Runner{
		Expander: &expand.Expander{
			Store: a.store, Fields: fields, Location: a.cfg.Location(), Queue: a.spool, Log: a.log,
			Blocked: a.index.Blocked,
			OnLearn: func(name, typ string) { learn(a.index, a.log, name, typ) },
		},
		Pending: a.spool.Expanding,
		Wake:    a.spool.ExpandWake(),
	}
}

func (a *App) buildSMTP() error {
	c, err := a.cfg.smtp()
	if err != nil {
		return err
	}
	if f := a.cfg.SMTP.TLS; f.CertFile != "" {
		if a.cert, err = smtpd.LoadCertificate(f.CertFile, f.KeyFile); err != nil {
			return err
		}
		c.GetCertificate = a.cert.Get
	}
	if f := a.cfg.SMTP.TLS.ClientCAFile; f != "" {
		if a.clientCAs, err = smtpd.LoadClientCAs(f); err != nil {
			return err
		}
		c.ClientCAs = a.clientCAs.Get
	}
	c.Log, c.Intake, c.Public = a.log, a.intake, a.intake.public
	if a.smtp, err = smtpd.New(c); err != nil {
		return err
	}
	return a.countSpent()
}

// countSpent tells the limits of accounts and networks what they had used up
// before this start.
func (a *App) countSpent() error {
	if !a.smtp.Limited() {
		return nil
	}
	return a.spool.Submitted(time.Now().Add(-24*time.Hour), func(m spool.Submitted) { a.smtp.Spent(m.By, m.At, m.Recipients) })
}

func (a *App) buildPages(fields *expand.Fields) error {
	public, err := a.consents.pages()
	if err != nil {
		return err
	}
	outside, err := a.publicPages(public)
	if err != nil {
		return err
	}
	api := newAPI(a.spool, a.store, a.index, a.renderer.preview, a.log)
	api.Lanes, api.PauseLane, api.ResumeLane = a.lanes, a.relay.PauseLane, a.relay.ResumeLane
	api.Sessions = func() iter.Seq[dialogue.Session] { return a.smtp.Sessions().Sessions() }
	known := func() (*expand.Fields, error) { return fields, nil }
	a.consents.serve(api, known)
	a.cfg.serveLists(api, a.index, known)
	a.cfg.vocabularyOf(api, fields)
	api.Learn = a.learns(fields)
	if a.sync != nil {
		a.sync.serve(api, a.cfg.Sync.Interval)
	}
	pages := a.cfg.adminPages(api, a.adminURL)
	api.LoginLink = pages.LoginLink
	a.servers = []*http.Server{
		optout.NewServer(a.cfg.OptOut.Listen, outside),
		admin.NewServer(a.cfg.Admin.Listen, pages.Handler()),
		admin.NewServer("", api.Handler()),
	}
	return nil
}

// learns takes note of attributes that an import or the sync has met: they are placeholders
// at once.
func (a *App) learns(fields *expand.Fields) func(map[string]string) error {
	return func(seen map[string]string) error {
		for name, typ := range seen {
			fields.Learn(name, typ)
		}
		return a.index.Learn(seen)
	}
}

// adminURL is where the administrators' pages are, with the port really taken.
func (a *App) adminURL() string {
	scheme := "http://"
	if a.cfg.Admin.CertFile != "" {
		scheme = "https://"
	}
	if len(a.listeners) < 2 {
		return scheme + a.cfg.Admin.Listen
	}
	return scheme + a.listeners[1].Addr().String()
}

// Start opens every listener and begins to work. When it fails, Stop tidies up.
func (a *App) Start(ctx context.Context) error {
	if err := a.listen(); err != nil {
		return err
	}
	loops, cancel := context.WithCancel(ctx)
	a.stopLoops, a.started = cancel, true
	a.relay.Start()
	a.loop(func() { _ = a.runner.Run(loops) })
	a.loop(func() { a.index.Run(loops, a.store, a.log) })
	a.loop(func() { a.expire(loops) })
	a.loop(func() { a.consents.letters.Run(loops) })
	a.loop(func() { a.consents.witnessDaily(loops) })
	a.loop(func() { a.reporter.Run(loops) })
	if a.sync != nil && a.cfg.Sync.Interval > 0 {
		a.loop(func() { a.sync.Loop(loops, a.cfg.Sync.Interval) })
		a.loop(func() { a.watchSync(loops) })
	}
	for _, q := range a.queues {
		a.loop(func() { q.Run(loops, a.feedback.Apply) })
	}
	for i, s := range a.servers {
		a.loop(func() {
			if err := a.serve(s, a.listeners[i]); !errors.Is(err, http.ErrServerClosed) {
				a.log.Error("a page server ended", "address", s.Addr, "error", err)
			}
		})
	}
	a.loop(func() {
		if err := a.smtp.Serve(); err != nil {
			a.log.Error("an SMTP listener ended", "error", err)
		}
	})
	return nil
}

func (a *App) loop(f func()) { a.loops.Go(f) }

func (a *App) serve(s *http.Server, l net.Listener) error {
	if c := a.cfg.Admin; c.CertFile != "" && s.Addr == c.Listen {
		return s.ServeTLS(l, c.CertFile, c.KeyFile)
	}
	return s.Serve(l)
}

// listen opens every listener; each problem names its key.
func (a *App) listen() error {
	var problems error
	for _, l := range []struct{ key, address string }{{"optout.listen", a.cfg.OptOut.Listen}, {"admin.listen", a.cfg.Admin.Listen}} {
		listener, err := net.Listen("tcp", l.address)
		if err != nil {
			problems = errors.Join(problems, listenProblem(l.key, l.address, err))
			continue
		}
		a.listeners = append(a.listeners, listener)
	}
	if err := a.smtp.Listen(); err != nil {
		problems = errors.Join(problems, listenProblem("smtp.listener", "", err))
	}
	control, err := admin.ListenControl(a.cfg.ControlSocket())
	if err != nil {
		problems = errors.Join(problems, fmt.Errorf("data_dir: %w", err))
	} else {
		a.listeners = append(a.listeners, control)
	}
	return problems
}

// expire drops what retention has ended, every hour.
func (a *App) expire(ctx context.Context) {
	tick := time.NewTicker(time.Hour)
	defer tick.Stop()
	for {
		n, err := a.spool.Expire(ctx, time.Now().Add(-a.cfg.Relay.Retention))
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			a.log.Error("old messages could not be dropped", "error", err)
		case n > 0:
			a.log.Info("dropped messages at the end of their retention", "messages", n)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Stop ends the gateway in order: what comes in, what is made of it, what goes
// out, what is shown, and the files last. ctx bounds the whole; what it cuts off
// is not lost.
func (a *App) Stop(ctx context.Context) error {
	var errs []error
	half, cancel := halfOf(ctx) // a client that is slow to end takes no time from the sends
	defer cancel()
	errs = append(errs, a.smtp.Shutdown(half)) // listeners close, idle sessions get 421, busy ones finish
	if a.started {
		errs = append(errs, a.relay.Stop(ctx)) // claims stop, sends finish
		a.stopLoops()                          // expansion stops between two pages, the sync between two chunks
	}
	if a.sync != nil {
		a.sync.finish() // a pass that somebody watches over HTTP too
	}
	for _, s := range a.servers {
		if err := s.Shutdown(ctx); err != nil { // a download that does not end would keep the spool open
			errs = append(errs, err, s.Close())
		}
	}
	for _, l := range a.listeners {
		if err := l.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	a.loops.Wait()
	if a.started {
		a.consents.witness()
	}
	return errors.Join(append(errs, a.close())...)
}

// halfOf is a context that ends after half of the time that ctx has left.
func halfOf(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Until(deadline)/2)
}

// close closes what is on disk, the spool last.
func (a *App) close() error {
	var err error
	if a.intake != nil && a.intake.pictures != nil {
		err = errors.Join(err, a.intake.pictures.Close())
	}
	err = errors.Join(err, closeSource(a.templates))
	if a.sync != nil {
		err = errors.Join(err, a.sync.Close())
	}
	if a.store != nil {
		err = errors.Join(err, a.store.Close())
	}
	if a.index != nil {
		err = errors.Join(err, a.index.Close())
	}
	if a.spool != nil {
		err = errors.Join(err, a.spool.Close())
	}
	return err
}

// Reload reads the certificate, and the authorities of client certificates, again.
// Other changes of the configuration want a restart, and Reload says so in the log.
func (a *App) Reload() error {
	a.log.Info("certificates are read again; other changes of the configuration need a restart")
	var err error
	if a.cert != nil {
		err = a.cert.Reload()
	}
	if a.clientCAs != nil {
		err = errors.Join(err, a.clientCAs.Reload())
	}
	return err
}
