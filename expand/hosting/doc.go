// Package hosting puts the large pictures of list mail into an S3 bucket, so that
// 200 copies link one file and do not carry it 200 times. [Bucket.Put] serves as
// [expand.Input.Host].
//
// # What is in the bucket
//
// A picture's key is made of its content: prefix, the first 128 bits of its SHA-256
// in hex, and the extension of its type. The type is found in the content, not in
// what the mail says: what is no PNG, JPEG, GIF or WebP is refused, so that nobody
// serves a page or a program from the bucket by calling it a picture. The same
// picture is stored once, whatever mail it is in and how many arrive at the same
// time. Readers and proxies may keep it for ever, as its content never changes.
//
// Nothing is ever deleted: a mail lives as long as its reader keeps it. A lifecycle
// rule that deletes old objects leaves holes in old mails.
//
// # What the bucket needs
//
// Everybody must be able to read what is below BaseURL: by a bucket policy, or by
// CloudFront before a private bucket. No ACL is set. The gateway's role needs
// s3:PutObject and s3:GetObject on the objects, and s3:ListBucket on the bucket:
// without that S3 does not say whether a picture is there, and each is sent again
// after a restart.
//
// # When it fails
//
// Errors are [mail.Error]s with a sentence for the administrator. They are Temporary
// but for what is no picture, which is Permanent. The picture then stays in the mail,
// and nothing is lost.
package hosting
