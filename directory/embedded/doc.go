// Package embedded keeps the directory in one bbolt file, directory.db, for
// those who have no DynamoDB.
//
// A user is one row, keyed by the address as it is written; the row begins with
// a byte that says its version. The bucket "meta" holds the version of the file.
//
// It promises that what Put or Update returned nil for is on the disk, that a
// page of a scan, a batch of reads and a batch of writes are short transactions
// of bounded size (a million users need no more memory than a thousand), and
// that one process at a time has the file.
//
// It never makes a user in Update, never removes an opt-out in Put, and never
// holds a read transaction across calls, so that writers go on and the file does
// not grow while somebody scans.
package embedded
