// Package notice tells people what became of their mail.
//
// The functions here compose such mails, purely: the same arguments give the same
// octets, and nothing is read, stored or sent.
//
//   - [Failed] says whom a mail did not reach, and why, and what to do about it.
//   - [Delayed] says that a mail has not arrived yet and that nobody need act.
//   - [Paused] says why the gateway has paused a mail, and how to judge and resume it.
//   - [Slow] says that a mail will not be out today, and what can be done about it.
//   - [Complained] tells the owner of a list who reported its mail as spam.
//   - [Operator] tells the administrator what stopped and what runs again.
//   - [Postmaster] hands a stranger's mail to postmaster on to the administrator.
//
// The first two are delivery status notifications: multipart/report (RFC 6522)
// with a text for people, a message/delivery-status for programs (RFC 3464) and
// the header of the mail that they are about. The text comes first, and is
// for somebody who has never read an RFC: it begins with what happened to which
// mail, groups those recipients whom the same thing befell, says in plain words
// what that is and what to do, and quotes upstream's own words last.
//
// Everything that goes in may come from a stranger: subjects, addresses, what a
// server answered, whole mails. So all of it is bounded and cleaned (broken
// UTF-8, controls, line ends, bidirectional overrides), and what comes out is a
// whole RFC 5322 mail: CRLF, 7-bit, no line above 998 octets, no field that is
// not ours.
//
// A notice is never an answer to the null sender, and goes to nobody but
// [Letter.To] and Cc; both are the caller's to see to.
package notice
