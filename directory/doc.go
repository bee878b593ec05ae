// Package directory knows who may get mail, and why not.
//
// # Users
//
// A [User] is one person: an address, whether they are subscribed, which lists
// they have left, and attributes. Users are in a [Store]. There are two drivers,
// embedded (one file) and dynamodb (the User table of an older system); package
// directorytest holds both to the same promises:
//
//   - Users are keyed by the address as it is written. Only the [Index] compares
//     normalised addresses (mail.Address.Key).
//   - Who is subscribed is read closed ([ReadStatus]): unknown means not.
//   - Put never takes back an opt-out, and Update never makes a user.
//   - A scan goes page by page from a checkpoint that survives a restart. It meets
//     every user that was there throughout; it is not a snapshot.
//
// # CSV
//
// [Import] and [Export] speak one form of CSV. The columns Email, Name, Gender,
// CreateTime, SubscriptionStatus and OptOut are known by their names in any case;
// every other column is an attribute. A heading may end in the kind of its cells:
// ":text", ":number", ":bool", ":json". Without it CreateTime is a number and any
// other attribute is text. An empty cell says that the user has no such
// attribute; a column that is not there says nothing. An import of an export
// gives the same users, where missing, null and the empty text count as one, and
// Suppressed is passed over.
//
// # The index
//
// An [Index] is the local file that is asked just before every copy is sent
// ([Index.Blocked]), and the reason why an unsubscribe works while DynamoDB is
// down. The order of events:
//
//  1. OptOut puts three rows into one commit: that the address left the list,
//     the ledger's line, and a pending word for the Store. Then it returns; what
//     is told to the person after that is true, whatever crashes.
//  2. From that commit on Blocked says so, in any spelling of the address.
//  3. Run tells the Store by Update, and again until it is told. A user whom the
//     Store does not have settles the word.
//
// A person who leaves all lists ([AllLists], "*") is in the Store one who is not
// subscribed and has "*" in OptOut. While it is there no import or sync can make
// them subscribed; only Rejoin of "*" can.
//
// A suppression (a bounced address, say) blocks every mail; an opt-out blocks the
// mail of its list, and ordinary mail not.
//
// # Suppressions
//
// A [Suppression] says why an address gets nothing, since when and by what
// evidence. The first word stays, except that a complaint takes the place of
// anything else ([Index.Suppress]); a complaint also takes the person off all
// lists, in the same commit ([Index.Complained]). Five days of soft bounces within
// thirty suppress ([Index.SoftBounce]); a delivery in between takes nothing back.
//
// Events come late, in any order and more than once. So every word has the time
// at which it happened, a day of soft bounces counts once, and what happened before
// a person lifted the suppression ([Index.Unsuppress]) changes nothing any more.
// That is remembered for 400 days ([Index.Forget]).
//
// Where the address's user is known, Run also writes the attribute Suppressed
// ("bounced 2026-11-26: 550 5.1.1 no such user", in UTC) into the Store, for those
// who read the table, and takes it away when the suppression is lifted. The index
// decides, never the attribute: an import of users passes such a column over, and
// no placeholder is of that name. A list of suppressions goes in and out as CSV
// ([Index.ImportSuppressions], [Index.ExportSuppressions]).
//
// The package never removes a ledger line, never lets an import overrule a
// person's own word, and never sends anything.
package directory
