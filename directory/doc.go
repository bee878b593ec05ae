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
// What another program has left in a row is read as it is: [User].Unknown and
// [User].Odd say what is not as it is written here, a [UserCheck] counts it, and a
// [Mender] brings it to its form when it is asked to.
//
// # CSV
//
// [Import] and [Export] speak one form of CSV. The columns Email, Name, Gender,
// CreateTime, SubscriptionStatus and OptOut are known by their names in any case;
// every other column is an attribute. A heading may end in the kind of its cells:
// ":text", ":number", ":bool", ":json". Without it a field of the configuration has
// its type, CreateTime is a number and any other attribute is text. An empty cell
// says that the user has no such attribute; a column that is not there says
// nothing. An import of an export gives the same users, where missing, null and
// the empty text count as one, and Suppressed is passed over.
//
// Other files are read too: in EUC-KR or UTF-16, separated by semicolons or tabs, with
// columns that are called otherwise ([ImportOptions]). The order of events of an
// import:
//
//  1. A batch of rows is read, and the index asked what their people have left, which
//     is written into the rows: also of people who were taken out of the Store, or
//     are in the file in another spelling.
//  2. Put stores the batch. The index is asked again; what was said meanwhile is told
//     to the Store.
//  3. The index notes how many rows are stored, and a hash of them. After a crash the
//     same file goes on there; the batch in between is put again, which changes nothing.
//
// # The index
//
// An [Index] is the local file that is asked just before every copy is sent
// ([Index.Blocked]), and the reason why an unsubscribe works while DynamoDB is
// down. The order of events:
//
//  1. OptOut puts its rows into one commit: that the address left the list, the
//     ledger's line with its hash, the address's way to that line, a pending word
//     for the Store, and, where it is asked for, that a notice is owed. Then it
//     returns; what is told to the person after that is true, whatever crashes.
//     Callers at the same time share the commit; who is alone waits for nobody.
//  2. From that commit on Blocked says so, in any spelling of the address.
//  3. Run tells the Store by Update, and again until it is told: all words about one
//     user at once, the latest about each list. A user whom the Store does not have
//     settles the word.
//  4. The notice is sent, and then Answered takes it from what is owed. A crash
//     between the two sends it twice, never not at all.
//
// # What a person has left
//
// A person who leaves all lists ([AllLists], "*") is in the Store one who is not
// subscribed and has "*" in OptOut. While it is there no import or sync can make
// them subscribed. Who comes back to one list ([Index.Consent], [Index.Choose]) is
// subscribed again and has left all others, one by one. Who leaves every list one
// by one stays subscribed.
//
// An opt-out that somebody wrote straight into the Store counts too: [Index.State]
// shows both, and a consent makes a user who is not subscribed one who is, to that
// list alone.
//
//   - An opt-out beats every later import and sync. Only a consent beats it: the
//     person's own, or one that a sync from MySQL brings with a time after the opt-out
//     ([Index.Agreed]). Each such consent counts once. A file brings none.
//   - A consent never lifts a complaint's suppression; only the link in a mail that
//     reached the person does ([Index.Confirmed]).
//   - [Index.Restore] undoes an opt-out that was none, with an operator's evidence,
//     and nothing that was not left.
//   - A changed address keeps all of that ([Index.Moved]), and a word by the old one,
//     which old mails still have, is a word about the new one.
//
// # The ledger
//
// The ledger has a line for everything that happened: opt-outs and consents, with
// what the person was shown, restores, moves, notices, suppressions. It only
// grows. Each line has the hash of itself and of the line before, and the head is
// kept apart: [Index.VerifyLedger] names the first line that was edited, removed,
// inserted or put elsewhere, and a tail that was cut off. Who could write the
// file could also write it anew with other hashes; against that, note the head
// ([Index.Head]) somewhere else, or keep what [Index.ExportLedger] writes.
//
// [Index.History] finds the lines of one address without reading the others.
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
// The package never removes a ledger line, never lets an import, or a sync without a
// later consent, overrule a person's own word, and never sends anything.
package directory
