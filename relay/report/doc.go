// Package report tells people what became of mail: the sender of a mail that could
// not be delivered or is late, and the operator when a lane or the disk is in
// trouble. What a notice says is composed by package notice; when there is one, and
// to whom, is decided here.
//
// # What is told
//
//   - A sender is told which copies of a mail have failed, and why, in one notice
//     for a mail: as soon as all of its copies are settled, else 30 seconds after the
//     first failure (5 minutes for a list, whose copies go on leaving). What fails
//     later is told an hour after the notice before, again in one.
//   - A sender is told once that a mail is late, when copies of it have waited for
//     four hours. Of many late mails of one sender the oldest is named and the others
//     are counted, in at most one notice an hour.
//   - Sender, owner of the list and operator are told, in one notice, of a mail that the
//     gateway itself has paused, and how to judge and resume it: half a minute later, so
//     that many that stop for the same reason are counted in one notice, at most once an
//     hour for a sender. The sender and the owner are told as well of a mail that will
//     not be out today because the account's quota is not enough. Whoever was told of
//     either is not warned that it is late.
//   - The owner of a list is told who reported its mail as spam: five minutes after the
//     first report, at most once an hour for a list.
//   - The operator is told when a lane has been paused for two minutes (at once, when
//     its account is refused or its quota spent; after a day, when somebody paused it),
//     when it runs again, when its bulk mail waits because too much came back, when the
//     disk fills up and when the spool is broken: at most once an hour each.
//
// # What it promises
//
// A notice to a sender is a message of the spool like any other: it is on disk
// before what it tells counts as told, in the same commit, so that a crash neither
// loses nor repeats one. It goes through the notices' lane, before all bulk, and is
// retried as ordinary mail is. A warning that has been overtaken by the delivery is
// not sent ([Reporter.Moot]).
//
// Mail to the operator about the disk does not go through the spool, which is on
// that disk; it is handed to the lane's sender directly.
//
// # What it never does
//
// It never answers the null sender, nor a notice of its own, nor an automatic
// address of this gateway (a list, unsubscribe@ and their like): no notice makes
// another (RFC 5321 §6.1, RFC 3834 §2). What nobody can be told is logged.
package report
