// Package spool keeps what Postern has taken responsibility for, on disk, until
// every copy of it is settled and its retention is over.
//
// # What is where
//
// A spool is a directory. bodies/ID.eml is a message as it was received;
// bodies/ID.copy is its compiled form, for the renderer. spool.db, a bbolt
// file, holds one small row for a message and one for a copy, the bodies of
// small ordinary mails (up to 16 KiB), which have no file, and beside them the
// indexes that questions are answered from:
//
//	messages  ID                      → the message (JSON)
//	bodies    ID                      → a small ordinary mail as it was received
//	counts    ID                      → copies by state and by outcome
//	active    ID                      → messages that are not finished
//	copies    ID seq                  → the copy's row
//	address   address key, 0, ID      → seq: one copy per address and message
//	due       ID time seq             → copies that wait for their time
//	claims    ID seq                  → attempts that have begun
//	upstream  upstream id             → ID seq
//	repeats   fingerprint             → the message that a submission became
//	finished  time ID                 → finished messages, for retention
//	untold    ID seq                  → copies whose failure the sender has yet to be told, or,
//	                                    of ordinary mail, that it bounced later
//	complaints ID seq                 → complaints that the owner of the list has yet to be told
//	lanes     name                    → what the relay keeps about a lane
//
// # The order of events
//
// [Spool.Accept] syncs the body file, gives it its name, syncs the directory,
// and then commits all rows of the submission in one transaction. A body that
// has no file is in that transaction. Only then may a client be told 250.
// [Spool.AddCopies] commits rows and checkpoint together.
// [Spool.Claim] commits the beginning of an attempt before it returns, so it is
// on disk before anything is sent; [Spool.Settle] commits its result. Whatever
// is in `claims` when a spool is opened had begun and has no result: those
// copies become uncertain, never queued and never failed.
//
// [Spool.Observe] commits what events say of copies. An event proves that upstream has
// the copy: it settles one that is uncertain, or under way.
//
// All writes go through one goroutine (commit.go) which puts whatever waits
// into one transaction, so that concurrent callers share the cost of a sync.
//
// # What it never does
//
// It never returns from a writing method before the data is on disk. It never
// has two copies of a message for one address. It never takes the result of an
// attempt that is not the copy's current one. After a sync has failed it takes
// and gives nothing more ([ErrBroken]): what the kernel then holds in its cache
// is unknown, and only a restart, which checks the spool, can tell.
package spool
