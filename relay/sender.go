package relay

import (
	"context"
	"errors"

	"postern/mail"
)

// Delivery is one signed copy on its way to an upstream.
type Delivery struct {
	From    mail.Address // MAIL FROM; "" is the null sender
	To      mail.Address // the one recipient
	Tag     string       // mail.Copy.Tag: the same in every attempt
	Content mail.Content
}

// Receipt is upstream's word for an accepted copy.
type Receipt struct {
	ID   string // the id upstream gave it; "" when it gave none
	Text string // what it said, for people
}

// ErrNotSevenBit is in the chain of a Sender's error when the upstream turned out to
// carry no 8-bit text, and has taken nothing. EightBit is false from then on.
var ErrNotSevenBit = errors.New("the upstream carries no 8-bit text")

// Sender hands copies to one upstream account. Send is called from many
// goroutines. It returns nil only when upstream has taken responsibility, and
// otherwise a *mail.Error whose class says what is known:
//
//   - nothing was handed over: Temporary or Permanent for this copy,
//     Throttled, QuotaSpent, Unreachable, AccountWide, MessageWide otherwise;
//   - the mail was handed over wholly and no answer came: Uncertain.
type Sender interface {
	Send(ctx context.Context, d *Delivery) (Receipt, error)
	// Idempotent says that sending the same copy twice leaves one mail upstream,
	// so that an unknown result can be tried again at once.
	Idempotent() bool
	// EightBit says whether upstream carries 8-bit text unchanged, as far as is known,
	// and LongLines whether it carries lines of more than 998 octets, which SMTP does not
	// (RFC 5321 §4.5.3.1.6). Where not, ordinary mail is encoded before it is signed.
	EightBit() bool
	LongLines() bool
	Close() error
}
