package spool

import (
	"context"
	"io"
	"log/slog"
	"os"
	"time"

	"postern/mail"
)

// Options are what Open needs beside the directory.
type Options struct {
	Log *slog.Logger
	// LaneOf resolves the live lane of a message; nil takes Message.Lane.
	LaneOf func(*mail.Message) string
}

// Accepted is one message of a submission, with what goes on disk beside it.
type Accepted struct {
	Message  mail.Message
	Compiled []byte      // rendered form of a list message; nil for ordinary mail
	Copies   []mail.Copy // of ordinary mail, known at once
}

// Claim is an attempt that has begun, durably.
type Claim struct {
	Message *mail.Message // shared; read only
	Copy    mail.Copy     // as it was before the attempt; Claims counts this one
}

// Result is what Settle writes.
type Result struct {
	State      mail.State // Sent, CopyFailed, Deferred, Unknown, Queued, Suppressed, Unsubscribed, ...
	Due        time.Time  // for Deferred, Unknown, Queued
	Spent      bool       // the attempt counts
	Error      string
	UpstreamID string
}

// Summary is a message with its counts.
type Summary struct {
	mail.Message
	Counts mail.Counts
}

type Body interface {
	io.Writer
	Size() int64
	// Discard removes the file; after Accept it does nothing.
	Discard()
	// File gives the written bytes for reading (compile, header checks).
	File() *os.File
}

// API is the shape of *Spool; temporary, for those who build against it.
type API interface {
	NewBody() (Body, error)
	Accept(ctx context.Context, b Body, msgs []Accepted) error
	OpenBody(id mail.ID) (*os.File, error)
	Compiled(id mail.ID) ([]byte, error)

	// expansion
	Expanding() ([]mail.Message, error)
	AddCopies(ctx context.Context, id mail.ID, copies []mail.Copy, checkpoint []byte) error
	Expanded(ctx context.Context, id mail.ID, next mail.MessageState, reason string) error
	Explain(ctx context.Context, id mail.ID, reason string) error

	// dispatch
	Claim(ctx context.Context, lane string, n int, now time.Time) ([]Claim, error)
	Settle(ctx context.Context, c Claim, r Result) error

	// for people
	Messages(before mail.ID, limit int) ([]Summary, error) // newest first; "" from the newest
	Message(id mail.ID) (Summary, error)                   // ErrNotFound
	Copies(id mail.ID, after uint32, limit int) ([]mail.Copy, error) // by Seq, from after+1
	CopyTo(id mail.ID, to mail.Address) (mail.Copy, error) // ErrNotFound
	CopiesOf(to mail.Address) ([]mail.Copy, error)         // newest message first
	Pause(ctx context.Context, id mail.ID, reason string) error
	Resume(ctx context.Context, id mail.ID) error
	Cancel(ctx context.Context, id mail.ID, reason string) error
	// Retry queues again: the failed and uncertain copies, or the one to `to`. Returns how many.
	Retry(ctx context.Context, id mail.ID, to mail.Address) (int, error)

	// care
	Check(ctx context.Context, progress func(done, total int)) ([]string, error)
	Backup(ctx context.Context, w io.Writer) error // a tar of spool.db and bodies/
	Expire(ctx context.Context, before time.Time) (int, error)
	Close() error
}
