// Package events reads what comes back about a mail that was sent: the events of
// Amazon SES ([ParseSES]), and by mail delivery status notifications (RFC 3464), also
// of several recipients, and complaints in the form of ARF (RFC 5965). All of it
// becomes an [Event] for each recipient, and [Event.Judge] says what that means for
// the copy and what it proves about the address. It is pure: it knows neither spool
// nor network, and whether an event speaks of a mail of ours, and what follows from
// it, is for others to say. The packages sqs and sns below bring the events of SES.
//
// # What it takes
//
// SES adds fields and types as it pleases: those that are not known are let alone. An
// event bears the copy's tag, by which it is found even when the answer that told the
// upstream's id was lost; else X-Postern-Copy or the Message-ID of the copy's header,
// which SES gives back; else the upstream's id alone.
//
// The mail systems of the world write reports as they please. So header fields are
// read leniently, a report may stand within another multipart (a gateway that adds
// its notice wraps it), a part may be encoded for transfer, and lines may end with
// LF alone. What must be there is a part of the type message/delivery-status or
// message/feedback-report. A report in plain words is none, whatever it says, and
// neither is one within the mail that was returned: that is what somebody else was
// told about something else.
//
// # How it judges
//
// One table, by type, status and words; see judge.go and words.go. In doubt an event
// proves nothing: a bounce that speaks of policy, content or size, of the sender or of
// a list of blocked networks is no reason never to write to that person again.
//
// # What it never does
//
// It never holds more than a few hundred KiB of a mail, however large that is, and
// reads no more than [MaxSize] of it, and [MaxEvent] of an event; counts of parts,
// depth, fields and recipients are bounded too, and what is beyond is left out, not an
// error. It believes nothing: everything in a [Report] and an [Event] is what a
// stranger wrote, cut to [MaxText] octets and without control characters, so that it
// can stand in a log.
package events
