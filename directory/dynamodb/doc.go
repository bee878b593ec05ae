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
// Put reads the users first, a hundred in a call. Those who are there are changed by an
// UpdateItem each, which names what differs and bears a condition where it subscribes
// somebody. Those who are not are written whole by BatchWriteItem, 25 in a call; it has no
// conditions. That leaves one race: when another program creates the same user between the
// read and the write, a moment later, what it wrote is replaced, and with it what the person
// has left in that moment. What they left through Postern the opt-out index still blocks.
//
// Users who are said to be New are not all read: a tenth of each hundred is, and all of the
// hundred when one of them is there. The race is then as long as the time since the table
// was seen empty.
//
// A new user whose status nobody said (KeepStatus) has no SubscriptionStatus, which other
// programs and [Store.Get] read as not subscribed; User.Unknown tells it apart.
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
// What a batch leaves unprocessed is asked again, as patiently as a throttle.
//
// Import has DynamoDB make the table of files in S3; package staging puts them there.
//
// # Errors
//
// The SDK's own retries are left on: everything here is idempotent. What is left
// after them becomes a mail.Error: Throttled for the three names that throttling
// has, AccountWide when AWS refuses us, Permanent when a user cannot be stored,
// and otherwise Temporary, with a sentence that names table and place.
package dynamodb
