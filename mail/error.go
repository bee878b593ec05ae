package mail

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Class says what an error is about, and so what becomes of the copy and of the
// lane it was on. The zero value is Temporary: what nobody classified is tried
// again. See docs/decisions/0002-error-classes.md.
type Class int

const (
	// Temporary: this copy did not pass now; it spends an attempt and is retried.
	Temporary Class = iota
	// Permanent: this copy will never pass; it fails with the upstream's words.
	Permanent
	// Uncertain: the mail may have been sent; nobody knows.
	Uncertain
	// Throttled: the lane is going too fast; it slows down, no attempt is spent.
	Throttled
	// QuotaSpent: the lane's daily quota is used up; it pauses, no attempt is spent.
	QuotaSpent
	// Unreachable: nothing was sent, the lane's upstream cannot be reached; it
	// pauses and probes, no attempt is spent.
	Unreachable
	// AccountWide: the upstream refuses the account (suspended, expired key);
	// the lane pauses and probes, no attempt is spent.
	AccountWide
	// MessageWide: every copy of this message would be refused (an unverified
	// From, a missing configuration set); the message pauses, no attempt is spent.
	MessageWide
)

func (c Class) String() string {
	names := [...]string{"temporary", "permanent", "uncertain", "throttled", "quota", "unreachable", "account", "message"}
	if c < 0 || int(c) >= len(names) {
		return fmt.Sprintf("class(%d)", int(c))
	}
	return names[c]
}

// Error is the one error type that crosses package borders with a meaning.
type Error struct {
	Class    Class
	Code     int    // SMTP reply code (RFC 5321 §4.2), 0 when there is none
	Enhanced string // enhanced status code (RFC 3463) such as "5.7.1", may be ""
	// Public is a sentence that the client, the sender or the administrator may
	// read and act on. It never holds a credential or a path of this machine.
	Public     string
	RetryAfter time.Duration // 0: as the schedule says
	Err        error         // the wrapped cause, for the log; may be nil
}

// Error gives the public text with its codes and the cause.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Code != 0 {
		fmt.Fprintf(&b, "%d ", e.Code)
	}
	if e.Enhanced != "" {
		b.WriteString(e.Enhanced + " ")
	}
	b.WriteString(e.Public)
	if e.Err != nil {
		if e.Public != "" {
			b.WriteString(": ")
		}
		b.WriteString(e.Err.Error())
	}
	return b.String()
}

func (e *Error) Unwrap() error { return e.Err }

// ClassOf finds the class of err in its chain. What bears none is Temporary.
func ClassOf(err error) Class {
	var e *Error
	if errors.As(err, &e) {
		return e.Class
	}
	return Temporary
}

// Refuse is the Permanent refusal of a client's command or message.
func Refuse(code int, enhanced, format string, a ...any) *Error {
	return &Error{Class: Permanent, Code: code, Enhanced: enhanced, Public: fmt.Sprintf(format, a...)}
}

// Later is the Temporary refusal of a client's command or message.
func Later(code int, enhanced, format string, a ...any) *Error {
	return &Error{Class: Temporary, Code: code, Enhanced: enhanced, Public: fmt.Sprintf(format, a...)}
}
