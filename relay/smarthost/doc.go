// Package smarthost is the relay.Sender that hands copies to another mail
// server by SMTP (RFC 5321): the driver "smtp" of a lane.
//
// What it promises:
//
//   - A Send that returns nil has the upstream's 2xx to the end of DATA. No
//     other answer counts as sent.
//   - An error says what is known. Nothing was accepted: [mail.Unreachable]
//     (the connection, TLS, a greeting that refuses, a 421), [mail.AccountWide]
//     (the login is refused), [mail.Temporary] (a 4xx, a connection lost in the
//     middle), [mail.Permanent] (a 5xx) with the upstream's code and words. The
//     final dot was or may have been written and no answer came:
//     [mail.Uncertain].
//   - The recipient gets the copy's bytes: dots at the start of a line are
//     doubled on the wire (RFC 5321 §4.5.2) and nothing else is touched. A mail
//     that does not end in CRLF gets one, as SMTP cannot carry it otherwise.
//   - TLS that is configured is never left out, and a password never crosses a
//     network in the clear.
//
// What it never does: retry a copy (that is for the dispatcher to decide), with
// one exception that costs nothing: a kept connection which turns out to have
// been closed before the upstream accepted anything of this copy is replaced by
// a fresh one, once. It never sends two copies in one transaction.
//
// An upstream without 8BITMIME gets no 8-bit text: the attempt that finds it out
// is [mail.Temporary], and EightBit is false from then on, so that the relay
// encodes ordinary mail before it signs it.
//
// The order of events in Send: a free place of MaxConns; a kept connection, or
// dial, greeting, EHLO, STARTTLS, EHLO, AUTH; then MAIL, RCPT and DATA, in one
// write where the upstream offers PIPELINING (RFC 2920); the mail and the final
// dot in one writev(2); the answer; the connection goes back to be used again.
// Connections that nobody needed for a minute are closed with QUIT.
package smarthost
