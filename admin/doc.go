// Package admin lets people look into the spool and act on it: a JSON API, a
// few server-rendered pages, and the Unix socket by which the commands reach a
// running gateway.
//
// # Three ways in, one implementation
//
//   - [API] answers in JSON. Every error is {"error": "a sentence"}; what takes
//     long answers in lines of JSON, the last of which has "done" or "error".
//   - [Pages] shows the same to a browser, without JavaScript, and serves the
//     API behind its login.
//   - [ListenControl] opens the API to the gateway's own user and to root, on a
//     socket in data_dir, without a login. When no gateway runs, the commands
//     ask the same API in their own process ([InProcess]).
//
// # The API
//
//	GET   /api/queue?limit=&before=              messages, newest first
//	GET   /api/queue/ID?state=&limit=&after=     one, with "recipients" by seq
//	GET   /api/queue/ID/eml?to=ADDRESS           a copy as it would be sent now
//	POST  /api/queue/ID/pause|resume|cancel|retry
//	GET   /api/users?limit=                      one user a line
//	GET   /api/users/EMAIL    PATCH /api/users/EMAIL
//	POST  /api/users/import   GET   /api/users/export     CSV
//	GET   /api/users/EMAIL/history               what they get and left, and the ledger's entries
//	POST  /api/users/EMAIL/leave                 {"list" or "all", "evidence"}
//	POST  /api/users/EMAIL/restore               {"list", "evidence", "dry_run"}
//	GET   /api/ledger/verify  GET   /api/ledger/export
//	POST  /api/optout/rotate
//	GET   /api/consent/due    POST  /api/consent/remind?limit=
//	GET   /api/fields                            learnt fields: name and type
//	GET   /api/suppressions?after=&limit=&kind=&since=    by address
//	POST  /api/suppressions                      {"addresses", "reason"}
//	GET   /api/suppressions/ADDRESS
//	DELETE /api/suppressions/ADDRESS?complaint=&reason=
//	POST  /api/suppressions/import   GET /api/suppressions/export   CSV
//	POST  /api/spool/check    POST  /api/spool/compact    GET /api/spool/backup
//	GET   /api/lanes          POST  /api/login-link
//	GET   /api/lists                             as they are configured
//	GET   /api/lists/ID/count                    who would get a mail now, and why the others not
//	GET   /api/lists/ID/sample?n=                some of those who would
//	GET   /api/lists/ID/why/EMAIL                whether one would
//	GET   /api/sessions?address=&failed=         the last SMTP sessions, newest first
//	GET   /api/sync           POST  /api/sync    {"dry_run", "reconcile", "force", "strangers"}
//
// Answers are streamed: a message of a million copies takes no more memory than
// one of a thousand. An answer that cannot be finished breaks the connection
// off, so that nobody takes half of it for the whole.
//
// # The pages
//
// GET changes nothing. A form bears the session's token, and requests of other
// origins are refused. A viewer sees messages, suppressions, lanes and the sync and has no
// buttons; SMTP sessions, which show who connects, the lists and the page of one person
// are for administrators.
// Sessions live in memory, end after an hour without a request or twelve in all,
// and a restart ends them. While no user has a password, `postern admin login`
// prints a link that works once, for ten minutes, and only by its button.
// Passwords are compared with bcrypt; who guesses waits longer each time.
//
// A rendered copy is shown in a frame without script, forms or origin, and
// nothing in it is loaded from elsewhere; only its own pictures are drawn.
//
// On loopback the pages answer to loopback names only (DNS rebinding).
//
// # What it never does
//
// It never shows or logs a password, a session, a link's secret or the cause of
// an inner error: those who ask get a sentence, the log gets the cause. It never
// keeps more than a page of copies in memory.
package admin
