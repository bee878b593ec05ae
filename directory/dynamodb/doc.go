// Package dynamodb serves the User table of the old system as it is: one item a
// user, with the key Email (S), and whatever attributes of whatever types the
// years have left in it.
//
// # Reading
//
// Scan reads the table itself, in parallel segments, consistently, and without a
// filter: a filter saves no capacity, and a comparison with BOOL true would miss
// the rows in which SubscriptionStatus is the text "true". One call fetches one
// page (at most 1 MB) of every unfinished segment. A page may be empty although
// more follow. The checkpoint holds for every segment where it stands, so a scan
// may go on after a restart; the number of segments is that of its beginning.
// A segment that fails stays where it stands, and the others move on.
//
// SubscriptionStatus is read closed (directory.KnownStatus). Where an item lacks
// it and has the name in another case, that is read instead; of several the
// strictest counts. Of what is not understood User.Unknown says so. OptOut is a set
// of texts; a list or a single text is understood too. Numbers stay as DynamoDB
// writes them. Binary values are read as base64 text, sets as lists. Attributes keep
// the names that they have; whoever looks for a field finds it in any case
// (expand.Fields). User.Odd says what of all that is not as Postern writes it.
//
// # Writing
//
// Put reads the users first and writes only what differs, each by an UpdateItem
// that names the attributes. BatchWriteItem is not used: it replaces whole items
// without a condition, and would lose an opt-out made in the meantime.
//
// Update bears the condition that the item exists, so nobody can unsubscribe
// into existence. Neither ever removes an opt-out that it was not asked to. What is
// written under the name of a known field takes the place of what the item has under
// that name in another case.
//
// Mend alone rewrites what it was not given. It makes booleans, numbers, sets and
// names of what is beyond doubt, by writes whose condition is that nothing of it
// has changed since it was read.
//
// # Errors
//
// The SDK's own retries are left on: everything here is idempotent. What is left
// after them becomes a mail.Error: Throttled for the three names that throttling
// has, AccountWide when AWS refuses us, Permanent when a user cannot be stored,
// and otherwise Temporary, with a sentence that names table and place.
package dynamodb
