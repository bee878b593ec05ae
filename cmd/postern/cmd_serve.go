package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"
)

// stopWithin is how long an orderly end may take; what is still going then is
// cut off, which loses nothing.
const stopWithin = time.Minute

type serveCmd struct{}

func (serveCmd) Help() string {
	return `Prints "ready" to stderr when every listener is open.

SIGTERM or SIGINT ends it in order: listeners close, sends that have begun finish, the spool closes. A second one ends it at once; nothing is lost then either. SIGHUP reads the certificates of [smtp.tls] again; any other change of the configuration wants a restart.

Example:

  postern serve --config /etc/postern/config.toml`
}

func (serveCmd) Run(s *session) error {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer signal.Stop(signals)

	cfg, err := Load(s.config)
	if err != nil {
		return err
	}
	app, err := newApp(cfg, newLog(s.stderr, cfg.Log))
	if err != nil {
		return err
	}
	spareProcessors()
	// What has started runs until Stop, not until a signal: the end has an order.
	if err := app.Start(context.WithoutCancel(s.ctx)); err != nil {
		return errors.Join(err, stop(app))
	}
	fmt.Fprintln(s.stderr, "ready")
	for {
		select {
		case sig := <-signals:
			if sig == syscall.SIGHUP {
				if err := app.Reload(); err != nil {
					fmt.Fprintf(s.stderr, "postern: not reloaded, all goes on as before: %v\n", err)
				}
				continue
			}
		case <-s.ctx.Done():
		}
		return stopOrBeStopped(app, signals)
	}
}

// spare is how many threads may run Go code beside those that sign.
const spare = 2

// spareProcessors makes room beside the signers of the relay, of which there is one
// more than processors. A signature keeps its thread busy for a millisecond, and Go
// looks for what the network has brought only on a thread that has nothing to do;
// with as many threads as processors, everybody's next step would wait behind the
// signatures. So there are more threads, and the kernel sees to it that those which
// were waiting run first. Who sets GOMAXPROCS has decided otherwise.
func spareProcessors() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + spare)
	}
}

// stopOrBeStopped ends in order unless a second signal comes.
func stopOrBeStopped(app *App, signals <-chan os.Signal) error {
	stopped := make(chan error, 1)
	go func() { stopped <- stop(app) }()
	for {
		select {
		case err := <-stopped:
			return err
		case sig := <-signals:
			if sig != syscall.SIGHUP {
				return errors.New("ended at once by a second signal; what was under way is taken up at the next start")
			}
		}
	}
}

func stop(app *App) error {
	ctx, cancel := context.WithTimeout(context.Background(), stopWithin)
	defer cancel()
	return app.Stop(ctx)
}

type demoCmd struct {
	Keep bool `help:"Keep the temporary data directory, with the copies in it."`
}

func (demoCmd) Help() string {
	return `Needs no configuration and leaves nothing behind but the copies: a temporary data directory, loopback ports, 200 subscribed sample users and a few who are not. The last line says how many copies came out and how fast; the exit code is 0 only when all of them are right.

Example:

  postern demo --keep`
}

func (c demoCmd) Run(s *session) error {
	return runDemo(s.ctx, s.stdout, s.stderr, demoOptions(c))
}
