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
// SubscriptionStatus is read closed (directory.ReadStatus). Where an item lacks
// it and has the name in another case, that is read instead; of several the
// strictest counts. OptOut is a set of texts; a list or a single text is
// understood too. Numbers stay as DynamoDB writes them. Binary values are read
// as base64 text, sets as lists.
//
// # Writing
//
// Put reads the users first and writes only what differs, each by an UpdateItem
// that names the attributes. BatchWriteItem is not used: it replaces whole items
// without a condition, and would lose an opt-out made in the meantime.
//
// Update bears the condition that the item exists, so nobody can unsubscribe
// into existence. Neither ever removes an opt-out that it was not asked to.
//
// # Errors
//
// The SDK's own retries are left on: everything here is idempotent. What is left
// after them becomes a mail.Error: Throttled for the three names that throttling
// has, AccountWide when AWS refuses us, Permanent when a user cannot be stored,
// and otherwise Temporary, with a sentence that names table and place.
package dynamodb
