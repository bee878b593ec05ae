// Package events reads what comes back about a mail that was sent: delivery status
// notifications (RFC 3464), also of several recipients, and complaints in the form
// of ARF (RFC 5965). It is pure: it knows neither spool nor network, and whether a
// report speaks of a mail of ours, and what follows from it, is for others to say.
//
// # What it takes
//
// The mail systems of the world write reports as they please. So header fields are
// read leniently, a report may stand within another multipart (a gateway that adds
// its notice wraps it), a part may be encoded for transfer, and lines may end with
// LF alone. What must be there is a part of the type message/delivery-status or
// message/feedback-report. A report in plain words is none, whatever it says, and
// neither is one within the mail that was returned: that is what somebody else was
// told about something else.
//
// # What it never does
//
// It never holds more than a few hundred KiB, however large the mail is, and reads
// no more than [MaxSize] of it; counts of parts, depth, fields and recipients are
// bounded too, and what is beyond is left out, not an error. It believes nothing:
// everything in a [Report] is what a stranger wrote, cut to [MaxText] octets and
// without control characters, so that it can stand in a log.
package events
