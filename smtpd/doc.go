// Package smtpd is SMTP in: it listens, knows who speaks, decides what they may
// do, and hands whole mails to an [Intake]. It knows nothing of spools or lists.
//
// # The order of events
//
//  1. A connection is accepted and counted; when all places are taken it gets
//     the place of an idle session, or 421. From here each connection has a
//     goroutine of its own, so that none waits for another.
//  2. From an address in proxy_protocol_from a PROXY header (v1 or v2) must come,
//     and its source address is the client's from then on: for the limits, for
//     networks, in Received, in the log. From elsewhere none is taken.
//  3. The client's address is counted (421 above its limit).
//  4. On an implicit listener TLS begins. Then a go-smtp server is made for this
//     one connection and greets. It sits on top and must see the TLS connection
//     itself; conn, our own [net.Conn], is below TLS.
//  5. EHLO begins a session; so does EHLO after STARTTLS, with everything from
//     before forgotten, what was pipelined included.
//  6. AUTH makes the client an account. Without it the client's address makes it
//     a network: of those around it only the ones with the longest prefix count,
//     and of these the first whose cert_names, if any, the client's TLS
//     certificate bears. Who is neither is a stranger.
//  7. MAIL holds auth = "required" (530), the size and send_as. A second MAIL is 503.
//  8. RCPT parses the address, refuses what is a route in disguise, turns
//     strangers away from all but public addresses, asks Intake.Check and holds
//     per_minute and per_day, of a public address the bounds of its [Service]
//     instead. A refusal leaves the other recipients as they are.
//  9. DATA or BDAT: the mail streams through one reader that ends every line with
//     CRLF (or refuses, as the listener says), counts octets and Received
//     fields and puts our own Received field on top, into Intake.Accept.
//  10. The 250 carries the id that Accept returned, and is never sent before.
//
// # What it promises
//
// Of passwords and rights:
//
//   - A password is taken only through TLS, unless the listener's insecure_auth
//     says otherwise. Unknown users take as long to refuse as known ones. A
//     wrong password costs a pause that doubles, then the connection, and many
//     of them shut their address and user name out for a while. An empty
//     password hash never logs in.
//   - What a PROXY header says is believed from the named addresses only, and
//     never makes a client loopback: a loopback address in a header, or a
//     header without an address (LOCAL, UNKNOWN), gives the right of no network.
//   - A client certificate is asked for only where a network has cert_names, and
//     a bad one breaks nothing: it gives no right, and the refusal at RCPT says
//     what is wrong with it. It is verified against client_ca_file, else the
//     system's authorities, for any key usage: public ones no longer write
//     clientAuth into what mail servers show.
//
// Of mails:
//
//   - Half a mail is never accepted: a connection that ends within DATA, or
//     within a chunk of BDAT, gives the Intake an error in place of the end. A
//     mail that is taken back between two chunks ends its session.
//   - Only CRLF.CRLF ends DATA. CR CR LF . CR LF, which contains it and which
//     go-smtp would not see, ends it too, after a second, and the session with it.
//   - Whatever the Intake returns, or panics with, becomes one reply through one
//     function; a text that is not a [mail.Error]'s Public never reaches a client.
//
// Of pressure:
//
//   - Nobody waits for ever. A PROXY header and a TLS handshake have 30 seconds or
//     read_timeout, whichever is shorter; a command line has one read_timeout in
//     all; of a mail 1 KiB, or its end, must come in each read_timeout, where
//     only the time in which the client is waited for counts. A reply must be
//     taken within write_timeout. Who fails is told 421 where a word can be
//     said, and half a command is not run.
//   - Nobody keeps others out by waiting. When all places are taken, a new client
//     gets that of the session which has been idle longest, if for more than ten
//     seconds; that one is told 421 4.4.2. Idle is who is waited for in a command
//     or in a handshake without an open transaction, or with one that has been
//     open for a read_timeout without any of its mail.
//   - Public addresses have a rate, per client and in all, and a size: no octet
//     beyond it reaches the Intake, whoever sends it.
//   - Memory per connection is bounded: 40 KiB for a command, within a mail
//     256 KiB for the longest line, 32 KiB for a client's certificates, and
//     buffers of a few KiB however large the mail is.
//   - A want of open files, or of memory for them, ends no listener: accepting is
//     tried again, at the latest each second.
//
// Of the end:
//
//   - Shutdown closes the listeners, tells idle sessions 421, and lets open
//     transactions end until its context does. After it nothing of the server runs.
//
// # Where go-smtp needs help
//
// It has one deadline for all of DATA, waits for a client that has left within a
// chunk, makes permanent errors of what is temporary, goes on in the clear after
// a handshake that failed, runs a half command when a read fails, refuses the
// postmaster without a domain, and may give the result of a mail that was taken back
// to the next one. Each of these is mended in conn, body or commandReader, below it
// and above it, and said there; its own settings are per server, which is why each
// connection has one.
//
// # Where to look
//
//	server.go      New, Listen, Serve, Shutdown; who is counted
//	listener.go    from accept to the greeting
//	proxy.go       PROXY headers
//	tls.go         versions, suites, the certificate that is read again
//	clientcert.go  certificates of clients, and which network is theirs
//	limit.go       places, and who has to give one up
//	conn.go        deadlines, and how a session ends
//	session.go     the commands
//	auth.go        AUTH; guard.go counts wrong passwords, window.go recipients
//	service.go     the bounds of public addresses; postmaster.go the one without a domain
//	submitter.go   who it is, and the addresses of MAIL and RCPT
//	body.go        what is read of DATA and BDAT; received.go the field on top
//	reply.go       what a client is told
//	dialogue/      what the last sessions said, and why one failed
//
// # What it never does
//
// It never looks into From, To or any other header but to count Received, never
// stores anything, never sends mail, never logs a body or a credential. A user
// name that is no account's and in no domain of theirs is not logged either: it
// may be a password in the wrong field.
package smtpd
