package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"time"

	berrors "go.etcd.io/bbolt/errors"
)

// Control talks to the gateway of a data directory over the socket that the
// gateway serves there, or, when nobody runs, to the same handler in this
// process, which then holds the lock of the data directory's files.
type Control struct {
	DataDir string
	// Offline opens the data directory and gives its handler. While another
	// process holds a file its error wraps bbolt's ErrTimeout.
	Offline func() (http.Handler, io.Closer, error)
	// Patience is how long a gateway may hold the files without answering: it is
	// starting or ending.
	Patience time.Duration
}

// patience is the Patience of the commands: longer than opening a large spool
// takes, shorter than a person waits without asking why.
const patience = 5 * time.Second

// control is for a command: it reads the configuration and connects.
func (s *session) control() (*Connection, *Config, error) {
	cfg, err := LoadOffline(s.config)
	if err != nil {
		return nil, nil, err
	}
	log := newLog(s.stderr, LogConfig{Level: "warn", Format: cfg.Log.Format})
	c := Control{DataDir: cfg.DataDir, Patience: patience,
		Offline: func() (http.Handler, io.Closer, error) { return openOffline(cfg, log) }}
	conn, err := c.Connect(s.ctx)
	return conn, cfg, err
}

// Connection carries requests to the one process that has the data directory.
type Connection struct {
	client *http.Client
	close  func() error
}

// Connect finds the gateway, or takes its place. Close the connection: it may
// hold the lock.
func (c Control) Connect(ctx context.Context) (*Connection, error) {
	deadline := time.NewTimer(c.Patience)
	defer deadline.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := dialControl(ctx, c.DataDir)
		if err == nil {
			return overSocket(c.DataDir, conn), nil
		}
		if !nobodyListens(err) {
			return nil, cannotDial(c.DataDir, err)
		}
		handler, closer, err := c.Offline()
		if err == nil {
			return inProcess(handler, closer), nil
		}
		if !errors.Is(err, berrors.ErrTimeout) {
			return nil, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-deadline.C:
			return nil, fmt.Errorf("another process holds %s and does not answer: a gateway that is starting or ending, or another command; "+
				"try again in a moment", c.DataDir)
		}
	}
}

// nobodyListens: there is no socket, or a stale one that a killed gateway left.
func nobodyListens(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)
}

func cannotDial(dataDir string, err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("the gateway of %s runs as another user: run this command as that user or as root", dataDir)
	}
	return fmt.Errorf("cannot reach the gateway of %s: %w", dataDir, err)
}

// overSocket uses first for the first request and dials for others.
func overSocket(dataDir string, first net.Conn) *Connection {
	var once sync.Once
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (conn net.Conn, err error) {
		once.Do(func() { conn = first })
		if conn == nil {
			conn, err = dialControl(ctx, dataDir)
		}
		return conn, err
	}}
	return &Connection{client: &http.Client{Transport: transport}, close: func() error {
		once.Do(func() { first.Close() })
		transport.CloseIdleConnections()
		return nil
	}}
}

func inProcess(handler http.Handler, closer io.Closer) *Connection {
	l := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	server := &http.Server{Handler: handler}
	served := make(chan struct{})
	go func() { defer close(served); _ = server.Serve(l) }()
	transport := &http.Transport{DialContext: l.dial}
	return &Connection{client: &http.Client{Transport: transport}, close: func() error {
		transport.CloseIdleConnections()
		err := server.Close()
		<-served
		return errors.Join(err, closer.Close())
	}}
}

// pipeListener accepts what dial hands it.
type pipeListener struct {
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func (l *pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case l.conns <- there:
		return here, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error { l.once.Do(func() { close(l.closed) }); return nil }

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "in-process", Net: "unix"} }

// Close ends the connection and gives the files free.
func (c *Connection) Close() error { return c.close() }

// Request sends body (nil: none) and returns the answer's body. What the other
// side refuses is an error with its sentence.
func (c *Connection) Request(ctx context.Context, method, path, contentType string, body io.Reader) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://postern"+path, body)
	if err != nil {
		return nil, fmt.Errorf("cannot ask for %s: %w", path, err)
	}
	if body != nil {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("the gateway did not answer: %w", err)
	}
	if resp.StatusCode < 300 {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	var refusal struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(text, &refusal) == nil && refusal.Error != "" {
		return nil, errors.New(refusal.Error)
	}
	return nil, fmt.Errorf("the gateway answered %s: %s", resp.Status, bytes.TrimSpace(text))
}

// Call is Request with JSON both ways; in and out may be nil.
func (c *Connection) Call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("cannot write the request: %w", err)
		}
		body = bytes.NewReader(text)
	}
	answer, err := c.Request(ctx, method, path, "application/json", body)
	if err != nil {
		return err
	}
	defer answer.Close()
	if out == nil {
		_, err = io.Copy(io.Discard, answer)
		return err
	}
	decoder := json.NewDecoder(answer)
	decoder.UseNumber()
	if err := decoder.Decode(out); err != nil {
		return fmt.Errorf("the gateway's answer broke off: %w", err)
	}
	return nil
}

// Lines calls each with every line of a newline-delimited JSON answer. A line
// {"error": …} ends it with that error.
func (c *Connection) Lines(ctx context.Context, method, path, contentType string, body io.Reader, each func(json.RawMessage) error) error {
	answer, err := c.Request(ctx, method, path, contentType, body)
	if err != nil {
		return err
	}
	defer answer.Close()
	decoder := json.NewDecoder(answer)
	for {
		var line json.RawMessage
		if err := decoder.Decode(&line); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("the gateway's answer broke off: %w", err)
		}
		var refusal struct {
			Error string `json:"error"`
		}
		if json.Unmarshal(line, &refusal) == nil && strings.TrimSpace(refusal.Error) != "" {
			return errors.New(refusal.Error)
		}
		if err := each(line); err != nil {
			return err
		}
	}
}
