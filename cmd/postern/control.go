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
	"syscall"
	"time"

	bolterrors "go.etcd.io/bbolt/errors"

	"postern/admin"
	"postern/spool"
)

// Control reaches the one process that has a data directory: the gateway, over
// the socket that it serves there, or, when none runs, this process, which then
// asks the same handler itself and holds the locks meanwhile.
type Control struct {
	DataDir string
	Socket  string
	// Offline opens the data directory and gives its handler. While another
	// process has it, the error wraps spool.ErrLocked or bbolt's ErrTimeout.
	Offline func() (http.Handler, io.Closer, error)
	// Patience is how long another process may hold the data directory without
	// answering, because it is starting or ending.
	Patience time.Duration
}

// patience is the Patience of the commands: longer than a gateway takes to open
// its files, shorter than a person waits without asking why.
const patience = 10 * time.Second

// control is for a command: it reads the configuration and connects.
func (s *session) control() (*Connection, *Config, error) {
	cfg, err := LoadOffline(s.config)
	if err != nil {
		return nil, nil, err
	}
	log := newLog(s.stderr, LogConfig{Level: "warn", Format: cfg.Log.Format})
	c := Control{DataDir: cfg.DataDir, Socket: cfg.ControlSocket(), Patience: patience,
		Offline: func() (http.Handler, io.Closer, error) { return openOffline(cfg, log) }}
	conn, err := c.Connect(s.ctx)
	return conn, cfg, err
}

// Connect finds the gateway, or takes its place. Close the connection: it may
// hold the locks.
func (c Control) Connect(ctx context.Context) (*Connection, error) {
	deadline := time.NewTimer(c.Patience)
	defer deadline.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if up, err := c.gatewayRuns(ctx); err != nil {
			return nil, err
		} else if up {
			return &Connection{client: &http.Client{Transport: admin.ControlTransport(c.Socket)}}, nil
		}
		handler, files, err := c.Offline()
		if err == nil {
			return &Connection{client: &http.Client{Transport: admin.InProcess(handler)}, files: files}, nil
		}
		if !errors.Is(err, spool.ErrLocked) && !errors.Is(err, bolterrors.ErrTimeout) {
			return nil, err
		}
		select {
		case <-tick.C: // a gateway that is starting opens its files before its socket
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-deadline.C:
			return nil, fmt.Errorf("another process has %s and does not answer: a gateway that is starting or ending, or another command; "+
				"try again in a moment", c.DataDir)
		}
	}
}

// gatewayRuns says whether somebody answers at the socket. None may be there, or
// a stale one that a killed gateway left.
func (c Control) gatewayRuns(ctx context.Context) (bool, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", c.Socket)
	switch {
	case err == nil:
		conn.Close()
		return true, nil
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOTDIR):
		return false, nil
	case errors.Is(err, fs.ErrPermission):
		return false, fmt.Errorf("%s belongs to another user: run this command as the user that the gateway runs as", c.DataDir)
	}
	return false, fmt.Errorf("cannot reach the gateway of %s: %w", c.DataDir, err)
}

// Connection carries requests to whoever has the data directory.
type Connection struct {
	client *http.Client
	files  io.Closer // nil: the gateway has them
}

// Close ends the connection and gives the files free.
func (c *Connection) Close() error {
	if c.files == nil {
		return nil
	}
	return c.files.Close()
}

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

// Elements reads an answer that is a JSON array, or an object whose last member
// is the array "recipients", and keeps one element of it in memory at a time.
// head is called first, with the members before the array ("{}" when the answer
// is the array itself) in their order.
func (c *Connection) Elements(ctx context.Context, path string, head, each func(json.RawMessage) error) error {
	answer, err := c.Request(ctx, http.MethodGet, path, "", nil)
	if err != nil {
		return err
	}
	defer answer.Close()
	decoder := json.NewDecoder(answer)
	members, closing, err := untilArray(decoder)
	if err != nil {
		return fmt.Errorf("the gateway's answer broke off: %w", err)
	}
	if err := head(members); err != nil {
		return err
	}
	for decoder.More() {
		var element json.RawMessage
		if err := decoder.Decode(&element); err != nil {
			return fmt.Errorf("the gateway's answer broke off: %w", whole(err))
		}
		if err := each(element); err != nil {
			return err
		}
	}
	for range closing { // the end must be there too
		if _, err := decoder.Token(); err != nil {
			return fmt.Errorf("the gateway's answer broke off: %w", whole(err))
		}
	}
	return nil
}

// untilArray reads up to the first element of the array and gives the members
// before it as one object, and how many brackets are to be closed.
func untilArray(d *json.Decoder) (before json.RawMessage, closing int, err error) {
	begin, err := d.Token()
	closing = 1
	members := []byte("{")
	for err == nil && begin == json.Delim('{') {
		var key json.Token
		if key, err = d.Token(); err != nil {
			break
		}
		if key == "recipients" {
			begin, err = d.Token()
			closing = 2
			break
		}
		var value json.RawMessage
		if err = d.Decode(&value); err != nil {
			break
		}
		if len(members) > 1 {
			members = append(members, ',')
		}
		members = append(fmt.Appendf(members, "%q:", key), value...)
	}
	if err == nil && begin != json.Delim('[') {
		err = errors.New("it is not the JSON that belongs here")
	}
	return append(members, '}'), closing, whole(err)
}

// whole makes an end in the middle of a JSON value an error.
func whole(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
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
		if json.Unmarshal(line, &refusal) == nil && refusal.Error != "" {
			return errors.New(refusal.Error)
		}
		if err := each(line); err != nil {
			return err
		}
	}
}
