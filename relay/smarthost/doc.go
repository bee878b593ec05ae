// Package smarthost is the relay.Sender that hands copies to another mail
// server by SMTP (RFC 5321): the driver "smtp" of a lane.
//
// What it promises:
//
//   - A Send that returns nil has the upstream's 2xx to the end of DATA, or to the
//     last chunk of BDAT. No other answer counts as sent.
//   - An error says what is known. Every octet was written and no answer came:
//     [mail.Uncertain]. In all other cases nothing was accepted, and the class says
//     whose trouble it is: the host's ([mail.Unreachable]: no connection or one that
//     was lost, TLS, a greeting that refuses, a 421 at any point), the account's
//     ([mail.AccountWide], [mail.Throttled], [mail.QuotaSpent]), the message's
//     ([mail.MessageWide]) or the copy's ([mail.Temporary]: another 4xx;
//     [mail.Permanent]: another 5xx). All but the last two spend nothing of the
//     copy. The upstream's codes and words are kept as they are; classify is the one
//     place that reads them.
//   - The recipient gets the copy's bytes. By BDAT (RFC 3030) they go as they are.
//     By DATA dots at the start of a line are doubled on the wire (RFC 5321 §4.5.2),
//     and a mail that does not end in CRLF gets one, as DATA cannot carry it
//     otherwise.
//   - TLS that is configured is never left out, and a password never crosses a
//     network in the clear. A host must have a certificate for the name by which it
//     is configured.
//
// What it never does: retry a copy (that is for the dispatcher to decide), with
// two exceptions that cost nothing, because the upstream accepted nothing. A kept
// connection that turns out to have been closed before MAIL was accepted, or says
// there that it takes no more mails, is replaced by a fresh one, once. And a host that offers CHUNKING but does not know
// BDAT gets the same mail by DATA, on a new connection, and all others after it.
// It never sends two copies in one transaction.
//
// An upstream without 8BITMIME gets no 8-bit text: the attempt that finds it out
// is [mail.Temporary] with [relay.ErrNotSevenBit], and EightBit is false from then on,
// so that the relay encodes ordinary mail before it signs it.
//
// # Several hosts
//
// Fallback names more hosts of the same account. A host that cannot be used (no
// connection, no TLS as configured, a greeting, EHLO or login that is put off) is
// passed by within the Send. It rests for a minute, in which nobody waits for it
// as long as another host works; then one Send asks it, the others still passing
// it by, and when that works all go there again. When none works, the error names
// each with its reason. A refused login ends the search: it is the account's.
//
// A host also rests that says 421 during a mail, loses a fresh session before
// MAIL is accepted, or has no room for mail (4.3.1, 4.3.2). That Send still fails,
// spending nothing, and the next one goes elsewhere.
//
// A session on which eight mails in a row were refused is ended in order: upstreams
// slow down and cut off who meets nothing but refusals. One on which the upstream has
// said more than it was asked is not used again: it would be an answer ahead.
//
// A kept connection is used if it leads to the host that would be dialled now.
// When an earlier host is back, the kept ones to later hosts are used no more, and
// end with QUIT after IdleTimeout like all that nobody needs.
//
// # The order of events in Send
//
// A free place of MaxConns; a kept connection, or dial, greeting, EHLO, STARTTLS,
// EHLO, AUTH; then MAIL and RCPT, in one write where the upstream offers
// PIPELINING (RFC 2920). Where it offers CHUNKING, BDAT with the whole mail as its
// one chunk follows when both are accepted, in one writev(2); else DATA is in that
// first write, and the mail with the final dot in the second. Then the answer, and
// the connection goes back to be used again. Every step has a deadline for the
// whole of it, however slowly a reply drips.
package smarthost
