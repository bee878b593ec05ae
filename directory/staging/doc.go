// Package staging keeps the chunks of a first load in an S3 bucket, between MySQL and the
// directory. [Bucket] is a mysqlsync.Staging.
//
// # What is in the bucket
//
// One object a chunk, in the folder of the configuration: its name and ".json.gz",
// DynamoDB JSON compressed by gzip, an item a line, which is what DynamoDB imports
// (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/S3DataImport.Format.html).
// An item is what Put would make of the user in an empty table. Two things that Put knows
// are no part of it: where the status is to be kept the item has no SubscriptionStatus, and
// which attributes are empty somewhere in the chunk is in the object's metadata, so that
// those are removed from a user who has them already. Encryption is the bucket's own.
//
// An object is written whole or not at all, and what was changed on its way or in the bucket
// is not read: S3 compares the SHA-256 of what it gets, and gzip has a checksum at its end.
//
// # What it never does
//
// It never reads or removes what is not in its folder, or has another ending. It leaves no
// version of a chunk behind in a bucket that keeps versions; where it may not remove them
// that is an error, because chunks are personal data.
//
// # What the role needs
//
// s3:PutObject, s3:GetObject and s3:DeleteObject on the objects and s3:ListBucket on the
// bucket. In a bucket that keeps versions also s3:DeleteObjectVersion and s3:ListBucketVersions.
package staging
