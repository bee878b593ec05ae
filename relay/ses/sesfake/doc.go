// Package sesfake plays the part of Amazon SES v2 that Postern uses, for tests
// and measurements: SendEmail with raw content and GetAccount, and the events that
// a configuration set publishes. It keeps the raw bytes of what it accepts.
//
// # What a test can tell it
//
//   - [Fake.Then] scripts the answers to the next mails, one by one: each error of
//     SES by its name, status and words ([MessageRejected], [SendingPaused], …),
//     and what happens to connections: a 5xx, a reset or silence after the mail was
//     taken, a reset before it was read, an answer that nobody can read.
//   - [Fake.RateLimit], [Fake.Quota], [Fake.SetCredentialExpired], [Fake.Verify],
//     [Fake.SetLatency] and [Fake.SetAccount] set how the account is, until told
//     otherwise. What they refuse uses up none of the script.
//   - [Fake.OnAccept] hears of each accepted mail. [Feed] makes the mail's events
//     of it and puts them into an SQS queue, as a configuration set does by SNS.
//   - [HangUp] cuts TLS handshakes. A certificate that nobody trusts is
//     httptest.NewTLSServer's.
//
// [Fake.Count] says what has happened so far.
//
// # What it checks
//
// It refuses what SES is known to refuse and what would otherwise show only in
// production: no recipient, a tag that is not [A-Za-z0-9_-]{1,256}, a header
// field twice that may occur once. It checks no signature of the request.
//
// # What it does not know
//
// How SES itself measures a rate is not documented; see [Fake.RateLimit] for what
// is played here. Nobody at Amazon has seen this package. Words and statuses are
// those of https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html,
// of its page CommonErrors, and of answers that people have published.
package sesfake
