// Package dialogue remembers how the last SMTP sessions of each client went, and
// says in words why one failed: "why can the scanner at 10.0.0.17 not send?"
//
// A [Recorder] keeps sessions by address. [Recorder.Begin] gives a [Tap] for one
// connection, which is the Debug writer of that connection's go-smtp server and
// is told what cannot be heard there: TLS, log-ins, mails taken. A [Session] is
// the snapshot that people see.
//
// # What is never kept
//
// No credential and no line of a mail. A line of the client is shown only when it
// is an SMTP command, and of the command only what belongs to it: of AUTH the
// name of a known mechanism, of MAIL and RCPT the address and known parameters.
// All else is counted: "(12 octets that are no SMTP command)". What answers a 334
// is "(response not shown)", and what comes after 354, or belongs to a chunk of
// BDAT, is only counted. A reply to what is not shown is shown without its text,
// because servers repeat what they did not understand.
//
// To know what a line is, the tap reads in step with the server: one command,
// one reply. What a client sends ahead waits meanwhile, as it does in go-smtp's
// own buffer. A client that sends name and password behind an AUTH that is
// refused is therefore seen to send two lines that are no commands.
//
// # Bounds
//
// The last four sessions of each of 500 addresses (of an IPv6 network of 64 bits),
// and those that are open. A dialogue keeps its first and last part, 2 KiB each;
// the middle is counted. A session with all that is said about it takes at most
// about 8 KB, so that 2,000 of them are less than 16 MB.
//
// Of four sessions two are for those that went well and two for the others while
// there are both, so that a scanner's failure outlives the successes of a program
// at the same address. Sessions without a word of SMTP (too many connections, a
// failed handshake) that end alike count as one, with the number of times. When
// addresses must give way, those go first that are public and have never handed
// over a mail: a flood of strangers pushes out strangers.
//
// Nothing is written to disk, and a restart forgets everything.
package dialogue
