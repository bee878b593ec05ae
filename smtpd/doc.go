// Package smtpd is SMTP in: it listens, knows who speaks, decides what they may
// do, and hands whole mails to an [Intake]. It knows nothing of spools or lists.
//
// # The order of events
//
//  1. A connection is counted (421 above a limit), then, on an implicit
//     listener, TLS begins. go-smtp sits on top and must see the TLS connection
//     itself; our own [net.Conn] is below it.
//  2. EHLO begins a session; so does EHLO after STARTTLS, with everything from
//     before forgotten, what was pipelined included.
//  3. AUTH makes the client an account. Without it the client's address may make
//     it a network, by the longest prefix. Who is neither is a stranger.
//  4. MAIL holds auth = "required" (530), the size and send_as. A second MAIL is 503.
//  5. RCPT parses the address, refuses what is a route in disguise, turns
//     strangers away from all but public addresses, asks Intake.Check, and
//     counts the recipient against the submitter's limits. A refusal leaves the
//     other recipients as they are. What is not accepted in the end is uncounted.
//  6. DATA or BDAT: the mail streams through one reader that ends every line with
//     CRLF (or refuses, as the listener says), counts octets and Received
//     fields and puts our own Received field on top, into Intake.Accept.
//  7. The 250 carries the id that Accept returned, and is never sent before.
//
// # What it promises
//
//   - A password is taken only through TLS, unless the listener's insecure_auth
//     says otherwise. Unknown users take as long to refuse as known ones. A
//     wrong password costs a pause that doubles, up to 30 s, and the fifth of a
//     connection the connection. An empty password hash never logs in.
//   - Wrong passwords are counted over all connections, by address and by user
//     name. The twentieth within 15 minutes shuts the address or the name out for
//     15 minutes (454), but not a pair of both that has logged in since the start:
//     that is judged by its own failures. The same wrong password again, for the
//     same name from the same address, counts once.
//   - In no minute and on no day does a submitter pass their limit; [Server.Spent]
//     carries that over a restart.
//   - Half a mail is never accepted: a connection that ends within DATA, or
//     within a chunk of BDAT, gives the Intake an error in place of the end.
//   - Only CRLF.CRLF ends DATA. CR CR LF . CR LF, which contains it and which
//     go-smtp would not see, ends it too, after a second, and the session with it.
//   - Whatever the Intake returns, or panics with, becomes one reply through one
//     function; a text that is not a [mail.Error]'s Public never reaches a client.
//   - Memory per connection is bounded: 256 KiB for the longest line, and
//     buffers of a few KiB however large the mail is.
//   - After Shutdown nothing of the server runs.
//
// # What it never does
//
// It never looks into From, To or any other header but to count Received, never
// stores anything, never sends mail, never logs a body or a credential.
package smtpd
