// Package mysqlsync keeps the directory in step with a table of MySQL or MariaDB.
//
// # What a pass does
//
// A [Syncer] makes passes over a [Source], which is the table. The first load reads
// it by key, chunk by chunk, and goes on at the chunk where it was cut off. Every
// later pass reads what has changed since, by the time of change and the key, and
// begins a little earlier than the last one ended ([Config].Overlap): rows whose
// transaction ended late, equal times and clocks that differ are met again, and
// what is the same as before costs the directory nothing. A pass with
// [Options].Reconcile reads everything by key and finds the rows that are gone.
//
// [State] is the local file with what was last seen of each row: its address,
// subscription, consent and a hash of the rest. The order of events for a chunk:
//
//  1. It is judged against the state, the directory and the index ([Syncer] reads, the
//     judgement itself reads nothing).
//  2. The index hears what only the directory knew, who has moved, who has agreed.
//  3. The state notes which rows are about to be written, and how.
//  4. The directory is written: users first, then those that are taken out.
//  5. The state has the rows as they are now, and how far the pass has come.
//
// A crash in between leaves the notes of step 3: the next pass begins with those rows, and
// takes nothing that the directory says of them for somebody else's word.
//
// # What MySQL may change
//
//   - New and changed rows become users of the directory. Attributes that no column
//     is mapped to stay as they are.
//   - SubscriptionStatus is written when it is new in MySQL. A "not subscribed" that
//     somebody wrote into the directory, and MySQL did not bring, stays, and becomes an
//     opt-out in the index.
//   - An opt-out made here stays until the column of consents says that the person
//     agreed later ([directory.Index.Agreed]).
//   - A changed address moves the user, with what was left and why
//     ([directory.Index.Moved]).
//   - A row that is deleted, or gone when reconciled, is taken out of the directory. What
//     the person has left stays in the index, also what only the directory knew.
//   - Two rows of the same address are one too many: the address stays with the row
//     that had it first, for as long as it has it. Rows that exchange their addresses
//     are read together, whatever the order of their changes.
//   - Users of the directory whom no row has brought are counted by a reconcile, and taken
//     out only when that is asked for.
//
// # What stops a pass
//
// When more than [Config].Tripwire of the users would be taken out or unsubscribed, or more than
// half would get another address, nothing is changed and the error says how many. That is found by a look at
// everything that the pass would do, before it does the first of it. A row that
// cannot be a user is set aside with its reason until it changes, or until the address
// is free that another row had; what the directory has of it stays as it is, but for
// the subscription when MySQL ends it.
//
// It never takes back an opt-out, never makes two users of one row, and reads MySQL with
// SELECT alone.
package mysqlsync
