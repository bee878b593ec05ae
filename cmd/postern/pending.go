package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
)

// App stands in until the parts are wired.
type App struct{}

var errPending = errors.New("the parts are not wired yet")

func newApp(*Config, *slog.Logger) (*App, error) { return nil, errPending }

func (*App) Start(context.Context) error { return errPending }
func (*App) Stop(context.Context) error  { return nil }
func (*App) Reload() error               { return errPending }

func openOffline(*Config, *slog.Logger) (http.Handler, io.Closer, error) { return nil, nil, errPending }

type demoOptions struct{ Keep bool }

func runDemo(context.Context, io.Writer, io.Writer, demoOptions) error { return errPending }
