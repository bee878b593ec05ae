// Package sesfake plays the part of Amazon SES v2 that Postern uses, for tests
// and measurements: SendEmail with raw content and GetAccount. It keeps the raw
// bytes of what it accepts and can be told to refuse, fail, hang up or keep
// silent, before or after it took a mail.
//
// It refuses what SES is known to refuse and what would otherwise show only in
// production: no recipient, a tag that is not [A-Za-z0-9_-]{1,256}, a header
// field twice that may occur once. It checks no signature of the request.
package sesfake
